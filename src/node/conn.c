/* Connections: from accept to close. The first bytes tell the protocol; what came in is fed to
 * it; at the turn's end what it made is sent. Nothing is made beyond OUTPUT_BYTES that the
 * socket did not take, and nothing is read meanwhile: a peer that does not read is not listened
 * to. */
#include "node/node_int.h"
#include "base/check.h"

static const struct span preface = { (const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24 };

static void on_ready(void *context, int fd, int events);

/* ---- life ---- */

static struct conn *conn_open(const struct listener *l, int fd)
{
    struct node *n = l->node;
    struct conn *c = mem_zero(&n->alloc, sizeof(*c));
    c->node = n;
    c->fd = fd;
    c->since_ms = loop_now_ms(n->loop);
    buf_open(&c->in, &n->alloc);
    buf_open(&c->out, &n->alloc);
    buf_open(&c->plain, &n->alloc);
    buf_open(&c->author, &n->alloc);
    c->next = n->conns;
    if (c->next)
        c->next->prev = c;
    n->conns = c;
    n->conn_count++;
    c->serves = l->serves;
    c->local = l->local;
    if (l->tls)
        c->tls = tls_open(n->tls, NULL);
    c->events = LOOP_READ;
    loop_watch(n->loop, fd, LOOP_READ, on_ready, c);
    return c;
}

static void conn_free(struct conn *c)
{
    struct node *n = c->node;
    if (c->prev)
        c->prev->next = c->next;
    else
        n->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    n->conn_count--;
    loop_unwatch(n->loop, c->fd);
    tcp_close(c->fd);
    if (c->h2)
        h2_close(c->h2); /* ends its calls */
    if (c->call)
        call_gone(c->call);
    if (c->http1)
        http1_close(c->http1);
    if (c->ws)
        ws_close(c->ws);
    if (c->tls)
        tls_close(c->tls);
    buf_close(&c->in);
    buf_close(&c->out);
    buf_close(&c->plain);
    buf_close(&c->author);
    login_conn_close(c);
    admit_conn_sent(c);
    mem_free(&n->alloc, c, sizeof(*c));
}

/* Clients may not take the descriptors that the log needs. */
void conn_limit(struct node *n)
{
    int64_t all = tcp_descriptors_max();
    int64_t kept = all / 2 < DESCRIPTORS_KEPT ? all / 2 : DESCRIPTORS_KEPT;
    n->connections_max = n->params.connections_max;
    if (n->connections_max <= all - kept)
        return;
    n->connections_max = all - kept;
    slog(SLOG_INFO, "fewer connections than connections-max: the system allows fewer descriptors",
         "connections=%lld descriptors=%lld", (long long)n->connections_max, (long long)all);
}

/* Whoever waits in the backlog would wake us all the time. */
static void pause_accept(struct node *n, bool pause)
{
    if (n->accept_paused == pause)
        return;
    n->accept_paused = pause;
    for (size_t i = 0; i < n->listeners.n; i++)
        loop_change(n->loop, n->listeners.items[i]->fd, pause ? 0 : LOOP_READ);
}

void conn_accept(void *context, int listener, int events)
{
    struct listener *l = context;
    struct node *n = l->node;
    CHECK(events != 0);
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        int fd = tcp_accept(listener);
        if (fd == -2)
            pause_accept(n, true);
        if (fd < 0)
            return;
        if (n->conn_count >= n->connections_max) {
            n->metrics.connections_refused++;
            tcp_close(fd);
            continue;
        }
        n->metrics.connections_accepted++;
        conn_open(l, fd);
    }
}

void conn_touch(struct conn *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->dirty_next = c->node->dirty;
    c->node->dirty = c;
}

size_t conn_queued(const struct conn *c)
{
    return c->out.len + c->plain.len;
}

/* Where the protocols write: in plain when it is still to be encrypted. */
struct buf *conn_output(struct conn *c)
{
    conn_touch(c);
    return c->tls ? &c->plain : &c->out;
}

/* ---- feeding ---- */

static void refuse_http1(struct conn *c, enum err e)
{
    struct rest_answer a;
    rest_problem(e, NULL, &c->node->turn, &a);
    http1_respond(c->http1, a.status, a.headers, a.header_count, a.body, false, conn_output(c));
    c->node->metrics.protocol_errors++;
    c->closing = true;
}

static void feed_http1(struct conn *c, struct span *in)
{
    struct http_request request;
    size_t used;
    while (in->len && !c->call && !c->closing && c->protocol == CONN_HTTP1) {
        enum err e = http1_feed(c->http1, *in, &used);
        *in = span_from(*in, used);
        if (e != ERR_OK) {
            refuse_http1(c, e);
            return;
        }
        if (http1_wants_continue(c->http1))
            buf_text(conn_output(c), "HTTP/1.1 100 Continue\r\n\r\n");
        if (http1_request(c->http1, &request))
            call_http1(c, &request);
    }
}

static void feed_h2(struct conn *c, struct span *in)
{
    enum err e = h2_feed(c->h2, *in);
    *in = SPAN_NONE;
    conn_touch(c);
    if (e != ERR_OK) {
        c->node->metrics.protocol_errors++;
        c->closing = true;
    }
}

/* It lives; but what it sends instead of answering our close wins it no more time. */
static void heard_ws(struct conn *c)
{
    if (ws_ending(c->ws))
        return;
    c->since_ms = loop_now_ms(c->node->loop);
    c->pinged = false;
}

static void feed_ws(struct conn *c, struct span *in)
{
    heard_ws(c);
    enum err e = ws_feed(c->ws, *in, conn_output(c));
    *in = SPAN_NONE;
    if (e != ERR_OK || ws_done(c->ws))
        c->closing = true;
}

static void begin_h2(struct conn *c)
{
    struct node *n = c->node;
    c->protocol = CONN_HTTP2;
    struct h2_limits limits = n->h2_limits;
    limits.any_authority = c->local;
    c->h2 = h2_open(&n->pool.alloc, H2_SERVER, &limits, &call_h2_events, c);
}

/* The first bytes decide: HTTP/2's preface, or a request line (RFC 9113 3.3). */
static bool decide(struct conn *c, struct span in)
{
    size_t n = in.len < preface.len ? in.len : preface.len;
    bool h2 = memcmp(in.data, preface.data, n) == 0;
    if (h2 && n < preface.len)
        return false;
    if (h2) {
        begin_h2(c);
    } else {
        c->protocol = CONN_HTTP1;
        c->http1 = http1_open(&c->node->alloc, &c->node->http1_limits);
    }
    return true;
}

static void feed_once(struct conn *c, struct span *in)
{
    switch (c->protocol) {
    case CONN_NEW:
        CHECK(false);
        return;
    case CONN_HTTP1:
        feed_http1(c, in);
        return;
    case CONN_HTTP2:
        feed_h2(c, in);
        return;
    case CONN_WEBSOCKET:
        feed_ws(c, in);
        return;
    }
}

/* What cannot be eaten yet (an HTTP/1.1 request while one is being answered) is kept. */
static void feed(struct conn *c, struct span in)
{
    if (c->in.len) {
        buf_span(&c->in, in);
        in = buf_all(&c->in);
    }
    struct span rest = in;
    if (c->protocol != CONN_NEW || decide(c, in)) {
        while (rest.len && !c->closing) {
            size_t before = rest.len;
            feed_once(c, &rest);
            if (rest.len == before)
                break;
        }
    }
    if (c->in.len)
        buf_consume(&c->in, c->in.len - rest.len);
    else
        buf_span(&c->in, rest);
    if (!c->in.len)
        buf_close(&c->in);
}

/* An answer is complete: what the peer sent ahead can be eaten. */
void conn_feed_rest(struct conn *c)
{
    if (c->in.len && !c->closing && !c->gone)
        feed(c, SPAN_NONE);
}

static void know_author(struct conn *c)
{
    if (c->tls && tls_ready(c->tls) && !c->tls_seen) {
        c->tls_seen = true;
        tls_peer_name(c->tls, &c->author);
    }
}

static void feed_tls(struct conn *c, struct span in)
{
    struct buf clear;
    bool ended;
    buf_open(&clear, &c->node->alloc);
    enum err e = tls_feed(c->tls, in, &clear, &c->out, &ended);
    conn_touch(c);
    know_author(c);
    if (clear.len)
        feed(c, buf_all(&clear));
    buf_close(&clear);
    if (e != ERR_OK && !c->tls_seen) {
        c->node->metrics.tls_handshakes_failed++;
        slog(SLOG_DEBUG, "TLS handshake failed", "error=%s", slog_quote(tls_why(c->tls)));
    }
    if (e != ERR_OK || ended)
        c->closing = true;
}

static void take_input(struct conn *c)
{
    struct node *n = c->node;
    if (conn_queued(c) >= OUTPUT_BYTES || c->in.len >= INPUT_BYTES || c->closing)
        return;
    long got = tcp_read(c->fd, n->read_buffer, READ_BYTES);
    if (got == TCP_AGAIN)
        return;
    if (got <= 0) {
        c->gone = true;
        conn_touch(c);
        return;
    }
    n->metrics.received_bytes += (uint64_t)got;
    struct span in = span_of(n->read_buffer, (size_t)got);
    if (c->tls)
        feed_tls(c, in);
    else
        feed(c, in);
}

static void on_ready(void *context, int fd, int events)
{
    struct conn *c = context;
    CHECK(c->fd == fd);
    if (c->gone)
        return;
    if (events & LOOP_READ)
        take_input(c);
    if (events & LOOP_WRITE)
        conn_touch(c);
}

/* ---- sending ---- */

/* One buffer serves all connections whose sockets take at once what was made. */
static struct buf *borrow(struct conn *c, struct buf *b)
{
    if (!b->cap) {
        *b = c->node->output_spare;
        buf_open(&c->node->output_spare, &c->node->alloc);
    }
    return b;
}

static void give_back(struct conn *c, struct buf *b)
{
    if (!b->cap)
        return;
    if (c->secret)
        mem_wipe(b->data, b->cap);
    if (c->node->output_spare.cap || b->cap > 2 * OUTPUT_BYTES) {
        buf_close(b);
        return;
    }
    c->node->output_spare = *b;
    buf_reset(&c->node->output_spare);
    buf_open(b, &c->node->alloc);
}

static void make_output(struct conn *c)
{
    if (c->h2 && conn_queued(c) < OUTPUT_BYTES)
        h2_output(c->h2, borrow(c, c->tls ? &c->plain : &c->out), OUTPUT_BYTES);
    if (c->tls && c->plain.len && tls_ready(c->tls)) {
        if (tls_write(c->tls, buf_all(&c->plain), &c->out) != ERR_OK)
            c->closing = true;
        buf_reset(&c->plain);
    }
    if (!c->plain.len)
        give_back(c, &c->plain);
}

static void send_output(struct conn *c)
{
    bool was_full = c->events & LOOP_WRITE;
    size_t done = 0;
    while (done < c->out.len) {
        long sent = tcp_write(c->fd, span_from(buf_all(&c->out), done));
        if (sent == TCP_AGAIN)
            break;
        if (sent < 0) {
            c->gone = true;
            return;
        }
        done += (size_t)sent;
        if (c->ws && was_full)
            heard_ws(c); /* it takes what it had no room for, though we may not be reading */
    }
    c->node->metrics.sent_bytes += done;
    buf_consume(&c->out, done);
    if (!c->out.len)
        give_back(c, &c->out);
    if (was_full && !c->out.len)
        upkeep_again(c->node); /* who is behind has room now, and no socket will tell */
    if (c->answer_bytes && !conn_queued(c))
        admit_conn_sent(c);
}

/* Reading pauses while the peer does not take what we made or said too much ahead. */
static void ask_events(struct conn *c)
{
    bool write = c->out.len > 0;
    bool read = conn_queued(c) < OUTPUT_BYTES && c->in.len < INPUT_BYTES && !c->closing;
    int events = (read ? LOOP_READ : 0) | (write ? LOOP_WRITE : 0);
    if (events != c->events) {
        c->events = events;
        loop_change(c->node->loop, c->fd, events);
    }
}

static void conn_flush(struct conn *c)
{
    for (;;) {
        make_output(c);
        size_t before = c->out.len;
        send_output(c);
        bool more = c->h2 && h2_wants_write(c->h2) && !c->gone;
        if (!more || c->out.len == before || c->out.len)
            break;
    }
    if (c->h2 && h2_done(c->h2))
        c->closing = true;
    if (c->closing && !c->out.len) {
        if (c->tls && !c->said_goodbye) {
            c->said_goodbye = true;
            tls_goodbye(c->tls, &c->out);
            send_output(c);
        }
        c->gone = true;
    }
    if (!c->gone)
        ask_events(c);
}

void conn_turn(struct node *n)
{
    while (n->dirty) {
        struct conn *c = n->dirty;
        n->dirty = c->dirty_next;
        c->dirty = false;
        if (!c->gone)
            conn_flush(c);
        if (c->gone)
            conn_free(c);
    }
}

/* ---- time-outs ---- */

static void time_out(struct conn *c)
{
    c->node->metrics.connections_timed_out++;
    if (c->protocol == CONN_HTTP1 && !http1_idle(c->http1))
        refuse_http1(c, ERR_HEAD_LATE);
    else
        c->closing = true;
    conn_touch(c);
}

/* A quiet peer is asked whether it lives; one that does not answer, or not our close, is dropped:
 * nothing that waits would reach it. */
static void sweep_ws(struct conn *c, int64_t age)
{
    if (age <= c->node->params.websocket_ping_interval_ms)
        return;
    if (c->pinged || ws_ending(c->ws)) {
        c->node->metrics.connections_timed_out++;
        c->gone = true;
        conn_touch(c);
    } else {
        c->pinged = true;
        c->since_ms = loop_now_ms(c->node->loop);
        ws_ping(c->ws, conn_output(c));
    }
}

void conn_sweep(struct node *n)
{
    pause_accept(n, false);
    int64_t now = loop_now_ms(n->loop);
    for (struct conn *c = n->conns; c; c = c->next) {
        int64_t age = now - c->since_ms;
        bool busy = c->call != NULL || c->closing;
        if (c->h2)
            h2_second(c->h2);
        if (c->closing && age > n->params.idle_timeout_ms) {
            c->gone = true; /* it does not take its last bytes */
            conn_touch(c);
        } else if (c->protocol == CONN_NEW && age > n->params.head_timeout_ms) {
            time_out(c);
        } else if (c->protocol == CONN_WEBSOCKET && !c->closing) {
            sweep_ws(c, age);
        } else if (c->protocol == CONN_HTTP1 && !busy) {
            bool idle = http1_idle(c->http1);
            if (age > (idle ? n->params.idle_timeout_ms : n->params.head_timeout_ms))
                time_out(c);
        }
    }
}

void conn_stop_all(struct node *n)
{
    for (struct conn *c = n->conns; c; c = c->next) {
        if (c->h2)
            h2_goaway(c->h2);
        else if (!c->call)
            c->closing = true;
        conn_touch(c);
    }
}

void conn_close_all(struct node *n)
{
    for (struct conn *c = n->conns; c; c = c->next) {
        c->gone = true;
        conn_touch(c);
    }
    conn_turn(n);
}
