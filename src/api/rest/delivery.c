/* /v1/subscribe by its query (server-sent events), and /v1/deliveries: who runs what. */
#include "api/rest/rest_int.h"
#include "base/check.h"

struct asking {
    const struct http_request *http;
    struct arena *arena;
    struct rest_call *call;
    const char **detail;
    struct push_message *push;
    struct delivery_query *query;
    size_t wants;
    bool has_environment;
};

static enum err refuse(struct asking *a, const char *detail)
{
    *a->detail = detail;
    return ERR_BAD_REQUEST;
}

/* key, prefix, flags, environment, client: what both routes have. False: none of these. */
static bool take_common(struct asking *a, struct span name, struct span value)
{
    static const char *const kinds[DELIVERY_KINDS] = {
        [DELIVERY_KEY] = "key", [DELIVERY_PREFIX] = "prefix", [DELIVERY_FLAGS] = "flags"
    };
    for (int i = 0; i < DELIVERY_KINDS; i++)
        if (span_is(name, kinds[i])) {
            a->push->kind = a->query->kind = (uint8_t)i;
            a->push->text = a->query->text = value;
            a->wants++;
            return true;
        }
    if (span_is(name, "environment")) {
        a->push->environment = a->query->environment = value;
        a->has_environment = true;
        return true;
    }
    if (!span_is(name, "client"))
        return false;
    a->push->client = a->query->client = value;
    a->query->has_client = true;
    return true;
}

static enum err check_common(struct asking *a)
{
    if (!environment_name(a->push->environment))
        return refuse(a, REST_ENVIRONMENT_RULE);
    if (a->wants > 1)
        return refuse(a, "give one of key, prefix and flags");
    if (a->push->text.len > REST_KEY_MAX)
        return refuse(a, "a key is not longer than 256 bytes");
    if (a->wants && a->push->kind == DELIVERY_KEY && !a->push->text.len)
        return refuse(a, "the key is empty");
    return a->push->client.len <= DELIVERY_NAME_MAX ? ERR_OK
                                                    : refuse(a, "client has at most 128 bytes");
}

static enum err take_query(struct asking *a,
                           enum err (*take)(void *context, struct span name, struct span value))
{
    *a->detail = "a percent escape in the query is not valid";
    return http_query_each(a->http->query, a->arena, take, a);
}

/* ---- /v1/subscribe ---- */

static enum err take_subscribe(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    struct push_message *m = a->push;
    if (take_common(a, name, value))
        return ERR_OK;
    if (span_is(name, "own")) {
        m->own = span_is(value, "true");
        return m->own || span_is(value, "false") ? ERR_OK : refuse(a, "own must be true or false");
    }
    if (span_is(name, "revision")) {
        m->has_revision = true;
        return number_read(value, &m->revision)
                   ? ERR_OK
                   : refuse(a, "revision must be a whole number, 0 or more");
    }
    if (span_is(name, "instance") && value.len <= DELIVERY_NAME_MAX) {
        m->instance = value;
        return ERR_OK;
    }
    if (span_is(name, "topic"))
        return push_topic(value, m) ? ERR_OK : refuse(a, "topic must be drafts or deliveries");
    return refuse(a, "unknown query parameter; known are: topic key prefix flags environment own "
                     "revision client instance");
}

static enum err subscribe_call(struct asking *a)
{
    struct span seen;
    a->call->kind = REST_PUSH;
    a->call->form = REST_SSE;
    a->call->push = a->push;
    a->call->request.type = REQUEST_STATUS; /* what is subscribed to is asked for each */
    enum err e = take_query(a, take_subscribe);
    if (e == ERR_OK)
        e = check_common(a);
    if (e != ERR_OK)
        return e;
    if (http_header_find(a->http, "last-event-id", &seen)) {
        a->push->has_revision = true;
        if (!number_read(seen, &a->push->revision))
            return refuse(a, "last-event-id must be a revision");
    }
    bool asks = a->wants || a->push->topic != PUSH_OF_CONFIGS;
    a->push->ask = asks ? PUSH_SUBSCRIBE : PUSH_PING;
    const char *why = asks ? push_wants(a->push, a->wants) : NULL;
    return why ? refuse(a, why) : ERR_OK;
}

/* ---- /v1/subscribe/{stream}: what its client says ---- */

static enum err say_call(struct asking *a)
{
    struct rest_call *c = a->call;
    c->kind = REST_SAY;
    c->push = a->push;
    c->request.type = REQUEST_STATUS; /* whose stream it is the node knows */
    c->key = span_from(a->http->path, sizeof(PUSH_STREAMS) - 1);
    if (!rest_is_json(a->http))
        return ERR_MEDIA_TYPE;
    if (a->http->body.len > PUSH_SAY_MAX)
        return ERR_BODY_TOO_LARGE;
    return rest_push_read(a->http->body, a->arena, a->push, a->detail);
}

/* ---- /v1/deliveries ---- */

/* Where the page before ended: a client and its instance. */
static bool read_token(struct asking *a, struct span token)
{
    struct buf b;
    struct span client, instance;
    uint64_t n = 0;
    buf_open(&b, a->arena->alloc);
    bool ok = token.len < 1000 && jsonr_base64(token, true, &b);
    struct span s = buf_all(&b);
    ok = ok && span_varint(&s, &n) && n <= DELIVERY_NAME_MAX && span_take(&s, (size_t)n, &client) &&
         s.len <= DELIVERY_NAME_MAX;
    if (ok) {
        instance = s;
        a->query->has_after = true;
        a->query->after_client = arena_copy(a->arena, client);
        a->query->after_instance = arena_copy(a->arena, instance);
    }
    buf_close(&b);
    return ok;
}

static struct span make_token(const struct delivery_entry *last, struct arena *arena)
{
    struct buf b, text;
    buf_open(&b, arena->alloc);
    buf_open(&text, arena->alloc);
    buf_varint(&b, last->client.len);
    buf_span(&b, last->client);
    buf_span(&b, last->instance);
    jsonw_base64(buf_all(&b), true, &text);
    struct span out = arena_copy(arena, buf_all(&text));
    buf_close(&b);
    buf_close(&text);
    return out;
}

static enum err take_deliveries(void *context, struct span name, struct span value)
{
    struct asking *a = context;
    struct delivery_query *q = a->query;
    int64_t number;
    if (take_common(a, name, value))
        return ERR_OK;
    if (span_is(name, "limit")) {
        bool good = number_read(value, &number) && number >= 1 && number <= DELIVERY_PAGE_MAX;
        q->limit = good ? (uint32_t)number : 1;
        return good ? ERR_OK : refuse(a, "limit must be a number from 1 to 1000");
    }
    if (span_is(name, "page_token"))
        return read_token(a, value) ? ERR_OK : refuse(a, "page_token is not one that was given");
    if (!span_is(name, "state"))
        return refuse(a, "unknown query parameter; known are: key prefix flags environment client "
                         "state limit page_token");
    for (int i = 0; i < DELIVERY_STATES; i++)
        if (span_is(value, delivery_state_name((unsigned)i))) {
            q->has_state = true;
            q->state = (uint8_t)i;
            return ERR_OK;
        }
    return refuse(a, "state must be running, behind, failed, silent or gone");
}

/* Who may read all that is asked about may know who runs it. */
static enum err deliveries_call(struct asking *a)
{
    struct delivery_query *q = a->query;
    struct kv_range *range = &a->call->request.range;
    q->limit = REST_PAGE_DEFAULT;
    a->call->kind = REST_DELIVERIES;
    a->call->deliveries = q;
    a->call->request.type = REQUEST_RANGE;
    enum err e = take_query(a, take_deliveries);
    if (e == ERR_OK)
        e = check_common(a);
    if (e != ERR_OK)
        return e;
    q->has_text = a->wants > 0;
    q->has_environment = q->has_text || a->has_environment;
    q->environment = a->push->environment;
    struct push_range whole = rest_push_delivered(q, a->arena);
    range->key = whole.key;
    range->range_end = whole.end;
    return ERR_OK;
}

struct push_range rest_push_delivered(const struct delivery_query *q, struct arena *arena)
{
    struct push_range ranges[PUSH_RANGES_MAX];
    struct delivery_scope s = { .kind = (enum delivery_kind)q->kind,
                                .environment = q->environment,
                                .text = q->text,
                                .levels = { q->environment },
                                .n_levels = 1 };
    if (!q->has_text)
        return (struct push_range){ SPAN("confman/"), SPAN("confman0") };
    rest_push_ranges(&s, arena, ranges);
    return ranges[0];
}

void rest_push_query(const struct push_message *m, struct delivery_query *out)
{
    *out = (struct delivery_query){ .summary = true,
                                    .limit = 1,
                                    .has_text = m->has_text,
                                    .has_environment = m->has_text,
                                    .has_client = m->client.len > 0,
                                    .kind = m->kind,
                                    .environment = m->environment,
                                    .text = m->text,
                                    .client = m->client };
}

bool push_takes(int route)
{
    return route == ROUTE_SUBSCRIBE || route == ROUTE_SAY || route == ROUTE_DELIVERIES;
}

enum err push_call(const struct http_request *http, struct arena *arena, struct rest_call *out,
                   const char **detail)
{
    struct asking a = { .http = http, .arena = arena, .call = out, .detail = detail };
    a.push = ARENA_NEW(arena, struct push_message);
    a.query = ARENA_NEW(arena, struct delivery_query);
    a.push->environment = SPAN("default");
    return out->route == ROUTE_SUBSCRIBE ? subscribe_call(&a)
           : out->route == ROUTE_SAY     ? say_call(&a)
                                         : deliveries_call(&a);
}

/* ---- the answer ---- */

static void item_of(struct jsonw *w, const struct delivery_item *i)
{
    static const char *const kinds[DELIVERY_KINDS] = {
        [DELIVERY_KEY] = "key", [DELIVERY_PREFIX] = "prefix", [DELIVERY_FLAGS] = "flags"
    };
    jsonw_object(w);
    jsonw_name(w, "environment");
    jsonw_text(w, i->environment);
    jsonw_name(w, kinds[i->kind]);
    jsonw_text(w, i->text);
    if (i->own) {
        jsonw_name(w, "own");
        jsonw_bool(w, true);
    }
    jsonw_name(w, "state");
    jsonw_text(w, span_text(delivery_state_name(i->state)));
    jsonw_name(w, "wanted_revision");
    jsonw_number(w, i->due);
    if (i->revision_ms) {
        jsonw_name(w, "revision");
        jsonw_number(w, i->revision);
        jsonw_name(w, "revision_since");
        time_write(w, i->revision_ms);
    }
    if (i->error.len) {
        jsonw_name(w, "failed_revision");
        jsonw_number(w, i->failed);
        jsonw_name(w, "error");
        jsonw_text(w, i->error);
    }
    jsonw_object_end(w);
}

static void entry_write(struct jsonw *w, const struct delivery_entry *e)
{
    jsonw_object(w);
    jsonw_name(w, "client");
    jsonw_text(w, e->client);
    jsonw_name(w, "instance");
    jsonw_text(w, e->instance);
    if (e->labels.len) {
        jsonw_name(w, "labels");
        jsonw_raw(w, e->labels);
    }
    write_id(w, "member", e->member);
    jsonw_name(w, "connected");
    jsonw_bool(w, e->connected);
    jsonw_name(w, e->connected ? "connected_at" : "gone_at");
    time_write(w, e->since_ms);
    jsonw_name(w, "subscriptions");
    jsonw_array(w);
    for (size_t i = 0; i < e->n; i++)
        item_of(w, &e->items[i]);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

static void members_write(struct jsonw *w, const struct rest_delivery_member *members, size_t n)
{
    bool all = true;
    jsonw_name(w, "members");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        write_id(w, "id", members[i].id);
        jsonw_name(w, "name");
        jsonw_text(w, members[i].name);
        jsonw_name(w, "answered");
        jsonw_bool(w, members[i].answered);
        jsonw_object_end(w);
        all = all && members[i].answered;
    }
    jsonw_array_end(w);
    jsonw_name(w, "complete");
    jsonw_bool(w, all);
}

static void counts_write(struct jsonw *w, const struct delivery_page *page)
{
    jsonw_name(w, "counts");
    jsonw_object(w);
    for (unsigned i = 0; i < DELIVERY_GONE; i++) {
        jsonw_name(w, delivery_state_name(i));
        jsonw_number(w, page->counts[i]);
    }
    jsonw_object_end(w);
}

void rest_push_deliveries(const struct delivery_page *page,
                          const struct rest_delivery_member *members, size_t n, int64_t revision,
                          struct buf *out)
{
    struct jsonw w;
    jsonw_open(&w, out);
    buf_format(out, "\"revision\":%lld,", (long long)revision);
    counts_write(&w, page);
    members_write(&w, members, n);
    buf_u8(out, '}');
}

void rest_deliveries(const struct delivery_page *page, const struct rest_delivery_member *members,
                     size_t n, int64_t revision, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "clients");
    jsonw_array(&w);
    for (size_t i = 0; i < page->n; i++)
        entry_write(&w, &page->entries[i]);
    jsonw_array_end(&w);
    counts_write(&w, page);
    members_write(&w, members, n);
    jsonw_name(&w, "revision");
    jsonw_number(&w, revision);
    if (page->more && page->n) {
        jsonw_name(&w, "next_page_token");
        jsonw_text(&w, make_token(&page->entries[page->n - 1], arena));
    }
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}
