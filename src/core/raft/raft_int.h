/* raft_int: what the files of raft/ share: its state, and the steps that they take for each other.
 */
#pragma once
#include "base/buf.h"
#include "base/check.h"
#include "base/prng.h"
#include "base/vec.h"
#include "core/raft/entries.h"
#include "core/raft/raft.h"

enum {
    ROUNDS = 64,        /* sent and remembered with their time, for the lease */
    KEEP_FACTOR = 4,    /* as much more is kept for those who are catching up, */
    KEEP_PART = 4,      /* or this part of the state's own bytes */
    BEHIND_MAX = 10000, /* entries that a learner may lack and still get a vote */
};

/* One membership, in force from its entry on. */
struct config {
    uint64_t index;
    struct raft_member *members; /* their infos point into bytes */
    size_t n;
    struct buf bytes;
};

enum peer_mode {
    PEER_PROBE,     /* we do not know what it has: one empty message at a time */
    PEER_REPLICATE, /* entries are sent on, before the ones before are acknowledged */
    PEER_SNAPSHOT,  /* it needs one */
};

struct in_flight {
    uint64_t last;
    size_t bytes;
};

/* A member, ourselves too. Everything but id and votes is of this term. */
struct peer {
    uint64_t id;
    unsigned votes;
    bool granted, refused; /* answers to our campaign; our own when it is on disk */
    enum peer_mode mode;
    bool due;            /* a message even if there is no entry */
    bool snapshot_asked; /* and its end is awaited */
    uint64_t match;      /* everything up to here is on its disk */
    uint64_t next;       /* the entry to send next */
    uint64_t round;      /* newest that it has answered */
    int64_t heard_ms;
    struct in_flight *flight; /* a ring of RAFT_INFLIGHT_MESSAGES; NULL before it is used */
    size_t flight_head, flight_n, flight_bytes;
};

/* Records that are on their way to the disk. */
struct writing {
    uint64_t number, last; /* last: index of the newest entry as of then, or less after a cut */
};

struct raft {
    struct alloc *alloc;
    bool started;
    uint64_t self, term, vote, leader;
    enum raft_role role;
    struct prng prng;
    int64_t now_ms, timeout_ms;
    int64_t lease_ms;
    size_t keep_bytes, state_bytes;

    struct entries entries;
    uint64_t commit, applied;
    size_t uncommitted_bytes;
    VEC(struct config) configs; /* the last is in force; the first one's index is <= commit */
    VEC(struct peer) peers;     /* by the order of the newest membership; ourselves too */

    /* disk */
    uint64_t number;      /* of the newest update with records */
    uint64_t hard_number; /* of the newest that has a term or vote */
    uint64_t persisted;   /* entries up to here are on our disk */
    VEC(struct writing) writing;

    /* follower */
    uint64_t matched;     /* up to here our log is the leader's of this term */
    uint64_t acked;       /* told the leader so, and that it is on disk */
    uint64_t round_seen;  /* newest of this leader */
    int64_t loyal_until;  /* before this no vote against a leader that may live */
    bool excused;         /* an election was put off because our own timer came late */
    uint64_t promised_to; /* a vote, once it is on disk; 0: none */

    /* candidate */
    bool asked;    /* for votes: once our own is on disk */
    bool transfer; /* the leader wished it */

    /* leader */
    uint64_t term_start; /* index of the term's first entry */
    uint64_t round;
    struct {
        uint64_t round;
        int64_t sent_ms;
    } rounds[ROUNDS];
    int64_t lease_until;
    bool no_lease;        /* somebody was told to take over, and may still do so, at any time */
    int64_t heartbeat_ms; /* when the next is due */
    uint64_t transfer_to;
    int64_t transfer_until;
    bool resign; /* at the end of this step */

    VEC(struct waiting_read) waiting;

    /* given out with this step's update */
    struct raft_update *out;
    VEC(struct raft_message) messages;
    VEC(struct raft_read) reads;
    VEC(uint64_t) snapshots;
};

struct waiting_read {
    uint64_t id, index, round;
};

/* ---- raft.c ---- */

uint64_t last_index(const struct raft *r);
struct raft_message *message(struct raft *r, enum raft_message_type type, uint64_t to);
/* Adds entries to our log and to the records of this update. */
void append(struct raft *r, uint64_t term, enum raft_entry_type type, const struct span *data,
            size_t n, size_t bytes);
void cut(struct raft *r, uint64_t index);
void hard_state(struct raft *r, uint64_t term, uint64_t vote);
void set_commit(struct raft *r, uint64_t index);
/* Term and vote are: before that nothing may be promised in this term. */
bool hard_state_on_disk(const struct raft *r);

/* ---- election.c ---- */

void follow(struct raft *r, uint64_t term, uint64_t leader);
void election_timer(struct raft *r);
void on_election_timeout(struct raft *r);
void campaign(struct raft *r, bool transfer);
void own_vote_persisted(struct raft *r);
void on_prevote(struct raft *r, const struct raft_message *m);
void on_vote(struct raft *r, const struct raft_message *m);
void on_vote_reply(struct raft *r, const struct raft_message *m);
void promise_persisted(struct raft *r);
bool loyal(const struct raft *r);

/* ---- replicate.c ---- */

void lead(struct raft *r);
void on_append(struct raft *r, const struct raft_message *m);
void on_append_reply(struct raft *r, const struct raft_message *m);
void acknowledge(struct raft *r, bool always);
void advance_commit(struct raft *r);
void on_heartbeat_timeout(struct raft *r);
void probe(struct raft *r, struct peer *p, uint64_t next);
void send_all(struct raft *r);
enum err on_read(struct raft *r, uint64_t id);
void release_reads(struct raft *r);
void lose_reads(struct raft *r);
void every_peer_due(struct raft *r);

/* ---- members.c ---- */

struct peer *peer_of(const struct raft *r, uint64_t id); /* NULL: no member */
struct config *config_now(const struct raft *r);
bool is_voter(const struct raft *r, uint64_t id);
bool may_stand(const struct raft *r);
bool is_joint(const struct config *c);
bool sole_voter(const struct raft *r);
/* The membership in force from index on; bytes as raft_members_encode made them. */
enum err config_push(struct raft *r, uint64_t index, struct span data) MUST_CHECK;
void configs_cut(struct raft *r, uint64_t index);
void configs_committed(struct raft *r); /* forgets those that are history */
void configs_close(struct raft *r);
enum err config_change(struct raft *r, const struct raft_member *members, size_t n) MUST_CHECK;
/* Ends joint consensus when it is time to; resigns when we lead and are no voter any more. */
void config_settle(struct raft *r);

/* The highest value that a quorum has reached; of both memberships while there are two. */
uint64_t quorum_of(const struct raft *r,
                   uint64_t (*value)(const struct raft *r, const struct peer *p));
enum vote_result { VOTE_OPEN, VOTE_WON, VOTE_LOST };
enum vote_result vote_count(const struct raft *r);
