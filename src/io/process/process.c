#include "io/process/process_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t asked; /* to stop */

static void on_signal(int number)
{
    asked = number;
}

static void listen_for(int number)
{
    struct sigaction a = { .sa_handler = on_signal }; /* no SA_RESTART: waiting is interrupted */
    sigaction(number, &a, NULL);
}

void process_missing(const char *name)
{
    int why = errno;
    const char *const parts[] = { "confman: ", name, ": ", strerrordesc_np(why), "\n" };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        ssize_t n = write(2, parts[i], strlen(parts[i])); /* no stdio between fork and exec */
        (void)n;
    }
    _exit(why == ENOENT ? 127 : 126);
}

static void become(char *const argv[], int log)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0); /* the terminal's interrupt is for our parent, who tells us */
    dup2(log, 1);
    dup2(log, 2);
    execv("/proc/self/exe", argv);
    _exit(127);
}

enum err process_start(char *const argv[], const char *log_path, int *id)
{
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return ERR_IO;
    process_catch_stop();
    *id = fork();
    if (*id == 0)
        become(argv, log);
    close(log);
    return *id < 0 ? ERR_IO : ERR_OK;
}

enum err process_fork(int (*run)(void *context), void *context, int *id)
{
    *id = fork();
    if (*id == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setpgid(0, 0);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        _exit(run(context));
    }
    return *id < 0 ? ERR_IO : ERR_OK;
}

enum err process_run(char *const argv[], int *id)
{
    *id = fork();
    if (*id == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        execvp(argv[0], argv);
        process_missing(argv[0]);
    }
    return *id < 0 ? ERR_IO : ERR_OK;
}

void process_catch_stop(void)
{
    listen_for(SIGINT);
    listen_for(SIGTERM);
}

void process_end(int id)
{
    kill(id, SIGTERM);
}

int process_wait(int *status)
{
    int how;
    for (;;) {
        if (asked) {
            asked = 0;
            return 0;
        }
        int id = waitpid(-1, &how, 0);
        if (id > 0) {
            *status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
            return id;
        }
        if (errno != EINTR)
            return -1;
    }
}

void process_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (!path || !path[0] || strlen(path) >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@') /* an abstract one (unix(7)) */
        to.sun_path[0] = 0;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* Whoever does not listen does not wait for it either. */
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                          (const struct sockaddr *)&to, len);
    (void)sent;
    close(fd);
}

/* Newer kernels (6.2) tell the number as the size of the folder. */
static int64_t count_descriptors(void)
{
    struct stat st;
    int64_t n = 0;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n - 1; /* our own look */
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void process_usage(struct process_usage *out)
{
    long long total = 0, resident = 0;
    struct rusage r;
    struct rlimit limit;
    *out = (struct process_usage){ .descriptors = count_descriptors() };
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lld %lld", &total, &resident) == 2) {
        out->virtual_bytes = total * sysconf(_SC_PAGESIZE);
        out->resident_bytes = resident * sysconf(_SC_PAGESIZE);
    }
    if (f)
        fclose(f);
    if (getrusage(RUSAGE_SELF, &r) == 0)
        out->cpu_seconds = seconds(r.ru_utime) + seconds(r.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->descriptors_max = (int64_t)limit.rlim_cur;
}

/* Measured with answers of 300 KB (docs/performance.md): a third of the CPU. By itself the C
 * library maps such blocks anew each time, or trims the heap's end behind them. */
void process_keep_memory(void)
{
    enum { MAP_FROM_BYTES = 16 << 20, TRIM_BEYOND_BYTES = 32 << 20, GROW_BYTES = 1 << 20 };
    mallopt(M_MMAP_THRESHOLD, MAP_FROM_BYTES);
    mallopt(M_TRIM_THRESHOLD, TRIM_BEYOND_BYTES);
    mallopt(M_TOP_PAD, GROW_BYTES);
}
