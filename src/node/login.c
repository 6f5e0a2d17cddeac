#include "node/login.h"
#include "node/node_int.h"

void login_head(struct call *call, const struct http_request *head)
{
    (void)call, (void)head;
}

/* With authorities to trust every client has shown a certificate that one of them signed. */
enum err login_of(struct call *call, struct request *r)
{
    struct node *n = call->node;
    r->author = buf_all(&call->conn->author);
    r->auth_revision = auth_enabled(n->machine.auth) && r->author.len && *n->params.trusted_ca_file
                           ? auth_revision(n->machine.auth)
                           : 0;
    return ERR_OK;
}

bool login_wants(const struct request *r)
{
    return r->type == REQUEST_AUTHENTICATE ||
           (r->type == REQUEST_USER_ADD && !r->auth.no_password) ||
           (r->type == REQUEST_USER_PASSWORD && r->auth.password.len);
}

void login_begin(struct call *call, const struct request *r)
{
    (void)r;
    call_end(call, ERR_NOT_BUILT);
}

void login_applied(struct node *n, const struct reply *reply)
{
    (void)n, (void)reply;
}
