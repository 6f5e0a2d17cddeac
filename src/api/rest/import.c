/* Import: a file of names and values, as changes of an environment's configs. Whatever the format,
 * it is a tree of JSON first: what is in the store already is not written, so an import that was
 * cut is gone on with by doing it again. */
#include "api/rest/change.h"
#include "base/check.h"
#include "wire/dotenv/dotenv.h"
#include "wire/yaml/yaml.h"

struct import {
    enum rest_format format;
    struct span prefix;
    bool nested, replace;
    struct jdoc *document;
};

/* ---- what is asked ---- */

struct asking {
    struct rest_call *call;
    struct import *import;
    const char **detail;
    bool has_format;
};

bool format_read(struct span name, enum rest_format *out)
{
    static const char *const names[FORMAT_COUNT] = { [FORMAT_JSON] = "json",
                                                     [FORMAT_YAML] = "yaml",
                                                     [FORMAT_ENV] = "env" };
    for (enum rest_format f = FORMAT_JSON; f < FORMAT_COUNT; f++) {
        *out = f;
        if (span_is(name, names[f]))
            return true;
    }
    return false;
}

static enum err take_yes(struct asking *a, struct span name, struct span value)
{
    struct change_call *c = a->call->change;
    const struct {
        const char *name;
        bool *out;
    } all[] = { { "dry_run", &c->dry_run },
                { "partial", &c->partial },
                { "nested", &a->import->nested },
                { "replace", &a->import->replace },
                { "confirm", &a->call->leave.confirmed },
                { "force", &a->call->leave.forced } };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!span_is(name, all[i].name))
            continue;
        *all[i].out = span_is(value, "true");
        *a->detail = "dry_run, partial, nested, replace, confirm and force must be true or false";
        return *all[i].out || span_is(value, "false") ? ERR_OK : ERR_BAD_REQUEST;
    }
    *a->detail = "unknown query parameter; known are: format environment prefix change_log dry_run "
                 "partial nested replace confirm force";
    return ERR_BAD_REQUEST;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    struct change_call *c = a->call->change;
    if (span_is(name, "format")) {
        a->has_format = true;
        *a->detail = "format must be json, yaml or env";
        return format_read(value, &a->import->format) ? ERR_OK : ERR_BAD_REQUEST;
    }
    if (span_is(name, "environment")) {
        c->environment = value;
        *a->detail = REST_ENVIRONMENT_RULE;
        return environment_name(value) ? ERR_OK : ERR_BAD_REQUEST;
    }
    if (span_is(name, "prefix")) {
        a->import->prefix = value;
        *a->detail = "the prefix is longer than 256 bytes";
        return value.len <= REST_KEY_MAX ? ERR_OK : ERR_BAD_REQUEST;
    }
    if (span_is(name, "change_log")) {
        c->log = value;
        *a->detail = "the change_log is longer than 1000 bytes";
        return value.len <= CHANGE_LOG_MAX ? ERR_OK : ERR_BAD_REQUEST;
    }
    return take_yes(a, name, value);
}

/* ---- formats ---- */

static void env_pair(void *context, struct span name, struct span value)
{
    struct jsonw *w = context;
    jsonw_key(w, name);
    jsonw_text(w, value);
}

static enum err env_json(struct span text, struct buf *json, struct arena *arena,
                         const char **detail)
{
    struct buf scratch, b;
    struct jsonw w;
    size_t line;
    buf_open(&scratch, arena->alloc);
    jsonw_open(&w, json);
    jsonw_object(&w);
    enum err e = dotenv_read(text, &scratch, env_pair, &w, &line);
    jsonw_object_end(&w);
    buf_close(&scratch);
    if (e == ERR_OK)
        return e;
    buf_open(&b, arena->alloc);
    buf_format(&b, "line %zu: is not NAME=value, a comment, or empty", line);
    *detail = arena_text(arena, buf_all(&b));
    buf_close(&b);
    return e;
}

static enum err read_document(struct import *m, struct span body, struct arena *arena,
                              const char **detail)
{
    char *why = arena_zero(arena, YAML_WHY_MAX);
    struct buf b;
    enum err e = ERR_OK;
    buf_open(&b, arena->alloc);
    if (m->format == FORMAT_YAML) {
        e = yaml_json(body, &b, why);
        *detail = e == ERR_BODY_NOT_JSON ? why : NULL;
    } else if (m->format == FORMAT_ENV) {
        e = env_json(body, &b, arena, detail);
    }
    if (e == ERR_OK)
        e = change_body(arena_copy(arena, m->format == FORMAT_JSON ? body : buf_all(&b)), arena,
                        &m->document, detail);
    buf_close(&b);
    if (e != ERR_OK)
        return e;
    *detail = "the file must be names with values: an object, a mapping";
    return m->document->type == JDOC_OBJECT ? ERR_OK : ERR_BAD_REQUEST;
}

enum err import_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                     const char **detail)
{
    struct change_call *c = change_begin(call, arena);
    struct import *m = c->import = ARENA_NEW(arena, struct import);
    struct asking a = { .call = call, .import = m, .detail = detail };
    c->environment = SPAN("default");
    *detail = "a percent escape in the query is not valid";
    enum err e = http_query_each(http->query, arena, take_pair, &a);
    if (e != ERR_OK)
        return e;
    *detail = "format says what the file is: json, yaml or env";
    if (!a.has_format)
        return ERR_BAD_REQUEST;
    e = read_document(m, http->body, arena, detail);
    struct kv_op *look = ARENA_NEW(arena, struct kv_op); /* whether all of it may be read */
    look->type = KV_OP_RANGE;
    look->range = (struct kv_range){ .key = config_key(arena, c->environment, m->prefix),
                                     .limit = 1,
                                     .keys_only = true };
    look->range.range_end = kv_prefix_end(look->range.key, arena);
    call->request.type = REQUEST_TXN;
    call->request.txn = (struct kv_txn){ .success = look, .n_success = 1 };
    return e;
}

/* ---- as changes ---- */

struct importing {
    struct change_call *c;
    const struct import *m;
    const struct kv *kv;
    struct arena *arena;
    struct buf name;
    enum err err;
};

/* {"$bytes": "base64"}, as an export has values that are no text; NULL: it is none. */
static const struct jdoc *bytes_in(const struct jdoc *v)
{
    const struct jdoc *inner =
        v->type == JDOC_OBJECT && v->n == 1 ? jdoc_member(v, SPAN("$bytes")) : NULL;
    return jdoc_is(inner, JDOC_STRING) ? inner : NULL;
}

static const struct jdoc *tree_of(struct span text, struct arena *arena)
{
    struct jdoc *v;
    struct jdoc_fault fault;
    return jdoc_read(text, arena, &v, &fault) == ERR_OK ? v : NULL;
}

/* What is there and says the same is left as it is: its type, and how its number is written. */
static void keep_same(struct importing *i, struct change *x, const struct jdoc *v)
{
    const struct kv_version *now = kv_get(i->kv, x->key, 0);
    uint64_t steps = 0;
    if (!now)
        return;
    struct span is = kv_value(now);
    bool text = now->type == KV_STRING || now->type == KV_BYTES, same = span_equal(is, x->value);
    if (text && x->type == KV_STRING && same) {
        x->type = now->type;
    } else if (!text && x->type != KV_STRING && x->type != KV_BYTES) {
        const struct jdoc *tree = tree_of(is, i->arena);
        if (!tree || jdoc_compare(tree, v, &steps, 1 << 16) != 0 || steps > 1 << 16)
            return;
        x->value = arena_copy(i->arena, is);
        x->type = now->type;
    } else if (!text && i->m->format == FORMAT_ENV) { /* which knows text alone */
        const struct jdoc *given = tree_of(x->value, i->arena);
        bool fits = given && (now->type == KV_JSON ||
                              (now->type == KV_NUMBER && given->type == JDOC_NUMBER) ||
                              (now->type == KV_BOOLEAN && given->type == JDOC_BOOL));
        x->type = fits ? now->type : x->type;
    }
}

static void take_value(struct importing *i, const struct jdoc *v)
{
    static const struct jdoc of_bytes = { .type = JDOC_STRING,
                                          .text = { (const uint8_t *)"bytes", 5 } };
    struct change_call *c = i->c;
    const struct jdoc *bytes = bytes_in(v);
    struct change *x = change_add(c, i->arena);
    struct span name = arena_copy(i->arena, buf_all(&i->name));
    struct buf b;
    buf_open(&b, i->arena->alloc);
    jdoc_pointer(v, &b);
    x->pointer = arena_copy(i->arena, buf_all(&b));
    buf_close(&b);
    const char *at, *detail = config_key_fault(name);
    if (!detail && change_value(bytes ? bytes : v, bytes ? &of_bytes : NULL, i->arena, &x->value,
                                &x->type, &at, &detail))
        detail = NULL;
    if (detail)
        change_fault(c, ERR_BAD_REQUEST, x->pointer, detail);
    x->key = config_key(i->arena, c->environment, name);
    keep_same(i, x, v);
}

/* nested: the names of objects in one another, with slashes between, are a key. */
static void take_members(struct importing *i, const struct jdoc *object)
{
    size_t at = i->name.len;
    for (uint32_t k = 0; k < object->n; k++) {
        const struct jdoc *v = &object->items[object->sorted[k]];
        buf_span(&i->name, v->name);
        if (i->m->nested && v->type == JDOC_OBJECT && v->n && !bytes_in(v)) {
            buf_u8(&i->name, '/');
            take_members(i, v);
        } else {
            take_value(i, v);
        }
        i->name.len = at;
    }
}

struct removing {
    struct importing *i;
    size_t at; /* of the items, which are in order as the keys are */
    size_t n;
};

static void remove_missing(void *context, struct span rest, const struct kv_version *v,
                           const struct kv_version *same)
{
    struct removing *r = context;
    struct change_call *c = r->i->c;
    (void)rest, (void)same;
    while (r->at < r->n && span_compare(c->items[r->at].key, kv_key(v)) < 0)
        r->at++;
    if (r->at < r->n && span_equal(c->items[r->at].key, kv_key(v)))
        return;
    struct change *x = change_add(c, r->i->arena);
    x->key = arena_copy(r->i->arena, kv_key(v));
    x->deletes = true;
}

enum err import_plan(struct rest_call *call, const struct kv *kv, struct arena *arena)
{
    struct change_call *c = call->change;
    struct importing i = { .c = c, .m = c->import, .kv = kv, .arena = arena };
    c->n = c->n_faults = 0;
    buf_open(&i.name, arena->alloc);
    buf_span(&i.name, i.m->prefix);
    take_members(&i, i.m->document);
    buf_close(&i.name);
    if (!i.m->replace || c->n_faults)
        return ERR_OK;
    change_sort(c, arena);
    struct change_walk all = { .prefix = config_key(arena, c->environment, i.m->prefix) };
    struct removing r = { .i = &i, .n = c->n };
    return change_walk_both(kv, &all, &all, arena, remove_missing, &r);
}
