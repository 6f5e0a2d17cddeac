/* Guards: how large a value may be, how many configs one transaction may delete, and who has to
 * agree before any is changed. */
#include "api/rest/rest_int.h"
#include "base/check.h"

struct reading {
    struct arena *arena;
    void (*wrong)(void *context, struct span pointer, const char *why);
    void *context;
    bool good;
};

static void wrong(struct reading *r, const struct jdoc *at, const char *why)
{
    struct buf b;
    buf_open(&b, r->arena->alloc);
    jdoc_pointer(at, &b);
    r->good = false;
    r->wrong(r->context, arena_copy(r->arena, buf_all(&b)), why);
    buf_close(&b);
}

/* ---- members ---- */

static void take_number(struct reading *r, const struct jdoc *v, int64_t max, int64_t *out,
                        const char *why)
{
    if (v->type != JDOC_NUMBER || !jdoc_decimal_count(jdoc_decimal(v->text), out) || *out > max)
        wrong(r, v, why);
}

static void take_bytes(struct reading *r, const struct jdoc *v, struct guard *out)
{
    take_number(r, v, INT32_MAX, &out->value_bytes_max, "must be a number of bytes, 0 or more");
}

static void take_percent(struct reading *r, const struct jdoc *v, struct guard *out)
{
    take_number(r, v, 100, &out->deleted_percent_max, "must be a whole number from 0 to 100");
}

static void take_approvals(struct reading *r, const struct jdoc *v, struct guard *out)
{
    take_number(r, v, GUARD_APPROVALS_MAX, &out->approvals, "must be a number from 0 to 10");
}

static void take_author(struct reading *r, const struct jdoc *v, struct guard *out)
{
    out->author_may_approve = v->truth;
    if (v->type != JDOC_BOOL)
        wrong(r, v, "must be true or false");
}

static void take_environments(struct reading *r, const struct jdoc *v, struct guard *out)
{
    out->environments = v;
    if (v->type != JDOC_ARRAY || !v->n) {
        wrong(r, v, "must be a list of names of environments");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i].type != JDOC_STRING || !environment_name(v->items[i].text))
            wrong(r, &v->items[i], REST_ENVIRONMENT_RULE);
}

static const struct {
    const char *name;
    void (*take)(struct reading *r, const struct jdoc *v, struct guard *out);
} members[] = { { "max_value_bytes", take_bytes },
                { "max_deleted_percent", take_percent },
                { "approvals", take_approvals },
                { "author_may_approve", take_author },
                { "environments", take_environments } };

static void take_member(struct reading *r, const struct jdoc *v, struct guard *out)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (span_is(v->name, members[i].name)) {
            members[i].take(r, v, out);
            return;
        }
    wrong(r, v, "is not known; known are max_value_bytes, max_deleted_percent, approvals, "
                "author_may_approve and environments");
}

bool guard_read(struct span text, struct arena *arena, struct guard *out,
                void (*tell)(void *context, struct span pointer, const char *why), void *context)
{
    struct reading r = { arena, tell, context, true };
    struct jdoc_fault fault;
    struct jdoc *doc;
    *out = guard_none;
    if (text.len > GUARD_BYTES_MAX || jdoc_read(text, arena, &doc, &fault) != ERR_OK) {
        tell(context, SPAN_NONE, "must be JSON of 4096 bytes at most");
        return false;
    }
    if (doc->type != JDOC_OBJECT)
        wrong(&r, doc, "must be an object");
    for (uint32_t i = 0; doc->type == JDOC_OBJECT && i < doc->n; i++)
        take_member(&r, &doc->items[i], out);
    return r.good;
}

/* ---- of a config ---- */

const struct guard guard_none = { .value_bytes_max = -1, .deleted_percent_max = -1 };

bool guard_is_of(const struct guard *g, struct span environment)
{
    bool listed = !g->environments;
    for (uint32_t i = 0; !listed && i < g->environments->n; i++)
        listed = span_equal(g->environments->items[i].text, environment);
    return listed;
}

static void nobody(void *context, struct span pointer, const char *why)
{
    (void)context, (void)pointer, (void)why;
}

void guard_find(const struct kv *kv, struct span environment, struct span key,
                struct arena *arena, struct guard *out)
{
    struct rule_walk walk = { .key = key };
    *out = guard_none;
    while (rule_next(&walk)) {
        struct guard g;
        const struct kv_version *v = rule_at(kv, REST_GUARDS, walk.name, arena);
        if (!v || !guard_read(kv_value(v), arena, &g, nobody, NULL) ||
            !guard_is_of(&g, environment) || !g.approvals)
            continue;
        out->author_may_approve =
            out->approvals ? out->author_may_approve && g.author_may_approve : g.author_may_approve;
        out->approvals = g.approvals > out->approvals ? g.approvals : out->approvals;
    }
}

/* ---- what one transaction deletes ---- */

struct guard_count {
    struct span environment, name;
    int64_t percent_max, deleted;
};

static struct guard_count *count_of(struct guard_counts *all, struct span environment,
                                    struct span name, struct arena *arena)
{
    for (size_t i = 0; i < all->n; i++)
        if (span_equal(all->items[i].name, name) &&
            span_equal(all->items[i].environment, environment))
            return &all->items[i];
    if (all->n == all->cap) {
        size_t cap = all->cap ? 2 * all->cap : 16;
        struct guard_count *items = ARENA_ARRAY(arena, struct guard_count, cap);
        if (all->n)
            memcpy(items, all->items, all->n * sizeof(*items));
        all->items = items;
        all->cap = cap;
    }
    all->items[all->n] = (struct guard_count){ .environment = environment, .name = name };
    return &all->items[all->n++];
}

void guard_deletes(struct guard_counts *all, const struct guard *g, struct span environment,
                   struct span name, struct arena *arena)
{
    struct guard_count *c = count_of(all, environment, name, arena);
    c->percent_max = g->deleted_percent_max;
    c->deleted++;
}

bool guard_exceeded(const struct guard_counts *all, size_t i, const struct kv *kv,
                    struct arena *arena, struct span *environment, struct span *name,
                    const char **why)
{
    const struct guard_count *c = &all->items[i];
    struct kv_range range = { .key = config_key(arena, c->environment, c->name),
                              .count_only = true };
    struct kv_range_result r;
    struct buf b;
    range.range_end = kv_prefix_end(range.key, arena);
    enum err e = kv_range(kv, &range, arena, &r);
    CHECK(e == ERR_OK);
    if (c->deleted < 2 || c->deleted * 100 <= c->percent_max * r.count)
        return false;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%lld of %lld configs would be deleted, and the guard allows %lld%%: "
                   "confirm=true if it is meant",
               (long long)c->deleted, (long long)r.count, (long long)c->percent_max);
    *why = arena_text(arena, buf_all(&b));
    *environment = c->environment;
    *name = c->name;
    buf_close(&b);
    return true;
}
