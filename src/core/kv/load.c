/* Reads the records that save.c describes. The file around them has checksums of its own; what
 * passes those and still breaks a rule of the store is refused here, so that no later step meets
 * it. */
#include "core/kv/kv_int.h"

static const int64_t COUNT_MAX = INT64_MAX / 2; /* leaves counting on its room */

static bool take_number(struct span *in, int64_t *out)
{
    uint64_t v;
    bool ok = span_varint(in, &v);
    *out = ok ? (int64_t)v : 0;
    return ok && v <= INT64_MAX;
}

static bool take_u32(struct span *in, uint32_t *out)
{
    uint64_t v;
    bool ok = span_varint(in, &v);
    *out = ok ? (uint32_t)v : 0;
    return ok && v <= UINT32_MAX;
}

static bool take_signed(struct span *in, int64_t *out)
{
    uint64_t v;
    if (!span_varint(in, &v))
        return false;
    *out = (int64_t)v;
    return true;
}

static bool take_bytes(struct span *in, struct span *out)
{
    uint64_t n;
    return span_varint(in, &n) && n <= in->len && span_take(in, (size_t)n, out);
}

static enum err load_begin(struct kv *kv, struct span *in)
{
    struct kv_loading *l = &kv->loading;
    uint64_t format, authors;
    int64_t compact;
    CHECK(kv->keys.n == 0 && kv->revision == 1 && !kv->writing);
    if (!span_varint(in, &format))
        return ERR_CORRUPT;
    if (format != 1)
        return ERR_FORMAT;
    if (!take_number(in, &l->revision) || !take_number(in, &compact) ||
        !span_varint(in, &authors))
        return ERR_CORRUPT;
    if (l->revision < 1 || l->revision > COUNT_MAX || compact - 1 > l->revision ||
        authors > AUTHORS_MAX)
        return ERR_CORRUPT;
    kv->compact = compact - 1;
    l->n_authors = authors;
    l->begun = true;
    return ERR_OK;
}

static enum err load_author(struct kv *kv, struct span *in)
{
    struct span name;
    size_t n = kv->authors.list.n;
    if (kv->loading.key || n >= kv->loading.n_authors || !take_bytes(in, &name))
        return ERR_CORRUPT;
    return kv_authors_number(&kv->authors, name) == n + 1 ? ERR_OK : ERR_CORRUPT;
}

/* The key at hand has all its versions. */
static enum err finish_key(struct kv *kv)
{
    struct kv_key *key = kv->loading.key;
    if (!key)
        return ERR_OK;
    if (!key->newest)
        return ERR_CORRUPT;
    if (key_live(key))
        kv->live_bytes += (size_t)key->size + key->newest->value_size;
    kv_index_add(&kv->index, key);
    kv_keys_add(&kv->keys, key, key_live(key));
    kv->loading.key = NULL;
    return ERR_OK;
}

static enum err load_key(struct kv *kv, struct span *in)
{
    struct kv_loading *l = &kv->loading;
    struct span bytes;
    if (!take_bytes(in, &bytes) || bytes.len == 0 || bytes.len > UINT32_MAX)
        return ERR_CORRUPT;
    if (kv->authors.list.n != l->n_authors)
        return ERR_CORRUPT;
    if (l->key && span_compare(key_span(l->key), bytes) >= 0)
        return ERR_CORRUPT;
    enum err e = finish_key(kv);
    if (!e)
        l->key = key_new(kv->alloc, bytes);
    return e;
}

/* Later than the one before it. And where that is older than the compact revision, reads there must
 * still need it. */
static bool in_order(const struct kv *kv, const struct kv_version *prev,
                     const struct kv_version *v)
{
    if (prev->mod_revision < kv->compact && v->mod_revision <= kv->compact)
        return false;
    return prev->mod_revision < v->mod_revision ||
           (prev->mod_revision == v->mod_revision && prev->sub < v->sub);
}

/* What must be true between a version and the one before it, and at the front of a key. */
static bool follows(const struct kv *kv, const struct kv_version *v)
{
    const struct kv_version *prev = kv->loading.key->newest;
    if (v->mod_revision < 2 || v->mod_revision > kv->loading.revision)
        return false;
    if (!v->tombstone && (v->version < 1 || v->version > COUNT_MAX || v->create_revision < 2))
        return false;
    if (prev && !in_order(kv, prev, v))
        return false;
    if (prev && !prev->tombstone)
        return v->tombstone || (v->create_revision == prev->create_revision &&
                                v->version == prev->version + 1);
    /* Begins a life; or stands first, and what came before is compacted away. */
    bool before_gone = !prev && v->mod_revision <= kv->compact;
    if (v->tombstone)
        return before_gone && v->mod_revision == kv->compact;
    if (v->version == 1)
        return v->create_revision == v->mod_revision;
    return before_gone;
}

static enum err load_version(struct kv *kv, struct span *in, bool tombstone)
{
    struct kv_version head = { .tombstone = tombstone };
    struct span value = SPAN_NONE;
    int64_t age = 0;
    uint8_t type = KV_BYTES;
    bool ok = kv->loading.key && take_number(in, &head.mod_revision) && take_u32(in, &head.sub);
    if (ok && !tombstone)
        ok = take_number(in, &age) && take_number(in, &head.version) &&
             take_signed(in, &head.lease);
    ok = ok && take_signed(in, &head.updated_at_ms) && take_u32(in, &head.author);
    if (ok && !tombstone)
        ok = span_u8(in, &type) && take_bytes(in, &value);
    head.create_revision = tombstone ? 0 : head.mod_revision - age;
    ok = ok && follows(kv, &head) && head.author <= kv->loading.n_authors &&
         type < KV_TYPE_COUNT && value.len <= UINT32_MAX;
    if (!ok)
        return ERR_CORRUPT;
    struct kv_version *v = version_new(kv->alloc, value.len);
    head.value_size = v->value_size;
    head.type = type;
    *v = head;
    if (value.len)
        memcpy(v->value, value.data, value.len);
    key_push(kv->alloc, kv->loading.key, v);
    kv->n_versions++;
    return ERR_OK;
}

static enum err load_end(struct kv *kv, struct span *in)
{
    uint64_t n_keys, n_versions;
    enum err e = finish_key(kv);
    if (e || !span_varint(in, &n_keys) || !span_varint(in, &n_versions))
        return ERR_CORRUPT;
    if (kv->authors.list.n != kv->loading.n_authors || n_keys != kv->keys.n ||
        n_versions != kv->n_versions)
        return ERR_CORRUPT;
    kv->loading.ended = true;
    return ERR_OK;
}

static enum err load_record(struct kv *kv, uint8_t letter, struct span *in)
{
    if (kv->loading.ended || (letter == 'B') == kv->loading.begun)
        return ERR_CORRUPT;
    switch (letter) {
    case 'B':
        return load_begin(kv, in);
    case 'A':
        return load_author(kv, in);
    case 'K':
        return load_key(kv, in);
    case 'V':
    case 'T':
        return load_version(kv, in, letter == 'T');
    case 'E':
        return load_end(kv, in);
    default:
        return ERR_CORRUPT;
    }
}

enum err kv_load(struct kv *kv, struct span records)
{
    enum err e = ERR_OK;
    uint8_t letter;
    while (!e && span_u8(&records, &letter))
        e = load_record(kv, letter, &records);
    return e;
}

/* ---- the history ---- From the compact revision on every version is kept, so their places are
 * known beforehand: first come those of the first revision, by sub from 0, then those of the next.
 * Each must be taken once. */

static size_t history_start(const struct kv *kv, const struct kv_key *key)
{
    return key_before(key, kv->compact, 0);
}

/* starts[i]: where revision first + i begins; one more at the end. */
static void count_revisions(const struct kv *kv, int64_t first, size_t n, size_t *starts)
{
    const struct kv_key *key;
    for (struct kv_walk w = kv_keys_from(&kv->keys, SPAN_NONE, false);
         (key = kv_walk_key(&w)) != NULL; kv_walk_next(&w))
        for (size_t i = history_start(kv, key); i < key_count(key); i++)
            starts[key_at(key, i)->mod_revision - first + 1]++;
    for (size_t i = 0; i < n; i++)
        starts[i + 1] += starts[i];
}

static enum err fill_history(struct kv *kv, int64_t first, size_t n, const size_t *starts)
{
    for (size_t i = 0; i < n; i++)
        if (starts[i] == starts[i + 1])
            return ERR_CORRUPT; /* a revision that changed nothing */
    for (size_t i = 0; i < starts[n]; i++)
        kv_queue_push(&kv->history, NULL);
    const struct kv_key *key;
    for (struct kv_walk w = kv_keys_from(&kv->keys, SPAN_NONE, false);
         (key = kv_walk_key(&w)) != NULL; kv_walk_next(&w))
        for (size_t i = history_start(kv, key); i < key_count(key); i++) {
            struct kv_version *v = key_at(key, i);
            size_t at = (size_t)(v->mod_revision - first);
            if (v->sub >= starts[at + 1] - starts[at])
                return ERR_CORRUPT;
            struct kv_version **place = kv_queue_at(&kv->history, starts[at] + v->sub);
            if (*place)
                return ERR_CORRUPT;
            *place = v;
        }
    return ERR_OK;
}

enum err kv_load_end(struct kv *kv)
{
    if (!kv->loading.ended)
        return ERR_CORRUPT;
    kv->revision = kv->loading.revision;
    int64_t first = kv->compact > 2 ? kv->compact : 2;
    /* As many as there are revisions; each must have a version. */
    uint64_t n = kv->revision < first ? 0 : (uint64_t)(kv->revision - first) + 1;
    if (n > kv->n_versions)
        return ERR_CORRUPT;
    size_t room = (n + 1) * sizeof(size_t);
    size_t *starts = mem_zero(kv->alloc, room);
    count_revisions(kv, first, n, starts);
    enum err e = fill_history(kv, first, n, starts);
    mem_free(kv->alloc, starts, room);
    if (!e)
        kv->looked = kv_queue_find(&kv->history, kv->compact + 1, 0);
    return e;
}
