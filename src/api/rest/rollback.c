/* Rollback: keys as they were at a revision, written anew in one transaction; and the walk through
 * two states that it, comparisons and imports are made of. */
#include "api/rest/change.h"
#include "base/check.h"

/* ---- two states side by side ---- */

enum { PAGE_KEYS = 1000, PAGES_MAX = 32 };

struct side {
    const struct kv *kv;
    struct arena *arena;
    struct span from, end; /* where the next page begins */
    size_t skip, seen, pages;
    int64_t revision;
    struct kv_page page;
    size_t at;
};

static void side_open(struct side *s, const struct kv *kv, const struct change_walk *w,
                      struct arena *arena)
{
    int64_t revision = w->revision > 0 ? w->revision : kv_revision(kv);
    *s = (struct side){ .kv = kv,
                        .arena = arena,
                        .from = w->prefix,
                        .end = kv_prefix_end(w->prefix, arena),
                        .skip = w->prefix.len,
                        .revision = revision };
}

/* Whether there is one; pages come as they are needed. */
static enum err side_now(struct side *s, const struct kv_version **out)
{
    while (s->at == s->page.n && !s->page.over) {
        if (s->seen > CHANGE_KEYS_LOOK_MAX || s->pages++ == PAGES_MAX)
            return ERR_HISTORY_WIDE;
        enum err e =
            kv_page(s->kv, s->from, s->end, s->revision, PAGE_KEYS, s->arena, &s->page);
        if (e != ERR_OK)
            return e;
        s->at = 0;
        s->seen += s->page.n;
        s->from = s->page.next;
    }
    *out = s->at < s->page.n ? s->page.items[s->at] : NULL;
    return ERR_OK;
}

enum err change_walk_both(const struct kv *kv, const struct change_walk *a,
                          const struct change_walk *b, struct arena *arena,
                          void (*each)(void *context, struct span rest, const struct kv_version *x,
                                       const struct kv_version *y),
                          void *context)
{
    struct side one, two;
    side_open(&one, kv, a, arena);
    side_open(&two, kv, b, arena);
    for (;;) {
        const struct kv_version *x, *y;
        enum err e = side_now(&one, &x);
        if (e == ERR_OK)
            e = side_now(&two, &y);
        if (e != ERR_OK || (!x && !y))
            return e;
        struct span rx = x ? span_from(kv_key(x), one.skip) : SPAN_NONE;
        struct span ry = y ? span_from(kv_key(y), two.skip) : SPAN_NONE;
        int c = !x ? 1 : !y ? -1 : span_compare(rx, ry);
        each(context, c > 0 ? ry : rx, c > 0 ? NULL : x, c < 0 ? NULL : y);
        one.at += c <= 0;
        two.at += c >= 0;
    }
}

/* ---- rollback ---- */

struct undoing {
    struct change_call *c;
    struct arena *arena;
};

/* was: at that revision; is: now. */
static void undo(struct undoing *u, struct span key, const struct kv_version *was,
                 const struct kv_version *is)
{
    bool same = was == is || (was && is && was->type == is->type &&
                              span_equal(kv_value(was), kv_value(is)));
    if (same)
        return;
    struct change *x = change_add(u->c, u->arena);
    x->key = arena_copy(u->arena, key);
    x->deletes = was == NULL;
    if (was) { /* the write that comes of it is made before anything is compacted */
        x->value = kv_value(was);
        x->type = was->type;
    }
}

static void undo_each(void *context, struct span rest, const struct kv_version *was,
                      const struct kv_version *is)
{
    (void)rest;
    undo(context, kv_key(was ? was : is), was, is);
}

static enum err undo_keys(struct undoing *u, const struct kv *kv)
{
    struct kv_range probe = { .key = SPAN("k"), .revision = u->c->revision, .count_only = true };
    struct kv_range_result r;
    enum err e = kv_range(kv, &probe, u->arena, &r); /* whether that revision can be read at all */
    for (size_t i = 0; i < u->c->n_keys && e == ERR_OK; i++)
        undo(u, u->c->keys[i], kv_get(kv, u->c->keys[i], u->c->revision),
             kv_get(kv, u->c->keys[i], 0));
    return e;
}

enum err rollback_plan(struct rest_call *call, const struct kv *kv, struct arena *arena)
{
    struct change_call *c = call->change;
    struct undoing u = { c, arena };
    c->n = 0;
    enum err e = c->n_keys ? undo_keys(&u, kv) : ERR_OK;
    for (size_t i = 0; i < c->n_scopes && e == ERR_OK; i++) {
        struct change_walk then = { c->scopes[i], c->revision }, now = { c->scopes[i], 0 };
        e = change_walk_both(kv, &then, &now, arena, undo_each, &u);
    }
    return e;
}

/* ---- what is asked ---- */

static struct span scope(struct arena *arena, const char *root, struct span environment,
                         struct span rest)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_text(&b, root);
    buf_span(&b, environment);
    buf_u8(&b, '/');
    buf_span(&b, rest);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static enum err read_keys(struct change_call *c, const struct jdoc *keys, const char *root,
                          struct arena *arena, const char **detail)
{
    *detail = "/keys: must be an array of at most 120 keys";
    if (!jdoc_is(keys, JDOC_ARRAY) || !keys->n || keys->n > CHANGES_MAX)
        return ERR_BAD_REQUEST;
    c->keys = ARENA_ARRAY(arena, struct span, keys->n);
    for (uint32_t i = 0; i < keys->n; i++) {
        const struct jdoc *k = &keys->items[i];
        *detail = k->type == JDOC_STRING ? config_key_fault(k->text) : "/keys: must be strings";
        if (*detail)
            return ERR_BAD_REQUEST;
        c->keys[c->n_keys++] = scope(arena, root, c->environment, k->text);
    }
    return ERR_OK;
}

/* A key, keys, all below a prefix (of one environment's configs or flags), or everything. */
static enum err read_scope(struct change_call *c, const struct jdoc *body, struct arena *arena,
                           const char **detail)
{
    static const char *const roots[] = { REST_CONFIGS, REST_FLAGS, "confman/flagset/",
                                         REST_ENVIRONMENTS };
    const struct jdoc *keys = jdoc_member(body, SPAN("keys"));
    struct span kind = SPAN("config"), key = SPAN_NONE, prefix = SPAN_NONE;
    bool everything = false;
    enum err e = change_text(body, "kind", 10, arena, &kind, detail);
    if (e == ERR_OK)
        e = change_text(body, "key", REST_KEY_MAX, arena, &key, detail);
    if (e == ERR_OK)
        e = change_text(body, "prefix", REST_KEY_MAX, arena, &prefix, detail);
    if (e == ERR_OK)
        e = change_yes(body, "everything", arena, &everything, detail);
    if (e != ERR_OK)
        return e;
    *detail = "/kind: must be config or flag";
    if (!span_is(kind, "config") && !span_is(kind, "flag"))
        return ERR_BAD_REQUEST;
    const char *root = span_is(kind, "flag") ? REST_FLAGS : REST_CONFIGS;
    bool has_prefix = jdoc_member(body, SPAN("prefix")) != NULL;
    *detail = "give one of key, keys, prefix (an empty one is the whole environment) and "
              "everything: true";
    if (everything + has_prefix + (keys != NULL) + (key.len > 0) != 1)
        return ERR_BAD_REQUEST;
    if (keys)
        return read_keys(c, keys, root, arena, detail);
    if (everything) {
        for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
            c->scopes[c->n_scopes++] = span_text(roots[i]);
    } else if (has_prefix) {
        c->scopes[c->n_scopes++] = scope(arena, root, c->environment, prefix);
    } else {
        c->keys = ARENA_NEW(arena, struct span);
        c->keys[c->n_keys++] = scope(arena, root, c->environment, key);
    }
    return ERR_OK;
}

/* The ranges that it looks at must be readable, all of them. */
static void ask_first(struct rest_call *call, struct arena *arena)
{
    const struct change_call *c = call->change;
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, c->n_keys + c->n_scopes);
    size_t n = 0;
    for (size_t i = 0; i < c->n_keys; i++)
        ops[n++] = (struct kv_op){ .type = KV_OP_RANGE,
                                   .range = { .key = c->keys[i], .keys_only = true } };
    for (size_t i = 0; i < c->n_scopes; i++) {
        ops[n].type = KV_OP_RANGE;
        ops[n].range = (struct kv_range){ .key = c->scopes[i], .limit = 1, .keys_only = true };
        ops[n++].range.range_end = kv_prefix_end(c->scopes[i], arena);
    }
    call->request.type = REQUEST_TXN;
    call->request.txn = (struct kv_txn){ .success = ops, .n_success = n };
}

enum err rollback_call(const struct http_request *http, struct arena *arena,
                       struct rest_call *call, const char **detail)
{
    static const char *const members[] = { "revision",   "kind",        "key",        "keys",
                                           "prefix",     "everything", "environment", "change_log",
                                           NULL };
    struct change_call *c = call->change;
    struct jdoc *body;
    enum err e = change_body(arena_copy(arena, http->body), arena, &body, detail);
    if (e == ERR_OK)
        e = change_members(body, members, arena, detail);
    if (e == ERR_OK)
        e = change_text(body, "change_log", CHANGE_LOG_MAX, arena, &c->log, detail);
    if (e == ERR_OK)
        e = change_text(body, "environment", REST_ENVIRONMENT_MAX, arena, &c->environment, detail);
    if (e == ERR_OK)
        e = change_count(body, "revision", arena, &c->revision, detail);
    if (e != ERR_OK)
        return e;
    *detail = "/revision: must say which to go back to, 1 or more";
    if (c->revision < 1)
        return ERR_BAD_REQUEST;
    *detail = REST_ENVIRONMENT_RULE;
    if (!environment_name(c->environment))
        return ERR_BAD_REQUEST;
    e = read_scope(c, body, arena, detail);
    if (e == ERR_OK)
        ask_first(call, arena);
    return e;
}
