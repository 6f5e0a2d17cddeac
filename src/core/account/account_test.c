#include "core/account/account.h"
#include "base/test.h"
#include "wire/json/json.h"

#define SECRET "0123456789012345678901234567890123456789abc"

TEST(account_tokens)
{
    struct span name, id, secret;
    EXPECT(account_token_split(SPAN("cmk_ci-1_0a1b2c3d_" SECRET), &name, &id, &secret));
    EXPECT(span_is(name, "ci-1") && span_is(id, "0a1b2c3d") && span_is(secret, SECRET));
    EXPECT(account_token_split(SPAN("cmk_a_________b_" SECRET), &name, &id, &secret) == false);
    EXPECT(!account_token_split(SPAN("cmk_ci_1_0a1b2c3d_" SECRET), &name, &id, &secret));
    EXPECT(!account_token_split(SPAN("cmk__0a1b2c3d_" SECRET), &name, &id, &secret));
    EXPECT(!account_token_split(SPAN("cmk_a_0a1b2c3d_short"), &name, &id, &secret));
    EXPECT(!account_token_split(SPAN("xmk_a_0a1b2c3d_" SECRET), &name, &id, &secret));
    EXPECT(!account_token_split(SPAN_NONE, &name, &id, &secret));
}

TEST(account_records)
{
    struct alloc heap;
    struct arena arena;
    struct buf b;
    struct account a = { .n = 2 }, again;
    alloc_heap(&heap);
    jsonr_use(&heap);
    arena_open(&arena, &heap);
    buf_open(&b, &heap);
    for (size_t i = 0; i < 2; i++) {
        memset(a.keys[i].id, (int)('a' + i), ACCOUNT_ID);
        memset(a.keys[i].hash, (int)i, ACCOUNT_HASH);
    }
    a.keys[1].expires_ms = 1000;
    account_write(&a, &b);
    EXPECT(account_read(buf_all(&b), &arena, &again) == ERR_OK && again.n == 2);
    uint8_t hash[ACCOUNT_HASH] = { 0 };
    EXPECT(account_find(&again, SPAN("aaaaaaaa"), hash, 5000) == &again.keys[0]);
    EXPECT(!account_find(&again, SPAN("bbbbbbbb"), hash, 500));
    memset(hash, 1, sizeof(hash));
    EXPECT(account_find(&again, SPAN("bbbbbbbb"), hash, 999) == &again.keys[1]);
    EXPECT(!account_find(&again, SPAN("bbbbbbbb"), hash, 1000));
    again.disabled = true;
    EXPECT(!account_find(&again, SPAN("bbbbbbbb"), hash, 999));
    static const char *const bad[] = { "", "{}", "{\"keys\":7}", "{\"keys\":[{}]}", "[]",
                                       "{\"keys\":[{\"id\":\"12345678\",\"sha256\":\"AA\"}]}" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT(account_read(span_text(bad[i]), &arena, &again) == ERR_CORRUPT);
    EXPECT(account_read(SPAN("{\"keys\":[]}"), &arena, &again) == ERR_OK && again.disabled);
    buf_close(&b);
    arena_close(&arena);
    EXPECT(heap.used == 0);
}
