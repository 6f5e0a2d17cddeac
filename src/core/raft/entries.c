#include "core/raft/entries.h"
#include "base/check.h"

enum { CHUNK_BYTES = 64 << 10 };

struct entry_chunk {
    struct entry_chunk *next;
    uint64_t index_last; /* of the entries in it */
    size_t size, used;
    uint8_t data[];
};

void entries_open(struct entries *e, struct alloc *alloc, uint64_t base_index, uint64_t base_term)
{
    *e = (struct entries){ .alloc = alloc, .base_index = base_index, .base_term = base_term };
}

static void free_first(struct entries *e)
{
    struct entry_chunk *c = e->first;
    e->first = c->next;
    if (!e->first)
        e->last = NULL;
    mem_free(e->alloc, c, sizeof(*c) + c->size);
}

void entries_close(struct entries *e)
{
    while (e->first)
        free_first(e);
    mem_free(e->alloc, e->items, e->cap * sizeof(*e->items));
    *e = (struct entries){ .alloc = e->alloc };
}

static void reserve_items(struct entries *e, size_t n)
{
    if (e->head + e->n + n <= e->cap)
        return;
    /* Moving at least as much room free as there are entries to move costs O(1) an entry. */
    if (e->head >= e->n && e->n + n <= e->cap) {
        memmove(e->items, e->items + e->head, e->n * sizeof(*e->items));
        e->head = 0;
        return;
    }
    size_t cap = e->cap ? e->cap : 64;
    while (cap < e->head + e->n + n)
        cap *= 2;
    e->items = mem_resize(e->alloc, e->items, e->cap * sizeof(*e->items), cap * sizeof(*e->items));
    e->cap = cap;
}

static void reserve_bytes(struct entries *e, size_t bytes)
{
    if (e->last && e->last->size - e->last->used >= bytes)
        return;
    size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    struct entry_chunk *c = mem_alloc(e->alloc, sizeof(*c) + size);
    *c = (struct entry_chunk){ .size = size, .index_last = entries_last(e) };
    if (e->last)
        e->last->next = c;
    else
        e->first = c;
    e->last = c;
}

void entries_reserve(struct entries *e, size_t n, size_t bytes)
{
    reserve_items(e, n);
    reserve_bytes(e, bytes);
}

const struct raft_entry *entries_add(struct entries *e, uint64_t term, enum raft_entry_type type,
                                     struct span data)
{
    uint64_t index = entries_last(e) + 1;
    CHECK(term >= entries_term(e, index - 1));
    entries_reserve(e, 1, data.len);
    struct entry_chunk *c = e->last;
    uint8_t *copy = c->data + c->used;
    if (data.len)
        memcpy(copy, data.data, data.len);
    c->used += data.len;
    c->index_last = index;
    e->bytes += data.len;
    struct raft_entry *x = &e->items[e->head + e->n++];
    *x = (struct raft_entry){ index, term, type, span_of(copy, data.len) };
    return x;
}

uint64_t entries_last(const struct entries *e)
{
    return e->base_index + e->n;
}

const struct raft_entry *entries_at(const struct entries *e, uint64_t index)
{
    if (index <= e->base_index || index > entries_last(e))
        return NULL;
    const struct raft_entry *x = &e->items[e->head + (size_t)(index - e->base_index - 1)];
    CHECK(x->index == index);
    return x;
}

uint64_t entries_term(const struct entries *e, uint64_t index)
{
    CHECK(index >= e->base_index && index <= entries_last(e));
    return index == e->base_index ? e->base_term : entries_at(e, index)->term;
}

void entries_drop(struct entries *e, uint64_t index)
{
    if (index <= e->base_index)
        return;
    e->base_term = entries_term(e, index);
    size_t n = (size_t)(index - e->base_index);
    for (size_t i = 0; i < n; i++)
        e->bytes -= e->items[e->head + i].data.len;
    e->base_index = index;
    e->n -= n;
    e->head = e->n ? e->head + n : 0;
    while (e->first && e->first->index_last <= index &&
           (e->first->next || e->first->size > CHUNK_BYTES))
        free_first(e);
    /* The last one is kept for what comes next. */
    if (e->first && e->first->index_last <= index)
        e->first->used = 0;
}

void entries_cut(struct entries *e, uint64_t index)
{
    CHECK(index > e->base_index);
    for (; entries_last(e) >= index; e->n--)
        e->bytes -= e->items[e->head + e->n - 1].data.len;
    for (struct entry_chunk *c = e->first; c; c = c->next)
        if (c->index_last >= index)
            c->index_last = index - 1;
}

void entries_shrink(struct entries *e, uint64_t index, size_t bytes)
{
    size_t held = e->bytes + e->n * sizeof(*e->items);
    uint64_t upto = e->base_index;
    while (held > bytes && upto < index)
        held -= sizeof(*e->items) + entries_at(e, ++upto)->data.len;
    entries_drop(e, upto);
}
