/* delivery: which client runs which revision of what it subscribes to, as one node knows it.
 *
 * A scope is what is subscribed to (an exact key, a prefix or flags of an environment, with the
 * environments that one inherits from); all who want the same share one. A client, named by itself,
 * has subscriptions to scopes, and acknowledges revisions of them. Its entry outlives its
 * connection, for a bounded time and number.
 *
 * A page of the table is bytes, since it travels between members: each node makes its own, whoever
 * was asked puts them together (delivery_merge). Nothing here is replicated or kept on disk: a
 * client tells it again when it comes back.
 *
 * Invariants: clients stand in order of name and instance; those that are gone also in order of
 * when they went; a scope lives as long as somebody holds it.
 *
 * Pure: time comes in as an argument, in milliseconds since 1970. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    DELIVERY_NAME_MAX = 128,       /* bytes: a client's name, an instance's */
    DELIVERY_LABELS_MAX = 1024,    /* its labels, as JSON */
    DELIVERY_ERROR_MAX = 512,      /* what it says it could not do; longer is cut */
    DELIVERY_LEVELS_MAX = 8,       /* environments of a scope */
    DELIVERY_PAGE_MAX = 1000,      /* clients */
    DELIVERY_PAGE_BYTES = 1 << 20, /* a page ends behind the client that reaches it */
    DELIVERY_QUERY_BYTES = 4096,   /* delivery_query_write makes no more */
    DELIVERY_PAGES_MAX = 32,       /* put together at once */
};

enum delivery_kind {
    DELIVERY_KEY,
    DELIVERY_PREFIX,
    DELIVERY_FLAGS,
    DELIVERY_KINDS,
    /* Drafts are told of, not run: no client's subscription here. */
    DELIVERY_DRAFTS = DELIVERY_KINDS
};

/* On the wire between members: for ever. */
enum delivery_state {
    DELIVERY_SILENT,  /* it has acknowledged nothing yet */
    DELIVERY_RUNNING, /* the newest that changed what it wants */
    DELIVERY_BEHIND,  /* an older one */
    DELIVERY_FAILED,  /* it said that it could not use what it was sent */
    DELIVERY_GONE,    /* not connected */
    DELIVERY_STATES
};

struct delivery_table;
struct delivery_client;
struct delivery_sub;

/* Where texts are kept. */
struct delivery_memory {
    uint8_t *data;
    size_t size;
};

struct delivery_scope {
    enum delivery_kind kind;
    bool own;                      /* without what is inherited */
    struct span environment, text; /* text: a key, or a prefix of keys or of flags' names */
    struct span levels[DELIVERY_LEVELS_MAX]; /* environments, own one first */
    size_t n_levels;
    int64_t due; /* revision of the newest change that is known of; 0: none */
    void *owner; /* not touched here */
    /* the rest is private */
    struct delivery_scope *next;
    uint64_t hash;
    size_t holders;
    struct delivery_memory memory, level_memory;
};

/* clients_max: entries; keep_ms: how long one stays whose client is gone. */
struct delivery_table *delivery_open(struct alloc *alloc, size_t clients_max, int64_t keep_ms);
void delivery_close(struct delivery_table *t); /* when nobody holds a scope any more */
void delivery_reset(struct delivery_table *t); /* forgets every client: all have gone before */

struct delivery_stats {
    size_t clients, connected, scopes;
    uint64_t refused; /* clients that found no room */
};
void delivery_stats(const struct delivery_table *t, struct delivery_stats *out);

/* The scope of that kind, environment, text and own, made with owner NULL if it is not there; held
 * once more. The texts are copied. */
struct delivery_scope *delivery_scope(struct delivery_table *t, enum delivery_kind kind, bool own,
                                      struct span environment, struct span text);
void delivery_scope_levels(struct delivery_table *t, struct delivery_scope *s,
                           const struct span *levels, size_t n);
void delivery_scope_drop(struct delivery_table *t, struct delivery_scope *s);

/* A client names itself: its entry, as of now without subscriptions. *before: the owner that a
 * connected client of that name had, which counts no more; else NULL. NULL: the table is full of
 * connected clients. owner is not NULL. */
struct delivery_client *delivery_hello(struct delivery_table *t, struct span client,
                                       struct span instance, struct span labels, void *owner,
                                       int64_t now_ms, void **before);
/* Its connection has ended: the entry stays for a while, and c and its subs are not to be used. */
void delivery_gone(struct delivery_table *t, struct delivery_client *c, int64_t now_ms);
void delivery_sweep(struct delivery_table *t, int64_t now_ms); /* forgets who is gone too long */

struct delivery_sub *delivery_subscribe(struct delivery_table *t, struct delivery_client *c,
                                        struct delivery_scope *scope);
void delivery_unsubscribe(struct delivery_table *t, struct delivery_client *c,
                          struct delivery_sub *sub);
/* It runs this revision; with an error: it could not, and runs what it ran before. One older than
 * what it has said before is not looked at. */
void delivery_acknowledge(struct delivery_table *t, struct delivery_sub *sub, int64_t revision,
                          struct span error, int64_t now_ms);

/* ---- pages ---- */

struct delivery_query {
    bool has_environment, has_text, has_client, has_state, has_after;
    bool summary; /* no clients: counts and mark alone */
    uint8_t kind;            /* enum delivery_kind, with has_text */
    uint8_t state;           /* enum delivery_state */
    struct span environment; /* who reads it: also by inheritance */
    struct span text;        /* who would hear of that key, or of anything below that prefix */
    struct span client, after_client, after_instance;
    uint32_t limit; /* clients: 1 to DELIVERY_PAGE_MAX */
};

struct delivery_item { /* one subscription */
    uint8_t kind, state;
    bool own;
    struct span environment, text, error;
    int64_t due, revision, revision_ms; /* 0: none */
    int64_t failed;                     /* the revision of error */
};

struct delivery_entry { /* one client */
    struct span client, instance, labels;
    bool connected;
    int64_t since_ms; /* of the connection, or of its end */
    struct delivery_item *items;
    size_t n;
    uint64_t member; /* filled in by who reads it */
};

struct delivery_page {
    struct delivery_entry *entries;
    size_t n;
    bool more;
    /* Connected clients that match, on all pages, each by the worst of its subscriptions. */
    int64_t counts[DELIVERY_STATES];
    /* Of a summary: another one when anything that a page would tell has changed; else 0. */
    uint64_t mark;
};

void delivery_query_write(const struct delivery_query *q, struct buf *out);
/* ERR_CORRUPT. Spans point into the bytes; so below. */
enum err delivery_query_read(struct span bytes, struct delivery_query *out) MUST_CHECK;

/* Appends. Looks at every client. */
void delivery_page_write(const struct delivery_table *t, const struct delivery_query *q,
                         struct buf *out);
enum err delivery_page_read(struct span bytes, struct arena *arena,
                            struct delivery_page *out) MUST_CHECK;

/* One page of n, in order of client and instance. Who is in several (it has moved) is taken where
 * it is connected, or was last. */
void delivery_merge(const struct delivery_page *pages, size_t n, size_t limit, struct arena *arena,
                    struct delivery_page *out);

const char *delivery_state_name(unsigned state); /* "running" */
