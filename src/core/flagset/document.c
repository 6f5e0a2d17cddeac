/* An environment's flags as one document in flagd's form. */
#include "core/flagset/flagset_int.h"

/* Weights of a percentage: hundredths of a percent, as core/flag counts them. */
enum { WHOLE = 10000 };

struct writing {
    struct buf *out;
    bool comma;
};

static void name_write(struct writing *w, struct span name)
{
    struct fval text = { .type = FVAL_TEXT, .n = (uint32_t)name.len, .text = name.data };
    if (w->comma)
        buf_u8(w->out, ',');
    fval_write(&text, w->out);
    buf_u8(w->out, ':');
    w->comma = true;
}

static const struct fval_member *member_of(const struct fval *def, const char *name)
{
    for (uint32_t i = def->n; i-- > 0;)
        if (span_is(def->members[i].name, name))
            return &def->members[i];
    return NULL;
}

/* Whether a rule may split by a hash; what a shared one does is not looked at. */
static bool may_split(const struct fval *v)
{
    for (uint32_t i = 0; v->type == FVAL_LIST && i < v->n; i++)
        if (may_split(&v->items[i]))
            return true;
    for (uint32_t i = 0; v->type == FVAL_OBJECT && i < v->n; i++)
        if (span_is(v->members[i].name, "fractional") || span_is(v->members[i].name, "$ref") ||
            may_split(&v->members[i].value))
            return true;
    return false;
}

static bool is_own_hash(const struct fval *bucketing)
{
    if (!bucketing || span_is(fval_span(bucketing), "flagd2"))
        return true;
    const struct fval *how = fval_find(bucketing, SPAN("algorithm"));
    return how && span_is(fval_span(how), "flagd2") && !fval_find(bucketing, SPAN("seed"));
}

static double percentage_of(const struct fval *def)
{
    const struct fval *v = fval_find(def, SPAN("percentage"));
    return v && v->type == FVAL_NUMBER ? v->number : 0;
}

/* Whether flagd's form can say what the flag does. */
static bool can_be_said(const struct fval *def)
{
    const struct fval *needs = fval_find(def, SPAN("prerequisites"));
    const struct fval *targeting = fval_find(def, SPAN("targeting"));
    const struct fval *first = fval_find(def, SPAN("defaultVariant"));
    bool share = percentage_of(def) > 0;
    if (needs && needs->n)
        return false;
    if (share && first && first->type == FVAL_NULL)
        return false; /* a split has no name for nothing */
    return is_own_hash(fval_find(def, SPAN("bucketing"))) ||
           !(share || (targeting && may_split(targeting)));
}

/* ---- targeting ---- */

static void share_write(const struct fval *def, struct buf *out)
{
    static const struct fval off = { .type = FVAL_TEXT, .n = 3, .text = (const uint8_t *)"off" };
    const struct fval *first = fval_find(def, SPAN("defaultVariant"));
    double exact = percentage_of(def) * (WHOLE / 100);
    int weight = (int)exact + (exact > (int)exact);
    if (weight == 0) {
        buf_text(out, "null");
        return;
    }
    buf_format(out, "{\"fractional\":[[\"on\",%d],[", weight);
    fval_write(first ? first : &off, out);
    buf_format(out, ",%d]]}", WHOLE - weight);
}

static void shorthand_write(const struct fval *def, struct buf *out)
{
    const struct fval_member *users = member_of(def, "target_users");
    if (!users) {
        share_write(def, out);
        return;
    }
    buf_text(out, "{\"if\":[{\"in\":[{\"var\":\"targetingKey\"},");
    buf_span(out, users->raw);
    buf_text(out, "]},\"on\",");
    share_write(def, out);
    buf_text(out, "]}");
}

static void bound_write(const struct fval *schedule, const char *name, const char *operation,
                        bool comma, struct buf *out)
{
    const struct fval *at = fval_find(schedule, span_text(name));
    int64_t ms = 0;
    if (!at || !flag_time_read(at, &ms))
        return;
    buf_format(out, "%s{\"%s\":[{\"var\":\"$flagd.timestamp\"},%lld]}", comma ? "," : "", operation,
               (long long)(ms / 1000));
}

/* Outside of a schedule no rule holds; inside, the others do. */
static void targeting_write(const struct fval *def, struct writing *w)
{
    const struct fval *kill = fval_find(def, SPAN("kill"));
    const struct fval *schedule = fval_find(def, SPAN("schedule"));
    const struct fval_member *rule = member_of(def, "targeting");
    bool shorthand = member_of(def, "percentage") || member_of(def, "target_users");
    bool ruled = rule && rule->value.type == FVAL_OBJECT && rule->value.n;
    if ((kill && kill->type == FVAL_TRUE) || !(ruled || shorthand))
        return;
    name_write(w, SPAN("targeting"));
    if (schedule) {
        buf_text(w->out, "{\"if\":[{\"and\":[");
        bound_write(schedule, "from", ">=", false, w->out);
        bound_write(schedule, "until", "<", fval_find(schedule, SPAN("from")) != NULL, w->out);
        buf_text(w->out, "]},");
    }
    if (ruled)
        buf_span(w->out, rule->raw);
    else
        shorthand_write(def, w->out);
    if (schedule)
        buf_text(w->out, ",null]}");
}

/* ---- flags ---- */

static void flag_write(const struct fval *def, struct buf *out)
{
    static const char *const same[] = { "state", "variants", "defaultVariant", "metadata" };
    static const char *const otherwise[] = { "\"ENABLED\"", "{\"on\":true,\"off\":false}",
                                             "\"off\"", NULL };
    bool shorthand = member_of(def, "percentage") || member_of(def, "target_users");
    struct writing w = { out, false };
    buf_u8(out, '{');
    for (int i = 0; i < 4; i++) {
        const struct fval_member *m = member_of(def, same[i]);
        if (!m && (!otherwise[i] || (i > 0 && !shorthand)))
            continue;
        name_write(&w, span_text(same[i]));
        if (m)
            buf_span(out, m->raw);
        else
            buf_text(out, otherwise[i]);
    }
    targeting_write(def, &w);
    buf_u8(out, '}');
}

static void entry_write(struct flagset *s, const struct entry *e, struct writing *w)
{
    struct fval def;
    char why[FLAG_WHY_MAX];
    if (fval_read(flagset_definition(s, e->name), &s->all->spare, &def, why) != ERR_OK ||
        !can_be_said(&def))
        return;
    name_write(w, e->name);
    flag_write(&def, w->out);
}

enum err flagset_document(struct flagset *s, struct span *out)
{
    struct buf *b = &s->document;
    struct writing w = { b, false };
    struct fval id = { .type = FVAL_TEXT,
                       .n = (uint32_t)s->environment.len,
                       .text = s->environment.data };
    *out = buf_all(b);
    if (s->documented)
        return b->len ? ERR_OK : ERR_ANSWER_TOO_LARGE;
    s->documented = true;
    buf_reset(b);
    buf_text(b, "{\"flags\":{");
    for (size_t i = 0; i < s->entries.n && b->len <= FLAGSET_DOCUMENT_MAX; i++)
        if (flagset_sound(s, i))
            entry_write(s, s->entries.items[i], &w);
    buf_text(b, "},\"$evaluators\":");
    fval_write(&s->shared, b);
    buf_text(b, ",\"metadata\":{\"flagSetId\":");
    fval_write(&id, b);
    buf_format(b, ",\"version\":\"%lld\"}}", (long long)kv_revision(s->kv));
    if (b->len > FLAGSET_DOCUMENT_MAX || s->over)
        buf_shrink(b, 0);
    *out = buf_all(b);
    return b->len ? ERR_OK : ERR_ANSWER_TOO_LARGE;
}
