/* grpc: gRPC over HTTP/2: request heads, message framing, status (gRPC's PROTOCOL-HTTP2). Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http2/http2.h"

enum { GRPC_PREFIX = 5, GRPC_STATUS_TEXT_MAX = 4096 };

/* ---- server ---- */

bool grpc_is(const struct http_request *head); /* content-type application/grpc, +proto or ;... */

struct grpc_head {
    bool has_leader;    /* etcd's metadata "hasleader": "true" */
    int64_t timeout_us; /* 0: none */
};
/* ERR_METHOD_NOT_ALLOWED (not POST), ERR_ENCODING_UNKNOWN (neither identity nor gzip),
 * ERR_MESSAGE_MALFORMED (bad grpc-timeout). */
enum err grpc_head(const struct http_request *head, struct grpc_head *out) MUST_CHECK;

void grpc_respond(struct h2_stream *s); /* the head of an answer that has messages */
/* Ends the stream with a status; begun: grpc_respond was called before. */
void grpc_finish(struct h2_stream *s, bool begun, int code, const char *text);
/* And when to try again (gRPC A6, "pushback"); 0: nothing is said of that. */
void grpc_finish_later(struct h2_stream *s, bool begun, int code, const char *text,
                       int64_t retry_ms);

/* ---- client ---- */

/* POST path with the headers that gRPC wants, ready for messages. token: etcd's metadata of that
 * name, who asks; "" nobody. */
struct h2_stream *grpc_request(struct h2 *h, struct span authority, struct span path, bool secure,
                               struct span token);

/* The status in trailers or in a head without body: -1 when there is none; text is decoded into
 * out. */
int grpc_status(const struct http_header *headers, size_t n, struct buf *text);

/* ---- messages ---- */

/* Writes a message in place: begin gives where it starts, end fills in its size. */
size_t grpc_message_begin(struct buf *out);
void grpc_message_end(struct buf *out, size_t start);

/* Cuts a stream of bytes into messages. What is not whole yet is kept in part. */
struct grpc_reader {
    struct buf part;
    struct buf inflated;
    bool taken; /* part was given out and goes at the next call */
};
void grpc_reader_open(struct grpc_reader *r, struct alloc *alloc);
void grpc_reader_close(struct grpc_reader *r);

/* Takes from the front of in. *got: message is whole, and valid until the next call or until in
 * goes away. Without got, in is used up. ERR_MESSAGE_TOO_LARGE (larger than max, also when
 * inflated), ERR_MESSAGE_MALFORMED (flags other than 0 and 1, bad gzip). */
enum err grpc_reader_next(struct grpc_reader *r, struct span *in, size_t max, struct span *message,
                          bool *got) MUST_CHECK;
