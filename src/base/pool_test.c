#include "base/pool.h"
#include <string.h>
#include "base/test.h"

TEST(pool_classes_hold_what_was_asked)
{
    struct alloc heap;
    struct pool p;
    alloc_heap(&heap);
    pool_open(&p, &heap);
    for (size_t size = 1; size <= POOL_BLOCK_MAX + 1; size++) {
        uint8_t *a = mem_alloc(&p.alloc, size);
        EXPECT(((uintptr_t)a & 15) == 0 && p.alloc.used == size);
        memset(a, 0xab, size); /* AddressSanitizer looks */
        mem_free(&p.alloc, a, size);
    }
    EXPECT(p.kept_bytes == heap.used && p.kept_bytes > 0);
    pool_close(&p);
    EXPECT(heap.used == 0);
}

TEST(pool_gives_back_again_what_it_kept)
{
    struct alloc heap;
    struct pool p;
    alloc_heap(&heap);
    pool_open(&p, &heap);
    void *a = mem_alloc(&p.alloc, 100), *b = mem_alloc(&p.alloc, 100);
    mem_free(&p.alloc, a, 100);
    EXPECT(p.kept_bytes == 112);
    EXPECT(mem_alloc(&p.alloc, 112) == a); /* of the same class */
    EXPECT(p.kept_bytes == 0);
    void *c = mem_alloc(&p.alloc, 113);
    EXPECT(c != b);
    mem_free(&p.alloc, a, 112);
    mem_free(&p.alloc, b, 100);
    EXPECT(p.alloc.used == 113 && p.kept_bytes == 224);
    mem_free(&p.alloc, c, 113);
    pool_close(&p);
    EXPECT(heap.used == 0);
}

TEST(pool_keeps_a_bounded_amount)
{
    enum { N = POOL_CLASS_BYTES / 4096 + 3 };
    struct alloc heap;
    struct pool p;
    void *blocks[N];
    alloc_heap(&heap);
    pool_open(&p, &heap);
    for (int i = 0; i < N; i++)
        blocks[i] = mem_alloc(&p.alloc, 4096);
    for (int i = 0; i < N; i++)
        mem_free(&p.alloc, blocks[i], 4096);
    EXPECT(p.kept_bytes == POOL_CLASS_BYTES && p.overflows == 3);
    EXPECT(heap.used == POOL_CLASS_BYTES);
    pool_close(&p);
    EXPECT(heap.used == 0);
}

TEST(pool_resizes_within_and_beyond_its_classes)
{
    static const size_t sizes[] = { 1, 16, 17, 500, 513, 4000, POOL_BLOCK_MAX, POOL_BLOCK_MAX + 1,
                                    100000, 200000, 8000, 3 };
    struct alloc heap;
    struct pool p;
    alloc_heap(&heap);
    pool_open(&p, &heap);
    uint8_t *a = NULL;
    size_t old = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        a = mem_resize(&p.alloc, a, old, sizes[i]);
        EXPECT(old == 0 || a[0] == 7);
        EXPECT(old < 3 || sizes[i] < 3 || a[2] == 9 || sizes[i - 1] < 3);
        memset(a, 9, sizes[i]);
        a[0] = 7;
        old = sizes[i];
        EXPECT(p.alloc.used == old);
    }
    EXPECT(mem_resize(&p.alloc, a, old, 0) == NULL && p.alloc.used == 0);
    pool_close(&p);
    EXPECT(heap.used == 0);
}
