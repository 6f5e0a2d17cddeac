/* What must hold: nodes that have applied as much have the same digest; a revision is one change,
 * whoever tells of it; a read shows the newest change of its key up to its revision; no node lets a
 * lease go early. */
#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/check.h"
#include "base/map.h"
#include "node/node_int.h"
#include "world.h"

enum { DRIFT_PERCENT = 12 }; /* clocks of nodes run at most so much faster than the world's */

struct applied {
    uint64_t index, term;
    uint32_t digest;
    int host;
};

struct change {
    struct change *next; /* of the same revision, another key */
    int64_t revision;
    struct span key, value;
    bool deleted, seen; /* by a watcher */
};

struct read {
    int64_t revision, mod_revision;
    struct span key, value;
};

struct lease {
    int64_t id, ttl_s, until_us;
    bool known[NODES_MAX];
    bool free;
};

static struct arena arena;
static struct map applied; /* by index */
static VEC(struct change *) changes;
static struct map by_revision;
static VEC(struct read) reads;
static VEC(struct lease) leases;

void check_open(void)
{
    arena_open(&arena, &world_heap);
    map_open(&applied, &world_heap);
    map_open(&by_revision, &world_heap);
}

void check_close(void)
{
    map_close(&applied);
    map_close(&by_revision);
    VEC_CLOSE(&changes, &world_heap);
    VEC_CLOSE(&reads, &world_heap);
    VEC_CLOSE(&leases, &world_heap);
    arena_close(&arena);
}

/* ---- nodes ---- */

static void check_digest(const struct host *h)
{
    const struct machine *m = &h->node->machine;
    struct applied *a = m->applied_index ? map_get(&applied, m->applied_index) : NULL;
    if (!m->applied_index)
        return;
    if (!a) {
        a = ARENA_NEW(&arena, struct applied);
        *a = (struct applied){ m->applied_index, m->applied_term, m->digest, h->number };
        map_set(&applied, a->index, a);
        return;
    }
    counts[COUNT_DIGESTS] += a->host != h->number;
    if (a->digest != m->digest || a->term != m->applied_term)
        violated("after index %llu %s has digest %08x of term %llu, %s had %08x of term %llu",
                 (unsigned long long)a->index, h->name, m->digest,
                 (unsigned long long)m->applied_term, hosts[a->host].name, a->digest,
                 (unsigned long long)a->term);
}

void check_started(struct host *h)
{
    for (size_t i = 0; i < leases.n; i++)
        leases.items[i].known[h->number] = lease_known(h->node->machine.lease, leases.items[i].id);
    check_digest(h);
}

void check_turn(struct host *h)
{
    if (transfer_loading(h->node)) { /* there is no state to look at */
        for (size_t i = 0; i < leases.n; i++)
            leases.items[i].known[h->number] = false;
        return;
    }
    check_digest(h);
    if (h->wiped && h->node->update.role == RAFT_LEADER)
        violated("%s lost its disk, and leads as the member that it was", h->name);
    for (size_t i = 0; i < leases.n; i++) {
        struct lease *l = &leases.items[i];
        bool known = lease_known(h->node->machine.lease, l->id);
        if (l->known[h->number] && !known) {
            if (!l->free && world_us < l->until_us)
                violated("%s let lease %llx go %lld ms early", h->name, (unsigned long long)l->id,
                         (long long)((l->until_us - world_us) / MS));
            counts[COUNT_EXPIRED] += !l->free;
            l->free = true;
        }
        l->known[h->number] = known;
    }
}

/* ---- leases ---- */

void check_lease(int64_t id, int64_t ttl_s, int64_t asked_us)
{
    struct lease *l = NULL;
    for (size_t i = 0; i < leases.n && !l; i++)
        if (leases.items[i].id == id)
            l = &leases.items[i];
    if (!l) {
        struct lease new = { .id = id };
        VEC_PUSH(&leases, &world_heap, new);
        l = &leases.items[leases.n - 1];
        for (int i = 0; i < n_nodes; i++)
            l->known[i] = hosts[i].up && hosts[i].node &&
                          lease_known(hosts[i].node->machine.lease, id);
    }
    int64_t until_us = asked_us + ttl_s * SECOND * (100 - DRIFT_PERCENT) / 100;
    if (l->until_us < until_us)
        l->until_us = until_us;
}

void check_lease_free(int64_t id)
{
    for (size_t i = 0; i < leases.n; i++)
        if (leases.items[i].id == id)
            leases.items[i].free = true;
}

/* ---- changes ---- */

static void differs(const struct change *c, struct span value, bool deleted, const char *who)
{
    violated("revision %lld of %.*s was %s %.*s, now %s says %s %.*s", (long long)c->revision,
             (int)c->key.len, (const char *)c->key.data, c->deleted ? "a delete" : "a put of",
             (int)c->value.len, (const char *)c->value.data, who, deleted ? "a delete" : "a put of",
             (int)value.len, (const char *)value.data);
}

static struct change *know(int64_t revision, struct span key, struct span value, bool deleted,
                           const char *who)
{
    struct change *first = map_get(&by_revision, (uint64_t)revision), *c = first;
    while (c && !span_equal(c->key, key))
        c = c->next;
    if (c) {
        if (c->deleted != deleted || (!deleted && !span_equal(c->value, value)))
            differs(c, value, deleted, who);
        return c;
    }
    c = ARENA_NEW(&arena, struct change);
    *c = (struct change){ .next = first,
                          .revision = revision,
                          .key = arena_copy(&arena, key),
                          .value = deleted ? SPAN_NONE : arena_copy(&arena, value),
                          .deleted = deleted };
    map_set(&by_revision, (uint64_t)revision, c);
    VEC_PUSH(&changes, &world_heap, c);
    return c;
}

void check_written(int64_t revision, struct span key, struct span value, bool deleted)
{
    know(revision, key, value, deleted, "an answer");
}

void check_event(int64_t revision, struct span key, struct span value, bool deleted)
{
    know(revision, key, value, deleted, "a watch")->seen = true;
    counts[COUNT_WATCH_EVENTS]++;
}

void check_read(int64_t revision, struct span key, struct span value, int64_t mod_revision)
{
    struct read r = { revision, mod_revision, arena_copy(&arena, key), arena_copy(&arena, value) };
    VEC_PUSH(&reads, &world_heap, r);
}

static int by_number(const void *a, const void *b)
{
    const struct change *x = *(struct change *const *)a, *y = *(struct change *const *)b;
    return (x->revision > y->revision) - (x->revision < y->revision);
}

static const struct change *newest(struct span key, int64_t revision)
{
    const struct change *out = NULL;
    for (size_t i = 0; i < changes.n && changes.items[i]->revision <= revision; i++)
        if (span_equal(changes.items[i]->key, key))
            out = changes.items[i];
    return out && !out->deleted ? out : NULL;
}

void check_end(int64_t revision)
{
    if (changes.n)
        qsort(changes.items, changes.n, sizeof(*changes.items), by_number);
    int64_t before = 1;
    for (size_t i = 0; i < changes.n; i++) {
        const struct change *c = changes.items[i];
        if (c->revision > revision)
            violated("revision %lld was answered, but the end is revision %lld",
                     (long long)c->revision, (long long)revision);
        if (!c->seen)
            violated("revision %lld was answered, but no watcher of everything saw it",
                     (long long)c->revision);
        if (c->revision > before + 1)
            violated("no watcher saw revision %lld", (long long)before + 1);
        before = c->revision;
    }
    for (size_t i = 0; i < reads.n; i++) {
        const struct read *r = &reads.items[i];
        const struct change *c = newest(r->key, r->revision);
        int64_t mod = c ? c->revision : 0;
        if (mod != r->mod_revision || (c && !span_equal(c->value, r->value)))
            violated("a read of %.*s at revision %lld found %.*s of revision %lld, but the newest "
                     "change was of revision %lld",
                     (int)r->key.len, (const char *)r->key.data, (long long)r->revision,
                     (int)r->value.len, (const char *)r->value.data, (long long)r->mod_revision,
                     (long long)mod);
    }
}
