/* span: some bytes that somebody else owns. Compared as unsigned bytes, shorter first. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
};

#define SPAN(literal) ((struct span){ (const uint8_t *)(literal), sizeof(literal) - 1 })
#define SPAN_NONE ((struct span){ NULL, 0 })

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){ data, len };
}

static inline struct span span_text(const char *text)
{
    return (struct span){ (const uint8_t *)text, strlen(text) };
}

static inline int span_compare(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_text(text));
}

static inline bool span_starts(struct span a, struct span prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

static inline struct span span_from(struct span a, size_t start)
{
    return (struct span){ start ? a.data + start : a.data, a.len - start };
}
