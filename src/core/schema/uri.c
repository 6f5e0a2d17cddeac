/* References between schemas. */
#include "core/schema/schema_int.h"
#include "base/check.h"

struct parts {
    struct span scheme, authority, path, query;
    bool has_authority, has_query;
};

static struct span until(struct span *s, const char *ends)
{
    size_t n = 0;
    while (n < s->len && !strchr(ends, s->data[n]))
        n++;
    struct span out = span_of(s->data, n);
    *s = span_from(*s, n);
    return out;
}

static bool is_letter(uint8_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* Without the fragment. NUL ends nothing here: strchr finds it, so it ends every part. */
static struct parts split(struct span s)
{
    struct parts p = { 0 };
    size_t n = 0;
    while (n < s.len && (is_letter(s.data[n]) ||
                         (n && (s.data[n] == '+' || s.data[n] == '-' || s.data[n] == '.' ||
                                (s.data[n] >= '0' && s.data[n] <= '9')))))
        n++;
    if (n && n < s.len && s.data[n] == ':') {
        p.scheme = span_of(s.data, n);
        s = span_from(s, n + 1);
    }
    p.has_authority = span_starts(s, SPAN("//"));
    if (p.has_authority) {
        s = span_from(s, 2);
        p.authority = until(&s, "/?");
    }
    p.path = until(&s, "?");
    p.has_query = s.len > 0;
    if (p.has_query)
        p.query = span_from(s, 1);
    return p;
}

/* RFC 3986 5.2.4, into out. */
static void remove_dots(struct span path, struct buf *out)
{
    size_t start = out->len;
    while (path.len) {
        bool rooted = path.data[0] == '/';
        struct span rest = rooted ? span_from(path, 1) : path;
        struct span segment = until(&rest, "/");
        bool last = rest.len == 0;
        path = rest;
        if (span_is(segment, ".") || span_is(segment, "..")) {
            if (segment.len == 2) {
                while (out->len > start && out->data[out->len - 1] != '/')
                    out->len--;
                if (out->len > start)
                    out->len--;
            }
            if (last)
                buf_u8(out, '/');
            continue;
        }
        if (rooted)
            buf_u8(out, '/');
        buf_span(out, segment);
    }
}

static void merge_paths(const struct parts *base, struct span path, struct buf *out)
{
    size_t n = base->path.len;
    if (base->has_authority && !n)
        buf_u8(out, '/');
    while (n && base->path.data[n - 1] != '/')
        n--;
    buf_span(out, span_of(base->path.data, n));
    buf_span(out, path);
}

static void put_whole(const struct parts *p, struct span path, struct buf *out)
{
    if (p->scheme.len) {
        buf_span(out, p->scheme);
        buf_u8(out, ':');
    }
    if (p->has_authority) {
        buf_text(out, "//");
        buf_span(out, p->authority);
    }
    buf_span(out, path);
    if (p->has_query) {
        buf_u8(out, '?');
        buf_span(out, p->query);
    }
}

static struct span resolve(struct span base_text, struct span text, struct arena *arena)
{
    struct parts base = split(base_text), r = split(text);
    struct buf merged, path, out;
    if (!text.len)
        return base_text;
    buf_open(&merged, arena->alloc);
    buf_open(&path, arena->alloc);
    buf_open(&out, arena->alloc);
    if (r.scheme.len || r.has_authority) {
        buf_span(&merged, r.path);
    } else {
        r.authority = base.authority;
        r.has_authority = base.has_authority;
        if (!r.path.len && !r.has_query) {
            r.query = base.query;
            r.has_query = base.has_query;
        }
        if (!r.path.len)
            buf_span(&merged, base.path);
        else if (r.path.data[0] == '/')
            buf_span(&merged, r.path);
        else
            merge_paths(&base, r.path, &merged);
    }
    if (!r.scheme.len)
        r.scheme = base.scheme;
    if (r.has_authority || !r.scheme.len || (merged.len && merged.data[0] == '/'))
        remove_dots(buf_all(&merged), &path);
    else
        buf_span(&path, buf_all(&merged)); /* urn: and the like have no segments */
    put_whole(&r, buf_all(&path), &out);
    struct span whole = arena_copy(arena, buf_all(&out));
    buf_close(&merged);
    buf_close(&path);
    buf_close(&out);
    return whole;
}

static int hex_of(uint8_t c)
{
    uint8_t low = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* What is no escape stays as it is. */
static struct span decode(struct span s, struct arena *arena)
{
    uint8_t *out = arena_alloc(arena, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        out[n] = s.data[i];
        if (s.data[i] == '%' && s.len - i > 2) {
            int high = hex_of(s.data[i + 1]), low = hex_of(s.data[i + 2]);
            if (high >= 0 && low >= 0) {
                out[n] = (uint8_t)(high * 16 + low);
                i += 2;
            }
        }
        n++;
    }
    return span_of(out, n);
}

struct uri uri_resolve(struct span base, struct span reference, struct arena *arena)
{
    const uint8_t *hash = reference.len ? memchr(reference.data, '#', reference.len) : NULL;
    size_t n = hash ? (size_t)(hash - reference.data) : reference.len;
    struct uri out = { .whole = resolve(base, span_of(reference.data, n), arena) };
    if (hash)
        out.fragment = decode(span_from(reference, n + 1), arena);
    return out;
}
