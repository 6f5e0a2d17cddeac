#include "node/download.h"
#include "base/check.h"
#include "node/export.h"
#include "node/node_int.h"

struct download {
    struct job job;
    struct node *node;
    struct call *call; /* NULL: it went away */
    uint64_t asked;    /* applied when it was asked */
    enum { DOWN_OPENING, DOWN_CHECKPOINT, DOWN_SENDING, DOWN_ENDED } phase;
    bool busy, open;
    bool etcd; /* wanted: etcd's database */
    struct storage_source source;
    uint64_t offset, len;
    uint8_t *piece;
    struct export *export;
    struct span made;
    enum err err;
};

static void close_source(struct download *d)
{
    if (d->open && d->etcd)
        export_close(d->export);
    else if (d->open)
        storage_source_close(&d->source);
    d->open = false;
}

static void close_download(struct node *n, struct download *d)
{
    CHECK(!d->busy);
    for (size_t i = 0; i < n->downloads.n; i++)
        if (n->downloads.items[i] == d)
            n->downloads.items[i] = n->downloads.items[--n->downloads.n];
    close_source(d);
    mem_free(&n->alloc, d->piece, d->piece ? DOWNLOAD_PIECE_BYTES : 0);
    mem_free(&n->alloc, d, sizeof(*d));
}

/* The stream ends as it should, or breaks off, so that nobody takes a part for the whole. */
static void end(struct download *d, enum err e)
{
    struct call *call = d->call;
    d->phase = DOWN_ENDED;
    d->call = NULL;
    if (call)
        call_download_end(call, e);
}

static void submit(struct download *d, void (*run)(struct job *), void (*done)(struct job *))
{
    CHECK(!d->busy);
    d->busy = true;
    d->job = (struct job){ .run = run, .done = done };
    thread_submit(d->node->writer, &d->job);
}

/* ---- opening ---- */

static void open_run(struct job *job)
{
    struct download *d = (struct download *)job;
    d->err = d->etcd ? export_open(d->node->storage, &d->export)
                     : storage_source_open(d->node->storage, &d->source);
}

static uint64_t index_of(const struct download *d)
{
    return d->etcd ? export_index(d->export) : d->source.offer.index;
}

static void open_done(struct job *job)
{
    struct download *d = (struct download *)job;
    d->busy = false;
    d->open = d->err == ERR_OK;
    upkeep_again(d->node);
    if (d->phase == DOWN_ENDED)
        return;
    if (d->open && index_of(d) >= d->asked) {
        d->phase = DOWN_SENDING;
        return;
    }
    close_source(d);
    if (d->err == ERR_OK || d->err == ERR_NOT_FOUND)
        d->phase = DOWN_CHECKPOINT;
    else
        end(d, d->err);
}

static void open_source(struct download *d)
{
    d->phase = DOWN_OPENING;
    submit(d, open_run, open_done);
}

bool download_wants_checkpoint(const struct node *n)
{
    for (size_t i = 0; i < n->downloads.n; i++)
        if (n->downloads.items[i]->phase == DOWN_CHECKPOINT)
            return true;
    return false;
}

void download_checkpoint_done(struct node *n, uint64_t index, bool ok)
{
    for (size_t i = 0; i < n->downloads.n; i++) {
        struct download *d = n->downloads.items[i];
        if (d->phase != DOWN_CHECKPOINT || (ok && index < d->asked))
            continue;
        if (ok)
            open_source(d);
        else
            end(d, ERR_UNHEALTHY);
    }
    upkeep_again(n);
}

/* ---- sending ---- */

static void piece_run(struct job *job)
{
    struct download *d = (struct download *)job;
    d->err = storage_source_read(&d->source, d->offset, d->piece, d->len);
}

static void piece_done(struct job *job)
{
    struct download *d = (struct download *)job;
    d->busy = false;
    upkeep_again(d->node);
    if (d->phase == DOWN_ENDED)
        return;
    if (d->err != ERR_OK) {
        end(d, d->err);
        return;
    }
    d->offset += d->len;
    call_text(d->call, span_of(d->piece, d->len));
}

static void step_run(struct job *job)
{
    struct download *d = (struct download *)job;
    d->err = export_step(d->export, &d->made);
}

static void step_done(struct job *job)
{
    struct download *d = (struct download *)job;
    d->busy = false;
    upkeep_again(d->node);
    if (d->phase == DOWN_ENDED)
        return;
    uint64_t left = export_left(d->export) + d->made.len;
    while (d->err == ERR_OK && d->made.len) {
        struct span blob = d->made;
        if (blob.len > DOWNLOAD_BLOB_BYTES)
            blob.len = DOWNLOAD_BLOB_BYTES;
        d->made = span_from(d->made, blob.len);
        left -= blob.len;
        etcd_snapshot(left, blob, call_message_begin(d->call));
        call_message_end(d->call);
    }
    if (d->err != ERR_OK)
        end(d, d->err == ERR_END ? ERR_OK : d->err);
}

static void send_on(struct download *d)
{
    if (d->busy || call_queued(d->call) >= OUTPUT_BYTES / 2)
        return;
    if (d->etcd) {
        submit(d, step_run, step_done);
        return;
    }
    uint64_t left = d->source.offer.size - d->offset;
    if (left == 0) {
        end(d, ERR_OK);
        return;
    }
    if (!d->piece)
        d->piece = mem_alloc(&d->node->alloc, DOWNLOAD_PIECE_BYTES);
    d->len = left < DOWNLOAD_PIECE_BYTES ? left : DOWNLOAD_PIECE_BYTES;
    submit(d, piece_run, piece_done);
}

/* ---- life ---- */

static size_t exports(const struct node *n)
{
    size_t count = 0;
    for (size_t i = 0; i < n->downloads.n; i++)
        count += n->downloads.items[i]->etcd;
    return count;
}

bool download_begin(struct node *n, struct call *call)
{
    if (call->method && exports(n) >= EXPORTS_MAX)
        return false;
    if (n->downloads.n >= DOWNLOADS_MAX || n->machine.applied_index == 0)
        return false;
    struct download *d = mem_zero(&n->alloc, sizeof(*d));
    d->node = n;
    d->call = call;
    d->etcd = call->method != NULL;
    d->asked = n->machine.applied_index;
    VEC_PUSH(&n->downloads, &n->alloc, d);
    n->metrics.downloads++;
    open_source(d);
    return true;
}

void download_gone(struct node *n, struct call *call)
{
    for (size_t i = 0; i < n->downloads.n; i++) {
        if (n->downloads.items[i]->call != call)
            continue;
        n->downloads.items[i]->call = NULL;
        n->downloads.items[i]->phase = DOWN_ENDED;
        upkeep_again(n);
    }
}

void download_turn(struct node *n)
{
    for (size_t i = n->downloads.n; i-- > 0;) {
        struct download *d = n->downloads.items[i];
        if (d->phase == DOWN_SENDING)
            send_on(d);
        if (d->phase == DOWN_ENDED && !d->busy)
            close_download(n, d);
    }
}

bool download_busy(const struct node *n)
{
    for (size_t i = 0; i < n->downloads.n; i++)
        if (n->downloads.items[i]->busy)
            return true;
    return false;
}

void download_close(struct node *n)
{
    while (n->downloads.n)
        close_download(n, n->downloads.items[0]);
    VEC_CLOSE(&n->downloads, &n->alloc);
}
