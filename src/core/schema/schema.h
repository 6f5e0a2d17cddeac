/* schema: JSON Schema, compiled once and asked often: drafts 2020-12 (when there is no $schema),
 * 2019-09, 07, 06 and 04.
 *
 * Sources: draft-bhutton-json-schema-01 and -validation-01, and the drafts before them. Numbers are
 * compared as they were written, never as doubles. "format" is an annotation unless the options,
 * or the vocabulary "format-assertion", say that it asserts. Patterns are those of ECMA-262, run
 * by pcre2. No schema is fetched from anywhere: a $ref leads into the schema itself, to a
 * meta-schema of the drafts, or to what the options hand out. Both halves are bounded: what a
 * schema may hold in memory, and what one validation may take in steps. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/jdoc/jdoc.h"

enum {
    SCHEMA_BYTES_MAX = 256 << 10, /* of a schema's text */
    SCHEMA_MEMORY_MAX = 8 << 20,  /* of one compiled */
    SCHEMA_STEPS_MAX = 1000000,   /* of one report: rules applied, values compared, ... */
    SCHEMA_DEPTH_MAX = 1000,      /* of schemas applied within one another */
    SCHEMA_ERRORS_MAX = 50,       /* told of one document */
    SCHEMA_PATTERN_BYTES_MAX = 4096,
};

enum schema_draft { DRAFT_04, DRAFT_06, DRAFT_07, DRAFT_2019_09, DRAFT_2020_12 };

/* What is wrong, and where: JSON Pointers to the value, and to the rule in the schema (with the
 * schema's URI and '#' before it when it is another one). Of a schema's own faults the first alone
 * says where. */
struct schema_error {
    struct span pointer, schema_pointer, message;
};

struct schema_report {
    struct arena *arena; /* the caller's: where the texts live */
    struct schema_error items[SCHEMA_ERRORS_MAX];
    size_t n;
    bool more; /* there were others */
    uint64_t steps; /* taken so far: all that is asked with one report has one budget */
};

struct schema_options {
    enum schema_draft draft; /* of what has no $schema */
    bool formats;            /* "format" asserts */
    /* Further schemas by absolute URI, without a fragment; may be NULL. */
    bool (*remote)(void *context, struct span uri, struct span *text);
    void *context;
};

extern const struct schema_options schema_usual; /* 2020-12, nothing else */

struct schema;

/* Reads, checks and compiles; what is wrong with it is in the report. ERR_BODY_NOT_JSON (one
 * error in the report says where), ERR_BODY_TOO_LARGE: the text, or what comes of it in memory;
 * ERR_SCHEMA_INVALID: a keyword has not the value that it takes, a reference leads nowhere, a
 * pattern is none, or $schema is not known. The text is copied. */
enum err schema_compile(struct span text, const struct schema_options *options, struct alloc *alloc,
                        struct schema **out, struct schema_report *report) MUST_CHECK;
void schema_free(struct schema *s);          /* NULL is fine */
size_t schema_bytes(const struct schema *s); /* of memory */

/* ERR_SCHEMA_VIOLATED: report has what is wrong, up to its room. ERR_SCHEMA_STEPS: it took too many
 * steps, or too much depth, to tell; the value is as good as wrong. The report's arena gives the
 * memory that it takes. */
enum err schema_validate(const struct schema *s, const struct jdoc *value,
                         struct schema_report *report) MUST_CHECK;

/* Whether the pattern (ECMA-262, with the flag u) can be compiled: why (a constant) else. */
bool schema_pattern_check(struct span pattern, struct alloc *alloc, const char **why);
