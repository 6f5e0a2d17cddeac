/* forward: what a node that does not lead asks of the one that does, and linearizable reads.
 *
 * A write that came here goes to the leader as the command's bytes; the leader tells the place in
 * the log that it got, and this node answers when it applies that place itself. A read is given an
 * index by the leader, who asks a quorum whether it still leads, and is served here once that index
 * is applied. Everything of one turn shares one question. Renewals of leases are asked the same
 * way: a leader that has lost its office unknowingly must not promise time.
 *
 * What is not known is said as such (ERR_LEADER_FAILED, ERR_TIMEOUT), never tried again. Reads
 * are. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "core/raft/raft.h"
#include "link/peer/peer.h"

struct node;
struct audit_note;
struct call;
struct disk_job;

enum {
    SLOW_READ_MS = 500, /* etcd: counted when the index takes longer */
    REQUEST_TIMEOUT_MS = 7000, /* etcd: 5 s and two election time-outs */
    ASKS_MAX = 100000,         /* questions to the leader without an answer */
};

/* Who waits for a place in the log. */
struct proposal {
    struct call *call; /* NULL: nobody waits, or the caller went away */
    bool own;          /* the leader's, void when it leads no more */
    int64_t lease;     /* of an expiry or a note to be cleared, to be tried again; else 0 */
    uint64_t peer, id; /* it came from another member, as its question id; else 0 */
    int64_t since_ms;
    struct audit_note *note; /* of an audit; NULL: none */
};

struct awaited {
    uint64_t index, term;
    struct proposal proposal;
};

/* Ordered by index. */
struct awaited_queue {
    VEC(struct awaited) items;
    size_t head;
};
void awaited_close(struct awaited_queue *q, struct alloc *alloc);
void awaited_add(struct awaited_queue *q, struct alloc *alloc, struct awaited a);
size_t awaited_count(const struct awaited_queue *q);
struct awaited *awaited_first(struct awaited_queue *q); /* NULL: none */
void awaited_drop_first(struct awaited_queue *q);

/* A question to the leader. */
struct ask {
    enum peer_type type; /* FORWARD, READ, RENEW, LOOK, CHANGE */
    bool done;
    uint64_t peer;
    struct proposal proposal;
    int64_t lease;
};

/* Who waits for a read index. */
struct reader {
    struct call *call; /* or */
    uint64_t peer, id; /* another member's question */
    int64_t lease;     /* to be renewed then; 0: a read */
    int64_t since_ms;
};

struct read_batch {
    uint64_t id;
    bool known, here; /* here: of our own raft */
    uint64_t index;   /* may be served once this is applied */
    VEC(struct reader) readers;
};

struct forward {
    VEC(struct ask) asks; /* the first has id ask_first + 1 */
    size_t asks_head;
    uint64_t ask_first;
    VEC(struct reader) gathered; /* of this turn */
    VEC(struct read_batch) batches;
    uint64_t read_id;
};

void forward_open(struct node *n);
void forward_close(struct node *n);
void forward_give_up(struct node *n); /* at the end: nobody will answer any more */

/* ---- asking ---- */

/* Whether there is a leader to ask, other than us. */
bool forward_possible(const struct node *n);
/* Sends a command that waits in this turn; its outcome comes to p. */
void forward_command(struct node *n, struct span command, struct proposal p);
void forward_change(struct node *n, uint64_t base, struct span members, struct proposal p);
/* The call is answered by call_read_now when the index that the leader gives is applied. */
void forward_gather(struct node *n, struct call *call, int64_t lease);
void forward_look(struct node *n, struct call *call, int64_t lease);

/* ---- what comes back, and what others ask ---- */

void forward_frame(struct node *n, uint64_t from, const struct peer_frame *f);
void forward_lost(struct node *n, uint64_t peer); /* its connection; what was asked is not known */
void forward_turn(struct node *n); /* asks for what was gathered, serves what may be */
void forward_reads(struct node *n, const struct raft_update *u); /* indexes, or their loss */
void forward_sweep(struct node *n);               /* what waits too long */
void forward_reply(struct node *n, const struct proposal *p, enum err e, uint64_t index,
                   uint64_t term); /* to the member that asked */
