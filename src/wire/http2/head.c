/* Header blocks: written with a table that only grows, read by nghttp2's inflater, and remembered
 * when the same block comes again. */
#include "base/check.h"
#include "wire/http2/http2_int.h"

/* ---- writing: RFC 7541 ---- */

enum { STATIC_ENTRIES = 61, ENTRY_COST = 32 };
enum { INDEXED = 0x80, INSERT = 0x40, UPDATE = 0x20, LITERAL = 0x00 };

/* What we send of appendix A. worth: its values are few, so they go into the dynamic table. */
static const struct {
    struct span name, value;
    unsigned index;
    bool worth;
} known[] = {
    { SPAN(":status"), SPAN("200"), 8, true },
    { SPAN("content-type"), SPAN(""), 31, true },
    { SPAN("grpc-status"), SPAN(""), 0, true },
    { SPAN("grpc-accept-encoding"), SPAN(""), 0, true },
    { SPAN(":status"), SPAN("204"), 9, true },
    { SPAN(":status"), SPAN("304"), 11, true },
    { SPAN(":status"), SPAN("400"), 12, true },
    { SPAN(":status"), SPAN("404"), 13, true },
    { SPAN(":status"), SPAN("500"), 14, true },
    { SPAN(":method"), SPAN("POST"), 3, true },
    { SPAN(":method"), SPAN("GET"), 2, true },
    { SPAN(":scheme"), SPAN("http"), 6, true },
    { SPAN(":scheme"), SPAN("https"), 7, true },
    { SPAN(":authority"), SPAN(""), 1, true },
    { SPAN(":path"), SPAN(""), 4, false },
    { SPAN("te"), SPAN(""), 0, true },
    { SPAN("user-agent"), SPAN(""), 58, true },
    { SPAN("cache-control"), SPAN(""), 24, true },
    { SPAN("content-length"), SPAN(""), 28, false },
};

static void put_int(struct buf *out, unsigned pattern, unsigned bits, size_t v)
{
    size_t most = (1u << bits) - 1;
    if (v < most) {
        buf_u8(out, (uint8_t)(pattern | v));
        return;
    }
    buf_u8(out, (uint8_t)(pattern | most));
    buf_varint(out, v - most); /* 5.1: the same seven bits a byte */
}

static void put_text(struct buf *out, struct span s)
{
    put_int(out, 0, 7, s.len);
    buf_span(out, s);
}

static struct span entry_name(const struct table *t, const struct table_entry *e)
{
    return span_of(t->text.data + e->at, e->name_len);
}

static struct span entry_value(const struct table *t, const struct table_entry *e)
{
    return span_of(t->text.data + e->at + e->name_len, e->value_len);
}

/* The number of an entry of the dynamic table; 0: not there. */
static size_t find_entry(const struct table *t, const struct http_header *header)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct table_entry *e = &t->entries[i];
        if (span_equal(entry_name(t, e), header->name) &&
            span_equal(entry_value(t, e), header->value))
            return STATIC_ENTRIES + t->n - i;
    }
    return 0;
}

/* False: no room for one that would stay. */
static bool insert(struct table *t, const struct http_header *header)
{
    size_t cost = header->name.len + header->value.len + ENTRY_COST;
    if (t->n == TABLE_ENTRIES || header->value.len > TABLE_VALUE_MAX || t->size + cost > t->max)
        return false;
    t->entries[t->n++] = (struct table_entry){ (uint16_t)t->text.len, (uint16_t)header->name.len,
                                               (uint16_t)header->value.len };
    buf_span(&t->text, header->name);
    buf_span(&t->text, header->value);
    t->size += cost;
    return true;
}

static void put_header(struct table *t, const struct http_header *header, struct buf *out)
{
    size_t name = 0;
    bool worth = false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!span_equal(known[i].name, header->name))
            continue;
        name = known[i].index;
        worth = known[i].worth;
        if (known[i].value.len && span_equal(known[i].value, header->value)) {
            put_int(out, INDEXED, 7, known[i].index);
            return;
        }
    }
    size_t whole = worth ? find_entry(t, header) : 0;
    if (whole) {
        put_int(out, INDEXED, 7, whole);
        return;
    }
    if (worth && insert(t, header))
        put_int(out, INSERT, 6, name);
    else
        put_int(out, LITERAL, 4, name);
    if (!name)
        put_text(out, header->name);
    put_text(out, header->value);
}

/* Told at the head of the next block, with the smallest that it was in between (4.2). Nothing is
 * evicted one by one: when it no longer fits, we begin anew. */
static void put_update(struct table *t, struct buf *out)
{
    if (t->lowest < t->size) {
        put_int(out, UPDATE, 5, 0);
        t->n = t->size = 0;
        buf_shrink(&t->text, 0);
    } else if (t->lowest < t->max) {
        put_int(out, UPDATE, 5, t->lowest);
    }
    put_int(out, UPDATE, 5, t->max);
    t->update = false;
}

void table_limit(struct table *t, size_t max)
{
    max = max < TABLE_MAX ? max : TABLE_MAX;
    if (max == t->max)
        return;
    if (!t->update || max < t->lowest)
        t->lowest = max < t->max ? max : t->max;
    t->max = max;
    t->update = true;
}

void head_put(struct table *t, const struct http_header *headers, size_t n, struct buf *out)
{
    if (t->update)
        put_update(t, out);
    for (size_t i = 0; i < n; i++)
        put_header(t, &headers[i], out);
}

/* ---- what a head may say: RFC 9113 8.2, 8.3 ---- */

static bool is_pseudo(const struct http_header *header)
{
    return header->name.len && header->name.data[0] == ':';
}

static bool read_length(struct span s, int64_t *length)
{
    int64_t n = 0;
    if (!s.len || s.len > 18 || *length >= 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        n = n * 10 + (s.data[i] - '0');
    }
    *length = n;
    return true;
}

static bool check_field(struct head *head, const struct http_header *header)
{
    static const char *const of_connections[] = { "connection", "keep-alive", "proxy-connection",
                                                  "transfer-encoding", "upgrade" };
    if (!nghttp2_check_header_name(header->name.data, header->name.len) || is_pseudo(header) ||
        !nghttp2_check_header_value(header->value.data, header->value.len))
        return false;
    for (size_t i = 0; i < sizeof(of_connections) / sizeof(of_connections[0]); i++)
        if (span_is(header->name, of_connections[i]))
            return false;
    if (span_is(header->name, "te"))
        return http_is_word(header->value, "trailers");
    if (span_is(header->name, "content-length"))
        return read_length(header->value, &head->length);
    return true;
}

static bool check_pseudo(struct head *head, struct h2 *h, const struct http_header *header,
                         struct span *path, struct span *scheme)
{
    struct http_request *r = &head->request;
    struct span v = header->value, *place = NULL;
    if (h->role == H2_CLIENT) {
        bool status = span_is(header->name, ":status") && v.len == 3 && !head->status;
        for (size_t i = 0; status && i < 3; i++) {
            status = v.data[i] >= '0' && v.data[i] <= '9';
            head->status = head->status * 10 + (v.data[i] - '0');
        }
        return status && head->status >= 100;
    }
    bool good = v.len > 0;
    if (span_is(header->name, ":method")) {
        place = &r->method;
        good = good && nghttp2_check_method(v.data, v.len);
    } else if (span_is(header->name, ":path")) {
        place = path;
        good = good && nghttp2_check_path(v.data, v.len);
    } else if (span_is(header->name, ":authority")) {
        place = &r->authority;
        good = good && (h->limits.any_authority ? nghttp2_check_header_value(v.data, v.len)
                                                : nghttp2_check_authority(v.data, v.len));
    } else if (span_is(header->name, ":scheme")) {
        place = scheme;
    }
    if (!place || place->data || !good)
        return false;
    *place = v;
    return true;
}

/* CONNECT names no path, all others do; whom they call, in one way or the other. */
static bool check_request(struct head *head, struct span path, struct span scheme)
{
    struct http_request *r = &head->request;
    struct span host;
    if (!r->method.len)
        return false;
    if (span_is(r->method, "CONNECT"))
        return !path.len && !scheme.len && r->authority.len;
    if (!scheme.len || !path.len || (path.data[0] != '/' && !span_is(path, "*")))
        return false;
    http_target(path, &r->path, &r->query);
    return r->authority.len || http_header_find(r, "host", &host);
}

static bool check(struct h2 *h, struct head *head, bool trailers)
{
    const struct http_header *headers = head->headers.items;
    size_t n = head->headers.n, i = 0;
    struct span path = SPAN_NONE, scheme = SPAN_NONE;
    for (; i < n && !trailers && is_pseudo(&headers[i]); i++)
        if (!check_pseudo(head, h, &headers[i], &path, &scheme))
            return false;
    head->n_pseudo = i;
    for (; i < n; i++)
        if (!check_field(head, &headers[i]))
            return false;
    if (trailers)
        return true;
    if (h->role == H2_CLIENT)
        return head->status != 0;
    if (!n)
        return false;
    head->request.headers = headers + head->n_pseudo;
    head->request.header_count = n - head->n_pseudo;
    return check_request(head, path, scheme);
}

/* ---- reading ---- */

void head_close(struct h2 *h, struct head *head)
{
    buf_close(&head->text);
    VEC_CLOSE(&head->headers, h->alloc);
}

static void add_header(struct h2 *h, struct head *head, const nghttp2_nv *nv)
{
    struct http_header header = { span_of(NULL, nv->namelen), span_of(NULL, nv->valuelen) };
    buf_put(&head->text, nv->name, nv->namelen);
    buf_put(&head->text, nv->value, nv->valuelen);
    VEC_PUSH(&head->headers, h->alloc, header);
}

/* Now that all text is there and stays where it is, headers get their places. */
static void place_headers(struct head *head)
{
    const uint8_t *at = head->text.data + head->block_len;
    for (size_t i = 0; i < head->headers.n; i++) {
        struct http_header *header = &head->headers.items[i];
        header->name.data = at;
        header->value.data = at + header->name.len;
        at += header->name.len + header->value.len;
    }
}

static enum err inflate_block(struct h2 *h, struct span block, struct head *head)
{
    size_t size = 0;
    head->headers.n = 0;
    buf_room(&head->text, 1); /* headers without a byte have a place, too */
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n =
            nghttp2_hd_inflate_hd2(h->inflater, &nv, &flags, block.data, block.len, 1);
        CHECK(n != NGHTTP2_ERR_NOMEM);
        if (n < 0)
            return ERR_MESSAGE_MALFORMED;
        block = span_from(block, (size_t)n);
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            size += nv.namelen + nv.valuelen + ENTRY_COST; /* RFC 9113 6.5.2 */
            if (size > h->limits.header_list_max)
                return ERR_MESSAGE_TOO_LARGE;
            add_header(h, head, &nv);
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !block.len)
            return ERR_MESSAGE_MALFORMED; /* it ends in the middle */
    }
    CHECK(nghttp2_hd_inflate_end_headers(h->inflater) == 0);
    place_headers(head);
    return ERR_OK;
}

static bool skip_int(struct span *in, unsigned bits, size_t *v)
{
    uint8_t first;
    uint64_t more;
    size_t most = (1u << bits) - 1;
    if (!span_u8(in, &first))
        return false;
    *v = first & most;
    if (*v < most)
        return true;
    if (!span_varint(in, &more) || more > UINT32_MAX)
        return false;
    *v += (size_t)more;
    return true;
}

static bool skip_text(struct span *in)
{
    struct span text;
    size_t len;
    return skip_int(in, 7, &len) && span_take(in, len, &text);
}

/* Whether the block leaves the table as it is: so that reading it again gives the same, until
 * another one changes the table. */
static bool changes_nothing(struct span in)
{
    while (in.len) {
        size_t index;
        uint8_t first = in.data[0];
        if (first & INDEXED) {
            if (!skip_int(&in, 7, &index))
                return false;
            continue;
        }
        if (first & (INSERT | UPDATE) || !skip_int(&in, 4, &index) ||
            (!index && !skip_text(&in)) || !skip_text(&in))
            return false;
    }
    return true;
}

static struct head *find_memo(struct h2 *h, struct span block)
{
    for (size_t i = 0; i < MEMOS; i++) {
        struct head *m = h->memos[i];
        if (m && m->generation == h->generation && m->block_len == block.len &&
            memcmp(m->text.data, block.data, block.len) == 0)
            return m;
    }
    return NULL;
}

/* Takes what was read over into a memo, the oldest one's place. */
static void remember(struct h2 *h, struct span block)
{
    size_t text_len = h->head.text.len;
    if (block.len + text_len > 2 * MEMO_BYTES_MAX || block.len > MEMO_BYTES_MAX || !block.len)
        return;
    struct head *m = h->memos[h->next_memo];
    if (!m) {
        m = h->memos[h->next_memo] = mem_zero(h->alloc, sizeof(*m));
        buf_open(&m->text, h->alloc);
    }
    h->next_memo = (h->next_memo + 1) % MEMOS;
    buf_reset(&m->text);
    buf_span(&m->text, block);
    buf_span(&m->text, buf_all(&h->head.text));
    m->headers.n = 0;
    for (size_t i = 0; i < h->head.headers.n; i++)
        VEC_PUSH(&m->headers, h->alloc, h->head.headers.items[i]);
    m->block_len = block.len;
    m->generation = h->generation;
    m->length = -1;
    m->status = 0;
    m->request = (struct http_request){ 0 };
    place_headers(m);
    m->bad = !check(h, m, false);
    CHECK(!m->bad); /* as it was not before */
}

static void forget_text(struct head *head)
{
    buf_shrink(&head->text, MEMO_BYTES_MAX);
    head->headers.n = 0;
    head->length = -1;
    head->status = 0;
    head->request = (struct http_request){ 0 };
}

enum err head_read(struct h2 *h, struct span block, bool trailers, struct head **out)
{
    struct head *memo = trailers ? NULL : find_memo(h, block);
    if (memo) {
        *out = memo;
        return ERR_OK;
    }
    bool same = changes_nothing(block);
    h->generation += !same;
    forget_text(&h->head);
    enum err e = inflate_block(h, block, &h->head);
    if (e != ERR_OK)
        return e;
    h->head.bad = !check(h, &h->head, trailers);
    if (same && !trailers && !h->head.bad && h->last_id) /* worth it from the second stream on */
        remember(h, block);
    *out = &h->head;
    return ERR_OK;
}
