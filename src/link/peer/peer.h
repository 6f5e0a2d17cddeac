/* peer: what members of a cluster say to each other, as bytes: docs/formats/peer.md. Pure.
 *
 * A connection is a row of frames. Every frame has a head with its length and a checksum, since
 * TCP's own is weak and what raft says must not be changed on the way. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/raft/raft.h"

/* The newest that this build speaks, and the oldest. Only tests build others (make DEFINES=...). */
#ifndef PEER_VERSION
#define PEER_VERSION 4
#endif
#ifndef PEER_VERSION_MIN
#define PEER_VERSION_MIN 1
#endif
_Static_assert(1 <= PEER_VERSION_MIN && PEER_VERSION_MIN <= PEER_VERSION && PEER_VERSION <= 255,
               "a byte, and never 0");

enum {
    PEER_GREETING = 1, /* the version in the heads of HELLO to JOINED, for ever: they choose */
    PEER_HEAD = 16,
    /* Of a body. An append stops at the first entry that passes RAFT_APPEND_BYTES, and an entry
     * is a command of at most 64 MiB (request-bytes-max) with what stands around it. */
    PEER_FRAME_MAX = 80 << 20,
    PEER_GREETING_MAX = 4096,   /* of a body before WELCOME: from somebody we do not know yet */
    PEER_ENTRIES_MAX = 1 << 20, /* of one message */
    PEER_CHUNK_MAX = 256 << 10,
    PEER_MEMBERS_MAX = 4 + RAFT_MEMBERS_MAX * (16 + RAFT_INFO_MAX), /* raft_members_encode */
    PEER_QUERY_MAX = 4096,
    PEER_ANSWER_MAX = 4 << 20,
    PEER_URL_MAX = 320,
    PEER_TEXT_MAX = 512,
    PEER_NAME_MAX = 255,
};

enum peer_type {
#define REFUSAL(number, NAME, name, text)
#define FRAME(number, NAME, name, text, fields) PEER_##NAME = number,
#include "link/peer/peer.def"
#undef REFUSAL
#undef FRAME
    PEER_TYPES
};

/* On the wire a byte: a peer of a later version may know more. */
enum peer_refusal {
#define REFUSAL(number, NAME, name, text) PEER_REFUSED_##NAME = number,
#define FRAME(number, NAME, name, text, fields)
#include "link/peer/peer.def"
#undef REFUSAL
#undef FRAME
    PEER_REFUSALS
};

#define U8(x) uint8_t x;
#define FLAG(x) bool x;
#define ID(x) uint64_t x;
#define NUMBER(x) uint64_t x;
#define SIGNED(x) int64_t x;
#define BYTES(x, max) struct span x;
#define TEXT(x, max) struct span x;
#define CODE(x) enum err x;
#define MESSAGE(x) struct raft_message x;
#define REFUSAL(number, NAME, name, text)
#define FRAME(number, NAME, name, text, fields)                                                    \
    struct peer_##name {                                                                           \
        fields                                                                                     \
    };
#include "link/peer/peer.def"
#undef FRAME
#undef U8
#undef FLAG
#undef ID
#undef NUMBER
#undef SIGNED
#undef BYTES
#undef TEXT
#undef CODE
#undef MESSAGE

struct peer_frame {
    enum peer_type type;
    union {
#define FRAME(number, NAME, name, text, fields) struct peer_##name name;
#include "link/peer/peer.def"
#undef FRAME
#undef REFUSAL
    };
};

/* HELLO, WELCOME, REFUSE, JOIN, JOINED: said before a version is chosen, the same in all. */
bool peer_is_greeting(unsigned type);

/* The version that first has it. */
uint8_t peer_since(enum peer_type type);

/* Appends head and body, in the version that was chosen (0: none was; only greetings). A bug: bytes
 * over their bound; entries that do not follow one another, or any in a message that is no
 * APPEND. */
void peer_encode(const struct peer_frame *f, uint8_t version, struct buf *out);

/* One whole frame, head and all. Spans point into it, entries stand in the arena and their data in
 * it. ERR_FORMAT: another version than the one chosen (0: none was; only greetings have one then);
 * ERR_CORRUPT: anything else that is not exactly what peer_encode makes. */
enum err peer_decode(struct span frame, uint8_t version, struct arena *arena,
                     struct peer_frame *out) MUST_CHECK;

const char *peer_type_name(enum peer_type type); /* "HELLO" */
const char *peer_refusal_text(unsigned reason);  /* also for one that is not known */
const char *peer_refusal_name(unsigned reason);  /* "cluster", for metrics */

/* Cuts a stream of bytes into frames. What is not whole yet is kept in part, which grows with what
 * has come, not with what a head promises. */
struct peer_reader {
    struct buf part;
    uint8_t version; /* that was chosen; 0: none yet. Set by whoever reads */
    bool taken;      /* part was given out and goes at the next call */
};
void peer_reader_open(struct peer_reader *r, struct alloc *alloc);
void peer_reader_close(struct peer_reader *r);

/* Takes from the front of in. *got: frame is whole, and valid until the next call or until in goes
 * away. Without got, in is used up. Body over max: ERR_CORRUPT; errors as peer_decode, as soon as
 * the head is there. After an error the stream is of no more use. */
enum err peer_reader_next(struct peer_reader *r, struct span *in, size_t max, struct span *frame,
                          bool *got) MUST_CHECK;

/* What raft_member.info carries. */
struct peer_info {
    struct span name;       /* for people; at most PEER_NAME_MAX */
    struct span peer_url;   /* "host:port", "https://host:port": where other members call it */
    struct span client_url; /* where clients do; both at most PEER_URL_MAX */
    uint64_t incarnation;   /* of its data directory; 0: not known yet */
};
void peer_info_encode(const struct peer_info *info, struct buf *out);
/* Spans point into data. ERR_CORRUPT, ERR_FORMAT. */
enum err peer_info_decode(struct span data, struct peer_info *out) MUST_CHECK;
