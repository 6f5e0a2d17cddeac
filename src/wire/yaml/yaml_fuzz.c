/* Any text: refused, or JSON that reads as such, but for names that come twice. */
#include <stdlib.h>
#include "wire/json/json.h"
#include "wire/yaml/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap, json;
    struct buf b;
    char why[YAML_WHY_MAX];
    json_t *v;
    alloc_heap(&heap);
    alloc_heap(&json);
    jsonr_use(&json);
    buf_open(&b, &heap);
    if (yaml_json(span_of(data, size), &b, why) == ERR_OK) {
        char what[JSONR_WHY_MAX];
        enum err e = jsonr_read(buf_all(&b), &v, what);
        if (e == ERR_OK)
            json_decref(v);
        else if (e == ERR_BODY_NOT_JSON && !strstr(what, "duplicate") && !strstr(what, "too") &&
                 !strstr(what, "NUL") && !strstr(what, "u0000"))
            abort();
    }
    buf_close(&b);
    if (heap.used)
        abort();
    return 0;
}
