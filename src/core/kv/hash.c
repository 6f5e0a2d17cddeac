/* HashKV, byte for byte etcd's (server/storage/mvcc/hash.go, revision.go and key_index.go Keep).
 *
 * Hashed is, in order of revision, what a finished compaction would have left: of a key, the
 * newest version at or before the compact revision, and all later ones. Of those at or before it,
 * etcd leaves out what is not what a read at the hashed revision sees, unless no key is live
 * there; and always a deletion at the compact revision itself. */
#include "core/kv/kv_int.h"
#include "base/crc.h"

enum { RADIX_BITS = 11, RADIX = 1 << RADIX_BITS, REVISION_BYTES = 17, HEAD_MAX = 64 };

struct item {
    uint64_t revision;
    const struct kv_version *v;
};

typedef VEC(struct item) items;

static bool is_before(const struct item *a, const struct item *b)
{
    return a->revision < b->revision || (a->revision == b->revision && a->v->sub < b->v->sub);
}

/* By revision, digit by digit; then by sub, among the few of one revision. */
static void sort(struct item *a, struct item *b, size_t n, uint64_t most)
{
    struct item *from = a, *to = b;
    for (unsigned shift = 0; shift < 64 && most >> shift; shift += RADIX_BITS) {
        size_t starts[RADIX + 1] = { 0 };
        for (size_t i = 0; i < n; i++)
            starts[(from[i].revision >> shift) % RADIX + 1]++;
        for (size_t i = 0; i < RADIX; i++)
            starts[i + 1] += starts[i];
        for (size_t i = 0; i < n; i++)
            to[starts[(from[i].revision >> shift) % RADIX]++] = from[i];
        struct item *t = from;
        from = to;
        to = t;
    }
    if (n && from != a)
        memcpy(a, from, n * sizeof(*a));
}

static void varint_field(struct buf *b, uint8_t tag, uint64_t v)
{
    if (v) {
        buf_u8(b, tag);
        buf_varint(b, v);
    }
}

static void bytes_head(struct buf *b, uint8_t tag, size_t n)
{
    buf_u8(b, tag);
    buf_varint(b, n);
}

static void revision_bytes(struct buf *b, const struct kv_version *v)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_u8(b, (uint8_t)((uint64_t)v->mod_revision >> shift));
    buf_u8(b, '_');
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_u8(b, (uint8_t)((uint64_t)v->sub >> shift));
    if (v->tombstone)
        buf_u8(b, 't');
}

/* The key under which etcd stores it, then the message mvccpb.KeyValue. */
static uint32_t hash_version(uint32_t crc, struct buf *b, const struct kv_version *v)
{
    buf_reset(b);
    revision_bytes(b, v);
    bytes_head(b, 0x0a, v->key->size);
    buf_span(b, kv_key(v));
    if (!v->tombstone) {
        varint_field(b, 0x10, (uint64_t)v->create_revision);
        varint_field(b, 0x18, (uint64_t)v->mod_revision);
        varint_field(b, 0x20, (uint64_t)v->version);
        if (v->value_size)
            bytes_head(b, 0x2a, v->value_size);
        crc = crc32c(crc, b->data, b->len);
        crc = crc32c(crc, v->value, v->value_size);
        buf_reset(b);
        varint_field(b, 0x30, (uint64_t)v->lease);
    }
    return crc32c(crc, b->data, b->len);
}

/* Versions kept from before the history began; tells whether any key is live at revision. */
static bool gather(const struct kv *kv, int64_t revision, items *old)
{
    bool any = false;
    const struct kv_key *key;
    for (struct kv_walk w = kv_keys_from(&kv->keys, SPAN_NONE, false);
         (key = kv_walk_key(&w)) != NULL; kv_walk_next(&w)) {
        any = any || kv_visible(key, revision);
        size_t kept = key_kept(key, kv->compact);
        if (kept == key_count(key))
            continue;
        const struct kv_version *v = key_at(key, kept);
        struct item item = { (uint64_t)v->mod_revision, v };
        if (v->mod_revision < kv->compact)
            VEC_PUSH(old, kv->alloc, item);
    }
    return any;
}

static void sort_old(const struct kv *kv, items *old)
{
    struct item *room = mem_alloc(kv->alloc, old->n * sizeof(*room));
    sort(old->items, room, old->n, (uint64_t)kv->compact);
    mem_free(kv->alloc, room, old->n * sizeof(*room));
    for (size_t i = 1; i < old->n; i++)
        for (size_t j = i; j > 0 && is_before(&old->items[j], &old->items[j - 1]); j--) {
            struct item t = old->items[j];
            old->items[j] = old->items[j - 1];
            old->items[j - 1] = t;
        }
}

static bool counts(const struct kv *kv, const struct kv_version *v, int64_t revision, bool any)
{
    if (v->mod_revision > kv->compact)
        return true;
    return kv_visible(v->key, any ? revision : kv->compact) == v;
}

enum err kv_hash(const struct kv *kv, int64_t revision, uint32_t *out)
{
    enum err e = kv_check_revision(kv, revision);
    if (e)
        return e;
    if (revision <= 0)
        revision = kv->revision;
    items old = { 0 };
    bool any = gather(kv, revision, &old);
    if (old.n)
        sort_old(kv, &old);
    struct buf b;
    buf_open(&b, kv->alloc);
    uint32_t crc = crc32c(0, "key", 3);
    for (size_t i = 0; i < old.n; i++)
        if (counts(kv, old.items[i].v, revision, any))
            crc = hash_version(crc, &b, old.items[i].v);
    size_t at = kv_queue_find(&kv->history, kv->compact, 0);
    for (; at < kv->history.n; at++) {
        const struct kv_version *v = *kv_queue_at(&kv->history, at);
        if (v->mod_revision > revision)
            break;
        if (counts(kv, v, revision, any))
            crc = hash_version(crc, &b, v);
    }
    buf_close(&b);
    VEC_CLOSE(&old, kv->alloc);
    *out = crc;
    return ERR_OK;
}
