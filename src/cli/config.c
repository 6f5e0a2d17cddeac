/* `confman config`: over the REST door, for environments and types are not etcd's. */
#include <string.h>
#include "cli/cli_int.h"

static void put_escaped(struct buf *b, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    for (; *text; text++)
        buf_format(b, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
}

static const char *path_of(const struct options *o, const char *door, const char *key,
                           const char *more, struct arena *arena)
{
    struct buf b;
    buf_open(&b, &cli_heap);
    buf_format(&b, "/v1/%s", door);
    if (key) {
        buf_text(&b, "/");
        put_escaped(&b, key);
    }
    buf_text(&b, "?environment=");
    put_escaped(&b, o->environment ? o->environment : "default");
    if (o->own)
        buf_text(&b, "&own=true");
    if (o->revision)
        buf_format(&b, "&revision=%lld", (long long)o->revision);
    buf_text(&b, more);
    const char *out = arena_text(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

/* A string as it is, everything else as JSON. */
static void print_value(const json_t *value)
{
    if (json_is_string(value)) {
        fwrite(json_string_value(value), 1, json_string_length(value), stdout);
        return;
    }
    json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
}

static void print_line(const json_t *item, bool history)
{
    const char *from = json_string_value(json_object_get(item, "from"));
    if (history)
        printf("%lld\t%s\t%s\t",
               (long long)json_integer_value(json_object_get(item, "revision")),
               json_string_value(json_object_get(item, "updated_at")),
               json_string_value(json_object_get(item, "updated_by")));
    else
        printf("%s\t", json_string_value(json_object_get(item, "key")));
    if (json_object_get(item, "deleted"))
        fputs("(deleted)", stdout);
    else
        print_value(json_object_get(item, "value"));
    if (from)
        printf("\t(from %s)", from);
    putchar('\n');
}

/* One request; *answer is NULL when it was printed as it came, or nothing came. */
static int ask(const struct options *o, const char *method, const char *path, struct span body,
               json_t **answer)
{
    char why[JSONR_WHY_MAX];
    struct span text = SPAN_NONE;
    struct client *c = client_open(o);
    int status = c ? client_http(c, method, path, body, &text) : EXIT_UNREACHABLE;
    *answer = NULL;
    if (status == EXIT_DONE && o->json)
        printf("%.*s\n", (int)text.len, (const char *)text.data);
    else if (status == EXIT_DONE && jsonr_read(text, answer, why) != ERR_OK)
        status = cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    if (c)
        client_close(c);
    return status;
}

static int get(const struct options *o, struct arena *arena)
{
    json_t *item;
    int status = ask(o, "GET", path_of(o, "config", o->args[1], "", arena), SPAN_NONE, &item);
    if (item) {
        print_value(json_object_get(item, "value"));
        putchar('\n');
    }
    json_decref(item);
    return status;
}

/* Without a type a value is a string: what a shell gives is text. */
static int set(const struct options *o, struct arena *arena)
{
    char why[JSONR_WHY_MAX];
    struct buf b;
    struct jsonw w;
    json_t *answer = NULL;
    const char *type = o->type ? o->type : "string", *text = o->args[2];
    bool quoted = strcmp(type, "string") == 0 || strcmp(type, "bytes") == 0;
    if (!quoted && jsonr_read(span_text(text), &answer, why) != ERR_OK)
        return cli_complain(EXIT_USAGE, "config set: the value is not JSON: %s", why);
    json_decref(answer);
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "value");
    if (quoted)
        jsonw_text(&w, span_text(text));
    else
        jsonw_raw(&w, span_text(text));
    jsonw_name(&w, "type");
    jsonw_text(&w, span_text(type));
    jsonw_object_end(&w);
    int status = ask(o, "PUT", path_of(o, "config", o->args[1], "", arena), buf_all(&b), &answer);
    if (answer)
        puts("OK");
    json_decref(answer);
    buf_close(&b);
    return status;
}

static int delete(const struct options *o, struct arena *arena)
{
    json_t *answer;
    const char *path = path_of(o, "config", o->args[1], o->force ? "&force=true" : "", arena);
    int status = ask(o, "DELETE", path, SPAN_NONE, &answer);
    if (answer)
        puts("OK");
    json_decref(answer);
    return status;
}

static void print_items(const json_t *answer, bool history)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(answer, "items"), i, item)
    {
        print_line(item, history);
    }
}

/* All pages: of a list by their token, of a history by the revision that the next begins at. */
static int pages(const struct options *o, struct arena *arena)
{
    struct options page = *o;
    bool history = strcmp(o->args[0], "history") == 0;
    struct buf more;
    int status;
    bool again = true;
    buf_open(&more, &cli_heap);
    buf_text(&more, "&limit=1000");
    if (!history && o->n_args > 1) {
        buf_text(&more, "&prefix=");
        put_escaped(&more, o->args[1]);
    }
    size_t fixed = more.len;
    do {
        json_t *answer;
        const char *tail = arena_text(arena, buf_all(&more));
        const char *path = path_of(&page, history ? "history" : "config",
                                   history ? o->args[1] : NULL, tail, arena);
        status = ask(o, "GET", path, SPAN_NONE, &answer);
        print_items(answer, history);
        const char *token = json_string_value(json_object_get(answer, "next_page_token"));
        page.revision = json_integer_value(json_object_get(answer, "next_revision"));
        again = token || page.revision;
        more.len = fixed;
        if (token)
            buf_format(&more, "&page_token=%s", token);
        json_decref(answer);
    } while (again);
    buf_close(&more);
    return status;
}

int run_config(const struct options *o, struct arena *arena)
{
    static const struct {
        const char *name;
        int min, max; /* words, this one too */
        int (*run)(const struct options *o, struct arena *arena);
    } verbs[] = { { "get", 2, 2, get },
                  { "set", 3, 3, set },
                  { "list", 1, 2, pages },
                  { "delete", 2, 2, delete },
                  { "history", 2, 2, pages } };
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(o->args[0], verbs[i].name) != 0)
            continue;
        if (o->n_args < verbs[i].min || o->n_args > verbs[i].max)
            break;
        return verbs[i].run(o, arena);
    }
    return cli_usage(o);
}
