/* `confman service-account`: programs with a key of ours, over the REST door. */
#include <string.h>
#include <time.h>
#include "cli/cli_int.h"

enum { PATH_BYTES = 256 };

static const char *text_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : "";
}

static void print_time(const json_t *key, const char *name)
{
    const json_t *v = json_object_get(key, name);
    time_t at = (time_t)(json_integer_value(v) / 1000);
    struct tm tm;
    char text[32] = "never";
    if (v && gmtime_r(&at, &tm))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("  %s", text);
}

static void print_account(const json_t *a, bool whole)
{
    const json_t *v, *keys = json_object_get(a, "keys");
    size_t i;
    printf("%-30s %-8s %2zu keys ", text_of(a, "name"),
           json_is_true(json_object_get(a, "disabled")) ? "disabled" : "enabled",
           json_array_size(keys));
    json_array_foreach(json_object_get(a, "roles"), i, v)
    {
        printf(" %s", json_string_value(v));
    }
    puts("");
    if (whole && json_array_size(keys))
        printf("  %-8s  %-20s  %s\n", "KEY", "MADE", "ENDS");
    json_array_foreach(keys, i, v)
    {
        if (!whole)
            break;
        printf("  %-8s", text_of(v, "id"));
        print_time(v, "created_at_ms");
        print_time(v, "expires_at_ms");
        puts("");
    }
}

static int print_answer(struct span answer, const char *verb)
{
    char why[JSONR_WHY_MAX];
    json_t *json, *a;
    size_t i;
    if (jsonr_read(answer, &json, why) != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    if (*text_of(json, "key"))
        puts(text_of(json, "key")); /* this once */
    else if (strcmp(verb, "list") == 0)
        json_array_foreach(json_object_get(json, "service_accounts"), i, a)
        {
            print_account(a, false);
        }
    else if (strcmp(verb, "show") == 0)
        print_account(json, true);
    else
        puts("OK");
    json_decref(json);
    return EXIT_DONE;
}

/* What an account shall be, or its new key. */
static void write_body(const struct options *o, bool key, struct buf *out)
{
    struct jsonw w;
    jsonw_open(&w, out);
    jsonw_object(&w);
    if (key) {
        jsonw_name(&w, "ttl_s");
        jsonw_number(&w, o->key_ttl);
        jsonw_name(&w, "grace_s");
        jsonw_number(&w, o->grace);
    } else {
        jsonw_name(&w, "disabled");
        jsonw_bool(&w, o->disabled);
        jsonw_name(&w, "roles");
        cli_words(&w, o->roles ? o->roles : "");
    }
    jsonw_object_end(&w);
}

/* "VERB NAME", "key VERB NAME [ID]", and what they ask for. */
static const struct verb {
    const char *word, *key; /* key: the second word */
    int args;
    const char *method, *query;
    enum { NOTHING, ACCOUNT, KEY } body;
} verbs[] = {
    { "list", NULL, 1, "GET", "", NOTHING },
    { "show", NULL, 2, "GET", "", NOTHING },
    { "set", NULL, 2, "PUT", "", ACCOUNT },
    { "delete", NULL, 2, "DELETE", "", NOTHING },
    { "key", "add", 3, "POST", "?action=key", KEY },
    { "key", "rotate", 3, "POST", "?action=rotate", KEY },
    { "key", "revoke", 4, "DELETE", "?key=", NOTHING },
};

static const struct verb *find(const struct options *o)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(o->args[0], verbs[i].word) == 0 && o->n_args == verbs[i].args &&
            (!verbs[i].key || strcmp(o->args[1], verbs[i].key) == 0))
            return &verbs[i];
    return NULL;
}

/* Names and ids are what the server takes: letters, digits and hyphens. */
static bool plain(const char *name)
{
    return *name && strlen(name) <= 60 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
               strlen(name);
}

int run_account(const struct options *o, struct arena *arena)
{
    char path[PATH_BYTES];
    struct span answer = SPAN_NONE;
    struct buf body;
    const struct verb *v = find(o);
    (void)arena;
    if (!v)
        return cli_complain(EXIT_USAGE, "service-account: wants list, show NAME, set NAME, delete "
                                        "NAME, key add NAME, key rotate NAME or key revoke NAME "
                                        "ID");
    const char *name = v->args > 1 ? o->args[v->key ? 2 : 1] : "";
    const char *id = v->args == 4 ? o->args[3] : "";
    if ((v->args > 1 && !plain(name)) || (v->args == 4 && !plain(id)))
        return cli_complain(EXIT_USAGE, "service-account: a name has 1 to 60 letters, digits and "
                                        "hyphens");
    snprintf(path, sizeof(path), "/v1/service-accounts%s%s%s%s", *name ? "/" : "", name, v->query,
             id);
    buf_open(&body, &cli_heap);
    if (v->body != NOTHING)
        write_body(o, v->body == KEY, &body);
    struct client *c = client_open(o);
    int status = c ? client_http(c, v->method, path, buf_all(&body), &answer) : EXIT_UNREACHABLE;
    if (status == EXIT_DONE && o->json)
        printf("%.*s\n", (int)answer.len, (const char *)answer.data);
    else if (status == EXIT_DONE)
        status = print_answer(answer, v->word);
    if (c)
        client_close(c);
    buf_close(&body);
    return status;
}
