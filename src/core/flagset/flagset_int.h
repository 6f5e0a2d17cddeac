/* flagset_int: what the files of core/flagset share. */
#pragma once
#include "base/vec.h"
#include "core/flagset/flagset.h"

/* One flag of a set. */
struct entry {
    struct span name; /* behind this struct */
    int64_t revision;
    bool compiled;      /* or it was tried: why says what is wrong, and flag is NULL */
    struct arena arena; /* of what it was compiled to */
    const struct flag *flag;
    char *why;
};

struct flagset {
    struct flagsets *all;
    struct flagset *next;    /* asked for less lately */
    const struct kv *kv;     /* of the newest question */
    struct span environment; /* in the arena; the first level */
    struct span levels[FLAGSET_LEVELS_MAX];
    size_t n_levels;
    struct arena arena; /* of what is shared */
    struct fval shared;      /* the $evaluators; an object */
    VEC(struct entry *) entries;
    bool over; /* there are more than are here */
    struct buf document;
    bool documented;
};

struct flagsets {
    struct alloc *alloc;
    size_t bytes_max;
    struct flagset_counts counts;
    flagset_chain *chain;
    struct flagset *first; /* the one asked for last */
    size_t n;
    struct arena spare; /* for one question: of flags that are not kept, of documents */
    void *scratch;
};

/* The definition as the store has it; .data NULL: there is none. In the spare arena for as long as
 * the question. */
struct span flagset_definition(const struct flagset *s, struct span name);
bool flagset_sound(struct flagset *s, size_t i); /* its definition makes a flag */
