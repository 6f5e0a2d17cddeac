/* mapped: a file's bytes as memory, for reading what somebody else wrote. */
#pragma once
#include "base/err.h"
#include "base/span.h"

enum { MAPPED_WHY_MAX = 640 };

/* The whole file, locked (flock, shared) as long as it is mapped, so that a program that locks it
 * for writing, as etcd does, is found out. Should it be cut short meanwhile, the process ends.
 * ERR_NOT_FOUND, ERR_LOCKED, ERR_IO; why then has the system's words. */
enum err mapped_open(const char *path, struct span *out, char *why) MUST_CHECK;
void mapped_close(struct span bytes);
