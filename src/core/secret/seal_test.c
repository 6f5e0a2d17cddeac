#include "base/test.h"
#include "core/secret/secret.h"

static uint32_t state = 1;

static uint8_t draw(void)
{
    state = state * 1664525 + 1013904223;
    return (uint8_t)(state >> 24);
}

/* Any threshold of the shares give the key, one fewer give another. */
TEST(secret_shares_give_the_key_back)
{
    uint8_t key[SECRET_KEY_BYTES], random[SECRET_SHARES_MAX * SECRET_KEY_BYTES];
    uint8_t out[SECRET_SHARES_MAX][SECRET_SHARE_BYTES], some[SECRET_SHARES_MAX][SECRET_SHARE_BYTES];
    for (int round = 0; round < 200; round++) {
        size_t n = 1 + draw() % 12, t = 1 + draw() % n;
        uint8_t got[SECRET_KEY_BYTES];
        for (size_t i = 0; i < sizeof(key); i++)
            key[i] = draw();
        for (size_t i = 0; i < sizeof(random); i++)
            random[i] = draw();
        secret_split(key, n, t, random, out);
        for (size_t i = 0, from = draw() % n; i < n; i++)
            memcpy(some[i], out[(i + from) % n], SECRET_SHARE_BYTES);
        secret_join((const uint8_t(*)[SECRET_SHARE_BYTES])some, t, got);
        EXPECT(memcmp(got, key, sizeof(key)) == 0);
        if (t > 1) {
            secret_join((const uint8_t(*)[SECRET_SHARE_BYTES])some, t - 1, got);
            EXPECT(memcmp(got, key, sizeof(key)) != 0);
        }
    }
}

/* By hand: f(x) = 0x53 + 0xca x over AES's field, where 0x53 * 0xca = 1 (FIPS 197 4.2), so that
 * f(1) = 0x99, f(2) = 0x53 ^ 0x8f = 0xdc. */
TEST(secret_shares_known)
{
    uint8_t key[SECRET_KEY_BYTES] = { 0x53 }, random[SECRET_KEY_BYTES] = { 0xca };
    uint8_t out[3][SECRET_SHARE_BYTES];
    secret_split(key, 3, 2, random, out);
    EXPECT(out[0][0] == 0x99 && out[1][0] == 0xdc && out[2][0] == (0x53 ^ 0x8f ^ 0xca));
    EXPECT(out[0][SECRET_KEY_BYTES] == 1 && out[2][SECRET_KEY_BYTES] == 3);
}

TEST(secret_seal_round)
{
    struct secret_seal s = { .type = SECRET_SEAL_SHAMIR, .shares = 5, .threshold = 3, .id = "abc" };
    struct secret_seal again;
    struct alloc heap;
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    secret_seal_write(&s, &b);
    EXPECT(secret_seal_read(buf_all(&b), &again) == ERR_OK && again.shares == 5);
    EXPECT(again.threshold == 3 && again.id[1] == 'b');
    for (size_t i = 0; i < b.len; i++)
        EXPECT(secret_seal_read(span_of(b.data, i), &again) == ERR_CORRUPT);
    b.data[0]++;
    EXPECT(secret_seal_read(buf_all(&b), &again) == ERR_FORMAT);
    buf_reset(&b);
    s = (struct secret_seal){ .type = SECRET_SEAL_TRANSIT, .sealed = SPAN("vault:v1:abc") };
    secret_seal_write(&s, &b);
    EXPECT(secret_seal_read(buf_all(&b), &again) == ERR_OK &&
           span_is(again.sealed, "vault:v1:abc"));
    buf_close(&b);
    EXPECT(heap.used == 0);
}
