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
    struct span environment, name, if_version, tag;
    bool create_only;
    struct fval context;
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
    struct span after;
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
        a->after = value;
    else if (span_is(name, "force") && a->flag->ask == FLAG_DELETE)
        a->call->leave.forced = span_is(value, "true");
    else if (!ofrep) /* OFREP: what a later version adds is passed over */
        return refuse(a, ERR_BAD_REQUEST,
                      "unknown query parameter; known are environment, after for lists, and "
                      "force to delete");
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

static void range(struct asking *a, struct span key, bool prefix)
{
    struct kv_range *r = &a->call->request.range;
    a->call->request.type = REQUEST_RANGE;
    a->call->request.serializable = true; /* flags are read where the caller is */
    *r = (struct kv_range){ .key = key, .limit = prefix ? FLAG_LIST_MAX : 0 };
    r->count_only = a->flag->ask == OFREP_ALL; /* whether they may be read; the rest is kept */
    if (!prefix)
        return;
    r->range_end = kv_prefix_end(key, a->arena);
    if (!a->after.len)
        return;
    struct span last = flagset_key(a->arena, a->flag->environment, a->after);
    uint8_t *next = arena_alloc(a->arena, last.len + 1);
    memcpy(next, last.data, last.len);
    next[last.len] = 0; /* the first key behind it */
    r->key = span_of(next, last.len + 1);
}

static enum err events(struct asking *a, struct span key)
{
    struct span seen;
    int64_t revision = -1;
    if (http_header_find(a->http, "last-event-id", &seen) && !number_read(seen, &revision))
        return refuse(a, ERR_BAD_REQUEST, "last-event-id must be a revision");
    a->call->kind = REST_WATCH;
    a->call->form = REST_REFETCH;
    a->call->request.type = REQUEST_WATCH_ADD;
    a->call->request.watch = (struct watch_request){ .key = key,
                                                     .range_end = kv_prefix_end(key, a->arena),
                                                     .progress = true,
                                                     .start_revision = revision + 1 };
    struct request *shared = ARENA_NEW(a->arena, struct request);
    *shared = a->call->request;
    shared->watch.key = flagset_shared_key(a->arena, a->flag->environment);
    shared->watch.range_end = SPAN_NONE;
    a->call->also = shared;
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
        return events(a, key);
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
    range(a, key, f->ask == OFREP_ALL || f->ask == FLAG_LIST);
    return e;
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
    struct asking a = { http, arena, out, out->flag, detail, SPAN_NONE };
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
    a->context = (struct flag_context){ .values = &a->flag->context, .now_ms = a->call->now_ms };
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

static void one_answer(struct answering *a, const struct kv_range_result *r,
                       struct rest_answer *out)
{
    struct flag_result result;
    struct buf b, trace;
    struct jsonw w;
    bool ofrep = a->flag->ask == OFREP_ONE;
    if (!r->n) {
        if (ofrep)
            ofrep_missing(a, out);
        else
            rest_problem(ERR_FLAG_NOT_FOUND, NULL, a->arena, out);
        return;
    }
    open_answering(a);
    buf_open(&trace, a->arena->alloc);
    if (a->flag->ask == FLAG_EXPLAIN)
        a->context.explain = &trace;
    bool there = flagset_evaluate_named(a->set, a->flag->name, &a->context, &result);
    CHECK(there); /* it was just read */
    open_body(&b, &w, a->arena);
    result_write(&w, a->flag->name, &result);
    if (!ofrep) {
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

static void definition_write(struct jsonw *w, const struct kv_version *v, size_t root)
{
    jsonw_name(w, "name");
    jsonw_text(w, span_from(kv_key(v), root));
    flag_definition_write(w, v);
}

static void item(struct answering *a, const struct kv_version *v, int status,
                 struct rest_answer *out)
{
    struct buf b, tag;
    struct jsonw w;
    open_body(&b, &w, a->arena);
    definition_write(&w, v, flagset_key(a->arena, a->flag->environment, SPAN_NONE).len);
    jsonw_object_end(&w);
    body_of(out, status, "application/json", &b, a->arena);
    buf_open(&tag, a->arena->alloc);
    buf_format(&tag, "\"%lld\"", (long long)v->version);
    add_header(out, "etag", arena_copy(a->arena, buf_all(&tag)));
    buf_close(&tag);
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

static void list(struct answering *a, const struct kv_range_result *r, int64_t revision,
                 struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    size_t root = flagset_key(a->arena, a->flag->environment, SPAN_NONE).len;
    open_body(&b, &w, a->arena);
    jsonw_name(&w, "flags");
    jsonw_array(&w);
    for (size_t i = 0; i < r->n; i++) {
        jsonw_object(&w);
        definition_write(&w, r->items[i], root);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    if (r->more) {
        jsonw_name(&w, "next");
        jsonw_text(&w, span_from(kv_key(r->items[r->n - 1]), root));
    }
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, a->arena);
}

void flag_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out)
{
    struct answering a = { .call = call, .flag = call->flag, .kv = kv, .arena = arena };
    if (reply->type == REQUEST_TXN)
        written(&a, &reply->txn, reply->revision, out);
    else if (a.flag->ask == FLAG_LIST)
        list(&a, &reply->range, reply->revision, out);
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
