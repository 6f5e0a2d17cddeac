#include "core/raft/raft.h"
#include "base/prng.h"
#include "base/test.h"

enum { SELF = 11 };
static const struct raft_member self = { SELF, RAFT_VOTER, { NULL, 0 } };

struct bench {
    struct alloc heap;
    struct raft *raft;
    struct raft_update up;
    uint64_t number; /* of the newest records */
};

static void bench_open(struct bench *b)
{
    alloc_heap(&b->heap);
    b->raft = raft_open(&b->heap);
    b->number = 0;
}

static bool bench_close(struct bench *b)
{
    raft_close(b->raft);
    return b->heap.used == 0;
}

static enum err step(struct bench *b, const struct raft_event *e)
{
    enum err err = raft_step(b->raft, e, &b->up);
    if (b->up.number)
        b->number = b->up.number;
    return err;
}

static enum err start(struct bench *b, const struct raft_start *s)
{
    return step(b, &(struct raft_event){ .type = RAFT_START, .now_ms = 100, .start = s });
}

static enum err timeout(struct bench *b, int64_t now_ms)
{
    return step(b, &(struct raft_event){ .type = RAFT_TIMEOUT, .now_ms = now_ms });
}

static enum err persisted(struct bench *b, uint64_t number)
{
    return step(b, &(struct raft_event){ .type = RAFT_PERSISTED, .persisted = number });
}

static enum err submit(struct bench *b, const struct span *data, size_t n)
{
    return step(b, &(struct raft_event){ .type = RAFT_SUBMIT, .submit = { data, n } });
}

static enum err ask(struct bench *b, uint64_t id)
{
    return step(b, &(struct raft_event){ .type = RAFT_READ, .read_id = id });
}

/* The leader of a new cluster of one: entry 1 is the membership, 2 the term's empty one. */
static bool lead(struct bench *b)
{
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    return start(b, &s) == ERR_OK && timeout(b, 100) == ERR_OK &&
           persisted(b, b->number) == ERR_OK && persisted(b, b->number) == ERR_OK &&
           b->up.commit_index == 2;
}

TEST(raft_sole_voter_from_nothing)
{
    struct bench b;
    bench_open(&b);
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    EXPECT(start(&b, &s) == ERR_OK && b.up.role == RAFT_FOLLOWER && b.up.timeout_ms == 100);
    EXPECT(b.up.hard_state_changed && b.up.term == 1 && b.up.leader == 0 && b.up.n_entries == 1);
    EXPECT(b.up.entries[0].type == RAFT_MEMBERS && b.up.entries[0].term == 1);
    EXPECT(timeout(&b, 99) == ERR_OK && b.up.role == RAFT_FOLLOWER);
    EXPECT(bench_close(&b));
}

TEST(raft_sole_voter_votes_and_leads)
{
    struct bench b;
    bench_open(&b);
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    EXPECT(start(&b, &s) == ERR_OK);
    EXPECT(timeout(&b, 100) == ERR_OK && b.up.role == RAFT_CANDIDATE);
    EXPECT(b.up.hard_state_changed && b.up.term == 2 && b.up.vote == SELF && !b.up.n_entries);
    /* Its own vote is not on disk: no leader, no second campaign. */
    EXPECT(ask(&b, 1) == ERR_NO_LEADER && submit(&b, &SPAN("x"), 1) == ERR_NO_LEADER);
    EXPECT(timeout(&b, 99999) == ERR_OK && b.up.term == 2 && !b.up.hard_state_changed);
    EXPECT(persisted(&b, 1) == ERR_OK && b.up.role == RAFT_CANDIDATE);
    EXPECT(persisted(&b, 2) == ERR_OK && b.up.role == RAFT_LEADER && b.up.leader == SELF);
    EXPECT(b.up.n_entries == 1 && b.up.entries[0].type == RAFT_EMPTY);
    EXPECT(b.up.entries[0].index == 2 && b.up.entries[0].term == 2 && b.up.commit_index == 0);
    EXPECT(persisted(&b, 3) == ERR_OK && b.up.commit_index == 2 && b.up.timeout_ms == INT64_MAX);
    EXPECT(bench_close(&b));
}

TEST(raft_reads_wait_for_the_first_commit)
{
    struct bench b;
    bench_open(&b);
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    EXPECT(start(&b, &s) == ERR_OK && ask(&b, 1) == ERR_NO_LEADER);
    EXPECT(timeout(&b, 100) == ERR_OK && persisted(&b, 2) == ERR_OK);
    /* Raft 6.4: the term's first entry has to be applied before it. */
    EXPECT(ask(&b, 70) == ERR_OK && b.up.n_reads == 1 && b.up.reads[0].index == 2);
    EXPECT(persisted(&b, 3) == ERR_OK && b.up.n_reads == 0 && b.up.commit_index == 2);
    EXPECT(submit(&b, &SPAN("a"), 1) == ERR_OK && b.up.n_reads == 0);
    /* What is not committed is not waited for. */
    EXPECT(ask(&b, 72) == ERR_OK && b.up.n_reads == 1 && b.up.reads[0].index == 2);
    EXPECT(bench_close(&b));
}

TEST(raft_restart_commits_old_terms_with_the_new_one)
{
    struct bench b;
    bench_open(&b);
    struct raft_entry e[] = { { 6, 2, RAFT_COMMAND, SPAN("six") },
                              { 7, 3, RAFT_COMMAND, SPAN("seven") } };
    struct raft_start s = { .self = SELF, .term = 4, .vote = 9, .snapshot_index = 5,
                            .snapshot_term = 2, .members = &self, .n_members = 1,
                            .entries = e, .n_entries = 2 };
    EXPECT(start(&b, &s) == ERR_OK && b.up.commit_index == 5 && raft_last_index(b.raft) == 7);
    EXPECT(timeout(&b, 100) == ERR_OK && b.up.term == 5 && b.up.vote == SELF);
    /* Raft 3.6.2, figure 8: entries of older terms do not commit by counting. */
    EXPECT(persisted(&b, 1) == ERR_OK && b.up.commit_index == 5 && b.up.n_entries == 1);
    EXPECT(b.up.entries[0].index == 8 && b.up.entries[0].term == 5);
    EXPECT(persisted(&b, 1) == ERR_OK && b.up.commit_index == 5);
    EXPECT(persisted(&b, 2) == ERR_OK && b.up.commit_index == 8);
    struct raft_entry at;
    EXPECT(raft_entry_at(b.raft, 7, &at) && span_is(at.data, "seven") && at.term == 3);
    EXPECT(!raft_entry_at(b.raft, 5, &at) && !raft_entry_at(b.raft, 9, &at));
    raft_applied(b.raft, 7);
    EXPECT(!raft_entry_at(b.raft, 7, &at) && raft_entry_at(b.raft, 8, &at));
    EXPECT(bench_close(&b));
}

static enum err try_start(const struct raft_start *s)
{
    struct bench b;
    bench_open(&b);
    enum err err = start(&b, s);
    return bench_close(&b) ? err : ERR_INTERNAL;
}

TEST(raft_start_refuses_what_is_not_a_log)
{
    struct raft_entry gap[] = { { 1, 1, RAFT_EMPTY, SPAN_NONE }, { 3, 1, RAFT_EMPTY, SPAN_NONE } };
    struct raft_entry fall[] = { { 1, 2, RAFT_EMPTY, SPAN_NONE }, { 2, 1, RAFT_EMPTY, SPAN_NONE } };
    struct raft_entry new[] = { { 1, 1, (enum raft_entry_type)4, SPAN_NONE } };
    uint8_t members[20] = { 1, 0, 0, 0, SELF };
    struct raft_entry list[] = { { 1, 1, RAFT_MEMBERS, span_of(members, 20) } };
    struct raft_start s = { .self = SELF, .term = 2, .members = &self, .n_members = 1 };
    EXPECT(try_start(&s) == ERR_OK);
    s.entries = list, s.n_entries = 1;
    EXPECT(try_start(&s) == ERR_OK);
    members[0] = 2;
    EXPECT(try_start(&s) == ERR_CORRUPT);
    s.entries = gap, s.n_entries = 2;
    EXPECT(try_start(&s) == ERR_CORRUPT);
    s.entries = fall;
    EXPECT(try_start(&s) == ERR_CORRUPT);
    s.entries = new, s.n_entries = 1;
    EXPECT(try_start(&s) == ERR_FORMAT);
    s.entries = gap, s.n_entries = 1, s.term = 0;
    EXPECT(try_start(&s) == ERR_CORRUPT); /* an entry newer than the term on disk */
    s.n_entries = 0, s.term = 2, s.snapshot_index = 5, s.snapshot_term = 3;
    EXPECT(try_start(&s) == ERR_CORRUPT);
}

TEST(raft_members_round_trip_and_bounds)
{
    struct alloc heap;
    struct buf b;
    struct raft_member out[RAFT_MEMBERS_MAX];
    size_t n;
    struct raft_member in[] = { { 1, RAFT_VOTER, SPAN("a") },
                                { 2, RAFT_VOTER | RAFT_VOTER_BEFORE, SPAN("") },
                                { 3, 0, SPAN("learner") },
                                { 4, RAFT_VOTER_BEFORE | RAFT_GOES, SPAN("d") } };
    alloc_heap(&heap);
    buf_open(&b, &heap);
    raft_members_encode(in, 4, &b);
    EXPECT(raft_members_decode(buf_all(&b), out, &n) == ERR_OK && n == 4);
    for (size_t i = 0; i < 4; i++)
        EXPECT(out[i].id == in[i].id && out[i].votes == in[i].votes &&
               span_equal(out[i].info, in[i].info));
    for (size_t len = 0; len < b.len; len++)
        EXPECT(raft_members_decode(span_of(b.data, len), out, &n) == ERR_CORRUPT);
    in[1].id = 1;
    buf_reset(&b);
    raft_members_encode(in, 2, &b);
    EXPECT(raft_members_decode(buf_all(&b), out, &n) == ERR_CORRUPT);
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(raft_submit_has_bounds)
{
    struct bench b;
    bench_open(&b);
    EXPECT(lead(&b));
    static uint8_t megabyte[1 << 20];
    struct span big[64], small[1000];
    for (size_t i = 0; i < 64; i++)
        big[i] = span_of(megabyte, sizeof(megabyte));
    for (size_t i = 0; i < 1000; i++)
        small[i] = SPAN("x");
    EXPECT(submit(&b, big, 63) == ERR_OK && b.up.n_entries == 63);
    EXPECT(submit(&b, big, 2) == ERR_OVERLOADED && raft_last_index(b.raft) == 65);
    EXPECT(submit(&b, big, 1) == ERR_OK && submit(&b, small, 1) == ERR_OVERLOADED);
    EXPECT(submit(&b, &SPAN(""), 1) == ERR_OK); /* no bytes: still room */
    EXPECT(persisted(&b, b.number) == ERR_OK && b.up.commit_index == 67);
    raft_applied(b.raft, 67);
    EXPECT(b.heap.used < 1 << 20);
    for (size_t i = 0; i < RAFT_UNCOMMITTED_ENTRIES_MAX; i += 1000)
        EXPECT(submit(&b, small, 1000) == ERR_OK);
    EXPECT(submit(&b, small, 1) == ERR_OVERLOADED && submit(&b, small, 0) == ERR_OK);
    uint64_t first = b.number - RAFT_UNCOMMITTED_ENTRIES_MAX / 1000 + 1;
    EXPECT(persisted(&b, first) == ERR_OK && submit(&b, small, 1) == ERR_OK);
    EXPECT(bench_close(&b));
}

/* Random submits, syncs and applies; bytes are a function of the index. */
static uint8_t bytes_of(uint64_t index)
{
    return (uint8_t)(index * 37 + (index >> 3));
}

static bool entry_is_whole(const struct raft *r, uint64_t index)
{
    struct raft_entry e;
    if (!raft_entry_at(r, index, &e) || e.index != index)
        return false;
    for (size_t i = 0; i < e.data.len; i++)
        if (e.data.data[i] != bytes_of(index))
            return false;
    return e.type == RAFT_COMMAND;
}

static bool submit_some(struct bench *b, struct prng *p)
{
    static uint8_t room[8][3000];
    struct span data[8];
    size_t n = prng_below(p, 9);
    uint64_t next = raft_last_index(b->raft) + 1;
    for (size_t i = 0; i < n; i++) {
        data[i] = span_of(room[i], prng_below(p, sizeof(room[i])));
        memset(room[i], bytes_of(next + i), data[i].len);
    }
    if (submit(b, data, n) != ERR_OK || b->up.n_entries != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (b->up.entries[i].index != next + i || !span_equal(b->up.entries[i].data, data[i]))
            return false;
    return true;
}

TEST(raft_entries_live_until_applied)
{
    struct bench b;
    bench_open(&b);
    EXPECT(lead(&b));
    raft_applied(b.raft, 2);
    struct prng p = { 5 };
    uint64_t disk = b.number, applied = 2;
    for (int i = 0; i < 3000; i++) {
        uint64_t last = raft_last_index(b.raft);
        switch (prng_below(&p, 4)) {
        case 0:
        case 1:
            EXPECT(last - applied > 300 || submit_some(&b, &p));
            break;
        case 2:
            disk += prng_below(&p, b.number - disk + 1);
            EXPECT(persisted(&b, disk) == ERR_OK && b.up.commit_index <= last);
            EXPECT(disk < b.number || b.up.commit_index == last);
            break;
        default:
            applied += prng_below(&p, b.up.commit_index - applied + 1);
            raft_applied(b.raft, applied);
            EXPECT(raft_last_index(b.raft) == last);
        }
        last = raft_last_index(b.raft);
        EXPECT(!entry_is_whole(b.raft, applied) && !entry_is_whole(b.raft, last + 1));
        for (int k = 0; k < 3 && applied < last; k++)
            EXPECT(entry_is_whole(b.raft, applied + 1 + prng_below(&p, last - applied)));
    }
    EXPECT(b.heap.used < 4 << 20);
    EXPECT(bench_close(&b));
}
