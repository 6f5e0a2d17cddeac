/* `confman deliveries`: who runs which revision, over the REST door. */
#include <string.h>
#include "cli/cli_int.h"

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "-";
}

static void print_subscription(const json_t *client, const json_t *s)
{
    static const char *const kinds[] = { "key", "prefix", "flags" };
    const json_t *revision = json_object_get(s, "revision"), *error = json_object_get(s, "error");
    printf("%-20s %-20s %-8s ", text_of(client, "client"), text_of(client, "instance"),
           text_of(s, "state"));
    if (revision)
        printf("%-9lld ", (long long)json_integer_value(revision));
    else
        printf("%-9s ", "-");
    printf("%-9lld %-25s ", (long long)json_integer_value(json_object_get(s, "wanted_revision")),
           text_of(s, "revision_since"));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (json_object_get(s, kinds[i]))
            printf("%s:%s=%s", text_of(s, "environment"), kinds[i], text_of(s, kinds[i]));
    if (error)
        printf("  (failed at %lld: %s)",
               (long long)json_integer_value(json_object_get(s, "failed_revision")),
               json_string_value(error));
    putchar('\n');
}

/* A page; *next is where the one behind it begins, or NULL. */
static int print_page(struct span answer, struct arena *arena, const char **next)
{
    char why[JSONR_WHY_MAX];
    json_t *json, *client, *s, *member;
    size_t i, k;
    if (jsonr_read(answer, &json, why) != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    json_array_foreach(json_object_get(json, "clients"), i, client)
    {
        json_array_foreach(json_object_get(client, "subscriptions"), k, s)
        {
            print_subscription(client, s);
        }
    }
    const char *token = json_string_value(json_object_get(json, "next_page_token"));
    *next = token ? arena_text(arena, span_text(token)) : NULL;
    json_array_foreach(json_object_get(json, "members"), i, member)
    {
        if (!*next && !json_is_true(json_object_get(member, "answered")))
            fprintf(stderr, "confman: %s did not answer: its clients are not told\n",
                    text_of(member, text_of(member, "name")[0] ? "name" : "id"));
    }
    json_decref(json);
    return EXIT_DONE;
}

static int ask(const struct options *o, const char *query, struct arena *arena)
{
    struct client *c = client_open(o);
    int status = c ? EXIT_DONE : EXIT_UNREACHABLE;
    const char *next = "";
    if (c && !o->json)
        printf("%-20s %-20s %-8s %-9s %-9s %-25s %s\n", "CLIENT", "INSTANCE", "STATE", "REVISION",
               "WANTED", "SINCE", "SUBSCRIPTION");
    while (status == EXIT_DONE && next) {
        struct span answer;
        struct buf path;
        buf_open(&path, &cli_heap);
        buf_text(&path, query);
        path_query(&path, "page_token", *next ? next : NULL);
        next = NULL;
        status = client_http(c, "GET", arena_text(arena, buf_all(&path)), SPAN_NONE, &answer);
        if (status == EXIT_DONE && o->json)
            printf("%.*s\n", (int)answer.len, (const char *)answer.data);
        else if (status == EXIT_DONE)
            status = print_page(answer, arena, &next);
        if (o->limit)
            next = NULL;
        buf_close(&path);
    }
    if (c)
        client_close(c);
    return status;
}

int run_deliveries(const struct options *o, struct arena *arena)
{
    struct buf path;
    buf_open(&path, &cli_heap);
    buf_format(&path, "/v1/deliveries?limit=%lld", o->limit ? (long long)o->limit : 1000LL);
    const char *kind = o->flags ? "flags" : o->prefix ? "prefix" : "key";
    path_query(&path, kind, o->n_args ? o->args[0] : NULL);
    path_query(&path, "environment", o->environment);
    path_query(&path, "client", o->client);
    path_query(&path, "state", o->state);
    int status = ask(o, arena_text(arena, buf_all(&path)), arena);
    buf_close(&path);
    return status;
}
