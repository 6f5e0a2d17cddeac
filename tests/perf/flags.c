/* Flags evaluated in this process, as a door does it once a request is read. */
#include <stdio.h>
#include <time.h>
#include "base/check.h"
#include "core/flagset/flagset.h"
#include "load.h"

enum { ROUNDS = 1000000, USERS = 64 };

struct bench {
    struct alloc heap;
    struct arena arena;
    struct kv *kv;
    struct flagsets *flags;
    uint64_t counted;
    struct fval users[USERS];
};

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void put(struct bench *t, const char *key, const char *flag)
{
    const struct kv_change *changes;
    size_t n;
    struct kv_put_result r;
    struct kv_put p = { .key = span_text(key), .value = span_text(flag) };
    kv_begin(t->kv, 1, SPAN("bench"));
    CHECK(kv_put(t->kv, &p, &r) == ERR_OK);
    kv_end(t->kv, &changes, &n);
    flagsets_changed(t->flags, changes, n);
}

static double one_ns(struct bench *t, struct span name)
{
    struct flagset *set = flagsets_get(t->flags, t->kv, SPAN("e"));
    struct flag_context c = { .now_ms = 1700000000000 };
    struct flag_result r;
    size_t bytes = 0;
    int64_t began = 0;
    for (int i = -ROUNDS / 10; i < ROUNDS; i++) { /* the first tenth warms up */
        if (i == 0)
            began = clock_ns();
        c.values = &t->users[(unsigned)i % USERS];
        CHECK(flagset_evaluate_named(set, name, &c, &r));
        bytes += r.value.len;
    }
    CHECK(bytes > ROUNDS);
    return (double)(clock_ns() - began) / ROUNDS;
}

int run_evaluate(void)
{
    struct bench t = { .counted = 0 };
    char text[128], why[FLAG_WHY_MAX];
    alloc_heap(&t.heap);
    arena_open(&t.arena, &t.heap);
    t.kv = kv_open(&t.heap);
    struct flagset_counts counts = { &t.counted, &t.counted, &t.counted };
    t.flags = flagsets_open(&t.heap, 1 << 20, counts, NULL);
    put(&t, "confman/flag/e/static",
        "{\"variants\":{\"on\":true,\"off\":false},"
        "\"defaultVariant\":\"on\"}");
    put(&t, "confman/flag/e/rule",
        "{\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":\"off\",\"targeting\":{"
        "\"if\":"
        "[{\"ends_with\":[{\"var\":\"email\"},\"@example.com\"]},\"on\",null]}}");
    put(&t, "confman/flag/e/fractional",
        "{\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":\"off\",\"targeting\":"
        "{\"fractional\":[[\"on\",10],[\"off\",90]]}}");
    for (int i = 0; i < USERS; i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"targetingKey\":\"user-%d\",\"email\":\"ann@example.com\"}", i);
        CHECK(fval_read(arena_copy(&t.arena, span_text(text)), &t.arena, &t.users[i], why) ==
              ERR_OK);
    }
    printf("workload=evaluate static_ns=%.1f rule_ns=%.1f fractional_ns=%.1f\n",
           one_ns(&t, SPAN("static")), one_ns(&t, SPAN("rule")), one_ns(&t, SPAN("fractional")));
    flagsets_close(t.flags);
    kv_close(t.kv);
    arena_close(&t.arena);
    return 0;
}
