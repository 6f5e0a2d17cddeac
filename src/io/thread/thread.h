/* thread: a worker thread that runs jobs one after another; what is done comes back on the loop. */
#pragma once
#include <stddef.h>
#include "io/loop/loop.h"

struct worker;

/* run is called on the worker's thread, then done on the loop's. The owner keeps the job until
 * done. */
struct job {
    void (*run)(struct job *job);
    void (*done)(struct job *job);
    struct job *next; /* the worker's while it has the job */
};

/* THREAD_BACKGROUND: processor and disk go first to the others, here and in other processes; as far
 * as the system lets us say so (nice, and an I/O priority that mq-deadline and bfq look at). */
enum thread_kind { THREAD_NORMAL, THREAD_BACKGROUND };
struct worker *thread_open(struct alloc *alloc, struct loop *loop, const char *name,
                           enum thread_kind kind);
void thread_submit(struct worker *w, struct job *job);
/* Runs what was submitted, then ends the thread. Jobs that are done are not called back any
 * more. */
void thread_close(struct worker *w);
/* Waits until the worker has nothing left to run and calls back what is done. */
void thread_drain(struct worker *w);
