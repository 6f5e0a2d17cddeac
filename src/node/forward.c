/* What is asked of the leader, and what the leader answers. */
#include "node/node_int.h"
#include "base/check.h"
#include "node/peers.h"

/* ---- those who wait for a place in the log ---- */

void awaited_close(struct awaited_queue *q, struct alloc *alloc)
{
    VEC_CLOSE(&q->items, alloc);
    q->head = 0;
}

size_t awaited_count(const struct awaited_queue *q)
{
    return q->items.n - q->head;
}

void awaited_add(struct awaited_queue *q, struct alloc *alloc, struct awaited a)
{
    if (q->head > 1024 && q->head >= q->items.n / 2) {
        q->items.n -= q->head;
        memmove(q->items.items, q->items.items + q->head, q->items.n * sizeof(a));
        q->head = 0;
    }
    VEC_PUSH(&q->items, alloc, a);
    /* Places of one leader rise; another's may begin lower. */
    size_t i = q->items.n - 1;
    for (; i > q->head && q->items.items[i - 1].index > a.index; i--)
        q->items.items[i] = q->items.items[i - 1];
    q->items.items[i] = a;
}

struct awaited *awaited_first(struct awaited_queue *q)
{
    return q->head < q->items.n ? &q->items.items[q->head] : NULL;
}

void awaited_drop_first(struct awaited_queue *q)
{
    CHECK(q->head < q->items.n);
    if (++q->head == q->items.n)
        q->head = q->items.n = 0;
}

/* ---- questions ---- */

void forward_open(struct node *n)
{
    n->forward = (struct forward){ .read_id = 0 };
}

void forward_close(struct node *n)
{
    struct forward *f = &n->forward;
    for (size_t i = 0; i < f->batches.n; i++)
        VEC_CLOSE(&f->batches.items[i].readers, &n->alloc);
    VEC_CLOSE(&f->batches, &n->alloc);
    VEC_CLOSE(&f->gathered, &n->alloc);
    VEC_CLOSE(&f->asks, &n->alloc);
}

bool forward_possible(const struct node *n)
{
    return n->update.role != RAFT_LEADER && n->update.leader != 0 &&
           n->update.leader != n->header.member_id && peers_connected(n, n->update.leader);
}

static uint64_t ask_add(struct node *n, struct ask a)
{
    struct forward *f = &n->forward;
    a.peer = n->update.leader;
    a.proposal.since_ms = loop_now_ms(n->loop);
    if (f->asks_head > 1024 && f->asks_head >= f->asks.n / 2) {
        f->ask_first += f->asks_head;
        f->asks.n -= f->asks_head;
        memmove(f->asks.items, f->asks.items + f->asks_head, f->asks.n * sizeof(a));
        f->asks_head = 0;
    }
    VEC_PUSH(&f->asks, &n->alloc, a);
    return f->ask_first + f->asks.n;
}

/* The question with this id, if that peer may answer it and nobody has yet; it is done then. */
static bool ask_take(struct node *n, uint64_t id, uint64_t peer, enum peer_type type,
                     struct ask *out)
{
    struct forward *f = &n->forward;
    if (id <= f->ask_first + f->asks_head || id > f->ask_first + f->asks.n)
        return false;
    struct ask *a = &f->asks.items[id - f->ask_first - 1];
    bool same = a->type == type || (type == PEER_FORWARD && a->type == PEER_CHANGE);
    if (a->done || a->peer != peer || !same)
        return false;
    a->done = true;
    *out = *a;
    while (f->asks_head < f->asks.n && f->asks.items[f->asks_head].done)
        f->asks_head++;
    return true;
}

void forward_command(struct node *n, struct span command, struct proposal p)
{
    struct ask a = { .type = PEER_FORWARD, .proposal = p };
    struct peer_frame f = { .type = PEER_FORWARD };
    f.forward.id = ask_add(n, a);
    f.forward.command = command;
    n->metrics.forwarded++;
    peers_send(n, n->update.leader, &f);
}

void forward_change(struct node *n, uint64_t base, struct span members, struct proposal p)
{
    struct ask a = { .type = PEER_CHANGE, .proposal = p };
    struct peer_frame f = { .type = PEER_CHANGE };
    f.change.id = ask_add(n, a);
    f.change.base = base;
    f.change.members = members;
    peers_send(n, n->update.leader, &f);
}

void forward_gather(struct node *n, struct call *call, int64_t lease)
{
    struct reader r = { .call = call, .lease = lease, .since_ms = loop_now_ms(n->loop) };
    call->waiting++;
    VEC_PUSH(&n->forward.gathered, &n->alloc, r);
}

void forward_look(struct node *n, struct call *call, int64_t lease)
{
    struct ask a = { .type = PEER_LOOK, .proposal = { .call = call }, .lease = lease };
    struct peer_frame f = { .type = PEER_LOOK };
    call->waiting++;
    f.look.id = ask_add(n, a);
    f.look.lease = lease;
    peers_send(n, n->update.leader, &f);
}

/* ---- reads ---- */

static void refuse_reader(struct node *n, const struct reader *r, enum err e)
{
    struct peer_frame f = { .type = r->lease ? PEER_RENEWED : PEER_READ_INDEX };
    if (r->call) {
        call_read_failed(r->call, e);
    n->metrics.reads_failed += r->call && !r->lease;
        return;
    }
    if (r->lease) {
        f.renewed.id = r->id;
        f.renewed.err = e;
    } else {
        f.read_index.id = r->id;
        f.read_index.err = e;
    }
    peers_send(n, r->peer, &f);
}

static void answer_index(struct node *n, const struct reader *r, uint64_t index)
{
    struct peer_frame f = { .type = PEER_READ_INDEX };
    f.read_index.id = r->id;
    f.read_index.index = index;
    peers_send(n, r->peer, &f);
}

static void serve(struct node *n, struct read_batch b)
{
    int64_t now = loop_now_ms(n->loop);
    for (size_t i = 0; i < b.readers.n; i++) {
        const struct reader *r = &b.readers.items[i];
        n->metrics.slow_reads += !r->lease && now - r->since_ms > SLOW_READ_MS;
        if (r->call)
            call_read_now(r->call, r->lease);
        else if (r->lease)
            call_renew_for_peer(n, r->lease, r->peer, r->id);
    }
    VEC_CLOSE(&b.readers, &n->alloc);
}

static void serve_ready(struct node *n)
{
    struct forward *f = &n->forward;
    size_t i = 0;
    while (i < f->batches.n && !transfer_loading(n)) {
        struct read_batch b = f->batches.items[i];
        if (!b.known || b.index > n->machine.applied_index) {
            i++;
            continue;
        }
        f->batches.n--;
        memmove(f->batches.items + i, f->batches.items + i + 1, (f->batches.n - i) * sizeof(b));
        serve(n, b);
    }
}

/* Reads change nothing: whoever leads next is asked. */
static void gather_again(struct node *n, size_t i)
{
    struct forward *f = &n->forward;
    struct read_batch b = f->batches.items[i];
    f->batches.n--;
    memmove(f->batches.items + i, f->batches.items + i + 1, (f->batches.n - i) * sizeof(b));
    for (size_t k = 0; k < b.readers.n; k++)
        VEC_PUSH(&f->gathered, &n->alloc, b.readers.items[k]);
    VEC_CLOSE(&b.readers, &n->alloc);
}

static void index_known(struct node *n, struct read_batch *b, uint64_t index)
{
    b->known = true;
    b->index = index;
    for (size_t i = 0; i < b->readers.n; i++)
        if (!b->readers.items[i].call && !b->readers.items[i].lease)
            answer_index(n, &b->readers.items[i], index);
}

void forward_reads(struct node *n, const struct raft_update *u)
{
    struct forward *f = &n->forward;
    for (size_t i = 0; i < u->n_reads; i++)
        for (size_t k = 0; k < f->batches.n; k++)
            if (f->batches.items[k].here && f->batches.items[k].id == u->reads[i].id)
                index_known(n, &f->batches.items[k], u->reads[i].index);
    for (size_t k = f->batches.n; u->reads_lost && k-- > 0;)
        if (f->batches.items[k].here && !f->batches.items[k].known)
            gather_again(n, k);
}

static struct read_batch *new_batch(struct node *n, uint64_t id, bool here)
{
    struct forward *f = &n->forward;
    struct read_batch b = { .id = id, .here = here };
    VEC_PUSH(&f->batches, &n->alloc, b);
    return &f->batches.items[f->batches.n - 1];
}

static void ask_here(struct node *n)
{
    struct forward *f = &n->forward;
    struct raft_event event = { .type = RAFT_READ, .read_id = ++f->read_id };
    struct read_batch *b = new_batch(n, f->read_id, true);
    b->readers.items = f->gathered.items;
    b->readers.n = f->gathered.n;
    b->readers.cap = f->gathered.cap;
    f->gathered.items = NULL;
    f->gathered.n = f->gathered.cap = 0;
    if (pump_raft(n, &event) != ERR_OK)
        for (size_t k = f->batches.n; k-- > 0;)
            if (f->batches.items[k].here && f->batches.items[k].id == f->read_id)
                gather_again(n, k);
}

static void ask_renewal(struct node *n, const struct reader *r)
{
    struct ask a = { .type = PEER_RENEW, .proposal = { .call = r->call }, .lease = r->lease };
    struct peer_frame f = { .type = PEER_RENEW };
    f.renew.id = ask_add(n, a);
    f.renew.lease = r->lease;
    peers_send(n, n->update.leader, &f);
}

static void ask_leader(struct node *n)
{
    struct forward *f = &n->forward;
    struct read_batch b = { .here = false };
    for (size_t i = 0; i < f->gathered.n; i++) {
        struct reader *r = &f->gathered.items[i];
        if (!r->call)
            refuse_reader(n, r, ERR_NO_LEADER); /* it asked us as the leader */
        else if (r->lease)
            ask_renewal(n, r);
        else
            VEC_PUSH(&b.readers, &n->alloc, *r);
    }
    f->gathered.n = 0;
    if (!b.readers.n)
        return;
    struct ask a = { .type = PEER_READ };
    struct peer_frame frame = { .type = PEER_READ };
    b.id = frame.read.id = ask_add(n, a);
    VEC_PUSH(&f->batches, &n->alloc, b);
    n->metrics.reads_forwarded += b.readers.n;
    peers_send(n, n->update.leader, &frame);
}

void forward_turn(struct node *n)
{
    struct forward *f = &n->forward;
    if (f->gathered.n && n->update.role == RAFT_LEADER)
        ask_here(n);
    else if (f->gathered.n && forward_possible(n))
        ask_leader(n);
    serve_ready(n);
}

/* ---- what the leader answers ---- */

static void on_forwarded(struct node *n, uint64_t from, const struct peer_forwarded *m)
{
    struct ask a;
    if (!ask_take(n, m->id, from, PEER_FORWARD, &a))
        return;
    if (m->err != ERR_OK)
        proposal_failed(n, &a.proposal, m->err);
    else if (m->index <= n->machine.applied_index)
        proposal_failed(n, &a.proposal, ERR_LEADER_FAILED); /* applied before we were told */
    else
        awaited_add(&n->awaited, &n->alloc, (struct awaited){ m->index, m->term, a.proposal });
}

static void on_read_index(struct node *n, uint64_t from, const struct peer_read_index *m)
{
    struct forward *f = &n->forward;
    struct ask a;
    if (!ask_take(n, m->id, from, PEER_READ, &a))
        return;
    for (size_t k = f->batches.n; k-- > 0;) {
        struct read_batch *b = &f->batches.items[k];
        if (b->here || b->id != m->id)
            continue;
        if (m->err == ERR_OK)
            index_known(n, b, m->index);
        else
            gather_again(n, k);
        return;
    }
}

static void on_renewed(struct node *n, uint64_t from, const struct peer_renewed *m)
{
    struct ask a;
    if (ask_take(n, m->id, from, PEER_RENEW, &a))
        call_renewed(a.proposal.call, a.lease, m->err, m->ttl_s);
}

static void on_looked(struct node *n, uint64_t from, const struct peer_looked *m)
{
    struct ask a;
    if (ask_take(n, m->id, from, PEER_LOOK, &a))
        call_looked(a.proposal.call, m->err, m->ttl_ms);
}

/* ---- what the leader is asked ---- */

static void on_forward(struct node *n, uint64_t from, const struct peer_forward *m)
{
    struct proposal p = { .peer = from, .id = m->id, .since_ms = loop_now_ms(n->loop) };
    enum err e = pump_propose_bytes(n, m->command, p);
    if (e != ERR_OK)
        forward_reply(n, &p, e, 0, 0);
}

static void on_change(struct node *n, uint64_t from, const struct peer_change *m)
{
    struct proposal p = { .peer = from, .id = m->id, .since_ms = loop_now_ms(n->loop) };
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t count;
    enum err e = raft_members_decode(m->members, members, &count);
    if (e == ERR_OK)
        e = pump_change(n, m->base, members, count, p);
    if (e != ERR_OK)
        forward_reply(n, &p, e, 0, 0);
}

static void on_ask_index(struct node *n, uint64_t from, uint64_t id, int64_t lease)
{
    struct reader r = {
        .peer = from, .id = id, .lease = lease, .since_ms = loop_now_ms(n->loop)
    };
    if (n->update.role != RAFT_LEADER)
        refuse_reader(n, &r, ERR_NO_LEADER);
    else if (n->forward.gathered.n >= ASKS_MAX)
        refuse_reader(n, &r, ERR_TOO_MANY_REQUESTS);
    else
        VEC_PUSH(&n->forward.gathered, &n->alloc, r);
}

static void on_look(struct node *n, uint64_t from, const struct peer_look *m)
{
    struct peer_frame f = { .type = PEER_LOOKED };
    struct lease_info info;
    f.looked.id = m->id;
    if (!n->counting) {
        f.looked.err = ERR_NO_LEADER;
    } else {
        f.looked.err = lease_look(n->machine.lease, m->lease, loop_now_ms(n->loop), false,
                                  &n->turn, &info);
        if (f.looked.err == ERR_OK) {
            f.looked.ttl_ms = info.remaining_ms;
            f.looked.granted_s = info.ttl_s;
        }
    }
    peers_send(n, from, &f);
}

void forward_reply(struct node *n, const struct proposal *p, enum err e, uint64_t index,
                   uint64_t term)
{
    struct peer_frame f = { .type = PEER_FORWARDED };
    f.forwarded.id = p->id;
    f.forwarded.err = e;
    f.forwarded.index = index;
    f.forwarded.term = term;
    peers_send(n, p->peer, &f);
}

void forward_frame(struct node *n, uint64_t from, const struct peer_frame *f)
{
    if (f->type == PEER_FORWARD)
        on_forward(n, from, &f->forward);
    else if (f->type == PEER_FORWARDED)
        on_forwarded(n, from, &f->forwarded);
    else if (f->type == PEER_READ)
        on_ask_index(n, from, f->read.id, 0);
    else if (f->type == PEER_READ_INDEX)
        on_read_index(n, from, &f->read_index);
    else if (f->type == PEER_RENEW && f->renew.lease)
        on_ask_index(n, from, f->renew.id, f->renew.lease);
    else if (f->type == PEER_RENEWED)
        on_renewed(n, from, &f->renewed);
    else if (f->type == PEER_LOOK)
        on_look(n, from, &f->look);
    else if (f->type == PEER_LOOKED)
        on_looked(n, from, &f->looked);
    else if (f->type == PEER_CHANGE)
        on_change(n, from, &f->change);
}

/* ---- no answer ---- */

static void ask_failed(struct node *n, struct ask a, enum err e)
{
    if (a.type == PEER_FORWARD || a.type == PEER_CHANGE)
        proposal_failed(n, &a.proposal, e);
    else if (a.type == PEER_RENEW)
        call_renewed(a.proposal.call, a.lease, ERR_NO_LEADER, 0);
    else if (a.type == PEER_LOOK)
        call_looked(a.proposal.call, ERR_NO_LEADER, 0);
}

static void batch_lost(struct node *n, uint64_t id)
{
    struct forward *f = &n->forward;
    for (size_t k = f->batches.n; k-- > 0;)
        if (!f->batches.items[k].here && f->batches.items[k].id == id &&
            !f->batches.items[k].known)
            gather_again(n, k);
}

static void asks_lost(struct node *n, uint64_t peer, int64_t before_ms, enum err e)
{
    struct forward *f = &n->forward;
    uint64_t last = f->ask_first + f->asks.n;
    for (uint64_t id = f->ask_first + f->asks_head + 1; id <= last; id++) {
        struct ask a = f->asks.items[id - f->ask_first - 1];
        if (a.done || (peer && a.peer != peer) || a.proposal.since_ms >= before_ms)
            continue;
        f->asks.items[id - f->ask_first - 1].done = true;
        if (a.type == PEER_READ)
            batch_lost(n, id);
        else
            ask_failed(n, a, e);
    }
    while (f->asks_head < f->asks.n && f->asks.items[f->asks_head].done)
        f->asks_head++;
}

void forward_give_up(struct node *n)
{
    struct forward *f = &n->forward;
    asks_lost(n, 0, INT64_MAX, ERR_STOPPED);
    for (size_t k = f->batches.n; k-- > 0;)
        gather_again(n, k);
    while (f->gathered.n)
        refuse_reader(n, &f->gathered.items[--f->gathered.n], ERR_STOPPED);
}

void forward_lost(struct node *n, uint64_t peer)
{
    asks_lost(n, peer, INT64_MAX, ERR_LEADER_FAILED);
}

void forward_sweep(struct node *n)
{
    struct forward *f = &n->forward;
    int64_t before = loop_now_ms(n->loop) - REQUEST_TIMEOUT_MS;
    asks_lost(n, 0, before, ERR_TIMEOUT);
    size_t kept = 0, count = f->gathered.n;
    for (size_t i = 0; i < count; i++) {
        struct reader r = f->gathered.items[i];
        if (r.since_ms >= before)
            f->gathered.items[kept++] = r;
        else
            refuse_reader(n, &r, n->update.leader ? ERR_TIMEOUT : ERR_NO_LEADER);
    }
    if (f->gathered.n > count)
        memmove(f->gathered.items + kept, f->gathered.items + count,
                (f->gathered.n - count) * sizeof(*f->gathered.items));
    f->gathered.n -= count - kept;
    for (size_t k = f->batches.n; k-- > 0;) {
        struct read_batch *b = &f->batches.items[k];
        if (!b->known && b->readers.n && b->readers.items[0].since_ms < before)
            gather_again(n, k); /* and is refused at the next sweep */
    }
}
