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

static int share_body(const struct options *o, struct buf *body)
{
    struct buf share;
    struct jsonw w;
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

static int seal_verb(const struct options *o, const char *verb, struct buf *path, struct buf *body)
{
    json_t *a;
    bool status_only = strcmp(verb, "status") == 0, init = strcmp(verb, "init") == 0;
    int status = EXIT_DONE;
    buf_text(path, "/v1/seal");
    if (!status_only)
        buf_format(path, "/%s", verb);
    if (init)
        buf_format(body, "{\"shares\":%lld,\"threshold\":%lld,\"renew\":%s}",
                   (long long)(o->shares ? o->shares : 5),
                   (long long)(o->threshold ? o->threshold : 3), o->renew ? "true" : "false");
    else if (strcmp(verb, "unseal") == 0)
        status = share_body(o, body);
    if (status == EXIT_DONE)
        status = door_ask(o, status_only ? "GET" : "POST", path, buf_all(body), &a);
    if (status == EXIT_DONE && a) {
        if (init)
            print_shares(a);
        else
            print_status(a);
        json_decref(a);
    }
    return status;
}

int run_seal(const struct options *o, struct arena *arena)
{
    static const char *const verbs[] = { "status", "init", "unseal", "seal", "rotate" };
    struct buf path, body;
    size_t i = 0;
    while (i < 5 && strcmp(verbs[i], o->args[0]) != 0)
        i++;
    if (i == 5)
        return cli_complain(EXIT_USAGE,
                            "seal: \"%s\" is not one of status, init, unseal, seal, "
                            "rotate",
                            o->args[0]);
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
