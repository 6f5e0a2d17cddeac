#include "core/kv/kv_int.h"

enum { LIST_MIN = 16 };

/* What a read gathers, in the arena. */
struct list {
    struct arena *arena;
    const struct kv_version **items;
    size_t n, cap;
};

static void list_add(struct list *l, const struct kv_version *v)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : LIST_MIN;
        const struct kv_version **items = arena_alloc(l->arena, cap * sizeof(*items));
        if (l->n)
            memcpy(items, l->items, l->n * sizeof(*items));
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = v;
}

static bool has_filter(const struct kv_range *r)
{
    return r->min_mod || r->max_mod || r->min_create || r->max_create;
}

static bool passes(const struct kv_range *r, const struct kv_version *v)
{
    return !(r->max_mod && v->mod_revision > r->max_mod) &&
           !(r->min_mod && v->mod_revision < r->min_mod) &&
           !(r->max_create && v->create_revision > r->max_create) &&
           !(r->min_create && v->create_revision < r->min_create);
}

/* ---- sorting: a heap whose top is what would come last, so that a limit keeps it small ---- */

struct sorting {
    int32_t target;
    bool descend;
};

static int compare_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Equal ones stay in the order of their keys, in both directions: an order that does not depend on
 * how the sort works. */
static int compare(const struct sorting *s, const struct kv_version *a, const struct kv_version *b)
{
    int c = 0;
    if (s->target == KV_BY_VERSION)
        c = compare_number(a->version, b->version);
    else if (s->target == KV_BY_CREATE)
        c = compare_number(a->create_revision, b->create_revision);
    else if (s->target == KV_BY_MOD)
        c = compare_number(a->mod_revision, b->mod_revision);
    else if (s->target == KV_BY_VALUE)
        c = span_compare(kv_value(a), kv_value(b));
    else
        c = span_compare(kv_key(a), kv_key(b));
    if (s->descend)
        c = -c;
    return c ? c : span_compare(kv_key(a), kv_key(b));
}

static void sift(const struct sorting *s, const struct kv_version **heap, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && compare(s, heap[child], heap[child + 1]) < 0)
            child++;
        if (compare(s, heap[i], heap[child]) >= 0)
            return;
        const struct kv_version *v = heap[i];
        heap[i] = heap[child];
        heap[child] = v;
    }
}

/* Leaves in items[0..keep) the first `keep` of n in order. */
static void sort_first(const struct sorting *s, const struct kv_version **items, size_t n,
                       size_t keep)
{
    for (size_t i = keep / 2; i-- > 0;)
        sift(s, items, keep, i);
    for (size_t i = keep; i < n; i++)
        if (compare(s, items[i], items[0]) < 0) {
            items[0] = items[i];
            sift(s, items, keep, 0);
        }
    for (size_t left = keep; left-- > 1;) {
        const struct kv_version *v = items[0];
        items[0] = items[left];
        items[left] = v;
        sift(s, items, left, 0);
    }
}

/* ---- the three ways through a range ---- */

static void one_key(const struct kv *kv, const struct kv_range *r, int64_t revision,
                    struct list *l, int64_t *count)
{
    const struct kv_key *key = kv_index_get(&kv->index, r->key);
    const struct kv_version *v = key ? kv_visible(key, revision) : NULL;
    *count = v != NULL;
    if (v && !r->count_only && passes(r, v))
        list_add(l, v);
}

/* Live keys alone, counted without a look at them; most: how many are wanted. */
static void newest_keys(const struct kv *kv, const struct kv_range *r, const struct kv_bounds *b,
                        size_t most, struct list *l, int64_t *count)
{
    size_t low = kv_keys_rank(&kv->keys, b->begin);
    size_t high = b->open ? kv->keys.live : kv_keys_rank(&kv->keys, b->end);
    *count = high > low ? (int64_t)(high - low) : 0;
    if (r->count_only || *count == 0)
        return;
    size_t n = high - low < most ? high - low : most;
    bool from_end = r->target == KV_BY_KEY && r->order == KV_ORDER_DESCEND;
    struct kv_walk w = kv_keys_select(&kv->keys, from_end ? high - n : low);
    for (; n > 0; n--, kv_walk_next(&w)) {
        const struct kv_version *v = kv_walk_key(&w)->newest;
        if (passes(r, v))
            list_add(l, v);
    }
}

static void past_keys(const struct kv *kv, const struct kv_range *r, const struct kv_bounds *b,
                      int64_t revision, size_t most, struct list *l, int64_t *count)
{
    struct kv_walk w = kv_keys_from(&kv->keys, b->begin, false);
    const struct kv_key *key;
    *count = 0;
    for (; (key = kv_walk_key(&w)) != NULL && !kv_bounds_past(b, key); kv_walk_next(&w)) {
        const struct kv_version *v = kv_visible(key, revision);
        *count += v != NULL;
        if (v && !r->count_only && l->n < most && passes(r, v))
            list_add(l, v);
    }
}

enum err kv_range(const struct kv *kv, const struct kv_range *r, struct arena *arena,
                  struct kv_range_result *out)
{
    enum err e = kv_check_range(r);
    if (!e)
        e = kv_check_revision(kv, r->revision);
    if (e)
        return e;
    int64_t revision = r->revision > 0 ? r->revision : kv_newest(kv);
    size_t limit = r->limit > 0 ? (size_t)r->limit : SIZE_MAX;
    struct list l = { .arena = arena };
    struct kv_bounds b = kv_bounds(r->key, r->range_end);
    struct sorting s = { r->target, r->order == KV_ORDER_DESCEND };
    bool by_key = s.target == KV_BY_KEY, newest = revision == kv_newest(kv);
    /* A limit ends the walk early when what comes first in it comes first in the answer. */
    bool early = by_key && !has_filter(r) && (newest || !s.descend);
    /* With a target but no order etcd takes the limit, and one more, before it sorts. */
    bool unordered = r->order == KV_ORDER_NONE && !has_filter(r) && limit < SIZE_MAX;
    size_t most = early ? limit : unordered ? limit + 1 : SIZE_MAX;
    *out = (struct kv_range_result){ .keys_only = r->keys_only };
    if (b.single)
        one_key(kv, r, revision, &l, &out->count);
    else if (newest)
        newest_keys(kv, r, &b, most, &l, &out->count);
    else
        past_keys(kv, r, &b, revision, most, &l, &out->count);
    size_t found = early ? (size_t)out->count : l.n;
    out->more = !r->count_only && found > limit;
    out->items = l.items;
    out->n = l.n < limit ? l.n : limit;
    if (!by_key || s.descend)
        sort_first(&s, l.items, l.n, out->n);
    return ERR_OK;
}

enum err kv_page(const struct kv *kv, struct span key, struct span range_end, int64_t revision,
                 size_t limit, struct arena *arena, struct kv_page *out)
{
    CHECK(revision > 0 && limit > 0);
    *out = (struct kv_page){ .over = true };
    enum err e = kv_check_revision(kv, revision);
    if (e)
        return e;
    struct kv_bounds b = kv_bounds(key, range_end);
    struct list l = { .arena = arena };
    const struct kv_key *at = NULL;
    if (b.single) {
        const struct kv_version *v = kv_get(kv, key, revision);
        if (v)
            list_add(&l, v);
    } else {
        struct kv_walk w = kv_keys_from(&kv->keys, b.begin, false);
        size_t looked = 0;
        for (; (at = kv_walk_key(&w)) != NULL && !kv_bounds_past(&b, at); kv_walk_next(&w)) {
            if (l.n == limit || looked++ == KV_PAGE_LOOK_MAX)
                break;
            const struct kv_version *v = kv_visible(at, revision);
            if (v)
                list_add(&l, v);
        }
        out->over = !at || kv_bounds_past(&b, at);
    }
    out->items = l.items;
    out->n = l.n;
    out->next = out->over ? SPAN_NONE : arena_copy(arena, key_span(at));
    return ERR_OK;
}

struct span kv_prefix_end(struct span prefix, struct arena *arena)
{
    while (prefix.len && prefix.data[prefix.len - 1] == 0xff)
        prefix.len--;
    if (!prefix.len)
        return SPAN("\0"); /* nothing comes after them: from the key on */
    uint8_t *end = arena_alloc(arena, prefix.len);
    memcpy(end, prefix.data, prefix.len);
    end[prefix.len - 1]++;
    return span_of(end, prefix.len);
}

int64_t kv_count(const struct kv *kv, struct span key, struct span range_end)
{
    return (int64_t)(kv_keys_rank(&kv->keys, range_end) - kv_keys_rank(&kv->keys, key));
}
