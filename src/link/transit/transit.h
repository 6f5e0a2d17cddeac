/* transit: what is asked of another server's transit, which seals and opens our seal's key: paths
 * and bodies of requests, and answers, as Vault's HTTP API has them. Pure.
 *
 * Asked are transit/encrypt and transit/decrypt (their words "plaintext", base64, and "ciphertext",
 * "vault:v" and the number of the key's version, a colon, anything), auth/approle/login, and of the
 * token that is shown auth/token/lookup-self, renew-self and revoke-self
 * (developer.hashicorp.com/vault/api-docs). Answers are {"data": ...} or {"auth": ...} with status
 * 200, or {"errors": [...]} with another. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    TRANSIT_KEY_BYTES = 32,        /* of what is sealed */
    TRANSIT_CIPHERTEXT_MAX = 4096, /* bytes */
    TRANSIT_TOKEN_MAX = 4096,
    TRANSIT_NAME_MAX = 255,     /* of a key, of where the engine is mounted */
    TRANSIT_ANSWER_MAX = 65536, /* bytes of one that is looked at */
    TRANSIT_WHY_MAX = 400,
};

enum transit_op {
    TRANSIT_ENCRYPT,
    TRANSIT_DECRYPT,
    TRANSIT_LOGIN,
    TRANSIT_LOOKUP,
    TRANSIT_RENEW,
    TRANSIT_REVOKE,
    TRANSIT_OPS
};

/* Whether such a name may stand in a path: letters, digits, "-", "_" and ".", and in a mount "/"
 * between parts. */
bool transit_key_good(struct span name);
bool transit_mount_good(struct span mount);
/* Whether a text may stand in a header: no blank, no control characters, and not too long. */
bool transit_token_good(struct span token);
/* "vault:vN:...", all of it printable. */
bool transit_ciphertext_good(struct span text);
/* N of one that is good. */
int64_t transit_version(struct span ciphertext);

/* Appends the address ("https://host:port", which may end with "/") and the operation's path. */
void transit_url(enum transit_op op, const char *address, const char *mount, const char *key,
                 struct buf *out);
bool transit_posts(enum transit_op op); /* else it is a GET, without a body */
/* Appends the body. ENCRYPT: first is the key in clear; DECRYPT: the ciphertext; LOGIN: first is
 * the role's id, second the secret one. */
void transit_body(enum transit_op op, struct span first, struct span second, struct buf *out);

struct transit_answer {
    uint8_t key[TRANSIT_KEY_BYTES]; /* DECRYPT */
    struct span text;               /* ENCRYPT: ciphertext; LOGIN: token */
    int64_t ttl_s;                  /* LOOKUP, RENEW: how long the token lasts; 0: without an end */
    bool renewable;                 /* LOOKUP, RENEW */
};

/* Spans point into the body or the arena. ERR_TRANSIT: why, TRANSIT_WHY_MAX bytes, one line; the
 * server's own words stand in it only where the request had no secret in its body. What LOGIN,
 * DECRYPT gave is in the arena too: its allocator must wipe. */
enum err transit_read(enum transit_op op, int status, struct span body, struct arena *arena,
                      struct transit_answer *out, char *why) MUST_CHECK;
