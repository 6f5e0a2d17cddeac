#include "core/kv/kv_int.h"

static const struct kv_author *author_of(const struct tree_node *node)
{
    return (const struct kv_author *)(const void *)((const uint8_t *)node -
                                                    offsetof(struct kv_author, node));
}

static int compare(const void *name, const struct tree_node *node)
{
    const struct kv_author *a = author_of(node);
    return span_compare(*(const struct span *)name, span_of(a->bytes, a->size));
}

static const struct tree_type BY_NAME = { compare, NULL };

void kv_authors_open(struct kv_authors *a, struct alloc *alloc)
{
    *a = (struct kv_authors){ .alloc = alloc, .by_name = { &BY_NAME, NULL } };
}

void kv_authors_close(struct kv_authors *a)
{
    for (size_t i = 0; i < a->list.n; i++)
        mem_free(a->alloc, a->list.items[i], sizeof(struct kv_author) + a->list.items[i]->size);
    VEC_CLOSE(&a->list, a->alloc);
    a->by_name.root = NULL;
}

uint32_t kv_authors_number(struct kv_authors *a, struct span name)
{
    if (name.len == 0 || name.len > AUTHOR_BYTES_MAX)
        return 0;
    const struct tree_node *found = tree_find(&a->by_name, &name);
    if (found)
        return author_of(found)->number;
    if (a->list.n == AUTHORS_MAX)
        return 0;
    struct kv_author *made = mem_zero(a->alloc, sizeof(*made) + name.len);
    made->number = (uint32_t)a->list.n + 1;
    made->size = (uint32_t)name.len;
    memcpy(made->bytes, name.data, name.len);
    VEC_PUSH(&a->list, a->alloc, made);
    tree_insert(&a->by_name, &name, &made->node);
    return made->number;
}

struct span kv_authors_name(const struct kv_authors *a, uint32_t number)
{
    CHECK(number <= a->list.n);
    if (number == 0)
        return SPAN_NONE;
    const struct kv_author *x = a->list.items[number - 1];
    return span_of(x->bytes, x->size);
}
