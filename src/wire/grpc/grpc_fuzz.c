/* Any bytes as a gRPC stream, cut anywhere: no crash, no message over the limit, nothing leaked,
 * and the same messages however they were cut. */
#include "base/check.h"
#include "base/crc.h"
#include "wire/grpc/grpc.h"

enum { MESSAGE_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t read_all(struct alloc *heap, struct span in, size_t step, enum err *err)
{
    struct grpc_reader r;
    uint32_t sum = 0;
    *err = ERR_OK;
    grpc_reader_open(&r, heap);
    while (in.len && *err == ERR_OK) {
        struct span piece, message;
        bool got = true;
        CHECK(span_take(&in, step < in.len ? step : in.len, &piece));
        while (got && *err == ERR_OK) {
            *err = grpc_reader_next(&r, &piece, MESSAGE_MAX, &message, &got);
            if (*err == ERR_OK && got) {
                CHECK(message.len <= MESSAGE_MAX);
                sum = crc32c(sum + 1, message.data, message.len);
            }
        }
    }
    grpc_reader_close(&r);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    enum err whole, cut;
    alloc_heap(&heap);
    uint32_t a = read_all(&heap, span_of(data, size), size ? size : 1, &whole);
    uint32_t b = read_all(&heap, span_of(data, size), 1 + size % 7, &cut);
    CHECK(a == b && whole == cut);
    CHECK(heap.used == 0);
    return 0;
}
