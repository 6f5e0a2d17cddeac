/* Any bytes as a token, a role or a token's text: what is read is written and read the same. */
#include "base/check.h"
#include "core/bearer/bearer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bearer_role role, role_again;
    struct bearer_token token, token_again;
    struct alloc heap;
    struct buf out;
    struct span hashed;
    uint64_t index;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    if (bearer_token_read(span_of(data, size), &token) == ERR_OK) {
        bearer_token_write(&token, &out);
        CHECK(out.len <= size && bearer_token_read(buf_all(&out), &token_again) == ERR_OK);
        CHECK(span_equal(token.user, token_again.user));
    }
    buf_reset(&out);
    if (bearer_role_read(span_of(data, size), &role) == ERR_OK) {
        bearer_role_write(&role, &out);
        CHECK(out.len <= size && bearer_role_read(buf_all(&out), &role_again) == ERR_OK);
        CHECK(role.n == role_again.n);
    }
    if (bearer_text(span_of(data, size), &hashed, &index))
        CHECK(hashed.len < size);
    buf_close(&out);
    CHECK(heap.used == 0);
    return 0;
}
