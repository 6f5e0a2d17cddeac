/* What a live copy holds at one moment: made once, read by any thread, given back by the last. */
#include <stdlib.h>
#include "base/hash.h"
#include "confman/confman_int.h"

struct part *part_open(void)
{
    struct part *p = calloc(1, sizeof(*p));
    CHECK(p != NULL); /* no memory: caught by work_run or client_run */
    p->refs = 1;
    alloc_heap(&p->alloc);
    arena_open(&p->arena, &p->alloc);
    return p;
}

void part_close(struct part *p)
{
    if (!p)
        return;
    arena_close(&p->arena);
    free(p);
}

static int by_key(const void *a, const void *b)
{
    return span_compare(((const struct item *)a)->key, ((const struct item *)b)->key);
}

struct item item_copy(const struct item *item, struct arena *arena)
{
    struct item to = *item;
    struct span *texts[] = { &to.key,        &to.value,      &to.environment,
                             &to.updated_at, &to.updated_by, &to.json };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = arena_copy(arena, *texts[i]);
    return to;
}

void part_put(struct part *p, const struct item *item)
{
    p->items[p->n++] = item_copy(item, &p->arena);
}

struct part *part_configs(const struct item *items, size_t n, int64_t revision)
{
    struct part *p = part_open();
    size_t kept = 0;
    p->revision = revision;
    p->items = ARENA_ARRAY(&p->arena, struct item, n + 1);
    for (size_t i = 0; i < n; i++)
        part_put(p, &items[i]);
    if (n)
        qsort(p->items, n, sizeof(*p->items), by_key);
    for (size_t i = 0; i < p->n; i++)
        if (!kept || !span_equal(p->items[i].key, p->items[kept - 1].key))
            p->items[kept++] = p->items[i];
    p->n = kept;
    return p;
}

/* ---- flags ---- */

static void put_slot(struct part *p, size_t flag)
{
    size_t at = (size_t)hash_bytes(p->known[flag].name, 0) & p->slots_mask;
    while (p->slots[at])
        at = (at + 1) & p->slots_mask;
    p->slots[at] = (uint32_t)flag + 1;
}

long part_flag(const struct part *p, struct span name)
{
    size_t at = (size_t)hash_bytes(name, 0) & p->slots_mask;
    for (; p->slots[at]; at = (at + 1) & p->slots_mask)
        if (span_equal(p->known[p->slots[at] - 1].name, name))
            return (long)p->slots[at] - 1;
    return -1;
}

static const struct fval *shared_rules(struct part *p)
{
    struct fval *v = ARENA_NEW(&p->arena, struct fval);
    char why[FLAG_WHY_MAX];
    if (!p->shared.len || fval_read(p->shared, &p->arena, v, why) != ERR_OK)
        return NULL;
    return fval_find(v, SPAN("$evaluators"));
}

struct part *part_flags(const struct known *known, size_t n, struct span shared, int64_t revision)
{
    struct part *p = part_open();
    size_t slots = 8;
    while (slots < 2 * n)
        slots *= 2;
    p->revision = revision;
    p->slots_mask = slots - 1;
    p->slots = ARENA_ARRAY(&p->arena, uint32_t, slots);
    p->known = ARENA_ARRAY(&p->arena, struct known, n + 1);
    p->flags = ARENA_ARRAY(&p->arena, const struct flag *, n + 1);
    p->n_flags = n;
    p->shared = arena_copy(&p->arena, shared);
    const struct fval *rules = shared_rules(p);
    for (size_t i = 0; i < n; i++) {
        char why[FLAG_WHY_MAX];
        p->known[i].name = arena_copy(&p->arena, known[i].name);
        p->known[i].json = arena_copy(&p->arena, known[i].json);
        if (flag_compile(p->known[i].name, p->known[i].json, rules, &p->arena, &p->flags[i],
                         why) != ERR_OK)
            p->flags[i] = NULL; /* an error of that flag alone */
        put_slot(p, i);
    }
    return p;
}
