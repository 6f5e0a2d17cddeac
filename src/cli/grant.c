/* `confman role grant|revoke`: rights as people say them, over the REST door. */
#include <string.h>
#include "cli/cli_int.h"

enum { PATH_BYTES = 4096 };

static bool path_of(const char *role, const char *action, char *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = (size_t)snprintf(out, PATH_BYTES, "/v1/roles/");
    for (; *role && n + 24 < PATH_BYTES; role++)
        n += (size_t)snprintf(out + n, PATH_BYTES - n, strchr(plain, *role) ? "%c" : "%%%02X",
                              (unsigned char)*role);
    snprintf(out + n, PATH_BYTES - n, "?action=%s", action);
    return !*role;
}

void cli_words(struct jsonw *w, const char *list)
{
    jsonw_array(w);
    while (*list) {
        size_t n = strcspn(list, ", ");
        if (n)
            jsonw_text(w, span_of(list, n));
        list += n + (list[n] != 0);
    }
    jsonw_array_end(w);
}

int cli_grant(const struct options *o)
{
    char path[PATH_BYTES];
    struct buf b;
    struct jsonw w;
    struct span answer = SPAN_NONE;
    if (o->n_args < 2 || o->n_args > 3 || !o->verbs || !o->environment == !o->name_space)
        return cli_complain(EXIT_USAGE,
                            "role %s: wants NAME, perhaps PREFIX, --verbs, and --environment or "
                            "--namespace",
                            o->args[0]);
    if (!path_of(o->args[1], o->args[0], path))
        return cli_complain(EXIT_USAGE, "role %s: the name is too long", o->args[0]);
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, o->environment ? "environment" : "namespace");
    jsonw_text(&w, span_text(o->environment ? o->environment : o->name_space));
    jsonw_name(&w, "prefix");
    jsonw_text(&w, span_text(o->n_args == 3 ? o->args[2] : ""));
    jsonw_name(&w, "verbs");
    cli_words(&w, o->verbs);
    jsonw_object_end(&w);
    struct client *c = client_open(o);
    int status = c ? client_http(c, "POST", path, buf_all(&b), &answer) : EXIT_UNREACHABLE;
    if (status == EXIT_DONE && o->json)
        printf("%.*s\n", (int)answer.len, (const char *)answer.data);
    else if (status == EXIT_DONE)
        puts("OK");
    if (c)
        client_close(c);
    buf_close(&b);
    return status;
}
