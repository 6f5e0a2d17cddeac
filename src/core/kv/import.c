/* Another store's versions, as they come in order of revision. */
#include "core/kv/kv_int.h"

void kv_import_begin(struct kv *kv, int64_t compact)
{
    CHECK(kv->keys.n == 0 && kv->revision == 1 && !kv->loading.begun);
    kv->compact = compact < -1 ? -1 : compact;
    kv->loading.begun = true;
}

/* A read at the compact revision sees this newer version, which is not behind it. */
static void forget_older(struct kv *kv, struct kv_key *key)
{
    while (key->newest && key_at(key, 0)->mod_revision < kv->compact)
        kv_forget(kv, key_take_oldest(kv->alloc, key));
}

static size_t live_bytes(const struct kv_key *key)
{
    return key && key_live(key) ? (size_t)key->size + key->newest->value_size : 0;
}

/* The order and the index as the key has become. */
static void settle(struct kv *kv, struct kv_key *key, bool known, bool was_live)
{
    bool live = key_live(key);
    if (!known && key->newest) {
        kv_index_add(&kv->index, key);
        kv_keys_add(&kv->keys, key, live);
    } else if (known && live != was_live) {
        kv_keys_set_live(&kv->keys, key, live);
    }
    if (key->newest)
        return;
    if (known) {
        kv_keys_remove(&kv->keys, key);
        kv_index_remove(&kv->index, key);
    }
    key_free(kv->alloc, key);
}

enum err kv_import(struct kv *kv, struct span bytes, const struct kv_record *v)
{
    struct kv_loading *l = &kv->loading;
    CHECK(l->begun && !l->ended && (v->letter == 'V' || v->letter == 'T'));
    bool later =
        v->mod_revision > l->revision || (v->mod_revision == l->revision && v->sub > l->sub);
    if (!later || v->mod_revision > KV_COUNT_MAX || bytes.len == 0 || bytes.len > UINT32_MAX ||
        v->bytes.len > UINT32_MAX)
        return ERR_CORRUPT;
    l->revision = v->mod_revision;
    l->sub = v->sub;
    struct kv_key *key = kv_index_get(&kv->index, bytes);
    bool known = key != NULL, was_live = key && key_live(key), old = v->mod_revision < kv->compact;
    kv->live_bytes -= live_bytes(key);
    if (!key)
        key = key_new(kv->alloc, bytes);
    if (v->mod_revision <= kv->compact)
        forget_older(kv, key);
    enum err e = ERR_OK;
    if (!old || v->letter == 'V') {
        if (kv_record_follows(kv, key->newest, v))
            key_push(kv->alloc, key, kv_record_version(kv, v));
        else
            e = ERR_CORRUPT;
    }
    kv->live_bytes += live_bytes(key);
    settle(kv, key, known, was_live);
    return e;
}

enum err kv_import_end(struct kv *kv, int64_t revision)
{
    struct kv_loading *l = &kv->loading;
    CHECK(l->begun && !l->ended);
    if (revision < l->revision || revision < kv->compact || revision < 1 || revision > KV_COUNT_MAX)
        return ERR_CORRUPT;
    l->revision = revision;
    l->ended = true;
    return kv_load_end(kv);
}
