/* Level: what all members know, raised when the last of them has been upgraded (machine.h).
 *
 * The leader is connected to every member and has agreed with each on the newest version of the
 * peer protocol that both speak: the least of those is what all know. A member that is away may
 * come back as anything, so it is waited for. Whoever has applied a level lets no older release in
 * any more (peers_version_min), and one that is in already stops where the log says so. */
#include "node/node_int.h"
#include "node/peers.h"
#include "base/check.h"

_Static_assert(MACHINE_LEVEL == PEER_VERSION, "a release has one number for both");

bool level_allows(const struct node *n, const struct request *r)
{
    return request_since(r) <= n->machine.level;
}

/* What all members know by now, as far as this one can tell; 0: one cannot be asked. */
static unsigned known_by_all(const struct node *n)
{
    unsigned least = n->params.hold_level ? (unsigned)n->params.hold_level : MACHINE_LEVEL;
    if (least > MACHINE_LEVEL)
        least = MACHINE_LEVEL;
    for (size_t i = 0; i < n->cluster.n; i++) {
        uint64_t id = n->cluster.members[i].id;
        unsigned version = id == n->header.member_id ? MACHINE_LEVEL : peers_version(n, id);
        if (version < least)
            least = version;
    }
    return least;
}

void level_applied(struct node *n)
{
    slog(SLOG_INFO, "all members know this level; older releases are not let in any more",
         "level=%u", n->machine.level);
    level_open(n);
}

void level_open(struct node *n)
{
    if (n->machine.level > MACHINE_LEVEL_FIRST)
        peers_version_min(n, n->machine.level);
}

void level_turn(struct node *n)
{
    if (!n->level_news || n->update.role != RAFT_LEADER || !n->counting)
        return;
    n->level_news = false;
    struct request r = { .type = REQUEST_LEVEL, .author = SPAN("level") };
    r.level = (uint8_t)known_by_all(n);
    if (r.level <= n->machine.level)
        return;
    if (pump_propose(n, &r, NULL, 0) == ERR_OK)
        upkeep_again(n);
    else
        n->level_news = true; /* in a later turn */
}
