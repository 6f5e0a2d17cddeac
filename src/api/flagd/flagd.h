/* flagd: flagd's gRPC doors, as pure translation: flagd.evaluation.v1 and v2, flagd.sync.v1
 * (proto/flagd.proto). Methods are known by api/etcd's table, of kinds ETCD_FLAGD and
 * ETCD_FLAGD_STREAM.
 *
 * The flag set that flagd's selector names is an environment: the metadata "flagd-selector" as
 * "NAME" or "flagSetId=NAME", else the selector of a sync request, else "x-confman-environment",
 * else "default".
 *
 * Version 1 has no presence: a value that version 2 leaves out is 0 to its clients, who look at
 * variant and reason first. So both get the same bytes.
 *
 * gRPC codes are flagd's: NOT_FOUND for a flag that is not there, INVALID_ARGUMENT for one of
 * another type, DATA_LOSS for a definition that is none, UNKNOWN for a rule that failed. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "api/etcd/etcd.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/flagset/flagset.h"
#include "core/machine/machine.h"
#include "core/watch/watch.h"
#include "wire/http/http.h"

enum {
    FLAGD_MESSAGE_MAX = FLAG_BYTES_MAX + 1024, /* bytes of a request: a context and a name */
    FLAGD_ANSWER_MAX = 4 << 20, /* of ResolveAll's; what clients take unless told otherwise */
};

enum flagd_ask {
    FLAGD_ALL,
    FLAGD_BOOLEAN,
    FLAGD_STRING,
    FLAGD_FLOAT,
    FLAGD_INT,
    FLAGD_OBJECT,
    FLAGD_EVENTS,
    FLAGD_SYNC,
    FLAGD_FETCH,
    FLAGD_METADATA
};

/* One call; lives in the call's arena. */
struct flagd_call {
    enum flagd_ask ask;
    struct span selector; /* of the head */
    struct span environment, name;
    struct fval context;
    struct request request; /* what has to be permitted: a read of the flags, or a watch of them */
    struct request *also;   /* of a stream: n_also watches more, those that are permitted */
    size_t n_also;
    struct span levels[FLAGSET_LEVELS_MAX]; /* environments that are looked through */
    size_t n_levels;
    bool ready;             /* of a stream: it has begun */
    int64_t told;           /* of a sync: the revision that was told last */
    bool over;              /* of a sync: there is too much to tell */
};

/* What the metadata says. */
void flagd_head(const struct http_request *head, struct arena *arena, struct flagd_call *out);

/* The one message of a call. ERR_MESSAGE_MALFORMED, ERR_MESSAGE_TOO_LARGE (also for more values
 * than FLAG_VALUES_MAX), ERR_BAD_REQUEST (a selector that names no environment). */
enum err flagd_decode(const struct etcd_method *method, struct span message, struct arena *arena,
                      struct flagd_call *out) MUST_CHECK;

/* Where its flags stand now, own environment and parents: so what has to be permitted. */
void flagd_look(struct flagd_call *call, struct flagset *set, struct arena *arena);

/* The answer of a unary call: its gRPC code; 0: the message is appended to out. */
int flagd_answer(const struct flagd_call *call, struct flagset *set, int64_t now_ms,
                 struct arena *arena, struct buf *out, const char **text);

/* ---- streams ---- */

void flagd_ready(struct buf *out); /* the first message of an EventStream */
/* Which flags have changed. */
void flagd_events(const struct watch_batch *batch, struct arena *arena, struct buf *out);
/* One message of SyncFlags; document: see flagset_document. */
void flagd_sync(struct span document, struct buf *out);
