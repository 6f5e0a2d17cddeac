/* tls_int: what the files of tls share. */
#pragma once
#include <openssl/ssl.h>
#include <sys/stat.h>
#include "io/tls/tls.h"

enum { TLS_FILES = 4 };

struct tls_context {
    SSL_CTX *ctx;         /* connections hold on to the one that they began with */
    struct tls_options o; /* our own copies */
    /* When the files were read; zeros: there is none. */
    struct stamp {
        struct timespec changed;
        ino_t inode;
        off_t size;
    } stamps[TLS_FILES];
};

/* A text of OpenSSL's last error; ERR_BAD_REQUEST. */
enum err tls_refuse(const char *what, const char *which, char *why);
