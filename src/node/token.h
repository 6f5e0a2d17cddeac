/* token: what has been proven and need not be proven again for a while: who holds a simple token,
 * which signed token or password was found right.
 *
 * A table of this node's memory, bounded: the proof that was not used for longest goes first. Kept
 * is the SHA-256 of the secret, never the secret. Times are loop_now_ms. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/map.h"
#include "base/span.h"

enum {
    TOKEN_LETTERS = 16, /* of a simple token, before "." and its index (etcd simple_token.go) */
    TOKEN_SIMPLE_MAX = TOKEN_LETTERS + 1 + 20,
    TOKEN_HASH = 32,
    TOKENS_MAX = 65536,
    IDENTITY_MAX = 1024, /* bytes that a caller's name may have */
};

/* Somebody known by name. Shared and counted: whoever keeps one holds it. */
struct identity {
    struct alloc *alloc;
    uint32_t holders;
    uint32_t len;
    uint8_t name[];
};

struct identity *identity_new(struct alloc *alloc, struct span name); /* held once */
struct identity *identity_hold(struct identity *u); /* NULL is fine, also for identity_let_go */
void identity_let_go(struct identity *u);
struct span identity_name(const struct identity *u); /* "" for NULL */

struct proof {
    struct proof *older, *newer; /* by last use */
    struct identity *who;
    uint64_t number; /* simple token: its index; else the revision of the auth store */
    int64_t until_ms;
    uint8_t hash[TOKEN_HASH];
};

struct tokens {
    struct alloc *alloc;
    struct map by_hash; /* by the first 8 bytes */
    struct proof *oldest, *newest;
    size_t n, max;
    uint64_t dropped; /* for want of room */
};

void tokens_open(struct tokens *t, struct alloc *alloc, size_t max);
void tokens_close(struct tokens *t);

/* In place of one with the same hash. */
void tokens_add(struct tokens *t, const uint8_t hash[TOKEN_HASH], struct span user, uint64_t number,
                int64_t until_ms);
/* NULL: not there, or its time has passed. It is now the last used. Valid until the next call. */
struct proof *tokens_find(struct tokens *t, const uint8_t hash[TOKEN_HASH], int64_t now_ms);
void tokens_drop(struct tokens *t, struct proof *p);
void tokens_drop_user(struct tokens *t, struct span user);
void tokens_drop_all(struct tokens *t);
/* Drops those whose time has passed, as far as they are the oldest. */
void tokens_sweep(struct tokens *t, int64_t now_ms);

/* ---- simple tokens: letters "." index ---- */

/* Letters from random bytes; what is 208 or more would favour some letters and is passed over, so
 * more bytes are asked for than letters. False: too many were; ask again with others. */
enum { TOKEN_RANDOM = 40 };
bool token_letters(const uint8_t random[TOKEN_RANDOM], char out[TOKEN_LETTERS + 1]);
/* The letters and the index of a token; false: it is no simple token. */
bool token_simple(struct span token, struct span *letters, uint64_t *index);
void token_hash(struct span secret, uint8_t out[TOKEN_HASH]);
