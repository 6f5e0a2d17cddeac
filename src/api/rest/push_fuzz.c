/* Any text that a subscriber sends: refused with a reason, or read as what push.def allows. */
#include "api/rest/rest.h"
#include "base/check.h"
#include "wire/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tell_back(enum err e, const char *detail, struct alloc *heap)
{
    char why[JSONR_WHY_MAX];
    struct buf out;
    json_t *json;
    buf_open(&out, heap);
    rest_push_refused(PUSH_ERROR, NULL, e, detail, &out);
    CHECK(jsonr_read(buf_all(&out), &json, why) == ERR_OK);
    json_decref(json);
    buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap, json;
    struct arena arena;
    struct push_message m;
    const char *detail;
    alloc_heap(&heap);
    alloc_heap(&json);
    jsonr_use(&json);
    arena_open(&arena, &heap);
    enum err e = rest_push_read(span_of(data, size), &arena, &m, &detail);
    if (e != ERR_OK)
        tell_back(e, detail, &heap);
    else
        CHECK(m.ask < PUSH_ASKS && m.kind < DELIVERY_KINDS && m.id >= 0 && m.revision >= 0 &&
              m.client.len <= DELIVERY_NAME_MAX && m.labels.len <= DELIVERY_LABELS_MAX);
    arena_close(&arena);
    CHECK(heap.used == 0 && json.used == 0);
    return 0;
}
