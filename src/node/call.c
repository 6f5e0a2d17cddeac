/* Calls: one request and its answer, or a stream of both, of any door.
 *
 * A call is born with its request and dies when its answer is complete or its peer is gone, but
 * not before the proposals that it waits for have come back. Messages are decoded, asked and
 * answered at once where they can be; what goes through the log is answered by call_replied. */
#include "node/call_int.h"
#include <stdio.h>
#include "base/check.h"
#include "node/changing.h"
#include "node/peers.h"
#include "node/reach.h"

struct call *call_new(struct conn *c, struct h2_stream *s)
{
    struct node *n = c->node;
    struct call *call = mem_zero(&n->pool.alloc, sizeof(*call));
    call->node = n;
    call->conn = c;
    call->stream = s;
    grpc_reader_open(&call->reader, &n->pool.alloc);
    arena_open(&call->arena, &n->pool.alloc);
    buf_open(&call->body, &n->pool.alloc);
    n->call_count++;
    return call;
}

static void call_free(struct call *call)
{
    struct node *n = call->node;
    CHECK(!call->watch && !call->range_stream && !call->hashing && !call->locking &&
          call->waiting == 0 && !call->conn);
    grpc_reader_close(&call->reader);
    if (call->gate)
        call_gate_free(call);
    arena_close(&call->arena);
    buf_close(&call->body);
    n->call_count--;
    mem_free(&n->pool.alloc, call, sizeof(*call));
}

static void drop_from(struct call **items, size_t *n, const struct call *call)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (items[i] != call)
            items[kept++] = items[i];
    *n = kept;
}

void call_stand(struct call *call)
{
    if (call->standing_place)
        return;
    VEC_PUSH(&call->node->standing, &call->node->alloc, call);
    call->standing_place = call->node->standing.n;
}

/* There may be as many of these as streams: the last one takes its place. */
static void stand_no_more(struct call *call)
{
    struct node *n = call->node;
    struct call *last = n->standing.items[--n->standing.n];
    CHECK(n->standing.items[call->standing_place - 1] == call);
    n->standing.items[call->standing_place - 1] = last;
    last->standing_place = call->standing_place;
    call->standing_place = 0;
}

/* Lets go of everything but the memory, which waits for the last proposal. */
void call_settle(struct call *call)
{
    struct node *n = call->node;
    if (call->watch) {
        struct watch_stream *watch = call->watch;
        call->watch = NULL;
        watching_close(watch);
    }
    if (call->push)
        pushing_end(call);
    if (call->gathering)
        deliveries_gone(call);
    if (call->range_stream)
        range_stream_gone(call->range_stream);
    if (call->hashing)
        hashing_gone(call->hashing);
    if (call->locking)
        locking_gone(call->locking);
    if ((call->rest && call->rest->kind == REST_SNAPSHOT) ||
        (call->method && call->method->kind == ETCD_SNAPSHOT))
        download_gone(n, call);
    for (size_t i = n->renewals.n; call->renewing && i-- > 0;)
        if (n->renewals.items[i].call == call)
            n->renewals.items[i] = n->renewals.items[--n->renewals.n];
    if (call->physical)
        drop_from(n->physical.items, &n->physical.n, call);
    if (call->standing_place)
        stand_no_more(call);
    if (call->sealing)
        seal_gone(call->sealing);
    call->sealing = NULL;
    login_gone(call);
    loop_timer_clear(n->loop, &call->deadline);
    call->renewing = 0;
    call->physical = false;
}

void call_gone(struct call *call)
{
    if (call->stream)
        h2_stream_set_user(call->stream, NULL);
    else if (call->conn)
        call->conn->call = NULL;
    if (call->method && !call->ended)
        metric_grpc_end(call, 1);
    call_settle(call);
    admit_call_gone(call);
    call->conn = NULL;
    call->stream = NULL;
    if (call->waiting == 0)
        call_free(call);
}

size_t call_queued(const struct call *call)
{
    size_t below = conn_queued(call->conn);
    return call->stream ? h2_stream_queued(call->stream) + (below >= OUTPUT_BYTES ? below : 0)
                        : below;
}

/* ---- answers of methods ---- */

struct buf *call_message_begin(struct call *call)
{
    CHECK(call->method && !call->ended);
    if (call->gate)
        return call_gate_begin(call);
    if (!call->begun)
        grpc_respond(call->stream);
    call->begun = true;
    struct buf *out = h2_write_begin(call->stream);
    call->message_start = grpc_message_begin(out);
    return out;
}

void call_message_end(struct call *call)
{
    call->node->metrics.methods[call->method->number].sent++;
    if (call->gate) {
        call_gate_end(call);
        return;
    }
    grpc_message_end(h2_write_begin(call->stream), call->message_start);
    h2_write_end(call->stream, false);
    conn_touch(call->conn);
}

void call_finish(struct call *call, int code, const char *text)
{
    struct node *n = call->node;
    CHECK(!call->ended && call->method);
    n->metrics.requests_refused += code != 0;
    metric_grpc_end(call, code);
    if (call->gate) {
        call_gate_finish(call, code, text);
        return;
    }
    call->ended = true;
    grpc_finish_later(call->stream, call->begun, code, text, call->retry_ms);
    if (!call->input_over)
        h2_hear_no_more(call->stream);
    conn_touch(call->conn);
    call_settle(call);
}

/* ---- HTTP answers ---- */

/* RFC 9110 10.2.3: in whole seconds. */
static struct http_header call_retry_header(struct call *call)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)(call->retry_ms + 999) / 1000);
    return (struct http_header){ SPAN("retry-after"), arena_copy(&call->arena, span_text(text)) };
}

size_t call_headers(struct call *call, const struct http_header *own, size_t n,
                    struct http_header *out)
{
    CHECK(n + call->n_cors < CALL_HEADERS_MAX);
    memcpy(out, own, n * sizeof(*out));
    if (call->n_cors)
        memcpy(out + n, call->cors, call->n_cors * sizeof(*out));
    n += call->n_cors;
    if (call->retry_ms)
        out[n++] = call_retry_header(call);
    return n;
}

void call_answer_http(struct call *call, const struct rest_answer *a)
{
    struct conn *c = call->conn;
    struct http_header headers[1 + CALL_HEADERS_MAX] = { { SPAN(":status"), SPAN_NONE } };
    size_t n = call_headers(call, a->headers, a->header_count, headers + 1);
    call->ended = true;
    if (call->stream) {
        uint8_t status[3] = { (uint8_t)('0' + a->status / 100),
                              (uint8_t)('0' + a->status / 10 % 10),
                              (uint8_t)('0' + a->status % 10) };
        headers[0].value = span_of(status, 3);
        bool no_body = a->body.len == 0 || call->head_only;
        h2_respond(call->stream, headers, 1 + n, no_body);
        if (!no_body)
            h2_write(call->stream, a->body, true);
        conn_touch(c);
        return;
    }
    bool keep = http1_keep_alive(c->http1) && !call->node->stopping;
    http1_respond(c->http1, a->status, headers + 1, n, a->body, keep, conn_output(c));
    c->closing = c->closing || !keep;
    c->since_ms = loop_now_ms(call->node->loop);
    http1_next(c->http1);
    call_gone(call);
}

/* Those that have a metric of their own. */
static void count_refusal(struct metrics *m, enum err e)
{
    m->requests_denied += e == ERR_PERMISSION_DENIED || e == ERR_USER_EMPTY ||
                          e == ERR_AUTH_TOKEN || e == ERR_AUTH_OLD_REVISION;
    m->auth_full += e == ERR_AUTH_LIMIT;
}

void call_refuse_http(struct call *call, enum err e, const char *detail)
{
    struct rest_answer a;
    call->node->metrics.requests_refused++;
    count_refusal(&call->node->metrics, e);
    audit_denied(call, e);
    if (call->vault)
        vault_problem(e, detail, &call->node->turn, &a);
    else
        rest_problem(e, detail, &call->node->turn, &a);
    call_answer_http(call, &a);
}

void call_text(struct call *call, struct span text)
{
    struct conn *c = call->conn;
    if (c->ws)
        ws_send(c->ws, text, conn_output(c));
    else if (call->stream)
        h2_write(call->stream, text, false);
    else
        http1_chunk(text, conn_output(c));
    conn_touch(c);
}

/* The end of a stream of texts, by our wish. */
void call_end_texts(struct call *call)
{
    struct conn *c = call->conn;
    if (call->ended)
        return;
    call->ended = true;
    call_settle(call);
    if (c->ws) {
        (call->node->stopping ? ws_leave : ws_end)(c->ws, conn_output(c));
        c->since_ms = loop_now_ms(call->node->loop);
    } else if (call->stream) {
        h2_write(call->stream, SPAN_NONE, true);
    } else {
        http1_end(conn_output(c));
        c->closing = true;
    }
    conn_touch(c);
}

void call_end(struct call *call, enum err e)
{
    const char *text;
    if (!call->conn || call->ended)
        return;
    if (call->method) {
        int code = e == ERR_OK ? 0 : etcd_status(e, &text);
        count_refusal(&call->node->metrics, e);
        call_finish(call, code, e == ERR_OK ? "" : text);
    } else if (call->rest && call->begun &&
               (call->rest->kind == REST_WATCH || call->rest->kind == REST_PUSH)) {
        call_end_texts(call);
    } else {
        call_refuse_http(call, e, NULL);
    }
}

/* ---- answers of the core ---- */

static void answer_grpc(struct call *call, const struct reply *reply)
{
    struct node *n = call->node;
    if (reply->err != ERR_OK) {
        call_end(call, reply->err);
        return;
    }
    if (call->flagd) {
        call_flagd_answer(call);
        return;
    }
    etcd_encode(call->method, &n->header, reply, &n->apply, call_message_begin(call));
    call_message_end(call);
    if (call->method->kind == ETCD_UNARY)
        call_end(call, ERR_OK);
}

void call_answer(struct call *call, const struct reply *reply)
{
    struct node *n = call->node;
    struct rest_answer a;
    enum err e = admit_answer(call, reply);
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    if (call->method) {
        answer_grpc(call, reply);
        return;
    }
    if (call->vault) {
        if (reply->err == ERR_OK)
            vault_replied(call, reply);
        else
            call_end(call, reply->err);
        return;
    }
    if (call->probe) {
        health_read(call, reply->err);
        return;
    }
    if (call->rest->secret && reply->err == ERR_OK) {
        secrets_replied(call, reply);
        return;
    }
    if (call->rest->audit && reply->err == ERR_OK) {
        audit_find(call);
        return;
    }
    if (call->rest->change && reply->err == ERR_OK) {
        changing_replied(call, reply);
        return;
    }
    if (call_again(call, reply))
        return;
    if (call->rest->access && reply->err == ERR_OK) {
        access_replied(call, reply);
        return;
    }
    n->metrics.requests_refused += reply->err != ERR_OK;
    count_refusal(&n->metrics, reply->err);
    audit_denied(call, reply->err);
    rest_answer(call->rest, n->machine.kv, reply, &call->arena, &a);
    call_answer_http(call, &a);
}

bool call_back(struct call *call)
{
    CHECK(call->waiting > 0);
    call->waiting--;
    if (!call->conn && call->waiting == 0)
        call_free(call);
    else if (call->conn && !call->ended)
        return true;
    return false;
}

void call_answer_late(struct call *call, const struct reply *reply)
{
    struct conn *c = call->conn;
    bool http1 = !call->stream;
    call_answer(call, reply);
    if (http1)
        conn_feed_rest(c);
}

void call_fail_late(struct call *call, enum err e)
{
    struct reply reply = { .err = e, .revision = kv_revision(call->node->machine.kv) };
    call_answer_late(call, &reply);
}

void call_replied(struct call *call, const struct reply *reply)
{
    struct reply filled;
    if (call->locking && (!call->conn || call->ended))
        locking_late(call->locking, reply);
    if (!call_back(call))
        return;
    if (call->reach) {
        reach_replied(call, reply);
        return;
    }
    if (!login_replied(call, reply, &filled))
        return;
    if (call->verdict != ERR_OK) { /* the alarm stands, or could not be raised */
        call_fail_late(call, call->verdict);
        return;
    }
    if (call->locking) {
        locking_replied(call->locking, reply);
        return;
    }
    if (call->wants_physical && reply->err == ERR_OK) {
        call->compact_revision = reply->revision;
        call->physical = true;
        VEC_PUSH(&call->node->physical, &call->node->alloc, call);
        return;
    }
    call_answer_late(call, &filled);
}

void call_failed(struct call *call, enum err e)
{
    struct reply reply = { .err = e, .revision = kv_revision(call->node->machine.kv) };
    call_replied(call, &reply);
}

void call_physical_settle(struct node *n)
{
    while (n->physical.n) {
        struct call *call = n->physical.items[--n->physical.n];
        struct reply reply = { .type = REQUEST_COMPACT, .revision = call->compact_revision };
        call->physical = false;
        call_answer_late(call, &reply);
    }
}

/* ---- lease renewals: not through the log, but for a lease that has a note ---- */

static void renewed(struct call *call, int64_t lease, int64_t ttl_s)
{
    struct reply reply = { .type = REQUEST_LEASE_RENEW,
                           .revision = kv_revision(call->node->machine.kv),
                           .lease = { .id = lease, .ttl_s = ttl_s } };
    if (!call->conn || call->ended)
        return;
    call_answer(call, &reply);
    if (call->gate)
        call_gate_go_on(call);
    else if (call->input_over && !call->renewing && !call->waiting)
        call_end(call, ERR_OK);
}

/* False: it waits for its lease's revoke, or for its note to be cleared. */
static bool renew_now(struct node *n, struct renewal r, enum err *e, int64_t *ttl_s)
{
    *ttl_s = 0;
    *e = !n->counting ? ERR_NO_LEADER : n->renewals.n >= ASKS_MAX ? ERR_TOO_MANY_REQUESTS : ERR_OK;
    if (*e != ERR_OK)
        return true;
    switch (lease_renew(n->machine.lease, r.lease, loop_now_ms(n->loop), ttl_s)) {
    case LEASE_RENEWED:
        n->metrics.leases_renewed++;
        leasing_timer(n);
        return true;
    case LEASE_GONE:
        return true;
    case LEASE_NOTED:
        *e = leasing_clear(n, r.lease);
        if (*e != ERR_OK)
            return true;
        break;
    case LEASE_CLEARING:
    case LEASE_EXPIRING:
        break;
    }
    VEC_PUSH(&n->renewals, &n->alloc, r);
    if (r.call)
        r.call->renewing++;
    return false;
}

static void renew(struct call *call, int64_t lease)
{
    int64_t ttl_s;
    enum err e;
    if (!renew_now(call->node, (struct renewal){ .call = call, .lease = lease }, &e, &ttl_s))
        return;
    if (e != ERR_OK)
        call_end(call, e);
    else
        renewed(call, lease, ttl_s);
}

void call_renew_for_peer(struct node *n, int64_t lease, uint64_t peer, uint64_t id)
{
    struct peer_frame f = { .type = PEER_RENEWED };
    struct renewal r = { .peer = peer, .id = id, .lease = lease };
    f.renewed.id = id;
    if (renew_now(n, r, &f.renewed.err, &f.renewed.ttl_s))
        peers_send(n, peer, &f);
}

void call_renewals_settle(struct node *n)
{
    size_t count = n->renewals.n;
    struct renewal *list = ARENA_ARRAY(&n->turn, struct renewal, count + 1);
    if (count)
        memcpy(list, n->renewals.items, count * sizeof(*list));
    n->renewals.n = 0;
    for (size_t i = 0; i < count; i++) {
        struct renewal r = list[i];
        if (!r.call) {
            call_renew_for_peer(n, r.lease, r.peer, r.id);
        } else if (!r.call->ended) { /* by the answer before it */
            struct conn *c = r.call->conn;
            r.call->renewing--;
            renew(r.call, r.lease);
            conn_feed_rest(c);
        }
    }
}

void call_renewed(struct call *call, int64_t lease, enum err e, int64_t ttl_s)
{
    if (!call_back(call))
        return;
    struct conn *c = call->conn;
    if (e != ERR_OK)
        call_end(call, e);
    else
        renewed(call, lease, ttl_s);
    conn_feed_rest(c);
}

/* ---- requests ---- */

/* etcd v3rpc/quota.go: what no longer fits raises the alarm, and is told so once that is done.
 * False: it fits, or nothing is to be said of it here. */
static bool over_quota(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct kv_stats stats;
    int64_t cost = request_cost(r), quota = n->params.quota_backend_bytes;
    struct alarm which = { n->header.member_id, ALARM_NOSPACE };
    struct request raise = { .type = REQUEST_ALARM,
                             .author = SPAN("quota"),
                             .auth_revision = REQUEST_BY_NODE,
                             .alarm = { .which = which } };
    if (!quota || !cost)
        return false;
    kv_stats(n->machine.kv, &stats);
    if ((int64_t)stats.used_bytes + cost < quota)
        return false;
    n->metrics.quota_refused++;
    if (!alarm_is(&n->machine.alarms, which) && pump_propose(n, &raise, call, 0) == ERR_OK) {
        call->verdict = ERR_NOSPACE;
        call->waiting++;
    } else {
        call_end(call, ERR_NOSPACE);
    }
    return true;
}

void call_propose(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    if (over_quota(call, r))
        return;
    call->wants_physical = r->type == REQUEST_COMPACT && r->compact.physical;
    enum err e =
        call->needs_leader && !n->update.leader ? ERR_NO_LEADER : pump_propose(n, r, call, 0);
    if (e == ERR_OK)
        call->waiting++;
    else
        call_end(call, e);
}

static void read_now(struct call *call, const struct request *r)
{
    struct reply reply;
    struct node *n = call->node;
    if (r->type == REQUEST_MEMBERS) {
        call_answer_own(call, r);
        return;
    }
    if (r->type == REQUEST_LEADER || r->type == REQUEST_OBSERVE) {
        locking_read(call, r);
        arena_reset(&n->apply);
        return;
    }
    if (call->method && call->method->kind == ETCD_RANGE_STREAM) {
        range_stream_begin(call, r);
        arena_reset(&n->apply);
        upkeep_again(n);
        return;
    }
    if (r->type == REQUEST_HASH || r->type == REQUEST_HASH_ALL) {
        hashing_begin(call, r);
        arena_reset(&n->apply);
        return;
    }
    pump_read(n, r, &n->apply, &reply);
    if (r->type == REQUEST_LEASE_LOOK && reply.err == ERR_OK && n->update.role != RAFT_LEADER) {
        reply.look.found = reply.look.found && call->looked_ms >= 0;
        reply.look.info.remaining_ms = call->looked_ms;
    }
    call_answer(call, &reply);
    arena_reset(&n->apply);
}

static bool reads_state(const struct request *r)
{
    return (!request_writes(r) && r->type < REQUEST_LEASE_RENEW) || r->type == REQUEST_LEADER ||
           r->type == REQUEST_OBSERVE;
}

/* Kept until the read index comes: the message; what was read of a REST request stays anyway. */
static void hold(struct call *call, struct span message)
{
    if (!call->rest) {
        buf_reset(&call->body);
        buf_span(&call->body, message);
    }
    forward_gather(call->node, call, 0);
}

static void read_request(struct call *call, const struct request *r, struct span message)
{
    struct node *n = call->node;
    bool look_there = r->type == REQUEST_LEASE_LOOK && n->update.role != RAFT_LEADER;
    if (!look_there && (r->serializable || pump_may_read(n)))
        read_now(call, r);
    else if (call->needs_leader && !n->update.leader)
        call_end(call, ERR_NO_LEADER);
    else
        hold(call, message);
}

static enum err held_request(struct call *call, struct request *r)
{
    struct node *n = call->node;
    if (call->rest) {
        const char *detail;
        enum err e = rest_plan(call->rest, n->machine.kv, &call->arena, &detail);
        if (e != ERR_OK)
            return e;
        *r = call->rest->request;
    } else {
        enum err e = etcd_decode(call->method, buf_all(&call->body), &n->turn, r);
        CHECK(e == ERR_OK); /* it was read before */
    }
    return login_of(call, r);
}

static void read_held(struct call *call, const struct request *r)
{
    struct conn *c = call->conn;
    bool http1 = !call->stream;
    read_now(call, r);
    if (http1)
        conn_feed_rest(c);
}

void call_read_now(struct call *call, int64_t lease)
{
    struct node *n = call->node;
    struct request r;
    if (!call_back(call))
        return;
    if (lease) {
        struct conn *c = call->conn;
        renew(call, lease);
        conn_feed_rest(c);
        return;
    }
    if (call->caller.login) {
        login_read(call);
        return;
    }
    enum err e = call->probe ? ERR_OK : held_request(call, &r);
    if (e != ERR_OK || call->probe)
        call_fail_late(call, e);
    else if (r.type != REQUEST_LEASE_LOOK || n->update.role == RAFT_LEADER)
        read_held(call, &r);
    else if (forward_possible(n))
        forward_look(n, call, r.lease.id);
    else
        call_fail_late(call, ERR_NO_LEADER);
}

void call_read_failed(struct call *call, enum err e)
{
    if (call_back(call))
        call_fail_late(call, e);
}

void call_looked(struct call *call, enum err e, int64_t ttl_ms)
{
    struct request r;
    if (!call_back(call))
        return;
    if (e != ERR_OK && e != ERR_LEASE_NOT_FOUND) {
        call_fail_late(call, e);
        return;
    }
    call->looked_ms = e == ERR_OK ? ttl_ms : -1;
    e = held_request(call, &r);
    if (e == ERR_OK)
        read_held(call, &r);
    else
        call_fail_late(call, e);
}

static bool is_watch(const struct request *r)
{
    return r->type == REQUEST_WATCH_ADD || r->type == REQUEST_WATCH_REMOVE ||
           r->type == REQUEST_WATCH_PROGRESS;
}

/* What is wrong with it, and whether who asks may. What is read or applied is judged there, at the
 * state that it meets; but nobody unknown gets that far, and who is alone knows at once. etcd looks
 * at keys before it asks who it is, at all else after. */
static enum err may_take(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    bool later = request_writes(r) ? !n->cluster.alone && !(r->plain && machine_publishes(r))
                                   : reads_state(r);
    bool keys = r->type == REQUEST_RANGE || r->type == REQUEST_PUT || r->type == REQUEST_DELETE ||
                r->type == REQUEST_TXN;
    enum err e = keys ? request_check(r, &n->turn) : ERR_OK;
    if (e == ERR_OK && call->rest)
        e = rest_author(call->rest, r->author);
    if (e == ERR_OK && !(later && r->auth_revision))
        e = machine_permits(&n->machine, r);
    return e == ERR_OK && !keys ? request_check(r, &n->turn) : e;
}

/* Who may do what is known. */
static bool has_rights(const struct node *n)
{
    return !transfer_loading(n) && n->machine.applied_index >= n->auth_index;
}

/* One of several that has applied nothing yet may have lost its disk, and be refused by the others
 * in a moment: it does not answer that there is nothing. */
bool call_has_state(const struct node *n)
{
    return has_rights(n) && (n->cluster.alone || n->machine.applied_index > 0);
}

/* What is not answered from here waits for a leader. */
static bool may_answer(const struct node *n, const struct request *r)
{
    if (r->type == REQUEST_STATUS || r->type == REQUEST_HEALTH)
        return true;
    return r->serializable || is_watch(r) ? call_has_state(n) : has_rights(n);
}

static void take_renewal(struct call *call, int64_t lease)
{
    struct node *n = call->node;
    if (n->cluster.alone && n->counting)
        renew(call, lease);
    else if (call->needs_leader && !n->update.leader)
        call_end(call, ERR_NO_LEADER);
    else
        forward_gather(n, call, lease);
}

/* One decoded request of any door; message: its bytes, if it is gRPC's. */
void call_take(struct call *call, struct request *r, struct span message)
{
    struct node *n = call->node;
    if (r->type == REQUEST_NONE)
        return;
    if (!may_answer(n, r)) {
        call_end(call, ERR_UNHEALTHY); /* there is no state now to answer from */
        return;
    }
    enum err e = login_of(call, r);
    r->plain = !call->rest;
    if (is_watch(r)) {
        watching_request(call->watch, r, e);
        return;
    }
    if (e == ERR_OK)
        e = may_take(call, r);
    if (e == ERR_OK)
        e = admit_request(call, r);
    if (e != ERR_OK) {
        audit_refused(call, r, e);
        call_end(call, e);
    } else if (r->type == REQUEST_LEASE_RENEW) {
        take_renewal(call, r->lease.id);
    } else if (r->type >= REQUEST_MEMBER_ADD && r->type <= REQUEST_MOVE_LEADER) {
        audit_refused(call, r, ERR_OK); /* as it was asked */
        call_change_members(call, r);
    } else if (login_wants(r)) {
        login_begin(call, r);
    } else if (locking_wants(r)) {
        locking_begin(call, r);
    } else if (request_writes(r)) {
        if (call_check(call))
            call_propose(call, r);
    } else if (reads_state(r) || (r->type == REQUEST_MEMBERS && !r->serializable)) {
        read_request(call, r, message);
    } else if (r->type == REQUEST_HEALTH) {
        call_answer_health(call, r);
    } else {
        call_answer_own(call, r);
    }
}

/* ---- calls of methods, as gRPC or as JSON ---- */

/* What there is to call is no secret: nobody is asked who they are. */
static void reflect(struct call *call, struct span message)
{
    struct buf answer;
    buf_open(&answer, &call->node->alloc);
    enum err e = call_queued(call) < OUTPUT_BYTES ? ERR_OK : ERR_OVERLOADED; /* it does not read */
    if (e == ERR_OK)
        e = etcd_reflect(message, &call->node->turn, &answer);
    if (e == ERR_OK) {
        buf_span(call_message_begin(call), buf_all(&answer));
        call_message_end(call);
    } else {
        call_end(call, e);
    }
    buf_close(&answer);
}

void call_message(struct call *call, struct span message)
{
    struct request r;
    struct node *n = call->node;
    enum etcd_kind kind = call->method->kind;
    bool one = kind != ETCD_WATCH && kind != ETCD_KEEP_ALIVE && kind != ETCD_REFLECTION;
    n->metrics.methods[call->method->number].received++;
    if (one && call->asked) {
        call_finish(call, 13, "this call has one message");
        return;
    }
    call->asked = true;
    if (kind == ETCD_REFLECTION) {
        reflect(call, message);
        return;
    }
    if (call->flagd) {
        call_flagd_message(call, message);
        return;
    }
    enum err e = etcd_decode(call->method, message, &n->turn, &r);
    if (e == ERR_OK && message.len > (size_t)n->params.request_bytes_max && request_writes(&r))
        e = ERR_REQUEST_TOO_LARGE;
    if (e != ERR_OK)
        call_end(call, e);
    else
        call_take(call, &r, message);
}

/* The caller waits no longer. What is in the log already goes on; nobody hears of it here. */
static void on_deadline(void *context)
{
    call_end(context, ERR_DEADLINE);
}

enum err call_begin(struct call *call, const struct http_request *head)
{
    struct grpc_head g;
    struct node *n = call->node;
    enum err e = grpc_head(head, &g);
    metric_grpc_begin(call, head);
    login_head(call, head);
    call->needs_leader = e == ERR_OK && g.has_leader;
    if (etcd_method_of_flagd(call->method)) {
        call->flagd = ARENA_NEW(&call->arena, struct flagd_call);
        flagd_head(head, &call->arena, call->flagd);
    }
    if (call->needs_leader && n->update.leader == 0)
        e = ERR_NO_LEADER;
    if (e != ERR_OK)
        return e;
    if (g.timeout_us) {
        call->deadline = (struct loop_timer){ .callback = on_deadline, .context = call };
        loop_timer_set(n->loop, &call->deadline,
                       loop_now_ms(n->loop) + (g.timeout_us + 999) / 1000);
    }
    if (call->method->kind == ETCD_KEEP_ALIVE || call->method->kind == ETCD_HEALTH_WATCH)
        call_stand(call);
    if (call->method->kind == ETCD_WATCH)
        call->watch = watching_open(call);
    return ERR_OK;
}

void call_known(struct call *call)
{
    struct conn *c = call->conn;
    bool http1 = !call->stream;
    if (call->gate)
        call_gate_known(call);
    else if (call->method)
        call_grpc_known(call);
    else if (call->vault)
        vault_known(call);
    else
        call_rest_known(call);
    if (http1)
        conn_feed_rest(c);
}
