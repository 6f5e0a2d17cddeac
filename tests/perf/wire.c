#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/check.h"
#include "load.h"

enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { WINDOW = 1 << 30, GIVE_BACK = 1 << 20 };

void field_number(struct buf *b, uint32_t field, int64_t v)
{
    if (v) {
        buf_varint(b, field << 3);
        buf_varint(b, (uint64_t)v);
    }
}

void field_bytes(struct buf *b, uint32_t field, struct span s)
{
    buf_varint(b, field << 3 | 2);
    buf_varint(b, s.len);
    buf_span(b, s);
}

static void frame_head(struct buf *b, size_t len, int type, int flags, uint32_t id)
{
    uint8_t head[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
                        (uint8_t)type,        (uint8_t)flags,      (uint8_t)(id >> 24),
                        (uint8_t)(id >> 16),  (uint8_t)(id >> 8),  (uint8_t)id };
    buf_put(b, head, 9);
}

static void big_u32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    buf_put(b, bytes, 4);
}

static void setting(struct buf *b, int id, uint32_t value)
{
    uint8_t bytes[2] = { 0, (uint8_t)id };
    buf_put(b, bytes, 2);
    big_u32(b, value);
}

bool wire_open(struct wire *w, struct alloc *alloc, const char *host, int port, uint32_t streams,
               const struct wire_events *events, void *context)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int one = 1;
    *w = (struct wire){ .alloc = alloc, .events = events, .context = context, .next_id = 1 };
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
        connect(w->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        return false;
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(w->fd, F_SETFL, O_NONBLOCK);
    snprintf(w->authority, sizeof(w->authority), "%s:%d", host, port);
    buf_open(&w->in, alloc);
    buf_open(&w->out, alloc);
    buf_open(&w->good_trailers, alloc);
    w->n_streams = streams;
    w->streams = mem_zero(alloc, streams * sizeof(*w->streams));
    for (w->slots_cap = 16; w->slots_cap < streams * 2; w->slots_cap *= 2)
        ;
    w->slots = mem_zero(alloc, w->slots_cap * sizeof(*w->slots));
    for (uint32_t i = 0; i < streams; i++) {
        w->streams[i].wire = w;
        buf_open(&w->streams[i].message, alloc);
    }
    buf_text(&w->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame_head(&w->out, 12, SETTINGS, 0, 0);
    setting(&w->out, 1, 0); /* no HPACK table: every header block stands alone */
    setting(&w->out, 4, WINDOW);
    frame_head(&w->out, 4, WINDOW_UPDATE, 0, 0);
    big_u32(&w->out, WINDOW - 65535);
    return true;
}

void wire_close(struct wire *w)
{
    for (uint32_t i = 0; i < w->n_streams; i++)
        buf_close(&w->streams[i].message);
    mem_free(w->alloc, w->streams, w->n_streams * sizeof(*w->streams));
    mem_free(w->alloc, w->slots, w->slots_cap * sizeof(*w->slots));
    buf_close(&w->in);
    buf_close(&w->out);
    buf_close(&w->good_trailers);
    close(w->fd);
}

/* ---- sending ---- */

static void text(struct buf *b, const char *s)
{
    CHECK(strlen(s) < 127);
    buf_u8(b, (uint8_t)strlen(s));
    buf_text(b, s);
}

/* HPACK without any table: static names by number, values as they are (RFC 7541 6.2.2). */
static void header_block(struct buf *b, const char *path, const char *authority)
{
    buf_u8(b, 0x83); /* :method POST */
    buf_u8(b, 0x86); /* :scheme http */
    buf_u8(b, 0x04); /* :path */
    text(b, path);
    buf_u8(b, 0x01); /* :authority */
    text(b, authority);
    buf_put(b, "\x0f\x10", 2); /* content-type */
    text(b, "application/grpc");
    buf_u8(b, 0x00);
    text(b, "te");
    text(b, "trailers");
}

static void begin(struct wire_stream *s)
{
    struct wire *w = s->wire;
    s->id = w->next_id;
    w->next_id += 2;
    w->slots[(s->id / 2) % w->slots_cap] = (uint32_t)(s - w->streams);
    buf_reset(&s->message);
    s->good = false;
    s->began_us = clock_us();
}

static void data_frame(struct wire_stream *s, struct span message, bool end)
{
    struct buf *out = &s->wire->out;
    frame_head(out, 5 + message.len, DATA, end ? END_STREAM : 0, s->id);
    buf_u8(out, 0);
    big_u32(out, (uint32_t)message.len);
    buf_span(out, message);
}

void wire_call(struct wire_stream *s, const char *path, struct span message, bool end)
{
    struct wire *w = s->wire;
    begin(s);
    size_t start = w->out.len;
    frame_head(&w->out, 0, HEADERS, END_HEADERS, s->id);
    header_block(&w->out, path, w->authority);
    w->out.data[start + 2] = (uint8_t)(w->out.len - start - 9);
    data_frame(s, message, end);
}

void wire_http(struct wire_stream *s, const char *method, const char *path, struct span body)
{
    struct wire *w = s->wire;
    struct buf *out = &w->out;
    begin(s);
    s->http = true;
    size_t start = out->len;
    frame_head(out, 0, HEADERS, END_HEADERS | (body.len ? 0 : END_STREAM), s->id);
    buf_u8(out, 0x02); /* :method */
    text(out, method);
    buf_u8(out, 0x86); /* :scheme http */
    buf_u8(out, 0x04);
    text(out, path);
    buf_u8(out, 0x01);
    text(out, w->authority);
    if (body.len) {
        buf_put(out, "\x0f\x10", 2);
        text(out, "application/json");
    }
    out->data[start + 1] = (uint8_t)((out->len - start - 9) >> 8);
    out->data[start + 2] = (uint8_t)(out->len - start - 9);
    if (body.len) {
        frame_head(out, body.len, DATA, END_STREAM, s->id);
        buf_span(out, body);
    }
}

void wire_more(struct wire_stream *s, struct span message)
{
    data_frame(s, message, false);
}

bool wire_flush(struct wire *w)
{
    size_t sent = 0;
    while (sent < w->out.len) {
        ssize_t n = send(w->fd, w->out.data + sent, w->out.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    buf_consume(&w->out, sent);
    return true;
}

/* ---- receiving ---- */

/* By the slot of its id; a long-lived stream may have lost its slot to newer ones. */
static struct wire_stream *stream_of(struct wire *w, uint32_t id)
{
    struct wire_stream *s = &w->streams[w->slots[(id / 2) % w->slots_cap]];
    for (uint32_t i = 0; s->id != id && i < w->n_streams; i++)
        s = &w->streams[i];
    return s->id == id ? s : NULL;
}

/* Trailers that were good once are good again, byte for byte; others are decoded. */
static bool good_status(struct wire *w, struct span block)
{
    if (span_equal(block, buf_all(&w->good_trailers)))
        return true;
    nghttp2_hd_inflater *inflater;
    CHECK(nghttp2_hd_inflate_new(&inflater) == 0);
    bool good = false;
    for (int flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
        nghttp2_nv nv;
        ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block.data, block.len, 1);
        if (n < 0)
            break;
        block = span_from(block, (size_t)n);
        if (flags & NGHTTP2_HD_INFLATE_EMIT && nv.namelen == 11 &&
            memcmp(nv.name, "grpc-status", 11) == 0)
            good = nv.valuelen == 1 && nv.value[0] == '0';
        if (!(flags & (NGHTTP2_HD_INFLATE_EMIT | NGHTTP2_HD_INFLATE_FINAL)) && !block.len)
            break;
    }
    nghttp2_hd_inflate_del(inflater);
    return good;
}

/* :status 200 or 204 of the static table, behind what may be said of the table's size. */
static bool good_head(struct span block)
{
    while (block.len && (block.data[0] & 0xe0) == 0x20)
        block = span_from(block, 1);
    return block.len && (block.data[0] == 0x88 || block.data[0] == 0x89);
}

static void end_of(struct wire *w, struct wire_stream *s, bool ok)
{
    s->id = 0;
    w->events->on_end(w->context, s, ok);
}

static void take_frame(struct wire *w, int type, int flags, uint32_t id, struct span payload)
{
    struct wire_stream *s = id ? stream_of(w, id) : NULL;
    if (type == DATA) {
        w->consumed += (int64_t)payload.len;
        if (s && s->keep) {
            buf_span(&s->message, payload);
            if (w->events->on_data)
                w->events->on_data(w->context, s);
        }
        if (s && flags & END_STREAM)
            end_of(w, s, s->good);
    } else if (type == HEADERS && s && !(flags & END_STREAM)) {
        s->good = s->http && good_head(payload);
    } else if (type == HEADERS && s) {
        if (s->http) {
            end_of(w, s, good_head(payload));
            return;
        }
        bool good = good_status(w, payload);
        if (good && w->good_trailers.len == 0)
            buf_span(&w->good_trailers, payload);
        end_of(w, s, good);
    } else if (type == RST_STREAM && s) {
        end_of(w, s, false);
    } else if (type == SETTINGS && !(flags & ACK)) {
        frame_head(&w->out, 0, SETTINGS, ACK, 0);
    } else if (type == PING && !(flags & ACK)) {
        frame_head(&w->out, payload.len, PING, ACK, 0);
        buf_span(&w->out, payload);
    } else if (type == GOAWAY) {
        fprintf(stderr, "load: the server says goodbye\n");
    }
}

static void cut_frames(struct wire *w)
{
    size_t at = 0;
    while (w->in.len - at >= 9) {
        const uint8_t *p = w->in.data + at;
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (w->in.len - at < 9 + len)
            break;
        uint32_t id =
            ((uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8]) & 0x7fffffff;
        take_frame(w, p[3], p[4], id, span_of(p + 9, len));
        at += 9 + len;
    }
    buf_consume(&w->in, at);
    if (w->consumed > GIVE_BACK) {
        frame_head(&w->out, 4, WINDOW_UPDATE, 0, 0);
        big_u32(&w->out, (uint32_t)w->consumed);
        w->consumed = 0;
    }
}

bool wire_receive(struct wire *w)
{
    for (;;) {
        ssize_t n = recv(w->fd, buf_room(&w->in, 256 << 10), 256 << 10, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        w->in.len += (size_t)n;
        cut_frames(w);
        if (n < 256 << 10)
            return true;
    }
}
