#include "core/kv/kv_int.h"

enum { CHANGES_KEEP = 4096 }; /* room that stays between transactions */

void kv_begin(struct kv *kv, int64_t now_ms, struct span author)
{
    CHECK(!kv->writing);
    CHECK(!kv->loading.begun || kv->loading.ended);
    if (kv->changes.cap > CHANGES_KEEP)
        VEC_CLOSE(&kv->changes, kv->alloc);
    kv->changes.n = 0;
    kv->writing = true;
    kv->now_ms = now_ms;
    kv->author = kv_authors_number(&kv->authors, author);
}

void kv_end(struct kv *kv, const struct kv_change **changes, size_t *n)
{
    CHECK(kv->writing);
    kv->revision = kv_newest(kv);
    kv->writing = false;
    *changes = kv->changes.items;
    *n = kv->changes.n;
}

static const struct kv_version *live_or_null(const struct kv_version *v)
{
    return v && !v->tombstone ? v : NULL;
}

/* What a read before this transaction gives. */
static const struct kv_version *before_transaction(const struct kv *kv, const struct kv_key *key)
{
    if (!key->newest || key->newest->mod_revision <= kv->revision)
        return live_or_null(key->newest);
    return kv_visible(key, kv->revision);
}

/* Gives v its place: the newest of its key, the last of the history and of the transaction. */
static void add_version(struct kv *kv, struct kv_key *key, struct kv_version *v)
{
    CHECK(kv->writing);
    struct kv_change change = { v, before_transaction(kv, key), live_or_null(key->newest) };
    bool fresh = !key->newest, was_live = change.replaced != NULL;
    v->mod_revision = kv->revision + 1;
    v->sub = (uint32_t)kv->changes.n;
    v->updated_at_ms = kv->now_ms;
    v->author = kv->author;
    key_push(kv->alloc, key, v);
    if (was_live)
        kv->live_bytes -= (size_t)key->size + change.replaced->value_size;
    if (!v->tombstone)
        kv->live_bytes += (size_t)key->size + v->value_size;
    if (fresh) {
        kv_index_add(&kv->index, key);
        kv_keys_add(&kv->keys, key, !v->tombstone);
    } else if (was_live == v->tombstone) {
        kv_keys_set_live(&kv->keys, key, !v->tombstone);
    }
    kv->n_versions++;
    kv_queue_push(&kv->history, v);
    VEC_PUSH(&kv->changes, kv->alloc, change);
}

void kv_put_checked(struct kv *kv, const struct kv_put *put, struct kv_put_result *out)
{
    struct kv_key *key = kv_index_get(&kv->index, put->key);
    const struct kv_version *prev = key ? live_or_null(key->newest) : NULL;
    struct span value = put->value;
    if (put->ignore_value)
        value = prev ? kv_value(prev) : SPAN_NONE;
    struct kv_version *v = version_new(kv->alloc, value.len);
    if (value.len)
        memcpy(v->value, value.data, value.len);
    v->type = put->ignore_value && prev ? prev->type : put->type;
    v->lease = put->ignore_lease && prev ? prev->lease : put->lease;
    v->create_revision = prev ? prev->create_revision : kv->revision + 1;
    v->version = prev ? prev->version + 1 : 1;
    if (!key)
        key = key_new(kv->alloc, put->key);
    add_version(kv, key, v);
    out->prev = put->prev_kv ? prev : NULL;
}

enum err kv_put(struct kv *kv, const struct kv_put *put, struct kv_put_result *out)
{
    CHECK(kv->writing);
    enum err e = kv_check_put(put);
    if (e)
        return e;
    if ((put->ignore_value || put->ignore_lease) && !kv_get(kv, put->key, 0))
        return ERR_KEY_NOT_FOUND;
    kv_put_checked(kv, put, out);
    return ERR_OK;
}

static void bury(struct kv *kv, struct kv_key *key)
{
    struct kv_version *v = version_new(kv->alloc, 0);
    v->tombstone = true;
    add_version(kv, key, v);
}

static void delete_range(struct kv *kv, const struct kv_delete *del, struct arena *arena,
                         struct kv_delete_result *out)
{
    struct kv_bounds b = kv_bounds(del->key, del->range_end);
    struct kv_walk w = kv_keys_from(&kv->keys, b.begin, true);
    size_t low = kv_keys_rank(&kv->keys, b.begin);
    size_t high = b.open ? kv->keys.live : kv_keys_rank(&kv->keys, b.end);
    if (del->prev_kv && high > low)
        out->prev = ARENA_ARRAY(arena, const struct kv_version *, high - low);
    struct kv_key *key;
    /* A deletion changes counts and no node's keys, so the walk may go on through it. */
    for (; (key = kv_walk_key(&w)) != NULL && !kv_bounds_past(&b, key); kv_walk_next(&w)) {
        if (del->prev_kv)
            out->prev[out->n_prev++] = key->newest;
        bury(kv, key);
        out->deleted++;
    }
    CHECK((size_t)out->deleted == (high > low ? high - low : 0));
}

enum err kv_delete(struct kv *kv, const struct kv_delete *del, struct arena *arena,
                   struct kv_delete_result *out)
{
    CHECK(kv->writing);
    enum err e = kv_check_delete(del);
    if (e)
        return e;
    *out = (struct kv_delete_result){ 0 };
    if (del->range_end.len) {
        delete_range(kv, del, arena, out);
        return ERR_OK;
    }
    struct kv_key *key = kv_index_get(&kv->index, del->key);
    if (!key || !key_live(key))
        return ERR_OK;
    if (del->prev_kv) {
        out->prev = ARENA_ARRAY(arena, const struct kv_version *, 1);
        out->prev[out->n_prev++] = key->newest;
    }
    bury(kv, key);
    out->deleted = 1;
    return ERR_OK;
}
