#include "wire/http/http.h"
#include "base/buf.h"
#include "base/test.h"

struct fixture {
    struct alloc heap;
    struct arena arena;
};

static struct arena *open_arena(struct fixture *f)
{
    alloc_heap(&f->heap);
    arena_open(&f->arena, &f->heap);
    return &f->arena;
}

TEST(http_target_splits_at_the_first_question_mark)
{
    static const struct {
        const char *target, *path, *query;
    } table[] = {
        { "/", "/", "" },           { "", "", "" },
        { "/a?b", "/a", "b" },      { "/a?", "/a", "" },
        { "/a?b?c", "/a", "b?c" },  { "?x", "", "x" },
        { "/a%3Fb", "/a%3Fb", "" }, { "/a?b%3F", "/a", "b%3F" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct span path, query;
        http_target(span_text(table[i].target), &path, &query);
        EXPECT(span_is(path, table[i].path));
        EXPECT(span_is(query, table[i].query));
    }
}

TEST(http_decode_percent)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
        bool plus;
    } table[] = {
        { "", "", false },      { "a", "a", false },           { "a+b", "a+b", false },
        { "a+b", "a b", true }, { "%41%6a%6A", "Ajj", true },  { "%2B", "+", true },
        { "%", NULL, false },   { "%4", NULL, false },         { "a%", NULL, false },
        { "%4g", NULL, false }, { "%g4", NULL, false },        { "%%41", NULL, false },
        { "%-1", NULL, false }, { "%25%32%35", "%25", false }, { "%c3%a9", "\xc3\xa9", false },
        { "%4 ", NULL, false },
    };
    struct fixture f;
    struct arena *arena = open_arena(&f);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct span out;
        enum err e = http_decode(span_text(table[i].in), table[i].plus, arena, &out);
        EXPECT(e == (table[i].out ? ERR_OK : ERR_BAD_REQUEST));
        EXPECT(e != ERR_OK || span_is(out, table[i].out));
    }
    struct span nul;
    EXPECT(http_decode(SPAN("a%00b"), false, arena, &nul) == ERR_OK);
    EXPECT(nul.len == 3 && memcmp(nul.data, "a\0b", 3) == 0);
    EXPECT(http_decode(span_of("%41", 2), false, arena, &nul) == ERR_BAD_REQUEST);
    EXPECT(http_decode(span_of("%41", 1), false, arena, &nul) == ERR_BAD_REQUEST);
    arena_close(arena);
    EXPECT(f.heap.used == 0);
}

TEST(http_decode_undoes_every_byte)
{
    struct fixture f;
    struct arena *arena = open_arena(&f);
    struct buf text;
    struct span out;
    uint8_t all[256];
    buf_open(&text, &f.heap);
    for (unsigned i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
        buf_format(&text, i % 2 ? "%%%02x" : "%%%02X", i);
    }
    EXPECT(http_decode(buf_all(&text), true, arena, &out) == ERR_OK);
    EXPECT(span_equal(out, span_of(all, 256)));
    buf_close(&text);
    arena_close(arena);
    EXPECT(f.heap.used == 0);
}

TEST(http_query_by_name)
{
    static const struct {
        const char *query, *name, *value; /* value NULL: not there */
    } table[] = {
        { "", "a", NULL },          { "a", "a", "" },        { "a=", "a", "" },
        { "a=1", "a", "1" },        { "a=1&a=2", "a", "1" }, { "b=1&a=2", "a", "2" },
        { "&&a=1&", "a", "1" },     { "a=1=2", "a", "1=2" }, { "%61=x+y", "a", "x y" },
        { "aa=1", "a", NULL },      { "A=1", "a", NULL },    { "a%3D1", "a=1", "" },
        { "a=b%26c=d", "c", NULL }, { "=v", "", "v" },
    };
    struct fixture f;
    struct arena *arena = open_arena(&f);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct span value;
        bool found;
        EXPECT(http_query(span_text(table[i].query), table[i].name, arena, &value, &found) ==
               ERR_OK);
        EXPECT(found == (table[i].value != NULL));
        EXPECT(!found || span_is(value, table[i].value));
    }
    struct span value;
    bool found;
    EXPECT(http_query(SPAN("a=1&b=%zz"), "a", arena, &value, &found) == ERR_BAD_REQUEST);
    EXPECT(http_query(SPAN("%=1"), "a", arena, &value, &found) == ERR_BAD_REQUEST);
    arena_close(arena);
}

static enum err write_pair(void *context, struct span name, struct span value)
{
    struct buf *out = context;
    buf_span(out, name);
    buf_u8(out, '>');
    buf_span(out, value);
    buf_u8(out, '\n');
    return span_is(name, "stop") ? ERR_NOT_FOUND : ERR_OK;
}

TEST(http_query_each_in_order_until_an_error)
{
    struct fixture f;
    struct arena *arena = open_arena(&f);
    struct buf out;
    buf_open(&out, &f.heap);
    EXPECT(http_query_each(SPAN("&a=1&b=2&&a=3&c&"), arena, write_pair, &out) == ERR_OK);
    EXPECT(span_is(buf_all(&out), "a>1\nb>2\na>3\nc>\n"));
    buf_reset(&out);
    EXPECT(http_query_each(SPAN("a&stop=x&b"), arena, write_pair, &out) == ERR_NOT_FOUND);
    EXPECT(span_is(buf_all(&out), "a>\nstop>x\n"));
    buf_close(&out);
    arena_close(arena);
}

TEST(http_header_find_takes_the_first)
{
    const struct http_header headers[] = { { SPAN("accept"), SPAN("a") },
                                           { SPAN("x"), SPAN("1") },
                                           { SPAN("x"), SPAN("2") } };
    const struct http_request r = { .headers = headers, .header_count = 3 };
    struct span value;
    EXPECT(http_header_find(&r, "x", &value) && span_is(value, "1"));
    EXPECT(!http_header_find(&r, "X", &value));
    EXPECT(!http_header_find(&r, "xx", &value));
    EXPECT(!http_header_find(&(struct http_request){ 0 }, "x", &value));
}

TEST(http_lists_words_in_any_case)
{
    static const struct {
        const char *value;
        bool listed;
    } table[] = {
        { "close", true },
        { "Close", true },
        { "keep-alive,CLOSE", true },
        { " a ,\tclose\t, b", true },
        { "", false },
        { "closed", false },
        { "clos", false },
        { "close;x", false },
        { ",,close", true },
        { "a close", false },
        { "close keep", false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        EXPECT(http_lists(span_text(table[i].value), "close") == table[i].listed);
    const struct http_header headers[] = { { SPAN("connection"), SPAN("keep-alive") },
                                           { SPAN("other"), SPAN("te") },
                                           { SPAN("connection"), SPAN("upgrade") } };
    const struct http_request r = { .headers = headers, .header_count = 3 };
    EXPECT(http_header_lists(&r, "connection", "upgrade"));
    EXPECT(!http_header_lists(&r, "connection", "te"));
    EXPECT(span_is(http_trim(SPAN(" \t a b\t ")), "a b"));
    EXPECT(http_trim(SPAN(" \t")).len == 0);
}

TEST(http_status_text_for_every_error)
{
    EXPECT(strcmp(http_status_text(200), "OK") == 0);
    EXPECT(strcmp(http_status_text(299), "Status") == 0);
    for (int e = 0; e < ERR_COUNT; e++)
        EXPECT(strcmp(http_status_text(err_http((enum err)e)), "Status") != 0);
    static const int http1[] = { 100, 101, 400, 408, 413, 414, 431, 501, 505 };
    for (size_t i = 0; i < sizeof(http1) / sizeof(http1[0]); i++)
        EXPECT(strcmp(http_status_text(http1[i]), "Status") != 0);
}
