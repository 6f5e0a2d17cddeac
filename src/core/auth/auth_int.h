/* auth_int: what the files of core/auth share. */
#pragma once
#include "base/tree.h"
#include "base/vec.h"
#include "core/auth/auth.h"

/* Where a range ends: before a key, right behind one (a single key's), or nowhere. */
enum range_end { END_BEFORE, END_BEHIND, END_NEVER };

struct range {
    struct span begin, end; /* end empty with END_NEVER */
    enum range_end kind;
};

struct ranges {
    VEC(struct range) list; /* disjoint, not touching, in order */
};

struct user {
    struct tree_node node; /* first, so that it converts by a cast; in struct role too */
    struct span name, hash;
    bool no_password;
    VEC(struct span) roles;
    uint64_t ranges_revision;           /* that what follows was made at; 0: never */
    struct ranges may[AUTH_READ_WRITE]; /* READ, WRITE */
};

struct role {
    struct tree_node node;
    struct span name;
    VEC(struct auth_permission) permissions;
};

struct auth {
    struct alloc *alloc;
    bool enabled;
    uint64_t revision;
    struct tree users, roles; /* by name */
    size_t n_users, n_roles, size_bytes;
};

struct user *auth_find_user(const struct auth *a, struct span name);
struct role *auth_find_role(const struct auth *a, struct span name);
bool auth_range_valid(struct span key, struct span range_end);

/* Whether the user may, by its roles as they are now. */
bool auth_ranges_allow(const struct auth *a, struct user *u, enum auth_right right, struct span key,
                       struct span range_end);
void auth_ranges_close(const struct auth *a, struct user *u);
