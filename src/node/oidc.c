#include "node/oidc.h"
#include <stdio.h>
#include "base/check.h"
#include "io/password/password.h"
#include "node/oidc_int.h"
#include "node/reach.h"
#include "wire/jwt/jwt.h"

/* ---- parameters ---- */

enum { SECRET_MAX = 4096 };

/* The first line of the file, which only its owner should read. */
static bool read_secret(struct oidc *o, const char *path)
{
    FILE *f = fopen(path, "r");
    int c;
    while (f && (c = getc(f)) != EOF && c != '\n' && o->secret.len <= SECRET_MAX)
        buf_u8(&o->secret, (uint8_t)c);
    if (f)
        fclose(f);
    return o->secret.len > 0 && o->secret.len <= SECRET_MAX;
}

static const char *fault_of(struct oidc *o)
{
    const struct params *p = &o->node->params;
    if (!fetch_allows(p->oidc_issuer))
        return "oidc-issuer must be an https: address";
    if (!p->oidc_audience[0] && !p->oidc_client_id[0])
        return "oidc-issuer wants oidc-client-id, oidc-audience or both: who tokens are for";
    if (!p->oidc_user_claim[0] || strlen(p->oidc_user_claim) > 100)
        return "oidc-user-claim must name a claim";
    if (!oidc_rules_read(span_text(p->oidc_map), o->rules, &o->n_rules))
        return "oidc-map must be claim=value:role with commas between, 128 at most";
    if (p->oidc_client_secret_file[0] && !read_secret(o, p->oidc_client_secret_file))
        return "oidc-client-secret-file cannot be read, is empty or too long";
    return NULL;
}

bool oidc_open(struct node *n, char *why)
{
    const struct params *p = &n->params;
    if (!p->oidc_issuer[0])
        return true;
    struct oidc *o = n->oidc = mem_zero(&n->alloc, sizeof(*o));
    o->node = n;
    fetch_prepare();
    buf_open(&o->secret, &n->alloc);
    arena_open(&o->found, &n->alloc);
    arena_open(&o->ids, &n->alloc);
    oidc_job_open(&o->job, p->oidc_ca_file);
    snprintf(o->audiences, sizeof(o->audiences), "%s,%s", p->oidc_audience, p->oidc_client_id);
    const char *fault = fault_of(o);
    if (fault)
        snprintf(why, KEY_WHY_MAX, "%s", fault);
    return !fault;
}

static void forget_keys(struct oidc *o)
{
    for (size_t i = 0; i < o->keys.n; i++)
        key_close(o->keys.items[i].key);
    o->keys.n = 0;
    o->n_ids = 0;
}

void oidc_close(struct node *n)
{
    struct oidc *o = n->oidc;
    if (!o)
        return;
    CHECK(o->waiting == 0);
    if (o->worker)
        thread_close(o->worker);
    for (size_t i = 0; i < OIDC_CODE_THREADS && o->threads[i]; i++) {
        thread_drain(o->threads[i]);
        thread_close(o->threads[i]);
    }
    oidc_job_close(&o->job);
    forget_keys(o);
    VEC_CLOSE(&o->keys, &n->alloc);
    arena_close(&o->found);
    arena_close(&o->ids);
    if (o->secret.data)
        password_wipe(o->secret.data, o->secret.cap);
    buf_close(&o->secret);
    mem_free(&n->alloc, o, sizeof(*o));
    n->oidc = NULL;
}

/* ---- what the issuer tells of itself ---- */

void oidc_job_open(struct oidc_job *j, const char *ca_file)
{
    *j = (struct oidc_job){ .err = ERR_OK };
    alloc_heap(&j->alloc);
    buf_open(&j->body, &j->alloc);
    buf_open(&j->url, &j->alloc);
    buf_open(&j->form, &j->alloc);
    j->fetch = (struct fetch){ .ca_file = ca_file,
                               .timeout_ms = OIDC_FETCH_MS,
                               .bytes_max = OIDC_BYTES_MAX,
                               .body = &j->body };
}

static void wipe(struct buf *b)
{
    if (b->data)
        password_wipe(b->data, b->cap);
    buf_close(b);
}

void oidc_job_close(struct oidc_job *j)
{
    wipe(&j->body);
    wipe(&j->url);
    wipe(&j->form); /* with the client's secret */
}

void oidc_job_run(struct job *job)
{
    struct oidc_job *j = (struct oidc_job *)job;
    j->err = fetch_do(&j->fetch);
    if (j->err == ERR_OK && j->fetch.status != 200) {
        snprintf(j->fetch.why, FETCH_WHY_MAX, "HTTP status %d", j->fetch.status);
        j->err = ERR_IO;
    }
}

static void ask(struct oidc *o, enum oidc_stage stage, struct span url, const char *more);

/* All who wait look again, whether there are new keys or not. */
static void over(struct oidc *o, const char *fault)
{
    struct node *n = o->node;
    o->stage = OIDC_IDLE;
    o->tried_ms = loop_now_ms(n->loop);
    if (fault) {
        n->metrics.oidc_fetch_errors++;
        slog(SLOG_WARN, "the issuer's keys could not be had", "issuer=%s error=%s",
             slog_quote(n->params.oidc_issuer), slog_quote(fault));
    }
    login_turn(n);
}

static const char *take_discovery(struct oidc *o)
{
    const struct params *p = &o->node->params;
    struct oidc_discovery d;
    struct span issuer = span_text(p->oidc_issuer);
    if (oidc_discovery_read(buf_all(&o->job.body), &o->node->turn, &d) != ERR_OK)
        return "its configuration is not one of OpenID Connect";
    bool tenants = memmem(d.issuer.data, d.issuer.len, "{tenantid}", 10) != NULL;
    if (!tenants && !span_equal(d.issuer, issuer))
        return "it says that it is another issuer"; /* Discovery 4.3 */
    if (tenants && !p->oidc_tenants[0])
        return "it speaks for many tenants: say with oidc-tenants which ones";
    arena_reset(&o->found);
    o->discovery = (struct oidc_discovery){ .issuer = arena_copy(&o->found, d.issuer),
                                            .keys_url = arena_copy(&o->found, d.keys_url),
                                            .login_url = arena_copy(&o->found, d.login_url),
                                            .token_url = arena_copy(&o->found, d.token_url) };
    return NULL;
}

/* A key that does not say its method may be used for all of its kind. */
static void add_key(struct oidc *o, const struct oidc_key *k)
{
    struct key_numbers numbers = { k->type, k->curve, k->first, k->second };
    size_t before = o->keys.n;
    for (const char *const *m = key_methods(&numbers); *m; m++) {
        struct oidc_checker c = { .id = arena_copy(&o->ids, k->id) };
        if ((!k->alg.len || span_is(k->alg, *m)) &&
            key_open_numbers(*m, &numbers, &c.key) == ERR_OK)
            VEC_PUSH(&o->keys, &o->node->alloc, c);
    }
    o->n_ids += o->keys.n > before;
}

static const char *take_keys(struct oidc *o)
{
    struct oidc_key *keys;
    size_t n;
    if (oidc_keys_read(buf_all(&o->job.body), &o->node->turn, &keys, &n) != ERR_OK)
        return "its keys are not a key set, or more than 64";
    forget_keys(o);
    arena_reset(&o->ids);
    for (size_t i = 0; i < n; i++)
        add_key(o, &keys[i]);
    o->keys_ms = loop_now_ms(o->node->loop);
    o->node->metrics.oidc_fetches++;
    return o->keys.n ? NULL : "there is no key among its keys that can be used";
}

static void fetched(struct job *job)
{
    struct oidc *o = (struct oidc *)((char *)job - offsetof(struct oidc, job));
    const char *fault = o->job.err != ERR_OK ? o->job.fetch.why : NULL;
    if (!fault && o->stage == OIDC_DISCOVERY) {
        fault = take_discovery(o);
        if (!fault) {
            ask(o, OIDC_KEYS, o->discovery.keys_url, "");
            return;
        }
    } else if (!fault) {
        fault = take_keys(o);
    }
    over(o, fault);
}

static void ask(struct oidc *o, enum oidc_stage stage, struct span url, const char *more)
{
    struct node *n = o->node;
    if (!o->worker)
        o->worker = thread_open(&n->alloc, n->loop, "confman-oidc", THREAD_NORMAL);
    o->stage = stage;
    buf_reset(&o->job.url);
    buf_span(&o->job.url, url);
    while (more[0] && o->job.url.len && o->job.url.data[o->job.url.len - 1] == '/')
        o->job.url.len--;
    buf_text(&o->job.url, more);
    buf_u8(&o->job.url, 0);
    o->job.fetch.url = (const char *)o->job.url.data;
    o->job.job = (struct job){ .run = oidc_job_run, .done = fetched };
    thread_submit(o->worker, &o->job.job);
}

void oidc_refresh(struct node *n)
{
    struct oidc *o = n->oidc;
    int64_t now = loop_now_ms(n->loop);
    if (o->stage != OIDC_IDLE || n->stopping ||
        (o->tried_ms && now - o->tried_ms < n->params.oidc_fetch_gap_ms))
        return;
    o->tried_ms = now;
    ask(o, OIDC_DISCOVERY, span_text(n->params.oidc_issuer), "/.well-known/openid-configuration");
}

void oidc_sweep(struct node *n)
{
    struct oidc *o = n->oidc;
    if (!o)
        return;
    int64_t age = o->keys_ms ? loop_now_ms(n->loop) - o->keys_ms : INT64_MAX;
    if (age > OIDC_KEYS_LAST_MS)
        forget_keys(o);
    if (age > OIDC_KEYS_AGE_MS)
        oidc_refresh(n);
}

bool oidc_fetching(const struct node *n)
{
    return n->oidc && n->oidc->stage != OIDC_IDLE;
}

/* ---- tokens ---- */

bool oidc_takes(const struct node *n, struct span token)
{
    return n->oidc && token.len > 2 && memcmp(token.data, "ey", 2) == 0;
}

/* Of a token without a key's name: the only key there is (RFC 7517 4.5 leaves it open). */
static const struct key *find_key(const struct oidc *o, const struct jwt_parts *t, bool *known)
{
    const struct key *found = NULL;
    *known = false;
    for (size_t i = 0; i < o->keys.n; i++) {
        const struct oidc_checker *c = &o->keys.items[i];
        if (t->kid.len ? !span_equal(c->id, t->kid) : o->n_ids != 1)
            continue;
        *known = true;
        if (span_is(t->alg, key_method(c->key)))
            found = c->key;
    }
    return found;
}

/* One that waits for keys; false: too many do. */
static bool wait_for_keys(struct call *call)
{
    struct node *n = call->node;
    struct caller *c = &call->caller;
    if (n->oidc->waiting >= OIDC_WAIT_MAX) {
        n->metrics.oidc_waits_full++;
        return false;
    }
    n->oidc->waiting++;
    c->waits = c->for_keys = c->has_waited = true;
    c->until_ms = INT64_MAX; /* what fetches them has an end */
    VEC_PUSH(&n->logins.waiting, &n->alloc, call);
    return true;
}

void oidc_waits_no_more(struct call *call)
{
    struct caller *c = &call->caller;
    if (c->for_keys)
        call->node->oidc->waiting--;
    c->for_keys = false;
}

static void refused(struct node *n, const char *why)
{
    n->metrics.oidc_refused++;
    slog(SLOG_DEBUG, "a token of the issuer is refused", "error=%s", slog_quote(why));
}

/* False: not signed by a key of the issuer's. *again: it may be, by one that is not here yet. */
static bool signed_by_issuer(struct node *n, struct span token, struct jwt_parts *parts,
                             bool *again)
{
    bool known;
    *again = false;
    if (jwt_split(token, &n->turn, parts) != ERR_OK) {
        refused(n, "it is not one that can be read");
        return false;
    }
    const struct key *key = find_key(n->oidc, parts, &known);
    if (key && key_verify(key, parts->content, parts->signature))
        return true;
    *again = !known && (parts->kid.len || !n->oidc->keys.n) && !span_is(parts->alg, "none");
    if (!*again)
        refused(n, key ? "its signature is wrong" : "its key or its method is not the issuer's");
    return false;
}

/* What a token that was found right is to be remembered by, while its user is seen to. */
struct oidc_proof {
    struct auth_goal goal;
    uint8_t hash[TOKEN_HASH];
    int64_t until_ms;
};

/* The roles that the claims give, as far as they are there; of the others that claims could give
 * none. root is there without being made. */
static void make_goal(struct node *n, const struct oidc_claims *c, struct arena *arena,
                      struct auth_goal *out)
{
    const struct oidc *o = n->oidc;
    struct span *roles = ARENA_ARRAY(arena, struct span, o->n_rules + 1);
    struct span *taken = ARENA_ARRAY(arena, struct span, o->n_rules + 1);
    struct buf name;
    struct auth_permissions unused;
    buf_open(&name, arena->alloc);
    buf_text(&name, OIDC_USER_PREFIX);
    buf_span(&name, c->user);
    *out = (struct auth_goal){ .user = arena_copy(arena, buf_all(&name)),
                               .roles = roles,
                               .roles_taken = taken };
    buf_close(&name);
    for (size_t i = 0; i < o->n_rules; i++) {
        struct span role = o->rules[i].role;
        enum err e = auth_role_permissions(n->machine.auth, role, &n->turn, &unused);
        if (c->matched[i] && (e == ERR_OK || span_equal(role, AUTH_ROOT)))
            roles[out->n_roles++] = role;
        else
            taken[out->n_roles_taken++] = role;
    }
}

static void remember_user(struct call *call, const struct oidc_proof *p)
{
    struct node *n = call->node;
    tokens_add(&n->logins.seen, p->hash, p->goal.user, 0, p->until_ms);
    call->caller.who = identity_new(&n->alloc, p->goal.user);
    login_remember(call, call->caller.said, p->until_ms);
}

static void user_reached(struct call *call, enum err e)
{
    struct caller *c = &call->caller;
    c->waits = false;
    c->err = e;
    if (e == ERR_OK)
        remember_user(call, c->proof);
    call_known(call);
}

static enum err take_claims(struct call *call, struct span claims, struct span token, bool may_wait)
{
    struct node *n = call->node;
    struct oidc *o = n->oidc;
    struct oidc_claims c;
    struct span nonce = call->caller.nonce;
    int64_t wall_ms = loop_wall_ms(n->loop);
    struct oidc_wanted wanted = {
        .issuer = o->discovery.issuer,
        .tenants = span_text(n->params.oidc_tenants),
        .audiences = span_text(nonce.len ? n->params.oidc_client_id : o->audiences),
        .nonce = nonce,
        .now_s = wall_ms / 1000,
    };
    enum err e = oidc_claims_read(claims, span_text(n->params.oidc_user_claim), o->rules,
                                  o->n_rules, &n->turn, &c);
    enum oidc_fault fault = e == ERR_OK ? oidc_check(&c, &wanted) : OIDC_USER;
    if (fault != OIDC_FINE) {
        refused(n, oidc_fault_text(fault));
        return ERR_AUTH_TOKEN;
    }
    struct oidc_proof *p = ARENA_NEW(&call->arena, struct oidc_proof);
    int64_t left = (c.expires_s + OIDC_SKEW_S) * 1000 - wall_ms;
    p->until_ms = loop_now_ms(n->loop) + (left < LOGIN_SEEN_MS ? left : LOGIN_SEEN_MS);
    login_seen_hash(n, token, p->hash);
    make_goal(n, &c, &call->arena, &p->goal);
    call->caller.proof = p;
    n->metrics.oidc_tokens++;
    if (may_wait && !call->caller.said.len)
        call->caller.said = arena_copy(&call->arena, token);
    if (may_wait && !reach_begin(call, &p->goal, true, user_reached, &e)) {
        call->caller.waits = true;
        return ERR_OK;
    }
    if (e == ERR_OK)
        remember_user(call, p);
    return e;
}

enum err oidc_prove(struct call *call, struct span token, bool may_wait)
{
    struct node *n = call->node;
    struct jwt_parts parts;
    uint8_t hash[TOKEN_HASH];
    bool again;
    login_seen_hash(n, token, hash);
    struct proof *p = tokens_find(&n->logins.seen, hash, loop_now_ms(n->loop));
    if (p && !call->caller.nonce.len) {
        call->caller.who = identity_hold(p->who);
        login_remember(call, token, p->until_ms);
        return ERR_OK;
    }
    if (signed_by_issuer(n, token, &parts, &again))
        return take_claims(call, parts.claims, token, may_wait);
    if (!again || !may_wait)
        return ERR_AUTH_TOKEN;
    if (!call->caller.has_waited) /* once: the keys that came do not have it */
        oidc_refresh(n);
    if (!call->caller.has_waited && oidc_fetching(n) && wait_for_keys(call)) {
        if (!call->caller.said.len)
            call->caller.said = arena_copy(&call->arena, token);
        return ERR_OK;
    }
    refused(n, "its key is not among the issuer's");
    return ERR_AUTH_TOKEN;
}
