#include "wire/http/http.h"

bool http_header_find(const struct http_request *r, const char *name, struct span *out)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (span_is(r->headers[i].name, name)) {
            *out = r->headers[i].value;
            return true;
        }
    return false;
}

bool http_is_word(struct span s, const char *word)
{
    if (s.len != strlen(word))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (http_lower(s.data[i]) != (uint8_t)word[i])
            return false;
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct span http_trim(struct span s)
{
    while (s.len && is_blank(s.data[0]))
        s = span_from(s, 1);
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool http_lists(struct span value, const char *word)
{
    while (value.len) {
        const uint8_t *comma = memchr(value.data, ',', value.len);
        size_t n = comma ? (size_t)(comma - value.data) : value.len;
        if (http_is_word(http_trim(span_of(value.data, n)), word))
            return true;
        value = span_from(value, comma ? n + 1 : n);
    }
    return false;
}

bool http_header_lists(const struct http_request *r, const char *name, const char *word)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (span_is(r->headers[i].name, name) && http_lists(r->headers[i].value, word))
            return true;
    return false;
}

void http_target(struct span target, struct span *path, struct span *query)
{
    const uint8_t *mark = target.len ? memchr(target.data, '?', target.len) : NULL;
    size_t n = mark ? (size_t)(mark - target.data) : target.len;
    *path = span_of(target.data, n);
    *query = mark ? span_from(target, n + 1) : SPAN_NONE;
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

enum err http_decode(struct span s, bool plus_is_space, struct arena *arena, struct span *out)
{
    uint8_t *p = arena_alloc(arena, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '%') {
            if (s.len - i < 3 || hex(s.data[i + 1]) < 0 || hex(s.data[i + 2]) < 0)
                return ERR_BAD_REQUEST;
            c = (uint8_t)(hex(s.data[i + 1]) << 4 | hex(s.data[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        p[n++] = c;
    }
    *out = span_of(p, n);
    return ERR_OK;
}

enum err http_query_each(struct span query, struct arena *arena,
                         enum err (*each)(void *context, struct span name, struct span value),
                         void *context)
{
    while (query.len) {
        const uint8_t *end = memchr(query.data, '&', query.len);
        size_t len = end ? (size_t)(end - query.data) : query.len;
        struct span pair = span_of(query.data, len), name, value;
        query = span_from(query, end ? len + 1 : len);
        if (!len)
            continue;
        const uint8_t *equals = memchr(pair.data, '=', len);
        size_t n = equals ? (size_t)(equals - pair.data) : len;
        enum err e = http_decode(span_of(pair.data, n), true, arena, &name);
        if (e == ERR_OK)
            e = http_decode(equals ? span_from(pair, n + 1) : SPAN_NONE, true, arena, &value);
        if (e == ERR_OK)
            e = each(context, name, value);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

struct wanted {
    struct span name, *out;
    bool found;
};

static enum err take_wanted(void *context, struct span name, struct span value)
{
    struct wanted *w = context;
    if (!w->found && span_equal(name, w->name)) {
        *w->out = value;
        w->found = true;
    }
    return ERR_OK;
}

enum err http_query(struct span query, const char *name, struct arena *arena, struct span *out,
                    bool *found)
{
    struct wanted w = { span_text(name), out, false };
    enum err e = http_query_each(query, arena, take_wanted, &w);
    *found = w.found;
    return e;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 201, "Created" },
        { 204, "No Content" },
        { 304, "Not Modified" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Status";
}
