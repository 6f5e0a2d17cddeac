#include "node/deliveries.h"
#include "base/check.h"
#include "node/call_int.h"
#include "node/peers.h"
#include "node/pushing.h"

_Static_assert((int)DELIVERY_QUERY_BYTES == (int)PEER_QUERY_MAX, "a query fits");
_Static_assert((int)DELIVERY_PAGE_BYTES * 2 <= (int)PEER_ANSWER_MAX, "a page fits");
_Static_assert((int)RAFT_MEMBERS_MAX <= (int)DELIVERY_PAGES_MAX, "a page of each member");

/* One request, in its call's arena. */
struct gathering {
    struct call *call;
    uint64_t id;
    size_t n, waiting; /* members, and those that have yet to answer */
    struct rest_delivery_member members[RAFT_MEMBERS_MAX];
    struct delivery_page pages[RAFT_MEMBERS_MAX];
    struct loop_timer timer;
};

static void answer(struct gathering *g)
{
    struct call *call = g->call;
    struct node *n = call->node;
    struct rest_answer a;
    struct delivery_page page, answered[RAFT_MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < g->n; i++)
        if (g->members[i].answered)
            answered[count++] = g->pages[i];
    delivery_merge(answered, count, call->rest->deliveries->limit, &call->arena, &page);
    rest_deliveries(&page, g->members, g->n, kv_revision(n->machine.kv), &call->arena, &a);
    deliveries_gone(call);
    call_answer_http(call, &a);
}

static void answer_late(struct gathering *g)
{
    struct conn *c = g->call->conn;
    bool http1 = !g->call->stream;
    answer(g);
    if (http1)
        conn_feed_rest(c);
}

static void on_time(void *context)
{
    struct gathering *g = context;
    g->call->node->metrics.deliveries_partial++;
    answer_late(g);
}

static void take(struct gathering *g, size_t i, struct span bytes)
{
    struct call *call = g->call;
    struct delivery_page *page = &g->pages[i];
    if (delivery_page_read(arena_copy(&call->arena, bytes), &call->arena, page) != ERR_OK)
        return; /* of a build that says it otherwise: as if it had not answered */
    for (size_t k = 0; k < page->n; k++)
        page->entries[k].member = g->members[i].id;
    g->members[i].answered = true;
}

static void add(struct gathering *g, uint64_t id, struct span name, struct span own)
{
    struct node *n = g->call->node;
    size_t i = g->n++;
    struct peer_frame f = { .type = PEER_DELIVERIES };
    struct buf b;
    g->members[i] = (struct rest_delivery_member){ .id = id, .name = name };
    if (id == n->header.member_id) {
        take(g, i, own);
        return;
    }
    buf_open(&b, &n->alloc);
    delivery_query_write(g->call->rest->deliveries, &b);
    f.deliveries.id = g->id;
    f.deliveries.query = buf_all(&b);
    if (peers_version(n, id) >= peer_since(PEER_DELIVERIES) && peers_send(n, id, &f))
        g->waiting++;
    buf_close(&b);
}

void deliveries_begin(struct call *call)
{
    struct node *n = call->node;
    struct buf own;
    if (n->gatherings.n >= DELIVERIES_ASKED_MAX) {
        call_refuse_http(call, ERR_OVERLOADED, NULL);
        return;
    }
    struct gathering *g = ARENA_NEW(&call->arena, struct gathering);
    g->call = call;
    g->id = ++n->gathering_id;
    g->timer = (struct loop_timer){ .callback = on_time, .context = g };
    call->gathering = g;
    VEC_PUSH(&n->gatherings, &n->alloc, g);
    buf_open(&own, &n->alloc);
    delivery_page_write(pushing_table(n), call->rest->deliveries, &own);
    for (size_t i = 0; i < n->cluster.n; i++) {
        const struct member *m = &n->cluster.members[i];
        add(g, m->id, arena_copy(&call->arena, m->info.name), buf_all(&own));
    }
    buf_close(&own);
    if (g->waiting)
        loop_timer_set(n->loop, &g->timer, loop_now_ms(n->loop) + DELIVERIES_WAIT_MS);
    else
        answer(g);
}

void deliveries_gone(struct call *call)
{
    struct node *n = call->node;
    struct gathering *g = call->gathering;
    loop_timer_clear(n->loop, &g->timer);
    call->gathering = NULL;
    size_t i = 0;
    while (n->gatherings.items[i] != g)
        i++;
    n->gatherings.items[i] = n->gatherings.items[--n->gatherings.n];
}

static void asked(struct node *n, uint64_t from, const struct peer_deliveries *d)
{
    struct delivery_query q;
    struct buf page;
    struct peer_frame f = { .type = PEER_DELIVERED };
    if (delivery_query_read(d->query, &q) != ERR_OK)
        return;
    buf_open(&page, &n->alloc);
    delivery_page_write(pushing_table(n), &q, &page);
    f.delivered.id = d->id;
    f.delivered.page = buf_all(&page);
    peers_send(n, from, &f);
    buf_close(&page);
}

static void answered(struct node *n, uint64_t from, const struct peer_delivered *d)
{
    struct gathering *g = NULL;
    for (size_t i = 0; i < n->gatherings.n; i++)
        if (n->gatherings.items[i]->id == d->id)
            g = n->gatherings.items[i];
    for (size_t i = 0; g && i < g->n; i++)
        if (g->members[i].id == from && !g->members[i].answered) {
            take(g, i, d->page);
            g->waiting--;
            break;
        }
    if (!g)
        pushing_answered(n, from, d);
    else if (!g->waiting)
        answer_late(g);
}

void deliveries_frame(struct node *n, uint64_t from, const struct peer_frame *f)
{
    if (f->type == PEER_DELIVERIES)
        asked(n, from, &f->deliveries);
    else
        answered(n, from, &f->delivered);
}
