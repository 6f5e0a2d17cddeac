#include "wire/jwt/jwt.h"
#include "base/test.h"
#include "wire/json/json.h"

static struct alloc heap;
static struct arena arena;
static struct buf out;

static void begin(void)
{
    alloc_heap(&heap);
    jsonr_use(&heap);
    arena_open(&arena, &heap);
    buf_open(&out, &heap);
}

static bool end(void)
{
    buf_close(&out);
    arena_close(&arena);
    return heap.used == 0;
}

/* The example of RFC 7515 A.1: its claims are not ours, its parts are. */
TEST(jwt_splits_the_rfc_example)
{
    struct jwt_parts p;
    begin();
    struct span text = SPAN("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
                            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    EXPECT(jwt_split(text, &arena, &p) == ERR_OK);
    EXPECT(span_is(p.alg, "HS256") && p.signature.len == 32 && p.signature.data[0] == 116);
    EXPECT(p.content.data == text.data && p.content.len == text.len - 44);
    EXPECT(p.claims.data[0] == '{' && p.claims.data[p.claims.len - 1] == '}');
    EXPECT(end());
}

TEST(jwt_refuses_what_is_no_token)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "a.b.c",
        "e30.e30.",                                        /* {} has no alg */
        "eyJhbGciOiJIUzI1NiJ9.e30",                        /* two parts */
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln.c2ln",              /* four */
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln=",                  /* padding */
        "eyJhbGciOiJIUzI1NiJ9.e+0.c2ln",                   /* the other alphabet */
        "eyJhbGciOjF9.e30.c2ln",                           /* alg 1 */
        "W10.e30.c2ln",                                    /* [] */
        "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsiYiJdfQ.e30.c2ln", /* crit */
        "eyJhbGciOiJIUzI1NiIsImFsZyI6Im5vbmUifQ.e30.c2ln", /* alg twice */
    };
    struct jwt_parts p;
    begin();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT(jwt_split(span_text(bad[i]), &arena, &p) == ERR_BAD_REQUEST);
    uint8_t *much = arena_alloc(&arena, JWT_BYTES_MAX + 1);
    memset(much, 'A', JWT_BYTES_MAX + 1);
    memcpy(much, "eyJhbGciOiJIUzI1NiJ9.e30.", 25);
    EXPECT(jwt_split(span_of(much, JWT_BYTES_MAX), &arena, &p) == ERR_OK);
    EXPECT(jwt_split(span_of(much, JWT_BYTES_MAX + 1), &arena, &p) == ERR_BAD_REQUEST);
    EXPECT(end());
}

TEST(jwt_reads_claims)
{
    struct jwt_claims c;
    begin();
    struct span all = SPAN("{\"username\":\"root\",\"revision\":7,\"exp\":1700000000,\"nbf\":1.5}");
    EXPECT(jwt_claims_read(all, &arena, &c) == ERR_OK);
    EXPECT(span_is(c.user, "root") && c.revision == 7 && c.expires_s == 1700000000 &&
           c.not_before_s == 1);
    EXPECT(jwt_claims_read(SPAN("{\"username\":\"u\",\"revision\":2.0}"), &arena, &c) == ERR_OK);
    EXPECT(c.revision == 2 && c.expires_s == 0);
    EXPECT(jwt_claims_read(SPAN("{\"username\":\"u\",\"revision\":2,\"exp\":0}"), &arena, &c) ==
           ERR_OK);
    EXPECT(c.expires_s == 1); /* not: never */
    EXPECT(end());
}

TEST(jwt_refuses_bad_claims)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "null",
        "{\"username\":\"u\"}",
        "{\"revision\":1}",
        "{\"username\":1,\"revision\":1}",
        "{\"username\":\"u\",\"revision\":\"1\"}",
        "{\"username\":\"u\",\"revision\":-1}",
        "{\"username\":\"u\",\"revision\":1e300}",
        "{\"username\":\"u\",\"revision\":1,\"exp\":\"never\"}",
        "{\"username\":\"u\",\"revision\":1,\"exp\":-1}",
        "{\"username\":\"u\",\"revision\":1,\"nbf\":null}",
        "{\"username\":\"u\",\"username\":\"root\",\"revision\":1}",
    };
    struct jwt_claims c;
    begin();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT(jwt_claims_read(span_text(bad[i]), &arena, &c) == ERR_BAD_REQUEST);
    EXPECT(end());
}

TEST(jwt_writes_what_it_reads)
{
    struct jwt_claims c = { .user = SPAN("a \"b\""), .revision = 12, .expires_s = 1700000000 };
    struct jwt_claims again;
    struct jwt_parts p;
    begin();
    jwt_write("RS256", &c, &out);
    size_t content_len = out.len;
    jwt_write_signature(SPAN("\1\2\3"), &out);
    EXPECT(jwt_split(buf_all(&out), &arena, &p) == ERR_OK);
    EXPECT(p.content.len == content_len && span_is(p.alg, "RS256") &&
           span_is(p.signature, "\1\2\3"));
    EXPECT(jwt_claims_read(p.claims, &arena, &again) == ERR_OK);
    EXPECT(span_equal(again.user, c.user) && again.revision == 12 && again.expires_s == 1700000000);
    EXPECT(end());
}
