/* What is asked of the routes that change several keys. */
#include "api/rest/draft.h"
#include "base/check.h"
#include "core/flag/flag.h"

/* ---- bodies ---- */

static const char *told(struct arena *arena, const char *before, const char *name,
                        const char *after)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%s%s%s", before, name, after);
    const char *out = arena_text(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

enum err change_body(struct span body, struct arena *arena, struct jdoc **out,
                     const char **detail)
{
    struct jdoc_fault fault;
    struct buf b;
    enum err e = jdoc_read(body, arena, out, &fault);
    *detail = NULL;
    if (e != ERR_BODY_NOT_JSON)
        return e;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%s, at byte %zu", fault.why, fault.place);
    *detail = arena_text(arena, buf_all(&b));
    buf_close(&b);
    return e;
}

enum err change_members(const struct jdoc *object, const char *const *names, struct arena *arena,
                        const char **detail)
{
    *detail = "the body must be an object";
    if (object->type != JDOC_OBJECT)
        return ERR_BAD_REQUEST;
    for (uint32_t i = 0; i < object->n; i++) {
        struct buf b;
        size_t k = 0;
        while (names[k] && !span_is(object->items[i].name, names[k]))
            k++;
        if (names[k])
            continue;
        buf_open(&b, arena->alloc);
        jdoc_pointer(&object->items[i], &b);
        buf_text(&b, ": unknown member; known are");
        for (k = 0; names[k]; k++)
            buf_format(&b, " %s", names[k]);
        *detail = arena_text(arena, buf_all(&b));
        buf_close(&b);
        return ERR_BAD_REQUEST;
    }
    return ERR_OK;
}

enum err change_text(const struct jdoc *object, const char *name, size_t max, struct arena *arena,
                     struct span *out, const char **detail)
{
    const struct jdoc *v = jdoc_member(object, span_text(name));
    if (!v)
        return ERR_OK;
    *out = v->type == JDOC_STRING ? v->text : SPAN_NONE;
    *detail = told(arena, "/", name, ": must be a string, and not too long");
    return v->type == JDOC_STRING && v->text.len <= max ? ERR_OK : ERR_BAD_REQUEST;
}

enum err change_yes(const struct jdoc *object, const char *name, struct arena *arena, bool *out,
                    const char **detail)
{
    const struct jdoc *v = jdoc_member(object, span_text(name));
    if (!v)
        return ERR_OK;
    *out = v->type == JDOC_BOOL && v->truth;
    *detail = told(arena, "/", name, ": must be true or false");
    return v->type == JDOC_BOOL ? ERR_OK : ERR_BAD_REQUEST;
}

enum err change_count(const struct jdoc *object, const char *name, struct arena *arena,
                      int64_t *out, const char **detail)
{
    const struct jdoc *v = jdoc_member(object, span_text(name));
    if (!v)
        return ERR_OK;
    *detail = told(arena, "/", name, ": must be a whole number, 0 or more");
    return v->type == JDOC_NUMBER && jdoc_decimal_count(jdoc_decimal(v->text), out)
               ? ERR_OK
               : ERR_BAD_REQUEST;
}

/* ---- one change ---- */

struct reading {
    struct change_call *c;
    struct arena *arena;
    const struct jdoc *item;
    size_t at;
    struct change *x;
    struct span environment, name;
};

static void fault(struct reading *r, const char *member, const char *detail)
{
    change_fault(r->c, ERR_BAD_REQUEST, change_pointer(r->c, r->at, member, r->arena), detail);
}

static const struct jdoc *member(const struct reading *r, const char *name)
{
    return jdoc_member(r->item, span_text(name));
}

/* A string, or what it is when it is not there. */
static struct span text_of(struct reading *r, const char *name, struct span otherwise)
{
    const struct jdoc *v = member(r, name);
    if (v && v->type != JDOC_STRING)
        fault(r, name, "must be a string");
    return v && v->type == JDOC_STRING ? v->text : otherwise;
}

static void read_config(struct reading *r)
{
    const struct jdoc *value = member(r, "value");
    const char *at, *detail;
    if (!value)
        fault(r, "value", "is missing");
    else if (!change_value(value, member(r, "type"), r->arena, &r->x->value, &r->x->type, &at,
                           &detail))
        fault(r, at, detail);
}

static void read_flag(struct reading *r)
{
    const struct jdoc *value = member(r, "value");
    const struct flag *flag;
    const char *at, *detail = "is missing";
    char *why = arena_alloc(r->arena, FLAG_WHY_MAX);
    if (!value || !change_value(value, NULL, r->arena, &r->x->value, &r->x->type, &at, &detail)) {
        fault(r, "value", detail);
        return;
    }
    r->x->type = KV_JSON;
    enum err e = flag_compile(r->name, r->x->value, NULL, r->arena, &flag, why);
    if (e != ERR_OK)
        fault(r, "value", e == ERR_BODY_TOO_LARGE ? err_text(e) : why);
}

/* What the flags of an environment share: {"$evaluators": {name: rule}}. */
static void read_flagset(struct reading *r)
{
    const struct jdoc *value = member(r, "value");
    const struct rule *rule;
    struct fval all;
    const char *at, *detail = "is missing";
    char *why = arena_alloc(r->arena, FLAG_WHY_MAX);
    if (!value || !change_value(value, NULL, r->arena, &r->x->value, &r->x->type, &at, &detail)) {
        fault(r, "value", detail);
        return;
    }
    r->x->type = KV_JSON;
    enum err e = fval_read(r->x->value, r->arena, &all, why);
    const struct fval *rules = e == ERR_OK ? fval_find(&all, SPAN("$evaluators")) : NULL;
    if (e != ERR_OK)
        fault(r, "value", e == ERR_BODY_TOO_LARGE ? err_text(e) : why);
    else if (!rules || rules->type != FVAL_OBJECT)
        fault(r, "value", "must be {\"$evaluators\": {name: rule}}");
    for (uint32_t i = 0; rules && rules->type == FVAL_OBJECT && i < rules->n; i++)
        if (rule_compile(&rules->members[i].value, rules, r->arena, &rule, why) != ERR_OK) {
            fault(r, "value", why);
            return;
        }
}

/* A config that stands for a field of a secret: read, it is the secret's. */
static void read_reference(struct reading *r)
{
    struct span name_space = text_of(r, "namespace", SPAN("secret"));
    struct span path = text_of(r, "path", SPAN_NONE), field = text_of(r, "field", SPAN_NONE);
    struct buf b;
    if (!secret_namespace_good(name_space))
        fault(r, "namespace", "is not the name of a namespace");
    if (!secret_path_good(path))
        fault(r, "path", "is not the path of a secret");
    if (!field.len || memchr(field.data, '}', field.len))
        fault(r, "field", "must name a field of the secret");
    buf_open(&b, r->arena->alloc);
    buf_text(&b, "${secret:");
    buf_span(&b, name_space);
    buf_u8(&b, '/');
    buf_span(&b, path);
    buf_u8(&b, '#');
    buf_span(&b, field);
    buf_u8(&b, '}');
    r->x->value = arena_copy(r->arena, buf_all(&b));
    r->x->type = KV_STRING;
    buf_close(&b);
}

enum { FLAG_NAME_MAX = 100 };

static const char *flag_name_fault(struct span s)
{
    bool good = s.len > 0 && s.len <= FLAG_NAME_MAX;
    for (size_t i = 0; i < s.len; i++)
        good = good && s.data[i] > 0x20 && s.data[i] != 0x7f && s.data[i] != '/';
    return good ? NULL : "a flag's name has 1 to 100 bytes, none of them a blank or slash";
}

static struct span flagset_key_of(struct reading *r)
{
    struct buf b;
    buf_open(&b, r->arena->alloc);
    buf_text(&b, "confman/flagset/");
    buf_span(&b, r->environment);
    struct span out = arena_copy(r->arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static struct span flag_key(struct reading *r)
{
    struct buf b;
    buf_open(&b, r->arena->alloc);
    buf_text(&b, "confman/flag/");
    buf_span(&b, r->environment);
    buf_u8(&b, '/');
    buf_span(&b, r->name);
    struct span out = arena_copy(r->arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static const char *const of_any[] = { "op", "kind", "key", "environment", "if_version" };
static const struct kind {
    const char *name;
    void (*read)(struct reading *r);
    bool flag, flagset;
    const char *members[4];
} kinds[] = { { "config", read_config, false, false, { "value", "type" } },
              { "flag", read_flag, true, false, { "value" } },
              { "flagset", read_flagset, false, true, { "value" } },
              { "secret_reference",
                read_reference,
                false,
                false,
                { "namespace", "path", "field" } } };

static bool is_known(const struct kind *k, struct span name, bool deletes)
{
    bool known = false;
    for (size_t i = 0; i < sizeof(of_any) / sizeof(of_any[0]); i++)
        known = known || span_is(name, of_any[i]);
    for (size_t i = 0; i < sizeof(k->members) / sizeof(k->members[0]) && !deletes; i++)
        known = known || (k->members[i] && span_is(name, k->members[i]));
    return known;
}

static void read_version(struct reading *r)
{
    const struct jdoc *v = member(r, "if_version");
    if (!v)
        return;
    r->x->has_version = true;
    if (v->type != JDOC_NUMBER || !jdoc_decimal_count(jdoc_decimal(v->text), &r->x->version))
        fault(r, "if_version", "must be a whole number; 0: there must be none");
}

static void read_item(struct reading *r)
{
    struct span op = text_of(r, "op", SPAN("set")), kind = text_of(r, "kind", SPAN("config"));
    const struct kind *k = NULL;
    const char *detail;
    r->x->pointer = change_pointer(r->c, r->at, NULL, r->arena);
    r->x->deletes = span_is(op, "delete");
    r->x->must_exist = r->x->deletes;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (span_is(kind, kinds[i].name))
            k = &kinds[i];
    if (!r->x->deletes && !span_is(op, "set"))
        fault(r, "op", "must be set or delete");
    if (!k) {
        fault(r, "kind", "must be config, flag, flagset or secret_reference");
        return;
    }
    for (uint32_t i = 0; i < r->item->n; i++)
        if (!is_known(k, r->item->items[i].name, r->x->deletes))
            fault(r, arena_text(r->arena, r->item->items[i].name), "unknown member");
    r->environment = text_of(r, "environment", r->c->environment);
    r->name = text_of(r, "key", SPAN_NONE);
    if (!environment_name(r->environment))
        fault(r, "environment", REST_ENVIRONMENT_RULE);
    detail = k->flagset ? NULL : k->flag ? flag_name_fault(r->name) : config_key_fault(r->name);
    if (detail)
        fault(r, "key", detail);
    r->x->key = k->flagset ? flagset_key_of(r)
                : k->flag  ? flag_key(r)
                           : config_key(r->arena, r->environment, r->name);
    read_version(r);
    if (!r->x->deletes)
        k->read(r);
}

void change_items_read(struct change_call *c, struct arena *arena)
{
    c->n = 0;
    c->n_faults = 0;
    for (size_t i = 0; i < c->list->n; i++) {
        struct reading r = { .c = c, .arena = arena, .item = &c->list->items[i], .at = i };
        if (r.item->type != JDOC_OBJECT) {
            fault(&r, NULL, "must be an object");
            continue;
        }
        r.x = change_add(c, arena);
        read_item(&r);
    }
}

/* ---- the routes ---- */

struct asking {
    struct change_call *c;
    struct rest_call *call;
    const char **detail;
};

static enum err read_yes(struct asking *a, struct span value, bool *out)
{
    *out = span_is(value, "true");
    *a->detail = "it must be true or false";
    return *out || span_is(value, "false") ? ERR_OK : ERR_BAD_REQUEST;
}

static enum err take_of_list(struct asking *a, struct span name, struct span value)
{
    struct draft_call *d = a->c->draft;
    *a->detail = "limit must be a number from 1 to 1000";
    if (span_is(name, "limit"))
        return number_read(value, &d->limit) && d->limit >= 1 && d->limit <= REST_PAGE_MAX
                   ? ERR_OK
                   : ERR_BAD_REQUEST;
    *a->detail = "before must be the number of a draft";
    if (span_is(name, "before"))
        return number_read(value, &d->before) && d->before > 0 ? ERR_OK : ERR_BAD_REQUEST;
    d->state = value;
    *a->detail = "unknown query parameter; known are environment, state, limit and before";
    return span_is(name, "state") ? ERR_OK : ERR_BAD_REQUEST;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    if (span_is(name, "environment")) {
        a->c->environment = value;
        *a->detail = REST_ENVIRONMENT_RULE;
        return environment_name(value) ? ERR_OK : ERR_BAD_REQUEST;
    }
    if (span_is(name, "dry_run"))
        return read_yes(a, value, &a->c->dry_run);
    if (span_is(name, "confirm"))
        return read_yes(a, value, &a->call->leave.confirmed);
    if (span_is(name, "force"))
        return read_yes(a, value, &a->call->leave.forced);
    if (a->call->route == ROUTE_DRAFTS)
        return take_of_list(a, name, value);
    *a->detail = "unknown query parameter; known are environment, dry_run, confirm and force";
    return ERR_BAD_REQUEST;
}

/* Read before anything is made of the state, so that it is as new as the request; and nobody
 * learns of a key that he may not read. */
void change_read_first(struct rest_call *call, struct arena *arena)
{
    struct change_call *c = call->change;
    size_t n = c->n_faults ? 0 : c->n < KV_OPS_MAX ? c->n : KV_OPS_MAX;
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, n + 1);
    for (size_t i = 0; i < n; i++)
        ops[i] = (struct kv_op){ .type = KV_OP_RANGE,
                                 .range = { .key = c->items[i].key, .keys_only = true } };
    call->request.type = REQUEST_TXN;
    call->request.serializable = false;
    call->request.txn = (struct kv_txn){ .success = ops, .n_success = n };
}

static enum err txn_call(const struct http_request *http, struct arena *arena,
                         struct rest_call *call, const char **detail)
{
    static const char *const members[] = { "changes", "change_log", NULL };
    struct change_call *c = call->change;
    struct jdoc *body;
    enum err e = change_body(arena_copy(arena, http->body), arena, &body, detail);
    if (e != ERR_OK)
        return e;
    c->list = body;
    c->list_at = "";
    if (body->type == JDOC_OBJECT) {
        e = change_members(body, members, arena, detail);
        if (e == ERR_OK)
            e = change_text(body, "change_log", CHANGE_LOG_MAX, arena, &c->log, detail);
        if (e != ERR_OK)
            return e;
        c->list = jdoc_member(body, SPAN("changes"));
        c->list_at = "/changes";
    }
    *detail = "the body must be {\"changes\": [...], \"change_log\": \"why\"}, or the array alone";
    if (!jdoc_is(c->list, JDOC_ARRAY))
        return ERR_BAD_REQUEST;
    *detail = "one transaction takes 120 changes, or 60 with a change_log";
    if (c->list->n > CHANGES_MAX)
        return ERR_CHANGES;
    change_items_read(c, arena);
    change_read_first(call, arena);
    return ERR_OK;
}

bool change_takes(int route)
{
    return route == ROUTE_TXN || route == ROUTE_ROLLBACK || route == ROUTE_DRAFTS ||
           route == ROUTE_DRAFT || route == ROUTE_IMPORT;
}

enum err change_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                     const char **detail)
{
    if (call->route == ROUTE_IMPORT)
        return import_call(http, arena, call, detail);
    struct change_call *c = change_begin(call, arena);
    struct asking a = { c, call, detail };
    bool drafts = call->route == ROUTE_DRAFTS || call->route == ROUTE_DRAFT;
    c->environment = SPAN("default");
    if (drafts)
        c->draft = ARENA_NEW(arena, struct draft_call);
    *detail = "a percent escape in the query is not valid";
    enum err e = http_query_each(http->query, arena, take_pair, &a);
    if (e != ERR_OK)
        return e;
    if (drafts)
        return draft_call(http, arena, call, detail);
    return call->route == ROUTE_TXN ? txn_call(http, arena, call, detail)
                                    : rollback_call(http, arena, call, detail);
}
