/* Leasing: the deadlines of leases, while this node leads and counts them (core/lease/lease.h).
 *
 * What is proposed here is the leader's own: it is void as soon as this node leads no more, and
 * never goes to another leader, who may have promised time since. */
#include "node/node_int.h"
#include "base/check.h"

_Static_assert((int)SWEEP_MS >= (int)LEASE_NOTE_MS_MIN, "notes are proposed by the sweep");

void leasing_took(struct node *n, const struct raft_update *u)
{
    if (u->role != RAFT_LEADER || u->term != n->update.term)
        n->counting = false;
}

void leasing_applies(struct node *n, uint64_t term)
{
    if (n->counting || n->update.role != RAFT_LEADER || n->update.term != term)
        return;
    lease_restart(n->machine.lease, loop_now_ms(n->loop));
    n->counting = true;
    n->level_news = true;
    leasing_timer(n);
}

void leasing_timer(struct node *n)
{
    int64_t at = lease_deadline_ms(n->machine.lease);
    if (at == INT64_MAX || !n->counting)
        loop_timer_clear(n->loop, &n->lease_timer);
    else if (!n->lease_timer.place || n->lease_timer.at_ms > at)
        loop_timer_set(n->loop, &n->lease_timer, at);
}

/* Proposes the revoke of every lease whose time has passed. */
static void expire(struct node *n)
{
    int64_t now = loop_now_ms(n->loop);
    for (int i = 0; i < EXPIRE_PER_TURN; i++) {
        int64_t id = lease_expire(n->machine.lease, now);
        if (!id)
            return;
        struct request r = { .type = REQUEST_LEASE_EXPIRE,
                             .author = SPAN("lease"),
                             .expire = { id, n->machine.applied_index } };
        if (pump_propose(n, &r, NULL, id) != ERR_OK) {
            lease_not_proposed(n->machine.lease, id);
            return;
        }
        n->metrics.leases_expired++;
    }
}

/* A renewal only moves deadlines out, so the timer may come early and finds nothing. */
void leasing_on_timer(void *context)
{
    struct node *n = context;
    if (!n->counting)
        return;
    expire(n);
    int64_t at = lease_deadline_ms(n->machine.lease), now = loop_now_ms(n->loop);
    if (at != INT64_MAX)
        loop_timer_set(n->loop, &n->lease_timer, at > now ? at : now + 1);
}

static enum err propose_notes(struct node *n, const struct lease_note *notes, size_t count,
                              int64_t clearing)
{
    struct request r = { .type = REQUEST_LEASE_NOTE,
                         .author = SPAN("lease"),
                         .notes = { notes, count, n->machine.applied_index } };
    return pump_propose(n, &r, NULL, clearing);
}

enum err leasing_clear(struct node *n, int64_t lease)
{
    enum err e = propose_notes(n, &(struct lease_note){ .id = lease }, 1, lease);
    if (e == ERR_OK)
        n->metrics.lease_notes++;
    else
        lease_not_proposed(n->machine.lease, lease);
    return e;
}

void leasing_sweep(struct node *n)
{
    struct lease_note *notes;
    size_t count =
        n->counting ? lease_notes_due(n->machine.lease, loop_now_ms(n->loop), &n->turn, &notes) : 0;
    if (count && propose_notes(n, notes, count, 0) == ERR_OK)
        n->metrics.lease_notes += count; /* else they are due again in the next sweep */
}

void leasing_turn(struct node *n)
{
    if (!n->renewals.n || (n->counting && !n->renewals_due))
        return;
    n->renewals_due = false;
    call_renewals_settle(n);
}
