/* peers_int: what the files of peers share: one connection (link), those that we have called (out)
 * and those that have called us (in). */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/vec.h"
#include "io/loop/loop.h"
#include "io/tcp/tcp.h"
#include "io/thread/thread.h"
#include "io/tls/tls.h"
#include "node/peers.h"

enum {
    OUT_FOUND_MAX = 4,    /* addresses of one name that are tried */
    PEER_DOORS_MAX = 8,   /* addresses that one listens on */
    REMOVED_MAX = 64,     /* members remembered as removed; the oldest is forgotten */
    WIRE_BYTES = 1 << 20, /* encrypted ahead of the socket */
};

struct peers;

/* Bytes that wait; what has gone is dropped from the front now and then. */
struct queue {
    struct buf buf;
    size_t start;
};

/* Frames both ways on one socket. It is never closed in its own callback: it is broken, and the
 * next tick closes it. */
struct link {
    struct node *n; /* NULL: not open */
    int fd, events;
    bool broken, blocked; /* blocked: the socket takes no more now */
    const char *why;      /* broken */
    struct tls *tls;      /* NULL: plain */
    struct peer_reader reader;
    struct metric_peer *metrics; /* of who is at the other end; NULL: not known yet */
    size_t frame_max;
    struct queue plain, wire; /* plain: with TLS, still to be encrypted */
    void (*on_frame)(void *owner, const struct peer_frame *f);
    void *owner;
};

enum out_state { OUT_WAITING, OUT_NAMING, OUT_CONNECTING, OUT_GREETING, OUT_UP };

/* A member, a guest (who has called us and is in no membership that we know), or whom we ask who we
 * are (id 0). */
struct peer_out {
    struct peers *p;
    uint64_t id;
    uint64_t incarnation; /* as the membership says, or as heard first; 0: not known */
    bool member;
    bool gone; /* the next tick frees it */
    char url[PEER_URL_MAX + 1];
    struct tcp_address address;
    enum out_state state;
    int64_t at_ms;    /* WAITING: when to call; CONNECTING, GREETING: when to give up */
    int64_t again_ms; /* how long to wait the next time */
    int64_t up_ms;    /* since when it is UP */
    int fd;           /* CONNECTING */
    struct tcp_address found[OUT_FOUND_MAX]; /* what its name stands for */
    size_t n_found, next_found;
    bool all_refused; /* of the addresses tried in this round */
    struct naming *naming;
    struct link link; /* GREETING, UP */
    bool logged;      /* that it cannot be reached */
    unsigned refused; /* its reason, until we are welcome; 0 */
};

struct peer_in {
    struct peers *p;
    uint64_t id;   /* 0: it has not said HELLO yet */
    int64_t at_ms; /* when to give up waiting for that */
    struct link link;
};

struct peers {
    struct node *n;
    struct peers_options o;
    char peer_url[PEER_URL_MAX + 1];
    struct tls_context *server_tls, *client_tls; /* NULL: plain */
    struct peer_door {
        struct peers *p;
        int fd;
        bool tls;
    } doors[PEER_DOORS_MAX]; /* where members call us */
    size_t n_doors;
    struct worker *names;                        /* looks names up; NULL: none was needed yet */
    VEC(struct peer_out *) outs;
    VEC(struct peer_in *) ins;
    uint64_t removed[REMOVED_MAX];
    size_t removed_n;
    bool members_known;
    struct loop_timer timer;
    struct arena arena; /* of one frame */
    struct buf clear;   /* of one read */
};

/* ---- peers.c ---- */

void peers_wake(struct peers *p, int64_t at_ms); /* a tick then, or before */
bool peers_was_removed(const struct peers *p, uint64_t id);

/* ---- peers_link.c ---- */

void link_open(struct link *l, struct node *n, int fd, struct tls *tls, void *owner,
               void (*on_frame)(void *owner, const struct peer_frame *f));
void link_close(struct link *l); /* fine when it is not open */
void link_break(struct link *l, const char *why);
/* Breaks it for what the other side did. */
void link_offend(struct link *l, const char *why);
/* The version was chosen: from now on more than greetings goes, in it. */
void link_agree(struct link *l, uint8_t version);
void link_send(struct link *l, const struct peer_frame *f);
void link_write(struct link *l);
size_t link_queued(const struct link *l);

/* ---- peers_out.c ---- */

/* NULL: its address is none. */
struct peer_out *out_open(struct peers *p, uint64_t id, struct span url);
void out_free(struct peer_out *o);
bool out_move(struct peer_out *o, struct span url); /* its address has changed; false: it is none */
void out_tick(struct peer_out *o, int64_t now_ms);
struct peer_out *out_of(const struct peers *p, uint64_t id); /* NULL: none */

/* ---- peers_in.c ---- */

void in_accept(void *context, int listener, int events);
void in_free(struct peer_in *i);
