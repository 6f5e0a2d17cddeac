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
    struct oidc_facts o;
    oidc_facts(n, &o);
    f->issuer = o.issuer;
    f->client = o.client;
    f->scopes = o.scopes;
    rest_access(call->rest, f, &call->arena, &out);
    call_answer_http(call, &out);
}

/* The issuer's token has proven who it is, or not: they get one of ours. */
static void come_back(struct call *call)
{
    const struct caller *c = &call->caller;
    enum err e = c->err;
    if (e == ERR_AUTH_TOKEN)
        e = ERR_OIDC_LOGIN;
    if (e == ERR_OK)
        e = c->who ? login_session(call, identity_name(c->who)) : ERR_OIDC_LOGIN;
    if (e != ERR_OK)
        call_end(call, e);
}

void access_now(struct call *call)
{
    struct access_facts f = { .token = SPAN_NONE };
    enum access_verb verb = call->rest->access->verb;
    if (verb == ACCESS_OIDC_START) {
        oidc_login_start(call);
    } else if (verb == ACCESS_OIDC_BACK && call->caller.exchanged) {
        come_back(call);
    } else if (verb == ACCESS_OIDC_BACK) {
        oidc_login_back(call);
    } else {
        if (verb != ACCESS_LOGOUT || !login_end(call))
            answer(call, &f);
    }
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
    enum err e = ERR_OK;
    bool of_accounts = a->verb >= ACCESS_ACCOUNTS && a->verb <= ACCESS_ACCOUNT_DELETE;
    if (of_accounts && reply->type == REQUEST_RANGE) {
        struct rest_answer out;
        rest_accounts(call->rest, &reply->range, call->node->machine.auth, &call->arena, &out);
        call_answer_http(call, &out);
        return;
    }
    if (of_accounts && !account_replied(call, reply))
        return;
    if (changes && reply->type != REQUEST_NONE &&
        !reach_begin(call, &a->goal, false, reached, &e))
        return;
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    if (a->verb == ACCESS_OIDC_BACK) {
        oidc_login_done(call, reply->login.token);
        return;
    }
    if (a->verb == ACCESS_LOGIN)
        f.token = reply->login.token;
    answer(call, &f);
}
