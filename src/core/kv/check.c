#include "core/kv/kv_int.h"

enum err kv_check_range(const struct kv_range *r)
{
    if (r->key.len == 0)
        return ERR_KEY_EMPTY;
    bool order = r->order >= KV_ORDER_NONE && r->order <= KV_ORDER_DESCEND;
    bool target = r->target >= KV_BY_KEY && r->target <= KV_BY_VALUE;
    return order && target ? ERR_OK : ERR_SORT_OPTION;
}

enum err kv_check_put(const struct kv_put *p)
{
    if (p->key.len == 0)
        return ERR_KEY_EMPTY;
    if (p->ignore_value && p->value.len != 0)
        return ERR_VALUE_PROVIDED;
    return p->ignore_lease && p->lease != 0 ? ERR_LEASE_PROVIDED : ERR_OK;
}

enum err kv_check_delete(const struct kv_delete *d)
{
    return d->key.len == 0 ? ERR_KEY_EMPTY : ERR_OK;
}

static enum err check_ops(const struct kv_txn *t, size_t ops_max);

static enum err check_op(const struct kv_op *op, size_t ops_max)
{
    switch (op->type) {
    case KV_OP_RANGE:
        return kv_check_range(&op->range);
    case KV_OP_PUT:
        return kv_check_put(&op->put);
    case KV_OP_DELETE:
        return kv_check_delete(&op->del);
    case KV_OP_TXN:
        return check_ops(op->txn, ops_max);
    case KV_OP_NONE:
        break;
    }
    return ERR_KEY_NOT_FOUND;
}

/* Each level takes at least one op from ops_max, so this nests no deeper than KV_OPS_MAX + 1. */
static enum err check_ops(const struct kv_txn *t, size_t ops_max)
{
    size_t used = t->n_compares > t->n_success ? t->n_compares : t->n_success;
    used = used > t->n_failure ? used : t->n_failure;
    if (used > ops_max)
        return ERR_TOO_MANY_OPS;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < t->n_compares; i++)
        e = t->compares[i].key.len == 0 ? ERR_KEY_EMPTY : ERR_OK;
    for (size_t i = 0; !e && i < t->n_success; i++)
        e = check_op(&t->success[i], ops_max - used);
    for (size_t i = 0; !e && i < t->n_failure; i++)
        e = check_op(&t->failure[i], ops_max - used);
    return e;
}

/* ---- puts and deletes of the same key (etcd v3rpc/key.go checkIntervals) ----
 * Sets of puts and of delete ranges are gathered branch by branch, inner ones first. Joining goes
 * from the smaller into the larger set and comparing walks the smaller one, so that a hostile
 * request of n ops costs O(n log^2 n) however it nests. */

/* A put: [key, key]; a delete: [key, end). */
struct touch {
    struct tree_node node;
    struct span key, end;
    struct span furthest; /* deletes: the last end in the subtree */
};

struct touches {
    struct tree tree;
    size_t n;
};

struct branch {
    struct touches puts, deletes;
};

static struct touch *touch_of(const struct tree_node *node)
{
    return (struct touch *)((uintptr_t)node - offsetof(struct touch, node));
}

static int touch_compare(const void *a, const struct tree_node *node)
{
    const struct touch *x = a, *y = touch_of(node);
    int c = span_compare(x->key, y->key);
    return c ? c : span_compare(x->end, y->end);
}

static void touch_update(struct tree_node *node)
{
    struct touch *t = touch_of(node);
    t->furthest = t->end;
    for (int side = 0; side < 2; side++)
        if (node->child[side]) {
            struct span below = touch_of(node->child[side])->furthest;
            if (span_compare(below, t->furthest) > 0)
                t->furthest = below;
        }
}

static const struct tree_type TOUCHES = { touch_compare, touch_update };

static void add(struct touches *set, struct touch *t)
{
    if (tree_find(&set->tree, t))
        return;
    tree_insert(&set->tree, t, &t->node);
    set->n++;
}

static void add_node(struct tree_node *node, void *set)
{
    add(set, touch_of(node));
}

static void join(struct touches *into, struct touches *from)
{
    if (from->n > into->n) {
        struct touches t = *into;
        *into = *from;
        *from = t;
    }
    tree_walk(&from->tree, add_node, into);
}

/* Is any key of the set in [key, end)? */
static bool puts_in(const struct touches *puts, struct span key, struct span end)
{
    for (const struct tree_node *n = puts->tree.root; n;) {
        struct span here = touch_of(n)->key;
        if (span_compare(here, key) < 0)
            n = n->child[1];
        else if (span_compare(here, end) >= 0)
            n = n->child[0];
        else
            return true;
    }
    return false;
}

/* Does any range of the set hold the key? Of the subtree with smaller keys, one whose end is beyond
 * the key holds it; when none there is, the others are to the right. */
static bool deletes_hold(const struct touches *deletes, struct span key)
{
    for (const struct tree_node *n = deletes->tree.root; n;) {
        const struct touch *t = touch_of(n);
        if (span_compare(t->furthest, key) <= 0)
            return false;
        bool begun = span_compare(t->key, key) <= 0;
        if (begun && span_compare(t->end, key) > 0)
            return true;
        const struct tree_node *left = n->child[0];
        bool in_left = left && span_compare(touch_of(left)->furthest, key) > 0;
        n = in_left || !begun ? left : n->child[1];
    }
    return false;
}

struct search {
    const struct touches *puts, *deletes; /* one of them is looked into, the other walked */
    bool found;
};

static void look_put(struct tree_node *node, void *context)
{
    struct search *s = context;
    const struct touch *t = touch_of(node);
    s->found = s->found || (s->deletes ? deletes_hold(s->deletes, t->key) :
                                         tree_find(&s->puts->tree, t) != NULL);
}

static void look_delete(struct tree_node *node, void *context)
{
    struct search *s = context;
    s->found = s->found || puts_in(s->puts, touch_of(node)->key, touch_of(node)->end);
}

static bool puts_meet(const struct touches *a, const struct touches *b)
{
    bool swap = a->n < b->n;
    struct search s = { .puts = swap ? b : a };
    tree_walk(swap ? &a->tree : &b->tree, look_put, &s);
    return s.found;
}

static bool puts_deleted(const struct touches *puts, const struct touches *deletes)
{
    struct search s = { .puts = puts };
    if (deletes->n < puts->n) {
        tree_walk(&deletes->tree, look_delete, &s);
    } else {
        s.deletes = deletes;
        tree_walk(&puts->tree, look_put, &s);
    }
    return s.found;
}

static struct touch *touch_new(struct arena *arena, struct span key, struct span end)
{
    struct touch *t = ARENA_NEW(arena, struct touch);
    t->key = key;
    t->end = end;
    return t;
}

/* As in etcd a range from a key on, whose end is "\0", holds nothing here: its end is before it. */
static void add_delete(struct touches *deletes, const struct kv_delete *d, struct arena *arena)
{
    struct span end = d->range_end;
    if (end.len == 0) { /* the one key: up to the next possible one */
        uint8_t *next = arena_alloc(arena, d->key.len + 1);
        memcpy(next, d->key.data, d->key.len);
        next[d->key.len] = 0;
        end = span_of(next, d->key.len + 1);
    }
    if (span_compare(d->key, end) < 0)
        add(deletes, touch_new(arena, d->key, end));
}

static enum err check_branch(const struct kv_op *ops, size_t n, struct arena *arena,
                             struct branch *out);

/* The two branches of an inner transaction may touch the same: only one is taken. */
static enum err check_inner(const struct kv_txn *t, struct arena *arena, struct branch *out)
{
    struct branch branches[2];
    enum err e = check_branch(t->success, t->n_success, arena, &branches[0]);
    if (!e)
        e = check_branch(t->failure, t->n_failure, arena, &branches[1]);
    for (int i = 0; !e && i < 2; i++)
        if (puts_meet(&branches[i].puts, &out->puts) ||
            puts_deleted(&branches[i].puts, &out->deletes))
            e = ERR_KEY_DUPLICATE;
    for (int i = 0; !e && i < 2; i++) {
        join(&out->puts, &branches[i].puts);
        join(&out->deletes, &branches[i].deletes);
    }
    return e;
}

static enum err check_branch(const struct kv_op *ops, size_t n, struct arena *arena,
                             struct branch *out)
{
    *out = (struct branch){ { { &TOUCHES, NULL }, 0 }, { { &TOUCHES, NULL }, 0 } };
    for (size_t i = 0; i < n; i++)
        if (ops[i].type == KV_OP_DELETE)
            add_delete(&out->deletes, &ops[i].del, arena);
    for (size_t i = 0; i < n; i++)
        if (ops[i].type == KV_OP_TXN) {
            enum err e = check_inner(ops[i].txn, arena, out);
            if (e)
                return e;
        }
    for (size_t i = 0; i < n; i++)
        if (ops[i].type == KV_OP_PUT) {
            struct touch *t = touch_new(arena, ops[i].put.key, SPAN_NONE);
            if (tree_find(&out->puts.tree, t) || deletes_hold(&out->deletes, t->key))
                return ERR_KEY_DUPLICATE;
            add(&out->puts, t);
        }
    return ERR_OK;
}

enum err kv_check_txn(const struct kv_txn *t, struct arena *arena)
{
    struct branch unused;
    enum err e = check_ops(t, KV_OPS_MAX);
    if (!e)
        e = check_branch(t->success, t->n_success, arena, &unused);
    if (!e)
        e = check_branch(t->failure, t->n_failure, arena, &unused);
    return e;
}

static bool has_more_than_ranges(const struct kv_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].type != KV_OP_RANGE)
            return true;
    return false;
}

bool kv_txn_writes(const struct kv_txn *t)
{
    return has_more_than_ranges(t->success, t->n_success) ||
           has_more_than_ranges(t->failure, t->n_failure);
}
