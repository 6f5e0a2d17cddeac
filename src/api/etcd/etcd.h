/* etcd: the etcd v3 gRPC door, as pure translation: message -> struct request, struct reply ->
 * message.
 *
 * What the newest etcd API says and what its clients compare (error texts, codes, field by
 * field) is the contract; method paths come from proto/etcd.proto. The table of methods also has
 * those of flagd's doors (proto/flagd.proto, api/flagd), for gRPC is one.
 * Streams and flow are the node's business; this folder knows only what one message means. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/machine/machine.h"
#include "core/watch/watch.h"

enum etcd_kind {
    ETCD_UNARY,        /* one message in, one out */
    ETCD_WATCH,        /* Watch.Watch: watch requests in, watch responses out */
    ETCD_KEEP_ALIVE,   /* Lease.LeaseKeepAlive: one answer a message */
    ETCD_RANGE_STREAM, /* KV.RangeStream: one request, then the range in pieces */
    ETCD_OBSERVE,      /* Election.Observe: one request, then each leader and its values */
    ETCD_HEALTH_WATCH, /* grpc.health.v1.Health/Watch: the status now and at each change */
    ETCD_SNAPSHOT,     /* Maintenance.Snapshot: one message in, a file in parts out */
    ETCD_REFLECTION,   /* grpc.reflection: what there is; one answer a message */
    ETCD_FLAGD,        /* unary, of api/flagd, which says what its messages mean */
    ETCD_FLAGD_STREAM, /* of api/flagd: one request, then what changes */
};

struct etcd_method {
    const char *path;    /* "/etcdserverpb.KV/Range" */
    const char *service; /* "etcdserverpb.KV", for metrics */
    const char *name;    /* "Range" */
    enum etcd_kind kind;
    int number; /* dense, from 0 to etcd_method_count() - 1: for tables of counters */
};

static inline bool etcd_method_of_flagd(const struct etcd_method *m)
{
    return m->kind == ETCD_FLAGD || m->kind == ETCD_FLAGD_STREAM;
}
static inline bool etcd_method_unary(const struct etcd_method *m)
{
    return m->kind == ETCD_UNARY || m->kind == ETCD_FLAGD;
}

/* NULL: no such method in the contract. */
const struct etcd_method *etcd_method_find(struct span path);
const struct etcd_method *etcd_method_at(int number);
int etcd_method_count(void);

/* Who answers; goes into every response header. */
struct etcd_header {
    uint64_t cluster_id, member_id, term;
};

/* One message of a call. Spans of *out point into message and arena. ERR_MESSAGE_MALFORMED for
 * bytes that are not protobuf; etcd's own refusals (empty key...) come from request_check, not
 * from here. A Txn is nested at most ETCD_TXN_DEPTH_MAX deep: ERR_TOO_MANY_OPS beyond. */
enum { ETCD_TXN_DEPTH_MAX = 16 };
enum err etcd_decode(const struct etcd_method *method, struct span message, struct arena *arena,
                     struct request *out) MUST_CHECK;

/* The response message (without the gRPC prefix) of a reply whose err is OK. Temporary memory comes
 * from arena. For KEEP_ALIVE: reply type REQUEST_LEASE_RENEW, TTL 0 says the lease is gone. */
void etcd_encode(const struct etcd_method *method, const struct etcd_header *header,
                 const struct reply *reply, struct arena *arena, struct buf *out);

/* ---- KV.RangeStream ---- */

/* One message of the answer: header, more and count stand in the last one alone, so that all merged
 * are the answer to the same Range (etcd v3_server.go rangeStream). */
struct etcd_range_piece {
    const struct kv_version *const *items;
    size_t n;
    bool keys_only, last, more;
    int64_t count, revision; /* of the last; revision: that all were read at */
};
void etcd_range_piece(const struct etcd_header *header, const struct etcd_range_piece *piece,
                      struct arena *arena, struct buf *out);

/* The answer to one message of an ETCD_REFLECTION. ERR_MESSAGE_MALFORMED. */
enum err etcd_reflect(struct span message, struct arena *arena, struct buf *out) MUST_CHECK;

/* The gRPC status of an error: code and message as etcd's clients expect them. */
int etcd_status(enum err e, const char **text);

/* ---- watch responses; revision goes into the header ---- */

void etcd_watch_created(const struct etcd_header *h, int64_t revision, int64_t id, struct buf *out);

/* compact_revision not 0: the start was compacted. created: the answer to a create that was refused
 * (id -1). reason may be "". */
void etcd_watch_canceled(const struct etcd_header *h, int64_t revision, int64_t id,
                         int64_t compact_revision, bool created, const char *reason,
                         struct buf *out);

void etcd_watch_progress(const struct etcd_header *h, int64_t revision, int64_t id,
                         struct buf *out);

/* What watchers hear alike, encoded once: keep one for all batches of a revision. The first two who
 * hear the same are told in full, what is common is kept in the arena for all others. */
struct etcd_events {
    struct arena *arena;
    const struct kv_change **changes; /* of the newest batch */
    bool prev_kv;
    struct span header, events; /* .data NULL: not kept yet */
};

/* Events [*next, ...) of the batch as one response, moving *next on: all of them, or, when the
 * watcher asked for fragments, as many as fit size_max (at least one), with fragment set on all
 * but the last. Call again while *next < batch->n. Events of one revision are never split
 * without fragment. alike may be NULL; h and revision do not change while one is in use. */
void etcd_watch_events(const struct etcd_header *h, int64_t revision,
                       const struct watch_batch *batch, size_t *next, size_t size_max,
                       struct etcd_events *alike, struct buf *out);

/* Refusals of a create, in etcd's order (v3rpc/watch.go): NULL when fine, else the reason to put
 * into etcd_watch_canceled(created). id_taken: the stream already has this id. */
const char *etcd_watch_refusal(const struct watch_request *w, bool id_taken);
/* The reason when machine_permits says e. */
const char *etcd_watch_denied(enum err e);

/* A part of the database that Maintenance.Snapshot sends; left: how many bytes are behind it. */
void etcd_snapshot(uint64_t left, struct span blob, struct buf *out);
