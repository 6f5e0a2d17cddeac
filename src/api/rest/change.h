/* change: several keys that one transaction changes: what is asked of each, what it would come to,
 * how it is written and answered. What the routes that write more than one key share.
 *
 * First the keys are read (struct rest_call's request), so that the state is new enough and who
 * asks may read them; then rest_change makes of that state either an answer or a transaction, in
 * which each key is guarded by the version that was seen. When that finds another version it is
 * made anew (node/changing.c).
 *
 * Why something was changed stands beside it: the reason of "confman/X" is the key
 * "confman/log/X", written in the same transaction. It counts for the version of the same revision
 * alone. Who may write a key may say why (core/machine/permit.c). */
#pragma once
#include "api/rest/rest_int.h"
#include "wire/jdoc/jdoc.h"

enum {
    /* Of one transaction: KV_OPS_MAX less what guards it. With a reason each takes two places. */
    CHANGES_MAX = KV_OPS_MAX - 8,
    CHANGE_LOG_MAX = 1000,     /* bytes of a reason */
    CHANGE_FAULTS_MAX = 20,    /* told in one answer */
    CHANGE_OPS_TOLD_MAX = 1000,        /* operations of all diffs in one answer */
    CHANGE_ANSWER_BYTES_MAX = 4 << 20, /* beyond it, values and diffs are left out of an answer */
    CHANGE_KEYS_LOOK_MAX = 10000, /* keys below a prefix, at either revision */
};

struct change {
    struct span key;     /* in the store */
    struct span pointer; /* JSON Pointer to it in the request; "": it has none */
    struct span value;
    uint8_t type; /* enum kv_type */
    bool deletes;
    bool must_exist, has_version; /* what it is asked for: if_version */
    int64_t version;
    bool there;                      /* something is, or was before it was written */
    const struct kv_version *before; /* that; valid until the plan's turn ends */
};

/* One thing that is wrong with a request, or that is not as it asked. */
struct change_fault {
    enum err err;
    struct span pointer;
    const char *detail;
    int64_t version; /* that the key has; < 0: not told */
};

enum { CHANGE_EXTRA_MAX = 4, CHANGE_SCOPES_MAX = 4 };

/* Of a call; lives in its arena. */
struct change_call {
    struct change *items; /* by key once they are settled */
    size_t n, cap;
    size_t unchanged; /* asked for, but so already */
    struct span log;  /* why; "": not said */
    bool dry_run;
    bool partial;  /* more than a transaction takes: the first of them will do */
    size_t left;   /* partial: still to be done */
    struct change_fault faults[CHANGE_FAULTS_MAX];
    size_t n_faults;
    /* rollback, import: what of the store it is about: the keys, or all below the prefixes */
    struct span scopes[CHANGE_SCOPES_MAX];
    size_t n_scopes;
    struct span *keys;
    size_t n_keys;
    int64_t revision; /* rollback: where to */
    const struct jdoc *list;     /* txn, drafts: the changes as they are asked for */
    const char *list_at;         /* JSON Pointer to it */
    struct span environment;     /* of those that name none */
    struct import *import;       /* of imports, else NULL */
    struct draft_call *draft;    /* of drafts, else NULL */
    struct kv_op *ops;           /* written besides, at most CHANGE_EXTRA_MAX */
    struct kv_compare *guards;   /* likewise */
    size_t n_ops, n_guards;
};

struct draft_call;
struct import;

enum rest_format { FORMAT_JSON, FORMAT_YAML, FORMAT_ENV, FORMAT_COUNT };

/* ---- change.c ---- */

struct change_call *change_begin(struct rest_call *call, struct arena *arena);
struct change *change_add(struct change_call *c, struct arena *arena);
/* More than CHANGE_FAULTS_MAX are not kept. */
void change_fault(struct change_call *c, enum err e, struct span pointer, const char *detail);
/* "list_at/at/member"; member: NULL, none. */
struct span change_pointer(const struct change_call *c, size_t at, const char *member,
                           struct arena *arena);

/* Looks up what is there, drops what would change nothing, and sorts by key. Faults: a version that
 * is not the one asked for; a key that comes twice. */
void change_sort(struct change_call *c, struct arena *arena); /* by key */
void change_settle(struct change_call *c, const struct kv *kv, struct arena *arena);
/* After that: faults, nothing to do, and too much at once are answered here; else *writes, and
 * call->request is the transaction. */
void change_decide(struct rest_call *call, const struct kv *kv, struct arena *arena,
                   struct rest_answer *out, bool *writes);
/* The answer to a dry run. */
void change_plan_answer(const struct change_call *c, const struct kv *kv, struct arena *arena,
                        struct rest_answer *out);
/* What would be changed, as the members of an object that is open. */
void change_write(struct jsonw *w, const struct change_call *c, struct arena *arena);
/* The answer to a transaction that went well. */
void change_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                   struct arena *arena, struct rest_answer *out);
/* problem+json of the first fault, and all of them one by one as "errors". */
void change_problem(const struct change_call *c, struct arena *arena, struct rest_answer *out);

/* The key of the reason for changes of key; NONE: key is not below "confman/". */
struct span change_log_key(struct span key, struct arena *arena);
/* Why this version is as it is; "": it was not said. */
struct span change_log_of(const struct kv *kv, const struct kv_version *v, struct arena *arena);

/* ---- change_value.c: values ---- */

/* The type of that name; false: there is none. */
#define CHANGE_TYPE_RULE "must be string, number, boolean, json or bytes"
bool change_type(const struct jdoc *name, uint8_t *kind);
/* The bytes to store and their type; false: detail says why, and member whether "value" or "type"
 * is wrong. type: NULL, as the value is. */
bool change_value(const struct jdoc *value, const struct jdoc *type, struct arena *arena,
                  struct span *out, uint8_t *kind, const char **member, const char **detail);
void change_json(struct jsonw *w, const struct jdoc *v); /* a tree as JSON */
/* "diff": [...], "text": "...", "truncated": true, of an object that is open; either value may be
 * missing (NULL). Takes from *ops_left what it told. */
struct change_side {
    struct span value;
    uint8_t type;
    bool there;
};
void change_diff(struct jsonw *w, const struct change_side *from, const struct change_side *to,
                 size_t *ops_left, struct arena *arena);
/* A value as JSON: as a config shows it. */
void change_plain_write(struct jsonw *w, struct span value, uint8_t type);
/* "value": ..., "type": "..." */
void change_value_write(struct jsonw *w, struct span value, uint8_t type);
/* What a key is: "kind", "environment", "key". */
void change_name_write(struct jsonw *w, struct span key);

/* ---- change_read.c: what is asked for ---- */

/* The routes that change several keys: ERR_BAD_REQUEST, ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE. What
 * is wrong with one of the changes is a fault, told once the keys were read. */
bool change_takes(int route);
enum err change_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                     const char **detail) MUST_CHECK;
/* c->list as items. */
void change_items_read(struct change_call *c, struct arena *arena);
/* A body that is JSON. */
enum err change_body(struct span body, struct arena *arena, struct jdoc **out,
                     const char **detail) MUST_CHECK;
/* Members of an object by name: any other is refused, and said to be. names: ended by NULL. */
enum err change_members(const struct jdoc *object, const char *const *names, struct arena *arena,
                        const char **detail) MUST_CHECK;
/* A text, a yes or no, a whole number from 0 on: ERR_BAD_REQUEST when it is there and is none. */
enum err change_text(const struct jdoc *object, const char *name, size_t max, struct arena *arena,
                     struct span *out, const char **detail) MUST_CHECK;
enum err change_yes(const struct jdoc *object, const char *name, struct arena *arena, bool *out,
                    const char **detail) MUST_CHECK;
enum err change_count(const struct jdoc *object, const char *name, struct arena *arena,
                      int64_t *out, const char **detail) MUST_CHECK;
/* Asks whether all keys of the items may be read, and waits for the state to be new enough. */
void change_read_first(struct rest_call *call, struct arena *arena);

/* ---- draft.c, draft_read.c, draft_write.c ---- */

enum err draft_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail) MUST_CHECK;
void draft_step(struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *out, bool *writes);
void draft_changed(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                   struct rest_answer *out);

/* ---- import.c, export.c ---- */

enum {
    EXPORT_KEYS_MAX = 10000,
    EXPORT_ENV_MAX = 1000, /* lines of NAME="value" */
    YAML_BLOCKS_MAX = 32,  /* written line by line; what is nested deeper, as JSON has it */
};
bool format_read(struct span name, enum rest_format *out);
enum err import_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                     const char **detail) MUST_CHECK;
/* ERR_HISTORY_WIDE: replace, and more is there than it looks at. */
enum err import_plan(struct rest_call *call, const struct kv *kv, struct arena *arena) MUST_CHECK;
enum err export_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                     const char **detail) MUST_CHECK;
void export_answer(const struct rest_call *call, const struct kv_range_result *r,
                   struct arena *arena, struct rest_answer *out);

/* RFC 3339, or milliseconds since 1970. */
bool moment_read(struct span s, int64_t *ms);

/* ---- audit.c ---- */

enum err audit_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail) MUST_CHECK;

/* ---- rollback.c ---- */

enum err rollback_call(const struct http_request *http, struct arena *arena,
                       struct rest_call *call, const char **detail) MUST_CHECK;
/* ERR_COMPACTED, ERR_REVISION_FUTURE, ERR_HISTORY_WIDE. */
enum err rollback_plan(struct rest_call *call, const struct kv *kv, struct arena *arena) MUST_CHECK;

/* Two walks through keys that begin alike, at two revisions or in two places: calls each for every
 * key that is in one of them, by what stands behind the prefixes. ERR_HISTORY_WIDE: more than
 * CHANGE_KEYS_LOOK_MAX keys; also as kv_page. */
struct change_walk {
    struct span prefix;
    int64_t revision; /* 0: newest */
};
enum err change_walk_both(const struct kv *kv, const struct change_walk *a,
                          const struct change_walk *b, struct arena *arena,
                          void (*each)(void *context, struct span rest, const struct kv_version *x,
                                       const struct kv_version *y),
                          void *context) MUST_CHECK;
