#include "api/gateway/gateway.h"
#include "base/test.h"
#include "wire/json/json.h"

static struct alloc heap;
static struct arena arena;

static void begin(void)
{
    alloc_heap(&heap);
    jsonr_use(&heap);
    arena_open(&arena, &heap);
}

static bool end(void)
{
    arena_close(&arena);
    return heap.used == 0;
}

TEST(gateway_every_path_is_a_method)
{
    size_t n = 0;
#define PATH(path, method)                                                                         \
    EXPECT(gateway_method(SPAN("/v3" path)) == etcd_method_find(SPAN(method)));                    \
    EXPECT(gateway_method(SPAN("/v3beta" path)) && gateway_method(SPAN("/v3alpha" path)));         \
    n++;
#include "api/gateway/path.def"
#undef PATH
    EXPECT(n == 51);
    EXPECT(gateway_method(SPAN("/v3/lease/revoke")) == gateway_method(SPAN("/v3/kv/lease/revoke")));
    EXPECT(!gateway_method(SPAN("/v3/kv/range/")) && !gateway_method(SPAN("/v3/")));
    EXPECT(gateway_takes(SPAN("/v3/x")) && !gateway_takes(SPAN("/v3")));
    EXPECT(!gateway_takes(SPAN("/v3x/kv/range")) && !gateway_method(SPAN("/kv/range")));
    EXPECT(gateway_streams(gateway_method(SPAN("/v3/watch"))));
    EXPECT(!gateway_streams(gateway_method(SPAN("/v3/kv/put"))));
}

/* Only what grpc-gateway lets through becomes metadata. */
TEST(gateway_head_has_the_metadata)
{
    struct http_header headers[] = {
        { SPAN("content-type"), SPAN("text/plain") }, { SPAN("authorization"), SPAN("Bearer t") },
        { SPAN("grpc-metadata-hasleader"), SPAN("true") }, { SPAN("hasleader"), SPAN("no") },
        { SPAN("grpc-timeout"), SPAN("1S") }, { SPAN("grpc-metadata-"), SPAN("x") },
    };
    struct http_request http = { .method = SPAN("GET"), .headers = headers, .header_count = 6 };
    struct http_request out;
    struct span value;
    begin();
    gateway_head(&http, gateway_method(SPAN("/v3/kv/range")), &arena, &out);
    EXPECT(span_is(out.method, "POST") && span_is(out.path, "/etcdserverpb.KV/Range"));
    EXPECT(out.header_count == 3 && http_header_find(&out, "hasleader", &value));
    EXPECT(span_is(value, "true") && http_header_find(&out, "authorization", &value));
    headers[0] = (struct http_header){ SPAN("sec-websocket-protocol"), SPAN("Bearer , abc.1") };
    http.header_count = 1;
    gateway_head(&http, gateway_method(SPAN("/v3/kv/range")), &arena, &out);
    EXPECT(http_header_find(&out, "authorization", &value) && span_is(value, "Bearer abc.1"));
    headers[0].value = SPAN("Bearers,abc.1");
    gateway_head(&http, gateway_method(SPAN("/v3/kv/range")), &arena, &out);
    EXPECT(out.header_count == 0);
    EXPECT(end());
}

TEST(gateway_messages_and_errors)
{
    char why[JSONR_WHY_MAX];
    struct buf b;
    begin();
    buf_open(&b, &heap);
    const struct etcd_method *put = gateway_method(SPAN("/v3/kv/put"));
    const struct etcd_method *watch = gateway_method(SPAN("/v3/watch"));
    EXPECT(gateway_read(put, SPAN_NONE, &b, why) == ERR_OK && b.len == 0);
    EXPECT(gateway_read(put, SPAN("{\"key\":\"YQ==\"}"), &b, why) == ERR_OK);
    EXPECT(span_equal(buf_all(&b), SPAN("\x0a\x01"
                                        "a")));
    buf_reset(&b);
    gateway_write(put, SPAN("\x0a\x02\x18\x05"), &b);
    EXPECT(span_is(buf_all(&b), "{\"header\":{\"revision\":\"5\"}}"));
    buf_reset(&b);
    gateway_write(watch, SPAN("\x18\x01"), &b);
    EXPECT(span_is(buf_all(&b), "{\"result\":{\"created\":true}}"));
    buf_reset(&b);
    gateway_error(5, "no \"x\"", false, &b);
    EXPECT(span_is(buf_all(&b), "{\"error\":\"no \\\"x\\\"\",\"message\":\"no \\\"x\\\"\","
                                "\"code\":5,\"details\":[]}"));
    buf_reset(&b);
    gateway_error(14, "x", true, &b);
    EXPECT(span_is(buf_all(&b),
                   "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"http_status\":\"Service "
                   "Unavailable\",\"message\":\"x\",\"code\":14,\"details\":[]}}"));
    buf_close(&b);
    EXPECT(end());
}

TEST(gateway_http_statuses)
{
    static const struct {
        int code, http;
    } cases[] = { { 0, 200 }, { 3, 400 }, { 5, 404 }, { 7, 403 }, { 8, 429 }, { 9, 400 },
                  { 11, 400 }, { 12, 501 }, { 14, 503 }, { 16, 401 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        EXPECT(gateway_http(cases[i].code) == cases[i].http);
}

TEST(gateway_access_by_name_and_by_origin)
{
    static const struct {
        const char *cors, *hosts, *authority, *origin;
        bool secure;
        enum err expected;
        size_t headers;
    } cases[] = {
        { "", "", "127.0.0.1:2379", NULL, false, ERR_OK, 0 },
        { "", "", "[::1]:2379", NULL, false, ERR_OK, 0 },
        { "", "", "[fe80::192.0.2.1]", NULL, false, ERR_OK, 0 },
        { "", "", "localhost:2379", NULL, false, ERR_OK, 0 },
        { "", "", "", NULL, false, ERR_OK, 0 },
        { "", "", "evil.example:2379", NULL, false, ERR_HOST, 0 },
        { "", "", "1.2.3.4.example", NULL, false, ERR_HOST, 0 },
        { "", "", "[::1.evil.example]", NULL, false, ERR_HOST, 0 },
        { "", "", "[::1].evil.example", NULL, false, ERR_HOST, 0 },
        { "", "", "evil.example:2379", NULL, true, ERR_OK, 0 },
        { "", "a.example, b.example", "B.Example:2379", NULL, false, ERR_OK, 0 },
        { "", "a.example,b.example", "c.a.example", NULL, false, ERR_HOST, 0 },
        { "", "*", "evil.example:2379", NULL, false, ERR_OK, 0 },
        { "*", "", "evil.example:2379", "http://evil.example:2379", false, ERR_HOST, 0 },
        { "*", "", "127.0.0.1", NULL, false, ERR_OK, 3 },
        { "*", "", "127.0.0.1", "http://any.example", false, ERR_OK, 3 },
        { "", "", "127.0.0.1:2379", "http://127.0.0.1:2379", false, ERR_OK, 0 },
        { "", "", "127.0.0.1:2379", "https://127.0.0.1:2379", false, ERR_ORIGIN, 0 },
        { "", "", "127.0.0.1:2379", "http://127.0.0.1:80", false, ERR_ORIGIN, 0 },
        { "", "", "127.0.0.1:2379", "null", false, ERR_ORIGIN, 0 },
        { "", "", "h:2379", "https://h:2379", true, ERR_OK, 0 },
        { "http://a.example,http://b.example", "", "127.0.0.1", "http://b.example", false, ERR_OK,
          3 },
        { "http://a.example", "", "127.0.0.1", "http://b.example", false, ERR_ORIGIN, 0 },
        { "http://a.example", "", "127.0.0.1", NULL, false, ERR_OK, 0 },
        { ",", "", "127.0.0.1", "", false, ERR_ORIGIN, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gateway_access a = { cases[i].cors, cases[i].hosts };
        struct http_header origin = { SPAN("origin"), SPAN_NONE };
        struct http_request http = { .authority = span_text(cases[i].authority) };
        struct http_header headers[GATEWAY_CORS_HEADERS];
        size_t n;
        if (cases[i].origin) {
            origin.value = span_text(cases[i].origin);
            http.headers = &origin;
            http.header_count = 1;
        }
        EXPECT(gateway_access(&a, &http, cases[i].secure, headers, &n) == cases[i].expected);
        EXPECT(n == cases[i].headers);
    }
}
