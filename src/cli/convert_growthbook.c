/* GrowthBook: what its SDKs take ({"features": {name: {defaultValue, rules}}}). A value is called
 * by its number; the first is the default. */
#include "cli/convert_int.h"

struct values {
    json_t *variants;
    size_t n;
};

/* The name of the variant that is this value. */
static json_t *name_of(struct values *v, json_t *value)
{
    const char *name;
    json_t *one;
    char number[24];
    json_object_foreach(v->variants, name, one)
    {
        if (json_equal(one, value))
            return json_string(name);
    }
    snprintf(number, sizeof(number), "%zu", v->n++);
    json_object_set(v->variants, number, value);
    return json_string(number);
}

static const char *first_of(const json_t *rule, const char *a, const char *b, const char *c)
{
    const char *text = convert_text(rule, a);
    if (!*text && b)
        text = convert_text(rule, b);
    return *text ? text : c;
}

static void begin_split(struct convert *c, const json_t *rule, const char *seed, json_t *entries)
{
    const json_t *version = json_object_get(rule, "hashVersion");
    const char *attribute = convert_text(rule, "hashAttribute");
    bool second = json_is_integer(version) && json_integer_value(version) == 2;
    convert_pin(c, second ? "growthbook2" : "growthbook1", seed, "");
    if (*attribute && strcmp(attribute, "id") != 0)
        json_array_append_new(entries, convert_var(c, attribute, "id"));
    static const char *const others[] = {
        "namespace", "ranges", "range", "filters", "fallbackAttribute", "parentConditions"
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (convert_has(rule, others[i]))
            convert_refuse(c, "a rule has \"%s\"", others[i]);
}

static void add_share(json_t *entries, json_t *name, double weight)
{
    json_array_append_new(entries, json_pack("[o, f]", name, weight));
}

static json_t *forced(struct convert *c, struct values *v, const json_t *rule)
{
    json_t *name = name_of(v, json_object_get(rule, "force")), *entries = json_array();
    const json_t *coverage = json_object_get(rule, "coverage");
    if (!json_is_number(coverage) || json_number_value(coverage) >= 1)
        return json_decref(entries), name;
    begin_split(c, rule, first_of(rule, "seed", NULL, c->name), entries);
    /* There, who is at the edge is inside (n <= coverage); shares here end before it. */
    double edge = json_number_value(coverage) + 1e-9;
    add_share(entries, name, edge);
    add_share(entries, json_null(), 1 - edge);
    return json_pack("{s:o}", "fractional", entries);
}

static json_t *experiment(struct convert *c, struct values *v, const json_t *rule)
{
    json_t *entries = json_array(), *value, *variations = json_object_get(rule, "variations");
    const json_t *weights = json_object_get(rule, "weights");
    size_t i, n = json_array_size(variations);
    double coverage =
        convert_has(rule, "coverage") ? json_number_value(json_object_get(rule, "coverage")) : 1;
    begin_split(c, rule, first_of(rule, "seed", "key", c->name), entries);
    json_array_foreach(variations, i, value)
    {
        double weight = json_array_size(weights) == n
                            ? json_number_value(json_array_get(weights, i))
                            : 1.0 / (double)n;
        add_share(entries, name_of(v, value), weight * coverage);
        if (coverage < 1)
            add_share(entries, json_null(), weight - weight * coverage);
    }
    return json_pack("{s:o}", "fractional", entries);
}

/* ---- conditions, as MongoDB's queries ---- */

static json_t *condition_of(struct convert *c, json_t *condition);

static json_t *operator_of(struct convert *c, const char *op, const char *attribute, json_t *value)
{
    static const struct {
        const char *theirs, *ours;
        bool negate;
    } ops[] = {
        { "$eq", "===", false }, { "$ne", "===", true },  { "$in", "in", false },
        { "$nin", "in", true },  { "$lt", "<", false },   { "$lte", "<=", false },
        { "$gt", ">", false },   { "$gte", ">=", false },
    };
    json_t *left = convert_var(c, attribute, "id");
    if (strcmp(op, "$exists") == 0)
        return json_pack("{s:[o, n]}", json_is_true(value) ? "!==" : "===", left);
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(ops[i].theirs, op) != 0)
            continue;
        json_t *is = json_pack("{s:[{s:[o, O]}, b]}", "try", ops[i].ours, left, value, 0);
        return ops[i].negate ? json_pack("{s:[o]}", "!", is) : is;
    }
    json_decref(left);
    return convert_refuse(c, "the operator \"%s\" is not known here", op);
}

static json_t *attribute_is(struct convert *c, const char *attribute, json_t *value)
{
    json_t *list, *one;
    const char *op;
    if (json_is_array(value))
        return convert_refuse(c, "a condition compares lists");
    if (!json_is_object(value))
        return operator_of(c, "$eq", attribute, value);
    list = json_array();
    json_object_foreach(value, op, one)
    {
        json_array_append_new(list, operator_of(c, op, attribute, one));
    }
    return convert_any("and", list);
}

static json_t *all_of(struct convert *c, json_t *conditions)
{
    json_t *list = json_array(), *one;
    size_t i;
    json_array_foreach(conditions, i, one)
    {
        json_array_append_new(list, condition_of(c, one));
    }
    return list;
}

static json_t *condition_of(struct convert *c, json_t *condition)
{
    json_t *list = json_array(), *value;
    const char *name;
    json_object_foreach(condition, name, value)
    {
        json_t *one;
        if (strcmp(name, "$or") == 0)
            one = json_array_size(value) ? convert_any("or", all_of(c, value)) : json_true();
        else if (strcmp(name, "$nor") == 0)
            one = json_pack("{s:[{s:o}]}", "!", "or", all_of(c, value));
        else if (strcmp(name, "$and") == 0)
            one = json_array_size(value) ? convert_any("and", all_of(c, value)) : json_true();
        else if (strcmp(name, "$not") == 0)
            one = json_pack("{s:[o]}", "!", condition_of(c, value));
        else
            one = attribute_is(c, name, value);
        json_array_append_new(list, one);
    }
    return json_array_size(list) ? convert_any("and", list) : (json_decref(list), json_true());
}

/* ---- features ---- */

static void take_feature(struct convert *c, const char *name, const json_t *f)
{
    struct values v = { json_object(), 0 };
    json_t *chain = json_array(), *rule, *first = json_object_get(f, "defaultValue");
    size_t i;
    c->name = name;
    json_t *first_name = first ? name_of(&v, first) : json_null();
    json_array_foreach(json_object_get(f, "rules"), i, rule)
    {
        json_t *gives = NULL;
        if (convert_has(rule, "force"))
            gives = forced(c, &v, rule);
        else if (convert_has(rule, "variations"))
            gives = experiment(c, &v, rule);
        else
            convert_refuse(c, "a rule neither forces a value nor is an experiment");
        if (convert_has(rule, "condition"))
            gives = json_pack("{s:[o, o?, n]}", "if",
                              condition_of(c, json_object_get(rule, "condition")), gives);
        json_array_append_new(chain, gives);
    }
    json_t *out = json_pack("{s:s, s:o, s:o}", "state", "ENABLED", "variants", v.variants,
                            "defaultVariant", first_name);
    if (json_array_size(chain)) /* the first that gives anything */
        json_object_set_new(out, "targeting", json_pack("{s:O}", "??", chain));
    json_decref(chain);
    convert_done(c, out);
}

void convert_growthbook(struct convert *c)
{
    const char *name;
    json_t *one;
    json_object_foreach(json_object_get(c->file, "features"), name, one)
    {
        take_feature(c, name, one);
    }
}
