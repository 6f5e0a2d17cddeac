/* What a write of one config, schema or guard would do: what differs, which environments inherit
 * it, who hears of it. Nothing is written. */
#include "api/rest/change.h"
#include "api/rest/rest_int.h"
#include "base/check.h"

enum { DRY_OPS_MAX = 1000 /* told of a diff */ };

/* The first change of a config, schema or guard: such a request makes no other. */
static const struct kv_op *write_of(const struct request *r)
{
    CHECK(r->type == REQUEST_TXN && r->txn.n_success > 0);
    const struct kv_op *op = &r->txn.success[0];
    CHECK(op->type == KV_OP_PUT || op->type == KV_OP_DELETE);
    return op;
}

static void sides_write(struct jsonw *w, const struct kv_op *op, const struct kv_version *now,
                        struct arena *arena)
{
    struct change_side from = { .there = now != NULL }, to = { .there = op->type == KV_OP_PUT };
    size_t ops = DRY_OPS_MAX;
    if (now) {
        from = (struct change_side){ kv_value(now), now->type, true };
        jsonw_name(w, "from");
        jsonw_object(w);
        change_value_write(w, from.value, from.type);
        jsonw_name(w, "version");
        jsonw_number(w, now->version);
        jsonw_object_end(w);
    }
    if (to.there) {
        to = (struct change_side){ op->put.value, op->put.type, true };
        jsonw_name(w, "to");
        jsonw_object(w);
        change_value_write(w, to.value, to.type);
        jsonw_object_end(w);
    }
    change_diff(w, &from, &to, &ops, arena);
}

/* Whether name gets the config from environment, and nearer ones do not have it. */
static bool inherits(const struct kv *kv, struct span name, struct span environment,
                     struct span key, struct arena *arena)
{
    struct span chain[REST_DEPTH_MAX];
    size_t n = environment_chain(kv, name, 0, arena, chain);
    for (size_t i = 0; i < n; i++) {
        if (span_equal(chain[i], environment))
            return i > 0;
        if (kv_get(kv, config_key(arena, chain[i], key), 0))
            return false;
    }
    return false;
}

static void heirs_write(struct jsonw *w, const struct rest_call *call, const struct kv *kv,
                        struct arena *arena)
{
    struct kv_range all = { .key = SPAN(REST_ENVIRONMENTS), .limit = REST_ENVIRONMENT_COUNT_MAX };
    struct kv_range_result r;
    all.range_end = kv_prefix_end(all.key, arena);
    enum err e = kv_range(kv, &all, arena, &r);
    CHECK(e == ERR_OK);
    jsonw_name(w, "inherited_by");
    jsonw_array(w);
    for (size_t i = 0; i < r.n; i++) {
        struct span name = span_from(kv_key(r.items[i]), sizeof(REST_ENVIRONMENTS) - 1);
        if (inherits(kv, name, call->environment, call->key, arena))
            jsonw_text(w, name);
    }
    jsonw_array_end(w);
}

static void write_config(struct jsonw *w, const struct rest_call *call, const struct kv *kv,
                         struct span key, struct arena *arena)
{
    jsonw_name(w, "environment");
    jsonw_text(w, call->environment);
    heirs_write(w, call, kv, arena);
    jsonw_name(w, "watchers_here");
    jsonw_number(w, call->world->watchers
                        ? call->world->watchers(call->world->context, key)
                        : 0);
}

void dry_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *out)
{
    const struct kv_op *op = write_of(&call->request);
    bool puts = op->type == KV_OP_PUT;
    struct span key = puts ? op->put.key : op->del.key;
    const struct kv_version *now = kv_get(kv, key, 0);
    int64_t version = now ? now->version : 0;
    struct buf b;
    struct jsonw w;
    if (!kv_compares_hold(kv, &call->request.txn) || (!puts && !now)) {
        bool asked = call->has_version || call->must_exist || call->create_only;
        if (asked)
            problem(ERR_PRECONDITION, "the member version is what it has now; 0: there is none",
                    &version, arena, out);
        else
            rest_problem(call->route == ROUTE_CONFIG ? ERR_CONFIG_NOT_FOUND : ERR_NOT_FOUND, NULL,
                         arena, out);
        return;
    }
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "dry_run");
    jsonw_bool(&w, true);
    jsonw_name(&w, "key");
    jsonw_text(&w, call->key);
    jsonw_name(&w, "change");
    jsonw_text(&w, !puts ? SPAN("removed") : now ? SPAN("changed") : SPAN("added"));
    sides_write(&w, op, now, arena);
    if (call->route == ROUTE_CONFIG)
        write_config(&w, call, kv, key, arena);
    if (call->route == ROUTE_SCHEMA && puts)
        schema_report_write(call, kv, op->put.value, arena, &w);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}
