/* The store against a model that keeps every change in one array and answers by reading it all. */
#include "base/prng.h"
#include "base/test.h"
#include "core/kv/kv_int.h"

enum { EVENTS = 3000, OPS_DEEP = 3, OPS_WIDE = 4, HISTORY = 40, VALUE = 8 };

static const char *const NAMES[] = { "\1",  "a",   "aa",   "aaa", "ab",  "b",       "b/",   "b/1",
                                     "b/10", "b/2", "c",    "ca",  "d",   "dd",      "e",    "f",
                                     "foo", "foo/", "foo/x", "foo0", "g", "z", "zz", "\xff" };
enum { KEYS = sizeof(NAMES) / sizeof(NAMES[0]) };

struct event {
    int key;
    bool tombstone;
    uint32_t sub, value_size;
    int64_t mod, create, version, lease, at_ms;
    uint8_t value[VALUE];
};

struct model {
    struct event events[EVENTS];
    size_t n;
    int64_t revision, compact;
    uint32_t written; /* by the transaction at work */
};

struct world {
    struct alloc heap, scratch_heap;
    struct arena arena;
    struct prng p;
    struct kv *kv;
    struct model m;
    int64_t now_ms;
};

static int64_t newest(const struct model *m)
{
    return m->revision + (m->written > 0);
}

static const struct event *last(const struct model *m, int key, int64_t revision)
{
    for (size_t i = m->n; i-- > 0;)
        if (m->events[i].key == key && m->events[i].mod <= revision)
            return &m->events[i];
    return NULL;
}

static const struct event *seen(const struct model *m, int key, int64_t revision)
{
    const struct event *e = last(m, key, revision);
    return e && !e->tombstone ? e : NULL;
}

static struct span event_value(const struct event *e)
{
    return span_of(e->value, e->value_size);
}

static int key_number(struct span key)
{
    for (int i = 0; i < KEYS; i++)
        if (span_is(key, NAMES[i]))
            return i;
    return -1;
}

static bool in_range(int key, struct span begin, struct span end)
{
    struct span name = span_text(NAMES[key]);
    if (end.len == 0)
        return span_equal(name, begin);
    bool open = end.len == 1 && end.data[0] == 0;
    return span_compare(name, begin) >= 0 && (open || span_compare(name, end) < 0);
}

static bool same(const struct kv_version *v, const struct event *e)
{
    if (!v || !e)
        return !v && !e;
    return span_is(kv_key(v), NAMES[e->key]) && span_equal(kv_value(v), event_value(e)) &&
           v->mod_revision == e->mod && v->sub == e->sub && v->create_revision == e->create &&
           v->version == e->version && v->lease == e->lease && v->tombstone == e->tombstone &&
           v->updated_at_ms == e->at_ms;
}

/* ---- random requests ---- */

static uint64_t below(struct world *w, uint64_t limit)
{
    return prng_below(&w->p, limit);
}

static struct span some_key(struct world *w)
{
    return span_text(NAMES[below(w, KEYS)]);
}

static struct span some_end(struct world *w)
{
    uint64_t roll = below(w, 4);
    return roll == 0 ? SPAN_NONE : roll == 1 ? SPAN("\0") : some_key(w);
}

static struct kv_range some_range(struct world *w)
{
    struct kv_range r = { .key = some_key(w), .range_end = some_end(w) };
    if (below(w, 2))
        r.limit = (int64_t)below(w, 6);
    if (below(w, 2))
        r.revision = (int64_t)below(w, (uint64_t)w->m.revision + 2);
    if (below(w, 2)) {
        r.order = (int32_t)below(w, 3);
        r.target = (int32_t)below(w, 5);
    }
    r.count_only = below(w, 8) == 0;
    int64_t *filters[] = { &r.min_mod, &r.max_mod, &r.min_create, &r.max_create };
    if (below(w, 3) == 0)
        *filters[below(w, 4)] = (int64_t)below(w, (uint64_t)w->m.revision + 2);
    return r;
}

static struct kv_put some_put(struct world *w)
{
    static const uint8_t bytes[] = "abcdefgh";
    struct kv_put p = { .key = some_key(w), .prev_kv = below(w, 2) };
    p.ignore_value = below(w, 8) == 0;
    p.ignore_lease = below(w, 8) == 0;
    p.lease = p.ignore_lease ? 0 : (int64_t)below(w, 3) - 1;
    p.value = p.ignore_value ? SPAN_NONE : span_of(bytes, below(w, VALUE));
    return p;
}

static struct kv_delete some_delete(struct world *w)
{
    struct kv_delete d = { .key = some_key(w), .prev_kv = below(w, 2) };
    d.range_end = below(w, 2) ? SPAN_NONE : some_key(w);
    return d;
}

static struct kv_txn *some_txn(struct world *w, int deep);

static struct kv_op *some_ops(struct world *w, int deep, size_t *n)
{
    *n = below(w, OPS_WIDE);
    struct kv_op *ops = ARENA_ARRAY(&w->arena, struct kv_op, *n);
    for (size_t i = 0; i < *n; i++) {
        ops[i].type = KV_OP_RANGE + (enum kv_op_type)below(w, deep ? 4 : 3);
        if (ops[i].type == KV_OP_RANGE)
            ops[i].range = some_range(w);
        else if (ops[i].type == KV_OP_PUT)
            ops[i].put = some_put(w);
        else if (ops[i].type == KV_OP_DELETE)
            ops[i].del = some_delete(w);
        else
            ops[i].txn = some_txn(w, deep - 1);
    }
    return ops;
}

static struct kv_txn *some_txn(struct world *w, int deep)
{
    struct kv_txn *t = ARENA_NEW(&w->arena, struct kv_txn);
    t->n_compares = below(w, 3);
    struct kv_compare *c = ARENA_ARRAY(&w->arena, struct kv_compare, t->n_compares);
    for (size_t i = 0; i < t->n_compares; i++) {
        c[i] = (struct kv_compare){ .key = some_key(w), .target = (int32_t)below(w, 6),
                                    .result = (int32_t)below(w, 5) };
        if (below(w, 3) == 0)
            c[i].range_end = some_end(w);
        c[i].number = (int64_t)below(w, c[i].target == KV_IF_VERSION ? 4 : 60) - 1;
        c[i].value = below(w, 2) ? SPAN("abc") : SPAN_NONE;
    }
    t->compares = c;
    t->success = some_ops(w, deep, &t->n_success);
    t->failure = some_ops(w, deep, &t->n_failure);
    return t;
}

/* ---- what the model answers ---- */

static int64_t by(const struct event *e, int target)
{
    return target == KV_BY_VERSION ? e->version : target == KV_BY_CREATE ? e->create : e->mod;
}

static bool goes_after(const struct event *a, const struct event *b, const struct kv_range *r)
{
    int c = r->target == KV_BY_KEY     ? (a->key > b->key) - (a->key < b->key)
            : r->target == KV_BY_VALUE ? span_compare(event_value(a), event_value(b))
                                       : (by(a, r->target) > by(b, r->target)) -
                                             (by(a, r->target) < by(b, r->target));
    return r->order == KV_ORDER_DESCEND ? c < 0 : c > 0;
}

static bool filtered(const struct event *e, const struct kv_range *r)
{
    return (r->min_mod && e->mod < r->min_mod) || (r->max_mod && e->mod > r->max_mod) ||
           (r->min_create && e->create < r->min_create) ||
           (r->max_create && e->create > r->max_create);
}

static bool has_order(const struct kv_range *r)
{
    return r->order != KV_ORDER_NONE || r->min_mod || r->max_mod || r->min_create || r->max_create;
}

static enum err model_range(const struct model *m, const struct kv_range *r,
                            const struct event **items, size_t *n, int64_t *count, bool *more)
{
    if (r->revision > newest(m))
        return ERR_REVISION_FUTURE;
    if (r->revision > 0 && r->revision < m->compact)
        return ERR_COMPACTED;
    *n = 0;
    *count = 0;
    for (int k = 0; k < KEYS; k++) {
        const struct event *e = seen(m, k, r->revision > 0 ? r->revision : newest(m));
        if (!e || !in_range(k, r->key, r->range_end))
            continue;
        ++*count;
        if (r->count_only || filtered(e, r))
            continue;
        /* A target without an order: the limit, and one more, comes before sorting (etcd). */
        if (!has_order(r) && r->limit > 0 && *n > (size_t)r->limit)
            continue;
        size_t at = (*n)++;
        for (; at > 0 && goes_after(items[at - 1], e, r); at--)
            items[at] = items[at - 1];
        items[at] = e;
    }
    *more = r->limit > 0 && *n > (size_t)r->limit;
    if (*more)
        *n = (size_t)r->limit;
    return ERR_OK;
}

static bool range_agrees(const struct model *m, const struct kv_range *r,
                         const struct kv_range_result *got)
{
    const struct event *items[KEYS];
    size_t n;
    int64_t count;
    bool more;
    if (model_range(m, r, items, &n, &count, &more) != ERR_OK)
        return false;
    bool ok = n == got->n && count == got->count && more == got->more;
    for (size_t i = 0; ok && i < n; i++)
        ok = same(got->items[i], items[i]);
    return ok;
}

static struct event *append(struct world *w, int key)
{
    struct model *m = &w->m;
    CHECK(m->n < EVENTS);
    struct event *e = &m->events[m->n++];
    *e = (struct event){ .key = key, .mod = m->revision + 1, .sub = m->written++,
                         .at_ms = w->now_ms };
    return e;
}

static bool put_agrees(struct world *w, const struct kv_put *p, const struct kv_put_result *got)
{
    int key = key_number(p->key);
    const struct event *prev = seen(&w->m, key, newest(&w->m));
    bool ok = p->prev_kv ? same(got->prev, prev) : !got->prev;
    struct event *e = append(w, key);
    struct span value = p->ignore_value && prev ? event_value(prev) : p->value;
    e->value_size = (uint32_t)value.len;
    if (value.len)
        memcpy(e->value, value.data, value.len);
    e->lease = p->ignore_lease && prev ? prev->lease : p->lease;
    e->create = prev ? prev->create : e->mod;
    e->version = prev ? prev->version + 1 : 1;
    return ok;
}

static bool delete_agrees(struct world *w, const struct kv_delete *d,
                          const struct kv_delete_result *got)
{
    size_t n = 0;
    for (int k = 0; k < KEYS; k++) {
        const struct event *prev = seen(&w->m, k, newest(&w->m));
        if (!prev || !in_range(k, d->key, d->range_end))
            continue;
        if (d->prev_kv && (n >= got->n_prev || !same(got->prev[n], prev)))
            return false;
        n++;
        append(w, k)->tombstone = true;
    }
    return (size_t)got->deleted == n && got->n_prev == (d->prev_kv ? n : 0);
}

static bool holds(const struct event *e, const struct kv_compare *c)
{
    int64_t number = c->target == KV_IF_VERSION  ? e->version
                     : c->target == KV_IF_CREATE ? e->create
                     : c->target == KV_IF_MOD    ? e->mod
                                                 : e->lease;
    int order = c->target == KV_IF_VALUE  ? span_compare(event_value(e), c->value)
                : c->target > KV_IF_LEASE ? 0
                                          : (number > c->number) - (number < c->number);
    const bool answers[] = { order == 0, order > 0, order < 0, order != 0, true };
    return answers[c->result];
}

static bool model_succeeds(const struct model *m, const struct kv_txn *t)
{
    static const struct event absent;
    for (size_t i = 0; i < t->n_compares; i++) {
        const struct kv_compare *c = &t->compares[i];
        int n = 0;
        for (int k = 0; k < KEYS; k++) {
            const struct event *e = seen(m, k, m->revision);
            if (!e || !in_range(k, c->key, c->range_end))
                continue;
            n++;
            if (!holds(e, c))
                return false;
        }
        if (n == 0 && (c->target == KV_IF_VALUE || !holds(&absent, c)))
            return false;
    }
    return true;
}

static bool lease_known(void *context, int64_t lease)
{
    (void)context;
    return lease >= 0;
}

/* What the checks say, and in which branches: a list of choices, outer before inner. */
static enum err model_check(const struct model *m, const struct kv_txn *t, bool *path, size_t *n)
{
    bool yes = path[(*n)++] = model_succeeds(m, t);
    const struct kv_op *ops = yes ? t->success : t->failure;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < (yes ? t->n_success : t->n_failure); i++) {
        const struct kv_range *r = &ops[i].range;
        const struct kv_put *p = &ops[i].put;
        if (ops[i].type == KV_OP_TXN)
            e = model_check(m, ops[i].txn, path, n);
        else if (ops[i].type == KV_OP_RANGE)
            e = r->revision > m->revision                        ? ERR_REVISION_FUTURE
                : r->revision > 0 && r->revision < m->compact ? ERR_COMPACTED
                                                              : ERR_OK;
        else if (ops[i].type == KV_OP_PUT)
            e = (p->ignore_value || p->ignore_lease) &&
                        !seen(m, key_number(p->key), m->revision)
                    ? ERR_KEY_NOT_FOUND
                : p->lease < 0 ? ERR_LEASE_NOT_FOUND
                               : ERR_OK;
    }
    return e;
}

static bool txn_agrees(struct world *w, const struct kv_txn *t, const struct kv_txn_result *got,
                       const bool *path, size_t *n)
{
    bool yes = path[(*n)++];
    const struct kv_op *ops = yes ? t->success : t->failure;
    bool ok = got->succeeded == yes && got->n_ops == (yes ? t->n_success : t->n_failure);
    for (size_t i = 0; ok && i < got->n_ops; i++) {
        const struct kv_op_result *o = &got->ops[i];
        if (ops[i].type == KV_OP_RANGE)
            ok = range_agrees(&w->m, &ops[i].range, &o->range);
        else if (ops[i].type == KV_OP_PUT)
            ok = put_agrees(w, &ops[i].put, &o->put);
        else if (ops[i].type == KV_OP_DELETE)
            ok = delete_agrees(w, &ops[i].del, &o->del);
        else
            ok = txn_agrees(w, ops[i].txn, o->txn, path, n);
        ok = ok && o->type == ops[i].type &&
             o->revision == (o->type == KV_OP_TXN ? 0 : newest(&w->m));
    }
    return ok;
}

/* ---- HashKV, from etcd's rules and nothing of the store's ---- */

static uint32_t crc_byte(uint32_t crc, uint64_t byte)
{
    crc = ~crc ^ (uint32_t)(byte & 0xff);
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return ~crc;
}

static uint32_t crc_number(uint32_t crc, uint8_t tag, int64_t number)
{
    if (!number)
        return crc;
    crc = crc_byte(crc, tag);
    uint64_t v = (uint64_t)number;
    for (; v >= 128; v >>= 7)
        crc = crc_byte(crc, v | 128);
    return crc_byte(crc, v);
}

static uint32_t crc_bytes(uint32_t crc, uint8_t tag, struct span s)
{
    crc = crc_number(crc, tag, (int64_t)s.len);
    for (size_t i = 0; i < s.len; i++)
        crc = crc_byte(crc, s.data[i]);
    return crc;
}

static uint32_t crc_event(uint32_t crc, const struct event *e)
{
    for (int i = 56; i >= 0; i -= 8)
        crc = crc_byte(crc, (uint64_t)e->mod >> i);
    crc = crc_byte(crc, '_');
    for (int i = 56; i >= 0; i -= 8)
        crc = crc_byte(crc, (uint64_t)e->sub >> i);
    if (e->tombstone)
        crc = crc_byte(crc, 't');
    crc = crc_bytes(crc, 0x0a, span_text(NAMES[e->key]));
    if (e->tombstone)
        return crc;
    crc = crc_number(crc, 0x10, e->create);
    crc = crc_number(crc, 0x18, e->mod);
    crc = crc_number(crc, 0x20, e->version);
    crc = crc_bytes(crc, 0x2a, event_value(e));
    return crc_number(crc, 0x30, e->lease);
}

static uint32_t model_hash(const struct model *m, int64_t revision)
{
    uint32_t crc = 0;
    bool any = false;
    for (int i = 0; i < 3; i++)
        crc = crc_byte(crc, (uint64_t)"key"[i]);
    for (int k = 0; k < KEYS; k++)
        any = any || seen(m, k, revision);
    for (size_t i = 0; i < m->n && m->events[i].mod <= revision; i++) {
        const struct event *e = &m->events[i];
        bool old = e->mod <= m->compact;
        if (old && last(m, e->key, m->compact) != e)
            continue; /* compacted */
        if (old && any && last(m, e->key, revision) != e)
            continue;
        if (old && e->tombstone)
            continue;
        crc = crc_event(crc, e);
    }
    return crc;
}

/* ---- one step each ---- */

static bool changes_agree(const struct world *w, const struct kv_change *c, size_t n)
{
    const struct model *m = &w->m;
    if (n != m->written)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct event *e = &m->events[m->n - n + i];
        const struct event *replaced = NULL;
        for (const struct event *b = e; !replaced && b-- > m->events;)
            replaced = b->key == e->key ? b : NULL;
        if (replaced && replaced->tombstone)
            replaced = NULL;
        if (!same(c[i].now, e) || !same(c[i].replaced, replaced) ||
            !same(c[i].prev, seen(m, e->key, m->revision)))
            return false;
    }
    return true;
}

static bool write_once(struct world *w)
{
    bool path[200] = { false };
    size_t n_path = 0, at = 0;
    bool ok = true;
    kv_begin(w->kv, ++w->now_ms, below(w, 2) ? SPAN("me") : SPAN_NONE);
    if (below(w, 2)) {
        struct kv_txn *t = some_txn(w, OPS_DEEP);
        struct kv_txn_result got;
        enum err want = model_check(&w->m, t, path, &n_path);
        ok = kv_txn(w->kv, t, lease_known, NULL, &w->arena, &got) == want;
        ok = ok && (want || txn_agrees(w, t, &got, path, &at));
    } else if (below(w, 3)) {
        struct kv_put p = some_put(w);
        struct kv_put_result got;
        bool missing = !seen(&w->m, key_number(p.key), w->m.revision);
        bool fails = missing && (p.ignore_value || p.ignore_lease);
        ok = kv_put(w->kv, &p, &got) == (fails ? ERR_KEY_NOT_FOUND : ERR_OK);
        ok = ok && (fails || put_agrees(w, &p, &got));
    } else {
        struct kv_delete d = some_delete(w);
        struct kv_delete_result got;
        ok = kv_delete(w->kv, &d, &w->arena, &got) == ERR_OK && delete_agrees(w, &d, &got);
    }
    const struct kv_change *changes;
    size_t n;
    kv_end(w->kv, &changes, &n);
    ok = ok && changes_agree(w, changes, n);
    w->m.revision = newest(&w->m);
    w->m.written = 0;
    return ok && kv_revision(w->kv) == w->m.revision;
}

static bool read_once(struct world *w)
{
    const struct event *unused[KEYS];
    size_t n;
    int64_t count;
    bool more;
    struct kv_range r = some_range(w);
    struct kv_range_result got;
    enum err want = model_range(&w->m, &r, unused, &n, &count, &more);
    if (kv_range(w->kv, &r, &w->arena, &got) != want)
        return false;
    const struct event *e = seen(&w->m, key_number(r.key), r.revision > 0 ? r.revision : INT64_MAX);
    bool gone = r.revision > 0 && r.revision < w->m.compact;
    return same(kv_get(w->kv, r.key, r.revision), gone ? NULL : e) &&
           (want || range_agrees(&w->m, &r, &got));
}

static bool hash_once(struct world *w)
{
    int64_t revision = w->m.compact < 1 ? 1 : w->m.compact;
    revision += (int64_t)below(w, (uint64_t)(w->m.revision - revision) + 1);
    uint32_t got;
    return kv_hash(w->kv, revision, &got) == ERR_OK && got == model_hash(&w->m, revision);
}

static bool history_once(struct world *w)
{
    struct model *m = &w->m;
    int64_t start = m->compact < 1 ? 1 : m->compact;
    uint64_t past = (uint64_t)(m->revision - start) + 2;
    struct kv_cursor c = { .revision = start + (int64_t)below(w, past) };
    int only = below(w, 2) ? (int)below(w, KEYS) : -1;
    struct kv_change out[HISTORY];
    size_t n, i = 0, max = 1 + below(w, HISTORY - 1);
    while (i < m->n && m->events[i].mod < c.revision)
        i++;
    do {
        n = only < 0 ? kv_history(w->kv, &c, out, max)
                     : kv_history_key(w->kv, span_text(NAMES[only]), &c, out, max);
        for (size_t j = 0; j < n; j++, i++) {
            while (only >= 0 && i < m->n && m->events[i].key != only)
                i++;
            if (i == m->n || !same(out[j].now, &m->events[i]))
                return false;
            const struct event *e = &m->events[i], *prev = seen(m, e->key, e->mod - 1);
            if (!same(out[j].prev, e->mod > m->compact ? prev : NULL))
                return false;
        }
    } while (n > 0);
    while (only >= 0 && i < m->n && m->events[i].key != only)
        i++;
    return i == m->n;
}

/* Every key at every revision that can be read, then the history, the hash and the counts. */
static bool whole_agrees(struct world *w)
{
    struct model *m = &w->m;
    size_t live = 0, bytes = 0;
    for (int64_t r = m->compact < 1 ? 1 : m->compact; r <= m->revision; r++)
        for (int k = 0; k < KEYS; k++)
            if (!same(kv_get(w->kv, span_text(NAMES[k]), r), seen(m, k, r)))
                return false;
    for (int k = 0; k < KEYS; k++) {
        const struct event *e = seen(m, k, m->revision);
        live += e != NULL;
        bytes += e ? e->value_size + strlen(NAMES[k]) : 0;
    }
    struct kv_stats s;
    kv_stats(w->kv, &s);
    return s.live_bytes == bytes && (size_t)s.keys == live && kv_revision(w->kv) == m->revision &&
           kv_compact_revision(w->kv) == m->compact && hash_once(w) && history_once(w);
}

/* Saves while writes go on, loads it elsewhere, and finds the moment when the save began. */
static bool save_once(struct world *w)
{
    static struct world other; /* large, and of no use between calls */
    struct buf bytes, again;
    buf_open(&bytes, &w->scratch_heap);
    buf_open(&again, &w->scratch_heap);
    other = *w;
    other.kv = kv_open(&w->scratch_heap);
    arena_open(&other.arena, &w->scratch_heap);
    struct kv_save *s = kv_save_open(w->kv);
    bool ok = true, more;
    size_t from = 0;
    do {
        more = kv_save_step(s, 1 + below(w, 300), &bytes);
        ok = ok && kv_load(other.kv, span_from(buf_all(&bytes), from)) == ERR_OK;
        from = bytes.len;
        ok = ok && write_once(w) && !kv_compact_step(w->kv, 10);
        if (below(w, 10) == 0 && kv_compact(w->kv, w->m.revision) == ERR_OK)
            w->m.compact = w->m.revision;
    } while (more && ok);
    kv_save_close(s);
    ok = ok && kv_load_end(other.kv) == ERR_OK && whole_agrees(&other);
    struct kv_save *t = kv_save_open(other.kv);
    while (kv_save_step(t, 100, &again))
        ;
    kv_save_close(t);
    ok = ok && span_equal(buf_all(&bytes), buf_all(&again));
    struct kv_stats stats;
    kv_stats(other.kv, &stats);
    ok = ok && stats.pending == 0;
    /* What is loaded goes on like what was saved: same versions, same compaction. */
    ok = ok && write_once(&other);
    bool nothing_new = other.m.compact == other.m.revision;
    ok = ok && kv_compact(other.kv, other.m.revision) == (nothing_new ? ERR_COMPACTED : ERR_OK);
    other.m.compact = other.m.revision;
    while (kv_compact_step(other.kv, 7))
        ;
    ok = ok && whole_agrees(&other);
    kv_close(other.kv);
    arena_close(&other.arena);
    buf_close(&bytes);
    buf_close(&again);
    return ok && w->scratch_heap.used == 0;
}

static bool compact_once(struct world *w)
{
    int64_t revision = (int64_t)below(w, (uint64_t)w->m.revision + 2);
    enum err want = revision <= w->m.compact   ? ERR_COMPACTED
                    : revision > w->m.revision ? ERR_REVISION_FUTURE
                                               : ERR_OK;
    if (want == ERR_OK && revision + 40 < w->m.revision)
        return true; /* keep some past to look at */
    if (kv_compact(w->kv, revision) != want)
        return false;
    if (!want)
        w->m.compact = revision;
    return true;
}

/* After a finished compaction nothing is kept but what the rules keep. */
static bool nothing_left(struct world *w)
{
    while (kv_compact_step(w->kv, 3))
        ;
    const struct model *m = &w->m;
    int64_t want = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct event *e = &m->events[i];
        bool sight = !e->tombstone && seen(m, e->key, m->compact) == e;
        want += e->mod >= m->compact || sight;
    }
    struct kv_stats s;
    kv_stats(w->kv, &s);
    return s.versions == want && s.pending == 0;
}

static bool step(struct world *w)
{
    static bool (*const steps[])(struct world *) = { read_once, read_once, hash_once,
                                                     history_once };
    uint64_t roll = below(w, 100);
    if (roll < 40)
        return write_once(w);
    if (roll < 90)
        return steps[roll % 4](w);
    if (roll < 94)
        return compact_once(w);
    if (roll < 97)
        kv_compact_step(w->kv, below(w, 30));
    else if (roll < 98)
        return nothing_left(w);
    else if (roll < 99)
        return save_once(w);
    return true;
}

static bool run(uint64_t seed)
{
    static struct world w;
    w = (struct world){ .p = { seed } };
    alloc_heap(&w.heap);
    alloc_heap(&w.scratch_heap);
    struct alloc arena_heap;
    alloc_heap(&arena_heap);
    arena_open(&w.arena, &arena_heap);
    w.kv = kv_open(&w.heap);
    w.m.revision = 1;
    w.m.compact = -1;
    bool ok = true;
    for (int i = 0; ok && i < 400; i++) {
        ok = step(&w);
        arena_reset(&w.arena);
    }
    ok = ok && whole_agrees(&w);
    kv_close(w.kv);
    arena_close(&w.arena);
    return ok && w.heap.used == 0 && arena_heap.used == 0;
}

TEST(kv_answers_like_the_model)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        bool agrees = run(seed);
        if (!agrees)
            printf("seed %d\n", (int)seed);
        EXPECT(agrees);
    }
}
