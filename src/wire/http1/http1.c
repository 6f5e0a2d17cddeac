#include "wire/http1/http1.h"
#include "base/check.h"
#include "base/vec.h"

enum state { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_CRLF, TRAILERS, COMPLETE, BROKEN };
enum { CHUNK_LINE_MAX = 256 };

struct http1 {
    struct alloc *alloc;
    struct http1_limits limits;
    enum state state;
    int status;      /* to be answered when BROKEN */
    struct buf head; /* the request's head as it came */
    struct buf line; /* a chunk's size line, or the trailers */
    struct buf body;
    size_t body_left; /* of the body or of the chunk */
    VEC(struct http_header) headers;
    struct http_request request;
    bool keep_alive, minor_zero, wants_continue;
};

struct http1 *http1_open(struct alloc *alloc, const struct http1_limits *limits)
{
    struct http1 *h = mem_zero(alloc, sizeof(*h));
    h->alloc = alloc;
    h->limits = *limits;
    buf_open(&h->head, alloc);
    buf_open(&h->line, alloc);
    buf_open(&h->body, alloc);
    return h;
}

void http1_close(struct http1 *h)
{
    buf_close(&h->head);
    buf_close(&h->line);
    buf_close(&h->body);
    VEC_CLOSE(&h->headers, h->alloc);
    mem_free(h->alloc, h, sizeof(*h));
}

static enum err broken(struct http1 *h, int status, enum err e)
{
    h->state = BROKEN;
    h->status = status;
    return e;
}

static enum err bad(struct http1 *h)
{
    return broken(h, 400, ERR_BAD_REQUEST);
}

/* ---- characters (RFC 9110 5.6.2, 5.5) ---- */

static bool is_token_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && memchr("!#$%&'*+-.^_`|~", c, 15));
}

static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char(s.data[i]))
            return false;
    return s.len > 0;
}

static bool is_value(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f)
            return false;
    return true;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool is_word(struct span s, const char *word)
{
    if (s.len != strlen(word))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (lower(s.data[i]) != (uint8_t)word[i])
            return false;
    return true;
}

static struct span trim(struct span s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = span_from(s, 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* One of a comma-separated list, in any case. */
static bool lists(struct span s, const char *word)
{
    while (s.len) {
        const uint8_t *comma = memchr(s.data, ',', s.len);
        size_t n = comma ? (size_t)(comma - s.data) : s.len;
        if (is_word(trim(span_of(s.data, n)), word))
            return true;
        s = span_from(s, comma ? n + 1 : n);
    }
    return false;
}

/* ---- the head ---- */

/* A line without its CRLF off the front; the head is known to end in an empty line. */
static bool next_line(struct span *rest, struct span *line)
{
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    if (!end || end == rest->data || end[-1] != '\r')
        return false;
    *line = span_of(rest->data, (size_t)(end - rest->data) - 1);
    *rest = span_from(*rest, line->len + 2);
    return !line->len || !memchr(line->data, '\r', line->len);
}

static enum err read_request_line(struct http1 *h, struct span line)
{
    struct http_request *r = &h->request;
    const uint8_t *first = memchr(line.data, ' ', line.len);
    if (!first)
        return bad(h);
    r->method = span_of(line.data, (size_t)(first - line.data));
    struct span rest = span_from(line, r->method.len + 1), target;
    const uint8_t *second = rest.len ? memchr(rest.data, ' ', rest.len) : NULL;
    if (!second)
        return bad(h);
    target = span_of(rest.data, (size_t)(second - rest.data));
    struct span version = span_from(rest, target.len + 1);
    bool target_ok = target.len > 0 && (target.data[0] == '/' || span_is(target, "*"));
    for (size_t i = 0; i < target.len; i++)
        target_ok = target_ok && target.data[i] > 0x20 && target.data[i] < 0x7f;
    if (!is_token(r->method) || !target_ok || version.len != 8 ||
        !span_starts(version, SPAN("HTTP/")))
        return bad(h);
    h->minor_zero = span_is(version, "HTTP/1.0");
    if (!h->minor_zero && !span_is(version, "HTTP/1.1"))
        return broken(h, 505, ERR_NOT_BUILT);
    http_target(target, &r->path, &r->query);
    return ERR_OK;
}

static enum err read_header(struct http1 *h, struct span line)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (!colon)
        return bad(h);
    struct http_header header = { span_of(line.data, (size_t)(colon - line.data)),
                                  trim(span_from(line, (size_t)(colon - line.data) + 1)) };
    if (!is_token(header.name) || !is_value(header.value))
        return bad(h);
    if (h->headers.n == h->limits.headers_max)
        return broken(h, 431, ERR_REQUEST_TOO_LARGE);
    for (size_t i = 0; i < header.name.len; i++) /* the head is ours: lower case in place */
        h->head.data[header.name.data - h->head.data + (ptrdiff_t)i] = lower(header.name.data[i]);
    VEC_PUSH(&h->headers, h->alloc, header);
    return ERR_OK;
}

static bool read_length(struct span s, size_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || n > SIZE_MAX / 20)
            return false;
        n = n * 10 + (size_t)(s.data[i] - '0');
    }
    *out = n;
    return s.len > 0;
}

/* What the headers say of framing and of the connection. */
struct framing {
    size_t hosts, lengths, encodings, length;
    bool chunked_alone, close, keep;
};

/* False: a length that is no number, or two that differ. */
static bool see_header(struct http1 *h, const struct http_header *header, struct framing *f)
{
    struct span name = header->name, value = header->value;
    size_t n;
    if (span_is(name, "host")) {
        f->hosts++;
        h->request.authority = value;
    } else if (span_is(name, "content-length")) {
        if (!read_length(value, &n) || (f->lengths++ && n != f->length))
            return false;
        f->length = n;
    } else if (span_is(name, "transfer-encoding")) {
        f->chunked_alone = f->encodings++ == 0 && is_word(value, "chunked");
    } else if (span_is(name, "connection")) {
        f->close = f->close || lists(value, "close");
        f->keep = f->keep || lists(value, "keep-alive");
    } else if (span_is(name, "expect")) {
        h->wants_continue = is_word(value, "100-continue");
    }
    return true;
}

/* How long the body is, and whether the connection goes on (RFC 9112 6.3, 9.3). */
static enum err frame(struct http1 *h)
{
    struct framing f = { 0 };
    for (size_t i = 0; i < h->headers.n; i++)
        if (!see_header(h, &h->headers.items[i], &f))
            return bad(h);
    if (f.hosts > 1 || (f.hosts == 0 && !h->minor_zero))
        return bad(h);
    if (f.encodings && !f.chunked_alone)
        return broken(h, 501, ERR_NOT_BUILT);
    if (f.encodings && (f.lengths || h->minor_zero))
        return bad(h);
    if (f.length > h->limits.body_bytes_max)
        return broken(h, 413, ERR_BODY_TOO_LARGE);
    h->keep_alive = !f.close && (!h->minor_zero || f.keep);
    h->body_left = f.length;
    h->state = f.encodings ? CHUNK_SIZE : f.length ? BODY : COMPLETE;
    h->wants_continue = h->wants_continue && h->state != COMPLETE && !h->minor_zero;
    return ERR_OK;
}

static enum err read_head(struct http1 *h)
{
    struct span rest = buf_all(&h->head), line;
    if (!next_line(&rest, &line))
        return bad(h);
    enum err e = read_request_line(h, line);
    while (e == ERR_OK) {
        if (!next_line(&rest, &line))
            return bad(h);
        if (!line.len)
            break;
        e = read_header(h, line);
    }
    if (e != ERR_OK)
        return e;
    h->request.headers = h->headers.items;
    h->request.header_count = h->headers.n;
    return frame(h);
}

/* Takes up to and including the end mark ("\r\n\r\n" or "\r\n") into to; *whole tells that it
 * came. */
static enum err take_until(struct http1 *h, struct span *in, struct buf *to, const char *mark,
                           size_t max, bool *whole)
{
    size_t n = strlen(mark);
    *whole = false;
    while (in->len && !*whole) {
        if (to->len == max)
            return broken(h, 431, ERR_REQUEST_TOO_LARGE);
        const uint8_t *end = memchr(in->data, '\n', in->len);
        size_t take = end ? (size_t)(end - in->data) + 1 : in->len;
        if (take > max - to->len)
            take = max - to->len;
        buf_put(to, in->data, take);
        *in = span_from(*in, take);
        bool ends = to->len >= n && memcmp(to->data + to->len - n, mark, n) == 0;
        *whole = ends || (n == 4 && to->len == 2 && memcmp(to->data, "\r\n", 2) == 0);
    }
    return ERR_OK;
}

/* ---- the body ---- */

static enum err read_chunk_size(struct http1 *h)
{
    size_t size = 0, i = 0;
    for (; i < h->line.len; i++) {
        uint8_t c = lower(h->line.data[i]);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            break;
        if (i == 15)
            return bad(h);
        size = size << 4 | (size_t)digit;
    }
    /* An extension is tolerated, anything else is not. */
    if (i == 0 || (h->line.data[i] != '\r' && h->line.data[i] != ';') ||
        !is_value(span_of(h->line.data, h->line.len - 2)))
        return bad(h);
    if (size > h->limits.body_bytes_max - h->body.len)
        return broken(h, 413, ERR_BODY_TOO_LARGE);
    buf_reset(&h->line);
    h->body_left = size;
    h->state = size ? CHUNK_DATA : TRAILERS;
    return ERR_OK;
}

static void take_body(struct http1 *h, struct span *in, enum state then)
{
    size_t n = in->len < h->body_left ? in->len : h->body_left;
    buf_put(&h->body, in->data, n);
    *in = span_from(*in, n);
    h->body_left -= n;
    if (!h->body_left)
        h->state = then;
}

static enum err step(struct http1 *h, struct span *in)
{
    bool whole;
    enum err e;
    switch (h->state) {
    case HEAD:
        e = take_until(h, in, &h->head, "\r\n\r\n", h->limits.head_bytes_max, &whole);
        if (e == ERR_OK && whole && h->head.len == 2) {
            buf_reset(&h->head); /* an empty line before a request (RFC 9112 2.2) */
            return ERR_OK;
        }
        return e == ERR_OK && whole ? read_head(h) : e;
    case BODY:
        take_body(h, in, COMPLETE);
        return ERR_OK;
    case CHUNK_SIZE:
        e = take_until(h, in, &h->line, "\r\n", CHUNK_LINE_MAX, &whole);
        return e == ERR_OK && whole ? read_chunk_size(h) : e;
    case CHUNK_DATA:
        take_body(h, in, CHUNK_CRLF);
        return ERR_OK;
    case CHUNK_CRLF:
        buf_u8(&h->line, in->data[0]);
        *in = span_from(*in, 1);
        if (h->line.len == 2) {
            if (memcmp(h->line.data, "\r\n", 2) != 0)
                return bad(h);
            buf_reset(&h->line);
            h->state = CHUNK_SIZE;
        }
        return ERR_OK;
    case TRAILERS:
        e = take_until(h, in, &h->line, "\r\n\r\n", h->limits.head_bytes_max, &whole);
        if (e == ERR_OK && whole)
            h->state = COMPLETE;
        return e;
    case COMPLETE:
    case BROKEN:
        break;
    }
    UNREACHABLE("a state that takes bytes");
}

enum err http1_feed(struct http1 *h, struct span in, size_t *used)
{
    size_t all = in.len;
    enum err e = ERR_OK;
    CHECK(h->state != BROKEN);
    while (e == ERR_OK && in.len && h->state != COMPLETE)
        e = step(h, &in);
    *used = all - in.len;
    if (h->state == COMPLETE)
        h->request.body = buf_all(&h->body);
    return e;
}

int http1_status(const struct http1 *h)
{
    return h->status;
}

bool http1_request(const struct http1 *h, struct http_request *out)
{
    if (h->state != COMPLETE)
        return false;
    *out = h->request;
    return true;
}

bool http1_wants_continue(struct http1 *h)
{
    bool wants = h->wants_continue && h->state != COMPLETE && h->state != HEAD;
    if (wants)
        h->wants_continue = false;
    return wants;
}

void http1_next(struct http1 *h)
{
    CHECK(h->state == COMPLETE);
    h->state = HEAD;
    h->headers.n = 0;
    h->request = (struct http_request){ 0 };
    h->wants_continue = false;
    buf_shrink(&h->head, 4096);
    buf_shrink(&h->line, 4096);
    buf_shrink(&h->body, 4096);
}

bool http1_idle(const struct http1 *h)
{
    return h->state == HEAD && h->head.len == 0;
}

bool http1_keep_alive(const struct http1 *h)
{
    return h->keep_alive;
}

/* ---- answers ---- */

static void status_line(int status, const struct http_header *headers, size_t n, struct buf *out)
{
    buf_format(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    for (size_t i = 0; i < n; i++) {
        buf_span(out, headers[i].name);
        buf_text(out, ": ");
        buf_span(out, headers[i].value);
        buf_text(out, "\r\n");
    }
}

void http1_respond(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                   struct span body, bool keep_alive, struct buf *out)
{
    status_line(status, headers, n, out);
    if (!keep_alive)
        buf_text(out, "connection: close\r\n");
    else if (h->minor_zero)
        buf_text(out, "connection: keep-alive\r\n");
    bool no_body = status == 304 || status == 204 || status < 200;
    if (!no_body)
        buf_format(out, "content-length: %zu\r\n", body.len);
    buf_text(out, "\r\n");
    if (!no_body && !span_is(h->request.method, "HEAD"))
        buf_span(out, body);
}

void http1_begin(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                 struct buf *out)
{
    CHECK(h->state == COMPLETE);
    status_line(status, headers, n, out);
    buf_text(out, "transfer-encoding: chunked\r\n\r\n");
}

void http1_chunk(struct span data, struct buf *out)
{
    if (!data.len)
        return; /* an empty chunk would end it */
    buf_format(out, "%zx\r\n", data.len);
    buf_span(out, data);
    buf_text(out, "\r\n");
}

void http1_end(struct buf *out)
{
    buf_text(out, "0\r\n\r\n");
}
