/* `confman auth`, `user` and `role`: over the etcd door. */
#include <string.h>
#include "cli/cli_int.h"

struct auth_call {
    const struct options *o;
    struct arena *arena;
    struct buf request;
    struct span answer;
    struct span name, second; /* behind the verb */
};

struct verb {
    const char *name;
    int args; /* with the verb */
    int (*run)(struct auth_call *c);
};

static int call(struct auth_call *c, const char *path)
{
    int status = call_once(c->o, path, &c->request, c->arena, &c->answer);
    if (c->request.data)
        explicit_bzero(c->request.data, c->request.cap); /* it may hold a password */
    buf_close(&c->request);
    return status;
}

static int senseless(void)
{
    return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
}

/* Done: {"done": true} for programs, a sentence for people. */
static int told(const struct auth_call *c, const char *text)
{
    if (c->o->json)
        puts("{\"done\":true}");
    else
        printf("%s\n", text);
    return EXIT_DONE;
}

static int change(struct auth_call *c, const char *path, const char *text)
{
    int status = call(c, path);
    return status == EXIT_DONE ? told(c, text) : status;
}

static void print_names(const struct auth_call *c, const char *title, const struct span *names,
                        size_t n)
{
    struct buf b;
    struct jsonw w;
    for (size_t i = 0; i < n && !c->o->json; i++)
        print_bytes(names[i]);
    if (!c->o->json)
        return;
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, title);
    jsonw_array(&w);
    for (size_t i = 0; i < n; i++)
        jsonw_text(&w, names[i]);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    print_json(&b);
}

static int run_verb(const struct options *o, struct arena *arena, const struct verb *verbs,
                    size_t n)
{
    struct auth_call c = { .o = o, .arena = arena };
    for (size_t i = 0; i < n; i++) {
        if (strcmp(o->args[0], verbs[i].name) != 0)
            continue;
        if (o->n_args != verbs[i].args)
            break;
        if (o->n_args > 1)
            c.name = span_text(o->args[1]);
        if (o->n_args > 2)
            c.second = span_text(o->args[2]);
        buf_open(&c.request, &cli_heap);
        return verbs[i].run(&c);
    }
    return cli_usage(o);
}
#define RUN_VERB(o, arena, verbs) run_verb(o, arena, verbs, sizeof(verbs) / sizeof((verbs)[0]))

/* ---- auth ---- */

static int auth_enable(struct auth_call *c)
{
    return change(c, "/etcdserverpb.Auth/AuthEnable", "authentication is enabled");
}

static int auth_disable(struct auth_call *c)
{
    return change(c, "/etcdserverpb.Auth/AuthDisable", "authentication is disabled");
}

static int auth_status(struct auth_call *c)
{
    struct pb_auth_status_response r;
    int status = call(c, "/etcdserverpb.Auth/AuthStatus");
    if (status != EXIT_DONE)
        return status;
    if (pb_auth_status_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return senseless();
    printf(c->o->json ? "{\"enabled\":%s,\"revision\":%llu}\n" : "enabled:  %s\nrevision: %llu\n",
           r.enabled ? "true" : "false", (unsigned long long)r.auth_revision);
    return EXIT_DONE;
}

int run_auth(const struct options *o, struct arena *arena)
{
    static const struct verb verbs[] = { { "enable", 1, auth_enable },
                                         { "disable", 1, auth_disable },
                                         { "status", 1, auth_status } };
    return RUN_VERB(o, arena, verbs);
}

/* ---- user ---- */

/* From NAME:PASSWORD (etcdctl's way, which others can see), a file, or the terminal. */
static int new_password(struct auth_call *c, struct span *password)
{
    char prompt[300];
    struct buf read;
    const uint8_t *colon = c->name.len ? memchr(c->name.data, ':', c->name.len) : NULL;
    *password = SPAN_NONE;
    if (colon && !c->o->new_password_file && !c->o->no_password) {
        *password = span_from(c->name, (size_t)(colon + 1 - c->name.data));
        c->name.len = (size_t)(colon - c->name.data);
        return EXIT_DONE;
    }
    if (c->o->no_password)
        return EXIT_DONE;
    buf_open(&read, &cli_heap);
    snprintf(prompt, sizeof(prompt), "new password of %.200s", c->o->args[1]);
    int status = credentials_password(c->o->new_password_file, prompt, true, &read);
    if (status == EXIT_DONE)
        *password = arena_copy(c->arena, buf_all(&read));
    if (read.data)
        explicit_bzero(read.data, read.cap);
    buf_close(&read);
    return status;
}

static int user_add(struct auth_call *c)
{
    struct pb_user_add_options options = { .no_password = c->o->no_password };
    struct pb_auth_user_add_request m = { .options = &options };
    int status = new_password(c, &m.password);
    if (status != EXIT_DONE)
        return status;
    m.name = c->name;
    pb_auth_user_add_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/UserAdd", "the user is added");
}

static int user_password(struct auth_call *c)
{
    struct pb_auth_user_change_password_request m = { .name = SPAN_NONE };
    int status = new_password(c, &m.password);
    if (status != EXIT_DONE)
        return status;
    m.name = c->name;
    pb_auth_user_change_password_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/UserChangePassword", "the password is changed");
}

static int user_delete(struct auth_call *c)
{
    struct pb_auth_user_delete_request m = { .name = c->name };
    pb_auth_user_delete_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/UserDelete", "the user is deleted");
}

static int user_get(struct auth_call *c)
{
    struct pb_auth_user_get_request m = { .name = c->name };
    struct pb_auth_user_get_response r;
    pb_auth_user_get_request_encode(&m, &c->request);
    int status = call(c, "/etcdserverpb.Auth/UserGet");
    if (status != EXIT_DONE)
        return status;
    if (pb_auth_user_get_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return senseless();
    print_names(c, "roles", r.roles, r.n_roles);
    return EXIT_DONE;
}

static int user_list(struct auth_call *c)
{
    struct pb_auth_user_list_response r;
    int status = call(c, "/etcdserverpb.Auth/UserList");
    if (status != EXIT_DONE)
        return status;
    if (pb_auth_user_list_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return senseless();
    print_names(c, "users", r.users, r.n_users);
    return EXIT_DONE;
}

static int user_grant(struct auth_call *c)
{
    struct pb_auth_user_grant_role_request m = { .user = c->name, .role = c->second };
    pb_auth_user_grant_role_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/UserGrantRole", "the user has the role");
}

static int user_revoke(struct auth_call *c)
{
    struct pb_auth_user_revoke_role_request m = { .name = c->name, .role = c->second };
    pb_auth_user_revoke_role_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/UserRevokeRole", "the user has the role no more");
}

int run_user(const struct options *o, struct arena *arena)
{
    static const struct verb verbs[] = {
        { "add", 2, user_add },           { "delete", 2, user_delete },
        { "get", 2, user_get },           { "list", 1, user_list },
        { "passwd", 2, user_password },   { "grant-role", 3, user_grant },
        { "revoke-role", 3, user_revoke }
    };
    return RUN_VERB(o, arena, verbs);
}

/* ---- role ---- */

static const char *const rights[] = { "read", "write", "readwrite" }; /* authpb.Permission.Type */

static int role_add(struct auth_call *c)
{
    struct pb_auth_role_add_request m = { .name = c->name };
    pb_auth_role_add_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/RoleAdd", "the role is added");
}

static int role_delete(struct auth_call *c)
{
    struct pb_auth_role_delete_request m = { .role = c->name };
    pb_auth_role_delete_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/RoleDelete", "the role is deleted");
}

static int role_list(struct auth_call *c)
{
    struct pb_auth_role_list_response r;
    int status = call(c, "/etcdserverpb.Auth/RoleList");
    if (status != EXIT_DONE)
        return status;
    if (pb_auth_role_list_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return senseless();
    print_names(c, "roles", r.roles, r.n_roles);
    return EXIT_DONE;
}

static void write_permission(struct jsonw *w, const struct pb_permission *p, const char *right)
{
    jsonw_object(w);
    jsonw_name(w, "right");
    jsonw_text(w, span_text(right));
    write_bytes_json(w, "key", p->key);
    write_bytes_json(w, "range_end", p->range_end);
    jsonw_object_end(w);
}

static void print_permission(const struct pb_permission *p, const char *right)
{
    bool on = p->range_end.len == 1 && p->range_end.data[0] == 0;
    printf("%-9s  %.*s", right, (int)p->key.len, (const char *)p->key.data);
    if (on)
        printf("  and all keys behind it");
    else if (p->range_end.len)
        printf("  to before  %.*s", (int)p->range_end.len, (const char *)p->range_end.data);
    putchar('\n');
}

static int role_get(struct auth_call *c)
{
    struct pb_auth_role_get_request m = { .role = c->name };
    struct pb_auth_role_get_response r;
    struct buf b;
    struct jsonw w;
    pb_auth_role_get_request_encode(&m, &c->request);
    int status = call(c, "/etcdserverpb.Auth/RoleGet");
    if (status != EXIT_DONE)
        return status;
    if (pb_auth_role_get_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return senseless();
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "permissions");
    jsonw_array(&w);
    for (size_t i = 0; i < r.n_perm; i++) {
        int32_t type = r.perm[i].perm_type;
        const char *right = type >= 0 && type < 3 ? rights[type] : "unknown";
        write_permission(&w, &r.perm[i], right);
        if (!c->o->json)
            print_permission(&r.perm[i], right);
    }
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    if (c->o->json)
        print_json(&b);
    else
        buf_close(&b);
    return EXIT_DONE;
}

static int role_grant(struct auth_call *c)
{
    struct pb_permission p = { .perm_type = -1, .key = span_text(c->o->args[3]) };
    struct pb_auth_role_grant_permission_request m = { .name = c->name, .perm = &p };
    for (int i = 0; i < 3; i++)
        if (span_is(c->second, rights[i]))
            p.perm_type = i;
    if (p.perm_type < 0)
        return cli_complain(EXIT_USAGE,
                            "role grant-permission: \"%s\" is not read, write or "
                            "readwrite",
                            c->o->args[2]);
    p.range_end = range_end_of(c->o, &p.key, c->arena);
    pb_auth_role_grant_permission_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/RoleGrantPermission", "the role has the permission");
}

static int role_revoke(struct auth_call *c)
{
    struct pb_auth_role_revoke_permission_request m = { .role = c->name, .key = c->second };
    m.range_end = range_end_of(c->o, &m.key, c->arena);
    pb_auth_role_revoke_permission_request_encode(&m, &c->request);
    return change(c, "/etcdserverpb.Auth/RoleRevokePermission",
                  "the role has the permission no more");
}

int run_role(const struct options *o, struct arena *arena)
{
    static const struct verb verbs[] = { { "add", 2, role_add },
                                         { "delete", 2, role_delete },
                                         { "get", 2, role_get },
                                         { "list", 1, role_list },
                                         { "grant-permission", 4, role_grant },
                                         { "revoke-permission", 3, role_revoke } };
    if (strcmp(o->args[0], "grant") == 0 || strcmp(o->args[0], "revoke") == 0)
        return cli_grant(o);
    return RUN_VERB(o, arena, verbs);
}
