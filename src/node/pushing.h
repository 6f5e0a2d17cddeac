/* pushing: subscriptions: what a client wants to hear of, over one WebSocket or as server-sent
 * events (docs/push.md).
 *
 * All who subscribe to the same share a view: its keys are watched once, a change is matched and
 * turned into text once, and each subscriber costs a copy of it into its connection. A subscriber
 * whose connection is full falls behind, and so does one that comes back with an old revision: it
 * is served from history until it has all, and hears with the others from then on.
 *
 * How many may come in a second is bounded (subscribe-rate): more are told when to come again, each
 * at another time. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "core/kv/kv.h"

struct call;
struct node;
struct pushing;
struct push_stream;

enum {
    PUSH_SUBSCRIPTIONS_MAX = 256, /* of one connection */
    PUSH_BURST_MS = 1000,         /* of subscribe-rate, that may come at once */
    PUSH_RETRY_MAX_MS = 60000,    /* who is refused is not sent away for longer */
    PUSH_RECONNECT_MIN_MS = 500,  /* how far apart clients are told to come back, at least */
    PUSH_ENDPOINTS_MAX = 16,
    PUSH_SUMMARIES_MAX = 64, /* different questions of who runs what, asked every second */
};

void pushing_open(struct node *n);
void pushing_close(struct node *n); /* when all calls are gone */

/* Whether one more stream may begin now, of any kind. ERR_SUBSCRIBE_RATE: then call->retry_ms says
 * when. */
enum err pushing_admit(struct call *call) MUST_CHECK;
/* The answer's head is sent: welcomes, and takes what the query asks. */
void pushing_begin(struct call *call);
/* A WebSocket's request is not needed any more: keeps what proves who asks, and little else. */
void pushing_stands(struct call *call);
void pushing_message(struct call *call, struct span text); /* a WebSocket's */
void pushing_end(struct call *call);
/* A message for a stream of server-sent events, by itself; answers it. */
void pushing_say(struct call *call);
struct peer_delivered;
void pushing_answered(struct node *n, uint64_t from, const struct peer_delivered *d);

void pushing_deliver(struct node *n, const struct kv_change *changes, size_t count);
bool pushing_catch_up(struct node *n); /* true: more to do at once */
void pushing_judge(struct node *n);    /* auth has changed: ends what is not permitted any more */
void pushing_progress(struct node *n); /* the interval has passed */
void pushing_stop_all(struct node *n); /* all are sent elsewhere */
void pushing_sweep(struct node *n);    /* every second */

struct delivery_table;
struct delivery_table *pushing_table(const struct node *n);
int64_t pushing_streams(const struct node *n); /* for metrics; so below */
int64_t pushing_subscriptions(const struct node *n);
int64_t pushing_views(const struct node *n);
int64_t pushing_summaries(const struct node *n);
int64_t pushing_behind(const struct node *n);
