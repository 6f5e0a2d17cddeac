#include "io/tcp/tcp.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/test.h"

TEST(tcp_addresses)
{
    static const struct {
        const char *text, *host, *port;
        bool tls;
    } good[] = {
        { "127.0.0.1:2379", "127.0.0.1", "2379", false },
        { "http://a.b:1", "a.b", "1", false },
        { "https://[::1]:65535/", "::1", "65535", true },
        { ":0", "", "0", false },
        { "unix:/run/x.sock", "/run/x.sock", "", false },
        { "unixs:///run/a:1.sock", "/run/a:1.sock", "", true },
    };
    static const char *const bad[] = { "",      "a",       "a:",         "a:x",    "a:65536",
                                       "::1:1", "a:1x",    "ftp://a:1:", "a:-1",   "a:+1",
                                       "a: 1",  "a:00001x", "[::1:1",    "::1]:1", "a:123456",
                                       "unix:", "unix://" };
    struct tcp_address a;
    bool tls;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        EXPECT(tcp_parse(good[i].text, &a, &tls) == ERR_OK && tls == good[i].tls);
        EXPECT(strcmp(a.host, good[i].host) == 0 && strcmp(a.port, good[i].port) == 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        EXPECT(tcp_parse(bad[i], &a, NULL) == ERR_BAD_REQUEST);
    char longest[400] = { 0 };
    memset(longest, 'a', 300);
    strcat(longest, ":1");
    EXPECT(tcp_parse(longest, &a, NULL) == ERR_BAD_REQUEST);
}

TEST(tcp_loopback_or_not)
{
    static const struct {
        const char *text;
        bool loopback;
    } some[] = { { "127.0.0.1:1", true }, { "127.9.9.9:1", true }, { "[::1]:1", true },
                 { "0.0.0.0:1", false },  { ":1", false },         { "[::]:1", false },
                 { "10.0.0.1:1", false }, { "[::2]:1", false } };
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
        struct tcp_address a;
        EXPECT(tcp_parse(some[i].text, &a, NULL) == ERR_OK);
        EXPECT(tcp_is_loopback(&a) == some[i].loopback);
    }
}

static bool wait_for(int fd, short events)
{
    struct pollfd p = { fd, events, 0 };
    return poll(&p, 1, 2000) == 1;
}

/* Listens at `at`, connects at `to`, and the server sees a peer that begins with `peer`. */
static bool talk(const char *at, const char *to, const char *peer)
{
    struct tcp_address a;
    char why[TCP_WHY_MAX], text[TCP_ADDRESS_MAX];
    int listener, client, server;
    uint8_t bytes[8];
    if (tcp_parse(at, &a, NULL) != ERR_OK || tcp_listen(&a, &listener, why) != ERR_OK)
        return false;
    bool good = tcp_accept(listener) == -1;
    strcpy(a.host, to);
    snprintf(a.port, sizeof(a.port), "%u", tcp_port(listener));
    if (tcp_connect(&a, 1000, &client, why) != ERR_OK)
        return false;
    good = good && wait_for(listener, POLLIN) && (server = tcp_accept(listener)) >= 0;
    if (!good)
        return false;
    tcp_peer(server, text);
    good = strncmp(text, peer, strlen(peer)) == 0 &&
           tcp_read(server, bytes, sizeof(bytes)) == TCP_AGAIN &&
           tcp_write(client, SPAN("hello")) == 5 && wait_for(server, POLLIN) &&
           tcp_read(server, bytes, sizeof(bytes)) == 5 && memcmp(bytes, "hello", 5) == 0;
    tcp_close(client);
    good = good && wait_for(server, POLLIN) && tcp_read(server, bytes, sizeof(bytes)) == 0;
    tcp_close(server);
    tcp_close(listener);
    return good;
}

TEST(tcp_listens_and_connects)
{
    EXPECT(talk("127.0.0.1:0", "127.0.0.1", "127.0.0.1:"));
    EXPECT(talk("localhost:0", "localhost", ""));
}

TEST(tcp_a_write_that_nobody_reads_ends)
{
    static const uint8_t zeros[1 << 16];
    struct tcp_address a;
    char why[TCP_WHY_MAX];
    int listener, client, server;
    long n, sum = 0;
    EXPECT(tcp_parse("127.0.0.1:0", &a, NULL) == ERR_OK && tcp_listen(&a, &listener, why) == 0);
    snprintf(a.port, sizeof(a.port), "%u", tcp_port(listener));
    EXPECT(tcp_connect(&a, 0, &client, why) == ERR_OK && wait_for(listener, POLLIN));
    EXPECT((server = tcp_accept(listener)) >= 0);
    while ((n = tcp_write(server, span_of(zeros, sizeof(zeros)))) > 0)
        sum += n;
    EXPECT(n == TCP_AGAIN && sum > 0);
    tcp_close(client);
    while ((n = tcp_write(server, span_of(zeros, sizeof(zeros)))) == TCP_AGAIN)
        EXPECT(wait_for(server, POLLOUT));
    EXPECT(n == TCP_GONE);
    tcp_close(server);
    tcp_close(listener);
}

TEST(tcp_says_why_not)
{
    struct tcp_address a;
    char why[TCP_WHY_MAX] = "";
    int fd, again;
    EXPECT(tcp_parse("127.0.0.1:0", &a, NULL) == ERR_OK && tcp_listen(&a, &fd, why) == ERR_OK);
    snprintf(a.port, sizeof(a.port), "%u", tcp_port(fd));
    EXPECT(tcp_listen(&a, &again, why) == ERR_IO && strstr(why, "in use"));
    tcp_close(fd);
    EXPECT(tcp_connect(&a, 1000, &again, why) == ERR_IO && strstr(why, "refused"));
    strcpy(a.host, "a..b");
    EXPECT(tcp_listen(&a, &again, why) == ERR_IO && strstr(why, "a..b"));
    EXPECT(tcp_connect(&a, 1000, &again, why) == ERR_IO && !tcp_is_loopback(&a));
}

/* 1: connected, 0: failed, -1: not numeric. */
static int connect_without_waiting(const struct tcp_address *a, bool *refused, int *fd)
{
    char why[TCP_WHY_MAX];
    enum err e = tcp_connect_start(a, fd, refused, why);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? -1 : 0;
    if (wait_for(*fd, POLLOUT) && tcp_connect_done(*fd, refused, why) == ERR_OK)
        return 1;
    tcp_close(*fd);
    return 0;
}

TEST(tcp_connects_without_waiting)
{
    struct tcp_address a, found[4];
    char why[TCP_WHY_MAX];
    int listener, client, server;
    bool refused;
    uint8_t byte;
    EXPECT(tcp_parse("127.0.0.1:0", &a, NULL) == ERR_OK && tcp_listen(&a, &listener, why) == 0);
    snprintf(a.port, sizeof(a.port), "%u", tcp_port(listener));
    EXPECT(connect_without_waiting(&a, &refused, &client) == 1 && !refused);
    tcp_keep(client, 3000);
    EXPECT(wait_for(listener, POLLIN) && (server = tcp_accept(listener)) >= 0);
    EXPECT(tcp_read(client, &byte, 1) == TCP_AGAIN); /* it does not block */
    EXPECT(tcp_write(server, SPAN("x")) == 1 && wait_for(client, POLLIN));
    EXPECT(tcp_read(client, &byte, 1) == 1 && byte == 'x');
    tcp_close(client);
    tcp_close(server);
    strcpy(a.host, "localhost");
    EXPECT(connect_without_waiting(&a, &refused, &client) == -1);
    size_t n = tcp_resolve(&a, found, 4, why);
    EXPECT(n > 0 && n <= 4 && tcp_is_loopback(&found[0]) && strcmp(found[0].port, a.port) == 0);
    EXPECT(tcp_resolve(&a, found, 1, why) == 1);
    strcpy(a.host, "a..b");
    EXPECT(tcp_resolve(&a, found, 4, why) == 0 && strstr(why, "a..b"));
    tcp_close(listener);
    strcpy(a.host, "127.0.0.1");
    EXPECT(connect_without_waiting(&a, &refused, &client) == 0 && refused);
}

/* Who listens has the file; what a dead process left is taken over; nothing else is touched. */
TEST(tcp_unix_socket)
{
    char folder[] = "/tmp/confman-unix-XXXXXX", path[64], why[TCP_WHY_MAX];
    struct tcp_address a = { "", "" };
    struct stat s;
    int fd, other;
    EXPECT(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/s", folder);
    snprintf(a.host, sizeof(a.host), "%s", path);
    EXPECT(tcp_is_loopback(&a) && tcp_listen(&a, &fd, why) == ERR_OK && tcp_port(fd) == 0);
    EXPECT(stat(path, &s) == 0 && (s.st_mode & 07) == 0);
    EXPECT(tcp_listen(&a, &other, why) == ERR_IO && strstr(why, "in use"));
    int client, server = tcp_accept(fd); /* of the one who has looked whether somebody is there */
    EXPECT(server >= 0);
    tcp_close(server);
    EXPECT(tcp_connect(&a, 1000, &client, why) == ERR_OK);
    EXPECT((server = tcp_accept(fd)) >= 0 && tcp_write(client, SPAN("hello")) == 5);
    char text[TCP_ADDRESS_MAX];
    EXPECT(wait_for(server, POLLIN) && tcp_read(server, text, sizeof(text)) == 5);
    tcp_peer(server, text);
    EXPECT(strcmp(text, "unix") == 0);
    tcp_close(server);
    tcp_close(client);
    tcp_close(fd); /* as a killed process does: the file stays */
    EXPECT(tcp_connect(&a, 1000, &client, why) == ERR_IO && stat(path, &s) == 0);
    EXPECT(tcp_listen(&a, &fd, why) == ERR_OK);
    tcp_unlisten(fd);
    EXPECT(stat(path, &s) != 0);
    FILE *file = fopen(path, "w");
    EXPECT(file && fclose(file) == 0);
    EXPECT(tcp_listen(&a, &fd, why) == ERR_IO && stat(path, &s) == 0);
    EXPECT(unlink(path) == 0 && rmdir(folder) == 0);
    memset(a.host, 'a', 200);
    EXPECT(tcp_listen(&a, &fd, why) == ERR_IO && strstr(why, "longer"));
    EXPECT(tcp_connect(&a, 1000, &fd, why) == ERR_IO);
}
