/* login_int: what login.c and login_password.c share. */
#pragma once
#include "node/call_int.h"
#include "node/login.h"

/* The password of "Basic ..." said by the call is compared; goes on with login_basic_done.
 * ERR_LOGINS_FULL. */
enum err login_basic(struct call *call, struct span user, struct span password) MUST_CHECK;
void login_basic_done(struct call *call, struct span user, enum err e);
void login_drop(struct login *l); /* its call is gone */
