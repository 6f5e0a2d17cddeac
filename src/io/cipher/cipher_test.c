#include "io/cipher/cipher.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/test.h"

/* Of another server's tokens: the first line, whatever stands behind it. */
TEST(cipher_text_of_a_file)
{
    static const struct {
        const char *content, *text;
    } rows[] = { { "abc\nd", "abc" }, { "abc\r\n", "abc" }, { "1234567", "1234567" },
                 { "12345678", NULL }, { "12345678\n", NULL }, { "\nx", NULL }, { "", NULL } };
    char path[] = "/tmp/confman-text-XXXXXX", out[8], why[CIPHER_WHY_MAX];
    int fd = mkstemp(path);
    EXPECT(fd >= 0 && cipher_file_stamp(path) != 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].content);
        EXPECT(ftruncate(fd, 0) == 0 && pwrite(fd, rows[i].content, len, 0) == (ssize_t)len);
        enum err e = cipher_text_file(path, out, sizeof(out), why);
        EXPECT(rows[i].text ? e == ERR_OK && strcmp(out, rows[i].text) == 0
                            : e == ERR_BAD_REQUEST);
    }
    EXPECT(fchmod(fd, 0604) == 0);
    EXPECT(cipher_text_file(path, out, sizeof(out), why) == ERR_BAD_REQUEST);
    EXPECT(strstr(why, "chmod") != NULL);
    close(fd);
    EXPECT(unlink(path) == 0 && cipher_file_stamp(path) == 0);
    EXPECT(cipher_text_file(path, out, sizeof(out), why) == ERR_BAD_REQUEST);
}

/* NIST's GCM test case 16's plan: what is sealed opens only with all that it was sealed with. */
TEST(cipher_opens_only_what_it_sealed)
{
    uint8_t key[CIPHER_KEY], other[CIPHER_KEY];
    struct alloc heap;
    struct buf box, out;
    alloc_heap(&heap);
    buf_open(&box, &heap);
    buf_open(&out, &heap);
    cipher_random(key, sizeof(key));
    cipher_random(other, sizeof(other));
    cipher_seal(key, SPAN("here"), SPAN("clear text"), &box);
    EXPECT(box.len == 10 + CIPHER_NONCE + CIPHER_TAG);
    EXPECT(!memmem(box.data, box.len, "clear", 5));
    EXPECT(cipher_open(key, SPAN("here"), buf_all(&box), &out) && span_is(buf_all(&out),
                                                                         "clear text"));
    buf_reset(&out);
    EXPECT(!cipher_open(other, SPAN("here"), buf_all(&box), &out) && out.len == 0);
    EXPECT(!cipher_open(key, SPAN("there"), buf_all(&box), &out) && out.len == 0);
    for (size_t i = 0; i < box.len; i++) {
        EXPECT(!cipher_open(key, SPAN("here"), span_of(box.data, i), &out));
        box.data[i] ^= 1;
        EXPECT(!cipher_open(key, SPAN("here"), buf_all(&box), &out) && out.len == 0);
        box.data[i] ^= 1;
    }
    buf_close(&box);
    buf_close(&out);
    EXPECT(heap.used == 0);
}

/* Test case 14 of the GCM specification (McGrew, Viega): key, nonce and plain text all zeros. */
TEST(cipher_known_vector)
{
    static const uint8_t box[] = {
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3,
        0xba, 0xf3, 0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
        0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19,
    };
    static const uint8_t zeros[CIPHER_KEY];
    struct alloc heap;
    struct buf out;
    alloc_heap(&heap);
    buf_open(&out, &heap);
    EXPECT(cipher_open(zeros, SPAN_NONE, span_of(box, sizeof(box)), &out));
    EXPECT(span_equal(buf_all(&out), span_of(zeros, 16)));
    buf_close(&out);
}

static bool reads(const char *text, size_t len, mode_t mode)
{
    char path[] = "/tmp/confman-cipher-XXXXXX", why[CIPHER_WHY_MAX];
    uint8_t key[CIPHER_KEY];
    int fd = mkstemp(path);
    bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len && fchmod(fd, mode) == 0;
    close(fd);
    ok = ok && cipher_key_file(path, key, why) == ERR_OK && key[0] == 'a' && key[31] == 'a';
    unlink(path);
    return ok;
}

TEST(cipher_key_files)
{
    static const char raw[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char hex[] = "6161616161616161616161616161616161616161616161616161616161616161\n";
    static const char base64[] = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n";
    EXPECT(reads(raw, 32, 0600) && !reads(raw, 31, 0600) && !reads(raw, 32, 0640));
    EXPECT(reads(hex, 65, 0600) && reads(hex, 64, 0400) && !reads(hex, 63, 0600));
    EXPECT(reads(base64, 45, 0600) && reads(base64, 44, 0600) && !reads(base64, 43, 0600));
}
