#include "core/delivery/delivery.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/tree.h"
#include "core/delivery/delivery_int.h"

/* ---- texts: copied into one piece of memory that a thing owns ---- */

static struct span keep(uint8_t **at, struct span s)
{
    struct span out = span_of(*at, s.len);
    if (s.len)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return out;
}

static struct delivery_memory get(struct alloc *alloc, size_t size)
{
    return (struct delivery_memory){ size ? mem_alloc(alloc, size) : NULL, size };
}

static void forget(struct alloc *alloc, struct delivery_memory *m)
{
    mem_free(alloc, m->data, m->size);
    *m = (struct delivery_memory){ .data = NULL };
}

/* ---- the table ---- */

static int compare_names(const void *key, const struct tree_node *node)
{
    const struct delivery_client *a = key, *b = (const void *)node;
    int c = span_compare(a->client, b->client);
    return c ? c : span_compare(a->instance, b->instance);
}

static const struct tree_type by_name = { .compare = compare_names };

struct delivery_table *delivery_open(struct alloc *alloc, size_t clients_max, int64_t keep_ms)
{
    struct delivery_table *t = mem_zero(alloc, sizeof(*t));
    CHECK(clients_max > 0 && keep_ms >= 0);
    t->alloc = alloc;
    t->clients_max = clients_max;
    t->keep_ms = keep_ms;
    t->clients.type = &by_name;
    t->gone_last = &t->gone_first;
    map_open(&t->scopes, alloc);
    return t;
}

void delivery_reset(struct delivery_table *t)
{
    CHECK(t->n_connected == 0);
    delivery_sweep(t, INT64_MAX);
    CHECK(t->n_clients == 0);
}

void delivery_close(struct delivery_table *t)
{
    delivery_reset(t);
    CHECK(t->n_scopes == 0);
    map_close(&t->scopes);
    mem_free(t->alloc, t, sizeof(*t));
}

void delivery_stats(const struct delivery_table *t, struct delivery_stats *out)
{
    *out = (struct delivery_stats){ t->n_clients, t->n_connected, t->n_scopes, t->refused };
}

/* ---- scopes ---- */

static uint64_t hash_of(enum delivery_kind kind, bool own, struct span environment,
                        struct span text)
{
    return hash_bytes(text, hash_bytes(environment, (uint64_t)kind * 2 + own));
}

static bool is(const struct delivery_scope *s, enum delivery_kind kind, bool own,
               struct span environment, struct span text)
{
    return s->kind == kind && s->own == own && span_equal(s->environment, environment) &&
           span_equal(s->text, text);
}

struct delivery_scope *delivery_scope(struct delivery_table *t, enum delivery_kind kind, bool own,
                                      struct span environment, struct span text)
{
    uint64_t hash = hash_of(kind, own, environment, text);
    struct delivery_scope *first = map_get(&t->scopes, hash), *s = first;
    while (s && !is(s, kind, own, environment, text))
        s = s->next;
    if (s) {
        s->holders++;
        return s;
    }
    s = mem_zero(t->alloc, sizeof(*s));
    *s = (struct delivery_scope){ .kind = kind, .own = own, .hash = hash, .holders = 1 };
    s->memory = get(t->alloc, environment.len + text.len);
    uint8_t *at = s->memory.data;
    s->environment = keep(&at, environment);
    s->text = keep(&at, text);
    s->next = first;
    map_set(&t->scopes, hash, s);
    t->n_scopes++;
    return s;
}

void delivery_scope_levels(struct delivery_table *t, struct delivery_scope *s,
                           const struct span *levels, size_t n)
{
    size_t size = 0;
    CHECK(n <= DELIVERY_LEVELS_MAX);
    for (size_t i = 0; i < n; i++)
        size += levels[i].len;
    struct delivery_memory memory = get(t->alloc, size);
    uint8_t *at = memory.data;
    for (size_t i = 0; i < n; i++)
        s->levels[i] = keep(&at, levels[i]);
    forget(t->alloc, &s->level_memory);
    s->level_memory = memory;
    s->n_levels = n;
}

void delivery_scope_drop(struct delivery_table *t, struct delivery_scope *s)
{
    CHECK(s->holders > 0);
    if (--s->holders)
        return;
    struct delivery_scope *first = map_get(&t->scopes, s->hash);
    if (first != s) {
        while (first->next != s)
            first = first->next;
        first->next = s->next;
    } else if (s->next) {
        map_set(&t->scopes, s->hash, s->next);
    } else {
        map_remove(&t->scopes, s->hash);
    }
    forget(t->alloc, &s->memory);
    forget(t->alloc, &s->level_memory);
    mem_free(t->alloc, s, sizeof(*s));
    t->n_scopes--;
}

/* ---- clients ---- */

static void drop_sub(struct delivery_table *t, struct delivery_sub *sub)
{
    delivery_scope_drop(t, sub->scope);
    forget(t->alloc, &sub->memory);
    mem_free(t->alloc, sub, sizeof(*sub));
}

static void drop_subs(struct delivery_table *t, struct delivery_client *c)
{
    while (c->subs) {
        struct delivery_sub *sub = c->subs;
        c->subs = sub->next;
        drop_sub(t, sub);
    }
}

static void leave_gone(struct delivery_table *t, struct delivery_client *c)
{
    *c->gone_before = c->gone_next;
    if (c->gone_next)
        c->gone_next->gone_before = c->gone_before;
    else
        t->gone_last = c->gone_before;
    c->gone_next = NULL;
    c->gone_before = NULL;
}

static void drop_client(struct delivery_table *t, struct delivery_client *c)
{
    CHECK(!c->owner);
    leave_gone(t, c);
    drop_subs(t, c);
    CHECK(tree_remove(&t->clients, c) == &c->node);
    t->n_clients--;
    forget(t->alloc, &c->memory);
    mem_free(t->alloc, c, sizeof(*c));
}

static struct delivery_client *make_client(struct delivery_table *t, struct span client,
                                           struct span instance)
{
    if (t->n_clients >= t->clients_max && t->gone_first)
        drop_client(t, t->gone_first);
    if (t->n_clients >= t->clients_max) {
        t->refused++;
        return NULL;
    }
    struct delivery_client *c = mem_zero(t->alloc, sizeof(*c));
    c->memory = get(t->alloc, client.len + instance.len);
    uint8_t *at = c->memory.data;
    c->client = keep(&at, client);
    c->instance = keep(&at, instance);
    tree_insert(&t->clients, c, &c->node);
    t->n_clients++;
    return c;
}

/* In the place of its names, with the labels behind them. */
static void name(struct delivery_table *t, struct delivery_client *c, struct span labels)
{
    struct delivery_memory memory = get(t->alloc, c->client.len + c->instance.len + labels.len);
    uint8_t *at = memory.data;
    c->client = keep(&at, c->client);
    c->instance = keep(&at, c->instance);
    c->labels = keep(&at, labels);
    forget(t->alloc, &c->memory);
    c->memory = memory;
}

struct delivery_client *delivery_hello(struct delivery_table *t, struct span client,
                                       struct span instance, struct span labels, void *owner,
                                       int64_t now_ms, void **before)
{
    struct delivery_client key = { .client = client, .instance = instance };
    CHECK(owner && client.len <= DELIVERY_NAME_MAX && instance.len <= DELIVERY_NAME_MAX &&
          labels.len <= DELIVERY_LABELS_MAX);
    struct tree_node *node = tree_find(&t->clients, &key);
    struct delivery_client *c = node ? client_of(node) : make_client(t, client, instance);
    *before = NULL;
    if (!c)
        return NULL;
    if (c->owner) {
        *before = c->owner;
    } else {
        if (node)
            leave_gone(t, c);
        t->n_connected++;
    }
    drop_subs(t, c);
    name(t, c, labels);
    c->owner = owner;
    c->since_ms = now_ms;
    return c;
}

void delivery_gone(struct delivery_table *t, struct delivery_client *c, int64_t now_ms)
{
    CHECK(c->owner && t->n_connected > 0);
    c->owner = NULL;
    c->since_ms = now_ms;
    t->n_connected--;
    c->gone_before = t->gone_last;
    *t->gone_last = c;
    t->gone_last = &c->gone_next;
}

void delivery_sweep(struct delivery_table *t, int64_t now_ms)
{
    while (t->gone_first && now_ms - t->gone_first->since_ms >= t->keep_ms)
        drop_client(t, t->gone_first);
}

/* ---- subscriptions ---- */

struct delivery_sub *delivery_subscribe(struct delivery_table *t, struct delivery_client *c,
                                        struct delivery_scope *scope)
{
    struct delivery_sub *sub = mem_zero(t->alloc, sizeof(*sub));
    CHECK(c->owner);
    sub->scope = scope;
    scope->holders++;
    sub->next = c->subs;
    c->subs = sub;
    return sub;
}

void delivery_unsubscribe(struct delivery_table *t, struct delivery_client *c,
                          struct delivery_sub *sub)
{
    struct delivery_sub **at = &c->subs;
    while (*at != sub) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = sub->next;
    drop_sub(t, sub);
}

void delivery_acknowledge(struct delivery_table *t, struct delivery_sub *sub, int64_t revision,
                          struct span error, int64_t now_ms)
{
    if (revision < sub->revision || revision < sub->failed)
        return;
    if (error.len) {
        size_t size = error.len < DELIVERY_ERROR_MAX ? error.len : DELIVERY_ERROR_MAX;
        forget(t->alloc, &sub->memory);
        sub->memory = get(t->alloc, size);
        memcpy(sub->memory.data, error.data, size);
        sub->failed = revision;
        return;
    }
    forget(t->alloc, &sub->memory);
    sub->failed = 0;
    if (revision > sub->revision || !sub->revision_ms)
        sub->revision_ms = now_ms;
    sub->revision = revision;
}
