/* Values: JSON outside, bytes and a type inside; and a config as JSON. */
#include "api/rest/change.h"
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

static enum err read_members(const struct jdoc *body, struct arena *arena, struct span *value,
                             uint8_t *type, struct rest_faults *faults, const char **detail)
{
    const struct jdoc *given = jdoc_member(body, SPAN("value"));
    const struct jdoc *name = jdoc_member(body, SPAN("type"));
    const char *member, *why;
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < body->n; i++)
        if (!span_is(body->items[i].name, "value") && !span_is(body->items[i].name, "type"))
            e = member_fault(faults, arena_text(arena, body->items[i].name),
                             "unknown member; known are value and type", arena, detail);
    if (!given)
        e = member_fault(faults, "value", "is missing", arena, detail);
    if (!given && name && !change_type(name, type))
        e = member_fault(faults, "type", CHANGE_TYPE_RULE, arena, detail);
    if (given && !change_value(given, name, arena, value, type, &member, &why))
        e = member_fault(faults, member, why, arena, detail);
    return e;
}

enum err value_read(struct span body, struct arena *arena, struct span *value, uint8_t *type,
                    struct rest_faults *faults, const char **detail)
{
    struct jdoc *root;
    enum err e = change_body(body, arena, &root, detail);
    if (e != ERR_OK)
        return e;
    *detail = "the body must be an object: {\"value\": ...}";
    return root->type == JDOC_OBJECT ? read_members(root, arena, value, type, faults, detail)
                                     : ERR_BAD_REQUEST;
}

/* ---- a config as JSON ---- */

void time_write(struct jsonw *w, int64_t ms)
{
    jsonw_time(w, ms);
}

void item_write_as(struct jsonw *w, const struct kv *kv, const struct kv_version *v,
                   struct span environment, struct span value, const char *unresolved)
{
    struct span own, key;
    CHECK(v->type < KV_TYPE_COUNT && !v->tombstone);
    struct span by = kv_author(kv, v);
    config_split(kv_key(v), &own, &key);
    jsonw_object(w);
    jsonw_name(w, "key");
    jsonw_text(w, key);
    jsonw_name(w, "environment");
    jsonw_text(w, environment.len ? environment : own);
    if (environment.len && !span_equal(environment, own)) {
        jsonw_name(w, "from");
        jsonw_text(w, own);
    }
    change_value_write(w, value, v->type);
    if (unresolved) {
        jsonw_name(w, "unresolved");
        jsonw_text(w, span_text(unresolved));
    }
    jsonw_name(w, "version");
    jsonw_number(w, v->version);
    jsonw_name(w, "revision");
    jsonw_number(w, v->mod_revision);
    jsonw_name(w, "updated_at");
    time_write(w, v->updated_at_ms);
    jsonw_name(w, "updated_by");
    jsonw_text(w, by.len ? by : SPAN("anonymous"));
    jsonw_object_end(w);
}

void item_write(struct jsonw *w, const struct kv *kv, const struct kv_version *v,
                struct span environment)
{
    item_write_as(w, kv, v, environment, kv_value(v), NULL);
}

/* ---- page tokens: the revision that all pages read at, and the last key given ---- */

struct span page_token(int64_t revision, struct span last_key, struct arena *arena)
{
    struct buf b, text;
    buf_open(&b, arena->alloc);
    buf_open(&text, arena->alloc);
    buf_u64(&b, (uint64_t)revision);
    buf_span(&b, last_key);
    jsonw_base64(buf_all(&b), true, &text);
    struct span out = arena_copy(arena, buf_all(&text));
    buf_close(&b);
    buf_close(&text);
    return out;
}

bool page_token_read(struct span token, struct arena *arena, int64_t *revision, struct span *last)
{
    struct buf b;
    uint64_t number = 0;
    buf_open(&b, arena->alloc);
    bool ok = token.len < 2 * REST_KEY_MAX && jsonr_base64(token, true, &b);
    struct span s = buf_all(&b);
    ok = ok && span_u64(&s, &number) && s.len > 0 && number > 0 && number < INT64_MAX;
    *revision = (int64_t)number;
    *last = ok ? arena_copy(arena, s) : SPAN_NONE;
    buf_close(&b);
    return ok;
}
