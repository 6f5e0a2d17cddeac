/* export: a checkpoint as etcd's database file, with the checksum behind it that etcdctl and
 * etcdutl look for: what Maintenance.Snapshot sends.
 *
 * A checkpoint has keys in order of their bytes, the file wants versions in order of revision. So
 * the checkpoint is read twice: once whole, noting of each version where it stands (32 bytes);
 * then, in order, each from its place. The file's size is known before its first byte. Values are
 * held one at a time.
 *
 * Everything in bounded steps on one thread at a time, which need not be the core's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/span.h"
#include "node/storage.h"

struct export;

enum { EXPORT_STEP_BYTES = 256 << 10 }; /* about what a step writes; a large value is more */

/* Of the newest checkpoint that is kept: as storage_load_newest. */
enum err export_open(struct storage *s, struct export **out) MUST_CHECK;
void export_close(struct export *x);
uint64_t export_index(const struct export *x); /* of the newest entry in it */

/* A step: *out is what it made, perhaps nothing, valid until the next one. The checksum comes
 * alone. ERR_END: that was all; ERR_CORRUPT, ERR_FORMAT, ERR_IO: what was made is of no use. */
enum err export_step(struct export *x, struct span *out) MUST_CHECK;

/* Bytes of the database that are still to come, without the checksum. Known once something
 * has come. */
uint64_t export_left(const struct export *x);
