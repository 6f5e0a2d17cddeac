/* flagset: the flags of each environment, compiled once and kept until a key that they were made of
 * changes.
 *
 * Keys: "confman/flag/<environment>/<name>" is one flag; "confman/flagset/<environment>" holds what
 * they share, {"$evaluators": {name: rule}}. A flag, or a shared rule, that an environment does not
 * have is that of the nearest environment it inherits from, and sees what is shared as the heir
 * has it. Whoever applies changes tells them here (flagsets_changed), so what is kept is always of
 * the store's newest revision: a change of one flag forgets that flag in all sets that look there,
 * a change of what is shared, or of what an environment inherits from, the whole sets. So an
 * evaluation never looks through environments.
 *
 * A set begins as the names of its flags; a flag is compiled when it is first asked for. Sets that
 * were not asked for lately go when there are more than FLAGSETS_MAX, or more bytes than allowed.
 * An evaluation of a flag that is compiled takes no memory.
 *
 * Not for more than one thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/flag/flag.h"
#include "core/kv/kv.h"

#define FLAGSET_FLAGS "confman/flag/"
#define FLAGSET_SHARED "confman/flagset/"
#define FLAGSET_ENVIRONMENTS "confman/env/" /* whose change may change what is inherited */

enum {
    FLAGSETS_MAX = 256,        /* environments kept at a time */
    FLAGSET_FLAGS_MAX = 10000, /* of one environment: those behind them are compiled anew for each
                                * question, and all of them at once are not told */
    FLAGSET_LEVELS_MAX = 8, /* environments that a set looks through */
    FLAGSET_DOCUMENT_MAX = 4 << 20, /* bytes; gRPC's clients take no longer message by default */
};

struct flagsets;
struct flagset;

/* Counted up there; all may be the same. */
struct flagset_counts {
    uint64_t *compiled;  /* flags */
    uint64_t *evaluated; /* flags, but prerequisites */
    uint64_t *evicted;   /* sets that made room for others */
};

/* An environment and those it inherits from, nearest first; how many. NULL: none inherits. */
typedef size_t flagset_chain(const struct kv *kv, struct span environment, struct arena *arena,
                             struct span out[FLAGSET_LEVELS_MAX]);

/* bytes_max: of the allocator, which should be nobody else's. */
struct flagsets *flagsets_open(struct alloc *alloc, size_t bytes_max, struct flagset_counts counts,
                               flagset_chain *chain);
void flagsets_close(struct flagsets *f);
void flagsets_changed(struct flagsets *f, const struct kv_change *changes, size_t n);
void flagsets_forget(struct flagsets *f); /* the store has become another one */
size_t flagsets_count(const struct flagsets *f);

/* Valid until the next call of a flagsets_ function. */
struct flagset *flagsets_get(struct flagsets *f, const struct kv *kv, struct span environment);

size_t flagset_levels(const struct flagset *s);
struct span flagset_level(const struct flagset *s, size_t i); /* 0: the environment itself */
/* The flag as it stands, nearest first; NULL: there is none. *level (may be NULL): where. */
const struct kv_version *flagset_find(struct flagset *s, struct span name, size_t *level);

/* {name: rule}: what all levels share, each rule from the nearest that has it. */
const struct fval *flagset_shared(const struct flagset *s);

size_t flagset_count(const struct flagset *s);
bool flagset_over(const struct flagset *s); /* there are more than FLAGSET_FLAGS_MAX */
struct span flagset_name(const struct flagset *s, size_t i); /* in order of name */
int64_t flagset_revision(const struct flagset *s, size_t i); /* when it was written */

/* What is asked: environment, find, user and scratch of *c are filled in here. The result is valid
 * as long as the set. A definition that no flag can be made of gives FLAG_FAILED, FLAG_PARSE. */
void flagset_evaluate(struct flagset *s, size_t i, struct flag_context *c, struct flag_result *out);
/* By name; false: there is none. */
bool flagset_evaluate_named(struct flagset *s, struct span name, struct flag_context *c,
                            struct flag_result *out);

/* All as one JSON document in flagd's own form, for clients that evaluate themselves:
 * {"flags": {...}, "$evaluators": {...}, "metadata": {"flagSetId", "version"}}. What flagd's form
 * cannot say of a flag is turned into what it can (schedules, shorthands, kill switches); a flag
 * for which that is not possible (prerequisites, splits by another system's hash) is left out, so
 * that clients fall back to their own default and not to a wrong value. Made once for each change;
 * valid as long as the set. ERR_ANSWER_TOO_LARGE: more flags, or more bytes, than are told. */
enum err flagset_document(struct flagset *s, struct span *out) MUST_CHECK;

/* Where the key of a flag has its environment and name; false: it is none of a flag, or the name is
 * not UTF-8 (such flags are passed over). */
bool flagset_key_split(struct span key, struct span *environment, struct span *name);
struct span flagset_key(struct arena *arena, struct span environment, struct span name);
struct span flagset_shared_key(struct arena *arena, struct span environment);
