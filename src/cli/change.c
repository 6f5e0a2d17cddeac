/* `confman diff`, `rollback`, `import` of a file and `export`: several configs at once, over the
 * REST door. */
#include <stdlib.h>
#include <string.h>
#include "cli/cli_int.h"

/* ---- output ---- */

static const char *text_in(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

static void print_value(const json_t *value)
{
    if (value)
        json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
}

/* A place, and what was and is there; each on a line of its own, as diff has them. */
static void print_op(const json_t *op)
{
    const json_t *from = json_object_get(op, "from"), *to = json_object_get(op, "to");
    printf("  %s\n", text_in(op, "path")[0] ? text_in(op, "path") : "(all of it)");
    if (from) {
        fputs("  - ", stdout);
        print_value(from);
        putchar('\n');
    }
    if (to) {
        fputs("  + ", stdout);
        print_value(to);
        putchar('\n');
    }
}

static void print_side(const json_t *item, const char *side, const char *sign)
{
    const json_t *s = json_object_get(item, side);
    if (!s)
        return;
    printf("  %s ", sign);
    print_value(json_object_get(s, "value"));
    putchar('\n');
}

static void print_item(const json_t *item)
{
    static const char *const signs[] = { "added", "+", "removed", "-", "changed", "~" };
    const char *change = text_in(item, "change"), *environment = text_in(item, "environment");
    const char *sign = "?", *kind = text_in(item, "kind");
    const json_t *ops = json_object_get(item, "diff"), *op;
    size_t i;
    for (size_t k = 0; k < sizeof(signs) / sizeof(signs[0]); k += 2)
        if (strcmp(change, signs[k]) == 0)
            sign = signs[k + 1];
    printf("%s %s%s", sign, kind[0] && strcmp(kind, "config") != 0 ? kind : "",
           kind[0] && strcmp(kind, "config") != 0 ? " " : "");
    printf("%s%s%s\n", environment, environment[0] ? "/" : "", text_in(item, "key"));
    if (json_object_get(item, "text")) {
        fputs(text_in(item, "text"), stdout);
    } else if (ops) {
        json_array_foreach(ops, i, op)
        {
            print_op(op);
        }
    } else {
        print_side(item, "from", "-");
        print_side(item, "to", "+");
    }
}

void print_changes(const json_t *answer)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(answer, "items"), i, item)
    {
        print_item(item);
    }
    if (json_is_true(json_object_get(answer, "truncated")))
        puts("(there is more than is told)");
}

static void print_sum(const json_t *answer)
{
    long long n = (long long)json_integer_value(json_object_get(answer, "changed"));
    long long same = (long long)json_integer_value(json_object_get(answer, "unchanged"));
    long long left = (long long)json_integer_value(json_object_get(answer, "left"));
    bool dry = json_is_true(json_object_get(answer, "dry_run"));
    printf("%s: %lld", dry ? "would be changed" : "changed", n);
    if (same)
        printf(", the same already: %lld", same);
    if (left)
        printf(", left: %lld", left);
    if (!dry && n)
        printf(", revision %lld",
               (long long)json_integer_value(json_object_get(answer, "revision")));
    putchar('\n');
}

/* ---- diff ---- */

int run_diff(const struct options *o, struct arena *arena)
{
    struct buf path;
    json_t *a;
    buf_open(&path, arena->alloc);
    buf_text(&path, "/v1/diff");
    path_query(&path, o->prefix ? "prefix" : "key", o->n_args ? o->args[0] : "");
    path_query(&path, "environment", o->environment);
    path_query(&path, "to_environment", o->to_environment);
    path_number(&path, "from", o->from);
    path_number(&path, "to", o->to);
    int status = door_ask(o, "GET", &path, SPAN_NONE, &a);
    if (status == EXIT_DONE && a)
        print_changes(a);
    json_decref(a);
    buf_close(&path);
    return status;
}

/* ---- rollback ---- */

static void body_text(struct jsonw *w, const char *name, const char *value)
{
    if (!value)
        return;
    jsonw_name(w, name);
    jsonw_text(w, span_text(value));
}

static void rollback_body(const struct options *o, int64_t revision, struct buf *b)
{
    struct jsonw w;
    jsonw_open(&w, b);
    jsonw_object(&w);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    body_text(&w, "environment", o->environment);
    body_text(&w, "change_log", o->change_log);
    if (o->everything) {
        jsonw_name(&w, "everything");
        jsonw_bool(&w, true);
    } else if (o->prefix) {
        body_text(&w, "prefix", o->n_args > 1 ? o->args[1] : "");
    } else {
        jsonw_name(&w, "keys");
        jsonw_array(&w);
        for (int i = 1; i < o->n_args; i++)
            jsonw_text(&w, span_text(o->args[i]));
        jsonw_array_end(&w);
    }
    jsonw_object_end(&w);
}

int run_rollback(const struct options *o, struct arena *arena)
{
    struct buf path, body;
    json_t *a;
    int64_t revision;
    if (!options_number(o->args[0], &revision) || revision < 1)
        return cli_complain(EXIT_USAGE, "rollback: \"%s\" is not a revision", o->args[0]);
    if (!o->everything && !o->prefix && o->n_args < 2)
        return cli_complain(EXIT_USAGE, "rollback: which keys? or --prefix, or --everything");
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    buf_text(&path, "/v1/rollback");
    path_query(&path, "dry_run", o->dry_run ? "true" : NULL);
    path_query(&path, "confirm", o->confirm ? "true" : NULL);
    path_query(&path, "force", o->force ? "true" : NULL);
    rollback_body(o, revision, &body);
    int status = door_ask(o, "POST", &path, buf_all(&body), &a);
    if (status == EXIT_DONE && a) {
        print_changes(a);
        print_sum(a);
    }
    json_decref(a);
    buf_close(&path);
    buf_close(&body);
    return status;
}

/* ---- files ---- */

/* As the file's name ends; NULL: it says nothing. */
static const char *format_of(const char *name)
{
    static const char *const ends[] = { ".json", "json", ".yaml", "yaml", ".yml", "yaml",
                                        ".env",  "env" };
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i += 2) {
        size_t n = strlen(ends[i]);
        if (len >= n && strcmp(name + len - n, ends[i]) == 0)
            return ends[i + 1];
    }
    return NULL;
}

/* Again and again while something is left, if parts are wanted. */
static int bring(const struct options *o, const char *format, const struct buf *file,
                 struct arena *arena)
{
    int status;
    long long left;
    do {
        struct buf path;
        json_t *a;
        buf_open(&path, arena->alloc);
        buf_text(&path, "/v1/import");
        path_query(&path, "format", format);
        path_query(&path, "environment", o->environment);
        path_query(&path, "prefix", o->below);
        path_query(&path, "change_log", o->change_log);
        path_query(&path, "nested", o->nested ? "true" : NULL);
        path_query(&path, "replace", o->replace ? "true" : NULL);
        path_query(&path, "partial", o->partial ? "true" : NULL);
        path_query(&path, "dry_run", o->dry_run ? "true" : NULL);
        path_query(&path, "confirm", o->confirm ? "true" : NULL);
        path_query(&path, "force", o->force ? "true" : NULL);
        status = door_ask(o, "POST", &path, buf_all(file), &a);
        left = (long long)json_integer_value(json_object_get(a, "left"));
        if (status == EXIT_DONE && a) {
            print_changes(a);
            print_sum(a);
        }
        json_decref(a);
        buf_close(&path);
    } while (status == EXIT_DONE && left > 0 && !o->dry_run);
    return status;
}

int run_import(const struct options *o, struct arena *arena)
{
    const char *format = o->format ? o->format : format_of(o->args[0]);
    struct buf file;
    if (strcmp(o->args[0], "etcd") == 0)
        return cli_complain(EXIT_USAGE, "import etcd: wants --from-endpoint, --from-snapshot or "
                                        "--from-data-dir; a file of that name is ./etcd");
    if (!format)
        return cli_complain(EXIT_USAGE, "import: --format json, yaml or env? The name of %s does "
                                        "not say", o->args[0]);
    buf_open(&file, arena->alloc);
    int status = door_file(o->args[0], &file);
    if (status == EXIT_DONE && !file.len)
        status = cli_complain(EXIT_USAGE, "import: %s is empty", o->args[0]);
    if (status == EXIT_DONE)
        status = bring(o, format, &file, arena);
    buf_close(&file);
    return status;
}

static int put_out(void *context, struct span s)
{
    (void)context;
    return write_bytes(s) ? EXIT_DONE
                          : cli_complain(EXIT_REFUSED, "standard output cannot be written");
}

int run_export(const struct options *o, struct arena *arena)
{
    struct buf path;
    buf_open(&path, arena->alloc);
    buf_text(&path, "/v1/export");
    path_query(&path, "format", o->format ? o->format : "yaml");
    path_query(&path, "prefix", o->n_args ? o->args[0] : NULL);
    path_query(&path, "environment", o->environment);
    path_query(&path, "own", o->inherited ? "false" : NULL);
    path_number(&path, "revision", o->revision);
    buf_u8(&path, 0);
    struct client *c = client_open(o);
    int status = c ? client_download(c, (const char *)path.data, put_out, NULL) : EXIT_UNREACHABLE;
    if (c)
        client_close(c);
    buf_close(&path);
    return status;
}
