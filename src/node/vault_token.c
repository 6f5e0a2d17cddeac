/* Tokens and AppRoles of Vault's clients. */
#include <openssl/evp.h>
#include "node/vault_int.h"
#include "wire/json/json.h"

enum { SWEEP_KEYS = 1000 }; /* tokens looked at in one sweep */

/* ---- texts ---- */

void vault_hash(struct span text, uint8_t hash[BEARER_HASH])
{
    token_hash(text, hash);
}

struct span vault_random_text(struct call *call, const char *prefix)
{
    uint8_t random[BEARER_RANDOM];
    struct buf b;
    buf_open(&b, &call->node->alloc);
    buf_text(&b, prefix);
    cipher_random(random, sizeof(random));
    jsonw_base64(span_of(random, sizeof(random)), true, &b);
    struct span out = arena_copy(&call->arena, buf_all(&b));
    cipher_wipe(random, sizeof(random));
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    return out;
}

/* Also when its user is gone: the sweep takes it away, so that it is not good again for whoever
 * gets that name later. Where nobody is asked who it is, there need be no such user. */
static bool has_ended(struct node *n, const struct bearer_token *t)
{
    const struct auth *auth = n->machine.auth;
    return (t->expires_ms && t->expires_ms <= loop_wall_ms(n->loop)) ||
           (t->user.len && auth_enabled(auth) && !auth_who(auth, t->user));
}

static enum err token_at(struct node *n, struct span key, struct bearer_token *out)
{
    const struct kv_version *v = seal_stored(n, key);
    enum err e = v ? bearer_token_read(kv_value(v), out) : ERR_AUTH_TOKEN;
    if (e == ERR_OK && has_ended(n, out))
        e = ERR_AUTH_TOKEN;
    return e;
}

/* The key of what was shown; "": it is no token of this kind. */
static struct span key_of(struct node *n, struct span text, uint64_t *index)
{
    uint8_t hash[BEARER_HASH];
    struct span hashed;
    if (!bearer_text(text, &hashed, index))
        return SPAN_NONE;
    vault_hash(hashed, hash);
    return bearer_token_key(hash, &n->turn);
}

enum err vault_prove(struct node *n, struct span text, struct span *user, uint64_t *index)
{
    struct bearer_token t;
    struct span key = key_of(n, text, index);
    enum err e = key.len ? token_at(n, key, &t) : ERR_AUTH_TOKEN;
    if (e == ERR_OK)
        *user = t.user;
    return e == ERR_OK ? ERR_OK : ERR_AUTH_TOKEN;
}

/* ---- answers ---- */

static void tell(struct call *call, const struct bearer_token *t, struct span text, bool auth,
                 struct rest_answer *out)
{
    struct node *n = call->node;
    struct auth_names roles = { NULL, 0 };
    static const struct span all[] = { { (const uint8_t *)"root", 4 } };
    if (auth_enabled(n->machine.auth) &&
        auth_user_roles(n->machine.auth, t->user, &n->turn, &roles) != ERR_OK)
        roles.n = 0;
    bool anybody = !auth_enabled(n->machine.auth);
    struct vault_token a = { .token = t,
                             .text = text,
                             .policies = anybody ? all : roles.items,
                             .n_policies = anybody ? 1 : roles.n,
                             .now_ms = loop_wall_ms(n->loop),
                             .auth = auth };
    vault_token(&a, &call->arena, out);
}

void vault_give_token(struct call *call, struct change *c, struct bearer_token token,
                      int64_t ttl_ms)
{
    struct node *n = call->node;
    struct vault_work *w = call->vault;
    struct span root = SPAN(BEARER_TOKENS);
    struct kv_range all = { .key = root,
                            .range_end = kv_prefix_end(root, &n->turn),
                            .count_only = true };
    struct kv_range_result found;
    uint8_t hash[BEARER_HASH];
    struct buf b;
    enum err e = kv_range(n->machine.kv, &all, &n->turn, &found);
    CHECK(e == ERR_OK);
    if (found.count >= BEARER_TOKENS_MAX) {
        n->metrics.vault_tokens_full++;
        vault_refuse(call, ERR_LOGINS_FULL, "there are too many tokens: revoke some");
        return;
    }
    token.created_ms = loop_wall_ms(n->loop);
    token.ttl_ms = ttl_ms > 0 ? ttl_ms : (int64_t)BEARER_TTL_DEFAULT_S * 1000;
    if (token.max_ms) /* it was how long */
        token.max_ms += token.created_ms;
    token.expires_ms = bearer_renewed(&token, 0, token.created_ms);
    token.user = arena_copy(&call->arena, token.user);
    token.display = arena_copy(&call->arena, token.display);
    token.accessor = vault_random_text(call, "");
    w->text = vault_random_text(call, BEARER_PREFIX);
    w->token = token;
    w->gives_token = true;
    vault_hash(w->text, hash);
    buf_open(&b, n->turn.alloc);
    bearer_token_write(&token, &b);
    struct span key = bearer_token_key(hash, &n->turn);
    change_if(c, key, 0);
    change_put(n, c, key, &b);
    vault_write(call, c, true);
}

void vault_token_given(struct call *call)
{
    struct node *n = call->node;
    struct vault_work *w = call->vault;
    struct rest_answer a;
    struct buf b;
    buf_open(&b, &n->alloc);
    buf_span(&b, w->text);
    buf_format(&b, ".%llu", (unsigned long long)n->machine.applied_index);
    n->metrics.vault_tokens_given++;
    tell(call, &w->token, buf_all(&b), true, &a);
    vault_answer(call, &a);
    cipher_wipe(b.data, b.len);
    buf_close(&b);
}

/* ---- tokens ---- */

/* Who asks and by which token; one of another kind is told as far as it can be. */
static enum err caller_of(struct call *call, struct bearer_token *t, struct span *key)
{
    struct node *n = call->node;
    struct request r = { .type = REQUEST_STATUS };
    uint64_t index;
    enum err e = login_of(call, &r);
    *key = key_of(n, call->caller.said, &index);
    if (e == ERR_OK && key->len)
        return token_at(n, *key, t);
    if (e == ERR_OK && auth_enabled(n->machine.auth) && !r.author.len)
        e = ERR_USER_EMPTY;
    *t = (struct bearer_token){ .user = r.author,
                                .display = r.author.len ? r.author : SPAN("anonymous"),
                                .path = SPAN("auth/confman") };
    return e;
}

/* The one that the body names: one's own user's, or any for root. */
static enum err named(struct call *call, struct bearer_token *t, struct span *key)
{
    struct node *n = call->node;
    struct request r = { .type = REQUEST_STATUS };
    uint64_t index;
    *key = key_of(n, call->vault->call.body.token, &index);
    enum err e = login_of(call, &r);
    if (e == ERR_OK)
        e = machine_permits(&n->machine, &r);
    if (e == ERR_OK)
        e = key->len ? token_at(n, *key, t) : ERR_AUTH_TOKEN;
    if (e == ERR_OK && auth_enabled(n->machine.auth) && !span_equal(t->user, r.author))
        e = auth_admin(n->machine.auth, r.author, r.auth_revision);
    return e;
}

static void renew(struct call *call, const struct bearer_token *t, struct span key,
                  struct span text)
{
    struct node *n = call->node;
    struct bearer_token now = *t;
    struct change c = { 0 };
    struct buf b;
    if (!key.len || !t->renewable) {
        vault_refuse(call, ERR_BAD_REQUEST, "lease is not renewable");
        return;
    }
    now.expires_ms = bearer_renewed(t, call->vault->call.body.ttl_ms, loop_wall_ms(n->loop));
    buf_open(&b, n->turn.alloc);
    bearer_token_write(&now, &b);
    change_if_same(n, &c, key);
    change_put(n, &c, key, &b);
    tell(call, &now, text, true, &call->vault->answer);
    vault_write(call, &c, true);
}

static void revoke(struct call *call, struct span key)
{
    struct change c = { 0 };
    vault_nothing(&call->vault->answer);
    if (!key.len) {
        vault_refuse(call, ERR_BAD_REQUEST, "only tokens that begin with hvs. can be revoked");
        return;
    }
    change_delete(&c, key, SPAN_NONE);
    vault_write(call, &c, true);
}

static void create(struct call *call, const struct bearer_token *parent)
{
    const struct vault_body *b = &call->vault->call.body;
    struct change c = { 0 };
    struct bearer_token t = { .user = parent->user,
                              .display = b->display_name.len ? b->display_name : SPAN("token"),
                              .path = SPAN("auth/token/create"),
                              .max_ms = b->max_ttl_ms > 0 ? b->max_ttl_ms : 0,
                              .renewable = b->renewable != 0 };
    if (b->policies)
        vault_refuse(call, ERR_BAD_REQUEST,
                     "policies cannot be chosen: they are the roles of the token's user");
    else if (b->uses > 0)
        vault_refuse(call, ERR_BAD_REQUEST, "num_uses is not offered here");
    else if (t.display.len > BEARER_NAME_MAX || b->ttl_ms > BEARER_TTL_MAX_S * 1000)
        vault_refuse(call, ERR_BAD_REQUEST, "the name or the time to live is too long");
    else
        vault_give_token(call, &c, t, b->ttl_ms);
}

static void login_by_password(struct call *call)
{
    struct span user = identity_name(call->caller.who);
    struct change c = { 0 };
    struct bearer_token t = {
        .user = user, .display = user, .path = SPAN("auth/userpass/login"), .renewable = true
    };
    if (call->caller.err != ERR_OK || !user.len)
        vault_refuse(call, call->caller.err != ERR_OK ? call->caller.err : ERR_AUTH_FAILED, NULL);
    else
        vault_give_token(call, &c, t, 0);
}

void vault_tokens(struct call *call)
{
    struct vault_work *w = call->vault;
    enum vault_op op = w->call.op;
    struct bearer_token t;
    struct span key, text = w->call.body.token;
    bool self = op == VAULT_TOKEN_SELF || op == VAULT_TOKEN_RENEW_SELF ||
                op == VAULT_TOKEN_REVOKE_SELF || op == VAULT_TOKEN_CREATE;
    if (op == VAULT_USERPASS_LOGIN) {
        login_by_password(call);
        return;
    }
    enum err e = self ? caller_of(call, &t, &key) : named(call, &t, &key);
    if (self)
        text = call->caller.said;
    if (e != ERR_OK) {
        vault_refuse(call, e, NULL);
    } else if (op == VAULT_TOKEN_SELF || op == VAULT_TOKEN_LOOKUP) {
        tell(call, &t, text, false, &w->answer);
        vault_answer(call, &w->answer);
    } else if (op == VAULT_TOKEN_RENEW_SELF || op == VAULT_TOKEN_RENEW) {
        renew(call, &t, key, text);
    } else if (op == VAULT_TOKEN_REVOKE_SELF || op == VAULT_TOKEN_REVOKE) {
        revoke(call, key);
    } else {
        create(call, &t);
    }
}

void vault_sweep(struct node *n)
{
    struct span root = SPAN(BEARER_TOKENS);
    struct kv_page page;
    struct change c = { 0 };
    struct bearer_token t;
    if (n->update.role != RAFT_LEADER || !call_has_state(n))
        return;
    struct buf *at = &n->vault_swept;
    struct span from = at->len ? buf_all(at) : root;
    if (kv_page(n->machine.kv, from, kv_prefix_end(root, &n->turn), kv_revision(n->machine.kv),
                SWEEP_KEYS, &n->turn, &page) != ERR_OK)
        return;
    for (size_t i = 0; i < page.n && c.n_ops < CHANGE_MAX; i++) {
        bool good = bearer_token_read(kv_value(page.items[i]), &t) == ERR_OK;
        if (good && has_ended(n, &t)) {
            change_if(&c, kv_key(page.items[i]), page.items[i]->mod_revision);
            change_delete(&c, kv_key(page.items[i]), SPAN_NONE);
        }
    }
    if (c.n_ops && change_try(n, &c) == ERR_OK)
        n->metrics.vault_tokens_ended += c.n_ops;
    buf_reset(at);
    if (!page.over && c.n_ops < CHANGE_MAX)
        buf_span(at, page.next);
}

/* ---- AppRoles ---- */

static enum err role_at(struct node *n, struct span name, struct bearer_role *out)
{
    const struct kv_version *v = seal_stored(n, bearer_role_key(name, &n->turn));
    *out = (struct bearer_role){ 0 };
    return v ? bearer_role_read(kv_value(v), out) : ERR_NOT_FOUND;
}

static void role_put(struct node *n, struct change *c, struct span name, struct bearer_role *r)
{
    struct span key = bearer_role_key(name, &n->turn);
    struct buf b;
    (void)bearer_role_prune(r, loop_wall_ms(n->loop));
    buf_open(&b, n->turn.alloc);
    bearer_role_write(r, &b);
    change_if_same(n, c, key);
    change_put(n, c, key, &b);
}

static void login_by_role(struct call *call)
{
    struct bearer_role r = { 0 };
    struct node *n = call->node;
    const struct vault_body *b = &call->vault->call.body;
    struct change c = { 0 };
    uint8_t hash[BEARER_HASH];
    const uint8_t *dot = b->role_id.len ? memchr(b->role_id.data, '.', b->role_id.len) : NULL;
    struct span name = dot ? span_from(b->role_id, (size_t)(dot - b->role_id.data) + 1) : SPAN_NONE;
    enum err e = bearer_name_good(name) ? role_at(n, name, &r) : ERR_NOT_FOUND;
    (void)bearer_role_prune(&r, loop_wall_ms(n->loop));
    vault_hash(b->secret_id, hash);
    struct bearer_secret_id *id = bearer_find(&r, hash);
    bool proven = e == ERR_OK && id && span_equal(r.role_id, b->role_id);
    /* Which users there are is told to nobody else. */
    if (!proven || (auth_enabled(n->machine.auth) && !auth_who(n->machine.auth, name))) {
        n->metrics.logins_failed++;
        vault_refuse(call, ERR_AUTH_FAILED,
                     proven ? "there is no user of the role's name" : "invalid role or secret ID");
        return;
    }
    struct bearer_token t = { .user = name,
                              .display = SPAN("approle"),
                              .path = SPAN("auth/approle/login"),
                              .max_ms = r.token_max_ttl_ms,
                              .renewable = true };
    int64_t ttl_ms = r.token_ttl_ms;
    if (!id->uses)
        change_if_same(n, &c, bearer_role_key(name, &n->turn));
    else if (--id->uses)
        role_put(n, &c, name, &r);
    else {
        *id = r.ids[--r.n];
        role_put(n, &c, name, &r);
    }
    n->metrics.logins++;
    vault_give_token(call, &c, t, ttl_ms);
}

static void role_configure(struct call *call, struct bearer_role *r, bool there)
{
    struct node *n = call->node;
    const struct vault_call *v = &call->vault->call;
    struct change c = { 0 };
    struct buf b;
    if (v->body.policies) {
        vault_refuse(call, ERR_BAD_REQUEST,
                     "policies cannot be chosen: an AppRole has the roles of the user of its name");
        return;
    }
    if (!there) {
        r->created_ms = loop_wall_ms(n->loop);
        struct span random = vault_random_text(call, "");
        buf_open(&b, &n->alloc);
        buf_span(&b, span_of(random.data, BEARER_ROLE_RANDOM));
        buf_u8(&b, '.');
        buf_span(&b, v->name);
        r->role_id = arena_copy(&call->arena, buf_all(&b));
        buf_close(&b);
    }
    if (v->body.ttl_ms >= 0)
        r->token_ttl_ms = v->body.ttl_ms;
    if (v->body.max_ttl_ms >= 0)
        r->token_max_ttl_ms = v->body.max_ttl_ms;
    if (v->body.secret_id_ttl_ms >= 0)
        r->secret_id_ttl_ms = v->body.secret_id_ttl_ms;
    if (v->body.secret_id_uses >= 0)
        r->secret_id_uses = v->body.secret_id_uses;
    role_put(n, &c, v->name, r);
    vault_nothing(&call->vault->answer);
    vault_write(call, &c, false);
}

static void new_secret_id(struct call *call, struct bearer_role *r)
{
    struct node *n = call->node;
    struct vault_work *w = call->vault;
    struct change c = { 0 };
    (void)bearer_role_prune(r, loop_wall_ms(n->loop));
    if (r->n == BEARER_SECRET_IDS_MAX) {
        vault_refuse(call, ERR_BAD_REQUEST, "an AppRole has 100 secret ids at most");
        return;
    }
    struct bearer_secret_id *id = &r->ids[r->n++];
    struct span secret = vault_random_text(call, "");
    *id = (struct bearer_secret_id){ .accessor = vault_random_text(call, ""),
                                     .created_ms = loop_wall_ms(n->loop),
                                     .uses = r->secret_id_uses };
    id->expires_ms = r->secret_id_ttl_ms ? id->created_ms + r->secret_id_ttl_ms : 0;
    vault_hash(secret, id->hash);
    struct vault_pair pairs[] = { { "secret_id", secret, 0 },
                                  { "secret_id_accessor", id->accessor, 0 },
                                  { "secret_id_ttl", SPAN_NONE, r->secret_id_ttl_ms / 1000 },
                                  { "secret_id_num_uses", SPAN_NONE, r->secret_id_uses } };
    vault_data(pairs, 4, &call->arena, &w->answer);
    role_put(n, &c, w->call.name, r);
    vault_write(call, &c, false);
}

static void drop_secret_id(struct call *call, struct bearer_role *r)
{
    const struct vault_body *b = &call->vault->call.body;
    struct change c = { 0 };
    uint8_t hash[BEARER_HASH];
    size_t kept = 0;
    vault_hash(b->secret_id, hash);
    for (size_t i = 0; i < r->n; i++)
        if (!(b->accessor.len && span_equal(r->ids[i].accessor, b->accessor)) &&
            memcmp(r->ids[i].hash, hash, BEARER_HASH) != 0)
            r->ids[kept++] = r->ids[i];
    r->n = kept;
    role_put(call->node, &c, call->vault->call.name, r);
    vault_nothing(&call->vault->answer);
    vault_write(call, &c, false);
}

static void list_roles(struct call *call)
{
    struct node *n = call->node;
    const struct kv_range *r = &call->rest->request.range;
    struct kv_range_result found;
    struct rest_answer a;
    struct kv_range all = *r;
    all.limit = SECRET_LIST_MAX;
    enum err e = kv_range(n->machine.kv, &all, &n->turn, &found);
    CHECK(e == ERR_OK);
    struct span *names = ARENA_ARRAY(&n->turn, struct span, found.n + 1);
    for (size_t i = 0; i < found.n; i++)
        names[i] = span_from(kv_key(found.items[i]), r->key.len);
    vault_keys(names, found.n, &n->turn, &a);
    vault_answer(call, &a);
}

static void list_secret_ids(struct call *call, const struct bearer_role *r)
{
    struct rest_answer a;
    struct span *names = ARENA_ARRAY(&call->node->turn, struct span, r->n + 1);
    for (size_t i = 0; i < r->n; i++)
        names[i] = r->ids[i].accessor;
    vault_keys(names, r->n, &call->node->turn, &a);
    vault_answer(call, &a);
}

static void tell_role(struct call *call, const struct bearer_role *r)
{
    struct rest_answer a;
    struct vault_pair id = { "role_id", r->role_id, 0 };
    if (call->vault->call.op == VAULT_APPROLE_ROLE_ID)
        vault_data(&id, 1, &call->node->turn, &a);
    else
        vault_role(r, &call->node->turn, &a);
    vault_answer(call, &a);
}

void vault_roles(struct call *call)
{
    struct bearer_role r = { 0 };
    struct node *n = call->node;
    struct vault_call *v = &call->vault->call;
    bool posts = span_is(v->method, "POST");
    struct change c = { 0 };
    if (v->op == VAULT_APPROLE_LOGIN) {
        login_by_role(call);
        return;
    }
    if (v->op == VAULT_APPROLES) {
        list_roles(call);
        return;
    }
    enum err e = role_at(n, v->name, &r);
    if (v->op == VAULT_APPROLE && posts && (e == ERR_OK || e == ERR_NOT_FOUND)) {
        role_configure(call, &r, e == ERR_OK);
    } else if (e != ERR_OK) {
        vault_refuse(call, e, e == ERR_NOT_FOUND ? "there is no AppRole of this name" : NULL);
    } else if (span_is(v->method, "DELETE")) {
        vault_nothing(&call->vault->answer);
        change_delete(&c, bearer_role_key(v->name, &n->turn), SPAN_NONE);
        vault_write(call, &c, false);
    } else if (v->op == VAULT_APPROLE_SECRET_ID && posts) {
        new_secret_id(call, &r);
    } else if (v->op == VAULT_APPROLE_SECRET_ID) {
        list_secret_ids(call, &r);
    } else if (posts) {
        drop_secret_id(call, &r);
    } else {
        tell_role(call, &r);
    }
}
