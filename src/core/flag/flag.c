/* One flag: from its definition to something that answers. */
#include "core/flag/flag_int.h"
#include "base/check.h"
#include <stdarg.h>
#include <stdio.h>

struct variant {
    struct span name, value;
};

struct need { /* a prerequisite */
    struct span flag, variant;
};

struct flag {
    struct span name, metadata, seed, salt;
    const struct variant *variants;
    uint32_t n_variants;
    int first; /* variant to give without a rule; -1: the caller's own */
    bool disabled, killed, shorthand;
    const struct rule *rule; /* NULL: none */
    enum flag_bucketing bucketing;
    double percentage;
    const struct fval *users; /* target_users, a list of texts */
    const struct need *needs;
    uint32_t n_needs;
    int64_t from_ms, until_ms;
};

void why_put(char *why, const char *text, int64_t place)
{
    if (place < 0)
        snprintf(why, FLAG_WHY_MAX, "%s", text);
    else
        snprintf(why, FLAG_WHY_MAX, "%s, at byte %lld", text, (long long)place);
}

struct span flag_name(const struct flag *flag)
{
    return flag->name;
}

const char *flag_reason_text(enum flag_reason r)
{
    static const char *const texts[] = { "STATIC", "DEFAULT",  "TARGETING_MATCH",
                                         "SPLIT",  "DISABLED", "ERROR" };
    return texts[r];
}

const char *flag_error_text(enum flag_error e)
{
    static const char *const texts[] = { "", "PARSE_ERROR", "GENERAL", "TARGETING_KEY_MISSING" };
    return texts[e];
}

/* ---- compiling ---- */

struct making {
    struct flag *flag;
    struct arena *arena;
    const struct fval *shared;
    char *why;
};

static enum err refuse(struct making *m, const char *text)
{
    why_put(m->why, text, -1);
    return ERR_FLAG_INVALID;
}

static int find_variant(const struct flag *f, struct span name)
{
    for (uint32_t i = 0; i < f->n_variants; i++)
        if (span_equal(f->variants[i].name, name))
            return (int)i;
    return -1;
}

static enum err take_state(struct making *m, const struct fval_member *v)
{
    struct span state = fval_span(&v->value);
    m->flag->disabled = span_is(state, "DISABLED");
    if (!m->flag->disabled && !span_is(state, "ENABLED"))
        return refuse(m, "/state: must be ENABLED or DISABLED");
    return ERR_OK;
}

static enum err take_variants(struct making *m, const struct fval_member *v)
{
    if (v->value.type != FVAL_OBJECT || !v->value.n)
        return refuse(m, "/variants: must be an object of at least one variant");
    struct variant *list = ARENA_ARRAY(m->arena, struct variant, v->value.n);
    for (uint32_t i = 0; i < v->value.n; i++) {
        const struct fval_member *one = &v->value.members[i];
        unsigned type = one->value.type == FVAL_FALSE ? FVAL_TRUE : one->value.type;
        unsigned first = v->value.members[0].value.type;
        first = first == FVAL_FALSE ? FVAL_TRUE : first;
        if (type == FVAL_NULL || type != first)
            return refuse(m, "/variants: all must be of one type, and none null");
        list[i] = (struct variant){ one->name, one->raw };
    }
    m->flag->variants = list;
    m->flag->n_variants = v->value.n;
    return ERR_OK;
}

static enum err take_targeting(struct making *m, const struct fval_member *v)
{
    if (v->value.type != FVAL_OBJECT)
        return refuse(m, "/targeting: must be an object");
    if (!v->value.n)
        return ERR_OK;
    char why[FLAG_WHY_MAX];
    enum err e = rule_compile(&v->value, m->shared, m->arena, &m->flag->rule, why);
    if (e != ERR_OK)
        snprintf(m->why, FLAG_WHY_MAX, "/targeting%.*s", FLAG_WHY_MAX - 16, why);
    return e;
}

static enum err take_metadata(struct making *m, const struct fval_member *v)
{
    if (v->value.type != FVAL_OBJECT)
        return refuse(m, "/metadata: must be an object");
    for (uint32_t i = 0; i < v->value.n; i++)
        if (v->value.members[i].value.type > FVAL_TEXT ||
            v->value.members[i].value.type == FVAL_NULL)
            return refuse(m, "/metadata: texts, numbers and booleans alone");
    m->flag->metadata = v->raw;
    return ERR_OK;
}

static enum err take_bucketing(struct making *m, const struct fval_member *v)
{
    static const char *const names[] = {
#define BUCKETING(NAME, name, text) name,
#include "core/flag/bucketing.def"
#undef BUCKETING
    };
    const struct fval *how = &v->value;
    if (how->type == FVAL_OBJECT) {
        const struct fval *seed = fval_find(how, SPAN("seed"));
        const struct fval *salt = fval_find(how, SPAN("salt"));
        if (seed && seed->type == FVAL_TEXT)
            m->flag->seed = fval_span(seed);
        if (salt && salt->type == FVAL_TEXT)
            m->flag->salt = fval_span(salt);
        how = fval_find(how, SPAN("algorithm"));
    }
    for (int i = 0; how && i < BUCKETING_COUNT; i++)
        if (span_is(fval_span(how), names[i])) {
            m->flag->bucketing = (enum flag_bucketing)i;
            return ERR_OK;
        }
    return refuse(m, "/bucketing: flagd2, flagd1, unleash, unleash-variant, launchdarkly, "
                     "growthbook1, growthbook2, goff or flipt");
}

static enum err take_percentage(struct making *m, const struct fval_member *v)
{
    if (v->value.type != FVAL_NUMBER || v->value.number < 0 || v->value.number > 100)
        return refuse(m, "/percentage: must be a number from 0 to 100");
    m->flag->percentage = v->value.number;
    m->flag->shorthand = true;
    return ERR_OK;
}

static enum err take_users(struct making *m, const struct fval_member *v)
{
    if (v->value.type != FVAL_LIST)
        return refuse(m, "/target_users: must be a list of targeting keys");
    for (uint32_t i = 0; i < v->value.n; i++)
        if (v->value.items[i].type != FVAL_TEXT)
            return refuse(m, "/target_users: must be a list of targeting keys");
    m->flag->users = &v->value;
    m->flag->shorthand = true;
    return ERR_OK;
}

static enum err take_kill(struct making *m, const struct fval_member *v)
{
    m->flag->killed = v->value.type == FVAL_TRUE;
    if (v->value.type != FVAL_TRUE && v->value.type != FVAL_FALSE)
        return refuse(m, "/kill: must be true or false");
    return ERR_OK;
}

static enum err take_needs(struct making *m, const struct fval_member *v)
{
    const char *wrong = "/prerequisites: must be a list of {\"flag\": name, \"variant\": name}";
    if (v->value.type != FVAL_LIST)
        return refuse(m, wrong);
    struct need *needs = ARENA_ARRAY(m->arena, struct need, v->value.n + 1);
    for (uint32_t i = 0; i < v->value.n; i++) {
        const struct fval *flag = fval_find(&v->value.items[i], SPAN("flag"));
        const struct fval *variant = fval_find(&v->value.items[i], SPAN("variant"));
        if (!flag || !variant || flag->type != FVAL_TEXT || variant->type != FVAL_TEXT)
            return refuse(m, wrong);
        needs[i] = (struct need){ fval_span(flag), fval_span(variant) };
    }
    m->flag->needs = needs;
    m->flag->n_needs = v->value.n;
    return ERR_OK;
}

/* "2026-11-21T12:00:00Z", by the calendar's own rule for days since 1970. */
bool flag_time_read(const struct fval *v, int64_t *out)
{
    int y, mo, d, h, mi, s, n = 0;
    char text[32];
    struct span t = fval_span(v);
    if (t.len != 20)
        return false;
    memcpy(text, t.data, 20);
    text[20] = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &y, &mo, &d, &h, &mi, &s, &n) != 6 || n != 20 ||
        y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 || mi > 59 ||
        s < 0 || s > 60)
        return false;
    int64_t year = mo <= 2 ? y - 1 : y, era = year / 400, of_era = year - era * 400;
    int64_t day = (153 * (mo + (mo > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719468;
    *out = (((days * 24 + h) * 60 + mi) * 60 + s) * 1000;
    return true;
}

static enum err take_schedule(struct making *m, const struct fval_member *v)
{
    const struct fval *from = fval_find(&v->value, SPAN("from"));
    const struct fval *until = fval_find(&v->value, SPAN("until"));
    if (v->value.type != FVAL_OBJECT || (!from && !until) ||
        (from && !flag_time_read(from, &m->flag->from_ms)) ||
        (until && !flag_time_read(until, &m->flag->until_ms)))
        return refuse(m, "/schedule: from and until, as \"2030-01-31T12:00:00Z\"");
    return ERR_OK;
}

static enum err take_nothing(struct making *m, const struct fval_member *v)
{
    (void)m, (void)v;
    return ERR_OK;
}

static const struct {
    const char *name;
    enum err (*take)(struct making *m, const struct fval_member *v);
} members[] = {
    { "state", take_state },           { "variants", take_variants },
    { "defaultVariant", take_nothing }, /* when all variants are known */
    { "targeting", take_targeting },   { "metadata", take_metadata },
    { "bucketing", take_bucketing },   { "percentage", take_percentage },
    { "target_users", take_users },    { "kill", take_kill },
    { "prerequisites", take_needs },   { "schedule", take_schedule },
    { "description", take_nothing },
};

static enum err take_member(struct making *m, const struct fval_member *v)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (span_is(v->name, members[i].name))
            return members[i].take(m, v);
    snprintf(m->why, FLAG_WHY_MAX, "/%.*s: a flag has no such member",
             (int)(v->name.len < 80 ? v->name.len : 80), (const char *)v->name.data);
    return ERR_FLAG_INVALID;
}

static enum err finish(struct making *m, const struct fval *def)
{
    static const struct variant on_off[] = { { SPAN("on"), SPAN("true") },
                                             { SPAN("off"), SPAN("false") } };
    struct flag *f = m->flag;
    const struct fval *first = fval_find(def, SPAN("defaultVariant"));
    if (f->shorthand && !f->n_variants) {
        f->variants = on_off;
        f->n_variants = 2;
    }
    if (!f->n_variants)
        return refuse(m, "/variants: is missing");
    if (f->shorthand && f->rule)
        return refuse(m, "/targeting: not together with percentage or target_users");
    if (f->shorthand && find_variant(f, SPAN("on")) < 0)
        return refuse(m, "/variants: percentage and target_users need a variant \"on\"");
    if (first && first->type != FVAL_NULL && first->type != FVAL_TEXT)
        return refuse(m, "/defaultVariant: must be a variant's name, or null");
    struct span name = first ? fval_span(first) : f->shorthand ? SPAN("off") : SPAN_NONE;
    f->first = find_variant(f, name);
    if (f->first < 0 && first && first->type == FVAL_TEXT)
        return refuse(m, "/defaultVariant: there is no variant of this name");
    return ERR_OK;
}

enum err flag_compile(struct span name, struct span json, const struct fval *shared,
                      struct arena *arena, const struct flag **out, char *why)
{
    struct fval *def = ARENA_NEW(arena, struct fval);
    struct flag *f = ARENA_NEW(arena, struct flag);
    struct making m = { f, arena, shared, why };
    enum err e = fval_read(json, arena, def, why);
    f->name = f->seed = name;
    *out = f;
    if (e != ERR_OK)
        return e;
    if (def->type != FVAL_OBJECT)
        return refuse(&m, ": a flag is an object");
    for (uint32_t i = 0; e == ERR_OK && i < def->n; i++)
        e = take_member(&m, &def->members[i]);
    return e == ERR_OK ? finish(&m, def) : e;
}

/* ---- evaluating ---- */

__attribute__((format(printf, 2, 3))) static void tell(const struct flag_context *c,
                                                       const char *format, ...)
{
    if (!c->explain)
        return;
    char line[256];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    buf_text(c->explain, line);
    buf_u8(c->explain, '\n');
}

static void give(const struct flag *f, int variant, enum flag_reason reason,
                 struct flag_result *out)
{
    *out = (struct flag_result){ .reason = reason, .metadata = f->metadata };
    if (variant < 0)
        return;
    out->variant = f->variants[variant].name;
    out->value = f->variants[variant].value;
}

static void fail(const struct flag *f, enum flag_error e, const char *detail,
                 struct flag_result *out)
{
    give(f, -1, FLAG_FAILED, out);
    out->error = e;
    out->detail = detail;
}

static void open_run(struct run *r, const struct flag *f, const struct flag_context *c)
{
    run_open(r, c->scratch);
    r->flag = f->name.data ? f->name : SPAN("");
    r->seed = f->seed;
    r->salt = f->salt;
    r->bucketing = f->bucketing;
    r->values = c->values;
    r->own_members[0] = (struct fval_member){ SPAN("flagKey"), SPAN_NONE, fval_of(f->name) };
    r->own_members[1] = (struct fval_member){
        SPAN("timestamp"), SPAN_NONE, { .type = FVAL_NUMBER, .number = (double)(c->now_ms / 1000) }
    };
    r->own_object = (struct fval){ .type = FVAL_OBJECT, .n = 2, .members = r->own_members };
}

/* As many steps as a rule may take, of those that are left to all. */
static bool run_within(struct run *r, const struct flag *f, const struct flag_context *c,
                       const struct frame *top, struct fval *out)
{
    int64_t have = c->steps && *c->steps < FLAG_STEPS_MAX ? *c->steps : FLAG_STEPS_MAX;
    r->steps = have;
    bool ok = run_rule(r, f->rule, top, out);
    if (c->steps)
        *c->steps -= have - (r->steps < 0 ? 0 : r->steps);
    return ok;
}

static void by_rule(const struct flag *f, const struct flag_context *c, struct flag_result *out)
{
    static const struct fval nothing = { .type = FVAL_OBJECT };
    struct run r;
    struct fval v;
    open_run(&r, f, c);
    struct frame top = { NULL, c->values ? c->values : &nothing, 0 };
    if (!run_within(&r, f, c, &top, &v)) {
        tell(c, "the rule failed");
        fail(f, FLAG_GENERAL, "the targeting rule failed", out);
        return;
    }
    if (v.type == FVAL_NULL) {
        tell(c, "the rule chose nothing: the default variant");
        give(f, f->first, FLAG_DEFAULT, out);
        return;
    }
    struct span name = v.type == FVAL_TRUE    ? SPAN("true")
                       : v.type == FVAL_FALSE ? SPAN("false")
                                              : fval_span(&v);
    int variant = find_variant(f, name);
    tell(c, "the rule chose \"%.*s\"%s", (int)(name.len < 100 ? name.len : 100),
         (const char *)name.data, r.split ? ", by a split" : "");
    if (variant < 0)
        fail(f, FLAG_GENERAL, "the targeting rule chose a variant that the flag does not have",
             out);
    else
        give(f, variant, FLAG_TARGETED, out);
}

static void by_shorthand(const struct flag *f, const struct flag_context *c,
                         struct flag_result *out)
{
    const struct fval *key = fval_find(c->values, SPAN("targetingKey"));
    struct span user = key ? fval_span(key) : SPAN_NONE;
    int on = find_variant(f, SPAN("on"));
    for (uint32_t i = 0; user.len && f->users && i < f->users->n; i++)
        if (span_equal(fval_span(&f->users->items[i]), user)) {
            tell(c, "the targeting key is one of target_users");
            give(f, on, FLAG_TARGETED, out);
            return;
        }
    if (f->percentage > 0 && !user.len) {
        fail(f, FLAG_NO_TARGETING_KEY, "a percentage needs a targetingKey", out);
        return;
    }
    /* In hundredths of a percent: flagd's hash needs a whole total. */
    double at = flag_bucket(f->bucketing, f->seed, f->salt, user, 10000);
    bool in = f->percentage > 0 && at < f->percentage * 100;
    if (f->percentage > 0)
        tell(c, "bucket %g of 10000, below %g is on", at, f->percentage * 100);
    give(f, in ? on : f->first, f->percentage > 0 ? FLAG_SPLIT : FLAG_DEFAULT, out);
}

static void evaluate(const struct flag *f, const struct flag_context *c, int depth,
                     struct flag_result *out);

/* False: *out is the answer. */
static bool needs_met(const struct flag *f, const struct flag_context *c, int depth,
                      struct flag_result *out)
{
    if (f->n_needs && depth >= FLAG_CHAIN_MAX) {
        fail(f, FLAG_GENERAL, "prerequisites are nested too deep, or in a circle", out);
        return false;
    }
    for (uint32_t i = 0; i < f->n_needs; i++) {
        const struct need *need = &f->needs[i];
        const struct flag *other = c->find ? c->find(c->user, need->flag) : NULL;
        struct flag_result theirs = { .reason = FLAG_FAILED };
        if (other)
            evaluate(other, c, depth + 1, &theirs);
        if (other && theirs.reason == FLAG_FAILED) {
            fail(f, theirs.error, "a prerequisite failed", out);
            return false;
        }
        if (!other || !span_equal(theirs.variant, need->variant)) {
            tell(c, "the prerequisite %.*s is not met", (int)need->flag.len,
                 (const char *)need->flag.data);
            give(f, f->first, FLAG_DEFAULT, out);
            return false;
        }
    }
    return true;
}

static void evaluate(const struct flag *f, const struct flag_context *c, int depth,
                     struct flag_result *out)
{
    if (f->disabled) {
        tell(c, "the flag is disabled: the caller's own default holds");
        give(f, -1, FLAG_DISABLED, out);
    } else if (f->killed) {
        tell(c, "the kill switch is on: the default variant");
        give(f, f->first, FLAG_DISABLED, out);
    } else if (c->now_ms < f->from_ms || (f->until_ms && c->now_ms >= f->until_ms)) {
        tell(c, "outside of the schedule: the default variant");
        give(f, f->first, FLAG_DEFAULT, out);
    } else if (!needs_met(f, c, depth, out)) {
        return;
    } else if (f->rule) {
        by_rule(f, c, out);
    } else if (f->shorthand) {
        by_shorthand(f, c, out);
    } else {
        tell(c, "there is no rule: the default variant");
        bool rules = f->n_needs || f->from_ms || f->until_ms || f->first < 0;
        give(f, f->first, rules ? FLAG_DEFAULT : FLAG_STATIC, out);
    }
}

void flag_evaluate(const struct flag *flag, const struct flag_context *context,
                   struct flag_result *out)
{
    CHECK(context->scratch);
    evaluate(flag, context, 0, out);
}
