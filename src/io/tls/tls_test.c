#include "io/tls/tls.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/check.h"
#include "base/test.h"

/* A folder with a certificate of its own authority. */
static char folder[64], cert[96], key[96], other_cert[96], other_key[96];
static struct alloc heap;

static bool make_files(void)
{
    static const char *const hosts[] = { "10.1.2.3", "server.example", "not a host" };
    char why[TLS_WHY_MAX];
    alloc_heap(&heap);
    snprintf(folder, sizeof(folder), "/tmp/confman-tls-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    snprintf(other_cert, sizeof(other_cert), "%s/other.pem", folder);
    snprintf(other_key, sizeof(other_key), "%s/other.key", folder);
    return tls_self_signed(cert, key, hosts, 3, 10, why) == ERR_OK &&
           tls_self_signed(other_cert, other_key, hosts, 1, 10, why) == ERR_OK;
}

static void remove_files(void)
{
    unlink(cert);
    unlink(key);
    unlink(other_cert);
    unlink(other_key);
    CHECK(rmdir(folder) == 0);
}

/* Bytes to and fro until both are done, or one has broken. */
static bool shake_hands(struct tls *a, struct tls *b)
{
    struct buf from_a, from_b, plain;
    bool ended;
    buf_open(&from_a, &heap);
    buf_open(&from_b, &heap);
    buf_open(&plain, &heap);
    bool good = tls_start(a, &from_a) == ERR_OK;
    for (int i = 0; good && i < 6; i++) {
        good = tls_feed(b, buf_all(&from_a), &plain, &from_b, &ended) == ERR_OK;
        buf_reset(&from_a);
        good = tls_feed(a, buf_all(&from_b), &plain, &from_a, &ended) == ERR_OK && good;
        buf_reset(&from_b);
    }
    good = good && tls_ready(a) && tls_ready(b);
    buf_close(&from_a);
    buf_close(&from_b);
    buf_close(&plain);
    return good;
}

static bool meet(struct tls_context *client, struct tls_context *server, const char *host)
{
    struct tls *a = tls_open(client, host), *b = tls_open(server, NULL);
    bool good = shake_hands(a, b);
    tls_close(a);
    tls_close(b);
    return good;
}

TEST(tls_self_signed_is_for_its_hosts)
{
    char why[TLS_WHY_MAX];
    struct tls_context *server, *client;
    struct stat s;
    EXPECT(make_files());
    EXPECT(stat(key, &s) == 0 && (s.st_mode & 0777) == 0600);
    struct tls_options o = { .cert_file = cert, .key_file = key };
    EXPECT(tls_context_open(&o, &server, why) == ERR_OK);
    struct tls_options of_client = { .ca_file = cert, .client = true };
    EXPECT(tls_context_open(&of_client, &client, why) == ERR_OK);
    EXPECT(meet(client, server, "10.1.2.3") && meet(client, server, "server.example"));
    EXPECT(meet(client, server, "localhost") && !meet(client, server, "10.1.2.4"));
    ino_t before = s.st_ino;
    EXPECT(tls_self_signed(cert, key, NULL, 0, 10, why) == ERR_OK);
    EXPECT(stat(key, &s) == 0 && s.st_ino == before); /* a good pair is left alone */
    EXPECT(truncate(cert, 0) == 0 && tls_self_signed(cert, key, NULL, 0, 10, why) == ERR_OK);
    EXPECT(stat(key, &s) == 0 && s.st_ino != before);
    tls_context_close(server);
    tls_context_close(client);
    remove_files();
}

TEST(tls_files_are_read_again_when_they_change)
{
    char why[TLS_WHY_MAX];
    struct tls_context *server, *client;
    bool again;
    EXPECT(make_files());
    struct tls_options o = { .cert_file = cert, .key_file = key };
    struct tls_options of_client = { .ca_file = other_cert, .client = true };
    EXPECT(tls_context_open(&o, &server, why) == ERR_OK);
    EXPECT(tls_context_open(&of_client, &client, why) == ERR_OK);
    EXPECT(!meet(client, server, "10.1.2.3"));
    EXPECT(tls_context_refresh(server, &again, why) == ERR_OK && !again);
    EXPECT(rename(other_cert, cert) == 0); /* half of a change: the pair does not fit */
    EXPECT(tls_context_refresh(server, &again, why) == ERR_BAD_REQUEST && strstr(why, "mismatch"));
    EXPECT(tls_context_refresh(server, &again, why) == ERR_OK && !again); /* told once */
    EXPECT(!meet(client, server, "10.1.2.3"));
    EXPECT(rename(other_key, key) == 0);
    EXPECT(tls_context_refresh(server, &again, why) == ERR_OK && again);
    EXPECT(meet(client, server, "10.1.2.3"));
    tls_context_close(server);
    tls_context_close(client);
    remove_files();
}

/* A server that asks for the client's certificate, which is `cert`, with more rules. */
static bool is_let_in(struct tls_options more)
{
    char why[TLS_WHY_MAX];
    struct tls_context *server, *client;
    struct tls_options of_client = {
        .cert_file = cert, .key_file = key, .ca_file = cert, .client = true
    };
    more.cert_file = cert;
    more.key_file = key;
    more.ca_file = cert;
    if (tls_context_open(&more, &server, why) != ERR_OK)
        return false;
    CHECK(tls_context_open(&of_client, &client, why) == ERR_OK);
    bool in = meet(client, server, "localhost");
    tls_context_close(server);
    tls_context_close(client);
    return in;
}

TEST(tls_rules_for_the_caller)
{
    EXPECT(make_files());
    EXPECT(is_let_in((struct tls_options){ .ask = true }));
    EXPECT(is_let_in((struct tls_options){ .allowed_hostname = "other,server.example" }));
    EXPECT(is_let_in((struct tls_options){ .allowed_hostname = "10.1.2.3" }));
    EXPECT(!is_let_in((struct tls_options){ .allowed_hostname = "10.1.2.4,example" }));
    EXPECT(!is_let_in((struct tls_options){ .allowed_cn = "confman" })); /* it has none */
    EXPECT(!is_let_in((struct tls_options){ .allowed_cn = "a", .allowed_hostname = "localhost" }));
    EXPECT(!is_let_in((struct tls_options){ .crl_file = cert })); /* no list in there */
    remove_files();
}

static bool opens(struct tls_options o, const char *because)
{
    char why[TLS_WHY_MAX] = "";
    struct tls_context *c;
    o.cert_file = cert;
    o.key_file = key;
    bool good = tls_context_open(&o, &c, why) == ERR_OK;
    if (good)
        tls_context_close(c);
    return good || !strstr(why, because);
}

TEST(tls_versions_and_ciphers)
{
    EXPECT(make_files());
    EXPECT(opens((struct tls_options){ .version_min = "TLS1.3" }, ""));
    EXPECT(opens((struct tls_options){ .version_min = "TLS1.2", .version_max = "TLS1.2" }, ""));
    EXPECT(!opens((struct tls_options){ .version_min = "TLS1.1" }, "TLS1.2 and TLS1.3"));
    EXPECT(
        !opens((struct tls_options){ .version_min = "TLS1.3", .version_max = "TLS1.2" }, "above"));
    EXPECT(opens((struct tls_options){ .ciphers = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
                                                  "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,"
                                                  "TLS_AES_128_GCM_SHA256" },
                 ""));
    EXPECT(
        !opens((struct tls_options){ .ciphers = "TLS_AES_128_GCM_SHA256,TLS_NONE" }, "TLS_NONE"));
    remove_files();
}
