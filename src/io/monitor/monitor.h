/* monitor: a lock with one condition, a thread, and a descriptor to poll: for a library that is
 * called from any thread and works on one of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct monitor;

struct monitor *monitor_open(void); /* NULL: no memory */
void monitor_close(struct monitor *m);

void monitor_enter(struct monitor *m); /* fine when this thread is in it already: one leave */
void monitor_leave(struct monitor *m);
/* Inside: waits for monitor_wake, or for until_us of loop_clock_us; then looks again what has
 * changed. False: it was too late before it waited. */
bool monitor_wait(struct monitor *m, int64_t until_us);
void monitor_wake(struct monitor *m); /* all who wait */

struct monitor_thread;
/* Runs with all signals blocked. NULL: there can be no more threads. */
struct monitor_thread *monitor_start(void (*run)(void *context), void *context);
bool monitor_is_own(const struct monitor_thread *t); /* whether it is the one that asks */
void monitor_join(struct monitor_thread *t);

/* Readable once signalled, until somebody reads its 8 bytes (eventfd(2)); -1: none to be had. */
int monitor_event(void);
void monitor_signal(int event);
void monitor_event_close(int event);
int monitor_process(void); /* which tells a child of fork(2) from its parent */
/* How this program and this machine are called; cut to what there is room for. */
void monitor_names(char *program, size_t program_size, char *host, size_t host_size);
