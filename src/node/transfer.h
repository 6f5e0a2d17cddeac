/* transfer: a checkpoint's way from the leader to a member whose entries are gone: offered, asked
 * for piece by piece, staged, checked whole, and put in the place of log and state.
 *
 * The sender reads the file of its newest checkpoint (a new one, when entries after the newest are
 * gone too), a few chunks ahead of what is acknowledged. The receiver keeps what came over broken
 * connections and restarts, and goes on from there. It lets its old state go before it loads the
 * new one: nobody reads in between, and memory never holds both. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "link/peer/peer.h"

struct node;

enum {
    TRANSFER_AHEAD_BYTES = 2 << 20, /* sent and not acknowledged */
    PACE_MS = 5,                    /* how often one that goes too fast is looked at */
    TRANSFER_QUIET_MS = 30000,      /* nothing heard for so long: it is given up, and begun again */
};

void transfer_open(struct node *n);
void transfer_close(struct node *n);
void transfer_turn(struct node *n);
void transfer_sweep(struct node *n);
bool transfer_busy(const struct node *n); /* its jobs are on the way */

/* ---- sending ---- */
void transfer_begin(struct node *n, uint64_t peer); /* raft wants it to have one */
bool transfer_wants_checkpoint(const struct node *n);
void transfer_checkpoint_done(struct node *n, bool ok);

/* ---- both ---- */
void transfer_frame(struct node *n, uint64_t from, const struct peer_frame *f);
void transfer_lost(struct node *n, uint64_t peer);

/* ---- receiving ---- */
/* Log and state are about to be replaced: raft hears of nothing but its disk. */
bool transfer_installing(const struct node *n);
bool transfer_loading(const struct node *n); /* there is no state to read */
