#include "api/rest/drive.h"
#include "base/test.h"

/* One transaction of several changes; NULL as value: it goes. */
struct wanted {
    const char *key, *value;
};

static struct kv_txn txn_of(struct drive *d, const struct wanted *w, size_t n)
{
    struct kv_op *ops = ARENA_ARRAY(&d->arena, struct kv_op, n);
    for (size_t i = 0; i < n; i++) {
        struct span key = config_key(&d->arena, SPAN("default"), span_text(w[i].key));
        if (w[i].value)
            ops[i] = (struct kv_op){ .type = KV_OP_PUT,
                                     .put = { .key = key,
                                              .value = span_text(w[i].value),
                                              .type = KV_JSON } };
        else
            ops[i] = (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = key } };
    }
    return (struct kv_txn){ .success = ops, .n_success = n };
}

static enum err check(struct drive *d, const struct wanted *w, size_t n,
                      const struct rest_leave *leave, struct rest_faults *faults)
{
    struct kv_txn txn = txn_of(d, w, n), guards = { 0 };
    *faults = (struct rest_faults){ 0 };
    enum err e = rest_check_txn(&d->world, leave, d->m.kv, &txn, &d->arena, &guards, faults);
    CHECK(e != ERR_OK || (guards.n_compares == 2 && txn.n_compares == 2 &&
                          kv_compares_hold(d->m.kv, &guards)));
    return e;
}

static int put(struct drive *d, const char *target, const char *body)
{
    struct http_request r = { .method = SPAN("PUT"), .body = span_text(body) };
    http_target(span_text(target), &r.path, &r.query);
    return drive_request(d, &r);
}

TEST(check_walks_names_from_the_key_to_the_empty_one)
{
    static const struct {
        const char *key, *names;
    } table[] = { { "a/b/c", "[a/b/c][a/b/][a/][]" }, { "a", "[a][]" },     { "a/", "[a/][]" },
                  { "/", "[/][]" },                   { "//", "[//][/][]" }, { "", "[]" } };
    struct alloc heap;
    alloc_heap(&heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct rule_walk w = { .key = span_text(table[i].key) };
        struct buf b;
        buf_open(&b, &heap);
        while (rule_next(&w)) {
            buf_u8(&b, '[');
            buf_span(&b, w.name);
            buf_u8(&b, ']');
        }
        EXPECT(span_is(buf_all(&b), table[i].names));
        buf_close(&b);
    }
}

TEST(check_counts_what_one_transaction_deletes)
{
    static const struct wanted gone[] = { { "p/0", NULL }, { "p/1", NULL }, { "p/2", NULL } };
    static const struct rest_leave none, confirmed = { .confirmed = true };
    struct drive d;
    struct rest_faults faults;
    char target[64];
    drive_open(&d);
    for (int i = 0; i < 10; i++) {
        snprintf(target, sizeof(target), "/v1/config/p/%d", i);
        EXPECT(put(&d, target, "{\"value\":1}") == 201);
    }
    EXPECT(put(&d, "/v1/guards/p/", "{\"max_deleted_percent\":20}") == 201);
    EXPECT(check(&d, gone, 2, &none, &faults) == ERR_OK);
    EXPECT(check(&d, gone, 3, &none, &faults) == ERR_GUARD_DELETES && faults.n == 1);
    EXPECT(span_is(faults.items[0].name, "p/"));
    EXPECT(check(&d, gone, 3, &confirmed, &faults) == ERR_OK);
    EXPECT(put(&d, "/v1/guards/p/", "{\"max_deleted_percent\":0}") == 200);
    EXPECT(check(&d, gone, 1, &none, &faults) == ERR_OK); /* one alone is never too many */
    EXPECT(check(&d, gone, 2, &none, &faults) == ERR_GUARD_DELETES);
    EXPECT(put(&d, "/v1/guards/p/",
               "{\"max_deleted_percent\":0,\"environments\":[\"prod\"]}") == 200);
    EXPECT(check(&d, gone, 3, &none, &faults) == ERR_OK);
    EXPECT(drive_close(&d));
}

TEST(check_tells_all_that_is_wrong_with_several_values)
{
    static const struct wanted values[] = { { "s/a", "1" }, { "s/b", "\"x\"" }, { "s/c", "[]" } };
    static const struct rest_leave none, approved = { .approvals = 2 };
    struct drive d;
    struct rest_faults faults;
    drive_open(&d);
    EXPECT(put(&d, "/v1/schemas/s/", "{\"type\":\"number\"}") == 201);
    EXPECT(check(&d, values, 3, &none, &faults) == ERR_SCHEMA_VIOLATED && faults.n == 2);
    EXPECT(span_is(faults.items[0].key, "s/b") && span_is(faults.items[1].key, "s/c"));
    EXPECT(put(&d, "/v1/guards/", "{\"approvals\":2}") == 201);
    EXPECT(check(&d, values, 1, &none, &faults) == ERR_GUARD_APPROVALS && faults.n == 1);
    EXPECT(check(&d, values, 1, &approved, &faults) == ERR_OK);
    struct guard g;
    guard_find(d.m.kv, SPAN("default"), SPAN("s/a"), &d.arena, &g);
    EXPECT(g.approvals == 2 && !g.author_may_approve);
    EXPECT(drive_close(&d));
}

/* One budget for all of a transaction, however many values it has. */
TEST(check_stops_when_the_steps_are_used_up)
{
    enum { N = 60 };
    static struct wanted values[N];
    static char keys[N][16];
    static const struct rest_leave none;
    struct drive d;
    struct rest_faults faults;
    struct buf b;
    drive_open(&d);
    EXPECT(put(&d, "/v1/schemas/", "{\"uniqueItems\":true,\"items\":{\"allOf\":[{},{},{},{}]}}") ==
           201);
    buf_open(&b, &d.heap);
    for (int i = 0; i < 6000; i++)
        buf_format(&b, "%c%d", i ? ',' : '[', i);
    buf_text(&b, "]");
    buf_u8(&b, 0);
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        values[i] = (struct wanted){ keys[i], (const char *)b.data };
    }
    EXPECT(check(&d, values, 1, &none, &faults) == ERR_OK);
    EXPECT(check(&d, values, N, &none, &faults) == ERR_SCHEMA_STEPS && faults.n == 1);
    buf_close(&b);
    EXPECT(drive_close(&d));
}

TEST(check_keeps_no_more_compiled_schemas_than_it_may)
{
    struct drive d;
    struct rest_schemas_stats stats;
    char target[64];
    drive_open(&d);
    for (int i = 0; i < REST_COMPILED_MAX + 5; i++) {
        snprintf(target, sizeof(target), "/v1/schemas/k%d", i);
        EXPECT(put(&d, target, "{\"type\":\"number\"}") == 201);
        snprintf(target, sizeof(target), "/v1/config/k%d", i);
        EXPECT(put(&d, target, "{\"value\":1}") == 201);
        EXPECT(put(&d, target, "{\"value\":\"x\"}") == 422);
    }
    rest_schemas_stats(d.world.schemas, &stats);
    EXPECT(stats.n == REST_COMPILED_MAX && stats.evicted == 5);
    EXPECT(stats.bytes > 0 && stats.bytes <= REST_COMPILED_BYTES_MAX);
    EXPECT(drive_close(&d));
}

TEST(check_takes_no_more_rules_than_it_may)
{
    struct drive d;
    char target[64];
    drive_open(&d);
    for (int i = 0; i < REST_RULES_MAX; i++) {
        snprintf(target, sizeof(target), "/v1/guards/k%d", i);
        EXPECT(put(&d, target, "{}") == 201);
    }
    EXPECT(put(&d, "/v1/guards/more", "{}") == 507);
    EXPECT(put(&d, "/v1/guards/k7", "{}") == 200);
    EXPECT(put(&d, "/v1/guards/k7", "{\"max_value_bytes\":-1,\"approvals\":11,\"x\":1}") == 422);
    EXPECT(memmem(d.answer.body.data, d.answer.body.len, "/approvals", 10) != NULL);
    EXPECT(drive_close(&d));
}
