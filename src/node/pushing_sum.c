/* Subscriptions to who runs what: a summary of it, told when it has changed.
 *
 * All who ask the same share a summary. Once a second each member is asked for its own (PEER_4: a
 * page without clients, but with a mark of all that a page would tell), and what they answer in
 * that second is put together; a member that is silent is named. So nothing is kept for those who
 * look but do not run, and it costs nothing when nobody looks. */
#include "base/check.h"
#include "base/hash.h"
#include "node/peers.h"
#include "node/pushing_int.h"

struct summary_sub {
    struct push_stream *stream;
    struct summary *of;
    struct summary_sub *next, *sibling; /* of the summary; of the stream */
    int64_t id;
};

struct summary {
    struct summary *next;
    struct summary_sub *first;
    struct buf query; /* as it is sent; what asks spans into it */
    struct delivery_query asks;
    /* of the second: */
    struct arena arena;
    uint64_t id;
    size_t n, waiting;
    struct rest_delivery_member members[RAFT_MEMBERS_MAX];
    struct delivery_page pages[RAFT_MEMBERS_MAX];
    /* what was told: */
    bool known;
    uint64_t mark;
    struct buf tail;
};

enum { SUMMARY_SINCE = 4 }; /* PEER_VERSION: DELIVERIES may ask for a summary */

/* ---- telling ---- */

static void tell(struct summary_sub *u)
{
    struct push_stream *s = u->stream;
    struct buf *b = push_text(s);
    if (!push_has_room(s))
        return; /* the next one says more */
    rest_push_head(PUSH_DELIVERIES, u->id, b);
    push_send(s, PUSH_DELIVERIES, 0, buf_all(b), buf_all(&u->of->tail));
    s->spoke = true;
}

static void take(struct summary *y, size_t i, struct span bytes)
{
    struct delivery_page *page = &y->pages[i];
    if (delivery_page_read(arena_copy(&y->arena, bytes), &y->arena, page) != ERR_OK)
        return;
    if (!page->mark) /* of a build that has none: of what it says of its first client */
        page->mark = hash_bytes(bytes, 1);
    y->members[i].answered = true;
}

/* What has come is told, if it is news. */
static void settle(struct node *n, struct summary *y)
{
    struct delivery_page page, answered[RAFT_MEMBERS_MAX];
    uint64_t mark = 1;
    size_t count = 0;
    y->waiting = 0;
    for (size_t i = 0; i < y->n; i++) {
        uint64_t one[] = { y->members[i].id, y->members[i].answered ? y->pages[i].mark : 0 };
        mark = hash_bytes(span_of(one, sizeof(one)), mark);
        if (y->members[i].answered)
            answered[count++] = y->pages[i];
    }
    if (y->known && mark == y->mark)
        return;
    delivery_merge(answered, count, 1, &y->arena, &page);
    buf_reset(&y->tail);
    rest_push_deliveries(&page, y->members, y->n, kv_revision(n->machine.kv), &y->tail);
    y->known = true;
    y->mark = mark;
    for (struct summary_sub *u = y->first; u; u = u->next)
        tell(u);
}

/* ---- asking ---- */

static void ask_member(struct node *n, struct summary *y, const struct member *m, struct span own)
{
    struct peer_frame f = { .type = PEER_DELIVERIES };
    struct delivery_query older = y->asks;
    struct buf b;
    size_t i = y->n++;
    y->members[i] =
        (struct rest_delivery_member){ m->id, arena_copy(&y->arena, m->info.name), false };
    if (m->id == n->header.member_id) {
        take(y, i, own);
        return;
    }
    unsigned version = peers_version(n, m->id);
    older.summary = false;
    buf_open(&b, &n->alloc);
    delivery_query_write(&older, &b);
    f.deliveries.id = y->id;
    f.deliveries.query = version >= SUMMARY_SINCE ? buf_all(&y->query) : buf_all(&b);
    if (version >= peer_since(PEER_DELIVERIES) && peers_send(n, m->id, &f))
        y->waiting++;
    buf_close(&b);
}

static void ask(struct node *n, struct summary *y)
{
    struct buf own;
    arena_reset(&y->arena);
    y->id = ++n->gathering_id;
    y->n = y->waiting = 0;
    buf_open(&own, &n->alloc);
    delivery_page_write(n->pushing->table, &y->asks, &own);
    for (size_t i = 0; i < n->cluster.n; i++)
        ask_member(n, y, &n->cluster.members[i], buf_all(&own));
    buf_close(&own);
    if (!y->waiting)
        settle(n, y);
}

void summary_second(struct node *n)
{
    for (struct summary *y = n->pushing->summaries; y; y = y->next) {
        if (y->waiting)
            settle(n, y); /* without those that are silent */
        ask(n, y);
    }
}

void pushing_answered(struct node *n, uint64_t from, const struct peer_delivered *d)
{
    struct summary *y = n->pushing->summaries;
    while (y && (y->id != d->id || !y->waiting))
        y = y->next;
    for (size_t i = 0; y && i < y->n; i++)
        if (y->members[i].id == from && !y->members[i].answered) {
            take(y, i, d->page);
            if (--y->waiting == 0)
                settle(n, y);
            return;
        }
}

/* ---- subscriptions ---- */

/* NULL: there are too many. */
static struct summary *summary_of(struct node *n, const struct push_message *m)
{
    struct pushing *p = n->pushing;
    struct delivery_query q;
    struct buf bytes;
    rest_push_query(m, &q);
    buf_open(&bytes, &n->alloc);
    delivery_query_write(&q, &bytes);
    struct summary *y = p->summaries;
    while (y && !span_equal(buf_all(&y->query), buf_all(&bytes)))
        y = y->next;
    if (y || p->n_summaries == PUSH_SUMMARIES_MAX) {
        buf_close(&bytes);
        return y;
    }
    y = mem_zero(&n->alloc, sizeof(*y));
    y->query = bytes;
    enum err e = delivery_query_read(buf_all(&y->query), &y->asks);
    CHECK(e == ERR_OK);
    arena_open(&y->arena, &n->alloc);
    buf_open(&y->tail, &n->alloc);
    y->next = p->summaries;
    p->summaries = y;
    p->n_summaries++;
    return y;
}

static void summary_close(struct node *n, struct summary *y)
{
    struct summary **at = &n->pushing->summaries;
    while (*at != y)
        at = &(*at)->next;
    *at = y->next;
    n->pushing->n_summaries--;
    arena_close(&y->arena);
    buf_close(&y->query);
    buf_close(&y->tail);
    mem_free(&n->alloc, y, sizeof(*y));
}

static void drop(struct summary_sub *u)
{
    struct push_stream *s = u->stream;
    struct node *n = s->call->node;
    struct summary_sub **at = &s->sums, **in = &u->of->first;
    while (*at != u)
        at = &(*at)->sibling;
    *at = u->sibling;
    while (*in != u)
        in = &(*in)->next;
    *in = u->next;
    if (!u->of->first)
        summary_close(n, u->of);
    s->n--;
    mem_free(&n->alloc, u, sizeof(*u));
}

static enum err permitted(struct push_stream *s, const struct delivery_query *q)
{
    struct arena scratch;
    arena_open(&scratch, &s->call->node->alloc);
    struct push_range range = rest_push_delivered(q, &scratch);
    enum err e = push_permits(s, &range, 1);
    arena_close(&scratch);
    return e;
}

void summary_subscribe(struct push_stream *s, const struct push_message *m)
{
    struct node *n = s->call->node;
    struct delivery_query q;
    rest_push_query(m, &q);
    enum err e = permitted(s, &q);
    if (e != ERR_OK) {
        n->metrics.watch_denied++;
        push_refuse(s, PUSH_DENIED, &m->id, e, NULL);
        return;
    }
    struct summary *y = summary_of(n, m);
    if (!y) {
        push_refuse(s, PUSH_ERROR, &m->id, ERR_OVERLOADED,
                    "this node watches 64 different deliveries, and takes no more");
        return;
    }
    struct summary_sub *u = mem_zero(&n->alloc, sizeof(*u));
    *u = (struct summary_sub){ s, y, y->first, s->sums, m->id };
    y->first = u;
    s->sums = u;
    s->n++;
    push_tell_plain(s, PUSH_SUBSCRIBED, &u->id, kv_revision(n->machine.kv));
    if (y->known)
        tell(u);
    else if (!y->waiting)
        ask(n, y);
}

bool summary_find(const struct push_stream *s, int64_t id)
{
    const struct summary_sub *u = s->sums;
    while (u && u->id != id)
        u = u->sibling;
    return u != NULL;
}

bool summary_unsubscribe(struct push_stream *s, int64_t id)
{
    struct summary_sub *u = s->sums;
    while (u && u->id != id)
        u = u->sibling;
    if (u)
        drop(u);
    return u != NULL;
}

void summary_drop_all(struct push_stream *s)
{
    while (s->sums)
        drop(s->sums);
}

void summary_judge(struct push_stream *s)
{
    for (struct summary_sub *u = s->sums, *next; u; u = next) {
        int64_t id = u->id;
        next = u->sibling;
        enum err e = permitted(s, &u->of->asks);
        if (e == ERR_OK)
            continue;
        s->call->node->metrics.watch_denied++;
        drop(u);
        push_refuse(s, PUSH_DENIED, &id, e, NULL);
    }
}
