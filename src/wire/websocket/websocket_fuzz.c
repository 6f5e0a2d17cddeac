/* Any frames: no piece of what comes out is malformed, and the messages do not depend on how the
 * bytes are cut. (The code of the answer to a close may: wslay checks the reason's UTF-8 anew in
 * each piece, so that "closed" and "broken" are not compared.) */
#include "wire/websocket/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct alloc *heap, struct span in, size_t piece, struct buf *notes)
{
    struct buf sent;
    buf_open(&sent, heap);
    buf_reset(notes);
    drive(heap, in, piece, in.len, &sent, notes);
    struct span s = buf_all(notes);
    if (s.len >= 6 &&
        (span_is(span_from(s, s.len - 6), "closed") || span_is(span_from(s, s.len - 6), "broken")))
        notes->len -= 6;
    buf_close(&sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct alloc heap;
    struct buf whole, pieces;
    alloc_heap(&heap);
    buf_open(&whole, &heap);
    buf_open(&pieces, &heap);
    run(&heap, in, size + 1, &whole);
    run(&heap, in, 1, &pieces);
    CHECK(span_equal(buf_all(&whole), buf_all(&pieces)));
    run(&heap, in, 0, &pieces);
    CHECK(span_equal(buf_all(&whole), buf_all(&pieces)));
    buf_close(&whole);
    buf_close(&pieces);
    CHECK(heap.used == 0);
    return 0;
}
