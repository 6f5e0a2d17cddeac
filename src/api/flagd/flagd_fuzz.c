/* Any bytes as messages of flagd's methods, against a few flags: refused with a code and a text, or
 * answered in a message that can be read. A byte says the method, one more the length. */
#include <stdlib.h>
#include "api/flagd/flagd_int.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bench {
    struct alloc heap;
    struct arena arena;
    struct kv *kv;
    struct flagsets *flags;
    uint64_t counted;
};

static void put(struct bench *t, const char *name, const char *flag)
{
    const struct kv_change *changes;
    size_t n;
    struct kv_put_result r;
    struct kv_put p = { .key = flagset_key(&t->arena, SPAN("default"), span_text(name)),
                        .value = span_text(flag) };
    kv_begin(t->kv, 1, SPAN("a"));
    CHECK(kv_put(t->kv, &p, &r) == ERR_OK);
    kv_end(t->kv, &changes, &n);
    flagsets_changed(t->flags, changes, n);
}

static void open_all(struct bench *t)
{
    *t = (struct bench){ .counted = 0 };
    alloc_heap(&t->heap);
    arena_open(&t->arena, &t->heap);
    t->kv = kv_open(&t->heap);
    struct flagset_counts counts = { &t->counted, &t->counted, &t->counted };
    t->flags = flagsets_open(&t->heap, 1 << 20, counts, NULL);
    put(t, "a",
        "{\"variants\":{\"x\":1.5,\"y\":2},\"defaultVariant\":\"x\",\"targeting\":"
        "{\"if\":[{\"var\":\"k\"},\"y\"]},\"metadata\":{\"m\":true}}");
    put(t, "b", "{\"variants\":{\"x\":{\"l\":[1,null,\"t\"]}},\"defaultVariant\":\"x\"}");
    put(t, "c", "{\"percentage\":50}");
    put(t, "d", "{");
}

/* The n-th of flagd's methods. */
static const struct etcd_method *method_of(unsigned n)
{
    int first = 0;
    while (!etcd_method_of_flagd(etcd_method_at(first)))
        first++;
    return etcd_method_at(first + (int)n % (etcd_method_count() - first));
}

static void check_message(struct bench *t, enum flagd_ask ask, struct span message)
{
    struct pb_resolve_all_response all;
    struct pb_v2_resolve_string_response text;
    struct pb_v2_resolve_object_response object;
    if (ask == FLAGD_ALL && pb_resolve_all_response_decode(message, &t->arena, &all) != ERR_OK)
        abort();
    if (ask == FLAGD_STRING &&
        pb_v2_resolve_string_response_decode(message, &t->arena, &text) != ERR_OK)
        abort();
    if (ask == FLAGD_OBJECT &&
        pb_v2_resolve_object_response_decode(message, &t->arena, &object) != ERR_OK)
        abort();
}

static void call(struct bench *t, const struct etcd_method *method, struct span message)
{
    struct http_request head = { .header_count = 0 };
    struct flagd_call c;
    struct buf out;
    const char *text;
    flagd_head(&head, &t->arena, &c);
    enum err e = flagd_decode(method, message, &t->arena, &c);
    if (e != ERR_OK || method->kind == ETCD_FLAGD_STREAM)
        return;
    buf_open(&out, &t->heap);
    struct flagset *set = flagsets_get(t->flags, t->kv, c.environment);
    int code = flagd_answer(&c, set, 1700000000000, &t->arena, &out, &text);
    if (code < 0 || code > 16 || (code != 0) != (*text != 0) || (code && out.len))
        abort();
    if (code == 0)
        check_message(t, c.ask, buf_all(&out));
    buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span s = span_of(data, size);
    struct bench t;
    open_all(&t);
    while (s.len >= 2) {
        size_t n = s.data[1] < s.len - 2 ? s.data[1] : s.len - 2;
        call(&t, method_of(s.data[0]), span_of(s.data + 2, n));
        s = span_from(s, 2 + n);
        arena_reset(&t.arena);
    }
    flagsets_close(t.flags);
    kv_close(t.kv);
    arena_close(&t.arena);
    if (t.heap.used)
        abort();
    return 0;
}
