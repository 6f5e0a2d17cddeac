#include "core/watch/watch.h"
#include "base/check.h"
#include "core/watch/index.h"

struct watch_hub {
    struct alloc *alloc;
    struct index index;
    struct entry *turn; /* in the ring of those behind: whose turn it is next; NULL: none behind */
    int64_t n, n_behind;
    uint64_t seq;
};

/* struct watcher is the first member. */
static struct entry *entry_of(struct watcher *w)
{
    return (struct entry *)(void *)w;
}

struct watch_hub *watch_open(struct alloc *alloc)
{
    struct watch_hub *hub = mem_zero(alloc, sizeof(*hub));
    hub->alloc = alloc;
    index_open(&hub->index, alloc);
    return hub;
}

void watch_close(struct watch_hub *hub)
{
    if (!hub)
        return;
    index_close(&hub->index);
    mem_free(hub->alloc, hub, sizeof(*hub));
}

/* ---- synced or behind ---- */

static void set_behind(struct watch_hub *hub, struct entry *e)
{
    e->public.synced = false;
    hub->n_behind++;
    if (!hub->turn) {
        hub->turn = e->behind_before = e->behind_after = e;
        return;
    }
    e->behind_after = hub->turn; /* its turn comes after all the others' */
    e->behind_before = hub->turn->behind_before;
    e->behind_before->behind_after = hub->turn->behind_before = e;
}

static void set_synced(struct watch_hub *hub, struct entry *e)
{
    CHECK(!e->public.synced && e->behind_after && hub->n_behind > 0);
    e->public.synced = true;
    hub->n_behind--;
    if (hub->turn == e)
        hub->turn = e->behind_after == e ? NULL : e->behind_after;
    e->behind_before->behind_after = e->behind_after;
    e->behind_after->behind_before = e->behind_before;
    e->behind_before = e->behind_after = NULL;
}

struct watcher *watch_add(struct watch_hub *hub, const struct watch_spec *spec,
                          int64_t revision_now)
{
    struct entry *e = mem_alloc(hub->alloc, sizeof(*e));
    int64_t next = spec->start_revision > 0 ? spec->start_revision : revision_now + 1;
    *e = (struct entry){
        .public = { .owner = spec->owner, .id = spec->id, .next_revision = next, .synced = true,
                    .prev_kv = spec->prev_kv, .no_put = spec->no_put,
                    .no_delete = spec->no_delete, .progress = spec->progress,
                    .fragment = spec->fragment },
        .seq = hub->seq++,
    };
    /* etcd v3rpc/watch.go: no key is the smallest one. */
    index_add(&hub->index, e, spec->key.len ? spec->key : SPAN("\0"), spec->range_end);
    hub->n++;
    if (next <= revision_now)
        set_behind(hub, e);
    return &e->public;
}

void watch_range(const struct watcher *w, struct span *key, struct span *range_end)
{
    const struct group *g = ((const struct entry *)(const void *)w)->group;
    *key = group_key(g);
    *range_end = group_range_end(g);
}

void watch_remove(struct watch_hub *hub, struct watcher *w)
{
    struct entry *e = entry_of(w);
    if (!w->synced)
        set_synced(hub, e);
    index_remove(&hub->index, e);
    mem_free(hub->alloc, e, sizeof(*e));
    CHECK(hub->n > 0);
    hub->n--;
}

void watch_fall_behind(struct watch_hub *hub, struct watcher *w, int64_t next_revision)
{
    CHECK(next_revision > 0);
    w->next_revision = next_revision;
    if (w->synced)
        set_behind(hub, entry_of(w));
}

struct watcher *watch_next_behind(struct watch_hub *hub)
{
    struct entry *e = hub->turn;
    if (!e)
        return NULL;
    hub->turn = e->behind_after;
    return &e->public;
}

void watch_stats(const struct watch_hub *hub, struct watch_stats *out)
{
    *out = (struct watch_stats){ hub->n, hub->n_behind, hub->index.n_ranges };
}

static void count_group(struct group *g, void *context)
{
    int64_t *n = context;
    const struct entry *e = g->first;
    do {
        (*n)++;
        e = e->after;
    } while (e != g->first);
}

int64_t watch_count(const struct watch_hub *hub, struct span key)
{
    int64_t n = 0;
    index_find(&hub->index, key, count_group, &n);
    return n;
}

int64_t watch_pending(const struct watch_hub *hub, int64_t revision_now)
{
    int64_t sum = 0;
    const struct entry *e = hub->turn;
    for (int64_t i = 0; i < hub->n_behind; i++, e = e->behind_after)
        if (e->public.next_revision <= revision_now)
            sum += revision_now - e->public.next_revision + 1;
    return sum;
}

/* ---- matching ---- */

enum { FILTERS = 4 }; /* no_put and no_delete, each or not */

static bool wanted(const struct watcher *w, const struct kv_change *c)
{
    return !(c->now->tombstone ? w->no_delete : w->no_put);
}

struct hit {
    const struct kv_change *change;
    struct hit *next;
};

/* A group that some change falls into. Its watchers share the lists of changes, one for each
 * combination of filters, made when the first watcher needs it. */
struct touched {
    struct group *group;
    struct hit *first, *last;
    size_t n_hits;
    const struct kv_change **changes[FILTERS];
    size_t n_changes[FILTERS];
};

struct match {
    struct arena *arena;
    const struct kv_change *change; /* being looked up */
    struct touched *touched;
    size_t n, cap;
    struct watch_batch *batches;
    size_t n_batches, cap_batches;
};

static void *grow(struct arena *arena, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    *cap = *cap ? *cap * 2 : 8;
    void *more = arena_alloc(arena, *cap * size);
    if (n)
        memcpy(more, items, n * size);
    return more;
}

static void touch(struct group *g, void *context)
{
    struct match *m = context;
    struct hit *hit = ARENA_NEW(m->arena, struct hit);
    hit->change = m->change;
    if (g->slot >= m->n || m->touched[g->slot].group != g) {
        CHECK(m->n < UINT32_MAX);
        m->touched = grow(m->arena, m->touched, m->n, &m->cap, sizeof(*m->touched));
        g->slot = (uint32_t)m->n++;
        m->touched[g->slot] = (struct touched){ .group = g, .first = hit };
    } else {
        m->touched[g->slot].last->next = hit;
    }
    m->touched[g->slot].last = hit;
    m->touched[g->slot].n_hits++;
}

static void list_changes(struct match *m, struct touched *t, const struct watcher *w, size_t filter)
{
    t->changes[filter] = ARENA_ARRAY(m->arena, const struct kv_change *, t->n_hits);
    for (const struct hit *h = t->first; h; h = h->next)
        if (wanted(w, h->change))
            t->changes[filter][t->n_changes[filter]++] = h->change;
}

static void emit(struct match *m, struct touched *t, int64_t revision)
{
    struct entry *e = t->group->first;
    do {
        struct watcher *w = &e->public;
        e = e->after;
        if (!w->synced || w->next_revision > revision)
            continue;
        size_t filter = (size_t)w->no_put + 2 * (size_t)w->no_delete;
        if (!t->changes[filter])
            list_changes(m, t, w, filter);
        if (!t->n_changes[filter])
            continue;
        m->batches = grow(m->arena, m->batches, m->n_batches, &m->cap_batches,
                          sizeof(*m->batches));
        m->batches[m->n_batches++] =
            (struct watch_batch){ w, t->changes[filter], t->n_changes[filter] };
        w->next_revision = revision + 1;
    } while (e != t->group->first);
}

static uint64_t seq_of(const struct watch_batch *b)
{
    return entry_of(b->watcher)->seq;
}

static size_t run_length(const struct watch_batch *b, size_t n)
{
    size_t i = 1;
    while (i < n && seq_of(&b[i - 1]) < seq_of(&b[i]))
        i++;
    return i < n ? i : n;
}

/* Each group gave a run that is in order: merges two runs at a time until one is left. */
static void sort(struct match *m)
{
    if (run_length(m->batches, m->n_batches) == m->n_batches)
        return;
    struct watch_batch *from = m->batches;
    struct watch_batch *to = ARENA_ARRAY(m->arena, struct watch_batch, m->n_batches);
    for (size_t runs = 0; runs != 1;) {
        runs = 0;
        for (size_t at = 0; at < m->n_batches; runs++) {
            size_t a = at, a_end = a + run_length(from + a, m->n_batches - a);
            size_t b = a_end, b_end = b + run_length(from + b, m->n_batches - b);
            for (; at < b_end; at++)
                to[at] = b == b_end || (a < a_end && seq_of(&from[a]) < seq_of(&from[b]))
                             ? from[a++]
                             : from[b++];
        }
        struct watch_batch *swap = from;
        from = to;
        to = swap;
    }
    m->batches = from;
}

void watch_match(struct watch_hub *hub, const struct kv_change *changes, size_t n,
                 struct arena *arena, struct watch_batch **out, size_t *n_out)
{
    struct match m = { .arena = arena };
    int64_t revision = n ? changes[0].now->mod_revision : 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(changes[i].now->mod_revision == revision);
        m.change = &changes[i];
        index_find(&hub->index, kv_key(changes[i].now), touch, &m);
    }
    for (size_t i = 0; i < m.n; i++)
        emit(&m, &m.touched[i], revision);
    sort(&m);
    *out = m.batches;
    *n_out = m.n_batches;
}

/* ---- catching up ---- */

/* What happened since the cursor, to the group's key alone if it is a single one. */
static size_t read_history(const struct kv *kv, const struct group *g, struct kv_cursor *cursor,
                           struct kv_change *out, size_t max)
{
    return g->kind == GROUP_SINGLE ? kv_history_key(kv, group_key(g), cursor, out, max)
                                   : kv_history(kv, cursor, out, max);
}

struct past {
    struct kv_change *items;
    size_t n, cap;
};

/* Reads whole revisions from the given one on: as many as the maximum allows, or the one that alone
 * has more. True when something is left after them. */
static bool read_whole(const struct kv *kv, const struct group *g, int64_t revision,
                       struct arena *arena, struct past *past)
{
    struct kv_cursor cursor = { .revision = revision };
    struct kv_change next;
    *past = (struct past){ ARENA_ARRAY(arena, struct kv_change, WATCH_CATCH_UP_MAX), 0,
                           WATCH_CATCH_UP_MAX };
    past->n = read_history(kv, g, &cursor, past->items, past->cap);
    if (past->n < past->cap || !read_history(kv, g, &cursor, &next, 1))
        return false;
    int64_t last = past->items[past->n - 1].now->mod_revision;
    if (next.now->mod_revision != last)
        return true;
    if (past->items[0].now->mod_revision != last) {
        while (past->items[past->n - 1].now->mod_revision == last)
            past->n--;
        return true;
    }
    bool more = true;
    for (; more && next.now->mod_revision == last;
         more = read_history(kv, g, &cursor, &next, 1) == 1) {
        past->items = grow(arena, past->items, past->n, &past->cap, sizeof(*past->items));
        past->items[past->n++] = next;
    }
    return more;
}

void watch_catch_up(struct watch_hub *hub, const struct kv *kv, struct watcher *w,
                    struct arena *arena, struct watch_batch *out, bool *compacted)
{
    CHECK(!w->synced && w->next_revision > 0);
    const struct group *g = entry_of(w)->group;
    int64_t now = kv_revision(kv);
    *out = (struct watch_batch){ .watcher = w };
    *compacted = w->next_revision < kv_compact_revision(kv);
    if (*compacted)
        return;
    struct past past = { 0 };
    bool more = w->next_revision <= now && read_whole(kv, g, w->next_revision, arena, &past);
    out->changes = ARENA_ARRAY(arena, const struct kv_change *, past.n);
    for (size_t i = 0; i < past.n; i++) {
        const struct kv_change *c = &past.items[i];
        CHECK(c->now->mod_revision >= w->next_revision);
        if (wanted(w, c) && group_covers(g, kv_key(c->now)))
            out->changes[out->n++] = c;
    }
    if (more) {
        w->next_revision = past.items[past.n - 1].now->mod_revision + 1;
        return;
    }
    if (w->next_revision <= now)
        w->next_revision = now + 1;
    set_synced(hub, entry_of(w));
}
