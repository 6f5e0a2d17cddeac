/* Decoding any bytes, then encoding and decoding again, must settle after one round. */
#include <stdlib.h>
#include "base/check.h"
#include "wire/protobuf/etcd_pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUND(name)                                                                                \
    {                                                                                              \
        struct pb_##name first, second;                                                            \
        buf_reset(&one);                                                                           \
        buf_reset(&two);                                                                           \
        if (pb_##name##_decode(in, &arena, &first) == ERR_OK) {                                    \
            pb_##name##_encode(&first, &one);                                                      \
            CHECK(pb_##name##_decode(buf_all(&one), &arena, &second) == ERR_OK);                   \
            pb_##name##_encode(&second, &two);                                                     \
            CHECK(span_equal(buf_all(&one), buf_all(&two)));                                       \
        }                                                                                          \
    }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct arena arena;
    struct buf one, two;
    struct span in = span_of(data, size);
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    buf_open(&one, &heap);
    buf_open(&two, &heap);
    ROUND(txn_request)
    ROUND(watch_request)
    ROUND(watch_response)
    ROUND(member_list_response)
    ROUND(lease_time_to_live_response)
    buf_close(&one);
    buf_close(&two);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
