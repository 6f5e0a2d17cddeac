/* diff: what differs between two values: of JSON by place, of text by line.
 *
 * The operations of a JSON diff, done in their order, make one value of the other: paths are JSON
 * Pointers (RFC 6901) into what the ones before have made, as in a JSON Patch (RFC 6902). Arrays
 * are compared place by place behind what they begin with and before what they end with alike.
 * Numbers are equal by value, objects whatever the order of their members.
 *
 * Bounded: beyond DIFF_STEPS_MAX a part counts as replaced without a closer look, beyond a limit of
 * operations the rest is left out and said to be. Pure; memory from the arena. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/buf.h"
#include "wire/jdoc/jdoc.h"

enum {
    DIFF_STEPS_MAX = 1 << 20,  /* values looked at in one diff */
    DIFF_LINES_MAX = 20000,    /* of both texts together, without what they have in common at both
                                  ends; beyond it all lines count as replaced */
    DIFF_EDITS_MAX = 200,      /* lines added and removed that are looked for; likewise */
    DIFF_CONTEXT = 3,          /* equal lines told around those that differ */
};

enum diff_kind { DIFF_ADD, DIFF_REMOVE, DIFF_REPLACE };

struct diff_op {
    enum diff_kind kind;
    struct span path;             /* in the arena */
    const struct jdoc *from, *to; /* NULL: ADD has no from, REMOVE no to */
};

struct diff {
    struct diff_op *ops; /* in the arena */
    size_t n;
    bool more; /* than the limit: the rest is not told */
};

/* The trees must live as long as what came out. */
void diff_json(const struct jdoc *from, const struct jdoc *to, size_t limit, struct arena *arena,
               struct diff *out);

/* Appends the lines that differ in the unified format, "@@ -1,3 +1,4 @@" before each group; nothing
 * when the texts are equal. A last line without its newline is followed by a line that says so, as
 * diff(1) does. */
void diff_text(struct span from, struct span to, struct arena *arena, struct buf *out);
