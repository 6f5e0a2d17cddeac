/* flag: feature flags in flagd's form: JSON values, JSONLogic rules, bucketing, one flag.
 *
 * A flag is compiled once into an arena and then evaluated without allocation: what an evaluation
 * makes (lists, texts) goes into a scratch of fixed size, and it ends after FLAG_STEPS_MAX steps,
 * so a rule that would run away is an error and nothing else. Nothing here is replicated state, so
 * numbers are doubles.
 *
 * Sources: flagd's flag definitions and custom operations (flagd.dev/reference), JSONLogic with the
 * suites of json-logic/compat-tables, each bucketing as enum flag_bucketing says. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    FLAG_BYTES_MAX = 256 << 10, /* of one definition, and of one context */
    FLAG_VALUES_MAX = 1 << 16,  /* JSON values in either */
    FLAG_DEPTH_MAX = 64,        /* of JSON, and of operations inside one another */
    FLAG_STEPS_MAX = 100000,    /* of one rule */
    FLAG_ALL_STEPS_MAX = 1000000, /* of all rules of one answer: some 20 ms */
    FLAG_SCRATCH_BYTES = 64 << 10,
    FLAG_CHAIN_MAX = 8, /* prerequisites of prerequisites */
    FLAG_WHY_MAX = 240,
};

/* ---- JSON values ---- */

enum fval_type { FVAL_NULL, FVAL_FALSE, FVAL_TRUE, FVAL_NUMBER, FVAL_TEXT, FVAL_LIST, FVAL_OBJECT };

struct fval_member;
struct fval {
    uint8_t type;
    uint32_t n; /* bytes of a text, items, members */
    union {
        double number;
        const uint8_t *text;
        const struct fval *items;
        const struct fval_member *members;
    };
};
struct fval_member {
    struct span name, raw; /* raw: the value's JSON text, where it was read */
    struct fval value;
};

/* Spans point into text and arena. ERR_BODY_NOT_JSON: why (FLAG_WHY_MAX bytes) tells the place;
 * ERR_BODY_TOO_LARGE: more than the bounds above. The last of repeated names counts. */
enum err fval_read(struct span text, struct arena *arena, struct fval *out, char *why) MUST_CHECK;
void fval_write(const struct fval *v, struct buf *out);
const struct fval *fval_find(const struct fval *object, struct span name); /* NULL: none */
bool fval_same(const struct fval *a, const struct fval *b);                /* deep; for tests */

static inline struct span fval_span(const struct fval *v)
{
    return v->type == FVAL_TEXT ? span_of(v->text, v->n) : SPAN_NONE;
}

/* ---- bucketing: which hash stands behind a split; pinned in a flag by "bucketing" ---- */

enum flag_bucketing {
#define BUCKETING(NAME, name, text) BUCKET_##NAME,
#include "core/flag/bucketing.def"
#undef BUCKETING
    BUCKETING_COUNT
};

/* Where value falls in [0, total): below the first weight is the first bucket, and so on. seed: the
 * flag's key unless it is told; salt: LaunchDarkly's alone. */
double flag_bucket(enum flag_bucketing how, struct span seed, struct span salt, struct span value,
                   double total);
uint32_t flag_murmur3(struct span s, uint32_t seed);

/* ---- rules ---- */

struct rule;

/* named: the shared rules ($evaluators) that {"$ref": name} stands for; NULL: they are not
 * known, and each is taken for null.
 * ERR_FLAG_INVALID: why begins with a JSON Pointer to the place. */
enum err rule_compile(const struct fval *json, const struct fval *named, struct arena *arena,
                      const struct rule **out, char *why) MUST_CHECK;
/* False: the rule failed, and *out is its error: {"type": ...} or what it threw. For tests and
 * playgrounds; scratch has FLAG_SCRATCH_BYTES and must outlive *out. */
bool rule_run(const struct rule *rule, const struct fval *data, void *scratch, struct fval *out);

/* ---- flags ---- */

enum flag_reason {
    FLAG_STATIC,   /* no rule */
    FLAG_DEFAULT,  /* rules, but none matched; or nothing is given at all */
    FLAG_TARGETED, /* a rule chose */
    FLAG_SPLIT,    /* a percentage chose */
    FLAG_DISABLED,
    FLAG_FAILED
};
enum flag_error { FLAG_FINE, FLAG_PARSE, FLAG_GENERAL, FLAG_NO_TARGETING_KEY };

struct flag; /* compiled; lives in the arena it was given */

/* json: one flag's definition, which must live as long as the flag; name likewise. shared: the flag
 * set's $evaluators, or NULL. ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE, ERR_FLAG_INVALID: why tells
 * what and where. */
enum err flag_compile(struct span name, struct span json, const struct fval *shared,
                      struct arena *arena, const struct flag **out, char *why) MUST_CHECK;

struct flag_context {
    const struct fval *values; /* an object, or NULL */
    struct span environment;
    int64_t now_ms;
    /* Another flag of the same set, for prerequisites; NULL: there is none. */
    const struct flag *(*find)(void *user, struct span name);
    void *user;
    void *scratch;       /* FLAG_SCRATCH_BYTES */
    struct buf *explain; /* not NULL: lines of what was decided and why */
    int64_t *steps; /* left to all that share it, FLAG_ALL_STEPS_MAX at first; NULL: no bound */
};

struct flag_result {
    enum flag_reason reason;
    enum flag_error error;
    const char *detail; /* of an error */
    struct span variant;
    struct span value; /* JSON text; .len 0: the caller's own default holds */
    struct span metadata; /* JSON object; may be empty */
};
void flag_evaluate(const struct flag *flag, const struct flag_context *context,
                   struct flag_result *out);
const char *flag_reason_text(enum flag_reason r);
const char *flag_error_text(enum flag_error e); /* OpenFeature's error codes */
struct span flag_name(const struct flag *flag);
/* "2030-01-31T12:00:00Z" as milliseconds since 1970; false: it is not written so. */
bool flag_time_read(const struct fval *v, int64_t *out);
