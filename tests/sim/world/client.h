/* client: the clients of a run: they speak gRPC over HTTP/2 to the doors of the nodes, as
 * others do. */
#pragma once
#include "base/arena.h"
#include "../linear.h"
#include "wire/grpc/grpc.h"
#include "world.h"

/* ---- door.c: one connection, one call at a time ---- */

struct door {
    struct host *from, *to;
    void *context;
    /* message: one of the answer. over: the call has ended; code -1: the connection broke. Both may
     * close the door or begin the next call. */
    void (*message)(void *context, struct span message);
    void (*over)(void *context, int code, struct span text);
    int fd; /* -1: closed */
    struct h2 *h2;
    struct h2_stream *stream;
    struct grpc_reader reader;
    struct buf out, in, text;
    int code;
    bool calling, ended;
    uint64_t life, call; /* numbers of the connection and the call */
};

void door_init(struct door *d, struct host *from, void *context,
               void (*message)(void *, struct span), void (*over)(void *, int, struct span));
void door_open(struct door *d, struct host *to);
void door_close(struct door *d); /* says nothing more */
bool door_is_open(const struct door *d);
/* message is not kept. last: there is no other. */
void door_call(struct door *d, const char *path, struct span message, bool last);
void door_send(struct door *d, struct span message);

/* ---- the clients ---- */

struct plan {
    int clients, watchers, lessees, keys;
    int64_t think_us; /* between operations, at most */
    int64_t timeout_us;
    int read_percent, serializable_percent, delete_percent, cas_percent, move_percent;
    bool compact, replace;
    int fill_percent; /* of writes: large values, to make the log grow */
};
extern struct plan plan;
extern struct linear history;
extern struct arena client_arena; /* scratch: reset by whoever uses it first in a call */

void clients_open(void);
void clients_close(void);
void clients_stop(void); /* they begin nothing more */
bool clients_idle(void);
/* Reads every key by every node, writes once by every node: all must be answered. */
void clients_final(void);
bool clients_final_done(void);
int64_t clients_revision(void); /* the highest that was answered */

void watchers_open(void);
void watchers_close(void);
int64_t watchers_seen(void); /* revision up to which the first watcher, of everything, has come */
void watchers_compacted(int64_t revision);

void lessees_open(void);
void lessees_close(void);
void lessees_stop(void);
