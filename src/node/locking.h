/* locking: Lock and Election: what etcd's client does with keys to take turns, done by the node
 * (etcd client/v3/concurrency, server/etcdserver/api/v3lock, v3election); both may be mixed.
 *
 * Whoever wants a name puts the key NAME/LEASE, and has the name while no key below NAME/ is older.
 * A node's own state tells, however far behind it is: once my key is there, none comes that is
 * older. Everybody watches for the end of the key just before, and of the own one: a lease that
 * ends takes its key along, and then the wait has failed.
 *
 * A caller that goes away, or whose time is up, leaves no key behind that this call has made. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/kv/kv.h"
#include "core/machine/machine.h"
#include "core/watch/watch.h"

struct node;
struct call;
struct locking; /* one call that takes its turn, or observes who has it */

enum {
    LOCKING_TTL_S = 60
}; /* of a lease that the caller leaves to us (etcd concurrency.NewSession) */

struct lockings {
    struct watch_hub *hub;
    struct locking *first;
    size_t n;
    struct locking *due, *due_last; /* in a row: something has happened, or they had no room */
};

void locking_open(struct node *n);
void locking_close(struct node *n);

bool locking_wants(const struct request *r); /* LOCK to RESIGN */
void locking_begin(struct call *call, const struct request *r);
/* LEADER and OBSERVE: the state is new enough to be read. */
void locking_read(struct call *call, const struct request *r);

/* What the call has proposed was applied, or refused. The call may be gone after it. */
void locking_replied(struct locking *l, const struct reply *reply);
/* The same, when nobody waits for it any more: what came of it is taken back. */
void locking_late(struct locking *l, const struct reply *reply);
/* The call has ended. With a proposal on its way, locking_late follows. */
void locking_gone(struct locking *l);

void locking_changed(struct node *n, const struct kv_change *changes, size_t count);
void locking_installed(struct node *n); /* the state is another one: all look again */
/* Lets those go on that something has happened to. */
void locking_settle(struct node *n);
