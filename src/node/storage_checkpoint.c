/* Checkpoints: a head block, pieces, an end block, each with its checksum; renamed when all is
 * synced. */
#include <stdio.h>
#include "base/check.h"
#include "node/storage_int.h"

enum {
    HEAD_MAGIC = 0x4b464e43,  /* "CNFK" */
    PIECE_MAGIC = 0x50464e43, /* "CNFP" */
    END_MAGIC = 0x45464e43,   /* "CNFE" */
    CHECKPOINT_FORMAT = 1,
    HEAD_BYTES = 44,      /* magic, format, cluster, member, index, term, crc */
    PIECE_HEAD = 16,      /* magic, crc, size, number */
    END_BYTES = 24,       /* magic, crc, blocks, bytes */
    SYNC_BYTES = 8 << 20, /* written between syncs, so that none of them is long */
};

static enum err put(struct storage *s, struct span bytes)
{
    enum err e = file_write(s->part, s->part_offset, bytes);
    uint64_t before = s->part_offset;
    s->part_offset += bytes.len;
    if (e == ERR_OK && before / SYNC_BYTES != s->part_offset / SYNC_BYTES)
        e = file_sync(s->part);
    return e;
}

/* Writing must not allocate: the allocator is the disk thread's. A head is built in place. */
static struct buf in_place(uint8_t *room, size_t size)
{
    return (struct buf){ .data = room, .cap = size };
}

enum err storage_checkpoint_begin(struct storage *s, uint64_t index, uint64_t term)
{
    char path[PATH_BYTES];
    uint8_t room[HEAD_BYTES];
    struct buf b = in_place(room, sizeof(room));
    CHECK(!s->part && index > 0);
    storage_path(s, path, "checkpoint.part", 0);
    enum err e = file_open(path, FILE_CREATE, &s->part);
    if (e != ERR_OK) {
        s->part = NULL;
        return e;
    }
    s->part_index = index;
    s->part_offset = s->part_blocks = s->part_bytes = 0;
    buf_u32(&b, HEAD_MAGIC);
    buf_u32(&b, CHECKPOINT_FORMAT);
    buf_u64(&b, s->cluster);
    buf_u64(&b, s->member);
    buf_u64(&b, index);
    buf_u64(&b, term);
    buf_u32(&b, crc32c(0, b.data, b.len));
    CHECK(b.len == HEAD_BYTES);
    return put(s, buf_all(&b));
}

enum err storage_checkpoint_piece(struct storage *s, struct span piece)
{
    uint8_t room[PIECE_HEAD];
    struct buf b = in_place(room, sizeof(room));
    CHECK(s->part && piece.len > 0 && piece.len <= STORAGE_PIECE_MAX);
    buf_u32(&b, PIECE_MAGIC);
    buf_u32(&b, 0);
    buf_u32(&b, (uint32_t)piece.len);
    buf_u32(&b, (uint32_t)s->part_blocks);
    CHECK(b.len == PIECE_HEAD);
    b.len = 4;
    buf_u32(&b, crc32c(crc32c(0, room + 8, 8), piece.data, piece.len));
    s->part_blocks++;
    s->part_bytes += piece.len;
    enum err e = put(s, span_of(room, PIECE_HEAD));
    return e == ERR_OK ? put(s, piece) : e;
}

/* One sync for the new name and those that go: should only the latter reach the disk, the
 * checkpoint before is there, and the log behind it. */
static enum err keep_newest(struct storage *s, uint64_t *log_from)
{
    char path[PATH_BYTES];
    struct numbered *c = &s->checkpoints;
    enum err e = ERR_OK;
    if (c->n == 0 || c->items[c->n - 1] != s->part_index) {
        CHECK(c->n < c->cap);
        c->items[c->n++] = s->part_index;
    }
    while (c->n > STORAGE_CHECKPOINTS) { /* one that cannot be removed is left for the next start */
        storage_path(s, path, "checkpoint-", c->items[0]);
        enum err removed = file_remove(path);
        if (removed != ERR_OK && removed != ERR_NOT_FOUND)
            e = removed;
        c->n--;
        memmove(c->items, c->items + 1, c->n * sizeof(uint64_t));
    }
    /* With one checkpoint alone there is no older one to fall back on: keep all of the log. */
    *log_from = c->n == STORAGE_CHECKPOINTS ? c->items[0] + 1 : 0;
    enum err synced = file_sync_dir(s->dir);
    return e == ERR_OK ? synced : e;
}

enum err storage_checkpoint_commit(struct storage *s, uint64_t *log_from)
{
    char part[PATH_BYTES], path[PATH_BYTES];
    uint8_t room[END_BYTES];
    struct buf b = in_place(room, sizeof(room));
    buf_u32(&b, END_MAGIC);
    buf_u32(&b, 0);
    buf_u64(&b, s->part_blocks);
    buf_u64(&b, s->part_bytes);
    CHECK(s->part && b.len == END_BYTES);
    b.len = 4;
    buf_u32(&b, crc32c(0, room + 8, END_BYTES - 8));
    enum err e = put(s, span_of(room, END_BYTES));
    if (e == ERR_OK)
        e = file_sync(s->part);
    if (e != ERR_OK)
        return e;
    file_close(s->part);
    s->part = NULL;
    storage_path(s, part, "checkpoint.part", 0);
    storage_path(s, path, "checkpoint-", s->part_index);
    e = file_rename(part, path);
    return e == ERR_OK ? keep_newest(s, log_from) : e;
}

void storage_checkpoint_cancel(struct storage *s)
{
    char path[PATH_BYTES];
    if (s->part)
        file_close(s->part);
    s->part = NULL;
    storage_path(s, path, "checkpoint.part", 0);
    if (file_remove(path) != ERR_OK)
        return; /* storage_open removes it */
}

/* ---- reading ---- */

struct reading {
    struct storage *s;
    struct file *file;
    uint64_t offset, size, blocks, bytes, index, term;
    const char *path;
    char *why;
    struct buf piece;
};

static enum err damaged(struct reading *r)
{
    snprintf(r->why, STORAGE_WHY_MAX,
             "%.400s: damaged at byte %llu; move this file away to start from the older checkpoint "
             "and the log, or restore the directory from a backup",
             r->path, (unsigned long long)r->offset);
    return ERR_CORRUPT;
}

static enum err take(struct reading *r, void *out, size_t len)
{
    if (r->size - r->offset < len)
        return damaged(r);
    enum err e = file_read(r->file, r->offset, out, len);
    if (e != ERR_OK)
        return storage_broken(e, r->why);
    r->offset += len;
    return ERR_OK;
}

static enum err read_head(struct reading *r)
{
    uint8_t bytes[HEAD_BYTES];
    uint32_t magic = 0, format = 0, crc = 0;
    uint64_t cluster = 0, member = 0;
    enum err e = take(r, bytes, HEAD_BYTES);
    if (e != ERR_OK)
        return e;
    struct span rest = span_of(bytes, HEAD_BYTES);
    CHECK(span_u32(&rest, &magic) && span_u32(&rest, &format) && span_u64(&rest, &cluster) &&
          span_u64(&rest, &member) && span_u64(&rest, &r->index) && span_u64(&rest, &r->term) &&
          span_u32(&rest, &crc));
    r->offset = 0;
    if (magic != HEAD_MAGIC || crc != crc32c(0, bytes, HEAD_BYTES - 4))
        return damaged(r);
    r->offset = HEAD_BYTES;
    if (format != CHECKPOINT_FORMAT)
        return storage_refuse(ERR_FORMAT, r->why, r->path, STORAGE_NEWER);
    if (cluster != r->s->cluster || member != r->s->member)
        return storage_refuse(ERR_FOREIGN, r->why, r->path,
                              "belongs to another cluster or member; put the right file back");
    return ERR_OK;
}

static enum err read_end(struct reading *r, const uint8_t head[PIECE_HEAD])
{
    uint8_t rest[END_BYTES - PIECE_HEAD], all[END_BYTES];
    uint32_t crc = 0, magic = 0;
    uint64_t blocks = 0, bytes = 0;
    enum err e = take(r, rest, sizeof(rest));
    if (e != ERR_OK)
        return e;
    memcpy(all, head, PIECE_HEAD);
    memcpy(all + PIECE_HEAD, rest, sizeof(rest));
    struct span s = span_of(all, END_BYTES);
    CHECK(span_u32(&s, &magic) && span_u32(&s, &crc) && span_u64(&s, &blocks) &&
          span_u64(&s, &bytes));
    bool whole = crc == crc32c(0, all + 8, 16) && blocks == r->blocks && bytes == r->bytes &&
                 r->offset == r->size;
    return whole ? ERR_END : damaged(r);
}

/* ERR_END: that was the end, and all is well. */
static enum err read_piece(struct reading *r, const struct storage_reader *reader)
{
    uint8_t head[PIECE_HEAD];
    uint32_t magic = 0, crc = 0, size = 0, number = 0;
    enum err e = take(r, head, PIECE_HEAD);
    if (e != ERR_OK)
        return e;
    struct span rest = span_of(head, PIECE_HEAD);
    CHECK(span_u32(&rest, &magic) && span_u32(&rest, &crc) && span_u32(&rest, &size) &&
          span_u32(&rest, &number));
    if (magic == END_MAGIC)
        return read_end(r, head);
    if (magic != PIECE_MAGIC || number != r->blocks || size > r->size - r->offset ||
        size > STORAGE_PIECE_MAX)
        return damaged(r);
    buf_reset(&r->piece);
    e = take(r, buf_room(&r->piece, size), size);
    if (e != ERR_OK)
        return e;
    r->piece.len = size;
    if (crc != crc32c(crc32c(0, head + 8, 8), r->piece.data, size))
        return damaged(r);
    r->blocks++;
    r->bytes += size;
    e = reader->piece(reader->context, buf_all(&r->piece));
    return e == ERR_CORRUPT  ? damaged(r)
           : e == ERR_FORMAT ? storage_refuse(e, r->why, r->path, STORAGE_NEWER)
                             : e;
}

enum err checkpoint_read(struct storage *s, const struct storage_reader *reader, uint64_t *index,
                         char *why)
{
    char path[PATH_BYTES];
    struct reading r = { .s = s, .path = path, .why = why };
    *index = 0;
    if (!s->checkpoints.n)
        return ERR_OK;
    storage_path(s, path, "checkpoint-", s->checkpoints.items[s->checkpoints.n - 1]);
    enum err e = file_open(path, FILE_READ, &r.file);
    if (e != ERR_OK)
        return storage_broken(e, why);
    buf_open(&r.piece, s->alloc);
    e = file_size(r.file, &r.size);
    if (e == ERR_OK)
        e = read_head(&r);
    while (e == ERR_OK)
        e = read_piece(&r, reader);
    if (e == ERR_END) {
        *index = r.index;
        e = reader->checkpoint(reader->context, r.index, r.term);
        if (e == ERR_CORRUPT)
            damaged(&r);
    }
    buf_close(&r.piece);
    file_close(r.file);
    return e;
}
