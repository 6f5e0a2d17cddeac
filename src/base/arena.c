#include "base/arena.h"
#include <stdint.h>
#include <string.h>
#include "base/check.h"

enum { BLOCK_MIN = 4096, BLOCK_MAX = 1 << 20, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    _Alignas(ALIGN) uint8_t data[];
};

void arena_open(struct arena *a, struct alloc *alloc)
{
    *a = (struct arena){ .alloc = alloc };
}

/* As if a block of 64 bytes were full: the first one has 128, or what is asked for. */
void arena_open_small(struct arena *a, struct alloc *alloc)
{
    *a = (struct arena){ .alloc = alloc, .used = 64, .size = 64 };
}

static void free_from(struct arena *a, struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        mem_free(a->alloc, b, sizeof(*b) + b->size);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    if (!a->block)
        return;
    free_from(a, a->block->next);
    a->block->next = NULL;
    if (a->alloc->wipes)
        mem_wipe(a->block->data, a->used);
    if (a->block->size > BLOCK_MAX) {
        free_from(a, a->block);
        a->block = NULL;
        a->size = 0;
    }
    a->used = 0;
}

void arena_close(struct arena *a)
{
    free_from(a, a->block);
    a->block = NULL;
    a->used = a->size = 0;
}

static void grow(struct arena *a, size_t size)
{
    size_t want = a->size ? a->size * 2 : BLOCK_MIN;
    if (want > BLOCK_MAX)
        want = BLOCK_MAX;
    if (want < size)
        want = size;
    struct arena_block *b = mem_alloc(a->alloc, sizeof(*b) + want);
    b->next = a->block;
    b->size = want;
    a->block = b;
    a->size = want;
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t size)
{
    CHECK(size <= SIZE_MAX / 2);
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!a->block || a->size - a->used < size)
        grow(a, size);
    void *p = a->block->data + a->used;
    a->used += size;
    return p;
}

void *arena_zero(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    memset(p, 0, size);
    return p;
}

struct span arena_copy(struct arena *a, struct span s)
{
    uint8_t *p = arena_alloc(a, s.len);
    if (s.len)
        memcpy(p, s.data, s.len);
    return span_of(p, s.len);
}

char *arena_text(struct arena *a, struct span s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (s.len)
        memcpy(p, s.data, s.len);
    p[s.len] = 0;
    return p;
}
