/* storage_int: what the files of storage share. */
#pragma once
#include "base/buf.h"
#include "base/crc.h"
#include "base/prng.h"
#include "base/vec.h"
#include "io/file/file.h"
#include "node/storage.h"

enum {
    PATH_BYTES = STORAGE_PATH_MAX,
    BATCH_KEEP = 1 << 20,
    SYNCS_OF_A_SEGMENT = 8,
    RECYCLED_MAX = 2, /* old segments kept to be used again; the rest are removed */
};
#define SPARE_OF_DISK_THREAD (1ull << 63) /* or-ed to a segment's number: nobody counts that far */

struct numbered {
    uint64_t *items; /* rising */
    size_t n, cap;
};

struct storage {
    struct alloc *alloc;
    char dir[PATH_BYTES];
    struct file *lock;
    uint64_t cluster, member, incarnation;
    bool used; /* something stood in the log or in a checkpoint at the start */
    uint32_t segment_bytes;
    uint64_t sync_bytes; /* of a checkpoint, between syncs: so that none of them is long */
    uint64_t spare_found;
    struct numbered spares, parts, staged_found; /* at open */

    /* the disk thread's, as is alloc while the threads run */
    struct file *file; /* the newest segment; NULL: none yet */
    struct log_writer writer;
    uint64_t offset, last;
    uint64_t term, vote; /* newest hard state: every segment begins with it */
    struct buf batch;
    struct numbered segments;
    struct numbered firsts;   /* index_first of each */
    struct numbered recycled; /* spares that were segments */
    struct prng salts;

    /* the writer thread's */
    struct file *part; /* the checkpoint being written */
    uint64_t part_index, part_offset, part_blocks, part_bytes;
    struct numbered checkpoints; /* their indexes; has room for one more */
    struct file *stage;          /* a checkpoint that is being received; NULL: none */
    struct storage_offer offer;  /* what it is */
    uint64_t stage_offset;       /* how far it is there */
    uint64_t staged;             /* id of the file that is there; 0: none */
};

void storage_path(const struct storage *s, char out[PATH_BYTES], const char *name, uint64_t number);
enum err storage_refuse(enum err e, char *why, const char *path, const char *what);
enum err storage_broken(enum err e, char *why); /* by file_why */
#define STORAGE_NEWER "was written by a newer version of confman; run that one"

/* Remembers what a record that is on disk says of the log's end and the hard state. */
void storage_note(struct storage *s, const struct log_record *r);

/* ---- a checkpoint's bytes ---- */

enum {
    CHECKPOINT_HEAD_MAGIC = 0x4b464e43,  /* "CNFK" */
    CHECKPOINT_PIECE_MAGIC = 0x50464e43, /* "CNFP" */
    CHECKPOINT_END_MAGIC = 0x45464e43,   /* "CNFE" */
    CHECKPOINT_FORMAT = 1,
    CHECKPOINT_HEAD = 44,  /* magic, format, cluster, member, index, term, crc */
    CHECKPOINT_PIECE = 16, /* magic, crc, size, number */
    CHECKPOINT_END = 24,   /* magic, crc, pieces, bytes */
};

/* storage_checkpoint.c: the head of one that belongs to s. */
void checkpoint_head(const struct storage *s, uint64_t index, uint64_t term,
                     uint8_t room[CHECKPOINT_HEAD]);

/* storage_load.c: the newest one, if any. */
enum err checkpoint_read(struct storage *s, const struct storage_reader *reader, uint64_t *index,
                         char *why);
