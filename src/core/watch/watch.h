/* watch: who wants to hear of which keys. Finds for a change the watchers that match, no others.
 *
 * A watcher is synced (it has heard of everything up to the store's newest revision, and
 * watch_match finds it) or behind (watch_match passes it over; watch_catch_up reads history for it,
 * as far as its owner has room). Single keys stand in a hash, ranges in an interval tree, so a
 * change costs by the watchers that match it. The owner (a stream) decides how much it may queue:
 * when full, it says watch_fall_behind, and nobody else notices.
 *
 * Pure. Watchers belong to the hub; pointers are valid until watch_remove. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/span.h"
#include "core/kv/kv.h"

struct watch_hub;

struct watcher {
    void *owner;           /* the stream; given at watch_add, not touched here */
    int64_t id;            /* the owner's name for it */
    int64_t next_revision; /* nothing before this is to be delivered */
    bool synced, prev_kv, no_put, no_delete, progress, fragment;
    void *link[2]; /* for the owner's own lists; not touched here */
    /* the rest is private to core/watch */
};

struct watch_spec {
    struct span key, range_end; /* as in etcd: "" is from "\0"; range_end "\0" is from key on */
    int64_t start_revision;     /* <= 0: from now; may lie in the future */
    int64_t id;
    bool prev_kv, no_put, no_delete, progress, fragment;
    void *owner;
};

struct watch_hub *watch_open(struct alloc *alloc);
void watch_close(struct watch_hub *hub); /* with all watchers */

/* revision_now is the store's newest. A start in the past makes it behind, else synced. The key is
 * copied. key >= range_end (empty range) is refused by the caller before. */
struct watcher *watch_add(struct watch_hub *hub, const struct watch_spec *spec,
                          int64_t revision_now);
void watch_remove(struct watch_hub *hub, struct watcher *w);
/* What it watches, as in struct watch_spec; valid as long as the watcher. */
void watch_range(const struct watcher *w, struct span *key, struct span *range_end);

struct watch_stats {
    int64_t watchers, behind, ranges;
};
void watch_stats(const struct watch_hub *hub, struct watch_stats *out);
/* How many watch this key. */
int64_t watch_count(const struct watch_hub *hub, struct span key);
/* Revisions that those which are behind have yet to look at, in all. Costs as many as they are. */
int64_t watch_pending(const struct watch_hub *hub, int64_t revision_now);

/* What one watcher is to hear of one revision (or, when catching up, of several: in order). */
struct watch_batch {
    struct watcher *watcher;
    const struct kv_change **changes; /* in order; filters already applied; never empty */
    size_t n;
};

/* For the changes of one revision: a batch for every synced watcher that matches and whose
 * next_revision has come; moves its next_revision on. In the arena. Order of batches: by when the
 * watchers were added. */
void watch_match(struct watch_hub *hub, const struct kv_change *changes, size_t n,
                 struct arena *arena, struct watch_batch **out, size_t *n_out);

/* The owner has no room: from next_revision on, w is served by watch_catch_up. */
void watch_fall_behind(struct watch_hub *hub, struct watcher *w, int64_t next_revision);

enum { WATCH_CATCH_UP_MAX = 1000 }; /* history entries looked at in one step for one watcher */

/* Reads history on for a watcher that is behind, looking at no more than WATCH_CATCH_UP_MAX
 * entries. Fills changes (arena) with what matches, whole revisions only. When nothing is left, w
 * becomes synced. *compacted is set (and nothing else happens) when next_revision is before the
 * store's compact revision. Works by key's own versions for a single key. */
void watch_catch_up(struct watch_hub *hub, const struct kv *kv, struct watcher *w,
                    struct arena *arena, struct watch_batch *out, bool *compacted);

/* The watchers that are behind, in a ring, each in turn; NULL when none is. */
struct watcher *watch_next_behind(struct watch_hub *hub);
