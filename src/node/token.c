#include "node/token.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include "base/check.h"

/* ---- users ---- */

struct identity *identity_new(struct alloc *alloc, struct span name)
{
    CHECK(name.len > 0 && name.len <= IDENTITY_MAX);
    struct identity *u = mem_alloc(alloc, sizeof(*u) + name.len);
    *u = (struct identity){ .alloc = alloc, .holders = 1, .len = (uint32_t)name.len };
    memcpy(u->name, name.data, name.len);
    return u;
}

struct identity *identity_hold(struct identity *u)
{
    if (u)
        u->holders++;
    return u;
}

void identity_let_go(struct identity *u)
{
    if (!u)
        return;
    CHECK(u->holders > 0);
    if (--u->holders == 0)
        mem_free(u->alloc, u, sizeof(*u) + u->len);
}

struct span identity_name(const struct identity *u)
{
    return u ? span_of(u->name, u->len) : SPAN_NONE;
}

/* ---- the table ---- */

static uint64_t slot_of(const uint8_t hash[TOKEN_HASH])
{
    uint64_t v;
    memcpy(&v, hash, sizeof(v));
    return v;
}

void tokens_open(struct tokens *t, struct alloc *alloc, size_t max)
{
    *t = (struct tokens){ .alloc = alloc, .max = max };
    CHECK(max > 0);
    map_open(&t->by_hash, alloc);
}

void tokens_close(struct tokens *t)
{
    tokens_drop_all(t);
    map_close(&t->by_hash);
}

static void unlink_proof(struct tokens *t, struct proof *p)
{
    if (p->older)
        p->older->newer = p->newer;
    else
        t->oldest = p->newer;
    if (p->newer)
        p->newer->older = p->older;
    else
        t->newest = p->older;
}

static void link_newest(struct tokens *t, struct proof *p)
{
    p->older = t->newest;
    p->newer = NULL;
    if (t->newest)
        t->newest->newer = p;
    else
        t->oldest = p;
    t->newest = p;
}

void tokens_drop(struct tokens *t, struct proof *p)
{
    CHECK(map_remove(&t->by_hash, slot_of(p->hash)) == p);
    unlink_proof(t, p);
    identity_let_go(p->who);
    mem_free(t->alloc, p, sizeof(*p));
    t->n--;
}

void tokens_add(struct tokens *t, const uint8_t hash[TOKEN_HASH], struct span user, uint64_t number,
                int64_t until_ms)
{
    /* Two hashes that begin with the same 8 bytes: whoever makes that happen loses a proof. */
    struct proof *before = map_get(&t->by_hash, slot_of(hash));
    if (before)
        tokens_drop(t, before);
    if (t->n == t->max) {
        tokens_drop(t, t->oldest);
        t->dropped++;
    }
    struct proof *p = mem_zero(t->alloc, sizeof(*p));
    p->who = identity_new(t->alloc, user);
    p->number = number;
    p->until_ms = until_ms;
    memcpy(p->hash, hash, TOKEN_HASH);
    map_set(&t->by_hash, slot_of(hash), p);
    link_newest(t, p);
    t->n++;
}

struct proof *tokens_find(struct tokens *t, const uint8_t hash[TOKEN_HASH], int64_t now_ms)
{
    struct proof *p = map_get(&t->by_hash, slot_of(hash));
    if (!p || CRYPTO_memcmp(p->hash, hash, TOKEN_HASH) != 0)
        return NULL;
    if (p->until_ms <= now_ms) {
        tokens_drop(t, p);
        return NULL;
    }
    unlink_proof(t, p);
    link_newest(t, p);
    return p;
}

void tokens_drop_user(struct tokens *t, struct span user)
{
    for (struct proof *p = t->oldest, *next; p; p = next) {
        next = p->newer;
        if (span_equal(identity_name(p->who), user))
            tokens_drop(t, p);
    }
}

void tokens_drop_all(struct tokens *t)
{
    while (t->oldest)
        tokens_drop(t, t->oldest);
}

void tokens_sweep(struct tokens *t, int64_t now_ms)
{
    while (t->oldest && t->oldest->until_ms <= now_ms)
        tokens_drop(t, t->oldest);
}

/* ---- simple tokens ---- */

static const char letters_of[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
enum { LETTERS = sizeof(letters_of) - 1, FAIR = 256 / LETTERS * LETTERS };

bool token_letters(const uint8_t random[TOKEN_RANDOM], char out[TOKEN_LETTERS + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < TOKEN_RANDOM && n < TOKEN_LETTERS; i++)
        if (random[i] < FAIR)
            out[n++] = letters_of[random[i] % LETTERS];
    out[n] = 0;
    return n == TOKEN_LETTERS;
}

bool token_simple(struct span token, struct span *letters, uint64_t *index)
{
    uint64_t v = 0;
    if (token.len < TOKEN_LETTERS + 2 || token.len > TOKEN_SIMPLE_MAX ||
        token.data[TOKEN_LETTERS] != '.')
        return false;
    *letters = span_of(token.data, TOKEN_LETTERS);
    for (size_t i = TOKEN_LETTERS + 1; i < token.len; i++) {
        uint8_t digit = (uint8_t)(token.data[i] - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *index = v;
    return true;
}

void token_hash(struct span secret, uint8_t out[TOKEN_HASH])
{
    CHECK(EVP_Digest(secret.data, secret.len, out, NULL, EVP_sha256(), NULL) == 1);
}
