#include "wire/yaml/yaml.h"
#include <stdio.h>
#include <yaml.h>
#include "base/check.h"
#include "wire/json/json.h"

struct reading {
    struct jsonw w;
    char *why;
    int depth;
    struct level {
        bool mapping, name; /* name: what comes next is one */
    } levels[YAML_DEPTH_MAX];
    size_t documents;
};

static enum err refuse(struct reading *r, const yaml_event_t *event, const char *why)
{
    snprintf(r->why, YAML_WHY_MAX, "line %zu: %s", event->start_mark.line + 1, why);
    return ERR_BODY_NOT_JSON;
}

/* ---- plain words: YAML 1.2.2, 10.3.2 ---- */

static bool is_one_of(struct span s, const char *const *words)
{
    for (; *words; words++)
        if (span_is(s, *words))
            return true;
    return false;
}

static size_t count_digits(struct span s, size_t from)
{
    size_t n = 0;
    while (from + n < s.len && s.data[from + n] >= '0' && s.data[from + n] <= '9')
        n++;
    return n;
}

/* [-+]? ( \.[0-9]+ | [0-9]+ (\.[0-9]*)? ) ([eE][-+]?[0-9]+)?, written as JSON has it. */
static bool write_number(struct reading *r, struct span s)
{
    uint8_t room[256];
    struct buf b = { .data = room, .cap = sizeof(room) };
    size_t at = s.data[0] == '-' || s.data[0] == '+';
    size_t whole = count_digits(s, at), skip = 0, part = 0;
    if (s.len > sizeof(room) - 8)
        return false;
    while (skip + 1 < whole && s.data[at + skip] == '0')
        skip++;
    buf_text(&b, s.data[0] == '-' ? "-" : "");
    buf_put(&b, whole ? s.data + at + skip : (const uint8_t *)"0", whole ? whole - skip : 1);
    at += whole;
    if (at < s.len && s.data[at] == '.') {
        part = count_digits(s, ++at);
        buf_u8(&b, '.');
        buf_put(&b, part ? s.data + at : (const uint8_t *)"0", part ? part : 1);
        at += part;
    }
    if (!whole && !part)
        return false;
    if (at < s.len && (s.data[at] | 0x20) == 'e') {
        size_t sign = at + 1 < s.len && (s.data[at + 1] == '-' || s.data[at + 1] == '+');
        size_t power = count_digits(s, at + 1 + sign);
        if (!power)
            return false;
        buf_put(&b, s.data + at, 1 + sign + power);
        at += 1 + sign + power;
    }
    if (at != s.len)
        return false;
    jsonw_raw(&r->w, buf_all(&b));
    return true;
}

/* 0o17 and 0xff; false: it is none, or 63 bits do not hold it. */
static bool write_based(struct reading *r, struct span s)
{
    int64_t n = 0;
    if (s.len < 3 || s.len > 17 || s.data[0] != '0' || (s.data[1] != 'x' && s.data[1] != 'o'))
        return false;
    int64_t base = s.data[1] == 'x' ? 16 : 8;
    for (size_t i = 2; i < s.len; i++) {
        int c = s.data[i], low = c | 0x20;
        int64_t digit = c >= '0' && c <= '9'       ? c - '0'
                        : low >= 'a' && low <= 'f' ? low - 'a' + 10
                                                   : 16;
        if (digit >= base || n > (INT64_MAX - digit) / base)
            return false;
        n = n * base + digit;
    }
    jsonw_number(&r->w, n);
    return true;
}

static enum err write_plain(struct reading *r, const yaml_event_t *event, struct span s)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
    static const char *const trues[] = { "true", "True", "TRUE", NULL };
    static const char *const falses[] = { "false", "False", "FALSE", NULL };
    static const char *const others[] = { ".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf", "+.INF",
                                          "-.inf", "-.Inf", "-.INF", ".nan",  ".NaN",  ".NAN",
                                          NULL };
    if (is_one_of(s, nulls))
        jsonw_raw(&r->w, SPAN("null"));
    else if (is_one_of(s, trues) || is_one_of(s, falses))
        jsonw_bool(&r->w, is_one_of(s, trues));
    else if (is_one_of(s, others))
        return refuse(r, event, "JSON has no infinity, and nothing that is not a number");
    else if (!write_number(r, s) && !write_based(r, s))
        jsonw_text(&r->w, s);
    return ERR_OK;
}

/* ---- events ---- */

static enum err write_bytes(struct reading *r, const yaml_event_t *event, struct span s)
{
    struct buf clean, bytes;
    buf_open(&clean, r->w.out->alloc);
    buf_open(&bytes, r->w.out->alloc);
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] > ' ')
            buf_u8(&clean, s.data[i]);
    bool good = jsonr_base64(buf_all(&clean), false, &bytes);
    jsonw_object(&r->w);
    jsonw_name(&r->w, "$bytes");
    jsonw_text(&r->w, buf_all(&clean));
    jsonw_object_end(&r->w);
    buf_close(&clean);
    buf_close(&bytes);
    return good ? ERR_OK : refuse(r, event, "this is not base64");
}

static enum err write_scalar(struct reading *r, const yaml_event_t *event)
{
    const char *tag = (const char *)event->data.scalar.tag;
    struct span s = span_of(event->data.scalar.value, event->data.scalar.length);
    struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;
    if (l && l->mapping && l->name) {
        l->name = false;
        jsonw_key(&r->w, s);
        return ERR_OK;
    }
    if (l && l->mapping)
        l->name = true;
    if (tag && strcmp(tag, YAML_STR_TAG) == 0) {
        jsonw_text(&r->w, s);
        return ERR_OK;
    }
    if (tag && strcmp(tag, "tag:yaml.org,2002:binary") == 0)
        return write_bytes(r, event, s);
    if (tag && tag[0])
        return refuse(r, event, "tags other than !!str and !!binary are not taken");
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return write_plain(r, event, s);
    jsonw_text(&r->w, s);
    return ERR_OK;
}

static enum err open_level(struct reading *r, const yaml_event_t *event, bool mapping)
{
    struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;
    const unsigned char *tag = mapping ? event->data.mapping_start.tag
                                       : event->data.sequence_start.tag;
    if (l && l->mapping && l->name)
        return refuse(r, event, "a name in a mapping must be a word");
    if (tag)
        return refuse(r, event, "tags of mappings and sequences are not taken");
    if (r->depth == YAML_DEPTH_MAX)
        return refuse(r, event, "this is nested too deep");
    if (l)
        l->name = l->mapping;
    r->levels[r->depth++] = (struct level){ mapping, mapping };
    if (mapping)
        jsonw_object(&r->w);
    else
        jsonw_array(&r->w);
    return ERR_OK;
}

static enum err take(struct reading *r, const yaml_event_t *event)
{
    switch ((int)event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++r->documents > 1 ? refuse(r, event, "more than one document") : ERR_OK;
    case YAML_SCALAR_EVENT:
        return write_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
        return open_level(r, event, true);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(r, event, false);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        CHECK(r->depth > 0);
        if (r->levels[--r->depth].mapping)
            jsonw_object_end(&r->w);
        else
            jsonw_array_end(&r->w);
        return ERR_OK;
    case YAML_ALIAS_EVENT:
        return refuse(r, event, "aliases are not taken");
    default:
        return ERR_OK;
    }
}

static enum err read_all(struct reading *r, yaml_parser_t *parser)
{
    for (size_t i = 0; i < YAML_EVENTS_MAX; i++) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            snprintf(r->why, YAML_WHY_MAX, "line %zu: %.150s", parser->problem_mark.line + 1,
                     parser->problem ? parser->problem : "this is not YAML");
            return ERR_BODY_NOT_JSON;
        }
        bool over = event.type == YAML_STREAM_END_EVENT;
        enum err e = take(r, &event);
        yaml_event_delete(&event);
        if (e != ERR_OK || over)
            return e;
    }
    return ERR_BODY_TOO_LARGE;
}

/* libyaml looks for each %TAG through all before it. */
static bool has_directive(struct span text)
{
    bool start = true;
    for (size_t i = 0; i < text.len; i++) {
        if (start && text.data[i] == '%')
            return true;
        start = text.data[i] == '\n' || text.data[i] == '\r';
    }
    return false;
}

enum err yaml_json(struct span text, struct buf *json, char *why)
{
    struct reading r = { .why = why };
    yaml_parser_t parser;
    if (text.len > YAML_BYTES_MAX)
        return ERR_BODY_TOO_LARGE;
    if (has_directive(text)) {
        snprintf(why, YAML_WHY_MAX, "lines that begin with %% are not taken");
        return ERR_BODY_NOT_JSON;
    }
    jsonw_open(&r.w, json);
    if (!yaml_parser_initialize(&parser))
        return ERR_OVERLOADED;
    yaml_parser_set_input_string(&parser, text.data ? text.data : (const uint8_t *)"", text.len);
    enum err e = read_all(&r, &parser);
    yaml_parser_delete(&parser);
    if (e == ERR_OK && !r.documents)
        jsonw_raw(&r.w, SPAN("null"));
    return e;
}
