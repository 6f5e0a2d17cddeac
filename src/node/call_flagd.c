/* Calls of flagd's doors: who asks may read the flags, and the streams end in watches of them. */
#include "node/call_int.h"
#include "base/check.h"

static struct flagset *set_of(struct call *call)
{
    struct node *n = call->node;
    return flagsets_get(n->flagsets, n->machine.kv, call->flagd->environment);
}

static enum err permitted(struct call *call, struct request *r)
{
    enum err e = login_of(call, r);
    return e == ERR_OK ? machine_permits(&call->node->machine, r) : e;
}

/* Everything that could refuse it is asked before the stream begins. */
static void open_stream(struct call *call)
{
    struct flagd_call *f = call->flagd;
    struct span document;
    enum err e = call_has_state(call->node) ? permitted(call, &f->request) : ERR_UNHEALTHY;
    if (e == ERR_OK && f->ask == FLAGD_SYNC)
        e = flagset_document(set_of(call), &document);
    if (e != ERR_OK) {
        audit_refused(call, &f->request, e);
        call_end(call, e);
        return;
    }
    call->watch = watching_open(call);
    watching_request(call->watch, &f->request, ERR_OK);
    for (size_t i = 0; i < f->n_also; i++)
        if (permitted(call, &f->also[i]) == ERR_OK)
            watching_request(call->watch, &f->also[i], ERR_OK);
}

void call_flagd_message(struct call *call, struct span message)
{
    struct flagd_call *f = call->flagd;
    enum err e = flagd_decode(call->method, message, &call->arena, f);
    if (e == ERR_OK && call_has_state(call->node))
        flagd_look(f, set_of(call), &call->arena);
    if (e != ERR_OK)
        call_end(call, e);
    else if (call->method->kind == ETCD_FLAGD_STREAM)
        open_stream(call);
    else
        call_take(call, &f->request, SPAN_NONE);
}

void call_flagd_answer(struct call *call)
{
    struct node *n = call->node;
    struct buf out;
    const char *text;
    buf_open(&out, &n->pool.alloc);
    int code =
        flagd_answer(call->flagd, set_of(call), loop_wall_ms(n->loop), &call->arena, &out, &text);
    if (code == 0) {
        buf_span(call_message_begin(call), buf_all(&out));
        call_message_end(call);
    }
    buf_close(&out);
    call_finish(call, code, text);
}

/* ---- streams ---- */

/* All that is, unless it was told already. */
static void sync(struct call *call)
{
    struct flagd_call *f = call->flagd;
    struct span document;
    int64_t revision = kv_revision(call->node->machine.kv);
    if (f->over || f->told == revision)
        return;
    f->over = flagset_document(set_of(call), &document) != ERR_OK;
    if (f->over)
        return; /* whoever delivers ends it */
    flagd_sync(document, call_message_begin(call));
    call_message_end(call);
    f->told = revision;
}

void call_flagd_ready(struct call *call)
{
    struct flagd_call *f = call->flagd;
    if (f->ready)
        return;
    f->ready = true;
    if (f->ask == FLAGD_SYNC) {
        sync(call);
        return;
    }
    flagd_ready(call_message_begin(call));
    call_message_end(call);
}

void call_flagd_events(struct call *call, const struct watch_batch *batch)
{
    if (call->flagd->ask == FLAGD_SYNC) {
        sync(call);
        return;
    }
    flagd_events(batch, &call->node->apply, call_message_begin(call));
    call_message_end(call);
}
