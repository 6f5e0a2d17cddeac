/* The search of Wing and Gong with Lowe's memory of what was tried: operations are put in an order
 * one by one; one may come next if none that is still to come had returned before it began. A set
 * of operations done and the value after them are looked into once.
 *
 * What is unknown may stay undone, so a state that led nowhere says the same of each that differs
 * only in having done more unknown operations; and an unknown one is done only where the next
 * operation sees it. Without these two rules the unknown ones would double the work each. */
#include "linear.h"
#include <stdlib.h>
#include "base/check.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/prng.h"

enum { FIELDS = 8, SHOWN_MAX = 12 };

static const char *const types[LINEAR_TYPES] = { "put", "get", "delete", "cas" };
static const char *const outcomes[LINEAR_OUTCOMES] = { "ok", "fail", "unknown" };

void linear_open(struct linear *l, struct alloc *alloc)
{
    *l = (struct linear){ .alloc = alloc };
    arena_open(&l->arena, alloc);
}

void linear_close(struct linear *l)
{
    VEC_CLOSE(&l->ops, l->alloc);
    arena_close(&l->arena);
}

void linear_add(struct linear *l, const struct linear_op *op)
{
    struct linear_op copy = *op;
    CHECK(op->key.len && op->value.len && op->result.len);
    copy.key = arena_copy(&l->arena, op->key);
    copy.value = arena_copy(&l->arena, op->value);
    copy.result = arena_copy(&l->arena, op->result);
    if (copy.outcome == LINEAR_UNKNOWN)
        copy.return_us = INT64_MAX;
    VEC_PUSH(&l->ops, l->alloc, copy);
}

/* ---- text ---- */

static bool cut(struct span *s, char at, struct span *out)
{
    const uint8_t *end = s->len ? memchr(s->data, at, s->len) : NULL;
    size_t len = end ? (size_t)(end - s->data) : s->len;
    *out = span_of(s->data, len);
    *s = span_from(*s, end ? len + 1 : len);
    return end != NULL;
}

static bool number(struct span s, int64_t *out)
{
    *out = 0;
    if (!s.len || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        *out = *out * 10 + (s.data[i] - '0');
    }
    return true;
}

static int word(struct span s, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        if (span_is(s, words[i]))
            return i;
    return -1;
}

static bool is_none(struct span s)
{
    return span_is(s, "-");
}

static bool is_value(struct span s)
{
    return s.len && !memchr(s.data, '>', s.len) && !is_none(s) && !span_is(s, "!") &&
           !span_is(s, "1");
}

/* NULL: fine. */
static const char *wrong(const struct linear_op *op)
{
    struct span new = op->value, old;
    bool ok = op->outcome == LINEAR_OK;
    if (!op->key.len)
        return "a key is not empty";
    if (op->outcome != LINEAR_UNKNOWN && op->return_us < op->invoke_us)
        return "it returned before it began";
    if (!ok && !is_none(op->result))
        return "only what is ok has a result";
    switch (op->type) {
    case LINEAR_PUT:
        return !is_value(op->value)    ? "put needs a value"
               : !is_none(op->result) ? "put has no result"
                                      : NULL;
    case LINEAR_GET:
        if (ok && !is_none(op->result) && !is_value(op->result))
            return "get answers a value or -";
        return is_none(op->value) ? NULL : "get takes no value";
    case LINEAR_DELETE:
        if (ok && !span_is(op->result, "0") && !span_is(op->result, "1"))
            return "delete answers 0 or 1";
        return is_none(op->value) ? NULL : "delete takes no value";
    case LINEAR_CAS:
        if (!cut(&new, '>', &old) || !is_value(new) || (!is_none(old) && !is_value(old)))
            return "cas takes OLD>NEW";
        return !ok || op->result.len ? NULL : "cas answers something";
    case LINEAR_TYPES:
        break;
    }
    UNREACHABLE("a type");
}

static const char *read_op(struct span line, struct linear_op *op)
{
    struct span f[FIELDS];
    int64_t client;
    for (int i = 0; i < FIELDS; i++)
        if (cut(&line, ' ', &f[i]) != (i < FIELDS - 1))
            return "not eight fields with one space between";
    int type = word(f[1], types, LINEAR_TYPES), outcome = word(f[6], outcomes, LINEAR_OUTCOMES);
    if (!number(f[0], &client))
        return "the client is no number";
    if (type < 0)
        return "not put, get, delete or cas";
    if (outcome < 0)
        return "not ok, fail or unknown";
    *op = (struct linear_op){ .client = (uint64_t)client,
                              .type = (enum linear_type)type,
                              .outcome = (enum linear_outcome)outcome,
                              .key = f[2],
                              .value = f[3],
                              .result = f[7] };
    bool returned = number(f[5], &op->return_us);
    if (!number(f[4], &op->invoke_us) || (!returned && op->outcome != LINEAR_UNKNOWN))
        return "a time is no number";
    if (op->outcome == LINEAR_UNKNOWN && !is_none(f[5]))
        return "what is unknown has not returned";
    return wrong(op);
}

enum err linear_read(struct linear *l, struct span text, struct buf *why)
{
    for (int line_number = 1; text.len; line_number++) {
        struct span line;
        struct linear_op op;
        cut(&text, '\n', &line);
        if (!line.len || line.data[0] == '#')
            continue;
        const char *problem = read_op(line, &op);
        if (problem) {
            buf_format(why, "line %d: %s: %.*s\n", line_number, problem, (int)line.len,
                       (const char *)line.data);
            return ERR_BAD_REQUEST;
        }
        linear_add(l, &op);
    }
    return ERR_OK;
}

static void put_word(struct buf *out, struct span s)
{
    buf_span(out, s);
    buf_u8(out, ' ');
}

void linear_write(const struct linear_op *op, struct buf *out)
{
    buf_format(out, "%llu %s ", (unsigned long long)op->client, types[op->type]);
    put_word(out, op->key);
    put_word(out, op->value);
    buf_format(out, "%lld ", (long long)op->invoke_us);
    if (op->outcome == LINEAR_UNKNOWN)
        buf_text(out, "- unknown -\n");
    else
        buf_format(out, "%lld %s %.*s\n", (long long)op->return_us, outcomes[op->outcome],
                   (int)op->result.len, (const char *)op->result.data);
}

/* ---- one key ---- */

enum { ABSENT = 0, NOT_LOOKED = UINT32_MAX, SWAPPED = UINT32_MAX - 1 };

/* Two of each known operation stand in a list by time, one of each unknown one in another. */
struct entry {
    struct entry *next, *prev;
    struct item *item;
    int64_t at_us;
    bool is_return;
};

struct item {
    const struct linear_op *op;
    uint32_t expected, value, result; /* values by number */
    uint64_t set[2];                  /* known ones: of this one in the hash of a set */
    size_t unknown;                   /* unknown ones: number of its bit */
    struct entry call, ret;
};

struct done {
    struct item *item;
    uint32_t before; /* the value */
};

/* Unknown operations that were done, one bit each. */
struct bits {
    struct bits *next;
    uint64_t words[];
};

struct seen {
    uint64_t set[2]; /* known ones that were done: two hashes, so that chance does not matter */
    uint32_t value;
    struct bits *unknown; /* sets that were looked into; NULL: a free slot */
};

struct search {
    struct arena *arena;
    struct item *items;
    size_t n, left; /* known ones still to come */
    struct entry known, unknown; /* heads of the lists */
    uint32_t value;
    uint64_t set[2];
    struct bits *bits;
    size_t n_unknown, words;
    struct done *stack;
    size_t depth, deepest;
    struct item *stuck;      /* returned when nothing had come that explains it, at the deepest */
    uint32_t stuck_value;
    struct seen *seen;       /* a hash table */
    size_t n_seen, cap_seen; /* a power of two */
    uint64_t steps;
    struct span *values;
    uint32_t n_values;
    struct map numbers; /* by hash, into values */
    struct alloc *alloc;
};

static uint32_t value_of(struct search *s, struct span text)
{
    if (is_none(text))
        return ABSENT;
    for (uint64_t h = hash_bytes(text, 0);; h++) {
        struct span *known = map_get(&s->numbers, h);
        if (!known) {
            s->values[s->n_values] = text;
            map_set(&s->numbers, h, &s->values[s->n_values]);
            return s->n_values++;
        }
        if (span_equal(*known, text))
            return (uint32_t)(known - s->values);
    }
}

static void number_values(struct search *s, struct item *x)
{
    const struct linear_op *op = x->op;
    struct span new = op->value, old = SPAN("-");
    if (op->type == LINEAR_CAS)
        cut(&new, '>', &old);
    x->expected = value_of(s, old);
    x->value = value_of(s, new);
    if (op->type == LINEAR_CAS && span_is(op->result, "1"))
        x->result = SWAPPED;
    else if (op->type == LINEAR_CAS && span_is(op->result, "!"))
        x->result = NOT_LOOKED;
    else if (op->type == LINEAR_DELETE)
        x->result = span_is(op->result, "1");
    else
        x->result = value_of(s, op->result);
}

/* Whether the operation may be the next one at this value, and the value after it. */
static bool step(const struct item *x, uint32_t value, uint32_t *after)
{
    bool ok = x->op->outcome == LINEAR_OK;
    *after = value;
    switch (x->op->type) {
    case LINEAR_PUT:
        *after = x->value;
        return true;
    case LINEAR_GET:
        return x->result == value;
    case LINEAR_DELETE:
        *after = ABSENT;
        return ok ? x->result == (value != ABSENT) : value != ABSENT;
    case LINEAR_CAS:
        if (value == x->expected)
            *after = x->value;
        if (!ok || x->result == SWAPPED)
            return value == x->expected;
        return value != x->expected && (x->result == NOT_LOOKED || x->result == value);
    case LINEAR_TYPES:
        break;
    }
    UNREACHABLE("a type");
}

static void insert_before(struct entry *at, struct entry *e)
{
    e->next = at;
    e->prev = at->prev;
    at->prev->next = e;
    at->prev = e;
}

static void lift(struct entry *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
}

static void put_back(struct entry *e)
{
    e->prev->next = e;
    e->next->prev = e;
}

/* ---- what was seen ---- */

static struct seen *seen_at(const struct search *s, const uint64_t set[2], uint32_t value)
{
    size_t i = (size_t)(set[0] ^ value * 0x9e3779b97f4a7c15u) & (s->cap_seen - 1);
    for (;; i = (i + 1) & (s->cap_seen - 1)) {
        struct seen *x = &s->seen[i];
        if (!x->unknown || (x->set[0] == set[0] && x->set[1] == set[1] && x->value == value))
            return x;
    }
}

static void seen_grow(struct search *s)
{
    struct seen *old = s->seen;
    size_t cap = s->cap_seen;
    s->cap_seen = cap ? cap * 2 : 1024;
    s->seen = mem_zero(s->alloc, s->cap_seen * sizeof(*old));
    for (size_t i = 0; i < cap; i++)
        if (old[i].unknown)
            *seen_at(s, old[i].set, old[i].value) = old[i];
    mem_free(s->alloc, old, cap * sizeof(*old));
}

static bool is_within(const struct search *s, const struct bits *a, const struct bits *b)
{
    for (size_t i = 0; i < s->words; i++)
        if (a->words[i] & ~b->words[i])
            return false;
    return true;
}

static void flip(struct search *s, const struct item *x)
{
    if (x->op->outcome == LINEAR_UNKNOWN)
        s->bits->words[x->unknown / 64] ^= 1ull << x->unknown % 64;
    for (int i = 0; i < 2; i++)
        s->set[i] ^= x->set[i]; /* zero for unknown ones */
}

/* False: it, or one that can do all that it can, was looked into before. Else remembers it. */
static bool is_new(struct search *s)
{
    if (s->n_seen * 2 >= s->cap_seen)
        seen_grow(s);
    struct seen *x = seen_at(s, s->set, s->value);
    for (const struct bits *b = x->unknown; b; b = b->next)
        if (is_within(s, b, s->bits))
            return false;
    size_t size = sizeof(struct bits) + s->words * sizeof(uint64_t);
    struct bits *copy = arena_alloc(s->arena, size);
    memcpy(copy, s->bits, size);
    copy->next = x->unknown;
    s->n_seen += x->unknown == NULL;
    *x = (struct seen){ { s->set[0], s->set[1] }, s->value, copy };
    return true;
}

/* ---- the search ---- */

static struct item *leave(struct search *s)
{
    struct done *d = &s->stack[--s->depth];
    struct item *x = d->item;
    s->value = d->before;
    flip(s, x);
    if (x->op->outcome == LINEAR_OK) {
        put_back(&x->ret);
        s->left++;
    }
    put_back(&x->call);
    return x;
}

/* False: it does not fit, or leads nowhere new. */
static bool enter(struct search *s, struct item *x)
{
    uint32_t after;
    bool blind = x->op->type == LINEAR_PUT ||
                 (x->op->type == LINEAR_DELETE && x->op->outcome == LINEAR_UNKNOWN);
    if (blind && s->depth && s->stack[s->depth - 1].item->op->outcome == LINEAR_UNKNOWN)
        return false; /* nobody would have seen the unknown one */
    if (!step(x, s->value, &after))
        return false;
    s->stack[s->depth++] = (struct done){ x, s->value };
    s->value = after;
    flip(s, x);
    lift(&x->call);
    if (x->op->outcome == LINEAR_OK) {
        lift(&x->ret);
        s->left--;
    }
    if (is_new(s))
        return true;
    leave(s);
    return false;
}

/* The first known operation, of those that are to come, to return. */
static struct item *first_return(const struct search *s)
{
    struct entry *e = s->known.next;
    while (!e->is_return)
        e = e->next;
    return e->item;
}

/* Goes on with the next operation behind `after` (NULL: the first) that leads somewhere. */
static bool go_on(struct search *s, const struct item *after)
{
    struct item *bound = first_return(s);
    bool in_known = !after || after->op->outcome == LINEAR_OK;
    struct entry *e = after ? after->call.next : s->known.next;
    if (s->depth >= s->deepest) {
        s->deepest = s->depth;
        s->stuck = bound;
        s->stuck_value = s->value;
    }
    for (; in_known && !e->is_return; e = e->next)
        if (enter(s, e->item))
            return true;
    if (in_known)
        e = s->unknown.next;
    for (; e != &s->unknown && e->at_us <= bound->ret.at_us; e = e->next)
        if (enter(s, e->item))
            return true;
    return false;
}

static enum linear_verdict search(struct search *s, uint64_t steps_max)
{
    struct item *after = NULL;
    while (s->left > 0) {
        if (steps_max && ++s->steps > steps_max)
            return LINEAR_UNDECIDED;
        if (go_on(s, after))
            after = NULL;
        else if (s->depth > 0)
            after = leave(s);
        else
            return LINEAR_NO;
    }
    return LINEAR_YES;
}

/* ---- setting up ---- */

static int by_time(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    if (x->at_us != y->at_us)
        return x->at_us < y->at_us ? -1 : 1;
    /* At the same time: they overlap. */
    if (x->is_return != y->is_return)
        return x->is_return ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

static void make_lists(struct search *s)
{
    struct entry **all = ARENA_ARRAY(s->arena, struct entry *, 2 * s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct item *x = &s->items[i];
        x->call = (struct entry){ .item = x, .at_us = x->op->invoke_us };
        x->ret = (struct entry){ .item = x, .at_us = x->op->return_us, .is_return = true };
        all[n++] = &x->call;
        if (x->op->outcome == LINEAR_OK) {
            all[n++] = &x->ret;
            s->left++;
        }
    }
    qsort(all, n, sizeof(*all), by_time);
    s->known.next = s->known.prev = &s->known;
    s->unknown.next = s->unknown.prev = &s->unknown;
    for (size_t i = 0; i < n; i++)
        insert_before(all[i]->item->op->outcome == LINEAR_OK ? &s->known : &s->unknown, all[i]);
}

static void open_search(struct search *s, const struct linear_op *const *ops, size_t n)
{
    struct prng prng = { 1 };
    s->items = ARENA_ARRAY(s->arena, struct item, n + 1);
    s->values = ARENA_ARRAY(s->arena, struct span, 3 * n + 2);
    s->stack = ARENA_ARRAY(s->arena, struct done, n + 1);
    s->n_values = 1;
    map_open(&s->numbers, s->alloc);
    for (size_t i = 0; i < n; i++) {
        bool says_nothing = ops[i]->outcome == LINEAR_FAIL ||
                            (ops[i]->outcome == LINEAR_UNKNOWN && ops[i]->type == LINEAR_GET);
        if (says_nothing)
            continue;
        struct item *x = &s->items[s->n++];
        x->op = ops[i];
        if (ops[i]->outcome == LINEAR_UNKNOWN)
            x->unknown = s->n_unknown++;
        for (int k = 0; k < 2 && ops[i]->outcome == LINEAR_OK; k++)
            x->set[k] = prng_next(&prng);
        number_values(s, x);
    }
    s->words = (s->n_unknown + 63) / 64;
    s->bits = arena_zero(s->arena, sizeof(struct bits) + s->words * sizeof(uint64_t));
    make_lists(s);
}

static void explain(const struct search *s, const char *verdict, struct buf *why)
{
    const struct linear_op *stuck = s->stuck->op;
    struct span value = s->stuck_value ? s->values[s->stuck_value] : SPAN("-");
    buf_format(why, "key %.*s: %s; %zu of %zu operations fit, then the value is %.*s and this one "
                    "has returned:\n  ",
               (int)stuck->key.len, (const char *)stuck->key.data, verdict, s->deepest, s->n,
               (int)value.len, (const char *)value.data);
    linear_write(stuck, why);
    buf_text(why, "beside it:\n");
    int shown = 0;
    for (size_t i = 0; i < s->n && shown < SHOWN_MAX; i++) {
        const struct linear_op *op = s->items[i].op;
        if (op == stuck || op->invoke_us > stuck->return_us || op->return_us < stuck->invoke_us)
            continue;
        buf_text(why, "  ");
        linear_write(op, why);
        shown++;
    }
}

static enum linear_verdict check_key(const struct linear *l, const struct linear_op *const *ops,
                                     size_t n, uint64_t steps_max, struct buf *why)
{
    struct arena arena;
    arena_open(&arena, l->alloc);
    struct search s = { .arena = &arena, .alloc = l->alloc };
    open_search(&s, ops, n);
    enum linear_verdict v = search(&s, steps_max);
    if (v != LINEAR_YES)
        explain(&s, v == LINEAR_NO ? "not linearizable" : "undecided", why);
    map_close(&s.numbers);
    mem_free(l->alloc, s.seen, s.cap_seen * sizeof(*s.seen));
    arena_close(&arena);
    return v;
}

/* By key, then by when they began. */
static int by_key(const void *a, const void *b)
{
    const struct linear_op *x = *(const struct linear_op *const *)a;
    const struct linear_op *y = *(const struct linear_op *const *)b;
    int c = span_compare(x->key, y->key);
    if (c)
        return c;
    return (x->invoke_us > y->invoke_us) - (x->invoke_us < y->invoke_us);
}

enum linear_verdict linear_check(const struct linear *l, uint64_t steps_max, struct buf *why)
{
    enum linear_verdict worst = LINEAR_YES;
    size_t n = l->ops.n, size = (n + 1) * sizeof(struct linear_op *);
    const struct linear_op **ops = mem_alloc(l->alloc, size);
    for (size_t i = 0; i < n; i++)
        ops[i] = &l->ops.items[i];
    qsort(ops, n, sizeof(*ops), by_key);
    for (size_t i = 0, end; i < n && worst != LINEAR_NO; i = end) {
        for (end = i; end < n && span_equal(ops[end]->key, ops[i]->key);)
            end++;
        enum linear_verdict v = check_key(l, ops + i, end - i, steps_max, why);
        if (v != LINEAR_YES)
            worst = v;
    }
    mem_free(l->alloc, ops, size);
    return worst;
}
