/* secret: the keys of this node that open secrets, and calls that ask for secrets.
 *
 * The seal's keys are read at the start from files and stay in pages of their own; all others are
 * opened anew for every request from the store's boxes (a microsecond each), on the stack, and
 * wiped: so what is rotated holds at once, and nothing else is kept to be lost. A call reads the
 * secret, and, if it writes, puts the changed record behind a compare of what it has read; when
 * that fails, another was quicker, and it tries again. */
#pragma once
#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    SECRET_TRIES_MAX = 8, /* writes of one call that others were quicker than */
};

struct call;
struct node;
struct reply;
struct secret_ask;
struct seal_job;
struct secrets;

/* False: a seal's key cannot be read; it is logged why. */
bool secrets_open(struct node *n);
void secrets_close(struct node *n);
/* The newest version for a reference in a config, in memory of the turn, which who uses it wipes;
 * as the call may read it, and with a line in the audit log. ERR_SECRET_NOT_FOUND, ERR_SEALED, and
 * what who asks is refused with. */
enum err secrets_lend(struct call *call, const struct secret_ask *ask,
                      struct span *data) MUST_CHECK;
/* Where the sealing anew after a rotation stands; only the leader's counts. */
struct rewrap {
    struct buf name, next; /* the namespace that is under way, and the key to go on with */
    size_t found;          /* secrets in it, in this pass, that had to be sealed anew */
    size_t waiting;        /* namespaces and keys of transit that are not done */
};
void seal_turn(struct node *n); /* this node comes to the seal's key, as far as it may by itself */
void seal_sweep(struct node *n);
void seal_gone(struct seal_job *j); /* its call is gone */
/* Appends a line for /health/ready; nothing when secrets are not sealed, or never were used. */
void seal_health(struct node *n, struct buf *out);
bool seal_is_sealed(const struct node *n);     /* there are secrets, which it cannot open */
int seal_transit_status(const struct node *n); /* of its last answer; 0: none */
int64_t seal_token_s(const struct node *n);    /* how long the token lasts yet; -1: not known */
void rewrap_sweep(struct node *n);
void rewrap_close(struct node *n);
/* At a turn's end, when something secret came or went in it: shared buffers are wiped. */
void secrets_turn(struct node *n);
/* What the call waited for has come: of a call with call->rest->secret. */
void secrets_replied(struct call *call, const struct reply *reply);
