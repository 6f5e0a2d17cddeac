/* The login of the page by the issuer: the authorization code flow with PKCE (RFC 6749 4.1, RFC
 * 7636, OpenID Connect Core 3.1). What must be the same at both ends stands in a cookie of the
 * browser that begins, so any member of a cluster may take it back, and nothing is kept here. */
#include <openssl/evp.h>
#include <stdio.h>
#include "base/check.h"
#include "io/cipher/cipher.h"
#include "io/password/password.h"
#include "node/oidc_int.h"
#include "wire/json/json.h"

#define LOGIN_COOKIE "confman_login"
#define BACK_PATH "/v1/login/callback"
enum { RANDOM_BYTES = 32, COOKIE_SECONDS = 600 };

struct oidc_code {
    struct oidc_job job; /* first, so that it converts by a cast */
    struct node *node;
    struct call *call; /* NULL: gone */
};

void oidc_facts(const struct node *n, struct oidc_facts *out)
{
    *out = (struct oidc_facts){ .issuer = SPAN_NONE };
    if (!n->oidc || !n->params.oidc_client_id[0])
        return;
    out->issuer = span_text(n->params.oidc_issuer);
    out->client = span_text(n->params.oidc_client_id);
    out->scopes = span_text(n->params.oidc_scopes);
}

/* ---- away to the issuer ---- */

static void random_text(struct buf *out)
{
    uint8_t bytes[RANDOM_BYTES];
    cipher_random(bytes, sizeof(bytes));
    jsonw_base64(span_of(bytes, sizeof(bytes)), true, out);
}

static void pair(struct buf *out, const char *name, struct span value)
{
    buf_format(out, "&%s=", name);
    fetch_escape(value, out);
}

/* Where the issuer is to send the browser: the same text when it comes back. */
static struct span back_url(struct call *call)
{
    const char *told = call->node->params.oidc_redirect_url;
    struct buf b;
    if (told[0])
        return span_text(told);
    buf_open(&b, call->arena.alloc);
    buf_text(&b, call->conn->tls ? "https://" : "http://");
    buf_span(&b, call->http.authority);
    buf_text(&b, BACK_PATH);
    struct span out = arena_copy(&call->arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static bool is_secure(const struct call *call)
{
    return call->conn->tls || strncmp(call->node->params.oidc_redirect_url, "https:", 6) == 0;
}

static void redirect(struct call *call, struct buf *to, struct span cookie)
{
    struct rest_answer a = { .status = 302 };
    a.headers[0] = (struct http_header){ SPAN("location"), arena_copy(&call->arena, buf_all(to)) };
    a.headers[1] = (struct http_header){ SPAN("set-cookie"), cookie };
    a.headers[2] = (struct http_header){ SPAN("cache-control"), SPAN("no-store") };
    a.header_count = 3;
    call_answer_http(call, &a);
}

static void challenge(struct buf *out, struct span verifier)
{
    uint8_t hash[32];
    struct buf text;
    CHECK(EVP_Digest(verifier.data, verifier.len, hash, NULL, EVP_sha256(), NULL) == 1);
    buf_open(&text, out->alloc);
    jsonw_base64(span_of(hash, sizeof(hash)), true, &text);
    pair(out, "code_challenge", buf_all(&text));
    pair(out, "code_challenge_method", SPAN("S256"));
    buf_close(&text);
}

void oidc_login_start(struct call *call)
{
    struct node *n = call->node;
    struct oidc_facts f;
    struct buf to, cookie, words[3]; /* state, nonce, verifier */
    oidc_facts(n, &f);
    if (!f.issuer.len || !n->oidc->discovery.login_url.len) {
        if (f.issuer.len)
            oidc_refresh(n);
        call_refuse_http(call, f.issuer.len ? ERR_OIDC_AWAY : ERR_NOT_FOUND,
                         f.issuer.len ? NULL : "no issuer of logins is set: see oidc-issuer");
        return;
    }
    buf_open(&to, &n->alloc);
    buf_open(&cookie, &n->alloc);
    for (int i = 0; i < 3; i++) {
        buf_open(&words[i], &n->alloc);
        random_text(&words[i]);
    }
    struct span base = n->oidc->discovery.login_url;
    buf_span(&to, base);
    buf_text(&to, memchr(base.data, '?', base.len) ? "&response_type=code" : "?response_type=code");
    pair(&to, "client_id", f.client);
    pair(&to, "redirect_uri", back_url(call));
    pair(&to, "scope", f.scopes);
    pair(&to, "state", buf_all(&words[0]));
    pair(&to, "nonce", buf_all(&words[1]));
    challenge(&to, buf_all(&words[2]));
    /* Lax: it has to come along when the issuer sends the browser back. */
    buf_format(&cookie, LOGIN_COOKIE "=%.*s.%.*s.%.*s; Path=/v1/login; HttpOnly; SameSite=Lax",
               (int)words[0].len, (const char *)words[0].data, (int)words[1].len,
               (const char *)words[1].data, (int)words[2].len, (const char *)words[2].data);
    buf_format(&cookie, "; Max-Age=%d%s", COOKIE_SECONDS, is_secure(call) ? "; Secure" : "");
    redirect(call, &to, arena_copy(&call->arena, buf_all(&cookie)));
    for (int i = 0; i < 3; i++)
        buf_close(&words[i]);
    buf_close(&to);
    buf_close(&cookie);
}

/* ---- and back ---- */

static void finish_code(struct call *call, struct span token)
{
    if (!token.len)
        call->node->metrics.oidc_logins_failed++;
    login_exchanged(call, token);
}

static void code_free(struct oidc_code *c)
{
    struct node *n = c->node;
    n->oidc->n_codes--;
    oidc_job_close(&c->job);
    mem_free(&n->alloc, c, sizeof(*c));
}

void oidc_code_gone(struct oidc_code *c)
{
    c->call = NULL;
}

static void exchanged(struct job *job)
{
    struct oidc_code *c = (struct oidc_code *)job;
    struct call *call = c->call;
    struct span token = SPAN_NONE;
    enum err e = c->job.err;
    if (e == ERR_OK && call)
        e = oidc_answer_read(buf_all(&c->job.body), &call->arena, &token);
    if (e != ERR_OK && call)
        slog(SLOG_WARN, "the issuer gave no token for a login's code", "error=%s",
             slog_quote(c->job.err != ERR_OK ? c->job.fetch.why : "no id_token in its answer"));
    if (call)
        call->caller.code = NULL;
    code_free(c);
    if (call)
        finish_code(call, token);
}

static void exchange(struct call *call, struct span code, struct span verifier)
{
    struct node *n = call->node;
    struct oidc *o = n->oidc;
    struct oidc_code *c = mem_zero(&n->alloc, sizeof(*c));
    c->node = n;
    c->call = call;
    oidc_job_open(&c->job, n->params.oidc_ca_file);
    buf_text(&c->job.form, "grant_type=authorization_code");
    pair(&c->job.form, "code", code);
    pair(&c->job.form, "redirect_uri", back_url(call));
    pair(&c->job.form, "client_id", span_text(n->params.oidc_client_id));
    pair(&c->job.form, "code_verifier", verifier);
    if (o->secret.len)
        pair(&c->job.form, "client_secret", buf_all(&o->secret));
    buf_u8(&c->job.form, 0);
    buf_span(&c->job.url, o->discovery.token_url);
    buf_u8(&c->job.url, 0);
    c->job.fetch.url = (const char *)c->job.url.data;
    c->job.fetch.form = (const char *)c->job.form.data;
    c->job.job = (struct job){ .run = oidc_job_run, .done = exchanged };
    call->caller.code = c;
    call->caller.waits = true;
    o->n_codes++;
    struct worker **w = &o->threads[o->next_thread++ % OIDC_CODE_THREADS];
    if (!*w)
        *w = thread_open(&n->alloc, n->loop, "confman-oidc", THREAD_NORMAL);
    thread_submit(*w, &c->job.job);
}

/* The three words of the cookie; false: it has not as many. */
static bool split(struct span cookie, struct span words[3])
{
    for (int i = 0; i < 3; i++) {
        const uint8_t *dot = cookie.len ? memchr(cookie.data, '.', cookie.len) : NULL;
        size_t len = dot ? (size_t)(dot - cookie.data) : cookie.len;
        if (!len || (dot == NULL) != (i == 2))
            return false;
        words[i] = span_of(cookie.data, len);
        cookie = span_from(cookie, len + (dot != NULL));
    }
    return true;
}

void oidc_login_back(struct call *call)
{
    struct node *n = call->node;
    struct caller *c = &call->caller;
    struct span code, state, cookie, words[3];
    bool has_code, has_state;
    enum err e = n->oidc && n->oidc->discovery.token_url.len ? ERR_OK : ERR_OIDC_AWAY;
    if (e == ERR_OK)
        e = http_query(call->http.query, "code", &call->arena, &code, &has_code);
    if (e == ERR_OK)
        e = http_query(call->http.query, "state", &call->arena, &state, &has_state);
    if (e == ERR_OK && (!login_cookie(&call->http, LOGIN_COOKIE "=", &cookie) ||
                        !split(cookie, words) || !has_state || !span_equal(state, words[0])))
        e = ERR_OIDC_STATE;
    if (e == ERR_OK && !has_code)
        e = ERR_OIDC_LOGIN; /* it tells an error instead */
    if (e == ERR_OK && n->oidc->n_codes >= OIDC_CODES_MAX) {
        n->metrics.oidc_codes_full++;
        e = ERR_LOGINS_FULL;
    }
    if (e != ERR_OK) {
        n->metrics.oidc_logins_failed++;
        call_refuse_http(call, e, NULL);
        return;
    }
    identity_let_go(c->who); /* whoever it was before */
    c->who = NULL;
    c->err = ERR_OK;
    c->nonce = arena_copy(&call->arena, words[1]);
    exchange(call, code, words[2]);
}

/* The session's cookie goes to the page's own place; the login's is of no use any more, and ends by
 * itself. */
void oidc_login_done(struct call *call, struct span token)
{
    struct buf to;
    call->node->metrics.oidc_logins++;
    buf_open(&to, &call->node->alloc);
    buf_text(&to, "/ui/");
    redirect(call, &to, rest_cookie(token, is_secure(call), &call->arena));
    buf_close(&to);
}
