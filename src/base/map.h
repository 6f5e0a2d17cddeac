/* map: from a 64-bit number to a pointer. Open addressing; never walked in an order that
 * matters. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/alloc.h"

struct map_slot {
    uint64_t key;
    void *value; /* NULL: free */
};

struct map {
    struct alloc *alloc;
    struct map_slot *slots;
    size_t n, cap; /* cap is 0 or a power of two */
};

void map_open(struct map *m, struct alloc *alloc);
void map_close(struct map *m);
void *map_get(const struct map *m, uint64_t key);       /* NULL: not there */
void map_set(struct map *m, uint64_t key, void *value); /* value not NULL */
void *map_remove(struct map *m, uint64_t key);          /* what was there */
