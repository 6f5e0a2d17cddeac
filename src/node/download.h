/* download: the file of a checkpoint that has everything this node had applied when it was asked,
 * read piece by piece as fast as the client takes it: as it is for GET /v1/snapshot, as etcd's
 * database for Maintenance.Snapshot. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct node;
struct call;

enum {
    DOWNLOADS_MAX = 8,                /* at once; more are refused */
    EXPORTS_MAX = 2,                  /* of them as etcd's database, which takes memory */
    DOWNLOAD_PIECE_BYTES = 256 << 10, /* read at once */
    DOWNLOAD_BLOB_BYTES = 32 << 10,   /* in one message (etcd v3rpc/maintenance.go) */
};

/* False: too many already, or there is no state yet. */
bool download_begin(struct node *n, struct call *call);
void download_gone(struct node *n, struct call *call); /* nobody waits for it any more */
void download_turn(struct node *n);
bool download_wants_checkpoint(const struct node *n);
/* One of that index is kept now, or could not be made. */
void download_checkpoint_done(struct node *n, uint64_t index, bool ok);
bool download_busy(const struct node *n); /* its jobs are on the way */
void download_close(struct node *n);
