#include "base/test.h"
#include "core/bearer/bearer.h"

TEST(bearer_token_round)
{
    struct bearer_token t = { .user = SPAN("ann"),
                              .accessor = SPAN("acc"),
                              .display = SPAN("d"),
                              .path = SPAN("auth/x"),
                              .created_ms = 10,
                              .expires_ms = 110,
                              .ttl_ms = 100,
                              .max_ms = 150,
                              .renewable = true };
    struct bearer_token again;
    struct alloc heap;
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    bearer_token_write(&t, &b);
    EXPECT(bearer_token_read(buf_all(&b), &again) == ERR_OK && again.renewable);
    EXPECT(span_is(again.user, "ann") && again.expires_ms == 110 && again.max_ms == 150);
    for (size_t i = 0; i < b.len; i++)
        EXPECT(bearer_token_read(span_of(b.data, i), &again) == ERR_CORRUPT);
    b.data[0]++;
    EXPECT(bearer_token_read(buf_all(&b), &again) == ERR_FORMAT);
    EXPECT(bearer_renewed(&t, 0, 20) == 120 && bearer_renewed(&t, 30, 20) == 50);
    EXPECT(bearer_renewed(&t, 500, 20) == 120 && bearer_renewed(&t, 0, 100) == 150);
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(bearer_role_round)
{
    static struct bearer_role r, again;
    struct alloc heap;
    struct buf b;
    r = (struct bearer_role){ .role_id = SPAN("id"), .token_ttl_ms = 7, .n = 2 };
    r.ids[0] = (struct bearer_secret_id){ .hash = { 1 }, .accessor = SPAN("a"), .expires_ms = 50 };
    r.ids[1] = (struct bearer_secret_id){ .hash = { 2 }, .accessor = SPAN("b"), .uses = 3 };
    alloc_heap(&heap);
    buf_open(&b, &heap);
    bearer_role_write(&r, &b);
    EXPECT(bearer_role_read(buf_all(&b), &again) == ERR_OK && again.n == 2);
    EXPECT(again.ids[1].uses == 3 && bearer_find(&again, r.ids[1].hash) == &again.ids[1]);
    for (size_t i = 0; i < b.len; i++)
        EXPECT(bearer_role_read(span_of(b.data, i), &again) == ERR_CORRUPT);
    EXPECT(!bearer_role_prune(&r, 49) && bearer_role_prune(&r, 50) && r.n == 1);
    EXPECT(!bearer_find(&r, (uint8_t[BEARER_HASH]){ 1 }));
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(bearer_revoked)
{
    uint8_t hash[BEARER_HASH], again[BEARER_HASH];
    struct alloc heap;
    struct arena arena;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    for (size_t i = 0; i < BEARER_HASH; i++)
        hash[i] = (uint8_t)(i * 37);
    struct span key = bearer_revoked_key(hash, &arena);
    EXPECT(bearer_revoked_hash(key, again) && memcmp(hash, again, BEARER_HASH) == 0);
    EXPECT(!bearer_revoked_hash(span_of(key.data, key.len - 1), again));
    EXPECT(!bearer_revoked_hash(bearer_token_key(hash, &arena), again));
    ((uint8_t *)(uintptr_t)key.data)[key.len - 1] = 0;
    EXPECT(!bearer_revoked_hash(key, again));
    ((uint8_t *)(uintptr_t)key.data)[key.len - 1] = 'A';
    EXPECT(!bearer_revoked_hash(key, again));
    arena_close(&arena);
    EXPECT(heap.used == 0);
}

TEST(bearer_texts)
{
    struct span hashed;
    uint64_t index;
    EXPECT(bearer_text(SPAN("hvs.abc.12"), &hashed, &index) && index == 12);
    EXPECT(span_is(hashed, "hvs.abc"));
    EXPECT(!bearer_text(SPAN("hvs.abc"), &hashed, &index));
    EXPECT(!bearer_text(SPAN("hvs.abc."), &hashed, &index));
    EXPECT(!bearer_text(SPAN("hvs..1"), &hashed, &index));
    EXPECT(!bearer_text(SPAN("hvs.abc.1x"), &hashed, &index));
    EXPECT(!bearer_text(SPAN("abc.12"), &hashed, &index));
    EXPECT(bearer_name_good(SPAN("my-app_1.x")) && !bearer_name_good(SPAN("")));
    EXPECT(!bearer_name_good(SPAN("a/b")));
}
