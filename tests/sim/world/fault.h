/* fault: what goes wrong in a run, chosen by its seed. */
#pragma once
#include "world.h"

void faults_open(void);
void faults_stop(void); /* all is healed, and every node comes back */
void faults_end(void);  /* nobody comes back any more */
