/* hashing: HashKV and Hash, which look at everything there is, a piece in each turn.
 *
 * One after the other, each of the state as it is when its turn comes; writes go on meanwhile,
 * compaction of memory waits for the one at work, and goes first before the next begins. One that
 * is at work when a checkpoint is installed in place of the state ends with ERR_LEADER_FAILED: the
 * caller may ask again. */
#pragma once
#include <stdbool.h>

struct node;
struct call;
struct request;
struct hashing;

enum {
    HASHINGS_MAX = 64,   /* at work and waiting; one more is refused with ERR_TOO_MANY_REQUESTS */
    HASHING_STEP = 8192, /* keys and versions a turn */
};

/* Answers the call, at once when nothing is before it and there is little to hash. */
void hashing_begin(struct call *call, const struct request *r);
void hashing_gone(struct hashing *h); /* its call has ended */
/* Hashes on; true when there is more to do at once. */
bool hashing_turn(struct node *n);
void hashing_stop_all(struct node *n);
