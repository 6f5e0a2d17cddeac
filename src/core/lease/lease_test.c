#include "core/lease/lease.h"
#include "base/prng.h"
#include "base/test.h"

struct bench {
    struct alloc heap;
    struct arena arena;
    struct lease_table *t;
};

static void bench_open(struct bench *b)
{
    alloc_heap(&b->heap);
    arena_open(&b->arena, &b->heap);
    b->t = lease_open(&b->heap);
}

static bool bench_close(struct bench *b)
{
    lease_close(b->t);
    arena_close(&b->arena);
    return b->heap.used == 0;
}

TEST(lease_grant_and_revoke)
{
    struct bench b;
    bench_open(&b);
    struct span *keys;
    size_t n;
    EXPECT(lease_grant(b.t, 7, 10, 1, 1000) == ERR_OK);
    EXPECT(lease_grant(b.t, 7, 10, 1, 1000) == ERR_LEASE_EXISTS);
    EXPECT(lease_grant(b.t, 8, LEASE_TTL_MAX_S + 1, 1, 1000) == ERR_LEASE_TTL_TOO_LARGE);
    EXPECT(lease_grant(b.t, INT64_MIN, LEASE_TTL_MAX_S, 1, 1000) == ERR_OK);
    EXPECT(lease_known(b.t, 7) && !lease_known(b.t, 8) && lease_count(b.t) == 2);
    lease_attach(b.t, 7, SPAN("b"));
    lease_attach(b.t, 7, SPAN("a"));
    lease_attach(b.t, 7, SPAN("a"));
    lease_attach(b.t, 7, SPAN("ab"));
    lease_attach(b.t, 9, SPAN("nobody"));
    lease_detach(b.t, 9, SPAN("nobody"));
    lease_detach(b.t, 7, SPAN("b"));
    lease_detach(b.t, 7, SPAN("b"));
    EXPECT(lease_revoke(b.t, 7, &b.arena, &keys, &n) == ERR_OK);
    EXPECT(n == 2 && span_is(keys[0], "a") && span_is(keys[1], "ab"));
    EXPECT(lease_revoke(b.t, 7, &b.arena, &keys, &n) == ERR_LEASE_NOT_FOUND);
    EXPECT(bench_close(&b));
}

TEST(lease_never_early_and_expiring_once)
{
    struct bench b;
    bench_open(&b);
    int64_t ttl_s;
    EXPECT(lease_deadline_ms(b.t) == INT64_MAX && lease_expire(b.t, INT64_MAX) == 0);
    EXPECT(lease_grant(b.t, 2, 5, 1, 0) == ERR_OK && lease_grant(b.t, 1, 5, 1, 0) == ERR_OK);
    EXPECT(lease_expire(b.t, 4999) == 0 && lease_deadline_ms(b.t) == 5000);
    EXPECT(lease_renew(b.t, 2, 4999, &ttl_s) == LEASE_RENEWED && ttl_s == 5);
    EXPECT(lease_renew(b.t, 1, 5000, &ttl_s) == LEASE_EXPIRING);
    EXPECT(lease_expire(b.t, 5000) == 1 && lease_expire(b.t, 5000) == 0);
    EXPECT(lease_renew(b.t, 1, 5000, &ttl_s) == LEASE_EXPIRING);
    EXPECT(lease_deadline_ms(b.t) == 9999);
    lease_not_proposed(b.t, 1);
    lease_not_proposed(b.t, 77);
    EXPECT(lease_deadline_ms(b.t) == 5000 && lease_expire(b.t, 5001) == 1);
    EXPECT(lease_renew(b.t, 3, 0, &ttl_s) == LEASE_GONE);
    lease_restart(b.t, 100000);
    EXPECT(lease_expire(b.t, 104999) == 0);
    EXPECT(lease_expire(b.t, 105000) == 1 && lease_expire(b.t, 105000) == 2);
    EXPECT(bench_close(&b));
}

/* Ids of the notes that are due, as one number; their times must be the ones given. */
static int64_t due(struct bench *b, int64_t now_ms, int64_t remaining_ms)
{
    struct lease_note *notes;
    int64_t all = 0;
    size_t n = lease_notes_due(b->t, now_ms, &b->arena, &notes);
    for (size_t i = 0; i < n; i++)
        all = notes[i].remaining_ms == remaining_ms ? all * 10 + notes[i].id : -1;
    return all;
}

static void note(struct bench *b, int64_t id, int64_t remaining_ms)
{
    lease_note(b->t, &(struct lease_note){ id, remaining_ms }, 1);
}

TEST(lease_notes_are_due_by_halves)
{
    struct bench b;
    bench_open(&b);
    int64_t ttl_s;
    EXPECT(due(&b, INT64_MAX, 0) == 0);
    EXPECT(lease_grant(b.t, 1, 40, 1, 0) == ERR_OK && lease_grant(b.t, 2, 40, 1, 0) == ERR_OK);
    EXPECT(lease_grant(b.t, 3, 60, 1, 0) == ERR_OK);
    EXPECT(lease_renew(b.t, 2, 13000, &ttl_s) == LEASE_RENEWED && due(&b, 19999, 0) == 0);
    EXPECT(due(&b, 20000, 20000) == 1 && due(&b, 20000, 0) == 0 && due(&b, 20999, 0) == 0);
    EXPECT(due(&b, 21000, 19000) == 1); /* not seen applied: once more */
    note(&b, 1, 19000);
    note(&b, 9, 19000);
    EXPECT(lease_renew(b.t, 2, 26000, &ttl_s) == LEASE_RENEWED);
    EXPECT(due(&b, 30000, 30000) == 3 && due(&b, 30499, 0) == 0 && due(&b, 30500, 9500) == 1);
    note(&b, 1, 9500);
    note(&b, 3, 30000);
    EXPECT(due(&b, 35250, 4750) == 1 && due(&b, 39001, 0) == 0); /* less than a second is left */
    EXPECT(lease_expire(b.t, 40000) == 1 && due(&b, 45000, 15000) == 3);
    note(&b, 3, 15000);
    EXPECT(due(&b, 45999, 0) == 0 && due(&b, 46000, 20000) == 2);
    lease_restart(b.t, 100000);
    EXPECT(lease_deadline_ms(b.t) == 109500 && lease_expire(b.t, 109500) == 1);
    EXPECT(lease_expire(b.t, 114999) == 0 && lease_expire(b.t, 115000) == 3);
    EXPECT(lease_expire(b.t, 140000) == 2);
    EXPECT(bench_close(&b));
}

TEST(lease_with_a_note_is_cleared_before_it_is_renewed)
{
    struct bench b;
    bench_open(&b);
    int64_t ttl_s;
    EXPECT(lease_grant(b.t, 1, 10, 1, 0) == ERR_OK && due(&b, 5000, 5000) == 1);
    EXPECT(lease_renew(b.t, 1, 5001, &ttl_s) == LEASE_NOTED); /* on its way counts too */
    EXPECT(lease_renew(b.t, 1, 5002, &ttl_s) == LEASE_CLEARING);
    EXPECT(lease_expire(b.t, 15001) == 0);
    note(&b, 1, 5000);
    EXPECT(lease_renew(b.t, 1, 5003, &ttl_s) == LEASE_CLEARING);
    EXPECT(due(&b, 14000, 0) == 0); /* none while it is being cleared */
    note(&b, 1, 0);
    EXPECT(lease_renew(b.t, 1, 14000, &ttl_s) == LEASE_RENEWED && ttl_s == 10);
    EXPECT(due(&b, 18999, 0) == 0 && due(&b, 19000, 5000) == 1);
    note(&b, 1, 5000);
    EXPECT(lease_renew(b.t, 1, 20000, &ttl_s) == LEASE_NOTED);
    lease_not_proposed(b.t, 1);
    EXPECT(lease_renew(b.t, 1, 20001, &ttl_s) == LEASE_NOTED);
    lease_restart(b.t, 30000);
    EXPECT(lease_renew(b.t, 1, 35000, &ttl_s) == LEASE_EXPIRING);
    EXPECT(lease_renew(b.t, 1, 32400, &ttl_s) == LEASE_NOTED && due(&b, 32500, 0) == 0);
    note(&b, 1, 0);
    EXPECT(due(&b, 37399, 0) == 0 && due(&b, 37400, 5000) == 1); /* of the whole TTL again */
    lease_restart(b.t, 30000);
    EXPECT(lease_renew(b.t, 1, 35000, &ttl_s) == LEASE_RENEWED);
    note(&b, 1, 10000); /* the whole TTL: none */
    EXPECT(lease_renew(b.t, 1, 35000, &ttl_s) == LEASE_RENEWED);
    lease_note(b.t, &(struct lease_note){ 1, 5 }, 0); /* made before the grant */
    EXPECT(lease_known_as_of(b.t, 1, 1) && !lease_known_as_of(b.t, 1, 0));
    EXPECT(lease_renew(b.t, 1, 35000, &ttl_s) == LEASE_RENEWED);
    EXPECT(bench_close(&b));
}

TEST(lease_notes_of_one_entry_are_bounded)
{
    struct bench b;
    bench_open(&b);
    struct lease_note *notes;
    enum { N = LEASE_NOTES_MAX + 5 };
    for (int64_t id = 1; id <= N; id++)
        EXPECT(lease_grant(b.t, id, 10, 1, 0) == ERR_OK);
    EXPECT(lease_notes_due(b.t, 5000, &b.arena, &notes) == LEASE_NOTES_MAX && notes[0].id == 1);
    EXPECT(lease_notes_due(b.t, 5000, &b.arena, &notes) == 5 && notes[4].id == N);
    EXPECT(bench_close(&b));
}

TEST(lease_look_and_list)
{
    struct bench b;
    bench_open(&b);
    struct lease_info info;
    int64_t *ids;
    EXPECT(lease_look(b.t, 5, 0, true, &b.arena, &info) == ERR_LEASE_NOT_FOUND);
    EXPECT(lease_grant(b.t, 5, 10, 1, 0) == ERR_OK && lease_grant(b.t, 6, 3, 1, 0) == ERR_OK);
    EXPECT(lease_grant(b.t, 4, 20, 1, 0) == ERR_OK);
    lease_attach(b.t, 5, SPAN("z"));
    lease_attach(b.t, 5, SPAN(""));
    EXPECT(lease_look(b.t, 5, 4001, false, &b.arena, &info) == ERR_OK);
    EXPECT(info.ttl_s == 10 && info.remaining_ms == 5999 && info.n_keys == 0);
    EXPECT(lease_look(b.t, 5, 20000, true, &b.arena, &info) == ERR_OK);
    EXPECT(info.remaining_ms == 0 && info.n_keys == 2);
    EXPECT(span_is(info.keys[0], "") && span_is(info.keys[1], "z"));
    EXPECT(lease_expire(b.t, 3000) == 6);
    EXPECT(lease_list(b.t, &b.arena, &ids) == 3 && ids[0] == 6 && ids[1] == 5 && ids[2] == 4);
    EXPECT(bench_close(&b));
}

TEST(lease_checkpoint_comes_back)
{
    struct bench b, c;
    bench_open(&b);
    bench_open(&c);
    struct buf out, again;
    buf_open(&out, &b.heap);
    buf_open(&again, &b.heap);
    EXPECT(lease_grant(b.t, 9, 3, 1, 0) == ERR_OK && lease_grant(b.t, -4, 60, 1, 0) == ERR_OK);
    lease_save(b.t, &out);
    buf_text(&out, "rest");
    struct span records = buf_all(&out);
    EXPECT(lease_load(c.t, &records, false, 500) == ERR_OK && span_is(records, "rest"));
    lease_save(c.t, &again);
    EXPECT(span_starts(buf_all(&out), buf_all(&again)) && again.len + 4 == out.len);
    EXPECT(lease_deadline_ms(c.t) == 3500);
    for (size_t cut = 0; cut < again.len; cut++) {
        struct lease_table *t = lease_open(&c.heap);
        records = span_of(again.data, cut);
        EXPECT(lease_load(t, &records, false, 0) == ERR_CORRUPT);
        lease_close(t);
    }
    buf_close(&out);
    buf_close(&again);
    EXPECT(bench_close(&b) && bench_close(&c));
}

TEST(lease_with_very_many_keys)
{
    struct bench b;
    bench_open(&b);
    enum { N = 20000 };
    EXPECT(lease_grant(b.t, 1, 60, 1, 0) == ERR_OK);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t key = i * 2654435761u;
        lease_attach(b.t, 1, span_of(&key, sizeof(key)));
    }
    for (uint32_t i = 0; i < N; i += 2) {
        uint32_t key = i * 2654435761u;
        lease_detach(b.t, 1, span_of(&key, sizeof(key)));
    }
    struct span *keys;
    size_t n;
    EXPECT(lease_revoke(b.t, 1, &b.arena, &keys, &n) == ERR_OK && n == N / 2);
    for (size_t i = 1; i < n; i++)
        EXPECT(span_compare(keys[i - 1], keys[i]) < 0);
    EXPECT(bench_close(&b));
}

/* The same calls on a plain array. */
enum { IDS = 12, KEYS = 8 };
struct model {
    bool there, expiring, keys[KEYS];
    int64_t ttl_s, deadline_ms;
};

static int64_t model_next(const struct model *m, int64_t now_ms)
{
    int64_t best = 0;
    for (int i = 1; i < IDS; i++)
        if (m[i].there && !m[i].expiring && m[i].deadline_ms <= now_ms &&
            (!best || m[i].deadline_ms < m[best].deadline_ms))
            best = i;
    return best;
}

static bool revoke_agrees(struct bench *b, struct model *m, int64_t id)
{
    struct span *keys;
    size_t n, k = 0;
    enum err err = lease_revoke(b->t, id, &b->arena, &keys, &n);
    if (!m->there)
        return err == ERR_LEASE_NOT_FOUND;
    for (int i = 0; i < KEYS; i++)
        if (m->keys[i] && (k >= n || keys[k++].data[0] != i))
            return false;
    *m = (struct model){ 0 };
    return err == ERR_OK && k == n;
}

static bool step_agrees(struct bench *b, struct model *all, struct prng *p, int64_t now_ms)
{
    int64_t id = 1 + (int64_t)prng_below(p, IDS - 1), ttl_s = 0, found;
    uint8_t key = (uint8_t)prng_below(p, KEYS);
    struct model *m = &all[id];
    switch (prng_below(p, 8)) {
    case 0:
        if (lease_grant(b->t, id, 2 + key, 1, now_ms) != (m->there ? ERR_LEASE_EXISTS : ERR_OK))
            return false;
        if (!m->there)
            *m = (struct model){ .there = true, .ttl_s = 2 + key,
                                 .deadline_ms = now_ms + (2 + key) * 1000 };
        return true;
    case 1:
        return key || revoke_agrees(b, m, id);
    case 2:
    case 3:
        lease_attach(b->t, id, span_of(&key, 1));
        m->keys[key] = m->there;
        return true;
    case 4:
        lease_detach(b->t, id, span_of(&key, 1));
        m->keys[key] = false;
        return true;
    case 5:
        found = lease_expire(b->t, now_ms);
        if (found != model_next(all, now_ms))
            return false;
        all[found].expiring = true;
        return true;
    case 6:
        lease_not_proposed(b->t, id);
        m->expiring = false;
        return true;
    default:
        if (!m->there)
            return lease_renew(b->t, id, now_ms, &ttl_s) == LEASE_GONE;
        if (m->expiring || now_ms >= m->deadline_ms)
            return lease_renew(b->t, id, now_ms, &ttl_s) == LEASE_EXPIRING;
        m->deadline_ms = now_ms + m->ttl_s * 1000;
        return lease_renew(b->t, id, now_ms, &ttl_s) == LEASE_RENEWED && ttl_s == m->ttl_s;
    }
}

TEST(lease_against_a_plain_array)
{
    struct bench b;
    bench_open(&b);
    struct model all[IDS] = { 0 };
    struct prng p = { 99 };
    int64_t now_ms = 0;
    for (int i = 0; i < 20000; i++) {
        now_ms += (int64_t)prng_below(&p, 200);
        EXPECT(step_agrees(&b, all, &p, now_ms));
        int64_t n = 0;
        for (int id = 1; id < IDS; id++)
            n += all[id].there;
        EXPECT(lease_count(b.t) == n);
        if (i % 100 == 0)
            arena_reset(&b.arena);
    }
    EXPECT(bench_close(&b));
}
