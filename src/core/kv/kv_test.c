#include "base/prng.h"
#include "base/test.h"
#include "core/kv/kv_int.h"

struct bench {
    struct alloc heap, arena_heap;
    struct arena arena;
    struct kv *kv;
    const struct kv_change *changes;
    size_t n;
};

static void up(struct bench *b)
{
    *b = (struct bench){ .n = 0 };
    alloc_heap(&b->heap);
    alloc_heap(&b->arena_heap);
    arena_open(&b->arena, &b->arena_heap);
    b->kv = kv_open(&b->heap);
}

/* True when everything was given back. */
static bool down(struct bench *b)
{
    kv_close(b->kv);
    arena_close(&b->arena);
    return b->heap.used == 0 && b->arena_heap.used == 0;
}

static int64_t put(struct bench *b, struct span key, struct span value)
{
    struct kv_put p = { .key = key, .value = value };
    struct kv_put_result r;
    kv_begin(b->kv, 7, SPAN("me"));
    CHECK(kv_put(b->kv, &p, &r) == ERR_OK);
    kv_end(b->kv, &b->changes, &b->n);
    return kv_revision(b->kv);
}

static int64_t del(struct bench *b, struct span key, struct span end)
{
    struct kv_delete d = { .key = key, .range_end = end };
    struct kv_delete_result r;
    kv_begin(b->kv, 7, SPAN_NONE);
    CHECK(kv_delete(b->kv, &d, &b->arena, &r) == ERR_OK);
    kv_end(b->kv, &b->changes, &b->n);
    return r.deleted;
}

static uint32_t hash_of(struct bench *b, int64_t revision)
{
    uint32_t out = 0;
    return kv_hash(b->kv, revision, &out) == ERR_OK ? out : 0;
}

/* The numbers are what etcd 3.4.23 answered to HashKV after the same requests. */
TEST(kv_hash_is_that_of_etcd)
{
    struct bench b;
    struct buf value;
    up(&b);
    buf_open(&value, &b.arena_heap);
    put(&b, SPAN("foo"), SPAN("bar"));
    uint32_t first = hash_of(&b, 0);
    put(&b, SPAN("foo"), SPAN("baz"));
    put(&b, SPAN("b"), SPAN_NONE);
    del(&b, SPAN("foo"), SPAN_NONE);
    buf_text(&value, "long-value-1");
    for (int i = 2; i <= 100; i++)
        buf_format(&value, ",%d", i);
    put(&b, SPAN("c"), buf_all(&value));
    uint32_t second = hash_of(&b, 0), again = hash_of(&b, 2);
    enum err compacted = kv_compact(b.kv, 5);
    uint32_t third = hash_of(&b, 6), unused;
    while (kv_compact_step(b.kv, 1))
        ;
    uint32_t fourth = hash_of(&b, 6);
    enum err before = kv_hash(b.kv, 4, &unused), after = kv_hash(b.kv, 7, &unused);
    put(&b, SPAN("b"), SPAN("3"));
    uint32_t fifth = hash_of(&b, 7);
    buf_close(&value);
    EXPECT(down(&b));
    EXPECT(first == 3305255506u && again == first);
    EXPECT(second == 1057817455u);
    EXPECT(compacted == ERR_OK && third == 421667223u && fourth == third);
    EXPECT(before == ERR_COMPACTED && after == ERR_REVISION_FUTURE);
    EXPECT(fifth == 1525899377u);
}

/* Whatever is written and compacted between its steps, it is the hash of when it began. */
TEST(kv_hash_in_steps_is_of_its_beginning)
{
    struct bench b;
    struct kv_stats during, after;
    char key[8];
    bool same = true;
    up(&b);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "k%d", i * 7 % 50);
        i % 9 ? (void)put(&b, span_text(key), SPAN("v")) : (void)del(&b, span_text(key), SPAN_NONE);
    }
    for (int64_t compact = 20; compact <= 60; compact += 20) {
        struct kv_hashing *h;
        CHECK(kv_compact(b.kv, compact) == ERR_OK);
        uint32_t want = hash_of(&b, 100);
        CHECK(kv_hashing_open(b.kv, 100, &h) == ERR_OK);
        CHECK(kv_compact(b.kv, compact + 10) == ERR_OK);
        for (int i = 0; kv_hashing_step(h, 1); i++) {
            snprintf(key, sizeof(key), "k%d", i * 11 % 70);
            put(&b, span_text(key), SPAN("w"));
            same = same && !kv_compact_step(b.kv, 100);
        }
        kv_stats(b.kv, &during);
        same = same && during.pinned && during.pending > 0 && kv_hashing_close(h) == want;
        while (kv_compact_step(b.kv, 1))
            ;
    }
    kv_stats(b.kv, &after);
    EXPECT(down(&b));
    EXPECT(same && !after.pinned && after.pending == 0);
}

TEST(kv_counts_revisions_as_etcd)
{
    struct bench b;
    up(&b);
    int64_t empty = kv_revision(b.kv), nothing = del(&b, SPAN("a"), SPAN_NONE);
    int64_t still = kv_revision(b.kv), one = put(&b, SPAN("a"), SPAN("1"));
    const struct kv_version *v = kv_get(b.kv, SPAN("a"), 0);
    int64_t created = v->create_revision, at_ms = v->updated_at_ms;
    bool mine = span_is(kv_author(b.kv, v), "me");
    put(&b, SPAN("b"), SPAN("1"));
    int64_t two = del(&b, SPAN("\0"), SPAN("\0")), after = kv_revision(b.kv);
    uint32_t sub = b.changes[1].now->sub;
    bool unknown = kv_author(b.kv, b.changes[1].now).len == 0 && b.n == 2;
    enum err at_zero = kv_compact(b.kv, 0), twice = kv_compact(b.kv, 0);
    EXPECT(down(&b));
    EXPECT(empty == 1 && nothing == 0 && still == 1 && one == 2 && created == 2 && at_ms == 7);
    EXPECT(two == 2 && after == 4 && sub == 1 && mine && unknown);
    EXPECT(at_zero == ERR_OK && twice == ERR_COMPACTED);
}

TEST(kv_put_refuses_what_etcd_refuses)
{
    struct bench b;
    up(&b);
    const struct kv_put bad[] = {
        { .key = SPAN_NONE },
        { .key = SPAN("a"), .value = SPAN("1"), .ignore_value = true },
        { .key = SPAN("a"), .lease = 1, .ignore_lease = true },
        { .key = SPAN("a"), .ignore_value = true },
        { .key = SPAN("a"), .ignore_lease = true },
    };
    const enum err want[] = { ERR_KEY_EMPTY, ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED,
                              ERR_KEY_NOT_FOUND, ERR_KEY_NOT_FOUND };
    bool ok = true;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        struct kv_put_result r;
        kv_begin(b.kv, 0, SPAN_NONE);
        ok = ok && kv_put(b.kv, &bad[i], &r) == want[i];
        kv_end(b.kv, &b.changes, &b.n);
        ok = ok && b.n == 0 && kv_revision(b.kv) == 1;
    }
    struct kv_range r = { .key = SPAN("a"), .order = 3 };
    struct kv_range_result found;
    ok = ok && kv_range(b.kv, &r, &b.arena, &found) == ERR_SORT_OPTION;
    r = (struct kv_range){ .key = SPAN("a"), .target = -1 };
    ok = ok && kv_range(b.kv, &r, &b.arena, &found) == ERR_SORT_OPTION;
    r = (struct kv_range){ .key = SPAN_NONE };
    ok = ok && kv_range(b.kv, &r, &b.arena, &found) == ERR_KEY_EMPTY;
    EXPECT(down(&b));
    EXPECT(ok);
}

/* A key that changes all the time: its past is found by halving, and goes from the old end. */
TEST(kv_hot_key)
{
    enum { TIMES = 100000 };
    struct bench b;
    up(&b);
    for (uint32_t i = 0; i < TIMES; i++)
        put(&b, SPAN("hot"), span_of(&i, sizeof(i)));
    bool ok = true;
    for (uint32_t i = 0; ok && i < TIMES; i += 99) {
        const struct kv_version *v = kv_get(b.kv, SPAN("hot"), 2 + (int64_t)i);
        ok = v && v->version == i + 1 && memcmp(v->value, &i, sizeof(i)) == 0;
    }
    struct kv_stats before, after;
    kv_stats(b.kv, &before);
    ok = ok && kv_compact(b.kv, TIMES) == ERR_OK; /* one revision is left after it */
    while (kv_compact_step(b.kv, 1000))
        ok = ok && kv_get(b.kv, SPAN("hot"), TIMES)->version == TIMES - 1;
    kv_stats(b.kv, &after);
    EXPECT(down(&b));
    EXPECT(ok && before.versions == TIMES && after.versions == 2);
    EXPECT(after.used_bytes < 8192 && after.keys == 1);
}

/* A transaction written in short: letters for the ops, (then|else) for an inner transaction.
 * pK puts K, dK deletes K, rKE deletes from K to E, fK from K on, n is an op with nothing in it. */
static const struct kv_op *parse_ops(struct arena *a, const char **text, size_t *n)
{
    struct kv_op *ops = ARENA_ARRAY(a, struct kv_op, 2 * KV_OPS_MAX);
    for (*n = 0; **text && **text != '|' && **text != ')'; ++*n) {
        struct kv_op *op = &ops[*n];
        const char *at = (*text)++;
        if (*at == '(') {
            struct kv_txn *t = ARENA_NEW(a, struct kv_txn);
            t->success = parse_ops(a, text, &t->n_success);
            ++*text;
            t->failure = parse_ops(a, text, &t->n_failure);
            ++*text;
            op->type = KV_OP_TXN;
            op->txn = t;
            continue;
        }
        if (*at == 'n')
            continue;
        struct span key = span_of(at + 1, 1), end = SPAN_NONE;
        if (*at == 'r')
            end = span_of(at + 2, 1);
        else if (*at == 'f')
            end = SPAN("\0");
        *text += *at == 'r' ? 2 : 1;
        op->type = *at == 'p' ? KV_OP_PUT : KV_OP_DELETE;
        if (*at == 'p')
            op->put = (struct kv_put){ .key = key };
        else
            op->del = (struct kv_delete){ .key = key, .range_end = end };
    }
    return ops;
}

static enum err check(struct bench *b, const char *text)
{
    struct kv_txn t = { 0 };
    t.success = parse_ops(&b->arena, &text, &t.n_success);
    enum err e = kv_check_txn(&t, &b->arena);
    struct kv_txn swapped = { .failure = t.success, .n_failure = t.n_success };
    CHECK(kv_check_txn(&swapped, &b->arena) == e);
    arena_reset(&b->arena);
    return e;
}

TEST(kv_check_txn_finds_duplicates_as_etcd)
{
    static const char *const good[] = {
        "", "papb", "dada", "rabpb", "rbapb", "da(pb|)", "(pa|pa)", "(pa|da)", "(da|pa)",
        "(pa|)(da|)",      /* etcd sees the deletes of earlier inner transactions alone */
        "fapb",            /* and not those that have no end */
        "(pa|)(pb|pc)pd", "rac(pc|)", "((pa|pa)|(pa|))",
    };
    static const char *const bad[] = {
        "papa", "pada", "dapa", "racpb", "pbrac", "(papa|)", "(|papa)", "pa(pa|)", "pa(|pa)",
        "(pa|)(pa|)", "(pa|)(|pa)", "(da|)(pa|)", "(|da)(pa|)", "(da|)pa", "da((pa|)|)",
        "((pa|)|)((|pa)|)", "rac(|(|pb))", "(rac|)pb", "rabracpb",
    };
    struct bench b;
    up(&b);
    const char *wrong = NULL;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (check(&b, good[i]) != ERR_OK)
            wrong = good[i];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (check(&b, bad[i]) != ERR_KEY_DUPLICATE)
            wrong = bad[i];
    enum err nothing = check(&b, "pan"), inner = check(&b, "(n|)");
    if (wrong)
        printf("%s\n", wrong);
    EXPECT(down(&b));
    EXPECT(!wrong && nothing == ERR_KEY_NOT_FOUND && inner == ERR_KEY_NOT_FOUND);
}

/* Inner transactions draw on what the outer ones leave of the ops, and so nest only so deep. */
TEST(kv_check_txn_bounds_ops)
{
    enum { DEEP = KV_OPS_MAX };
    struct bench b;
    up(&b);
    struct kv_txn *levels = ARENA_ARRAY(&b.arena, struct kv_txn, DEEP + 2);
    struct kv_op *ops = ARENA_ARRAY(&b.arena, struct kv_op, DEEP + 2);
    for (size_t i = 0; i <= DEEP; i++) {
        ops[i] = (struct kv_op){ .type = KV_OP_TXN, .txn = &levels[i + 1] };
        levels[i] = (struct kv_txn){ .success = &ops[i], .n_success = 1 };
    }
    enum err too_deep = kv_check_txn(&levels[0], &b.arena);
    enum err just = kv_check_txn(&levels[1], &b.arena);
    struct kv_op *many = ARENA_ARRAY(&b.arena, struct kv_op, KV_OPS_MAX + 1);
    for (size_t i = 0; i <= KV_OPS_MAX; i++)
        many[i] = (struct kv_op){ .type = KV_OP_RANGE, .range = { .key = SPAN("a") } };
    struct kv_txn wide = { .failure = many, .n_failure = KV_OPS_MAX };
    enum err most = kv_check_txn(&wide, &b.arena);
    wide.n_failure++;
    enum err more = kv_check_txn(&wide, &b.arena);
    bool reads = !kv_txn_writes(&wide) && kv_txn_writes(&levels[0]);
    EXPECT(down(&b));
    EXPECT(too_deep == ERR_TOO_MANY_OPS && just == ERR_OK);
    EXPECT(most == ERR_OK && more == ERR_TOO_MANY_OPS && reads);
}

/* Against the definition: two touches, and where in the transaction they stand. */
struct place {
    char op;
    char key, end;
    uint8_t way[4]; /* op number and branch, level by level */
    int depth;
};

static bool touches(const struct place *d, const struct place *p)
{
    return d->end ? d->key <= p->key && p->key < d->end : d->key == p->key;
}

static bool clash(const struct place *a, const struct place *b)
{
    int i = 0;
    while (i < a->depth && i < b->depth && a->way[i] == b->way[i])
        i++;
    bool inner_a = i < a->depth, inner_b = i < b->depth;
    if (inner_a && inner_b && a->way[i] / 2 == b->way[i] / 2)
        return false; /* then and else of the same transaction */
    if (a->op == 'p' && b->op == 'p')
        return a->key == b->key;
    const struct place *d = a->op == 'd' ? a : b, *p = a->op == 'd' ? b : a;
    if (d->op != 'd' || p->op != 'p' || !touches(d, p))
        return false;
    return !(inner_a && inner_b) || d->way[i] < p->way[i];
}

static const struct kv_op *grow(struct bench *b, struct prng *r, struct place *at, size_t *n,
                                struct place *all, size_t *n_all)
{
    static const char letters[] = "abcdefghij";
    *n = prng_below(r, 4);
    struct kv_op *ops = ARENA_ARRAY(&b->arena, struct kv_op, *n);
    for (size_t i = 0; i < *n; i++) {
        uint64_t roll = prng_below(r, at->depth < 3 ? 5 : 3), k = prng_below(r, 9);
        struct place here = *at;
        if (roll > 2) {
            struct kv_txn *t = ARENA_NEW(&b->arena, struct kv_txn);
            here.way[here.depth++] = (uint8_t)(2 * i);
            t->success = grow(b, r, &here, &t->n_success, all, n_all);
            here.way[here.depth - 1]++;
            t->failure = grow(b, r, &here, &t->n_failure, all, n_all);
            ops[i] = (struct kv_op){ .type = KV_OP_TXN, .txn = t };
            continue;
        }
        here.key = letters[k];
        here.op = roll ? 'p' : 'd';
        bool wide = roll == 0 && prng_below(r, 2);
        here.end = wide ? letters[k + 1 + prng_below(r, 9 - k)] : 0;
        all[(*n_all)++] = here;
        struct span key = span_of(&letters[k], 1);
        struct span end = wide ? span_of(&letters[here.end - 'a'], 1) : SPAN_NONE;
        ops[i].type = roll ? KV_OP_PUT : KV_OP_DELETE;
        if (roll)
            ops[i].put = (struct kv_put){ .key = key };
        else
            ops[i].del = (struct kv_delete){ .key = key, .range_end = end };
    }
    return ops;
}

TEST(kv_check_txn_agrees_with_its_definition)
{
    enum { ROUNDS = 5000, PLACES = 2000 };
    static struct place all[PLACES];
    struct bench b;
    struct prng r = { 5 };
    up(&b);
    int wrong = 0, duplicates = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct kv_txn t = { 0 };
        struct place top = { .depth = 0 };
        size_t n = 0;
        t.success = grow(&b, &r, &top, &t.n_success, all, &n);
        bool want = false;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                want = want || clash(&all[i], &all[j]);
        wrong += kv_check_txn(&t, &b.arena) != (want ? ERR_KEY_DUPLICATE : ERR_OK);
        duplicates += want;
        arena_reset(&b.arena);
    }
    EXPECT(down(&b));
    EXPECT(wrong == 0 && duplicates > ROUNDS / 10 && duplicates < ROUNDS * 9 / 10);
}

static bool any_lease(void *context, int64_t lease)
{
    (void)context;
    return lease > 0;
}

/* A transaction fails whole, or its reads see its writes. */
TEST(kv_txn_is_whole)
{
    struct bench b;
    struct kv_txn_result r;
    up(&b);
    put(&b, SPAN("a"), SPAN("1"));
    struct kv_op ops[] = {
        { .type = KV_OP_PUT, .put = { .key = SPAN("b"), .value = SPAN("2") } },
        { .type = KV_OP_RANGE, .range = { .key = SPAN("a"), .range_end = SPAN("z") } },
        { .type = KV_OP_RANGE, .range = { .key = SPAN("b"), .revision = 2 } },
        { .type = KV_OP_RANGE, .range = { .key = SPAN("b"), .revision = -1 } },
        { .type = KV_OP_PUT, .put = { .key = SPAN("c"), .lease = -5 } },
    };
    struct kv_txn t = { .success = ops, .n_success = 5 };
    kv_begin(b.kv, 0, SPAN_NONE);
    enum err lease = kv_txn(b.kv, &t, any_lease, NULL, &b.arena, &r);
    t.n_success = 4;
    ops[2].range.revision = 3;
    enum err future = kv_txn(b.kv, &t, any_lease, NULL, &b.arena, &r);
    ops[2].range.revision = 2;
    enum err fine = kv_txn(b.kv, &t, any_lease, NULL, &b.arena, &r);
    size_t now = r.ops[1].range.n, past = r.ops[2].range.n, below = r.ops[3].range.n;
    int64_t revision = r.ops[1].revision;
    kv_end(b.kv, &b.changes, &b.n);
    EXPECT(down(&b));
    EXPECT(lease == ERR_LEASE_NOT_FOUND && future == ERR_REVISION_FUTURE && fine == ERR_OK);
    EXPECT(now == 2 && past == 0 && below == 1 && revision == 3 && b.n == 1);
}

TEST(kv_authors_are_bounded)
{
    struct alloc heap;
    struct kv_authors a;
    uint8_t name[AUTHOR_BYTES_MAX + 1];
    memset(name, 'x', sizeof(name));
    alloc_heap(&heap);
    kv_authors_open(&a, &heap);
    bool ok = kv_authors_number(&a, span_of(name, sizeof(name))) == 0;
    for (uint32_t i = 0; i < AUTHORS_MAX; i++)
        ok = ok && kv_authors_number(&a, span_of(&i, sizeof(i))) == i + 1;
    ok = ok && kv_authors_number(&a, SPAN("new")) == 0;
    uint32_t third = 3;
    ok = ok && kv_authors_number(&a, span_of(&third, sizeof(third))) == 4;
    kv_authors_close(&a);
    EXPECT(ok && heap.used == 0);
}
