#include "node/revoke.h"
#include "base/check.h"
#include "core/bearer/bearer.h"
#include "node/secret_int.h"

static const struct span root = { (const uint8_t *)BEARER_REVOKED, sizeof(BEARER_REVOKED) - 1 };
static const struct span root_end = { (const uint8_t *)BEARER_REVOKED_END,
                                      sizeof(BEARER_REVOKED_END) - 1 };
enum { SWEEP_KEYS = 1000 };

size_t revoke_count(const struct node *n)
{
    return (size_t)kv_count(n->machine.kv, root, root_end);
}

static struct span key_of(struct node *n, struct span token)
{
    uint8_t hash[TOKEN_HASH];
    size_t len = token.len;
    while (len && token.data[len - 1] != '.')
        len--;
    token_hash(span_of(token.data, len ? len - 1 : token.len), hash);
    return bearer_revoked_key(hash, &n->turn);
}

bool revoke_has(struct node *n, struct span token)
{
    return revoke_count(n) > 0 && kv_get(n->machine.kv, key_of(n, token), 0) != NULL;
}

enum err revoke_begin(struct call *call, struct span token, int64_t expires_ms)
{
    struct node *n = call->node;
    struct change c = { 0 };
    struct buf b;
    if (revoke_count(n) >= BEARER_REVOKED_MAX) {
        n->metrics.revocations_full++;
        return ERR_REVOKED_FULL;
    }
    buf_open(&b, n->turn.alloc);
    buf_format(&b, "%lld", (long long)expires_ms);
    change_put(n, &c, key_of(n, token), &b);
    change_propose(call, &c, true);
    return ERR_OK;
}

/* Simple tokens are in a table, by the same hash. What connections remember is looked at again. */
void revoke_changed(struct node *n, const struct kv_change *changes, size_t count)
{
    uint8_t hash[TOKEN_HASH];
    for (size_t i = 0; i < count; i++) {
        if (changes[i].now->tombstone || !bearer_revoked_hash(kv_key(changes[i].now), hash))
            continue;
        struct proof *p = tokens_find(&n->logins.simple, hash, loop_now_ms(n->loop));
        if (p)
            tokens_drop(&n->logins.simple, p);
        n->logins.generation++;
        n->metrics.tokens_revoked++;
    }
}

static bool has_ended(const struct node *n, const struct kv_version *v)
{
    int64_t at = 0;
    struct span s = kv_value(v);
    for (size_t i = 0; i < s.len && i < 15 && s.data[i] >= '0' && s.data[i] <= '9'; i++)
        at = at * 10 + (s.data[i] - '0');
    return at <= loop_wall_ms(n->loop);
}

void revoke_sweep(struct node *n)
{
    struct kv_page page;
    struct change c = { 0 };
    struct buf *at = &n->revoke_swept;
    if (n->update.role != RAFT_LEADER || !call_has_state(n) || !revoke_count(n) ||
        kv_page(n->machine.kv, at->len ? buf_all(at) : root, root_end,
                kv_revision(n->machine.kv), SWEEP_KEYS, &n->turn, &page) != ERR_OK)
        return;
    for (size_t i = 0; i < page.n && c.n_ops < CHANGE_MAX; i++)
        if (has_ended(n, page.items[i])) {
            change_if(&c, kv_key(page.items[i]), page.items[i]->mod_revision);
            change_delete(&c, kv_key(page.items[i]), SPAN_NONE);
        }
    enum err e = c.n_ops ? change_try(n, &c) : ERR_OK;
    buf_reset(at);
    if (e == ERR_OK && !page.over && c.n_ops < CHANGE_MAX) /* else from the start */
        buf_span(at, page.next);
}
