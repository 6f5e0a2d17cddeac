/* tcp: listening, accepting, connecting, reading and writing stream sockets: TCP's, and those of
 * this machine (unix). Buffers are the caller's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/span.h"

enum { TCP_ADDRESS_MAX = 300, TCP_WHY_MAX = 400 };

struct tcp_address {
    char host[256]; /* without brackets; of a unix socket: its path */
    char port[16];  /* "": a unix socket */
};

/* "host:port", "[v6]:port", ":port" (every address), also with "http://" or "https://" in front;
 * "unix:path", "unix://path" and the same with "unixs". *tls (may be NULL): of https and unixs.
 * ERR_BAD_REQUEST. */
enum err tcp_parse(const char *text, struct tcp_address *out, bool *tls) MUST_CHECK;

/* Whether every address that the host stands for is a loopback one; a unix socket is. */
bool tcp_is_loopback(const struct tcp_address *a);

/* Binds and listens, not blocking; of a name's addresses at the first of IPv4, if it has one. A
 * unix socket that a dead process left is taken over, nothing else is; its owner and group may
 * connect, as far as the process's umask lets them. why gets the reason, TCP_WHY_MAX bytes.
 * ERR_IO. */
enum err tcp_listen(const struct tcp_address *a, int *fd, char *why) MUST_CHECK;
uint16_t tcp_port(int fd); /* that a listener really has: port 0 lets the system choose */
void tcp_unlisten(int fd); /* closes a listener; a unix socket's file goes too */

/* The next connection, not blocking and without delay; -1: none now; -2: out of descriptors. */
int tcp_accept(int listener);

/* How many descriptors this process may have, after asking for as many as it may ask for. */
int64_t tcp_descriptors_max(void);

/* For clients: connects within timeout_ms; the socket blocks, with timeout_ms on every read and
 * write (0: no time-out). ERR_IO with the reason. */
enum err tcp_connect(const struct tcp_address *a, int64_t timeout_ms, int *fd,
                     char *why) MUST_CHECK;

/* ---- for a loop's thread: these do not wait ---- */

/* Begins to connect. ERR_OK: *fd becomes writable when it is decided, then ask tcp_connect_done.
 * ERR_NOT_FOUND: host is a name: tcp_resolve. ERR_IO: it failed at once. *refused: nobody listens
 * there. why gets the reason, TCP_WHY_MAX bytes. */
enum err tcp_connect_start(const struct tcp_address *a, int *fd, bool *refused,
                           char *why) MUST_CHECK;
/* ERR_IO: close it. */
enum err tcp_connect_done(int fd, bool *refused, char *why) MUST_CHECK;

/* The numeric addresses that a name stands for, at most max; none: why says so. Waits, maybe long:
 * for a worker's thread. */
size_t tcp_resolve(const struct tcp_address *a, struct tcp_address *out, size_t max, char *why);

/* A connection breaks when its peer's system has acknowledged nothing for about this long, though
 * there was something to acknowledge; when there is nothing, it is asked. */
void tcp_keep(int fd, int64_t silence_ms);

/* As the connection has measured it, in the mean; -1: not known. */
int64_t tcp_round_trip_us(int fd);

/* ---- bytes ---- */

enum { TCP_AGAIN = -1, TCP_GONE = -2 };

/* Bytes moved; 0 from read: the peer has ended; TCP_AGAIN: not now; TCP_GONE: broken. */
long tcp_read(int fd, void *data, size_t len);
long tcp_write(int fd, struct span data);
void tcp_peer(int fd, char out[TCP_ADDRESS_MAX]); /* "127.0.0.1:4711", for the log */
void tcp_close(int fd);
