#include "node/etcdflag.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>
#include "base/check.h"
#include "base/nearest.h"
#include "node/slog.h"

const struct etcd_row etcd_rows[ETCD_FLAGS] = {
#define ETCD(id, name, type, use, to, text) { name, to, text, ETCD_##type, ETCD_##use },
#include "node/etcdflag.def"
#undef ETCD
};

enum { NAME_BYTES = 128, VALUE_BYTES = 4096 };

static const char OLDER[] = "experimental-";

/* ETCD_FLAGS: not known. */
static enum etcd_flag find(const char *name, size_t len)
{
    size_t older = sizeof(OLDER) - 1;
    for (int i = 0; i < ETCD_FLAGS; i++)
        if (strlen(etcd_rows[i].name) == len && strncmp(etcd_rows[i].name, name, len) == 0)
            return (enum etcd_flag)i;
    if (len > older && strncmp(name, OLDER, older) == 0)
        return find(name + older, len - older);
    return ETCD_FLAGS;
}

/* ---- values ---- */

bool etcdflag_bool(const char *text, bool *out)
{
    static const char *const words[] = { "1", "t", "T", "true",  "True",  "TRUE",
                                         "0", "f", "F", "false", "False", "FALSE" };
    for (int i = 0; i < 12; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i < 6;
            return true;
        }
    return false;
}

bool etcdflag_duration(const char *text, int64_t *out_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "\xc2\xb5s", 1e-3 }, { "ms", 1 },
                  { "s", 1e3 },   { "m", 6e4 },   { "h", 3.6e6 } };
    double sum = 0;
    *out_ms = 0;
    if (strcmp(text, "0") == 0)
        return true;
    for (bool any = false; *text || !any; any = true) {
        char *end;
        if (!isdigit((unsigned char)*text) && *text != '.')
            return false;
        size_t digits = strspn(text, "0123456789.");
        double number = strtod(text, &end);
        if (end != text + digits)
            return false;
        size_t len = strcspn(end, "0123456789."), i = 0;
        while (i < 7 && (strlen(units[i].unit) != len || strncmp(units[i].unit, end, len) != 0))
            i++;
        if (i == 7)
            return false;
        sum += number * units[i].ms;
        text = end + len;
    }
    if (sum > 9e15)
        return false;
    *out_ms = (int64_t)sum;
    return true;
}

static bool is_number(const char *text)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    return digits[0] && strspn(digits, "0123456789") == strlen(digits) && strlen(digits) < 20;
}

static enum err set(struct etcd_given *g, enum etcd_flag f, const char *value, const char *where,
                    char *why)
{
    static const char *const wants[] = { "a text", "a number", "true or false",
                                         "a time like 10m or 1m30s" };
    const struct etcd_row *row = &etcd_rows[f];
    int64_t ms;
    bool yes;
    bool good = strlen(value) < VALUE_BYTES;
    if (row->type == ETCD_NUMBER)
        good = is_number(value);
    else if (row->type == ETCD_BOOL)
        good = etcdflag_bool(value, &yes);
    else if (row->type == ETCD_TIME)
        good = etcdflag_duration(value, &ms);
    if (!good && value[0]) {
        snprintf(why, ETCD_WHY_MAX, "%.300s: invalid value \"%.100s\" for %s: it is %s", where,
                 value, row->name, wants[row->type]);
        return ERR_BAD_REQUEST;
    }
    g->value[f] = value[0] ? value : NULL;
    return ERR_OK;
}

/* ---- flags ---- */

static enum err unknown(const char *given, size_t len, char *why)
{
    const char *names[ETCD_FLAGS];
    char name[NAME_BYTES];
    for (int i = 0; i < ETCD_FLAGS; i++)
        names[i] = etcd_rows[i].name;
    snprintf(name, sizeof(name), "%.*s", (int)(len < 120 ? len : 120), given);
    const char *near = nearest_word(name, names, ETCD_FLAGS);
    if (near)
        snprintf(why, ETCD_WHY_MAX, "flag provided but not defined: --%s; did you mean --%s?", name,
                 near);
    else
        snprintf(why, ETCD_WHY_MAX, "flag provided but not defined: --%s; see --help", name);
    return ERR_BAD_REQUEST;
}

/* One word without its dashes; *used: whether the next word was its value. */
static enum err read_flag(struct etcd_given *g, const char *name, const char *next, bool *used,
                          char *why)
{
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    *used = false;
    if (strcmp(name, "h") == 0 || strcmp(name, "help") == 0)
        g->help = true;
    else if (strcmp(name, "version") == 0)
        g->version = true;
    if (g->help || g->version)
        return ERR_OK;
    bool file = len == 11 && strncmp(name, "config-file", len) == 0;
    enum etcd_flag f = find(name, len);
    if (f == ETCD_FLAGS && !file)
        return unknown(name, len, why);
    if (!value && !file && etcd_rows[f].type == ETCD_BOOL)
        value = "true";
    if (!value && next) {
        value = next;
        *used = true;
    }
    if (!value) {
        snprintf(why, ETCD_WHY_MAX, "flag needs an argument: --%.100s", name);
        return ERR_BAD_REQUEST;
    }
    if (!file)
        return set(g, f, value, "command line", why);
    g->file = value[0] ? value : NULL;
    return ERR_OK;
}

static enum err read_flags(struct etcd_given *g, int argc, char **argv, char *why)
{
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        bool used;
        if (strcmp(word, "--") == 0)
            continue;
        if (word[0] != '-' || !word[1]) {
            snprintf(why, ETCD_WHY_MAX, "\"%.200s\" is not a valid flag", word);
            return ERR_BAD_REQUEST;
        }
        enum err e = read_flag(g, word + (word[1] == '-' ? 2 : 1),
                               i + 1 < argc ? argv[i + 1] : NULL, &used, why);
        if (e != ERR_OK || g->help || g->version)
            return e;
        i += used;
    }
    return ERR_OK;
}

/* ---- variables ---- */

static void variable_name(const char *flag, char out[NAME_BYTES])
{
    size_t n = (size_t)snprintf(out, NAME_BYTES, "ETCD_%s", flag);
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static bool is_known_variable(const char *name, size_t len)
{
    static const char *const others[] = { "ETCD_CONFIG_FILE", "ETCD_VERSION",
                                          "ETCD_UNSUPPORTED_ARCH" };
    char flag[NAME_BYTES];
    for (size_t i = 0; i < 3; i++)
        if (strlen(others[i]) == len && strncmp(others[i], name, len) == 0)
            return true;
    if (len <= 5 || len >= NAME_BYTES)
        return false;
    for (size_t i = 5; i < len; i++)
        flag[i - 5] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
    return find(flag, len - 5) != ETCD_FLAGS;
}

static enum err read_variables(struct etcd_given *g, char *why)
{
    static const char *const prefixes[] = { "", OLDER };
    char flag[NAME_BYTES], name[NAME_BYTES];
    for (int i = 0; i < 2 * ETCD_FLAGS; i++) {
        int row = i / 2;
        snprintf(flag, sizeof(flag), "%s%s", prefixes[i % 2], etcd_rows[row].name);
        variable_name(flag, name);
        const char *value = getenv(name);
        if (!value || !value[0] || g->value[row])
            continue; /* what a flag has said is stronger */
        enum err e = set(g, (enum etcd_flag)row, value, name, why);
        if (e != ERR_OK)
            return e;
    }
    for (char **v = environ; *v; v++) {
        size_t len = strcspn(*v, "=");
        if (strncmp(*v, "ETCD_", 5) == 0 && !is_known_variable(*v, len)) {
            snprintf(name, sizeof(name), "%.*s", (int)(len < 120 ? len : 120), *v);
            slog(SLOG_WARN, "unrecognized environment variable", "environment-variable=%s",
                 slog_quote(name));
        }
    }
    return ERR_OK;
}

/* ---- the file ---- */

struct reading {
    struct etcd_given *g;
    yaml_parser_t parser;
    const char *path;
    char *why;
    char block[NAME_BYTES]; /* "client-", "peer-": of the security block that we are in; "" */
    char key[NAME_BYTES];   /* "": the next scalar is one */
    char list[VALUE_BYTES]; /* of a sequence, with commas */
    int depth, skip;        /* skip: the depth of what is not known; 0 */
    bool in_list;
};

static enum err complain(struct reading *r, size_t line, const char *what)
{
    snprintf(r->why, ETCD_WHY_MAX, "%.500s:%zu: %.300s", r->path, line + 1, what);
    return ERR_BAD_REQUEST;
}

/* Keys of the two security blocks are those of flags that begin otherwise. */
static enum etcd_flag find_key(const struct reading *r)
{
    static const char *const of_client[] = { "allowed-cn",
                                             "client-cert-allowed-cn",
                                             "allowed-hostname",
                                             "client-cert-allowed-hostname",
                                             "skip-client-san-verification",
                                             "client-skip-client-san-verification" };
    char name[2 * NAME_BYTES];
    if (!r->block[0])
        return find(r->key, strlen(r->key));
    bool peer = strcmp(r->block, "peer-") == 0, allowed = strncmp(r->key, "allowed-", 8) == 0;
    for (int i = 0; i < 6 && !peer; i += 2)
        if (strcmp(r->key, of_client[i]) == 0)
            return find(of_client[i + 1], strlen(of_client[i + 1]));
    snprintf(name, sizeof(name), "%s%s%s", peer ? "peer-" : "", peer && allowed ? "cert-" : "",
             r->key);
    return find(name, strlen(name));
}

static enum err take_value(struct reading *r, const char *value, bool plain, size_t line)
{
    char where[VALUE_BYTES], time[64];
    bool none = plain && (strcmp(value, "~") == 0 || strcmp(value, "null") == 0);
    enum etcd_flag f = find_key(r);
    snprintf(where, sizeof(where), "%.3000s:%zu", r->path, line + 1);
    if (f == ETCD_FLAGS) {
        slog(SLOG_WARN, "unknown key in the configuration file: ignored", "key=%s at=%s",
             slog_quote(r->key), slog_quote(where));
        r->key[0] = 0;
        return ERR_OK;
    }
    r->key[0] = 0;
    if (none || !value[0])
        return ERR_OK;
    if (etcd_rows[f].type == ETCD_TIME && is_number(value)) { /* nanoseconds */
        snprintf(time, sizeof(time), "%.40sns", value);
        value = time;
    }
    struct span kept = arena_copy(&r->g->arena, span_of(value, strlen(value) + 1));
    return set(r->g, f, (const char *)kept.data, where, r->why);
}

static enum err take_scalar(struct reading *r, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t used = strlen(r->list);
    if (r->skip)
        return ERR_OK;
    if (r->in_list) {
        if (used + strlen(text) + 2 > sizeof(r->list))
            return complain(r, e->start_mark.line, "a list that is too long");
        snprintf(r->list + used, sizeof(r->list) - used, "%s%s", used ? "," : "", text);
        return ERR_OK;
    }
    if (r->key[0])
        return take_value(r, text, e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE,
                          e->start_mark.line);
    if (r->depth == 0)
        return complain(r, e->start_mark.line, "only \"name: value\" lines are taken");
    snprintf(r->key, sizeof(r->key), "%s", text);
    return ERR_OK;
}

static void begin_block(struct reading *r)
{
    bool client = strcmp(r->key, "client-transport-security") == 0;
    bool known = client || strcmp(r->key, "peer-transport-security") == 0;
    r->depth++;
    if (r->depth == 1 || r->skip)
        return;
    if (r->depth == 2 && known) {
        snprintf(r->block, sizeof(r->block), "%s", client ? "client-" : "peer-");
    } else {
        slog(SLOG_WARN, "unknown key in the configuration file: ignored", "key=%s",
             slog_quote(r->key));
        r->skip = r->depth;
    }
    r->key[0] = 0;
}

static void end_block(struct reading *r)
{
    if (r->skip == r->depth)
        r->skip = 0;
    if (r->depth == 2)
        r->block[0] = 0;
    r->depth--;
}

static enum err take_event(struct reading *r, const yaml_event_t *e)
{
    bool list = e->type == YAML_SEQUENCE_START_EVENT, map = e->type == YAML_MAPPING_START_EVENT;
    if (e->type == YAML_ALIAS_EVENT || ((list || map) && r->in_list) ||
        (list && !r->key[0] && !r->skip) || (map && r->depth > 0 && !r->key[0] && !r->skip))
        return complain(r, e->start_mark.line, "this is no configuration of etcd's");
    if (e->type == YAML_SCALAR_EVENT)
        return take_scalar(r, e);
    if (map)
        begin_block(r);
    if (e->type == YAML_MAPPING_END_EVENT)
        end_block(r);
    if (list && !r->skip) {
        r->in_list = true;
        r->list[0] = 0;
    }
    if (e->type == YAML_SEQUENCE_END_EVENT && r->in_list) {
        r->in_list = false;
        return take_value(r, r->list, false, e->start_mark.line);
    }
    return ERR_OK;
}

static enum err read_file(struct etcd_given *g, char *why)
{
    struct reading r = { .g = g, .path = g->file, .why = why };
    FILE *file = fopen(g->file, "rb");
    if (!file) {
        snprintf(why, ETCD_WHY_MAX, "config-file %.500s: %s", g->file, strerror(errno));
        return ERR_BAD_REQUEST;
    }
    CHECK(yaml_parser_initialize(&r.parser));
    yaml_parser_set_input_file(&r.parser, file);
    enum err e = ERR_OK;
    for (bool over = false; !over && e == ERR_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&r.parser, &event)) {
            e = complain(&r, r.parser.problem_mark.line,
                         r.parser.problem ? r.parser.problem : "not valid YAML");
            break;
        }
        over = event.type == YAML_STREAM_END_EVENT;
        e = take_event(&r, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&r.parser);
    fclose(file);
    return e;
}

/* ---- all of it ---- */

enum err etcdflag_read(struct etcd_given *g, int argc, char **argv, char *why)
{
    memset(g, 0, sizeof(*g));
    alloc_heap(&g->alloc);
    arena_open(&g->arena, &g->alloc);
    enum err e = read_flags(g, argc, argv, why);
    if (e != ERR_OK || g->help || g->version)
        return e;
    if (!g->file)
        g->file = getenv("ETCD_CONFIG_FILE");
    if (!g->file || !g->file[0]) {
        g->file = NULL;
        return read_variables(g, why);
    }
    memset(g->value, 0, sizeof(g->value));
    e = read_file(g, why);
    if (e == ERR_OK)
        slog(SLOG_INFO,
             "loaded server configuration, other configuration command line flags and environment "
             "variables will be ignored if provided",
             "path=%s", slog_quote(g->file));
    return e;
}

void etcdflag_close(struct etcd_given *g)
{
    arena_close(&g->arena);
}

/* ---- help ---- */

static void print_use(const struct etcd_row *row, const char *code)
{
    switch (row->use) {
    case ETCD_PARAM:
    case ETCD_OWN:
        if (row->to[0])
            printf("%s%s%s", code, row->to, code);
        return;
    case ETCD_IGNORED:
        printf("ignored");
        return;
    case ETCD_REFUSED:
        printf("refused");
        return;
    }
}

void etcdflag_help(void)
{
    printf("Usage: etcd [flags], or confman etcd [flags]: a confman server that starts as etcd\n"
           "does.\n\n"
           "Flags begin with - or --. Each may also be a variable (ETCD_DATA_DIR=...) or, with\n"
           "--config-file FILE, a line of etcd's configuration file; then nothing else counts.\n\n"
           "  --version\n  --config-file FILE\n");
    for (int i = 0; i < ETCD_FLAGS; i++)
        if (etcd_rows[i].use == ETCD_PARAM || etcd_rows[i].use == ETCD_OWN)
            printf("  --%s\n      %s\n", etcd_rows[i].name, etcd_rows[i].text);
    for (int use = ETCD_IGNORED; use <= ETCD_REFUSED; use++) {
        printf(use == ETCD_IGNORED ? "\nWithout meaning here, and ignored:\n" : "\nRefused:\n");
        for (int i = 0; i < ETCD_FLAGS; i++)
            if ((int)etcd_rows[i].use == use)
                printf("  --%s: %s\n", etcd_rows[i].name, etcd_rows[i].text);
    }
}

void etcdflag_markdown(void)
{
    printf("# etcd's flags\n\nMade from `src/node/etcdflag.def` by `make docs`; how to start: "
           "[etcd.md](../etcd.md). A flag is a parameter of confman "
           "([parameters.md](parameters.md)), ignored with a log line, or refused.\n\n"
           "| etcd | confman | |\n|---|---|---|\n");
    for (int i = 0; i < ETCD_FLAGS; i++) {
        printf("| `--%s` | ", etcd_rows[i].name);
        print_use(&etcd_rows[i], "`");
        printf(" | %s |\n", etcd_rows[i].text);
    }
}
