/* Any bytes: what is read as JSON is written and read back the same; any bytes written as a text
 * are read back, themselves if they are UTF-8; what is base64 is the only way to write its
 * bytes. */
#include "base/check.h"
#include "wire/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_and_dump(struct span in, struct buf *out)
{
    char why[JSONR_WHY_MAX];
    json_t *value, *again;
    enum err e = jsonr_read(in, &value, why);
    CHECK(e == ERR_OK || e == ERR_BODY_NOT_JSON || e == ERR_BODY_TOO_LARGE);
    if (e == ERR_BODY_NOT_JSON)
        CHECK(memchr(why, 0, sizeof(why)) != NULL);
    if (e != ERR_OK)
        return;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    CHECK(text != NULL);
    struct jsonw w;
    jsonw_open(&w, out);
    jsonw_array(&w);
    jsonw_raw(&w, span_text(text));
    jsonw_array_end(&w);
    json_free_t give_back;
    json_get_alloc_funcs(NULL, &give_back);
    give_back(text);
    if (jsonr_read(buf_all(out), &again, why) == ERR_OK) { /* else one deeper than may be */
        CHECK(json_equal(value, json_array_get(again, 0)));
        json_decref(again);
    }
    json_decref(value);
}

static void quote(struct span in, struct buf *out)
{
    char why[JSONR_WHY_MAX];
    json_t *value;
    struct jsonw w;
    jsonw_open(&w, out);
    jsonw_text(&w, in);
    CHECK(jsonr_read(buf_all(out), &value, why) == ERR_OK && json_is_string(value));
    struct span back = span_of(json_string_value(value), json_string_length(value));
    json_t *checked = json_stringn((const char *)in.data, in.len); /* NULL: not UTF-8 */
    CHECK(span_equal(back, in) == (checked != NULL));
    json_decref(checked);
    json_decref(value);
}

static void base64(struct span in, bool url, struct alloc *heap)
{
    struct buf bytes, text;
    buf_open(&bytes, heap);
    buf_open(&text, heap);
    if (jsonr_base64(in, url, &bytes)) {
        jsonw_base64(buf_all(&bytes), url, &text);
        CHECK(span_equal(buf_all(&text), in));
    }
    buf_reset(&bytes);
    buf_reset(&text);
    jsonw_base64(in, url, &text);
    CHECK(jsonr_base64(buf_all(&text), url, &bytes) && span_equal(buf_all(&bytes), in));
    buf_close(&bytes);
    buf_close(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    jsonr_use(&heap);
    buf_open(&out, &heap);
    read_and_dump(in, &out);
    buf_reset(&out);
    quote(in, &out);
    base64(in, false, &heap);
    base64(in, true, &heap);
    buf_close(&out);
    CHECK(heap.used == 0);
    return 0;
}
