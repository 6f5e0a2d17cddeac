/* Looking at a tree. */
#include "wire/jdoc/jdoc.h"
#include "base/check.h"

bool jdoc_is(const struct jdoc *v, enum jdoc_type type)
{
    return v && v->type == type;
}

static struct jdoc *find_member(const struct jdoc *object, struct span name)
{
    size_t low = 0, high = object->n;
    CHECK(object->type == JDOC_OBJECT);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        struct jdoc *item = &object->items[object->sorted[mid]];
        int c = span_compare(item->name, name);
        if (c == 0)
            return item;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct jdoc *jdoc_member(const struct jdoc *object, struct span name)
{
    return find_member(object, name);
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int jdoc_compare(const struct jdoc *a, const struct jdoc *b, uint64_t *steps, uint64_t limit)
{
    if (a->type != b->type)
        return order(a->type, b->type);
    if (++*steps > limit)
        return 0;
    switch ((enum jdoc_type)a->type) {
    case JDOC_NULL:
        return 0;
    case JDOC_BOOL:
        return order(a->truth, b->truth);
    case JDOC_NUMBER:
        *steps += a->text.len / 64;
        return jdoc_decimal_compare(jdoc_decimal(a->text), jdoc_decimal(b->text));
    case JDOC_STRING:
        *steps += a->text.len / 1024;
        return span_compare(a->text, b->text);
    case JDOC_ARRAY:
    case JDOC_OBJECT:
        break;
    }
    if (a->n != b->n)
        return order(a->n, b->n);
    bool object = a->type == JDOC_OBJECT;
    int c = 0;
    for (uint32_t i = 0; i < a->n && c == 0; i++) {
        const struct jdoc *x = &a->items[object ? a->sorted[i] : i];
        const struct jdoc *y = &b->items[object ? b->sorted[i] : i];
        c = object ? span_compare(x->name, y->name) : 0;
        if (c == 0)
            c = jdoc_compare(x, y, steps, limit);
    }
    return c;
}

/* ---- JSON Pointer ---- */

void jdoc_pointer_token(struct span token, struct buf *out)
{
    buf_u8(out, '/');
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] == '~')
            buf_text(out, "~0");
        else if (token.data[i] == '/')
            buf_text(out, "~1");
        else
            buf_u8(out, token.data[i]);
    }
}

void jdoc_pointer(const struct jdoc *v, struct buf *out)
{
    const struct jdoc *path[JDOC_DEPTH_MAX + 1];
    size_t n = 0;
    for (; v->parent; v = v->parent) {
        CHECK(n < JDOC_DEPTH_MAX + 1);
        path[n++] = v;
    }
    while (n-- > 0) {
        if (path[n]->parent->type == JDOC_OBJECT)
            jdoc_pointer_token(path[n]->name, out);
        else
            buf_format(out, "/%u", (unsigned)path[n]->place);
    }
}

static bool place_of(struct span token, uint32_t *out)
{
    uint64_t n = 0;
    if (!token.len || token.len > 9 || (token.len > 1 && token.data[0] == '0'))
        return false;
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] < '0' || token.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(token.data[i] - '0');
    }
    *out = (uint32_t)n;
    return true;
}

/* Cuts the first token off; false: a bad escape. */
static bool next_token(struct span *pointer, struct arena *arena, struct span *out)
{
    struct span p = span_from(*pointer, 1);
    const uint8_t *slash = p.len ? memchr(p.data, '/', p.len) : NULL;
    size_t len = slash ? (size_t)(slash - p.data) : p.len, n = 0;
    uint8_t *bytes = arena_alloc(arena, len);
    for (size_t i = 0; i < len; i++) {
        bytes[n] = p.data[i];
        if (p.data[i] == '~') {
            if (++i == len || (p.data[i] != '0' && p.data[i] != '1'))
                return false;
            bytes[n] = p.data[i] == '0' ? '~' : '/';
        }
        n++;
    }
    *out = span_of(bytes, n);
    *pointer = span_from(p, len);
    return true;
}

struct jdoc *jdoc_at(struct jdoc *v, struct span pointer, struct arena *arena)
{
    struct span token;
    uint32_t place;
    while (v && pointer.len) {
        if (pointer.data[0] != '/' || !next_token(&pointer, arena, &token))
            return NULL;
        if (v->type == JDOC_OBJECT)
            v = find_member(v, token);
        else if (v->type == JDOC_ARRAY && place_of(token, &place) && place < v->n)
            v = &v->items[place];
        else
            v = NULL;
    }
    return v;
}
