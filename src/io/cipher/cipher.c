#include "io/cipher/cipher.h"
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/check.h"

void cipher_wipe(void *data, size_t len)
{
    if (len)
        OPENSSL_cleanse(data, len);
}

void cipher_random(void *out, size_t len)
{
    CHECK(RAND_bytes(out, (int)len) == 1); /* without it no key may be made */
}

void cipher_seal(const uint8_t key[CIPHER_KEY], struct span bound, struct span plain,
                 struct buf *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *box = buf_room(out, plain.len + CIPHER_NONCE + CIPHER_TAG);
    uint8_t *sealed = box + CIPHER_NONCE;
    int n = 0;
    CHECK(ctx != NULL && plain.len <= INT32_MAX);
    cipher_random(box, CIPHER_NONCE);
    CHECK(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, box) == 1);
    CHECK(EVP_EncryptUpdate(ctx, NULL, &n, bound.data, (int)bound.len) == 1);
    if (plain.len)
        CHECK(EVP_EncryptUpdate(ctx, sealed, &n, plain.data, (int)plain.len) == 1);
    CHECK(EVP_EncryptFinal_ex(ctx, sealed + plain.len, &n) == 1 && n == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, CIPHER_TAG, sealed + plain.len) == 1);
    EVP_CIPHER_CTX_free(ctx); /* wipes what it had of the key */
    out->len += plain.len + CIPHER_NONCE + CIPHER_TAG;
}

bool cipher_open(const uint8_t key[CIPHER_KEY], struct span bound, struct span box,
                 struct buf *out)
{
    uint8_t tag[CIPHER_TAG];
    int n = 0;
    if (box.len < CIPHER_NONCE + CIPHER_TAG || box.len > INT32_MAX)
        return false;
    size_t len = box.len - CIPHER_NONCE - CIPHER_TAG;
    uint8_t *plain = buf_room(out, len + 1);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx != NULL);
    memcpy(tag, box.data + CIPHER_NONCE + len, CIPHER_TAG);
    CHECK(EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, box.data) == 1);
    CHECK(EVP_DecryptUpdate(ctx, NULL, &n, bound.data, (int)bound.len) == 1);
    if (len)
        CHECK(EVP_DecryptUpdate(ctx, plain, &n, box.data + CIPHER_NONCE, (int)len) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, CIPHER_TAG, tag) == 1);
    bool good = EVP_DecryptFinal_ex(ctx, plain + len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (good)
        out->len += len;
    else
        cipher_wipe(plain, len);
    return good;
}

void cipher_id(const uint8_t key[CIPHER_KEY], uint8_t id[CIPHER_ID])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CHECK(EVP_Digest(key, CIPHER_KEY, digest, &len, EVP_sha256(), NULL) == 1 && len >= CIPHER_ID);
    memcpy(id, digest, CIPHER_ID);
    cipher_wipe(digest, sizeof(digest));
}

/* ---- the key of a file ---- */

enum { FILE_MAX = 128, HEX = 2 * CIPHER_KEY, BASE64 = (CIPHER_KEY + 2) / 3 * 4 };

static bool from_hex(const char *text, uint8_t *key)
{
    for (size_t i = 0; i < CIPHER_KEY; i++) {
        unsigned v;
        if (strspn(text + 2 * i, "0123456789abcdefABCDEF") < 2 ||
            sscanf(text + 2 * i, "%2x", &v) != 1)
            return false;
        key[i] = (uint8_t)v;
    }
    return true;
}

static bool from_base64(const char *text, uint8_t *key)
{
    uint8_t out[BASE64 / 4 * 3 + 1];
    bool good = text[BASE64 - 1] == '=' && text[BASE64 - 2] != '=' &&
                EVP_DecodeBlock(out, (const uint8_t *)text, BASE64) == BASE64 / 4 * 3;
    if (good)
        memcpy(key, out, CIPHER_KEY);
    cipher_wipe(out, sizeof(out));
    return good;
}

static const char *read_key(int fd, uint8_t *key)
{
    char text[FILE_MAX + 1] = { 0 };
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return "this is no file:";
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return "others than its owner may use it (chmod 600):";
    ssize_t n = read(fd, text, FILE_MAX);
    bool good = n == CIPHER_KEY;
    if (good)
        memcpy(key, text, CIPHER_KEY);
    else if (n > 0 && text[n - 1] == '\n')
        text[--n] = 0;
    if (!good && n == HEX)
        good = from_hex(text, key);
    else if (!good && n == BASE64)
        good = from_base64(text, key);
    cipher_wipe(text, sizeof(text));
    return good ? NULL : "it must have 32 bytes, as they are, in hexadecimal or in base64:";
}

enum err cipher_key_file(const char *path, uint8_t key[CIPHER_KEY], char *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *wrong = fd < 0 ? "cannot open" : read_key(fd, key);
    if (fd >= 0)
        close(fd);
    if (wrong)
        snprintf(why, CIPHER_WHY_MAX, "%s %.200s", wrong, path);
    return wrong ? ERR_BAD_REQUEST : ERR_OK;
}

static const char *read_line(int fd, char *out, size_t max)
{
    struct stat st;
    size_t len = 0;
    ssize_t n;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return "this is no file:";
    if (st.st_mode & S_IRWXO)
        return "everybody may use it (chmod 600):";
    while (len < max && (n = read(fd, out + len, max - len)) > 0)
        len += (size_t)n;
    const char *end = memchr(out, '\n', len);
    size_t line = end ? (size_t)(end - out) : len;
    if (line && out[line - 1] == '\r')
        line--;
    bool fits = line < max;
    cipher_wipe(out + (fits ? line : 0), max - (fits ? line : 0));
    return !fits ? "its first line is too long:" : line ? NULL : "its first line is empty:";
}

enum err cipher_text_file(const char *path, char *out, size_t max, char *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *wrong = fd < 0 ? "cannot open" : read_line(fd, out, max);
    if (fd >= 0)
        close(fd);
    if (wrong)
        snprintf(why, CIPHER_WHY_MAX, "%s %.200s", wrong, path);
    return wrong ? ERR_BAD_REQUEST : ERR_OK;
}

int64_t cipher_file_stamp(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec + (int64_t)st.st_ino;
}

/* ---- memory ---- */

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

void *cipher_pages(size_t size)
{
    size_t all = whole_pages(size);
    void *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK(madvise(p, all, MADV_DONTDUMP) == 0);
    (void)!mlock(p, all); /* RLIMIT_MEMLOCK may forbid it */
    return p;
}

void cipher_pages_close(void *pages, size_t size)
{
    cipher_wipe(pages, size);
    munmap(pages, whole_pages(size));
}

void cipher_no_dump(void)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
