#include "core/schema/schema.h"
#include "base/test.h"

/* What the JSON Schema Test Suite (tests/schema) does not ask: errors, bounds, exact numbers. */
static struct alloc heap;
static struct arena arena;
static struct schema_report report;

static void open_arena(void)
{
    alloc_heap(&heap);
    arena_open(&arena, &heap);
}

static bool all_back(void)
{
    arena_close(&arena);
    return heap.used == 0;
}

static enum err ask(const char *schema, const char *text)
{
    struct schema *s;
    struct jdoc *v;
    struct jdoc_fault fault;
    report = (struct schema_report){ .arena = &arena };
    enum err e = schema_compile(span_text(schema), &schema_usual, &heap, &s, &report);
    if (e != ERR_OK)
        return e;
    e = jdoc_read(span_text(text), &arena, &v, &fault);
    if (e == ERR_OK)
        e = schema_validate(s, v, &report);
    schema_free(s);
    return e;
}

static bool error_is(size_t i, const char *pointer, const char *schema_pointer)
{
    return i < report.n && span_is(report.items[i].pointer, pointer) &&
           span_is(report.items[i].schema_pointer, schema_pointer) && report.items[i].message.len;
}

#define PORT                                                                                       \
    "{\"type\":\"object\",\"required\":[\"host\"],\"properties\":{"                                \
    "\"host\":{\"type\":\"string\",\"minLength\":1},"                                              \
    "\"port\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535}},"                            \
    "\"additionalProperties\":false}"

TEST(schema_tells_every_error_with_both_pointers)
{
    open_arena();
    EXPECT(ask(PORT, "{\"host\":\"a\",\"port\":80}") == ERR_OK && report.n == 0);
    EXPECT(ask(PORT, "{\"port\":0.5,\"x\":1}") == ERR_SCHEMA_VIOLATED && report.n == 4);
    EXPECT(error_is(0, "", "/required/0"));
    EXPECT(error_is(1, "/port", "/properties/port/type"));
    EXPECT(error_is(2, "/port", "/properties/port/minimum"));
    EXPECT(error_is(3, "/x", "/additionalProperties"));
    EXPECT(ask("{\"$ref\":\"https://json-schema.org/draft/2020-12/schema\"}",
               "{\"minimum\":\"x\"}") == ERR_SCHEMA_VIOLATED);
    EXPECT(error_is(0, "/minimum",
                    "https://json-schema.org/draft/2020-12/meta/validation#/properties/minimum/"
                    "type"));
    EXPECT(all_back());
}

TEST(schema_faults_are_told_with_their_place)
{
    static const struct {
        const char *schema, *pointer;
    } cases[] = {
        { "{\"type\":\"strng\"}", "/type" },
        { "{\"properties\":{\"a\":{\"minimum\":\"1\"}}}", "/properties/a/minimum" },
        { "{\"multipleOf\":0}", "/multipleOf" },
        { "{\"minLength\":-1}", "/minLength" },
        { "{\"pattern\":\"(\"}", "/pattern" },
        { "{\"pattern\":\"(?R)\"}", "/pattern" },
        { "{\"pattern\":\"(*LIMIT_MATCH=1)a\"}", "/pattern" },
        { "{\"pattern\":\"\\\\a\"}", "/pattern" },
        { "{\"patternProperties\":{\"[\":true}}", "/patternProperties/[" },
        { "{\"$ref\":\"#/$defs/none\"}", "/$ref" },
        { "{\"$ref\":\"http://example.com/other\"}", "/$ref" },
        { "{\"$ref\":7}", "/$ref" },
        { "{\"$schema\":\"http://example.com/own\"}", "/$schema" },
        { "{\"allOf\":[]}", "/allOf" },
        { "{\"allOf\":[1]}", "/allOf/0" },
        { "{\"required\":[1]}", "/required/0" },
        { "{\"$id\":\"#a\"}", "/$id" },
        { "{\"dependentRequired\":{\"a\":\"b\"}}", "/dependentRequired/a" },
        { "7", "" },
    };
    open_arena();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EXPECT(ask(cases[i].schema, "1") == ERR_SCHEMA_INVALID);
        EXPECT(report.n >= 1 && span_is(report.items[0].pointer, cases[i].pointer));
    }
    EXPECT(ask("{\"type\":", "1") == ERR_BODY_NOT_JSON && report.n == 1);
    EXPECT(ask("{\"type\":1,\"minimum\":\"a\",\"enum\":2}", "1") == ERR_SCHEMA_INVALID);
    EXPECT(report.n == 3);
    EXPECT(all_back());
}

TEST(schema_numbers_are_exact)
{
    open_arena();
    EXPECT(ask("{\"multipleOf\":0.01}", "19.99") == ERR_OK);
    EXPECT(ask("{\"const\":9007199254740993}", "9007199254740992") == ERR_SCHEMA_VIOLATED);
    EXPECT(ask("{\"maximum\":18446744073709551615}", "18446744073709551616") ==
           ERR_SCHEMA_VIOLATED);
    EXPECT(ask("{\"enum\":[1.0]}", "1") == ERR_OK);
    EXPECT(ask("{\"uniqueItems\":true}", "[1,{\"a\":1,\"b\":2},1.0]") == ERR_SCHEMA_VIOLATED);
    EXPECT(ask("{\"type\":\"integer\"}", "1e2") == ERR_OK);
    EXPECT(all_back());
}

TEST(schema_drafts_by_their_uri)
{
    open_arena();
    EXPECT(ask("{\"items\":[{\"type\":\"string\"}]}", "[1]") == ERR_SCHEMA_INVALID);
    EXPECT(ask("{\"$schema\":\"http://json-schema.org/draft-07/schema#\","
               "\"items\":[{\"type\":\"string\"}]}",
               "[1]") == ERR_SCHEMA_VIOLATED);
    EXPECT(ask("{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"minimum\":1,"
               "\"exclusiveMinimum\":true}",
               "1") == ERR_SCHEMA_VIOLATED);
    EXPECT(all_back());
}

TEST(schema_steps_and_depth_are_bounded)
{
    open_arena();
    /* A reference to itself never ends. */
    EXPECT(ask("{\"$ref\":\"#\"}", "1") == ERR_SCHEMA_STEPS);
    /* Twice as many with each of forty levels. */
    struct buf b;
    buf_open(&b, &heap);
    buf_text(&b, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"d40\":{}");
    for (int i = 0; i < 40; i++)
        buf_format(&b,
                   ",\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]}",
                   i, i + 1, i + 1);
    buf_text(&b, "}}");
    buf_u8(&b, 0);
    EXPECT(ask((const char *)b.data, "1") == ERR_SCHEMA_STEPS);
    buf_close(&b);
    /* A pattern that would try for ever. */
    EXPECT(ask("{\"pattern\":\"^(a+)+$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"") ==
           ERR_SCHEMA_STEPS);
    EXPECT(all_back());
}

TEST(schema_errors_are_bounded)
{
    struct buf b;
    open_arena();
    buf_open(&b, &heap);
    buf_u8(&b, '[');
    for (int i = 0; i < SCHEMA_ERRORS_MAX; i++)
        buf_text(&b, "1,");
    buf_text(&b, "1]");
    buf_u8(&b, 0);
    EXPECT(ask("{\"items\":false}", (const char *)b.data) == ERR_SCHEMA_VIOLATED);
    EXPECT(report.n == SCHEMA_ERRORS_MAX && report.more);
    buf_close(&b);
    EXPECT(all_back());
}

TEST(schema_memory_is_bounded)
{
    struct buf b;
    open_arena();
    buf_open(&b, &heap);
    buf_text(&b, "{\"allOf\":[true");
    for (int i = 0; i < 2000; i++)
        buf_text(&b, ",{\"pattern\":\"(abcdefghij){999}\"}");
    buf_text(&b, "]}");
    buf_u8(&b, 0);
    EXPECT(ask((const char *)b.data, "1") == ERR_BODY_TOO_LARGE);
    buf_reset(&b);
    buf_text(&b, "{\"title\":\"");
    for (int i = 0; i < SCHEMA_BYTES_MAX; i++)
        buf_u8(&b, 'a');
    buf_text(&b, "\"}");
    buf_u8(&b, 0);
    EXPECT(ask((const char *)b.data, "1") == ERR_BODY_TOO_LARGE);
    buf_close(&b);
    EXPECT(all_back());
}

TEST(schema_patterns_are_those_of_ecma_262)
{
    open_arena();
    EXPECT(ask("{\"pattern\":\"^\\\\s$\"}", "\"\\ufeff\"") == ERR_OK);
    EXPECT(ask("{\"pattern\":\"^[\\\\s\\\\S]$\"}", "\"x\"") == ERR_OK);
    EXPECT(ask("{\"pattern\":\"^\\\\d$\"}", "\"\\u0663\"") == ERR_SCHEMA_VIOLATED);
    EXPECT(ask("{\"pattern\":\"^\\\\p{Letter}+$\"}", "\"\\u00e9a\"") == ERR_OK);
    EXPECT(ask("{\"pattern\":\"^\\\\p{Script=Greek}$\"}", "\"\\u03b1\"") == ERR_OK);
    EXPECT(ask("{\"pattern\":\"a$\"}", "\"a\\n\"") == ERR_SCHEMA_VIOLATED);
    EXPECT(ask("{\"pattern\":\"^[[a]$\"}", "\"[\"") == ERR_OK);
    EXPECT(all_back());
}

TEST(schema_formats_when_asked)
{
    static const struct schema_options formats = { .draft = DRAFT_2020_12, .formats = true };
    struct schema *s;
    open_arena();
    report = (struct schema_report){ .arena = &arena };
    EXPECT(ask("{\"format\":\"ipv4\"}", "\"1.2.3\"") == ERR_OK);
    EXPECT(schema_compile(SPAN("{\"format\":\"ipv4\"}"), &formats, &heap, &s, &report) == ERR_OK);
    struct jdoc v = { .type = JDOC_STRING, .text = SPAN("1.2.3") };
    EXPECT(schema_validate(s, &v, &report) == ERR_SCHEMA_VIOLATED);
    v.text = SPAN("1.2.3.4");
    EXPECT(schema_validate(s, &v, &report) == ERR_OK);
    schema_free(s);
    EXPECT(all_back());
}
