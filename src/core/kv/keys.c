/* A B+tree over the keys that counts, per child, how many keys below are live. */
#include "core/kv/kv_int.h"

enum { LEAF = 64, INNER = 32 };

struct leaf {
    uint64_t live; /* bit i: keys[i] is */
    uint32_t n;
    struct kv_key *keys[LEAF];
};

struct inner {
    uint32_t n;
    size_t live[INNER];
    struct kv_key *first[INNER]; /* the smallest key below each child */
    void *child[INNER];
};

_Static_assert(LEAF == 64, "a leaf's live keys are the bits of a word");

static size_t bits(uint64_t mask)
{
    return (size_t)__builtin_popcountll(mask);
}

static uint64_t low_bits(uint32_t n)
{
    return n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX;
}

/* The child whose keys may hold the key. */
static uint32_t inner_find(const struct inner *p, struct span key)
{
    uint32_t low = 1, high = p->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (span_compare(key_span(p->first[middle]), key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

/* The first key at or after the given one. */
static uint32_t leaf_find(const struct leaf *f, struct span key)
{
    uint32_t low = 0, high = f->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (span_compare(key_span(f->keys[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t node_live(const void *node, bool is_leaf)
{
    if (is_leaf)
        return bits(((const struct leaf *)node)->live);
    const struct inner *p = node;
    size_t sum = 0;
    for (uint32_t i = 0; i < p->n; i++)
        sum += p->live[i];
    return sum;
}

static struct kv_key *node_first(const void *node, bool is_leaf)
{
    return is_leaf ? ((const struct leaf *)node)->keys[0] : ((const struct inner *)node)->first[0];
}

void kv_keys_open(struct kv_keys *t, struct alloc *alloc)
{
    *t = (struct kv_keys){ .alloc = alloc };
}

static void free_below(struct kv_keys *t, void *node, uint32_t depth)
{
    if (depth == 0) {
        mem_free(t->alloc, node, sizeof(struct leaf));
        return;
    }
    struct inner *p = node;
    for (uint32_t i = 0; i < p->n; i++)
        free_below(t, p->child[i], depth - 1);
    mem_free(t->alloc, p, sizeof(*p));
}

void kv_keys_close(struct kv_keys *t)
{
    if (t->root)
        free_below(t, t->root, t->depth);
    *t = (struct kv_keys){ .alloc = t->alloc };
}

/* The way from the root to where the key is, or would be. */
static void descend(const struct kv_keys *t, struct span key, struct kv_walk *w)
{
    w->keys = t;
    void *node = t->root;
    for (uint32_t level = 0; level < t->depth; level++) {
        const struct inner *p = node;
        uint32_t i = inner_find(p, key);
        w->path[level].node = node;
        w->path[level].i = i;
        node = p->child[i];
    }
    w->path[t->depth].node = node;
    w->path[t->depth].i = leaf_find(node, key);
}

/* ---- adding ---- */

static void leaf_put(struct leaf *f, uint32_t i, struct kv_key *key, bool live)
{
    CHECK(f->n < LEAF && i <= f->n);
    memmove(&f->keys[i + 1], &f->keys[i], (f->n - i) * sizeof(f->keys[0]));
    uint64_t below = f->live & low_bits(i), above = f->live & ~low_bits(i);
    f->live = below | above << 1 | (uint64_t)live << i;
    f->keys[i] = key;
    f->n++;
}

static void inner_put(struct inner *p, uint32_t i, void *child, struct kv_key *first, size_t live)
{
    CHECK(p->n < INNER && i <= p->n);
    size_t after = p->n - i;
    memmove(&p->live[i + 1], &p->live[i], after * sizeof(p->live[0]));
    memmove(&p->first[i + 1], &p->first[i], after * sizeof(p->first[0]));
    memmove(&p->child[i + 1], &p->child[i], after * sizeof(p->child[0]));
    p->live[i] = live;
    p->first[i] = first;
    p->child[i] = child;
    p->n++;
}

/* Moves what stands from `from` on to the end of another node. */
static void leaf_move(struct leaf *f, uint32_t from, struct leaf *to)
{
    CHECK(to->n + f->n - from <= LEAF);
    memcpy(&to->keys[to->n], &f->keys[from], (f->n - from) * sizeof(f->keys[0]));
    if (from < f->n)
        to->live |= f->live >> from << to->n;
    to->n += f->n - from;
    f->live &= low_bits(from);
    f->n = from;
}

static void inner_move(struct inner *p, uint32_t from, struct inner *to)
{
    CHECK(to->n + p->n - from <= INNER);
    size_t n = p->n - from;
    memcpy(&to->live[to->n], &p->live[from], n * sizeof(p->live[0]));
    memcpy(&to->first[to->n], &p->first[from], n * sizeof(p->first[0]));
    memcpy(&to->child[to->n], &p->child[from], n * sizeof(p->child[0]));
    to->n += (uint32_t)n;
    p->n = from;
}

static void grow_root(struct kv_keys *t, void *right, bool is_leaf)
{
    struct inner *root = mem_alloc(t->alloc, sizeof(*root));
    root->n = 0;
    inner_put(root, 0, t->root, node_first(t->root, is_leaf), node_live(t->root, is_leaf));
    inner_put(root, 1, right, node_first(right, is_leaf), node_live(right, is_leaf));
    t->root = root;
    t->depth++;
    CHECK(t->depth < KEYS_DEPTH_MAX);
}

/* The node at a level has given keys to right, a new one beside it: tells the parents. */
static void add_node(struct kv_keys *t, struct kv_walk *w, uint32_t level, void *right, bool last)
{
    bool is_leaf = true;
    for (; level > 0; level--, is_leaf = false) {
        struct inner *p = w->path[level - 1].node;
        uint32_t i = w->path[level - 1].i + 1;
        size_t live = node_live(right, is_leaf);
        p->live[i - 1] -= live;
        if (p->n < INNER) {
            inner_put(p, i, right, node_first(right, is_leaf), live);
            return;
        }
        struct inner *beside = mem_alloc(t->alloc, sizeof(*beside));
        beside->n = 0;
        uint32_t half = last ? INNER : INNER / 2;
        inner_move(p, half, beside);
        bool left = i <= half && !last;
        inner_put(left ? p : beside, left ? i : i - half, right, node_first(right, is_leaf), live);
        right = beside;
    }
    grow_root(t, right, is_leaf);
}

static struct leaf *leaf_new(struct kv_keys *t)
{
    struct leaf *f = mem_alloc(t->alloc, sizeof(*f));
    f->n = 0;
    f->live = 0;
    return f;
}

void kv_keys_add(struct kv_keys *t, struct kv_key *key, bool live)
{
    if (!t->root)
        t->root = leaf_new(t);
    struct kv_walk w;
    descend(t, key_span(key), &w);
    t->n++;
    t->live += live;
    struct leaf *f = w.path[t->depth].node;
    uint32_t at = w.path[t->depth].i;
    bool last = at == f->n; /* after every key: a full node then stays full, and bulk is dense */
    for (uint32_t level = 0; level < t->depth; level++) {
        struct inner *p = w.path[level].node;
        uint32_t i = w.path[level].i;
        p->live[i] += live;
        last = last && i + 1 == p->n;
        if (at == 0) /* before every key, for inner_find takes the child to the left */
            p->first[i] = key;
    }
    if (f->n < LEAF) {
        leaf_put(f, at, key, live);
        return;
    }
    struct leaf *right = leaf_new(t);
    uint32_t half = last ? LEAF : LEAF / 2;
    leaf_move(f, half, right);
    if (at <= half && !last)
        leaf_put(f, at, key, live);
    else
        leaf_put(right, at - half, key, live);
    add_node(t, &w, t->depth, right, last);
}

/* ---- removing ---- */

static void leaf_cut(struct leaf *f, uint32_t i)
{
    uint64_t below = f->live & low_bits(i), above = f->live & ~low_bits(i + 1);
    f->live = below | above >> 1;
    f->n--;
    memmove(&f->keys[i], &f->keys[i + 1], (f->n - i) * sizeof(f->keys[0]));
}

static void inner_cut(struct inner *p, uint32_t i)
{
    p->n--;
    size_t after = p->n - i;
    memmove(&p->live[i], &p->live[i + 1], after * sizeof(p->live[0]));
    memmove(&p->first[i], &p->first[i + 1], after * sizeof(p->first[0]));
    memmove(&p->child[i], &p->child[i + 1], after * sizeof(p->child[0]));
}

static uint32_t node_n(const void *node, bool is_leaf)
{
    return is_leaf ? ((const struct leaf *)node)->n : ((const struct inner *)node)->n;
}

static void node_free(struct kv_keys *t, void *node, bool is_leaf)
{
    mem_free(t->alloc, node, is_leaf ? sizeof(struct leaf) : sizeof(struct inner));
}

/* The smallest key of the node at a level is another one: tells the parents. */
static void fix_first(struct kv_walk *w, uint32_t level, struct kv_key *first)
{
    while (level-- > 0) {
        struct inner *p = w->path[level].node;
        p->first[w->path[level].i] = first;
        if (w->path[level].i > 0)
            return;
    }
}

/* Joins child i of p with child i + 1 when both together leave room. */
static bool join(struct kv_keys *t, struct inner *p, uint32_t i, bool is_leaf)
{
    if (i + 1 >= p->n)
        return false;
    void *a = p->child[i], *b = p->child[i + 1];
    uint32_t most = is_leaf ? LEAF * 3 / 4 : INNER * 3 / 4;
    if (node_n(a, is_leaf) + node_n(b, is_leaf) > most)
        return false;
    if (is_leaf)
        leaf_move(b, 0, a);
    else
        inner_move(b, 0, a);
    p->live[i] += p->live[i + 1];
    inner_cut(p, i + 1);
    node_free(t, b, is_leaf);
    return true;
}

/* From the leaf up: an empty node goes, a node with little joins its neighbour. Neighbours that are
 * too full to join stay, so that any two together are half full. */
static void shrink(struct kv_keys *t, struct kv_walk *w)
{
    bool is_leaf = true;
    for (uint32_t level = t->depth; level > 0; level--, is_leaf = false) {
        void *node = w->path[level].node;
        struct inner *p = w->path[level - 1].node;
        uint32_t i = w->path[level - 1].i, n = node_n(node, is_leaf);
        if (n == 0) {
            node_free(t, node, is_leaf);
            inner_cut(p, i);
            if (i == 0 && p->n > 0)
                fix_first(w, level - 1, p->first[0]);
        } else if (n >= (is_leaf ? LEAF : INNER) / 4 ||
                   (!join(t, p, i, is_leaf) && (i == 0 || !join(t, p, i - 1, is_leaf)))) {
            return;
        }
    }
    if (node_n(t->root, is_leaf) == 0) {
        node_free(t, t->root, is_leaf);
        t->root = NULL;
        t->depth = 0;
    }
    while (t->depth > 0 && ((struct inner *)t->root)->n == 1) {
        struct inner *root = t->root;
        t->root = root->child[0];
        t->depth--;
        node_free(t, root, false);
    }
}

void kv_keys_remove(struct kv_keys *t, const struct kv_key *key)
{
    struct kv_walk w;
    descend(t, key_span(key), &w);
    struct leaf *f = w.path[t->depth].node;
    uint32_t at = w.path[t->depth].i;
    CHECK(at < f->n && f->keys[at] == key);
    size_t live = f->live >> at & 1;
    t->n--;
    t->live -= live;
    for (uint32_t level = 0; level < t->depth; level++)
        ((struct inner *)w.path[level].node)->live[w.path[level].i] -= live;
    leaf_cut(f, at);
    if (at == 0 && f->n > 0)
        fix_first(&w, t->depth, f->keys[0]);
    if (f->n < LEAF / 4)
        shrink(t, &w);
}

void kv_keys_set_live(struct kv_keys *t, const struct kv_key *key, bool live)
{
    struct kv_walk w;
    descend(t, key_span(key), &w);
    struct leaf *f = w.path[t->depth].node;
    uint32_t at = w.path[t->depth].i;
    CHECK(at < f->n && f->keys[at] == key);
    CHECK((f->live >> at & 1) != live);
    f->live ^= (uint64_t)1 << at;
    for (uint32_t level = 0; level < t->depth; level++) {
        struct inner *p = w.path[level].node;
        p->live[w.path[level].i] += live ? (size_t)1 : SIZE_MAX;
    }
    t->live += live ? (size_t)1 : SIZE_MAX;
}

/* ---- looking ---- */

size_t kv_keys_rank(const struct kv_keys *t, struct span key)
{
    if (!t->root)
        return 0;
    struct kv_walk w;
    descend(t, key, &w);
    size_t rank = 0;
    for (uint32_t level = 0; level < t->depth; level++) {
        const struct inner *p = w.path[level].node;
        for (uint32_t i = 0; i < w.path[level].i; i++)
            rank += p->live[i];
    }
    const struct leaf *f = w.path[t->depth].node;
    return rank + bits(f->live & low_bits(w.path[t->depth].i));
}

/* Down from the child chosen at a level to the first key below it. */
static void down(struct kv_walk *w, uint32_t level)
{
    for (; level < w->keys->depth; level++) {
        const struct inner *p = w->path[level].node;
        void *child = p->child[w->path[level].i];
        uint32_t i = 0;
        if (level + 1 == w->keys->depth)
            i = w->live ? (uint32_t)__builtin_ctzll(((struct leaf *)child)->live) : 0;
        else
            while (w->live && ((struct inner *)child)->live[i] == 0)
                i++;
        w->path[level + 1].node = child;
        w->path[level + 1].i = i;
    }
}

/* To the first key right of the leaf at hand. */
static void climb(struct kv_walk *w)
{
    for (uint32_t level = w->keys->depth; level-- > 0;) {
        const struct inner *p = w->path[level].node;
        for (uint32_t i = w->path[level].i + 1; i < p->n; i++)
            if (!w->live || p->live[i] > 0) {
                w->path[level].i = i;
                down(w, level);
                return;
            }
    }
    w->keys = NULL;
}

/* From a place in a leaf to the key there, or the first right of it. */
static void settle(struct kv_walk *w)
{
    const struct leaf *f = w->path[w->keys->depth].node;
    uint32_t i = w->path[w->keys->depth].i;
    uint64_t ahead = (w->live ? f->live : low_bits(f->n)) & ~low_bits(i);
    if (ahead)
        w->path[w->keys->depth].i = (uint32_t)__builtin_ctzll(ahead);
    else
        climb(w);
}

struct kv_walk kv_keys_from(const struct kv_keys *t, struct span key, bool live)
{
    struct kv_walk w;
    w.live = live;
    w.keys = NULL;
    if (!t->root)
        return w;
    descend(t, key, &w);
    settle(&w);
    return w;
}

struct kv_walk kv_keys_select(const struct kv_keys *t, size_t rank)
{
    struct kv_walk w;
    w.live = true;
    w.keys = NULL;
    if (rank >= t->live)
        return w;
    w.keys = t;
    void *node = t->root;
    for (uint32_t level = 0; level < t->depth; level++) {
        const struct inner *p = node;
        uint32_t i = 0;
        while (rank >= p->live[i])
            rank -= p->live[i++];
        w.path[level].node = node;
        w.path[level].i = i;
        node = p->child[i];
    }
    uint64_t left = ((const struct leaf *)node)->live;
    while (rank--)
        left &= left - 1;
    w.path[t->depth].node = node;
    w.path[t->depth].i = (uint32_t)__builtin_ctzll(left);
    return w;
}

struct kv_key *kv_walk_key(const struct kv_walk *w)
{
    if (!w->keys)
        return NULL;
    uint32_t depth = w->keys->depth;
    return ((const struct leaf *)w->path[depth].node)->keys[w->path[depth].i];
}

void kv_walk_next(struct kv_walk *w)
{
    w->path[w->keys->depth].i++;
    settle(w);
}

struct kv_bounds kv_bounds(struct span key, struct span range_end)
{
    bool open = range_end.len == 1 && range_end.data[0] == 0;
    return (struct kv_bounds){ key, range_end, range_end.len == 0, open };
}
