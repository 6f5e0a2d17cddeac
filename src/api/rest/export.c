/* Export: the configs of an environment as a file of JSON, YAML or NAME="value" lines. */
#include "api/rest/change.h"
#include "base/check.h"
#include "wire/dotenv/dotenv.h"
#include "wire/protobuf/protobuf.h"

/* ---- what is asked ---- */

struct asking {
    struct rest_call *call;
    const char **detail;
    bool has_format;
};

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    struct rest_call *c = a->call;
    enum rest_format format;
    if (span_is(name, "format")) {
        a->has_format = format_read(value, &format);
        c->format = (int)format;
        *a->detail = "format must be json, yaml or env";
        return a->has_format ? ERR_OK : ERR_BAD_REQUEST;
    }
    if (span_is(name, "environment")) {
        c->environment = value;
        *a->detail = REST_ENVIRONMENT_RULE;
        return environment_name(value) ? ERR_OK : ERR_BAD_REQUEST;
    }
    if (span_is(name, "prefix")) {
        c->prefix = value;
        return ERR_OK;
    }
    if (span_is(name, "own")) {
        c->own = span_is(value, "true");
        *a->detail = "own must be true or false";
        return c->own || span_is(value, "false") ? ERR_OK : ERR_BAD_REQUEST;
    }
    *a->detail = "unknown query parameter, or a revision that is none; known are: format "
                 "environment prefix own revision";
    return span_is(name, "revision") && number_read(value, &c->revision) ? ERR_OK
                                                                         : ERR_BAD_REQUEST;
}

enum err export_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                     const char **detail)
{
    struct asking a = { .call = call, .detail = detail };
    call->environment = SPAN("default");
    call->own = true;
    call->limit = EXPORT_KEYS_MAX;
    call->request.serializable = true;
    *detail = "a percent escape in the query is not valid";
    enum err e = http_query_each(http->query, arena, take_pair, &a);
    if (e != ERR_OK)
        return e;
    *detail = "format says what the file is to be: json, yaml or env";
    return a.has_format ? ERR_OK : ERR_BAD_REQUEST;
}

/* ---- JSON ---- */

static void json_value(struct jsonw *w, const struct kv_version *v)
{
    struct span value = kv_value(v);
    if (v->type == KV_STRING || (v->type == KV_BYTES && pb_utf8(value))) {
        jsonw_text(w, value);
    } else if (v->type == KV_BYTES) {
        struct buf b;
        buf_open(&b, w->out->alloc);
        jsonw_base64(value, false, &b);
        jsonw_object(w);
        jsonw_name(w, "$bytes");
        jsonw_text(w, buf_all(&b));
        jsonw_object_end(w);
        buf_close(&b);
    } else {
        jsonw_raw(w, value);
    }
}

static struct span name_of(const struct rest_call *c, const struct kv_version *v)
{
    struct span environment, key;
    config_split(kv_key(v), &environment, &key);
    return span_from(key, c->prefix.len);
}

static void write_json(const struct rest_call *c, const struct kv_range_result *r, struct buf *out)
{
    struct jsonw w = { out, false };
    buf_text(out, "{");
    for (size_t i = 0; i < r->n; i++) {
        buf_text(out, i ? ",\n  " : "\n  ");
        w.comma = false;
        jsonw_key(&w, name_of(c, r->items[i]));
        buf_u8(out, ' ');
        json_value(&w, r->items[i]);
    }
    buf_text(out, r->n ? "\n}\n" : "}\n");
}

/* ---- YAML: blocks down to values, which are as JSON has them ---- */

/* What some readers take for something else than a string. */
static bool is_word(struct span s)
{
    static const char *const words[] = { "true", "false", "null", "yes", "no",
                                         "on",   "off",   "y",    "n" };
    char low[8];
    if (s.len >= sizeof(low))
        return false;
    for (size_t i = 0; i < s.len; i++)
        low[i] = (char)(s.data[i] | 0x20);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (span_is(span_of(low, s.len), words[i]))
            return true;
    return false;
}

static void yaml_name(struct buf *out, struct span s)
{
    struct jsonw w = { out, false };
    bool plain = s.len > 0 && !is_word(s);
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i], low = c | 0x20;
        bool letter = low >= 'a' && low <= 'z';
        plain = plain && (letter || (i && ((c >= '0' && c <= '9') || c == '/' || c == '_' ||
                                           c == '.' || c == '-')));
    }
    if (plain)
        buf_span(out, s);
    else
        jsonw_text(&w, s);
}

static void yaml_value(struct buf *out, const struct jdoc *v, int depth);

static void indent(struct buf *out, int depth)
{
    buf_u8(out, '\n');
    for (int i = 0; i < depth; i++)
        buf_text(out, "  ");
}

static void yaml_children(struct buf *out, const struct jdoc *v, int depth)
{
    for (uint32_t i = 0; i < v->n; i++) {
        indent(out, depth);
        if (v->type == JDOC_OBJECT) {
            yaml_name(out, v->items[i].name);
            buf_u8(out, ':');
        } else {
            buf_u8(out, '-');
        }
        yaml_value(out, &v->items[i], depth + 1);
    }
}

static void yaml_value(struct buf *out, const struct jdoc *v, int depth)
{
    bool nested = (v->type == JDOC_OBJECT || v->type == JDOC_ARRAY) && v->n;
    struct jsonw w = { out, false };
    if (nested && depth < YAML_BLOCKS_MAX) {
        yaml_children(out, v, depth);
        return;
    }
    buf_u8(out, ' ');
    change_json(&w, v);
}

static void write_yaml(const struct rest_call *c, const struct kv_range_result *r,
                       struct arena *arena, struct buf *out)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct kv_version *v = r->items[i];
        struct jsonw w = { out, false };
        struct jdoc_fault fault;
        struct jdoc *tree;
        yaml_name(out, name_of(c, v));
        buf_u8(out, ':');
        if (v->type == KV_JSON && jdoc_read(kv_value(v), arena, &tree, &fault) == ERR_OK) {
            yaml_value(out, tree, 1);
        } else if (v->type == KV_BYTES && !pb_utf8(kv_value(v))) {
            buf_text(out, " !!binary ");
            jsonw_base64(kv_value(v), false, out);
        } else {
            buf_u8(out, ' ');
            json_value(&w, v);
        }
        buf_u8(out, '\n');
    }
    if (!r->n)
        buf_text(out, "{}\n");
}

/* ---- lines for shells ---- */

/* Upper case, and "_" for all that is no letter or digit; one that begins with a digit gets one
 * before it. */
static struct span env_name(struct span s, struct arena *arena)
{
    uint8_t *p = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    if (!s.len || (s.data[0] >= '0' && s.data[0] <= '9'))
        p[n++] = '_';
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
        p[n++] = lower ? (uint8_t)(c - 32) : upper || (c >= '0' && c <= '9') ? c : '_';
    }
    return span_of(p, n);
}

/* Whether two keys would have one name: what a program got would depend on their order. */
static bool twice(const struct span *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (span_equal(names[i], names[k]))
                return true;
    return false;
}

static enum err write_env(const struct rest_call *c, const struct kv_range_result *r,
                          struct arena *arena, struct buf *out, const char **detail)
{
    struct span *names = ARENA_ARRAY(arena, struct span, r->n + 1);
    *detail = "this many make no file of NAME=value lines: choose a prefix";
    if (r->n > EXPORT_ENV_MAX)
        return ERR_ANSWER_TOO_LARGE;
    for (size_t i = 0; i < r->n; i++) {
        struct span value = kv_value(r->items[i]);
        names[i] = env_name(name_of(c, r->items[i]), arena);
        *detail = "a value that is not text has no place in a file of NAME=value lines";
        if (!pb_utf8(value) || (value.len && memchr(value.data, 0, value.len)))
            return ERR_CONFLICT;
        dotenv_write(out, names[i], value);
    }
    *detail = "two keys would have the same name: choose a prefix, or another format";
    return twice(names, r->n) ? ERR_CONFLICT : ERR_OK;
}

void export_answer(const struct rest_call *call, const struct kv_range_result *r,
                   struct arena *arena, struct rest_answer *out)
{
    static const char *const types[FORMAT_COUNT] = { [FORMAT_JSON] = "application/json",
                                                     [FORMAT_YAML] = "application/yaml",
                                                     [FORMAT_ENV] = "text/plain; charset=utf-8" };
    const char *detail = "these are more than 10000 configs: export them prefix by prefix";
    enum err e = r->more ? ERR_ANSWER_TOO_LARGE : ERR_OK;
    struct buf b;
    buf_open(&b, arena->alloc);
    if (e == ERR_OK && call->format == FORMAT_JSON)
        write_json(call, r, &b);
    else if (e == ERR_OK && call->format == FORMAT_YAML)
        write_yaml(call, r, arena, &b);
    else if (e == ERR_OK)
        e = write_env(call, r, arena, &b, &detail);
    if (e == ERR_OK) {
        body_of(out, 200, types[call->format], &b, arena);
        return;
    }
    buf_close(&b);
    rest_problem(e, detail, arena, out);
}
