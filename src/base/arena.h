/* arena: memory of one lifetime (a request, an apply, a turn), given back all at once. */
#pragma once
#include <stddef.h>
#include "base/alloc.h"
#include "base/span.h"

struct arena_block;

struct arena {
    struct alloc *alloc;
    struct arena_block *block; /* newest first */
    size_t used, size;         /* in the newest block */
};

void arena_open(struct arena *a, struct alloc *alloc);
void arena_open_small(struct arena *a, struct alloc *alloc); /* for a few bytes kept for long */
void arena_reset(struct arena *a); /* keeps one block for the next round */
void arena_close(struct arena *a);

void *arena_alloc(struct arena *a, size_t size); /* aligned to 16, not zeroed, never NULL */
void *arena_zero(struct arena *a, size_t size);
struct span arena_copy(struct arena *a, struct span s);
char *arena_text(struct arena *a, struct span s); /* with a closing NUL */

#define ARENA_NEW(a, type) ((type *)arena_zero(a, sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zero(a, sizeof(type) * (n)))
