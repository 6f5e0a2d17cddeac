#include "core/kv/kv_int.h"

struct kv *kv_open(struct alloc *alloc)
{
    struct kv *kv = mem_zero(alloc, sizeof(*kv));
    kv->alloc = alloc;
    kv->revision = 1;
    kv->compact = -1;
    kv_keys_open(&kv->keys, alloc);
    kv_index_open(&kv->index, alloc);
    kv_queue_open(&kv->history, alloc);
    kv_authors_open(&kv->authors, alloc);
    return kv;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    CHECK(!kv->pins);
    struct kv_key *key;
    for (struct kv_walk w = kv_keys_from(&kv->keys, SPAN_NONE, false);
         (key = kv_walk_key(&w)) != NULL; kv_walk_next(&w))
        key_free(kv->alloc, key);
    if (kv->loading.key) /* a load that stopped half way */
        key_free(kv->alloc, kv->loading.key);
    kv_keys_close(&kv->keys);
    kv_index_close(&kv->index);
    kv_queue_close(&kv->history);
    kv_authors_close(&kv->authors);
    VEC_CLOSE(&kv->changes, kv->alloc);
    mem_free(kv->alloc, kv, sizeof(*kv));
}

int64_t kv_revision(const struct kv *kv)
{
    return kv->revision;
}

int64_t kv_compact_revision(const struct kv *kv)
{
    return kv->compact;
}

struct span kv_key(const struct kv_version *v)
{
    return key_span(v->key);
}

struct span kv_value(const struct kv_version *v)
{
    return span_of(v->value, v->value_size);
}

struct span kv_author(const struct kv *kv, const struct kv_version *v)
{
    return kv_authors_name(&kv->authors, v->author);
}

void kv_stats(const struct kv *kv, struct kv_stats *out)
{
    size_t passed = kv_queue_find(&kv->history, kv->compact + 1, 0);
    *out = (struct kv_stats){
        .keys = (int64_t)kv->keys.live,
        .versions = (int64_t)kv->n_versions,
        .used_bytes = kv->alloc->used,
        .live_bytes = kv->live_bytes,
        .pending = (int64_t)(passed - kv->looked),
        .pinned = kv->pins > 0,
    };
}

struct kv_version *kv_visible(const struct kv_key *key, int64_t revision)
{
    struct kv_version *v = key_last(key, revision);
    return v && !v->tombstone ? v : NULL;
}

const struct kv_version *kv_get(const struct kv *kv, struct span key, int64_t revision)
{
    if (revision > 0 && revision < kv->compact)
        return NULL;
    const struct kv_key *found = kv_index_get(&kv->index, key);
    return found ? kv_visible(found, revision > 0 ? revision : kv_newest(kv)) : NULL;
}

void kv_forget(struct kv *kv, struct kv_version *v)
{
    CHECK(kv->n_versions > 0);
    kv->n_versions--;
    version_free(kv->alloc, v);
}

enum err kv_check_revision(const struct kv *kv, int64_t revision)
{
    if (revision > kv_newest(kv))
        return ERR_REVISION_FUTURE;
    return revision > 0 && revision < kv->compact ? ERR_COMPACTED : ERR_OK;
}
