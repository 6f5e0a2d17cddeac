#include "io/thread/thread.h"
#include <pthread.h>
#include <linux/ioprio.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/check.h"

enum { BACKGROUND_NICE = 10 };

struct worker {
    struct alloc *alloc;
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *waiting, **waiting_end;   /* to run */
    struct job *finished, **finished_end; /* to be called back */
    enum thread_kind kind;
    bool running, closing;
    struct worker *next; /* all of the process: they share their loop's wake-up */
};

static struct worker *workers; /* touched on the loop's thread only */

static void push(struct job ***end, struct job *job)
{
    job->next = NULL;
    **end = job;
    *end = &job->next;
}

static struct job *pop(struct job **first, struct job ***end)
{
    struct job *job = *first;
    if (job) {
        *first = job->next;
        if (!*first)
            *end = first;
    }
    return job;
}

/* On Linux both are a thread's own (setpriority(2), ioprio_set(2)). A kernel that knows no I/O
 * priorities takes us as we are. */
static void step_back(void)
{
    (void)setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

static void *work(void *context)
{
    struct worker *w = context;
    if (w->kind == THREAD_BACKGROUND)
        step_back();
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct job *job = pop(&w->waiting, &w->waiting_end);
        if (!job && w->closing)
            break;
        if (!job) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        w->running = true;
        pthread_mutex_unlock(&w->lock);
        job->run(job);
        pthread_mutex_lock(&w->lock);
        w->running = false;
        push(&w->finished_end, job);
        pthread_cond_broadcast(&w->changed);
        loop_wake(w->loop);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void call_back(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct job *job = w->finished;
    w->finished = NULL;
    w->finished_end = &w->finished;
    pthread_mutex_unlock(&w->lock);
    while (job) {
        struct job *next = job->next;
        job->done(job);
        job = next;
    }
}

static void on_wake(void *context)
{
    struct loop *loop = context;
    for (struct worker *w = workers; w; w = w->next)
        if (w->loop == loop)
            call_back(w);
}

struct worker *thread_open(struct alloc *alloc, struct loop *loop, const char *name,
                           enum thread_kind kind)
{
    struct worker *w = mem_zero(alloc, sizeof(*w));
    w->alloc = alloc;
    w->loop = loop;
    w->kind = kind;
    w->waiting_end = &w->waiting;
    w->finished_end = &w->finished;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->next = workers;
    workers = w;
    loop_on_wake(loop, on_wake, loop);
    sigset_t all, old; /* signals are the loop's business */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    CHECK(pthread_create(&w->thread, NULL, work, w) == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_setname_np(w->thread, name);
    return w;
}

void thread_submit(struct worker *w, struct job *job)
{
    CHECK(job->run && job->done);
    pthread_mutex_lock(&w->lock);
    CHECK(!w->closing);
    push(&w->waiting_end, job);
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void thread_drain(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->waiting || w->running)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    call_back(w);
}

void thread_close(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    CHECK(pthread_join(w->thread, NULL) == 0);
    struct worker **link = &workers;
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w->alloc, w, sizeof(*w));
}
