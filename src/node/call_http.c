/* Calls over HTTP that are not gRPC: who may call, the native door, its streams, and the small
 * answers. */
#include "node/call_int.h"
#include "node/page.h"
#include "base/check.h"

static const struct http_header sse_headers[] = {
    { { (const uint8_t *)"content-type", 12 }, { (const uint8_t *)"text/event-stream", 17 } },
    { { (const uint8_t *)"cache-control", 13 }, { (const uint8_t *)"no-store", 8 } },
};

static void on_websocket_message(void *context, struct span text)
{
    (void)context, (void)text; /* what to watch stands in the request; nothing more is asked */
}

static void on_push_message(void *context, struct span text)
{
    struct conn *c = context;
    if (c->call)
        pushing_message(c->call, text);
}

static const struct http_header newer_http[] = {
    { { (const uint8_t *)"upgrade", 7 }, { (const uint8_t *)"HTTP/1.1", 8 } },
    { { (const uint8_t *)"connection", 10 }, { (const uint8_t *)"upgrade", 7 } },
};
static const struct http_header known_websocket[] = {
    { { (const uint8_t *)"upgrade", 7 }, { (const uint8_t *)"websocket", 9 } },
    { { (const uint8_t *)"connection", 10 }, { (const uint8_t *)"upgrade", 7 } },
    { { (const uint8_t *)"sec-websocket-version", 21 }, { (const uint8_t *)"13", 2 } },
};

/* 426, which says what to come back with (RFC 9110 15.5.22, RFC 6455 4.4). */
static void refuse_protocol(struct call *call, const struct http_header *headers, size_t count,
                            const char *detail)
{
    struct rest_answer a;
    CHECK(!call->stream);
    call->node->metrics.requests_refused++;
    rest_problem(ERR_UPGRADE_REQUIRED, detail, &call->node->turn, &a);
    memcpy(a.headers + a.header_count, headers, count * sizeof(headers[0]));
    a.header_count += count;
    CHECK(a.header_count <= sizeof(a.headers) / sizeof(a.headers[0]));
    call_answer_http(call, &a);
}

void call_refuse_protocol(struct call *call)
{
    refuse_protocol(call, newer_http, 2, "a stream needs HTTP/1.1");
}

bool call_begin_websocket(struct call *call, const struct http_request *r,
                          const struct ws_limits *limits, const char *protocol,
                          void (*on_message)(void *context, struct span text))
{
    struct conn *c = call->conn;
    struct node *n = call->node;
    enum err e = call->stream ? ERR_BAD_REQUEST : ws_accept(r, protocol, conn_output(c));
    if (e == ERR_UPGRADE_REQUIRED) {
        refuse_protocol(call, known_websocket, 3, "the version of WebSocket here is 13");
        return false;
    }
    if (e != ERR_OK) {
        call_refuse_http(call, e, "this is not a WebSocket handshake (RFC 6455)");
        return false;
    }
    c->ws = ws_open(&n->alloc, limits, on_message, c);
    c->protocol = CONN_WEBSOCKET;
    c->since_ms = loop_now_ms(n->loop);
    call->begun = true;
    conn_touch(c);
    return true;
}

void call_begin_texts(struct call *call, const struct http_header *own, size_t n)
{
    struct conn *c = call->conn;
    struct http_header headers[1 + CALL_HEADERS_MAX] = { { SPAN(":status"), SPAN("200") } };
    n = call_headers(call, own, n, headers + 1);
    if (call->stream)
        h2_respond(call->stream, headers, 1 + n, false);
    else
        http1_begin(c->http1, 200, headers + 1, n, conn_output(c));
    call->begun = true;
    conn_touch(c);
}

static bool begin_watch(struct call *call, const struct http_request *r)
{
    struct conn *c = call->conn;
    bool push = call->rest->kind == REST_PUSH;
    if (ws_wanted(r))
        return call_begin_websocket(call, r, &call->node->ws_limits, NULL,
                                    push ? on_push_message : on_websocket_message);
    if (push && call->rest->push->ask != PUSH_SUBSCRIBE && !call->rest->push->client.len) {
        call_refuse_http(call, ERR_BAD_REQUEST,
                         "give key, prefix, flags or topic, or client, or come as a WebSocket");
        return false;
    }
    if (!call->stream && !http1_can_stream(c->http1)) {
        call_refuse_protocol(call);
        return false;
    }
    call_begin_texts(call, sse_headers, 2);
    return true;
}

static const struct http_header file_headers[] = {
    { { (const uint8_t *)"content-type", 12 },
      { (const uint8_t *)"application/octet-stream", 24 } },
    { { (const uint8_t *)"cache-control", 13 }, { (const uint8_t *)"no-store", 8 } },
};

static void begin_download(struct call *call)
{
    struct node *n = call->node;
    if (!call->stream && !http1_can_stream(call->conn->http1)) {
        call_refuse_protocol(call);
        return;
    }
    if (transfer_loading(n) || n->machine.applied_index == 0) {
        call_refuse_http(call, ERR_UNHEALTHY, "there is no state yet to take a snapshot of");
        return;
    }
    if (!download_begin(n, call)) {
        call_refuse_http(call, ERR_OVERLOADED, "too many snapshots are being taken");
        return;
    }
    call_begin_texts(call, file_headers, 2);
}

/* False: it was answered. etcd answers OPTIONS alike on every path. */
static bool may_call(struct call *call, const struct http_request *r)
{
    struct rest_answer options = { .status = 200 };
    struct http_header cors[GATEWAY_CORS_HEADERS];
    struct node *n = call->node;
    enum err e = gateway_access(&n->access, r, call->conn->tls != NULL, cors, &call->n_cors);
    if (call->n_cors)
        call->cors = ARENA_ARRAY(&call->arena, struct http_header, call->n_cors);
    for (size_t i = 0; i < call->n_cors; i++)
        call->cors[i] = (struct http_header){ cors[i].name,
                                              arena_copy(&call->arena, cors[i].value) };
    if (e != ERR_OK)
        call_refuse_http(call, e, NULL);
    else if (span_is(r->method, "OPTIONS"))
        call_answer_http(call, &options);
    else
        return true;
    return false;
}

/* Before the head of a stream is sent: then it would be too late to refuse it. */
static enum err may_stream(struct call *call)
{
    struct node *n = call->node;
    struct request *r = &call->rest->request;
    if (call->rest->kind == REST_UNARY)
        return ERR_OK; /* call_take asks */
    enum err e = call_has_state(n) ? login_of(call, r) : ERR_UNHEALTHY;
    if (e == ERR_OK)
        e = machine_permits(&n->machine, r);
    bool stands = call->rest->kind == REST_WATCH || call->rest->kind == REST_PUSH;
    return e == ERR_OK && stands ? pushing_admit(call) : e;
}

void call_open_rest(struct call *call, const struct http_request *r)
{
    struct node *n = call->node;
    struct rest_answer a;
    unsigned serves = call->conn->serves;
    call->head_only = span_is(r->method, "HEAD");
    if (serves & SERVES_VAULT) {
        if (may_call(call, r))
            vault_open(call, r);
        return;
    }
    if (!(serves & SERVES_SMALL)) {
        call_refuse_http(call, ERR_NOT_FOUND, "this address answers gRPC alone");
        return;
    }
    if (!may_call(call, r))
        return;
    if (health_page(call, r))
        return;
    if (small_answer(n, r, &n->turn, &a)) {
        call_answer_http(call, &a);
        return;
    }
    if (!(serves & SERVES_HTTP)) {
        call_refuse_http(call, ERR_NOT_FOUND, "this address answers /metrics and /health alone");
        return;
    }
    if (page_answer(n, r, &n->turn, &a)) {
        call_answer_http(call, &a);
        return;
    }
    if (gateway_takes(r->path)) {
        call_open_gate(call, r);
        return;
    }
    if (r->body.len > (size_t)n->params.request_bytes_max + SLACK_BYTES) {
        call_refuse_http(call, ERR_BODY_TOO_LARGE, NULL);
        return;
    }
    if (vault_takes(r->path)) { /* AppRoles are managed here, too */
        vault_open(call, r);
        return;
    }
    if (!rest_takes(r->path)) {
        call_refuse_http(call, ERR_NOT_FOUND, "no door answers on this path");
        return;
    }
    call->http = *r; /* its spans live as long as the call */
    login_head(call, r);
    if (!login_waits(call))
        call_rest_known(call);
}

static void watch_also(struct call *call)
{
    for (size_t i = 0; i < call->rest->n_also; i++) {
        struct request *r = &call->rest->also[i];
        if (login_of(call, r) == ERR_OK && machine_permits(&call->node->machine, r) == ERR_OK)
            call_take(call, r, SPAN_NONE);
    }
}

/* Most of the time nothing happens on it: what only the request needed is given back. */
static void begin_push(struct call *call)
{
    struct conn *c = call->conn;
    pushing_begin(call);
    if (!c->ws)
        return;
    http1_close(c->http1);
    c->http1 = NULL;
    call->http = (struct http_request){ .body = SPAN_NONE };
    pushing_stands(call);
}

static void refuse_rest(struct call *call, enum err e, const char *detail)
{
    struct rest_answer a;
    if (!call->rest->faults.n) {
        call_refuse_http(call, e, detail);
        return;
    }
    call->node->metrics.requests_refused++;
    rest_refusal(call->rest, e, detail, &call->node->turn, &a);
    call_answer_http(call, &a);
}

void call_rest_known(struct call *call)
{
    const struct http_request *r = &call->http;
    const char *detail = NULL;
    enum err e = login_may_send(call, r->body.len);
    if (e != ERR_OK) {
        call_refuse_http(call, e, NULL);
        return;
    }
    call->rest = ARENA_NEW(&call->arena, struct rest_call);
    e = rest_call(r, &call->arena, call->rest, &detail);
    if (call->rest->secret)
        call->conn->secret = call->node->secrets_came = true;
    call->rest->flags = call->node->flagsets;
    call_lend(call);
    if (e == ERR_OK)
        e = rest_plan(call->rest, call->node->machine.kv, &call->arena, &detail);
    if (e == ERR_OK)
        e = may_stream(call);
    if (e != ERR_OK) {
        refuse_rest(call, e, detail);
    } else if (call->rest->access && call->rest->request.type == REQUEST_NONE) {
        access_now(call);
    } else if (call->rest->kind == REST_WATCH) {
        if (begin_watch(call, r)) {
            call->watch = watching_open(call);
            call_take(call, &call->rest->request, SPAN_NONE);
            watch_also(call);
        }
    } else if (call->rest->kind == REST_PUSH) {
        if (begin_watch(call, r))
            begin_push(call);
    } else if (call->rest->kind == REST_SAY) {
        pushing_say(call);
    } else if (call->rest->kind == REST_DELIVERIES) {
        deliveries_begin(call);
    } else if (call->rest->kind == REST_SNAPSHOT) {
        begin_download(call);
    } else {
        call_take(call, &call->rest->request, SPAN_NONE);
    }
}

void call_download_end(struct call *call, enum err e)
{
    struct conn *c = call->conn;
    if (!c || call->ended)
        return;
    if (e == ERR_OK && !call->method) {
        call_end_texts(call);
        return;
    }
    if (e != ERR_OK)
        slog(SLOG_WARN, "a snapshot could not be sent", "error=%s", slog_quote(err_text(e)));
    if (call->method) {
        call_end(call, e);
        return;
    }
    call->ended = true;
    call_settle(call);
    if (call->stream)
        h2_reset(call->stream, H2_INTERNAL);
    else
        c->closing = true; /* without an end */
    conn_touch(c);
}

void call_http1(struct conn *c, const struct http_request *r)
{
    struct call *call = call_new(c, NULL);
    c->call = call;
    call_open_rest(call, r);
}
