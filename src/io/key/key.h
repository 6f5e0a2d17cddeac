/* key: a key that signs and checks the tokens of one method (RFC 7518 3, RFC 8037), on OpenSSL.
 *
 * RS256 RS384 RS512, PS256 PS384 PS512, ES256 ES384 ES512, EdDSA, HS256 HS384 HS512. The method is
 * the key's, not a token's: nothing that comes from outside chooses it. One key may be used by two
 * threads at once. */
#pragma once
#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct key;

enum { KEY_WHY_MAX = 400, KEY_RSA_BITS_MIN = 2048 }; /* RFC 7518 3.3 */

/* Files are PEM; for HS methods private_file holds the secret itself. "" for a file: not given;
 * with the public one alone the key only checks. ERR_BAD_REQUEST with the reason, KEY_WHY_MAX
 * bytes: unknown method, a file that cannot be read, a key of another kind, two that do not belong
 * together. */
enum err key_open(const char *method, const char *public_file, const char *private_file,
                  struct key **out, char *why) MUST_CHECK;
void key_close(struct key *k);

const char *key_method(const struct key *k); /* "ES256" */
bool key_can_sign(const struct key *k);

/* Appends the signature. ERR_INTERNAL: OpenSSL could not. */
enum err key_sign(const struct key *k, struct span data, struct buf *out) MUST_CHECK;
bool key_verify(const struct key *k, struct span data, struct span signature);
