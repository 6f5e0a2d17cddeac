#include "node/changing.h"
#include "base/check.h"
#include "node/admit.h"
#include "node/call_int.h"

/* Who asks is looked at anew: rights may have been taken since. */
static enum err permitted(struct call *call, struct request *r)
{
    struct node *n = call->node;
    enum err e = login_of(call, r);
    if (e == ERR_OK)
        e = rest_author(call->rest, r->author);
    if (e == ERR_OK)
        e = request_check(r, &n->turn);
    if (e == ERR_OK)
        e = machine_permits(&n->machine, r);
    return e == ERR_OK ? admit_request(call, r) : e;
}

static void plan(struct call *call)
{
    struct node *n = call->node;
    struct rest_call *rest = call->rest;
    struct rest_answer a;
    bool writes;
    rest_change(rest, n->machine.kv, &call->arena, &a, &writes);
    if (!writes) {
        n->metrics.requests_refused += a.status >= 400;
        call_answer_http(call, &a);
        return;
    }
    call->changing++;
    struct request r = rest->request;
    enum err e = permitted(call, &r);
    if (e == ERR_OK) {
        rest->request = r;
        if (call_check(call))
            call_propose(call, &rest->request);
        return;
    }
    audit_refused(call, &r, e);
    call_end(call, e);
}

void changing_replied(struct call *call, const struct reply *reply)
{
    struct node *n = call->node;
    struct rest_answer a;
    CHECK(call->rest->change);
    if (!call->changing) {
        plan(call);
    } else if (reply->txn.succeeded) {
        n->metrics.changes_written++;
        rest_changed(call->rest, n->machine.kv, reply, &call->arena, &a);
        call_answer_http(call, &a);
    } else if (call->changing < CHANGING_TRIES_MAX) {
        n->metrics.changes_repeated++;
        plan(call);
    } else {
        call_end(call, ERR_CONFLICT);
    }
}
