/* transfer_int: what the sending and the receiving half share. */
#pragma once
#include "node/node_int.h"
#include "node/transfer.h"

struct transfer_job {
    struct job job;
    struct node *node;
    enum err err;
};

/* To one member. */
struct sending {
    struct transfer_job job;
    uint64_t peer; /* 0: free */
    enum { SEND_WAITING, SEND_CHECKPOINT, SEND_OPENING, SEND_OFFERED, SEND_OPEN } phase;
    bool busy, ended; /* a job is on the way; ended: close when it is back */
    struct storage_source source;
    uint64_t asked, sent; /* offsets: acknowledged up to, sent up to */
    uint64_t begun;       /* offset of the first chunk, and when it was asked for */
    int64_t begun_ms;
    uint64_t read_len;
    uint8_t *chunk;
    int64_t heard_ms;
};

enum receive_phase {
    RECEIVE_NONE,
    RECEIVE_STAGING,    /* chunks come */
    RECEIVE_SETTLING,   /* all is there: until disk and writer have nothing to do */
    RECEIVE_CHECKING,   /* the file is read through */
    RECEIVE_INSTALLING, /* it takes its place on disk */
    RECEIVE_LOADING,    /* and in memory */
};

struct receiving {
    enum receive_phase phase;
    uint64_t from;
    struct storage_offer offer;
    size_t chunks; /* jobs on the way */
    int64_t heard_ms;
    struct transfer_job job;
    struct storage_load load;
    struct span piece;
    char why[STORAGE_WHY_MAX];
};

struct transfer {
    struct sending sending[RAFT_MEMBERS_MAX];
    struct receiving receiving;
    struct loop_timer pace;
};

/* ---- transfer.c ---- */
bool transfer_sends(const struct node *n); /* a job of sending is on the way */

/* ---- transfer_receive.c ---- */
void receive_offer(struct node *n, uint64_t from, const struct peer_offer *f);
void receive_chunk(struct node *n, uint64_t from, const struct peer_chunk *f);
void receive_turn(struct node *n);
void receive_sweep(struct node *n);
void receive_lost(struct node *n, uint64_t peer);
void receive_close(struct node *n);
