#include "node/transfer.h"
#include "node/node_int.h"

void transfer_begin(struct node *n, uint64_t peer)
{
    (void)n, (void)peer;
}

void transfer_frame(struct node *n, uint64_t from, const struct peer_frame *f)
{
    (void)n, (void)from, (void)f;
}

void transfer_lost(struct node *n, uint64_t peer)
{
    (void)n, (void)peer;
}

bool transfer_installing(const struct node *n)
{
    (void)n;
    return false;
}
