#include "core/raft/raft.h"
#include "base/prng.h"
#include "base/test.h"

enum { SELF = 11 };
static const uint64_t self = SELF;

struct bench {
    struct alloc heap;
    struct raft *raft;
    struct raft_update up;
};

static void bench_open(struct bench *b)
{
    alloc_heap(&b->heap);
    b->raft = raft_open(&b->heap);
}

static bool bench_close(struct bench *b)
{
    raft_close(b->raft);
    return b->heap.used == 0;
}

static enum err start(struct bench *b, const struct raft_start *s)
{
    struct raft_event e = { .type = RAFT_START, .now_ms = 100, .start = s };
    return raft_step(b->raft, &e, &b->up);
}

static enum err timeout(struct bench *b, int64_t now_ms)
{
    struct raft_event e = { .type = RAFT_TIMEOUT, .now_ms = now_ms };
    return raft_step(b->raft, &e, &b->up);
}

static enum err persisted(struct bench *b, uint64_t index)
{
    struct raft_event e = { .type = RAFT_PERSISTED, .persisted_index = index };
    return raft_step(b->raft, &e, &b->up);
}

static enum err submit(struct bench *b, const struct span *data, size_t n)
{
    struct raft_event e = { .type = RAFT_SUBMIT, .submit = { data, n } };
    return raft_step(b->raft, &e, &b->up);
}

static enum err ask(struct bench *b, uint64_t id)
{
    struct raft_event e = { .type = RAFT_READ, .read_id = id };
    return raft_step(b->raft, &e, &b->up);
}

/* A leader whose first entry is on disk. */
static bool lead(struct bench *b)
{
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    return start(b, &s) == ERR_OK && timeout(b, 100) == ERR_OK && persisted(b, 0) == ERR_OK &&
           persisted(b, 1) == ERR_OK && b->up.commit_index == 1;
}

TEST(raft_sole_voter_from_nothing)
{
    struct bench b;
    bench_open(&b);
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    EXPECT(start(&b, &s) == ERR_OK && b.up.role == RAFT_FOLLOWER && b.up.timeout_ms == 100);
    EXPECT(!b.up.hard_state_changed && b.up.leader == 0);
    EXPECT(timeout(&b, 99) == ERR_OK && b.up.role == RAFT_FOLLOWER);
    EXPECT(timeout(&b, 100) == ERR_OK && b.up.role == RAFT_CANDIDATE);
    EXPECT(b.up.hard_state_changed && b.up.term == 1 && b.up.vote == SELF && !b.up.n_entries);
    /* Its own vote is not on disk: no leader, no second campaign. */
    EXPECT(ask(&b, 1) == ERR_NO_LEADER && submit(&b, &SPAN("x"), 1) == ERR_NO_LEADER);
    EXPECT(timeout(&b, 99999) == ERR_OK && b.up.term == 1 && !b.up.hard_state_changed);
    EXPECT(persisted(&b, 0) == ERR_OK && b.up.role == RAFT_LEADER && b.up.leader == SELF);
    EXPECT(b.up.n_entries == 1 && b.up.entries[0].type == RAFT_EMPTY);
    EXPECT(b.up.entries[0].index == 1 && b.up.entries[0].term == 1 && b.up.commit_index == 0);
    EXPECT(persisted(&b, 1) == ERR_OK && b.up.commit_index == 1 && b.up.timeout_ms == INT64_MAX);
    EXPECT(bench_close(&b));
}

TEST(raft_reads_wait_for_the_first_commit)
{
    struct bench b;
    bench_open(&b);
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    EXPECT(start(&b, &s) == ERR_OK && ask(&b, 1) == ERR_NO_LEADER);
    EXPECT(timeout(&b, 100) == ERR_OK && persisted(&b, 0) == ERR_OK);
    EXPECT(ask(&b, 70) == ERR_OK && b.up.n_reads == 0 && ask(&b, 71) == ERR_OK);
    EXPECT(persisted(&b, 1) == ERR_OK && b.up.n_reads == 2);
    EXPECT(b.up.reads[0].id == 70 && b.up.reads[1].id == 71 && b.up.reads[1].index == 1);
    EXPECT(submit(&b, &SPAN("a"), 1) == ERR_OK && b.up.n_reads == 0);
    /* What is not committed is not waited for. */
    EXPECT(ask(&b, 72) == ERR_OK && b.up.n_reads == 1 && b.up.reads[0].index == 1);
    EXPECT(bench_close(&b));
}

TEST(raft_reads_have_a_bound)
{
    struct bench b;
    bench_open(&b);
    struct raft_start s = { .self = SELF, .members = &self, .n_members = 1 };
    EXPECT(start(&b, &s) == ERR_OK && timeout(&b, 100) == ERR_OK && persisted(&b, 0) == ERR_OK);
    for (uint64_t i = 0; i < RAFT_READS_MAX; i++)
        EXPECT(ask(&b, i) == ERR_OK);
    EXPECT(ask(&b, 1) == ERR_OVERLOADED);
    EXPECT(persisted(&b, 1) == ERR_OK && b.up.n_reads == RAFT_READS_MAX);
    EXPECT(ask(&b, 1) == ERR_OK && b.up.n_reads == 1);
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
    EXPECT(persisted(&b, 7) == ERR_OK && b.up.commit_index == 5 && b.up.n_entries == 1);
    EXPECT(b.up.entries[0].index == 8 && b.up.entries[0].term == 5);
    EXPECT(persisted(&b, 7) == ERR_OK && b.up.commit_index == 5);
    EXPECT(ask(&b, 1) == ERR_OK && b.up.n_reads == 0);
    EXPECT(persisted(&b, 8) == ERR_OK && b.up.commit_index == 8);
    EXPECT(b.up.n_reads == 1 && b.up.reads[0].index == 8);
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
    uint64_t two[] = { SELF, 12 }, other = 12;
    struct raft_entry gap[] = { { 1, 1, RAFT_EMPTY, SPAN_NONE }, { 3, 1, RAFT_EMPTY, SPAN_NONE } };
    struct raft_entry fall[] = { { 1, 2, RAFT_EMPTY, SPAN_NONE }, { 2, 1, RAFT_EMPTY, SPAN_NONE } };
    struct raft_entry new[] = { { 1, 1, (enum raft_entry_type)4, SPAN_NONE } };
    uint8_t members[24] = { 1, 0, 0, 0, 0, 0, 0, 0, SELF };
    struct raft_entry list[] = { { 1, 1, RAFT_MEMBERS, span_of(members, 16) } };
    struct raft_start s = { .self = SELF, .term = 2, .members = &self, .n_members = 1 };
    EXPECT(try_start(&s) == ERR_OK);
    s.members = two, s.n_members = 2;
    EXPECT(try_start(&s) == ERR_NOT_BUILT);
    s.members = &other, s.n_members = 1;
    EXPECT(try_start(&s) == ERR_FOREIGN);
    s.entries = list, s.n_entries = 1; /* the newer list in the log counts */
    EXPECT(try_start(&s) == ERR_OK);
    members[8] = 12;
    EXPECT(try_start(&s) == ERR_FOREIGN);
    members[0] = 2;
    EXPECT(try_start(&s) == ERR_CORRUPT);
    list[0].data = span_of(members, 24);
    EXPECT(try_start(&s) == ERR_NOT_BUILT);
    s.members = &self;
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
    EXPECT(submit(&b, big, 2) == ERR_OVERLOADED && raft_last_index(b.raft) == 64);
    EXPECT(submit(&b, big, 1) == ERR_OK && submit(&b, small, 1) == ERR_OVERLOADED);
    EXPECT(submit(&b, &SPAN(""), 1) == ERR_OK); /* no bytes: still room */
    EXPECT(persisted(&b, 66) == ERR_OK && b.up.commit_index == 66);
    raft_applied(b.raft, 66);
    EXPECT(b.heap.used < 1 << 20);
    for (size_t i = 0; i < RAFT_UNCOMMITTED_ENTRIES_MAX; i += 1000)
        EXPECT(submit(&b, small, 1000) == ERR_OK);
    EXPECT(submit(&b, small, 1) == ERR_OVERLOADED && submit(&b, small, 0) == ERR_OK);
    EXPECT(persisted(&b, 67) == ERR_OK && submit(&b, small, 1) == ERR_OK);
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
    raft_applied(b.raft, 1);
    struct prng p = { 5 };
    uint64_t disk = 1, applied = 1;
    for (int i = 0; i < 3000; i++) {
        uint64_t last = raft_last_index(b.raft);
        switch (prng_below(&p, 4)) {
        case 0:
        case 1:
            EXPECT(last - applied > 300 || submit_some(&b, &p));
            break;
        case 2:
            disk += prng_below(&p, last - disk + 1);
            EXPECT(persisted(&b, disk) == ERR_OK && b.up.commit_index == disk);
            break;
        default:
            applied += prng_below(&p, disk - applied + 1);
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
