/* Start-up: the newest checkpoint, then the log behind it, segment by segment. */
#include <stdio.h>
#include "base/check.h"
#include "node/storage_int.h"

struct recovery {
    struct storage *s;
    const struct storage_reader *reader;
    uint64_t index; /* of the checkpoint */
    char *why;
    char path[PATH_BYTES];
    struct buf bytes; /* of one segment */
};

static enum err damaged(struct recovery *r, size_t offset, const char *what)
{
    snprintf(r->why, STORAGE_WHY_MAX,
             "%.400s: %.200s at byte %zu, and later writes stand behind it; restore the directory "
             "from a backup; removing the file would lose acknowledged writes",
             r->path, what, offset);
    return ERR_CORRUPT;
}

static enum err read_segment(struct recovery *r, uint64_t number)
{
    struct file *f;
    uint64_t size = 0;
    storage_path(r->s, r->path, "log-", number);
    enum err e = file_open(r->path, FILE_READ, &f);
    if (e != ERR_OK)
        return storage_broken(e, r->why);
    buf_reset(&r->bytes);
    e = file_size(f, &size);
    if (e == ERR_OK)
        e = file_read(f, 0, buf_room(&r->bytes, (size_t)size + 1), (size_t)size);
    r->bytes.len = (size_t)size;
    file_close(f);
    return e == ERR_OK ? e : storage_broken(e, r->why);
}

static enum err check_head(struct recovery *r, const struct log_reader *log, size_t i)
{
    struct storage *s = r->s;
    if (log->segment.cluster != s->cluster || log->segment.member != s->member)
        return storage_refuse(ERR_FOREIGN, r->why, r->path,
                              "belongs to another cluster or member; put the right file back");
    bool follows = i == 0 || (log->segment.number == s->writer.segment.number + 1 &&
                              log->segment.batch_first == s->writer.batch_next &&
                              log->segment.chain == s->writer.chain);
    if (log->segment.number != s->segments.items[i] || log->segment.size != r->bytes.len)
        return damaged(r, 0, "the head does not fit the file");
    if (!follows) { /* the damage is where the one before it should have gone on */
        storage_path(s, r->path, "log-", s->segments.items[i - 1]);
        return damaged(r, s->offset, "batches are missing");
    }
    return ERR_OK;
}

static enum err take_records(struct recovery *r, struct span records, size_t offset)
{
    while (records.len) {
        struct log_record record;
        if (log_record_next(&records, &record) != ERR_OK)
            return damaged(r, offset, "a record that no build wrote");
        storage_note(r->s, &record);
        if (record.type == LOG_ENTRY && record.index <= r->index)
            continue;
        enum err e = r->reader->record(r->reader->context, &record);
        if (e == ERR_FORMAT)
            return storage_refuse(e, r->why, r->path, STORAGE_NEWER);
        if (e != ERR_OK)
            return damaged(r, offset, "entries that do not follow one another");
    }
    return ERR_OK;
}

/* What a crash left of a batch that nobody was told of: its head becomes zeros. What may stand
 * behind it has no head of this segment, and the next batch is written over it. */
static enum err cut(struct recovery *r, size_t offset)
{
    static const uint8_t zeros[LOG_BLOCK];
    struct file *f;
    enum err e = file_open(r->path, FILE_DSYNC, &f);
    if (e != ERR_OK)
        return storage_broken(e, r->why);
    e = file_write(f, offset, span_of(zeros, sizeof(zeros)));
    file_close(f);
    return e == ERR_OK ? e : storage_broken(e, r->why);
}

static enum err recover_segment(struct recovery *r, size_t i)
{
    struct storage *s = r->s;
    struct log_reader log;
    struct span records;
    bool last = i + 1 == s->segments.n;
    enum err e = read_segment(r, s->segments.items[i]);
    if (e != ERR_OK)
        return e;
    e = log_reader_open(&log, buf_all(&r->bytes));
    if (e == ERR_FORMAT)
        return storage_refuse(e, r->why, r->path, STORAGE_NEWER);
    if (e != ERR_OK)
        return damaged(r, 0, "the head is damaged");
    e = check_head(r, &log, i);
    VEC_PUSH(&s->firsts, s->alloc, log.segment.index_first);
    while (e == ERR_OK) {
        size_t offset = log.offset;
        e = log_reader_batch(&log, &records);
        if (e == ERR_OK)
            e = take_records(r, records, offset);
    }
    s->writer = (struct log_writer){ log.segment, log.batch_next, log.chain };
    s->offset = log.offset;
    if (e == ERR_CORRUPT)
        return r->why[0] ? e : damaged(r, log.offset, "a damaged batch");
    if (e == ERR_TORN && last)
        return cut(r, log.offset);
    return e == ERR_TORN || e == ERR_END ? ERR_OK : e;
}

static enum err open_newest(struct recovery *r)
{
    struct storage *s = r->s;
    if (!s->segments.n) {
        s->writer = (struct log_writer){ .batch_next = 1 };
        return ERR_OK;
    }
    enum err e = file_open(r->path, FILE_DSYNC, &s->file);
    return e == ERR_OK ? e : storage_broken(e, r->why);
}

enum err storage_recover(struct storage *s, const struct storage_reader *reader, char *why)
{
    struct recovery r = { .s = s, .reader = reader, .why = why };
    why[0] = 0;
    enum err e = checkpoint_read(s, reader, &r.index, why);
    buf_open(&r.bytes, s->alloc);
    for (size_t i = 0; i < s->segments.n && e == ERR_OK; i++)
        e = recover_segment(&r, i);
    s->used = s->used || r.index > 0;
    if (e == ERR_OK && s->last < r.index)
        s->last = r.index;
    if (e == ERR_OK)
        e = open_newest(&r);
    if (e != ERR_OK && !why[0])
        storage_broken(e, why);
    buf_close(&r.bytes);
    return e;
}
