/* Writes of the REST door, before they are proposed: whether what they put is what it must be; and
 * once more, when what that was judged by has changed before they were applied. */
#include "base/check.h"
#include "node/call_int.h"

static enum err permits(void *context, struct request *r)
{
    struct call *call = context;
    enum err e = login_of(call, r);
    return e == ERR_OK ? machine_permits(&call->node->machine, r) : e;
}

static enum err permits_user(void *context, struct span user, struct request *r)
{
    struct call *call = context;
    r->author = user;
    r->auth_revision = auth_revision(call->node->machine.auth);
    return machine_permits(&call->node->machine, r);
}

static enum err would(void *context, const struct request *r)
{
    struct call *call = context;
    return pump_would(call->node, r, call);
}

static enum err secret(void *context, struct span name_space, struct span path, struct span *data)
{
    struct secret_ask ask = { .verb = SECRET_GET,
                              .name_space = name_space,
                              .path = path,
                              .reason = SPAN("a reference in a config") };
    return secrets_lend(context, &ask, data);
}

static int64_t watchers(void *context, struct span key)
{
    const struct call *call = context;
    return watch_count(call->node->watch, key);
}

void call_lend(struct call *call)
{
    struct rest_world *world = ARENA_NEW(&call->arena, struct rest_world);
    *world = (struct rest_world){ .schemas = call->node->schemas,
                                   .links = call->node->links,
                                   .permits = permits,
                                   .would = would,
                                   .permits_user = permits_user,
                                   .secret = secret,
                                   .watchers = watchers,
                                   .context = call };
    call->rest->world = world;
    call->rest->now_ms = loop_wall_ms(call->node->loop);
}

bool call_check(struct call *call)
{
    struct node *n = call->node;
    struct rest_answer a;
    if (!call->rest || rest_check(call->rest, n->machine.kv, &call->arena, &a))
        return true;
    n->metrics.requests_refused += a.status >= 400; /* else it was a dry run */
    n->metrics.checks_refused += a.status >= 400;
    call_answer_http(call, &a);
    return false;
}

bool call_again(struct call *call, const struct reply *reply)
{
    struct node *n = call->node;
    struct rest_call *rest = call->rest;
    const char *detail;
    if (!rest || !rest_again(rest, n->machine.kv, reply))
        return false;
    n->metrics.checks_again++;
    enum err e = ++rest->tries < CALL_CHECKS_MAX ? ERR_OK : ERR_CONFLICT;
    if (e == ERR_OK)
        e = rest_plan(rest, n->machine.kv, &call->arena, &detail);
    if (e == ERR_OK)
        e = login_of(call, &rest->request);
    if (e == ERR_OK)
        e = request_check(&rest->request, &n->turn);
    if (e != ERR_OK)
        call_end(call, e);
    else if (call_check(call))
        call_propose(call, &rest->request);
    return true;
}
