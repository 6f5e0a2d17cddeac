/* Time, chance and the queue of calls. */
#include "world.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/check.h"

struct call {
    int64_t at_us;
    uint64_t order, what;
    void (*call)(void *, uint64_t);
    void *context;
};

int64_t world_us;
bool world_tracing;
struct alloc world_heap;
uint64_t counts[COUNTS];
static uint64_t world_seed, order;
static struct prng prng;
static VEC(struct call) queue; /* a binary heap, soonest first */

/* ---- chance ---- */

uint64_t world_random(void)
{
    return prng_next(&prng);
}

uint64_t world_below(uint64_t limit)
{
    return prng_below(&prng, limit);
}

int64_t world_between(int64_t low, int64_t high)
{
    CHECK(low <= high);
    return low + (int64_t)world_below((uint64_t)(high - low) + 1);
}

bool world_chance(int percent)
{
    return (int)world_below(100) < percent;
}

/* ---- time ---- */

static bool sooner(const struct call *a, const struct call *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct call *a, struct call *b)
{
    struct call c = *a;
    *a = *b;
    *b = c;
}

void world_call(int64_t at_us, void (*call)(void *, uint64_t), void *context, uint64_t what)
{
    struct call c = { at_us < world_us ? world_us : at_us, order++, what, call, context };
    VEC_PUSH(&queue, &world_heap, c);
    for (size_t i = queue.n - 1; i > 0 && sooner(&queue.items[i], &queue.items[(i - 1) / 2]);
         i = (i - 1) / 2)
        swap(&queue.items[i], &queue.items[(i - 1) / 2]);
}

static struct call take(void)
{
    struct call out = queue.items[0];
    queue.items[0] = queue.items[--queue.n];
    for (size_t i = 0, child; (child = 2 * i + 1) < queue.n; i = child) {
        if (child + 1 < queue.n && sooner(&queue.items[child + 1], &queue.items[child]))
            child++;
        if (!sooner(&queue.items[child], &queue.items[i]))
            break;
        swap(&queue.items[child], &queue.items[i]);
    }
    return out;
}

void world_run(int64_t until_us)
{
    while (queue.n && queue.items[0].at_us <= until_us) {
        struct call c = take();
        CHECK(c.at_us >= world_us);
        world_us = c.at_us;
        counts[COUNT_EVENTS]++;
        c.call(c.context, c.what);
    }
    world_us = until_us;
}

/* ---- telling ---- */

static void tell_seed(void)
{
    fflush(stdout);
    fprintf(stderr, "at %lld.%06lld s of seed %llu: sim_world --seed %llu --trace\n",
            (long long)(world_us / SECOND), (long long)(world_us % SECOND),
            (unsigned long long)world_seed, (unsigned long long)world_seed);
}

static void put_head(void)
{
    printf("%4lld.%06lld %-4s ", (long long)(world_us / SECOND), (long long)(world_us % SECOND),
           host_here ? host_here->name : "");
}

void trace(const char *format, ...)
{
    va_list args;
    if (!world_tracing)
        return;
    put_head();
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void violated(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fprintf(stderr, "VIOLATED: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    tell_seed();
    _Exit(1);
}

/* ---- life ---- */

void world_open(uint64_t seed, bool tracing)
{
    alloc_heap(&world_heap);
    world_us = 0;
    order = 0;
    world_seed = seed;
    world_tracing = tracing;
    prng.state = seed;
    prng.state = prng_next(&prng); /* or the next seed's numbers were the same, one later */
    host_here = NULL;
    n_hosts = n_nodes = 0;
    check_hook = tell_seed;
    net_open();
}

void world_close(void)
{
    host_close_all();
    net_close();
    VEC_CLOSE(&queue, &world_heap);
    CHECK(world_heap.used == 0);
}
