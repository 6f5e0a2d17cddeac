/* The one stream that all live copies hang on: server-sent events of /v1/subscribe, on which each
 * copy has a subscription for its configs and one for its flags. What is to be said on it (to
 * subscribe, to acknowledge) goes beside it, as a request each, over the same connection. */
#include <stdlib.h>
#include "confman/confman_int.h"

static int64_t id_of(const struct confman_copy *copy, int kind)
{
    return copy->id * OF_KINDS + kind;
}

/* NULL: nobody has that subscription, any more. */
static struct confman_copy *copy_of(struct confman *c, int64_t id)
{
    struct confman_copy *copy = c->copies;
    while (copy && (!copy->watching || copy->id != id / OF_KINDS))
        copy = copy->next;
    return copy && copy->wants[id % OF_KINDS] ? copy : NULL;
}

/* ---- saying ---- */

/* A stream that has ended is noticed by itself. */
static void said(struct confman *c, struct rpc *call)
{
    struct confman_copy *copy = copy_of(c, call->about);
    enum confman_code code = call->error.code;
    if (code == CONFMAN_LOGIN && c->user.len) {
        buf_reset(&c->token);
        c->auth_off = false;
    }
    bool ended = call->http == 404 || call->http == 421 || code == CONFMAN_UNKNOWN ||
                 code == CONFMAN_UNAVAILABLE;
    if (code != CONFMAN_OK && !ended && copy)
        copy_failed(copy, &call->error);
    if (code != CONFMAN_OK)
        c->say_not_before_ms = client_now(c) + 2 * BACKOFF_MS;
    rpc_free(call);
}

/* about: the subscription that there is not if it is refused; or 0. False: not now. */
static bool say(struct confman *c, int64_t about, struct span message)
{
    struct rpc *call = rpc_new("POST");
    CHECK(call != NULL);
    buf_text(&call->path, "/v1/subscribe/");
    buf_span(&call->path, buf_all(&c->stream));
    buf_span(&call->body, message);
    call->about = about;
    call->on_done = said;
    call->deadline_ms = 0; /* once: a copy that is behind with it says it anew */
    if (!c->home || c->home->state != CHANNEL_READY || c->home->broken ||
        !channel_send(c->home, call)) {
        rpc_free(call);
        return false;
    }
    call->next = c->flying;
    c->flying = call;
    return true;
}

static bool say_subscribe(struct confman_copy *copy, int kind)
{
    struct buf b;
    int64_t revision = copy->seen[kind];
    buf_open(&b, &copy->alloc);
    buf_format(&b, "{\"type\":\"subscribe\",\"id\":%lld,\"environment\":",
               (long long)id_of(copy, kind));
    jdoc_write_text(span_text(copy->environment), &b);
    buf_text(&b, kind == OF_FLAGS ? ",\"flags\":" : ",\"prefix\":");
    jdoc_write_text(kind == OF_FLAGS || copy->resolves ? SPAN("") : span_text(copy->prefix), &b);
    buf_format(&b, ",\"revision\":%lld,\"runs\":%lld}", (long long)revision,
               (long long)(copy->runs < revision ? copy->runs : revision));
    bool sent = say(copy->client, id_of(copy, kind), buf_all(&b));
    buf_close(&b);
    return sent;
}

void follow_create(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    if (c->say_not_before_ms > client_now(c))
        return;
    copy->id = c->next_copy++;
    copy->watching = true;
    for (int kind = 0; kind < OF_KINDS; kind++) {
        copy->subscribed[kind] = false;
        if (copy->wants[kind] && copy->watching)
            copy->watching = say_subscribe(copy, kind);
    }
    monitor_enter(c->monitor);
    copy->report_due = copy->failed > 0; /* the rest was said with it */
    monitor_leave(c->monitor);
}

/* Said in the next turn: we may be in the middle of what is told. */
void follow_cancel(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    for (int kind = 0; kind < OF_KINDS && copy->watching && c->stream.len; kind++)
        if (copy->wants[kind])
            VEC_PUSH(&c->leaving, &c->alloc, id_of(copy, kind));
    copy->watching = false;
}

void follow_leave(struct confman *c)
{
    bool sent = true;
    while (c->leaving.n && c->stream.len && sent) {
        struct buf b;
        buf_open(&b, &c->alloc);
        buf_format(&b, "{\"type\":\"unsubscribe\",\"id\":%lld}",
                   (long long)c->leaving.items[c->leaving.n - 1]);
        sent = say(c, 0, buf_all(&b));
        c->leaving.n -= sent;
        buf_close(&b);
    }
}

static bool say_ran(struct confman_copy *copy, int kind, int64_t revision, const char *problem)
{
    struct buf b;
    buf_open(&b, &copy->alloc);
    buf_format(&b, "{\"type\":\"ack\",\"id\":%lld,\"revision\":%lld",
               (long long)id_of(copy, kind),
               (long long)(revision < copy->shown[kind] ? revision : copy->shown[kind]));
    if (problem) {
        buf_text(&b, ",\"error\":");
        jdoc_write_text(span_text(problem), &b);
    }
    buf_text(&b, "}");
    bool sent = say(copy->client, 0, buf_all(&b));
    buf_close(&b);
    return sent;
}

void follow_report(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    char problem[PROBLEM_MAX + 1];
    bool sent = true;
    if (!copy->watching || c->say_not_before_ms > client_now(c))
        return;
    monitor_enter(c->monitor);
    bool due = copy->report_due;
    int64_t failed = copy->failed, revision = failed ? failed : copy->runs;
    memcpy(problem, copy->problem, sizeof(problem));
    copy->report_due = false;
    monitor_leave(c->monitor);
    for (int kind = 0; kind < OF_KINDS && due; kind++)
        if (copy->wants[kind] && sent)
            sent = say_ran(copy, kind, revision, failed ? problem : NULL);
    if (sent)
        return;
    monitor_enter(c->monitor);
    copy->report_due = true;
    monitor_leave(c->monitor);
}

bool follow_level(const struct confman_copy *copy)
{
    bool level = copy->watching;
    for (int kind = 0; kind < OF_KINDS; kind++)
        if (copy->wants[kind])
            level = level && copy->subscribed[kind] && copy->seen[kind] >= copy->client->stream_at;
    return level;
}

/* ---- what is told ---- */

static void reload(struct confman_copy *copy)
{
    follow_cancel(copy);
    copy_ask_end(copy);
    copy->phase = COPY_LOAD;
}

static bool take_changes(struct confman_copy *copy, int kind, const struct told *t,
                         struct arena *arena)
{
    for (uint32_t i = 0; i < t->changes->n; i++) {
        struct told_change x;
        if (!decode_change(&t->changes->items[i], arena, &x) || x.flag != (kind == OF_FLAGS))
            return false;
        /* What refers to it, and what comes of the rules of all levels, is known to the server
         * alone. */
        if (x.flag ? span_is(x.name, "$evaluators") : copy->resolves) {
            reload(copy);
            return true;
        }
        if (x.flag)
            copy_know(copy, x.name, x.gone ? NULL : &x.json);
        else
            copy_gather(copy, &x.item);
    }
    return true;
}

static void denied(struct confman_copy *copy, const struct told *t)
{
    struct confman_error error;
    size_t n = t->detail.len < 200 ? t->detail.len : 200;
    error_set(&error, CONFMAN_DENIED, "%.*s", (int)n, (const char *)t->detail.data);
    copy_failed(copy, &error);
}

static void see(struct confman_copy *copy, int kind, int64_t revision)
{
    if (revision > copy->seen[kind])
        copy->seen[kind] = revision;
}

static bool take_of_copy(struct confman_copy *copy, int kind, const struct told *t,
                         struct arena *arena)
{
    bool sane = true;
    switch (t->kind) {
    case TOLD_SUBSCRIBED:
        copy->subscribed[kind] = true;
        return true;
    case TOLD_CHANGES:
        sane = take_changes(copy, kind, t, arena);
        see(copy, kind, t->revision);
        return sane;
    case TOLD_PROGRESS:
        see(copy, kind, t->revision);
        return true;
    case TOLD_COMPACTED:
    case TOLD_ENVIRONMENT:
        reload(copy);
        return true;
    case TOLD_DENIED:
        denied(copy, t);
        return true;
    case TOLD_WELCOME:
    case TOLD_GOODBYE:
    case TOLD_OTHER:
    case TOLD_KINDS:
        return true;
    }
    return false;
}

static void welcomed(struct confman *c, const struct told *t)
{
    buf_reset(&c->stream);
    buf_span(&c->stream, t->stream);
    c->stream_at = t->revision;
}

static bool take_line(struct confman *c, struct span line, struct arena *arena)
{
    struct told t;
    if (!span_starts(line, SPAN("data: ")))
        return true; /* its name stands in it, too */
    if (!decode_told(span_from(line, sizeof("data: ") - 1), arena, &t))
        return false;
    if (t.kind == TOLD_WELCOME || t.kind == TOLD_GOODBYE)
        c->reconnect_ms = t.reconnect_ms < RECONNECT_MAX_MS ? t.reconnect_ms : RECONNECT_MAX_MS;
    if (t.kind == TOLD_WELCOME)
        welcomed(c, &t);
    if (t.kind == TOLD_GOODBYE && c->home && c->home->endpoint >= 0) /* it will be another one */
        c->endpoints[c->home->endpoint].not_before_ms = client_now(c) + c->reconnect_ms;
    if (t.kind == TOLD_PROGRESS && !t.has_id)
        for (struct confman_copy *copy = c->copies; copy; copy = copy->next)
            for (int kind = 0; kind < OF_KINDS && copy->watching; kind++)
                see(copy, kind, t.revision);
    struct confman_copy *copy = t.has_id ? copy_of(c, t.id) : NULL;
    return !copy || take_of_copy(copy, (int)(t.id % OF_KINDS), &t, arena);
}

/* What is too much for one message is read by pages. */
static void skip(struct confman *c)
{
    for (struct confman_copy *copy = c->copies; copy; copy = copy->next)
        if (copy->watching)
            reload(copy);
}

static void on_data(struct confman *c, struct rpc *call)
{
    struct arena arena;
    size_t from = 0;
    bool sane = true;
    if (call->http != 200)
        return; /* why stands in it, whole at the end */
    arena_open(&arena, &c->alloc);
    while (sane) {
        const uint8_t *start = call->in.data + c->looked_at;
        const uint8_t *end = memchr(start, '\n', call->in.len - c->looked_at);
        if (!end)
            break;
        struct span line = span_of(call->in.data + from, (size_t)(end - call->in.data) - from);
        from = c->looked_at = (size_t)(end - call->in.data) + 1;
        arena_reset(&arena);
        if (line.len > JDOC_BYTES_MAX)
            skip(c);
        else
            sane = take_line(c, line, &arena);
    }
    arena_close(&arena);
    buf_consume(&call->in, from);
    c->looked_at = call->in.len;
    if (!sane && call->h2) {
        error_set(&call->error, CONFMAN_PROTOCOL, "the stream of changes makes no sense");
        h2_reset(call->h2, H2_CANCEL);
    }
}

/* What is no matter of this server alone, or of now, is told to those who wait. */
static bool tells(enum confman_code code)
{
    return code == CONFMAN_LOGIN || code == CONFMAN_DENIED || code == CONFMAN_INVALID ||
           code == CONFMAN_NOT_FOUND || code == CONFMAN_PROTOCOL;
}

static void ended(struct confman *c, struct rpc *call)
{
    int64_t wait_ms = c->reconnect_ms > 2 * BACKOFF_MS ? c->reconnect_ms : 2 * BACKOFF_MS;
    enum confman_code code = call->error.code;
    if (code == CONFMAN_LOGIN && c->user.len) {
        buf_reset(&c->token);
        c->auth_off = false;
    }
    buf_reset(&c->stream); /* nothing can be said on it any more */
    c->leaving.n = 0;
    for (struct confman_copy *copy = c->copies; copy; copy = copy->next) {
        copy->watching = false;
        if (tells(code))
            copy_failed(copy, &call->error);
    }
    if (call->retry_after_ms > wait_ms)
        wait_ms = call->retry_after_ms;
    c->watch = NULL;
    c->watch_not_before_ms = client_now(c) + wait_ms;
    rpc_free(call);
}

void follow_begin(struct confman *c)
{
    struct rpc *call = rpc_new("GET");
    CHECK(call != NULL);
    buf_text(&call->path, "/v1/subscribe?client=");
    path_escape(&call->path, c->name);
    buf_text(&call->path, "&instance=");
    path_escape(&call->path, c->instance);
    call->stream = true;
    call->on_data = on_data;
    call->on_done = ended;
    c->watch = call;
    c->looked_at = 0;
    c->reconnect_ms = 0;
    if (!channel_send(c->home, call))
        ended(c, call);
}
