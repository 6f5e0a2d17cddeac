/* One connection: HTTP/2 over a socket that does not wait, over TLS when asked. */
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"

enum { READ_BYTES = 64 << 10, WIRE_BYTES = 256 << 10, STREAM_WINDOW = 4 << 20 };

/* ---- what comes ---- */

static void on_response(void *context, struct h2_stream *s, int status,
                        const struct http_header *headers, size_t n)
{
    struct rpc *call = h2_stream_user(s);
    (void)context;
    if (!call)
        return;
    call->http = status;
    call->status = grpc_status(headers, n, &call->text);
    for (size_t i = 0; i < n; i++) {
        if (span_is(headers[i].name, "cache-control"))
            call->no_store = http_lists(headers[i].value, "no-store");
        if (span_is(headers[i].name, "retry-after") && headers[i].value.len < 8) {
            char text[8] = "";
            memcpy(text, headers[i].value.data, headers[i].value.len);
            call->retry_after_ms = (int64_t)atoi(text) * 1000;
        }
    }
}

static void on_data(void *context, struct h2_stream *s, struct span data)
{
    struct channel *k = context;
    struct rpc *call = h2_stream_user(s);
    if (!call)
        return;
    if (call->in.len + data.len > ANSWER_BYTES_MAX) {
        error_set(&call->error, CONFMAN_PROTOCOL, "the answer has more than %d bytes",
             (int)ANSWER_BYTES_MAX);
        h2_reset(s, H2_CANCEL);
        return;
    }
    buf_span(&call->in, data);
    if (call->on_data)
        call->on_data(k->client, call);
}

static void on_trailers(void *context, struct h2_stream *s, const struct http_header *headers,
                        size_t n)
{
    struct rpc *call = h2_stream_user(s);
    (void)context;
    if (call)
        call->status = grpc_status(headers, n, &call->text);
}

static void on_end(void *context, struct h2_stream *s)
{
    struct rpc *call = h2_stream_user(s);
    (void)context;
    if (call)
        call->ended = true;
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    struct channel *k = context;
    struct rpc *call = h2_stream_user(s);
    if (!call)
        return;
    call->channel = NULL;
    call->h2 = NULL;
    rpc_over(k->client, call, call->ended, code);
}

static const struct h2_events events = { .on_response = on_response,
                                         .on_data = on_data,
                                         .on_trailers = on_trailers,
                                         .on_end = on_end,
                                         .on_close = on_close };

/* ---- bytes ---- */

static void broke(struct channel *k, const char *why)
{
    if (!k->broken)
        snprintf(k->client->why, sizeof(k->client->why), "%.120s: %.250s", k->address, why);
    k->broken = true; /* closed at the turn's end: we may be in the middle of it */
}

/* ERR_IO: broken. */
static void write_wire(struct channel *k)
{
    while (k->wire.len) {
        long n = tcp_write(k->fd, buf_all(&k->wire));
        if (n == TCP_AGAIN)
            break;
        if (n <= 0) {
            broke(k, "the connection broke");
            return;
        }
        buf_consume(&k->wire, (size_t)n);
    }
    int want = LOOP_READ | (k->wire.len ? LOOP_WRITE : 0);
    if (want != k->events)
        loop_change(k->client->loop, k->fd, want);
    k->events = want;
}

void channel_flush(struct channel *k)
{
    if (k->state == CHANNEL_CONNECTING || k->broken)
        return;
    if (k->h2 && h2_wants_write(k->h2) && k->wire.len < WIRE_BYTES) {
        struct buf *out = k->tls ? &k->plain : &k->wire;
        h2_output(k->h2, out, WIRE_BYTES);
        if (k->tls && k->plain.len && tls_write(k->tls, buf_all(&k->plain), &k->wire) != ERR_OK)
            broke(k, tls_why(k->tls));
        buf_shrink(&k->plain, WIRE_BYTES);
    }
    if (!k->broken && k->wire.len)
        write_wire(k);
}

static void ready(struct channel *k)
{
    struct h2_limits limits;
    h2_limits_default(&limits);
    limits.stream_window = STREAM_WINDOW;
    k->state = CHANNEL_READY;
    k->heard_ms = client_now(k->client);
    k->h2 = h2_open(&k->client->alloc, H2_CLIENT, &limits, &events, k);
}

static void take_plain(struct channel *k, struct span plain)
{
    if (k->h2 && plain.len && h2_feed(k->h2, plain) != ERR_OK)
        broke(k, "it does not speak HTTP/2: is it a confman server?");
    if (k->h2 && h2_done(k->h2))
        broke(k, "the server has closed the connection");
}

static void take_bytes(struct channel *k, struct span in)
{
    bool ended = false;
    if (!k->tls) {
        take_plain(k, in);
        return;
    }
    buf_reset(&k->plain);
    if (tls_feed(k->tls, in, &k->plain, &k->wire, &ended) != ERR_OK) {
        broke(k, tls_why(k->tls));
        return;
    }
    if (k->state == CHANNEL_SHAKING && tls_ready(k->tls)) {
        if (!tls_is_h2(k->tls)) {
            broke(k, "TLS without HTTP/2: is it a confman server?");
            return;
        }
        ready(k);
    }
    take_plain(k, buf_all(&k->plain));
    buf_shrink(&k->plain, WIRE_BYTES);
    if (ended)
        broke(k, "the server has closed the connection");
}

static void connected(struct channel *k)
{
    char why[TCP_WHY_MAX];
    struct tcp_address a;
    bool refused;
    if (tcp_connect_done(k->fd, &refused, why) != ERR_OK) {
        broke(k, why);
        return;
    }
    bool named = tcp_parse(k->address, &a, NULL) == ERR_OK && a.port[0] && a.host[0];
    if (a.port[0])
        tcp_keep(k->fd, 10 * SILENCE_MS);
    if (!k->client->tls) {
        ready(k);
        return;
    }
    k->state = CHANNEL_SHAKING;
    k->tls = tls_open(k->client->tls, named ? a.host : "localhost");
    if (tls_start(k->tls, &k->wire) != ERR_OK)
        broke(k, tls_why(k->tls));
}

static void on_socket(void *context, int fd, int what)
{
    static const size_t most = READ_BYTES;
    struct channel *k = context;
    if (k->broken)
        return;
    if (k->state == CHANNEL_CONNECTING) {
        connected(k);
        if (!k->broken)
            write_wire(k);
        return;
    }
    if (what & LOOP_READ) {
        struct buf in;
        buf_open(&in, &k->client->alloc);
        long n = tcp_read(fd, buf_room(&in, most), most);
        if (n == 0 || n == TCP_GONE) {
            broke(k, "the connection broke");
        } else if (n > 0) {
            k->heard_ms = client_now(k->client);
            take_bytes(k, span_of(in.data, (size_t)n));
        }
        buf_close(&in);
    }
    if (!k->broken && what & LOOP_WRITE)
        write_wire(k);
}

/* ---- life ---- */

/* Names are looked up here and now, and only the first address counts. */
static enum err begin(struct channel *k, const struct tcp_address *a, char *why)
{
    struct tcp_address first;
    bool refused;
    enum err e = tcp_connect_start(a, &k->fd, &refused, why);
    if (e == ERR_NOT_FOUND)
        e = tcp_resolve(a, &first, 1, why) ? tcp_connect_start(&first, &k->fd, &refused, why)
                                           : ERR_IO;
    return e;
}

struct channel *channel_open(struct confman *c, int endpoint, const char *address)
{
    struct tcp_address a;
    char why[TCP_WHY_MAX] = "not an address";
    struct channel *k = mem_zero(&c->alloc, sizeof(*k));
    *k = (struct channel){ .client = c, .endpoint = endpoint, .since_ms = client_now(c) };
    snprintf(k->address, sizeof(k->address), "%s", address);
    enum err e = tcp_parse(address, &a, NULL);
    if (e == ERR_OK && a.port[0] && !a.host[0])
        snprintf(a.host, sizeof(a.host), "127.0.0.1");
    if (e == ERR_OK)
        e = begin(k, &a, why);
    if (e != ERR_OK) {
        snprintf(c->why, sizeof(c->why), "%.*s: %.200s", 150, address, why);
        mem_free(&c->alloc, k, sizeof(*k));
        return NULL;
    }
    bool v6 = strchr(a.host, ':') != NULL;
    snprintf(k->authority, sizeof(k->authority), v6 ? "[%s]%s%s" : "%s%s%s",
             a.port[0] ? a.host : "localhost", a.port[0] ? ":" : "", a.port);
    buf_open(&k->wire, &c->alloc);
    buf_open(&k->plain, &c->alloc);
    k->events = LOOP_READ | LOOP_WRITE;
    loop_watch(c->loop, k->fd, k->events, on_socket, k);
    return k;
}

void channel_close(struct channel *k)
{
    struct confman *c = k->client;
    k->broken = true;
    client_channel_gone(c, k); /* first, so that no call comes back to it */
    if (k->h2)
        h2_close(k->h2); /* on_close for every call that it has */
    if (k->tls)
        tls_close(k->tls);
    loop_unwatch(c->loop, k->fd);
    tcp_close(k->fd);
    buf_close(&k->wire);
    buf_close(&k->plain);
    mem_free(&c->alloc, k, sizeof(*k));
}

/* ---- calls ---- */

static struct h2_stream *ask_http(struct channel *k, struct rpc *call)
{
    struct buf bearer;
    struct confman *c = k->client;
    buf_open(&bearer, &c->alloc);
    buf_text(&bearer, "Bearer ");
    buf_span(&bearer, buf_all(&c->token));
    struct http_header headers[8] = {
        { SPAN(":method"), buf_all(&call->method) },
        { SPAN(":scheme"), k->tls ? SPAN("https") : SPAN("http") },
        { SPAN(":authority"), span_text(k->authority) },
        { SPAN(":path"), buf_all(&call->path) },
    };
    size_t n = 4;
    if (c->token.len)
        headers[n++] = (struct http_header){ SPAN("authorization"), buf_all(&bearer) };
    if (call->body.len)
        headers[n++] = (struct http_header){ SPAN("content-type"), SPAN("application/json") };
    if (call->present)
        headers[n++] = (struct http_header){ SPAN("if-match"), SPAN("*") };
    struct h2_stream *s = h2_request(k->h2, headers, n, !call->body.len);
    buf_close(&bearer);
    if (s && call->body.len)
        h2_write(s, buf_all(&call->body), true);
    return s;
}

static void put_message(struct h2_stream *s, struct span message)
{
    struct buf *out = h2_write_begin(s);
    size_t start = grpc_message_begin(out);
    buf_span(out, message);
    grpc_message_end(out, start);
    h2_write_end(s, true);
}

bool channel_send(struct channel *k, struct rpc *call)
{
    struct confman *c = k->client;
    CHECK(k->state == CHANNEL_READY && !call->h2);
    call->http = 0;
    call->status = -1;
    call->ended = call->no_store = false;
    call->retry_after_ms = 0;
    call->error = (struct confman_error){ .code = CONFMAN_OK };
    buf_reset(&call->in);
    buf_reset(&call->text);
    if (!h2_streams(k->h2))
        k->heard_ms = client_now(c); /* from now on it owes us something */
    if (call->grpc) {
        call->h2 = grpc_request(k->h2, span_text(k->authority), buf_all(&call->path),
                                k->tls != NULL, buf_all(&c->token));
        if (call->h2 && call->body.len)
            put_message(call->h2, buf_all(&call->body));
    } else {
        call->h2 = ask_http(k, call);
    }
    if (!call->h2)
        return false;
    call->channel = k;
    h2_stream_set_user(call->h2, call);
    return true;
}
