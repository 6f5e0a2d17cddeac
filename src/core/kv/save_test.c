#include "base/prng.h"
#include "base/test.h"
#include "core/kv/kv_int.h"

static void fill(struct kv *kv, struct arena *arena)
{
    struct prng p = { 3 };
    for (int i = 0; i < 60; i++) {
        uint8_t key[2] = { 'k', (uint8_t)('a' + prng_below(&p, 8)) };
        struct kv_put put = { .key = span_of(key, 2), .value = span_of("valuevalue", (size_t)i % 9),
                              .lease = i % 5 - 1, .type = (uint8_t)(i % KV_TYPE_COUNT) };
        struct kv_delete del = { .key = span_of(key, 2) };
        struct kv_put_result out;
        struct kv_delete_result deleted;
        const struct kv_change *changes;
        size_t n;
        kv_begin(kv, 1000 + i, i % 2 ? SPAN("one") : SPAN("two"));
        bool gone = i % 4 == 3;
        CHECK((gone ? kv_delete(kv, &del, arena, &deleted) : kv_put(kv, &put, &out)) == ERR_OK);
        kv_end(kv, &changes, &n);
    }
    CHECK(kv_compact(kv, 20) == ERR_OK);
}

static void save(struct kv *kv, struct buf *out)
{
    struct kv_save *s = kv_save_open(kv);
    while (kv_save_step(s, 64, out))
        ;
    kv_save_close(s);
}

static enum err load(struct alloc *heap, struct span bytes, struct kv **out)
{
    *out = kv_open(heap);
    enum err e = kv_load(*out, bytes);
    return e ? e : kv_load_end(*out);
}

/* Whatever is wrong with the bytes: an error, or a store that saves and loads the same again. */
static bool stands(struct alloc *heap, struct span bytes, int *refused)
{
    struct kv *kv, *again = NULL;
    struct buf one, two;
    bool ok = true;
    if (load(heap, bytes, &kv) != ERR_OK) {
        ++*refused;
        kv_close(kv);
        return true;
    }
    buf_open(&one, heap);
    buf_open(&two, heap);
    save(kv, &one);
    ok = load(heap, buf_all(&one), &again) == ERR_OK;
    if (ok)
        save(again, &two);
    ok = ok && span_equal(buf_all(&one), buf_all(&two));
    buf_close(&one);
    buf_close(&two);
    kv_close(again);
    kv_close(kv);
    return ok;
}

TEST(kv_load_of_damaged_bytes)
{
    struct alloc heap;
    struct arena arena;
    struct buf good;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    buf_open(&good, &heap);
    struct kv *kv = kv_open(&heap);
    fill(kv, &arena);
    save(kv, &good);
    kv_close(kv);
    arena_close(&arena);
    int refused = 0, cuts = (int)good.len;
    bool ok = stands(&heap, buf_all(&good), &refused) && refused == 0;
    for (size_t n = 0; ok && n < good.len; n++)
        ok = stands(&heap, span_of(good.data, n), &refused);
    ok = ok && refused == cuts;
    for (size_t i = 0; ok && i < good.len; i++)
        for (int bit = (int)(i % 3); bit < 8; bit += 3) {
            good.data[i] ^= (uint8_t)(1 << bit);
            ok = ok && stands(&heap, buf_all(&good), &refused);
            good.data[i] ^= (uint8_t)(1 << bit);
        }
    buf_close(&good);
    EXPECT(ok && refused > cuts * 2);
    EXPECT(heap.used == 0);
}

/* Bytes that read well and break a rule. B: revision 5, compacted at 3, one author. */
#define HEAD "B\1\5\4\1" "A\2me"
#define KEY "K\1a"
#define PUT(mod, sub, age, version) "V" mod sub age version "\0\0\1\0\0"
#define DEL(mod, sub) "T" mod sub "\0\1"
#define KEY_OLD KEY PUT("\2", "\0", "\0", "\1")
#define REST "K\1b" PUT("\3", "\0", "\1", "\5") PUT("\4", "\0", "\2", "\6") DEL("\5", "\0")

static const struct {
    enum err want;
    struct span bytes;
} ROWS[] = {
    { ERR_OK, SPAN(HEAD REST "E\1\3") },
    { ERR_OK, SPAN(HEAD KEY_OLD REST "E\2\4") },
    { ERR_OK, SPAN(HEAD KEY DEL("\3", "\1") PUT("\5", "\1", "\0", "\1") REST "E\2\5") },
    /* counts */
    { ERR_CORRUPT, SPAN(HEAD REST "E\1\4") },
    { ERR_CORRUPT, SPAN(HEAD REST "E\2\3") },
    /* authors */
    { ERR_CORRUPT, SPAN("B\1\5\4\0" REST "E\1\3") },
    { ERR_CORRUPT, SPAN("B\1\5\4\2" "A\2me" REST "E\1\3") },
    { ERR_CORRUPT, SPAN("B\1\5\4\2" "A\2me" "A\2me" REST "E\1\3") },
    /* compacted beyond the newest; a revision without a change */
    { ERR_CORRUPT, SPAN("B\1\5\7\1" "A\2me" REST "E\1\3") },
    { ERR_CORRUPT, SPAN("B\1\6\4\1" "A\2me" REST "E\1\3") },
    /* keys out of order, or with nothing in them */
    { ERR_CORRUPT, SPAN(HEAD REST KEY_OLD "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY REST "E\2\3") },
    /* deletions of nothing */
    { ERR_CORRUPT, SPAN(HEAD KEY DEL("\2", "\0") REST "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY DEL("\5", "\1") REST "E\2\4") },
    /* one place taken twice; a place left out; a version or a creation that cannot be */
    { ERR_CORRUPT, SPAN(HEAD KEY PUT("\5", "\0", "\0", "\1") REST "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY PUT("\5", "\2", "\0", "\1") REST "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY PUT("\5", "\377\377\3", "\0", "\1") REST "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY PUT("\5", "\1", "\0", "\2") REST "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY PUT("\5", "\1", "\1", "\1") REST "E\2\4") },
    { ERR_CORRUPT, SPAN(HEAD KEY PUT("\2", "\0", "\1", "\1") REST "E\2\4") },
    /* what compaction would not have left */
    { ERR_CORRUPT, SPAN(HEAD KEY_OLD PUT("\3", "\1", "\1", "\2") REST "E\2\5") },
};

TEST(kv_load_refuses_what_no_store_says)
{
    struct alloc heap;
    alloc_heap(&heap);
    int wrong = 0;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct kv *kv;
        if (load(&heap, ROWS[i].bytes, &kv) != ROWS[i].want) {
            printf("row %zu\n", i);
            wrong++;
        }
        kv_close(kv);
    }
    EXPECT(wrong == 0 && heap.used == 0);
}

TEST(kv_load_names_a_newer_format)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct kv *kv = kv_open(&heap);
    enum err e = kv_load(kv, SPAN("B\2\1\0\0"));
    kv_close(kv);
    EXPECT(e == ERR_FORMAT && heap.used == 0);
}

/* An empty store, with and without a compaction, comes back as it was. */
TEST(kv_save_of_nothing)
{
    struct alloc heap;
    alloc_heap(&heap);
    bool ok = true;
    for (int64_t compact = -1; ok && compact <= 1; compact++) {
        struct kv *kv = kv_open(&heap), *again = NULL;
        struct buf bytes;
        buf_open(&bytes, &heap);
        if (compact >= 0)
            ok = kv_compact(kv, compact) == ERR_OK;
        save(kv, &bytes);
        ok = ok && load(&heap, buf_all(&bytes), &again) == ERR_OK && kv_revision(again) == 1 &&
             kv_compact_revision(again) == compact;
        buf_close(&bytes);
        kv_close(again);
        kv_close(kv);
    }
    EXPECT(ok && heap.used == 0);
}
