#include "core/watch/index.h"
#include "base/check.h"
#include "base/hash.h"

enum { BUCKETS_MIN = 16 };

struct bounds {
    struct span key, end;
    enum group_kind kind;
};

/* The group is the first member of both. */
static struct single *single_of(const struct group *g)
{
    return (struct single *)(uintptr_t)g;
}

static struct range *range_of(const struct group *g)
{
    return (struct range *)(uintptr_t)g;
}

static struct range *range_of_node(const struct tree_node *n)
{
    return (struct range *)((uintptr_t)n - offsetof(struct range, node));
}

struct span group_key(const struct group *g)
{
    const uint8_t *bytes = g->kind == GROUP_SINGLE ? single_of(g)->key : range_of(g)->bytes;
    return span_of(bytes, g->key_len);
}

static struct span range_end(const struct range *r)
{
    return span_of(r->bytes + r->group.key_len, r->group.end_len);
}

struct span group_range_end(const struct group *g)
{
    return g->kind == GROUP_SINGLE ? SPAN_NONE
           : g->kind == GROUP_FROM ? SPAN("\0")
                                   : range_end(range_of(g));
}

static bool ends_after(const struct range *r, struct span key)
{
    return r->group.kind == GROUP_FROM || span_compare(key, range_end(r)) < 0;
}

bool group_covers(const struct group *g, struct span key)
{
    int c = span_compare(group_key(g), key);
    return g->kind == GROUP_SINGLE ? c == 0 : c <= 0 && ends_after(range_of(g), key);
}

/* ---- ranges: a tree by key and end that knows, of each subtree, the furthest end ---- */

static int compare_bounds(const void *key, const struct tree_node *n)
{
    const struct bounds *a = key;
    const struct range *b = range_of_node(n);
    int c = span_compare(a->key, group_key(&b->group));
    if (c)
        return c;
    if (a->kind != b->group.kind)
        return a->kind > b->group.kind ? 1 : -1;
    return span_compare(a->end, range_end(b));
}

static const struct range *further(const struct range *a, const struct tree_node *child)
{
    if (!child)
        return a;
    const struct range *b = range_of_node(child)->furthest;
    if (a->group.kind == GROUP_FROM)
        return a;
    return ends_after(b, range_end(a)) ? b : a;
}

static void update_furthest(struct tree_node *n)
{
    struct range *r = range_of_node(n);
    r->furthest = further(further(r, n->child[0]), n->child[1]);
}

static const struct tree_type type_ranges = { compare_bounds, update_furthest };

struct search {
    struct span key;
    void (*visit)(struct group *g, void *context);
    void *context;
};

static void find_ranges(struct tree_node *n, const struct search *s)
{
    while (n && ends_after(range_of_node(n)->furthest, s->key)) {
        struct range *r = range_of_node(n);
        find_ranges(n->child[0], s);
        if (span_compare(group_key(&r->group), s->key) > 0)
            return; /* all to the right begin later still */
        if (ends_after(r, s->key))
            s->visit(&r->group, s->context);
        n = n->child[1];
    }
}

static struct range *add_range(struct index *x, const struct bounds *b)
{
    struct tree_node *n = tree_find(&x->ranges, b);
    if (n)
        return range_of_node(n);
    struct range *r = mem_zero(x->alloc, sizeof(*r) + b->key.len + b->end.len);
    r->group = (struct group){ .key_len = (uint32_t)b->key.len, .end_len = (uint32_t)b->end.len,
                               .kind = (uint8_t)b->kind };
    if (b->key.len)
        memcpy(r->bytes, b->key.data, b->key.len);
    if (b->end.len)
        memcpy(r->bytes + b->key.len, b->end.data, b->end.len);
    tree_insert(&x->ranges, b, &r->node);
    x->n_ranges++;
    return r;
}

static void remove_range(struct index *x, struct range *r)
{
    struct bounds b = { group_key(&r->group), range_end(r), (enum group_kind)r->group.kind };
    struct tree_node *n = tree_remove(&x->ranges, &b);
    CHECK(n == &r->node);
    x->n_ranges--;
    mem_free(x->alloc, r, sizeof(*r) + r->group.key_len + r->group.end_len);
}

/* ---- single keys: a hash with chains ---- */

static struct single **bucket(const struct index *x, struct span key)
{
    return &x->buckets[hash_bytes(key, 0) & (x->n_buckets - 1)];
}

static struct single *find_single(const struct index *x, struct span key)
{
    struct single *s = x->n_buckets ? *bucket(x, key) : NULL;
    while (s && !span_equal(group_key(&s->group), key))
        s = s->next;
    return s;
}

static void rehash(struct index *x, size_t n_buckets)
{
    struct single **old = x->buckets;
    size_t n_old = x->n_buckets;
    x->buckets = mem_zero(x->alloc, n_buckets * sizeof(*x->buckets));
    x->n_buckets = n_buckets;
    for (size_t i = 0; i < n_old; i++) {
        for (struct single *s = old[i], *next; s; s = next) {
            next = s->next;
            struct single **home = bucket(x, group_key(&s->group));
            s->next = *home;
            *home = s;
        }
    }
    mem_free(x->alloc, old, n_old * sizeof(*old));
}

static struct single *add_single(struct index *x, struct span key)
{
    struct single *s = find_single(x, key);
    if (s)
        return s;
    if (x->n_singles == x->n_buckets)
        rehash(x, x->n_buckets ? x->n_buckets * 2 : BUCKETS_MIN);
    s = mem_alloc(x->alloc, sizeof(*s) + key.len);
    struct single **home = bucket(x, key);
    *s = (struct single){ .group = { .key_len = (uint32_t)key.len, .kind = GROUP_SINGLE },
                          .next = *home };
    if (key.len)
        memcpy(s->key, key.data, key.len);
    *home = s;
    x->n_singles++;
    return s;
}

static void remove_single(struct index *x, struct single *s)
{
    struct single **at = bucket(x, group_key(&s->group));
    while (*at != s) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = s->next;
    x->n_singles--;
    mem_free(x->alloc, s, sizeof(*s) + s->group.key_len);
    if (x->n_buckets > BUCKETS_MIN && x->n_singles * 4 < x->n_buckets)
        rehash(x, x->n_buckets / 2);
}

/* ---- both ---- */

void index_open(struct index *x, struct alloc *alloc)
{
    *x = (struct index){ .alloc = alloc, .ranges = { &type_ranges, NULL } };
}

static void free_entries(struct index *x, struct group *g)
{
    struct entry *e = g->first;
    do {
        struct entry *after = e->after;
        mem_free(x->alloc, e, sizeof(*e));
        e = after;
    } while (e != g->first);
}

static void free_range(struct tree_node *n, void *context)
{
    struct index *x = context;
    struct range *r = range_of_node(n);
    free_entries(x, &r->group);
    mem_free(x->alloc, r, sizeof(*r) + r->group.key_len + r->group.end_len);
}

void index_close(struct index *x)
{
    tree_walk(&x->ranges, free_range, x);
    for (size_t i = 0; i < x->n_buckets; i++) {
        for (struct single *s = x->buckets[i], *next; s; s = next) {
            next = s->next;
            free_entries(x, &s->group);
            mem_free(x->alloc, s, sizeof(*s) + s->group.key_len);
        }
    }
    mem_free(x->alloc, x->buckets, x->n_buckets * sizeof(*x->buckets));
    index_open(x, x->alloc);
}

void index_add(struct index *x, struct entry *e, struct span key, struct span end)
{
    CHECK(key.len <= UINT32_MAX && end.len <= UINT32_MAX);
    struct bounds b = { key, end, GROUP_RANGE };
    if (span_equal(end, SPAN("\0")))
        b = (struct bounds){ key, SPAN_NONE, GROUP_FROM };
    struct group *g = end.len ? &add_range(x, &b)->group : &add_single(x, key)->group;
    e->group = g;
    if (!g->first) {
        g->first = e->before = e->after = e;
        return;
    }
    struct entry *last = g->first->before;
    CHECK(last->seq < e->seq);
    e->before = last;
    e->after = g->first;
    last->after = g->first->before = e;
}

void index_remove(struct index *x, struct entry *e)
{
    struct group *g = e->group;
    if (e->after == e) {
        CHECK(g->first == e);
        if (g->kind == GROUP_SINGLE)
            remove_single(x, single_of(g));
        else
            remove_range(x, range_of(g));
        return;
    }
    e->before->after = e->after;
    e->after->before = e->before;
    if (g->first == e)
        g->first = e->after;
}

void index_find(const struct index *x, struct span key,
                void (*visit)(struct group *g, void *context), void *context)
{
    struct search s = { key, visit, context };
    struct single *one = find_single(x, key);
    if (one)
        visit(&one->group, context);
    find_ranges(x->ranges.root, &s);
}
