#include "core/kv/kv_int.h"

enum { OLDER_CAP_MIN = 2 };

static size_t older_size(uint32_t cap)
{
    return sizeof(struct kv_older) + cap * sizeof(struct kv_version *);
}

static size_t version_size(size_t value_size)
{
    return offsetof(struct kv_version, value) + value_size;
}

static size_t key_size(size_t size)
{
    return offsetof(struct kv_key, bytes) + size;
}

struct kv_version *version_new(struct alloc *alloc, size_t value_size)
{
    CHECK(value_size <= UINT32_MAX);
    /* Never smaller than the shape: a value of a byte fits into what would be its padding. */
    size_t size = version_size(value_size);
    struct kv_version *v = mem_alloc(alloc, size < sizeof(*v) ? sizeof(*v) : size);
    *v = (struct kv_version){ .value_size = (uint32_t)value_size };
    return v;
}

void version_free(struct alloc *alloc, struct kv_version *v)
{
    size_t size = version_size(v->value_size);
    mem_free(alloc, v, size < sizeof(*v) ? sizeof(*v) : size);
}

struct kv_key *key_new(struct alloc *alloc, struct span bytes)
{
    CHECK(bytes.len > 0 && bytes.len <= UINT32_MAX);
    size_t size = key_size(bytes.len);
    struct kv_key *key = mem_alloc(alloc, size < sizeof(*key) ? sizeof(*key) : size);
    *key = (struct kv_key){ .size = (uint32_t)bytes.len };
    memcpy(key->bytes, bytes.data, bytes.len);
    return key;
}

void key_free(struct alloc *alloc, struct kv_key *key)
{
    struct kv_version *v;
    while ((v = key_take_oldest(alloc, key)) != NULL)
        version_free(alloc, v);
    size_t size = key_size(key->size);
    mem_free(alloc, key, size < sizeof(*key) ? sizeof(*key) : size);
}

static void resize(struct alloc *alloc, struct kv_key *key, uint32_t cap)
{
    struct kv_older *o = key->older;
    if (o && o->head) {
        memmove(o->items, o->items + o->head, o->n * sizeof(struct kv_version *));
        o->head = 0;
    }
    key->older = mem_resize(alloc, o, o ? older_size(o->cap) : 0, older_size(cap));
    if (!o)
        key->older->head = key->older->n = 0;
    key->older->cap = cap;
}

void key_push(struct alloc *alloc, struct kv_key *key, struct kv_version *v)
{
    if (key->newest) {
        struct kv_older *o = key->older;
        if (!o)
            resize(alloc, key, OLDER_CAP_MIN);
        else if (o->head + o->n == o->cap)
            resize(alloc, key, o->head > o->cap / 2 ? o->cap : o->cap * 2);
        o = key->older;
        CHECK(o->cap <= UINT32_MAX / 2);
        o->items[o->head + o->n++] = key->newest;
    }
    key->newest = v;
    v->key = key;
}

struct kv_version *key_take_oldest(struct alloc *alloc, struct kv_key *key)
{
    struct kv_older *o = key->older;
    struct kv_version *v;
    if (!o) {
        v = key->newest;
        key->newest = NULL;
        return v;
    }
    v = o->items[o->head++];
    if (--o->n == 0) {
        mem_free(alloc, o, older_size(o->cap));
        key->older = NULL;
    } else if (o->n <= o->cap / 8) {
        resize(alloc, key, o->cap / 4);
    }
    return v;
}

size_t key_before(const struct kv_key *key, int64_t revision, uint32_t sub)
{
    size_t low = 0, high = key_count(key);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct kv_version *v = key_at(key, middle);
        if (v->mod_revision < revision || (v->mod_revision == revision && v->sub < sub))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t key_kept(const struct kv_key *key, int64_t compact)
{
    size_t i = key_before(key, compact, 0);
    if (i == 0 || (i < key_count(key) && key_at(key, i)->mod_revision == compact))
        return i;
    return key_at(key, i - 1)->tombstone ? i : i - 1;
}

struct kv_version *key_last(const struct kv_key *key, int64_t revision)
{
    if (key->newest && key->newest->mod_revision <= revision)
        return key->newest;
    size_t i = key_before(key, revision + 1, 0); /* revision < newest, so this does not overflow */
    return i ? key_at(key, i - 1) : NULL;
}
