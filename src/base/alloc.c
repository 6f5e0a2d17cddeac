#include "base/alloc.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

enum { SIZED_HEAD = 16 };

void mem_wipe(void *ptr, size_t size)
{
    if (size)
        explicit_bzero(ptr, size);
}

static void *heap_resize(struct alloc *self, void *ptr, size_t size_old, size_t size_new)
{
    CHECK(self->used >= size_old);
    self->used += size_new - size_old;
    if (self->wipes && ptr) {
        void *moved = size_new ? malloc(size_new) : NULL;
        CHECK(moved || !size_new);
        if (moved)
            memcpy(moved, ptr, size_old < size_new ? size_old : size_new);
        mem_wipe(ptr, size_old);
        free(ptr);
        return moved;
    }
    if (size_new == 0) {
        free(ptr);
        return NULL;
    }
    void *out = realloc(ptr, size_new);
    CHECK(out != NULL); /* out of memory */
    return out;
}

void alloc_heap(struct alloc *out)
{
    *out = (struct alloc){ .resize = heap_resize };
}

void *mem_alloc(struct alloc *a, size_t size)
{
    return a->resize(a, NULL, 0, size);
}

void *mem_zero(struct alloc *a, size_t size)
{
    void *p = a->resize(a, NULL, 0, size);
    if (size)
        memset(p, 0, size);
    return p;
}

void *mem_resize(struct alloc *a, void *ptr, size_t size_old, size_t size_new)
{
    return a->resize(a, ptr, size_old, size_new);
}

void mem_free(struct alloc *a, void *ptr, size_t size)
{
    if (ptr)
        a->resize(a, ptr, size, 0);
}

static void *sized_resize(struct alloc *a, void *ptr, size_t size)
{
    size_t *head = ptr ? (size_t *)(void *)((uint8_t *)ptr - SIZED_HEAD) : NULL;
    size_t size_old = head ? *head + SIZED_HEAD : 0;
    head = a->resize(a, head, size_old, size ? size + SIZED_HEAD : 0);
    if (!head)
        return NULL;
    *head = size;
    return (uint8_t *)head + SIZED_HEAD;
}

void *mem_sized_alloc(struct alloc *a, size_t size)
{
    return sized_resize(a, NULL, size ? size : 1);
}

void *mem_sized_resize(struct alloc *a, void *ptr, size_t size)
{
    return sized_resize(a, ptr, size ? size : 1);
}

void mem_sized_free(struct alloc *a, void *ptr)
{
    if (ptr)
        sized_resize(a, ptr, 0);
}
