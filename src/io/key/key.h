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

/* RFC 7518 3.3; more bits than the most take long to check. */
enum { KEY_WHY_MAX = 400, KEY_RSA_BITS_MIN = 2048, KEY_RSA_BITS_MAX = 8192 };

/* Files are PEM; for HS methods private_file holds the secret itself. "" for a file: not given;
 * with the public one alone the key only checks. ERR_BAD_REQUEST with the reason, KEY_WHY_MAX
 * bytes: unknown method, a file that cannot be read, a key of another kind, two that do not belong
 * together. */
enum err key_open(const char *method, const char *public_file, const char *private_file,
                  struct key **out, char *why) MUST_CHECK;
void key_close(struct key *k);

/* A public key by its numbers, big-endian (RFC 7518 6, RFC 8037): RSA: n and e; of a curve: x and
 * y; Ed25519: x alone. */
struct key_numbers {
    struct span type;  /* "RSA", "EC", "OKP" */
    struct span curve; /* EC, OKP: "P-256" */
    struct span first, second;
};
/* The methods that a key of this kind may be used for: names, ended by NULL; none for another kind.
 * Never one with a shared secret: what is public must not become one (RFC 8725 3.1). */
const char *const *key_methods(const struct key_numbers *k);
/* The key checks only. ERR_BAD_REQUEST: no such key, or not for this method. */
enum err key_open_numbers(const char *method, const struct key_numbers *numbers,
                          struct key **out) MUST_CHECK;

const char *key_method(const struct key *k); /* "ES256" */
bool key_can_sign(const struct key *k);

/* Appends the signature. ERR_INTERNAL: OpenSSL could not. */
enum err key_sign(const struct key *k, struct span data, struct buf *out) MUST_CHECK;
bool key_verify(const struct key *k, struct span data, struct span signature);
