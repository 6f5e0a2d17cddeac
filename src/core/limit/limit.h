/* limit: what prefixes of keys and users may use.
 *
 * A limit of a prefix bounds the live keys that begin with it and the bytes of those keys and
 * values (replicated: counted as commands are applied, so every node refuses the same ones), and
 * the requests a second that touch it; a limit of a user bounds that user's requests. Requests are
 * counted by each node for itself, of what comes in there: the buckets reach no replicated state.
 *
 * Limits of prefixes may stand inside one another: a key counts for each of them. All that hold a
 * key are found in O(log n) and one step for each. What shrinks a count is never refused, also
 * where a limit was set below what is there.
 *
 * Invariant: the counts of a prefix are those of the store's newest live versions.
 *
 * Pure: time comes in as an argument. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    LIMITS_MAX = 4096,
    LIMIT_DEPTH_MAX = 16, /* prefixes inside one another */
    LIMIT_NAME_MAX = 1024,
};
#define LIMIT_VALUE_MAX (INT64_C(1) << 50)
#define LIMIT_RATE_MAX INT64_C(1000000000) /* requests a second, and a bucket's size */

enum limit_kind { LIMIT_PREFIX = 1, LIMIT_USER = 2 }; /* in the log and on disk: for ever */

/* 0: no bound of that sort. */
struct limit_rule {
    uint8_t kind;     /* enum limit_kind */
    struct span name; /* the prefix, "" for all keys; or the user, "" for who is not known */
    int64_t keys_max, bytes_max; /* prefixes alone */
    int64_t rate;                /* requests a second */
    int64_t burst;               /* that may come at once; 0: as many as rate */
};

struct limit {
    struct limit_rule rule;
    int64_t keys, bytes; /* of a prefix, now */
};

struct limit_table *limit_open(struct alloc *alloc);
void limit_close(struct limit_table *t);

/* ERR_BAD_REQUEST: a rule that makes no sense. Needs no state. */
enum err limit_check(const struct limit_rule *r) MUST_CHECK;

/* Sets a new one, or takes the place of the one of the same kind and name. *fresh: it was not
 * there; if it is a prefix, what the store has must then be counted (limit_counted).
 * ERR_LIMITS_TOO_MANY: LIMITS_MAX, or LIMIT_DEPTH_MAX. */
enum err limit_set(struct limit_table *t, const struct limit_rule *r, bool *fresh) MUST_CHECK;
/* ERR_LIMIT_NOT_FOUND. */
enum err limit_delete(struct limit_table *t, uint8_t kind, struct span name) MUST_CHECK;
/* To the counts of this prefix alone. */
void limit_counted(struct limit_table *t, struct span prefix, int64_t keys, int64_t bytes);

size_t limit_count(const struct limit_table *t);    /* limits, of both kinds */
size_t limit_prefixes(const struct limit_table *t); /* 0: nothing needs to be told of changes */
bool limit_rates(const struct limit_table *t);      /* any that bounds requests */
/* Prefixes, then users, each in order of their bytes. i below limit_count. */
const struct limit *limit_at(const struct limit_table *t, size_t i);

/* ---- keys and bytes ---- */

/* A key's place in the store has changed. */
void limit_change(struct limit_table *t, struct span key, int64_t keys, int64_t bytes);

/* What one command is about to change: any number of limit_plan, then one limit_admit, which
 * forgets them. ERR_QUOTA_EXCEEDED. */
void limit_plan(struct limit_table *t, struct span key, int64_t keys, int64_t bytes);
enum err limit_admit(struct limit_table *t) MUST_CHECK;

/* ---- requests ---- */

/* One request of this user that begins at these keys. 0: it may go, and is counted once for each
 * limit that it touches; else it is not counted, and may after that many milliseconds. now_ms is
 * monotonic. */
int64_t limit_take(struct limit_table *t, struct span user, const struct span *keys, size_t n,
                   int64_t now_ms);

/* ---- checkpoint: rules alone; counts are taken anew from what is loaded ---- */

void limit_save(const struct limit_table *t, struct buf *out);
/* Into an empty table, all of *s. ERR_CORRUPT. */
enum err limit_load(struct limit_table *t, struct span *s) MUST_CHECK;
