#include "wire/http2/http2_int.h"
#include "base/check.h"

void h2_limits_default(struct h2_limits *out)
{
    *out = (struct h2_limits){ .streams_max = 10000,
                               .stream_window = 1 << 20,
                               .connection_window = 16 << 20,
                               .header_list_max = 64 << 10 };
}

/* ---- streams ---- */

void list_leave(struct h2_stream *s)
{
    if (!s->in)
        return;
    *(s->before ? &s->before->after : &s->in->first) = s->after;
    *(s->after ? &s->after->before : &s->in->last) = s->before;
    s->in = NULL;
}

void list_add(struct list *l, struct h2_stream *s)
{
    list_leave(s);
    s->in = l;
    s->before = l->last;
    s->after = NULL;
    *(l->last ? &l->last->after : &l->first) = s;
    l->last = s;
}

struct h2_stream *stream_open(struct h2 *h, uint32_t id)
{
    struct h2_stream *s = mem_alloc(h->alloc, sizeof(*s));
    *s = (struct h2_stream){ .h2 = h,
                             .id = id,
                             .window = h->stream_window,
                             .room = h->limits.stream_window,
                             .length = -1,
                             .next = h->streams };
    buf_open(&s->queue, h->alloc);
    if (s->next)
        s->next->prev = s;
    h->streams = s;
    h->n_streams++;
    map_set(&h->by_id, id, s);
    return s;
}

static void stream_free(struct h2_stream *s)
{
    struct h2 *h = s->h2;
    list_leave(s);
    map_remove(&h->by_id, s->id);
    if (s->prev)
        s->prev->next = s->next;
    else
        h->streams = s->next;
    if (s->next)
        s->next->prev = s->prev;
    h->n_streams--;
    buf_close(&s->queue);
    mem_free(h->alloc, s->trailers, s->trailers_size);
    mem_free(h->alloc, s, sizeof(*s));
}

struct h2_stream *stream_of(const struct h2 *h, uint32_t id)
{
    struct h2_stream *s = map_get(&h->by_id, id);
    return s && !s->reset ? s : NULL;
}

void stream_close(struct h2_stream *s, uint32_t code)
{
    struct h2 *h = s->h2;
    s->reset = true;
    h->events->on_close(h->context, s, code);
    stream_free(s);
}

/* Outside of whatever a stream may be in the middle of. */
static void close_those_due(struct h2 *h)
{
    while (h->closing.first)
        stream_close(h->closing.first, h->closing.first->close_code);
}

void h2_stream_set_user(struct h2_stream *s, void *user)
{
    s->user = user;
}

void *h2_stream_user(const struct h2_stream *s)
{
    return s->user;
}

size_t h2_stream_queued(const struct h2_stream *s)
{
    return s->queue.len - s->sent;
}

void h2_reset(struct h2_stream *s, uint32_t code)
{
    stream_break(s, code);
}

void h2_hear_no_more(struct h2_stream *s)
{
    s->heard_enough = true;
    if (s->said_all && !s->heard_all)
        stream_break(s, H2_NO_ERROR);
}

/* ---- what is said ---- */

void h2_respond(struct h2_stream *s, const struct http_header *headers, size_t n, bool end)
{
    CHECK(n <= HEADERS_MAX && !s->has_body);
    s->has_body = true;
    s->ended = s->head_ended = end;
    if (s->reset)
        return;
    put_headers(s->h2, &s->h2->frames, s->id, headers, n, end);
    if (end)
        stream_ready(s); /* so that its end is seen when it leaves */
}

struct h2_stream *h2_request(struct h2 *h, const struct http_header *headers, size_t n, bool end)
{
    CHECK(n <= HEADERS_MAX && h->role == H2_CLIENT);
    uint32_t id = h->last_id ? h->last_id + 2 : 1;
    if (h->failed || h->heard_goaway || h->said_goaway || id > WINDOW_MAX ||
        h->n_streams >= h->peer_streams_max)
        return NULL;
    h->last_id = id;
    struct h2_stream *s = stream_open(h, id);
    s->has_body = true;
    s->ended = end;
    put_headers(h, &h->frames, id, headers, n, end);
    s->said_all = end;
    return s;
}

struct buf *h2_write_begin(struct h2_stream *s)
{
    CHECK(s->has_body && !s->ended);
    return &s->queue;
}

void h2_write_end(struct h2_stream *s, bool end)
{
    s->ended = end;
    stream_ready(s);
}

void h2_write(struct h2_stream *s, struct span data, bool end)
{
    buf_span(h2_write_begin(s), data);
    h2_write_end(s, end);
}

void h2_trailers(struct h2_stream *s, const struct http_header *headers, size_t n)
{
    CHECK(n > 0 && n <= TRAILERS_MAX && s->has_body && !s->ended);
    size_t size = n * sizeof(*headers);
    for (size_t i = 0; i < n; i++)
        size += headers[i].name.len + headers[i].value.len;
    s->trailers = mem_alloc(s->h2->alloc, size);
    s->trailers_size = size;
    s->n_trailers = n;
    uint8_t *at = (uint8_t *)(s->trailers + n);
    for (size_t i = 0; i < n; i++) {
        struct span parts[2] = { headers[i].name, headers[i].value };
        for (int k = 0; k < 2; k++) {
            if (parts[k].len)
                memcpy(at, parts[k].data, parts[k].len);
            parts[k].data = at;
            at += parts[k].len;
        }
        s->trailers[i] = (struct http_header){ parts[0], parts[1] };
    }
    h2_write_end(s, true);
}

void h2_goaway(struct h2 *h)
{
    if (h->said_goaway)
        return;
    h->said_goaway = true;
    h->last_good = h->role == H2_SERVER ? h->last_id : 0;
    put_frame_head(&h->frames, 8, H2_GOAWAY, 0, 0);
    buf_u32(&h->frames, __builtin_bswap32(h->last_good));
    buf_u32(&h->frames, H2_NO_ERROR);
}

/* ---- life ---- */

static void *give(size_t size, void *context)
{
    return mem_sized_alloc(context, size);
}

static void take_back(void *ptr, void *context)
{
    mem_sized_free(context, ptr);
}

static void *give_zero(size_t n, size_t size, void *context)
{
    CHECK(size == 0 || n <= SIZE_MAX / size);
    void *p = mem_sized_alloc(context, n * size);
    return memset(p, 0, n * size);
}

static void *give_more(void *ptr, size_t size, void *context)
{
    return mem_sized_resize(context, ptr, size);
}

struct h2 *h2_open(struct alloc *alloc, enum h2_role role, const struct h2_limits *limits,
                   const struct h2_events *events, void *context)
{
    struct h2 *h = mem_alloc(alloc, sizeof(*h));
    *h = (struct h2){ .alloc = alloc,
                      .role = role,
                      .events = events,
                      .context = context,
                      .limits = *limits,
                      .inflater_mem = { alloc, give, take_back, give_zero, give_more },
                      .room = WINDOW_FIRST,
                      .window = WINDOW_FIRST,
                      .stream_window = WINDOW_FIRST,
                      .peer_streams_max = SIZE_MAX,
                      .resets_left = RESET_BURST,
                      .table = { .max = TABLE_MAX } };
    map_open(&h->by_id, alloc);
    buf_open(&h->part, alloc);
    buf_open(&h->block, alloc);
    buf_open(&h->head.text, alloc);
    buf_open(&h->frames, alloc);
    buf_open(&h->table.text, alloc);
    CHECK(nghttp2_hd_inflate_new2(&h->inflater, &h->inflater_mem) == 0);
    put_settings(h);
    return h;
}

void h2_close(struct h2 *h)
{
    while (h->streams)
        stream_close(h->streams, H2_CANCEL);
    nghttp2_hd_inflate_del(h->inflater);
    for (size_t i = 0; i < MEMOS; i++)
        if (h->memos[i]) {
            head_close(h, h->memos[i]);
            mem_free(h->alloc, h->memos[i], sizeof(*h->memos[i]));
        }
    head_close(h, &h->head);
    map_close(&h->by_id);
    buf_close(&h->part);
    buf_close(&h->block);
    buf_close(&h->frames);
    buf_close(&h->table.text);
    mem_free(h->alloc, h, sizeof(*h));
}

enum err h2_feed(struct h2 *h, struct span in)
{
    if (!h->failed && in.len)
        receive_frames(h, in);
    close_those_due(h);
    return h->failed ? ERR_MESSAGE_MALFORMED : ERR_OK;
}

void h2_second(struct h2 *h)
{
    h->resets_left += RESET_RATE;
    if (h->resets_left > RESET_BURST)
        h->resets_left = RESET_BURST;
}

bool h2_wants_write(const struct h2 *h)
{
    return h->frames.len || h->closing.first || (h->ready.first && !h->failed);
}

bool h2_done(const struct h2 *h)
{
    bool over = h->failed || ((h->said_goaway || h->heard_goaway) && h->n_streams == 0);
    return over && !h2_wants_write(h);
}

size_t h2_streams(const struct h2 *h)
{
    return h->n_streams;
}

/* What was made goes before any data, in the order in which its blocks changed the table. */
static void frames_out(struct h2 *h, struct buf *out)
{
    if (!h->frames.len)
        return;
    buf_span(out, buf_all(&h->frames));
    buf_shrink(&h->frames, 0);
    h->acks = 0;
}

void h2_output(struct h2 *h, struct buf *out, size_t max)
{
    close_those_due(h);
    frames_out(h, out);
    while (out->len < max && h->ready.first && !h->failed) {
        send_some(h->ready.first, out);
        close_those_due(h);
        frames_out(h, out);
    }
}
