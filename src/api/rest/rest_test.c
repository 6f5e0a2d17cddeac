#include "api/rest/drive.h"
#include <stdio.h>
#include "base/test.h"

static const char *ask_header, *ask_value; /* one header for the next request; NULL: none */

/* The status of a request; the answer is in d. */
static int ask(struct drive *d, const char *method, const char *target, const char *body)
{
    struct http_header header = { SPAN("content-type"), SPAN("application/json") };
    if (ask_header)
        header = (struct http_header){ span_text(ask_header), span_text(ask_value) };
    ask_header = NULL;
    struct http_request r = { .method = span_text(method),
                              .body = span_text(body),
                              .headers = &header,
                              .header_count = 1 };
    http_target(span_text(target), &r.path, &r.query);
    return drive_request(d, &r);
}

static int ask_if(struct drive *d, const char *name, const char *value, const char *method,
                  const char *target, const char *body)
{
    ask_header = name;
    ask_value = value;
    return ask(d, method, target, body);
}

static bool contains(struct span s, const char *text)
{
    return memmem(s.data, s.len, text, strlen(text)) != NULL;
}

static bool told(const struct drive *d, const char *text)
{
    return contains(d->answer.body, text);
}

static bool has_header(const struct drive *d, const char *name, const char *value)
{
    for (size_t i = 0; i < d->answer.header_count; i++)
        if (span_is(d->answer.headers[i].name, name))
            return span_is(d->answer.headers[i].value, value);
    return false;
}

/* ---- what is asked ---- */

TEST(rest_routes)
{
    static const struct {
        const char *method, *target;
        int status;
        const char *allow;
    } table[] = {
        { "GET", "/v1", 404, NULL },
        { "GET", "/v1/", 404, NULL },
        { "GET", "/v1/configs", 404, NULL },
        { "GET", "/v1/status/x", 404, NULL },
        { "GET", "/v1/status", 200, NULL },
        { "HEAD", "/v1/status", 200, NULL },
        { "get", "/v1/status", 405, "GET, HEAD" },
        { "POST", "/v1/status", 405, "GET, HEAD" },
        { "PUT", "/v1/config", 405, "GET, HEAD" },
        { "GET", "/v1/config", 200, NULL },
        { "POST", "/v1/config/a", 405, "GET, HEAD, PUT, DELETE" },
        { "GET", "/v1/config/a", 404, NULL },
        { "HEAD", "/v1/watch?prefix=", 405, "GET" },
        { "GET", "/v1/watch?prefix=", 0, NULL },
        { "GE", "/v1/status", 405, "GET, HEAD" },
        { "GET,", "/v1/status", 405, "GET, HEAD" },
        { "", "/v1/status", 405, "GET, HEAD" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        EXPECT(ask(&d, table[i].method, table[i].target, "") == table[i].status);
        EXPECT(!table[i].allow || has_header(&d, "allow", table[i].allow));
    }
    EXPECT(rest_takes(SPAN("/v1")) && rest_takes(SPAN("/v1/")) && rest_takes(SPAN("/v1/x")));
    EXPECT(!rest_takes(SPAN("/v1x")) && !rest_takes(SPAN("/v")) && !rest_takes(SPAN("/v10/x")));
    EXPECT(drive_close(&d));
}

TEST(rest_queries_that_are_refused)
{
    static const struct {
        const char *target;
        int status;
        const char *why;
    } table[] = {
        { "/v1/config?limit=0", 400, "limit must be" },
        { "/v1/config?limit=1001", 400, "limit must be" },
        { "/v1/config?limit=", 400, "limit must be" },
        { "/v1/config?limit=+1", 400, "limit must be" },
        { "/v1/config?limit=0x1", 400, "limit must be" },
        { "/v1/config?revision=-1", 400, "revision must be" },
        { "/v1/config?revision=9999999999999999999", 400, "revision must be" },
        { "/v1/config?version=1.0", 400, "version must be" },
        { "/v1/config?consistency=strong", 400, "consistency must be" },
        { "/v1/config?environment=a/b", 400, "the environment's name" },
        { "/v1/config?prefix=%zz", 400, "percent escape" },
        { "/v1/config?prefix=%2", 400, "percent escape" },
        { "/v1/config?colour=red", 400, "unknown query parameter; known are: prefix" },
        { "/v1/config?Limit=1", 400, "unknown query parameter" },
        { "/v1/config?page_token=x", 400, "page_token" },
        { "/v1/config?page_token=AAAAAAAAAAA", 400, "page_token" },  /* revision 0 */
        { "/v1/config?page_token=AQAAAAAAAAA", 400, "page_token" },  /* no key */
        { "/v1/config?prefix=b&page_token=AQAAAAAAAABh", 400, "page_token" }, /* of another list */
        { "/v1/watch", 400, "either key or prefix" },
        { "/v1/watch?key=a&prefix=b", 400, "either key or prefix" },
        { "/v1/watch?key=", 400, "the key is empty" },
        { "/v1/watch?key=%00", 400, "control character" },
        { "/v1/config/", 400, "the key is empty" },
        { "/v1/config/%", 400, "percent escape in the path" },
        { "/v1/config/a%0ab", 400, "control character" },
        { "/v1/config/a%7f", 400, "control character" },
        { "/v1/config?revision=99", 400, "future revision" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        EXPECT(ask(&d, "GET", table[i].target, "") == table[i].status);
        EXPECT(told(&d, table[i].why));
    }
    EXPECT(ask_if(&d, "last-event-id", "x", "GET", "/v1/watch?prefix=", "") == 400);
    EXPECT(told(&d, "last-event-id must be"));
    EXPECT(drive_close(&d));
}

TEST(rest_reads_are_serializable_unless_asked)
{
    struct drive d;
    drive_open(&d);
    ask(&d, "GET", "/v1/config/a", "");
    EXPECT(d.call.request.serializable);
    ask(&d, "GET", "/v1/config/a?consistency=serializable&environment=default", "");
    EXPECT(d.call.request.serializable);
    ask(&d, "GET", "/v1/config/a?consistency=linearizable", "");
    EXPECT(!d.call.request.serializable);
    EXPECT(drive_close(&d));
}

TEST(rest_keys)
{
    struct drive d;
    char target[3 * REST_KEY_MAX + 32] = "/v1/config/";
    size_t n = strlen(target);
    drive_open(&d);
    EXPECT(ask(&d, "PUT", "/v1/config/a%2Fb/%E2%82%AC+%20", "{\"value\":1}") == 201);
    EXPECT(span_is(d.call.key, "a/b/\xe2\x82\xac+ ") && told(&d, "\"a/b/\xe2\x82\xac+ \""));
    EXPECT(ask(&d, "GET", "/v1/config/a/b/\xe2\x82\xac+%20", "") == 200);
    memset(target + n, 'k', REST_KEY_MAX + 1);
    EXPECT(ask(&d, "PUT", target, "{\"value\":1}") == 400 && told(&d, "longer than 256"));
    target[n + REST_KEY_MAX] = 0;
    EXPECT(ask(&d, "PUT", target, "{\"value\":1}") == 201);
    EXPECT(drive_close(&d));
}

/* ---- environments ---- */

TEST(rest_environments_of_configs)
{
    struct drive d;
    drive_open(&d);
    EXPECT(ask(&d, "PUT", "/v1/environments/prod", "{\"parent\":\"base\"}") == 200);
    EXPECT(ask(&d, "PUT", "/v1/config/a?environment=base", "{\"value\":1}") == 201);
    EXPECT(ask(&d, "PUT", "/v1/config/c?environment=base", "{\"value\":3}") == 201);
    EXPECT(ask(&d, "GET", "/v1/config/a?environment=prod", "") == 200);
    EXPECT(told(&d, "\"environment\":\"prod\",\"from\":\"base\",\"value\":1"));
    EXPECT(has_header(&d, "etag", "\"base:1\""));
    EXPECT(ask(&d, "GET", "/v1/config/a?environment=prod&own=true", "") == 404);
    EXPECT(ask(&d, "PUT", "/v1/config/a?environment=prod", "{\"value\":2}") == 201);
    EXPECT(ask(&d, "PUT", "/v1/config/b?environment=prod", "{\"value\":2}") == 201);
    EXPECT(ask(&d, "GET", "/v1/config/a?environment=prod", "") == 200);
    EXPECT(!told(&d, "from") && has_header(&d, "etag", "\"1\""));
    EXPECT(ask(&d, "GET", "/v1/config?environment=prod&limit=2", "") == 200);
    EXPECT(told(&d, "\"a\"") && told(&d, "\"b\"") && !told(&d, "\"c\"") && told(&d, "next_page"));
    EXPECT(ask(&d, "GET", "/v1/config?environment=prod&limit=3", "") == 200);
    EXPECT(told(&d, "\"c\"") && !told(&d, "\"value\":1,") && !told(&d, "next_page"));
    EXPECT(ask(&d, "GET", "/v1/config?environment=prod&own=true", "") == 200);
    EXPECT(!told(&d, "\"c\""));
    EXPECT(ask(&d, "DELETE", "/v1/config/a?environment=prod", "") == 200);
    EXPECT(ask(&d, "GET", "/v1/config/a?environment=prod", "") == 200 && told(&d, "\"base\""));
    ask(&d, "PUT", "/v1/config/a", "{\"value\":1}");
    uint8_t author[REST_AUTHOR_MAX + 1] = { 0 };
    EXPECT(rest_author(&d.call, span_of(author, REST_AUTHOR_MAX)) == ERR_OK);
    EXPECT(rest_author(&d.call, span_of(author, sizeof(author))) == ERR_AUTHOR_LONG);
    EXPECT(ask(&d, "DELETE", "/v1/environments/prod", "") == 200);
    EXPECT(ask(&d, "DELETE", "/v1/environments/prod", "") == 404);
    EXPECT(ask(&d, "GET", "/v1/environments", "") == 200 && told(&d, "\"prod\",\"parent\":null"));
    EXPECT(ask(&d, "GET", "/v1/config/a?environment=prod", "") == 404);
    EXPECT(drive_close(&d));
}

TEST(rest_history)
{
    struct drive d;
    drive_open(&d);
    ask(&d, "PUT", "/v1/config/k", "{\"value\":\"one\"}");
    ask(&d, "DELETE", "/v1/config/k", "");
    ask(&d, "PUT", "/v1/config/k", "{\"value\":\"two\"}");
    EXPECT(ask(&d, "GET", "/v1/history/k", "") == 200);
    EXPECT(told(&d, "\"one\"") && told(&d, "\"deleted\":true") && told(&d, "\"two\""));
    EXPECT(ask(&d, "GET", "/v1/history/k?limit=1", "") == 200);
    EXPECT(told(&d, "\"two\"") && !told(&d, "deleted") && told(&d, "\"next_revision\":3"));
    EXPECT(ask(&d, "GET", "/v1/history/k?revision=2", "") == 200);
    EXPECT(told(&d, "\"one\"") && !told(&d, "deleted") && !told(&d, "next"));
    EXPECT(ask(&d, "GET", "/v1/history/k?revision=9", "") == 400);
    EXPECT(kv_compact(d.m.kv, 3) == ERR_OK);
    EXPECT(ask(&d, "GET", "/v1/history/k", "") == 200 && told(&d, "\"compact_revision\":3"));
    EXPECT(told(&d, "\"two\"") && !told(&d, "\"one\""));
    EXPECT(ask(&d, "GET", "/v1/history/k?revision=2", "") == 410);
    EXPECT(ask(&d, "GET", "/v1/history/none", "") == 200 && told(&d, "\"items\":[]"));
    EXPECT(ask(&d, "GET", "/v1/history/", "") == 400);
    EXPECT(drive_close(&d));
}

TEST(rest_history_bytes)
{
    enum { VALUE = 1 << 20 };
    struct drive d;
    drive_open(&d);
    char *body = arena_alloc(&d.arena, VALUE + 32);
    size_t n = (size_t)snprintf(body, 32, "{\"value\":\"");
    memset(body + n, 'v', VALUE);
    memcpy(body + n + VALUE, "\"}", 3);
    for (int i = 0; i < 5; i++)
        EXPECT(ask(&d, "PUT", "/v1/config/k", body) < 300);
    EXPECT(ask(&d, "GET", "/v1/history/k", "") == 200);
    EXPECT(told(&d, "\"version\":2") && !told(&d, "\"version\":1,"));
    EXPECT(told(&d, "\"next_revision\":2"));
    EXPECT(drive_close(&d));
}

TEST(rest_environment_bounds)
{
    struct drive d;
    char path[64], body[64];
    drive_open(&d);
    for (int i = 1; i < REST_DEPTH_MAX; i++) {
        snprintf(path, sizeof(path), "/v1/environments/e%d", i);
        snprintf(body, sizeof(body), "{\"parent\":\"e%d\"}", i - 1);
        EXPECT(ask(&d, "PUT", path, body) == 200);
    }
    EXPECT(ask(&d, "PUT", "/v1/environments/e8", "{\"parent\":\"e7\"}") == 409);
    EXPECT(ask(&d, "PUT", "/v1/environments/e0", "{\"parent\":\"x\"}") == 409);
    EXPECT(ask(&d, "PUT", "/v1/environments/e0", "{\"parent\":\"e3\"}") == 409);
    EXPECT(ask(&d, "PUT", "/v1/environments/x", "{\"parent\":\"x\"}") == 409);
    EXPECT(ask(&d, "PUT", "/v1/environments/x", "{\"parent\":7}") == 400);
    EXPECT(ask(&d, "PUT", "/v1/environments/x", "{\"parnt\":\"e\"}") == 400);
    EXPECT(ask(&d, "PUT", "/v1/environments/x", "[]") == 400);
    EXPECT(ask(&d, "PUT", "/v1/environments/x%2Fy", "{}") == 400);
    EXPECT(ask(&d, "GET", "/v1/environments/x", "") == 404);
    for (int i = REST_DEPTH_MAX; i <= REST_ENVIRONMENT_COUNT_MAX; i++) {
        snprintf(path, sizeof(path), "/v1/environments/e%d", i);
        EXPECT(ask(&d, "PUT", path, "{}") == 200);
    }
    EXPECT(ask(&d, "PUT", "/v1/environments/more", "{}") == 507);
    EXPECT(ask(&d, "PUT", "/v1/environments/e9", "{\"parent\":null}") == 200);
    EXPECT(drive_close(&d));
}

/* ---- values ---- */

TEST(rest_values)
{
    static const struct {
        const char *body, *stored;
        enum kv_type type;
        const char *shown;
    } table[] = {
        { "{\"value\":\"t\\u00e9\"}", "t\xc3\xa9", KV_STRING, "\"value\":\"t\xc3\xa9\"" },
        { "{\"value\":\"\"}", "", KV_STRING, "\"value\":\"\",\"type\":\"string\"" },
        { "{\"value\":12}", "12", KV_NUMBER, "\"value\":12,\"type\":\"number\"" },
        { "{\"value\":-9223372036854775808}", "-9223372036854775808", KV_NUMBER, "-92233" },
        { "{\"value\":0.1}", "0.1", KV_NUMBER, "\"value\":0.1," },
        { "{\"value\":0.30000000000000004}", "0.30000000000000004", KV_NUMBER, "00000004," },
        { "{\"value\":1.10}", "1.10", KV_NUMBER, "\"value\":1.10," },
        { "{\"value\":0.1234567890123456789}", "0.1234567890123456789", KV_NUMBER, "6789," },
        { "{\"value\":12345678901234567890}", "12345678901234567890", KV_NUMBER, "67890," },
        { "{\"value\":true}", "true", KV_BOOLEAN, "\"value\":true,\"type\":\"boolean\"" },
        { "{\"value\":null}", "null", KV_JSON, "\"value\":null,\"type\":\"json\"" },
        { "{\"value\":{\"b\":1,\"a\":[ ]}}", "{\"b\":1,\"a\":[]}", KV_JSON, "\"a\":[]}," },
        { "{\"value\":\"x\",\"type\":\"string\"}", "x", KV_STRING, "\"value\":\"x\"" },
        { "{\"value\":\"x\",\"type\":\"json\"}", "\"x\"", KV_JSON, "\"value\":\"x\"" },
        { "{\"value\":\"_w==\",\"type\":\"json\"}", "\"_w==\"", KV_JSON, "\"_w==\"" },
        { "{\"value\":\"/w==\",\"type\":\"bytes\"}", "\xff", KV_BYTES, "\"type\":\"bytes\"" },
        { "{\"value\":\"aGk=\",\"type\":\"bytes\"}", "hi", KV_BYTES, "\"value\":\"hi\"" },
        { "{\"value\":5,\"type\":\"json\"}", "5", KV_JSON, "\"value\":5,\"type\":\"json\"" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int status = ask(&d, "PUT", "/v1/config/k", table[i].body);
        EXPECT(status == (i ? 200 : 201) && told(&d, table[i].shown));
        const struct kv_version *v = kv_get(d.m.kv, SPAN(REST_ROOT "k"), 0);
        EXPECT(v && v->type == table[i].type && span_is(kv_value(v), table[i].stored));
        struct span written = d.answer.body;
        EXPECT(ask(&d, "GET", "/v1/config/k", "") == 200);
        EXPECT(span_equal(written, d.answer.body));
    }
    EXPECT(drive_close(&d));
}

TEST(rest_bodies_that_are_refused)
{
    static const struct {
        const char *body;
        const char *code, *why;
    } table[] = {
        { "", "body_not_json", "" },
        { "{\"value\":1", "body_not_json", "" },
        { "{\"value\":1}x", "body_not_json", "" },
        { "{\"value\":1,\"value\":2}", "body_not_json", "" },
        { "5", "bad_request", "must be an object" },
        { "[]", "bad_request", "must be an object" },
        { "{}", "bad_request", "/value: is missing" },
        { "{\"value\":1,\"note\":2}", "bad_request", "/note: unknown member" },
        { "{\"value\":1,\"type\":5}", "bad_request", "/type: must be" },
        { "{\"value\":1,\"type\":\"text\"}", "bad_request", "/type: must be" },
        { "{\"value\":1,\"type\":\"string\"}", "bad_request", "is not of the type" },
        { "{\"value\":\"1\",\"type\":\"number\"}", "bad_request", "is not of the type" },
        { "{\"value\":1,\"type\":\"bytes\"}", "bad_request", "is not of the type" },
        { "{\"value\":null,\"type\":\"boolean\"}", "bad_request", "is not of the type" },
        { "{\"value\":\"a\",\"type\":\"bytes\"}", "bad_request", "must be base64" },
        { "{\"value\":\"_w==\",\"type\":\"bytes\"}", "bad_request", "must be base64" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        EXPECT(ask(&d, "PUT", "/v1/config/k", table[i].body) == 400);
        EXPECT(told(&d, table[i].code) && told(&d, table[i].why));
    }
    static const char *const types[] = { "text/plain", "application/jsonx", "application/json+x",
                                         "" };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        EXPECT(ask_if(&d, "content-type", types[i], "PUT", "/v1/config/k", "{\"value\":1}") == 415);
    EXPECT(kv_revision(d.m.kv) == 1);
    EXPECT(ask_if(&d, "content-type", "application/json; charset=utf-8", "PUT", "/v1/config/k",
                  "{\"value\":1}") == 201);
    EXPECT(ask_if(&d, "x", "none", "PUT", "/v1/config/k", "{\"value\":1}") == 200);
    /* As curl says it, which no form of a page can: one cannot PUT. */
    EXPECT(ask_if(&d, "content-type", "application/x-www-form-urlencoded", "PUT", "/v1/config/k",
                  "{\"value\":1}") == 200);
    EXPECT(drive_close(&d));
}

/* What came through another door may be any bytes. */
TEST(rest_values_of_other_doors)
{
    struct drive d;
    drive_open(&d);
    drive_put_bytes(&d, SPAN("text"), SPAN("h\xc3\xa9"));
    EXPECT(ask(&d, "GET", "/v1/config/text", "") == 200);
    EXPECT(told(&d, "\"value\":\"h\xc3\xa9\",\"type\":\"string\""));
    drive_put_bytes(&d, SPAN("raw\xff\n"), SPAN("\xff\x00\xfe"));
    EXPECT(ask(&d, "GET", "/v1/config?prefix=raw", "") == 200);
    EXPECT(told(&d, "\"value\":\"/wD+\",\"type\":\"bytes\""));
    EXPECT(told(&d, "\"key\":\"raw\xef\xbf\xbd\\n\"")); /* U+FFFD */
    EXPECT(drive_close(&d));
}

TEST(rest_item_has_its_history)
{
    struct drive d;
    drive_open(&d);
    d.now_ms = 951782400123; /* a leap day of a year that 400 divides */
    EXPECT(ask(&d, "PUT", "/v1/config/k", "{\"value\":1}") == 201);
    EXPECT(has_header(&d, "etag", "\"1\"") && has_header(&d, "content-type", "application/json"));
    EXPECT(span_is(d.answer.body,
                   "{\"key\":\"k\",\"environment\":\"default\",\"value\":1,\"type\":\"number\","
                   "\"version\":1,\"revision\":2,"
                   "\"updated_at\":\"2000-02-29T00:00:00.123Z\",\"updated_by\":\"anonymous\"}"));
    EXPECT(ask(&d, "PUT", "/v1/config/k", "{\"value\":2}") == 200 && told(&d, "\"version\":2"));
    EXPECT(has_header(&d, "etag", "\"2\""));
    EXPECT(ask(&d, "GET", "/v1/config/k?revision=2", "") == 200 && told(&d, "\"version\":1"));
    EXPECT(ask(&d, "GET", "/v1/config/k?revision=1", "") == 404);
    drive_put_bytes(&d, SPAN("by"), SPAN("me"));
    EXPECT(ask(&d, "GET", "/v1/config/by", "") == 200 && told(&d, "\"updated_by\":\"me\""));
    EXPECT(drive_close(&d));
}

TEST(rest_dates)
{
    static const struct {
        int64_t ms;
        const char *date;
    } table[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { 86399999, "1970-01-01T23:59:59.999Z" },
        { 68169600000, "1972-02-29T00:00:00.000Z" },
        { 94694400000, "1973-01-01T00:00:00.000Z" },
        { 978307199999, "2000-12-31T23:59:59.999Z" },
        { 1709164800000, "2024-02-29T00:00:00.000Z" },
        { 1709251200000, "2024-03-01T00:00:00.000Z" },
        { 2147483648000, "2038-01-19T03:14:08.000Z" },
        { 4107542400000, "2100-03-01T00:00:00.000Z" }, /* no leap year */
        { 253402300799999, "9999-12-31T23:59:59.999Z" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        d.now_ms = table[i].ms;
        EXPECT(ask(&d, "PUT", "/v1/config/k", "{\"value\":1}") > 0 && told(&d, table[i].date));
    }
    EXPECT(drive_close(&d));
}

/* ---- conditions ---- */

TEST(rest_conditional_writes)
{
    static const struct {
        const char *name, *value, *method, *query;
        int status;
        const char *etag; /* of the answer */
    } table[] = {
        { "if-match", "*", "PUT", "", 412, "\"0\"" },
        { "if-match", "\"1\"", "PUT", "", 412, "\"0\"" },
        { "if-match", "x", "PUT", "", 400, NULL },
        { "if-match", "\"1", "PUT", "", 400, NULL },
        { "if-match", "W/\"1\"", "PUT", "", 400, NULL },
        { "if-none-match", "\"1\"", "PUT", "", 400, NULL },
        { "if-none-match", "*", "DELETE", "", 400, NULL },
        { "x", "", "DELETE", "", 404, NULL },
        { "if-match", "*", "DELETE", "", 412, "\"0\"" },
        { "if-none-match", "*", "PUT", "", 201, "\"1\"" },
        { "if-none-match", "*", "PUT", "", 412, "\"1\"" },
        { "if-match", "\"1\"", "PUT", "", 200, "\"2\"" },
        { "if-match", "1", "PUT", "", 412, "\"2\"" },
        { "if-match", "2", "PUT", "", 200, "\"3\"" },
        { "if-match", "*", "PUT", "", 200, "\"4\"" },
        { "x", "", "PUT", "?version=3", 412, "\"4\"" },
        { "x", "", "PUT", "?version=4", 200, "\"5\"" },
        { "x", "", "DELETE", "?version=4", 412, "\"5\"" },
        { "if-match", "\"5\"", "DELETE", "", 200, NULL },
        { "x", "", "PUT", "?version=0", 201, "\"1\"" },
        { "if-match", "*", "DELETE", "", 200, NULL },
        { "x", "", "DELETE", "?version=0", 412, "\"0\"" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf target;
        buf_open(&target, &d.heap);
        buf_format(&target, "/v1/config/k%s", table[i].query);
        int64_t before = kv_revision(d.m.kv);
        int status = ask_if(&d, table[i].name, table[i].value, table[i].method,
                            arena_text(&d.arena, buf_all(&target)), "{\"value\":1}");
        buf_close(&target);
        EXPECT(status == table[i].status);
        EXPECT((kv_revision(d.m.kv) > before) == (status < 300));
        EXPECT(!table[i].etag || has_header(&d, "etag", table[i].etag));
        EXPECT(status != 412 || told(&d, "\"code\":\"precondition\""));
    }
    EXPECT(drive_close(&d));
}

TEST(rest_conditional_reads)
{
    struct drive d;
    drive_open(&d);
    EXPECT(ask(&d, "PUT", "/v1/config/k", "{\"value\":1}") == 201);
    EXPECT(ask_if(&d, "if-none-match", "\"1\"", "GET", "/v1/config/k", "") == 304);
    EXPECT(d.answer.body.len == 0 && has_header(&d, "etag", "\"1\""));
    EXPECT(ask_if(&d, "if-none-match", "*", "GET", "/v1/config/k", "") == 304);
    EXPECT(ask_if(&d, "if-none-match", "\"2\"", "GET", "/v1/config/k", "") == 200);
    EXPECT(ask_if(&d, "if-none-match", "*", "GET", "/v1/config/none", "") == 404);
    EXPECT(ask(&d, "HEAD", "/v1/config/k", "") == 200 && d.call.head);
    EXPECT(ask(&d, "DELETE", "/v1/config/k", "") == 200);
    EXPECT(span_is(d.answer.body, "{\"key\":\"k\",\"revision\":3,\"deleted\":true}"));
    EXPECT(drive_close(&d));
}

TEST(rest_problems)
{
    struct drive d;
    struct rest_answer a;
    drive_open(&d);
    rest_problem(ERR_OVERLOADED, NULL, &d.arena, &a);
    EXPECT(a.status == 503 && a.header_count == 1);
    EXPECT(span_is(a.body, "{\"type\":\"urn:confman:error:overloaded\","
                           "\"title\":\"Service Unavailable\",\"status\":503,"
                           "\"code\":\"overloaded\",\"detail\":"
                           "\"the server has more work than it takes at once\"}"));
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
        rest_problem((enum err)e, "\xff\"", &d.arena, &a);
        if (e != ERR_METHOD_NOT_ALLOWED) /* whose detail is the header */
            drive_check_answer(&a);
        EXPECT(a.status == err_http((enum err)e));
    }
    EXPECT(drive_close(&d));
}

/* ---- lists ---- */

static size_t count_of(struct span s, const char *text)
{
    size_t n = 0;
    const uint8_t *at;
    while ((at = memmem(s.data, s.len, text, strlen(text))) != NULL) {
        n++;
        s = span_from(s, (size_t)(at - s.data) + 1);
    }
    return n;
}

/* The target of the next page; NULL: that was the last. */
static const char *next_page(struct drive *d, const char *target)
{
    static const char name[] = "\"next_page_token\":\"";
    struct span body = d->answer.body;
    const uint8_t *at = memmem(body.data, body.len, name, sizeof(name) - 1);
    if (!at)
        return NULL;
    struct span token = span_of(at + sizeof(name) - 1, 0);
    while (token.data[token.len] != '"')
        token.len++;
    struct buf b;
    buf_open(&b, &d->heap);
    buf_format(&b, "%s&page_token=", target);
    buf_span(&b, token);
    const char *out = arena_text(&d->arena, buf_all(&b));
    buf_close(&b);
    return out;
}

/* Pages read at one revision: what is written meanwhile neither comes twice nor goes missing. */
TEST(rest_pages)
{
    static const char first[] = "/v1/config?prefix=p/&limit=3";
    struct drive d;
    size_t items = 0, pages = 0;
    drive_open(&d);
    EXPECT(ask(&d, "PUT", "/v1/config/p", "{\"value\":1}") == 201); /* beside the prefix */
    for (char c = 'a'; c <= 'k'; c++) {
        char target[] = "/v1/config/p/x";
        target[sizeof(target) - 2] = c;
        EXPECT(ask(&d, "PUT", target, "{\"value\":1}") == 201);
    }
    for (const char *target = first; target; target = next_page(&d, first)) {
        EXPECT(ask(&d, "GET", target, "") == 200 && told(&d, "\"revision\":13"));
        items += count_of(d.answer.body, "\"key\":");
        pages++;
        struct span page = d.answer.body;
        EXPECT(ask(&d, "PUT", "/v1/config/p/a0", "{\"value\":1}") > 0);
        EXPECT(ask(&d, "DELETE", "/v1/config/p/k", "") > 0);
        d.answer.body = page;
    }
    EXPECT(items == 11 && pages == 4);
    EXPECT(ask(&d, "GET", "/v1/config?prefix=p/", "") == 200);
    EXPECT(count_of(d.answer.body, "\"key\":") == 11); /* a0 came, k went */
    EXPECT(drive_close(&d));
}

TEST(rest_prefixes)
{
    struct drive d;
    drive_open(&d);
    drive_put_bytes(&d, SPAN("\xff\xff"), SPAN("1"));
    drive_put_bytes(&d, SPAN("\xff\xff\x01"), SPAN("2"));
    drive_put_bytes(&d, SPAN("a"), SPAN("3"));
    static const struct {
        const char *target;
        size_t n;
    } table[] = { { "/v1/config", 3 },
                  { "/v1/config?prefix=", 3 },
                  { "/v1/config?prefix=%ff%ff", 2 },
                  { "/v1/config?prefix=%ff%ff%01", 1 },
                  { "/v1/config?prefix=%ff%ff%ff", 0 },
                  { "/v1/config?prefix=a", 1 } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        EXPECT(ask(&d, "GET", table[i].target, "") == 200);
        EXPECT(count_of(d.answer.body, "\"key\":") == table[i].n);
    }
    EXPECT(drive_close(&d));
}

/* ---- watches ---- */

TEST(rest_watch_requests)
{
    struct drive d;
    const struct watch_request *w = &d.call.request.watch;
    drive_open(&d);
    EXPECT(ask(&d, "GET", "/v1/watch?key=a", "") == 0);
    EXPECT(span_is(w->key, REST_ROOT "a") && !w->range_end.len && w->start_revision == 0);
    EXPECT(ask(&d, "GET", "/v1/watch?prefix=a/&revision=0", "") == 0);
    EXPECT(span_is(w->key, REST_ROOT "a/") && span_is(w->range_end, REST_ROOT "a0"));
    EXPECT(w->start_revision == 1); /* it has seen nothing */
    EXPECT(ask_if(&d, "last-event-id", "7", "GET", "/v1/watch?prefix=&revision=3", "") == 0);
    EXPECT(w->start_revision == 8);
    EXPECT(drive_close(&d));
}

struct heard {
    struct arena *arena;
    struct span text;
};

static void hear(void *context, struct span text)
{
    struct heard *h = context;
    h->text = arena_copy(h->arena, text);
}

TEST(rest_watch_tells_events)
{
    struct drive d;
    drive_open(&d);
    d.now_ms = 0;
    EXPECT(ask(&d, "GET", "/v1/watch?prefix=a", "") == 0);
    EXPECT(ask(&d, "PUT", "/v1/config/b", "{\"value\":1}") == 201 && d.events.len == 0);
    EXPECT(ask(&d, "PUT", "/v1/config/a%20b", "{\"value\":\"l\\ni\"}") == 201);
    EXPECT(span_is(buf_all(&d.events),
                   "id: 3\nevent: put\ndata: {\"key\":\"a b\",\"environment\":\"default\","
                   "\"value\":\"l\\ni\","
                   "\"type\":\"string\",\"version\":1,\"revision\":3,\"updated_at\":"
                   "\"1970-01-01T00:00:00.000Z\",\"updated_by\":\"anonymous\"}\n\n"));
    EXPECT(ask(&d, "DELETE", "/v1/config/a%20b", "") == 200);
    EXPECT(span_is(buf_all(&d.events),
                   "id: 4\nevent: delete\ndata: {\"key\":\"a b\",\"environment\":\"default\","
                   "\"revision\":4}\n\n"));
    EXPECT(ask(&d, "GET", "/v1/watch?prefix=a&revision=2", "") == 0);
    EXPECT(count_of(buf_all(&d.events), "event: ") == 2);
    struct kv_change changes[2];
    const struct kv_change *two[2] = { &changes[0], &changes[1] };
    struct kv_cursor cursor = { .revision = 3 };
    EXPECT(kv_history(d.m.kv, &cursor, changes, 2) == 2);
    struct watch_batch batch = { NULL, two + 1, 1 };
    struct heard h = { .arena = &d.arena };
    rest_watch_events(d.m.kv, &batch, REST_WEBSOCKET, &d.arena, hear, &h);
    EXPECT(span_is(h.text, "{\"type\":\"delete\",\"revision\":4,"
                           "\"item\":{\"key\":\"a b\",\"environment\":\"default\","
                           "\"revision\":4}}"));
    batch.changes = two;
    rest_watch_events(d.m.kv, &batch, REST_WEBSOCKET, &d.arena, hear, &h);
    EXPECT(contains(h.text, "{\"type\":\"put\",\"revision\":3,\"item\":{\"key\":\"a b\""));
    EXPECT(drive_close(&d));
}

TEST(rest_watch_other_texts)
{
    static const struct {
        struct span (*text)(int64_t revision, enum rest_watch_form form, struct arena *arena);
        const char *sse, *websocket;
    } table[] = {
        { rest_watch_ready, "id: 5\nevent: ready\ndata: {\"revision\":5}\n\n",
          "{\"type\":\"ready\",\"revision\":5}" },
        { rest_watch_progress, "id: 5\nevent: progress\ndata: {\"revision\":5}\n\n",
          "{\"type\":\"progress\",\"revision\":5}" },
        { rest_watch_compacted, "id: 5\nevent: compacted\ndata: {\"revision\":5}\n\n",
          "{\"type\":\"compacted\",\"revision\":5}" },
    };
    struct drive d;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        EXPECT(span_is(table[i].text(5, REST_SSE, &d.arena), table[i].sse));
        EXPECT(span_is(table[i].text(5, REST_WEBSOCKET, &d.arena), table[i].websocket));
    }
    EXPECT(drive_close(&d));
}

TEST(rest_status)
{
    struct drive d;
    struct rest_answer a;
    drive_open(&d);
    EXPECT(ask(&d, "GET", "/v1/status", "") == 200);
    struct reply reply = { .type = REQUEST_STATUS, .revision = 4 };
    reply.status.version = "3.6";
    reply.status.leader = 9;
    reply.status.nospace = true;
    reply.status.applied_index = 7;
    rest_answer(&d.call, d.m.kv, &reply, &d.arena, &a);
    drive_check_answer(&a);
    EXPECT(contains(a.body, "\"revision\":4") && contains(a.body, "\"applied_index\":7"));
    EXPECT(contains(a.body, "\"has_leader\":true") && contains(a.body, "\"nospace\":true"));
    reply.err = ERR_NO_LEADER;
    rest_answer(&d.call, d.m.kv, &reply, &d.arena, &a);
    EXPECT(a.status == 503 && contains(a.body, "no leader"));
    EXPECT(drive_close(&d));
}
