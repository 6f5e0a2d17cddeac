/* Environments: where a config is looked for, and which one an environment inherits from. Its
 * record is the key "confman/env/<name>", a JSON object with the parent's name; one without a
 * record inherits nothing. */
#include "api/rest/rest_int.h"
#include "base/check.h"

enum { HEIRS_TOLD_MAX = 20 };

bool environment_name(struct span s)
{
    static const char others[] = "-_.";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = http_lower(s.data[i]);
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && !memchr(others, c, sizeof(others) - 1))
            return false;
    }
    return s.len > 0 && s.len <= REST_ENVIRONMENT_MAX;
}

const char *config_key_fault(struct span key)
{
    if (!key.len)
        return "the key is empty";
    if (key.len > REST_KEY_MAX)
        return "the key is longer than 256 bytes";
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] < 0x20 || key.data[i] == 0x7f)
            return "the key has a control character";
    return NULL;
}

static struct span join(struct arena *arena, struct span root, struct span environment,
                        const char *slash, struct span key)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_span(&b, root);
    buf_span(&b, environment);
    buf_text(&b, slash);
    buf_span(&b, key);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

struct span config_key(struct arena *arena, struct span environment, struct span key)
{
    return join(arena, SPAN(REST_CONFIGS), environment, "/", key);
}

void config_split(struct span full, struct span *environment, struct span *key)
{
    struct span s = span_from(full, sizeof(REST_CONFIGS) - 1);
    const uint8_t *slash = s.len ? memchr(s.data, '/', s.len) : NULL;
    size_t n = slash ? (size_t)(slash - s.data) : s.len;
    *environment = span_of(s.data, n);
    *key = span_from(s, n + (slash != NULL));
}

static struct span record_key(struct arena *arena, struct span name)
{
    return join(arena, SPAN(REST_ENVIRONMENTS), name, "", SPAN_NONE);
}

/* What another door wrote there may be anything: then there is no parent. */
static struct span parent_in(struct span record, struct arena *arena)
{
    char why[JSONR_WHY_MAX];
    struct span out = SPAN_NONE;
    json_t *json;
    if (jsonr_read(record, &json, why) != ERR_OK)
        return out;
    const json_t *parent = json_object_get(json, "parent");
    struct span name = span_of(json_string_value(parent), json_string_length(parent));
    if (parent && json_is_string(parent) && environment_name(name))
        out = arena_copy(arena, name);
    json_decref(json);
    return out;
}

static struct span parent_of(const struct kv *kv, struct span name, int64_t revision,
                             struct arena *arena)
{
    const struct kv_version *v = kv_get(kv, record_key(arena, name), revision);
    return v ? parent_in(kv_value(v), arena) : SPAN_NONE;
}

size_t environment_chain(const struct kv *kv, struct span name, int64_t revision,
                         struct arena *arena, struct span *out)
{
    size_t n = 1;
    out[0] = name;
    while (n < REST_DEPTH_MAX) {
        struct span parent = parent_of(kv, out[n - 1], revision, arena);
        bool known = !parent.len;
        for (size_t i = 0; i < n; i++)
            known = known || span_equal(out[i], parent);
        if (known)
            break;
        out[n++] = parent;
    }
    return n;
}

size_t rest_environments(const struct kv *kv, struct span environment, struct arena *arena,
                         struct span out[REST_DEPTH_MAX])
{
    return environment_chain(kv, environment, 0, arena, out);
}

/* ---- requests ---- */

/* Every member that is wrong is told. */
static enum err read_body(struct span body, struct arena *arena, struct rest_call *call,
                          const char **detail)
{
    char *why = arena_alloc(arena, JSONR_WHY_MAX);
    const char *member;
    json_t *json, *value;
    enum err e = jsonr_read(body, &json, why);
    if (e != ERR_OK) {
        *detail = e == ERR_BODY_NOT_JSON ? why : NULL;
        return e;
    }
    *detail = "the body must be an object: {\"parent\": \"name of an environment\"}, or {}";
    e = json_is_object(json) ? ERR_OK : ERR_BAD_REQUEST;
    json_object_foreach(json, member, value)
    {
        struct span name = span_of(json_string_value(value), json_string_length(value));
        if (strcmp(member, "parent") != 0)
            e = member_fault(&call->faults, member, "is not known; known is parent", arena, detail);
        else if (json_is_string(value) && environment_name(name))
            call->parent = arena_copy(arena, name);
        else if (!json_is_null(value))
            e = member_fault(&call->faults, member, REST_ENVIRONMENT_RULE "; or null", arena,
                             detail);
    }
    json_decref(json);
    return e;
}

enum err environment_read(const struct http_request *http, struct arena *arena,
                          struct rest_call *call, const char **detail)
{
    enum err e = ERR_OK;
    if (call->route == ROUTE_ENVIRONMENT) {
        struct span path = span_from(http->path, sizeof(REST_ENVIRONMENTS_PATH) - 1);
        *detail = "a percent escape in the path is not valid";
        e = http_decode(path, false, arena, &call->key);
        if (e != ERR_OK)
            return e;
        *detail = REST_ENVIRONMENT_RULE;
        if (!environment_name(call->key))
            return ERR_BAD_REQUEST;
    }
    return call->writes ? read_body(http->body, arena, call, detail) : e;
}

/* Whether some environment were more than REST_DEPTH_MAX from its farthest parent, or its own one,
 * if name had this parent. */
static bool too_deep(const struct kv *kv, struct span from, struct span name, struct span parent,
                     struct arena *arena)
{
    size_t n = 1;
    for (; from.len && n <= REST_DEPTH_MAX + 1; n++)
        from = span_equal(from, name) ? parent : parent_of(kv, from, 0, arena);
    return n > REST_DEPTH_MAX + 1;
}

static struct kv_range records(struct arena *arena)
{
    struct kv_range all = { .key = SPAN(REST_ENVIRONMENTS), .limit = REST_ENVIRONMENT_COUNT_MAX };
    all.range_end = kv_prefix_end(all.key, arena);
    return all;
}

/* That none is put after what is seen now. */
static struct kv_compare *unchanged(const struct kv *kv, const struct kv_range *all,
                                    struct arena *arena)
{
    struct kv_compare *guard = ARENA_NEW(arena, struct kv_compare);
    *guard = (struct kv_compare){ .key = all->key,
                                  .range_end = all->range_end,
                                  .target = KV_IF_MOD,
                                  .result = KV_IF_LESS,
                                  .number = kv_revision(kv) + 1 };
    return guard;
}

/* If no record has changed since it was looked at Then <put, get>. */
static enum err plan_put(struct rest_call *c, const struct kv *kv, struct arena *arena,
                         const char **detail)
{
    struct kv_range all = records(arena);
    struct kv_range_result r;
    struct span key = record_key(arena, c->key);
    enum err e = kv_range(kv, &all, arena, &r);
    CHECK(e == ERR_OK);
    *detail = "there are as many environments as this server takes: 200";
    if (r.count >= REST_ENVIRONMENT_COUNT_MAX && !kv_get(kv, key, 0))
        return ERR_ENVIRONMENTS;
    bool deep = too_deep(kv, c->key, c->key, c->parent, arena);
    for (size_t i = 0; i < r.n && !deep; i++)
        deep = too_deep(kv, span_from(kv_key(r.items[i]), sizeof(REST_ENVIRONMENTS) - 1), c->key,
                        c->parent, arena);
    *detail = "an environment would be its own parent, or have more than 7 above it";
    if (deep)
        return ERR_CYCLE;
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    if (c->parent.len) {
        jsonw_name(&w, "parent");
        jsonw_text(&w, c->parent);
    }
    jsonw_object_end(&w);
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, 2);
    ops[0] = (struct kv_op){ .type = KV_OP_PUT, .put = { .key = key, .type = KV_JSON } };
    ops[0].put.value = arena_copy(arena, buf_all(&b));
    ops[1] = (struct kv_op){ .type = KV_OP_RANGE, .range = { .key = key } };
    c->request.type = REQUEST_TXN;
    c->request.txn = (struct kv_txn){ .compares = unchanged(kv, &all, arena),
                                      .success = ops,
                                      .n_compares = 1,
                                      .n_success = 2 };
    buf_close(&b);
    return ERR_OK;
}

/* Those that inherit from it straight. */
static const char *heirs_of(const struct rest_call *c, const struct kv_range_result *r,
                            struct arena *arena)
{
    struct buf b;
    size_t n = 0;
    buf_open(&b, arena->alloc);
    for (size_t i = 0; i < r->n; i++) {
        if (!span_equal(parent_in(kv_value(r->items[i]), arena), c->key))
            continue;
        if (n++ < HEIRS_TOLD_MAX) {
            buf_text(&b, n > 1 ? ", " : "");
            buf_span(&b, span_from(kv_key(r->items[i]), sizeof(REST_ENVIRONMENTS) - 1));
        }
    }
    if (n > HEIRS_TOLD_MAX)
        buf_format(&b, " and %zu more", n - HEIRS_TOLD_MAX);
    buf_text(&b, n == 1 ? " inherits from it" : " inherit from it");
    buf_text(&b, "; ?force=true takes it away all the same");
    const char *out = n ? arena_text(arena, buf_all(&b)) : NULL;
    buf_close(&b);
    return out;
}

/* What others inherit from stays, unless it is meant. */
static enum err plan_delete(struct rest_call *c, const struct kv *kv, struct arena *arena,
                            const char **detail)
{
    struct kv_range all = records(arena);
    struct kv_range_result r;
    struct kv_op *ops = ARENA_NEW(arena, struct kv_op);
    enum err e = kv_range(kv, &all, arena, &r);
    CHECK(e == ERR_OK);
    bool there = kv_get(kv, record_key(arena, c->key), 0) != NULL;
    *detail = there && !c->leave.forced ? heirs_of(c, &r, arena) : NULL;
    if (*detail)
        return ERR_REFERRED;
    *ops = (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = record_key(arena, c->key) } };
    c->request.type = REQUEST_TXN;
    c->request.txn = (struct kv_txn){ .compares = unchanged(kv, &all, arena),
                                      .success = ops,
                                      .n_compares = 1,
                                      .n_success = 1 };
    return ERR_OK;
}

enum err environment_plan(struct rest_call *c, const struct kv *kv, struct arena *arena,
                          const char **detail)
{
    struct span root = SPAN(REST_ENVIRONMENTS);
    if (c->writes)
        return plan_put(c, kv, arena, detail);
    if (c->deletes)
        return plan_delete(c, kv, arena, detail);
    c->request.type = REQUEST_RANGE;
    c->request.range = (struct kv_range){ .limit = REST_ENVIRONMENT_COUNT_MAX };
    if (c->route == ROUTE_ENVIRONMENT) {
        c->request.range.key = record_key(arena, c->key);
    } else {
        c->request.range.key = root;
        c->request.range.range_end = kv_prefix_end(root, arena);
    }
    return ERR_OK;
}

/* ---- answers ---- */

static void record_write(struct jsonw *w, const struct kv_version *v, struct arena *arena)
{
    struct span parent = parent_in(kv_value(v), arena);
    jsonw_object(w);
    jsonw_name(w, "name");
    jsonw_text(w, span_from(kv_key(v), sizeof(REST_ENVIRONMENTS) - 1));
    jsonw_name(w, "parent");
    if (parent.len)
        jsonw_text(w, parent);
    else
        jsonw_raw(w, SPAN("null"));
    jsonw_name(w, "version");
    jsonw_number(w, v->version);
    jsonw_name(w, "revision");
    jsonw_number(w, v->mod_revision);
    jsonw_object_end(w);
}

/* Environments that have configs and no record, by leaping from one to the next. */
static void others_write(struct jsonw *w, const struct kv *kv, struct arena *arena)
{
    struct kv_range r = { .key = SPAN(REST_CONFIGS), .limit = 1, .keys_only = true };
    struct kv_range_result found;
    r.range_end = kv_prefix_end(r.key, arena);
    for (int i = 0; i < REST_ENVIRONMENT_COUNT_MAX; i++) {
        struct span name, key;
        enum err e = kv_range(kv, &r, arena, &found);
        CHECK(e == ERR_OK);
        if (!found.n)
            return;
        config_split(kv_key(found.items[0]), &name, &key);
        r.key = kv_prefix_end(config_key(arena, name, SPAN_NONE), arena);
        if (!environment_name(name) || kv_get(kv, record_key(arena, name), 0))
            continue;
        jsonw_object(w);
        jsonw_name(w, "name");
        jsonw_text(w, name);
        jsonw_name(w, "parent");
        jsonw_raw(w, SPAN("null"));
        jsonw_object_end(w);
    }
}

enum err environment_write(const struct rest_call *c, const struct kv *kv,
                           const struct reply *reply, struct arena *arena, struct jsonw *w)
{
    if (c->writes) {
        if (!reply->txn.succeeded)
            return ERR_CONFLICT;
        record_write(w, reply->txn.ops[1].range.items[0], arena);
    } else if (c->deletes) {
        if (!reply->txn.succeeded)
            return ERR_CONFLICT;
        if (!reply->txn.ops[0].del.deleted)
            return ERR_NOT_FOUND;
        jsonw_raw(w, SPAN("{\"deleted\":true}"));
    } else if (c->route == ROUTE_ENVIRONMENT) {
        if (!reply->range.n)
            return ERR_NOT_FOUND;
        record_write(w, reply->range.items[0], arena);
    } else {
        jsonw_object(w);
        jsonw_name(w, "items");
        jsonw_array(w);
        for (size_t i = 0; i < reply->range.n; i++)
            record_write(w, reply->range.items[i], arena);
        others_write(w, kv, arena);
        jsonw_array_end(w);
        jsonw_object_end(w);
    }
    return ERR_OK;
}
