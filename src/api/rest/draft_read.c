/* What is asked of drafts. */
#include "api/rest/draft.h"
#include "base/check.h"

#define PATH "/v1/drafts/"

/* ---- times: RFC 3339, as time_write has them, or milliseconds since 1970 ---- */

static bool digits(struct span s, size_t at, size_t n, int64_t *out)
{
    return s.len >= at + n && number_read(span_of(s.data + at, n), out);
}

/* Days from 1970-01-01 on, of the Gregorian calendar: years begin in March. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1, m = (month + 9) % 12;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1 - 719468;
}

static bool zone(struct span s, int64_t *ms)
{
    int64_t hours, minutes;
    *ms = 0;
    if (s.len == 1 && (s.data[0] == 'Z' || s.data[0] == 'z'))
        return true;
    if (s.len != 6 || (s.data[0] != '+' && s.data[0] != '-') || s.data[3] != ':' ||
        !digits(s, 1, 2, &hours) || !digits(s, 4, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ms = (hours * 60 + minutes) * 60000 * (s.data[0] == '-' ? -1 : 1);
    return true;
}

/* Where each number of "2026-11-21T09:00:00" stands, and what it may be. */
static const struct {
    uint8_t at, digits;
    int16_t low, high;
} fields[] = { { 0, 4, 1970, 9999 }, { 5, 2, 1, 12 },  { 8, 2, 1, 31 },
               { 11, 2, 0, 23 },     { 14, 2, 0, 59 }, { 17, 2, 0, 60 } };
enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, FIELDS, TIME_BYTES = 19 };

static bool fields_read(struct span s, int64_t *v)
{
    static const char form[] = "0000-00-00T00:00:00";
    if (s.len < TIME_BYTES)
        return false;
    for (size_t i = 0; i < TIME_BYTES; i++)
        if (form[i] != '0' && form[i] != s.data[i] && !(form[i] == 'T' && s.data[i] == 't'))
            return false;
    for (size_t i = 0; i < FIELDS; i++)
        if (!digits(s, fields[i].at, fields[i].digits, &v[i]) || v[i] < fields[i].low ||
            v[i] > fields[i].high)
            return false;
    return true;
}

static bool time_read(struct span s, int64_t *ms)
{
    static const int64_t lengths[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t v[FIELDS], fraction = 0, offset, scale = 100;
    size_t at = TIME_BYTES;
    if (!fields_read(s, v) || v[DAY] > lengths[v[MONTH] - 1])
        return false;
    if (at < s.len && s.data[at] == '.')
        for (at++; at < s.len && s.data[at] >= '0' && s.data[at] <= '9'; at++, scale /= 10)
            fraction += (s.data[at] - '0') * scale;
    if (!zone(span_from(s, at), &offset))
        return false;
    int64_t hours = days_of(v[YEAR], v[MONTH], v[DAY]) * 24 + v[HOUR];
    *ms = (hours * 60 + v[MINUTE]) * 60000 + v[SECOND] * 1000 + fraction - offset;
    return true;
}

bool moment_read(struct span s, int64_t *ms)
{
    return number_read(s, ms) ? *ms <= DRAFT_TIME_MAX : time_read(s, ms);
}

static enum err read_at(const struct jdoc *body, struct draft_call *d, const char **detail)
{
    const struct jdoc *at = jdoc_member(body, SPAN("at"));
    *detail = "/at: must be a time like 2026-11-21T09:00:00Z, or milliseconds since 1970";
    bool good = jdoc_is(at, JDOC_STRING) || jdoc_is(at, JDOC_NUMBER);
    return good && moment_read(at->text, &d->at_ms) ? ERR_OK : ERR_BAD_REQUEST;
}

/* ---- bodies ---- */

static enum err read_proposal(struct change_call *c, struct jdoc *body, struct arena *arena,
                              const char **detail)
{
    static const char *const members[] = { "title", "changes", "change_log", NULL };
    enum err e = change_members(body, members, arena, detail);
    if (e == ERR_OK)
        e = change_text(body, "title", DRAFT_TITLE_MAX, arena, &c->draft->title, detail);
    if (e == ERR_OK)
        e = change_text(body, "change_log", CHANGE_LOG_MAX, arena, &c->log, detail);
    if (e != ERR_OK)
        return e;
    c->list = jdoc_member(body, SPAN("changes"));
    c->list_at = "/changes";
    *detail = "/changes: must be an array of changes, as of /v1/txn";
    if (!jdoc_is(c->list, JDOC_ARRAY))
        return ERR_BAD_REQUEST;
    *detail = "one transaction takes 120 changes, or 60 with a change_log";
    return c->list->n > CHANGES_MAX ? ERR_CHANGES : ERR_OK;
}

static enum err read_body(const struct http_request *http, struct change_call *c,
                          struct arena *arena, const char **detail)
{
    static const char *const members[] = { "text", "at", NULL };
    struct draft_call *d = c->draft;
    struct jdoc *body;
    struct span text = http->body.len ? arena_copy(arena, http->body) : SPAN("{}");
    enum err e = change_body(text, arena, &body, detail);
    if (e != ERR_OK)
        return e;
    if (d->verb == DRAFT_PROPOSE || d->verb == DRAFT_EDIT)
        return read_proposal(c, body, arena, detail);
    e = change_members(body, members, arena, detail);
    if (e == ERR_OK)
        e = change_text(body, "text", DRAFT_TEXT_MAX, arena, &d->text, detail);
    if (e == ERR_OK && d->verb == DRAFT_SCHEDULE)
        e = read_at(body, d, detail);
    *detail = e == ERR_OK ? "/text: a comment says something" : *detail;
    return e == ERR_OK && d->verb == DRAFT_COMMENT && !d->text.len ? ERR_BAD_REQUEST : e;
}

/* ---- the request ---- */

static enum err read_path(const struct http_request *http, struct draft_call *d,
                          const char **detail)
{
    static const struct {
        const char *name;
        enum draft_verb verb;
    } verbs[] = { { "comment", DRAFT_COMMENT },   { "approve", DRAFT_APPROVE },
                  { "reject", DRAFT_REJECT },     { "publish", DRAFT_PUBLISH },
                  { "schedule", DRAFT_SCHEDULE }, { "cancel", DRAFT_CANCEL } };
    struct span path = span_from(http->path, sizeof(PATH) - 1), verb = SPAN_NONE;
    const uint8_t *colon = path.len ? memchr(path.data, ':', path.len) : NULL;
    if (colon) {
        verb = span_from(path, (size_t)(colon - path.data) + 1);
        path.len = (size_t)(colon - path.data);
    }
    *detail = "the path is /v1/drafts/{number}";
    if (path.len > 16 || !number_read(path, &d->id))
        return ERR_BAD_REQUEST;
    bool posts = span_is(http->method, "POST"), known = false;
    d->verb = span_is(http->method, "PUT")      ? DRAFT_EDIT
              : span_is(http->method, "DELETE") ? DRAFT_DELETE
                                                : DRAFT_GET;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]) && posts; i++) {
        if (!span_is(verb, verbs[i].name))
            continue;
        d->verb = verbs[i].verb;
        known = true;
    }
    *detail = "POST wants :comment, :approve, :reject, :publish, :schedule or :cancel behind the "
              "number; nothing else does";
    return posts == known && (posts || !colon) ? ERR_OK : ERR_BAD_REQUEST;
}

/* First what there is of it is read: of a proposal, the keys that it would change. */
static void ask_first(struct rest_call *call, struct arena *arena)
{
    const struct draft_call *d = call->change->draft;
    struct kv_range *r = &call->request.range;
    if (d->verb == DRAFT_PROPOSE || d->verb == DRAFT_EDIT) {
        change_items_read(call->change, arena);
        change_read_first(call, arena);
        return;
    }
    if (d->verb == DRAFT_GET || d->verb == DRAFT_LIST) { /* that may be read whose changes may */
        call->request.type = REQUEST_TXN;
        call->request.serializable = true;
        call->request.txn = (struct kv_txn){ .n_success = 0 };
        return;
    }
    call->request.type = REQUEST_RANGE;
    call->request.serializable = false;
    *r = (struct kv_range){ .key = draft_key(arena, d->id, ""), .limit = 1, .keys_only = true };
    r->range_end = draft_key(arena, d->id, "0");
}

enum err draft_call(const struct http_request *http, struct arena *arena, struct rest_call *call,
                    const char **detail)
{
    struct draft_call *d = call->change->draft;
    enum err e = ERR_OK;
    d->verb = span_is(http->method, "POST") ? DRAFT_PROPOSE : DRAFT_LIST;
    d->limit = d->limit ? d->limit : REST_PAGE_DEFAULT;
    if (call->route == ROUTE_DRAFT)
        e = read_path(http, d, detail);
    if (e == ERR_OK && d->verb != DRAFT_LIST && d->verb != DRAFT_GET && d->verb != DRAFT_DELETE)
        e = read_body(http, call->change, arena, detail);
    if (e == ERR_OK)
        ask_first(call, arena);
    return e;
}
