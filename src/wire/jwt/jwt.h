/* jwt: signed tokens as etcd makes and takes them (RFC 7515 compact, RFC 7519): bytes apart and
 * together; the signature itself is checked elsewhere, before any claim is believed. Pure.
 *
 * Of the header only alg counts, and the caller compares it with the one method that it has been
 * given: a token does not choose how it is checked (RFC 8725 3.1). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum { JWT_BYTES_MAX = 16384 }; /* of a whole token */

struct jwt_parts {
    struct span alg;       /* what the header says */
    struct span kid;       /* which key it names; empty: none */
    struct span content;   /* header "." claims, as they came: what the signature is of */
    struct span claims;    /* JSON, decoded: not to be read before the signature holds */
    struct span signature; /* decoded */
};

/* Spans point into text and arena. ERR_BAD_REQUEST: not three parts in base64url, a header that is
 * no JSON object with alg, or that has crit, whose meaning is not known here (RFC 7515 4.1.11). */
enum err jwt_split(struct span text, struct arena *arena, struct jwt_parts *out) MUST_CHECK;

struct jwt_claims {
    struct span user; /* "username" */
    uint64_t revision;
    int64_t expires_s, not_before_s; /* since 1970; 0: not there. Fractions are cut off */
};

/* ERR_BAD_REQUEST: no JSON object, or one without a username or revision, or with times that are
 * not numbers. user is in the arena. */
enum err jwt_claims_read(struct span json, struct arena *arena, struct jwt_claims *out) MUST_CHECK;

/* When any token ends, whosever it is; 0: it does not say. Not to be asked before the signature
 * holds. */
int64_t jwt_expires_s(struct span claims);

/* Appends what is to be signed. */
void jwt_write(const char *alg, const struct jwt_claims *c, struct buf *out);
/* Appends the rest. */
void jwt_write_signature(struct span signature, struct buf *out);
