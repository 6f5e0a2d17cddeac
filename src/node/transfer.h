/* transfer: a checkpoint's way from the leader to a member whose entries are gone: offered, asked
 * for piece by piece, staged, checked whole, and put in the place of log and state. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "link/peer/peer.h"

struct node;

void transfer_begin(struct node *n, uint64_t peer); /* raft wants it to have one */
void transfer_frame(struct node *n, uint64_t from, const struct peer_frame *f);
void transfer_lost(struct node *n, uint64_t peer);
/* Log and state are being replaced: nothing else may touch them. */
bool transfer_installing(const struct node *n);
