/* tcp_int: what the files of tcp share. */
#pragma once
#include <sys/un.h>
#include "io/tcp/tcp.h"

enum { BACKLOG = 4096 };

/* "//path" or "path". ERR_BAD_REQUEST. */
enum err unix_parse(const char *text, struct tcp_address *out) MUST_CHECK;
/* ERR_IO: the path is too long. */
enum err unix_address(const char *path, struct sockaddr_un *out, char *why) MUST_CHECK;
enum err unix_listen(const char *path, int *fd, char *why) MUST_CHECK;
enum err unix_connect_start(const char *path, int *fd, bool *refused, char *why) MUST_CHECK;
