#include "core/kv/kv_int.h"

/* Before v in its revision the reader sees what a read at the revision before gives; at the compact
 * revision and below that may be freed at any step, so it is never told. */
static struct kv_change change_of(const struct kv *kv, const struct kv_version *v)
{
    struct kv_change c = { v, NULL, NULL };
    if (v->mod_revision > kv->compact)
        c.prev = kv_visible(v->key, v->mod_revision - 1);
    return c;
}

static size_t finish(struct kv_cursor *cursor, const struct kv_change *out, size_t n)
{
    if (n)
        *cursor = (struct kv_cursor){ out[n - 1].now->mod_revision, out[n - 1].now->sub + 1 };
    return n;
}

size_t kv_history(const struct kv *kv, struct kv_cursor *cursor, struct kv_change *out, size_t max)
{
    CHECK(cursor->revision >= kv->compact && max > 0);
    size_t at = kv_queue_find(&kv->history, cursor->revision, cursor->sub), n = 0;
    for (; n < max && at < kv->history.n; n++, at++) {
        const struct kv_version *v = *kv_queue_at(&kv->history, at);
        if (v->mod_revision > kv->revision) /* of the transaction at work */
            break;
        out[n] = change_of(kv, v);
    }
    return finish(cursor, out, n);
}

size_t kv_history_key(const struct kv *kv, struct span key, struct kv_cursor *cursor,
                      struct kv_change *out, size_t max)
{
    CHECK(cursor->revision >= kv->compact && max > 0);
    const struct kv_key *found = kv_index_get(&kv->index, key);
    if (!found)
        return 0;
    size_t at = key_before(found, cursor->revision, cursor->sub), n = 0, all = key_count(found);
    for (; n < max && at < all && key_at(found, at)->mod_revision <= kv->revision; n++, at++)
        out[n] = change_of(kv, key_at(found, at));
    return finish(cursor, out, n);
}

size_t kv_versions(const struct kv *kv, struct span key, int64_t revision,
                   const struct kv_version **out, size_t max)
{
    const struct kv_key *found = kv_index_get(&kv->index, key);
    if (!found)
        return 0;
    int64_t newest = revision > 0 && revision < kv->revision ? revision : kv->revision;
    size_t at = key_before(found, newest + 1, 0), kept = key_kept(found, kv->compact), n = 0;
    while (n < max && at > kept)
        out[n++] = key_at(found, --at);
    return n;
}
