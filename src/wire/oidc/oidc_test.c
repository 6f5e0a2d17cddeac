#include "wire/oidc/oidc.h"
#include "base/test.h"
#include "wire/json/json.h"

struct bench {
    struct alloc heap;
    struct arena arena;
    struct oidc_rule rules[OIDC_RULES_MAX];
    size_t n_rules;
};

static void bench_open(struct bench *b)
{
    *b = (struct bench){ .n_rules = 0 };
    alloc_heap(&b->heap);
    jsonr_use(&b->heap);
    arena_open(&b->arena, &b->heap);
}

static bool bench_close(struct bench *b)
{
    arena_close(&b->arena);
    return b->heap.used == 0;
}

static enum oidc_fault check(struct bench *b, const char *claims, const char *issuer,
                             const char *user_claim, const char *nonce)
{
    struct oidc_claims c;
    struct oidc_wanted w = { .issuer = span_text(issuer),
                             .tenants = strstr(issuer, "{") ? SPAN("t1,t2") : SPAN_NONE,
                             .audiences = SPAN("us,them"),
                             .nonce = span_text(nonce),
                             .now_s = 1000 };
    enum err e = oidc_claims_read(span_text(claims), span_text(user_claim), b->rules, b->n_rules,
                                  &b->arena, &c);
    return e == ERR_OK ? oidc_check(&c, &w) : OIDC_USER;
}

TEST(oidc_claims_that_are_believed)
{
    struct bench b;
    bench_open(&b);
    static const struct {
        enum oidc_fault fault;
        const char *claims;
    } cases[] = {
        { OIDC_FINE, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":1001,\"sub\":\"ann\"}" },
        { OIDC_FINE, "{\"iss\":\"i\",\"aud\":[\"x\",\"them\"],\"exp\":1001.5,\"sub\":\"ann\"}" },
        { OIDC_FINE, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":941,\"nbf\":1060,\"sub\":\"ann\"}" },
        { OIDC_EXPIRED, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":940,\"sub\":\"ann\"}" },
        { OIDC_EXPIRED, "{\"iss\":\"i\",\"aud\":\"us\",\"sub\":\"ann\"}" },
        { OIDC_EARLY, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":2000,\"nbf\":1061,\"sub\":\"ann\"}" },
        { OIDC_EARLY, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":2000,\"iat\":1061,\"sub\":\"ann\"}" },
        { OIDC_ISSUER, "{\"iss\":\"j\",\"aud\":\"us\",\"exp\":2000,\"sub\":\"ann\"}" },
        { OIDC_ISSUER, "{\"aud\":\"us\",\"exp\":2000,\"sub\":\"ann\"}" },
        { OIDC_AUDIENCE, "{\"iss\":\"i\",\"aud\":\"usx\",\"exp\":2000,\"sub\":\"ann\"}" },
        { OIDC_AUDIENCE, "{\"iss\":\"i\",\"aud\":[\"\"],\"exp\":2000,\"sub\":\"ann\"}" },
        { OIDC_AUDIENCE, "{\"iss\":\"i\",\"exp\":2000,\"sub\":\"ann\"}" },
        { OIDC_USER, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":2000}" },
        { OIDC_USER, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":2000,\"sub\":\"a\\nb\"}" },
        { OIDC_USER, "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":\"2000\",\"sub\":\"ann\"}" },
        { OIDC_USER, "[]" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        EXPECT(check(&b, cases[i].claims, "i", "sub", "") == cases[i].fault);
    EXPECT(bench_close(&b));
}

TEST(oidc_tenants_nonces_and_addresses)
{
    struct bench b;
    bench_open(&b);
    const char *of_t2 = "{\"iss\":\"https://l/t2/v2\",\"tid\":\"t2\",\"aud\":\"us\",\"exp\":2000,"
                        "\"oid\":\"7\",\"nonce\":\"n\",\"email\":\"a@b\",\"azp\":\"us\"}";
    const char *template = "https://l/{tenantid}/v2";
    EXPECT(check(&b, of_t2, template, "oid", "") == OIDC_FINE);
    EXPECT(check(&b, of_t2, template, "oid", "n") == OIDC_FINE);
    EXPECT(check(&b, of_t2, template, "oid", "m") == OIDC_NONCE);
    EXPECT(check(&b, of_t2, template, "email", "") == OIDC_USER);
    EXPECT(check(&b,
                 "{\"iss\":\"https://l/t3/v2\",\"tid\":\"t3\",\"aud\":\"us\",\"exp\":2000,"
                 "\"oid\":\"7\"}",
                 template, "oid", "") == OIDC_TENANT);
    EXPECT(check(&b,
                 "{\"iss\":\"https://l/t3/v2\",\"tid\":\"t2\",\"aud\":\"us\",\"exp\":2000,"
                 "\"oid\":\"7\"}",
                 template, "oid", "") == OIDC_ISSUER);
    EXPECT(check(&b,
                 "{\"iss\":\"i\",\"aud\":\"us\",\"exp\":2000,\"email\":\"a@b\","
                 "\"email_verified\":true,\"nonce\":\"n\",\"azp\":\"other\"}",
                 "i", "email", "n") == OIDC_NONCE);
    EXPECT(bench_close(&b));
}

TEST(oidc_rules_and_what_they_match)
{
    struct bench b;
    struct oidc_claims c;
    size_t n;
    bench_open(&b);
    EXPECT(oidc_rules_read(SPAN("groups=g:1:dev,roles=Admin:root,sub=*:all"), b.rules, &b.n_rules));
    EXPECT(b.n_rules == 3 && span_is(b.rules[0].value, "g:1") && span_is(b.rules[0].role, "dev"));
    EXPECT(oidc_claims_read(SPAN("{\"groups\":[\"x\",\"g:1\",3],\"roles\":\"Adm\",\"sub\":\"a\"}"),
                            SPAN("sub"), b.rules, 3, &b.arena, &c) == ERR_OK);
    EXPECT(c.matched[0] && !c.matched[1] && c.matched[2]);
    EXPECT(oidc_claims_read(SPAN("{\"groups\":{\"g:1\":1},\"sub\":5}"), SPAN("sub"), b.rules, 3,
                            &b.arena, &c) == ERR_OK);
    EXPECT(!c.matched[0] && !c.matched[1] && !c.matched[2]);
    static const char *const bad[] = { "x", "a=b", "=b:c", "a=:c", "a=b:", "a=b:c,,", "a:b=c" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT(!oidc_rules_read(span_text(bad[i]), b.rules, &n));
    EXPECT(oidc_rules_read(SPAN_NONE, b.rules, &n) && n == 0);
    struct buf many;
    buf_open(&many, &b.heap);
    for (int i = 0; i <= OIDC_RULES_MAX; i++)
        buf_text(&many, "a=b:c,");
    EXPECT(!oidc_rules_read(buf_all(&many), b.rules, &n));
    buf_close(&many);
    EXPECT(bench_close(&b));
}

TEST(oidc_documents)
{
    struct bench b;
    struct oidc_discovery d;
    struct oidc_key *keys;
    struct span token;
    size_t n;
    bench_open(&b);
    EXPECT(oidc_discovery_read(SPAN("{\"issuer\":\"i\",\"jwks_uri\":\"k\"}"), &b.arena, &d) ==
               ERR_OK &&
           span_is(d.keys_url, "k") && !d.token_url.len);
    EXPECT(oidc_discovery_read(SPAN("{\"issuer\":\"i\"}"), &b.arena, &d) == ERR_BAD_REQUEST);
    EXPECT(oidc_keys_read(SPAN("{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"1\",\"n\":\"AQAB\",\"e\":"
                               "\"AQAB\"},{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AQAB\",\"e\":"
                               "\"AQAB\"},{\"kty\":\"oct\",\"k\":\"AQAB\"},{\"kty\":\"EC\",\"x\":"
                               "\"AQAB\"},7,{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                               "\"x\":\"AQAB\"}]}"),
                          &b.arena, &keys, &n) == ERR_OK);
    EXPECT(n == 2 && keys[0].first.len == 3 && span_is(keys[1].curve, "Ed25519"));
    EXPECT(oidc_keys_read(SPAN("{\"keys\":7}"), &b.arena, &keys, &n) == ERR_BAD_REQUEST);
    struct buf many;
    buf_open(&many, &b.heap);
    buf_text(&many, "{\"keys\":[1");
    for (int i = 0; i < OIDC_KEYS_MAX; i++)
        buf_text(&many, ",1");
    buf_text(&many, "]}");
    EXPECT(oidc_keys_read(buf_all(&many), &b.arena, &keys, &n) == ERR_BAD_REQUEST);
    buf_close(&many);
    EXPECT(oidc_answer_read(SPAN("{\"id_token\":\"a.b.c\"}"), &b.arena, &token) == ERR_OK);
    EXPECT(oidc_answer_read(SPAN("{\"error\":\"x\"}"), &b.arena, &token) == ERR_BAD_REQUEST);
    EXPECT(bench_close(&b));
}
