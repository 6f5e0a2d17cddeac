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


/* ---- flags: with what the environment inherits ---- */

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

/* The revision of the first page counts: what comes after it is told. */
static bool take_flags(struct confman_copy *copy, const struct flag_page *page, bool first)
{
    if (first) {
        copy_clear_known(copy);
        copy->seen[OF_FLAGS] = page->revision;
        copy->flags_changed = true;
        if (page->shared.len)
            copy->shared = copy_span(copy, page->shared);
    }
    if (copy->known.n + page->n > FLAGS_MAX || (!page->n && page->next.len))
        return false;
    VEC_RESERVE(&copy->known, &copy->alloc, page->n);
    for (size_t i = 0; i < page->n; i++) {
        struct known k = { copy_span(copy, page->items[i].name),
                           copy_span(copy, page->items[i].json) };
        VEC_PUSH(&copy->known, &copy->alloc, k);
    }
    return true;
}

static void loaded(struct confman_copy *copy)
{
    struct part *made = NULL;
    if (copy->wants[OF_CONFIGS])
        made = part_configs(copy->gathered.items, copy->gathered.n, copy->seen[OF_CONFIGS]);
    copy_ask_end(copy);
    copy_loaded(copy, made);
}

static void ask_flags(struct confman_copy *copy, struct span after);

static void got_flags(struct confman *c, struct rpc *call)
{
    struct confman_copy *copy = take(call);
    struct flag_page page;
    struct arena arena;
    arena_open(&arena, &c->alloc);
    if (call->error.code == CONFMAN_OK &&
        (!decode_flags(buf_all(&call->in), &arena, &page) ||
         !take_flags(copy, &page, call->about == 0)))
        error_set(&call->error, CONFMAN_PROTOCOL, "the answer about flags makes no sense");
    if (call->error.code != CONFMAN_OK)
        copy_failed(copy, &call->error);
    else if (page.next.len)
        ask_flags(copy, page.next);
    else
        loaded(copy);
    arena_close(&arena);
    rpc_free(call);
}

static void ask_flags(struct confman_copy *copy, struct span after)
{
    struct rpc *call = ask(copy, "GET", got_flags);
    struct buf name;
    buf_text(&call->path, "/v1/flags?environment=");
    path_escape(&call->path, copy->environment);
    call->about = after.len > 0;
    if (after.len) {
        buf_open(&name, &copy->alloc);
        buf_span(&name, after);
        buf_u8(&name, 0);
        buf_text(&call->path, "&after=");
        path_escape(&call->path, (const char *)name.data);
        buf_close(&name);
    }
    rpc_start(copy->client, call);
}

/* ---- configs ---- */

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
    copy->seen[OF_CONFIGS] = page.revision;
    if (page.next.len)
        ask_page(copy, page.next);
    else if (copy->wants[OF_FLAGS])
        ask_flags(copy, SPAN_NONE);
    else
        loaded(copy);
    rpc_free(call);
}

static void ask_page(struct confman_copy *copy, struct span token)
{
    struct rpc *call = ask(copy, "GET", got_page);
    buf_text(&call->path, "/v1/config?environment=");
    path_escape(&call->path, copy->environment);
    buf_format(&call->path, "%s&limit=%d&prefix=", copy->resolves ? "&resolve=true" : "",
               (int)PAGE);
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
    copy->phase = COPY_LOADING;
    copy->no_store = false;
    if (copy->wants[OF_CONFIGS]) {
        copy->made = part_open();
        ask_page(copy, SPAN_NONE);
    } else {
        ask_flags(copy, SPAN_NONE);
    }
}

/* ---- what has changed ---- */

/* Sorted, and the newest of each key. */
void copy_gather(struct confman_copy *copy, const struct item *item)
{
    size_t low = 0, high = copy->gathered.n;
    if (!copy->made)
        copy->made = part_open();
    struct item kept = item_copy(item, &copy->made->arena);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (span_compare(copy->gathered.items[mid].key, kept.key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < copy->gathered.n && span_equal(copy->gathered.items[low].key, kept.key)) {
        copy->gathered.items[low] = kept;
        return;
    }
    VEC_PUSH(&copy->gathered, &copy->alloc, kept);
    memmove(copy->gathered.items + low + 1, copy->gathered.items + low,
            (copy->gathered.n - 1 - low) * sizeof(kept));
    copy->gathered.items[low] = kept;
}

/* What was there, with what has changed in its place (sorted); an item without version is gone. */
static struct part *merge(const struct part *old, const struct item *changed, size_t n,
                          int64_t revision)
{
    struct part *p = part_open();
    size_t i = 0, k = 0;
    p->revision = revision;
    p->items = ARENA_ARRAY(&p->arena, struct item, old->n + n + 1);
    while (i < old->n || k < n) {
        int order = i == old->n ? 1 : k == n ? -1 : span_compare(old->items[i].key, changed[k].key);
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

void copy_change(struct confman_copy *copy)
{
    struct part *made = NULL;
    if (copy->gathered.n)
        made = merge(copy->configs, copy->gathered.items, copy->gathered.n,
                     copy->seen[OF_CONFIGS]);
    copy_ask_end(copy);
    copy_loaded(copy, made);
}
