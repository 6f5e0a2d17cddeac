/* auth: users, their roles, and what those may do to which keys.
 *
 * The rules are etcd's (server/auth/store.go): a user has roles, a role has permissions to read,
 * write or both, over one key or a range; what a user may do is the union of them. Whoever has the
 * role "root" may do everything. While auth is enabled the user root keeps that role. Passwords are
 * not known here, only what bcrypt made of them, as text.
 *
 * Replicated and changed by commands only. Every change but to enable raises the revision, which is
 * 1 at the start; a request whose user was proven at an older one is refused
 * (ERR_AUTH_OLD_REVISION), so nobody acts by rights that were taken.
 *
 * Users, roles, roles of a user and permissions of a role stand in the order of their bytes. What
 * a user may do is kept as two rows of disjoint ranges, made when first asked for after a change;
 * they point into the permissions.
 *
 * Pure and deterministic. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct auth;

enum {
    AUTH_NAME_MAX = 1024,      /* bytes of a name of a user or role */
    AUTH_HASH_MAX = 256,       /* of what a password was made into */
    AUTH_KEY_MAX = 64 << 10,   /* of each end of a permission */
    AUTH_BYTES_MAX = 16 << 20, /* of all together, as auth_size_bytes counts */
    AUTH_COST_BYTES = 32,      /* that each user, role, grant and permission counts besides */
};

#define AUTH_ROOT SPAN("root") /* the user and the role */

/* Numbers of the protocol (authpb.Permission.Type). */
enum auth_right { AUTH_READ, AUTH_WRITE, AUTH_READ_WRITE, AUTH_RIGHTS };

struct auth_permission {
    int32_t right; /* enum auth_right, as the wire sent it */
    /* range_end empty: key alone; "\0": from key on; else [key, range_end). */
    struct span key, range_end;
};

struct auth *auth_open(struct alloc *alloc);
void auth_close(struct auth *a);

bool auth_enabled(const struct auth *a);
uint64_t auth_revision(const struct auth *a);
size_t auth_size_bytes(const struct auth *a);

/* ---- changes ---- */

/* Nothing changes on an error. Any that adds: ERR_AUTH_LIMIT, a bound above is passed. */

/* ERR_AUTH_ROOT_USER, ERR_AUTH_ROOT_ROLE: root is missing, or lacks its role. Quiet when it is. */
enum err auth_enable(struct auth *a) MUST_CHECK;
void auth_disable(struct auth *a); /* quiet when it is */

/* no_password: may only come with a certificate; hash is then left out. ERR_USER_EMPTY,
 * ERR_USER_EXISTS. */
enum err auth_user_add(struct auth *a, struct span user, struct span hash,
                       bool no_password) MUST_CHECK;
/* ERR_AUTH_MGMT: root while enabled; ERR_USER_NOT_FOUND. */
enum err auth_user_delete(struct auth *a, struct span user) MUST_CHECK;
/* ERR_USER_NOT_FOUND. */
enum err auth_user_password(struct auth *a, struct span user, struct span hash) MUST_CHECK;
/* The role root need not be there. Quiet when the user has it. ERR_USER_NOT_FOUND,
 * ERR_ROLE_NOT_FOUND. */
enum err auth_user_grant(struct auth *a, struct span user, struct span role) MUST_CHECK;
/* ERR_AUTH_MGMT: root's while enabled; ERR_USER_NOT_FOUND, ERR_ROLE_NOT_GRANTED. */
enum err auth_user_revoke(struct auth *a, struct span user, struct span role) MUST_CHECK;

/* ERR_ROLE_EMPTY, ERR_ROLE_EXISTS. */
enum err auth_role_add(struct auth *a, struct span role) MUST_CHECK;
/* All who have it lose it. ERR_AUTH_MGMT: root while enabled; ERR_ROLE_NOT_FOUND. */
enum err auth_role_delete(struct auth *a, struct span role) MUST_CHECK;
/* p NULL: the request had none: ERR_PERMISSION_NOT_GIVEN. The same range again: the new right takes
 * the place of the old one. ERR_AUTH_MGMT: no such right or range; ERR_ROLE_NOT_FOUND. */
enum err auth_role_grant(struct auth *a, struct span role,
                         const struct auth_permission *p) MUST_CHECK;
/* ERR_ROLE_NOT_FOUND, ERR_PERMISSION_NOT_GRANTED: not exactly this range. */
enum err auth_role_revoke(struct auth *a, struct span role, struct span key,
                          struct span range_end) MUST_CHECK;

/* ---- looking ---- */

/* Spans are valid until the next change, arrays as long as the arena. */
struct auth_names {
    struct span *items;
    size_t n;
};
struct auth_permissions {
    const struct auth_permission *items;
    size_t n;
};

void auth_users(const struct auth *a, struct arena *arena, struct auth_names *out);
void auth_roles(const struct auth *a, struct arena *arena, struct auth_names *out);
/* ERR_USER_NOT_FOUND. */
enum err auth_user_roles(const struct auth *a, struct span user, struct arena *arena,
                         struct auth_names *out) MUST_CHECK;
/* Of root: everything, whatever it was granted. ERR_ROLE_NOT_FOUND. */
enum err auth_role_permissions(const struct auth *a, struct span role, struct arena *arena,
                               struct auth_permissions *out) MUST_CHECK;
bool auth_has_role(const struct auth *a, struct span user, struct span role);
/* An address that is only compared: the same for the same user while the revision is the same. */
const void *auth_who(const struct auth *a, struct span user); /* NULL: not there */
/* What its password is compared with; false: there is no such user. */
bool auth_user_secret(const struct auth *a, struct span user, struct span *hash, bool *no_password);

/* ---- asking, while auth is enabled: a bug otherwise ---- */

/* Whether user, proven at that revision (0: nobody was proven), may read or write all of the range.
 * ERR_USER_EMPTY, ERR_AUTH_OLD_REVISION, ERR_PERMISSION_DENIED: in this order. right: READ or
 * WRITE. */
enum err auth_may(const struct auth *a, struct span user, uint64_t revision, enum auth_right right,
                  struct span key, struct span range_end) MUST_CHECK;
/* Whether user, proven at any revision, has the role root. ERR_USER_EMPTY, ERR_USER_NOT_FOUND,
 * ERR_PERMISSION_DENIED. */
enum err auth_admin(const struct auth *a, struct span user, uint64_t revision) MUST_CHECK;
/* Whether user, proven at any revision, is one. ERR_USER_EMPTY, ERR_PERMISSION_DENIED. */
enum err auth_login(const struct auth *a, struct span user, uint64_t revision) MUST_CHECK;

/* ---- goals: a user or a role as it shall be, reached by one change after the other ---- */

/* Of a user (user not empty): that it is there, with these roles; those in taken it shall not have,
 * nor, when exact, any other. Of a role: the same of permissions; taken says ranges. A permission
 * that is wanted and not exact adds to what the role may do with that very range already. */
struct auth_goal {
    struct span user, role;
    const struct span *roles, *roles_taken;
    size_t n_roles, n_roles_taken;
    const struct auth_permission *permissions, *taken;
    size_t n_permissions, n_taken;
    bool exact;
};

enum auth_change_type {
    AUTH_CHANGE_NONE, /* it is as it shall be */
    AUTH_CHANGE_USER_ADD,
    AUTH_CHANGE_USER_GRANT,
    AUTH_CHANGE_USER_REVOKE,
    AUTH_CHANGE_ROLE_ADD,
    AUTH_CHANGE_ROLE_GRANT,
    AUTH_CHANGE_ROLE_REVOKE,
};

/* Spans are the goal's, or valid until the next change. */
struct auth_change {
    enum auth_change_type type;
    struct span user, role;
    struct auth_permission permission;
};

/* What is to be changed first, as things are: what is taken comes before what is given. */
void auth_goal_next(const struct auth *a, const struct auth_goal *goal, struct auth_change *out);

/* ---- checkpoint: docs/formats/disk.md ---- */

void auth_save(const struct auth *a, struct buf *out);
/* Into an empty one. ERR_CORRUPT: auth_save did not write it; then only auth_close may follow. */
enum err auth_load(struct auth *a, struct span *records) MUST_CHECK;
