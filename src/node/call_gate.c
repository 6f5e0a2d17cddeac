/* Calls that come as JSON over HTTP (etcd's gateway): their messages are turned into those of gRPC
 * and taken as such, and the answers are turned back.
 *
 * A body holds any number of messages of a stream, which are taken one after the other, each when
 * the one before it is answered. A unary call and keep-alives are answered with one whole body;
 * other streams by a line for each message, as it comes. Over WebSocket each text is a message. */
#include "node/call_int.h"
#include "base/check.h"
#include "wire/json/json.h"

struct gate {
    struct buf message; /* the newest answer, while it is made */
    struct buf text;    /* of the answer; of the newest line */
    struct span rest;   /* of the request's body */
    size_t messages;
    bool feeding; /* in go_on: who ends the call now leaves its answer to that */
    bool due;     /* and has done so */
    struct rest_answer answer;
};

static bool gathers(const struct call *call)
{
    return !call->conn->ws &&
           (!gateway_streams(call->method) || call->method->kind == ETCD_KEEP_ALIVE);
}

static void json_answer(struct rest_answer *out, int status, struct span body)
{
    *out = (struct rest_answer){ .status = status, .header_count = 2, .body = body };
    out->headers[0] = (struct http_header){ SPAN("content-type"), SPAN("application/json") };
    out->headers[1] = (struct http_header){ SPAN("cache-control"), SPAN("no-store") };
}

/* ---- answers ---- */

struct buf *call_gate_begin(struct call *call)
{
    buf_reset(&call->gate->message);
    return &call->gate->message;
}

static void send_line(struct call *call)
{
    static const struct http_header headers[] = {
        { { (const uint8_t *)"content-type", 12 }, { (const uint8_t *)"application/json", 16 } },
        { { (const uint8_t *)"cache-control", 13 }, { (const uint8_t *)"no-store", 8 } },
    };
    struct gate *g = call->gate;
    if (!call->begun)
        call_begin_texts(call, headers, 2);
    call_text(call, buf_all(&g->text));
    buf_shrink(&g->text, KEEP_BYTES);
    buf_shrink(&g->message, KEEP_BYTES);
}

void call_gate_end(struct call *call)
{
    struct gate *g = call->gate;
    gateway_write(call->method, buf_all(&g->message), &g->text);
    if (!call->conn->ws && gateway_streams(call->method))
        buf_u8(&g->text, '\n');
    if (!gathers(call))
        send_line(call);
}

void call_gate_finish(struct call *call, int code, const char *text)
{
    struct gate *g = call->gate;
    bool stream = gateway_streams(call->method);
    if (call->begun) {
        if (code) {
            gateway_error(code, text, stream, &g->text);
            if (!call->conn->ws)
                buf_u8(&g->text, '\n');
            send_line(call);
        }
        call_end_texts(call);
        return;
    }
    if (code) {
        buf_reset(&g->text);
        gateway_error(code, text, false, &g->text);
    }
    json_answer(&g->answer, gateway_http(code), buf_all(&g->text));
    if (code == 0 && !g->text.len)
        g->answer.body = SPAN("\n"); /* no message came, and none is the answer */
    call_settle(call);
    call->ended = true;
    if (g->feeding)
        g->due = true;
    else
        call_answer_http(call, &g->answer);
}

void call_gate_free(struct call *call)
{
    buf_close(&call->gate->message);
    buf_close(&call->gate->text);
}

/* ---- requests ---- */

/* Something is wrong with what came before a call of a method could begin. */
static void refuse(struct call *call, enum err e, int code)
{
    struct buf b;
    struct rest_answer a;
    buf_open(&b, &call->node->alloc);
    gateway_error(code, err_text(e), false, &b);
    json_answer(&a, err_http(e), arena_copy(&call->arena, buf_all(&b)));
    buf_close(&b);
    if (e == ERR_METHOD_NOT_ALLOWED)
        a.headers[a.header_count++] = (struct http_header){ SPAN("allow"), SPAN("POST, OPTIONS") };
    call->node->metrics.requests_refused++;
    call_answer_http(call, &a);
}

static void take(struct call *call, struct span json)
{
    struct node *n = call->node;
    char why[JSONR_WHY_MAX];
    struct buf message;
    buf_open(&message, &n->alloc);
    enum err e = login_may_send(call, json.len);
    if (e == ERR_OK)
        e = gateway_read(call->method, json, &message, why);
    if (e == ERR_BODY_NOT_JSON)
        call_finish(call, err_grpc(e), why);
    else if (e != ERR_OK)
        call_end(call, e);
    else if (message.len > (size_t)n->params.request_bytes_max + SLACK_BYTES)
        call_end(call, ERR_MESSAGE_TOO_LARGE);
    else
        call_message(call, buf_all(&message));
    buf_close(&message);
}

static void take_next(struct call *call)
{
    struct gate *g = call->gate;
    struct span json = jsonr_first(&g->rest);
    bool one = !gateway_listens(call->method);
    if (one)
        g->rest = SPAN_NONE; /* as etcd, which looks at nothing behind it */
    if (!json.len && !one)
        return; /* only white space was left; for one message, it is one that is empty */
    if (++g->messages > GATE_MESSAGES_MAX)
        call_finish(call, err_grpc(ERR_BODY_TOO_LARGE), "the body has more than 1000 messages");
    else
        take(call, json);
}

void call_gate_go_on(struct call *call)
{
    struct gate *g = call->gate;
    if (g->feeding || call->conn->ws || login_waits(call))
        return;
    g->feeding = true;
    do {
        if (!call->ended && !call->renewing && !call->waiting)
            take_next(call);
    } while (!call->ended && !call->renewing && !call->waiting && g->rest.len);
    g->feeding = false;
    if (g->due)
        call_answer_http(call, &g->answer);
    else if (call->method->kind == ETCD_KEEP_ALIVE && !call->ended && !g->rest.len &&
             !call->renewing && !call->waiting)
        call_end(call, ERR_OK);
}

void call_gate_known(struct call *call)
{
    if (!call->conn->ws) {
        call_gate_go_on(call);
        return;
    }
    struct buf kept = call->body;
    struct span rest = buf_all(&kept);
    buf_open(&call->body, &call->node->alloc);
    while (rest.len && !call->ended) {
        struct span json = jsonr_first(&rest);
        if (json.len)
            take(call, json);
    }
    buf_close(&kept);
}

static void on_websocket_message(void *context, struct span text)
{
    struct conn *c = context;
    struct call *call = c->call;
    if (!call || call->ended || (!gateway_listens(call->method) && call->gate->messages++))
        return;
    if (!login_waits(call)) {
        take(call, text);
    } else if (call->body.len + text.len < c->node->http1_limits.body_bytes_max) {
        buf_span(&call->body, text);
        buf_u8(&call->body, '\n');
    } else {
        call_end(call, ERR_BODY_TOO_LARGE);
    }
}

void call_open_gate(struct call *call, const struct http_request *r)
{
    struct http_request head;
    const struct etcd_method *method = gateway_method(r->path);
    bool websocket = ws_wanted(r);
    if (!method) {
        refuse(call, ERR_NOT_FOUND, err_grpc(ERR_NOT_FOUND));
        return;
    }
    if (!websocket && !span_is(r->method, "POST")) {
        refuse(call, ERR_METHOD_NOT_ALLOWED, err_grpc(ERR_METHOD_NOT_ALLOWED));
        return;
    }
    if (websocket && !call_begin_websocket(call, r, &call->node->gate_ws_limits, "Bearer",
                                           on_websocket_message))
        return;
    call->gate = ARENA_NEW(&call->arena, struct gate);
    buf_open(&call->gate->message, &call->node->alloc);
    buf_open(&call->gate->text, &call->node->alloc);
    call->method = method;
    if (!gathers(call) && !websocket && !call->stream && !http1_can_stream(call->conn->http1)) {
        call_refuse_protocol(call);
        return;
    }
    gateway_head(r, method, &call->arena, &head);
    enum err e = call_begin(call, &head);
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    call->gate->rest = websocket ? SPAN_NONE : r->body;
    call_gate_go_on(call);
}
