/* What a node does around raft: its clock, its disk, what it applies, checkpoints it takes, sends
 * and installs. */
#include "sim.h"
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

static const char *const role_names[] = { "follower", "precandidate", "candidate", "leader" };

/* ---- clock ---- */

int64_t node_clock_us(const struct world *w, const struct node *n)
{
    return n->clock_at + (w->now - n->clock_from) * n->clock_ppm / 1000000;
}

static void set_timer(struct world *w, struct node *n, int64_t at_ms)
{
    if (at_ms == n->timer_ms)
        return;
    n->timer_ms = at_ms;
    n->timer++;
    if (at_ms == INT64_MAX)
        return;
    int64_t left = at_ms * MS - node_clock_us(w, n);
    int64_t after = left > 0 ? left * 1000000 / n->clock_ppm + 1 : 1;
    world_add(w, after + (w->calm ? 0 : between(w, 0, 2 * MS)),
              (struct event){ .type = EV_TIMER, .node = n, .life = n->life, .a = n->timer });
}

void node_clock_set(struct world *w, struct node *n, int64_t at, int64_t ppm)
{
    int64_t timer_ms = n->timer_ms;
    n->clock_from = w->now;
    n->clock_at = at;
    n->clock_ppm = ppm;
    n->timer_ms = -1;
    if (n->up && timer_ms != -1)
        set_timer(w, n, timer_ms);
}

/* ---- disk ---- */

uint64_t disk_last(const struct disk *d)
{
    return d->checkpoint.index + d->log.n;
}

bool disk_has(const struct node *n, uint64_t index, uint64_t term)
{
    const struct disk *d = &n->disk;
    if (index <= d->checkpoint.index)
        return true; /* checkpoints are of what is committed, and compared */
    return index <= disk_last(d) && d->log.items[index - d->checkpoint.index - 1]->term == term;
}

static void write_batch(struct world *w, struct node *n, const struct batch *b)
{
    struct disk *d = &n->disk;
    if (b->cut && (b->cut <= d->checkpoint.index || b->cut > disk_last(d))) {
        violated(w, n, "cut from %d, and the disk holds from %d to %d", (int)b->cut,
                 (int)d->checkpoint.index + 1, (int)disk_last(d));
        return;
    }
    if (b->cut)
        d->log.n = (size_t)(b->cut - d->checkpoint.index - 1);
    if (b->hard && (b->term < d->term || (b->term == d->term && d->vote && b->vote != d->vote)))
        violated(w, n, "term %d, vote %d written over term %d, vote %d", (int)b->term, (int)b->vote,
                 (int)d->term, (int)d->vote);
    if (b->hard) {
        d->term = b->term;
        d->vote = b->vote;
    }
    for (size_t i = 0; i < b->n; i++) {
        if (b->entries[i]->index != disk_last(d) + 1)
            violated(w, n, "entry %d written after %d", (int)b->entries[i]->index,
                     (int)disk_last(d));
        VEC_PUSH(&d->log, &w->heap, b->entries[i]);
    }
}

static void write_batches(struct world *w, struct node *n, size_t count)
{
    struct disk *d = &n->disk;
    for (size_t i = 0; i < count; i++)
        write_batch(w, n, &d->queue.items[i]);
    d->queue.n -= count;
    if (d->queue.n)
        memmove(d->queue.items, d->queue.items + count, d->queue.n * sizeof(*d->queue.items));
}

static int64_t sync_time(struct world *w, const struct node *n)
{
    if (w->calm)
        return between(w, 100, 3 * MS);
    if (w->now < n->disk.slow_until)
        return between(w, 30 * MS, n->disk.slow_us);
    return between(w, 50, w->weather.sync_us);
}

static void sync_next(struct world *w, struct node *n)
{
    struct disk *d = &n->disk;
    if (d->writing || !d->queue.n)
        return;
    d->writing = chance(w, 700) ? d->queue.n : 1 + prng_below(&w->prng, d->queue.n);
    world_add(w, sync_time(w, n), (struct event){ .type = EV_SYNCED, .node = n, .life = n->life });
}

static void synced(struct world *w, struct node *n)
{
    struct disk *d = &n->disk;
    uint64_t number = d->queue.items[d->writing - 1].number;
    write_batches(w, n, d->writing);
    d->writing = 0;
    world_add(w, chance(w, 800) ? 0 : between(w, 0, 5 * MS),
              (struct event){ .type = EV_PERSISTED, .node = n, .life = n->life, .a = number });
    sync_next(w, n);
}

static void keep_checkpoint(struct world *w, struct node *n, const struct checkpoint *c)
{
    struct disk *d = &n->disk;
    if (c->index <= d->checkpoint.index)
        return;
    if (!disk_has(n, c->index, c->term)) {
        violated(w, n, "checkpoint of %d.%d, and the disk has no such entry", (int)c->index,
                 (int)c->term);
        return;
    }
    size_t drop = (size_t)(c->index - d->checkpoint.index);
    d->log.n -= drop;
    if (d->log.n)
        memmove(d->log.items, d->log.items + drop, d->log.n * sizeof(*d->log.items));
    d->checkpoint = *c;
}

static void replace_all(struct node *n, const struct checkpoint *c)
{
    n->disk.checkpoint = *c;
    n->disk.log.n = 0;
}

/* ---- applying and checkpoints ---- */

static struct checkpoint *now_checkpoint(struct world *w, struct node *n)
{
    struct checkpoint *c = ARENA_NEW(&w->arena, struct checkpoint);
    *c =
        (struct checkpoint){ n->applied, raft_term_at(n->raft, n->applied), n->digest, n->members };
    if (!c->term)
        c->term = w->commits[n->applied].record->term;
    w->count->checkpoints++;
    return c;
}

static void maybe_checkpoint(struct world *w, struct node *n)
{
    if (n->checkpointing || n->applied < n->disk.checkpoint.index ||
        n->applied - n->disk.checkpoint.index < w->weather.checkpoint_every)
        return;
    n->checkpointing = true;
    world_add(w, between(w, MS, 300 * MS),
              (struct event){ .type = EV_CHECKPOINT,
                              .node = n,
                              .life = n->life,
                              .checkpoint = now_checkpoint(w, n) });
}

static void apply(struct world *w, struct node *n)
{
    for (uint64_t i = n->applied + 1; i <= n->commit && !w->problem[0]; i++) {
        struct raft_entry x;
        if (!raft_entry_at(n->raft, i, &x)) {
            violated(w, n, "entry %d may be applied and is not held", (int)i);
            return;
        }
        struct record *r = check_entry(w, n, &x, UNKNOWN, false);
        if (!r)
            return;
        check_apply(w, n, r);
        n->applied = i;
        if (r->type == RAFT_MEMBERS)
            n->members = r;
    }
    raft_applied(n->raft, n->applied);
    maybe_checkpoint(w, n);
}

/* ---- snapshots ---- */

static void answer_snapshot(struct world *w, uint64_t leader, uint64_t life, const struct node *n,
                            uint64_t index)
{
    w->count->snapshots_failed += index == 0;
    world_add(w, index ? between(w, MS, 100 * MS) : between(w, 10 * MS, SECOND),
              (struct event){ .type = EV_SNAPSHOT,
                              .node = world_node(w, leader),
                              .life = life,
                              .a = n->id,
                              .b = index });
}

static void send_snapshot(struct world *w, struct node *n, uint64_t to)
{
    struct node *peer = world_node(w, to);
    struct checkpoint *c = ARENA_NEW(&w->arena, struct checkpoint);
    w->count->snapshots++;
    *c = n->disk.checkpoint;
    /* One that the log does not follow any more would not help. */
    if (!c->index || !raft_term_at(n->raft, c->index)) {
        c = now_checkpoint(w, n);
        keep_checkpoint(w, n, c);
    }
    say(w, "%d sends a snapshot of %d to %d", (int)n->id, (int)c->index, (int)to);
    if (!world_linked(w, n, peer)) {
        answer_snapshot(w, n->id, n->life, peer, 0);
        return;
    }
    world_add(w, between(w, MS, w->calm ? 50 * MS : SECOND),
              (struct event){ .type = EV_OFFERED,
                              .node = peer,
                              .life = peer->life,
                              .a = n->id,
                              .b = n->life,
                              .checkpoint = c });
}

static void offered(struct world *w, const struct event *e)
{
    struct node *n = e->node;
    const struct checkpoint *c = e->checkpoint;
    bool fails = !n->up || n->life != e->life || n->installing || (!w->calm && chance(w, 100)) ||
                 w->cut_off[e->a - 1][n->id - 1];
    if (fails) {
        answer_snapshot(w, e->a, e->b, n, 0);
    } else if (!raft_wants(n->raft, c->index, c->term)) {
        say(w, "%d does not want the snapshot of %d", (int)n->id, (int)c->index);
        answer_snapshot(w, e->a, e->b, n, disk_has(n, c->index, c->term) ? c->index : 0);
    } else {
        n->installing = c;
        n->install_from = e->a;
        n->install_life = e->b;
        world_add(w, 0, (struct event){ .type = EV_INSTALL, .node = n, .life = n->life });
    }
}

/* It waits for its disk, and takes nothing in the meantime. */
static void install(struct world *w, struct node *n, const struct event *e)
{
    struct event again = *e;
    const struct checkpoint *c = n->installing;
    if (n->number > n->told) {
        n->held_until = w->now + MS;
        world_add(w, MS, again);
        return;
    }
    if (!raft_wants(n->raft, c->index, c->term)) {
        answer_snapshot(w, n->install_from, n->install_life, n, 0);
        n->installing = NULL;
        return;
    }
    int64_t after = between(w, MS, 300 * MS);
    n->held_until = w->now + after + 1;
    again.type = EV_INSTALLED;
    world_add(w, after, again);
}

static void installed(struct world *w, struct node *n)
{
    const struct checkpoint *c = n->installing;
    struct raft_event x = { .type = RAFT_INSTALLED };
    struct raft_member members[RAFT_MEMBERS_MAX];
    enum err err = raft_members_decode(c->members->data, members, &x.installed.n_members);
    CHECK(err == ERR_OK && !n->disk.queue.n);
    replace_all(n, c);
    n->installing = NULL;
    n->applied = n->commit = c->index;
    n->digest = c->digest;
    n->members = c->members;
    n->configs.n = 0;
    VEC_PUSH(&n->configs, &w->heap, n->members);
    check_installed(w, n, c);
    x.installed.index = c->index;
    x.installed.term = c->term;
    x.installed.members = members;
    w->count->installs++;
    say(w, "%d has installed %d.%d", (int)n->id, (int)c->index, (int)c->term);
    if (node_step(w, n, &x) != ERR_OK)
        violated(w, n, "a snapshot of %d was not taken", (int)c->index);
    answer_snapshot(w, n->install_from, n->install_life, n, c->index);
}

/* ---- the step ---- */

static void take_records(struct world *w, struct node *n, const struct raft_update *u)
{
    struct batch b = { u->number, u->cut,      u->term, u->vote, u->hard_state_changed,
                       NULL,      u->n_entries };
    if (u->cut) {
        w->count->cuts++;
        check_cut(w, n, u->cut);
        while (n->configs.n > 1 && n->configs.items[n->configs.n - 1]->index >= u->cut)
            n->configs.n--;
    }
    if (!u->number) {
        if (u->cut || u->hard_state_changed || u->n_entries)
            violated(w, n, "records without a number");
        return;
    }
    if (u->number != ++n->number)
        violated(w, n, "number %d after %d", (int)u->number, (int)n->number - 1);
    b.entries = ARENA_ARRAY(&w->arena, struct record *, b.n);
    for (size_t i = 0; i < b.n; i++) {
        const struct raft_entry *x = &u->entries[i];
        uint64_t before = i ? u->entries[i - 1].term : raft_term_at(n->raft, x->index - 1);
        bool makes = (u->role == RAFT_LEADER && x->term == u->term) || x->index == 1;
        b.entries[i] = check_entry(w, n, x, before, makes);
        if (!b.entries[i])
            return;
        if (x->type != RAFT_MEMBERS)
            continue;
        VEC_PUSH(&n->configs, &w->heap, b.entries[i]);
        n->made_members = u->role == RAFT_LEADER;
    }
    VEC_PUSH(&n->disk.queue, &w->heap, b);
    sync_next(w, n);
}

static void send_message(struct world *w, struct node *n, const struct raft_message *m)
{
    struct packet *p = ARENA_NEW(&w->arena, struct packet);
    check_message(w, n, m);
    p->m = *m;
    p->m.entries = NULL;
    p->entries = ARENA_ARRAY(&w->arena, struct record *, m->n_entries);
    for (size_t i = 0; i < m->n_entries; i++) {
        uint64_t before = i ? m->entries[i - 1].term : m->index_term;
        p->entries[i] = check_entry(w, n, &m->entries[i], before, false);
        if (!p->entries[i])
            return;
    }
    world_send(w, n, p);
    if (m->type == RAFT_TIMEOUT_NOW)
        world_aim_transfer(w, n, world_node(w, m->to));
}

static void say_step(const struct world *w, const struct node *n, const struct raft_event *e,
                     const struct raft_update *u)
{
    static const char *const names[] = { "start",    "timeout",  "submit",      "persisted",
                                         "read",     "receive",  "unreachable", "change",
                                         "transfer", "snapshot", "installed" };
    static const char *const messages[] = {
        "?",          "prevote", "prevote_reply", "vote",
        "vote_reply", "append",  "append_reply",  "timeout_now"
    };
    const struct raft_message *m = e->type == RAFT_RECEIVE ? e->message : NULL;
    say(w, "%d %s: %s of term %d, vote %d, leader %d, commit %d, last %d, records %d cut %d + %d",
        (int)n->id, names[e->type], role_names[u->role], (int)u->term, (int)u->vote, (int)u->leader,
        (int)u->commit_index, (int)raft_last_index(n->raft), (int)u->number, (int)u->cut,
        (int)u->n_entries);
    if (m)
        say(w,
            "    got %s from %d: term %d, at %d.%d, rejected %d, commit %d, round %d, "
            "granted %d, entries %d",
            messages[m->type], (int)m->from, (int)m->term, (int)m->index, (int)m->index_term,
            (int)m->rejected, (int)m->commit, (int)m->round, m->granted, (int)m->n_entries);
    for (size_t i = 0; i < u->n_messages; i++) {
        m = &u->messages[i];
        say(w,
            "    sends %s to %d: term %d, at %d.%d, rejected %d, commit %d, round %d, "
            "granted %d, entries %d",
            messages[m->type], (int)m->to, (int)m->term, (int)m->index, (int)m->index_term,
            (int)m->rejected, (int)m->commit, (int)m->round, m->granted, (int)m->n_entries);
    }
}

static void do_update(struct world *w, struct node *n, const struct raft_update *u)
{
    enum raft_role role = n->role;
    take_records(w, n, u);
    check_update(w, n, u);
    for (size_t i = 0; i < u->n_messages && !w->problem[0]; i++)
        send_message(w, n, &u->messages[i]);
    check_leader(w, n);
    for (size_t i = 0; i < u->n_reads; i++)
        check_read(w, n, &u->reads[i]);
    if (u->reads_lost) {
        w->count->reads_lost += n->reads.n;
        n->reads.n = 0;
    }
    for (size_t i = 0; i < u->n_snapshots && !w->problem[0]; i++)
        send_snapshot(w, n, u->snapshots[i]);
    if (n->commit > n->applied && !w->problem[0]) {
        if (!w->calm && chance(w, w->weather.apply_late))
            world_add(w, between(w, 0, 300 * MS),
                      (struct event){ .type = EV_APPLY, .node = n, .life = n->life });
        else
            apply(w, n);
    }
    set_timer(w, n, u->timeout_ms);
    if (u->role == RAFT_LEADER && (role != RAFT_LEADER || u->members_changed))
        world_aim(w, n);
    else if (role != u->role || u->members_changed || u->cut)
        world_aim(w, n);
}

enum err node_step(struct world *w, struct node *n, struct raft_event *e)
{
    struct raft_update u;
    CHECK(n->up);
    e->now_ms = node_clock_us(w, n) / MS;
    n->made_members = false;
    n->asked = e->type == RAFT_RECEIVE ? e->message : NULL;
    n->config_before = n->configs.n ? n->configs.items[n->configs.n - 1] : NULL;
    w->count->steps++;
    w->run_steps++;
    enum err err = raft_step(n->raft, e, &u);
    if (e->type == RAFT_START && err != ERR_OK)
        return err;
    if (w->trace)
        say_step(w, n, e, &u);
    do_update(w, n, &u);
    return err;
}

/* ---- from start to crash ---- */

static size_t start_members(const struct world *w, const struct node *n, struct raft_member *out)
{
    size_t count = 0;
    if (n->disk.checkpoint.members) {
        enum err e = raft_members_decode(n->disk.checkpoint.members->data, out, &count);
        CHECK(e == ERR_OK);
    } else if (n->first) {
        for (; count < w->weather.nodes; count++)
            out[count] = (struct raft_member){ count + 1, RAFT_VOTER, SPAN("first") };
    }
    return count;
}

static void from_disk(struct world *w, struct node *n)
{
    const struct disk *d = &n->disk;
    n->term = d->term;
    n->vote = d->vote;
    n->role = RAFT_FOLLOWER;
    n->leader = n->number = n->told = 0;
    n->applied = n->commit = d->checkpoint.index;
    n->digest = d->checkpoint.digest;
    n->members = d->checkpoint.members;
    n->configs.n = n->reads.n = 0;
    n->checkpointing = false;
    n->installing = NULL;
    n->held_until = 0;
    n->timer_ms = -1;
    if (n->members)
        VEC_PUSH(&n->configs, &w->heap, n->members);
    for (size_t i = 0; i < d->log.n; i++)
        if (d->log.items[i]->type == RAFT_MEMBERS)
            VEC_PUSH(&n->configs, &w->heap, d->log.items[i]);
}

static int64_t draw_ppm(struct world *w)
{
    if (!w->weather.drift)
        return 1000000;
    if (!w->weather.lease_ms)
        return 1000000 + between(w, -400000, 400000);
    return 1000000 + (chance(w, 500) ? LEASE_DRIFT_PPM : -LEASE_DRIFT_PPM);
}

void node_start(struct world *w, struct node *n)
{
    struct disk *d = &n->disk;
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct raft_start s = { .self = n->id,
                            .term = d->term,
                            .vote = d->vote,
                            .snapshot_index = d->checkpoint.index,
                            .snapshot_term = d->checkpoint.term,
                            .members = members,
                            .random = prng_next(&w->prng),
                            .keep_bytes = w->weather.keep_bytes,
                            .lease_ms = w->weather.lease_ms,
                            .n_entries = d->log.n };
    struct raft_entry *entries = calloc(d->log.n + 1, sizeof(*entries));
    CHECK(!n->up && entries);
    n->up = n->exists = true;
    from_disk(w, n);
    if (!n->clock_ppm || chance(w, 300)) /* the machine itself was started */
        node_clock_set(w, n, between(w, 0, SECOND), draw_ppm(w));
    for (size_t i = 0; i < d->log.n; i++) {
        const struct record *r = d->log.items[i];
        entries[i] = (struct raft_entry){ r->index, r->term, r->type, r->data };
    }
    s.entries = entries;
    s.n_members = start_members(w, n, members);
    alloc_heap(&n->heap);
    n->raft = raft_open(&n->heap);
    struct raft_event e = { .type = RAFT_START, .start = &s };
    say(w, "%d starts: term %d, vote %d, checkpoint %d.%d, last %d", (int)n->id, (int)d->term,
        (int)d->vote, (int)d->checkpoint.index, (int)d->checkpoint.term, (int)disk_last(d));
    enum err err = node_step(w, n, &e);
    free(entries);
    if (err != ERR_OK)
        violated(w, n, "does not start from its disk: %s", err_text(err));
}

void node_close(struct world *w, struct node *n)
{
    if (n->up) {
        raft_close(n->raft);
        if (n->heap.used && !w->problem[0])
            violated(w, n, "%d bytes leaked", (int)n->heap.used);
    }
    n->up = false;
    VEC_CLOSE(&n->disk.log, &w->heap);
    VEC_CLOSE(&n->disk.queue, &w->heap);
    VEC_CLOSE(&n->configs, &w->heap);
    VEC_CLOSE(&n->reads, &w->heap);
}

void node_crash(struct world *w, struct node *n)
{
    struct disk *d = &n->disk;
    CHECK(n->up);
    n->life++;
    raft_close(n->raft);
    if (n->heap.used)
        violated(w, n, "%d bytes leaked", (int)n->heap.used);
    n->raft = NULL;
    n->up = false;
    w->count->reads_lost += n->reads.n;
    n->reads.n = 0;
    size_t saved = chance(w, 400) ? 0 : prng_below(&w->prng, d->queue.n + 1);
    w->count->batches_lost += d->queue.n - saved;
    write_batches(w, n, saved);
    d->queue.n = d->writing = 0;
    if (n->installing && n->held_until > w->now && n->number == n->told && chance(w, 500))
        replace_all(n, n->installing);
    if (n->installing)
        answer_snapshot(w, n->install_from, n->install_life, n, 0);
    n->installing = NULL;
}

/* ---- events ---- */

static void receive(struct world *w, struct node *n, const struct packet *p)
{
    struct raft_message m = p->m;
    struct raft_entry *entries = calloc(m.n_entries + 1, sizeof(*entries));
    size_t bytes = 0, at = 0;
    for (size_t i = 0; i < m.n_entries; i++)
        bytes += p->entries[i]->data.len;
    uint8_t *data = malloc(bytes + 1); /* gone after the step: who keeps a pointer is found */
    CHECK(entries && data);
    for (size_t i = 0; i < m.n_entries; i++) {
        const struct record *r = p->entries[i];
        if (r->data.len)
            memcpy(data + at, r->data.data, r->data.len);
        entries[i] =
            (struct raft_entry){ r->index, r->term, r->type, span_of(data + at, r->data.len) };
        at += r->data.len;
    }
    m.entries = entries;
    struct raft_event x = { .type = RAFT_RECEIVE, .message = &m };
    if (node_step(w, n, &x) != ERR_OK)
        violated(w, n, "a message was not taken");
    free(entries);
    free(data);
}

static void persisted(struct world *w, struct node *n, uint64_t number)
{
    struct raft_event x = { .type = RAFT_PERSISTED, .persisted = number };
    if (number <= n->told)
        return; /* told late, and more was told before */
    n->told = number;
    if (node_step(w, n, &x) != ERR_OK)
        violated(w, n, "PERSISTED was not taken");
}

static void others(struct world *w, struct node *n, const struct event *e)
{
    struct raft_event x = { .type = RAFT_TIMEOUT };
    enum err err = ERR_OK;
    if (e->type == EV_TIMER && e->a == n->timer) {
        n->timer_ms = -1;
        err = node_step(w, n, &x);
    } else if (e->type == EV_LOST) {
        x.type = RAFT_UNREACHABLE;
        x.peer.id = e->a;
        x.peer.gone = e->b && !world_node(w, e->a)->up;
        err = node_step(w, n, &x);
    } else if (e->type == EV_SNAPSHOT) {
        x.type = RAFT_SNAPSHOT;
        x.snapshot.peer = e->a;
        x.snapshot.index = e->b;
        err = node_step(w, n, &x);
    } else if (e->type == EV_CHECKPOINT) {
        n->checkpointing = false;
        keep_checkpoint(w, n, e->checkpoint);
    } else if (e->type == EV_APPLY) {
        apply(w, n);
    } else if (e->type == EV_READ && n->role == RAFT_LEADER) {
        client_read(w, n);
    }
    if (err != ERR_OK)
        violated(w, n, "an event was not taken: %s", err_text(err));
}

void node_event(struct world *w, const struct event *e)
{
    struct node *n = e->node;
    if (e->type == EV_OFFERED) {
        offered(w, e);
        return;
    }
    if (!n->up || (e->type != EV_MESSAGE && e->life != n->life))
        return;
    if (e->type == EV_SYNCED)
        synced(w, n);
    else if (e->type == EV_PERSISTED && n->installing)
        persisted(w, n, e->a);
    else if (e->type == EV_INSTALL)
        install(w, n, e);
    else if (e->type == EV_INSTALLED)
        installed(w, n);
    else if (w->now < n->held_until)
        world_add(w, n->held_until - w->now, *e);
    else if (e->type == EV_MESSAGE)
        receive(w, n, e->packet);
    else if (e->type == EV_PERSISTED)
        persisted(w, n, e->a);
    else
        others(w, n, e);
}
