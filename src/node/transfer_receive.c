/* The receiving half. */
#include "base/check.h"
#include "node/peers.h"
#include "node/transfer_int.h"

bool transfer_installing(const struct node *n)
{
    return n->transfer && n->transfer->receiving.phase >= RECEIVE_SETTLING;
}

bool transfer_loading(const struct node *n)
{
    return n->transfer && n->transfer->receiving.phase >= RECEIVE_INSTALLING;
}

static void answer(struct node *n, uint64_t to, uint64_t index, bool ok)
{
    struct peer_frame f = { .type = PEER_INSTALLED };
    f.installed.index = index;
    f.installed.ok = ok;
    peers_send(n, to, &f);
}

static void want(struct node *n, uint64_t offset)
{
    struct receiving *r = &n->transfer->receiving;
    struct peer_frame f = { .type = PEER_WANT };
    f.want.index = r->offer.index;
    f.want.offset = offset;
    peers_send(n, r->from, &f);
}

static void give_up(struct node *n, const char *what, enum err e)
{
    struct receiving *r = &n->transfer->receiving;
    slog(SLOG_WARN, what, "index=%llu error=%s why=%s", (unsigned long long)r->offer.index,
         slog_quote(err_text(e)), slog_quote(r->why));
    answer(n, r->from, r->offer.index, false);
    r->phase = RECEIVE_NONE;
}

/* ---- staging ---- */

struct chunk_job {
    struct transfer_job job;
    struct storage_offer offer;
    uint64_t offset, file_offset;
    bool begins;
    struct buf bytes;
};

static void chunk_run(struct job *job)
{
    struct chunk_job *c = (struct chunk_job *)job;
    struct storage *s = c->job.node->storage;
    if (c->begins)
        c->job.err = storage_stage_begin(s, &c->offer, &c->file_offset);
    else
        c->job.err = storage_stage_chunk(s, c->offset, buf_all(&c->bytes));
    if (c->job.err != ERR_OK && c->job.err != ERR_BAD_REQUEST)
        storage_stage_drop(s);
}

static void staged(struct node *n, uint64_t offset)
{
    struct receiving *r = &n->transfer->receiving;
    want(n, offset);
    if (offset < r->offer.size)
        return;
    if (n->update.role != RAFT_FOLLOWER) { /* not now: our raft has more to write */
        give_up(n, "a checkpoint came while an election is on", ERR_NO_LEADER);
        return;
    }
    r->phase = RECEIVE_SETTLING;
    upkeep_again(n);
}

static void chunk_done(struct job *job)
{
    struct chunk_job *c = (struct chunk_job *)job;
    struct node *n = c->job.node;
    struct receiving *r = &n->transfer->receiving;
    uint64_t offset = c->begins ? c->file_offset : c->offset + c->bytes.len;
    bool mine = r->phase == RECEIVE_STAGING && c->offer.id == r->offer.id &&
                c->offer.index == r->offer.index;
    enum err e = c->job.err;
    r->chunks--;
    buf_close(&c->bytes);
    mem_free(&n->alloc, c, sizeof(*c));
    if (mine && e == ERR_OK)
        staged(n, offset);
    else if (mine)
        give_up(n, "a checkpoint cannot be stored", e);
}

static struct chunk_job *chunk_job(struct node *n)
{
    struct receiving *r = &n->transfer->receiving;
    struct chunk_job *c = mem_zero(&n->alloc, sizeof(*c));
    c->job = (struct transfer_job){ .job = { .run = chunk_run, .done = chunk_done }, .node = n };
    c->offer = r->offer;
    buf_open(&c->bytes, &n->alloc);
    r->chunks++;
    return c;
}

void receive_offer(struct node *n, uint64_t from, const struct peer_offer *f)
{
    struct receiving *r = &n->transfer->receiving;
    if (r->phase >= RECEIVE_SETTLING)
        return;
    if (!raft_wants(n->raft, f->index, f->term)) {
        answer(n, from, f->index, n->machine.applied_index >= f->index);
        return;
    }
    r->phase = RECEIVE_STAGING;
    r->from = from;
    r->offer = (struct storage_offer){ f->index, f->term, f->size, f->file };
    r->heard_ms = loop_now_ms(n->loop);
    r->why[0] = 0;
    slog(SLOG_INFO, "receiving a checkpoint", "from=%llx index=%llu bytes=%llu",
         (unsigned long long)from, (unsigned long long)f->index, (unsigned long long)f->size);
    struct chunk_job *c = chunk_job(n);
    c->begins = true;
    thread_submit(n->writer, &c->job.job);
}

void receive_chunk(struct node *n, uint64_t from, const struct peer_chunk *f)
{
    struct receiving *r = &n->transfer->receiving;
    size_t most = TRANSFER_AHEAD_BYTES / PEER_CHUNK_MAX + 2;
    if (r->phase != RECEIVE_STAGING || from != r->from || f->index != r->offer.index ||
        r->chunks > most)
        return;
    r->heard_ms = loop_now_ms(n->loop);
    n->metrics.snapshot_bytes_received += f->bytes.len;
    struct chunk_job *c = chunk_job(n);
    c->offset = f->offset;
    buf_span(&c->bytes, f->bytes);
    thread_submit(n->writer, &c->job.job);
}

/* ---- checking, installing, loading ---- */

static void submit(struct node *n, struct worker *w, void (*run)(struct job *),
                   void (*done)(struct job *))
{
    struct receiving *r = &n->transfer->receiving;
    r->job = (struct transfer_job){ .job = { .run = run, .done = done }, .node = n };
    thread_submit(w, &r->job.job);
}

static struct receiving *receiving_of(struct job *job)
{
    return &((struct transfer_job *)job)->node->transfer->receiving;
}

static void check_run(struct job *job)
{
    struct receiving *r = receiving_of(job);
    struct storage *s = r->job.node->storage;
    struct span piece;
    enum err e = storage_stage_load(s, &r->load, r->why);
    if (e == ERR_OK) {
        while ((e = storage_load_next(&r->load, &piece, r->why)) == ERR_OK)
            if (r->load.pieces == 1 && (e = machine_load_check(piece)) != ERR_OK)
                break; /* a newer leader's: what is here stays */
        storage_load_close(&r->load);
    }
    r->job.err = e == ERR_END ? ERR_OK : e;
    if (r->job.err != ERR_OK)
        storage_stage_drop(s);
}

static void install_run(struct job *job)
{
    struct receiving *r = receiving_of(job);
    r->job.err = storage_install(r->job.node->storage);
}

static void die(struct node *n, const char *what, enum err e)
{
    slog(SLOG_ERROR, what, "index=%llu error=%s why=%s",
         (unsigned long long)n->transfer->receiving.offer.index, slog_quote(err_text(e)),
         slog_quote(n->transfer->receiving.why));
    loop_die();
}

static void installed(struct node *n)
{
    struct receiving *r = &n->transfer->receiving;
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct raft_event event = { .type = RAFT_INSTALLED };
    event.installed.index = r->offer.index;
    event.installed.term = r->offer.term;
    event.installed.members = members;
    enum err e = machine_load_end(&n->machine);
    if (e == ERR_OK)
        e = raft_members_decode(machine_members_now(&n->machine), members,
                                &event.installed.n_members);
    if (e == ERR_OK && n->machine.applied_index != r->offer.index)
        e = ERR_CORRUPT;
    if (e != ERR_OK)
        die(n, "the checkpoint that was received is whole, but is none", e);
    r->phase = RECEIVE_NONE;
    n->records_last = r->offer.index;
    n->metrics.snapshots_received++;
    e = pump_raft(n, &event);
    CHECK(e == ERR_OK);
    slog(SLOG_INFO, "installed a checkpoint", "index=%llu revision=%lld",
         (unsigned long long)r->offer.index, (long long)kv_revision(n->machine.kv));
    answer(n, r->from, r->offer.index, true);
    pump_installed(n);
}

static void piece_run(struct job *job)
{
    struct receiving *r = receiving_of(job);
    r->job.err = storage_load_next(&r->load, &r->piece, r->why);
}

static void piece_done(struct job *job)
{
    struct receiving *r = receiving_of(job);
    struct node *n = r->job.node;
    if (r->job.err == ERR_END) {
        storage_load_close(&r->load);
        installed(n);
        return;
    }
    enum err e = r->job.err == ERR_OK ? machine_load(&n->machine, r->piece) : r->job.err;
    if (e != ERR_OK)
        die(n, "the checkpoint that was received cannot be loaded; it is tried again at the start",
            e);
    submit(n, n->writer, piece_run, piece_done);
}

static void load_run(struct job *job)
{
    struct receiving *r = receiving_of(job);
    r->job.err = storage_load_newest(r->job.node->storage, &r->load, r->why);
    if (r->job.err == ERR_OK)
        r->job.err = storage_load_next(&r->load, &r->piece, r->why);
}

static void install_done(struct job *job)
{
    struct receiving *r = receiving_of(job);
    struct node *n = r->job.node;
    if (r->job.err == ERR_DISK_FULL) {
        give_up(n, "there is no room to install a checkpoint", r->job.err);
        return;
    }
    if (r->job.err != ERR_OK)
        die(n, "installing a checkpoint failed; look at the disk, then start again", r->job.err);
    watching_stop_all(n); /* they come back and read on from the new state */
    hashing_stop_all(n);
    pushing_stop_all(n);
    machine_reset(&n->machine);
    r->phase = RECEIVE_LOADING;
    submit(n, n->writer, load_run, piece_done);
}

static void check_done(struct job *job)
{
    struct receiving *r = receiving_of(job);
    struct node *n = r->job.node;
    if (r->job.err != ERR_OK) {
        give_up(n, "the checkpoint that was received is not whole", r->job.err);
        return;
    }
    r->phase = RECEIVE_INSTALLING;
    submit(n, n->disk, install_run, install_done);
}

/* ---- the turn ---- */

void receive_turn(struct node *n)
{
    struct receiving *r = &n->transfer->receiving;
    if (r->phase != RECEIVE_SETTLING || n->disk_busy || n->records.len || r->chunks ||
        upkeep_writes(n) || transfer_sends(n))
        return;
    if (n->update.role != RAFT_FOLLOWER || !raft_wants(n->raft, r->offer.index, r->offer.term)) {
        give_up(n, "a checkpoint is not needed any more", ERR_OK);
        return;
    }
    r->phase = RECEIVE_CHECKING;
    submit(n, n->writer, check_run, check_done);
}

void receive_sweep(struct node *n)
{
    struct receiving *r = &n->transfer->receiving;
    if (r->phase == RECEIVE_STAGING && loop_now_ms(n->loop) - r->heard_ms > TRANSFER_QUIET_MS)
        r->phase = RECEIVE_NONE; /* what came stays on disk */
}

void receive_lost(struct node *n, uint64_t peer)
{
    struct receiving *r = &n->transfer->receiving;
    if (r->phase == RECEIVE_STAGING && r->from == peer)
        r->phase = RECEIVE_NONE;
}

void receive_close(struct node *n)
{
    struct receiving *r = &n->transfer->receiving;
    CHECK(r->chunks == 0);
    if (r->phase == RECEIVE_LOADING)
        storage_load_close(&r->load);
}
