#include "wire/oidc/oidc.h"
#include "base/check.h"
#include "wire/json/json.h"

enum { NAME_MAX_BYTES = 128 };

static json_t *read_object(struct span text)
{
    char why[JSONR_WHY_MAX];
    json_t *v = NULL;
    if (jsonr_read(text, &v, why) != ERR_OK)
        return NULL;
    if (json_is_object(v))
        return v;
    json_decref(v);
    return NULL;
}

static struct span text_of(const json_t *v)
{
    return json_is_string(v) ? span_of(json_string_value(v), json_string_length(v)) : SPAN_NONE;
}

/* A text, copied; none: empty. */
static struct span member(const json_t *object, const char *name, struct arena *arena)
{
    return arena_copy(arena, text_of(json_object_get(object, name)));
}

/* ---- what an issuer tells of itself ---- */

enum err oidc_discovery_read(struct span text, struct arena *arena, struct oidc_discovery *out)
{
    json_t *v = read_object(text);
    *out = (struct oidc_discovery){ .issuer = SPAN_NONE };
    if (!v)
        return ERR_BAD_REQUEST;
    out->issuer = member(v, "issuer", arena);
    out->keys_url = member(v, "jwks_uri", arena);
    out->login_url = member(v, "authorization_endpoint", arena);
    out->token_url = member(v, "token_endpoint", arena);
    json_decref(v);
    return out->issuer.len && out->keys_url.len ? ERR_OK : ERR_BAD_REQUEST;
}

static bool number(const json_t *object, const char *name, struct arena *arena, struct span *out)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    bool ok = jsonr_base64(text_of(json_object_get(object, name)), true, &b) && b.len > 0;
    if (ok)
        *out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return ok;
}

/* False: of another kind, or for another use. */
static bool read_key(const json_t *v, struct arena *arena, struct oidc_key *out)
{
    struct span use = text_of(json_object_get(v, "use"));
    *out = (struct oidc_key){ .id = member(v, "kid", arena),
                              .alg = member(v, "alg", arena),
                              .type = member(v, "kty", arena),
                              .curve = member(v, "crv", arena) };
    if (use.len && !span_is(use, "sig"))
        return false;
    if (span_is(out->type, "RSA"))
        return number(v, "n", arena, &out->first) && number(v, "e", arena, &out->second);
    if (span_is(out->type, "EC"))
        return number(v, "x", arena, &out->first) && number(v, "y", arena, &out->second);
    return span_is(out->type, "OKP") && number(v, "x", arena, &out->first);
}

enum err oidc_keys_read(struct span text, struct arena *arena, struct oidc_key **out, size_t *n)
{
    json_t *v = read_object(text);
    const json_t *list = json_object_get(v, "keys");
    size_t count = json_array_size(list);
    bool ok = json_is_array(list) && count <= OIDC_KEYS_MAX;
    *out = ARENA_ARRAY(arena, struct oidc_key, ok ? count + 1 : 1);
    *n = 0;
    for (size_t i = 0; ok && i < count; i++)
        *n += read_key(json_array_get(list, i), arena, &(*out)[*n]);
    json_decref(v);
    return ok ? ERR_OK : ERR_BAD_REQUEST;
}

enum err oidc_answer_read(struct span text, struct arena *arena, struct span *out)
{
    json_t *v = read_object(text);
    *out = v ? member(v, "id_token", arena) : SPAN_NONE;
    json_decref(v);
    return out->len ? ERR_OK : ERR_BAD_REQUEST;
}

/* ---- rules ---- */

/* Cuts up to a byte off the front, at its first place or its last; false: it is not there. */
static bool cut(struct span *rest, uint8_t at, bool last, struct span *front)
{
    const uint8_t *place = rest->len == 0 ? NULL
                           : last         ? memrchr(rest->data, at, rest->len)
                                          : memchr(rest->data, at, rest->len);
    if (!place)
        return false;
    *front = span_of(rest->data, (size_t)(place - rest->data));
    *rest = span_from(*rest, front->len + 1);
    return true;
}

bool oidc_rules_read(struct span text, struct oidc_rule rules[OIDC_RULES_MAX], size_t *n)
{
    *n = 0;
    while (text.len) {
        struct span one;
        if (!cut(&text, ',', false, &one)) {
            one = text;
            text = SPAN_NONE;
        }
        if (*n == OIDC_RULES_MAX)
            return false;
        struct oidc_rule *r = &rules[(*n)++];
        if (!cut(&one, '=', false, &r->claim) || !cut(&one, ':', true, &r->value))
            return false;
        r->role = one;
        if (!r->claim.len || r->claim.len >= NAME_MAX_BYTES || !r->value.len || !r->role.len)
            return false;
    }
    return true;
}

/* ---- claims ---- */

static const json_t *claim(const json_t *claims, struct span name)
{
    char text[NAME_MAX_BYTES];
    if (name.len >= sizeof(text))
        return NULL;
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    return json_object_get(claims, text);
}

static bool says(const json_t *v, struct span value)
{
    bool any = span_is(value, "*");
    if (json_is_string(v))
        return json_string_length(v) > 0 && (any || span_equal(text_of(v), value));
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *one = json_array_get(v, i);
        if (json_is_string(one) && (any || span_equal(text_of(one), value)))
            return true;
    }
    return false;
}

/* A number, whole or not; false: it is there and none that fits (2^53: a double is exact). */
static bool take_time(const json_t *claims, const char *name, int64_t *out)
{
    static const double most = 9007199254740992;
    const json_t *v = json_object_get(claims, name);
    double d = json_number_value(v);
    *out = 0;
    if (!v)
        return true;
    if (!json_is_number(v) || !(d >= 0 && d < most))
        return false;
    *out = (int64_t)d;
    return true;
}

static bool take_audiences(const json_t *v, struct arena *arena, struct oidc_claims *out)
{
    size_t n = json_is_string(v) ? 1 : json_array_size(v);
    if (n > OIDC_AUDIENCES_MAX)
        return false;
    out->audiences = ARENA_ARRAY(arena, struct span, n + 1);
    out->n_audiences = n;
    for (size_t i = 0; i < n; i++)
        out->audiences[i] =
            arena_copy(arena, text_of(json_is_string(v) ? v : json_array_get(v, i)));
    return true;
}

enum err oidc_claims_read(struct span json, struct span user_claim, const struct oidc_rule *rules,
                          size_t n_rules, struct arena *arena, struct oidc_claims *out)
{
    *out = (struct oidc_claims){ .issuer = SPAN_NONE };
    json_t *v = read_object(json);
    if (!v)
        return ERR_BAD_REQUEST;
    out->issuer = member(v, "iss", arena);
    out->tenant = member(v, "tid", arena);
    out->nonce = member(v, "nonce", arena);
    out->party = member(v, "azp", arena);
    out->has_expiry = json_object_get(v, "exp") != NULL;
    out->user = arena_copy(arena, text_of(claim(v, user_claim)));
    out->email_unproven =
        span_is(user_claim, "email") && !json_is_true(json_object_get(v, "email_verified"));
    out->matched = ARENA_ARRAY(arena, bool, n_rules + 1);
    for (size_t i = 0; i < n_rules; i++)
        out->matched[i] = says(claim(v, rules[i].claim), rules[i].value);
    bool ok = take_time(v, "exp", &out->expires_s) && take_time(v, "nbf", &out->not_before_s) &&
              take_time(v, "iat", &out->issued_s) &&
              take_audiences(json_object_get(v, "aud"), arena, out);
    json_decref(v);
    return ok ? ERR_OK : ERR_BAD_REQUEST;
}

static bool lists(struct span list, struct span word)
{
    while (list.len) {
        struct span one;
        if (!cut(&list, ',', false, &one)) {
            one = list;
            list = SPAN_NONE;
        }
        if (word.len && span_equal(one, word))
            return true;
    }
    return false;
}

/* The token's tenant stands where the template says so. */
static bool is_issuer(const struct oidc_claims *c, struct span wanted)
{
    static const struct span hole = { (const uint8_t *)"{tenantid}", 10 };
    const uint8_t *at = memmem(wanted.data, wanted.len, hole.data, hole.len);
    if (!at)
        return span_equal(c->issuer, wanted);
    struct span front = span_of(wanted.data, (size_t)(at - wanted.data));
    struct span back = span_from(wanted, front.len + hole.len);
    size_t len = front.len + c->tenant.len + back.len;
    return c->tenant.len && c->issuer.len == len && span_starts(c->issuer, front) &&
           span_equal(span_of(c->issuer.data + front.len, c->tenant.len), c->tenant) &&
           span_equal(span_from(c->issuer, front.len + c->tenant.len), back);
}

static bool is_for_us(const struct oidc_claims *c, struct span audiences)
{
    for (size_t i = 0; i < c->n_audiences; i++)
        if (lists(audiences, c->audiences[i]))
            return true;
    return false;
}

static bool user_fits(const struct oidc_claims *c)
{
    for (size_t i = 0; i < c->user.len; i++)
        if (c->user.data[i] < 0x20 || c->user.data[i] == 0x7f)
            return false;
    return c->user.len && c->user.len <= OIDC_USER_MAX && !c->email_unproven;
}

enum oidc_fault oidc_check(const struct oidc_claims *c, const struct oidc_wanted *w)
{
    if (!is_issuer(c, w->issuer))
        return OIDC_ISSUER;
    if (w->tenants.len && !lists(w->tenants, c->tenant))
        return OIDC_TENANT;
    if (!is_for_us(c, w->audiences))
        return OIDC_AUDIENCE;
    if (!c->has_expiry || c->expires_s <= w->now_s - OIDC_SKEW_S)
        return OIDC_EXPIRED;
    if (c->not_before_s > w->now_s + OIDC_SKEW_S || c->issued_s > w->now_s + OIDC_SKEW_S)
        return OIDC_EARLY;
    /* Of a login that we began: it is the answer to it, and made for us (Core 3.1.3.7). */
    if (w->nonce.len && (!span_equal(c->nonce, w->nonce) ||
                         (c->party.len && !lists(w->audiences, c->party))))
        return OIDC_NONCE;
    return user_fits(c) ? OIDC_FINE : OIDC_USER;
}

const char *oidc_fault_text(enum oidc_fault f)
{
    static const char *const texts[] = {
        [OIDC_FINE] = "it is good",
        [OIDC_ISSUER] = "another issuer",
        [OIDC_TENANT] = "of a tenant that oidc-tenants does not list",
        [OIDC_AUDIENCE] = "made for another audience",
        [OIDC_EXPIRED] = "it has expired",
        [OIDC_EARLY] = "its time has not come",
        [OIDC_NONCE] = "not the answer to this login",
        [OIDC_USER] = "the claim oidc-user-claim names nobody that can be a user",
    };
    CHECK(f <= OIDC_USER);
    return texts[f];
}
