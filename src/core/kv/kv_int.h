/* kv_int: the inside of the store, shared by the files of this folder alone. */
#pragma once
#include "base/check.h"
#include "base/tree.h"
#include "base/vec.h"
#include "core/kv/kv.h"

/* ---- a key and its versions ---- */

/* What came before the newest version, oldest first: items[head] to items[head + n - 1]. */
struct kv_older {
    uint32_t head, n, cap;
    struct kv_version *items[];
};

struct kv_key {
    struct kv_version *newest; /* NULL only while the key is being made or unmade */
    struct kv_older *older;    /* NULL when there is nothing in it */
    uint32_t size;
    uint8_t bytes[];
};

static inline struct span key_span(const struct kv_key *key)
{
    return span_of(key->bytes, key->size);
}

static inline bool key_live(const struct kv_key *key)
{
    return key->newest && !key->newest->tombstone;
}

static inline size_t key_count(const struct kv_key *key)
{
    return (key->older ? key->older->n : 0) + (size_t)(key->newest != NULL);
}

/* Version i of the key, 0 the oldest kept. */
static inline struct kv_version *key_at(const struct kv_key *key, size_t i)
{
    size_t older = key->older ? key->older->n : 0;
    return i < older ? key->older->items[key->older->head + i] : key->newest;
}

/* How many versions of the key come before (revision, sub). */
size_t key_before(const struct kv_key *key, int64_t revision, uint32_t sub);

/* The index of the first version that a compaction at the given revision leaves: all from that
 * revision on, or, when nothing is at it, the live one before, which is what a read there sees. */
size_t key_kept(const struct kv_key *key, int64_t compact);

/* The newest version at or before revision, tombstones too; NULL for none. */
struct kv_version *key_last(const struct kv_key *key, int64_t revision);

void key_push(struct alloc *alloc, struct kv_key *key, struct kv_version *v);
struct kv_version *key_take_oldest(struct alloc *alloc, struct kv_key *key);

struct kv_key *key_new(struct alloc *alloc, struct span bytes);
void key_free(struct alloc *alloc, struct kv_key *key); /* with its versions */
struct kv_version *version_new(struct alloc *alloc, size_t value_size);
void version_free(struct alloc *alloc, struct kv_version *v);

/* ---- index.c: keys by hash ---- */

struct kv_segment {
    uint64_t *slots; /* 16 bits of the hash above, the address of the key below; 0: free */
    uint32_t n, cap;
};

struct kv_index {
    struct alloc *alloc;
    struct kv_segment *segments;
    size_t n_segments, cap_segments;
    size_t n;
};

void kv_index_open(struct kv_index *x, struct alloc *alloc);
void kv_index_close(struct kv_index *x);
struct kv_key *kv_index_get(const struct kv_index *x, struct span key); /* NULL: not there */
void kv_index_add(struct kv_index *x, struct kv_key *key);              /* must not be there */
void kv_index_remove(struct kv_index *x, const struct kv_key *key);     /* must be there */

/* ---- keys.c: keys in order ---- */

enum { KEYS_DEPTH_MAX = 16 };

struct kv_keys {
    struct alloc *alloc;
    void *root;     /* NULL: empty */
    uint32_t depth; /* of inner nodes above the leaves */
    size_t n, live;
};

/* A place among the keys; good until a key is added or removed. */
struct kv_walk {
    const struct kv_keys *keys;
    bool live; /* steps over keys that are not */
    struct {
        void *node;
        uint32_t i;
    } path[KEYS_DEPTH_MAX];
};

void kv_keys_open(struct kv_keys *t, struct alloc *alloc);
void kv_keys_close(struct kv_keys *t); /* the nodes; the keys are the caller's */
void kv_keys_add(struct kv_keys *t, struct kv_key *key, bool live);
void kv_keys_remove(struct kv_keys *t, const struct kv_key *key);
void kv_keys_set_live(struct kv_keys *t, const struct kv_key *key, bool live);
size_t kv_keys_rank(const struct kv_keys *t, struct span key); /* live keys before it */

/* From the first key at or after the given one; from the live key with so many live ones before. */
struct kv_walk kv_keys_from(const struct kv_keys *t, struct span key, bool live);
struct kv_walk kv_keys_select(const struct kv_keys *t, size_t rank);
struct kv_key *kv_walk_key(const struct kv_walk *w); /* NULL at the end */
void kv_walk_next(struct kv_walk *w);

/* Parts a range as clients write it: one key (single), from begin on (end.data NULL), or up to end.
 */
struct kv_bounds {
    struct span begin, end;
    bool single, open;
};
struct kv_bounds kv_bounds(struct span key, struct span range_end);
static inline bool kv_bounds_past(const struct kv_bounds *b, const struct kv_key *key)
{
    return !b->open && span_compare(key_span(key), b->end) >= 0;
}

/* ---- queue.c: versions in order of revision ---- */

enum { QUEUE_CHUNK = 512 };

struct kv_queue {
    struct alloc *alloc;
    struct kv_version ***chunks;
    size_t first, n_chunks, cap_chunks; /* chunks[first] is the oldest of n_chunks */
    size_t head;                        /* taken out of the oldest chunk */
    size_t n;
};

void kv_queue_open(struct kv_queue *q, struct alloc *alloc);
void kv_queue_close(struct kv_queue *q);
void kv_queue_push(struct kv_queue *q, struct kv_version *v);
void kv_queue_pop(struct kv_queue *q);
size_t kv_queue_find(const struct kv_queue *q, int64_t revision, uint32_t sub); /* or n */

static inline struct kv_version **kv_queue_at(const struct kv_queue *q, size_t i)
{
    i += q->head;
    return &q->chunks[q->first + i / QUEUE_CHUNK][i % QUEUE_CHUNK];
}

/* ---- author.c ---- */

/* Beyond these an author is kept as unknown (0), so that the table stays small. */
enum { AUTHORS_MAX = 65536, AUTHOR_BYTES_MAX = 1024 };

struct kv_author {
    struct tree_node node;
    uint32_t number; /* from 1, as they came */
    uint32_t size;
    uint8_t bytes[];
};

struct kv_authors {
    struct alloc *alloc;
    struct tree by_name;
    VEC(struct kv_author *) list;
};

void kv_authors_open(struct kv_authors *a, struct alloc *alloc);
void kv_authors_close(struct kv_authors *a);
uint32_t kv_authors_number(struct kv_authors *a, struct span name);
struct span kv_authors_name(const struct kv_authors *a, uint32_t number);

/* ---- the store ---- */

#define KV_COUNT_MAX (INT64_MAX / 2) /* of what counts when it comes from outside: leaves room */

struct kv_loading {
    bool begun, ended;
    uint32_t sub; /* of the version before, while importing; revision is its */
    int64_t revision;
    uint64_t n_authors, n_keys, n_versions;
    struct kv_key *key; /* the last one; in the order and the index once it is whole */
};

struct kv {
    struct alloc *alloc;
    struct kv_keys keys;
    struct kv_index index;
    struct kv_queue history;
    struct kv_authors authors;
    int64_t revision;
    int64_t compact;
    size_t looked;   /* of the history, by the compaction at work */
    size_t n_versions, live_bytes;
    uint32_t pins; /* saves and hashings at work: compaction waits */
    bool writing; /* between kv_begin and kv_end */
    int64_t now_ms;
    uint32_t author;
    VEC(struct kv_change) changes;
    struct kv_loading loading;
};

/* The revision that a read at "newest" sees: what an open transaction wrote counts. */
static inline int64_t kv_newest(const struct kv *kv)
{
    return kv->revision + (kv->changes.n > 0 && kv->writing);
}

/* The live version that reads at revision see, or NULL; no check against compaction. */
struct kv_version *kv_visible(const struct kv_key *key, int64_t revision);

/* A version leaves the store: its bytes and its place in the counts. */
void kv_forget(struct kv *kv, struct kv_version *v);

/* ERR_REVISION_FUTURE, ERR_COMPACTED. */
enum err kv_check_revision(const struct kv *kv, int64_t revision) MUST_CHECK;

/* A put of which everything has been looked at. */
void kv_put_checked(struct kv *kv, const struct kv_put *put, struct kv_put_result *out);

/* What must be true between a version and the one before it (NULL: none) of its key. */
bool kv_record_follows(const struct kv *kv, const struct kv_version *prev,
                       const struct kv_record *v);
struct kv_version *kv_record_version(struct kv *kv, const struct kv_record *r); /* counted */
