#include "core/limit/limit.h"
#include "base/prng.h"
#include "base/test.h"

static struct alloc heap;

static struct limit_table *table(void)
{
    alloc_heap(&heap);
    return limit_open(&heap);
}

static bool done(struct limit_table *t)
{
    limit_close(t);
    return heap.used == 0;
}

static struct limit_rule quota(const char *prefix, int64_t keys, int64_t bytes)
{
    return (struct limit_rule){
        .kind = LIMIT_PREFIX, .name = span_text(prefix), .keys_max = keys, .bytes_max = bytes
    };
}

static struct limit_rule rate(uint8_t kind, const char *name, int64_t a_second, int64_t burst)
{
    return (struct limit_rule){ kind, span_text(name), 0, 0, a_second, burst };
}

static enum err set(struct limit_table *t, struct limit_rule r)
{
    bool fresh;
    return limit_set(t, &r, &fresh);
}

static enum err change(struct limit_table *t, const char *key, int64_t keys, int64_t bytes)
{
    limit_plan(t, span_text(key), keys, bytes);
    enum err e = limit_admit(t);
    if (e == ERR_OK)
        limit_change(t, span_text(key), keys, bytes);
    return e;
}

static int64_t take(struct limit_table *t, const char *user, const char *key, int64_t now_ms)
{
    struct span keys[] = { span_text(key), span_text(key) };
    return limit_take(t, span_text(user), keys, 2, now_ms);
}

TEST(limit_rules_that_make_no_sense)
{
    struct limit_rule r = quota("a", 1, 0);
    EXPECT(limit_check(&r) == ERR_OK);
    r.kind = LIMIT_USER;
    EXPECT(limit_check(&r) == ERR_BAD_REQUEST); /* a user has no keys */
    r = quota("a", 0, 0);
    EXPECT(limit_check(&r) == ERR_BAD_REQUEST); /* bounds nothing */
    r = quota("a", -1, 0);
    EXPECT(limit_check(&r) == ERR_BAD_REQUEST);
    r = quota("a", 1, 0);
    r.burst = 5;
    EXPECT(limit_check(&r) == ERR_BAD_REQUEST); /* a burst of no rate */
    r = rate(3, "a", 1, 0);
    EXPECT(limit_check(&r) == ERR_BAD_REQUEST);
    r = rate(LIMIT_USER, "", 1, 0);
    EXPECT(limit_check(&r) == ERR_OK);
    static uint8_t name[LIMIT_NAME_MAX + 1];
    r.name = span_of(name, sizeof(name));
    EXPECT(limit_check(&r) == ERR_BAD_REQUEST);
}

TEST(limit_keys_and_bytes_of_nested_prefixes)
{
    struct limit_table *t = table();
    EXPECT(set(t, quota("app/", 3, 0)) == ERR_OK && set(t, quota("app/a/", 2, 20)) == ERR_OK);
    EXPECT(change(t, "app/a/1", 1, 10) == ERR_OK && change(t, "app/a/2", 1, 10) == ERR_OK);
    EXPECT(change(t, "app/a/3", 1, 1) == ERR_QUOTA_EXCEEDED); /* the inner one's keys */
    EXPECT(change(t, "app/a/1", 0, 1) == ERR_QUOTA_EXCEEDED); /* its bytes */
    EXPECT(change(t, "app/a/1", 0, -4) == ERR_OK && change(t, "app/a/2", 0, 4) == ERR_OK);
    EXPECT(change(t, "app/b", 1, 1000) == ERR_OK);
    EXPECT(change(t, "app/c", 1, 1) == ERR_QUOTA_EXCEEDED); /* the outer one's keys */
    EXPECT(change(t, "apple", 1, 1) == ERR_OK && change(t, "z", 1, 1) == ERR_OK);
    EXPECT(limit_at(t, 0)->keys == 3 && limit_at(t, 0)->bytes == 1020);
    EXPECT(limit_at(t, 1)->keys == 2 && limit_at(t, 1)->bytes == 20);
    /* Set below what is there: what grows is refused, what shrinks is not. */
    EXPECT(set(t, quota("app/", 1, 0)) == ERR_OK);
    EXPECT(change(t, "app/d", 1, 1) == ERR_QUOTA_EXCEEDED);
    EXPECT(change(t, "app/b", 0, 5) == ERR_OK && change(t, "app/b", -1, -1005) == ERR_OK);
    EXPECT(limit_delete(t, LIMIT_PREFIX, SPAN("app/a/")) == ERR_OK);
    EXPECT(limit_delete(t, LIMIT_PREFIX, SPAN("app/a/")) == ERR_LIMIT_NOT_FOUND);
    EXPECT(done(t));
}

TEST(limit_a_command_counts_as_a_whole)
{
    struct limit_table *t = table();
    EXPECT(set(t, quota("", 2, 0)) == ERR_OK);
    EXPECT(change(t, "a", 1, 1) == ERR_OK && change(t, "b", 1, 1) == ERR_OK);
    limit_plan(t, SPAN("c"), 1, 1);
    limit_plan(t, SPAN("a"), -1, -1); /* in the same transaction */
    EXPECT(limit_admit(t) == ERR_OK);
    limit_plan(t, SPAN("c"), 1, 1);
    EXPECT(limit_admit(t) == ERR_QUOTA_EXCEEDED && limit_admit(t) == ERR_OK); /* it forgets */
    EXPECT(done(t));
}

TEST(limit_as_many_and_as_deep_as_there_may_be)
{
    struct limit_table *t = table();
    char name[LIMIT_DEPTH_MAX + 2] = "";
    for (int i = 0; i < LIMIT_DEPTH_MAX; i++) {
        EXPECT(set(t, quota(name, 1, 0)) == ERR_OK);
        name[i] = 'x';
    }
    EXPECT(set(t, quota(name, 1, 0)) == ERR_LIMITS_TOO_MANY);
    EXPECT(set(t, quota("xy", 1, 0)) == ERR_OK); /* beside them */
    EXPECT(limit_delete(t, LIMIT_PREFIX, SPAN("x")) == ERR_OK);
    EXPECT(set(t, quota(name, 1, 0)) == ERR_OK);
    EXPECT(set(t, quota("x", 1, 0)) == ERR_LIMITS_TOO_MANY); /* would put the others deeper */
    size_t n = limit_count(t);
    for (char user[16] = "user"; n < LIMITS_MAX; n++) {
        user[4] = (char)('a' + n % 26), user[5] = (char)('a' + n / 26 % 26);
        user[6] = (char)('a' + n / 676), user[7] = 0;
        EXPECT(set(t, rate(LIMIT_USER, user, 1, 0)) == ERR_OK);
    }
    EXPECT(limit_count(t) == LIMITS_MAX);
    EXPECT(set(t, rate(LIMIT_USER, "one more", 1, 0)) == ERR_LIMITS_TOO_MANY);
    EXPECT(done(t));
}

TEST(limit_requests_of_users_and_prefixes)
{
    struct limit_table *t = table();
    EXPECT(!limit_rates(t) && set(t, rate(LIMIT_USER, "ann", 10, 2)) == ERR_OK && limit_rates(t));
    EXPECT(set(t, rate(LIMIT_PREFIX, "k", 1, 0)) == ERR_OK);
    EXPECT(take(t, "ann", "x", 1000) == 0 && take(t, "ann", "x", 1000) == 0);
    EXPECT(take(t, "ann", "x", 1000) == 100 && take(t, "ann", "x", 1099) == 1);
    EXPECT(take(t, "ann", "x", 1100) == 0 && take(t, "bob", "x", 1100) == 0);
    EXPECT(take(t, "bob", "k1", 1100) == 0); /* two keys of one prefix: one request */
    EXPECT(take(t, "bob", "k2", 1600) == 500);
    EXPECT(take(t, "ann", "k2", 1600) == 500); /* refused: not counted for ann either */
    EXPECT(take(t, "ann", "x", 1600) == 0 && take(t, "ann", "x", 1600) == 0);
    EXPECT(take(t, "ann", "x", 1600) == 100);
    EXPECT(take(t, "bob", "k", 1000000) == 0 && take(t, "bob", "k", 1000000) == 1000);
    EXPECT(limit_delete(t, LIMIT_USER, SPAN("ann")) == ERR_OK && limit_rates(t));
    EXPECT(limit_delete(t, LIMIT_PREFIX, SPAN("k")) == ERR_OK && !limit_rates(t));
    EXPECT(done(t));
}

TEST(limit_saved_and_loaded)
{
    struct limit_table *t = table(), *back = limit_open(&heap);
    struct buf b, again;
    buf_open(&b, &heap);
    buf_open(&again, &heap);
    EXPECT(set(t, quota("b", 1, 2)) == ERR_OK && set(t, quota("", 7, 0)) == ERR_OK);
    EXPECT(set(t, rate(LIMIT_USER, "ann", 10, 2)) == ERR_OK);
    limit_save(t, &b);
    for (size_t cut = 0; cut < b.len; cut++) {
        struct limit_table *part = limit_open(&heap);
        struct span s = span_of(b.data, cut);
        EXPECT(limit_load(part, &s) == ERR_CORRUPT);
        limit_close(part);
    }
    struct span s = buf_all(&b);
    EXPECT(limit_load(back, &s) == ERR_OK && s.len == 0);
    limit_save(back, &again);
    EXPECT(span_equal(buf_all(&b), buf_all(&again)));
    buf_close(&b);
    buf_close(&again);
    limit_close(back);
    EXPECT(done(t));
}

/* Against a plain list: every prefix is asked whether the key begins with it. */
TEST(limit_model)
{
    struct prng random = { .state = 7 };
    struct limit_table *t = table();
    static const char *const names[] = { "", "a", "ab", "abc", "b", "bb", "\xff", "a\xff", "ca" };
    enum { N = sizeof(names) / sizeof(names[0]) };
    int64_t keys[N] = { 0 };
    for (size_t i = 0; i < N; i++)
        EXPECT(set(t, quota(names[i], INT32_MAX, 0)) == ERR_OK);
    for (int round = 0; round < 2000; round++) {
        uint8_t key[4];
        size_t len = 1 + (size_t)prng_below(&random, 4);
        for (size_t i = 0; i < len; i++)
            key[i] = (uint8_t) "abc\xff"[prng_below(&random, 4)];
        limit_change(t, span_of(key, len), 1, 1);
        for (size_t i = 0; i < N; i++)
            keys[i] += span_starts(span_of(key, len), span_text(names[i]));
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < limit_count(t); k++)
            if (span_is(limit_at(t, k)->rule.name, names[i]))
                EXPECT(limit_at(t, k)->keys == keys[i]);
    EXPECT(done(t));
}
