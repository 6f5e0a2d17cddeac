/* Unleash: what its client API and its export have ({"features": [...], "segments": [...]}). A
 * feature is on or off; those with variants of their own are left out, for they hash twice. */
#include <stdlib.h>
#include "cli/convert_int.h"

static json_t *attribute_of(struct convert *c, const char *name)
{
    return convert_var(c, name, "userId");
}

/* What a rollout sticks to; the default is the user. */
static void add_sticky(struct convert *c, const char *name, json_t *entries)
{
    if (strcmp(name, "random") == 0)
        convert_refuse(c, "it gives random answers");
    else if (*name && strcmp(name, "default") != 0 && strcmp(name, "userId") != 0)
        json_array_append_new(entries, attribute_of(c, name));
}

static double number_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return json_is_string(v) ? strtod(json_string_value(v), NULL) : json_number_value(v);
}

static json_t *rollout_of(struct convert *c, const json_t *p, const char *share, const char *sticky)
{
    const char *group = convert_text(p, "groupId");
    int percent = (int)number_of(p, share); /* users fall on whole ones */
    json_t *entries = json_array();
    if (percent >= 100)
        return json_decref(entries), json_true();
    convert_pin(c, "unleash", *group ? group : c->name, "");
    add_sticky(c, sticky, entries);
    json_array_append_new(entries, json_pack("[b, i]", 1, percent));
    json_array_append_new(entries, json_pack("[b, i]", 0, 100 - percent));
    return json_pack("{s:o}", "fractional", entries);
}

/* "a, b ,c" */
static json_t *words_of(const char *text)
{
    json_t *list = json_array();
    while (*text) {
        size_t n = strcspn(text, ","), skip = strspn(text, " "), len;
        for (len = n; len > skip && text[len - 1] == ' ';)
            len--;
        if (len > skip)
            json_array_append_new(list, json_stringn(text + skip, len - skip));
        text += n + (text[n] == ',');
    }
    return list;
}

static json_t *strategy_itself(struct convert *c, const json_t *s)
{
    const char *name = convert_text(s, "name");
    const json_t *p = json_object_get(s, "parameters");
    if (strcmp(name, "default") == 0)
        return json_true();
    if (strcmp(name, "flexibleRollout") == 0)
        return rollout_of(c, p, "rollout", convert_text(p, "stickiness"));
    if (strcmp(name, "gradualRolloutUserId") == 0)
        return rollout_of(c, p, "percentage", "userId");
    if (strcmp(name, "gradualRolloutSessionId") == 0)
        return rollout_of(c, p, "percentage", "sessionId");
    if (strcmp(name, "userWithId") == 0)
        return json_pack("{s:[o, o]}", "in", attribute_of(c, "userId"),
                         words_of(convert_text(p, "userIds")));
    return convert_refuse(c, "the strategy \"%s\" is not known here", name);
}

/* ---- constraints ---- */

static json_t *one_value(struct convert *c, const char *op, json_t *left, json_t *value)
{
    static const struct {
        const char *theirs, *ours, *how;
    } ops[] = {
        { "STR_STARTS_WITH", "starts_with", NULL },
        { "STR_ENDS_WITH", "ends_with", NULL },
        { "NUM_EQ", "==", NULL },
        { "NUM_GT", ">", NULL },
        { "NUM_GTE", ">=", NULL },
        { "NUM_LT", "<", NULL },
        { "NUM_LTE", "<=", NULL },
        { "SEMVER_EQ", "sem_ver", "=" },
        { "SEMVER_GT", "sem_ver", ">" },
        { "SEMVER_LT", "sem_ver", "<" },
    };
    if (strcmp(op, "STR_CONTAINS") == 0)
        return json_pack("{s:[O, o]}", "in", value, left);
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(ops[i].theirs, op) != 0)
            continue;
        if (ops[i].how)
            return json_pack("{s:[o, s, O]}", ops[i].ours, left, ops[i].how, value);
        bool number = strncmp(op, "NUM_", 4) == 0;
        json_t *right = number && json_is_string(value)
                            ? json_real(strtod(json_string_value(value), NULL))
                            : json_incref(value);
        return json_pack("{s:[{s:[o, o]}, b]}", "try", ops[i].ours, left, right, 0);
    }
    json_decref(left);
    return convert_refuse(c, "the operator \"%s\" is not known here", op);
}

static json_t *constraint_of(struct convert *c, const json_t *k)
{
    const char *name = convert_text(k, "contextName"), *op = convert_text(k, "operator");
    bool invert = json_is_true(json_object_get(k, "inverted"));
    json_t *values = json_object_get(k, "values"), *out, *value;
    size_t i;
    if (json_is_true(json_object_get(k, "caseInsensitive")))
        convert_refuse(c, "a constraint does not look at upper and lower case");
    if (strcmp(op, "IN") == 0 || strcmp(op, "NOT_IN") == 0) {
        out = json_pack("{s:[o, O]}", "in", attribute_of(c, name), values ? values : json_array());
        invert = invert != (op[0] == 'N');
    } else {
        json_t *list = json_array();
        json_array_foreach(values, i, value)
        {
            json_array_append_new(list, one_value(c, op, attribute_of(c, name), value));
        }
        if (convert_has(k, "value") && json_array_size(list) == 0)
            json_array_append_new(
                list, one_value(c, op, attribute_of(c, name), json_object_get(k, "value")));
        json_t *any =
            json_array_size(list) ? convert_any("or", list) : (json_decref(list), json_false());
        /* Numbers and versions that are not there match nothing. */
        out = strncmp(op, "STR_", 4) == 0
                  ? any
                  : json_pack("{s:[{s:[o, n]}, o]}", "and", "!==", attribute_of(c, name), any);
    }
    return invert ? json_pack("{s:[o]}", "!", out) : out;
}

static void add_constraints(struct convert *c, const json_t *of, json_t *list)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_object_get(of, "constraints"), i, one)
    {
        json_array_append_new(list, constraint_of(c, one));
    }
}

static const json_t *segment_of(const struct convert *c, const json_t *id)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_object_get(c->file, "segments"), i, one)
    {
        if (json_equal(json_object_get(one, "id"), id))
            return one;
    }
    return NULL;
}

static json_t *strategy_of(struct convert *c, const json_t *s)
{
    json_t *list = json_array(), *id;
    size_t i;
    add_constraints(c, s, list);
    json_array_foreach(json_object_get(s, "segments"), i, id)
    {
        const json_t *segment = segment_of(c, id);
        if (!segment)
            convert_refuse(c, "one of its segments is not in the file");
        add_constraints(c, segment, list);
    }
    json_array_append_new(list, strategy_itself(c, s));
    if (json_array_size(json_object_get(s, "variants")))
        convert_refuse(c, "it has variants");
    return convert_any("and", list);
}

static void take_feature(struct convert *c, const json_t *f)
{
    json_t *chain = json_array(), *one, *strategies = json_object_get(f, "strategies");
    size_t i;
    c->name = convert_text(f, "name");
    if (json_array_size(json_object_get(f, "variants")))
        convert_refuse(c, "it has variants");
    if (json_array_size(json_object_get(f, "dependencies")))
        convert_refuse(c, "it depends on others");
    json_array_foreach(strategies, i, one)
    {
        if (json_is_true(json_object_get(one, "disabled")))
            continue;
        json_array_append_new(chain, strategy_of(c, one));
        json_array_append_new(chain, json_string("on"));
    }
    json_array_append_new(chain, json_string(json_array_size(strategies) == 0 ? "on" : "off"));
    json_t *out = json_pack("{s:s, s:{s:b, s:b}, s:s, s:{s:o}}", "state", "ENABLED", "variants",
                            "on", 1, "off", 0, "defaultVariant", "off", "targeting", "if", chain);
    if (!json_is_true(json_object_get(f, "enabled")))
        json_object_set_new(out, "kill", json_true());
    convert_done(c, out);
}

void convert_unleash(struct convert *c)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_object_get(c->file, "features"), i, one)
    {
        take_feature(c, one);
    }
}
