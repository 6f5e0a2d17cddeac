/* call_int: what the files of calls share. */
#pragma once
#include "node/node_int.h"

struct call *call_new(struct conn *c, struct h2_stream *s);
void call_stand(struct call *call); /* it may stand for ever: ends when the node stops */
void call_answer(struct call *call, const struct reply *reply);
/* The same, and what waits behind it on the connection goes on. The call may be gone then. */
void call_answer_late(struct call *call, const struct reply *reply);
void call_fail_late(struct call *call, enum err e);
/* Something that the call waited for has come; false: nobody is there any more to be told. */
bool call_back(struct call *call);
void call_settle(struct call *call); /* lets go of everything but the memory */
/* One decoded request of any door; message: its bytes, if it is gRPC's. */
void call_take(struct call *call, struct request *r, struct span message);
void call_answer_http(struct call *call, const struct rest_answer *a);
void call_refuse_http(struct call *call, enum err e, const char *detail);
void call_end_texts(struct call *call); /* the end of a stream of texts, by our wish */
/* A whole request that is not gRPC. */
void call_open_rest(struct call *call, const struct http_request *r);
/* Who asks is known: what came goes on. The call may be gone after it. */
void call_rest_known(struct call *call);
void call_grpc_known(struct call *call);
void call_gate_known(struct call *call);
/* A call of a method begins, whatever carries it: metrics, metadata, what its kind needs. What it
 * is refused with is for the caller to tell. */
enum err call_begin(struct call *call, const struct http_request *head) MUST_CHECK;
void call_message(struct call *call, struct span message); /* one request message of it */
void call_finish(struct call *call, int code, const char *text); /* its gRPC status, once */
/* An answer's own headers and those that every one over HTTP has, in room for CALL_HEADERS_MAX. */
enum { CALL_HEADERS_MAX = 16 };
size_t call_headers(struct call *call, const struct http_header *own, size_t n,
                    struct http_header *out);
/* The head of an answer that comes in pieces; over HTTP/1.1, http1_can_stream was asked. */
void call_begin_texts(struct call *call, const struct http_header *own, size_t n);
/* False: it was refused. on_message gets the connection. */
bool call_begin_websocket(struct call *call, const struct http_request *r,
                          const struct ws_limits *limits, const char *protocol,
                          void (*on_message)(void *context, struct span text));
void call_refuse_protocol(struct call *call); /* 426: a stream needs HTTP/1.1 */

/* ---- call_check.c: what a write over REST must hold ---- */

enum { CALL_CHECKS_MAX = 8 }; /* of one write, when rules change meanwhile again and again */
void call_lend(struct call *call); /* fills in what its rest_call needs of the node */
/* False: what it would write must not be, and was refused. Its request may have become another. */
bool call_check(struct call *call);
/* True: the reply is not for the caller: what was judged by has changed, and it is done anew. */
bool call_again(struct call *call, const struct reply *reply);

/* ---- call_gate.c: the JSON door ---- */

void call_open_gate(struct call *call, const struct http_request *r);
struct buf *call_gate_begin(struct call *call); /* as call_message_begin */
void call_gate_end(struct call *call);          /* as call_message_end */
void call_gate_finish(struct call *call, int code, const char *text);
/* What it waited for has come: takes the next message, or ends. The call may be gone after it. */
void call_gate_go_on(struct call *call);
void call_gate_free(struct call *call);

/* ---- call_flagd.c ---- */

void call_flagd_message(struct call *call, struct span message); /* the one of a call */
void call_flagd_answer(struct call *call);                       /* it may be read */

/* ---- call_own.c: what the node knows itself ---- */

void call_answer_own(struct call *call, const struct request *r);
void call_answer_health(struct call *call, const struct request *r);
void call_change_members(struct call *call, const struct request *r);
