/* metric: what is counted, from metric.def, and the Prometheus text of it. One thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "link/peer/peer.h"

enum {
    METRIC_BUCKETS = 20, /* at most */
    METRIC_METHODS = 80,
    METRIC_CODES = 17,
    METRIC_PEERS = 16,   /* members told apart; more share the last place */
    METRIC_VERSIONS = 8, /* of clients' APIs told apart; more are counted as "other" */
    METRIC_VERSION_MAX = 16,
    METRIC_HANDLING = 11,
};

/* Bucket i: up to first_us x 2^i; the one after the last takes the rest. */
struct histogram {
    int64_t first_us;
    int n; /* of buckets that have a bound */
    uint64_t buckets[METRIC_BUCKETS + 1];
    uint64_t count;
    double sum_seconds;
};

/* One method of the etcd door. */
struct metric_method {
    uint64_t started, received, sent, handled[METRIC_CODES];
    struct histogram took[2]; /* failed, done well: etcd's request_duration */
    uint64_t handling[METRIC_HANDLING + 1];
    uint64_t handling_count;
    double handling_seconds;
};

struct metric_peer {
    uint64_t id;
    uint64_t sent_bytes, received_bytes, sent_failures;
    struct histogram round_trip;
};

/* Calls of clients that say the same client-api-version. */
struct metric_client {
    char version[METRIC_VERSION_MAX];
    uint64_t unary, stream;
};

struct metrics {
#define COUNTER(field, name, text) uint64_t field;
#define GAUGE(name, text, expression)
#define HISTOGRAM(field, name, first_us, n, text) struct histogram field;
#include "node/metric.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    uint64_t peer_refused[PEER_REFUSALS];
    struct metric_method methods[METRIC_METHODS];
    struct metric_peer peers[METRIC_PEERS];
    struct metric_client clients[METRIC_VERSIONS + 1]; /* the first: who does not say */
};

bool metric_kind_known(const char *kind); /* the parameter metrics: basic, extensive */
void metric_open(struct metrics *m);
void histogram_add(struct histogram *h, int64_t us);

/* ---- metric_grpc.c: calls of the etcd door, by method ---- */

struct call;
struct http_request;
void metric_grpc_begin(struct call *call, const struct http_request *head);
void metric_grpc_end(struct call *call, int code);
void metric_grpc_text(const struct metrics *m, bool extensive, struct buf *out);
void metric_grpc_markdown(void);

/* ---- metric_peer.c: other members ---- */

struct metric_peer *metric_peer_of(struct metrics *m, uint64_t id);
void metric_peer_text(const struct metrics *m, struct buf *out);
void metric_peer_markdown(void);

/* ---- text ---- */

/* "# HELP" and "# TYPE". */
void metric_head(struct buf *out, const char *name, const char *text, const char *type);
/* labels: "" or "a=\"b\",", each with a comma behind it. */
void metric_histogram(struct buf *out, const char *name, const char *labels,
                      const struct histogram *h);

struct node;
void metric_text(const struct node *n, struct buf *out); /* /metrics */
void metric_markdown(void);                              /* docs/reference/metrics.md */
