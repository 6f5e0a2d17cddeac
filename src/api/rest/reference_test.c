#include "api/rest/drive.h"
#include "base/test.h"

static void tell(void *context, const struct reference *r)
{
    struct buf *b = context;
    buf_u8(b, '[');
    buf_span(b, r->secret ? r->name_space : r->environment);
    buf_u8(b, '|');
    buf_span(b, r->key);
    if (r->member.len)
        buf_u8(b, '#');
    buf_span(b, r->member);
    buf_u8(b, ']');
}

TEST(reference_is_found_where_it_is_resolved)
{
    static const struct {
        uint8_t type;
        const char *value, *found;
    } table[] = {
        { KV_STRING, "a ${k} ${e:k} ${:a:b} ${secret:n/p/q#m} ${secret:n/p}",
          "[|k][e|k][|a:b][n|p/q#m][n|p]" },
        { KV_STRING, "$${a} $${b}${c} $${", "[|c]" },
        { KV_STRING, "${a", "" },
        { KV_STRING, "${} ${a b:c} ${secret:x} ${d}", "[|d]" },
        { KV_BYTES, "${a}", "[|a]" },
        { KV_BYTES, "${a}\xff", "" },
        { KV_NUMBER, "1", "" },
        { KV_JSON, "{\"${no}\":[\"${a\\/b}\",{\"x\":\"${\\u0063} ${d\\\"}\"}],\"n\":1}",
          "[|a/b][|c][|d\"]" },
        { KV_JSON, "{\"${a}\"", "" },
    };
    struct alloc heap;
    struct arena arena;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf b;
        buf_open(&b, &heap);
        references_each(span_text(table[i].value), table[i].type, &arena, tell, &b);
        EXPECT(span_is(buf_all(&b), table[i].found));
        buf_close(&b);
    }
    arena_close(&arena);
    EXPECT(heap.used == 0);
}

static int put(struct drive *d, const char *target, const char *body)
{
    struct http_request r = { .method = SPAN("PUT"), .body = span_text(body) };
    http_target(span_text(target), &r.path, &r.query);
    return drive_request(d, &r);
}

TEST(reference_guards_are_few_or_one)
{
    struct drive d;
    struct kv_compare out[8];
    char key[64];
    size_t n;
    drive_open(&d);
    struct seen s = { .arena = &d.arena };
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof(key), "/v1/config/g%d", i);
        EXPECT(put(&d, key, "{\"value\":1}") == 201);
        snprintf(key, sizeof(key), REST_ROOT "g%d", i);
        seen_add(&s, span_text(key), kv_get(d.m.kv, span_text(key), 0)->mod_revision);
        seen_add(&s, span_text(key), 0); /* known already */
    }
    seen_add(&s, SPAN(REST_ROOT "none"), 0);
    EXPECT(s.n == 5);
    EXPECT(seen_guards(&s, &d.world, d.m.kv, out, 8, &n) && n == 5);
    EXPECT(seen_guards(&s, &d.world, d.m.kv, out, 4, &n) && n == 1 && out[0].range_end.len);
    EXPECT(!seen_guards(&s, &d.world, d.m.kv, out, 0, &n));
    EXPECT(put(&d, "/v1/config/h", "{\"value\":1}") == 201); /* between the last two */
    struct kv_txn one = { .compares = out, .n_compares = 1 };
    EXPECT(!kv_compares_hold(d.m.kv, &one));
    EXPECT(seen_guards(&s, &d.world, d.m.kv, out, 4, &n) && kv_compares_hold(d.m.kv, &one));
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "many%d", i);
        seen_add(&s, span_text(key), 0);
    }
    EXPECT(s.over && !seen_guards(&s, &d.world, d.m.kv, out, 8, &n));
    EXPECT(drive_close(&d));
}
