/* websocket: the server's side of one WebSocket connection (RFC 6455), over wslay. Bytes in, text
 * messages out; pings are answered, the closing handshake is done. What is written goes straight
 * into the caller's buffer, whose length is all that is queued. */
#pragma once
#include <stdbool.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http/http.h"

struct ws;

struct ws_limits {
    size_t message_bytes_max; /* a larger one closes with 1009, as do more than 1,024 pieces */
};

/* Whether a request wants to become a WebSocket. (http1 hides the wish of HTTP/1.0 requests.) */
bool ws_wanted(const struct http_request *r);

/* Checks the handshake (RFC 6455 4.2.1) and appends the whole 101 answer, with the protocol (NULL:
 * none) if the peer offers it; on an error nothing is appended.
 * ERR_BAD_REQUEST; ERR_UPGRADE_REQUIRED: all is well but the version, which 426 with
 * "sec-websocket-version: 13" answers (4.4); ERR_INTERNAL where OpenSSL has no SHA-1. */
enum err ws_accept(const struct http_request *r, const char *protocol,
                   struct buf *out) MUST_CHECK;

/* on_message is called from ws_feed for each whole text message, which is valid UTF-8; ws_send and
 * ws_end may be called from it, ws_feed and ws_close not. */
struct ws *ws_open(struct alloc *alloc, const struct ws_limits *limits,
                   void (*on_message)(void *context, struct span text), void *context);
void ws_close(struct ws *w);

/* ERR_MESSAGE_MALFORMED: the peer broke a rule and out has told it so, with 1002 (protocol), 1003
 * (a binary message), 1007 (not UTF-8) or 1009 (too big); out is to be sent, then the connection
 * closed. What comes after either side's end is ignored. */
enum err ws_feed(struct ws *w, struct span in, struct buf *out) MUST_CHECK;
/* One text message, UTF-8; nothing once a close was sent. In on_message it reaches the out of
 * ws_feed, later than the call. */
void ws_send(struct ws *w, struct span text, struct buf *out);
void ws_send_two(struct ws *w, struct span a, struct span b, struct buf *out); /* one, of two */
void ws_leave(struct ws *w, struct buf *out); /* as ws_end, with 1001: going away */
void ws_end(struct ws *w, struct buf *out); /* begins the closing handshake: 1000, after all sent */
void ws_ping(struct ws *w, struct buf *out); /* whoever lives answers it; nothing after ws_end */
bool ws_ending(const struct ws *w);          /* we have said the last we have to say */
/* Closed on both sides, or broken by the peer and told so. */
bool ws_done(const struct ws *w);
