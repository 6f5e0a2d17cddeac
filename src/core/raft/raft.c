#include "core/raft/raft.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/vec.h"
#include "core/raft/entries.h"

struct member {
    uint64_t id;
    uint64_t match; /* everything up to here is known to be on its disk */
    bool granted;   /* its vote for us in this term is on its disk */
};

struct raft {
    struct alloc *alloc;
    bool started;
    uint64_t self, term, vote, leader;
    enum raft_role role;
    struct member *members;
    size_t n_members;
    struct entries entries;
    uint64_t commit;
    size_t uncommitted_bytes;
    int64_t timeout_ms;
    VEC(struct raft_read) waiting; /* for the first commit of the term */
    VEC(struct raft_read) ready;   /* given out with this step's update */
};

struct raft *raft_open(struct alloc *alloc)
{
    struct raft *r = mem_zero(alloc, sizeof(*r));
    r->alloc = alloc;
    r->timeout_ms = INT64_MAX;
    entries_open(&r->entries, alloc, 0, 0);
    return r;
}

void raft_close(struct raft *r)
{
    if (!r)
        return;
    entries_close(&r->entries);
    mem_free(r->alloc, r->members, r->n_members * sizeof(*r->members));
    VEC_CLOSE(&r->waiting, r->alloc);
    VEC_CLOSE(&r->ready, r->alloc);
    mem_free(r->alloc, r, sizeof(*r));
}

/* ---- members ---- */

static struct member *myself(const struct raft *r)
{
    for (size_t i = 0; i < r->n_members; i++)
        if (r->members[i].id == r->self)
            return &r->members[i];
    UNREACHABLE("not a member");
}

static size_t quorum(const struct raft *r)
{
    return r->n_members / 2 + 1;
}

static bool elected(const struct raft *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_members; i++)
        n += r->members[i].granted;
    return n >= quorum(r);
}

/* The highest index that a quorum has on disk. */
static uint64_t quorum_index(const struct raft *r)
{
    uint64_t best = 0;
    for (size_t i = 0; i < r->n_members; i++) {
        size_t n = 0;
        for (size_t k = 0; k < r->n_members; k++)
            n += r->members[k].match >= r->members[i].match;
        if (n >= quorum(r) && r->members[i].match > best)
            best = r->members[i].match;
    }
    return best;
}

static enum err set_members(struct raft *r, const uint64_t *ids, size_t n)
{
    if (n > 1)
        return ERR_NOT_BUILT;
    mem_free(r->alloc, r->members, r->n_members * sizeof(*r->members));
    r->members = n ? mem_zero(r->alloc, n * sizeof(*r->members)) : NULL;
    r->n_members = n;
    for (size_t i = 0; i < n; i++)
        r->members[i].id = ids[i];
    return ERR_OK;
}

/* Raft 4.1: the newest membership in the log counts, committed or not. */
static enum err set_members_from(struct raft *r, struct span data)
{
    uint64_t n, id;
    if (!span_u64(&data, &n) || n == 0 || data.len % 8 || data.len / 8 != n)
        return ERR_CORRUPT;
    if (n > 1)
        return ERR_NOT_BUILT;
    bool read = span_u64(&data, &id);
    CHECK(read);
    return set_members(r, &id, 1);
}

/* ---- the log ---- */

static uint64_t last_index(const struct raft *r)
{
    return entries_last(&r->entries);
}

static void append(struct raft *r, enum raft_entry_type type, const struct span *data, size_t n,
                   size_t bytes, struct raft_update *out)
{
    CHECK(r->role == RAFT_LEADER && out->n_entries == 0);
    entries_reserve(&r->entries, n, bytes);
    for (size_t i = 0; i < n; i++) {
        const struct raft_entry *x = entries_add(&r->entries, r->term, type, data[i]);
        if (i == 0)
            out->entries = x;
    }
    out->n_entries = n;
    r->uncommitted_bytes += bytes;
}

/* Raft 6.4: a leader knows what is committed only after an entry of its own term is. */
static bool committed_in_term(const struct raft *r)
{
    return r->role == RAFT_LEADER && entries_term(&r->entries, r->commit) == r->term;
}

static void release_reads(struct raft *r)
{
    for (size_t i = 0; i < r->waiting.n; i++) {
        struct raft_read read = { r->waiting.items[i].id, r->commit };
        VEC_PUSH(&r->ready, r->alloc, read);
    }
    r->waiting.n = 0;
}

static void advance_commit(struct raft *r)
{
    uint64_t index = quorum_index(r);
    CHECK(index <= last_index(r));
    /* Raft 3.6.2: only entries of this term commit by counting; they take the older with them. */
    if (index <= r->commit || entries_term(&r->entries, index) != r->term)
        return;
    for (uint64_t i = r->commit + 1; i <= index; i++) {
        const struct raft_entry *x = entries_at(&r->entries, i);
        CHECK(x && x->data.len <= r->uncommitted_bytes);
        r->uncommitted_bytes -= x->data.len;
    }
    r->commit = index;
    release_reads(r);
}

/* ---- elections ---- */

static void campaign(struct raft *r, struct raft_update *out)
{
    CHECK(r->role == RAFT_FOLLOWER && r->term < UINT64_MAX);
    r->role = RAFT_CANDIDATE;
    r->term++;
    r->vote = r->self;
    r->leader = 0;
    for (size_t i = 0; i < r->n_members; i++)
        r->members[i].granted = false;
    r->timeout_ms = INT64_MAX; /* our own vote has to reach the disk first, however long it takes */
    out->hard_state_changed = true;
}

static void lead(struct raft *r, struct raft_update *out)
{
    CHECK(r->role == RAFT_CANDIDATE && r->vote == r->self);
    r->role = RAFT_LEADER;
    r->leader = r->self;
    struct span nothing = SPAN_NONE;
    append(r, RAFT_EMPTY, &nothing, 1, 0, out); /* Raft 3.6.2, 6.4 */
}

/* ---- events ---- */

static enum err load_entries(struct raft *r, const struct raft_start *s)
{
    for (size_t i = 0; i < s->n_entries; i++) {
        const struct raft_entry *x = &s->entries[i];
        uint64_t last = last_index(r);
        if (x->index != last + 1 || x->term < entries_term(&r->entries, last) ||
            x->term > s->term)
            return ERR_CORRUPT;
        if (x->type < RAFT_EMPTY || x->type > RAFT_MEMBERS)
            return ERR_FORMAT;
        entries_add(&r->entries, x->term, x->type, x->data);
        r->uncommitted_bytes += x->data.len;
        enum err err = x->type == RAFT_MEMBERS ? set_members_from(r, x->data) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err start(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    (void)out;
    const struct raft_start *s = event->start;
    CHECK(!r->started && s->self != 0);
    r->started = true;
    r->self = s->self;
    r->term = s->term;
    r->vote = s->vote;
    if (s->snapshot_term > s->term || (s->snapshot_index == 0) != (s->snapshot_term == 0))
        return ERR_CORRUPT;
    entries_open(&r->entries, r->alloc, s->snapshot_index, s->snapshot_term);
    r->commit = s->snapshot_index;
    enum err err = set_members(r, s->members, s->n_members);
    if (!err)
        err = load_entries(r, s);
    if (err)
        return err;
    if (r->n_members != 1 || r->members[0].id != r->self)
        return ERR_FOREIGN;
    myself(r)->match = last_index(r);
    r->timeout_ms = event->now_ms; /* nobody else could lead: no need to listen for one */
    return ERR_OK;
}

static enum err timeout(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    if (r->role == RAFT_FOLLOWER && event->now_ms >= r->timeout_ms)
        campaign(r, out);
    return ERR_OK;
}

static enum err submit(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    if (r->role != RAFT_LEADER)
        return ERR_NO_LEADER;
    size_t n = event->submit.n, bytes = 0;
    uint64_t uncommitted = last_index(r) - r->commit; /* what a start found may be over the limit */
    if (n > RAFT_UNCOMMITTED_ENTRIES_MAX || uncommitted > RAFT_UNCOMMITTED_ENTRIES_MAX - n)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < n; i++) {
        if (event->submit.data[i].len > RAFT_UNCOMMITTED_BYTES_MAX - bytes)
            return ERR_OVERLOADED;
        bytes += event->submit.data[i].len;
    }
    if (r->uncommitted_bytes + bytes > RAFT_UNCOMMITTED_BYTES_MAX)
        return ERR_OVERLOADED;
    append(r, RAFT_COMMAND, event->submit.data, n, bytes, out);
    return ERR_OK;
}

static enum err persisted(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    struct member *me = myself(r);
    CHECK(event->persisted_index >= me->match && event->persisted_index <= last_index(r));
    me->match = event->persisted_index;
    if (r->role == RAFT_CANDIDATE) {
        me->granted = true; /* Raft 3.8: a vote counts once it is on disk, our own too */
        if (elected(r))
            lead(r, out);
    } else if (r->role == RAFT_LEADER) {
        advance_commit(r);
    }
    return ERR_OK;
}

static enum err read(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    (void)out;
    if (r->role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (r->waiting.n == RAFT_READS_MAX)
        return ERR_OVERLOADED;
    struct raft_read want = { event->read_id, 0 };
    VEC_PUSH(&r->waiting, r->alloc, want);
    /* The quorum that has to confirm that we still lead (Raft 6.4) is ourselves. */
    if (committed_in_term(r))
        release_reads(r);
    return ERR_OK;
}

static enum err (*const handlers[])(struct raft *, const struct raft_event *,
                                    struct raft_update *) = {
    [RAFT_START] = start,         [RAFT_TIMEOUT] = timeout, [RAFT_SUBMIT] = submit,
    [RAFT_PERSISTED] = persisted, [RAFT_READ] = read,
};

enum err raft_step(struct raft *r, const struct raft_event *event, struct raft_update *out)
{
    CHECK(r->started || event->type == RAFT_START);
    CHECK((size_t)event->type < sizeof(handlers) / sizeof(*handlers));
    uint64_t term = r->term, commit = r->commit;
    r->ready.n = 0;
    *out = (struct raft_update){ 0 };
    enum err err = handlers[event->type](r, event, out);
    CHECK(r->term >= term && r->commit >= commit);
    CHECK(r->role != RAFT_LEADER || (r->leader == r->self && r->vote == r->self));
    out->term = r->term;
    out->vote = r->vote;
    out->commit_index = r->commit;
    out->role = r->role;
    out->leader = r->leader;
    out->reads = r->ready.items;
    out->n_reads = r->ready.n;
    out->timeout_ms = r->timeout_ms;
    return err;
}

bool raft_entry_at(const struct raft *r, uint64_t index, struct raft_entry *out)
{
    const struct raft_entry *x = entries_at(&r->entries, index);
    if (x)
        *out = *x;
    return x != NULL;
}

uint64_t raft_last_index(const struct raft *r)
{
    return last_index(r);
}

void raft_applied(struct raft *r, uint64_t index)
{
    CHECK(index <= r->commit);
    entries_drop(&r->entries, index);
}
