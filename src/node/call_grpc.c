/* Calls over HTTP/2: streams of gRPC's messages, and whole requests of the other doors. */
#include "node/call_int.h"
#include <stdio.h>

static void take_data(struct call *call, struct span data)
{
    struct span message;
    bool got = true;
    size_t max = (size_t)call->node->params.request_bytes_max + SLACK_BYTES;
    while (got && !call->ended) {
        enum err e = grpc_reader_next(&call->reader, &data, max, &message, &got);
        if (e == ERR_MESSAGE_TOO_LARGE) {
            call_finish(call, 8, "grpc: received message larger than max");
            return;
        }
        if (e != ERR_OK) {
            call_end(call, e);
            return;
        }
        if (got)
            call_message(call, message);
    }
}

/* A whole request of HTTP waits for its end, messages for who asks to be known. */
static void on_data(void *context, struct h2_stream *s, struct span data)
{
    struct conn *c = context;
    struct call *call = h2_stream_user(s);
    if (!call || call->ended)
        return;
    if (call->method && !login_waits(call))
        take_data(call, data);
    else if (call->body.len + data.len <= c->node->http1_limits.body_bytes_max)
        buf_span(&call->body, data);
    else
        call_end(call, ERR_BODY_TOO_LARGE);
}

static void end_of_messages(struct call *call)
{
    if (call->method->kind == ETCD_KEEP_ALIVE) {
        if (!call->renewing && !call->waiting)
            call_end(call, ERR_OK); /* watches go on when the peer has said all it wants (etcd) */
    } else if (call->method->kind == ETCD_REFLECTION) {
        call_end(call, ERR_OK);
    } else if (call->method->kind != ETCD_WATCH && !call->asked) {
        call_finish(call, 13, "the call has no message");
    }
}

static void on_end(void *context, struct h2_stream *s)
{
    struct call *call = h2_stream_user(s);
    (void)context;
    if (!call)
        return;
    call->input_over = true;
    if (call->ended || login_waits(call))
        return;
    if (call->method) {
        end_of_messages(call);
    } else {
        call->http.body = buf_all(&call->body);
        call_open_rest(call, &call->http);
    }
}

void call_grpc_known(struct call *call)
{
    struct buf kept = call->body;
    buf_open(&call->body, &call->node->alloc);
    take_data(call, buf_all(&kept));
    buf_close(&kept);
    if (call->input_over && !call->ended)
        end_of_messages(call);
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    struct call *call = h2_stream_user(s);
    (void)context, (void)code;
    if (!call)
        return;
    call_gone(call);
}

static void keep_http(struct call *call, const struct http_request *head)
{
    struct arena *a = &call->arena;
    call->http = *head;
    call->http.method = arena_copy(a, head->method);
    call->http.path = arena_copy(a, head->path);
    call->http.query = arena_copy(a, head->query);
    call->http.authority = arena_copy(a, head->authority);
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, head->header_count + 1);
    for (size_t i = 0; i < head->header_count; i++)
        headers[i] = (struct http_header){ arena_copy(a, head->headers[i].name),
                                           arena_copy(a, head->headers[i].value) };
    call->http.headers = headers;
    call->head_only = span_is(head->method, "HEAD");
}

static void open_grpc(struct call *call, const struct http_request *head)
{
    bool served = call->conn->serves & SERVES_GRPC;
    call->method = served ? etcd_method_find(head->path) : NULL;
    if (!call->method) {
        char text[256];
        int len = (int)(head->path.len < 150 ? head->path.len : 150);
        snprintf(text, sizeof(text),
                 served ? "unknown method %.*s" : "no gRPC at this address: %.*s", len,
                 (const char *)head->path.data);
        grpc_finish(call->stream, false, 12, text);
        call->ended = true;
        return;
    }
    enum err e = call_begin(call, head);
    if (e != ERR_OK) {
        call_end(call, e);
    } else if (call->watch) {
        grpc_respond(call->stream); /* clients wait for the head before they count on the stream */
        call->begun = true;
    }
}

static void on_request(void *context, struct h2_stream *s, const struct http_request *head)
{
    struct conn *c = context;
    struct call *call = call_new(c, s);
    h2_stream_set_user(s, call);
    conn_touch(c);
    if (grpc_is(head))
        open_grpc(call, head);
    else
        keep_http(call, head);
}

const struct h2_events call_h2_events = {
    .on_request = on_request, .on_data = on_data, .on_end = on_end, .on_close = on_close
};
