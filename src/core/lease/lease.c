#include "core/lease/lease.h"
#include "base/check.h"
#include "base/tree.h"

struct lease_key {
    struct tree_node node; /* first, so that it converts by a cast; so does by_id below */
    uint32_t len;
    uint8_t data[];
};

struct lease {
    struct tree_node by_id, by_deadline;
    struct tree keys;
    size_t n_keys;
    int64_t id, ttl_s, deadline_ms;
    bool expiring; /* which of the two deadline trees it stands in */
};

struct lease_table {
    struct alloc *alloc;
    struct tree by_id;
    struct tree waiting, expiring; /* by deadline, then id */
    int64_t n;
};

static struct lease_key *key_of(const struct tree_node *n)
{
    return (struct lease_key *)(uintptr_t)n;
}

static struct lease *lease_of(const struct tree_node *n)
{
    return (struct lease *)(uintptr_t)n;
}

static struct lease *lease_of_deadline(const struct tree_node *n)
{
    return (struct lease *)((uintptr_t)n - offsetof(struct lease, by_deadline));
}

static struct span key_span(const struct lease_key *k)
{
    return span_of(k->data, k->len);
}

static int compare_key(const void *key, const struct tree_node *n)
{
    return span_compare(*(const struct span *)key, key_span(key_of(n)));
}

static int compare_id(const void *key, const struct tree_node *n)
{
    int64_t a = *(const int64_t *)key, b = lease_of(n)->id;
    return (a > b) - (a < b);
}

static int compare_deadline(const void *key, const struct tree_node *n)
{
    const struct lease *a = key, *b = lease_of_deadline(n);
    if (a->deadline_ms != b->deadline_ms)
        return a->deadline_ms > b->deadline_ms ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

static const struct tree_type type_keys = { compare_key, NULL };
static const struct tree_type type_ids = { compare_id, NULL };
static const struct tree_type type_deadlines = { compare_deadline, NULL };

struct lease_table *lease_open(struct alloc *alloc)
{
    struct lease_table *t = mem_zero(alloc, sizeof(*t));
    t->alloc = alloc;
    t->by_id.type = &type_ids;
    t->waiting.type = t->expiring.type = &type_deadlines;
    return t;
}

static void free_key(struct tree_node *n, void *context)
{
    struct lease_key *k = key_of(n);
    mem_free(context, k, sizeof(*k) + k->len);
}

static void free_lease(struct tree_node *n, void *context)
{
    struct lease *l = lease_of(n);
    tree_walk(&l->keys, free_key, context);
    mem_free(context, l, sizeof(*l));
}

void lease_close(struct lease_table *t)
{
    if (!t)
        return;
    tree_walk(&t->by_id, free_lease, t->alloc);
    mem_free(t->alloc, t, sizeof(*t));
}

static struct lease *find(const struct lease_table *t, int64_t id)
{
    struct tree_node *n = tree_find(&t->by_id, &id);
    return n ? lease_of(n) : NULL;
}

static struct tree *deadlines(struct lease_table *t, const struct lease *l)
{
    return l->expiring ? &t->expiring : &t->waiting;
}

/* Moves l to its new place in the order of deadlines. */
static void set_deadline(struct lease_table *t, struct lease *l, int64_t deadline_ms, bool expiring)
{
    struct tree_node *was = tree_remove(deadlines(t, l), l);
    CHECK(was == &l->by_deadline);
    l->deadline_ms = deadline_ms;
    l->expiring = expiring;
    tree_insert(deadlines(t, l), l, &l->by_deadline);
}

enum err lease_grant(struct lease_table *t, int64_t id, int64_t ttl_s, int64_t now_ms)
{
    CHECK(id != 0 && ttl_s > 0);
    if (ttl_s > LEASE_TTL_MAX_S)
        return ERR_LEASE_TTL_TOO_LARGE;
    if (find(t, id))
        return ERR_LEASE_EXISTS;
    struct lease *l = mem_zero(t->alloc, sizeof(*l));
    l->keys.type = &type_keys;
    l->id = id;
    l->ttl_s = ttl_s;
    l->deadline_ms = now_ms + ttl_s * 1000;
    tree_insert(&t->by_id, &id, &l->by_id);
    tree_insert(&t->waiting, l, &l->by_deadline);
    t->n++;
    return ERR_OK;
}

struct key_list {
    struct arena *arena;
    struct span *items;
    size_t n;
};

static void copy_key(struct tree_node *n, void *context)
{
    struct key_list *list = context;
    list->items[list->n++] = arena_copy(list->arena, key_span(key_of(n)));
}

static struct span *copy_keys(const struct lease *l, struct arena *arena)
{
    struct key_list list = { arena, ARENA_ARRAY(arena, struct span, l->n_keys), 0 };
    tree_walk(&l->keys, copy_key, &list);
    CHECK(list.n == l->n_keys);
    return list.items;
}

enum err lease_revoke(struct lease_table *t, int64_t id, struct arena *arena, struct span **keys,
                      size_t *n)
{
    struct lease *l = find(t, id);
    if (!l)
        return ERR_LEASE_NOT_FOUND;
    *keys = copy_keys(l, arena);
    *n = l->n_keys;
    struct tree_node *by_id = tree_remove(&t->by_id, &id);
    struct tree_node *by_deadline = tree_remove(deadlines(t, l), l);
    CHECK(by_id == &l->by_id && by_deadline == &l->by_deadline && t->n > 0);
    free_lease(by_id, t->alloc);
    t->n--;
    return ERR_OK;
}

bool lease_known(const struct lease_table *t, int64_t id)
{
    return find(t, id) != NULL;
}

void lease_attach(struct lease_table *t, int64_t id, struct span key)
{
    struct lease *l = find(t, id);
    if (!l || tree_find(&l->keys, &key))
        return;
    CHECK(key.len <= UINT32_MAX);
    struct lease_key *k = mem_alloc(t->alloc, sizeof(*k) + key.len);
    k->len = (uint32_t)key.len;
    if (key.len)
        memcpy(k->data, key.data, key.len);
    tree_insert(&l->keys, &key, &k->node);
    l->n_keys++;
}

void lease_detach(struct lease_table *t, int64_t id, struct span key)
{
    struct lease *l = find(t, id);
    struct tree_node *n = l ? tree_remove(&l->keys, &key) : NULL;
    if (!n)
        return;
    CHECK(l->n_keys > 0);
    l->n_keys--;
    free_key(n, t->alloc);
}

struct restart {
    struct lease_table *table;
    int64_t now_ms;
};

static void restart_one(struct tree_node *n, void *context)
{
    struct restart *r = context;
    struct lease *l = lease_of(n);
    l->expiring = false;
    l->deadline_ms = r->now_ms + l->ttl_s * 1000;
    tree_insert(&r->table->waiting, l, &l->by_deadline);
}

void lease_restart(struct lease_table *t, int64_t now_ms)
{
    struct restart r = { t, now_ms };
    t->waiting.root = t->expiring.root = NULL;
    tree_walk(&t->by_id, restart_one, &r);
}

enum lease_renewal lease_renew(struct lease_table *t, int64_t id, int64_t now_ms, int64_t *ttl_s)
{
    struct lease *l = find(t, id);
    if (!l)
        return LEASE_GONE;
    if (l->expiring || now_ms >= l->deadline_ms)
        return LEASE_EXPIRING;
    set_deadline(t, l, now_ms + l->ttl_s * 1000, false);
    *ttl_s = l->ttl_s;
    return LEASE_RENEWED;
}

int64_t lease_expire(struct lease_table *t, int64_t now_ms)
{
    struct tree_node *n = tree_first(&t->waiting);
    if (!n || lease_of_deadline(n)->deadline_ms > now_ms)
        return 0;
    struct lease *l = lease_of_deadline(n);
    CHECK(!l->expiring);
    set_deadline(t, l, l->deadline_ms, true);
    return l->id;
}

void lease_expire_failed(struct lease_table *t, int64_t id)
{
    struct lease *l = find(t, id);
    if (l && l->expiring)
        set_deadline(t, l, l->deadline_ms, false);
}

int64_t lease_deadline_ms(const struct lease_table *t)
{
    struct tree_node *n = tree_first(&t->waiting);
    return n ? lease_of_deadline(n)->deadline_ms : INT64_MAX;
}

enum err lease_look(const struct lease_table *t, int64_t id, int64_t now_ms, bool with_keys,
                    struct arena *arena, struct lease_info *out)
{
    *out = (struct lease_info){ .id = id };
    const struct lease *l = find(t, id);
    if (!l)
        return ERR_LEASE_NOT_FOUND;
    out->ttl_s = l->ttl_s;
    out->remaining_ms = l->deadline_ms > now_ms ? l->deadline_ms - now_ms : 0;
    if (with_keys) {
        out->keys = copy_keys(l, arena);
        out->n_keys = l->n_keys;
    }
    return ERR_OK;
}

struct id_list {
    int64_t *ids;
    size_t n;
};

static void list_one(struct tree_node *n, void *context)
{
    struct id_list *list = context;
    list->ids[list->n++] = lease_of_deadline(n)->id;
}

/* What is expiring had its deadline before now, so it stands before what waits. */
size_t lease_list(const struct lease_table *t, struct arena *arena, int64_t **ids)
{
    struct id_list list = { ARENA_ARRAY(arena, int64_t, (size_t)t->n), 0 };
    tree_walk(&t->expiring, list_one, &list);
    tree_walk(&t->waiting, list_one, &list);
    CHECK(list.n == (size_t)t->n);
    *ids = list.ids;
    return list.n;
}

int64_t lease_count(const struct lease_table *t)
{
    return t->n;
}

static void save_one(struct tree_node *n, void *context)
{
    buf_u64(context, (uint64_t)lease_of(n)->id);
    buf_varint(context, (uint64_t)lease_of(n)->ttl_s);
}

void lease_save(const struct lease_table *t, struct buf *out)
{
    buf_varint(out, (uint64_t)t->n);
    tree_walk(&t->by_id, save_one, out);
}

enum err lease_load(struct lease_table *t, struct span *records, int64_t now_ms)
{
    CHECK(t->n == 0);
    uint64_t n, id_bits, ttl;
    int64_t id_last = 0;
    if (!span_varint(records, &n))
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < n; i++) {
        if (!span_u64(records, &id_bits) || !span_varint(records, &ttl))
            return ERR_CORRUPT;
        int64_t id = (int64_t)id_bits;
        if (id == 0 || (i && id <= id_last) || ttl == 0 || ttl > (uint64_t)LEASE_TTL_MAX_S)
            return ERR_CORRUPT;
        enum err err = lease_grant(t, id, (int64_t)ttl, now_ms);
        CHECK(err == ERR_OK); /* ids rise, so none is there twice */
        id_last = id;
    }
    return ERR_OK;
}
