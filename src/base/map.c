#include "base/map.h"
#include "base/check.h"

static size_t home(const struct map *m, uint64_t key)
{
    key = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15u;
    return (size_t)(key ^ (key >> 29)) & (m->cap - 1);
}

void map_open(struct map *m, struct alloc *alloc)
{
    *m = (struct map){ .alloc = alloc };
}

void map_close(struct map *m)
{
    mem_free(m->alloc, m->slots, m->cap * sizeof(*m->slots));
    *m = (struct map){ .alloc = m->alloc };
}

static size_t find(const struct map *m, uint64_t key)
{
    size_t i = home(m, key);
    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->cap ? m->slots[find(m, key)].value : NULL;
}

static void resize(struct map *m, size_t cap)
{
    struct map old = *m;
    m->cap = cap;
    m->slots = mem_zero(m->alloc, cap * sizeof(*m->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value)
            m->slots[find(m, old.slots[i].key)] = old.slots[i];
    mem_free(m->alloc, old.slots, old.cap * sizeof(*old.slots));
}

void map_set(struct map *m, uint64_t key, void *value)
{
    CHECK(value != NULL);
    if ((m->n + 1) * 4 > m->cap * 3)
        resize(m, m->cap ? m->cap * 2 : 16);
    struct map_slot *s = &m->slots[find(m, key)];
    if (!s->value)
        m->n++;
    *s = (struct map_slot){ key, value };
}

void *map_remove(struct map *m, uint64_t key)
{
    if (!m->cap)
        return NULL;
    size_t hole = find(m, key);
    void *out = m->slots[hole].value;
    if (!out)
        return NULL;
    m->n--;
    /* Knuth 6.4 R: move back what would no longer be found past the hole. */
    for (size_t i = hole;;) {
        i = (i + 1) & (m->cap - 1);
        if (!m->slots[i].value)
            break;
        size_t h = home(m, m->slots[i].key);
        if (((i - h) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){ 0, NULL };
    return out;
}
