#include "node/range_stream.h"
#include "base/check.h"
#include "node/node_int.h"

struct range_stream {
    struct call *call;
    struct buf key, range_end; /* what is left of it */
    int64_t revision;
    int64_t sent, limit; /* limit: INT64_MAX when there is none */
    int64_t counted;     /* of what is left, in pieces that are not sent */
    int64_t total;       /* -1: not known yet */
    bool keys_only;
};

static void close_stream(struct range_stream *s)
{
    struct node *n = s->call->node;
    for (size_t i = 0; i < n->range_streams.n; i++)
        if (n->range_streams.items[i] == s)
            n->range_streams.items[i] = n->range_streams.items[--n->range_streams.n];
    s->call->range_stream = NULL;
    buf_close(&s->key);
    buf_close(&s->range_end);
    mem_free(&n->alloc, s, sizeof(*s));
}

void range_stream_gone(struct range_stream *s)
{
    close_stream(s);
}

static void send_piece(struct range_stream *s, struct kv_page *page, bool last)
{
    struct node *n = s->call->node;
    struct etcd_range_piece piece = { .items = page->items,
                                      .n = page->n,
                                      .keys_only = s->keys_only,
                                      .last = last,
                                      .revision = s->revision };
    if (last) {
        piece.count = s->total >= 0 ? s->total : s->sent + s->counted;
        piece.more = piece.count > s->sent;
    }
    etcd_range_piece(&n->header, &piece, &n->apply, call_message_begin(s->call));
    call_message_end(s->call);
    n->metrics.range_stream_pieces++;
    if (last)
        call_end(s->call, ERR_OK); /* closes the stream */
}

/* Leaves in the page what fits one piece, at least one pair. */
static void cut(const struct range_stream *s, struct kv_page *page)
{
    size_t bytes = 0, i = 0;
    for (; i < page->n; i++) {
        const struct kv_version *v = page->items[i];
        bytes += kv_key(v).len + (s->keys_only ? 0 : kv_value(v).len);
        if (i > 0 && bytes > RANGE_STREAM_BYTES)
            break;
    }
    if (i == page->n)
        return;
    page->next = kv_key(page->items[i]);
    page->n = i;
    page->over = false;
}

/* One piece: of pairs, or, when as many are sent as were asked for, of counting the others. */
static void step(struct range_stream *s)
{
    struct node *n = s->call->node;
    int64_t left = s->limit - s->sent;
    struct kv_page page;
    bool counting = left == 0;
    size_t most = counting || left > RANGE_STREAM_KEYS ? RANGE_STREAM_KEYS : (size_t)left;
    enum err e = kv_page(n->machine.kv, buf_all(&s->key), buf_all(&s->range_end), s->revision, most,
                         &n->apply, &page);
    if (e == ERR_OK)
        e = request_barred(&n->machine.alarms, &(struct request){ .type = REQUEST_RANGE });
    if (e != ERR_OK) {
        call_end(s->call, e);
        return;
    }
    if (counting) {
        s->counted += (int64_t)page.n;
        page.n = 0;
    } else {
        cut(s, &page);
    }
    s->sent += (int64_t)page.n;
    bool last = page.over || (s->sent == s->limit && s->total >= 0);
    buf_reset(&s->key);
    buf_span(&s->key, page.next);
    if (page.n || last)
        send_piece(s, &page, last);
}

void range_stream_begin(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    int64_t newest = kv_revision(n->machine.kv);
    struct request count = *r;
    struct reply reply;
    count.range.count_only = true;
    enum err e = machine_permits(&n->machine, r);
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    if (n->range_streams.n >= (size_t)n->params.range_streams_max) {
        n->metrics.range_streams_refused++;
        call_end(call, ERR_TOO_MANY_REQUESTS);
        return;
    }
    n->metrics.range_streams++;
    bool now = r->range.revision <= 0 || r->range.revision == newest;
    struct range_stream *s = mem_zero(&n->alloc, sizeof(*s));
    s->call = call;
    s->revision = now ? newest : r->range.revision;
    s->limit = r->range.limit > 0 ? r->range.limit : INT64_MAX;
    s->total = -1;
    s->keys_only = r->range.keys_only;
    buf_open(&s->key, &n->alloc);
    buf_open(&s->range_end, &n->alloc);
    buf_span(&s->key, r->range.key);
    buf_span(&s->range_end, r->range.range_end);
    call->range_stream = s;
    VEC_PUSH(&n->range_streams, &n->alloc, s);
    if (r->range.count_only || now) { /* the newest costs next to nothing to count */
        pump_read(n, &count, &n->apply, &reply);
        s->total = reply.err == ERR_OK ? reply.range.count : -1;
        if (reply.err != ERR_OK) {
            call_end(call, reply.err);
            return;
        }
        if (r->range.count_only) {
            struct kv_page none = { .n = 0 };
            s->sent = s->total; /* there is no more */
            send_piece(s, &none, true);
            return;
        }
    }
    step(s);
}

static bool has_room(const struct range_stream *s)
{
    return call_queued(s->call) < RANGE_STREAM_QUEUE_BYTES;
}

bool range_stream_turn(struct node *n)
{
    bool more = false;
    int pieces = 0;
    size_t count = n->range_streams.n;
    for (size_t i = 0; i < count && pieces < RANGE_STREAM_PIECES_PER_TURN; i++) {
        if (!n->range_streams.n) /* who ends here leaves the list */
            break;
        struct range_stream *s = n->range_streams.items[n->range_stream_at++ % n->range_streams.n];
        if (!has_room(s))
            continue;
        step(s);
        arena_reset(&n->apply);
        pieces++;
        more = true;
    }
    return more;
}
