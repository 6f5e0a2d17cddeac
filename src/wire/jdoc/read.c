/* From text to tree. */
#include "base/check.h"
#include "base/vec.h"
#include "wire/jdoc/jdoc.h"
#include "wire/protobuf/protobuf.h"

struct reading {
    struct span text;
    size_t at;
    struct arena *arena;
    struct jdoc_fault *fault;
    VEC(struct jdoc) open; /* children of what is not closed yet, innermost last */
    size_t values;
    bool too_many;
};

static bool bad(struct reading *r, const char *why)
{
    r->fault->why = why;
    r->fault->place = r->at;
    return false;
}

static int peek(const struct reading *r)
{
    return r->at < r->text.len ? r->text.data[r->at] : -1;
}

static void skip_space(struct reading *r)
{
    for (int c = peek(r); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(r))
        r->at++;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* ---- strings ---- */

static bool read_hex(struct reading *r, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        int c = peek(r), low = c | 0x20;
        if (is_digit(c))
            *out = *out * 16 + (uint32_t)(c - '0');
        else if (c > 0 && low >= 'a' && low <= 'f')
            *out = *out * 16 + (uint32_t)(low - 'a') + 10;
        else
            return bad(r, "\\u wants four hexadecimal digits");
    }
    return true;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (uint8_t)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (uint8_t)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (uint8_t)(0xe0 | c >> 12);
        } else {
            *out++ = (uint8_t)(0xf0 | c >> 18);
            *out++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (uint8_t)(0x80 | (c & 0x3f));
    return out;
}

static bool read_unicode(struct reading *r, uint8_t **out)
{
    uint32_t c, low;
    if (!read_hex(r, &c))
        return false;
    if (c >= 0xdc00 && c < 0xe000)
        return bad(r, "a low surrogate stands alone");
    if (c >= 0xd800 && c < 0xdc00) {
        if (peek(r) != '\\' || r->at + 1 >= r->text.len || r->text.data[r->at + 1] != 'u')
            return bad(r, "a high surrogate stands alone");
        r->at += 2;
        if (!read_hex(r, &low))
            return false;
        if (low < 0xdc00 || low >= 0xe000)
            return bad(r, "a high surrogate stands alone");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = put_utf8(*out, c);
    return true;
}

static bool read_escape(struct reading *r, uint8_t **out)
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    const char *found = c > 0 ? strchr(names, c) : NULL;
    if (c == 'u') {
        r->at++;
        return read_unicode(r, out);
    }
    if (!found)
        return bad(r, "there is no such escape");
    *(*out)++ = (uint8_t)bytes[found - names];
    r->at++;
    return true;
}

static bool read_string(struct reading *r, struct span *out)
{
    size_t start = ++r->at, end = start;
    bool escapes = false;
    for (; end < r->text.len && r->text.data[end] != '"'; end++) {
        if (r->text.data[end] < 0x20) {
            r->at = end;
            return bad(r, "a control character in a string");
        }
        if (r->text.data[end] == '\\') {
            escapes = true;
            end++;
        }
    }
    if (end >= r->text.len)
        return bad(r, "a string does not end");
    if (!escapes) {
        *out = span_of(r->text.data + start, end - start);
        r->at = end + 1;
        return true;
    }
    uint8_t *bytes = arena_alloc(r->arena, end - start), *to = bytes;
    while (r->at < end) {
        uint8_t c = r->text.data[r->at++];
        if (c != '\\')
            *to++ = c;
        else if (!read_escape(r, &to))
            return false;
    }
    *out = span_of(bytes, (size_t)(to - bytes));
    r->at = end + 1;
    return true;
}

/* ---- numbers ---- */

static void skip_digits(struct reading *r)
{
    while (is_digit(peek(r)))
        r->at++;
}

static bool read_exponent(struct reading *r)
{
    int64_t e = 0;
    r->at++;
    if (peek(r) == '+' || peek(r) == '-')
        r->at++;
    if (!is_digit(peek(r)))
        return bad(r, "an exponent without digits");
    for (; is_digit(peek(r)); r->at++) {
        e = e * 10 + (peek(r) - '0');
        if (e > JDOC_EXPONENT_MAX)
            return bad(r, "an exponent beyond a thousand million");
    }
    return true;
}

static bool read_number(struct reading *r, struct jdoc *out)
{
    size_t start = r->at;
    if (peek(r) == '-')
        r->at++;
    if (!is_digit(peek(r)))
        return bad(r, "a value was expected");
    if (peek(r) == '0') {
        r->at++;
        if (is_digit(peek(r)))
            return bad(r, "a number may not begin with 0");
    }
    skip_digits(r);
    if (peek(r) == '.') {
        r->at++;
        if (!is_digit(peek(r)))
            return bad(r, "a digit was expected behind the point");
        skip_digits(r);
    }
    if ((peek(r) | 0x20) == 'e' && !read_exponent(r))
        return false;
    out->type = JDOC_NUMBER;
    out->text = span_of(r->text.data + start, r->at - start);
    return true;
}

/* ---- arrays and objects ---- */

/* Merge sort from the bottom up. False: a name comes twice. */
static bool sort_names(struct reading *r, struct jdoc *object)
{
    size_t n = object->n;
    uint32_t *from = ARENA_ARRAY(r->arena, uint32_t, n), *to = NULL;
    const struct jdoc *items = object->items;
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        from[i] = (uint32_t)i;
        sorted = sorted && (i == 0 || span_compare(items[i - 1].name, items[i].name) < 0);
    }
    object->sorted = from;
    if (sorted)
        return true;
    to = ARENA_ARRAY(r->arena, uint32_t, n);
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t mid = low + width < n ? low + width : n;
            size_t high = mid + width < n ? mid + width : n;
            size_t a = low, b = mid;
            for (size_t k = low; k < high; k++) {
                bool left = a < mid && (b >= high || span_compare(items[from[a]].name,
                                                                  items[from[b]].name) <= 0);
                to[k] = left ? from[a++] : from[b++];
            }
        }
        uint32_t *other = from;
        from = to;
        to = other;
    }
    object->sorted = from;
    for (size_t i = 1; i < n; i++)
        if (span_equal(items[from[i - 1]].name, items[from[i]].name))
            return false;
    return true;
}

static void adopt(struct jdoc *parent)
{
    for (uint32_t i = 0; i < parent->n; i++)
        parent->items[i].parent = parent;
}

/* The open children from base on are out's; they move to where they stay. */
static bool close_container(struct reading *r, size_t base, struct jdoc *out)
{
    size_t n = r->open.n - base;
    out->n = (uint32_t)n;
    out->items = ARENA_ARRAY(r->arena, struct jdoc, n);
    if (n)
        memcpy(out->items, r->open.items + base, n * sizeof(struct jdoc));
    r->open.n = base;
    for (size_t i = 0; i < n; i++) {
        struct jdoc *child = &out->items[i];
        child->place = (uint32_t)i;
        if (child->type >= JDOC_ARRAY)
            adopt(child);
    }
    if (out->type == JDOC_OBJECT && !sort_names(r, out))
        return bad(r, "an object has the same name twice");
    return true;
}

static bool read_value(struct reading *r, unsigned depth, struct jdoc *out);

static bool read_name(struct reading *r, struct span *name)
{
    if (peek(r) != '"')
        return bad(r, "a name in quotes was expected");
    if (!read_string(r, name))
        return false;
    skip_space(r);
    if (peek(r) != ':')
        return bad(r, "a colon was expected");
    r->at++;
    skip_space(r);
    return true;
}

static bool read_container(struct reading *r, unsigned depth, struct jdoc *out)
{
    bool object = peek(r) == '{';
    int end = object ? '}' : ']';
    size_t base = r->open.n;
    out->type = object ? JDOC_OBJECT : JDOC_ARRAY;
    if (depth >= JDOC_DEPTH_MAX)
        return bad(r, "arrays and objects stand too deep in one another");
    r->at++;
    skip_space(r);
    if (peek(r) == end) {
        r->at++;
        return close_container(r, base, out);
    }
    for (;;) {
        struct jdoc child = { 0 };
        if ((object && !read_name(r, &child.name)) || !read_value(r, depth + 1, &child))
            return false;
        VEC_PUSH(&r->open, r->arena->alloc, child);
        skip_space(r);
        int c = peek(r);
        if (c != ',' && c != end)
            return bad(r, object ? "a comma or } was expected" : "a comma or ] was expected");
        r->at++;
        if (c == end)
            return close_container(r, base, out);
        skip_space(r);
    }
}

static bool read_word(struct reading *r, const char *word)
{
    struct span w = span_text(word);
    if (!span_starts(span_from(r->text, r->at), w))
        return bad(r, "a value was expected");
    r->at += w.len;
    return true;
}

static bool read_value(struct reading *r, unsigned depth, struct jdoc *out)
{
    int c = peek(r);
    if (++r->values > JDOC_VALUES_MAX) {
        r->too_many = true;
        return false;
    }
    if (c == '{' || c == '[')
        return read_container(r, depth, out);
    if (c == '"') {
        out->type = JDOC_STRING;
        return read_string(r, &out->text);
    }
    if (c == 'n')
        return read_word(r, "null");
    if (c == 't' || c == 'f') {
        out->type = JDOC_BOOL;
        out->truth = c == 't';
        return read_word(r, out->truth ? "true" : "false");
    }
    return read_number(r, out);
}

enum err jdoc_read(struct span text, struct arena *arena, struct jdoc **out,
                   struct jdoc_fault *fault)
{
    struct reading r = { .text = text, .arena = arena, .fault = fault };
    struct jdoc *root = ARENA_NEW(arena, struct jdoc);
    *fault = (struct jdoc_fault){ .why = "" };
    if (text.len > JDOC_BYTES_MAX)
        return ERR_BODY_TOO_LARGE;
    if (!pb_utf8(text)) {
        fault->why = "it is not UTF-8";
        return ERR_BODY_NOT_JSON;
    }
    skip_space(&r);
    bool ok = read_value(&r, 0, root);
    VEC_CLOSE(&r.open, arena->alloc);
    if (ok) {
        if (root->type >= JDOC_ARRAY)
            adopt(root);
        skip_space(&r);
        ok = r.at == text.len || bad(&r, "something stands behind the value");
    }
    *out = root;
    return ok ? ERR_OK : r.too_many ? ERR_BODY_TOO_LARGE : ERR_BODY_NOT_JSON;
}
