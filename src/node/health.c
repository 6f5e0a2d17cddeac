/* The pages that tell whether this node is well, as etcd has them (its etcdhttp/health.go):
 * /health, and /livez and /readyz with their checks, each of which is a page too. The check of
 * linearizable reads is such a read: it waits for the leader's word as any reader does. */
#include "base/check.h"
#include "node/call_int.h"
#include "wire/json/json.h"

enum { DATA_CORRUPTION, SERIALIZABLE_READ, LINEARIZABLE_READ, NON_LEARNER, CHECKS };

static const char *const names[CHECKS] = { "data_corruption", "serializable_read",
                                           "linearizable_read", "non_learner" };

static const struct page {
    const char *path;
    unsigned checks; /* a bit for each */
} pages[] = {
    { "/livez", 1 << SERIALIZABLE_READ },
    { "/readyz", (1 << CHECKS) - 1 },
    { "/health", 1 << LINEARIZABLE_READ }, /* it goes through them in its own words */
};
enum { LIVEZ, READYZ, HEALTH };

struct probe {
    const struct page *page;
    unsigned checks;
    bool verbose, no_nospace, no_corrupt;
};

/* ---- what is asked ---- */

static enum err take_pair(void *context, struct span name, struct span value)
{
    struct probe *p = context;
    if (span_is(name, "verbose"))
        p->verbose = true;
    if (span_is(name, "serializable") && span_is(value, "true") && p->page == &pages[HEALTH])
        p->checks = 0;
    if (!span_is(name, "exclude"))
        return ERR_OK;
    p->no_nospace = p->no_nospace || span_is(value, "NOSPACE");
    p->no_corrupt = p->no_corrupt || span_is(value, "CORRUPT");
    for (int i = 0; i < CHECKS && p->page != &pages[HEALTH]; i++)
        if (span_is(value, names[i]))
            p->checks &= ~(1u << i);
    return ERR_OK;
}

/* A page, or one check below it. */
static bool find(struct span path, struct probe *out)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct span own = span_text(pages[i].path);
        *out = (struct probe){ .page = &pages[i], .checks = pages[i].checks };
        if (span_equal(path, own))
            return true;
        if (i == HEALTH || !span_starts(path, own) || path.data[own.len] != '/')
            continue;
        for (int k = 0; k < CHECKS; k++)
            if (pages[i].checks & 1u << k && span_is(span_from(path, own.len + 1), names[k])) {
                out->checks = 1u << k;
                return true;
            }
    }
    return false;
}

/* ---- what is found ---- */

/* ERR_OK, or what is wrong; read: what became of the linearizable read. */
static enum err check(const struct node *n, const struct probe *p, int which, enum err read)
{
    const struct member *self = cluster_member(n, n->header.member_id);
    struct request range = { .type = REQUEST_RANGE };
    switch (which) {
    case DATA_CORRUPTION:
        return alarm_any(&n->machine.alarms, ALARM_CORRUPT) ? ERR_CORRUPT_CLUSTER : ERR_OK;
    case SERIALIZABLE_READ:
        /* Who loads a checkpoint cannot be read from, but is not to be killed for it. */
        if (p->page != &pages[LIVEZ] && transfer_loading(n))
            return ERR_UNHEALTHY;
        return request_barred(&n->machine.alarms, &range);
    case LINEARIZABLE_READ:
        return read != ERR_OK ? read : request_barred(&n->machine.alarms, &range);
    case NON_LEARNER:
        return self && self->votes == 0 ? ERR_LEARNER_UNSUPPORTED : ERR_OK;
    default:
        UNREACHABLE("a check");
    }
}

static void tell(struct call *call, bool well, const char *type, struct buf *b)
{
    struct rest_answer a = { .status = well ? 200 : 503,
                             .body = arena_copy(&call->arena, buf_all(b)) };
    a.headers[0] = (struct http_header){ SPAN("content-type"), span_text(type) };
    a.headers[1] = (struct http_header){ SPAN("cache-control"), SPAN("no-store") };
    a.headers[2] = (struct http_header){ SPAN("x-content-type-options"), SPAN("nosniff") };
    a.header_count = 3;
    buf_close(b);
    call_answer_http(call, &a);
}

static void tell_checks(struct call *call, const struct probe *p, enum err read)
{
    bool well = true;
    struct buf b;
    buf_open(&b, &call->node->alloc);
    for (int i = 0; i < CHECKS; i++) {
        if (!(p->checks & 1u << i))
            continue;
        enum err e = check(call->node, p, i, read);
        well = well && e == ERR_OK;
        if (e == ERR_OK)
            buf_format(&b, "[+]%s ok\n", names[i]);
        else
            buf_format(&b, "[-]%s failed: %s\n", names[i], err_text(e));
    }
    if (well && !p->verbose)
        buf_reset(&b);
    if (well)
        buf_text(&b, "ok\n");
    tell(call, well, "text/plain; charset=utf-8", &b);
}

/* etcd's words, where it has them. A disk or memory that is full counts as its alarm does. */
static const char *complaint(const struct node *n, const struct probe *p, enum err read)
{
    const struct alarms *alarms = &n->machine.alarms;
    const char *why;
    bool serializable = !p->checks;
    if (alarm_any(alarms, ALARM_CORRUPT) && !p->no_corrupt)
        return "ALARM CORRUPT";
    if ((n->nospace || alarm_any(alarms, ALARM_NOSPACE)) && !p->no_nospace)
        return "ALARM NOSPACE";
    if (!n->update.leader && !serializable)
        return "RAFT NO LEADER";
    if (!small_ready(n, &why) && (!serializable || transfer_loading(n)))
        return why;
    return read == ERR_OK ? "" : err_text(read);
}

static void tell_health(struct call *call, const struct probe *p, enum err read)
{
    const char *why = complaint(call->node, p, read);
    call->node->metrics.health_good += !*why;
    call->node->metrics.health_bad += *why != 0;
    struct buf b;
    struct jsonw w;
    buf_open(&b, &call->node->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "health");
    jsonw_text(&w, *why ? SPAN("false") : SPAN("true"));
    jsonw_name(&w, "reason");
    jsonw_text(&w, span_text(why));
    jsonw_object_end(&w);
    tell(call, !*why, "application/json", &b);
}

void health_read(struct call *call, enum err e)
{
    const struct probe *p = call->probe;
    if (p->page == &pages[HEALTH])
        tell_health(call, p, e);
    else
        tell_checks(call, p, e);
}

bool health_page(struct call *call, const struct http_request *r)
{
    struct node *n = call->node;
    struct probe probe, *p;
    if (!find(r->path, &probe))
        return false;
    if (!span_is(r->method, "GET") && !span_is(r->method, "HEAD")) {
        call_refuse_http(call, ERR_METHOD_NOT_ALLOWED, "GET, HEAD");
        return true;
    }
    if (http_query_each(r->query, &call->arena, take_pair, &probe) != ERR_OK) {
        call_refuse_http(call, ERR_BAD_REQUEST, "a percent escape in the query is not valid");
        return true;
    }
    call->probe = p = ARENA_NEW(&call->arena, struct probe);
    *p = probe;
    bool reads = p->checks & 1 << LINEARIZABLE_READ;
    if (reads && n->stopping)
        health_read(call, ERR_STOPPED);
    else if (reads && transfer_loading(n))
        health_read(call, ERR_UNHEALTHY);
    else if (reads && !n->update.leader)
        health_read(call, ERR_NO_LEADER);
    else if (reads && !pump_may_read(n))
        forward_gather(n, call, 0);
    else
        health_read(call, ERR_OK);
    return true;
}
