/* lease: which leases live, until when, and which keys hang on them.
 *
 * Replicated: id, granted TTL and keys: changed by commands only. Local to the leader: the
 * deadline, in its own monotonic milliseconds; renewals never go through the log. A lease that
 * comes from a checkpoint or the log starts with its full TTL when deadlines begin to count
 * (lease_restart), so it is never early. When a deadline has passed the node proposes a revoke and
 * marks the lease as expiring: a renewal that comes then waits for the revoke and finds the lease
 * gone.
 *
 * Pure: time comes in as an argument. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct lease_table;

enum {
    LEASE_TTL_MIN_S = 2, /* etcd: ceil(1.5 x election timeout) at its defaults */
};
#define LEASE_TTL_MAX_S INT64_C(9000000000) /* etcd lease/lessor.go */

struct lease_table *lease_open(struct alloc *alloc);
void lease_close(struct lease_table *t);

/* ---- commands ---- */

/* id > 0 is chosen before the log. ttl_s below LEASE_TTL_MIN_S was raised before the log.
 * ERR_LEASE_EXISTS, ERR_LEASE_TTL_TOO_LARGE. */
enum err lease_grant(struct lease_table *t, int64_t id, int64_t ttl_s, int64_t now_ms) MUST_CHECK;

/* Takes the lease away and gives the keys that hung on it, sorted, in the arena.
 * ERR_LEASE_NOT_FOUND. */
enum err lease_revoke(struct lease_table *t, int64_t id, struct arena *arena, struct span **keys,
                      size_t *n) MUST_CHECK;

bool lease_known(const struct lease_table *t, int64_t id);

/* Both are quiet about leases that are not there. Key bytes are copied. */
void lease_attach(struct lease_table *t, int64_t id, struct span key);
void lease_detach(struct lease_table *t, int64_t id, struct span key);

/* ---- deadlines ---- */

/* Deadlines begin to count anew, with the full TTL each: at start-up and on becoming leader. */
void lease_restart(struct lease_table *t, int64_t now_ms);

enum lease_renewal { LEASE_RENEWED, LEASE_GONE, LEASE_EXPIRING };

/* RENEWED fills ttl_s (as granted). EXPIRING: a revoke is on its way, ask again after it. */
enum lease_renewal lease_renew(struct lease_table *t, int64_t id, int64_t now_ms, int64_t *ttl_s);

/* The next lease whose deadline has passed and that is not yet expiring; marks it so. 0: none.
 * Never before its deadline. */
int64_t lease_expire(struct lease_table *t, int64_t now_ms);

/* The revoke could not be proposed: it may be found again by lease_expire. */
void lease_expire_failed(struct lease_table *t, int64_t id);

/* When lease_expire will next find something; INT64_MAX when no lease lives. */
int64_t lease_deadline_ms(const struct lease_table *t);

/* ---- reading ---- */

struct lease_info {
    int64_t id, ttl_s;
    int64_t remaining_ms; /* 0 when passed */
    struct span *keys;    /* sorted, in the arena; only when asked for */
    size_t n_keys;
};
/* ERR_LEASE_NOT_FOUND. */
enum err lease_look(const struct lease_table *t, int64_t id, int64_t now_ms, bool with_keys,
                    struct arena *arena, struct lease_info *out) MUST_CHECK;

/* All ids, soonest deadline first, in the arena. */
size_t lease_list(const struct lease_table *t, struct arena *arena, int64_t **ids);
int64_t lease_count(const struct lease_table *t);

/* ---- checkpoint: id and TTL of each, in order of id; keys come back by lease_attach while the
 * store loads ---- */
void lease_save(const struct lease_table *t, struct buf *out);
enum err lease_load(struct lease_table *t, struct span *records, int64_t now_ms) MUST_CHECK;
