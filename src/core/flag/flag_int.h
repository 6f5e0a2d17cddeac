/* flag_int: what the files of core/flag share. */
#pragma once
#include "base/number.h"
#include "core/flag/flag.h"

/* why <- text and the place; why has FLAG_WHY_MAX bytes. */
void why_put(char *why, const char *text, int64_t place);

/* ---- rules in running ---- */

struct frame { /* what var and val look into; each loop adds one with its index */
    const struct frame *up;
    const struct fval *value;
    uint32_t index;
};

struct run {
    uint8_t *scratch;
    size_t used;
    int64_t steps;
    int depth;
    struct fval error; /* when something returned false */
    /* of a flag: */
    struct span flag, environment, seed, salt;
    enum flag_bucketing bucketing;
    const struct fval *values;
    struct fval_member own_members[2];
    struct fval own_object;
    bool split; /* a fractional took part */
};

struct rule {
    const struct operator *op; /* NULL: a value, or a list when dynamic */
    bool dynamic; /* the one argument is a rule whose list is the arguments; or a list to make */
    uint32_t n;
    const struct rule *args;
    struct fval value;
};

struct operator {
    const char *name;
    uint8_t min; /* arguments */
    /* one of: */
    bool (*eager)(struct run *r, const struct fval *args, uint32_t n, const struct frame *f,
                  struct fval *out);
    bool (*lazy)(struct run *r, const struct rule *rule, const struct frame *f, struct fval *out);
};
const struct operator *operator_find(struct span name);

bool run_rule(struct run *r, const struct rule *rule, const struct frame *f, struct fval *out);
void *run_alloc(struct run *r, size_t size); /* NULL: the scratch is full, the error is set */
bool run_fail(struct run *r, const char *type);
void run_open(struct run *r, void *scratch);

bool fval_true(const struct fval *v);
bool fval_number(const struct fval *v, double *out);
struct span run_text(struct run *r, const struct fval *v); /* .data NULL: failed */

static inline struct fval fval_bool(bool b)
{
    return (struct fval){ .type = b ? FVAL_TRUE : FVAL_FALSE };
}
static inline struct fval fval_of(struct span s)
{
    return (struct fval){ .type = FVAL_TEXT, .n = (uint32_t)s.len, .text = s.data };
}

/* operator.c and custom.c */
bool op_fractional(struct run *r, const struct rule *rule, const struct frame *f,
                   struct fval *out);
bool op_sem_ver(struct run *r, const struct fval *a, uint32_t n, const struct frame *f,
                struct fval *out);
bool op_starts_with(struct run *r, const struct fval *a, uint32_t n, const struct frame *f,
                    struct fval *out);
bool op_ends_with(struct run *r, const struct fval *a, uint32_t n, const struct frame *f,
                  struct fval *out);
#define EAGER(name)                                                                                \
    bool op_##name(struct run *r, const struct fval *a, uint32_t n, const struct frame *f,         \
                   struct fval *out)
EAGER(add);
EAGER(subtract);
EAGER(multiply);
EAGER(divide);
EAGER(modulo);
EAGER(max);
EAGER(min);
EAGER(cat);
EAGER(substr);
EAGER(in);
EAGER(merge);
EAGER(not );
EAGER(truth);
EAGER(var);
EAGER(val);
EAGER(exists);
EAGER(missing);
EAGER(missing_some);
EAGER(throw);
#define LAZY(name)                                                                                 \
    bool op_##name(struct run *r, const struct rule *rule, const struct frame *f, struct fval *out)
LAZY(if);
LAZY(and);
LAZY(or);
LAZY(coalesce);
LAZY(try);
LAZY(compare_eq);
LAZY(compare_ne);
LAZY(compare_same);
LAZY(compare_differ);
LAZY(compare_lt);
LAZY(compare_le);
LAZY(compare_gt);
LAZY(compare_ge);
LAZY(map);
LAZY(filter);
LAZY(reduce);
LAZY(all);
LAZY(some);
LAZY(none);
