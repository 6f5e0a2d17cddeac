/* Limits of one kind stand in an array in order of their names. Of prefixes, those inside another
 * one follow it, and each knows its parent: the longest other prefix that it begins with. The last
 * name at or before a key, or one of its parents, is the longest prefix of that key: between a
 * prefix and a key that begins with it there is nothing that does not begin with it. */
#include "core/limit/limit.h"
#include "base/check.h"
#include "base/vec.h"

struct entry {
    struct limit public;
    struct entry *parent;
    unsigned depth;
    int64_t plan_keys, plan_bytes; /* of the command at hand */
    bool planned;
    /* requests: thousandths of one that may go now; as of filled_ms */
    int64_t tokens, filled_ms;
    uint64_t stamp; /* of the request that looked last */
    uint8_t name[];
};

struct entries {
    struct entry **items;
    size_t n, cap;
};

struct limit_table {
    struct alloc *alloc;
    struct entries of[LIMIT_USER + 1];
    VEC(struct entry *) planned;
    VEC(struct entry *) looked; /* by the request at hand */
    size_t rates;
    uint64_t stamp;
};

/* ---- life ---- */

struct limit_table *limit_open(struct alloc *alloc)
{
    struct limit_table *t = mem_zero(alloc, sizeof(*t));
    t->alloc = alloc;
    return t;
}

static void entry_free(struct limit_table *t, struct entry *e)
{
    mem_free(t->alloc, e, sizeof(*e) + e->public.rule.name.len);
}

void limit_close(struct limit_table *t)
{
    for (int kind = LIMIT_PREFIX; kind <= LIMIT_USER; kind++) {
        for (size_t i = 0; i < t->of[kind].n; i++)
            entry_free(t, t->of[kind].items[i]);
        VEC_CLOSE(&t->of[kind], t->alloc);
    }
    VEC_CLOSE(&t->planned, t->alloc);
    VEC_CLOSE(&t->looked, t->alloc);
    mem_free(t->alloc, t, sizeof(*t));
}

/* ---- finding ---- */

/* How many names stand at or before this one. */
static size_t upto(const struct entries *v, struct span name)
{
    size_t low = 0, high = v->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (span_compare(v->items[middle]->public.rule.name, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *find(const struct entries *v, struct span name)
{
    size_t i = upto(v, name);
    struct entry *e = i ? v->items[i - 1] : NULL;
    return e && span_equal(e->public.rule.name, name) ? e : NULL;
}

/* The longest prefix of the key that has a limit; the others are its parents. */
static struct entry *longest(const struct limit_table *t, struct span key)
{
    const struct entries *v = &t->of[LIMIT_PREFIX];
    size_t i = upto(v, key);
    struct entry *e = i ? v->items[i - 1] : NULL;
    while (e && !span_starts(key, e->public.rule.name))
        e = e->parent;
    return e;
}

/* ---- changing ---- */

enum err limit_check(const struct limit_rule *r)
{
    bool user = r->kind == LIMIT_USER;
    if ((r->kind != LIMIT_PREFIX && !user) || r->name.len > LIMIT_NAME_MAX)
        return ERR_BAD_REQUEST;
    if (r->keys_max < 0 || r->keys_max > LIMIT_VALUE_MAX || r->bytes_max < 0 ||
        r->bytes_max > LIMIT_VALUE_MAX)
        return ERR_BAD_REQUEST;
    if (r->rate < 0 || r->rate > LIMIT_RATE_MAX || r->burst < 0 || r->burst > LIMIT_RATE_MAX)
        return ERR_BAD_REQUEST;
    if (user && (r->keys_max || r->bytes_max))
        return ERR_BAD_REQUEST;
    bool says = r->rate || ((r->keys_max || r->bytes_max) && !r->burst);
    return says ? ERR_OK : ERR_BAD_REQUEST;
}

/* Parents and depths anew. */
static void nest(struct entries *v)
{
    struct entry *before = NULL;
    for (size_t i = 0; i < v->n; i++) {
        struct entry *e = v->items[i];
        while (before && !span_starts(e->public.rule.name, before->public.rule.name))
            before = before->parent;
        e->parent = before;
        e->depth = before ? before->depth + 1 : 1;
        before = e;
    }
}

static bool too_deep(const struct entries *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->items[i]->depth > LIMIT_DEPTH_MAX)
            return true;
    return false;
}

static void take_out(struct limit_table *t, struct entries *v, size_t i)
{
    struct entry *e = v->items[i];
    memmove(v->items + i, v->items + i + 1, (v->n - i - 1) * sizeof(e));
    v->n--;
    t->rates -= e->public.rule.rate > 0;
    entry_free(t, e);
}

static enum err add(struct limit_table *t, const struct limit_rule *r)
{
    struct entries *v = &t->of[r->kind];
    if (limit_count(t) >= LIMITS_MAX)
        return ERR_LIMITS_TOO_MANY;
    size_t at = upto(v, r->name);
    struct entry *e = mem_zero(t->alloc, sizeof(*e) + r->name.len);
    e->public.rule = *r;
    if (r->name.len)
        memcpy(e->name, r->name.data, r->name.len);
    e->public.rule.name = span_of(e->name, r->name.len);
    VEC_PUSH(v, t->alloc, e);
    memmove(v->items + at + 1, v->items + at, (v->n - 1 - at) * sizeof(e));
    v->items[at] = e;
    t->rates += r->rate > 0;
    if (r->kind == LIMIT_USER)
        return ERR_OK;
    nest(v);
    if (!too_deep(v))
        return ERR_OK;
    take_out(t, v, at);
    nest(v);
    return ERR_LIMITS_TOO_MANY;
}

enum err limit_set(struct limit_table *t, const struct limit_rule *r, bool *fresh)
{
    CHECK(limit_check(r) == ERR_OK);
    struct entry *e = find(&t->of[r->kind], r->name);
    *fresh = !e;
    if (!e)
        return add(t, r);
    t->rates -= e->public.rule.rate > 0;
    t->rates += r->rate > 0;
    e->public.rule.keys_max = r->keys_max;
    e->public.rule.bytes_max = r->bytes_max;
    e->public.rule.rate = r->rate;
    e->public.rule.burst = r->burst;
    e->filled_ms = 0; /* a full bucket */
    return ERR_OK;
}

enum err limit_delete(struct limit_table *t, uint8_t kind, struct span name)
{
    CHECK(kind == LIMIT_PREFIX || kind == LIMIT_USER);
    struct entries *v = &t->of[kind];
    if (!find(v, name))
        return ERR_LIMIT_NOT_FOUND;
    take_out(t, v, upto(v, name) - 1);
    if (kind == LIMIT_PREFIX)
        nest(v);
    return ERR_OK;
}

void limit_counted(struct limit_table *t, struct span prefix, int64_t keys, int64_t bytes)
{
    struct entry *e = find(&t->of[LIMIT_PREFIX], prefix);
    CHECK(e != NULL);
    e->public.keys += keys;
    e->public.bytes += bytes;
}

size_t limit_count(const struct limit_table *t)
{
    return t->of[LIMIT_PREFIX].n + t->of[LIMIT_USER].n;
}

size_t limit_prefixes(const struct limit_table *t)
{
    return t->of[LIMIT_PREFIX].n;
}

bool limit_rates(const struct limit_table *t)
{
    return t->rates > 0;
}

const struct limit *limit_at(const struct limit_table *t, size_t i)
{
    CHECK(i < limit_count(t));
    size_t prefixes = t->of[LIMIT_PREFIX].n;
    return i < prefixes ? &t->of[LIMIT_PREFIX].items[i]->public
                        : &t->of[LIMIT_USER].items[i - prefixes]->public;
}

/* ---- keys and bytes ---- */

void limit_change(struct limit_table *t, struct span key, int64_t keys, int64_t bytes)
{
    for (struct entry *e = longest(t, key); e; e = e->parent) {
        e->public.keys += keys;
        e->public.bytes += bytes;
        CHECK(e->public.keys >= 0 && e->public.bytes >= 0);
    }
}

void limit_plan(struct limit_table *t, struct span key, int64_t keys, int64_t bytes)
{
    for (struct entry *e = longest(t, key); e; e = e->parent) {
        e->plan_keys += keys;
        e->plan_bytes += bytes;
        if (!e->planned)
            VEC_PUSH(&t->planned, t->alloc, e);
        e->planned = true;
    }
}

static bool exceeds(int64_t more, int64_t used, int64_t max)
{
    return max > 0 && more > 0 && used + more > max;
}

enum err limit_admit(struct limit_table *t)
{
    bool over = false;
    for (size_t i = 0; i < t->planned.n; i++) {
        struct entry *e = t->planned.items[i];
        const struct limit *l = &e->public;
        over = over || exceeds(e->plan_keys, l->keys, l->rule.keys_max) ||
               exceeds(e->plan_bytes, l->bytes, l->rule.bytes_max);
        e->plan_keys = e->plan_bytes = 0;
        e->planned = false;
    }
    t->planned.n = 0;
    return over ? ERR_QUOTA_EXCEEDED : ERR_OK;
}

/* ---- requests ---- */

enum { TOKEN = 1000 };

/* Fills the bucket; how long until it holds a token, 0: it does. */
static int64_t wait_of(struct entry *e, int64_t now_ms)
{
    const struct limit_rule *r = &e->public.rule;
    int64_t burst = r->burst ? r->burst : r->rate;
    int64_t full = burst * TOKEN, passed = now_ms - e->filled_ms;
    CHECK(passed >= 0 && r->rate > 0);
    if (!e->filled_ms || passed > full / r->rate)
        e->tokens = full;
    else
        e->tokens += passed * r->rate; /* a thousandth each ms for each request a second */
    if (e->tokens > full)
        e->tokens = full;
    e->filled_ms = now_ms;
    return e->tokens >= TOKEN ? 0 : (TOKEN - e->tokens + r->rate - 1) / r->rate;
}

static int64_t look(struct limit_table *t, struct entry *e, int64_t now_ms)
{
    if (e->stamp == t->stamp || !e->public.rule.rate)
        return 0;
    e->stamp = t->stamp;
    VEC_PUSH(&t->looked, t->alloc, e);
    return wait_of(e, now_ms);
}

int64_t limit_take(struct limit_table *t, struct span user, const struct span *keys, size_t n,
                   int64_t now_ms)
{
    int64_t wait = 0;
    struct entry *who = find(&t->of[LIMIT_USER], user);
    t->stamp++;
    t->looked.n = 0;
    if (who)
        wait = look(t, who, now_ms);
    for (size_t i = 0; i < n; i++)
        for (struct entry *e = longest(t, keys[i]); e; e = e->parent) {
            int64_t this = look(t, e, now_ms);
            wait = this > wait ? this : wait;
        }
    for (size_t i = 0; !wait && i < t->looked.n; i++)
        t->looked.items[i]->tokens -= TOKEN;
    return wait;
}

/* ---- checkpoint: varint count; then each: kind, name, keys, bytes, rate, burst ---- */

void limit_save(const struct limit_table *t, struct buf *out)
{
    buf_varint(out, limit_count(t));
    for (size_t i = 0; i < limit_count(t); i++) {
        const struct limit_rule *r = &limit_at(t, i)->rule;
        buf_u8(out, r->kind);
        buf_varint(out, r->name.len);
        buf_span(out, r->name);
        buf_varint(out, (uint64_t)r->keys_max);
        buf_varint(out, (uint64_t)r->bytes_max);
        buf_varint(out, (uint64_t)r->rate);
        buf_varint(out, (uint64_t)r->burst);
    }
}

static bool load_rule(struct span *s, struct limit_rule *out)
{
    int64_t *const numbers[] = { &out->keys_max, &out->bytes_max, &out->rate, &out->burst };
    uint64_t len, number;
    *out = (struct limit_rule){ 0 };
    if (!span_u8(s, &out->kind) || !span_varint(s, &len) || len > s->len ||
        !span_take(s, (size_t)len, &out->name))
        return false;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (!span_varint(s, &number) || number > INT64_MAX)
            return false;
        *numbers[i] = (int64_t)number;
    }
    return limit_check(out) == ERR_OK;
}

enum err limit_load(struct limit_table *t, struct span *s)
{
    uint64_t n;
    CHECK(limit_count(t) == 0);
    if (!span_varint(s, &n) || n > LIMITS_MAX)
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < n; i++) {
        struct limit_rule r;
        bool fresh;
        if (!load_rule(s, &r) || limit_set(t, &r, &fresh) != ERR_OK || !fresh)
            return ERR_CORRUPT;
    }
    return s->len ? ERR_CORRUPT : ERR_OK;
}
