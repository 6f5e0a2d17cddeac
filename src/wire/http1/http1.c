#include "wire/http1/http1.h"
#include "base/check.h"
#include "base/vec.h"

enum state { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_CRLF, TRAILERS, COMPLETE, BROKEN };
enum {
    BLANK_LINES_MAX = 1,   /* before a request line (RFC 9112 2.2) */
    CHUNK_DIGITS_MAX = 15, /* of a chunk's size */
    CHUNK_LINE_MAX = 256,  /* that size, its extensions, and CRLF */
    KEEP_BYTES_MAX = 4096  /* of each buffer, from one request to the next */
};

struct http1 {
    struct alloc *alloc;
    struct http1_limits limits;
    enum state state;
    struct buf head;   /* the request's head as it came */
    size_t line_start; /* in head: where the line that is coming begins */
    size_t blank_lines;
    struct buf line; /* of a chunked body: a size line, a chunk's CRLF, or a trailer */
    struct buf body;
    size_t body_left;  /* of the body or of the chunk */
    size_t extra_left; /* bytes that chunk extensions and trailers may still take */
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

static enum err broken(struct http1 *h, enum err e)
{
    h->state = BROKEN;
    return e;
}

static enum err bad(struct http1 *h)
{
    return broken(h, ERR_BAD_REQUEST);
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

/* What may stand in "host:port" (RFC 3986 3.2.2, 3.2.3), as characters. No user name, and no
 * comma: that is how two Host headers look when somebody before us has joined them. */
static bool is_host(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != 0 && memchr("-._~%:[]!$&'()*+;=", c, 18))))
            return false;
    }
    return true;
}

/* ---- the head ---- */

/* The lines of a head whose every line is known to end in CRLF, without it. */
static struct span next_line(struct span *rest)
{
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    CHECK(end != NULL && end > rest->data);
    struct span line = span_of(rest->data, (size_t)(end - rest->data) - 1);
    *rest = span_from(*rest, line.len + 2);
    return line;
}

/* "http://authority/path": what stands behind "://", or nothing. */
static struct span after_scheme(struct span target)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (target.len > n && http_is_word(span_of(target.data, n), schemes[i]))
            return span_from(target, n);
    }
    return SPAN_NONE;
}

/* RFC 9112 3.2: "/path?query", the whole "http://host/path?query", or "*" for OPTIONS. */
static bool read_target(struct http_request *r, struct span target)
{
    for (size_t i = 0; i < target.len; i++)
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#')
            return false;
    if (span_starts(target, SPAN("/"))) {
        http_target(target, &r->path, &r->query);
        return true;
    }
    if (span_is(target, "*")) {
        r->path = target;
        return span_is(r->method, "OPTIONS");
    }
    struct span rest = after_scheme(target);
    size_t n = 0;
    while (n < rest.len && rest.data[n] != '/' && rest.data[n] != '?')
        n++;
    r->authority = span_of(rest.data, n);
    http_target(n ? span_from(rest, n) : rest, &r->path, &r->query);
    if (!r->path.len)
        r->path = SPAN("/");
    return n > 0 && is_host(r->authority);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static enum err read_request_line(struct http1 *h, struct span line)
{
    struct http_request *r = &h->request;
    const uint8_t *first = memchr(line.data, ' ', line.len);
    if (!first)
        return bad(h);
    r->method = span_of(line.data, (size_t)(first - line.data));
    struct span rest = span_from(line, r->method.len + 1);
    const uint8_t *second = rest.len ? memchr(rest.data, ' ', rest.len) : NULL;
    if (!second)
        return bad(h);
    struct span target = span_of(rest.data, (size_t)(second - rest.data));
    struct span version = span_from(rest, target.len + 1);
    if (!is_token(r->method) || version.len != 8 || !span_starts(version, SPAN("HTTP/")) ||
        !is_digit(version.data[5]) || version.data[6] != '.' || !is_digit(version.data[7]))
        return bad(h);
    h->minor_zero = span_is(version, "HTTP/1.0");
    if (!h->minor_zero && !span_is(version, "HTTP/1.1"))
        return broken(h, ERR_HTTP_VERSION);
    return read_target(r, target) ? ERR_OK : bad(h);
}

/* "name: value"; a folded line and a space before the colon fail as names (RFC 9112 5.1, 5.2). */
static bool split_header(struct span line, struct http_header *out)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (!colon)
        return false;
    size_t n = (size_t)(colon - line.data);
    *out = (struct http_header){ span_of(line.data, n), http_trim(span_from(line, n + 1)) };
    return is_token(out->name) && is_value(out->value);
}

static enum err read_header(struct http1 *h, struct span line)
{
    struct http_header header;
    if (!split_header(line, &header))
        return bad(h);
    if (h->headers.n == h->limits.headers_max)
        return broken(h, ERR_HEAD_TOO_LARGE);
    for (size_t i = 0; i < header.name.len; i++) /* the head is ours: lower case in place */
        h->head.data[header.name.data - h->head.data + (ptrdiff_t)i] =
            http_lower(header.name.data[i]);
    VEC_PUSH(&h->headers, h->alloc, header);
    return ERR_OK;
}

/* Digits and nothing else; what no size_t holds becomes the largest, which no limit allows. */
static bool read_length(struct span s, size_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.data[i]))
            return false;
        size_t digit = (size_t)(s.data[i] - '0');
        n = n > (SIZE_MAX - digit) / 10 ? SIZE_MAX : n * 10 + digit;
    }
    *out = n;
    return s.len > 0;
}

/* What the headers say of framing and of the connection. */
struct framing {
    size_t hosts, lengths, encodings, length;
    bool chunked_alone, close, keep;
};

/* False: a host that is none, a length that is no number, or two that differ. */
static bool see_header(struct http1 *h, const struct http_header *header, struct framing *f)
{
    struct span name = header->name, value = header->value;
    size_t n;
    if (span_is(name, "host")) {
        f->hosts++;
        if (!is_host(value))
            return false;
        if (!h->request.authority.data) /* a whole target says better (RFC 9112 3.2.2) */
            h->request.authority = value;
    } else if (span_is(name, "content-length")) {
        if (!read_length(value, &n) || (f->lengths++ && n != f->length))
            return false;
        f->length = n;
    } else if (span_is(name, "transfer-encoding")) {
        f->chunked_alone = f->encodings++ == 0 && http_is_word(value, "chunked");
    } else if (span_is(name, "connection")) {
        f->close = f->close || http_lists(value, "close");
        f->keep = f->keep || http_lists(value, "keep-alive");
    } else if (span_is(name, "expect")) {
        h->wants_continue = http_is_word(value, "100-continue");
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
        return broken(h, ERR_NOT_BUILT);
    if (f.encodings && (f.lengths || h->minor_zero))
        return bad(h);
    if (f.length > h->limits.body_bytes_max)
        return broken(h, ERR_BODY_TOO_LARGE);
    h->keep_alive = !f.close && (!h->minor_zero || f.keep);
    h->body_left = f.length;
    h->extra_left = h->limits.head_bytes_max;
    h->state = f.encodings ? CHUNK_SIZE : f.length ? BODY : COMPLETE;
    h->wants_continue = h->wants_continue && h->state != COMPLETE && !h->minor_zero;
    return ERR_OK;
}

/* An Upgrade in HTTP/1.0 must be ignored (RFC 9110 7.8). */
static void drop_upgrades(struct http1 *h)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->headers.n; i++)
        if (!span_is(h->headers.items[i].name, "upgrade"))
            h->headers.items[kept++] = h->headers.items[i];
    h->headers.n = kept;
}

static enum err read_head(struct http1 *h)
{
    struct span rest = buf_all(&h->head), line;
    enum err e = read_request_line(h, next_line(&rest));
    while (e == ERR_OK && (line = next_line(&rest)).len)
        e = read_header(h, line);
    if (e == ERR_OK)
        e = frame(h);
    if (e == ERR_OK && h->minor_zero)
        drop_upgrades(h);
    h->request.headers = h->headers.items;
    h->request.header_count = h->headers.n;
    return e;
}

/* Takes bytes up to the end of a line that begins at start in to; *whole tells that its end came.
 * Any line but one that ends in CRLF and has no other CR is refused as soon as its end is seen:
 * others might read a line's end there (RFC 9112 2.2). too_long answers when to would get over
 * max. */
static enum err take_line(struct http1 *h, struct span *in, struct buf *to, size_t start,
                          size_t max, enum err too_long, bool *whole)
{
    const uint8_t *end = memchr(in->data, '\n', in->len);
    size_t n = end ? (size_t)(end - in->data) + 1 : in->len;
    CHECK(start <= to->len);
    *whole = false;
    if (n > max - to->len)
        return broken(h, too_long);
    buf_put(to, in->data, n);
    *in = span_from(*in, n);
    if (!end)
        return ERR_OK;
    const uint8_t *line = to->data + start;
    const uint8_t *cr = memchr(line, '\r', to->len - start);
    if (cr != to->data + to->len - 2)
        return bad(h);
    *whole = true;
    return ERR_OK;
}

static enum err take_head(struct http1 *h, struct span *in)
{
    bool whole;
    enum err too_long = h->line_start ? ERR_HEAD_TOO_LARGE : ERR_TARGET_TOO_LONG;
    enum err e =
        take_line(h, in, &h->head, h->line_start, h->limits.head_bytes_max, too_long, &whole);
    if (e != ERR_OK || !whole)
        return e;
    bool empty = h->head.len - h->line_start == 2;
    h->line_start = h->head.len;
    if (!empty)
        return ERR_OK;
    if (h->line_start > 2)
        return read_head(h);
    buf_reset(&h->head);
    h->line_start = 0;
    return ++h->blank_lines > BLANK_LINES_MAX ? bad(h) : ERR_OK;
}

/* ---- the body ---- */

/* Extensions and trailers are dropped, but somebody has to read them. */
static bool spend(struct http1 *h, size_t bytes)
{
    bool ok = bytes <= h->extra_left;
    h->extra_left -= ok ? bytes : 0;
    return ok;
}

static enum err read_chunk_size(struct http1 *h)
{
    struct span line = span_of(h->line.data, h->line.len - 2);
    size_t size = 0, i = 0;
    for (; i < line.len; i++) {
        uint8_t c = http_lower(line.data[i]);
        int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            break;
        if (i == CHUNK_DIGITS_MAX)
            return bad(h);
        size = size << 4 | (size_t)digit;
    }
    /* An extension is tolerated, anything else is not. */
    bool alone = i == line.len;
    if (i == 0 || (!alone && line.data[i] != ';') || !is_value(line) || !spend(h, line.len - i))
        return bad(h);
    if (size > h->limits.body_bytes_max - h->body.len)
        return broken(h, ERR_BODY_TOO_LARGE);
    buf_reset(&h->line);
    h->body_left = size;
    h->state = size ? CHUNK_DATA : TRAILERS;
    return ERR_OK;
}

static enum err take_chunk_size(struct http1 *h, struct span *in)
{
    bool whole;
    enum err e = take_line(h, in, &h->line, 0, CHUNK_LINE_MAX, ERR_BAD_REQUEST, &whole);
    return e == ERR_OK && whole ? read_chunk_size(h) : e;
}

static enum err take_chunk_end(struct http1 *h, struct span *in)
{
    if (in->data[0] != (h->line.len ? '\n' : '\r'))
        return bad(h);
    buf_u8(&h->line, in->data[0]);
    *in = span_from(*in, 1);
    if (h->line.len == 2) {
        buf_reset(&h->line);
        h->state = CHUNK_SIZE;
    }
    return ERR_OK;
}

static enum err take_trailer(struct http1 *h, struct span *in)
{
    bool whole;
    struct http_header ignored;
    enum err e = take_line(h, in, &h->line, 0, h->extra_left, ERR_HEAD_TOO_LARGE, &whole);
    if (e != ERR_OK || !whole)
        return e;
    struct span line = span_of(h->line.data, h->line.len - 2);
    if (line.len && !split_header(line, &ignored))
        return bad(h);
    CHECK(spend(h, h->line.len));
    h->state = line.len ? TRAILERS : COMPLETE;
    buf_reset(&h->line);
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
    switch (h->state) {
    case HEAD:
        return take_head(h, in);
    case BODY:
        take_body(h, in, COMPLETE);
        return ERR_OK;
    case CHUNK_SIZE:
        return take_chunk_size(h, in);
    case CHUNK_DATA:
        take_body(h, in, CHUNK_CRLF);
        return ERR_OK;
    case CHUNK_CRLF:
        return take_chunk_end(h, in);
    case TRAILERS:
        return take_trailer(h, in);
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
    h->line_start = h->blank_lines = 0;
    buf_shrink(&h->head, KEEP_BYTES_MAX);
    buf_shrink(&h->line, KEEP_BYTES_MAX);
    buf_shrink(&h->body, KEEP_BYTES_MAX);
}

bool http1_idle(const struct http1 *h)
{
    return h->state == HEAD && h->head.len == 0;
}

bool http1_keep_alive(const struct http1 *h)
{
    return h->keep_alive && h->state == COMPLETE;
}

bool http1_can_stream(const struct http1 *h)
{
    return h->state == COMPLETE && !h->minor_zero && !span_is(h->request.method, "HEAD");
}

/* ---- answers ---- */

static void head_begin(int status, const struct http_header *headers, size_t n, struct buf *out)
{
    CHECK(status >= 200 && status <= 599);
    buf_format(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    for (size_t i = 0; i < n; i++) {
        CHECK(is_token(headers[i].name) && is_value(headers[i].value));
        buf_span(out, headers[i].name);
        buf_text(out, ": ");
        buf_span(out, headers[i].value);
        buf_text(out, "\r\n");
    }
}

void http1_respond(const struct http1 *h, int status, const struct http_header *headers, size_t n,
                   struct span body, bool keep_alive, struct buf *out)
{
    head_begin(status, headers, n, out);
    if (!keep_alive)
        buf_text(out, "connection: close\r\n");
    else if (h->minor_zero)
        buf_text(out, "connection: keep-alive\r\n");
    bool no_body = status == 304 || status == 204;
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
    head_begin(status, headers, n, out);
    buf_text(out, "connection: close\r\ntransfer-encoding: chunked\r\n\r\n");
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
