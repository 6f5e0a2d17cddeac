/* index: which watchers stand on which keys. Watchers of the same key or range share a group. */
#pragma once
#include "base/tree.h"
#include "core/watch/watch.h"

struct group;

/* A watcher, with what is private to the folder. */
struct entry {
    struct watcher public;
    struct group *group;
    struct entry *before, *after;             /* in its group, a ring in the order of seq */
    struct entry *behind_before, *behind_after; /* the ring of those behind; NULL when synced */
    uint64_t seq;                             /* counts watchers as they are added */
};

enum group_kind { GROUP_SINGLE, GROUP_RANGE, GROUP_FROM };

struct group {
    struct entry *first; /* its before is the last */
    uint32_t slot;       /* where the match at work keeps it; means nothing between matches */
    uint32_t key_len, end_len;
    uint8_t kind; /* enum group_kind */
};

struct single {
    struct group group;
    struct single *next; /* in its bucket */
    uint8_t key[];
};

struct range {
    struct group group;
    struct tree_node node;
    const struct range *furthest; /* of its subtree: whose end is last */
    uint8_t bytes[];              /* key, then end */
};

struct index {
    struct alloc *alloc;
    struct single **buckets;
    size_t n_singles, n_buckets; /* buckets: 0 or a power of two */
    struct tree ranges;          /* by key, then end */
    int64_t n_ranges;
};

void index_open(struct index *x, struct alloc *alloc);
void index_close(struct index *x); /* with all entries */

/* range_end as in struct watch_spec. */
void index_add(struct index *x, struct entry *e, struct span key, struct span range_end);
void index_remove(struct index *x, struct entry *e);

/* Calls visit for every group that key falls into. */
void index_find(const struct index *x, struct span key,
                void (*visit)(struct group *g, void *context), void *context);

struct span group_key(const struct group *g);
struct span group_range_end(const struct group *g); /* as in struct watch_spec */
bool group_covers(const struct group *g, struct span key);
