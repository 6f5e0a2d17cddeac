/* reach: brings a user or a role to what it shall be (core/auth, struct auth_goal), one command of
 * the log after the other, and then goes on with the call that wanted it. What another changed at
 * the same time is seen by the next step. Between the steps others see what is half done: less is
 * permitted then, never more. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "core/auth/auth.h"

struct call;
struct reply;

enum { REACH_STEPS_MAX = 1000 }; /* of one goal; it wants fewer unless others work against it */

/* Of a call, in its arena. */
struct reach {
    const struct auth_goal *goal;
    bool by_node; /* the node itself wants it, not who asks */
    unsigned steps;
    void (*done)(struct call *call, enum err e);
};

/* True: it is over, and *e says how: ERR_OK, it is as it shall be; else what the first step was
 * refused with. False: done is called later, with the same; ERR_TOO_MANY_REQUESTS: REACH_STEPS_MAX.
 * The goal and what it points to are the call's. */
bool reach_begin(struct call *call, const struct auth_goal *goal, bool by_node,
                 void (*done)(struct call *call, enum err e), enum err *e);
/* A step of call->reach was applied, or failed. */
void reach_replied(struct call *call, const struct reply *reply);
