/* Any bytes: what comes out must not depend on how they are cut, and nothing may be lost or kept
 * beyond the limits. */
#include "wire/http1/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http1_limits limits = { .head_bytes_max = 512,
                                         .headers_max = 8,
                                         .body_bytes_max = 64 };
    struct span in = span_of(data, size);
    struct alloc heap;
    struct buf whole, pieces;
    alloc_heap(&heap);
    buf_open(&whole, &heap);
    buf_open(&pieces, &heap);
    drive(&heap, &limits, in, size + 1, 0, &whole);
    drive(&heap, &limits, in, 1, 0, &pieces);
    CHECK(span_equal(buf_all(&whole), buf_all(&pieces)));
    buf_reset(&pieces);
    drive(&heap, &limits, in, 0, size, &pieces);
    CHECK(span_equal(buf_all(&whole), buf_all(&pieces)));
    buf_close(&whole);
    buf_close(&pieces);
    CHECK(heap.used == 0);
    return 0;
}
