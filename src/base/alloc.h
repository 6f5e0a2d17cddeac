/* alloc: memory from a given place, counted. Pure code gets a struct alloc and never calls malloc.
 *
 * Sizes are told again when memory is given back, so an allocator can count without headers.
 * Out of memory aborts: every size that a client controls is checked against a limit before. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct alloc {
    /* Like realloc: ptr NULL to get, size_new 0 to give back (then returns NULL). */
    void *(*resize)(struct alloc *self, void *ptr, size_t size_old, size_t size_new);
    size_t used; /* bytes handed out and not yet given back */
    bool wipes;  /* what is given back is filled with zeros first: there may be secrets in it */
};

/* An allocator over the C heap; several may live side by side to count apart. */
void alloc_heap(struct alloc *out);

/* Fills with zeros, and the compiler does not leave it out. */
void mem_wipe(void *ptr, size_t size);

void *mem_alloc(struct alloc *a, size_t size); /* never NULL for size > 0 */
void *mem_zero(struct alloc *a, size_t size);  /* the same, filled with zeros */
void *mem_resize(struct alloc *a, void *ptr, size_t size_old, size_t size_new);
void mem_free(struct alloc *a, void *ptr, size_t size); /* ptr NULL is fine */

/* For libraries that free without telling the size: 16 bytes in front remember it. */
void *mem_sized_alloc(struct alloc *a, size_t size);
void *mem_sized_resize(struct alloc *a, void *ptr, size_t size);
void mem_sized_free(struct alloc *a, void *ptr);
