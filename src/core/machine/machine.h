/* machine: the one state machine: commands from the log in; state, replies and changes out.
 *
 * Doors and the core meet only here: a door makes a struct request; the node turns those that write
 * into a command in the log (machine_command: time, lease ids and the author are stamped there,
 * before the log, so that applying is deterministic) and answers the others from machine_read; the
 * door makes bytes of the struct reply. Watches hear of the changes that an apply returns.
 *
 * Command numbers are in command.def and are for ever. Applying the same commands to the same state
 * gives the same state on every node: the digest says so.
 *
 * Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/alarm/alarm.h"
#include "core/auth/auth.h"
#include "core/kv/kv.h"
#include "core/lease/lease.h"
#include "core/limit/limit.h"

/* The level is what may stand in the log and in checkpoints: which commands, rules and formats. A
 * build knows all up to MACHINE_LEVEL; in force is what every member of the cluster knows, and it
 * only rises (LEVEL, proposed by the leader: node/level.c). So a member of an older release never
 * meets what it does not know, and one that comes too late says so instead of guessing. The number
 * is the version of the peer protocol that came with it: a release has one for both. Only tests
 * build others (make DEFINES=...). */
#ifndef MACHINE_LEVEL
#define MACHINE_LEVEL 4
#endif
enum {
    MACHINE_LEVEL_FIRST = 3, /* of a state that tells none: before there were levels */
    MACHINE_LEVEL_TOLD = 4,  /* checkpoints tell it from here on */
    MACHINE_LEVEL_REVOKED = 4, /* who may say which tokens were ended: root alone */
    MACHINE_LEVEL_TRANSIT = 4, /* another server may seal: older members would stay sealed */
    MACHINE_LEVEL_VERBS = 4, /* put, delete, propose and publish are rights of their own */
};
_Static_assert(MACHINE_LEVEL_FIRST <= MACHINE_LEVEL && MACHINE_LEVEL <= 255, "a byte");

struct machine {
    struct kv *kv;
    struct lease_table *lease;
    struct auth *auth;
    struct alarms alarms;
    struct limit_table *limit;
    uint64_t applied_index, applied_term;
    uint8_t level;   /* in force */
    uint32_t digest; /* rolling over all commands applied and what they answered, and members */
    struct buf members; /* machine_members_now */
    struct alloc *alloc;
    struct machine_loading {
        uint64_t pieces, size_bytes; /* so far */
        uint32_t format, crc;
        uint8_t kind; /* of the piece before */
        int64_t revision;
    } loading; /* machine_load's own */
};

/* ---- requests: what any door can ask ---- */

enum request_type {
    REQUEST_NONE,
    /* answered from state: machine_read */
    REQUEST_RANGE,
    REQUEST_LEASE_LOOK,
    REQUEST_LEASE_LIST,
    REQUEST_HASH,
    REQUEST_AUTH_STATUS,
    REQUEST_USER_GET,
    REQUEST_USER_LIST,
    REQUEST_ROLE_GET,
    REQUEST_ROLE_LIST,
    REQUEST_HASH_ALL, /* etcd's Hash: of everything that is replicated, not of the keys alone */
    REQUEST_ALARM_LIST,
    REQUEST_LIMIT_LIST,
    /* through the log: machine_command, machine_apply */
    REQUEST_PUT,
    REQUEST_DELETE,
    REQUEST_TXN,
    REQUEST_COMPACT,
    REQUEST_LEASE_GRANT,
    REQUEST_LEASE_REVOKE,
    REQUEST_LEASE_NOTE, /* the leader's own, as EXPIRE: no door makes them */
    REQUEST_LEASE_EXPIRE,
    REQUEST_AUTH_ENABLE,
    REQUEST_AUTH_DISABLE,
    REQUEST_USER_ADD,
    REQUEST_USER_DELETE,
    REQUEST_USER_PASSWORD,
    REQUEST_USER_GRANT,
    REQUEST_USER_REVOKE,
    REQUEST_ROLE_ADD,
    REQUEST_ROLE_DELETE,
    REQUEST_ROLE_GRANT,
    REQUEST_ROLE_REVOKE,
    REQUEST_AUTHENTICATE,
    REQUEST_ALARM,
    REQUEST_LIMIT_SET,
    REQUEST_LIMIT_DELETE,
    REQUEST_LEVEL, /* the leader's own */
    /* answered by the node itself */
    REQUEST_LEASE_RENEW,
    REQUEST_WATCH_ADD,
    REQUEST_WATCH_REMOVE,
    REQUEST_WATCH_PROGRESS,
    REQUEST_STATUS,
    REQUEST_MEMBERS,
    REQUEST_HEALTH,
    REQUEST_SNAPSHOT,
    REQUEST_MEMBER_ADD,
    REQUEST_MEMBER_REMOVE,
    REQUEST_MEMBER_UPDATE,
    REQUEST_MEMBER_PROMOTE,
    REQUEST_MOVE_LEADER,
    REQUEST_DEFRAGMENT,
    REQUEST_DOWNGRADE,
    REQUEST_LOCK, /* these are made of others, which are asked for one by one */
    REQUEST_UNLOCK,
    REQUEST_CAMPAIGN,
    REQUEST_PROCLAIM,
    REQUEST_RESIGN,
    REQUEST_LEADER,
    REQUEST_OBSERVE,
    REQUEST_TYPE_COUNT
};

struct watch_request {
    struct span key, range_end;
    int64_t start_revision, id;
    bool prev_kv, no_put, no_delete, progress, fragment;
};

/* Of users, roles and logins; what a request does not ask for is empty. */
struct auth_request {
    struct span user, role;
    struct span password; /* as it came: the node makes a hash of it, it never goes further */
    struct span hash;     /* USER_ADD, USER_PASSWORD */
    bool no_password;
    bool has_permission; /* ROLE_GRANT: else it is not given; ROLE_REVOKE has the range alone */
    struct auth_permission permission;
    /* AUTHENTICATE: SHA-256 of the token that stands for user from now on, and the revision of auth
     * at which its password was compared. */
    struct span token_hash;
    uint64_t checked_revision;
};

enum { AUTH_TOKEN_HASH_BYTES = 32 };

/* The node itself asks: nothing is refused to it. */
#define REQUEST_BY_NODE UINT64_MAX

/* Spans point into the request's memory (message or arena). */
struct request {
    enum request_type type;
    bool serializable; /* reads: the node's own state will do, no read index */
    struct span author; /* who asks; "" unknown */
    /* author was proven to be, as of this revision of auth; 0: it was not; REQUEST_BY_NODE */
    uint64_t auth_revision;
    /* A client wrote it as it is, no door made it: the verb publish lends it nothing. */
    bool plain;
    union {
        struct kv_range range;
        struct kv_put put;
        struct kv_delete del;
        struct kv_txn txn; /* read-only ones are reads: request_writes tells */
        struct {
            int64_t revision;
            bool physical; /* answer only when the memory is freed */
        } compact;
        struct {
            int64_t id, ttl_s; /* grant: id 0 lets the node choose */
            bool keys;         /* look: with keys */
        } lease; /* GRANT, REVOKE, LOOK, RENEW */
        struct {
            const struct lease_note *items;
            size_t n;
            uint64_t as_of; /* applied_index when they were made: lease_known_as_of */
        } notes;
        struct {
            int64_t id;
            uint64_t as_of;
        } expire;
        uint8_t level;           /* LEVEL */
        struct limit_rule limit; /* LIMIT_SET; LIMIT_DELETE: kind and name alone */
        int64_t hash_revision;
        struct {
            struct alarm which; /* LIST: only the type counts, NONE is all */
            bool drop;          /* else it is raised */
        } alarm;                /* ALARM, ALARM_LIST */
        struct {
            struct span version;
            bool cancel; /* else validate or enable, which say the same */
        } downgrade;
        struct {
            struct span name, key, value;
            int64_t lease, revision; /* revision: that key was created at */
            bool has_leader;         /* PROCLAIM, RESIGN: somebody is named */
        } election;                  /* LOCK to OBSERVE */
        struct watch_request watch;
        int64_t watch_id; /* WATCH_REMOVE */
        struct auth_request auth;
        struct span health_service;
        struct {
            uint64_t id;
            struct span name, peer_url;
            bool learner;
        } member; /* MEMBER_..., MOVE_LEADER: to id */
    };
};

/* Whether it changes users, roles, or who is logged in. */
bool request_of_auth(enum request_type type);

/* Whether it goes through the log: puts, deletes, transactions that have one of them, and so on. */
bool request_writes(const struct request *r);

/* The level that must be in force before its command may be written. */
unsigned request_since(const struct request *r);

/* As its command is called; NULL: it has none. */
const char *request_name(enum request_type type);

/* The checks that need no state (etcd v3rpc/key.go, lease limits): before the log or a read. */
enum err request_check(const struct request *r, struct arena *arena) MUST_CHECK;

/* Whether who asks may do so: everybody, all of it, when auth is not enabled. Also asked by
 * machine_read, and by machine_apply once more. ERR_USER_EMPTY (nobody is proven to ask),
 * ERR_PERMISSION_DENIED, ERR_AUTH_OLD_REVISION, ERR_USER_NOT_FOUND. */
struct machine;
enum err machine_permits(const struct machine *m, const struct request *r) MUST_CHECK;
/* Whether the quotas leave room for a transaction as the state is now: ERR_QUOTA_EXCEEDED. */
enum err machine_would(const struct machine *m, const struct request *r,
                       struct arena *arena) MUST_CHECK;

/* Whether it is of the form that publishes a draft: guarded by the draft's record, it puts its
 * state. Only the door knows that it writes what the draft says, so what the verb publish lends is
 * refused where a client wrote the transaction itself (plain). */
bool machine_publishes(const struct request *r);

/* What etcd's quota counts for it (storage/quota.go): a put's bytes and something for each put and
 * grant; 0: it makes nothing larger. */
int64_t request_cost(const struct request *r);

/* What an alarm refuses (etcd apply/corrupt.go, capped.go). ERR_CORRUPT_CLUSTER: CORRUPT, and it
 * reads or writes what may be wrong; ERR_NOSPACE: NOSPACE, and it costs. machine_apply and
 * machine_read ask it, so that all nodes refuse the same. */
enum err request_barred(const struct alarms *alarms, const struct request *r) MUST_CHECK;

/* ---- replies ---- */

enum health { HEALTH_SERVING = 1, HEALTH_NOT_SERVING, HEALTH_NO_SERVICE }; /* as grpc.health.v1 */

struct reply {
    enum request_type type;
    enum err err;     /* not OK: nothing below but revision is set */
    int64_t revision; /* of the store, for the header: after the write, or at the read */
    union {
        struct kv_range_result range;
        struct kv_put_result put;
        struct kv_delete_result del;
        struct kv_txn_result txn;
        struct {
            int64_t id, ttl_s;
        } lease; /* GRANT; RENEW */
        struct {
            struct lease_info info;
            bool found; /* not there is an answer (TTL -1), not an error */
        } look;
        struct {
            int64_t *ids;
            size_t n;
        } list;
        const struct limit_table *limits; /* LIST */
        struct {
            uint32_t hash;
            int64_t compact_revision, hash_revision;
        } hash; /* HASH; of HASH_ALL only the hash */
        struct {
            const struct alarm *items;
            size_t n;
        } alarms; /* LIST: those asked for; ALARM: the one that was raised or disarmed, or none */
        struct {
            struct span name, key;
            int64_t revision, lease;
        } leader;                         /* LOCK: the key alone; CAMPAIGN */
        const struct kv_version *leading; /* LEADER, OBSERVE */
        struct {
            const char *version;
            int64_t size_bytes, size_in_use_bytes, quota_bytes;
            uint64_t leader, index, term, applied_index;
            bool nospace, learner; /* nospace: this member's disk or memory is full */
            const struct alarms *alarms;
        } status;
        struct {
            const struct member_info *items;
            size_t n;
            uint64_t id; /* MEMBER_...: whom it was about */
            uint64_t cluster, self, leader, term, last_index, commit_index, applied_index, level;
        } members;
        struct {
            bool enabled;
            uint64_t revision;
        } auth; /* AUTH_STATUS */
        struct auth_names names; /* USER_GET: roles; USER_LIST, ROLE_LIST */
        struct auth_permissions permissions; /* ROLE_GET */
        struct {
            struct span user; /* USER_DELETE, USER_PASSWORD, AUTHENTICATE */
            struct span token_hash;
            int64_t made_ms; /* AUTHENTICATE: when it was proposed */
            struct span token; /* the node's to fill in: the command does not have it */
        } login;
        enum health health; /* err NOT_FOUND: unknown service */
    };
};

struct member_info {
    uint64_t id;
    struct span name;
    struct span peer_url, client_url;
    bool learner;
    bool connected;       /* this node is, to it */
    unsigned version;     /* of the peer protocol, spoken with it; 0: not connected */
    bool tracked;         /* this node leads, and knows: */
    uint64_t match_index; /* on its disk is everything up to here */
    int64_t heard_ms_ago;
};

/* ---- life ---- */

void machine_open(struct machine *m, struct alloc *alloc);
void machine_close(struct machine *m);
/* Empty again, as machine_open leaves it, so that a checkpoint can be loaded: nothing of the state
 * that was may be used any more (kv, lease, a machine_save). */
void machine_reset(struct machine *m);

/* ---- commands ---- */

enum command_number {
#define COMMAND(number, NAME, name, since, text) COMMAND_##NAME = number,
#include "core/machine/command.def"
#undef COMMAND
};

/* Appends the log's bytes of a request that writes. lease_id is used where a grant lets us choose
 * (positive, drawn by the node); TTLs are raised to LEASE_TTL_MIN_S here. */
void machine_command(const struct request *r, int64_t now_ms, int64_t lease_id, struct buf *out);

/* What a command asks, when another member has made its bytes; spans point into them, arrays stand
 * in the arena. ERR_CORRUPT, ERR_FORMAT: it must not come into the log. */
enum err machine_command_read(struct span command, struct arena *arena,
                              struct request *out) MUST_CHECK;

/* The same question of a command's bytes; false for those that cannot be read. */
bool machine_command_of_auth(struct span command);

/* Applies one entry. now_ms is the local monotonic time, for lease deadlines only: it does not
 * reach replicated state. The reply and everything in it lives in the arena or the store until the
 * next apply; the changes live until the next apply or read. Returns ERR_CORRUPT (and changes
 * nothing) for bytes that no build wrote, ERR_FORMAT for a command number newer than this build:
 * the node must stop. An error that the command itself earns (compacted, lease not found...)
 * stands in reply->err. */
enum err machine_apply(struct machine *m, uint64_t index, uint64_t term, struct span command,
                       int64_t now_ms, struct arena *arena, struct reply *reply,
                       const struct kv_change **changes, size_t *n_changes) MUST_CHECK;

/* Applies an entry that holds the cluster's membership: data is kept as it is; raft and the node
 * know what stands in it. */
void machine_members(struct machine *m, uint64_t index, uint64_t term, struct span data);
/* The newest one applied; empty: none was. Valid until the next, or machine_reset. */
struct span machine_members_now(const struct machine *m);

/* Entries that are neither only move applied_index. */
void machine_skip(struct machine *m, uint64_t index, uint64_t term);

/* Answers a read at the state as it is. Fills reply (also err). */
void machine_read(const struct machine *m, const struct request *r, int64_t now_ms,
                  struct arena *arena, struct reply *reply);

/* A read of HASH or HASH_ALL in steps, of the state as it is now; compaction of memory waits. NULL:
 * reply tells why not. A step looks at about so many keys and versions; false: all is hashed.
 * Closing fills reply; half way, to give up, what it says of the hash is nothing. */
struct machine_hashing;
struct machine_hashing *machine_hashing_open(const struct machine *m, const struct request *r,
                                             struct reply *reply);
bool machine_hashing_step(struct machine_hashing *h, size_t budget);
void machine_hashing_close(struct machine_hashing *h, struct reply *reply);

/* ---- checkpoint ---- */

/* Steps through everything, store last; writes go on meanwhile and are not in it: it is the state
 * at machine_save_open. Compaction of memory waits until machine_save_close. Each step appends one
 * piece; false: that was the last. */
struct machine_save;
struct machine_save *machine_save_open(struct machine *m, struct alloc *alloc);
bool machine_save_step(struct machine_save *s, size_t budget_bytes, struct buf *out);
void machine_save_close(struct machine_save *s);

/* Into an empty machine; pieces as machine_save_step wrote them, one by one. ERR_CORRUPT,
 * ERR_FORMAT; then only machine_close may follow. */
enum err machine_load(struct machine *m, struct span piece) MUST_CHECK;
/* Whether this build could load the checkpoint with this first piece: to be asked before what is
 * there makes room for it. ERR_CORRUPT, ERR_FORMAT. */
enum err machine_load_check(struct span first) MUST_CHECK;
/* After the last piece: checks that it is the last and all is there (ERR_CORRUPT); leases get their
 * keys back, their deadlines wait for lease_restart. */
enum err machine_load_end(struct machine *m) MUST_CHECK;

/* Whether the piece is of the store, and then its records (kv_record_read). They come last. */
bool machine_piece_store(struct span piece, struct span *records);

/* After leases were granted and kv_import_end: the machine stands at index 1 of term 1, the digest
 * follows from what it has, leases get their keys. Keys whose lease is not there get one that lasts
 * LEASE_TTL_MAX_S; *granted counts them. ERR_CORRUPT. */
enum err machine_import_end(struct machine *m, uint64_t *granted) MUST_CHECK;
