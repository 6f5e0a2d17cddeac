/* operator: changes the membership of a run's cluster. */
#pragma once
#include "world.h"

void operator_open(void);
void operator_close(void);
void operator_stop(void); /* it ends what it has begun */
bool operator_idle(void);
/* Whether a node may come back with an empty disk as the member that it was. */
bool operator_may_wipe(const struct host *h);
