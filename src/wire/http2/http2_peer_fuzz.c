/* Our server against nghttp2's client: whatever a client does that nghttp2 lets it do, we take, and
 * whatever we answer, nghttp2 takes and understands as it was meant. */
#include <nghttp2/nghttp2.h>
#include "base/check.h"
#include "wire/http2/http2.h"

enum { STREAMS = 64, BODY_MAX = 200000, ROUNDS = 2000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct asked {
    int32_t id;
    size_t body_left, body, came; /* bytes of the request; of the answer */
    size_t answer;                /* as the server meant it */
    uint32_t sum, sum_meant;      /* of the answer's bytes */
    bool head, trailers, closed, reset, asked_end;
    struct h2_stream *stream;
    uint8_t kind;
};

struct play {
    struct span in;
    struct alloc heap;
    struct h2 *h2;
    nghttp2_session *client;
    struct asked asked[STREAMS];
    size_t n;
    struct buf up, down; /* on their way */
};

static unsigned draw(struct play *p, unsigned below)
{
    uint8_t v = 0;
    return span_u8(&p->in, &v) ? v % below : 0;
}

static struct asked *asked_of(struct play *p, int32_t id)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->asked[i].id == id)
            return &p->asked[i];
    return NULL;
}

/* ---- the server ---- */

static uint32_t add(uint32_t sum, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void say(struct asked *a, size_t n, bool end)
{
    static uint8_t bytes[BODY_MAX];
    CHECK(n <= sizeof(bytes));
    memset(bytes, a->kind, n);
    a->answer += n;
    a->sum_meant = add(a->sum_meant, bytes, n);
    h2_write(a->stream, span_of(bytes, n), end);
}

static void on_request(void *context, struct h2_stream *s, const struct http_request *r)
{
    struct play *p = context;
    struct span number;
    CHECK(http_header_find(r, "x-number", &number) && number.len == 1);
    CHECK(span_is(r->method, "POST") && span_is(r->path, "/p") && span_is(r->query, "q"));
    CHECK(number.data[0] >= '0' && number.data[0] < '0' + p->n);
    struct asked *a = &p->asked[number.data[0] - '0'];
    a->stream = s;
    h2_stream_set_user(s, a);
}

static const struct http_header answer_head[] = {
    { SPAN(":status"), SPAN("200") },
    { SPAN("content-type"), SPAN("application/grpc") },
    { SPAN("etag"), SPAN("\"1\"") },
};

static void answer(struct asked *a)
{
    static const struct http_header trailers[] = { { SPAN("grpc-status"), SPAN("0") },
                                                   { SPAN("grpc-message"), SPAN("well") } };
    static const size_t sizes[] = { 0, 1, 100, 16384, 16385, 70000, BODY_MAX };
    struct h2_stream *s = a->stream;
    size_t n = sizes[a->kind % 7];
    h2_respond(s, answer_head, 1 + a->kind % 3, a->kind % 16 == 15);
    if (a->kind % 16 == 15)
        return;
    say(a, n, a->kind / 8 % 3 == 1);
    if (a->kind / 8 % 3 != 1)
        h2_trailers(s, trailers, 1 + a->kind / 8 % 3 / 2);
}

static void on_data(void *context, struct h2_stream *s, struct span data)
{
    struct asked *a = h2_stream_user(s);
    (void)context;
    a->body += data.len;
    if (a->kind == 255 && a->body > 20000 && !a->head) {
        a->head = true; /* an answer before the end of the question */
        answer(a);
        h2_hear_no_more(s);
    }
}

static void on_end(void *context, struct h2_stream *s)
{
    struct asked *a = h2_stream_user(s);
    (void)context;
    if (!a->head)
        answer(a);
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    struct asked *a = h2_stream_user(s);
    (void)context, (void)code;
    CHECK(a && a->stream == s);
    a->stream = NULL;
}

static const struct h2_events events = {
    .on_request = on_request, .on_data = on_data, .on_end = on_end, .on_close = on_close
};

/* ---- the client ---- */

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *out, size_t len,
                    uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct asked *a = source->ptr;
    (void)session, (void)id, (void)context;
    size_t n = a->body_left < len ? a->body_left : len;
    memset(out, 'q', n);
    a->body_left -= n;
    if (!a->body_left) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        a->asked_end = true;
    }
    return (ssize_t)n;
}

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1,             \
            sizeof(value) - 1, NGHTTP2_NV_FLAG_NONE                                                \
    }

static void ask(struct play *p)
{
    static char filler[3000];
    uint8_t number = (uint8_t)('0' + p->n);
    struct asked *a = &p->asked[p->n];
    unsigned style = draw(p, 8);
    if (p->n == STREAMS)
        return;
    memset(filler, 'f', sizeof(filler));
    nghttp2_nv nv[] = { NV(":method", "POST"),    NV(":scheme", "http"),
                        NV(":path", "/p?q"),      NV(":authority", "here"),
                        NV("te", "trailers"),     NV("x-number", "n"),
                        NV("x-filler", "") };
    nv[5].value = &number;
    nv[5].valuelen = 1;
    nv[5].flags = style & 1 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    nv[6].value = (uint8_t *)filler;
    nv[6].valuelen = style & 2 ? 10u * draw(p, 256) : 3;
    *a = (struct asked){ .kind = (uint8_t)draw(p, 256), .body_left = 50u * draw(p, 256) };
    if (a->kind == 255)
        a->body_left *= 50;
    p->n++;
    nghttp2_data_provider provider = { { .ptr = a }, body };
    bool empty = style & 4;
    a->id = nghttp2_submit_request(p->client, NULL, nv, 7, empty ? NULL : &provider, NULL);
    CHECK(a->id > 0);
    a->asked_end = empty;
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                         void *context)
{
    struct asked *a = asked_of(context, frame->hd.stream_id);
    struct span n = span_of(name, name_len), v = span_of(value, value_len);
    (void)session, (void)flags;
    for (size_t i = 0; a && i < 3; i++)
        if (span_equal(n, answer_head[i].name)) {
            CHECK(span_equal(v, answer_head[i].value));
            return 0;
        }
    CHECK(!a || (span_is(n, "grpc-status") && span_is(v, "0")) ||
          (span_is(n, "grpc-message") && span_is(v, "well")));
    if (a)
        a->trailers = true;
    return 0;
}

static int client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t n, void *context)
{
    struct asked *a = asked_of(context, id);
    (void)session, (void)flags;
    if (a) {
        a->came += n;
        a->sum = add(a->sum, data, n);
    }
    return 0;
}

static int client_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
    struct asked *a = asked_of(context, id);
    (void)session;
    if (!a)
        return 0;
    a->closed = true;
    CHECK(code == 0 || a->reset);
    if (code == 0 && !a->reset)
        CHECK(a->came == a->answer && a->sum == a->sum_meant);
    return 0;
}

static int client_invalid(nghttp2_session *session, const nghttp2_frame *frame, int code,
                          void *context)
{
    (void)session, (void)frame, (void)code, (void)context;
    CHECK(false); /* we said what nobody may say */
    return 0;
}

static void client_open(struct play *p)
{
    nghttp2_session_callbacks *c;
    CHECK(nghttp2_session_callbacks_new(&c) == 0);
    nghttp2_session_callbacks_set_on_header_callback(c, client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, client_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, client_invalid);
    CHECK(nghttp2_session_client_new(&p->client, c, p) == 0);
    nghttp2_session_callbacks_del(c);
}

static void settings(struct play *p)
{
    static const uint32_t windows[] = { 0, 1, 1000, 65535, 1 << 20, 0x7fffffff };
    static const uint32_t tables[] = { 0, 60, 200, 4096, 65536 };
    nghttp2_settings_entry entries[] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, windows[draw(p, 6)] },
        { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, tables[draw(p, 5)] },
        { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, tables[draw(p, 5)] },
    };
    CHECK(nghttp2_submit_settings(p->client, 0, entries, 1 + draw(p, 3)) == 0);
}

/* ---- between them ---- */

static void client_speaks(struct play *p)
{
    const uint8_t *out;
    ssize_t n = nghttp2_session_mem_send(p->client, &out);
    CHECK(n >= 0);
    buf_put(&p->up, out, (size_t)n);
}

static void server_hears(struct play *p, size_t most)
{
    size_t n = p->up.len < most ? p->up.len : most;
    CHECK(h2_feed(p->h2, span_of(p->up.data, n)) == ERR_OK);
    buf_consume(&p->up, n);
}

static void client_hears(struct play *p, size_t most)
{
    size_t n = p->down.len < most ? p->down.len : most;
    CHECK(nghttp2_session_mem_recv(p->client, p->down.data, n) == (ssize_t)n);
    buf_consume(&p->down, n);
}

static void settle(struct play *p)
{
    for (int i = 0; i < ROUNDS; i++) {
        size_t before = p->up.len;
        client_speaks(p);
        bool still = p->up.len == before && !p->up.len && !p->down.len && !h2_wants_write(p->h2);
        server_hears(p, SIZE_MAX);
        h2_output(p->h2, &p->down, 1 << 20);
        client_hears(p, SIZE_MAX);
        if (still && !nghttp2_session_want_write(p->client))
            return;
    }
}

static void step(struct play *p)
{
    struct asked *any = p->n ? &p->asked[draw(p, (unsigned)p->n)] : NULL;
    switch (draw(p, 9)) {
    case 0:
        ask(p);
        return;
    case 1:
        client_speaks(p);
        return;
    case 2:
        server_hears(p, 1 + 7u * draw(p, 256));
        return;
    case 3:
        h2_output(p->h2, &p->down, p->down.len + 1 + 200u * draw(p, 256));
        return;
    case 4:
        client_hears(p, 1 + 11u * draw(p, 256));
        return;
    case 5:
        settings(p);
        return;
    case 6:
        CHECK(nghttp2_submit_ping(p->client, 0, NULL) == 0);
        return;
    case 7:
        if (any && !any->closed && !any->reset) {
            any->reset = true;
            CHECK(nghttp2_submit_rst_stream(p->client, 0, any->id, H2_CANCEL) == 0);
        }
        return;
    default:
        if (any && any->stream && draw(p, 8) == 0) {
            any->reset = true;
            h2_reset(any->stream, H2_INTERNAL);
        }
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play p = { .in = span_of(data, size) };
    struct h2_limits limits;
    nghttp2_settings_entry wide[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 } };
    alloc_heap(&p.heap);
    h2_limits_default(&limits);
    buf_open(&p.up, &p.heap);
    buf_open(&p.down, &p.heap);
    p.h2 = h2_open(&p.heap, H2_SERVER, &limits, &events, &p);
    client_open(&p);
    CHECK(nghttp2_submit_settings(p.client, 0, NULL, 0) == 0);
    for (int i = 0; i < ROUNDS && p.in.len; i++)
        step(&p);
    CHECK(nghttp2_submit_settings(p.client, 0, wide, 1) == 0);
    settle(&p);
    for (size_t i = 0; i < p.n; i++)
        CHECK(p.asked[i].closed || !p.asked[i].id);
    CHECK(h2_streams(p.h2) == 0);
    nghttp2_session_del(p.client);
    h2_close(p.h2);
    buf_close(&p.up);
    buf_close(&p.down);
    CHECK(p.heap.used == 0);
    return 0;
}
