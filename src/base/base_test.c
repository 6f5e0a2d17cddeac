#include "base/arena.h"
#include "base/buf.h"
#include "base/crc.h"
#include "base/err.h"
#include "base/map.h"
#include "base/prng.h"
#include "base/test.h"
#include "base/vec.h"

TEST(arena_small_takes_little)
{
    struct alloc heap;
    struct arena a;
    alloc_heap(&heap);
    arena_open_small(&a, &heap);
    EXPECT(span_is(arena_copy(&a, SPAN("kept")), "kept") && heap.used < 200);
    EXPECT(arena_alloc(&a, 5000) && heap.used > 5000);
    arena_reset(&a);
    arena_close(&a);
    EXPECT(heap.used == 0);
}

TEST(base_crc_known_value)
{
    EXPECT(crc32c(0, "123456789", 9) == 0xe3069283u); /* RFC 3720 */
    uint32_t half = crc32c(0, "1234", 4);
    EXPECT(crc32c(half, "56789", 5) == 0xe3069283u);
}

TEST(base_arena_gives_all_back)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct arena a;
    arena_open(&a, &heap);
    for (size_t i = 1; i < 3000000; i *= 3) {
        uint8_t *p = arena_zero(&a, i);
        EXPECT(((uintptr_t)p & 15) == 0 && p[i - 1] == 0);
    }
    arena_reset(&a);
    EXPECT(span_is(arena_copy(&a, SPAN("abc")), "abc"));
    arena_close(&a);
    EXPECT(heap.used == 0);
}

TEST(base_buf_numbers_come_back)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct buf b;
    buf_open(&b, &heap);
    buf_u8(&b, 7);
    buf_u32(&b, 0xdeadbeef);
    buf_u64(&b, UINT64_MAX - 1);
    buf_varint(&b, 0);
    buf_varint(&b, UINT64_MAX);
    buf_format(&b, "%s-%d", "x", 12);
    struct span s = buf_all(&b), rest;
    uint8_t u8;
    uint32_t u32;
    uint64_t u64, v0, v1;
    EXPECT(span_u8(&s, &u8) && u8 == 7);
    EXPECT(span_u32(&s, &u32) && u32 == 0xdeadbeef);
    EXPECT(span_u64(&s, &u64) && u64 == UINT64_MAX - 1);
    EXPECT(span_varint(&s, &v0) && v0 == 0 && span_varint(&s, &v1) && v1 == UINT64_MAX);
    EXPECT(span_take(&s, 4, &rest) && span_is(rest, "x-12") && s.len == 0);
    EXPECT(!span_u8(&s, &u8) && !span_varint(&s, &v0));
    struct span long_one = SPAN("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
    EXPECT(!span_varint(&long_one, &v0));
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(base_map_against_a_plain_array)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct map m;
    map_open(&m, &heap);
    static int values[500];
    void *model[500] = { 0 };
    struct prng p = { 42 };
    for (int i = 0; i < 20000; i++) {
        size_t k = prng_below(&p, 500);
        if (prng_below(&p, 2)) {
            map_set(&m, k * 4096, &values[k]);
            model[k] = &values[k];
        } else {
            EXPECT(map_remove(&m, k * 4096) == model[k]);
            model[k] = NULL;
        }
        size_t other = prng_below(&p, 500);
        EXPECT(map_get(&m, other * 4096) == model[other]);
    }
    map_close(&m);
    EXPECT(heap.used == 0);
}

TEST(base_span_order)
{
    EXPECT(span_compare(SPAN("a"), SPAN("b")) < 0 && span_compare(SPAN("a"), SPAN("ab")) < 0);
    EXPECT(span_compare(SPAN("\xff"), SPAN("a")) > 0 && span_compare(SPAN_NONE, SPAN("")) == 0);
    EXPECT(span_starts(SPAN("abc"), SPAN("ab")) && !span_starts(SPAN("a"), SPAN("ab")));
}

TEST(base_err_table)
{
    EXPECT(err_grpc(ERR_COMPACTED) == 11 && err_http(ERR_PRECONDITION) == 412);
    EXPECT(span_is(span_text(err_code(ERR_KEY_EMPTY)), "key_empty"));
}

TEST(base_sized_memory_and_vec)
{
    struct alloc heap;
    alloc_heap(&heap);
    char *p = mem_sized_alloc(&heap, 10);
    p = mem_sized_resize(&heap, p, 100000);
    p[99999] = 1;
    mem_sized_free(&heap, p);
    VEC(int) v = { 0 };
    for (int i = 0; i < 100; i++)
        VEC_PUSH(&v, &heap, i);
    EXPECT(v.n == 100 && v.items[99] == 99);
    VEC_CLOSE(&v, &heap);
    EXPECT(heap.used == 0);
}
