/* pool: small blocks by size class over another allocator, for one thread. A block that comes back
 * is kept for the next who asks, up to a bound for each class, so that what lives for one request
 * costs a few instructions instead of a walk through the heap. Under AddressSanitizer what is kept
 * is poisoned. */
#pragma once
#include <stdint.h>
#include "base/alloc.h"

enum {
    POOL_BLOCK_MAX = 8192,        /* bytes; larger ones go straight through */
    POOL_CLASSES = 32 + 16,       /* 16 bytes apart up to 512, then four to an octave */
    POOL_CLASS_BYTES = 256 << 10, /* kept of one class */
};

struct pool_block;

struct pool {
    struct alloc alloc; /* hand this out; it must come first */
    struct alloc *below;
    struct {
        struct pool_block *first;
        size_t kept_bytes;
    } classes[POOL_CLASSES];
    size_t kept_bytes; /* of all classes: in nobody's hands, but not given back */
    uint64_t overflows; /* blocks given back because their class was full */
};

void pool_open(struct pool *p, struct alloc *below);
void pool_close(struct pool *p); /* all that was handed out must have come back */
