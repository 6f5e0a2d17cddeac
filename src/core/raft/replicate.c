/* Replication: what the leader sends, what followers take and acknowledge, what is committed, and
 * when a read is safe (Raft 3.5, 3.6.2, 6.4, 10.2). */
#include "core/raft/raft_int.h"

/* ---- what is in flight to a follower ---- */

static void flight_clear(struct peer *p)
{
    p->flight_head = p->flight_n = p->flight_bytes = 0;
}

static void flight_add(struct raft *r, struct peer *p, uint64_t last, size_t bytes)
{
    if (!p->flight)
        p->flight = mem_alloc(r->alloc, RAFT_INFLIGHT_MESSAGES * sizeof(*p->flight));
    CHECK(p->flight_n < RAFT_INFLIGHT_MESSAGES);
    size_t at = (p->flight_head + p->flight_n++) % RAFT_INFLIGHT_MESSAGES;
    p->flight[at] = (struct in_flight){ last, bytes };
    p->flight_bytes += bytes;
}

static void flight_free(struct peer *p, uint64_t match)
{
    while (p->flight_n && p->flight[p->flight_head].last <= match) {
        p->flight_bytes -= p->flight[p->flight_head].bytes;
        p->flight_head = (p->flight_head + 1) % RAFT_INFLIGHT_MESSAGES;
        p->flight_n--;
    }
}

static bool flight_full(const struct peer *p)
{
    return p->flight_n == RAFT_INFLIGHT_MESSAGES || p->flight_bytes >= RAFT_INFLIGHT_BYTES;
}

void probe(struct raft *r, struct peer *p, uint64_t next)
{
    CHECK(next > p->match && next <= last_index(r) + 1);
    p->mode = PEER_PROBE;
    p->next = next;
    flight_clear(p);
}

/* ---- the leader sends ---- */

void every_peer_due(struct raft *r)
{
    for (size_t i = 0; i < r->peers.n; i++)
        r->peers.items[i].due = true;
}

static struct raft_message *append_message(struct raft *r, struct peer *p, uint64_t before)
{
    struct raft_message *m = message(r, RAFT_APPEND, p->id);
    m->index = before;
    m->index_term = entries_term(&r->entries, before);
    m->commit = r->commit;
    m->round = r->round;
    p->due = false;
    return m;
}

static void send_entries(struct raft *r, struct peer *p)
{
    while (p->next <= last_index(r) && !flight_full(p)) {
        struct raft_message *m = append_message(r, p, p->next - 1);
        size_t bytes = 0;
        m->entries = entries_at(&r->entries, p->next);
        while (p->next <= last_index(r) && bytes < RAFT_APPEND_BYTES) {
            bytes += entries_at(&r->entries, p->next)->data.len + sizeof(struct raft_entry);
            p->next++;
            m->n_entries++;
        }
        flight_add(r, p, p->next - 1, bytes);
    }
}

static void want_snapshot(struct raft *r, struct peer *p)
{
    flight_clear(p);
    p->mode = PEER_SNAPSHOT;
    if (p->snapshot_asked || !p->due)
        return;
    p->snapshot_asked = true;
    VEC_PUSH(&r->snapshots, r->alloc, p->id);
}

void send_all(struct raft *r)
{
    for (size_t i = 0; i < r->peers.n; i++) {
        struct peer *p = &r->peers.items[i];
        if (p->id == r->self)
            continue;
        if (p->mode == PEER_REPLICATE && p->next > r->entries.base_index)
            send_entries(r, p);
        uint64_t before = p->next - 1;
        if (before < r->entries.base_index) {
            want_snapshot(r, p);
            before = r->entries.base_index;
        }
        if (p->due)
            append_message(r, p, before);
    }
}

static uint64_t heard(const struct raft *r, const struct peer *p)
{
    return (uint64_t)(p->id == r->self ? r->now_ms : p->heard_ms);
}

static uint64_t answered(const struct raft *r, const struct peer *p)
{
    return p->id == r->self ? r->round : p->round;
}

static void next_round(struct raft *r)
{
    r->round++;
    r->rounds[r->round % ROUNDS].round = r->round;
    r->rounds[r->round % ROUNDS].sent_ms = r->now_ms;
    every_peer_due(r);
}

void on_heartbeat_timeout(struct raft *r)
{
    /* We slept ourselves: silence in that time tells nothing. */
    int64_t slept = r->now_ms - r->heartbeat_ms;
    for (size_t i = 0; i < r->peers.n && slept > RAFT_HEARTBEAT_MS; i++) {
        int64_t *at = &r->peers.items[i].heard_ms;
        *at = *at + slept < r->now_ms ? *at + slept : r->now_ms;
    }
    r->heartbeat_ms = r->now_ms + RAFT_HEARTBEAT_MS;
    if (r->transfer_to && r->now_ms >= r->transfer_until)
        r->transfer_to = 0;
    /* Raft 6.2: without a quorum it may be another who leads. */
    if (quorum_of(r, heard) + RAFT_ELECTION_MS < (uint64_t)r->now_ms) {
        follow(r, r->term, 0);
        return;
    }
    next_round(r);
}

void lead(struct raft *r)
{
    CHECK(r->role == RAFT_CANDIDATE && r->vote == r->self);
    r->role = RAFT_LEADER;
    r->leader = r->self;
    r->round = 0;
    r->lease_until = 0;
    r->no_lease = false;
    r->transfer_to = 0;
    memset(r->rounds, 0, sizeof(r->rounds));
    for (size_t i = 0; i < r->peers.n; i++) {
        struct peer *p = &r->peers.items[i];
        p->match = p->id == r->self ? r->persisted : 0;
        p->round = 0;
        p->heard_ms = r->now_ms;
        p->snapshot_asked = false;
        if (p->id != r->self)
            probe(r, p, last_index(r) + 1);
        p->due = true;
    }
    struct span nothing = SPAN_NONE;
    append(r, r->term, RAFT_EMPTY, &nothing, 1, 0); /* Raft 3.6.2, 6.4 */
    r->term_start = last_index(r);
    r->heartbeat_ms = r->now_ms + RAFT_HEARTBEAT_MS;
}

/* ---- commit ---- */

static uint64_t match(const struct raft *r, const struct peer *p)
{
    (void)r;
    return p->match;
}

void advance_commit(struct raft *r)
{
    uint64_t index = quorum_of(r, match);
    CHECK(index <= last_index(r));
    /* Raft 3.6.2: only entries of this term commit by counting; they take the older with them. */
    if (index <= r->commit || entries_term(&r->entries, index) != r->term)
        return;
    set_commit(r, index);
    every_peer_due(r);
    release_reads(r);
}

/* ---- reads ---- */

void lose_reads(struct raft *r)
{
    r->out->reads_lost |= r->waiting.n > 0;
    r->waiting.n = 0;
}

void release_reads(struct raft *r)
{
    uint64_t round = quorum_of(r, answered);
    bool lease = r->now_ms < r->lease_until;
    size_t kept = 0;
    for (size_t i = 0; i < r->waiting.n; i++) {
        struct waiting_read w = r->waiting.items[i];
        struct raft_read read = { w.id, w.index };
        if (w.round <= round || lease)
            VEC_PUSH(&r->reads, r->alloc, read);
        else
            r->waiting.items[kept++] = w;
    }
    r->waiting.n = kept;
}

enum err on_read(struct raft *r, uint64_t id)
{
    if (r->role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (r->waiting.n == RAFT_READS_MAX)
        return ERR_OVERLOADED;
    /* Raft 6.4: the leader knows what is committed only after an entry of its own term is. */
    uint64_t index = r->commit > r->term_start ? r->commit : r->term_start;
    if (!sole_voter(r) && r->now_ms >= r->lease_until)
        next_round(r);
    struct waiting_read w = { id, index, sole_voter(r) ? 0 : r->round };
    VEC_PUSH(&r->waiting, r->alloc, w);
    release_reads(r);
    return ERR_OK;
}

/* Until when no other can have been elected: those who answered a round hold still for
 * RAFT_ELECTION_MS from when they got it, which was after we sent it. */
static void extend_lease(struct raft *r)
{
    uint64_t round = quorum_of(r, answered);
    if (!r->lease_ms || r->no_lease || !round || r->rounds[round % ROUNDS].round != round ||
        !is_voter(r, r->self))
        return;
    int64_t until = r->rounds[round % ROUNDS].sent_ms + r->lease_ms;
    if (until > r->lease_until)
        r->lease_until = until;
}

/* ---- the follower takes ---- */

/* Where the logs may still agree: our newest entry up to index of no later term than the
 * leader's there. */
static uint64_t back_up(const struct raft *r, uint64_t index, uint64_t term)
{
    uint64_t last = last_index(r);
    index = index < last ? index : last;
    while (index > r->entries.base_index && entries_term(&r->entries, index) > term)
        index--;
    return index;
}

static void refuse(struct raft *r, const struct raft_message *m)
{
    uint64_t hint = back_up(r, m->index - 1, m->index_term);
    struct raft_message *reply = message(r, RAFT_APPEND_REPLY, m->from);
    reply->rejected = m->index;
    reply->index = hint;
    reply->index_term = entries_term(&r->entries, hint);
    reply->round = r->round_seen;
}

void acknowledge(struct raft *r, bool always)
{
    uint64_t index = r->matched < r->persisted ? r->matched : r->persisted;
    if (!r->leader || r->leader == r->self || (!always && index <= r->acked))
        return;
    /* Back in the term before, an old leader could cut what we tell this one to have. */
    if (!hard_state_on_disk(r))
        return;
    struct raft_message *reply = message(r, RAFT_APPEND_REPLY, r->leader);
    reply->index = index;
    reply->round = r->round_seen;
    r->acked = index;
}

static bool sound(const struct raft *r, const struct raft_message *m)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    uint64_t term = m->index_term;
    size_t n;
    if (m->term != r->term || r->role == RAFT_LEADER)
        return false;
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct raft_entry *x = &m->entries[i];
        if (x->index != m->index + 1 + i || x->term < term || x->term > m->term ||
            x->type < RAFT_EMPTY || x->type > RAFT_MEMBERS ||
            (x->type == RAFT_MEMBERS && raft_members_decode(x->data, members, &n) != ERR_OK))
            return false;
        term = x->term;
    }
    return true;
}

/* Entries that we have are skipped; from the first that differs on, ours give way. */
static bool take(struct raft *r, const struct raft_message *m)
{
    size_t i = 0;
    for (; i < m->n_entries; i++) {
        const struct raft_entry *x = &m->entries[i];
        if (x->index > last_index(r))
            break;
        if (x->index <= r->entries.base_index || entries_term(&r->entries, x->index) == x->term)
            continue;
        if (x->index <= r->commit)
            return false; /* no sound leader sends that */
        cut(r, x->index);
        break;
    }
    for (; i < m->n_entries; i++) {
        const struct raft_entry *x = &m->entries[i];
        append(r, x->term, x->type, &x->data, 1, x->data.len);
        if (x->type == RAFT_MEMBERS) {
            enum err e = config_push(r, x->index, x->data);
            CHECK(e == ERR_OK); /* it was read before */
        }
    }
    return true;
}

void on_append(struct raft *r, const struct raft_message *m)
{
    if (!sound(r, m))
        return;
    follow(r, m->term, m->from);
    r->excused = false;
    r->loyal_until = r->now_ms + RAFT_ELECTION_MS;
    if (m->round > r->round_seen)
        r->round_seen = m->round;
    uint64_t base = r->entries.base_index;
    if (m->index > last_index(r) ||
        (m->index >= base && entries_term(&r->entries, m->index) != m->index_term)) {
        if (m->index > r->commit)
            refuse(r, m);
        return;
    }
    if (!take(r, m))
        return;
    uint64_t end = m->index + m->n_entries;
    if (end > r->matched)
        r->matched = end;
    uint64_t commit = m->commit < end ? m->commit : end;
    if (commit > r->commit)
        set_commit(r, commit);
    election_timer(r); /* the membership may be another now */
    if (m->n_entries == 0 || end <= r->persisted)
        acknowledge(r, true);
}

/* ---- the leader hears back ---- */

static void rejected(struct raft *r, struct peer *p, const struct raft_message *m)
{
    if (m->rejected <= p->match || p->mode == PEER_SNAPSHOT)
        return; /* an old one */
    if (p->mode == PEER_REPLICATE) {
        probe(r, p, p->match + 1);
        p->due = true;
        return;
    }
    if (m->rejected != p->next - 1)
        return;
    uint64_t next = m->index < m->rejected ? m->index : m->rejected - 1;
    while (next > r->entries.base_index && next <= last_index(r) &&
           entries_term(&r->entries, next) > m->index_term)
        next--;
    next = next + 1 > p->match + 1 ? next + 1 : p->match + 1;
    probe(r, p, next <= last_index(r) + 1 ? next : last_index(r) + 1);
    p->due = true;
}

static void accepted(struct raft *r, struct peer *p, uint64_t index)
{
    if (index > last_index(r))
        return;
    if (index > p->match)
        p->match = index;
    flight_free(p, p->match);
    if (p->next <= p->match)
        p->next = p->match + 1;
    if (p->mode == PEER_PROBE)
        p->mode = PEER_REPLICATE;
    else if (p->mode == PEER_SNAPSHOT && p->match >= r->entries.base_index)
        probe(r, p, p->match + 1);
    if (p->id == r->transfer_to && p->match == last_index(r))
        message(r, RAFT_TIMEOUT_NOW, p->id);
    advance_commit(r);
}

void on_append_reply(struct raft *r, const struct raft_message *m)
{
    struct peer *p = peer_of(r, m->from);
    if (r->role != RAFT_LEADER || !p)
        return;
    p->heard_ms = r->now_ms;
    if (m->round > p->round && m->round <= r->round)
        p->round = m->round;
    extend_lease(r);
    release_reads(r);
    if (m->rejected)
        rejected(r, p, m);
    else
        accepted(r, p, m->index);
}
