#include "base/check.h"
#include "wire/http2/http2_int.h"

struct frame {
    int type, flags;
    uint32_t id;
    struct span payload;
};

static uint32_t big_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Whether nobody has opened the stream yet (RFC 9113 5.1: only HEADERS may come on it). */
static bool is_idle(const struct h2 *h, uint32_t id)
{
    return id % 2 == 0 || id > h->last_id;
}

/* What the peer spoils or breaks off has cost us more than it. */
static void charge(struct h2 *h)
{
    if (--h->resets_left < 0)
        connection_fail(h, ENHANCE_YOUR_CALM);
}

static void stream_fail(struct h2 *h, uint32_t id, uint32_t code)
{
    struct h2_stream *s = stream_of(h, id);
    if (s)
        stream_break(s, code);
    else
        put_frame_u32(h, H2_RST_STREAM, id, code);
    if (code != REFUSED_STREAM) /* it may not have heard of our limit yet */
        charge(h);
}

/* RFC 9113 6.1, 6.2. False: more padding than frame. */
static bool unpad(const struct frame *f, struct span *in)
{
    uint8_t padding;
    *in = f->payload;
    if (!(f->flags & PADDED))
        return true;
    if (!span_u8(in, &padding) || padding > in->len)
        return false;
    in->len -= padding;
    return true;
}

/* ---- streams ---- */

/* The peer's end of the stream has come. */
static void end_heard(struct h2_stream *s)
{
    struct h2 *h = s->h2;
    if (s->length > 0) { /* less than it had said, 8.1.1 */
        stream_fail(h, s->id, H2_PROTOCOL_ERROR);
        return;
    }
    s->heard_all = true;
    h->events->on_end(h->context, s);
    if (s->said_all && !s->reset)
        list_add(&h->closing, s);
}

static void give_room(struct h2 *h, uint32_t id, int64_t *room, int64_t *owed, int64_t whole)
{
    if (*owed < whole / 2)
        return;
    put_frame_u32(h, H2_WINDOW_UPDATE, id, (uint32_t)*owed);
    *room += *owed;
    *owed = 0;
}

static void take_data(struct h2 *h, const struct frame *f)
{
    struct span data;
    int64_t size = (int64_t)f->payload.len;
    if (is_idle(h, f->id) || !unpad(f, &data)) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    h->room -= size;
    if (h->room < 0) {
        connection_fail(h, FLOW_CONTROL_ERROR);
        return;
    }
    h->owed += size;
    give_room(h, 0, &h->room, &h->owed, h->limits.connection_window);
    struct h2_stream *s = stream_of(h, f->id);
    if (!s)
        return; /* it is over; the peer may not know yet */
    if (s->heard_all || !s->has_head) {
        stream_fail(h, f->id, s->heard_all ? STREAM_CLOSED : H2_PROTOCOL_ERROR);
        return;
    }
    s->room -= size;
    bool fits = s->length < 0 || (int64_t)data.len <= s->length;
    if (s->room < 0 || !fits) {
        stream_fail(h, f->id, fits ? FLOW_CONTROL_ERROR : H2_PROTOCOL_ERROR);
        return;
    }
    s->length -= s->length < 0 ? 0 : (int64_t)data.len;
    if (data.len)
        h->events->on_data(h->context, s, data);
    if (s->reset)
        return;
    if (f->flags & END_STREAM) {
        end_heard(s);
    } else if (!s->heard_enough) {
        s->owed += size;
        give_room(h, s->id, &s->room, &s->owed, h->limits.stream_window);
    }
}

/* ---- header blocks ---- */

static void begin_request(struct h2 *h, uint32_t id, const struct head *head, bool end)
{
    struct h2_stream *s = stream_open(h, id);
    s->has_head = true;
    s->length = head->length;
    h->events->on_request(h->context, s, &head->request);
    if (end && !s->reset)
        end_heard(s);
}

static void answer_head(struct h2 *h, struct h2_stream *s, const struct head *head, bool end)
{
    bool interim = head->status >= 100 && head->status < 200;
    if (interim && end) {
        stream_fail(h, s->id, H2_PROTOCOL_ERROR);
        return;
    }
    if (interim)
        return;
    s->has_head = true;
    h->events->on_response(h->context, s, head->status, head->headers.items + head->n_pseudo,
                           head->headers.n - head->n_pseudo);
    if (end && !s->reset)
        end_heard(s);
}

static void trailers_heard(struct h2 *h, struct h2_stream *s, const struct head *head, bool end)
{
    if (!end || s->heard_all) {
        stream_fail(h, s->id, s->heard_all ? STREAM_CLOSED : H2_PROTOCOL_ERROR);
        return;
    }
    if (h->events->on_trailers)
        h->events->on_trailers(h->context, s, head->headers.items, head->headers.n);
    if (!s->reset)
        end_heard(s);
}

/* A block has to be read whatever becomes of its stream: the next one builds on it. */
static void take_block(struct h2 *h, uint32_t id, struct span block, bool end)
{
    struct h2_stream *s = stream_of(h, id);
    struct head *head;
    bool begins = h->role == H2_SERVER && id > h->last_id;
    enum err e = head_read(h, block, s && s->has_head, &head);
    if (e != ERR_OK) {
        connection_fail(h, e == ERR_MESSAGE_TOO_LARGE ? ENHANCE_YOUR_CALM : COMPRESSION_ERROR);
        return;
    }
    if (begins)
        h->last_id = id;
    if (!s && (!begins || h->said_goaway))
        return; /* it is over, or came after our goodbye */
    if (head->bad)
        stream_fail(h, id, H2_PROTOCOL_ERROR);
    else if (!s && h->n_streams >= h->limits.streams_max)
        stream_fail(h, id, REFUSED_STREAM);
    else if (!s)
        begin_request(h, id, head, end);
    else if (s->has_head)
        trailers_heard(h, s, head, end);
    else
        answer_head(h, s, head, end);
}

static void take_headers(struct h2 *h, const struct frame *f)
{
    struct span in;
    bool may_begin = h->role == H2_SERVER && f->id % 2 == 1;
    if (!unpad(f, &in) || (f->flags & HAS_PRIORITY && in.len < 5) ||
        (is_idle(h, f->id) && !may_begin)) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    if (f->flags & HAS_PRIORITY)
        in = span_from(in, 5);
    bool end = f->flags & END_STREAM;
    if (f->flags & END_HEADERS) {
        take_block(h, f->id, in, end);
        return;
    }
    buf_span(&h->block, in);
    h->block_stream = f->id;
    h->block_ends = end;
    h->continuations = 0;
}

static void take_continuation(struct h2 *h, const struct frame *f)
{
    if (!h->block_stream) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    buf_span(&h->block, f->payload);
    if (++h->continuations > CONTINUATIONS_MAX || h->block.len > h->limits.header_list_max) {
        connection_fail(h, ENHANCE_YOUR_CALM);
        return;
    }
    if (!(f->flags & END_HEADERS))
        return;
    h->block_stream = 0;
    take_block(h, f->id, buf_all(&h->block), h->block_ends);
    buf_shrink(&h->block, 0);
}

/* ---- the small frames ---- */

static void take_priority(struct h2 *h, const struct frame *f)
{
    (void)h, (void)f; /* deprecated by RFC 9113 5.3.2 */
}

static void take_reset(struct h2 *h, const struct frame *f)
{
    if (is_idle(h, f->id)) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    struct h2_stream *s = stream_of(h, f->id);
    charge(h);
    if (s)
        stream_close(s, big_u32(f->payload.data));
}

static void answer_to(struct h2 *h, int type, struct span payload)
{
    if (++h->acks > ACKS_MAX) {
        connection_fail(h, ENHANCE_YOUR_CALM);
        return;
    }
    put_frame_head(&h->frames, payload.len, type, ACK, 0);
    buf_span(&h->frames, payload);
}

/* All windows move with the size at which they begin, even below 0 (6.9.2). That walks over all
 * streams, so it may not come too often. */
static void window_begins(struct h2 *h, int64_t size)
{
    int64_t more = size - h->stream_window;
    h->stream_window = size;
    if (more && h->streams)
        charge(h);
    for (struct h2_stream *s = h->streams; s; s = s->next) {
        s->window += more;
        if (s->window > WINDOW_MAX) {
            connection_fail(h, FLOW_CONTROL_ERROR);
            return;
        }
        stream_ready(s);
    }
}

static void take_setting(struct h2 *h, unsigned id, uint32_t value, int64_t *window)
{
    if (id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)
        table_limit(&h->table, value);
    else if (id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        h->peer_streams_max = value;
    else if (id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE && value > WINDOW_MAX)
        connection_fail(h, FLOW_CONTROL_ERROR);
    else if (id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
        *window = value;
    else if (id == NGHTTP2_SETTINGS_ENABLE_PUSH && value > (h->role == H2_SERVER))
        connection_fail(h, H2_PROTOCOL_ERROR);
    else if (id == NGHTTP2_SETTINGS_MAX_FRAME_SIZE && (value < FRAME_MAX || value >= 1 << 24))
        connection_fail(h, H2_PROTOCOL_ERROR); /* ours are never larger than what all must take */
}

static void take_settings(struct h2 *h, const struct frame *f)
{
    struct span in = f->payload, entry;
    if (in.len % 6 || (f->flags & ACK && in.len)) {
        connection_fail(h, FRAME_SIZE_ERROR);
        return;
    }
    h->heard_settings = true;
    if (f->flags & ACK)
        return;
    int64_t window = h->stream_window;
    while (!h->failed && span_take(&in, 6, &entry))
        take_setting(h, (unsigned)entry.data[0] << 8 | entry.data[1], big_u32(entry.data + 2),
                     &window);
    if (!h->failed)
        window_begins(h, window);
    if (!h->failed)
        answer_to(h, H2_SETTINGS, SPAN_NONE);
}

static void take_push(struct h2 *h, const struct frame *f)
{
    (void)f; /* clients must not, and of servers we said that we want none (8.4) */
    connection_fail(h, H2_PROTOCOL_ERROR);
}

static void take_ping(struct h2 *h, const struct frame *f)
{
    if (!(f->flags & ACK))
        answer_to(h, H2_PING, f->payload);
}

static void take_goaway(struct h2 *h, const struct frame *f)
{
    uint32_t last = big_u32(f->payload.data) & WINDOW_MAX;
    h->heard_goaway = true;
    if (h->role == H2_SERVER)
        return;
    for (struct h2_stream *s = h->streams; s; s = s->next)
        if (s->id > last && !s->reset) { /* never seen by the server (6.8) */
            s->reset = true;
            s->close_code = REFUSED_STREAM;
            list_add(&h->closing, s);
        }
}

static void connection_window(struct h2 *h, uint32_t more)
{
    h->window += more;
    if (!more || h->window > WINDOW_MAX) {
        connection_fail(h, more ? FLOW_CONTROL_ERROR : H2_PROTOCOL_ERROR);
        return;
    }
    while (h->window > 0 && h->blocked.first)
        list_add(&h->ready, h->blocked.first);
}

static void take_window(struct h2 *h, const struct frame *f)
{
    uint32_t more = big_u32(f->payload.data) & WINDOW_MAX;
    if (!f->id) {
        connection_window(h, more);
        return;
    }
    if (is_idle(h, f->id)) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    struct h2_stream *s = stream_of(h, f->id);
    if (!s)
        return;
    s->window += more;
    if (!more || s->window > WINDOW_MAX)
        stream_fail(h, f->id, more ? FLOW_CONTROL_ERROR : H2_PROTOCOL_ERROR);
    else
        stream_ready(s);
}

/* ---- frames ---- */

enum where { ON_CONNECTION, ON_STREAM, ON_BOTH };
enum { ANY_SIZE = -1 };

static const struct {
    void (*take)(struct h2 *h, const struct frame *f);
    enum where where;
    int size, size_min;
} types[] = {
    [H2_DATA] = { take_data, ON_STREAM, ANY_SIZE, 0 },
    [H2_HEADERS] = { take_headers, ON_STREAM, ANY_SIZE, 0 },
    [H2_PRIORITY] = { take_priority, ON_STREAM, 5, 0 },
    [H2_RST_STREAM] = { take_reset, ON_STREAM, 4, 0 },
    [H2_SETTINGS] = { take_settings, ON_CONNECTION, ANY_SIZE, 0 },
    [H2_PUSH_PROMISE] = { take_push, ON_STREAM, ANY_SIZE, 0 },
    [H2_PING] = { take_ping, ON_CONNECTION, 8, 0 },
    [H2_GOAWAY] = { take_goaway, ON_CONNECTION, ANY_SIZE, 8 },
    [H2_WINDOW_UPDATE] = { take_window, ON_BOTH, 4, 0 },
    [H2_CONTINUATION] = { take_continuation, ON_STREAM, ANY_SIZE, 0 },
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static void take_frame(struct h2 *h, const struct frame *f)
{
    bool in_block = h->block_stream != 0; /* then nothing else may come (6.10) */
    if (in_block != (f->type == H2_CONTINUATION) || (in_block && f->id != h->block_stream) ||
        (!h->heard_settings && f->type != H2_SETTINGS)) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    if (f->type >= TYPES)
        return; /* 5.5: extensions are passed over */
    enum where where = types[f->type].where;
    if ((where == ON_CONNECTION && f->id) || (where == ON_STREAM && !f->id)) {
        connection_fail(h, H2_PROTOCOL_ERROR);
        return;
    }
    int size = types[f->type].size;
    if ((size >= 0 && f->payload.len != (size_t)size) ||
        f->payload.len < (size_t)types[f->type].size_min) {
        connection_fail(h, FRAME_SIZE_ERROR);
        return;
    }
    types[f->type].take(h, f);
}

static void take_whole(struct h2 *h, const uint8_t *p, size_t len)
{
    struct frame f = { .type = p[3],
                       .flags = p[4],
                       .id = big_u32(p + 5) & WINDOW_MAX,
                       .payload = span_of(p + FRAME_HEAD, len) };
    take_frame(h, &f);
}

/* The payload's size, from a frame's first three bytes; too large: nothing more is read. */
static size_t size_of(struct h2 *h, const uint8_t *p)
{
    size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (len > FRAME_MAX)
        connection_fail(h, FRAME_SIZE_ERROR);
    return len;
}

/* Adds to the frame that is not whole, up to want bytes in all; true when it has them. */
static bool gather(struct h2 *h, struct span *in, size_t want)
{
    if (h->part.len < want) {
        size_t n = want - h->part.len < in->len ? want - h->part.len : in->len;
        buf_put(&h->part, in->data, n);
        *in = span_from(*in, n);
    }
    return h->part.len >= want;
}

/* False: it is still not whole, and all is gathered. */
static bool take_part(struct h2 *h, struct span *in)
{
    if (!gather(h, in, FRAME_HEAD))
        return false;
    size_t len = size_of(h, h->part.data);
    if (h->failed || !gather(h, in, FRAME_HEAD + len))
        return false;
    take_whole(h, h->part.data, len);
    buf_shrink(&h->part, 0);
    return true;
}

static bool take_preface(struct h2 *h, struct span *in)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t n = h->preface_left < in->len ? h->preface_left : in->len;
    const char *rest = preface + sizeof(preface) - 1 - h->preface_left;
    if (n && memcmp(in->data, rest, n) != 0)
        connection_fail(h, H2_PROTOCOL_ERROR);
    h->preface_left -= n;
    *in = span_from(*in, n);
    return h->preface_left == 0;
}

void receive_frames(struct h2 *h, struct span in)
{
    if (h->preface_left && !take_preface(h, &in))
        return;
    while (in.len && !h->failed) {
        if (h->part.len || in.len < FRAME_HEAD) {
            if (!take_part(h, &in))
                return;
            continue;
        }
        size_t len = size_of(h, in.data);
        if (h->failed)
            return;
        if (in.len - FRAME_HEAD < len) {
            if (!take_part(h, &in))
                return;
            continue;
        }
        take_whole(h, in.data, len);
        in = span_from(in, FRAME_HEAD + len);
    }
}
