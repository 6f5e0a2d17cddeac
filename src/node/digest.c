#include "node/digest.h"
#include "node/node_int.h"
#include "node/peers.h"

_Static_assert((DIGESTS_KEPT & (DIGESTS_KEPT - 1)) == 0, "a power of two");

bool digest_keep(struct digests *d, uint64_t index, uint32_t digest)
{
    if (index != d->newest + 1)
        d->first = index;
    d->newest = index;
    d->kept[index % DIGESTS_KEPT] = digest;
    if (d->newest - d->first >= DIGESTS_KEPT)
        d->first = d->newest - DIGESTS_KEPT + 1;
    if (!d->told_index || d->told_index > index)
        return false;
    bool differs = d->told_index == index && d->told != digest;
    d->told_index = 0;
    return differs;
}

enum digest_verdict digest_compare(struct digests *d, uint64_t index, uint32_t digest)
{
    if (index > d->newest) {
        d->told_index = index;
        d->told = digest;
        return DIGEST_LATER;
    }
    if (index < d->first || d->first == 0)
        return DIGEST_TOO_OLD;
    return d->kept[index % DIGESTS_KEPT] == digest ? DIGEST_SAME : DIGEST_DIFFERS;
}

static void raise_corrupt(struct node *n, uint64_t index)
{
    struct alarm which = { n->header.member_id, ALARM_CORRUPT };
    struct request r = { .type = REQUEST_ALARM,
                         .author = SPAN("digest"),
                         .auth_revision = REQUEST_BY_NODE,
                         .alarm = { .which = which } };
    n->metrics.digests_differ++;
    if (alarm_is(&n->machine.alarms, which))
        return;
    slog(SLOG_ERROR,
         "this member's state is not the leader's: it raises the CORRUPT alarm; remove it, and add "
         "it again with an empty data directory, then disarm",
         "index=%llu", (unsigned long long)index);
    if (pump_propose(n, &r, NULL, 0) != ERR_OK)
        return; /* the leader tells again */
    upkeep_again(n);
}

void digest_applied(struct node *n)
{
    if (digest_keep(&n->digests, n->machine.applied_index, n->machine.digest))
        raise_corrupt(n, n->machine.applied_index);
}

void digest_told(struct node *n, uint64_t from, const struct peer_digest *m)
{
    if (from != n->update.leader || n->update.role == RAFT_LEADER || transfer_loading(n))
        return;
    n->metrics.digests_told++;
    if (digest_compare(&n->digests, m->index, (uint32_t)m->digest) == DIGEST_DIFFERS)
        raise_corrupt(n, m->index);
}

void digest_sweep(struct node *n)
{
    struct peer_frame f = { .type = PEER_DIGEST };
    f.digest.index = n->machine.applied_index;
    f.digest.digest = n->machine.digest;
    if (n->update.role != RAFT_LEADER || transfer_loading(n) || !f.digest.index)
        return;
    for (size_t i = 0; i < n->cluster.n; i++) {
        uint64_t id = n->cluster.members[i].id;
        if (id != n->header.member_id && peers_version(n, id) >= peer_since(PEER_DIGEST))
            peers_send(n, id, &f);
    }
}
