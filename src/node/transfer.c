/* The sending half. */
#include "node/transfer_int.h"
#include "base/check.h"
#include "node/peers.h"

static void close_sending(struct node *n, struct sending *s)
{
    if (s->phase == SEND_OFFERED || s->phase == SEND_OPEN)
        storage_source_close(&s->source);
    mem_free(&n->alloc, s->chunk, s->chunk ? PEER_CHUNK_MAX : 0);
    *s = (struct sending){ .peer = 0 };
}

void transfer_close(struct node *n)
{
    if (!n->transfer)
        return;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (n->transfer->sending[i].peer)
            close_sending(n, &n->transfer->sending[i]);
    receive_close(n);
    loop_timer_clear(n->loop, &n->transfer->pace);
    mem_free(&n->alloc, n->transfer, sizeof(*n->transfer));
    n->transfer = NULL;
}

/* index 0: it did not arrive. */
static void end_sending(struct node *n, struct sending *s, uint64_t index)
{
    struct raft_event event = { .type = RAFT_SNAPSHOT, .snapshot = { s->peer, index } };
    n->metrics.snapshots_sent += index != 0;
    n->metrics.snapshots_failed += index == 0;
    if (s->busy)
        s->ended = true;
    else
        close_sending(n, s);
    if (transfer_installing(n))
        return;
    enum err e = pump_raft(n, &event);
    CHECK(e == ERR_OK);
}

static struct sending *sending_to(struct node *n, uint64_t peer)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (n->transfer->sending[i].peer == peer && !n->transfer->sending[i].ended)
            return &n->transfer->sending[i];
    return NULL;
}

/* ---- jobs of the writer thread ---- */

static void submit(struct node *n, struct sending *s, void (*run)(struct job *),
                   void (*done)(struct job *))
{
    CHECK(!s->busy);
    s->busy = true;
    s->job = (struct transfer_job){ .job = { .run = run, .done = done }, .node = n };
    thread_submit(n->writer, &s->job.job);
}

static void open_run(struct job *job)
{
    struct sending *s = (struct sending *)job;
    s->job.err = storage_source_open(s->job.node->storage, &s->source);
}

static void want_checkpoint(struct node *n, struct sending *s)
{
    s->phase = SEND_CHECKPOINT;
    upkeep_again(n);
}

static void open_done(struct job *job)
{
    struct sending *s = (struct sending *)job;
    struct node *n = s->job.node;
    s->busy = false;
    if (s->job.err == ERR_OK)
        s->phase = SEND_OFFERED;
    if (s->ended) {
        close_sending(n, s);
        return;
    }
    if (s->job.err == ERR_NOT_FOUND) {
        want_checkpoint(n, s);
        return;
    }
    if (s->job.err != ERR_OK) {
        end_sending(n, s, 0);
        return;
    }
    /* What follows it has to be in memory still. */
    if (raft_term_at(n->raft, s->source.offer.index) != s->source.offer.term) {
        storage_source_close(&s->source);
        want_checkpoint(n, s);
        return;
    }
    struct peer_frame f = { .type = PEER_OFFER };
    f.offer.index = s->source.offer.index;
    f.offer.term = s->source.offer.term;
    f.offer.size = s->source.offer.size;
    f.offer.file = s->source.offer.id;
    slog(SLOG_INFO, "offering a checkpoint", "member=%llx index=%llu bytes=%llu",
         (unsigned long long)s->peer, (unsigned long long)f.offer.index,
         (unsigned long long)f.offer.size);
    if (!peers_send(n, s->peer, &f))
        end_sending(n, s, 0);
}

static void open_source(struct node *n, struct sending *s)
{
    s->phase = SEND_OPENING;
    submit(n, s, open_run, open_done);
}

static void read_run(struct job *job)
{
    struct sending *s = (struct sending *)job;
    s->job.err = storage_source_read(&s->source, s->sent, s->chunk, s->read_len);
}

static void read_on(struct node *n, struct sending *s);

static void read_done(struct job *job)
{
    struct sending *s = (struct sending *)job;
    struct node *n = s->job.node;
    s->busy = false;
    if (s->ended) {
        close_sending(n, s);
        return;
    }
    struct peer_frame f = { .type = PEER_CHUNK };
    f.chunk.index = s->source.offer.index;
    f.chunk.offset = s->sent;
    f.chunk.bytes = span_of(s->chunk, s->read_len);
    if (s->job.err != ERR_OK || !peers_send(n, s->peer, &f)) {
        end_sending(n, s, 0);
        return;
    }
    n->metrics.snapshot_bytes_sent += s->read_len;
    s->sent += s->read_len;
    read_on(n, s);
}

/* Writes come first: a checkpoint goes no faster than it is told to. */
static bool too_fast(struct node *n, const struct sending *s)
{
    int64_t ms = loop_now_ms(n->loop) - s->begun_ms;
    uint64_t may = (uint64_t)ms * (uint64_t)n->params.snapshot_bytes_per_second / 1000;
    if (s->sent - s->begun <= may)
        return false;
    if (!n->transfer->pace.place)
        loop_timer_set(n->loop, &n->transfer->pace, loop_now_ms(n->loop) + PACE_MS);
    return true;
}

static void on_pace(void *context)
{
    struct node *n = context;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct sending *s = &n->transfer->sending[i];
        if (s->peer && s->phase == SEND_OPEN && !s->ended)
            read_on(n, s);
    }
}

static void read_on(struct node *n, struct sending *s)
{
    uint64_t left = s->source.offer.size - s->sent;
    if (s->busy || left == 0 || s->sent - s->asked >= TRANSFER_AHEAD_BYTES || too_fast(n, s))
        return;
    if (!s->chunk)
        s->chunk = mem_alloc(&n->alloc, PEER_CHUNK_MAX);
    s->read_len = left < PEER_CHUNK_MAX ? left : PEER_CHUNK_MAX;
    submit(n, s, read_run, read_done);
}

/* ---- events ---- */

void transfer_begin(struct node *n, uint64_t peer)
{
    struct sending *s = sending_to(n, peer);
    if (!s) {
        s = sending_to(n, 0);
        if (!s)
            return; /* all are still closing: raft asks again */
        *s = (struct sending){ .peer = peer };
    }
    CHECK(!s->busy);
    s->phase = SEND_WAITING;
    upkeep_again(n);
}

/* Those that are connected. */
static void start_waiting(struct node *n)
{
    if (transfer_installing(n)) /* storage is changing hands */
        return;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct sending *s = &n->transfer->sending[i];
        if (!s->peer || s->phase != SEND_WAITING || !peers_connected(n, s->peer))
            continue;
        s->heard_ms = loop_now_ms(n->loop);
        open_source(n, s);
    }
}

bool transfer_wants_checkpoint(const struct node *n)
{
    for (size_t i = 0; n->transfer && i < RAFT_MEMBERS_MAX; i++) {
        const struct sending *s = &n->transfer->sending[i];
        if (s->peer && s->phase == SEND_CHECKPOINT && !s->ended)
            return true;
    }
    return false;
}

void transfer_checkpoint_done(struct node *n, bool ok)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct sending *s = &n->transfer->sending[i];
        if (!s->peer || s->phase != SEND_CHECKPOINT || s->ended)
            continue;
        s->heard_ms = loop_now_ms(n->loop);
        if (ok)
            open_source(n, s);
        else
            end_sending(n, s, 0);
    }
}

static void on_want(struct node *n, uint64_t from, const struct peer_want *f)
{
    struct sending *s = sending_to(n, from);
    if (!s || (s->phase != SEND_OFFERED && s->phase != SEND_OPEN) ||
        f->index != s->source.offer.index || f->offset > s->source.offer.size)
        return;
    s->heard_ms = loop_now_ms(n->loop);
    if (s->phase == SEND_OFFERED) {
        s->phase = SEND_OPEN;
        s->sent = s->begun = f->offset;
        s->begun_ms = loop_now_ms(n->loop);
    }
    if (f->offset > s->sent)
        return;
    s->asked = f->offset;
    read_on(n, s);
}

static void on_installed(struct node *n, uint64_t from, const struct peer_installed *f)
{
    struct sending *s = sending_to(n, from);
    if (!s || (s->phase != SEND_OFFERED && s->phase != SEND_OPEN) ||
        f->index != s->source.offer.index)
        return;
    slog(SLOG_INFO, f->ok ? "a member has installed a checkpoint" : "a member could not use it",
         "member=%llx index=%llu", (unsigned long long)from, (unsigned long long)f->index);
    end_sending(n, s, f->ok ? f->index : 0);
}

void transfer_frame(struct node *n, uint64_t from, const struct peer_frame *f)
{
    if (f->type == PEER_OFFER)
        receive_offer(n, from, &f->offer);
    else if (f->type == PEER_CHUNK)
        receive_chunk(n, from, &f->chunk);
    else if (f->type == PEER_WANT)
        on_want(n, from, &f->want);
    else if (f->type == PEER_INSTALLED)
        on_installed(n, from, &f->installed);
}

void transfer_lost(struct node *n, uint64_t peer)
{
    struct sending *s = sending_to(n, peer);
    if (s && s->phase != SEND_CHECKPOINT && s->phase != SEND_WAITING)
        end_sending(n, s, 0);
    receive_lost(n, peer);
}

bool transfer_sends(const struct node *n)
{
    bool busy = false;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        busy = busy || n->transfer->sending[i].busy;
    return busy;
}

void transfer_open(struct node *n)
{
    n->transfer = mem_zero(&n->alloc, sizeof(*n->transfer));
    n->transfer->pace = (struct loop_timer){ .callback = on_pace, .context = n };
}

bool transfer_busy(const struct node *n)
{
    const struct receiving *r = &n->transfer->receiving;
    return r->chunks > 0 || r->phase >= RECEIVE_CHECKING || transfer_sends(n);
}

void transfer_turn(struct node *n)
{
    start_waiting(n);
    receive_turn(n);
}

void transfer_sweep(struct node *n)
{
    int64_t now = loop_now_ms(n->loop);
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct sending *s = &n->transfer->sending[i];
        bool quiet = now - s->heard_ms > TRANSFER_QUIET_MS &&
                     s->phase != SEND_CHECKPOINT && s->phase != SEND_WAITING;
        if (s->peer && !s->ended && (quiet || n->update.role != RAFT_LEADER))
            end_sending(n, s, 0);
    }
    receive_sweep(n);
}
