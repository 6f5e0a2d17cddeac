#include "base/test.h"
#include "wire/http1/drive.h"

static const struct http1_limits small = { .head_bytes_max = 256,
                                           .headers_max = 6,
                                           .body_bytes_max = 32 };

/* ---- requests: what a table's bytes give, however they are cut ---- */

struct row {
    const char *in, *out; /* out as drive writes it */
};

static bool same(struct alloc *heap, struct span in, const char *want, size_t piece, uint64_t seed)
{
    struct buf out;
    buf_open(&out, heap);
    drive(heap, &small, in, piece, seed, &out);
    bool ok = span_is(buf_all(&out), want);
    if (!ok)
        printf("[%.*s]\n in pieces of %zu (seed %llu) gave\n[%.*s], not\n[%s]\n", (int)in.len,
               (const char *)in.data, piece, (unsigned long long)seed, (int)out.len,
               (const char *)out.data, want);
    buf_close(&out);
    return ok;
}

/* Whole, a byte at a time, in two pieces cut everywhere, and in random pieces. */
static bool gives(struct span in, const char *want)
{
    struct alloc heap;
    alloc_heap(&heap);
    for (size_t piece = 1; piece <= in.len + 1; piece++)
        if (!same(&heap, in, want, piece, 0))
            return false;
    for (uint64_t seed = 0; seed < 8; seed++)
        if (!same(&heap, in, want, 0, seed))
            return false;
    return heap.used == 0;
}

static bool all_give(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!gives(span_text(rows[i].in), rows[i].out))
            return false;
    return true;
}

#define ALL_GIVE(rows) EXPECT(all_give(rows, sizeof(rows) / sizeof((rows)[0])))

TEST(http1_requests)
{
    static const struct row rows[] = {
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /? x|host=x| keep\n" },
        { "GET /a?b=c HTTP/1.1\r\nhost:x\r\n\r\n", "GET /a?b=c x|host=x| keep\n" },
        { "G-E+T /%00 HTTP/1.1\r\nHOST: \t x:1 \t\r\nA:\r\n\r\n",
          "G-E+T /%00? x:1|host=x:1|a=| keep\n" },
        { "GET / HTTP/1.1\r\nHost:\r\nx: a, b\tc\x80\xff\r\n\r\n",
          "GET /? |host=|x=a, b\tc\x80\xff| keep\n" },
        { "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
          "PUT /? x|host=x|content-length=3|abc keep\n" },
        { "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 03\r\n\r\nabc",
          "PUT /? x|host=x|content-length=3|content-length=03|abc keep\n" },
        { "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
          "PUT /? x|host=x|content-length=0| keep\n" },
        { "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 32\r\n\r\n0123456789abcdef0123456789abcdef",
          "PUT /? x|host=x|content-length=32|0123456789abcdef0123456789abcdef keep\n" },
        { "GET / HTTP/1.1\r\nHost: [::1]:2379\r\n\r\n",
          "GET /? [::1]:2379|host=[::1]:2379| keep\n" },
        { "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /? x|host=x| keep\n" },
        { "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
          "GET /? x|host=x| keep\nGET /2? x|host=x| keep\n" },
        { "", "" },
        { "\r\n", "" },
        { "\r", "..." },
        { "GET / HTTP/1.1\r\nHost: x\r\n", "..." },
        { "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", "..." },
    };
    ALL_GIVE(rows);
}

TEST(http1_targets)
{
    static const struct row rows[] = {
        { "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS *? x|host=x| keep\n" },
        { "GET * HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET http://y/a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b y|host=x| keep\n" },
        { "GET HTTPS://y:1?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?b y:1|host=x| keep\n" },
        { "GET http://y HTTP/1.1\r\nHost: x\r\n\r\n", "GET /? y|host=x| keep\n" },
        { "GET http://y/ HTTP/1.1\r\n\r\n", "!400" },
        { "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET http:/y HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET http://a@y/ HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET ftp://y/ HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "CONNECT y:1 HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET a HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET ?a HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET /\t HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
    };
    ALL_GIVE(rows);
}

TEST(http1_request_lines_refused)
{
    static const struct row rows[] = {
        { "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET\r\n\r\n", "!400" },
        { "GET /\r\n\r\n", "!400" },
        { "GET / \r\n\r\n", "!400" },
        { " GET / HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "!400" },
        { "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / a HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "G\xc3T / HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / http/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1.x\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/11.\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1,1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/01.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1.2\r\nHost: x\r\n\r\n", "!505" },
        { "GET / HTTP/0.9\r\nHost: x\r\n\r\n", "!505" },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!505" },
        { "GET / HTTP/1.1\n\n", "!400" },
        { "GET / HTTP/1.1\nHost: x\n\n", "!400" },
        { "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", "!400" },
        { "GET /\rHTTP/1.1\r\nHost: x\r\n\r\n", "!400" },
        { "\x16\x03\x01\x02 TLS\r\n", "..." },
    };
    ALL_GIVE(rows);
    EXPECT(gives(span_of("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 29), "!400"));
    EXPECT(gives(span_of("G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 28), "!400"));
}

TEST(http1_headers_refused)
{
    static const struct row rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", "!400" },                       /* no host */
        { "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "!400" }, /* two */
        { "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\xc3\xa9\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "!400" }, /* space */
        { "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA\t: b\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\n A: b\r\n\r\n", "!400" }, /* folded */
        { "GET / HTTP/1.1\r\n A: b\r\nHost: x\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", "!400" }, /* names */
        { "GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA(b: c\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA\xc3\xa9: c\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n", "!400" }, /* values */
        { "GET / HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "!400" }, /* line ends */
        { "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\n\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\n\r\n", "!400" },
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n", "!400" },
    };
    ALL_GIVE(rows);
    EXPECT(gives(span_of("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 36), "!400"));
    EXPECT(gives(span_of("GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n", 35), "!400"));
}

/* Each has, behind what is wrong, a request that some other reader would see. */
#define POST "POST / HTTP/1.1\r\nHost: x\r\n"
#define BEHIND "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

TEST(http1_smuggling_refused)
{
    static const struct row rows[] = {
        { POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 0\r\nContent-Length: 36\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 0, 0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 0 0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: +0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: -0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 0x0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 0.0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 1e1\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length:\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: \"0\"\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length : 0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length\t: 0\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 0\x0b\r\n\r\n" BEHIND, "!400" },
        { POST "Content-Length: 18446744073709551616\r\n\r\n" BEHIND, "!413" },
        { POST "Content-Length: 18446744073709551615\r\n\r\n" BEHIND, "!413" },
        { POST "Content-Length: 99999999999999999999999\r\n\r\n" BEHIND, "!413" },
        { POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: identity\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding:\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "!501" },
        { POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", "!501" },
        { POST "Transfer-Encoding: x\r\nContent-Length: 0\r\n\r\n" BEHIND, "!501" },
        { POST "Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { POST "\r\x20Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND, "!400" },
        { "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND,
          "!400" },
        /* These are clear, and what is behind is a request of its own. */
        { POST "\r\n" BEHIND, "POST /? x|host=x| keep\nGET /smuggled? x|host=x| keep\n" },
        { POST "Content_Length: 40\r\n\r\n" BEHIND,
          "POST /? x|host=x|content_length=40| keep\nGET /smuggled? x|host=x| keep\n" },
    };
    ALL_GIVE(rows);
}

#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define NOTED "POST /? x|host=x|transfer-encoding=chunked|"

TEST(http1_chunks)
{
    static const struct row rows[] = {
        { CHUNKED "0\r\n\r\n", NOTED " keep\n" },
        { CHUNKED "3\r\nabc\r\n0\r\n\r\n", NOTED "abc keep\n" },
        { CHUNKED "1\r\na\r\n2\r\n\r\n\r\n0\r\n\r\n", NOTED "a\r\n keep\n" },
        { CHUNKED "a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n",
          NOTED "01234567890123456789 keep\n" },
        { CHUNKED "1;a;b=\"c\"\r\nx\r\n0;d\r\n\r\n", NOTED "x keep\n" },
        { CHUNKED "1\r\nx\r\n0\r\nA: b\r\nContent-Length: 9\r\n\r\n", NOTED "x keep\n" },
        { CHUNKED "0\r\n\r\n" BEHIND, NOTED " keep\nGET /smuggled? x|host=x| keep\n" },
        { POST "transfer-encoding:CHUNKED\r\n\r\n0\r\n\r\n",
          "POST /? x|host=x|transfer-encoding=CHUNKED| keep\n" },
        { CHUNKED "20\r\n0123456789abcdef0123456789abcdef\r\n0\r\n\r\n",
          NOTED "0123456789abcdef0123456789abcdef keep\n" },
        { CHUNKED "0\r\n", "..." },
        { CHUNKED "3\r\nabc", "..." },
    };
    ALL_GIVE(rows);
}

TEST(http1_chunks_refused)
{
    static const struct row rows[] = {
        { CHUNKED "\r\n", "!400" },
        { CHUNKED "g\r\n", "!400" },
        { CHUNKED "-1\r\n", "!400" },
        { CHUNKED "+1\r\nx\r\n", "!400" },
        { CHUNKED "0x1\r\nx\r\n", "!400" },
        { CHUNKED " 1\r\nx\r\n", "!400" },
        { CHUNKED "1 \r\nx\r\n", "!400" },
        { CHUNKED "1 ;a\r\nx\r\n", "!400" },
        { CHUNKED "1,1\r\nx\r\n", "!400" },
        { CHUNKED ";a\r\n", "!400" },
        { CHUNKED "1\nx\r\n", "!400" },
        { CHUNKED "1\r\r\nx\r\n", "!400" },
        { CHUNKED "1;a\nb\r\nx\r\n", "!400" },
        { CHUNKED "1;a\rb\r\nx\r\n", "!400" },
        { CHUNKED "1;a\x01\r\nx\r\n", "!400" },
        { CHUNKED "1\r\nxy\r\n", "!400" },
        { CHUNKED "1\r\nxyz0\r\n\r\n", "!400" },
        { CHUNKED "1\r\nx\n\n0\r\n\r\n", "!400" },
        { CHUNKED "1\r\nx\r\r0\r\n\r\n", "!400" },
        { CHUNKED "1\r\nx\n0\r\n\r\n", "!400" },
        { CHUNKED "1\r\nx\r0\r\n\r\n", "!400" },
        { CHUNKED "2\r\nx\r\n0\r\n\r\n", "!400" },
        { CHUNKED "21\r\n", "!413" },
        { CHUNKED "20\r\n0123456789abcdef0123456789abcdef\r\n1\r\n", "!413" },
        { CHUNKED "fffffffffffffff\r\n", "!413" },
        { CHUNKED "ffffffffffffffff\r\n", "!400" },
        { CHUNKED "10000000000000000\r\n", "!400" },
        { CHUNKED "0000000000000000\r\n", "!400" },
        { CHUNKED "0\r\nno colon\r\n\r\n", "!400" },
        { CHUNKED "0\r\nA : b\r\n\r\n", "!400" },
        { CHUNKED "0\r\n A: b\r\n\r\n", "!400" },
        { CHUNKED "0\r\nA: b\n\r\n", "!400" },
        { CHUNKED "0\r\n\n", "!400" },
        { CHUNKED "0\r\n" BEHIND, "!400" }, /* a trailer that is none */
    };
    ALL_GIVE(rows);
}

TEST(http1_keeps_alive_or_closes)
{
    static const struct row rows[] = {
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" BEHIND,
          "GET /? x|host=x|connection=close| close\n" },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE ,b\r\n\r\n" BEHIND,
          "GET /? x|host=x|connection=a, CLOSE ,b| close\n" },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
          "GET /? x|host=x|connection=keep-alive|connection=close| close\n" },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n",
          "GET /? x|host=x|connection=closed| keep\n" },
        { "GET / HTTP/1.0\r\n\r\n", "GET /? | close\n" },
        { "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "GET /? x|host=x| close\n" },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
          "GET /? |connection=Keep-Alive| keep\n" },
        { "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
          "GET /? |connection=keep-alive, close| close\n" },
        { "GET / HTTP/1.0\r\nUpgrade: websocket\r\nA: b\r\nUpgrade: y\r\n\r\n",
          "GET /? |a=b| close\n" },
    };
    ALL_GIVE(rows);
}

/* ---- limits ---- */

/* A head of exactly size bytes: a request line of line bytes, then one long header. */
static void head_of(struct buf *b, size_t line, size_t size)
{
    buf_reset(b);
    buf_text(b, "GET /");
    while (b->len < line - 11)
        buf_u8(b, 'a');
    buf_text(b, " HTTP/1.1\r\n");
    if (line == size)
        return;
    buf_text(b, "Host: x\r\nA: ");
    while (b->len < size - 4)
        buf_u8(b, 'b');
    buf_text(b, "\r\n\r\n");
}

static bool ends(struct span s, const char *tail)
{
    size_t n = strlen(tail);
    return s.len >= n && span_is(span_from(s, s.len - n), tail);
}

static bool gives_end(struct buf *in, const char *tail)
{
    struct alloc heap;
    struct buf out;
    bool ok = true;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    for (size_t piece = 0; piece <= in->len + 1; piece++) {
        buf_reset(&out);
        drive(&heap, &small, buf_all(in), piece, 7, &out);
        ok = ok && ends(buf_all(&out), tail);
    }
    buf_close(&out);
    return ok && heap.used == 0;
}

TEST(http1_head_limits)
{
    struct alloc heap;
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    head_of(&b, 20, 256);
    EXPECT(b.len == 256 && gives_end(&b, " keep\n"));
    head_of(&b, 20, 257);
    EXPECT(gives_end(&b, "!431"));
    head_of(&b, 256, 256);
    EXPECT(b.len == 256 && gives_end(&b, "..."));
    head_of(&b, 257, 257);
    EXPECT(gives_end(&b, "!414"));
    buf_reset(&b);
    buf_text(&b, "GET / HTTP/1.1\r\nHost: x\r\n1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n\r\n");
    EXPECT(gives_end(&b, " keep\n"));
    b.len -= 2;
    buf_text(&b, "6:\r\n\r\n");
    EXPECT(gives_end(&b, "!431"));
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(http1_body_limits)
{
    static const struct row rows[] = {
        { POST "Content-Length: 32\r\n\r\n", "..." },
        { POST "Content-Length: 33\r\n\r\n", "!413" },
        { POST "Content-Length: 33\r\nExpect: 100-continue\r\n\r\n", "!413" },
        { CHUNKED "20\r\n", "..." },
        { CHUNKED "21\r\n", "!413" },
    };
    ALL_GIVE(rows);
}

TEST(http1_chunk_extension_and_trailer_limits)
{
    struct alloc heap;
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    for (size_t extra = 254; extra <= 255; extra++) { /* a size, extensions, CRLF: 256 together */
        buf_reset(&b);
        buf_text(&b, CHUNKED "1");
        for (size_t i = 0; i + 1 < extra; i++)
            buf_u8(&b, ';');
        buf_text(&b, "\r\nx\r\n0\r\n\r\n");
        EXPECT(gives_end(&b, extra == 254 ? "x keep\n" : "!400"));
    }
    buf_reset(&b);
    buf_text(&b, CHUNKED);
    for (int i = 0; i < 26; i++) /* 10 bytes of extension each, 256 in all */
        buf_text(&b, "1;123456789\r\nx\r\n");
    EXPECT(gives_end(&b, "!400"));
    for (int lines = 31; lines <= 32; lines++) { /* 8 bytes a trailer, and the last CRLF */
        buf_reset(&b);
        buf_text(&b, CHUNKED "0\r\n");
        for (int i = 0; i < lines; i++)
            buf_text(&b, "A: bcd\r\n");
        buf_text(&b, "\r\n");
        EXPECT(gives_end(&b, lines == 31 ? " keep\n" : "!431"));
    }
    buf_close(&b);
    EXPECT(heap.used == 0);
}

/* Whatever comes, a connection holds no more than its limits say. */
TEST(http1_memory_is_bounded)
{
    static const char *const endless[] = {
        "", "GET /", "GET / HTTP/1.1\r\nHost: x\r\nA: ", CHUNKED, CHUNKED "1;", CHUNKED "0\r\nA: "
    };
    for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
        struct alloc heap;
        size_t used;
        alloc_heap(&heap);
        struct http1 *h = http1_open(&heap, &small);
        enum err e = http1_feed(h, span_text(endless[i]), &used);
        for (int n = 0; n < 1000 && e == ERR_OK; n++)
            e = http1_feed(h, SPAN("aaaaaaaaaaaaaaaaa"), &used);
        EXPECT(e != ERR_OK && heap.used < 4096);
        http1_close(h);
        EXPECT(heap.used == 0);
    }
}

/* ---- one connection ---- */

struct fixture {
    struct alloc heap;
    struct http1 *h;
    struct buf out;
};

static void set_up(struct fixture *f)
{
    alloc_heap(&f->heap);
    f->h = http1_open(&f->heap, &small);
    buf_open(&f->out, &f->heap);
}

static bool tear_down(struct fixture *f)
{
    http1_close(f->h);
    buf_close(&f->out);
    return f->heap.used == 0;
}

/* Feeds all of it; what is left over must be this much. */
static bool feed(struct fixture *f, const char *text, size_t left)
{
    size_t used;
    struct span in = span_text(text);
    return http1_feed(f->h, in, &used) == ERR_OK && in.len - used == left;
}

TEST(http1_pipelined_requests_wait)
{
    struct fixture f;
    struct http_request r;
    set_up(&f);
    EXPECT(http1_idle(f.h));
    EXPECT(feed(&f, POST "Content-Length: 2\r\n\r\nabGET", 3));
    EXPECT(http1_request(f.h, &r) && span_is(r.body, "ab") && !http1_idle(f.h));
    EXPECT(feed(&f, "GET", 3));
    EXPECT(http1_request(f.h, &r) && span_is(r.body, "ab"));
    http1_next(f.h);
    EXPECT(http1_idle(f.h) && !http1_request(f.h, &r) && !http1_keep_alive(f.h));
    EXPECT(feed(&f, "GET", 0));
    EXPECT(!http1_idle(f.h) && !http1_request(f.h, &r));
    EXPECT(feed(&f, " /2 HTTP/1.1\r\nHost: x\r\n\r\n", 0));
    EXPECT(http1_request(f.h, &r) && span_is(r.path, "/2") && r.body.len == 0);
    EXPECT(r.header_count == 1);
    EXPECT(tear_down(&f));
}

TEST(http1_expect_continue)
{
    static const struct {
        const char *head;
        bool wants;
    } table[] = {
        { POST "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\n", true },
        { POST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", true },
        { POST "Content-Length: 2\r\nExpect: 100-continue\r\n", false },
        { POST "Content-Length: 2\r\n\r\n", false },
        { POST "Content-Length: 2\r\nExpect: 200-ok\r\n\r\n", false },
        { POST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n", false },
        { POST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\nab", false },
        { "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct fixture f;
        set_up(&f);
        EXPECT(!http1_wants_continue(f.h));
        EXPECT(feed(&f, table[i].head, 0));
        EXPECT(http1_wants_continue(f.h) == table[i].wants);
        EXPECT(!http1_wants_continue(f.h));
        EXPECT(tear_down(&f));
    }
}

/* ---- answers ---- */

static const struct http_header answer_headers[] = { { SPAN("content-type"), SPAN("text/plain") } };

TEST(http1_respond_whole)
{
    static const struct {
        const char *request;
        int status;
        const char *body;
        bool keep;
        const char *answer;
    } table[] = {
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200, "hello", true,
          "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello" },
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", false,
          "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\nconnection: close\r\n"
          "content-length: 0\r\n\r\n" },
        { "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200, "hello", true,
          "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n" },
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 304, "", true,
          "HTTP/1.1 304 Not Modified\r\ncontent-type: text/plain\r\n\r\n" },
        { "PUT / HTTP/1.1\r\nHost: x\r\n\r\n", 204, "", true,
          "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\n" },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "x", true,
          "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: keep-alive\r\n"
          "content-length: 1\r\n\r\nx" },
        { "GET / HTTP/1.1\r\nHost: x\r\nA", 408, "x", false, /* late: not whole */
          "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\nconnection: close\r\n"
          "content-length: 1\r\n\r\nx" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct fixture f;
        set_up(&f);
        EXPECT(feed(&f, table[i].request, 0));
        http1_respond(f.h, table[i].status, answer_headers, 1, span_text(table[i].body),
                      table[i].keep, &f.out);
        EXPECT(span_is(buf_all(&f.out), table[i].answer));
        EXPECT(tear_down(&f));
    }
}

TEST(http1_respond_to_what_is_broken)
{
    struct fixture f;
    size_t used;
    set_up(&f);
    EXPECT(http1_feed(f.h, SPAN("GET / HTTP/3.0\r\n\r\n"), &used) == ERR_HTTP_VERSION);
    http1_respond(f.h, 505, NULL, 0, SPAN("no"), false, &f.out);
    EXPECT(span_is(buf_all(&f.out), "HTTP/1.1 505 HTTP Version Not Supported\r\n"
                                    "connection: close\r\ncontent-length: 2\r\n\r\nno"));
    EXPECT(tear_down(&f));
}

TEST(http1_respond_in_pieces)
{
    struct fixture f;
    set_up(&f);
    EXPECT(!http1_can_stream(f.h));
    EXPECT(feed(&f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0));
    EXPECT(http1_can_stream(f.h));
    http1_begin(f.h, 200, answer_headers, 1, &f.out);
    http1_chunk(SPAN("0123456789abcdef"), &f.out);
    http1_chunk(SPAN_NONE, &f.out);
    http1_chunk(SPAN("x"), &f.out);
    http1_end(&f.out);
    EXPECT(span_is(buf_all(&f.out),
                   "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n"
                   "transfer-encoding: chunked\r\n\r\n"
                   "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n"));
    EXPECT(tear_down(&f));
    set_up(&f);
    EXPECT(feed(&f, "GET / HTTP/1.0\r\n\r\n", 0) && !http1_can_stream(f.h));
    EXPECT(tear_down(&f));
    set_up(&f);
    EXPECT(feed(&f, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 0) && !http1_can_stream(f.h));
    EXPECT(tear_down(&f));
}

/* Random requests, written down as the driver would, many on one connection. */
TEST(http1_random_requests_come_out_as_they_went_in)
{
    struct alloc heap;
    struct buf in, want;
    struct prng prng = { 11 };
    alloc_heap(&heap);
    buf_open(&in, &heap);
    buf_open(&want, &heap);
    for (int i = 0; i < 300; i++) {
        size_t body = (size_t)prng_below(&prng, 33), given = 0;
        bool chunked = prng_below(&prng, 2);
        buf_format(&in, "POST /%d?%d HTTP/1.1\r\nHost: h%d\r\n", i, i, i);
        buf_format(&want, "POST /%d?%d h%d|host=h%d|", i, i, i, i);
        if (chunked) {
            buf_text(&in, "Transfer-Encoding: chunked\r\n\r\n");
            buf_text(&want, "transfer-encoding=chunked|");
        } else {
            buf_format(&in, "Content-Length: %zu\r\n\r\n", body);
            buf_format(&want, "content-length=%zu|", body);
        }
        while (given < body) {
            size_t n = 1 + (size_t)prng_below(&prng, body - given);
            char text[40];
            for (size_t k = 0; k < n; k++)
                text[k] = "\r\n0:; aZ"[prng_below(&prng, 8)];
            if (chunked)
                http1_chunk(span_of(text, n), &in);
            else
                buf_put(&in, text, n);
            buf_put(&want, text, n);
            given += n;
        }
        if (chunked)
            http1_end(&in);
        buf_text(&want, " keep\n");
    }
    buf_u8(&want, 0); /* a C text */
    for (size_t piece = 0; piece < 64; piece += 7)
        EXPECT(same(&heap, buf_all(&in), (const char *)want.data, piece, piece));
    EXPECT(same(&heap, buf_all(&in), (const char *)want.data, in.len, 0));
    buf_close(&in);
    buf_close(&want);
    EXPECT(heap.used == 0);
}
