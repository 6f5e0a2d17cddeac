#include "wire/grpc/grpc.h"
#include <zlib.h>
#include "base/check.h"

/* ---- heads ---- */

bool grpc_is(const struct http_request *head)
{
    struct span type, own = SPAN("application/grpc");
    if (!http_header_find(head, "content-type", &type) || !span_starts(type, own))
        return false;
    type = span_from(type, own.len);
    return type.len == 0 || type.data[0] == '+' || type.data[0] == ';';
}

/* "100m": at most 8 digits and a unit. */
static enum err read_timeout(struct span s, int64_t *us)
{
    static const struct {
        char unit;
        int64_t times, over;
    } units[] = { { 'H', 3600000000, 1 }, { 'M', 60000000, 1 }, { 'S', 1000000, 1 },
                  { 'm', 1000, 1 },       { 'u', 1, 1 },        { 'n', 1, 1000 } };
    int64_t n = 0;
    if (s.len < 2 || s.len > 9)
        return ERR_MESSAGE_MALFORMED;
    for (size_t i = 0; i + 1 < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return ERR_MESSAGE_MALFORMED;
        n = n * 10 + (s.data[i] - '0');
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (s.data[s.len - 1] == (uint8_t)units[i].unit) {
            *us = n * units[i].times / units[i].over;
            *us += *us == 0; /* a time-out of no time is still a time-out */
            return ERR_OK;
        }
    return ERR_MESSAGE_MALFORMED;
}

enum err grpc_head(const struct http_request *head, struct grpc_head *out)
{
    struct span value;
    *out = (struct grpc_head){ false, 0 };
    if (!span_is(head->method, "POST"))
        return ERR_METHOD_NOT_ALLOWED;
    if (http_header_find(head, "grpc-encoding", &value) && !span_is(value, "identity") &&
        !span_is(value, "gzip"))
        return ERR_ENCODING_UNKNOWN;
    out->has_leader = http_header_find(head, "hasleader", &value) && span_is(value, "true");
    if (http_header_find(head, "grpc-timeout", &value))
        return read_timeout(value, &out->timeout_us);
    return ERR_OK;
}

static const struct http_header head_status = { { (const uint8_t *)":status", 7 },
                                                { (const uint8_t *)"200", 3 } };
static const struct http_header head_type = { { (const uint8_t *)"content-type", 12 },
                                              { (const uint8_t *)"application/grpc", 16 } };
static const struct http_header head_accept = { { (const uint8_t *)"grpc-accept-encoding", 20 },
                                                { (const uint8_t *)"identity,gzip", 13 } };

void grpc_respond(struct h2_stream *s)
{
    struct http_header headers[] = { head_status, head_type };
    h2_respond(s, headers, 2, false);
}

/* Everything but printable ASCII, and '%', goes as %XX. */
static struct span escape(const char *text, uint8_t *out)
{
    size_t n = 0;
    for (; *text && n + 3 < GRPC_STATUS_TEXT_MAX; text++) {
        uint8_t c = (uint8_t)*text;
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[n++] = c;
            continue;
        }
        out[n++] = '%';
        out[n++] = (uint8_t) "0123456789ABCDEF"[c >> 4];
        out[n++] = (uint8_t) "0123456789ABCDEF"[c & 15];
    }
    return span_of(out, n);
}

/* Decimal, from the end of out on. */
static struct span digits_of(int64_t v, uint8_t out[20])
{
    size_t at = 20;
    do
        out[--at] = (uint8_t)('0' + v % 10);
    while ((v /= 10) > 0);
    return span_of(out + at, 20 - at);
}

void grpc_finish_later(struct h2_stream *s, bool begun, int code, const char *text,
                       int64_t retry_ms)
{
    CHECK(code >= 0 && code <= 16 && retry_ms >= 0);
    uint8_t digits[20], later[20], escaped[GRPC_STATUS_TEXT_MAX];
    struct http_header headers[6] = { head_status, head_type, head_accept };
    size_t n = 3;
    headers[n++] = (struct http_header){ SPAN("grpc-status"), digits_of(code, digits) };
    if (*text)
        headers[n++] = (struct http_header){ SPAN("grpc-message"), escape(text, escaped) };
    if (retry_ms)
        headers[n++] =
            (struct http_header){ SPAN("grpc-retry-pushback-ms"), digits_of(retry_ms, later) };
    if (begun)
        h2_trailers(s, headers + 3, n - 3);
    else
        h2_respond(s, headers, n, true);
}

void grpc_finish(struct h2_stream *s, bool begun, int code, const char *text)
{
    grpc_finish_later(s, begun, code, text, 0);
}

struct h2_stream *grpc_request(struct h2 *h, struct span authority, struct span path, bool secure,
                               struct span token)
{
    struct http_header headers[] = {
        { SPAN(":method"), SPAN("POST") },
        { SPAN(":scheme"), secure ? SPAN("https") : SPAN("http") },
        { SPAN(":path"), path },
        { SPAN(":authority"), authority },
        head_type,
        { SPAN("te"), SPAN("trailers") },
        { SPAN("user-agent"), SPAN("confman") },
        { SPAN("token"), token },
    };
    return h2_request(h, headers, sizeof(headers) / sizeof(headers[0]) - !token.len, false);
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void unescape(struct span v, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < v.len; i++) {
        bool escaped =
            v.data[i] == '%' && v.len - i > 2 && hex(v.data[i + 1]) >= 0 && hex(v.data[i + 2]) >= 0;
        int c = escaped ? hex(v.data[i + 1]) << 4 | hex(v.data[i + 2]) : v.data[i];
        buf_u8(out, (uint8_t)c);
        i += escaped ? 2 : 0;
    }
}

int grpc_status(const struct http_header *headers, size_t n, struct buf *text)
{
    int code = -1;
    for (size_t i = 0; i < n; i++) {
        struct span v = headers[i].value;
        if (span_is(headers[i].name, "grpc-message"))
            unescape(v, text);
        if (!span_is(headers[i].name, "grpc-status"))
            continue;
        code = 0;
        for (size_t k = 0; k < v.len && code >= 0 && code < 100; k++)
            code = v.data[k] >= '0' && v.data[k] <= '9' ? code * 10 + (v.data[k] - '0') : 2;
    }
    return code;
}

/* ---- messages ---- */

size_t grpc_message_begin(struct buf *out)
{
    static const uint8_t zeros[GRPC_PREFIX];
    buf_put(out, zeros, GRPC_PREFIX);
    return out->len;
}

void grpc_message_end(struct buf *out, size_t start)
{
    size_t size = out->len - start;
    CHECK(start >= GRPC_PREFIX && size <= UINT32_MAX);
    for (size_t i = 0; i < 4; i++)
        out->data[start - 4 + i] = (uint8_t)(size >> (24 - 8 * i));
}

void grpc_reader_open(struct grpc_reader *r, struct alloc *alloc)
{
    buf_open(&r->part, alloc);
    buf_open(&r->inflated, alloc);
    r->taken = false;
}

void grpc_reader_close(struct grpc_reader *r)
{
    buf_close(&r->part);
    buf_close(&r->inflated);
}

static void *z_give(void *alloc, unsigned n, unsigned size)
{
    return mem_sized_alloc(alloc, (size_t)n * size);
}

static void z_take_back(void *alloc, void *ptr)
{
    mem_sized_free(alloc, ptr);
}

static enum err inflate_message(struct grpc_reader *r, size_t max, struct span *message)
{
    z_stream z = { 0 };
    z.zalloc = z_give;
    z.zfree = z_take_back;
    z.opaque = r->part.alloc;
    z.next_in = (uint8_t *)(uintptr_t)message->data;
    z.avail_in = (unsigned)message->len;
    CHECK(inflateInit2(&z, 15 + 16) == Z_OK); /* 16: gzip */
    struct buf *out = &r->inflated;
    int rv = Z_OK;
    buf_reset(out);
    while (rv == Z_OK && out->len <= max) {
        z.next_out = buf_room(out, 4096);
        z.avail_out = 4096;
        rv = inflate(&z, Z_NO_FLUSH);
        out->len += 4096 - z.avail_out;
    }
    inflateEnd(&z);
    if (out->len > max)
        return ERR_MESSAGE_TOO_LARGE;
    if (rv != Z_STREAM_END)
        return ERR_MESSAGE_MALFORMED;
    *message = buf_all(out);
    return ERR_OK;
}

static enum err check_prefix(const uint8_t *p, size_t max, size_t *size)
{
    *size = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0] > 1)
        return ERR_MESSAGE_MALFORMED;
    return *size > max ? ERR_MESSAGE_TOO_LARGE : ERR_OK;
}

/* Moves up to want bytes in all into part; true when it has them. */
static bool gather(struct grpc_reader *r, struct span *in, size_t want)
{
    if (r->part.len < want) {
        size_t n = want - r->part.len < in->len ? want - r->part.len : in->len;
        buf_put(&r->part, in->data, n);
        *in = span_from(*in, n);
    }
    return r->part.len >= want;
}

enum err grpc_reader_next(struct grpc_reader *r, struct span *in, size_t max, struct span *message,
                          bool *got)
{
    size_t size;
    enum err e;
    *got = false;
    if (r->taken) {
        buf_close(&r->part);
        r->taken = false;
    }
    const uint8_t *prefix = in->data;
    if (r->part.len == 0 && in->len >= GRPC_PREFIX) {
        e = check_prefix(prefix, max, &size);
        if (e != ERR_OK)
            return e;
        if (in->len - GRPC_PREFIX >= size) { /* whole: no copy */
            *message = span_of(in->data + GRPC_PREFIX, size);
            *in = span_from(*in, GRPC_PREFIX + size);
            *got = true;
            return prefix[0] ? inflate_message(r, max, message) : ERR_OK;
        }
    }
    if (!in->len && !r->part.len)
        return ERR_OK;
    if (!gather(r, in, GRPC_PREFIX))
        return ERR_OK;
    e = check_prefix(r->part.data, max, &size);
    if (e != ERR_OK || !gather(r, in, GRPC_PREFIX + size))
        return e;
    *message = span_of(r->part.data + GRPC_PREFIX, size);
    *got = r->taken = true;
    return r->part.data[0] ? inflate_message(r, max, message) : ERR_OK;
}
