#include "node/pushing.h"
#include "base/check.h"
#include "node/call_int.h"
#include "node/peers.h"
#include "node/pushing_int.h"

/* The owner of a scope as long as somebody subscribes to it. */
struct view {
    struct delivery_scope *scope; /* held */
    struct watcher *watchers[PUSH_RANGES_MAX + 1];
    size_t n_watchers;
    struct subscription *first;
};

struct subscription {
    struct push_stream *stream;
    struct view *view;
    struct subscription *next, *prev; /* of the view */
    struct subscription *sibling;     /* of the stream */
    int64_t id;
    int64_t seen;               /* nothing up to there is told */
    struct watcher *behind;     /* NULL: it hears with the view */
    struct delivery_sub *known; /* NULL: its client has no name */
};

enum { OF_VIEW, OF_SUBSCRIPTION }; /* a watcher's id */

void pushing_open(struct node *n)
{
    struct pushing *p = mem_zero(&n->alloc, sizeof(*p));
    n->pushing = p;
    p->hub = watch_open(&n->alloc);
    p->table =
        delivery_open(&n->alloc, (size_t)n->params.deliveries_max, n->params.deliveries_keep_ms);
    p->rest.kind = REST_PUSH;
    map_open(&p->by_number, &n->alloc);
    buf_open(&p->text, &n->alloc);
    buf_open(&p->tail, &n->alloc);
}

void pushing_close(struct node *n)
{
    struct pushing *p = n->pushing;
    CHECK(!p->streams && !p->n_subscriptions && !p->summaries);
    map_close(&p->by_number);
    delivery_close(p->table);
    watch_close(p->hub);
    buf_close(&p->text);
    buf_close(&p->tail);
    mem_free(&n->alloc, p, sizeof(*p));
    n->pushing = NULL;
}

struct delivery_table *pushing_table(const struct node *n)
{
    return n->pushing->table;
}

int64_t pushing_streams(const struct node *n)
{
    return n->pushing->n_streams;
}

int64_t pushing_subscriptions(const struct node *n)
{
    return n->pushing->n_subscriptions;
}

int64_t pushing_views(const struct node *n)
{
    return n->pushing->n_views;
}

int64_t pushing_behind(const struct node *n)
{
    struct watch_stats stats;
    watch_stats(n->pushing->hub, &stats);
    return stats.behind;
}

int64_t pushing_summaries(const struct node *n)
{
    return n->pushing->n_summaries;
}

void pushing_sweep(struct node *n)
{
    delivery_sweep(n->pushing->table, loop_wall_ms(n->loop));
    summary_second(n);
}

/* ---- pacing ---- */

/* A second's worth may come at once, then one every so often; whoever comes too soon gets a place
 * in a queue that is nowhere but in their own waiting. */
enum err pushing_admit(struct call *call)
{
    struct node *n = call->node;
    struct pushing *p = n->pushing;
    int64_t now = loop_now_ms(n->loop) * 1000, each = 1000000 / n->params.subscribe_rate;
    if (p->next_us < now)
        p->next_us = now;
    if (p->next_us - now <= PUSH_BURST_MS * 1000) {
        p->next_us += each;
        return ERR_OK;
    }
    p->queue_us = (p->queue_us < now ? now : p->queue_us) + each;
    if (p->queue_us - now > PUSH_RETRY_MAX_MS * 1000)
        p->queue_us = now;
    call->retry_ms = (p->queue_us - now) / 1000 + (int64_t)prng_below(&n->prng, 1000) + 1;
    n->metrics.push_refused++;
    return ERR_SUBSCRIBE_RATE;
}

/* Where else to go: the other members that we reach, from a random one on. So that all who are here
 * do not come back at once, each is told another time. */
static struct push_place elsewhere(struct node *n, struct arena *arena)
{
    struct span *urls = ARENA_ARRAY(arena, struct span, PUSH_ENDPOINTS_MAX);
    struct push_place place = { .endpoints = urls };
    size_t from = n->cluster.n ? (size_t)prng_below(&n->prng, n->cluster.n) : 0;
    for (size_t i = 0; i < n->cluster.n; i++) {
        const struct member *m = &n->cluster.members[(from + i) % n->cluster.n];
        struct span rest = m->info.client_url;
        if (m->id == n->header.member_id || !peers_connected(n, m->id))
            continue;
        while (rest.len && place.n < PUSH_ENDPOINTS_MAX) {
            const uint8_t *comma = memchr(rest.data, ',', rest.len);
            size_t len = comma ? (size_t)(comma - rest.data) : rest.len;
            urls[place.n++] = span_of(rest.data, len);
            rest = span_from(rest, comma ? len + 1 : len);
        }
    }
    int64_t spread = n->pushing->n_streams * 1000 / n->params.subscribe_rate;
    spread = spread < PUSH_RECONNECT_MIN_MS ? PUSH_RECONNECT_MIN_MS : spread;
    place.reconnect_ms = 1 + (int64_t)prng_below(&n->prng, (uint64_t)spread);
    return place;
}

/* ---- telling ---- */

bool push_has_room(const struct push_stream *s)
{
    return call_queued(s->call) < admit_stream_bytes(s->call->node);
}

void push_send(struct push_stream *s, enum push_tell what, int64_t moves_on, struct span head,
               struct span tail)
{
    struct conn *c = s->call->conn;
    if (c->ws) {
        ws_send_two(c->ws, head, tail, conn_output(c));
        return;
    }
    struct buf b;
    buf_open(&b, &s->call->node->alloc);
    if (moves_on)
        buf_format(&b, "id: %lld\n", (long long)moves_on);
    buf_format(&b, "event: %s\ndata: ", rest_push_name(what));
    buf_span(&b, head);
    buf_span(&b, tail);
    buf_text(&b, "\n\n");
    call_text(s->call, buf_all(&b));
    buf_close(&b);
}

struct buf *push_text(struct push_stream *s)
{
    struct buf *b = &s->call->node->pushing->text;
    buf_shrink(b, KEEP_BYTES);
    return b;
}

/* What comes back as events asks again for what its query asked for, which has the id 0. */
static int64_t moving(const int64_t *id, int64_t revision)
{
    return id && *id ? 0 : revision;
}

void push_tell_plain(struct push_stream *s, enum push_tell what, const int64_t *id,
                     int64_t revision)
{
    struct buf *b = push_text(s);
    rest_push_tell(what, id, revision ? &revision : NULL, b);
    push_send(s, what, moving(id, revision), buf_all(b), SPAN_NONE);
}

void push_refuse(struct push_stream *s, enum push_tell what, const int64_t *id, enum err e,
                 const char *detail)
{
    struct said *said = s->call->node->pushing->said;
    struct buf *b = push_text(s);
    s->call->node->metrics.push_errors++;
    if (said && said->stream == s) {
        *said = (struct said){ s, e, detail };
        return;
    }
    rest_push_refused(what, id, e, detail, b);
    push_send(s, what, 0, buf_all(b), SPAN_NONE);
}

static void tell_changes(struct subscription *u, int64_t revision, struct span tail)
{
    struct buf *b = push_text(u->stream);
    rest_push_head(PUSH_CHANGES, u->id, b);
    push_send(u->stream, PUSH_CHANGES, moving(&u->id, revision), buf_all(b), tail);
    u->stream->spoke = true;
    u->stream->call->node->metrics.push_changes++;
}

/* ---- views ---- */

static void watch_more(struct node *n, struct view *v, struct push_range r)
{
    struct watch_spec spec = { .key = r.key, .range_end = r.end, .id = OF_VIEW, .owner = v };
    v->watchers[v->n_watchers++] = watch_add(n->pushing->hub, &spec, kv_revision(n->machine.kv));
}

/* One after the other, so that what they hear of one revision stands together. */
static void view_watch(struct node *n, struct view *v)
{
    struct push_range ranges[PUSH_RANGES_MAX];
    struct arena scratch;
    arena_open(&scratch, &n->alloc);
    size_t count = rest_push_ranges(v->scope, &scratch, ranges);
    for (size_t i = 0; i < count; i++)
        watch_more(n, v, ranges[i]);
    if (!v->scope->own)
        watch_more(n, v, rest_push_environments());
    arena_close(&scratch);
}

static void view_watch_no_more(struct node *n, struct view *v)
{
    while (v->n_watchers)
        watch_remove(n->pushing->hub, v->watchers[--v->n_watchers]);
}

static void find_levels(struct node *n, struct delivery_scope *s)
{
    struct span levels[DELIVERY_LEVELS_MAX];
    struct arena scratch;
    arena_open(&scratch, &n->alloc);
    size_t count = rest_push_levels(n->machine.kv, s, 0, &scratch, levels);
    delivery_scope_levels(n->pushing->table, s, levels, count);
    arena_close(&scratch);
}

/* The scope becomes the view's. */
static struct view *view_of(struct node *n, struct delivery_scope *scope)
{
    if (scope->owner) {
        delivery_scope_drop(n->pushing->table, scope); /* it is held already */
        return scope->owner;
    }
    struct view *v = mem_zero(&n->alloc, sizeof(*v));
    v->scope = scope;
    scope->owner = v;
    n->pushing->n_views++;
    view_watch(n, v);
    return v;
}

static void view_close(struct node *n, struct view *v)
{
    CHECK(!v->first);
    view_watch_no_more(n, v);
    v->scope->owner = NULL;
    delivery_scope_drop(n->pushing->table, v->scope);
    n->pushing->n_views--;
    mem_free(&n->alloc, v, sizeof(*v));
}

/* ---- subscriptions ---- */

/* It hears with the view from now on. */
static void catch_up_no_more(struct subscription *u)
{
    if (u->behind)
        watch_remove(u->stream->call->node->pushing->hub, u->behind);
    u->behind = NULL;
}

/* What it missed is read from history: of its one range, or of one that has all of several. */
static void fall_behind(struct subscription *u, int64_t revision)
{
    struct node *n = u->stream->call->node;
    struct push_range ranges[PUSH_RANGES_MAX];
    struct arena scratch;
    arena_open(&scratch, &n->alloc);
    size_t count = rest_push_ranges(u->view->scope, &scratch, ranges);
    if (count > 1)
        ranges[0] = rest_push_whole(u->view->scope);
    struct watch_spec spec = { .key = ranges[0].key,
                               .range_end = ranges[0].end,
                               .start_revision = revision,
                               .id = OF_SUBSCRIPTION,
                               .owner = u };
    CHECK(!u->behind && revision > 0 && revision <= kv_revision(n->machine.kv));
    u->behind = watch_add(n->pushing->hub, &spec, kv_revision(n->machine.kv));
    arena_close(&scratch);
    upkeep_again(n);
}

static void drop(struct subscription *u)
{
    struct push_stream *s = u->stream;
    struct node *n = s->call->node;
    struct subscription **at = &s->first;
    while (*at != u)
        at = &(*at)->sibling;
    *at = u->sibling;
    s->n--;
    if (u->prev)
        u->prev->next = u->next;
    else
        u->view->first = u->next;
    if (u->next)
        u->next->prev = u->prev;
    catch_up_no_more(u);
    if (u->known)
        delivery_unsubscribe(n->pushing->table, s->client, u->known);
    if (!u->view->first)
        view_close(n, u->view);
    n->pushing->n_subscriptions--;
    mem_free(&n->alloc, u, sizeof(*u));
}

static struct subscription *find(struct push_stream *s, int64_t id)
{
    struct subscription *u = s->first;
    while (u && u->id != id)
        u = u->sibling;
    return u;
}

/* What came after a revision is told first. */
static void resume(struct subscription *u, int64_t revision)
{
    struct node *n = u->stream->call->node;
    const struct kv *kv = n->machine.kv;
    struct span levels[DELIVERY_LEVELS_MAX];
    const struct delivery_scope *s = u->view->scope;
    int64_t now = kv_revision(kv);
    u->seen = revision; /* what another member told may be news here */
    if (revision >= now)
        return;
    if (revision + 1 < kv_compact_revision(kv)) {
        n->metrics.push_compacted++;
        push_tell_plain(u->stream, PUSH_COMPACTED, &u->id, now);
        return;
    }
    size_t count = rest_push_levels(kv, s, revision, &n->turn, levels);
    bool same = count == s->n_levels;
    for (size_t i = 0; i < count && same; i++)
        same = span_equal(levels[i], s->levels[i]);
    if (same)
        fall_behind(u, revision + 1);
    else
        push_tell_plain(u->stream, PUSH_ENVIRONMENT, &u->id, now);
}

enum err push_permits(struct push_stream *s, const struct push_range *ranges, size_t count)
{
    struct request r;
    enum err e = ERR_OK;
    watching_asker(s->call, &s->user, &r);
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        r.watch.key = ranges[i].key;
        r.watch.range_end = ranges[i].end;
        e = machine_permits(&s->call->node->machine, &r);
    }
    return e;
}

static enum err permitted(struct push_stream *s, const struct delivery_scope *scope)
{
    struct push_range ranges[PUSH_RANGES_MAX];
    struct arena scratch;
    arena_open(&scratch, &s->call->node->alloc);
    enum err e = push_permits(s, ranges, rest_push_ranges(scope, &scratch, ranges));
    arena_close(&scratch);
    return e;
}

/* Whether one more may begin; else that is told. */
static bool is_new(struct push_stream *s, int64_t id)
{
    bool full = s->n == PUSH_SUBSCRIPTIONS_MAX;
    if (!full && !find(s, id) && !summary_find(s, id))
        return true;
    push_refuse(s, PUSH_ERROR, &id, full ? ERR_OVERLOADED : ERR_CONFLICT,
                full ? "a connection has at most 256 subscriptions" : "/id: is in use");
    return false;
}

static void subscribe(struct push_stream *s, const struct push_message *m)
{
    struct node *n = s->call->node;
    struct pushing *p = n->pushing;
    if (!is_new(s, m->id))
        return;
    if (m->topic == PUSH_OF_DELIVERIES) {
        summary_subscribe(s, m);
        return;
    }
    struct delivery_scope *scope =
        delivery_scope(p->table, (enum delivery_kind)m->kind, m->own, m->environment, m->text);
    if (!scope->owner)
        find_levels(n, scope);
    enum err e = permitted(s, scope);
    if (e != ERR_OK) {
        n->metrics.watch_denied++;
        delivery_scope_drop(p->table, scope);
        push_refuse(s, PUSH_DENIED, &m->id, e, NULL);
        return;
    }
    struct subscription *u = mem_zero(&n->alloc, sizeof(*u));
    u->stream = s;
    u->id = m->id;
    u->view = view_of(n, scope);
    u->next = u->view->first;
    if (u->next)
        u->next->prev = u;
    u->view->first = u;
    u->sibling = s->first;
    s->first = u;
    s->n++;
    p->n_subscriptions++;
    if (s->client && m->topic == PUSH_OF_CONFIGS)
        u->known = delivery_subscribe(p->table, s->client, u->view->scope);
    int64_t runs = m->has_runs ? m->runs : m->has_revision ? m->revision : 0;
    if (u->known && runs)
        delivery_acknowledge(p->table, u->known, runs, SPAN_NONE, loop_wall_ms(n->loop));
    push_tell_plain(s, PUSH_SUBSCRIBED, &u->id,
               m->has_revision ? m->revision : kv_revision(n->machine.kv));
    if (m->has_revision)
        resume(u, m->revision);
}

/* ---- what a client says ---- */

/* Another connection says that it is this client: it is believed, being the newer one. */
static void lose_name(struct push_stream *s)
{
    s->client = NULL;
    for (struct subscription *u = s->first; u; u = u->sibling)
        u->known = NULL;
    push_refuse(s, PUSH_ERROR, NULL, ERR_CONFLICT,
                 "another connection has this client and instance now: its acknowledgements count");
}

static void hello(struct push_stream *s, const struct push_message *m)
{
    struct node *n = s->call->node;
    void *before;
    if (s->client || s->first) {
        push_refuse(s, PUSH_ERROR, NULL, ERR_CONFLICT,
                     "hello is said once, before the first subscription");
        return;
    }
    s->client = delivery_hello(n->pushing->table, m->client, m->instance, m->labels, s,
                               loop_wall_ms(n->loop), &before);
    if (before)
        lose_name(before);
    if (!s->client)
        push_refuse(s, PUSH_ERROR, NULL, ERR_OVERLOADED,
                     "this node keeps no more clients (deliveries-max): changes are told all the "
                     "same, acknowledgements do not count");
}

static void acknowledge(struct push_stream *s, const struct push_message *m)
{
    struct node *n = s->call->node;
    struct subscription *u = m->has_id ? find(s, m->id) : s->first;
    if (!s->client || !u || (m->has_id && !u->known)) {
        push_refuse(s, PUSH_ERROR, m->has_id ? &m->id : NULL, ERR_NOT_FOUND,
                     s->client ? "there is no such subscription to acknowledge"
                               : "say who you are before you acknowledge: hello, or client=");
        return;
    }
    n->metrics.push_acks++;
    for (; u; u = m->has_id ? NULL : u->sibling)
        if (u->known)
            delivery_acknowledge(n->pushing->table, u->known, m->revision, m->error,
                                 loop_wall_ms(n->loop));
}

static void unsubscribe(struct push_stream *s, const struct push_message *m)
{
    struct subscription *u = find(s, m->id);
    bool ended = summary_unsubscribe(s, m->id);
    if (!u && !ended) {
        push_refuse(s, PUSH_ERROR, &m->id, ERR_NOT_FOUND, "there is no such subscription");
        return;
    }
    if (u)
        drop(u);
    push_tell_plain(s, PUSH_UNSUBSCRIBED, &m->id, 0);
}

void push_take(struct push_stream *s, const struct push_message *m)
{
    struct node *n = s->call->node;
    switch (m->ask) {
    case PUSH_HELLO:
        hello(s, m);
        return;
    case PUSH_SUBSCRIBE:
        subscribe(s, m);
        return;
    case PUSH_UNSUBSCRIBE:
        unsubscribe(s, m);
        return;
    case PUSH_ACK:
        acknowledge(s, m);
        return;
    case PUSH_PING:
        push_tell_plain(s, PUSH_PONG, m->has_id ? &m->id : NULL, kv_revision(n->machine.kv));
        return;
    case PUSH_ASKS:
        break;
    }
    UNREACHABLE("an ask");
}

void pushing_message(struct call *call, struct span text)
{
    struct push_message m;
    const char *detail;
    struct push_stream *s = call->push;
    struct arena scratch;
    if (!s)
        return; /* it has ended */
    arena_open(&scratch, &call->node->pool.alloc);
    enum err e =
        call_has_state(call->node) ? rest_push_read(text, &scratch, &m, &detail) : ERR_UNHEALTHY;
    if (e == ERR_OK)
        push_take(s, &m);
    else
        push_refuse(s, PUSH_ERROR, e == ERR_BAD_REQUEST && m.has_id ? &m.id : NULL, e,
                     e == ERR_UNHEALTHY ? NULL : detail);
    arena_close(&scratch);
}

/* ---- streams ---- */

void pushing_begin(struct call *call)
{
    struct node *n = call->node;
    struct pushing *p = n->pushing;
    struct push_stream *s = mem_zero(&n->alloc, sizeof(*s));
    const struct push_message *asked = call->rest->push;
    s->call = call;
    call->push = s;
    s->next = p->streams;
    if (s->next)
        s->next->prev = s;
    p->streams = s;
    p->n_streams++;
    struct push_place place = elsewhere(n, &n->turn);
    struct buf *b = push_text(s);
    char name[PUSH_STREAM_NAME];
    if (!call->conn->ws) { /* what an EventSource waits */
        say_begin(s, name, sizeof(name));
        buf_format(b, "retry: %lld\n", (long long)place.reconnect_ms);
        call_text(call, buf_all(b));
        b = push_text(s);
    }
    rest_push_welcome(kv_revision(n->machine.kv), n->header.member_id,
                      s->number ? name : NULL, n->params.websocket_ping_interval_ms, &place, b);
    push_send(s, PUSH_WELCOME, 0, buf_all(b), SPAN_NONE);
    if (asked->client.len && asked->topic != PUSH_OF_DELIVERIES) /* else whom it is about */
        hello(s, asked);
    if (asked->ask == PUSH_SUBSCRIBE)
        subscribe(s, asked);
}

void pushing_stands(struct call *call)
{
    struct arena small;
    arena_open_small(&small, call->arena.alloc);
    if (call->caller.said.len)
        call->caller.said = arena_copy(&small, call->caller.said);
    if (call->push->user.len)
        call->push->user = arena_copy(&small, call->push->user);
    arena_close(&call->arena);
    call->arena = small;
    call->n_cors = 0; /* the answer's head is sent */
    call->rest = &call->node->pushing->rest;
}

void pushing_end(struct call *call)
{
    struct push_stream *s = call->push;
    struct node *n = call->node;
    struct pushing *p = n->pushing;
    call->push = NULL;
    if (s->client) /* the entry keeps its subscriptions */
        delivery_gone(p->table, s->client, loop_wall_ms(n->loop));
    for (struct subscription *u = s->first; u; u = u->sibling)
        u->known = NULL;
    while (s->first)
        drop(s->first);
    summary_drop_all(s);
    say_end(s);
    if (s->prev)
        s->prev->next = s->next;
    else
        p->streams = s->next;
    if (s->next)
        s->next->prev = s->prev;
    p->n_streams--;
    mem_free(&n->alloc, s, sizeof(*s));
}

void pushing_stop_all(struct node *n)
{
    for (struct push_stream *s = n->pushing->streams, *next; s; s = next) {
        next = s->next;
        struct push_place place = elsewhere(n, &n->turn);
        struct buf *b = push_text(s);
        rest_push_goodbye(&place, b);
        push_send(s, PUSH_GOODBYE, 0, buf_all(b), SPAN_NONE);
        call_end(s->call, ERR_STOPPED);
    }
}

void pushing_progress(struct node *n)
{
    int64_t revision = kv_revision(n->machine.kv);
    for (struct push_stream *s = n->pushing->streams; s; s = s->next) {
        bool spoke = s->spoke, all = s->n > 0;
        for (const struct subscription *u = s->first; u; u = u->sibling)
            all = all && !u->behind && u->seen <= revision;
        s->spoke = false;
        if (!spoke && all && push_has_room(s))
            push_tell_plain(s, PUSH_PROGRESS, NULL, revision);
    }
}

void pushing_judge(struct node *n)
{
    if (!auth_enabled(n->machine.auth))
        return;
    for (struct push_stream *s = n->pushing->streams; s; s = s->next) {
        summary_judge(s);
        for (struct subscription *u = s->first, *next; u; u = next) {
            next = u->sibling;
            int64_t id = u->id;
            enum err e = permitted(s, u->view->scope);
            if (e == ERR_OK)
                continue;
            n->metrics.watch_denied++;
            drop(u);
            push_refuse(s, PUSH_DENIED, &id, e, NULL);
        }
    }
}

/* ---- changes ---- */

struct heard {
    const struct kv_change **changes;
    size_t n;
    bool environments; /* what some inherit has changed */
};

/* What a view's watchers heard of one revision, in order, without what is about environments. */
static struct heard hear(const struct watch_batch *batches, size_t n, struct arena *arena)
{
    struct heard h = { .n = 0 };
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += batches[i].n;
    h.changes = ARENA_ARRAY(arena, const struct kv_change *, total);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < batches[i].n; k++) {
            const struct kv_change *c = batches[i].changes[k];
            size_t at = h.n;
            if (rest_push_of_environments(kv_key(c->now))) {
                h.environments = true;
                continue;
            }
            for (; at > 0 && h.changes[at - 1]->now->sub > c->now->sub; at--)
                h.changes[at] = h.changes[at - 1];
            h.changes[at] = c;
            h.n++;
        }
    return h;
}

/* True: it looks through other environments than before, and all were told so. */
static bool moved(struct node *n, struct view *v, int64_t revision)
{
    struct span levels[DELIVERY_LEVELS_MAX];
    struct delivery_scope *s = v->scope;
    size_t count = rest_push_levels(n->machine.kv, s, 0, &n->apply, levels);
    bool same = count == s->n_levels;
    for (size_t i = 0; i < count && same; i++)
        same = span_equal(levels[i], s->levels[i]);
    if (same)
        return false;
    delivery_scope_levels(n->pushing->table, s, levels, count);
    view_watch_no_more(n, v);
    view_watch(n, v);
    s->due = revision;
    for (struct subscription *u = v->first, *next; u; u = next) {
        next = u->next;
        catch_up_no_more(u);
        if (permitted(u->stream, s) == ERR_OK) {
            push_tell_plain(u->stream, PUSH_ENVIRONMENT, &u->id, revision);
            continue;
        }
        int64_t id = u->id;
        struct push_stream *stream = u->stream;
        bool last = !u->next && v->first == u;
        drop(u);
        push_refuse(stream, PUSH_DENIED, &id, ERR_PERMISSION_DENIED, NULL);
        if (last)
            break; /* the view has gone with it */
    }
    return true;
}

static void tell_view(struct node *n, struct view *v, const struct watch_batch *batches,
                      size_t count)
{
    struct buf *tail = &n->pushing->tail;
    struct heard h = hear(batches, count, &n->apply);
    int64_t revision = batches[0].changes[0]->now->mod_revision;
    if ((h.environments && moved(n, v, revision)) || !h.n)
        return;
    buf_shrink(tail, KEEP_BYTES);
    if (!rest_push_changes(n->machine.kv, v->scope, h.changes, h.n, &n->apply, tail))
        return;
    v->scope->due = revision;
    for (struct subscription *u = v->first; u; u = u->next) {
        if (u->behind || u->seen >= revision)
            continue;
        if (push_has_room(u->stream)) {
            tell_changes(u, revision, buf_all(tail));
        } else {
            fall_behind(u, revision);
            n->metrics.push_fell_behind++;
        }
    }
}

void pushing_deliver(struct node *n, const struct kv_change *changes, size_t count)
{
    struct watch_batch *batches;
    size_t total;
    watch_match(n->pushing->hub, changes, count, &n->apply, &batches, &total);
    for (size_t i = 0, end; i < total; i = end) {
        struct view *v = batches[i].watcher->owner;
        CHECK(batches[i].watcher->id == OF_VIEW);
        for (end = i + 1; end < total && batches[end].watcher->owner == v; end++)
            ;
        tell_view(n, v, &batches[i], end - i);
    }
}

/* ---- catching up ---- */

static void replay(struct subscription *u, const struct watch_batch *batch)
{
    struct node *n = u->stream->call->node;
    struct buf *tail = &n->pushing->tail;
    struct delivery_scope *s = u->view->scope;
    for (size_t i = 0, end; i < batch->n; i = end) {
        int64_t revision = batch->changes[i]->now->mod_revision;
        for (end = i + 1; end < batch->n; end++)
            if (batch->changes[end]->now->mod_revision != revision)
                break;
        buf_shrink(tail, KEEP_BYTES);
        if (!rest_push_changes(n->machine.kv, s, batch->changes + i, end - i, &n->apply, tail))
            continue;
        if (s->due < revision)
            s->due = revision;
        tell_changes(u, revision, buf_all(tail));
    }
}

static void catch_up(struct subscription *u)
{
    struct node *n = u->stream->call->node;
    struct watch_batch batch;
    bool compacted;
    watch_catch_up(n->pushing->hub, n->machine.kv, u->behind, &n->apply, &batch, &compacted);
    if (!compacted) {
        replay(u, &batch);
        if (!u->behind->synced)
            return;
    }
    catch_up_no_more(u);
    n->metrics.push_compacted += compacted;
    push_tell_plain(u->stream, compacted ? PUSH_COMPACTED : PUSH_PROGRESS, &u->id,
               kv_revision(n->machine.kv));
}

bool pushing_catch_up(struct node *n)
{
    bool moved_on = false;
    for (int i = 0; i < CATCH_UP_PER_TURN; i++) {
        struct watcher *w = watch_next_behind(n->pushing->hub);
        if (!w)
            return false;
        struct subscription *u = w->owner;
        if (!push_has_room(u->stream))
            continue;
        moved_on = true;
        catch_up(u);
        arena_reset(&n->apply);
    }
    return moved_on;
}
