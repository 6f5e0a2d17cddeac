/* Clients with one operation at a time, on a few keys that they fight for. Each operation goes into
 * the history; what its answer says of revisions is checked at once. */
#include "client.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "wire/protobuf/etcd_pb.h"

enum {
    CLIENTS_MAX = 12,
    KEYS_MAX = 16,
    TEXT_MAX = 32,
    FILL_KEYS = 4,
    FILL_BYTES = 20000,
    STICKY_PERCENT = 90, /* stays with its node after an answer */
    RETRY_MAX_US = 200000,
    FINAL_TRIES = 60,
};

enum kind { GET, RANGE, PUT, DELETE, CAS, MOVE, COMPACT, FILL };

struct client {
    int number;
    struct door door;
    bool busy, waiting; /* waiting: for its next turn */
    bool final, final_done;
    int final_step, final_tries;
    struct host *only; /* final: the node to ask */

    /* the operation */
    enum kind kind;
    bool serializable;
    int key, other; /* other: of a move */
    char value[TEXT_MAX], other_value[TEXT_MAX], expected[TEXT_MAX];
    int64_t invoke_us, floor; /* floor: no answer may have a lower revision */
    int64_t compact_revision;
    uint64_t number_of_op;

    char known[KEYS_MAX][TEXT_MAX]; /* what it believes; "-": absent */
};

struct plan plan;
struct linear history;
struct arena client_arena;
static struct client clients[CLIENTS_MAX];
static bool stopping;
static int64_t highest; /* revision of all linearizable answers */

static void next(void *context, uint64_t what);

/* ---- the history ---- */

static struct span key_text(char out[TEXT_MAX], int key)
{
    snprintf(out, TEXT_MAX, "k%d", key);
    return span_text(out);
}

static void write_down(const struct client *c, enum linear_type type, int key, const char *value,
                       enum linear_outcome outcome, const char *result)
{
    char text[TEXT_MAX];
    struct linear_op op = { .client = (uint64_t)c->number,
                            .type = type,
                            .outcome = outcome,
                            .key = key_text(text, key),
                            .value = span_text(value),
                            .result = span_text(outcome == LINEAR_OK ? result : "-"),
                            .invoke_us = c->invoke_us,
                            .return_us = world_us };
    if (outcome == LINEAR_UNKNOWN && type == LINEAR_GET)
        return;
    linear_add(&history, &op);
}

/* An operation without an answer. */
static void write_down_lost(const struct client *c, enum linear_outcome outcome)
{
    char swap[2 * TEXT_MAX];
    counts[outcome == LINEAR_FAIL ? COUNT_FAILED : COUNT_UNKNOWN]++;
    switch (c->kind) {
    case GET:
    case RANGE:
    case COMPACT:
    case FILL:
        return;
    case PUT:
        write_down(c, LINEAR_PUT, c->key, c->value, outcome, "-");
        return;
    case MOVE:
        write_down(c, LINEAR_PUT, c->key, c->value, outcome, "-");
        write_down(c, LINEAR_PUT, c->other, c->other_value, outcome, "-");
        return;
    case DELETE:
        write_down(c, LINEAR_DELETE, c->key, "-", outcome, "-");
        return;
    case CAS:
        snprintf(swap, sizeof(swap), "%s>%s", c->expected, c->value);
        write_down(c, LINEAR_CAS, c->key, swap, outcome, "-");
        return;
    }
}

/* ---- ends of operations ---- */

static void later(struct client *c, int64_t in_us)
{
    c->busy = false;
    c->waiting = true;
    world_call(world_us + in_us, next, c, ++c->number_of_op);
}

static bool certainly_failed(int code, struct span text)
{
    return code == 11 || code == 9 || span_is(text, "etcdserver: no leader") ||
           span_is(text, "etcdserver: mvcc: database space exceeded") ||
           span_is(text, "etcdserver: too many requests") ||
           span_is(text, "etcdserver: server stopped");
}

static void lost(struct client *c, int code, struct span text)
{
    bool sure = certainly_failed(code, text);
    trace("client %d op %llu: %s: %d %.*s", c->number, (unsigned long long)c->number_of_op,
          sure ? "fail" : "unknown", code, (int)text.len, (const char *)text.data);
    write_down_lost(c, sure ? LINEAR_FAIL : LINEAR_UNKNOWN);
    if (!sure || world_chance(30))
        door_close(&c->door);
    later(c, world_between(1000, RETRY_MAX_US));
}

static void timed_out(void *context, uint64_t number)
{
    struct client *c = context;
    if (c->busy && c->number_of_op == number) {
        door_close(&c->door);
        lost(c, -1, SPAN("no answer in time"));
    }
}

/* ---- answers ---- */

static void copy_text(char out[TEXT_MAX], struct span s)
{
    CHECK(s.len < TEXT_MAX);
    snprintf(out, TEXT_MAX, "%.*s", (int)s.len, s.len ? (const char *)s.data : "");
}

static void saw_revision(const struct client *c, const struct pb_response_header *h, bool wrote)
{
    if (!h || h->revision <= 0)
        violated("an answer of %s without a revision", c->door.to->name);
    if (c->serializable)
        return;
    if (h->revision < c->floor + wrote)
        violated("%s answered client %d with revision %lld; before it asked, somebody had got "
                 "revision %lld",
                 c->door.to->name, c->number, (long long)h->revision, (long long)c->floor);
    if (h->revision > highest)
        highest = h->revision;
}

static void saw_key(struct client *c, int key, int64_t revision, const struct pb_key_value *kv)
{
    char text[TEXT_MAX];
    struct span value = kv ? kv->value : SPAN_NONE;
    check_read(revision, key_text(text, key), value, kv ? kv->mod_revision : 0);
    if (kv)
        copy_text(c->known[key], kv->value);
    else
        snprintf(c->known[key], TEXT_MAX, "-");
    if (!c->serializable)
        write_down(c, LINEAR_GET, key, "-", LINEAR_OK, c->known[key]);
}

static void take_range(struct client *c, struct span message)
{
    struct pb_range_response r;
    if (pb_range_response_decode(message, &client_arena, &r) != ERR_OK)
        violated("a range response that makes no sense");
    saw_revision(c, r.header, false);
    for (int key = 0; key < plan.keys; key++) {
        char text[TEXT_MAX];
        const struct pb_key_value *kv = NULL;
        struct span name = key_text(text, key);
        if (c->kind == GET && key != c->key)
            continue;
        for (size_t i = 0; i < r.n_kvs; i++)
            if (span_equal(r.kvs[i].key, name))
                kv = &r.kvs[i];
        saw_key(c, key, r.header->revision, kv);
    }
    counts[COUNT_READS]++;
    counts[COUNT_SERIALIZABLE] += c->serializable;
}

static void wrote(struct client *c, int key, const char *value, int64_t revision)
{
    char text[TEXT_MAX];
    bool deleted = strcmp(value, "-") == 0;
    check_written(revision, key_text(text, key), span_text(value), deleted);
    snprintf(c->known[key], TEXT_MAX, "%s", value);
    counts[COUNT_WRITES]++;
}

static void take_put(struct client *c, struct span message)
{
    struct pb_put_response r;
    if (pb_put_response_decode(message, &client_arena, &r) != ERR_OK)
        violated("a put response that makes no sense");
    saw_revision(c, r.header, true);
    wrote(c, c->key, c->value, r.header->revision);
    write_down(c, LINEAR_PUT, c->key, c->value, LINEAR_OK, "-");
}

/* A large value, on a key of its own; made anew from the number of the operation. */
static void make_fill(const struct client *c, char key[TEXT_MAX], struct buf *out)
{
    struct prng p = { c->number_of_op };
    snprintf(key, TEXT_MAX, "f%d.%d", c->number, (int)prng_below(&p, FILL_KEYS));
    for (uint64_t n = 1 + prng_below(&p, FILL_BYTES) / 8; n > 0; n--)
        buf_u64(out, prng_next(&p));
}

static void take_fill(struct client *c, struct span message)
{
    struct pb_put_response r;
    char key[TEXT_MAX];
    struct buf value;
    if (pb_put_response_decode(message, &client_arena, &r) != ERR_OK)
        violated("a put response that makes no sense");
    saw_revision(c, r.header, true);
    buf_open(&value, &world_heap);
    make_fill(c, key, &value);
    check_written(r.header->revision, span_text(key), buf_all(&value), false);
    buf_close(&value);
}

static void take_delete(struct client *c, struct span message)
{
    struct pb_delete_range_response r;
    if (pb_delete_range_response_decode(message, &client_arena, &r) != ERR_OK || r.deleted > 1)
        violated("a delete response that makes no sense");
    saw_revision(c, r.header, r.deleted == 1);
    if (r.deleted)
        wrote(c, c->key, "-", r.header->revision);
    write_down(c, LINEAR_DELETE, c->key, "-", LINEAR_OK, r.deleted ? "1" : "0");
}

static void take_cas(struct client *c, const struct pb_txn_response *r)
{
    char swap[2 * TEXT_MAX];
    const char *result = "1";
    saw_revision(c, r->header, r->succeeded);
    if (r->succeeded) {
        wrote(c, c->key, c->value, r->header->revision);
    } else {
        if (r->n_responses != 1 || !r->responses[0].response_range)
            violated("a failed swap without the value there");
        const struct pb_range_response *range = r->responses[0].response_range;
        copy_text(c->known[c->key], range->n_kvs ? range->kvs[0].value : SPAN("-"));
        result = c->known[c->key];
    }
    snprintf(swap, sizeof(swap), "%s>%s", c->expected, c->value);
    write_down(c, LINEAR_CAS, c->key, swap, LINEAR_OK, result);
}

static void take_txn(struct client *c, struct span message)
{
    struct pb_txn_response r;
    if (pb_txn_response_decode(message, &client_arena, &r) != ERR_OK)
        violated("a txn response that makes no sense");
    if (c->kind == CAS) {
        take_cas(c, &r);
        return;
    }
    saw_revision(c, r.header, true);
    wrote(c, c->key, c->value, r.header->revision);
    wrote(c, c->other, c->other_value, r.header->revision);
    write_down(c, LINEAR_PUT, c->key, c->value, LINEAR_OK, "-");
    write_down(c, LINEAR_PUT, c->other, c->other_value, LINEAR_OK, "-");
}

static void on_message(void *context, struct span message)
{
    struct client *c = context;
    CHECK(c->busy);
    switch (c->kind) {
    case GET:
    case RANGE:
        take_range(c, message);
        break;
    case PUT:
        take_put(c, message);
        break;
    case DELETE:
        take_delete(c, message);
        break;
    case CAS:
    case MOVE:
        take_txn(c, message);
        break;
    case FILL:
        take_fill(c, message);
        break;
    case COMPACT:
        counts[COUNT_COMPACTIONS]++;
        break;
    }
    counts[COUNT_OK]++;
    trace("client %d op %llu: ok", c->number, (unsigned long long)c->number_of_op);
    c->busy = false; /* the status follows */
    if (c->final) {
        c->final_step++;
        c->final_tries = 0;
    }
}

static void on_over(void *context, int code, struct span text)
{
    struct client *c = context;
    if (!c->busy && code == 0) {
        later(c, world_between(0, plan.think_us));
        return;
    }
    if (!c->busy) { /* answered, then broken */
        door_close(&c->door);
        later(c, world_between(0, plan.think_us));
        return;
    }
    if (code == 0)
        violated("%s ended a call well without an answer", c->door.to->name);
    /* Cut off, deadline, exhausted, unavailable; and a revision that is compacted already. */
    bool learner = span_is(text, "etcdserver: rpc not supported for learner");
    if (code != -1 && code != 4 && code != 8 && code != 14 && !learner &&
        !(c->kind == COMPACT && code == 11))
        violated("%s answered code %d: %.*s", c->door.to->name, code, (int)text.len,
                 (const char *)text.data);
    lost(c, code, text);
}

/* ---- requests ---- */

static void encode_range(const struct client *c, struct buf *out)
{
    char text[TEXT_MAX];
    struct pb_range_request m = { .serializable = c->serializable };
    m.key = c->kind == RANGE ? SPAN("k") : key_text(text, c->key);
    m.range_end = c->kind == RANGE ? SPAN("l") : SPAN_NONE;
    pb_range_request_encode(&m, out);
}

static void encode_cas(const struct client *c, struct buf *out)
{
    char text[TEXT_MAX];
    struct span key = key_text(text, c->key);
    bool absent = strcmp(c->expected, "-") == 0;
    struct pb_compare compare = { .which_target_union = absent ? 5 : 7,
                                  .target = absent ? 1 : 3, /* create revision, value */
                                  .key = key,
                                  .value = absent ? SPAN_NONE : span_text(c->expected) };
    struct pb_put_request put = { .key = key, .value = span_text(c->value) };
    struct pb_range_request range = { .key = key };
    struct pb_request_op yes = { .which_request = 2, .request_put = &put };
    struct pb_request_op no = { .which_request = 1, .request_range = &range };
    struct pb_txn_request m = { &compare, 1, &yes, 1, &no, 1 };
    pb_txn_request_encode(&m, out);
}

static void encode_move(const struct client *c, struct buf *out)
{
    char texts[2][TEXT_MAX];
    struct pb_put_request puts[2] = {
        { .key = key_text(texts[0], c->key), .value = span_text(c->value) },
        { .key = key_text(texts[1], c->other), .value = span_text(c->other_value) },
    };
    struct pb_request_op ops[2] = { { .which_request = 2, .request_put = &puts[0] },
                                    { .which_request = 2, .request_put = &puts[1] } };
    struct pb_txn_request m = { .success = ops, .n_success = 2 };
    pb_txn_request_encode(&m, out);
}

static void encode_fill(const struct client *c, struct buf *out)
{
    char key[TEXT_MAX];
    struct buf value;
    buf_open(&value, &world_heap);
    make_fill(c, key, &value);
    struct pb_put_request m = { .key = span_text(key), .value = buf_all(&value) };
    pb_put_request_encode(&m, out);
    buf_close(&value);
}

static const char *encode(const struct client *c, struct buf *out)
{
    char text[TEXT_MAX];
    struct pb_put_request put = { .key = key_text(text, c->key), .value = span_text(c->value) };
    struct pb_delete_range_request del = { .key = put.key };
    struct pb_compaction_request compact = { .revision = c->compact_revision,
                                             .physical = c->compact_revision % 2 == 0 };
    switch (c->kind) {
    case GET:
    case RANGE:
        encode_range(c, out);
        return "/etcdserverpb.KV/Range";
    case PUT:
        pb_put_request_encode(&put, out);
        return "/etcdserverpb.KV/Put";
    case DELETE:
        pb_delete_range_request_encode(&del, out);
        return "/etcdserverpb.KV/DeleteRange";
    case CAS:
        encode_cas(c, out);
        return "/etcdserverpb.KV/Txn";
    case MOVE:
        encode_move(c, out);
        return "/etcdserverpb.KV/Txn";
    case FILL:
        encode_fill(c, out);
        return "/etcdserverpb.KV/Put";
    case COMPACT:
        pb_compaction_request_encode(&compact, out);
        return "/etcdserverpb.KV/Compact";
    }
    UNREACHABLE("a kind");
}

static void begin(struct client *c)
{
    struct buf message;
    static const char *const names[] = { "get", "range", "put", "delete", "cas", "move",
                                         "compact", "fill" };
    if (!door_is_open(&c->door))
        door_open(&c->door, c->only ? c->only : &hosts[world_below((uint64_t)n_nodes)]);
    c->busy = true;
    c->invoke_us = world_us;
    c->floor = highest;
    trace("client %d op %llu: %s%s k%d %s by %s", c->number, (unsigned long long)c->number_of_op,
          c->serializable ? "serializable " : "", names[c->kind], c->key, c->value,
          c->door.to->name);
    counts[COUNT_OPS]++;
    if (c->kind == COMPACT)
        watchers_compacted(c->compact_revision);
    buf_open(&message, &world_heap);
    const char *path = encode(c, &message);
    world_call(world_us + plan.timeout_us, timed_out, c, c->number_of_op);
    door_call(&c->door, path, buf_all(&message), true);
    buf_close(&message);
}

/* ---- choosing ---- */

static enum kind choose_kind(const struct client *c)
{
    int dice = (int)world_below(100);
    if (plan.compact && c->number == 0 && world_chance(4) && watchers_seen() > 20)
        return COMPACT;
    if ((dice -= plan.read_percent) < 0)
        return world_chance(20) ? RANGE : GET;
    if ((dice -= plan.delete_percent) < 0)
        return DELETE;
    if ((dice -= plan.cas_percent) < 0)
        return CAS;
    if ((dice -= plan.move_percent) < 0)
        return MOVE;
    return world_chance(plan.fill_percent) ? FILL : PUT;
}

static void choose(struct client *c)
{
    c->kind = choose_kind(c);
    c->key = (int)world_below((uint64_t)plan.keys);
    c->other = (c->key + 1) % plan.keys;
    c->serializable =
        (c->kind == GET || c->kind == RANGE) && world_chance(plan.serializable_percent);
    snprintf(c->value, TEXT_MAX, "v%d.%llu", c->number, (unsigned long long)c->number_of_op);
    snprintf(c->other_value, TEXT_MAX, "w%d.%llu", c->number, (unsigned long long)c->number_of_op);
    memcpy(c->expected, c->known[c->key], TEXT_MAX);
    if (c->kind == COMPACT) /* never what the watcher of everything has not seen */
        c->compact_revision = watchers_seen() - (int64_t)world_below(10);
}

/* One node after the other: a write, then a read of all. */
static bool choose_final(struct client *c)
{
    c->serializable = false;
    c->key = 0;
    c->kind = c->final_step % 2 ? RANGE : PUT;
    snprintf(c->value, TEXT_MAX, "end%d.%llu", c->final_step, (unsigned long long)c->number_of_op);
    if (c->final_step == 2 * n_nodes) {
        c->final_done = true;
        return false;
    }
    struct host *h = &hosts[c->final_step / 2];
    if (c->only != h)
        door_close(&c->door);
    c->only = h;
    if (++c->final_tries > FINAL_TRIES)
        violated("all is well, but %s answers no %s", h->name, c->kind == PUT ? "put" : "range");
    return true;
}

static void next(void *context, uint64_t what)
{
    struct client *c = context;
    if (what != c->number_of_op || !c->waiting)
        return;
    c->waiting = false;
    if (c->final ? !choose_final(c) : stopping) {
        door_close(&c->door);
        return;
    }
    if (!c->final)
        choose(c);
    if (!c->final && !world_chance(STICKY_PERCENT))
        door_close(&c->door);
    begin(c);
}

/* ---- life ---- */

void clients_open(void)
{
    linear_open(&history, &world_heap);
    arena_open(&client_arena, &world_heap);
    stopping = false;
    highest = 1;
    CHECK(plan.clients <= CLIENTS_MAX && plan.keys <= KEYS_MAX && plan.clients > 0);
    for (int i = 0; i < plan.clients; i++) {
        struct client *c = &clients[i];
        *c = (struct client){ .number = i };
        char name[TEXT_MAX];
        snprintf(name, sizeof(name), "c%d", i);
        door_init(&c->door, host_add(false, name), c, on_message, on_over);
        for (int k = 0; k < KEYS_MAX; k++)
            snprintf(c->known[k], TEXT_MAX, "-");
        later(c, world_between(0, SECOND));
    }
}

void clients_close(void)
{
    for (int i = 0; i < plan.clients; i++)
        door_close(&clients[i].door);
    linear_close(&history);
    arena_close(&client_arena);
}

void clients_stop(void)
{
    stopping = true;
}

bool clients_idle(void)
{
    for (int i = 0; i < plan.clients; i++)
        if (clients[i].busy || clients[i].waiting)
            return false;
    return true;
}

void clients_final(void)
{
    CHECK(stopping && clients_idle());
    clients[0].final = true;
    later(&clients[0], 0);
}

bool clients_final_done(void)
{
    return clients[0].final_done;
}

int64_t clients_revision(void)
{
    return highest;
}
