/* confman_int: what the files of libconfman share. What is not under the monitor's lock is the
 * client's thread's alone. */
#pragma once
#ifndef CONFMAN_INSIDE
#define CONFMAN_INSIDE 1
#endif
#include <stdbool.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/span.h"
#include "base/vec.h"
#include "confman/confman.h"
#include "core/flag/flag.h"
#include "io/loop/loop.h"
#include "io/monitor/monitor.h"
#include "io/tcp/tcp.h"
#include "io/tls/tls.h"
#include "wire/grpc/grpc.h"
#include "wire/http2/http2.h"
#include "wire/jdoc/jdoc.h"

enum {
    ENDPOINTS_MAX = 16,
    ANSWER_BYTES_MAX = 64 << 20, /* of one answer; beyond it the answer is broken off */
    TIMEOUT_MS = 5000,
    CONNECT_MS = 1000,  /* then the next endpoint is tried */
    SILENCE_MS = 1000,  /* then a server that owes an answer is asked whether it lives */
    DEAD_MS = 2000,     /* and after so much more it does not */
    LOOK_MS = 250,      /* how often connections are looked at */
    PROBE_MS = 5000,    /* how often one is asked who leads */
    BACKOFF_MS = 50, BACKOFF_MAX_MS = 2000,
    RECONNECT_MAX_MS = 60000, /* that a server may have us wait with the next stream */
    NAME_MAX_BYTES = 128,     /* of a client, an instance */
    PROBLEM_MAX = 512,        /* bytes that are told of one */
    CONFIGS_MAX = 1 << 20, /* in one live copy, or list */
    FLAGS_MAX = 1 << 16,
    PAGE = 1000,
    GRACE_MS = 500,     /* that a caller waits longer than the client's thread should need */
};

/* ---- what a server sends (decode.c); pure ---- */

/* One config; spans into an arena or the text. */
struct item {
    struct span key, value, environment, updated_at, updated_by;
    struct span json; /* as it came */
    enum confman_type type;
    double number;
    bool truth;
    int64_t version, revision;
};

bool decode_item(const struct jdoc *v, struct arena *arena, struct item *out);
struct page {
    const struct item *items;
    size_t n;
    int64_t revision;
    struct span next; /* token; "": it was the last */
};
bool decode_page(struct span body, struct arena *arena, struct page *out);
bool decode_one(struct span body, struct arena *arena, struct item *out);
struct known { /* a flag, or the shared rules */
    struct span name, json;
};
/* A page of flags, with what they share as a record of its own when the page tells it. */
struct flag_page {
    const struct known *items;
    size_t n;
    int64_t revision;
    struct span next; /* "": it was the last */
    struct span shared;
};
bool decode_flags(struct span body, struct arena *arena, struct flag_page *out);
/* A message of the stream that copies hang on (docs/reference/push.md). False: it makes no
 * sense. */
enum told_kind {
    TOLD_OTHER,
    TOLD_WELCOME,
    TOLD_SUBSCRIBED,
    TOLD_CHANGES,
    TOLD_PROGRESS,
    TOLD_COMPACTED,
    TOLD_ENVIRONMENT,
    TOLD_DENIED,
    TOLD_GOODBYE,
    TOLD_KINDS
};
struct told {
    enum told_kind kind;
    bool has_id;
    int64_t id, revision, reconnect_ms; /* 0: not told */
    struct span stream, detail;
    const struct jdoc *changes; /* of TOLD_CHANGES: an array */
};
bool decode_told(struct span text, struct arena *arena, struct told *out);
struct told_change {
    bool flag, gone;
    struct span name, json; /* of a flag */
    struct item item;       /* of a config; of one that is gone the key alone */
};
bool decode_change(const struct jdoc *v, struct arena *arena, struct told_change *out);
/* Who leads: its address for clients, "" when nobody does; self: it is who answers. */
bool decode_leader(struct span body, struct arena *arena, struct span *address, bool *self);
void decode_problem(int http, struct span body, struct arena *arena, struct confman_error *out);
/* config.c; for callers, in one block of memory each. */
struct confman_config *config_make(const struct item *item); /* NULL: no memory */
bool config_list(const struct item *items, size_t n, int64_t revision, struct confman_list **out);
void path_escape(struct buf *b, const char *text); /* into a path or query */

/* ---- the last known good (cache.c) ---- */

struct cached {
    struct span environment, prefix;
    int64_t revision;
    const struct item *items;
    size_t n_items;
    const struct known *flags;
    size_t n_flags;
    struct span shared; /* $evaluators' record; "" none */
};
void cache_write(const struct cached *c, struct buf *out);
/* why (CONFMAN_TEXT_MAX bytes) when false. Spans point into text and arena. */
bool cache_read(struct span text, struct arena *arena, struct cached *out, char *why);

/* ---- calls ---- */

struct rpc;
struct rpc {
    struct rpc *next;
    struct alloc alloc; /* of the bufs */
    struct buf method, path, body, in, text;
    int64_t about;  /* of what is said on the stream: a subscription's id, or 0 */
    bool grpc, stream;     /* stream: a call that goes on, never repeated */
    bool writes, repeats;  /* may be sent again though its fate is not known */
    bool present;           /* If-Match: * */
    bool doubt;            /* was sent, and its answer never came */
    bool relogged, ended;  /* ended: the answer is whole */
    int64_t deadline_ms, at_ms; /* at: not to be sent before */
    int tries;
    int http, status;           /* status: gRPC's; -1 none */
    int64_t retry_after_ms;
    bool no_store;              /* there is a secret in it */
    struct channel *channel;
    struct h2_stream *h2;
    struct confman_error error; /* CONFMAN_OK: in is the answer */
    bool done, abandoned;       /* under the lock when somebody waits (on_done NULL) */
    void (*on_done)(struct confman *c, struct rpc *call); /* on the client's thread */
    void (*on_data)(struct confman *c, struct rpc *call);
    void *owner;
};

struct rpc *rpc_new(const char *method); /* NULL: no memory */
void rpc_free(struct rpc *call);
/* On the client's thread: sends as soon as there is a connection, and calls on_done. */
void rpc_start(struct confman *c, struct rpc *call);
/* On a caller's thread: waits. The call stays the caller's when true; else the client's thread
 * has it, and error says so. */
bool rpc_wait(struct confman *c, struct rpc *call, struct confman_error *error);
void rpc_over(struct confman *c, struct rpc *call, bool whole, uint32_t h2_code);
/* Takes its stream away: nothing of it is heard any more, and on_done is not called. */
void rpc_drop(struct rpc *call);

/* ---- connections (channel.c) ---- */

enum channel_state { CHANNEL_CONNECTING, CHANNEL_SHAKING, CHANNEL_READY };
struct channel {
    struct confman *client;
    int endpoint; /* -1: the leader that was told of */
    char address[TCP_ADDRESS_MAX], authority[TCP_ADDRESS_MAX];
    enum channel_state state;
    int fd, events;
    struct tls *tls;
    struct h2 *h2;
    struct buf wire, plain;
    int64_t since_ms, heard_ms, probed_ms; /* heard: last; or since when something is owed */
    bool leads, probing, broken;
};

/* NULL: it failed at once; client->why tells. */
struct channel *channel_open(struct confman *c, int endpoint, const char *address);
void channel_close(struct channel *k);
bool channel_send(struct channel *k, struct rpc *call); /* false: it takes no more */
void channel_flush(struct channel *k);

/* ---- the client ---- */

struct confman {
    struct monitor *monitor;
    struct monitor_thread *thread;
    int process;
    struct loop *loop;
    struct alloc alloc;
    struct tls_context *tls;
    bool secure, stay;
    struct buf user, password, token;
    bool auth_off, logging_in, login_failed;
    int64_t login_not_before_ms;
    struct confman_error login_error;
    int64_t timeout_ms;
    struct {
        char address[TCP_ADDRESS_MAX];
        int64_t not_before_ms;
        int failures;
    } endpoints[ENDPOINTS_MAX];
    int n_endpoints, next_endpoint;
    struct channel *home, *leader;
    char leader_address[TCP_ADDRESS_MAX];
    int64_t leader_not_before_ms;
    struct rpc *waiting; /* for a connection or for their time */
    struct rpc *flying;  /* sent */
    struct rpc *watch;   /* the stream that all live copies hang on */
    size_t looked_at;    /* bytes of it that have no end of a line */
    struct buf stream;   /* how it is called at the server, once that has said so; else empty */
    VEC(int64_t) leaving; /* subscriptions that are to be ended there */
    int64_t stream_at;   /* the revision that the server was at then */
    int64_t reconnect_ms; /* that it has us wait before the next one */
    char name[NAME_MAX_BYTES + 1], instance[NAME_MAX_BYTES + 1];
    struct confman_copy *copies;
    int64_t next_copy, watch_not_before_ms, say_not_before_ms, second_ms;
    struct loop_timer timer; /* for the next turn */
    bool inside;             /* without a thread: a turn is being done */
    uint64_t random;
    char why[TCP_WHY_MAX]; /* the last thing that went wrong with a connection */
    /* under the lock: */
    struct rpc *incoming, **incoming_end;
    struct confman_copy *opening;
    char *next_token; /* NULL: none */
    bool closing, broken;
    char bug[200];
};

int64_t client_now(struct confman *c);
struct channel *client_home(struct confman *c); /* ready and logged in, or NULL: it is seen to */
void client_channel_gone(struct confman *c, struct channel *k);
/* Whether the caller may call; error is cleared, or says why not. */
bool client_enter(struct confman *c, struct confman_error *error);
/* What a caller's function works on, first in its struct. */
struct work {
    struct confman *c;
    struct confman_error *error;
    struct confman_error own; /* when the caller wants none */
};
/* Runs it on the caller's thread, unless client_enter refuses; what error has in the end. */
enum confman_code work_run(struct work *w, struct confman *c, struct confman_error *error,
                           void (*run)(void *work));
void client_run(void *context);
/* Inside the lock: waits until something has changed, or until then. Without a thread it does the
 * client's work meanwhile. False: it is too late. */
bool client_wait(struct confman *c, int64_t until_us);
/* Without a thread: one turn, which waits for at most so long; and the last one. */
void client_turn(struct confman *c, int64_t wait_ms);
void client_end(struct confman *c);
void client_start(struct confman *c);
bool client_inside(const struct confman *c); /* whether it is the client that asks */
enum confman_code error_set(struct confman_error *error, enum confman_code code,
                            const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- live copies ---- */

/* A part of a copy that does not change; refs are under the lock. */
struct part {
    int refs;
    struct alloc alloc;
    struct arena arena;
    int64_t revision;
    struct item *items; /* of configs, sorted */
    size_t n;
    struct known *known; /* of flags, sorted */
    const struct flag **flags;
    size_t n_flags;
    uint32_t *slots; /* a hash of the names; from 1 */
    size_t slots_mask;
    struct span shared;
};
struct part *part_open(void); /* aborts like all allocation: to be caught */
void part_close(struct part *p);
/* Items are copied, sorted, and of two with one key the later is left out. */
struct part *part_configs(const struct item *items, size_t n, int64_t revision);
void part_put(struct part *p, const struct item *item); /* room was made before */
struct item item_copy(const struct item *item, struct arena *arena);
struct part *part_flags(const struct known *known, size_t n, struct span shared,
                        int64_t revision);
/* The place of a flag in p, or -1. */
long part_flag(const struct part *p, struct span name);

/* Its subscriptions. */
enum { OF_CONFIGS, OF_FLAGS, OF_KINDS };
enum { SCRATCHES = 8 };

struct confman_copy {
    struct confman *client;
    struct confman_copy *next;
    int64_t id;
    char *environment, *prefix, *cache_file;
    bool wants[OF_KINDS], resolves, reports;
    void (*on_change)(void *context, struct confman_copy *copy);
    void *context;
    int event;
    /* under the lock: */
    struct part *configs, *flags; /* NULL: not known */
    enum confman_state state;
    int64_t changes, revision;
    struct confman_error error;
    bool closing, closed;
    void *scratch[SCRATCHES];
    size_t n_scratch;
    int64_t runs, failed; /* what was reported last: revisions; 0 none */
    char problem[PROBLEM_MAX + 1];
    bool report_due, reported; /* to be said; the program has reported since the last change */
    /* the client's thread's: */
    struct alloc alloc;
    enum { COPY_LOAD, COPY_LOADING, COPY_FOLLOW } phase;
    int64_t seen[OF_KINDS];  /* up to where each subscription has told all */
    int64_t shown[OF_KINDS]; /* up to where callers can read it */
    int64_t level;           /* nothing was left to take in then */
    bool watching, subscribed[OF_KINDS];
    struct part *made; /* of configs, being made */
    VEC(struct item) gathered;
    VEC(struct known) known; /* flags as heard; names and texts are of alloc */
    struct span shared;
    bool flags_changed;
    bool no_store;           /* what was read has a secret in it */
    VEC(struct rpc *) asking;
    int64_t not_before_ms, save_ms; /* save: 0 no need */
    int failures;
};

/* copy_load.c: from nothing, or after a change, to what there is. */
void copy_load(struct confman_copy *copy);
/* A config that has changed, or is gone when it has no version: taken in with the others of this
 * turn by copy_change. */
void copy_gather(struct confman_copy *copy, const struct item *item);
void copy_change(struct confman_copy *copy);
void copy_ask_end(struct confman_copy *copy); /* forgets what was asked for */
void copy_clear_known(struct confman_copy *copy);
void copy_know(struct confman_copy *copy, struct span name, const struct span *json); /* NULL: no */
struct span copy_span(struct confman_copy *copy, struct span s);
void copy_span_free(struct confman_copy *copy, struct span *s);
/* copy.c */
void copy_failed(struct confman_copy *copy, const struct confman_error *error);
void copy_loaded(struct confman_copy *copy, struct part *configs);
void copy_save(struct confman_copy *copy);                            /* copy_file.c */
bool copy_restore(struct confman_copy *copy, struct confman_error *error); /* false: error */
/* copy_follow.c */
void follow_begin(struct confman *c);
void follow_create(struct confman_copy *copy);
void follow_cancel(struct confman_copy *copy);
void follow_leave(struct confman *c); /* says what was cancelled */
void follow_report(struct confman_copy *copy); /* says what was reported */
bool follow_level(const struct confman_copy *copy); /* all that it wants is told it */

/* Once a turn. */
void copy_turn(struct confman *c);
bool copy_all_calm(const struct confman *c); /* none has anything to do but to listen */
void copy_all_end(struct confman *c); /* the client is being closed */
void copy_all_broken(struct confman *c);  /* inside the lock: nobody follows any more */
