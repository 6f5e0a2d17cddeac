/* Any text: refused, or names and values which, written out, are read back the same. */
#include <stdlib.h>
#include "wire/dotenv/dotenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write(void *context, struct span name, struct span value)
{
    dotenv_write(context, name, value);
}

static size_t read(struct span text, struct buf *out)
{
    struct buf scratch;
    size_t line;
    buf_open(&scratch, out->alloc);
    enum err e = dotenv_read(text, &scratch, write, out, &line);
    buf_close(&scratch);
    return e == ERR_OK ? 0 : line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct buf once, twice;
    alloc_heap(&heap);
    buf_open(&once, &heap);
    buf_open(&twice, &heap);
    (void)read(span_of(data, size), &once);
    if (read(buf_all(&once), &twice) || !span_equal(buf_all(&once), buf_all(&twice)))
        abort();
    buf_close(&once);
    buf_close(&twice);
    if (heap.used)
        abort();
    return 0;
}
