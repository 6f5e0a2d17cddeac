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
 * be made; a command that cannot be run says so, and ends with status 127 (126: it is there). */
enum err process_run(char *const argv[], int *id) MUST_CHECK;
void process_catch_stop(void); /* SIGINT and SIGTERM are for process_wait from now on */
void process_end(int id);      /* asks it to stop (SIGTERM) */
/* Waits for any of those started to end: its id, and in *status its exit status, or 128 and the
 * signal's number; 0: SIGINT or SIGTERM came for us; -1: none is left. */
int process_wait(int *status);

/* ---- to look after a command with other work beside it ---- */

/* From now on what a command is to be told of (SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2),
 * and that a process has ended (SIGCHLD), comes by this descriptor, and orphans of the command are
 * ours. -1: no descriptor is to be had. */
int process_signals(void);
/* False: none any more. *typed: the terminal sent it, so the command has it too. *ended: it is
 * SIGCHLD. */
bool process_signal_next(int fd, int *number, bool *typed, bool *ended);
int process_signal_of(const char *name); /* "HUP", "SIGHUP" or "1"; 0: there is none */
/* As process_run, with this environment (ended by NULL); it is ended when we are. */
enum err process_spawn(char *const argv[], char *const environment[], int *id) MUST_CHECK;
/* False: nobody has ended. *status as of process_wait. */
bool process_reap(int *id, int *status);
void process_send(int id, int number);
void process_kill(int id);
/* Whether the file system that path is to be on keeps its files in memory alone. */
bool process_in_memory(const char *path);

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
