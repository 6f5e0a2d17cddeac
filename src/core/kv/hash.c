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

/* Phases, in their order. Keys stay where they are while the store is pinned, and versions up to
 * the revision do not change places; what is written meanwhile is later and is not looked at. */
enum phase { GATHER, SORT, OLD, HISTORY, DONE };

struct kv_hashing {
    struct kv *kv;
    int64_t revision, compact;
    enum phase phase;
    bool any;           /* a key is live at the revision */
    struct kv_key *key; /* GATHER: the last one looked at */
    items old;          /* versions kept from before the history began */
    size_t at;
    uint32_t crc;
    struct buf b;
};

static void gather_key(struct kv_hashing *h, const struct kv_key *key)
{
    h->any = h->any || kv_visible(key, h->revision);
    size_t kept = key_kept(key, h->compact);
    if (kept == key_count(key))
        return;
    const struct kv_version *v = key_at(key, kept);
    struct item item = { (uint64_t)v->mod_revision, v };
    if (v->mod_revision < h->compact)
        VEC_PUSH(&h->old, h->kv->alloc, item);
}

static void gather(struct kv_hashing *h, size_t *budget)
{
    struct kv_walk w = kv_keys_from(&h->kv->keys, h->key ? key_span(h->key) : SPAN_NONE, false);
    if (h->key)
        kv_walk_next(&w);
    for (; kv_walk_key(&w); kv_walk_next(&w)) {
        if (!*budget)
            return;
        --*budget;
        h->key = kv_walk_key(&w);
        gather_key(h, h->key);
    }
    h->phase = SORT;
}

static void sort_old(struct kv_hashing *h)
{
    const struct kv *kv = h->kv;
    items *old = &h->old;
    struct item *room = mem_alloc(kv->alloc, old->n * sizeof(*room));
    sort(old->items, room, old->n, (uint64_t)h->compact);
    mem_free(kv->alloc, room, old->n * sizeof(*room));
    for (size_t i = 1; i < old->n; i++)
        for (size_t j = i; j > 0 && is_before(&old->items[j], &old->items[j - 1]); j--) {
            struct item t = old->items[j];
            old->items[j] = old->items[j - 1];
            old->items[j - 1] = t;
        }
}

static void hash_if_kept(struct kv_hashing *h, const struct kv_version *v)
{
    if (v->mod_revision > h->compact || kv_visible(v->key, h->any ? h->revision : h->compact) == v)
        h->crc = hash_version(h->crc, &h->b, v);
}

static void hash_old(struct kv_hashing *h, size_t *budget)
{
    for (; h->at < h->old.n; h->at++, --*budget) {
        if (!*budget)
            return;
        hash_if_kept(h, h->old.items[h->at].v);
    }
    h->at = kv_queue_find(&h->kv->history, h->compact, 0);
    h->phase = HISTORY;
}

static void hash_history(struct kv_hashing *h, size_t *budget)
{
    for (; h->at < h->kv->history.n; h->at++, --*budget) {
        if (!*budget)
            return;
        const struct kv_version *v = *kv_queue_at(&h->kv->history, h->at);
        if (v->mod_revision > h->revision)
            break;
        hash_if_kept(h, v);
    }
    h->phase = DONE;
}

enum err kv_hashing_open(struct kv *kv, int64_t revision, struct kv_hashing **out)
{
    enum err e = kv_check_revision(kv, revision);
    if (e)
        return e;
    struct kv_hashing *h = mem_zero(kv->alloc, sizeof(*h));
    h->kv = kv;
    h->revision = revision > 0 ? revision : kv->revision;
    h->compact = kv->compact;
    h->crc = crc32c(0, "key", 3);
    buf_open(&h->b, kv->alloc);
    kv->pins++;
    *out = h;
    return ERR_OK;
}

bool kv_hashing_step(struct kv_hashing *h, size_t budget)
{
    if (h->phase == GATHER)
        gather(h, &budget);
    if (h->phase == SORT && budget) {
        if (h->old.n)
            sort_old(h);
        h->phase = OLD;
    }
    if (h->phase == OLD)
        hash_old(h, &budget);
    if (h->phase == HISTORY)
        hash_history(h, &budget);
    return h->phase != DONE;
}

uint32_t kv_hashing_close(struct kv_hashing *h)
{
    struct kv *kv = h->kv;
    uint32_t crc = h->crc;
    CHECK(kv->pins > 0);
    kv->pins--;
    buf_close(&h->b);
    VEC_CLOSE(&h->old, kv->alloc);
    mem_free(kv->alloc, h, sizeof(*h));
    return crc;
}

enum err kv_hash(struct kv *kv, int64_t revision, uint32_t *out)
{
    struct kv_hashing *h;
    enum err e = kv_hashing_open(kv, revision, &h);
    if (e)
        return e;
    while (kv_hashing_step(h, SIZE_MAX))
        ;
    *out = kv_hashing_close(h);
    return ERR_OK;
}
