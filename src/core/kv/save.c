/* The records of a checkpoint. A record is a letter, then its fields; numbers are varints (7 bits
 * a byte, low first, as in protobuf; negative ones as 64-bit two's complement), byte strings are
 * their length as a varint and the bytes. In this order:
 *
 *   B  format (1), revision, compact revision + 1, number of authors      once, first
 *   A  name                             one for each author; they count from 1, and 0 is nobody
 *   K  key                              one for each key, in the order of their bytes
 *   V  mod revision, sub, mod - create revision, version, lease, updated at in ms, author, type,
 *      value                            a put of the key before; its versions stand oldest first
 *   T  mod revision, sub, updated at in ms, author                        a deletion of that key
 *   E  number of keys, number of versions                                 once, last
 *
 * Saved is what a finished compaction at that compact revision would have left, so the same state
 * gives the same bytes however far compaction has come. The history is not saved: it is all
 * versions from the compact revision on, in order of revision and sub. Behind the compact revision
 * it is without gaps; of that revision a store that was imported may have a part. */
#include "core/kv/kv_int.h"

enum { FORMAT = 1 };

struct kv_save {
    struct kv *kv;
    int64_t revision, compact;
    size_t n_authors, authors_done;
    struct kv_key *key; /* at work; NULL before the first. Keys stay: compaction waits */
    size_t at;          /* its next version; those before revision never change places */
    bool begun, ended;
    uint64_t n_keys, n_versions;
};

struct kv_save *kv_save_open(struct kv *kv)
{
    CHECK(!kv->writing);
    struct kv_save *s = mem_zero(kv->alloc, sizeof(*s));
    s->kv = kv;
    s->revision = kv->revision;
    s->compact = kv->compact;
    s->n_authors = kv->authors.list.n;
    kv->pins++;
    return s;
}

void kv_save_close(struct kv_save *s)
{
    CHECK(s->kv->pins > 0);
    s->kv->pins--;
    mem_free(s->kv->alloc, s, sizeof(*s));
}

static void put_bytes(struct buf *out, struct span bytes)
{
    buf_varint(out, bytes.len);
    buf_span(out, bytes);
}

static void save_version(struct kv_save *s, const struct kv_version *v, struct buf *out)
{
    s->n_versions++;
    buf_u8(out, v->tombstone ? 'T' : 'V');
    buf_varint(out, (uint64_t)v->mod_revision);
    buf_varint(out, v->sub);
    if (!v->tombstone) {
        buf_varint(out, (uint64_t)(v->mod_revision - v->create_revision));
        buf_varint(out, (uint64_t)v->version);
        buf_varint(out, (uint64_t)v->lease);
    }
    buf_varint(out, (uint64_t)v->updated_at_ms);
    buf_varint(out, v->author);
    if (!v->tombstone) {
        buf_u8(out, v->type);
        put_bytes(out, kv_value(v));
    }
}

/* Writes what is left of the key's versions, as far as the room goes; true when that is all. */
static bool save_key(struct kv_save *s, size_t end, struct buf *out)
{
    size_t n = key_count(s->key);
    for (; s->at < n; s->at++) {
        const struct kv_version *v = key_at(s->key, s->at);
        if (v->mod_revision > s->revision)
            break;
        if (out->len >= end)
            return false;
        save_version(s, v, out);
    }
    return true;
}

static bool save_keys(struct kv_save *s, size_t end, struct buf *out)
{
    if (s->key && !save_key(s, end, out))
        return false;
    struct kv_walk w = kv_keys_from(&s->kv->keys, s->key ? key_span(s->key) : SPAN_NONE, false);
    if (s->key)
        kv_walk_next(&w);
    for (; kv_walk_key(&w); kv_walk_next(&w)) {
        if (out->len >= end)
            return false;
        s->key = kv_walk_key(&w);
        s->at = key_kept(s->key, s->compact);
        if (s->at == key_count(s->key) || key_at(s->key, s->at)->mod_revision > s->revision)
            continue;
        s->n_keys++;
        buf_u8(out, 'K');
        put_bytes(out, key_span(s->key));
        if (!save_key(s, end, out))
            return false;
    }
    return true;
}

bool kv_save_step(struct kv_save *s, size_t budget_bytes, struct buf *out)
{
    CHECK(!s->kv->writing && budget_bytes > 0);
    size_t end = out->len + budget_bytes;
    if (s->ended)
        return false;
    if (!s->begun) {
        s->begun = true;
        buf_u8(out, 'B');
        buf_varint(out, FORMAT);
        buf_varint(out, (uint64_t)s->revision);
        buf_varint(out, (uint64_t)(s->compact + 1));
        buf_varint(out, s->n_authors);
    }
    for (; s->authors_done < s->n_authors; s->authors_done++) {
        if (out->len >= end)
            return true;
        buf_u8(out, 'A');
        put_bytes(out, kv_authors_name(&s->kv->authors, (uint32_t)s->authors_done + 1));
    }
    if (!save_keys(s, end, out))
        return true;
    buf_u8(out, 'E');
    buf_varint(out, s->n_keys);
    buf_varint(out, s->n_versions);
    s->ended = true;
    return false;
}
