/* sim: a few raft instances in a false world. One seed is one run; the same seed is the same run.
 *
 * world.c has the time, the network and the faults; node.c does what a node does around raft: its
 * disk, what it applies, checkpoints; client.c proposes, reads and changes the membership; check.c
 * watches every step and knows all nodes at once; main.c runs seeds. */
#pragma once
#include <stdarg.h>
#include <stdio.h>
#include "base/arena.h"
#include "base/prng.h"
#include "base/vec.h"
#include "core/raft/raft.h"

enum {
    NODES_MAX = 12,
    START_MAX = 5,
    MS = 1000, /* the world's time is in microseconds */
    SECOND = 1000 * MS,
    INDEX_MAX = 1 << 17,
    STEPS_MAX = 3000000, /* more in one run is a storm of messages */
    LIVE_MS = 40000,     /* 20 of the longest election time-outs */
    LEASE_MS = 800,
    LEASE_DRIFT_PPM = 100000, /* both ways: 800 ms * 1.1 / 0.9 is below RAFT_ELECTION_MS */
};

/* One entry as some leader made it, for all who hold it. */
struct record {
    uint64_t index, term, term_before; /* term_before: of the entry before; UNKNOWN until seen */
    enum raft_entry_type type;
    struct span data;
    uint64_t hash;
    struct record *other; /* with the same index */
};
#define UNKNOWN UINT64_MAX

struct checkpoint {
    uint64_t index, term, digest;
    struct record *members; /* NULL: the first ones */
};

struct batch {
    uint64_t number, cut, term, vote;
    bool hard;
    struct record **entries;
    size_t n;
};

struct disk {
    uint64_t term, vote;
    struct checkpoint checkpoint;
    VEC(struct record *) log; /* items[0] is the one after the checkpoint */
    VEC(struct batch) queue;  /* not yet there */
    size_t writing;           /* of the queue, by one sync that is under way */
    int64_t slow_until, slow_us; /* a sync may take so long */
};

struct read {
    uint64_t id, floor; /* floor: applied somewhere before the read began */
};

struct node {
    uint64_t id;                             /* its place in world.nodes, from 1 */
    bool exists, up, first;                  /* first: of the cluster's first members */
    uint64_t life;                           /* events of a life before are void */
    int64_t held_until;                      /* stopped, or busy with an install */
    int64_t clock_from, clock_at, clock_ppm; /* at true time from it showed at, us */
    struct disk disk;

    struct alloc heap;
    struct raft *raft;
    int64_t timer_ms; /* as its clock shows; -1: none is set */
    uint64_t timer;   /* newest timer; older ones are void */
    uint64_t term, vote, leader, commit;
    uint64_t number, told; /* newest with records; newest told to be PERSISTED */
    enum raft_role role;
    uint64_t applied, digest;
    struct record *members;             /* newest applied */
    VEC(struct record *) configs;       /* every membership that is in the log */
    const struct record *config_before; /* in force before the step */
    /* As a leader: what it said first and at last to be committed. UNKNOWN: nothing yet. */
    uint64_t first_claim, claim;
    bool made_members;                /* in this step */
    const struct raft_message *asked; /* taken in this step; NULL: none */
    VEC(struct read) reads;
    bool checkpointing;
    const struct checkpoint *installing; /* NULL: none */
    uint64_t install_from, install_life; /* the leader's */
};

enum event_type {
    EV_NONE,
    EV_MESSAGE,
    EV_TIMER,
    EV_SYNCED,
    EV_PERSISTED,
    EV_APPLY,
    EV_CHECKPOINT,
    EV_OFFERED,
    EV_INSTALL,
    EV_INSTALLED,
    EV_SNAPSHOT,
    EV_LOST,
    EV_RESTART,
    EV_CLIENT,
    EV_FAULT,
    EV_MEND,
    EV_HELD,
    EV_READ,
    EV_ALONE,
    EV_AMBUSH
};

struct packet {
    struct raft_message m; /* without entries */
    struct record **entries;
};

struct event {
    int64_t at;
    uint64_t order;
    enum event_type type;
    struct node *node;
    uint64_t life;
    uint64_t a, b;
    const struct packet *packet;
    const struct checkpoint *checkpoint;
};

/* What may go wrong in this run, drawn from the seed; of thousand where it is a chance. */
struct weather {
    size_t nodes;
    int64_t delay_us, late_us;
    uint64_t lose, twice, late;
    bool in_order;
    bool holds; /* a cut link keeps what is sent until it is whole again, as TCP does */
    uint64_t partition, crash, power, ambush, stop, slow, jump,
        aimed; /* a fault tick, or an aimed one */
    int64_t fault_every_us, client_every_us, sync_us;
    bool drift;
    uint64_t change, transfer, read;
    uint64_t checkpoint_every, keep_bytes, batch, payload, apply_late;
    int64_t lease_ms;
};

/* What everybody has promised and claimed in one term. */
struct term {
    uint64_t leader, votes[NODES_MAX]; /* 0: none */
};

struct commit {
    const struct record *record;
    uint64_t digest, term; /* term: of who told first, no earlier than it was committed */
};

#define COUNTERS(X)                                                                                \
    X(seeds)                                                                                       \
    X(steps)                                                                                       \
    X(elections)                                                                                   \
    X(messages)                                                                                    \
    X(lost)                                                                                        \
    X(held) X(doubled) X(late) X(partitions) X(crashes) X(power_cuts) X(batches_lost) X(stops)     \
        X(slow_disks) X(clock_jumps) X(refused) X(submitted) X(commits) X(reads) X(reads_lost)     \
            X(checkpoints) X(snapshots) X(installs) X(snapshots_failed) X(changes) X(joints)       \
                X(joins) X(transfers) X(cuts) X(lease_runs)

struct counters {
#define X(name) uint64_t name;
    COUNTERS(X)
#undef X
};

struct world {
    uint64_t seed;
    struct prng prng;
    struct alloc heap;
    struct arena arena; /* of the run */
    struct weather weather;
    bool calm;  /* no more faults */
    bool lease; /* in every run */
    int64_t now, calm_at;
    int64_t quiet_until; /* before this clients only read, and no other fault begins */
    uint64_t order;
    VEC(struct event) queue; /* a heap */
    struct node nodes[NODES_MAX];
    size_t n_nodes;
    uint64_t partition;                    /* the newest */
    bool cut_off[NODES_MAX][NODES_MAX];    /* [from][to] */
    int64_t arrives[NODES_MAX][NODES_MAX]; /* the newest message, where they keep their order */
    uint64_t run_steps;

    struct record *records[INDEX_MAX];
    struct commit commits[INDEX_MAX];
    uint64_t committed; /* the highest index that any node may apply */
    uint64_t applied;   /* the highest that any node has */
    uint64_t claimed;   /* the highest that any leader said to be */
    VEC(struct term) terms;
    uint64_t value, read_id;
    /* Of the calm at the end: an index of a term to reach, whether a read was served; a leader's
     * term that lasts since. */
    uint64_t goal, goal_term, calm_read;
    bool goal_read;
    uint64_t steady_term;
    int64_t steady_since;

    bool trace;
    struct counters *count;
    char problem[512];
};

static inline bool chance(struct world *w, uint64_t of_thousand)
{
    return prng_below(&w->prng, 1000) < of_thousand;
}

static inline int64_t between(struct world *w, int64_t low, int64_t high)
{
    return low + (int64_t)prng_below(&w->prng, (uint64_t)(high - low + 1));
}

/* ---- world.c ---- */

void world_open(struct world *w, uint64_t seed, struct counters *count, bool trace, bool lease);
bool world_run(struct world *w); /* false: problem says what */
void world_close(struct world *w);
void world_add(struct world *w, int64_t after, struct event e);
void world_send(struct world *w, struct node *from, const struct packet *p);
void world_aim(struct world *w, struct node *n); /* something has happened there: a good moment */
/* The leader has told another to take over: that may be late, and the leader may not hear of it. */
void world_aim_transfer(struct world *w, struct node *from, struct node *to);
bool world_linked(const struct world *w, const struct node *from, const struct node *to);
struct node *world_node(struct world *w, uint64_t id); /* NULL: none has it */
__attribute__((format(printf, 2, 3))) void say(const struct world *w, const char *format, ...);
/* The run ends: the first reason counts. */
__attribute__((format(printf, 3, 4))) void violated(struct world *w, const struct node *n,
                                                    const char *format, ...);

/* ---- node.c ---- */

int64_t node_clock_us(const struct world *w, const struct node *n);
void node_clock_set(struct world *w, struct node *n, int64_t at, int64_t ppm);
void node_start(struct world *w, struct node *n);
void node_crash(struct world *w, struct node *n);
void node_close(struct world *w, struct node *n);
void node_event(struct world *w, const struct event *e);
enum err node_step(struct world *w, struct node *n, struct raft_event *e);

/* ---- client.c ---- */

void client_tick(struct world *w);
void client_read(struct world *w, struct node *n);
int64_t client_pause(struct world *w);
void client_calm_tick(struct world *w);
/* Whether everybody has what the calm's goal asks for; why: what is missing. */
bool client_done(struct world *w, char why[128]);

/* ---- check.c ---- */

/* The record of an entry, which has to be what others hold under this index and term. NULL: not. */
struct record *check_entry(struct world *w, struct node *n, const struct raft_entry *x,
                           uint64_t term_before, bool makes);
void check_update(struct world *w, struct node *n, const struct raft_update *u);
/* index: of the first entry cut; before it is written. */
void check_cut(struct world *w, struct node *n, uint64_t index);
/* After a step's messages: what a leader commits, and a membership that it made, are allowed. */
void check_leader(struct world *w, struct node *n);
void check_message(struct world *w, struct node *n, const struct raft_message *m);
void check_apply(struct world *w, struct node *n, const struct record *r);
void check_installed(struct world *w, struct node *n, const struct checkpoint *c);
void check_read(struct world *w, struct node *n, const struct raft_read *r);
bool disk_has(const struct node *n, uint64_t index, uint64_t term);
uint64_t disk_last(const struct disk *d);
uint64_t check_mix(uint64_t digest, uint64_t value);
