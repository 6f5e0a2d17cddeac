/* Schemas and guards: what configs must hold, as keys "confman/schema/<name>" and
 * "confman/guard/<name>". A name is a config's key, or a prefix of keys that ends with a slash, or
 * empty: then it is of all of them. What holds for a config is what stands under any of its names;
 * all of it must hold. */
#include "api/rest/rest_int.h"
#include "base/check.h"

struct rule_kind {
    const char *root, *path, *member; /* in the store; of the URL, with a slash; in answers */
    enum err missing;
    bool brief; /* lists have them whole */
};

static const struct rule_kind kinds[] = {
    { REST_SCHEMAS, "/v1/schemas/", "schema", ERR_SCHEMA_NOT_FOUND, false },
    { REST_GUARDS, "/v1/guards/", "guard", ERR_GUARD_NOT_FOUND, true },
};

static const struct rule_kind *kind_of(const struct rest_call *call)
{
    return &kinds[call->route == ROUTE_GUARDS || call->route == ROUTE_GUARD];
}

/* ---- names ---- */

bool rule_next(struct rule_walk *w)
{
    if (!w->begun) {
        w->begun = true;
        w->name = w->key;
        w->over = !w->key.len;
        return true;
    }
    if (w->over)
        return false;
    size_t n = w->name.len - 1; /* shorter by one byte at least */
    while (n && w->key.data[n - 1] != '/')
        n--;
    w->name.len = n;
    w->over = n == 0;
    return true;
}

static struct span stored_key(const char *root, struct span name, struct arena *arena)
{
    size_t n = strlen(root);
    uint8_t *p = arena_alloc(arena, n + name.len);
    memcpy(p, root, n);
    if (name.len)
        memcpy(p + n, name.data, name.len);
    return span_of(p, n + name.len);
}

const struct kv_version *rule_at(const struct kv *kv, const char *root, struct span name,
                                 struct arena *arena)
{
    return kv_get(kv, stored_key(root, name, arena), 0);
}

int64_t rule_count(const struct kv *kv, const char *root, struct arena *arena)
{
    struct kv_range all = { .key = span_text(root), .count_only = true };
    struct kv_range_result r;
    all.range_end = kv_prefix_end(all.key, arena);
    enum err e = kv_range(kv, &all, arena, &r);
    CHECK(e == ERR_OK);
    return r.count;
}

/* ---- requests ---- */

static enum err read_name(const struct http_request *http, const struct rule_kind *kind,
                          struct arena *arena, struct span *name, const char **detail)
{
    *detail = "a percent escape in the path is not valid";
    enum err e = http_decode(span_from(http->path, strlen(kind->path)), false, arena, name);
    if (e != ERR_OK)
        return e;
    *detail = "the name is longer than 256 bytes, or has a control character";
    bool good = name->len <= REST_KEY_MAX;
    for (size_t i = 0; i < name->len; i++)
        good = good && name->data[i] >= 0x20 && name->data[i] != 0x7f;
    return good ? ERR_OK : ERR_BAD_REQUEST;
}

static enum err read_write(const struct http_request *http, struct rest_call *c, struct span key,
                           struct arena *arena, const char **detail)
{
    struct kv_op op = { .type = KV_OP_DELETE, .del = { .key = key } };
    enum err e = conditions_read(http, c, detail);
    if (c->writes) {
        op = (struct kv_op){ .type = KV_OP_PUT, .put = { .key = key, .type = KV_JSON } };
        op.put.value = arena_copy(arena, http->body);
    }
    if (e == ERR_OK)
        conditions_txn(c, key, op, arena);
    return e;
}

enum err rule_read(const struct http_request *http, struct arena *arena, struct rest_call *c,
                   const char **detail)
{
    const struct rule_kind *kind = kind_of(c);
    bool list = c->route == ROUTE_SCHEMAS || c->route == ROUTE_GUARDS;
    enum err e = list ? ERR_OK : read_name(http, kind, arena, &c->key, detail);
    if (e != ERR_OK)
        return e;
    struct span key = stored_key(kind->root, c->key, arena);
    if (c->writes || c->deletes)
        return read_write(http, c, key, arena, detail);
    c->request.type = REQUEST_RANGE;
    c->request.range = (struct kv_range){ .key = key };
    if (span_is(http->method, "POST")) { /* whoever may read such a schema may try one */
        c->request.serializable = true;
        return trial_read(http->body, arena, c, detail);
    }
    if (list) {
        c->request.range.range_end = kv_prefix_end(key, arena);
        c->request.range.limit = REST_RULES_MAX;
        c->request.range.keys_only = !kind->brief;
    }
    c->has_tag = http_header_find(http, "if-none-match", &c->tag);
    return ERR_OK;
}

/* ---- answers ---- */

static void item(struct jsonw *w, const struct rule_kind *kind, const struct kv *kv,
                 const struct kv_version *v, bool whole)
{
    struct span by = kv_author(kv, v);
    struct arena arena;
    struct jdoc *any;
    struct jdoc_fault fault;
    jsonw_object(w);
    jsonw_name(w, "key");
    jsonw_text(w, span_from(kv_key(v), strlen(kind->root)));
    if (whole) { /* another door may have put anything there */
        arena_open(&arena, w->out->alloc);
        bool good = jdoc_read(kv_value(v), &arena, &any, &fault) == ERR_OK;
        arena_close(&arena);
        jsonw_name(w, kind->member);
        jsonw_raw(w, good ? kv_value(v) : SPAN("null"));
    }
    jsonw_name(w, "version");
    jsonw_number(w, v->version);
    jsonw_name(w, "revision");
    jsonw_number(w, v->mod_revision);
    jsonw_name(w, "updated_at");
    time_write(w, v->updated_at_ms);
    jsonw_name(w, "updated_by");
    jsonw_text(w, by.len ? by : SPAN("anonymous"));
}

static void list_answer(const struct rule_kind *kind, const struct kv *kv,
                        const struct reply *reply, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "items");
    jsonw_array(&w);
    for (size_t i = 0; i < reply->range.n; i++) {
        item(&w, kind, kv, reply->range.items[i], kind->brief);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    jsonw_name(&w, "revision");
    jsonw_number(&w, reply->revision);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}

static void one_answer(const struct rest_call *call, const struct kv *kv,
                       const struct kv_version *v, int status, struct arena *arena,
                       struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    struct span tag = version_tag(v->version, SPAN_NONE, arena);
    if (call->has_tag && (span_equal(call->tag, tag) || span_is(call->tag, "*"))) {
        *out = (struct rest_answer){ .status = 304 };
        add_header(out, "etag", tag);
        return;
    }
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    item(&w, kind_of(call), kv, v, true);
    if (call->route == ROUTE_SCHEMA && call->writes)
        schema_report_write(call, kv, kv_value(v), arena, &w);
    jsonw_object_end(&w);
    body_of(out, status, "application/json", &b, arena);
    add_header(out, "etag", tag);
}

static void written_answer(const struct rest_call *call, const struct kv *kv,
                           const struct reply *reply, struct arena *arena, struct rest_answer *out)
{
    const struct kv_txn_result *t = &reply->txn;
    if (!t->succeeded) {
        const struct kv_range_result *now = &t->ops[0].range;
        int64_t version = now->n ? now->items[0]->version : 0;
        bool asked = call->has_version || call->must_exist || call->create_only;
        if (asked)
            problem(ERR_PRECONDITION, "the member version is what it has now; 0: there is none",
                    &version, arena, out);
        else
            rest_problem(kind_of(call)->missing, NULL, arena, out);
    } else if (call->deletes) {
        deletion_answer(call->key, reply->revision, arena, out);
    } else {
        CHECK(t->n_ops == 2 && t->ops[1].range.n == 1);
        const struct kv_version *v = t->ops[1].range.items[0];
        one_answer(call, kv, v, v->version == 1 ? 201 : 200, arena, out);
    }
}

void rule_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                 struct arena *arena, struct rest_answer *out)
{
    const struct rule_kind *kind = kind_of(call);
    if (reply->type == REQUEST_TXN)
        written_answer(call, kv, reply, arena, out);
    else if (call->trial)
        trial_answer(call, arena, out);
    else if (call->route == ROUTE_SCHEMAS || call->route == ROUTE_GUARDS)
        list_answer(kind, kv, reply, arena, out);
    else if (!reply->range.n)
        rest_problem(kind->missing, NULL, arena, out);
    else
        one_answer(call, kv, reply->range.items[0], 200, arena, out);
}
