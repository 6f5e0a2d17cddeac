#include "wire/yaml/yaml.h"
#include "base/test.h"

static struct alloc heap;
static char why[YAML_WHY_MAX];

static bool is(const char *text, const char *json)
{
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    enum err e = yaml_json(span_text(text), &b, why);
    bool ok = json ? e == ERR_OK && span_is(buf_all(&b), json) : e == ERR_BODY_NOT_JSON && why[0];
    buf_close(&b);
    return ok && heap.used == 0;
}

TEST(yaml_values)
{
    EXPECT(is("", "null") && is("# nothing\n", "null"));
    EXPECT(is("a: 1\nb: [x, 'y', \"z\\n\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\\n\"]}"));
    EXPECT(is("a:\n  b:\n    - 1\n    - c: ~\n", "{\"a\":{\"b\":[1,{\"c\":null}]}}"));
    EXPECT(is("t: |\n  one\n  two\n", "{\"t\":\"one\\ntwo\\n\"}"));
    EXPECT(is("1: true\ntrue: 1\n", "{\"1\":true,\"true\":1}"));
    EXPECT(is("[yes, no, on, True, FALSE, Null]", "[\"yes\",\"no\",\"on\",true,false,null]"));
    EXPECT(is("[007, +5, -0, .5, 5., 1e3, -1.50E-7, 0x1F, 0o17]",
              "[7,5,-0,0.5,5.0,1e3,-1.50E-7,31,15]"));
    EXPECT(is("[1_000, 1.2.3, 0x, 0o8, e5, -, 12:30, 0xffffffffffffffff]",
              "[\"1_000\",\"1.2.3\",\"0x\",\"0o8\",\"e5\",\"-\",\"12:30\","
              "\"0xffffffffffffffff\"]"));
    EXPECT(is("[!!str 5, !!binary aGk=]", "[\"5\",{\"$bytes\":\"aGk=\"}]"));
    EXPECT(is("{\"json\": [1, {\"is\": \"yaml\"}]}", "{\"json\":[1,{\"is\":\"yaml\"}]}"));
}

TEST(yaml_refusals)
{
    EXPECT(is("a: [", NULL) && is("a: b: c", NULL) && is("\tx: 1", NULL));
    EXPECT(is("a: &x 1\nb: *x\n", NULL) && is("--- 1\n--- 2\n", NULL));
    EXPECT(is("%YAML 1.2\n--- 1\n", NULL) && is("a: %x\n", NULL));
    EXPECT(is("a: 5%\n", "{\"a\":\"5%\"}"));
    EXPECT(is("? [a]\n: 1\n", NULL) && is(".inf", NULL) && is("!!int 5", NULL));
    EXPECT(is("!!binary 'not base64!'", NULL) && is("!!set {a}", NULL));
}

TEST(yaml_is_bounded)
{
    struct buf text, json;
    alloc_heap(&heap);
    buf_open(&text, &heap);
    buf_open(&json, &heap);
    for (int i = 0; i < YAML_DEPTH_MAX; i++)
        buf_u8(&text, '[');
    for (int i = 0; i < YAML_DEPTH_MAX; i++)
        buf_u8(&text, ']');
    EXPECT(yaml_json(buf_all(&text), &json, why) == ERR_OK);
    buf_reset(&text);
    for (int i = 0; i < 100000; i++)
        buf_u8(&text, '[');
    EXPECT(yaml_json(buf_all(&text), &json, why) == ERR_BODY_NOT_JSON);
    buf_reset(&text);
    for (int i = 0; i < YAML_EVENTS_MAX; i++)
        buf_text(&text, "- 1\n");
    EXPECT(yaml_json(buf_all(&text), &json, why) == ERR_BODY_TOO_LARGE);
    buf_grow(&text, YAML_BYTES_MAX);
    memset(text.data, 'x', YAML_BYTES_MAX + 1);
    EXPECT(yaml_json(span_of(text.data, YAML_BYTES_MAX + 1), &json, why) == ERR_BODY_TOO_LARGE);
    buf_close(&text);
    buf_close(&json);
    EXPECT(heap.used == 0);
}
