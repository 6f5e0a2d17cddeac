/* What a transaction would write, before it does: for whoever bounds that. */
#include "core/kv/kv_int.h"

struct plan {
    const struct kv *kv;
    void (*visit)(void *context, struct span key, int64_t keys, int64_t bytes);
    void *context;
    struct kv_bounds *deleted; /* by the ops before: deletions may overlap, puts may not */
    size_t n_deleted;
};

static int64_t size_of(const struct kv_version *v)
{
    return v ? (int64_t)v->key->size + v->value_size : 0;
}

static void plan_put(const struct plan *p, const struct kv_put *put)
{
    const struct kv_version *was = kv_get(p->kv, put->key, 0);
    int64_t value = (int64_t)put->value.len;
    if (put->ignore_value)
        value = was ? was->value_size : 0;
    p->visit(p->context, put->key, !was, (int64_t)put->key.len + value - size_of(was));
}

static bool within(const struct kv_bounds *b, const struct kv_key *key)
{
    int order = span_compare(key_span(key), b->begin);
    return b->single ? order == 0 : order >= 0 && !kv_bounds_past(b, key);
}

static bool gone(const struct plan *p, const struct kv_key *key)
{
    for (size_t i = 0; i < p->n_deleted; i++)
        if (within(&p->deleted[i], key))
            return true;
    return false;
}

static void plan_delete(struct plan *p, const struct kv_delete *del)
{
    struct kv_bounds b = kv_bounds(del->key, del->range_end);
    struct kv_walk w = kv_keys_from(&p->kv->keys, b.begin, true);
    const struct kv_key *key;
    for (; (key = kv_walk_key(&w)) != NULL && within(&b, key); kv_walk_next(&w))
        if (!gone(p, key))
            p->visit(p->context, key_span(key), -1, -size_of(key->newest));
    CHECK(p->n_deleted < KV_OPS_MAX); /* kv_check_txn */
    p->deleted[p->n_deleted++] = b;
}

static void plan_taken(struct plan *p, const struct kv_txn *t)
{
    bool holds = kv_compares_hold(p->kv, t);
    const struct kv_op *ops = holds ? t->success : t->failure;
    size_t n = holds ? t->n_success : t->n_failure;
    for (size_t i = 0; i < n; i++) {
        if (ops[i].type == KV_OP_PUT)
            plan_put(p, &ops[i].put);
        else if (ops[i].type == KV_OP_DELETE)
            plan_delete(p, &ops[i].del);
        else if (ops[i].type == KV_OP_TXN)
            plan_taken(p, ops[i].txn);
    }
}

void kv_txn_plan(const struct kv *kv, const struct kv_txn *txn, struct arena *arena,
                 void (*visit)(void *context, struct span key, int64_t keys, int64_t bytes),
                 void *context)
{
    struct plan p = { kv, visit, context, NULL, 0 };
    p.deleted = ARENA_ARRAY(arena, struct kv_bounds, KV_OPS_MAX);
    plan_taken(&p, txn);
}
