#include "io/password/password.h"
#include <string.h>
#include "base/test.h"

static bool check(const char *password, const char *hash)
{
    return password_check(span_text(password), span_text(hash));
}

/* Those of golang.org/x/crypto/bcrypt and of crypt_blowfish. */
TEST(password_known_hashes)
{
    EXPECT(check("allmine", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"));
    EXPECT(check("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
    EXPECT(!check("U*V", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
    /* One that libxcrypt's own $2a$ answers otherwise, and etcd's as here. */
    EXPECT(check("\xff\xff\xa3", "$2a$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"));
}

TEST(password_hash_is_checked)
{
    static const uint8_t salt[PASSWORD_SALT] = { 1, 2, 3 };
    char hash[PASSWORD_HASH_MAX];
    password_hash(SPAN("secret"), PASSWORD_COST_MIN, salt, hash);
    EXPECT(strncmp(hash, "$2b$04$", 7) == 0 && strlen(hash) == 60);
    EXPECT(check("secret", hash) && !check("secret2", hash) && !check("", hash));
    password_hash(SPAN_NONE, PASSWORD_COST_MIN, salt, hash);
    EXPECT(check("", hash) && !check("secret", hash));
}

TEST(password_bounds)
{
    static const uint8_t salt[PASSWORD_SALT];
    char hash[PASSWORD_HASH_MAX], long_one[PASSWORD_BYTES_MAX + 1];
    memset(long_one, 'x', sizeof(long_one));
    EXPECT(password_fits(span_of(long_one, sizeof(long_one))) == ERR_PASSWORD_LONG);
    EXPECT(password_fits(SPAN("a\0b")) == ERR_BAD_REQUEST);
    EXPECT(password_fits(span_of(long_one, PASSWORD_BYTES_MAX)) == ERR_OK);
    password_hash(span_of(long_one, PASSWORD_BYTES_MAX), PASSWORD_COST_MIN, salt, hash);
    EXPECT(password_check(span_of(long_one, sizeof(long_one)), span_text(hash)));
    EXPECT(!password_check(span_of(long_one, PASSWORD_BYTES_MAX - 1), span_text(hash)));
    EXPECT(!password_check(SPAN("a\0b"), span_text(hash)));
}

TEST(password_hash_that_is_none)
{
    static const char *const bad[] = {
        "",
        "*0",
        "secret",
        "$2a$",
        "$1$abcdefgh$abcdefghijklmnopqrstuv",
        "$2a$99$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga",
        "$2c$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga",
        "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcgaa",
        "$2a$10$Xa:jQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT(!check("allmine", bad[i]));
}
