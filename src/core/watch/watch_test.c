#include "core/watch/watch.h"
#include "base/prng.h"
#include "base/test.h"

struct bench {
    struct alloc heap, memory; /* memory: the hub's alone */
    struct arena arena;
    struct kv *kv;
    struct watch_hub *hub;
    const struct kv_change *changes; /* of the last write */
    size_t n_changes;
    struct watch_batch *batches; /* that it matched */
    size_t n_batches;
};

static void bench_open(struct bench *b)
{
    *b = (struct bench){ 0 };
    alloc_heap(&b->heap);
    alloc_heap(&b->memory);
    arena_open(&b->arena, &b->heap);
    b->kv = kv_open(&b->heap);
    b->hub = watch_open(&b->memory);
}

static bool bench_close(struct bench *b)
{
    watch_close(b->hub);
    kv_close(b->kv);
    arena_close(&b->arena);
    return b->heap.used == 0 && b->memory.used == 0;
}

static void end(struct bench *b)
{
    kv_end(b->kv, &b->changes, &b->n_changes);
    watch_match(b->hub, b->changes, b->n_changes, &b->arena, &b->batches, &b->n_batches);
}

static bool put_all(struct bench *b, const struct span *keys, size_t n)
{
    struct kv_put_result r;
    kv_begin(b->kv, 1, SPAN_NONE);
    for (size_t i = 0; i < n; i++)
        if (kv_put(b->kv, &(struct kv_put){ .key = keys[i], .value = SPAN("v") }, &r) != ERR_OK)
            return false;
    end(b);
    return true;
}

static bool put(struct bench *b, const char *key)
{
    struct span k = span_text(key);
    return put_all(b, &k, 1);
}

static bool delete(struct bench *b, const char *key, struct span range_end)
{
    struct kv_delete_result r;
    kv_begin(b->kv, 1, SPAN_NONE);
    struct kv_delete d = { .key = span_text(key), .range_end = range_end };
    if (kv_delete(b->kv, &d, &b->arena, &r) != ERR_OK)
        return false;
    end(b);
    return true;
}

static struct watcher *add(struct bench *b, int64_t id, const char *key, struct span range_end,
                           int64_t start)
{
    struct watch_spec s = { .key = span_text(key), .range_end = range_end, .id = id,
                            .start_revision = start, .owner = b };
    return watch_add(b->hub, &s, kv_revision(b->kv));
}

/* The ids of the batches of the last write, as text: "1 3 4 ". */
static bool heard(const struct bench *b, const char *ids)
{
    for (size_t i = 0; i < b->n_batches; i++) {
        if (ids[0] != '0' + b->batches[i].watcher->id || b->batches[i].n == 0)
            return false;
        ids += 2;
    }
    return *ids == 0;
}

TEST(watch_keys_ranges_and_order)
{
    struct bench b;
    bench_open(&b);
    add(&b, 1, "", SPAN("\0"), 0); /* everything */
    add(&b, 2, "b", SPAN_NONE, 0);
    add(&b, 3, "a", SPAN("c"), 0);
    add(&b, 4, "b", SPAN("\0"), 0);
    add(&b, 5, "b", SPAN_NONE, 0);
    add(&b, 6, "a", SPAN("b"), 0);
    add(&b, 7, "", SPAN("b"), 0);
    EXPECT(put(&b, "b") && heard(&b, "1 2 3 4 5 "));
    EXPECT(put(&b, "a") && heard(&b, "1 3 6 7 "));
    EXPECT(put(&b, "bb") && heard(&b, "1 3 4 "));
    EXPECT(put(&b, "c") && heard(&b, "1 4 "));
    EXPECT(put(&b, "A") && heard(&b, "1 7 "));
    EXPECT(delete(&b, "a", SPAN("\0")) && heard(&b, "1 2 3 4 5 6 7 "));
    EXPECT(b.batches[0].n == 4 && b.batches[1].n == 1 && b.batches[2].n == 3);
    EXPECT(span_is(kv_key(b.batches[2].changes[1]->now), "b"));
    struct watch_stats stats;
    watch_stats(b.hub, &stats);
    EXPECT(stats.watchers == 7 && stats.behind == 0 && stats.ranges == 5);
    EXPECT(watch_count(b.hub, SPAN("b")) == 5 && watch_count(b.hub, SPAN("a")) == 4);
    EXPECT(watch_count(b.hub, SPAN("c")) == 2);
    EXPECT(bench_close(&b));
}

TEST(watch_filters_and_start)
{
    struct bench b;
    bench_open(&b);
    struct watch_spec s = { .key = SPAN("k"), .id = 1, .no_put = true };
    watch_add(b.hub, &s, 1);
    s = (struct watch_spec){ .key = SPAN("k"), .id = 2, .no_delete = true };
    watch_add(b.hub, &s, 1);
    s = (struct watch_spec){ .key = SPAN("k"), .id = 3, .start_revision = 4 };
    struct watcher *future = watch_add(b.hub, &s, 1);
    EXPECT(future->synced && future->next_revision == 4);
    EXPECT(put(&b, "k") && heard(&b, "2 "));
    EXPECT(delete(&b, "k", SPAN_NONE) && heard(&b, "1 "));
    EXPECT(put(&b, "k") && heard(&b, "2 3 ") && future->next_revision == 5);
    EXPECT(bench_close(&b));
}

static struct watch_batch catch_up(struct bench *b, struct watcher *w, bool *compacted)
{
    struct watch_batch batch;
    watch_catch_up(b->hub, b->kv, w, &b->arena, &batch, compacted);
    return batch;
}

TEST(watch_from_the_past)
{
    struct bench b;
    bench_open(&b);
    bool compacted;
    EXPECT(put(&b, "a") && put(&b, "b") && delete(&b, "a", SPAN_NONE) && put(&b, "a"));
    struct watcher *one = add(&b, 1, "a", SPAN_NONE, 2), *all = add(&b, 2, "", SPAN("\0"), 3);
    EXPECT(!one->synced && !all->synced && put(&b, "a") && heard(&b, ""));
    EXPECT(watch_next_behind(b.hub) == one && watch_next_behind(b.hub) == all);
    EXPECT(watch_next_behind(b.hub) == one);
    struct watch_batch batch = catch_up(&b, one, &compacted);
    EXPECT(!compacted && batch.n == 4 && one->synced && one->next_revision == 7);
    EXPECT(batch.changes[0]->now->mod_revision == 2 && batch.changes[1]->now->tombstone);
    batch = catch_up(&b, all, &compacted);
    EXPECT(!compacted && batch.n == 4 && batch.changes[0]->now->mod_revision == 3 && all->synced);
    EXPECT(!watch_next_behind(b.hub) && put(&b, "a") && heard(&b, "1 2 "));
    EXPECT(bench_close(&b));
}

TEST(watch_fall_behind_and_come_back)
{
    struct bench b;
    bench_open(&b);
    bool compacted;
    EXPECT(put(&b, "a"));
    struct watcher *one = add(&b, 1, "a", SPAN_NONE, 0);
    add(&b, 2, "", SPAN("\0"), 0);
    EXPECT(put(&b, "a") && heard(&b, "1 2 "));
    watch_fall_behind(b.hub, one, 5); /* what it has not heard has not been written yet */
    struct watch_batch batch = catch_up(&b, one, &compacted);
    EXPECT(batch.n == 0 && one->synced && one->next_revision == 5);
    EXPECT(put(&b, "a") && heard(&b, "2 ") && put(&b, "a") && heard(&b, "1 2 "));
    watch_fall_behind(b.hub, one, 5);
    watch_fall_behind(b.hub, one, 4);
    EXPECT(put(&b, "a") && heard(&b, "2 "));
    batch = catch_up(&b, one, &compacted);
    EXPECT(batch.n == 3 && one->synced && one->next_revision == 7 && !watch_next_behind(b.hub));
    EXPECT(bench_close(&b));
}

TEST(watch_overtaken_by_compaction)
{
    struct bench b;
    bench_open(&b);
    bool compacted;
    EXPECT(put(&b, "a") && put(&b, "a") && put(&b, "a"));
    struct watcher *before = add(&b, 1, "a", SPAN_NONE, 2), *at = add(&b, 2, "a", SPAN_NONE, 3);
    EXPECT(kv_compact(b.kv, 3) == ERR_OK);
    catch_up(&b, before, &compacted);
    EXPECT(compacted && !before->synced);
    struct watch_batch batch = catch_up(&b, at, &compacted);
    EXPECT(!compacted && batch.n == 2 && at->synced);
    watch_remove(b.hub, before);
    watch_remove(b.hub, at);
    EXPECT(b.memory.used < 400); /* the hub and an empty hash */
    EXPECT(bench_close(&b));
}

TEST(watch_catch_up_in_steps_of_whole_revisions)
{
    struct bench b;
    bench_open(&b);
    bool compacted;
    enum { N = WATCH_CATCH_UP_MAX + 200 };
    static char names[N][8];
    struct span keys[N];
    struct buf text;
    buf_open(&text, &b.heap);
    for (size_t i = 0; i < N; i++) {
        buf_reset(&text);
        buf_format(&text, "k%04zu", i);
        memcpy(names[i], text.data, text.len);
        keys[i] = span_of(names[i], text.len);
    }
    buf_close(&text);
    for (int i = 0; i < 3; i++)
        EXPECT(put_all(&b, keys, 400));
    EXPECT(put_all(&b, keys, N) && put(&b, "z"));
    struct watcher *w = add(&b, 1, "k", SPAN("l"), 2);
    struct watch_batch batch = catch_up(&b, w, &compacted);
    EXPECT(batch.n == 800 && !w->synced && w->next_revision == 4);
    batch = catch_up(&b, w, &compacted);
    EXPECT(batch.n == 400 && !w->synced && w->next_revision == 5);
    batch = catch_up(&b, w, &compacted); /* one revision over the limit comes whole */
    EXPECT(batch.n == N && w->next_revision == 6 && !w->synced);
    EXPECT(span_is(kv_key(batch.changes[N - 1]->now), names[N - 1]));
    batch = catch_up(&b, w, &compacted);
    EXPECT(batch.n == 0 && w->synced);
    EXPECT(bench_close(&b));
}

TEST(watch_idle_watchers_are_small)
{
    struct bench b;
    bench_open(&b);
    enum { N = 10000, KEY = 9 };
    struct buf key;
    buf_open(&key, &b.heap);
    for (int i = 0; i < N; i++) {
        buf_reset(&key);
        buf_format(&key, "key%06d%c", i, 0);
        add(&b, i, (const char *)key.data, SPAN_NONE, 0);
    }
    EXPECT(b.memory.used / N <= 150 + KEY);
    size_t used = b.memory.used;
    for (int i = 0; i < N; i++)
        add(&b, i, "prefix/", SPAN("prefix0"), 0);
    EXPECT((b.memory.used - used) / N <= 100);
    buf_close(&key);
    EXPECT(bench_close(&b));
}

/* Many random watchers against the plain list of all that ever changed. Each must hear of all that
 * is meant for it, once, in order, whole revisions, whether matched or caught up. */
enum { WATCHERS = 40, PAST = 20000 };

struct ear {
    struct watcher *w;
    struct span key, end;
    bool no_put, no_delete;
    int64_t heard; /* everything up to this revision */
    size_t at;     /* in the past: what is before was heard */
};

struct past {
    int64_t revision;
    uint8_t key;
    bool tombstone;
};

struct world {
    struct bench b;
    struct prng p;
    struct ear ears[WATCHERS];
    struct past past[PAST];
    size_t n_past;
};

static const char *const letters[] = { "a", "b", "c", "d", "e", "f", "g", "h" };

static bool meant_for(const struct ear *e, const struct past *x)
{
    struct span key = span_of(&x->key, 1);
    if (x->revision <= e->heard || (x->tombstone ? e->no_delete : e->no_put))
        return false;
    if (e->end.len == 0)
        return span_equal(e->key, key);
    return span_compare(e->key, key) <= 0 &&
           (e->end.data[0] == 0 || span_compare(key, e->end) < 0);
}

/* The batch is exactly what is meant for the ear from what it heard up to revision. */
static bool hear(struct world *x, struct ear *e, const struct watch_batch *batch, int64_t revision)
{
    size_t n = 0;
    for (; e->at < x->n_past && x->past[e->at].revision <= revision; e->at++) {
        const struct past *was = &x->past[e->at];
        if (!meant_for(e, was))
            continue;
        if (n == batch->n)
            return false;
        const struct kv_version *now = batch->changes[n++]->now;
        if (now->mod_revision != was->revision || kv_key(now).data[0] != was->key ||
            now->tombstone != was->tombstone)
            return false;
    }
    e->heard = e->heard > revision ? e->heard : revision;
    return n == batch->n;
}

static bool write(struct world *x)
{
    struct bench *b = &x->b;
    size_t first = prng_below(&x->p, 8), n = 1 + prng_below(&x->p, 8 - first);
    if (prng_below(&x->p, 3)) {
        struct span keys[8];
        for (size_t i = 0; i < n; i++)
            keys[i] = span_text(letters[first + i]);
        if (!put_all(b, keys, n))
            return false;
    } else if (!delete(b, letters[first], prng_below(&x->p, 2) ? SPAN("f") : SPAN_NONE)) {
        return false;
    }
    for (size_t i = 0; i < b->n_changes; i++) {
        const struct kv_version *now = b->changes[i].now;
        x->past[x->n_past++] =
            (struct past){ now->mod_revision, kv_key(now).data[0], now->tombstone };
    }
    for (size_t i = 0; i < b->n_batches; i++) {
        struct ear *e = &x->ears[b->batches[i].watcher->id];
        if (e->w != b->batches[i].watcher)
            return false;
        if (prng_below(&x->p, 4) == 0)
            watch_fall_behind(b->hub, e->w, kv_revision(b->kv));
        else if (!hear(x, e, &b->batches[i], kv_revision(b->kv)))
            return false;
    }
    return true;
}

static void replace(struct world *x)
{
    size_t i = prng_below(&x->p, WATCHERS);
    struct ear *e = &x->ears[i];
    int64_t now = kv_revision(x->b.kv), start = (int64_t)prng_below(&x->p, (uint64_t)now + 5);
    if (e->w)
        watch_remove(x->b.hub, e->w);
    size_t first = prng_below(&x->p, 8);
    *e = (struct ear){ .key = span_text(letters[first]), .no_put = prng_below(&x->p, 8) == 0,
                       .no_delete = prng_below(&x->p, 8) == 0,
                       .heard = start > 0 ? start - 1 : now };
    if (prng_below(&x->p, 2))
        e->end = first < 7 && prng_below(&x->p, 2)
                     ? span_text(letters[first + 1 + prng_below(&x->p, 7 - first)])
                     : SPAN("\0");
    struct watch_spec s = { .key = e->key, .range_end = e->end, .start_revision = start,
                            .id = (int64_t)i, .no_put = e->no_put, .no_delete = e->no_delete };
    e->w = watch_add(x->b.hub, &s, now);
}

static bool one_catches_up(struct world *x)
{
    struct watcher *w = watch_next_behind(x->b.hub);
    bool compacted;
    if (!w)
        return true;
    struct watch_batch batch = catch_up(&x->b, w, &compacted);
    return !compacted && hear(x, &x->ears[w->id], &batch, w->next_revision - 1);
}

TEST(watch_against_a_plain_list)
{
    static struct world x;
    x = (struct world){ .p = { 3 } };
    bench_open(&x.b);
    for (int i = 0; i < 4000; i++) {
        uint64_t dice = prng_below(&x.p, 8);
        if (dice < 4)
            EXPECT(write(&x));
        else if (dice < 5)
            replace(&x);
        else
            EXPECT(one_catches_up(&x));
        arena_reset(&x.b.arena);
    }
    struct watch_stats stats;
    for (watch_stats(x.b.hub, &stats); stats.behind; watch_stats(x.b.hub, &stats))
        EXPECT(one_catches_up(&x));
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watch_batch nothing = { 0 };
        EXPECT(!x.ears[i].w || hear(&x, &x.ears[i], &nothing, INT64_MAX));
        EXPECT(!x.ears[i].w || x.ears[i].w->synced);
    }
    EXPECT(x.n_past < PAST - 8 && bench_close(&x.b));
}
