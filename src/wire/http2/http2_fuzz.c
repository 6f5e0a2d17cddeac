/* Any bytes after the preface: a protocol error or not, but no crash, no leak, bounded memory. */
#include "base/check.h"
#include "wire/http2/http2.h"

enum { MEMORY_MAX = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_request(void *context, struct h2_stream *s, const struct http_request *head)
{
    struct http_header headers[] = { { SPAN(":status"), SPAN("200") } };
    (void)context;
    if (head->path.len % 3 == 0)
        return; /* never answered */
    h2_respond(s, headers, 1, false);
    h2_write(s, head->path, head->path.len % 3 == 1);
    if (head->path.len % 3 == 2) {
        struct http_header trailers[] = { { SPAN("grpc-status"), SPAN("0") } };
        h2_trailers(s, trailers, 1);
    }
}

static void on_data(void *context, struct h2_stream *s, struct span data)
{
    (void)context;
    if (data.len % 5 == 0)
        h2_hear_no_more(s);
}

static void on_end(void *context, struct h2_stream *s)
{
    (void)context, (void)s;
}

static void on_close(void *context, struct h2_stream *s, uint32_t code)
{
    (void)context, (void)s, (void)code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct h2_events events = {
        .on_request = on_request, .on_data = on_data, .on_end = on_end, .on_close = on_close
    };
    struct alloc heap;
    struct h2_limits limits;
    struct buf out;
    alloc_heap(&heap);
    h2_limits_default(&limits);
    limits.any_authority = size % 2;
    buf_open(&out, &heap);
    struct h2 *h = h2_open(&heap, H2_SERVER, &limits, &events, NULL);
    enum err e = h2_feed(h, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    struct span in = span_of(data, size), piece;
    while (e == ERR_OK && in.len) {
        size_t step = 1 + in.data[0] % 64;
        CHECK(span_take(&in, step < in.len ? step : in.len, &piece));
        e = h2_feed(h, piece);
        buf_reset(&out);
        h2_output(h, &out, 1 << 16);
        CHECK(heap.used < MEMORY_MAX);
    }
    h2_output(h, &out, 1 << 16);
    h2_close(h);
    buf_close(&out);
    CHECK(heap.used == 0);
    return 0;
}
