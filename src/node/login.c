/* Who asks: heads of requests and what is remembered of them. */
#include "node/login_int.h"
#include <openssl/evp.h>
#include <stdio.h>
#include "base/check.h"
#include "core/bearer/bearer.h"
#include "io/password/password.h"
#include "wire/json/json.h"
#include "node/revoke.h"
#include "wire/jwt/jwt.h"
#include "wire/oidc/oidc.h"

#define REVOKED_LAST_MS (366LL * 24 * 3600 * 1000)

enum {
    LOOK_MS = 10000, /* from one look at all streams to the next, when nothing has changed */
    LOOK_PART = 20,  /* of the time one part may go into that */
};

/* ---- parameters ---- */

/* As Go writes durations: "5m", "1h30m", "90s". False: none, or longer than a year. */
static bool read_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    *ms = 0;
    do {
        int64_t v = 0;
        size_t u = 0, digits = strspn(text, "0123456789");
        for (size_t i = 0; i < digits && digits <= 9; i++)
            v = v * 10 + (text[i] - '0');
        text += digits;
        size_t len = strcspn(text, "0123456789");
        while (u < 4 && (strlen(units[u].unit) != len || strncmp(text, units[u].unit, len) != 0))
            u++;
        if (digits == 0 || digits > 9 || u == 4)
            return false;
        *ms += v * units[u].ms;
        text += len;
    } while (*text);
    return *ms > 0 && *ms <= 366LL * 24 * 3600 * 1000;
}

struct jwt_options {
    const char *public_file, *private_file, *method;
    int64_t ttl_ms;
};

static bool read_option(struct jwt_options *o, const char *name, const char *value)
{
    if (strcmp(name, "pub-key") == 0)
        o->public_file = value;
    else if (strcmp(name, "priv-key") == 0)
        o->private_file = value;
    else if (strcmp(name, "sign-method") == 0)
        o->method = value;
    else
        return strcmp(name, "ttl") == 0 && read_duration(value, &o->ttl_ms);
    return true;
}

/* "jwt,pub-key=F,priv-key=F,sign-method=M,ttl=5m", as etcd's --auth-token. */
static bool open_jwt(struct node *n, char *list, char *why)
{
    struct jwt_options o = { "", "", "", 5 * 60 * 1000 };
    char *rest = list;
    for (char *one; (one = strsep(&rest, ",")) != NULL;) {
        char *value = strchr(one, '=');
        if (value)
            *value++ = 0;
        if (!value || !read_option(&o, one, value)) {
            snprintf(why, KEY_WHY_MAX,
                     "auth-token: \"%.100s\" is not pub-key=FILE, priv-key=FILE, "
                     "sign-method=NAME or ttl=DURATION (such as 5m)",
                     one);
            return false;
        }
    }
    n->logins.ttl_ms = o.ttl_ms;
    return key_open(o.method, o.public_file, o.private_file, &n->logins.key, why) == ERR_OK;
}

bool login_open(struct node *n, char *why)
{
    struct logins *l = &n->logins;
    char text[PARAM_TEXT_MAX], *rest = text;
    tokens_open(&l->simple, &n->alloc, TOKENS_MAX);
    tokens_open(&l->seen, &n->alloc, TOKENS_MAX);
    l->ttl_ms = n->params.auth_token_ttl_s * 1000;
    l->last = &l->first;
    for (size_t i = 0; i < sizeof(l->salt); i += sizeof(uint64_t)) {
        uint64_t random = loop_random();
        memcpy(l->salt + i, &random, sizeof(random));
    }
    snprintf(text, sizeof(text), "%s", n->params.auth_token);
    const char *kind = strsep(&rest, ",");
    if (strcmp(kind, "jwt") == 0)
        return open_jwt(n, rest ? rest : text + strlen(text), why);
    if (strcmp(kind, "simple") == 0 && !rest)
        return true;
    snprintf(why, KEY_WHY_MAX, "auth-token: \"%.100s\" is neither simple nor jwt,...",
             n->params.auth_token);
    return false;
}

/* ---- remembering ---- */

static void forget_proven(struct proven *p)
{
    identity_let_go(p->who);
    buf_close(&p->said);
    *p = (struct proven){ .who = NULL };
}

void login_conn_close(struct conn *c)
{
    forget_proven(&c->proven);
}

/* The connection's memory: what is said again by the next request costs one comparison. */
void login_remember(struct call *call, struct span said, int64_t until_ms)
{
    struct node *n = call->node;
    struct proven *p = &call->conn->proven;
    int64_t quarter = n->logins.ttl_ms / 4; /* so that a simple token is seen to be in use */
    int64_t trust = loop_now_ms(n->loop) + (quarter < LOGIN_TRUST_MS ? quarter : LOGIN_TRUST_MS);
    forget_proven(p);
    buf_open(&p->said, &n->alloc);
    buf_span(&p->said, said);
    p->who = identity_hold(call->caller.who);
    p->revision = call->caller.revision;
    p->generation = n->logins.generation;
    p->until_ms = until_ms < trust ? until_ms : trust;
}

static bool remembered(struct call *call, struct span said)
{
    const struct proven *p = &call->conn->proven;
    struct node *n = call->node;
    if (!p->who || p->generation != n->logins.generation || p->until_ms <= loop_now_ms(n->loop) ||
        !span_equal(buf_all(&p->said), said))
        return false;
    call->caller.who = identity_hold(p->who);
    call->caller.revision = p->revision;
    return true;
}

void login_seen_hash(struct node *n, struct span said, uint8_t out[TOKEN_HASH])
{
    unsigned len;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    CHECK(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
    CHECK(EVP_DigestUpdate(md, n->logins.salt, sizeof(n->logins.salt)) == 1);
    CHECK(EVP_DigestUpdate(md, said.data, said.len) == 1);
    CHECK(EVP_DigestFinal_ex(md, out, &len) == 1 && len == TOKEN_HASH);
    EVP_MD_CTX_free(md);
}

/* ---- tokens ---- */

static enum err prove_simple(struct call *call, struct span said)
{
    struct node *n = call->node;
    struct span letters;
    uint64_t index;
    uint8_t hash[TOKEN_HASH];
    int64_t now = loop_now_ms(n->loop);
    if (!token_simple(said, &letters, &index))
        return ERR_AUTH_TOKEN;
    token_hash(letters, hash);
    struct proof *p = tokens_find(&n->logins.simple, hash, now);
    if (p && p->number == index) {
        p->until_ms = now + n->logins.ttl_ms;
        call->caller.who = identity_hold(p->who);
        login_remember(call, said, p->until_ms);
        return ERR_OK;
    }
    /* Another node may have answered with it before we applied it (etcd waits likewise). */
    call->caller.index = index > n->machine.applied_index && !n->cluster.alone ? index : 0;
    return ERR_AUTH_TOKEN;
}

static enum err read_jwt(struct node *n, struct span said, struct jwt_claims *claims)
{
    struct jwt_parts parts;
    int64_t now_s = loop_wall_ms(n->loop) / 1000;
    enum err e = jwt_split(said, &n->turn, &parts);
    if (e != ERR_OK || !span_is(parts.alg, key_method(n->logins.key)) ||
        !key_verify(n->logins.key, parts.content, parts.signature))
        return ERR_AUTH_TOKEN;
    e = jwt_claims_read(parts.claims, &n->turn, claims);
    if (e != ERR_OK || !claims->user.len || claims->user.len > IDENTITY_MAX ||
        (claims->expires_s && claims->expires_s <= now_s) || claims->not_before_s > now_s)
        return ERR_AUTH_TOKEN;
    return ERR_OK;
}

static enum err prove_jwt(struct call *call, struct span said)
{
    struct node *n = call->node;
    struct jwt_claims claims;
    uint8_t hash[TOKEN_HASH];
    int64_t now = loop_now_ms(n->loop);
    login_seen_hash(n, said, hash);
    struct proof *p = tokens_find(&n->logins.seen, hash, now);
    if (!p) {
        enum err e = read_jwt(n, said, &claims);
        if (e != ERR_OK)
            return e;
        int64_t left =
            claims.expires_s ? claims.expires_s * 1000 - loop_wall_ms(n->loop) : LOGIN_SEEN_MS;
        tokens_add(&n->logins.seen, hash, claims.user, claims.revision,
                   now + (left < LOGIN_SEEN_MS ? left : LOGIN_SEEN_MS));
        p = tokens_find(&n->logins.seen, hash, now - 1);
    }
    if (!p)
        return ERR_AUTH_TOKEN;
    call->caller.who = identity_hold(p->who);
    call->caller.revision = p->number;
    login_remember(call, said, p->until_ms);
    return ERR_OK;
}

/* ---- passwords, as HTTP's Basic (RFC 7617) ---- */

static enum err prove_basic(struct call *call, struct span said)
{
    struct node *n = call->node;
    struct buf plain;
    uint8_t hash[TOKEN_HASH];
    login_seen_hash(n, said, hash);
    struct proof *p = tokens_find(&n->logins.seen, hash, loop_now_ms(n->loop));
    if (p && p->number == auth_revision(n->machine.auth)) {
        call->caller.who = identity_hold(p->who);
        login_remember(call, said, p->until_ms);
        return ERR_OK;
    }
    buf_open(&plain, &n->alloc);
    bool ok = jsonr_base64(said, false, &plain);
    const uint8_t *colon = ok && plain.len ? memchr(plain.data, ':', plain.len) : NULL;
    enum err e = ERR_AUTH_FAILED;
    if (colon) {
        size_t len = (size_t)(colon - plain.data);
        e = login_basic(call, span_of(plain.data, len), span_of(colon + 1, plain.len - len - 1));
    }
    if (plain.data)
        password_wipe(plain.data, plain.cap);
    buf_close(&plain);
    return e;
}

void login_basic_done(struct call *call, struct span user, enum err e)
{
    struct node *n = call->node;
    struct caller *c = &call->caller;
    uint8_t hash[TOKEN_HASH];
    int64_t until_ms = loop_now_ms(n->loop) + LOGIN_SEEN_MS;
    c->waits = false;
    c->err = e;
    if (e == ERR_OK) {
        login_seen_hash(n, c->said, hash);
        tokens_add(&n->logins.seen, hash, user, auth_revision(n->machine.auth), until_ms);
        c->who = identity_new(&n->alloc, user);
        login_remember(call, c->said, until_ms);
    }
    call_known(call);
}

/* ---- heads ---- */

static bool cut_scheme(struct span *value, const char *scheme)
{
    size_t len = strlen(scheme);
    if (value->len <= len || value->data[len] != ' ' ||
        !http_is_word(span_of(value->data, len), scheme))
        return false;
    *value = http_trim(span_from(*value, len + 1));
    return true;
}

/* Of one cookie header: "name=value; name=value". */
static bool cookie_in(struct span list, struct span name, struct span *said)
{
    while (list.len) {
        const uint8_t *end = memchr(list.data, ';', list.len);
        struct span one = span_of(list.data, end ? (size_t)(end - list.data) : list.len);
        list = span_from(list, one.len + (end != NULL));
        one = http_trim(one);
        if (!span_starts(one, name))
            continue;
        *said = span_from(one, name.len);
        return said->len > 0;
    }
    return false;
}

/* HTTP/2 may have a header for each cookie (RFC 9113 8.2.3). */
bool login_cookie(const struct http_request *head, const char *name, struct span *value)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (span_is(head->headers[i].name, "cookie") &&
            cookie_in(head->headers[i].value, span_text(name), value))
            return true;
    return false;
}

/* The token that the page's login left with the browser: of requests that the page itself makes,
 * which are never those of a form. */
static bool find_cookie(const struct call *call, const struct http_request *head, struct span *said)
{
    return !call->method && gateway_same_place(head, call->conn->tls != NULL) &&
           !rest_is_form(head) && login_cookie(head, REST_SESSION_COOKIE "=", said);
}

/* etcd's metadata: "token", or "authorization" with or without "Bearer". */
static bool find_said(const struct call *call, const struct http_request *head, struct span *said,
                      bool *basic)
{
    *basic = false;
    if (call->method && http_header_find(head, "token", said))
        return true;
    if (call->vault && http_header_find(head, "x-vault-token", said))
        return true;
    if (!http_header_find(head, "authorization", said))
        return find_cookie(call, head, said);
    *basic = (!call->method || call->gate) && cut_scheme(said, "basic");
    if (!*basic)
        cut_scheme(said, "bearer");
    return true;
}

/* Looked at each time: one that was revoked does not count any more. */
static enum err prove_bearer(struct call *call, struct span said)
{
    struct node *n = call->node;
    struct span user;
    uint64_t index;
    if (vault_prove(n, said, &user, &index) == ERR_OK) {
        call->caller.who = identity_new(&n->alloc, user);
        return ERR_OK;
    }
    call->caller.index = index > n->machine.applied_index && !n->cluster.alone ? index : 0;
    return ERR_AUTH_TOKEN;
}

static enum err prove(struct call *call, struct span said, bool may_wait)
{
    struct caller *c = &call->caller;
    bool ours = call->node->logins.key != NULL;
    if (!c->basic && span_starts(said, SPAN(BEARER_PREFIX)))
        return prove_bearer(call, said);
    if (!c->exchanged && remembered(call, said))
        return ERR_OK;
    if (c->basic)
        return prove_basic(call, said);
    if (account_takes(said))
        return account_prove(call, said);
    if (revoke_has(call->node, said))
        return ERR_AUTH_TOKEN;
    if (!oidc_takes(call->node, said))
        return ours ? prove_jwt(call, said) : prove_simple(call, said);
    if (ours && !c->exchanged && prove_jwt(call, said) == ERR_OK)
        return ERR_OK;
    return oidc_prove(call, said, may_wait);
}

static void wait_for_index(struct call *call)
{
    struct node *n = call->node;
    struct logins *l = &n->logins;
    if (l->waiting.n >= LOGIN_WAIT_MAX)
        return;
    call->caller.waits = true;
    call->caller.until_ms = loop_now_ms(n->loop) + REQUEST_TIMEOUT_MS;
    VEC_PUSH(&l->waiting, &n->alloc, call);
}

/* A token that another member gave out may tell that auth was enabled before we have applied it. */
static bool ahead_of_us(struct call *call, struct span said)
{
    struct node *n = call->node;
    struct span letters;
    uint64_t index;
    if (call->caller.basic || !token_simple(said, &letters, &index) ||
        index <= n->machine.applied_index)
        return false;
    call->caller.index = index;
    call->caller.said = arena_copy(&call->arena, said);
    return true;
}

void login_head(struct call *call, const struct http_request *head)
{
    struct caller *c = &call->caller;
    struct node *n = call->node;
    struct span said;
    bool enabled = auth_enabled(n->machine.auth);
    bool unary = call->method && etcd_method_unary(call->method);
    bool look = !enabled && !n->cluster.alone && !n->logins.key;
    c->certificate =
        !call->gate; /* etcd's gateway is a client itself: its own is not the caller's */
    if ((!enabled && unary && !look) || !find_said(call, head, &said, &c->basic))
        return;
    if (look && ahead_of_us(call, said)) {
        wait_for_index(call);
        return;
    }
    if (!unary || c->basic)
        c->said = arena_copy(&call->arena, said);
    if (!enabled)
        return;
    c->err = prove(call, said, true);
    if (c->err == ERR_OK || !c->index || c->waits)
        return;
    if (!c->said.len)
        c->said = arena_copy(&call->arena, said);
    wait_for_index(call);
}

bool login_waits(const struct call *call)
{
    return call->caller.waits;
}

/* What a stream said at its head is looked at again with each of its messages, as etcd does. */
static void prove_again(struct call *call)
{
    struct caller *c = &call->caller;
    bool stream = call->watch || (call->method && !etcd_method_unary(call->method));
    if (!c->said.len || c->waits || !(stream || (!c->who && c->err == ERR_OK)))
        return;
    if (c->basic && c->who)
        return; /* it stands with the connection; the password is not compared again */
    identity_let_go(c->who);
    c->who = NULL;
    c->revision = 0;
    c->err = prove(call, c->said, false);
}

static struct span certified(const struct call *call)
{
    bool counts = call->caller.certificate && call->node->params.client_cert_auth;
    return counts ? buf_all(&call->conn->author) : SPAN_NONE;
}

enum err login_may_send(const struct call *call, size_t bytes)
{
    const struct caller *c = &call->caller;
    bool small = bytes <= LOGIN_UNPROVEN_BYTES_MAX;
    if (small || !auth_enabled(call->node->machine.auth) || c->who)
        return ERR_OK;
    if (c->err != ERR_OK)
        return c->err;
    return certified(call).len ? ERR_OK : ERR_USER_EMPTY;
}

enum err login_of(struct call *call, struct request *r)
{
    struct node *n = call->node;
    struct caller *c = &call->caller;
    r->auth_revision = 0;
    if (!auth_enabled(n->machine.auth)) {
        r->author = buf_all(&call->conn->author);
        return ERR_OK;
    }
    prove_again(call);
    r->author = c->who ? identity_name(c->who) : SPAN_NONE;
    /* Only what asks for somebody's rights minds that nobody stands behind it (etcd). */
    if (c->err != ERR_OK && r->type != REQUEST_AUTHENTICATE && r->type != REQUEST_HEALTH) {
        n->metrics.tokens_refused++;
        return c->err;
    }
    if (!c->who && c->err == ERR_OK)
        r->author = certified(call);
    if (r->author.len)
        r->auth_revision = c->revision ? c->revision : auth_revision(n->machine.auth);
    return ERR_OK;
}

/* When a token ends by itself; 0: it is of a kind that is not logged out. A signed one without an
 * end has one all the same: users and roles change sooner. */
static int64_t token_end_ms(struct node *n, struct span said)
{
    struct span letters;
    struct jwt_parts parts;
    uint64_t index;
    int64_t now = loop_wall_ms(n->loop);
    if (token_simple(said, &letters, &index))
        return now + n->logins.ttl_ms;
    if (span_starts(said, SPAN(BEARER_PREFIX)) || account_takes(said) ||
        jwt_split(said, &n->turn, &parts) != ERR_OK)
        return 0;
    int64_t end_s = jwt_expires_s(parts.claims), last_s = (now + REVOKED_LAST_MS) / 1000;
    int64_t skew_s = oidc_takes(n, said) ? OIDC_SKEW_S : 0;
    return (end_s && end_s + skew_s < last_s ? end_s + skew_s : last_s) * 1000;
}

bool login_end(struct call *call)
{
    struct node *n = call->node;
    struct span said;
    bool basic;
    if (!call->caller.who || !find_said(call, &call->http, &said, &basic) || basic)
        return false;
    int64_t end_ms = token_end_ms(n, said);
    if (!end_ms)
        return false;
    enum err e = revoke_begin(call, said, end_ms);
    if (e != ERR_OK)
        call_end(call, e);
    return true;
}

/* ---- tokens that this node has not heard of yet ---- */

static void settle(struct call *call)
{
    struct caller *c = &call->caller;
    c->waits = false;
    c->index = 0;
    oidc_waits_no_more(call);
    c->err = prove(call, c->said, true);
    if (!c->waits)
        call_known(call);
}

void login_exchanged(struct call *call, struct span token)
{
    struct caller *c = &call->caller;
    c->exchanged = true;
    c->said = token;
    if (token.len) {
        settle(call);
        return;
    }
    c->waits = false;
    c->err = ERR_OIDC_LOGIN;
    call_known(call);
}

static bool still_waits(const struct call *call)
{
    const struct caller *c = &call->caller;
    struct node *n = call->node;
    bool there = c->for_keys ? !oidc_fetching(n) : c->index <= n->machine.applied_index;
    return !there && c->until_ms > loop_now_ms(n->loop);
}

void login_turn(struct node *n)
{
    struct logins *l = &n->logins;
    for (size_t i = l->waiting.n; i > 0; i--) {
        struct call *call = l->waiting.items[i - 1];
        if (still_waits(call))
            continue;
        l->waiting.items[i - 1] = l->waiting.items[--l->waiting.n];
        settle(call);
        if (i > l->waiting.n) /* others may have gone meanwhile */
            i = l->waiting.n + 1;
    }
}

void login_applied(struct node *n, const struct reply *reply)
{
    struct logins *l = &n->logins;
    int64_t age_ms = loop_wall_ms(n->loop) - reply->login.made_ms;
    if (reply->type == REQUEST_AUTHENTICATE) {
        /* One that comes from the log at a start has been in use since then. */
        age_ms = age_ms < 0 || n->machine.applied_index > n->ready_index ? 0 : age_ms;
        if (age_ms < l->ttl_ms && reply->login.token_hash.len == TOKEN_HASH && !l->key)
            tokens_add(&l->simple, reply->login.token_hash.data, reply->login.user,
                       n->machine.applied_index, loop_now_ms(n->loop) + l->ttl_ms - age_ms);
        return;
    }
    l->generation++;
    if (reply->type == REQUEST_USER_PASSWORD)
        l->changed = reply->login.user;
    if (reply->type == REQUEST_USER_DELETE || reply->type == REQUEST_USER_PASSWORD)
        tokens_drop_user(&l->simple, reply->login.user);
    else if (reply->type == REQUEST_AUTH_DISABLE)
        login_forget(n);
}

void login_forget(struct node *n)
{
    n->logins.generation++;
    tokens_drop_all(&n->logins.simple);
    tokens_drop_all(&n->logins.seen);
}

bool login_lost(struct call *call, struct span user)
{
    struct node *n = call->node;
    struct caller *c = &call->caller;
    struct span part;
    uint64_t index;
    if (c->lost || !c->said.len || !auth_enabled(n->machine.auth))
        return c->lost;
    if (!c->basic && revoke_has(n, c->said))
        c->lost = true;
    else if (!c->basic && span_starts(c->said, SPAN(BEARER_PREFIX)))
        c->lost = vault_prove(n, c->said, &part, &index) != ERR_OK;
    else if (!c->basic && account_takes(c->said))
        c->lost = !account_stands(n, c->said);
    else if (c->basic || token_simple(c->said, &part, &index))
        c->lost = user.len && span_equal(n->logins.changed, user);
    return c->lost;
}

/* Whether somebody may lose by it: what is new takes nothing, but a logout. */
static bool takes(const struct kv_version *v)
{
    struct span key = kv_key(v);
    bool fresh = !v->tombstone && v->version == 1;
    return (!fresh && span_starts(key, SPAN(ACCOUNT_ROOT))) ||
           (v->tombstone && span_starts(key, SPAN(BEARER_TOKENS))) ||
           (fresh && span_starts(key, SPAN(BEARER_REVOKED)));
}

/* All streams are looked at, which costs by their number, and whoever is logged in can bring it
 * about: it takes a part of the time at most, and is done at once as long as it has. */
static void look_at_streams(struct node *n)
{
    struct logins *l = &n->logins;
    int64_t start_us = loop_clock_us();
    l->look = start_us < l->look_us;
    if (l->look)
        return;
    watching_judge(n);
    pushing_judge(n);
    l->looked_ms = loop_now_ms(n->loop);
    l->look_us = start_us + (loop_clock_us() - start_us) * LOOK_PART;
}

void login_changed(struct node *n, const struct kv_change *changes, size_t count)
{
    bool look = false;
    for (size_t i = 0; i < count && !look; i++)
        look = takes(changes[i].now);
    if (look)
        look_at_streams(n);
}

void login_sweep(struct node *n)
{
    /* Keys of service accounts end without a change. */
    if (n->logins.look || loop_now_ms(n->loop) - n->logins.looked_ms >= LOOK_MS) {
        look_at_streams(n);
        arena_reset(&n->apply);
    }
    tokens_sweep(&n->logins.simple, loop_now_ms(n->loop));
    tokens_sweep(&n->logins.seen, loop_now_ms(n->loop));
    oidc_sweep(n);
}

void login_gone(struct call *call)
{
    struct caller *c = &call->caller;
    struct logins *l = &call->node->logins;
    size_t kept = 0;
    for (size_t i = 0; c->waits && i < l->waiting.n; i++)
        if (l->waiting.items[i] != call)
            l->waiting.items[kept++] = l->waiting.items[i];
    if (c->waits)
        l->waiting.n = kept;
    oidc_waits_no_more(call);
    if (c->login)
        login_drop(c->login);
    if (c->code)
        oidc_code_gone(c->code);
    identity_let_go(c->who);
    *c = (struct caller){ .login = NULL };
}
