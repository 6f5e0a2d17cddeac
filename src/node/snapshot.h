/* snapshot: a checkpoint's file as a backup: read whole, and made into a new data directory. */
#pragma once
#include <stdint.h>
#include "base/err.h"
#include "base/span.h"
#include "core/machine/machine.h"
#include "node/param.h"
#include "node/storage.h"

struct snapshot_info {
    uint64_t cluster, member; /* where it was made */
    uint64_t size_bytes, pieces;
};

/* Reads the file into an empty machine, and checks all of it. why as storage_open's. ERR_NOT_FOUND,
 * ERR_CORRUPT, ERR_FORMAT, ERR_IO; then only machine_close may follow. */
enum err snapshot_read(const char *file, struct machine *m, struct snapshot_info *out,
                       char *why) MUST_CHECK;

/* Whether a data directory can be made there: nothing is, or nothing in it. ERR_BAD_REQUEST,
 * ERR_IO. */
enum err snapshot_must_be_free(const char *dir, char *why) MUST_CHECK;

struct snapshot_restore {
    const char *dir;          /* must not be there yet, or be empty */
    uint64_t cluster, member; /* ids that were never used */
    struct span members;      /* of the new cluster: raft_members_encode */
    uint64_t salt, incarnation;
    uint32_t segment_bytes; /* LOG_SEGMENT_BYTES but in tests */
};

/* Makes the machine's state a data directory with which a member of a new cluster can start: every
 * member from the same file, at the same index. It appears when all of it is on disk.
 * ERR_BAD_REQUEST: dir is not empty; ERR_DISK_FULL, ERR_IO. */
enum err snapshot_restore(struct machine *m, const struct snapshot_restore *o,
                          char *why) MUST_CHECK;

/* The same with parameters of the server; prints what it has made. cluster: where the state comes
 * from, 0: elsewhere; the new ids depend on it and on the state. why as snapshot_read's. */
enum err snapshot_restore_as(struct machine *m, struct params *p, uint64_t cluster,
                             char *why) MUST_CHECK;
