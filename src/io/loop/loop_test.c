#include "io/loop/loop.h"
#include <unistd.h>
#include "base/prng.h"
#include "base/test.h"

enum { TIMERS = 200, PIPES = 2 };

static struct alloc heap;
static struct loop *loop;
static int turns, calls;

static bool count_turns(void *context)
{
    int *most = context;
    if (++turns >= *most)
        loop_stop(loop);
    return true;
}

static void run(int most)
{
    turns = 0;
    loop_run(loop, count_turns, &most, 0);
}

static void begin(void)
{
    alloc_heap(&heap);
    loop = loop_open(&heap);
    calls = 0;
}

/* ---- timers ---- */

static struct loop_timer timers[TIMERS];
static int64_t fired_at;
static bool in_order;

static void on_timer(void *context)
{
    struct loop_timer *t = context;
    in_order = in_order && t->at_ms >= fired_at && t->at_ms <= loop_now_ms(loop) && !t->place;
    fired_at = t->at_ms;
    calls++;
}

TEST(loop_timers_fire_in_order_and_once)
{
    struct prng p = { 1 };
    int set = 0;
    begin();
    int64_t now = loop_now_ms(loop);
    for (int i = 0; i < 4 * TIMERS; i++) {
        struct loop_timer *t = &timers[prng_below(&p, TIMERS)];
        t->callback = on_timer;
        t->context = t;
        if (prng_below(&p, 4) == 0)
            loop_timer_clear(loop, t);
        else
            loop_timer_set(loop, t, now - (int64_t)prng_below(&p, 1000));
    }
    for (int i = 0; i < TIMERS; i++)
        set += timers[i].place != 0;
    fired_at = 0;
    in_order = true;
    run(2);
    EXPECT(set > TIMERS / 2 && calls == set && in_order);
    run(1);
    EXPECT(calls == set);
    loop_close(loop);
    EXPECT(heap.used == 0);
}

static void again_at_once(void *context)
{
    calls++;
    loop_timer_set(loop, context, loop_now_ms(loop));
}

TEST(loop_timer_for_now_waits_for_the_next_turn)
{
    struct loop_timer t = { .callback = again_at_once, .context = &t };
    begin();
    loop_timer_set(loop, &t, loop_now_ms(loop));
    run(5);
    EXPECT(calls == 5);
    loop_timer_clear(loop, &t);
    run(1);
    EXPECT(calls == 5);
    loop_close(loop);
}

static bool sleep_until_fired(void *context)
{
    (void)context;
    if (calls)
        loop_stop(loop);
    return false;
}

TEST(loop_waits_for_a_timer)
{
    struct loop_timer t = { .callback = on_timer, .context = &t };
    for (int64_t spin_us = 0; spin_us <= 2000; spin_us += 2000) {
        begin();
        fired_at = 0;
        in_order = true;
        int64_t start = loop_now_ms(loop), wall = loop_wall_ms(loop);
        loop_timer_set(loop, &t, start + 12);
        loop_run(loop, sleep_until_fired, NULL, spin_us);
        EXPECT(calls == 1 && in_order && loop_now_ms(loop) >= start + 12);
        EXPECT(loop_wall_ms(loop) > wall && wall > 1600000000000);
        loop_close(loop);
    }
}

/* ---- descriptors ---- */

static int ends[PIPES][2];

/* Whoever comes first takes the other one away, whose event is known already. */
static void take_other_away(void *context, int fd, int events)
{
    int other = fd == ends[0][0] ? 1 : 0;
    (void)context;
    calls += events == LOOP_READ ? 1 : 100;
    loop_unwatch(loop, ends[other][0]);
    close(ends[other][0]);
    close(ends[other][1]);
    if (pipe(ends[other]) != 0) /* likely the same numbers again */
        calls += 100;
    loop_watch(loop, ends[other][0], LOOP_READ, take_other_away, NULL);
    loop_unwatch(loop, fd);
}

TEST(loop_event_of_a_descriptor_that_is_gone)
{
    begin();
    for (int i = 0; i < PIPES; i++) {
        EXPECT(pipe(ends[i]) == 0 && write(ends[i][1], "x", 1) == 1);
        loop_watch(loop, ends[i][0], LOOP_READ, take_other_away, NULL);
    }
    run(3);
    EXPECT(calls == 1 && turns == 3);
    for (int i = 0; i < PIPES; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
    loop_close(loop);
}

static int events_seen;

static void remember(void *context, int fd, int events)
{
    (void)context, (void)fd;
    events_seen |= events;
}

TEST(loop_changes_what_it_waits_for)
{
    int fd[2];
    begin();
    EXPECT(pipe(fd) == 0);
    events_seen = 0;
    loop_watch(loop, fd[1], LOOP_READ, remember, NULL);
    run(1);
    EXPECT(events_seen == 0);
    loop_change(loop, fd[1], LOOP_WRITE);
    run(1);
    EXPECT(events_seen == LOOP_WRITE);
    close(fd[0]); /* nobody reads any more: an error counts as both */
    run(1);
    EXPECT(events_seen == (LOOP_READ | LOOP_WRITE));
    loop_unwatch(loop, fd[1]);
    close(fd[1]);
    loop_close(loop);
}

static void on_wake(void *context)
{
    ++*(int *)context;
}

TEST(loop_wakes_are_gathered)
{
    int woken = 0;
    begin();
    loop_on_wake(loop, on_wake, &woken);
    for (int i = 0; i < 10; i++)
        loop_wake(loop);
    run(2);
    EXPECT(woken == 1);
    EXPECT(loop_random() != loop_random() && loop_clock_us() > 0);
    loop_close(loop);
}
