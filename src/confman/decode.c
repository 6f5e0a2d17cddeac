/* From a server's answers to what they say. Nothing is taken on trust. Pure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"

static bool text_of(const struct jdoc *object, const char *name, struct span *out)
{
    const struct jdoc *v = jdoc_member(object, span_text(name));
    *out = jdoc_is(v, JDOC_STRING) ? v->text : SPAN_NONE;
    return out->data != NULL || jdoc_is(v, JDOC_STRING);
}

static bool count_of(const struct jdoc *object, const char *name, int64_t *out)
{
    const struct jdoc *v = jdoc_member(object, span_text(name));
    *out = 0;
    return jdoc_is(v, JDOC_NUMBER) && jdoc_decimal_count(jdoc_decimal(v->text), out);
}

static bool read_tree(struct span body, struct arena *arena, struct jdoc **out)
{
    struct jdoc_fault fault;
    return jdoc_read(body, arena, out, &fault) == ERR_OK && jdoc_is(*out, JDOC_OBJECT);
}

static struct span json_of(const struct jdoc *v, struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    jdoc_write(v, &b);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static int base64_digit(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool base64_of(struct span s, struct arena *arena, struct span *out)
{
    uint8_t *p = arena_alloc(arena, s.len / 4 * 3 + 1);
    size_t n = 0, pad = s.len && s.data[s.len - 1] == '=' ? 1 : 0;
    pad += pad && s.len > 1 && s.data[s.len - 2] == '=' ? 1 : 0;
    if (s.len % 4)
        return false;
    for (size_t i = 0; i < s.len; i += 4) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            bool padding = i + k >= s.len - pad;
            int digit = padding ? 0 : base64_digit(s.data[i + k]);
            if (digit < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        p[n++] = (uint8_t)(bits >> 16);
        p[n++] = (uint8_t)(bits >> 8);
        p[n++] = (uint8_t)bits;
    }
    *out = span_of(p, n - pad);
    return true;
}

static double number_of(struct span text)
{
    char copy[64];
    if (text.len >= sizeof(copy))
        return NAN;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return strtod(copy, NULL);
}

/* By the type that is told; a reference or any type that is newer than we are is shown as JSON. */
static bool take_value(const struct jdoc *v, struct span type, struct arena *arena,
                       struct item *out)
{
    out->type = CONFMAN_JSON;
    if (jdoc_is(v, JDOC_STRING) && span_is(type, "bytes")) {
        out->type = CONFMAN_BYTES;
        return base64_of(v->text, arena, &out->value);
    }
    if (jdoc_is(v, JDOC_STRING) && span_is(type, "string")) {
        out->type = CONFMAN_STRING;
        out->value = v->text;
        return true;
    }
    if (jdoc_is(v, JDOC_NUMBER)) {
        out->type = CONFMAN_NUMBER;
        out->number = number_of(v->text);
    }
    if (jdoc_is(v, JDOC_BOOL)) {
        out->type = CONFMAN_BOOLEAN;
        out->truth = v->truth;
    }
    out->value = json_of(v, arena);
    return true;
}

bool decode_item(const struct jdoc *v, struct arena *arena, struct item *out)
{
    struct span type, from;
    *out = (struct item){ 0 };
    if (!jdoc_is(v, JDOC_OBJECT))
        return false;
    const struct jdoc *value = jdoc_member(v, SPAN("value"));
    if (!value || !text_of(v, "key", &out->key) || !text_of(v, "type", &type) ||
        !text_of(v, "environment", &out->environment) ||
        !count_of(v, "version", &out->version) || !count_of(v, "revision", &out->revision))
        return false;
    if (text_of(v, "from", &from))
        out->environment = from;
    (void)text_of(v, "updated_at", &out->updated_at);
    (void)text_of(v, "updated_by", &out->updated_by);
    out->json = json_of(v, arena);
    return take_value(value, type, arena, out);
}

bool decode_one(struct span body, struct arena *arena, struct item *out)
{
    struct jdoc *v;
    return read_tree(body, arena, &v) && decode_item(v, arena, out);
}

bool decode_page(struct span body, struct arena *arena, struct page *out)
{
    struct jdoc *v;
    *out = (struct page){ 0 };
    if (!read_tree(body, arena, &v) || !count_of(v, "revision", &out->revision))
        return false;
    const struct jdoc *items = jdoc_member(v, SPAN("items"));
    if (!jdoc_is(items, JDOC_ARRAY))
        return false;
    struct item *list = ARENA_ARRAY(arena, struct item, items->n + 1);
    for (uint32_t i = 0; i < items->n; i++)
        if (!decode_item(&items->items[i], arena, &list[i]))
            return false;
    out->items = list;
    out->n = items->n;
    (void)text_of(v, "next_page_token", &out->next);
    return true;
}

bool decode_flags(struct span body, struct arena *arena, struct flag_page *out)
{
    struct jdoc *v;
    struct buf b;
    *out = (struct flag_page){ 0 };
    if (!read_tree(body, arena, &v) || !count_of(v, "revision", &out->revision))
        return false;
    const struct jdoc *flags = jdoc_member(v, SPAN("flags"));
    const struct jdoc *shared = jdoc_member(v, SPAN("$evaluators"));
    if (!jdoc_is(flags, JDOC_ARRAY))
        return false;
    struct known *list = ARENA_ARRAY(arena, struct known, flags->n + 1);
    for (uint32_t i = 0; i < flags->n; i++) {
        const struct jdoc *x = &flags->items[i];
        const struct jdoc *definition =
            jdoc_is(x, JDOC_OBJECT) ? jdoc_member(x, SPAN("definition")) : NULL;
        if (!definition || !text_of(x, "name", &list[i].name))
            return false;
        list[i].json = json_of(definition, arena);
    }
    out->items = list;
    out->n = flags->n;
    (void)text_of(v, "next", &out->next);
    if (!jdoc_is(shared, JDOC_OBJECT) || !shared->n)
        return true;
    buf_open(&b, arena->alloc);
    buf_text(&b, "{\"$evaluators\":");
    jdoc_write(shared, &b);
    buf_text(&b, "}");
    out->shared = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return true;
}

static const char *const told_names[TOLD_KINDS] = {
    [TOLD_WELCOME] = "welcome",     [TOLD_SUBSCRIBED] = "subscribed",
    [TOLD_CHANGES] = "changes",     [TOLD_PROGRESS] = "progress",
    [TOLD_COMPACTED] = "compacted", [TOLD_ENVIRONMENT] = "environment",
    [TOLD_DENIED] = "denied",       [TOLD_GOODBYE] = "goodbye",
};

bool decode_told(struct span text, struct arena *arena, struct told *out)
{
    struct jdoc *v;
    struct span type;
    *out = (struct told){ .kind = TOLD_OTHER };
    if (!read_tree(text, arena, &v) || !text_of(v, "type", &type))
        return false;
    for (int i = TOLD_OTHER + 1; i < TOLD_KINDS; i++)
        if (span_is(type, told_names[i]))
            out->kind = (enum told_kind)i;
    out->has_id = count_of(v, "id", &out->id);
    (void)count_of(v, "revision", &out->revision);
    (void)count_of(v, "reconnect_ms", &out->reconnect_ms);
    (void)text_of(v, "stream", &out->stream);
    (void)text_of(v, "detail", &out->detail);
    out->changes = jdoc_member(v, SPAN("changes"));
    return out->kind != TOLD_CHANGES || jdoc_is(out->changes, JDOC_ARRAY);
}

bool decode_change(const struct jdoc *v, struct arena *arena, struct told_change *out)
{
    *out = (struct told_change){ .flag = false };
    if (!jdoc_is(v, JDOC_OBJECT))
        return false;
    const struct jdoc *gone = jdoc_member(v, SPAN("deleted"));
    out->flag = text_of(v, "flag", &out->name);
    out->gone = jdoc_is(gone, JDOC_BOOL) && gone->truth;
    if (out->flag && !out->gone) {
        const struct jdoc *definition = jdoc_member(v, SPAN("definition"));
        if (!definition)
            return false;
        out->json = json_of(definition, arena);
    }
    if (out->flag)
        return true;
    if (!out->gone)
        return decode_item(v, arena, &out->item);
    return text_of(v, "key", &out->item.key);
}

bool decode_leader(struct span body, struct arena *arena, struct span *address, bool *self)
{
    struct jdoc *v;
    const struct jdoc *members = NULL;
    *address = SPAN_NONE;
    *self = false;
    if (read_tree(body, arena, &v))
        members = jdoc_member(v, SPAN("members"));
    if (!jdoc_is(members, JDOC_ARRAY))
        return false;
    for (uint32_t i = 0; i < members->n; i++) {
        const struct jdoc *m = &members->items[i];
        struct span role;
        if (!jdoc_is(m, JDOC_OBJECT) || !text_of(m, "role", &role))
            return false;
        const struct jdoc *own = jdoc_member(m, SPAN("self"));
        if (!span_is(role, "leader"))
            continue;
        *self = jdoc_is(own, JDOC_BOOL) && own->truth;
        (void)text_of(m, "client", address);
    }
    return true;
}

static enum confman_code code_of(int http, struct span reason)
{
    static const struct {
        const char *reason;
        enum confman_code code;
    } words[] = {
        /* Nothing was done. */
        { "no_leader", CONFMAN_UNAVAILABLE },  { "leader_changed", CONFMAN_UNAVAILABLE },
        { "unhealthy", CONFMAN_UNAVAILABLE },  { "too_many_requests", CONFMAN_BUSY },
        { "rate_limited", CONFMAN_BUSY },      { "overloaded", CONFMAN_BUSY },
        { "answers_full", CONFMAN_BUSY },      { "logins_full", CONFMAN_BUSY },
        { "conflict", CONFMAN_BUSY },          { "sealed", CONFMAN_SERVER },
        { "not_built", CONFMAN_SERVER },       { "nospace", CONFMAN_SERVER },
        { "corrupt_cluster", CONFMAN_SERVER }, { "quota_exceeded", CONFMAN_INVALID },
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (span_is(reason, words[i].reason))
            return words[i].code;
    switch (http) {
    case 401:
        return CONFMAN_LOGIN;
    case 403:
        return CONFMAN_DENIED;
    case 404:
        return CONFMAN_NOT_FOUND;
    case 409:
    case 412:
        return CONFMAN_CONFLICT;
    case 429:
        return CONFMAN_BUSY;
    case 507:
        return CONFMAN_SERVER;
    default:
        return http >= 500 ? CONFMAN_UNKNOWN : CONFMAN_INVALID;
    }
}

/* Texts are cut to what there is room for, at a whole character. */
static void take_text(char *out, size_t size, struct span s)
{
    size_t n = s.len < size - 1 ? s.len : size - 1;
    while (n && n < s.len && (s.data[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = s.data[i] < 0x20 ? ' ' : (char)s.data[i];
    out[n] = 0;
}

void decode_problem(int http, struct span body, struct arena *arena, struct confman_error *out)
{
    struct jdoc *v;
    struct span reason = SPAN_NONE, detail = SPAN_NONE;
    *out = (struct confman_error){ .http = http };
    if (read_tree(body, arena, &v)) {
        (void)text_of(v, "code", &reason);
        (void)text_of(v, "detail", &detail);
        (void)count_of(v, "version", &out->version);
    }
    out->code = code_of(http, reason);
    take_text(out->reason, sizeof(out->reason), reason);
    take_text(out->text, sizeof(out->text), detail);
    if (!detail.len)
        snprintf(out->text, sizeof(out->text), "the server answered HTTP %d", http);
}

void path_escape(struct buf *b, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    for (; *text; text++)
        buf_format(b, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
}
