/* drive: feeds a WebSocket's bytes in pieces, writes down the messages that came of them, and
 * checks that what was sent is well formed; for the unit test and the fuzz target. */
#pragma once
#include "base/check.h"
#include "base/prng.h"
#include "wire/websocket/websocket.h"

enum { DRIVE_MESSAGE_MAX = 300 };

struct drive {
    struct ws *ws;
    struct buf *sent, *notes;
};

/* Notes it and sends it back, in the midst of ws_feed. */
static inline void drive_message(void *context, struct span text)
{
    struct drive *d = context;
    CHECK(text.len <= DRIVE_MESSAGE_MAX);
    buf_span(d->notes, text);
    buf_u8(d->notes, '\n');
    ws_send(d->ws, text, d->sent);
}

/* One frame as a server sends it: whole, not masked, no reserved bits. False: there is none. */
static inline bool drive_frame(struct span *s, uint8_t *opcode, struct span *payload)
{
    uint8_t first, size, byte;
    if (!span_u8(s, &first) || !span_u8(s, &size))
        return false;
    uint64_t len = size;
    CHECK((first & 0xf0) == 0x80 && size < 0x80);
    if (size >= 126)
        len = 0;
    for (int i = size == 126 ? 2 : size == 127 ? 8 : 0; i > 0; i--) {
        CHECK(span_u8(s, &byte));
        len = len << 8 | byte;
    }
    *opcode = first & 0x0f;
    CHECK(span_take(s, len, payload));
    return true;
}

/* What was sent must be frames, a close at most once and last: returns its code, or 0 for none,
 * or 1005 for one that has none. */
static inline int drive_sent(struct span sent)
{
    uint8_t opcode;
    struct span payload;
    while (drive_frame(&sent, &opcode, &payload)) {
        CHECK(opcode == 1 || opcode == 8 || opcode == 10);
        CHECK(opcode == 1 || payload.len <= 125);
        if (opcode != 8)
            continue;
        CHECK(sent.len == 0 && payload.len != 1);
        return payload.len ? payload.data[0] << 8 | payload.data[1] : 1005;
    }
    return 0;
}

/* Pieces of piece bytes, or, when that is 0, of 1 to 8 at random. The result is what drive_sent
 * says. Each message makes a line of notes; in the end comes "closed" or "broken" where it is. */
static inline int drive(struct alloc *alloc, struct span in, size_t piece, uint64_t seed,
                        struct buf *sent, struct buf *notes)
{
    const struct ws_limits limits = { .message_bytes_max = DRIVE_MESSAGE_MAX };
    struct drive d = { .sent = sent, .notes = notes };
    struct prng prng = { seed };
    enum err e = ERR_OK;
    d.ws = ws_open(alloc, &limits, drive_message, &d);
    while (in.len && e == ERR_OK && !ws_done(d.ws)) {
        size_t n = piece ? piece : 1 + (size_t)prng_below(&prng, 8);
        n = n < in.len ? n : in.len;
        e = ws_feed(d.ws, span_of(in.data, n), sent);
        in = span_from(in, n);
    }
    int code = drive_sent(buf_all(sent));
    CHECK(ws_done(d.ws) == (code != 0));
    CHECK(e == ERR_OK || code >= 1002);
    size_t before = sent->len;
    if (ws_done(d.ws)) { /* nothing more comes of anything */
        ws_send(d.ws, SPAN("more"), sent);
        ws_end(d.ws, sent);
        CHECK(ws_feed(d.ws, SPAN("\x81\x80\0\0\0\0"), sent) == e && sent->len == before);
        buf_text(notes, e == ERR_OK ? "closed" : "broken");
    }
    ws_close(d.ws);
    return code;
}
