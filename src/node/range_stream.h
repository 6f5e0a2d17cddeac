/* range_stream: KV.RangeStream: a range of any size in pieces, all at one revision.
 *
 * A stream is a key to go on from and a revision, nothing more: it pins no history and keeps no
 * copy. A piece is made when what was made before has gone out, so a reader that is slow costs
 * RANGE_STREAM_QUEUE_BYTES; when compaction passes its revision it is told so (etcd does the same)
 * and reads anew. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct node;
struct call;
struct request;
struct range_stream;

enum {
    RANGE_STREAM_KEYS = 1000,             /* of one piece */
    RANGE_STREAM_BYTES = 256 << 10,       /* of one piece: keys and values, one pair at least */
    RANGE_STREAM_QUEUE_BYTES = 512 << 10, /* made and not gone out: no more is made */
    RANGE_STREAM_PIECES_PER_TURN = 16,    /* of all streams */
};

/* Begins to answer the call, at the state as it is. It is answered at once when it is refused. */
void range_stream_begin(struct call *call, const struct request *r);
void range_stream_gone(struct range_stream *s); /* its call has ended */
/* Makes what there is room for; true when there is more to do at once. */
bool range_stream_turn(struct node *n);
