/* login_int: what login.c and login_password.c share. */
#pragma once
#include "node/call_int.h"
#include "node/login.h"

/* The password of "Basic ..." said by the call is compared; goes on with login_basic_done.
 * ERR_LOGINS_FULL. */
enum err login_basic(struct call *call, struct span user, struct span password) MUST_CHECK;
void login_basic_done(struct call *call, struct span user, enum err e);
void login_drop(struct login *l); /* its call is gone */

/* For who proves callers otherwise: the connection remembers what was said and found right; what a
 * secret is remembered by (struct logins.seen). */
void login_remember(struct call *call, struct span said, int64_t until_ms);
void login_seen_hash(struct node *n, struct span said, uint8_t out[TOKEN_HASH]);

/* The cookie of that name ("x=") in any of the headers. */
bool login_cookie(const struct http_request *head, const char *name, struct span *value);
/* What a login's code came to: the issuer's token, which proves who the call is from now on; empty:
 * there is none. Goes on with the call. */
void login_exchanged(struct call *call, struct span token);
