/* `confman seal` and `confman approle`: over HTTP. */
#include <string.h>
#include "cli/cli_int.h"

/* ---- the seal ---- */

static void print_status(const json_t *a)
{
    const json_t *waiting = json_object_get(a, "rewrap_waiting");
    printf("sealed       %s\n", json_is_true(json_object_get(a, "sealed")) ? "yes" : "no");
    printf("initialized  %s\n", json_is_true(json_object_get(a, "initialized")) ? "yes" : "no");
    printf("type         %s\n", json_string_value(json_object_get(a, "type")));
    if (json_integer_value(json_object_get(a, "shares")))
        printf("shares       %lld of %lld open it, %lld have come\n",
               (long long)json_integer_value(json_object_get(a, "threshold")),
               (long long)json_integer_value(json_object_get(a, "shares")),
               (long long)json_integer_value(json_object_get(a, "progress")));
    if (json_object_get(a, "transit_key_version"))
        printf("transit      sealed by version %lld of its key\n",
               (long long)json_integer_value(json_object_get(a, "transit_key_version")));
    if (json_object_get(a, "waits_for"))
        printf("waits for    %s\n", json_string_value(json_object_get(a, "waits_for")));
    if (json_integer_value(waiting))
        printf("rotation     %lld namespaces and transit keys are not done\n",
               (long long)json_integer_value(waiting));
}

static void print_shares(const json_t *a)
{
    size_t i;
    json_t *key;
    json_array_foreach(json_object_get(a, "keys"), i, key)
    {
        printf("share %zu  %s\n", i + 1, json_string_value(key));
    }
    puts("They are shown this once. Give each to another person; the other members are unsealed "
         "with them, too.");
}

/* Only a seal in shares wants one. */
static int share_body(const struct options *o, struct buf *body)
{
    struct buf share, path;
    struct jsonw w;
    json_t *now = NULL;
    buf_open(&path, &cli_heap);
    buf_text(&path, "/v1/seal");
    int asked = door_ask(o, "GET", &path, SPAN_NONE, &now);
    const char *type = json_string_value(json_object_get(now, "type"));
    bool wants = !type || strcmp(type, "shamir") == 0;
    json_decref(now);
    buf_close(&path);
    if (asked != EXIT_DONE || !wants)
        return asked;
    buf_open(&share, &cli_heap);
    int status = credentials_password(o->share_file, "a share of the seal's key (empty: none)",
                                      false, &share);
    if (status == EXIT_DONE) {
        jsonw_open(&w, body);
        jsonw_object(&w);
        if (share.len) {
            jsonw_name(&w, "share");
            jsonw_text(&w, buf_all(&share));
        }
        jsonw_object_end(&w);
    }
    if (share.data)
        explicit_bzero(share.data, share.cap);
    buf_close(&share);
    return status;
}

static void shares_body(const struct options *o, const char *type, struct buf *body)
{
    buf_format(body, "{\"type\":\"%s\",\"shares\":%lld,\"threshold\":%lld,\"renew\":%s}", type,
               (long long)(o->shares ? o->shares : 5),
               (long long)(o->threshold ? o->threshold : 3), o->renew ? "true" : "false");
}

static int seal_verb(const struct options *o, const char *verb, struct buf *path, struct buf *body)
{
    json_t *a;
    bool status_only = strcmp(verb, "status") == 0, migrate = strcmp(verb, "migrate") == 0;
    bool init = strcmp(verb, "init") == 0;
    int status = EXIT_DONE;
    buf_text(path, "/v1/seal");
    if (!status_only)
        buf_format(path, "/%s", verb);
    if (init || migrate)
        shares_body(o, migrate ? o->args[1] : "shamir", body);
    else if (strcmp(verb, "unseal") == 0)
        status = share_body(o, body);
    if (status == EXIT_DONE)
        status = door_ask(o, status_only ? "GET" : "POST", path, buf_all(body), &a);
    if (status == EXIT_DONE && a) {
        if (json_object_get(a, "keys"))
            print_shares(a);
        else
            print_status(a);
        json_decref(a);
    }
    return status;
}

int run_seal(const struct options *o, struct arena *arena)
{
    static const char *const verbs[] = { "status", "init",   "unseal", "seal",
                                         "rotate", "rewrap", "migrate" };
    static const char *const types[] = { "transit", "static", "shamir" };
    struct buf path, body;
    size_t i = 0, type = 0;
    while (i < 7 && strcmp(verbs[i], o->args[0]) != 0)
        i++;
    if (i == 7)
        return cli_complain(EXIT_USAGE,
                            "seal: \"%s\" is not one of status, init, unseal, seal, "
                            "rotate, migrate, rewrap",
                            o->args[0]);
    while (o->n_args == 2 && type < 3 && strcmp(types[type], o->args[1]) != 0)
        type++;
    if (type == 3 || (i == 6) != (o->n_args == 2))
        return cli_complain(EXIT_USAGE, "seal %s: wants %s", verbs[i],
                            i == 6 ? "transit, static or shamir" : "nothing more");
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    int status = seal_verb(o, verbs[i], &path, &body);
    if (body.len)
        explicit_bzero(body.data, body.len);
    buf_close(&path);
    buf_close(&body);
    return status;
}

/* ---- AppRoles ---- */

static const struct verb {
    const char *name, *method, *path; /* behind the name */
    bool wants_name;
} verbs[] = {
    { "list", "LIST", "", false },
    { "put", "POST", "", true },
    { "get", "GET", "", true },
    { "role-id", "GET", "/role-id", true },
    { "secret-id", "POST", "/secret-id", true },
    { "delete", "DELETE", "", true },
};

static void print_data(const json_t *a)
{
    const char *name;
    size_t i;
    json_t *value, *data = json_object_get(a, "data");
    json_array_foreach(json_object_get(data, "keys"), i, value)
    {
        puts(json_string_value(value));
    }
    json_object_foreach(data, name, value)
    {
        if (json_is_string(value))
            printf("%s  %s\n", name, json_string_value(value));
        else if (json_is_integer(value))
            printf("%s  %lld\n", name, (long long)json_integer_value(value));
    }
}

static int approle_verb(const struct options *o, const struct verb *v, struct buf *path,
                        struct buf *body)
{
    json_t *a;
    bool put = strcmp(v->name, "put") == 0;
    buf_text(path, "/v1/auth/approle/role");
    if (v->wants_name) {
        buf_u8(path, '/');
        path_add(path, o->args[1], "");
    }
    buf_text(path, v->path);
    if (put && o->ttl)
        buf_format(body, "{\"token_ttl\":%lld}", (long long)o->ttl);
    int status = door_ask(o, v->method, path, buf_all(body), &a);
    if (status == EXIT_DONE && !o->json) {
        if (a)
            print_data(a);
        else
            puts("OK");
    }
    json_decref(a);
    return status;
}

int run_approle(const struct options *o, struct arena *arena)
{
    const struct verb *v = NULL;
    struct buf path, body;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].name, o->args[0]) == 0)
            v = &verbs[i];
    if (!v || v->wants_name != (o->n_args == 2))
        return cli_usage(o);
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    int status = approle_verb(o, v, &path, &body);
    buf_close(&path);
    buf_close(&body);
    return status;
}
