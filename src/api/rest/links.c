/* Who refers to what: of every key that refers to others, what it refers to, kept in memory and
 * told of every change, so that nobody has to look through the store for them. */
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "base/tree.h"
#include "base/vec.h"
#include "core/flag/flag.h"

enum { LINKS_OF_ONE_MAX = RESOLVE_REFERENCES_MAX /* what a key refers to beyond is not kept */ };

struct source;
struct target {
    struct tree_node node;
    struct span name; /* behind this struct */
    VEC(struct source *) from;
};
struct source {
    struct tree_node node;
    struct span key; /* behind this struct */
    VEC(struct target *) to;
};

struct rest_links {
    struct alloc *alloc;
    struct arena arena; /* of one value, while it is looked at */
    struct tree targets, sources;
    size_t n;
};

static struct target *target_of(const struct tree_node *node)
{
    return (struct target *)((uintptr_t)node - offsetof(struct target, node));
}

static struct source *source_of(const struct tree_node *node)
{
    return (struct source *)((uintptr_t)node - offsetof(struct source, node));
}

static int target_compare(const void *name, const struct tree_node *node)
{
    return span_compare(*(const struct span *)name, target_of(node)->name);
}

static int source_compare(const void *key, const struct tree_node *node)
{
    return span_compare(*(const struct span *)key, source_of(node)->key);
}

static const struct tree_type TARGETS = { target_compare, NULL };
static const struct tree_type SOURCES = { source_compare, NULL };

struct rest_links *rest_links_open(struct alloc *alloc)
{
    struct rest_links *l = mem_zero(alloc, sizeof(*l));
    l->alloc = alloc;
    l->targets.type = &TARGETS;
    l->sources.type = &SOURCES;
    arena_open(&l->arena, alloc);
    return l;
}

size_t rest_links_count(const struct rest_links *l)
{
    return l->n;
}

/* ---- one source ---- */

static void target_drop(struct rest_links *l, struct target *t, const struct source *s)
{
    size_t i = 0;
    while (i < t->from.n && t->from.items[i] != s)
        i++;
    CHECK(i < t->from.n);
    t->from.items[i] = t->from.items[--t->from.n];
    l->n--;
    if (t->from.n)
        return;
    CHECK(tree_remove(&l->targets, &t->name) == &t->node);
    VEC_CLOSE(&t->from, l->alloc);
    mem_free(l->alloc, t, sizeof(*t) + t->name.len);
}

static void source_drop(struct rest_links *l, struct span key)
{
    struct tree_node *node = tree_remove(&l->sources, &key);
    if (!node)
        return;
    struct source *s = source_of(node);
    for (size_t i = 0; i < s->to.n; i++)
        target_drop(l, s->to.items[i], s);
    VEC_CLOSE(&s->to, l->alloc);
    mem_free(l->alloc, s, sizeof(*s) + s->key.len);
}

static struct source *source_at(struct rest_links *l, struct span key)
{
    struct tree_node *node = tree_find(&l->sources, &key);
    if (node)
        return source_of(node);
    struct source *s = mem_zero(l->alloc, sizeof(*s) + key.len);
    memcpy(s + 1, key.data, key.len);
    s->key = span_of(s + 1, key.len);
    tree_insert(&l->sources, &s->key, &s->node);
    return s;
}

static struct target *target_at(struct rest_links *l, struct span name)
{
    struct tree_node *node = tree_find(&l->targets, &name);
    if (node)
        return target_of(node);
    struct target *t = mem_zero(l->alloc, sizeof(*t) + name.len);
    memcpy(t + 1, name.data, name.len);
    t->name = span_of(t + 1, name.len);
    tree_insert(&l->targets, &t->name, &t->node);
    return t;
}

/* A letter, the environment or namespace, a slash, the name. */
static struct span link_name(enum link_kind kind, bool exactly, struct span place,
                             struct span name, struct arena *arena)
{
    static const char letters[] = { [LINK_CONFIG] = 'c', [LINK_FLAG] = 'f', [LINK_RULE] = 'r',
                                    [LINK_SECRET] = 's' };
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_u8(&b, (uint8_t)(exactly ? letters[kind] - 'a' + 'A' : letters[kind]));
    buf_span(&b, place);
    buf_u8(&b, '/');
    buf_span(&b, name);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

struct looking {
    struct rest_links *l;
    struct span key, environment;
};

static void link_add(const struct looking *g, enum link_kind kind, bool exactly, struct span place,
                     struct span name)
{
    struct rest_links *l = g->l;
    struct source *s = source_at(l, g->key);
    struct target *t = target_at(l, link_name(kind, exactly, place, name, &l->arena));
    for (size_t i = 0; i < s->to.n; i++)
        if (s->to.items[i] == t)
            return;
    if (s->to.n == LINKS_OF_ONE_MAX)
        return;
    VEC_PUSH(&s->to, l->alloc, t);
    VEC_PUSH(&t->from, l->alloc, s);
    l->n++;
}

/* ---- what a value refers to ---- */

static void take_reference(void *context, const struct reference *r)
{
    const struct looking *g = context;
    if (r->secret)
        link_add(g, LINK_SECRET, false, r->name_space, r->key);
    else
        link_add(g, LINK_CONFIG, r->environment.len > 0,
                 r->environment.len ? r->environment : g->environment, r->key);
}

static void take_rules(const struct looking *g, const struct fval *v)
{
    for (uint32_t i = 0; v->type == FVAL_LIST && i < v->n; i++)
        take_rules(g, &v->items[i]);
    for (uint32_t i = 0; v->type == FVAL_OBJECT && i < v->n; i++) {
        const struct fval *x = &v->members[i].value;
        if (span_is(v->members[i].name, "$ref") && x->type == FVAL_TEXT)
            link_add(g, LINK_RULE, false, g->environment, fval_span(x));
        else
            take_rules(g, x);
    }
}

static bool has(struct span value, const char *text)
{
    return value.len && memmem(value.data, value.len, text, strlen(text)) != NULL;
}

/* Of a flag, or of what flags share. */
static void take_flag(const struct looking *g, struct span value)
{
    struct fval all;
    char why[FLAG_WHY_MAX];
    if (!has(value, "ref\"") && !has(value, "prerequisites\""))
        return;
    if (fval_read(value, &g->l->arena, &all, why) != ERR_OK || all.type != FVAL_OBJECT)
        return;
    const struct fval *needs = fval_find(&all, SPAN("prerequisites"));
    for (uint32_t i = 0; needs && needs->type == FVAL_LIST && i < needs->n; i++) {
        const struct fval *one = &needs->items[i];
        const struct fval *flag =
            one->type == FVAL_OBJECT ? fval_find(one, SPAN("flag")) : NULL;
        if (flag && flag->type == FVAL_TEXT)
            link_add(g, LINK_FLAG, false, g->environment, fval_span(flag));
    }
    take_rules(g, &all);
}

bool link_of_key(struct span key, enum link_kind *kind, struct span *environment,
                 struct span *name)
{
    static const struct {
        const char *root;
        enum link_kind kind;
    } roots[] = { { REST_CONFIGS, LINK_CONFIG }, { REST_FLAGS, LINK_FLAG },
                  { REST_FLAGSETS, LINK_RULE } };
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        struct span root = span_text(roots[i].root);
        if (!span_starts(key, root))
            continue;
        struct span rest = span_from(key, root.len);
        const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
        *kind = roots[i].kind;
        *environment = span_of(rest.data, slash ? (size_t)(slash - rest.data) : rest.len);
        *name = slash ? span_from(rest, environment->len + 1) : SPAN_NONE;
        return true;
    }
    return false;
}

static void look_at(struct rest_links *l, struct span key, const struct kv_version *now)
{
    struct looking g = { .l = l, .key = key };
    enum link_kind kind;
    struct span name;
    if (!link_of_key(key, &kind, &g.environment, &name))
        return;
    source_drop(l, key);
    if (now->tombstone)
        return;
    if (kind == LINK_CONFIG)
        references_each(kv_value(now), now->type, &l->arena, take_reference, &g);
    else
        take_flag(&g, kv_value(now));
    arena_reset(&l->arena);
}

/* ---- all of them ---- */

void rest_links_changed(struct rest_links *l, const struct kv_change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        look_at(l, kv_key(changes[i].now), changes[i].now);
}

static void forget(struct rest_links *l)
{
    while (l->sources.root)
        source_drop(l, source_of(l->sources.root)->key);
    CHECK(!l->targets.root && !l->n);
}

void rest_links_close(struct rest_links *l)
{
    if (!l)
        return;
    forget(l);
    arena_close(&l->arena);
    mem_free(l->alloc, l, sizeof(*l));
}

static void look_below(struct rest_links *l, const struct kv *kv, const char *root)
{
    enum { PAGE = 1000 };
    struct kv_range r = { .key = span_text(root), .limit = PAGE };
    struct kv_range_result found;
    struct arena page;
    arena_open(&page, l->alloc);
    r.range_end = kv_prefix_end(r.key, &page);
    struct buf next;
    buf_open(&next, l->alloc);
    do {
        enum err e = kv_range(kv, &r, &page, &found);
        CHECK(e == ERR_OK);
        for (size_t i = 0; i < found.n; i++)
            look_at(l, kv_key(found.items[i]), found.items[i]);
        if (found.more) { /* the first key behind the last */
            buf_reset(&next);
            buf_span(&next, kv_key(found.items[found.n - 1]));
            buf_u8(&next, 0);
            r.key = buf_all(&next);
        }
        arena_reset(&page);
        r.range_end = kv_prefix_end(span_text(root), &page);
    } while (found.more);
    buf_close(&next);
    arena_close(&page);
}

void rest_links_begin(struct rest_links *l, const struct kv *kv)
{
    forget(l);
    look_below(l, kv, REST_CONFIGS);
    look_below(l, kv, REST_FLAGS);
    look_below(l, kv, REST_FLAGSETS);
}

size_t links_each(const struct rest_links *l, enum link_kind kind, bool exactly, struct span place,
                  struct span name, struct arena *arena,
                  bool (*tell)(void *context, struct span key), void *context)
{
    struct span full = link_name(kind, exactly, place, name, arena);
    struct tree_node *node = tree_find(&l->targets, &full);
    const struct target *t = node ? target_of(node) : NULL;
    size_t i = 0;
    while (t && i < t->from.n && tell(context, t->from.items[i]->key))
        i++;
    return i;
}
