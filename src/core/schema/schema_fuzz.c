/* A schema and a value, a NUL between them: whatever they are, it ends, and all memory comes
 * back. */
#include "base/check.h"
#include "core/schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    size_t n = cut ? (size_t)(cut - data) : size;
    struct schema_options options = { .draft = DRAFT_2020_12, .formats = true };
    struct alloc heap;
    struct arena arena;
    struct schema *s;
    struct jdoc *v;
    struct jdoc_fault fault;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    struct schema_report report = { .arena = &arena };
    enum err e = schema_compile(span_of(data, n), &options, &heap, &s, &report);
    CHECK((e == ERR_OK) == (s != NULL));
    CHECK((e == ERR_SCHEMA_INVALID || e == ERR_BODY_NOT_JSON) == (report.n > 0));
    if (s && cut && jdoc_read(span_of(cut + 1, size - n - 1), &arena, &v, &fault) == ERR_OK) {
        e = schema_validate(s, v, &report);
        CHECK(e == ERR_SCHEMA_STEPS || (e == ERR_OK) == (report.n == 0));
    }
    schema_free(s);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
