/* etcdfile: etcd's own files: its database, which is also what a snapshot is, and its log.
 *
 * The database (server/storage/schema): bucket "key" has every version under its revision, 8 bytes
 * of main, '_', 8 bytes of sub, big-endian, and 't' behind a deletion; its value is the message
 * mvccpb.KeyValue. "lease" has leasepb.Lease by id. "meta" has what is compacted (scheduled, and
 * finished) and the index of the newest entry that is in it. Users and roles stand in "auth...".
 *
 * Reading takes any bytes. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "core/kv/kv.h"
#include "core/machine/machine.h"
#include "wire/bbolt/bbolt.h"

/* ---- reading a database ---- */

struct etcdfile_info {
    int64_t compact_revision; /* -1: nothing is */
    uint64_t index;           /* of etcd's log: what is in the database; 0: it does not say */
    bool auth;                /* users have to log in */
    uint64_t auth_revision;
    /* known when all is loaded */
    int64_t versions, leases;
    uint64_t leases_missing; /* that keys hang on and the database does not have */
};

struct etcdfile {
    struct etcdfile_info info;
    /* the rest is its own */
    struct bbolt db;
    struct bbolt_cursor cursor;
    struct arena arena;
    struct machine *m;
    int64_t revision;
};

/* The bytes stay where they are until etcdfile_close. m is empty, and gets what the file has.
 * ERR_CORRUPT: it is no etcd database, or damaged; ERR_FORMAT: one newer than we know. Then there
 * is nothing to close. */
enum err etcdfile_open(struct etcdfile *f, struct span file, struct machine *m,
                       struct alloc *alloc) MUST_CHECK;
/* Loads about n versions. ERR_END: all is loaded, and m stands at index 1 of term 1. ERR_CORRUPT;
 * then m is good for machine_close alone. Keys whose lease is missing get one that lasts for ever
 * (LEASE_TTL_MAX_S): in etcd they live on too. */
enum err etcdfile_load(struct etcdfile *f, size_t n) MUST_CHECK;
void etcdfile_close(struct etcdfile *f);

/* ---- writing one: the buckets in the order of their names ---- */

enum { ETCDFILE_REVISION_MAX = 18 };

/* The buckets before "key", and those behind it: all that m has but the store. */
void etcdfile_write_front(struct bbolt_writer *w, const struct machine *m, struct alloc *alloc);
void etcdfile_write_back(struct bbolt_writer *w, const struct machine *m, int64_t compact_revision,
                         struct alloc *alloc);

/* One version: its key there, and its value; v has letter V or T. */
struct span etcdfile_revision(const struct kv_record *v, uint8_t out[ETCDFILE_REVISION_MAX]);
size_t etcdfile_value_size(struct span key, const struct kv_record *v);
void etcdfile_value(struct span key, const struct kv_record *v, struct buf *out);

/* ---- the log: member/wal/NUMBER-INDEX.wal, in order of their names ---- */

struct etcdfile_log {
    uint64_t after;  /* entries of the database end here */
    uint64_t beyond; /* the first one behind it that changes what a database has; 0: none */
    uint64_t last;   /* of all */
};

/* One file of it; a torn end is the end. ERR_CORRUPT: it is no log. */
enum err etcdfile_log(struct etcdfile_log *l, struct span file, struct arena *arena) MUST_CHECK;
