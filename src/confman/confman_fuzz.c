/* What the client decodes: answers of any kind, and the last known good. */
#include "confman/confman_int.h"
#include "wire/protobuf/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_cache(struct span text, struct arena *arena)
{
    struct cached one, two;
    char why[CONFMAN_TEXT_MAX];
    struct buf b;
    (void)cache_read(text, arena, &one, why);
    buf_open(&b, arena->alloc);
    /* With a true checksum, so that what is behind it is reached. */
    struct cached whole = { .environment = text, .prefix = text, .shared = text };
    struct known flag = { text, text };
    whole.flags = &flag;
    whole.n_flags = 1;
    if (pb_utf8(text)) {
        cache_write(&whole, &b);
        if (text.len < JDOC_BYTES_MAX / 16) {
            CHECK(cache_read(buf_all(&b), arena, &one, why));
            CHECK(span_equal(one.environment, text));
            buf_reset(&b);
            cache_write(&one, &b);
            CHECK(cache_read(buf_all(&b), arena, &two, why) && two.n_flags == one.n_flags);
        }
    }
    buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct arena arena;
    struct item item;
    struct page page;
    struct flag_page flags;
    struct told_change change;
    struct span address;
    struct confman_error error;
    bool self;
    struct span text = span_of(data, size);
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    (void)decode_one(text, &arena, &item);
    (void)decode_page(text, &arena, &page);
    (void)decode_flags(text, &arena, &flags);
    struct told told;
    if (decode_told(text, &arena, &told) && told.kind == TOLD_CHANGES)
        for (uint32_t i = 0; i < told.changes->n; i++)
            (void)decode_change(&told.changes->items[i], &arena, &change);
    (void)decode_leader(text, &arena, &address, &self);
    decode_problem(size ? data[0] * 4 : 0, text, &arena, &error);
    CHECK(memchr(error.text, 0, sizeof(error.text)));
    fuzz_cache(text, &arena);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
