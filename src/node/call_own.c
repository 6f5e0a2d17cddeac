/* What the node answers from its own knowledge: status, health, members; and changes of the latter.
 */
#include "base/check.h"
#include "node/call_int.h"
#include "node/peers.h"

static void status_of(struct node *n, struct reply *reply)
{
    struct kv_stats stats;
    kv_stats(n->machine.kv, &stats);
    reply->status.version = ETCD_VERSION;
    reply->status.size_bytes = (int64_t)stats.used_bytes;
    reply->status.size_in_use_bytes = (int64_t)stats.live_bytes;
    reply->status.leader = n->update.leader;
    reply->status.index = raft_last_index(n->raft);
    reply->status.term = n->update.term;
    reply->status.applied_index = n->machine.applied_index;
    reply->status.nospace = n->nospace;
    reply->status.alarms = &n->machine.alarms;
    reply->status.quota_bytes =
        n->params.quota_backend_bytes ? n->params.quota_backend_bytes : n->store_bytes_max;
}

static enum health health_of(struct node *n)
{
    const char *why;
    return small_ready(n, &why) ? HEALTH_SERVING : HEALTH_NOT_SERVING;
}

/* The whole server, "", is all there is. A watch of another name is told so and stays open, for the
 * name may yet appear (the health protocol); a check ends with NOT_FOUND. */
void call_answer_health(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct reply reply = { .type = REQUEST_HEALTH };
    bool known = !r->health_service.len, watch = call->method->kind == ETCD_HEALTH_WATCH;
    if (known && watch) {
        call_health_settle(n);
        call->watches_health = true;
    }
    reply.err = known || watch ? ERR_OK : ERR_NOT_FOUND;
    reply.health = known ? health_of(n) : HEALTH_NO_SERVICE;
    call_answer(call, &reply);
}

void call_health_settle(struct node *n)
{
    struct reply reply = { .type = REQUEST_HEALTH, .health = health_of(n) };
    bool ready = reply.health == HEALTH_SERVING;
    if (ready == n->health_told)
        return;
    n->health_told = ready;
    for (size_t i = n->standing.n; i > 0; i--) { /* whoever ends here leaves the list */
        struct call *call = n->standing.items[i - 1];
        if (!call->watches_health)
            continue;
        if (call_queued(call) < OUTPUT_BYTES)
            call_answer(call, &reply);
        else
            call_end(call, ERR_OVERLOADED); /* it does not listen */
    }
}

/* Streams that need a leader are told that there is none (etcd's "hasleader"). */
void call_no_leader(struct node *n)
{
    for (size_t i = n->standing.n; i > 0; i--)
        if (n->standing.items[i - 1]->needs_leader)
            call_end(n->standing.items[i - 1], ERR_NO_LEADER);
    watching_no_leader(n);
}

void call_stop_all(struct node *n)
{
    call_health_settle(n);
    while (n->standing.n)
        call_end(n->standing.items[n->standing.n - 1], ERR_STOPPED);
}

static void members_of(struct node *n, struct reply *reply)
{
    struct member_info *items = ARENA_ARRAY(&n->turn, struct member_info, n->cluster.n + 1);
    for (size_t i = 0; i < n->cluster.n; i++) {
        const struct member *m = &n->cluster.members[i];
        items[i] = (struct member_info){ .id = m->id,
                                         .name = m->info.name,
                                         .peer_url = m->info.peer_url,
                                         .client_url = m->info.client_url,
                                         .learner = m->votes == 0,
                                         .connected = peers_connected(n, m->id),
                                         .version = peers_version(n, m->id) };
        struct raft_progress p;
        if (!raft_progress(n->raft, m->id, &p))
            continue;
        items[i].tracked = true;
        items[i].match_index = p.match;
        items[i].heard_ms_ago = loop_now_ms(n->loop) - p.heard_ms;
    }
    reply->members.items = items;
    reply->members.n = n->cluster.n;
    reply->members.cluster = n->header.cluster_id;
    reply->members.self = n->header.member_id;
    reply->members.leader = n->update.leader;
    reply->members.term = n->update.term;
    reply->members.last_index = raft_last_index(n->raft);
    reply->members.commit_index = n->update.commit_index;
    reply->members.applied_index = n->machine.applied_index;
    reply->members.level = n->machine.level;
}

/* What the node knows itself. */
void call_answer_own(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct reply reply = { .type = r->type, .revision = kv_revision(n->machine.kv) };
    const struct member *self = cluster_member(n, n->header.member_id);
    if (r->type == REQUEST_SNAPSHOT) {
        if (!download_begin(n, call))
            call_end(call, n->machine.applied_index ? ERR_OVERLOADED : ERR_UNHEALTHY);
        return;
    }
    if (r->type == REQUEST_STATUS) {
        status_of(n, &reply);
        reply.status.learner = self && self->votes == 0;
    } else if (r->type == REQUEST_MEMBERS) {
        members_of(n, &reply);
    }
    call_answer(call, &reply);
}

void call_members_changed(struct call *call)
{
    struct node *n = call->node;
    struct reply reply = { .type = REQUEST_MEMBERS, .revision = kv_revision(n->machine.kv) };
    if (!call_back(call))
        return;
    members_of(n, &reply);
    reply.members.id = call->member;
    call_answer_late(call, &reply);
}

void call_change_members(struct call *call, const struct request *r)
{
    enum err e = cluster_change(call->node, call, r);
    if (e != ERR_OK)
        call_end(call, e);
    else if (r->type == REQUEST_MOVE_LEADER)
        call_answer_own(call, r);
}
