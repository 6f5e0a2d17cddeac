/* rest: the native door /v1, as pure translation: HTTP request -> struct request, reply -> HTTP
 * answer.
 *
 * Configs live in the one key space under "confman/config/<environment>/" + key, so an etcd client
 * may watch and read them too; ?environment= is "default" when it is not there. A config that an
 * environment does not have is looked for in its parent (environment.c). A value is
 * stored as its bytes: a string without quotes, the others as JSON text; the type stands beside it
 * (enum kv_type). Keys written through the etcd door are KV_BYTES: shown as type "string" when they
 * are UTF-8, else as "bytes" in base64.
 *
 * Answers are JSON; errors are RFC 9457 problem+json with a stable "code" (base/err.def). Routes
 * stand in route.def, from which docs/reference/rest.md is made. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/delivery/delivery.h"
#include "core/flagset/flagset.h"
#include "core/account/account.h"
#include "core/machine/machine.h"
#include "core/secret/secret.h"
#include "core/watch/watch.h"
#include "wire/http/http.h"

enum {
    /* Bytes. The columns of a relational copy of it all: key, environment, updated_by. */
    REST_KEY_MAX = 256,
    REST_ENVIRONMENT_MAX = 50,
    REST_AUTHOR_MAX = 100,
    REST_DEPTH_MAX = 8, /* environments in a chain of parents, the first one too */
    REST_ENVIRONMENT_COUNT_MAX = 200, /* records of environments */
    REST_PAGE_DEFAULT = 100, /* items of GET /v1/config */
    REST_PAGE_MAX = 1000,
    REST_USER_ROLES_MAX = 64, /* that one PUT of a user names */
    REST_GRANTS_MAX = 256,    /* ranges of keys that one PUT of a role comes to */
    REST_ACCOUNTS_MAX = 1000, /* service accounts that a list tells of */
    REST_KEY_TTL_MAX_S = 10 * 366 * 24 * 3600, /* of a service account's key, if it ends at all */
};

enum rest_kind {
    REST_UNARY, /* one answer */
    REST_SNAPSHOT, /* a file, as it comes; the node does it all */
    REST_PUSH,  /* WebSocket, or one subscription as server-sent events */
    REST_SAY,   /* what such a stream's client says, by itself */
    REST_DELIVERIES, /* the node gathers the answer */
    REST_WATCH, /* server-sent events, or WebSocket when the request asks to upgrade */
};

/* ---- what a write must hold ---- */

enum {
    REST_FAULTS_MAX = 50,   /* told of one request */
    REST_GUARDS_MAX = 2,    /* compares that a check adds for rules; references want more */
    REST_RULES_MAX = 1000,  /* schemas, and guards */
    REST_COMPILED_MAX = 256,              /* schemas kept compiled, and their memory */
    REST_COMPILED_BYTES_MAX = 64 << 20,
};

/* One thing that is wrong with what was to be written. Spans live in the request's arena. */
struct rest_fault {
    struct span environment, key; /* of the config; empty: it is the only one, or the body */
    struct span pointer;          /* JSON Pointer to what is wrong */
    const char *by; /* NULL, "schema" or "guard": what says so, and its name */
    struct span name;
    struct span schema_pointer; /* the rule in the schema */
    struct span message;
};
struct rest_faults {
    struct rest_fault *items; /* room for REST_FAULTS_MAX, once there is one */
    size_t n;
    bool more;
};

/* Schemas of configs, compiled when they are first asked for. */
struct rest_schemas;
struct rest_schemas *rest_schemas_open(struct alloc *alloc);
void rest_schemas_close(struct rest_schemas *s);
struct rest_schemas_stats {
    size_t n, bytes;
    uint64_t compiled, evicted;
};
void rest_schemas_stats(const struct rest_schemas *s, struct rest_schemas_stats *out);

/* Who refers to what: configs to configs and secrets, flags to flags and to what they share. Kept
 * in memory; whoever applies changes tells them here. */
struct rest_links;
struct rest_links *rest_links_open(struct alloc *alloc);
void rest_links_close(struct rest_links *l);
/* Anew, from all that the store has: once it was loaded. Costs a look at each config and flag. */
void rest_links_begin(struct rest_links *l, const struct kv *kv);
void rest_links_changed(struct rest_links *l, const struct kv_change *changes, size_t n);
size_t rest_links_count(const struct rest_links *l);

/* What the node lends to a call. */
struct rest_world {
    struct rest_schemas *schemas;
    const struct rest_links *links; /* NULL: nobody refers to anything */
    /* Whether who asks may do this; NULL: everybody may do all. */
    enum err (*permits)(void *context, struct request *r);
    /* The same of another user, by the rights that he has now; there when permits is. */
    enum err (*permits_user)(void *context, struct span user, struct request *r);
    /* What else would keep a write from being done: room, quotas, alarms. NULL: nothing. */
    enum err (*would)(void *context, const struct request *r);
    /* The newest version of a secret, in memory of the turn, to be wiped by who has used it. NULL:
     * there are none here. Also what permits says; ERR_SECRET_NOT_FOUND, ERR_SEALED. */
    enum err (*secret)(void *context, struct span name_space, struct span path,
                       struct span *data);
    /* How many watch this key of the store on this node; NULL: nobody. */
    int64_t (*watchers)(void *context, struct span key);
    void *context;
};

/* What was seen to before: of a call, or of a draft that is published. */
struct rest_leave {
    bool confirmed;    /* ?confirm=true: deleting so much is meant */
    bool forced;       /* ?force=true: so is deleting what others refer to */
    int64_t approvals; /* of the draft that this is */
};

/* Looks at what the transaction would put under "confman/config/", "schema/" and "guard/" at the
 * top level of its success branch, by the state as it is, and adds compares that fail when what
 * was looked at is no longer so, KV_OPS_MAX in all (guards: where they stand, in the arena).
 * ERR_SCHEMA_VIOLATED, ERR_SCHEMA_STEPS, ERR_SCHEMA_INVALID, ERR_GUARD_INVALID, ERR_RULES_TOO_MANY,
 * ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE, ERR_GUARD_SIZE, ERR_GUARD_DELETES, ERR_GUARD_APPROVALS,
 * ERR_REFERRED, those of references; faults says what. */
enum err rest_check_txn(const struct rest_world *world, const struct rest_leave *leave,
                        const struct kv *kv, struct kv_txn *txn, struct arena *arena,
                        struct kv_txn *guards, struct rest_faults *faults) MUST_CHECK;

/* Of users, roles, logins. */
enum access_verb {
    ACCESS_ME,
    ACCESS_LOGINS, /* how one may log in */
    ACCESS_LOGIN,
    ACCESS_LOGOUT,
    ACCESS_OIDC_START, /* a browser is sent to the issuer of logins, and comes back from it */
    ACCESS_OIDC_BACK,
    ACCESS_USERS,
    ACCESS_USER,
    ACCESS_USER_SET,
    ACCESS_USER_PASSWORD,
    ACCESS_DELETE,
    ACCESS_ACCOUNTS,
    ACCESS_ACCOUNT,
    ACCESS_ACCOUNT_SET,
    ACCESS_ACCOUNT_KEY,  /* a new one */
    ACCESS_ACCOUNT_DROP, /* of a key */
    ACCESS_ACCOUNT_DELETE,
    ACCESS_ROLES,
    ACCESS_ROLE,
    ACCESS_ROLE_SET, /* it and what follows change a role */
    ACCESS_ROLE_GRANT,
    ACCESS_ROLE_REVOKE,
};

struct access_ask {
    enum access_verb verb;
    struct span name, password;
    bool cookie;           /* LOGIN: the token comes as a cookie alone */
    struct auth_goal goal; /* the verbs that SET, GRANT, REVOKE: what shall be */
    /* of service accounts */
    bool disabled, rotates; /* rotates: the other keys end after grace_s */
    int64_t ttl_s, grace_s; /* ttl 0: the key does not end */
    struct span key_id;
    unsigned tries;                  /* the node's */
    char key[ACCOUNT_TOKEN_MAX + 1]; /* that the node made: told once */
};

/* The cookie that a login of the page is kept in. */
#define REST_SESSION_COOKIE "confman_session"

enum rest_door {
    REST_NATIVE,
    REST_VAULT, /* api/vault made it, and says the answer */
};

/* What is looked for in the audit log. */
struct audit_ask {
    struct span prefix, user;  /* of a key that was written; who asked for it, if has_user */
    struct span since, until;  /* as the log has its times; "": from ever, till now */
    int64_t limit;
    bool has_user, as_lines;
};

/* One call: what was asked, and what rest_reply needs to know to answer. Lives in the call's
 * arena. */
struct flag_call;
struct change_call;
struct diff_call;

struct rest_call {
    struct push_message *push; /* of REST_PUSH: what its query says; of REST_SAY, which has the
                                * stream in key: the message. Else NULL */
    struct delivery_query *deliveries; /* of REST_DELIVERIES. Else NULL */
    struct flag_call *flag; /* of a route of flags; else NULL */
    struct change_call *change; /* of one that changes several keys: see rest_change. Else NULL */
    struct diff_call *diff;     /* of a comparison; else NULL */
    struct trial *trial;        /* of a schema and a value that come with it; else NULL */
    struct audit_ask *audit;    /* of the audit log, which the node looks into; else NULL */
    int64_t now_ms;         /* filled in by the node: since 1970 */
    struct flagsets *flags; /* likewise */
    const struct rest_world *world; /* so is this */
    struct rest_leave leave;
    struct rest_faults faults; /* of the body: detail tells the first */
    struct request asked;   /* rest_check: request, before it was guarded */
    struct kv_txn guards;   /* the compares that were added */
    unsigned tries;
    int format;             /* enum rest_format of an export */
    int form;               /* enum rest_watch_form of server-sent events */
    enum rest_kind kind;
    enum rest_door door;
    int route;              /* row of route.def; -1: of another door */
    struct request request; /* for the core; for REST_WATCH of type REQUEST_WATCH_ADD */
    struct access_ask *access; /* of users, roles, logins; else NULL */
    struct request *also; /* of REST_WATCH: n_also more, those that are permitted */
    size_t n_also;
    struct secret_ask *secret; /* of secrets; request reads what it speaks of. Else NULL */
    struct span key;        /* the config's own key, decoded */
    struct span prefix;     /* of a list or watch */
    struct span environment;
    struct span chain[REST_DEPTH_MAX]; /* of a list: the environments looked at, own one first */
    size_t levels;
    bool own;              /* without what is inherited */
    bool resolve;          /* references are */
    bool dry_run;          /* of a write: what it would do */
    int64_t revision;      /* to read at; 0: newest */
    struct span after;     /* of a list: the page before ended so */
    struct span parent;    /* PUT of an environment */
    int64_t limit;
    bool head;                                 /* HEAD: no body */
    bool writes;                               /* PUT */
    bool deletes;                              /* DELETE */
    bool create_only, must_exist, has_version; /* If-None-Match: *, If-Match: * and "N" */
    int64_t version;
    bool has_tag; /* GET with If-None-Match */
    struct span tag;
};

struct rest_answer {
    int status;
    struct http_header
        headers[12]; /* content-type, etag, allow... ; spans into arena or constants */
    size_t header_count;
    struct span body; /* in the arena */
};

/* Whether the path belongs to this door ("/v1" or below, and OFREP's "/ofrep/v1"). */
bool rest_takes(struct span path);

/* ERR_NOT_FOUND, ERR_METHOD_NOT_ALLOWED, ERR_BAD_REQUEST (bad escape, number, header),
 * ERR_NOT_BUILT, ERR_BODY_NOT_JSON, ERR_MEDIA_TYPE; then *detail (may be NULL) says what and
 * where, for people. The preconditions become compares of a transaction, so they hold at the
 * moment of the write. */
enum err rest_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                   const char **detail) MUST_CHECK;

/* An environment and those it inherits from now, nearest first; how many. */
size_t rest_environments(const struct kv *kv, struct span environment, struct arena *arena,
                         struct span out[REST_DEPTH_MAX]);

/* What depends on the state: from which environment a config is read, what else must hold. To be
 * asked before the core is, and once more if the call had to wait for a read index: the request is
 * then for the state as it is. ERR_CYCLE, ERR_ENVIRONMENTS; *detail as of rest_call. */
enum err rest_plan(struct rest_call *call, const struct kv *kv, struct arena *arena,
                   const char **detail) MUST_CHECK;

/* What is about to be proposed: checks it, and adds guards to it. False: it must not be, and why
 * is the answer. */
bool rest_check(struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *refusal);
/* Whether the reply says no because what rest_check looked at has changed, and nothing else: the
 * request is then as it was asked, to be planned, checked and proposed anew. */
bool rest_again(struct rest_call *call, const struct kv *kv, const struct reply *reply);

/* Of a call that has `change`, when what its request read is there (the state is new enough, and
 * who asks may read it), and once more each time its transaction found another state: either
 * *writes, and call->request is what to write now, or *out is the answer. */
void rest_change(struct rest_call *call, const struct kv *kv, struct arena *arena,
                 struct rest_answer *out, bool *writes);
/* A draft that was scheduled: due is a key below REST_DRAFTS_DUE, whose time rest_due_at tells.
 * NULL: call->request publishes it, as what author asks. Else why not, and rest_due_failed makes
 * of call->request what says so. call: fresh but for its world. */
#define REST_DRAFTS_DUE "confman/draft-due/"
int64_t rest_due_at(const struct kv_version *due); /* ms since 1970; 0: it is none */
const char *rest_due(struct rest_call *call, const struct kv *kv, const struct kv_version *due,
                     struct arena *arena, struct span *author);
void rest_due_failed(struct rest_call *call, const struct kv *kv, const struct kv_version *due,
                     const char *why, struct arena *arena);

/* What removes drafts that are done (published, rejected) and beyond the newest so many, or were
 * done before that time: max transactions at most; how many. */
size_t rest_drafts_old(const struct kv *kv, int64_t before_ms, size_t keep, struct arena *arena,
                       struct request *out, size_t max);

/* The answer to it when it was written. */
void rest_changed(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                  struct arena *arena, struct rest_answer *out);

/* Lines of the audit log, newest first, each with its newline; more: than are told, and last is the
 * time of the last one. */
void rest_audit(const struct audit_ask *ask, struct span lines, bool more, struct span last,
                struct span member, struct arena *arena, struct rest_answer *out);

/* Whether author may be written beside a config. ERR_AUTHOR_LONG. */
enum err rest_author(const struct rest_call *call, struct span author) MUST_CHECK;

/* The answer to a unary call. */
void rest_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out);

/* What rest_call refused: with all that is wrong with the body. */
void rest_refusal(const struct rest_call *call, enum err e, const char *detail,
                  struct arena *arena, struct rest_answer *out);
/* problem+json for any error, also those that the node finds (too large, overloaded). */
void rest_problem(enum err e, const char *detail, struct arena *arena, struct rest_answer *out);

/* What the core is asked for a secret_ask: whether it may be, and for what it rests on. */
void rest_secret_request(const struct secret_ask *a, struct arena *arena, struct request *out);

/* Whether the newest version of the secret that is asked for may go; false: others refer to it, and
 * they are the answer. */
bool rest_secret_free(const struct rest_call *call, struct arena *arena, struct rest_answer *out);

/* The answer to one of secrets that went well. What it wrote the data to is wiped, but the body. */
void rest_secret(const struct secret_answer *a, struct arena *arena, struct rest_answer *out);

/* What the node knows for an answer about users, roles and logins. */
struct access_facts {
    const struct auth *auth;
    struct span author; /* who asks; "" nobody is proven */
    struct span token;  /* of a login */
    int64_t ttl_ms;     /* of a token */
    bool secure;        /* the connection is TLS */
    struct span issuer, client, scopes; /* of logins by OpenID Connect; issuer empty: none */
};

/* The header that keeps a session with the browser; an empty token ends it. */
/* Whether any page may send such a body unasked (HTML 4.10.21, Fetch 2.2.2): of a form's kind, or
 * of none. */
bool rest_is_form(const struct http_request *http);
struct span rest_cookie(struct span token, bool secure, struct arena *arena);

/* The answer to one of call->access that went well. */
void rest_access(const struct rest_call *call, const struct access_facts *f, struct arena *arena,
                 struct rest_answer *out);
/* The same for a list of service accounts, or one. */
void rest_accounts(const struct rest_call *call, const struct kv_range_result *found,
                   const struct auth *auth, struct arena *arena, struct rest_answer *out);

/* ---- watch: the same events as text/event-stream or as WebSocket text messages ---- */

/* ?revision=N: the client has seen N, so events begin behind it; Last-Event-ID likewise and
 * stronger. */
/* REST_REFETCH: OFREP's, which say only that something changed. */
enum rest_watch_form { REST_SSE, REST_WEBSOCKET, REST_REFETCH };

/* Calls emit once for each event's text (an SSE block, or one WebSocket message). */
void rest_watch_events(const struct kv *kv, const struct watch_batch *batch,
                       enum rest_watch_form form, struct arena *arena,
                       void (*emit)(void *context, struct span text), void *context);

/* The first thing on a stream: from which revision on it tells. */
struct span rest_watch_ready(int64_t revision, enum rest_watch_form form, struct arena *arena);

/* progress: nothing new up to revision; compacted: what was asked for is gone, the stream ends. */
struct span rest_watch_progress(int64_t revision, enum rest_watch_form form, struct arena *arena);
struct span rest_watch_compacted(int64_t compact_revision, enum rest_watch_form form,
                                 struct arena *arena);
/* denied: who watches may not read it any more; the stream ends. */
struct span rest_watch_denied(int64_t revision, enum rest_watch_form form, struct arena *arena);

/* ---- push: what is said on /v1/subscribe; push.def has every message ---- */

enum push_ask {
#define ASK(NAME, name, members, text) PUSH_##NAME,
#define TELL(NAME, name, members, text)
#include "api/rest/push.def"
#undef ASK
#undef TELL
    PUSH_ASKS
};

enum push_tell {
#define ASK(NAME, name, members, text)
#define TELL(NAME, name, members, text) PUSH_##NAME,
#include "api/rest/push.def"
#undef ASK
#undef TELL
    PUSH_TELLS
};

enum push_topic { PUSH_OF_CONFIGS, PUSH_OF_DRAFTS, PUSH_OF_DELIVERIES };

struct push_message {
    enum push_ask ask;
    bool has_id, has_revision, has_runs, own;
    uint8_t topic; /* enum push_topic */
    uint8_t kind;  /* enum delivery_kind */
    bool has_text; /* of PUSH_OF_DELIVERIES: kind and text were given, else it is of all */
    int64_t id, revision, runs;
    struct span environment, text;       /* of SUBSCRIBE */
    struct span client, instance, labels; /* of HELLO; labels: JSON */
    struct span error;                   /* of ACK */
};

/* One text of a client. ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE, ERR_BAD_REQUEST; *detail (may be
 * NULL) says what and where. Spans stand in the arena. */
enum err rest_push_read(struct span text, struct arena *arena, struct push_message *out,
                        const char **detail) MUST_CHECK;

struct push_range {
    struct span key, end; /* as in struct watch_spec */
};
enum { PUSH_RANGES_MAX = 2 * DELIVERY_LEVELS_MAX + 1 };

/* The environments that a scope looks through as of a revision (0: now), own one first, into
 * DELIVERY_LEVELS_MAX places; how many. */
size_t rest_push_levels(const struct kv *kv, const struct delivery_scope *s, int64_t revision,
                        struct arena *arena, struct span *out);
/* The ranges of its levels, into PUSH_RANGES_MAX places; how many. */
size_t rest_push_ranges(const struct delivery_scope *s, struct arena *arena,
                        struct push_range *out);
/* One that has all of these, and more. */
struct push_range rest_push_whole(const struct delivery_scope *s);
/* Where it stands what environments inherit. */
struct push_range rest_push_environments(void);
bool rest_push_of_environments(struct span key);

/* Appends what some changes, all of one revision, mean for a scope; false: nothing. What stands
 * before it is the subscriber's own: rest_push_head. */
bool rest_push_changes(const struct kv *kv, const struct delivery_scope *s,
                       const struct kv_change *const *changes, size_t n, struct arena *arena,
                       struct buf *out);
void rest_push_head(enum push_tell tell, int64_t id, struct buf *out);

/* Where to go on, and when. */
struct push_place {
    int64_t reconnect_ms;
    const struct span *endpoints;
    size_t n;
};
const char *rest_push_name(enum push_tell tell); /* "changes" */
/* Those that have at most an id and a revision; NULL: without. So below. */
void rest_push_tell(enum push_tell tell, const int64_t *id, const int64_t *revision,
                    struct buf *out);
/* ERROR, DENIED. */
void rest_push_refused(enum push_tell tell, const int64_t *id, enum err e, const char *detail,
                       struct buf *out);
/* stream: of server-sent events; NULL of a WebSocket. */
void rest_push_welcome(int64_t revision, uint64_t member, const char *stream, int64_t ping_ms,
                       const struct push_place *p, struct buf *out);
void rest_push_goodbye(const struct push_place *p, struct buf *out);

/* The answer of /v1/deliveries, from what members said; those that did not are named. */
struct rest_delivery_member {
    uint64_t id;
    struct span name;
    bool answered;
};
void rest_deliveries(const struct delivery_page *page, const struct rest_delivery_member *members,
                     size_t n, int64_t revision, struct arena *arena, struct rest_answer *out);
/* What DELIVERIES tells behind rest_push_head. */
void rest_push_deliveries(const struct delivery_page *page,
                          const struct rest_delivery_member *members, size_t n, int64_t revision,
                          struct buf *out);
/* The range that who asks of deliveries must be allowed to read. */
struct push_range rest_push_delivered(const struct delivery_query *q, struct arena *arena);
/* The query of a subscription to them. */
void rest_push_query(const struct push_message *m, struct delivery_query *out);
