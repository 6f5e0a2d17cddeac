/* http2: one HTTP/2 connection, server's or client's side (RFC 9113). Header blocks are read by
 * nghttp2's HPACK decoder; frames, windows and the encoder are ours, for they are most of what a
 * small request costs (docs/performance.md).
 *
 * Bytes in by h2_feed, out by h2_output; events come as calls from both (on_close from h2_output
 * too, when the last frame of a stream leaves), neither of which must be entered again from
 * them. Everything else may be called from an event. A stream's pointer is valid until its
 * on_close has returned. What is written to a stream waits in its own queue until windows allow
 * it: h2_stream_queued is the measure for back-pressure. Pure: memory from the given allocator. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http/http.h"

struct h2;
struct h2_stream;

enum h2_role { H2_SERVER, H2_CLIENT };

/* Of RFC 9113 section 7; what the protocol itself asks for is sent from within. */
enum { H2_NO_ERROR = 0, H2_PROTOCOL_ERROR = 1, H2_INTERNAL = 2, H2_CANCEL = 8 };

struct h2_limits {
    uint32_t streams_max;   /* open at once, as the peer is told */
    uint32_t stream_window; /* bytes that may come before we have taken them */
    uint32_t connection_window;
    uint32_t header_list_max; /* bytes of one header block, RFC 9113 6.5.2 */
    /* Server: take what is no host for the authority. On a socket of this machine older gRPC for
     * Go names its path. */
    bool any_authority;
};
void h2_limits_default(struct h2_limits *out);

struct h2_events {
    /* Server: a header block is complete. Spans of head are valid in the call only; body is
     * empty. */
    void (*on_request)(void *context, struct h2_stream *s, const struct http_request *head);
    /* Client. */
    void (*on_response)(void *context, struct h2_stream *s, int status,
                        const struct http_header *headers, size_t n);
    void (*on_data)(void *context, struct h2_stream *s, struct span data);
    void (*on_trailers)(void *context, struct h2_stream *s, const struct http_header *headers,
                        size_t n);
    void (*on_end)(void *context, struct h2_stream *s); /* the peer sends no more on it */
    void (*on_close)(void *context, struct h2_stream *s, uint32_t code);
};

struct h2 *h2_open(struct alloc *alloc, enum h2_role role, const struct h2_limits *limits,
                   const struct h2_events *events, void *context);
void h2_close(struct h2 *h); /* on_close comes for every stream that is still open */

/* ERR_MESSAGE_MALFORMED: the peer broke the protocol; what h2_output gives (a GOAWAY) should
 * still be sent, then the connection closed. */
enum err h2_feed(struct h2 *h, struct span in) MUST_CHECK;

/* Appends what may be sent now, until out holds about max bytes. */
void h2_output(struct h2 *h, struct buf *out, size_t max);
bool h2_wants_write(const struct h2 *h);
bool h2_done(const struct h2 *h); /* nothing to read or write any more */
size_t h2_streams(const struct h2 *h);

void h2_stream_set_user(struct h2_stream *s, void *user);
void *h2_stream_user(const struct h2_stream *s);

/* Client: NULL when the connection takes no more streams. end: there is no body. */
struct h2_stream *h2_request(struct h2 *h, const struct http_header *headers, size_t n, bool end);

/* Server: headers[0] is ":status". end: no body. */
void h2_respond(struct h2_stream *s, const struct http_header *headers, size_t n, bool end);

/* Data for the stream: write into the buffer that begin gives, then end; or copy with h2_write. */
struct buf *h2_write_begin(struct h2_stream *s);
void h2_write_end(struct h2_stream *s, bool end);
void h2_write(struct h2_stream *s, struct span data, bool end);

/* After the queued data; ends the stream. */
void h2_trailers(struct h2_stream *s, const struct http_header *headers, size_t n);
/* Breaks the stream off: what was sent of the answer is no answer. */
void h2_reset(struct h2_stream *s, uint32_t code);
size_t h2_stream_queued(const struct h2_stream *s);

/* Server: the answer is or will be whole though the request is not. The peer gets no more window on
 * this stream (what is on its way still comes) and, behind the answer, a reset with NO_ERROR: send
 * no more (RFC 9113 8.1). Not every client of plain HTTP knows that (curl 7.88 fails). */
void h2_hear_no_more(struct h2_stream *s);

/* Once a second: what a peer may break off and spoil (RESET_RATE) grows again. */
void h2_second(struct h2 *h);
void h2_goaway(struct h2 *h); /* graceful: no new streams, the open ones go on */
