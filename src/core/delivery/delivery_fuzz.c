/* Any bytes as a query and as a page: refused, or written again alike; and merged with itself. */
#include "base/check.h"
#include "core/delivery/delivery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct alloc heap;
    struct arena arena;
    struct buf out;
    struct delivery_query q, again;
    struct delivery_page pages[2], merged;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    buf_open(&out, &heap);
    if (delivery_query_read(in, &q) == ERR_OK) {
        delivery_query_write(&q, &out);
        CHECK(delivery_query_read(buf_all(&out), &again) == ERR_OK);
        CHECK(span_equal(q.text, again.text) && q.limit == again.limit);
    }
    if (delivery_page_read(in, &arena, &pages[0]) == ERR_OK) {
        pages[1] = pages[0];
        delivery_merge(pages, 2, DELIVERY_PAGE_MAX, &arena, &merged);
        CHECK(merged.n <= 2 * pages[0].n);
    }
    buf_close(&out);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
