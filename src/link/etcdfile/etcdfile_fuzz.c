/* Items of the buckets: one byte of which, two of sizes, key, value. What is taken must come back
 * the same from a checkpoint. And the bytes as a log. */
#include "base/check.h"
#include "link/etcdfile/etcdfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const buckets[] = { "auth", "authRoles", "authUsers", "key", "lease", "meta" };

static void write_all(struct bbolt_writer *w, struct span in)
{
    for (uint8_t bucket = 0; bucket < 6; bucket++) {
        struct span rest = in, key, value;
        uint8_t which, key_size, value_size;
        while (span_u8(&rest, &which) && span_u8(&rest, &key_size) && key_size > 0 &&
               span_u8(&rest, &value_size) && span_take(&rest, key_size, &key) &&
               span_take(&rest, value_size, &value))
            if (which % 6 == bucket)
                bbolt_write(w, key, value);
        bbolt_write_bucket(w, buckets[bucket]);
    }
}

static void round_trip(struct alloc *heap, struct machine *m)
{
    struct machine again;
    struct buf piece;
    uint32_t a, b;
    bool more = true;
    buf_open(&piece, heap);
    machine_open(&again, heap);
    struct machine_save *s = machine_save_open(m, heap);
    while (more) {
        buf_reset(&piece);
        more = machine_save_step(s, 100, &piece);
        CHECK(machine_load(&again, buf_all(&piece)) == ERR_OK);
    }
    machine_save_close(s);
    CHECK(machine_load_end(&again) == ERR_OK);
    CHECK(kv_hash(m->kv, 0, &a) == ERR_OK && kv_hash(again.kv, 0, &b) == ERR_OK && a == b);
    machine_close(&again);
    buf_close(&piece);
}

static void load(struct alloc *heap, struct span file)
{
    struct machine m;
    struct etcdfile f;
    machine_open(&m, heap);
    enum err e = etcdfile_open(&f, file, &m, heap);
    if (e == ERR_OK) {
        while ((e = etcdfile_load(&f, 10)) == ERR_OK)
            ;
        etcdfile_close(&f);
    }
    if (e == ERR_END)
        round_trip(heap, &m);
    machine_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct bbolt_writer w;
    struct buf file;
    struct arena arena;
    struct span in = span_of(data, size);
    struct etcdfile_log log = { .after = 3 };
    alloc_heap(&heap);
    buf_open(&file, &heap);
    bbolt_write_begin(&w, &heap, NULL, NULL);
    write_all(&w, in);
    struct bbolt_size counted = bbolt_write_end(&w);
    bbolt_write_begin(&w, &heap, &file, &counted);
    write_all(&w, in);
    bbolt_write_end(&w);
    load(&heap, buf_all(&file));
    buf_close(&file);
    arena_open(&arena, &heap);
    enum err e = etcdfile_log(&log, in, &arena);
    CHECK(e == ERR_OK || e == ERR_CORRUPT);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
