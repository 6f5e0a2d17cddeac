/* etcdflag: what etcd's flags, ETCD_ variables and configuration file say, by etcdflag.def.
 *
 * As etcd has it: with a configuration file nothing else counts; without one a flag is stronger
 * than its variable. `experimental-x` is another name of x, since flags lose that word when they
 * grow up. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

enum etcd_flag {
#define ETCD(id, name, type, use, to, text) ETCD_FLAG_##id,
#include "node/etcdflag.def"
#undef ETCD
    ETCD_FLAGS
};

enum etcd_type { ETCD_TEXT, ETCD_NUMBER, ETCD_BOOL, ETCD_TIME };
enum etcd_use { ETCD_PARAM, ETCD_OWN, ETCD_IGNORED, ETCD_REFUSED };

struct etcd_row {
    const char *name, *to, *text;
    enum etcd_type type;
    enum etcd_use use;
};
extern const struct etcd_row etcd_rows[ETCD_FLAGS];

enum { ETCD_WHY_MAX = 1024 };

struct etcd_given {
    const char *value[ETCD_FLAGS]; /* NULL: not given, or empty; checked by its type */
    const char *file;              /* NULL: none */
    bool help, version;
    struct alloc alloc;
    struct arena arena; /* of values from the file */
};

/* argv without the program's name. ERR_BAD_REQUEST, and in why (ETCD_WHY_MAX bytes) what was wrong
 * and where. What is not known in a file or in the environment is logged, as etcd does, and left.
 * etcdflag_close in either case. */
enum err etcdflag_read(struct etcd_given *g, int argc, char **argv, char *why) MUST_CHECK;
void etcdflag_close(struct etcd_given *g);

/* "1h30m", "1.5s", "0" in milliseconds; false: it is none. */
bool etcdflag_duration(const char *text, int64_t *out_ms);
bool etcdflag_bool(const char *text, bool *out); /* Go's words */

void etcdflag_help(void);     /* `etcd --help`, on standard output */
void etcdflag_markdown(void); /* docs/reference/etcd-flags.md */
