#include "link/peer/peer.h"
#include <string.h>
#include "base/check.h"
#include "base/crc.h"

enum { INFO_FORMAT = 1, CODE_MAX = 32, ENTRY_MIN = 3 };
enum message_flag { MESSAGE_GRANTED = 1, MESSAGE_TRANSFER = 2, MESSAGE_FLAGS = 3 };

_Static_assert(1 + 8 + 3 * 2 + PEER_NAME_MAX + 2 * PEER_URL_MAX <= RAFT_INFO_MAX, "an info fits");
_Static_assert(PEER_URL_MAX + 64 <= PEER_GREETING_MAX && PEER_TEXT_MAX + 64 <= PEER_GREETING_MAX,
               "what is said before WELCOME fits");

/* ---- writing ---- */

static void put_bytes(struct buf *out, struct span s, size_t max)
{
    CHECK(s.len <= max);
    buf_varint(out, s.len);
    buf_span(out, s);
}

static void put_code(struct buf *out, enum err e)
{
    put_bytes(out, e == ERR_OK ? SPAN_NONE : span_text(err_code(e)), CODE_MAX);
}

static void put_entry(struct buf *out, const struct raft_entry *e, uint64_t index)
{
    CHECK(e->index == index);
    buf_varint(out, e->term);
    buf_u8(out, (uint8_t)e->type);
    put_bytes(out, e->data, PEER_FRAME_MAX);
}

static void put_message(struct buf *out, const struct raft_message *m)
{
    CHECK(m->type >= RAFT_PREVOTE && m->type < RAFT_MESSAGE_TYPES);
    CHECK(m->n_entries <= (m->type == RAFT_APPEND ? PEER_ENTRIES_MAX : 0));
    buf_u8(out, (uint8_t)m->type);
    buf_u8(out, (uint8_t)(m->granted * MESSAGE_GRANTED | m->transfer * MESSAGE_TRANSFER));
    buf_u64(out, m->to);
    buf_u64(out, m->from);
    buf_varint(out, m->term);
    buf_varint(out, m->index);
    buf_varint(out, m->index_term);
    buf_varint(out, m->rejected);
    buf_varint(out, m->commit);
    buf_varint(out, m->round);
    buf_varint(out, m->n_entries);
    for (size_t i = 0; i < m->n_entries; i++)
        put_entry(out, &m->entries[i], m->index + 1 + i);
}

#define U8(x) buf_u8(out, in->x);
#define FLAG(x) buf_u8(out, in->x);
#define ID(x) buf_u64(out, in->x);
#define NUMBER(x) buf_varint(out, in->x);
#define SIGNED(x) buf_u64(out, (uint64_t)in->x);
#define BYTES(x, max) put_bytes(out, in->x, max);
#define TEXT(x, max) put_bytes(out, in->x, max);
#define CODE(x) put_code(out, in->x);
#define MESSAGE(x) put_message(out, &in->x);
#define REFUSAL(number, NAME, name, text)
#define FRAME(number, NAME, name, text, fields)                                                    \
    static void encode_##name(struct buf *out, const struct peer_frame *f)                         \
    {                                                                                              \
        const struct peer_##name *in = &f->name;                                                   \
        fields                                                                                     \
    }
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

/* ---- reading: the first fault makes it bad, and what follows reads as nothing ---- */

struct reader {
    struct span rest;
    struct arena *arena;
    bool bad;
};

static uint8_t take_byte(struct reader *r, uint8_t max)
{
    uint8_t v = 0;
    if (r->bad || !span_u8(&r->rest, &v) || v > max)
        r->bad = true;
    return r->bad ? 0 : v;
}

static uint64_t take_id(struct reader *r)
{
    uint64_t v = 0;
    if (r->bad || !span_u64(&r->rest, &v))
        r->bad = true;
    return v;
}

/* Only its shortest form: what one means is said in one way. */
static uint64_t take_number(struct reader *r)
{
    uint64_t v = 0;
    const uint8_t *start = r->rest.data;
    if (r->bad || !span_varint(&r->rest, &v) || (r->rest.data - start > 1 && r->rest.data[-1] == 0))
        r->bad = true;
    return r->bad ? 0 : v;
}

static struct span take_bytes(struct reader *r, size_t max)
{
    struct span s = SPAN_NONE;
    uint64_t len = take_number(r);
    if (r->bad || len > max || !span_take(&r->rest, (size_t)len, &s))
        r->bad = true;
    return s;
}

/* A later version may know errors that we do not. */
static enum err take_code(struct reader *r)
{
    struct span name = take_bytes(r, CODE_MAX);
    if (!name.len)
        return ERR_OK;
    for (enum err e = ERR_OK + 1; e < ERR_COUNT; e++)
        if (span_is(name, err_code(e)))
            return e;
    return ERR_INTERNAL;
}

static void take_entries(struct reader *r, struct raft_message *m)
{
    m->n_entries = (size_t)take_number(r);
    size_t most =
        r->rest.len / ENTRY_MIN < PEER_ENTRIES_MAX ? r->rest.len / ENTRY_MIN : PEER_ENTRIES_MAX;
    r->bad = r->bad || m->n_entries > (m->type == RAFT_APPEND ? most : 0) ||
             m->index > UINT64_MAX - m->n_entries;
    if (r->bad || !m->n_entries)
        return;
    struct raft_entry *entries = arena_alloc(r->arena, m->n_entries * sizeof(*entries));
    for (size_t i = 0; i < m->n_entries && !r->bad; i++) {
        struct raft_entry *e = &entries[i];
        e->index = m->index + 1 + i;
        e->term = take_number(r);
        e->type = (enum raft_entry_type)take_byte(r, RAFT_MEMBERS);
        e->data = take_bytes(r, PEER_FRAME_MAX);
        r->bad = r->bad || e->type < RAFT_EMPTY;
    }
    m->entries = entries;
}

static void take_message(struct reader *r, struct raft_message *m)
{
    *m = (struct raft_message){ .type =
                                    (enum raft_message_type)take_byte(r, RAFT_MESSAGE_TYPES - 1) };
    uint8_t flags = take_byte(r, MESSAGE_FLAGS);
    m->granted = flags & MESSAGE_GRANTED;
    m->transfer = flags & MESSAGE_TRANSFER;
    m->to = take_id(r);
    m->from = take_id(r);
    m->term = take_number(r);
    m->index = take_number(r);
    m->index_term = take_number(r);
    m->rejected = take_number(r);
    m->commit = take_number(r);
    m->round = take_number(r);
    r->bad = r->bad || m->type < RAFT_PREVOTE;
    take_entries(r, m);
}

#define U8(x) out->x = take_byte(r, UINT8_MAX);
#define FLAG(x) out->x = take_byte(r, 1);
#define ID(x) out->x = take_id(r);
#define NUMBER(x) out->x = take_number(r);
#define SIGNED(x) out->x = (int64_t)take_id(r);
#define BYTES(x, max) out->x = take_bytes(r, max);
#define TEXT(x, max) out->x = take_bytes(r, max);
#define CODE(x) out->x = take_code(r);
#define MESSAGE(x) take_message(r, &out->x);
#define FRAME(number, NAME, name, text, fields)                                                    \
    static void decode_##name(struct reader *r, struct peer_frame *f)                              \
    {                                                                                              \
        struct peer_##name *out = &f->name;                                                        \
        fields                                                                                     \
    }
#include "link/peer/peer.def"
#undef FRAME

/* ---- frames ---- */

static const struct codec {
    const char *name;
    void (*encode)(struct buf *out, const struct peer_frame *f);
    void (*decode)(struct reader *r, struct peer_frame *f);
} codecs[PEER_TYPES] = {
#define FRAME(number, NAME, name, text, fields) [number] = { #NAME, encode_##name, decode_##name },
#include "link/peer/peer.def"
#undef FRAME
#undef REFUSAL
};

const char *peer_type_name(enum peer_type type)
{
    CHECK(type > 0 && type < PEER_TYPES);
    return codecs[type].name;
}

struct head {
    uint32_t len, crc, zero;
    uint8_t version, type, zeros[2];
};

static void store_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

bool peer_is_greeting(unsigned type)
{
    return type >= PEER_HELLO && type <= PEER_JOINED;
}

void peer_encode(const struct peer_frame *f, uint8_t version, struct buf *out)
{
    static const uint8_t zeros[PEER_HEAD];
    CHECK(f->type > 0 && f->type < PEER_TYPES);
    CHECK(peer_is_greeting(f->type) || version >= peer_since(f->type));
    size_t start = out->len;
    buf_put(out, zeros, PEER_HEAD);
    codecs[f->type].encode(out, f);
    uint8_t *head = out->data + start;
    size_t len = out->len - start - PEER_HEAD;
    CHECK(len <= PEER_FRAME_MAX);
    store_u32(head, (uint32_t)len);
    head[4] = peer_is_greeting(f->type) ? PEER_GREETING : version;
    head[5] = (uint8_t)f->type;
    store_u32(head + 8, crc32c(0, head, PEER_HEAD + len));
}

/* in has a head at least. */
uint8_t peer_since(enum peer_type type)
{
    return type >= PEER_DELIVERIES ? 3 : type >= PEER_DIGEST ? 2 : 1;
}

static enum err read_head(struct span in, uint8_t version, struct head *h)
{
    bool whole = span_u32(&in, &h->len) && span_u8(&in, &h->version) && span_u8(&in, &h->type) &&
                 span_u8(&in, &h->zeros[0]) && span_u8(&in, &h->zeros[1]) &&
                 span_u32(&in, &h->crc) && span_u32(&in, &h->zero);
    CHECK(whole);
    if (h->version == 0 || h->version != (peer_is_greeting(h->type) ? PEER_GREETING : version))
        return ERR_FORMAT;
    bool sound = h->len <= PEER_FRAME_MAX && h->type > 0 && h->type < PEER_TYPES && !h->zeros[0] &&
                 !h->zeros[1] && !h->zero && h->version >= peer_since(h->type);
    return sound ? ERR_OK : ERR_CORRUPT;
}

static uint32_t sum(struct span frame)
{
    static const uint8_t zeros[4];
    uint32_t crc = crc32c(0, frame.data, 8);
    crc = crc32c(crc, zeros, sizeof(zeros));
    return crc32c(crc, frame.data + 12, frame.len - 12);
}

enum err peer_decode(struct span frame, uint8_t version, struct arena *arena,
                     struct peer_frame *out)
{
    struct head h;
    if (frame.len < PEER_HEAD)
        return ERR_CORRUPT;
    enum err e = read_head(frame, version, &h);
    if (e != ERR_OK)
        return e;
    if (frame.len - PEER_HEAD != h.len || sum(frame) != h.crc)
        return ERR_CORRUPT;
    struct reader r = { span_from(frame, PEER_HEAD), arena, false };
    out->type = (enum peer_type)h.type;
    codecs[h.type].decode(&r, out);
    return r.bad || r.rest.len ? ERR_CORRUPT : ERR_OK;
}

/* ---- a stream of them ---- */

void peer_reader_open(struct peer_reader *r, struct alloc *alloc)
{
    buf_open(&r->part, alloc);
    r->version = 0;
    r->taken = false;
}

void peer_reader_close(struct peer_reader *r)
{
    buf_close(&r->part);
}

/* Moves up to want bytes in all into part; true when it has them. */
static bool gather(struct peer_reader *r, struct span *in, size_t want)
{
    if (r->part.len < want) {
        size_t n = want - r->part.len < in->len ? want - r->part.len : in->len;
        buf_put(&r->part, in->data, n);
        *in = span_from(*in, n);
    }
    return r->part.len >= want;
}

static enum err check_head(const struct peer_reader *r, struct span in, size_t max, size_t *size)
{
    struct head h;
    enum err e = read_head(in, r->version, &h);
    *size = PEER_HEAD + (size_t)h.len;
    return e == ERR_OK && h.len > max ? ERR_CORRUPT : e;
}

enum err peer_reader_next(struct peer_reader *r, struct span *in, size_t max, struct span *frame,
                          bool *got)
{
    size_t size;
    enum err e;
    *got = false;
    if (r->taken) {
        buf_close(&r->part);
        r->taken = false;
    }
    if (r->part.len == 0 && in->len >= PEER_HEAD) {
        e = check_head(r, *in, max, &size);
        if (e != ERR_OK)
            return e;
        if (in->len >= size) { /* whole: no copy */
            *got = span_take(in, size, frame);
            return ERR_OK;
        }
    }
    if ((!in->len && !r->part.len) || !gather(r, in, PEER_HEAD))
        return ERR_OK;
    e = check_head(r, buf_all(&r->part), max, &size);
    if (e != ERR_OK || !gather(r, in, size))
        return e;
    *frame = buf_all(&r->part);
    *got = r->taken = true;
    return ERR_OK;
}

/* ---- infos ---- */

void peer_info_encode(const struct peer_info *info, struct buf *out)
{
    buf_u8(out, INFO_FORMAT);
    put_bytes(out, info->name, PEER_NAME_MAX);
    put_bytes(out, info->peer_url, PEER_URL_MAX);
    put_bytes(out, info->client_url, PEER_URL_MAX);
    buf_u64(out, info->incarnation);
}

enum err peer_info_decode(struct span data, struct peer_info *out)
{
    struct reader r = { data, NULL, false };
    uint8_t format = take_byte(&r, UINT8_MAX);
    if (!r.bad && format != INFO_FORMAT)
        return format > INFO_FORMAT ? ERR_FORMAT : ERR_CORRUPT;
    out->name = take_bytes(&r, PEER_NAME_MAX);
    out->peer_url = take_bytes(&r, PEER_URL_MAX);
    out->client_url = take_bytes(&r, PEER_URL_MAX);
    out->incarnation = take_id(&r);
    return r.bad || r.rest.len ? ERR_CORRUPT : ERR_OK;
}

/* ---- refusals ---- */

static const struct {
    const char *name, *text;
} refusals[PEER_REFUSALS] = {
#define REFUSAL(number, NAME, name, text) [number] = { #name, text },
#define FRAME(number, NAME, name, text, fields)
#include "link/peer/peer.def"
#undef REFUSAL
#undef FRAME
};

static bool known(unsigned reason)
{
    return reason < PEER_REFUSALS && refusals[reason].name;
}

const char *peer_refusal_text(unsigned reason)
{
    return known(reason) ? refusals[reason].text : "for a reason that this version does not know";
}

const char *peer_refusal_name(unsigned reason)
{
    return known(reason) ? refusals[reason].name : "other";
}
