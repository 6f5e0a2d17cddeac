/* jdoc: a JSON text as a tree in an arena, with every number's text kept.
 *
 * For those who compare or compute exactly, where a double or 64 bits would lose something, and
 * who must not touch jansson's allocator. Strict (RFC 8259): valid UTF-8, no repeated names, no
 * lone surrogates, bounded size, values and depth. A tree lives as long as its arena; strings
 * without escapes and numbers point into the text, which must live as long. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    JDOC_BYTES_MAX = 8 << 20,
    JDOC_VALUES_MAX = 1 << 18,
    JDOC_DEPTH_MAX = 512,           /* of arrays and objects in one another */
    JDOC_EXPONENT_MAX = 1000000000, /* of a number, and below zero */
};

enum jdoc_type { JDOC_NULL, JDOC_BOOL, JDOC_NUMBER, JDOC_STRING, JDOC_ARRAY, JDOC_OBJECT };

struct jdoc {
    uint8_t type;        /* enum jdoc_type */
    bool truth;          /* BOOL */
    uint32_t mark;       /* 0; whoever reads the tree may keep a number here */
    uint32_t n;          /* ARRAY, OBJECT: children */
    uint32_t place;      /* among the parent's children */
    struct jdoc *parent; /* NULL: the root */
    struct span name;    /* in an object */
    union {
        struct span text; /* STRING: decoded; NUMBER: as it was written */
        struct {
            struct jdoc *items;     /* as they stood */
            const uint32_t *sorted; /* OBJECT: places of items in order of their names */
        };
    };
};

struct jdoc_fault {
    const char *why; /* a constant */
    size_t place;    /* bytes into the text */
};

/* ERR_BODY_NOT_JSON: fault says why and where. ERR_BODY_TOO_LARGE: too many bytes or values. */
enum err jdoc_read(struct span text, struct arena *arena, struct jdoc **out,
                   struct jdoc_fault *fault) MUST_CHECK;

const struct jdoc *jdoc_member(const struct jdoc *object, struct span name); /* or NULL */
bool jdoc_is(const struct jdoc *v, enum jdoc_type type);

/* A total order in which equal means the same value: numbers by value, objects by members. Adds
 * to *steps what was looked at; beyond limit it stops and answers anything. */
int jdoc_compare(const struct jdoc *a, const struct jdoc *b, uint64_t *steps, uint64_t limit);

/* The JSON Pointer (RFC 6901) of v from its root, appended. */
void jdoc_pointer(const struct jdoc *v, struct buf *out);
/* One token, escaped. */
void jdoc_pointer_token(struct span token, struct buf *out);
/* What the pointer (unescaped of percent signs already) leads to from v, or NULL. */
struct jdoc *jdoc_at(struct jdoc *v, struct span pointer, struct arena *arena);

/* As text, without blanks; depth is that of the tree, so JDOC_DEPTH_MAX. */
void jdoc_write(const struct jdoc *v, struct buf *out);
void jdoc_write_text(struct span s, struct buf *out); /* a string, quoted */

/* ---- numbers: 0.d1d2d3... * 10^exponent, exactly ---- */

struct jdoc_decimal {
    bool negative;      /* never for zero */
    struct span digits; /* from the first that is not 0 to the last; may hold a '.'; zero: empty */
    uint32_t count;     /* of digits without the '.' */
    int64_t exponent;
};

struct jdoc_decimal jdoc_decimal(struct span number);
int jdoc_decimal_compare(struct jdoc_decimal a, struct jdoc_decimal b);
bool jdoc_decimal_whole(struct jdoc_decimal d);
/* As a whole number from 0 on, at most INT64_MAX; false: it is none. */
bool jdoc_decimal_count(struct jdoc_decimal d, int64_t *out);

enum { JDOC_DIVISOR_DIGITS = 18 };
/* Whether value is a whole multiple of by, which is above 0 and has up to so many digits. */
bool jdoc_decimal_multiple(struct jdoc_decimal value, struct jdoc_decimal by);
