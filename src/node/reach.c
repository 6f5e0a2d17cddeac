#include "node/reach.h"
#include "base/check.h"
#include "node/call_int.h"

/* Of nobody's password: bcrypt never makes it. So a user may be logged in by what else proves it,
 * and a password may still be given to it. */
#define NO_PASSWORD SPAN("*")

static const enum request_type types[] = {
    [AUTH_CHANGE_USER_ADD] = REQUEST_USER_ADD,     [AUTH_CHANGE_USER_GRANT] = REQUEST_USER_GRANT,
    [AUTH_CHANGE_USER_REVOKE] = REQUEST_USER_REVOKE, [AUTH_CHANGE_ROLE_ADD] = REQUEST_ROLE_ADD,
    [AUTH_CHANGE_ROLE_GRANT] = REQUEST_ROLE_GRANT, [AUTH_CHANGE_ROLE_REVOKE] = REQUEST_ROLE_REVOKE,
};

static enum err propose(struct call *call, const struct auth_change *c)
{
    struct node *n = call->node;
    struct request r = { .type = types[c->type] };
    enum err e = ERR_OK;
    if (call->reach->by_node)
        r.author = SPAN("login"), r.auth_revision = REQUEST_BY_NODE;
    else
        e = login_of(call, &r);
    r.auth.user = c->user;
    r.auth.role = c->role;
    r.auth.hash = c->type == AUTH_CHANGE_USER_ADD ? NO_PASSWORD : SPAN_NONE;
    r.auth.permission = c->permission;
    r.auth.has_permission = c->type == AUTH_CHANGE_ROLE_GRANT;
    if (e == ERR_OK)
        e = pump_propose(n, &r, call, 0);
    call->waiting += e == ERR_OK;
    return e;
}

/* True: it is over, and *e says how. */
static bool step(struct call *call, enum err *e)
{
    struct auth_change change;
    struct reach *r = call->reach;
    auth_goal_next(call->node->machine.auth, r->goal, &change);
    *e = ERR_OK;
    if (change.type == AUTH_CHANGE_NONE)
        return true;
    *e = ++r->steps > REACH_STEPS_MAX ? ERR_TOO_MANY_REQUESTS : propose(call, &change);
    return *e != ERR_OK;
}

bool reach_begin(struct call *call, const struct auth_goal *goal, bool by_node,
                 void (*done)(struct call *call, enum err e), enum err *e)
{
    CHECK(!call->reach);
    call->reach = ARENA_NEW(&call->arena, struct reach);
    *call->reach = (struct reach){ .goal = goal, .by_node = by_node, .done = done };
    bool over = step(call, e);
    if (over)
        call->reach = NULL;
    return over;
}

/* Another was quicker: the next step sees what it did. */
static bool overtaken(enum err e)
{
    return e == ERR_USER_EXISTS || e == ERR_ROLE_EXISTS || e == ERR_ROLE_NOT_GRANTED ||
           e == ERR_PERMISSION_NOT_GRANTED || e == ERR_AUTH_OLD_REVISION;
}

void reach_replied(struct call *call, const struct reply *reply)
{
    enum err e = overtaken(reply->err) ? ERR_OK : reply->err;
    if (e == ERR_OK && !step(call, &e))
        return;
    void (*done)(struct call *, enum err) = call->reach->done;
    call->reach = NULL;
    done(call, e);
}
