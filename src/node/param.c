#include "node/param.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "base/check.h"
#include "base/nearest.h"

enum type { TEXT, NUMBER, FLAG };

static const struct param {
    const char *name, *unit, *section, *text, *value_text;
    enum type type;
    size_t offset;
    int64_t value, low, high;
} table[] = {
#define TEXT_OF_TEXT(v) v
#define TEXT_OF_NUMBER(v) NULL
#define TEXT_OF_FLAG(v) NULL
#define NUMBER_OF_TEXT(v) 0
#define NUMBER_OF_NUMBER(v) v
#define NUMBER_OF_FLAG(v) v
#define PARAM(field, name, type, value, low, high, unit, section, text)                            \
    { name,                                                                                        \
      unit,                                                                                        \
      section,                                                                                     \
      text,                                                                                        \
      TEXT_OF_##type(value),                                                                       \
      type,                                                                                        \
      offsetof(struct params, field),                                                              \
      NUMBER_OF_##type(value),                                                                     \
      low,                                                                                         \
      high },
#include "node/param.def"
#undef PARAM
};
enum { COUNT = sizeof(table) / sizeof(table[0]) };

static const char COMMAND_LINE[] = "command line";

static void *field_of(struct params *p, const struct param *row)
{
    return (char *)p + row->offset;
}

static const struct param *find(const char *name, size_t len)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0)
            return &table[i];
    return NULL;
}

static enum err unknown(const char *where, const char *name, size_t len, char *why)
{
    const char *names[COUNT];
    char given[128];
    for (size_t i = 0; i < COUNT; i++)
        names[i] = table[i].name;
    snprintf(given, sizeof(given), "%.*s", (int)(len < 120 ? len : 120), name);
    const char *near = nearest_word(given, names, COUNT);
    const char *dashes = strcmp(where, COMMAND_LINE) == 0 ? "--" : "";
    if (near)
        snprintf(why, PARAM_WHY_MAX, "%s: unknown parameter %s%s; did you mean %s%s?", where,
                 dashes, given, dashes, near);
    else
        snprintf(why, PARAM_WHY_MAX, "%s: unknown parameter %s%s; see confman server --help", where,
                 dashes, given);
    return ERR_BAD_REQUEST;
}

static enum err set_number(int64_t *field, const struct param *row, const char *value,
                           const char *where, char *why)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno || *value == 0 || *end != 0 || number < row->low || number > row->high) {
        snprintf(why, PARAM_WHY_MAX, "%s: %s must be a number from %lld to %lld, not \"%.100s\"",
                 where, row->name, (long long)row->low, (long long)row->high, value);
        return ERR_BAD_REQUEST;
    }
    *field = number;
    return ERR_OK;
}

static enum err set(struct params *p, const struct param *row, const char *value, const char *where,
                    char *why)
{
    bool yes = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
    bool no = strcmp(value, "false") == 0 || strcmp(value, "0") == 0;
    switch (row->type) {
    case TEXT:
        if (strlen(value) >= PARAM_TEXT_MAX) {
            snprintf(why, PARAM_WHY_MAX, "%s: %s is longer than %d bytes", where, row->name,
                     PARAM_TEXT_MAX - 1);
            return ERR_BAD_REQUEST;
        }
        strcpy(field_of(p, row), value);
        return ERR_OK;
    case FLAG:
        if (!yes && !no) {
            snprintf(why, PARAM_WHY_MAX, "%s: %s must be true or false, not \"%.100s\"", where,
                     row->name, value);
            return ERR_BAD_REQUEST;
        }
        *(bool *)field_of(p, row) = yes;
        return ERR_OK;
    case NUMBER:
        return set_number(field_of(p, row), row, value, where, why);
    }
    UNREACHABLE("a known type");
}

static void set_defaults(struct params *p)
{
    char why[PARAM_WHY_MAX];
    for (size_t i = 0; i < COUNT; i++) {
        char number[32];
        snprintf(number, sizeof(number), "%lld", (long long)table[i].value);
        const char *value = table[i].type == TEXT ? table[i].value_text : number;
        CHECK(set(p, &table[i], value, "param.def", why) == ERR_OK);
    }
}

/* One scalar after another: key, value, key, value. Anything nested is refused. */
static enum err read_yaml_events(struct params *p, yaml_parser_t *parser, const char *path,
                                 char *why)
{
    const struct param *row = NULL;
    char where[PARAM_TEXT_MAX + 32];
    for (int depth = 0;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            snprintf(why, PARAM_WHY_MAX, "%.500s:%zu: not valid YAML: %.200s", path,
                     parser->problem_mark.line + 1, parser->problem ? parser->problem : "?");
            return ERR_BAD_REQUEST;
        }
        yaml_event_type_t type = event.type;
        enum err e = ERR_OK;
        snprintf(where, sizeof(where), "%.500s:%zu", path, event.start_mark.line + 1);
        depth += (type == YAML_MAPPING_START_EVENT) - (type == YAML_MAPPING_END_EVENT);
        bool alone = type == YAML_SCALAR_EVENT && depth == 0;
        if (type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT || depth > 1 || alone) {
            snprintf(why, PARAM_WHY_MAX, "%.600s: only \"name: value\" lines are taken", where);
            e = ERR_BAD_REQUEST;
        } else if (type == YAML_SCALAR_EVENT) {
            const char *text = (const char *)event.data.scalar.value;
            if (row) {
                e = set(p, row, text, where, why);
                row = NULL;
            } else if (!(row = find(text, strlen(text)))) {
                e = unknown(where, text, strlen(text), why);
            }
        }
        yaml_event_delete(&event);
        if (e != ERR_OK || type == YAML_STREAM_END_EVENT)
            return e;
    }
}

static enum err read_file(struct params *p, const char *path, char *why)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        snprintf(why, PARAM_WHY_MAX, "config-file %.500s: %s", path, strerror(errno));
        return ERR_BAD_REQUEST;
    }
    yaml_parser_t parser;
    CHECK(yaml_parser_initialize(&parser));
    yaml_parser_set_input_file(&parser, file);
    enum err e = read_yaml_events(p, &parser, path, why);
    yaml_parser_delete(&parser);
    fclose(file);
    return e;
}

/* "data-dir" -> "CONFMAN_DATA_DIR" */
static void variable_name(const struct param *row, char out[64])
{
    size_t n = (size_t)snprintf(out, 64, "CONFMAN_%s", row->name);
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '-'                    ? '_'
                 : out[i] >= 'a' && out[i] <= 'z' ? (char)(out[i] - 32)
                                                  : out[i];
}

static enum err read_environment(struct params *p, char *why)
{
    for (size_t i = 0; i < COUNT; i++) {
        char name[64];
        variable_name(&table[i], name);
        const char *value = getenv(name);
        enum err e = value ? set(p, &table[i], value, name, why) : ERR_OK;
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* --name value, --name=value, and for flags --name alone. */
static enum err read_flags(struct params *p, int argc, char **argv, char *why)
{
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strncmp(word, "--", 2) != 0 || word[2] == 0) {
            snprintf(why, PARAM_WHY_MAX, "\"%.200s\" is not a parameter: they begin with --", word);
            return ERR_BAD_REQUEST;
        }
        const char *name = word + 2, *equals = strchr(name, '=');
        size_t len = equals ? (size_t)(equals - name) : strlen(name);
        const struct param *row = find(name, len);
        if (!row)
            return unknown(COMMAND_LINE, name, len, why);
        const char *value = equals ? equals + 1 : NULL;
        if (!value && row->type == FLAG)
            value = "true";
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value) {
            snprintf(why, PARAM_WHY_MAX, "--%s needs a value (%s)", row->name, row->unit);
            return ERR_BAD_REQUEST;
        }
        enum err e = set(p, row, value, COMMAND_LINE, why);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err param_read(struct params *p, int argc, char **argv, char *why)
{
    /* The file is named by the stronger sources, so they are read first for it alone, then
     * again. */
    set_defaults(p);
    enum err e = read_environment(p, why);
    if (e == ERR_OK)
        e = read_flags(p, argc, argv, why);
    if (e == ERR_OK && p->config_file[0]) {
        char path[PARAM_TEXT_MAX];
        strcpy(path, p->config_file);
        set_defaults(p);
        e = read_file(p, path, why);
        if (e == ERR_OK)
            e = read_environment(p, why);
        if (e == ERR_OK)
            e = read_flags(p, argc, argv, why);
    }
    return e;
}

enum err param_begin(struct params *p, char *why)
{
    set_defaults(p);
    return read_environment(p, why);
}

enum err param_set(struct params *p, const char *name, const char *value, const char *where,
                   char *why)
{
    const struct param *row = find(name, strlen(name));
    CHECK(row);
    return set(p, row, value, where, why);
}

bool param_exists(const char *name)
{
    return find(name, strlen(name)) != NULL;
}

static void default_text(const struct param *row, char out[64])
{
    if (row->type == TEXT)
        snprintf(out, 64, "%s", row->value_text[0] ? row->value_text : "none");
    else if (row->type == FLAG)
        snprintf(out, 64, "%s", row->value ? "true" : "false");
    else
        snprintf(out, 64, "%lld", (long long)row->value);
}

void param_help(void)
{
    const char *section = "";
    printf(
        "confman server: run a node\n\n"
        "  confman server --data-dir /var/lib/confman --listen 127.0.0.1:2379\n\n"
        "Every parameter may also stand in the YAML file (data-dir: ...) or in the environment\n"
        "(CONFMAN_DATA_DIR=...); flags are stronger than the environment, that than the file.\n");
    for (size_t i = 0; i < COUNT; i++) {
        char value[64];
        if (strcmp(section, table[i].section) != 0)
            printf("\n%s:\n", section = table[i].section);
        default_text(&table[i], value);
        printf("  --%s%s%s\n      %s (default: %s)\n", table[i].name, table[i].unit[0] ? " " : "",
               table[i].unit, table[i].text, value);
    }
}

void param_markdown(void)
{
    printf("# Parameters\n\nMade from `src/node/param.def` by `make docs`.\n\n"
           "| flag and YAML name | variable | default | range | unit | meaning |\n"
           "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < COUNT; i++) {
        char value[64], name[64], range[64] = "";
        default_text(&table[i], value);
        variable_name(&table[i], name);
        if (table[i].type == NUMBER)
            snprintf(range, sizeof(range), "%lld to %lld", (long long)table[i].low,
                     (long long)table[i].high);
        printf("| `--%s` | `%s` | %s | %s | ", table[i].name, name, value, range);
        for (const char *c = table[i].unit; *c; c++)
            printf(*c == '|' ? "\\|" : "%c", *c);
        printf(" | %s |\n", table[i].text);
    }
}

void param_man(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        char value[64];
        default_text(&table[i], value);
        printf(".TP\n\\fB--%s\\fR%s%s\n%s (default: %s).\n", table[i].name,
               table[i].unit[0] ? " " : "", table[i].unit, table[i].text, value);
    }
}
