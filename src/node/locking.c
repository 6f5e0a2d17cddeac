#include "node/locking.h"
#include <stdio.h>
#include "base/check.h"
#include "node/call_int.h"
#include "node/login.h"

enum step { STEP_GRANT, STEP_PUT, STEP_VALUE, STEP_LAST, STEP_WAIT, STEP_OBSERVE };

struct locking {
    struct call *call;
    struct locking *next, *prev, *due_next;
    enum request_type type;
    enum step step;
    bool due, made_key, made_lease;
    int64_t lease;
    int64_t create_revision; /* of the key */
    int64_t revision;        /* to be answered; OBSERVE: of the value that was sent */
    struct buf name, key, value;
    struct watcher *mine, *other; /* other: the key before; OBSERVE: the leader's, or all */
};

/* ---- life ---- */

void locking_open(struct node *n)
{
    n->lockings = (struct lockings){ .hub = watch_open(&n->alloc) };
}

void locking_close(struct node *n)
{
    CHECK(!n->lockings.first);
    watch_close(n->lockings.hub);
}

static struct locking *open_locking(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct locking *l = mem_zero(&n->alloc, sizeof(*l));
    l->call = call;
    l->type = r->type;
    l->lease = r->election.lease;
    l->create_revision = r->election.revision;
    buf_open(&l->name, &n->alloc);
    buf_open(&l->key, &n->alloc);
    buf_open(&l->value, &n->alloc);
    buf_span(&l->name, r->election.name);
    buf_span(&l->key, r->election.key);
    buf_span(&l->value, r->election.value);
    l->next = n->lockings.first;
    if (l->next)
        l->next->prev = l;
    n->lockings.first = l;
    n->lockings.n++;
    call->locking = l;
    return l;
}

static void unwatch(struct locking *l, struct watcher **w)
{
    if (*w)
        watch_remove(l->call->node->lockings.hub, *w);
    *w = NULL;
}

/* Mostly the first one. */
static void not_due(struct lockings *all, struct locking *l)
{
    struct locking *before = NULL;
    for (struct locking *at = all->due; at != l; at = at->due_next)
        before = at;
    *(before ? &before->due_next : &all->due) = l->due_next;
    if (all->due_last == l)
        all->due_last = before;
    l->due = false;
}

static void close_locking(struct locking *l)
{
    struct node *n = l->call->node;
    struct lockings *all = &n->lockings;
    if (l->due)
        not_due(all, l);
    unwatch(l, &l->mine);
    unwatch(l, &l->other);
    if (l->prev)
        l->prev->next = l->next;
    else
        all->first = l->next;
    if (l->next)
        l->next->prev = l->prev;
    all->n--;
    l->call->locking = NULL;
    buf_close(&l->name);
    buf_close(&l->key);
    buf_close(&l->value);
    mem_free(&n->alloc, l, sizeof(*l));
}

static void set_due(struct locking *l)
{
    struct lockings *all = &l->call->node->lockings;
    if (l->due)
        return;
    l->due = true;
    l->due_next = NULL;
    *(all->due ? &all->due_last->due_next : &all->due) = l;
    all->due_last = l;
}

/* ---- requests of our own, in the caller's name ---- */

/* All keys below NAME/. */
static void below(struct span name, struct arena *arena, struct kv_range *out)
{
    uint8_t *from = arena_alloc(arena, name.len + 1), *to = arena_alloc(arena, name.len + 1);
    if (name.len) {
        memcpy(from, name.data, name.len);
        memcpy(to, name.data, name.len);
    }
    from[name.len] = '/';
    to[name.len] = '/' + 1;
    out->key = span_of(from, name.len + 1);
    out->range_end = span_of(to, name.len + 1);
}

/* Whether the caller may see who else is there, as etcd's client has to. */
static enum err may_look(struct call *call, struct span name, struct request *range)
{
    struct node *n = call->node;
    *range = (struct request){ .type = REQUEST_RANGE };
    below(name, &n->turn, &range->range);
    enum err e = login_of(call, range);
    if (e == ERR_OK)
        e = machine_permits(&n->machine, range);
    return e == ERR_OK ? request_barred(&n->machine.alarms, range) : e;
}

static void propose(struct locking *l, struct request *r, enum step step)
{
    struct call *call = l->call;
    enum err e = login_of(call, r);
    l->step = step;
    if (e == ERR_OK)
        e = request_check(r, &call->node->turn);
    if (e == ERR_OK)
        call_propose(call, r); /* ends the call when it is refused */
    else
        call_end(call, e);
}

/* A transaction on the key: when it was created at this revision (0: is not there). */
struct key_txn {
    struct kv_compare compare;
    struct kv_op yes, no;
};

static void propose_txn(struct locking *l, const struct key_txn *t, enum step step)
{
    struct request r = { .type = REQUEST_TXN };
    r.txn = (struct kv_txn){ .compares = &t->compare,
                             .n_compares = 1,
                             .success = &t->yes,
                             .n_success = 1,
                             .failure = &t->no,
                             .n_failure = t->no.type != KV_OP_NONE };
    propose(l, &r, step);
}

static struct kv_compare created_at(const struct locking *l, int64_t revision)
{
    return (struct kv_compare){
        .key = buf_all(&l->key), .target = KV_IF_CREATE, .result = KV_IF_EQUAL, .number = revision
    };
}

static struct kv_op put_op(const struct locking *l)
{
    return (struct kv_op){
        .type = KV_OP_PUT,
        .put = { .key = buf_all(&l->key), .value = buf_all(&l->value), .lease = l->lease }
    };
}

/* What nobody waits for: done by the node, as far as it can be. */
static void take_back(struct node *n, const struct request *r)
{
    struct request own = *r;
    own.author = SPAN("locking");
    own.auth_revision = REQUEST_BY_NODE;
    if (pump_propose(n, &own, NULL, 0) != ERR_OK)
        n->metrics.locks_left++; /* the lease takes it along */
}

/* The key, if this call has made it, or its lease with it. */
static void release(struct locking *l)
{
    struct node *n = l->call->node;
    struct kv_compare mine = created_at(l, l->create_revision);
    struct kv_op gone = { .type = KV_OP_DELETE, .del = { .key = buf_all(&l->key) } };
    struct request r = { .type = REQUEST_TXN };
    if (l->made_lease) {
        r.type = REQUEST_LEASE_REVOKE;
        r.lease.id = l->lease;
    } else if (l->made_key) {
        r.txn =
            (struct kv_txn){ .compares = &mine, .n_compares = 1, .success = &gone, .n_success = 1 };
    } else {
        return;
    }
    take_back(n, &r);
}

void locking_gone(struct locking *l)
{
    if (l->call->waiting)
        return;
    release(l);
    close_locking(l);
}

static void fail(struct locking *l, enum err e)
{
    struct call *call = l->call;
    release(l);
    close_locking(l);
    call_fail_late(call, e);
}

/* ---- steps ---- */

static void make_key(struct locking *l)
{
    char hex[24];
    bool minus = l->lease < 0; /* as Go prints a signed number */
    uint64_t size = minus ? 0 - (uint64_t)l->lease : (uint64_t)l->lease;
    snprintf(hex, sizeof(hex), "/%s%llx", minus ? "-" : "", (unsigned long long)size);
    buf_reset(&l->key);
    buf_span(&l->key, buf_all(&l->name));
    buf_text(&l->key, hex);
}

static void put_key(struct locking *l)
{
    struct key_txn t = { .no = { .type = KV_OP_RANGE } };
    make_key(l);
    t.compare = created_at(l, 0);
    t.yes = put_op(l);
    t.no.range.key = buf_all(&l->key);
    propose_txn(l, &t, STEP_PUT);
}

static void put_value(struct locking *l, enum step step)
{
    struct key_txn t = { .compare = created_at(l, l->create_revision), .yes = put_op(l) };
    propose_txn(l, &t, step);
}

static void resign(struct locking *l)
{
    struct key_txn t = { .compare = created_at(l, l->create_revision) };
    t.yes = (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = buf_all(&l->key) } };
    propose_txn(l, &t, STEP_LAST);
}

static void unlock(struct locking *l)
{
    struct request r = { .type = REQUEST_DELETE, .del = { .key = buf_all(&l->key) } };
    propose(l, &r, STEP_LAST);
}

static void with_lease(struct locking *l)
{
    if (l->type == REQUEST_PROCLAIM)
        put_value(l, STEP_LAST);
    else
        put_key(l);
}

bool locking_wants(const struct request *r)
{
    return r->type >= REQUEST_LOCK && r->type <= REQUEST_RESIGN;
}

static enum err may_begin(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct request range;
    size_t bytes = r->election.name.len + r->election.key.len + r->election.value.len;
    if (bytes > (size_t)n->params.request_bytes_max)
        return ERR_REQUEST_TOO_LARGE;
    if (n->lockings.n >= (size_t)n->params.lock_waiters_max) {
        n->metrics.locks_refused++;
        return ERR_TOO_MANY_REQUESTS;
    }
    bool looks = r->type == REQUEST_LOCK || r->type == REQUEST_CAMPAIGN;
    return looks ? may_look(call, r->election.name, &range) : ERR_OK;
}

void locking_begin(struct call *call, const struct request *r)
{
    struct request grant = { .type = REQUEST_LEASE_GRANT, .lease = { .ttl_s = LOCKING_TTL_S } };
    enum err e = may_begin(call, r);
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    struct locking *l = open_locking(call, r);
    if (l->type == REQUEST_UNLOCK)
        unlock(l);
    else if (l->type == REQUEST_RESIGN)
        resign(l);
    else if (l->lease == 0)
        propose(l, &grant, STEP_GRANT);
    else
        with_lease(l);
}

/* ---- waiting ---- */

/* The first by creation, or the last one created before a revision; NULL: there is none. */
static const struct kv_version *find(const struct locking *l, int64_t before)
{
    struct node *n = l->call->node;
    struct kv_range r = { .limit = 1, .target = KV_BY_CREATE };
    struct kv_range_result found;
    below(buf_all(&l->name), &n->apply, &r);
    r.order = before ? KV_ORDER_DESCEND : KV_ORDER_ASCEND;
    r.max_create = before ? before - 1 : 0;
    enum err e = kv_range(n->machine.kv, &r, &n->apply, &found);
    CHECK(e == ERR_OK);
    return found.n ? found.items[0] : NULL;
}

static struct watcher *watch_keys(struct locking *l, struct span key, struct span range_end,
                                  bool no_put)
{
    struct node *n = l->call->node;
    struct watch_spec spec = { .key = key, .range_end = range_end, .no_put = no_put, .owner = l };
    return watch_add(n->lockings.hub, &spec, kv_revision(n->machine.kv));
}

static void won(struct locking *l)
{
    struct call *call = l->call;
    struct node *n = call->node;
    struct reply reply = { .type = l->type, .revision = l->revision };
    reply.leader.name = arena_copy(&n->apply, buf_all(&l->name));
    reply.leader.key = arena_copy(&n->apply, buf_all(&l->key));
    reply.leader.revision = l->create_revision;
    reply.leader.lease = l->lease;
    if (l->type == REQUEST_LOCK)
        reply.revision = kv_revision(n->machine.kv);
    close_locking(l);
    call_answer_late(call, &reply);
}

static void wait_on(struct locking *l)
{
    struct node *n = l->call->node;
    const struct kv_version *own = kv_get(n->machine.kv, buf_all(&l->key), 0);
    if (!own || own->create_revision != l->create_revision) {
        fail(l, l->type == REQUEST_LOCK ? ERR_SESSION_EXPIRED : ERR_ELECTION_NOT_LEADER);
        return;
    }
    const struct kv_version *before = find(l, l->create_revision);
    if (!before) {
        won(l);
        return;
    }
    unwatch(l, &l->other);
    l->other = watch_keys(l, kv_key(before), SPAN_NONE, true);
    if (!l->mine)
        l->mine = watch_keys(l, buf_all(&l->key), SPAN_NONE, true);
    l->step = STEP_WAIT;
    call_stand(l->call);
}

/* ---- what came of a proposal ---- */

static void key_is_there(struct locking *l, const struct reply *reply)
{
    const struct kv_op_result *op = reply->txn.n_ops ? &reply->txn.ops[0] : NULL;
    CHECK(op && (reply->txn.succeeded || op->type == KV_OP_RANGE));
    l->made_key = reply->txn.succeeded;
    l->revision = reply->revision;
    if (l->made_key) {
        l->create_revision = reply->revision;
        wait_on(l);
        return;
    }
    if (!op->range.n) { /* there and not there: the comparison was with what it is not */
        fail(l, ERR_ELECTION_NOT_LEADER);
        return;
    }
    const struct kv_version *there = op->range.items[0];
    l->create_revision = there->create_revision;
    if (l->type == REQUEST_CAMPAIGN && !span_equal(kv_value(there), buf_all(&l->value)))
        put_value(l, STEP_VALUE);
    else
        wait_on(l);
}

static void last(struct locking *l, const struct reply *reply)
{
    struct call *call = l->call;
    struct reply own = { .type = l->type, .revision = reply->revision };
    if (l->type == REQUEST_PROCLAIM && !reply->txn.succeeded) {
        fail(l, ERR_ELECTION_NOT_LEADER);
        return;
    }
    close_locking(l);
    call_answer_late(call, &own);
}

void locking_replied(struct locking *l, const struct reply *reply)
{
    if (reply->err != ERR_OK) {
        fail(l, reply->err);
        return;
    }
    switch (l->step) {
    case STEP_GRANT:
        l->lease = reply->lease.id;
        l->made_lease = true;
        with_lease(l);
        return;
    case STEP_PUT:
        key_is_there(l, reply);
        return;
    case STEP_VALUE:
        if (reply->txn.succeeded)
            wait_on(l);
        else
            fail(l, ERR_ELECTION_NOT_LEADER);
        return;
    case STEP_LAST:
        last(l, reply);
        return;
    case STEP_WAIT:
    case STEP_OBSERVE:
        break;
    }
    UNREACHABLE("nothing is proposed while it waits");
}

void locking_late(struct locking *l, const struct reply *reply)
{
    if (reply->err == ERR_OK && reply->type == REQUEST_LEASE_GRANT) {
        l->lease = reply->lease.id;
        l->made_lease = true;
    } else if (reply->err == ERR_OK && reply->type == REQUEST_TXN && l->step == STEP_PUT) {
        l->made_key = reply->txn.succeeded;
        l->create_revision = reply->revision;
    }
    if (l->step != STEP_LAST)
        release(l);
    close_locking(l);
}

/* ---- who leads ---- */

static void tell(struct locking *l, const struct kv_version *leader)
{
    struct node *n = l->call->node;
    struct reply reply = { .type = l->type, .revision = kv_revision(n->machine.kv) };
    reply.leading = leader;
    l->create_revision = leader->create_revision;
    l->revision = leader->mod_revision;
    buf_reset(&l->key);
    buf_span(&l->key, kv_key(leader));
    call_answer(l->call, &reply);
}

/* Tells the newest value of who leads; what lay between while the caller did not read is left out
 * (etcd concurrency.Election.Observe). */
static void observe(struct locking *l)
{
    struct call *call = l->call;
    struct node *n = call->node;
    struct request r;
    enum err e = may_look(call, buf_all(&l->name), &r);
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    if (call_queued(call) >= admit_stream_bytes(n)) {
        set_due(l);
        return;
    }
    const struct kv_version *v = l->key.len ? kv_get(n->machine.kv, buf_all(&l->key), 0) : NULL;
    bool same = v && v->create_revision == l->create_revision;
    if (!same) {
        v = find(l, 0);
        unwatch(l, &l->other);
        l->other = v ? watch_keys(l, kv_key(v), SPAN_NONE, false)
                     : watch_keys(l, r.range.key, r.range.range_end, false);
    }
    if (v && (!same || v->mod_revision != l->revision))
        tell(l, v);
}

static void read_leader(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct request range;
    struct reply reply, own = { .type = r->type };
    enum err e = may_look(call, r->election.name, &range);
    range.range.limit = 1;
    range.range.target = KV_BY_CREATE;
    range.range.order = KV_ORDER_ASCEND;
    if (e == ERR_OK) {
        pump_read(n, &range, &n->apply, &reply);
        e = reply.err != ERR_OK ? reply.err : reply.range.n ? ERR_OK : ERR_ELECTION_NO_LEADER;
    }
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    own.revision = reply.revision;
    own.leading = reply.range.items[0];
    call_answer(call, &own);
}

void locking_read(struct call *call, const struct request *r)
{
    if (r->type == REQUEST_LEADER) {
        read_leader(call, r);
        return;
    }
    enum err e = may_begin(call, r);
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    struct locking *l = open_locking(call, r);
    l->step = STEP_OBSERVE;
    call_stand(call);
    observe(l);
}

/* ---- what happens ---- */

void locking_changed(struct node *n, const struct kv_change *changes, size_t count)
{
    struct watch_batch *batches;
    size_t n_batches;
    if (!n->lockings.n)
        return;
    watch_match(n->lockings.hub, changes, count, &n->apply, &batches, &n_batches);
    for (size_t i = 0; i < n_batches; i++)
        set_due(batches[i].watcher->owner);
}

void locking_installed(struct node *n)
{
    for (struct locking *l = n->lockings.first; l; l = l->next)
        if (l->step == STEP_WAIT || l->step == STEP_OBSERVE)
            set_due(l);
}

void locking_settle(struct node *n)
{
    struct lockings *all = &n->lockings;
    size_t count = 0;
    for (struct locking *l = all->due; l; l = l->due_next)
        count++;
    for (; count > 0 && all->due; count--) { /* who has no room is due again, in a later turn */
        struct locking *l = all->due;
        not_due(all, l);
        if (l->step == STEP_OBSERVE)
            observe(l);
        else
            wait_on(l);
    }
}
