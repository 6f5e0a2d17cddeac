/* One connection of a client to a node's door. */
#include <string.h>
#include "base/check.h"
#include "io/tcp/tcp.h"
#include "client.h"

enum { MESSAGE_MAX = 64 << 20, READ_BYTES = 16 << 10, DOOR_PORT = 2379 };

static void on_response(void *context, struct h2_stream *s, int status,
                        const struct http_header *headers, size_t n)
{
    struct door *d = context;
    CHECK(s && status == 200);
    d->code = grpc_status(headers, n, &d->text);
}

static void on_data(void *context, struct h2_stream *s, struct span data)
{
    struct door *d = context;
    if (d->stream == s)
        buf_span(&d->in, data);
}

static void on_trailers(void *context, struct h2_stream *s, const struct http_header *headers,
                        size_t n)
{
    struct door *d = context;
    if (d->stream == s)
        d->code = grpc_status(headers, n, &d->text);
}

static void on_end(void *context, struct h2_stream *s)
{
    struct door *d = context;
    if (d->stream == s)
        d->ended = true;
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    struct door *d = context;
    if (d->stream != s)
        return;
    d->stream = NULL;
    if (!d->ended || code)
        d->code = -1;
    d->ended = true;
}

static const struct h2_events events = { .on_response = on_response,
                                         .on_data = on_data,
                                         .on_trailers = on_trailers,
                                         .on_end = on_end,
                                         .on_close = on_close };

void door_init(struct door *d, struct host *from, void *context,
               void (*message)(void *, struct span), void (*over)(void *, int, struct span))
{
    *d = (struct door){
        .from = from, .context = context, .message = message, .over = over, .fd = -1
    };
}

void door_close(struct door *d)
{
    d->life++;
    d->call++;
    if (d->fd < 0)
        return;
    tcp_close(d->fd);
    d->fd = -1;
    d->calling = false;
    d->stream = NULL;
    h2_close(d->h2);
    grpc_reader_close(&d->reader);
    buf_close(&d->out);
    buf_close(&d->in);
    buf_close(&d->text);
}

bool door_is_open(const struct door *d)
{
    return d->fd >= 0;
}

static void broke(struct door *d)
{
    bool calling = d->calling;
    door_close(d);
    if (calling)
        d->over(d->context, -1, SPAN("the connection broke"));
}

static void flush(struct door *d)
{
    h2_output(d->h2, &d->out, SIZE_MAX);
    while (d->out.len && net_is_open(d->fd)) {
        long n = tcp_write(d->fd, buf_all(&d->out));
        if (n == TCP_AGAIN)
            return;
        if (n < 0)
            return; /* reading will tell */
        buf_consume(&d->out, (size_t)n);
    }
}

/* Gives out the messages that are whole. */
static void give_out(struct door *d)
{
    uint64_t call = d->call;
    while (d->in.len && d->call == call) {
        struct span rest = buf_all(&d->in), message;
        bool got;
        enum err e = grpc_reader_next(&d->reader, &rest, MESSAGE_MAX, &message, &got);
        if (e != ERR_OK)
            violated("%s sent a message that makes no sense", d->to->name);
        struct span copy = got ? arena_copy(&client_arena, message) : SPAN_NONE;
        buf_consume(&d->in, d->in.len - rest.len);
        if (!got)
            return;
        d->message(d->context, copy);
    }
}

static void end(struct door *d)
{
    struct span text = arena_copy(&client_arena, buf_all(&d->text));
    int code = d->code;
    d->calling = false;
    d->stream = NULL;
    d->call++;
    d->over(d->context, code, text);
}

static void on_socket(void *context)
{
    struct door *d = context;
    uint8_t bytes[READ_BYTES];
    uint64_t life = d->life;
    long n;
    while ((n = tcp_read(d->fd, bytes, sizeof(bytes))) > 0) {
        arena_reset(&client_arena);
        if (h2_feed(d->h2, span_of(bytes, (size_t)n)) != ERR_OK)
            violated("%s does not speak HTTP/2", d->to->name);
        if (d->calling)
            give_out(d);
        if (d->life == life && d->calling && d->ended)
            end(d);
        if (d->life != life)
            return;
    }
    if (n == TCP_AGAIN)
        flush(d);
    else
        broke(d);
}

void door_open(struct door *d, struct host *to)
{
    struct h2_limits limits;
    CHECK(d->fd < 0);
    d->to = to;
    h2_limits_default(&limits);
    buf_open(&d->out, &world_heap);
    buf_open(&d->in, &world_heap);
    buf_open(&d->text, &world_heap);
    grpc_reader_open(&d->reader, &world_heap);
    d->h2 = h2_open(&world_heap, H2_CLIENT, &limits, &events, d);
    d->fd = net_dial(d->from, to->address, DOOR_PORT, on_socket, d);
    d->calling = false;
}

static void put(struct door *d, struct span message, bool last)
{
    struct buf *out = h2_write_begin(d->stream);
    size_t start = grpc_message_begin(out);
    buf_span(out, message);
    grpc_message_end(out, start);
    h2_write_end(d->stream, last);
    flush(d);
}

static void refused(void *context, uint64_t call)
{
    struct door *d = context;
    if (d->call == call)
        broke(d);
}

void door_call(struct door *d, const char *path, struct span message, bool last)
{
    CHECK(d->fd >= 0 && !d->calling);
    d->call++;
    d->calling = true;
    d->ended = false;
    d->code = -1;
    buf_reset(&d->in);
    buf_reset(&d->text);
    grpc_reader_close(&d->reader);
    grpc_reader_open(&d->reader, &world_heap);
    d->stream = grpc_request(d->h2, span_text(d->to->address), span_text(path), false, SPAN_NONE);
    if (d->stream)
        put(d, message, last);
    else /* the node stops and takes no new calls */
        world_call(world_us, refused, d, d->call);
}

void door_send(struct door *d, struct span message)
{
    if (d->stream)
        put(d, message, false);
}
