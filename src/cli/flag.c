/* `confman flag`: over the REST door. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli_int.h"

enum {
    BATCH_MAX = 100,    /* flags that one transaction takes */
    BATCH_BYTES = 1 << 20
};

static void path_of(struct buf *path, const struct options *o, const char *name, const char *verb)
{
    buf_text(path, "/v1/flags");
    if (name) {
        buf_u8(path, '/');
        path_add(path, name, "");
    }
    buf_text(path, verb);
    path_query(path, "environment", o->environment);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* ---- reading and writing ---- */

static int run_list(const struct options *o, struct arena *arena)
{
    struct buf path;
    json_t *page = NULL, *f;
    char *after = NULL;
    size_t i;
    int status;
    if (!o->json)
        printf("%-32s %-8s %-9s %s\n", "NAME", "VERSION", "STATE", "DEFAULT");
    do {
        buf_open(&path, arena->alloc);
        path_of(&path, o, NULL, "");
        path_query(&path, "after", after);
        path_query(&path, "own", o->own ? "true" : NULL);
        status = door_ask(o, "GET", &path, SPAN_NONE, &page);
        buf_close(&path);
        after = NULL;
        json_array_foreach(json_object_get(page, "flags"), i, f)
        {
            const json_t *d = json_object_get(f, "definition");
            const char *state = text_of(d, "state");
            const char *shown = json_is_true(json_object_get(d, "kill")) ? "KILLED"
                                : *state                                 ? state
                                                                         : "ENABLED";
            printf("%-32s %-8lld %-9s %s", text_of(f, "name"),
                   (long long)json_integer_value(json_object_get(f, "version")), shown,
                   text_of(d, "defaultVariant"));
            printf(json_object_get(f, "from") ? "\t(from %s)\n" : "\n", text_of(f, "from"));
        }
        if (json_object_get(page, "next"))
            after = arena_text(arena, span_text(text_of(page, "next")));
        json_decref(page);
    } while (status == EXIT_DONE && after);
    return status;
}

static int run_get_one(const struct options *o, struct arena *arena)
{
    struct buf path;
    json_t *f;
    buf_open(&path, arena->alloc);
    path_of(&path, o, o->args[1], "");
    path_query(&path, "own", o->own ? "true" : NULL);
    int status = door_ask(o, "GET", &path, SPAN_NONE, &f);
    buf_close(&path);
    if (status == EXIT_DONE && f) {
        json_dumpf(json_object_get(f, "definition"), stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
        json_decref(f);
    }
    return status;
}

static int run_set(const struct options *o, struct arena *arena)
{
    struct buf path, body;
    json_t *f;
    const char *given = o->n_args > 2 ? o->args[2] : "-";
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    int status = EXIT_DONE;
    if (strcmp(given, "-") == 0)
        status = door_file("-", &body);
    else
        buf_text(&body, given);
    path_of(&path, o, o->args[1], "");
    if (status == EXIT_DONE)
        status = door_ask(o, "PUT", &path, buf_all(&body), &f);
    if (status == EXIT_DONE && f) {
        printf("version %lld\n", (long long)json_integer_value(json_object_get(f, "version")));
        json_decref(f);
    }
    buf_close(&path);
    buf_close(&body);
    return status;
}

static int run_delete(const struct options *o, struct arena *arena)
{
    struct buf path;
    json_t *f;
    buf_open(&path, arena->alloc);
    path_of(&path, o, o->args[1], "");
    path_query(&path, "force", o->force ? "true" : NULL);
    int status = door_ask(o, "DELETE", &path, SPAN_NONE, &f);
    buf_close(&path);
    if (status == EXIT_DONE && f)
        puts("OK");
    json_decref(f);
    return status;
}

/* ---- evaluating ---- */

/* MEMBER=VALUE; the value is JSON if it is, but who is asked about has a text as its key. */
static int add_member(json_t *context, const char *word)
{
    const char *equals = strchr(word, '=');
    char why[JSONR_WHY_MAX];
    json_t *value;
    if (!equals || equals == word)
        return cli_complain(EXIT_USAGE, "flag: \"%s\" is not MEMBER=VALUE", word);
    bool key = strncmp(word, "targetingKey=", (size_t)(equals - word) + 1) == 0;
    if (key || jsonr_read(span_text(equals + 1), &value, why) != ERR_OK)
        value = json_string(equals + 1);
    if (!value)
        return cli_complain(EXIT_USAGE, "flag: the value of \"%s\" is not UTF-8", word);
    json_object_setn_new(context, word, (size_t)(equals - word), value);
    return EXIT_DONE;
}

static int print_result(const json_t *r)
{
    size_t i;
    json_t *line, *value = json_object_get(r, "value");
    if (json_object_get(r, "errorCode"))
        return cli_complain(EXIT_REFUSED, "%s: %s", text_of(r, "errorCode"),
                            text_of(r, "errorDetails"));
    if (value)
        json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    else
        fputs("(the caller's own default)", stdout);
    printf("\t%s\t%s\n", text_of(r, "variant"), text_of(r, "reason"));
    json_array_foreach(json_object_get(r, "trace"), i, line)
    {
        printf("  %s\n", json_string_value(line));
    }
    return EXIT_DONE;
}

static int evaluate(const struct options *o, struct arena *arena, const char *verb)
{
    struct buf path, body;
    json_t *context = json_object(), *r = NULL;
    int status = EXIT_DONE;
    for (int i = 2; status == EXIT_DONE && i < o->n_args; i++)
        status = add_member(context, o->args[i]);
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    buf_text(&body, "{\"context\":");
    door_json(&body, context);
    buf_u8(&body, '}');
    path_of(&path, o, o->args[1], verb);
    if (status == EXIT_DONE)
        status = door_ask(o, "POST", &path, buf_all(&body), &r);
    if (status == EXIT_DONE && r)
        status = print_result(r);
    json_decref(r);
    json_decref(context);
    buf_close(&path);
    buf_close(&body);
    return status;
}

static int run_eval(const struct options *o, struct arena *arena)
{
    return evaluate(o, arena, ":evaluate");
}

static int run_explain(const struct options *o, struct arena *arena)
{
    return evaluate(o, arena, ":explain");
}

/* ---- transactions ---- */

static json_t *change_of(const char *kind, const char *key, json_t *value)
{
    json_t *change = json_object();
    json_object_set_new(change, "kind", json_string(kind));
    if (key)
        json_object_set_new(change, "key", json_string(key));
    json_object_set(change, "value", value);
    return change;
}

static int send_changes(const struct options *o, struct arena *arena, json_t *changes, bool dry,
                        json_t **out)
{
    struct buf path, body;
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    buf_text(&path, "/v1/txn");
    path_query(&path, "environment", o->environment);
    path_query(&path, "dry_run", dry ? "true" : NULL);
    door_json(&body, changes);
    int status = door_read(o, "POST", &path, buf_all(&body), out);
    buf_close(&path);
    buf_close(&body);
    return status;
}

static int set_state(const struct options *o, struct arena *arena, const char *state)
{
    struct buf path;
    json_t *f, *answer = NULL;
    buf_open(&path, arena->alloc);
    path_of(&path, o, o->args[1], "");
    int status = door_read(o, "GET", &path, SPAN_NONE, &f);
    buf_close(&path);
    json_t *definition = json_object_get(f, "definition");
    if (status == EXIT_DONE && !json_is_object(definition))
        status = cli_complain(EXIT_REFUSED, "flag: its definition is damaged; set it anew");
    if (status == EXIT_DONE) {
        json_object_set_new(definition, "state", json_string(state));
        json_t *changes = json_array(), *change = change_of("flag", o->args[1], definition);
        if (json_object_get(f, "from")) /* inherited: it gets one of its own */
            json_object_set_new(change, "if_version", json_integer(0));
        else
            json_object_set(change, "if_version", json_object_get(f, "version"));
        json_array_append_new(changes, change);
        status = send_changes(o, arena, changes, false, &answer);
        json_decref(changes);
    }
    if (status == EXIT_DONE)
        puts("OK");
    json_decref(answer);
    json_decref(f);
    return status;
}

static int run_enable(const struct options *o, struct arena *arena)
{
    return set_state(o, arena, "ENABLED");
}

static int run_disable(const struct options *o, struct arena *arena)
{
    return set_state(o, arena, "DISABLED");
}

/* ---- import ---- */

/* A batch begins when the one before it is full; what all share is in the first. */
static json_t *batches_of(json_t *flags, json_t *shared)
{
    json_t *all = json_array(), *batch = NULL, *definition;
    const char *name;
    size_t bytes = 0;
    if (shared) {
        json_array_append_new(all, batch = json_array());
        json_array_append_new(batch, change_of("flagset", NULL, shared));
    }
    json_object_foreach(flags, name, definition)
    {
        struct buf b;
        buf_open(&b, &cli_heap);
        door_json(&b, definition);
        if (!batch || json_array_size(batch) >= BATCH_MAX || bytes + b.len > BATCH_BYTES) {
            json_array_append_new(all, batch = json_array());
            bytes = 0;
        }
        bytes += b.len;
        buf_close(&b);
        json_array_append_new(batch, change_of("flag", name, definition));
    }
    return all;
}

/* All are looked at before the first is written. */
static int send_batches(const struct options *o, struct arena *arena, json_t *all)
{
    size_t n = json_array_size(all), rounds = o->dry_run ? 1 : 2;
    int status = EXIT_DONE;
    for (size_t k = 0; status == EXIT_DONE && k < rounds * n; k++) {
        json_t *answer = NULL;
        status = send_changes(o, arena, json_array_get(all, k % n), k < n, &answer);
        json_decref(answer);
    }
    return status;
}

static int import(const struct options *o, struct arena *arena, const json_t *file)
{
    json_t *flags = json_object(), *shared = NULL;
    const char *format = o->format ? o->format : "flagd";
    int left_out = flag_convert(format, file, flags, &shared);
    int status = left_out < 0 ? EXIT_USAGE : EXIT_DONE;
    size_t n = json_object_size(flags);
    if (status == EXIT_DONE) {
        json_t *all = batches_of(flags, shared);
        status = send_batches(o, arena, all);
        if (status == EXIT_DONE)
            printf("%zu flags%s%s in %zu transaction%s\n", n, shared ? " and what they share" : "",
                   o->dry_run ? " would be written" : " written", json_array_size(all),
                   json_array_size(all) == 1 ? "" : "s");
        json_decref(all);
    }
    json_decref(flags);
    json_decref(shared);
    if (status == EXIT_DONE && left_out > 0)
        status = cli_complain(EXIT_REFUSED, "flag import: %d were left out, see above", left_out);
    return status;
}

static int run_import_file(const struct options *o, struct arena *arena)
{
    char why[JSONR_WHY_MAX];
    struct buf text;
    json_t *file = NULL;
    const char *name = o->n_args > 1 ? o->args[1] : "-";
    buf_open(&text, arena->alloc);
    int status = door_file(name, &text);
    if (status == EXIT_DONE) {
        enum err e = jsonr_read(buf_all(&text), &file, why);
        if (e == ERR_BODY_TOO_LARGE)
            status = cli_complain(EXIT_USAGE, "flag import: %s has too many values", name);
        else if (e != ERR_OK)
            status = cli_complain(EXIT_USAGE, "flag import: %s is not JSON: %s", name, why);
    }
    if (status == EXIT_DONE)
        status = import(o, arena, file);
    json_decref(file);
    buf_close(&text);
    return status;
}

static const struct verb {
    const char *name;
    int (*run)(const struct options *o, struct arena *arena);
    int min, max; /* words, this one too */
} verbs[] = {
    { "list", run_list, 1, 1 },
    { "get", run_get_one, 2, 2 },
    { "set", run_set, 2, 3 },
    { "delete", run_delete, 2, 2 },
    { "eval", run_eval, 2, INT_MAX },
    { "explain", run_explain, 2, INT_MAX },
    { "enable", run_enable, 2, 2 },
    { "disable", run_disable, 2, 2 },
    { "import", run_import_file, 1, 2 },
};

int run_flag(const struct options *o, struct arena *arena)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, o->args[0]) != 0)
            continue;
        if (o->n_args < verbs[i].min || o->n_args > verbs[i].max)
            break;
        return verbs[i].run(o, arena);
    }
    return cli_usage(o);
}
