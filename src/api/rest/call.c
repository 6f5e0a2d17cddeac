/* From an HTTP request to what it asks of the core. */
#include "api/rest/change.h"
#include "base/check.h"

struct parsing {
    const struct http_request *http;
    struct arena *arena;
    struct rest_call *call;
    const char **detail;
    /* the query, decoded */
    struct span prefix, key, environment, consistency, page_token;
    bool has_prefix, has_key, has_environment, has_revision;
    int64_t revision, limit, version;
    bool has_version;
};

static enum err refuse(struct parsing *p, enum err e, const char *detail)
{
    *p->detail = detail;
    return e;
}

bool number_read(struct span s, int64_t *out)
{
    int64_t n = 0;
    if (!s.len || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        n = n * 10 + (s.data[i] - '0');
    }
    *out = n;
    return true;
}

/* ---- the query ---- */

static const char *const known[] = { "prefix", "key",     "environment", "own",       "consistency",
                                     "revision", "limit", "version",     "page_token", "confirm",
                                     "resolve",  "dry_run", "force" };

static enum err take_number(struct parsing *p, struct span value, int64_t low, int64_t high,
                            int64_t *out, const char *detail)
{
    if (!number_read(value, out) || *out < low || *out > high)
        return refuse(p, ERR_BAD_REQUEST, detail);
    return ERR_OK;
}

/* What is true or false; NULL: it is none of these. */
static bool *yes_of(struct rest_call *c, struct span name)
{
    return span_is(name, "own")       ? &c->own
           : span_is(name, "resolve") ? &c->resolve
           : span_is(name, "dry_run") ? &c->dry_run
           : span_is(name, "confirm") ? &c->leave.confirmed
           : span_is(name, "force")   ? &c->leave.forced
                                      : NULL;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct parsing *p = context;
    bool *yes = yes_of(p->call, name);
    if (yes) {
        *yes = span_is(value, "true");
        if (!*yes && !span_is(value, "false"))
            return refuse(p, ERR_BAD_REQUEST,
                          "own, resolve, dry_run, confirm and force must be true or false");
    } else if (span_is(name, "prefix")) {
        p->prefix = value;
        p->has_prefix = true;
    } else if (span_is(name, "key")) {
        p->key = value;
        p->has_key = true;
    } else if (span_is(name, "environment")) {
        p->environment = value;
        p->has_environment = true;
    } else if (span_is(name, "consistency")) {
        p->consistency = value;
    } else if (span_is(name, "page_token")) {
        p->page_token = value;
    } else if (span_is(name, "revision")) {
        p->has_revision = true;
        return take_number(p, value, 0, INT64_MAX - 1, &p->revision,
                           "revision must be a whole number, 0 or more");
    } else if (span_is(name, "limit")) {
        return take_number(p, value, 1, REST_PAGE_MAX, &p->limit,
                           "limit must be a number from 1 to 1000");
    } else if (span_is(name, "version")) {
        p->has_version = true;
        return take_number(p, value, 0, INT64_MAX, &p->version,
                           "version must be a whole number, 0 or more");
    } else {
        struct buf b;
        buf_open(&b, p->arena->alloc);
        buf_text(&b, "unknown query parameter; known are:");
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            buf_format(&b, " %s", known[i]);
        *p->detail = arena_text(p->arena, buf_all(&b));
        buf_close(&b);
        return ERR_BAD_REQUEST;
    }
    return ERR_OK;
}

static enum err read_query(struct parsing *p)
{
    *p->detail = "a percent escape in the query is not valid";
    enum err e = http_query_each(p->http->query, p->arena, take_pair, p);
    if (e != ERR_OK)
        return e;
    p->call->environment = p->has_environment ? p->environment : SPAN("default");
    if (!environment_name(p->call->environment))
        return refuse(p, ERR_BAD_REQUEST, REST_ENVIRONMENT_RULE);
    bool linearizable = span_is(p->consistency, "linearizable");
    if (p->consistency.len && !linearizable && !span_is(p->consistency, "serializable"))
        return refuse(p, ERR_BAD_REQUEST, "consistency must be linearizable or serializable");
    p->call->request.serializable = !linearizable;
    p->call->has_version = p->has_version;
    p->call->version = p->version;
    return ERR_OK;
}

/* ---- keys ---- */

static struct span full_key(struct parsing *p, struct span key)
{
    return config_key(p->arena, p->call->environment, key);
}

static enum err check_key(struct parsing *p, struct span key)
{
    const char *fault = config_key_fault(key);
    return fault ? refuse(p, ERR_BAD_REQUEST, fault) : ERR_OK;
}

/* ---- preconditions: they become compares, so they hold at the moment of the write ---- */

enum err conditions_read(const struct http_request *http, struct rest_call *c, const char **detail)
{
    struct span match, none;
    if (http_header_find(http, "if-match", &match)) {
        bool quoted = match.len >= 2 && match.data[0] == '"' && match.data[match.len - 1] == '"';
        struct span number = quoted ? span_of(match.data + 1, match.len - 2) : match;
        *detail = "if-match takes one version, as \"3\", or *";
        c->must_exist = span_is(match, "*");
        if (!c->must_exist && !number_read(number, &c->version))
            return ERR_BAD_REQUEST;
        c->has_version = c->has_version || !c->must_exist;
    }
    if (http_header_find(http, "if-none-match", &none)) {
        *detail = "if-none-match takes only * for writes, and for a delete it has no meaning";
        c->create_only = span_is(none, "*");
        if (!c->create_only || c->deletes)
            return ERR_BAD_REQUEST;
    }
    return ERR_OK;
}

static size_t add_compare(struct kv_compare *out, size_t n, struct span key, int32_t target,
                          int32_t result, int64_t number)
{
    out[n] =
        (struct kv_compare){ .key = key, .target = target, .result = result, .number = number };
    return n + 1;
}

void conditions_txn(struct rest_call *c, struct span key, struct kv_op write, struct arena *arena)
{
    struct kv_compare *compares = ARENA_ARRAY(arena, struct kv_compare, 3);
    struct kv_op *success = ARENA_ARRAY(arena, struct kv_op, 2);
    struct kv_op get = { .type = KV_OP_RANGE, .range = { .key = key } };
    struct kv_op *failure = ARENA_NEW(arena, struct kv_op);
    size_t n = 0;
    if (c->has_version)
        n = add_compare(compares, n, key, KV_IF_VERSION, KV_IF_EQUAL, c->version);
    if (c->must_exist || c->deletes)
        n = add_compare(compares, n, key, KV_IF_VERSION, KV_IF_GREATER, 0);
    if (c->create_only)
        n = add_compare(compares, n, key, KV_IF_VERSION, KV_IF_EQUAL, 0);
    success[0] = write;
    success[1] = get;
    *failure = get;
    c->request.type = REQUEST_TXN;
    c->request.txn = (struct kv_txn){ compares, success, failure, n, 2, 1 };
}

/* ---- routes ---- */

static bool is_type(struct span type, const char *name)
{
    size_t n = 0;
    while (n < type.len && type.data[n] != ';' && type.data[n] != ' ')
        n++;
    return http_is_word(span_of(type.data, n), name);
}

bool rest_is_form(const struct http_request *r)
{
    struct span type;
    if (!http_header_find(r, "content-type", &type) || !type.len)
        return r->body.len > 0;
    return is_type(type, "application/x-www-form-urlencoded") ||
           is_type(type, "multipart/form-data") || is_type(type, "text/plain");
}

/* curl says that a body is a form's unless it is told otherwise; a form of a page cannot PUT. */
bool rest_is_json(const struct http_request *r)
{
    struct span type;
    return !http_header_find(r, "content-type", &type) || is_type(type, "application/json") ||
           (span_is(r->method, "PUT") && is_type(type, "application/x-www-form-urlencoded"));
}

static enum err config_put(struct parsing *p, struct span key)
{
    struct kv_op put = { .type = KV_OP_PUT };
    if (!rest_is_json(p->http))
        return refuse(p, ERR_MEDIA_TYPE, NULL);
    enum err e = conditions_read(p->http, p->call, p->detail);
    if (e == ERR_OK)
        e = value_read(p->http->body, p->arena, &put.put.value, &put.put.type, &p->call->faults,
                       p->detail);
    if (e != ERR_OK)
        return e;
    put.put.key = key;
    conditions_txn(p->call, key, put, p->arena);
    return ERR_OK;
}

static enum err config_delete(struct parsing *p, struct span key)
{
    struct kv_op del = { .type = KV_OP_DELETE, .del = { .key = key } };
    enum err e = conditions_read(p->http, p->call, p->detail);
    if (e == ERR_OK)
        conditions_txn(p->call, key, del, p->arena);
    return e;
}

static enum err config(struct parsing *p)
{
    struct rest_call *c = p->call;
    enum err e =
        http_decode(span_from(p->http->path, sizeof("/v1/config/") - 1), false, p->arena, &c->key);
    if (e != ERR_OK)
        return refuse(p, e, "a percent escape in the path is not valid");
    e = check_key(p, c->key);
    if (e != ERR_OK)
        return e;
    struct span key = full_key(p, c->key);
    if (span_is(p->http->method, "PUT"))
        return config_put(p, key);
    if (span_is(p->http->method, "DELETE"))
        return config_delete(p, key);
    c->revision = p->revision;
    struct span tag;
    c->has_tag = http_header_find(p->http, "if-none-match", &tag);
    c->tag = c->has_tag ? tag : SPAN_NONE;
    return ERR_OK;
}

static enum err history(struct parsing *p)
{
    struct rest_call *c = p->call;
    struct span path = span_from(p->http->path, sizeof(REST_HISTORY_PATH) - 1);
    enum err e = http_decode(path, false, p->arena, &c->key);
    if (e != ERR_OK)
        return refuse(p, e, "a percent escape in the path is not valid");
    c->limit = p->limit ? p->limit : REST_PAGE_DEFAULT;
    c->revision = p->revision;
    c->request.type = REQUEST_RANGE; /* asks whether it may be read */
    c->request.range = (struct kv_range){ .key = full_key(p, c->key), .revision = c->revision };
    return check_key(p, c->key);
}

static enum err config_list(struct parsing *p)
{
    struct rest_call *c = p->call;
    c->prefix = p->prefix;
    c->limit = p->limit ? p->limit : REST_PAGE_DEFAULT;
    c->revision = p->revision;
    if (p->page_token.len &&
        (!page_token_read(p->page_token, p->arena, &c->revision, &c->after) ||
         !span_starts(c->after, p->prefix)))
        return refuse(p, ERR_BAD_REQUEST, "page_token is not one that was given out for this list");
    return ERR_OK;
}

static enum err watch(struct parsing *p)
{
    struct rest_call *c = p->call;
    struct watch_request *w = &c->request.watch;
    struct span seen;
    c->kind = REST_WATCH;
    c->request.type = REQUEST_WATCH_ADD;
    if (p->has_key == p->has_prefix)
        return refuse(p, ERR_BAD_REQUEST,
                      "give either key or prefix (an empty prefix is everything)");
    if (http_header_find(p->http, "last-event-id", &seen)) {
        p->has_revision = true;
        if (!number_read(seen, &p->revision))
            return refuse(p, ERR_BAD_REQUEST, "last-event-id must be a revision");
    }
    *w = (struct watch_request){ .key = full_key(p, p->has_key ? p->key : p->prefix),
                                 .progress = true };
    if (p->has_prefix)
        w->range_end = kv_prefix_end(w->key, p->arena);
    w->start_revision = p->has_revision ? p->revision + 1 : 0;
    return p->has_key ? check_key(p, p->key) : ERR_OK;
}

static enum err status(struct parsing *p)
{
    p->call->request.type = REQUEST_STATUS;
    return ERR_OK;
}

static enum err quotas(struct parsing *p)
{
    p->call->request.type = REQUEST_LIMIT_LIST;
    p->call->request.serializable = true; /* as this node sees it */
    return ERR_OK;
}

static enum err quota(struct parsing *p)
{
    if (!rest_is_json(p->http))
        return refuse(p, ERR_MEDIA_TYPE, NULL);
    return quota_read(p->http, p->arena, p->call, p->detail);
}

static enum err environment(struct parsing *p)
{
    if (!rest_is_json(p->http))
        return refuse(p, ERR_MEDIA_TYPE, NULL);
    return environment_read(p->http, p->arena, p->call, p->detail);
}

static enum err rule(struct parsing *p)
{
    if (!rest_is_json(p->http))
        return refuse(p, ERR_MEDIA_TYPE, NULL);
    return rule_read(p->http, p->arena, p->call, p->detail);
}

static enum err snapshot(struct parsing *p)
{
    p->call->kind = REST_SNAPSHOT;
    p->call->request.type = REQUEST_SNAPSHOT;
    return ERR_OK;
}

static enum err cluster(struct parsing *p)
{
    p->call->request.type = REQUEST_MEMBERS;
    p->call->request.serializable = true; /* as this node sees it */
    return ERR_OK;
}

static const char *const methods_of[] = {
#define ROUTE(NAME, methods, path, text) [ROUTE_##NAME] = methods,
#include "api/rest/route.def"
#undef ROUTE
};

static enum err (*const readers[])(struct parsing *p) = { [ROUTE_CONFIG_LIST] = config_list,
                                                          [ROUTE_CONFIG] = config,
                                                          [ROUTE_ENVIRONMENTS] = environment,
                                                          [ROUTE_ENVIRONMENT] = environment,
                                                          [ROUTE_HISTORY] = history,
                                                          [ROUTE_SCHEMAS] = rule,
                                                          [ROUTE_SCHEMA] = rule,
                                                          [ROUTE_GUARDS] = rule,
                                                          [ROUTE_GUARD] = rule,
                                                          [ROUTE_WATCH] = watch,
                                                          [ROUTE_CLUSTER] = cluster,
                                                          [ROUTE_SNAPSHOT] = snapshot,
                                                          [ROUTE_QUOTAS] = quotas,
                                                          [ROUTE_QUOTA_PREFIX] = quota,
                                                          [ROUTE_QUOTA_USER] = quota,
                                                          [ROUTE_STATUS] = status };

bool rest_takes(struct span path)
{
    return span_is(path, "/v1") || span_starts(path, SPAN("/v1/")) || flag_takes(path);
}

/* below: with something behind it */
static const struct {
    const char *path;
    bool below;
    int route;
} paths[] = {
    { "/v1/config", false, ROUTE_CONFIG_LIST },
    { "/v1/config/", true, ROUTE_CONFIG },
    { "/v1/environments", false, ROUTE_ENVIRONMENTS },
    { REST_ENVIRONMENTS_PATH, true, ROUTE_ENVIRONMENT },
    { REST_HISTORY_PATH, true, ROUTE_HISTORY },
    { "/v1/schemas", false, ROUTE_SCHEMAS },
    { "/v1/schemas/", true, ROUTE_SCHEMA },
    { "/v1/guards", false, ROUTE_GUARDS },
    { "/v1/guards/", true, ROUTE_GUARD },
    { "/v1/diff", false, ROUTE_DIFF },
    { "/v1/txn", false, ROUTE_TXN },
    { "/v1/rollback", false, ROUTE_ROLLBACK },
    { "/v1/audit", false, ROUTE_AUDIT },
    { "/v1/import", false, ROUTE_IMPORT },
    { "/v1/export", false, ROUTE_EXPORT },
    { "/v1/drafts", false, ROUTE_DRAFTS },
    { "/v1/drafts/", true, ROUTE_DRAFT },
    { "/v1/secrets", false, ROUTE_SECRETS },
    { "/v1/secrets/", true, ROUTE_SECRET },
    { "/v1/seal", false, ROUTE_SEAL },
    { REST_SEAL_PATH, true, ROUTE_SEAL_ACTION },
    { "/v1/watch", false, ROUTE_WATCH },
    { "/v1/subscribe", false, ROUTE_SUBSCRIBE },
    { PUSH_STREAMS, true, ROUTE_SAY },
    { "/v1/deliveries", false, ROUTE_DELIVERIES },
    { "/v1/snapshot", false, ROUTE_SNAPSHOT },
    { "/v1/cluster", false, ROUTE_CLUSTER },
    { "/v1/quotas", false, ROUTE_QUOTAS },
    { QUOTA_PREFIXES, true, ROUTE_QUOTA_PREFIX },
    { QUOTA_USERS, true, ROUTE_QUOTA_USER },
    { "/v1/status", false, ROUTE_STATUS },
};

static int route_of(struct span path)
{
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (paths[i].below ? span_starts(path, span_text(paths[i].path))
                           : span_is(path, paths[i].path))
            return paths[i].route;
    return access_route(path);
}

static bool takes_method(const char *methods, struct span method)
{
    for (const char *m = methods; *m;) {
        size_t n = strcspn(m, ", ");
        if (span_equal(method, span_of(m, n)))
            return true;
        m += n;
        m += strspn(m, ", ");
    }
    return false;
}

enum err rest_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                   const char **detail)
{
    struct parsing p = { .http = http, .arena = arena, .call = out, .detail = detail };
    *out = (struct rest_call){ .route = route_of(http->path) };
    *detail = NULL;
    bool flags = flag_takes(http->path);
    if (flags)
        out->route = flag_route(http, arena, out);
    if (out->route < 0)
        return refuse(&p, ERR_NOT_FOUND, "no such path below /v1");
    if (!takes_method(methods_of[out->route], http->method))
        return refuse(&p, ERR_METHOD_NOT_ALLOWED, methods_of[out->route]);
    out->head = span_is(http->method, "HEAD");
    out->writes = span_is(http->method, "PUT");
    out->deletes = span_is(http->method, "DELETE");
    if (flags)
        return flag_call(http, arena, out, detail);
    if (out->route == ROUTE_SECRETS || out->route == ROUTE_SECRET || out->route == ROUTE_SEAL ||
        out->route == ROUTE_SEAL_ACTION)
        return secret_call(http, arena, out, detail);
    if (access_takes(out->route))
        return access_call(http, arena, out, detail);
    if (out->route == ROUTE_AUDIT)
        return audit_call(http, arena, out, detail);
    if (out->route == ROUTE_EXPORT)
        return export_call(http, arena, out, detail);
    if (out->route == ROUTE_DIFF)
        return diff_call(http, arena, out, detail);
    if (change_takes(out->route))
        return change_call(http, arena, out, detail);
    if (push_takes(out->route))
        return push_call(http, arena, out, detail);
    enum err e = read_query(&p);
    return e == ERR_OK ? readers[out->route](&p) : e;
}

/* ---- what depends on the state ---- */

static size_t look_through(struct rest_call *c, const struct kv *kv, struct arena *arena)
{
    c->chain[0] = c->environment;
    return c->own ? 1 : environment_chain(kv, c->environment, c->revision, arena, c->chain);
}

/* From the nearest environment that has it; its own one when none has. */
static void plan_config(struct rest_call *c, const struct kv *kv, struct arena *arena)
{
    struct span own = config_key(arena, c->environment, c->key), key = own;
    size_t levels = kv_get(kv, own, c->revision) ? 1 : look_through(c, kv, arena);
    for (size_t i = 1; i < levels; i++) {
        key = config_key(arena, c->chain[i], c->key);
        if (kv_get(kv, key, c->revision))
            break;
        key = own;
    }
    c->request.type = REQUEST_RANGE;
    c->request.range = (struct kv_range){ .key = key, .revision = c->revision };
}

static struct kv_range list_of(const struct rest_call *c, struct span environment,
                               struct arena *arena)
{
    struct span prefix = config_key(arena, environment, c->prefix), from = prefix;
    if (c->after.len) { /* the first key behind it */
        struct span after = config_key(arena, environment, c->after);
        uint8_t *next = arena_alloc(arena, after.len + 1);
        memcpy(next, after.data, after.len);
        next[after.len] = 0;
        from = span_of(next, after.len + 1);
    }
    return (struct kv_range){ .key = from,
                              .range_end = kv_prefix_end(prefix, arena),
                              .limit = c->limit,
                              .revision = c->revision };
}

/* With parents, a page of each one: together they have all of a page. */
static void plan_list(struct rest_call *c, const struct kv *kv, struct arena *arena)
{
    c->levels = look_through(c, kv, arena);
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, c->levels);
    for (size_t i = 0; i < c->levels; i++) {
        ops[i].type = KV_OP_RANGE;
        ops[i].range = list_of(c, c->chain[i], arena);
        ops[i].range.limit += c->levels > 1; /* whether there is more is seen by one more */
    }
    if (c->levels == 1) {
        c->request.type = REQUEST_RANGE;
        c->request.range = ops[0].range;
        return;
    }
    c->request.type = REQUEST_TXN;
    c->request.txn = (struct kv_txn){ .success = ops, .n_success = c->levels };
}

enum err rest_plan(struct rest_call *c, const struct kv *kv, struct arena *arena,
                   const char **detail)
{
    *detail = NULL;
    if (c->flag)
        flag_plan(c, kv, arena);
    switch (c->route) {
    case ROUTE_CONFIG:
        if (!c->writes && !c->deletes)
            plan_config(c, kv, arena);
        return ERR_OK;
    case ROUTE_CONFIG_LIST:
    case ROUTE_EXPORT:
        plan_list(c, kv, arena);
        return ERR_OK;
    case ROUTE_ENVIRONMENTS:
    case ROUTE_ENVIRONMENT:
        return environment_plan(c, kv, arena, detail);
    default:
        return ERR_OK;
    }
}

enum err rest_author(const struct rest_call *c, struct span author)
{
    bool config = c->route == ROUTE_CONFIG && c->writes;
    return config && author.len > REST_AUTHOR_MAX ? ERR_AUTHOR_LONG : ERR_OK;
}
