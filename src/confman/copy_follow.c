/* The one stream that all live copies hang on: etcd's Watch, with a watch for each environment of
 * a copy's chain, one for the tree of environments, and those of flags. */
#include <stdlib.h>
#include "confman/confman_int.h"
#include "wire/protobuf/etcd_pb.h"

enum { KINDS_ROOM = 16 };
_Static_assert((int)WATCH_KINDS <= (int)KINDS_ROOM, "a copy's watches have neighbouring numbers");

static void send_request(struct rpc *stream, const struct pb_watch_request *r)
{
    struct buf b;
    buf_open(&b, &stream->alloc);
    pb_watch_request_encode(r, &b);
    channel_stream_put(stream, buf_all(&b));
    buf_close(&b);
}

static bool kind_wanted(const struct confman_copy *copy, int kind)
{
    if (kind >= WATCH_FLAGS)
        return copy->wants_flags;
    return copy->wants_configs && (kind == WATCH_TREE || (size_t)kind < copy->n_chain);
}

static void put_range(const struct confman_copy *copy, int kind, struct buf *key, struct buf *end)
{
    if (kind == WATCH_TREE) {
        buf_text(key, "confman/env/");
    } else if (kind == WATCH_FLAGS) {
        buf_format(key, "confman/flag/%s/", copy->environment);
    } else if (kind == WATCH_SHARED) {
        buf_format(key, "confman/flagset/%s", copy->environment);
        return; /* this key alone */
    } else {
        buf_text(key, "confman/config/");
        buf_span(key, copy->chain[kind]);
        buf_format(key, "/%s", copy->resolves ? "" : copy->prefix);
    }
    buf_span(end, buf_all(key));
    while (end->data[end->len - 1] == 0xff) /* it ends at the latest before the '/' */
        end->len--;
    end->data[end->len - 1]++;
}

void follow_create(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    copy->id = c->next_copy++;
    copy->created = 0;
    copy->watching = true;
    for (int kind = 0; kind < WATCH_KINDS; kind++) {
        struct buf key, end;
        if (!kind_wanted(copy, kind) || copy->blind & 1 << kind) {
            copy->created |= 1 << kind;
            continue;
        }
        buf_open(&key, &copy->alloc);
        buf_open(&end, &copy->alloc);
        put_range(copy, kind, &key, &end);
        struct pb_watch_create_request create = { .key = buf_all(&key),
                                                  .range_end = buf_all(&end),
                                                  .start_revision = copy->seen[kind] + 1,
                                                  .progress_notify = true,
                                                  .watch_id = copy->id * KINDS_ROOM + kind };
        send_request(c->watch, &(struct pb_watch_request){ .which_request_union = 1,
                                                           .create_request = &create });
        buf_close(&key);
        buf_close(&end);
    }
}

void follow_cancel(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    for (int kind = 0; kind < WATCH_KINDS && c->watch && copy->watching; kind++) {
        struct pb_watch_cancel_request cancel = { .watch_id = copy->id * KINDS_ROOM + kind };
        if (kind_wanted(copy, kind) && !(copy->blind & 1 << kind))
            send_request(c->watch, &(struct pb_watch_request){ .which_request_union = 2,
                                                               .cancel_request = &cancel });
    }
    copy->watching = false;
}

/* ---- what is told ---- */

static void reload(struct confman_copy *copy)
{
    follow_cancel(copy);
    copy->phase = COPY_LOAD;
}

static void make_dirty(struct confman_copy *copy, struct span key)
{
    for (size_t i = 0; i < copy->dirty.n; i++)
        if (span_equal(copy->dirty.items[i], key))
            return;
    if (copy->dirty.n == DIRTY_MAX) {
        reload(copy);
        return;
    }
    struct span kept = copy_span(copy, key);
    VEC_PUSH(&copy->dirty, &copy->alloc, kept);
}

static void take_event(struct confman_copy *copy, int kind, const struct pb_event *e)
{
    struct span key = e->kv->key;
    bool put = e->type == 0;
    size_t skip;
    switch (kind) {
    case WATCH_TREE:
        reload(copy);
        return;
    case WATCH_FLAGS:
        skip = sizeof("confman/flag/") + strlen(copy->environment);
        if (key.len > skip && e->kv->mod_revision > copy->flags_at)
            copy_know(copy, span_from(key, skip), put ? &e->kv->value : NULL);
        return;
    case WATCH_SHARED:
        if (e->kv->mod_revision <= copy->flags_at)
            return;
        copy_span_free(copy, &copy->shared);
        if (put)
            copy->shared = copy_span(copy, e->kv->value);
        copy->flags_changed = true;
        return;
    default:
        if (copy->resolves) { /* what refers to it is known to the server alone */
            reload(copy);
            return;
        }
        skip = sizeof("confman/config/") + copy->chain[kind].len;
        if (key.len > skip && !memchr(key.data, 0, key.len))
            make_dirty(copy, span_from(key, skip));
    }
}

static void canceled(struct confman_copy *copy, const struct pb_watch_response *r)
{
    struct confman_error error;
    if (r->compact_revision > 0) {
        reload(copy);
        return;
    }
    size_t n = r->cancel_reason.len < 200 ? r->cancel_reason.len : 200;
    bool denied = span_is(r->cancel_reason, err_text(ERR_PERMISSION_DENIED));
    error_set(&error, denied ? CONFMAN_DENIED : CONFMAN_SERVER, "%.*s", (int)n,
         (const char *)r->cancel_reason.data);
    follow_cancel(copy);
    copy_failed(copy, &error);
}

static void take_events(struct confman_copy *copy, int kind, const struct pb_watch_response *r)
{
    /* An empty one is progress: all up to the header's revision has been told. */
    if (!r->n_events && r->header && r->header->revision > copy->seen[kind])
        copy->seen[kind] = r->header->revision;
    for (size_t i = 0; i < r->n_events && copy->watching; i++) {
        const struct pb_event *e = &r->events[i];
        if (!e->kv)
            continue;
        if (e->kv->mod_revision > copy->seen[kind])
            copy->seen[kind] = e->kv->mod_revision;
        take_event(copy, kind, e);
    }
}

/* Which one was refused etcd does not say. */
static void refused(struct confman *c, const struct pb_watch_response *r)
{
    for (struct confman_copy *copy = c->copies; copy; copy = copy->next)
        if (copy->watching && copy->created != EVERY)
            canceled(copy, r);
}

static void take_response(struct confman *c, const struct pb_watch_response *r)
{
    struct confman_copy *copy = c->copies;
    int kind = (int)(r->watch_id % KINDS_ROOM);
    if (r->created && r->canceled) {
        refused(c, r);
        return;
    }
    while (copy && (copy->id != r->watch_id / KINDS_ROOM || !copy->watching))
        copy = copy->next;
    if (!copy || kind < 0 || kind >= WATCH_KINDS || !kind_wanted(copy, kind))
        return;
    if (r->canceled)
        canceled(copy, r);
    else if (r->created)
        copy->created |= 1 << kind;
    else
        take_events(copy, kind, r);
}

static void on_data(struct confman *c, struct rpc *call)
{
    struct span in = buf_all(&call->in), message;
    struct pb_watch_response r;
    struct arena arena;
    bool got = true, sane = true;
    arena_open(&arena, &c->alloc);
    while (sane && got) {
        sane = grpc_reader_next(&c->reader, &in, ANSWER_BYTES_MAX, &message, &got) == ERR_OK;
        if (!sane || !got)
            break;
        arena_reset(&arena);
        sane = pb_watch_response_decode(message, &arena, &r) == ERR_OK;
        if (sane)
            take_response(c, &r);
    }
    arena_close(&arena);
    buf_reset(&call->in);
    if (!sane && call->h2) {
        error_set(&call->error, CONFMAN_PROTOCOL, "the stream of changes makes no sense");
        h2_reset(call->h2, H2_CANCEL);
    }
}

static void ended(struct confman *c, struct rpc *call)
{
    if (call->error.code == CONFMAN_LOGIN && c->user.len) {
        buf_reset(&c->token);
        c->auth_off = false;
    }
    for (struct confman_copy *copy = c->copies; copy; copy = copy->next)
        copy->watching = false;
    c->watch = NULL;
    c->watch_not_before_ms = client_now(c) + 2 * BACKOFF_MS;
    grpc_reader_close(&c->reader);
    rpc_free(call);
}

void follow_begin(struct confman *c)
{
    struct rpc *call = rpc_new("POST");
    CHECK(call != NULL);
    buf_text(&call->path, "/etcdserverpb.Watch/Watch");
    call->grpc = call->stream = true;
    call->on_data = on_data;
    call->on_done = ended;
    grpc_reader_open(&c->reader, &c->alloc);
    c->watch = call;
    if (!channel_send(c->home, call))
        ended(c, call);
}
