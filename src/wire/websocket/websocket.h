/* websocket: the server's side of one WebSocket connection (RFC 6455), over wslay. Bytes in,
 * messages out; pings are answered, the closing handshake is done. wslay keeps its own small
 * heap. */
#pragma once
#include <stdbool.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http/http.h"

struct ws;

struct ws_limits {
    size_t message_bytes_max; /* a larger message closes with 1009 */
};

/* Whether a request wants to become a WebSocket. */
bool ws_wanted(const struct http_request *r);

/* Checks the handshake (RFC 6455 4.2.1) and appends the whole 101 answer. ERR_BAD_REQUEST. */
enum err ws_accept(const struct http_request *r, struct buf *out) MUST_CHECK;

struct ws *ws_open(struct alloc *alloc, const struct ws_limits *limits,
                   void (*on_message)(void *context, struct span text), void *context);
void ws_close(struct ws *w);

/* ERR_MESSAGE_MALFORMED: broken; what was put into out is to be sent, then the connection
 * closed. */
enum err ws_feed(struct ws *w, struct span in, struct buf *out) MUST_CHECK;
void ws_send(struct ws *w, struct span text, struct buf *out); /* one text message */
void ws_end(struct ws *w, struct buf *out); /* begins the closing handshake: 1000 */
/* Closed on both sides, or broken by the peer and told so. */
bool ws_done(const struct ws *w);
