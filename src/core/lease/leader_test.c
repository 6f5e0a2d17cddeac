/* Leases under leaders that change: several tables fed by one log, each with a clock of its own,
 * and a keeper of the true time who knows what was promised. Raft is played by its rules: what is
 * committed stays, what is not stays or goes with the leader, a term opens with an entry. */
#include "base/prng.h"
#include "base/test.h"
#include "core/lease/lease.h"

enum {
    NODES = 3,
    IDS = 7,
    ENTRIES = 20000,
    WAITING = 64,
    STEPS = 4000,
    STEP_MS = 500,   /* at most */
    COMMIT_MS = 150, /* what is older is committed in the next step */
    ANSWER_MS = 10 * (COMMIT_MS + STEP_MS),
};

struct entry {
    enum { FIRST, GRANT, REVOKE, EXPIRE, NOTE } type;
    uint64_t as_of, term;
    int64_t id, ttl_s, remaining_ms, proposed_ms;
};

struct renewal {
    int64_t id, came_ms;
};

struct world {
    struct alloc heap;
    struct arena arena;
    struct prng prng;
    struct lease_table *tables[NODES];
    uint64_t applied[NODES], granted[NODES][IDS]; /* granted: index; 0: not there */
    int64_t ahead_ms[NODES];                      /* of the true time */
    struct entry log[ENTRIES]; /* index 1 is log[1] */
    uint64_t last, commit, term;
    int64_t now_ms;
    size_t leader;
    bool counting;         /* the leader has applied the first entry of its term */
    bool failing;          /* proposals fail now and then; nothing is said of how late */
    int64_t lost_ms;       /* when the last leader could do something for the last time */
    int64_t noted_at_ms;   /* by the leader */
    struct { uint64_t granted; int64_t at_ms; } ends[IDS]; /* by the last leader's deadlines */
    struct { uint64_t granted; int64_t until_ms; } promised[IDS];
    struct renewal waiting[WAITING];
    size_t n_waiting;
    int64_t worst_late_ms, notes, clears, expired, changes;
    const char *wrong;
};

static void wrong(struct world *w, const char *what)
{
    w->wrong = w->wrong ? w->wrong : what;
}

static bool chance(struct world *w, uint64_t one_in)
{
    return prng_below(&w->prng, one_in) == 0;
}

static int64_t clock_of(const struct world *w, size_t node)
{
    return w->now_ms + w->ahead_ms[node];
}

static bool propose(struct world *w, struct entry e)
{
    if ((w->failing && chance(w, 20)) || w->last + 1 == ENTRIES)
        return false;
    e.as_of = w->applied[w->leader];
    e.term = w->term;
    e.proposed_ms = w->now_ms;
    w->log[++w->last] = e;
    return true;
}

/* Somebody was answered: the lease as it stands at the leader lives that long at least. */
static void promise(struct world *w, int64_t id, int64_t until_ms)
{
    uint64_t granted = w->granted[w->leader][id];
    if (w->promised[id].granted == granted && w->promised[id].until_ms > until_ms)
        return;
    w->promised[id].granted = granted;
    w->promised[id].until_ms = until_ms;
}

static int64_t promised(const struct world *w, int64_t id, uint64_t granted)
{
    return w->promised[id].granted == granted ? w->promised[id].until_ms : INT64_MIN;
}

static void renew(struct world *w, struct renewal r)
{
    int64_t ttl_s;
    switch (lease_renew(w->tables[w->leader], r.id, clock_of(w, w->leader), &ttl_s)) {
    case LEASE_RENEWED:
        promise(w, r.id, w->now_ms + ttl_s * 1000);
        return;
    case LEASE_NOTED:
        if (!propose(w, (struct entry){ .type = NOTE, .id = r.id })) {
            lease_not_proposed(w->tables[w->leader], r.id);
            return;
        }
        w->clears++;
        break;
    case LEASE_CLEARING:
    case LEASE_EXPIRING:
        break;
    case LEASE_GONE:
        return;
    }
    if (w->n_waiting < WAITING)
        w->waiting[w->n_waiting++] = r;
}

static void settle(struct world *w)
{
    struct renewal waiting[WAITING];
    size_t n = w->n_waiting;
    memcpy(waiting, w->waiting, n * sizeof(*waiting));
    w->n_waiting = 0;
    for (size_t i = 0; i < n; i++) {
        if (w->now_ms - waiting[i].came_ms > ANSWER_MS)
            wrong(w, "a renewal is not answered");
        renew(w, waiting[i]);
    }
}

/* ---- the log ---- */

/* The new leader begins to count: never before what was promised, and not much after what the old
 * one would have done. */
static void begin(struct world *w)
{
    struct lease_table *t = w->tables[w->leader];
    lease_restart(t, clock_of(w, w->leader));
    w->counting = true;
    w->noted_at_ms = w->now_ms - (int64_t)prng_below(&w->prng, LEASE_NOTE_MS_MIN);
    for (int64_t id = 1; id < IDS; id++) {
        struct lease_info info;
        if (lease_look(t, id, clock_of(w, w->leader), false, &w->arena, &info) != ERR_OK)
            continue;
        uint64_t granted = w->granted[w->leader][id];
        if (w->now_ms + info.remaining_ms < promised(w, id, granted))
            wrong(w, "a new leader's deadline is early");
        int64_t late_ms = w->now_ms + info.remaining_ms - w->ends[id].at_ms;
        int64_t may_ms = info.remaining_ms / 2 + LEASE_NOTE_MS_MIN + COMMIT_MS + 2 * STEP_MS +
                         w->now_ms - w->lost_ms;
        if (w->failing || w->ends[id].granted != granted)
            continue;
        if (late_ms > may_ms)
            wrong(w, "a new leader's deadline is too late");
        if (late_ms > w->worst_late_ms)
            w->worst_late_ms = late_ms;
    }
}

static void revoke(struct world *w, size_t node, int64_t id)
{
    struct span *keys;
    size_t n;
    if (lease_revoke(w->tables[node], id, &w->arena, &keys, &n) == ERR_OK)
        w->granted[node][id] = 0;
}

static void apply_one(struct world *w, size_t node)
{
    uint64_t index = ++w->applied[node];
    const struct entry *e = &w->log[index];
    struct lease_table *t = w->tables[node];
    bool leads = node == w->leader;
    struct lease_note note = { e->id, e->remaining_ms };
    if (e->type == FIRST && leads && e->term == w->term)
        begin(w);
    if (e->type == GRANT && lease_grant(t, e->id, e->ttl_s, index, clock_of(w, node)) == ERR_OK) {
        w->granted[node][e->id] = index;
        if (leads) /* an answer by who proposed it counts from now on */
            promise(w, e->id, (e->term == w->term ? w->now_ms : e->proposed_ms) + e->ttl_s * 1000);
    }
    if (e->type == REVOKE)
        revoke(w, node, e->id);
    if (e->type == EXPIRE && lease_known_as_of(t, e->id, e->as_of)) {
        if (promised(w, e->id, w->granted[node][e->id]) > e->proposed_ms)
            wrong(w, "a lease was revoked before what was promised");
        w->expired += leads;
        revoke(w, node, e->id);
    }
    if (e->type == NOTE)
        lease_note(t, &note, e->as_of);
    if (leads && w->counting && e->type != GRANT)
        settle(w);
}

static void apply_to(struct world *w, size_t node, uint64_t index)
{
    while (w->applied[node] < index)
        apply_one(w, node);
}

/* ---- what happens ---- */

static void lead(struct world *w)
{
    struct lease_table *t = w->tables[w->leader];
    int64_t now_ms = clock_of(w, w->leader), id;
    if (!w->counting)
        return;
    while ((id = lease_expire(t, now_ms)) != 0) {
        if (!propose(w, (struct entry){ .type = EXPIRE, .id = id })) {
            lease_not_proposed(t, id);
            return;
        }
    }
    if (w->now_ms - w->noted_at_ms < LEASE_NOTE_MS_MIN)
        return;
    w->noted_at_ms = w->now_ms;
    struct lease_note *notes;
    size_t n = lease_notes_due(t, now_ms, &w->arena, &notes);
    for (size_t i = 0; i < n; i++)
        w->notes += propose(w, (struct entry){ .type = NOTE, .id = notes[i].id,
                                               .remaining_ms = notes[i].remaining_ms });
}

static void change_leader(struct world *w)
{
    struct lease_info info;
    for (int64_t id = 1; w->counting && id < IDS; id++) {
        w->ends[id].granted = 0;
        if (lease_look(w->tables[w->leader], id, clock_of(w, w->leader), false, &w->arena, &info))
            continue;
        w->ends[id].granted = w->granted[w->leader][id];
        w->ends[id].at_ms = w->now_ms + info.remaining_ms;
    }
    if (w->counting)
        w->lost_ms = w->now_ms;
    w->changes++;
    w->counting = false;
    w->n_waiting = 0;
    w->last = w->commit + prng_below(&w->prng, w->last - w->commit + 1);
    w->term++;
    w->leader = prng_below(&w->prng, NODES);
    if (chance(w, 2))
        w->now_ms += (int64_t)prng_below(&w->prng, 3000);
    w->log[++w->last] = (struct entry){ .type = FIRST, .term = w->term, .proposed_ms = w->now_ms };
}

/* A node that starts again from its checkpoint, with another clock. */
static void reload(struct world *w, size_t node)
{
    struct buf saved;
    buf_open(&saved, &w->heap);
    lease_save(w->tables[node], &saved);
    lease_close(w->tables[node]);
    w->tables[node] = lease_open(&w->heap);
    struct span records = buf_all(&saved);
    w->ahead_ms[node] = (int64_t)prng_below(&w->prng, 1000000);
    if (lease_load(w->tables[node], &records, false, clock_of(w, node)) != ERR_OK || records.len)
        wrong(w, "a checkpoint does not load");
    buf_close(&saved);
}

/* Who still believes that it leads does what a leader does; nothing of it is heard. */
static void lead_in_vain(struct world *w, size_t node)
{
    int64_t ttl_s, now_ms = clock_of(w, node);
    struct lease_note *notes;
    lease_renew(w->tables[node], 1 + (int64_t)prng_below(&w->prng, IDS - 1), now_ms, &ttl_s);
    lease_expire(w->tables[node], now_ms);
    lease_notes_due(w->tables[node], now_ms, &w->arena, &notes);
}

static void ask(struct world *w)
{
    int64_t id = 1 + (int64_t)prng_below(&w->prng, IDS - 1);
    int64_t ttl_s = 2 + (int64_t)prng_below(&w->prng, 40);
    struct entry grant = { .type = GRANT, .id = id, .ttl_s = ttl_s };
    if (!w->counting)
        return;
    if (chance(w, 10)) {
        propose(w, grant);
    } else if (chance(w, 40)) {
        propose(w, (struct entry){ .type = REVOKE, .id = id });
        if (chance(w, 2))
            propose(w, grant);
    } else if (chance(w, (uint64_t)id * 2)) {
        renew(w, (struct renewal){ id, w->now_ms });
    }
}

static void step(struct world *w)
{
    size_t node = prng_below(&w->prng, NODES);
    w->now_ms += (int64_t)prng_below(&w->prng, chance(w, 10) ? STEP_MS : 150);
    ask(w);
    lead(w);
    uint64_t commit = w->commit + prng_below(&w->prng, w->last - w->commit + 1);
    while (commit < w->last && w->log[commit + 1].proposed_ms <= w->now_ms - COMMIT_MS)
        commit++;
    w->commit = commit;
    apply_to(w, w->leader, w->commit);
    apply_to(w, node, w->applied[node] + prng_below(&w->prng, w->commit - w->applied[node] + 1));
    if (node != w->leader && chance(w, 20))
        reload(w, node);
    else if (node != w->leader && chance(w, 5))
        lead_in_vain(w, node);
    if (chance(w, 150))
        change_leader(w);
}

static const char *run(struct world *w, uint64_t seed)
{
    *w = (struct world){ .prng = { seed }, .failing = seed % 2 };
    alloc_heap(&w->heap);
    arena_open(&w->arena, &w->heap);
    for (size_t i = 0; i < NODES; i++) {
        w->tables[i] = lease_open(&w->heap);
        w->ahead_ms[i] = (int64_t)prng_below(&w->prng, 1000000);
    }
    change_leader(w);
    for (int i = 0; i < STEPS && !w->wrong; i++) {
        step(w);
        arena_reset(&w->arena);
    }
    for (size_t i = 0; i < NODES; i++)
        lease_close(w->tables[i]);
    arena_close(&w->arena);
    if (w->heap.used)
        wrong(w, "memory");
    return w->wrong;
}

TEST(lease_deadlines_survive_leaders)
{
    static struct world w;
    int64_t notes = 0, clears = 0, expired = 0, changes = 0, worst = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const char *what = run(&w, seed);
        if (what)
            printf("seed %d, at %d ms: %s\n", (int)seed, (int)w.now_ms, what);
        EXPECT(!what);
        notes += w.notes, clears += w.clears, expired += w.expired, changes += w.changes;
        worst = w.worst_late_ms > worst ? w.worst_late_ms : worst;
    }
    EXPECT(notes > 500 && clears > 200 && expired > 200 && changes > 300 && worst > 10000);
}
