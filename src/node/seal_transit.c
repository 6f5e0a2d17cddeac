/* The seal's key, sealed and opened by another server's transit (link/transit): what is asked on a
 * thread of its own, when, and the token that is shown. Once the key is here, nobody is asked:
 * secrets stay open while the other server is away. */
#include <stdio.h>
#include <stdlib.h>
#include "base/prng.h"
#include "io/fetch/fetch.h"
#include "io/thread/thread.h"
#include "node/secret_int.h"

#define TOKEN_VARIABLE "CONFMAN_SEAL_TRANSIT_TOKEN"

/* ---- on the thread ---- */

struct exchange {
    struct seal_job *j;
    const struct params *p; /* nobody writes them any more */
    struct transit *transit;
    struct alloc alloc; /* wipes */
    struct arena arena;
    struct buf url, body, answer, shown, name_space;
    char address[PARAM_TEXT_MAX];
    char token[TRANSIT_TOKEN_MAX + 1];
    struct transit_answer a;
};

static void open_exchange(struct exchange *x, struct seal_job *j)
{
    struct node *n = j->node;
    *x = (struct exchange){ .j = j, .p = &n->params, .transit = n->secrets->transit };
    alloc_heap(&x->alloc);
    x->alloc.wipes = true;
    arena_open(&x->arena, &x->alloc);
    buf_open(&x->url, &x->alloc);
    buf_open(&x->body, &x->alloc);
    buf_open(&x->answer, &x->alloc);
    buf_open(&x->shown, &x->alloc);
    buf_open(&x->name_space, &x->alloc);
}

static void close_exchange(struct exchange *x)
{
    buf_close(&x->url);
    buf_close(&x->body);
    buf_close(&x->answer);
    buf_close(&x->shown);
    buf_close(&x->name_space);
    arena_close(&x->arena);
    CHECK(x->alloc.used == 0);
    cipher_wipe(x, sizeof(*x));
}

static const char *closed(struct buf *b)
{
    buf_u8(b, 0);
    return (const char *)b->data;
}

static enum err ask(struct exchange *x, enum transit_op op, struct span first, struct span second)
{
    struct seal_job *j = x->j;
    struct fetch f = { .ca_file = x->p->seal_transit_ca_file,
                       .timeout_ms = SEAL_FETCH_MS,
                       .bytes_max = TRANSIT_ANSWER_MAX,
                       .body = &x->answer,
                       .headers = { "X-Vault-Request: true" },
                       .n_headers = 1,
                       .stop = &x->transit->stop };
    char why[TRANSIT_WHY_MAX];
    buf_reset(&x->url);
    buf_reset(&x->body);
    buf_reset(&x->shown);
    buf_reset(&x->name_space);
    transit_url(op, x->address, x->p->seal_transit_mount, x->p->seal_transit_key, &x->url);
    f.url = closed(&x->url);
    if (transit_posts(op)) {
        transit_body(op, first, second, &x->body);
        f.json = closed(&x->body);
    }
    if (op != TRANSIT_LOGIN) {
        buf_format(&x->shown, "X-Vault-Token: %s", x->token);
        f.headers[f.n_headers++] = closed(&x->shown);
    }
    if (x->p->seal_transit_namespace[0]) {
        buf_format(&x->name_space, "X-Vault-Namespace: %s", x->p->seal_transit_namespace);
        f.headers[f.n_headers++] = closed(&x->name_space);
    }
    enum err e = fetch_do(&f);
    j->status = e == ERR_OK ? f.status : 0;
    snprintf(why, sizeof(why), "%.*s", FETCH_WHY_MAX, e == ERR_STOPPED ? "stopped" : f.why);
    if (e == ERR_OK)
        e = transit_read(op, f.status, buf_all(&x->answer), &x->arena, &x->a, why);
    if (e != ERR_OK) /* whoever says our token back to us is not quoted */
        snprintf(j->why, sizeof(j->why), "%.200s: %.*s", x->address, TRANSIT_WHY_MAX,
                 strlen(x->token) > 7 && strstr(why, x->token) ? "it refuses, and says the token"
                                                               : why);
    return e;
}

static enum err read_file(struct exchange *x, const char *path)
{
    char why[CIPHER_WHY_MAX];
    enum err e = cipher_text_file(path, x->token, sizeof(x->token), why);
    if (e == ERR_OK && !transit_token_good(span_text(x->token))) {
        snprintf(why, sizeof(why), "its first line cannot be one: %.200s", path);
        e = ERR_BAD_REQUEST;
    }
    if (e != ERR_OK)
        snprintf(x->j->why, sizeof(x->j->why), "the token or secret id: %s", why);
    return e;
}

static bool is_approle(const struct params *p)
{
    return p->seal_transit_role_id[0] != 0;
}

/* The token to show: of a file, read anew each time, of the environment, or of a login. */
static enum err come_to_token(struct exchange *x)
{
    const struct params *p = x->p;
    if (!is_approle(p) && x->transit->token[0]) {
        strcpy(x->token, x->transit->token);
        return ERR_OK;
    }
    enum err e =
        read_file(x, is_approle(p) ? p->seal_transit_secret_id_file : p->seal_transit_token_file);
    if (e == ERR_OK && is_approle(p)) {
        e = ask(x, TRANSIT_LOGIN, span_text(p->seal_transit_role_id), span_text(x->token));
        if (e == ERR_OK)
            snprintf(x->token, sizeof(x->token), "%.*s", (int)x->a.text.len,
                     (const char *)x->a.text.data);
    }
    return e;
}

static enum err decrypt(struct exchange *x, uint8_t key[CIPHER_KEY])
{
    enum err e = ask(x, TRANSIT_DECRYPT, span_text(x->j->sealed), SPAN_NONE);
    if (e == ERR_OK)
        memcpy(key, x->a.key, CIPHER_KEY);
    return e;
}

/* What cannot be opened again is not relied upon: policies may allow the one and not the other. */
static enum err encrypt(struct exchange *x)
{
    struct seal_job *j = x->j;
    uint8_t again[CIPHER_KEY];
    enum err e = ask(x, TRANSIT_ENCRYPT, span_of(j->key, CIPHER_KEY), SPAN_NONE);
    if (e == ERR_OK) {
        snprintf(j->sealed, sizeof(j->sealed), "%.*s", (int)x->a.text.len,
                 (const char *)x->a.text.data);
        e = decrypt(x, again);
    }
    if (e == ERR_OK && memcmp(again, j->key, CIPHER_KEY) != 0) {
        snprintf(j->why, sizeof(j->why), "%.200s: what it has sealed it opens as something else",
                 x->address);
        e = ERR_TRANSIT;
    }
    cipher_wipe(again, sizeof(again));
    return e;
}

static enum err renew(struct exchange *x)
{
    enum err e = ask(x, TRANSIT_LOOKUP, SPAN_NONE, SPAN_NONE);
    if (e == ERR_OK && x->a.renewable && x->a.ttl_s)
        e = ask(x, TRANSIT_RENEW, SPAN_NONE, SPAN_NONE);
    x->j->ttl_s = x->a.ttl_s;
    x->j->renewable = x->a.renewable;
    return e;
}

/* A login's token is of no use afterwards; that it could not be ended is not worth a word. */
static void let_go(struct exchange *x)
{
    char why[SEAL_WHY_MAX];
    struct seal_job *j = x->j;
    int status = j->status;
    memcpy(why, j->why, sizeof(why));
    enum err unused = ask(x, TRANSIT_REVOKE, SPAN_NONE, SPAN_NONE);
    (void)unused;
    memcpy(j->why, why, sizeof(why));
    j->status = status;
}

static enum err ask_there(struct exchange *x)
{
    struct seal_job *j = x->j;
    enum err e = come_to_token(x);
    if (e != ERR_OK)
        return e;
    e = j->task == SEAL_OPEN ? decrypt(x, j->key) : j->task == SEAL_MAKE ? encrypt(x) : renew(x);
    if (is_approle(x->p))
        let_go(x);
    return e;
}

/* One of its addresses after the other, as long as none has said no. */
static void run(struct job *job)
{
    struct exchange x;
    struct seal_job *j = (struct seal_job *)job;
    char list[PARAM_TEXT_MAX], *rest = list;
    open_exchange(&x, j);
    memcpy(list, x.p->seal_transit_address, sizeof(list));
    for (char *one; (one = strsep(&rest, ",")) != NULL;) {
        memcpy(x.address, one, strlen(one) + 1);
        j->err = ask_there(&x);
        bool no = j->status >= 400 && j->status < 500 && j->status != 429;
        if (j->err == ERR_OK || j->err == ERR_STOPPED || j->err == ERR_BAD_REQUEST || no)
            break;
    }
    close_exchange(&x);
}

/* ---- on the loop ---- */

static bool keeps_token(const struct params *p)
{
    return !is_approle(p) && !p->seal_transit_disable_renewal;
}

static void on_timer(void *context)
{
    struct node *n = context;
    n->secrets->look = true;
}

static void wait_until_next(struct node *n)
{
    struct transit *t = n->secrets->transit;
    int64_t at = t->next_ms < t->token_ms ? t->token_ms : t->next_ms;
    if (t->why[0])
        at = t->next_ms;
    if (at != INT64_MAX)
        loop_timer_set(n->loop, &t->timer, at);
}

/* Exponential, and each time somewhere in the later half: members that lost it together do not come
 * back together. */
static void failed(struct node *n, const struct seal_job *j)
{
    struct transit *t = n->secrets->transit;
    int64_t half = t->delay_ms / 2;
    t->next_ms = loop_now_ms(n->loop) + half + (int64_t)prng_below(&n->prng, (uint64_t)half);
    t->delay_ms = t->delay_ms * 2 < SEAL_RETRY_MAX_MS ? t->delay_ms * 2 : SEAL_RETRY_MAX_MS;
    bool same = strcmp(t->why, j->why) == 0;
    memcpy(t->why, j->why, sizeof(t->why));
    slog(same ? SLOG_DEBUG : SLOG_WARN, "the transit that seals has not done what it was asked",
         "task=%s error=%s again_ms=%lld",
         j->task == SEAL_TOKEN  ? "token"
         : j->task == SEAL_MAKE ? "seal"
                                : "unseal",
         slog_quote(j->why), (long long)(t->next_ms - loop_now_ms(n->loop)));
}

static void took_token(struct node *n, const struct seal_job *j)
{
    struct transit *t = n->secrets->transit;
    int64_t now = loop_now_ms(n->loop);
    int64_t in = j->ttl_s < SEAL_TOKEN_MAX_MS / 500 ? j->ttl_s * 500 : SEAL_TOKEN_MAX_MS;
    t->token_ends_ms = j->ttl_s && j->ttl_s < INT64_MAX / 2000 ? now + j->ttl_s * 1000 : 0;
    t->token_ms = j->ttl_s ? now + (in > SEAL_TOKEN_MIN_MS ? in : SEAL_TOKEN_MIN_MS) : INT64_MAX;
    if (j->ttl_s && !j->renewable)
        slog(SLOG_WARN, "the token for the transit that seals will end, and cannot be renewed",
             "seconds=%lld", (long long)j->ttl_s);
}

static void opened(struct node *n, struct seal_job *j)
{
    struct secrets *s = n->secrets;
    if (s->by_hand || seal_take_key(n, j->key) == ERR_OK || j->seen != s->seen)
        return;
    snprintf(j->why, sizeof(j->why), "what it opens is not the key of this seal");
    n->metrics.seal_transit_failures++;
    failed(n, j);
}

/* Until it is applied, which is heard of, no other one is made. */
static void made(struct node *n, const struct seal_job *j)
{
    n->secrets->transit->next_ms = loop_now_ms(n->loop) + SEAL_RETRY_MIN_MS;
    seal_begin(n, j);
}

static void ended(struct job *job)
{
    struct seal_job *j = (struct seal_job *)job;
    struct node *n = j->node;
    struct transit *t = n->secrets->transit;
    j->busy = false;
    t->status = j->status;
    n->secrets->look = n->secrets_came = true;
    n->metrics.seal_transit_failures += j->err != ERR_OK;
    if (j == &t->asked) {
        seal_asked(j->call, j);
    } else if (j->err != ERR_OK) {
        failed(n, j);
    } else {
        t->why[0] = 0;
        t->delay_ms = SEAL_RETRY_MIN_MS;
        if (j->task == SEAL_OPEN)
            opened(n, j);
        else if (j->task == SEAL_TOKEN)
            took_token(n, j);
        else
            made(n, j);
    }
    cipher_wipe(j->key, sizeof(j->key));
    wait_until_next(n);
}

static void begin(struct node *n, struct seal_job *j, enum seal_task task)
{
    struct transit *t = n->secrets->transit;
    CHECK(!j->busy);
    if (!t->worker)
        t->worker = thread_open(&n->alloc, n->loop, "confman-seal", THREAD_NORMAL);
    t->stamp = cipher_file_stamp(is_approle(&n->params) ? n->params.seal_transit_secret_id_file
                                                        : n->params.seal_transit_token_file);
    j->job = (struct job){ .run = run, .done = ended };
    j->node = n;
    j->task = task;
    j->busy = true;
    j->seen = n->secrets->seen;
    j->status = 0;
    j->why[0] = 0;
    n->metrics.seal_transit_attempts++;
    thread_submit(t->worker, &j->job);
}

/* What this node would do by itself. */
static bool wants(struct node *n, enum seal_task *task)
{
    struct transit *t = n->secrets->transit;
    struct secret_seal config;
    enum err e = seal_config(n, &config);
    if (n->secrets->by_hand)
        return false;
    *task = SEAL_OPEN;
    if (e == ERR_OK && config.type == SECRET_SEAL_TRANSIT && !seal_is_open(n)) {
        snprintf(t->own.sealed, sizeof(t->own.sealed), "%.*s", (int)config.sealed.len,
                 (const char *)config.sealed.data);
        return true;
    }
    *task = SEAL_MAKE;
    if (e == ERR_NOT_FOUND && !seal_stored(n, SPAN(SECRET_SEAL)) && !n->params.seal_key_file[0] &&
        n->update.role == RAFT_LEADER && call_has_state(n)) {
        cipher_random(t->own.key, CIPHER_KEY);
        return true;
    }
    *task = SEAL_TOKEN;
    return loop_now_ms(n->loop) >= t->token_ms;
}

void transit_turn(struct node *n)
{
    struct transit *t = n->secrets->transit;
    enum seal_task task;
    if (t->own.busy || loop_now_ms(n->loop) < t->next_ms || !wants(n, &task))
        return;
    begin(n, &t->own, task);
}

/* A token that came by its file is tried at once. */
void transit_sweep(struct node *n)
{
    struct transit *t = n->secrets->transit;
    const struct params *p = &n->params;
    const char *file = is_approle(p) ? p->seal_transit_secret_id_file : p->seal_transit_token_file;
    n->secrets->look = true;
    if (file[0] && !t->own.busy && t->worker && cipher_file_stamp(file) != t->stamp) {
        t->next_ms = 0;
        t->token_ms = keeps_token(p) ? 0 : INT64_MAX;
    }
}

enum err transit_ask(struct call *call, const uint8_t key[CIPHER_KEY])
{
    struct node *n = call->node;
    struct seal_job *j = &n->secrets->transit->asked;
    if (j->busy)
        return ERR_TOO_MANY_REQUESTS;
    memcpy(j->key, key, CIPHER_KEY);
    j->call = call;
    call->sealing = j;
    begin(n, j, SEAL_MAKE);
    return ERR_OK;
}

void seal_gone(struct seal_job *j)
{
    j->call = NULL;
}

int seal_transit_status(const struct node *n)
{
    return n->secrets->transit ? n->secrets->transit->status : 0;
}

int64_t seal_token_s(const struct node *n)
{
    const struct transit *t = n->secrets->transit;
    if (!t || !t->token_ends_ms)
        return -1;
    int64_t left = t->token_ends_ms - loop_now_ms(n->loop);
    return left > 0 ? left / 1000 : 0;
}

/* ---- parameters ---- */

static const char *fault_of_addresses(const char *addresses)
{
    char list[PARAM_TEXT_MAX], *rest = list;
    int count = 0;
    memcpy(list, addresses, sizeof(list));
    for (char *one; (one = strsep(&rest, ",")) != NULL; count++)
        if (!fetch_allows(one) || strpbrk(one, "?#@ "))
            return "seal-transit-address must be https://host:port, or http: to this very machine; "
                   "several with commas between";
    return count > SEAL_ADDRESSES_MAX ? "seal-transit-address: 8 addresses at most" : NULL;
}

static const char *fault_of(const struct params *p, bool token)
{
    bool role = p->seal_transit_role_id[0], secret = p->seal_transit_secret_id_file[0];
    const char *fault = fault_of_addresses(p->seal_transit_address);
    if (fault)
        return fault;
    if (!transit_key_good(span_text(p->seal_transit_key)))
        return "seal-transit-key must name the key: letters, digits, \"-\", \"_\" and \".\"";
    if (!transit_mount_good(span_text(p->seal_transit_mount)))
        return "seal-transit-mount must say where the engine is mounted, without slashes around";
    if (role != secret)
        return "seal-transit-role-id and seal-transit-secret-id-file go together";
    if ((p->seal_transit_token_file[0] != 0) + token + role != 1)
        return "give one of seal-transit-token-file, seal-transit-role-id with "
               "seal-transit-secret-id-file, and the variable " TOKEN_VARIABLE;
    if (role && !transit_token_good(span_text(p->seal_transit_role_id)))
        return "seal-transit-role-id cannot be one";
    return p->seal_transit_namespace[0] && !transit_token_good(span_text(p->seal_transit_namespace))
               ? "seal-transit-namespace cannot be one"
               : NULL;
}

/* It is taken out of the environment, where who looks at the process would see it. */
static bool take_variable(struct transit *t)
{
    char *value = getenv(TOKEN_VARIABLE);
    bool good = !value || transit_token_good(span_text(value));
    if (value && good)
        strcpy(t->token, value);
    if (value) {
        cipher_wipe(value, strlen(value));
        unsetenv(TOKEN_VARIABLE);
    }
    return good;
}

bool transit_open(struct node *n)
{
    const struct params *p = &n->params;
    const char *fault = NULL;
    if (!p->seal_transit_address[0]) {
        if (p->seal_transit_key[0] || p->seal_transit_token_file[0] || p->seal_transit_role_id[0])
            fault = "seal-transit-address is not set, but others of seal-transit are";
    } else {
        struct transit *t = n->secrets->transit = cipher_pages(sizeof(*t));
        fetch_prepare();
        t->timer = (struct loop_timer){ .callback = on_timer, .context = n };
        t->delay_ms = SEAL_RETRY_MIN_MS;
        if (!take_variable(t))
            fault = "the variable " TOKEN_VARIABLE " cannot be a token";
        else
            fault = fault_of(p, t->token[0]);
        t->token_ms = keeps_token(p) ? 0 : INT64_MAX;
    }
    if (fault)
        slog(SLOG_ERROR, "the transit that seals", "error=%s", slog_quote(fault));
    return !fault;
}

void transit_close(struct node *n)
{
    struct transit *t = n->secrets->transit;
    if (!t)
        return;
    atomic_store(&t->stop, true);
    if (t->worker)
        thread_close(t->worker);
    loop_timer_clear(n->loop, &t->timer);
    cipher_pages_close(t, sizeof(*t));
    n->secrets->transit = NULL;
}
