/* http1: one server-side HTTP/1.1 connection (RFC 9112), strict: what two readers could read two
 * ways is refused. Bytes in, one request at a time out; answers are written into the caller's
 * buffer. Pure.
 *
 * Refused: bare CR or LF, folded lines, space before a colon, control characters, no Host or
 * two, Content-Length with Transfer-Encoding or twice with two values, any Transfer-Encoding but
 * chunked alone, versions other than 1.0 and 1.1. Trailers are bounded and dropped. */
#pragma once
#include <stdbool.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http/http.h"

struct http1;

struct http1_limits {
    size_t head_bytes_max; /* request line and headers; also trailers */
    size_t headers_max;
    size_t body_bytes_max;
};

struct http1 *http1_open(struct alloc *alloc, const struct http1_limits *limits);
void http1_close(struct http1 *h);

/* Takes bytes up to the end of one request; *used tells how many: what is left belongs to the
 * next one and is to be fed after http1_next. Errors (then http1_status tells what to answer
 * before closing): ERR_BAD_REQUEST, ERR_BODY_TOO_LARGE, ERR_REQUEST_TOO_LARGE (head),
 * ERR_NOT_BUILT (encoding, version). */
enum err http1_feed(struct http1 *h, struct span in, size_t *used) MUST_CHECK;
int http1_status(const struct http1 *h);

/* True once a whole request is there; its spans stay valid until http1_next. */
bool http1_request(const struct http1 *h, struct http_request *out);
/* The head is whole, the peer waits for "100 Continue": true once. */
bool http1_wants_continue(struct http1 *h);
void http1_next(struct http1 *h);       /* forgets the request; ready for another */
bool http1_idle(const struct http1 *h); /* nothing of a request has come */
bool http1_keep_alive(const struct http1 *h);

/* A whole answer. keep_alive false adds "connection: close". HEAD and 304 get no body. */
void http1_respond(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                   struct span body, bool keep_alive, struct buf *out);

/* An answer in pieces (chunked): begin, any number of chunks, end. */
void http1_begin(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                 struct buf *out);
void http1_chunk(struct span data, struct buf *out);
void http1_end(struct buf *out);
