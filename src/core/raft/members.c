/* Memberships and their quorums. */
#include "core/raft/raft_int.h"

/* ---- bytes ---- */

void raft_members_encode(const struct raft_member *members, size_t n, struct buf *out)
{
    CHECK(n <= RAFT_MEMBERS_MAX);
    buf_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        CHECK(members[i].info.len <= RAFT_INFO_MAX);
        buf_u64(out, members[i].id);
        buf_u32(out, members[i].votes);
        buf_u32(out, (uint32_t)members[i].info.len);
        buf_span(out, members[i].info);
    }
}

enum err raft_members_decode(struct span data, struct raft_member *out, size_t *n)
{
    uint32_t count, votes, len;
    if (!span_u32(&data, &count) || count == 0 || count > RAFT_MEMBERS_MAX)
        return ERR_CORRUPT;
    for (size_t i = 0; i < count; i++) {
        struct raft_member *m = &out[i];
        if (!span_u64(&data, &m->id) || !span_u32(&data, &votes) || !span_u32(&data, &len) ||
            len > RAFT_INFO_MAX || !span_take(&data, len, &m->info) || m->id == 0 ||
            votes > (RAFT_VOTER | RAFT_VOTER_BEFORE | RAFT_GOES))
            return ERR_CORRUPT;
        m->votes = votes;
        for (size_t k = 0; k < i; k++)
            if (out[k].id == m->id)
                return ERR_CORRUPT;
    }
    *n = count;
    return data.len ? ERR_CORRUPT : ERR_OK;
}

/* ---- who is in ---- */

struct peer *peer_of(const struct raft *r, uint64_t id)
{
    for (size_t i = 0; i < r->peers.n; i++)
        if (r->peers.items[i].id == id)
            return &r->peers.items[i];
    return NULL;
}

struct config *config_now(const struct raft *r)
{
    CHECK(r->configs.n > 0);
    return &r->configs.items[r->configs.n - 1];
}

bool is_voter(const struct raft *r, uint64_t id)
{
    const struct peer *p = peer_of(r, id);
    return p && (p->votes & (RAFT_VOTER | RAFT_VOTER_BEFORE));
}

/* Raft 4.2.2: who lost its vote still stands for election until that is committed, without
 * counting itself: those who have to agree may not know of it yet, and be behind. */
bool may_stand(const struct raft *r)
{
    for (size_t i = r->configs.n; i-- > 0;) {
        const struct config *c = &r->configs.items[i];
        for (size_t k = 0; k < c->n; k++)
            if (c->members[k].id == r->self && (c->members[k].votes & ~(unsigned)RAFT_GOES))
                return true;
        if (c->index <= r->commit)
            break;
    }
    return false;
}

bool is_joint(const struct config *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->members[i].votes & RAFT_VOTER_BEFORE)
            return true;
    return false;
}

bool sole_voter(const struct raft *r)
{
    for (size_t i = 0; i < r->peers.n; i++)
        if ((r->peers.items[i].votes & (RAFT_VOTER | RAFT_VOTER_BEFORE)) &&
            r->peers.items[i].id != r->self)
            return false;
    return is_voter(r, r->self);
}

static struct peer new_peer(const struct raft *r, uint64_t id)
{
    return (struct peer){ .id = id,
                          .next = last_index(r) + 1,
                          .match = id == r->self ? r->persisted : 0,
                          .heard_ms = r->now_ms };
}

static void peer_close(struct raft *r, struct peer *p)
{
    mem_free(r->alloc, p->flight, p->flight ? RAFT_INFLIGHT_MESSAGES * sizeof(*p->flight) : 0);
}

/* Peers follow the newest membership; those that stay keep their progress. */
static void peers_follow(struct raft *r)
{
    struct config *c = config_now(r);
    struct peer kept[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < c->n; i++) {
        struct peer *old = peer_of(r, c->members[i].id);
        kept[i] = old ? *old : new_peer(r, c->members[i].id);
        kept[i].votes = c->members[i].votes;
        if (old)
            old->flight = NULL;
    }
    for (size_t i = 0; i < r->peers.n; i++)
        peer_close(r, &r->peers.items[i]);
    VEC_RESERVE(&r->peers, r->alloc, c->n);
    r->peers.n = c->n;
    for (size_t i = 0; i < c->n; i++)
        r->peers.items[i] = kept[i];
    if (r->out)
        r->out->members_changed = true;
}

/* ---- memberships in the log ---- */

static void config_close(struct raft *r, struct config *c)
{
    mem_free(r->alloc, c->members, c->n * sizeof(*c->members));
    buf_close(&c->bytes);
}

enum err config_push(struct raft *r, uint64_t index, struct span data)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct config c = { .index = index };
    enum err e = ERR_OK;
    buf_open(&c.bytes, r->alloc);
    buf_span(&c.bytes, data);
    if (data.len) /* nothing: no membership yet */
        e = raft_members_decode(buf_all(&c.bytes), members, &c.n);
    if (e != ERR_OK) {
        buf_close(&c.bytes);
        return e;
    }
    if (c.n) {
        c.members = mem_alloc(r->alloc, c.n * sizeof(*c.members));
        memcpy(c.members, members, c.n * sizeof(*c.members));
    }
    VEC_PUSH(&r->configs, r->alloc, c);
    peers_follow(r);
    return ERR_OK;
}

void configs_cut(struct raft *r, uint64_t index)
{
    bool any = false;
    while (r->configs.n > 1 && config_now(r)->index >= index) {
        config_close(r, config_now(r));
        r->configs.n--;
        any = true;
    }
    if (any)
        peers_follow(r);
}

void configs_committed(struct raft *r)
{
    size_t old = 0;
    while (old + 1 < r->configs.n && r->configs.items[old + 1].index <= r->commit)
        config_close(r, &r->configs.items[old++]);
    r->configs.n -= old;
    if (old)
        memmove(r->configs.items, r->configs.items + old,
                r->configs.n * sizeof(*r->configs.items));
}

void configs_close(struct raft *r)
{
    for (size_t i = 0; i < r->configs.n; i++)
        config_close(r, &r->configs.items[i]);
    r->configs.n = 0;
    for (size_t i = 0; i < r->peers.n; i++)
        peer_close(r, &r->peers.items[i]);
    r->peers.n = 0;
}

/* ---- changes ---- */

static void append_members(struct raft *r, const struct raft_member *members, size_t n)
{
    struct buf b;
    buf_open(&b, r->alloc);
    raft_members_encode(members, n, &b);
    struct span data = buf_all(&b);
    append(r, r->term, RAFT_MEMBERS, &data, 1, data.len);
    /* Raft 4.1: in force as soon as it is in the log. */
    enum err e = config_push(r, last_index(r), data);
    CHECK(e == ERR_OK);
    buf_close(&b);
    if (!is_voter(r, r->self)) /* what a sole voter beside us does: not wait for our lease */
        r->lease_until = 0;
    every_peer_due(r);
}

static enum err change_check(const struct raft *r, const struct raft_member *members, size_t n)
{
    size_t voters = 0;
    if (n > RAFT_MEMBERS_MAX)
        return ERR_BAD_REQUEST;
    for (size_t i = 0; i < n; i++) {
        const struct raft_member *m = &members[i];
        if (m->id == 0 || (m->votes & ~(unsigned)RAFT_VOTER) || m->info.len > RAFT_INFO_MAX)
            return ERR_BAD_REQUEST;
        for (size_t k = 0; k < i; k++)
            if (members[k].id == m->id)
                return ERR_BAD_REQUEST;
        voters += m->votes & RAFT_VOTER;
        const struct peer *p = peer_of(r, m->id);
        /* Raft 4.2.1: a learner first catches up. A voter that starts empty is the caller's
         * risk. */
        if (p && m->votes && !p->votes && p->match + BEHIND_MAX < last_index(r))
            return ERR_LEARNER_BEHIND;
        if (p && m->votes && !p->votes && p->match == 0)
            return ERR_LEARNER_BEHIND;
    }
    return voters ? ERR_OK : ERR_BAD_REQUEST;
}

static const struct raft_member *find(const struct raft_member *members, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (members[i].id == id)
            return &members[i];
    return NULL;
}

/* The members wanted, and those that had a vote: both vote until joint consensus is left. */
static size_t make_joint(const struct raft *r, const struct raft_member *wanted, size_t n,
                         struct raft_member *out)
{
    const struct config *c = config_now(r);
    size_t count = n;
    for (size_t i = 0; i < n; i++) {
        const struct peer *p = peer_of(r, wanted[i].id);
        out[i] = wanted[i];
        if (p && (p->votes & RAFT_VOTER))
            out[i].votes |= RAFT_VOTER_BEFORE;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (find(wanted, n, c->members[i].id) || !(c->members[i].votes & RAFT_VOTER))
            continue;
        if (count == RAFT_MEMBERS_MAX)
            return 0;
        out[count] = c->members[i];
        out[count++].votes = RAFT_VOTER_BEFORE | RAFT_GOES;
    }
    return count;
}

enum err config_change(struct raft *r, const struct raft_member *members, size_t n)
{
    const struct config *c = config_now(r);
    if (r->role != RAFT_LEADER || r->transfer_to)
        return ERR_NO_LEADER;
    /* Ongaro's correction of 2015: not before an entry of our own term is committed. */
    if (c->index > r->commit || is_joint(c) || r->commit < r->term_start)
        return ERR_CHANGE_PENDING;
    enum err e = change_check(r, members, n);
    if (e != ERR_OK)
        return e;
    size_t moved = 0;
    for (size_t i = 0; i < n; i++) {
        const struct peer *p = peer_of(r, members[i].id);
        moved += (members[i].votes & RAFT_VOTER) != (p ? p->votes & RAFT_VOTER : 0);
    }
    for (size_t i = 0; i < c->n; i++)
        moved += (c->members[i].votes & RAFT_VOTER) && !find(members, n, c->members[i].id);
    if (moved <= 1) { /* Raft 4.1: any two quorums meet */
        append_members(r, members, n);
        return ERR_OK;
    }
    struct raft_member joint[RAFT_MEMBERS_MAX];
    size_t count = make_joint(r, members, n, joint);
    if (!count)
        return ERR_BAD_REQUEST;
    append_members(r, joint, count);
    return ERR_OK;
}

void config_settle(struct raft *r)
{
    const struct config *c = config_now(r);
    if (r->role != RAFT_LEADER || c->index > r->commit)
        return;
    if (!is_joint(c)) {
        r->resign = !is_voter(r, r->self); /* Raft 4.2.2 */
        return;
    }
    struct raft_member left[RAFT_MEMBERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->members[i].votes & RAFT_GOES)
            continue;
        left[n] = c->members[i];
        left[n++].votes &= RAFT_VOTER;
    }
    append_members(r, left, n);
}

/* ---- quorums ---- */

uint64_t quorum_of(const struct raft *r,
                   uint64_t (*value)(const struct raft *r, const struct peer *p))
{
    uint64_t least = UINT64_MAX;
    bool any = false;
    for (unsigned vote = RAFT_VOTER; vote <= RAFT_VOTER_BEFORE; vote <<= 1) {
        uint64_t sorted[RAFT_MEMBERS_MAX]; /* falling */
        size_t n = 0;
        for (size_t i = 0; i < r->peers.n; i++) {
            if (!(r->peers.items[i].votes & vote))
                continue;
            uint64_t v = value(r, &r->peers.items[i]);
            size_t k = n++;
            for (; k > 0 && sorted[k - 1] < v; k--)
                sorted[k] = sorted[k - 1];
            sorted[k] = v;
        }
        if (!n)
            continue;
        any = true;
        if (sorted[n / 2] < least)
            least = sorted[n / 2];
    }
    return any ? least : 0;
}

enum vote_result vote_count(const struct raft *r)
{
    enum vote_result result = VOTE_WON;
    bool any = false;
    for (unsigned vote = RAFT_VOTER; vote <= RAFT_VOTER_BEFORE; vote <<= 1) {
        size_t n = 0, granted = 0, refused = 0;
        for (size_t i = 0; i < r->peers.n; i++) {
            const struct peer *p = &r->peers.items[i];
            if (!(p->votes & vote))
                continue;
            n++;
            granted += p->granted;
            refused += p->refused;
        }
        any = any || n;
        if (n && n - refused < n / 2 + 1)
            return VOTE_LOST;
        if (n && granted < n / 2 + 1)
            result = VOTE_OPEN;
    }
    return any ? result : VOTE_LOST;
}
