#include "wire/dotenv/dotenv.h"
#include "base/test.h"

static struct alloc heap;
static struct buf told;

static void tell(void *context, struct span name, struct span value)
{
    struct buf *b = context;
    buf_u8(b, '[');
    buf_span(b, name);
    buf_u8(b, '|');
    buf_span(b, value);
    buf_u8(b, ']');
}

/* line: where it goes wrong; 0: it does not. */
static bool is(const char *text, const char *expected, size_t line)
{
    struct buf scratch;
    size_t at;
    alloc_heap(&heap);
    buf_open(&told, &heap);
    buf_open(&scratch, &heap);
    enum err e = dotenv_read(span_text(text), &scratch, tell, &told, &at);
    bool ok = span_is(buf_all(&told), expected) && (e == ERR_OK) == (line == 0) &&
              (!line || at == line);
    buf_close(&told);
    buf_close(&scratch);
    return ok && heap.used == 0;
}

TEST(dotenv_lines)
{
    EXPECT(is("", "", 0) && is("\n\n# a\n  # b", "", 0));
    EXPECT(is("A=1\nB = two words  # why\r\nexport C=\n", "[A|1][B|two words][C|]", 0));
    EXPECT(is("a.b-c=#x\nD=a#b\nE='a # b' # c\n", "[a.b-c|][D|a#b][E|a # b]", 0));
    EXPECT(is("A=\"x\\n\\t\\\"\\\\\\$y\"", "[A|x\n\t\"\\$y]", 0));
    EXPECT(is("A='x\\n\ny'\nB=2", "[A|x\\n\ny][B|2]", 0));
    EXPECT(is("A=$B", "[A|$B]", 0));
}

TEST(dotenv_refusals)
{
    EXPECT(is("A=1\nB\n", "[A|1]", 2) && is("=1", "", 1) && is("A B=1", "", 1));
    EXPECT(is("A='x\ny'\nB='", "[A|x\ny]", 3) && is("A=\"\\q\"", "", 1));
    EXPECT(is("A='x' y", "", 1) && is("A=\"x\\", "", 1));
}
