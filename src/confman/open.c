/* A client's beginning and end. */
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"
#include "wire/protobuf/protobuf.h"

struct opening {
    const struct confman_options *o;
    struct confman *c;
    struct confman_error *error, own;
};

/* Whether the caller's struct, perhaps of an older header, has the member. */
#define HAS(o, member)                                                                             \
    ((o)->size >= offsetof(struct confman_options, member) + sizeof((o)->member))

static enum confman_code take_endpoints(struct opening *p, const char *list)
{
    struct confman *c = p->c;
    while (*list) {
        size_t n = strcspn(list, ",");
        struct tcp_address a;
        bool tls;
        if (c->n_endpoints == ENDPOINTS_MAX || n >= TCP_ADDRESS_MAX)
            return error_set(p->error, CONFMAN_INVALID, "at most %d endpoints", (int)ENDPOINTS_MAX);
        char *address = c->endpoints[c->n_endpoints].address;
        memcpy(address, list, n);
        address[n] = 0;
        if (tcp_parse(address, &a, &tls) != ERR_OK)
            return error_set(p->error, CONFMAN_INVALID, "endpoint \"%.100s\" is not HOST:PORT, "
                                                   "https://HOST:PORT or unix:PATH", address);
        if (tls != c->secure && c->n_endpoints && !p->o->ca_file)
            return error_set(p->error, CONFMAN_INVALID,
                             "some endpoints are https and some are not");
        c->secure = tls || p->o->ca_file || p->o->insecure_skip_verify;
        c->n_endpoints++;
        list += n + (list[n] == ',');
    }
    return c->n_endpoints ? CONFMAN_OK
                          : error_set(p->error, CONFMAN_INVALID, "there is no endpoint");
}

static enum confman_code take_tls(struct opening *p)
{
    char why[TLS_WHY_MAX];
    struct tls_options t = { .cert_file = p->o->cert_file,
                             .key_file = p->o->key_file,
                             .ca_file = p->o->ca_file,
                             .client = true,
                             .skip_verify = p->o->insecure_skip_verify != 0 };
    if (!p->c->secure || tls_context_open(&t, &p->c->tls, why) == ERR_OK)
        return CONFMAN_OK;
    p->c->tls = NULL;
    return error_set(p->error, CONFMAN_INVALID, "TLS: %.240s", why);
}

/* A token goes into a header: what could end that is none. */
static bool is_token(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return false;
    return strlen(text) < 16384;
}

struct token_work {
    struct work work;
    const char *token;
};

static void do_token(void *context)
{
    struct token_work *t = context;
    struct confman *c = t->work.c;
    char *copy = t->token && t->token[0] && is_token(t->token) ? strdup(t->token) : NULL;
    if (!copy) {
        error_set(t->work.error, CONFMAN_INVALID, "this is no token");
        return;
    }
    monitor_enter(c->monitor);
    char *before = c->next_token;
    c->next_token = copy;
    if (!c->broken)
        loop_wake(c->loop);
    monitor_leave(c->monitor);
    free(before);
}

enum confman_code confman_token(struct confman *c, const char *token, struct confman_error *error)
{
    struct token_work t = { .token = token };
    return work_run(&t.work, c, error, do_token);
}

/* Whose acknowledgements these are: by default the program's, and of this process and client. */
static bool take_names(struct opening *p)
{
    struct confman *c = p->c;
    const struct confman_options *o = p->o;
    const char *client = HAS(o, client) ? o->client : NULL;
    const char *instance = HAS(o, instance) ? o->instance : NULL;
    char host[NAME_MAX_BYTES / 2];
    monitor_names(c->name, sizeof(c->name), host, sizeof(host));
    snprintf(c->instance, sizeof(c->instance), "%s/%d/%04x", host, monitor_process(),
             (unsigned)(c->random >> 48));
    if (client && client[0])
        snprintf(c->name, sizeof(c->name), "%s", client);
    if (instance)
        snprintf(c->instance, sizeof(c->instance), "%s", instance);
    bool whole = (!client || strlen(client) <= NAME_MAX_BYTES) &&
                 (!instance || strlen(instance) <= NAME_MAX_BYTES);
    if (!whole || !pb_utf8(span_text(c->name)) || !pb_utf8(span_text(c->instance)))
        error_set(p->error, CONFMAN_INVALID, "client and instance have at most 128 bytes of UTF-8");
    return p->error->code == CONFMAN_OK;
}

static void do_open(void *context)
{
    struct opening *p = context;
    struct confman *c = p->c;
    const struct confman_options *o = p->o;
    alloc_heap(&c->alloc);
    buf_open(&c->stream, &c->alloc);
    buf_open(&c->user, &c->alloc);
    buf_open(&c->password, &c->alloc);
    buf_open(&c->token, &c->alloc);
    c->incoming_end = &c->incoming;
    c->process = monitor_process();
    c->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : TIMEOUT_MS;
    c->random = loop_random() | 1;
    c->next_copy = 1;
    c->stay = HAS(o, stay) && o->stay;
    if (!take_names(p))
        return;
    if (o->token && !is_token(o->token)) {
        error_set(p->error, CONFMAN_INVALID, "the token has characters that no token has");
        return;
    }
    if (o->token)
        buf_text(&c->token, o->token);
    else if (o->user) {
        buf_text(&c->user, o->user);
        buf_text(&c->password, o->password ? o->password : "");
    }
    if (take_endpoints(p, o->endpoints ? o->endpoints : "127.0.0.1:2379") != CONFMAN_OK ||
        take_tls(p) != CONFMAN_OK)
        return;
    /* So that not all of a fleet are at the first one. */
    c->next_endpoint = (int)(c->random % (uint64_t)c->n_endpoints);
    c->monitor = monitor_open();
    c->loop = c->monitor ? loop_open(&c->alloc) : NULL;
    bool alone = HAS(o, own_loop) && o->own_loop;
    if (c->loop && alone)
        client_start(c);
    else if (c->loop)
        c->thread = monitor_start(client_run, c);
    if (!c->loop || (!c->thread && !alone))
        error_set(p->error, CONFMAN_NO_MEMORY, "no thread can be started");
}

/* Nobody else has it any more. */
static void free_all(struct confman *c)
{
    struct buf *secrets[] = { &c->token, &c->password, &c->user, &c->stream };
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        if (secrets[i]->cap)
            explicit_bzero(secrets[i]->data, secrets[i]->cap);
        if (secrets[i]->alloc)
            buf_close(secrets[i]);
    }
    free(c->next_token);
    if (c->loop)
        loop_close(c->loop);
    if (c->tls)
        tls_context_close(c->tls);
    if (c->monitor)
        monitor_close(c->monitor);
    free(c);
}

enum confman_code confman_open(const struct confman_options *options, struct confman **out,
                               struct confman_error *error)
{
    static const struct confman_options none = CONFMAN_OPTIONS;
    struct opening p = { .o = options ? options : &none, .error = error };
    struct check_catch bug;
    if (!p.error)
        p.error = &p.own;
    *p.error = (struct confman_error){ .code = CONFMAN_OK };
    if (!out || !HAS(p.o, stay))
        return error_set(p.error, CONFMAN_MISUSE, "out is NULL, or options is not CONFMAN_OPTIONS");
    *out = NULL;
    p.c = calloc(1, sizeof(*p.c));
    if (!p.c)
        return error_set(p.error, CONFMAN_NO_MEMORY, "no memory");
    if (check_caught(do_open, &p, &bug)) /* what it has got is lost */
        return error_set(p.error, CONFMAN_BUG,
                         "no descriptor or no memory, or a bug of libconfman: %.180s", bug.what);
    if (p.error->code != CONFMAN_OK)
        free_all(p.c);
    else
        *out = p.c;
    return p.error->code;
}

static void do_close(void *context)
{
    struct confman *c = context;
    monitor_enter(c->monitor);
    c->closing = true;
    bool broken = c->broken;
    if (!broken)
        loop_wake(c->loop);
    monitor_leave(c->monitor);
    if (c->thread)
        monitor_join(c->thread);
    else
        client_end(c);
    if (!c->broken)
        free_all(c);
}

void confman_close(struct confman *c)
{
    struct check_catch bug;
    if (c && c->process == monitor_process() && !client_inside(c))
        (void)check_caught(do_close, c, &bug);
}
