#include "node/hashing.h"
#include "node/call_int.h"
#include "node/node_int.h"

struct hashing {
    struct call *call;
    enum request_type type;
    int64_t revision;
    struct machine_hashing *work; /* NULL: its turn has not come */
};

void hashing_gone(struct hashing *h)
{
    struct node *n = h->call->node;
    struct reply unused;
    size_t i = 0;
    while (n->hashings.items[i] != h)
        i++;
    n->hashings.n--;
    for (; i < n->hashings.n; i++)
        n->hashings.items[i] = n->hashings.items[i + 1];
    if (h->work)
        machine_hashing_close(h->work, &unused);
    h->call->hashing = NULL;
    mem_free(&n->alloc, h, sizeof(*h));
}

/* Compaction that waits has its turn now, unless it has to wait for a checkpoint anyway. */
static bool compaction_first(const struct node *n)
{
    struct kv_stats stats;
    kv_stats(n->machine.kv, &stats);
    return stats.pending > 0 && !stats.pinned;
}

/* A piece of the first; true when it is done or refused: then reply is its answer. */
static bool advance(struct node *n, struct hashing *h, struct reply *reply)
{
    if (!h->work) {
        struct request r = { .type = h->type, .hash_revision = h->revision };
        enum err e = login_of(h->call, &r);
        if (e == ERR_OK)
            h->work = machine_hashing_open(&n->machine, &r, reply);
        else
            *reply = (struct reply){ .type = h->type, .err = e };
        if (!h->work)
            return true;
    }
    if (machine_hashing_step(h->work, HASHING_STEP))
        return false;
    machine_hashing_close(h->work, reply);
    h->work = NULL;
    return true;
}

void hashing_begin(struct call *call, const struct request *r)
{
    struct node *n = call->node;
    struct reply reply = { .type = r->type, .err = ERR_TOO_MANY_REQUESTS };
    if (n->hashings.n >= HASHINGS_MAX) {
        n->metrics.hashings_refused++;
        call_answer(call, &reply);
        return;
    }
    n->metrics.hashings++;
    struct hashing *h = mem_zero(&n->alloc, sizeof(*h));
    *h = (struct hashing){ .call = call, .type = r->type, .revision = r->hash_revision };
    call->hashing = h;
    VEC_PUSH(&n->hashings, &n->alloc, h);
    if (n->hashings.n > 1 || compaction_first(n) || !advance(n, h, &reply)) {
        upkeep_again(n);
        return;
    }
    hashing_gone(h);
    call_answer(call, &reply);
}

bool hashing_turn(struct node *n)
{
    struct reply reply;
    if (!n->hashings.n || (!n->hashings.items[0]->work && compaction_first(n)))
        return false; /* compaction sees to another turn */
    struct hashing *h = n->hashings.items[0];
    if (!advance(n, h, &reply))
        return true;
    struct call *call = h->call;
    hashing_gone(h);
    call_answer_late(call, &reply);
    arena_reset(&n->apply);
    return n->hashings.n > 0;
}

void hashing_stop_all(struct node *n)
{
    while (n->hashings.n) {
        struct call *call = n->hashings.items[0]->call;
        hashing_gone(n->hashings.items[0]);
        call_fail_late(call, ERR_LEADER_FAILED);
    }
}
