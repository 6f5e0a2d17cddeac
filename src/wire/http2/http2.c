#include "wire/http2/http2.h"
#include <nghttp2/nghttp2.h>
#include "base/check.h"
#include "base/vec.h"

enum {
    TRAILERS_MAX = 4,
    QUEUE_KEEP_BYTES = 0,  /* an emptied queue keeps nothing: idle streams are many */
    RESET_BURST = 1000,    /* streams the peer may reset at once, and then per second: */
    RESET_RATE = 33,       /* CVE-2023-44487 */
    CONTINUATIONS_MAX = 8, /* CVE-2024-28182 */
    ACKS_MAX = 1000,       /* PING and SETTINGS answers waiting: CVE-2019-9512 */
};

struct h2_stream {
    struct h2 *h2;
    void *user;
    int32_t id;
    bool ended;    /* no data comes after the queue */
    bool deferred; /* nghttp2 waits for more */
    bool heard_enough, has_body, closed;
    struct buf queue;
    size_t sent;                  /* of the queue, handed out already */
    struct http_header *trailers; /* one block, sized by trailers_size */
    size_t n_trailers, trailers_size;
    struct h2_stream *next, *prev;
};

struct h2 {
    struct alloc *alloc;
    nghttp2_session *session;
    enum h2_role role;
    bool any_authority; /* see struct h2_limits */
    const struct h2_events *events;
    void *context;
    struct h2_stream *streams;
    size_t n_streams;
    struct buf *target;              /* of h2_output, for data that is not copied twice */
    struct buf head;                 /* bytes of the header block that is coming */
    VEC(struct http_header) headers; /* data: offsets into head until the block is complete */
};

void h2_limits_default(struct h2_limits *out)
{
    *out = (struct h2_limits){ .streams_max = 10000,
                               .stream_window = 1 << 20,
                               .connection_window = 16 << 20,
                               .header_list_max = 64 << 10 };
}

/* ---- memory ---- */

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

/* ---- streams ---- */

static struct h2_stream *stream_open(struct h2 *h, int32_t id)
{
    struct h2_stream *s = mem_zero(h->alloc, sizeof(*s));
    s->h2 = h;
    s->id = id;
    buf_open(&s->queue, h->alloc);
    s->next = h->streams;
    if (s->next)
        s->next->prev = s;
    h->streams = s;
    h->n_streams++;
    return s;
}

static void stream_free(struct h2_stream *s)
{
    struct h2 *h = s->h2;
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

static struct h2_stream *stream_of(struct h2 *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->session, id);
}

void h2_stream_set_user(struct h2_stream *s, void *user)
{
    s->user = user;
}

void *h2_stream_user(const struct h2_stream *s)
{
    return s->user;
}

void h2_reset(struct h2_stream *s, uint32_t code)
{
    if (!s->closed)
        CHECK(nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, code) == 0);
}

size_t h2_stream_queued(const struct h2_stream *s)
{
    return s->queue.len - s->sent;
}

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct h2 *h = context;
    buf_reset(&h->head);
    h->headers.n = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        struct h2_stream *s = stream_open(h, frame->hd.stream_id);
        int rv = nghttp2_session_set_stream_user_data(session, s->id, s);
        CHECK(rv == 0);
    }
    return 0;
}

/* With any_authority nghttp2 checks nothing of a message; what our callers count on is this: names
 * and values have only the bytes they may have (RFC 9113 8.2.1), a request has a method and a
 * path (8.3.1). */
static bool is_sound(const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len)
{
    return name_len > 0 && (name[0] == ':' || nghttp2_check_header_name(name, name_len)) &&
           nghttp2_check_header_value(value, value_len);
}

static bool is_request(const struct http_request *r)
{
    return r->method.len > 0 && r->path.len > 0 && r->path.data[0] == '/';
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *context)
{
    struct h2 *h = context;
    (void)session, (void)frame, (void)flags;
    if (h->any_authority && !is_sound(name, name_len, value, value_len))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
    buf_put(&h->head, name, name_len);
    buf_put(&h->head, value, value_len);
    struct http_header header = { span_of(NULL, name_len), span_of(NULL, value_len) };
    VEC_PUSH(&h->headers, h->alloc, header);
    return 0;
}

/* Now that the block is whole and stays where it is, headers get their places. */
static void place_headers(struct h2 *h)
{
    const uint8_t *at = h->head.data;
    for (size_t i = 0; i < h->headers.n; i++) {
        struct http_header *header = &h->headers.items[i];
        header->name.data = at;
        header->value.data = at + header->name.len;
        at += header->name.len + header->value.len;
    }
}

static void request_event(struct h2 *h, struct h2_stream *s)
{
    struct http_request r = { 0 };
    struct http_header *headers = h->headers.items;
    size_t n = 0;
    for (; n < h->headers.n && headers[n].name.data[0] == ':'; n++) {
        if (span_is(headers[n].name, ":method"))
            r.method = headers[n].value;
        else if (span_is(headers[n].name, ":path"))
            http_target(headers[n].value, &r.path, &r.query);
        else if (span_is(headers[n].name, ":authority"))
            r.authority = headers[n].value;
    }
    r.headers = headers + n;
    r.header_count = h->headers.n - n;
    if (h->any_authority && !is_request(&r))
        h2_reset(s, H2_PROTOCOL_ERROR);
    else
        h->events->on_request(h->context, s, &r);
}

static void response_event(struct h2 *h, struct h2_stream *s)
{
    struct http_header *headers = h->headers.items;
    size_t n = 0;
    int status = 0;
    for (; n < h->headers.n && headers[n].name.data[0] == ':'; n++)
        if (span_is(headers[n].name, ":status") && headers[n].value.len == 3)
            for (int i = 0; i < 3; i++)
                status = status * 10 + (headers[n].value.data[i] - '0');
    h->events->on_response(h->context, s, status, headers + n, h->headers.n - n);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct h2 *h = context;
    int32_t id = frame->hd.stream_id;
    struct h2_stream *s = id ? nghttp2_session_get_stream_user_data(session, id) : NULL;
    if (!s || s->closed)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        place_headers(h);
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            request_event(h, s);
        else if (frame->headers.cat == NGHTTP2_HCAT_RESPONSE)
            response_event(h, s);
        else if (h->events->on_trailers)
            h->events->on_trailers(h->context, s, h->headers.items, h->headers.n);
    }
    bool ends = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (ends && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        h->events->on_end(h->context, s);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t len, void *context)
{
    struct h2 *h = context;
    struct h2_stream *s = stream_of(h, id);
    (void)flags;
    CHECK(nghttp2_session_consume_connection(session, len) == 0);
    if (!s)
        return 0;
    h->events->on_data(h->context, s, span_of(data, len));
    if (!s->heard_enough)
        CHECK(nghttp2_session_consume_stream(session, id, len) == 0);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
    struct h2 *h = context;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s) {
        s->closed = true;
        h->events->on_close(h->context, s, code);
        stream_free(s);
    }
    return 0;
}

/* ---- sending ---- */

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    bool ends = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    int32_t id = frame->hd.stream_id;
    const struct h2_stream *s = id ? nghttp2_session_get_stream_user_data(session, id) : NULL;
    (void)context;
    if (s && s->heard_enough && ends && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        nghttp2_session_get_stream_remote_close(session, id) == 0)
        CHECK(nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, H2_NO_ERROR) == 0);
    return 0;
}

static void fill(nghttp2_nv *nv, const struct http_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* nghttp2 copies both; its type merely lacks const. */
        nv[i].name = (uint8_t *)(uintptr_t)headers[i].name.data;
        nv[i].namelen = headers[i].name.len;
        nv[i].value = (uint8_t *)(uintptr_t)headers[i].value.data;
        nv[i].valuelen = headers[i].value.len;
        nv[i].flags = NGHTTP2_NV_FLAG_NONE;
    }
}

static void submit_trailers(struct h2_stream *s)
{
    nghttp2_nv nv[TRAILERS_MAX];
    fill(nv, s->trailers, s->n_trailers);
    CHECK(nghttp2_submit_trailer(s->h2->session, s->id, nv, s->n_trailers) == 0);
}

/* How much of the queue goes into the next DATA frame; the bytes follow in send_data. */
static ssize_t read_queue(nghttp2_session *session, int32_t id, uint8_t *data, size_t len,
                          uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct h2_stream *s = source->ptr;
    size_t waiting = h2_stream_queued(s);
    (void)session, (void)id, (void)data, (void)context;
    if (!waiting && !s->ended) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = waiting < len ? waiting : len;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == waiting && s->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->n_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(s);
        }
    }
    return (ssize_t)n;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                     size_t len, nghttp2_data_source *source, void *context)
{
    struct h2 *h = context;
    struct h2_stream *s = source->ptr;
    (void)session;
    CHECK(frame->data.padlen == 0 && h2_stream_queued(s) >= len && h->target);
    buf_put(h->target, head, 9);
    buf_put(h->target, s->queue.data + s->sent, len);
    s->sent += len;
    if (s->sent == s->queue.len) {
        buf_shrink(&s->queue, QUEUE_KEEP_BYTES);
        s->sent = 0;
    } else if (s->sent > s->queue.len / 2) {
        buf_consume(&s->queue, s->sent);
        s->sent = 0;
    }
    return 0;
}

void h2_respond(struct h2_stream *s, const struct http_header *headers, size_t n, bool end)
{
    nghttp2_nv nv[16];
    CHECK(n <= 16 && !s->has_body && !s->closed);
    fill(nv, headers, n);
    nghttp2_data_provider provider = { { .ptr = s }, read_queue };
    s->has_body = true;
    s->ended = end;
    int rv = nghttp2_submit_response(s->h2->session, s->id, nv, n, end ? NULL : &provider);
    CHECK(rv == 0);
}

struct h2_stream *h2_request(struct h2 *h, const struct http_header *headers, size_t n, bool end)
{
    nghttp2_nv nv[16];
    CHECK(n <= 16 && h->role == H2_CLIENT);
    fill(nv, headers, n);
    struct h2_stream *s = stream_open(h, 0);
    nghttp2_data_provider provider = { { .ptr = s }, read_queue };
    s->has_body = true;
    s->ended = end;
    s->id = nghttp2_submit_request(h->session, NULL, nv, n, end ? NULL : &provider, s);
    if (s->id < 0) {
        stream_free(s);
        return NULL;
    }
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
    if (s->deferred && (h2_stream_queued(s) || s->ended)) {
        s->deferred = false;
        CHECK(nghttp2_session_resume_data(s->h2->session, s->id) == 0);
    }
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

void h2_hear_no_more(struct h2_stream *s)
{
    s->heard_enough = true;
}

void h2_goaway(struct h2 *h)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
    CHECK(nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, H2_NO_ERROR, NULL, 0) == 0);
}

/* ---- life ---- */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *c;
    CHECK(nghttp2_session_callbacks_new(&c) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    return c;
}

static void make_session(struct h2 *h)
{
    nghttp2_mem mem = { h->alloc, give, take_back, give_zero, give_more };
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option;
    CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_http_messaging(option, h->any_authority);
    nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESET_RATE);
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
    int rv = h->role == H2_SERVER
                 ? nghttp2_session_server_new3(&h->session, callbacks, h, option, &mem)
                 : nghttp2_session_client_new3(&h->session, callbacks, h, option, &mem);
    CHECK(rv == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
}

struct h2 *h2_open(struct alloc *alloc, enum h2_role role, const struct h2_limits *limits,
                   const struct h2_events *events, void *context)
{
    struct h2 *h = mem_zero(alloc, sizeof(*h));
    h->alloc = alloc;
    h->role = role;
    h->any_authority = limits->any_authority;
    h->events = events;
    h->context = context;
    buf_open(&h->head, alloc);
    make_session(h);
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->stream_window },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits->header_list_max },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };
    size_t n = role == H2_CLIENT ? 4 : 3;
    CHECK(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, n) == 0);
    CHECK(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                (int32_t)limits->connection_window) == 0);
    return h;
}

void h2_close(struct h2 *h)
{
    while (h->streams) {
        struct h2_stream *s = h->streams;
        s->closed = true;
        h->events->on_close(h->context, s, H2_CANCEL);
        stream_free(s);
    }
    nghttp2_session_del(h->session);
    buf_close(&h->head);
    VEC_CLOSE(&h->headers, h->alloc);
    mem_free(h->alloc, h, sizeof(*h));
}

enum err h2_feed(struct h2 *h, struct span in)
{
    ssize_t n = nghttp2_session_mem_recv(h->session, in.data, in.len);
    CHECK(n != NGHTTP2_ERR_NOMEM);
    return n == (ssize_t)in.len ? ERR_OK : ERR_MESSAGE_MALFORMED;
}

void h2_output(struct h2 *h, struct buf *out, size_t max)
{
    h->target = out;
    while (out->len < max) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->session, &data);
        if (n <= 0)
            break;
        buf_put(out, data, (size_t)n);
    }
    h->target = NULL;
}

bool h2_wants_write(const struct h2 *h)
{
    return nghttp2_session_want_write(h->session) != 0;
}

bool h2_done(const struct h2 *h)
{
    return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

size_t h2_streams(const struct h2 *h)
{
    return h->n_streams;
}
