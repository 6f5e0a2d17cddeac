/* load: the load generator's pieces: a lean HTTP/2 client, a histogram, the workloads.
 *
 * Closed loop: connections x streams, each stream one call at a time. Requests are made from frame
 * templates without HPACK state, answers are cut into frames by hand, so that the client costs a
 * fraction of any server. One thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/prng.h"

/* ---- histogram: log-linear, 32 steps an octave, microseconds ---- */

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_OCTAVES = 32 };

struct latency {
    uint64_t buckets[HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
    uint64_t count;
    int64_t max_us;
};
void latency_add(struct latency *l, int64_t us);
int64_t latency_at(const struct latency *l, double share); /* 0.5: the median */

/* ---- connections ---- */

struct wire;

struct wire_stream {
    struct wire *wire;
    uint32_t id;
    int64_t began_us;
    int64_t key; /* for the workload */
    int64_t revision;
    struct buf message; /* of a streaming answer, as far as it has come; or of a unary one */
    bool keep;          /* wants the answer's bytes */
    bool http, good;    /* not gRPC; its answer's status is 200 or 204 */
};

struct wire_events {
    /* A unary answer is complete; ok: grpc-status 0, or :status 200 or 204. */
    void (*on_end)(void *context, struct wire_stream *s, bool ok);
    /* Bytes of an answer whose stream wants them. */
    void (*on_data)(void *context, struct wire_stream *s);
};

struct wire {
    int fd;
    struct alloc *alloc;
    const struct wire_events *events;
    void *context;
    struct wire_stream *streams;
    uint32_t n_streams, next_id;
    uint32_t *slots; /* stream of an id: slots[(id / 2) % slots_cap] */
    uint32_t slots_cap;
    struct buf in, out, good_trailers;
    int64_t consumed; /* of the connection's window, not yet given back */
    char authority[64];
};

bool wire_open(struct wire *w, struct alloc *alloc, const char *host, int port, uint32_t streams,
               const struct wire_events *events, void *context);
void wire_close(struct wire *w);
/* Begins a call on s: path, message; end: no more is sent on it. */
void wire_call(struct wire_stream *s, const char *path, struct span message, bool end);
/* A request of HTTP; body: JSON, or nothing. */
void wire_http(struct wire_stream *s, const char *method, const char *path, struct span body);
void wire_more(struct wire_stream *s, struct span message); /* another message of a stream */
bool wire_flush(struct wire *w);                            /* false: broken */
bool wire_receive(struct wire *w);

/* ---- protobuf by hand ---- */

void field_number(struct buf *b, uint32_t field, int64_t v);
void field_bytes(struct buf *b, uint32_t field, struct span s);

int64_t clock_us(void);

/* ---- flags.c ---- */

int run_evaluate(void); /* flags evaluated in this process: prints what one takes */
