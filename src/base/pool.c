#include "base/pool.h"
#include <sanitizer/asan_interface.h>
#include <string.h>
#include "base/check.h"

enum { STEP = 16, FINE_MAX = 512, FINE_CLASSES = FINE_MAX / STEP, COARSE_STEPS = 4 };

struct pool_block {
    struct pool_block *next;
};

/* The class of a size, and how large its blocks are. */
static size_t class_of(size_t size, size_t *block)
{
    if (size <= FINE_MAX) {
        *block = (size + STEP - 1) / STEP * STEP;
        return *block / STEP - 1;
    }
    size_t class = FINE_CLASSES, octave = FINE_MAX;
    while (size > 2 * octave) {
        octave *= 2;
        class += COARSE_STEPS;
    }
    size_t step = octave / COARSE_STEPS, nth = (size - octave - 1) / step;
    *block = octave + (nth + 1) * step;
    return class + nth;
}

static void *take(struct pool *p, size_t size)
{
    size_t block_size, class = class_of(size, &block_size);
    struct pool_block *b = p->classes[class].first;
    if (!b)
        return mem_alloc(p->below, block_size);
    ASAN_UNPOISON_MEMORY_REGION(b, block_size);
    p->classes[class].first = b->next;
    p->classes[class].kept_bytes -= block_size;
    p->kept_bytes -= block_size;
    return b;
}

static void give(struct pool *p, void *ptr, size_t size)
{
    size_t block_size, class = class_of(size, &block_size);
    struct pool_block *b = ptr;
    if (p->below->wipes)
        mem_wipe(ptr, size);
    if (p->classes[class].kept_bytes + block_size > POOL_CLASS_BYTES) {
        p->overflows++;
        mem_free(p->below, ptr, block_size);
        return;
    }
    b->next = p->classes[class].first;
    p->classes[class].first = b;
    p->classes[class].kept_bytes += block_size;
    p->kept_bytes += block_size;
    ASAN_POISON_MEMORY_REGION(b, block_size);
}

static void *resize(struct alloc *self, void *ptr, size_t size_old, size_t size_new)
{
    struct pool *p = (struct pool *)(void *)self;
    CHECK(self->used >= size_old);
    self->used += size_new - size_old;
    if (size_old > POOL_BLOCK_MAX && (size_new > POOL_BLOCK_MAX || !size_new))
        return mem_resize(p->below, ptr, size_old, size_new);
    void *out = !size_new                 ? NULL
                : size_new > POOL_BLOCK_MAX ? mem_alloc(p->below, size_new)
                                            : take(p, size_new);
    if (!ptr)
        return out;
    if (out)
        memcpy(out, ptr, size_old < size_new ? size_old : size_new);
    if (size_old > POOL_BLOCK_MAX)
        mem_free(p->below, ptr, size_old);
    else
        give(p, ptr, size_old);
    return out;
}

void pool_open(struct pool *p, struct alloc *below)
{
    *p = (struct pool){ .alloc = { .resize = resize }, .below = below };
}

void pool_close(struct pool *p)
{
    CHECK(p->alloc.used == 0);
    for (size_t size = 1, block; size <= POOL_BLOCK_MAX; size = block + 1) {
        size_t class = class_of(size, &block);
        while (p->classes[class].first) {
            struct pool_block *b = p->classes[class].first;
            ASAN_UNPOISON_MEMORY_REGION(b, block);
            p->classes[class].first = b->next;
            mem_free(p->below, b, block);
        }
    }
}
