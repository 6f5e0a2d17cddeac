/* storage: what one node keeps on disk: its identity, the log's segments, the checkpoints.
 *
 * Who may call what: storage_open and storage_recover before the threads begin; storage_append and
 * storage_trim on the disk thread; storage_spare, storage_checkpoint_*, storage_stage_*, and what
 * opens a source or a load, on the writer thread. They touch different files, and different fields.
 * Spare segments go from hand to hand through the node: the writer makes one, the disk thread is
 * told its number and uses it. storage_install is the disk thread's while the writer has nothing to
 * do and no checkpoint is under way.
 *
 * A sync that failed is never tried again: whoever gets ERR_IO from here ends the process. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/log/log.h"

struct storage;

enum {
    STORAGE_WHY_MAX = 1024,
    STORAGE_PATH_MAX = 512,
    STORAGE_CHECKPOINTS = 2,       /* kept; the log reaches back to the older one */
    STORAGE_PIECE_MAX = 256 << 20, /* of a checkpoint: what a step makes, and one item more */
};

struct storage_options {
    const char *dir;
    uint64_t cluster, member; /* for a new directory */
    uint64_t salt;            /* random: seeds the salts of segments */
    uint64_t incarnation;     /* random, not 0: for a directory that has none yet */
    uint32_t segment_bytes;   /* LOG_SEGMENT_BYTES but in tests */
};

/* Whether an identity stands in dir: what a new one needs to know has to be asked for before
 * storage_open makes it. ERR_BAD_REQUEST: the path is too long; ERR_IO. */
enum err storage_exists(const char *dir, bool *out) MUST_CHECK;

/* Takes the lock and reads or makes the identity. why: STORAGE_WHY_MAX bytes, says what was
 * found and what to do. ERR_LOCKED, ERR_FORMAT, ERR_CORRUPT, ERR_DISK_FULL, ERR_IO. */
enum err storage_open(struct alloc *alloc, const struct storage_options *o, struct storage **out,
                      char *why) MUST_CHECK;
void storage_close(struct storage *s);

uint64_t storage_cluster(const struct storage *s);
uint64_t storage_member(const struct storage *s);
/* Drawn when the directory was made: a member whose disk was lost comes back with another. */
uint64_t storage_incarnation(const struct storage *s);
/* After storage_recover: nothing was ever written, no checkpoint and no record of the log. */
bool storage_is_new(const struct storage *s);

struct storage_reader {
    void *context;
    enum err (*piece)(void *context, struct span piece); /* of the newest checkpoint, in order */
    enum err (*checkpoint)(void *context, uint64_t index, uint64_t term); /* it was whole */
    enum err (*record)(void *context, const struct log_record *r);        /* of the log behind it */
};

/* Reads everything, cuts a torn end off, and makes the log ready for storage_append.
 * ERR_CORRUPT, ERR_FOREIGN, ERR_FORMAT with the file, the place and the way out in why; also
 * what reader says. */
enum err storage_recover(struct storage *s, const struct storage_reader *reader,
                         char *why) MUST_CHECK;

/* Appends records as one batch; when it returns they are on disk. last: index of the newest
 * entry in them or before. spare: number of a spare segment that may be used, 0: none. *used
 * tells that it was. ERR_DISK_FULL: there is no room for another segment; nothing was written,
 * try again later. */
enum err storage_append(struct storage *s, struct span records, uint64_t last, uint64_t spare,
                        bool *used) MUST_CHECK;

/* Makes spare segment `number` (from 1, each once), filled with zeros. ERR_DISK_FULL. */
enum err storage_spare(struct storage *s, uint64_t number) MUST_CHECK;
/* A spare left by an earlier process, or 0; more than one are removed by storage_open. */
uint64_t storage_spare_found(const struct storage *s);

/* A checkpoint of the state at index: begin, pieces, commit; or cancel. commit removes
 * checkpoints that are no longer kept and tells from which index on the log is still needed. */
enum err storage_checkpoint_begin(struct storage *s, uint64_t index, uint64_t term) MUST_CHECK;
enum err storage_checkpoint_piece(struct storage *s, struct span piece) MUST_CHECK;
enum err storage_checkpoint_commit(struct storage *s, uint64_t *log_from) MUST_CHECK;
void storage_checkpoint_cancel(struct storage *s);

/* ---- reading a checkpoint, piece by piece ---- */

struct storage_load {
    uint64_t cluster, member, index, term; /* as its head says */
    uint64_t size;                         /* of the file */
    /* the rest is its own */
    struct file *file;
    uint64_t offset, pieces, bytes;
    struct alloc alloc;
    struct buf piece;
    char path[STORAGE_PATH_MAX];
};

/* Any file. why as storage_open's. ERR_NOT_FOUND, ERR_FORMAT, ERR_CORRUPT, ERR_IO; then there is
 * nothing to close. */
enum err storage_load_open(struct storage_load *l, const char *path, char *why) MUST_CHECK;
/* The newest one kept. ERR_NOT_FOUND: there is none; ERR_FOREIGN. */
enum err storage_load_newest(struct storage *s, struct storage_load *l, char *why) MUST_CHECK;
/* Reads the next piece and checks it; it is valid until the next call. On any one thread at a time.
 * ERR_END: that was the last, and the file is whole; ERR_CORRUPT, ERR_IO. */
enum err storage_load_next(struct storage_load *l, struct span *piece, char *why) MUST_CHECK;
void storage_load_close(struct storage_load *l);

/* ---- a checkpoint's file on its way to another node ---- */

struct storage_offer {
    uint64_t index, term;
    uint64_t size; /* of the file */
    uint64_t id;   /* tells files of one index and size apart; never 0 */
};

struct storage_source {
    struct storage_offer offer;
    struct file *file;
};

/* The newest checkpoint. It can be read until it is closed, also when newer ones have taken its
 * place. ERR_NOT_FOUND: there is none; ERR_CORRUPT, ERR_IO. */
enum err storage_source_open(struct storage *s, struct storage_source *out) MUST_CHECK;
/* All len bytes, which must lie in the file. On any one thread at a time. ERR_IO. */
enum err storage_source_read(const struct storage_source *source, uint64_t offset, void *out,
                             size_t len) MUST_CHECK;
void storage_source_close(struct storage_source *source);

/* The other end: one file at a time, beside log and checkpoints. *offset tells from where on it is
 * wanted: what came before, also to an earlier process, is still there if the offer is the same. A
 * new offer takes the place of the one before. ERR_BAD_REQUEST: no such file can be; ERR_DISK_FULL,
 * ERR_IO: then, and for storage_stage_chunk, storage_stage_drop. */
enum err storage_stage_begin(struct storage *s, const struct storage_offer *o,
                             uint64_t *offset) MUST_CHECK;
/* ERR_BAD_REQUEST: nothing is being received, or it does not go on from offset or beyond the
 * size; nothing has changed. */
enum err storage_stage_chunk(struct storage *s, uint64_t offset, struct span bytes) MUST_CHECK;
/* Opens what was received, to be checked: read it to ERR_END. ERR_BAD_REQUEST: it is not all there;
 * ERR_FOREIGN, ERR_CORRUPT: it is not what was offered: storage_stage_drop. */
enum err storage_stage_load(struct storage *s, struct storage_load *l, char *why) MUST_CHECK;
void storage_stage_drop(struct storage *s);

/* What was received, and checked, becomes the one checkpoint that is kept, and the log goes on
 * behind it: entries that stand there from its index on are void, the older segments go. Term and
 * vote stay, unless the checkpoint's term is higher; then that is the term, without a vote. For a
 * snapshot that raft_wants, when all batches before are on disk. A crash on the way leaves either
 * what was before (but for those entries, which it has no use for) or all of it. ERR_DISK_FULL:
 * nothing has changed. */
enum err storage_install(struct storage *s) MUST_CHECK;

/* ---- the log's end of life ---- */

/* Gives back the segments whose entries are all before index, which storage_checkpoint_commit told:
 * they become spares, or go. */
enum err storage_trim(struct storage *s, uint64_t index) MUST_CHECK;

uint64_t storage_free_bytes(const struct storage *s); /* of the disk; any thread */
