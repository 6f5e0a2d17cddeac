/* log: the bytes of the write-ahead log: segments, batches, records; writing and scanning, no
 * files.
 *
 * A segment is a file of a fixed size, filled with zeros when made and used again when it is no
 * longer needed. It opens with one block (LOG_BLOCK bytes) of segment header. Then come batches:
 * one batch is all that one turn of the node wrote with one sync. A batch starts on a block
 * boundary and is padded with zeros to the next, so bytes that were acknowledged are never written
 * again, and a torn write can damage only the batch that nobody was told of. A batch carries its
 * segment's number, its own (rising by one across segments), the checksum of the batch before it,
 * and a CRC-32C over all of it, seeded by the segment's salt.
 *
 * Reading: batches are good until one is not. If anything valid with a higher number stands behind
 * it, in this segment or a later one, it is damage: ERR_CORRUPT, with the place. Otherwise it is
 * the torn end of the log: ERR_TORN, cut there. (A sync that failed ends the process, so a batch is
 * only ever written after the one before it is on disk.)
 *
 * Record types are for ever: append, never renumber. Layout, byte by byte: docs/formats/disk.md. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    LOG_BLOCK = 4096,
    LOG_FORMAT = 1,               /* of the segment header; a higher one is refused */
    LOG_SEGMENT_BYTES = 64 << 20, /* as made; a batch that does not fit starts the next one */
    LOG_BATCH_BYTES_MAX = 48 << 20,
};

struct log_segment {
    uint64_t number; /* of the segment, from 1 */
    /* Drawn when the segment was begun: seeds its checksums, so nothing that a client writes, and
     * nothing of the file's earlier use, can look like one of its batches. */
    uint64_t salt;
    uint64_t cluster, member;
    uint64_t index_first; /* of the first entry that may stand in it */
    uint64_t batch_first; /* number of its first batch */
    uint32_t chain;       /* checksum of the batch before it; 0 for the very first */
    uint32_t size;        /* of the file */
};

/* One block. */
void log_segment_encode(const struct log_segment *s, struct buf *out);
/* ERR_CORRUPT, or ERR_FORMAT when it is whole but newer. */
enum err log_segment_decode(struct span block, struct log_segment *out) MUST_CHECK;

enum log_record_type {
    LOG_ENTRY = 1,      /* one raft entry */
    LOG_HARD_STATE = 2, /* term and vote: the newest one counts */
    LOG_TRUNCATE = 3,   /* entries from index on are void (a new leader overwrote them) */
};

struct log_record {
    enum log_record_type type;
    uint64_t index, term; /* ENTRY: both; HARD_STATE: term; TRUNCATE: index */
    uint64_t vote;        /* HARD_STATE */
    uint8_t entry_type;   /* ENTRY: enum raft_entry_type */
    struct span data;     /* ENTRY */
};

/* Writing a batch: begin, records, end (fills in sizes and checksum, pads to the block). */
struct log_writer {
    struct log_segment segment; /* where the batches go */
    uint64_t batch_next;
    uint32_t chain;
};
void log_batch_begin(struct log_writer *w, struct buf *out);
void log_batch_record(struct buf *out, const struct log_record *r);
void log_batch_end(struct log_writer *w, struct buf *out, size_t batch_start);
size_t log_record_size(const struct log_record *r); /* upper bound of what it adds to a batch */

/* Reading one segment's bytes, batch by batch. */
struct log_reader {
    struct span bytes; /* the whole segment, header included */
    struct log_segment segment;
    size_t offset; /* of the next batch */
    uint64_t batch_next;
    uint32_t chain;
};
enum err log_reader_open(struct log_reader *r, struct span bytes) MUST_CHECK;
/* The records of the next batch, undecoded. ERR_END: zeros or an earlier use's leftovers stand
 * there; ERR_TORN: neither a good batch nor clean end, and nothing valid behind it in this
 * segment; ERR_CORRUPT: something valid behind it, offset tells where the damage is. The caller
 * knows of later segments: TORN or END in a segment that is not the last is corruption, if the
 * later one has batches that go on from a higher number than batch_next. */
enum err log_reader_batch(struct log_reader *r, struct span *records) MUST_CHECK;
/* Takes one record from the front. ERR_CORRUPT for bytes that no writer made. */
enum err log_record_next(struct span *records, struct log_record *out) MUST_CHECK;
