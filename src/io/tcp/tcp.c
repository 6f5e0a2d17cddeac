#include "io/tcp/tcp.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/check.h"
#include "io/tcp/tcp_int.h"

enum err tcp_parse(const char *text, struct tcp_address *out, bool *tls)
{
    bool secure = false;
    *out = (struct tcp_address){ "", "" };
    if (strncmp(text, "unix:", 5) == 0 || strncmp(text, "unixs:", 6) == 0) {
        if (tls)
            *tls = text[4] == 's';
        return unix_parse(strchr(text, ':') + 1, out);
    }
    if (strncmp(text, "http://", 7) == 0) {
        text += 7;
    } else if (strncmp(text, "https://", 8) == 0) {
        text += 8;
        secure = true;
    }
    if (tls)
        *tls = secure;
    const char *host = text, *colon = strrchr(text, ':');
    if (!colon)
        return ERR_BAD_REQUEST;
    size_t len = (size_t)(colon - text), port_len = strcspn(colon + 1, "/");
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len)) {
        return ERR_BAD_REQUEST; /* a bare IPv6 address: which colon is the port's? */
    }
    bool digits = strspn(colon + 1, "0123456789") == port_len;
    if (len >= sizeof(out->host) || port_len == 0 || port_len > 5 || !digits ||
        atoi(colon + 1) > 65535)
        return ERR_BAD_REQUEST;
    memcpy(out->host, host, len);
    memcpy(out->port, colon + 1, port_len);
    return ERR_OK;
}

static int look_up(const struct tcp_address *a, bool passive, struct addrinfo **out)
{
    struct addrinfo hints = { 0 };
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = passive && !a->host[0] ? AF_INET6 : AF_UNSPEC; /* "::" takes both kinds */
    hints.ai_flags = passive ? AI_PASSIVE : 0;
    return getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, out);
}

static bool loopback(const struct sockaddr *s)
{
    if (s->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)s;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)s;
    return s->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

bool tcp_is_loopback(const struct tcp_address *a)
{
    struct addrinfo *list;
    if (!a->port[0])
        return true;
    if (!a->host[0] || look_up(a, false, &list) != 0)
        return false;
    bool all = true;
    for (struct addrinfo *i = list; i; i = i->ai_next)
        all = all && loopback(i->ai_addr);
    freeaddrinfo(list);
    return all;
}

static void set(int fd, int level, int option, int value)
{
    CHECK(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

static int try_listen(const struct addrinfo *i, bool both)
{
    int fd = socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (i->ai_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both);
    if (bind(fd, i->ai_addr, i->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

enum err tcp_listen(const struct tcp_address *a, int *fd, char *why)
{
    static const struct tcp_address every_ipv4 = { "0.0.0.0", "" };
    struct addrinfo *list, *first;
    if (!a->port[0])
        return unix_listen(a->host, fd, why);
    int failed = look_up(a, true, &list);
    if (failed) {
        snprintf(why, TCP_WHY_MAX, "%.200s:%s: %.100s", a->host, a->port, gai_strerror(failed));
        return ERR_IO;
    }
    for (first = list; first && first->ai_family != AF_INET;)
        first = first->ai_next;
    *fd = try_listen(first ? first : list, !a->host[0]);
    int saved = errno;
    freeaddrinfo(list);
    if (*fd >= 0)
        return ERR_OK;
    if (!a->host[0] && saved == EAFNOSUPPORT) { /* a kernel without IPv6 */
        struct tcp_address ipv4 = every_ipv4;
        memcpy(ipv4.port, a->port, sizeof(ipv4.port));
        return tcp_listen(&ipv4, fd, why);
    }
    snprintf(why, TCP_WHY_MAX, "%.200s:%s: %s", a->host, a->port, strerror(saved));
    return ERR_IO;
}

uint16_t tcp_port(int fd)
{
    struct sockaddr_storage s;
    socklen_t len = sizeof(s);
    CHECK(getsockname(fd, (struct sockaddr *)&s, &len) == 0);
    if (s.ss_family == AF_UNIX)
        return 0;
    return ntohs(s.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&s)->sin_port
                                        : ((struct sockaddr_in6 *)(void *)&s)->sin6_port);
}

int64_t tcp_descriptors_max(void)
{
    struct rlimit r;
    CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    struct rlimit most = { .rlim_cur = r.rlim_max, .rlim_max = r.rlim_max };
    if (setrlimit(RLIMIT_NOFILE, &most) == 0)
        r = most;
    return r.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)r.rlim_cur;
}

int tcp_accept(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            int one = 1;
            /* Fails when the peer has gone already, or where there is no such delay (unix). */
            if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0 ||
                errno == EOPNOTSUPP)
                return fd;
            close(fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return -2;
        if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
            return -1;
    }
}

static bool connect_in_time(int fd, const struct sockaddr *to, socklen_t to_len, int64_t timeout_ms)
{
    if (connect(fd, to, to_len) == 0)
        return true;
    if (errno != EINPROGRESS)
        return false;
    struct pollfd p = { fd, POLLOUT, 0 };
    int n = poll(&p, 1, timeout_ms > 0 ? (int)timeout_ms : -1), error = 0;
    socklen_t len = sizeof(error);
    if (n == 0)
        errno = ETIMEDOUT;
    if (n <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return false;
    errno = error;
    return error == 0;
}

static int try_connect(const struct sockaddr *to, socklen_t to_len, int64_t timeout_ms)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (!connect_in_time(fd, to, to_len, timeout_ms)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    CHECK(fcntl(fd, F_SETFL, 0) == 0);
    if (to->sa_family != AF_UNIX)
        set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    struct timeval t = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) == 0);
    return fd;
}

static enum err connect_unix(const char *path, int64_t timeout_ms, int *fd, char *why)
{
    struct sockaddr_un to;
    enum err e = unix_address(path, &to, why);
    if (e != ERR_OK)
        return e;
    *fd = try_connect((const struct sockaddr *)&to, sizeof(to), timeout_ms);
    if (*fd >= 0)
        return ERR_OK;
    snprintf(why, TCP_WHY_MAX, "%.200s: %s", path, strerror(errno));
    return ERR_IO;
}

enum err tcp_connect(const struct tcp_address *a, int64_t timeout_ms, int *fd, char *why)
{
    struct addrinfo *list;
    if (!a->port[0])
        return connect_unix(a->host, timeout_ms, fd, why);
    int failed = look_up(a, false, &list);
    if (failed) {
        snprintf(why, TCP_WHY_MAX, "%.200s:%s: %.100s", a->host, a->port, gai_strerror(failed));
        return ERR_IO;
    }
    *fd = -1;
    int saved = 0;
    for (struct addrinfo *i = list; i && *fd < 0; i = i->ai_next) {
        *fd = try_connect(i->ai_addr, i->ai_addrlen, timeout_ms);
        saved = errno;
    }
    freeaddrinfo(list);
    if (*fd >= 0)
        return ERR_OK;
    snprintf(why, TCP_WHY_MAX, "%.200s:%s: %s", a->host, a->port, strerror(saved));
    return ERR_IO;
}

/* ---- without waiting ---- */

static enum err say_why(const struct tcp_address *a, int error, bool *refused, char *why)
{
    *refused = error == ECONNREFUSED;
    snprintf(why, TCP_WHY_MAX, "%.200s:%s: %s", a->host, a->port, strerror(error));
    return ERR_IO;
}

enum err tcp_connect_start(const struct tcp_address *a, int *fd, bool *refused, char *why)
{
    struct addrinfo hints = { 0 }, *list;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    *refused = false;
    if (!a->port[0])
        return unix_connect_start(a->host, fd, refused, why);
    if (!a->host[0] || getaddrinfo(a->host, a->port, &hints, &list) != 0)
        return ERR_NOT_FOUND;
    *fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = *fd < 0 ? errno : 0;
    if (!error) {
        set(*fd, IPPROTO_TCP, TCP_NODELAY, 1);
        bool begun = connect(*fd, list->ai_addr, list->ai_addrlen) == 0 || errno == EINPROGRESS;
        error = begun ? 0 : errno;
    }
    freeaddrinfo(list);
    if (!error)
        return ERR_OK;
    if (*fd >= 0)
        close(*fd);
    return say_why(a, error, refused, why);
}

enum err tcp_connect_done(int fd, bool *refused, char *why)
{
    int error = 0;
    socklen_t len = sizeof(error);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    *refused = error == ECONNREFUSED;
    snprintf(why, TCP_WHY_MAX, "%s", strerror(error));
    return error ? ERR_IO : ERR_OK;
}

size_t tcp_resolve(const struct tcp_address *a, struct tcp_address *out, size_t max, char *why)
{
    struct addrinfo *list;
    size_t n = 0;
    int failed = look_up(a, false, &list);
    if (failed) {
        snprintf(why, TCP_WHY_MAX, "%.200s:%s: %.100s", a->host, a->port, gai_strerror(failed));
        return 0;
    }
    for (struct addrinfo *i = list; i && n < max; i = i->ai_next)
        if (getnameinfo(i->ai_addr, i->ai_addrlen, out[n].host, sizeof(out[n].host), out[n].port,
                        sizeof(out[n].port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
            n++;
    freeaddrinfo(list);
    if (!n)
        snprintf(why, TCP_WHY_MAX, "%.200s:%s: no address", a->host, a->port);
    return n;
}

void tcp_keep(int fd, int64_t silence_ms)
{
    enum { ASK_EVERY_S = 1 };
    int asks = (int)(silence_ms / 1000 / 2) + 1;
    CHECK(silence_ms >= 1000 && silence_ms < 1000000);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, asks);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, ASK_EVERY_S);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, asks);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)silence_ms); /* RFC 5482 */
}

/* ---- bytes ---- */

long tcp_read(int fd, void *data, size_t len)
{
    for (;;) {
        ssize_t n = recv(fd, data, len, 0);
        if (n >= 0)
            return n;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return TCP_AGAIN;
        if (errno != EINTR)
            return TCP_GONE;
    }
}

long tcp_write(int fd, struct span data)
{
    for (;;) {
        ssize_t n = send(fd, data.data, data.len, MSG_NOSIGNAL);
        if (n >= 0)
            return n;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return TCP_AGAIN;
        if (errno != EINTR)
            return TCP_GONE;
    }
}

int64_t tcp_round_trip_us(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? (int64_t)info.tcpi_rtt : -1;
}

void tcp_peer(int fd, char out[TCP_ADDRESS_MAX])
{
    struct sockaddr_storage s;
    socklen_t len = sizeof(s);
    char host[128], port[16];
    out[0] = 0;
    bool known = getpeername(fd, (struct sockaddr *)&s, &len) == 0;
    if (known && s.ss_family == AF_UNIX) {
        snprintf(out, TCP_ADDRESS_MAX, "unix");
        return;
    }
    if (known && getnameinfo((struct sockaddr *)&s, len, host, sizeof(host), port, sizeof(port),
                             NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        /* An IPv4 peer of an IPv6 listener. */
        const char *name = strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.') ? host + 7 : host;
        snprintf(out, TCP_ADDRESS_MAX, strchr(name, ':') ? "[%s]:%s" : "%s:%s", name, port);
    }
}

void tcp_close(int fd)
{
    close(fd);
}
