#include "base/check.h"
#include "base/test.h"
#include "core/flagset/flagset.h"
#include <stdio.h>
#include <stdlib.h>

struct bench {
    struct alloc heap, flags;
    struct arena arena;
    struct kv *kv;
    struct flagsets *f;
    uint64_t compiled, evaluated, evicted;
};

/* Here the record of an environment is its parent's name. */
static size_t heirs(const struct kv *kv, struct span environment, struct arena *arena,
                    struct span out[FLAGSET_LEVELS_MAX])
{
    size_t n = 0;
    const struct kv_version *v;
    do {
        char key[64];
        out[n++] = environment;
        snprintf(key, sizeof(key), FLAGSET_ENVIRONMENTS "%.*s", (int)environment.len,
                 (const char *)environment.data);
        v = kv_get(kv, span_text(key), 0);
        environment = v ? arena_copy(arena, kv_value(v)) : SPAN_NONE;
    } while (v && n < FLAGSET_LEVELS_MAX);
    return n;
}

static void open_all(struct bench *t, size_t bytes_max)
{
    *t = (struct bench){ .compiled = 0 };
    alloc_heap(&t->heap);
    alloc_heap(&t->flags);
    arena_open(&t->arena, &t->heap);
    t->kv = kv_open(&t->heap);
    struct flagset_counts counts = { &t->compiled, &t->evaluated, &t->evicted };
    t->f = flagsets_open(&t->flags, bytes_max, counts, heirs);
}

static bool close_all(struct bench *t)
{
    flagsets_close(t->f);
    kv_close(t->kv);
    arena_close(&t->arena);
    return t->heap.used == 0 && t->flags.used == 0;
}

static void told(struct bench *t)
{
    const struct kv_change *changes;
    size_t n;
    kv_end(t->kv, &changes, &n);
    flagsets_changed(t->f, changes, n);
}

static void put(struct bench *t, const char *key, const char *value)
{
    struct kv_put p = { .key = span_text(key), .value = span_text(value), .type = KV_JSON };
    struct kv_put_result r;
    kv_begin(t->kv, 1, SPAN("a"));
    CHECK(kv_put(t->kv, &p, &r) == ERR_OK);
    told(t);
}

static void del(struct bench *t, const char *key)
{
    struct kv_delete d = { .key = span_text(key) };
    struct kv_delete_result r;
    kv_begin(t->kv, 1, SPAN("a"));
    CHECK(kv_delete(t->kv, &d, &t->arena, &r) == ERR_OK);
    told(t);
}

/* The value, "none" without one, "?" when there is no such flag. */
static bool gives(struct bench *t, const char *environment, const char *name, const char *expected)
{
    static const struct fval nobody = { .type = FVAL_OBJECT };
    struct flagset *s = flagsets_get(t->f, t->kv, span_text(environment));
    struct flag_context c = { .values = &nobody };
    struct flag_result r;
    if (!flagset_evaluate_named(s, span_text(name), &c, &r))
        return strcmp(expected, "?") == 0;
    return span_is(r.value.len ? r.value : SPAN("none"), expected);
}

#define ON "{\"variants\":{\"a\":1,\"b\":2},\"defaultVariant\":\"a\"}"
#define OFF "{\"variants\":{\"a\":1,\"b\":2},\"defaultVariant\":\"b\"}"

TEST(flagset_is_compiled_once_and_follows_changes)
{
    struct bench t;
    open_all(&t, 1 << 20);
    put(&t, "confman/flag/e/one", ON);
    EXPECT(gives(&t, "e", "one", "1") && gives(&t, "e", "one", "1") && t.compiled == 1);
    put(&t, "confman/flag/e/one", OFF);
    EXPECT(gives(&t, "e", "one", "2") && t.compiled == 2);
    put(&t, "confman/flag/e/two", ON);
    put(&t, "confman/flag/e/0", OFF);
    put(&t, "confman/flag/f/two", OFF);
    EXPECT(gives(&t, "e", "two", "1") && gives(&t, "e", "0", "2") && gives(&t, "f", "two", "2"));
    EXPECT(gives(&t, "e", "one", "2") && t.compiled == 5);
    del(&t, "confman/flag/e/one");
    EXPECT(gives(&t, "e", "one", "?") && gives(&t, "e", "0", "2"));
    struct flagset *s = flagsets_get(t.f, t.kv, SPAN("e"));
    EXPECT(flagset_count(s) == 2 && span_is(flagset_name(s, 0), "0"));
    EXPECT(flagset_revision(s, 1) == 4 && flagsets_count(t.f) == 2);
    put(&t, "confman/flag/e/two", "{");
    EXPECT(gives(&t, "e", "two", "none"));
    flagsets_forget(t.f);
    EXPECT(flagsets_count(t.f) == 0 && gives(&t, "e", "0", "2"));
    EXPECT(close_all(&t));
}

TEST(flagset_shared_rules_and_prerequisites)
{
    struct bench t;
    open_all(&t, 1 << 20);
    put(&t, "confman/flag/e/one",
        "{\"variants\":{\"a\":1,\"b\":2},\"defaultVariant\":\"a\",\"targeting\":{\"if\":[{\"$ref\":"
        "\"r\"},\"b\"]}}");
    put(&t, "confman/flagset/e", "{\"$evaluators\":{\"r\":{\"==\":[1,1]}}}");
    EXPECT(gives(&t, "e", "one", "2"));
    put(&t, "confman/flagset/e", "{\"$evaluators\":{\"r\":{\"==\":[1,2]}}}");
    EXPECT(gives(&t, "e", "one", "1"));
    put(&t, "confman/flag/e/top",
        "{\"variants\":{\"a\":1,\"b\":2},\"defaultVariant\":\"a\",\"targeting\":{\"if\":[true,"
        "\"b\"]"
        "},\"prerequisites\":[{\"flag\":\"one\",\"variant\":\"b\"}]}");
    EXPECT(gives(&t, "e", "top", "1"));
    put(&t, "confman/flag/e/one", OFF);
    EXPECT(gives(&t, "e", "top", "2"));
    del(&t, "confman/flagset/e");
    EXPECT(gives(&t, "e", "top", "2"));
    EXPECT(close_all(&t));
}

TEST(flagset_bounds)
{
    struct bench t;
    char key[64];
    open_all(&t, 16 << 20);
    for (int i = 0; i < FLAGSETS_MAX + 10; i++) {
        (void)snprintf(key, sizeof(key), "e%d", i);
        EXPECT(gives(&t, key, "one", "?"));
    }
    EXPECT(flagsets_count(t.f) == FLAGSETS_MAX && t.evicted == 10);
    EXPECT(close_all(&t));

    open_all(&t, 1 << 20);
    for (int i = 0; i <= FLAGSET_FLAGS_MAX; i++) {
        (void)snprintf(key, sizeof(key), "confman/flag/e/%05d", i);
        put(&t, key, ON);
    }
    struct flagset *s = flagsets_get(t.f, t.kv, SPAN("e"));
    EXPECT(flagset_over(s) && flagset_count(s) == FLAGSET_FLAGS_MAX);
    EXPECT(gives(&t, "e", "10000", "1") && gives(&t, "e", "10000", "1") && t.evicted > 0);
    EXPECT(gives(&t, "e", "20000", "?"));
    del(&t, "confman/flag/e/00000");
    s = flagsets_get(t.f, t.kv, SPAN("e"));
    EXPECT(!flagset_over(s) && flagset_count(s) == FLAGSET_FLAGS_MAX);
    put(&t, "confman/flag/e/a", ON);
    s = flagsets_get(t.f, t.kv, SPAN("e"));
    EXPECT(flagset_over(s) && gives(&t, "e", "a", "1"));
    EXPECT(close_all(&t));
}

/* ---- the document ---- */

static bool document_has(struct bench *t, const char *name, const char *flag)
{
    char why[FLAG_WHY_MAX];
    struct span text;
    struct fval all, want;
    struct flagset *s = flagsets_get(t->f, t->kv, SPAN("e"));
    CHECK(flagset_document(s, &text) == ERR_OK);
    CHECK(fval_read(arena_copy(&t->arena, text), &t->arena, &all, why) == ERR_OK);
    const struct fval *flags = fval_find(&all, SPAN("flags"));
    const struct fval *got = fval_find(flags, span_text(name));
    if (!flag || !got)
        return !flag && !got;
    CHECK(fval_read(span_text(flag), &t->arena, &want, why) == ERR_OK);
    return fval_same(got, &want);
}

TEST(flagset_document_says_what_flagd_can)
{
    static const struct {
        const char *own, *theirs;
    } table[] = {
        { ON, "{\"state\":\"ENABLED\",\"variants\":{\"a\":1,\"b\":2},\"defaultVariant\":\"a\"}" },
        { "{\"percentage\":12.5}",
          "{\"state\":\"ENABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":"
          "\"off\",\"targeting\":{\"fractional\":[[\"on\",1250],[\"off\",8750]]}}" },
        { "{\"target_users\":[\"u\"],\"state\":\"DISABLED\"}",
          "{\"state\":\"DISABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":"
          "\"off\",\"targeting\":{\"if\":[{\"in\":[{\"var\":\"targetingKey\"},[\"u\"]]},\"on\","
          "null]}}" },
        { "{\"variants\":{\"a\":1},\"targeting\":{\"if\":[true,\"a\"]},\"kill\":true}",
          "{\"state\":\"ENABLED\",\"variants\":{\"a\":1}}" },
        { "{\"variants\":{\"a\":1},\"targeting\":{\"if\":[true,\"a\"]},\"schedule\":{\"from\":"
          "\"1970-01-01T00:00:09Z\",\"until\":\"1970-01-01T00:01:00Z\"}}",
          "{\"state\":\"ENABLED\",\"variants\":{\"a\":1},\"targeting\":{\"if\":[{\"and\":[{\">=\":"
          "[{\"var\":\"$flagd.timestamp\"},9]},{\"<\":[{\"var\":\"$flagd.timestamp\"},60]}]},"
          "{\"if\":[true,\"a\"]},null]}}" },
        { "{\"percentage\":5,\"bucketing\":\"goff\"}", NULL },
        { "{\"percentage\":0,\"bucketing\":\"goff\",\"target_users\":[]}",
          "{\"state\":\"ENABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":"
          "\"off\",\"targeting\":{\"if\":[{\"in\":[{\"var\":\"targetingKey\"},[]]},\"on\",null]}"
          "}" },
        { "{\"variants\":{\"a\":1},\"prerequisites\":[{\"flag\":\"x\",\"variant\":\"y\"}]}", NULL },
        { "{\"variants\":{\"a\":1},\"bucketing\":{\"algorithm\":\"flagd2\",\"seed\":\"s\"},"
          "\"targeting\":{\"fractional\":[[\"a\",1]]}}",
          NULL },
        { "{", NULL },
    };
    struct bench t;
    open_all(&t, 1 << 20);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        put(&t, "confman/flag/e/f", table[i].own);
        EXPECT(document_has(&t, "f", table[i].theirs));
    }
    EXPECT(close_all(&t));
}

TEST(flagset_document_bound)
{
    struct bench t;
    struct span text;
    char key[64], *value;
    open_all(&t, 64 << 20);
    enum { LONG = 200 << 10 };
    value = mem_zero(&t.heap, LONG + 64);
    int n = snprintf(value, 64, "{\"variants\":{\"a\":\"");
    memset(value + n, 'x', LONG);
    memcpy(value + n + LONG, "\"}}", 4);
    for (int i = 0; i * LONG <= FLAGSET_DOCUMENT_MAX; i++) {
        (void)snprintf(key, sizeof(key), "confman/flag/e/%d", i);
        put(&t, key, value);
    }
    struct flagset *s = flagsets_get(t.f, t.kv, SPAN("e"));
    EXPECT(flagset_document(s, &text) == ERR_ANSWER_TOO_LARGE);
    EXPECT(flagset_document(s, &text) == ERR_ANSWER_TOO_LARGE);
    del(&t, "confman/flag/e/0");
    s = flagsets_get(t.f, t.kv, SPAN("e"));
    EXPECT(flagset_document(s, &text) == ERR_OK && text.len > FLAGSET_DOCUMENT_MAX / 2);
    mem_free(&t.heap, value, LONG + 64);
    EXPECT(close_all(&t));
}

/* ---- memory ---- */

/* Of the sanitizers: told of each piece of memory that is taken. */
extern int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *,
                                                                       size_t),
                                                     void (*on_free)(const volatile void *))
    __attribute__((weak));

static size_t taken;

static void on_malloc(const volatile void *at, size_t size)
{
    (void)at, (void)size;
    taken++;
}

static void on_free(const volatile void *at)
{
    (void)at;
}

static size_t taken_by(struct bench *t, const char *name, struct flag_context *c)
{
    struct flag_result r;
    struct flagset *s = flagsets_get(t->f, t->kv, SPAN("e"));
    size_t before = taken;
    CHECK(flagset_evaluate_named(s, span_text(name), c, &r) && r.reason != FLAG_FAILED);
    return taken - before;
}

TEST(flagset_evaluation_takes_no_memory)
{
    static const char *const bucketing[] = { "flagd2",          "flagd1",       "unleash",
                                             "unleash-variant", "launchdarkly", "growthbook1",
                                             "growthbook2",     "goff",         "flipt" };
    struct bench t;
    struct fval values;
    char why[FLAG_WHY_MAX], flag[1024];
    if (!__sanitizer_install_malloc_and_free_hooks ||
        !__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free))
        return;
    open_all(&t, 1 << 20);
    CHECK(fval_read(SPAN("{\"targetingKey\":\"u\",\"email\":\"a@b\",\"l\":[1,2,3]}"), &t.arena,
                    &values, why) == ERR_OK);
    struct flag_context c = { .values = &values, .now_ms = 1700000000000 };
    put(&t, "confman/flagset/e", "{\"$evaluators\":{\"r\":{\"in\":[\"@b\",{\"var\":\"email\"}]}}}");
    put(&t, "confman/flag/e/base", ON);
    EXPECT(taken_by(&t, "base", &c) > 0); /* compiled: the counting counts */
    EXPECT(taken_by(&t, "base", &c) == 0);
    for (size_t i = 0; i < sizeof(bucketing) / sizeof(bucketing[0]); i++) {
        (void)snprintf(
            flag, sizeof(flag),
            "{\"variants\":{\"a\":1,\"b\":2},\"defaultVariant\":\"a\",\"bucketing\":\"%s\","
            "\"schedule\":{\"from\":\"2000-01-01T00:00:00Z\"},\"prerequisites\":[{\"flag\":"
            "\"base\",\"variant\":\"a\"}],\"targeting\":{\"if\":[{\"and\":[{\"$ref\":\"r\"},"
            "{\"some\":[{\"map\":[{\"var\":\"l\"},{\"+\":[{\"var\":\"\"},1]}]},{\">\":[{\"var\":"
            "\"\"},3]}]},{\"sem_ver\":[\"1.2.3\",\"^\",\"1.0.0\"]}]},{\"fractional\":["
            "[\"a\",1],[\"b\",1]]},null]}}",
            bucketing[i]);
        put(&t, "confman/flag/e/f", flag);
        EXPECT(taken_by(&t, "f", &c) > 0);
        EXPECT(taken_by(&t, "f", &c) == 0);
    }
    EXPECT(close_all(&t));
}

static size_t level_of(struct bench *t, const char *environment, const char *name)
{
    size_t level = 99;
    flagset_find(flagsets_get(t->f, t->kv, span_text(environment)), span_text(name), &level);
    return level;
}

#define GIVES(value) "{\"variants\":{\"v\":" value "},\"defaultVariant\":\"v\"}"

TEST(flagset_inherits_flags)
{
    struct bench t;
    open_all(&t, 1 << 20);
    put(&t, "confman/env/eu", "base");
    put(&t, "confman/env/fr", "eu");
    put(&t, "confman/flag/base/a", GIVES("1"));
    put(&t, "confman/flag/base/c", GIVES("2"));
    put(&t, "confman/flag/eu/b", GIVES("3"));
    EXPECT(gives(&t, "fr", "a", "1") && gives(&t, "fr", "b", "3") && gives(&t, "base", "b", "?"));
    EXPECT(flagset_count(flagsets_get(t.f, t.kv, SPAN("fr"))) == 3);
    EXPECT(level_of(&t, "fr", "a") == 2 && level_of(&t, "fr", "b") == 1);
    uint64_t compiled = t.compiled;
    put(&t, "confman/flag/fr/a", GIVES("4")); /* its own hides it */
    EXPECT(gives(&t, "fr", "a", "4") && gives(&t, "eu", "a", "1"));
    EXPECT(t.compiled == compiled + 2); /* fr's anew, eu's first */
    put(&t, "confman/flag/base/a", GIVES("5"));
    EXPECT(gives(&t, "fr", "a", "4") && gives(&t, "eu", "a", "5"));
    del(&t, "confman/flag/fr/a"); /* and is the parent's again */
    EXPECT(gives(&t, "fr", "a", "5") && level_of(&t, "fr", "a") == 2);
    del(&t, "confman/flag/base/a");
    EXPECT(gives(&t, "fr", "a", "?") && gives(&t, "eu", "a", "?"));
    put(&t, "confman/env/fr", "other"); /* another parent */
    EXPECT(gives(&t, "fr", "c", "?") && gives(&t, "eu", "c", "2"));
    put(&t, "confman/flag/other/c", GIVES("6"));
    EXPECT(gives(&t, "fr", "c", "6"));
    EXPECT(close_all(&t));
}

TEST(flagset_inherits_what_is_shared_by_name)
{
    struct bench t;
    struct span document;
    open_all(&t, 1 << 20);
    put(&t, "confman/env/eu", "base");
    put(&t, "confman/flagset/base", "{\"$evaluators\":{\"x\":\"on\",\"y\":\"off\"}}");
    put(&t, "confman/flagset/eu", "{\"$evaluators\":{\"y\":\"on\"}}");
    put(&t, "confman/flag/base/f",
        "{\"variants\":{\"on\":1,\"off\":0},\"defaultVariant\":\"off\","
        "\"targeting\":{\"$ref\":\"y\"}}");
    EXPECT(gives(&t, "base", "f", "0") && gives(&t, "eu", "f", "1"));
    EXPECT(flagset_document(flagsets_get(t.f, t.kv, SPAN("eu")), &document) == ERR_OK);
    EXPECT(memmem(document.data, document.len, "\"x\":\"on\"", 8) != NULL);
    put(&t, "confman/flagset/base", "{\"$evaluators\":{\"y\":\"on\"}}");
    EXPECT(gives(&t, "base", "f", "1") && gives(&t, "eu", "f", "1"));
    del(&t, "confman/flagset/eu");
    put(&t, "confman/flagset/base", "{\"$evaluators\":{\"y\":\"off\"}}");
    EXPECT(gives(&t, "eu", "f", "0"));
    EXPECT(close_all(&t));
}
