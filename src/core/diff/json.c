/* JSON against JSON. */
#include "base/check.h"
#include "core/diff/diff.h"

struct work {
    struct diff *out;
    size_t limit, cap;
    struct arena *arena;
    struct buf path;
    uint64_t steps;
};

static void tell(struct work *w, enum diff_kind kind, const struct jdoc *from,
                 const struct jdoc *to)
{
    struct diff *d = w->out;
    if (d->n == w->limit) {
        d->more = true;
        return;
    }
    if (d->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 16;
        struct diff_op *ops = ARENA_ARRAY(w->arena, struct diff_op, cap);
        if (d->n)
            memcpy(ops, d->ops, d->n * sizeof(*ops));
        d->ops = ops;
        w->cap = cap;
    }
    struct span path = arena_copy(w->arena, buf_all(&w->path));
    d->ops[d->n++] = (struct diff_op){ kind, path, from, to };
}

static bool same(struct work *w, const struct jdoc *a, const struct jdoc *b)
{
    return jdoc_compare(a, b, &w->steps, DIFF_STEPS_MAX) == 0 && w->steps <= DIFF_STEPS_MAX;
}

static void compare(struct work *w, const struct jdoc *a, const struct jdoc *b);

/* Members in order of their names. */
static void compare_objects(struct work *w, const struct jdoc *a, const struct jdoc *b)
{
    size_t at = w->path.len;
    for (uint32_t i = 0, k = 0; (i < a->n || k < b->n) && !w->out->more;) {
        const struct jdoc *x = i < a->n ? &a->items[a->sorted[i]] : NULL;
        const struct jdoc *y = k < b->n ? &b->items[b->sorted[k]] : NULL;
        int c = !x ? 1 : !y ? -1 : span_compare(x->name, y->name);
        jdoc_pointer_token(c > 0 ? y->name : x->name, &w->path);
        if (c < 0)
            tell(w, DIFF_REMOVE, x, NULL);
        else if (c > 0)
            tell(w, DIFF_ADD, NULL, y);
        else
            compare(w, x, y);
        w->path.len = at;
        i += c <= 0;
        k += c >= 0;
    }
}

static void at_place(struct work *w, size_t at, uint32_t place)
{
    w->path.len = at;
    buf_format(&w->path, "/%u", (unsigned)place);
}

/* What goes is told from behind, so that the places before it still hold. */
static void compare_arrays(struct work *w, const struct jdoc *a, const struct jdoc *b)
{
    size_t at = w->path.len;
    uint32_t head = 0, tail = 0, least = a->n < b->n ? a->n : b->n;
    while (head < least && same(w, &a->items[head], &b->items[head]))
        head++;
    while (tail < least - head && same(w, &a->items[a->n - 1 - tail], &b->items[b->n - 1 - tail]))
        tail++;
    uint32_t end_a = a->n - tail, end_b = b->n - tail, both = least - tail;
    for (uint32_t i = head; i < both && !w->out->more; i++) {
        at_place(w, at, i);
        compare(w, &a->items[i], &b->items[i]);
    }
    for (uint32_t i = end_a; i-- > both && !w->out->more;) {
        at_place(w, at, i);
        tell(w, DIFF_REMOVE, &a->items[i], NULL);
    }
    for (uint32_t i = both; i < end_b && !w->out->more; i++) {
        at_place(w, at, i);
        tell(w, DIFF_ADD, NULL, &b->items[i]);
    }
    w->path.len = at;
}

static void compare(struct work *w, const struct jdoc *a, const struct jdoc *b)
{
    bool nested = a->type == b->type && (a->type == JDOC_OBJECT || a->type == JDOC_ARRAY);
    w->steps++;
    if (nested && w->steps <= DIFF_STEPS_MAX) {
        if (a->type == JDOC_OBJECT)
            compare_objects(w, a, b);
        else
            compare_arrays(w, a, b);
    } else if (nested || !same(w, a, b)) {
        tell(w, DIFF_REPLACE, a, b);
    }
}

void diff_json(const struct jdoc *from, const struct jdoc *to, size_t limit, struct arena *arena,
               struct diff *out)
{
    struct work w = { .out = out, .limit = limit, .arena = arena };
    CHECK(from && to);
    *out = (struct diff){ .n = 0 };
    buf_open(&w.path, arena->alloc);
    compare(&w, from, to);
    buf_close(&w.path);
}
