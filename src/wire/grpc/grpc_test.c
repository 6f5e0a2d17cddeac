/* A client's and a server's session talk in memory: gRPC over HTTP/2, cut anywhere. */
#include "wire/grpc/grpc.h"
#include "base/prng.h"
#include "base/test.h"

enum { MESSAGE_MAX = 1 << 20 };

struct side {
    struct h2 *h2;
    struct grpc_reader reader;
    struct buf got, text; /* all messages, end to end; the status text */
    int messages, code, closed, requests;
    uint32_t close_code;
    bool too_large, refuse, silent;
    struct h2_stream *stream;
};

static struct alloc heap;

static void take(struct side *s, struct span data)
{
    bool got = true;
    struct span message;
    while (got) {
        if (grpc_reader_next(&s->reader, &data, MESSAGE_MAX, &message, &got) != ERR_OK) {
            s->too_large = true;
            return;
        }
        if (got) {
            buf_span(&s->got, message);
            s->messages++;
        }
    }
}

static void server_request(void *context, struct h2_stream *stream, const struct http_request *r)
{
    struct side *s = context;
    struct grpc_head head;
    s->requests++;
    s->stream = stream;
    if (!grpc_is(r) || grpc_head(r, &head) != ERR_OK || s->refuse)
        grpc_finish(stream, false, 12, "not \xc3\xa9 %here");
    if (s->refuse)
        h2_hear_no_more(stream);
}

static void any_data(void *context, struct h2_stream *stream, struct span data)
{
    (void)stream;
    take(context, data);
}

static void server_end(void *context, struct h2_stream *stream)
{
    struct side *s = context;
    if (s->refuse || s->silent)
        return;
    grpc_respond(stream);
    struct buf *out = h2_write_begin(stream);
    size_t start = grpc_message_begin(out);
    buf_span(out, buf_all(&s->got));
    grpc_message_end(out, start);
    h2_write_end(stream, false);
    grpc_finish(stream, true, 0, "");
}

static void any_close(void *context, struct h2_stream *stream, uint32_t code)
{
    struct side *s = context;
    (void)stream;
    s->close_code = code;
    s->closed++;
}

static void client_response(void *context, struct h2_stream *stream, int status,
                            const struct http_header *headers, size_t n)
{
    struct side *s = context;
    (void)stream;
    s->code = status == 200 ? grpc_status(headers, n, &s->text) : -2;
}

static void client_trailers(void *context, struct h2_stream *stream,
                            const struct http_header *headers, size_t n)
{
    struct side *s = context;
    (void)stream;
    s->code = grpc_status(headers, n, &s->text);
}

static void client_end(void *context, struct h2_stream *stream)
{
    (void)context, (void)stream;
}

static const struct h2_events server_events = {
    .on_request = server_request, .on_data = any_data, .on_end = server_end, .on_close = any_close
};
static const struct h2_events client_events = { .on_response = client_response,
                                                .on_data = any_data,
                                                .on_trailers = client_trailers,
                                                .on_end = client_end,
                                                .on_close = any_close };

static void side_open(struct side *s, enum h2_role role)
{
    struct h2_limits limits;
    h2_limits_default(&limits);
    memset(s, 0, sizeof(*s));
    s->code = -1;
    s->h2 = h2_open(&heap, role, &limits, role == H2_SERVER ? &server_events : &client_events, s);
    grpc_reader_open(&s->reader, &heap);
    buf_open(&s->got, &heap);
    buf_open(&s->text, &heap);
}

static void side_close(struct side *s)
{
    h2_close(s->h2);
    grpc_reader_close(&s->reader);
    buf_close(&s->got);
    buf_close(&s->text);
}

/* Carries bytes both ways, in pieces of up to `step`, until nobody has any. */
static bool carry(struct side *a, struct side *b, size_t step)
{
    for (int quiet = 0; quiet < 2;) {
        struct buf wire;
        buf_open(&wire, &heap);
        h2_output(a->h2, &wire, 1 << 20);
        struct span in = buf_all(&wire), piece;
        quiet = in.len ? 0 : quiet + 1;
        bool ok = true;
        while (ok && in.len)
            ok = span_take(&in, step < in.len ? step : in.len, &piece) &&
                 h2_feed(b->h2, piece) == ERR_OK;
        buf_close(&wire);
        if (!ok)
            return false;
        struct side *other = a;
        a = b;
        b = other;
    }
    return true;
}

static void send(struct side *client, struct span message)
{
    client->stream = grpc_request(client->h2, SPAN("test"), SPAN("/a.B/C"), false, SPAN_NONE);
    struct buf *out = h2_write_begin(client->stream);
    size_t start = grpc_message_begin(out);
    buf_span(out, message);
    grpc_message_end(out, start);
    h2_write_end(client->stream, true);
}

TEST(grpc_echo_of_every_size_cut_anywhere)
{
    static uint8_t bytes[300000];
    static const size_t sizes[] = { 0, 1, 5, 1000, 16384, 65535, 65536, 300000 };
    struct prng p = { 5 };
    alloc_heap(&heap);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)prng_next(&p);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t step = sizes[i] < 2000 ? 1 : 1000; step < 100000; step = step * 37 + 1) {
            struct side server, client;
            side_open(&server, H2_SERVER);
            side_open(&client, H2_CLIENT);
            send(&client, span_of(bytes, sizes[i]));
            EXPECT(carry(&client, &server, step));
            EXPECT(client.code == 0 && client.messages == 1 && client.closed == 1);
            EXPECT(span_equal(buf_all(&client.got), span_of(bytes, sizes[i])));
            side_close(&server);
            side_close(&client);
            EXPECT(heap.used == 0);
        }
}

TEST(grpc_refusal_has_its_text)
{
    struct side server, client;
    alloc_heap(&heap);
    side_open(&server, H2_SERVER);
    side_open(&client, H2_CLIENT);
    server.refuse = true;
    send(&client, SPAN("x"));
    EXPECT(carry(&client, &server, 7));
    EXPECT(client.code == 12 && span_is(buf_all(&client.text), "not \xc3\xa9 %here"));
    side_close(&server);
    side_close(&client);
    EXPECT(heap.used == 0);
}

TEST(grpc_an_answer_may_come_before_the_end)
{
    struct side server, client;
    alloc_heap(&heap);
    side_open(&server, H2_SERVER);
    side_open(&client, H2_CLIENT);
    server.refuse = true;
    client.stream = grpc_request(client.h2, SPAN("test"), SPAN("/a.B/C"), false, SPAN_NONE);
    EXPECT(carry(&client, &server, 7)); /* and the client has not ended its side */
    EXPECT(client.code == 12 && client.closed == 1 && client.close_code == H2_NO_ERROR);
    EXPECT(server.closed == 1 && h2_streams(server.h2) == 0);
    side_close(&server);
    side_close(&client);
    EXPECT(heap.used == 0);
}

TEST(grpc_a_thousand_streams)
{
    struct side server, client;
    alloc_heap(&heap);
    side_open(&server, H2_SERVER);
    side_open(&client, H2_CLIENT);
    server.silent = true;
    EXPECT(carry(&client, &server, 100000)); /* the limits are known */
    for (int i = 0; i < 1000; i++)
        send(&client, SPAN("x"));
    EXPECT(carry(&client, &server, 100000));
    EXPECT(server.requests == 1000 && h2_streams(server.h2) == 1000);
    h2_goaway(server.h2);
    EXPECT(carry(&server, &client, 100000));
    side_close(&client);
    side_close(&server);
    EXPECT(server.closed == 1000 && heap.used == 0);
}

TEST(grpc_a_broken_preface_is_refused)
{
    struct side server;
    alloc_heap(&heap);
    side_open(&server, H2_SERVER);
    EXPECT(h2_feed(server.h2, SPAN("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")) == ERR_MESSAGE_MALFORMED);
    side_close(&server);
    EXPECT(heap.used == 0);
}

TEST(grpc_reader_bounds)
{
    struct grpc_reader r;
    struct span message, in = SPAN("\x00\x7f\xff\xff\xff");
    bool got;
    alloc_heap(&heap);
    grpc_reader_open(&r, &heap);
    EXPECT(grpc_reader_next(&r, &in, 100, &message, &got) == ERR_MESSAGE_TOO_LARGE);
    in = SPAN("\x02\x00\x00\x00\x00");
    EXPECT(grpc_reader_next(&r, &in, 100, &message, &got) == ERR_MESSAGE_MALFORMED);
    /* "a" x 1000, gzip: 29 bytes; over the limit when inflated */
    in = SPAN("\x01\x00\x00\x00\x1d\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x4c\x1c\x05"
              "\xa3\x60\x14\x0c\x77\x00\x00\x03\xda\x38\x9a\xe8\x03\x00\x00");
    enum err e = grpc_reader_next(&r, &in, 100, &message, &got);
    EXPECT(e == ERR_MESSAGE_TOO_LARGE);
    grpc_reader_close(&r);
    EXPECT(heap.used == 0);
}

TEST(grpc_heads)
{
    struct http_header type = { SPAN("content-type"), SPAN("application/grpc+proto") };
    struct http_header timeout = { SPAN("grpc-timeout"), SPAN("100m") };
    struct http_header headers[] = { type, timeout, { SPAN("hasleader"), SPAN("true") } };
    struct http_request r = { .method = SPAN("POST"), .headers = headers, .header_count = 3 };
    struct grpc_head head;
    EXPECT(grpc_is(&r) && grpc_head(&r, &head) == ERR_OK);
    EXPECT(head.has_leader && head.timeout_us == 100000);
    headers[1].value = SPAN("100x");
    EXPECT(grpc_head(&r, &head) == ERR_MESSAGE_MALFORMED);
    headers[1] = (struct http_header){ SPAN("grpc-encoding"), SPAN("snappy") };
    EXPECT(grpc_head(&r, &head) == ERR_ENCODING_UNKNOWN);
    headers[0].value = SPAN("application/grpcx");
    EXPECT(!grpc_is(&r));
    r.method = SPAN("GET");
    EXPECT(grpc_head(&r, &head) == ERR_METHOD_NOT_ALLOWED);
}
