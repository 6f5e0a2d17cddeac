/* Where the seal's key comes from, and keys in shares. */
#include "base/check.h"
#include "core/secret/secret.h"

enum { SEAL_FORMAT = 1 };

void secret_seal_write(const struct secret_seal *s, struct buf *out)
{
    CHECK(s->shares >= 0 && s->threshold >= 0);
    buf_u8(out, SEAL_FORMAT);
    buf_u8(out, (uint8_t)s->type);
    buf_u8(out, (uint8_t)s->shares);
    buf_u8(out, (uint8_t)s->threshold);
    buf_put(out, s->id, SECRET_ID_BYTES);
    buf_span(out, s->sealed);
}

enum err secret_seal_read(struct span in, struct secret_seal *out)
{
    uint8_t format, type, shares, threshold;
    struct span id;
    *out = (struct secret_seal){ 0 };
    if (!span_u8(&in, &format) || !format)
        return ERR_CORRUPT;
    if (format > SEAL_FORMAT)
        return ERR_FORMAT;
    if (!span_u8(&in, &type) || !span_u8(&in, &shares) || !span_u8(&in, &threshold) ||
        !span_take(&in, SECRET_ID_BYTES, &id) || type < SECRET_SEAL_SHAMIR ||
        type > SECRET_SEAL_TRANSIT || shares > SECRET_SHARES_MAX || threshold > shares ||
        in.len > SECRET_SEALED_MAX)
        return ERR_CORRUPT;
    if (type == SECRET_SEAL_SHAMIR ? !threshold || in.len : !in.len)
        return ERR_CORRUPT;
    *out = (struct secret_seal){
        .type = (enum secret_seal_type)type, .shares = shares, .threshold = threshold, .sealed = in
    };
    memcpy(out->id, id.data, SECRET_ID_BYTES);
    return ERR_OK;
}

bool secret_shares_good(const struct secret_ask *a)
{
    bool one = a->shares == 1 && a->threshold == 1;
    return one ||
           (a->threshold >= 2 && a->threshold <= a->shares && a->shares <= SECRET_SHARES_MAX);
}

/* ---- GF(2^8), x^8 + x^4 + x^3 + x + 1 (FIPS 197 4.2): no tables, as caches tell of them ---- */

static uint8_t times(uint8_t a, uint8_t b)
{
    uint8_t out = 0;
    for (int i = 0; i < 8; i++) {
        out ^= (uint8_t)(a & (uint8_t) - (b & 1));
        a = (uint8_t)(a << 1) ^ (uint8_t)(0x1b & (uint8_t) - (a >> 7));
        b >>= 1;
    }
    return out;
}

/* a^254: all but 0 have one. */
static uint8_t inverse(uint8_t a)
{
    uint8_t out = 1;
    for (int i = 0; i < 7; i++) {
        a = times(a, a);
        out = times(out, a);
    }
    return out;
}

void secret_split(const uint8_t key[SECRET_KEY_BYTES], size_t shares, size_t threshold,
                  const uint8_t *random, uint8_t (*out)[SECRET_SHARE_BYTES])
{
    CHECK(threshold >= 1 && threshold <= shares && shares <= SECRET_SHARES_MAX);
    for (size_t s = 0; s < shares; s++) {
        uint8_t x = (uint8_t)(s + 1);
        for (size_t i = 0; i < SECRET_KEY_BYTES; i++) {
            uint8_t y = 0; /* Horner, from the highest power */
            for (size_t k = threshold - 1; k > 0; k--)
                y = times(y, x) ^ random[(k - 1) * SECRET_KEY_BYTES + i];
            out[s][i] = times(y, x) ^ key[i];
        }
        out[s][SECRET_KEY_BYTES] = x;
    }
}

/* Lagrange, at 0. */
void secret_join(const uint8_t (*shares)[SECRET_SHARE_BYTES], size_t n,
                 uint8_t key[SECRET_KEY_BYTES])
{
    memset(key, 0, SECRET_KEY_BYTES);
    for (size_t s = 0; s < n; s++) {
        uint8_t x = shares[s][SECRET_KEY_BYTES], weight = 1;
        for (size_t other = 0; other < n; other++) {
            uint8_t at = shares[other][SECRET_KEY_BYTES];
            CHECK(x && (other == s || at != x));
            if (other != s)
                weight = times(weight, times(at, inverse(at ^ x)));
        }
        for (size_t i = 0; i < SECRET_KEY_BYTES; i++)
            key[i] ^= times(weight, shares[s][i]);
    }
}
