#include "node/account.h"
#include <stdio.h>
#include "base/check.h"
#include "io/cipher/cipher.h"
#include "node/login_int.h"
#include "node/reach.h"
#include "wire/json/json.h"

enum { TRIES_MAX = 8 }; /* writes of one call that others were quicker than */

static enum err stored(struct node *n, struct span name, struct account *out, int64_t *revision)
{
    const struct kv_version *v = kv_get(n->machine.kv, account_place(name, &n->turn), 0);
    *revision = v ? v->mod_revision : 0;
    *out = (struct account){ .n = 0 };
    return v ? account_read(kv_value(v), &n->turn, out) : ERR_NOT_FOUND;
}

/* ---- proving ---- */

bool account_takes(struct span token)
{
    return span_starts(token, SPAN(ACCOUNT_TOKEN_PREFIX));
}

/* NULL: it proves nothing. */
static const struct account_key *key_of(struct node *n, struct span token, struct account *a,
                                        struct span *name)
{
    struct span id, secret;
    uint8_t hash[ACCOUNT_HASH];
    int64_t revision;
    if (!account_token_split(token, name, &id, &secret) ||
        stored(n, *name, a, &revision) != ERR_OK)
        return NULL;
    token_hash(secret, hash);
    return account_find(a, id, hash, loop_wall_ms(n->loop));
}

bool account_stands(struct node *n, struct span token)
{
    struct account a;
    struct span name;
    return key_of(n, token, &a, &name) != NULL;
}

enum err account_prove(struct call *call, struct span token)
{
    struct node *n = call->node;
    struct account a;
    struct span name;
    int64_t wall_ms = loop_wall_ms(n->loop);
    const struct account_key *key = key_of(n, token, &a, &name);
    if (!key) {
        n->metrics.accounts_refused++;
        return ERR_AUTH_TOKEN;
    }
    call->caller.who = identity_new(&n->alloc, account_user(name, &n->turn));
    int64_t left = key->expires_ms ? key->expires_ms - wall_ms : LOGIN_TRUST_MS;
    login_remember(call, token, loop_now_ms(n->loop) + left);
    return ERR_OK;
}

/* ---- changing ---- */

static enum err propose(struct call *call, const struct account *a, int64_t revision)
{
    struct node *n = call->node;
    struct access_ask *ask = call->rest->access;
    struct kv_compare *compare = ARENA_NEW(&n->turn, struct kv_compare);
    struct kv_op *write = ARENA_NEW(&n->turn, struct kv_op);
    struct span place = account_place(ask->name, &n->turn);
    *compare = (struct kv_compare){ .key = place,
                                    .target = KV_IF_MOD,
                                    .result = KV_IF_EQUAL,
                                    .number = revision };
    if (ask->verb == ACCESS_ACCOUNT_DELETE) {
        *write = (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = place } };
    } else {
        struct buf b;
        buf_open(&b, n->turn.alloc);
        account_write(a, &b);
        *write = (struct kv_op){ .type = KV_OP_PUT, .put = { .key = place } };
        write->put.value = arena_copy(&n->turn, buf_all(&b));
        buf_close(&b);
    }
    struct request r = { .type = REQUEST_TXN, .txn = { compare, write, NULL, 1, 1, 0 } };
    enum err e = login_of(call, &r);
    if (e == ERR_OK)
        call_propose(call, &r);
    return e;
}

/* A new key behind the others; what has expired goes. */
static enum err add_key(struct node *n, struct access_ask *ask, struct account *a)
{
    uint8_t id[ACCOUNT_ID / 2], secret[32];
    int64_t now = loop_wall_ms(n->loop);
    struct buf b;
    size_t kept = 0;
    for (size_t i = 0; i < a->n; i++) {
        int64_t *until = &a->keys[i].expires_ms;
        if (ask->rotates && (!*until || *until > now + ask->grace_s * 1000))
            *until = now + ask->grace_s * 1000;
        if (!*until || *until > now)
            a->keys[kept++] = a->keys[i];
    }
    a->n = kept;
    if (a->n == ACCOUNT_KEYS_MAX)
        return ERR_ACCOUNT_KEYS;
    struct account_key *k = &a->keys[a->n++];
    *k = (struct account_key){ .created_ms = now,
                               .expires_ms = ask->ttl_s ? now + ask->ttl_s * 1000 : 0 };
    cipher_random(id, sizeof(id));
    cipher_random(secret, sizeof(secret));
    for (size_t i = 0; i < ACCOUNT_ID; i++)
        k->id[i] = (uint8_t) "0123456789abcdef"[id[i / 2] >> (i % 2 ? 0 : 4) & 15];
    buf_open(&b, n->turn.alloc);
    jsonw_base64(span_of(secret, sizeof(secret)), true, &b);
    CHECK(b.len == ACCOUNT_SECRET);
    token_hash(buf_all(&b), k->hash);
    snprintf(ask->key, sizeof(ask->key), ACCOUNT_TOKEN_PREFIX "%.*s_%.8s_%.*s", (int)ask->name.len,
             (const char *)ask->name.data, (const char *)k->id, (int)b.len, (const char *)b.data);
    cipher_wipe(b.data, b.len);
    cipher_wipe(secret, sizeof(secret));
    buf_close(&b);
    return ERR_OK;
}

static enum err drop_key(struct account *a, struct span id)
{
    for (size_t i = 0; i < a->n; i++) {
        if (!span_equal(span_of(a->keys[i].id, ACCOUNT_ID), id))
            continue;
        memmove(&a->keys[i], &a->keys[i + 1], (--a->n - i) * sizeof(a->keys[0]));
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}

static enum err change(struct call *call)
{
    struct access_ask *ask = call->rest->access;
    struct account a;
    int64_t revision;
    enum err e = stored(call->node, ask->name, &a, &revision);
    if (e == ERR_NOT_FOUND && ask->verb == ACCESS_ACCOUNT_SET)
        e = ERR_OK;
    if (e == ERR_OK && ask->verb == ACCESS_ACCOUNT_SET)
        a.disabled = ask->disabled;
    else if (e == ERR_OK && ask->verb == ACCESS_ACCOUNT_KEY)
        e = add_key(call->node, ask, &a);
    else if (e == ERR_OK && ask->verb == ACCESS_ACCOUNT_DROP)
        e = drop_key(&a, ask->key_id);
    return e == ERR_OK ? propose(call, &a, revision) : e;
}

static void reached(struct call *call, enum err e)
{
    struct reply done = { .type = REQUEST_NONE, .err = e };
    call_answer_late(call, &done);
}

/* The record is written: now its user. True: that is over. */
static bool see_to_user(struct call *call, enum err *e)
{
    struct access_ask *ask = call->rest->access;
    struct node *n = call->node;
    struct span hash;
    bool no_password;
    *e = ERR_OK;
    if (ask->verb == ACCESS_ACCOUNT_SET) {
        ask->goal.user = account_user(ask->name, &call->arena);
        return reach_begin(call, &ask->goal, false, reached, e);
    }
    struct request r = { .type = REQUEST_USER_DELETE };
    r.auth.user = account_user(ask->name, &n->turn);
    if (ask->verb != ACCESS_ACCOUNT_DELETE ||
        !auth_user_secret(n->machine.auth, r.auth.user, &hash, &no_password))
        return true;
    *e = login_of(call, &r);
    if (*e == ERR_OK)
        call_propose(call, &r);
    return *e != ERR_OK;
}

bool account_replied(struct call *call, const struct reply *reply)
{
    struct access_ask *ask = call->rest->access;
    enum err e = ERR_OK;
    if (reply->type == REQUEST_USER_LIST || (reply->type == REQUEST_TXN && !reply->txn.succeeded)) {
        e = ++ask->tries > TRIES_MAX ? ERR_TOO_MANY_REQUESTS : change(call);
        if (e == ERR_OK)
            return false;
    } else if (reply->type == REQUEST_TXN && !see_to_user(call, &e)) {
        return false;
    }
    if (e != ERR_OK)
        call_end(call, e);
    return e == ERR_OK;
}
