#include "base/test.h"
#include "core/auth/auth.h"


static enum err change(struct auth *a, const struct auth_change *c)
{
    switch (c->type) {
    case AUTH_CHANGE_USER_ADD:
        return auth_user_add(a, c->user, SPAN("*"), false);
    case AUTH_CHANGE_USER_GRANT:
        return auth_user_grant(a, c->user, c->role);
    case AUTH_CHANGE_USER_REVOKE:
        return auth_user_revoke(a, c->user, c->role);
    case AUTH_CHANGE_ROLE_ADD:
        return auth_role_add(a, c->role);
    case AUTH_CHANGE_ROLE_GRANT:
        return auth_role_grant(a, c->role, &c->permission);
    case AUTH_CHANGE_ROLE_REVOKE:
        return auth_role_revoke(a, c->role, c->permission.key, c->permission.range_end);
    case AUTH_CHANGE_NONE:
        break;
    }
    return ERR_INTERNAL;
}

/* How many changes it took; -1: one was refused, or it never ends. */
static int reach(struct auth *a, const struct auth_goal *g)
{
    struct auth_change c;
    for (int n = 0; n < 100; n++) {
        auth_goal_next(a, g, &c);
        if (c.type == AUTH_CHANGE_NONE)
            return n;
        if (change(a, &c) != ERR_OK)
            return -1;
    }
    return -1;
}

TEST(auth_goal_of_a_user)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct auth *a = auth_open(&heap);
    const struct span two[] = { SPAN("r1"), SPAN("r2") }, other[] = { SPAN("r3") };
    struct auth_goal goal = { .user = SPAN("ann"), .roles = two, .n_roles = 2 };
    EXPECT(reach(a, &goal) == -1); /* the roles are not there */
    EXPECT(auth_role_add(a, SPAN("r1")) == ERR_OK && auth_role_add(a, SPAN("r2")) == ERR_OK &&
           auth_role_add(a, SPAN("r3")) == ERR_OK);
    EXPECT(reach(a, &goal) == 2 && auth_has_role(a, SPAN("ann"), SPAN("r2")));
    EXPECT(reach(a, &goal) == 0);
    EXPECT(auth_user_grant(a, SPAN("ann"), SPAN("r3")) == ERR_OK);
    EXPECT(reach(a, &goal) == 0); /* what it does not speak of stays */
    goal.roles_taken = other;
    goal.n_roles_taken = 1;
    EXPECT(reach(a, &goal) == 1 && !auth_has_role(a, SPAN("ann"), SPAN("r3")));
    goal = (struct auth_goal){ .user = SPAN("ann"), .roles = other, .n_roles = 1, .exact = true };
    EXPECT(reach(a, &goal) == 3 && !auth_has_role(a, SPAN("ann"), SPAN("r1")));
    auth_close(a);
    EXPECT(heap.used == 0);
}

TEST(auth_goal_of_a_role)
{
    struct alloc heap;
    struct arena arena;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    struct auth *a = auth_open(&heap);
    struct auth_permissions has;
    const struct auth_permission x[] = { { AUTH_READ, SPAN("x"), SPAN("y") } };
    const struct auth_permission xw[] = { { AUTH_WRITE, SPAN("x"), SPAN("y") } };
    const struct auth_permission z[] = { { AUTH_READ_WRITE, SPAN("z"), SPAN_NONE } };
    struct auth_goal goal = { .role = SPAN("r"), .permissions = x, .n_permissions = 1 };
    EXPECT(reach(a, &goal) == 2 && reach(a, &goal) == 0);
    goal.permissions = xw; /* what is added does not take what is there */
    EXPECT(reach(a, &goal) == 1);
    EXPECT(auth_role_permissions(a, SPAN("r"), &arena, &has) == ERR_OK && has.n == 1 &&
           has.items[0].right == AUTH_READ_WRITE);
    goal.exact = true;
    EXPECT(reach(a, &goal) == 1);
    EXPECT(auth_role_permissions(a, SPAN("r"), &arena, &has) == ERR_OK && has.n == 1 &&
           has.items[0].right == AUTH_WRITE);
    goal.permissions = z;
    EXPECT(reach(a, &goal) == 2);
    EXPECT(auth_role_permissions(a, SPAN("r"), &arena, &has) == ERR_OK && has.n == 1 &&
           span_is(has.items[0].key, "z"));
    goal = (struct auth_goal){ .role = SPAN("r"), .taken = z, .n_taken = 1 };
    EXPECT(reach(a, &goal) == 1 && reach(a, &goal) == 0);
    EXPECT(auth_role_permissions(a, SPAN("r"), &arena, &has) == ERR_OK && has.n == 0);
    auth_close(a);
    arena_close(&arena);
    EXPECT(heap.used == 0);
}
