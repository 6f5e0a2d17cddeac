/* Watchers. The first ones watch everything: each revision must come, in order, once. The others
 * watch one key each. One that was cut off goes on behind what it saw. */
#include <stdio.h>
#include <string.h>
#include "base/check.h"
#include "wire/protobuf/etcd_pb.h"
#include "client.h"

enum { WATCHERS_MAX = 8, TEXT_MAX = 32, SILENCE_US = 5000000, RETRY_US = 300000 };

struct watcher {
    int number;
    struct door door;
    char key[TEXT_MAX]; /* "": everything */
    int64_t seen;       /* revision */
    bool created;
    int64_t partial; /* a revision that goes on in the next message; 0: none */
    uint64_t attempt;
    int64_t heard_us;
};

static struct watcher watchers[WATCHERS_MAX];
static int64_t compacted; /* asked for */

static void begin(void *context, uint64_t attempt);

static void again(struct watcher *w, int64_t in_us)
{
    door_close(&w->door);
    world_call(world_us + in_us, begin, w, ++w->attempt);
}

/* A node that was cut off says nothing: look elsewhere. */
static void look(void *context, uint64_t attempt)
{
    struct watcher *w = context;
    if (attempt != w->attempt)
        return;
    if (world_us - w->heard_us >= SILENCE_US || world_chance(3))
        again(w, world_between(0, RETRY_US));
    else
        world_call(world_us + SILENCE_US / 3, look, w, attempt);
}

static void begin(void *context, uint64_t attempt)
{
    struct watcher *w = context;
    struct buf message;
    if (attempt != w->attempt)
        return;
    bool all = !w->key[0];
    struct pb_watch_create_request create = { .key = all ? SPAN("\0") : span_text(w->key),
                                              .range_end = all ? SPAN("\0") : SPAN_NONE,
                                              .start_revision = w->seen + 1,
                                              .progress_notify = true,
                                              .fragment = world_chance(30) };
    struct pb_watch_request m = { .which_request_union = 1, .create_request = &create };
    counts[COUNT_WATCH_RESUMES]++;
    w->created = false;
    w->partial = 0;
    w->heard_us = world_us;
    door_open(&w->door, &hosts[world_below((uint64_t)n_nodes)]);
    trace("watcher %d from %lld by %s", w->number, (long long)w->seen + 1, w->door.to->name);
    buf_open(&message, &world_heap);
    pb_watch_request_encode(&m, &message);
    door_call(&w->door, "/etcdserverpb.Watch/Watch", buf_all(&message), false);
    buf_close(&message);
    world_call(world_us + SILENCE_US, look, w, w->attempt);
}

/* All of a revision comes in one message, or in fragments that follow one another. */
static void take_event(struct watcher *w, const struct pb_event *e, int64_t *last, bool *open)
{
    int64_t revision = e->kv ? e->kv->mod_revision : 0;
    bool all = !w->key[0], same = *open && revision == *last;
    if (!same && (revision <= *last || (all && revision != *last + 1)))
        violated("watcher %d of %s got revision %lld after %lld", w->number,
                 all ? "everything" : w->key, (long long)revision, (long long)*last);
    if (!all && (same || !span_is(e->kv->key, w->key)))
        violated("watcher %d of %s got %.*s", w->number, w->key, (int)e->kv->key.len,
                 (const char *)e->kv->key.data);
    check_event(revision, e->kv->key, e->kv->value, e->type == 1);
    *last = revision;
    *open = true;
}

static void take_canceled(struct watcher *w, const struct pb_watch_response *r)
{
    if (!r->compact_revision)
        violated("watcher %d was canceled: %.*s", w->number, (int)r->cancel_reason.len,
                 (const char *)r->cancel_reason.data);
    if (r->compact_revision > compacted || r->compact_revision <= w->seen)
        violated("watcher %d at %lld was told that %lld is compacted; %lld was asked for",
                 w->number, (long long)w->seen, (long long)r->compact_revision,
                 (long long)compacted);
    if (w->number == 0)
        violated("the watcher of everything was compacted away");
    w->seen = r->compact_revision - 1;
    again(w, 1000);
}

static void on_message(void *context, struct span message)
{
    struct watcher *w = context;
    struct pb_watch_response r;
    if (pb_watch_response_decode(message, &client_arena, &r) != ERR_OK || !r.header)
        violated("a watch response that makes no sense");
    w->heard_us = world_us;
    if (r.created && w->created)
        violated("watcher %d was created twice", w->number);
    w->created = w->created || r.created;
    if (r.canceled) {
        take_canceled(w, &r);
        return;
    }
    int64_t last = w->partial ? w->partial : w->seen;
    bool open = w->partial != 0;
    for (size_t i = 0; i < r.n_events; i++)
        take_event(w, &r.events[i], &last, &open);
    if (r.n_events && last > r.header->revision)
        violated("watcher %d got revision %lld in an answer of revision %lld", w->number,
                 (long long)last, (long long)r.header->revision);
    if (r.n_events) {
        w->partial = r.fragment ? last : 0;
        w->seen = r.fragment ? last - 1 : last;
    }
    /* Progress: nothing up to there is missing. */
    if (!r.n_events && !r.created && !w->key[0] && r.header->revision > w->seen)
        violated("watcher %d was told of progress to %lld, but has seen only %lld", w->number,
                 (long long)r.header->revision, (long long)w->seen);
}

static void on_over(void *context, int code, struct span text)
{
    struct watcher *w = context;
    trace("watcher %d ends: %d %.*s", w->number, code, (int)text.len, (const char *)text.data);
    again(w, world_between(1000, RETRY_US));
}

void watchers_open(void)
{
    CHECK(plan.watchers <= WATCHERS_MAX && plan.watchers > 0);
    compacted = 0;
    for (int i = 0; i < plan.watchers; i++) {
        struct watcher *w = &watchers[i];
        char name[TEXT_MAX];
        *w = (struct watcher){ .number = i, .seen = 1 };
        snprintf(name, sizeof(name), "w%d", i);
        if (i >= 2)
            snprintf(w->key, TEXT_MAX, "k%d", i % plan.keys);
        door_init(&w->door, host_add(false, name), w, on_message, on_over);
        again(w, world_between(0, SECOND));
    }
}

void watchers_close(void)
{
    for (int i = 0; i < plan.watchers; i++) {
        watchers[i].attempt++;
        door_close(&watchers[i].door);
    }
}

int64_t watchers_seen(void)
{
    return watchers[0].seen;
}

void watchers_compacted(int64_t revision)
{
    if (revision > compacted)
        compacted = revision;
}
