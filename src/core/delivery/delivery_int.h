/* delivery_int: what the files of core/delivery share. */
#pragma once
#include "base/map.h"
#include "base/tree.h"
#include "core/delivery/delivery.h"

struct delivery_sub {
    struct delivery_sub *next;
    struct delivery_scope *scope;  /* held */
    int64_t revision, revision_ms; /* acknowledged, and when first; 0: none */
    int64_t failed;                /* revision of the error */
    struct delivery_memory memory; /* the error */
};

struct delivery_client {
    struct tree_node node; /* first */
    struct span client, instance, labels;
    struct delivery_memory memory;
    void *owner; /* NULL: gone */
    int64_t since_ms;
    struct delivery_sub *subs;
    struct delivery_client *gone_next, **gone_before;
};

struct delivery_table {
    struct alloc *alloc;
    size_t clients_max, n_clients, n_connected, n_scopes;
    int64_t keep_ms;
    uint64_t refused;
    struct tree clients;
    struct delivery_client *gone_first, **gone_last;
    struct map scopes; /* by hash, those of one hash in a chain */
};

static inline struct delivery_client *client_of(struct tree_node *node)
{
    return (struct delivery_client *)(void *)node;
}
