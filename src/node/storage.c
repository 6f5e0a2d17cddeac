#include "node/storage.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/check.h"
#include "base/prng.h"
#include "base/vec.h"
#include "io/file/file.h"
#include "node/storage_int.h"

/* ---- names ---- */

void storage_path(const struct storage *s, char out[PATH_BYTES], const char *format,
                  uint64_t number)
{
    int n = snprintf(out, PATH_BYTES, "%s/", s->dir);
    CHECK(n > 0 && n < PATH_BYTES);
    int more = snprintf(out + n, (size_t)(PATH_BYTES - n), "%s", format);
    CHECK(more > 0 && more < PATH_BYTES - n);
    if (number)
        snprintf(out + n + more, (size_t)(PATH_BYTES - n - more), "%016llx",
                 (unsigned long long)number);
}

enum err storage_refuse(enum err e, char *why, const char *path, const char *what)
{
    snprintf(why, STORAGE_WHY_MAX, "%.400s: %.500s", path, what);
    return e;
}

enum err storage_broken(enum err e, char *why)
{
    snprintf(why, STORAGE_WHY_MAX, "%.900s", file_why());
    return e;
}

/* ---- identity: magic, format, cluster, member, incarnation, checksum ---- */

enum {
    IDENTITY_MAGIC = 0x49464e43, /* "CNFI" */
    IDENTITY_FORMAT = 2,
    IDENTITY_BYTES = 36,
    IDENTITY_BYTES_1 = 28, /* format 1 has no incarnation */
    IDENTITY_BYTES_MAX = 4096, /* of any format; the last four are the checksum of the rest */
};

static enum err write_identity(struct storage *s, const char *path)
{
    struct buf b;
    struct file *f;
    char part[PATH_BYTES];
    buf_open(&b, s->alloc);
    buf_u32(&b, IDENTITY_MAGIC);
    buf_u32(&b, IDENTITY_FORMAT);
    buf_u64(&b, s->cluster);
    buf_u64(&b, s->member);
    buf_u64(&b, s->incarnation);
    buf_u32(&b, crc32c(0, b.data, b.len));
    storage_path(s, part, "identity.part", 0);
    enum err e = file_open(part, FILE_CREATE, &f);
    if (e == ERR_OK) {
        e = file_write(f, 0, buf_all(&b));
        if (e == ERR_OK)
            e = file_sync(f);
        file_close(f);
    }
    if (e == ERR_OK)
        e = file_rename(part, path);
    if (e == ERR_OK)
        e = file_sync_dir(s->dir);
    buf_close(&b);
    return e;
}

/* lacks: it is of a format that had no incarnation. */
static enum err read_identity(struct storage *s, struct file *f, const char *path, bool *lacks,
                              char *why)
{
    uint8_t bytes[IDENTITY_BYTES_MAX];
    uint64_t size = 0;
    enum err e = file_size(f, &size);
    if (e == ERR_OK && (size < IDENTITY_BYTES_1 || size > IDENTITY_BYTES_MAX))
        return storage_refuse(ERR_CORRUPT, why, path,
                              "has the wrong size; restore the directory from a backup");
    if (e == ERR_OK)
        e = file_read(f, 0, bytes, size);
    if (e != ERR_OK)
        return storage_broken(e, why);
    struct span rest = span_of(bytes, size), end = span_of(bytes + size - 4, 4);
    uint32_t magic = 0, format = 0, crc = 0;
    bool read = span_u32(&rest, &magic) && span_u32(&rest, &format) &&
                span_u64(&rest, &s->cluster) && span_u64(&rest, &s->member) &&
                span_u32(&end, &crc);
    CHECK(read);
    if (magic == IDENTITY_MAGIC && crc == crc32c(0, bytes, size - 4) && format > IDENTITY_FORMAT)
        return storage_refuse(ERR_FORMAT, why, path, STORAGE_NEWER);
    bool first = format == 1 && size == IDENTITY_BYTES_1;
    bool whole = first || (format == IDENTITY_FORMAT && size == IDENTITY_BYTES);
    if (magic != IDENTITY_MAGIC || crc != crc32c(0, bytes, size - 4) || !whole)
        return storage_refuse(ERR_CORRUPT, why, path,
                              "is damaged; restore the directory from a backup");
    read = first || span_u64(&rest, &s->incarnation);
    CHECK(read);
    *lacks = first;
    return ERR_OK;
}

/* A new directory gets an identity before anything else, so nothing stands there without one. */
static enum err know_identity(struct storage *s, char *why)
{
    char path[PATH_BYTES];
    struct file *f;
    bool lacks = false;
    storage_path(s, path, "identity", 0);
    enum err e = file_open(path, FILE_READ, &f);
    if (e == ERR_NOT_FOUND && (s->segments.n || s->checkpoints.n))
        return storage_refuse(ERR_CORRUPT, why, path,
                              "is missing, but there is a log or a checkpoint; put it back from "
                              "a backup");
    if (e == ERR_NOT_FOUND) {
        e = write_identity(s, path);
        return e == ERR_OK ? e : storage_broken(e, why);
    }
    if (e != ERR_OK)
        return storage_broken(e, why);
    e = read_identity(s, f, path, &lacks, why);
    file_close(f);
    if (e != ERR_OK || !lacks)
        return e;
    e = write_identity(s, path);
    return e == ERR_OK ? e : storage_broken(e, why);
}

/* ---- opening ---- */

static void see_file(void *context, const char *name)
{
    struct storage *s = context;
    char *end;
    struct numbered *list = NULL;
    const char *digits = NULL;
    if (strncmp(name, "log-", 4) == 0) {
        list = &s->segments;
        digits = name + 4;
    } else if (strncmp(name, "spare-", 6) == 0) {
        list = &s->spares;
        digits = name + 6;
    } else if (strncmp(name, "part-", 5) == 0) {
        list = &s->parts;
        digits = name + 5;
    } else if (strncmp(name, "staged-", 7) == 0) {
        list = &s->staged_found;
        digits = name + 7;
    } else if (strncmp(name, "checkpoint-", 11) == 0) {
        list = &s->checkpoints;
        digits = name + 11;
    }
    if (!list || strlen(digits) != 16)
        return;
    uint64_t number = strtoull(digits, &end, 16);
    if (*end || !number)
        return;
    VEC_PUSH(list, s->alloc, number);
    for (size_t i = list->n - 1; i > 0 && list->items[i - 1] > number; i--) {
        list->items[i] = list->items[i - 1];
        list->items[i - 1] = number;
    }
}

static enum err has_segment_size(const struct storage *s, const char *path, bool *out)
{
    uint64_t size = 0;
    struct file *f;
    enum err e = file_open(path, FILE_READ, &f);
    if (e != ERR_OK)
        return e;
    e = file_size(f, &size);
    file_close(f);
    *out = size == s->segment_bytes;
    return e;
}

/* Keeps one spare, as number 1: what the threads count from there on is new. */
static enum err tidy_spares(struct storage *s)
{
    char path[PATH_BYTES], first[PATH_BYTES];
    uint64_t kept = 0;
    enum err e = ERR_OK;
    for (size_t i = 0; i < s->spares.n && e == ERR_OK; i++) {
        bool good = false;
        storage_path(s, path, "spare-", s->spares.items[i]);
        if (!kept)
            e = has_segment_size(s, path, &good);
        if (e == ERR_OK && good)
            kept = s->spares.items[i];
        else if (e == ERR_OK)
            e = file_remove(path);
    }
    storage_path(s, path, "spare-", kept);
    storage_path(s, first, "spare-", 1);
    if (e == ERR_OK && kept > 1)
        e = file_rename(path, first);
    s->spare_found = kept ? 1 : 0;
    return e;
}

/* Removes what a crash left half made. */
static enum err tidy_up(struct storage *s)
{
    static const char *const parts[] = { "checkpoint.part", "identity.part" };
    char path[PATH_BYTES];
    enum err e = tidy_spares(s);
    for (size_t i = 0; i < s->parts.n && e == ERR_OK; i++) {
        storage_path(s, path, "part-", s->parts.items[i]);
        e = file_remove(path);
    }
    for (size_t i = 0; i < s->staged_found.n && e == ERR_OK; i++) { /* one goes on */
        storage_path(s, path, "staged-", s->staged);
        if (s->staged)
            e = file_remove(path);
        s->staged = s->staged_found.items[i];
    }
    for (size_t i = 0; i < 2 && e == ERR_OK; i++) {
        storage_path(s, path, parts[i], 0);
        e = file_remove(path);
        e = e == ERR_NOT_FOUND ? ERR_OK : e;
    }
    /* A process that was killed may have left names that are not on disk yet: we build on them. */
    return e == ERR_OK ? file_sync_dir(s->dir) : e;
}

static enum err take_directory(struct storage *s, char *why)
{
    char path[PATH_BYTES];
    storage_path(s, path, "LOCK", 0);
    enum err e = file_make_dir(s->dir);
    if (e == ERR_OK)
        e = file_open(path, FILE_LOCK, &s->lock);
    if (e == ERR_LOCKED)
        return storage_refuse(e, why, s->dir,
                              "is in use by another confman; stop that one first");
    if (e == ERR_OK)
        e = file_list(s->dir, see_file, s);
    return e == ERR_OK ? e : storage_broken(e, why);
}

enum err storage_exists(const char *dir, bool *out)
{
    char path[PATH_BYTES];
    struct file *f;
    int n = snprintf(path, PATH_BYTES, "%s/identity", dir);
    if (n < 0 || n >= PATH_BYTES)
        return ERR_BAD_REQUEST;
    enum err e = file_open(path, FILE_READ, &f);
    *out = e == ERR_OK;
    if (e == ERR_OK)
        file_close(f);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err storage_open(struct alloc *alloc, const struct storage_options *o, struct storage **out,
                      char *why)
{
    if (strlen(o->dir) >= PATH_BYTES - 64)
        return storage_refuse(ERR_BAD_REQUEST, why, o->dir, "the path is too long");
    struct storage *s = mem_zero(alloc, sizeof(*s));
    s->alloc = alloc;
    snprintf(s->dir, sizeof(s->dir), "%s", o->dir);
    s->cluster = o->cluster;
    s->member = o->member;
    s->incarnation = o->incarnation;
    CHECK(o->incarnation != 0);
    s->salts.state = o->salt;
    s->segment_bytes = o->segment_bytes;
    s->sync_bytes = o->segment_bytes / SYNCS_OF_A_SEGMENT;
    buf_open(&s->batch, alloc);
    enum err e = take_directory(s, why);
    if (e == ERR_OK)
        e = know_identity(s, why);
    if (e == ERR_OK) {
        e = tidy_up(s);
        if (e != ERR_OK)
            storage_broken(e, why);
    }
    if (e != ERR_OK) {
        storage_close(s);
        return e;
    }
    VEC_RESERVE(&s->checkpoints, alloc, s->checkpoints.n + 1);
    *out = s;
    return ERR_OK;
}

void storage_close(struct storage *s)
{
    if (s->file)
        file_close(s->file);
    if (s->part)
        file_close(s->part);
    if (s->stage)
        file_close(s->stage);
    if (s->lock)
        file_close(s->lock);
    buf_close(&s->batch);
    VEC_CLOSE(&s->segments, s->alloc);
    VEC_CLOSE(&s->firsts, s->alloc);
    VEC_CLOSE(&s->recycled, s->alloc);
    VEC_CLOSE(&s->spares, s->alloc);
    VEC_CLOSE(&s->parts, s->alloc);
    VEC_CLOSE(&s->staged_found, s->alloc);
    VEC_CLOSE(&s->checkpoints, s->alloc);
    mem_free(s->alloc, s, sizeof(*s));
}

uint64_t storage_cluster(const struct storage *s)
{
    return s->cluster;
}

uint64_t storage_member(const struct storage *s)
{
    return s->member;
}

uint64_t storage_spare_found(const struct storage *s)
{
    return s->spare_found;
}

uint64_t storage_free_bytes(const struct storage *s)
{
    return file_free_bytes(s->dir);
}

/* ---- appending ---- */

enum err storage_spare(struct storage *s, uint64_t number)
{
    static const uint8_t zeros[64 << 10];
    char part[PATH_BYTES], path[PATH_BYTES];
    struct file *f;
    storage_path(s, part, "part-", number); /* the two threads make different ones */
    storage_path(s, path, "spare-", number);
    enum err e = file_open(part, FILE_CREATE, &f);
    if (e != ERR_OK)
        return e;
    for (uint64_t at = 0; at < s->segment_bytes && e == ERR_OK; at += sizeof(zeros))
        e = file_write(f, at, span_of(zeros, sizeof(zeros)));
    if (e == ERR_OK)
        e = file_sync(f);
    file_close(f);
    if (e == ERR_OK)
        e = file_rename(part, path);
    if (e == ERR_OK)
        return file_sync_dir(s->dir);
    enum err removed = file_remove(part); /* what is half made only takes room */
    return removed == ERR_IO ? removed : e;
}

/* Turns a spare file into the next segment: its header is on disk before its name. ERR_DISK_FULL
 * only when nothing has changed yet. */
static enum err begin_segment(struct storage *s, uint64_t spare, uint64_t last)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    struct file *f;
    struct log_writer next = s->writer;
    next.segment = (struct log_segment){ .number = s->writer.segment.number + 1,
                                         .salt = prng_next(&s->salts),
                                         .cluster = s->cluster,
                                         .member = s->member,
                                         .index_first = last + 1,
                                         .batch_first = s->writer.batch_next,
                                         .chain = s->writer.chain,
                                         .size = s->segment_bytes };
    storage_path(s, from, "spare-", spare);
    storage_path(s, to, "log-", next.segment.number);
    enum err e = file_open(from, FILE_DSYNC, &f);
    if (e != ERR_OK)
        return e;
    buf_reset(&s->batch);
    log_segment_encode(&next.segment, &s->batch);
    e = file_write(f, 0, buf_all(&s->batch));
    if (e == ERR_OK && (file_rename(from, to) != ERR_OK || file_sync_dir(s->dir) != ERR_OK))
        e = ERR_IO;
    if (e != ERR_OK) {
        file_close(f);
        return e;
    }
    if (s->file)
        file_close(s->file);
    s->file = f;
    s->writer = next;
    s->offset = LOG_BLOCK;
    VEC_PUSH(&s->segments, s->alloc, next.segment.number);
    VEC_PUSH(&s->firsts, s->alloc, next.segment.index_first);
    return ERR_OK;
}

static enum err make_room(struct storage *s, size_t size, uint64_t spare, bool *used)
{
    if (s->file && s->offset + size <= s->segment_bytes)
        return ERR_OK;
    if (s->recycled.n) {
        enum err e = begin_segment(s, s->recycled.items[s->recycled.n - 1], s->last);
        s->recycled.n -= e == ERR_OK;
        return e;
    }
    bool given = spare != 0;
    enum err e = ERR_OK;
    if (!given) { /* none was ready: it takes a moment */
        spare = SPARE_OF_DISK_THREAD | (s->writer.segment.number + 1);
        e = storage_spare(s, spare);
    }
    if (e == ERR_OK)
        e = begin_segment(s, spare, s->last);
    *used = given && e == ERR_OK;
    return e;
}

uint64_t storage_incarnation(const struct storage *s)
{
    return s->incarnation;
}

bool storage_is_new(const struct storage *s)
{
    return !s->used;
}

void storage_note(struct storage *s, const struct log_record *r)
{
    s->used = true;
    switch (r->type) {
    case LOG_ENTRY:
        s->last = r->index;
        return;
    case LOG_HARD_STATE:
        s->term = r->term;
        s->vote = r->vote;
        return;
    case LOG_TRUNCATE:
        s->last = r->index - 1;
        return;
    }
    UNREACHABLE("a known record type");
}

enum err storage_append(struct storage *s, struct span records, uint64_t last, uint64_t spare,
                        bool *used)
{
    /* Room for the batch's head and the hard state in front of what is given. */
    size_t size = (LOG_BLOCK + records.len + LOG_BLOCK) / LOG_BLOCK * LOG_BLOCK;
    CHECK(LOG_BLOCK + size <= s->segment_bytes);
    *used = false;
    enum err e = make_room(s, size, spare, used);
    if (e != ERR_OK)
        return e;
    buf_reset(&s->batch);
    log_batch_begin(&s->writer, &s->batch);
    if (s->offset == LOG_BLOCK && s->term) { /* the segment that had it may be trimmed */
        struct log_record r = { .type = LOG_HARD_STATE, .term = s->term, .vote = s->vote };
        log_batch_record(&s->batch, &r);
    }
    buf_span(&s->batch, records);
    log_batch_end(&s->writer, &s->batch, 0);
    e = file_write(s->file, s->offset, buf_all(&s->batch));
    /* The segment is all there, so a disk that is full now is a disk that lies. */
    if (e != ERR_OK)
        return ERR_IO;
    s->offset += s->batch.len;
    while (records.len) {
        struct log_record r;
        enum err known = log_record_next(&records, &r);
        CHECK(known == ERR_OK);
        storage_note(s, &r);
    }
    CHECK(s->last == last);
    buf_shrink(&s->batch, BATCH_KEEP);
    return ERR_OK;
}

/* The oldest segment becomes a spare, or goes. Its name is gone from disk before the next one's
 * is touched: a crash leaves no hole. */
static enum err give_back(struct storage *s)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    uint64_t spare = SPARE_OF_DISK_THREAD | s->segments.items[0];
    bool again = s->recycled.n < RECYCLED_MAX;
    storage_path(s, from, "log-", s->segments.items[0]);
    storage_path(s, to, "spare-", spare);
    enum err e = again ? file_rename(from, to) : file_remove(from);
    if (e == ERR_OK && again)
        VEC_PUSH(&s->recycled, s->alloc, spare);
    if (e != ERR_OK && e != ERR_NOT_FOUND) /* not there: the sync failed the last time */
        return e;
    e = file_sync_dir(s->dir);
    if (e != ERR_OK)
        return e;
    s->segments.n--;
    s->firsts.n--;
    memmove(s->segments.items, s->segments.items + 1, s->segments.n * sizeof(uint64_t));
    memmove(s->firsts.items, s->firsts.items + 1, s->firsts.n * sizeof(uint64_t));
    return ERR_OK;
}

enum err storage_trim(struct storage *s, uint64_t index)
{
    enum err e = ERR_OK;
    /* While the newest segment is empty, the hard state stands in the one before. */
    size_t kept = s->offset > LOG_BLOCK ? 1 : 2;
    CHECK(index <= s->last + 1);
    /* Segment i ends where i + 1 begins. */
    while (e == ERR_OK && s->segments.n > kept && s->firsts.items[1] <= index)
        e = give_back(s);
    return e;
}
