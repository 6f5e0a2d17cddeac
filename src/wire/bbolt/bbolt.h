/* bbolt: the database file of etcd: pages of B+trees, one tree a bucket.
 *
 * Source: go.etcd.io/bbolt, internal/common/{page,meta,bucket}.go. Numbers are little-endian, as on
 * every machine that etcd is built for. A file is pages of one size; page 0 and 1 are its heads
 * (meta), of which the one of the later transaction counts; the root tree has the buckets by name.
 *
 * Writing goes through the file once, front to back, and holds no more than a page and the first
 * key of each page of the bucket at hand. The heads stand first and say how many pages come, so
 * everything is written twice: the first time only counted.
 *
 * Reading takes any bytes: whatever a page says is looked at before it is followed. A walk visits
 * no more pages than there are, and its keys rise, so it comes to an end.
 *
 * Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "base/vec.h"

enum {
    BBOLT_PAGE_BYTES = 4096, /* that we write */
    BBOLT_DEPTH_MAX = 32,    /* of a tree that we read */
    BBOLT_BUCKETS_MAX = 16,  /* that we write */
    BBOLT_NAME_MAX = 32,     /* of a bucket that we write */
};

/* ---- writing ---- */

struct bbolt_page { /* a page that is written, for the branch page above it */
    uint64_t number;
    size_t key_at; /* its first key, in keys */
    uint32_t key_size;
};

struct bbolt_item {
    uint32_t key_size, value_size;
};

struct bbolt_size {
    uint64_t pages, root; /* of the whole; the page of the root tree */
};

/* All its own. */
struct bbolt_writer {
    struct alloc *alloc;
    struct buf *out; /* NULL: counting */
    struct bbolt_size size;
    VEC(struct bbolt_item) items; /* of the leaf at hand */
    struct buf data;
    size_t bytes; /* what data has, or would have */
    VEC(struct bbolt_page) level;
    struct buf keys;
    struct {
        char name[BBOLT_NAME_MAX];
        uint64_t root;
    } buckets[BBOLT_BUCKETS_MAX];
    size_t n_buckets;
};

/* out NULL: counts; size is then what bbolt_write_end gave nothing for. Else size is what the
 * counting came to, and bytes are appended to out as pages get full. */
void bbolt_write_begin(struct bbolt_writer *w, struct alloc *alloc, struct buf *out,
                       const struct bbolt_size *size);
/* Keys of a bucket rise. While counting only the length of value is looked at. */
void bbolt_write(struct bbolt_writer *w, struct span key, struct span value);
/* What was written since the last one is the bucket of that name; names rise too. */
void bbolt_write_bucket(struct bbolt_writer *w, const char *name);
struct bbolt_size bbolt_write_end(struct bbolt_writer *w); /* and frees */
void bbolt_write_cancel(struct bbolt_writer *w);           /* frees, half way */

/* ---- reading ---- */

struct bbolt {
    struct span file; /* may be longer than the database */
    uint64_t page_bytes, pages, root;
};

struct bbolt_cursor {
    const struct bbolt *db;
    struct {
        struct span page;
        uint32_t at, n;
        bool leaf;
    } path[BBOLT_DEPTH_MAX];
    uint32_t depth; /* of path; 0: at the end */
    uint64_t visited;
    struct span last;
    bool any;
};

/* The file's bytes stay where they are as long as db and its cursors are used. ERR_CORRUPT;
 * ERR_FORMAT: it is one, of a version that we do not know. */
enum err bbolt_open(struct bbolt *db, struct span file) MUST_CHECK;
/* In front of the first item of a bucket. ERR_NOT_FOUND, ERR_CORRUPT. */
enum err bbolt_bucket(const struct bbolt *db, struct span name,
                      struct bbolt_cursor *out) MUST_CHECK;
/* The next item, by key; spans point into the file. ERR_END; ERR_CORRUPT: also for a bucket inside
 * the bucket, which etcd has not. */
enum err bbolt_next(struct bbolt_cursor *c, struct span *key, struct span *value) MUST_CHECK;
