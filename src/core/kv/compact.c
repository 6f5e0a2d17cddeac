#include "core/kv/kv_int.h"

enum err kv_compact(struct kv *kv, int64_t revision)
{
    CHECK(!kv->writing);
    if (revision <= kv->compact)
        return ERR_COMPACTED;
    if (revision > kv->revision)
        return ERR_REVISION_FUTURE;
    kv->compact = revision;
    kv->looked = 0;
    return ERR_OK;
}

/* The oldest entry is before the compact revision: it leaves the history, and, being a deletion,
 * the store, for a key without versions reads as absent. A put stays until a later version is
 * passed. */
static void pass_oldest(struct kv *kv, struct kv_version *v)
{
    struct kv_key *key = v->key;
    kv_queue_pop(&kv->history);
    if (!v->tombstone)
        return;
    struct kv_version *taken = key_take_oldest(kv->alloc, key);
    CHECK(taken == v);
    kv_forget(kv, v);
    if (key->newest)
        return;
    kv_keys_remove(&kv->keys, key);
    kv_index_remove(&kv->index, key);
    key_free(kv->alloc, key);
}

/* As etcd: of a key, what is before its newest version at or before the compact revision goes, and
 * a deletion before it too; all that was written at that revision itself stays, also deletions
 * (since etcd 3.5.16), for a watch may start there. Costs by entries passed: each frees its
 * predecessor. */
bool kv_compact_step(struct kv *kv, size_t budget)
{
    CHECK(!kv->writing);
    if (kv->pins)
        return false;
    for (; kv->looked < kv->history.n; budget--) {
        struct kv_version *v = *kv_queue_at(&kv->history, kv->looked), *oldest;
        if (v->mod_revision > kv->compact)
            break;
        if (budget == 0)
            return true;
        while ((oldest = key_at(v->key, 0)) != v && oldest->mod_revision < kv->compact)
            kv_forget(kv, key_take_oldest(kv->alloc, v->key));
        if (v->mod_revision < kv->compact)
            pass_oldest(kv, v);
        else
            kv->looked++;
    }
    return false;
}
