#include "base/check.h"
#include "base/test.h"
#include "core/flag/flag.h"
#include <dirent.h>
#include <stdlib.h>

struct bench {
    struct alloc heap;
    struct arena arena;
    uint8_t *scratch;
    char why[FLAG_WHY_MAX];
};

static void open_all(struct bench *t)
{
    alloc_heap(&t->heap);
    arena_open(&t->arena, &t->heap);
    t->scratch = mem_alloc(&t->heap, FLAG_SCRATCH_BYTES);
}

static bool close_all(struct bench *t)
{
    arena_close(&t->arena);
    mem_free(&t->heap, t->scratch, FLAG_SCRATCH_BYTES);
    return t->heap.used == 0;
}

static struct fval read_json(struct bench *t, struct span text)
{
    struct fval v;
    CHECK(fval_read(text, &t->arena, &v, t->why) == ERR_OK);
    return v;
}

/* ---- rules ---- */

static bool rule_gives(struct bench *t, const struct fval *test)
{
    static const struct fval nothing = { .type = FVAL_NULL };
    const struct fval *rule = fval_find(test, SPAN("rule")), *data = fval_find(test, SPAN("data"));
    const struct fval *result = fval_find(test, SPAN("result"));
    const struct fval *error = fval_find(test, SPAN("error"));
    const struct rule *compiled;
    struct fval got;
    if (!rule || (!result && !error) ||
        rule_compile(rule, NULL, &t->arena, &compiled, t->why) != ERR_OK)
        return false;
    bool ok = rule_run(compiled, data ? data : &nothing, t->scratch, &got);
    return ok == (result != NULL) && fval_same(result ? result : error, &got);
}

static void show(struct bench *t, const struct fval *test)
{
    struct buf b;
    buf_open(&b, &t->heap);
    fval_write(test, &b);
    printf("  fails: %.*s\n", (int)b.len, (const char *)b.data);
    buf_close(&b);
}

static struct span read_file(struct bench *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f);
    char *text = arena_alloc(&t->arena, FLAG_BYTES_MAX);
    size_t n = fread(text, 1, FLAG_BYTES_MAX, f);
    (void)fclose(f);
    return span_of(text, n);
}

/* The cases of one folder of json-logic/compat-tables that hold, and how many there are. */
static void run_folder(struct bench *t, const char *folder, int *held, int *all)
{
    DIR *d = opendir(folder);
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[1024];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            run_folder(t, path, held, all);
        if (!strstr(e->d_name, ".json"))
            continue;
        struct fval cases = read_json(t, read_file(t, path));
        for (uint32_t i = 0; i < cases.n; i++) {
            if (cases.items[i].type != FVAL_OBJECT && cases.items[i].type != FVAL_LIST)
                continue;
            bool ok = cases.items[i].type == FVAL_OBJECT && rule_gives(t, &cases.items[i]);
            *held += ok;
            (*all)++;
            if (!ok && getenv("FLAG_SHOW"))
                printf("%s", e->d_name), show(t, &cases.items[i]);
        }
    }
    (void)closedir(d);
}

/* FLAG_SUITE: the folder suites of json-logic/compat-tables. */
TEST(flag_rules_of_the_public_suite)
{
    struct bench t;
    int held = 0, all = 0;
    const char *suite = getenv("FLAG_SUITE");
    if (!suite)
        return;
    open_all(&t);
    run_folder(&t, suite, &held, &all);
    printf("json-logic: %d of %d\n", held, all);
    EXPECT(all > 1000 && held == all);
    EXPECT(close_all(&t));
}

/* ---- bucketing: vectors that their makers published ---- */

TEST(flag_murmur3_at_its_edges)
{
    EXPECT(flag_murmur3(SPAN("ejOoVL"), 0) == 0 && flag_murmur3(SPAN("bY9fO-"), 0) == 1);
    EXPECT(flag_murmur3(SPAN("SI7p-"), 0) == 0x7fffffff);
    EXPECT(flag_murmur3(SPAN("6LvT0"), 0) == 0x80000000);
    EXPECT(flag_murmur3(SPAN("ceQdGm"), 0) == 0xffffffff);
}

TEST(flag_buckets)
{
    static const struct {
        enum flag_bucketing how;
        const char *seed, *salt, *value;
        double total, expected;
    } table[] = {
        { BUCKET_FLAGD2, "", "", "ejOoVL", 100, 0 },
        { BUCKET_FLAGD2, "", "", "ceQdGm", 100, 99 },
        { BUCKET_UNLEASH, "gr1", "", "123", 100, 72 }, /* theirs count from 1 */
        { BUCKET_UNLEASH, "groupX", "", "999", 100, 24 },
        { BUCKET_LAUNCHDARKLY, "hashKey", "saltyA", "userKeyA", 1, 0.42157587 },
        { BUCKET_LAUNCHDARKLY, "hashKey", "saltyA", "userKeyB", 1, 0.6708485 },
        { BUCKET_LAUNCHDARKLY, "hashKey", "saltyA", "userKeyC", 1, 0.10343106 },
        { BUCKET_LAUNCHDARKLY, "61", "", "userKeyA", 1, 0.09801207 },
        { BUCKET_GROWTHBOOK1, "", "", "a", 1, 0.22 },
        { BUCKET_GROWTHBOOK1, "", "", "b", 1, 0.077 },
        { BUCKET_GROWTHBOOK1, "b", "", "a", 1, 0.946 },
        { BUCKET_GROWTHBOOK2, "seed", "", "a", 1, 0.0505 },
        { BUCKET_GROWTHBOOK2, "seed", "", "b", 1, 0.2696 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        double got = flag_bucket(table[i].how, span_text(table[i].seed), span_text(table[i].salt),
                                 span_text(table[i].value), table[i].total);
        double off = got - table[i].expected;
        EXPECT(off < 1e-6 && off > -1e-6);
    }
}

/* ---- flags ---- */

static struct flag_result ask(struct bench *t, const char *definition, const char *context,
                              struct buf *explain)
{
    const struct flag *flag;
    struct flag_result r;
    struct fval values = read_json(t, span_text(context));
    CHECK(flag_compile(SPAN("f"), span_text(definition), NULL, &t->arena, &flag, t->why) == ERR_OK);
    struct flag_context c = { .values = &values, .scratch = t->scratch, .explain = explain };
    flag_evaluate(flag, &c, &r);
    return r;
}

TEST(flag_operations_of_flagd)
{
    static const struct {
        const char *rule, *variant;
    } table[] = {
        { "{\"sem_ver\":[\"1.2.3\",\"^\",\"1.9\"]}", "true" },
        { "{\"sem_ver\":[\"v1.2.3\",\"~\",\"1.3.0\"]}", "false" },
        { "{\"sem_ver\":[\"1.0.0-rc.2\",\"<\",\"1.0.0-rc.10\"]}", "true" },
        { "{\"sem_ver\":[\"1.0.0\",\">\",\"1.0.0-rc.1\"]}", "true" },
        { "{\"sem_ver\":[\"1.0.0+a\",\"=\",\"1.0.0+b\"]}", "true" },
        { "{\"sem_ver\":[\"x\",\"=\",\"x\"]}", "none" },
        { "{\"starts_with\":[\"abc\",\"ab\"]}", "true" },
        { "{\"ends_with\":[\"abc\",\"ab\"]}", "false" },
        { "{\"ends_with\":[1,\"ab\"]}", "none" },
        { "{\"starts_with\":[\"ab\"]}", "none" },
        { "{\"starts_with\":[\"a\",\"ab\"]}", "false" },
        { "{\"sem_ver\":[\"1.2.3\",\"=\"]}", "none" },
        { "{\"==\":[{\"var\":\"$flagd.flagKey\"},\"f\"]}", "true" },
        { "{\"==\":[{\"var\":\"not.there\"},\"f\"]}", "false" },
        { "{\"fractional\":[\"ceQdGm\",[\"true\",1],[\"false\",1]]}", "false" },
        { "{\"fractional\":[\"ejOoVL\",[\"true\",1],[\"false\",1]]}", "true" },
        { "{\"fractional\":[[\"true\",1]]}", "none" }, /* nobody to bucket */
    };
    struct bench t;
    open_all(&t);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf b;
        buf_open(&b, &t.heap);
        buf_format(&b,
                   "{\"variants\":{\"true\":1,\"false\":2,\"none\":3},\"defaultVariant\":\"none\","
                   "\"targeting\":%s}%c",
                   table[i].rule, 0);
        struct flag_result r = ask(&t, (const char *)b.data, "{}", NULL);
        bool as_said = span_is(r.variant, table[i].variant);
        buf_close(&b);
        EXPECT(as_said);
    }
    EXPECT(close_all(&t));
}

TEST(flag_rules_that_would_run_away)
{
    static const char loops[] =
        "{\"variants\":{\"a\":1},\"targeting\":{\"map\":[{\"var\":\"l\"},{\"map\":[{\"val\":[[2],"
        "\"l\"]},{\"map\":[{\"val\":[[4],\"l\"]},{\"all\":[{\"val\":[[6],\"l\"]},true]}]}]}]}}";
    struct bench t;
    struct buf list;
    open_all(&t);
    buf_open(&list, &t.heap);
    buf_text(&list, "{\"l\":[1");
    for (int i = 0; i < 200; i++)
        buf_text(&list, ",1");
    buf_put(&list, "]}", 3);
    struct flag_result r = ask(&t, loops, (const char *)list.data, NULL);
    EXPECT(r.reason == FLAG_FAILED && r.error == FLAG_GENERAL && !r.value.len);
    buf_close(&list);
    EXPECT(close_all(&t));
}

TEST(flag_steps_of_one_answer)
{
    static const char rule[] =
        "{\"variants\":{\"a\":1},\"targeting\":{\"if\":[{\"==\":[1,2]},\"a\","
        "\"a\"]}}";
    struct bench t;
    const struct flag *flag;
    struct flag_result r;
    int64_t steps = 12;
    int done = 0;
    open_all(&t);
    struct flag_context c = { .scratch = t.scratch, .steps = &steps };
    EXPECT(flag_compile(SPAN("f"), span_text(rule), NULL, &t.arena, &flag, t.why) == ERR_OK);
    for (flag_evaluate(flag, &c, &r); r.reason == FLAG_TARGETED; flag_evaluate(flag, &c, &r))
        done++;
    EXPECT(done == 2 && r.reason == FLAG_FAILED && r.error == FLAG_GENERAL && steps == 0);
    EXPECT(close_all(&t));
}

TEST(flag_json_that_is_refused)
{
    static const char *const texts[] = { "",      "{",           "[1,",     "{\"a\":}", "01",
                                         "1.",    "\"\\ud800\"", "\"\\q\"", "nul",      "1 2",
                                         "1e999", "\"\n\"",      "{1:2}" };
    struct bench t;
    struct fval v;
    open_all(&t);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        EXPECT(fval_read(span_text(texts[i]), &t.arena, &v, t.why) == ERR_BODY_NOT_JSON);
    char deep[FLAG_DEPTH_MAX + 2];
    memset(deep, '[', sizeof(deep));
    EXPECT(fval_read(span_of(deep, sizeof(deep)), &t.arena, &v, t.why) == ERR_BODY_NOT_JSON);
    v = read_json(&t, SPAN("\"\\ud83d\\ude00\\n\""));
    EXPECT(span_is(fval_span(&v), "\xf0\x9f\x98\x80\n"));
    EXPECT(close_all(&t));
}
