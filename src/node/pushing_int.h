/* pushing_int: what the files of subscriptions share. */
#pragma once
#include "base/map.h"
#include "node/call_int.h"

struct subscription; /* pushing.c: of configs, flags, drafts */
struct summary;      /* pushing_sum.c: of who runs what, of all who ask the same */
struct summary_sub;

struct push_stream {
    struct call *call;
    struct push_stream *next, *prev;
    struct subscription *first;
    struct summary_sub *sums;
    size_t n; /* of both kinds */
    struct delivery_client *client; /* NULL: it has no name, or another has taken it */
    struct span user;               /* proven to ask, of the call's arena; "": nobody */
    uint64_t number;                /* of server-sent events, else 0 */
    bool spoke;                     /* since the last interval of progress */
};

struct pushing {
    struct watch_hub *hub; /* views' watchers; those of subscriptions that are behind, id 1 */
    struct delivery_table *table;
    struct push_stream *streams;
    struct map by_number;
    int64_t n_streams, n_subscriptions, n_views, n_summaries;
    struct summary *summaries;
    struct rest_call rest; /* of all WebSockets that have begun */
    struct buf text, tail;     /* what is being told; what all of a view hear alike */
    int64_t next_us, queue_us; /* when the next may come; when who was refused last shall */
    struct said *said;         /* what is being said came by itself; NULL: on the stream */
};

/* What came of a message that was not said on its stream. */
struct said {
    const struct push_stream *stream;
    enum err err;
    const char *detail;
};

/* ---- pushing.c ---- */

bool push_has_room(const struct push_stream *s);
/* A message in two pieces. moves_on: the revision that whoever comes back goes on behind; 0: this
 * does not tell. */
void push_send(struct push_stream *s, enum push_tell what, int64_t moves_on, struct span head,
               struct span tail);
struct buf *push_text(struct push_stream *s); /* empty, until the next one is asked for */
void push_tell_plain(struct push_stream *s, enum push_tell what, const int64_t *id,
                     int64_t revision);
void push_refuse(struct push_stream *s, enum push_tell what, const int64_t *id, enum err e,
                 const char *detail);
/* Whether who has the stream may read these. */
enum err push_permits(struct push_stream *s, const struct push_range *ranges, size_t count);
void push_take(struct push_stream *s, const struct push_message *m);

/* ---- pushing_sum.c ---- */

void summary_subscribe(struct push_stream *s, const struct push_message *m);
bool summary_find(const struct push_stream *s, int64_t id);
bool summary_unsubscribe(struct push_stream *s, int64_t id); /* false: there is none */
void summary_drop_all(struct push_stream *s);
void summary_judge(struct push_stream *s); /* ends those that are not permitted any more */
void summary_second(struct node *n);

/* ---- pushing_say.c ---- */

enum { PUSH_STREAM_NAME = 33 }; /* 32 digits and a NUL */
/* A number for it, and how it is called outside. */
void say_begin(struct push_stream *s, char *name, size_t size);
void say_end(struct push_stream *s);
