/* The small HTTP answers: /metrics, /health/live and /health/ready, /version. */
#include "node/node_int.h"
#include "base/check.h"
#include "node/peers.h"
#include "wire/json/json.h"

enum { READY_LAG_MAX = 20000 }; /* entries committed and not applied here */

static uint64_t lag(const struct node *n)
{
    return n->update.commit_index - n->machine.applied_index;
}

bool small_ready(const struct node *n, const char **why)
{
    *why = n->stopping                                 ? "the server is stopping"
           : n->update.leader == 0                     ? "no leader"
           : transfer_loading(n)                       ? "a checkpoint is being loaded"
           : n->machine.applied_index < n->ready_index ? "the log is still being applied"
           : lag(n) > READY_LAG_MAX                    ? "too far behind the leader"
                                                       : "";
    return !**why;
}

static void plain(struct rest_answer *out, int status, const char *type, struct span body)
{
    *out = (struct rest_answer){ .status = status, .body = body };
    out->headers[0] = (struct http_header){ SPAN("content-type"), span_text(type) };
    out->headers[1] = (struct http_header){ SPAN("cache-control"), SPAN("no-store") };
    out->header_count = 2;
}

static struct span text_of(struct arena *arena, struct buf *b)
{
    struct span out = arena_copy(arena, buf_all(b));
    buf_close(b);
    return out;
}

static void metrics(struct node *n, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    buf_open(&b, &n->alloc);
    metric_text(n, &b);
    plain(out, 200, "text/plain; version=0.0.4; charset=utf-8", text_of(arena, &b));
}

static void live(struct node *n, struct arena *arena, struct rest_answer *out)
{
    (void)n, (void)arena;
    plain(out, 200, "text/plain; charset=utf-8", SPAN("ok\n"));
}

static void ready(struct node *n, struct arena *arena, struct rest_answer *out)
{
    const char *why;
    bool ok = small_ready(n, &why);
    struct buf b;
    buf_open(&b, &n->alloc);
    buf_format(&b, ok ? "ok\n" : "not ready: %s\n", why);
    buf_format(&b, "leader: %llx\nmember: %llx\nmembers: %zu, connected to %zu\nlag: %llu\n",
               (unsigned long long)n->update.leader, (unsigned long long)n->header.member_id,
               n->cluster.n, peers_connections(n), (unsigned long long)lag(n));
    seal_health(n, &b);
    plain(out, ok ? 200 : 503, "text/plain; charset=utf-8", text_of(arena, &b));
}

static void version(struct node *n, struct arena *arena, struct rest_answer *out)
{
    (void)n, (void)arena;
    plain(out, 200, "application/json",
          SPAN("{\"etcdserver\":\"" ETCD_VERSION "\",\"etcdcluster\":\"" ETCD_CLUSTER_VERSION
               ".0\","
               "\"storage\":\"3.6.0\",\"confman\":\"" CONFMAN_VERSION "\"}"));
}

static const struct {
    const char *path;
    void (*answer)(struct node *n, struct arena *arena, struct rest_answer *out);
} table[] = {
    { "/metrics", metrics },
    { "/health/live", live },
    { "/health/ready", ready },
    { "/version", version },
};

bool small_answer(struct node *n, const struct http_request *r, struct arena *arena,
                  struct rest_answer *out)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (!span_is(r->path, table[i].path))
            continue;
        if (span_is(r->method, "GET") || span_is(r->method, "HEAD"))
            table[i].answer(n, arena, out);
        else
            rest_problem(ERR_METHOD_NOT_ALLOWED, "GET, HEAD", arena, out);
        return true;
    }
    return false;
}
