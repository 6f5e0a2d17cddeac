#include "io/monitor/monitor.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "io/loop/loop.h"

struct monitor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

struct monitor *monitor_open(void)
{
    struct monitor *m = calloc(1, sizeof(*m));
    pthread_mutexattr_t lock;
    pthread_condattr_t changed;
    if (!m)
        return NULL;
    pthread_mutexattr_init(&lock);
    pthread_mutexattr_settype(&lock, PTHREAD_MUTEX_ERRORCHECK); /* see monitor_enter */
    pthread_mutex_init(&m->lock, &lock);
    pthread_mutexattr_destroy(&lock);
    pthread_condattr_init(&changed);
    pthread_condattr_setclock(&changed, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &changed);
    pthread_condattr_destroy(&changed);
    return m;
}

void monitor_close(struct monitor *m)
{
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* EDEADLK, when we have it already: after a failed CHECK nobody knows. */
void monitor_enter(struct monitor *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

void monitor_leave(struct monitor *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

bool monitor_wait(struct monitor *m, int64_t until_us)
{
    struct timespec until = { until_us / 1000000, until_us % 1000000 * 1000 };
    if (loop_clock_us() >= until_us)
        return false;
    (void)pthread_cond_timedwait(&m->changed, &m->lock, &until);
    return true;
}

void monitor_wake(struct monitor *m)
{
    pthread_cond_broadcast(&m->changed);
}

/* ---- the thread ---- */

struct monitor_thread {
    pthread_t thread;
    void (*run)(void *context);
    void *context;
};

static void *run_it(void *context)
{
    struct monitor_thread *t = context;
    t->run(t->context);
    return NULL;
}

struct monitor_thread *monitor_start(void (*run)(void *context), void *context)
{
    struct monitor_thread *t = calloc(1, sizeof(*t));
    sigset_t all, old;
    if (!t)
        return NULL;
    t->run = run;
    t->context = context;
    sigfillset(&all); /* signals are the program's business */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = pthread_create(&t->thread, NULL, run_it, t) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ok)
        return t;
    free(t);
    return NULL;
}

bool monitor_is_own(const struct monitor_thread *t)
{
    return pthread_equal(t->thread, pthread_self());
}

void monitor_join(struct monitor_thread *t)
{
    pthread_join(t->thread, NULL);
    free(t);
}

/* ---- descriptors and processes ---- */

int monitor_event(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void monitor_signal(int event)
{
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof(one));
    (void)n; /* EAGAIN: it is readable already */
}

void monitor_event_close(int event)
{
    if (event >= 0)
        close(event);
}

int monitor_process(void)
{
    return getpid();
}

void monitor_names(char *program, size_t program_size, char *host, size_t host_size)
{
    snprintf(program, program_size, "%s", program_invocation_short_name);
    if (gethostname(host, host_size) != 0)
        host[0] = 0;
    host[host_size - 1] = 0;
}
