/* bearer: what is kept of tokens that stand for a user until they end, and of AppRoles, by which
 * programs come to such tokens; as Vault's clients know them.
 *
 * A token is the key "confman/token/<SHA-256 of it, in hexadecimal>", an AppRole the key
 * "confman/approle/<name>": what is in the store proves nothing to whoever reads it. Whoever may
 * write these keys may be anybody: core/machine lets root alone. An AppRole stands for the user of
 * its name, whose roles say what its tokens may. Numbers in the formats are varints, and are for
 * ever. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define BEARER_TOKENS "confman/token/"
#define BEARER_ROLES "confman/approle/"
#define BEARER_REVOKED "confman/revoked/" /* of tokens that were ended before their time */
#define BEARER_REVOKED_END "confman/revoked0"
#define BEARER_PREFIX "hvs." /* of a token's text: the letters, a dot, and its place in the log */

enum {
    BEARER_HASH = 32,            /* SHA-256 */
    BEARER_RANDOM = 18,          /* bytes that are drawn for a token or secret id: 144 bits */
    BEARER_TEXT_MAX = 100,       /* of a token */
    BEARER_ID_MAX = 64,          /* of accessors */
    BEARER_NAME_MAX = 128,       /* of an AppRole, a display name */
    BEARER_ROLE_RANDOM = 16,     /* letters of a role id before the dot and the AppRole's name */
    BEARER_ROLE_ID_MAX = BEARER_ROLE_RANDOM + 1 + BEARER_NAME_MAX,
    BEARER_TOKENS_MAX = 65536,   /* that are kept; more are refused */
    BEARER_REVOKED_MAX = 65536,  /* tokens that were ended early and might still count otherwise */
    BEARER_SECRET_IDS_MAX = 100, /* of one AppRole */
    BEARER_TTL_DEFAULT_S = 32 * 24 * 3600, /* Vault's: 32 days */
};
#define BEARER_TTL_MAX_S 315360000LL /* ten years */

struct bearer_token {
    struct span user;
    struct span accessor, display, path; /* tells it apart; for people; how it was come by */
    int64_t created_ms, expires_ms;      /* since 1970 */
    int64_t ttl_ms;                      /* what a renewal gives, up to max_ms */
    int64_t max_ms;                      /* since 1970: no renewal goes beyond; 0: none */
    bool renewable;
};
void bearer_token_write(const struct bearer_token *t, struct buf *out);
/* Spans point into the bytes. ERR_CORRUPT, ERR_FORMAT. */
enum err bearer_token_read(struct span bytes, struct bearer_token *out) MUST_CHECK;

struct bearer_secret_id {
    uint8_t hash[BEARER_HASH];
    struct span accessor;
    int64_t created_ms, expires_ms; /* 0: never */
    int64_t uses;                   /* left; 0: no matter how many */
};
struct bearer_role {
    struct span role_id;
    int64_t created_ms;
    int64_t token_ttl_ms, token_max_ttl_ms; /* 0: as for all */
    int64_t secret_id_ttl_ms;               /* 0: they never end */
    int64_t secret_id_uses;                 /* 0: no matter how many */
    struct bearer_secret_id ids[BEARER_SECRET_IDS_MAX];
    size_t n;
};
void bearer_role_write(const struct bearer_role *r, struct buf *out);
enum err bearer_role_read(struct span bytes, struct bearer_role *out) MUST_CHECK;

/* The key of a token's hash, of an AppRole; in the arena. */
struct span bearer_revoked_key(const uint8_t hash[BEARER_HASH], struct arena *arena);
bool bearer_revoked_hash(struct span key, uint8_t hash[BEARER_HASH]); /* false: it is no such key */
struct span bearer_token_key(const uint8_t hash[BEARER_HASH], struct arena *arena);
struct span bearer_role_key(struct span name, struct arena *arena);
bool bearer_name_good(struct span name); /* letters, digits, dots, hyphens, underscores */

/* A token's text: the part that is hashed, and the place in the log from which on it is known.
 * False: it is none. */
bool bearer_text(struct span text, struct span *hashed, uint64_t *index);

/* Drops secret ids that have ended. True: there was one. */
bool bearer_role_prune(struct bearer_role *r, int64_t now_ms);
struct bearer_secret_id *bearer_find(struct bearer_role *r, const uint8_t hash[BEARER_HASH]);
/* Until when a renewal now lasts. */
int64_t bearer_renewed(const struct bearer_token *t, int64_t ttl_ms, int64_t now_ms);
