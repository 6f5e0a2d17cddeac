/* Time, network and faults. */
#include "sim.h"
#include <string.h>
#include "base/check.h"

/* ---- words ---- */

void say(const struct world *w, const char *format, ...)
{
    if (!w->trace)
        return;
    va_list args;
    printf("%9.3f  ", (double)w->now / SECOND);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void violated(struct world *w, const struct node *n, const char *format, ...)
{
    va_list args;
    if (w->problem[0])
        return;
    int at = snprintf(w->problem, sizeof(w->problem),
                      "at %.3f s, node %d: ", (double)w->now / SECOND, n ? (int)n->id : 0);
    va_start(args, format);
    vsnprintf(w->problem + at, sizeof(w->problem) - (size_t)at, format, args);
    va_end(args);
    say(w, "VIOLATED %s", w->problem);
}

/* ---- time ---- */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_add(struct world *w, int64_t after, struct event e)
{
    CHECK(after >= 0);
    e.at = w->now + after;
    e.order = w->order++;
    VEC_PUSH(&w->queue, &w->heap, e);
    struct event *q = w->queue.items;
    size_t i = w->queue.n - 1;
    for (; i > 0 && sooner(&e, &q[(i - 1) / 2]); i = (i - 1) / 2)
        q[i] = q[(i - 1) / 2];
    q[i] = e;
}

static struct event next_event(struct world *w)
{
    struct event *q = w->queue.items, out = q[0], last = q[--w->queue.n];
    size_t n = w->queue.n, i = 0;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && sooner(&q[child + 1], &q[child]))
            child++;
        if (!sooner(&q[child], &last))
            break;
        q[i] = q[child];
        i = child;
    }
    q[i] = last;
    return out;
}

/* ---- network ---- */

struct node *world_node(struct world *w, uint64_t id)
{
    return id >= 1 && id <= w->n_nodes ? &w->nodes[id - 1] : NULL;
}

bool world_linked(const struct world *w, const struct node *from, const struct node *to)
{
    return to->up && !w->cut_off[from->id - 1][to->id - 1];
}

static int64_t delay(struct world *w)
{
    const struct weather *v = &w->weather;
    if (w->calm)
        return between(w, 100, 5 * MS);
    if (chance(w, v->late)) {
        w->count->late++;
        return between(w, v->delay_us, v->late_us);
    }
    return between(w, 50, v->delay_us);
}

static void carry(struct world *w, const struct node *from, struct node *to, const struct packet *p)
{
    int64_t after = delay(w), *newest = &w->arrives[from->id - 1][to->id - 1];
    if (w->weather.in_order && w->now + after < *newest)
        after = *newest - w->now;
    *newest = w->now + after;
    world_add(w, after, (struct event){ .type = EV_MESSAGE, .node = to, .packet = p });
}

void world_send(struct world *w, struct node *from, const struct packet *p)
{
    struct node *to = world_node(w, p->m.to);
    w->count->messages++;
    if (!to || to == from)
        return;
    bool lost = !w->calm && chance(w, w->weather.lose);
    if (!lost && w->weather.holds && to->up && !world_linked(w, from, to)) {
        w->count->held++;
        world_add(w, between(w, MS, 300 * MS),
                  (struct event){ .type = EV_HELD, .node = from, .life = from->life, .packet = p });
        return;
    }
    if (lost || !world_linked(w, from, to)) {
        w->count->lost++;
        /* That it was lost may be noticed: a connection breaks, or is refused. */
        if (chance(w, to->up ? 100 : 300))
            world_add(
                w, between(w, 50, 50 * MS),
                (struct event){
                    .type = EV_LOST, .node = from, .life = from->life, .a = to->id, .b = !to->up });
        return;
    }
    carry(w, from, to, p);
    if (!w->calm && chance(w, w->weather.twice)) {
        w->count->doubled++;
        carry(w, from, to, p);
    }
}

/* ---- faults ---- */

static struct node *any_node(struct world *w)
{
    return &w->nodes[prng_below(&w->prng, w->n_nodes)];
}

static int64_t some_time_down(struct world *w)
{
    return chance(w, 700) ? between(w, MS, 500 * MS) : between(w, MS, 8 * SECOND);
}

static void crash(struct world *w, struct node *n, int64_t down)
{
    if (!n->up)
        return;
    w->count->crashes++;
    say(w, "%d crashes", (int)n->id);
    node_crash(w, n);
    world_add(w, down, (struct event){ .type = EV_RESTART, .node = n, .life = n->life });
}

static void mend(struct world *w)
{
    memset(w->cut_off, 0, sizeof(w->cut_off));
    say(w, "all links are whole");
}

static void slow_disk(struct world *w, struct node *n)
{
    w->count->slow_disks++;
    n->disk.slow_until = w->now + between(w, 100 * MS, 4 * SECOND);
    n->disk.slow_us = chance(w, 600) ? 800 * MS : 4 * SECOND;
    say(w, "the disk of %d is slow", (int)n->id);
}

enum { CUT_IN_TWO, CUT_ONE_WAY, CUT_ALONE, CUT_DEAF_OR_DUMB, CUT_PAIR, CUT_SOME, CUTS };

static void partition(struct world *w, struct node *aim, uint64_t kind, const struct node *other)
{
    unsigned side = (unsigned)prng_next(&w->prng);
    mend(w);
    w->partition++;
    w->count->partitions++;
    for (size_t i = 0; i < NODES_MAX; i++) {
        for (size_t k = 0; k < NODES_MAX; k++) {
            bool across = (side >> i & 1) != (side >> k & 1);
            bool *cut = &w->cut_off[i][k];
            if (kind == CUT_IN_TWO)
                *cut = across;
            else if (kind == CUT_ONE_WAY)
                *cut = across && (side >> i & 1);
            else if (kind == CUT_ALONE)
                *cut = i == aim->id - 1 || k == aim->id - 1;
            else if (kind == CUT_DEAF_OR_DUMB)
                *cut = (side & 1 ? i : k) == aim->id - 1;
            else if (kind == CUT_PAIR)
                *cut = (i == aim->id - 1 && k == other->id - 1) ||
                       (k == aim->id - 1 && i == other->id - 1);
            else
                *cut = chance(w, 400);
        }
    }
    if (chance(w, w->weather.slow)) /* what it has not written will be void */
        slow_disk(w, aim);
    say(w, "partition of kind %d by %x around %d", (int)kind, side & 0xfff, (int)aim->id);
    world_add(w, chance(w, 800) ? between(w, 50 * MS, 4 * SECOND) : between(w, SECOND, 12 * SECOND),
              (struct event){ .type = EV_MEND, .a = w->partition });
}

static void stop(struct world *w, struct node *n, int64_t how_long)
{
    w->count->stops++;
    if (n->held_until < w->now + how_long)
        n->held_until = w->now + how_long;
    say(w, "%d stands still for %d ms", (int)n->id, (int)(how_long / MS));
    /* Somebody waits at its door, and is served before anything else that has come since. */
    world_add(w, n->held_until - w->now,
              (struct event){ .type = EV_READ, .node = n, .life = n->life });
}

static void jump(struct world *w, struct node *n)
{
    w->count->clock_jumps++;
    node_clock_set(w, n, node_clock_us(w, n) + between(w, MS, 3 * SECOND), n->clock_ppm);
    say(w, "the clock of %d jumps", (int)n->id);
}

static void power_cut(struct world *w)
{
    w->count->power_cuts++;
    for (size_t i = 0; i < w->n_nodes; i++)
        if (chance(w, 800))
            crash(w, &w->nodes[i], some_time_down(w));
}

/* One node hears nothing of the leader and asks for votes again and again. When the leader is cut
 * off, those who were loyal to it are restarted, and asked before they hear of it again. */
static void ambush(struct world *w, struct node *leader, const struct node *asks)
{
    if (leader == asks)
        return;
    int64_t after = between(w, SECOND, 4 * SECOND);
    partition(w, leader, CUT_PAIR, asks);
    w->quiet_until = w->now + after; /* else its log is too old to be voted for */
    world_add(
        w, after,
        (struct event){ .type = EV_AMBUSH, .node = world_node(w, leader->id), .a = asks->id });
}

static void ambush_ends(struct world *w, const struct event *e)
{
    partition(w, e->node, CUT_ALONE, e->node);
    for (size_t i = 0; i < w->n_nodes; i++)
        if (&w->nodes[i] != e->node && w->nodes[i].id != e->a)
            crash(w, &w->nodes[i], between(w, MS, 30 * MS));
}

static void fault_tick(struct world *w)
{
    const struct weather *v = &w->weather;
    struct node *n = any_node(w), *other = any_node(w);
    if (chance(w, v->partition))
        partition(w, other->role == RAFT_LEADER ? other : n, prng_below(&w->prng, CUTS),
                  any_node(w));
    n = any_node(w);
    if (chance(w, v->crash))
        crash(w, n, some_time_down(w));
    if (chance(w, v->power))
        power_cut(w);
    if (other->role == RAFT_LEADER && chance(w, v->ambush))
        ambush(w, other, any_node(w));
    n = any_node(w);
    if (chance(w, v->stop) && n->up)
        stop(w, n, between(w, 10 * MS, 3 * SECOND));
    if (chance(w, v->jump))
        jump(w, n);
    n = any_node(w);
    if (chance(w, v->slow))
        slow_disk(w, n);
    world_add(w, between(w, MS, v->fault_every_us), (struct event){ .type = EV_FAULT });
}

void world_aim(struct world *w, struct node *n)
{
    if (w->calm || !chance(w, w->weather.aimed))
        return;
    uint64_t kind = prng_below(&w->prng, 4);
    if (kind == 0 && w->weather.crash) /* a step is under way: just after it */
        world_add(w, chance(w, 500) ? 0 : between(w, 0, 20 * MS),
                  (struct event){ .type = EV_RESTART, .node = n, .life = n->life, .a = 1 });
    else if (kind == 1 && w->weather.stop)
        stop(w, n, between(w, 10 * MS, 3 * SECOND));
    else if (kind == 2 && w->weather.slow)
        slow_disk(w, n);
    else if (w->weather.partition)
        partition(w, n, prng_below(&w->prng, CUTS), any_node(w));
}

void world_aim_transfer(struct world *w, struct node *from, struct node *to)
{
    if (w->calm || !to->up || !w->weather.stop || !chance(w, w->weather.aimed))
        return;
    int64_t how_long = between(w, 10 * MS, 2 * SECOND);
    stop(w, to, how_long);
    if (w->weather.partition)
        world_add(w, how_long + between(w, -5 * MS, 5 * MS),
                  (struct event){ .type = EV_ALONE, .node = from });
}

/* ---- a run ---- */

static uint64_t some(struct world *w, uint64_t of_ten, uint64_t limit)
{
    uint64_t yes = prng_below(&w->prng, 10) < of_ten, how = 1 + prng_below(&w->prng, limit);
    return yes ? how : 0;
}

static void draw_weather(struct world *w)
{
    struct weather *v = &w->weather;
    v->nodes = prng_below(&w->prng, 8) == 0 ? 1 + prng_below(&w->prng, 5)
                                            : 3 + 2 * prng_below(&w->prng, 2);
    v->delay_us = between(w, 1, 30) * MS;
    v->late_us = between(w, 30, 3000) * MS;
    v->lose = some(w, 5, 100);
    v->twice = some(w, 4, 100);
    v->late = some(w, 5, 50);
    v->in_order = chance(w, 300);
    v->holds = chance(w, 300);
    v->partition = some(w, 7, 150);
    v->crash = some(w, 7, 150);
    v->ambush = some(w, 2, 50);
    v->power = some(w, 3, 20);
    v->stop = some(w, 5, 100);
    v->slow = some(w, 5, 200);
    v->aimed = some(w, 7, 100);
    v->fault_every_us = between(w, 100, 600) * MS;
    v->client_every_us = between(w, 5, 60) * MS;
    v->sync_us = chance(w, 200) ? between(w, 40, 300) * MS : between(w, 1, 20) * MS;
    v->drift = chance(w, 500);
    v->change = some(w, 6, 40);
    v->transfer = some(w, 5, 30);
    v->read = 100 + prng_below(&w->prng, 400);
    v->checkpoint_every = chance(w, 600) ? 10 + prng_below(&w->prng, 300) : UINT64_MAX;
    v->keep_bytes = chance(w, 500) ? 0 : prng_below(&w->prng, 20000);
    v->batch = 1 + some(w, 5, 20);
    v->payload = some(w, 5, 200);
    if (chance(w, 50)) { /* so that windows fill */
        v->payload = 200000;
        v->client_every_us = between(w, 60, 300) * MS;
        v->batch = 1 + v->batch % 8;
    }
    v->apply_late = some(w, 3, 500);
    v->lease_ms = w->lease || chance(w, 300) ? LEASE_MS : 0;
    v->jump = v->lease_ms ? 0 : some(w, 3, 50);
    if (v->lease_ms) { /* what it could do wrong needs an old leader that is asked */
        v->partition = 50 + prng_below(&w->prng, 150);
        v->client_every_us = between(w, 2, 20) * MS;
        v->batch = 1;
        v->transfer = chance(w, 500) ? 20 : 0;
        v->stop = 20 + prng_below(&w->prng, 50);
        v->aimed = 50 + prng_below(&w->prng, 100);
        v->ambush = some(w, 5, 300);
        v->crash = v->crash / 4;
    }
    w->count->lease_runs += v->lease_ms > 0;
}

void world_open(struct world *w, uint64_t seed, struct counters *count, bool trace, bool lease)
{
    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->prng.state = seed * 0x9e3779b97f4a7c15u;
    w->count = count;
    w->trace = trace;
    w->lease = lease;
    alloc_heap(&w->heap);
    arena_open(&w->arena, &w->heap);
    draw_weather(w);
    for (size_t i = 0; i < w->weather.nodes; i++) {
        struct node *n = &w->nodes[w->n_nodes++];
        n->first = n->exists = true;
        n->id = w->n_nodes;
    }
    for (size_t i = 0; i < w->n_nodes; i++)
        node_start(w, &w->nodes[i]);
    world_add(w, 0, (struct event){ .type = EV_CLIENT });
    world_add(w, between(w, 0, SECOND), (struct event){ .type = EV_FAULT });
    w->calm_at = between(w, 10, 60) * SECOND;
}

static void begin_calm(struct world *w)
{
    say(w, "calm");
    w->calm = true;
    memset(w->cut_off, 0, sizeof(w->cut_off));
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        if (!n->installing && n->held_until > w->now)
            n->held_until = w->now;
        n->disk.slow_until = 0;
        if (!n->up)
            node_start(w, n);
    }
}

static void happen(struct world *w, const struct event *e)
{
    switch (e->type) {
    case EV_CLIENT:
        if (w->calm)
            client_calm_tick(w);
        else
            client_tick(w);
        world_add(w, w->calm ? 50 * MS : client_pause(w), *e);
        return;
    case EV_FAULT:
        if (w->now < w->quiet_until)
            world_add(w, w->quiet_until - w->now + 1, *e);
        else if (!w->calm)
            fault_tick(w);
        return;
    case EV_MEND:
        if (!w->calm && e->a == w->partition)
            mend(w);
        return;
    case EV_AMBUSH:
        if (!w->calm)
            ambush_ends(w, e);
        return;
    case EV_ALONE:
        if (!w->calm)
            partition(w, e->node, CUT_ALONE, e->node);
        return;
    case EV_HELD:
        if (e->life == e->node->life)
            world_send(w, e->node, e->packet);
        return;
    case EV_RESTART:
        if (e->a && !w->calm && e->life == e->node->life)
            crash(w, e->node, some_time_down(w));
        else if (!e->a && !e->node->up)
            node_start(w, e->node);
        return;
    case EV_NONE:
    case EV_MESSAGE:
    case EV_TIMER:
    case EV_SYNCED:
    case EV_PERSISTED:
    case EV_APPLY:
    case EV_CHECKPOINT:
    case EV_OFFERED:
    case EV_INSTALL:
    case EV_INSTALLED:
    case EV_SNAPSHOT:
    case EV_LOST:
    case EV_READ:
    default:
        node_event(w, e);
    }
}

bool world_run(struct world *w)
{
    char why[128] = "";
    while (!w->problem[0]) {
        struct event e = next_event(w);
        CHECK(e.at >= w->now);
        w->now = e.at;
        if (!w->calm && w->now >= w->calm_at)
            begin_calm(w);
        happen(w, &e);
        if (w->run_steps > STEPS_MAX)
            violated(w, NULL, "%d steps: a storm", STEPS_MAX);
        if (w->calm && e.type == EV_CLIENT) {
            if (client_done(w, why))
                break;
            if (w->now > w->calm_at + (int64_t)LIVE_MS * MS)
                violated(w, NULL, "no progress in %d ms of calm: %s", LIVE_MS, why);
        }
    }
    return !w->problem[0];
}

void world_close(struct world *w)
{
    for (size_t i = 0; i < w->n_nodes; i++)
        node_close(w, &w->nodes[i]);
    VEC_CLOSE(&w->queue, &w->heap);
    VEC_CLOSE(&w->terms, &w->heap);
    arena_close(&w->arena);
    CHECK(w->heap.used == 0);
}
