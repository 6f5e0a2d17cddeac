/* Rules: compiling JSONLogic, running it, and the operations that choose what of their arguments
 * runs. */
#include "core/flag/flag_int.h"

/* ---- compiling ---- */

struct place { /* where in the document, for the JSON Pointer of an error */
    const struct place *up;
    struct span name;
    int64_t index;
};

struct compiling {
    struct arena *arena;
    const struct fval *named;
    char *why;
    size_t rules;
};

enum { RULES_MAX = FLAG_VALUES_MAX };

static void pointer_put(const struct place *p, struct buf *b)
{
    if (!p)
        return;
    pointer_put(p->up, b);
    buf_u8(b, '/');
    if (!p->name.data) {
        buf_format(b, "%lld", (long long)p->index);
        return;
    }
    for (size_t i = 0; i < p->name.len; i++)
        if (p->name.data[i] == '~' || p->name.data[i] == '/')
            buf_text(b, p->name.data[i] == '~' ? "~0" : "~1");
        else
            buf_u8(b, p->name.data[i] < 0x20 ? '?' : p->name.data[i]);
}

static enum err refuse(struct compiling *c, const struct place *p, const char *text)
{
    struct buf b;
    buf_open(&b, c->arena->alloc);
    pointer_put(p, &b);
    buf_text(&b, ": ");
    buf_text(&b, text);
    size_t n = b.len < FLAG_WHY_MAX ? b.len : FLAG_WHY_MAX - 1;
    memcpy(c->why, b.data, n);
    c->why[n] = 0;
    buf_close(&b);
    return ERR_FLAG_INVALID;
}

static enum err compile(struct compiling *c, const struct fval *v, const struct place *p, int depth,
                        struct rule *out);

static bool is_value(const struct rule *r)
{
    return !r->op && !r->dynamic;
}

static enum err compile_items(struct compiling *c, const struct fval *list, const struct place *p,
                              int depth, struct rule *out)
{
    struct rule *args = ARENA_ARRAY(c->arena, struct rule, list->n + 1);
    enum err e = ERR_OK;
    for (uint32_t i = 0; e == ERR_OK && i < list->n; i++) {
        struct place here = { p, SPAN_NONE, i };
        e = compile(c, &list->items[i], &here, depth, &args[i]);
    }
    out->args = args;
    out->n = list->n;
    return e;
}

static enum err compile_list(struct compiling *c, const struct fval *v, const struct place *p,
                             int depth, struct rule *out)
{
    bool plain = true;
    enum err e = compile_items(c, v, p, depth, out);
    for (uint32_t i = 0; e == ERR_OK && i < out->n; i++)
        plain = plain && is_value(&out->args[i]);
    out->dynamic = !plain;
    if (e != ERR_OK || !plain)
        return e;
    struct fval *items = ARENA_ARRAY(c->arena, struct fval, v->n + 1);
    for (uint32_t i = 0; i < v->n; i++)
        items[i] = out->args[i].value;
    out->value = (struct fval){ .type = FVAL_LIST, .n = v->n, .items = items };
    return ERR_OK;
}

static enum err compile_shared(struct compiling *c, const struct fval *name, const struct place *p,
                               int depth, struct rule *out)
{
    const struct fval *shared = fval_find(c->named, fval_span(name));
    out->value = (struct fval){ .type = FVAL_NULL };
    if (!c->named && name->type == FVAL_TEXT)
        return ERR_OK; /* they are not known: only the form is looked at */
    if (!shared)
        return refuse(c, p, "no shared rule ($evaluators) has this name");
    return compile(c, shared, p, depth, out);
}

static bool invalid(struct run *r, const struct rule *rule, const struct frame *f,
                    struct fval *out)
{
    (void)rule, (void)f, (void)out;
    return run_fail(r, "Invalid Arguments");
}

static const struct operator invalid_arguments = { "", 0, NULL, invalid };

static enum err compile_operation(struct compiling *c, const struct fval_member *m,
                                  const struct place *p, int depth, struct rule *out)
{
    struct place here = { p, m->name, 0 };
    if (span_is(m->name, "$ref"))
        return compile_shared(c, &m->value, &here, depth, out);
    if (span_is(m->name, "preserve")) {
        out->value = m->value;
        return ERR_OK;
    }
    const struct operator *op = operator_find(m->name);
    if (!op)
        return refuse(c, &here, "no operation has this name");
    out->op = op;
    if (m->value.type == FVAL_LIST)
        return compile_items(c, &m->value, &here, depth, out);
    struct rule *arg = ARENA_NEW(c->arena, struct rule);
    enum err e = compile(c, &m->value, &here, depth, arg);
    out->args = arg;
    out->n = 1;
    out->dynamic = op->eager && m->value.type == FVAL_OBJECT && m->value.n == 1;
    if (op->lazy && (op->min || op->lazy == op_if || op->lazy == op_and || op->lazy == op_or))
        out->op = &invalid_arguments; /* what is lazy needs to see its arguments */
    return e;
}

static enum err compile(struct compiling *c, const struct fval *v, const struct place *p, int depth,
                        struct rule *out)
{
    *out = (struct rule){ .value = *v };
    if (depth >= FLAG_DEPTH_MAX || ++c->rules > RULES_MAX)
        return refuse(c, p, "the rule is too deep or too long, shared rules included");
    if (v->type == FVAL_LIST)
        return compile_list(c, v, p, depth + 1, out);
    if (v->type == FVAL_OBJECT && v->n == 1)
        return compile_operation(c, &v->members[0], p, depth + 1, out);
    return ERR_OK;
}

enum err rule_compile(const struct fval *json, const struct fval *named, struct arena *arena,
                      const struct rule **out, char *why)
{
    struct compiling c = { arena, named, why, 0 };
    struct rule *rule = ARENA_NEW(arena, struct rule);
    *out = rule;
    return compile(&c, json, NULL, 0, rule);
}

/* ---- running ---- */

static const uint8_t invalid_text[] = "Invalid Arguments";

bool run_fail(struct run *r, const char *type)
{
    static const struct fval_member nan = { { (const uint8_t *)"type", 4 },
                                            { NULL, 0 },
                                            { .type = FVAL_TEXT,
                                              .n = 3,
                                              .text = (const uint8_t *)"NaN" } };
    static const struct fval_member arguments = { { (const uint8_t *)"type", 4 },
                                                  { NULL, 0 },
                                                  { .type = FVAL_TEXT,
                                                    .n = 17,
                                                    .text = invalid_text } };
    static const struct fval_member limits = { { (const uint8_t *)"type", 4 },
                                               { NULL, 0 },
                                               { .type = FVAL_TEXT,
                                                 .n = 5,
                                                 .text = (const uint8_t *)"Limit" } };
    const struct fval_member *m = *type == 'N' ? &nan : *type == 'I' ? &arguments : &limits;
    r->error = (struct fval){ .type = FVAL_OBJECT, .n = 1, .members = m };
    return false;
}

void *run_alloc(struct run *r, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > FLAG_SCRATCH_BYTES - r->used) {
        r->steps = -1; /* no try may go on */
        run_fail(r, "Limit");
        return NULL;
    }
    void *out = r->scratch + r->used;
    r->used += size;
    return out;
}

void run_open(struct run *r, void *scratch)
{
    *r = (struct run){ .scratch = scratch, .steps = FLAG_STEPS_MAX };
}

static bool run_list(struct run *r, const struct rule *rule, const struct frame *f,
                     struct fval *out)
{
    struct fval *items = run_alloc(r, sizeof(*items) * (rule->n + 1));
    if (!items)
        return false;
    for (uint32_t i = 0; i < rule->n; i++)
        if (!run_rule(r, &rule->args[i], f, &items[i]))
            return false;
    *out = (struct fval){ .type = FVAL_LIST, .n = rule->n, .items = items };
    return true;
}

static bool run_eager(struct run *r, const struct rule *rule, const struct frame *f,
                      struct fval *out)
{
    struct fval few[4], *args = few, result;
    uint32_t n = rule->n;
    size_t used = r->used;
    if (n > 4 && !(args = run_alloc(r, sizeof(*args) * n)))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!run_rule(r, &rule->args[i], f, &args[i]))
            return false;
    if (rule->dynamic && args[0].type == FVAL_LIST) {
        const struct fval list = args[0];
        if (list.n < rule->op->min)
            return run_fail(r, "Invalid Arguments");
        if (!rule->op->eager(r, list.items, list.n, f, &result))
            return false;
    } else if (n < rule->op->min) {
        return run_fail(r, "Invalid Arguments");
    } else if (!rule->op->eager(r, args, n, f, &result)) {
        return false;
    }
    if (result.type <= FVAL_NUMBER)
        r->used = used; /* nothing of what was made is needed any more */
    *out = result;
    return true;
}

bool run_rule(struct run *r, const struct rule *rule, const struct frame *f, struct fval *out)
{
    if (--r->steps < 0)
        return run_fail(r, "Limit");
    if (!rule->op && !rule->dynamic) {
        *out = rule->value;
        return true;
    }
    if (!rule->op)
        return run_list(r, rule, f, out);
    if (rule->op->eager)
        return run_eager(r, rule, f, out);
    if (rule->n < rule->op->min)
        return run_fail(r, "Invalid Arguments");
    return rule->op->lazy(r, rule, f, out);
}

bool rule_run(const struct rule *rule, const struct fval *data, void *scratch, struct fval *out)
{
    struct run r;
    run_open(&r, scratch);
    struct frame f = { NULL, data, 0 };
    bool ok = run_rule(&r, rule, &f, out);
    if (!ok)
        *out = r.error;
    return ok;
}

/* ---- control ---- */

LAZY(if)
{
    uint32_t i = 0;
    *out = (struct fval){ .type = FVAL_NULL };
    for (; i + 1 < rule->n; i += 2) {
        struct fval v;
        if (!run_rule(r, &rule->args[i], f, &v))
            return false;
        if (fval_true(&v))
            return run_rule(r, &rule->args[i + 1], f, out);
    }
    return i < rule->n ? run_rule(r, &rule->args[i], f, out) : true;
}

static bool until(struct run *r, const struct rule *rule, const struct frame *f, bool stop,
                  struct fval *out)
{
    *out = (struct fval){ .type = FVAL_FALSE };
    for (uint32_t i = 0; i < rule->n; i++) {
        if (!run_rule(r, &rule->args[i], f, out))
            return false;
        if (fval_true(out) == stop)
            break;
    }
    return true;
}

LAZY(and) { return until(r, rule, f, false, out); }
LAZY(or) { return until(r, rule, f, true, out); }

LAZY(coalesce)
{
    *out = (struct fval){ .type = FVAL_NULL };
    for (uint32_t i = 0; i < rule->n && out->type == FVAL_NULL; i++)
        if (!run_rule(r, &rule->args[i], f, out))
            return false;
    return true;
}

LAZY(try)
{
    struct fval error;
    struct frame inner = { f, &error, 0 };
    for (uint32_t i = 0; i < rule->n; i++) {
        if (run_rule(r, &rule->args[i], i ? &inner : f, out))
            return true;
        error = r->error;
    }
    return false;
}

/* ---- comparing ---- */

/* False: they cannot be compared. */
static bool order(const struct fval *a, const struct fval *b, int *out)
{
    double x, y;
    if (a->type == FVAL_TEXT && b->type == FVAL_TEXT) {
        *out = span_compare(fval_span(a), fval_span(b));
        return true;
    }
    if (!fval_number(a, &x) || !fval_number(b, &y))
        return false;
    *out = (x > y) - (x < y);
    return true;
}

static bool same(const struct fval *a, const struct fval *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == FVAL_LIST || a->type == FVAL_OBJECT)
        return a->n == b->n && a->items == b->items; /* the very same one */
    return a->type == FVAL_NUMBER ? a->number == b->number
                                  : span_equal(fval_span(a), fval_span(b));
}

enum comparison { EQ, NE, SAME, DIFFER, LT, LE, GT, GE };

static bool holds(struct run *r, enum comparison how, const struct fval *a, const struct fval *b,
                  bool *out)
{
    int c = 0;
    if (how == SAME || how == DIFFER) {
        *out = same(a, b) == (how == SAME);
        return true;
    }
    bool one_null = (a->type == FVAL_NULL) != (b->type == FVAL_NULL);
    if (!order(a, b, &c)) {
        bool text = a->type == FVAL_TEXT || b->type == FVAL_TEXT;
        if (!one_null || !text)
            return run_fail(r, "NaN");
        *out = how == NE; /* what is not there equals no text and stands in no order to it */
        return true;
    }
    *out = how == EQ   ? c == 0
           : how == NE ? c != 0
           : how == LT ? c < 0
           : how == LE ? c <= 0
           : how == GT ? c > 0
                       : c >= 0;
    return true;
}

static bool compare(struct run *r, const struct rule *rule, const struct frame *f,
                    enum comparison how, struct fval *out)
{
    struct fval a, b;
    size_t used = r->used;
    bool ok = true;
    if (!run_rule(r, &rule->args[0], f, &a))
        return false;
    for (uint32_t i = 1; ok && i < rule->n; i++) {
        if (!run_rule(r, &rule->args[i], f, &b) || !holds(r, how, &a, &b, &ok))
            return false;
        a = b;
    }
    r->used = used;
    *out = fval_bool(ok);
    return true;
}

LAZY(compare_eq) { return compare(r, rule, f, EQ, out); }
LAZY(compare_ne) { return compare(r, rule, f, NE, out); }
LAZY(compare_same) { return compare(r, rule, f, SAME, out); }
LAZY(compare_differ) { return compare(r, rule, f, DIFFER, out); }
LAZY(compare_lt) { return compare(r, rule, f, LT, out); }
LAZY(compare_le) { return compare(r, rule, f, LE, out); }
LAZY(compare_gt) { return compare(r, rule, f, GT, out); }
LAZY(compare_ge) { return compare(r, rule, f, GE, out); }

/* ---- loops ---- */

/* The list to go over: nothing is an empty one. */
static bool run_over(struct run *r, const struct rule *rule, const struct frame *f, bool null_fails,
                     struct fval *out)
{
    if (!run_rule(r, &rule->args[0], f, out))
        return false;
    null_fails = null_fails || is_value(&rule->args[0]);
    if (out->type == FVAL_NULL && !null_fails)
        *out = (struct fval){ .type = FVAL_LIST };
    return out->type == FVAL_LIST ? true : run_fail(r, "Invalid Arguments");
}

static bool is_null(const struct rule *rule)
{
    return is_value(rule) && rule->value.type == FVAL_NULL;
}

LAZY(map)
{
    if (is_null(&rule->args[1]))
        return run_fail(r, "Invalid Arguments");
    struct fval list;
    if (!run_over(r, rule, f, false, &list))
        return false;
    struct fval *items = run_alloc(r, sizeof(*items) * ((size_t)list.n + 1));
    if (!items)
        return false;
    for (uint32_t i = 0; i < list.n; i++) {
        struct frame inner = { f, &list.items[i], i };
        if (!run_rule(r, &rule->args[1], &inner, &items[i]))
            return false;
    }
    *out = (struct fval){ .type = FVAL_LIST, .n = list.n, .items = items };
    return true;
}

LAZY(filter)
{
    if (is_null(&rule->args[1]))
        return run_fail(r, "Invalid Arguments");
    struct fval list, v;
    uint32_t n = 0;
    if (!run_over(r, rule, f, false, &list))
        return false;
    struct fval *items = run_alloc(r, sizeof(*items) * ((size_t)list.n + 1));
    if (!items)
        return false;
    for (uint32_t i = 0; i < list.n; i++) {
        struct frame inner = { f, &list.items[i], i };
        if (!run_rule(r, &rule->args[1], &inner, &v))
            return false;
        if (fval_true(&v))
            items[n++] = list.items[i];
    }
    *out = (struct fval){ .type = FVAL_LIST, .n = n, .items = items };
    return true;
}

LAZY(reduce)
{
    struct fval list, so_far = { .type = FVAL_NULL };
    uint32_t i = 0;
    if (!run_over(r, rule, f, false, &list))
        return false;
    if (rule->n > 2 && !run_rule(r, &rule->args[2], f, &so_far))
        return false;
    if (rule->n == 2 && list.n)
        so_far = list.items[i++];
    for (; i < list.n; i++) {
        size_t used = r->used;
        struct fval_member *members = run_alloc(r, 2 * sizeof(*members));
        if (!members)
            return false;
        members[0] = (struct fval_member){ SPAN("current"), SPAN_NONE, list.items[i] };
        members[1] = (struct fval_member){ SPAN("accumulator"), SPAN_NONE, so_far };
        struct fval both = { .type = FVAL_OBJECT, .n = 2, .members = members };
        struct frame inner = { f, &both, i };
        if (!run_rule(r, &rule->args[1], &inner, &so_far))
            return false;
        if (so_far.type <= FVAL_NUMBER)
            r->used = used;
    }
    *out = so_far;
    return true;
}

static bool count(struct run *r, const struct rule *rule, const struct frame *f, bool stop,
                  bool null_fails, bool *stopped, bool *empty)
{
    struct fval list, v;
    size_t used = r->used;
    *stopped = false;
    if (!run_over(r, rule, f, null_fails, &list))
        return false;
    *empty = list.n == 0;
    for (uint32_t i = 0; i < list.n && !*stopped; i++) {
        struct frame inner = { f, &list.items[i], i };
        if (!run_rule(r, &rule->args[1], &inner, &v))
            return false;
        *stopped = fval_true(&v) == stop;
    }
    r->used = used;
    return true;
}

LAZY(all)
{
    bool stopped, empty;
    if (!count(r, rule, f, false, true, &stopped, &empty))
        return false;
    *out = fval_bool(!stopped && !empty);
    return true;
}

LAZY(some)
{
    bool stopped, empty;
    if (!count(r, rule, f, true, true, &stopped, &empty))
        return false;
    *out = fval_bool(stopped);
    return true;
}

LAZY(none)
{
    bool stopped, empty;
    if (!count(r, rule, f, true, true, &stopped, &empty))
        return false;
    *out = fval_bool(!stopped);
    return true;
}
