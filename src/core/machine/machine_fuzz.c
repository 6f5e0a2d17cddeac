/* Any bytes as a log and as a checkpoint: refused or taken, never a crash. The first byte tells
 * which; then come pieces, each with two bytes of length before it. */
#include <stdlib.h>
#include "core/machine/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool next(struct span *s, struct span *piece)
{
    uint8_t low, high;
    return span_u8(s, &low) && span_u8(s, &high) &&
           span_take(s, (size_t)low | (size_t)high << 8, piece);
}

static void apply_all(struct machine *m, struct span s, struct arena *arena)
{
    struct span piece;
    struct reply reply;
    const struct kv_change *changes;
    size_t n;
    while (next(&s, &piece)) {
        uint64_t index = m->applied_index + 1;
        if (machine_apply(m, index, 1, piece, 0, arena, &reply, &changes, &n) != ERR_OK)
            return;
        while (kv_compact_step(m->kv, 100))
            ;
    }
}

static void load_all(struct machine *m, struct span s)
{
    struct span piece;
    while (next(&s, &piece))
        if (machine_load(m, piece) != ERR_OK)
            return;
    if (machine_load_end(m) != ERR_OK)
        return;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct arena arena;
    struct machine m;
    struct span s = span_of(data, size);
    uint8_t which;
    if (!span_u8(&s, &which))
        return 0;
    arena_open(&arena, &heap);
    machine_open(&m, &heap);
    if (which & 1)
        load_all(&m, s);
    else
        apply_all(&m, s, &arena);
    machine_close(&m);
    arena_close(&arena);
    if (heap.used)
        abort();
    return 0;
}
