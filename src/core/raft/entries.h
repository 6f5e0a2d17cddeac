/* entries: the part of the log that raft holds in memory, up to its end.
 *
 * Their bytes stand in chunks that many share; a chunk goes when its last entry is dropped. */
#pragma once
#include "core/raft/raft.h"

struct entry_chunk;

struct entries {
    struct alloc *alloc;
    struct raft_entry *items; /* items[head] is entry base_index + 1 */
    size_t head, n, cap;
    size_t bytes;                   /* of data, in all */
    uint64_t base_index, base_term; /* of the newest entry that is gone; 0, 0: none ever was */
    struct entry_chunk *first, *last;
};

void entries_open(struct entries *e, struct alloc *alloc, uint64_t base_index, uint64_t base_term);
void entries_close(struct entries *e);

/* Room for n entries with bytes of data in all, so that they come to stand in one array. */
void entries_reserve(struct entries *e, size_t n, size_t bytes);

/* Adds one at the end; data is copied. Pointers to entries hold until the next reserve or add. */
const struct raft_entry *entries_add(struct entries *e, uint64_t term, enum raft_entry_type type,
                                     struct span data);

uint64_t entries_last(const struct entries *e);
const struct raft_entry *entries_at(const struct entries *e, uint64_t index); /* NULL: not held */
uint64_t entries_term(const struct entries *e, uint64_t index); /* from base_index to the last */
void entries_drop(struct entries *e, uint64_t index);           /* everything up to index */
void entries_cut(struct entries *e, uint64_t index);            /* everything from index on */
/* The oldest up to index, until the others need no more than bytes. */
void entries_shrink(struct entries *e, uint64_t index, size_t bytes);
