/* process_int: what the files of process share. */
#pragma once
#include "io/process/process.h"

/* In a child whose exec has failed: says why, and ends it, as a shell does, with 127 when there is
 * no such program, else 126. */
_Noreturn void process_missing(const char *name);
