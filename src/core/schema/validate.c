/* Asking a compiled schema about a value. */
#include "base/buf.h"
#include "base/check.h"
#include "core/schema/schema_int.h"

enum { SEEN_NONE = -1 };

/* Which resources we are in, innermost first: what $dynamicRef looks through from the far end. */
struct scope {
    const struct resource *resource;
    const struct scope *outer;
};

struct asking {
    const struct schema *schema;
    struct schema_report *report;
    const struct scope *scope;
    uint64_t steps;
    unsigned depth;
    unsigned quiet; /* above 0: only whether it is valid is asked, not why */
    bool stopped;   /* no steps left: nothing that follows counts */
    /* One bit a child of a value for each schema that is being applied to it and has to know: it
     * has been evaluated. A stack. */
    VEC(uint64_t) seen;
    pcre2_match_data *match;
    pcre2_match_context *match_context;
};

/* One schema at one value. */
struct frame {
    const struct node *node;
    const struct jdoc *value;
    int64_t seen; /* where its bits begin, in words; SEEN_NONE: nobody asks */
    bool ok;
};

typedef void check(struct asking *a, struct frame *f, const struct rule *rule);

static bool ask(struct asking *a, const struct node *node, const struct jdoc *value, int64_t seen);

static bool step(struct asking *a)
{
    a->stopped = a->stopped || ++a->steps > SCHEMA_STEPS_MAX;
    return !a->stopped;
}

/* Whether to look no further: the answer is known, or none will be. */
static bool enough(const struct asking *a, const struct frame *f)
{
    return a->stopped || (!f->ok && a->quiet);
}

/* ---- what is wrong ---- */

static void put_location(const struct asking *a, const struct node *node, const struct jdoc *at,
                         struct buf *out)
{
    const struct jdoc *root = at;
    while (root->parent)
        root = root->parent;
    if (root != a->schema->root) {
        const struct resource *r = node->resource;
        for (size_t i = 0; i < a->schema->resources.n; i++)
            if (a->schema->resources.items[i].resource->root == root)
                r = a->schema->resources.items[i].resource;
        buf_span(out, r->uri);
        buf_u8(out, '#');
    }
    jdoc_pointer(at, out);
}

__attribute__((format(printf, 5, 6))) static void wrong(struct asking *a, struct frame *f,
                                                        const struct jdoc *value,
                                                        const struct jdoc *rule, const char *format,
                                                        ...)
{
    struct schema_report *r = a->report;
    struct buf text[3];
    struct span out[3];
    va_list list;
    f->ok = false;
    if (a->quiet)
        return;
    if (r->n == SCHEMA_ERRORS_MAX) {
        r->more = true;
        return;
    }
    for (int i = 0; i < 3; i++)
        buf_open(&text[i], r->arena->alloc);
    jdoc_pointer(value, &text[0]);
    put_location(a, f->node, rule, &text[1]);
    va_start(list, format);
    buf_vformat(&text[2], format, list);
    va_end(list);
    for (int i = 0; i < 3; i++) {
        out[i] = arena_copy(r->arena, buf_all(&text[i]));
        buf_close(&text[i]);
    }
    r->items[r->n++] = (struct schema_error){ out[0], out[1], out[2] };
}

/* For "%.*s": names and short values. */
#define SHOWN(s) (int)((s).len < 100 ? (s).len : utf8_cut(s, 100)), (const char *)(s).data

/* Not in the middle of a character. */
static size_t utf8_cut(struct span s, size_t n)
{
    while (n && (s.data[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* ---- what has been evaluated ---- */

static size_t seen_words(const struct jdoc *value)
{
    return value->type >= JDOC_ARRAY ? (value->n + 63) / 64 : 0;
}

static int64_t seen_push(struct asking *a, const struct jdoc *value)
{
    size_t n = seen_words(value), at = a->seen.n;
    VEC_RESERVE(&a->seen, a->report->arena->alloc, at + n + 1);
    memset(a->seen.items + at, 0, n * sizeof(uint64_t));
    a->seen.n += n;
    a->steps += n / 16;
    return (int64_t)at;
}

static void seen_add(struct asking *a, const struct frame *f, uint32_t place)
{
    if (f->seen != SEEN_NONE)
        a->seen.items[(size_t)f->seen + place / 64] |= UINT64_C(1) << place % 64;
}

static bool seen_has(const struct asking *a, const struct frame *f, uint32_t place)
{
    return a->seen.items[(size_t)f->seen + place / 64] >> place % 64 & 1;
}

/* Another schema for the same value: what it has seen is seen here too, if the value is valid. */
static bool apply(struct asking *a, struct frame *f, const struct node *node)
{
    if (f->seen == SEEN_NONE)
        return ask(a, node, f->value, SEEN_NONE);
    int64_t own = seen_push(a, f->value);
    bool ok = ask(a, node, f->value, own);
    for (size_t i = 0; ok && i < seen_words(f->value); i++)
        a->seen.items[(size_t)f->seen + i] |= a->seen.items[(size_t)own + i];
    a->seen.n = (size_t)own;
    return ok;
}

/* The same without a word on what is wrong. */
static bool try_quietly(struct asking *a, struct frame *f, const struct node *node)
{
    a->quiet++;
    bool ok = apply(a, f, node);
    a->quiet--;
    return ok;
}

static void must_apply(struct asking *a, struct frame *f, const struct node *node)
{
    if (!apply(a, f, node))
        f->ok = false;
}

/* ---- references ---- */

static void check_ref(struct asking *a, struct frame *f, const struct rule *rule)
{
    must_apply(a, f, rule->node);
}

static const struct anchor *dynamic_anchor(const struct resource *r, struct span name)
{
    for (const struct anchor *x = r->anchors; x; x = x->next)
        if (x->dynamic && span_equal(x->name, name))
            return x;
    return NULL;
}

static void check_dynamic_ref(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct node *target = rule->node;
    for (const struct scope *s = a->scope; rule->anchor.len && s && step(a); s = s->outer) {
        const struct anchor *found = dynamic_anchor(s->resource, rule->anchor);
        target = found ? found->node : target;
    }
    must_apply(a, f, target);
}

static void check_recursive_ref(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct node *target = rule->node;
    if (target->resource->recursive && target->value == target->resource->root)
        for (const struct scope *s = a->scope; s && step(a); s = s->outer)
            if (s->resource->recursive)
                target = a->schema->nodes.items[s->resource->root->mark - 1];
    must_apply(a, f, target);
}

/* ---- any value ---- */

static const char *const type_texts[] = { "null",     "a boolean", "a number",
                                          "a string", "an array",  "an object" };

static void check_type(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct jdoc *v = f->value;
    if (rule->types >> v->type & 1)
        return;
    if (v->type == JDOC_NUMBER && (rule->types & TYPES_WHOLE)) {
        bool written =
            f->node->resource->draft > DRAFT_04 || !memchr(v->text.data, '.', v->text.len);
        if (written && jdoc_decimal_whole(jdoc_decimal(v->text)))
            return;
    }
    const struct jdoc *want = rule->value;
    if (want->type == JDOC_STRING)
        wrong(a, f, v, want, "it must be of type %.*s, and is %s", SHOWN(want->text),
              type_texts[v->type]);
    else
        wrong(a, f, v, want, "it is %s, which is none of the types allowed", type_texts[v->type]);
}

static bool same(struct asking *a, const struct jdoc *x, const struct jdoc *y)
{
    bool equal = step(a) && jdoc_compare(x, y, &a->steps, SCHEMA_STEPS_MAX) == 0;
    return step(a) && equal;
}

static void check_enum(struct asking *a, struct frame *f, const struct rule *rule)
{
    for (uint32_t i = 0; i < rule->value->n; i++)
        if (same(a, f->value, &rule->value->items[i]))
            return;
    wrong(a, f, f->value, rule->value, "it is none of the %u values allowed",
          (unsigned)rule->value->n);
}

static void check_const(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (!same(a, f->value, rule->value))
        wrong(a, f, f->value, rule->value, "it is not the one value allowed");
}

static void check_all_of(struct asking *a, struct frame *f, const struct rule *rule)
{
    for (uint32_t i = 0; i < rule->value->n && !enough(a, f); i++)
        must_apply(a, f, rule->nodes[i]);
}

static void check_any_of(struct asking *a, struct frame *f, const struct rule *rule)
{
    uint32_t n = rule->value->n;
    bool any = false;
    for (uint32_t i = 0; i < n && !a->stopped && (!any || f->seen != SEEN_NONE); i++)
        any = try_quietly(a, f, rule->nodes[i]) || any;
    if (any)
        return;
    wrong(a, f, f->value, rule->value, "it fits none of the %u schemas, one of which it must fit",
          (unsigned)n);
}

static void check_one_of(struct asking *a, struct frame *f, const struct rule *rule)
{
    uint32_t n = rule->value->n, fits = 0;
    for (uint32_t i = 0; i < n && fits < 2 && !a->stopped; i++)
        fits += try_quietly(a, f, rule->nodes[i]);
    if (fits == 0)
        wrong(a, f, f->value, rule->value,
              "it fits none of the %u schemas, exactly one of which it must fit", (unsigned)n);
    else if (fits > 1)
        wrong(a, f, f->value, rule->value,
              "it fits more than one of the %u schemas, exactly one of which it must fit",
              (unsigned)n);
}

static void check_not(struct asking *a, struct frame *f, const struct rule *rule)
{
    a->quiet++;
    bool fits = ask(a, rule->node, f->value, SEEN_NONE);
    a->quiet--;
    if (fits)
        wrong(a, f, f->value, rule->value, "it fits the schema that it must not fit");
}

static void check_if(struct asking *a, struct frame *f, const struct rule *rule)
{
    bool yes = try_quietly(a, f, rule->node);
    const struct rule *then = rule_of(f->node, yes ? KEYWORD_THEN : KEYWORD_ELSE);
    if (then && !a->stopped)
        must_apply(a, f, then->node);
}

/* ---- numbers ---- */

static void check_multiple_of(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type == JDOC_NUMBER &&
        !jdoc_decimal_multiple(jdoc_decimal(f->value->text), rule->number))
        wrong(a, f, f->value, rule->value, "it must be a multiple of %.*s",
              SHOWN(rule->value->text));
}

static bool flag_is_set(const struct node *node, enum keyword keyword)
{
    const struct rule *rule = rule_of(node, keyword);
    return rule && rule->value->truth;
}

static void check_bound(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_NUMBER)
        return;
    enum keyword k = rule->keyword;
    bool low = k == KEYWORD_MINIMUM || k == KEYWORD_EXCLUSIVE_MINIMUM;
    bool strict = k == KEYWORD_EXCLUSIVE_MINIMUM || k == KEYWORD_EXCLUSIVE_MAXIMUM ||
                  (k == KEYWORD_MINIMUM && flag_is_set(f->node, KEYWORD_OVER_MINIMUM)) ||
                  (k == KEYWORD_MAXIMUM && flag_is_set(f->node, KEYWORD_UNDER_MAXIMUM));
    int c = jdoc_decimal_compare(jdoc_decimal(f->value->text), rule->number);
    if (c == 0 ? !strict : low ? c > 0 : c < 0)
        return;
    wrong(a, f, f->value, rule->value, "it must be %s%s %.*s", low ? "more than" : "less than",
          strict ? "" : ", or just,", SHOWN(rule->value->text));
}

/* ---- strings ---- */

static int64_t characters(struct span s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += (s.data[i] & 0xc0) != 0x80;
    return n;
}

/* Lengths, items and properties alike. */
static void check_count(struct asking *a, struct frame *f, const struct rule *rule)
{
    static const struct {
        enum keyword least, most;
        enum jdoc_type type;
        const char *what;
    } kinds[] = {
        { KEYWORD_MIN_LENGTH, KEYWORD_MAX_LENGTH, JDOC_STRING, "characters" },
        { KEYWORD_MIN_ITEMS, KEYWORD_MAX_ITEMS, JDOC_ARRAY, "items" },
        { KEYWORD_MIN_PROPERTIES, KEYWORD_MAX_PROPERTIES, JDOC_OBJECT, "members" },
    };
    const struct jdoc *v = f->value;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        bool least = rule->keyword == kinds[i].least;
        if (v->type != kinds[i].type || (!least && rule->keyword != kinds[i].most))
            continue;
        int64_t n = v->type == JDOC_STRING ? characters(v->text) : (int64_t)v->n;
        if (least ? n < rule->count : n > rule->count)
            wrong(a, f, v, rule->value, "it has %lld %s, and must have at %s %.*s", (long long)n,
                  kinds[i].what, least ? "least" : "most", SHOWN(rule->value->text));
    }
}

static bool matches(struct asking *a, const pcre2_code *pattern, struct span text)
{
    return step(a) &&
           pattern_match(pattern, text, a->match, a->match_context, &a->steps, &a->stopped);
}

static void check_pattern(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type == JDOC_STRING && !matches(a, rule->pattern, f->value->text))
        wrong(a, f, f->value, rule->value, "it does not match %.*s", SHOWN(rule->value->text));
}

static void check_format(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (rule->format && f->value->type == JDOC_STRING && !rule->format(f->value->text))
        wrong(a, f, f->value, rule->value, "it is not of the format %.*s",
              SHOWN(rule->value->text));
}

/* ---- arrays ---- */

/* Merge sort from the bottom up; equal ones end up side by side. */
static void sort_items(struct asking *a, const struct jdoc **from, const struct jdoc **to, size_t n,
                       const struct jdoc ***sorted)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t mid = low + width < n ? low + width : n;
            size_t high = mid + width < n ? mid + width : n, x = low, y = mid;
            for (size_t k = low; k < high; k++) {
                bool left = x < mid && (y >= high || jdoc_compare(from[x], from[y], &a->steps,
                                                                  SCHEMA_STEPS_MAX) <= 0);
                to[k] = left ? from[x++] : from[y++];
            }
        }
        const struct jdoc **other = from;
        from = to;
        to = other;
    }
    *sorted = from;
}

static void check_unique_items(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct jdoc *v = f->value;
    struct alloc *alloc = a->report->arena->alloc;
    size_t size = 2 * sizeof(struct jdoc *) * (v->type == JDOC_ARRAY ? v->n : 0);
    if (v->type != JDOC_ARRAY || v->n < 2 || !rule->value->truth)
        return;
    const struct jdoc **room = mem_alloc(alloc, size), **sorted;
    for (uint32_t i = 0; i < v->n; i++)
        room[i] = &v->items[i];
    sort_items(a, room, room + v->n, v->n, &sorted);
    for (uint32_t i = 1; i < v->n && step(a); i++) {
        if (!same(a, sorted[i - 1], sorted[i]))
            continue;
        wrong(a, f, v, rule->value, "the items %u and %u are the same",
              (unsigned)sorted[i - 1]->place, (unsigned)sorted[i]->place);
        break;
    }
    mem_free(alloc, room, size);
}

static void check_items_with(struct asking *a, struct frame *f, const struct node *node,
                             uint32_t from)
{
    for (uint32_t i = from; i < f->value->n && !enough(a, f); i++) {
        if (!ask(a, node, &f->value->items[i], SEEN_NONE))
            f->ok = false;
        seen_add(a, f, i);
    }
}

/* The first so many, each by a schema of its own. */
static void check_prefix(struct asking *a, struct frame *f, const struct rule *rule)
{
    uint32_t n = rule->value->n < f->value->n ? rule->value->n : f->value->n;
    for (uint32_t i = 0; i < n && !enough(a, f); i++) {
        if (!ask(a, rule->nodes[i], &f->value->items[i], SEEN_NONE))
            f->ok = false;
        seen_add(a, f, i);
    }
}

static void check_prefix_items(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type == JDOC_ARRAY)
        check_prefix(a, f, rule);
}

static void check_items(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct rule *prefix = rule_of(f->node, KEYWORD_PREFIX_ITEMS);
    if (f->value->type == JDOC_ARRAY)
        check_items_with(a, f, rule->node, prefix ? prefix->value->n : 0);
}

static void check_items_old(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_ARRAY)
        return;
    if (rule->value->type == JDOC_ARRAY)
        check_prefix(a, f, rule);
    else
        check_items_with(a, f, rule->node, 0);
}

static void check_additional_items(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct rule *items = rule_of(f->node, KEYWORD_ITEMS_OLD);
    if (f->value->type == JDOC_ARRAY && items && items->value->type == JDOC_ARRAY)
        check_items_with(a, f, rule->node, items->value->n);
}

static void check_contains(struct asking *a, struct frame *f, const struct rule *rule)
{
    const struct rule *least = rule_of(f->node, KEYWORD_MIN_CONTAINS);
    const struct rule *most = rule_of(f->node, KEYWORD_MAX_CONTAINS);
    bool tells = f->node->resource->draft >= DRAFT_2020_12;
    int64_t want = least ? least->count : 1, n = 0;
    if (f->value->type != JDOC_ARRAY)
        return;
    a->quiet++;
    for (uint32_t i = 0; i < f->value->n && !a->stopped; i++) {
        if (!ask(a, rule->node, &f->value->items[i], SEEN_NONE))
            continue;
        n++;
        if (tells)
            seen_add(a, f, i);
    }
    a->quiet--;
    if (n < want)
        wrong(a, f, f->value, least ? least->value : rule->value,
              "%lld of its items fit the schema, and at least %lld must", (long long)n,
              (long long)want);
    if (most && n > most->count)
        wrong(a, f, f->value, most->value, "%lld of its items fit the schema, and at most %lld may",
              (long long)n, (long long)most->count);
}

static void check_unevaluated_items(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_ARRAY || !f->ok)
        return;
    for (uint32_t i = 0; i < f->value->n && !enough(a, f); i++) {
        if (seen_has(a, f, i))
            continue;
        if (!ask(a, rule->node, &f->value->items[i], SEEN_NONE))
            f->ok = false;
        seen_add(a, f, i);
    }
}

/* ---- objects ---- */

static void missing(struct asking *a, struct frame *f, const struct jdoc *names)
{
    for (uint32_t i = 0; i < names->n && !enough(a, f); i++)
        if (step(a) && !jdoc_member(f->value, names->items[i].text))
            wrong(a, f, f->value, &names->items[i], "the member \"%.*s\" is missing",
                  SHOWN(names->items[i].text));
}

static void check_required(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type == JDOC_OBJECT)
        missing(a, f, rule->value);
}

/* dependentRequired, dependentSchemas, and dependencies, which has both. */
static void check_dependent(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_OBJECT)
        return;
    bool names = keyword_infos[rule->keyword].shape == SHAPE_NAMES_MAP;
    for (uint32_t i = 0; i < rule->value->n && !enough(a, f) && step(a); i++) {
        const struct jdoc *item = &rule->value->items[i];
        if (!jdoc_member(f->value, item->name))
            continue;
        if (!names && rule->nodes[i])
            must_apply(a, f, rule->nodes[i]);
        else
            missing(a, f, item);
    }
}

static void ask_member(struct asking *a, struct frame *f, const struct node *node,
                       const struct jdoc *member)
{
    if (!ask(a, node, member, SEEN_NONE))
        f->ok = false;
    seen_add(a, f, member->place);
}

static void check_properties(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_OBJECT)
        return;
    for (uint32_t i = 0; i < rule->value->n && !enough(a, f) && step(a); i++) {
        const struct jdoc *member = jdoc_member(f->value, rule->value->items[i].name);
        if (member)
            ask_member(a, f, rule->nodes[i], member);
    }
}

static void check_pattern_properties(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_OBJECT)
        return;
    for (uint32_t i = 0; i < rule->value->n; i++)
        for (uint32_t k = 0; k < f->value->n && !enough(a, f); k++)
            if (matches(a, rule->patterns[i], f->value->items[k].name))
                ask_member(a, f, rule->nodes[i], &f->value->items[k]);
}

static bool is_named(struct asking *a, const struct node *node, struct span name)
{
    const struct rule *properties = rule_of(node, KEYWORD_PROPERTIES);
    const struct rule *patterns = rule_of(node, KEYWORD_PATTERN_PROPERTIES);
    if (properties && jdoc_member(properties->value, name))
        return true;
    for (uint32_t i = 0; patterns && i < patterns->value->n; i++)
        if (matches(a, patterns->patterns[i], name))
            return true;
    return false;
}

static void check_additional(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_OBJECT)
        return;
    for (uint32_t i = 0; i < f->value->n && !enough(a, f) && step(a); i++)
        if (!is_named(a, f->node, f->value->items[i].name))
            ask_member(a, f, rule->node, &f->value->items[i]);
}

static void check_property_names(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_OBJECT)
        return;
    for (uint32_t i = 0; i < f->value->n && !enough(a, f); i++) {
        const struct jdoc *item = &f->value->items[i];
        struct jdoc name = { .type = JDOC_STRING, .text = item->name };
        a->quiet++;
        bool ok = ask(a, rule->node, &name, SEEN_NONE);
        a->quiet--;
        if (!ok)
            wrong(a, f, item, rule->value, "the name \"%.*s\" is not allowed", SHOWN(item->name));
    }
}

static void check_unevaluated(struct asking *a, struct frame *f, const struct rule *rule)
{
    if (f->value->type != JDOC_OBJECT || !f->ok)
        return;
    for (uint32_t i = 0; i < f->value->n && !enough(a, f); i++)
        if (!seen_has(a, f, i))
            ask_member(a, f, rule->node, &f->value->items[i]);
}

/* ---- a schema ---- */

/* NULL: told by another, or nothing to check. */
static check *const checks[KEYWORD_COUNT] = {
    [KEYWORD_REF] = check_ref,
    [KEYWORD_RECURSIVE_REF] = check_recursive_ref,
    [KEYWORD_DYNAMIC_REF] = check_dynamic_ref,
    [KEYWORD_TYPE] = check_type,
    [KEYWORD_ENUM] = check_enum,
    [KEYWORD_CONST] = check_const,
    [KEYWORD_MULTIPLE_OF] = check_multiple_of,
    [KEYWORD_MINIMUM] = check_bound,
    [KEYWORD_MAXIMUM] = check_bound,
    [KEYWORD_EXCLUSIVE_MINIMUM] = check_bound,
    [KEYWORD_EXCLUSIVE_MAXIMUM] = check_bound,
    [KEYWORD_MIN_LENGTH] = check_count,
    [KEYWORD_MAX_LENGTH] = check_count,
    [KEYWORD_PATTERN] = check_pattern,
    [KEYWORD_FORMAT] = check_format,
    [KEYWORD_MIN_ITEMS] = check_count,
    [KEYWORD_MAX_ITEMS] = check_count,
    [KEYWORD_UNIQUE_ITEMS] = check_unique_items,
    [KEYWORD_MIN_PROPERTIES] = check_count,
    [KEYWORD_MAX_PROPERTIES] = check_count,
    [KEYWORD_REQUIRED] = check_required,
    [KEYWORD_DEPENDENT_REQUIRED] = check_dependent,
    [KEYWORD_PROPERTIES] = check_properties,
    [KEYWORD_PATTERN_PROPERTIES] = check_pattern_properties,
    [KEYWORD_ADDITIONAL_PROPERTIES] = check_additional,
    [KEYWORD_PROPERTY_NAMES] = check_property_names,
    [KEYWORD_DEPENDENCIES] = check_dependent,
    [KEYWORD_DEPENDENT_SCHEMAS] = check_dependent,
    [KEYWORD_PREFIX_ITEMS] = check_prefix_items,
    [KEYWORD_ITEMS] = check_items,
    [KEYWORD_ITEMS_OLD] = check_items_old,
    [KEYWORD_ADDITIONAL_ITEMS] = check_additional_items,
    [KEYWORD_CONTAINS] = check_contains,
    [KEYWORD_ALL_OF] = check_all_of,
    [KEYWORD_ANY_OF] = check_any_of,
    [KEYWORD_ONE_OF] = check_one_of,
    [KEYWORD_NOT] = check_not,
    [KEYWORD_IF] = check_if,
    [KEYWORD_UNEVALUATED_ITEMS] = check_unevaluated_items,
    [KEYWORD_UNEVALUATED_PROPERTIES] = check_unevaluated,
};

static void apply_rules(struct asking *a, struct frame *f)
{
    for (uint32_t i = 0; i < f->node->n && !enough(a, f); i++) {
        const struct rule *rule = &f->node->rules[i];
        check *run = checks[rule->keyword];
        if (run && step(a))
            run(a, f, rule);
    }
}

static bool ask(struct asking *a, const struct node *node, const struct jdoc *value, int64_t seen)
{
    struct frame f = { .node = node, .value = value, .seen = seen, .ok = true };
    struct scope scope = { node->resource, a->scope };
    if (!step(a))
        return false;
    if (a->depth == SCHEMA_DEPTH_MAX) {
        a->stopped = true;
        return false;
    }
    if (node->value->type == JDOC_BOOL) {
        if (!node->value->truth)
            wrong(a, &f, value, node->value, "nothing is allowed here");
        return f.ok;
    }
    a->depth++;
    const struct scope *outer = a->scope;
    if (!outer || outer->resource != node->resource)
        a->scope = &scope;
    size_t mark = a->seen.n;
    if (node->unevaluated && seen == SEEN_NONE)
        f.seen = seen_push(a, value);
    apply_rules(a, &f);
    a->seen.n = mark;
    a->scope = outer;
    a->depth--;
    return f.ok && !a->stopped;
}

enum err schema_validate(const struct schema *s, const struct jdoc *value,
                         struct schema_report *report)
{
    struct asking a = { .schema = s, .report = report, .steps = report->steps };
    struct arena arena;
    const size_t used = 0;
    arena_open(&arena, report->arena->alloc);
    struct pattern_memory memory = { &arena, &used, SCHEMA_MEMORY_MAX };
    if (s->patterns) {
        pcre2_general_context *context = pattern_context(&memory);
        a.match = pcre2_match_data_create(1, context);
        a.match_context = pcre2_match_context_create(context);
        CHECK(a.match && a.match_context);
    }
    bool ok = ask(&a, s->nodes.items[0], value, SEEN_NONE);
    VEC_CLOSE(&a.seen, report->arena->alloc);
    arena_close(&arena);
    report->steps = a.steps;
    return a.stopped ? ERR_SCHEMA_STEPS : ok ? ERR_OK : ERR_SCHEMA_VIOLATED;
}
