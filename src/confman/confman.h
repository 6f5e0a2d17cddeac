/* confman: libconfman, a client of confman servers: configs, flags, live copies of them.
 *
 * One client holds connections to a cluster and one thread of its own that does all input and
 * output (or none: confman_step). Every function may be called from any thread, but not from
 * on_change where that is said. Calls wait for their answer up to the client's time-out. There is
 * no state outside of clients, no signal handler, and nothing here ends the process: what a server
 * sends is never trusted, and should a bug of this library be met, the client is closed from
 * within and CONFMAN_BUG is answered from then on (live copies keep what they have).
 *
 * After fork() a child must not use its parent's clients: it gets CONFMAN_MISUSE.
 *
 * Ownership: what is given in is copied. What comes out belongs to the caller, to be given back
 * by the function named at its struct. Texts are UTF-8 and end with NUL. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && !defined(CONFMAN_INSIDE)
#define CONFMAN_API __attribute__((visibility("default"), warn_unused_result))
#define CONFMAN_FREE __attribute__((visibility("default")))
#else
#define CONFMAN_API __attribute__((visibility("default")))
#define CONFMAN_FREE CONFMAN_API
#endif

#define CONFMAN_TEXT_MAX 256

/* ---- errors ---- */

enum confman_code {
    CONFMAN_OK = 0,
    CONFMAN_NOT_FOUND = 1,
    CONFMAN_CONFLICT = 2,    /* the condition does not hold: error.version is what is there */
    CONFMAN_DENIED = 3,      /* who asks may not */
    CONFMAN_LOGIN = 4,       /* who asks is not known, or the password or token is wrong */
    CONFMAN_INVALID = 5,     /* the server, or this library, refuses what was asked */
    CONFMAN_BUSY = 6,        /* a limit of the server: try again later; nothing was done */
    CONFMAN_UNAVAILABLE = 7, /* no server answers; nothing was done */
    CONFMAN_UNKNOWN = 8,     /* a write was sent and its answer never came: done or not done */
    CONFMAN_SERVER = 9,      /* the server failed; a write was not done */
    CONFMAN_PROTOCOL = 10,   /* the answer makes no sense */
    CONFMAN_TYPE = 11,       /* it is there, and is of another type */
    CONFMAN_FILE = 12,       /* a file cannot be read or written, or is damaged */
    CONFMAN_NO_MEMORY = 13,
    CONFMAN_MISUSE = 14,     /* not to be called here: in on_change, after fork, with NULL */
    CONFMAN_BUG = 15         /* of this library: the client is closed from within */
};

/* Any function that takes one may be given NULL. */
struct confman_error {
    enum confman_code code;
    int http;                     /* status of the answer; 0: there was none */
    int64_t version;              /* CONFMAN_CONFLICT: of what is there; 0: nothing is */
    char reason[64];              /* the server's stable word for it: "permission_denied" */
    char text[CONFMAN_TEXT_MAX];  /* for people */
};

/* "CONFMAN_CONFLICT"; a constant. */
CONFMAN_API const char *confman_code_name(enum confman_code code);
/* Of the library that is linked: "0.1.0"; a constant. */
CONFMAN_API const char *confman_version(void);

/* ---- a client ---- */

/* Begin with CONFMAN_OPTIONS, then set what is wanted; NULL and 0 take the default. */
struct confman_options {
    size_t size;           /* sizeof(struct confman_options), set by CONFMAN_OPTIONS */
    const char *endpoints; /* "host:port,https://host:port,unix:/path"; 127.0.0.1:2379 */
    const char *ca_file;   /* PEM: whom to trust; makes it TLS. NULL with https: the system's */
    const char *cert_file, *key_file; /* PEM: what to show */
    const char *user, *password;      /* to log in with */
    const char *token;                /* what a login was answered with, or a service's key */
    int64_t timeout_ms;               /* of a call, all tries together: 5000 */
    int insecure_skip_verify;         /* not 0: TLS, but trust any server */
    int stay;                         /* not 0: writes too go to the server that is connected,
                                       * not straight to the leader */
    /* Who this is for /v1/deliveries, as soon as there is a live copy: a service, and which of
     * its processes; up to 128 bytes each. NULL: the program's name; "host/process/number". */
    const char *client, *instance;
    int own_loop; /* not 0: no thread; see confman_step */
};
#define CONFMAN_OPTIONS                                                                            \
    {                                                                                              \
        sizeof(struct confman_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, NULL,  \
            NULL, 0                                                                                \
    }

struct confman;

/* Does not wait for a server: whoever calls first does. CONFMAN_INVALID (an endpoint that is
 * none, a certificate that cannot be read), CONFMAN_NO_MEMORY, CONFMAN_BUG. *out is to be given
 * to confman_close. */
CONFMAN_API enum confman_code confman_open(const struct confman_options *options,
                                           struct confman **out, struct confman_error *error);
/* Waits for the thread's end; calls that still wait get CONFMAN_UNAVAILABLE or CONFMAN_UNKNOWN.
 * Live copies are closed before. NULL is fine. */
CONFMAN_FREE void confman_close(struct confman *c);

/* ---- without a thread: for a program with a loop of its own ---- */

/* A client that was opened with own_loop works when it is called, and only then; one thread calls
 * it. The program waits until confman_fd is readable (poll(2), POLLIN), or confman_timeout_ms have
 * passed, and calls confman_step, which does what there is to do, calls on_change, and does not
 * wait (but to look up the name of a server). Calls that wait do the same meanwhile. -1: the
 * client has a thread, or is closed from within; both are asked for anew before each wait. */
CONFMAN_API int confman_fd(struct confman *c);
CONFMAN_API int confman_timeout_ms(struct confman *c);
/* CONFMAN_MISUSE, CONFMAN_BUG. */
CONFMAN_API enum confman_code confman_step(struct confman *c, struct confman_error *error);

/* Another token from now on, such as a new one of an issuer's; what is under way has the old one.
 * CONFMAN_INVALID: it has characters that no token has. */
CONFMAN_API enum confman_code confman_token(struct confman *c, const char *token,
                                            struct confman_error *error);

/* ---- configs ---- */

enum confman_type {
    CONFMAN_STRING = 0,
    CONFMAN_NUMBER = 1,
    CONFMAN_BOOLEAN = 2,
    CONFMAN_JSON = 3,
    CONFMAN_BYTES = 4
};

/* One config; to be given to confman_config_free. */
struct confman_config {
    const char *key;
    const char *value;  /* a string or the bytes as they are, everything else as JSON text */
    size_t value_size;  /* bytes; a NUL stands behind them */
    enum confman_type type;
    double number;      /* of CONFMAN_NUMBER */
    int truth;          /* of CONFMAN_BOOLEAN */
    int64_t version, revision;
    const char *environment; /* where it stands: a parent's, when it is inherited */
    const char *updated_at;  /* "2026-11-21T05:44:16.578Z" */
    const char *updated_by;
};
CONFMAN_FREE void confman_config_free(struct confman_config *config);

/* Several, in order of their keys, as they were at one revision; for confman_list_free. */
struct confman_list {
    size_t count;
    const struct confman_config *const *configs;
    int64_t revision;
};
CONFMAN_FREE void confman_list_free(struct confman_list *list);

/* environment NULL is "default". Reads are repeated at another server when one fails. A config
 * that the environment does not have is its parent's. CONFMAN_NOT_FOUND. */
CONFMAN_API enum confman_code confman_get(struct confman *c, const char *environment,
                                          const char *key, struct confman_config **out,
                                          struct confman_error *error);
/* All whose key begins with prefix; NULL: all. */
CONFMAN_API enum confman_code confman_list(struct confman *c, const char *environment,
                                           const char *prefix, struct confman_list **out,
                                           struct confman_error *error);

/* What must hold for a write: a version that was seen; or one of these. */
#define CONFMAN_ANY (-1)    /* whatever is there; tried once: see CONFMAN_UNKNOWN */
#define CONFMAN_ABSENT 0    /* nothing is */
#define CONFMAN_PRESENT (-2) /* something is; tried once */

/* value is of value_size bytes: the string or bytes as they are, everything else as JSON text.
 * if_version: a version, or one of the above. With a version or CONFMAN_ABSENT the write is
 * repeated when its answer does not come, for it can only happen once; it is well when the config
 * then is what was asked for. *version (may be NULL) is the new one. CONFMAN_CONFLICT,
 * CONFMAN_UNKNOWN. */
CONFMAN_API enum confman_code confman_put(struct confman *c, const char *environment,
                                          const char *key, enum confman_type type,
                                          const char *value, size_t value_size,
                                          int64_t if_version, int64_t *version,
                                          struct confman_error *error);
/* Likewise. CONFMAN_NOT_FOUND, CONFMAN_CONFLICT, CONFMAN_UNKNOWN. */
CONFMAN_API enum confman_code confman_delete(struct confman *c, const char *environment,
                                             const char *key, int64_t if_version,
                                             struct confman_error *error);

/* Any request of the REST door. Whether it may be repeated: repeat not 0. The answer, of any
 * status below 300, is for confman_answer_free. */
struct confman_answer {
    int http;
    const char *body; /* a NUL stands behind it */
    size_t body_size;
};
CONFMAN_API enum confman_code confman_request(struct confman *c, const char *method,
                                              const char *path, const char *body,
                                              size_t body_size, int repeat,
                                              struct confman_answer **out,
                                              struct confman_error *error);
CONFMAN_FREE void confman_answer_free(struct confman_answer *answer);

/* ---- live copies ---- */

/* A live copy holds the configs below a prefix of one environment, inherited ones too, and the
 * environment's flags if wanted, always as they were at one revision. All copies of a client hang
 * on one stream of one connection. Reading one never waits and needs no server. */
struct confman_copy;

struct confman_copy_options {
    size_t size;             /* by CONFMAN_COPY_OPTIONS */
    const char *environment; /* "default" */
    const char *prefix;      /* NULL: all */
    int configs;             /* not 0: configs are wanted */
    int flags;               /* not 0: flags are wanted */
    /* The last known good: a file that is written, at most once a second, when something has
     * changed, and read by confman_copy_open, so that a program may start while no server
     * answers. Whole or not at all, with a checksum, its owner's alone to read. Secrets are never
     * in it. NULL: none. */
    const char *cache_file;
    /* Called on the client's thread after each change: must not wait, nor call but what reads the
     * copy. */
    void (*on_change)(void *context, struct confman_copy *copy);
    void *context;
    /* Not 0: references in configs are resolved. Each change below the environment or its parents
     * then reads all anew; a change of what is referred to elsewhere, or of a secret, is seen with
     * the next one. What has a secret in it is not written to the file. */
    int resolve;
    /* Not 0: the program says by confman_report what it runs. 0: what the copy has counts as run
     * when on_change has returned, unless confman_report was called in it. */
    int reports;
};
#define CONFMAN_COPY_OPTIONS                                                                       \
    {                                                                                              \
        sizeof(struct confman_copy_options), NULL, NULL, 1, 0, NULL, NULL, NULL, 0, 0              \
    }

enum confman_state {
    CONFMAN_EMPTY = 0, /* nothing is known yet */
    CONFMAN_STALE = 1, /* of the cache file, or no server answers just now */
    CONFMAN_LIVE = 2   /* kept current by a server */
};

/* Does not wait. With a cache file that is whole the copy is CONFMAN_STALE at once; one that is
 * damaged, or of another environment or prefix, is passed over, and error (code CONFMAN_FILE)
 * says so though CONFMAN_OK is answered. */
CONFMAN_API enum confman_code confman_copy_open(struct confman *c,
                                                const struct confman_copy_options *options,
                                                struct confman_copy **out,
                                                struct confman_error *error);
/* Must not be called in on_change, which is not called any more when this has returned. NULL is
 * fine. */
CONFMAN_FREE void confman_copy_close(struct confman_copy *copy);

/* Waits until the copy is of that state or better. CONFMAN_UNAVAILABLE, or what the server
 * refuses: not in time. */
CONFMAN_API enum confman_code confman_copy_wait(struct confman_copy *copy,
                                                enum confman_state state, int64_t timeout_ms,
                                                struct confman_error *error);
CONFMAN_API enum confman_state confman_copy_state(struct confman_copy *copy);
/* Grows with each change that was taken in. */
CONFMAN_API int64_t confman_copy_changes(struct confman_copy *copy);
CONFMAN_API int64_t confman_copy_revision(struct confman_copy *copy);
/* Tells the servers what this program runs (/v1/deliveries): what the copy had at that revision,
 * or, with a problem (a sentence; beyond 512 bytes it is cut), that it could not use it and runs
 * what it ran before. Does not wait; told again after a broken connection. On any thread, also in
 * on_change. CONFMAN_MISUSE (no copy, no revision), CONFMAN_INVALID: an empty text, or no UTF-8. */
CONFMAN_API enum confman_code confman_report(struct confman_copy *copy, int64_t revision,
                                             const char *problem);
/* For poll(2) and its like: readable after a change or a change of state, until it is read (8
 * bytes, eventfd(2)). It is the copy's: do not close it. */
CONFMAN_API int confman_copy_fd(struct confman_copy *copy);

/* The same as confman_get and confman_list of the copy. CONFMAN_NOT_FOUND; CONFMAN_UNAVAILABLE:
 * the copy is CONFMAN_EMPTY. */
CONFMAN_API enum confman_code confman_copy_get(struct confman_copy *copy, const char *key,
                                               struct confman_config **out);
CONFMAN_API enum confman_code confman_copy_list(struct confman_copy *copy, const char *prefix,
                                                struct confman_list **out);

/* ---- flags, evaluated here ---- */

/* What is known of who asks; "targetingKey" is the one that splits go by. */
struct confman_attribute {
    const char *name;
    enum confman_type type; /* STRING: text; NUMBER: number; BOOLEAN: truth; JSON: text */
    const char *text;
    double number;
    int truth;
};

/* Why. */
struct confman_detail {
    char variant[64];
    char reason[24]; /* STATIC, DEFAULT, TARGETING_MATCH, SPLIT, DISABLED, ERROR */
    char error[32];  /* "", or OpenFeature's word: FLAG_NOT_FOUND, TYPE_MISMATCH... */
};

/* Each puts the flag's value into *out, or leaves there what the caller has put (its own default)
 * when the flag is disabled, missing (CONFMAN_NOT_FOUND), of another type (CONFMAN_TYPE), failed
 * (CONFMAN_INVALID), or the copy has no flags yet (CONFMAN_UNAVAILABLE). detail may be NULL. */
CONFMAN_API enum confman_code confman_flag_boolean(struct confman_copy *copy, const char *name,
                                                   const struct confman_attribute *attributes,
                                                   size_t count, int *out,
                                                   struct confman_detail *detail);
CONFMAN_API enum confman_code confman_flag_number(struct confman_copy *copy, const char *name,
                                                  const struct confman_attribute *attributes,
                                                  size_t count, double *out,
                                                  struct confman_detail *detail);
/* A string, or any other value as JSON text, of at most out_size bytes with its NUL;
 * CONFMAN_INVALID: it does not fit. */
CONFMAN_API enum confman_code confman_flag_string(struct confman_copy *copy, const char *name,
                                                  const struct confman_attribute *attributes,
                                                  size_t count, char *out, size_t out_size,
                                                  struct confman_detail *detail);
CONFMAN_API enum confman_code confman_flag_json(struct confman_copy *copy, const char *name,
                                                const struct confman_attribute *attributes,
                                                size_t count, char *out, size_t out_size,
                                                struct confman_detail *detail);

#ifdef __cplusplus
}
#endif
