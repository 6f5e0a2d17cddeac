/* The audit log of the node that is asked, searched: what to look for, and the answer. */
#include "api/rest/change.h"
#include "base/check.h"

struct asking {
    struct audit_ask *ask;
    struct arena *arena;
    const char **detail;
};

/* As the log has its times: then earlier ones compare less. */
static enum err take_time(struct asking *a, struct span value, struct span *out)
{
    struct buf b;
    struct jsonw w;
    int64_t ms;
    *a->detail = "since and until must be times like 2026-11-21T09:00:00Z, or milliseconds since "
                 "1970";
    if (!moment_read(value, &ms))
        return ERR_BAD_REQUEST;
    buf_open(&b, a->arena->alloc);
    jsonw_open(&w, &b);
    time_write(&w, ms);
    *out = arena_copy(a->arena, span_of(b.data + 1, b.len - 2)); /* without quotes */
    buf_close(&b);
    return ERR_OK;
}

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    struct audit_ask *q = a->ask;
    value = arena_copy(a->arena, value); /* another thread looks at it */
    if (span_is(name, "since"))
        return take_time(a, value, &q->since);
    if (span_is(name, "until"))
        return take_time(a, value, &q->until);
    if (span_is(name, "limit")) {
        *a->detail = "limit must be a number from 1 to 1000";
        return number_read(value, &q->limit) && q->limit >= 1 && q->limit <= REST_PAGE_MAX
                   ? ERR_OK
                   : ERR_BAD_REQUEST;
    }
    if (span_is(name, "format")) {
        q->as_lines = span_is(value, "lines");
        *a->detail = "format must be json or lines";
        return q->as_lines || span_is(value, "json") ? ERR_OK : ERR_BAD_REQUEST;
    }
    *a->detail = "unknown query parameter; known are: prefix user since until limit format";
    if (span_is(name, "prefix"))
        q->prefix = value;
    else if (span_is(name, "user"))
        q->user = value;
    else
        return ERR_BAD_REQUEST;
    q->has_user = q->has_user || span_is(name, "user");
    return ERR_OK;
}

enum err audit_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail)
{
    struct audit_ask *q = call->audit = ARENA_NEW(arena, struct audit_ask);
    struct asking a = { q, arena, detail };
    struct kv_range *r = &call->request.range;
    q->limit = REST_PAGE_DEFAULT;
    *detail = "a percent escape in the query is not valid";
    call->request.type = REQUEST_RANGE; /* whoever may read this may read the log */
    call->request.serializable = true;
    *r = (struct kv_range){ .key = SPAN("confman/audit/"), .limit = 1, .keys_only = true };
    r->range_end = kv_prefix_end(r->key, arena);
    return http_query_each(http->query, arena, take_pair, &a);
}

static void write_lines(struct jsonw *w, struct span lines)
{
    jsonw_name(w, "items");
    jsonw_array(w);
    while (lines.len) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        CHECK(end);
        size_t len = (size_t)(end - lines.data);
        jsonw_raw(w, span_of(lines.data, len));
        lines = span_from(lines, len + 1);
    }
    jsonw_array_end(w);
}

void rest_audit(const struct audit_ask *ask, struct span lines, bool more, struct span last,
                struct span member, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    if (ask->as_lines) {
        buf_span(&b, lines.len ? lines : SPAN("\n"));
        body_of(out, 200, "application/x-ndjson", &b, arena);
        return;
    }
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "member");
    jsonw_text(&w, member);
    write_lines(&w, lines);
    if (more) {
        jsonw_name(&w, "next_until");
        jsonw_text(&w, last);
    }
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}
