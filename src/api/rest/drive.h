/* drive: the door with a machine and watchers behind it, for the unit test and the fuzz target.
 * Whatever was asked, the answer is well formed: a known status, headers that a head may have, JSON
 * where it says so, events that a reader of streams can cut. */
#pragma once
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

#define REST_ROOT REST_CONFIGS "default/"

enum { DRIVE_WATCHERS_MAX = 16 };

struct drive {
    struct alloc heap, json;
    struct arena arena;
    struct machine m;
    struct watch_hub *hub;
    struct flagsets *flags;
    uint64_t counted;
    struct buf command, events; /* events: told by the newest request, as server-sent events */
    struct rest_world world;
    struct rest_links *links;
    struct rest_call call;      /* the newest, and its answer unless it was a watch */
    struct rest_answer answer;
    size_t watchers;
    int64_t now_ms;
};

static inline void drive_open(struct drive *d)
{
    *d = (struct drive){ .now_ms = 1700000000000 };
    alloc_heap(&d->heap);
    alloc_heap(&d->json);
    jsonr_use(&d->json);
    arena_open(&d->arena, &d->heap);
    machine_open(&d->m, &d->heap);
    d->hub = watch_open(&d->heap);
    struct flagset_counts counts = { &d->counted, &d->counted, &d->counted };
    d->flags = flagsets_open(&d->heap, 1 << 20, counts, rest_environments);
    d->world.schemas = rest_schemas_open(&d->heap);
    d->links = rest_links_open(&d->heap);
    d->world.links = d->links;
    buf_open(&d->command, &d->heap);
    buf_open(&d->events, &d->heap);
}

/* Whether all memory came back. */
static inline bool drive_close(struct drive *d)
{
    watch_close(d->hub);
    flagsets_close(d->flags);
    rest_schemas_close(d->world.schemas);
    rest_links_close(d->links);
    machine_close(&d->m);
    arena_close(&d->arena);
    buf_close(&d->command);
    buf_close(&d->events);
    return d->heap.used == 0 && d->json.used == 0;
}

static inline void drive_json(struct span text)
{
    struct alloc heap;
    struct arena arena;
    struct jdoc *json;
    struct jdoc_fault fault;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    CHECK(jdoc_read(text, &arena, &json, &fault) == ERR_OK && json->type == JDOC_OBJECT);
    arena_close(&arena);
}

/* "id: N", "event: name", "data: JSON", each on a line of its own, and an empty line. */
static inline void drive_event(struct span text)
{
    static const char *const names[3] = { "id: ", "event: ", "data: " };
    for (int i = 0; i < 3; i++) {
        CHECK(span_starts(text, span_text(names[i])));
        text = span_from(text, strlen(names[i]));
        const uint8_t *end = memchr(text.data, '\n', text.len);
        CHECK(end);
        struct span line = span_of(text.data, (size_t)(end - text.data));
        CHECK(line.len && !memchr(line.data, '\r', line.len));
        if (i == 2)
            drive_json(line);
        text = span_from(text, line.len + 1);
    }
    CHECK(span_is(text, "\n"));
}

static inline void drive_take_event(void *context, struct span text)
{
    struct drive *d = context;
    drive_event(text);
    buf_span(&d->events, text);
}

static inline void drive_take_message(void *context, struct span text)
{
    CHECK(context && pb_utf8(text));
    drive_json(text);
}

static inline void drive_batch(struct drive *d, const struct watch_batch *batch)
{
    rest_watch_events(d->m.kv, batch, REST_SSE, &d->arena, drive_take_event, d);
    rest_watch_events(d->m.kv, batch, REST_WEBSOCKET, &d->arena, drive_take_message, d);
}

static inline void drive_watch(struct drive *d)
{
    const struct watch_request *r = &d->call.request.watch;
    struct watch_batch batch;
    bool compacted;
    if (d->watchers++ >= DRIVE_WATCHERS_MAX)
        return;
    struct watch_spec spec = { .key = r->key,
                               .range_end = r->range_end,
                               .start_revision = r->start_revision,
                               .owner = d };
    struct watcher *w = watch_add(d->hub, &spec, kv_revision(d->m.kv));
    if (w->synced)
        return;
    watch_catch_up(d->hub, d->m.kv, w, &d->arena, &batch, &compacted);
    if (compacted)
        drive_event(rest_watch_compacted(kv_compact_revision(d->m.kv), REST_SSE, &d->arena));
    else if (batch.n)
        drive_batch(d, &batch);
}

static inline void drive_check_answer(const struct rest_answer *a)
{
    struct span type = SPAN_NONE;
    CHECK(a->status >= 200 && strcmp(http_status_text(a->status), "Status") != 0);
    for (size_t i = 0; i < a->header_count; i++) {
        struct http_header h = a->headers[i];
        for (size_t k = 0; k < h.name.len; k++)
            CHECK(h.name.data[k] == http_lower(h.name.data[k]) && h.name.data[k] > 0x20);
        for (size_t k = 0; k < h.value.len; k++)
            CHECK(h.value.data[k] >= 0x20 && h.value.data[k] < 0x7f);
        if (span_is(h.name, "content-type"))
            type = h.value;
    }
    bool ofrep = a->status == 404 || a->status == 400; /* its errors have a form of their own */
    CHECK((a->status >= 400) == span_is(type, "application/problem+json") ||
          (ofrep && span_is(type, "application/json")));
    CHECK((a->status == 304) == (type.len == 0) && (type.len == 0) == (a->body.len == 0));
    if (type.len && !span_is(type, "application/yaml") && !span_starts(type, SPAN("text/plain")))
        drive_json(a->body);
}

/* Applies what writes, and tells the watchers. */
static inline void drive_apply(struct drive *d, const struct request *r, struct reply *reply)
{
    const struct kv_change *changes;
    struct watch_batch *batches;
    size_t n, count;
    buf_reset(&d->command);
    machine_command(r, d->now_ms, 1, &d->command);
    CHECK(machine_apply(&d->m, d->m.applied_index + 1, 1, buf_all(&d->command), 0, &d->arena,
                        reply, &changes, &n) == ERR_OK);
    if (!n)
        return;
    flagsets_changed(d->flags, changes, n);
    rest_links_changed(d->links, changes, n);
    watch_match(d->hub, changes, n, &d->arena, &batches, &count);
    for (size_t i = 0; i < count; i++)
        drive_batch(d, &batches[i]);
}

/* What changes several keys: it has read, and now writes, or not (node/changing.c). */
static inline void drive_change(struct drive *d)
{
    struct rest_call *c = &d->call;
    struct reply reply;
    bool writes;
    rest_change(c, d->m.kv, &d->arena, &d->answer, &writes);
    if (!writes || !rest_check(c, d->m.kv, &d->arena, &d->answer))
        return;
    CHECK(request_check(&c->request, &d->arena) == ERR_OK);
    drive_apply(d, &c->request, &reply);
    CHECK(reply.err == ERR_OK && reply.txn.succeeded); /* nobody else writes here */
    rest_changed(c, d->m.kv, &reply, &d->arena, &d->answer);
}

/* One request, taken as the node does. The status of the answer; 0: a watch was opened. */
static inline int drive_request(struct drive *d, const struct http_request *http)
{
    struct request *r = &d->call.request;
    const char *detail = NULL;
    struct reply reply;
    buf_reset(&d->events);
    CHECK(rest_takes(http->path));
    enum err e = rest_call(http, &d->arena, &d->call, &detail);
    d->call.flags = d->flags;
    d->call.world = &d->world;
    if (e == ERR_OK)
        e = rest_plan(&d->call, d->m.kv, &d->arena, &detail);
    bool stream = d->call.kind != REST_UNARY && d->call.kind != REST_WATCH;
    if (e == ERR_OK && (stream || d->call.access || d->call.audit))
        return 0; /* the node answers */
    if (e == ERR_OK)
        e = request_check(r, &d->arena);
    if (e == ERR_OK && d->call.kind == REST_WATCH) {
        drive_watch(d);
        return 0;
    }
    if (e == ERR_OK && d->call.secret)
        return 0; /* the node answers: it has the keys */
    if (e == ERR_OK && request_writes(r) &&
        !rest_check(&d->call, d->m.kv, &d->arena, &d->answer)) {
        drive_check_answer(&d->answer);
        return d->answer.status;
    }
    reply = (struct reply){ .type = r->type, .revision = kv_revision(d->m.kv), .err = e };
    if (e != ERR_OK) {
        rest_refusal(&d->call, e, detail, &d->arena, &d->answer);
    } else {
        if (r->type == REQUEST_STATUS)
            reply.status.version = "3.6";
        else if (request_writes(r))
            drive_apply(d, r, &reply);
        else
            machine_read(&d->m, r, 0, &d->arena, &reply);
        if (d->call.change && reply.err == ERR_OK)
            drive_change(d);
        else
            rest_answer(&d->call, d->m.kv, &reply, &d->arena, &d->answer);
    }
    drive_check_answer(&d->answer);
    return d->answer.status;
}

/* A put through another door: any bytes below our root. */
static inline void drive_put_bytes(struct drive *d, struct span key, struct span value)
{
    struct reply reply;
    struct buf b;
    buf_open(&b, &d->heap);
    buf_text(&b, REST_ROOT);
    buf_span(&b, key);
    struct request r = { .type = REQUEST_PUT,
                         .author = value,
                         .put = { .key = buf_all(&b), .value = value, .type = KV_BYTES } };
    drive_apply(d, &r, &reply);
    CHECK(reply.err == ERR_OK);
    buf_close(&b);
}
