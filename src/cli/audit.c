/* `confman audit`: what the audit logs of one server, or of all members, have, newest first. */
#include <stdlib.h>
#include <string.h>
#include "cli/cli_int.h"

static void path_of(const struct options *o, struct buf *path)
{
    buf_text(path, "/v1/audit");
    path_query(path, "prefix", o->n_args ? o->args[0] : NULL);
    path_query(path, "user", o->by);
    path_query(path, "since", o->since);
    path_query(path, "until", o->until);
    path_number(path, "limit", o->limit);
}

static const char *time_of(const void *item)
{
    const char *s = json_string_value(json_object_get(*(json_t *const *)item, "time"));
    return s ? s : "";
}

static int newer_first(const void *a, const void *b)
{
    return strcmp(time_of(b), time_of(a));
}

static void print_newest(json_t *all, int64_t limit)
{
    size_t n = json_array_size(all);
    json_t **items = calloc(n + 1, sizeof(json_t *));
    if (!items)
        return;
    for (size_t i = 0; i < n; i++)
        items[i] = json_array_get(all, i);
    qsort(items, n, sizeof(json_t *), newer_first);
    for (size_t i = 0; i < n && (!limit || (int64_t)i < limit); i++) {
        json_dumpf(items[i], stdout, JSON_COMPACT);
        putchar('\n');
    }
    free(items);
}

/* What one server has is added to all. */
static int gather(const struct options *o, json_t *all, struct arena *arena)
{
    struct options quiet = *o;
    struct buf path;
    json_t *a;
    buf_open(&path, arena->alloc);
    path_of(o, &path);
    int status = door_read(&quiet, "GET", &path, SPAN_NONE, &a);
    if (status == EXIT_DONE && a)
        json_array_extend(all, json_object_get(a, "items"));
    json_decref(a);
    buf_close(&path);
    return status;
}

/* Whoever does not answer is told of, and makes it a failure; the others' lines are printed. */
static int gather_all(const struct options *o, json_t *all, struct arena *arena)
{
    struct options quiet = *o;
    struct buf path;
    json_t *a, *m;
    size_t i;
    buf_open(&path, arena->alloc);
    buf_text(&path, "/v1/cluster");
    int status = door_read(&quiet, "GET", &path, SPAN_NONE, &a);
    buf_close(&path);
    json_array_foreach(json_object_get(a, "members"), i, m)
    {
        const char *url = json_string_value(json_object_get(m, "client"));
        const char *scheme = url ? strstr(url, "://") : NULL;
        quiet.endpoint = scheme ? scheme + 3 : url;
        int one = url && url[0] ? gather(&quiet, all, arena) : EXIT_UNREACHABLE;
        if (one != EXIT_DONE) {
            const char *name = json_string_value(json_object_get(m, "name"));
            status = cli_complain(one, "audit: nothing from member %s", name ? name : "?");
        }
    }
    json_decref(a);
    return status;
}

int run_audit(const struct options *o, struct arena *arena)
{
    json_t *all = json_array();
    int status = o->all_members ? gather_all(o, all, arena) : gather(o, all, arena);
    print_newest(all, o->limit);
    json_decref(all);
    return status;
}
