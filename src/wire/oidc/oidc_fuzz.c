/* Any bytes, as each text that an issuer gives: what is read is within its bounds. */
#include "base/check.h"
#include "wire/json/json.h"
#include "wire/oidc/oidc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct span in, struct arena *arena)
{
    static struct oidc_rule rules[OIDC_RULES_MAX];
    struct oidc_discovery d;
    struct oidc_key *keys;
    struct oidc_claims c;
    struct span token;
    size_t n;
    if (oidc_discovery_read(in, arena, &d) == ERR_OK)
        CHECK(d.issuer.len && d.keys_url.len);
    if (oidc_keys_read(in, arena, &keys, &n) == ERR_OK)
        CHECK(n <= OIDC_KEYS_MAX);
    for (size_t i = 0; i < n; i++)
        CHECK(keys[i].type.len && keys[i].first.len);
    if (oidc_answer_read(in, arena, &token) == ERR_OK)
        CHECK(token.len > 0);
    if (oidc_rules_read(in, rules, &n))
        CHECK(n <= OIDC_RULES_MAX);
    if (!oidc_rules_read(SPAN("groups=g1:dev,sub=*:all"), rules, &n) ||
        oidc_claims_read(in, SPAN("sub"), rules, n, arena, &c) != ERR_OK)
        return;
    struct oidc_wanted w = { .issuer = SPAN("https://i/{tenantid}/v2"),
                             .tenants = SPAN("t1,t2"),
                             .audiences = SPAN("a"),
                             .now_s = 1000 };
    if (oidc_check(&c, &w) == OIDC_FINE)
        CHECK(c.user.len && c.user.len <= OIDC_USER_MAX && c.expires_s > 900 && c.n_audiences);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alloc heap;
    struct arena arena;
    alloc_heap(&heap);
    jsonr_use(&heap);
    arena_open(&arena, &heap);
    read_all(span_of(data, size), &arena);
    arena_close(&arena);
    CHECK(heap.used == 0);
    return 0;
}
