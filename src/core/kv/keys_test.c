/* The order and the index against a plain array. */
#include "base/prng.h"
#include "base/test.h"
#include "core/kv/kv_int.h"

enum { SLOTS = 4500, STEPS = 30000 };

struct shelf {
    struct alloc heap;
    struct kv_keys keys;
    struct kv_index index;
    struct kv_key *at[SLOTS]; /* NULL: not there */
    bool live[SLOTS];
};

static struct span name(uint32_t i)
{
    static uint8_t text[2][4];
    static int turn;
    uint8_t *t = text[turn ^= 1];
    for (int j = 0; j < 4; j++)
        t[j] = (uint8_t)(i >> (24 - 8 * j));
    return span_of(t, 4);
}

static void add(struct shelf *s, uint32_t i, bool live)
{
    s->at[i] = key_new(&s->heap, name(i));
    s->live[i] = live;
    kv_keys_add(&s->keys, s->at[i], live);
    kv_index_add(&s->index, s->at[i]);
}

static void take(struct shelf *s, uint32_t i)
{
    kv_keys_remove(&s->keys, s->at[i]);
    kv_index_remove(&s->index, s->at[i]);
    key_free(&s->heap, s->at[i]);
    s->at[i] = NULL;
}

static bool walk_agrees(const struct shelf *s, uint32_t from, bool live, uint32_t most)
{
    struct kv_walk w = kv_keys_from(&s->keys, name(from), live);
    for (uint32_t i = from; i < SLOTS && most > 0; i++) {
        if (!s->at[i] || (live && !s->live[i]))
            continue;
        if (kv_walk_key(&w) != s->at[i])
            return false;
        kv_walk_next(&w);
        most--;
    }
    return most == 0 || !kv_walk_key(&w);
}

static bool agrees(const struct shelf *s)
{
    size_t n = 0, live = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (kv_keys_rank(&s->keys, name(i)) != live || kv_index_get(&s->index, name(i)) != s->at[i])
            return false;
        if (s->at[i] && s->live[i]) {
            struct kv_walk w = kv_keys_select(&s->keys, live);
            if (kv_walk_key(&w) != s->at[i])
                return false;
            live++;
        }
        n += s->at[i] != NULL;
    }
    struct kv_walk past = kv_keys_select(&s->keys, live);
    return n == s->keys.n && live == s->keys.live && n == s->index.n && !kv_walk_key(&past) &&
           walk_agrees(s, 0, false, SLOTS) && walk_agrees(s, 0, true, SLOTS);
}

static void open_shelf(struct shelf *s)
{
    memset(s, 0, sizeof(*s));
    alloc_heap(&s->heap);
    kv_keys_open(&s->keys, &s->heap);
    kv_index_open(&s->index, &s->heap);
}

static bool close_shelf(struct shelf *s)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        if (s->at[i])
            key_free(&s->heap, s->at[i]);
    kv_keys_close(&s->keys);
    kv_index_close(&s->index);
    return s->heap.used == 0;
}

TEST(kv_keys_and_index_at_random)
{
    static struct shelf s;
    struct prng p = { 11 };
    bool ok = true;
    open_shelf(&s);
    for (int i = 0; ok && i < STEPS; i++) {
        uint32_t k = (uint32_t)prng_below(&p, SLOTS);
        /* The tide: more come than go, then the other way round, down to nothing. */
        bool ebb = i / (STEPS / 4) % 2;
        if (!s.at[k] && (!ebb || prng_below(&p, 8) == 0)) {
            add(&s, k, prng_below(&p, 3) > 0);
        } else if (s.at[k] && (ebb || prng_below(&p, 8) == 0)) {
            take(&s, k);
        } else if (s.at[k]) {
            s.live[k] = !s.live[k];
            kv_keys_set_live(&s.keys, s.at[k], s.live[k]);
        }
        ok = walk_agrees(&s, (uint32_t)prng_below(&p, SLOTS), prng_below(&p, 2), 5);
        if (i % (STEPS / 20) == 0)
            ok = ok && agrees(&s);
    }
    EXPECT(close_shelf(&s));
    EXPECT(ok);
}

/* Rising, falling and inwards; then out again, from the front, the back and the middle. */
TEST(kv_keys_and_index_in_runs)
{
    static struct shelf s;
    size_t dense = 0; /* keys that rise fill their nodes */
    bool ok = true;
    for (int way = 0; way < 12; way++) {
        open_shelf(&s);
        for (uint32_t i = 0; i < SLOTS; i++)
            add(&s, way % 3 == 0 ? i : way % 3 == 1 ? SLOTS - 1 - i : i * 7 % SLOTS, i % 3);
        ok = ok && agrees(&s);
        size_t full = s.heap.used;
        dense = way % 3 == 0 ? full : dense;
        ok = ok && (way % 3 == 0 || dense < full);
        for (uint32_t i = 0; i < SLOTS; i++) {
            const uint32_t next[] = { i, SLOTS - 1 - i, (i * 7 + 13) % SLOTS,
                                      (i + SLOTS / 3) % SLOTS };
            take(&s, next[way / 3]);
            if (i == SLOTS / 2)
                ok = ok && agrees(&s);
        }
        ok = ok && s.keys.n == 0 && s.keys.depth == 0 && s.index.n == 0 && s.heap.used < full / 10;
        ok = close_shelf(&s) && ok;
    }
    EXPECT(ok);
}

/* Keys that come falling behind a full leaf: the last leaf alone is split at its end. */
TEST(kv_keys_stay_dense)
{
    enum { RUN = 64 };
    static struct shelf s;
    bool ok = true;
    open_shelf(&s);
    size_t index_bytes = s.heap.used;
    for (uint32_t i = 0; i < RUN; i++)
        kv_keys_add(&s.keys, s.at[i] = key_new(&s.heap, name(i)), true);
    for (uint32_t i = SLOTS - 1; i >= RUN; i--)
        kv_keys_add(&s.keys, s.at[i] = key_new(&s.heap, name(i)), true);
    size_t keys_bytes = SLOTS * (size_t)24; /* a name of four bytes */
    ok = s.heap.used - index_bytes - keys_bytes < SLOTS * (size_t)20;
    EXPECT(close_shelf(&s));
    EXPECT(ok);
}

/* Few live keys among many dead ones: the walk goes around, not through. */
TEST(kv_walk_skips_the_dead)
{
    static struct shelf s;
    bool ok = true;
    open_shelf(&s);
    for (uint32_t i = 0; i < SLOTS; i++)
        add(&s, i, i % 2000 == 1999);
    struct kv_walk w = kv_keys_from(&s.keys, name(0), true);
    for (uint32_t i = 1999; i < SLOTS; i += 2000, kv_walk_next(&w))
        ok = ok && kv_walk_key(&w) == s.at[i];
    ok = ok && !kv_walk_key(&w);
    EXPECT(close_shelf(&s));
    EXPECT(ok);
}
