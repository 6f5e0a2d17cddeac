/* Any bytes as a flag's definition and, behind a byte 30, as what is known of a user: refused or
 * evaluated within its bounds, and all memory comes back. */
#include <stdlib.h>
#include "core/flag/flag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void evaluate(struct arena *arena, struct span definition, struct span context)
{
    char why[FLAG_WHY_MAX];
    struct fval values, nothing = { .type = FVAL_OBJECT };
    const struct flag *flag;
    struct flag_result r;
    struct buf b;
    if (flag_compile(SPAN("f"), definition, &nothing, arena, &flag, why) != ERR_OK)
        return;
    if (fval_read(context, arena, &values, why) != ERR_OK || values.type != FVAL_OBJECT)
        values = nothing;
    buf_open(&b, arena->alloc);
    struct flag_context c = { .values = &values,
                              .scratch = arena_alloc(arena, FLAG_SCRATCH_BYTES),
                              .explain = &b };
    flag_evaluate(flag, &c, &r);
    if ((r.reason == FLAG_FAILED) != (r.detail != NULL))
        abort();
    fval_write(&values, &b);
    buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct arena arena;
    struct span all = span_of(data, size);
    const uint8_t *cut = size ? memchr(data, 30, size) : NULL;
    size_t n = cut ? (size_t)(cut - data) : size;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    evaluate(&arena, span_of(data, n), cut ? span_from(all, n + 1) : SPAN_NONE);
    arena_close(&arena);
    if (heap.used)
        abort();
    return 0;
}
