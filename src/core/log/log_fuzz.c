/* Bytes as a segment, as records, and as what a writer is told to write and a reader reads back. */
#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "core/log/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_segment(struct span bytes)
{
    struct log_reader r;
    struct span records;
    struct log_record record;
    enum err e = log_reader_open(&r, bytes);
    while (e == ERR_OK) {
        e = log_reader_batch(&r, &records);
        while (e == ERR_OK && records.len)
            e = log_record_next(&records, &record);
    }
}

/* Puts the input behind a good head, so that batches are looked at. */
static void read_batches(struct span bytes, struct alloc *heap)
{
    struct log_segment s = { .number = 1, .batch_first = 1, .size = 1 << 20 };
    struct buf b;
    buf_open(&b, heap);
    log_segment_encode(&s, &b);
    buf_span(&b, bytes);
    read_segment(buf_all(&b));
    buf_close(&b);
}

static void there_and_back(struct span bytes, struct alloc *heap)
{
    struct log_writer w = { .segment = { .number = 1, .batch_first = 1, .size = 1 << 20 },
                            .batch_next = 1 };
    struct span given = bytes, records;
    struct log_record a, b;
    struct log_reader r;
    struct buf out;
    buf_open(&out, heap);
    log_segment_encode(&w.segment, &out);
    log_batch_begin(&w, &out);
    while (log_record_next(&given, &a) == ERR_OK)
        log_batch_record(&out, &a);
    log_batch_end(&w, &out, LOG_BLOCK);
    CHECK(log_reader_open(&r, buf_all(&out)) == ERR_OK);
    CHECK(log_reader_batch(&r, &records) == ERR_OK);
    given = bytes;
    while (log_record_next(&given, &a) == ERR_OK) {
        CHECK(log_record_next(&records, &b) == ERR_OK);
        CHECK(a.type == b.type && a.index == b.index && a.term == b.term && a.vote == b.vote);
        CHECK(a.entry_type == b.entry_type && span_equal(a.data, b.data));
    }
    CHECK(records.len == 0);
    CHECK(log_reader_batch(&r, &records) == ERR_END);
    buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    alloc_heap(&heap);
    read_segment(span_of(data, size));
    read_batches(span_of(data, size), &heap);
    there_and_back(span_of(data, size), &heap);
    CHECK(heap.used == 0);
    return 0;
}
