#include "wire/jdoc/jdoc.h"
#include "base/test.h"

static struct alloc heap;
static struct arena arena;
static struct jdoc_fault fault;

static struct jdoc *doc(const char *text)
{
    struct jdoc *v;
    return jdoc_read(span_text(text), &arena, &v, &fault) == ERR_OK ? v : NULL;
}

static void open_arena(void)
{
    alloc_heap(&heap);
    arena_open(&arena, &heap);
}

TEST(jdoc_reads_values)
{
    open_arena();
    struct jdoc *v = doc(" {\"a\": [1, -0.50e+3, \"\\u00e9\\ud83d\\ude00\\n\"], \"b\": null} ");
    EXPECT(v && v->type == JDOC_OBJECT && v->n == 2);
    const struct jdoc *a = jdoc_member(v, SPAN("a"));
    EXPECT(a && a->n == 3 && a->items[2].parent == a && a->parent == v);
    EXPECT(span_is(a->items[1].text, "-0.50e+3"));
    EXPECT(span_is(a->items[2].text, "\xc3\xa9\xf0\x9f\x98\x80\n"));
    EXPECT(!jdoc_member(v, SPAN("c")) && jdoc_is(jdoc_member(v, SPAN("b")), JDOC_NULL));
    arena_close(&arena);
    EXPECT(heap.used == 0);
}

TEST(jdoc_refuses)
{
    static const char *const texts[] = {
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        "+1",
        ".5",
        "1e",
        "nul",
        "\"\\x\"",
        "\"\n\"",
        "[1 2]",
        "{\"a\" 1}",
        "{a:1}",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "1 2",
        "\"\xff\"",
        "--1",
        "{\"a\":1,\"b\":2,\"a\":3}",
        "1e1000000001",
        "\"abc",
        "\"\\u12g4\"",
    };
    open_arena();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        EXPECT(!doc(texts[i]) && fault.why[0]);
    arena_close(&arena);
}

TEST(jdoc_depth_and_values_are_bounded)
{
    struct buf b;
    struct jdoc *v;
    open_arena();
    buf_open(&b, &heap);
    for (int i = 0; i < JDOC_DEPTH_MAX; i++)
        buf_u8(&b, '[');
    for (int i = 0; i < JDOC_DEPTH_MAX; i++)
        buf_u8(&b, ']');
    EXPECT(jdoc_read(buf_all(&b), &arena, &v, &fault) == ERR_OK);
    buf_reset(&b);
    for (int i = 0; i <= JDOC_DEPTH_MAX; i++)
        buf_u8(&b, '[');
    EXPECT(jdoc_read(buf_all(&b), &arena, &v, &fault) == ERR_BODY_NOT_JSON);
    buf_reset(&b);
    buf_u8(&b, '[');
    for (int i = 0; i < JDOC_VALUES_MAX; i++)
        buf_text(&b, "1,");
    buf_text(&b, "1]");
    EXPECT(jdoc_read(buf_all(&b), &arena, &v, &fault) == ERR_BODY_TOO_LARGE);
    buf_close(&b);
    arena_close(&arena);
    EXPECT(heap.used == 0);
}

static int compare(const char *a, const char *b)
{
    return jdoc_decimal_compare(jdoc_decimal(span_text(a)), jdoc_decimal(span_text(b)));
}

TEST(jdoc_numbers_are_exact)
{
    EXPECT(compare("1", "1.0") == 0 && compare("100", "1e2") == 0 && compare("0", "-0.0e9") == 0);
    EXPECT(compare("0.1", "1e-1") == 0 && compare("0.10", "0.01e1") == 0);
    EXPECT(compare("9007199254740993", "9007199254740992") > 0);
    EXPECT(compare("-2", "-1") < 0 && compare("-1", "0") < 0 && compare("1e-9", "0") > 0);
    EXPECT(compare("123.4500", "123.45") == 0 && compare("123.45", "123.456") < 0);
    EXPECT(compare("1e400", "9e399") > 0 && compare("1050", "1.05e3") == 0);
    EXPECT(jdoc_decimal_whole(jdoc_decimal(SPAN("1.50e1"))));
    EXPECT(!jdoc_decimal_whole(jdoc_decimal(SPAN("1.5"))));
    EXPECT(jdoc_decimal_whole(jdoc_decimal(SPAN("0.0"))));
}

static bool multiple(const char *a, const char *b)
{
    return jdoc_decimal_multiple(jdoc_decimal(span_text(a)), jdoc_decimal(span_text(b)));
}

TEST(jdoc_multiples_are_exact)
{
    int64_t n;
    EXPECT(multiple("0.07", "0.01") && multiple("19.99", "0.01") && !multiple("19.995", "0.01"));
    EXPECT(multiple("9007199254740993", "3") == (9007199254740993 % 3 == 0));
    EXPECT(multiple("1e308", "0.123456789") == false && multiple("0", "7"));
    EXPECT(multiple("-4.5", "1.5") && multiple("1e1000000000", "0.5") && !multiple("1e9", "7"));
    EXPECT(multiple("123456789012345678901234567890", "10"));
    EXPECT(jdoc_decimal_count(jdoc_decimal(SPAN("2.0e1")), &n) && n == 20);
    EXPECT(!jdoc_decimal_count(jdoc_decimal(SPAN("-1")), &n));
    EXPECT(jdoc_decimal_count(jdoc_decimal(SPAN("1e30")), &n) && n == INT64_MAX);
}

TEST(jdoc_pointers_lead_there_and_back)
{
    struct buf b;
    open_arena();
    buf_open(&b, &heap);
    struct jdoc *v = doc("{\"a/b\": {\"m~n\": [0, {\"\": 7}]}}");
    struct jdoc *at = jdoc_at(v, SPAN("/a~1b/m~0n/1/"), &arena);
    EXPECT(at && span_is(at->text, "7"));
    jdoc_pointer(at, &b);
    EXPECT(span_is(buf_all(&b), "/a~1b/m~0n/1/"));
    EXPECT(!jdoc_at(v, SPAN("/a~1b/m~0n/01"), &arena) && !jdoc_at(v, SPAN("/x"), &arena));
    EXPECT(!jdoc_at(v, SPAN("/a~2b"), &arena) && !jdoc_at(v, SPAN("a"), &arena));
    buf_close(&b);
    arena_close(&arena);
    EXPECT(heap.used == 0);
}
