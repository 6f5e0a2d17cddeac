#include "core/diff/diff.h"
#include <stdio.h>
#include "base/check.h"
#include "base/prng.h"
#include "base/test.h"

static struct alloc heap;
static struct arena arena;
static struct diff found;

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

static struct jdoc *doc(struct span text)
{
    struct jdoc *v;
    struct jdoc_fault fault;
    CHECK(jdoc_read(arena_copy(&arena, text), &arena, &v, &fault) == ERR_OK);
    return v;
}

static void diff(const char *a, const char *b)
{
    diff_json(doc(span_text(a)), doc(span_text(b)), 100, &arena, &found);
}

static bool op_is(size_t i, enum diff_kind kind, const char *path)
{
    const struct diff_op *o = &found.ops[i];
    return i < found.n && o->kind == kind && span_is(o->path, path) &&
           (o->from == NULL) == (kind == DIFF_ADD) && (o->to == NULL) == (kind == DIFF_REMOVE);
}

TEST(diff_of_json_tells_places)
{
    open_arena();
    diff("{\"a\":1,\"b\":{\"c\":[1,2]},\"x\":0}", "{\"b\":{\"c\":[1,3]},\"a\":1.0,\"y/~\":null}");
    EXPECT(found.n == 3 && op_is(0, DIFF_REPLACE, "/b/c/1") && op_is(1, DIFF_REMOVE, "/x") &&
           op_is(2, DIFF_ADD, "/y~1~0"));
    diff("1", "1e0");
    EXPECT(found.n == 0 && !found.more);
    diff("\"a\"", "[\"a\"]");
    EXPECT(found.n == 1 && op_is(0, DIFF_REPLACE, ""));
    diff("[1,2,3,4]", "[1,9,4]");
    EXPECT(found.n == 2 && op_is(0, DIFF_REPLACE, "/1") && op_is(1, DIFF_REMOVE, "/2"));
    diff("[1,4]", "[1,2,3,4]");
    EXPECT(found.n == 2 && op_is(0, DIFF_ADD, "/1") && op_is(1, DIFF_ADD, "/2"));
    EXPECT(all_back());
}

TEST(diff_of_json_is_bounded)
{
    struct buf a, b;
    open_arena();
    buf_open(&a, &heap);
    buf_open(&b, &heap);
    for (int i = 0; i < 101; i++) {
        buf_format(&a, "%c1", i ? ',' : '[');
        buf_format(&b, "%c2", i ? ',' : '[');
    }
    buf_u8(&a, ']');
    buf_u8(&b, ']');
    diff_json(doc(buf_all(&a)), doc(buf_all(&b)), 101, &arena, &found);
    EXPECT(found.n == 101 && !found.more);
    diff_json(doc(buf_all(&a)), doc(buf_all(&b)), 100, &arena, &found);
    EXPECT(found.n == 100 && found.more);
    /* Deeper arrays are looked at again at each level: at some depth that is too much. */
    buf_reset(&a);
    buf_reset(&b);
    for (int i = 0; i < 500; i++)
        buf_text(&a, "[");
    for (int i = 0; i < 20000; i++)
        buf_format(&a, "%s7", i ? "," : "");
    buf_span(&b, buf_all(&a));
    buf_text(&a, ",1");
    buf_text(&b, ",2");
    for (int i = 0; i < 500; i++) {
        buf_text(&a, "]");
        buf_text(&b, "]");
    }
    diff_json(doc(buf_all(&a)), doc(buf_all(&b)), 100, &arena, &found);
    EXPECT(found.n == 1 && found.ops[0].kind == DIFF_REPLACE && found.ops[0].path.len < 500 * 2);
    buf_close(&a);
    buf_close(&b);
    EXPECT(all_back());
}

static bool lines_are(const char *a, const char *b, const char *expected)
{
    struct buf out;
    buf_open(&out, &heap);
    diff_text(span_text(a), span_text(b), &arena, &out);
    bool ok = span_is(buf_all(&out), expected);
    buf_close(&out);
    return ok;
}

TEST(diff_of_text_is_unified)
{
    open_arena();
    EXPECT(lines_are("a\nb\n", "a\nb\n", ""));
    EXPECT(lines_are("", "", ""));
    EXPECT(lines_are("", "a\n", "@@ -0,0 +1,1 @@\n+a\n"));
    EXPECT(lines_are("a\n", "", "@@ -1,1 +0,0 @@\n-a\n"));
    EXPECT(lines_are("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"));
    EXPECT(lines_are("a\nb", "a\nb\n",
                     "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"));
    EXPECT(lines_are("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n",
                     "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -6,4 +7,3 @@\n 6\n 7\n 8\n-9\n"));
    EXPECT(all_back());
}

/* What the groups say, done to a, gives b. */
static void patch(struct span a, struct span groups, struct buf *out)
{
    size_t line = 0; /* of a, taken so far */
    while (groups.len) {
        const uint8_t *end = memchr(groups.data, '\n', groups.len);
        CHECK(end);
        struct span l = span_of(groups.data, (size_t)(end - groups.data) + 1);
        groups = span_from(groups, l.len);
        size_t upto = line;
        if (l.data[0] == '@') {
            size_t at, n;
            CHECK(sscanf((const char *)l.data, "@@ -%zu,%zu", &at, &n) == 2);
            upto = n ? at - 1 : at;
        } else if (l.data[0] != '+') {
            upto = line + 1;
        }
        for (; line < upto; line++) {
            const uint8_t *stop = memchr(a.data, '\n', a.len);
            struct span kept = span_of(a.data, (size_t)(stop - a.data) + 1);
            if (l.data[0] != '-')
                buf_span(out, kept);
            a = span_from(a, kept.len);
        }
        if (l.data[0] == '+')
            buf_span(out, span_from(l, 1));
    }
    buf_span(out, a);
}

static void draw_lines(struct prng *p, struct buf *out, unsigned kinds)
{
    unsigned n = (unsigned)prng_below(p, 30);
    buf_reset(out);
    for (unsigned i = 0; i < n; i++)
        buf_format(out, "line %u\n", (unsigned)prng_below(p, kinds));
}

TEST(diff_of_text_can_be_done)
{
    struct prng p = { 7 };
    struct buf a, b, groups, back;
    bool ok = true;
    open_arena();
    buf_open(&a, &heap);
    buf_open(&b, &heap);
    buf_open(&groups, &heap);
    buf_open(&back, &heap);
    for (int i = 0; i < 3000 && ok; i++) {
        draw_lines(&p, &a, 1 + (unsigned)i % 9);
        draw_lines(&p, &b, 1 + (unsigned)i % 9);
        buf_reset(&groups);
        buf_reset(&back);
        diff_text(buf_all(&a), buf_all(&b), &arena, &groups);
        patch(buf_all(&a), buf_all(&groups), &back);
        ok = span_equal(buf_all(&back), buf_all(&b)) &&
             (groups.len == 0) == span_equal(buf_all(&a), buf_all(&b));
        arena_reset(&arena);
    }
    EXPECT(ok);
    /* Beyond the bounds all of it is replaced. */
    buf_reset(&a);
    buf_reset(&b);
    for (int i = 0; i < 2 * DIFF_EDITS_MAX; i++) {
        buf_format(&a, "%d\n", i);
        buf_format(&b, "%d\n", i % 2 ? -i : i);
    }
    buf_reset(&groups);
    diff_text(buf_all(&a), buf_all(&b), &arena, &groups);
    EXPECT(span_starts(buf_all(&groups), SPAN("@@ -1,400 +1,400 @@\n 0\n-1\n-2\n")));
    buf_close(&a);
    buf_close(&b);
    buf_close(&groups);
    buf_close(&back);
    EXPECT(all_back());
}
