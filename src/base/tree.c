#include "base/tree.h"
#include "base/check.h"

static int32_t height(const struct tree_node *n)
{
    return n ? n->height : 0;
}

static void settle(const struct tree_type *type, struct tree_node *n)
{
    int32_t a = height(n->child[0]), b = height(n->child[1]);
    n->height = 1 + (a > b ? a : b);
    if (type->update)
        type->update(n);
}

/* Lifts the child of n on the given side to n's place. */
static struct tree_node *rotate(const struct tree_type *type, struct tree_node *n, int side)
{
    struct tree_node *up = n->child[side];
    n->child[side] = up->child[!side];
    up->child[!side] = n;
    settle(type, n);
    settle(type, up);
    return up;
}

static struct tree_node *balance(const struct tree_type *type, struct tree_node *n)
{
    int32_t lean = height(n->child[1]) - height(n->child[0]);
    CHECK(lean >= -2 && lean <= 2);
    if (lean > -2 && lean < 2) {
        settle(type, n);
        return n;
    }
    int side = lean > 0;
    struct tree_node *c = n->child[side];
    if (height(c->child[!side]) > height(c->child[side]))
        n->child[side] = rotate(type, c, !side);
    return rotate(type, n, side);
}

static struct tree_node *insert(const struct tree_type *type, struct tree_node *n, const void *key,
                                struct tree_node *node)
{
    if (!n) {
        node->child[0] = node->child[1] = NULL;
        settle(type, node);
        return node;
    }
    int c = type->compare(key, n);
    CHECK(c != 0);
    n->child[c > 0] = insert(type, n->child[c > 0], key, node);
    return balance(type, n);
}

void tree_insert(struct tree *t, const void *key, struct tree_node *node)
{
    t->root = insert(t->type, t->root, key, node);
}

static struct tree_node *take_first(const struct tree_type *type, struct tree_node *n,
                                    struct tree_node **out)
{
    if (!n->child[0]) {
        *out = n;
        return n->child[1];
    }
    n->child[0] = take_first(type, n->child[0], out);
    return balance(type, n);
}

static struct tree_node *take(const struct tree_type *type, struct tree_node *n, const void *key,
                              struct tree_node **out)
{
    if (!n)
        return NULL;
    int c = type->compare(key, n);
    if (c) {
        n->child[c > 0] = take(type, n->child[c > 0], key, out);
        return balance(type, n);
    }
    *out = n;
    if (!n->child[1])
        return n->child[0];
    struct tree_node *up, *larger = take_first(type, n->child[1], &up);
    up->child[0] = n->child[0];
    up->child[1] = larger;
    return balance(type, up);
}

struct tree_node *tree_remove(struct tree *t, const void *key)
{
    struct tree_node *out = NULL;
    t->root = take(t->type, t->root, key, &out);
    return out;
}

struct tree_node *tree_find(const struct tree *t, const void *key)
{
    struct tree_node *n = t->root;
    int c;
    while (n && (c = t->type->compare(key, n)) != 0)
        n = n->child[c > 0];
    return n;
}

struct tree_node *tree_first(const struct tree *t)
{
    struct tree_node *n = t->root;
    while (n && n->child[0])
        n = n->child[0];
    return n;
}

static void walk(struct tree_node *n, void (*visit)(struct tree_node *, void *), void *context)
{
    if (!n)
        return;
    struct tree_node *larger = n->child[1];
    walk(n->child[0], visit, context);
    visit(n, context);
    walk(larger, visit, context);
}

void tree_walk(const struct tree *t, void (*visit)(struct tree_node *node, void *context),
               void *context)
{
    walk(t->root, visit, context);
}
