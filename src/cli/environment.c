/* `confman environment`: which environments there are, and what each inherits from. */
#include <string.h>
#include "cli/cli_int.h"

static void print_line(const json_t *item)
{
    const char *parent = json_string_value(json_object_get(item, "parent"));
    printf("%s\t%s\n", json_string_value(json_object_get(item, "name")), parent ? parent : "-");
}

static void print(const json_t *answer)
{
    size_t i;
    json_t *item, *items = json_object_get(answer, "items");
    json_array_foreach(items, i, item)
    {
        print_line(item);
    }
    if (!items)
        print_line(answer);
}

static void set_body(const struct options *o, struct buf *body)
{
    struct jsonw w;
    jsonw_open(&w, body);
    jsonw_object(&w);
    if (o->parent) {
        jsonw_name(&w, "parent");
        jsonw_text(&w, span_text(o->parent));
    }
    jsonw_object_end(&w);
}

int run_environment(const struct options *o, struct arena *arena)
{
    static const struct {
        const char *name, *method;
        int words; /* this one too */
    } verbs[] = { { "list", "GET", 1 },
                  { "get", "GET", 2 },
                  { "set", "PUT", 2 },
                  { "delete", "DELETE", 2 } };
    struct buf path, body;
    json_t *answer = NULL;
    size_t v = 0, n = sizeof(verbs) / sizeof(verbs[0]);
    while (v < n && strcmp(verbs[v].name, o->args[0]) != 0)
        v++;
    if (v == n || o->n_args != verbs[v].words)
        return cli_usage(o);
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    buf_text(&path, "/v1/environments");
    if (o->n_args == 2) {
        buf_text(&path, "/");
        path_add(&path, o->args[1], "");
    }
    if (strcmp(verbs[v].method, "PUT") == 0)
        set_body(o, &body);
    int status = door_ask(o, verbs[v].method, &path, buf_all(&body), &answer);
    if (answer && strcmp(verbs[v].method, "GET") == 0)
        print(answer);
    else if (status == EXIT_DONE && !o->json)
        puts("OK");
    json_decref(answer);
    buf_close(&path);
    buf_close(&body);
    return status;
}
