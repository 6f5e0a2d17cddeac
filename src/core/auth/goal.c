#include "base/check.h"
#include "core/auth/auth_int.h"

static bool lists(const struct span *names, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_equal(names[i], name))
            return true;
    return false;
}

static const struct auth_permission *find(const struct auth_permission *items, size_t n,
                                          const struct auth_permission *p)
{
    for (size_t i = 0; i < n; i++)
        if (span_equal(items[i].key, p->key) && span_equal(items[i].range_end, p->range_end))
            return &items[i];
    return NULL;
}

static void next_of_user(const struct auth *a, const struct auth_goal *g, struct auth_change *out)
{
    const struct user *u = auth_find_user(a, g->user);
    out->user = g->user;
    if (!u) {
        out->type = AUTH_CHANGE_USER_ADD;
        return;
    }
    for (size_t i = 0; i < u->roles.n; i++) {
        struct span role = u->roles.items[i];
        bool wanted = lists(g->roles, g->n_roles, role);
        if (wanted || (!g->exact && !lists(g->roles_taken, g->n_roles_taken, role)))
            continue;
        out->type = AUTH_CHANGE_USER_REVOKE;
        out->role = role;
        return;
    }
    for (size_t i = 0; i < g->n_roles; i++) {
        if (lists(u->roles.items, u->roles.n, g->roles[i]))
            continue;
        out->type = AUTH_CHANGE_USER_GRANT;
        out->role = g->roles[i];
        return;
    }
}

/* The right that the role shall have over a range that is wanted. */
static int32_t right_of(const struct auth_goal *g, const struct auth_permission *wanted,
                        const struct auth_permission *has)
{
    return g->exact || !has || has->right == wanted->right ? wanted->right : AUTH_READ_WRITE;
}

static void next_of_role(const struct auth *a, const struct auth_goal *g, struct auth_change *out)
{
    const struct role *r = auth_find_role(a, g->role);
    out->role = g->role;
    if (!r) {
        out->type = AUTH_CHANGE_ROLE_ADD;
        return;
    }
    for (size_t i = 0; i < r->permissions.n; i++) {
        const struct auth_permission *p = &r->permissions.items[i];
        if (find(g->permissions, g->n_permissions, p) ||
            (!g->exact && !find(g->taken, g->n_taken, p)))
            continue;
        out->type = AUTH_CHANGE_ROLE_REVOKE;
        out->permission = *p;
        return;
    }
    for (size_t i = 0; i < g->n_permissions; i++) {
        const struct auth_permission *p = &g->permissions[i];
        const struct auth_permission *has = find(r->permissions.items, r->permissions.n, p);
        int32_t right = right_of(g, p, has);
        if (has && has->right == right)
            continue;
        out->type = AUTH_CHANGE_ROLE_GRANT;
        out->permission = *p;
        out->permission.right = right;
        return;
    }
}

void auth_goal_next(const struct auth *a, const struct auth_goal *g, struct auth_change *out)
{
    CHECK(!g->user.len != !g->role.len);
    *out = (struct auth_change){ .type = AUTH_CHANGE_NONE };
    if (g->user.len)
        next_of_user(a, g, out);
    else
        next_of_role(a, g, out);
}
