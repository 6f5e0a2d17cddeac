/* vault: the door that speaks Vault's HTTP API (api/vault), on an address of its own.
 *
 * Secrets go the way of those over REST; tokens and AppRoles are keys (core/bearer), written behind
 * compares; transit opens and seals with keys that a root key seals. Each call asks the core first
 * for what says whether it may be asked, then looks at the state as it is, and if it writes, is
 * asked again when that is applied. */
#pragma once
#include <stdbool.h>
#include "api/vault/vault.h"
#include "base/err.h"
#include "base/span.h"

struct call;
struct node;
struct reply;

struct vault_work {
    struct vault_call call;
    bool known; /* what is asked has been read */
    bool wrote; /* the answer waits for a write */
    bool steps; /* then it is looked at once more */
    unsigned tries;
    struct rest_answer answer; /* to give when it is written; or of: */
    struct bearer_token token; /* one that is made; spans in the call's arena */
    struct span text;          /* without its place in the log */
    bool gives_token;
};

/* A whole request that came in at such an address. */
void vault_open(struct call *call, const struct http_request *r);
void vault_known(struct call *call); /* who asks is known */
void vault_replied(struct call *call, const struct reply *reply);
void vault_refuse(struct call *call, enum err e, const char *detail);

/* Whose token this is, if it is one that counts now: for login.c. ERR_AUTH_TOKEN. *index: the place
 * in the log from which on it is known; text as it was shown. */
enum err vault_prove(struct node *n, struct span text, struct span *user,
                     uint64_t *index) MUST_CHECK;
/* Removes tokens that have ended, some at a time, on the leader. */
void vault_sweep(struct node *n);
