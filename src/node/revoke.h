/* revoke: tokens that were ended before their time, on every member.
 *
 * A token that is logged out leaves the key "confman/revoked/<SHA-256 of it, in hexadecimal>", its
 * value when it would have ended: so all members know, also after a restart. What is hashed is the
 * token without what stands behind its last dot: a signature can be written in more than one way,
 * and what it is of cannot. The leader takes the keys away when the tokens have ended anyway.
 * Only root writes there (core/machine/permit.c). */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/span.h"
#include "core/kv/kv.h"

struct call;
struct node;

bool revoke_has(struct node *n, struct span token);
/* A token of the call, which has been proven, ends; it would have at expires_ms (since 1970). The
 * call hears of it, or was ended. ERR_REVOKED_FULL: neither. */
enum err revoke_begin(struct call *call, struct span token, int64_t expires_ms) MUST_CHECK;
void revoke_changed(struct node *n, const struct kv_change *changes, size_t count);
void revoke_sweep(struct node *n);
size_t revoke_count(const struct node *n);
