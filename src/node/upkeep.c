/* Upkeep: what has to be done now and then, in small steps at the turn's end: compaction, watchers
 * that are behind, checkpoints, spare segments, room on disk and in memory, expiry, time-outs. */
#include "node/node_int.h"
#include "node/peers.h"
#include <stdlib.h>
#include "base/check.h"

enum {
    CHECKPOINT_RETRY_MS = 5000,
    CHECKPOINT_PACE_MS = 2,
    DISK_RESERVE_BYTES = 16 << 20
};

/* One at a time: either a checkpoint is being written or a spare segment is made. */
struct writer_job {
    struct job job;
    struct node *node;
    enum { MAKE_SPARE, BEGIN, PIECE, COMMIT, TRIM } what;
    struct buf piece;
    uint64_t index, term, spare, log_from;
    int64_t took_us;
    enum err err;
};

struct upkeep {
    struct node *node;
    struct machine_save *save; /* NULL: no checkpoint is being written */
    bool all_made;             /* its last piece is on the way */
    bool writer_busy, trimming;
    uint64_t log_bytes_at; /* counter of log bytes at the newest checkpoint; wraps: of before */
    uint64_t spares_made;
    bool spare_failed; /* for want of room */
    int64_t retry_ms;  /* no checkpoint before this */
    int64_t begun_ms;
    uint64_t made_bytes; /* of the checkpoint that is being written, since begun_ms */
    struct loop_timer pace;
    struct writer_job job, trim;
};

void upkeep_again(struct node *n)
{
    n->again = true;
}

/* ---- jobs of the writer thread ---- */

static void writer_run(struct job *job)
{
    struct writer_job *w = (struct writer_job *)job;
    struct storage *s = w->node->storage;
    int64_t start = loop_clock_us();
    switch (w->what) {
    case MAKE_SPARE:
        w->err = storage_spare(s, w->spare);
        break;
    case BEGIN:
        w->err = storage_checkpoint_begin(s, w->index, w->term);
        break;
    case PIECE:
        w->err = storage_checkpoint_piece(s, buf_all(&w->piece));
        break;
    case COMMIT:
        w->err = storage_checkpoint_commit(s, &w->log_from);
        break;
    case TRIM:
        w->err = storage_trim(s, w->index);
        break;
    }
    w->took_us = loop_clock_us() - start;
}

static void submit(struct node *n, int what)
{
    struct upkeep *u = n->upkeep;
    CHECK(!u->writer_busy);
    u->writer_busy = true;
    u->job.what = what;
    thread_submit(n->writer, &u->job.job);
}

static void trim_done(struct job *job)
{
    struct writer_job *w = (struct writer_job *)job;
    w->node->upkeep->trimming = false;
    if (w->err != ERR_OK)
        slog(SLOG_WARN, "old log segments could not be removed", "index=%llu",
             (unsigned long long)w->index);
}

/* Segments are the disk thread's: it gives back those that no checkpoint needs. */
static void trim(struct node *n, uint64_t from)
{
    struct upkeep *u = n->upkeep;
    if (!from || u->trimming)
        return;
    u->trimming = true;
    u->trim.what = TRIM;
    u->trim.index = from;
    thread_submit(n->disk, &u->trim.job);
}

static void give_up(struct node *n)
{
    struct upkeep *u = n->upkeep;
    n->metrics.checkpoints_failed++;
    slog(SLOG_WARN, "checkpoint given up; it is tried again", "error=%s",
         slog_quote(err_text(u->job.err)));
    storage_checkpoint_cancel(n->storage); /* the writer is idle now */
    machine_save_close(u->save);
    u->save = NULL;
    u->retry_ms = loop_now_ms(n->loop) + CHECKPOINT_RETRY_MS;
    transfer_checkpoint_done(n, false);
    download_checkpoint_done(n, 0, false);
}

static void checkpoint_written(struct node *n)
{
    struct upkeep *u = n->upkeep;
    n->metrics.checkpoints++;
    slog(SLOG_INFO, "checkpoint", "index=%llu log_from=%llu", (unsigned long long)u->job.index,
         (unsigned long long)u->job.log_from);
    machine_save_close(u->save);
    u->save = NULL;
    trim(n, u->job.log_from);
    transfer_checkpoint_done(n, true);
    download_checkpoint_done(n, u->job.index, true);
}

/* The next piece is made on this thread, from the store, and written on the other. */
static void next_piece(struct node *n)
{
    struct upkeep *u = n->upkeep;
    buf_reset(&u->job.piece);
    if (u->all_made) {
        submit(n, COMMIT);
        return;
    }
    u->all_made = !machine_save_step(u->save, CHECKPOINT_STEP_BYTES, &u->job.piece);
    u->made_bytes += u->job.piece.len;
    submit(n, PIECE);
}

static void on_pace(void *context)
{
    next_piece(context);
}

/* The log has the disk first: a checkpoint is written no faster than it is told to. */
static bool too_fast(const struct node *n)
{
    const struct upkeep *u = n->upkeep;
    int64_t ms = loop_now_ms(n->loop) - u->begun_ms;
    return u->made_bytes > (uint64_t)ms * (uint64_t)n->params.checkpoint_bytes_per_second / 1000;
}

static void writer_done(struct job *job)
{
    struct writer_job *w = (struct writer_job *)job;
    struct node *n = w->node;
    struct upkeep *u = n->upkeep;
    u->writer_busy = false;
    if (w->what == MAKE_SPARE) {
        u->spare_failed = w->err != ERR_OK;
        if (w->err == ERR_OK)
            n->spare = w->spare;
        return;
    }
    histogram_add(&n->metrics.commit_seconds, w->took_us);
    if (w->err != ERR_OK)
        give_up(n);
    else if (w->what == COMMIT)
        checkpoint_written(n);
    else if (!n->stopping && too_fast(n))
        loop_timer_set(n->loop, &u->pace, loop_now_ms(n->loop) + CHECKPOINT_PACE_MS);
    else
        next_piece(n);
}

static void begin_checkpoint(struct node *n)
{
    struct upkeep *u = n->upkeep;
    u->job.index = n->machine.applied_index;
    u->job.term = n->machine.applied_term;
    u->log_bytes_at = n->metrics.log_bytes;
    u->save = machine_save_open(&n->machine, &n->alloc);
    u->all_made = false;
    u->begun_ms = loop_now_ms(n->loop);
    u->made_bytes = 0;
    submit(n, BEGIN);
}

/* A large state is not written anew for little log: that would be most of what the disk does. */
static bool checkpoint_due(const struct node *n)
{
    const struct upkeep *u = n->upkeep;
    uint64_t log = n->metrics.log_bytes - u->log_bytes_at;
    bool much = log >= (uint64_t)n->params.checkpoint_log_bytes &&
                log >= n->store_alloc.used / 100 * (uint64_t)n->params.checkpoint_log_percent;
    return (much || transfer_wants_checkpoint(n) || download_wants_checkpoint(n)) &&
           loop_now_ms(n->loop) >= u->retry_ms && n->machine.applied_index > 0;
}

bool upkeep_writes(const struct node *n)
{
    return n->upkeep->writer_busy || n->upkeep->save || n->upkeep->trimming;
}

static void use_writer(struct node *n)
{
    struct upkeep *u = n->upkeep;
    if (u->writer_busy || u->save || n->stopping || transfer_installing(n))
        return;
    if (!n->spare && !u->spare_failed) {
        u->job.spare = ++u->spares_made;
        submit(n, MAKE_SPARE);
    } else if (checkpoint_due(n)) {
        begin_checkpoint(n);
    }
}

void upkeep_checkpoint_last(struct node *n)
{
    struct upkeep *u = n->upkeep;
    thread_drain(n->writer);
    if (!u->save && !transfer_loading(n) && n->machine.applied_index > 0 &&
        n->metrics.log_bytes != u->log_bytes_at)
        begin_checkpoint(n);
    if (u->save && !u->writer_busy) { /* it was waiting for its time */
        loop_timer_clear(n->loop, &u->pace);
        next_piece(n);
    }
    while (u->writer_busy)
        thread_drain(n->writer);
    thread_drain(n->disk);
}

/* ---- the turn ---- */

bool upkeep_turn(struct node *n)
{
    bool more = n->again;
    n->again = false;
    transfer_turn(n);
    call_health_settle(n);
    download_turn(n);
    if (transfer_loading(n))
        return false;
    more = kv_compact_step(n->machine.kv, COMPACT_STEP) || more;
    if (n->physical.n) {
        struct kv_stats stats;
        kv_stats(n->machine.kv, &stats);
        if (stats.pending == 0)
            call_physical_settle(n);
    }
    more = watching_catch_up(n) || more;
    more = pushing_catch_up(n) || more;
    more = range_stream_turn(n) || more;
    more = hashing_turn(n) || more;
    locking_settle(n);
    arena_reset(&n->apply);
    use_writer(n);
    return more;
}

/* ---- timers ---- */

static void on_sweep(void *context)
{
    struct node *n = context;
    conn_sweep(n);
    listen_sweep(n);
    login_sweep(n);
    seal_sweep(n);
    rewrap_sweep(n);
    vault_sweep(n);
    revoke_sweep(n);
    compactor_sweep(n);
    publishing_sweep(n);
    publishing_tidy(n);
    pump_sweep(n);
    cluster_sweep(n);
    n->level_news = true;
    leasing_sweep(n);
    digest_sweep(n);
    transfer_sweep(n);
    pushing_sweep(n);
    peers_measure(n);
    loop_timer_set(n->loop, &n->sweep_timer, loop_now_ms(n->loop) + SWEEP_MS);
}

/* Full is: no room for the log to go on, or the store at its bound. It ends some way below. */
static bool is_full(const struct node *n)
{
    const struct upkeep *u = n->upkeep;
    int64_t bound = n->store_bytes_max - (n->nospace ? n->store_bytes_max / 20 : 0);
    uint64_t reserve = DISK_RESERVE_BYTES * (n->nospace ? 2 : 1);
    return (int64_t)n->store_alloc.used > bound || u->spare_failed ||
           storage_free_bytes(n->storage) < reserve;
}

static void on_space(void *context)
{
    struct node *n = context;
    struct upkeep *u = n->upkeep;
    if (u->spare_failed && !u->writer_busy && !u->save &&
        storage_free_bytes(n->storage) > LOG_SEGMENT_BYTES + 2 * (uint64_t)DISK_RESERVE_BYTES)
        u->spare_failed = false; /* the next turn tries again */
    bool full = is_full(n);
    if (full && !n->nospace)
        slog(SLOG_ERROR,
             "no space: writes are refused until there is room; free disk or delete "
             "keys and compact",
             "store_bytes=%zu store_bytes_max=%lld disk_free_bytes=%llu", n->store_alloc.used,
             (long long)n->store_bytes_max, (unsigned long long)storage_free_bytes(n->storage));
    if (!full && n->nospace)
        slog(SLOG_INFO, "there is space again: writes are taken", "store_bytes=%zu",
             n->store_alloc.used);
    n->nospace = full;
    pump_turn(n); /* a batch may be waiting for room */
    loop_timer_set(n->loop, &n->space_timer, loop_now_ms(n->loop) + SPACE_CHECK_MS);
}

static void on_progress(void *context)
{
    struct node *n = context;
    watching_progress(n);
    pushing_progress(n);
    loop_timer_set(n->loop, &n->progress_timer,
                   loop_now_ms(n->loop) + n->params.watch_progress_interval_ms);
}

static void start(struct node *n, struct loop_timer *t, void (*callback)(void *), int64_t in_ms)
{
    *t = (struct loop_timer){ .callback = callback, .context = n };
    if (in_ms >= 0)
        loop_timer_set(n->loop, t, loop_now_ms(n->loop) + in_ms);
}

void upkeep_open(struct node *n)
{
    struct upkeep *u = mem_zero(&n->alloc, sizeof(*u));
    n->upkeep = u;
    u->node = n;
    u->job = (struct writer_job){ .job = { .run = writer_run, .done = writer_done }, .node = n };
    u->trim = (struct writer_job){ .job = { .run = writer_run, .done = trim_done }, .node = n };
    u->pace = (struct loop_timer){ .callback = on_pace, .context = n };
    buf_open(&u->job.piece, &n->alloc);
    u->log_bytes_at = 0 - n->log_bytes_read;
    n->spare = storage_spare_found(n->storage);
    u->spares_made = n->spare;
    start(n, &n->lease_timer, leasing_on_timer, -1);
    start(n, &n->raft_timer, pump_timeout, -1);
    start(n, &n->sweep_timer, on_sweep, SWEEP_MS);
    start(n, &n->space_timer, on_space, SPACE_CHECK_MS);
    start(n, &n->progress_timer, on_progress, n->params.watch_progress_interval_ms);
}

void upkeep_close(struct node *n)
{
    struct upkeep *u = n->upkeep;
    loop_timer_clear(n->loop, &u->pace);
    if (u->save)
        machine_save_close(u->save);
    buf_close(&u->job.piece);
    mem_free(&n->alloc, u, sizeof(*u));
}
