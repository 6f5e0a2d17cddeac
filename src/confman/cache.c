/* The last known good as bytes: one line that tells length and checksum, then JSON, so that people
 * can read it too. */
#include <stdio.h>
#include <stdlib.h>
#include "base/crc.h"
#include "confman/confman_int.h"

static const char head[] = "confman copy 1 %08x %08x\n";
enum { HEAD_BYTES = 33 };

static void put_member(struct buf *out, const char *before, struct span text)
{
    buf_text(out, before);
    jdoc_write_text(text, out);
}

/* What is no JSON, because an etcd client wrote it, would spoil the rest. */
static bool is_json(struct span text, struct alloc *alloc)
{
    struct arena arena;
    struct jdoc *v;
    struct jdoc_fault fault;
    arena_open(&arena, alloc);
    bool ok = jdoc_read(text, &arena, &v, &fault) == ERR_OK;
    arena_close(&arena);
    return ok;
}

void cache_write(const struct cached *c, struct buf *out)
{
    struct buf body;
    char line[HEAD_BYTES + 1];
    buf_open(&body, out->alloc);
    put_member(&body, "{\"environment\":", c->environment);
    put_member(&body, ",\"prefix\":", c->prefix);
    buf_format(&body, ",\"revision\":%lld,\n\"items\":[", (long long)c->revision);
    for (size_t i = 0; i < c->n_items; i++) {
        buf_text(&body, i ? ",\n" : "\n");
        buf_span(&body, c->items[i].json);
    }
    buf_text(&body, "],\n\"flags\":[");
    bool first = true;
    for (size_t i = 0; i < c->n_flags; i++) {
        if (!is_json(c->flags[i].json, out->alloc))
            continue;
        put_member(&body, first ? "\n{\"name\":" : ",\n{\"name\":", c->flags[i].name);
        buf_text(&body, ",\"definition\":");
        buf_span(&body, c->flags[i].json);
        buf_u8(&body, '}');
        first = false;
    }
    buf_text(&body, "],\n\"shared\":");
    buf_span(&body, c->shared.len && is_json(c->shared, out->alloc) ? c->shared : SPAN("null"));
    buf_text(&body, "}\n");
    snprintf(line, sizeof(line), head, (unsigned)body.len, crc32c(0, body.data, body.len));
    buf_text(out, line);
    buf_span(out, buf_all(&body));
    buf_close(&body);
}

static bool refuse(char *why, const char *text)
{
    snprintf(why, CONFMAN_TEXT_MAX, "%s", text);
    return false;
}

static bool take_flags(const struct jdoc *list, struct arena *arena, struct cached *out)
{
    struct known *flags = ARENA_ARRAY(arena, struct known, list->n + 1);
    for (uint32_t i = 0; i < list->n; i++) {
        const struct jdoc *one = &list->items[i];
        const struct jdoc *name = jdoc_is(one, JDOC_OBJECT) ? jdoc_member(one, SPAN("name")) : NULL;
        const struct jdoc *json = name ? jdoc_member(one, SPAN("definition")) : NULL;
        struct buf b;
        if (!jdoc_is(name, JDOC_STRING) || !json)
            return false;
        buf_open(&b, arena->alloc);
        jdoc_write(json, &b);
        flags[i] = (struct known){ name->text, arena_copy(arena, buf_all(&b)) };
        buf_close(&b);
    }
    out->flags = flags;
    out->n_flags = list->n;
    return true;
}

static bool take_shared(const struct jdoc *shared, struct arena *arena, struct cached *out)
{
    struct buf b;
    if (!shared || jdoc_is(shared, JDOC_NULL))
        return true;
    buf_open(&b, arena->alloc);
    jdoc_write(shared, &b);
    out->shared = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return true;
}

bool cache_read(struct span text, struct arena *arena, struct cached *out, char *why)
{
    struct page page;
    struct jdoc *v;
    struct jdoc_fault fault;
    char line[HEAD_BYTES + 1];
    *out = (struct cached){ 0 };
    if (text.len < HEAD_BYTES || memcmp(text.data, head, 13) != 0)
        return refuse(why, "it is no copy that libconfman wrote");
    struct span body = span_from(text, HEAD_BYTES);
    snprintf(line, sizeof(line), head, (unsigned)body.len, crc32c(0, body.data, body.len));
    if (memcmp(text.data, line, HEAD_BYTES) != 0)
        return refuse(why, "it is damaged, or not whole: its checksum is another");
    if (jdoc_read(body, arena, &v, &fault) != ERR_OK || !jdoc_is(v, JDOC_OBJECT))
        return refuse(why, "it is no JSON");
    const struct jdoc *environment = jdoc_member(v, SPAN("environment"));
    const struct jdoc *prefix = jdoc_member(v, SPAN("prefix"));
    const struct jdoc *flags = jdoc_member(v, SPAN("flags"));
    if (!jdoc_is(environment, JDOC_STRING) || !jdoc_is(prefix, JDOC_STRING) ||
        !jdoc_is(flags, JDOC_ARRAY) || !decode_page(body, arena, &page) ||
        !take_flags(flags, arena, out) ||
        !take_shared(jdoc_member(v, SPAN("shared")), arena, out))
        return refuse(why, "it lacks what a copy has");
    out->environment = environment->text;
    out->prefix = prefix->text;
    out->items = page.items;
    out->n_items = page.n;
    out->revision = page.revision;
    return true;
}
