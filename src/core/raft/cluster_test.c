/* One of several members, the others played by hand. */
#include "base/test.h"
#include "core/raft/raft.h"

enum { ME = 1, MEMBERS = 5 };

struct one {
    struct alloc heap;
    struct raft *raft;
    struct raft_update up;
    uint64_t number; /* of the newest records */
    int64_t now_ms;
    enum err err;
};

static bool tell(struct one *o, struct raft_event e)
{
    e.now_ms = o->now_ms;
    o->err = raft_step(o->raft, &e, &o->up);
    if (o->up.number)
        o->number = o->up.number;
    return o->err == ERR_OK;
}

static uint64_t keep_bytes; /* of the next that is opened */

static void open(struct one *o, size_t members, int64_t lease_ms)
{
    struct raft_member m[MEMBERS];
    struct raft_start s = {
        .self = ME, .members = m, .n_members = members, .random = 1, .lease_ms = lease_ms,
        .keep_bytes = keep_bytes,
    };
    for (size_t i = 0; i < members; i++)
        m[i] = (struct raft_member){ i + 1, RAFT_VOTER, SPAN_NONE };
    *o = (struct one){ .now_ms = 1000 };
    alloc_heap(&o->heap);
    o->raft = raft_open(&o->heap);
    tell(o, (struct raft_event){ .type = RAFT_START, .start = &s });
}

static bool close(struct one *o)
{
    raft_close(o->raft);
    return o->heap.used == 0;
}

static bool sync_all(struct one *o)
{
    return tell(o, (struct raft_event){ .type = RAFT_PERSISTED, .persisted = o->number });
}

static bool timeout(struct one *o)
{
    o->now_ms = o->up.timeout_ms;
    return tell(o, (struct raft_event){ .type = RAFT_TIMEOUT });
}

static bool hear(struct one *o, struct raft_message m)
{
    m.to = ME;
    return tell(o, (struct raft_event){ .type = RAFT_RECEIVE, .message = &m });
}

static bool votes(struct one *o, enum raft_message_type type, uint64_t first, uint64_t last)
{
    bool good = true;
    for (uint64_t i = first; i <= last; i++)
        good &=
            hear(o, (struct raft_message){ .type = type, .from = i, .term = 2, .granted = true });
    return good;
}

static bool stand(struct one *o, size_t members, int64_t lease_ms)
{
    open(o, members, lease_ms);
    return o->err == ERR_OK && sync_all(o) && timeout(o) &&
           votes(o, RAFT_PREVOTE_REPLY, 2, members / 2 + 1) && o->up.role == RAFT_CANDIDATE;
}

static bool acknowledge(struct one *o, uint64_t from, uint64_t index, uint64_t round)
{
    return hear(
        o,
        (struct raft_message){
            .type = RAFT_APPEND_REPLY, .from = from, .term = 2, .index = index, .round = round });
}

/* The leader of term 2: entry 1 is the membership, 2 the term's empty one; all is on all disks. */
static bool lead(struct one *o, size_t members, int64_t lease_ms)
{
    bool good = stand(o, members, lease_ms) && sync_all(o) &&
                votes(o, RAFT_VOTE_REPLY, 2, members / 2 + 1) && o->up.role == RAFT_LEADER &&
                sync_all(o);
    for (uint64_t i = 2; i <= members; i++)
        good = good && acknowledge(o, i, 2, 0);
    return good && o->up.commit_index == 2;
}

static bool change(struct one *o, const struct raft_member *m, size_t n)
{
    return tell(o, (struct raft_event){ .type = RAFT_CHANGE, .change = { m, n } });
}

/* Read, and whether it is answered at once. */
static bool reads_at_once(struct one *o)
{
    return tell(o, (struct raft_event){ .type = RAFT_READ, .read_id = 7 }) && o->up.n_reads == 1;
}

static uint64_t round_sent(const struct one *o)
{
    return o->up.n_messages ? o->up.messages[0].round : 0;
}

/* Else a crash could take its vote back, to win the same term again; or its log, to win the term
 * with less, by votes that were given for more. */
TEST(raft_asks_for_votes_once_its_own_is_on_disk)
{
    struct one o;
    EXPECT(stand(&o, 5, 0) && o.up.n_messages == 0);
    EXPECT(votes(&o, RAFT_VOTE_REPLY, 2, 5) && o.up.role == RAFT_CANDIDATE);
    EXPECT(sync_all(&o) && o.up.role == RAFT_CANDIDATE && o.up.n_messages == 4);
    for (size_t i = 0; i < o.up.n_messages; i++)
        EXPECT(o.up.messages[i].type == RAFT_VOTE && o.up.messages[i].index == 1);
    EXPECT(votes(&o, RAFT_VOTE_REPLY, 2, 3) && o.up.role == RAFT_LEADER && o.up.term == 2);
    EXPECT(close(&o));
}

/* The others may not know of the change, and be behind (Raft 4.2.2, figure 4.6). */
TEST(raft_who_lost_its_vote_stands_until_that_is_committed)
{
    struct one o;
    struct raft_member other = { 2, RAFT_VOTER, SPAN_NONE };
    EXPECT(lead(&o, 2, 0) && change(&o, &other, 1) && sync_all(&o));
    while (o.up.role == RAFT_LEADER)
        EXPECT(o.up.timeout_ms < INT64_MAX && timeout(&o));
    EXPECT(o.up.role == RAFT_FOLLOWER && o.up.timeout_ms < INT64_MAX);
    EXPECT(timeout(&o) && o.up.role == RAFT_PRECANDIDATE);
    EXPECT(hear(&o,
                (struct raft_message){
                    .type = RAFT_PREVOTE_REPLY, .from = 2, .term = 3, .granted = true }) &&
           o.up.role == RAFT_CANDIDATE && sync_all(&o) && o.up.role == RAFT_CANDIDATE);
    EXPECT(hear(&o,
                (struct raft_message){
                    .type = RAFT_VOTE_REPLY, .from = 2, .term = 3, .granted = true }) &&
           o.up.role == RAFT_LEADER);
    /* Entry 3 is the change, 4 the term's first: with them committed it goes. */
    EXPECT(hear(&o,
                (struct raft_message){
                    .type = RAFT_APPEND_REPLY, .from = 2, .term = 3, .index = 4 }) &&
           o.up.role == RAFT_FOLLOWER && o.up.timeout_ms == INT64_MAX);
    EXPECT(close(&o));
}

TEST(raft_lease_ends_with_the_vote)
{
    struct one o;
    struct raft_member other[] = { { 1, 0, SPAN_NONE }, { 2, RAFT_VOTER, SPAN_NONE } };
    EXPECT(lead(&o, 2, 800) && timeout(&o) && acknowledge(&o, 2, 2, round_sent(&o)));
    EXPECT(reads_at_once(&o));
    EXPECT(change(&o, other, 2) && !reads_at_once(&o));
    uint64_t round = round_sent(&o);
    EXPECT(acknowledge(&o, 2, 2, round) && o.up.n_reads == 1 && !reads_at_once(&o));
    EXPECT(close(&o));
}

/* Who was told to take over may do it long after that was given up. */
TEST(raft_lease_ends_with_a_transfer)
{
    struct one o;
    EXPECT(lead(&o, 3, 800) && timeout(&o) && acknowledge(&o, 2, 2, round_sent(&o)));
    EXPECT(reads_at_once(&o));
    EXPECT(tell(&o, (struct raft_event){ .type = RAFT_TRANSFER, .transfer_to = 3 }));
    for (int64_t end = o.now_ms + 2 * RAFT_ELECTION_MS; o.now_ms < end;)
        EXPECT(timeout(&o) && acknowledge(&o, 2, 2, round_sent(&o)));
    EXPECT(o.up.role == RAFT_LEADER && !reads_at_once(&o));
    EXPECT(acknowledge(&o, 2, 2, round_sent(&o)) && o.up.n_reads == 1);
    EXPECT(close(&o));
}

/* With a snapshot of a term that is not on its disk it would not start again. */
TEST(raft_snapshot_of_an_unknown_term_is_not_wanted)
{
    struct one o;
    open(&o, 3, 0);
    EXPECT(sync_all(&o) && !raft_wants(o.raft, 10, 2));
    EXPECT(hear(&o, (struct raft_message){ .type = RAFT_APPEND,
                                           .from = 2,
                                           .term = 2,
                                           .index = 10,
                                           .index_term = 2,
                                           .commit = 10 }));
    EXPECT(raft_wants(o.raft, 10, 2) && close(&o));
}

/* A follower needs a second snapshot after its acknowledgement overtook the end of the first. */
TEST(raft_snapshot_may_end_after_its_acknowledgement)
{
    struct one o;
    struct span data = SPAN("some bytes");
    bool asked = false;
    EXPECT(lead(&o, 3, 0));
    for (int i = 0; i < 2; i++) {
        EXPECT(tell(&o, (struct raft_event){ .type = RAFT_SUBMIT, .submit = { &data, 1 } }));
        uint64_t last = raft_last_index(o.raft);
        EXPECT(sync_all(&o) && acknowledge(&o, 2, last, 0) && o.up.commit_index == last);
        raft_applied(o.raft, last);
        EXPECT(tell(&o, (struct raft_event){ .type = RAFT_UNREACHABLE, .peer = { 3, false } }));
        EXPECT(o.up.n_snapshots == 1 || timeout(&o));
        asked = o.up.n_snapshots == 1 && o.up.snapshots[0] == 3;
        EXPECT(asked);
        EXPECT(acknowledge(&o, 3, last, 0));
        EXPECT(tell(&o, (struct raft_event){ .type = RAFT_SNAPSHOT, .snapshot = { 3, last } }));
    }
    EXPECT(close(&o));
}

/* After a crash it would be in the term before, where an old leader may cut what it has told. */
TEST(raft_acknowledges_once_the_term_is_on_disk)
{
    struct one o;
    struct raft_message empty = {
        .type = RAFT_APPEND, .from = 2, .term = 2, .index = 1, .index_term = 1
    };
    open(&o, 3, 0);
    EXPECT(sync_all(&o) && hear(&o, empty) && o.up.hard_state_changed && o.up.n_messages == 0);
    EXPECT(hear(&o, empty) && o.up.n_messages == 0);
    EXPECT(sync_all(&o) && o.up.n_messages == 1 && o.up.messages[0].type == RAFT_APPEND_REPLY);
    EXPECT(o.up.messages[0].index == 1 && o.up.messages[0].term == 2);
    EXPECT(hear(&o, empty) && o.up.n_messages == 1 && close(&o));
}

static bool write_some(struct one *o, int n)
{
    struct span data = SPAN("0123456789abcdef");
    bool good = true;
    for (int i = 0; i < n; i++) {
        good &= tell(o, (struct raft_event){ .type = RAFT_SUBMIT, .submit = { &data, 1 } });
        uint64_t last = raft_last_index(o->raft);
        good &= sync_all(o) && acknowledge(o, 2, last, 0) && o->up.commit_index == last;
        raft_applied(o->raft, last);
    }
    return good;
}

/* Else a member that has just got a snapshot needs the next one, again and again. */
TEST(raft_keeps_what_one_who_catches_up_needs)
{
    struct one o;
    keep_bytes = 100 * (sizeof(struct raft_entry) + 16);
    EXPECT(lead(&o, 3, 0));
    keep_bytes = 0;
    EXPECT(write_some(&o, 90) && acknowledge(&o, 3, 40, 0));
    EXPECT(write_some(&o, 200) && raft_term_at(o.raft, 40) == 2);
    EXPECT(raft_term_at(o.raft, 39) == 0);
    EXPECT(write_some(&o, 200) && raft_term_at(o.raft, 40) == 0); /* four times: no more */
    EXPECT(acknowledge(&o, 3, raft_last_index(o.raft) - 50, 0) && write_some(&o, 1));
    EXPECT(raft_term_at(o.raft, raft_last_index(o.raft) - 110) == 0);
    raft_state_bytes(o.raft, 40 * 150 * (sizeof(struct raft_entry) + 16)); /* 1,500 of them */
    EXPECT(acknowledge(&o, 3, raft_last_index(o.raft) - 50, 0));
    uint64_t behind = raft_last_index(o.raft) - 50;
    EXPECT(write_some(&o, 1300) && raft_term_at(o.raft, behind) == 2);
    EXPECT(write_some(&o, 200) && raft_term_at(o.raft, behind) == 0);
    EXPECT(acknowledge(&o, 3, raft_last_index(o.raft), 0) && write_some(&o, 1));
    o.now_ms += RAFT_ELECTION_MS + 1; /* and nothing for one that is not heard of */
    EXPECT(write_some(&o, 200) && raft_term_at(o.raft, raft_last_index(o.raft) - 110) == 0);
    EXPECT(close(&o));
}
