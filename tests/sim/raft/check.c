/* What has to hold after every step, seen by one who knows all nodes at once. The names of the
 * properties are those of the Raft paper's figure 3 where it has one. */
#include "sim.h"
#include <string.h>
#include "base/check.h"
#include "base/hash.h"

uint64_t check_mix(uint64_t digest, uint64_t value)
{
    struct prng p = { digest ^ value * 0x9e3779b97f4a7c15u };
    return prng_next(&p);
}

static struct term *term_of(struct world *w, uint64_t term)
{
    CHECK(term < 1000000);
    while (w->terms.n <= term)
        VEC_PUSH(&w->terms, &w->heap, (struct term){ 0 });
    return &w->terms.items[term];
}

/* ---- log matching ---- */

static struct record *find(const struct world *w, uint64_t index, uint64_t term)
{
    struct record *r = index < INDEX_MAX ? w->records[index] : NULL;
    while (r && r->term != term)
        r = r->other;
    return r;
}

static struct record *make(struct world *w, const struct raft_entry *x)
{
    struct record *r = ARENA_NEW(&w->arena, struct record);
    CHECK(x->index > 0 && x->index < INDEX_MAX);
    *r = (struct record){
        x->index, x->term, UNKNOWN, x->type, arena_copy(&w->arena, x->data), 0, w->records[x->index]
    };
    r->hash = check_mix(check_mix(hash_bytes(x->data, x->type), x->index), x->term);
    w->records[x->index] = r;
    return r;
}

struct record *check_entry(struct world *w, struct node *n, const struct raft_entry *x,
                           uint64_t term_before, bool makes)
{
    struct record *r = find(w, x->index, x->term);
    if (!r && !makes) {
        violated(w, n, "entry %d.%d that no leader made", (int)x->index, (int)x->term);
        return NULL;
    }
    if (!r)
        r = make(w, x);
    if (r->type != x->type || !span_equal(r->data, x->data)) {
        violated(w, n, "log matching: two entries are %d.%d", (int)x->index, (int)x->term);
        return NULL;
    }
    if (x->index > 1 && term_before == 0)
        term_before = UNKNOWN;
    if (r->term_before == UNKNOWN)
        r->term_before = term_before;
    if (term_before != UNKNOWN && r->term_before != term_before)
        violated(w, n, "log matching: before %d.%d stand terms %d and %d", (int)x->index,
                 (int)x->term, (int)r->term_before, (int)term_before);
    return r;
}

void check_cut(struct world *w, struct node *n, uint64_t index)
{
    const struct disk *d = &n->disk;
    if (n->role == RAFT_LEADER && find(w, index, n->term))
        violated(w, n, "leader append-only: cuts its log from %d", (int)index);
    if (index <= n->commit)
        violated(w, n, "cuts from %d, and %d is committed", (int)index, (int)n->commit);
    for (uint64_t i = index; i <= w->committed && i <= disk_last(d); i++)
        if (i > d->checkpoint.index &&
            d->log.items[i - d->checkpoint.index - 1] == w->commits[i].record)
            violated(w, n, "cuts from %d, where %d.%d is committed", (int)index, (int)i,
                     (int)w->commits[i].record->term);
}

/* ---- quorums ---- */

/* Whether a quorum of this membership, or of both that it has, are in the set of nodes. */
static bool quorum(const struct record *config, const bool *in)
{
    struct raft_member m[RAFT_MEMBERS_MAX];
    size_t n, voters = 0;
    enum err e = raft_members_decode(config->data, m, &n);
    CHECK(e == ERR_OK);
    for (unsigned vote = RAFT_VOTER; vote <= RAFT_VOTER_BEFORE; vote <<= 1) {
        size_t all = 0, have = 0;
        for (size_t i = 0; i < n; i++) {
            if (!(m[i].votes & vote))
                continue;
            all++;
            have += m[i].id <= NODES_MAX && in[m[i].id - 1];
        }
        if (all && have < all / 2 + 1)
            return false;
        voters += all;
    }
    return voters > 0;
}

/* A leader says that index is committed: Raft 3.5, 3.6.2. */
static void check_claim(struct world *w, struct node *n, uint64_t index)
{
    bool has[NODES_MAX] = { 0 };
    uint64_t term = raft_term_at(n->raft, index);
    const struct record *now = n->configs.n ? n->configs.items[n->configs.n - 1] : NULL;
    if (n->first_claim == UNKNOWN)
        n->first_claim = index;
    n->claim = n->claim == UNKNOWN || index > n->claim ? index : n->claim;
    if (index <= w->claimed)
        return;
    w->claimed = index;
    if (!now || !n->config_before) {
        violated(w, n, "commits %d without a membership", (int)index);
        return;
    }
    if (term != n->term && index > n->first_claim)
        violated(w, n, "commits %d.%d by counting in term %d", (int)index, (int)term, (int)n->term);
    for (size_t i = 0; i < w->n_nodes; i++)
        has[i] = w->nodes[i].exists && disk_has(&w->nodes[i], index, term);
    if (!quorum(now, has) && !quorum(n->config_before, has))
        violated(w, n, "commits %d.%d, which is not on the disks of a quorum", (int)index,
                 (int)term);
}

/* ---- elections ---- */

static void check_complete(struct world *w, struct node *n)
{
    uint64_t i = w->committed;
    while (i > 0 && w->commits[i].term >= n->term)
        i--;
    if (i == 0)
        return;
    uint64_t term = raft_term_at(n->raft, i);
    if (i > raft_last_index(n->raft) || (term && term != w->commits[i].record->term))
        violated(w, n, "leader completeness: elected in term %d without %d.%d", (int)n->term,
                 (int)i, (int)w->commits[i].record->term);
}

static void check_elected(struct world *w, struct node *n)
{
    struct term *t = term_of(w, n->term);
    bool voted[NODES_MAX];
    w->count->elections++;
    n->first_claim = n->claim = UNKNOWN;
    if (t->leader && t->leader != n->id)
        violated(w, n, "election safety: %d leads term %d too", (int)t->leader, (int)n->term);
    t->leader = n->id;
    if (n->disk.term != n->term || n->disk.vote != n->id)
        violated(w, n, "leads term %d, and its own vote is not on its disk", (int)n->term);
    if (t->votes[n->id - 1] && t->votes[n->id - 1] != n->id)
        violated(w, n, "leads term %d and voted for %d", (int)n->term, (int)t->votes[n->id - 1]);
    t->votes[n->id - 1] = n->id;
    for (size_t i = 0; i < NODES_MAX; i++)
        voted[i] = t->votes[i] == n->id;
    if (!n->config_before || !quorum(n->config_before, voted))
        violated(w, n, "leads term %d without the votes of a quorum", (int)n->term);
    check_complete(w, n);
}

static void check_vote(struct world *w, struct node *n, const struct raft_message *m)
{
    struct term *t = term_of(w, m->term);
    uint64_t *vote = &t->votes[n->id - 1];
    if (*vote && *vote != m->to)
        violated(w, n, "votes in term %d for %d and for %d", (int)m->term, (int)*vote, (int)m->to);
    *vote = m->to;
    if (n->disk.term != m->term || n->disk.vote != m->to)
        violated(w, n, "promises its vote of term %d to %d, and on its disk is %d of term %d",
                 (int)m->term, (int)m->to, (int)n->disk.vote, (int)n->disk.term);
}

/* ---- messages ---- */

static void check_acknowledged(struct world *w, struct node *n, const struct raft_message *m)
{
    uint64_t term = raft_term_at(n->raft, m->index);
    if (n->disk.term < m->term)
        violated(w, n, "acknowledges %d in term %d, and its disk is in %d", (int)m->index,
                 (int)m->term, (int)n->disk.term);
    if (m->index > disk_last(&n->disk) || (term && !disk_has(n, m->index, term)))
        violated(w, n, "acknowledges %d.%d, and its disk ends at %d", (int)m->index, (int)term,
                 (int)disk_last(&n->disk));
}

/* Raft 3.6.1, of the message that is being answered. */
static bool as_new(const struct node *n)
{
    const struct raft_message *m = n->asked;
    uint64_t last = raft_last_index(n->raft), term = raft_term_at(n->raft, last);
    return m && (m->index_term > term || (m->index_term == term && m->index >= last));
}

void check_message(struct world *w, struct node *n, const struct raft_message *m)
{
    bool other_term = m->type == RAFT_PREVOTE || (m->type == RAFT_PREVOTE_REPLY && m->granted);
    if (m->from != n->id || m->to == n->id || m->to == 0)
        violated(w, n, "a message from %d to %d", (int)m->from, (int)m->to);
    if (m->term != n->term && !other_term)
        violated(w, n, "a message of term %d in term %d", (int)m->term, (int)n->term);
    if (m->type == RAFT_VOTE_REPLY && m->granted)
        check_vote(w, n, m);
    if (m->type == RAFT_VOTE &&
        (n->disk.term != m->term || n->disk.vote != n->id || !disk_has(n, m->index, m->index_term)))
        violated(w, n, "asks for votes of term %d by a log to %d.%d that is not on its disk",
                 (int)m->term, (int)m->index, (int)m->index_term);
    if (m->type == RAFT_APPEND_REPLY && !m->rejected && m->index)
        check_acknowledged(w, n, m);
    if (m->type == RAFT_PREVOTE_REPLY && m->granted && !as_new(n))
        violated(w, n, "would vote for %d, whose log is older", (int)m->to);
    if (m->type == RAFT_APPEND && term_of(w, m->term)->leader != n->id)
        violated(w, n, "sends entries of term %d and is not its leader", (int)m->term);
    if (m->type == RAFT_APPEND && n->role == RAFT_LEADER)
        check_claim(w, n, m->commit);
}

/* ---- membership ---- */

static bool joint(const struct record *config)
{
    struct raft_member m[RAFT_MEMBERS_MAX];
    size_t n, before = 0;
    enum err e = raft_members_decode(config->data, m, &n);
    CHECK(e == ERR_OK);
    for (size_t i = 0; i < n; i++)
        before += (m[i].votes & RAFT_VOTER_BEFORE) > 0;
    return before > 0;
}

/* The newest in the log is the one in force (Raft 4.1). */
static void check_in_force(struct world *w, struct node *n)
{
    struct raft_member m[RAFT_MEMBERS_MAX];
    size_t count, have;
    const struct raft_member *now = raft_members(n->raft, &have);
    if (!n->configs.n)
        return;
    enum err e = raft_members_decode(n->configs.items[n->configs.n - 1]->data, m, &count);
    bool same = e == ERR_OK && count == have;
    for (size_t i = 0; same && i < count; i++)
        same = m[i].id == now[i].id && m[i].votes == now[i].votes;
    if (!same)
        violated(w, n, "the membership in force is not the newest of its log, %d",
                 (int)n->configs.items[n->configs.n - 1]->index);
}

void check_leader(struct world *w, struct node *n)
{
    /* Its messages may have said more: it may only apply what is on its own disk too. */
    if (n->role == RAFT_LEADER && n->commit)
        check_claim(w, n, n->commit);
    if (!n->made_members || n->role != RAFT_LEADER || !n->config_before)
        return;
    const struct record *now = n->configs.items[n->configs.n - 1];
    uint64_t commit = n->claim == UNKNOWN || n->commit > n->claim ? n->commit : n->claim;
    if (n->config_before->index > commit)
        violated(w, n, "changes the membership at %d, and that of %d is not committed",
                 (int)now->index, (int)n->config_before->index);
    if (joint(now))
        w->count->joints++;
    if (!joint(n->config_before) && raft_term_at(n->raft, commit) != n->term)
        violated(w, n, "changes the membership at %d before an entry of term %d is committed",
                 (int)now->index, (int)n->term);
}

/* ---- commit, apply, read ---- */

static void check_committed(struct world *w, struct node *n, uint64_t index)
{
    for (uint64_t i = n->commit + 1; i <= index && !w->problem[0]; i++) {
        struct raft_entry x;
        struct record *r = raft_entry_at(n->raft, i, &x) ? find(w, i, x.term) : NULL;
        if (!r) {
            violated(w, n, "commits %d, which it does not hold", (int)i);
        } else if (i > w->committed) {
            w->committed = i;
            w->commits[i] = (struct commit){ r, 0, n->term };
            w->count->commits++;
        } else if (w->commits[i].record != r) {
            violated(w, n, "state machine safety: commits %d.%d, others %d.%d", (int)i,
                     (int)r->term, (int)i, (int)w->commits[i].record->term);
        }
    }
    if (index > n->commit && !disk_has(n, index, raft_term_at(n->raft, index)))
        violated(w, n, "may apply %d, and its disk ends at %d", (int)index,
                 (int)disk_last(&n->disk));
    n->commit = index > n->commit ? index : n->commit;
}

void check_apply(struct world *w, struct node *n, const struct record *r)
{
    struct commit *c = &w->commits[r->index];
    n->digest = check_mix(n->digest, r->hash);
    if (c->record != r)
        violated(w, n, "state machine safety: applies another entry %d", (int)r->index);
    if (!c->digest)
        c->digest = n->digest;
    if (c->digest != n->digest)
        violated(w, n, "state machine safety: another state at %d", (int)r->index);
    if (r->index > w->applied)
        w->applied = r->index;
}

void check_installed(struct world *w, struct node *n, const struct checkpoint *c)
{
    if (w->commits[c->index].digest != c->digest || w->commits[c->index].record->term != c->term)
        violated(w, n, "state machine safety: another snapshot of %d", (int)c->index);
}

void check_read(struct world *w, struct node *n, const struct raft_read *r)
{
    size_t i = 0;
    while (i < n->reads.n && n->reads.items[i].id != r->id)
        i++;
    if (i == n->reads.n) {
        violated(w, n, "answers a read that nobody waits for");
        return;
    }
    if (r->index < n->reads.items[i].floor)
        violated(w, n, "stale read: at %d, and %d had been applied before it began", (int)r->index,
                 (int)n->reads.items[i].floor);
    n->reads.items[i] = n->reads.items[--n->reads.n];
    w->count->reads++;
    w->goal_read |= w->calm && r->id >= w->calm_read;
}

static bool has_others(const struct node *n)
{
    size_t count;
    const struct raft_member *m = raft_members(n->raft, &count);
    return count > 1 || (count == 1 && m[0].id != n->id);
}

void check_update(struct world *w, struct node *n, const struct raft_update *u)
{
    bool led = n->role == RAFT_LEADER && n->term == u->term;
    if (u->term < n->term || u->commit_index < n->commit)
        violated(w, n, "goes back to term %d, commit %d", (int)u->term, (int)u->commit_index);
    if (u->term == n->term && n->vote && u->vote != n->vote)
        violated(w, n, "changes its vote of term %d", (int)u->term);
    if (n->disk.term > u->term)
        violated(w, n, "is in term %d, and its disk in %d", (int)u->term, (int)n->disk.term);
    n->term = u->term;
    n->vote = u->vote;
    n->role = u->role;
    n->leader = u->leader;
    if (u->role == RAFT_LEADER && u->leader != n->id)
        violated(w, n, "leads, and says that %d does", (int)u->leader);
    if (u->role == RAFT_LEADER && !led)
        check_elected(w, n);
    if (!w->problem[0])
        check_committed(w, n, u->commit_index);
    if (u->members_changed || u->cut)
        check_in_force(w, n);
    if (u->role == RAFT_LEADER && u->timeout_ms == INT64_MAX && has_others(n))
        violated(w, n, "leads others without a timer");
}
