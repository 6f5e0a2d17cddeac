/* story: what the runner of tests/story and its commands share. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "core/machine/machine.h"
#include "core/raft/raft.h"
#include "core/watch/watch.h"

enum { STORY_WORDS_MAX = 200 };

/* The words of a line. Taking one removes it; what is left at the end was not understood. */
struct words {
    struct span *items;
    size_t n;
};

/* One file runs in one world. */
struct story {
    struct alloc heap;
    struct arena arena; /* of one command */
    struct buf *out;    /* the trace of it */
    struct machine machine;
    struct machine_save *save;
    struct watch_hub *hub;
    struct map watchers; /* by id */
    struct raft *raft;
    int64_t now_ms;
};

struct story_command {
    const char *name;
    void (*run)(struct story *s, struct words *w);
};
extern const struct story_command machine_commands[], raft_commands[]; /* end with a NULL name */

struct span words_next(struct words *w); /* empty when there is none */
bool words_flag(struct words *w, const char *name);
bool words_option(struct words *w, const char *name, struct span *out); /* name=value, anywhere */
int64_t words_number(struct words *w, const char *name, int64_t otherwise);
int64_t number_of(struct span s);

/* Bytes as they stand in a story: "" when empty, \xNN what cannot be printed. And back. */
void story_put_bytes(struct buf *out, struct span s);
struct span story_bytes(struct story *s, struct span word);

/* KEY [END], prefix=P or from=K. */
void story_keys(struct story *s, struct words *w, struct span *key, struct span *end);

/* A request in words: put, del, range, txn... False when the first word is none of them. */
bool story_request(struct story *s, struct words *w, struct request *out);
