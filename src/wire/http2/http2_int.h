/* http2_int: what the files of wire/http2 share.
 *
 * http2.c: life, streams, what the user calls. receive.c: bytes to frames to events. send.c: frames
 * to bytes, windows, turns. head.c: header blocks both ways (RFC 7541; the inflater and the
 * alphabets are nghttp2's). */
#pragma once
#include <nghttp2/nghttp2.h>
#include "base/map.h"
#include "base/vec.h"
#include "wire/http2/http2.h"

enum {
    H2_DATA = 0, /* frame types, RFC 9113 6 */
    H2_HEADERS = 1,
    H2_PRIORITY = 2,
    H2_RST_STREAM = 3,
    H2_SETTINGS = 4,
    H2_PUSH_PROMISE = 5,
    H2_PING = 6,
    H2_GOAWAY = 7,
    H2_WINDOW_UPDATE = 8,
    H2_CONTINUATION = 9,
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, HAS_PRIORITY = 0x20 };
enum { /* RFC 9113 7 */
       FLOW_CONTROL_ERROR = 3,
       STREAM_CLOSED = 5,
       FRAME_SIZE_ERROR = 6,
       REFUSED_STREAM = 7,
       COMPRESSION_ERROR = 9,
       ENHANCE_YOUR_CALM = 11
};
enum {
    FRAME_HEAD = 9,
    FRAME_MAX = 16384, /* of a payload, both ways: what every peer must take (4.2) */
    WINDOW_MAX = 0x7fffffff,
    WINDOW_FIRST = 65535, /* 6.9.2 */
    TABLE_MAX = 4096,     /* of our encoder's dynamic table, and the default (RFC 7541) */
    TABLE_ENTRIES = 16,   /* in it */
    TABLE_VALUE_MAX = 64, /* longer ones are not worth their place */
    TRAILERS_MAX = 4,
    HEADERS_MAX = 16,     /* that we send in one block */
    RESET_BURST = 1000,   /* streams the peer may break off or spoil at once, and then a second: */
    RESET_RATE = 33,      /* CVE-2023-44487, CVE-2025-8671 */
    CONTINUATIONS_MAX = 8, /* CVE-2024-28182 */
    ACKS_MAX = 1000,      /* PING and SETTINGS answers made at a time: CVE-2019-9512 */
    MEMOS = 4,            /* header blocks remembered for a connection */
    MEMO_BYTES_MAX = 1024, /* each, as they came and again as they were read */
};

struct list {
    struct h2_stream *first, *last;
};

struct h2_stream {
    struct h2 *h2;
    void *user;
    uint32_t id;
    bool ended;     /* no data comes after the queue */
    bool has_head;  /* of the peer: what comes now are data and trailers */
    bool has_body;  /* our head is made */
    bool head_ended; /* and is all of our answer */
    bool heard_all; /* the peer's end has come */
    bool said_all;  /* our end has left */
    bool reset;     /* broken off by either side: on_close is all that still comes */
    bool heard_enough;
    uint32_t close_code;
    int64_t window; /* what we may send; below 0 when the peer has made it smaller (6.9.2) */
    int64_t room;   /* what the peer may send */
    int64_t owed;   /* came and went, but its room was not yet given back */
    int64_t length; /* still to come by its content-length; -1: it did not say */
    struct buf queue;
    size_t sent;                  /* of the queue, handed out already */
    struct http_header *trailers; /* one block, sized by trailers_size */
    size_t n_trailers, trailers_size;
    struct h2_stream *next, *prev;
    struct list *in; /* the list it stands in, or NULL */
    struct h2_stream *after, *before;
};

/* One header block as it was read, and checked. */
struct head {
    struct buf text; /* of memos, the block itself first */
    size_t block_len;
    VEC(struct http_header) headers;
    size_t n_pseudo; /* that come first */
    struct http_request request;
    int status;        /* of an answer; 0: there is none */
    int64_t length;    /* content-length; -1: none */
    bool bad;          /* malformed, RFC 9113 8.1.1 */
    uint64_t generation; /* of the table that the block was read with */
};

struct table_entry {
    uint16_t at, name_len, value_len; /* in the table's text */
};

/* Our encoder's dynamic table: entries that come often are put in once and never leave. */
struct table {
    size_t max, size;
    bool update; /* the peer has to be told a new max, after a fall to lowest */
    size_t lowest;
    struct buf text;
    size_t n;
    struct table_entry entries[TABLE_ENTRIES]; /* oldest first */
};

struct h2 {
    struct alloc *alloc;
    enum h2_role role;
    const struct h2_events *events;
    void *context;
    struct h2_limits limits;

    struct h2_stream *streams; /* all, newest first */
    struct map by_id;
    size_t n_streams;
    uint32_t last_id;   /* server: the newest the peer opened; client: we opened; 0: none */
    uint32_t last_good; /* server: streams beyond it came after our GOAWAY */
    bool said_goaway, heard_goaway, failed;

    /* receiving */
    size_t preface_left;
    bool heard_settings;
    struct buf part;           /* a frame that is not whole */
    struct buf block;          /* a header block whose CONTINUATIONs are coming */
    uint32_t block_stream;     /* whose; 0: none */
    bool block_ends;           /* with END_STREAM */
    unsigned continuations;
    int64_t room, owed;        /* as of a stream, for all of them */
    nghttp2_mem inflater_mem;  /* it keeps a pointer to it */
    nghttp2_hd_inflater *inflater;
    uint64_t generation;       /* grows with every block that may have changed the table */
    struct head head;          /* the newest that was read */
    struct head *memos[MEMOS]; /* NULL: not used yet */
    size_t next_memo;
    int resets_left;
    unsigned acks;

    /* sending */
    struct buf frames;   /* made, in order; before any data */
    struct list ready;   /* streams with something to send */
    struct list blocked; /* that wait for the connection's window */
    struct list closing; /* on_close is due */
    int64_t window, stream_window; /* the peer's; the latter for streams that begin */
    size_t peer_streams_max;
    struct table table;
};

void list_add(struct list *l, struct h2_stream *s); /* from wherever it stands */
void list_leave(struct h2_stream *s);

struct h2_stream *stream_open(struct h2 *h, uint32_t id);
struct h2_stream *stream_of(const struct h2 *h, uint32_t id); /* NULL: not open, or broken off */
void stream_close(struct h2_stream *s, uint32_t code);        /* on_close, and free */

/* ---- head.c ---- */

void table_limit(struct table *t, size_t max); /* the peer's SETTINGS_HEADER_TABLE_SIZE */
/* Appends a header block. */
void head_put(struct table *t, const struct http_header *headers, size_t n, struct buf *out);
/* Reads a block and checks it as a request's head, an answer's, or trailers; what came stands in
 * *out until the next call. ERR_MESSAGE_MALFORMED: the block cannot be read, so no block after it
 * can; ERR_MESSAGE_TOO_LARGE. */
enum err head_read(struct h2 *h, struct span block, bool trailers, struct head **out) MUST_CHECK;
void head_close(struct h2 *h, struct head *head);

/* ---- receive.c ---- */

void receive_frames(struct h2 *h, struct span in);

/* ---- send.c ---- */

void put_frame_head(struct buf *out, size_t len, int type, int flags, uint32_t id);
void put_frame_u32(struct h2 *h, int type, uint32_t id, uint32_t value);
void put_settings(struct h2 *h);
void put_headers(struct h2 *h, struct buf *out, uint32_t id, const struct http_header *headers,
                 size_t n, bool end);
void connection_fail(struct h2 *h, uint32_t code);
void stream_break(struct h2_stream *s, uint32_t code); /* RST_STREAM; on_close comes later */
void send_some(struct h2_stream *s, struct buf *out); /* of one that is ready */
void stream_ready(struct h2_stream *s); /* stands in line if it has something to send */
