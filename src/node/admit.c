#include "node/admit.h"
#include "base/check.h"
#include "node/node_int.h"

/* ---- overload ---- */

static bool waits_long(struct node *n)
{
    const struct awaited *first = awaited_first(&n->awaited);
    int64_t since = INT64_MAX, bound = n->params.pending_wait_ms;
    if (!bound)
        return false;
    if (first)
        since = first->proposal.since_ms;
    if (n->submitted.n && n->submitted.items[0].since_ms < since)
        since = n->submitted.items[0].since_ms;
    return since != INT64_MAX && loop_now_ms(n->loop) - since > bound;
}

bool admit_overloaded(struct node *n, bool urgent)
{
    size_t pending = awaited_count(&n->awaited) + n->submitted.n;
    size_t asks = n->forward.asks.n - n->forward.asks_head;
    size_t bytes = n->commands.len + n->records.len;
    size_t more = urgent ? PENDING_RESERVE : 0;
    bool is = pending >= (size_t)n->params.pending_max + more || asks >= ASKS_MAX + more ||
              bytes >= RAFT_UNCOMMITTED_BYTES_MAX / (urgent ? 1 : 2) || (!urgent && waits_long(n));
    n->metrics.requests_overloaded += is;
    return is;
}

/* ---- rates ---- */

/* What a request begins at; of a transaction, each op of either branch. */
static void add_ops(const struct kv_op *ops, size_t n, struct span *keys, size_t *n_keys)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i].type == KV_OP_TXN) {
            add_ops(ops[i].txn->success, ops[i].txn->n_success, keys, n_keys);
            add_ops(ops[i].txn->failure, ops[i].txn->n_failure, keys, n_keys);
        } else if (*n_keys < 2 * KV_OPS_MAX) {
            keys[(*n_keys)++] = ops[i].type == KV_OP_PUT      ? ops[i].put.key
                                : ops[i].type == KV_OP_DELETE ? ops[i].del.key
                                                              : ops[i].range.key;
        }
    }
}

static size_t keys_of(const struct request *r, struct span *keys)
{
    size_t n = 0;
    if (r->type == REQUEST_TXN) {
        add_ops(r->txn.success, r->txn.n_success, keys, &n);
        add_ops(r->txn.failure, r->txn.n_failure, keys, &n);
    } else if (r->type == REQUEST_RANGE) {
        keys[n++] = r->range.key;
    } else if (r->type == REQUEST_PUT) {
        keys[n++] = r->put.key;
    } else if (r->type == REQUEST_DELETE) {
        keys[n++] = r->del.key;
    }
    return n;
}

static bool is_bounded(const struct request *r)
{
    static const bool bounded[REQUEST_TYPE_COUNT] = {
        [REQUEST_RANGE] = true,      [REQUEST_PUT] = true,         [REQUEST_DELETE] = true,
        [REQUEST_TXN] = true,        [REQUEST_LEASE_GRANT] = true, [REQUEST_LEASE_LOOK] = true,
        [REQUEST_LEASE_LIST] = true, [REQUEST_HASH] = true,        [REQUEST_COMPACT] = true,
    };
    return bounded[r->type];
}

enum err admit_request(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct limit_table *limits = n->machine.limit;
    struct span keys[2 * KV_OPS_MAX];
    if (!is_bounded(r))
        return ERR_OK;
    if (waits_long(n)) {
        n->metrics.requests_overloaded++;
        return ERR_TOO_MANY_REQUESTS;
    }
    if (!limit_rates(limits))
        return ERR_OK;
    size_t n_keys = keys_of(r, keys);
    call->retry_ms = limit_take(limits, r->author, keys, n_keys, loop_now_ms(n->loop));
    n->metrics.requests_limited += call->retry_ms > 0;
    return call->retry_ms ? ERR_RATE_LIMITED : ERR_OK;
}

/* ---- answers ---- */

enum { PAIR_BYTES = 48 }; /* of one pair in an answer, beside key and value */

static size_t pairs_size(const struct kv_version *const *items, size_t n, bool keys_only)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += PAIR_BYTES + kv_key(items[i]).len + (keys_only ? 0 : items[i]->value_size);
    return size;
}

static size_t range_size(const struct kv_range_result *r)
{
    return pairs_size(r->items, r->n, r->keys_only);
}

static size_t txn_size(const struct kv_txn_result *t)
{
    size_t size = 0;
    for (size_t i = 0; i < t->n_ops; i++) {
        const struct kv_op_result *o = &t->ops[i];
        if (o->type == KV_OP_RANGE)
            size += range_size(&o->range);
        else if (o->type == KV_OP_DELETE)
            size += pairs_size(o->del.prev, o->del.n_prev, false);
        else if (o->type == KV_OP_TXN)
            size += txn_size(o->txn);
    }
    return size;
}

static size_t answer_size(const struct reply *reply)
{
    if (reply->type == REQUEST_RANGE)
        return range_size(&reply->range);
    if (reply->type == REQUEST_DELETE)
        return pairs_size(reply->del.prev, reply->del.n_prev, false);
    return reply->type == REQUEST_TXN ? txn_size(&reply->txn) : 0;
}

enum err admit_answer(struct call *call, const struct reply *reply)
{
    struct node *n = call->node;
    size_t size = reply->err == ERR_OK ? answer_size(reply) : 0;
    if (size <= ANSWER_SMALL_BYTES)
        return ERR_OK;
    if (size > INT32_MAX || size > n->answer_bytes_max) { /* etcd sends no more than MaxInt32 */
        n->metrics.answers_refused++;
        return ERR_ANSWER_TOO_LARGE;
    }
    if (n->answer_bytes + size > n->answer_bytes_max) {
        n->metrics.answers_refused++;
        return ERR_ANSWERS_FULL;
    }
    n->answer_bytes += size;
    call->answer_bytes += size;
    return ERR_OK;
}

size_t admit_stream_bytes(const struct node *n)
{
    return n->alloc.used < n->queue_bytes_max ? (size_t)n->params.watch_queue_bytes : 1;
}

void admit_call_gone(struct call *call)
{
    CHECK(call->node->answer_bytes >= call->answer_bytes);
    if (call->conn && !call->stream)
        call->conn->answer_bytes += call->answer_bytes;
    else
        call->node->answer_bytes -= call->answer_bytes;
    call->answer_bytes = 0;
}

void admit_conn_sent(struct conn *c)
{
    CHECK(c->node->answer_bytes >= c->answer_bytes);
    c->node->answer_bytes -= c->answer_bytes;
    c->answer_bytes = 0;
}
