/* The client: its thread, its connections, and calls on their way through retries. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"
#include "wire/protobuf/etcd_pb.h"

enum confman_code error_set(struct confman_error *error, enum confman_code code,
                            const char *format, ...)
{
    va_list list;
    if (!error)
        return code;
    *error = (struct confman_error){ .code = code };
    va_start(list, format);
    vsnprintf(error->text, sizeof(error->text), format, list);
    va_end(list);
    return code;
}

int64_t client_now(struct confman *c)
{
    return loop_now_ms(c->loop);
}

/* xorshift: only so that many clients do not come at one time. */
static int64_t jitter(struct confman *c, int64_t ms)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return ms / 2 + (int64_t)(c->random % (uint64_t)(ms / 2 + 1));
}

static int64_t backoff(struct confman *c, int tries)
{
    int64_t ms = BACKOFF_MS;
    for (int i = 1; i < tries && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    return jitter(c, ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS);
}

/* ---- calls ---- */

struct rpc *rpc_new(const char *method)
{
    struct rpc *call = calloc(1, sizeof(*call));
    if (!call)
        return NULL;
    alloc_heap(&call->alloc);
    struct buf *bufs[] = { &call->method, &call->path, &call->body, &call->in, &call->text };
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        buf_open(bufs[i], &call->alloc);
    buf_text(&call->method, method);
    return call;
}

void rpc_free(struct rpc *call)
{
    struct buf *bufs[] = { &call->method, &call->path, &call->body, &call->in, &call->text };
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
        if (bufs[i]->cap)
            explicit_bzero(bufs[i]->data, bufs[i]->cap); /* it may have been a secret */
        buf_close(bufs[i]);
    }
    free(call);
}

static void list_take(struct rpc **list, struct rpc *call)
{
    while (*list && *list != call)
        list = &(*list)->next;
    if (*list)
        *list = call->next;
    call->next = NULL;
}

static void list_put(struct rpc **list, struct rpc *call)
{
    while (*list)
        list = &(*list)->next;
    *list = call;
    call->next = NULL;
}

void rpc_drop(struct rpc *call)
{
    struct confman *c = call->channel ? call->channel->client : NULL;
    if (call->h2) {
        h2_stream_set_user(call->h2, NULL);
        h2_reset(call->h2, H2_CANCEL);
        call->h2 = NULL;
    }
    if (c)
        list_take(&c->flying, call);
    call->channel = NULL;
}

static void finish(struct confman *c, struct rpc *call)
{
    list_take(&c->flying, call);
    list_take(&c->waiting, call);
    if (call->on_done) {
        call->on_done(c, call);
        return;
    }
    monitor_enter(c->monitor);
    bool abandoned = call->abandoned;
    call->done = true;
    monitor_wake(c->monitor);
    monitor_leave(c->monitor);
    if (abandoned)
        rpc_free(call);
}

static void give_up(struct confman *c, struct rpc *call)
{
    struct confman_error was = call->error;
    if (call->doubt && call->writes)
        error_set(&call->error, CONFMAN_UNKNOWN, "the write was sent and no answer came: %.180s",
             was.text[0] ? was.text : c->why);
    else if (was.code == CONFMAN_OK || was.code == CONFMAN_UNKNOWN)
        error_set(&call->error, CONFMAN_UNAVAILABLE, "no server answered in time: %.200s",
             was.text[0] ? was.text : c->why[0] ? c->why : "none could be reached");
    call->error.http = was.http;
    finish(c, call);
}

/* Once more, unless there is no time left for it. */
static void again(struct confman *c, struct rpc *call, int64_t wait_ms)
{
    call->at_ms = client_now(c) + wait_ms;
    if (call->at_ms >= call->deadline_ms) {
        give_up(c, call);
        return;
    }
    list_take(&c->flying, call);
    list_put(&c->waiting, call);
}

void rpc_start(struct confman *c, struct rpc *call)
{
    list_put(&c->waiting, call);
}

/* The answer that came is no answer yet: the same once more, or what it means. */
static void weigh(struct confman *c, struct rpc *call)
{
    enum confman_code code = call->error.code;
    bool nothing_done = code == CONFMAN_UNAVAILABLE || code == CONFMAN_BUSY;
    if (code == CONFMAN_LOGIN && c->user.len && !call->relogged) {
        call->relogged = true; /* the token has ended, or the server has forgotten it */
        c->auth_off = false;
        buf_reset(&c->token);
        again(c, call, 0);
        return;
    }
    if (code == CONFMAN_UNKNOWN || nothing_done) {
        c->second_ms = 0; /* who leads may have changed */
        call->doubt = call->doubt || code == CONFMAN_UNKNOWN;
        call->tries++;
        if (nothing_done || call->repeats || !call->writes) {
            int64_t wait_ms = backoff(c, call->tries);
            again(c, call, wait_ms > call->retry_after_ms ? wait_ms : call->retry_after_ms);
            return;
        }
    }
    if (code != CONFMAN_OK && code != CONFMAN_UNKNOWN && call->doubt && call->writes &&
        code != CONFMAN_CONFLICT && code != CONFMAN_NOT_FOUND)
        call->error.code = CONFMAN_UNKNOWN;
    finish(c, call);
}

static void read_grpc(struct rpc *call)
{
    static const enum confman_code codes[] = { [3] = CONFMAN_INVALID,  [5] = CONFMAN_NOT_FOUND,
                                               [7] = CONFMAN_DENIED,   [8] = CONFMAN_BUSY,
                                               [14] = CONFMAN_UNKNOWN, [16] = CONFMAN_LOGIN };
    enum confman_code code = CONFMAN_SERVER;
    if (call->status == 0)
        return;
    if (call->status > 0 && call->status <= 16 && codes[call->status])
        code = codes[call->status];
    error_set(&call->error, code, "%.*s", (int)(call->text.len < 200 ? call->text.len : 200),
         (const char *)call->text.data);
}

void rpc_over(struct confman *c, struct rpc *call, bool whole, uint32_t h2_code)
{
    enum { REFUSED_STREAM = 7 };
    if (call->error.code != CONFMAN_OK) { /* we broke it off */
        finish(c, call);
        return;
    }
    if (!whole || !call->http) {
        bool sent = h2_code != REFUSED_STREAM;
        error_set(&call->error, sent ? CONFMAN_UNKNOWN : CONFMAN_UNAVAILABLE, "%.200s",
             c->why[0] ? c->why : "the server broke the answer off");
        if (call->stream)
            finish(c, call);
        else
            weigh(c, call);
        return;
    }
    if (call->grpc) {
        read_grpc(call);
    } else if (call->http >= 300) {
        struct arena arena;
        arena_open(&arena, &c->alloc);
        decode_problem(call->http, buf_all(&call->in), &arena, &call->error);
        arena_close(&arena);
    }
    if (call->stream)
        finish(c, call);
    else
        weigh(c, call);
}

/* ---- logging in ---- */

static void logged_in(struct confman *c, struct rpc *call)
{
    struct pb_authenticate_response r;
    struct grpc_reader reader;
    struct arena arena;
    struct span in = buf_all(&call->in), message;
    bool got;
    c->logging_in = false;
    grpc_reader_open(&reader, &c->alloc);
    arena_open(&arena, &c->alloc);
    if (call->error.code == CONFMAN_OK) {
        bool ok = grpc_reader_next(&reader, &in, ANSWER_BYTES_MAX, &message, &got) == ERR_OK &&
                  got && pb_authenticate_response_decode(message, &arena, &r) == ERR_OK &&
                  r.token.len && r.token.len < 16384;
        for (size_t i = 0; ok && i < r.token.len; i++)
            ok = r.token.data[i] > 0x20 && r.token.data[i] < 0x7f;
        buf_reset(&c->token);
        if (ok)
            buf_span(&c->token, r.token);
        else
            error_set(&call->error, CONFMAN_PROTOCOL, "the answer to the login makes no sense");
    } else if (call->status == 9 && span_is(buf_all(&call->text),
                                            err_text(ERR_AUTH_NOT_ENABLED))) {
        c->auth_off = true; /* nobody asks who we are */
        call->error = (struct confman_error){ .code = CONFMAN_OK };
    }
    if (call->error.code == CONFMAN_INVALID)
        call->error.code = CONFMAN_LOGIN; /* etcd's code for a wrong password */
    enum confman_code code = call->error.code;
    bool later = code == CONFMAN_BUSY || code == CONFMAN_UNAVAILABLE || code == CONFMAN_UNKNOWN;
    if (later)
        c->login_not_before_ms = client_now(c) + jitter(c, 4 * BACKOFF_MS);
    c->login_failed = !later && code != CONFMAN_OK;
    c->login_error = call->error;
    grpc_reader_close(&reader);
    arena_close(&arena);
    rpc_free(call);
}

static void log_in(struct confman *c)
{
    struct pb_authenticate_request r = { .name = buf_all(&c->user),
                                         .password = buf_all(&c->password) };
    struct rpc *call = rpc_new("POST");
    CHECK(call != NULL);
    buf_text(&call->path, "/etcdserverpb.Auth/Authenticate");
    pb_authenticate_request_encode(&r, &call->body);
    call->grpc = true;
    call->on_done = logged_in;
    call->writes = true;
    call->deadline_ms = 0; /* tried once: what waits for it is tried again */
    c->logging_in = true;
    if (channel_send(c->home, call)) {
        list_put(&c->flying, call);
        return;
    }
    c->logging_in = false;
    rpc_free(call);
}

/* ---- connections ---- */

void client_channel_gone(struct confman *c, struct channel *k)
{
    if (k->endpoint >= 0 && k->endpoint < c->n_endpoints && k->state != CHANNEL_READY) {
        int n = ++c->endpoints[k->endpoint].failures;
        c->endpoints[k->endpoint].not_before_ms = client_now(c) + backoff(c, n);
    }
    if (c->leader == k) {
        c->leader = NULL;
        c->leader_not_before_ms = client_now(c) + PROBE_MS;
    }
    if (c->home == k)
        c->home = NULL;
}

static void connect_home(struct confman *c)
{
    for (int i = 0; i < c->n_endpoints && !c->home; i++) {
        int at = (c->next_endpoint + i) % c->n_endpoints;
        if (c->endpoints[at].not_before_ms > client_now(c))
            continue;
        c->next_endpoint = (at + 1) % c->n_endpoints;
        c->home = channel_open(c, at, c->endpoints[at].address);
        if (!c->home)
            c->endpoints[at].not_before_ms =
                client_now(c) + backoff(c, ++c->endpoints[at].failures);
    }
}

struct channel *client_home(struct confman *c)
{
    if (!c->home)
        connect_home(c);
    if (!c->home || c->home->state != CHANNEL_READY || c->home->broken)
        return NULL;
    if (c->home->endpoint >= 0)
        c->endpoints[c->home->endpoint].failures = 0;
    if (!c->user.len || c->auth_off || c->token.len)
        return c->home;
    if (!c->logging_in && !c->login_failed && c->login_not_before_ms <= client_now(c))
        log_in(c);
    return NULL;
}

/* Straight to the leader, when it is another and known. */
static struct channel *for_write(struct confman *c)
{
    if (c->stay || c->home->leads || !c->leader_address[0])
        return c->home;
    if (c->leader && strcmp(c->leader->address, c->leader_address) != 0)
        c->leader->broken = true;
    else if (!c->leader && c->leader_not_before_ms <= client_now(c)) {
        c->leader = channel_open(c, -1, c->leader_address);
        if (!c->leader)
            c->leader_not_before_ms = client_now(c) + PROBE_MS;
    }
    return c->leader && c->leader->state == CHANNEL_READY && !c->leader->broken ? c->leader
                                                                             : c->home;
}

static void probed(struct confman *c, struct rpc *call)
{
    struct arena arena;
    struct span address;
    struct tcp_address a;
    bool self, secure;
    arena_open(&arena, &c->alloc);
    if (c->home == call->owner && c->home)
        c->home->probing = false;
    if (c->leader == call->owner && c->leader)
        c->leader->probing = false;
    if (call->error.code == CONFMAN_OK && call->owner == c->home && c->home &&
        decode_leader(buf_all(&call->in), &arena, &address, &self)) {
        const char *text = arena_text(&arena, address);
        c->home->leads = self;
        c->leader_address[0] = 0;
        /* A server that is not trusted as much as ours is not gone to. */
        if (address.len < sizeof(c->leader_address) && tcp_parse(text, &a, &secure) == ERR_OK &&
            a.host[0] && a.port[0] && secure == c->secure)
            snprintf(c->leader_address, sizeof(c->leader_address), "%s", text);
    }
    arena_close(&arena);
    rpc_free(call);
}

/* Who leads; also what a silent server has to answer. */
static void probe(struct confman *c, struct channel *k)
{
    struct rpc *call = rpc_new("GET");
    CHECK(call != NULL);
    buf_text(&call->path, "/v1/cluster");
    call->on_done = probed;
    call->owner = k;
    call->writes = call->repeats = false;
    call->deadline_ms = 0; /* never again */
    k->probing = true;
    k->probed_ms = client_now(c);
    if (channel_send(k, call)) {
        list_put(&c->flying, call);
        return;
    }
    k->probing = false;
    rpc_free(call);
}

static void look_after(struct confman *c, struct channel *k)
{
    int64_t now = client_now(c);
    if (k->state == CHANNEL_READY && !k->broken) {
        int64_t silence = h2_streams(k->h2) ? now - k->heard_ms : 0;
        bool owed = c->flying && silence > SILENCE_MS;
        bool due = k == c->home && (now - k->probed_ms >= PROBE_MS || !c->second_ms);
        if (!k->probing && (owed || due))
            probe(c, k);
        if (k->probing && now - k->probed_ms > DEAD_MS && silence > DEAD_MS) {
            snprintf(c->why, sizeof(c->why), "%s: the server does not answer", k->address);
            k->broken = true;
            if (k->endpoint >= 0)
                c->endpoints[k->endpoint].not_before_ms = now + jitter(c, BACKOFF_MAX_MS);
        }
        h2_second(k->h2);
    } else if (k->state != CHANNEL_READY && now - k->since_ms > CONNECT_MS) {
        snprintf(c->why, sizeof(c->why), "%s: cannot connect in time", k->address);
        k->broken = true;
    }
}

/* ---- the turn ---- */

static void send_waiting(struct confman *c)
{
    struct rpc *list = c->waiting, *call;
    c->waiting = NULL;
    while ((call = list) != NULL) {
        list = call->next;
        call->next = NULL;
        if (call->deadline_ms <= client_now(c)) {
            give_up(c, call);
            continue;
        }
        struct channel *k = call->at_ms <= client_now(c) ? client_home(c) : NULL;
        if (!k && c->login_failed && !c->logging_in) {
            call->error = c->login_error;
            finish(c, call);
            continue;
        }
        if (k && call->writes)
            k = for_write(c);
        if (k && channel_send(k, call))
            list_put(&c->flying, call);
        else
            list_put(&c->waiting, call);
    }
    if (!c->waiting)
        c->login_failed = false; /* the next one may try anew */
}

/* What nobody waits for any longer. */
static void end_late(struct confman *c)
{
    struct rpc *next;
    for (struct rpc *call = c->flying; call; call = next) {
        next = call->next;
        if (call->stream || !call->deadline_ms || call->deadline_ms > client_now(c))
            continue;
        struct confman_error none = { .code = CONFMAN_OK };
        rpc_drop(call);
        call->doubt = true;
        call->error = none;
        if (!c->why[0])
            snprintf(c->why, sizeof(c->why), "the server did not answer");
        give_up(c, call);
        next = c->flying; /* giving up may have changed the list */
    }
}

static void take_incoming(struct confman *c)
{
    monitor_enter(c->monitor);
    struct rpc *list = c->incoming;
    c->incoming = NULL;
    c->incoming_end = &c->incoming;
    struct confman_copy *copies = c->opening;
    c->opening = NULL;
    char *token = c->next_token;
    c->next_token = NULL;
    if (c->closing)
        loop_stop(c->loop);
    monitor_leave(c->monitor);
    if (token) {
        buf_reset(&c->token);
        buf_text(&c->token, token);
        buf_reset(&c->user); /* a token is stronger than a user */
        explicit_bzero(token, strlen(token));
        free(token);
    }
    while (list) {
        struct rpc *next = list->next;
        list->next = NULL;
        rpc_start(c, list);
        list = next;
    }
    while (copies) {
        struct confman_copy *next = copies->next;
        copies->next = c->copies;
        c->copies = copies;
        copies = next;
    }
}

static void tick(void *context)
{
    (void)context; /* only so that there is a turn */
}

static bool turn(void *context)
{
    struct confman *c = context;
    take_incoming(c);
    copy_turn(c);
    send_waiting(c);
    end_late(c);
    bool unknown = c->home && c->home->state == CHANNEL_READY && !c->home->probed_ms;
    if (unknown || client_now(c) - c->second_ms >= LOOK_MS) {
        if (c->home)
            look_after(c, c->home);
        if (c->leader)
            look_after(c, c->leader);
        c->second_ms = client_now(c);
    }
    struct channel *conns[] = { c->home, c->leader };
    for (int i = 0; i < 2; i++) {
        if (conns[i])
            channel_flush(conns[i]);
        if (conns[i] && conns[i]->broken)
            channel_close(conns[i]);
    }
    return false;
}

/* Nothing to do: once a second; something is on its way: often. */
static bool turn_and_tick(void *context)
{
    struct confman *c = context;
    bool more = turn(c);
    int64_t ms = c->waiting ? 10 : c->flying || !copy_all_calm(c) ? 50 : 1000;
    loop_timer_set(c->loop, &c->timer, loop_clock_us() / 1000 + ms);
    return more;
}

void client_start(struct confman *c)
{
    c->timer = (struct loop_timer){ .callback = tick };
    loop_timer_set(c->loop, &c->timer, loop_clock_us() / 1000);
}

static void end_all(void *context)
{
    struct confman *c = context;
    struct rpc *call;
    loop_timer_clear(c->loop, &c->timer);
    take_incoming(c);
    copy_all_end(c);
    while ((call = c->flying) != NULL) {
        rpc_drop(call);
        list_take(&c->flying, call);
        call->doubt = true;
        error_set(&call->error, CONFMAN_UNAVAILABLE, "the client is being closed");
        give_up(c, call);
    }
    while ((call = c->waiting) != NULL) {
        error_set(&call->error, CONFMAN_UNAVAILABLE, "the client is being closed");
        give_up(c, call);
    }
    if (c->leader)
        channel_close(c->leader);
    if (c->home)
        channel_close(c->home);
}

static void serve(void *context)
{
    struct confman *c = context;
    client_start(c);
    loop_run(c->loop, turn_and_tick, c, 0);
    end_all(c);
}

/* A bug ends the client, and leaves what it was at. */
static void run_caught(struct confman *c, void (*run)(void *context), void *context)
{
    struct check_catch bug;
    if (!check_caught(run, context, &bug))
        return;
    monitor_enter(c->monitor);
    c->broken = true;
    snprintf(c->bug, sizeof(c->bug), "%s", bug.what);
    copy_all_broken(c);
    monitor_wake(c->monitor);
    monitor_leave(c->monitor);
}

/* The client's thread. */
void client_run(void *context)
{
    run_caught(context, serve, context);
}

/* ---- without a thread ---- */

struct one_turn {
    struct confman *c;
    int64_t wait_ms;
};

static void do_one(void *context)
{
    struct one_turn *t = context;
    loop_turn(t->c->loop, turn_and_tick, t->c, t->wait_ms);
}

void client_turn(struct confman *c, int64_t wait_ms)
{
    struct one_turn t = { c, wait_ms };
    if (c->broken)
        return;
    c->inside = true;
    run_caught(c, do_one, &t);
    c->inside = false;
}

void client_end(struct confman *c)
{
    if (!c->broken)
        run_caught(c, end_all, c);
}

bool client_wait(struct confman *c, int64_t until_us)
{
    int64_t left_us = until_us - loop_clock_us();
    if (c->thread)
        return monitor_wait(c->monitor, until_us);
    if (left_us <= 0)
        return false;
    monitor_leave(c->monitor);
    client_turn(c, left_us / 1000 + 1);
    monitor_enter(c->monitor);
    return true;
}

bool client_inside(const struct confman *c)
{
    return c->thread ? monitor_is_own(c->thread) : c->inside;
}

int confman_fd(struct confman *c)
{
    return c && !c->thread && !c->broken ? loop_fd(c->loop) : -1;
}

int confman_timeout_ms(struct confman *c)
{
    return c && !c->thread && !c->broken ? loop_wait_ms(c->loop) : -1;
}

enum confman_code confman_step(struct confman *c, struct confman_error *error)
{
    if (!client_enter(c, error))
        return CONFMAN_MISUSE;
    if (c->thread)
        return error_set(error, CONFMAN_MISUSE, "the client has a thread of its own");
    client_turn(c, 0);
    return c->broken ? error_set(error, CONFMAN_BUG, "a bug of libconfman: %.200s", c->bug)
                     : CONFMAN_OK;
}

/* ---- from callers' threads ---- */

bool client_enter(struct confman *c, struct confman_error *error)
{
    if (error)
        *error = (struct confman_error){ .code = CONFMAN_OK };
    if (!c) {
        error_set(error, CONFMAN_MISUSE, "there is no client");
        return false;
    }
    if (c->process != monitor_process()) {
        error_set(error, CONFMAN_MISUSE, "the client is another process's: open one after fork()");
        return false;
    }
    if (client_inside(c)) {
        error_set(error, CONFMAN_MISUSE, "this waits, so it cannot be called in on_change");
        return false;
    }
    return true;
}

bool rpc_wait(struct confman *c, struct rpc *call, struct confman_error *error)
{
    int64_t now_us = loop_clock_us();
    call->deadline_ms = now_us / 1000 + c->timeout_ms;
    int64_t until_us = now_us + (c->timeout_ms + GRACE_MS) * 1000;
    bool in_time = true, writes = call->writes;
    monitor_enter(c->monitor);
    if (!c->broken) {
        *c->incoming_end = call;
        c->incoming_end = &call->next;
        loop_wake(c->loop);
    }
    while (!call->done && !c->broken && in_time)
        in_time = client_wait(c, until_us);
    bool done = call->done, broken = c->broken;
    call->abandoned = !done;
    monitor_leave(c->monitor);
    if (done) {
        if (error)
            *error = call->error;
        return true;
    }
    if (broken)
        error_set(error, CONFMAN_BUG, "a bug of libconfman: %.200s", c->bug);
    else
        error_set(error, writes ? CONFMAN_UNKNOWN : CONFMAN_UNAVAILABLE, "no answer in time");
    return false;
}

enum confman_code work_run(struct work *w, struct confman *c, struct confman_error *error,
                           void (*run)(void *work))
{
    struct check_catch bug;
    w->c = c;
    w->error = error ? error : &w->own;
    if (client_enter(c, w->error) && check_caught(run, w, &bug))
        error_set(w->error, CONFMAN_BUG, "a bug of libconfman, or no memory: %.190s", bug.what);
    return w->error->code;
}
