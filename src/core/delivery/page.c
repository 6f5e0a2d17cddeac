/* Pages: the table as bytes, for the member that was asked. */
#include "base/check.h"
#include "base/hash.h"
#include "core/delivery/delivery_int.h"

/* The bytes of both kinds begin with it; another build may have another. */
enum { QUERY_FORMAT = 1, PAGE_FORMAT = 2 };

enum query_flag {
    HAS_ENVIRONMENT = 1,
    HAS_TEXT = 2,
    HAS_CLIENT = 4,
    HAS_STATE = 8,
    HAS_AFTER = 16,
    IS_SUMMARY = 32,
    QUERY_FLAGS = 63
};

static void put_text(struct buf *out, struct span s)
{
    buf_varint(out, s.len);
    buf_span(out, s);
}

struct reader {
    struct span rest;
    bool bad;
};

static uint64_t take_number(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    if (r->bad || !span_varint(&r->rest, &v) || v > max)
        r->bad = true;
    return r->bad ? 0 : v;
}

static struct span take_text(struct reader *r, size_t max)
{
    struct span s = SPAN_NONE;
    uint64_t len = take_number(r, max);
    if (r->bad || !span_take(&r->rest, (size_t)len, &s))
        r->bad = true;
    return s;
}

/* ---- queries ---- */

void delivery_query_write(const struct delivery_query *q, struct buf *out)
{
    int flags = (q->has_environment ? HAS_ENVIRONMENT : 0) | (q->has_text ? HAS_TEXT : 0) |
                (q->has_client ? HAS_CLIENT : 0) | (q->has_state ? HAS_STATE : 0) |
                (q->has_after ? HAS_AFTER : 0) | (q->summary ? IS_SUMMARY : 0);
    buf_u8(out, QUERY_FORMAT);
    buf_u8(out, (uint8_t)flags);
    buf_u8(out, q->kind);
    buf_u8(out, q->state);
    buf_varint(out, q->limit);
    put_text(out, q->environment);
    put_text(out, q->text);
    put_text(out, q->client);
    put_text(out, q->after_client);
    put_text(out, q->after_instance);
}

enum err delivery_query_read(struct span bytes, struct delivery_query *out)
{
    struct reader r = { bytes, false };
    uint64_t format = take_number(&r, 127), flags = take_number(&r, QUERY_FLAGS);
    *out = (struct delivery_query){ .has_environment = flags & HAS_ENVIRONMENT,
                                    .has_text = flags & HAS_TEXT,
                                    .has_client = flags & HAS_CLIENT,
                                    .has_state = flags & HAS_STATE,
                                    .has_after = flags & HAS_AFTER,
                                    .summary = flags & IS_SUMMARY };
    out->kind = (uint8_t)take_number(&r, DELIVERY_KINDS - 1);
    out->state = (uint8_t)take_number(&r, DELIVERY_STATES - 1);
    out->limit = (uint32_t)take_number(&r, DELIVERY_PAGE_MAX);
    out->environment = take_text(&r, DELIVERY_QUERY_BYTES);
    out->text = take_text(&r, DELIVERY_QUERY_BYTES);
    out->client = take_text(&r, DELIVERY_NAME_MAX);
    out->after_client = take_text(&r, DELIVERY_NAME_MAX);
    out->after_instance = take_text(&r, DELIVERY_NAME_MAX);
    return r.bad || r.rest.len || format != QUERY_FORMAT || !out->limit ? ERR_CORRUPT : ERR_OK;
}

/* ---- what matches ---- */

/* Whether a change of what is asked about would be heard. */
static bool hears(const struct delivery_scope *s, const struct delivery_query *q)
{
    bool reads = !q->has_environment;
    for (size_t i = 0; i < s->n_levels && !reads; i++)
        reads = span_equal(s->levels[i], q->environment);
    if (!reads || !q->has_text)
        return reads;
    if ((s->kind == DELIVERY_FLAGS) != (q->kind == DELIVERY_FLAGS))
        return false;
    if (q->kind == DELIVERY_KEY && s->kind == DELIVERY_KEY)
        return span_equal(s->text, q->text);
    bool below = span_starts(s->text, q->text), above = span_starts(q->text, s->text);
    return (below && q->kind != DELIVERY_KEY) || (above && s->kind != DELIVERY_KEY);
}

static enum delivery_state state_of(const struct delivery_client *c, const struct delivery_sub *s)
{
    if (!c->owner)
        return DELIVERY_GONE;
    if (s->memory.size)
        return DELIVERY_FAILED;
    if (!s->revision)
        return DELIVERY_SILENT;
    return s->revision < s->scope->due ? DELIVERY_BEHIND : DELIVERY_RUNNING;
}

/* The worst of those that match: failed before behind before silent before running. False: none
 * does. */
static bool judge(const struct delivery_client *c, const struct delivery_query *q,
                  enum delivery_state *out)
{
    static const int weight[DELIVERY_STATES] = { [DELIVERY_RUNNING] = 0,
                                                 [DELIVERY_SILENT] = 1,
                                                 [DELIVERY_BEHIND] = 2,
                                                 [DELIVERY_FAILED] = 3,
                                                 [DELIVERY_GONE] = 4 };
    bool any = false;
    *out = DELIVERY_RUNNING;
    if (q->has_client && !span_equal(q->client, c->client))
        return false;
    for (const struct delivery_sub *s = c->subs; s; s = s->next) {
        if (!hears(s->scope, q))
            continue;
        enum delivery_state state = state_of(c, s);
        if (!any || weight[state] > weight[*out])
            *out = state;
        any = true;
    }
    return any;
}

/* ---- writing ---- */

static void write_item(const struct delivery_client *c, const struct delivery_sub *s,
                       struct buf *out)
{
    const struct delivery_scope *scope = s->scope;
    buf_u8(out, (uint8_t)scope->kind);
    buf_u8(out, (uint8_t)state_of(c, s));
    buf_u8(out, scope->own);
    put_text(out, scope->environment);
    put_text(out, scope->text);
    buf_varint(out, (uint64_t)scope->due);
    buf_varint(out, (uint64_t)s->revision);
    buf_varint(out, (uint64_t)s->revision_ms);
    buf_varint(out, (uint64_t)s->failed);
    put_text(out, span_of(s->memory.data, s->memory.size));
}

static void write_entry(const struct delivery_client *c, const struct delivery_query *q,
                        struct buf *out)
{
    size_t n = 0;
    put_text(out, c->client);
    put_text(out, c->instance);
    put_text(out, c->labels);
    buf_u8(out, c->owner != NULL);
    buf_varint(out, (uint64_t)c->since_ms);
    for (const struct delivery_sub *s = c->subs; s; s = s->next)
        n += hears(s->scope, q);
    buf_varint(out, n);
    for (const struct delivery_sub *s = c->subs; s; s = s->next)
        if (hears(s->scope, q))
            write_item(c, s, out);
}

struct walk {
    const struct delivery_query *q;
    struct buf *out;
    size_t start, n;
    bool more;
    uint64_t counts[DELIVERY_STATES], mark;
};

/* A thing that has changed is another one: its time says so, or its revision. */
static uint64_t mark_of(const struct delivery_client *c, const struct delivery_query *q,
                        uint64_t mark)
{
    mark = hash_bytes(c->instance, hash_bytes(c->client, mark ^ (uint64_t)c->since_ms));
    mark = hash_bytes(c->labels, mark ^ (c->owner != NULL));
    for (const struct delivery_sub *s = c->subs; s; s = s->next) {
        const int64_t numbers[] = { s->revision, s->failed, s->scope->due, state_of(c, s) };
        if (!hears(s->scope, q))
            continue;
        mark = hash_bytes(span_of(numbers, sizeof(numbers)), mark);
        mark = hash_bytes(span_of(s->memory.data, s->memory.size), mark);
    }
    return mark;
}

static bool passed(const struct delivery_client *c, const struct delivery_query *q)
{
    int by_name = span_compare(c->client, q->after_client);
    int by_instance = span_compare(c->instance, q->after_instance);
    return q->has_after && (by_name < 0 || (by_name == 0 && by_instance <= 0));
}

static void visit(struct tree_node *node, void *context)
{
    struct walk *w = context;
    const struct delivery_client *c = client_of(node);
    enum delivery_state state;
    if (!judge(c, w->q, &state))
        return;
    w->counts[state] += state != DELIVERY_GONE;
    if (w->q->summary) {
        w->mark = mark_of(c, w->q, w->mark);
        return;
    }
    if ((w->q->has_state && state != w->q->state) || passed(c, w->q))
        return;
    if (w->n >= w->q->limit || w->out->len - w->start >= DELIVERY_PAGE_BYTES) {
        w->more = true;
        return;
    }
    buf_u8(w->out, 1);
    write_entry(c, w->q, w->out);
    w->n++;
}

void delivery_page_write(const struct delivery_table *t, const struct delivery_query *q,
                         struct buf *out)
{
    struct walk w = { .q = q, .out = out, .start = out->len };
    CHECK(q->limit > 0 && q->limit <= DELIVERY_PAGE_MAX);
    buf_u8(out, PAGE_FORMAT);
    tree_walk(&t->clients, visit, &w);
    buf_u8(out, 0);
    buf_u8(out, w.more);
    for (int i = 0; i < DELIVERY_STATES; i++)
        buf_varint(out, w.counts[i]);
    if (q->summary)
        buf_varint(out, w.mark ? w.mark : 1);
}

/* ---- reading ---- */

static void read_item(struct reader *r, struct delivery_item *i)
{
    i->kind = (uint8_t)take_number(r, DELIVERY_KINDS - 1);
    i->state = (uint8_t)take_number(r, DELIVERY_STATES - 1);
    i->own = take_number(r, 1);
    i->environment = take_text(r, SIZE_MAX);
    i->text = take_text(r, SIZE_MAX);
    i->due = (int64_t)take_number(r, INT64_MAX);
    i->revision = (int64_t)take_number(r, INT64_MAX);
    i->revision_ms = (int64_t)take_number(r, INT64_MAX);
    i->failed = (int64_t)take_number(r, INT64_MAX);
    i->error = take_text(r, DELIVERY_ERROR_MAX);
}

static void read_entry(struct reader *r, struct arena *arena, struct delivery_entry *e)
{
    enum { ITEM_MIN = 10 };
    *e = (struct delivery_entry){ .client = take_text(r, DELIVERY_NAME_MAX) };
    e->instance = take_text(r, DELIVERY_NAME_MAX);
    e->labels = take_text(r, DELIVERY_LABELS_MAX);
    e->connected = take_number(r, 1);
    e->since_ms = (int64_t)take_number(r, INT64_MAX);
    uint64_t n = take_number(r, r->rest.len / ITEM_MIN);
    e->items = ARENA_ARRAY(arena, struct delivery_item, n + 1);
    for (e->n = 0; e->n < n && !r->bad; e->n++)
        read_item(r, &e->items[e->n]);
}

enum err delivery_page_read(struct span bytes, struct arena *arena, struct delivery_page *out)
{
    struct reader r = { bytes, false };
    uint64_t format = take_number(&r, 127);
    *out = (struct delivery_page){ .n = 0 };
    if (r.bad || format != PAGE_FORMAT)
        return ERR_CORRUPT;
    out->entries = ARENA_ARRAY(arena, struct delivery_entry, DELIVERY_PAGE_MAX);
    while (!r.bad && take_number(&r, 1)) {
        if (out->n == DELIVERY_PAGE_MAX)
            return ERR_CORRUPT;
        read_entry(&r, arena, &out->entries[out->n++]);
    }
    out->more = take_number(&r, 1);
    for (int i = 0; i < DELIVERY_STATES; i++)
        out->counts[i] = (int64_t)take_number(&r, INT32_MAX);
    if (r.rest.len) {
        out->mark = take_number(&r, UINT64_MAX);
        r.bad = r.bad || !out->mark;
    }
    return r.bad || r.rest.len ? ERR_CORRUPT : ERR_OK;
}

/* ---- several into one ---- */

static int order(const struct delivery_entry *a, const struct delivery_entry *b)
{
    int c = span_compare(a->client, b->client);
    return c ? c : span_compare(a->instance, b->instance);
}

static bool better(const struct delivery_entry *a, const struct delivery_entry *b)
{
    return a->connected != b->connected ? a->connected : a->since_ms > b->since_ms;
}

void delivery_merge(const struct delivery_page *pages, size_t n, size_t limit, struct arena *arena,
                    struct delivery_page *out)
{
    size_t at[DELIVERY_PAGES_MAX] = { 0 };
    CHECK(n <= DELIVERY_PAGES_MAX && limit <= DELIVERY_PAGE_MAX);
    *out = (struct delivery_page){ .entries = ARENA_ARRAY(arena, struct delivery_entry, limit) };
    for (size_t i = 0; i < n; i++) {
        out->more = out->more || pages[i].more;
        for (int k = 0; k < DELIVERY_STATES; k++)
            out->counts[k] += pages[i].counts[k];
    }
    for (;;) {
        const struct delivery_entry *best = NULL;
        bool ends = false; /* behind its last one a page that has more may hold anything */
        for (size_t i = 0; i < n; i++) {
            if (at[i] == pages[i].n) {
                ends = ends || pages[i].more;
                continue;
            }
            const struct delivery_entry *e = &pages[i].entries[at[i]];
            int c = best ? order(e, best) : -1;
            if (c < 0 || (c == 0 && better(e, best)))
                best = e;
        }
        if (!best || ends || out->n == limit) {
            out->more = out->more || best != NULL;
            return;
        }
        for (size_t i = 0; i < n; i++)
            at[i] += at[i] < pages[i].n && order(&pages[i].entries[at[i]], best) == 0;
        out->entries[out->n++] = *best;
    }
}

const char *delivery_state_name(unsigned state)
{
    static const char *const names[DELIVERY_STATES] = { "silent", "running", "behind", "failed",
                                                        "gone" };
    CHECK(state < DELIVERY_STATES);
    return names[state];
}
