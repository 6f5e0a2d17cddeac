/* loop: one thread's event loop over epoll: sockets, timers, wake-ups, signals, and the end of a
 * turn.
 *
 * A turn: wait, call back whatever is ready, then call the turn's end once. Callbacks gather;
 * the turn's end acts. Callbacks may watch and unwatch anything, also themselves. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"

struct loop;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop *loop_open(struct alloc *alloc);
void loop_close(struct loop *loop);

/* Runs until loop_stop. The turn's end answers how it goes on: true, there is more to do, so do not
 * wait. spin_us: look that long for something ready before sleeping. */
void loop_run(struct loop *loop, bool (*turn)(void *context), void *context, int64_t spin_us);
void loop_stop(struct loop *loop);

/* For whoever has a loop of his own: one turn, which waits for at most so long; a descriptor that
 * is readable when a turn would not wait; and how long it would wait for a timer (-1: none). */
void loop_turn(struct loop *loop, bool (*turn)(void *context), void *context, int64_t most_ms);
int loop_fd(const struct loop *loop);
int loop_wait_ms(const struct loop *loop);

/* events: LOOP_READ, LOOP_WRITE or both; callback gets those that are ready (an error counts as
 * both). A closed fd must have been unwatched before. */
void loop_watch(struct loop *loop, int fd, int events,
                void (*callback)(void *context, int fd, int events), void *context);
void loop_change(struct loop *loop, int fd, int events);
void loop_unwatch(struct loop *loop, int fd);

/* One-shot timers; the owner keeps the struct, zeroed at first, until it is cleared or has
 * fired. */
struct loop_timer {
    void (*callback)(void *context);
    void *context;
    int64_t at_ms; /* monotonic */
    size_t place;  /* in the heap, from 1; 0: not set */
};
void loop_timer_set(struct loop *loop, struct loop_timer *t,
                    int64_t at_ms); /* moves one that is set */
void loop_timer_clear(struct loop *loop, struct loop_timer *t);

/* SIGTERM and SIGINT come as this callback; SIGPIPE is ignored. */
void loop_on_signal(struct loop *loop, void (*callback)(void *context, int signal), void *context);

/* From any thread: callback runs on the loop's thread soon. For io/thread. */
void loop_wake(struct loop *loop);
void loop_on_wake(struct loop *loop, void (*callback)(void *context), void *context);

int64_t loop_now_ms(const struct loop *loop);  /* monotonic, as of this turn's begin */
int64_t loop_wall_ms(const struct loop *loop); /* since 1970, as of this turn's begin */
int64_t loop_clock_us(void);                   /* monotonic, now: for measuring */
int64_t loop_wall_now_ms(void);                /* since 1970, now, on any thread */
uint64_t loop_random(void);                    /* from the system, for seeds and ids */
/* Ends the process at once, with status 1. */
__attribute__((noreturn)) void loop_die(void);
