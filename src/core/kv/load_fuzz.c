/* Bytes that may be a checkpoint. What is taken must come back the same from a second round, and
 * must bear being read, hashed, written to and compacted. */
#include "base/check.h"
#include "core/kv/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void save(struct kv *kv, struct buf *out)
{
    struct kv_save *s = kv_save_open(kv);
    while (kv_save_step(s, 50, out))
        ;
    kv_save_close(s);
}

static void use(struct kv *kv, struct arena *arena)
{
    struct kv_delete del = { .key = SPAN("\0"), .range_end = SPAN("\0"), .prev_kv = true };
    struct kv_delete_result deleted;
    struct kv_put put = { .key = SPAN("k"), .value = SPAN("v") };
    struct kv_put_result out;
    const struct kv_change *changes;
    size_t n;
    kv_begin(kv, 0, SPAN("x"));
    CHECK(kv_put(kv, &put, &out) == ERR_OK);
    CHECK(kv_delete(kv, &del, arena, &deleted) == ERR_OK);
    kv_end(kv, &changes, &n);
    CHECK(kv_compact(kv, kv_revision(kv)) == ERR_OK);
    while (kv_compact_step(kv, 3))
        ;
    struct kv_stats s;
    kv_stats(kv, &s);
    CHECK(s.keys == 0 && s.pending == 0);
}

static void again(struct alloc *heap, struct kv *kv)
{
    struct buf one, two;
    uint32_t a, b;
    buf_open(&one, heap);
    buf_open(&two, heap);
    struct kv *other = kv_open(heap);
    save(kv, &one);
    CHECK(kv_load(other, buf_all(&one)) == ERR_OK && kv_load_end(other) == ERR_OK);
    save(other, &two);
    CHECK(span_equal(buf_all(&one), buf_all(&two)));
    CHECK(kv_hash(kv, 0, &a) == ERR_OK && kv_hash(other, 0, &b) == ERR_OK && a == b);
    kv_close(other);
    buf_close(&one);
    buf_close(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct arena arena;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    struct kv *kv = kv_open(&heap);
    if (kv_load(kv, span_of(data, size)) == ERR_OK && kv_load_end(kv) == ERR_OK) {
        again(&heap, kv);
        use(kv, &arena);
    }
    kv_close(kv);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
