#include "base/check.h"
#include "wire/http2/http2_int.h"

static void put_u32(struct buf *out, uint32_t v)
{
    buf_u32(out, __builtin_bswap32(v)); /* the wire is big-endian */
}

void put_frame_head(struct buf *out, size_t len, int type, int flags, uint32_t id)
{
    CHECK(len <= FRAME_MAX);
    uint8_t *p = buf_room(out, FRAME_HEAD);
    p[0] = 0;
    p[1] = (uint8_t)(len >> 8);
    p[2] = (uint8_t)len;
    p[3] = (uint8_t)type;
    p[4] = (uint8_t)flags;
    p[5] = (uint8_t)(id >> 24);
    p[6] = (uint8_t)(id >> 16);
    p[7] = (uint8_t)(id >> 8);
    p[8] = (uint8_t)id;
    out->len += FRAME_HEAD;
}

void put_frame_u32(struct h2 *h, int type, uint32_t id, uint32_t value)
{
    put_frame_head(&h->frames, 4, type, 0, id);
    put_u32(&h->frames, value);
}

static void put_setting(struct buf *out, int id, uint32_t value)
{
    uint8_t head[2] = { 0, (uint8_t)id };
    buf_put(out, head, 2);
    put_u32(out, value);
}

void put_settings(struct h2 *h)
{
    bool client = h->role == H2_CLIENT;
    if (client)
        buf_text(&h->frames, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    else
        h->preface_left = 24;
    put_frame_head(&h->frames, client ? 24 : 18, H2_SETTINGS, 0, 0);
    put_setting(&h->frames, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->limits.streams_max);
    put_setting(&h->frames, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h->limits.stream_window);
    put_setting(&h->frames, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h->limits.header_list_max);
    if (client)
        put_setting(&h->frames, NGHTTP2_SETTINGS_ENABLE_PUSH, 0);
    CHECK(h->limits.connection_window > WINDOW_FIRST && h->limits.stream_window >= WINDOW_FIRST);
    put_frame_u32(h, H2_WINDOW_UPDATE, 0, h->limits.connection_window - WINDOW_FIRST);
    h->room = h->limits.connection_window;
}

/* A block that is longer than a frame goes on in CONTINUATIONs. */
void put_headers(struct h2 *h, struct buf *out, uint32_t id, const struct http_header *headers,
                 size_t n, bool end)
{
    size_t start = out->len;
    put_frame_head(out, 0, H2_HEADERS, END_HEADERS | (end ? END_STREAM : 0), id);
    head_put(&h->table, headers, n, out);
    size_t len = out->len - start - FRAME_HEAD;
    if (len <= FRAME_MAX) {
        out->data[start + 1] = (uint8_t)(len >> 8);
        out->data[start + 2] = (uint8_t)len;
        return;
    }
    struct buf block;
    buf_open(&block, h->alloc);
    buf_put(&block, out->data + start + FRAME_HEAD, len);
    out->len = start;
    for (size_t at = 0; at < len; at += FRAME_MAX) {
        size_t piece = len - at < FRAME_MAX ? len - at : FRAME_MAX;
        int flags = (at + piece == len ? END_HEADERS : 0) | (end && at == 0 ? END_STREAM : 0);
        put_frame_head(out, piece, at ? H2_CONTINUATION : H2_HEADERS, flags, id);
        buf_put(out, block.data + at, piece);
    }
    buf_close(&block);
}

void connection_fail(struct h2 *h, uint32_t code)
{
    if (h->failed)
        return;
    h->failed = true;
    put_frame_head(&h->frames, 8, H2_GOAWAY, 0, 0);
    put_u32(&h->frames, h->role == H2_SERVER ? h->last_id : 0);
    put_u32(&h->frames, code);
}

void stream_break(struct h2_stream *s, uint32_t code)
{
    if (s->reset)
        return;
    s->reset = true;
    s->close_code = code;
    put_frame_u32(s->h2, H2_RST_STREAM, s->id, code);
    list_add(&s->h2->closing, s);
}

/* ---- data ---- */

/* Our end has left. With the peer's it is over; and over as well when the peer is not to go on
 * (RFC 9113 8.1). */
static void end_said(struct h2_stream *s)
{
    s->said_all = true;
    list_leave(s);
    if (!s->heard_all && s->heard_enough)
        stream_break(s, H2_NO_ERROR);
    else if (s->heard_all)
        list_add(&s->h2->closing, s);
}

void stream_ready(struct h2_stream *s)
{
    if (s->reset || s->said_all || s->in)
        return;
    if (h2_stream_queued(s) ? s->window > 0 : s->ended)
        list_add(&s->h2->ready, s);
}

static void queue_sent(struct h2_stream *s, size_t n)
{
    s->sent += n;
    if (s->sent == s->queue.len) {
        buf_shrink(&s->queue, 0); /* an emptied queue keeps nothing: idle streams are many */
        s->sent = 0;
    } else if (s->sent > s->queue.len / 2) {
        buf_consume(&s->queue, s->sent);
        s->sent = 0;
    }
}

static size_t least(size_t a, int64_t b)
{
    return b <= 0 ? 0 : a < (size_t)b ? a : (size_t)b;
}

/* One DATA frame of the stream, and its end if that is all; then others have their turn. */
void send_some(struct h2_stream *s, struct buf *out)
{
    struct h2 *h = s->h2;
    size_t waiting = h2_stream_queued(s);
    size_t n = least(least(waiting < FRAME_MAX ? waiting : FRAME_MAX, s->window), h->window);
    bool last = n == waiting && s->ended, bare = s->n_trailers == 0;
    CHECK(!s->reset && !s->said_all && s->has_body);
    list_leave(s);
    if (s->head_ended) {
        end_said(s);
        return;
    }
    if (waiting && !n) {
        if (s->window > 0)
            list_add(&h->blocked, s);
        return; /* WINDOW_UPDATE brings it back */
    }
    if (n || (last && bare)) {
        put_frame_head(out, n, H2_DATA, last && bare ? END_STREAM : 0, s->id);
        if (n)
            buf_put(out, s->queue.data + s->sent, n);
        s->window -= (int64_t)n;
        h->window -= (int64_t)n;
        queue_sent(s, n);
    }
    if (last && !bare)
        put_headers(h, out, s->id, s->trailers, s->n_trailers, true);
    if (last)
        end_said(s);
    else
        stream_ready(s);
}
