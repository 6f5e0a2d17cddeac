/* io/tcp between hosts: bytes of a connection stay in order and come whole or not at all; links are
 * slow, late, or blocked for a while, each direction for itself; connections break. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "io/loop/loop.h"
#include "io/tcp/tcp.h"
#include "world.h"

enum {
    WINDOW_MIN = 4 << 10, /* bytes on the way to a socket and not yet read from it */
    WINDOW_MAX = 256 << 10,
    FIRST_FD = 100,
    DIAL_TRIES = 6, /* of a connection's first message, when the link is blocked */
    BACKLOG_MAX = 128,
};

enum kind { BYTES, END, RESET, ACCEPTED };

struct segment {
    struct segment *next;
    int64_t at_us;
    enum kind kind;
    size_t len;
    uint8_t data[];
};

struct sock {
    int fd;
    struct host *host, *far;
    struct sock *peer; /* NULL: it is closed, or knows nothing of us any more */
    enum { LISTENING, DIALING, OPEN, BROKEN } state;
    int port;
    VEC(int) backlog; /* accepted by the host, not yet by the process */
    struct segment *first, *last; /* on the way to this one */
    struct buf in;                /* come, not yet read */
    bool ended, delivering;
    size_t flying, window;
    int tries;
    bool refused;
    int64_t newest_us, keep_us;

    /* the loop's, or a client's */
    int events;
    void (*callback)(void *, int, int);
    void *context;
    void (*notify)(void *);
    bool notified;
};

struct net_link net_links[HOSTS_MAX][HOSTS_MAX];
static VEC(struct sock *) socks; /* by fd - FIRST_FD; NULL: closed */
static uint16_t client_port;

/* ---- sockets ---- */

static struct sock *sock_of(int fd)
{
    CHECK(fd >= FIRST_FD && (size_t)(fd - FIRST_FD) < socks.n);
    return socks.items[fd - FIRST_FD];
}

static struct sock *sock_open(struct host *h, struct host *far)
{
    struct sock *s = mem_zero(&world_heap, sizeof(*s));
    s->fd = FIRST_FD + (int)socks.n;
    s->host = h;
    s->far = far;
    s->window = (size_t)world_between(WINDOW_MIN, WINDOW_MAX);
    buf_open(&s->in, &world_heap);
    VEC_PUSH(&socks, &world_heap, s);
    return s;
}

static void drop_segments(struct sock *s)
{
    while (s->first) {
        struct segment *x = s->first;
        s->first = x->next;
        mem_free(&world_heap, x, sizeof(*x) + x->len);
    }
    s->last = NULL;
}

static void sock_free(struct sock *s)
{
    drop_segments(s);
    buf_close(&s->in);
    VEC_CLOSE(&s->backlog, &world_heap);
    socks.items[s->fd - FIRST_FD] = NULL;
    mem_free(&world_heap, s, sizeof(*s));
}

static void do_notify(void *context, uint64_t fd)
{
    struct sock *s = sock_of((int)fd);
    CHECK(context == NULL);
    if (s) {
        s->notified = false;
        s->notify(s->context);
    }
}

/* Something may have become possible. */
static void tell(struct sock *s)
{
    if (s->notify && !s->notified) {
        s->notified = true;
        world_call(world_us, do_notify, NULL, (uint64_t)s->fd);
    }
    if (s->callback && net_ready(s))
        host_kick(s->host, world_us);
}

/* ---- on the way ---- */

static int64_t way_us(const struct host *from, const struct host *to, size_t len)
{
    const struct net_link *link = &net_links[from->number][to->number];
    int64_t us = link->delay_us + world_between(0, link->jitter_us);
    if (link->bytes_per_second)
        us += (int64_t)len * SECOND / link->bytes_per_second;
    return us;
}

/* Nothing gets through, or nobody would answer. */
static bool is_blocked(const struct host *from, const struct host *to)
{
    return net_links[from->number][to->number].blocked_us != 0 || to->dark;
}

void net_block(const struct host *from, const struct host *to, bool on)
{
    struct net_link *link = &net_links[from->number][to->number];
    if (on && !link->blocked_us)
        link->blocked_us = world_us;
    else if (!on)
        link->blocked_us = 0;
}

static void arrive(struct sock *s, const struct segment *x);

static void deliver(void *context, uint64_t fd)
{
    struct sock *s = sock_of((int)fd);
    CHECK(context == NULL);
    if (!s)
        return;
    s->delivering = false;
    struct segment *x = s->first;
    if (!x)
        return;
    if (is_blocked(s->far, s->host)) { /* it is sent again and again */
        s->delivering = true;
        world_call(world_us + world_between(20 * MS, 400 * MS), deliver, NULL, fd);
        return;
    }
    s->first = x->next;
    if (!s->first)
        s->last = NULL;
    if (s->first) {
        s->delivering = true;
        world_call(s->first->at_us, deliver, NULL, fd);
    }
    arrive(s, x);
    mem_free(&world_heap, x, sizeof(*x) + x->len);
}

static void post(struct sock *to, enum kind kind, struct span data, int64_t later_us)
{
    struct segment *x = mem_alloc(&world_heap, sizeof(*x) + data.len);
    int64_t at_us = world_us + later_us + way_us(to->far, to->host, data.len);
    if (at_us < to->newest_us)
        at_us = to->newest_us;
    to->newest_us = at_us;
    *x = (struct segment){ .at_us = at_us, .kind = kind, .len = data.len };
    if (data.len)
        memcpy(x->data, data.data, data.len);
    counts[COUNT_BYTES] += data.len;
    if (to->last)
        to->last->next = x;
    else
        to->first = x;
    to->last = x;
    if (!to->delivering) {
        to->delivering = true;
        world_call(at_us, deliver, NULL, (uint64_t)to->fd);
    }
}

static void broken(struct sock *s)
{
    s->state = BROKEN;
    if (s->peer)
        s->peer->peer = NULL;
    s->peer = NULL;
    tell(s);
}

/* Something was sent to a socket that is no more: its host says so. */
static void ask_the_dead(struct sock *s)
{
    if (!s->peer && s->state == OPEN && !s->first && !s->ended)
        post(s, RESET, SPAN_NONE, way_us(s->host, s->far, 0));
}

static struct sock *listener_of(const struct host *h, int port)
{
    for (size_t i = 0; i < socks.n; i++) {
        struct sock *s = socks.items[i];
        if (s && s->host == h && s->state == LISTENING && s->port == port)
            return s;
    }
    return NULL;
}

/* The first message of a connection has come to the other host. */
static void dialed(struct sock *from)
{
    struct host *h = from->far;
    struct sock *l = h->up ? listener_of(h, from->port) : NULL;
    if (!l || l->backlog.n >= BACKLOG_MAX) {
        post(from, RESET, SPAN_NONE, 0);
        return;
    }
    struct sock *s = sock_open(h, from->host);
    s->state = OPEN;
    s->peer = from;
    from->peer = s;
    VEC_PUSH(&l->backlog, &world_heap, s->fd);
    tell(l);
    post(from, ACCEPTED, SPAN_NONE, 0);
}

static void dial_again(void *context, uint64_t fd)
{
    struct sock *s = sock_of((int)fd);
    CHECK(context == NULL);
    if (!s || s->state != DIALING || s->peer)
        return;
    if (!is_blocked(s->host, s->far))
        dialed(s);
    else if (++s->tries >= DIAL_TRIES)
        broken(s);
    else
        world_call(world_us + (SECOND << s->tries), dial_again, NULL, fd);
}

static void arrive(struct sock *s, const struct segment *x)
{
    switch (x->kind) {
    case BYTES:
        if (s->state == OPEN || s->state == DIALING)
            buf_put(&s->in, x->data, x->len);
        break;
    case END:
        s->ended = true;
        break;
    case RESET:
        s->refused = s->state == DIALING;
        buf_reset(&s->in);
        broken(s);
        return;
    case ACCEPTED:
        if (s->state == DIALING)
            s->state = OPEN;
        break;
    }
    tell(s);
}

static struct sock *dial(struct host *from, struct host *to, int port)
{
    struct sock *s = sock_open(from, to);
    s->state = DIALING;
    s->port = port;
    counts[COUNT_CONNECTIONS]++;
    world_call(world_us + way_us(from, to, 0), dial_again, NULL, (uint64_t)s->fd);
    return s;
}

static struct host *host_of(const char *address)
{
    for (int i = 0; i < n_hosts; i++)
        if (strcmp(hosts[i].address, address) == 0)
            return &hosts[i];
    return NULL;
}

/* ---- ends ---- */

/* The kernel tells the other side; what was not read makes it a reset. */
static void sock_close(struct sock *s, int64_t later_us, bool reset)
{
    struct sock *peer = s->peer;
    for (size_t i = 0; i < s->backlog.n; i++)
        if (sock_of(s->backlog.items[i]))
            sock_close(sock_of(s->backlog.items[i]), 0, true);
    if (peer) {
        peer->peer = NULL;
        if (reset || s->in.len || s->first)
            post(peer, RESET, SPAN_NONE, later_us);
        else
            post(peer, END, SPAN_NONE, later_us);
    }
    sock_free(s);
}

void net_host_ended(struct host *h, bool power)
{
    for (size_t i = 0; i < socks.n; i++) {
        struct sock *s = socks.items[i];
        if (s && s->host == h) /* after a power failure nobody is told, until they ask again */
            sock_close(s, power ? world_between(200 * MS, 10 * SECOND) : 0,
                       power || world_chance(50));
    }
}

void net_break_some(int percent)
{
    for (size_t i = 0; i < socks.n; i++) {
        struct sock *s = socks.items[i];
        if (!s || !s->peer || s->state != OPEN || !world_chance(percent))
            continue;
        struct sock *peer = s->peer;
        s->peer = peer->peer = NULL;
        post(s, RESET, SPAN_NONE, world_between(0, SECOND));
        post(peer, RESET, SPAN_NONE, world_between(0, SECOND));
    }
}

void net_open(void)
{
    memset(net_links, 0, sizeof(net_links));
    client_port = 30000;
}

void net_close(void)
{
    for (size_t i = 0; i < socks.n; i++)
        if (socks.items[i])
            sock_free(socks.items[i]);
    VEC_CLOSE(&socks, &world_heap);
}

/* ---- for clients and the loop ---- */

int net_dial(struct host *from, const char *host, int port, void (*notify)(void *), void *context)
{
    struct host *to = host_of(host);
    CHECK(to != NULL);
    struct sock *s = dial(from, to, port);
    s->notify = notify;
    s->context = context;
    return s->fd;
}

bool net_is_open(int fd)
{
    return sock_of(fd)->state == OPEN;
}

struct sock *net_next(struct host *h, const struct sock *after)
{
    for (size_t i = after ? (size_t)(after->fd - FIRST_FD) + 1 : 0; i < socks.n; i++)
        if (socks.items[i] && socks.items[i]->host == h && socks.items[i]->callback)
            return socks.items[i];
    return NULL;
}

int net_fd(const struct sock *s)
{
    return s->fd;
}

int net_ready(const struct sock *s)
{
    bool read = s->in.len || s->ended || s->backlog.n, write = false;
    if (s->state == OPEN)
        write = !s->peer || s->peer->flying < s->peer->window;
    if (s->state == BROKEN)
        read = write = true;
    return ((read ? LOOP_READ : 0) | (write ? LOOP_WRITE : 0)) & s->events;
}

void net_watch(int fd, int events, void (*callback)(void *, int, int), void *context)
{
    struct sock *s = sock_of(fd);
    CHECK(s && !s->callback && callback && s->host == host_here);
    s->events = events;
    s->callback = callback;
    s->context = context;
}

void net_change(int fd, int events)
{
    CHECK(sock_of(fd) && sock_of(fd)->callback);
    sock_of(fd)->events = events;
}

void net_unwatch(int fd)
{
    CHECK(sock_of(fd) && sock_of(fd)->callback);
    sock_of(fd)->callback = NULL;
}

void net_call(int fd, int events)
{
    struct sock *s = sock_of(fd);
    if (s && s->callback)
        s->callback(s->context, fd, events);
}

/* ---- tcp.h ---- */

enum err tcp_parse(const char *text, struct tcp_address *out, bool *tls)
{
    if (tls)
        *tls = strncmp(text, "https://", 8) == 0;
    if (strncmp(text, "http://", 7) == 0)
        text += 7;
    const char *colon = strrchr(text, ':');
    if (!colon || colon - text >= (long)sizeof(out->host) || strlen(colon) > 6)
        return ERR_BAD_REQUEST;
    snprintf(out->host, sizeof(out->host), "%.*s", (int)(colon - text), text);
    snprintf(out->port, sizeof(out->port), "%.6s", colon + 1);
    return ERR_OK;
}

/* So that nodes may listen without TLS. */
bool tcp_is_loopback(const struct tcp_address *a)
{
    return host_of(a->host) != NULL;
}

enum err tcp_listen(const struct tcp_address *a, int *fd, char *why)
{
    CHECK(host_here && strcmp(a->host, host_here->address) == 0);
    if (listener_of(host_here, atoi(a->port))) {
        snprintf(why, TCP_WHY_MAX, "%s: in use", a->port);
        return ERR_IO;
    }
    struct sock *s = sock_open(host_here, NULL);
    s->state = LISTENING;
    s->port = atoi(a->port);
    *fd = s->fd;
    return ERR_OK;
}

uint16_t tcp_port(int fd)
{
    return (uint16_t)sock_of(fd)->port;
}

int64_t tcp_descriptors_max(void)
{
    return INT32_MAX;
}

int tcp_accept(int listener)
{
    struct sock *l = sock_of(listener);
    CHECK(l->state == LISTENING && l->host == host_here);
    while (l->backlog.n) {
        int fd = l->backlog.items[0];
        l->backlog.n--;
        memmove(l->backlog.items, l->backlog.items + 1, l->backlog.n * sizeof(int));
        if (sock_of(fd))
            return fd;
    }
    return -1;
}

enum err tcp_connect(const struct tcp_address *a, int64_t timeout_ms, int *fd, char *why)
{
    (void)a, (void)timeout_ms, (void)fd, (void)why;
    UNREACHABLE("a node does not wait for connections");
}

enum err tcp_connect_start(const struct tcp_address *a, int *fd, bool *refused, char *why)
{
    struct host *to = host_of(a->host);
    CHECK(host_here && why);
    *refused = false;
    if (!to)
        return ERR_NOT_FOUND;
    *fd = dial(host_here, to, atoi(a->port))->fd;
    return ERR_OK;
}

enum err tcp_connect_done(int fd, bool *refused, char *why)
{
    const struct sock *s = sock_of(fd);
    *refused = s->refused;
    snprintf(why, TCP_WHY_MAX, "%s", s->refused ? "refused" : "timed out");
    return s->state == OPEN ? ERR_OK : ERR_IO;
}

size_t tcp_resolve(const struct tcp_address *a, struct tcp_address *out, size_t max, char *why)
{
    CHECK(a && out && max);
    snprintf(why, TCP_WHY_MAX, "%.200s: no such host", a->host);
    return 0;
}

static void keep_check(void *context, uint64_t fd)
{
    struct sock *s = sock_of((int)fd);
    CHECK(context == NULL);
    if (!s || s->state == BROKEN)
        return;
    int64_t out_us = net_links[s->host->number][s->far->number].blocked_us;
    int64_t in_us = net_links[s->far->number][s->host->number].blocked_us;
    if ((out_us && world_us - out_us > s->keep_us) || (in_us && world_us - in_us > s->keep_us))
        broken(s);
    else
        ask_the_dead(s);
    if (s->state != BROKEN)
        world_call(world_us + SECOND, keep_check, NULL, fd);
}

void tcp_keep(int fd, int64_t silence_ms)
{
    struct sock *s = sock_of(fd);
    s->keep_us = silence_ms * MS;
    world_call(world_us + SECOND, keep_check, NULL, (uint64_t)fd);
}

long tcp_read(int fd, void *data, size_t len)
{
    struct sock *s = sock_of(fd);
    CHECK(s && (!host_here || s->host == host_here));
    if (s->state == BROKEN)
        return TCP_GONE;
    if (!s->in.len)
        return s->ended ? 0 : TCP_AGAIN;
    size_t n = s->in.len < len ? s->in.len : len;
    if (n > 1 && world_chance(5))
        n = 1 + (size_t)world_below(n - 1);
    memcpy(data, s->in.data, n);
    buf_consume(&s->in, n);
    s->flying -= n;
    if (s->peer)
        tell(s->peer);
    return (long)n;
}

long tcp_write(int fd, struct span data)
{
    struct sock *s = sock_of(fd);
    CHECK(s && (!host_here || s->host == host_here) && data.len);
    if (s->state == BROKEN)
        return TCP_GONE;
    if (s->state == DIALING)
        return TCP_AGAIN;
    if (!s->peer) { /* it is not known yet that nobody reads this any more */
        ask_the_dead(s);
        return (long)data.len;
    }
    size_t room = s->peer->window - s->peer->flying;
    size_t n = data.len < room ? data.len : room;
    if (!n)
        return TCP_AGAIN;
    if (n > 1 && world_chance(2))
        n = 1 + (size_t)world_below(n - 1);
    s->peer->flying += n;
    post(s->peer, BYTES, span_of(data.data, n), 0);
    return (long)n;
}

int64_t tcp_round_trip_us(int fd)
{
    CHECK(sock_of(fd));
    return -1;
}

void tcp_peer(int fd, char out[TCP_ADDRESS_MAX])
{
    snprintf(out, TCP_ADDRESS_MAX, "%s:%d", sock_of(fd)->far->address, ++client_port);
}

void tcp_unlisten(int fd)
{
    tcp_close(fd);
}

void tcp_close(int fd)
{
    struct sock *s = sock_of(fd);
    CHECK(s && !s->callback && (!host_here || s->host == host_here));
    sock_close(s, 0, false);
}
