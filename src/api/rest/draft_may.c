/* Who may do what with a draft: that hangs on what it would change. Its keys may be written by
 * every door, so nothing that stands below them gives anybody a right. */
#include "api/rest/draft.h"
#include "base/check.h"

/* as empty: who asks. */
static enum err permits(const struct rest_call *call, struct span as, struct request *r)
{
    const struct rest_world *w = call->world;
    if (!w->permits)
        return ERR_OK;
    return as.len ? w->permits_user(w->context, as, r) : w->permits(w->context, r);
}

enum err draft_may_read(const struct rest_call *call, const struct change_call *c,
                        struct arena *arena)
{
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, c->n + 1);
    for (size_t i = 0; i < c->n; i++)
        ops[i] = (struct kv_op){ .type = KV_OP_RANGE, .range = { .key = c->items[i].key } };
    struct request r = { .type = REQUEST_TXN, .txn = { .success = ops, .n_success = c->n } };
    return permits(call, SPAN_NONE, &r);
}

static bool may_put(const struct rest_call *call, struct span as, struct span key)
{
    struct request r = { .type = REQUEST_PUT, .put = { .key = key } };
    return permits(call, as, &r) == ERR_OK;
}

static bool may_delete(const struct rest_call *call, struct span as, struct span key)
{
    struct request r = { .type = REQUEST_DELETE, .del = { .key = key } };
    return permits(call, as, &r) == ERR_OK;
}

/* A role's verb is to write the key of the same name below "confman/<verb>/". */
static bool has_verb(const struct rest_call *call, struct span as, struct span key,
                     const char *verb, struct arena *arena)
{
    static const char *const roots[] = { REST_CONFIGS, "confman/flag/" };
    struct buf b;
    bool may = false;
    for (size_t i = 0; i < 2 && !may; i++) {
        if (!span_starts(key, span_text(roots[i])))
            continue;
        buf_open(&b, arena->alloc);
        buf_format(&b, "confman/%s/", verb);
        buf_span(&b, span_from(key, strlen(roots[i])));
        may = may_put(call, as, arena_copy(arena, buf_all(&b)));
        buf_close(&b);
    }
    return may;
}

static enum err may_all(const struct rest_call *call, struct span as, const char *verb,
                        const struct change_call *c, struct arena *arena)
{
    bool may = true;
    for (size_t i = 0; i < c->n && may; i++) {
        struct span key = c->items[i].key;
        may = (may_put(call, as, key) && may_delete(call, as, key)) ||
              has_verb(call, as, key, verb, arena);
    }
    return may ? ERR_OK : ERR_PERMISSION_DENIED;
}

enum err draft_may_review(const struct rest_call *call, struct span as,
                          const struct change_call *c, struct arena *arena)
{
    return may_all(call, as, "approve", c, arena);
}

enum err draft_may_publish(const struct rest_call *call, const struct change_call *c,
                           struct arena *arena)
{
    return may_all(call, SPAN_NONE, "publish", c, arena);
}

enum err draft_may_propose(const struct rest_call *call, const struct change_call *c,
                           struct arena *arena)
{
    static const char *const verbs[] = { "propose", "approve", "publish" };
    bool may = true, any = may_put(call, SPAN_NONE, SPAN("confman/draft"));
    for (size_t i = 0; i < c->n && may && !any; i++) {
        struct span key = c->items[i].key;
        may = may_put(call, SPAN_NONE, key) || may_delete(call, SPAN_NONE, key);
        for (size_t j = 0; j < sizeof(verbs) / sizeof(verbs[0]) && !may; j++)
            may = has_verb(call, SPAN_NONE, key, verbs[j], arena);
    }
    return may ? ERR_OK : ERR_PERMISSION_DENIED;
}

/* The draft's items, beside those of the call. */
static struct change_call items_of(const struct rest_call *call, const struct draft *d,
                                   struct arena *arena)
{
    struct change_call c = *call->change;
    c.items = NULL;
    c.n = c.cap = 0;
    draft_items(&c, d, arena);
    return c;
}

enum err draft_may_see(const struct rest_call *call, const struct draft *d, struct arena *arena)
{
    struct change_call c = items_of(call, d, arena);
    return draft_may_read(call, &c, arena);
}

enum err draft_may_alter(const struct rest_call *call, const struct kv *kv, const struct draft *d,
                         struct arena *arena)
{
    struct change_call c;
    struct request who = { .type = REQUEST_TXN };
    enum err e = permits(call, SPAN_NONE, &who); /* also tells who it is */
    if (e != ERR_OK || (who.author.len && span_equal(who.author, kv_author(kv, d->record))))
        return e;
    c = items_of(call, d, arena);
    return draft_may_review(call, SPAN_NONE, &c, arena);
}

size_t draft_approvers(const struct rest_call *call, const struct change_call *c,
                       const struct kv *kv, const struct draft *d, bool author_too,
                       struct arena *arena, struct span *out)
{
    size_t n = 0;
    struct span author = draft_author(kv, d->record);
    for (size_t i = 0; i < d->n_events; i++) {
        const struct draft_event *v = &d->events[i];
        bool counts = span_is(v->type, "approve") && v->edit == d->record->version &&
                      (author_too || !span_equal(v->by, author));
        for (size_t k = 0; k < n && counts; k++)
            counts = !span_equal(out[k], v->by);
        if (counts && draft_may_review(call, v->by, c, arena) == ERR_OK)
            out[n++] = v->by;
    }
    return n;
}
