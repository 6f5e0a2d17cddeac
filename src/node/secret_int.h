/* secret_int: what the files about secrets share: this node's seal, the keys of the store, and
 * transactions that change both. */
#pragma once
#include <stdatomic.h>
#include "base/check.h"
#include "io/cipher/cipher.h"
#include "link/transit/transit.h"
#include "node/call_int.h"

enum { SEAL_KEYS = 3 }; /* of the file, of the file before, and one of shares or another server */

struct transit;

/* In pages of their own (cipher_pages). */
struct secrets {
    size_t n_keys; /* 0: sealed */
    uint8_t keys[SEAL_KEYS][CIPHER_KEY], ids[SEAL_KEYS][CIPHER_ID];
    uint8_t shares[SECRET_SHARES_MAX][SECRET_SHARE_BYTES]; /* that have come so far */
    size_t n_shares;
    bool by_hand; /* somebody has sealed this node: it stays so until somebody unseals it */
    bool look;    /* something may be to be done about the seal, though no write was applied */
    bool sealed;  /* there are secrets, which it cannot open */
    int64_t looked, seen; /* revisions: of the store, and of the seal as it was then */
    struct transit *transit; /* NULL: none is set */
};

/* ---- seal.c: boxes and keys ---- */

/* Keys that stand together at a place of the store, each sealed by a root key. */
struct ring {
    struct span at;
    enum secret_purpose purpose;
    struct span name;
};
struct ring ring_of_namespace(struct node *n, struct span name);

struct span seal_bound(struct node *n, enum secret_purpose purpose, struct span name_space,
                       struct span path, int64_t number);
/* The box, in the turn's arena. */
struct span seal_box(struct node *n, const uint8_t *key, struct span binding, struct span plain);
/* What is in a box: a key. ERR_CORRUPT. */
enum err seal_unbox_key(struct node *n, const uint8_t *by, struct span binding, struct span box,
                        uint8_t key[CIPHER_KEY]) MUST_CHECK;
/* The keys that stand at a place; n 0: none yet. ERR_CORRUPT, ERR_FORMAT. */
enum err seal_keys_at(struct node *n, struct span at, struct secret_keys *out) MUST_CHECK;
/* Whether this node has the key that opens the root keys; before there are any, that it has one. */
bool seal_is_open(struct node *n);
/* The newest root key, or the one that by tells. ERR_SEALED; ERR_NOT_FOUND: there is none yet;
 * ERR_CORRUPT: there is none such. */
enum err seal_root(struct node *n, const uint8_t *by, uint8_t root[CIPHER_KEY]) MUST_CHECK;
/* A ring's key; *number 0: the newest, and it is told. ERR_NOT_FOUND, and as seal_root. */
enum err ring_key(struct node *n, const struct ring *r, int64_t *number,
                  uint8_t key[CIPHER_KEY]) MUST_CHECK;

const struct kv_version *seal_stored(struct node *n, struct span key);
int64_t seal_revision_of(const struct kv_version *v); /* of its last change; 0: it is not there */

/* ---- seal.c: transactions: all of it, if nothing it rests on has changed ---- */

enum { CHANGE_MAX = 32 };
struct change {
    struct kv_compare compares[CHANGE_MAX];
    struct kv_op ops[CHANGE_MAX];
    size_t n_compares, n_ops;
};
void change_if(struct change *c, struct span key, int64_t mod_revision);
void change_if_same(struct node *n, struct change *c, struct span key); /* as it is now */
void change_put(struct node *n, struct change *c, struct span key, struct buf *value); /* closes */
void change_delete(struct change *c, struct span key, struct span range_end);
/* For the call, as who asks, or as the node; it hears of it, or is ended. */
void change_propose(struct call *call, const struct change *c, bool by_node);
/* The same without a call: only tried. */
enum err change_try(struct node *n, const struct change *c) MUST_CHECK;

/* Puts all root keys, or the first one, as sealed by this key. */
enum err seal_put_roots(struct node *n, struct change *c, const uint8_t by[CIPHER_KEY]) MUST_CHECK;
/* One more root key; those before stay until nothing is sealed by them (node/rewrap.c). */
enum err seal_rotate_root(struct call *call) MUST_CHECK;
/* The root key under the current seal, made if there is none. True: it is on its way; else *e. */
bool seal_make_root(struct call *call, enum err *e);
/* Appends the ring with all its keys sealed by the newest root key. */
enum err ring_sealed_again(struct node *n, const struct ring *r, const struct secret_keys *before,
                           struct buf *out) MUST_CHECK;
/* One more key for a ring. */
enum err ring_add(struct call *call, const struct ring *r, bool by_node) MUST_CHECK;

/* ---- unseal.c: how this node comes to the seal's key ---- */

void seal_forget(struct node *n);
/* The seal as it stands in the store. ERR_NOT_FOUND: it is a file's, or there is none. */
enum err seal_config(struct node *n, struct secret_seal *out) MUST_CHECK;
/* Appends what a sealed node waits for, one line for people; nothing when it is not sealed. */
void seal_waits(struct node *n, struct buf *out);
void seal_state(struct node *n, struct secret_answer *out); /* what SECRET_STATUS answers */
/* ERR_SHARE: it is none, or so many gave another key; ERR_SEAL_NONE: there is no seal yet. */
enum err seal_unseal(struct node *n, const struct secret_ask *a) MUST_CHECK;
/* ERR_SEAL_THERE: there is one; renew was not said. made: to be kept for seal_made. */
enum err seal_init(struct call *call, const struct secret_ask *a,
                   uint8_t made[CIPHER_KEY]) MUST_CHECK;
void seal_made(struct node *n, const struct secret_ask *a, uint8_t made[CIPHER_KEY],
               struct secret_answer *out);
/* The key, when another server has opened it. ERR_SHARE: it is not the seal's. */
enum err seal_take_key(struct node *n, const uint8_t key[CIPHER_KEY]) MUST_CHECK;

/* The key of seal-key-file, and that of before. False: there is none, or it cannot be read. */
bool seal_take_file(struct node *n);
void secrets_refuse(struct call *call, enum err e, const char *detail); /* secret.c */

/* ---- seal_transit.c: what another server's transit is asked, on a thread ---- */

enum {
    SEAL_FETCH_MS = 5000,       /* for one request */
    SEAL_ADDRESSES_MAX = 8,     /* of one server, asked in turn until one answers */
    SEAL_RETRY_MIN_MS = 500,    /* after a failure; twice as long after each further one */
    SEAL_RETRY_MAX_MS = 30000,
    SEAL_TOKEN_MIN_MS = 1000,   /* between two looks at the token */
    SEAL_TOKEN_MAX_MS = 3600 * 1000,
    SEAL_WHY_MAX = 700,
};

enum seal_task {
    SEAL_OPEN,  /* sealed is opened: key */
    SEAL_MAKE,  /* key is sealed, and opened again to be sure: sealed */
    SEAL_TOKEN, /* the token is looked at, and renewed */
};

struct seal_job {
    struct job job;
    struct node *node;
    struct call *call; /* that waits for it; NULL: the node's own, or its call is gone */
    enum seal_task task;
    bool busy;
    int64_t seen; /* the seal's revision when it began */
    uint8_t key[CIPHER_KEY];
    char sealed[SECRET_SEALED_MAX + 1];
    enum err err;
    int status; /* of HTTP; 0: no answer */
    char why[SEAL_WHY_MAX];
    int64_t ttl_s; /* SEAL_TOKEN; 0: it has no end */
    bool renewable;
};

/* In pages of their own, too. */
struct transit {
    struct worker *worker; /* NULL: not started yet */
    atomic_bool stop;
    char token[TRANSIT_TOKEN_MAX + 1]; /* of the environment; "": of a file */
    struct seal_job own, asked;        /* by itself; for a call */
    struct loop_timer timer;
    int64_t delay_ms, next_ms; /* when it may be asked again, by itself */
    int64_t token_ms;      /* when the token is to be looked at; INT64_MAX: never */
    int64_t token_ends_ms; /* 0: not known, or never */
    int64_t stamp;         /* of the file that was used last */
    int status;            /* of the last answer; 0: none came */
    char why[SEAL_WHY_MAX]; /* the last failure; "": it went well */
};

/* False: the parameters do not fit together; it is logged why. */
bool transit_open(struct node *n);
void transit_close(struct node *n);
void transit_sweep(struct node *n);
/* What is to be done by itself, if it may be now. */
void transit_turn(struct node *n);
/* Seals key for the call, which hears of it by seal_asked. ERR_TOO_MANY_REQUESTS: another waits. */
enum err transit_ask(struct call *call, const uint8_t key[CIPHER_KEY]) MUST_CHECK;

/* ---- seal_change.c: from one kind of seal to another ---- */

/* *detail: what to set. made: to be kept for seal_migrated. */
enum err seal_migrate(struct call *call, const struct secret_ask *a, uint8_t made[CIPHER_KEY],
                      const char **detail) MUST_CHECK;
void seal_migrated(struct node *n, const struct secret_ask *a, uint8_t made[CIPHER_KEY]);
/* The seal's key sealed anew by the transit's newest key. */
enum err seal_rewrap(struct call *call, const char **detail) MUST_CHECK;
/* What the transit was asked for the call has come. */
void seal_asked(struct call *call, struct seal_job *j);
/* The first seal there is; only tried. */
void seal_begin(struct node *n, const struct seal_job *j);

/* ---- rewrap.c: what is sealed by keys of before is sealed anew ---- */

void rewrap_state(struct node *n, struct secret_answer *out);
