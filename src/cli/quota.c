/* `confman quota`: over the REST door, for etcd's API has no such thing. */
#include <string.h>
#include "cli/cli_int.h"

enum { PATH_BYTES = 4096 };

/* The path's last word may be any bytes that a shell can give. */
static bool path_of(const char *kind, const char *name, char *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = (size_t)snprintf(out, PATH_BYTES, "/v1/quotas/%s/", kind);
    for (; *name && n + 4 < PATH_BYTES; name++)
        n += (size_t)snprintf(out + n, PATH_BYTES - n, strchr(plain, *name) ? "%c" : "%%%02X",
                              (unsigned char)*name);
    return !*name;
}

static void print_max(const json_t *quota, const char *name, const char *used)
{
    long long max = json_integer_value(json_object_get(quota, name));
    char text[64] = "-";
    const json_t *now = used ? json_object_get(quota, used) : NULL;
    if (now && max)
        snprintf(text, sizeof(text), "%lld/%lld", (long long)json_integer_value(now), max);
    else if (now)
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(now));
    else if (max)
        snprintf(text, sizeof(text), "%lld", max);
    printf(" %-22s", text);
}

static void print_quota(const json_t *quota)
{
    const json_t *user = json_object_get(quota, "user"), *prefix = json_object_get(quota, "prefix");
    const json_t *name = user ? user : prefix;
    const char *text =
        json_string_value(json_is_object(name) ? json_object_get(name, "base64") : name);
    printf("%-7s", user ? "user" : "prefix");
    print_max(quota, "max_keys", "keys");
    print_max(quota, "max_bytes", "bytes");
    print_max(quota, "rate", NULL);
    print_max(quota, "burst", NULL);
    printf(" %s%s\n", json_is_object(name) ? "base64:" : "", text ? text : "");
}

static int print_list(struct span answer)
{
    char why[JSONR_WHY_MAX];
    json_t *json, *quota;
    size_t i;
    if (jsonr_read(answer, &json, why) != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    printf("%-7s %-22s %-22s %-22s %-22s %s\n", "KIND", "KEYS", "BYTES", "RATE", "BURST", "NAME");
    json_array_foreach(json_object_get(json, "quotas"), i, quota)
    {
        print_quota(quota);
    }
    json_decref(json);
    return EXIT_DONE;
}

static int ask(const struct options *o, const char *method, const char *path, struct span body,
               bool list)
{
    struct client *c = client_open(o);
    struct span answer = SPAN_NONE;
    int status = c ? client_http(c, method, path, body, &answer) : EXIT_UNREACHABLE;
    if (status == EXIT_DONE && o->json)
        printf("%.*s\n", (int)answer.len, (const char *)answer.data);
    else if (status == EXIT_DONE && list)
        status = print_list(answer);
    else if (status == EXIT_DONE)
        puts("OK");
    if (c)
        client_close(c);
    return status;
}

int run_quota(const struct options *o, struct arena *arena)
{
    char path[PATH_BYTES], body[200];
    const char *verb = o->args[0], *kind = o->args[1];
    (void)arena;
    if (strcmp(verb, "list") == 0)
        return o->n_args == 1 ? ask(o, "GET", "/v1/quotas", SPAN_NONE, true)
                              : cli_complain(EXIT_USAGE, "quota list: takes no more words");
    bool set = strcmp(verb, "set") == 0;
    if (!set && strcmp(verb, "delete") != 0)
        return cli_complain(EXIT_USAGE, "quota: \"%s\" is not set, list or delete", verb);
    if (o->n_args != 3 || (strcmp(kind, "prefix") != 0 && strcmp(kind, "user") != 0))
        return cli_complain(EXIT_USAGE, "quota %s: wants prefix PREFIX or user NAME", verb);
    if (!path_of(kind, o->args[2], path))
        return cli_complain(EXIT_USAGE, "quota %s: the name is too long", verb);
    if (!set)
        return ask(o, "DELETE", path, SPAN_NONE, false);
    snprintf(
        body, sizeof(body), "{\"max_keys\":%lld,\"max_bytes\":%lld,\"rate\":%lld,\"burst\":%lld}",
        (long long)o->max_keys, (long long)o->max_bytes, (long long)o->rate, (long long)o->burst);
    return ask(o, "PUT", path, span_text(body), false);
}
