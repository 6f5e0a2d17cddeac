/* From the core's reply to an HTTP answer, and from events to texts. */
#include "api/rest/change.h"
#include "base/check.h"
#include "base/hash.h"

void add_header(struct rest_answer *a, const char *name, struct span value)
{
    CHECK(a->header_count < sizeof(a->headers) / sizeof(a->headers[0]));
    a->headers[a->header_count++] = (struct http_header){ span_text(name), value };
}

/* Ends a body that was written into b; b's memory goes. */
void body_of(struct rest_answer *a, int status, const char *type, struct buf *b,
             struct arena *arena)
{
    *a = (struct rest_answer){ .status = status, .body = arena_copy(arena, buf_all(b)) };
    add_header(a, "content-type", span_text(type));
    buf_close(b);
}

/* ---- problems ---- */

void problem_begin(struct jsonw *w, struct buf *b, enum err e, const char *detail,
                   struct arena *arena)
{
    struct buf urn;
    buf_open(b, arena->alloc);
    buf_open(&urn, arena->alloc);
    buf_format(&urn, "urn:confman:error:%s", err_code(e));
    jsonw_open(w, b);
    jsonw_object(w);
    jsonw_name(w, "type");
    jsonw_text(w, buf_all(&urn));
    jsonw_name(w, "title");
    jsonw_text(w, span_text(http_status_text(err_http(e))));
    jsonw_name(w, "status");
    jsonw_number(w, err_http(e));
    jsonw_name(w, "code");
    jsonw_text(w, span_text(err_code(e)));
    jsonw_name(w, "detail");
    jsonw_text(w, span_text(detail ? detail : err_text(e)));
    buf_close(&urn);
}

void problem_end(struct jsonw *w, struct buf *b, enum err e, const char *detail,
                 struct arena *arena, struct rest_answer *out)
{
    jsonw_object_end(w);
    body_of(out, err_http(e), "application/problem+json", b, arena);
    if (err_http(e) == 401) /* RFC 9110 15.5.2 asks for it */
        add_header(out, "www-authenticate", SPAN("Basic realm=\"confman\", Bearer"));
    if (e == ERR_METHOD_NOT_ALLOWED && detail)
        add_header(out, "allow", span_text(detail));
}

void problem(enum err e, const char *detail, const int64_t *version, struct arena *arena,
             struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    problem_begin(&w, &b, e, detail, arena);
    if (version) {
        jsonw_name(&w, "version");
        jsonw_number(&w, *version);
    }
    problem_end(&w, &b, e, detail, arena, out);
}

void rest_problem(enum err e, const char *detail, struct arena *arena, struct rest_answer *out)
{
    problem(e, detail, NULL, arena, out);
}

/* ---- configs ---- */

/* A version counts within one environment: what is inherited says which. */
struct span version_tag(int64_t version, struct span from, struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_text(&b, "\"");
    buf_span(&b, from);
    buf_format(&b, "%s%lld\"", from.len ? ":" : "", (long long)version);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static void item_answer(const struct kv *kv, const struct kv_version *v, struct span environment,
                        struct span tag, int status, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    item_write(&w, kv, v, environment);
    body_of(out, status, "application/json", &b, arena);
    add_header(out, "etag", tag);
}

/* As it is made of others, it has a tag of what came out; none when a secret did. */
static void resolved_answer(const struct rest_call *call, const struct kv *kv,
                            const struct kv_version *v, struct arena *arena,
                            struct rest_answer *out)
{
    struct resolving r = { .world = call->world,
                           .kv = kv,
                           .arena = arena,
                           .revision = call->revision,
                           .secrets = true };
    struct buf b, tag;
    struct jsonw w;
    struct span value;
    enum err e = resolve(&r, kv_key(v), call->environment, kv_value(v), v->type, &value);
    if (e != ERR_OK) {
        rest_problem(e, r.detail, arena, out);
        return;
    }
    buf_open(&b, arena->alloc);
    buf_open(&tag, arena->alloc);
    jsonw_open(&w, &b);
    item_write_as(&w, kv, v, call->environment, value, NULL);
    buf_format(&tag, "\"%016llx\"", (unsigned long long)hash_bytes(buf_all(&b), 0));
    struct span etag = arena_copy(arena, buf_all(&tag));
    buf_close(&tag);
    if (call->has_tag && !r.revealed && span_equal(call->tag, etag)) {
        buf_close(&b);
        *out = (struct rest_answer){ .status = 304 };
    } else {
        body_of(out, 200, "application/json", &b, arena);
    }
    if (r.revealed)
        add_header(out, "cache-control", SPAN("no-store"));
    else
        add_header(out, "etag", etag);
}

static void config_read(const struct rest_call *call, const struct kv *kv,
                        const struct kv_range_result *r, struct arena *arena,
                        struct rest_answer *out)
{
    if (!r->n) {
        rest_problem(ERR_CONFIG_NOT_FOUND, NULL, arena, out);
        return;
    }
    struct span from, key;
    if (call->resolve) {
        resolved_answer(call, kv, r->items[0], arena, out);
        return;
    }
    config_split(kv_key(r->items[0]), &from, &key);
    from = span_equal(from, call->environment) ? SPAN_NONE : from;
    struct span tag = version_tag(r->items[0]->version, from, arena);
    if (call->has_tag && (span_equal(call->tag, tag) || span_is(call->tag, "*"))) {
        *out = (struct rest_answer){ .status = 304 };
        add_header(out, "etag", tag);
        return;
    }
    item_answer(kv, r->items[0], call->environment, tag, 200, arena, out);
}

/* The Else branch was taken: what is there now tells why. */
static void config_refused(const struct rest_call *call, const struct kv_range_result *now,
                           struct arena *arena, struct rest_answer *out)
{
    int64_t version = now->n ? now->items[0]->version : 0;
    bool asked = call->has_version || call->must_exist || call->create_only;
    if (!asked) { /* a delete without conditions */
        rest_problem(ERR_CONFIG_NOT_FOUND, NULL, arena, out);
        return;
    }
    problem(ERR_PRECONDITION, "the member version is what it has now; 0: there is none", &version,
            arena, out);
    add_header(out, "etag", version_tag(version, SPAN_NONE, arena));
}

void deletion_answer(struct span key, int64_t revision, struct arena *arena,
                     struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "key");
    jsonw_text(&w, key);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    jsonw_name(&w, "deleted");
    jsonw_bool(&w, true);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}

static void config_written(const struct rest_call *call, const struct kv *kv,
                           const struct reply *reply, struct arena *arena, struct rest_answer *out)
{
    const struct kv_txn_result *t = &reply->txn;
    if (!t->succeeded) {
        config_refused(call, &t->ops[0].range, arena, out);
        return;
    }
    if (call->writes) {
        CHECK(t->n_ops == 2 && t->ops[1].range.n == 1);
        const struct kv_version *v = t->ops[1].range.items[0];
        item_answer(kv, v, SPAN_NONE, version_tag(v->version, SPAN_NONE, arena),
                    v->version == 1 ? 201 : 200, arena, out);
        return;
    }
    deletion_answer(call->key, reply->revision, arena, out);
}

static struct span own_key(const struct kv_version *v)
{
    struct span environment, key;
    config_split(kv_key(v), &environment, &key);
    return key;
}

/* One list of several, nearest environment first: what a nearer one has hides the others'. */
static void merge(const struct kv_txn_result *t, size_t limit, struct arena *arena,
                  struct kv_range_result *out)
{
    size_t at[REST_DEPTH_MAX] = { 0 };
    CHECK(t->n_ops <= REST_DEPTH_MAX);
    *out = (struct kv_range_result){ .items =
                                         ARENA_ARRAY(arena, const struct kv_version *, limit) };
    for (;;) {
        const struct kv_version *least = NULL;
        for (size_t i = 0; i < t->n_ops; i++) {
            const struct kv_range_result *r = &t->ops[i].range;
            if (at[i] < r->n &&
                (!least || span_compare(own_key(r->items[at[i]]), own_key(least)) < 0))
                least = r->items[at[i]];
        }
        out->more = least != NULL;
        if (!least || out->n == limit)
            break;
        out->items[out->n++] = least;
        for (size_t i = 0; i < t->n_ops; i++) {
            const struct kv_range_result *r = &t->ops[i].range;
            at[i] += at[i] < r->n && span_equal(own_key(r->items[at[i]]), own_key(least));
        }
    }
}

/* One whose references lead nowhere does not spoil the others. Whether a secret was opened. */
static bool items_write(const struct rest_call *call, const struct kv *kv,
                        const struct kv_range_result *range, struct arena *arena, struct jsonw *w)
{
    struct resolving r = { .world = call->world,
                           .kv = kv,
                           .arena = arena,
                           .revision = call->revision,
                           .secrets = true };
    for (size_t i = 0; i < range->n; i++) {
        const struct kv_version *v = range->items[i];
        struct span value = kv_value(v);
        enum err e = ERR_OK;
        if (call->resolve)
            e = resolve(&r, kv_key(v), call->environment, kv_value(v), v->type, &value);
        if (e != ERR_OK)
            value = kv_value(v);
        item_write_as(w, kv, v, call->environment, value, e == ERR_OK ? NULL : r.detail);
    }
    return r.revealed;
}

static void export_page(const struct rest_call *call, const struct reply *reply,
                        struct arena *arena, struct rest_answer *out)
{
    struct kv_range_result merged;
    if (reply->type == REQUEST_TXN)
        merge(&reply->txn, (size_t)call->limit, arena, &merged);
    export_answer(call, reply->type == REQUEST_TXN ? &merged : &reply->range, arena, out);
}

static void config_page(const struct rest_call *call, const struct kv *kv,
                        const struct reply *reply, struct arena *arena, struct rest_answer *out)
{
    int64_t revision = call->revision > 0 ? call->revision : reply->revision;
    struct kv_range_result merged;
    const struct kv_range_result *r = &reply->range;
    if (reply->type == REQUEST_TXN) {
        merge(&reply->txn, (size_t)call->limit, arena, &merged);
        r = &merged;
    }
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "items");
    jsonw_array(&w);
    bool revealed = items_write(call, kv, r, arena, &w);
    jsonw_array_end(&w);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    if (r->more) {
        struct span own, last;
        config_split(kv_key(r->items[r->n - 1]), &own, &last);
        jsonw_name(&w, "next_page_token");
        jsonw_text(&w, page_token(revision, last, arena));
    }
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
    if (revealed)
        add_header(out, "cache-control", SPAN("no-store"));
}

/* ---- the node ---- */

static void status_answer(const struct reply *reply, struct arena *arena, struct rest_answer *out)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        { "revision", reply->revision },
        { "term", (int64_t)reply->status.term },
        { "log_index", (int64_t)reply->status.index },
        { "applied_index", (int64_t)reply->status.applied_index },
        { "store_bytes", reply->status.size_bytes },
        { "live_bytes", reply->status.size_in_use_bytes },
    };
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "etcd_version");
    jsonw_text(&w, span_text(reply->status.version));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        jsonw_name(&w, numbers[i].name);
        jsonw_number(&w, numbers[i].value);
    }
    jsonw_name(&w, "has_leader");
    jsonw_bool(&w, reply->status.leader != 0);
    jsonw_name(&w, "nospace");
    jsonw_bool(&w, reply->status.nospace);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}

void write_id(struct jsonw *w, const char *name, uint64_t id)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hex[16];
    for (int i = 0; i < 16; i++)
        hex[i] = (uint8_t)digits[id >> (60 - 4 * i) & 15];
    jsonw_name(w, name);
    if (id)
        jsonw_text(w, span_of(hex, sizeof(hex)));
    else
        jsonw_raw(w, SPAN("null"));
}

static void member_write(struct jsonw *w, const struct reply *reply, const struct member_info *m)
{
    const struct {
        const char *name;
        struct span value;
    } texts[] = { { "name", m->name }, { "peer", m->peer_url }, { "client", m->client_url } };
    bool leads = m->id == reply->members.leader, self = m->id == reply->members.self;
    jsonw_object(w);
    write_id(w, "id", m->id);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        jsonw_name(w, texts[i].name);
        jsonw_text(w, texts[i].value);
    }
    jsonw_name(w, "role");
    jsonw_text(w, leads ? SPAN("leader") : m->learner ? SPAN("learner") : SPAN("voter"));
    jsonw_name(w, "self");
    jsonw_bool(w, self);
    jsonw_name(w, "connected");
    jsonw_bool(w, m->connected || self);
    if (m->version) {
        jsonw_name(w, "version");
        jsonw_number(w, m->version);
    }
    if (m->tracked) {
        jsonw_name(w, "match_index");
        jsonw_number(w, (int64_t)m->match_index);
        jsonw_name(w, "lag");
        jsonw_number(w, (int64_t)(reply->members.last_index - m->match_index));
        jsonw_name(w, "heard_ms_ago");
        jsonw_number(w, m->heard_ms_ago);
    }
    jsonw_object_end(w);
}

static void cluster_answer(const struct reply *reply, struct arena *arena, struct rest_answer *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = { { "term", reply->members.term },
                    { "last_index", reply->members.last_index },
                    { "commit_index", reply->members.commit_index },
                    { "applied_index", reply->members.applied_index },
                    { "level", reply->members.level } };
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    write_id(&w, "cluster", reply->members.cluster);
    write_id(&w, "leader", reply->members.leader);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        jsonw_name(&w, numbers[i].name);
        jsonw_number(&w, (int64_t)numbers[i].value);
    }
    jsonw_name(&w, "members");
    jsonw_array(&w);
    for (size_t i = 0; i < reply->members.n; i++)
        member_write(&w, reply, &reply->members.items[i]);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}

static void quota_answer(const struct rest_call *call, const struct reply *reply,
                         struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    quota_write(call, reply, &w);
    body_of(out, 200, "application/json", &b, arena);
}

static void history_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                           struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    history_write(call, kv, arena, &w);
    body_of(out, 200, "application/json", &b, arena);
}

static void environment_answer(const struct rest_call *call, const struct kv *kv,
                               const struct reply *reply, struct arena *arena,
                               struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    enum err e = environment_write(call, kv, reply, arena, &w);
    if (e == ERR_OK) {
        body_of(out, 200, "application/json", &b, arena);
        return;
    }
    buf_close(&b);
    rest_problem(e, NULL, arena, out);
}

void rest_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out)
{
    if (reply->err != ERR_OK) {
        rest_problem(reply->err, NULL, arena, out);
        return;
    }
    switch (call->route) {
    case ROUTE_CONFIG_LIST:
        config_page(call, kv, reply, arena, out);
        return;
    case ROUTE_CONFIG:
        if (reply->type == REQUEST_TXN)
            config_written(call, kv, reply, arena, out);
        else
            config_read(call, kv, &reply->range, arena, out);
        return;
    case ROUTE_HISTORY:
        history_answer(call, kv, arena, out);
        return;
    case ROUTE_ENVIRONMENTS:
    case ROUTE_ENVIRONMENT:
        environment_answer(call, kv, reply, arena, out);
        return;
    case ROUTE_SCHEMAS:
    case ROUTE_SCHEMA:
    case ROUTE_GUARDS:
    case ROUTE_GUARD:
        rule_answer(call, kv, reply, arena, out);
        return;
    case ROUTE_CLUSTER:
        cluster_answer(reply, arena, out);
        return;
    case ROUTE_QUOTAS:
    case ROUTE_QUOTA_PREFIX:
    case ROUTE_QUOTA_USER:
        quota_answer(call, reply, arena, out);
        return;
    case ROUTE_FLAGS:
    case ROUTE_FLAG:
    case ROUTE_FLAG_EVALUATE:
    case ROUTE_FLAG_EXPLAIN:
    case ROUTE_OFREP_ONE:
    case ROUTE_OFREP_ALL:
        flag_answer(call, kv, reply, arena, out);
        return;
    case ROUTE_STATUS:
        status_answer(reply, arena, out);
        return;
    case ROUTE_EXPORT:
        export_page(call, reply, arena, out);
        return;
    case ROUTE_DIFF:
        diff_answer(call, kv, arena, out);
        return;
    default: /* the node answers: rest_change, rest_secret, rest_access; or it is a stream */
        break;
    }
    UNREACHABLE("a unary route");
}

/* ---- watch ---- */

/* One event: its JSON in data; an SSE block, or a WebSocket message with type and revision in
 * it. */
static struct span event_text(const char *type, int64_t revision, const struct kv *kv,
                              const struct kv_version *v, enum rest_watch_form form,
                              struct arena *arena)
{
    struct buf b;
    struct jsonw w;
    if (form == REST_REFETCH)
        return v ? flag_refetch(revision, arena) : SPAN(": nothing new\n\n");
    buf_open(&b, arena->alloc);
    if (form == REST_SSE)
        buf_format(&b, "id: %lld\nevent: %s\ndata: ", (long long)revision, type);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    if (form == REST_WEBSOCKET) {
        jsonw_name(&w, "type");
        jsonw_text(&w, span_text(type));
        jsonw_name(&w, "revision");
        jsonw_number(&w, revision);
    }
    if (v) {
        if (form == REST_WEBSOCKET)
            jsonw_name(&w, "item");
        else
            b.len--, w.comma = false; /* the item is the data */
        if (v->tombstone) {
            struct span environment, key;
            config_split(kv_key(v), &environment, &key);
            jsonw_object(&w);
            jsonw_name(&w, "key");
            jsonw_text(&w, key);
            jsonw_name(&w, "environment");
            jsonw_text(&w, environment);
            jsonw_name(&w, "revision");
            jsonw_number(&w, revision);
            jsonw_object_end(&w);
        } else {
            item_write(&w, kv, v, SPAN_NONE);
        }
    } else if (form == REST_SSE) {
        jsonw_name(&w, "revision");
        jsonw_number(&w, revision);
    }
    if (!v || form == REST_WEBSOCKET)
        jsonw_object_end(&w);
    if (form == REST_SSE)
        buf_text(&b, "\n\n");
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

void rest_watch_events(const struct kv *kv, const struct watch_batch *batch,
                       enum rest_watch_form form, struct arena *arena,
                       void (*emit)(void *, struct span), void *context)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct kv_version *v = batch->changes[i]->now;
        const char *type = v->tombstone ? "delete" : "put";
        if (form == REST_REFETCH && i + 1 < batch->n)
            continue; /* one for all of a batch */
        emit(context, event_text(type, v->mod_revision, kv, v, form, arena));
    }
}

struct span rest_watch_ready(int64_t revision, enum rest_watch_form form, struct arena *arena)
{
    return event_text("ready", revision, NULL, NULL, form, arena);
}

struct span rest_watch_progress(int64_t revision, enum rest_watch_form form, struct arena *arena)
{
    return event_text("progress", revision, NULL, NULL, form, arena);
}

struct span rest_watch_compacted(int64_t compact_revision, enum rest_watch_form form,
                                 struct arena *arena)
{
    return event_text("compacted", compact_revision, NULL, NULL, form, arena);
}

struct span rest_watch_denied(int64_t revision, enum rest_watch_form form, struct arena *arena)
{
    return event_text("denied", revision, NULL, NULL, form, arena);
}
