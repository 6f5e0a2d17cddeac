/* One connection between members: TLS, frames, and what waits for the socket. */
#include "base/check.h"
#include "node/node_int.h"
#include "node/peers_int.h"

/* ---- queues ---- */

static size_t queue_len(const struct queue *q)
{
    return q->buf.len - q->start;
}

static struct span queue_all(const struct queue *q)
{
    return span_of(q->buf.data + q->start, queue_len(q));
}

/* Moving the rest to the front costs no more than what was dropped before. */
static void queue_drop(struct queue *q, size_t n)
{
    CHECK(n <= queue_len(q));
    q->start += n;
    if (q->start == q->buf.len) {
        buf_shrink(&q->buf, KEEP_BYTES);
        q->start = 0;
    } else if (q->start > q->buf.len / 2) {
        buf_consume(&q->buf, q->start);
        q->start = 0;
    }
}

/* ---- life ---- */

static void on_ready(void *context, int fd, int events);

void link_open(struct link *l, struct node *n, int fd, struct tls *tls, void *owner,
               void (*on_frame)(void *owner, const struct peer_frame *f))
{
    CHECK(!l->n && fd >= 0);
    *l = (struct link){ .n = n, .fd = fd, .tls = tls, .owner = owner, .on_frame = on_frame };
    l->frame_max = PEER_GREETING_MAX;
    l->events = LOOP_READ;
    peer_reader_open(&l->reader, &n->alloc);
    buf_open(&l->plain.buf, &n->alloc);
    buf_open(&l->wire.buf, &n->alloc);
    tcp_keep(fd, PEER_SILENCE_MS);
    loop_watch(n->loop, fd, LOOP_READ, on_ready, l);
    if (tls && tls_start(tls, &l->wire.buf) != ERR_OK)
        link_break(l, tls_why(tls));
}

void link_close(struct link *l)
{
    if (!l->n)
        return;
    loop_unwatch(l->n->loop, l->fd);
    tcp_close(l->fd);
    if (l->tls)
        tls_close(l->tls);
    peer_reader_close(&l->reader);
    buf_close(&l->plain.buf);
    buf_close(&l->wire.buf);
    l->n = NULL;
}

void link_break(struct link *l, const char *why)
{
    if (l->broken)
        return;
    l->broken = true;
    l->why = why;
    peers_wake(l->n->peers, loop_now_ms(l->n->loop));
}

void link_offend(struct link *l, const char *why)
{
    if (!l->broken)
        l->n->metrics.peer_errors++;
    link_break(l, why);
}

/* ---- sending ---- */

size_t link_queued(const struct link *l)
{
    return l->n ? queue_len(&l->plain) + queue_len(&l->wire) : 0;
}

void link_agree(struct link *l, uint8_t version)
{
    CHECK(l->n && version);
    l->reader.version = version;
}

void link_send(struct link *l, const struct peer_frame *f)
{
    peer_encode(f, l->reader.version, l->tls ? &l->plain.buf : &l->wire.buf);
    l->n->metrics.peer_frames_sent++;
}

static void encrypt(struct link *l)
{
    while (l->tls && tls_ready(l->tls) && queue_len(&l->plain) &&
           queue_len(&l->wire) < WIRE_BYTES) {
        struct span some = queue_all(&l->plain);
        if (some.len > WIRE_BYTES)
            some.len = WIRE_BYTES;
        if (tls_write(l->tls, some, &l->wire.buf) != ERR_OK)
            link_break(l, tls_why(l->tls));
        queue_drop(&l->plain, some.len);
    }
}

static void ask_events(struct link *l)
{
    int events = LOOP_READ | (l->blocked ? LOOP_WRITE : 0);
    if (events != l->events)
        loop_change(l->n->loop, l->fd, events);
    l->events = events;
}

void link_write(struct link *l)
{
    while (!l->broken && !l->blocked) {
        encrypt(l);
        if (!queue_len(&l->wire))
            break;
        long sent = tcp_write(l->fd, queue_all(&l->wire));
        if (sent == TCP_AGAIN) {
            l->blocked = true;
        } else if (sent < 0) {
            link_break(l, "it broke");
        } else {
            l->n->metrics.peer_sent_bytes += (uint64_t)sent;
            if (l->metrics)
                l->metrics->sent_bytes += (uint64_t)sent;
            queue_drop(&l->wire, (size_t)sent);
        }
    }
    ask_events(l);
}

/* ---- receiving ---- */

static void take_frames(struct link *l, struct span in)
{
    struct arena *arena = &l->n->peers->arena;
    struct peer_frame f;
    struct span frame;
    bool got = true;
    while (!l->broken) {
        enum err e = peer_reader_next(&l->reader, &in, l->frame_max, &frame, &got);
        if (e == ERR_OK && !got)
            return;
        if (e == ERR_OK)
            e = peer_decode(frame, l->reader.version, arena, &f);
        if (e != ERR_OK) {
            link_offend(l, e == ERR_FORMAT ? "another version than was chosen" : "damaged bytes");
            return;
        }
        l->n->metrics.peer_frames_received++;
        l->on_frame(l->owner, &f);
        arena_reset(arena);
    }
}

static void take_encrypted(struct link *l, struct span in)
{
    struct buf *clear = &l->n->peers->clear;
    bool ended;
    buf_shrink(clear, KEEP_BYTES);
    enum err e = tls_feed(l->tls, in, clear, &l->wire.buf, &ended);
    link_write(l); /* the handshake, or what it broke of; and what has waited for its end */
    take_frames(l, buf_all(clear));
    if (e != ERR_OK)
        link_offend(l, tls_why(l->tls));
    else if (ended)
        link_break(l, "it was ended");
}

static void on_ready(void *context, int fd, int events)
{
    struct link *l = context;
    CHECK(l->n && l->fd == fd);
    if (events & LOOP_WRITE)
        l->blocked = false; /* the turn's end writes */
    if (l->broken || !(events & LOOP_READ))
        return;
    long got = tcp_read(fd, l->n->read_buffer, PEER_READ_BYTES);
    if (got == TCP_AGAIN)
        return;
    if (got <= 0) {
        link_break(l, got == 0 ? "it was ended" : "it broke");
        return;
    }
    l->n->metrics.peer_received_bytes += (uint64_t)got;
    if (l->metrics)
        l->metrics->received_bytes += (uint64_t)got;
    struct span in = span_of(l->n->read_buffer, (size_t)got);
    if (l->tls)
        take_encrypted(l, in);
    else
        take_frames(l, in);
}
