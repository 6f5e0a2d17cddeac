#include "io/password/password.h"
#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

enum { PREFIX = 4, HASH = 60 }; /* "$2b$"; with cost, salt and digest */

void password_wipe(void *data, size_t len)
{
    explicit_bzero(data, len);
}

enum err password_fits(struct span password)
{
    if (password.len > PASSWORD_BYTES_MAX)
        return ERR_PASSWORD_LONG;
    return password.len && memchr(password.data, 0, password.len) ? ERR_BAD_REQUEST : ERR_OK;
}

/* setting: a hash, or its beginning. False: it is not a setting of bcrypt. */
static bool run(struct span password, const char *setting, char hash[PASSWORD_HASH_MAX])
{
    char text[PASSWORD_BYTES_MAX + 1];
    struct crypt_data *work = calloc(1, sizeof(*work)); /* 32 KiB: too much for some stacks */
    CHECK(work != NULL && password.len <= PASSWORD_BYTES_MAX);
    if (password.len)
        memcpy(text, password.data, password.len);
    text[password.len] = 0;
    const char *out = crypt_rn(text, setting, work, (int)sizeof(*work));
    bool ok = out && strlen(out) == HASH;
    if (ok)
        memcpy(hash, out, HASH + 1);
    password_wipe(text, sizeof(text));
    password_wipe(work, sizeof(*work));
    free(work);
    return ok;
}

void password_hash(struct span password, int cost, const uint8_t salt[PASSWORD_SALT],
                   char hash[PASSWORD_HASH_MAX])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], random[PASSWORD_SALT];
    CHECK(cost >= PASSWORD_COST_MIN && cost <= PASSWORD_COST_MAX);
    CHECK(password_fits(password) == ERR_OK);
    memcpy(random, salt, sizeof(random));
    CHECK(crypt_gensalt_rn("$2b$", (unsigned long)cost, random, sizeof(random), setting,
                           sizeof(setting)) != NULL);
    CHECK(run(password, setting, hash));
}

/* libxcrypt's $2a$ bends the digest of some passwords on purpose, so that they do not meet those
 * of an old, broken $2x$ (crypt(5)). etcd's $2a$ is what libxcrypt calls $2b$. */
static bool setting_of(struct span hash, char setting[HASH + 1])
{
    if (hash.len != HASH || memchr(hash.data, 0, HASH))
        return false;
    memcpy(setting, hash.data, HASH);
    setting[HASH] = 0;
    if (strncmp(setting, "$2a$", PREFIX) != 0 && strncmp(setting, "$2b$", PREFIX) != 0 &&
        strncmp(setting, "$2y$", PREFIX) != 0)
        return false;
    setting[2] = 'b';
    return true;
}

bool password_check(struct span password, struct span hash)
{
    char setting[HASH + 1], got[PASSWORD_HASH_MAX];
    unsigned differs = 0;
    if (password.len > PASSWORD_BYTES_MAX)
        password.len = PASSWORD_BYTES_MAX;
    bool ok = password_fits(password) == ERR_OK && setting_of(hash, setting) &&
              run(password, setting, got);
    for (int i = 0; ok && i < HASH; i++)
        differs |= (unsigned)(got[i] ^ setting[i]); /* all of it, however early it differs */
    return ok && !differs;
}
