#include "base/prng.h"
#include "base/test.h"
#include "core/kv/kv_int.h"

enum { ROUNDS = 40, STEPS = 120 };

static void change(struct kv *kv, struct prng *p, struct arena *arena)
{
    const struct kv_change *changes;
    size_t n;
    kv_begin(kv, 0, SPAN(""));
    for (uint64_t i = prng_below(p, 3) + 1; i > 0; i--) {
        uint8_t key[1] = { (uint8_t)('a' + prng_below(p, 12)) };
        struct kv_put put = { .key = span_of(key, 1), .value = SPAN("value") };
        struct kv_delete del = { .key = span_of(key, 1) };
        struct kv_put_result out;
        struct kv_delete_result deleted;
        put.value.len = prng_below(p, 6);
        enum err e =
            prng_below(p, 3) ? kv_put(kv, &put, &out) : kv_delete(kv, &del, arena, &deleted);
        CHECK(e == ERR_OK);
    }
    kv_end(kv, &changes, &n);
}

static void import_one(struct kv *to, const struct kv_version *v)
{
    struct kv_record r = { .letter = v->tombstone ? 'T' : 'V',
                           .mod_revision = v->mod_revision,
                           .sub = v->sub,
                           .create_revision = v->create_revision,
                           .version = v->version,
                           .bytes = v->tombstone ? SPAN_NONE : kv_value(v) };
    CHECK(kv_import(to, kv_key(v), &r) == ERR_OK);
}

/* What stands in front of the history, by revision: few enough to look for. */
static void import_old(struct kv *to, const struct kv *from, int64_t revision, uint32_t sub)
{
    const struct kv_version *first = from->history.n ? *kv_queue_at(&from->history, 0) : NULL;
    const struct kv_key *key;
    if (first &&
        (revision > first->mod_revision || (revision == first->mod_revision && sub >= first->sub)))
        return;
    for (struct kv_walk w = kv_keys_from(&from->keys, SPAN_NONE, false);
         (key = kv_walk_key(&w)) != NULL; kv_walk_next(&w))
        for (size_t i = 0; i < key_count(key); i++)
            if (key_at(key, i)->mod_revision == revision && key_at(key, i)->sub == sub)
                import_one(to, key_at(key, i));
}

static void import_all(struct kv *to, const struct kv *from)
{
    for (int64_t revision = 2; revision <= kv_revision(from); revision++)
        for (uint32_t sub = 0; sub < 4; sub++)
            import_old(to, from, revision, sub);
    for (size_t i = 0; i < from->history.n; i++)
        import_one(to, *kv_queue_at(&from->history, i));
}

static bool equal(struct kv *one, struct kv *other)
{
    struct kv_stats x, y;
    uint32_t a = 0, b = 1;
    CHECK(kv_hash(one, 0, &a) == ERR_OK && kv_hash(other, 0, &b) == ERR_OK);
    while (kv_compact_step(one, 100))
        ;
    while (kv_compact_step(other, 100))
        ;
    kv_stats(one, &x);
    kv_stats(other, &y);
    return a == b && x.keys == y.keys && x.live_bytes == y.live_bytes && x.versions == y.versions;
}

/* What a store kept, all of it, into one that is told of a compaction that the other has not
 * carried out (late), or only in part: the same as if it had. */
static bool same(struct alloc *heap, struct prng *p, struct arena *arena)
{
    struct kv *from = kv_open(heap), *to = kv_open(heap);
    for (int i = 0; i < STEPS; i++)
        change(from, p, arena);
    int64_t compact = (int64_t)prng_below(p, (uint64_t)kv_revision(from) + 1);
    bool late = prng_below(p, 2) == 0;
    enum err e = late ? ERR_OK : kv_compact(from, compact);
    kv_compact_step(from, prng_below(p, 100) + 1);
    kv_import_begin(to, compact);
    import_all(to, from);
    bool ok = e == ERR_OK && kv_import_end(to, kv_revision(from)) == ERR_OK;
    ok = ok && (!late || kv_compact(from, compact) == ERR_OK);
    ok = ok && equal(from, to) && equal(from, to);
    change(to, p, arena);
    kv_close(from);
    kv_close(to);
    return ok;
}

TEST(kv_import_of_what_a_store_kept)
{
    struct alloc heap;
    struct arena arena;
    struct prng p = { 11 };
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    bool ok = true;
    for (int i = 0; ok && i < ROUNDS; i++)
        ok = same(&heap, &p, &arena);
    arena_close(&arena);
    EXPECT(ok && heap.used == 0);
}

/* Of the compact revision only a part is there, or nothing; it is saved and loaded again so. */
TEST(kv_import_with_holes_at_the_compact_revision)
{
    struct alloc heap;
    alloc_heap(&heap);
    bool ok = true;
    for (int nothing = 0; nothing < 2; nothing++) {
        struct kv *kv = kv_open(&heap), *again = kv_open(&heap);
        struct buf bytes;
        struct kv_record old = {
            .letter = 'V', .mod_revision = 2, .create_revision = 2, .version = 1
        };
        struct kv_record at = {
            .letter = 'V', .mod_revision = 3, .create_revision = 3, .version = 1, .sub = 5
        };
        uint32_t a = 0, b = 1;
        kv_import_begin(kv, 3);
        ok = ok && kv_import(kv, SPAN("b"), &old) == ERR_OK;
        if (!nothing) {
            ok = ok && kv_import(kv, SPAN("c"), &at) == ERR_OK;
            at.sub = 7;
            ok = ok && kv_import(kv, SPAN("a"), &at) == ERR_OK;
        }
        ok = ok && kv_import_end(kv, 3) == ERR_OK;
        buf_open(&bytes, &heap);
        struct kv_save *s = kv_save_open(kv);
        while (kv_save_step(s, 64, &bytes))
            ;
        kv_save_close(s);
        ok = ok && kv_load(again, buf_all(&bytes)) == ERR_OK && kv_load_end(again) == ERR_OK &&
             kv_hash(kv, 0, &a) == ERR_OK && kv_hash(again, 0, &b) == ERR_OK && a == b &&
             again->history.n == (nothing ? 0 : 2);
        ok = ok && (nothing || (*kv_queue_at(&again->history, 0))->sub == 5);
        buf_close(&bytes);
        kv_close(kv);
        kv_close(again);
    }
    EXPECT(ok && heap.used == 0);
}

/* What no store can have kept: one row a rule. */
TEST(kv_import_refuses)
{
    static const struct kv_record rows[][2] = {
        { { .letter = 'V', .mod_revision = 9, .create_revision = 9, .version = 1 },
          { .letter = 'V', .mod_revision = 8, .create_revision = 8, .version = 1 } },
        { { .letter = 'V', .mod_revision = 9, .create_revision = 9, .version = 1, .sub = 1 },
          { .letter = 'V', .mod_revision = 9, .create_revision = 9, .version = 2, .sub = 1 } },
        { { .letter = 'V', .mod_revision = 9, .create_revision = 9, .version = 1 },
          { .letter = 'V', .mod_revision = 10, .create_revision = 9, .version = 3 } },
        { { .letter = 'V', .mod_revision = 9, .create_revision = 9, .version = 1 },
          { .letter = 'V', .mod_revision = 10, .create_revision = 10, .version = 1 } },
        { { .letter = 'V', .mod_revision = 3, .create_revision = 4, .version = 2 },
          { .letter = 'T', .mod_revision = 9 } },
        { { .letter = 'T', .mod_revision = 3 }, { .letter = 'T', .mod_revision = 9 } },
        { { .letter = 'V', .mod_revision = -4, .create_revision = -4, .version = 1 },
          { .letter = 'T', .mod_revision = -5 } },
    };
    struct alloc heap;
    alloc_heap(&heap);
    bool ok = true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv *kv = kv_open(&heap);
        kv_import_begin(kv, 4);
        enum err e = kv_import(kv, SPAN("k"), &rows[i][0]);
        if (e == ERR_OK)
            e = kv_import(kv, SPAN("k"), &rows[i][1]);
        ok = ok && e == ERR_CORRUPT;
        kv_close(kv);
    }
    struct kv *kv = kv_open(&heap);
    kv_import_begin(kv, -1);
    ok = ok && kv_import(kv, SPAN("k"), &rows[0][0]) == ERR_OK &&
         kv_import_end(kv, 9) == ERR_CORRUPT; /* revisions 2 to 8 changed nothing */
    kv_close(kv);
    EXPECT(ok && heap.used == 0);
}
