/* process: other processes: started, ended, waited for; and what this one uses. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

/* Starts this very program with other words (ended by NULL), its output going to the file. It is
 * ended when we are. *id: of the process. ERR_IO. */
enum err process_start(char *const argv[], const char *log_path, int *id) MUST_CHECK;
/* A copy of this one, to do something beside it; its exit status is what run gives. It is ended
 * when we are. ERR_IO. */
enum err process_fork(int (*run)(void *context), void *context, int *id) MUST_CHECK;
/* A command of the user's, found by PATH, with our own input and output. ERR_IO: no process could
 * be made; a command that is not there ends with status 127. */
enum err process_run(char *const argv[], int *id) MUST_CHECK;
void process_catch_stop(void); /* SIGINT and SIGTERM are for process_wait from now on */
void process_end(int id);      /* asks it to stop (SIGTERM) */
/* Waits for any of those started to end: its id, and in *status its exit status, or 128 and the
 * signal's number; 0: SIGINT or SIGTERM came for us; -1: none is left. */
int process_wait(int *status);

/* Tells whoever started us, if it wants to hear (systemd's NOTIFY_SOCKET): "READY=1", "STOPPING=1"
 * (sd_notify(3)). */
void process_notify(const char *state);
/* Has the heap keep what a large answer gave back, to be used for the next: else every such answer
 * gets fresh pages from the system and zeroes them. For a process that serves. */
void process_keep_memory(void);

struct process_usage {
    int64_t resident_bytes, virtual_bytes;
    int64_t descriptors, descriptors_max;
    double cpu_seconds;
};
/* What cannot be found out is 0. */
void process_usage(struct process_usage *out);
