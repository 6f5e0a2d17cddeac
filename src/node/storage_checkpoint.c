/* Checkpoints being written: a head block, pieces, an end block, each with its checksum; renamed
 * when all is synced. */
#include "base/check.h"
#include "node/storage_int.h"

static enum err put(struct storage *s, struct span bytes)
{
    enum err e = file_write(s->part, s->part_offset, bytes);
    uint64_t before = s->part_offset;
    s->part_offset += bytes.len;
    if (e == ERR_OK && before / s->sync_bytes != s->part_offset / s->sync_bytes)
        e = file_sync(s->part);
    return e;
}

/* Writing must not allocate: the allocator is the disk thread's. Heads are built in place. */
static struct buf in_place(uint8_t *room, size_t size)
{
    return (struct buf){ .data = room, .cap = size };
}

void checkpoint_head(const struct storage *s, uint64_t index, uint64_t term,
                     uint8_t room[CHECKPOINT_HEAD])
{
    struct buf b = in_place(room, CHECKPOINT_HEAD);
    buf_u32(&b, CHECKPOINT_HEAD_MAGIC);
    buf_u32(&b, CHECKPOINT_FORMAT);
    buf_u64(&b, s->cluster);
    buf_u64(&b, s->member);
    buf_u64(&b, index);
    buf_u64(&b, term);
    buf_u32(&b, crc32c(0, b.data, b.len));
    CHECK(b.len == CHECKPOINT_HEAD);
}

enum err storage_checkpoint_begin(struct storage *s, uint64_t index, uint64_t term)
{
    char path[PATH_BYTES];
    uint8_t room[CHECKPOINT_HEAD];
    CHECK(!s->part && index > 0);
    storage_path(s, path, "checkpoint.part", 0);
    enum err e = file_open(path, FILE_CREATE, &s->part);
    if (e != ERR_OK) {
        s->part = NULL;
        return e;
    }
    s->part_index = index;
    s->part_offset = s->part_blocks = s->part_bytes = 0;
    checkpoint_head(s, index, term, room);
    return put(s, span_of(room, sizeof(room)));
}

enum err storage_checkpoint_piece(struct storage *s, struct span piece)
{
    uint8_t room[CHECKPOINT_PIECE];
    struct buf b = in_place(room, sizeof(room));
    CHECK(s->part && piece.len > 0 && piece.len <= STORAGE_PIECE_MAX);
    buf_u32(&b, CHECKPOINT_PIECE_MAGIC);
    buf_u32(&b, 0);
    buf_u32(&b, (uint32_t)piece.len);
    buf_u32(&b, (uint32_t)s->part_blocks);
    CHECK(b.len == CHECKPOINT_PIECE);
    b.len = 4;
    buf_u32(&b, crc32c(crc32c(0, room + 8, 8), piece.data, piece.len));
    s->part_blocks++;
    s->part_bytes += piece.len;
    enum err e = put(s, span_of(room, CHECKPOINT_PIECE));
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
    if (!s->stage || s->offer.index <= s->part_index) /* what it was wanted for is here */
        storage_stage_drop(s);
    /* With one checkpoint alone there is no older one to fall back on: keep all of the log. */
    *log_from = c->n == STORAGE_CHECKPOINTS ? c->items[0] + 1 : 0;
    enum err synced = file_sync_dir(s->dir);
    return e == ERR_OK ? synced : e;
}

enum err storage_checkpoint_commit(struct storage *s, uint64_t *log_from)
{
    char part[PATH_BYTES], path[PATH_BYTES];
    uint8_t room[CHECKPOINT_END];
    struct buf b = in_place(room, sizeof(room));
    buf_u32(&b, CHECKPOINT_END_MAGIC);
    buf_u32(&b, 0);
    buf_u64(&b, s->part_blocks);
    buf_u64(&b, s->part_bytes);
    CHECK(s->part && b.len == CHECKPOINT_END);
    b.len = 4;
    buf_u32(&b, crc32c(0, room + 8, CHECKPOINT_END - 8));
    enum err e = put(s, span_of(room, CHECKPOINT_END));
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
