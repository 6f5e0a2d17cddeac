/* From an HTTP request to what it asks. */
#include "api/vault/vault.h"
#include "base/check.h"
#include "wire/json/json.h"

struct reading {
    const struct http_request *http;
    struct arena *arena;
    struct vault_call *call;
    const char **detail;
    struct span method;
    bool list;
    int64_t version, depth;
    struct span reason;
};

static enum err refuse(const struct reading *r, enum err e, const char *detail)
{
    *r->detail = detail;
    return e;
}

/* ---- paths ---- */

static const struct {
    const char *methods, *path;
} rows[] = {
#define VAULT(NAME, methods, path) { methods, path },
#include "api/vault/path.def"
#undef VAULT
};

static struct span take_part(struct span *path)
{
    const uint8_t *slash = path->len ? memchr(path->data, '/', path->len) : NULL;
    struct span part = slash ? span_of(path->data, (size_t)(slash - path->data)) : *path;
    *path = span_from(*path, part.len + (slash != NULL));
    return part;
}

static bool fits(const char *row, struct span path, struct vault_call *out)
{
    struct span pattern = span_text(row);
    struct span *next = &out->name;
    out->name = out->more = SPAN_NONE;
    while (pattern.len) {
        struct span want = take_part(&pattern);
        if (span_is(want, "{*}")) {
            *next = path;
            return true;
        }
        struct span part = take_part(&path);
        if (span_is(want, "{}")) {
            *next = part;
            next = &out->more;
            if (!part.len)
                return false;
        } else if (!span_equal(want, part)) {
            return false;
        }
    }
    return !path.len;
}

static bool takes(const char *methods, struct span method)
{
    for (struct span rest = span_text(methods); rest.len;) {
        size_t n = 0;
        while (n < rest.len && rest.data[n] != ' ')
            n++;
        if (span_equal(span_of(rest.data, n), method))
            return true;
        rest = span_from(rest, n + (n < rest.len));
    }
    return false;
}

static enum err find_op(struct reading *r)
{
    struct vault_call *c = r->call;
    struct span path;
    enum err e = http_decode(span_from(r->http->path, sizeof("/v1/") - 1), false, r->arena, &path);
    if (e != ERR_OK)
        return refuse(r, e, "a percent escape in the path is not valid");
    if (path.len && path.data[path.len - 1] == '/' && !r->list)
        path.len--; /* as Vault's clients send mounts */
    for (c->op = 0; c->op < VAULT_OPS; c->op++)
        if (fits(rows[c->op].path, path, c))
            break;
    if (c->op == VAULT_OPS || !rows[c->op].methods[0])
        return refuse(r, ERR_NOT_FOUND, "no handler for this route");
    if (!takes(rows[c->op].methods, r->method))
        return refuse(r, ERR_METHOD_NOT_ALLOWED, "unsupported operation");
    return ERR_OK;
}

/* ---- the query ---- */

static bool whole(struct span s, int64_t *out)
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

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct reading *r = context;
    struct vault_call *c = r->call;
    static const char *const codes[] = { "sealedcode", "uninitcode", "standbycode" };
    if (span_is(name, "list"))
        r->list = http_is_word(value, "true") || span_is(value, "1");
    else if (span_is(name, "version") && !whole(value, &r->version))
        return refuse(r, ERR_BAD_REQUEST, "version must be a whole number");
    else if (span_is(name, "depth") && !whole(value, &r->depth))
        return refuse(r, ERR_BAD_REQUEST, "depth must be a whole number");
    for (size_t i = 0; i < 3; i++)
        if (span_is(name, codes[i]) &&
            (!whole(value, &c->code[i]) || c->code[i] < 200 || c->code[i] > 599))
            return refuse(r, ERR_BAD_REQUEST, "a status is a number from 200 to 599");
    return ERR_OK; /* as Vault, which passes over what it does not know */
}

/* ---- members of bodies ---- */

static struct span text_of(struct reading *r, const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    struct span s =
        v && json_is_string(v) ? span_of(json_string_value(v), json_string_length(v)) : SPAN_NONE;
    return s.len ? arena_copy(r->arena, s) : SPAN_NONE;
}

/* "90s", "1h30m", "10" or 10 (seconds), as Vault takes them; "": none. */
static bool duration(struct span s, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
                  { "h", 3600000 }, { "d", 86400000 }, { "", 1000 } };
    *ms = 0;
    while (s.len) {
        int64_t n;
        size_t digits = 0, letters, u = 0;
        while (digits < s.len && s.data[digits] >= '0' && s.data[digits] <= '9')
            digits++;
        letters = digits;
        while (letters < s.len && (s.data[letters] < '0' || s.data[letters] > '9'))
            letters++;
        struct span unit = span_of(s.data + digits, letters - digits);
        while (u < 6 && !span_is(unit, units[u].unit))
            u++;
        if (u == 6 || digits > 12 || !whole(span_of(s.data, digits), &n))
            return false;
        *ms += n * units[u].ms;
        if (*ms > SECRET_DELETE_AFTER_MAX_S * 1000)
            return false;
        s = span_from(s, letters);
    }
    return true;
}

/* -1: it is not there. */
static enum err take_duration(struct reading *r, const json_t *object, const char *name,
                              int64_t *ms)
{
    const json_t *v = json_object_get(object, name);
    *ms = -1;
    if (!v || json_is_null(v))
        return ERR_OK;
    bool good = json_is_string(v)
                    ? duration(span_of(json_string_value(v), json_string_length(v)), ms)
                    : json_is_integer(v) && json_integer_value(v) >= 0 &&
                          json_integer_value(v) <= SECRET_DELETE_AFTER_MAX_S;
    if (good && json_is_integer(v))
        *ms = json_integer_value(v) * 1000;
    return good ? ERR_OK : refuse(r, ERR_BAD_REQUEST, "this is no duration, such as 1h30m or 90");
}

static enum err take_whole(struct reading *r, const json_t *object, const char *name, int64_t max,
                           int64_t *out)
{
    const json_t *v = json_object_get(object, name);
    int64_t n = -1;
    bool good =
        !v || json_is_null(v) ||
        (json_is_string(v) && whole(span_of(json_string_value(v), json_string_length(v)), &n));
    if (v && json_is_integer(v)) {
        n = json_integer_value(v);
        good = n >= 0;
    }
    *out = n;
    return good && n <= max ? ERR_OK
                            : refuse(r, ERR_BAD_REQUEST, "a number is no number, or too large");
}

static int whether(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return v && json_is_boolean(v) ? json_is_true(v) : -1;
}

/* ---- bodies of what is not of secrets ---- */

static enum err take_batch(struct reading *r, const json_t *items)
{
    struct vault_body *b = &r->call->body;
    bool opens = r->call->op != VAULT_TRANSIT_ENCRYPT;
    size_t n = json_array_size(items);
    if (!json_is_array(items) || !n || n > VAULT_BATCH_MAX)
        return refuse(r, ERR_BAD_REQUEST, "batch_input has 1 to 1000 objects");
    struct span *texts = ARENA_ARRAY(r->arena, struct span, n);
    for (size_t i = 0; i < n; i++)
        texts[i] = text_of(r, json_array_get(items, i), opens ? "ciphertext" : "plaintext");
    b->batch = texts;
    b->n_batch = n;
    b->batched = true;
    return ERR_OK;
}

static bool has_items(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return v && (json_array_size(v) || json_string_length(v));
}

static enum err take_times(struct reading *r, const json_t *o)
{
    struct vault_body *b = &r->call->body;
    bool role = r->call->op == VAULT_APPROLE;
    enum err e = take_duration(r, o, role ? "token_ttl" : "ttl", &b->ttl_ms);
    if (e == ERR_OK && b->ttl_ms < 0)
        e = take_duration(r, o, "increment", &b->ttl_ms);
    if (e == ERR_OK)
        e = take_duration(r, o, role ? "token_max_ttl" : "explicit_max_ttl", &b->max_ttl_ms);
    if (e == ERR_OK)
        e = take_duration(r, o, "secret_id_ttl", &b->secret_id_ttl_ms);
    if (e == ERR_OK)
        e = take_whole(r, o, "secret_id_num_uses", INT32_MAX, &b->secret_id_uses);
    if (e == ERR_OK)
        e = take_whole(r, o, role ? "token_num_uses" : "num_uses", INT32_MAX, &b->uses);
    return e;
}

static enum err take_members(struct reading *r, const json_t *o)
{
    struct vault_body *b = &r->call->body;
    const json_t *batch = json_object_get(o, "batch_input");
    b->role_id = text_of(r, o, "role_id");
    b->secret_id = text_of(r, o, "secret_id");
    b->password = text_of(r, o, "password");
    b->token = text_of(r, o, "token");
    b->accessor = text_of(r, o, "secret_id_accessor");
    b->display_name = text_of(r, o, "display_name");
    b->type = text_of(r, o, "type");
    b->plaintext = text_of(r, o, "plaintext");
    b->ciphertext = text_of(r, o, "ciphertext");
    b->renewable = whether(o, "renewable");
    b->policies = has_items(o, "policies") || has_items(o, "token_policies");
    enum err e = take_times(r, o);
    return e == ERR_OK && batch ? take_batch(r, batch) : e;
}

/* ---- secrets ---- */

static enum err take_versions(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->call->rest.secret;
    const json_t *list = json_object_get(body, "versions");
    if (!json_array_size(list) || json_array_size(list) > SECRET_VERSIONS_MAX)
        return refuse(r, ERR_BAD_REQUEST, "no version number provided");
    for (; a->n_numbers < json_array_size(list); a->n_numbers++) {
        const json_t *v = json_array_get(list, a->n_numbers);
        int64_t *out = &a->numbers[a->n_numbers];
        *out = json_integer_value(v);
        if (json_is_string(v) && !whole(span_of(json_string_value(v), json_string_length(v)), out))
            *out = 0;
        if (*out <= 0)
            return refuse(r, ERR_BAD_REQUEST, "versions are numbers, from 1");
    }
    return ERR_OK;
}

static enum err take_data(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->call->rest.secret;
    const json_t *data = json_object_get(body, "data");
    const json_t *cas = json_object_get(json_object_get(body, "options"), "cas");
    struct buf b;
    if (!json_is_object(data))
        return refuse(r, ERR_BAD_REQUEST, "no data provided");
    if (cas) {
        a->has_check = true;
        enum err e = take_whole(r, json_object_get(body, "options"), "cas", INT64_MAX, &a->check);
        if (e != ERR_OK)
            return e;
    }
    buf_open(&b, r->arena->alloc);
    jsonr_write(data, &b);
    bool fit = b.len <= SECRET_DATA_MAX;
    if (fit)
        a->data = arena_copy(r->arena, buf_all(&b));
    memset(b.data, 0, b.len);
    buf_close(&b);
    return fit ? ERR_OK
               : refuse(r, ERR_BODY_TOO_LARGE, "the data of one version are 65536 bytes at most");
}

/* Texts by name, and no more of either than Vault takes. */
static enum err take_custom(struct reading *r, const json_t *custom)
{
    const char *name;
    json_t *value;
    struct buf b;
    bool good = json_is_object(custom) && json_object_size(custom) <= 64;
    json_object_foreach((json_t *)(uintptr_t)custom, name, value)
    {
        bool gone = json_is_null(value) && span_is(r->method, "PATCH");
        good = good && strlen(name) <= 128 &&
               (gone || (json_is_string(value) && json_string_length(value) <= 512));
    }
    if (!good)
        return refuse(r, ERR_BAD_REQUEST,
                      "custom_metadata is an object of 64 strings of 512 bytes at most");
    buf_open(&b, r->arena->alloc);
    jsonr_write(custom, &b);
    good = b.len <= SECRET_CUSTOM_MAX;
    r->call->rest.secret->custom = arena_copy(r->arena, buf_all(&b));
    buf_close(&b);
    return good ? ERR_OK : refuse(r, ERR_BAD_REQUEST, "custom_metadata is too large");
}

static enum err take_settings(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->call->rest.secret;
    const json_t *custom = json_object_get(body, "custom_metadata");
    enum err e = take_whole(r, body, "max_versions", SECRET_VERSIONS_MAX, &a->versions_max);
    if (e == ERR_OK)
        e = take_duration(r, body, "delete_version_after", &a->delete_after_ms);
    a->check_required = whether(body, "cas_required");
    a->reason_required = -1;
    a->custom_merges = span_is(r->method, "PATCH");
    return e == ERR_OK && custom && !json_is_null(custom) ? take_custom(r, custom) : e;
}

static enum err take_seal(struct reading *r, const json_t *body)
{
    struct secret_ask *a = r->call->rest.secret;
    enum err e = take_whole(r, body, "secret_shares", SECRET_SHARES_MAX, &a->shares);
    if (e == ERR_OK)
        e = take_whole(r, body, "secret_threshold", SECRET_SHARES_MAX, &a->threshold);
    a->data = text_of(r, body, "key");
    a->reset = whether(body, "reset") == 1;
    if (e == ERR_OK && a->verb == SECRET_INIT && !secret_shares_good(a))
        e = refuse(r, ERR_BAD_REQUEST,
                   "secret_threshold is from 2 to secret_shares, and those 64 "
                   "at most; or both are 1");
    return e;
}

static enum err take_body(struct reading *r)
{
    char why[JSONR_WHY_MAX];
    json_t *body;
    struct secret_ask *a = r->call->rest.secret;
    struct span text = r->http->body.len ? r->http->body : SPAN("{}");
    enum err e = jsonr_read(text, &body, why);
    if (e != ERR_OK)
        return refuse(r, e, NULL); /* why would quote what is secret */
    if (!json_is_object(body))
        e = refuse(r, ERR_BODY_NOT_JSON, NULL);
    else if (!a)
        e = take_members(r, body);
    else if (a->verb == SECRET_PUT || a->verb == SECRET_PATCH)
        e = take_data(r, body);
    else if (a->verb == SECRET_CONFIGURE || a->verb == SECRET_SETTINGS_PUT)
        e = take_settings(r, body);
    else if (a->verb == SECRET_INIT || a->verb == SECRET_UNSEAL)
        e = take_seal(r, body);
    else
        e = take_versions(r, body);
    json_decref(body);
    return e;
}

/* Which verb an operation is, by its method. */
static const struct {
    enum vault_op op;
    const char *method;
    enum secret_verb verb;
    bool body;
} verbs[] = {
    { VAULT_INIT, "GET", SECRET_STATUS, false },
    { VAULT_INIT, "POST", SECRET_INIT, true },
    { VAULT_UNSEAL, "POST", SECRET_UNSEAL, true },
    { VAULT_SEAL, "POST", SECRET_SEAL_UP, false },
    { VAULT_CONFIG, "GET", SECRET_SETTINGS_GET, false },
    { VAULT_CONFIG, "POST", SECRET_SETTINGS_PUT, true },
    { VAULT_DATA, "GET", SECRET_GET, false },
    { VAULT_DATA, "POST", SECRET_PUT, true },
    { VAULT_DATA, "PATCH", SECRET_PATCH, true },
    { VAULT_DATA, "DELETE", SECRET_DELETE, false },
    { VAULT_METADATA, "GET", SECRET_VERSIONS, false },
    { VAULT_METADATA, "LIST", SECRET_LIST, false },
    { VAULT_METADATA, "POST", SECRET_CONFIGURE, true },
    { VAULT_METADATA, "PATCH", SECRET_CONFIGURE, true },
    { VAULT_METADATA, "DELETE", SECRET_REMOVE, false },
    { VAULT_DELETE, "POST", SECRET_DELETE, true },
    { VAULT_UNDELETE, "POST", SECRET_UNDELETE, true },
    { VAULT_DESTROY, "POST", SECRET_DESTROY, true },
    { VAULT_SUBKEYS, "GET", SECRET_SUBKEYS, false },
    { VAULT_MOUNTS, "GET", SECRET_NAMESPACES, false },
    { VAULT_MOUNT, "GET", SECRET_SETTINGS_GET, false },
    { VAULT_MOUNT, "POST", SECRET_SETTINGS_PUT, true },
    { VAULT_MOUNT, "DELETE", SECRET_NAMESPACE_REMOVE, false },
    { VAULT_UI_MOUNT, "GET", SECRET_SETTINGS_GET, false },
};

static bool is_reserved(struct span mount)
{
    static const char *const names[] = { "sys", "auth", "transit", "identity", "cubbyhole" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (span_is(mount, names[i]))
            return true;
    return false;
}

static enum err check_path(struct reading *r, struct secret_ask *a)
{
    bool of_one = r->call->op >= VAULT_DATA && a->verb != SECRET_LIST;
    if (!secret_namespace_good(a->name_space) || is_reserved(a->name_space))
        return refuse(r, ERR_NOT_FOUND, "no handler for this route");
    if (of_one && !secret_path_good(a->path))
        return refuse(r, ERR_BAD_REQUEST,
                      "a path has 1 to 1024 bytes, no control characters, no "
                      "empty part");
    return ERR_OK;
}

static struct span with_slash(struct span s, struct arena *arena)
{
    if (!s.len || s.data[s.len - 1] == '/')
        return s;
    uint8_t *p = arena_alloc(arena, s.len + 1);
    memcpy(p, s.data, s.len);
    p[s.len] = '/';
    return span_of(p, s.len + 1);
}

static bool is_patch(const struct http_request *http)
{
    struct span type;
    return http_header_find(http, "content-type", &type) &&
           span_starts(type, SPAN("application/merge-patch+json"));
}

static enum err read_secret(struct reading *r, size_t row)
{
    struct vault_call *c = r->call;
    struct secret_ask *a = ARENA_NEW(r->arena, struct secret_ask);
    c->rest.secret = a;
    a->verb = verbs[row].verb;
    a->name_space = c->op <= VAULT_MOUNTS ? SPAN(SECRET_NAMESPACE) : c->name;
    if (c->op == VAULT_UI_MOUNT)
        a->name_space = take_part(&c->name);
    a->path = a->verb == SECRET_LIST ? with_slash(c->more, r->arena) : c->more;
    a->version = r->version;
    a->depth = r->depth;
    a->reason = arena_copy(r->arena, r->reason);
    a->versions_max = a->delete_after_ms = a->check_required = a->reason_required = -1;
    a->must_exist = span_is(r->method, "PATCH");
    enum err e = check_path(r, a);
    if (e == ERR_OK && a->verb == SECRET_PATCH && !is_patch(r->http))
        e = refuse(r, ERR_MEDIA_TYPE, "PATCH wants content-type: application/merge-patch+json");
    if (e == ERR_OK && verbs[row].body)
        e = take_body(r);
    if (e == ERR_OK)
        rest_secret_request(a, r->arena, &c->rest.request);
    return e;
}

/* ---- all else: what has to be permitted before the node does it ---- */

/* The state as of now, and nobody's right to it: what is asked is looked at by the node. */
static void ask_state(struct vault_call *c)
{
    c->rest.request.type = REQUEST_AUTH_STATUS;
}

static void ask_key(struct vault_call *c, struct span key, struct span range_end)
{
    c->rest.request.type = REQUEST_RANGE;
    c->rest.request.range =
        (struct kv_range){ .key = key, .range_end = range_end, .keys_only = true };
}

static struct span joined(struct reading *r, struct span a, struct span b)
{
    uint8_t *p = arena_alloc(r->arena, a.len + b.len);
    memcpy(p, a.data, a.len);
    if (b.len)
        memcpy(p + a.len, b.data, b.len);
    return span_of(p, a.len + b.len);
}

static enum err read_other(struct reading *r)
{
    struct vault_call *c = r->call;
    bool roles = c->op >= VAULT_APPROLES && c->op <= VAULT_APPROLE_ACCESSOR_DESTROY;
    bool transit = c->op >= VAULT_TRANSIT_KEYS && c->op <= VAULT_TRANSIT_REWRAP;
    struct span root = roles ? SPAN(BEARER_ROLES) : SPAN(SECRET_TRANSIT);
    if (c->op <= VAULT_LEADER)
        return ERR_OK; /* of the node alone */
    if (!roles && !transit)
        ask_state(c);
    else if (!c->name.len)
        ask_key(c, root, kv_prefix_end(root, r->arena));
    else if (!bearer_name_good(c->name))
        return refuse(r, ERR_BAD_REQUEST,
                      "a name has 1 to 128 letters, digits, dots, hyphens and underscores");
    else
        ask_key(c, joined(r, root, c->name), SPAN_NONE);
    c->rest.request.serializable = false;
    return span_is(r->method, "POST") ? take_body(r) : ERR_OK;
}

/* What no answer here could keep to. */
static enum err check_headers(struct reading *r)
{
    struct span v;
    (void)http_header_find(r->http, "x-confman-reason", &r->reason);
    if (r->reason.len > SECRET_REASON_MAX)
        r->reason.len = SECRET_REASON_MAX;
    if (http_header_find(r->http, "x-vault-wrap-ttl", &v) && v.len && !span_is(v, "0"))
        return refuse(r, ERR_BAD_REQUEST, "response wrapping is not offered here");
    if (http_header_find(r->http, "x-vault-namespace", &v) && v.len && !span_is(v, "/") &&
        !span_is(v, "root") && !span_is(v, "root/"))
        return refuse(r, ERR_BAD_REQUEST,
                      "namespaces are not offered here: a mount is confman's namespace");
    return ERR_OK;
}

bool vault_takes(struct span path)
{
    return span_starts(path, SPAN("/v1/auth/approle/role"));
}

enum err vault_call(const struct http_request *http, struct arena *arena, struct vault_call *out,
                    const char **detail)
{
    struct reading r = { .http = http, .arena = arena, .call = out, .detail = detail };
    *out = (struct vault_call){ .rest = { .door = REST_VAULT, .route = -1 } };
    out->body.ttl_ms = out->body.max_ttl_ms = -1;
    out->body.secret_id_ttl_ms = out->body.secret_id_uses = out->body.renewable = -1;
    *detail = NULL;
    if (!span_starts(http->path, SPAN("/v1/")))
        return refuse(&r, ERR_NOT_FOUND, "no handler for this route");
    enum err e = http_query_each(http->query, arena, take_pair, &r);
    r.method = span_is(http->method, "PUT")             ? SPAN("POST")
               : span_is(http->method, "GET") && r.list ? SPAN("LIST")
                                                        : http->method;
    r.list = span_is(r.method, "LIST");
    out->head = span_is(http->method, "HEAD");
    if (e == ERR_OK)
        e = find_op(&r);
    if (e == ERR_OK)
        e = check_headers(&r);
    if (e != ERR_OK)
        return e;
    r.method = arena_copy(arena, r.method);
    out->method = r.method; /* the call may live longer than its head */
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (verbs[i].op == out->op && span_is(r.method, verbs[i].method))
            return read_secret(&r, i);
    return read_other(&r);
}
