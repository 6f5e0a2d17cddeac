#include "core/lease/lease.h"
#include "base/check.h"
#include "base/tree.h"

struct lease_key {
    struct tree_node node; /* first, so that it converts by a cast; so does by_id below */
    uint32_t len;
    uint8_t data[];
};

struct lease {
    struct tree_node by_id, by_deadline, by_look;
    struct tree keys;
    size_t n_keys;
    int64_t id, ttl_s, deadline_ms;
    int64_t noted_ms; /* replicated; 0: no note */
    uint64_t granted; /* index of the entry; replicated */
    int64_t look_ms;  /* whether a note is due; renewals leave it, and then it is too early */
    bool expiring;    /* which of the two deadline trees it stands in */
    bool noting;      /* a note was proposed and is not seen applied: it may yet be */
    const void *who;  /* lease_clear */
    uint64_t who_revision;
    bool clearing;    /* a note of 0 is on its way, behind all others */
};

struct lease_table {
    struct alloc *alloc;
    struct tree by_id;
    struct tree waiting, expiring; /* by deadline, then id */
    struct tree looks;             /* by look_ms, then id */
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

static struct lease *lease_of_look(const struct tree_node *n)
{
    return (struct lease *)((uintptr_t)n - offsetof(struct lease, by_look));
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

static int compare_look(const void *key, const struct tree_node *n)
{
    const struct lease *a = key, *b = lease_of_look(n);
    if (a->look_ms != b->look_ms)
        return a->look_ms > b->look_ms ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

static const struct tree_type type_keys = { compare_key, NULL };
static const struct tree_type type_ids = { compare_id, NULL };
static const struct tree_type type_deadlines = { compare_deadline, NULL };
static const struct tree_type type_looks = { compare_look, NULL };

struct lease_table *lease_open(struct alloc *alloc)
{
    struct lease_table *t = mem_zero(alloc, sizeof(*t));
    t->alloc = alloc;
    t->by_id.type = &type_ids;
    t->waiting.type = t->expiring.type = &type_deadlines;
    t->looks.type = &type_looks;
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

/* What a new leader would give the lease: its note, or the full TTL. */
static int64_t given_ms(const struct lease *l)
{
    return l->noted_ms ? l->noted_ms : l->ttl_s * 1000;
}

/* When half of that is gone; all of it will be given when the clearing note is applied. */
static int64_t note_due_ms(const struct lease *l)
{
    return l->deadline_ms - (l->clearing ? l->ttl_s * 1000 : given_ms(l)) / 2;
}

static void set_look(struct lease_table *t, struct lease *l, int64_t look_ms)
{
    struct tree_node *was = tree_remove(&t->looks, l);
    CHECK(was == &l->by_look);
    l->look_ms = look_ms;
    tree_insert(&t->looks, l, &l->by_look);
}

/* Begins to count, as far as time goes. */
static void begin(struct lease_table *t, struct lease *l, int64_t now_ms)
{
    l->expiring = l->noting = l->clearing = false;
    l->deadline_ms = now_ms + given_ms(l);
    l->look_ms = note_due_ms(l);
    tree_insert(&t->waiting, l, &l->by_deadline);
    tree_insert(&t->looks, l, &l->by_look);
}

enum err lease_grant(struct lease_table *t, int64_t id, int64_t ttl_s, uint64_t index,
                     int64_t now_ms)
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
    l->granted = index;
    tree_insert(&t->by_id, &id, &l->by_id);
    begin(t, l, now_ms);
    t->n++;
    return ERR_OK;
}

void lease_note(struct lease_table *t, const struct lease_note *note, uint64_t as_of)
{
    CHECK(note->remaining_ms >= 0);
    if (!lease_known_as_of(t, note->id, as_of))
        return;
    struct lease *l = find(t, note->id);
    l->noted_ms = note->remaining_ms < l->ttl_s * 1000 ? note->remaining_ms : 0;
    l->noting = false;
    if (note->remaining_ms == 0)
        l->clearing = false;
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
    struct tree_node *by_look = tree_remove(&t->looks, l);
    CHECK(by_id == &l->by_id && by_deadline == &l->by_deadline && t->n > 0);
    CHECK(by_look == &l->by_look);
    free_lease(by_id, t->alloc);
    t->n--;
    return ERR_OK;
}

bool lease_known_as_of(const struct lease_table *t, int64_t id, uint64_t as_of)
{
    const struct lease *l = find(t, id);
    return l && l->granted <= as_of;
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
    l->who = NULL;
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
    begin(r->table, lease_of(n), r->now_ms);
}

void lease_restart(struct lease_table *t, int64_t now_ms)
{
    struct restart r = { t, now_ms };
    t->waiting.root = t->expiring.root = t->looks.root = NULL;
    tree_walk(&t->by_id, restart_one, &r);
}

enum lease_renewal lease_renew(struct lease_table *t, int64_t id, int64_t now_ms, int64_t *ttl_s)
{
    struct lease *l = find(t, id);
    if (!l)
        return LEASE_GONE;
    if (l->expiring || now_ms >= l->deadline_ms)
        return LEASE_EXPIRING;
    /* Also when it has to be cleared first: it must not expire while that is on its way. */
    set_deadline(t, l, now_ms + l->ttl_s * 1000, false);
    if (l->clearing)
        return LEASE_CLEARING;
    l->clearing = l->noted_ms || l->noting;
    if (l->clearing)
        return LEASE_NOTED;
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

void lease_not_proposed(struct lease_table *t, int64_t id)
{
    struct lease *l = find(t, id);
    if (!l)
        return;
    l->clearing = false;
    if (l->expiring)
        set_deadline(t, l, l->deadline_ms, false);
}

size_t lease_notes_due(struct lease_table *t, int64_t now_ms, struct arena *arena,
                       struct lease_note **out)
{
    size_t n = 0;
    *out = NULL;
    for (int i = 0; i < LEASE_LOOKS_MAX && n < LEASE_NOTES_MAX; i++) {
        struct tree_node *node = tree_first(&t->looks);
        struct lease *l = node ? lease_of_look(node) : NULL;
        if (!l || l->look_ms > now_ms)
            break;
        int64_t due_ms = note_due_ms(l);
        set_look(t, l, due_ms > now_ms ? due_ms : now_ms + LEASE_NOTE_MS_MIN);
        if (due_ms > now_ms || l->clearing || l->deadline_ms - now_ms < LEASE_NOTE_MS_MIN)
            continue;
        CHECK(!l->expiring);
        if (!*out)
            *out = ARENA_ARRAY(arena, struct lease_note, LEASE_NOTES_MAX);
        (*out)[n++] = (struct lease_note){ l->id, l->deadline_ms - now_ms };
        l->noting = true;
    }
    return n;
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

struct visiting {
    enum err (*visit)(void *context, struct span key);
    void *context;
    enum err err;
};

static void visit_key(struct tree_node *n, void *context)
{
    struct visiting *v = context;
    if (v->err == ERR_OK)
        v->err = v->visit(v->context, key_span(key_of(n)));
}

static void visit_lease(struct tree_node *n, void *context)
{
    struct visiting *v = context;
    if (v->err == ERR_OK)
        tree_walk(&lease_of(n)->keys, visit_key, v);
}

enum err lease_keys_each(const struct lease_table *t, int64_t id,
                         enum err (*visit)(void *context, struct span key), void *context)
{
    struct visiting v = { visit, context, ERR_OK };
    struct lease *l = find(t, id);
    if (l)
        visit_lease(&l->by_id, &v);
    return v.err;
}

enum err lease_keys_all(const struct lease_table *t,
                        enum err (*visit)(void *context, struct span key), void *context)
{
    struct visiting v = { visit, context, ERR_OK };
    tree_walk(&t->by_id, visit_lease, &v);
    return v.err;
}

bool lease_cleared(const struct lease_table *t, int64_t id, const void *who, uint64_t revision)
{
    const struct lease *l = find(t, id);
    return l && who && l->who == who && l->who_revision == revision;
}

void lease_clear(struct lease_table *t, int64_t id, const void *who, uint64_t revision)
{
    struct lease *l = find(t, id);
    if (!l)
        return;
    l->who = who;
    l->who_revision = revision;
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
    const struct lease *l = lease_of(n);
    buf_u64(context, (uint64_t)l->id);
    buf_varint(context, (uint64_t)l->ttl_s);
    buf_varint(context, (uint64_t)l->noted_ms);
    buf_varint(context, l->granted);
}

struct walk {
    void (*visit)(void *context, int64_t id, int64_t ttl_s, int64_t noted_ms);
    void *context;
};

static void walk_one(struct tree_node *node, void *context)
{
    const struct lease *l = lease_of(node);
    const struct walk *w = context;
    w->visit(w->context, l->id, l->ttl_s, l->noted_ms);
}

void lease_walk(const struct lease_table *t,
                void (*visit)(void *context, int64_t id, int64_t ttl_s, int64_t noted_ms),
                void *context)
{
    struct walk w = { visit, context };
    tree_walk(&t->by_id, walk_one, &w);
}

void lease_save(const struct lease_table *t, struct buf *out)
{
    buf_varint(out, (uint64_t)t->n);
    tree_walk(&t->by_id, save_one, out);
}

/* Ids rise, so that none is there twice. */
static enum err load_one(struct lease_table *t, struct span *records, bool old, int64_t id_last,
                         int64_t now_ms, int64_t *id)
{
    uint64_t id_bits, ttl_s, noted_ms = 0, granted = 0;
    if (!span_u64(records, &id_bits) || !span_varint(records, &ttl_s) ||
        (!old && (!span_varint(records, &noted_ms) || !span_varint(records, &granted))))
        return ERR_CORRUPT;
    *id = (int64_t)id_bits;
    if (*id == 0 || (t->n && *id <= id_last) || ttl_s == 0 || ttl_s > (uint64_t)LEASE_TTL_MAX_S ||
        noted_ms >= ttl_s * 1000)
        return ERR_CORRUPT;
    enum err err = lease_grant(t, *id, (int64_t)ttl_s, granted, now_ms);
    CHECK(err == ERR_OK);
    find(t, *id)->noted_ms = (int64_t)noted_ms;
    return ERR_OK;
}

enum err lease_load(struct lease_table *t, struct span *records, bool old, int64_t now_ms)
{
    CHECK(t->n == 0);
    uint64_t n;
    int64_t id = 0;
    enum err err = span_varint(records, &n) ? ERR_OK : ERR_CORRUPT;
    for (uint64_t i = 0; i < n && !err; i++)
        err = load_one(t, records, old, id, now_ms, &id);
    return err;
}
