/* Any bytes as a stream of frames, cut anywhere: no crash, the same frames however they were cut,
 * and a frame that is taken is written again as it was. A checksum stops nearly all that a fuzzer
 * makes, so the first byte may ask that it be mended first. */
#include "base/check.h"
#include "base/crc.h"
#include "link/peer/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct alloc *heap, struct span frame)
{
    struct arena arena;
    struct buf out;
    struct peer_frame f;
    arena_open(&arena, heap);
    buf_open(&out, heap);
    if (peer_decode(frame, PEER_VERSION, &arena, &f) == ERR_OK) {
        peer_encode(&f, PEER_VERSION, &out);
        /* An error's name that is not known here is told on as "internal". */
        bool renamed = f.type == PEER_FORWARDED || f.type == PEER_READ_INDEX ||
                       f.type == PEER_RENEWED || f.type == PEER_LOOKED;
        CHECK(renamed || span_equal(frame, buf_all(&out)));
        CHECK(peer_decode(buf_all(&out), PEER_VERSION, &arena, &f) == ERR_OK);
    }
    buf_close(&out);
    arena_close(&arena);
}

static uint32_t read_all(struct alloc *heap, struct span in, size_t step, enum err *err)
{
    struct peer_reader r;
    uint32_t sum = 0;
    *err = ERR_OK;
    peer_reader_open(&r, heap);
    r.version = PEER_VERSION;
    while (in.len && *err == ERR_OK) {
        struct span piece, frame;
        bool got = true;
        CHECK(span_take(&in, step < in.len ? step : in.len, &piece));
        while (got && *err == ERR_OK) {
            *err = peer_reader_next(&r, &piece, 1 << 16, &frame, &got);
            if (*err == ERR_OK && got) {
                sum = crc32c(sum + 1, frame.data, frame.len);
                take(heap, frame);
            }
        }
    }
    peer_reader_close(&r);
    return sum;
}

static void take_mended(struct alloc *heap, struct span in)
{
    struct buf b;
    buf_open(&b, heap);
    buf_u32(&b, (uint32_t)(in.len - 1));
    uint8_t version = peer_is_greeting(in.data[0]) ? PEER_GREETING : PEER_VERSION;
    buf_u32(&b, version | (uint32_t)in.data[0] << 8);
    buf_u64(&b, 0);
    buf_span(&b, span_from(in, 1));
    uint32_t crc = crc32c(0, b.data, b.len);
    for (int i = 0; i < 4; i++)
        b.data[8 + i] = (uint8_t)(crc >> (8 * i));
    take(heap, buf_all(&b));
    buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct peer_info info;
    enum err whole, cut;
    alloc_heap(&heap);
    if (size > 1 && data[0] % 4 != 0) {
        take_mended(&heap, span_of(data + 1, size - 1));
    } else {
        uint32_t a = read_all(&heap, span_of(data, size), size ? size : 1, &whole);
        uint32_t b = read_all(&heap, span_of(data, size), 1 + size % 7, &cut);
        CHECK(a == b && whole == cut);
        struct buf again;
        buf_open(&again, &heap);
        if (peer_info_decode(span_of(data, size), &info) == ERR_OK) {
            peer_info_encode(&info, &again);
            CHECK(span_equal(buf_all(&again), span_of(data, size)));
        }
        buf_close(&again);
    }
    CHECK(heap.used == 0);
    return 0;
}
