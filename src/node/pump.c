/* The pump: takes what a turn of the loop gathered through raft, the disk and the machine.
 *
 * At a turn's end all commands of the turn are submitted as entries; if the disk is free,
 * everything that waits goes to it as one batch; when it comes back, raft hears PERSISTED, what
 * is committed is applied and answered. While the disk is busy the next batch grows: group
 * commit without a timer. */
#include "node/node_int.h"
#include "base/check.h"

/* ---- proposals ---- */

static enum err may_propose(struct node *n, const struct request *r, const struct call *call)
{
    if (n->stopping && call)
        return ERR_STOPPED;
    if (!level_allows(n, r))
        return ERR_LEVEL;
    if (n->nospace && request_cost(r) > 0) /* what frees space goes on */
        return ERR_NOSPACE;
    bool urgent = !call || r->type == REQUEST_LEASE_REVOKE;
    return admit_overloaded(n, urgent) ? ERR_TOO_MANY_REQUESTS : ERR_OK;
}

/* Lease ids are positive; one that lives already is drawn again. */
static int64_t draw_lease_id(struct node *n)
{
    int64_t id;
    do
        id = (int64_t)(prng_next(&n->prng) >> 1);
    while (id == 0 || lease_known(n->machine.lease, id));
    return id;
}

/* What only the one who leads may propose. */
static bool leaders_own(const struct request *r)
{
    return r->type == REQUEST_LEASE_EXPIRE || r->type == REQUEST_LEASE_NOTE ||
           r->type == REQUEST_LEVEL;
}

enum err pump_propose(struct node *n, const struct request *r, struct call *call, int64_t lease)
{
    enum err e = may_propose(n, r, call);
    if (e != ERR_OK)
        return e;
    bool choose = r->type == REQUEST_LEASE_GRANT && r->lease.id == 0;
    size_t start = n->commands.len;
    machine_command(r, loop_wall_ms(n->loop), choose ? draw_lease_id(n) : 0, &n->commands);
    CHECK(n->commands.len > start);
    struct proposal p = {
        .call = call, .own = leaders_own(r), .lease = lease, .since_ms = loop_now_ms(n->loop)
    };
    if (call)
        p.note = audit_begin(call, r);
    VEC_PUSH(&n->command_ends, &n->alloc, n->commands.len);
    VEC_PUSH(&n->submitted, &n->alloc, p);
    return ERR_OK;
}

enum err pump_would(struct node *n, const struct request *r, const struct call *call)
{
    enum err e = may_propose(n, r, call);
    if (e == ERR_OK)
        e = request_barred(&n->machine.alarms, r);
    return e == ERR_OK ? machine_would(&n->machine, r, &n->turn) : e;
}

/* Nothing comes into the log that could not be applied, nor what only a leader may propose. */
static enum err check_foreign(struct node *n, struct span command)
{
    struct request r;
    enum err e = machine_command_read(command, &n->turn, &r);
    if (e == ERR_OK && leaders_own(&r))
        e = ERR_BAD_REQUEST;
    if (e == ERR_OK && !level_allows(n, &r))
        e = ERR_LEVEL;
    if (e == ERR_OK)
        e = request_check(&r, &n->turn);
    return e == ERR_OK && n->nospace && request_cost(&r) > 0 ? ERR_NOSPACE : e;
}

enum err pump_propose_bytes(struct node *n, struct span command, struct proposal p)
{
    if (n->update.role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (admit_overloaded(n, false))
        return ERR_TOO_MANY_REQUESTS;
    enum err e = check_foreign(n, command);
    if (e != ERR_OK)
        return e;
    buf_span(&n->commands, command);
    VEC_PUSH(&n->command_ends, &n->alloc, n->commands.len);
    VEC_PUSH(&n->submitted, &n->alloc, p);
    return ERR_OK;
}

void proposal_failed(struct node *n, const struct proposal *p, enum err e)
{
    n->metrics.proposals_failed++;
    audit_end(n, p->note, e, NULL, NULL, 0);
    if (p->lease) {
        lease_not_proposed(n->machine.lease, p->lease);
        n->renewals_due = true;
    }
    if (p->peer)
        forward_reply(n, p, e, 0, 0);
    if (p->call)
        call_failed(p->call, e);
}

/* ---- applying ---- */

static bool revokes(enum request_type type)
{
    return type == REQUEST_LEASE_REVOKE || type == REQUEST_LEASE_EXPIRE;
}

/* As etcd counts (mvcc/metrics_txn.go): each op, and a transaction of more than one. */
static size_t count_ops(struct metrics *m, const struct kv_txn_result *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_ops; i++) {
        enum kv_op_type type = t->ops[i].type;
        m->ranges += type == KV_OP_RANGE;
        m->deletes += type == KV_OP_DELETE;
        n += type == KV_OP_TXN ? count_ops(m, t->ops[i].txn) : 1;
    }
    return n;
}

static void count_txn(struct metrics *m, const struct kv_txn_result *t)
{
    m->txns += count_ops(m, t) > 1;
}

static void count_changes(struct metrics *m, const struct kv_change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct kv_version *v = changes[i].now;
        m->puts += !v->tombstone;
        m->puts_bytes += v->tombstone ? 0 : kv_key(v).len + v->value_size;
    }
}

static void count_applied(struct metrics *m, const struct reply *reply)
{
    if (reply->err != ERR_OK)
        return;
    m->deletes += reply->type == REQUEST_DELETE;
    if (reply->type == REQUEST_TXN)
        count_txn(m, &reply->txn);
    m->leases_granted += reply->type == REQUEST_LEASE_GRANT;
    m->leases_revoked += revokes(reply->type);
}

static void apply_command(struct node *n, const struct raft_entry *e, struct proposal p)
{
    struct reply reply;
    const struct kv_change *changes;
    size_t count;
    enum err err = machine_apply(&n->machine, e->index, e->term, e->data, loop_now_ms(n->loop),
                                 &n->apply, &reply, &changes, &count);
    if (err != ERR_OK) {
        slog(SLOG_ERROR, "the log holds a command that this build cannot apply; run a newer one",
             "index=%llu error=%s", (unsigned long long)e->index, slog_quote(err_text(err)));
        loop_die();
    }
    count_applied(&n->metrics, &reply);
    if (request_of_auth(reply.type) && reply.err == ERR_OK) {
        login_applied(n, &reply);
        if (reply.type != REQUEST_AUTHENTICATE) { /* takes nothing from anybody */
            watching_judge(n);
            pushing_judge(n);
            n->logins.changed = SPAN_NONE;
        }
    }
    count_changes(&n->metrics, changes, count);
    audit_end(n, p.note, reply.err, &reply, changes, count);
    if (count) {
        flagsets_changed(n->flagsets, changes, count);
        rest_links_changed(n->links, changes, count);
        revoke_changed(n, changes, count);
        login_changed(n, changes, count); /* before anybody hears of anything */
        locking_changed(n, changes, count);
        watching_deliver(n, changes, count);
        watching_environments(n, changes, count);
        pushing_deliver(n, changes, count);
    }
    if (reply.type == REQUEST_LEVEL)
        level_applied(n);
    if (reply.type == REQUEST_LEASE_GRANT)
        leasing_timer(n);
    if (revokes(reply.type) || reply.type == REQUEST_LEASE_NOTE)
        n->renewals_due = true;
    if (p.call)
        call_replied(p.call, &reply);
    locking_settle(n);
    arena_reset(&n->apply);
}

static void apply_members(struct node *n, const struct raft_entry *e, struct proposal p)
{
    machine_members(&n->machine, e->index, e->term, e->data);
    cluster_applied(n);
    if (p.call)
        call_members_changed(p.call);
}

/* Who waits for this place. Another entry than the one that was put there makes it certain that
 * that one is lost: only its leader ever had it. */
static struct proposal take_awaited(struct node *n, uint64_t index, uint64_t term)
{
    struct proposal found = { .call = NULL };
    struct awaited *first;
    while ((first = awaited_first(&n->awaited)) != NULL && first->index <= index) {
        struct awaited a = *first;
        awaited_drop_first(&n->awaited);
        if (a.index == index && a.term == term)
            found = a.proposal;
        else
            proposal_failed(n, &a.proposal,
                            a.index == index ? ERR_LEADER_CHANGED : ERR_LEADER_FAILED);
    }
    return found;
}

static void apply_entry(struct node *n, const struct raft_entry *e)
{
    struct proposal p = take_awaited(n, e->index, e->term);
    leasing_applies(n, e->term);
    if (e->type == RAFT_COMMAND)
        apply_command(n, e, p);
    else if (e->type == RAFT_MEMBERS)
        apply_members(n, e, p);
    else
        machine_skip(&n->machine, e->index, e->term);
    n->metrics.proposals_applied++;
    digest_applied(n);
}

static void apply_committed(struct node *n)
{
    int64_t start_us = loop_clock_us();
    uint64_t index = n->machine.applied_index;
    uint64_t commit = n->update.commit_index;
    if (transfer_loading(n))
        return;
    CHECK(commit >= index);
    if (commit == index)
        return;
    if (commit - index > APPLY_PER_TURN) {
        commit = index + APPLY_PER_TURN;
        upkeep_again(n);
    }
    n->metrics.proposals_committed += commit - index;
    while (index < commit) {
        struct raft_entry e;
        CHECK(raft_entry_at(n->raft, ++index, &e));
        apply_entry(n, &e);
    }
    raft_state_bytes(n->raft, n->store_alloc.used);
    raft_applied(n->raft, index);
    int64_t took_us = loop_clock_us() - start_us;
    histogram_add(&n->metrics.apply_seconds, took_us);
    n->metrics.slow_applies += took_us > SLOW_APPLY_US;
}

/* ---- raft and disk ---- */

static void queue_records(struct node *n, const struct raft_update *u)
{
    if (!u->number)
        return;
    n->records_number = u->number;
    if (u->cut) {
        struct log_record r = { .type = LOG_TRUNCATE, .index = u->cut };
        log_batch_record(&n->records, &r);
        n->records_last = u->cut - 1;
    }
    if (u->hard_state_changed) {
        struct log_record r = { .type = LOG_HARD_STATE, .term = u->term, .vote = u->vote };
        log_batch_record(&n->records, &r);
    }
    for (size_t i = 0; i < u->n_entries; i++) {
        const struct raft_entry *e = &u->entries[i];
        struct log_record r = { .type = LOG_ENTRY,
                                .index = e->index,
                                .term = e->term,
                                .entry_type = (uint8_t)e->type,
                                .data = e->data };
        log_batch_record(&n->records, &r);
        n->records_last = e->index;
    }
}

void pump_took(struct node *n, const struct raft_update *u)
{
    CHECK(!n->taking); /* what an update says is done before the next step */
    n->taking = true;
    if (u->leader != n->update.leader && u->leader != 0) {
        n->metrics.leader_changes++;
        slog(SLOG_INFO, "leader", "term=%llu leader=%llx self=%llx", (unsigned long long)u->term,
             (unsigned long long)u->leader, (unsigned long long)n->header.member_id);
    }
    n->metrics.elections += u->role == RAFT_CANDIDATE && n->update.role != RAFT_CANDIDATE;
    leasing_took(n, u);
    queue_records(n, u);
    n->update = *u;
    n->header.term = u->term;
    forward_reads(n, u);
    cluster_update(n, u);
    if (u->timeout_ms != INT64_MAX && n->upkeep)
        loop_timer_set(n->loop, &n->raft_timer, u->timeout_ms);
    n->taking = false;
}

enum err pump_raft(struct node *n, struct raft_event *event)
{
    struct raft_update u;
    event->now_ms = loop_now_ms(n->loop);
    enum err e = raft_step(n->raft, event, &u);
    pump_took(n, &u);
    return e;
}

static struct span command_at(const struct node *n, size_t i)
{
    size_t start = i ? n->command_ends.items[i - 1] : 0;
    return span_of(n->commands.data + start, n->command_ends.items[i] - start);
}

/* The first count of this turn's commands have gone on. */
static void submitted_drop(struct node *n, size_t count)
{
    if (count == n->submitted.n) {
        n->submitted.n = n->command_ends.n = 0;
        buf_shrink(&n->commands, KEEP_BYTES);
        return;
    }
    size_t bytes = count ? n->command_ends.items[count - 1] : 0, left = n->submitted.n - count;
    buf_consume(&n->commands, bytes);
    for (size_t i = 0; i < left; i++) {
        n->submitted.items[i] = n->submitted.items[count + i];
        n->command_ends.items[i] = n->command_ends.items[count + i] - bytes;
    }
    n->submitted.n = n->command_ends.n = left;
}

static void submitted_fail(struct node *n, size_t count, enum err e)
{
    if (!count)
        return;
    struct proposal *p = ARENA_ARRAY(&n->turn, struct proposal, count);
    memcpy(p, n->submitted.items, count * sizeof(*p));
    submitted_drop(n, count);
    for (size_t i = 0; i < count; i++)
        proposal_failed(n, &p[i], e);
}

void pump_give_up(struct node *n)
{
    struct awaited *first;
    submitted_fail(n, n->submitted.n, ERR_STOPPED);
    while ((first = awaited_first(&n->awaited)) != NULL) {
        struct proposal p = first->proposal;
        awaited_drop_first(&n->awaited);
        proposal_failed(n, &p, ERR_TIMEOUT);
    }
    forward_give_up(n);
}

/* All commands of the turn become entries with indexes that follow one another. Members that
 * forwarded some hear where they are before they get the entries. */
static void submit_here(struct node *n)
{
    size_t count = n->submitted.n;
    struct raft_update u;
    struct span *data = ARENA_ARRAY(&n->turn, struct span, count);
    for (size_t i = 0; i < count; i++)
        data[i] = command_at(n, i);
    struct raft_event event = { .type = RAFT_SUBMIT,
                                .now_ms = loop_now_ms(n->loop),
                                .submit = { data, count } };
    enum err e = raft_step(n->raft, &event, &u);
    if (e != ERR_OK) {
        pump_took(n, &u);
        submitted_fail(n, count, e == ERR_OVERLOADED ? ERR_TOO_MANY_REQUESTS : e);
        return;
    }
    uint64_t first = u.entries[0].index;
    for (size_t i = 0; i < count; i++) {
        struct proposal p = n->submitted.items[i];
        if (p.peer)
            forward_reply(n, &p, ERR_OK, first + i, u.term);
        else
            awaited_add(&n->awaited, &n->alloc, (struct awaited){ first + i, u.term, p });
    }
    submitted_drop(n, count);
    pump_took(n, &u);
}

static void submit_there(struct node *n)
{
    size_t count = n->submitted.n;
    for (size_t i = 0; i < count; i++) {
        struct proposal p = n->submitted.items[i];
        if (p.peer)
            continue;
        forward_command(n, command_at(n, i), p);
        n->submitted.items[i].call = NULL;
        n->submitted.items[i].note = NULL; /* they went with it */
    }
    submitted_fail(n, count, ERR_NO_LEADER); /* those that only a leader may submit */
}

/* Without a leader they wait for one, but not for ever. */
static void submitted_wait(struct node *n)
{
    int64_t before = loop_now_ms(n->loop) - REQUEST_TIMEOUT_MS;
    size_t old = 0;
    while (old < n->submitted.n && n->submitted.items[old].since_ms < before)
        old++;
    if (old)
        submitted_fail(n, old, ERR_NO_LEADER);
}

/* The leader's own are void when it is none any more, here and at whoever leads next. */
static void submitted_disown(struct node *n)
{
    size_t kept = 0, bytes = 0;
    for (size_t i = 0, start = 0; i < n->submitted.n; i++) {
        struct proposal p = n->submitted.items[i];
        size_t end = n->command_ends.items[i];
        if (p.own) {
            proposal_failed(n, &p, ERR_NO_LEADER);
        } else {
            memmove(n->commands.data + bytes, n->commands.data + start, end - start);
            bytes += end - start;
            n->submitted.items[kept] = p;
            n->command_ends.items[kept++] = bytes;
        }
        start = end;
    }
    n->submitted.n = n->command_ends.n = kept;
    n->commands.len = bytes;
}

static void submit(struct node *n)
{
    if (n->update.role != RAFT_LEADER)
        submitted_disown(n);
    if (!n->submitted.n)
        return;
    if (n->update.role == RAFT_LEADER)
        submit_here(n);
    else if (forward_possible(n))
        submit_there(n);
    else
        submitted_wait(n);
}

static void disk_run(struct job *job)
{
    struct disk_job *d = (struct disk_job *)job;
    int64_t start_us = loop_clock_us();
    d->err =
        storage_append(d->node->storage, buf_all(&d->records), d->last, d->spare, &d->spare_used);
    d->took_us = loop_clock_us() - start_us;
}

static void disk_done(struct job *job)
{
    struct disk_job *d = (struct disk_job *)job;
    struct node *n = d->node;
    n->disk_busy = false;
    if (d->spare_used)
        n->spare = 0;
    if (d->err == ERR_DISK_FULL) {
        d->waiting = true; /* nothing was written: the same batch goes when there is room */
        n->nospace = true;
        return;
    }
    if (d->err != ERR_OK) {
        /* A write or sync that failed leaves the disk unknown: nothing may go on from here. */
        slog(SLOG_ERROR, "writing the log failed; look at the disk, then start again", "error=%s",
             slog_quote(err_text(d->err)));
        loop_die();
    }
    n->metrics.batches++;
    n->metrics.log_bytes += d->records.len;
    histogram_add(&n->metrics.sync_seconds, d->took_us);
    histogram_add(&n->metrics.fine_sync_seconds, d->took_us);
    struct raft_event event = { .type = RAFT_PERSISTED, .persisted = d->number };
    enum err e = pump_raft(n, &event);
    CHECK(e == ERR_OK);
}

static void write_out(struct node *n)
{
    struct disk_job *d = &n->disk_job;
    if (n->disk_busy || (!d->waiting && n->records.len == 0))
        return;
    if (!d->waiting) {
        struct buf empty = d->records;
        d->records = n->records;
        d->last = n->records_last;
        d->number = n->records_number;
        buf_shrink(&empty, KEEP_BYTES);
        n->records = empty;
    }
    d->waiting = false;
    d->spare = n->spare;
    d->job = (struct job){ .run = disk_run, .done = disk_done };
    n->disk_busy = true;
    thread_submit(n->disk, &d->job);
}

/* The state is another, further on: who waited for a place before it does not learn what came of
 * it. */
void pump_installed(struct node *n)
{
    struct awaited *first;
    while ((first = awaited_first(&n->awaited)) && first->index <= n->machine.applied_index) {
        struct awaited a = *first;
        awaited_drop_first(&n->awaited);
        proposal_failed(n, &a.proposal, ERR_LEADER_FAILED);
    }
    flagsets_forget(n->flagsets);
    rest_links_begin(n->links, n->machine.kv);
    login_forget(n);
    watching_judge(n);
    pushing_judge(n);
    locking_installed(n);
    digest_applied(n);
    level_open(n);
    upkeep_again(n);
}

/* What came goes to the disk before what came back from it is applied: the disk works meanwhile.
 * Applying may propose in turn. */
void pump_turn(struct node *n)
{
    submit(n);
    write_out(n);
    apply_committed(n);
    login_turn(n);
    leasing_turn(n);
    submit(n);
    write_out(n);
    forward_turn(n);
}

/* Those who wait for a place in the log hear after a time that it may come or not. */
void pump_sweep(struct node *n)
{
    struct awaited_queue *q = &n->awaited;
    int64_t before = loop_now_ms(n->loop) - REQUEST_TIMEOUT_MS;
    for (size_t i = q->head; i < q->items.n; i++) {
        struct proposal *p = &q->items.items[i].proposal;
        struct call *call = p->call;
        if (!call || p->since_ms >= before)
            continue;
        p->call = NULL;
        call_failed(call, ERR_TIMEOUT);
    }
    forward_sweep(n);
}

/* ---- reads ---- */

bool pump_may_read(struct node *n)
{
    if (n->update.role != RAFT_LEADER || !n->cluster.alone)
        return false;
    struct raft_event event = { .type = RAFT_READ, .read_id = ++n->forward.read_id };
    enum err e = pump_raft(n, &event);
    return e == ERR_OK && n->update.n_reads == 1 &&
           n->update.reads[0].index <= n->machine.applied_index;
}

void pump_read(struct node *n, const struct request *r, struct arena *arena, struct reply *reply)
{
    machine_read(&n->machine, r, loop_now_ms(n->loop), arena, reply);
    n->metrics.ranges += r->type == REQUEST_RANGE;
    if (r->type == REQUEST_TXN && reply->err == ERR_OK)
        count_txn(&n->metrics, &reply->txn);
}

/* ---- timers ---- */

void pump_timeout(void *context)
{
    struct node *n = context;
    struct raft_event event = { .type = RAFT_TIMEOUT };
    if (transfer_installing(n)) { /* no election while log and state are replaced */
        loop_timer_set(n->loop, &n->raft_timer, loop_now_ms(n->loop) + RAFT_HEARTBEAT_MS);
        return;
    }
    enum err e = pump_raft(n, &event);
    CHECK(e == ERR_OK);
}
