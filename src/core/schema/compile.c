/* From a schema's text to rules: first every schema in a document is found, with the resources and
 * anchors that it makes known; then the rules of each, whose references may bring in more. */
#include "core/schema/schema_int.h"
#include "base/buf.h"
#include "base/check.h"

const struct keyword_info keyword_infos[KEYWORD_COUNT] = {
#define KEYWORD(NAME, text, first, last, vocabulary, shape)                                        \
    [KEYWORD_##                                                                                    \
        NAME] = { text, DRAFT_##first, DRAFT_##last, VOCABULARY_##vocabulary, SHAPE_##shape },
#include "core/schema/keyword.def"
#undef KEYWORD
};

const struct schema_options schema_usual = { .draft = DRAFT_2020_12 };

/* ---- memory ---- */

static void *count_resize(struct alloc *self, void *ptr, size_t size_old, size_t size_new)
{
    struct schema_memory *m = (struct schema_memory *)(void *)self;
    CHECK(self->used >= size_old);
    self->used += size_new - size_old;
    return m->below->resize(m->below, ptr, size_old, size_new);
}

size_t schema_bytes(const struct schema *s)
{
    return s->memory.alloc.used + sizeof(*s);
}

bool schema_too_large(struct compiling *c)
{
    if (schema_bytes(c->schema) > SCHEMA_MEMORY_MAX)
        c->err = ERR_BODY_TOO_LARGE;
    return c->err == ERR_BODY_TOO_LARGE;
}

void schema_free(struct schema *s)
{
    if (!s)
        return;
    struct alloc *below = s->memory.below;
    VEC_CLOSE(&s->nodes, &s->memory.alloc);
    VEC_CLOSE(&s->resources, &s->memory.alloc);
    arena_close(&s->arena);
    CHECK(s->memory.alloc.used == 0);
    mem_free(below, s, sizeof(*s));
}

/* ---- what is wrong ---- */

void schema_wrong(struct compiling *c, const struct jdoc *at, const char *format, ...)
{
    struct schema_report *r = c->report;
    struct buf pointer, message;
    va_list list;
    c->err = c->err == ERR_OK ? ERR_SCHEMA_INVALID : c->err;
    if (r->n == SCHEMA_ERRORS_MAX) {
        r->more = true;
        return;
    }
    buf_open(&pointer, r->arena->alloc);
    buf_open(&message, r->arena->alloc);
    jdoc_pointer(at, &pointer);
    va_start(list, format);
    buf_vformat(&message, format, list);
    va_end(list);
    r->items[r->n++] = (struct schema_error){ .pointer = arena_copy(r->arena, buf_all(&pointer)),
                                              .message = arena_copy(r->arena, buf_all(&message)) };
    buf_close(&pointer);
    buf_close(&message);
}

/* ---- finding schemas ---- */

static bool applies(const struct keyword_info *k, const struct resource *r)
{
    return r->draft >= k->first && r->draft <= k->last && (k->vocabulary & r->vocabularies);
}

enum keyword schema_keyword(struct span name, const struct resource *r)
{
    for (int i = 0; i < KEYWORD_COUNT; i++)
        if (applies(&keyword_infos[i], r) && span_is(name, keyword_infos[i].text))
            return (enum keyword)i;
    return KEYWORD_COUNT;
}

static const struct jdoc *text_member(struct compiling *c, const struct jdoc *v, const char *name)
{
    const struct jdoc *m = jdoc_member(v, span_text(name));
    if (m && m->type != JDOC_STRING) {
        schema_wrong(c, m, "%s must be a string", name);
        return NULL;
    }
    return m;
}

static void add_anchor(struct compiling *c, struct node *node, struct span name, bool dynamic)
{
    struct anchor *a = ARENA_NEW(&c->schema->arena, struct anchor);
    for (struct anchor *old = node->resource->anchors; old; old = old->next)
        if (span_equal(old->name, name) && old->node != node)
            schema_wrong(c, node->value, "the anchor \"%.*s\" stands twice in this schema",
                         (int)(name.len < 100 ? name.len : 100), (const char *)name.data);
    *a = (struct anchor){ name, dynamic, node, node->resource->anchors };
    node->resource->anchors = a;
}

static struct resource *resource_at(struct compiling *c, struct span uri)
{
    for (size_t i = 0; i < c->schema->resources.n; i++)
        if (span_equal(c->schema->resources.items[i].uri, uri))
            return c->schema->resources.items[i].resource;
    return NULL;
}

static void add_address(struct compiling *c, struct span uri, struct resource *r)
{
    struct address a = { uri, r };
    VEC_PUSH(&c->schema->resources, &c->schema->memory.alloc, a);
}

static unsigned vocabularies_of(const struct jdoc *meta)
{
    static const struct {
        const char *end;
        unsigned bit;
    } known[] = { { "/vocab/applicator", VOCABULARY_APPLICATOR },
                  { "/vocab/unevaluated", VOCABULARY_UNEVALUATED },
                  { "/vocab/validation", VOCABULARY_VALIDATION },
                  { "/vocab/format", VOCABULARY_FORMAT },
                  { "/vocab/format-annotation", VOCABULARY_FORMAT },
                  { "/vocab/format-assertion", VOCABULARY_FORMAT | VOCABULARY_ASSERTION } };
    const struct jdoc *list = jdoc_member(meta, SPAN("$vocabulary"));
    unsigned out = VOCABULARY_CORE;
    if (!jdoc_is(list, JDOC_OBJECT))
        return VOCABULARY_USUAL;
    for (uint32_t i = 0; i < list->n; i++) {
        struct span name = list->items[i].name;
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
            struct span end = span_text(known[k].end);
            if (name.len >= end.len && span_equal(span_from(name, name.len - end.len), end))
                out |= known[k].bit;
        }
        if (span_is(name, "https://json-schema.org/draft/2019-09/vocab/applicator"))
            out |= VOCABULARY_UNEVALUATED;
    }
    return out;
}

/* A meta-schema that somebody made: its draft is that of its own $schema. */
static bool take_meta(struct compiling *c, struct span uri, struct resource *r)
{
    struct span text, given;
    struct jdoc_fault fault;
    struct jdoc *meta;
    const struct schema_options *o = c->options;
    if (!o->remote || !o->remote(o->context, uri, &text) ||
        jdoc_read(text, &c->schema->arena, &meta, &fault) != ERR_OK || meta->type != JDOC_OBJECT)
        return false;
    const struct jdoc *of = jdoc_member(meta, SPAN("$schema"));
    given = jdoc_is(of, JDOC_STRING) ? of->text : SPAN_NONE;
    if (!meta_draft(given, &r->draft))
        return false;
    r->vocabularies = vocabularies_of(meta);
    return true;
}

static void take_draft(struct compiling *c, const struct jdoc *v, struct resource *r)
{
    const struct jdoc *given = text_member(c, v, "$schema");
    if (!given)
        return;
    r->vocabularies = VOCABULARY_USUAL;
    if (!meta_draft(given->text, &r->draft) && !take_meta(c, given->text, r))
        schema_wrong(c, given,
                     "this $schema is not known here; known are drafts 2020-12, 2019-09, 07, "
                     "06 and 04, and none at all is 2020-12");
}

static struct resource *add_resource(struct compiling *c, struct jdoc *v, struct span uri,
                                     const struct resource *around)
{
    struct resource *r = ARENA_NEW(&c->schema->arena, struct resource);
    *r = (struct resource){ .uri = uri,
                            .root = v,
                            .draft = around ? around->draft : c->options->draft,
                            .vocabularies = around ? around->vocabularies : VOCABULARY_USUAL };
    take_draft(c, v, r);
    if (resource_at(c, uri))
        schema_wrong(c, v, "two schemas have the same $id");
    add_address(c, uri, r);
    return r;
}

/* $id (of draft 04: id): another base, or an anchor. */
static void take_id(struct compiling *c, struct jdoc *v, struct node *node)
{
    struct resource *r = node->resource;
    const struct jdoc *schema = jdoc_member(v, SPAN("$schema"));
    struct resource own = *r; /* $schema decides what an id is */
    if (schema && r->root != v)
        take_draft(c, v, &own);
    bool old = own.draft <= DRAFT_07;
    if (old && jdoc_member(v, SPAN("$ref")))
        return;
    const struct jdoc *id = text_member(c, v, own.draft == DRAFT_04 ? "id" : "$id");
    if (!id)
        return;
    struct uri uri = uri_resolve(r->uri, id->text, &c->schema->arena);
    bool alone = id->text.len && id->text.data[0] == '#';
    if (uri.fragment.len && !old)
        schema_wrong(c, id, "$id may not have a fragment: $anchor is for that");
    if (!alone && !span_equal(uri.whole, r->uri))
        node->resource = add_resource(c, v, uri.whole, r);
    if (uri.fragment.len && old)
        add_anchor(c, node, uri.fragment, false);
}

static void take_anchors(struct compiling *c, const struct jdoc *v, struct node *node)
{
    enum schema_draft draft = node->resource->draft;
    const struct jdoc *a = draft >= DRAFT_2019_09 ? text_member(c, v, "$anchor") : NULL;
    if (a)
        add_anchor(c, node, a->text, false);
    a = draft >= DRAFT_2020_12 ? text_member(c, v, "$dynamicAnchor") : NULL;
    if (a)
        add_anchor(c, node, a->text, true);
    const struct jdoc *recursive = jdoc_member(v, SPAN("$recursiveAnchor"));
    if (draft == DRAFT_2019_09 && jdoc_is(recursive, JDOC_BOOL) && node->resource->root == v)
        node->resource->recursive = recursive->truth;
}

static struct node *find_schemas(struct compiling *c, struct jdoc *v, struct resource *around);

static void find_in_children(struct compiling *c, struct jdoc *v, struct resource *r, bool any)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (any || v->items[i].type == JDOC_OBJECT || v->items[i].type == JDOC_BOOL)
            find_schemas(c, &v->items[i], r);
}

/* The schemas in a keyword's value; what has another shape is found wrong with the rules. */
static void find_below(struct compiling *c, enum keyword keyword, struct jdoc *v,
                       struct resource *r)
{
    enum shape shape = (enum shape)keyword_infos[keyword].shape;
    if (shape == SHAPE_SCHEMA || (shape == SHAPE_ITEMS && v->type != JDOC_ARRAY))
        find_schemas(c, v, r);
    else if ((shape == SHAPE_SCHEMAS || shape == SHAPE_ITEMS) && v->type == JDOC_ARRAY)
        find_in_children(c, v, r, true);
    else if ((shape == SHAPE_SCHEMA_MAP || shape == SHAPE_PATTERN_MAP) && v->type == JDOC_OBJECT)
        find_in_children(c, v, r, true);
    else if (shape == SHAPE_DEPENDENCIES && v->type == JDOC_OBJECT)
        find_in_children(c, v, r, false);
}

/* around: NULL for a document whose root made its resource already. */
static struct node *find_schemas(struct compiling *c, struct jdoc *v, struct resource *around)
{
    if (v->mark)
        return c->schema->nodes.items[v->mark - 1];
    struct node *node = ARENA_NEW(&c->schema->arena, struct node);
    *node = (struct node){ .value = v, .resource = around };
    VEC_PUSH(&c->schema->nodes, &c->schema->memory.alloc, node);
    v->mark = (uint32_t)c->schema->nodes.n;
    if (v->type == JDOC_BOOL && around->draft > DRAFT_04)
        return node;
    if (v->type == JDOC_BOOL && v->parent && span_starts(v->name, SPAN("additional")))
        return node; /* draft 04 allows it there */
    if (v->type != JDOC_OBJECT) {
        schema_wrong(c, v,
                     around->draft > DRAFT_04 ? "a schema must be an object, true or false"
                                              : "a schema must be an object");
        return node;
    }
    take_id(c, v, node);
    take_anchors(c, v, node);
    for (uint32_t i = 0; i < v->n && !schema_too_large(c); i++) {
        enum keyword keyword = schema_keyword(v->items[i].name, node->resource);
        if (keyword != KEYWORD_COUNT)
            find_below(c, keyword, &v->items[i], node->resource);
    }
    return node;
}

/* A whole document, known by uri and by its own $id. */
static struct resource *add_document(struct compiling *c, struct jdoc *root, struct span uri)
{
    struct resource *r = ARENA_NEW(&c->schema->arena, struct resource);
    *r = (struct resource){
        .uri = uri, .root = root, .draft = c->options->draft, .vocabularies = VOCABULARY_USUAL
    };
    if (root->type == JDOC_OBJECT)
        take_draft(c, root, r);
    add_address(c, uri, r);
    struct node *node = find_schemas(c, root, r);
    return node->resource;
}

/* ---- references ---- */

static struct resource *load(struct compiling *c, struct span uri)
{
    const struct schema_options *o = c->options;
    struct span text;
    struct jdoc *root;
    struct jdoc_fault fault;
    if (!meta_text(uri, &text) && !(o->remote && o->remote(o->context, uri, &text)))
        return NULL;
    if (jdoc_read(text, &c->schema->arena, &root, &fault) != ERR_OK)
        return NULL;
    return add_document(c, root, uri);
}

/* The base of what stands anywhere in a document: that of the nearest schema around it. */
static struct resource *resource_around(struct compiling *c, const struct jdoc *v,
                                        struct resource *otherwise)
{
    for (; v; v = v->parent)
        if (v->mark)
            return c->schema->nodes.items[v->mark - 1]->resource;
    return otherwise;
}

static struct anchor *anchor_of(const struct resource *r, struct span name)
{
    struct anchor *found = NULL;
    for (struct anchor *a = r->anchors; a; a = a->next)
        if (span_equal(a->name, name) && (!found || a->dynamic))
            found = a;
    return found;
}

struct node *schema_follow(struct compiling *c, const struct resource *from, struct span reference,
                           struct span *anchor)
{
    struct arena *arena = &c->schema->arena;
    struct uri uri = uri_resolve(from->uri, reference, arena);
    struct resource *r = resource_at(c, uri.whole);
    *anchor = SPAN_NONE;
    if (!r)
        r = load(c, uri.whole);
    if (!r)
        return NULL;
    if (uri.fragment.len && uri.fragment.data[0] != '/') {
        const struct anchor *a = anchor_of(r, uri.fragment);
        *anchor = a && a->dynamic ? a->name : SPAN_NONE;
        return a ? a->node : NULL;
    }
    struct jdoc *at = jdoc_at(r->root, uri.fragment, arena);
    return at ? find_schemas(c, at, resource_around(c, at, r)) : NULL;
}

static enum err compile(struct compiling *c, struct span text)
{
    struct schema *s = c->schema;
    struct jdoc_fault fault;
    enum err e = ERR_BODY_TOO_LARGE;
    if (text.len <= SCHEMA_BYTES_MAX)
        e = jdoc_read(arena_copy(&s->arena, text), &s->arena, &s->root, &fault);
    if (e == ERR_BODY_NOT_JSON) {
        static const struct jdoc nowhere;
        schema_wrong(c, &nowhere, "%s, at byte %zu", fault.why, fault.place);
    }
    if (e != ERR_OK)
        return e;
    add_document(c, s->root, SPAN_NONE);
    for (size_t i = 0; i < s->nodes.n && !schema_too_large(c); i++)
        schema_rules(c, s->nodes.items[i]);
    return c->err;
}

enum err schema_compile(struct span text, const struct schema_options *options, struct alloc *alloc,
                        struct schema **out, struct schema_report *report)
{
    struct schema *s = mem_zero(alloc, sizeof(*s));
    s->memory = (struct schema_memory){ .alloc = { .resize = count_resize }, .below = alloc };
    arena_open(&s->arena, &s->memory.alloc);
    struct pattern_memory memory = { &s->arena, &s->memory.alloc.used, SCHEMA_MEMORY_MAX };
    struct compiling c = {
        .schema = s, .options = options, .report = report, .patterns = pattern_context(&memory)
    };
    enum err e = compile(&c, text);
    if (e != ERR_OK) {
        schema_free(s);
        s = NULL;
    }
    *out = s;
    return e;
}
