/* audit: who changed what, as lines of JSON in a file (audit-log): every write that came to this
 * node, when its outcome is known here: from where, by which door, by whom, what it asked, the
 * revision, the keys that it changed. Never a value, a password, a token.
 *
 * Lines are gathered by the loop's thread and written by one of their own; if it does not keep up,
 * or the disk does not take them, they are dropped, and counted. */
#pragma once
#include <stddef.h>
#include "base/err.h"
#include "core/machine/machine.h"
#include "core/secret/secret.h"

struct audit;
struct audit_note; /* one write whose outcome is not known yet */
struct call;
struct node;

enum {
    AUDIT_WAITING_BYTES_MAX = 8 << 20, /* lines not yet written; more are dropped */
    AUDIT_KEYS_MAX = 100,              /* that one line names */
    AUDIT_KEY_BYTES_MAX = 1024,        /* of one of them; longer ones are cut */
    AUDIT_NOBODY_MAX = 100, /* refusals of whom nobody knows that are told of in a second */
};

/* NULL in n->audit when it is not asked for. False: it cannot be opened, and why is in the log. */
bool audit_open(struct node *n);
void audit_close(struct node *n); /* writes what waits */
void audit_turn(struct node *n);

/* NULL: nobody asked for an audit. */
struct audit_note *audit_begin(struct call *call, const struct request *r);
/* Of what the node itself has just proposed (pump_propose), at nobody's request now. */
void audit_own(struct node *n, const struct request *r, const char *door);
/* Gives the note back; NULL is fine. reply: what was applied, and its changes; NULL: e says why
 * not, or that nobody knows (ERR_TIMEOUT, ERR_LEADER_FAILED), or, ERR_OK, that it was asked. */
void audit_end(struct node *n, struct audit_note *note, enum err e, const struct reply *reply,
               const struct kv_change *changes, size_t n_changes);
/* A secret was read, or not (e). */
void audit_secret(struct call *call, const struct secret_ask *a, int64_t version, enum err e);
/* A password of this user's was wrong. */
void audit_login(struct call *call, struct span user, enum err e);
/* The call is refused for e: a line if it was to read a secret and may not. */
void audit_denied(struct call *call, enum err e);
/* Looks for what call->rest->audit asks; the call is answered when it is found. */
void audit_find(struct call *call);
/* Both at once. */
void audit_refused(struct call *call, const struct request *r, enum err e);
