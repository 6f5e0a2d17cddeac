/* Pages of 512 bytes behind a head that passes; the first byte is the page of the root tree. */
#include "base/check.h"
#include "wire/bbolt/bbolt_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 512 };

static void walk(const struct bbolt *db, struct span name)
{
    struct bbolt_cursor c;
    struct span key = SPAN_NONE, value = SPAN_NONE;
    uint64_t sum = 0;
    enum err e = bbolt_bucket(db, name, &c);
    while (e == ERR_OK && (e = bbolt_next(&c, &key, &value)) == ERR_OK)
        sum += key.data[key.len - 1] + (value.len ? value.data[value.len - 1] : 0u);
    CHECK(e == ERR_END || e == ERR_CORRUPT || e == ERR_NOT_FOUND || sum == UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct buf file;
    struct bbolt db;
    enum err e = bbolt_open(&db, span_of(data, size));
    CHECK(e == ERR_OK || e == ERR_CORRUPT || e == ERR_FORMAT);
    if (size == 0)
        return 0;
    alloc_heap(&heap);
    buf_open(&file, &heap);
    memset(buf_room(&file, 2 * PAGE), 0, 2 * PAGE);
    file.len = PAGE_HEAD;
    buf_u32(&file, META_MAGIC);
    buf_u32(&file, META_VERSION);
    buf_u32(&file, PAGE);
    buf_u32(&file, 0);
    buf_u64(&file, data[0]);
    buf_u64(&file, 0);
    buf_u64(&file, 0);
    buf_u64(&file, 2 + (size - 1) / PAGE);
    buf_u64(&file, 1);
    buf_u64(&file, meta_checksum(file.data + PAGE_HEAD));
    file.len = 2 * PAGE;
    buf_put(&file, data + 1, size - 1);
    uint8_t *exact = mem_alloc(&heap, file.len);
    memcpy(exact, file.data, file.len);
    if (bbolt_open(&db, span_of(exact, file.len)) == ERR_OK) {
        walk(&db, SPAN("key"));
        walk(&db, SPAN("lease"));
        walk(&db, SPAN("a"));
    }
    mem_free(&heap, exact, file.len);
    buf_close(&file);
    CHECK(heap.used == 0);
    return 0;
}
