/* What goes to each other member and comes from it, under etcd's names. */
#include <stdio.h>
#include "base/check.h"
#include "node/metric.h"

enum { ROUND_TRIP_FIRST_US = 100, ROUND_TRIP_BUCKETS = 16 }; /* etcd's rafthttp/metrics.go */

struct metric_peer *metric_peer_of(struct metrics *m, uint64_t id)
{
    int i = 0;
    while (i < METRIC_PEERS - 1 && m->peers[i].id && m->peers[i].id != id)
        i++;
    struct metric_peer *p = &m->peers[i];
    CHECK(id != 0);
    if (!p->id) {
        p->id = id;
        p->round_trip.first_us = ROUND_TRIP_FIRST_US;
        p->round_trip.n = ROUND_TRIP_BUCKETS;
    }
    return p;
}

void metric_peer_text(const struct metrics *m, struct buf *out)
{
    static const struct {
        const char *name, *label, *text;
        size_t offset;
    } counters[] = {
        { "etcd_network_peer_sent_bytes_total", "To", "bytes to a member",
          offsetof(struct metric_peer, sent_bytes) },
        { "etcd_network_peer_received_bytes_total", "From", "bytes from a member",
          offsetof(struct metric_peer, received_bytes) },
        { "etcd_network_peer_sent_failures_total", "To",
          "messages to a member that could not be sent",
          offsetof(struct metric_peer, sent_failures) },
    };
    for (size_t k = 0; k < sizeof(counters) / sizeof(counters[0]); k++) {
        metric_head(out, counters[k].name, counters[k].text, "counter");
        for (int i = 0; i < METRIC_PEERS && m->peers[i].id; i++) {
            const uint8_t *at = (const uint8_t *)&m->peers[i] + counters[k].offset;
            buf_format(out, "%s{%s=\"%llx\"} %llu\n", counters[k].name, counters[k].label,
                       (unsigned long long)m->peers[i].id,
                       (unsigned long long)*(const uint64_t *)(const void *)at);
        }
    }
    static const char name[] = "etcd_network_peer_round_trip_time_seconds";
    metric_head(out, name, "round trip to a member, as its connection measures it", "histogram");
    for (int i = 0; i < METRIC_PEERS && m->peers[i].id; i++) {
        char labels[40];
        snprintf(labels, sizeof(labels), "To=\"%llx\",", (unsigned long long)m->peers[i].id);
        metric_histogram(out, name, labels, &m->peers[i].round_trip);
    }
}

void metric_peer_markdown(void)
{
    printf("| `etcd_network_peer_sent_bytes_total`, `..._received_bytes_total`, "
           "`..._sent_failures_total` | counter by member | what goes to it and comes from it |\n"
           "| `etcd_network_peer_round_trip_time_seconds` | histogram by member, seconds | as TCP "
           "measures it, looked at once a second |\n");
}
