#include "node/metric.h"
#include <stdio.h>
#include <string.h>
#include "base/check.h"
#include "io/process/process.h"
#include "node/node_int.h"
#include "node/peers.h"

bool metric_kind_known(const char *kind)
{
    return strcmp(kind, "basic") == 0 || strcmp(kind, "extensive") == 0;
}

void metric_open(struct metrics *m)
{
    *m = (struct metrics){ 0 };
#define COUNTER(field, name, text)
#define GAUGE(name, text, expression)
#define HISTOGRAM(field, name, first, buckets, text)                                               \
    m->field.first_us = first;                                                                     \
    m->field.n = buckets;
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
}

void histogram_add(struct histogram *h, int64_t us)
{
    CHECK(us >= 0 && h->n <= METRIC_BUCKETS);
    int i = 0;
    while (i < h->n && us > h->first_us << i)
        i++;
    h->buckets[i]++;
    h->count++;
    h->sum_seconds += (double)us / 1e6;
}

void metric_head(struct buf *out, const char *name, const char *text, const char *type)
{
    buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, text, name, type);
}

static void counter(struct buf *out, const char *name, const char *text, uint64_t value)
{
    metric_head(out, name, text, "counter");
    buf_format(out, "%s %llu\n", name, (unsigned long long)value);
}

static void gauge(struct buf *out, const char *name, const char *text, double value)
{
    metric_head(out, name, text, "gauge");
    buf_format(out, "%s %.17g\n", name, value);
}

void metric_histogram(struct buf *out, const char *name, const char *labels,
                      const struct histogram *h)
{
    uint64_t sum = 0;
    int only = labels[0] ? (int)strlen(labels) - 1 : 0; /* without the comma */
    const char *open = only ? "{" : "", *close = only ? "}" : "";
    for (int i = 0; i < h->n; i++) {
        sum += h->buckets[i];
        buf_format(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, labels,
                   (double)(h->first_us << i) / 1e6, (unsigned long long)sum);
    }
    buf_format(out, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels, (unsigned long long)h->count);
    buf_format(out, "%s_sum%s%.*s%s %.9g\n%s_count%s%.*s%s %llu\n", name, open, only, labels, close,
               h->sum_seconds, name, open, only, labels, close, (unsigned long long)h->count);
}

static void histogram(struct buf *out, const char *name, const char *text,
                      const struct histogram *h)
{
    metric_head(out, name, text, "histogram");
    metric_histogram(out, name, "", h);
}

static void refused_text(const struct metrics *m, struct buf *out)
{
    metric_head(out, "confman_peer_refused_total", "callers refused, by reason", "counter");
    for (unsigned i = 1; i < PEER_REFUSALS; i++)
        buf_format(out, "confman_peer_refused_total{reason=\"%s\"} %llu\n", peer_refusal_name(i),
                   (unsigned long long)m->peer_refused[i]);
}

/* What is always 1 and says something by its label. */
static void info(struct buf *out, const char *name, const char *text, const char *label,
                 const char *value)
{
    metric_head(out, name, text, "gauge");
    buf_format(out, "%s{%s=\"%s\"} 1\n", name, label, value);
}

static void identity_text(const struct node *n, struct buf *out)
{
    char id[20];
    snprintf(id, sizeof(id), "%llx", (unsigned long long)n->header.member_id);
    info(out, "etcd_server_id", "this member", "server_id", id);
    info(out, "etcd_server_version", "the etcd API spoken", "server_version", ETCD_VERSION);
    info(out, "etcd_cluster_version", "the etcd API that all members speak", "cluster_version",
         ETCD_CLUSTER_VERSION);
    info(out, "confman_version", "this build", "version", CONFMAN_VERSION);
}

void metric_text(const struct node *n, struct buf *out)
{
    const struct metrics *m = &n->metrics;
    struct kv_stats stats;
    struct watch_stats watches;
    struct process_usage usage;
    process_usage(&usage);
    struct rest_schemas_stats schemas;
    kv_stats(n->machine.kv, &stats);
    rest_schemas_stats(n->schemas, &schemas);
    watch_stats(n->watch, &watches);
    struct delivery_stats delivered;
    delivery_stats(pushing_table(n), &delivered);
#define COUNTER(field, name, text) counter(out, name, text, m->field);
#define GAUGE(name, text, expression) gauge(out, name, text, (double)(expression));
#define HISTOGRAM(field, name, first_us, n, text) histogram(out, name, text, &m->field);
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    metric_head(out, "process_cpu_seconds_total", "processor time, the system's for us too",
                "counter");
    buf_format(out, "process_cpu_seconds_total %.9g\n", usage.cpu_seconds);
    identity_text(n, out);
    refused_text(m, out);
    metric_peer_text(m, out);
    metric_grpc_text(m, strcmp(n->params.metrics, "extensive") == 0, out);
}

void metric_markdown(void)
{
    printf("# Metrics\n\nMade from `src/node/metric.def` by `make docs`; served at `/metrics`.\n\n"
           "| name | type | meaning |\n|---|---|---|\n");
#define COUNTER(field, name, text) printf("| `%s` | counter | %s |\n", name, text);
#define GAUGE(name, text, expression) printf("| `%s` | gauge | %s |\n", name, text);
#define HISTOGRAM(field, name, first_us, n, text)                                                  \
    printf("| `%s` | histogram, seconds | %s |\n", name, text);
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    printf("| `etcd_server_id`, `etcd_server_version`, `etcd_cluster_version`, `confman_version` | "
           "gauge by what it says | always 1 |\n"
           "| `process_cpu_seconds_total` | counter | processor time, the system's for us too |\n"
           "| `confman_peer_refused_total` | counter by reason | callers refused |\n");
    metric_peer_markdown();
    metric_grpc_markdown();
}
