/* Looking after a command: what it is told, and its end. */
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io/process/process_int.h"

static const struct {
    const char *name;
    int number;
} passed_on[] = { { "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT },
                  { "TERM", SIGTERM }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 } };
enum { PASSED_ON = sizeof(passed_on) / sizeof(passed_on[0]) };

int process_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (int i = 0; i < PASSED_ON; i++)
        sigaddset(&set, passed_on[i].number);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool process_signal_next(int fd, int *number, bool *typed, bool *ended)
{
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return false;
    *number = (int)info.ssi_signo;
    *ended = info.ssi_signo == SIGCHLD;
    *typed = info.ssi_code == SI_KERNEL;
    return true;
}

int process_signal_of(const char *name)
{
    const char *rest = strncmp(name, "SIG", 3) == 0 ? name + 3 : name;
    for (int i = 0; i < PASSED_ON; i++)
        if (strcmp(rest, passed_on[i].name) == 0)
            return passed_on[i].number;
    char *end;
    long n = strtol(name, &end, 10);
    return *name && !*end && n > 0 && n < 65 ? (int)n : 0;
}

enum err process_spawn(char *const argv[], char *const environment[], int *id)
{
    *id = fork();
    if (*id == 0) {
        sigset_t none;
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvpe(argv[0], argv, environment);
        process_missing(argv[0]);
    }
    return *id < 0 ? ERR_IO : ERR_OK;
}

bool process_reap(int *id, int *status)
{
    int how;
    *id = waitpid(-1, &how, WNOHANG);
    if (*id <= 0)
        return false;
    *status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    return true;
}

void process_send(int id, int number)
{
    kill(id, number);
}

void process_kill(int id)
{
    kill(id, SIGKILL);
}

bool process_in_memory(const char *path)
{
    struct statfs s;
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash && slash != path ? (size_t)(slash - path) : 1;
    if (n >= sizeof(folder))
        return false;
    memcpy(folder, slash ? path : ".", n);
    folder[n] = 0;
    return statfs(folder, &s) == 0 && (s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC);
}
