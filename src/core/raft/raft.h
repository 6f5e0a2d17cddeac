/* raft: consensus as a pure function, raft_step(event) -> update. No clock, disk, socket or thread.
 *
 * The node feeds events, one at a time, and does what the update says: puts the records (cut, term
 * and vote, entries) on their way to the disk as one batch, in the order of updates; sends the
 * messages at once; applies what is committed. It tells back with PERSISTED that a batch is on
 * disk. Messages that promise something (a vote, an acknowledgement, what a candidate says of its
 * log) are given out only after that, so an update's messages never wait for its records: a leader
 * sends entries while it writes them itself (10.2.1). Rules are quoted by their place in Ongaro's
 * dissertation ("Raft 3.6").
 *
 * Messages may be lost, doubled, late and out of order. Time is the node's monotonic clock; nothing
 * but the optional leader lease depends on how fast it goes.
 *
 * Memory: entries live here from when they come until they are applied, told so by raft_applied,
 * and then as long as keep_bytes allows, for followers that are behind. Data is copied in. Spans
 * given out and the arrays of an update are valid until the next step. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct raft;

enum {
    RAFT_UNCOMMITTED_BYTES_MAX = 64 << 20, /* entries not yet committed; more answers OVERLOADED */
    RAFT_UNCOMMITTED_ENTRIES_MAX = 100000,
    RAFT_READS_MAX = 100000, /* waiting for a read index; more answers OVERLOADED */
    RAFT_MEMBERS_MAX = 32,
    RAFT_INFO_MAX = 2048,          /* bytes of one member's info */
    RAFT_APPEND_BYTES = 1 << 20,   /* entries of one message: stops at the first that passes it */
    RAFT_INFLIGHT_BYTES = 8 << 20, /* sent to one follower and not yet acknowledged */
    RAFT_INFLIGHT_MESSAGES = 256,
    RAFT_HEARTBEAT_MS = 100,
    RAFT_ELECTION_MS = 1000, /* a follower waits this long and up to as much again, by chance */
};

enum raft_entry_type {
    RAFT_EMPTY = 1,   /* the first of a term */
    RAFT_COMMAND = 2, /* for the machine */
    RAFT_MEMBERS = 3, /* the whole membership from here on: raft_members_encode */
};

struct raft_entry {
    uint64_t index, term;
    enum raft_entry_type type;
    struct span data;
};

/* ---- membership ---- */

/* A member has a vote in the membership that is, in the one before (joint consensus, Raft 4.3:
 * until it is left, both have to agree), in both, or in none: a learner. RAFT_GOES: it is no
 * member any more when joint consensus is left. */
enum { RAFT_VOTER = 1, RAFT_VOTER_BEFORE = 2, RAFT_GOES = 4 };

struct raft_member {
    uint64_t id;
    unsigned votes;   /* the flags above; 0: learner */
    struct span info; /* the node's: names and addresses; raft only carries it */
};

void raft_members_encode(const struct raft_member *members, size_t n, struct buf *out);
/* Into at most RAFT_MEMBERS_MAX; infos point into data. ERR_CORRUPT. */
enum err raft_members_decode(struct span data, struct raft_member *out, size_t *n) MUST_CHECK;

/* ---- messages ---- */

enum raft_message_type {
    RAFT_PREVOTE = 1,     /* would you vote for me in this term? (Raft 9.6) */
    RAFT_PREVOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND,          /* entries, or none: a heartbeat */
    RAFT_APPEND_REPLY,
    RAFT_TIMEOUT_NOW,     /* take over (Raft 3.10) */
    RAFT_MESSAGE_TYPES
};

struct raft_message {
    enum raft_message_type type;
    uint64_t to, from;
    uint64_t term;             /* PREVOTE and its granting reply: the term asked for */
    uint64_t index, index_term; /* VOTE, PREVOTE: of the sender's last entry; APPEND: of the entry
                                 * before; APPEND_REPLY: index up to which all is on disk, or, when
                                 * rejected, where the leader should try again */
    uint64_t rejected;         /* APPEND_REPLY: the APPEND's index that does not fit, or 0 */
    uint64_t commit;           /* APPEND */
    uint64_t round;            /* APPEND and its reply: of read indexes (Raft 6.4) */
    bool granted;              /* replies of votes */
    bool transfer;             /* VOTE: the leader wishes it, no need to be loyal to it */
    const struct raft_entry *entries; /* APPEND: they follow one another */
    size_t n_entries;
};

/* ---- events ---- */

struct raft_start {
    uint64_t self;                          /* member id, not 0 */
    uint64_t term, vote;                    /* newest on disk; 0, 0 when new */
    uint64_t snapshot_index, snapshot_term; /* the checkpoint; 0 when none */
    const struct raft_member *members;      /* of the checkpoint, or the first ones of a new
                                             * cluster; none: a node that waits to be told */
    size_t n_members;
    const struct raft_entry *entries; /* on disk after the snapshot, in order without gaps */
    size_t n_entries;
    uint64_t random;     /* seed for election time-outs */
    uint64_t keep_bytes; /* applied entries to keep for followers */
    /* Reads without a round of messages while a quorum was heard from less than this ago; 0: never.
     * At most RAFT_ELECTION_MS less what clocks may drift apart in that time. Every member must
     * have the same. */
    int64_t lease_ms;
};

enum raft_event_type {
    RAFT_START,       /* once, first */
    RAFT_TIMEOUT,     /* the clock has reached update.timeout_ms */
    RAFT_SUBMIT,      /* entries of commands; leader only */
    RAFT_PERSISTED,   /* the records of the update with this number, and of all before, are on
                       * disk */
    RAFT_READ,        /* a linearizable read wants an index */
    RAFT_RECEIVE,     /* a message */
    RAFT_UNREACHABLE, /* what was sent to the peer since may be lost; or its process is gone */
    RAFT_CHANGE,      /* of the membership; leader only */
    RAFT_TRANSFER,    /* leadership to another voter; leader only */
    RAFT_SNAPSHOT,    /* a transfer that update.snapshots asked for has ended */
    RAFT_INSTALLED,   /* a snapshot from a peer is on disk here and has replaced log and state */
    RAFT_EVENT_TYPES
};

struct raft_event {
    enum raft_event_type type;
    int64_t now_ms; /* monotonic */
    union {
        const struct raft_start *start;
        struct {
            const struct span *data; /* one entry each; copied */
            size_t n;
        } submit;
        uint64_t persisted;
        uint64_t read_id; /* comes back in reads */
        const struct raft_message *message;
        struct {
            uint64_t id;
            bool gone; /* it refused a connection: its process has ended */
        } peer;
        struct {
            const struct raft_member *members; /* as they shall be; votes: RAFT_VOTER or 0 */
            size_t n;
        } change;
        uint64_t transfer_to;
        struct {
            uint64_t peer;
            uint64_t index; /* it has installed the one of this index; 0: it failed, ask again */
        } snapshot;
        struct {
            uint64_t index, term;
            const struct raft_member *members;
            size_t n_members;
        } installed;
    };
};

struct raft_read {
    uint64_t id, index; /* may be served once index is applied */
};

struct raft_update {
    /* Records for the disk, in this order; number is 0 when there are none. */
    uint64_t number;
    uint64_t cut; /* entries from this index on are void; 0: none */
    bool hard_state_changed;
    uint64_t term, vote;
    const struct raft_entry *entries;
    size_t n_entries;

    const struct raft_message *messages;
    size_t n_messages;
    uint64_t commit_index; /* everything up to here may be applied */
    enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER } role;
    uint64_t leader; /* 0: unknown */
    const struct raft_read *reads;
    size_t n_reads;
    bool reads_lost;            /* reads that wait will never come: leadership is gone */
    bool members_changed;       /* raft_members has others, or other infos */
    const uint64_t *snapshots;  /* followers for which the entries are gone: send them a checkpoint;
                                 * told once, then RAFT_SNAPSHOT is awaited */
    size_t n_snapshots;
    int64_t timeout_ms; /* when to send TIMEOUT, INT64_MAX: never */
};

struct raft *raft_open(struct alloc *alloc);
void raft_close(struct raft *r);

/* START: ERR_CORRUPT when what was on disk cannot be a log, ERR_FORMAT for an entry type that this
 * build does not know; then only raft_close may follow.
 * SUBMIT: ERR_NO_LEADER when not leader or handing over, ERR_OVERLOADED over a limit; then nothing
 * was taken. READ: ERR_NO_LEADER, ERR_OVERLOADED; it may wait and come in a later update.
 * CHANGE: ERR_NO_LEADER; ERR_CHANGE_PENDING: the one before is not yet through, or no entry of this
 * term is committed (the first-entry-of-term rule of Ongaro's 2015 correction), try again;
 * ERR_LEARNER_BEHIND: a member that would get a vote has not caught up; ERR_BAD_REQUEST: no voter
 * would be left, an id twice or 0, too many.
 * TRANSFER: ERR_NO_LEADER, ERR_NOT_FOUND: not a voter.
 * RECEIVE: a message that cannot come from a sound peer is ignored. */
enum err raft_step(struct raft *r, const struct raft_event *event,
                   struct raft_update *out) MUST_CHECK;

/* The entry at index, if still held; false otherwise. */
bool raft_entry_at(const struct raft *r, uint64_t index, struct raft_entry *out);
uint64_t raft_last_index(const struct raft *r);
uint64_t raft_term_at(const struct raft *r, uint64_t index); /* 0: not held */

/* The newest membership in the log, committed or not (Raft 4.1); valid until the next step. */
const struct raft_member *raft_members(const struct raft *r, size_t *n);
uint64_t raft_members_index(const struct raft *r); /* of the entry that it came with; after a start
                                                    * from a checkpoint: at most the checkpoint's */
uint32_t raft_members_digest(const struct raft *r); /* the same on all that have the same one */
/* Whether a snapshot of index would bring anything new: install no other, it could take entries
 * away that this node has promised to keep. */
bool raft_wants(const struct raft *r, uint64_t index, uint64_t term);

/* Of a follower, as its leader knows it. */
struct raft_progress {
    uint64_t match;
    int64_t heard_ms; /* when it last answered */
    bool snapshot;    /* it is being sent one */
};
bool raft_progress(const struct raft *r, uint64_t id, struct raft_progress *out);

/* Everything up to index is applied, the memory of those entries may go. */
void raft_applied(struct raft *r, uint64_t index);
/* About how many bytes a snapshot would have. As long as one is on its way, or its receiver catches
 * up, a quarter of that may be kept in entries, where keep_bytes would have too few: what comes
 * while it travels must not make the next one needed. */
void raft_state_bytes(struct raft *r, uint64_t bytes);
