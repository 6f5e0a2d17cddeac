/* oidc: callers whom an issuer of OpenID Connect vouches for: bearer tokens at every door, and the
 * login of the page (authorization code with PKCE, RFC 7636).
 *
 * The issuer's documents are fetched on threads of their own (io/fetch), so that a slow one holds
 * up nobody but those who wait for it; they are kept, and asked for again when they are old, or
 * when a token names a key that is not among them: then at most once in --oidc-fetch-gap.
 *
 * Whoever proves to be NAME is the user "oidc:NAME" of core/auth: it is made when it first comes,
 * and before each request that shows a token anew it gets the roles that the token's claims map to
 * and loses the others that claims could give. Roles that were given by hand stay. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/span.h"

struct call;
struct node;
struct oidc;
struct oidc_code;

#define OIDC_USER_PREFIX "oidc:"

enum {
    OIDC_BYTES_MAX = 256 << 10,      /* of one document of the issuer's */
    OIDC_FETCH_MS = 5000,            /* for one request to the issuer */
    OIDC_KEYS_AGE_MS = 3600 * 1000,  /* older keys are asked for again */
    OIDC_KEYS_LAST_MS = 24 * 3600 * 1000, /* they count no longer than this */
    OIDC_WAIT_MAX = 500,   /* calls that wait for keys; more are refused */
    OIDC_CODES_MAX = 200,  /* logins of the page whose code is being exchanged */
    OIDC_CODE_THREADS = 4, /* that do that */
};

/* NULL in n->oidc when no issuer is named. False: why, KEY_WHY_MAX bytes. */
bool oidc_open(struct node *n, char *why);
void oidc_close(struct node *n); /* when all calls are gone */
void oidc_sweep(struct node *n);

/* Whether the token is for the issuer to judge, by its looks. */
bool oidc_takes(const struct node *n, struct span token);
/* As prove of login.c: fills in call->caller, or says ERR_AUTH_TOKEN. may_wait: it may also begin
 * to wait (caller.waits) for keys, or for its user's roles. */
enum err oidc_prove(struct call *call, struct span token, bool may_wait) MUST_CHECK;
bool oidc_fetching(const struct node *n); /* keys are on their way */
void oidc_waits_no_more(struct call *call);

/* ---- the login of the page ---- */

struct oidc_facts {
    struct span issuer, client; /* empty: there is no such login */
    struct span scopes;
};
void oidc_facts(const struct node *n, struct oidc_facts *out);

/* GET /v1/login/oidc: sends the browser to the issuer. */
void oidc_login_start(struct call *call);
/* GET /v1/login/callback: it comes back, with a code that the issuer gives a token for. When that
 * is proven, the call goes on (call_known) with caller.exchanged. */
void oidc_login_back(struct call *call);
/* With the token of its session: the browser is sent to the page. */
void oidc_login_done(struct call *call, struct span token);
void oidc_code_gone(struct oidc_code *c); /* its call is gone */
