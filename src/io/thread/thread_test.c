#include "io/thread/thread.h"
#include "base/test.h"

enum { JOBS = 100 };

struct count {
    struct job job;
    int number, runs;
};

static struct alloc heap;
static struct loop *loop;
static struct worker *worker;
static struct count jobs[JOBS];
static int ran, done; /* ran: the worker's, until it is drained */
static bool in_order;

static void run_job(struct job *job)
{
    struct count *c = (struct count *)job;
    in_order = in_order && c->number == ran % JOBS;
    ran++;
    c->runs++;
}

static void job_done(struct job *job)
{
    struct count *c = (struct count *)job;
    done++;
    if (c->runs < 3)
        thread_submit(worker, job); /* it is ours again */
}

static void begin(void)
{
    alloc_heap(&heap);
    loop = loop_open(&heap);
    worker = thread_open(&heap, loop, "test", THREAD_NORMAL);
    ran = done = 0;
    in_order = true;
    for (int i = 0; i < JOBS; i++)
        jobs[i] = (struct count){ { run_job, job_done, NULL }, i, 0 };
}

static bool until_all_done(void *context)
{
    (void)context;
    if (done == 3 * JOBS)
        loop_stop(loop);
    return false;
}

TEST(thread_jobs_run_in_order_and_come_back_on_the_loop)
{
    begin();
    for (int i = 0; i < JOBS; i++)
        thread_submit(worker, &jobs[i].job);
    loop_run(loop, until_all_done, NULL, 0);
    thread_close(worker);
    EXPECT(ran == 3 * JOBS && done == 3 * JOBS && in_order);
    loop_close(loop);
    EXPECT(heap.used == 0);
}

TEST(thread_drain_waits_and_calls_back)
{
    begin();
    for (int i = 0; i < JOBS; i++) {
        jobs[i].runs = 2;
        thread_submit(worker, &jobs[i].job);
    }
    thread_drain(worker);
    EXPECT(ran == JOBS && done == JOBS);
    thread_drain(worker);
    thread_submit(worker, &jobs[0].job); /* runs, and is not called back */
    thread_close(worker);
    EXPECT(ran == JOBS + 1 && done == JOBS);
    loop_close(loop);
    EXPECT(heap.used == 0);
}

TEST(thread_two_workers_of_one_loop)
{
    begin();
    struct worker *second = thread_open(&heap, loop, "second", THREAD_BACKGROUND);
    for (int i = 0; i < JOBS; i++) {
        jobs[i].runs = 2;
        thread_submit(i % 2 ? worker : second, &jobs[i].job);
        thread_drain(i % 2 ? worker : second);
    }
    EXPECT(ran == JOBS && done == JOBS && in_order);
    thread_close(second);
    thread_close(worker);
    loop_close(loop);
}
