/* process: other processes: started, ended, waited for. */
#pragma once
#include <stdbool.h>
#include "base/err.h"

/* Starts this very program with other words (ended by NULL), its output going to the file. It is
 * ended when we are. *id: of the process. ERR_IO. */
enum err process_start(char *const argv[], const char *log_path, int *id) MUST_CHECK;
void process_end(int id); /* asks it to stop (SIGTERM) */
/* Waits for any of those started to end: its id, and in *status its exit status, or 128 and the
 * signal's number; 0: SIGINT or SIGTERM came for us; -1: none is left. */
int process_wait(int *status);

/* Tells whoever started us, if it wants to hear (systemd's NOTIFY_SOCKET): "READY=1", "STOPPING=1"
 * (sd_notify(3)). */
void process_notify(const char *state);
