#include "base/test.h"
#include "wire/websocket/drive.h"

/* ---- the handshake ---- */

static const struct http_header hello[] = {
    { SPAN("host"), SPAN("x") },
    { SPAN("upgrade"), SPAN("websocket") },
    { SPAN("connection"), SPAN("Upgrade") },
    { SPAN("sec-websocket-key"), SPAN("dGhlIHNhbXBsZSBub25jZQ==") },
    { SPAN("sec-websocket-version"), SPAN("13") },
};
enum { HELLO = sizeof(hello) / sizeof(hello[0]) };

static enum err accept(struct span method, const struct http_header *headers, size_t n,
                       struct buf *out)
{
    const struct http_request r = { .method = method, .headers = headers, .header_count = n };
    return ws_accept(&r, "Bearer", out);
}

/* The key and its answer are RFC 6455's own (1.3). */
TEST(websocket_handshake)
{
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    EXPECT(accept(SPAN("GET"), hello, HELLO, &out) == ERR_OK);
    EXPECT(span_is(buf_all(&out), "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                                  "connection: Upgrade\r\n"
                                  "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    buf_close(&out);
}

TEST(websocket_handshake_with_a_protocol)
{
    struct alloc heap;
    struct buf out;
    struct http_header headers[HELLO + 1];
    memcpy(headers, hello, sizeof(hello));
    headers[HELLO] = (struct http_header){ SPAN("sec-websocket-protocol"), SPAN("t.1, Bearer") };
    alloc_heap(&heap);
    buf_open(&out, &heap);
    EXPECT(accept(SPAN("GET"), headers, HELLO + 1, &out) == ERR_OK);
    buf_u8(&out, 0);
    EXPECT(strstr((const char *)out.data, "\r\nsec-websocket-protocol: Bearer\r\n\r\n"));
    buf_reset(&out);
    headers[HELLO].value = SPAN("bearer,Bearers,");
    EXPECT(accept(SPAN("GET"), headers, HELLO + 1, &out) == ERR_OK);
    buf_u8(&out, 0);
    EXPECT(!strstr((const char *)out.data, "protocol"));
    buf_close(&out);
}

TEST(websocket_handshake_refused_and_taken)
{
    static const struct {
        size_t header; /* which one is changed */
        const char *value;
        enum err result;
    } table[] = {
        { 1, "h2c, WebSocket", ERR_OK },
        { 1, "websockets", ERR_BAD_REQUEST },
        { 1, "", ERR_BAD_REQUEST },
        { 2, "keep-alive, upgrade", ERR_OK },
        { 2, "close", ERR_BAD_REQUEST },
        { 3, "", ERR_BAD_REQUEST },
        { 3, "dGhlIHNhbXBsZSBub25jZQ", ERR_BAD_REQUEST },
        { 3, "dGhlIHNhbXBsZSBub25jZQ=", ERR_BAD_REQUEST },
        { 3, "dGhlIHNhbXBsZSBub25jZQ===", ERR_BAD_REQUEST },
        { 3, "dGhlIHNhbXBsZSBub25jZVE=", ERR_BAD_REQUEST }, /* 17 bytes */
        { 3, "dGhlIHNhbXBsZSBub25jZVFR", ERR_BAD_REQUEST }, /* 18 */
        { 3, "dGhlIHNhbXBsZSBub25j====", ERR_BAD_REQUEST },
        { 3, "dGhlIHNhbXBs-SBub25jZQ==", ERR_BAD_REQUEST },
        { 3, "dGhl HNhbXBsZSBub25jZQ==", ERR_BAD_REQUEST },
        { 3, "AAAAAAAAAAAAAAAAAAAAAA==", ERR_OK },
        { 4, "8", ERR_UPGRADE_REQUIRED },
        { 4, "14", ERR_UPGRADE_REQUIRED },
        { 4, "13, 8", ERR_UPGRADE_REQUIRED },
        { 4, "013", ERR_UPGRADE_REQUIRED },
    };
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct http_header headers[HELLO];
        memcpy(headers, hello, sizeof(hello));
        headers[table[i].header].value = span_text(table[i].value);
        buf_reset(&out);
        EXPECT(accept(SPAN("GET"), headers, HELLO, &out) == table[i].result);
        EXPECT((out.len > 0) == (table[i].result == ERR_OK));
    }
    EXPECT(accept(SPAN("POST"), hello, HELLO, &out) == ERR_BAD_REQUEST);
    for (size_t left_out = 1; left_out < HELLO; left_out++) {
        struct http_header headers[HELLO], twice[HELLO + 1];
        memcpy(headers, hello, sizeof(hello));
        headers[left_out] = hello[0];
        EXPECT(accept(SPAN("GET"), headers, HELLO, &out) == ERR_BAD_REQUEST);
        memcpy(twice, hello, sizeof(hello));
        twice[HELLO] = hello[left_out];
        EXPECT(accept(SPAN("GET"), twice, HELLO + 1, &out) ==
               (left_out < 3 ? ERR_OK : ERR_BAD_REQUEST));
    }
    buf_close(&out);
    EXPECT(heap.used == 0);
}

TEST(websocket_wanted)
{
    const struct http_request none = { .headers = hello, .header_count = 1 };
    const struct http_request all = { .headers = hello, .header_count = HELLO };
    EXPECT(!ws_wanted(&none) && ws_wanted(&all));
}

/* ---- frames ---- */

#define FIN 0x80
enum { CONTINUATION, TEXT, BINARY, CLOSE = 8, PING, PONG };

static void put(struct buf *b, unsigned first, struct span payload)
{
    static const uint8_t key[4] = { 0x37, 0xfa, 0x21, 0x3d };
    buf_u8(b, (uint8_t)first);
    if (payload.len < 126) {
        buf_u8(b, (uint8_t)(0x80 | payload.len));
    } else {
        buf_u8(b, 0x80 | 126);
        buf_u8(b, (uint8_t)(payload.len >> 8));
        buf_u8(b, (uint8_t)payload.len);
    }
    buf_put(b, key, 4);
    for (size_t i = 0; i < payload.len; i++)
        buf_u8(b, payload.data[i] ^ key[i % 4]);
}

/* The same notes and the same close code however the bytes are cut. */
static bool gives(struct span in, const char *notes, int code)
{
    struct alloc heap;
    struct buf sent, got;
    bool ok = true;
    alloc_heap(&heap);
    buf_open(&sent, &heap);
    buf_open(&got, &heap);
    for (size_t piece = 0; piece <= in.len + 1 && ok; piece += piece < 32 ? 1 : 29) {
        buf_reset(&sent);
        buf_reset(&got);
        int had = drive(&heap, in, piece, 5, &sent, &got);
        ok = had == code && span_is(buf_all(&got), notes);
        if (!ok)
            printf("in pieces of %zu: %d, [%.*s], not %d, [%s]\n", piece, had, (int)got.len,
                   (const char *)got.data, code, notes);
    }
    buf_close(&sent);
    buf_close(&got);
    return ok && heap.used == 0;
}

struct frame {
    unsigned first;
    const char *payload;
};

static bool frames_give(const struct frame *frames, size_t n, const char *notes, int code)
{
    struct alloc heap;
    struct buf in;
    alloc_heap(&heap);
    buf_open(&in, &heap);
    for (size_t i = 0; i < n; i++)
        put(&in, frames[i].first, span_text(frames[i].payload));
    bool ok = gives(buf_all(&in), notes, code);
    buf_close(&in);
    return ok;
}

#define FRAMES_GIVE(notes, code, ...)                                                              \
    do {                                                                                           \
        static const struct frame f_[] = { __VA_ARGS__ };                                          \
        EXPECT(frames_give(f_, sizeof(f_) / sizeof(f_[0]), notes, code));                          \
    } while (0)

TEST(websocket_messages)
{
    /* RFC 6455 5.7 */
    EXPECT(gives(SPAN("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "Hello\n", 0));
    FRAMES_GIVE("a\n\nbc\n", 0, { FIN | TEXT, "a" }, { FIN | TEXT, "" }, { FIN | TEXT, "bc" });
    FRAMES_GIVE("abc\n", 0, { TEXT, "a" }, { CONTINUATION, "b" }, { FIN | CONTINUATION, "c" });
    FRAMES_GIVE("ab\n", 0, { TEXT, "a" }, { FIN | PING, "x" }, { FIN | PONG, "y" },
                { FIN | CONTINUATION, "b" });
    FRAMES_GIVE("\n", 0, { TEXT, "" }, { CONTINUATION, "" }, { FIN | CONTINUATION, "" });
    FRAMES_GIVE("\xc3\xa9\n", 0, { TEXT, "\xc3" }, { FIN | CONTINUATION, "\xa9" });
    FRAMES_GIVE("", 0, { FIN | PONG, "" }, { TEXT, "unfinished" });
}

TEST(websocket_refuses_broken_frames)
{
    FRAMES_GIVE("broken", 1002, { FIN | CONTINUATION, "a" });
    FRAMES_GIVE("broken", 1002, { TEXT, "a" }, { FIN | TEXT, "b" });
    FRAMES_GIVE("a\nbroken", 1002, { FIN | TEXT, "a" }, { FIN | 3, "b" }, { FIN | TEXT, "c" });
    FRAMES_GIVE("broken", 1002, { FIN | 11, "" });
    FRAMES_GIVE("broken", 1002, { FIN | 0x40 | TEXT, "a" });
    FRAMES_GIVE("broken", 1002, { FIN | 0x10 | TEXT, "a" });
    FRAMES_GIVE("a\nbroken", 1002, { FIN | TEXT, "a" }, { PING, "" });
    FRAMES_GIVE("broken", 1002, { CLOSE, "" });
    FRAMES_GIVE("broken", 1002, { FIN | CLOSE, "\x03\xe7" });        /* 999 */
    FRAMES_GIVE("broken", 1002, { FIN | CLOSE, "\x03\xed" });        /* 1005: never on the wire */
    EXPECT(gives(SPAN("\x81\x02hi"), "broken", 1002));               /* not masked */
    EXPECT(gives(SPAN("\x89\xfe\x00\x7e\0\0\0\0"), "broken", 1002)); /* 126 */
    EXPECT(gives(SPAN("\x81\xfe\x00\x7d\0\0\0\0"), "broken", 1002)); /* long 125 */
    EXPECT(gives(SPAN("\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"), "broken", 1002)); /* long 65535 */
    EXPECT(gives(SPAN("\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), "broken", 1002));   /* sign bit */
    EXPECT(gives(SPAN("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x"), "broken", 1009));
}

TEST(websocket_text_must_be_utf8)
{
    static const char *const bad[] = { "\x80",         "\xc3",         "\xc0\x80",
                                       "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                       "\xff",         "a\xf0\x9f\x98" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct frame whole[] = { { FIN | TEXT, bad[i] } };
        const struct frame parts[] = { { TEXT, bad[i] }, { FIN | CONTINUATION, "" } };
        EXPECT(frames_give(whole, 1, "broken", 1007));
        EXPECT(frames_give(parts, 2, "broken", 1007));
    }
}

TEST(websocket_takes_text_alone)
{
    FRAMES_GIVE("a\nbroken", 1003, { FIN | TEXT, "a" }, { FIN | BINARY, "b" }, { FIN | TEXT, "c" });
    FRAMES_GIVE("broken", 1003, { BINARY, "" }, { FIN | CONTINUATION, "\xff" });
}

TEST(websocket_message_size_is_bounded)
{
    char text[DRIVE_MESSAGE_MAX + 2];
    char notes[DRIVE_MESSAGE_MAX + 2];
    memset(text, 'x', sizeof(text));
    text[DRIVE_MESSAGE_MAX] = 0;
    memcpy(notes, text, DRIVE_MESSAGE_MAX);
    memcpy(notes + DRIVE_MESSAGE_MAX, "\n", 2);
    const struct frame most[] = { { FIN | TEXT, text } };
    EXPECT(frames_give(most, 1, notes, 0));
    const struct frame parts[] = { { TEXT, text }, { CONTINUATION, "" }, { CONTINUATION, "x" } };
    EXPECT(frames_give(parts, 3, "broken", 1009));
    text[DRIVE_MESSAGE_MAX] = 'x';
    text[DRIVE_MESSAGE_MAX + 1] = 0;
    const struct frame more[] = { { FIN | TEXT, text } };
    EXPECT(frames_give(more, 1, "broken", 1009));
}

TEST(websocket_message_pieces_are_bounded)
{
    struct alloc heap;
    struct buf in, sent, notes;
    alloc_heap(&heap);
    buf_open(&in, &heap);
    buf_open(&sent, &heap);
    buf_open(&notes, &heap);
    put(&in, TEXT, SPAN("a"));
    for (int i = 0; i < 1022; i++)
        put(&in, CONTINUATION, SPAN_NONE);
    size_t most = in.len;
    put(&in, FIN | CONTINUATION, SPAN("b")); /* 1,024 of them */
    EXPECT(drive(&heap, buf_all(&in), 1000, 0, &sent, &notes) == 0);
    EXPECT(span_is(buf_all(&notes), "ab\n"));
    in.len = most;
    put(&in, CONTINUATION, SPAN_NONE);
    put(&in, FIN | CONTINUATION, SPAN("b"));
    buf_reset(&sent);
    buf_reset(&notes);
    EXPECT(drive(&heap, buf_all(&in), 1000, 0, &sent, &notes) == 1009);
    EXPECT(span_is(buf_all(&notes), "broken"));
    buf_close(&in);
    buf_close(&sent);
    buf_close(&notes);
    EXPECT(heap.used == 0);
}

TEST(websocket_closing_by_the_peer)
{
    FRAMES_GIVE("closed", 1005, { FIN | CLOSE, "" });
    FRAMES_GIVE("closed", 1000, { FIN | CLOSE, "\x03\xe8" });
    FRAMES_GIVE("closed", 1001, { FIN | CLOSE, "\x03\xe9going away" });
    FRAMES_GIVE("closed", 3000, { FIN | CLOSE, "\x0b\xb8" }, { FIN | TEXT, "late" });
    FRAMES_GIVE("closed", 1000, { TEXT, "a" }, { FIN | CLOSE, "\x03\xe8" });
}

/* ---- what is sent ---- */

struct fixture {
    struct alloc heap;
    struct buf in, sent, notes;
    struct drive drive;
};

static void set_up(struct fixture *f)
{
    const struct ws_limits limits = { .message_bytes_max = DRIVE_MESSAGE_MAX };
    alloc_heap(&f->heap);
    buf_open(&f->in, &f->heap);
    buf_open(&f->sent, &f->heap);
    buf_open(&f->notes, &f->heap);
    f->drive = (struct drive){ .sent = &f->sent, .notes = &f->notes };
    f->drive.ws = ws_open(&f->heap, &limits, drive_message, &f->drive);
}

static bool tear_down(struct fixture *f)
{
    ws_close(f->drive.ws);
    buf_close(&f->in);
    buf_close(&f->sent);
    buf_close(&f->notes);
    return f->heap.used == 0;
}

static enum err feed(struct fixture *f)
{
    enum err e = ws_feed(f->drive.ws, buf_all(&f->in), &f->sent);
    buf_reset(&f->in);
    return e;
}

TEST(websocket_sends_frames_of_each_length)
{
    static const size_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 200000 };
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct fixture f;
        set_up(&f);
        for (size_t n = 0; n < lengths[i]; n++)
            buf_u8(&f.in, (uint8_t)('a' + n % 26));
        ws_send(f.drive.ws, buf_all(&f.in), &f.sent);
        struct span rest = buf_all(&f.sent), payload;
        uint8_t opcode;
        EXPECT(drive_frame(&rest, &opcode, &payload) && opcode == TEXT && rest.len == 0);
        EXPECT(span_equal(payload, buf_all(&f.in)));
        size_t head = lengths[i] < 126 ? 2 : lengths[i] < 65536 ? 4 : 10;
        EXPECT(f.sent.len == head + lengths[i]); /* the shortest of the three forms */
        EXPECT(tear_down(&f));
    }
}

TEST(websocket_answers_pings_and_echoes)
{
    struct fixture f;
    set_up(&f);
    put(&f.in, FIN | PING, SPAN("hello"));
    EXPECT(feed(&f) == ERR_OK);
    EXPECT(span_equal(buf_all(&f.sent), SPAN("\x8a\x05hello")));
    buf_reset(&f.sent);
    put(&f.in, FIN | TEXT, SPAN("one"));
    put(&f.in, FIN | TEXT, SPAN("two"));
    EXPECT(feed(&f) == ERR_OK);
    EXPECT(span_equal(buf_all(&f.sent), SPAN("\x81\x03one\x81\x03two")));
    EXPECT(tear_down(&f));
}

TEST(websocket_pings)
{
    struct fixture f;
    set_up(&f);
    ws_ping(f.drive.ws, &f.sent);
    EXPECT(span_equal(buf_all(&f.sent), SPAN("\x89\x00")));
    put(&f.in, FIN | PONG, SPAN(""));
    EXPECT(feed(&f) == ERR_OK && f.sent.len == 2 && f.notes.len == 0);
    EXPECT(!ws_ending(f.drive.ws) && !ws_done(f.drive.ws));
    EXPECT(tear_down(&f));
}

TEST(websocket_closing_by_us)
{
    struct fixture f;
    set_up(&f);
    ws_send(f.drive.ws, SPAN("last"), &f.sent);
    ws_end(f.drive.ws, &f.sent);
    ws_end(f.drive.ws, &f.sent);
    ws_send(f.drive.ws, SPAN("late"), &f.sent);
    EXPECT(span_equal(buf_all(&f.sent), SPAN("\x81\x04last\x88\x02\x03\xe8")));
    ws_ping(f.drive.ws, &f.sent);
    EXPECT(f.sent.len == 10 && ws_ending(f.drive.ws));
    EXPECT(!ws_done(f.drive.ws)); /* until the peer says so too, or breaks a rule */
    put(&f.in, FIN | TEXT, SPAN("was on its way"));
    EXPECT(feed(&f) == ERR_OK && !ws_done(f.drive.ws));
    put(&f.in, FIN | CLOSE, SPAN("\x03\xe8"));
    EXPECT(feed(&f) == ERR_OK && ws_done(f.drive.ws));
    EXPECT(f.sent.len == 10 && span_is(buf_all(&f.notes), "was on its way\n"));
    EXPECT(tear_down(&f));
    set_up(&f);
    ws_end(f.drive.ws, &f.sent);
    put(&f.in, PING, SPAN("in pieces"));
    EXPECT(feed(&f) == ERR_MESSAGE_MALFORMED && ws_done(f.drive.ws));
    EXPECT(span_equal(buf_all(&f.sent), SPAN("\x88\x02\x03\xe8"))); /* once told is enough */
    EXPECT(tear_down(&f));
}

static void answer_and_end(void *context, struct span text)
{
    struct drive *d = context;
    ws_send(d->ws, text, d->sent);
    ws_end(d->ws, d->sent);
    ws_send(d->ws, SPAN("late"), d->sent);
}

/* The close goes behind what was said before it, also in the midst of ws_feed. */
TEST(websocket_closing_in_a_message)
{
    struct fixture f;
    const struct ws_limits limits = { .message_bytes_max = DRIVE_MESSAGE_MAX };
    set_up(&f);
    ws_close(f.drive.ws);
    f.drive.ws = ws_open(&f.heap, &limits, answer_and_end, &f.drive);
    put(&f.in, FIN | TEXT, SPAN("last"));
    EXPECT(feed(&f) == ERR_OK && ws_ending(f.drive.ws) && !ws_done(f.drive.ws));
    EXPECT(span_equal(buf_all(&f.sent), SPAN("\x81\x04last\x88\x02\x03\xe8")));
    EXPECT(tear_down(&f));
}
