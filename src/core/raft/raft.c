/* The step: events in, an update out. Rules of elections, replication and membership are in the
 * files of these names. */
#include "core/raft/raft_int.h"
#include "base/crc.h"

struct raft *raft_open(struct alloc *alloc)
{
    struct raft *r = mem_zero(alloc, sizeof(*r));
    r->alloc = alloc;
    r->timeout_ms = INT64_MAX;
    entries_open(&r->entries, alloc, 0, 0);
    return r;
}

void raft_close(struct raft *r)
{
    if (!r)
        return;
    entries_close(&r->entries);
    configs_close(r);
    VEC_CLOSE(&r->configs, r->alloc);
    VEC_CLOSE(&r->peers, r->alloc);
    VEC_CLOSE(&r->writing, r->alloc);
    VEC_CLOSE(&r->waiting, r->alloc);
    VEC_CLOSE(&r->messages, r->alloc);
    VEC_CLOSE(&r->reads, r->alloc);
    VEC_CLOSE(&r->snapshots, r->alloc);
    mem_free(r->alloc, r, sizeof(*r));
}

/* ---- records ---- */

uint64_t last_index(const struct raft *r)
{
    return entries_last(&r->entries);
}

void hard_state(struct raft *r, uint64_t term, uint64_t vote)
{
    CHECK(term >= r->term && (term > r->term || r->vote == 0 || r->vote == vote));
    if (term == r->term && vote == r->vote)
        return;
    r->out->hard_state_changed = true;
    r->hard_number = r->number + 1; /* what this update will have */
    r->term = term;
    r->vote = vote;
}

bool hard_state_on_disk(const struct raft *r)
{
    if (r->out->hard_state_changed)
        return false;
    return r->writing.n == 0 || r->writing.items[0].number > r->hard_number;
}

void append(struct raft *r, uint64_t term, enum raft_entry_type type, const struct span *data,
            size_t n, size_t bytes)
{
    struct raft_update *out = r->out;
    uint64_t first = out->n_entries ? out->entries[0].index : last_index(r) + 1;
    entries_reserve(&r->entries, n, bytes);
    for (size_t i = 0; i < n; i++)
        entries_add(&r->entries, term, type, data[i]);
    r->uncommitted_bytes += bytes;
    out->n_entries += n;
    out->entries = entries_at(&r->entries, first); /* entries may have moved */
}

void cut(struct raft *r, uint64_t index)
{
    CHECK(index > r->commit && index <= last_index(r) && !r->out->cut && !r->out->n_entries);
    for (uint64_t i = index; i <= last_index(r); i++)
        r->uncommitted_bytes -= entries_at(&r->entries, i)->data.len;
    entries_cut(&r->entries, index);
    configs_cut(r, index);
    r->out->cut = index;
    /* What is on its way to the disk will be void there too. */
    for (size_t i = 0; i < r->writing.n; i++)
        if (r->writing.items[i].last >= index)
            r->writing.items[i].last = index - 1;
    if (r->persisted >= index)
        r->persisted = index - 1;
}

void set_commit(struct raft *r, uint64_t index)
{
    CHECK(index <= last_index(r));
    if (index <= r->commit)
        return;
    for (uint64_t i = r->commit + 1; i <= index; i++) {
        const struct raft_entry *x = entries_at(&r->entries, i);
        CHECK(x && x->data.len <= r->uncommitted_bytes);
        r->uncommitted_bytes -= x->data.len;
    }
    r->commit = index;
    configs_committed(r);
}

struct raft_message *message(struct raft *r, enum raft_message_type type, uint64_t to)
{
    struct raft_message m = { .type = type, .from = r->self, .to = to, .term = r->term };
    VEC_PUSH(&r->messages, r->alloc, m);
    return &r->messages.items[r->messages.n - 1];
}

/* ---- start ---- */

static enum err load_entries(struct raft *r, const struct raft_start *s)
{
    for (size_t i = 0; i < s->n_entries; i++) {
        const struct raft_entry *x = &s->entries[i];
        uint64_t last = last_index(r);
        if (x->index != last + 1 || x->term < entries_term(&r->entries, last) || x->term > s->term)
            return ERR_CORRUPT;
        if (x->type < RAFT_EMPTY || x->type > RAFT_MEMBERS)
            return ERR_FORMAT;
        entries_add(&r->entries, x->term, x->type, x->data);
        r->uncommitted_bytes += x->data.len;
        enum err err = x->type == RAFT_MEMBERS ? config_push(r, x->index, x->data) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

/* A new cluster's log begins, on every member alike, with its membership as entry 1 of term 1. */
static void found(struct raft *r, struct span members)
{
    hard_state(r, 1, 0);
    append(r, 1, RAFT_MEMBERS, &members, 1, members.len);
    enum err e = config_push(r, 1, members);
    CHECK(e == ERR_OK);
}

static enum err start(struct raft *r, const struct raft_event *event)
{
    const struct raft_start *s = event->start;
    struct buf members;
    CHECK(!r->started && s->self != 0);
    r->started = true;
    r->self = s->self;
    r->term = s->term;
    r->vote = s->vote;
    r->prng.state = s->random;
    r->keep_bytes = s->keep_bytes;
    r->lease_ms = s->lease_ms;
    CHECK(r->lease_ms >= 0 && r->lease_ms <= RAFT_ELECTION_MS);
    if (s->snapshot_term > s->term || (s->snapshot_index == 0) != (s->snapshot_term == 0))
        return ERR_CORRUPT;
    entries_open(&r->entries, r->alloc, s->snapshot_index, s->snapshot_term);
    r->commit = r->applied = r->persisted = s->snapshot_index;
    buf_open(&members, r->alloc);
    if (s->n_members)
        raft_members_encode(s->members, s->n_members, &members);
    bool new = s->snapshot_index == 0 && s->n_entries == 0 && s->term == 0 && s->n_members > 0;
    enum err err = config_push(r, s->snapshot_index, new ? SPAN_NONE : buf_all(&members));
    if (err == ERR_OK)
        err = load_entries(r, s);
    if (err == ERR_OK && new)
        found(r, buf_all(&members));
    buf_close(&members);
    if (err != ERR_OK)
        return err;
    if (!new)
        r->persisted = last_index(r);
    r->role = RAFT_FOLLOWER;
    /* Before the crash we may have promised a leader not to vote for others in its lease. */
    r->loyal_until = r->lease_ms ? r->now_ms + RAFT_ELECTION_MS : r->now_ms;
    election_timer(r);
    return ERR_OK;
}

/* ---- other events ---- */

static enum err timeout(struct raft *r, const struct raft_event *event)
{
    if (event->now_ms < r->timeout_ms)
        return ERR_OK;
    if (r->role == RAFT_LEADER)
        on_heartbeat_timeout(r);
    else
        on_election_timeout(r);
    return ERR_OK;
}

static enum err submit(struct raft *r, const struct raft_event *event)
{
    if (r->role != RAFT_LEADER || r->transfer_to)
        return ERR_NO_LEADER;
    size_t n = event->submit.n, bytes = 0;
    uint64_t uncommitted = last_index(r) - r->commit; /* what a start found may be over the limit */
    if (n > RAFT_UNCOMMITTED_ENTRIES_MAX || uncommitted > RAFT_UNCOMMITTED_ENTRIES_MAX - n)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < n; i++) {
        if (event->submit.data[i].len > RAFT_UNCOMMITTED_BYTES_MAX - bytes)
            return ERR_OVERLOADED;
        bytes += event->submit.data[i].len;
    }
    if (r->uncommitted_bytes + bytes > RAFT_UNCOMMITTED_BYTES_MAX)
        return ERR_OVERLOADED;
    append(r, r->term, RAFT_COMMAND, event->submit.data, n, bytes);
    return ERR_OK;
}

static enum err persisted(struct raft *r, const struct raft_event *event)
{
    size_t done = 0;
    CHECK(event->persisted <= r->number);
    while (done < r->writing.n && r->writing.items[done].number <= event->persisted)
        r->persisted = r->writing.items[done++].last;
    r->writing.n -= done;
    memmove(r->writing.items, r->writing.items + done, r->writing.n * sizeof(*r->writing.items));
    CHECK(r->persisted <= last_index(r));
    struct peer *me = peer_of(r, r->self);
    if (me && r->persisted > me->match)
        me->match = r->persisted;
    promise_persisted(r);
    own_vote_persisted(r);
    if (r->role == RAFT_LEADER)
        advance_commit(r);
    else
        acknowledge(r, false);
    return ERR_OK;
}

static enum err read(struct raft *r, const struct raft_event *event)
{
    return on_read(r, event->read_id);
}

/* Raft 3.3: a higher term makes us a follower of it. */
static void see_term(struct raft *r, const struct raft_message *m)
{
    bool asks_first = m->type == RAFT_PREVOTE || (m->type == RAFT_PREVOTE_REPLY && m->granted);
    if (m->term > r->term && !asks_first)
        follow(r, m->term, m->type == RAFT_APPEND ? m->from : 0);
}

/* A sender that is behind hears of our term. */
static void answer_old(struct raft *r, const struct raft_message *m)
{
    if (m->type == RAFT_APPEND)
        message(r, RAFT_APPEND_REPLY, m->from);
    else if (m->type == RAFT_VOTE)
        message(r, RAFT_VOTE_REPLY, m->from);
    else if (m->type == RAFT_PREVOTE)
        message(r, RAFT_PREVOTE_REPLY, m->from);
}

static enum err receive(struct raft *r, const struct raft_event *event)
{
    const struct raft_message *m = event->message;
    if (m->to != r->self || m->from == r->self || m->from == 0)
        return ERR_OK;
    /* Raft 4.2.3: no vote against a leader that lives, and its term does not count. */
    if (m->type == RAFT_VOTE && m->term > r->term && !m->transfer && loyal(r))
        return ERR_OK;
    see_term(r, m);
    if (m->term < r->term) {
        answer_old(r, m);
        return ERR_OK;
    }
    switch (m->type) {
    case RAFT_PREVOTE:
        on_prevote(r, m);
        break;
    case RAFT_VOTE:
        on_vote(r, m);
        break;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        on_vote_reply(r, m);
        break;
    case RAFT_APPEND:
        on_append(r, m);
        break;
    case RAFT_APPEND_REPLY:
        on_append_reply(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        if (r->role == RAFT_FOLLOWER && m->from == r->leader && may_stand(r))
            campaign(r, true);
        break;
    case RAFT_MESSAGE_TYPES:
    default:
        break;
    }
    return ERR_OK;
}

static enum err unreachable(struct raft *r, const struct raft_event *event)
{
    struct peer *p = peer_of(r, event->peer.id);
    if (r->role == RAFT_LEADER && p && p->id != r->self && p->mode == PEER_REPLICATE)
        probe(r, p, p->match + 1);
    /* Its process has ended, so its lease and our patience have too; with leases by the clock we
     * cannot tell the process from its successor's. */
    if (r->role == RAFT_FOLLOWER && event->peer.gone && event->peer.id == r->leader &&
        r->lease_ms == 0 && may_stand(r)) {
        r->leader = 0;
        r->loyal_until = r->now_ms;
        r->timeout_ms = r->now_ms + RAFT_ELECTION_MS / 20 +
                        (int64_t)prng_below(&r->prng, RAFT_ELECTION_MS / 4);
    }
    return ERR_OK;
}

static enum err change(struct raft *r, const struct raft_event *event)
{
    return config_change(r, event->change.members, event->change.n);
}

static enum err transfer(struct raft *r, const struct raft_event *event)
{
    struct peer *p = peer_of(r, event->transfer_to);
    if (r->role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (!p || !(p->votes & RAFT_VOTER))
        return ERR_NOT_FOUND;
    if (p->id == r->self)
        return ERR_OK;
    r->transfer_to = p->id;
    r->transfer_until = r->now_ms + RAFT_ELECTION_MS;
    r->lease_until = 0; /* the vote that comes need not wait for it */
    r->no_lease = true;
    p->due = true;
    if (p->match == last_index(r))
        message(r, RAFT_TIMEOUT_NOW, p->id);
    return ERR_OK;
}

static enum err snapshot(struct raft *r, const struct raft_event *event)
{
    struct peer *p = peer_of(r, event->snapshot.peer);
    if (r->role != RAFT_LEADER || !p || !p->snapshot_asked)
        return ERR_OK;
    p->snapshot_asked = false;
    /* Failed: the next heartbeat asks again. Its acknowledgement may also have come first. */
    if (!event->snapshot.index || p->mode != PEER_SNAPSHOT)
        return ERR_OK;
    if (event->snapshot.index > p->match && event->snapshot.index <= r->commit)
        p->match = event->snapshot.index;
    probe(r, p, p->match + 1);
    p->due = true;
    return ERR_OK;
}

static enum err installed(struct raft *r, const struct raft_event *event)
{
    uint64_t index = event->installed.index, term = event->installed.term;
    struct buf members;
    CHECK(raft_wants(r, index, term) && r->writing.n == 0 && event->installed.n_members > 0);
    entries_close(&r->entries);
    entries_open(&r->entries, r->alloc, index, term);
    r->uncommitted_bytes = 0;
    r->commit = r->applied = r->persisted = index;
    if (r->matched < index)
        r->matched = index;
    configs_close(r);
    buf_open(&members, r->alloc);
    raft_members_encode(event->installed.members, event->installed.n_members, &members);
    enum err e = config_push(r, index, buf_all(&members));
    buf_close(&members);
    follow(r, r->term, r->leader);
    acknowledge(r, true);
    return e;
}

/* ---- the step ---- */

static enum err (*const handlers[RAFT_EVENT_TYPES])(struct raft *, const struct raft_event *) = {
    [RAFT_START] = start,         [RAFT_TIMEOUT] = timeout,   [RAFT_SUBMIT] = submit,
    [RAFT_PERSISTED] = persisted, [RAFT_READ] = read,         [RAFT_RECEIVE] = receive,
    [RAFT_CHANGE] = change,       [RAFT_TRANSFER] = transfer, [RAFT_UNREACHABLE] = unreachable,
    [RAFT_SNAPSHOT] = snapshot,   [RAFT_INSTALLED] = installed,
};

/* What is committed, and on our own disk too: so a checkpoint is never ahead of the log. */
static uint64_t may_apply(const struct raft *r)
{
    return r->commit < r->persisted ? r->commit : r->persisted;
}

/* Raft 4.2.2: a leader that is no voter any more goes; one that has everything need not wait. */
static void hand_over(struct raft *r)
{
    for (size_t i = 0; i < r->peers.n; i++) {
        const struct peer *p = &r->peers.items[i];
        if (!(p->votes & RAFT_VOTER) || p->match < r->commit)
            continue;
        message(r, RAFT_TIMEOUT_NOW, p->id);
        break;
    }
    follow(r, r->term, 0);
}

static void number_records(struct raft *r)
{
    struct raft_update *out = r->out;
    if (!out->hard_state_changed && !out->cut && !out->n_entries)
        return;
    struct writing w = { ++r->number, last_index(r) };
    VEC_PUSH(&r->writing, r->alloc, w);
    out->number = r->number;
}

/* No other member, not even a learner. One who has removed itself is not alone yet. */
static bool alone(const struct raft *r)
{
    return r->peers.n == 0 || (r->peers.n == 1 && r->peers.items[0].id == r->self);
}

static void finish(struct raft *r)
{
    struct raft_update *out = r->out;
    if (r->role == RAFT_LEADER) {
        config_settle(r);
        send_all(r);
        r->timeout_ms = alone(r) ? INT64_MAX : r->heartbeat_ms;
    }
    if (r->resign)
        hand_over(r);
    r->resign = false;
    number_records(r);
    out->term = r->term;
    out->vote = r->vote;
    out->messages = r->messages.items;
    out->n_messages = r->messages.n;
    out->commit_index = may_apply(r);
    out->role = r->role;
    out->leader = r->leader;
    out->reads = r->reads.items;
    out->n_reads = r->reads.n;
    out->snapshots = r->snapshots.items;
    out->n_snapshots = r->snapshots.n;
    out->timeout_ms = r->timeout_ms;
}

enum err raft_step(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    CHECK(r->started || event->type == RAFT_START);
    CHECK((size_t)event->type < RAFT_EVENT_TYPES);
    uint64_t term = r->term, commit = r->commit;
    r->reads.n = r->messages.n = r->snapshots.n = 0;
    *out = (struct raft_update){ 0 };
    r->out = out;
    r->now_ms = event->now_ms;
    enum err err = handlers[event->type](r, event);
    if (r->configs.n)
        finish(r);
    r->out = NULL;
    CHECK(r->term >= term && r->commit >= commit && r->commit <= last_index(r));
    CHECK(r->role != RAFT_LEADER || (r->leader == r->self && r->vote == r->self));
    return err;
}

/* ---- looking in ---- */

bool raft_entry_at(const struct raft *r, uint64_t index, struct raft_entry *out)
{
    const struct raft_entry *x = entries_at(&r->entries, index);
    if (x)
        *out = *x;
    return x != NULL;
}

uint64_t raft_last_index(const struct raft *r)
{
    return last_index(r);
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
    if (index < r->entries.base_index || index > last_index(r))
        return 0;
    return entries_term(&r->entries, index);
}

const struct raft_member *raft_members(const struct raft *r, size_t *n)
{
    *n = config_now(r)->n;
    return config_now(r)->members;
}

uint32_t raft_members_digest(const struct raft *r)
{
    return crc32c(0, config_now(r)->bytes.data, config_now(r)->bytes.len);
}

uint64_t raft_members_index(const struct raft *r)
{
    return config_now(r)->index;
}

bool raft_wants(const struct raft *r, uint64_t index, uint64_t term)
{
    /* Of a term that our disk does not know it would not start again: the leader's messages
     * come. */
    return index > r->commit && term > 0 && term <= r->term && raft_term_at(r, index) != term;
}

bool raft_progress(const struct raft *r, uint64_t id, struct raft_progress *out)
{
    const struct peer *p = peer_of(r, id);
    if (!p || r->role != RAFT_LEADER)
        return false;
    *out = (struct raft_progress){ p->match, p->id == r->self ? r->now_ms : p->heard_ms,
                                   p->mode == PEER_SNAPSHOT };
    return true;
}

/* Up to where nobody who is catching up needs the entries: one that is heard of goes on where it
 * is; what a snapshot will bring is not known here. */
static uint64_t needed_from(const struct raft *r, uint64_t index)
{
    if (r->role != RAFT_LEADER)
        return index;
    for (size_t i = 0; i < r->peers.n; i++) {
        const struct peer *p = &r->peers.items[i];
        if (p->mode == PEER_SNAPSHOT)
            return 0;
        if (p->id != r->self && r->now_ms - p->heard_ms <= RAFT_ELECTION_MS && p->match < index)
            index = p->match;
    }
    return index;
}

void raft_applied(struct raft *r, uint64_t index)
{
    CHECK(index <= may_apply(r) && index >= r->applied);
    r->applied = index;
    if (alone(r)) {
        entries_drop(&r->entries, index);
        return;
    }
    entries_shrink(&r->entries, needed_from(r, index), r->keep_bytes);
    size_t most = r->keep_bytes * KEEP_FACTOR, part = r->state_bytes / KEEP_PART;
    entries_shrink(&r->entries, index, most > part ? most : part);
}

void raft_state_bytes(struct raft *r, uint64_t bytes)
{
    r->state_bytes = (size_t)bytes;
}
