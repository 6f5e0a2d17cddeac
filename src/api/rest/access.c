/* Users, roles, logins and who asks, over REST: what is asked, and the answers. The node does what
 * lies between: it has the passwords, and takes the steps to what users and roles shall be. */
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

#define USERS "/v1/users/"
#define ROLES "/v1/roles/"

struct reading {
    const struct http_request *http;
    struct arena *arena;
    struct access_ask *ask;
    const char **detail;
    struct span action;
};

static enum err refuse(const struct reading *r, const char *detail)
{
    *r->detail = detail;
    return ERR_BAD_REQUEST;
}

static struct span copy(const struct reading *r, const json_t *text)
{
    return arena_copy(r->arena, span_of(json_string_value(text), json_string_length(text)));
}

/* ---- what a body says ---- */

static enum err read_roles(struct reading *r, const json_t *body)
{
    const json_t *list = json_object_get(body, "roles");
    size_t n = json_array_size(list);
    struct span *roles = ARENA_ARRAY(r->arena, struct span, n + 1);
    if (!json_is_array(list) || n > REST_USER_ROLES_MAX)
        return refuse(r, "the body wants {\"roles\": [...]}, names of 64 roles at most");
    for (size_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name))
            return refuse(r, "a role is given by its name");
        roles[i] = copy(r, name);
    }
    r->ask->goal.roles = roles;
    r->ask->goal.n_roles = n;
    r->ask->goal.exact = true;
    return ERR_OK;
}

static bool read_key(struct reading *r, const json_t *value, struct span *out)
{
    const json_t *text = json_object_get(value, "base64");
    struct buf b;
    *out = SPAN_NONE;
    if (!value || json_is_string(value)) {
        *out = value ? copy(r, value) : SPAN_NONE;
        return true;
    }
    buf_open(&b, r->arena->alloc);
    bool ok = json_is_string(text) &&
              jsonr_base64(span_of(json_string_value(text), json_string_length(text)), false, &b);
    if (ok)
        *out = arena_copy(r->arena, buf_all(&b));
    buf_close(&b);
    return ok;
}

static const char *const rights[] = { "read", "write", "readwrite" }; /* enum auth_right */

static enum err read_permission(struct reading *r, const json_t *value, struct grants *out)
{
    struct auth_permission p = { .right = AUTH_RIGHTS };
    const char *right = json_string_value(json_object_get(value, "right"));
    const json_t *prefix = json_object_get(value, "prefix");
    const json_t *end = json_object_get(value, "range_end");
    for (int i = 0; i < AUTH_RIGHTS && right; i++)
        if (strcmp(right, rights[i]) == 0)
            p.right = i;
    if (p.right == AUTH_RIGHTS)
        return refuse(r, "a permission's right is read, write or readwrite");
    const json_t *key = prefix ? prefix : json_object_get(value, "key");
    if (!read_key(r, key, &p.key) || !read_key(r, end, &p.range_end) || (prefix && end) || !key)
        return refuse(r, "a permission has prefix, or key and perhaps range_end: texts, or "
                         "{\"base64\": ...}");
    if (prefix) {
        p.range_end = kv_prefix_end(p.key, r->arena);
        p.key = p.key.len ? p.key : SPAN("\0");
    }
    return grants_add(out, p) ? ERR_OK : refuse(r, GRANTS_RULE);
}

/* {"environment" or "namespace", "prefix", "verbs": [...]} */
static enum err read_grant(struct reading *r, const json_t *value, struct grants *out)
{
    const json_t *environment = json_object_get(value, "environment");
    const json_t *name_space = json_object_get(value, "namespace");
    const json_t *prefix = json_object_get(value, "prefix"), *verb;
    const json_t *place = environment ? environment : name_space;
    struct grant g = { .of_secrets = !environment };
    size_t i;
    if (!json_is_string(place) || (environment && name_space) ||
        (prefix && !json_is_string(prefix)))
        return refuse(r, "a grant is {environment or namespace, prefix, verbs}");
    g.place = copy(r, place);
    g.prefix = prefix ? copy(r, prefix) : SPAN_NONE;
    if (!g.place.len || memchr(g.place.data, '/', g.place.len))
        return refuse(r, "the name of an environment or a namespace is empty or has a slash");
    json_array_foreach(json_object_get(value, "verbs"), i, verb)
    {
        const char *why = grant_verb(&g, json_string_value(verb));
        if (why)
            return refuse(r, why);
    }
    if (!g.verbs)
        return refuse(r, "a grant wants verbs: read, propose, approve, put, delete, publish, "
                         "write, admin; of secrets reveal, write, admin");
    return grant_expand(&g, r->arena, out) ? ERR_OK : refuse(r, GRANTS_RULE);
}

static enum err read_role(struct reading *r, const json_t *body, struct grants *out)
{
    const json_t *value;
    size_t i;
    enum err e = ERR_OK;
    json_array_foreach(json_object_get(body, "permissions"), i, value)
    {
        e = e == ERR_OK ? read_permission(r, value, out) : e;
    }
    json_array_foreach(json_object_get(body, "grants"), i, value)
    {
        e = e == ERR_OK ? read_grant(r, value, out) : e;
    }
    return e;
}

static enum err read_login(struct reading *r, const json_t *body)
{
    const json_t *user = json_object_get(body, "user"), *word = json_object_get(body, "password");
    r->ask->cookie = json_is_true(json_object_get(body, "cookie"));
    if (!json_is_string(user) || !json_is_string(word))
        return refuse(r, "the body wants {\"user\": ..., \"password\": ...}");
    r->ask->name = copy(r, user);
    r->ask->password = copy(r, word);
    return ERR_OK;
}

static enum err read_password(struct reading *r, const json_t *body)
{
    const json_t *word = json_object_get(body, "password");
    if (!json_is_string(word) || !json_string_length(word))
        return refuse(r, "the body wants {\"password\": ...}");
    r->ask->password = copy(r, word);
    return ERR_OK;
}

static enum err read_grants(struct reading *r, const json_t *body)
{
    struct access_ask *a = r->ask;
    struct grants *list = ARENA_NEW(r->arena, struct grants);
    bool one = a->verb == ACCESS_ROLE_GRANT || a->verb == ACCESS_ROLE_REVOKE;
    enum err e = one ? read_grant(r, body, list) : read_role(r, body, list);
    if (a->verb == ACCESS_ROLE_REVOKE) {
        a->goal.taken = list->items;
        a->goal.n_taken = list->own; /* what several grants share stays */
    } else {
        a->goal.permissions = list->items;
        a->goal.n_permissions = list->n;
    }
    a->goal.exact = !one;
    return e;
}

static enum err read_body(struct reading *r)
{
    char why[JSONR_WHY_MAX];
    json_t *body;
    enum err e = jsonr_read(r->http->body, &body, why);
    if (e != ERR_OK)
        return e; /* why might quote a password */
    if (!json_is_object(body))
        e = refuse(r, "the body must be a JSON object");
    else if (r->ask->verb == ACCESS_LOGIN)
        e = read_login(r, body);
    else if (r->ask->verb == ACCESS_USER_PASSWORD)
        e = read_password(r, body);
    else if (r->ask->verb == ACCESS_USER_SET || r->ask->verb == ACCESS_ACCOUNT_SET)
        e = read_roles(r, body);
    else if (r->ask->verb != ACCESS_ACCOUNT_KEY)
        e = read_grants(r, body);
    if (e == ERR_OK)
        e = account_body(body, r->ask, r->detail);
    json_decref(body);
    return e;
}

/* ---- what is asked ---- */

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct reading *r = context;
    if (span_is(name, "action"))
        r->action = value;
    else if (span_is(name, "key"))
        r->ask->key_id = arena_copy(r->arena, value);
    else
        return refuse(r, "unknown query parameter; known are: action, and key of an account");
    return ERR_OK;
}

enum { ANY = -1 };

/* A verb for each way to ask, and what of the core it asks first: who may not is refused there. */
static const struct {
    int route;
    const char *method, *action;
    enum access_verb verb;
    bool body;
    enum request_type type; /* NONE: nobody is asked who they are */
} verbs[] = {
    { ROUTE_ME, "GET", "", ACCESS_ME, false, REQUEST_AUTH_STATUS },
    { ROUTE_LOGIN, "GET", "", ACCESS_LOGINS, false, REQUEST_NONE },
    { ROUTE_LOGIN, "POST", "", ACCESS_LOGIN, true, REQUEST_AUTHENTICATE },
    { ROUTE_LOGIN_OIDC, "GET", "", ACCESS_OIDC_START, false, REQUEST_NONE },
    { ROUTE_LOGIN_BACK, "GET", "", ACCESS_OIDC_BACK, false, REQUEST_NONE },
    { ROUTE_LOGOUT, "POST", "", ACCESS_LOGOUT, false, REQUEST_NONE },
    { ROUTE_ACCOUNTS, "GET", "", ACCESS_ACCOUNTS, false, REQUEST_RANGE },
    { ROUTE_ACCOUNT, "GET", "", ACCESS_ACCOUNT, false, REQUEST_RANGE },
    { ROUTE_ACCOUNT, "PUT", "", ACCESS_ACCOUNT_SET, true, REQUEST_USER_LIST },
    { ROUTE_ACCOUNT, "POST", "key", ACCESS_ACCOUNT_KEY, true, REQUEST_USER_LIST },
    { ROUTE_ACCOUNT, "POST", "rotate", ACCESS_ACCOUNT_KEY, true, REQUEST_USER_LIST },
    { ROUTE_ACCOUNT, "DELETE", "", ACCESS_ACCOUNT_DELETE, false, REQUEST_USER_LIST },
    { ROUTE_USERS, "GET", "", ACCESS_USERS, false, REQUEST_USER_LIST },
    { ROUTE_USER, "GET", "", ACCESS_USER, false, REQUEST_USER_GET },
    { ROUTE_USER, "PUT", "", ACCESS_USER_SET, true, REQUEST_USER_LIST },
    { ROUTE_USER, "POST", "password", ACCESS_USER_PASSWORD, true, REQUEST_USER_PASSWORD },
    { ROUTE_USER, "DELETE", "", ACCESS_DELETE, false, REQUEST_USER_DELETE },
    { ROUTE_ROLES, "GET", "", ACCESS_ROLES, false, REQUEST_ROLE_LIST },
    { ROUTE_ROLE, "GET", "", ACCESS_ROLE, false, REQUEST_ROLE_GET },
    { ROUTE_ROLE, "PUT", "", ACCESS_ROLE_SET, true, REQUEST_ROLE_LIST },
    { ROUTE_ROLE, "POST", "grant", ACCESS_ROLE_GRANT, true, REQUEST_ROLE_LIST },
    { ROUTE_ROLE, "POST", "revoke", ACCESS_ROLE_REVOKE, true, REQUEST_ROLE_LIST },
    { ROUTE_ROLE, "DELETE", "", ACCESS_DELETE, false, REQUEST_ROLE_DELETE },
};
enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

int access_route(struct span path)
{
    if (span_is(path, "/v1/me"))
        return ROUTE_ME;
    if (span_is(path, "/v1/login"))
        return ROUTE_LOGIN;
    if (span_is(path, "/v1/login/oidc"))
        return ROUTE_LOGIN_OIDC;
    if (span_is(path, "/v1/login/callback"))
        return ROUTE_LOGIN_BACK;
    if (span_is(path, "/v1/logout"))
        return ROUTE_LOGOUT;
    if (span_is(path, "/v1/service-accounts"))
        return ROUTE_ACCOUNTS;
    if (span_starts(path, SPAN(ACCOUNTS)))
        return ROUTE_ACCOUNT;
    if (span_is(path, "/v1/users"))
        return ROUTE_USERS;
    if (span_starts(path, SPAN(USERS)))
        return ROUTE_USER;
    if (span_is(path, "/v1/roles"))
        return ROUTE_ROLES;
    return span_starts(path, SPAN(ROLES)) ? ROUTE_ROLE : -1;
}

bool access_takes(int route)
{
    for (size_t i = 0; i < VERBS; i++)
        if (verbs[i].route == route)
            return true;
    return false;
}

static enum err read_name(struct reading *r, int route)
{
    struct access_ask *a = r->ask;
    size_t start = route == ROUTE_USER      ? sizeof(USERS) - 1
                   : route == ROUTE_ACCOUNT ? sizeof(ACCOUNTS) - 1
                                            : sizeof(ROLES) - 1;
    if (route != ROUTE_USER && route != ROUTE_ROLE && route != ROUTE_ACCOUNT)
        return ERR_OK;
    enum err e = http_decode(span_from(r->http->path, start), false, r->arena, &a->name);
    if (e != ERR_OK)
        return refuse(r, "a percent escape is not valid");
    a->name = arena_copy(r->arena, a->name);
    if (!a->name.len || a->name.len > AUTH_NAME_MAX || !pb_utf8(a->name))
        return refuse(r, "a name has 1 to 1024 bytes, in UTF-8");
    if (route == ROUTE_ACCOUNT && !account_name_good(a->name))
        return refuse(r, "an account's name has 1 to 60 letters, digits and hyphens");
    if (route == ROUTE_USER)
        a->goal.user = a->name;
    else if (route == ROUTE_ROLE)
        a->goal.role = a->name;
    return ERR_OK;
}

static void make_request(const struct access_ask *a, struct request *out)
{
    if (out->type == REQUEST_ROLE_GET || out->type == REQUEST_ROLE_DELETE)
        out->auth.role = a->name;
    else if (out->type == REQUEST_USER_GET || out->type == REQUEST_USER_DELETE ||
             out->type == REQUEST_AUTHENTICATE || out->type == REQUEST_USER_PASSWORD)
        out->auth.user = a->name;
    out->auth.password = a->password;
}

enum err access_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                     const char **detail)
{
    struct access_ask *a = ARENA_NEW(arena, struct access_ask);
    struct reading r = { .http = http, .arena = arena, .ask = a, .detail = detail };
    size_t i = 0;
    *detail = "a percent escape is not valid";
    bool back = out->route == ROUTE_LOGIN_BACK; /* its query is the issuer's */
    enum err e = back ? ERR_OK : http_query_each(http->query, arena, take_pair, &r);
    if (e == ERR_OK)
        e = read_name(&r, out->route);
    if (e != ERR_OK)
        return e;
    while (i < VERBS && (verbs[i].route != out->route ||
                         !span_is(out->head ? SPAN("GET") : http->method, verbs[i].method) ||
                         !span_is(r.action, verbs[i].action)))
        i++;
    if (i == VERBS)
        return refuse(&r, "POST wants ?action=: password of a user, grant or revoke of a role, key "
                          "or rotate of an account; the other methods want none");
    *detail = NULL;
    out->access = a;
    a->verb = verbs[i].verb;
    a->rotates = span_is(r.action, "rotate");
    if (a->verb == ACCESS_ACCOUNT_DELETE && a->key_id.len)
        a->verb = ACCESS_ACCOUNT_DROP;
    if (verbs[i].body && !rest_is_json(http))
        return ERR_MEDIA_TYPE;
    e = verbs[i].body ? read_body(&r) : ERR_OK;
    if (e == ERR_OK && a->verb >= ACCESS_ROLE_SET && span_is(a->name, "root"))
        e = refuse(&r, "the role root may do everything, always");
    out->request.type = verbs[i].type;
    out->request.serializable = a->verb == ACCESS_ME;
    if (out->request.type == REQUEST_RANGE)
        account_request(a, arena, &out->request);
    else
        make_request(a, &out->request);
    return e;
}

/* ---- answers ---- */

static void key_write(struct jsonw *w, const char *name, struct span key)
{
    struct buf b;
    jsonw_name(w, name);
    if (pb_utf8(key)) {
        jsonw_text(w, key);
        return;
    }
    buf_open(&b, w->out->alloc);
    jsonw_base64(key, false, &b);
    jsonw_object(w);
    jsonw_name(w, "base64");
    jsonw_text(w, buf_all(&b));
    jsonw_object_end(w);
    buf_close(&b);
}

static void permission_write(struct jsonw *w, const struct auth_permission *p, struct arena *arena)
{
    bool known = p->right >= 0 && p->right < AUTH_RIGHTS;
    jsonw_object(w);
    jsonw_name(w, "right");
    jsonw_text(w, span_text(known ? rights[p->right] : "unknown"));
    if (p->range_end.len && span_equal(p->range_end, kv_prefix_end(p->key, arena))) {
        key_write(w, "prefix", p->key);
    } else {
        key_write(w, "key", p->key);
        if (p->range_end.len)
            key_write(w, "range_end", p->range_end);
    }
    jsonw_object_end(w);
}

static void permissions_write(struct jsonw *w, const struct auth *auth, struct span role,
                              struct arena *arena)
{
    struct auth_permissions list = { NULL, 0 };
    bool ok = auth_role_permissions(auth, role, arena, &list) == ERR_OK;
    jsonw_name(w, "permissions");
    jsonw_array(w);
    for (size_t i = 0; ok && i < list.n; i++)
        permission_write(w, &list.items[i], arena);
    jsonw_array_end(w);
    jsonw_name(w, "grants");
    jsonw_array(w);
    for (size_t i = 0; ok && i < list.n; i++)
        grant_write(w, &list.items[i], arena);
    jsonw_array_end(w);
}

static void role_write(struct jsonw *w, const struct auth *auth, struct span role,
                       struct arena *arena)
{
    jsonw_object(w);
    jsonw_name(w, "name");
    jsonw_text(w, role);
    permissions_write(w, auth, role, arena);
    jsonw_object_end(w);
}

static void roles_of(struct jsonw *w, const struct auth *auth, struct span user,
                     struct arena *arena)
{
    struct auth_names roles = { NULL, 0 };
    bool ok = auth_user_roles(auth, user, arena, &roles) == ERR_OK;
    jsonw_name(w, "roles");
    jsonw_array(w);
    for (size_t i = 0; ok && i < roles.n; i++)
        jsonw_text(w, roles.items[i]);
    jsonw_array_end(w);
}

static void user_write(struct jsonw *w, const struct auth *auth, struct span user,
                       struct arena *arena)
{
    jsonw_object(w);
    jsonw_name(w, "name");
    jsonw_text(w, user);
    roles_of(w, auth, user, arena);
    jsonw_object_end(w);
}

static void list_write(struct jsonw *w, const struct auth *auth, bool users, struct arena *arena)
{
    struct auth_names names;
    if (users)
        auth_users(auth, arena, &names);
    else
        auth_roles(auth, arena, &names);
    jsonw_object(w);
    jsonw_name(w, users ? "users" : "roles");
    jsonw_array(w);
    for (size_t i = 0; i < names.n; i++)
        (users ? user_write : role_write)(w, auth, names.items[i], arena);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

/* Who asks, and all that their roles let them do. */
static void me_write(struct jsonw *w, const struct access_facts *f, struct arena *arena)
{
    struct auth_names roles = { NULL, 0 };
    bool known = f->author.len && auth_user_roles(f->auth, f->author, arena, &roles) == ERR_OK;
    jsonw_object(w);
    jsonw_name(w, "authentication");
    jsonw_bool(w, auth_enabled(f->auth));
    jsonw_name(w, "user");
    if (f->author.len)
        jsonw_text(w, f->author);
    else
        jsonw_raw(w, SPAN("null"));
    jsonw_name(w, "admin");
    jsonw_bool(w, !auth_enabled(f->auth) || auth_has_role(f->auth, f->author, AUTH_ROOT));
    jsonw_name(w, "roles");
    jsonw_array(w);
    for (size_t i = 0; known && i < roles.n; i++)
        role_write(w, f->auth, roles.items[i], arena);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

static void issuer_write(struct jsonw *w, const struct access_facts *f)
{
    jsonw_object(w);
    jsonw_name(w, "type");
    jsonw_text(w, SPAN("oidc"));
    jsonw_name(w, "url");
    jsonw_text(w, SPAN("/v1/login/oidc"));
    jsonw_name(w, "issuer");
    jsonw_text(w, f->issuer);
    jsonw_name(w, "client_id");
    jsonw_text(w, f->client);
    jsonw_name(w, "scopes");
    jsonw_text(w, f->scopes);
    jsonw_object_end(w);
}

static void logins_write(struct jsonw *w, const struct access_facts *f)
{
    jsonw_object(w);
    jsonw_name(w, "required");
    jsonw_bool(w, auth_enabled(f->auth));
    jsonw_name(w, "methods");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_name(w, "type");
    jsonw_text(w, SPAN("password"));
    jsonw_object_end(w);
    if (f->issuer.len)
        issuer_write(w, f);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

/* HttpOnly: no script reads it; Strict: no page of another site has it sent (RFC 6265bis). */
struct span rest_cookie(struct span token, bool secure, struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_text(&b, REST_SESSION_COOKIE "=");
    buf_span(&b, token);
    buf_text(&b, "; Path=/; HttpOnly; SameSite=Strict");
    buf_text(&b, secure ? "; Secure" : "");
    buf_text(&b, token.len ? "" : "; Max-Age=0");
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static void session_write(struct jsonw *w, const struct access_ask *a, const struct access_facts *f)
{
    jsonw_object(w);
    jsonw_name(w, "user");
    jsonw_text(w, a->name);
    if (!a->cookie) {
        jsonw_name(w, "token");
        jsonw_text(w, f->token);
    }
    jsonw_name(w, "ttl_s");
    jsonw_number(w, f->ttl_ms / 1000);
    jsonw_object_end(w);
}

static void done_write(struct jsonw *w, const char *what)
{
    jsonw_object(w);
    jsonw_name(w, what);
    jsonw_bool(w, true);
    jsonw_object_end(w);
}

void rest_access(const struct rest_call *call, const struct access_facts *f, struct arena *arena,
                 struct rest_answer *out)
{
    const struct access_ask *a = call->access;
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    switch (a->verb) {
    case ACCESS_ME:
        me_write(&w, f, arena);
        break;
    case ACCESS_LOGINS:
        logins_write(&w, f);
        break;
    case ACCESS_LOGIN:
        session_write(&w, a, f);
        break;
    case ACCESS_OIDC_START: /* those are sent elsewhere */
    case ACCESS_OIDC_BACK:
        UNREACHABLE("a login by an issuer has no body");
    case ACCESS_LOGOUT:
        done_write(&w, "logged_out");
        break;
    case ACCESS_USERS:
    case ACCESS_ROLES:
        list_write(&w, f->auth, a->verb == ACCESS_USERS, arena);
        break;
    case ACCESS_USER:
    case ACCESS_USER_SET:
        user_write(&w, f->auth, a->name, arena);
        break;
    case ACCESS_USER_PASSWORD:
        done_write(&w, "changed");
        break;
    case ACCESS_ACCOUNTS: /* see rest_accounts */
    case ACCESS_ACCOUNT:
        UNREACHABLE("service accounts are answered from their records");
    case ACCESS_ACCOUNT_KEY:
        jsonw_object(&w);
        jsonw_name(&w, "key");
        jsonw_text(&w, span_text(a->key));
        jsonw_object_end(&w);
        break;
    case ACCESS_ACCOUNT_SET:
        user_write(&w, f->auth, a->goal.user, arena);
        break;
    case ACCESS_ACCOUNT_DROP:
    case ACCESS_ACCOUNT_DELETE:
    case ACCESS_DELETE:
        done_write(&w, "deleted");
        break;
    case ACCESS_ROLE:
    case ACCESS_ROLE_SET:
    case ACCESS_ROLE_GRANT:
    case ACCESS_ROLE_REVOKE:
        role_write(&w, f->auth, a->name, arena);
        break;
    }
    body_of(out, 200, "application/json", &b, arena);
    add_header(out, "cache-control", SPAN("no-store"));
    if (a->verb == ACCESS_LOGOUT || (a->verb == ACCESS_LOGIN && a->cookie))
        add_header(out, "set-cookie", rest_cookie(f->token, f->secure, arena));
}
