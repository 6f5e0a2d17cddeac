/* Reading a checkpoint's file: its head, piece after piece, its end. */
#include <stdio.h>
#include "base/check.h"
#include "node/storage_int.h"

static enum err damaged(const struct storage_load *l, char *why)
{
    snprintf(why, STORAGE_WHY_MAX, "%.400s: damaged at byte %llu", l->path,
             (unsigned long long)l->offset);
    return ERR_CORRUPT;
}

static enum err take(struct storage_load *l, void *out, size_t len, char *why)
{
    if (l->size - l->offset < len)
        return damaged(l, why);
    enum err e = file_read(l->file, l->offset, out, len);
    if (e != ERR_OK)
        return storage_broken(e, why);
    l->offset += len;
    return ERR_OK;
}

static enum err read_head(struct storage_load *l, char *why)
{
    uint8_t bytes[CHECKPOINT_HEAD];
    uint32_t magic = 0, format = 0, crc = 0;
    enum err e = take(l, bytes, CHECKPOINT_HEAD, why);
    if (e != ERR_OK)
        return e;
    struct span rest = span_of(bytes, CHECKPOINT_HEAD);
    bool read = span_u32(&rest, &magic) && span_u32(&rest, &format) &&
                span_u64(&rest, &l->cluster) && span_u64(&rest, &l->member) &&
                span_u64(&rest, &l->index) && span_u64(&rest, &l->term) && span_u32(&rest, &crc);
    CHECK(read);
    l->offset = 0;
    if (magic != CHECKPOINT_HEAD_MAGIC || crc != crc32c(0, bytes, CHECKPOINT_HEAD - 4))
        return damaged(l, why);
    l->offset = CHECKPOINT_HEAD;
    if (format != CHECKPOINT_FORMAT)
        return storage_refuse(ERR_FORMAT, why, l->path, STORAGE_NEWER);
    return l->index ? ERR_OK : damaged(l, why);
}

enum err storage_load_open(struct storage_load *l, const char *path, char *why)
{
    *l = (struct storage_load){ .file = NULL };
    why[0] = 0;
    int n = snprintf(l->path, sizeof(l->path), "%s", path);
    if (n < 0 || n >= STORAGE_PATH_MAX)
        return storage_refuse(ERR_BAD_REQUEST, why, path, "the path is too long");
    enum err e = file_open(path, FILE_READ, &l->file);
    if (e != ERR_OK)
        return storage_broken(e, why);
    alloc_heap(&l->alloc);
    buf_open(&l->piece, &l->alloc);
    e = file_size(l->file, &l->size);
    e = e == ERR_OK ? read_head(l, why) : storage_broken(e, why);
    if (e != ERR_OK)
        storage_load_close(l);
    return e;
}

void storage_load_close(struct storage_load *l)
{
    file_close(l->file);
    buf_close(&l->piece);
    CHECK(l->alloc.used == 0);
}

static enum err read_end(struct storage_load *l, const uint8_t head[CHECKPOINT_PIECE], char *why)
{
    uint8_t all[CHECKPOINT_END];
    uint32_t crc = 0, magic = 0;
    uint64_t pieces = 0, bytes = 0;
    memcpy(all, head, CHECKPOINT_PIECE);
    enum err e = take(l, all + CHECKPOINT_PIECE, CHECKPOINT_END - CHECKPOINT_PIECE, why);
    if (e != ERR_OK)
        return e;
    struct span s = span_of(all, CHECKPOINT_END);
    bool read = span_u32(&s, &magic) && span_u32(&s, &crc) && span_u64(&s, &pieces) &&
                span_u64(&s, &bytes);
    CHECK(read);
    bool whole = crc == crc32c(0, all + 8, CHECKPOINT_END - 8) && pieces == l->pieces &&
                 bytes == l->bytes && l->offset == l->size;
    return whole ? ERR_END : damaged(l, why);
}

enum err storage_load_next(struct storage_load *l, struct span *piece, char *why)
{
    uint8_t head[CHECKPOINT_PIECE];
    uint32_t magic = 0, crc = 0, size = 0, number = 0;
    enum err e = take(l, head, CHECKPOINT_PIECE, why);
    if (e != ERR_OK)
        return e;
    struct span rest = span_of(head, CHECKPOINT_PIECE);
    bool read = span_u32(&rest, &magic) && span_u32(&rest, &crc) && span_u32(&rest, &size) &&
                span_u32(&rest, &number);
    CHECK(read);
    if (magic == CHECKPOINT_END_MAGIC)
        return read_end(l, head, why);
    if (magic != CHECKPOINT_PIECE_MAGIC || number != l->pieces || size > l->size - l->offset ||
        size > STORAGE_PIECE_MAX)
        return damaged(l, why);
    buf_reset(&l->piece);
    e = take(l, buf_room(&l->piece, size), size, why);
    if (e != ERR_OK)
        return e;
    l->piece.len = size;
    if (crc != crc32c(crc32c(0, head + 8, 8), l->piece.data, size))
        return damaged(l, why);
    l->pieces++;
    l->bytes += size;
    *piece = buf_all(&l->piece);
    return ERR_OK;
}

enum err storage_load_newest(struct storage *s, struct storage_load *l, char *why)
{
    char path[PATH_BYTES];
    if (!s->checkpoints.n)
        return storage_refuse(ERR_NOT_FOUND, why, s->dir, "there is no checkpoint");
    storage_path(s, path, "checkpoint-", s->checkpoints.items[s->checkpoints.n - 1]);
    enum err e = storage_load_open(l, path, why);
    if (e != ERR_OK)
        return e;
    if (l->cluster != s->cluster || l->member != s->member)
        e = storage_refuse(ERR_FOREIGN, why, path,
                           "belongs to another cluster or member; put the right file back");
    else if (l->index != s->checkpoints.items[s->checkpoints.n - 1])
        e = damaged(l, why);
    if (e != ERR_OK)
        storage_load_close(l);
    return e;
}

/* ---- at the start ---- */

static enum err read_all(struct storage_load *l, const struct storage_reader *reader, char *why)
{
    struct span piece;
    enum err e;
    while ((e = storage_load_next(l, &piece, why)) == ERR_OK) {
        e = reader->piece(reader->context, piece);
        if (e != ERR_OK)
            break;
    }
    if (e == ERR_END)
        e = reader->checkpoint(reader->context, l->index, l->term);
    if (e == ERR_CORRUPT)
        return damaged(l, why);
    return e == ERR_FORMAT ? storage_refuse(e, why, l->path, STORAGE_NEWER) : e;
}

enum err checkpoint_read(struct storage *s, const struct storage_reader *reader, uint64_t *index,
                         char *why)
{
    struct storage_load l;
    *index = 0;
    if (!s->checkpoints.n)
        return ERR_OK;
    enum err e = storage_load_newest(s, &l, why);
    if (e == ERR_OK) {
        e = read_all(&l, reader, why);
        *index = l.index;
        storage_load_close(&l);
    }
    size_t n = strlen(why);
    if (e == ERR_CORRUPT)
        snprintf(why + n, STORAGE_WHY_MAX - n,
                 "; move this file away to start from the older checkpoint and the log, or restore "
                 "the directory from a backup");
    return e;
}
