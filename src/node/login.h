/* login: who asks: proven by a token, a password or a certificate.
 *
 * A token or password that was found right is remembered for a while (node/token), and by the
 * connection that showed it last, so that proving it again costs a comparison of bytes. What was
 * remembered counts no more once users or roles have changed, but for simple tokens, which end
 * with their user, its password or authentication itself (etcd server/auth/store.go).
 *
 * bcrypt and the signing of tokens run on threads of their own, started when first asked for, with
 * a bounded queue before them. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/vec.h"
#include "core/machine/machine.h"
#include "io/key/key.h"
#include "node/token.h"
#include "node/tries.h"
#include "wire/http/http.h"

struct node;
struct conn;
struct call;
struct login; /* one password at work */
struct login_thread;

enum {
    LOGIN_QUEUE_MAX = 1000, /* passwords that wait for a thread; more are refused */
    LOGIN_WAIT_MAX = 1000,  /* calls whose token another node has seen, and this one not yet */
    LOGIN_THREADS_MAX = 64,
    LOGIN_TRIES = 5,       /* of one password, while users and roles change meanwhile */
    LOGIN_TRUST_MS = 1000, /* a connection's last proof is looked at again after this long */
    LOGIN_SEEN_MS = 60000, /* a password or signed token that was right is not checked again */
};

/* Of the node. */
struct logins {
    struct tokens simple; /* by SHA-256 of their letters; number: their index */
    struct tokens seen;   /* passwords and signed tokens; number: the revision of auth */
    struct tries tries;   /* passwords that were wrong */
    uint8_t salt[32];     /* before what seen hashes: what is in memory is of no use elsewhere */
    uint64_t generation;  /* rises with every change of auth */
    struct key *key;      /* NULL: simple tokens */
    int64_t ttl_ms;       /* of a token */
    int64_t looked_ms;    /* when streams were last looked at, */
    int64_t look_us;      /* from when on they may be again, */
    bool look;            /* and that it is due */
    struct span changed;  /* while streams are judged: whose password has changed */
    VEC(struct call *) waiting;
    struct login *first, **last; /* the queue */
    struct login_thread *threads;
    size_t n_threads, queued;
};

/* Of a connection: what was shown last, and found right. */
struct proven {
    struct buf said;
    struct identity *who;
    uint64_t revision, generation;
    int64_t until_ms;
};

/* Of a call. */
struct caller {
    struct identity *who; /* held; NULL: nobody is proven */
    uint64_t revision;    /* that a signed token says; 0: it is as of now */
    enum err err;         /* what was said proves nothing */
    bool basic;           /* a password was said, else a token */
    bool certificate;     /* counts here */
    bool waits;           /* it is not known yet */
    bool lost;            /* of a stream: login_lost */
    struct span said;     /* in the call's arena; kept where it may be looked at again */
    uint64_t index;       /* waits: until this is applied, */
    int64_t until_ms;     /* but no longer; 0: for a password */
    struct login *login;  /* waits for it */
    bool for_keys;        /* waits for the issuer's keys (node/oidc) */
    bool has_waited;      /* for them, once */
    bool exchanged;       /* who is not proven by the head, but by a login's code */
    struct span nonce;    /* that login's; empty: there is none */
    struct oidc_proof *proof;
    struct oidc_code *code; /* waits for it */
};

/* From the parameters. False: why, KEY_WHY_MAX bytes. */
bool login_open(struct node *n, char *why);
void login_close(struct node *n); /* when all calls are gone */

/* Keeps what proves who asks, from the head that begins the call. Afterwards login_waits may hold:
 * then what comes is to be kept until call_known. */
void login_head(struct call *call, const struct http_request *head);
bool login_waits(const struct call *call);

/* What nobody has proven to have sent is not even read where it is larger than this: reading JSON
 * costs a hundred times what sending it does. */
enum { LOGIN_UNPROVEN_BYTES_MAX = 64 << 10 };
/* Of so many bytes, when login_waits does not hold. ERR_USER_EMPTY, ERR_AUTH_TOKEN,
 * ERR_AUTH_FAILED. */
enum err login_may_send(const struct call *call, size_t bytes) MUST_CHECK;

/* Of a stream that user has begun: whether what it showed at its head counts no more: a key or a
 * token of Vault's clients that was taken or has ended, any token that was logged out, a password
 * that was changed, and with it the tokens that it was good for. Then it stays so. */
bool login_lost(struct call *call, struct span user);
/* Ends the streams that count no more when such keys or tokens are among what was changed: at once,
 * or, where there are so many streams that it takes long, with the next sweep. */
void login_changed(struct node *n, const struct kv_change *changes, size_t count);

/* The token that the call has shown stands for nobody any more: here at once, and on all members
 * when the call hears of it. False: it has shown none that proves anything, or there is no need. */
bool login_end(struct call *call);

/* Fills in who asks, as it is now; nobody, if nothing proves it. ERR_AUTH_TOKEN, ERR_AUTH_FAILED:
 * what was said proves nothing. */
enum err login_of(struct call *call, struct request *r) MUST_CHECK;

/* Whether a password has to be compared, or made into a hash, before r goes further. Then
 * login_begin takes it, ends the call if it cannot, and goes on with call_propose. */
bool login_wants(const struct request *r);
void login_begin(struct call *call, const struct request *r);
void login_read(struct call *call); /* the read index that it wanted has come */
/* Proven without a password: the call gets a token for the user, as a reply to AUTHENTICATE.
 * ERR_AUTH_NOT_ENABLED, ERR_AUTH_VERIFY_ONLY, ERR_LOGINS_FULL. */
enum err login_session(struct call *call, struct span user) MUST_CHECK;
/* The reply to what it proposed: *out has the token. False: the password is compared again. */
bool login_replied(struct call *call, const struct reply *reply, struct reply *out);

/* A command about auth was applied. */
void login_applied(struct node *n, const struct reply *reply);
void login_forget(struct node *n); /* the state is another one */
void login_turn(struct node *n);   /* more is applied: tokens that waited may be known */
void login_sweep(struct node *n);

/* The end of a call's part in all this; forget: of its memory. */
void login_gone(struct call *call);
void login_conn_close(struct conn *c);
