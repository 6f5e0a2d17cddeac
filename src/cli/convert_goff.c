/* GO Feature Flag: {name: {variations, targeting, defaultRule...}}, as JSON. Shares go to
 * variations in order of their names. Queries must be JSONLogic. */
#include <stdlib.h>
#include "cli/convert_int.h"

enum { SHARES = 1000 }; /* of a percent */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *split(struct convert *c, const json_t *flag, json_t *shares)
{
    json_t *entries = json_array(), *share;
    const char *by = convert_text(flag, "bucketingKey"), *name;
    size_t n = 0, count = json_object_size(shares);
    const char **names = mem_alloc(&cli_heap, (count + 1) * sizeof(*names));
    double sum = 0;
    convert_pin(c, "goff", c->name, "");
    if (*by)
        json_array_append_new(entries, convert_var(c, by, "targetingKey"));
    json_object_foreach(shares, name, share)
    {
        names[n++] = name;
        sum += json_number_value(share);
    }
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            entries, json_pack("[s, f]", names[i],
                               json_number_value(json_object_get(shares, names[i])) * SHARES));
    mem_free(&cli_heap, names, (count + 1) * sizeof(*names));
    if (sum < 99.999 || sum > 100.001)
        convert_refuse(c, "its percentages do not add up to 100");
    return json_pack("{s:o}", "fractional", entries);
}

static json_t *served(struct convert *c, const json_t *flag, const json_t *rule)
{
    if (convert_has(rule, "progressiveRollout"))
        return convert_refuse(c, "a rollout is under way");
    if (convert_has(rule, "percentage"))
        return split(c, flag, json_object_get(rule, "percentage"));
    if (!convert_has(rule, "variation"))
        return convert_refuse(c, "a rule gives no variation");
    return json_incref(json_object_get(rule, "variation"));
}

/* JSONLogic as text or as it is. */
static json_t *query_of(struct convert *c, const json_t *rule)
{
    char why[JSONR_WHY_MAX];
    json_t *query = json_object_get(rule, "query"), *read;
    if (!query)
        return json_true();
    if (json_is_object(query))
        return json_incref(query);
    if (json_is_string(query) &&
        jsonr_read(span_text(json_string_value(query)), &read, why) == ERR_OK)
        return read;
    return convert_refuse(c, "the query of a rule is not JSONLogic");
}

static void take_flag(struct convert *c, const char *name, const json_t *flag)
{
    json_t *chain = json_array(), *rule, *out = json_object();
    size_t i;
    c->name = name;
    if (convert_has(flag, "scheduledRollout") || convert_has(flag, "experimentation"))
        convert_refuse(c, "a schedule or experiment is under way");
    json_array_foreach(json_object_get(flag, "targeting"), i, rule)
    {
        if (json_is_true(json_object_get(rule, "disable")))
            continue;
        json_array_append_new(chain, query_of(c, rule));
        json_array_append_new(chain, served(c, flag, rule));
    }
    json_array_append_new(chain, served(c, flag, json_object_get(flag, "defaultRule")));
    json_object_set_new(
        out, "state",
        json_string(json_is_true(json_object_get(flag, "disable")) ? "DISABLED" : "ENABLED"));
    json_object_set(out, "variants", json_object_get(flag, "variations"));
    json_object_set_new(out, "targeting", json_pack("{s:o}", "if", chain));
    if (json_is_object(json_object_get(flag, "metadata")))
        json_object_set(out, "metadata", json_object_get(flag, "metadata"));
    convert_done(c, out);
}

void convert_goff(struct convert *c)
{
    const char *name;
    json_t *flag;
    json_object_foreach((json_t *)(uintptr_t)c->file, name, flag)
    {
        take_flag(c, name, flag);
    }
}
