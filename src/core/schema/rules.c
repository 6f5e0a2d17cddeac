/* One schema's keywords, each with its value read and checked. */
#include "base/buf.h"
#include "base/check.h"
#include "core/schema/schema_int.h"

typedef void take(struct compiling *c, struct node *node, struct rule *rule);

static struct node *node_of(struct compiling *c, const struct jdoc *v)
{
    return v->mark ? c->schema->nodes.items[v->mark - 1] : NULL;
}

static bool must_be(struct compiling *c, const struct rule *rule, enum jdoc_type type,
                    const char *what)
{
    if (rule->value->type == type)
        return true;
    schema_wrong(c, rule->value, "%s must be %s", keyword_infos[rule->keyword].text, what);
    return false;
}

/* ---- schemas ---- */

static void take_ref(struct compiling *c, struct node *node, struct rule *rule)
{
    struct span anchor;
    if (!must_be(c, rule, JDOC_STRING, "a reference to a schema, as a string"))
        return;
    struct span text = rule->value->text;
    rule->node = schema_follow(c, node->resource, text, &anchor);
    if (rule->keyword == KEYWORD_DYNAMIC_REF)
        rule->anchor = anchor;
    if (!rule->node)
        schema_wrong(c, rule->value,
                     "the reference \"%.*s\" leads to no schema; those outside of this one are "
                     "not fetched",
                     (int)(text.len < 200 ? text.len : 200), (const char *)text.data);
}

static void take_schema(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    rule->node = node_of(c, rule->value); /* what is no schema was told when it was found */
}

static void take_nodes(struct compiling *c, struct rule *rule)
{
    const struct jdoc *v = rule->value;
    rule->nodes = ARENA_ARRAY(&c->schema->arena, struct node *, v->n);
    for (uint32_t i = 0; i < v->n; i++)
        rule->nodes[i] = node_of(c, &v->items[i]);
}

static void take_schemas(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (!must_be(c, rule, JDOC_ARRAY, "an array of schemas"))
        return;
    if (!rule->value->n)
        schema_wrong(c, rule->value, "%s must not be empty", keyword_infos[rule->keyword].text);
    take_nodes(c, rule);
}

static void take_schema_map(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (must_be(c, rule, JDOC_OBJECT, "an object of schemas"))
        take_nodes(c, rule);
}

static void take_items(struct compiling *c, struct node *node, struct rule *rule)
{
    if (rule->value->type == JDOC_ARRAY)
        take_nodes(c, rule);
    else
        take_schema(c, node, rule);
}

static pcre2_code *compile_pattern(struct compiling *c, const struct jdoc *at, struct span text)
{
    const char *why;
    bool too_large = false;
    pcre2_code *code =
        pattern_compile(text, c->patterns, c->report->arena->alloc, &why, &too_large);
    c->schema->patterns = true;
    if (too_large)
        c->err = ERR_BODY_TOO_LARGE;
    else if (!code)
        schema_wrong(c, at, "the pattern cannot be used: %s", why);
    return code;
}

static void take_pattern(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (must_be(c, rule, JDOC_STRING, "a regular expression, as a string"))
        rule->pattern = compile_pattern(c, rule->value, rule->value->text);
}

static void take_pattern_map(struct compiling *c, struct node *node, struct rule *rule)
{
    const struct jdoc *v = rule->value;
    take_schema_map(c, node, rule);
    if (v->type != JDOC_OBJECT)
        return;
    rule->patterns = ARENA_ARRAY(&c->schema->arena, pcre2_code *, v->n);
    for (uint32_t i = 0; i < v->n && !schema_too_large(c); i++)
        rule->patterns[i] = compile_pattern(c, &v->items[i], v->items[i].name);
}

/* ---- names ---- */

static void check_names(struct compiling *c, const struct jdoc *v)
{
    if (v->type != JDOC_ARRAY) {
        schema_wrong(c, v, "it must be an array of names");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i].type != JDOC_STRING)
            schema_wrong(c, &v->items[i], "a name must be a string");
}

static void take_names(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    check_names(c, rule->value);
}

static void take_names_map(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (!must_be(c, rule, JDOC_OBJECT, "an object of arrays of names"))
        return;
    for (uint32_t i = 0; i < rule->value->n; i++)
        check_names(c, &rule->value->items[i]);
}

static void take_dependencies(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (!must_be(c, rule, JDOC_OBJECT, "an object of schemas or arrays of names"))
        return;
    take_nodes(c, rule);
    for (uint32_t i = 0; i < rule->value->n; i++)
        if (!rule->nodes[i])
            check_names(c, &rule->value->items[i]);
}

static const struct {
    const char *name;
    unsigned bits;
} type_names[] = { { "null", 1u << JDOC_NULL },     { "boolean", 1u << JDOC_BOOL },
                   { "number", 1u << JDOC_NUMBER }, { "string", 1u << JDOC_STRING },
                   { "array", 1u << JDOC_ARRAY },   { "object", 1u << JDOC_OBJECT },
                   { "integer", TYPES_WHOLE } };

static unsigned type_bits(struct compiling *c, const struct jdoc *v)
{
    if (v->type == JDOC_STRING)
        for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
            if (span_is(v->text, type_names[i].name))
                return type_names[i].bits;
    schema_wrong(c, v, "a type is one of null, boolean, number, integer, string, array, object");
    return 0;
}

static void take_types(struct compiling *c, struct node *node, struct rule *rule)
{
    const struct jdoc *v = rule->value;
    (void)node;
    if (v->type == JDOC_ARRAY)
        for (uint32_t i = 0; i < v->n; i++)
            rule->types |= type_bits(c, &v->items[i]);
    else
        rule->types = type_bits(c, v);
}

/* ---- plain values ---- */

static void take_values(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    (void)must_be(c, rule, JDOC_ARRAY, "an array of values");
}

static void take_value(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)c, (void)node, (void)rule;
}

static void take_number(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (must_be(c, rule, JDOC_NUMBER, "a number"))
        rule->number = jdoc_decimal(rule->value->text);
}

static void take_divisor(struct compiling *c, struct node *node, struct rule *rule)
{
    take_number(c, node, rule);
    if (rule->value->type != JDOC_NUMBER)
        return;
    if (rule->number.negative || !rule->number.count)
        schema_wrong(c, rule->value, "multipleOf must be more than 0");
    else if (rule->number.count > JDOC_DIVISOR_DIGITS)
        schema_wrong(c, rule->value, "multipleOf may have up to %d digits here",
                     JDOC_DIVISOR_DIGITS);
}

static void take_count(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    if (must_be(c, rule, JDOC_NUMBER, "a whole number, 0 or more") &&
        !jdoc_decimal_count(jdoc_decimal(rule->value->text), &rule->count))
        schema_wrong(c, rule->value, "%s must be a whole number, 0 or more",
                     keyword_infos[rule->keyword].text);
}

static void take_bool(struct compiling *c, struct node *node, struct rule *rule)
{
    (void)node;
    (void)must_be(c, rule, JDOC_BOOL, "true or false");
}

static void take_format(struct compiling *c, struct node *node, struct rule *rule)
{
    bool asserts = c->options->formats || (node->resource->vocabularies & VOCABULARY_ASSERTION);
    if (must_be(c, rule, JDOC_STRING, "the name of a format"))
        rule->format = asserts ? format_of(rule->value->text) : NULL;
}

static take *const takers[] = { [SHAPE_REF] = take_ref,
                                [SHAPE_SCHEMA] = take_schema,
                                [SHAPE_SCHEMAS] = take_schemas,
                                [SHAPE_SCHEMA_MAP] = take_schema_map,
                                [SHAPE_PATTERN_MAP] = take_pattern_map,
                                [SHAPE_ITEMS] = take_items,
                                [SHAPE_DEPENDENCIES] = take_dependencies,
                                [SHAPE_NAMES_MAP] = take_names_map,
                                [SHAPE_NAMES] = take_names,
                                [SHAPE_TYPES] = take_types,
                                [SHAPE_VALUES] = take_values,
                                [SHAPE_VALUE] = take_value,
                                [SHAPE_NUMBER] = take_number,
                                [SHAPE_DIVISOR] = take_divisor,
                                [SHAPE_COUNT] = take_count,
                                [SHAPE_BOOL] = take_bool,
                                [SHAPE_PATTERN] = take_pattern,
                                [SHAPE_FORMAT] = take_format };

/* Up to draft 07, nothing beside a $ref counts. */
static bool counts(const struct node *node, enum keyword keyword)
{
    return node->resource->draft > DRAFT_07 || keyword == KEYWORD_REF ||
           !jdoc_member(node->value, SPAN("$ref"));
}

void schema_rules(struct compiling *c, struct node *node)
{
    const struct jdoc *v = node->value;
    const struct jdoc *found[KEYWORD_COUNT] = { NULL };
    size_t n = 0;
    if (v->type != JDOC_OBJECT)
        return;
    for (uint32_t i = 0; i < v->n; i++) {
        enum keyword keyword = schema_keyword(v->items[i].name, node->resource);
        if (keyword == KEYWORD_COUNT || !counts(node, keyword))
            continue;
        found[keyword] = &v->items[i];
        n++;
    }
    node->rules = ARENA_ARRAY(&c->schema->arena, struct rule, n);
    for (int k = 0; k < KEYWORD_COUNT && !schema_too_large(c); k++) {
        if (!found[k])
            continue;
        struct rule *rule = &node->rules[node->n++];
        *rule = (struct rule){ .keyword = (enum keyword)k, .value = found[k] };
        takers[keyword_infos[k].shape](c, node, rule);
        node->unevaluated = node->unevaluated || k >= KEYWORD_UNEVALUATED_ITEMS;
    }
}

const struct rule *rule_of(const struct node *node, enum keyword keyword)
{
    for (uint32_t i = 0; i < node->n; i++)
        if (node->rules[i].keyword == keyword)
            return &node->rules[i];
    return NULL;
}
