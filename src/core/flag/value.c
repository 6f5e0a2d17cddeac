/* JSON values: reading into an arena, looking up, writing. */
#include "core/flag/flag_int.h"
#include "wire/protobuf/protobuf.h"
#include <stdlib.h>

struct reader {
    const uint8_t *at, *end, *start;
    struct arena *arena;
    size_t values;
    int depth;
    const char *why;
};

static void skip(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static int hex4(const uint8_t *p)
{
    int out = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i], d = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (d < 0)
            return -1;
        out = out * 16 + d;
    }
    return out;
}

static size_t utf8_put(uint32_t c, uint8_t *out)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

/* At the backslash; one escape, a pair of surrogates taken together. */
static bool read_escape(struct reader *r, uint8_t *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->end - r->at < 2)
        return fail(r, "a text has no end");
    const char *found = r->at[1] ? strchr(from, r->at[1]) : NULL;
    if (found) {
        out[(*n)++] = (uint8_t)to[found - from];
        r->at += 2;
        return true;
    }
    int c = r->at[1] == 'u' && r->end - r->at >= 6 ? hex4(r->at + 2) : -1;
    if (c < 0 || (c & 0xfc00) == 0xdc00)
        return fail(r, "not an escape");
    r->at += 6;
    uint32_t full = (uint32_t)c;
    if ((c & 0xfc00) == 0xd800) {
        int low = r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r->at + 2) : -1;
        if ((low & 0xfc00) != 0xdc00 || low < 0)
            return fail(r, "half a pair of surrogates");
        full = 0x10000 + ((uint32_t)(c & 0x3ff) << 10) + (uint32_t)(low & 0x3ff);
        r->at += 6;
    }
    *n += utf8_put(full, out + *n);
    return true;
}

static bool read_text(struct reader *r, struct span *out)
{
    const uint8_t *start = ++r->at, *end = start;
    bool plain = true;
    while (end < r->end && *end != '"') {
        if (*end < 0x20)
            return fail(r, "a control character in a text");
        if (*end == '\\') {
            plain = false;
            end++;
        }
        end++;
    }
    if (end >= r->end)
        return fail(r, "a text has no end");
    if (plain) {
        *out = span_of(start, (size_t)(end - start));
        r->at = end + 1;
        return true;
    }
    uint8_t *p = arena_alloc(r->arena, (size_t)(end - start));
    size_t n = 0;
    while (r->at < end) {
        if (*r->at != '\\')
            p[n++] = *r->at++;
        else if (!read_escape(r, p, &n))
            return false;
    }
    *out = span_of(p, n);
    r->at = end + 1;
    return true;
}

static size_t digits(struct reader *r)
{
    const uint8_t *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return (size_t)(r->at - start);
}

static bool read_number(struct reader *r, double *out)
{
    const uint8_t *start = r->at;
    char text[64];
    r->at += *r->at == '-';
    bool zero = r->at < r->end && *r->at == '0';
    size_t whole = digits(r);
    if (!whole || (zero && whole > 1))
        return fail(r, "not a JSON value");
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!digits(r))
            return fail(r, "not a number");
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        r->at += r->at < r->end && (*r->at == '+' || *r->at == '-');
        if (!digits(r))
            return fail(r, "not a number");
    }
    size_t n = (size_t)(r->at - start);
    if (n >= sizeof(text))
        return fail(r, "a number is too long");
    memcpy(text, start, n);
    text[n] = 0;
    *out = strtod(text, NULL);
    return *out - *out == 0 ? true : fail(r, "a number is too large");
}

static bool read_value(struct reader *r, struct fval *out);

/* Members or items are collected in a list that doubles. */
static bool read_object(struct reader *r, struct fval *out)
{
    struct fval_member *list = NULL;
    uint32_t n = 0, cap = 0;
    r->at++;
    for (skip(r); r->at < r->end && *r->at != '}'; skip(r)) {
        if (n) {
            if (*r->at++ != ',')
                return fail(r, "a comma is missing");
            skip(r);
        }
        if (n == cap) {
            cap = cap ? 2 * cap : 4;
            struct fval_member *more = ARENA_ARRAY(r->arena, struct fval_member, cap);
            if (n)
                memcpy(more, list, n * sizeof(*list));
            list = more;
        }
        struct fval_member *m = &list[n++];
        if (r->at >= r->end || *r->at != '"')
            return fail(r, "a name is missing");
        if (!read_text(r, &m->name))
            return false;
        skip(r);
        if (r->at >= r->end || *r->at++ != ':')
            return fail(r, "a colon is missing");
        skip(r);
        const uint8_t *start = r->at;
        if (!read_value(r, &m->value))
            return false;
        m->raw = span_of(start, (size_t)(r->at - start));
    }
    if (r->at >= r->end)
        return fail(r, "an object has no end");
    r->at++;
    *out = (struct fval){ .type = FVAL_OBJECT, .n = n, .members = list };
    return true;
}

static bool read_list(struct reader *r, struct fval *out)
{
    struct fval *list = NULL;
    uint32_t n = 0, cap = 0;
    r->at++;
    for (skip(r); r->at < r->end && *r->at != ']'; skip(r)) {
        if (n && *r->at++ != ',')
            return fail(r, "a comma is missing");
        if (n == cap) {
            cap = cap ? 2 * cap : 4;
            struct fval *more = ARENA_ARRAY(r->arena, struct fval, cap);
            if (n)
                memcpy(more, list, n * sizeof(*list));
            list = more;
        }
        if (!read_value(r, &list[n++]))
            return false;
    }
    if (r->at >= r->end)
        return fail(r, "a list has no end");
    r->at++;
    *out = (struct fval){ .type = FVAL_LIST, .n = n, .items = list };
    return true;
}

static bool read_word(struct reader *r, struct fval *out)
{
    static const struct {
        const char *word;
        uint8_t type;
    } words[] = { { "null", FVAL_NULL }, { "true", FVAL_TRUE }, { "false", FVAL_FALSE } };
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(r->end - r->at) >= n && memcmp(r->at, words[i].word, n) == 0) {
            r->at += n;
            *out = (struct fval){ .type = words[i].type };
            return true;
        }
    }
    *out = (struct fval){ .type = FVAL_NUMBER };
    return read_number(r, &out->number);
}

static bool read_value(struct reader *r, struct fval *out)
{
    struct span text;
    bool ok;
    skip(r);
    if (r->at >= r->end)
        return fail(r, "a value is missing");
    if (++r->values > FLAG_VALUES_MAX)
        return fail(r, "too many values");
    if (++r->depth > FLAG_DEPTH_MAX)
        return fail(r, "nested too deep");
    if (*r->at == '{') {
        ok = read_object(r, out);
    } else if (*r->at == '[') {
        ok = read_list(r, out);
    } else if (*r->at == '"') {
        ok = read_text(r, &text);
        if (ok)
            *out = (struct fval){ .type = FVAL_TEXT, .n = (uint32_t)text.len, .text = text.data };
    } else {
        ok = read_word(r, out);
    }
    r->depth--;
    return ok;
}

enum err fval_read(struct span text, struct arena *arena, struct fval *out, char *why)
{
    if (text.len > FLAG_BYTES_MAX)
        return ERR_BODY_TOO_LARGE;
    if (!text.len) {
        why_put(why, "there is nothing", 0);
        return ERR_BODY_NOT_JSON;
    }
    if (!pb_utf8(text)) {
        why_put(why, "it is not UTF-8", -1);
        return ERR_BODY_NOT_JSON;
    }
    struct reader r = { text.data, text.data + text.len, text.data, arena, 0, 0, NULL };
    bool ok = read_value(&r, out);
    if (ok) {
        skip(&r);
        ok = r.at == r.end || fail(&r, "something stands behind the value");
    }
    if (ok)
        return ERR_OK;
    why_put(why, r.why, (int64_t)(r.at - r.start));
    return ERR_BODY_NOT_JSON;
}

const struct fval *fval_find(const struct fval *object, struct span name)
{
    if (!object || object->type != FVAL_OBJECT)
        return NULL;
    for (uint32_t i = object->n; i-- > 0;)
        if (span_equal(object->members[i].name, name))
            return &object->members[i].value;
    return NULL;
}

bool fval_same(const struct fval *a, const struct fval *b)
{
    if (a->type != b->type || (a->type == FVAL_NUMBER ? a->number != b->number : a->n != b->n))
        return false;
    if (a->type == FVAL_TEXT)
        return span_equal(fval_span(a), fval_span(b));
    for (uint32_t i = 0; a->type == FVAL_LIST && i < a->n; i++)
        if (!fval_same(&a->items[i], &b->items[i]))
            return false;
    for (uint32_t i = 0; a->type == FVAL_OBJECT && i < a->n; i++) {
        const struct fval *other = fval_find(b, a->members[i].name);
        if (!other || !fval_same(&a->members[i].value, other))
            return false;
    }
    return true;
}

static void write_text(struct span s, struct buf *out)
{
    buf_u8(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"' || s.data[i] == '\\')
            buf_u8(out, '\\');
        if (s.data[i] < 0x20)
            buf_format(out, "\\u%04x", s.data[i]);
        else
            buf_u8(out, s.data[i]);
    }
    buf_u8(out, '"');
}

void fval_write(const struct fval *v, struct buf *out)
{
    static const char *const words[] = { "null", "false", "true" };
    char text[NUMBER_TEXT_MAX];
    if (v->type <= FVAL_TRUE) {
        buf_text(out, words[v->type]);
    } else if (v->type == FVAL_NUMBER) {
        buf_put(out, text, number_text(v->number, text));
    } else if (v->type == FVAL_TEXT) {
        write_text(fval_span(v), out);
    } else {
        bool list = v->type == FVAL_LIST;
        buf_u8(out, list ? '[' : '{');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i)
                buf_u8(out, ',');
            if (!list) {
                write_text(v->members[i].name, out);
                buf_u8(out, ':');
            }
            fval_write(list ? &v->items[i] : &v->members[i].value, out);
        }
        buf_u8(out, list ? ']' : '}');
    }
}
