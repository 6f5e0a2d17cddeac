/* metric: what is counted, from metric.def, and the Prometheus text of it. One thread. */
#pragma once
#include <stdint.h>
#include "base/buf.h"
#include "link/peer/peer.h"

enum { METRIC_BUCKETS = 16, METRIC_METHODS = 80, METRIC_CODES = 17 };

struct histogram {
    uint64_t buckets[METRIC_BUCKETS]; /* bucket i: up to 0.1 ms x 2^i; the last takes the rest */
    uint64_t count;
    double sum_seconds;
};

struct metrics {
#define COUNTER(field, name, text) uint64_t field;
#define GAUGE(name, text, expression)
#define HISTOGRAM(field, name, text) struct histogram field;
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    uint64_t peer_refused[PEER_REFUSALS];
    uint64_t grpc_started[METRIC_METHODS];
    uint64_t grpc_handled[METRIC_METHODS][METRIC_CODES];
};

void histogram_add(struct histogram *h, int64_t us);

struct node;
void metric_text(const struct node *n, struct buf *out); /* /metrics */
void metric_markdown(void);                              /* docs/reference/metrics.md */
