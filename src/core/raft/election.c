/* Elections: pre-vote, vote, promises kept until they are on disk (Raft 3.4, 3.6.1, 9.6). */
#include "core/raft/raft_int.h"

void election_timer(struct raft *r)
{
    if (!may_stand(r)) /* only to notice that there is no leader */
        r->timeout_ms = r->leader ? r->now_ms + 2 * RAFT_ELECTION_MS : INT64_MAX;
    else if (sole_voter(r))
        r->timeout_ms = r->now_ms; /* nobody else could lead: no need to listen for one */
    else
        r->timeout_ms =
            r->now_ms + RAFT_ELECTION_MS + (int64_t)prng_below(&r->prng, RAFT_ELECTION_MS);
}

bool loyal(const struct raft *r)
{
    return r->role == RAFT_LEADER || r->now_ms < r->loyal_until;
}

void follow(struct raft *r, uint64_t term, uint64_t leader)
{
    bool led = r->role == RAFT_LEADER;
    if (term > r->term) {
        hard_state(r, term, 0);
        r->leader = 0;
        r->matched = r->acked = r->round_seen = 0;
    }
    if (led)
        lose_reads(r);
    r->role = RAFT_FOLLOWER;
    if (r->leader == r->self)
        r->leader = 0;
    if (leader)
        r->leader = leader;
    r->transfer_to = 0;
    r->lease_until = 0;
    election_timer(r);
}

/* ---- asking ---- */

static void own_vote(struct raft *r)
{
    struct peer *me = peer_of(r, r->self);
    if (me)
        me->granted = true;
}

static void ask(struct raft *r, enum raft_message_type type, uint64_t term)
{
    for (size_t i = 0; i < r->peers.n; i++) {
        struct peer *p = &r->peers.items[i];
        p->granted = p->refused = false;
        if (p->id == r->self || !(p->votes & (RAFT_VOTER | RAFT_VOTER_BEFORE)))
            continue;
        struct raft_message *m = message(r, type, p->id);
        m->term = term;
        m->index = last_index(r);
        m->index_term = entries_term(&r->entries, last_index(r));
        m->transfer = r->transfer;
    }
}

static void stand(struct raft *r)
{
    CHECK(r->term < UINT64_MAX);
    hard_state(r, r->term + 1, r->self);
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    r->matched = r->acked = r->round_seen = 0;
    if (sole_voter(r))
        r->timeout_ms = INT64_MAX; /* as long as that takes */
    else
        election_timer(r);
    r->asked = false;
}

void campaign(struct raft *r, bool transfer)
{
    CHECK(r->role != RAFT_LEADER && may_stand(r));
    r->transfer = transfer;
    if (transfer || sole_voter(r)) {
        stand(r);
        return;
    }
    r->role = RAFT_PRECANDIDATE;
    r->leader = 0;
    election_timer(r);
    ask(r, RAFT_PREVOTE, r->term + 1);
    own_vote(r);
}

void on_election_timeout(struct raft *r)
{
    /* Our own timer came late: what the leader has sent in the meantime is about to be read. */
    if (!sole_voter(r) && !r->excused && r->now_ms - r->timeout_ms > RAFT_HEARTBEAT_MS) {
        r->excused = true;
        r->timeout_ms = r->now_ms + 1 + (int64_t)prng_below(&r->prng, RAFT_ELECTION_MS / 4);
        return;
    }
    r->excused = false;
    if (may_stand(r)) {
        campaign(r, false);
        return;
    }
    r->leader = 0;
    election_timer(r);
}

void own_vote_persisted(struct raft *r)
{
    /* Raft 3.8: a vote counts once it is on disk, our own too. */
    if (r->role != RAFT_CANDIDATE || r->asked || !hard_state_on_disk(r))
        return;
    /* To ask says what our log has: a crash must not take it back and let us stand again in the
     * same term with less, since votes for what we had may still be on their way. */
    r->asked = true;
    ask(r, RAFT_VOTE, r->term);
    own_vote(r);
    if (vote_count(r) == VOTE_WON)
        lead(r);
}

void on_vote_reply(struct raft *r, const struct raft_message *m)
{
    bool pre = m->type == RAFT_PREVOTE_REPLY;
    struct peer *p = peer_of(r, m->from);
    if (!p || r->role != (pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE) || (!pre && !r->asked))
        return;
    if (m->term != (pre && m->granted ? r->term + 1 : r->term))
        return;
    p->granted |= m->granted;
    p->refused |= !m->granted;
    enum vote_result result = vote_count(r);
    if (result == VOTE_WON && pre)
        stand(r);
    else if (result == VOTE_WON)
        lead(r);
    else if (result == VOTE_LOST)
        follow(r, r->term, 0);
}

/* ---- being asked ---- */

/* Raft 3.6.1: its log must have everything that ours may have committed. */
static bool up_to_date(const struct raft *r, const struct raft_message *m)
{
    uint64_t last = last_index(r), term = entries_term(&r->entries, last);
    return m->index_term > term || (m->index_term == term && m->index >= last);
}

void on_prevote(struct raft *r, const struct raft_message *m)
{
    bool granted = m->term > r->term && up_to_date(r, m) && !loyal(r);
    struct raft_message *reply = message(r, RAFT_PREVOTE_REPLY, m->from);
    reply->granted = granted;
    reply->term = granted ? m->term : r->term;
}

static void answer_vote(struct raft *r, uint64_t to, bool granted)
{
    message(r, RAFT_VOTE_REPLY, to)->granted = granted;
}

void on_vote(struct raft *r, const struct raft_message *m)
{
    bool free = r->vote == m->from || (r->vote == 0 && r->leader == 0);
    if (r->role == RAFT_CANDIDATE || r->role == RAFT_LEADER || !free || !up_to_date(r, m)) {
        answer_vote(r, m->from, false);
        return;
    }
    r->role = RAFT_FOLLOWER; /* one that only asked whether it should stand */
    hard_state(r, r->term, m->from);
    election_timer(r);
    r->promised_to = m->from;
    promise_persisted(r);
}

void promise_persisted(struct raft *r)
{
    if (!r->promised_to || !hard_state_on_disk(r))
        return;
    if (r->vote == r->promised_to)
        answer_vote(r, r->promised_to, true);
    r->promised_to = 0;
}
