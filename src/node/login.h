/* login: who asks: proven by a token, a password or a certificate. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "core/machine/machine.h"
#include "wire/http/http.h"

struct node;
struct call;

/* Keeps what proves who asks, from the head that begins the call. */
void login_head(struct call *call, const struct http_request *head);

/* Fills in who asks, as it is now; nobody, if nothing proves it or auth is not enabled.
 * ERR_AUTH_TOKEN. */
enum err login_of(struct call *call, struct request *r) MUST_CHECK;

/* Whether a password has to be compared, or made into a hash, before r goes further. Then
 * login_begin takes it, ends the call if it cannot, and goes on with call_propose. */
bool login_wants(const struct request *r);
void login_begin(struct call *call, const struct request *r);

/* A command about auth was applied. */
void login_applied(struct node *n, const struct reply *reply);
