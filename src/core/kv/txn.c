/* As etcd txn/txn.go: first every compare, those of inner transactions too, against the state
 * before; then everything that could fail in the branches taken; then the ops. */
#include "core/kv/kv_int.h"

struct run {
    struct kv *kv;
    struct arena *arena;
    bool (*lease_known)(void *context, int64_t lease);
    void *context;
};

/* ---- compares ---- */

static int compare_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static bool holds(const struct kv_compare *c, const struct kv_version *v)
{
    static const struct kv_version absent = { 0 };
    int order = 0; /* also for a target nobody knows, as in etcd */
    v = v ? v : &absent;
    if (c->target == KV_IF_VERSION)
        order = compare_number(v->version, c->number);
    else if (c->target == KV_IF_CREATE)
        order = compare_number(v->create_revision, c->number);
    else if (c->target == KV_IF_MOD)
        order = compare_number(v->mod_revision, c->number);
    else if (c->target == KV_IF_LEASE)
        order = compare_number(v->lease, c->number);
    else if (c->target == KV_IF_VALUE)
        order = span_compare(kv_value(v), c->value);
    if (c->result == KV_IF_EQUAL)
        return order == 0;
    if (c->result == KV_IF_GREATER)
        return order > 0;
    if (c->result == KV_IF_LESS)
        return order < 0;
    return c->result != KV_IF_NOT_EQUAL || order != 0;
}

static bool absent_holds(const struct kv_compare *c)
{
    return c->target != KV_IF_VALUE && holds(c, NULL);
}

static bool compare_one(const struct kv *kv, const struct kv_compare *c)
{
    struct kv_bounds b = kv_bounds(c->key, c->range_end);
    if (b.single) {
        const struct kv_version *v = kv_get(kv, c->key, 0);
        return v ? holds(c, v) : absent_holds(c);
    }
    struct kv_walk w = kv_keys_from(&kv->keys, b.begin, true);
    const struct kv_key *key = kv_walk_key(&w);
    if (!key || kv_bounds_past(&b, key))
        return absent_holds(c);
    for (; (key = kv_walk_key(&w)) != NULL && !kv_bounds_past(&b, key); kv_walk_next(&w))
        if (!holds(c, key->newest))
            return false;
    return true;
}

bool kv_compares_hold(const struct kv *kv, const struct kv_txn *t)
{
    bool hold = true;
    for (size_t i = 0; hold && i < t->n_compares; i++)
        hold = compare_one(kv, &t->compares[i]);
    return hold;
}

/* Chooses the branches, and makes room for their results. */
static void choose(const struct run *run, const struct kv_txn *t, struct kv_txn_result *out)
{
    out->succeeded = kv_compares_hold(run->kv, t);
    const struct kv_op *ops = out->succeeded ? t->success : t->failure;
    out->n_ops = out->succeeded ? t->n_success : t->n_failure;
    out->ops = ARENA_ARRAY(run->arena, struct kv_op_result, out->n_ops);
    for (size_t i = 0; i < out->n_ops; i++) {
        out->ops[i].type = ops[i].type;
        if (ops[i].type == KV_OP_TXN) {
            out->ops[i].txn = ARENA_NEW(run->arena, struct kv_txn_result);
            choose(run, ops[i].txn, out->ops[i].txn);
        }
    }
}

/* ---- what could fail ---- */

static enum err check_put(const struct run *run, const struct kv_put *put)
{
    enum err e = kv_check_put(put);
    if (e)
        return e;
    /* In this order, unlike a put alone (etcd checkPut). */
    if ((put->ignore_value || put->ignore_lease) && !kv_get(run->kv, put->key, 0))
        return ERR_KEY_NOT_FOUND;
    if (put->lease && !run->lease_known(run->context, put->lease))
        return ERR_LEASE_NOT_FOUND;
    return ERR_OK;
}

static enum err check_range(const struct kv *kv, const struct kv_range *r)
{
    enum err e = kv_check_range(r);
    if (e)
        return e;
    /* Alone, a read below 0 is one of the newest; here etcd compares it (checkRange). */
    if (r->revision < 0 && r->revision < kv->compact)
        return ERR_COMPACTED;
    return kv_check_revision(kv, r->revision);
}

static enum err check_taken(const struct run *run, const struct kv_txn *t,
                            const struct kv_txn_result *taken)
{
    const struct kv_op *ops = taken->succeeded ? t->success : t->failure;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < taken->n_ops; i++) {
        switch (ops[i].type) {
        case KV_OP_RANGE:
            e = check_range(run->kv, &ops[i].range);
            break;
        case KV_OP_PUT:
            e = check_put(run, &ops[i].put);
            break;
        case KV_OP_DELETE:
            e = kv_check_delete(&ops[i].del);
            break;
        case KV_OP_TXN:
            e = check_taken(run, ops[i].txn, taken->ops[i].txn);
            break;
        case KV_OP_NONE:
            e = ERR_KEY_NOT_FOUND;
            break;
        }
    }
    return e;
}

/* ---- doing it ---- */

static void run_taken(const struct run *run, const struct kv_txn *t, struct kv_txn_result *out)
{
    const struct kv_op *ops = out->succeeded ? t->success : t->failure;
    for (size_t i = 0; i < out->n_ops; i++) {
        struct kv_op_result *o = &out->ops[i];
        enum err e = ERR_OK;
        switch (ops[i].type) {
        case KV_OP_RANGE:
            e = kv_range(run->kv, &ops[i].range, run->arena, &o->range);
            break;
        case KV_OP_PUT:
            kv_put_checked(run->kv, &ops[i].put, &o->put);
            break;
        case KV_OP_DELETE:
            e = kv_delete(run->kv, &ops[i].del, run->arena, &o->del);
            break;
        case KV_OP_TXN:
            run_taken(run, ops[i].txn, o->txn);
            continue; /* its inner header stays at 0, as in etcd */
        case KV_OP_NONE:
            break;
        }
        CHECK(e == ERR_OK);
        o->revision = kv_newest(run->kv);
    }
}

enum err kv_txn(struct kv *kv, const struct kv_txn *txn,
                bool (*lease_known)(void *context, int64_t lease), void *context,
                struct arena *arena, struct kv_txn_result *out)
{
    CHECK(kv->writing);
    struct run run = { kv, arena, lease_known, context };
    choose(&run, txn, out);
    enum err e = check_taken(&run, txn, out);
    if (!e)
        run_taken(&run, txn, out);
    return e;
}
