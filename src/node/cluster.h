/* cluster: who the members are, how a new cluster begins, how the membership changes, and handing
 * leadership over.
 *
 * The membership in force is raft's newest. What it says of a member for people and for dialling
 * is peer_info; each member tells the leader its own (ABOUT), and the leader writes it down. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "core/raft/raft.h"
#include "link/peer/peer.h"
#include "node/param.h"

struct node;
struct call;
struct proposal;
struct request;

struct member {
    uint64_t id;
    unsigned votes;
    struct peer_info info; /* spans into raft's memory; valid until the membership changes */
};

enum { LEADERLESS_MS = 3 * RAFT_ELECTION_MS }; /* etcd: three election time-outs */

/* What a member has told us of itself. */
struct told {
    uint64_t id;          /* 0: free */
    uint64_t incarnation; /* that called first, or was called */
    bool about;
    char name[PEER_NAME_MAX + 1], client_url[PEER_URL_MAX + 1];
};

struct cluster {
    struct member members[RAFT_MEMBERS_MAX];
    size_t n;
    bool alone;            /* the only member, with a vote: nobody else is ever asked */
    bool foreign;          /* a newer build described a member: a change by us would lose that */
    int64_t leaderless_ms; /* since when there is no leader; 0: there is one */
    bool handing_over;
    uint64_t leader;
    bool news, tell; /* of members for the membership; of us, for the leader */
    struct told told[RAFT_MEMBERS_MAX];
};

/* The members that a new cluster begins with; ids are the same on every member, and others with
 * another token. *self is ours. why: PARAM_WHY_MAX bytes. ERR_BAD_REQUEST. */
enum err cluster_begin(const struct params *p, struct raft_member *out, size_t *count,
                       uint64_t *cluster, uint64_t *self, struct buf *infos, char *why) MUST_CHECK;

/* The id of a cluster that began with this member alone. */
uint64_t cluster_alone(uint64_t member);

const struct member *cluster_member(const struct node *n, uint64_t id); /* NULL: none */
bool cluster_is_learner(const struct node *n);
uint64_t cluster_lag_max(const struct node *n);
void cluster_update(struct node *n, const struct raft_update *u); /* sends, follows the members */
void cluster_applied(struct node *n); /* an entry of the membership */
void cluster_turn(struct node *n);
void cluster_sweep(struct node *n);                               /* every second */

/* MEMBER_ADD, _REMOVE, _UPDATE, _PROMOTE: the call is answered by call_members_changed or
 * call_failed. MOVE_LEADER has begun when it returns, and the caller answers. */
enum err cluster_change(struct node *n, struct call *call, const struct request *r) MUST_CHECK;
/* A leader takes a whole membership that was made from the one whose raft_members_digest
 * base is. */
enum err pump_change(struct node *n, uint64_t base, const struct raft_member *members,
                     size_t count, struct proposal p) MUST_CHECK;

/* What other members send and lose: struct peers_events. */
void peers_on_frame(struct node *n, uint64_t from, const struct peer_frame *f);
void peers_on_hello(struct node *n, uint64_t id, uint64_t incarnation);
void peers_on_lost(struct node *n, uint64_t id, bool refused);

/* Before a clean stop: whether a leader is still waiting for another to take over. */
bool cluster_hand_over(struct node *n);
