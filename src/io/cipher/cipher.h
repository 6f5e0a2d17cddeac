/* cipher: AES-256-GCM (NIST SP 800-38D), random keys, and memory for keys, on OpenSSL and Linux.
 *
 * A box is nonce (12 bytes, random), ciphertext, tag (16 bytes). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum { CIPHER_KEY = 32, CIPHER_NONCE = 12, CIPHER_TAG = 16, CIPHER_ID = 8, CIPHER_WHY_MAX = 400 };

/* Appends the box of plain; bound: what must be the same to open it. */
void cipher_seal(const uint8_t key[CIPHER_KEY], struct span bound, struct span plain,
                 struct buf *out);
/* Appends what is in the box. False, and nothing is appended: another key, another binding, or
 * bytes that were changed. */
bool cipher_open(const uint8_t key[CIPHER_KEY], struct span bound, struct span box,
                 struct buf *out) MUST_CHECK;

void cipher_random(void *out, size_t len); /* from the system's generator; never fails */
/* What tells keys apart, and tells nothing of them. */
void cipher_id(const uint8_t key[CIPHER_KEY], uint8_t id[CIPHER_ID]);
void cipher_wipe(void *data, size_t len); /* the compiler does not leave it out */

/* The key in a file: its 32 bytes, or those as 64 hexadecimal digits or as base64, and a newline.
 * ERR_BAD_REQUEST with the reason, CIPHER_WHY_MAX bytes; also when others than its owner may read
 * it. */
enum err cipher_key_file(const char *path, uint8_t key[CIPHER_KEY], char *why) MUST_CHECK;

/* The first line of a file, as a text of up to max - 1 bytes: what is shown to another server.
 * ERR_BAD_REQUEST with the reason: it cannot be read, has no line, or a longer one, or everybody
 * may read it (its owner's group may: programs that fetch such texts for others need that). */
enum err cipher_text_file(const char *path, char *out, size_t max, char *why) MUST_CHECK;
/* Another number after every change of the file; 0: it is not there. */
int64_t cipher_file_stamp(const char *path);

/* Zeroed pages that are in no core dump, and, if the system lets us, are never swapped out. Given
 * back wiped. */
void *cipher_pages(size_t size);
void cipher_pages_close(void *pages, size_t size);
/* From now on this process leaves no core dump, and no other one of its user may look into it. */
void cipher_no_dump(void);
