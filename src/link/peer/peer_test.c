#include "link/peer/peer.h"
#include "base/check.h"
#include "base/crc.h"
#include "base/prng.h"
#include "base/test.h"

enum { ROUNDS = 60, ENTRIES = 5, VERSION = PEER_VERSION };

struct bench {
    struct alloc heap;
    struct arena arena;
    struct buf bytes, again;
    struct prng prng;
    uint8_t noise[600];
    struct raft_entry entries[ENTRIES];
};

static void bench_open(struct bench *b)
{
    *b = (struct bench){ .prng = { 7 } };
    alloc_heap(&b->heap);
    arena_open(&b->arena, &b->heap);
    buf_open(&b->bytes, &b->heap);
    buf_open(&b->again, &b->heap);
    for (size_t i = 0; i < sizeof(b->noise); i++)
        b->noise[i] = (uint8_t)prng_next(&b->prng);
}

static bool bench_close(struct bench *b)
{
    arena_close(&b->arena);
    buf_close(&b->bytes);
    buf_close(&b->again);
    return b->heap.used == 0;
}

/* ---- any frame ---- */

/* Of every size, and the ends of the range often. */
static uint64_t number(struct bench *b)
{
    uint64_t v = prng_next(&b->prng) >> prng_below(&b->prng, 64);
    return prng_below(&b->prng, 8) == 0 ? UINT64_MAX : prng_below(&b->prng, 8) == 0 ? 0 : v;
}

static struct span bytes(struct bench *b, size_t max)
{
    size_t most = max < sizeof(b->noise) ? max : sizeof(b->noise);
    size_t len = (size_t)prng_below(&b->prng, most + 1);
    if (prng_below(&b->prng, 8) == 0)
        len = most;
    return span_of(b->noise, len);
}

static struct raft_message message(struct bench *b)
{
    struct raft_message m = { .to = number(b),
                              .from = number(b),
                              .term = number(b),
                              .index = number(b),
                              .index_term = number(b),
                              .rejected = number(b),
                              .commit = number(b),
                              .round = number(b),
                              .granted = prng_below(&b->prng, 2),
                              .transfer = prng_below(&b->prng, 2) };
    m.type = (enum raft_message_type)(1 + prng_below(&b->prng, RAFT_MESSAGE_TYPES - 1));
    if (m.type != RAFT_APPEND)
        return m;
    m.index = prng_below(&b->prng, 4) ? m.index >> 1 : UINT64_MAX - ENTRIES;
    m.n_entries = (size_t)prng_below(&b->prng, ENTRIES + 1);
    m.entries = b->entries;
    for (size_t i = 0; i < m.n_entries; i++)
        b->entries[i] = (struct raft_entry){
            m.index + 1 + i, number(b),
            (enum raft_entry_type)(RAFT_EMPTY + prng_below(&b->prng, RAFT_MEMBERS)), bytes(b, 600)
        };
    return m;
}

#define U8(x) out->x = (uint8_t)prng_next(&b->prng);
#define FLAG(x) out->x = prng_below(&b->prng, 2);
#define ID(x) out->x = prng_next(&b->prng);
#define NUMBER(x) out->x = number(b);
#define SIGNED(x) out->x = (int64_t)number(b);
#define BYTES(x, max) out->x = bytes(b, max);
#define TEXT(x, max) out->x = bytes(b, max);
#define CODE(x) out->x = (enum err)prng_below(&b->prng, ERR_COUNT);
#define MESSAGE(x) out->x = message(b);
#define REFUSAL(number, NAME, name, text)
#define FRAME(number, NAME, name, text, fields)                                                    \
    static void make_##name(struct bench *b, struct peer_frame *f)                                 \
    {                                                                                              \
        struct peer_##name *out = &f->name;                                                        \
        f->type = PEER_##NAME;                                                                     \
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

static bool same_message(const struct raft_message *a, const struct raft_message *b)
{
    bool same = a->type == b->type && a->to == b->to && a->from == b->from && a->term == b->term &&
                a->index == b->index && a->index_term == b->index_term &&
                a->rejected == b->rejected && a->commit == b->commit && a->round == b->round &&
                a->granted == b->granted && a->transfer == b->transfer &&
                a->n_entries == b->n_entries;
    for (size_t i = 0; same && i < a->n_entries; i++) {
        const struct raft_entry *x = &a->entries[i], *y = &b->entries[i];
        same = x->index == y->index && x->term == y->term && x->type == y->type &&
               span_equal(x->data, y->data);
    }
    return same;
}

#define U8(x) &&a->x == b->x
#define FLAG(x) &&a->x == b->x
#define ID(x) &&a->x == b->x
#define NUMBER(x) &&a->x == b->x
#define SIGNED(x) &&a->x == b->x
#define BYTES(x, max) &&span_equal(a->x, b->x)
#define TEXT(x, max) &&span_equal(a->x, b->x)
#define CODE(x) &&a->x == b->x
#define MESSAGE(x) &&same_message(&a->x, &b->x)
#define FRAME(number, NAME, name, text, fields)                                                    \
    static bool same_##name(const struct peer_frame *f, const struct peer_frame *g)                \
    {                                                                                              \
        const struct peer_##name *a = &f->name, *b = &g->name;                                     \
        return f->type == g->type fields;                                                          \
    }
#include "link/peer/peer.def"
#undef FRAME

static const struct {
    void (*make)(struct bench *b, struct peer_frame *f);
    bool (*same)(const struct peer_frame *a, const struct peer_frame *b);
} kinds[PEER_TYPES] = {
#define FRAME(number, NAME, name, text, fields) [number] = { make_##name, same_##name },
#include "link/peer/peer.def"
#undef FRAME
#undef REFUSAL
};

TEST(peer_frames_come_back)
{
    struct bench b;
    struct peer_frame f, g;
    bench_open(&b);
    for (unsigned type = 1; type < PEER_TYPES; type++)
        for (int i = 0; i < ROUNDS; i++) {
            kinds[type].make(&b, &f);
            buf_reset(&b.bytes);
            buf_reset(&b.again);
            arena_reset(&b.arena);
            peer_encode(&f, VERSION, &b.bytes);
            EXPECT(peer_decode(buf_all(&b.bytes), VERSION, &b.arena, &g) == ERR_OK);
            EXPECT(kinds[type].same(&f, &g));
            peer_encode(&g, VERSION, &b.again);
            EXPECT(span_equal(buf_all(&b.bytes), buf_all(&b.again)));
        }
    EXPECT(bench_close(&b));
}

/* CRC-32C finds every changed bit, and the length is told: no changed frame is taken. */
TEST(peer_frames_that_were_changed_or_cut)
{
    struct bench b;
    struct peer_frame f, g;
    bench_open(&b);
    for (unsigned type = 1; type < PEER_TYPES; type++) {
        kinds[type].make(&b, &f);
        buf_reset(&b.bytes);
        peer_encode(&f, VERSION, &b.bytes);
        for (size_t bit = 0; bit < b.bytes.len * 8; bit++) {
            b.bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            EXPECT(peer_decode(buf_all(&b.bytes), VERSION, &b.arena, &g) != ERR_OK);
            b.bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t len = 0; len < b.bytes.len; len++)
            EXPECT(peer_decode(span_of(b.bytes.data, len), VERSION, &b.arena, &g) == ERR_CORRUPT);
        EXPECT(peer_decode(buf_all(&b.bytes), VERSION, &b.arena, &g) == ERR_OK);
        buf_u8(&b.bytes, 0);
        EXPECT(peer_decode(buf_all(&b.bytes), VERSION, &b.arena, &g) == ERR_CORRUPT);
    }
    EXPECT(bench_close(&b));
}

/* ---- bytes that no peer of ours makes, under a good checksum ---- */

static enum err decode_body(struct bench *b, uint8_t version, uint8_t type, struct span body)
{
    struct peer_frame f;
    buf_reset(&b->bytes);
    buf_u32(&b->bytes, (uint32_t)body.len);
    buf_u32(&b->bytes, version | (uint32_t)type << 8);
    buf_u64(&b->bytes, 0);
    buf_span(&b->bytes, body);
    uint32_t crc = crc32c(0, b->bytes.data, b->bytes.len);
    for (int i = 0; i < 4; i++)
        b->bytes.data[8 + i] = (uint8_t)(crc >> (8 * i));
    return peer_decode(buf_all(&b->bytes), VERSION, &b->arena, &f);
}

#define BODY(type, literal)                                                                        \
    decode_body(&b, peer_is_greeting(type) ? PEER_GREETING : VERSION, type, SPAN(literal))

/* type, flags, to, from, term, index, index_term, rejected, commit, round; then the entries. */
#define RAFT_HEAD(type, flags, index)                                                              \
    type flags "aaaaaaaa"                                                                          \
               "bbbbbbbb"                                                                          \
               "\1" index "\1"                                                                     \
               "\0"                                                                                \
               "\3"                                                                                \
               "\4"

TEST(peer_strict_decoding)
{
    struct bench b;
    bench_open(&b);
    EXPECT(BODY(PEER_READ, "\5") == ERR_OK);
    EXPECT(BODY(PEER_READ, "") == ERR_CORRUPT);       /* too short */
    EXPECT(BODY(PEER_READ, "\5\0") == ERR_CORRUPT);   /* something behind it */
    EXPECT(BODY(PEER_READ, "\x85\0") == ERR_CORRUPT); /* 5 in a longer form */
    EXPECT(BODY(PEER_READ, "\0") == ERR_OK);          /* 0 in its one form */
    EXPECT(BODY(0, "") == ERR_CORRUPT && BODY(PEER_TYPES, "") == ERR_CORRUPT);
    EXPECT(decode_body(&b, VERSION + 1, PEER_READ, SPAN("\5")) == ERR_FORMAT);
    EXPECT(decode_body(&b, 0, PEER_READ, SPAN("\5")) == ERR_FORMAT);
    EXPECT(decode_body(&b, VERSION + 1, 99, SPAN("\5")) ==
           ERR_FORMAT); /* its types we cannot judge */
    EXPECT(BODY(PEER_INSTALLED, "\5\1") == ERR_OK);
    EXPECT(BODY(PEER_INSTALLED, "\5\2") == ERR_CORRUPT);
    EXPECT(BODY(PEER_REFUSE, "\1\3abc") == ERR_OK);
    EXPECT(BODY(PEER_REFUSE, "\xc8\3abc") == ERR_OK); /* a reason of a later version */
    EXPECT(BODY(PEER_REFUSE, "\1\4abc") == ERR_CORRUPT);
    EXPECT(BODY(PEER_REFUSE, "\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\0") == ERR_OK);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\1\1\2\1x") == ERR_OK);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\2\1\2\1x") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\1\1\2\1xx") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\1\1\0\1x") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\1\1\4\1x") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\5", "\0", "\7") "\xff\xff\x3f") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\6", "\0", "\7") "\1\1\2\1x") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\6", "\3", "\7") "\0") == ERR_OK);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\6", "\4", "\7") "\0") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\0", "\0", "\7") "\0") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT, RAFT_HEAD("\x8", "\0", "\7") "\0") == ERR_CORRUPT);
    EXPECT(BODY(PEER_RAFT,
                RAFT_HEAD("\5", "\0", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1") "\1\1\2\1x") ==
           ERR_CORRUPT); /* its index would be 2^64 */
    EXPECT(bench_close(&b));
}

TEST(peer_errors_go_by_name)
{
    struct bench b;
    struct peer_frame f;
    bench_open(&b);
    EXPECT(BODY(PEER_READ_INDEX, "\1\0\1") == ERR_OK);
    EXPECT(BODY(PEER_READ_INDEX, "\1\11no_leader\1") == ERR_OK);
    EXPECT(peer_decode(buf_all(&b.bytes), VERSION, &b.arena, &f) == ERR_OK);
    EXPECT(f.read_index.err == ERR_NO_LEADER);
    EXPECT(BODY(PEER_READ_INDEX, "\1\4news\1") == ERR_OK);
    EXPECT(peer_decode(buf_all(&b.bytes), VERSION, &b.arena, &f) == ERR_OK);
    EXPECT(f.read_index.err == ERR_INTERNAL);
    EXPECT(bench_close(&b));
}

/* These bytes are what other builds send: if they change, the version has to. */
TEST(peer_bytes_are_for_ever)
{
    struct bench b;
    struct raft_entry e = { 301, 5, RAFT_COMMAND, SPAN("cmd") };
    struct peer_frame hello = { PEER_HELLO, .hello = { 1, 2, 3, 4, 5, 6, SPAN("h:1") } };
    struct peer_frame append = { PEER_RAFT, .raft = { { .type = RAFT_APPEND,
                                                        .to = 1,
                                                        .from = 2,
                                                        .term = 5,
                                                        .index = 300,
                                                        .index_term = 4,
                                                        .commit = 299,
                                                        .round = 1,
                                                        .entries = &e,
                                                        .n_entries = 1 } } };
    static const uint8_t hello_bytes[] = {
        38, 0, 0, 0, 1, 1, 0, 0, 0xef, 0x92, 0x62, 0x80, 0, 0, 0, 0,   1,   2,
        3,  0, 0, 0, 0, 0, 0, 0, 4,    0,    0,    0,    0, 0, 0, 0,   5,   0,
        0,  0, 0, 0, 0, 0, 6, 0, 0,    0,    0,    0,    0, 0, 3, 'h', ':', '1',
    };
    static const uint8_t append_bytes[] = {
        33, 0,    0, 0, 1, 6,    0, 0, 0x66, 0x44, 0x87, 0x1b, 0,   0,   0,   0, 5,
        0,  1,    0, 0, 0, 0,    0, 0, 0,    2,    0,    0,    0,   0,   0,   0, 0,
        5,  0xac, 2, 4, 0, 0xab, 2, 1, 1,    5,    2,    3,    'c', 'm', 'd',
    };
    bench_open(&b);
    peer_encode(&hello, VERSION, &b.bytes);
    EXPECT(span_equal(buf_all(&b.bytes), span_of(hello_bytes, sizeof(hello_bytes))));
    buf_reset(&b.bytes);
    peer_encode(&append, 1, &b.bytes);
    EXPECT(span_equal(buf_all(&b.bytes), span_of(append_bytes, sizeof(append_bytes))));
    EXPECT(bench_close(&b));
}

/* ---- streams ---- */

TEST(peer_streams_cut_anywhere)
{
    struct bench b;
    struct peer_frame f;
    struct peer_reader r;
    struct span frame, whole;
    size_t ends[3 * PEER_TYPES], n = 0;
    bool got;
    bench_open(&b);
    for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        kinds[1 + i % (PEER_TYPES - 1)].make(&b, &f);
        peer_encode(&f, VERSION, &b.bytes);
        ends[n++] = b.bytes.len;
    }
    for (size_t step = 1; step < 3000; step = step * 2 + 1) {
        struct span in = buf_all(&b.bytes), piece;
        size_t seen = 0;
        peer_reader_open(&r, &b.heap);
        r.version = VERSION;
        while (in.len) {
            EXPECT(span_take(&in, step < in.len ? step : in.len, &piece));
            for (;;) {
                EXPECT(peer_reader_next(&r, &piece, PEER_FRAME_MAX, &frame, &got) == ERR_OK);
                if (!got)
                    break;
                size_t start = seen ? ends[seen - 1] : 0;
                whole = span_of(b.bytes.data + start, ends[seen] - start);
                EXPECT(span_equal(frame, whole));
                seen++;
            }
            EXPECT(piece.len == 0);
        }
        EXPECT(seen == n);
        peer_reader_close(&r);
    }
    EXPECT(bench_close(&b));
}

TEST(peer_streams_that_promise_too_much)
{
    struct bench b;
    struct peer_reader r;
    struct span frame, in;
    bool got;
    bench_open(&b);
    buf_u32(&b.bytes, PEER_FRAME_MAX);
    buf_u32(&b.bytes, VERSION | PEER_FORWARD << 8);
    buf_u64(&b.bytes, 0);
    buf_put(&b.bytes, b.noise, 100);
    peer_reader_open(&r, &b.heap);
    r.version = VERSION;
    in = buf_all(&b.bytes);
    EXPECT(peer_reader_next(&r, &in, PEER_FRAME_MAX, &frame, &got) == ERR_OK && !got);
    EXPECT(in.len == 0 && r.part.cap < 512); /* memory for what came, not for what may come */
    peer_reader_close(&r);
    in = buf_all(&b.bytes);
    EXPECT(peer_reader_next(&r, &in, PEER_FRAME_MAX - 1, &frame, &got) == ERR_CORRUPT);
    for (size_t i = 0; i < PEER_HEAD; i++) { /* in pieces it is seen when the head is whole */
        in = span_of(b.bytes.data + i, 1);
        enum err e = peer_reader_next(&r, &in, PEER_GREETING_MAX, &frame, &got);
        EXPECT(e == (i == PEER_HEAD - 1 ? ERR_CORRUPT : ERR_OK) && !got);
    }
    peer_reader_close(&r);
    b.bytes.data[4] = 9;
    in = buf_all(&b.bytes);
    EXPECT(peer_reader_next(&r, &in, PEER_FRAME_MAX, &frame, &got) == ERR_FORMAT);
    peer_reader_close(&r);
    EXPECT(bench_close(&b));
}

/* ---- versions ---- */

/* A greeting chooses the version, so its own never changes; all else has what was chosen. */
TEST(peer_versions)
{
    struct bench b;
    struct peer_frame f, g;
    struct peer_reader r;
    struct span in, frame;
    bool got;
    bench_open(&b);
    for (unsigned type = 1; type < PEER_TYPES; type++) {
        bool greeting = peer_is_greeting(type);
        kinds[type].make(&b, &f);
        uint8_t first = greeting ? 0 : peer_since(type);
        for (uint8_t version = first; version <= PEER_VERSION; version++) {
            buf_reset(&b.bytes);
            peer_encode(&f, version, &b.bytes);
            EXPECT(b.bytes.data[4] == (greeting ? PEER_GREETING : version));
            for (uint8_t other = 0; other <= PEER_VERSION; other++) {
                enum err want = greeting || other == version ? ERR_OK : ERR_FORMAT;
                EXPECT(peer_decode(buf_all(&b.bytes), other, &b.arena, &g) == want);
                peer_reader_open(&r, &b.heap);
                r.version = other;
                in = buf_all(&b.bytes);
                EXPECT(peer_reader_next(&r, &in, PEER_FRAME_MAX, &frame, &got) == want);
                EXPECT(got == (want == ERR_OK));
                peer_reader_close(&r);
            }
        }
    }
    f.type = PEER_DIGEST; /* not one of version 1 */
    buf_reset(&b.bytes);
    peer_encode(&f, 2, &b.bytes);
    b.bytes.data[4] = 1;
    EXPECT(peer_decode(buf_all(&b.bytes), 1, &b.arena, &g) == ERR_CORRUPT);
    EXPECT(!peer_is_greeting(0) && !peer_is_greeting(PEER_RAFT) && !peer_is_greeting(PEER_TYPES));
    EXPECT(bench_close(&b));
}

/* ---- infos and words ---- */

TEST(peer_infos)
{
    struct bench b;
    struct peer_info in, out;
    bench_open(&b);
    for (int i = 0; i < ROUNDS; i++) {
        in = (struct peer_info){ bytes(&b, PEER_NAME_MAX), bytes(&b, PEER_URL_MAX),
                                 bytes(&b, PEER_URL_MAX), prng_next(&b.prng) };
        buf_reset(&b.bytes);
        peer_info_encode(&in, &b.bytes);
        EXPECT(b.bytes.len <= RAFT_INFO_MAX);
        EXPECT(peer_info_decode(buf_all(&b.bytes), &out) == ERR_OK);
        EXPECT(span_equal(in.name, out.name) && span_equal(in.peer_url, out.peer_url));
        EXPECT(span_equal(in.client_url, out.client_url) && in.incarnation == out.incarnation);
        for (size_t len = 0; len < b.bytes.len; len++)
            EXPECT(peer_info_decode(span_of(b.bytes.data, len), &out) == ERR_CORRUPT);
        buf_u8(&b.bytes, 0);
        EXPECT(peer_info_decode(buf_all(&b.bytes), &out) == ERR_CORRUPT);
    }
    EXPECT(peer_info_decode(SPAN("\2rest"), &out) == ERR_FORMAT);
    EXPECT(peer_info_decode(SPAN("\0rest"), &out) == ERR_CORRUPT);
    EXPECT(bench_close(&b));
}

TEST(peer_words)
{
    EXPECT(strcmp(peer_type_name(PEER_RAFT), "RAFT") == 0);
    EXPECT(strcmp(peer_refusal_name(PEER_REFUSED_WIPED), "wiped") == 0);
    EXPECT(strcmp(peer_refusal_name(0), "other") == 0);
    EXPECT(strcmp(peer_refusal_name(PEER_REFUSALS), "other") == 0);
    EXPECT(strlen(peer_refusal_text(200)) > 0);
    for (unsigned i = 0; i < PEER_REFUSALS + 2u; i++)
        EXPECT(strlen(peer_refusal_text(i)) <= PEER_TEXT_MAX);
}
