/* Flags: definitions as keys, evaluation, and OFREP (OpenFeature's remote evaluation, 0.3). */
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "base/hash.h"
#include "core/flagset/flagset.h"
#include "wire/protobuf/protobuf.h"

enum flag_ask { FLAG_LIST, FLAG_GET, FLAG_PUT, FLAG_DELETE, FLAG_EVALUATE, FLAG_EXPLAIN, OFREP_ONE,
                OFREP_ALL, OFREP_EVENTS };

enum {
    FLAG_NAME_MAX = 100,
    FLAG_ENVIRONMENT_MAX = 50,
    FLAG_LIST_MAX = 1000,       /* definitions of a page */
    FLAG_ANSWER_MAX = 16 << 20, /* bytes of all flags of an environment, evaluated */
};

struct flag_call {
    enum flag_ask ask;
    struct span environment, name, if_version, tag, after;
    bool create_only, own; /* own: without what is inherited */
    struct fval context;
    struct span levels[REST_DEPTH_MAX]; /* environments looked through, own one first */
    size_t n_levels;
};

#define FLAGS "/v1/flags"
#define OFREP "/ofrep/v1"
#define OFREP_FLAGS OFREP "/evaluate/flags"
#define OFREP_STREAM OFREP "/events"

/* ---- what is asked ---- */

struct asking {
    const struct http_request *http;
    struct arena *arena;
    struct rest_call *call;
    struct flag_call *flag;
    const char **detail;
};

static enum err refuse(struct asking *a, enum err e, const char *detail)
{
    *a->detail = detail;
    return e;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    bool ofrep = a->flag->ask >= OFREP_ONE;
    if (span_is(name, "environment"))
        a->flag->environment = value;
    else if (span_is(name, "after") && a->flag->ask == FLAG_LIST)
        a->flag->after = value;
    else if (span_is(name, "own") && (a->flag->ask == FLAG_LIST || a->flag->ask == FLAG_GET))
        a->flag->own = span_is(value, "true");
    else if (span_is(name, "force") && a->flag->ask == FLAG_DELETE)
        a->call->leave.forced = span_is(value, "true");
    else if (!ofrep) /* OFREP: what a later version adds is passed over */
        return refuse(a, ERR_BAD_REQUEST,
                      "unknown query parameter; known are environment, own to read, after for "
                      "lists, and force to delete");
    return ERR_OK;
}

static bool is_name(struct span s, size_t max)
{
    if (!s.len || s.len > max)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= 0x20 || s.data[i] == 0x7f || s.data[i] == '/')
            return false;
    return pb_utf8(s);
}

static enum err read_environment(struct asking *a)
{
    struct flag_call *f = a->flag;
    struct span header;
    f->environment = SPAN("default");
    if (http_header_find(a->http, "x-confman-environment", &header))
        f->environment = arena_copy(a->arena, header);
    *a->detail = "a percent escape in the query is not valid";
    enum err e = http_query_each(a->http->query, a->arena, take_pair, a);
    if (e == ERR_OK && !is_name(f->environment, FLAG_ENVIRONMENT_MAX))
        e = refuse(a, ERR_BAD_REQUEST, "an environment's name has 1 to 50 bytes, none of them a "
                                       "blank or slash");
    return e;
}

static enum err read_context(struct asking *a)
{
    struct fval *body = ARENA_NEW(a->arena, struct fval);
    char *why = arena_alloc(a->arena, FLAG_WHY_MAX);
    a->flag->context = (struct fval){ .type = FVAL_OBJECT };
    if (!a->http->body.len)
        return ERR_OK;
    struct span text = arena_copy(a->arena, a->http->body);
    enum err e = fval_read(text, a->arena, body, why);
    if (e != ERR_OK)
        return refuse(a, e, e == ERR_BODY_NOT_JSON ? why : NULL);
    const struct fval *context = fval_find(body, SPAN("context"));
    if (body->type != FVAL_OBJECT || (context && context->type != FVAL_OBJECT &&
                                      context->type != FVAL_NULL))
        return refuse(a, ERR_BAD_REQUEST, "/context: must be an object");
    if (context && context->type == FVAL_OBJECT)
        a->flag->context = *context;
    return ERR_OK;
}

static size_t add_compare(struct kv_compare *out, size_t n, struct span key, int32_t result,
                          int64_t version)
{
    out[n] = (struct kv_compare){
        .key = key, .target = KV_IF_VERSION, .result = result, .number = version
    };
    return n + 1;
}

/* If <conditions> Then <write, get> Else get. */
static enum err write_txn(struct asking *a, struct kv_op write, struct span key)
{
    struct kv_compare *compares = ARENA_ARRAY(a->arena, struct kv_compare, 3);
    struct kv_op *success = ARENA_ARRAY(a->arena, struct kv_op, 2);
    struct kv_op *failure = ARENA_NEW(a->arena, struct kv_op);
    struct span match;
    size_t n = 0;
    int64_t version;
    if (http_header_find(a->http, "if-match", &match)) {
        bool quoted = match.len >= 2 && match.data[0] == '"';
        struct span number = quoted ? span_of(match.data + 1, match.len - 2) : match;
        if (span_is(match, "*"))
            n = add_compare(compares, n, key, KV_IF_GREATER, 0);
        else if (number_read(number, &version))
            n = add_compare(compares, n, key, KV_IF_EQUAL, version);
        else
            return refuse(a, ERR_BAD_REQUEST, "if-match takes one version, as \"3\", or *");
    }
    if (http_header_find(a->http, "if-none-match", &match)) {
        if (!span_is(match, "*") || write.type == KV_OP_DELETE)
            return refuse(a, ERR_BAD_REQUEST, "if-none-match takes only *, of a PUT");
        n = add_compare(compares, n, key, KV_IF_EQUAL, 0);
    }
    a->flag->create_only = n > 0;
    if (!n && write.type == KV_OP_DELETE)
        n = add_compare(compares, n, key, KV_IF_GREATER, 0);
    success[0] = write;
    success[1] = (struct kv_op){ .type = KV_OP_RANGE, .range = { .key = key } };
    *failure = success[1];
    a->call->request.type = REQUEST_TXN;
    a->call->request.txn = (struct kv_txn){ compares, success, failure, n, 2, 1 };
    return ERR_OK;
}

/* Checked here, so that nothing is kept that cannot be evaluated; what shared rules a $ref means
 * shows when it is. */
static enum err put(struct asking *a, struct span key)
{
    const struct flag *flag;
    char *why = arena_alloc(a->arena, FLAG_WHY_MAX);
    enum err e = flag_compile(a->flag->name, a->http->body, NULL, a->arena, &flag, why);
    if (e != ERR_OK)
        return refuse(a, e, e == ERR_BODY_TOO_LARGE ? NULL : why);
    struct kv_op write = { .type = KV_OP_PUT,
                           .put = { .key = key, .value = a->http->body, .type = KV_JSON } };
    return write_txn(a, write, key);
}

static enum err events(struct asking *a)
{
    struct watch_request *w = &a->call->request.watch;
    struct span seen;
    int64_t revision = -1;
    if (http_header_find(a->http, "last-event-id", &seen) && !number_read(seen, &revision))
        return refuse(a, ERR_BAD_REQUEST, "last-event-id must be a revision");
    a->call->kind = REST_WATCH;
    a->call->form = REST_REFETCH;
    a->call->request.type = REQUEST_WATCH_ADD;
    *w = (struct watch_request){ .progress = true, .start_revision = revision + 1 };
    return ERR_OK;
}

static enum err ask(struct asking *a)
{
    struct flag_call *f = a->flag;
    struct span key = flagset_key(a->arena, f->environment, f->name), tag;
    enum err e = ERR_OK;
    switch (f->ask) {
    case FLAG_PUT:
        return put(a, key);
    case FLAG_DELETE:
        return write_txn(a, (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = key } }, key);
    case OFREP_EVENTS:
        return events(a);
    case OFREP_ALL:
        if (http_header_find(a->http, "if-none-match", &tag))
            f->tag = arena_copy(a->arena, tag);
        e = read_context(a);
        break;
    case FLAG_EVALUATE:
    case FLAG_EXPLAIN:
    case OFREP_ONE:
        e = read_context(a);
        break;
    case FLAG_LIST:
    case FLAG_GET:
        break;
    }
    a->call->request.type = REQUEST_RANGE;
    a->call->request.serializable = true; /* flags are read where the caller is */
    return e;
}

/* ---- where it is looked for, and so what has to be permitted ---- */

static struct kv_range level_range(const struct flag_call *f, size_t level, struct arena *arena)
{
    struct span key = flagset_key(arena, f->levels[level], SPAN_NONE);
    struct kv_range r = { .key = key, .range_end = kv_prefix_end(key, arena) };
    r.count_only = f->ask == OFREP_ALL; /* whether they may be read; the rest is kept */
    r.limit = r.count_only ? 0 : FLAG_LIST_MAX + 1;
    if (!f->after.len)
        return r;
    struct span last = flagset_key(arena, f->levels[level], f->after);
    uint8_t *next = arena_alloc(arena, last.len + 1);
    memcpy(next, last.data, last.len);
    next[last.len] = 0; /* the first key behind it */
    r.key = span_of(next, last.len + 1);
    return r;
}

static void plan_all(struct rest_call *c, struct arena *arena)
{
    const struct flag_call *f = c->flag;
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, f->n_levels);
    for (size_t i = 0; i < f->n_levels; i++)
        ops[i] = (struct kv_op){ .type = KV_OP_RANGE, .range = level_range(f, i, arena) };
    c->request.type = f->n_levels > 1 ? REQUEST_TXN : REQUEST_RANGE;
    if (f->n_levels > 1)
        c->request.txn = (struct kv_txn){ .success = ops, .n_success = f->n_levels };
    else
        c->request.range = ops[0].range;
}

/* Where the nearest has it; the own key when none does. */
static void plan_one(struct rest_call *c, const struct kv *kv, struct arena *arena)
{
    const struct flag_call *f = c->flag;
    size_t i = 0;
    while (i < f->n_levels && !kv_get(kv, flagset_key(arena, f->levels[i], f->name), 0))
        i++;
    i = i < f->n_levels ? i : 0;
    c->request.range = (struct kv_range){ .key = flagset_key(arena, f->levels[i], f->name) };
}

/* The flags of each level, and what they share; the own flags must be permitted. */
static void plan_events(struct rest_call *c, struct arena *arena)
{
    const struct flag_call *f = c->flag;
    c->also = ARENA_ARRAY(arena, struct request, 2 * f->n_levels);
    for (size_t i = 0; i < f->n_levels; i++) {
        struct span key = flagset_key(arena, f->levels[i], SPAN_NONE);
        struct request *r = i ? &c->also[c->n_also++] : &c->request;
        *r = c->request;
        r->watch.key = key;
        r->watch.range_end = kv_prefix_end(key, arena);
        c->also[c->n_also] = c->request;
        c->also[c->n_also].watch.key = flagset_shared_key(arena, f->levels[i]);
        c->also[c->n_also++].watch.range_end = SPAN_NONE;
    }
    memcpy(c->chain, f->levels, f->n_levels * sizeof(*c->chain));
    c->levels = f->n_levels;
}

void flag_plan(struct rest_call *c, const struct kv *kv, struct arena *arena)
{
    struct flag_call *f = c->flag;
    if (f->ask == FLAG_PUT || f->ask == FLAG_DELETE)
        return;
    f->levels[0] = f->environment;
    f->n_levels = f->own ? 1 : environment_chain(kv, f->environment, 0, arena, f->levels);
    c->n_also = 0;
    if (f->ask == FLAG_LIST || f->ask == OFREP_ALL)
        plan_all(c, arena);
    else if (f->ask == OFREP_EVENTS)
        plan_events(c, arena);
    else
        plan_one(c, kv, arena);
}

bool flag_takes(struct span path)
{
    return span_is(path, FLAGS) || span_starts(path, SPAN(FLAGS "/")) ||
           span_starts(path, SPAN(OFREP "/"));
}

static bool ends(struct span *s, const char *with)
{
    size_t n = strlen(with);
    if (s->len <= n || memcmp(s->data + s->len - n, with, n) != 0)
        return false;
    s->len -= n;
    return true;
}

/* The route, the methods it takes being in route.def; -1: none. */
static int route_of(const struct http_request *http, struct flag_call *f, struct span *name)
{
    struct span path = http->path;
    *name = SPAN_NONE;
    if (span_is(path, FLAGS)) {
        f->ask = FLAG_LIST;
        return ROUTE_FLAGS;
    }
    if (span_is(path, OFREP_FLAGS) || span_is(path, OFREP_STREAM)) {
        f->ask = span_is(path, OFREP_FLAGS) ? OFREP_ALL : OFREP_EVENTS;
        return f->ask == OFREP_ALL ? ROUTE_OFREP_ALL : ROUTE_OFREP_EVENTS;
    }
    if (span_starts(path, SPAN(OFREP_FLAGS "/"))) {
        *name = span_from(path, sizeof(OFREP_FLAGS "/") - 1);
        f->ask = OFREP_ONE;
        return ROUTE_OFREP_ONE;
    }
    if (!span_starts(path, SPAN(FLAGS "/")))
        return -1;
    *name = span_from(path, sizeof(FLAGS "/") - 1);
    if (ends(name, ":evaluate")) {
        f->ask = FLAG_EVALUATE;
        return ROUTE_FLAG_EVALUATE;
    }
    if (ends(name, ":explain")) {
        f->ask = FLAG_EXPLAIN;
        return ROUTE_FLAG_EXPLAIN;
    }
    f->ask = span_is(http->method, "PUT")      ? FLAG_PUT
             : span_is(http->method, "DELETE") ? FLAG_DELETE
                                               : FLAG_GET;
    return ROUTE_FLAG;
}

int flag_route(const struct http_request *http, struct arena *arena, struct rest_call *out)
{
    out->flag = ARENA_NEW(arena, struct flag_call);
    return route_of(http, out->flag, &out->key);
}

enum err flag_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                   const char **detail)
{
    struct asking a = { http, arena, out, out->flag, detail };
    struct flag_call *f = out->flag;
    bool named = f->ask != FLAG_LIST && f->ask != OFREP_ALL && f->ask != OFREP_EVENTS;
    enum err e = read_environment(&a);
    if (e != ERR_OK || !named)
        return e == ERR_OK ? ask(&a) : e;
    e = http_decode(out->key, false, arena, &f->name);
    if (e != ERR_OK)
        return refuse(&a, e, "a percent escape in the path is not valid");
    if (!is_name(f->name, FLAG_NAME_MAX))
        return refuse(&a, ERR_BAD_REQUEST,
                      "a flag's name has 1 to 100 bytes, none of them a blank or slash");
    return ask(&a);
}

/* ---- answers ---- */

struct answering {
    const struct rest_call *call;
    const struct flag_call *flag;
    const struct kv *kv;
    struct arena *arena;
    struct flagset *set;
    struct flag_context context;
};

static void open_answering(struct answering *a)
{
    CHECK(a->call->flags);
    a->set = flagsets_get(a->call->flags, a->kv, a->flag->environment);
    a->context.values = &a->flag->context;
    a->context.now_ms = a->call->now_ms;
}

/* OFREP's members; the native answers have the same ones and more. */
static void result_write(struct jsonw *w, struct span name, const struct flag_result *r)
{
    jsonw_name(w, "key");
    jsonw_text(w, name);
    if (r->reason == FLAG_FAILED) {
        jsonw_name(w, "errorCode");
        jsonw_text(w, span_text(flag_error_text(r->error)));
        jsonw_name(w, "errorDetails");
        jsonw_text(w, span_text(r->detail));
        return;
    }
    jsonw_name(w, "reason");
    jsonw_text(w, span_text(flag_reason_text(r->reason)));
    if (r->value.len) {
        jsonw_name(w, "value");
        jsonw_raw(w, r->value);
        jsonw_name(w, "variant");
        jsonw_text(w, r->variant);
    }
    if (r->metadata.len) {
        jsonw_name(w, "metadata");
        jsonw_raw(w, r->metadata);
    }
}

static void open_body(struct buf *b, struct jsonw *w, struct arena *arena)
{
    buf_open(b, arena->alloc);
    jsonw_open(w, b);
    jsonw_object(w);
}

static void ofrep_missing(struct answering *a, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    open_body(&b, &w, a->arena);
    jsonw_name(&w, "key");
    jsonw_text(&w, a->flag->name);
    jsonw_name(&w, "errorCode");
    jsonw_text(&w, SPAN("FLAG_NOT_FOUND"));
    jsonw_name(&w, "errorDetails");
    jsonw_text(&w, span_text(err_text(ERR_FLAG_NOT_FOUND)));
    jsonw_object_end(&w);
    body_of(out, 404, "application/json", &b, a->arena);
}

static void trace_write(struct jsonw *w, struct span lines)
{
    jsonw_name(w, "trace");
    jsonw_array(w);
    while (lines.len) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        CHECK(end);
        struct span line = span_of(lines.data, (size_t)(end - lines.data));
        jsonw_text(w, line);
        lines = span_from(lines, line.len + 1);
    }
    jsonw_array_end(w);
}

/* The environment that it is inherited from; none: it is the own one's. */
static struct span from_of(const struct answering *a, const struct kv_version *v)
{
    struct span environment = SPAN_NONE, name;
    bool flag = flagset_key_split(kv_key(v), &environment, &name);
    return flag && !span_equal(environment, a->flag->environment) ? environment : SPAN_NONE;
}

static void from_write(struct jsonw *w, struct span from)
{
    if (!from.len)
        return;
    jsonw_name(w, "from");
    jsonw_text(w, from);
}

static void one_answer(struct answering *a, const struct kv_range_result *r,
                       struct rest_answer *out)
{
    struct flag_result result;
    struct buf b, trace;
    struct jsonw w;
    bool ofrep = a->flag->ask == OFREP_ONE;
    buf_open(&trace, a->arena->alloc);
    if (a->flag->ask == FLAG_EXPLAIN)
        a->context.explain = &trace;
    open_answering(a);
    if (!r->n || !flagset_evaluate_named(a->set, a->flag->name, &a->context, &result)) {
        if (ofrep)
            ofrep_missing(a, out);
        else
            rest_problem(ERR_FLAG_NOT_FOUND, NULL, a->arena, out);
        buf_close(&trace);
        return;
    }
    open_body(&b, &w, a->arena);
    result_write(&w, a->flag->name, &result);
    if (!ofrep) {
        from_write(&w, from_of(a, r->items[0]));
        jsonw_name(&w, "revision");
        jsonw_number(&w, r->items[0]->mod_revision);
    }
    if (a->context.explain)
        trace_write(&w, buf_all(&trace));
    jsonw_object_end(&w);
    buf_close(&trace);
    bool failed = result.reason == FLAG_FAILED && ofrep;
    body_of(out, failed ? 400 : 200, "application/json", &b, a->arena);
}

static void stream_write(struct answering *a, struct jsonw *w)
{
    struct buf b;
    buf_open(&b, a->arena->alloc);
    buf_text(&b, OFREP_STREAM "?environment=");
    buf_span(&b, a->flag->environment);
    jsonw_name(w, "eventStreams");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_name(w, "type");
    jsonw_text(w, SPAN("sse"));
    jsonw_name(w, "endpoint");
    jsonw_object(w);
    jsonw_name(w, "requestUri");
    jsonw_text(w, buf_all(&b));
    jsonw_object_end(w);
    jsonw_object_end(w);
    jsonw_array_end(w);
    buf_close(&b);
}

/* The tag is of what was answered, so times and other flags that took part count too. */
static void all_answer(struct answering *a, struct rest_answer *out)
{
    struct buf b, tag;
    struct jsonw w;
    int64_t steps = FLAG_ALL_STEPS_MAX;
    open_answering(a);
    a->context.steps = &steps;
    open_body(&b, &w, a->arena);
    jsonw_name(&w, "flags");
    jsonw_array(&w);
    for (size_t i = 0; i < flagset_count(a->set) && b.len <= FLAG_ANSWER_MAX; i++) {
        struct flag_result result;
        flagset_evaluate(a->set, i, &a->context, &result);
        jsonw_object(&w);
        result_write(&w, flagset_name(a->set, i), &result);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    stream_write(a, &w);
    jsonw_object_end(&w);
    if (flagset_over(a->set) || b.len > FLAG_ANSWER_MAX) {
        buf_close(&b);
        rest_problem(ERR_ANSWER_TOO_LARGE, NULL, a->arena, out);
        return;
    }
    buf_open(&tag, a->arena->alloc);
    buf_format(&tag, "\"%016llx\"", (unsigned long long)hash_bytes(buf_all(&b), 0));
    struct span etag = arena_copy(a->arena, buf_all(&tag));
    buf_close(&tag);
    if (span_equal(etag, a->flag->tag)) {
        buf_close(&b);
        *out = (struct rest_answer){ .status = 304 };
    } else {
        body_of(out, 200, "application/json", &b, a->arena);
    }
    add_header(out, "etag", etag);
}

void flag_definition_write(struct jsonw *w, const struct kv_version *v)
{
    char why[FLAG_WHY_MAX];
    struct arena arena;
    struct fval any;
    jsonw_name(w, "version");
    jsonw_number(w, v->version);
    jsonw_name(w, "revision");
    jsonw_number(w, v->mod_revision);
    jsonw_name(w, "definition");
    arena_open(&arena, w->out->alloc);
    bool json = fval_read(kv_value(v), &arena, &any, why) == ERR_OK;
    arena_close(&arena);
    if (json)
        jsonw_raw(w, kv_value(v));
    else
        jsonw_raw(w, SPAN("null")); /* written by another door; evaluating it says PARSE_ERROR */
}

/* Behind the slash after its environment. */
static struct span name_of(const struct kv_version *v)
{
    struct span rest = span_from(kv_key(v), sizeof(FLAGSET_FLAGS) - 1);
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    return slash ? span_from(rest, (size_t)(slash - rest.data) + 1) : SPAN_NONE;
}

static void definition_write(const struct answering *a, struct jsonw *w,
                             const struct kv_version *v)
{
    jsonw_name(w, "name");
    jsonw_text(w, name_of(v));
    from_write(w, from_of(a, v));
    flag_definition_write(w, v);
}

static void item(struct answering *a, const struct kv_version *v, int status,
                 struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    open_body(&b, &w, a->arena);
    definition_write(a, &w, v);
    jsonw_object_end(&w);
    body_of(out, status, "application/json", &b, a->arena);
    add_header(out, "etag", version_tag(v->version, from_of(a, v), a->arena));
}

static void written(struct answering *a, const struct kv_txn_result *t, int64_t revision,
                    struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    if (!t->succeeded) {
        enum err e = a->flag->create_only ? ERR_PRECONDITION : ERR_FLAG_NOT_FOUND;
        int64_t version = t->ops[0].range.n ? t->ops[0].range.items[0]->version : 0;
        problem(e, NULL, a->flag->create_only ? &version : NULL, a->arena, out);
        return;
    }
    if (a->flag->ask == FLAG_PUT) {
        CHECK(t->n_ops == 2 && t->ops[1].range.n == 1);
        const struct kv_version *v = t->ops[1].range.items[0];
        item(a, v, v->version == 1 ? 201 : 200, out);
        return;
    }
    open_body(&b, &w, a->arena);
    jsonw_name(&w, "name");
    jsonw_text(&w, a->flag->name);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    jsonw_name(&w, "deleted");
    jsonw_bool(&w, true);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, a->arena);
}

/* The next name of all levels, from the nearest that has it; NULL: there is none. */
static const struct kv_version *next_flag(const struct kv_range_result **levels, size_t *at,
                                          size_t n)
{
    const struct kv_version *out = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct kv_version *v = at[i] < levels[i]->n ? levels[i]->items[at[i]] : NULL;
        if (v && (!out || span_compare(name_of(v), name_of(out)) < 0))
            out = v;
    }
    for (size_t i = 0; i < n && out; i++)
        at[i] += at[i] < levels[i]->n &&
                 span_equal(name_of(levels[i]->items[at[i]]), name_of(out));
    return out;
}

static void list(struct answering *a, const struct reply *reply, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    const struct kv_range_result *levels[REST_DEPTH_MAX] = { &reply->range };
    size_t at[REST_DEPTH_MAX] = { 0 }, n = 1, told = 0;
    const struct kv_version *v, *last = NULL;
    if (reply->type == REQUEST_TXN)
        for (n = 0; n < reply->txn.n_ops; n++)
            levels[n] = &reply->txn.ops[n].range;
    open_body(&b, &w, a->arena);
    jsonw_name(&w, "flags");
    jsonw_array(&w);
    while ((v = next_flag(levels, at, n)) != NULL && told++ < FLAG_LIST_MAX) {
        jsonw_object(&w);
        definition_write(a, &w, v);
        jsonw_object_end(&w);
        last = v;
    }
    jsonw_array_end(&w);
    jsonw_name(&w, "revision");
    jsonw_number(&w, reply->revision);
    if (v) {
        jsonw_name(&w, "next");
        jsonw_text(&w, name_of(last));
    }
    if (!a->flag->own && !a->flag->after.len) {
        open_answering(a);
        jsonw_name(&w, "$evaluators");
        fval_write(flagset_shared(a->set), &b);
    }
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, a->arena);
}

void flag_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out)
{
    struct answering a = { .call = call, .flag = call->flag, .kv = kv, .arena = arena };
    if (a.flag->ask == FLAG_PUT || a.flag->ask == FLAG_DELETE)
        written(&a, &reply->txn, reply->revision, out);
    else if (a.flag->ask == FLAG_LIST)
        list(&a, reply, out);
    else if (a.flag->ask == OFREP_ALL)
        all_answer(&a, out);
    else if (a.flag->ask != FLAG_GET)
        one_answer(&a, &reply->range, out);
    else if (reply->range.n)
        item(&a, reply->range.items[0], 200, out);
    else
        rest_problem(ERR_FLAG_NOT_FOUND, NULL, arena, out);
}

/* ---- OFREP's stream: what came asks to evaluate anew (OpenFeature protocol, ADR 0008) ---- */

struct span flag_refetch(int64_t revision, struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "id: %lld\nevent: message\ndata: {\"type\":\"refetchEvaluation\"}\n\n",
               (long long)revision);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}
