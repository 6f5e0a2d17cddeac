/* param: what can be set, from param.def: defaults, then the YAML file, then CONFMAN_ variables,
 * then flags; the last one said counts. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

enum { PARAM_TEXT_MAX = 4096 };

struct params {
#define PARAM(field, name, type, value, low, high, unit, section, text) PARAM_FIELD_##type(field)
#define PARAM_FIELD_TEXT(field) char field[PARAM_TEXT_MAX];
#define PARAM_FIELD_NUMBER(field) int64_t field;
#define PARAM_FIELD_FLAG(field) bool field;
#include "node/param.def"
#undef PARAM
#undef PARAM_FIELD_TEXT
#undef PARAM_FIELD_NUMBER
#undef PARAM_FIELD_FLAG
};

/* argv without the program's name and "server". On ERR_BAD_REQUEST *why says in one line what was
 * wrong, which file or flag, and the nearest known name. why: at least PARAM_WHY_MAX bytes. */
enum { PARAM_WHY_MAX = 1024 };
enum err param_read(struct params *p, int argc, char **argv, char *why) MUST_CHECK;

/* For other ways to say the same: the defaults and what CONFMAN_ variables say; then one parameter,
 * which must be there; where: for *why. */
enum err param_begin(struct params *p, char *why) MUST_CHECK;
enum err param_set(struct params *p, const char *name, const char *value, const char *where,
                   char *why) MUST_CHECK;
bool param_exists(const char *name);

void param_help(void);     /* `confman server --help`, on standard output */
void param_markdown(void); /* docs/reference/parameters.md */
void param_man(void);      /* the OPTIONS section of the man page */
