/* Any bytes: decoding never reads outside; what is taken comes out the same when written again. */
#include <stdlib.h>
#include "core/machine/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct arena arena;
    struct buf once, twice;
    struct command c, again;
    arena_open(&arena, &heap);
    buf_open(&once, &heap);
    buf_open(&twice, &heap);
    if (command_decode(span_of(data, size), &arena, &c) == ERR_OK && request_writes(&c.request)) {
        machine_command(&c.request, c.now_ms, 1, &once);
        if (command_decode(buf_all(&once), &arena, &again) != ERR_OK)
            abort();
        machine_command(&again.request, again.now_ms, 1, &twice);
        if (!span_equal(buf_all(&once), buf_all(&twice)) || once.len > size)
            abort();
    }
    buf_close(&once);
    buf_close(&twice);
    arena_close(&arena);
    if (heap.used)
        abort();
    return 0;
}
