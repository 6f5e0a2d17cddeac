/* The operations that get the values of all their arguments. */
#include "core/flag/flag_int.h"
#include <stdlib.h>

#define UNUSED_ARGS (void)r, (void)a, (void)n, (void)f

/* ---- values ---- */

bool fval_true(const struct fval *v)
{
    if (v->type == FVAL_NUMBER)
        return v->number != 0;
    if (v->type == FVAL_TEXT || v->type == FVAL_LIST)
        return v->n > 0;
    return v->type == FVAL_TRUE || v->type == FVAL_OBJECT;
}

static bool text_number(struct span s, double *out)
{
    char text[64], *end;
    while (s.len && s.data[0] == ' ')
        s = span_from(s, 1);
    if (!s.len) {
        *out = 0;
        return true;
    }
    if (s.len >= sizeof(text) || (s.data[0] != '-' && s.data[0] != '+' && s.data[0] != '.' &&
                                  (s.data[0] < '0' || s.data[0] > '9')))
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = 0;
    if (strpbrk(text, "xXnN"))
        return false;
    *out = strtod(text, &end);
    return *end == 0 && end == text + s.len && *out - *out == 0;
}

bool fval_number(const struct fval *v, double *out)
{
    if (v->type == FVAL_TEXT)
        return text_number(fval_span(v), out);
    if (v->type > FVAL_TEXT)
        return false;
    *out = v->type == FVAL_NUMBER ? v->number : v->type == FVAL_TRUE;
    return true;
}

/* As cat and substr show it; a text of its own only when it is none yet. */
struct span run_text(struct run *r, const struct fval *v)
{
    if (v->type == FVAL_TEXT)
        return v->n ? fval_span(v) : SPAN("");
    if (v->type == FVAL_NULL || v->type > FVAL_TEXT)
        return SPAN("");
    if (v->type != FVAL_NUMBER)
        return v->type == FVAL_TRUE ? SPAN("true") : SPAN("false");
    char *text = run_alloc(r, NUMBER_TEXT_MAX);
    return text ? span_of(text, number_text(v->number, text)) : SPAN_NONE;
}

static bool put_number(struct run *r, double v, struct fval *out)
{
    if (v - v != 0) /* neither NaN nor an infinity is JSON */
        return run_fail(r, "NaN");
    *out = (struct fval){ .type = FVAL_NUMBER, .number = v };
    return true;
}

/* ---- arithmetic ---- */

static double truncated_modulo(double a, double b)
{
    if (b == 0)
        return 0 / b;
    double q = a / b;
    if (q < 9e15 && q > -9e15)
        return a - (double)(int64_t)q * b;
    return 0;
}

static bool fold(struct run *r, const struct fval *a, uint32_t n, int op, double start,
                 struct fval *out)
{
    double so_far = start, v;
    for (uint32_t i = 0; i < n; i++) {
        if (!fval_number(&a[i], &v))
            return run_fail(r, "NaN");
        if (op == '+')
            so_far += v;
        else if (op == '*')
            so_far *= v;
        else if (i == 0)
            so_far = v;
        else if (op == '-')
            so_far -= v;
        else
            so_far = op == '/' ? so_far / v : truncated_modulo(so_far, v);
    }
    if (n == 1 && op == '-')
        so_far = -so_far;
    if (n == 1 && op == '/')
        so_far = 1 / so_far;
    return put_number(r, so_far, out);
}

EAGER(add) { (void)f; return fold(r, a, n, '+', 0, out); }
EAGER(subtract) { (void)f; return fold(r, a, n, '-', 0, out); }
EAGER(multiply) { (void)f; return fold(r, a, n, '*', 1, out); }
EAGER(divide) { (void)f; return fold(r, a, n, '/', 0, out); }
EAGER(modulo) { (void)f; return fold(r, a, n, '%', 0, out); }

static bool extreme(struct run *r, const struct fval *a, uint32_t n, bool largest,
                    struct fval *out)
{
    for (uint32_t i = 0; i < n; i++) {
        if (a[i].type != FVAL_NUMBER)
            return run_fail(r, "Invalid Arguments");
        if (i == 0 || (a[i].number > out->number) == largest)
            *out = a[i];
    }
    return true;
}
EAGER(max) { (void)f; return extreme(r, a, n, true, out); }
EAGER(min) { (void)f; return extreme(r, a, n, false, out); }

EAGER(not )
{
    UNUSED_ARGS;
    *out = fval_bool(!n || !fval_true(a));
    return true;
}
EAGER(truth)
{
    UNUSED_ARGS;
    *out = fval_bool(n && fval_true(a));
    return true;
}

/* ---- texts and lists ---- */

EAGER(cat)
{
    size_t len = 0;
    (void)f;
    struct span *parts = run_alloc(r, sizeof(*parts) * ((size_t)n + 1));
    for (uint32_t i = 0; parts && i < n; i++) {
        parts[i] = run_text(r, &a[i]);
        if (!parts[i].data)
            return false;
        len += parts[i].len;
    }
    uint8_t *text = parts ? run_alloc(r, len + 1) : NULL, *at = text;
    if (!text)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    *out = fval_of(span_of(text, len));
    return true;
}

static bool begins(uint8_t c)
{
    return (c & 0xc0) != 0x80;
}

/* Bytes in front of character number k. */
static size_t place_of(struct span s, int64_t k)
{
    size_t i = 0;
    while (i < s.len && (k > 0 || !begins(s.data[i]))) {
        i++;
        if (i >= s.len || begins(s.data[i]))
            k--;
    }
    return i;
}

EAGER(substr)
{
    double from = 0, len = 0;
    int64_t all = 0;
    (void)f;
    struct span s = run_text(r, &a[0]);
    if (!s.data)
        return false;
    if ((n > 1 && !fval_number(&a[1], &from)) || (n > 2 && !fval_number(&a[2], &len)))
        return run_fail(r, "NaN");
    for (size_t i = 0; i < s.len; i++)
        all += begins(s.data[i]);
    double start = from < 0 ? (double)all + from : from, end = (double)all;
    start = start < 0 ? 0 : start > (double)all ? (double)all : start;
    if (n > 2)
        end = len < 0 ? (double)all + len : start + len;
    end = end > (double)all ? (double)all : end < start ? start : end;
    size_t low = place_of(s, (int64_t)start), high = place_of(s, (int64_t)end);
    *out = fval_of(span_of(s.data + low, high - low));
    return true;
}

EAGER(in)
{
    (void)f;
    bool found = false;
    if (n > 1 && a[1].type == FVAL_TEXT) {
        struct span s = run_text(r, &a[0]);
        if (!s.data)
            return false;
        found = memmem(a[1].text, a[1].n, s.data, s.len) != NULL;
    }
    for (uint32_t i = 0; n > 1 && a[1].type == FVAL_LIST && i < a[1].n && !found; i++)
        found = fval_same(&a[0], &a[1].items[i]);
    r->steps -= n > 1 ? a[1].n / 64 : 0;
    *out = fval_bool(found);
    return true;
}

EAGER(merge)
{
    size_t len = 0;
    (void)f;
    for (uint32_t i = 0; i < n; i++)
        len += a[i].type == FVAL_LIST ? a[i].n : 1;
    struct fval *items = run_alloc(r, sizeof(*items) * (len + 1));
    if (!items)
        return false;
    *out = (struct fval){ .type = FVAL_LIST, .items = items };
    for (uint32_t i = 0; i < n; i++) {
        bool list = a[i].type == FVAL_LIST;
        for (uint32_t k = 0; k < (list ? a[i].n : 1); k++)
            items[out->n++] = list ? a[i].items[k] : a[i];
    }
    return true;
}

EAGER(throw)
{
    (void)f;
    r->error = (struct fval){ .type = FVAL_NULL };
    if (n && a[0].type == FVAL_OBJECT) {
        r->error = a[0];
        return false;
    }
    struct fval_member *m = run_alloc(r, sizeof(*m));
    if (!m)
        return false;
    *m = (struct fval_member){ SPAN("type"), SPAN_NONE, n ? a[0] : r->error };
    r->error = (struct fval){ .type = FVAL_OBJECT, .n = 1, .members = m };
    (void)out;
    return false;
}

/* ---- looking into the data ---- */

/* One step down; NULL: nothing is there. */
static const struct fval *inside(struct run *r, const struct frame *f, const struct fval *v,
                                 struct span name)
{
    uint64_t index = 0;
    if (f && !f->up && r->flag.data && span_is(name, "$flagd"))
        return &r->own_object;
    if (!v)
        return NULL;
    r->steps -= v->n / 64;
    if (v->type == FVAL_OBJECT)
        return fval_find(v, name);
    if (v->type != FVAL_LIST || !name.len || name.len > 9)
        return NULL;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return NULL;
        index = index * 10 + (uint64_t)(name.data[i] - '0');
    }
    return index < v->n ? &v->items[index] : NULL;
}

/* a.b.c; empty: all of it. False: the scratch is full. */
static bool look(struct run *r, const struct frame *f, const struct fval *path,
                 const struct fval **out)
{
    struct span s = path ? run_text(r, path) : SPAN("");
    const struct frame *first = f;
    if (!s.data)
        return false;
    *out = f->value;
    while (s.len && (*out || first)) {
        const uint8_t *dot = memchr(s.data, '.', s.len);
        struct span name = span_of(s.data, dot ? (size_t)(dot - s.data) : s.len);
        *out = inside(r, first, *out, name);
        first = NULL;
        s = span_from(s, name.len + (dot != NULL));
    }
    return true;
}

EAGER(var)
{
    const struct fval *found;
    if (!look(r, f, n ? &a[0] : NULL, &found))
        return false;
    *out = found ? *found : n > 1 ? a[1] : (struct fval){ .type = FVAL_NULL };
    return true;
}

/* [[levels], name, name...]; odd levels stand between two contexts and hold the index. */
static bool val_look(struct run *r, const struct fval *a, uint32_t n, const struct frame *f,
                     struct fval *index, const struct fval **out)
{
    uint32_t i = 0;
    bool between = false;
    if (n && a[0].type == FVAL_LIST) {
        double up = a[0].n && a[0].items[0].type == FVAL_NUMBER ? a[0].items[0].number : 0;
        up = up < 0 ? -up : up;
        for (; up >= 2 && f->up; up -= 2)
            f = f->up;
        between = up >= 1;
        i = 1;
    }
    *out = f->value;
    if (n == 1 && a[0].type == FVAL_NULL)
        return true;
    for (bool first = true; i < n && (*out || first); i++, first = false) {
        struct span name = run_text(r, &a[i]);
        if (!name.data)
            return false;
        *index = (struct fval){ .type = FVAL_NUMBER, .number = f->index };
        if (between && first)
            *out = span_is(name, "index") ? index : NULL;
        else
            *out = inside(r, first ? f : NULL, *out, name);
    }
    return true;
}

EAGER(val)
{
    struct fval index;
    const struct fval *found;
    if (!val_look(r, a, n, f, &index, &found))
        return false;
    *out = found ? *found : (struct fval){ .type = FVAL_NULL };
    return true;
}

EAGER(exists)
{
    struct fval index;
    const struct fval *found;
    if (!val_look(r, a, n, f, &index, &found))
        return false;
    *out = fval_bool(found != NULL);
    return true;
}

static bool find_missing(struct run *r, const struct fval *names, uint32_t n, const struct frame *f,
                         struct fval *out)
{
    struct fval *items = run_alloc(r, sizeof(*items) * ((size_t)n + 1));
    const struct fval *found;
    if (!items)
        return false;
    *out = (struct fval){ .type = FVAL_LIST, .items = items };
    for (uint32_t i = 0; i < n; i++) {
        if (!look(r, f, &names[i], &found))
            return false;
        if (!found || found->type == FVAL_NULL || (found->type == FVAL_TEXT && !found->n))
            items[out->n++] = names[i];
    }
    return true;
}

EAGER(missing)
{
    if (n && a[0].type == FVAL_LIST)
        return find_missing(r, a[0].items, a[0].n, f, out);
    return find_missing(r, a, n, f, out);
}

EAGER(missing_some)
{
    (void)n;
    if (a[0].type != FVAL_NUMBER || a[1].type != FVAL_LIST)
        return run_fail(r, "Invalid Arguments");
    if (!find_missing(r, a[1].items, a[1].n, f, out))
        return false;
    if ((double)(a[1].n - out->n) >= a[0].number)
        out->n = 0;
    return true;
}

/* ---- the table ---- */

static const struct operator operators[] = {
    { "var", 0, op_var, NULL },
    { "val", 0, op_val, NULL },
    { "exists", 0, op_exists, NULL },
    { "missing", 0, op_missing, NULL },
    { "missing_some", 2, op_missing_some, NULL },
    { "if", 0, NULL, op_if },
    { "?:", 0, NULL, op_if },
    { "and", 0, NULL, op_and },
    { "or", 0, NULL, op_or },
    { "??", 0, NULL, op_coalesce },
    { "try", 0, NULL, op_try },
    { "throw", 0, op_throw, NULL },
    { "!", 0, op_not, NULL },
    { "!!", 0, op_truth, NULL },
    { "==", 2, NULL, op_compare_eq },
    { "!=", 2, NULL, op_compare_ne },
    { "===", 2, NULL, op_compare_same },
    { "!==", 2, NULL, op_compare_differ },
    { "<", 2, NULL, op_compare_lt },
    { "<=", 2, NULL, op_compare_le },
    { ">", 2, NULL, op_compare_gt },
    { ">=", 2, NULL, op_compare_ge },
    { "+", 0, op_add, NULL },
    { "-", 1, op_subtract, NULL },
    { "*", 0, op_multiply, NULL },
    { "/", 1, op_divide, NULL },
    { "%", 2, op_modulo, NULL },
    { "max", 1, op_max, NULL },
    { "min", 1, op_min, NULL },
    { "cat", 0, op_cat, NULL },
    { "substr", 1, op_substr, NULL },
    { "in", 0, op_in, NULL },
    { "merge", 0, op_merge, NULL },
    { "map", 2, NULL, op_map },
    { "filter", 2, NULL, op_filter },
    { "reduce", 2, NULL, op_reduce },
    { "all", 2, NULL, op_all },
    { "some", 2, NULL, op_some },
    { "none", 2, NULL, op_none },
    { "fractional", 0, NULL, op_fractional },
    { "sem_ver", 0, op_sem_ver, NULL },
    { "starts_with", 0, op_starts_with, NULL },
    { "ends_with", 0, op_ends_with, NULL },
};

const struct operator *operator_find(struct span name)
{
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (span_is(name, operators[i].name))
            return &operators[i];
    return NULL;
}
