/* Comparing: a config, or all below a prefix, between two revisions or two environments. What an
 * environment inherits is not looked at. */
#include "api/rest/change.h"
#include "base/check.h"

enum { DIFF_ITEMS_MAX = 1000 };

struct diff_side {
    struct span environment;
    int64_t revision; /* 0: newest */
};

struct diff_call {
    struct diff_side from, to;
    struct span name; /* a key, or a prefix */
    bool prefix, key, has_to_environment, linearizable;
};

/* ---- what is asked ---- */

struct asking {
    struct diff_call *d;
    const char **detail;
};

static enum err take_revision(struct asking *a, struct span value, int64_t *out)
{
    *a->detail = "from and to must be revisions: whole numbers; 0 is the newest";
    return number_read(value, out) ? ERR_OK : ERR_BAD_REQUEST;
}

static enum err take_environment(struct asking *a, struct span value, struct span *out)
{
    *out = value;
    *a->detail = REST_ENVIRONMENT_RULE;
    return environment_name(value) ? ERR_OK : ERR_BAD_REQUEST;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    struct diff_call *d = a->d;
    if (span_is(name, "from"))
        return take_revision(a, value, &d->from.revision);
    if (span_is(name, "to"))
        return take_revision(a, value, &d->to.revision);
    if (span_is(name, "environment"))
        return take_environment(a, value, &d->from.environment);
    if (span_is(name, "to_environment")) {
        d->has_to_environment = true;
        return take_environment(a, value, &d->to.environment);
    }
    if (span_is(name, "key") || span_is(name, "prefix")) {
        d->name = value;
        d->prefix = d->prefix || span_is(name, "prefix");
        d->key = d->key || span_is(name, "key");
        return ERR_OK;
    }
    if (span_is(name, "consistency")) {
        d->linearizable = span_is(value, "linearizable");
        *a->detail = "consistency must be linearizable or serializable";
        return d->linearizable || span_is(value, "serializable") ? ERR_OK : ERR_BAD_REQUEST;
    }
    *a->detail = "unknown query parameter; known are: key prefix environment to_environment from "
                 "to consistency";
    return ERR_BAD_REQUEST;
}

static struct kv_op look_at(const struct diff_call *d, const struct diff_side *s,
                            struct arena *arena)
{
    struct kv_op op = { .type = KV_OP_RANGE };
    op.range = (struct kv_range){ .key = config_key(arena, s->environment, d->name),
                                  .revision = s->revision,
                                  .limit = 1,
                                  .keys_only = true };
    if (d->prefix)
        op.range.range_end = kv_prefix_end(op.range.key, arena);
    return op;
}

enum err diff_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                   const char **detail)
{
    struct diff_call *d = call->diff = ARENA_NEW(arena, struct diff_call);
    struct asking a = { d, detail };
    d->from.environment = SPAN("default");
    *detail = "a percent escape in the query is not valid";
    enum err e = http_query_each(http->query, arena, take_pair, &a);
    if (e != ERR_OK)
        return e;
    if (!d->has_to_environment)
        d->to.environment = d->from.environment;
    *detail = "give either key or prefix (an empty prefix is the whole environment)";
    if (d->key == d->prefix)
        return ERR_BAD_REQUEST;
    *detail = d->key ? config_key_fault(d->name) : NULL;
    if (*detail)
        return ERR_BAD_REQUEST;
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, 2); /* whether both may be read */
    ops[0] = look_at(d, &d->from, arena);
    ops[1] = look_at(d, &d->to, arena);
    call->request.type = REQUEST_TXN;
    call->request.serializable = !d->linearizable;
    call->request.txn = (struct kv_txn){ .success = ops, .n_success = 2 };
    return ERR_OK;
}

/* ---- the answer ---- */

struct writing {
    const struct diff_call *d;
    const struct kv *kv;
    struct arena *arena;
    struct jsonw w;
    size_t items, ops_left, start;
    bool truncated;
};

static void number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

static void version_write(struct writing *g, const char *name, const struct kv_version *v)
{
    struct jsonw *w = &g->w;
    struct span by = kv_author(g->kv, v), why = change_log_of(g->kv, v, g->arena);
    jsonw_name(w, name);
    jsonw_object(w);
    change_value_write(w, kv_value(v), v->type);
    number(w, "version", v->version);
    number(w, "revision", v->mod_revision);
    jsonw_name(w, "updated_at");
    time_write(w, v->updated_at_ms);
    jsonw_name(w, "updated_by");
    jsonw_text(w, by.len ? by : SPAN("anonymous"));
    if (why.len) {
        jsonw_name(w, "change_log");
        jsonw_text(w, why);
    }
    jsonw_object_end(w);
}

static struct change_side side_of(const struct kv_version *v)
{
    return v ? (struct change_side){ kv_value(v), v->type, true }
             : (struct change_side){ .there = false };
}

static void item(void *context, struct span rest, const struct kv_version *from,
                 const struct kv_version *to)
{
    struct writing *g = context;
    struct jsonw *w = &g->w;
    struct change_side a = side_of(from), b = side_of(to);
    struct span environment, key;
    (void)rest;
    if (from == to || (from && to && a.type == b.type && span_equal(a.value, b.value)))
        return;
    if (g->items++ >= DIFF_ITEMS_MAX || w->out->len - g->start > CHANGE_ANSWER_BYTES_MAX) {
        g->truncated = true;
        return;
    }
    config_split(kv_key(from ? from : to), &environment, &key);
    jsonw_object(w);
    jsonw_name(w, "key");
    jsonw_text(w, key);
    jsonw_name(w, "change");
    jsonw_text(w, !from ? SPAN("added") : !to ? SPAN("removed") : SPAN("changed"));
    if (from)
        version_write(g, "from", from);
    if (to)
        version_write(g, "to", to);
    change_diff(w, &a, &b, &g->ops_left, g->arena);
    jsonw_object_end(w);
}

static void side_write(struct jsonw *w, const char *name, const struct diff_side *s, int64_t newest)
{
    jsonw_name(w, name);
    jsonw_object(w);
    jsonw_name(w, "environment");
    jsonw_text(w, s->environment);
    number(w, "revision", s->revision ? s->revision : newest);
    jsonw_object_end(w);
}

static enum err items_write(struct writing *g)
{
    const struct diff_call *d = g->d;
    struct span from = config_key(g->arena, d->from.environment, d->name);
    struct span to = config_key(g->arena, d->to.environment, d->name);
    if (d->key) {
        item(g, SPAN_NONE, kv_get(g->kv, from, d->from.revision),
             kv_get(g->kv, to, d->to.revision));
        return ERR_OK;
    }
    struct change_walk a = { from, d->from.revision }, b = { to, d->to.revision };
    return change_walk_both(g->kv, &a, &b, g->arena, item, g);
}

void diff_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                 struct rest_answer *out)
{
    const struct diff_call *d = call->diff;
    struct buf b;
    struct writing g = { .d = d, .kv = kv, .arena = arena, .ops_left = CHANGE_OPS_TOLD_MAX };
    buf_open(&b, arena->alloc);
    jsonw_open(&g.w, &b);
    jsonw_object(&g.w);
    side_write(&g.w, "from", &d->from, kv_revision(kv));
    side_write(&g.w, "to", &d->to, kv_revision(kv));
    jsonw_name(&g.w, "items");
    jsonw_array(&g.w);
    g.start = b.len;
    enum err e = items_write(&g);
    jsonw_array_end(&g.w);
    if (g.truncated) {
        jsonw_name(&g.w, "truncated");
        jsonw_bool(&g.w, true);
    }
    jsonw_object_end(&g.w);
    if (e == ERR_OK) {
        body_of(out, 200, "application/json", &b, arena);
        return;
    }
    buf_close(&b);
    rest_problem(e, NULL, arena, out);
}
