/* Values of changes: from a tree of JSON to bytes and a type, and back with what differs. */
#include "api/rest/change.h"
#include "base/check.h"
#include "core/diff/diff.h"
#include "wire/protobuf/protobuf.h"

static const char *const type_names[KV_TYPE_COUNT] = { [KV_BYTES] = "bytes",
                                                       [KV_STRING] = "string",
                                                       [KV_NUMBER] = "number",
                                                       [KV_BOOLEAN] = "boolean",
                                                       [KV_JSON] = "json" };
static const uint8_t natural[] = { [JDOC_NULL] = KV_JSON,     [JDOC_BOOL] = KV_BOOLEAN,
                                   [JDOC_NUMBER] = KV_NUMBER, [JDOC_STRING] = KV_STRING,
                                   [JDOC_ARRAY] = KV_JSON,    [JDOC_OBJECT] = KV_JSON };

/* ---- reading ---- */

bool change_type(const struct jdoc *name, uint8_t *kind)
{
    uint8_t t = 0;
    while (t < KV_TYPE_COUNT && (name->type != JDOC_STRING || !span_is(name->text, type_names[t])))
        t++;
    *kind = t;
    return t < KV_TYPE_COUNT;
}

static bool read_type(const struct jdoc *value, const struct jdoc *type, uint8_t *out,
                      const char **member, const char **detail)
{
    *out = natural[value->type];
    if (!type)
        return true;
    uint8_t given;
    *member = "type";
    *detail = CHANGE_TYPE_RULE;
    if (!change_type(type, &given))
        return false;
    *member = "value";
    *detail = "is not of the type that is said";
    bool fits = given == *out || given == KV_JSON || (given == KV_BYTES && *out == KV_STRING);
    *out = given;
    return fits;
}

bool change_value(const struct jdoc *value, const struct jdoc *type, struct arena *arena,
                  struct span *out, uint8_t *kind, const char **member, const char **detail)
{
    struct buf b;
    struct jsonw w;
    bool good = true;
    if (!read_type(value, type, kind, member, detail))
        return false;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    *member = "value";
    *detail = "must be base64";
    if (*kind == KV_STRING)
        buf_span(&b, value->text);
    else if (*kind == KV_BYTES)
        good = jsonr_base64(value->text, false, &b);
    else
        change_json(&w, value);
    *out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return good;
}

/* ---- writing ---- */

void change_json(struct jsonw *w, const struct jdoc *v)
{
    switch ((enum jdoc_type)v->type) {
    case JDOC_NULL:
        jsonw_raw(w, SPAN("null"));
        return;
    case JDOC_BOOL:
        jsonw_bool(w, v->truth);
        return;
    case JDOC_NUMBER:
        jsonw_raw(w, v->text);
        return;
    case JDOC_STRING:
        jsonw_text(w, v->text);
        return;
    case JDOC_ARRAY:
        jsonw_array(w);
        for (uint32_t i = 0; i < v->n; i++)
            change_json(w, &v->items[i]);
        jsonw_array_end(w);
        return;
    case JDOC_OBJECT:
        jsonw_object(w);
        for (uint32_t i = 0; i < v->n; i++) {
            jsonw_key(w, v->items[i].name);
            change_json(w, &v->items[i]);
        }
        jsonw_object_end(w);
        return;
    }
    UNREACHABLE("a type of JSON");
}

static bool is_text(struct span value, uint8_t type)
{
    return type == KV_STRING || (type == KV_BYTES && pb_utf8(value));
}

void change_plain_write(struct jsonw *w, struct span value, uint8_t type)
{
    if (is_text(value, type)) {
        jsonw_text(w, value);
    } else if (type == KV_BYTES) {
        struct buf b;
        buf_open(&b, w->out->alloc);
        jsonw_base64(value, false, &b);
        jsonw_text(w, buf_all(&b));
        buf_close(&b);
    } else {
        jsonw_raw(w, value);
    }
}

void change_value_write(struct jsonw *w, struct span value, uint8_t type)
{
    CHECK(type < KV_TYPE_COUNT);
    jsonw_name(w, "value");
    change_plain_write(w, value, type);
    jsonw_name(w, "type");
    jsonw_text(w, is_text(value, type) ? SPAN("string") : span_text(type_names[type]));
}

/* ---- what differs ---- */

/* NULL: not JSON of ours. */
static const struct jdoc *tree_of(const struct change_side *s, struct arena *arena)
{
    struct jdoc *v;
    struct jdoc_fault fault;
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    change_plain_write(&w, s->value, s->type);
    struct span text = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return jdoc_read(text, arena, &v, &fault) == ERR_OK ? v : NULL;
}

static void op_write(struct jsonw *w, const struct diff_op *o)
{
    static const char *const names[] = { [DIFF_ADD] = "add", [DIFF_REMOVE] = "remove",
                                         [DIFF_REPLACE] = "replace" };
    jsonw_object(w);
    jsonw_name(w, "op");
    jsonw_text(w, span_text(names[o->kind]));
    jsonw_name(w, "path");
    jsonw_text(w, o->path);
    if (o->from) {
        jsonw_name(w, "from");
        change_json(w, o->from);
    }
    if (o->to) {
        jsonw_name(w, "to");
        change_json(w, o->to);
    }
    jsonw_object_end(w);
}

static void json_diff(struct jsonw *w, const struct jdoc *from, const struct jdoc *to,
                      size_t *ops_left, struct arena *arena)
{
    struct diff d;
    diff_json(from, to, *ops_left, arena, &d);
    *ops_left -= d.n;
    jsonw_name(w, "diff");
    jsonw_array(w);
    for (size_t i = 0; i < d.n; i++)
        op_write(w, &d.ops[i]);
    jsonw_array_end(w);
    if (d.more) {
        jsonw_name(w, "truncated");
        jsonw_bool(w, true);
    }
}

static bool has_lines(struct span s)
{
    return s.len && memchr(s.data, '\n', s.len) != NULL;
}

void change_diff(struct jsonw *w, const struct change_side *from, const struct change_side *to,
                 size_t *ops_left, struct arena *arena)
{
    if (!from->there || !to->there)
        return; /* all of it came, or went: the values tell */
    bool lines = is_text(from->value, from->type) && is_text(to->value, to->type) &&
                 (has_lines(from->value) || has_lines(to->value));
    if (lines) {
        struct buf b;
        buf_open(&b, w->out->alloc);
        diff_text(from->value, to->value, arena, &b);
        jsonw_name(w, "text");
        jsonw_text(w, buf_all(&b));
        buf_close(&b);
        return;
    }
    const struct jdoc *a = tree_of(from, arena), *b = tree_of(to, arena);
    if (a && b)
        json_diff(w, a, b, ops_left, arena);
}

/* ---- names ---- */

static const struct {
    const char *root, *kind;
    bool environment; /* its name comes first */
} kinds[] = { { REST_CONFIGS, "config", true },
              { "confman/flag/", "flag", true },
              { "confman/flagset/", "flagset", false },
              { REST_ENVIRONMENTS, "environment", false } };

void change_name_write(struct jsonw *w, struct span key)
{
    const char *kind = "key";
    struct span rest = key, environment = SPAN_NONE;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!span_starts(key, span_text(kinds[i].root)))
            continue;
        kind = kinds[i].kind;
        rest = span_from(key, strlen(kinds[i].root));
        const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
        if (kinds[i].environment && slash) {
            environment = span_of(rest.data, (size_t)(slash - rest.data));
            rest = span_from(rest, environment.len + 1);
        }
    }
    jsonw_name(w, "kind");
    jsonw_text(w, span_text(kind));
    if (environment.len) {
        jsonw_name(w, "environment");
        jsonw_text(w, environment);
    }
    jsonw_name(w, "key");
    jsonw_text(w, rest);
}
