/* raft: consensus as a pure function, raft_step(event) -> update. No clock, disk, socket or thread.
 *
 * The node feeds events, one at a time, and does what the update says, in this order: write term,
 * vote and entries in one batch and sync it; only then send messages and, when it is told so by
 * PERSISTED, apply what is committed. Rules are quoted by their place in Ongaro's dissertation
 * ("Raft 3.6").
 *
 * This build knows clusters of one voter. Everything goes the same way as it will with more: a vote
 * is asked for and persisted, the term's first entry is empty (Raft 6.4: nothing is read before an
 * entry of the leader's own term has committed), entries commit by counting whom a quorum has
 * persisted.
 *
 * Memory: entries live here from SUBMIT until they are applied and told so by raft_applied; data is
 * copied in. Spans given out are valid until then; the arrays of an update until the next step. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/span.h"

struct raft;

enum {
    RAFT_UNCOMMITTED_BYTES_MAX = 64 << 20, /* entries not yet committed; more answers OVERLOADED */
    RAFT_UNCOMMITTED_ENTRIES_MAX = 100000,
    RAFT_READS_MAX = 100000, /* waiting for a read index; more answers OVERLOADED */
    RAFT_ELECTION_MS_MIN = 1000,
    RAFT_ELECTION_MS_MAX = 2000,
};

enum raft_entry_type {
    RAFT_EMPTY = 1,   /* the first of a term */
    RAFT_COMMAND = 2, /* for the machine */
    RAFT_MEMBERS = 3, /* membership; data: count, then ids, little-endian 64 bit */
};

struct raft_entry {
    uint64_t index, term;
    enum raft_entry_type type;
    struct span data;
};

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_start {
    uint64_t self;                    /* member id, not 0 */
    uint64_t term, vote;              /* newest on disk; 0, 0 when new */
    uint64_t snapshot_index, snapshot_term; /* the checkpoint; 0 when none */
    const uint64_t *members;          /* of the checkpoint, or the first ones when bootstrapping */
    size_t n_members;
    const struct raft_entry *entries; /* on disk after the snapshot, in order without gaps */
    size_t n_entries;
    uint64_t random;                  /* seed for election time-outs */
};

enum raft_event_type {
    RAFT_START,     /* once, first */
    RAFT_TIMEOUT,   /* the clock has reached update.timeout_ms */
    RAFT_SUBMIT,    /* entries of commands; leader only */
    RAFT_PERSISTED, /* everything up to index is on disk, and term and vote of the update before */
    RAFT_READ,      /* a linearizable read wants an index */
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
        uint64_t persisted_index;
        uint64_t read_id; /* comes back in reads */
    };
};

struct raft_read {
    uint64_t id, index; /* may be served once index is applied */
};

struct raft_update {
    bool hard_state_changed; /* term, vote: into the batch before entries */
    uint64_t term, vote;
    const struct raft_entry *entries; /* to be persisted, in order */
    size_t n_entries;
    uint64_t commit_index; /* everything up to here may be applied */
    enum raft_role role;
    uint64_t leader;       /* 0: unknown */
    const struct raft_read *reads;
    size_t n_reads;
    int64_t timeout_ms; /* when to send TIMEOUT, INT64_MAX: never */
};

struct raft *raft_open(struct alloc *alloc);
void raft_close(struct raft *r);

/* START: ERR_CORRUPT when what was on disk cannot be a log, ERR_FORMAT for an entry type that this
 * build does not know, ERR_FOREIGN when self is not the member, ERR_NOT_BUILT for more than one
 * member; then only raft_close may follow.
 * SUBMIT: ERR_NO_LEADER when not leader, ERR_OVERLOADED over a limit; then nothing was taken.
 * READ: ERR_NO_LEADER, ERR_OVERLOADED; before the term's first commit the read waits and comes in
 * a later update. */
enum err raft_step(struct raft *r, const struct raft_event *event,
                   struct raft_update *out) MUST_CHECK;

/* The entry at index, if still held; false otherwise. */
bool raft_entry_at(const struct raft *r, uint64_t index, struct raft_entry *out);
uint64_t raft_last_index(const struct raft *r);

/* Everything up to index is applied, the memory of those entries may go. */
void raft_applied(struct raft *r, uint64_t index);
