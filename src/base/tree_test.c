#include "base/tree.h"
#include "base/prng.h"
#include "base/test.h"

struct item {
    struct tree_node node;
    int key, sum; /* sum of the subtree's keys */
    int there;
};

static struct item *item_of(const struct tree_node *n)
{
    return (struct item *)(uintptr_t)n;
}

static int compare(const void *key, const struct tree_node *n)
{
    int a = *(const int *)key, b = item_of(n)->key;
    return (a > b) - (a < b);
}

static int sum_of(const struct tree_node *n)
{
    return n ? item_of(n)->sum : 0;
}

static void update(struct tree_node *n)
{
    item_of(n)->sum = item_of(n)->key + sum_of(n->child[0]) + sum_of(n->child[1]);
}

static const struct tree_type type = { compare, update };

struct tally {
    int last, n, sum, ordered;
};

static void count(struct tree_node *n, void *context)
{
    struct tally *t = context;
    int32_t a = n->child[0] ? n->child[0]->height : 0, b = n->child[1] ? n->child[1]->height : 0;
    t->ordered &= item_of(n)->key > t->last && a - b <= 1 && b - a <= 1;
    t->last = item_of(n)->key;
    t->n++;
    t->sum += t->last;
}

TEST(base_tree_against_a_plain_array)
{
    enum { N = 300 };
    static struct item items[N];
    struct tree t = { &type, NULL };
    struct prng p = { 7 };
    int n = 0, sum = 0;
    EXPECT(!tree_first(&t));
    for (int i = 0; i < 20000; i++) {
        int k = (int)prng_below(&p, N);
        struct item *x = &items[k];
        x->key = k;
        EXPECT(tree_find(&t, &k) == (x->there ? &x->node : NULL));
        if (x->there)
            EXPECT(tree_remove(&t, &k) == &x->node);
        else
            tree_insert(&t, &k, &x->node);
        EXPECT(x->there || tree_find(&t, &k) == &x->node);
        x->there = !x->there;
        n += x->there ? 1 : -1;
        sum += x->there ? k : -k;
        EXPECT(sum_of(t.root) == sum);
        if (i % 100 == 0) {
            struct tally tally = { -1, 0, 0, 1 };
            tree_walk(&t, count, &tally);
            EXPECT(tally.ordered && tally.n == n && tally.sum == sum);
        }
    }
}
