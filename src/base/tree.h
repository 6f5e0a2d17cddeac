/* tree: things in order, linked through a node that each of them carries; balanced (AVL).
 *
 * The shape depends on the order of calls alone, never on addresses. A type tells how a key
 * compares to a node, and may keep a sum of each subtree in its nodes (update): the tree calls it
 * for every node whose children changed, children first. Nothing is allocated here. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct tree_node {
    struct tree_node *child[2]; /* smaller, larger */
    int32_t height;
};

struct tree_type {
    int (*compare)(const void *key, const struct tree_node *node); /* <0, 0, >0 as in memcmp */
    void (*update)(struct tree_node *node);                        /* NULL: no sums */
};

struct tree {
    const struct tree_type *type;
    struct tree_node *root;
};

struct tree_node *tree_find(const struct tree *t, const void *key); /* NULL: not there */
struct tree_node *tree_first(const struct tree *t);

/* No node with an equal key may be there: look first. */
void tree_insert(struct tree *t, const void *key, struct tree_node *node);
struct tree_node *tree_remove(struct tree *t, const void *key); /* what was there, or NULL */

/* In order; visit may free the node it is given, if nothing is done with the tree afterwards. */
void tree_walk(const struct tree *t, void (*visit)(struct tree_node *node, void *context),
               void *context);
