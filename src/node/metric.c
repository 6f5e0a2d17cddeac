#include "node/metric.h"
#include <stdio.h>
#include <unistd.h>
#include "api/etcd/etcd.h"
#include "base/check.h"
#include "node/node_int.h"
#include "node/peers.h"

enum { BUCKET_FIRST_US = 100 };

void histogram_add(struct histogram *h, int64_t us)
{
    CHECK(us >= 0);
    int i = 0;
    while (i < METRIC_BUCKETS - 1 && us > (int64_t)BUCKET_FIRST_US << i)
        i++;
    h->buckets[i]++;
    h->count++;
    h->sum_seconds += (double)us / 1e6;
}

static void head(struct buf *out, const char *name, const char *text, const char *type)
{
    buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, text, name, type);
}

static void counter(struct buf *out, const char *name, const char *text, uint64_t value)
{
    head(out, name, text, "counter");
    buf_format(out, "%s %llu\n", name, (unsigned long long)value);
}

static void gauge(struct buf *out, const char *name, const char *text, double value)
{
    head(out, name, text, "gauge");
    buf_format(out, "%s %.17g\n", name, value);
}

static void histogram(struct buf *out, const char *name, const char *text,
                      const struct histogram *h)
{
    uint64_t sum = 0;
    head(out, name, text, "histogram");
    for (int i = 0; i < METRIC_BUCKETS; i++) {
        sum += h->buckets[i];
        if (i < METRIC_BUCKETS - 1)
            buf_format(out, "%s_bucket{le=\"%g\"} %llu\n", name,
                       (double)((int64_t)BUCKET_FIRST_US << i) / 1e6, (unsigned long long)sum);
    }
    buf_format(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
               (unsigned long long)h->count, name, h->sum_seconds, name,
               (unsigned long long)h->count);
}

static const char *grpc_type(const struct etcd_method *m)
{
    return m->kind == ETCD_WATCH || m->kind == ETCD_KEEP_ALIVE            ? "bidi_stream"
           : m->kind == ETCD_HEALTH_WATCH || m->kind == ETCD_RANGE_STREAM ? "server_stream"
                                                                          : "unary";
}

static void grpc_text(const struct metrics *m, struct buf *out)
{
    static const char *const codes[METRIC_CODES] = {
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    };
    int methods = etcd_method_count();
    CHECK(methods <= METRIC_METHODS);
    head(out, "grpc_server_started_total", "calls begun", "counter");
    for (int i = 0; i < methods; i++) {
        const struct etcd_method *e = etcd_method_at(i);
        buf_format(out,
                   "grpc_server_started_total{grpc_type=\"%s\",grpc_service=\"%s\","
                   "grpc_method=\"%s\"} %llu\n",
                   grpc_type(e), e->service, e->name, (unsigned long long)m->grpc_started[i]);
    }
    head(out, "grpc_server_handled_total", "calls ended, by status", "counter");
    for (int i = 0; i < methods; i++) {
        const struct etcd_method *e = etcd_method_at(i);
        for (int c = 0; c < METRIC_CODES; c++)
            if (c == 0 || m->grpc_handled[i][c])
                buf_format(out,
                           "grpc_server_handled_total{grpc_type=\"%s\",grpc_service=\"%s\","
                           "grpc_method=\"%s\",grpc_code=\"%s\"} %llu\n",
                           grpc_type(e), e->service, e->name, codes[c],
                           (unsigned long long)m->grpc_handled[i][c]);
    }
}

static void refused_text(const struct metrics *m, struct buf *out)
{
    head(out, "confman_peer_refused_total", "callers refused, by reason", "counter");
    for (unsigned i = 1; i < PEER_REFUSALS; i++)
        buf_format(out, "confman_peer_refused_total{reason=\"%s\"} %llu\n", peer_refusal_name(i),
                   (unsigned long long)m->peer_refused[i]);
}

static int64_t resident_bytes(void)
{
    long long pages = 0, total = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lld %lld", &total, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

void metric_text(const struct node *n, struct buf *out)
{
    const struct metrics *m = &n->metrics;
    struct kv_stats stats;
    struct watch_stats watches;
    kv_stats(n->machine.kv, &stats);
    watch_stats(n->watch, &watches);
#define COUNTER(field, name, text) counter(out, name, text, m->field);
#define GAUGE(name, text, expression) gauge(out, name, text, (double)(expression));
#define HISTOGRAM(field, name, text) histogram(out, name, text, &m->field);
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    gauge(out, "process_resident_memory_bytes", "resident memory", (double)resident_bytes());
    refused_text(m, out);
    grpc_text(m, out);
}

void metric_markdown(void)
{
    printf("# Metrics\n\nMade from `src/node/metric.def` by `make docs`; served at `/metrics`.\n\n"
           "| name | type | meaning |\n|---|---|---|\n");
#define COUNTER(field, name, text) printf("| `%s` | counter | %s |\n", name, text);
#define GAUGE(name, text, expression) printf("| `%s` | gauge | %s |\n", name, text);
#define HISTOGRAM(field, name, text) printf("| `%s` | histogram, seconds | %s |\n", name, text);
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    printf("| `process_resident_memory_bytes` | gauge | resident memory |\n"
           "| `confman_peer_refused_total` | counter by reason | callers refused |\n"
           "| `grpc_server_started_total` | counter by method | calls begun |\n"
           "| `grpc_server_handled_total` | counter by method and code | calls ended |\n");
}
