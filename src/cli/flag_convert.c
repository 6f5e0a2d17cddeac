/* Files of flagd, and exports of other flag systems, in our form: nobody changes sides, for each
 * flag pins the hash that it came with. What cannot be said without moving somebody is left out,
 * and told. */
#include <stdarg.h>
#include "cli/convert_int.h"

json_t *convert_refuse(struct convert *c, const char *format, ...)
{
    va_list args;
    if (c->refused)
        return NULL;
    c->refused = true;
    fprintf(stderr, "confman: flag import: %s is left out: ", c->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return NULL;
}

void convert_pin(struct convert *c, const char *algorithm, const char *seed, const char *salt)
{
    json_t *how = json_pack("{s:s, s:s}", "algorithm", algorithm, "seed", seed);
    if (*salt)
        json_object_set_new(how, "salt", json_string(salt));
    if (c->bucketing && !json_equal(c->bucketing, how))
        convert_refuse(c, "its splits hash in different ways, and a flag has one");
    if (!c->bucketing)
        c->bucketing = json_incref(how);
    json_decref(how);
}

void convert_done(struct convert *c, json_t *definition)
{
    if (c->bucketing)
        json_object_set(definition, "bucketing", c->bucketing);
    json_decref(c->bucketing);
    c->bucketing = NULL;
    c->left_out += c->refused;
    if (!c->refused)
        json_object_set(c->flags, c->name, definition);
    json_decref(definition);
    c->refused = false;
}

const char *convert_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

bool convert_has(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return v && !json_is_null(v);
}

json_t *convert_var(struct convert *c, const char *attribute, const char *key)
{
    if (!*attribute || strcmp(attribute, key) == 0)
        return json_pack("{s:s}", "var", "targetingKey");
    if (strchr(attribute, '.') || strchr(attribute, '/'))
        convert_refuse(c, "it looks at \"%s\", which would be read as a path", attribute);
    return json_pack("{s:s}", "var", attribute);
}

json_t *convert_any(const char *operation, json_t *list)
{
    if (json_array_size(list) == 1) {
        json_t *one = json_incref(json_array_get(list, 0));
        json_decref(list);
        return one;
    }
    return json_pack("{s:o}", operation, list);
}

/* ---- flagd ---- */

/* What the set says of itself holds for each flag that does not say otherwise. */
static void merge_metadata(json_t *flag, const json_t *of_set)
{
    const char *name;
    json_t *value, *all = json_object();
    json_object_foreach((json_t *)(uintptr_t)of_set, name, value)
    {
        if (!json_is_object(value) && !json_is_array(value) && !json_is_null(value))
            json_object_set(all, name, value);
    }
    json_object_update(all, json_object_get(flag, "metadata"));
    if (json_object_size(all))
        json_object_set(flag, "metadata", all);
    json_decref(all);
}

/* The first shared rule that is not there; NULL: all are. */
static const char *missing_rule(const json_t *v, const json_t *rules)
{
    const char *name, *found = NULL;
    json_t *one;
    size_t i;
    json_array_foreach(v, i, one)
    {
        found = found ? found : missing_rule(one, rules);
    }
    json_object_foreach((json_t *)(uintptr_t)v, name, one)
    {
        const char *rule = strcmp(name, "$ref") == 0 ? json_string_value(one) : NULL;
        if (!found && rule && !json_object_get(rules, rule))
            found = rule;
        found = found ? found : missing_rule(one, rules);
    }
    return found;
}

static void take_flag(struct convert *c, const char *name, const json_t *flag)
{
    json_t *own = json_copy((json_t *)(uintptr_t)flag);
    const json_t *rules = json_object_get(c->file, "$evaluators");
    const char *missing = missing_rule(json_object_get(flag, "targeting"), rules);
    c->name = name;
    json_object_del(own, "key");
    json_object_del(own, "$schema");
    if (!json_is_object(flag))
        convert_refuse(c, "it is no object");
    else if (missing)
        convert_refuse(c, "there is no shared rule \"%s\" in $evaluators", missing);
    else
        merge_metadata(own, json_object_get(c->file, "metadata"));
    convert_done(c, own);
}

static void convert_flagd(struct convert *c)
{
    json_t *all = json_object_get(c->file, "flags"), *flag;
    const json_t *rules = json_object_get(c->file, "$evaluators");
    const char *name;
    size_t i;
    json_object_foreach(all, name, flag)
    {
        take_flag(c, name, flag);
    }
    json_array_foreach(all, i, flag)
    {
        take_flag(c, convert_text(flag, "key"), flag);
    }
    if (json_object_size(rules))
        json_object_update(c->shared, (json_t *)(uintptr_t)rules);
}

static const struct format {
    const char *name, *member; /* which a file of that kind has */
    void (*convert)(struct convert *c);
} formats[] = {
    { "flagd", "flags", convert_flagd },
    { "launchdarkly", "flags", convert_launchdarkly },
    { "unleash", "features", convert_unleash },
    { "growthbook", "features", convert_growthbook },
    { "goff", NULL, convert_goff },
};

int flag_convert(const char *format, const json_t *file, json_t *flags, json_t **shared)
{
    struct convert c = { .file = file, .flags = flags };
    const struct format *f = NULL;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, format) == 0)
            f = &formats[i];
    *shared = NULL;
    if (!f) {
        cli_complain(EXIT_USAGE,
                     "flag import: --format \"%s\" is not one of flagd, launchdarkly, "
                     "unleash, growthbook, goff",
                     format);
        return -1;
    }
    if (!json_is_object(file) || (f->member && !json_object_get(file, f->member))) {
        cli_complain(EXIT_USAGE, "flag import: the file has no \"%s\", as %s's have",
                     f->member ? f->member : "{", f->name);
        return -1;
    }
    c.shared = json_object();
    f->convert(&c);
    if (json_object_size(c.shared))
        *shared = json_pack("{s:O}", "$evaluators", c.shared);
    json_decref(c.shared);
    return c.left_out;
}
