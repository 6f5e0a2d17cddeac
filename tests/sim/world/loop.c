/* io/loop and io/thread of a host: the world runs one turn at a time, and one job. A job is run
 * when it is over: what ends the process before may fall into its middle. */
#include "base/check.h"
#include "io/loop/loop.h"
#include "io/thread/thread.h"
#include "world.h"

enum { WORKERS_MAX = 4, READY_MAX = 256 };

struct worker {
    struct loop *loop;
    struct job *waiting, **waiting_end;
    struct job *finished, **finished_end;
    bool running; /* the first that waits is under way */
};

struct loop {
    struct host *host;
    struct alloc *alloc;
    VEC(struct loop_timer *) timers;
    struct worker *workers[WORKERS_MAX];
    int n_workers;
    bool stopped, more, woken, signaled;
    void (*on_signal)(void *, int);
    void *signal_context;
    void (*on_wake)(void *);
    void *wake_context;
};

/* ---- time ---- */

int64_t loop_clock_us(void)
{
    CHECK(host_here);
    return host_clock_us(host_here);
}

int64_t loop_now_ms(const struct loop *loop)
{
    return host_clock_us(loop->host) / 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return (world_us + loop->host->wall_us) / 1000;
}

uint64_t loop_random(void)
{
    return world_random();
}

void loop_die(void)
{
    struct host *h = host_here;
    CHECK(h);
    longjmp(h->death, 1);
}

/* ---- life ---- */

struct loop *loop_open(struct alloc *alloc)
{
    struct loop *loop = mem_zero(alloc, sizeof(*loop));
    CHECK(host_here && !host_here->loop);
    loop->alloc = alloc;
    loop->host = host_here;
    host_here->loop = loop;
    return loop;
}

void loop_close(struct loop *loop)
{
    CHECK(loop->n_workers == 0);
    loop->host->loop = NULL;
    VEC_CLOSE(&loop->timers, loop->alloc);
    mem_free(loop->alloc, loop, sizeof(*loop));
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

bool loop_is_stopped(struct host *h)
{
    return h->loop->stopped;
}

void loop_on_signal(struct loop *loop, void (*callback)(void *, int), void *context)
{
    loop->on_signal = callback;
    loop->signal_context = context;
}

void loop_signal(struct host *h)
{
    h->loop->signaled = true;
    host_kick(h, world_us);
}

void loop_wake(struct loop *loop)
{
    loop->woken = true;
    host_kick(loop->host, world_us);
}

void loop_on_wake(struct loop *loop, void (*callback)(void *), void *context)
{
    loop->on_wake = callback;
    loop->wake_context = context;
}

/* ---- sockets ---- */

void loop_watch(struct loop *loop, int fd, int events, void (*callback)(void *, int, int),
                void *context)
{
    CHECK(loop->host == host_here);
    net_watch(fd, events, callback, context);
}

void loop_change(struct loop *loop, int fd, int events)
{
    CHECK(loop->host == host_here);
    net_change(fd, events);
}

void loop_unwatch(struct loop *loop, int fd)
{
    CHECK(loop->host == host_here);
    net_unwatch(fd);
}

/* ---- timers ---- */

void loop_timer_set(struct loop *loop, struct loop_timer *t, int64_t at_ms)
{
    CHECK(t->callback != NULL);
    t->at_ms = at_ms;
    if (!t->place) {
        VEC_PUSH(&loop->timers, loop->alloc, t);
        t->place = loop->timers.n;
    }
}

void loop_timer_clear(struct loop *loop, struct loop_timer *t)
{
    if (!t->place)
        return;
    struct loop_timer *last = loop->timers.items[--loop->timers.n];
    loop->timers.items[t->place - 1] = last;
    last->place = t->place;
    t->place = 0;
}

static struct loop_timer *soonest(const struct loop *loop)
{
    struct loop_timer *best = NULL;
    for (size_t i = 0; i < loop->timers.n; i++)
        if (!best || loop->timers.items[i]->at_ms < best->at_ms)
            best = loop->timers.items[i];
    return best;
}

static void fire_timers(struct loop *loop)
{
    int64_t now = loop_now_ms(loop);
    for (size_t most = loop->timers.n; most > 0; most--) {
        struct loop_timer *t = soonest(loop);
        if (!t || t->at_ms > now)
            return;
        loop_timer_clear(loop, t);
        t->callback(t->context);
    }
}

/* ---- one turn ---- */

static void call_ready(struct loop *loop)
{
    int fds[READY_MAX], events[READY_MAX], n = 0;
    for (struct sock *s = net_next(loop->host, NULL); s && n < READY_MAX;
         s = net_next(loop->host, s)) {
        events[n] = net_ready(s);
        fds[n] = net_fd(s);
        n += events[n] != 0;
    }
    for (; n > 0; n--) { /* in any order */
        int i = (int)world_below((uint64_t)n);
        net_call(fds[i], events[i]);
        fds[i] = fds[n - 1];
        events[i] = events[n - 1];
    }
}

static void call_woken(struct loop *loop)
{
    if (loop->woken && loop->on_wake) {
        loop->woken = false;
        loop->on_wake(loop->wake_context);
    }
}

/* In the world this is one turn, not all of them. */
void loop_run(struct loop *loop, bool (*turn)(void *), void *context, int64_t spin_us)
{
    bool woken_first = world_chance(50);
    CHECK(spin_us >= 0);
    loop->stopped = false;
    if (loop->signaled) {
        loop->signaled = false;
        loop->on_signal(loop->signal_context, 15);
    }
    if (woken_first)
        call_woken(loop);
    call_ready(loop);
    if (!woken_first)
        call_woken(loop);
    fire_timers(loop);
    loop->more = turn(context);
    counts[COUNT_TURNS]++;
}

int64_t loop_next_us(struct host *h)
{
    struct loop *loop = h->loop;
    if (loop->more || loop->woken || loop->signaled)
        return world_us;
    for (struct sock *s = net_next(h, NULL); s; s = net_next(h, s))
        if (net_ready(s))
            return world_us;
    struct loop_timer *t = soonest(loop);
    if (!t)
        return INT64_MAX;
    int64_t left_us = t->at_ms * 1000 - host_clock_us(h);
    return left_us <= 0 ? world_us : world_us + left_us + left_us * -h->rate_ppm / 1000000 + 1;
}

/* ---- threads ---- */

static void push(struct job ***end, struct job *job)
{
    job->next = NULL;
    **end = job;
    *end = &job->next;
}

static struct job *pop(struct job **first, struct job ***end)
{
    struct job *job = *first;
    *first = job->next;
    if (!*first)
        *end = first;
    return job;
}

static void call_back(struct worker *w)
{
    struct job *job = w->finished;
    w->finished = NULL;
    w->finished_end = &w->finished;
    while (job) {
        struct job *next = job->next;
        job->done(job);
        job = next;
    }
}

static void on_wake(void *context)
{
    struct loop *loop = context;
    for (int i = 0; i < loop->n_workers; i++)
        call_back(loop->workers[i]);
}

static void run_one(struct worker *w)
{
    struct job *job = pop(&w->waiting, &w->waiting_end);
    counts[COUNT_JOBS]++;
    job->run(job);
    push(&w->finished_end, job);
}

static void begin_one(struct worker *w);

/* what: the process's generation and the worker's place. */
static void job_over(void *context, uint64_t what)
{
    struct host *h = context;
    if (what / WORKERS_MAX != h->generation || !h->up)
        return;
    struct worker *w = h->loop->workers[what % WORKERS_MAX];
    if (world_us < h->frozen_us) {
        world_call(h->frozen_us, job_over, h, what);
        return;
    }
    if (!w->running)
        return;
    host_here = h;
    w->running = false;
    run_one(w);
    loop_wake(w->loop);
    begin_one(w);
    host_here = NULL;
}

static void begin_one(struct worker *w)
{
    struct host *h = w->loop->host;
    int place = 0;
    while (w->loop->workers[place] != w)
        place++;
    if (w->running || !w->waiting)
        return;
    w->running = true;
    int64_t took_us = world_between(20, 300);
    if (world_chance(2))
        took_us += world_between(0, 20 * MS);
    if (h->disk_slow_us)
        took_us += world_between(0, h->disk_slow_us);
    world_call(world_us + took_us, job_over, h, h->generation * WORKERS_MAX + (uint64_t)place);
}

struct worker *thread_open(struct alloc *alloc, struct loop *loop, const char *name,
                           enum thread_kind kind)
{
    struct worker *w = mem_zero(alloc, sizeof(*w));
    CHECK(name && (kind == THREAD_NORMAL || kind == THREAD_BACKGROUND) &&
          loop->n_workers < WORKERS_MAX && loop->alloc == alloc);
    w->loop = loop;
    w->waiting_end = &w->waiting;
    w->finished_end = &w->finished;
    loop->workers[loop->n_workers++] = w;
    loop_on_wake(loop, on_wake, loop);
    return w;
}

void thread_submit(struct worker *w, struct job *job)
{
    CHECK(job->run && job->done);
    push(&w->waiting_end, job);
    begin_one(w);
}

static void finish(struct worker *w)
{
    w->running = false;
    while (w->waiting)
        run_one(w);
}

void thread_drain(struct worker *w)
{
    finish(w);
    call_back(w);
}

void thread_close(struct worker *w)
{
    struct loop *loop = w->loop;
    int place = 0;
    finish(w);
    while (loop->workers[place] != w)
        place++;
    loop->n_workers--;
    for (int i = place; i < loop->n_workers; i++)
        loop->workers[i] = loop->workers[i + 1];
    mem_free(loop->alloc, w, sizeof(*w));
}

/* The process ends now: a job that is under way has come to some call of the disk. */
void loop_ended(struct host *h)
{
    struct loop *loop = h->loop;
    for (int i = 0; loop && i < loop->n_workers; i++) {
        struct worker *w = loop->workers[i];
        if (!w->running || !w->waiting)
            continue;
        host_here = h;
        disk_die_soon(h->disk, world_below(world_chance(70) ? 2 : 24));
        run_one(w);
        host_here = NULL;
    }
    h->loop = NULL;
}
