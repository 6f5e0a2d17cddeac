/* account: service accounts: programs that prove who they are by a key of ours,
 * "cmk_NAME_ID_SECRET".
 *
 * An account is one key of the store, "confman/account/NAME", its value JSON: which keys it has, of
 * each the SHA-256 of its secret, never the secret, which is 32 random bytes. It stands for the
 * user "service:NAME" of core/auth, whose roles say what it may. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define ACCOUNT_ROOT "confman/account/"
#define ACCOUNT_USER_PREFIX "service:"
#define ACCOUNT_TOKEN_PREFIX "cmk_"

enum {
    ACCOUNT_NAME_MAX = 60,  /* bytes: letters, digits, hyphens */
    ACCOUNT_KEYS_MAX = 10,  /* of one account; the oldest have to be taken before there are more */
    ACCOUNT_ID = 8,         /* hexadecimal digits that tell an account's keys apart */
    ACCOUNT_SECRET = 43,    /* 32 bytes in base64url */
    ACCOUNT_HASH = 32,
    ACCOUNT_TOKEN_MAX = 4 + ACCOUNT_NAME_MAX + 1 + ACCOUNT_ID + 1 + ACCOUNT_SECRET,
};

struct account_key {
    uint8_t id[ACCOUNT_ID];
    uint8_t hash[ACCOUNT_HASH];
    int64_t created_ms, expires_ms; /* since 1970; expires 0: never */
};

struct account {
    bool disabled; /* no key of it counts */
    struct account_key keys[ACCOUNT_KEYS_MAX]; /* oldest first */
    size_t n;
};

bool account_name_good(struct span name);
/* ERR_CORRUPT: account_write did not write it. jansson's thread only. */
enum err account_read(struct span value, struct arena *arena, struct account *out) MUST_CHECK;
void account_write(const struct account *a, struct buf *out);
struct span account_place(struct span name, struct arena *arena); /* its key of the store */
struct span account_user(struct span name, struct arena *arena);

/* The parts of a token; false: it is none. */
bool account_token_split(struct span token, struct span *name, struct span *id,
                         struct span *secret);
/* Whose secret has this hash, as far as it counts at that time; NULL: none. */
const struct account_key *account_find(const struct account *a, struct span id,
                                       const uint8_t hash[ACCOUNT_HASH], int64_t now_ms);
