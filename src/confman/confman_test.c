#include "base/test.h"
#include "confman/confman_int.h"

static struct alloc heap;
static struct arena arena;

static void begin(void)
{
    alloc_heap(&heap);
    arena_open(&arena, &heap);
}

static void end(void)
{
    arena_close(&arena);
    EXPECT(heap.used == 0);
}

#define ITEM(value, type)                                                                          \
    "{\"key\":\"k\",\"environment\":\"e\",\"value\":" value ",\"type\":\"" type                    \
    "\",\"version\":2,\"revision\":7}"

TEST(confman_decodes_types)
{
    struct item i;
    begin();
    EXPECT(decode_one(SPAN(ITEM("\"a\\u0041\"", "string")), &arena, &i));
    EXPECT(i.type == CONFMAN_STRING && span_is(i.value, "aA") && i.version == 2);
    EXPECT(decode_one(SPAN(ITEM("19.90", "number")), &arena, &i));
    EXPECT(i.type == CONFMAN_NUMBER && span_is(i.value, "19.90") && i.number == 19.9);
    EXPECT(decode_one(SPAN(ITEM("true", "boolean")), &arena, &i));
    EXPECT(i.type == CONFMAN_BOOLEAN && i.truth);
    EXPECT(decode_one(SPAN(ITEM("{\"b\": [1, null]}", "json")), &arena, &i));
    EXPECT(i.type == CONFMAN_JSON && span_is(i.value, "{\"b\":[1,null]}"));
    EXPECT(decode_one(SPAN(ITEM("\"/wAB\"", "bytes")), &arena, &i));
    EXPECT(i.type == CONFMAN_BYTES && span_equal(i.value, SPAN("\xff\x00\x01")));
    EXPECT(decode_one(SPAN(ITEM("\"/w==\"", "bytes")), &arena, &i) && i.value.len == 1);
    EXPECT(!decode_one(SPAN(ITEM("\"/w=\"", "bytes")), &arena, &i));
    EXPECT(!decode_one(SPAN(ITEM("\"=w==\"", "bytes")), &arena, &i));
    EXPECT(!decode_one(SPAN("{\"key\":\"k\"}"), &arena, &i));
    EXPECT(!decode_one(SPAN("[]"), &arena, &i) && !decode_one(SPAN(""), &arena, &i));
    end();
}

TEST(confman_decodes_what_is_told)
{
    struct told t;
    struct told_change x;
    begin();
    EXPECT(decode_told(SPAN("{\"type\":\"welcome\",\"revision\":4,\"stream\":\"ab\","
                            "\"reconnect_ms\":9}"), &arena, &t));
    EXPECT(t.kind == TOLD_WELCOME && t.revision == 4 && t.reconnect_ms == 9 && !t.has_id);
    EXPECT(span_is(t.stream, "ab"));
    EXPECT(decode_told(SPAN("{\"type\":\"changes\",\"id\":6,\"revision\":7,\"changes\":["
                            "{\"key\":\"k\",\"environment\":\"e\",\"deleted\":true},"
                            "{\"flag\":\"f\",\"definition\":{\"a\":1.50}},"
                            "{\"flag\":\"f\",\"deleted\":true}," ITEM("1", "number")
                            ",{\"flag\":\"f\"},{\"key\":\"k\"},1]}"), &arena, &t));
    EXPECT(t.kind == TOLD_CHANGES && t.has_id && t.id == 6 && t.changes->n == 7);
    EXPECT(decode_change(&t.changes->items[0], &arena, &x) && x.gone && !x.flag);
    EXPECT(span_is(x.item.key, "k") && !x.item.version);
    EXPECT(decode_change(&t.changes->items[1], &arena, &x) && x.flag && !x.gone);
    EXPECT(span_is(x.json, "{\"a\":1.50}"));
    EXPECT(decode_change(&t.changes->items[2], &arena, &x) && x.flag && x.gone);
    EXPECT(decode_change(&t.changes->items[3], &arena, &x) && x.item.version == 2);
    for (int i = 4; i < 7; i++)
        EXPECT(!decode_change(&t.changes->items[i], &arena, &x));
    EXPECT(decode_told(SPAN("{\"type\":\"news\"}"), &arena, &t) && t.kind == TOLD_OTHER);
    EXPECT(!decode_told(SPAN("{\"type\":\"changes\"}"), &arena, &t));
    EXPECT(!decode_told(SPAN("{}"), &arena, &t) && !decode_told(SPAN("[]"), &arena, &t));
    end();
}

TEST(confman_decodes_problems)
{
    struct confman_error e;
    begin();
    decode_problem(412, SPAN("{\"code\":\"precondition\",\"detail\":\"d\\n\",\"version\":4}"),
                   &arena, &e);
    EXPECT(e.code == CONFMAN_CONFLICT && e.version == 4 && strcmp(e.text, "d ") == 0);
    decode_problem(503, SPAN("{\"code\":\"no_leader\"}"), &arena, &e);
    EXPECT(e.code == CONFMAN_UNAVAILABLE && strcmp(e.reason, "no_leader") == 0);
    decode_problem(504, SPAN("{\"code\":\"timeout\"}"), &arena, &e);
    EXPECT(e.code == CONFMAN_UNKNOWN);
    decode_problem(503, SPAN("<html>"), &arena, &e);
    EXPECT(e.code == CONFMAN_UNKNOWN && e.text[0]);
    decode_problem(429, SPAN(""), &arena, &e);
    EXPECT(e.code == CONFMAN_BUSY);
    end();
}

TEST(confman_decodes_leader)
{
    struct span address;
    bool self;
    begin();
    EXPECT(decode_leader(SPAN("{\"members\":[{\"role\":\"voter\",\"client\":\"a\"},{\"role\":"
                              "\"leader\",\"client\":\"http://h:1\",\"self\":true}]}"),
                         &arena, &address, &self));
    EXPECT(self && span_is(address, "http://h:1"));
    EXPECT(!decode_leader(SPAN("{\"members\":{}}"), &arena, &address, &self));
    end();
}

/* Torn at any byte, or with any byte changed: refused. */
TEST(confman_cache_is_whole_or_nothing)
{
    struct buf b;
    struct cached out;
    char why[CONFMAN_TEXT_MAX];
    struct item item;
    begin();
    EXPECT(decode_one(SPAN(ITEM("\"v\"", "string")), &arena, &item));
    struct known flags[] = { { SPAN("f"), SPAN("{\"percentage\":5}") }, { SPAN("g"), SPAN("{") } };
    struct cached in = { .environment = SPAN("e"),
                         .prefix = SPAN("p\"q"),
                         .revision = 9,
                         .items = &item,
                         .n_items = 1,
                         .flags = flags,
                         .n_flags = 2,
                         .shared = SPAN("{\"$evaluators\":{}}") };
    buf_open(&b, &heap);
    cache_write(&in, &b);
    EXPECT(cache_read(buf_all(&b), &arena, &out, why));
    EXPECT(out.revision == 9 && out.n_items == 1 && out.n_flags == 1);
    EXPECT(span_is(out.items[0].value, "v") && span_is(out.prefix, "p\"q"));
    EXPECT(span_is(out.flags[0].json, "{\"percentage\":5}"));
    EXPECT(span_is(out.shared, "{\"$evaluators\":{}}"));
    for (size_t n = 0; n < b.len; n++) {
        EXPECT(!cache_read(span_of(b.data, n), &arena, &out, why));
        b.data[n] ^= 4;
        EXPECT(!cache_read(buf_all(&b), &arena, &out, why));
        b.data[n] ^= 4;
        arena_reset(&arena);
    }
    buf_close(&b);
    end();
}

TEST(confman_parts)
{
    begin();
    struct item items[] = { { .key = SPAN("b"), .version = 1 },
                            { .key = SPAN("a"), .version = 1 },
                            { .key = SPAN("b"), .version = 2 } };
    struct part *p = part_configs(items, 3, 5);
    EXPECT(p->n == 2 && span_is(p->items[0].key, "a") && p->revision == 5);
    part_close(p);
    struct known known[100];
    char names[100][16];
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "f%d", i);
        known[i] = (struct known){ span_text(names[i]), SPAN("{\"percentage\":5}") };
    }
    known[7].json = SPAN("{");
    p = part_flags(known, 100, SPAN("{\"$evaluators\":{}}"), 5);
    for (int i = 0; i < 100; i++)
        EXPECT(part_flag(p, known[i].name) == i && (p->flags[i] != NULL) == (i != 7));
    EXPECT(part_flag(p, SPAN("f100")) == -1);
    part_close(p);
    p = part_flags(NULL, 0, SPAN_NONE, 5);
    EXPECT(part_flag(p, SPAN("f")) == -1);
    part_close(p);
    end();
}

static void fail_check(void *context)
{
    CHECK(context == NULL);
}

static void fail_deeper(void *context)
{
    struct check_catch c;
    EXPECT(check_caught(fail_check, context, &c) && strstr(c.what, "context == NULL"));
    EXPECT(!check_caught(fail_check, NULL, &c));
    fail_check(context);
}

TEST(confman_catches_bugs)
{
    struct check_catch c;
    int any = 0;
    EXPECT(check_caught(fail_deeper, &any, &c));
    EXPECT(!check_caught(fail_check, NULL, &c));
}
