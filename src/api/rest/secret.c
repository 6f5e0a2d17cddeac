/* Secrets over REST: what is asked, and the answers. The node does the rest: it has the keys. */
#include "api/rest/rest_int.h"
#include "base/check.h"

#define SECRETS "/v1/secrets/"

struct reading {
    const struct http_request *http;
    struct arena *arena;
    struct rest_call *call;
    struct secret_ask *ask;
    const char **detail;
    struct span action;
    bool metadata, all;
};

static enum err refuse(const struct reading *r, const char *detail)
{
    *r->detail = detail;
    return ERR_BAD_REQUEST;
}

/* ---- the query ---- */

static enum err read_numbers(struct reading *r, struct span list)
{
    struct secret_ask *a = r->ask;
    while (list.len) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        if (a->n_numbers == SECRET_VERSIONS_MAX ||
            !number_read(span_of(list.data, len), &a->numbers[a->n_numbers++]))
            return refuse(r, "versions must be numbers with commas between, 100 at most");
        list = span_from(list, comma ? len + 1 : len);
    }
    return ERR_OK;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct reading *r = context;
    if (span_is(name, "namespace"))
        r->ask->name_space = value;
    else if (span_is(name, "prefix"))
        r->ask->path = value;
    else if (span_is(name, "reason"))
        r->ask->reason = value;
    else if (span_is(name, "action"))
        r->action = value;
    else if (span_is(name, "metadata"))
        r->metadata = span_is(value, "true");
    else if (span_is(name, "all"))
        r->all = span_is(value, "true");
    else if (span_is(name, "force"))
        r->call->leave.forced = span_is(value, "true");
    else if (span_is(name, "versions"))
        return read_numbers(r, value);
    else if (!span_is(name, "version"))
        return refuse(r, "unknown query parameter; known are: namespace prefix version versions "
                         "reason action metadata all force");
    else if (!number_read(value, &r->ask->version))
        return refuse(r, "version must be a whole number, 0 or more");
    else
        r->ask->has_check = true;
    return ERR_OK;
}

/* ---- the body ---- */

/* The object as text, in the arena. */
static enum err take_data(struct reading *r, const json_t *data)
{
    struct buf b;
    if (!json_is_object(data))
        return refuse(r, "the body wants {\"data\": {...}}");
    buf_open(&b, r->arena->alloc);
    jsonr_write(data, &b);
    enum err e = b.len > SECRET_DATA_MAX ? ERR_BODY_TOO_LARGE : ERR_OK;
    if (e == ERR_OK)
        r->ask->data = arena_copy(r->arena, buf_all(&b));
    else
        *r->detail = "the data of one version are 65536 bytes at most";
    memset(b.data, 0, b.len);
    buf_close(&b);
    return e;
}

/* -1: it is not there. ERR_BAD_REQUEST: no whole number from 0 to max. */
static enum err take_whole(struct reading *r, const json_t *body, const char *name, int64_t max,
                           const char *wrong, int64_t *out)
{
    const json_t *v = json_object_get(body, name);
    *out = v ? json_integer_value(v) : -1;
    return v && (!json_is_integer(v) || *out < 0 || *out > max) ? refuse(r, wrong) : ERR_OK;
}

static enum err take_whether(struct reading *r, const json_t *body, const char *name, int *out)
{
    const json_t *v = json_object_get(body, name);
    *out = v ? json_is_true(v) : -1;
    return v && !json_is_boolean(v)
               ? refuse(r, "check_required and reason_required are true or false")
               : ERR_OK;
}

static enum err take_custom(struct reading *r, const json_t *custom)
{
    const char *name;
    json_t *value;
    struct buf b;
    bool good = json_is_object(custom);
    json_object_foreach((json_t *)(uintptr_t)custom, name, value) good =
        good && json_is_string(value);
    if (!good)
        return refuse(r, "custom is an object of strings");
    buf_open(&b, r->arena->alloc);
    jsonr_write(custom, &b);
    good = b.len <= SECRET_CUSTOM_MAX;
    r->ask->custom = arena_copy(r->arena, buf_all(&b));
    buf_close(&b);
    return good ? ERR_OK : refuse(r, "custom is 16384 bytes at most");
}

static enum err take_settings(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->ask;
    const json_t *custom = json_object_get(body, "custom");
    enum err e =
        take_whole(r, body, "max_versions", SECRET_VERSIONS_MAX,
                   "max_versions is a number from 0 (the default, 10) to 100", &a->versions_max);
    if (e == ERR_OK)
        e = take_whole(r, body, "delete_after_s", SECRET_DELETE_AFTER_MAX_S,
                       "delete_after_s is a number from 0 (never) to 3153600000",
                       &a->delete_after_ms);
    if (e == ERR_OK && a->delete_after_ms > 0)
        a->delete_after_ms *= 1000;
    if (e == ERR_OK)
        e = take_whether(r, body, "check_required", &a->check_required);
    if (e == ERR_OK)
        e = take_whether(r, body, "reason_required", &a->reason_required);
    return e == ERR_OK && custom ? take_custom(r, custom) : e;
}

/* Which seal there shall be; to shares it is an INIT that renews. */
static enum err take_kind(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->ask;
    const char *type = json_string_value(json_object_get(body, "type"));
    if (type && strcmp(type, "shamir") == 0)
        a->verb = SECRET_INIT;
    else if (!type || (strcmp(type, "transit") != 0 && strcmp(type, "static") != 0))
        return refuse(r, "type is transit, static or shamir");
    a->renew = a->verb == SECRET_INIT;
    a->to_file = !a->renew && strcmp(type, "static") == 0;
    return ERR_OK;
}

/* INIT, UNSEAL, MIGRATE. */
static enum err take_seal(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->ask;
    const json_t *share = json_object_get(body, "share");
    a->renew = json_is_true(json_object_get(body, "renew"));
    a->reset = json_is_true(json_object_get(body, "reset"));
    if (share && !json_is_string(share))
        return refuse(r, "share is a text");
    if (share)
        a->data = arena_copy(r->arena, span_of(json_string_value(share),
                                               json_string_length(share)));
    if (a->verb == SECRET_MIGRATE && take_kind(r, body) != ERR_OK)
        return ERR_BAD_REQUEST;
    if (a->verb != SECRET_INIT)
        return ERR_OK;
    a->shares = json_integer_value(json_object_get(body, "shares"));
    a->threshold = json_integer_value(json_object_get(body, "threshold"));
    return secret_shares_good(a) ? ERR_OK
                                 : refuse(r, "wants {\"shares\": N, \"threshold\": K}, K from 2 to "
                                             "N, N at most 64; or 1 and 1");
}

static enum err read_body(struct reading *r)
{
    char why[JSONR_WHY_MAX];
    json_t *body;
    enum err e = jsonr_read(r->http->body, &body, why);
    if (e != ERR_OK)
        return e; /* why would quote what is secret */
    if (r->ask->verb == SECRET_PUT || r->ask->verb == SECRET_PATCH)
        e = take_data(r, json_object_get(body, "data"));
    else if (r->ask->verb == SECRET_INIT || r->ask->verb == SECRET_UNSEAL ||
             r->ask->verb == SECRET_MIGRATE)
        e = take_seal(r, body);
    else
        e = take_settings(r, body);
    json_decref(body);
    return e;
}

/* ---- what is asked ---- */

static const struct {
    const char *name;
    bool of_one;
    enum secret_verb verb;
} actions[] = {
    { "undelete", true, SECRET_UNDELETE },   { "destroy", true, SECRET_DESTROY },
    { "configure", true, SECRET_CONFIGURE }, { "patch", true, SECRET_PATCH },
    { "rotate", false, SECRET_ROTATE },      { "configure", false, SECRET_SETTINGS_PUT }
};

static const struct {
    const char *path;
    enum secret_verb verb;
} of_seal[] = { { REST_SEAL_PATH "init", SECRET_INIT },
                { REST_SEAL_PATH "unseal", SECRET_UNSEAL },
                { REST_SEAL_PATH "seal", SECRET_SEAL_UP },
                { REST_SEAL_PATH "rotate", SECRET_ROTATE_ROOT },
                { REST_SEAL_PATH "migrate", SECRET_MIGRATE },
                { REST_SEAL_PATH "rewrap", SECRET_REWRAP } };

static enum err read_of_seal(struct reading *r)
{
    size_t i = 0, n = sizeof(of_seal) / sizeof(of_seal[0]);
    while (i < n && !span_is(r->http->path, of_seal[i].path))
        i++;
    if (i == n)
        return refuse(r, "what is done to the seal is init, unseal, seal, rotate, migrate or "
                         "rewrap");
    r->ask->verb = of_seal[i].verb;
    bool wants_body = r->ask->verb == SECRET_INIT || r->ask->verb == SECRET_MIGRATE;
    return (r->http->body.len && r->ask->verb != SECRET_REWRAP) || wants_body ? read_body(r)
                                                                              : ERR_OK;
}

static enum err read_verb(struct reading *r, bool of_one)
{
    struct secret_ask *a = r->ask;
    struct span method = r->http->method;
    if (span_is(method, "PUT")) {
        a->verb = SECRET_PUT;
    } else if (span_is(method, "DELETE")) {
        a->verb = r->all ? SECRET_REMOVE : SECRET_DELETE;
    } else if (!span_is(method, "POST")) {
        a->verb = of_one        ? r->metadata ? SECRET_VERSIONS : SECRET_GET
                  : r->metadata ? SECRET_SETTINGS_GET
                                : SECRET_LIST;
    } else {
        size_t i = 0, n = sizeof(actions) / sizeof(actions[0]);
        while (i < n && (actions[i].of_one != of_one || !span_is(r->action, actions[i].name)))
            i++;
        if (i == n)
            return refuse(r, "action is undelete, destroy, configure or patch of a secret, rotate "
                             "or configure of a namespace");
        a->verb = actions[i].verb;
    }
    if ((a->verb == SECRET_UNDELETE || a->verb == SECRET_DESTROY) && !a->n_numbers)
        return refuse(r, "versions must say which");
    a->check = a->version;
    bool has_body = a->verb == SECRET_PUT || a->verb == SECRET_PATCH ||
                    a->verb == SECRET_CONFIGURE || a->verb == SECRET_SETTINGS_PUT;
    return has_body ? read_body(r) : ERR_OK;
}

void rest_secret_request(const struct secret_ask *a, struct arena *arena, struct request *out)
{
    struct kv_range *range = &out->range;
    out->type = a->verb == SECRET_STATUS   ? REQUEST_STATUS
                : a->verb == SECRET_UNSEAL ? REQUEST_AUTH_STATUS
                                           : REQUEST_RANGE;
    out->serializable = a->verb == SECRET_UNSEAL; /* also where nobody leads; by whoever can */
    if (a->verb == SECRET_STATUS || a->verb == SECRET_UNSEAL)
        return;
    *range = (struct kv_range){ .key = secret_store_key(a->name_space, a->path, arena) };
    if (a->verb == SECRET_ROTATE)
        range->key = secret_seal_key(a->name_space, arena);
    if (a->verb == SECRET_SETTINGS_GET || a->verb == SECRET_SETTINGS_PUT)
        range->key = secret_settings_key(a->name_space, arena);
    if (a->verb == SECRET_INIT || a->verb == SECRET_SEAL_UP || a->verb == SECRET_ROTATE_ROOT ||
        a->verb == SECRET_MIGRATE || a->verb == SECRET_REWRAP)
        range->key = SPAN(SECRET_SEAL);
    if (a->verb == SECRET_NAMESPACES) {
        range->key = SPAN(SECRET_SETTINGS);
        range->range_end = kv_prefix_end(range->key, arena);
        range->keys_only = true;
    }
    if (a->verb != SECRET_LIST && a->verb != SECRET_NAMESPACE_REMOVE)
        return;
    range->range_end = kv_prefix_end(range->key, arena);
    range->keys_only = true;
    range->limit = SECRET_LIST_MAX;
}

/* LIST: the names below a path end with "/", as do those of paths. */
static struct span with_slash(struct span s, struct arena *arena)
{
    if (!s.len || s.data[s.len - 1] == '/')
        return s;
    uint8_t *p = arena_alloc(arena, s.len + 1);
    memcpy(p, s.data, s.len);
    p[s.len] = '/';
    return span_of(p, s.len + 1);
}

enum err secret_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                     const char **detail)
{
    struct secret_ask *a = ARENA_NEW(arena, struct secret_ask);
    struct reading r = { .http = http, .arena = arena, .call = out, .ask = a, .detail = detail };
    bool of_one = out->route == ROUTE_SECRET;
    out->secret = a;
    a->name_space = SPAN(SECRET_NAMESPACE);
    *detail = "a percent escape is not valid";
    (void)http_header_find(http, "x-confman-reason", &a->reason);
    enum err e = http_query_each(http->query, arena, take_pair, &r);
    if (e == ERR_OK && of_one)
        e = http_decode(span_from(http->path, sizeof(SECRETS) - 1), false, arena, &a->path);
    if (e != ERR_OK)
        return e;
    *detail = NULL;
    if (out->route == ROUTE_SEAL) {
        a->verb = SECRET_STATUS;
    } else if (out->route == ROUTE_SEAL_ACTION) {
        e = read_of_seal(&r);
    } else {
        e = read_verb(&r, of_one);
        if (e == ERR_OK && of_one && !secret_path_good(a->path))
            e = refuse(&r, "a path has 1 to 1024 bytes, no control characters, no empty part");
        if (e == ERR_OK && !secret_namespace_good(a->name_space))
            e = refuse(&r, "a namespace has 1 to 64 bytes, no slash, no control characters");
        if (a->verb == SECRET_LIST)
            a->path = with_slash(arena_copy(arena, a->path), arena);
    }
    if (e != ERR_OK)
        return e;
    a->path = arena_copy(arena, a->path); /* the call may wait longer than its head is there */
    a->name_space = arena_copy(arena, a->name_space);
    a->reason = arena_copy(arena, span_of(a->reason.data, a->reason.len < SECRET_REASON_MAX
                                                              ? a->reason.len
                                                              : SECRET_REASON_MAX));
    rest_secret_request(a, arena, &out->request);
    return ERR_OK;
}

/* ---- answers ---- */

static void number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

static void name_of(struct jsonw *w, const struct secret_ask *a)
{
    jsonw_name(w, "namespace");
    jsonw_text(w, a->name_space);
    jsonw_name(w, "path");
    jsonw_text(w, a->path);
}

static void write_version(struct jsonw *w, const struct secret_version *v, int64_t now_ms)
{
    number(w, "version", v->number);
    number(w, "created_at_ms", v->created_ms);
    if (v->deleted_ms)
        number(w, secret_deleted(v, now_ms) ? "deleted_at_ms" : "deletes_at_ms", v->deleted_ms);
    jsonw_name(w, "destroyed");
    jsonw_bool(w, v->destroyed);
    number(w, "key_version", v->key);
}

static void write_versions(struct jsonw *w, const struct secret *s, int64_t now_ms)
{
    number(w, "current_version", s->current);
    number(w, "max_versions", s->versions_max ? s->versions_max : SECRET_VERSIONS_DEFAULT);
    jsonw_name(w, "check_required");
    jsonw_bool(w, s->check_required);
    if (s->delete_after_ms)
        number(w, "delete_after_s", s->delete_after_ms / 1000);
    if (s->custom.len) {
        jsonw_name(w, "custom");
        jsonw_raw(w, s->custom);
    }
    number(w, "created_at_ms", s->created_ms);
    number(w, "updated_at_ms", s->updated_ms);
    jsonw_name(w, "versions");
    jsonw_array(w);
    for (size_t i = 0; i < s->n; i++) {
        jsonw_object(w);
        write_version(w, &s->versions[i], now_ms);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

static void write_settings(struct jsonw *w, const struct secret_answer *a)
{
    const struct secret_settings *s = a->settings;
    jsonw_name(w, "namespace");
    jsonw_text(w, a->ask->name_space);
    number(w, "max_versions", s->versions_max ? s->versions_max : SECRET_VERSIONS_DEFAULT);
    number(w, "delete_after_s", s->delete_after_ms / 1000);
    jsonw_name(w, "check_required");
    jsonw_bool(w, s->check_required);
    jsonw_name(w, "reason_required");
    jsonw_bool(w, s->reason_required);
}

static void write_names(struct jsonw *w, const struct secret_answer *a)
{
    jsonw_name(w, "names");
    jsonw_array(w);
    for (size_t i = 0; i < a->n_names; i++)
        jsonw_text(w, a->names[i]);
    jsonw_array_end(w);
    jsonw_name(w, "more");
    jsonw_bool(w, a->more);
}

static void write_status(struct jsonw *w, const struct secret_answer *a)
{
    jsonw_name(w, "sealed");
    jsonw_bool(w, a->sealed);
    jsonw_name(w, "initialized");
    jsonw_bool(w, a->initialized);
    jsonw_name(w, "type");
    jsonw_text(w, span_text(a->seal_type));
    number(w, "shares", a->shares);
    number(w, "threshold", a->threshold);
    number(w, "progress", a->progress);
    number(w, "root_keys", a->root_keys);
    number(w, "rewrap_waiting", (int64_t)a->n_waiting);
    if (a->transit_key)
        number(w, "transit_key_version", a->transit_key);
    if (a->waits_for.len) {
        jsonw_name(w, "waits_for");
        jsonw_text(w, a->waits_for);
    }
    if (a->working_on.len) {
        jsonw_name(w, "rewrapping");
        jsonw_text(w, a->working_on);
    }
    number(w, "rewrapped", (int64_t)a->rewrapped);
    if (a->ask->verb != SECRET_INIT)
        return;
    jsonw_name(w, "keys");
    jsonw_array(w);
    for (size_t i = 0; i < a->n_names; i++)
        jsonw_text(w, a->names[i]);
    jsonw_array_end(w);
}

static void write_answer(struct jsonw *w, const struct secret_answer *a)
{
    switch (a->ask->verb) {
    case SECRET_STATUS:
    case SECRET_INIT:
    case SECRET_UNSEAL:
    case SECRET_SEAL_UP:
    case SECRET_ROTATE_ROOT:
    case SECRET_MIGRATE:
    case SECRET_REWRAP:
        write_status(w, a);
        break;
    case SECRET_LIST:
        name_of(w, a->ask);
        write_names(w, a);
        break;
    case SECRET_SETTINGS_GET:
    case SECRET_SETTINGS_PUT:
        write_settings(w, a);
        break;
    case SECRET_ROTATE:
        jsonw_name(w, "namespace");
        jsonw_text(w, a->ask->name_space);
        number(w, "key_version", a->key);
        break;
    case SECRET_REMOVE:
        jsonw_name(w, "removed");
        jsonw_bool(w, true);
        break;
    case SECRET_GET:
    case SECRET_PUT:
    case SECRET_PATCH:
        name_of(w, a->ask);
        write_version(w, a->version, a->now_ms);
        if (a->ask->verb == SECRET_GET) {
            jsonw_name(w, "data");
            jsonw_raw(w, a->data);
        }
        break;
    case SECRET_SUBKEYS: /* these are asked for by another door alone */
    case SECRET_NAMESPACES:
    case SECRET_NAMESPACE_REMOVE:
    case SECRET_VERSIONS:
    case SECRET_DELETE:
    case SECRET_UNDELETE:
    case SECRET_DESTROY:
    case SECRET_CONFIGURE:
    default:
        name_of(w, a->ask);
        write_versions(w, a->secret, a->now_ms);
    }
}

void rest_secret(const struct secret_answer *a, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    write_answer(&w, a);
    jsonw_object_end(&w);
    *out = (struct rest_answer){ .status = 200, .body = arena_copy(arena, buf_all(&b)) };
    out->headers[0] = (struct http_header){ SPAN("content-type"), SPAN("application/json") };
    out->headers[1] = (struct http_header){ SPAN("cache-control"), SPAN("no-store") };
    out->header_count = 2;
    memset(b.data, 0, b.len);
    buf_close(&b);
}
