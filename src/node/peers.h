/* peers: connections to the other members: calling, greeting, queues, and who is let in.
 *
 * Every member calls every other one and sends on the connection that it has called; so what A
 * tells B stays in order, and a connection that breaks loses what was on it. docs/formats/peer.md.
 *
 * One node has one struct peers; without it (n->peers is NULL: a cluster of one) everything here
 * does nothing. All of the loop's thread. What is called back may call anything here but
 * peers_close. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/span.h"
#include "core/raft/raft.h"
#include "link/peer/peer.h"

struct node;

enum {
    PEER_QUEUE_BYTES_MAX = 32 << 20, /* waiting for one member; beyond it the connection ends */
    PEER_READ_BYTES = 64 << 10,      /* taken from one connection in one turn */
    PEER_CALLERS_MAX = 128,          /* connections from others; more are closed at once */
    PEER_GUESTS_MAX = 16,            /* callers that our membership does not name */
    PEER_GREETING_MS = 5000,         /* from a call to WELCOME */
    PEER_SILENCE_MS = 3000,          /* sent, and not acknowledged by the other one's system */
    PEER_AGAIN_FIRST_MS = 50,        /* before the second call; then twice that */
    PEER_AGAIN_MAX_MS = 2000,
    PEERS_WHY_MAX = 600,
};

/* Any may be NULL. */
struct peers_events {
    /* From a member, or from one who says so: RAFT and the frames after it in peer.def. Spans hold
     * until it returns. A raft message is from and to whom it says. */
    void (*frame)(struct node *n, uint64_t from, const struct peer_frame *f);
    /* What was sent to it since it was last connected may be lost. refused: nobody listens at its
     * address, so its process has ended; comes again with every call that ends so. */
    void (*lost)(struct node *n, uint64_t id, bool refused);
    /* It was called and does not want us: enum peer_refusal, or one not known to this version. It
     * will be called again. id 0: the answer to peers_join. */
    void (*refused)(struct node *n, uint64_t id, unsigned reason, struct span text);
    /* It has called us, or welcomed us. */
    void (*hello)(struct node *n, uint64_t id, uint64_t incarnation);
    void (*joined)(struct node *n, uint64_t cluster, uint64_t member);
};

struct peers_options {
    /* member 0: we do not know yet who we are: only peers_join is possible, and nobody is heard. */
    uint64_t cluster, member;
    uint64_t incarnation;
    const char *peer_url; /* where the others call us */
    const struct peers_events *events;
    int64_t greeting_ms;              /* 0: PEER_GREETING_MS */
    int64_t again_max_ms;             /* 0: PEER_AGAIN_MAX_MS */
    uint8_t version_min, version_max; /* of the protocol; max 0: what this build speaks */
};

/* Listens at params.listen_peers, with params.peer_*_file. Fails with a reason, PEERS_WHY_MAX
 * bytes; then n->peers is NULL. */
enum err peers_open(struct node *n, const struct peers_options *o, char *why) MUST_CHECK;
void peers_close(struct node *n);

/* The membership as it is now, ourselves in it or not: calls those that are new, follows changed
 * addresses, drops those that are gone and refuses them from then on (until the process ends, or
 * they come back: what is not known of an earlier removal is taken for a member that we have not
 * heard of yet). count 0: not known yet. */
void peers_members(struct node *n, const struct raft_member *members, size_t count);

/* Asks at this address who we are, again and again until joined is called. ERR_BAD_REQUEST: no
 * address. */
enum err peers_join(struct node *n, const char *url) MUST_CHECK;

/* Queues it, to leave at peers_turn. False: it is dropped, since there is no connection, or too
 * much waits already: then the connection ends. */
bool peers_send(struct node *n, uint64_t to, const struct peer_frame *f);
void peers_sweep(struct node *n); /* every second: reads certificates that have changed */
void peers_measure(struct node *n); /* every second: round trips */
void peers_turn(struct node *n); /* sends what is queued; at a turn's end, after the pump */

bool peers_connected(const struct node *n, uint64_t id);
/* Who speaks no version from this on is refused from now on; never goes down. */
void peers_version_min(struct node *n, unsigned version);
unsigned peers_version(const struct node *n, uint64_t id); /* spoken with it; 0: not connected */
size_t peers_queued(const struct node *n, uint64_t id);
size_t peers_connections(const struct node *n); /* members that we are connected to, for a metric */
uint16_t peers_port(const struct node *n);      /* that we listen on; 0: not at all */
