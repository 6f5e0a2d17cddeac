/* alarm: which members have raised which alarm, until somebody disarms it.
 *
 * A part of the replicated state (etcd etcdserver/api/v3alarm): the same commands leave the same
 * alarms on every node. What an alarm means is the machine's business (core/machine): NOSPACE
 * refuses what makes the store larger, CORRUPT refuses everything.
 *
 * Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* etcd's AlarmType, on the wire and on disk: for ever. NONE asks for all. */
enum alarm_type { ALARM_NONE, ALARM_NOSPACE, ALARM_CORRUPT, ALARM_TYPES };

enum { ALARMS_MAX = 256 }; /* anybody may raise them in any member's name */

struct alarm {
    uint64_t member;
    enum alarm_type type;
};

/* In order of type, then member. All zero: empty. */
struct alarms {
    struct alarm items[ALARMS_MAX];
    size_t n;
    size_t raised[ALARM_TYPES]; /* how many of each type */
};

/* One that is raised already stays. ERR_OVERLOADED: there are ALARMS_MAX. */
enum err alarm_raise(struct alarms *a, struct alarm which) MUST_CHECK;
bool alarm_drop(struct alarms *a, struct alarm which); /* false: it was not raised */
bool alarm_is(const struct alarms *a, struct alarm which);
bool alarm_any(const struct alarms *a, enum alarm_type type); /* NONE: of any type */
const char *alarm_name(enum alarm_type type);                 /* "NOSPACE" */

/* Checkpoint: u32 count, then u64 member and u8 type each (docs/formats/disk.md). Load into an
 * empty one takes what save wrote, and no more, from the front of in: ERR_CORRUPT. */
void alarm_save(const struct alarms *a, struct buf *out);
enum err alarm_load(struct alarms *a, struct span *in) MUST_CHECK;
