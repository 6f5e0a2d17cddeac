#include "base/buf.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/check.h"

void buf_open(struct buf *b, struct alloc *alloc)
{
    *b = (struct buf){ .alloc = alloc };
}

void buf_close(struct buf *b)
{
    mem_free(b->alloc, b->data, b->cap);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
}

void buf_shrink(struct buf *b, size_t keep)
{
    if (b->cap > keep)
        buf_close(b);
    b->len = 0;
}

void buf_grow(struct buf *b, size_t more)
{
    CHECK(more <= SIZE_MAX / 4 && b->len <= SIZE_MAX / 4);
    size_t want = b->len + more;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < want)
        cap *= 2;
    if (cap != b->cap)
        b->data = mem_resize(b->alloc, b->data, b->cap, cap);
    b->cap = cap;
}

void buf_consume(struct buf *b, size_t n)
{
    CHECK(n <= b->len);
    b->len -= n;
    if (b->len && n)
        memmove(b->data, b->data + n, b->len);
}

void buf_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_u32(struct buf *b, uint32_t v)
{
    uint8_t *p = buf_room(b, 4);
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    b->len += 4;
}

void buf_u64(struct buf *b, uint64_t v)
{
    uint8_t *p = buf_room(b, 8);
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    b->len += 8;
}

void buf_varint(struct buf *b, uint64_t v)
{
    uint8_t *p = buf_room(b, 10);
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    b->len += n;
}

void buf_vformat(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    CHECK(n >= 0);
    buf_room(b, (size_t)n + 1);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
    b->len += (size_t)n;
    va_end(again);
}

void buf_format(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vformat(b, format, args);
    va_end(args);
}

bool span_take(struct span *s, size_t len, struct span *out)
{
    if (s->len < len)
        return false;
    *out = span_of(s->data, len);
    *s = span_from(*s, len);
    return true;
}

bool span_u8(struct span *s, uint8_t *out)
{
    struct span t;
    if (!span_take(s, 1, &t))
        return false;
    *out = t.data[0];
    return true;
}

bool span_u32(struct span *s, uint32_t *out)
{
    struct span t;
    if (!span_take(s, 4, &t))
        return false;
    *out = 0;
    for (int i = 0; i < 4; i++)
        *out |= (uint32_t)t.data[i] << (8 * i);
    return true;
}

bool span_u64(struct span *s, uint64_t *out)
{
    struct span t;
    if (!span_take(s, 8, &t))
        return false;
    *out = 0;
    for (int i = 0; i < 8; i++)
        *out |= (uint64_t)t.data[i] << (8 * i);
    return true;
}

/* Ten bytes at most, and the tenth may carry one bit only: 64 bits in all. */
bool span_varint(struct span *s, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s->len && i < 10; i++) {
        uint8_t c = s->data[i];
        if (i == 9 && c > 1)
            return false;
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *out = v;
            *s = span_from(*s, i + 1);
            return true;
        }
    }
    return false;
}
