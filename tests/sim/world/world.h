/* world: the false world that whole nodes run in: time, chance, hosts with clocks, disks and
 * threads, and the network between them. One seed makes one run, the same each time.
 *
 * Everything happens in one thread: the world keeps a queue of calls by time. A node runs only
 * inside of one, as one turn of its loop or one job of a worker; io's headers are answered by
 * loop.c, net.c and disk.c for the host that is running then (host_here). */
#pragma once
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/prng.h"
#include "base/vec.h"

enum {
    HOSTS_MAX = 24, /* nodes and clients */
    NODES_MAX = 8,
    HOST_TEXT_MAX = 32,
    WHY_MAX = 1024,
};
#define MS INT64_C(1000)
#define SECOND INT64_C(1000000)

/* ---- world.c: time and chance ---- */

extern int64_t world_us; /* now, from 0 */
extern struct alloc world_heap;

uint64_t world_random(void);
uint64_t world_below(uint64_t limit);
int64_t world_between(int64_t low, int64_t high); /* both included */
bool world_chance(int percent);
/* Not before at_us; calls of one time come in the order in which they were asked for. */
void world_call(int64_t at_us, void (*call)(void *context, uint64_t what), void *context,
                uint64_t what);
void world_open(uint64_t seed, bool trace);
void world_close(void);
void world_run(int64_t until_us);

extern bool world_tracing;
__attribute__((format(printf, 1, 2))) void trace(const char *format, ...);
/* A property does not hold: tells which, and the seed, and ends the process. */
__attribute__((format(printf, 1, 2), noreturn)) void violated(const char *format, ...);

/* ---- what is counted ---- */

enum count {
#define COUNT(NAME, text) COUNT_##NAME,
#include "count.def"
#undef COUNT
    COUNTS
};
extern uint64_t counts[COUNTS];

/* ---- host.c: a machine, and the process that may run on it ---- */

struct loop;
struct node;
struct disk;

struct block {
    struct block *next, *prev;
};

struct host {
    int number;
    char name[HOST_TEXT_MAX], address[HOST_TEXT_MAX];
    struct disk *disk;
    bool is_node;

    /* clocks */
    int64_t rate_ppm;         /* of the monotonic one */
    int64_t base_us, then_us; /* it said base_us at then_us */
    int64_t wall_us;          /* of the wall clock, less world_us */

    /* the process */
    bool up;
    bool gave_up; /* it ended before it had become a member */
    bool dark; /* without power: it does not even refuse */
    struct node *node;
    struct loop *loop;
    uint64_t generation; /* one process, one number */
    uint64_t noticed;    /* of the one that is known to have ended */
    bool joins;          /* it was added to a cluster that there was */
    bool retired;        /* it is not to come back for now */
    bool leaves;         /* it is being removed: when it hears of it, it stops */
    bool wiped;          /* its disk was lost, and it does as if it were new: nobody may trust it */
    uint64_t wiped_id;
    int64_t turn_us;     /* when the next turn is to come; INT64_MAX: not asked for */
    int64_t busy_us, frozen_us; /* until then */
    jmp_buf death;
    struct block blocks; /* all its memory */
    char why[WHY_MAX];   /* the last error that it logged */

    int64_t disk_slow_us; /* what a job takes more, at most */
};

extern struct host *host_here;
extern struct host hosts[HOSTS_MAX];
extern int n_hosts, n_nodes;

struct host *host_add(bool is_node, const char *name);
void host_close_all(void);
/* True: it runs. False: it would not start, host->why tells; or it died. */
bool host_start(struct host *h);
void host_kill(struct host *h, bool power); /* of the process, or the machine */
void host_stop(struct host *h);             /* SIGTERM; it takes a while */
void host_freeze(struct host *h, int64_t for_us);
void host_skew(struct host *h, int64_t rate_ppm);
int64_t host_clock_us(const struct host *h); /* monotonic */
void host_kick(struct host *h, int64_t at_us); /* its loop has something to do then */
/* Runs call in the process of h. False: that was its end. */
bool host_inside(struct host *h, void (*call)(struct host *h, void *context), void *context);

/* ---- loop.c: loop and threads of a process ---- */

void loop_ended(struct host *h);       /* the process is no more; jobs end in their middle */
bool loop_is_stopped(struct host *h);
void loop_signal(struct host *h);      /* SIGTERM, within a turn */
int64_t loop_next_us(struct host *h);  /* when the next turn should be; INT64_MAX: on an event */
bool loop_idle(const struct host *h);  /* no job is under way */

/* ---- net.c ---- */

struct net_link {
    int64_t delay_us, jitter_us;
    int64_t bytes_per_second;
    int64_t blocked_us; /* since then nothing gets through, and nobody is told; 0: it does */
};
extern struct net_link net_links[HOSTS_MAX][HOSTS_MAX]; /* from, to */

void net_open(void);
void net_close(void);
void net_host_ended(struct host *h, bool power);
void net_block(const struct host *from, const struct host *to, bool on);
void net_break_some(int percent); /* of all connections */
/* For clients, who have no loop: notify is called when something may be done with the socket. */
int net_dial(struct host *from, const char *host, int port, void (*notify)(void *context),
             void *context);
bool net_is_open(int fd);
/* For the loop of a host. */
struct sock;
struct sock *net_next(struct host *h, const struct sock *after); /* those that it watches */
int net_ready(const struct sock *s); /* events that it watches for and that are there */
void net_watch(int fd, int events, void (*callback)(void *context, int fd, int events),
               void *context);
void net_change(int fd, int events);
void net_unwatch(int fd);
int net_fd(const struct sock *s);
/* Calls back with the events, unless it is watched no more. */
void net_call(int fd, int events);

/* ---- disk.c ---- */

struct disk *disk_open(void);
void disk_close(struct disk *d);
/* The process has ended: files are closed, locks are free; power: what was not synced is lost. */
void disk_ended(struct disk *d, bool power);
void disk_die_soon(struct disk *d, uint64_t calls); /* that many calls still work */
void disk_fail_soon(struct disk *d, uint64_t calls); /* one call fails then, with ERR_IO */
bool disk_failed(const struct disk *d);
void disk_bound(struct disk *d, uint64_t more_bytes); /* room left; UINT64_MAX: plenty */
void disk_calm(struct disk *d);           /* nothing more fails */
bool disk_was_hit(const struct disk *d);  /* by a fault, since the process before began, or full */
void disk_wipe(struct disk *d);
/* Flips a bit of something that was on disk before the newest write. False: nothing there. */
bool disk_rot(struct disk *d, char what[WHY_MAX]);
void disk_heal(struct disk *d);

/* ---- check.c: what must hold at every moment, and at the end ---- */

void check_open(void);
void check_close(void);
void check_started(struct host *h); /* what it read from disk */
void check_turn(struct host *h);
/* A write was answered with this revision of the store: nothing else may have it. deleted: value is
 * not looked at. */
void check_written(int64_t revision, struct span key, struct span value, bool deleted);
/* An event of a watch, of any watcher; times is how the world orders what watchers see. */
void check_event(int64_t revision, struct span key, struct span value, bool deleted);
/* A read of one key answered by the store at revision. mod_revision 0: absent. */
void check_read(int64_t revision, struct span key, struct span value, int64_t mod_revision);
/* A lease that nobody may see gone before until_us; moved by renewals; id 0 in return: too many. */
void check_lease(int64_t id, int64_t ttl_s, int64_t asked_us);
void check_lease_free(int64_t id); /* it was revoked, or that was tried */
void check_end(int64_t revision);  /* everything up to it was seen by a watcher of everything */

/* ---- param.c ---- */

struct params;
extern struct world_setup {
    int64_t checkpoint_bytes, checkpoint_percent, keep_bytes, leader_lease_ms, watch_queue_bytes;
    uint32_t segment_bytes;
} setup;
void world_params(const struct host *h, struct params *out, char *why);
