/* The operator: replaces members, one at a time: removes one, wipes its disk, adds it anew, starts
 * it so that it joins; hands leadership about. A member whose disk was lost and that was started
 * all the same has to be replaced: until then it must be refused by the others. */
#include "operator.h"
#include <stdio.h>
#include "base/check.h"
#include "client.h"
#include "node/node_int.h"
#include "wire/protobuf/etcd_pb.h"

enum { URL_BYTES = 64, PEER_PORT = 2380, TIMEOUT_US = 4000000, PAUSE_US = 400000 };

enum step { IDLE, MOVE_LEADER, REMOVE, ADD, JOIN, PROMOTE };

static struct operator {
    struct door door;
    enum step step;
    bool busy, answered, learner, stopping;
    struct host *host; /* that is replaced */
    uint64_t id, gone; /* of the member that goes, or comes; that went */
    uint64_t attempt;
    int64_t gap_us;
} op;

static void next(void *context, uint64_t attempt);

static void later(int64_t in_us)
{
    world_call(world_us + in_us, next, NULL, ++op.attempt);
}

static void go(enum step step, int64_t in_us)
{
    op.step = step;
    later(in_us);
}

static void done(void)
{
    trace("operator: %s is a member again", op.host->name);
    op.host->wiped = op.host->retired = op.host->leaves = false;
    op.host = NULL;
    counts[COUNT_REPLACED]++;
    go(IDLE, world_between(SECOND, op.gap_us));
}

/* ---- who ---- */

static struct host *wiped(void)
{
    for (int i = 0; i < n_nodes; i++)
        if (hosts[i].wiped)
            return &hosts[i];
    return NULL;
}

/* Everybody has to know a member's data directory before it may be lost. */
static bool is_known(const struct host *h)
{
    uint64_t id = h->node ? h->node->header.member_id : 0;
    for (int i = 0; id && i < n_nodes; i++) {
        const struct host *other = &hosts[i];
        const struct member *m = other->up && other->node && !other->node->joining
                                     ? cluster_member(other->node, id)
                                     : NULL;
        if (!m || m->info.incarnation != h->node->incarnation ||
            other->node->machine.applied_index < other->node->ready_index)
            return false;
    }
    return id != 0;
}

bool operator_may_wipe(const struct host *h)
{
    return plan.replace && !op.host && !op.stopping && !wiped() && is_known(h);
}

static struct host *somebody_else(void)
{
    struct host *h;
    do
        h = &hosts[world_below((uint64_t)n_nodes)];
    while (h == op.host || h->wiped);
    return h;
}

/* ---- one step ---- */

static struct span url_of(const struct host *h, char out[URL_BYTES])
{
    snprintf(out, URL_BYTES, "%s:%d", h->address, PEER_PORT);
    return span_text(out);
}

/* Not the one that went, of which the node that was asked had not heard. */
static bool was_added(void)
{
    char url[URL_BYTES];
    struct span want = url_of(op.host, url);
    const struct node *n = op.door.to->up ? op.door.to->node : NULL;
    for (size_t i = 0; n && i < n->cluster.n; i++)
        if (span_equal(n->cluster.members[i].info.peer_url, want) &&
            n->cluster.members[i].id != op.gone)
            return true;
    return false;
}

static const char *encode(struct buf *out)
{
    char url[URL_BYTES];
    struct span urls = SPAN_NONE;
    struct pb_member_remove_request remove = { .id = op.id };
    struct pb_member_promote_request promote = { .id = op.id };
    struct pb_move_leader_request move = { .target_id = op.id };
    struct pb_member_add_request add = { .is_learner = op.learner, .peer_urls = &urls };
    switch (op.step) {
    case MOVE_LEADER:
        pb_move_leader_request_encode(&move, out);
        return "/etcdserverpb.Maintenance/MoveLeader";
    case REMOVE:
        pb_member_remove_request_encode(&remove, out);
        return "/etcdserverpb.Cluster/MemberRemove";
    case ADD:
        urls = url_of(op.host, url);
        add.n_peer_urls = 1;
        pb_member_add_request_encode(&add, out);
        return "/etcdserverpb.Cluster/MemberAdd";
    case PROMOTE:
        pb_member_promote_request_encode(&promote, out);
        return "/etcdserverpb.Cluster/MemberPromote";
    case IDLE:
    case JOIN:
        break;
    }
    UNREACHABLE("these ask nobody");
}

static void timed_out(void *context, uint64_t attempt)
{
    CHECK(context == NULL);
    if (op.attempt != attempt)
        return;
    door_close(&op.door);
    op.busy = false;
    later(PAUSE_US);
}

static void ask(struct host *whom)
{
    static const char *const names[] = { "", "move leader to", "remove", "add", "", "promote" };
    struct buf message;
    door_close(&op.door);
    door_open(&op.door, whom);
    op.busy = true;
    op.answered = false;
    trace("operator: %s %llx of %s by %s", names[op.step], (unsigned long long)op.id,
          op.host ? op.host->name : "", whom->name);
    buf_open(&message, &world_heap);
    const char *path = encode(&message);
    world_call(world_us + TIMEOUT_US, timed_out, NULL, op.attempt);
    door_call(&op.door, path, buf_all(&message), true);
    buf_close(&message);
}

/* The member is out: its disk goes, and it waits to be added. */
static void removed(void)
{
    struct host *h = op.host;
    if (h->up)
        host_kill(h, false);
    op.gone = op.id;
    h->retired = true;
    h->joins = true;
    disk_wipe(h->disk);
    go(ADD, world_between(0, 2 * SECOND));
}

static void choose(void)
{
    struct host *h = wiped();
    op.id = 0;
    if (!h && op.stopping)
        return;
    if (!h && world_chance(40)) {
        h = &hosts[world_below((uint64_t)n_nodes)];
        if (h->up && h->node && h->node->header.member_id) {
            op.id = h->node->header.member_id;
            go(MOVE_LEADER, 0);
            return;
        }
    } else if (!h) {
        h = &hosts[world_below((uint64_t)n_nodes)];
        op.id = h->up && h->node && !h->node->joining ? h->node->header.member_id : 0;
    } else {
        op.id = h->wiped_id;
    }
    op.host = op.id ? h : NULL;
    op.learner = world_chance(50);
    go(op.host ? REMOVE : IDLE, PAUSE_US);
}

static void look_whether_it_joined(void)
{
    struct host *h = op.host;
    bool in = h->up && h->node && !h->node->joining && h->node->machine.applied_index > 0;
    if (in && op.learner)
        go(PROMOTE, 0);
    else if (in)
        done();
    else
        later(PAUSE_US);
}

static void next(void *context, uint64_t attempt)
{
    CHECK(context == NULL);
    if (op.attempt != attempt || op.busy)
        return;
    switch (op.step) {
    case IDLE:
        choose();
        return;
    case JOIN:
        look_whether_it_joined();
        return;
    case MOVE_LEADER:
        counts[COUNT_MOVES]++;
        ask(somebody_else());
        return;
    case REMOVE:
        if (op.stopping && !op.host->wiped && !op.host->leaves) { /* it need not be */
            op.host = NULL;
            go(IDLE, 0);
            return;
        }
        op.host->leaves = true;
        ask(somebody_else());
        return;
    case ADD:
    case PROMOTE:
        ask(somebody_else());
        return;
    }
}

/* ---- answers ---- */

static void on_message(void *context, struct span message)
{
    struct pb_member_add_response r;
    CHECK(context == NULL);
    op.answered = true;
    if (op.step != ADD)
        return;
    if (pb_member_add_response_decode(message, &client_arena, &r) != ERR_OK || !r.member)
        violated("the answer to an added member makes no sense");
    op.id = r.member->id;
}

static void added(bool known)
{
    struct host *h = op.host;
    h->retired = h->wiped = false;
    if (!known) /* of an answer that was lost: it is told who it is all the same */
        op.learner = true;
    go(JOIN, world_between(0, SECOND));
}

/* An earlier try may have been done, though its answer was lost. */
static void on_over(void *context, int code, struct span text)
{
    CHECK(context == NULL);
    bool ok = code == 0 && op.answered;
    trace("operator: %d %.*s", code, (int)text.len, (const char *)text.data);
    op.busy = false;
    switch (op.step) {
    case MOVE_LEADER:
        go(IDLE, world_between(SECOND, op.gap_us));
        return;
    case REMOVE:
        if (ok || span_is(text, "etcdserver: member not found"))
            removed();
        else
            later(world_between(0, 2 * PAUSE_US));
        return;
    case ADD:
        if (ok || (span_is(text, "etcdserver: Peer URLs already exists") && was_added()))
            added(ok);
        else
            later(world_between(0, 2 * PAUSE_US));
        return;
    case PROMOTE:
        op.id = op.host->node ? op.host->node->header.member_id : op.id;
        if (ok || span_is(text, "etcdserver: can only promote a learner member"))
            done();
        else
            later(world_between(0, 2 * PAUSE_US));
        return;
    case IDLE:
    case JOIN:
        break;
    }
    UNREACHABLE("these ask nobody");
}

void operator_open(void)
{
    op = (struct operator){ .gap_us = world_between(2 * SECOND, 15 * SECOND) };
    door_init(&op.door, host_add(false, "op"), NULL, on_message, on_over);
    if (plan.replace)
        go(IDLE, world_between(0, 5 * SECOND));
}

void operator_close(void)
{
    op.attempt++;
    door_close(&op.door);
}

void operator_stop(void)
{
    op.stopping = true;
}

bool operator_idle(void)
{
    return op.step == IDLE && !op.busy && !wiped();
}
