/* oidc: texts of OpenID Connect (Core 1.0, Discovery 1.0) and key sets (RFC 7517), read; and what
 * the claims of a token must say to be believed. Pure; the signature is checked elsewhere, before
 * any claim counts, and times come in with the call. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

enum {
    OIDC_KEYS_MAX = 64,     /* of a key set; one with more is refused */
    OIDC_RULES_MAX = 128,   /* that map claims to roles */
    OIDC_AUDIENCES_MAX = 64, /* of one token */
    OIDC_SKEW_S = 60,       /* by which the issuer's clock may differ from ours */
    OIDC_USER_MAX = 200,    /* bytes of what tells the user */
};

/* ---- what an issuer tells of itself ---- */

struct oidc_discovery {
    struct span issuer, keys_url;   /* always there */
    struct span login_url, token_url; /* or empty */
};

/* ERR_BAD_REQUEST: no JSON object, or without issuer and jwks_uri. Spans are in the arena. */
enum err oidc_discovery_read(struct span text, struct arena *arena,
                             struct oidc_discovery *out) MUST_CHECK;

/* A public key as it came (RFC 7518 6, RFC 8037); its numbers decoded. */
struct oidc_key {
    struct span id, alg;    /* or empty */
    struct span type;       /* "RSA", "EC", "OKP" */
    struct span curve;      /* EC, OKP: "P-256" */
    struct span first, second; /* RSA: n, e; EC: x, y; OKP: x */
};

/* Those that check signatures; others, and what is not understood, are passed over.
 * ERR_BAD_REQUEST: no key set, or more than OIDC_KEYS_MAX. */
enum err oidc_keys_read(struct span text, struct arena *arena, struct oidc_key **out,
                        size_t *n) MUST_CHECK;

/* The id_token of a token endpoint's answer. ERR_BAD_REQUEST: there is none. */
enum err oidc_answer_read(struct span text, struct arena *arena, struct span *out) MUST_CHECK;

/* ---- claims ---- */

/* A claim with this value ("*": any), a text or one of a list of texts, gives the role. */
struct oidc_rule {
    struct span claim, value, role;
};

/* "claim=value:role,...", the value up to the last colon. False: it is not, or there are more than
 * OIDC_RULES_MAX. Spans point into the text. */
bool oidc_rules_read(struct span text, struct oidc_rule rules[OIDC_RULES_MAX], size_t *n);

struct oidc_claims {
    struct span issuer, tenant, nonce, party; /* iss, tid, nonce, azp */
    struct span *audiences;
    size_t n_audiences;
    bool has_expiry;
    int64_t expires_s, not_before_s, issued_s; /* since 1970 */
    struct span user;     /* what the claim says that tells who it is; empty: nothing */
    bool email_unproven;  /* the claim is email, and email_verified is not true */
    bool *matched;        /* for each rule */
};

/* ERR_BAD_REQUEST: no JSON object, times that are no numbers, too many audiences. */
enum err oidc_claims_read(struct span json, struct span user_claim, const struct oidc_rule *rules,
                          size_t n_rules, struct arena *arena, struct oidc_claims *out) MUST_CHECK;

struct oidc_wanted {
    struct span issuer;    /* may have "{tenantid}" in it, as Azure AD's for many tenants */
    struct span tenants;   /* "a,b": then the token must be of one of them */
    struct span audiences; /* "a,b": one of them must be the token's */
    struct span nonce;     /* empty: none is asked for */
    int64_t now_s;
};

enum oidc_fault {
    OIDC_FINE,
    OIDC_ISSUER,
    OIDC_TENANT,
    OIDC_AUDIENCE,
    OIDC_EXPIRED, /* or no time at which it will */
    OIDC_EARLY,
    OIDC_NONCE,
    OIDC_USER, /* nobody is named, or too long, or by an unproven address */
};

enum oidc_fault oidc_check(const struct oidc_claims *c, const struct oidc_wanted *w) MUST_CHECK;
const char *oidc_fault_text(enum oidc_fault f);
