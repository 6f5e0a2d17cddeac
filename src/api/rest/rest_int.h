/* rest_int: what the files of api/rest share. */
#pragma once
#include "api/rest/rest.h"
#include "core/schema/schema.h"
#include "wire/json/json.h"

enum rest_route {
#define ROUTE(NAME, methods, path, text) ROUTE_##NAME,
#include "api/rest/route.def"
#undef ROUTE
};

/* Where things stand in the key space: configs behind the environment's name and a slash. */
#define REST_CONFIGS "confman/config/"
#define REST_ENVIRONMENTS "confman/env/"
#define REST_FLAGS "confman/flag/"
#define REST_FLAGSETS "confman/flagset/" /* what the flags of an environment share */

/* ---- environment.c ---- */

#define REST_ENVIRONMENTS_PATH "/v1/environments/"
#define REST_ENVIRONMENT_RULE                                                                      \
    "the environment's name must be 1 to 50 letters, digits, dots, hyphens and underscores"
bool environment_name(struct span s);
const char *config_key_fault(struct span key); /* what is wrong with it; NULL: nothing */
struct span config_key(struct arena *arena, struct span environment, struct span key);
void config_split(struct span full, struct span *environment, struct span *key);
/* The environment and those it inherits from, nearest first, as of a revision (0: now), into
 * REST_DEPTH_MAX places; how many. */
size_t environment_chain(const struct kv *kv, struct span name, int64_t revision,
                         struct arena *arena, struct span *out);
enum err environment_read(const struct http_request *http, struct arena *arena,
                          struct rest_call *call, const char **detail) MUST_CHECK;
enum err environment_plan(struct rest_call *c, const struct kv *kv, struct arena *arena,
                          const char **detail) MUST_CHECK;
/* The answer's body. ERR_NOT_FOUND, ERR_CONFLICT. */
enum err environment_write(const struct rest_call *c, const struct kv *kv,
                           const struct reply *reply, struct arena *arena,
                           struct jsonw *w) MUST_CHECK;

/* The body of a PUT: the bytes to store and their type. ERR_BODY_NOT_JSON, ERR_BAD_REQUEST; then
 * faults has all that is wrong. */
enum err value_read(struct span body, struct arena *arena, struct span *value, uint8_t *type,
                    struct rest_faults *faults, const char **detail) MUST_CHECK;

/* Quotas: what PUT and DELETE ask, and the answer's body. ERR_BAD_REQUEST, ERR_BODY_NOT_JSON. */
#define QUOTA_PREFIXES "/v1/quotas/prefix/"
#define QUOTA_USERS "/v1/quotas/user/"
enum err quota_read(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail) MUST_CHECK;
void quota_write(const struct rest_call *call, const struct reply *reply, struct jsonw *w);

/* RFC 3339, UTC, milliseconds. */
void time_write(struct jsonw *w, int64_t ms);

/* ---- call.c: preconditions ---- */

/* Of a write: if-match, if-none-match. ERR_BAD_REQUEST. */
enum err conditions_read(const struct http_request *http, struct rest_call *call,
                         const char **detail) MUST_CHECK;
/* If <conditions> Then <write, get> Else get. */
void conditions_txn(struct rest_call *call, struct span key, struct kv_op write,
                    struct arena *arena);

/* ---- rule.c: schemas and guards, the records that say what a config must be ---- */

#define REST_SCHEMAS "confman/schema/"
#define REST_GUARDS "confman/guard/"

enum err rule_read(const struct http_request *http, struct arena *arena, struct rest_call *call,
                   const char **detail) MUST_CHECK;
void rule_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out);
/* The names under which a rule of this config's key may stand: itself first, then the prefixes
 * that end with a slash, longest first, the empty one last. False: there is no more. */
struct rule_walk {
    struct span key, name; /* name: told by rule_next */
    bool begun, over;
};
bool rule_next(struct rule_walk *w);
/* The rule of that name, or NULL; root: REST_SCHEMAS or REST_GUARDS. */
const struct kv_version *rule_at(const struct kv *kv, const char *root, struct span name,
                                 struct arena *arena);
int64_t rule_count(const struct kv *kv, const char *root, struct arena *arena);

/* ---- trial.c: POST of a schema: {"schema", "value", "type"}, judged and forgotten ---- */

struct trial;
/* ERR_BODY_NOT_JSON, ERR_BAD_REQUEST; then *detail says what. */
enum err trial_read(struct span body, struct arena *arena, struct rest_call *call,
                    const char **detail) MUST_CHECK;
/* 200, or 422 with all that is wrong. */
void trial_answer(const struct rest_call *call, struct arena *arena, struct rest_answer *out);

/* ---- compiled.c ---- */

/* The schema of a version; NULL: what stands there is none. Valid until the next. */
const struct schema *compiled_get(struct rest_schemas *s, const struct kv_version *v);
/* Whether a text may become one: as schema_compile. */
enum err schema_text_check(struct rest_schemas *s, struct span text,
                           struct schema_report *report) MUST_CHECK;
/* One that is not kept, for schema_free; NULL: the text is none. */
struct schema *schema_make(struct rest_schemas *s, struct span text);

/* ---- dry.c ---- */

/* What a write that was judged well would do, by the state as it is. */
void dry_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *out);

/* ---- guard.c ---- */

enum { GUARD_BYTES_MAX = 4096, GUARD_APPROVALS_MAX = 10 };
struct guard {
    int64_t value_bytes_max, deleted_percent_max; /* -1: not bounded */
    int64_t approvals;                            /* that a change needs; 0: none */
    bool author_may_approve;                      /* who proposed it counts too */
    const struct jdoc *environments;              /* an array of names; NULL: all */
};
extern const struct guard guard_none;

/* False: it is none; tell was called for everything that is wrong. The tree lives in the arena. */
bool guard_read(struct span text, struct arena *arena, struct guard *out,
                void (*tell)(void *context, struct span pointer, const char *why), void *context);
bool guard_is_of(const struct guard *g, struct span environment);
/* What all guards of a config ask for in approvals together; the rest of out is guard_none's. */
void guard_find(const struct kv *kv, struct span environment, struct span key,
                struct arena *arena, struct guard *out);

/* How many configs below a guard's name a transaction deletes, by environment. */
struct guard_counts {
    struct guard_count *items; /* in the arena */
    size_t n, cap;
};
void guard_deletes(struct guard_counts *all, const struct guard *g, struct span environment,
                   struct span name, struct arena *arena);
/* Whether the count at i is more than its guard allows; one config alone never is. */
bool guard_exceeded(const struct guard_counts *all, size_t i, const struct kv *kv,
                    struct arena *arena, struct span *environment, struct span *name,
                    const char **why);

/* ---- reference.c ---- */

/* What stands between "${" and "}". */
struct reference {
    struct span text;
    bool secret;
    struct span environment;        /* of a config; empty: the one it is looked at from */
    struct span key;                /* of a config; of a secret, its path */
    struct span name_space, member; /* of a secret */
};
/* False: it is none; what it might have been is told all the same. */
bool reference_read(struct span text, struct reference *out);
/* Those of a value that could be read; type: enum kv_type. Spans stand in value or arena. */
void references_each(struct span value, uint8_t type, struct arena *arena,
                     void (*tell)(void *context, const struct reference *r), void *context);

/* Keys that something was decided by. */
struct seen_key {
    struct span key;
    int64_t mod_revision; /* 0: it was not there */
    uint64_t hash;
};
struct seen {
    struct arena *arena;
    struct seen_key *items;
    size_t n;
    bool over; /* there were more than are kept */
};
void seen_add(struct seen *s, struct span key, int64_t mod_revision);
/* Compares that hold as long as nothing of it changes, but for what who asks may not read; where
 * one has to stand for all of them, a deletion is not noticed. False: they find no room. */
bool seen_guards(const struct seen *s, const struct rest_world *world, const struct kv *kv,
                 struct kv_compare *out, size_t room, size_t *n);

/* Circles of references, as the state will be with the transaction. */
struct rounds;
struct rounds *rounds_open(const struct kv *kv, const struct kv_txn *txn, struct arena *arena,
                           struct seen *seen);
/* Whether a config that is written leads back to itself, for its environment or for one that
 * inherits from it, which is told. ERR_CYCLE; ERR_REFERENCE_LIMIT: too much to look at. */
enum err rounds_look(struct rounds *r, struct span environment, struct span key,
                     struct span *seen_by) MUST_CHECK;

/* ---- links.c: who refers to what ---- */

enum link_kind {
    LINK_CONFIG,
    LINK_FLAG, /* another needs it */
    LINK_RULE, /* one of the $evaluators that the flags of an environment share */
    LINK_SECRET,
};
/* Whether it is a key that may refer to others; name: empty for what flags share (LINK_RULE). */
bool link_of_key(struct span key, enum link_kind *kind, struct span *environment,
                 struct span *name);
/* Keys that refer to it until tell says that it is enough. place: the environment that they look
 * from, or, exactly, the one that they name; of a secret, its namespace. */
size_t links_each(const struct rest_links *l, enum link_kind kind, bool exactly, struct span place,
                  struct span name, struct arena *arena,
                  bool (*tell)(void *context, struct span key), void *context);

/* ---- referrers.c ---- */

/* What a transaction takes away. */
struct missed {
    const struct rest_world *world;
    const struct kv *kv;
    const struct kv_txn *txn;
    struct arena *scratch;
    void (*tell)(void *context, enum link_kind kind, struct span key, struct span environment,
                 struct span name); /* of one that would refer to nothing */
    void *context;
    size_t looked; /* so far */
    struct span environment, name; /* what is taken, that tell is told of */
    struct span told[REST_FAULTS_MAX]; /* each once */
    size_t n_told;
};
void missed_look(struct missed *m, enum link_kind kind, struct span environment, struct span name);
/* Shared rules that are in one value and not in the other. */
void missed_rules(struct missed *m, struct span environment, struct span before,
                  struct span after);
/* By whom, of a key that was told; no more than who asks may know. */
void missed_fault(const struct rest_world *world, enum link_kind kind, struct span key,
                  struct span environment, struct span name, struct arena *arena,
                  struct rest_fault *out);

/* ---- resolve.c ---- */

struct found {
    struct span value;
    uint8_t type;
};
/* A key as it will be with the transaction (NULL: none); fresh: that writes it. seen (may be
 * NULL) is told of what was there. */
bool config_found(const struct kv *kv, const struct kv_txn *txn, struct seen *seen,
                  struct span key, int64_t revision, bool *fresh, struct found *out);

enum {
    RESOLVE_DEPTH_MAX = 16,        /* references that lead to one another */
    RESOLVE_REFERENCES_MAX = 1000, /* of one answer, or of one request */
    RESOLVE_BYTES_MAX = 4 << 20,   /* made of them, in all steps together */
};

struct resolving {
    const struct rest_world *world;
    const struct kv *kv;
    struct arena *arena;
    int64_t revision;         /* of configs; secrets are read as they are now */
    const struct kv_txn *txn; /* judged before it is written: what it puts counts; or NULL */
    struct seen *seen;        /* told of what was looked at; or NULL */
    bool secrets;             /* they are opened; else their references stay as they are */
    /* so far, and what came of it */
    size_t n, bytes;
    bool revealed;       /* a secret was opened */
    enum err err;
    struct span pointer; /* into the JSON value, to the text that is wrong */
    const char *detail;
};

/* Whether it has anything that could be a reference. */
bool resolve_wanted(struct span value);
/* The value of the store's key, as environment sees it. ERR_REFERENCE_INVALID,
 * ERR_REFERENCE_UNKNOWN, ERR_REFERENCE_LIMIT, ERR_CYCLE, ERR_PERMISSION_DENIED, and what opening a
 * secret answers. */
enum err resolve(struct resolving *r, struct span key, struct span environment, struct span value,
                 uint8_t type, struct span *out) MUST_CHECK;

/* ---- check.c ---- */

/* A value as schemas see it, in the arena. ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE. */
enum err value_tree(struct span value, uint8_t type, struct arena *arena, struct jdoc **out,
                    struct jdoc_fault *fault) MUST_CHECK;
/* The member "values" of the answer to a new schema: how many configs that stand already are not
 * as it asks, and some of them. */
void schema_report_write(const struct rest_call *call, const struct kv *kv,
                         struct span text, struct arena *arena, struct jsonw *w);

void faults_add(struct rest_faults *faults, const struct rest_fault *fault, struct arena *arena);
/* One of a body's member; the first is also told in *detail. ERR_BAD_REQUEST. */
enum err member_fault(struct rest_faults *faults, const char *member, const char *why,
                      struct arena *arena, const char **detail);
void faults_write(struct jsonw *w, const struct rest_faults *faults); /* member errors */
/* problem+json that tells all of them. */
void faults_answer(enum err e, const char *detail, const struct rest_faults *faults,
                   struct arena *arena, struct rest_answer *out);

/* ---- history.c ---- */

#define REST_HISTORY_PATH "/v1/history/"
void history_write(const struct rest_call *c, const struct kv *kv, struct arena *arena,
                   struct jsonw *w);

/* ---- diff.c ---- */

enum err diff_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                   const char **detail) MUST_CHECK;
void diff_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                 struct rest_answer *out);

/* One config as a JSON object; environment: the one that was asked for, or none. */
void item_write(struct jsonw *w, const struct kv *kv, const struct kv_version *v,
                struct span environment);
/* The same with another value of that type, and why it is not resolved (NULL: it is). */
void item_write_as(struct jsonw *w, const struct kv *kv, const struct kv_version *v,
                   struct span environment, struct span value, const char *unresolved);

/* Flags; flag_route: the row of route.def, -1 when there is none. flag_call: ERR_BAD_REQUEST,
 * ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE, ERR_FLAG_INVALID. */
bool flag_takes(struct span path);
int flag_route(const struct http_request *http, struct arena *arena, struct rest_call *out);
enum err flag_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                   const char **detail) MUST_CHECK;
void flag_plan(struct rest_call *call, const struct kv *kv, struct arena *arena);
void flag_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out);
struct span flag_refetch(int64_t revision, struct arena *arena);

/* answer.c: a header; the end of a body, whose memory goes; a problem that tells a version. */
void add_header(struct rest_answer *a, const char *name, struct span value);
void body_of(struct rest_answer *a, int status, const char *type, struct buf *b,
             struct arena *arena);
void problem(enum err e, const char *detail, const int64_t *version, struct arena *arena,
             struct rest_answer *out);
/* An ETag; from: the environment that it is inherited from, or none. */
struct span version_tag(int64_t version, struct span from, struct arena *arena);
/* That something is deleted now. */
void deletion_answer(struct span key, int64_t revision, struct arena *arena,
                     struct rest_answer *out);
/* One with further members: they are written between. */
void problem_begin(struct jsonw *w, struct buf *b, enum err e, const char *detail,
                   struct arena *arena);
void problem_end(struct jsonw *w, struct buf *b, enum err e, const char *detail,
                 struct arena *arena, struct rest_answer *out);

/* Subscriptions and deliveries: ERR_BAD_REQUEST. */
#define PUSH_STREAMS "/v1/subscribe/"
enum { PUSH_SAY_MAX = 4096 }; /* bytes of one message, as over a WebSocket */
bool push_takes(int route);
bool push_topic(struct span word, struct push_message *out); /* false: there is none so named */
/* Of a subscription with so many of key, prefix and flags: NULL, or what is wrong with it. */
const char *push_wants(struct push_message *m, size_t wants);
enum err push_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                   const char **detail) MUST_CHECK;
/* The members version, revision and definition. */
void flag_definition_write(struct jsonw *w, const struct kv_version *v);
void write_id(struct jsonw *w, const char *name, uint64_t id); /* hexadecimal; 0: null */

#define REST_SEAL_PATH "/v1/seal/"
/* Secrets: what is asked; ERR_BAD_REQUEST, ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE. */
enum err secret_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                     const char **detail) MUST_CHECK;

/* ---- access.c: users, roles, logins ---- */

int access_route(struct span path); /* the row of route.def; -1: none of these */
bool access_takes(int route);
enum err access_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                     const char **detail) MUST_CHECK;

/* ---- account.c ---- */

#define ACCOUNTS "/v1/service-accounts/"
/* The body of a PUT or POST; ERR_BAD_REQUEST. */
enum err account_body(const json_t *body, struct access_ask *a, const char **detail) MUST_CHECK;
void account_request(const struct access_ask *a, struct arena *arena, struct request *out);

/* ---- grant.c: rights as people say them ---- */

struct grant {
    bool of_secrets;           /* place is a namespace, else an environment */
    struct span place, prefix;
    unsigned verbs;
};
struct grants {
    struct auth_permission items[REST_GRANTS_MAX];
    size_t n, own; /* own: behind these stand those that several grants share */
};
#define GRANTS_RULE "a role's grants come to more than 256 ranges of keys"
/* NULL: added; else what is wrong. */
const char *grant_verb(struct grant *g, const char *word);
/* False: there are too many. Rights over the same range come together. */
bool grants_add(struct grants *list, struct auth_permission p);
bool grant_expand(const struct grant *g, struct arena *arena, struct grants *out);
/* The grant that a permission is the main part of; nothing, if it is none's. */
void grant_write(struct jsonw *w, const struct auth_permission *p, struct arena *arena);

bool rest_is_json(const struct http_request *r); /* what the body says it is, if it says */
bool number_read(struct span text, int64_t *out); /* decimal, not negative */
struct span page_token(int64_t revision, struct span last_key, struct arena *arena);
bool page_token_read(struct span token, struct arena *arena, int64_t *revision, struct span *last);
