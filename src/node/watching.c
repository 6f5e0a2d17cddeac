/* Watch streams: many watchers behind one call, of the etcd or the REST door.
 *
 * A stream has a bounded queue (watch-queue-bytes). When it is full its watchers fall behind:
 * they are passed over by deliveries and served from history when the peer has read on. So a
 * slow watcher costs its own queue and nothing else. */
#include "node/node_int.h"
#include "base/check.h"

struct watch_stream {
    struct node *node;
    struct call *call;
    struct watch_stream *next, *prev;
    struct map watchers;   /* by id; the stream itself: ended by compaction, not yet canceled */
    struct watcher *first; /* all, through link[0], link[1] */
    int64_t next_id;
    struct span user;     /* proven to ask, of the call's arena; "": nobody */
    bool etcd;            /* else REST, or flagd's */
    bool progress_wanted; /* asked by hand, not yet answered: somebody is behind */
    bool spoke;           /* since the last interval of progress */
};

struct watch_stream *watching_open(struct call *call)
{
    struct node *n = call->node;
    struct watch_stream *s = mem_zero(&n->alloc, sizeof(*s));
    s->node = n;
    s->call = call;
    s->etcd = call->method && !call->flagd;
    map_open(&s->watchers, &n->alloc);
    s->next = n->streams;
    if (s->next)
        s->next->prev = s;
    n->streams = s;
    n->watch_stream_count++;
    return s;
}

static void drop(struct watch_stream *s, struct watcher *w)
{
    struct watcher *before = w->link[0], *after = w->link[1];
    if (before)
        before->link[1] = after;
    else
        s->first = after;
    if (after)
        after->link[0] = before;
    map_remove(&s->watchers, (uint64_t)w->id);
    watch_remove(s->node->watch, w);
}

void watching_close(struct watch_stream *s)
{
    struct node *n = s->node;
    while (s->first)
        drop(s, s->first);
    map_close(&s->watchers);
    if (s->prev)
        s->prev->next = s->next;
    else
        n->streams = s->next;
    if (s->next)
        s->next->prev = s->prev;
    n->watch_stream_count--;
    mem_free(&n->alloc, s, sizeof(*s));
}

static bool has_room(const struct watch_stream *s)
{
    return call_queued(s->call) < admit_stream_bytes(s->node);
}

/* ---- sending ---- */

static enum rest_watch_form form_of(const struct watch_stream *s)
{
    return s->call->conn->ws ? REST_WEBSOCKET : (enum rest_watch_form)s->call->rest->form;
}

static void emit_text(void *context, struct span text)
{
    call_text(context, text);
}

static void send_events(struct watch_stream *s, const struct watch_batch *batch,
                        struct etcd_events *alike)
{
    struct node *n = s->node;
    int64_t revision = kv_revision(n->machine.kv);
    n->metrics.watch_events += batch->n;
    if (s->call->flagd) {
        call_flagd_events(s->call, batch);
        s->spoke = true;
        return;
    }
    if (!s->etcd) {
        rest_watch_events(n->machine.kv, batch, form_of(s), &n->apply, emit_text, s->call);
        s->spoke = true;
        return;
    }
    size_t size_max = (size_t)n->params.request_bytes_max;
    for (size_t next = 0; next < batch->n;) {
        struct buf *message = call_message_begin(s->call);
        etcd_watch_events(&n->header, revision, batch, &next, size_max, alike, message);
        call_message_end(s->call);
    }
    s->spoke = true;
}

static bool all_synced(const struct watch_stream *s)
{
    for (const struct watcher *w = s->first; w; w = w->link[1])
        if (!w->synced)
            return false;
    return true;
}

static void send_progress(struct watch_stream *s, int64_t id)
{
    int64_t revision = kv_revision(s->node->machine.kv);
    etcd_watch_progress(&s->node->header, revision, id, call_message_begin(s->call));
    call_message_end(s->call);
}

/* Asked by hand (RequestProgress): one answer for the whole stream, with id -1, once all of its
 * watchers are synced, in order with the events (etcd #15220). */
static void answer_progress(struct watch_stream *s)
{
    if (s->progress_wanted && all_synced(s)) {
        s->progress_wanted = false;
        send_progress(s, -1);
    }
}

/* Streams of flagd's with more to tell than fits. Not before all has been delivered: other watchers
 * of the same stream may stand in the batches. */
static void end_over(struct node *n)
{
    for (struct watch_stream *s = n->streams, *next; s; s = next) {
        next = s->next;
        if (s->call->flagd && s->call->flagd->over)
            call_end(s->call, ERR_ANSWER_TOO_LARGE);
    }
}

void watching_deliver(struct node *n, const struct kv_change *changes, size_t count)
{
    struct watch_batch *batches;
    size_t n_batches;
    bool over = false;
    struct etcd_events alike = { .arena = &n->apply };
    watch_match(n->watch, changes, count, &n->apply, &batches, &n_batches);
    for (size_t i = 0; i < n_batches; i++) {
        struct watch_stream *s = batches[i].watcher->owner;
        if (has_room(s)) {
            send_events(s, &batches[i], &alike);
            over = over || (s->call->flagd && s->call->flagd->over);
        } else {
            watch_fall_behind(n->watch, batches[i].watcher,
                              batches[i].changes[0]->now->mod_revision);
            n->metrics.watch_fell_behind++;
        }
    }
    if (over)
        end_over(n);
}

/* ---- catching up ---- */

static void end_compacted(struct watch_stream *s, struct watcher *w)
{
    struct node *n = s->node;
    int64_t compacted = kv_compact_revision(n->machine.kv);
    n->metrics.watch_compacted++;
    if (s->etcd) {
        /* etcd leaves the revision out of this one. */
        etcd_watch_canceled(&n->header, 0, w->id, compacted, false, "",
                            call_message_begin(s->call));
        call_message_end(s->call);
        int64_t id = w->id;
        drop(s, w);
        map_set(&s->watchers, (uint64_t)id, s); /* etcd: until the client cancels it */
        return;
    }
    drop(s, w);
    if (s->call->flagd) {
        call_end(s->call, ERR_COMPACTED); /* it comes again */
        return;
    }
    call_text(s->call, rest_watch_compacted(compacted, form_of(s), &n->apply));
    call_end(s->call, ERR_OK);
}

bool watching_catch_up(struct node *n)
{
    bool moved = false;
    for (int i = 0; i < CATCH_UP_PER_TURN; i++) {
        struct watcher *w = watch_next_behind(n->watch);
        if (!w)
            return false;
        struct watch_stream *s = w->owner;
        if (!has_room(s))
            continue;
        struct watch_batch batch;
        bool compacted;
        moved = true;
        watch_catch_up(n->watch, n->machine.kv, w, &n->apply, &batch, &compacted);
        if (compacted) {
            end_compacted(s, w);
        } else {
            if (batch.n)
                send_events(s, &batch, NULL);
            if (s->call->flagd && s->call->flagd->over)
                call_end(s->call, ERR_ANSWER_TOO_LARGE);
            else
                answer_progress(s);
        }
        arena_reset(&n->apply);
    }
    /* When nobody who is behind has room, the next readable or writable socket brings a turn. */
    return moved;
}

/* ---- requests ---- */

static void created(struct watch_stream *s, int64_t id)
{
    struct node *n = s->node;
    int64_t revision = kv_revision(n->machine.kv);
    if (s->etcd) {
        etcd_watch_created(&n->header, revision, id, call_message_begin(s->call));
        call_message_end(s->call);
    } else if (s->call->flagd) {
        call_flagd_ready(s->call);
    } else if (!s->first) { /* one stream may have several */
        call_text(s->call, rest_watch_ready(revision, form_of(s), &n->turn));
    }
}

static void refuse(struct watch_stream *s, const char *why)
{
    struct node *n = s->node;
    CHECK(s->etcd); /* the others ask before the stream begins */
    etcd_watch_canceled(&n->header, kv_revision(n->machine.kv), -1, 0, true, why,
                        call_message_begin(s->call));
    call_message_end(s->call);
}

/* Why it may not be; NULL: it may. etcd looks at a negative start first (v3rpc/watch.go). */
static const char *refusal(struct watch_stream *s, const struct request *request, enum err e)
{
    const struct watch_request *r = &request->watch;
    bool taken = r->id != 0 && map_get(&s->watchers, (uint64_t)r->id);
    if (e == ERR_OK)
        e = machine_permits(&s->node->machine, request);
    if (e == ERR_OK || r->start_revision < 0)
        return etcd_watch_refusal(r, taken);
    s->node->metrics.watch_denied++;
    return etcd_watch_denied(e);
}

static void add(struct watch_stream *s, const struct request *request, enum err e)
{
    const struct watch_request *r = &request->watch;
    struct node *n = s->node;
    int64_t id = r->id;
    const char *why = refusal(s, request, e);
    if (why) {
        refuse(s, why);
        return;
    }
    if (request->auth_revision && !span_equal(s->user, request->author))
        s->user = arena_copy(&s->call->arena, request->author);
    if (id == 0) {
        while (map_get(&s->watchers, (uint64_t)s->next_id))
            s->next_id++;
        id = s->next_id++;
    }
    struct watch_spec spec = { r->key,    r->range_end, r->start_revision, id,          r->prev_kv,
                               r->no_put, r->no_delete, r->progress,       r->fragment, s };
    created(s, id);
    struct watcher *w = watch_add(n->watch, &spec, kv_revision(n->machine.kv));
    w->link[0] = NULL;
    w->link[1] = s->first;
    if (s->first)
        s->first->link[0] = w;
    s->first = w;
    map_set(&s->watchers, (uint64_t)id, w);
    if (!w->synced)
        upkeep_again(n);
}

static void remove_by_id(struct watch_stream *s, int64_t id)
{
    struct node *n = s->node;
    struct watcher *w = map_get(&s->watchers, (uint64_t)id);
    if (!w)
        return; /* etcd: no answer for an unknown id */
    if ((void *)w == (void *)s)
        map_remove(&s->watchers, (uint64_t)id);
    else
        drop(s, w);
    etcd_watch_canceled(&n->header, kv_revision(n->machine.kv), id, 0, false, "",
                        call_message_begin(s->call));
    call_message_end(s->call);
    answer_progress(s);
}

void watching_request(struct watch_stream *s, const struct request *r, enum err e)
{
    if (r->type == REQUEST_WATCH_ADD) {
        add(s, r, e);
    } else if (r->type == REQUEST_WATCH_REMOVE) {
        remove_by_id(s, r->watch_id);
    } else {
        CHECK(r->type == REQUEST_WATCH_PROGRESS);
        s->progress_wanted = true;
        answer_progress(s);
    }
}

/* ---- permissions that were taken ---- */

void watching_asker(struct call *call, struct span *user, struct request *r)
{
    *r = (struct request){ .type = REQUEST_WATCH_ADD };
    if (!user->len && login_of(call, r) == ERR_OK && r->auth_revision)
        *user = arena_copy(&call->arena, r->author); /* auth was not enabled then */
    r->author = login_lost(call, *user) ? SPAN_NONE : *user;
    r->auth_revision = r->author.len ? auth_revision(call->node->machine.auth) : 0;
}

static void end_denied(struct watch_stream *s, struct watcher *w, enum err e)
{
    struct node *n = s->node;
    int64_t id = w->id;
    n->metrics.watch_denied++;
    drop(s, w);
    if (s->call->flagd) {
        call_end(s->call, e);
        return;
    }
    if (!s->etcd) {
        call_text(s->call, rest_watch_denied(kv_revision(n->machine.kv), form_of(s), &n->apply));
        call_end(s->call, ERR_OK);
        return;
    }
    etcd_watch_canceled(&n->header, kv_revision(n->machine.kv), id, 0, false, etcd_watch_denied(e),
                        call_message_begin(s->call));
    call_message_end(s->call);
}

static void judge(struct watch_stream *s)
{
    struct node *n = s->node;
    struct request r;
    watching_asker(s->call, &s->user, &r);
    for (struct watcher *w = s->first, *next; w; w = next) {
        next = w->link[1];
        watch_range(w, &r.watch.key, &r.watch.range_end);
        enum err e = machine_permits(&n->machine, &r);
        if (e == ERR_OK)
            continue;
        bool last = !s->etcd; /* the stream goes with it */
        end_denied(s, w, e);
        if (last)
            return;
    }
    answer_progress(s);
}

/* All at once, before any further event: nothing is told to whom it is not meant for. */
void watching_judge(struct node *n)
{
    if (!auth_enabled(n->machine.auth))
        return;
    for (struct watch_stream *s = n->streams, *next; s; s = next) {
        next = s->next;
        if (!s->call->ended)
            judge(s);
    }
}

/* ---- the interval ---- */

/* etcd: a watcher that asked for it and heard nothing since the last interval is told how far
 * things are, only when it is synced. */
static void progress_of(struct watch_stream *s)
{
    struct node *n = s->node;
    bool spoke = s->spoke;
    s->spoke = false;
    if (spoke || !has_room(s))
        return;
    if (s->etcd) {
        for (struct watcher *w = s->first; w; w = w->link[1])
            if (w->progress && w->synced && w->next_revision <= kv_revision(n->machine.kv) + 1)
                send_progress(s, w->id);
    } else if (!s->call->flagd && all_synced(s)) {
        call_text(s->call, rest_watch_progress(kv_revision(n->machine.kv), form_of(s), &n->apply));
    }
}

void watching_progress(struct node *n)
{
    for (struct watch_stream *s = n->streams, *next; s; s = next) {
        next = s->next;
        progress_of(s);
    }
    arena_reset(&n->apply);
}

/* ---- flags that are inherited ---- */

/* Whether it is a stream of flags that looks through that environment. */
static bool looks_through(const struct watch_stream *s, struct span environment)
{
    const struct flagd_call *f = s->call->flagd;
    const struct rest_call *rest = s->call->rest;
    const struct span *levels = f ? f->levels : rest && rest->flag ? rest->chain : NULL;
    size_t n = f ? f->n_levels : rest ? rest->levels : 0;
    for (size_t i = 0; levels && i < n; i++)
        if (span_equal(levels[i], environment))
            return true;
    return false;
}

void watching_environments(struct node *n, const struct kv_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct span key = kv_key(changes[i].now);
        if (!rest_push_of_environments(key))
            continue;
        struct span environment = span_from(key, rest_push_environments().key.len);
        for (struct watch_stream *s = n->streams, *next; s; s = next) {
            next = s->next;
            if (!s->call->ended && looks_through(s, environment))
                call_end(s->call, ERR_ENVIRONMENT_MOVED);
        }
    }
}

void watching_no_leader(struct node *n)
{
    for (struct watch_stream *s = n->streams, *next; s; s = next) {
        next = s->next;
        if (s->call->needs_leader)
            call_end(s->call, ERR_NO_LEADER);
    }
}

void watching_stop_all(struct node *n)
{
    for (struct watch_stream *s = n->streams, *next; s; s = next) {
        next = s->next;
        call_end(s->call, ERR_STOPPED);
    }
}
