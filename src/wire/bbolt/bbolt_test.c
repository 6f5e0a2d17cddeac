#include <stdlib.h>
#include "base/check.h"
#include "base/prng.h"
#include "base/test.h"
#include "wire/bbolt/bbolt_int.h"

enum { ITEMS = 20000, LARGE = 9000 };

static const uint8_t filling[LARGE] = { 1, 2, 3 };

static struct span key_of(uint32_t i, uint8_t out[8])
{
    for (int k = 7; k >= 0; k--)
        out[k] = (uint8_t)((uint64_t)i >> 8 * (7 - k));
    return span_of(out, 8);
}

static struct span value_of(uint32_t i)
{
    size_t n = i % 1000 == 7 ? LARGE : i % 1000 == 8 ? BBOLT_PAGE_BYTES - 40 : i % 23;
    return span_of(filling, n);
}

static void write_all(struct bbolt_writer *w, uint32_t n)
{
    uint8_t key[8];
    bbolt_write_bucket(w, "empty");
    for (uint32_t i = 0; i < n; i++)
        bbolt_write(w, key_of(i, key), value_of(i));
    bbolt_write_bucket(w, "many");
    bbolt_write(w, SPAN("only"), SPAN("one"));
    bbolt_write_bucket(w, "one");
}

static void make(struct alloc *heap, uint32_t n, struct buf *out)
{
    struct bbolt_writer w;
    struct bbolt_size counted, made;
    bbolt_write_begin(&w, heap, NULL, NULL);
    write_all(&w, n);
    counted = bbolt_write_end(&w);
    bbolt_write_begin(&w, heap, out, &counted);
    write_all(&w, n);
    made = bbolt_write_end(&w);
    CHECK(made.pages == counted.pages && made.root == counted.root);
    CHECK(out->len == made.pages * BBOLT_PAGE_BYTES);
}

/* How many items a bucket has that are as they were written; -1: some are not. */
static int64_t count(const struct bbolt *db, const char *name)
{
    struct bbolt_cursor c;
    struct span key, value;
    uint8_t want[8];
    uint32_t n = 0;
    enum err e = bbolt_bucket(db, span_text(name), &c);
    bool many = strcmp(name, "many") == 0;
    while (e == ERR_OK && (e = bbolt_next(&c, &key, &value)) == ERR_OK) {
        if (many && (!span_equal(key, key_of(n, want)) || !span_equal(value, value_of(n))))
            return -1;
        n++;
    }
    return e == ERR_END ? (int64_t)n : -1;
}

TEST(bbolt_reads_what_it_wrote)
{
    static const uint32_t sizes[] = { 0, 1, 2, 100, ITEMS };
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    bool ok = true;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bbolt db;
        struct bbolt_cursor c;
        buf_reset(&out);
        make(&heap, sizes[i], &out);
        buf_text(&out, "a checksum behind it does not matter");
        ok = ok && bbolt_open(&db, buf_all(&out)) == ERR_OK && count(&db, "many") == sizes[i] &&
             count(&db, "empty") == 0 && count(&db, "one") == 1 &&
             bbolt_bucket(&db, SPAN("none"), &c) == ERR_NOT_FOUND;
    }
    buf_close(&out);
    EXPECT(ok && heap.used == 0);
}

static void fix_checksum(uint8_t *page)
{
    uint64_t sum = meta_checksum(page + PAGE_HEAD);
    for (int i = 0; i < 8; i++)
        page[PAGE_HEAD + META_BYTES - 8 + i] = (uint8_t)(sum >> 8 * i);
}

/* Any bytes: no read behind them, and an end. */
static enum err walk(struct span file)
{
    static const char *const names[] = { "empty", "many", "one" };
    struct bbolt db;
    struct bbolt_cursor c;
    struct span key, value;
    enum err e = bbolt_open(&db, file), worst = e;
    for (size_t i = 0; e == ERR_OK && i < 3; i++) {
        enum err e2 = bbolt_bucket(&db, span_text(names[i]), &c);
        while (e2 == ERR_OK)
            e2 = bbolt_next(&c, &key, &value);
        worst = e2 == ERR_END ? worst : e2;
    }
    return worst;
}

TEST(bbolt_read_of_damaged_bytes)
{
    struct alloc heap;
    struct buf good;
    struct prng p = { 5 };
    int refused = 0;
    alloc_heap(&heap);
    buf_open(&good, &heap);
    make(&heap, 300, &good);
    for (size_t n = 0; n < good.len; n += 997) {
        uint8_t *exact = mem_alloc(&heap, n + 1); /* so that a read behind it is found */
        memcpy(exact, good.data, n);
        refused += walk(span_of(exact, n)) != ERR_OK;
        mem_free(&heap, exact, n + 1);
    }
    bool ok = refused == (int)(good.len / 997 + 1);
    for (int i = 0; i < 3000; i++) {
        size_t page = prng_below(&p, good.len / BBOLT_PAGE_BYTES) * BBOLT_PAGE_BYTES;
        uint8_t *at = good.data + page + prng_below(&p, i % 2 ? 64 : 600), old = *at;
        *at = (uint8_t)prng_next(&p);
        if (page < 2 * BBOLT_PAGE_BYTES)
            fix_checksum(good.data + page);
        enum err e = walk(buf_all(&good));
        ok = ok && (e == ERR_OK || e == ERR_CORRUPT || e == ERR_FORMAT || e == ERR_NOT_FOUND);
        *at = old;
        if (page < 2 * BBOLT_PAGE_BYTES)
            fix_checksum(good.data + page);
    }
    ok = ok && walk(buf_all(&good)) == ERR_OK;
    buf_close(&good);
    EXPECT(ok && heap.used == 0);
}

/* A torn second head: the first one counts, and the other way round. */
TEST(bbolt_open_with_one_head)
{
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    make(&heap, 10, &out);
    bool ok = true;
    for (size_t page = 0; page < 2; page++) {
        out.data[page * BBOLT_PAGE_BYTES + PAGE_HEAD + 20] ^= 1;
        ok = ok && walk(buf_all(&out)) == ERR_OK;
        out.data[page * BBOLT_PAGE_BYTES + PAGE_HEAD + 20] ^= 1;
    }
    for (size_t page = 0; page < 2; page++)
        out.data[page * BBOLT_PAGE_BYTES + PAGE_HEAD + 20] ^= 1;
    ok = ok && walk(buf_all(&out)) == ERR_CORRUPT;
    for (size_t page = 0; page < 2; page++) {
        out.data[page * BBOLT_PAGE_BYTES + PAGE_HEAD + 20] ^= 1;
        out.data[page * BBOLT_PAGE_BYTES + PAGE_HEAD + 4] = 3;
        fix_checksum(out.data + page * BBOLT_PAGE_BYTES);
    }
    ok = ok && walk(buf_all(&out)) == ERR_FORMAT;
    buf_close(&out);
    EXPECT(ok && heap.used == 0);
}
