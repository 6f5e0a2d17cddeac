#include "node/access.h"
#include "base/check.h"
#include "node/call_int.h"
#include "node/reach.h"

static void answer(struct call *call, struct access_facts *f)
{
    struct node *n = call->node;
    struct rest_answer out;
    f->auth = n->machine.auth;
    f->secure = call->conn->tls != NULL;
    f->ttl_ms = n->logins.ttl_ms;
    rest_access(call->rest, f, &call->arena, &out);
    call_answer_http(call, &out);
}

void access_now(struct call *call)
{
    struct access_facts f = { .token = SPAN_NONE };
    if (call->rest->access->verb == ACCESS_LOGOUT)
        login_end(call);
    answer(call, &f);
}

static void reached(struct call *call, enum err e)
{
    struct reply done = { .type = REQUEST_NONE, .err = e };
    call_answer_late(call, &done);
}

static void answer_me(struct call *call)
{
    struct access_facts f = { .token = SPAN_NONE };
    struct request r = { .type = REQUEST_AUTH_STATUS };
    enum err e = login_of(call, &r);
    if (e == ERR_OK && !r.author.len && auth_enabled(call->node->machine.auth))
        e = ERR_USER_EMPTY;
    f.author = r.author;
    if (e != ERR_OK)
        call_end(call, e);
    else
        answer(call, &f);
}

void access_replied(struct call *call, const struct reply *reply)
{
    const struct access_ask *a = call->rest->access;
    struct access_facts f = { .token = SPAN_NONE };
    bool changes = a->verb == ACCESS_USER_SET || a->verb >= ACCESS_ROLE_SET;
    if (a->verb == ACCESS_ME) {
        answer_me(call);
        return;
    }
    if (changes && reply->type != REQUEST_NONE && !reach_begin(call, &a->goal, false, reached))
        return;
    if (a->verb == ACCESS_LOGIN)
        f.token = reply->login.token;
    answer(call, &f);
}
