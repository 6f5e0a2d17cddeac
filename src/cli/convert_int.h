/* convert_int: what the converters of other systems' flags share. */
#pragma once
#include <string.h>
#include "cli/cli_int.h"

/* One flag on its way. */
struct convert {
    const char *name;
    const json_t *file;
    json_t *flags, *shared; /* what is made */
    json_t *bucketing;      /* of this flag; NULL: no split yet */
    bool refused;           /* and it was told why */
    int left_out;
};

/* Tells why the flag is left out; NULL. */
json_t *convert_refuse(struct convert *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Pins the hash; refuses when another split of the flag has another one. */
void convert_pin(struct convert *c, const char *algorithm, const char *seed, const char *salt);
/* The flag is complete; takes definition. */
void convert_done(struct convert *c, json_t *definition);

const char *convert_text(const json_t *object, const char *name); /* "" when there is none */
bool convert_has(const json_t *object, const char *name);         /* and it is not null */
/* What is looked at: "key" (as that system calls who is asked about) is targetingKey. */
json_t *convert_var(struct convert *c, const char *attribute, const char *key);
json_t *convert_any(const char *operation, json_t *list); /* of one: that one; takes list */

void convert_launchdarkly(struct convert *c);
void convert_unleash(struct convert *c);
void convert_growthbook(struct convert *c);
void convert_goff(struct convert *c);
