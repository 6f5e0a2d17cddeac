#include "node/vault.h"
#include "node/cluster.h"
#include "node/login_int.h"
#include "node/vault_int.h"
#include "wire/json/json.h"

void vault_answer(struct call *call, const struct rest_answer *a)
{
    call_answer_http(call, a); /* its arena, and the turn's, are wiped by whoever gives them back */
}

void vault_refuse(struct call *call, enum err e, const char *detail)
{
    call_refuse_http(call, e, detail);
}

void vault_write(struct call *call, const struct change *c, bool by_node)
{
    call->vault->wrote = true;
    change_propose(call, c, by_node);
}

/* ---- the server ---- */

static struct span id_text(struct node *n, uint64_t id)
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    buf_format(&b, "%llx", (unsigned long long)id);
    struct span out = arena_copy(&n->turn, buf_all(&b));
    buf_close(&b);
    return out;
}

static void seal_of(struct node *n, struct vault_seal *out)
{
    struct secret_answer s;
    const struct member *leader = cluster_member(n, n->update.leader);
    seal_state(n, &s);
    *out = (struct vault_seal){ .initialized = s.initialized,
                                .sealed = s.sealed,
                                .type = s.seal_type,
                                .shares = s.shares,
                                .threshold = s.threshold,
                                .progress = s.progress,
                                .cluster_name = SPAN("confman"),
                                .cluster_id = id_text(n, n->header.cluster_id),
                                .leads = n->update.role == RAFT_LEADER,
                                .leader_url = leader ? leader->info.client_url : SPAN_NONE,
                                .now_ms = loop_wall_ms(n->loop) };
}

static void of_server(struct call *call)
{
    struct node *n = call->node;
    const struct vault_call *c = &call->vault->call;
    struct vault_seal s;
    struct rest_answer a;
    seal_of(n, &s);
    if (c->op == VAULT_HEALTH)
        vault_health(c, &s, &n->turn, &a);
    else if (c->op == VAULT_SEAL_STATUS)
        vault_seal_status(&s, &n->turn, &a);
    else
        vault_leader(&s, &n->turn, &a);
    call_answer_http(call, &a);
}

/* ---- who asks, by a password (auth/userpass) ---- */

/* What stands for the password from now on: not the password. */
static struct span said_of(struct call *call, struct span user, struct span password)
{
    struct buf b, text;
    uint8_t hash[BEARER_HASH];
    buf_open(&b, &call->node->alloc);
    buf_open(&text, &call->node->alloc);
    buf_span(&b, user);
    buf_u8(&b, 0);
    buf_span(&b, password);
    vault_hash(buf_all(&b), hash);
    buf_text(&text, "userpass ");
    jsonw_base64(span_of(hash, sizeof(hash)), false, &text);
    struct span out = arena_copy(&call->arena, buf_all(&text));
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    buf_close(&text);
    return out;
}

/* True: the password is being compared, or was refused. */
static bool compares(struct call *call)
{
    struct vault_work *w = call->vault;
    struct caller *c = &call->caller;
    struct span password = w->call.body.password;
    if (w->call.op != VAULT_USERPASS_LOGIN || c->basic)
        return false;
    enum err e = ERR_AUTH_NOT_ENABLED;
    if (auth_enabled(call->node->machine.auth)) {
        identity_let_go(c->who);
        c->who = NULL;
        c->basic = true;
        c->said = said_of(call, w->call.name, password);
        e = login_basic(call, w->call.name, password);
    }
    cipher_wipe((void *)(uintptr_t)password.data, password.len);
    if (e != ERR_OK)
        vault_refuse(call, e, NULL);
    return true;
}

/* ---- calls ---- */

void vault_open(struct call *call, const struct http_request *r)
{
    if (r->body.len > (size_t)call->node->params.request_bytes_max + SLACK_BYTES) {
        call_refuse_http(call, ERR_BODY_TOO_LARGE, NULL);
        return;
    }
    call->conn->secret = call->node->secrets_came = true;
    call->vault = ARENA_NEW(&call->arena, struct vault_work);
    call->http = *r; /* its spans live as long as the call */
    login_head(call, r);
    if (!login_waits(call))
        vault_known(call);
}

void vault_known(struct call *call)
{
    struct vault_work *w = call->vault;
    const char *detail = NULL;
    enum err e = login_may_send(call, call->http.body.len);
    call->rest = &w->call.rest;
    if (e == ERR_OK && !w->known)
        e = vault_call(&call->http, &call->arena, &w->call, &detail);
    w->known = true;
    call_lend(call);
    if (e != ERR_OK)
        vault_refuse(call, e, detail);
    else if (w->call.op <= VAULT_LEADER)
        of_server(call);
    else if (!compares(call))
        call_take(call, &call->rest->request, SPAN_NONE);
}

static void dispatch(struct call *call)
{
    enum vault_op op = call->vault->call.op;
    if (op <= VAULT_TOKEN_CREATE || op == VAULT_USERPASS_LOGIN)
        vault_tokens(call);
    else if (op <= VAULT_APPROLE_ACCESSOR_DESTROY)
        vault_roles(call);
    else
        vault_transit(call);
}

void vault_replied(struct call *call, const struct reply *reply)
{
    struct vault_work *w = call->vault;
    call->node->secrets_came = true;
    if (call->rest->secret) {
        secrets_replied(call, reply);
    } else if (!w->wrote) {
        dispatch(call);
    } else if (!reply->txn.succeeded || w->steps) { /* another was quicker; or that was a step */
        w->wrote = w->gives_token = w->steps = false;
        if (++w->tries > SECRET_TRIES_MAX)
            vault_refuse(call, ERR_TOO_MANY_REQUESTS, NULL);
        else
            dispatch(call);
    } else if (w->gives_token) {
        vault_token_given(call);
    } else {
        vault_answer(call, &w->answer);
    }
}
