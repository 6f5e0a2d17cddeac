/* Any bytes: what splits stands in them; what is read as claims is written and read back the
 * same. */
#include "base/check.h"
#include "wire/json/json.h"
#include "wire/jwt/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct span part, struct span whole)
{
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

static void write_and_read(const struct jwt_claims *c, struct arena *arena, struct buf *out)
{
    struct jwt_parts parts;
    struct jwt_claims again;
    jwt_write("ES256", c, out);
    jwt_write_signature(SPAN("signature"), out);
    CHECK(jwt_split(buf_all(out), arena, &parts) == ERR_OK || out->len > JWT_BYTES_MAX);
    if (out->len > JWT_BYTES_MAX)
        return;
    CHECK(span_is(parts.alg, "ES256") && span_is(parts.signature, "signature"));
    CHECK(jwt_claims_read(parts.claims, arena, &again) == ERR_OK);
    CHECK(span_equal(again.user, c->user) && again.revision == c->revision &&
          again.expires_s == c->expires_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct arena arena;
    struct buf out;
    struct jwt_parts parts;
    struct jwt_claims claims;
    struct span in = span_of(data, size);
    alloc_heap(&heap);
    jsonr_use(&heap);
    arena_open(&arena, &heap);
    buf_open(&out, &heap);
    if (jwt_split(in, &arena, &parts) == ERR_OK) {
        CHECK(size <= JWT_BYTES_MAX && within(parts.content, in));
        in = parts.claims;
    }
    if (jwt_claims_read(in, &arena, &claims) == ERR_OK && claims.user.len && claims.expires_s)
        write_and_read(&claims, &arena, &out);
    buf_close(&out);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
