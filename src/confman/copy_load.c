/* Live copies: asking for what there is, all of it or what has changed. */
#include <stdlib.h>
#include "confman/confman_int.h"
#include "wire/protobuf/etcd_pb.h"

struct span copy_span(struct confman_copy *copy, struct span s)
{
    uint8_t *p = mem_alloc(&copy->alloc, s.len + 1);
    if (s.len)
        memcpy(p, s.data, s.len);
    p[s.len] = 0;
    return span_of(p, s.len);
}

void copy_span_free(struct confman_copy *copy, struct span *s)
{
    mem_free(&copy->alloc, (void *)(uintptr_t)s->data, s->data ? s->len + 1 : 0);
    *s = SPAN_NONE;
}

/* ---- calls of a copy ---- */

static struct rpc *ask(struct confman_copy *copy, const char *method,
                        void (*on_done)(struct confman *c, struct rpc *call))
{
    struct rpc *call = rpc_new(method);
    CHECK(call != NULL);
    call->on_done = on_done;
    call->owner = copy;
    call->deadline_ms = client_now(copy->client) + copy->client->timeout_ms;
    VEC_PUSH(&copy->asking, &copy->alloc, call);
    return call;
}

/* It has ended: whoever takes it frees it. */
static struct confman_copy *take(struct rpc *call)
{
    struct confman_copy *copy = call->owner;
    for (size_t i = 0; i < copy->asking.n; i++)
        if (copy->asking.items[i] == call)
            copy->asking.items[i--] = copy->asking.items[--copy->asking.n];
    return copy;
}

static void ignored(struct confman *c, struct rpc *call)
{
    (void)c;
    rpc_free(call);
}

void copy_ask_end(struct confman_copy *copy)
{
    for (size_t i = 0; i < copy->asking.n; i++) {
        struct rpc *call = copy->asking.items[i];
        call->on_done = ignored; /* wherever it is */
        call->owner = NULL;
        call->deadline_ms = 1;
    }
    copy->asking.n = 0;
    copy->gathered.n = 0;
    part_close(copy->made);
    copy->made = NULL;
}

static void put_path(struct confman_copy *copy, struct buf *b, const char *key)
{
    buf_text(b, "/v1/config");
    if (key) {
        buf_u8(b, '/');
        path_escape(b, key);
    }
    buf_text(b, "?environment=");
    path_escape(b, copy->environment);
    if (copy->resolves)
        buf_text(b, "&resolve=true");
}

/* ---- flags: by one transaction, so that they are of one revision ---- */

void copy_clear_known(struct confman_copy *copy)
{
    for (size_t i = 0; i < copy->known.n; i++) {
        copy_span_free(copy, &copy->known.items[i].name);
        copy_span_free(copy, &copy->known.items[i].json);
    }
    copy->known.n = 0;
    copy_span_free(copy, &copy->shared);
}

void copy_know(struct confman_copy *copy, struct span name, const struct span *json)
{
    size_t i = 0;
    while (i < copy->known.n && !span_equal(copy->known.items[i].name, name))
        i++;
    if (i < copy->known.n) {
        copy_span_free(copy, &copy->known.items[i].json);
        if (json) {
            copy->known.items[i].json = copy_span(copy, *json);
        } else {
            copy_span_free(copy, &copy->known.items[i].name);
            copy->known.items[i] = copy->known.items[--copy->known.n];
        }
    } else if (json && copy->known.n < FLAGS_MAX) {
        struct known k = { copy_span(copy, name), copy_span(copy, *json) };
        VEC_PUSH(&copy->known, &copy->alloc, k);
    }
    copy->flags_changed = true;
}

static bool take_flags(struct confman_copy *copy, struct span answer, struct arena *arena)
{
    struct pb_txn_response r;
    size_t skip = sizeof("confman/flag/") + strlen(copy->environment);
    if (pb_txn_response_decode(answer, arena, &r) != ERR_OK || !r.header || r.n_responses != 2 ||
        !r.responses[0].response_range || !r.responses[1].response_range ||
        r.responses[0].response_range->n_kvs > FLAGS_MAX)
        return false;
    const struct pb_range_response *flags = r.responses[0].response_range;
    const struct pb_range_response *shared = r.responses[1].response_range;
    copy_clear_known(copy);
    VEC_RESERVE(&copy->known, &copy->alloc, flags->n_kvs);
    for (size_t i = 0; i < flags->n_kvs; i++) {
        struct span key = flags->kvs[i].key;
        if (key.len <= skip)
            return false;
        struct known k = { copy_span(copy, span_from(key, skip)),
                           copy_span(copy, flags->kvs[i].value) };
        VEC_PUSH(&copy->known, &copy->alloc, k);
    }
    if (shared->n_kvs)
        copy->shared = copy_span(copy, shared->kvs[0].value);
    copy->flags_at = r.header->revision;
    copy->flags_changed = true;
    if (!copy->wants_configs)
        for (int i = 0; i < WATCH_KINDS; i++)
            copy->seen[i] = copy->flags_at;
    return true;
}

static void loaded(struct confman_copy *copy)
{
    struct part *made = NULL;
    if (copy->wants_configs)
        made = part_configs(copy->gathered.items, copy->gathered.n, copy->seen[0]);
    copy_ask_end(copy);
    copy_loaded(copy, made);
}

static void got_flags(struct confman *c, struct rpc *call)
{
    struct confman_copy *copy = take(call);
    struct grpc_reader reader;
    struct arena arena;
    struct span in = buf_all(&call->in), message;
    bool got = false;
    grpc_reader_open(&reader, &c->alloc);
    arena_open(&arena, &c->alloc);
    if (call->error.code == CONFMAN_OK &&
        (grpc_reader_next(&reader, &in, ANSWER_BYTES_MAX, &message, &got) != ERR_OK || !got ||
         !take_flags(copy, message, &arena)))
        error_set(&call->error, CONFMAN_PROTOCOL, "the answer about flags makes no sense");
    arena_close(&arena);
    grpc_reader_close(&reader);
    if (call->error.code == CONFMAN_OK)
        loaded(copy);
    else
        copy_failed(copy, &call->error);
    rpc_free(call);
}

static void ask_flags(struct confman_copy *copy)
{
    struct buf key, end, shared;
    struct rpc *call = ask(copy, "POST", got_flags);
    struct buf *bufs[] = { &key, &end, &shared };
    for (int i = 0; i < 3; i++)
        buf_open(bufs[i], &copy->alloc);
    buf_format(&key, "confman/flag/%s/", copy->environment);
    buf_format(&end, "confman/flag/%s0", copy->environment); /* '0' is behind '/' */
    buf_format(&shared, "confman/flagset/%s", copy->environment);
    struct pb_range_request ranges[] = {
        { .key = buf_all(&key), .range_end = buf_all(&end), .serializable = true },
        { .key = buf_all(&shared), .serializable = true }
    };
    struct pb_request_op ops[] = { { .which_request = 1, .request_range = &ranges[0] },
                                   { .which_request = 1, .request_range = &ranges[1] } };
    struct pb_txn_request r = { .success = ops, .n_success = 2 };
    pb_txn_request_encode(&r, &call->body);
    buf_text(&call->path, "/etcdserverpb.KV/Txn");
    call->grpc = true;
    for (int i = 0; i < 3; i++)
        buf_close(bufs[i]);
    rpc_start(copy->client, call);
}

/* ---- configs ---- */

/* Whoever may not look at the tree reads the environment, and is not told of parents' changes. */
static void got_tree(struct confman *c, struct rpc *call)
{
    struct confman_copy *copy = take(call);
    struct arena arena;
    arena_open(&arena, &c->alloc);
    struct span chain[CHAIN_MAX] = { span_text(copy->environment) };
    size_t n = 1;
    enum confman_code code = call->error.code;
    if (code == CONFMAN_OK &&
        !decode_chain(buf_all(&call->in), chain[0], &arena, chain, &n))
        code = error_set(&call->error, CONFMAN_PROTOCOL,
                         "the answer about environments makes no sense");
    arena_reset(&copy->arena);
    copy->blind = code == CONFMAN_DENIED ? 1 << WATCH_TREE : 0;
    copy->n_chain = n;
    for (size_t i = 0; i < n; i++)
        copy->chain[i] = arena_copy(&copy->arena, chain[i]);
    arena_close(&arena);
    if (code != CONFMAN_OK && code != CONFMAN_DENIED)
        copy_failed(copy, &call->error);
    else if (copy->wants_flags)
        ask_flags(copy);
    else
        loaded(copy);
    rpc_free(call);
}

static void ask_page(struct confman_copy *copy, struct span token);

static void got_page(struct confman *c, struct rpc *call)
{
    struct confman_copy *copy = take(call);
    struct page page = { 0 };
    struct arena *arena = &copy->made->arena;
    struct span text = arena_copy(arena, buf_all(&call->in));
    (void)c;
    if (call->error.code == CONFMAN_OK &&
        (!decode_page(text, arena, &page) || copy->gathered.n + page.n > CONFIGS_MAX ||
         (!page.n && page.next.len)))
        error_set(&call->error, CONFMAN_PROTOCOL,
                  "the answer makes no sense: is it a confman server?");
    if (call->error.code != CONFMAN_OK) {
        copy_failed(copy, &call->error);
        rpc_free(call);
        return;
    }
    copy->no_store = copy->no_store || call->no_store;
    for (size_t i = 0; i < page.n; i++)
        VEC_PUSH(&copy->gathered, &copy->alloc, page.items[i]);
    for (int i = 0; i < WATCH_KINDS; i++)
        copy->seen[i] = page.revision;
    if (page.next.len) {
        ask_page(copy, page.next);
    } else {
        struct rpc *tree = ask(copy, "GET", got_tree);
        buf_text(&tree->path, "/v1/environments");
        rpc_start(copy->client, tree);
    }
    rpc_free(call);
}

static void ask_page(struct confman_copy *copy, struct span token)
{
    struct rpc *call = ask(copy, "GET", got_page);
    put_path(copy, &call->path, NULL);
    buf_format(&call->path, "&limit=%d&prefix=", (int)PAGE);
    path_escape(&call->path, copy->prefix);
    if (token.len) {
        buf_text(&call->path, "&page_token=");
        path_escape(&call->path, arena_text(&copy->made->arena, token));
    }
    rpc_start(copy->client, call);
}

void copy_load(struct confman_copy *copy)
{
    copy_ask_end(copy);
    for (size_t i = 0; i < copy->dirty.n; i++)
        copy_span_free(copy, &copy->dirty.items[i]);
    copy->dirty.n = 0;
    copy->phase = COPY_LOADING;
    copy->no_store = false;
    if (copy->wants_configs) {
        copy->made = part_open();
        ask_page(copy, SPAN_NONE);
    } else {
        ask_flags(copy);
    }
}

/* ---- what has changed ---- */

static int by_key(const void *a, const void *b)
{
    return span_compare(((const struct item *)a)->key, ((const struct item *)b)->key);
}

/* What was there, with what was read anew in its place; an item without version is gone. */
static struct part *merge(const struct part *old, struct item *changed, size_t n, int64_t revision)
{
    struct part *p = part_open();
    size_t i = 0, k = 0;
    p->revision = revision;
    p->items = ARENA_ARRAY(&p->arena, struct item, old->n + n + 1);
    if (n)
        qsort(changed, n, sizeof(*changed), by_key);
    while (i < old->n || k < n) {
        int order = i == old->n ? 1 : k == n ? -1 : by_key(&old->items[i], &changed[k]);
        if (order < 0) {
            part_put(p, &old->items[i++]);
            continue;
        }
        i += order == 0;
        if (changed[k].version)
            part_put(p, &changed[k]);
        k++;
    }
    return p;
}

static void got_one(struct confman *c, struct rpc *call)
{
    struct confman_copy *copy = take(call);
    struct item item = { 0 };
    struct arena *arena = &copy->made->arena;
    struct span text = arena_copy(arena, buf_all(&call->in));
    (void)c;
    if (call->error.code == CONFMAN_OK && !decode_one(text, arena, &item))
        error_set(&call->error, CONFMAN_PROTOCOL,
                  "the answer makes no sense: is it a confman server?");
    if (call->error.code != CONFMAN_OK && call->error.code != CONFMAN_NOT_FOUND) {
        copy_failed(copy, &call->error);
        rpc_free(call);
        return;
    }
    if (call->error.code == CONFMAN_NOT_FOUND)
        item = (struct item){ .key = arena_copy(arena, buf_all(&call->key)) };
    VEC_PUSH(&copy->gathered, &copy->alloc, item);
    rpc_free(call);
    if (copy->asking.n)
        return;
    struct part *made = merge(copy->configs, copy->gathered.items, copy->gathered.n,
                              copy->made->revision);
    copy_ask_end(copy);
    copy_loaded(copy, made);
}

void copy_ask_dirty(struct confman_copy *copy)
{
    int64_t revision = 0;
    copy->made = part_open();
    for (size_t i = 0; i < copy->n_chain; i++)
        revision = copy->seen[i] > revision ? copy->seen[i] : revision;
    copy->made->revision = revision;
    for (size_t i = 0; i < copy->dirty.n; i++) {
        struct rpc *call = ask(copy, "GET", got_one);
        put_path(copy, &call->path, (const char *)copy->dirty.items[i].data);
        buf_format(&call->path, "&revision=%lld", (long long)revision);
        buf_span(&call->key, copy->dirty.items[i]);
        copy_span_free(copy, &copy->dirty.items[i]);
        rpc_start(copy->client, call);
    }
    copy->dirty.n = 0;
}
