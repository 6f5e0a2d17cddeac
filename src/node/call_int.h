/* call_int: what call.c and call_http.c share. */
#pragma once
#include "node/node_int.h"

struct call *call_new(struct conn *c, struct h2_stream *s);
void call_settle(struct call *call); /* lets go of everything but the memory */
/* One decoded request of any door; message: its bytes, if it is gRPC's. */
void call_take(struct call *call, struct request *r, struct span message);
void call_answer_http(struct call *call, const struct rest_answer *a);
void call_refuse_http(struct call *call, enum err e, const char *detail);
void call_end_texts(struct call *call); /* the end of a stream of texts, by our wish */
/* A whole request that is not gRPC. */
void call_open_rest(struct call *call, const struct http_request *r);
