#include "api/etcd/etcd_int.h"
#include "base/check.h"

static void encode(const struct etcd_header *h, int64_t revision, struct pb_watch_response *m,
                   struct buf *out)
{
    struct pb_response_header header = { h->cluster_id, h->member_id, revision, h->term };
    m->header = &header;
    pb_watch_response_encode(m, out);
}

void etcd_watch_created(const struct etcd_header *h, int64_t revision, int64_t id, struct buf *out)
{
    struct pb_watch_response m = { .watch_id = id, .created = true };
    encode(h, revision, &m, out);
}

void etcd_watch_canceled(const struct etcd_header *h, int64_t revision, int64_t id,
                         int64_t compact_revision, bool created, const char *reason,
                         struct buf *out)
{
    struct pb_watch_response m = { .watch_id = id,
                                   .created = created,
                                   .canceled = true,
                                   .compact_revision = compact_revision,
                                   .cancel_reason = span_text(reason) };
    encode(h, revision, &m, out);
}

void etcd_watch_progress(const struct etcd_header *h, int64_t revision, int64_t id, struct buf *out)
{
    struct pb_watch_response m = { .watch_id = id };
    encode(h, revision, &m, out);
}

/* ---- events: written straight from the store, one pass for the sizes and one for the bytes
 * ---- */

struct shape {
    struct pb_event event;
    struct pb_key_value kv, prev;
};

static void shape_of(const struct kv_change *c, bool prev_kv, struct shape *s)
{
    const struct kv_version *v = c->now;
    memset(s, 0, sizeof(*s));
    s->kv.key = kv_key(v);
    s->kv.mod_revision = v->mod_revision;
    s->event.kv = &s->kv;
    if (v->tombstone) {
        s->event.type = PB_EVENT_DELETE;
    } else {
        s->kv.create_revision = v->create_revision;
        s->kv.version = v->version;
        s->kv.value = kv_value(v);
        s->kv.lease = v->lease;
    }
    bool creation = v->create_revision == v->mod_revision; /* then etcd does not look for one */
    if (prev_kv && c->prev && !creation) {
        const struct kv_version *p = c->prev;
        s->prev = (struct pb_key_value){ kv_key(p),  p->create_revision, p->mod_revision,
                                         p->version, kv_value(p),        p->lease };
        s->event.prev_kv = &s->prev;
    }
}

enum { EVENTS_TAG = 11 << 3 | 2 };

/* How many events from next on go into one response. */
static size_t how_many(const struct watch_batch *batch, size_t next, size_t size_max)
{
    size_t n = 0, size = 0;
    if (!batch->watcher->fragment)
        return batch->n - next;
    for (; next + n < batch->n; n++) {
        struct shape s;
        shape_of(batch->changes[next + n], batch->watcher->prev_kv, &s);
        size += pb_bytes_size(EVENTS_TAG, pb_event_size(&s.event));
        if (n > 0 && size > size_max)
            break;
    }
    return n;
}

static void put_events(const struct watch_batch *batch, size_t from, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) { /* field 11 is the last: the bytes are as one encoder's */
        struct shape s;
        shape_of(batch->changes[from + i], batch->watcher->prev_kv, &s);
        size_t size = pb_event_size(&s.event);
        uint8_t *p = buf_room(out, pb_bytes_size(EVENTS_TAG, size));
        uint8_t *end = pb_put_varint(pb_put_varint(p, EVENTS_TAG), size);
        end = pb_event_put(end, &s.event);
        out->len += (size_t)(end - p);
    }
}

enum { HEADER_TAG = 1 << 3 | 2, WATCH_ID_TAG = 2 << 3 };

static bool is_alike(const struct etcd_events *alike, const struct watch_batch *batch)
{
    return alike->changes == batch->changes && alike->prev_kv == batch->watcher->prev_kv;
}

/* Only the id differs, and it stands between the header and the events. */
static void put_alike(const struct etcd_events *alike, int64_t id, struct buf *out)
{
    buf_span(out, alike->header);
    if (id) {
        buf_u8(out, WATCH_ID_TAG);
        buf_varint(out, (uint64_t)id);
    }
    buf_span(out, alike->events);
}

/* message: what a watcher has just been told. */
static void keep_alike(struct etcd_events *alike, struct span message, size_t events_at)
{
    CHECK(message.len > 2 && message.data[0] == HEADER_TAG && message.data[1] < 0x80);
    alike->header = arena_copy(alike->arena, span_of(message.data, 2u + message.data[1]));
    alike->events = arena_copy(alike->arena, span_from(message, events_at));
}

void etcd_watch_events(const struct etcd_header *h, int64_t revision,
                       const struct watch_batch *batch, size_t *next, size_t size_max,
                       struct etcd_events *alike, struct buf *out)
{
    CHECK(*next < batch->n);
    const struct watcher *w = batch->watcher;
    bool shared = alike && !w->fragment, again = shared && is_alike(alike, batch);
    if (again && alike->events.data) {
        put_alike(alike, w->id, out);
        *next = batch->n;
        return;
    }
    size_t n = how_many(batch, *next, size_max), start = out->len;
    struct pb_watch_response m = { .watch_id = w->id, .fragment = *next + n < batch->n };
    encode(h, revision, &m, out);
    size_t events_at = out->len - start;
    put_events(batch, *next, n, out);
    *next += n;
    if (again)
        keep_alike(alike, span_from(buf_all(out), start), events_at);
    else if (shared)
        *alike = (struct etcd_events){ alike->arena, batch->changes, w->prev_kv, SPAN_NONE,
                                       SPAN_NONE };
}

const char *etcd_watch_refusal(const struct watch_request *w, bool id_taken)
{
    struct span end = w->range_end, from = w->key.len ? w->key : SPAN("\0");
    bool to_the_end = end.len == 1 && end.data[0] == 0;
    if (w->start_revision < 0)
        return err_text(ERR_COMPACTED);
    if (end.len && !to_the_end && span_compare(from, end) >= 0)
        return "mvcc: watcher range is empty";
    return id_taken ? "mvcc: duplicate watch ID provided on the WatchStream" : NULL;
}

/* Clients see these as texts only, so etcd writes them as its client would print the error. */
const char *etcd_watch_denied(enum err e)
{
    if (e == ERR_AUTH_TOKEN)
        return "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    if (e == ERR_AUTH_OLD_REVISION)
        return "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old";
    if (e == ERR_USER_EMPTY)
        return "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    return "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
}
