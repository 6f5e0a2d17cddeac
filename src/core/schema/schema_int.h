/* schema_int: what the files of core/schema share. */
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "base/vec.h"
#include "core/schema/schema.h"

enum keyword {
#define KEYWORD(NAME, text, first, last, vocabulary, shape) KEYWORD_##NAME,
#include "core/schema/keyword.def"
#undef KEYWORD
    KEYWORD_COUNT
};

enum shape {
    SHAPE_REF,
    SHAPE_SCHEMA,
    SHAPE_SCHEMAS, /* at least one */
    SHAPE_SCHEMA_MAP,
    SHAPE_PATTERN_MAP,  /* schemas by pattern */
    SHAPE_ITEMS,        /* a schema or several */
    SHAPE_DEPENDENCIES, /* schemas or names, by name */
    SHAPE_NAMES_MAP,
    SHAPE_NAMES,
    SHAPE_TYPES,
    SHAPE_VALUES,
    SHAPE_VALUE,
    SHAPE_NUMBER,
    SHAPE_DIVISOR,
    SHAPE_COUNT,
    SHAPE_BOOL,
    SHAPE_PATTERN,
    SHAPE_FORMAT,
    SHAPE_ONES
};

enum vocabulary {
    VOCABULARY_CORE = 1,
    VOCABULARY_APPLICATOR = 2,
    VOCABULARY_UNEVALUATED = 4,
    VOCABULARY_VALIDATION = 8,
    VOCABULARY_FORMAT = 16,
    VOCABULARY_ASSERTION = 32, /* "format" asserts */
    VOCABULARY_USUAL = 31,
};

struct keyword_info {
    const char *text;
    uint8_t first, last; /* enum schema_draft */
    uint8_t vocabulary, shape;
};
extern const struct keyword_info keyword_infos[KEYWORD_COUNT];

struct anchor {
    struct span name;
    bool dynamic;
    struct node *node;
    struct anchor *next;
};

/* A schema with a URI of its own: the base of the references in it. */
struct resource {
    struct span uri; /* absolute, without a fragment; may be empty for the first */
    struct jdoc *root;
    enum schema_draft draft;
    unsigned vocabularies;
    bool recursive; /* $recursiveAnchor (2019-09) */
    struct anchor *anchors;
};

struct rule {
    enum keyword keyword;
    const struct jdoc *value;
    union {
        struct node *node;   /* REF, SCHEMA */
        struct node **nodes; /* of value's children; DEPENDENCIES: NULL for names */
        struct jdoc_decimal number;
        int64_t count;
        unsigned types;                   /* bits of enum jdoc_type, and TYPES_WHOLE */
        bool (*format)(struct span text); /* NULL: an annotation */
    };
    union {
        pcre2_code *pattern;
        pcre2_code **patterns; /* PATTERN_MAP, as nodes */
        struct span anchor;    /* DYNAMIC_REF: to be looked for in the scope; empty: it is static */
    };
};

enum { TYPES_WHOLE = 1 << 8 }; /* "integer" */

struct node {
    const struct jdoc *value; /* true, false, or an object */
    struct resource *resource;
    struct rule *rules; /* in order of keyword.def */
    uint32_t n;
    bool unevaluated; /* it has such a rule */
};

/* The caller's allocator, counted for one schema. */
struct schema_memory {
    struct alloc alloc;
    struct alloc *below;
};

struct address {
    struct span uri;
    struct resource *resource;
};

struct schema {
    struct schema_memory memory;
    struct arena arena;
    VEC(struct node *) nodes; /* jdoc.mark - 1 */
    VEC(struct address) resources;
    struct jdoc *root;
    bool patterns; /* it has some */
};

struct compiling {
    struct schema *schema;
    const struct schema_options *options;
    struct schema_report *report;
    pcre2_general_context *patterns;
    enum err err;
};

/* What is wrong at a place of the schema's text. */
__attribute__((format(printf, 3, 4))) void schema_wrong(struct compiling *c, const struct jdoc *at,
                                                        const char *format, ...);
/* The schema that a reference leads to; NULL: nowhere. *anchor: by that dynamic anchor, or
 * empty. */
struct node *schema_follow(struct compiling *c, const struct resource *from, struct span reference,
                           struct span *anchor);
/* KEYWORD_COUNT: it is none of this resource's draft and vocabularies. */
enum keyword schema_keyword(struct span name, const struct resource *r);
void schema_rules(struct compiling *c, struct node *node);
bool schema_too_large(struct compiling *c);

const struct rule *rule_of(const struct node *node, enum keyword keyword); /* or NULL */

/* ---- texts of the meta-schemas ---- */
bool meta_text(struct span uri, struct span *text);
/* Its draft, when it is one of the drafts' own. */
bool meta_draft(struct span uri, enum schema_draft *out);

/* ---- URIs (RFC 3986 5.2): the reference against the base, cut at its '#' ---- */
struct uri {
    struct span whole;    /* without the fragment */
    struct span fragment; /* decoded of percent signs */
};
struct uri uri_resolve(struct span base, struct span reference, struct arena *arena);

/* ---- patterns ---- */
struct pattern_memory {
    struct arena *arena;
    const size_t *used; /* bytes of what the arena stands in */
    size_t limit;
};
/* The context lives in the arena, as does what is compiled with it: nothing is given back. */
pcre2_general_context *pattern_context(struct pattern_memory *m);
/* NULL: *why says so; *too_large: it is not the pattern's fault. */
pcre2_code *pattern_compile(struct span pattern, pcre2_general_context *context,
                            struct alloc *scratch, const char **why, bool *too_large);
/* Takes from *steps; false and *stopped: none are left. */
bool pattern_match(const pcre2_code *code, struct span text, pcre2_match_data *data,
                   pcre2_match_context *context, uint64_t *steps, bool *stopped);

/* ---- formats ---- */
typedef bool format_check(struct span text);
format_check *format_of(struct span name); /* NULL: not known */
