/* kv: the revisioned store. Keys in order, every version of each since the last compaction, in
 * memory.
 *
 * Counting is etcd's (server/storage/mvcc): an empty store stands at revision 1; a write
 * transaction that changes something takes the next revision, and its changes are numbered 0, 1,
 * 2... inside it (sub); one that changes nothing takes none.
 *
 * What is kept. A key holds its versions in order of revision. A deletion is a version too (a
 * tombstone). Every version also stands in the history, a queue in order of revision, from which
 * watchers that are behind are served. Compaction at revision C is at once as far as readers see
 * (older reads answer ERR_COMPACTED) and then frees, in steps that the caller bounds, every
 * version that no read at C or later can see. Freed memory goes back by itself; nothing needs
 * defragmenting.
 *
 * Invariants: versions of a key have rising (mod, sub) and the live ones count 1, 2, 3... since
 * their create revision; the number of live keys under every inner node of the order is exact, so
 * a count costs O(log n); a struct kv_version stays where it is until it is compacted.
 *
 * Pure and deterministic: memory from the given allocator, no clock; the same calls give the same
 * bytes from kv_save and the same kv_hash on every node. Not for more than one thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct kv;
struct kv_key;

/* Compares, then-ops or else-ops of one transaction: etcd's --max-txn-ops. */
enum { KV_OPS_MAX = 128 };

/* How the bytes of a value are to be understood. The etcd door writes KV_BYTES. */
enum kv_type { KV_BYTES, KV_STRING, KV_NUMBER, KV_BOOLEAN, KV_JSON, KV_TYPE_COUNT };

/* One version of one key, owned by the store. Readers look, never write. */
struct kv_version {
    struct kv_key *key;
    int64_t mod_revision;    /* when it was written */
    int64_t create_revision; /* when its key last came to be; 0 on a tombstone */
    int64_t version;         /* 1 at creation, then counting; 0 on a tombstone */
    int64_t lease;           /* 0: none */
    int64_t updated_at_ms;   /* wall clock of the command, since 1970 */
    uint32_t sub;            /* place inside its revision */
    uint32_t value_size;
    uint32_t author; /* see kv_author */
    uint8_t type;    /* enum kv_type */
    bool tombstone;
    uint8_t value[];
};

struct kv *kv_open(struct alloc *alloc);
void kv_close(struct kv *kv);

int64_t kv_revision(const struct kv *kv);         /* newest; 1 when empty */
int64_t kv_compact_revision(const struct kv *kv); /* oldest to be read; -1: all (as etcd says) */
struct span kv_key(const struct kv_version *v);   /* its key's bytes */
struct span kv_value(const struct kv_version *v);
struct span kv_author(const struct kv *kv, const struct kv_version *v); /* "": unknown */

struct kv_stats {
    int64_t keys;        /* live */
    int64_t versions;    /* kept, tombstones too */
    size_t used_bytes;   /* memory of the store: what its allocator handed out */
    size_t live_bytes;   /* keys and values of the newest live versions alone */
    int64_t pending;     /* history entries that compaction has yet to look at */
    bool pinned;         /* by a save or a hashing: compaction waits */
};
void kv_stats(const struct kv *kv, struct kv_stats *out);

/* ---- reading ---- */

enum kv_order { KV_ORDER_NONE, KV_ORDER_ASCEND, KV_ORDER_DESCEND };
enum kv_target { KV_BY_KEY, KV_BY_VERSION, KV_BY_CREATE, KV_BY_MOD, KV_BY_VALUE };

/* etcd's RangeRequest. range_end empty: one key; "\0": from key on; else [key, range_end). */
struct kv_range {
    struct span key, range_end;
    int64_t limit;    /* 0: no limit */
    int64_t revision; /* <= 0: newest */
    int32_t order, target; /* enum kv_order, enum kv_target as the wire sent them: checked here */
    bool keys_only, count_only;
    int64_t min_mod, max_mod, min_create, max_create; /* 0: no filter */
};

struct kv_range_result {
    const struct kv_version **items; /* in the arena; valid until the next compaction step */
    size_t n;
    int64_t count; /* of keys in the range at that revision, whatever limit and filters say */
    bool more;     /* there are more than limit */
    bool keys_only; /* as asked: kv_range fills it in, the door leaves the values out */
};

/* ERR_KEY_EMPTY, ERR_SORT_OPTION, ERR_REVISION_FUTURE, ERR_COMPACTED. order NONE with a target
 * other than the key means ascending, of the first by key up to the limit and one more; with an
 * order or a filter the limit comes last (etcd txn/range.go). A count at the newest revision costs
 * O(log n). */
enum err kv_range(const struct kv *kv, const struct kv_range *r, struct arena *arena,
                  struct kv_range_result *out) MUST_CHECK;

/* Live keys in [key, range_end) now; range_end is a key, not one of etcd's signs. O(log n). */
int64_t kv_count(const struct kv *kv, struct span key, struct span range_end);

/* One page of a walk through [key, range_end) as it was at a revision, in order of key. Costs what
 * it looks at, KV_PAGE_LOOK_MAX keys at most: a page may be empty and yet not the last. */
enum { KV_PAGE_LOOK_MAX = 10000 };
struct kv_page {
    const struct kv_version **items; /* in the arena; at most limit; valid as a range's */
    size_t n;
    struct span next; /* where to go on; in the arena */
    bool over;        /* nothing is left */
};
/* ERR_REVISION_FUTURE, ERR_COMPACTED. revision > 0, limit > 0, key not empty. */
enum err kv_page(const struct kv *kv, struct span key, struct span range_end, int64_t revision,
                 size_t limit, struct arena *arena, struct kv_page *out) MUST_CHECK;
/* What a range of all keys that begin with prefix has as its end; in the arena, or a constant. */
struct span kv_prefix_end(struct span prefix, struct arena *arena);

/* The version of key visible at revision (<= 0: newest), NULL when absent, deleted or compacted. */
const struct kv_version *kv_get(const struct kv *kv, struct span key, int64_t revision);

/* ---- writing: begin, then any number of puts and deletes, then end ---- */

struct kv_put {
    struct span key, value;
    int64_t lease;
    bool prev_kv, ignore_value, ignore_lease;
    uint8_t type; /* enum kv_type */
};
struct kv_put_result {
    const struct kv_version *prev; /* when asked for and there */
};

struct kv_delete {
    struct span key, range_end;
    bool prev_kv;
};
struct kv_delete_result {
    int64_t deleted;
    const struct kv_version **prev; /* in the arena, in key order, when asked for */
    size_t n_prev;
};

enum kv_compare_target { KV_IF_VERSION, KV_IF_CREATE, KV_IF_MOD, KV_IF_VALUE, KV_IF_LEASE };
enum kv_compare_result { KV_IF_EQUAL, KV_IF_GREATER, KV_IF_LESS, KV_IF_NOT_EQUAL };

/* True when every key of [key, range_end) fulfils it. Absent keys count as all zeros, and as false
 * for KV_IF_VALUE (etcd applyCompare). */
struct kv_compare {
    struct span key, range_end;
    int32_t target, result;
    int64_t number;    /* for all but KV_IF_VALUE */
    struct span value;
};

enum kv_op_type { KV_OP_NONE, KV_OP_RANGE, KV_OP_PUT, KV_OP_DELETE, KV_OP_TXN };
struct kv_txn;
struct kv_op {
    enum kv_op_type type; /* NONE: the caller sent an op with nothing in it */
    union {
        struct kv_range range;
        struct kv_put put;
        struct kv_delete del;
        const struct kv_txn *txn;
    };
};
struct kv_txn {
    const struct kv_compare *compares;
    const struct kv_op *success, *failure;
    size_t n_compares, n_success, n_failure;
};

struct kv_txn_result;
struct kv_op_result {
    enum kv_op_type type;
    /* The store's, or the transaction's once it has written; 0 for an inner transaction: etcd's
     * inner headers. */
    int64_t revision;
    union {
        struct kv_range_result range;
        struct kv_put_result put;
        struct kv_delete_result del;
        struct kv_txn_result *txn;
    };
};
struct kv_txn_result {
    bool succeeded;
    struct kv_op_result *ops; /* of the branch taken; in the arena */
    size_t n_ops;
};

/* One change that a transaction made. Watchers see prev: what a read at mod_revision - 1 gives
 * (etcd). replaced is the version just before within the store, also one written earlier in the
 * same transaction: leases hang on it. Either is NULL when there was none or it was a deletion. */
struct kv_change {
    const struct kv_version *now; /* tombstone: a deletion */
    const struct kv_version *prev;
    const struct kv_version *replaced; /* not filled in by kv_history */
};

/* Stamps for all versions written until kv_end. author is interned. One transaction at a time. */
void kv_begin(struct kv *kv, int64_t now_ms, struct span author);

/* ERR_KEY_EMPTY, ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED, ERR_KEY_NOT_FOUND (ignore_* on a missing
 * key). Changes nothing on error. Whether the lease exists is the machine's business. */
enum err kv_put(struct kv *kv, const struct kv_put *put, struct kv_put_result *out) MUST_CHECK;
enum err kv_delete(struct kv *kv, const struct kv_delete *del, struct arena *arena,
                   struct kv_delete_result *out) MUST_CHECK;

/* Evaluates the compares and runs one branch, nested ones too. First everything that could fail in
 * the branches that will be taken is looked at (etcd txn/txn.go checkTxn*), so it applies whole or
 * returns an error with nothing changed: ERR_COMPACTED, ERR_REVISION_FUTURE, ERR_KEY_NOT_FOUND,
 * and ERR_LEASE_NOT_FOUND when lease_known says no. Reads see the writes before them. */
enum err kv_txn(struct kv *kv, const struct kv_txn *txn,
                bool (*lease_known)(void *context, int64_t lease), void *context,
                struct arena *arena, struct kv_txn_result *out) MUST_CHECK;

/* Whether all its compares hold now; of inner transactions nothing is looked at. */
bool kv_compares_hold(const struct kv *kv, const struct kv_txn *txn);

/* What it would write if it ran now: for each key of the branches taken, by how much live keys and
 * the bytes of live keys and values change. Whatever it would fail of is passed over. */
void kv_txn_plan(const struct kv *kv, const struct kv_txn *txn, struct arena *arena,
                 void (*visit)(void *context, struct span key, int64_t keys, int64_t bytes),
                 void *context);

/* Closes the transaction: gives what changed, in order, valid until the next kv_begin or compaction
 * step, and takes the revision if there is any. */
void kv_end(struct kv *kv, const struct kv_change **changes, size_t *n);

/* The checks that need no state, before a request goes to the log (etcd v3rpc/key.go): empty keys,
 * ops with nothing in them, KV_OPS_MAX (nested ones draw on what is left: ops_max - used),
 * duplicate keys of puts and deletes within a branch. ERR_KEY_EMPTY, ERR_KEY_NOT_FOUND,
 * ERR_TOO_MANY_OPS, ERR_KEY_DUPLICATE, ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED, ERR_SORT_OPTION. */
enum err kv_check_range(const struct kv_range *r) MUST_CHECK;
enum err kv_check_put(const struct kv_put *p) MUST_CHECK;
enum err kv_check_delete(const struct kv_delete *d) MUST_CHECK;
enum err kv_check_txn(const struct kv_txn *t, struct arena *arena) MUST_CHECK;
bool kv_txn_writes(const struct kv_txn *t); /* more than ranges: nested ones too, as in etcd */

/* ---- compaction ---- */

/* ERR_COMPACTED when revision <= what is compacted, ERR_REVISION_FUTURE when beyond the newest. */
enum err kv_compact(struct kv *kv, int64_t revision) MUST_CHECK;

/* Looks at up to budget history entries and frees what nobody can see any more. True: more to do.
 * Does nothing (false) while the store is pinned. */
bool kv_compact_step(struct kv *kv, size_t budget);

/* ---- history, for watchers that are behind ---- */

struct kv_cursor {
    int64_t revision; /* next to give: all changes with mod_revision >= this and sub >= ... */
    uint32_t sub;
};

/* Gives the next changes in order, at most max, and moves the cursor past them; 0 at the end. prev
 * is filled when still kept. The cursor must not be before kv_compact_revision. */
size_t kv_history(const struct kv *kv, struct kv_cursor *cursor, struct kv_change *out, size_t max);

/* The same for one key only: costs what that key has, not what the store has. */
size_t kv_history_key(const struct kv *kv, struct span key, struct kv_cursor *cursor,
                      struct kv_change *out, size_t max);

/* The versions of one key at a revision (<= 0: newest) and before it that are kept and a read at
 * the compact revision or later can see, tombstones too, newest first, at most max; valid until the
 * next compaction step. */
size_t kv_versions(const struct kv *kv, struct span key, int64_t revision,
                   const struct kv_version **out, size_t max);

/* ---- checkpoint ---- */

/* A save in steps: pins the store at its newest revision, so that compaction waits (writes do not),
 * and appends, at each step, about budget_bytes of records to out, until it answers false (done).
 * Format: docs/formats/disk.md. */
struct kv_save;
struct kv_save *kv_save_open(struct kv *kv);
bool kv_save_step(struct kv_save *save, size_t budget_bytes, struct buf *out);
void kv_save_close(struct kv_save *save); /* unpins; also to give up half way */

/* Takes what kv_save_step wrote, into an empty store; pieces may be cut anywhere the writer's steps
 * were. ERR_CORRUPT when it cannot have been written by kv_save, ERR_FORMAT when by a newer
 * one; then the store is good for kv_close alone. kv_load_end checks the whole. */
enum err kv_load(struct kv *kv, struct span records) MUST_CHECK;
enum err kv_load_end(struct kv *kv) MUST_CHECK;

/* One record of such bytes, for who reads them without a store. */
struct kv_record {
    uint8_t letter;    /* B A K V T E, as save.c describes them */
    struct span bytes; /* A: name, K: key, V: value */
    int64_t revision, compact;                      /* B */
    uint64_t n_authors, n_keys, n_versions;         /* B; E */
    int64_t mod_revision, create_revision, version; /* V; T: the first alone */
    int64_t lease, updated_at_ms;
    uint32_t sub, author;
    uint8_t type;
};
/* Takes it off the front; spans point into the bytes. That it can be is looked at for each field,
 * not for one beside another. ERR_CORRUPT, ERR_FORMAT. */
enum err kv_record_read(struct span *records, struct kv_record *out) MUST_CHECK;

/* ---- taking over what another store kept, with its revisions ----
 *
 * Into an empty store: begin with what that one had compacted (-1: nothing), every version it kept
 * in order of revision and sub, then end with its revision. What a compaction of its own had yet to
 * remove is left out; of the compact revision itself it may have kept only a part (etcd before
 * 3.5.16 keeps no deletions there).
 *
 * v: letter V or T, with bytes, the revisions, sub, version, lease. ERR_CORRUPT: no store can have
 * kept that; then this one is good for kv_close alone. */
void kv_import_begin(struct kv *kv, int64_t compact);
enum err kv_import(struct kv *kv, struct span key, const struct kv_record *v) MUST_CHECK;
enum err kv_import_end(struct kv *kv, int64_t revision) MUST_CHECK;

/* etcd's HashKV over all that is kept up to revision (<= 0: newest): CRC-32C of "key", then for
 * each version in order of revision the 17- or 18-byte revision key and the protobuf KeyValue
 * (etcd storage/mvcc/hash.go). ERR_COMPACTED, ERR_REVISION_FUTURE. Walks everything. */
enum err kv_hash(struct kv *kv, int64_t revision, uint32_t *out) MUST_CHECK;
/* The same in steps of about budget keys and versions, until one answers false (done). Pins the
 * store as a save does; what is written meanwhile is not hashed. Closing gives the hash, or gives
 * up half way, and unpins. The sort of what is older than the history is one step. */
struct kv_hashing;
enum err kv_hashing_open(struct kv *kv, int64_t revision, struct kv_hashing **out) MUST_CHECK;
bool kv_hashing_step(struct kv_hashing *hashing, size_t budget);
uint32_t kv_hashing_close(struct kv_hashing *hashing);
