#include "wire/http2/http2.h"
#include <string.h>
#include "base/check.h"
#include "base/test.h"

enum { DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, PRIORITIZED = 0x20 };

/* A server, what it heard, and the frames that it sent. */
struct drive {
    struct alloc heap;
    struct h2 *h2;
    struct buf in, out;
    struct h2_stream *streams[32]; /* by their number; NULL: closed */
    int requests, ends, closes;
    uint32_t close_code;
    size_t data_bytes;
    struct buf said; /* of the newest request: names and values */
};

static void on_request(void *context, struct h2_stream *s, const struct http_request *r)
{
    struct drive *d = context;
    if (d->requests < 32)
        d->streams[d->requests] = s;
    d->requests++;
    h2_stream_set_user(s, (void *)(intptr_t)d->requests);
    buf_reset(&d->said);
    buf_span(&d->said, r->method);
    buf_span(&d->said, r->path);
    for (size_t i = 0; i < r->header_count; i++) {
        buf_u8(&d->said, ' ');
        buf_span(&d->said, r->headers[i].name);
        buf_u8(&d->said, '=');
        buf_span(&d->said, r->headers[i].value);
    }
}

static void on_data(void *context, struct h2_stream *s, struct span data)
{
    struct drive *d = context;
    (void)s;
    d->data_bytes += data.len;
}

static void on_end(void *context, struct h2_stream *s)
{
    struct drive *d = context;
    (void)s;
    d->ends++;
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    struct drive *d = context;
    size_t number = (size_t)(intptr_t)h2_stream_user(s);
    if (number <= 32)
        d->streams[number - 1] = NULL;
    d->closes++;
    d->close_code = code;
}

static const struct h2_events events = {
    .on_request = on_request, .on_data = on_data, .on_end = on_end, .on_close = on_close
};

static void put_frame(struct drive *d, int type, int flags, uint32_t id, struct span payload)
{
    uint8_t head[9] = { (uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8),
                        (uint8_t)payload.len,         (uint8_t)type,
                        (uint8_t)flags,               (uint8_t)(id >> 24),
                        (uint8_t)(id >> 16),          (uint8_t)(id >> 8),
                        (uint8_t)id };
    buf_put(&d->in, head, 9);
    buf_span(&d->in, payload);
}

static enum err feed(struct drive *d)
{
    enum err e = h2_feed(d->h2, buf_all(&d->in));
    buf_reset(&d->in);
    return e;
}

static enum err say(struct drive *d, int type, int flags, uint32_t id, struct span payload)
{
    put_frame(d, type, flags, id, payload);
    return feed(d);
}

static enum err say_u32(struct drive *d, int type, uint32_t id, uint32_t v)
{
    uint8_t p[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    return say(d, type, 0, id, span_of(p, 4));
}

static enum err say_setting(struct drive *d, uint8_t id, uint32_t v)
{
    uint8_t p[6] = { 0, id, (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    return say(d, SETTINGS, 0, 0, span_of(p, 6));
}

static void drive_open_as(struct drive *d, bool any_authority)
{
    struct h2_limits limits;
    memset(d, 0, sizeof(*d));
    alloc_heap(&d->heap);
    h2_limits_default(&limits);
    limits.streams_max = 20;
    limits.any_authority = any_authority;
    limits.stream_window = limits.connection_window = 70000;
    d->h2 = h2_open(&d->heap, H2_SERVER, &limits, &events, d);
    buf_open(&d->in, &d->heap);
    buf_open(&d->out, &d->heap);
    buf_open(&d->said, &d->heap);
    buf_text(&d->in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    EXPECT(say(d, SETTINGS, 0, 0, SPAN_NONE) == ERR_OK);
    h2_output(d->h2, &d->out, SIZE_MAX);
    buf_reset(&d->out);
}

static void drive_open(struct drive *d)
{
    drive_open_as(d, false);
}

static bool drive_close(struct drive *d)
{
    h2_close(d->h2);
    buf_close(&d->in);
    buf_close(&d->out);
    buf_close(&d->said);
    return d->heap.used == 0 && d->closes == d->requests;
}

struct frame {
    int type, flags;
    uint32_t id;
    struct span payload;
};

/* What the server sends, up to max bytes; then frame by frame. */
static bool heard(struct drive *d, size_t max)
{
    buf_reset(&d->out);
    h2_output(d->h2, &d->out, max);
    return d->out.len > 0;
}

static struct frame next(struct drive *d, struct span *at)
{
    struct span head;
    struct frame f = { .type = -1 };
    (void)d;
    if (!span_take(at, 9, &head))
        return f;
    const uint8_t *p = head.data;
    f.type = p[3];
    f.flags = p[4];
    f.id = (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
    CHECK(span_take(at, (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2], &f.payload));
    return f;
}

/* The first frame of that type; .type is -1 when there is none. */
static struct frame find(struct drive *d, int type)
{
    struct span at = buf_all(&d->out);
    struct frame f;
    do
        f = next(d, &at);
    while (f.type >= 0 && f.type != type);
    return f;
}

static uint32_t code_of(struct frame f)
{
    return f.type < 0 ? 99 : f.payload.data[f.payload.len - 1];
}

/* :method POST, :scheme http, :path /, :authority "h" as literals or by number of table A. */
#define BLOCK "\x83\x86\x84\x01\x01h"

static const struct http_header ok[] = { { SPAN(":status"), SPAN("200") } };
static const struct http_header status[] = { { SPAN("grpc-status"), SPAN("0") } };

TEST(http2_answers_a_request)
{
    struct drive d;
    drive_open(&d);
    EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN(BLOCK "\x00\x01" "a" "\x02" "bc")) == ERR_OK);
    EXPECT(d.requests == 1 && span_is(buf_all(&d.said), "POST/ a=bc"));
    EXPECT(say(&d, DATA, END_STREAM | PADDED, 1, SPAN("\x02hello\0\0")) == ERR_OK);
    EXPECT(d.data_bytes == 5 && d.ends == 1 && d.closes == 0);
    h2_respond(d.streams[0], ok, 1, false);
    h2_write(d.streams[0], SPAN("well"), false);
    h2_trailers(d.streams[0], status, 1);
    EXPECT(h2_wants_write(d.h2) && heard(&d, SIZE_MAX) && !h2_wants_write(d.h2));
    struct span at = buf_all(&d.out);
    struct frame f = next(&d, &at);
    EXPECT(f.type == HEADERS && f.flags == END_HEADERS && span_is(f.payload, "\x88"));
    f = next(&d, &at);
    EXPECT(f.type == DATA && f.flags == 0 && span_is(f.payload, "well"));
    f = next(&d, &at);
    EXPECT(f.type == HEADERS && f.flags == (END_HEADERS | END_STREAM) && f.id == 1);
    EXPECT(span_is(f.payload, "\x40\x0bgrpc-status\x01" "0")); /* into the table */
    EXPECT(at.len == 0 && d.closes == 1 && d.close_code == 0 && h2_streams(d.h2) == 0);
    EXPECT(drive_close(&d));
}

TEST(http2_frames_may_come_in_any_pieces)
{
    for (size_t step = 1; step < 40; step++) {
        struct drive d;
        drive_open(&d);
        put_frame(&d, HEADERS, 0, 1, SPAN("\x83\x86"));
        put_frame(&d, CONTINUATION, 0, 1, SPAN("\x84"));
        put_frame(&d, CONTINUATION, END_HEADERS, 1, SPAN("\x01\x01h"));
        put_frame(&d, 77, 3, 9, SPAN("an extension"));
        put_frame(&d, DATA, END_STREAM, 1, SPAN("0123456789012345678901234567890123456789"));
        for (size_t i = 0; i < d.in.len; i += step) {
            size_t n = d.in.len - i < step ? d.in.len - i : step;
            EXPECT(h2_feed(d.h2, span_of(d.in.data + i, n)) == ERR_OK);
        }
        EXPECT(d.requests == 1 && d.data_bytes == 40 && d.ends == 1);
        EXPECT(drive_close(&d));
    }
}

/* What came once without changing the table is not read again; once the table has changed, the
 * same bytes are read again, for they may mean something else. */
TEST(http2_blocks_that_come_again)
{
    struct drive d;
    drive_open(&d);
    uint32_t id = 1;
    for (int i = 0; i < 3; i++, id += 2)
        EXPECT(say(&d, HEADERS, END_HEADERS, id, SPAN(BLOCK)) == ERR_OK);
    for (int i = 0; i < 2; i++) {
        struct span insert = i ? SPAN(BLOCK "\x40\x01" "c" "\x01" "d")
                               : SPAN(BLOCK "\x40\x01" "a" "\x01" "b");
        EXPECT(say(&d, HEADERS, END_HEADERS, id, insert) == ERR_OK);
        EXPECT(span_is(buf_all(&d.said), i ? "POST/ c=d" : "POST/ a=b"));
        for (int k = 0; k < 3; k++) {
            id += 2;
            EXPECT(say(&d, HEADERS, END_HEADERS, id, SPAN(BLOCK "\xbe")) == ERR_OK);
            EXPECT(span_is(buf_all(&d.said), i ? "POST/ c=d" : "POST/ a=b"));
        }
        id += 2;
    }
    EXPECT(d.requests == 11 && drive_close(&d));
}

TEST(http2_heads_that_are_malformed)
{
    static const struct {
        struct span block;
    } bad[] = {
        { SPAN("") },
        { SPAN("\x86\x84\x01\x01h") },                       /* no method */
        { SPAN("\x83\x84\x01\x01h") },                       /* no scheme */
        { SPAN("\x83\x86\x01\x01h") },                       /* no path */
        { SPAN("\x83\x86\x84") },                            /* nobody is called */
        { SPAN(BLOCK "\x83") },                              /* the method twice */
        { SPAN(BLOCK "\x88") },                              /* a status */
        { SPAN(BLOCK "\x00\x01" "A" "\x01" "b") },           /* upper case */
        { SPAN(BLOCK "\x00\x01" "a" "\x01" "\n") },          /* a line's end */
        { SPAN(BLOCK "\x00\x00\x01" "b") },                  /* no name */
        { SPAN(BLOCK "\x00\x01" "a" "\x01" "b" "\x84") },    /* pseudo behind others */
        { SPAN(BLOCK "\x00\x02" "te" "\x04" "gzip") },       /* of connections */
        { SPAN(BLOCK "\x00\x0a" "connection" "\x05" "close") },
        { SPAN(BLOCK "\x0f\x0d\x02" "-1") },                 /* content-length */
        { SPAN(BLOCK "\x0f\x0d\x01" "1" "\x0f\x0d\x01" "1") },
        { SPAN("\x83\x86\x04\x02" "xy" "\x01\x01h") },       /* a path without '/' */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct drive d;
        drive_open(&d);
        EXPECT(say(&d, HEADERS, END_HEADERS, 1, bad[i].block) == ERR_OK);
        EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, RESET)) == 1 && d.requests == 0);
        EXPECT(say(&d, HEADERS, END_HEADERS, 3, SPAN(BLOCK)) == ERR_OK && d.requests == 1);
        EXPECT(drive_close(&d));
    }
}

TEST(http2_an_authority_that_is_no_host)
{
    for (int any = 0; any < 2; any++) {
        struct drive d;
        drive_open_as(&d, any);
        EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN("\x83\x86\x84\x01\x02/s")) == ERR_OK);
        EXPECT(d.requests == any);
        EXPECT(say(&d, HEADERS, END_HEADERS, 3, SPAN("\x83\x86\x84\x01\x02/\n")) == ERR_OK);
        EXPECT(d.requests == any);
        EXPECT(drive_close(&d));
    }
}

TEST(http2_bodies_are_as_long_as_they_said)
{
    static const struct {
        struct span first, second;
        bool good;
    } table[] = { { SPAN("abc"), SPAN("de"), true },
                  { SPAN("abc"), SPAN("d"), false },
                  { SPAN("abc"), SPAN("def"), false },
                  { SPAN("abcdef"), SPAN(""), false } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct drive d;
        drive_open(&d);
        EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN(BLOCK "\x0f\x0d\x01" "5")) == ERR_OK);
        EXPECT(say(&d, DATA, 0, 1, table[i].first) == ERR_OK);
        EXPECT(say(&d, DATA, END_STREAM, 1, table[i].second) == ERR_OK);
        EXPECT(d.ends == table[i].good && d.closes == !table[i].good);
        EXPECT(drive_close(&d));
    }
}

TEST(http2_connections_that_fail)
{
    static const struct {
        int type, flags;
        uint32_t id;
        struct span payload;
        uint32_t code;
    } table[] = {
        { DATA, 0, 0, SPAN("x"), 1 },
        { DATA, 0, 3, SPAN("x"), 1 },
        { DATA, PADDED, 1, SPAN("\x05" "abc"), 1 },
        { HEADERS, END_HEADERS, 0, SPAN(BLOCK), 1 },
        { HEADERS, END_HEADERS, 2, SPAN(BLOCK), 1 },
        { HEADERS, END_HEADERS | PRIORITIZED, 3, SPAN("\0\0\0\0"), 1 },
        { HEADERS, END_HEADERS, 3, SPAN("\x80"), 9 },
        { HEADERS, END_HEADERS, 3, SPAN("\x00\x05" "a"), 9 },
        { PRIORITY, 0, 1, SPAN("1234"), 6 },
        { RESET, 0, 1, SPAN("123"), 6 },
        { RESET, 0, 3, SPAN("1234"), 1 },
        { SETTINGS, 0, 1, SPAN(""), 1 },
        { SETTINGS, ACK, 0, SPAN("123456"), 6 },
        { SETTINGS, 0, 0, SPAN("\0\4\xff\xff\xff\xff"), 3 },
        { SETTINGS, 0, 0, SPAN("\0\5\0\0\0\1"), 1 },
        { SETTINGS, 0, 0, SPAN("\0\2\0\0\0\2"), 1 },
        { PUSH, END_HEADERS, 1, SPAN("\0\0\0\2" BLOCK), 1 },
        { PING, 0, 0, SPAN("1234567"), 6 },
        { PING, 0, 1, SPAN("12345678"), 1 },
        { GOAWAY, 0, 0, SPAN("1234567"), 6 },
        { WINDOW, 0, 0, SPAN("\0\0\0\0"), 1 },
        { WINDOW, 0, 0, SPAN("\x7f\xff\xff\xff"), 3 },
        { WINDOW, 0, 5, SPAN("\0\0\0\1"), 1 },
        { CONTINUATION, END_HEADERS, 1, SPAN(BLOCK), 1 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct drive d;
        drive_open(&d);
        EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN(BLOCK)) == ERR_OK);
        EXPECT(say(&d, table[i].type, table[i].flags, table[i].id, table[i].payload) ==
               ERR_MESSAGE_MALFORMED);
        EXPECT(say(&d, PING, 0, 0, SPAN("12345678")) == ERR_MESSAGE_MALFORMED);
        EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, GOAWAY)) == table[i].code);
        EXPECT(find(&d, PING).type < 0 && h2_done(d.h2));
        EXPECT(drive_close(&d));
    }
}

TEST(http2_header_blocks_are_bounded)
{
    static uint8_t filler[16000];
    struct drive d;
    drive_open(&d);
    enum err e = say(&d, HEADERS, 0, 1, SPAN(BLOCK));
    for (int i = 0; i < 8 && e == ERR_OK; i++)
        e = say(&d, CONTINUATION, 0, 1, span_of(filler, sizeof(filler)));
    EXPECT(e == ERR_MESSAGE_MALFORMED && d.heap.used < 1 << 20);
    EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, GOAWAY)) == 11 && drive_close(&d));

    drive_open(&d); /* small ones, but many */
    e = say(&d, HEADERS, 0, 1, SPAN(BLOCK));
    for (int i = 0; i < 9 && e == ERR_OK; i++)
        e = say(&d, CONTINUATION, 0, 1, SPAN(""));
    EXPECT(e == ERR_MESSAGE_MALFORMED && drive_close(&d));

    drive_open(&d); /* a header of 4,000 bytes, 20 times by its number */
    buf_put(&d.in, "\0\x0f\xd8\1\4\0\0\0\1", 9);
    buf_put(&d.in, BLOCK "\x40\x01" "a\x7f\xa1\x1e", 12);
    memset(filler, 'v', sizeof(filler));
    buf_put(&d.in, filler, 4000);
    memset(filler, 0xbe, sizeof(filler));
    buf_put(&d.in, filler, 0x0fd8 - 4012);
    EXPECT(feed(&d) == ERR_MESSAGE_MALFORMED && d.requests == 0);
    EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, GOAWAY)) == 11 && drive_close(&d));
}

/* ---- windows ---- */

static size_t data_sent(struct drive *d, uint32_t id)
{
    struct span at = buf_all(&d->out);
    size_t n = 0;
    for (struct frame f = next(d, &at); f.type >= 0; f = next(d, &at))
        n += f.type == DATA && f.id == id ? f.payload.len : 0;
    return n;
}

TEST(http2_nothing_is_sent_beyond_the_windows)
{
    static uint8_t bytes[100000];
    struct drive d;
    drive_open(&d);
    EXPECT(say_setting(&d, 4, 10) == ERR_OK);
    for (uint32_t id = 1; id < 5; id += 2) {
        EXPECT(say(&d, HEADERS, END_HEADERS | END_STREAM, id, SPAN(BLOCK)) == ERR_OK);
        h2_respond(d.streams[id / 2], ok, 1, false);
        h2_write(d.streams[id / 2], span_of(bytes, sizeof(bytes)), true);
    }
    EXPECT(heard(&d, SIZE_MAX) && data_sent(&d, 1) == 10 && data_sent(&d, 3) == 10);
    EXPECT(!h2_wants_write(d.h2) && h2_stream_queued(d.streams[0]) == sizeof(bytes) - 10);
    EXPECT(say_u32(&d, WINDOW, 1, 5) == ERR_OK);
    EXPECT(heard(&d, SIZE_MAX) && data_sent(&d, 1) == 5 && data_sent(&d, 3) == 0);
    EXPECT(say_setting(&d, 4, 0) == ERR_OK); /* now they are below 0 */
    EXPECT(say_u32(&d, WINDOW, 1, 10) == ERR_OK);
    heard(&d, SIZE_MAX);
    EXPECT(data_sent(&d, 1) == 0);
    EXPECT(say_setting(&d, 4, 1 << 20) == ERR_OK); /* the connection's is next: 65,535 in all */
    EXPECT(heard(&d, SIZE_MAX) && data_sent(&d, 1) + data_sent(&d, 3) == 65535 - 25);
    EXPECT(!h2_wants_write(d.h2));
    EXPECT(say_u32(&d, WINDOW, 0, 1 << 20) == ERR_OK);
    EXPECT(heard(&d, SIZE_MAX) && d.closes == 2 && drive_close(&d));
}

TEST(http2_room_is_given_back_as_it_is_used)
{
    static uint8_t bytes[16384];
    struct drive d;
    drive_open(&d);
    EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN(BLOCK)) == ERR_OK);
    for (int i = 0; i < 100; i++) {
        EXPECT(say(&d, DATA, 0, 1, span_of(bytes, sizeof(bytes))) == ERR_OK);
        EXPECT(heard(&d, SIZE_MAX) == (i % 3 == 2)); /* 35,000 are half of both */
        EXPECT(i % 3 < 2 || find(&d, WINDOW).type == WINDOW);
    }
    EXPECT(d.data_bytes == 100 * sizeof(bytes));
    h2_hear_no_more(d.streams[0]); /* what is on its way may come, more may not */
    for (int i = 0; i < 3; i++)
        EXPECT(say(&d, DATA, 0, 1, span_of(bytes, sizeof(bytes))) == ERR_OK);
    EXPECT(d.closes == 0);
    EXPECT(say(&d, DATA, 0, 1, span_of(bytes, sizeof(bytes))) == ERR_OK && d.closes == 1);
    EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, RESET)) == 3);
    EXPECT(drive_close(&d));
}

/* An answer before the end of the question: whole, then NO_ERROR (RFC 9113 8.1). */
TEST(http2_hears_no_more)
{
    struct drive d;
    drive_open(&d);
    EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN(BLOCK)) == ERR_OK);
    h2_respond(d.streams[0], ok, 1, true);
    h2_hear_no_more(d.streams[0]);
    EXPECT(d.closes == 0 && heard(&d, SIZE_MAX) && d.closes == 1);
    struct span at = buf_all(&d.out);
    struct frame f = next(&d, &at);
    EXPECT(f.type == HEADERS && f.flags == (END_HEADERS | END_STREAM));
    f = next(&d, &at);
    EXPECT(f.type == RESET && code_of(f) == 0 && at.len == 0);
    EXPECT(say(&d, DATA, END_STREAM, 1, SPAN("late")) == ERR_OK && d.data_bytes == 0);
    EXPECT(drive_close(&d));
}

/* ---- bounds ---- */

TEST(http2_streams_beyond_the_limit_are_refused)
{
    struct drive d;
    drive_open(&d);
    for (uint32_t i = 0; i < 30; i++)
        EXPECT(say(&d, HEADERS, END_HEADERS, 2 * i + 1, SPAN(BLOCK)) == ERR_OK);
    EXPECT(d.requests == 20 && h2_streams(d.h2) == 20);
    EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, RESET)) == 7 && find(&d, RESET).id == 41);
    EXPECT(drive_close(&d));
}

TEST(http2_resets_are_bounded)
{
    struct drive d;
    drive_open(&d);
    uint32_t id = 1, broken = 0;
    enum err e = ERR_OK;
    for (; e == ERR_OK && broken < 5000; id += 2, broken++) {
        put_frame(&d, HEADERS, END_HEADERS, id, SPAN(BLOCK));
        e = say_u32(&d, RESET, id, H2_CANCEL);
        if (broken == 500)
            h2_second(d.h2);
    }
    EXPECT(broken == 1000 + 33 + 1 && d.closes == d.requests);
    EXPECT(heard(&d, SIZE_MAX) && code_of(find(&d, GOAWAY)) == 11 && drive_close(&d));

    drive_open(&d); /* those that it makes us send count as well */
    for (id = 1, broken = 0, e = ERR_OK; e == ERR_OK && broken < 5000; id += 2, broken++) {
        put_frame(&d, HEADERS, END_HEADERS, id, SPAN(BLOCK));
        e = say_u32(&d, WINDOW, id, 0);
    }
    EXPECT(broken == 1001 && drive_close(&d));
}

TEST(http2_pings_are_answered_but_not_hoarded)
{
    struct drive d;
    drive_open(&d);
    for (int i = 0; i < 3000; i++) {
        EXPECT(say(&d, PING, 0, 0, SPAN("12345678")) == ERR_OK);
        EXPECT(heard(&d, SIZE_MAX) && find(&d, PING).flags == ACK);
    }
    enum err e = ERR_OK;
    int n = 0;
    for (; e == ERR_OK && n < 3000; n++)
        e = say(&d, PING, 0, 0, SPAN("12345678"));
    EXPECT(n == 1001 && drive_close(&d));
}

/* ---- the table of our encoder ---- */

static struct span head_again(struct drive *d, uint32_t id)
{
    static const struct http_header head[] = { { SPAN(":status"), SPAN("200") },
                                               { SPAN("content-type"), SPAN("t") } };
    CHECK(say(d, HEADERS, END_HEADERS | END_STREAM, id, SPAN(BLOCK)) == ERR_OK);
    h2_respond(d->streams[id / 2], head, 2, true);
    CHECK(heard(d, SIZE_MAX));
    return find(d, HEADERS).payload;
}

TEST(http2_headers_that_come_again_are_short)
{
    struct drive d;
    drive_open(&d);
    EXPECT(span_is(head_again(&d, 1), "\x88\x5f\x01t"));
    EXPECT(span_is(head_again(&d, 3), "\x88\xbe"));
    EXPECT(say_setting(&d, 1, 60) == ERR_OK); /* it still has room: 12 + 1 + 32 */
    EXPECT(span_equal(head_again(&d, 5), SPAN("\x3f\x1d\x88\xbe")));
    EXPECT(say_setting(&d, 1, 10) == ERR_OK);
    EXPECT(say_setting(&d, 1, 100) == ERR_OK);
    EXPECT(span_equal(head_again(&d, 7), SPAN("\x20\x3f\x45\x88\x5f\x01t"))); /* begun anew */
    EXPECT(span_is(head_again(&d, 9), "\x88\xbe"));
    EXPECT(say_setting(&d, 1, 0) == ERR_OK);
    EXPECT(span_equal(head_again(&d, 11), SPAN("\x20\x20\x88\x0f\x10\x01t")));
    EXPECT(span_is(head_again(&d, 13), "\x88\x0f\x10\x01t"));
    EXPECT(drive_close(&d));
}

/* ---- the end ---- */

TEST(http2_goodbye)
{
    struct drive d;
    drive_open(&d);
    EXPECT(say(&d, HEADERS, END_HEADERS | END_STREAM, 1, SPAN(BLOCK)) == ERR_OK);
    h2_goaway(d.h2);
    h2_goaway(d.h2);
    EXPECT(heard(&d, SIZE_MAX) && find(&d, GOAWAY).payload.data[3] == 1 && !h2_done(d.h2));
    EXPECT(say(&d, HEADERS, END_HEADERS, 3, SPAN(BLOCK)) == ERR_OK && d.requests == 1);
    EXPECT(say(&d, DATA, 0, 3, SPAN("x")) == ERR_OK);
    h2_respond(d.streams[0], ok, 1, true);
    EXPECT(heard(&d, SIZE_MAX) && h2_done(d.h2) && drive_close(&d));
}

TEST(http2_resets_come_and_go)
{
    struct drive d;
    drive_open(&d);
    EXPECT(say(&d, HEADERS, END_HEADERS, 1, SPAN(BLOCK)) == ERR_OK);
    EXPECT(say(&d, HEADERS, END_HEADERS, 3, SPAN(BLOCK)) == ERR_OK);
    EXPECT(say_u32(&d, RESET, 1, H2_CANCEL) == ERR_OK);
    EXPECT(d.closes == 1 && d.close_code == H2_CANCEL);
    h2_respond(d.streams[1], ok, 1, false);
    h2_write(d.streams[1], SPAN("never sent"), false);
    h2_reset(d.streams[1], H2_INTERNAL);
    EXPECT(d.closes == 1); /* not from within */
    EXPECT(say(&d, DATA, 0, 3, SPAN("late")) == ERR_OK && d.data_bytes == 0);
    heard(&d, SIZE_MAX);
    EXPECT(d.closes == 2 && d.close_code == H2_INTERNAL);
    EXPECT(code_of(find(&d, RESET)) == H2_INTERNAL && find(&d, DATA).type < 0);
    EXPECT(drive_close(&d));
}
