/* `confman config`: over the REST door, for environments and types are not etcd's. Answers are read
 * as trees that keep every number as it was written. */
#include <string.h>
#include "cli/cli_int.h"
#include "wire/jdoc/jdoc.h"

static void path_of(struct buf *path, const struct options *o, const char *door, const char *key)
{
    buf_reset(path);
    buf_format(path, "/v1/%s", door);
    if (key) {
        buf_text(path, "/");
        path_add(path, key, "/");
    }
    path_query(path, "environment", o->environment ? o->environment : "default");
    path_query(path, "own", o->own ? "true" : NULL);
    path_number(path, "revision", o->revision);
}

/* *out is in the arena. */
static int ask(const struct options *o, const char *method, struct buf *path, struct span body,
               struct arena *arena, struct jdoc **out)
{
    struct jdoc_fault fault;
    struct span text;
    int status = door_text(o, method, path, body, arena, &text);
    if (status == EXIT_DONE && jdoc_read(text, arena, out, &fault) != ERR_OK)
        status = cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    return status;
}

static struct span text_of(const struct jdoc *item, const char *name)
{
    const struct jdoc *v = jdoc_member(item, span_text(name));
    return v && (v->type == JDOC_STRING || v->type == JDOC_NUMBER) ? v->text : SPAN_NONE;
}

static void put_text(const struct jdoc *item, const char *name, const char *behind)
{
    write_bytes(text_of(item, name));
    fputs(behind, stdout);
}

/* A string as it is, everything else as JSON. */
static void put_value(const struct jdoc *item)
{
    const struct jdoc *value = jdoc_member(item, SPAN("value"));
    struct buf b;
    buf_open(&b, &cli_heap);
    if (value && value->type == JDOC_STRING)
        write_bytes(value->text);
    else if (value)
        jdoc_write(value, &b);
    write_bytes(buf_all(&b));
    buf_close(&b);
}

static void put_line(const struct jdoc *item, bool history)
{
    struct span from = text_of(item, "from");
    put_text(item, history ? "revision" : "key", "\t");
    if (history) {
        put_text(item, "updated_at", "\t");
        put_text(item, "updated_by", "\t");
    }
    if (jdoc_member(item, SPAN("deleted")))
        fputs("(deleted)", stdout);
    else
        put_value(item);
    if (from.len)
        printf("\t(from %.*s)", (int)from.len, (const char *)from.data);
    putchar('\n');
}

/* The request for one config; --output json has the answer as it is. */
static int one(const struct options *o, const char *method, struct span body, struct arena *arena)
{
    struct buf path;
    struct jdoc *item = NULL;
    struct span text;
    buf_open(&path, arena->alloc);
    path_of(&path, o, "config", o->args[1]);
    path_query(&path, "force", o->force && strcmp(method, "DELETE") == 0 ? "true" : NULL);
    int status = o->json ? door_text(o, method, &path, body, arena, &text)
                         : ask(o, method, &path, body, arena, &item);
    buf_close(&path);
    if (status != EXIT_DONE)
        return status;
    if (o->json)
        write_bytes(text);
    else if (strcmp(method, "GET") == 0)
        put_value(item);
    else
        fputs("OK", stdout);
    putchar('\n');
    return status;
}

static int get(const struct options *o, struct arena *arena)
{
    return one(o, "GET", SPAN_NONE, arena);
}

static int delete(const struct options *o, struct arena *arena)
{
    return one(o, "DELETE", SPAN_NONE, arena);
}

/* Without a type a value is a string: what a shell gives is text. */
static int set(const struct options *o, struct arena *arena)
{
    struct jdoc_fault fault;
    struct jdoc *value;
    struct buf b;
    struct jsonw w;
    const char *type = o->type ? o->type : "string", *text = o->args[2];
    bool quoted = strcmp(type, "string") == 0 || strcmp(type, "bytes") == 0;
    if (!quoted && jdoc_read(span_text(text), arena, &value, &fault) != ERR_OK)
        return cli_complain(EXIT_USAGE, "config set: the value is not JSON: %s, at byte %zu",
                            fault.why, fault.place);
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
    int status = one(o, "PUT", buf_all(&b), arena);
    buf_close(&b);
    return status;
}

/* ---- lists ---- */

static void put_items(const struct options *o, const struct jdoc *items, bool first)
{
    struct buf b;
    buf_open(&b, &cli_heap);
    for (uint32_t i = 0; items && i < items->n; i++) {
        if (!o->json) {
            put_line(&items->items[i], strcmp(o->args[0], "history") == 0);
            continue;
        }
        buf_text(&b, first && !i ? "" : ",");
        jdoc_write(&items->items[i], &b);
    }
    write_bytes(buf_all(&b));
    buf_close(&b);
}

/* What the last page says beside its items. */
static void put_rest(const struct jdoc *page)
{
    struct buf b;
    buf_open(&b, &cli_heap);
    buf_text(&b, "]");
    for (uint32_t i = 0; i < page->n; i++) {
        if (span_is(page->items[i].name, "items"))
            continue;
        buf_text(&b, ",");
        jdoc_write_text(page->items[i].name, &b);
        buf_text(&b, ":");
        jdoc_write(&page->items[i], &b);
    }
    buf_text(&b, "}\n");
    write_bytes(buf_all(&b));
    buf_close(&b);
}

/* All pages: of a list by their token, of a history by the revision that the next begins at. */
static int pages(const struct options *o, struct arena *arena)
{
    struct options page = *o;
    bool history = strcmp(o->args[0], "history") == 0, first = true, again;
    struct arena of_page;
    struct jdoc *answer;
    struct buf path, token;
    int status;
    arena_open(&of_page, &cli_heap);
    buf_open(&path, arena->alloc);
    buf_open(&token, arena->alloc);
    do {
        path_of(&path, &page, history ? "history" : "config", history ? o->args[1] : NULL);
        path_query(&path, "limit", "1000");
        path_query(&path, "prefix", history || o->n_args < 2 ? NULL : o->args[1]);
        path_query(&path, "page_token", token.len ? (const char *)token.data : NULL);
        arena_reset(&of_page);
        status = ask(o, "GET", &path, SPAN_NONE, &of_page, &answer);
        if (status != EXIT_DONE)
            break;
        if (o->json && first)
            fputs("{\"items\":[", stdout);
        put_items(o, jdoc_member(answer, SPAN("items")), first);
        struct span next = text_of(answer, "next_page_token"),
                    older = text_of(answer, "next_revision");
        again = next.len || (older.len && options_number(arena_text(&of_page, older),
                                                         &page.revision) && page.revision);
        buf_reset(&token);
        if (next.len) {
            buf_span(&token, next);
            buf_u8(&token, 0);
        }
        first = false;
        if (o->json && !again)
            put_rest(answer);
    } while (again);
    arena_close(&of_page);
    buf_close(&path);
    buf_close(&token);
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
