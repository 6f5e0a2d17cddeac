/* access: calls of REST about users, roles and logins: the node's part of api/rest/access.c. */
#pragma once

struct call;
struct reply;

/* What nobody has to be known for: of a call whose request is REQUEST_NONE. */
void access_now(struct call *call);
/* What the call asked of the core has come, and went well: of a call with call->rest->access. */
void access_replied(struct call *call, const struct reply *reply);
