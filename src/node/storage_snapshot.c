/* A checkpoint's file goes from one node to another: read there, staged here, then installed. */
#include "base/check.h"
#include "node/storage_int.h"

/* ---- sending ---- */

/* The end of the file: the machine's last piece, with the checksum of all before it, and the end
 * block. With the head's checksum it makes the id. */
enum { TAIL_BYTES = 64 };

static enum err identify(struct storage_source *source)
{
    uint8_t head[CHECKPOINT_HEAD], tail[TAIL_BYTES];
    struct storage_offer *o = &source->offer;
    uint32_t skipped;
    if (o->size < CHECKPOINT_HEAD + CHECKPOINT_END)
        return ERR_CORRUPT;
    size_t len = o->size < TAIL_BYTES ? (size_t)o->size : TAIL_BYTES;
    enum err e = file_read(source->file, 0, head, CHECKPOINT_HEAD);
    if (e == ERR_OK)
        e = file_read(source->file, o->size - len, tail, len);
    if (e != ERR_OK)
        return e;
    struct span rest = span_from(span_of(head, CHECKPOINT_HEAD), CHECKPOINT_HEAD - 4 - 16);
    bool read = span_u64(&rest, &o->index) && span_u64(&rest, &o->term) &&
                span_u32(&rest, &skipped);
    CHECK(read);
    o->id = (uint64_t)crc32c(0, head, CHECKPOINT_HEAD) << 32 | crc32c(0, tail, len);
    o->id += o->id == 0;
    return o->index ? ERR_OK : ERR_CORRUPT;
}

enum err storage_source_open(struct storage *s, struct storage_source *out)
{
    char path[PATH_BYTES];
    if (!s->checkpoints.n)
        return ERR_NOT_FOUND;
    storage_path(s, path, "checkpoint-", s->checkpoints.items[s->checkpoints.n - 1]);
    enum err e = file_open(path, FILE_READ, &out->file);
    if (e != ERR_OK)
        return e;
    e = file_size(out->file, &out->offer.size);
    if (e == ERR_OK)
        e = identify(out);
    if (e != ERR_OK)
        file_close(out->file);
    return e;
}

enum err storage_source_read(const struct storage_source *source, uint64_t offset, void *out,
                             size_t len)
{
    CHECK(offset <= source->offer.size && len <= source->offer.size - offset);
    return file_read(source->file, offset, out, len);
}

void storage_source_close(struct storage_source *source)
{
    file_close(source->file);
    source->file = NULL;
}

/* ---- staging ---- */

static void forget(struct storage *s)
{
    if (s->stage)
        file_close(s->stage);
    s->stage = NULL;
    s->stage_offset = 0;
}

void storage_stage_drop(struct storage *s)
{
    char path[PATH_BYTES];
    forget(s);
    if (!s->staged)
        return;
    storage_path(s, path, "staged-", s->staged);
    s->staged = 0;
    if (file_remove(path) != ERR_OK)
        return; /* the next start finds it again */
}

/* What an earlier process has synced for sure: it wrote on only when the sync had come back. */
static enum err resume(struct storage *s, const char *path)
{
    uint64_t size = 0;
    enum err e = file_open(path, FILE_DSYNC, &s->stage);
    if (e != ERR_OK) {
        s->stage = NULL;
        return e;
    }
    e = file_size(s->stage, &size);
    uint64_t synced = size / s->sync_bytes;
    s->stage_offset = synced ? (synced - 1) * s->sync_bytes : 0;
    if (e == ERR_OK && size > s->offer.size)
        e = ERR_NOT_FOUND; /* not this one */
    return e;
}

static enum err start_over(struct storage *s, const char *path)
{
    storage_stage_drop(s);
    enum err e = file_open(path, FILE_CREATE, &s->stage);
    if (e != ERR_OK) {
        s->stage = NULL;
        return e;
    }
    s->staged = s->offer.id;
    return file_sync_dir(s->dir);
}

static bool same(const struct storage_offer *a, const struct storage_offer *b)
{
    return a->index == b->index && a->term == b->term && a->size == b->size && a->id == b->id;
}

enum err storage_stage_begin(struct storage *s, const struct storage_offer *o, uint64_t *offset)
{
    char path[PATH_BYTES];
    *offset = 0;
    if (!o->index || !o->term || !o->id || o->size < CHECKPOINT_HEAD + CHECKPOINT_END)
        return ERR_BAD_REQUEST;
    enum err e = ERR_OK;
    if (!s->stage || !same(&s->offer, o)) {
        forget(s);
        s->offer = *o;
        storage_path(s, path, "staged-", o->id);
        e = s->staged == o->id ? resume(s, path) : ERR_NOT_FOUND;
        if (e == ERR_NOT_FOUND)
            e = start_over(s, path);
    }
    *offset = s->stage_offset;
    if (e != ERR_OK)
        forget(s);
    return e;
}

enum err storage_stage_chunk(struct storage *s, uint64_t offset, struct span bytes)
{
    if (!s->stage || offset != s->stage_offset || bytes.len > s->offer.size - offset)
        return ERR_BAD_REQUEST;
    enum err e = file_write(s->stage, offset, bytes);
    if (e != ERR_OK)
        return e;
    s->stage_offset += bytes.len;
    bool due = offset / s->sync_bytes != s->stage_offset / s->sync_bytes;
    return due ? file_sync(s->stage) : ERR_OK;
}

enum err storage_stage_load(struct storage *s, struct storage_load *l, char *why)
{
    char path[PATH_BYTES];
    storage_path(s, path, "staged-", s->offer.id);
    if (!s->stage || s->stage_offset != s->offer.size)
        return storage_refuse(ERR_BAD_REQUEST, why, path, "is not all there");
    enum err e = storage_load_open(l, path, why); /* which syncs what is only cached */
    if (e != ERR_OK)
        return e;
    if (l->cluster != s->cluster)
        e = storage_refuse(ERR_FOREIGN, why, path, "belongs to another cluster");
    else if (l->index != s->offer.index || l->term != s->offer.term || l->size != s->offer.size)
        e = storage_refuse(ERR_CORRUPT, why, path, "is not what was offered");
    if (e != ERR_OK)
        storage_load_close(l);
    return e;
}

/* ---- installing ---- */

/* Its head names the node that keeps it. */
static enum err own(struct storage *s)
{
    uint8_t head[CHECKPOINT_HEAD];
    checkpoint_head(s, s->offer.index, s->offer.term, head);
    enum err e = file_write(s->stage, 0, span_of(head, sizeof(head)));
    return e == ERR_OK ? file_sync(s->stage) : e;
}

/* Before the checkpoint has its name: a start that finds it must not find entries behind it that
 * do not belong to it, and no term that is older. */
static enum err void_log(struct storage *s)
{
    struct buf records;
    bool used;
    uint64_t last = s->last;
    buf_open(&records, s->alloc);
    if (last >= s->offer.index) {
        struct log_record r = { .type = LOG_TRUNCATE, .index = s->offer.index };
        log_batch_record(&records, &r);
        last = s->offer.index - 1;
    }
    if (s->term < s->offer.term) {
        struct log_record r = { .type = LOG_HARD_STATE, .term = s->offer.term };
        log_batch_record(&records, &r);
    }
    enum err e = records.len ? storage_append(s, buf_all(&records), last, 0, &used) : ERR_OK;
    buf_close(&records);
    return e;
}

/* From here on the log does not reach back to the older ones any more. */
static enum err keep_alone(struct storage *s)
{
    char path[PATH_BYTES];
    struct numbered *c = &s->checkpoints;
    enum err e = ERR_OK;
    for (size_t i = 0; i < c->n && e == ERR_OK; i++) {
        storage_path(s, path, "checkpoint-", c->items[i]);
        e = file_remove(path);
    }
    CHECK(c->cap > 0);
    c->items[0] = s->offer.index;
    c->n = 1;
    return e == ERR_OK ? file_sync_dir(s->dir) : e;
}

enum err storage_install(struct storage *s)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    const struct numbered *c = &s->checkpoints;
    CHECK(s->stage && !s->part && s->stage_offset == s->offer.size);
    CHECK(c->n == 0 || c->items[c->n - 1] < s->offer.index);
    enum err e = own(s);
    if (e == ERR_OK)
        e = void_log(s);
    if (e != ERR_OK)
        return e;
    storage_path(s, from, "staged-", s->offer.id);
    storage_path(s, to, "checkpoint-", s->offer.index);
    if (file_rename(from, to) != ERR_OK || file_sync_dir(s->dir) != ERR_OK)
        return ERR_IO;
    forget(s);
    s->staged = 0;
    s->last = s->offer.index;
    if (keep_alone(s) != ERR_OK)
        return ERR_IO;
    return storage_trim(s, s->last + 1);
}
