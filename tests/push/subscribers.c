/* subscribers: many WebSocket subscribers, spread over servers, and one publisher:
 *
 *   subscribers --port P[,P...] [--clients N] [--rate N] [--seconds S] [--idle]
 *               [--cut S [--rude]]
 *
 * The publisher PUTs a config N times a second at the first port; its value says which publication
 * it is and when it was sent. Every subscriber acknowledges what it hears and, when its connection
 * breaks, goes to the next port with the last revision it has. At the end every one must have heard
 * every publication. Prints "name=value" words. --idle: they subscribe, "ready" is printed, and
 * they stay until standard input ends. --cut: after so many seconds all close their connections at
 * once, and come back when the server has told them to (reconnect_ms of welcome, Retry-After);
 * --rude: they come back at once, and again 10 ms after each refusal. One thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/check.h"

enum { CLIENTS_MAX = 50000, PORTS_MAX = 8, EVENTS = 256, OPENING_MAX = 100, WAIT_MS = 100 };
enum { LATENCIES_MAX = 4 << 20, GIVE_UP_S = 30, WINDOW_US = 1000000, RUDE_US = 10000 };

enum state { WAITING, OPENING, SUBSCRIBING, HEARING };

struct client {
    int fd;
    enum state state;
    size_t port;
    int64_t again_us; /* WAITING: when to try */
    int64_t reconnect_us; /* what the server has told */
    int64_t revision, heard; /* highest; the newest publication */
    struct buf in;
};

static struct {
    int ports[PORTS_MAX];
    size_t n_ports, n, opening, hearing;
    double rate, seconds, cut;
    bool idle, rude;
    struct client *clients;
    struct alloc heap;
    int epoll, publisher;
    struct buf answer, frame;
    int64_t published, sent_us, next_us, end_us, begun_us;
    bool asked; /* a PUT is on its way */
    int64_t missed, repeated, broken, refused, latencies, failed;
    uint32_t *latency;
    /* since they were cut: */
    int64_t cut_us, back_us, window_us, in_window, most_in_window;
} all;

static int64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int open_socket(int port, bool wait)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (!wait)
        fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Small, and the other side reads: what does not fit at once means that it is gone. */
static void send_all(int fd, struct span s)
{
    if (send(fd, s.data, s.len, MSG_NOSIGNAL) < 0)
        return; /* the next read tells */
}

/* One text frame of a client, masked with zeros. */
__attribute__((format(printf, 2, 3))) static void say(struct client *c, const char *format, ...)
{
    static const uint8_t no_mask[4];
    char text[200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    CHECK(n > 0 && n < (int)sizeof(text));
    buf_reset(&all.frame);
    buf_u8(&all.frame, 0x81);
    buf_u8(&all.frame, (uint8_t)(0x80 | (n < 126 ? n : 126)));
    if (n >= 126) {
        buf_u8(&all.frame, (uint8_t)(n >> 8));
        buf_u8(&all.frame, (uint8_t)n);
    }
    buf_put(&all.frame, no_mask, 4);
    buf_put(&all.frame, text, (size_t)n);
    send_all(c->fd, buf_all(&all.frame));
}

/* ---- subscribers ---- */

static void broke(struct client *c, int64_t after_us)
{
    all.hearing -= c->state == HEARING;
    all.opening -= c->state == OPENING || c->state == SUBSCRIBING;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = WAITING;
    c->again_us = clock_us() + after_us;
    c->port = (c->port + 1) % all.n_ports;
    buf_reset(&c->in);
}

static void begin(struct client *c)
{
    static const char request[] =
        "GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = c };
    c->fd = open_socket(all.ports[c->port], true);
    if (c->fd < 0) {
        broke(c, WAIT_MS * 1000);
        return;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->state = OPENING;
    all.opening++;
    epoll_ctl(all.epoll, EPOLL_CTL_ADD, c->fd, &e);
    send_all(c->fd, SPAN(request));
}

/* The server is not spared then. */
static size_t opening_max(void)
{
    return all.cut_us ? all.n : OPENING_MAX;
}

static void open_some(void)
{
    int64_t now = clock_us();
    for (size_t i = 0; i < all.n && all.opening < opening_max(); i++)
        if (all.clients[i].state == WAITING && all.clients[i].again_us <= now)
            begin(&all.clients[i]);
}

static int64_t number_behind(struct span text, const char *name, int64_t otherwise)
{
    const char *at = memmem(text.data, text.len, name, strlen(name));
    return at ? strtoll(at + strlen(name), NULL, 10) : otherwise;
}

static void refused(struct client *c)
{
    int64_t after_s = number_behind(buf_all(&c->in), "retry-after: ", 1);
    all.refused++;
    c->port = (c->port + all.n_ports - 1) % all.n_ports; /* the same again */
    broke(c, all.rude ? RUDE_US : after_s * 1000000 - rand() % 1000000);
}

/* How many a second come back at most. */
static void count_back(void)
{
    int64_t now = clock_us();
    if (!all.cut_us)
        return;
    if (now - all.window_us >= WINDOW_US) {
        all.window_us = now;
        all.in_window = 0;
    }
    all.in_window++;
    all.most_in_window = all.in_window > all.most_in_window ? all.in_window : all.most_in_window;
    all.back_us = now;
}

/* False: the answer's head is not whole. */
static bool opened(struct client *c)
{
    const uint8_t *end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
    if (!end)
        return false;
    if (memcmp(c->in.data, "HTTP/1.1 101", 12) != 0) {
        refused(c);
        return false;
    }
    count_back();
    buf_consume(&c->in, (size_t)(end - c->in.data) + 4);
    c->state = SUBSCRIBING;
    say(c, "{\"type\":\"hello\",\"client\":\"load\",\"instance\":\"%d\"}", (int)(c - all.clients));
    if (c->revision)
        say(c, "{\"type\":\"subscribe\",\"id\":1,\"prefix\":\"push/\",\"revision\":%lld}",
            (long long)c->revision);
    else
        say(c, "{\"type\":\"subscribe\",\"id\":1,\"prefix\":\"push/\"}");
    return true;
}

static void hear(struct client *c, struct span text)
{
    int64_t revision = number_behind(text, "\"revision\":", c->revision);
    if (memmem(text.data, text.len, "{\"type\":\"subscribed\"", 20)) {
        c->state = HEARING;
        all.hearing++;
        all.opening--;
    }
    if (memmem(text.data, text.len, "{\"type\":\"changes\"", 17)) {
        int64_t number = number_behind(text, "\"value\":\"", -1);
        int64_t sent_us = number_behind(text, " at ", 0);
        all.missed += number > c->heard + 1 ? number - c->heard - 1 : 0;
        all.repeated += revision <= c->revision;
        c->heard = number > c->heard ? number : c->heard;
        if (all.latencies < LATENCIES_MAX)
            all.latency[all.latencies++] = (uint32_t)(clock_us() - sent_us);
        say(c, "{\"type\":\"ack\",\"revision\":%lld}", (long long)revision);
    }
    c->reconnect_us = number_behind(text, "\"reconnect_ms\":", c->reconnect_us / 1000) * 1000;
    if (!memmem(text.data, text.len, "{\"type\":\"welcome\"", 17))
        c->revision = revision > c->revision ? revision : c->revision;
}

/* False: there is no whole frame. */
static bool next_frame(struct client *c)
{
    const uint8_t *d = c->in.data;
    size_t head = 2, len;
    if (c->in.len < 4)
        return false;
    len = d[1];
    if (len == 126) {
        len = (size_t)d[2] << 8 | d[3];
        head = 4;
    }
    CHECK(len < 65536 && d[1] < 127);
    if (c->in.len < head + len)
        return false;
    if (d[0] == 0x81)
        hear(c, span_of(d + head, len));
    buf_consume(&c->in, head + len);
    return true;
}

static void on_client(struct client *c)
{
    static uint8_t room[256 << 10];
    ssize_t got = recv(c->fd, room, sizeof(room), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        all.broken++;
        broke(c, all.rude ? 0 : c->reconnect_us);
        return;
    }
    buf_put(&c->in, room, (size_t)got);
    if (c->state == OPENING && !opened(c))
        return;
    while (next_frame(c))
        ;
    if (!c->in.len)
        buf_close(&c->in);
}

static void cut_all(void)
{
    all.cut_us = all.window_us = clock_us();
    for (size_t i = 0; i < all.n; i++) {
        struct client *c = &all.clients[i];
        if (c->state != HEARING)
            continue;
        all.broken++;
        broke(c, all.rude ? 0 : c->reconnect_us);
    }
}

/* ---- the publisher ---- */

static void publish(void)
{
    char body[100], head[300];
    all.sent_us = clock_us();
    int n = snprintf(body, sizeof(body), "{\"value\":\"%lld at %lld\"}",
                     (long long)all.published + 1, (long long)all.sent_us);
    snprintf(head, sizeof(head),
             "PUT /v1/config/push/value HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
             n, body);
    send_all(all.publisher, span_text(head));
    all.asked = true;
}

static void on_publisher(void)
{
    uint8_t room[4096];
    ssize_t got = recv(all.publisher, room, sizeof(room), MSG_DONTWAIT);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return;
        fprintf(stderr, "subscribers: the publisher's server is gone\n");
        exit(1);
    }
    buf_put(&all.answer, room, (size_t)got);
    struct span s = buf_all(&all.answer);
    const uint8_t *end = memmem(s.data, s.len, "\r\n\r\n", 4);
    int64_t size = end ? number_behind(s, "content-length: ", 0) : 0;
    if (!end || s.len < (size_t)(end - s.data) + 4 + (size_t)size)
        return;
    bool good = memcmp(s.data, "HTTP/1.1 20", 11) == 0;
    all.published += good;
    all.failed += !good;
    buf_reset(&all.answer);
    all.asked = false;
    all.next_us += (int64_t)(1e6 / all.rate);
    if (!good || all.next_us < clock_us())
        all.next_us = clock_us() + (good ? 0 : 50000);
}

/* ---- the whole ---- */

static void turn(int wait_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(all.epoll, events, EVENTS, wait_ms);
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr)
            on_publisher();
        else
            on_client(events[i].data.ptr);
    }
    open_some();
}

static bool all_heard(void)
{
    for (size_t i = 0; i < all.n; i++)
        if (all.clients[i].state != HEARING || all.clients[i].heard < all.published)
            return false;
    return true;
}

static bool wait_for(bool (*condition)(void))
{
    int64_t end = clock_us() + (int64_t)GIVE_UP_S * 1000000;
    while (!condition() && clock_us() < end)
        turn(10);
    return condition();
}

static bool all_hearing(void)
{
    return all.hearing == all.n;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at_share(double share)
{
    size_t i = (size_t)((double)all.latencies * share);
    return all.latencies ? (double)all.latency[i < (size_t)all.latencies ? i : i - 1] / 1000 : 0;
}

static int report(bool complete, double seconds)
{
    int64_t silent = 0;
    for (size_t i = 0; i < all.n; i++)
        silent += all.clients[i].heard < all.published;
    qsort(all.latency, (size_t)all.latencies, sizeof(all.latency[0]), by_size);
    printf("clients=%zu published=%lld per_s=%.0f heard=%lld p50_ms=%.2f p99_ms=%.2f max_ms=%.2f "
           "missed=%lld repeated=%lld behind=%lld broken=%lld refused=%lld failed=%lld\n",
           all.n, (long long)all.published, (double)all.published / seconds,
           (long long)all.latencies, at_share(0.5), at_share(0.99), at_share(1),
           (long long)all.missed, (long long)all.repeated, (long long)silent,
           (long long)all.broken, (long long)all.refused, (long long)all.failed);
    if (all.cut_us)
        printf("most_back_in_a_second=%lld all_back_ms=%lld\n", (long long)all.most_in_window,
               (long long)(all.back_us - all.cut_us) / 1000);
    return complete && !all.missed && !all.repeated ? 0 : 1;
}

static int run(void)
{
    struct epoll_event e = { .events = EPOLLIN };
    int64_t began = clock_us();
    bool hearing = wait_for(all_hearing);
    printf("ready hearing=%zu after_ms=%lld\n", all.hearing,
           (long long)(clock_us() - began) / 1000);
    fflush(stdout);
    if (!hearing)
        return 1;
    if (all.idle) {
        char byte;
        return read(STDIN_FILENO, &byte, 1) < 0;
    }
    all.publisher = open_socket(all.ports[0], true);
    CHECK(all.publisher >= 0);
    epoll_ctl(all.epoll, EPOLL_CTL_ADD, all.publisher, &e);
    began = all.next_us = clock_us();
    all.end_us = began + (int64_t)(all.seconds * 1e6);
    while (clock_us() < all.end_us || all.asked) {
        if (!all.asked && clock_us() >= all.next_us && clock_us() < all.end_us)
            publish();
        if (all.cut > 0 && !all.cut_us && clock_us() - began >= (int64_t)(all.cut * 1e6))
            cut_all();
        turn(all.asked || all.next_us - clock_us() > 1000 ? 1 : 0);
    }
    double seconds = (double)(clock_us() - began) / 1e6;
    return report(wait_for(all_heard), seconds);
}

static void read_ports(char *text)
{
    for (char *one = strtok(text, ","); one && all.n_ports < PORTS_MAX; one = strtok(NULL, ","))
        all.ports[all.n_ports++] = atoi(one);
}

int main(int argc, char **argv)
{
    struct rlimit files = { CLIENTS_MAX + 100, CLIENTS_MAX + 100 };
    all.n = 1000;
    all.rate = 20;
    all.seconds = 5;
    for (int i = 1; i < argc; i++) {
        bool has = i + 1 < argc;
        if (strcmp(argv[i], "--idle") == 0)
            all.idle = true;
        else if (strcmp(argv[i], "--rude") == 0)
            all.rude = true;
        else if (has && strcmp(argv[i], "--cut") == 0)
            all.cut = atof(argv[++i]);
        else if (has && strcmp(argv[i], "--port") == 0)
            read_ports(argv[++i]);
        else if (has && strcmp(argv[i], "--clients") == 0)
            all.n = (size_t)atoi(argv[++i]);
        else if (has && strcmp(argv[i], "--rate") == 0)
            all.rate = atof(argv[++i]);
        else if (has && strcmp(argv[i], "--seconds") == 0)
            all.seconds = atof(argv[++i]);
    }
    if (!all.n_ports || !all.n || all.n > CLIENTS_MAX || all.rate <= 0) {
        fprintf(stderr, "subscribers --port P[,P...] [--clients N] [--rate N] [--seconds S] "
                        "[--idle] [--cut S [--rude]]\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    alloc_heap(&all.heap);
    buf_open(&all.answer, &all.heap);
    buf_open(&all.frame, &all.heap);
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    all.clients = mem_zero(&all.heap, all.n * sizeof(*all.clients));
    all.latency = mem_alloc(&all.heap, LATENCIES_MAX * sizeof(*all.latency));
    for (size_t i = 0; i < all.n; i++) {
        all.clients[i].fd = -1;
        all.clients[i].port = i % all.n_ports;
        buf_open(&all.clients[i].in, &all.heap);
    }
    return run();
}
