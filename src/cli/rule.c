/* `confman schema` and `confman guard`: what configs must hold, over the REST door. */
#include <string.h>
#include "cli/cli_int.h"

struct rule_kind {
    const char *path, *member;
};

static const struct rule_kind schemas = { "/v1/schemas", "schema" };
static const struct rule_kind guards = { "/v1/guards", "guard" };

static void open_path(struct buf *path, const struct rule_kind *kind, const char *name)
{
    buf_open(path, &cli_heap);
    buf_text(path, kind->path);
    if (name) {
        buf_text(path, "/");
        path_add(path, name, "/");
    }
}

static int ask(const struct options *o, const char *method, const struct rule_kind *kind,
               const char *name, struct span body, bool dry, json_t **out)
{
    struct buf path;
    open_path(&path, kind, name);
    path_query(&path, "dry_run", dry ? "true" : NULL);
    int status = door_ask(o, method, &path, body, out);
    buf_close(&path);
    return status;
}

static int get(const struct options *o, const struct rule_kind *kind)
{
    json_t *answer;
    int status = ask(o, "GET", kind, o->args[1], SPAN_NONE, false, &answer);
    if (answer) {
        json_dumpf(json_object_get(answer, kind->member), stdout,
                   JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        putchar('\n');
    }
    json_decref(answer);
    return status;
}

static int list(const struct options *o, const struct rule_kind *kind)
{
    json_t *answer, *one;
    size_t i;
    int status = ask(o, "GET", kind, NULL, SPAN_NONE, false, &answer);
    json_array_foreach(json_object_get(answer, "items"), i, one)
    {
        const json_t *whole = json_object_get(one, kind->member);
        printf("%s\tversion %lld\t%s\t%s", json_string_value(json_object_get(one, "key")),
               (long long)json_integer_value(json_object_get(one, "version")),
               json_string_value(json_object_get(one, "updated_at")),
               json_string_value(json_object_get(one, "updated_by")));
        if (whole) {
            putchar('\t');
            json_dumpf(whole, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        }
        putchar('\n');
    }
    json_decref(answer);
    return status;
}

static int delete(const struct options *o, const struct rule_kind *kind)
{
    json_t *answer;
    int status = ask(o, "DELETE", kind, o->args[1], SPAN_NONE, false, &answer);
    if (answer)
        puts("OK");
    json_decref(answer);
    return status;
}

/* Which values that stand are not as a schema asks. */
static void print_values(const json_t *values)
{
    size_t i;
    json_t *one;
    printf("%lld of %lld values are not so%s\n",
           (long long)json_integer_value(json_object_get(values, "broken")),
           (long long)json_integer_value(json_object_get(values, "checked")),
           json_is_false(json_object_get(values, "complete")) ? "; there are more, not looked at"
                                                              : "");
    json_array_foreach(json_object_get(values, "errors"), i, one)
    {
        printf("  %s:%s %s: %s\n", json_string_value(json_object_get(one, "environment")),
               json_string_value(json_object_get(one, "key")),
               json_string_value(json_object_get(one, "pointer")),
               json_string_value(json_object_get(one, "detail")));
    }
}

static int set(const struct options *o, const struct rule_kind *kind)
{
    struct buf body;
    json_t *answer = NULL;
    bool dry = strcmp(o->args[0], "check") == 0;
    buf_open(&body, &cli_heap);
    int status = door_file(o->n_args > 2 ? o->args[2] : "-", &body);
    if (status == EXIT_DONE)
        status = ask(o, "PUT", kind, o->args[1], buf_all(&body), dry, &answer);
    buf_close(&body);
    if (answer) {
        const json_t *values = json_object_get(answer, "values");
        puts("OK");
        if (values)
            print_values(values);
    }
    json_decref(answer);
    return status;
}

static int run(const struct options *o, const struct rule_kind *kind)
{
    static const struct {
        const char *name;
        int min, max; /* words, this one too */
        const struct rule_kind *only;
        int (*run)(const struct options *o, const struct rule_kind *kind);
    } verbs[] = { { "get", 2, 2, NULL, get },       { "set", 2, 3, NULL, set },
                  { "list", 1, 1, NULL, list },     { "delete", 2, 2, NULL, delete },
                  { "check", 2, 3, &schemas, set } };
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(o->args[0], verbs[i].name) != 0 || (verbs[i].only && verbs[i].only != kind))
            continue;
        if (o->n_args < verbs[i].min || o->n_args > verbs[i].max)
            break;
        return verbs[i].run(o, kind);
    }
    return cli_usage(o);
}

int run_schema(const struct options *o, struct arena *arena)
{
    (void)arena;
    return run(o, &schemas);
}

int run_guard(const struct options *o, struct arena *arena)
{
    (void)arena;
    return run(o, &guards);
}
