/* audit_int: what the files of the audit log share. */
#pragma once
#include "base/buf.h"
#include "node/audit.h"
#include "node/node_int.h"

enum {
    AUDIT_LOOK_BYTES_MAX = 64 << 20, /* that one question looks through */
    AUDIT_SEARCHES_MAX = 8,          /* at a time */
};

struct audit_search;

struct audit {
    struct job job;
    struct node *node;
    struct worker *worker;
    struct buf lines;   /* the loop's */
    struct buf writing; /* the worker's while it is busy */
    struct file *file;  /* the worker's; NULL: to be opened */
    uint64_t size;
    uint64_t bytes_max;
    int files;
    enum err err;
    int64_t nobody_ms; /* a second since then: */
    int nobody_lines;
    bool busy, failed;
    struct audit_search *asked; /* not yet on their way */
    size_t searches;            /* those and the others */
    char why[256];
    char path[PARAM_TEXT_MAX];
};

/* Nothing waits to be written: the worker may look. */
void audit_find_turn(struct audit *a);
