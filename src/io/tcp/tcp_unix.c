/* Sockets of this machine: a file is the address, and its mode says who may connect. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/tcp/tcp_int.h"

enum { SOCKET_MODE = 0660 };

enum err unix_parse(const char *text, struct tcp_address *out)
{
    const char *path = strncmp(text, "//", 2) == 0 ? text + 2 : text;
    if (!path[0] || strlen(path) >= sizeof(out->host))
        return ERR_BAD_REQUEST;
    strcpy(out->host, path);
    return ERR_OK;
}

enum err unix_address(const char *path, struct sockaddr_un *out, char *why)
{
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(out->sun_path)) {
        snprintf(why, TCP_WHY_MAX,
                 "%.200s: longer than the %zu bytes that a socket's path may have", path,
                 sizeof(out->sun_path) - 1);
        return ERR_IO;
    }
    strcpy(out->sun_path, path);
    return ERR_OK;
}

/* Whether the file is a socket on which nobody listens any more. */
static bool is_left_over(const struct sockaddr_un *a)
{
    struct stat s;
    if (lstat(a->sun_path, &s) != 0 || !S_ISSOCK(s.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) != 0 &&
                errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return dead;
}

enum err unix_listen(const char *path, int *fd, char *why)
{
    struct sockaddr_un a;
    enum err e = unix_address(path, &a, why);
    if (e != ERR_OK)
        return e;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode that the file will have from its first moment on (less umask). */
    bool done = *fd >= 0 && fchmod(*fd, SOCKET_MODE) == 0;
    if (done && is_left_over(&a))
        unlink(path);
    done =
        done && bind(*fd, (const struct sockaddr *)&a, sizeof(a)) == 0 && listen(*fd, BACKLOG) == 0;
    if (done)
        return ERR_OK;
    snprintf(why, TCP_WHY_MAX, "%.200s: %s", path, strerror(errno));
    if (*fd >= 0)
        close(*fd);
    return ERR_IO;
}

void tcp_unlisten(int fd)
{
    struct sockaddr_un a;
    socklen_t len = sizeof(a);
    memset(&a, 0, sizeof(a));
    if (getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.sun_family == AF_UNIX &&
        a.sun_path[0])
        unlink(a.sun_path);
    close(fd);
}

/* Decided at once: a listener of this machine that has no room says so. */
enum err unix_connect_start(const char *path, int *fd, bool *refused, char *why)
{
    struct sockaddr_un a;
    *refused = false;
    enum err e = unix_address(path, &a, why);
    if (e != ERR_OK)
        return e;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
        return ERR_OK;
    *refused = errno == ECONNREFUSED;
    snprintf(why, TCP_WHY_MAX, "%.200s: %s", path, strerror(errno));
    if (*fd >= 0)
        close(*fd);
    return ERR_IO;
}
