/* command: the bytes of a command in the log, read back.
 *
 * The first byte is the command's number, then now_ms, the author, and the body, which is fixed by
 * the number: a new field is a new number. Numbers are varints (negative ones as 64 bits), bytes
 * have their length before them.
 *
 * When the author was proven, COMMAND_PROVEN and the revision of auth stand before all that. */
#pragma once
#include "core/machine/machine.h"

enum {
    COMMAND_PROVEN = 16, /* of the numbers in command.def, but no command */
    COMMAND_DEPTH_MAX = KV_OPS_MAX + 1, /* of nested transactions: each level takes an op */
};

struct command {
    enum command_number number;
    int64_t now_ms;         /* wall clock, when it was proposed */
    struct request request; /* its spans point into the bytes, its arrays into the arena */
};

/* ERR_CORRUPT, ERR_FORMAT: as machine_apply. Takes memory in proportion to the bytes, at most. */
enum err command_decode(struct span bytes, struct arena *arena, struct command *out) MUST_CHECK;
