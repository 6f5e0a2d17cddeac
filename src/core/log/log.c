#include "core/log/log.h"
#include "base/check.h"
#include "base/crc.h"

enum {
    SEGMENT_MAGIC = 0x53464e43, /* "CNFS" */
    BATCH_MAGIC = 0x42464e43,   /* "CNFB" */
    BATCH_HEAD = 32,            /* magic, crc, size, chain, segment, number */
};

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

static uint64_t get_u64(const uint8_t *p)
{
    return get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static void pad(struct buf *out, size_t start)
{
    static const uint8_t zeros[LOG_BLOCK];
    size_t over = (out->len - start) % LOG_BLOCK;
    if (over)
        buf_put(out, zeros, LOG_BLOCK - over);
}

/* ---- segments ---- */

void log_segment_encode(const struct log_segment *s, struct buf *out)
{
    size_t start = out->len;
    buf_u32(out, SEGMENT_MAGIC);
    buf_u32(out, 0); /* checksum: over the whole block, with these four bytes zero */
    buf_u32(out, LOG_FORMAT);
    buf_u32(out, s->size);
    buf_u64(out, s->number);
    buf_u64(out, s->salt);
    buf_u64(out, s->cluster);
    buf_u64(out, s->member);
    buf_u64(out, s->index_first);
    buf_u64(out, s->batch_first);
    buf_u32(out, s->chain);
    pad(out, start);
    put_u32(out->data + start + 4, crc32c(0, out->data + start, LOG_BLOCK));
}

enum err log_segment_decode(struct span block, struct log_segment *out)
{
    uint8_t copy[LOG_BLOCK];
    if (block.len < LOG_BLOCK || get_u32(block.data) != SEGMENT_MAGIC)
        return ERR_CORRUPT;
    memcpy(copy, block.data, LOG_BLOCK);
    put_u32(copy + 4, 0);
    if (crc32c(0, copy, LOG_BLOCK) != get_u32(block.data + 4))
        return ERR_CORRUPT;
    if (get_u32(copy + 8) != LOG_FORMAT)
        return ERR_FORMAT;
    *out = (struct log_segment){ .size = get_u32(copy + 12),
                                 .number = get_u64(copy + 16),
                                 .salt = get_u64(copy + 24),
                                 .cluster = get_u64(copy + 32),
                                 .member = get_u64(copy + 40),
                                 .index_first = get_u64(copy + 48),
                                 .batch_first = get_u64(copy + 56),
                                 .chain = get_u32(copy + 64) };
    return ERR_OK;
}

/* ---- writing ---- */

/* Over the salt, then everything behind the checksum's own place. */
static uint32_t batch_crc(uint64_t salt, const uint8_t *batch, size_t size)
{
    uint8_t seed[8];
    put_u64(seed, salt);
    return crc32c(crc32c(0, seed, 8), batch + 8, BATCH_HEAD - 8 + size);
}

void log_batch_begin(struct log_writer *w, struct buf *out)
{
    buf_u32(out, BATCH_MAGIC);
    buf_u32(out, 0);
    buf_u32(out, 0);
    buf_u32(out, w->chain);
    buf_u64(out, w->segment.number);
    buf_u64(out, w->batch_next);
}

void log_batch_record(struct buf *out, const struct log_record *r)
{
    buf_u8(out, (uint8_t)r->type);
    switch (r->type) {
    case LOG_ENTRY:
        buf_varint(out, r->index);
        buf_varint(out, r->term);
        buf_u8(out, r->entry_type);
        buf_varint(out, r->data.len);
        buf_span(out, r->data);
        return;
    case LOG_HARD_STATE:
        buf_varint(out, r->term);
        buf_varint(out, r->vote);
        return;
    case LOG_TRUNCATE:
        buf_varint(out, r->index);
        return;
    }
    UNREACHABLE("a known record type");
}

size_t log_record_size(const struct log_record *r)
{
    return 1 + 10 + 10 + 1 + 10 + r->data.len;
}

void log_batch_end(struct log_writer *w, struct buf *out, size_t batch_start)
{
    size_t size = out->len - batch_start - BATCH_HEAD;
    CHECK(size <= LOG_BATCH_BYTES_MAX);
    pad(out, batch_start);
    uint8_t *batch = out->data + batch_start;
    put_u32(batch + 8, (uint32_t)size);
    w->chain = batch_crc(w->segment.salt, batch, size);
    put_u32(batch + 4, w->chain);
    w->batch_next++;
}

/* ---- reading ---- */

enum err log_reader_open(struct log_reader *r, struct span bytes)
{
    *r = (struct log_reader){ .bytes = bytes, .offset = LOG_BLOCK };
    enum err e = log_segment_decode(bytes, &r->segment);
    r->batch_next = r->segment.batch_first;
    r->chain = r->segment.chain;
    return e;
}

/* Whether a good batch of this segment stands at offset. */
static bool good_batch(const struct log_reader *r, size_t offset, uint64_t *number, size_t *size)
{
    if (r->bytes.len - offset < BATCH_HEAD)
        return false;
    const uint8_t *p = r->bytes.data + offset;
    if (get_u32(p) != BATCH_MAGIC || get_u64(p + 16) != r->segment.number)
        return false;
    *number = get_u64(p + 24);
    *size = get_u32(p + 8);
    return *size <= r->bytes.len - offset - BATCH_HEAD && *size <= LOG_BATCH_BYTES_MAX &&
           batch_crc(r->segment.salt, p, *size) == get_u32(p + 4);
}

static bool anything_behind(const struct log_reader *r)
{
    uint64_t number;
    size_t size;
    for (size_t at = r->offset; at < r->bytes.len; at += LOG_BLOCK)
        if (good_batch(r, at, &number, &size))
            return true;
    return false;
}

enum err log_reader_batch(struct log_reader *r, struct span *records)
{
    uint64_t number;
    size_t size;
    if (r->offset >= r->bytes.len)
        return ERR_END;
    const uint8_t *p = r->bytes.data + r->offset;
    if (good_batch(r, r->offset, &number, &size) && number == r->batch_next &&
        get_u32(p + 12) == r->chain) {
        *records = span_of(p + BATCH_HEAD, size);
        r->chain = get_u32(p + 4);
        r->batch_next++;
        r->offset += (BATCH_HEAD + size + LOG_BLOCK - 1) / LOG_BLOCK * LOG_BLOCK;
        return ERR_OK;
    }
    if (anything_behind(r))
        return ERR_CORRUPT;
    bool begun = r->bytes.len - r->offset >= BATCH_HEAD && get_u32(p) == BATCH_MAGIC &&
                 get_u64(p + 16) == r->segment.number;
    return begun ? ERR_TORN : ERR_END;
}

enum err log_record_next(struct span *records, struct log_record *out)
{
    uint8_t type = 0;
    uint64_t len = 0;
    bool ok = span_u8(records, &type);
    *out = (struct log_record){ .type = (enum log_record_type)type };
    if (!ok)
        return ERR_CORRUPT;
    if (type == LOG_ENTRY)
        ok = span_varint(records, &out->index) && span_varint(records, &out->term) &&
             span_u8(records, &out->entry_type) && span_varint(records, &len) &&
             len <= records->len && span_take(records, (size_t)len, &out->data);
    else if (type == LOG_HARD_STATE)
        ok = span_varint(records, &out->term) && span_varint(records, &out->vote);
    else
        ok = type == LOG_TRUNCATE && span_varint(records, &out->index);
    return ok ? ERR_OK : ERR_CORRUPT;
}
