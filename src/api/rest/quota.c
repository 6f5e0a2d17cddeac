/* Quotas: what prefixes of keys and users may use (core/limit), as JSON. The prefixes are those of
 * the one key space: a config's key stands there behind REST_ROOT. */
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

static const struct {
    const char *name;
    size_t offset;
} members[] = { { "max_keys", offsetof(struct limit_rule, keys_max) },
                { "max_bytes", offsetof(struct limit_rule, bytes_max) },
                { "rate", offsetof(struct limit_rule, rate) },
                { "burst", offsetof(struct limit_rule, burst) } };
enum { MEMBERS = sizeof(members) / sizeof(members[0]) };

/* NULL: it is good. */
static const char *read_member(const char *name, const json_t *value, struct limit_rule *out)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        if (strcmp(name, members[i].name) != 0)
            continue;
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return "must be a whole number, 0 or more";
        uint8_t *at = (uint8_t *)out + members[i].offset;
        *(int64_t *)(void *)at = json_integer_value(value);
        return NULL;
    }
    return "unknown member; known are max_keys, max_bytes, rate and burst";
}

static enum err read_body(struct span body, struct arena *arena, struct limit_rule *out,
                          struct rest_faults *faults, const char **detail)
{
    char *why = arena_alloc(arena, JSONR_WHY_MAX);
    const char *name;
    json_t *json, *value;
    enum err e = jsonr_read(body, &json, why);
    if (e != ERR_OK) {
        *detail = e == ERR_BODY_NOT_JSON ? why : NULL;
        return e;
    }
    *detail = "the body must be an object of whole numbers: max_keys, max_bytes, rate, burst";
    e = json_is_object(json) ? ERR_OK : ERR_BAD_REQUEST;
    json_object_foreach(json, name, value)
    {
        const char *wrong = read_member(name, value, out);
        if (wrong)
            e = member_fault(faults, name, wrong, arena, detail);
    }
    json_decref(json);
    return e;
}

enum err quota_read(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail)
{
    struct limit_rule *r = &call->request.limit;
    bool user = call->route == ROUTE_QUOTA_USER;
    size_t start = user ? sizeof(QUOTA_USERS) - 1 : sizeof(QUOTA_PREFIXES) - 1;
    *r = (struct limit_rule){ .kind = user ? LIMIT_USER : LIMIT_PREFIX };
    enum err e = http_decode(span_from(http->path, start), false, arena, &r->name);
    *detail = "a percent escape in the path is not valid";
    if (e != ERR_OK)
        return e;
    *detail = "the name is longer than 1024 bytes";
    if (r->name.len > LIMIT_NAME_MAX)
        return ERR_BAD_REQUEST;
    call->request.type = span_is(http->method, "PUT") ? REQUEST_LIMIT_SET : REQUEST_LIMIT_DELETE;
    if (call->request.type == REQUEST_LIMIT_DELETE)
        return ERR_OK;
    e = read_body(http->body, arena, r, &call->faults, detail);
    if (e != ERR_OK)
        return e;
    *detail = "a quota bounds something: max_keys or max_bytes (of a prefix alone), or rate; burst "
              "goes with rate";
    return limit_check(r);
}

/* ---- answers ---- */

static void rule_write(struct jsonw *w, const struct limit_rule *r)
{
    jsonw_name(w, r->kind == LIMIT_USER ? "user" : "prefix");
    if (pb_utf8(r->name)) {
        jsonw_text(w, r->name);
    } else {
        struct buf b;
        buf_open(&b, w->out->alloc);
        jsonw_base64(r->name, false, &b);
        jsonw_object(w);
        jsonw_name(w, "base64");
        jsonw_text(w, buf_all(&b));
        jsonw_object_end(w);
        buf_close(&b);
    }
    for (size_t i = r->kind == LIMIT_USER ? 2 : 0; i < MEMBERS; i++) {
        const uint8_t *at = (const uint8_t *)r + members[i].offset;
        jsonw_name(w, members[i].name);
        jsonw_number(w, *(const int64_t *)(const void *)at);
    }
}

static void list_write(struct jsonw *w, const struct limit_table *limits)
{
    jsonw_name(w, "quotas");
    jsonw_array(w);
    for (size_t i = 0; i < limit_count(limits); i++) {
        const struct limit *l = limit_at(limits, i);
        jsonw_object(w);
        rule_write(w, &l->rule);
        if (l->rule.kind == LIMIT_PREFIX) {
            jsonw_name(w, "keys");
            jsonw_number(w, l->keys);
            jsonw_name(w, "bytes");
            jsonw_number(w, l->bytes);
        }
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

void quota_write(const struct rest_call *call, const struct reply *reply, struct jsonw *w)
{
    jsonw_object(w);
    if (reply->type == REQUEST_LIMIT_LIST) {
        list_write(w, reply->limits);
    } else if (reply->type == REQUEST_LIMIT_SET) {
        rule_write(w, &call->request.limit);
    } else {
        CHECK(reply->type == REQUEST_LIMIT_DELETE);
        jsonw_name(w, "deleted");
        jsonw_bool(w, true);
    }
    jsonw_object_end(w);
}
