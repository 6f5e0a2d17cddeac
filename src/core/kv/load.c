/* Reads the records that save.c describes. The file around them has checksums of its own; what
 * passes those and still breaks a rule of the store is refused here, so that no later step meets
 * it. */
#include "core/kv/kv_int.h"

static enum err load_begin(struct kv *kv, const struct kv_record *r)
{
    struct kv_loading *l = &kv->loading;
    CHECK(kv->keys.n == 0 && kv->revision == 1 && !kv->writing);
    kv->compact = r->compact;
    l->revision = r->revision;
    l->n_authors = r->n_authors;
    l->begun = true;
    return ERR_OK;
}

static enum err load_author(struct kv *kv, const struct kv_record *r)
{
    size_t n = kv->authors.list.n;
    if (kv->loading.key || n >= kv->loading.n_authors)
        return ERR_CORRUPT;
    return kv_authors_number(&kv->authors, r->bytes) == n + 1 ? ERR_OK : ERR_CORRUPT;
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

static enum err load_key(struct kv *kv, const struct kv_record *r)
{
    struct kv_loading *l = &kv->loading;
    if (kv->authors.list.n != l->n_authors)
        return ERR_CORRUPT;
    if (l->key && span_compare(key_span(l->key), r->bytes) >= 0)
        return ERR_CORRUPT;
    enum err e = finish_key(kv);
    if (!e)
        l->key = key_new(kv->alloc, r->bytes);
    return e;
}

/* Later than the one before it. And where that is older than the compact revision, reads there must
 * still need it. */
static bool in_order(const struct kv *kv, const struct kv_version *prev, const struct kv_record *v)
{
    if (prev->mod_revision < kv->compact && v->mod_revision <= kv->compact)
        return false;
    return prev->mod_revision < v->mod_revision ||
           (prev->mod_revision == v->mod_revision && prev->sub < v->sub);
}

bool kv_record_follows(const struct kv *kv, const struct kv_version *prev,
                       const struct kv_record *v)
{
    bool tombstone = v->letter == 'T';
    if (v->mod_revision < 2 || v->mod_revision > kv->loading.revision)
        return false;
    if (!tombstone && (v->version < 1 || v->version > KV_COUNT_MAX || v->create_revision < 2 ||
                       v->create_revision > v->mod_revision))
        return false;
    if (prev && !in_order(kv, prev, v))
        return false;
    if (prev && !prev->tombstone)
        return tombstone ||
               (v->create_revision == prev->create_revision && v->version == prev->version + 1);
    /* Begins a life; or stands first, and what came before is compacted away. */
    bool before_gone = !prev && v->mod_revision <= kv->compact;
    if (tombstone)
        return before_gone && v->mod_revision == kv->compact;
    if (v->version == 1)
        return v->create_revision == v->mod_revision;
    return before_gone;
}

struct kv_version *kv_record_version(struct kv *kv, const struct kv_record *r)
{
    struct kv_version *v = version_new(kv->alloc, r->bytes.len);
    v->mod_revision = r->mod_revision;
    v->create_revision = r->create_revision;
    v->version = r->version;
    v->lease = r->lease;
    v->updated_at_ms = r->updated_at_ms;
    v->sub = r->sub;
    v->author = r->author;
    v->type = r->type;
    v->tombstone = r->letter == 'T';
    if (r->bytes.len)
        memcpy(v->value, r->bytes.data, r->bytes.len);
    kv->n_versions++;
    return v;
}

static enum err load_version(struct kv *kv, const struct kv_record *r)
{
    struct kv_key *key = kv->loading.key;
    if (!key || r->author > kv->loading.n_authors || !kv_record_follows(kv, key->newest, r))
        return ERR_CORRUPT;
    key_push(kv->alloc, key, kv_record_version(kv, r));
    return ERR_OK;
}

static enum err load_end(struct kv *kv, const struct kv_record *r)
{
    if (finish_key(kv) != ERR_OK)
        return ERR_CORRUPT;
    if (kv->authors.list.n != kv->loading.n_authors || r->n_keys != kv->keys.n ||
        r->n_versions != kv->n_versions)
        return ERR_CORRUPT;
    kv->loading.ended = true;
    return ERR_OK;
}

static enum err load_record(struct kv *kv, struct span *in)
{
    struct kv_record r;
    enum err e = kv_record_read(in, &r);
    if (e)
        return e;
    if (kv->loading.ended || (r.letter == 'B') == kv->loading.begun)
        return ERR_CORRUPT;
    switch (r.letter) {
    case 'B':
        return load_begin(kv, &r);
    case 'A':
        return load_author(kv, &r);
    case 'K':
        return load_key(kv, &r);
    case 'V':
    case 'T':
        return load_version(kv, &r);
    default:
        return load_end(kv, &r);
    }
}

enum err kv_load(struct kv *kv, struct span records)
{
    enum err e = ERR_OK;
    while (!e && records.len)
        e = load_record(kv, &records);
    return e;
}

/* ---- the history ---- Behind the compact revision every version is kept, so their places are
 * known beforehand: first come those of the first revision, by sub from 0, then those of the next.
 * Each must be taken once. Of the compact revision itself there may be a part, or nothing. */

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

/* The first n of the history, all of one revision, by sub: a heap, largest on top. */
static void sink(const struct kv_queue *q, size_t at, size_t n)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        struct kv_version **p = kv_queue_at(q, at), **c = kv_queue_at(q, child);
        if (child + 1 < n && (*kv_queue_at(q, child + 1))->sub > (*c)->sub)
            c = kv_queue_at(q, ++child);
        if ((*p)->sub >= (*c)->sub)
            return;
        struct kv_version *v = *p;
        *p = *c;
        *c = v;
    }
}

static enum err sort_first(const struct kv_queue *q, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sink(q, i, n);
    for (size_t end = n; end-- > 1;) {
        struct kv_version **p = kv_queue_at(q, 0), **last = kv_queue_at(q, end), *v = *p;
        *p = *last;
        *last = v;
        sink(q, 0, end);
    }
    for (size_t i = 1; i < n; i++)
        if ((*kv_queue_at(q, i - 1))->sub == (*kv_queue_at(q, i))->sub)
            return ERR_CORRUPT;
    return ERR_OK;
}

static enum err place(const struct kv *kv, struct kv_version *v, int64_t first,
                      const size_t *starts, size_t *partial)
{
    size_t at = (size_t)(v->mod_revision - first);
    size_t place = v->mod_revision == kv->compact ? (*partial)++ : v->sub;
    if (place >= starts[at + 1] - starts[at])
        return ERR_CORRUPT;
    struct kv_version **slot = kv_queue_at(&kv->history, starts[at] + place);
    if (*slot)
        return ERR_CORRUPT;
    *slot = v;
    return ERR_OK;
}

static enum err fill_history(struct kv *kv, int64_t first, size_t n, const size_t *starts)
{
    size_t partial = 0; /* of the compact revision */
    for (size_t i = 0; i < n; i++)
        if (starts[i] == starts[i + 1] && first + (int64_t)i != kv->compact)
            return ERR_CORRUPT; /* a revision that changed nothing */
    for (size_t i = 0; i < starts[n]; i++)
        kv_queue_push(&kv->history, NULL);
    const struct kv_key *key;
    enum err e = ERR_OK;
    for (struct kv_walk w = kv_keys_from(&kv->keys, SPAN_NONE, false);
         !e && (key = kv_walk_key(&w)) != NULL; kv_walk_next(&w))
        for (size_t i = history_start(kv, key); !e && i < key_count(key); i++)
            e = place(kv, key_at(key, i), first, starts, &partial);
    return e ? e : sort_first(&kv->history, partial);
}

enum err kv_load_end(struct kv *kv)
{
    if (!kv->loading.ended)
        return ERR_CORRUPT;
    kv->revision = kv->loading.revision;
    int64_t first = kv->compact > 2 ? kv->compact : 2;
    /* As many as there are revisions; each but the compacted one must have a version. */
    uint64_t n = kv->revision < first ? 0 : (uint64_t)(kv->revision - first) + 1;
    if (n > kv->n_versions + (kv->compact == first))
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
