#include "core/log/log.h"
#include "base/crc.h"
#include "base/prng.h"
#include "base/test.h"

enum { BATCHES = 4, SEGMENT_BYTES = 16 * LOG_BLOCK };

static struct alloc heap;

/* A segment of BATCHES batches; where each begins and ends, padding not counted. */
struct sample {
    struct buf bytes;
    size_t begin[BATCHES + 1], end[BATCHES];
    struct log_writer writer;
};

static struct log_record random_record(struct prng *p, uint8_t *room, size_t size)
{
    struct log_record r = { .type = (enum log_record_type)(1 + prng_below(p, 3)) };
    uint64_t shift = prng_below(p, 64);
    if (r.type != LOG_HARD_STATE)
        r.index = prng_next(p) >> shift;
    if (r.type != LOG_TRUNCATE)
        r.term = prng_next(p) >> shift;
    if (r.type == LOG_HARD_STATE)
        r.vote = prng_next(p) >> shift;
    if (r.type == LOG_ENTRY) {
        r.entry_type = (uint8_t)prng_next(p);
        r.data = span_of(room, prng_below(p, size));
        for (size_t i = 0; i < r.data.len; i++)
            room[i] = (uint8_t)prng_next(p);
    }
    return r;
}

static bool same_record(const struct log_record *a, const struct log_record *b)
{
    return a->type == b->type && a->index == b->index && a->term == b->term && a->vote == b->vote &&
           a->entry_type == b->entry_type && span_equal(a->data, b->data);
}

static void begin_segment(struct log_writer *w, uint64_t salt, struct buf *out)
{
    w->segment = (struct log_segment){ .number = w->segment.number + 1,
                                       .salt = salt,
                                       .cluster = 3,
                                       .member = 4,
                                       .index_first = 5,
                                       .batch_first = w->batch_next,
                                       .chain = w->chain,
                                       .size = SEGMENT_BYTES };
    log_segment_encode(&w->segment, out);
}

static void add_batch(struct log_writer *w, struct prng *p, size_t data_max, struct buf *out)
{
    uint8_t room[LOG_BLOCK];
    size_t start = out->len;
    log_batch_begin(w, out);
    for (uint64_t n = 1 + prng_below(p, 4); n > 0; n--) {
        struct log_record r = random_record(p, room, data_max);
        log_batch_record(out, &r);
    }
    log_batch_end(w, out, start);
}

/* The checksum does not cover the padding, so the end is read off the batch's own size. */
static size_t batch_end(const struct buf *b, size_t start)
{
    uint32_t size = 0;
    struct span at = span_of(b->data + start + 8, 4);
    return span_u32(&at, &size) ? start + 32 + size : 0;
}

static void make_sample(struct sample *s, uint64_t seed)
{
    struct prng p = { seed };
    alloc_heap(&heap);
    buf_open(&s->bytes, &heap);
    s->writer = (struct log_writer){ .batch_next = 9, .chain = 77 };
    begin_segment(&s->writer, prng_next(&p), &s->bytes);
    for (int i = 0; i < BATCHES; i++) {
        s->begin[i] = s->bytes.len;
        add_batch(&s->writer, &p, i == 1 ? LOG_BLOCK : 200, &s->bytes);
        s->end[i] = batch_end(&s->bytes, s->begin[i]);
    }
    s->begin[BATCHES] = s->bytes.len;
    memset(buf_room(&s->bytes, SEGMENT_BYTES - s->bytes.len), 0, SEGMENT_BYTES - s->bytes.len);
    s->bytes.len = SEGMENT_BYTES;
}

/* How many batches are read before what ends it, which goes to *e. */
static int read_all(struct span bytes, struct log_reader *r, enum err *e)
{
    struct span records;
    struct log_record record;
    int n = 0;
    *e = log_reader_open(r, bytes);
    while (*e == ERR_OK) {
        *e = log_reader_batch(r, &records);
        if (*e != ERR_OK)
            break;
        n++;
        while (records.len && *e == ERR_OK)
            *e = log_record_next(&records, &record);
    }
    return n;
}

TEST(log_segment_head_comes_back)
{
    struct log_segment s = { .number = 1, .salt = UINT64_MAX, .cluster = 2, .member = 3,
                             .index_first = 4, .batch_first = 5, .chain = 6, .size = 7 };
    struct log_segment out;
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    log_segment_encode(&s, &b);
    EXPECT(b.len == LOG_BLOCK);
    EXPECT(log_segment_decode(buf_all(&b), &out) == ERR_OK);
    EXPECT(out.number == 1 && out.salt == UINT64_MAX && out.cluster == 2 && out.member == 3);
    EXPECT(out.index_first == 4 && out.batch_first == 5 && out.chain == 6 && out.size == 7);
    EXPECT(log_segment_decode(span_of(b.data, LOG_BLOCK - 1), &out) == ERR_CORRUPT);
    for (size_t i = 0; i < LOG_BLOCK; i++) {
        b.data[i] ^= 0x10;
        EXPECT(log_segment_decode(buf_all(&b), &out) == ERR_CORRUPT);
        b.data[i] ^= 0x10;
    }
    buf_close(&b);
    EXPECT(heap.used == 0);
}

/* A later build's head is whole: the checksum stands where it stood. */
TEST(log_segment_of_a_newer_build)
{
    struct log_segment out, s = { .number = 1, .size = SEGMENT_BYTES };
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    log_segment_encode(&s, &b);
    b.data[8] = LOG_FORMAT + 1;
    EXPECT(log_segment_decode(buf_all(&b), &out) == ERR_CORRUPT);
    memset(b.data + 4, 0, 4);
    uint32_t crc = crc32c(0, b.data, LOG_BLOCK);
    for (int i = 0; i < 4; i++)
        b.data[4 + i] = (uint8_t)(crc >> (8 * i));
    EXPECT(log_segment_decode(buf_all(&b), &out) == ERR_FORMAT);
    buf_close(&b);
}

TEST(log_records_come_back)
{
    struct prng p = { 1 };
    uint8_t room[300];
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    for (int i = 0; i < 3000; i++) {
        struct log_record out, r = random_record(&p, room, sizeof(room));
        buf_reset(&b);
        log_batch_record(&b, &r);
        EXPECT(b.len <= log_record_size(&r));
        struct span s = buf_all(&b);
        EXPECT(log_record_next(&s, &out) == ERR_OK && s.len == 0 && same_record(&r, &out));
        for (size_t len = 0; len < b.len; len++) {
            s = span_of(b.data, len);
            EXPECT(log_record_next(&s, &out) == ERR_CORRUPT);
        }
    }
    buf_close(&b);
}

TEST(log_records_that_nobody_wrote)
{
    static const struct span bad[] = {
        SPAN(""), SPAN("\x00\x01\x01"), SPAN("\x04\x01\x01"), SPAN("\xff"),
        SPAN("\x01\x01\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01z"), /* longer than memory */
        SPAN("\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),          /* more than 64 bits */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct span s = bad[i];
        struct log_record r;
        EXPECT(log_record_next(&s, &r) == ERR_CORRUPT);
    }
}

TEST(log_goes_on_in_the_next_segment)
{
    struct prng p = { 5 };
    struct log_writer w = { .batch_next = 1 };
    struct buf segments[3];
    alloc_heap(&heap);
    for (int i = 0; i < 3; i++) {
        buf_open(&segments[i], &heap);
        begin_segment(&w, prng_next(&p), &segments[i]);
        for (int k = 0; k <= i; k++)
            add_batch(&w, &p, 500, &segments[i]);
    }
    uint64_t next = 1;
    uint32_t chain = 0;
    for (int i = 0; i < 3; i++) {
        struct log_reader r;
        enum err e;
        EXPECT(read_all(buf_all(&segments[i]), &r, &e) == i + 1 && e == ERR_END);
        EXPECT(r.segment.batch_first == next && r.segment.chain == chain);
        next = r.batch_next;
        chain = r.chain;
        buf_close(&segments[i]);
    }
    EXPECT(next == w.batch_next && chain == w.chain);
}

TEST(log_every_byte_changed)
{
    struct sample s;
    make_sample(&s, 7);
    for (size_t at = 0; at < s.begin[BATCHES] + LOG_BLOCK; at++) {
        struct log_reader r;
        enum err e;
        int hurt = 0; /* the batch that it is in, or in the padding of */
        while (hurt < BATCHES && s.begin[hurt + 1] <= at)
            hurt++;
        s.bytes.data[at] ^= (uint8_t)(1 << at % 8);
        int n = read_all(buf_all(&s.bytes), &r, &e);
        s.bytes.data[at] ^= (uint8_t)(1 << at % 8);
        if (at < LOG_BLOCK) {
            EXPECT(n == 0 && e == ERR_CORRUPT);
        } else if (hurt == BATCHES || at >= s.end[hurt]) {
            EXPECT(n == BATCHES && e == ERR_END);
        } else if (hurt < BATCHES - 1) {
            EXPECT(n == hurt && e == ERR_CORRUPT && r.offset == s.begin[hurt]);
        } else {
            EXPECT(n == hurt && (e == ERR_TORN || e == ERR_END) && r.offset == s.begin[hurt]);
        }
    }
    buf_close(&s.bytes);
}

TEST(log_cut_at_every_length)
{
    struct sample s;
    make_sample(&s, 8);
    for (size_t len = LOG_BLOCK; len < s.begin[BATCHES] + 100; len++) {
        struct log_reader r;
        enum err e;
        int whole = 0;
        while (whole < BATCHES && s.end[whole] <= len)
            whole++;
        EXPECT(read_all(span_of(s.bytes.data, len), &r, &e) == whole);
        EXPECT(e == ERR_END || (e == ERR_TORN && len < s.begin[BATCHES]));
    }
    buf_close(&s.bytes);
}

/* Of the newest batch, some blocks were written and others not: it is the torn end, whichever. */
TEST(log_torn_by_blocks)
{
    struct prng p = { 9 };
    struct log_writer w = { .batch_next = 1 };
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    begin_segment(&w, 1, &b);
    add_batch(&w, &p, 100, &b);
    size_t start = b.len;
    static uint8_t data[5 * LOG_BLOCK];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)prng_next(&p);
    struct log_record entry = { .type = LOG_ENTRY, .index = 1, .term = 1, .entry_type = 2,
                                .data = span_of(data, sizeof(data)) };
    log_batch_begin(&w, &b);
    log_batch_record(&b, &entry);
    log_batch_end(&w, &b, start);
    size_t blocks = (b.len - start) / LOG_BLOCK;
    EXPECT(blocks == 6);
    for (unsigned missing = 1; missing < 1u << blocks; missing++) {
        struct buf torn;
        struct log_reader r;
        enum err e;
        buf_open(&torn, &heap);
        buf_span(&torn, buf_all(&b));
        for (size_t i = 0; i < blocks; i++)
            if (missing >> i & 1)
                memset(torn.data + start + i * LOG_BLOCK, 0, LOG_BLOCK);
        EXPECT(read_all(buf_all(&torn), &r, &e) == 1 && r.offset == start);
        EXPECT(e == (missing & 1 ? ERR_END : ERR_TORN));
        buf_close(&torn);
    }
    buf_close(&b);
}

/* A file used again: what its earlier life left behind the new end is no batch, not even when the
 * numbers fit. */
TEST(log_leftovers_of_an_earlier_use)
{
    for (int fits = 0; fits < 2; fits++) {
        struct sample s;
        struct prng p = { 11 };
        struct log_writer w = { .batch_next = fits ? 9 : 30, .chain = 77 };
        struct log_reader r;
        struct buf head;
        enum err e;
        make_sample(&s, 10);
        w.segment.number = fits ? 0 : 5;
        buf_open(&head, &heap);
        begin_segment(&w, 12345, &head);
        memcpy(s.bytes.data, head.data, LOG_BLOCK);
        EXPECT(read_all(buf_all(&s.bytes), &r, &e) == 0);
        EXPECT(e == (fits ? ERR_TORN : ERR_END));
        add_batch(&w, &p, 50, &head);
        memcpy(s.bytes.data, head.data, head.len);
        EXPECT(read_all(buf_all(&s.bytes), &r, &e) == 1 && e != ERR_CORRUPT);
        buf_close(&head);
        buf_close(&s.bytes);
    }
}

/* A batch that is good for itself, but not the one that the next was written behind. */
TEST(log_batch_of_another_history)
{
    struct sample s;
    struct prng p = { 12 };
    struct log_reader r;
    struct buf other;
    enum err e;
    make_sample(&s, 10);
    buf_open(&other, &heap);
    struct log_writer w = s.writer;
    w.batch_next = 9;
    w.chain = 77;
    add_batch(&w, &p, 50, &other);
    memcpy(s.bytes.data + s.begin[0], other.data, other.len);
    EXPECT(read_all(buf_all(&s.bytes), &r, &e) == 1 && e == ERR_CORRUPT);
    EXPECT(r.offset == s.begin[1]);
    buf_close(&other);
    buf_close(&s.bytes);
}

/* A client may write what looks like a batch, but does not know the salt. */
TEST(log_batches_inside_of_data)
{
    struct log_writer w = { .batch_next = 1 }, forged;
    struct buf fake, b;
    alloc_heap(&heap);
    buf_open(&fake, &heap);
    buf_open(&b, &heap);
    begin_segment(&w, 0x1234567812345678, &b);
    forged = w;
    forged.segment.salt = 0;
    forged.batch_next = 2;
    size_t start = b.len, skip = 0;
    log_batch_begin(&w, &b);
    struct log_record entry = { .type = LOG_ENTRY, .index = 1, .term = 1, .entry_type = 2 };
    skip = LOG_BLOCK - 32 - 6; /* head, and what a record of this length has before its data */
    memset(buf_room(&fake, skip), 'x', skip);
    fake.len = skip;
    size_t inner = fake.len;
    log_batch_begin(&forged, &fake);
    log_batch_end(&forged, &fake, inner);
    entry.data = buf_all(&fake);
    log_batch_record(&b, &entry);
    log_batch_end(&w, &b, start);
    EXPECT(memcmp(b.data + start + LOG_BLOCK, "CNFB", 4) == 0);
    b.data[start + 32] ^= 1; /* now the real one is damaged */
    struct log_reader r;
    enum err e;
    EXPECT(read_all(buf_all(&b), &r, &e) == 0 && e == ERR_TORN);
    buf_close(&b);
    buf_close(&fake);
}
