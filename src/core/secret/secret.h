/* secret: what is kept of a secret, its versions as envelopes, and of the keys that open them; and
 * what each thing that may be asked does to them.
 *
 * A secret is one key of the store, "confman/secret/<namespace>/<path>", and its value one record:
 * so that a write is one put behind one compare. Each version has a key of its own (the data key),
 * which seals the data, a JSON object; the namespace's key seals the data key; the root key seals
 * the namespace's keys ("confman/seal/<namespace>"); and what seals the root key ("confman/seal")
 * is not in the store. Whatever is sealed is a box: nonce, ciphertext, tag (NIST SP 800-38D), bound
 * by its associated data (secret_bind) to the place it stands in, so that none can be moved.
 *
 * Nothing here has a clear text or a key in it but struct secret_ask's data. Numbers in the
 * formats are varints, and are for ever. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define SECRET_ROOT "confman/secret/"
#define SECRET_SEAL "confman/seal"
#define SECRET_SEAL_CONFIG "confman/seal-config"
#define SECRET_SETTINGS "confman/namespace/"
#define SECRET_TRANSIT "confman/transit/"
#define SECRET_DELETE_AFTER_MAX_S 3153600000LL /* 100 years */
#define SECRET_NAMESPACE "secret"              /* that of requests which name none */

enum {
    SECRET_KEY_BYTES = 32, /* AES-256 */
    SECRET_NONCE_BYTES = 12,
    SECRET_TAG_BYTES = 16,
    SECRET_BOX_MORE = SECRET_NONCE_BYTES + SECRET_TAG_BYTES, /* a box over what is in it */
    SECRET_WRAPPED_BYTES = SECRET_KEY_BYTES + SECRET_BOX_MORE,
    SECRET_ID_BYTES = 8,          /* tells keys apart: of the SHA-256 of one */
    SECRET_PATH_MAX = 1024,       /* bytes of a path */
    SECRET_NAMESPACE_MAX = 64,    /* bytes of a namespace's name */
    SECRET_DATA_MAX = 65536,      /* bytes of one version's data */
    SECRET_VERSIONS_MAX = 100,    /* kept of one secret */
    SECRET_VERSIONS_DEFAULT = 10, /* kept when nothing is said; as Vault's KV version 2 */
    SECRET_RECORD_MAX = 1 << 20,  /* all kept versions of a secret together */
    SECRET_LIST_MAX = 10000,      /* keys that one list looks at */
    SECRET_KEYS_MAX = 1000,       /* of one namespace: it may be rotated so often */
    SECRET_CUSTOM_MAX = 16384,    /* bytes of a secret's own metadata */
    SECRET_SHARES_MAX = 64,       /* of a seal's key */
    SECRET_SHARE_BYTES = SECRET_KEY_BYTES + 1,
    SECRET_SEALED_MAX = 4096,      /* bytes of a seal's key that another server has sealed */
    SECRET_REASON_MAX = 1024,      /* bytes of it that are kept */
    SECRET_NAMESPACES_MAX = 10000, /* that are told at once */
};

/* ---- the record of a secret ---- */

struct secret_version {
    int64_t number;      /* from 1 */
    int64_t created_ms;  /* since 1970; so below */
    int64_t deleted_ms;  /* from when on; 0: it is not; may be undone */
    int64_t key;         /* number of the namespace's key that seals the data key */
    bool destroyed;      /* the boxes are gone */
    struct span wrapped; /* box of the data key: SECRET_WRAPPED_BYTES; empty when destroyed */
    struct span sealed;  /* box of the data */
};

struct secret {
    int64_t current; /* newest number given; 0: none yet */
    int64_t created_ms, updated_ms;
    int64_t versions_max;    /* 0: the namespace's, or SECRET_VERSIONS_DEFAULT */
    bool check_required;     /* a write must say which version it takes the place of */
    int64_t delete_after_ms; /* a new version is deleted after this long; 0: the namespace's */
    struct span custom;      /* what its users say of it: a JSON object of texts; "": nothing */
    struct secret_version versions[SECRET_VERSIONS_MAX]; /* oldest first */
    size_t n;
};

void secret_write(const struct secret *s, struct buf *out);
/* Spans point into the bytes. ERR_CORRUPT, ERR_FORMAT: a newer build wrote it. */
enum err secret_read(struct span bytes, struct secret *out) MUST_CHECK;
/* NULL: it is not kept. number 0: the newest. */
struct secret_version *secret_find(struct secret *s, int64_t number);
bool secret_deleted(const struct secret_version *v, int64_t now_ms);

/* ---- what holds for all secrets of a namespace: "confman/namespace/<namespace>" ---- */

struct secret_settings {
    int64_t versions_max;    /* of secrets that say nothing; so below */
    int64_t delete_after_ms; /* 0: never */
    bool check_required;
    bool reason_required; /* whoever reads a secret says why */
};
void secret_settings_write(const struct secret_settings *s, struct buf *out);
enum err secret_settings_read(struct span bytes, struct secret_settings *out) MUST_CHECK;
struct span secret_settings_key(struct span name_space, struct arena *arena);

/* ---- keys, each sealed by the one above ---- */

struct secret_key {
    int64_t number; /* from 1, the newest is the last */
    int64_t created_ms;
    uint8_t by[SECRET_ID_BYTES]; /* of the key that seals it */
    struct span box;             /* SECRET_WRAPPED_BYTES */
};

struct secret_keys {
    struct secret_key *items; /* in the arena */
    size_t n;
};
void secret_keys_write(const struct secret_keys *k, struct buf *out);
enum err secret_keys_read(struct span bytes, struct arena *arena,
                          struct secret_keys *out) MUST_CHECK; /* as secret_read */

/* ---- where the seal's key comes from: "confman/seal-config"; not there: from a file ---- */

enum secret_seal_type { SECRET_SEAL_SHAMIR = 1, SECRET_SEAL_TRANSIT };
struct secret_seal {
    enum secret_seal_type type;
    int64_t shares, threshold;   /* SHAMIR: so many of so many open it */
    uint8_t id[SECRET_ID_BYTES]; /* of the seal's key */
    struct span sealed;          /* TRANSIT: the seal's key, as the other server has sealed it */
};
void secret_seal_write(const struct secret_seal *s, struct buf *out);
enum err secret_seal_read(struct span bytes, struct secret_seal *out) MUST_CHECK;

/* A key in shares, any threshold of which give it back, and fewer nothing (Shamir 1979, over
 * GF(2^8) as AES has it). A share is the polynomials' values, and last the place they were taken
 * at, from 1. Takes the same time whatever the key. random: (threshold - 1) * SECRET_KEY_BYTES. */
void secret_split(const uint8_t key[SECRET_KEY_BYTES], size_t shares, size_t threshold,
                  const uint8_t *random, uint8_t (*out)[SECRET_SHARE_BYTES]);
/* Of distinct places, none 0: so many shares as the threshold was. */
void secret_join(const uint8_t (*shares)[SECRET_SHARE_BYTES], size_t n,
                 uint8_t key[SECRET_KEY_BYTES]);

/* What a box is bound to: its purpose, where it stands, and its number there. */
enum secret_purpose {
    SECRET_OF_DATA = 1,
    SECRET_OF_DATA_KEY,
    SECRET_OF_NAMESPACE,
    SECRET_OF_ROOT,
    SECRET_OF_TRANSIT,    /* a key of a ring by that name */
    SECRET_OF_CIPHERTEXT, /* what such a key sealed for others */
};
void secret_bind(enum secret_purpose purpose, struct span name_space, struct span path,
                 int64_t number, struct buf *out);

/* ---- what may be asked ---- */

enum secret_verb {
    SECRET_STATUS, /* of the seal */
    SECRET_LIST,
    SECRET_GET,
    SECRET_VERSIONS, /* what is known of them, without the data */
    SECRET_PUT,
    SECRET_DELETE,
    SECRET_UNDELETE,
    SECRET_DESTROY,
    SECRET_CONFIGURE,
    SECRET_REMOVE,  /* the secret and all its versions */
    SECRET_ROTATE,  /* a new key for the namespace */
    SECRET_PATCH,   /* PUT of what a merge patch (RFC 7396) makes of the newest version */
    SECRET_SUBKEYS, /* GET, but the values stay here */
    SECRET_NAMESPACES,
    SECRET_SETTINGS_GET,
    SECRET_SETTINGS_PUT,     /* makes the namespace known, too */
    SECRET_NAMESPACE_REMOVE, /* with all that is in it, and its keys */
    /* of the seal */
    SECRET_INIT,    /* a seal's key in shares; renew: in place of the one of now */
    SECRET_UNSEAL,  /* with a share, or as at the start */
    SECRET_SEAL_UP, /* this node forgets the seal's key */
    SECRET_ROTATE_ROOT,
    SECRET_MIGRATE, /* to a key file or a transit; to shares: INIT that renews */
    SECRET_REWRAP,  /* the seal's key, sealed anew by the transit */
};

struct secret_ask {
    enum secret_verb verb;
    struct span name_space, path; /* LIST: path is a prefix */
    int64_t version;              /* GET: 0 is the newest */
    bool has_check;
    int64_t check; /* PUT: the newest version must be this; 0: there is none */
    int64_t numbers[SECRET_VERSIONS_MAX]; /* DELETE (none: the newest), UNDELETE, DESTROY */
    size_t n_numbers;
    struct span data;   /* PUT: the JSON object, clear; PATCH: the patch */
    struct span reason; /* GET: for the audit log */
    int64_t depth;      /* SUBKEYS: of objects told; 0: all */
    /* CONFIGURE, SETTINGS_PUT: -1 leaves it; so below */
    int64_t versions_max, delete_after_ms;
    int check_required, reason_required;
    struct span custom;        /* CONFIGURE; NULL leaves it */
    bool custom_merges;        /* it is a merge patch */
    bool must_exist;           /* CONFIGURE: there must be a secret */
    int64_t shares, threshold; /* INIT */
    bool renew;                /* INIT */
    bool to_file;              /* MIGRATE; else to the transit */
    bool reset; /* UNSEAL: forget shares that came before. data: the share, as text */
};

/* What came of it, for a door to say. */
struct secret_answer {
    const struct secret_ask *ask;
    const struct secret *secret;            /* all but STATUS, LIST, ROTATE, REMOVE */
    const struct secret_version *version;   /* GET, PUT */
    struct span data;                       /* GET, SUBKEYS: clear */
    const struct secret_settings *settings; /* SETTINGS_... */
    int64_t now_ms;
    const struct span *names; /* LIST: those with more below them end with "/"; NAMESPACES */
    size_t n_names;
    bool more;                /* LIST: there are more than SECRET_LIST_MAX keys */
    int64_t key;              /* ROTATE: number of the new one */
    bool sealed, initialized; /* of STATUS, UNSEAL, SEAL_UP; INIT: names are the shares */
    const char *seal_type;
    int64_t shares, threshold, progress; /* progress: shares that have come */
    int64_t root_keys;                   /* that are kept; the last one seals */
    int64_t transit_key;   /* the version of its key that seals; 0: it is no transit's seal */
    struct span waits_for; /* "": it is not sealed */
    size_t n_waiting;       /* namespaces and keys of transit that a rotation has yet to finish */
    struct span working_on; /* one of them, on the leader */
    uint64_t rewrapped;     /* by this node since its start */
};

/* A path or namespace that may be: not empty, not too long, no control characters, no empty part
 * between slashes; a namespace has no slash. */
bool secret_path_good(struct span path);
bool secret_namespace_good(struct span name);
struct span secret_store_key(struct span name_space, struct span path, struct arena *arena);
struct span secret_seal_key(struct span name_space, struct arena *arena); /* of its keys */

/* INIT: so many shares, and so many of them to open. */
bool secret_shares_good(const struct secret_ask *a);

/* Whether a put may be done now. ERR_SECRET_VERSION. */
enum err secret_check(const struct secret *s, const struct secret_settings *all,
                      const struct secret_ask *a) MUST_CHECK;
/* Puts a new version at the end; what is too old goes. ERR_SECRET_FULL: all of it would be larger
 * than SECRET_RECORD_MAX. */
enum err secret_add(struct secret *s, const struct secret_settings *all,
                    const struct secret_version *v) MUST_CHECK;
/* When a version that is put now is deleted by itself; 0: never. */
int64_t secret_deleted_then(const struct secret *s, const struct secret_settings *all,
                            int64_t now_ms);
/* DELETE, UNDELETE, DESTROY, CONFIGURE. Numbers that are not kept are passed over. */
void secret_change(struct secret *s, const struct secret_ask *a, int64_t now_ms);
