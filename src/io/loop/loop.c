#include "io/loop/loop.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"
#include "base/vec.h"

enum { READY_MAX = 512 };

struct watch {
    void (*callback)(void *context, int fd, int events);
    void *context;
    uint32_t generation; /* so that a stale event of a closed fd is not given to its successor */
};

struct loop {
    struct alloc *alloc;
    int epoll, wake, signals;
    VEC(struct watch) watches;       /* by fd */
    VEC(struct loop_timer *) timers; /* a binary heap, soonest first */
    int64_t now_ms, wall_ms;
    bool stopped;
    void (*on_signal)(void *, int);
    void *signal_context;
    void (*on_wake)(void *);
    void *wake_context;
};

int64_t loop_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t loop_wall_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void look_at_clock(struct loop *loop)
{
    loop->now_ms = loop_clock_us() / 1000;
    loop->wall_ms = loop_wall_now_ms();
}

static void take_wake(void *context, int fd, int events)
{
    struct loop *loop = context;
    uint64_t count;
    CHECK(events != 0);
    if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count) && loop->on_wake)
        loop->on_wake(loop->wake_context);
}

struct loop *loop_open(struct alloc *alloc)
{
    struct loop *loop = mem_zero(alloc, sizeof(*loop));
    loop->alloc = alloc;
    loop->signals = -1;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(loop->epoll >= 0 && loop->wake >= 0);
    loop_watch(loop, loop->wake, LOOP_READ, take_wake, loop);
    look_at_clock(loop);
    return loop;
}

void loop_close(struct loop *loop)
{
    close(loop->epoll);
    close(loop->wake);
    if (loop->signals >= 0)
        close(loop->signals);
    VEC_CLOSE(&loop->watches, loop->alloc);
    VEC_CLOSE(&loop->timers, loop->alloc);
    mem_free(loop->alloc, loop, sizeof(*loop));
}

/* ---- descriptors ---- */

static void control(struct loop *loop, int operation, int fd, int events)
{
    struct epoll_event e = { 0 };
    e.events = (events & LOOP_READ ? (uint32_t)EPOLLIN : 0u) |
               (events & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0u);
    e.data.u64 = (uint64_t)loop->watches.items[fd].generation << 32 | (uint32_t)fd;
    CHECK(epoll_ctl(loop->epoll, operation, fd, &e) == 0);
}

void loop_watch(struct loop *loop, int fd, int events, void (*callback)(void *, int, int),
                void *context)
{
    CHECK(fd >= 0 && callback);
    while (loop->watches.n <= (size_t)fd) {
        struct watch none = { NULL, NULL, 0 };
        VEC_PUSH(&loop->watches, loop->alloc, none);
    }
    struct watch *w = &loop->watches.items[fd];
    CHECK(w->callback == NULL);
    w->callback = callback;
    w->context = context;
    w->generation++;
    control(loop, EPOLL_CTL_ADD, fd, events);
}

void loop_change(struct loop *loop, int fd, int events)
{
    control(loop, EPOLL_CTL_MOD, fd, events);
}

void loop_unwatch(struct loop *loop, int fd)
{
    struct watch *w = &loop->watches.items[fd];
    CHECK(w->callback != NULL);
    control(loop, EPOLL_CTL_DEL, fd, 0);
    w->callback = NULL;
    w->generation++;
}

/* ---- timers ---- */

static bool sooner(const struct loop *loop, size_t a, size_t b)
{
    return loop->timers.items[a - 1]->at_ms < loop->timers.items[b - 1]->at_ms;
}

static void swap(struct loop *loop, size_t a, size_t b)
{
    struct loop_timer *t = loop->timers.items[a - 1];
    loop->timers.items[a - 1] = loop->timers.items[b - 1];
    loop->timers.items[b - 1] = t;
    loop->timers.items[a - 1]->place = a;
    loop->timers.items[b - 1]->place = b;
}

static void settle(struct loop *loop, size_t i)
{
    for (; i > 1 && sooner(loop, i, i / 2); i /= 2)
        swap(loop, i, i / 2);
    for (size_t n = loop->timers.n;;) {
        size_t child = 2 * i;
        if (child < n && sooner(loop, child + 1, child))
            child++;
        if (child > n || !sooner(loop, child, i))
            return;
        swap(loop, i, child);
        i = child;
    }
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, int64_t at_ms)
{
    CHECK(t->callback != NULL);
    t->at_ms = at_ms;
    if (!t->place) {
        VEC_PUSH(&loop->timers, loop->alloc, t);
        t->place = loop->timers.n;
    }
    settle(loop, t->place);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *t)
{
    size_t i = t->place, last = loop->timers.n;
    if (!i)
        return;
    swap(loop, i, last);
    loop->timers.n--;
    t->place = 0;
    if (i < last)
        settle(loop, i);
}

static void fire_timers(struct loop *loop)
{
    /* What a callback sets for now waits for the next turn: nothing can starve the sockets. */
    size_t most = loop->timers.n;
    while (most-- > 0 && loop->timers.n && loop->timers.items[0]->at_ms <= loop->now_ms) {
        struct loop_timer *t = loop->timers.items[0];
        loop_timer_clear(loop, t);
        t->callback(t->context);
    }
}

/* ---- signals and wake-ups ---- */

static void take_signal(void *context, int fd, int events)
{
    struct loop *loop = context;
    struct signalfd_siginfo info;
    CHECK(events != 0);
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        loop->on_signal(loop->signal_context, (int)info.ssi_signo);
}

void loop_on_signal(struct loop *loop, void (*callback)(void *, int), void *context)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
    loop->on_signal = callback;
    loop->signal_context = context;
    loop->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    CHECK(loop->signals >= 0);
    loop_watch(loop, loop->signals, LOOP_READ, take_signal, loop);
}

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t n = write(loop->wake, &one, sizeof(one));
    CHECK(n == (ssize_t)sizeof(one) || errno == EAGAIN); /* EAGAIN: it is awake already */
}

void loop_on_wake(struct loop *loop, void (*callback)(void *), void *context)
{
    loop->on_wake = callback;
    loop->wake_context = context;
}

/* ---- running ---- */

static int wait_ms(const struct loop *loop, bool more)
{
    if (more)
        return 0;
    if (!loop->timers.n)
        return -1;
    int64_t left = loop->timers.items[0]->at_ms - loop_clock_us() / 1000;
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static int wait_ready(struct loop *loop, struct epoll_event *ready, int timeout_ms, int64_t spin_us)
{
    int n = 0;
    if (spin_us > 0 && timeout_ms != 0)
        for (int64_t until = loop_clock_us() + spin_us; n == 0 && loop_clock_us() < until;)
            n = epoll_wait(loop->epoll, ready, READY_MAX, 0);
    if (n == 0)
        n = epoll_wait(loop->epoll, ready, READY_MAX, timeout_ms);
    CHECK(n >= 0 || errno == EINTR);
    return n < 0 ? 0 : n;
}

static void call_ready(struct loop *loop, const struct epoll_event *e)
{
    int fd = (int)(uint32_t)e->data.u64;
    const struct watch *w = &loop->watches.items[fd];
    if (!w->callback || w->generation != (uint32_t)(e->data.u64 >> 32))
        return;
    int events = (e->events & (EPOLLIN | EPOLLRDHUP) ? LOOP_READ : 0) |
                 (e->events & EPOLLOUT ? LOOP_WRITE : 0);
    if (e->events & (EPOLLERR | EPOLLHUP))
        events = LOOP_READ | LOOP_WRITE;
    w->callback(w->context, fd, events);
}

static bool do_turn(struct loop *loop, bool (*turn)(void *), void *context, int timeout_ms,
                    int64_t spin_us)
{
    struct epoll_event ready[READY_MAX];
    int n = wait_ready(loop, ready, timeout_ms, spin_us);
    look_at_clock(loop);
    for (int i = 0; i < n; i++)
        call_ready(loop, &ready[i]);
    fire_timers(loop);
    return turn(context);
}

void loop_run(struct loop *loop, bool (*turn)(void *), void *context, int64_t spin_us)
{
    bool more = true; /* what was set up before the first turn wants its end, too */
    loop->stopped = false;
    while (!loop->stopped)
        more = do_turn(loop, turn, context, wait_ms(loop, more), spin_us);
}

void loop_turn(struct loop *loop, bool (*turn)(void *), void *context, int64_t most_ms)
{
    int ms = wait_ms(loop, false);
    (void)do_turn(loop, turn, context, ms < 0 || ms > most_ms ? (int)most_ms : ms, 0);
}

int loop_fd(const struct loop *loop)
{
    return loop->epoll;
}

int loop_wait_ms(const struct loop *loop)
{
    return wait_ms(loop, false);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return loop->wall_ms;
}

uint64_t loop_random(void)
{
    uint64_t out;
    CHECK(getrandom(&out, sizeof(out), 0) == (ssize_t)sizeof(out));
    return out;
}

void loop_die(void)
{
    _exit(1);
}
