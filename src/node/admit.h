/* admit: whether a request is worked on: rates of users and prefixes (core/limit), how much waits
 * already, and the bytes of answers that are on their way. What keeps a cluster alive is never
 * refused here: renewals of leases, health, status, members, what an operator sets. */
#pragma once
#include "base/err.h"
#include "core/machine/machine.h"

struct call;
struct conn;
struct node;

enum {
    PENDING_RESERVE = 10000,       /* beyond pending-max: for expiries, revokes, notes of leases */
    ANSWER_SMALL_BYTES = 64 << 10, /* answers up to this are not counted */
};

/* ERR_RATE_LIMITED: then call->retry_ms says when it may come again. ERR_TOO_MANY_REQUESTS. */
enum err admit_request(struct call *call, const struct request *r) MUST_CHECK;

/* Unsent bytes from which on a stream is sent nothing more for now: it reads on from history. One
 * that is not read holds as much, so they are few when all connections together hold much. */
size_t admit_stream_bytes(const struct node *n);

/* Before an answer is made into bytes; they are counted until they have left. ERR_ANSWER_TOO_LARGE,
 * ERR_ANSWERS_FULL: what was asked to be written is written all the same. */
enum err admit_answer(struct call *call, const struct reply *reply) MUST_CHECK;
void admit_call_gone(struct call *call); /* over HTTP/1.1 they wait on the connection */
void admit_conn_sent(struct conn *c);    /* nothing waits there any more */

/* Whether so many wait that no more is taken; urgent: what ends leases, or is the node's own. */
bool admit_overloaded(struct node *n, bool urgent);
