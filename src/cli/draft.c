/* `confman draft`: changes that are proposed, reviewed and published, over the REST door. */
#include <string.h>
#include "cli/cli_int.h"

static const char *text_in(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

static long long number_in(const json_t *o, const char *name)
{
    return (long long)json_integer_value(json_object_get(o, name));
}

static void print_line(const json_t *d)
{
    printf("%lld\t%s\t%s\t%lld changes\t%s\n", number_in(d, "id"), text_in(d, "state"),
           text_in(d, "author"), number_in(d, "change_count"), text_in(d, "title"));
}

static void print_draft(const json_t *d)
{
    const json_t *reviews = json_object_get(d, "reviews"), *r;
    const json_t *approvals = json_object_get(d, "approvals");
    const json_t *conflicts = json_object_get(d, "conflicts");
    size_t i;
    print_line(d);
    if (text_in(d, "publish_at")[0])
        printf("to be published at %s, by %s\n", text_in(d, "publish_at"), text_in(d, "state_by"));
    if (text_in(d, "why")[0])
        printf("why: %s\n", text_in(d, "why"));
    if (text_in(d, "change_log")[0])
        printf("change log: %s\n", text_in(d, "change_log"));
    if (number_in(approvals, "needed"))
        printf("approvals: %zu of %lld\n", json_array_size(json_object_get(approvals, "given")),
               number_in(approvals, "needed"));
    json_array_foreach(reviews, i, r)
    {
        printf("%s %s %s (edit %lld): %s\n", text_in(r, "at"), text_in(r, "by"),
               text_in(r, "type"), number_in(r, "edit"), text_in(r, "text"));
    }
    json_array_foreach(conflicts, i, r)
    {
        printf("conflict: %s/%s was changed since\n", text_in(r, "environment"),
               text_in(r, "key"));
    }
    print_changes(d);
}

static void print_answer(const json_t *a)
{
    const json_t *items = json_object_get(a, "items"), *d;
    size_t i;
    if (json_object_get(a, "id")) {
        print_draft(a);
        return;
    }
    if (json_object_get(a, "deleted"))
        puts("OK");
    json_array_foreach(items, i, d)
    {
        print_line(d);
    }
}

/* {"text": ...} or {"at": ...}; empty: no body. */
static void word_body(const char *name, const char *value, struct buf *b)
{
    struct jsonw w;
    if (!value)
        return;
    jsonw_open(&w, b);
    jsonw_object(&w);
    jsonw_name(&w, name);
    jsonw_text(&w, span_text(value));
    jsonw_object_end(&w);
}

static const struct verb {
    const char *name, *method, *action;
    const char *word; /* what the second word is, in the body; "" a file is the body */
    int min, max;     /* words, the verb too */
    bool of_one;
} verbs[] = {
    { "list", "GET", "", NULL, 1, 1, false },
    { "propose", "POST", "", "", 2, 2, false },
    { "show", "GET", "", NULL, 2, 2, true },
    { "edit", "PUT", "", "", 3, 3, true },
    { "delete", "DELETE", "", NULL, 2, 2, true },
    { "comment", "POST", ":comment", "text", 3, 3, true },
    { "approve", "POST", ":approve", "text", 2, 3, true },
    { "reject", "POST", ":reject", "text", 2, 3, true },
    { "publish", "POST", ":publish", NULL, 2, 2, true },
    { "schedule", "POST", ":schedule", "at", 3, 3, true },
    { "cancel", "POST", ":cancel", NULL, 2, 2, true },
};

static int run_verb(const struct options *o, const struct verb *v, struct buf *path,
                    struct buf *body)
{
    json_t *a;
    int64_t id, last = v->of_one ? 2 : 1;
    int status = EXIT_DONE;
    buf_text(path, "/v1/drafts");
    if (v->of_one && (!options_number(o->args[1], &id) || id < 1))
        return cli_complain(EXIT_USAGE, "draft %s: \"%s\" is not the number of a draft", v->name,
                            o->args[1]);
    if (v->of_one)
        buf_format(path, "/%lld%s", (long long)id, v->action);
    if (strcmp(v->name, "list") == 0)
        path_query(path, "state", o->state);
    if (strcmp(v->name, "publish") == 0)
        path_query(path, "confirm", o->confirm ? "true" : NULL);
    path_query(path, "force", o->force ? "true" : NULL);
    if (v->word && !v->word[0]) {
        path_query(path, "environment", o->environment);
        status = door_file(o->args[last], body);
    } else if (v->word) {
        word_body(v->word, o->n_args > last ? o->args[last] : NULL, body);
    }
    if (status == EXIT_DONE)
        status = door_ask(o, v->method, path, buf_all(body), &a);
    if (status == EXIT_DONE && a) {
        print_answer(a);
        json_decref(a);
    }
    return status;
}

int run_draft(const struct options *o, struct arena *arena)
{
    const struct verb *v = NULL;
    struct buf path, body;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].name, o->args[0]) == 0)
            v = &verbs[i];
    if (!v || o->n_args < v->min || o->n_args > v->max)
        return cli_usage(o);
    buf_open(&path, arena->alloc);
    buf_open(&body, arena->alloc);
    int status = run_verb(o, v, &path, &body);
    buf_close(&path);
    buf_close(&body);
    return status;
}
