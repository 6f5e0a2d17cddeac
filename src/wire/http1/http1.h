/* http1: one server-side HTTP/1.1 connection (RFC 9112), strict: what two readers could read two
 * ways is refused. Bytes in, one request at a time out; answers are written into the caller's
 * buffer. Pure.
 *
 * Refused: bare CR or LF, folded lines, space before a colon, control characters, no Host or
 * two or one that is no host, Content-Length with Transfer-Encoding or twice with two values, any
 * Transfer-Encoding but chunked alone, versions other than 1.0 and 1.1, a chunk's CRLF that is
 * not there. Chunk extensions and trailers are checked, bounded and dropped. One empty line
 * before a request is let pass. What is refused does not depend on how the bytes were cut. */
#pragma once
#include <stdbool.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http/http.h"

struct http1;

struct http1_limits {
    size_t head_bytes_max; /* request line and headers; also chunk extensions and trailers */
    size_t headers_max;
    size_t body_bytes_max;
};

struct http1 *http1_open(struct alloc *alloc, const struct http1_limits *limits);
void http1_close(struct http1 *h);

/* Takes bytes up to the end of one request; *used tells how many: what is left belongs to the
 * next one and is to be fed after http1_next. After an error nothing more may be fed; err_http of
 * it is what to answer before closing: ERR_BAD_REQUEST (400), ERR_BODY_TOO_LARGE (413),
 * ERR_TARGET_TOO_LONG (414: the request line alone is over head_bytes_max), ERR_HEAD_TOO_LARGE
 * (431: the head or the trailers are, or there are too many headers), ERR_NOT_BUILT (501: a
 * transfer encoding), ERR_HTTP_VERSION (505). */
enum err http1_feed(struct http1 *h, struct span in, size_t *used) MUST_CHECK;

/* True once a whole request is there; its spans stay valid until http1_next. A target may have
 * been "/path", "http://host/path" (then authority is that host, whatever Host says) or, for
 * OPTIONS, "*". An Upgrade that came in HTTP/1.0 is not among the headers. */
bool http1_request(const struct http1 *h, struct http_request *out);
/* The head is whole, the peer waits for "100 Continue": true once. */
bool http1_wants_continue(struct http1 *h);
void http1_next(struct http1 *h);       /* forgets the request; ready for another */
bool http1_idle(const struct http1 *h); /* nothing of a request has come */
/* Whether the peer lets the connection go on after the request that is there. */
bool http1_keep_alive(const struct http1 *h);

/* A whole answer to the request, or to what is broken or late; status 200 to 599. keep_alive false
 * adds "connection: close". HEAD gets no body, 204 and 304 neither body nor length. Names and
 * values of headers are ours, never the peer's: a control character in them is a bug. */
void http1_respond(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                   struct span body, bool keep_alive, struct buf *out);

/* An answer in pieces (chunked), after which the connection closes: begin, any number of chunks,
 * end. HTTP/1.0 knows no chunks and HEAD has no body: http1_can_stream is false for them. */
bool http1_can_stream(const struct http1 *h);
void http1_begin(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                 struct buf *out);
void http1_chunk(struct span data, struct buf *out); /* nothing for no data */
void http1_end(struct buf *out);
