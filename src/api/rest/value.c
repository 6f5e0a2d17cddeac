/* Values: JSON outside, bytes and a type inside; and a config as JSON. */
#include "api/rest/change.h"
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

static const char *const type_names[KV_TYPE_COUNT] = { [KV_BYTES] = "bytes",
                                                       [KV_STRING] = "string",
                                                       [KV_NUMBER] = "number",
                                                       [KV_BOOLEAN] = "boolean",
                                                       [KV_JSON] = "json" };

static enum kv_type natural_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return KV_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return KV_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return KV_BOOLEAN;
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        break;
    }
    return KV_JSON;
}

static int take_dump(const char *text, size_t len, void *context)
{
    buf_put(context, text, len);
    return 0;
}

static void dump(const json_t *value, size_t digits, struct buf *out)
{
    buf_reset(out);
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits);
    CHECK(json_dump_callback(value, take_dump, out, flags) == 0);
}

/* 15 digits are what people wrote (0.1, not 0.10000000000000001), unless they lose something. */
static void dump_exact(const json_t *value, struct buf *out)
{
    char why[JSONR_WHY_MAX];
    json_t *back;
    dump(value, 15, out);
    if (jsonr_read(buf_all(out), &back, why) == ERR_OK) {
        bool same = json_equal(value, back);
        json_decref(back);
        if (same)
            return;
    }
    dump(value, 17, out);
}

struct reading {
    struct arena *arena;
    struct rest_faults *faults;
    const char **detail;
};

static enum err wrong(struct reading *r, const char *member, const char *why)
{
    return member_fault(r->faults, member, why, r->arena, r->detail);
}

static enum err bytes_of(struct reading *r, const json_t *value, enum kv_type type,
                         struct span *out)
{
    struct buf b;
    enum err e = ERR_OK;
    buf_open(&b, r->arena->alloc);
    if (type == KV_STRING) {
        buf_put(&b, json_string_value(value), json_string_length(value));
    } else if (type == KV_BYTES) {
        struct span text = span_of(json_string_value(value), json_string_length(value));
        if (!jsonr_base64(text, false, &b))
            e = wrong(r, "value", "must be base64");
    } else {
        dump_exact(value, &b);
    }
    *out = arena_copy(r->arena, buf_all(&b));
    buf_close(&b);
    return e;
}

/* value: NULL when it is missing. */
static enum err take_type(struct reading *r, const json_t *name, const json_t *value, uint8_t *type)
{
    enum kv_type natural = value ? natural_type(value) : KV_TYPE_COUNT;
    uint8_t given = name ? KV_TYPE_COUNT : (uint8_t)natural;
    for (uint8_t t = 0; json_is_string(name) && t < KV_TYPE_COUNT; t++)
        if (strcmp(json_string_value(name), type_names[t]) == 0)
            given = t;
    *type = given;
    if (name && given == KV_TYPE_COUNT)
        return wrong(r, "type", "must be string, number, boolean, json or bytes");
    bool fits = given == natural || given == KV_JSON || (given == KV_BYTES && natural == KV_STRING);
    return fits || !value ? ERR_OK : wrong(r, "value", "is not of the type that /type says");
}

static enum err read_members(struct reading *r, json_t *body, struct span *value, uint8_t *type)
{
    const char *name;
    json_t *member;
    enum err e = ERR_OK, typed;
    *r->detail = "the body must be an object: {\"value\": ...}";
    if (!json_is_object(body))
        return ERR_BAD_REQUEST;
    json_object_foreach(body, name, member)
    {
        if (strcmp(name, "value") != 0 && strcmp(name, "type") != 0)
            e = wrong(r, name, "unknown member; known are value and type");
    }
    const json_t *given = json_object_get(body, "value");
    if (!given)
        e = wrong(r, "value", "is missing");
    typed = take_type(r, json_object_get(body, "type"), given, type);
    if (typed == ERR_OK && given)
        typed = bytes_of(r, given, (enum kv_type) * type, value);
    return e == ERR_OK ? typed : e;
}

enum err value_read(struct span body, struct arena *arena, struct span *value, uint8_t *type,
                    struct rest_faults *faults, const char **detail)
{
    struct reading r = { arena, faults, detail };
    char *why = arena_alloc(arena, JSONR_WHY_MAX);
    json_t *json;
    enum err e = jsonr_read(body, &json, why);
    if (e != ERR_OK) {
        *detail = e == ERR_BODY_NOT_JSON ? why : NULL;
        return e;
    }
    e = read_members(&r, json, value, type);
    json_decref(json);
    return e;
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
