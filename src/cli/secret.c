/* `confman secret`: over the REST door. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli_int.h"

enum { READ_MAX = 1 << 20 };

/* ---- what is put ---- */

static int read_input(struct buf *b)
{
    size_t n;
    while ((n = fread(buf_room(b, 65536), 1, 65536, stdin)) > 0 && b->len <= READ_MAX)
        b->len += n;
    return b->len > READ_MAX ? cli_complain(EXIT_USAGE, "standard input is too long") : EXIT_DONE;
}

/* The JSON object on standard input. */
static int object_of_input(json_t **out)
{
    char why[JSONR_WHY_MAX];
    struct buf b;
    buf_open(&b, &cli_heap);
    int status = read_input(&b);
    if (status == EXIT_DONE && jsonr_read(buf_all(&b), out, why) != ERR_OK)
        status = cli_complain(EXIT_USAGE, "secret put: standard input is not JSON");
    else if (status == EXIT_DONE && !json_is_object(*out))
        status = cli_complain(EXIT_USAGE, "secret put: standard input is no JSON object");
    explicit_bzero(b.data, b.len);
    buf_close(&b);
    return status;
}

/* NAME=VALUE, or NAME=- for standard input as it is. */
static int add_word(json_t *data, const char *word)
{
    const char *equals = strchr(word, '=');
    struct buf b;
    if (!equals || equals == word)
        return cli_complain(EXIT_USAGE, "secret put: wants NAME=VALUE, NAME=- or -");
    buf_open(&b, &cli_heap);
    int status = EXIT_DONE;
    if (strcmp(equals + 1, "-") == 0)
        status = read_input(&b);
    else
        buf_text(&b, equals + 1);
    json_t *value = json_stringn(b.data ? (const char *)b.data : "", b.len);
    if (status == EXIT_DONE && !value)
        status = cli_complain(EXIT_USAGE, "secret put: a value is not UTF-8");
    else if (status == EXIT_DONE)
        json_object_setn_new(data, word, (size_t)(equals - word), value);
    else
        json_decref(value);
    buf_close(&b);
    return status;
}

static int put_body(const struct options *o, struct buf *body)
{
    json_t *data = NULL;
    int status = EXIT_DONE;
    if (o->n_args < 3)
        return cli_complain(EXIT_USAGE, "secret put: wants NAME=VALUE, NAME=- or -");
    if (o->n_args == 3 && strcmp(o->args[2], "-") == 0)
        status = object_of_input(&data);
    else
        data = json_object();
    for (int i = 2; status == EXIT_DONE && i < o->n_args && strcmp(o->args[2], "-") != 0; i++)
        status = add_word(data, o->args[i]);
    buf_text(body, "{\"data\":");
    if (status == EXIT_DONE)
        door_json(body, data);
    buf_text(body, "}");
    json_decref(data);
    return status;
}

/* Of a secret, or without a path of a namespace: NAME=VALUE, VALUE as JSON. */
static int settings_body(const struct options *o, struct buf *body)
{
    char why[JSONR_WHY_MAX];
    json_t *value, *all = json_object();
    int status = EXIT_DONE;
    for (int i = 1; i < o->n_args && status == EXIT_DONE; i++) {
        const char *equals = strchr(o->args[i], '=');
        if (!equals && i == 1)
            continue; /* the path */
        if (!equals || jsonr_read(span_text(equals + 1), &value, why) != ERR_OK)
            status = cli_complain(EXIT_USAGE,
                                  "secret configure: \"%s\" is not NAME=VALUE with a "
                                  "number, true or false",
                                  o->args[i]);
        else
            json_object_setn_new(all, o->args[i], (size_t)(equals - o->args[i]), value);
    }
    door_json(body, all);
    json_decref(all);
    return status;
}

/* ---- what is told ---- */

static void print_data(const json_t *answer)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(answer, "data"), name, value)
    {
        bool plain = json_is_string(value);
        char *text = plain ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        printf("%s=%s\n", name, text ? text : json_string_value(value));
        if (text)
            mem_sized_free(&cli_heap, text);
    }
}

static void print_versions(const json_t *answer)
{
    size_t i;
    json_t *v;
    printf("%-8s %-14s %s\n", "VERSION", "CREATED (MS)", "STATE");
    json_array_foreach(json_object_get(answer, "versions"), i, v)
    {
        const char *state = json_is_true(json_object_get(v, "destroyed")) ? "destroyed"
                            : json_object_get(v, "deleted_at_ms")         ? "deleted"
                                                                          : "";
        printf("%-8lld %-14lld %s\n", (long long)json_integer_value(json_object_get(v, "version")),
               (long long)json_integer_value(json_object_get(v, "created_at_ms")), state);
    }
}

static void print_answer(const char *verb, const json_t *answer)
{
    size_t i;
    json_t *name;
    if (strcmp(verb, "get") == 0) {
        print_data(answer);
    } else if (strcmp(verb, "versions") == 0) {
        print_versions(answer);
    } else if (strcmp(verb, "list") == 0) {
        json_array_foreach(json_object_get(answer, "names"), i, name)
        {
            puts(json_string_value(name));
        }
    } else if (strcmp(verb, "put") == 0) {
        printf("version %lld\n", (long long)json_integer_value(json_object_get(answer, "version")));
    } else {
        puts("OK");
    }
}

static const struct verb {
    const char *name, *method, *query;
    bool wants_path, wants_versions;
    int max; /* words, this one too */
} verbs[] = {
    { "get", "GET", "", true, false, 2 },
    { "put", "PUT", "", true, false, INT_MAX },
    { "list", "GET", "", false, false, 2 },
    { "versions", "GET", "?metadata=true", true, false, 2 },
    { "delete", "DELETE", "", true, false, 2 },
    { "undelete", "POST", "?action=undelete", true, true, 2 },
    { "destroy", "POST", "?action=destroy", true, true, 2 },
    { "remove", "DELETE", "?all=true", true, false, 2 },
    { "rotate", "POST", "?action=rotate", false, false, 1 },
    { "configure", "POST", "?action=configure", false, false, INT_MAX },
};

static int run_verb(const struct options *o, const struct verb *v, struct buf *path,
                    struct buf *body)
{
    bool put = strcmp(v->name, "put") == 0;
    json_t *answer;
    buf_text(path, "/v1/secrets");
    bool named = v->wants_path ||
                 (strcmp(v->name, "configure") == 0 && o->n_args > 1 && !strchr(o->args[1], '='));
    if (named) {
        buf_u8(path, '/');
        path_add(path, o->args[1], "/");
    }
    buf_text(path, v->query);
    if (!v->wants_path && o->n_args > 1 && strcmp(v->name, "list") == 0)
        path_query(path, "prefix", o->args[1]);
    path_query(path, "namespace", o->name_space);
    path_query(path, "version", o->version);
    path_query(path, "versions", o->versions);
    path_query(path, "reason", o->reason);
    path_query(path, "force", o->force ? "true" : NULL);
    int status = put ? put_body(o, body) : EXIT_DONE;
    if (strcmp(v->name, "configure") == 0)
        status = settings_body(o, body);
    if (status == EXIT_DONE)
        status = door_ask(o, v->method, path, buf_all(body), &answer);
    if (status == EXIT_DONE && answer) {
        print_answer(v->name, answer);
        json_decref(answer);
    }
    return status;
}

int run_secret(const struct options *o, struct arena *arena)
{
    const struct verb *v = NULL;
    struct buf path, body;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].name, o->args[0]) == 0)
            v = &verbs[i];
    if (!v || o->n_args > v->max || (v->wants_path && o->n_args < 2))
        return cli_usage(o);
    if (v->wants_versions && !o->versions)
        return cli_complain(EXIT_USAGE, "secret %s: wants --versions N,...", v->name);
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    int status = run_verb(o, v, &path, &body);
    if (body.len)
        explicit_bzero(body.data, body.len);
    buf_close(&path);
    buf_close(&body);
    return status;
}
