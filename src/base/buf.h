/* buf: bytes being written, growing. Numbers are little-endian unless the name says otherwise. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/span.h"

struct buf {
    struct alloc *alloc;
    uint8_t *data;
    size_t len, cap;
};

void buf_open(struct buf *b, struct alloc *alloc);
void buf_close(struct buf *b);
void buf_reset(struct buf *b);               /* keeps the memory */
void buf_shrink(struct buf *b, size_t keep); /* resets, and gives memory beyond keep back */
void buf_grow(struct buf *b, size_t more);   /* room for at least more bytes at data + len */
void buf_consume(struct buf *b, size_t n);   /* drops the first n bytes */

static inline uint8_t *buf_room(struct buf *b, size_t more)
{
    if (b->cap - b->len < more || !b->data)
        buf_grow(b, more);
    return b->data + b->len;
}

static inline void buf_put(struct buf *b, const void *data, size_t len)
{
    if (len) {
        memcpy(buf_room(b, len), data, len);
        b->len += len;
    }
}

static inline void buf_span(struct buf *b, struct span s)
{
    buf_put(b, s.data, s.len);
}

static inline void buf_u8(struct buf *b, uint8_t v)
{
    *buf_room(b, 1) = v;
    b->len++;
}

void buf_text(struct buf *b, const char *text);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_varint(struct buf *b, uint64_t v); /* 7 bits a byte, low first, as protobuf does */
__attribute__((format(printf, 2, 3))) void buf_format(struct buf *b, const char *format, ...);
__attribute__((format(printf, 2, 0))) void buf_vformat(struct buf *b, const char *format,
                                                       va_list args);

static inline struct span buf_all(const struct buf *b)
{
    return span_of(b->data, b->len);
}

/* Reading the same numbers back: each takes from the front of *s; false when it is too short. */
bool span_u8(struct span *s, uint8_t *out);
bool span_u32(struct span *s, uint32_t *out);
bool span_u64(struct span *s, uint64_t *out);
bool span_varint(struct span *s, uint64_t *out);
bool span_take(struct span *s, size_t len, struct span *out);
