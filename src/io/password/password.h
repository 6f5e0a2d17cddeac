/* password: bcrypt, as etcd keeps passwords ($2a$, $2b$), by libxcrypt.
 *
 * Made slow on purpose, some 55 ms at cost 10: for a worker's thread, never the loop's. Whatever
 * held a password is wiped before a call returns. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/span.h"

enum {
    PASSWORD_BYTES_MAX = 72, /* bcrypt reads no further */
    PASSWORD_HASH_MAX = 64,  /* with a closing NUL; 60 characters are used */
    PASSWORD_SALT = 16,      /* random bytes of a new hash */
    PASSWORD_COST_MIN = 4,
    PASSWORD_COST_MAX = 31,
};

/* Whether a hash can be made of it: ERR_PASSWORD_LONG beyond PASSWORD_BYTES_MAX, as etcd refuses it
 * (golang.org/x/crypto/bcrypt); ERR_BAD_REQUEST with a NUL in it. */
enum err password_fits(struct span password) MUST_CHECK;

/* The hash of a password that fits, closed by NUL. cost: PASSWORD_COST_MIN to _MAX. */
void password_hash(struct span password, int cost, const uint8_t salt[PASSWORD_SALT],
                   char hash[PASSWORD_HASH_MAX]);

/* Whether it is the password of the hash; false also for a hash that is none. Of a longer one only
 * the first PASSWORD_BYTES_MAX bytes count, as in etcd. */
bool password_check(struct span password, struct span hash);

/* Overwrites secrets; the compiler does not leave it out. */
void password_wipe(void *data, size_t len);
