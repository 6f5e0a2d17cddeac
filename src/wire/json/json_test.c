#include "wire/json/json.h"
#include "base/prng.h"
#include "base/test.h"

/* ---- reading ---- */

static struct alloc heap;
static char why[JSONR_WHY_MAX];

static json_t *read_text(struct span text)
{
    json_t *value = NULL;
    why[0] = 0;
    alloc_heap(&heap);
    jsonr_use(&heap);
    return jsonr_read(text, &value, why) == ERR_OK ? value : NULL;
}

/* Gives the value back; false when anything is left. */
static bool done(json_t *value)
{
    json_decref(value);
    return heap.used == 0;
}

TEST(json_reads_any_value)
{
    static const struct {
        const char *text;
        json_type type;
    } table[] = {
        { "null", JSON_NULL },          { "true", JSON_TRUE },
        { " false\r\n\t", JSON_FALSE }, { "0", JSON_INTEGER },
        { "-1", JSON_INTEGER },         { "1.5", JSON_REAL },
        { "1e2", JSON_REAL },           { "\"\"", JSON_STRING },
        { "[]", JSON_ARRAY },           { "[1,\"a\",null]", JSON_ARRAY },
        { "{}", JSON_OBJECT },          { "{\"a\":{\"a\":1}}", JSON_OBJECT },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        json_t *value = read_text(span_text(table[i].text));
        EXPECT(value && json_typeof(value) == table[i].type);
        EXPECT(heap.used > 0 || table[i].type >= JSON_TRUE); /* those are constants of jansson's */
        EXPECT(done(value));
    }
}

TEST(json_whole_numbers_are_exact)
{
    static const struct {
        const char *text;
        int64_t value;
    } table[] = {
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
        { "9007199254740993", 9007199254740993 }, /* no double is that */
        { "-0", 0 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        json_t *value = read_text(span_text(table[i].text));
        EXPECT(value && json_integer_value(value) == table[i].value);
        EXPECT(done(value));
    }
}

TEST(json_strings)
{
    static const struct {
        const char *text, *value;
    } table[] = {
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
        { "\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac" },
        { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
        { "\"\xc3\xa9\x7f\"", "\xc3\xa9\x7f" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        json_t *value = read_text(span_text(table[i].text));
        EXPECT(value && strcmp(json_string_value(value), table[i].value) == 0);
        EXPECT(done(value));
    }
    json_t *value = read_text(SPAN("\"a\\u0000b\""));
    EXPECT(value && json_string_length(value) == 3);
    EXPECT(memcmp(json_string_value(value), "a\0b", 4) == 0);
    EXPECT(done(value));
}

TEST(json_refused)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "\"",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\"}",
        "{1:2}",
        "]",
        "1 1",
        "{} x",
        "nul",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "0x1",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "1e400",
        "\"\t\"",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\x80\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\xef\xbb\xbf{}",
        "// c\n1",
        "[1]/**/",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":1}",
        "{\"b\":{\"a\":1,\"a\":1}}",
        "{\"a\\u0000\":1}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *value;
        alloc_heap(&heap);
        jsonr_use(&heap);
        memset(why, 'x', sizeof(why));
        EXPECT(jsonr_read(span_text(bad[i]), &value, why) == ERR_BODY_NOT_JSON);
        EXPECT(memcmp(why, "line ", 5) == 0 && memchr(why, 0, sizeof(why)) && heap.used == 0);
    }
    static const struct span nul[] = { SPAN("1\0"), SPAN("[1\0,2]"), SPAN("true\0"),
                                       SPAN("\"a\0b\""), SPAN("\0") };
    for (size_t i = 0; i < sizeof(nul) / sizeof(nul[0]); i++)
        EXPECT(!read_text(nul[i]) && memcmp(why, "line ", 5) == 0 && heap.used == 0);
}

TEST(json_says_where)
{
    EXPECT(!read_text(SPAN("{\"a\": 1,\n \"b\": x}")));
    EXPECT(memcmp(why, "line 2, column 7: ", 18) == 0);
    EXPECT(!read_text(SPAN("{\"a\":1,\"a\":1}")));
    EXPECT(strstr(why, "duplicate object key"));
    EXPECT(!read_text(
        span_text("[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
    EXPECT(memchr(why, 0, sizeof(why)));
}

/* n of first, then n of last. */
static void nest(struct buf *b, size_t n, char first, char last)
{
    buf_reset(b);
    for (size_t i = 0; i < n; i++)
        buf_u8(b, (uint8_t)first);
    for (size_t i = 0; i < n && last; i++)
        buf_u8(b, (uint8_t)last);
}

TEST(json_depth_is_bounded)
{
    struct alloc mine;
    struct buf b;
    alloc_heap(&mine);
    buf_open(&b, &mine);
    nest(&b, JSONR_DEPTH_MAX, '[', ']');
    json_t *value = read_text(buf_all(&b));
    EXPECT(value && done(value));
    nest(&b, JSONR_DEPTH_MAX + 1, '[', ']');
    EXPECT(!read_text(buf_all(&b)) && strstr(why, "maximum parsing depth"));
    nest(&b, 100000, '[', 0);
    EXPECT(!read_text(buf_all(&b)) && heap.used == 0);
    buf_close(&b);
}

TEST(json_size_and_values_are_bounded)
{
    struct alloc mine;
    struct buf b;
    json_t *value;
    alloc_heap(&mine);
    buf_open(&b, &mine);
    alloc_heap(&heap);
    jsonr_use(&heap);
    nest(&b, JSONR_BYTES_MAX + 1, ' ', 0);
    b.data[0] = '1';
    EXPECT(jsonr_read(buf_all(&b), &value, why) == ERR_BODY_TOO_LARGE);
    b.len--;
    EXPECT(jsonr_read(buf_all(&b), &value, why) == ERR_OK && done(value));
    nest(&b, JSONR_VALUES_MAX - 1, ',', 0); /* counted, whatever they are worth */
    EXPECT(jsonr_read(buf_all(&b), &value, why) == ERR_BODY_NOT_JSON);
    buf_u8(&b, ',');
    EXPECT(jsonr_read(buf_all(&b), &value, why) == ERR_BODY_TOO_LARGE);
    for (size_t i = 0; i < 4; i++) {
        b.data[100] = (uint8_t) "[{:,"[i];
        EXPECT(jsonr_read(buf_all(&b), &value, why) == ERR_BODY_TOO_LARGE);
    }
    b.data[0] = '"'; /* in strings nothing counts, also behind an escaped quote */
    b.data[1] = '\\';
    b.data[2] = '"';
    buf_text(&b, ",,,\\\\\"");
    EXPECT(jsonr_read(buf_all(&b), &value, why) == ERR_OK && json_is_string(value) && done(value));
    buf_close(&b);
    EXPECT(mine.used == 0);
}

/* ---- writing ---- */

TEST(json_writes_commas_and_names)
{
    struct jsonw w;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    jsonw_open(&w, &out);
    jsonw_object(&w);
    jsonw_name(&w, "a");
    jsonw_array(&w);
    jsonw_array_end(&w);
    jsonw_name(&w, "b\"");
    jsonw_array(&w);
    jsonw_number(&w, INT64_MIN);
    jsonw_object(&w);
    jsonw_object_end(&w);
    jsonw_bool(&w, true);
    jsonw_bool(&w, false);
    jsonw_raw(&w, SPAN("null"));
    jsonw_array_end(&w);
    jsonw_name(&w, "c");
    jsonw_object(&w);
    jsonw_name(&w, "d");
    jsonw_number(&w, INT64_MAX);
    jsonw_object_end(&w);
    jsonw_name(&w, "e");
    jsonw_text(&w, SPAN("x"));
    jsonw_object_end(&w);
    EXPECT(span_is(buf_all(&out), "{\"a\":[],\"b\\\"\":[-9223372036854775808,{},true,false,null],"
                                  "\"c\":{\"d\":9223372036854775807},\"e\":\"x\"}"));
    buf_close(&out);
}

TEST(json_writes_text)
{
    static const struct {
        const char *in, *out;
    } table[] = {
        { "", "\"\"" },
        { "a\"b\\c/", "\"a\\\"b\\\\c/\"" },
        { "\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { "a\x80z", "\"a\xef\xbf\xbdz\"" }, /* alone */
        { "\xc3", "\"\xef\xbf\xbd\"" },     /* cut short */
        { "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "\xc3z", "\"\xef\xbf\xbdz\"" },
        { "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* overlong */
        { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
        { "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
    };
    struct buf out;
    struct jsonw w;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        buf_reset(&out);
        jsonw_open(&w, &out);
        jsonw_text(&w, span_text(table[i].in));
        EXPECT(span_is(buf_all(&out), table[i].out));
    }
    buf_reset(&out);
    jsonw_open(&w, &out);
    jsonw_text(&w, SPAN("a\0b"));
    EXPECT(span_is(buf_all(&out), "\"a\\u0000b\""));
    buf_close(&out);
}

/* Random bytes as a text: jansson reads it back, and the same when they were UTF-8 by jansson's
 * own check. */
TEST(json_text_is_read_back)
{
    static const uint8_t likely[] = "\x80\xbf\xc2\xdf\xe0\xa0\xed\x9f\xef\xf0\x90\xf4\x8f\"\\a\n";
    struct prng prng = { 3 };
    size_t valid = 0;
    for (int round = 0; round < 4000; round++) {
        uint8_t bytes[6];
        size_t n = (size_t)prng_below(&prng, sizeof(bytes) + 1);
        for (size_t i = 0; i < n; i++)
            bytes[i] = likely[prng_below(&prng, sizeof(likely))];
        struct alloc mine;
        struct buf out;
        struct jsonw w;
        alloc_heap(&mine);
        buf_open(&out, &mine);
        jsonw_open(&w, &out);
        jsonw_text(&w, span_of(bytes, n));
        json_t *value = read_text(buf_all(&out));
        json_t *same = json_stringn((const char *)bytes, n);
        EXPECT(value);
        struct span back = span_of(json_string_value(value), json_string_length(value));
        EXPECT(span_equal(back, span_of(bytes, n)) == (same != NULL));
        valid += same != NULL;
        json_decref(same);
        buf_close(&out);
        EXPECT(done(value));
    }
    EXPECT(valid > 200 && valid < 3000);
}

/* ---- base64 ---- */

TEST(json_base64_known_answers)
{
    static const struct {
        const char *bytes, *text, *url;
    } table[] = {
        { "", "", "" },
        { "f", "Zg==", "Zg" },
        { "fo", "Zm8=", "Zm8" },
        { "foo", "Zm9v", "Zm9v" },
        { "foob", "Zm9vYg==", "Zm9vYg" },
        { "fooba", "Zm9vYmE=", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
        { "\xfb\xff\xfe", "+//+", "-__-" },
    };
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (int url = 0; url < 2; url++) {
            const char *text = url ? table[i].url : table[i].text;
            buf_reset(&out);
            jsonw_base64(span_text(table[i].bytes), url, &out);
            EXPECT(span_is(buf_all(&out), text));
            buf_reset(&out);
            EXPECT(jsonr_base64(span_text(text), url, &out));
            EXPECT(span_is(buf_all(&out), table[i].bytes));
        }
    buf_close(&out);
}

TEST(json_base64_refused)
{
    static const struct {
        const char *text;
        bool url;
    } table[] = {
        { "Z", false },      { "Zg", false },         { "Zg=", false },    { "Zg===", false },
        { "Z===", false },   { "====", false },       { "=", false },      { "Zh==", false },
        { "Zm9=", false },   { "Zg==Zg==", false },   { "Zm9v\n", false }, { " Zm9v", false },
        { "Zm 9", false },   { "-__-", false },       { "Zg=a", false },   { "Z=g=", false },
        { "Zm9vZg", false }, { "\xc3\xa9zz", false }, { "Zg==", true },    { "Z", true },
        { "Zh", true },      { "Zm9", true },         { "+//+", true },    { "Zm9vZ", true },
        { "A", true },       { "Zm9vA", true },
    };
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        EXPECT(!jsonr_base64(span_text(table[i].text), table[i].url, &out));
    EXPECT(!jsonr_base64(SPAN("Zm\0v"), false, &out));
    buf_close(&out);
}

TEST(json_base64_round_trip)
{
    struct prng prng = { 5 };
    struct buf in, text, back;
    alloc_heap(&heap);
    buf_open(&in, &heap);
    buf_open(&text, &heap);
    buf_open(&back, &heap);
    for (size_t n = 0; n < 200; n++) {
        buf_reset(&text);
        buf_reset(&back);
        jsonw_base64(buf_all(&in), n % 2, &text);
        EXPECT(jsonr_base64(buf_all(&text), n % 2, &back));
        EXPECT(span_equal(buf_all(&back), buf_all(&in)));
        buf_u8(&in, (uint8_t)prng_next(&prng));
    }
    buf_close(&in);
    buf_close(&text);
    buf_close(&back);
    EXPECT(heap.used == 0);
}

/* RFC 7396, appendix A, where both are objects. */
TEST(json_merge_patch)
{
    static const struct {
        const char *object, *patch, *result;
    } table[] = {
        { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
        { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
        { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
        { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
        { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
        { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
        { "[1,2]", "{\"a\":\"b\"}", NULL },
        { "{}", "[1]", NULL },
        { "{}", "{", NULL },
    };
    struct buf out;
    alloc_heap(&heap);
    jsonr_use(&heap);
    buf_open(&out, &heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        buf_reset(&out);
        enum err e = jsonr_merge(span_text(table[i].object), span_text(table[i].patch), &out);
        EXPECT((e == ERR_OK) == (table[i].result != NULL));
        EXPECT(!table[i].result || span_is(buf_all(&out), table[i].result));
    }
    buf_close(&out);
    EXPECT(heap.used == 0);
}
