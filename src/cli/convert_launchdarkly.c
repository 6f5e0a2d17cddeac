/* LaunchDarkly: the form that its SDKs take ({"flags": {...}, "segments": {...}}): relay and CLI
 * exports. Contexts of kind user alone. A variation is called by its number. */
#include "cli/convert_int.h"

enum { SHARES = 100000 };

static json_t *variant_of(struct convert *c, const json_t *number)
{
    if (!json_is_integer(number))
        return convert_refuse(c, "a rule has no variation");
    return json_sprintf("%lld", (long long)json_integer_value(number));
}

static bool of_users(const json_t *v, const char *member)
{
    const char *kind = convert_text(v, member);
    return !*kind || strcmp(kind, "user") == 0;
}

static json_t *split(struct convert *c, const json_t *flag, const json_t *rollout)
{
    json_t *entries = json_array(), *one, *shares = json_object_get(rollout, "variations");
    const char *by = convert_text(rollout, "bucketBy");
    const json_t *seed = json_object_get(rollout, "seed");
    size_t i, n = json_array_size(shares);
    json_int_t sum = 0;
    char digits[32];
    snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(seed));
    if (!of_users(rollout, "contextKind"))
        convert_refuse(c, "it splits contexts that are not users");
    if (json_is_integer(seed))
        convert_pin(c, "launchdarkly", digits, "");
    else
        convert_pin(c, "launchdarkly", convert_text(flag, "key"), convert_text(flag, "salt"));
    bool by_key = !*by || strcmp(by, "key") == 0;
    if (!by_key)
        json_array_append_new(entries, convert_var(c, by, "key"));
    json_array_foreach(shares, i, one)
    {
        json_int_t weight = json_integer_value(json_object_get(one, "weight"));
        sum += weight;
        if (i + 1 == n && sum < SHARES)
            weight += SHARES - sum; /* the last one gets what is left */
        json_t *name = variant_of(c, json_object_get(one, "variation"));
        json_array_append_new(entries, json_pack("[o?, I]", name, weight));
    }
    if (n == 0)
        convert_refuse(c, "a rollout has no variations");
    json_t *fractional = json_pack("{s:o}", "fractional", entries);
    if (by_key || n == 0)
        return fractional;
    json_t *first = variant_of(c, json_object_get(json_array_get(shares, 0), "variation"));
    /* Who does not have the attribute is in the first share. */
    return json_pack("{s:[{s:[s]}, o, o?]}", "if", "exists", by, fractional, first);
}

static json_t *served(struct convert *c, const json_t *flag, const json_t *v)
{
    if (convert_has(v, "rollout"))
        return split(c, flag, json_object_get(v, "rollout"));
    return variant_of(c, json_object_get(v, "variation"));
}

/* ---- clauses ---- */

static json_t *compare(struct convert *c, const char *op, const json_t *value)
{
    static const struct {
        const char *theirs, *ours, *how; /* how: of sem_ver */
    } ops[] = {
        { "in", "===", NULL },
        { "startsWith", "starts_with", NULL },
        { "endsWith", "ends_with", NULL },
        { "lessThan", "<", NULL },
        { "lessThanOrEqual", "<=", NULL },
        { "greaterThan", ">", NULL },
        { "greaterThanOrEqual", ">=", NULL },
        { "semVerEqual", "sem_ver", "=" },
        { "semVerLessThan", "sem_ver", "<" },
        { "semVerGreaterThan", "sem_ver", ">" },
    };
    json_t *one = (json_t *)(uintptr_t)value;
    if (strcmp(op, "contains") == 0)
        return json_pack("{s:[O, {s:s}]}", "in", one, "var", "");
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(ops[i].theirs, op) != 0)
            continue;
        if (ops[i].how)
            return json_pack("{s:[{s:s}, s, O]}", ops[i].ours, "var", "", ops[i].how, one);
        /* What cannot be compared does not match. */
        return json_pack("{s:[{s:[{s:s}, O]}, b]}", "try", ops[i].ours, "var", "", one, 0);
    }
    return convert_refuse(c, "the operation \"%s\" is not known here", op);
}

static json_t *segments(struct convert *c, const json_t *clause)
{
    json_t *list = json_array(), *name;
    size_t i;
    json_array_foreach(json_object_get(clause, "values"), i, name)
    {
        const char *text = json_string_value(name);
        if (!text || !json_object_get(c->shared, text))
            convert_refuse(c, "the segment \"%s\" could not be taken over", text ? text : "?");
        json_array_append_new(list, json_pack("{s:O}", "$ref", name));
    }
    return convert_any("or", list);
}

/* The attribute as a list, for one that is a list matches when one of its items does. What is not
 * there never does, negated or not. */
static json_t *items_of(struct convert *c, const char *attribute)
{
    return json_pack("{s:[{s:[o]}, {s:[{s:s}, n]}]}", "filter", "merge",
                     convert_var(c, attribute, "key"), "!==", "var", "");
}

static json_t *clause_of(struct convert *c, const json_t *clause)
{
    const char *attribute = convert_text(clause, "attribute"), *op = convert_text(clause, "op");
    bool negate = json_is_true(json_object_get(clause, "negate"));
    json_t *list = json_array(), *value;
    size_t i;
    if (!of_users(clause, "contextKind"))
        convert_refuse(c, "a clause is of contexts that are not users");
    if (strcmp(op, "segmentMatch") == 0) {
        json_decref(list);
        json_t *any = segments(c, clause);
        return negate ? json_pack("{s:[o]}", "!", any) : any;
    }
    json_array_foreach(json_object_get(clause, "values"), i, value)
    {
        json_array_append_new(list, compare(c, op, value));
    }
    json_t *some = json_pack("{s:[o, o]}", "some", items_of(c, attribute), convert_any("or", list));
    if (!negate)
        return some;
    return json_pack("{s:[{s:[o, b]}, {s:[o]}]}", "and", "some", items_of(c, attribute), 1, "!",
                     some);
}

static json_t *clauses_of(struct convert *c, const json_t *rule)
{
    json_t *list = json_array(), *one;
    size_t i;
    json_array_foreach(json_object_get(rule, "clauses"), i, one)
    {
        json_array_append_new(list, clause_of(c, one));
    }
    return json_array_size(list) ? convert_any("and", list) : (json_decref(list), json_true());
}

static json_t *is_one_of(json_t *list)
{
    json_t *own = list ? json_incref(list) : json_array();
    return json_pack("{s:[{s:s}, o]}", "in", "var", "targetingKey", own);
}

static void take_segment(struct convert *c, const char *name, const json_t *s)
{
    json_t *list = json_array(), *rule;
    size_t i;
    c->name = name;
    if (json_is_true(json_object_get(s, "unbounded")) ||
        json_array_size(json_object_get(s, "includedContexts")) ||
        json_array_size(json_object_get(s, "excludedContexts")))
        convert_refuse(c, "it is kept elsewhere, or not of users");
    json_array_foreach(json_object_get(s, "rules"), i, rule)
    {
        if (convert_has(rule, "weight"))
            convert_refuse(c, "a segment's rule has a share");
        json_array_append_new(list, clauses_of(c, rule));
    }
    json_t *rules = json_array_size(list) ? convert_any("or", list) : (json_decref(list), NULL);
    json_t *made = json_pack(
        "{s:[o, {s:[{s:[o]}, o]}]}", "or", is_one_of(json_object_get(s, "included")), "and", "!",
        is_one_of(json_object_get(s, "excluded")), rules ? rules : json_false());
    if (!c->refused)
        json_object_set(c->shared, name, made);
    json_decref(made);
    c->left_out += c->refused;
    c->refused = false;
}

/* ---- flags ---- */

static void needs_of(struct convert *c, const json_t *flag, json_t *out)
{
    json_t *list = json_array(), *one;
    size_t i;
    json_array_foreach(json_object_get(flag, "prerequisites"), i, one)
    {
        const char *key = convert_text(one, "key");
        const json_t *other = json_object_get(json_object_get(c->file, "flags"), key);
        const json_t *wanted = json_object_get(one, "variation");
        if (!json_is_true(json_object_get(other, "on")) &&
            json_equal(json_object_get(other, "offVariation"), wanted))
            convert_refuse(c, "its prerequisite %s is off, and gives what is asked for", key);
        json_array_append_new(
            list, json_pack("{s:s, s:o?}", "flag", key, "variant", variant_of(c, wanted)));
    }
    if (json_array_size(list))
        json_object_set(out, "prerequisites", list);
    json_decref(list);
}

static json_t *targeting_of(struct convert *c, const json_t *flag)
{
    static const char *const lists[] = { "targets", "contextTargets" };
    json_t *chain = json_array(), *one;
    size_t i;
    for (int k = 0; k < 2; k++)
        json_array_foreach(json_object_get(flag, lists[k]), i, one)
        {
            json_t *values = json_object_get(one, "values");
            if (!json_array_size(values))
                continue; /* the same stands in targets */
            if (!of_users(one, "contextKind"))
                convert_refuse(c, "it targets contexts that are not users");
            json_array_append_new(chain, is_one_of(values));
            json_array_append_new(chain, variant_of(c, json_object_get(one, "variation")));
        }
    json_array_foreach(json_object_get(flag, "rules"), i, one)
    {
        json_array_append_new(chain, clauses_of(c, one));
        json_array_append_new(chain, served(c, flag, one));
    }
    json_array_append_new(chain, served(c, flag, json_object_get(flag, "fallthrough")));
    return json_pack("{s:o}", "if", chain);
}

static void take_flag(struct convert *c, const char *name, const json_t *flag)
{
    json_t *out = json_object(), *variants = json_object(), *value;
    size_t i;
    c->name = name;
    json_array_foreach(json_object_get(flag, "variations"), i, value)
    {
        char number[24];
        snprintf(number, sizeof(number), "%zu", i);
        json_object_set(variants, number, value);
    }
    json_object_set_new(out, "state", json_string("ENABLED"));
    json_object_set_new(out, "variants", variants);
    json_object_set_new(out, "defaultVariant",
                        convert_has(flag, "offVariation")
                            ? variant_of(c, json_object_get(flag, "offVariation"))
                            : json_null());
    needs_of(c, flag, out);
    json_object_set_new(out, "targeting", targeting_of(c, flag));
    if (!json_is_true(json_object_get(flag, "on")))
        json_object_set_new(out, "kill", json_true());
    convert_done(c, out);
}

void convert_launchdarkly(struct convert *c)
{
    const char *name;
    json_t *one;
    json_object_foreach(json_object_get(c->file, "segments"), name, one)
    {
        take_segment(c, name, one);
    }
    json_object_foreach(json_object_get(c->file, "flags"), name, one)
    {
        take_flag(c, name, one);
    }
}
