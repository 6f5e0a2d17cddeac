/* changing: calls that change several keys as one (rest_change): read, make a transaction of what
 * was read, write it if nothing has changed meanwhile, else begin anew, a bounded number of times.
 */
#pragma once
#include "core/machine/machine.h"

struct call;

enum { CHANGING_TRIES_MAX = 5 };

/* What it asked for has come: at first what it read, then the outcome of a transaction. */
void changing_replied(struct call *call, const struct reply *reply);
