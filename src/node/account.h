/* account: the node's part of service accounts (core/account): proving their keys, and the calls
 * of REST that make and change them. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/span.h"

struct call;
struct node;
struct reply;

bool account_takes(struct span token); /* by its looks */
/* Whether it is a key that counts now. */
bool account_stands(struct node *n, struct span token);
/* As prove of login.c, from the state as it is. */
enum err account_prove(struct call *call, struct span token) MUST_CHECK;

/* A step of a call about accounts has come, and went well. True: it is answered with what is in
 * call->rest->access; else it goes on, or is refused. */
bool account_replied(struct call *call, const struct reply *reply);
