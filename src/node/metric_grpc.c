/* Calls of the etcd door, by method, under the names of grpc-ecosystem's go-grpc-prometheus and of
 * etcd, which its dashboards read. */
#include <stdio.h>
#include "base/check.h"
#include "node/metric.h"
#include "node/node_int.h"

enum { TOOK_FIRST_US = 1000, TOOK_BUCKETS = 14 }; /* etcd's server/etcdserver/metrics.go */

static const char *const codes[METRIC_CODES] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

/* Prometheus' default buckets, which grpc_server_handling_seconds has, in ms. */
static const int64_t handling_ms[METRIC_HANDLING] = { 5,   10,   25,   50,   100,  250,
                                                      500, 1000, 2500, 5000, 10000 };

static const char *type_of(const struct etcd_method *m)
{
    bool both = m->kind == ETCD_WATCH || m->kind == ETCD_KEEP_ALIVE || m->kind == ETCD_REFLECTION;
    return both ? "bidi_stream" : etcd_method_unary(m) ? "unary" : "server_stream";
}

/* ---- counting ---- */

/* Which of the versions: the connection remembers, for its client does not change. */
static struct metric_client *client_of(struct metrics *m, struct conn *c,
                                       const struct http_request *head)
{
    struct span version;
    if (c->client_version)
        return &m->clients[c->client_version - 1];
    uint8_t i = 0;
    if (http_header_find(head, "client-api-version", &version) && version.len)
        for (i = 1; i < METRIC_VERSIONS; i++)
            if (!m->clients[i].version[0] || span_is(version, m->clients[i].version))
                break;
    bool plain = i && i < METRIC_VERSIONS && version.len < METRIC_VERSION_MAX;
    for (size_t k = 0; plain && k < version.len; k++)
        plain = (version.data[k] >= '0' && version.data[k] <= '9') || version.data[k] == '.';
    if (plain && !m->clients[i].version[0])
        memcpy(m->clients[i].version, version.data, version.len);
    i = !i ? 0 : plain ? i : METRIC_VERSIONS;
    c->client_version = (uint8_t)(i + 1);
    return &m->clients[i];
}

void metric_grpc_begin(struct call *call, const struct http_request *head)
{
    struct metrics *m = &call->node->metrics;
    struct metric_client *client = client_of(m, call->conn, head);
    m->methods[call->method->number].started++;
    client->unary += etcd_method_unary(call->method);
    client->stream += !etcd_method_unary(call->method);
    call->began_ms = loop_now_ms(call->node->loop);
}

void metric_grpc_end(struct call *call, int code)
{
    struct metric_method *m = &call->node->metrics.methods[call->method->number];
    int64_t ms = loop_now_ms(call->node->loop) - call->began_ms;
    struct histogram *took = &m->took[code == 0];
    int i = 0;
    CHECK(code >= 0 && code < METRIC_CODES && ms >= 0);
    while (i < METRIC_HANDLING && ms > handling_ms[i])
        i++;
    m->handled[code]++;
    m->handling[i]++;
    m->handling_count++;
    m->handling_seconds += (double)ms / 1000;
    took->first_us = TOOK_FIRST_US;
    took->n = TOOK_BUCKETS;
    histogram_add(took, ms * 1000);
}

/* ---- telling ---- */

static void labels_of(const struct etcd_method *e, char *out, size_t size)
{
    snprintf(out, size, "grpc_type=\"%s\",grpc_service=\"%s\",grpc_method=\"%s\"", type_of(e),
             e->service, e->name);
}

static void counter_by_method(const struct metrics *m, const char *name, const char *text,
                              size_t offset, struct buf *out)
{
    char labels[200];
    metric_head(out, name, text, "counter");
    for (int i = 0; i < etcd_method_count(); i++) {
        const uint8_t *at = (const uint8_t *)&m->methods[i] + offset;
        labels_of(etcd_method_at(i), labels, sizeof(labels));
        buf_format(out, "%s{%s} %llu\n", name, labels,
                   (unsigned long long)*(const uint64_t *)(const void *)at);
    }
}

/* All codes from the start, so that a rate sees the first failure. */
static void handled(const struct metrics *m, struct buf *out)
{
    char labels[200];
    metric_head(out, "grpc_server_handled_total", "calls ended, by status", "counter");
    for (int i = 0; i < etcd_method_count(); i++) {
        labels_of(etcd_method_at(i), labels, sizeof(labels));
        for (int c = 0; c < METRIC_CODES; c++)
            buf_format(out, "grpc_server_handled_total{%s,grpc_code=\"%s\"} %llu\n", labels,
                       codes[c], (unsigned long long)m->methods[i].handled[c]);
    }
}

static void handling(const struct metrics *m, struct buf *out)
{
    static const char name[] = "grpc_server_handling_seconds";
    char labels[200];
    metric_head(out, name, "time from a call's begin to its end", "histogram");
    for (int i = 0; i < etcd_method_count(); i++) {
        const struct metric_method *x = &m->methods[i];
        uint64_t sum = 0;
        labels_of(etcd_method_at(i), labels, sizeof(labels));
        for (int k = 0; k < METRIC_HANDLING; k++) {
            sum += x->handling[k];
            buf_format(out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels,
                       (double)handling_ms[k] / 1000, (unsigned long long)sum);
        }
        buf_format(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.9g\n%s_count{%s} %llu\n",
                   name, labels, (unsigned long long)x->handling_count, name, labels,
                   x->handling_seconds, name, labels, (unsigned long long)x->handling_count);
    }
}

static void clients(const struct metrics *m, struct buf *out)
{
    static const char name[] = "etcd_server_client_requests_total";
    metric_head(out, name, "calls begun, by the API version that clients say", "counter");
    for (int i = 0; i <= METRIC_VERSIONS; i++) {
        const struct metric_client *c = &m->clients[i];
        const char *version = i == 0 ? "unknown" : i == METRIC_VERSIONS ? "other" : c->version;
        if (!c->unary && !c->stream)
            continue;
        buf_format(out, "%s{type=\"unary\",client_api_version=\"%s\"} %llu\n", name, version,
                   (unsigned long long)c->unary);
        buf_format(out, "%s{type=\"stream\",client_api_version=\"%s\"} %llu\n", name, version,
                   (unsigned long long)c->stream);
    }
}

/* Only what was called: etcd's too comes to be with the first of its type. */
static void took(const struct metrics *m, struct buf *out)
{
    static const char name[] = "etcd_server_request_duration_seconds";
    char labels[100];
    metric_head(out, name, "time from a request's begin to its answer", "histogram");
    for (int i = 0; i < etcd_method_count(); i++)
        for (int good = 0; good < 2; good++) {
            const struct histogram *h = &m->methods[i].took[good];
            const struct etcd_method *e = etcd_method_at(i);
            if (!h->count || e->kind != ETCD_UNARY)
                continue;
            snprintf(labels, sizeof(labels), "type=\"%s\",success=\"%s\",",
                     strcmp(e->name, "Compact") == 0 ? "Compaction" : e->name,
                     good ? "true" : "false");
            metric_histogram(out, name, labels, h);
        }
}

void metric_grpc_text(const struct metrics *m, bool extensive, struct buf *out)
{
    CHECK(etcd_method_count() <= METRIC_METHODS);
    counter_by_method(m, "grpc_server_started_total", "calls begun",
                      offsetof(struct metric_method, started), out);
    counter_by_method(m, "grpc_server_msg_received_total", "messages from clients",
                      offsetof(struct metric_method, received), out);
    counter_by_method(m, "grpc_server_msg_sent_total", "messages to clients",
                      offsetof(struct metric_method, sent), out);
    handled(m, out);
    if (extensive)
        handling(m, out);
    took(m, out);
    clients(m, out);
}

void metric_grpc_markdown(void)
{
    printf("| `grpc_server_started_total` | counter by method | calls begun |\n"
           "| `grpc_server_handled_total` | counter by method and code | calls ended |\n"
           "| `grpc_server_msg_received_total` | counter by method | messages from clients |\n"
           "| `grpc_server_msg_sent_total` | counter by method | messages to clients |\n"
           "| `grpc_server_handling_seconds` | histogram by method, seconds | calls' time from "
           "begin to end; with `metrics: extensive` |\n"
           "| `etcd_server_request_duration_seconds` | histogram by type and success, seconds | "
           "requests' time to their answer, counted in turns of the event loop |\n"
           "| `etcd_server_client_requests_total` | counter by type and API version | calls begun, "
           "by the version that clients say |\n");
}
