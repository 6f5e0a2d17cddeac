/* The checker itself: histories known to be good and bad, and small random ones against trying
 * every order. */
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/prng.h"
#include "base/test.h"
#include "linear.h"

enum { SMALL = 6, SMALL_RUNS = 4000, BIG_RUNS = 30, BIG_OPS = 400, CLIENTS = 6 };

static struct alloc heap;

static enum linear_verdict verdict_of(const char *text)
{
    struct linear l;
    struct buf why;
    enum linear_verdict v = LINEAR_UNDECIDED;
    alloc_heap(&heap);
    linear_open(&l, &heap);
    buf_open(&why, &heap);
    if (linear_read(&l, span_text(text), &why) == ERR_OK)
        v = linear_check(&l, 100000, &why);
    buf_close(&why);
    linear_close(&l);
    CHECK(heap.used == 0);
    return v;
}

TEST(linear_good_histories)
{
    EXPECT(verdict_of("") == LINEAR_YES);
    EXPECT(verdict_of("# nothing\n\n1 get k - 1 2 ok -\n") == LINEAR_YES);
    EXPECT(verdict_of("1 put k a 1 9 ok -\n2 get k - 2 3 ok a\n3 get k - 2 3 ok -\n") ==
           LINEAR_YES);
    EXPECT(verdict_of("1 put k a 1 2 ok -\n1 cas k a>b 3 4 ok 1\n1 cas k a>c 5 6 ok b\n"
                      "1 cas k a>c 5 6 ok !\n1 delete k - 7 8 ok 1\n1 delete k - 9 10 ok 0\n"
                      "1 cas k ->d 11 12 ok 1\n1 get k - 13 14 ok d\n") == LINEAR_YES);
    /* What ends when the other begins overlaps it. */
    EXPECT(verdict_of("1 put k a 1 5 ok -\n2 get k - 0 1 ok a\n") == LINEAR_YES);
    /* Keys do not know each other. */
    EXPECT(verdict_of("1 put k a 1 2 ok -\n2 get j - 3 4 ok -\n") == LINEAR_YES);
}

TEST(linear_bad_histories)
{
    EXPECT(verdict_of("1 put k a 1 2 ok -\n2 get k - 3 4 ok -\n") == LINEAR_NO);
    EXPECT(verdict_of("2 get k - 3 4 ok a\n1 put k a 5 6 ok -\n") == LINEAR_NO);
    /* New, then old again. */
    EXPECT(verdict_of("1 put k a 1 2 ok -\n1 put k b 3 9 ok -\n2 get k - 4 5 ok b\n"
                      "3 get k - 6 7 ok a\n") == LINEAR_NO);
    EXPECT(verdict_of("1 put k a 1 2 ok -\n2 cas k a>b 3 6 ok 1\n3 cas k a>c 3 6 ok 1\n") ==
           LINEAR_NO);
    EXPECT(verdict_of("1 delete k - 1 2 ok 1\n") == LINEAR_NO);
    EXPECT(verdict_of("1 put k a 1 2 fail -\n1 get k - 3 4 ok a\n") == LINEAR_NO);
    EXPECT(verdict_of("1 put k a 1 2 ok -\n2 get j - 3 4 ok b\n") == LINEAR_NO);
}

TEST(linear_unknown_outcomes)
{
    EXPECT(verdict_of("1 put k a 1 - unknown -\n2 get k - 3 4 ok -\n") == LINEAR_YES);
    EXPECT(verdict_of("1 put k a 1 - unknown -\n2 get k - 3 4 ok -\n2 get k - 5 6 ok a\n") ==
           LINEAR_YES);
    EXPECT(verdict_of("1 put k a 1 - unknown -\n2 get k - 3 4 ok a\n2 get k - 5 6 ok -\n") ==
           LINEAR_NO);
    EXPECT(verdict_of("1 put k a 5 - unknown -\n2 get k - 3 4 ok a\n") == LINEAR_NO);
    EXPECT(verdict_of("1 put k a 1 2 ok -\n1 delete k - 3 - unknown -\n2 get k - 4 5 ok -\n") ==
           LINEAR_YES);
    EXPECT(verdict_of("1 cas k ->a 1 - unknown -\n2 get k - 4 5 ok a\n2 put k b 6 7 ok -\n"
                      "2 get k - 8 9 ok a\n") == LINEAR_NO);
    /* Once only. */
    EXPECT(verdict_of("1 put k a 1 - unknown -\n2 get k - 3 4 ok a\n2 put k b 5 6 ok -\n"
                      "2 get k - 7 8 ok a\n") == LINEAR_NO);
}

TEST(linear_text)
{
    static const char *const bad[] = {
        "1 put k a 1 2 ok",        "1 put k a 1 2 ok - -",  "x put k a 1 2 ok -",
        "1 put k - 1 2 ok -",      "1 put k a 3 2 ok -",    "1 put k a 1 - ok -",
        "1 put k a 1 2 unknown -", "1 get k a 1 2 ok -",    "1 cas k a 1 2 ok 1",
        "1 cas k a>1 1 2 ok 1",    "1 delete k - 1 2 ok -", "1 get k - 1 2 fail a",
        "1 move k a 1 2 ok -",     "1 put  a 1 2 ok -",
    };
    struct linear l;
    struct buf why, out;
    alloc_heap(&heap);
    linear_open(&l, &heap);
    buf_open(&why, &heap);
    buf_open(&out, &heap);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        EXPECT(linear_read(&l, span_text(bad[i]), &why) == ERR_BAD_REQUEST);
    EXPECT(l.ops.n == 0);
    struct span good =
        SPAN("1 put k a 1 2 ok -\n7 cas k a>b 3 - unknown -\n2 get j - 3 4 fail -\n");
    EXPECT(linear_read(&l, good, &why) == ERR_OK);
    for (size_t i = 0; i < l.ops.n; i++)
        linear_write(&l.ops.items[i], &out);
    EXPECT(span_equal(buf_all(&out), good));
    buf_close(&why);
    buf_close(&out);
    linear_close(&l);
    CHECK(heap.used == 0);
}

/* ---- against a plain trial of every order ---- */

struct model {
    struct linear_op ops[SMALL];
    char texts[SMALL][2][8];
    int n;
};

static char letter(struct prng *p)
{
    return (char)('a' + prng_below(p, 2));
}

static void random_op(struct prng *p, struct model *m)
{
    int i = m->n++;
    char *value = m->texts[i][0], *result = m->texts[i][1];
    struct linear_op *op = &m->ops[i];
    char now = prng_below(p, 3) ? letter(p) : '-';
    op->type = (enum linear_type)prng_below(p, LINEAR_TYPES);
    op->outcome = prng_below(p, 4) ? LINEAR_OK : LINEAR_UNKNOWN;
    op->invoke_us = (int64_t)prng_below(p, 12);
    op->return_us = op->invoke_us + (int64_t)prng_below(p, 6);
    strcpy(value, "-");
    strcpy(result, "-");
    if (op->type == LINEAR_PUT)
        value[0] = letter(p);
    if (op->type == LINEAR_CAS)
        snprintf(value, 8, "%c>%c", now, letter(p));
    if (op->type == LINEAR_GET)
        result[0] = now;
    if (op->type == LINEAR_DELETE)
        result[0] = (char)('0' + prng_below(p, 2));
    if (op->type == LINEAR_CAS)
        result[0] = "1!-ab"[prng_below(p, 5)];
    op->key = SPAN("k");
    op->value = span_text(value);
    op->result = op->outcome == LINEAR_OK ? span_text(result) : SPAN("-");
}

/* The value as one letter, '-' for absent; 0: does not fit. */
static char apply(const struct linear_op *op, char value)
{
    bool ok = op->outcome == LINEAR_OK;
    char arg = (char)op->value.data[0], result = (char)op->result.data[0];
    switch (op->type) {
    case LINEAR_PUT:
        return arg;
    case LINEAR_GET:
        return !ok || result == value ? value : 0;
    case LINEAR_DELETE:
        return !ok || (result == '1') == (value != '-') ? '-' : 0;
    case LINEAR_CAS:
        if (arg == value)
            return !ok || result == '1' ? (char)op->value.data[2] : 0;
        return !ok || result == '!' || result == value ? value : 0;
    case LINEAR_TYPES:
        break;
    }
    return 0;
}

static bool try_all(const struct model *m, unsigned done, char value)
{
    bool all = true;
    for (int i = 0; i < m->n; i++)
        all = all && (done >> i & 1 || m->ops[i].outcome == LINEAR_UNKNOWN);
    if (all)
        return true;
    for (int i = 0; i < m->n; i++) {
        bool may = !(done >> i & 1);
        for (int k = 0; k < m->n && may; k++)
            may = done >> k & 1 || m->ops[k].outcome == LINEAR_UNKNOWN ||
                  m->ops[k].return_us >= m->ops[i].invoke_us;
        char after = may ? apply(&m->ops[i], value) : 0;
        if (after && try_all(m, done | 1u << i, after))
            return true;
    }
    return false;
}

TEST(linear_same_as_trying_every_order)
{
    struct prng p = { 42 };
    int yes = 0;
    for (int run = 0; run < SMALL_RUNS; run++) {
        struct model m = { .n = 0 };
        struct linear l;
        struct buf why;
        alloc_heap(&heap);
        linear_open(&l, &heap);
        buf_open(&why, &heap);
        for (uint64_t n = 1 + prng_below(&p, SMALL); n > 0; n--)
            random_op(&p, &m);
        for (int i = 0; i < m.n; i++)
            linear_add(&l, &m.ops[i]);
        bool good = try_all(&m, 0, '-');
        enum linear_verdict v = linear_check(&l, 0, &why);
        EXPECT(v == (good ? LINEAR_YES : LINEAR_NO));
        yes += good;
        buf_close(&why);
        linear_close(&l);
    }
    EXPECT(yes > SMALL_RUNS / 10 && yes < SMALL_RUNS * 9 / 10);
}

/* ---- long ones, made by a register that is linearizable, then spoilt ---- */

static void long_history(struct prng *p, struct linear *l, bool spoil)
{
    int64_t free_us[CLIENTS] = { 0 };
    uint64_t value = 0, spoilt = BIG_OPS / 2 + prng_below(p, BIG_OPS / 4);
    char texts[3][24];
    for (uint64_t i = 1; i < BIG_OPS; i++) {
        int64_t now = (int64_t)i * 10;
        uint64_t c = prng_below(p, CLIENTS);
        if (free_us[c] > now)
            continue;
        bool read = prng_below(p, 2) || i == spoilt, lost = !read && prng_below(p, 8) == 0;
        struct linear_op op = { .client = c, .key = SPAN("k") };
        op.type = read ? LINEAR_GET : LINEAR_PUT;
        op.invoke_us = now - (int64_t)prng_below(p, (uint64_t)(now - free_us[c]) + 1);
        op.return_us = free_us[c] = now + (int64_t)prng_below(p, 80);
        op.outcome = lost ? LINEAR_UNKNOWN : LINEAR_OK;
        snprintf(texts[0], sizeof(texts[0]), "v%llu", (unsigned long long)i);
        snprintf(texts[1], sizeof(texts[1]), value ? "v%llu" : "-", (unsigned long long)value);
        snprintf(texts[2], sizeof(texts[2]), "never%llu", (unsigned long long)i);
        op.value = read ? SPAN("-") : span_text(texts[0]);
        op.result = !read ? SPAN("-") : span_text(spoil && i >= spoilt ? texts[2] : texts[1]);
        if (!read && (!lost || prng_below(p, 2)))
            value = i;
        linear_add(l, &op);
    }
}

TEST(linear_long_histories)
{
    for (uint64_t seed = 0; seed < BIG_RUNS; seed++) {
        struct prng p = { seed };
        struct linear l;
        struct buf why;
        bool spoil = seed % 5 == 0;
        alloc_heap(&heap);
        linear_open(&l, &heap);
        buf_open(&why, &heap);
        long_history(&p, &l, spoil);
        enum linear_verdict v = linear_check(&l, 1000000, &why);
        EXPECT(spoil ? v != LINEAR_YES : v == LINEAR_YES);
        buf_close(&why);
        linear_close(&l);
        CHECK(heap.used == 0);
    }
}
