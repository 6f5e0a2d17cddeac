/* Who proposes, reads, and changes the membership, at whoever believes to lead. */
#include "sim.h"
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

enum { SUBMIT_MAX = 32, MEMBERS_WANTED = 7, STEADY_MS = 4000 };

static size_t leaders(struct world *w, struct node **out)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct node *x = &w->nodes[i];
        if (x->up && x->role == RAFT_LEADER && w->now >= x->held_until)
            out[n++] = x;
    }
    return n;
}

static enum err submit(struct world *w, struct node *n, size_t count, size_t payload)
{
    struct span data[SUBMIT_MAX];
    struct raft_event e = { .type = RAFT_SUBMIT };
    for (size_t i = 0; i < count; i++) {
        size_t len = 8 + (payload ? prng_below(&w->prng, payload) : 0);
        uint8_t *bytes = calloc(1, len); /* raft copies it */
        CHECK(bytes);
        w->value++;
        memcpy(bytes, &w->value, 8);
        data[i] = span_of(bytes, len);
    }
    e.submit.data = data;
    e.submit.n = count;
    enum err err = node_step(w, n, &e);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)data[i].data);
    w->count->submitted += err == ERR_OK ? count : 0;
    w->count->refused += err != ERR_OK;
    if (err != ERR_OK && err != ERR_NO_LEADER && err != ERR_OVERLOADED)
        violated(w, n, "submit: %s", err_text(err));
    return err;
}

void client_read(struct world *w, struct node *n)
{
    struct raft_event e = { .type = RAFT_READ, .read_id = ++w->read_id };
    /* The answer may come within the step. */
    VEC_PUSH(&n->reads, &w->heap, ((struct read){ e.read_id, w->applied }));
    enum err err = node_step(w, n, &e);
    if (err == ERR_OK)
        return;
    for (size_t i = 0; i < n->reads.n; i++)
        if (n->reads.items[i].id == e.read_id)
            n->reads.items[i--] = n->reads.items[--n->reads.n];
    if (err != ERR_NO_LEADER)
        violated(w, n, "read: %s", err_text(err));
}

static void transfer(struct world *w, struct node *n)
{
    struct raft_event e = { .type = RAFT_TRANSFER,
                            .transfer_to = 1 + prng_below(&w->prng, w->n_nodes) };
    enum err err = node_step(w, n, &e);
    w->count->transfers += err == ERR_OK;
    say(w, "%d hands over to %d: %s", (int)n->id, (int)e.transfer_to, err_text(err));
    if (err != ERR_OK && err != ERR_NO_LEADER && err != ERR_NOT_FOUND)
        violated(w, n, "transfer: %s", err_text(err));
}

/* ---- membership ---- */

struct wish {
    struct raft_member m[RAFT_MEMBERS_MAX];
    size_t n;
};

static struct raft_member *wished(struct wish *s, uint64_t id)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->m[i].id == id)
            return &s->m[i];
    return NULL;
}

static void add_member(struct world *w, struct wish *s, unsigned votes)
{
    uint64_t id = 1 + prng_below(&w->prng, w->n_nodes);
    if (wished(s, id) || chance(w, 700)) {
        if (w->n_nodes == NODES_MAX)
            return;
        w->nodes[w->n_nodes].id = w->n_nodes + 1;
        id = ++w->n_nodes;
        w->count->joins++;
    }
    struct node *n = world_node(w, id);
    if (!n->exists)
        node_start(w, n);
    s->m[s->n++] = (struct raft_member){ id, votes, SPAN("joined") };
}

static void wish_once(struct world *w, struct wish *s)
{
    uint64_t kind = prng_below(&w->prng, 10), at = prng_below(&w->prng, s->n);
    struct raft_member *m = &s->m[at];
    if (s->n > MEMBERS_WANTED)
        kind = 9;
    if (kind < 3)
        add_member(w, s, 0);
    else if (kind < 4)
        add_member(w, s, RAFT_VOTER);
    else if (kind < 7)
        for (size_t i = 0; i < s->n; i++) {
            if (s->m[i].votes)
                continue;
            s->m[i].votes = RAFT_VOTER;
            break;
        }
    else if (kind < 8)
        m->votes = m->votes ? 0 : RAFT_VOTER;
    else if (kind < 9)
        m->info = chance(w, 500) ? SPAN("moved") : SPAN("moved again");
    else if (s->n > 1)
        *m = s->m[--s->n];
}

static void change(struct world *w, struct node *n)
{
    struct wish s = { .n = 0 };
    size_t count, voters = 0;
    const struct raft_member *now = raft_members(n->raft, &count);
    for (size_t i = 0; i < count; i++) {
        if (now[i].votes & RAFT_GOES)
            continue;
        s.m[s.n] = now[i];
        s.m[s.n].info = arena_copy(&w->arena, now[i].info);
        s.m[s.n++].votes &= RAFT_VOTER;
    }
    for (uint64_t times = chance(w, 300) ? 1 + prng_below(&w->prng, 4) : 1; times > 0; times--)
        wish_once(w, &s);
    for (size_t i = 0; i < s.n; i++)
        voters += s.m[i].votes == RAFT_VOTER;
    struct raft_event e = { .type = RAFT_CHANGE, .change = { s.m, s.n } };
    enum err err = node_step(w, n, &e);
    w->count->changes += err == ERR_OK;
    say(w, "%d changes the membership: %s", (int)n->id, err_text(err));
    for (size_t i = 0; i < s.n; i++)
        say(w, "    %d votes %u", (int)s.m[i].id, s.m[i].votes);
    if ((err == ERR_BAD_REQUEST) != (voters == 0) && err != ERR_NO_LEADER &&
        err != ERR_CHANGE_PENDING && err != ERR_LEARNER_BEHIND)
        violated(w, n, "change: %s", err_text(err));
}

/* Two lead: what the newer one commits the older one must not fail to read. */
static bool client_between(struct world *w, struct node **lead, size_t n)
{
    if (n < 2 || chance(w, 300))
        return false;
    struct node *older = lead[0]->term < lead[1]->term ? lead[0] : lead[1];
    struct node *newer = lead[0]->term < lead[1]->term ? lead[1] : lead[0];
    uint64_t kind = prng_below(&w->prng, 10);
    if (kind < 5)
        client_read(w, older);
    else
        (void)!submit(w, kind < 8 ? newer : older, 1, 0);
    return true;
}

int64_t client_pause(struct world *w)
{
    struct node *lead[NODES_MAX];
    return between(w, 0, leaders(w, lead) > 1 ? 4 * MS : w->weather.client_every_us);
}

/* Who has no leader's role refuses. */
static void ask_another(struct world *w)
{
    struct node *n = &w->nodes[prng_below(&w->prng, w->n_nodes)];
    if (!n->up || n->role == RAFT_LEADER || w->now < n->held_until)
        return;
    if (submit(w, n, 1, 0) != ERR_NO_LEADER)
        violated(w, n, "takes a command and does not lead");
    transfer(w, n);
    client_read(w, n);
}

void client_tick(struct world *w)
{
    const struct weather *v = &w->weather;
    struct node *lead[NODES_MAX];
    size_t count = leaders(w, lead);
    if (!count || client_between(w, lead, count))
        return;
    struct node *n = lead[prng_below(&w->prng, count)];
    if (chance(w, 10))
        ask_another(w);
    if (w->now < w->quiet_until)
        client_read(w, n);
    else if (chance(w, v->change))
        change(w, n);
    else if (chance(w, v->transfer))
        transfer(w, n);
    else if (chance(w, v->read))
        client_read(w, n);
    else if (raft_last_index(n->raft) < INDEX_MAX / 2)
        (void)!submit(w, n, 1 + prng_below(&w->prng, v->batch), v->payload);
}

/* ---- in the calm at the end ---- */

static struct node *newest_leader(struct world *w)
{
    struct node *leader = NULL;
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        if (n->up && n->role == RAFT_LEADER && (!leader || n->term > leader->term))
            leader = n;
    }
    return leader;
}

void client_calm_tick(struct world *w)
{
    struct node *n = newest_leader(w);
    if (!n || w->now < n->held_until)
        return;
    if (!w->calm_read)
        w->calm_read = w->read_id + 1;
    if (!w->goal_read && chance(w, 300))
        client_read(w, n);
    if (w->goal && w->goal_term == n->term)
        return;
    if (submit(w, n, 1, 0) == ERR_OK) {
        w->goal = raft_last_index(n->raft);
        w->goal_term = n->term;
    }
}

static bool behind(const struct world *w, const struct node *n, const struct node *leader)
{
    return !n->up || n->applied < w->goal || n->applied < leader->applied ||
           raft_last_index(n->raft) != raft_last_index(leader->raft);
}

bool client_done(struct world *w, char why[128])
{
    struct node *leader = newest_leader(w);
    size_t count;
    snprintf(why, 128, "there is no leader");
    if (!leader)
        return false;
    snprintf(why, 128, "%d of term %d does not commit what it was told", (int)leader->id,
             (int)leader->term);
    if (!w->goal || leader->term != w->goal_term || leader->applied < w->goal)
        return false;
    snprintf(why, 128, "%d of term %d answers no read", (int)leader->id, (int)leader->term);
    if (!w->goal_read)
        return false;
    const struct raft_member *m = raft_members(leader->raft, &count);
    bool votes = false;
    for (size_t i = 0; i < count; i++) {
        votes |= m[i].id == leader->id && m[i].votes;
        snprintf(why, 128, "joint consensus is not left");
        if (m[i].votes & RAFT_VOTER_BEFORE)
            return false;
        snprintf(why, 128, "%d is behind its leader %d of term %d", (int)m[i].id, (int)leader->id,
                 (int)leader->term);
        if (behind(w, world_node(w, m[i].id), leader))
            return false;
    }
    snprintf(why, 128, "the leader %d of term %d has no vote", (int)leader->id, (int)leader->term);
    if (!votes)
        return false;
    snprintf(why, 128, "no leader stays, the last is %d of term %d", (int)leader->id,
             (int)leader->term);
    if (w->steady_term != leader->term) {
        w->steady_term = leader->term;
        w->steady_since = w->now;
    }
    return w->now - w->steady_since >= STEADY_MS * MS;
}
