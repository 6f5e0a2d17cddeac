/* drive: the door with a machine and watchers behind it, for the unit test and the fuzz target.
 * What comes out of it must read back as the message that the contract says, with the same
 * bytes. */
#pragma once
#include "api/etcd/etcd_int.h"
#include "base/check.h"

enum { DRIVE_WATCHERS_MAX = 32, DRIVE_EVENTS_BYTES = 100 };

struct drive {
    struct alloc heap;
    struct arena arena;
    struct machine m;
    struct watch_hub *hub;
    struct buf command, out, again; /* out: the newest answer */
    size_t watchers, events;        /* events: told so far */
    struct watcher *newest;
};

static const struct etcd_header drive_header = { .cluster_id = 7, .member_id = 8, .term = 9 };

static inline void drive_open(struct drive *d)
{
    *d = (struct drive){ 0 };
    alloc_heap(&d->heap);
    arena_open(&d->arena, &d->heap);
    machine_open(&d->m, &d->heap);
    d->hub = watch_open(&d->heap);
    buf_open(&d->command, &d->heap);
    buf_open(&d->out, &d->heap);
    buf_open(&d->again, &d->heap);
}

/* Whether all memory came back. */
static inline bool drive_close(struct drive *d)
{
    watch_close(d->hub);
    machine_close(&d->m);
    arena_close(&d->arena);
    buf_close(&d->command);
    buf_close(&d->out);
    buf_close(&d->again);
    return d->heap.used == 0;
}

static inline const struct etcd_method *drive_method(const char *path)
{
    const struct etcd_method *m = etcd_method_find(span_text(path));
    CHECK(m);
    return m;
}

/* The answer in out is what one encoder makes of the method's response message. */
static inline void drive_read_back(struct drive *d, const struct etcd_method *method)
{
    int number = 0;
    buf_reset(&d->again);
#define PB_METHOD(path, service, name, request, response, ins, outs)                               \
    if (number++ == method->number) {                                                              \
        struct pb_##response m;                                                                    \
        CHECK(pb_##response##_decode(buf_all(&d->out), &d->arena, &m) == ERR_OK);                  \
        pb_##response##_encode(&m, &d->again);                                                     \
    }
#include "wire/protobuf/etcd_methods.def"
#undef PB_METHOD
    CHECK(span_equal(buf_all(&d->out), buf_all(&d->again)));
}

/* Every event of the batch once and in order, in responses that say which is the last. */
static inline void drive_batch(struct drive *d, const struct watch_batch *batch,
                               struct etcd_events *alike)
{
    size_t next = 0;
    struct pb_watch_response m;
    while (next < batch->n) {
        size_t first = next;
        buf_reset(&d->out);
        etcd_watch_events(&drive_header, kv_revision(d->m.kv), batch, &next, DRIVE_EVENTS_BYTES,
                          alike, &d->out);
        drive_read_back(d, drive_method("/etcdserverpb.Watch/Watch"));
        CHECK(pb_watch_response_decode(buf_all(&d->out), &d->arena, &m) == ERR_OK);
        CHECK(next > first && m.n_events == next - first && m.watch_id == batch->watcher->id);
        CHECK(m.fragment == (next < batch->n) && (batch->watcher->fragment || !m.fragment));
        for (size_t i = 0; i < m.n_events; i++) {
            const struct kv_version *v = batch->changes[first + i]->now;
            CHECK(span_equal(m.events[i].kv->key, kv_key(v)));
            CHECK(m.events[i].kv->mod_revision == v->mod_revision);
            CHECK((m.events[i].type == PB_EVENT_DELETE) == v->tombstone);
            CHECK(batch->watcher->prev_kv || !m.events[i].prev_kv);
            CHECK(v->tombstone || span_equal(m.events[i].kv->value, kv_value(v)));
        }
        d->events += m.n_events;
    }
}

static inline void drive_tell(struct drive *d, const struct kv_change *changes, size_t n)
{
    struct watch_batch *batches;
    size_t count;
    struct etcd_events alike = { .arena = &d->arena };
    if (!n)
        return;
    watch_match(d->hub, changes, n, &d->arena, &batches, &count);
    for (size_t i = 0; i < count; i++)
        drive_batch(d, &batches[i], &alike);
}

/* The reason of a refusal, or NULL; then the watcher is there when there was room for it. */
static inline const char *drive_watch(struct drive *d, const struct watch_request *r)
{
    const char *why = etcd_watch_refusal(r, false);
    if (why || d->watchers == DRIVE_WATCHERS_MAX)
        return why;
    struct watch_spec spec = { r->key,    r->range_end, r->start_revision, r->id,       r->prev_kv,
                               r->no_put, r->no_delete, r->progress,       r->fragment, d };
    d->newest = watch_add(d->hub, &spec, kv_revision(d->m.kv));
    d->watchers++;
    if (d->newest->synced)
        return NULL;
    struct watch_batch batch;
    bool compacted;
    watch_catch_up(d->hub, d->m.kv, d->newest, &d->arena, &batch, &compacted);
    if (!compacted && batch.n)
        drive_batch(d, &batch, NULL);
    return NULL;
}

/* What the node would know. */
static inline void drive_own(const struct request *r, struct reply *reply)
{
    static const struct member_info members[2] = {
        { .id = 8, .client_url = { (const uint8_t *)"http://a", 8 } }, { .id = 1, .learner = true }
    };
    if (r->type == REQUEST_LEASE_RENEW)
        reply->lease.id = r->lease.id;
    if (r->type == REQUEST_STATUS)
        reply->status.version = "3", reply->status.nospace = true, reply->status.leader = 1;
    if (r->type == REQUEST_MEMBERS)
        reply->members.items = members, reply->members.n = 2;
    if (r->type == REQUEST_HEALTH)
        reply->health = HEALTH_NOT_SERVING;
}

/* A range in pieces of one pair each; the last one has what all merged would have. */
static inline void drive_pieces(struct drive *d, const struct etcd_method *method,
                                const struct kv_range_result *r)
{
    size_t i = 0;
    do {
        bool more = i < r->n;
        struct etcd_range_piece piece = { more ? r->items + i : NULL, more,
                                          .keys_only = r->keys_only };
        i++;
        piece.last = i >= r->n;
        piece.count = r->count;
        piece.more = r->more;
        buf_reset(&d->out);
        etcd_range_piece(&drive_header, &piece, &d->arena, &d->out);
        drive_read_back(d, method);
    } while (i < r->n);
}

static inline enum err drive_reflect(struct drive *d, const struct etcd_method *method,
                                     struct span message)
{
    enum err e = etcd_reflect(message, &d->arena, &d->out);
    if (e == ERR_OK)
        drive_read_back(d, method);
    return e;
}

/* One message of a call, taken as the node does: what it is refused with, or the answer in out. */
static inline enum err drive_call(struct drive *d, const struct etcd_method *method,
                                  struct span message)
{
    struct request r;
    struct reply reply;
    const struct kv_change *changes;
    size_t n = 0;
    buf_reset(&d->out);
    if (method->kind == ETCD_REFLECTION)
        return drive_reflect(d, method, message);
    enum err e = etcd_decode(method, message, &d->arena, &r);
    if (e != ERR_OK || r.type == REQUEST_NONE)
        return e;
    if (r.type == REQUEST_WATCH_ADD)
        return drive_watch(d, &r.watch) ? ERR_BAD_REQUEST : ERR_OK;
    if (r.type == REQUEST_WATCH_REMOVE || r.type == REQUEST_WATCH_PROGRESS)
        return ERR_OK;
    e = request_check(&r, &d->arena);
    if (e != ERR_OK)
        return e;
    if (r.type == REQUEST_AUTHENTICATE) { /* what the node would have made of the password */
        r.auth.token_hash =
            span_of(arena_zero(&d->arena, AUTH_TOKEN_HASH_BYTES), AUTH_TOKEN_HASH_BYTES);
        r.auth.checked_revision = auth_revision(d->m.auth);
    }
    reply = (struct reply){ .type = r.type, .revision = kv_revision(d->m.kv) };
    if (request_writes(&r)) {
        buf_reset(&d->command);
        machine_command(&r, 1000, 77, &d->command);
        CHECK(machine_apply(&d->m, d->m.applied_index + 1, 1, buf_all(&d->command), 0, &d->arena,
                            &reply, &changes, &n) == ERR_OK);
    } else if (r.type < REQUEST_PUT || r.type == REQUEST_TXN) {
        machine_read(&d->m, &r, 0, &d->arena, &reply);
    } else {
        drive_own(&r, &reply);
    }
    drive_tell(d, changes, n);
    buf_reset(&d->out);
    if (reply.err != ERR_OK)
        return reply.err;
    if (method->kind == ETCD_SNAPSHOT) {
        etcd_snapshot(d->m.applied_index, SPAN("part"), &d->out);
        drive_read_back(d, method);
        return ERR_OK;
    }
    if (method->kind == ETCD_RANGE_STREAM) {
        drive_pieces(d, method, &reply.range);
        return ERR_OK;
    }
    etcd_encode(method, &drive_header, &reply, &d->arena, &d->out);
    drive_read_back(d, method);
    return ERR_OK;
}
