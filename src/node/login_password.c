/* Passwords at work: compared, or made into hashes, on threads of their own. */
#include "node/login_int.h"
#include <stdio.h>
#include <unistd.h>
#include "base/check.h"
#include "io/password/password.h"
#include "io/thread/thread.h"
#include "wire/jwt/jwt.h"

/* PROVEN: as AUTHENTICATE, but there is no password. */
enum login_kind { LOGIN_AUTHENTICATE, LOGIN_BASIC, LOGIN_HASH, LOGIN_PROVEN };

struct login {
    struct job job; /* first, so that it converts by a cast */
    struct login *next;
    struct node *node;
    struct call *call;           /* NULL: gone */
    struct login_thread *thread; /* at work for it */
    enum login_kind kind;
    enum request_type type; /* HASH: what to propose */
    bool queued;
    unsigned tries;
    uint8_t password[PASSWORD_BYTES_MAX];
    size_t password_len;
    char letters[TOKEN_LETTERS + 1]; /* of the simple token that was proposed */
    size_t user_len;
    uint8_t user[AUTH_NAME_MAX];
    /* what the thread gets and gives */
    int cost;
    uint8_t salt[PASSWORD_SALT];
    char hash[AUTH_HASH_MAX + 1]; /* given, but for HASH */
    uint64_t revision;            /* of auth, when hash was looked up */
    uint64_t who, where; /* the user at this address, the address; 0: they are not counted */
    int64_t wall_ms;
    const struct key *key; /* not NULL: signs a token if the password is right */
    int64_t ttl_ms;
    struct alloc alloc; /* of token: the thread's */
    struct buf token;
    bool nobody; /* there is no such user, or it has no password */
    bool right;
    enum err err;
};

struct login_thread {
    struct worker *worker;
    struct login *at_work;
};

static struct span user_of(const struct login *l)
{
    return span_of(l->user, l->user_len);
}

static struct span password_of(const struct login *l)
{
    return span_of(l->password, l->password_len);
}

/* ---- the threads ---- */

static size_t threads_wanted(const struct node *n)
{
    long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
    int64_t want = n->params.login_threads ? n->params.login_threads : half > 8 ? 8 : half;
    return want < 1 ? 1 : (size_t)want;
}

static void threads_start(struct node *n)
{
    struct logins *l = &n->logins;
    if (l->threads)
        return;
    l->n_threads = threads_wanted(n);
    l->threads = mem_zero(&n->alloc, l->n_threads * sizeof(*l->threads));
    for (size_t i = 0; i < l->n_threads; i++)
        l->threads[i].worker = thread_open(&n->alloc, n->loop, "confman-login", THREAD_NORMAL);
}

static void login_free(struct login *l)
{
    struct alloc *alloc = &l->node->alloc;
    CHECK(!l->queued && !l->thread && !l->call);
    if (l->token.data)
        password_wipe(l->token.data, l->token.cap);
    buf_close(&l->token);
    password_wipe(l, sizeof(*l));
    mem_free(alloc, l, sizeof(*l));
}

/* Nobody asks for it any more. */
static void let_go(struct login *l)
{
    if (l->call)
        l->call->caller.login = NULL;
    l->call = NULL;
    if (!l->queued && !l->thread)
        login_free(l);
}

void login_drop(struct login *l)
{
    struct logins *all = &l->node->logins;
    for (struct login **at = &all->first; l->queued; at = &(*at)->next) {
        CHECK(*at != NULL);
        if (*at != l)
            continue;
        *at = l->next;
        if (all->last == &l->next)
            all->last = at;
        l->queued = false;
        all->queued--;
        break;
    }
    let_go(l);
}

void login_close(struct node *n)
{
    struct logins *l = &n->logins;
    CHECK(!l->first && l->waiting.n == 0);
    for (size_t i = 0; i < l->n_threads; i++) {
        thread_drain(l->threads[i].worker);
        thread_close(l->threads[i].worker);
    }
    mem_free(&n->alloc, l->threads, l->n_threads * sizeof(*l->threads));
    VEC_CLOSE(&l->waiting, &n->alloc);
    tokens_close(&l->simple);
    tokens_close(&l->seen);
    if (l->key)
        key_close(l->key);
    password_wipe(l->salt, sizeof(l->salt));
}

/* ---- on the thread ---- */

static void sign(struct login *l)
{
    struct jwt_claims claims = { .user = user_of(l),
                                 .revision = l->revision,
                                 .expires_s = (l->wall_ms + l->ttl_ms) / 1000 };
    struct buf signature;
    buf_open(&signature, &l->alloc);
    jwt_write(key_method(l->key), &claims, &l->token);
    l->err = key_sign(l->key, buf_all(&l->token), &signature);
    jwt_write_signature(buf_all(&signature), &l->token);
    buf_close(&signature);
}

static void run(struct job *job)
{
    struct login *l = (struct login *)job;
    if (l->kind == LOGIN_HASH) {
        password_hash(password_of(l), l->cost, l->salt, l->hash);
        return;
    }
    l->right = l->kind == LOGIN_PROVEN ||
               (password_check(password_of(l), span_text(l->hash)) && !l->nobody);
    if (l->right && l->key)
        sign(l);
}

/* ---- its way ---- */

static void work_next(struct node *n);
static void done(struct job *job);

/* An unknown user's password takes as long as a known one's: that there is none must not be seen
 * from the time. */
static void hash_of_nobody(struct login *l)
{
    int n = snprintf(l->hash, sizeof(l->hash), "$2b$%02d$", l->cost);
    memset(l->hash + n, '.', (size_t)(60 - n));
    l->hash[60] = 0;
    l->nobody = true;
}

static void random_bytes(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
        uint64_t word = loop_random();
        memcpy(out + i, &word, sizeof(word));
    }
}

static void look_up(struct login *l)
{
    const struct auth *auth = l->node->machine.auth;
    struct span hash;
    bool no_password;
    l->revision = auth_revision(auth);
    l->nobody = false;
    if (!auth_user_secret(auth, user_of(l), &hash, &no_password) || no_password ||
        !hash.len || hash.len > AUTH_HASH_MAX || hash.data[0] != '$') {
        hash_of_nobody(l);
        return;
    }
    memcpy(l->hash, hash.data, hash.len);
    l->hash[hash.len] = 0;
}

static void begin(struct login *l, struct login_thread *t)
{
    struct node *n = l->node;
    t->at_work = l;
    l->thread = t;
    l->cost = (int)n->params.bcrypt_cost;
    l->wall_ms = loop_wall_ms(n->loop);
    l->key = l->kind == LOGIN_AUTHENTICATE || l->kind == LOGIN_PROVEN ? n->logins.key : NULL;
    l->ttl_ms = n->logins.ttl_ms;
    l->err = ERR_OK;
    buf_reset(&l->token);
    if (l->kind == LOGIN_HASH)
        random_bytes(l->salt, sizeof(l->salt));
    else
        look_up(l);
    l->job = (struct job){ .run = run, .done = done };
    thread_submit(t->worker, &l->job);
}

static void work_next(struct node *n)
{
    struct logins *all = &n->logins;
    for (size_t i = 0; i < all->n_threads && all->first; i++) {
        struct login *l = all->first;
        if (all->threads[i].at_work)
            continue;
        all->first = l->next;
        if (!all->first)
            all->last = &all->first;
        l->queued = false;
        all->queued--;
        begin(l, &all->threads[i]);
    }
}

static void enqueue(struct login *l)
{
    struct logins *all = &l->node->logins;
    threads_start(l->node);
    l->next = NULL;
    *all->last = l;
    all->last = &l->next;
    l->queued = true;
    all->queued++;
    work_next(l->node);
}

/* ---- how often one may be wrong ---- */

/* Of a user at an address, or, user empty, of the address alone; never 0. */
static uint64_t tries_key(struct call *call, struct span user)
{
    char address[TCP_ADDRESS_MAX] = "";
    uint8_t hash[TOKEN_HASH];
    struct buf b;
    uint64_t key;
    if (!call->conn->local)
        tcp_peer(call->conn->fd, address);
    char *port = strrchr(address, ':');
    buf_open(&b, &call->node->pool.alloc);
    buf_put(&b, address, port ? (size_t)(port - address) : strlen(address));
    buf_u8(&b, 0);
    buf_span(&b, user);
    login_seen_hash(call->node, buf_all(&b), hash);
    buf_close(&b);
    memcpy(&key, hash, sizeof(key));
    return key | 1;
}

/* Whether a password may be looked at now. */
static enum err may_try(struct call *call, struct login *l)
{
    struct node *n = call->node;
    uint32_t max = (uint32_t)n->params.login_failures_max;
    int64_t now = loop_now_ms(n->loop);
    if (!max)
        return ERR_OK;
    l->who = tries_key(call, user_of(l));
    l->where = tries_key(call, SPAN_NONE);
    int64_t wait = tries_wait_ms(&n->logins.tries, l->who, max, now);
    int64_t of_all = tries_wait_ms(&n->logins.tries, l->where, max * TRIES_ADDRESS_TIMES, now);
    call->retry_ms = wait > of_all ? wait : of_all;
    n->metrics.logins_limited += call->retry_ms > 0;
    return call->retry_ms ? ERR_LOGIN_TRIES : ERR_OK;
}

static void count_try(struct login *l, enum err e)
{
    struct node *n = l->node;
    if (e == ERR_OK && l->who)
        tries_right(&n->logins.tries, l->who);
    if (e != ERR_AUTH_FAILED || !l->who)
        return;
    tries_wrong(&n->logins.tries, l->who, loop_now_ms(n->loop));
    tries_wrong(&n->logins.tries, l->where, loop_now_ms(n->loop));
}

/* NULL: there are too many. */
static struct login *login_new(struct call *call, enum login_kind kind, struct span user,
                               struct span password)
{
    struct node *n = call->node;
    CHECK(!call->caller.login && user.len <= AUTH_NAME_MAX);
    if (n->logins.queued >= LOGIN_QUEUE_MAX) {
        n->metrics.logins_full++;
        return NULL;
    }
    struct login *l = mem_zero(&n->alloc, sizeof(*l));
    l->node = n;
    l->call = call;
    l->kind = kind;
    l->user_len = user.len;
    if (user.len)
        memcpy(l->user, user.data, user.len);
    l->password_len = password.len < PASSWORD_BYTES_MAX ? password.len : PASSWORD_BYTES_MAX;
    if (l->password_len)
        memcpy(l->password, password.data, l->password_len);
    alloc_heap(&l->alloc);
    buf_open(&l->token, &l->alloc);
    call->caller.login = l;
    return l;
}

/* ---- what came of it ---- */

/* On a connection of HTTP/1.1 what waits behind the call goes on when that has ended. */
static void propose(struct call *call, const struct request *r)
{
    struct conn *c = call->conn;
    bool http1 = !call->stream;
    call_propose(call, r);
    if (http1)
        conn_feed_rest(c);
}

static void fail(struct login *l, enum err e)
{
    struct call *call = l->call;
    let_go(l);
    call_fail_late(call, e);
}

static void answer_token(struct login *l)
{
    struct call *call = l->call;
    struct reply reply = { .type = REQUEST_AUTHENTICATE,
                           .revision = kv_revision(l->node->machine.kv) };
    reply.login.token = arena_copy(&call->arena, buf_all(&l->token));
    let_go(l);
    call_answer_late(call, &reply);
}

/* The log gets what only tells whoever has the token that it is one. */
static void propose_token(struct login *l)
{
    uint8_t hash[TOKEN_HASH], random[TOKEN_RANDOM];
    struct request r = { .type = REQUEST_AUTHENTICATE };
    do {
        random_bytes(random, sizeof(random));
    } while (!token_letters(random, l->letters));
    password_wipe(random, sizeof(random));
    token_hash(span_of(l->letters, TOKEN_LETTERS), hash);
    r.auth.user = user_of(l);
    r.auth.token_hash = span_of(hash, sizeof(hash));
    r.auth.checked_revision = l->revision;
    propose(l->call, &r); /* without success l is gone */
}

bool login_replied(struct call *call, const struct reply *reply, struct reply *out)
{
    struct login *l = call->caller.login;
    *out = *reply;
    if (!l)
        return true;
    if (reply->err == ERR_AUTH_OLD_REVISION && ++l->tries < LOGIN_TRIES) {
        enqueue(l);
        return false;
    }
    if (reply->err == ERR_OK) {
        struct buf token;
        buf_open(&token, &l->alloc);
        buf_format(&token, "%s.%llu", l->letters,
                   (unsigned long long)l->node->machine.applied_index);
        out->login.token = arena_copy(&call->arena, buf_all(&token));
        buf_close(&token);
    }
    let_go(l);
    return true;
}

static void propose_hash(struct login *l)
{
    struct call *call = l->call;
    struct request r = { .type = l->type };
    enum err e = login_of(call, &r);
    if (e != ERR_OK) {
        fail(l, e);
        return;
    }
    r.auth.user = user_of(l);
    r.auth.hash = span_text(l->hash);
    call->caller.login = NULL;
    l->call = NULL;
    propose(call, &r);
    login_free(l);
}

static void finish_basic(struct login *l, enum err e)
{
    struct call *call = l->call;
    struct span user = arena_copy(&call->arena, user_of(l));
    let_go(l);
    login_basic_done(call, user, e);
}

static void compared(struct login *l)
{
    struct node *n = l->node;
    enum err e = l->right ? l->err : ERR_AUTH_FAILED;
    if (l->revision != auth_revision(n->machine.auth)) { /* it may have another password now */
        if (++l->tries < LOGIN_TRIES) {
            enqueue(l);
            return;
        }
        e = ERR_AUTH_OLD_REVISION;
    }
    n->metrics.logins += e == ERR_OK;
    n->metrics.logins_failed += e == ERR_AUTH_FAILED;
    if (e == ERR_AUTH_FAILED)
        audit_login(l->call, span_of(l->user, l->user_len), e);
    count_try(l, e);
    if (l->kind == LOGIN_BASIC)
        finish_basic(l, e);
    else if (e != ERR_OK)
        fail(l, e);
    else if (l->key)
        answer_token(l);
    else
        propose_token(l);
}

static void done(struct job *job)
{
    struct login *l = (struct login *)job;
    struct node *n = l->node;
    l->thread->at_work = NULL;
    l->thread = NULL;
    if (!l->call)
        login_free(l);
    else if (l->kind == LOGIN_HASH)
        propose_hash(l);
    else
        compared(l);
    work_next(n);
}

/* ---- requests with a password ---- */

bool login_wants(const struct request *r)
{
    return r->type == REQUEST_AUTHENTICATE ||
           (r->type == REQUEST_USER_ADD && !r->auth.no_password) ||
           (r->type == REQUEST_USER_PASSWORD && r->auth.password.len);
}

/* Whether a user of this name can be there, and a hash can be made of the password. */
static enum err check(const struct request *r)
{
    bool too_long = r->auth.user.len > AUTH_NAME_MAX;
    if (r->type == REQUEST_AUTHENTICATE)
        return too_long ? ERR_AUTH_FAILED : ERR_OK;
    if (too_long)
        return r->type == REQUEST_USER_ADD ? ERR_AUTH_LIMIT : ERR_USER_NOT_FOUND;
    return password_fits(r->auth.password);
}

/* At the read index: the password is compared with what all the others know, too (etcd). */
static enum err authenticate(struct login *l)
{
    const struct node *n = l->node;
    if (!auth_enabled(n->machine.auth))
        return ERR_AUTH_NOT_ENABLED;
    if (n->logins.key && !key_can_sign(n->logins.key))
        return ERR_AUTH_VERIFY_ONLY;
    enqueue(l);
    return ERR_OK;
}

void login_begin(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    bool hashes = r->type != REQUEST_AUTHENTICATE;
    enum err e = check(r);
    struct login *l = NULL;
    if (e == ERR_OK) {
        l = login_new(call, hashes ? LOGIN_HASH : LOGIN_AUTHENTICATE, r->auth.user,
                      r->auth.password);
        e = !l ? ERR_LOGINS_FULL : hashes ? ERR_OK : may_try(call, l);
    }
    if (e != ERR_OK) {
        if (l)
            let_go(l);
        call_end(call, e);
        return;
    }
    l->type = r->type;
    if (hashes)
        enqueue(l);
    else if (!pump_may_read(n))
        forward_gather(n, call, 0);
    else if ((e = authenticate(l)) != ERR_OK)
        call_end(call, e);
}

void login_read(struct call *call)
{
    struct login *l = call->caller.login;
    enum err e = authenticate(l);
    if (e != ERR_OK)
        fail(l, e);
}

/* To a thread only if a token is to be signed there. */
enum err login_session(struct call *call, struct span user)
{
    struct node *n = call->node;
    if (!auth_enabled(n->machine.auth))
        return ERR_AUTH_NOT_ENABLED;
    if (n->logins.key && !key_can_sign(n->logins.key))
        return ERR_AUTH_VERIFY_ONLY;
    struct login *l = login_new(call, LOGIN_PROVEN, user, SPAN_NONE);
    if (!l)
        return ERR_LOGINS_FULL;
    enqueue(l);
    return ERR_OK;
}

enum err login_basic(struct call *call, struct span user, struct span password)
{
    if (user.len > AUTH_NAME_MAX)
        return ERR_AUTH_FAILED;
    struct login *l = login_new(call, LOGIN_BASIC, user, password);
    if (!l)
        return ERR_LOGINS_FULL;
    enum err e = may_try(call, l);
    if (e != ERR_OK) {
        let_go(l);
        return e;
    }
    call->caller.waits = true;
    enqueue(l);
    return ERR_OK;
}
