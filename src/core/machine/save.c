/* A checkpoint is a row of pieces. A piece is one byte of kind, then (numbers little-endian):
 *
 *   1 HEAD     u32 format, u64 applied index, u64 its term, u32 digest, u64 revision,
 *              from format 7 on u8 level                                            the first
 *   2 LEASES   as lease_save; id and TTL alone before format 3                         the second
 *   5 MEMBERS  the membership's bytes; not in format 1                                 the third
 *   6 AUTH     as auth_save; not before format 4                                       the fourth
 *   7 ALARMS   as alarm_save; not before format 5                                      the fifth
 *   8 LIMITS   as limit_save; not before format 6                                      the sixth
 *   3 STORE    as kv_save_step                                                         any number
 *   4 END      u64 pieces before it, u64 bytes in them, u32 CRC-32C over those         the last
 *
 * Whoever stores the pieces has checksums of its own; this one is taken where the bytes are made
 * and looked at where they are used. */
#include "base/check.h"
#include "base/crc.h"
#include "core/machine/machine.h"

enum {
    FORMAT = 7,
    FORMAT_WITHOUT_LEVEL = 6, /* written as long as the level in force may be older than format 7 */
    FORMAT_WITHOUT_NOTES = 2,
    FORMAT_WITHOUT_MEMBERS = 1,
    ATTACH_PAGE = 1000
};
enum piece_kind {
    PIECE_NONE,
    PIECE_HEAD,
    PIECE_LEASES,
    PIECE_STORE,
    PIECE_END,
    PIECE_MEMBERS,
    PIECE_AUTH,
    PIECE_ALARMS,
    PIECE_LIMITS,
    PIECE_KINDS
};

/* The pieces before the store, in their order: made at once, so that what comes later is not in
 * them. */
enum { PIECES_FIRST = 6 };

struct machine_save {
    struct alloc *alloc;
    struct kv_save *kv;
    struct buf first[PIECES_FIRST];
    size_t next; /* of first; then the store; then the end */
    bool stored, ended;
    uint64_t pieces, size_bytes;
    uint32_t crc;
};

static struct buf *begin_piece(struct machine_save *s, enum piece_kind kind)
{
    CHECK(s->next < PIECES_FIRST);
    struct buf *b = &s->first[s->next++];
    buf_open(b, s->alloc);
    buf_u8(b, (uint8_t)kind);
    return b;
}

struct machine_save *machine_save_open(struct machine *m, struct alloc *alloc)
{
    struct machine_save *s = mem_zero(alloc, sizeof(*s));
    s->alloc = alloc;
    struct buf *head = begin_piece(s, PIECE_HEAD);
    bool told = m->level >= MACHINE_LEVEL_TOLD;
    buf_u32(head, told ? FORMAT : FORMAT_WITHOUT_LEVEL);
    buf_u64(head, m->applied_index);
    buf_u64(head, m->applied_term);
    buf_u32(head, m->digest);
    buf_u64(head, (uint64_t)kv_revision(m->kv));
    if (told)
        buf_u8(head, m->level);
    lease_save(m->lease, begin_piece(s, PIECE_LEASES));
    buf_span(begin_piece(s, PIECE_MEMBERS), machine_members_now(m));
    auth_save(m->auth, begin_piece(s, PIECE_AUTH));
    alarm_save(&m->alarms, begin_piece(s, PIECE_ALARMS));
    limit_save(m->limit, begin_piece(s, PIECE_LIMITS));
    CHECK(s->next == PIECES_FIRST);
    s->next = 0;
    s->kv = kv_save_open(m->kv);
    return s;
}

static void write_piece(struct machine_save *s, size_t budget_bytes, struct buf *out)
{
    CHECK(!s->ended);
    if (s->next < PIECES_FIRST) {
        buf_span(out, buf_all(&s->first[s->next++]));
    } else if (!s->stored) {
        buf_u8(out, PIECE_STORE);
        s->stored = !kv_save_step(s->kv, budget_bytes, out);
    } else {
        buf_u8(out, PIECE_END);
        buf_u64(out, s->pieces);
        buf_u64(out, s->size_bytes);
        buf_u32(out, s->crc);
        s->ended = true;
    }
}

bool machine_save_step(struct machine_save *s, size_t budget_bytes, struct buf *out)
{
    size_t start = out->len;
    write_piece(s, budget_bytes, out);
    s->pieces++;
    s->size_bytes += out->len - start;
    s->crc = crc32c(s->crc, out->data + start, out->len - start);
    return !s->ended;
}

void machine_save_close(struct machine_save *s)
{
    kv_save_close(s->kv);
    for (size_t i = 0; i < PIECES_FIRST; i++)
        buf_close(&s->first[i]);
    mem_free(s->alloc, s, sizeof(*s));
}

/* ---- loading ---- */

static enum err load_head(struct machine *m, struct span *s)
{
    struct machine_loading *l = &m->loading;
    uint64_t revision;
    if (!span_u32(s, &l->format))
        return ERR_CORRUPT;
    if (l->format > (MACHINE_LEVEL >= MACHINE_LEVEL_TOLD ? FORMAT : FORMAT_WITHOUT_LEVEL))
        return ERR_FORMAT;
    if (l->format < FORMAT_WITHOUT_MEMBERS || !span_u64(s, &m->applied_index) ||
        !span_u64(s, &m->applied_term) || !span_u32(s, &m->digest) || !span_u64(s, &revision) ||
        revision > INT64_MAX)
        return ERR_CORRUPT;
    l->revision = (int64_t)revision;
    m->level = MACHINE_LEVEL_FIRST;
    if (l->format > FORMAT_WITHOUT_LEVEL &&
        (!span_u8(s, &m->level) || m->level < MACHINE_LEVEL_TOLD))
        return ERR_CORRUPT;
    return m->level > MACHINE_LEVEL ? ERR_FORMAT : ERR_OK;
}

enum err machine_load_check(struct span first)
{
    struct machine m = { .digest = 0 };
    uint8_t kind;
    if (!span_u8(&first, &kind) || kind != PIECE_HEAD)
        return ERR_CORRUPT;
    enum err err = load_head(&m, &first);
    return err == ERR_OK && first.len ? ERR_CORRUPT : err;
}

bool machine_piece_store(struct span piece, struct span *records)
{
    if (piece.len == 0 || piece.data[0] != PIECE_STORE)
        return false;
    *records = span_from(piece, 1);
    return true;
}

static enum err load_leases(struct machine *m, struct span *s)
{
    return lease_load(m->lease, s, m->loading.format <= FORMAT_WITHOUT_NOTES, 0);
}

static enum err load_members(struct machine *m, struct span *s)
{
    buf_span(&m->members, *s);
    s->len = 0;
    return ERR_OK;
}

static enum err load_auth(struct machine *m, struct span *s)
{
    return auth_load(m->auth, s);
}

static enum err load_alarms(struct machine *m, struct span *s)
{
    return alarm_load(&m->alarms, s);
}

static enum err load_limits(struct machine *m, struct span *s)
{
    return limit_load(m->limit, s);
}

static enum err load_store(struct machine *m, struct span *s)
{
    struct span records = *s;
    s->len = 0;
    return records.len ? kv_load(m->kv, records) : ERR_OK;
}

static enum err load_last(struct machine *m, struct span *s)
{
    uint64_t pieces, size_bytes;
    uint32_t crc;
    if (!span_u64(s, &pieces) || !span_u64(s, &size_bytes) || !span_u32(s, &crc))
        return ERR_CORRUPT;
    return pieces == m->loading.pieces && size_bytes == m->loading.size_bytes &&
                   crc == m->loading.crc
               ? ERR_OK
               : ERR_CORRUPT;
}

static const struct piece {
    enum err (*load)(struct machine *m, struct span *s);
    uint16_t after; /* bits of the kinds that may stand before it */
} kinds[PIECE_KINDS] = {
    [PIECE_HEAD] = { load_head, 1 << PIECE_NONE },
    [PIECE_LEASES] = { load_leases, 1 << PIECE_HEAD },
    [PIECE_MEMBERS] = { load_members, 1 << PIECE_LEASES },
    [PIECE_AUTH] = { load_auth, 1 << PIECE_MEMBERS },
    [PIECE_ALARMS] = { load_alarms, 1 << PIECE_AUTH },
    [PIECE_LIMITS] = { load_limits, 1 << PIECE_ALARMS },
    [PIECE_STORE] = { load_store, 1 << PIECE_LEASES | 1 << PIECE_MEMBERS | 1 << PIECE_AUTH |
                                      1 << PIECE_ALARMS | 1 << PIECE_LIMITS | 1 << PIECE_STORE },
    [PIECE_END] = { load_last, 1 << PIECE_STORE },
};

enum err machine_load(struct machine *m, struct span piece)
{
    struct machine_loading *l = &m->loading;
    struct span s = piece;
    uint8_t kind;
    if (!span_u8(&s, &kind) || kind == PIECE_NONE || kind >= PIECE_KINDS ||
        !(kinds[kind].after & 1 << l->kind))
        return ERR_CORRUPT;
    enum err err = kinds[kind].load(m, &s);
    if (err)
        return err;
    l->kind = kind;
    l->pieces++;
    l->size_bytes += piece.len;
    l->crc = crc32c(l->crc, piece.data, piece.len);
    return s.len ? ERR_CORRUPT : ERR_OK;
}

/* One page of live keys from *from on; *from becomes where the next one begins. A lease that is not
 * there is an error, or, with granted, made and counted. */
static enum err attach_page(struct machine *m, struct buf *from, struct arena *arena, bool *more,
                            uint64_t *granted)
{
    struct kv_range range = { .key = buf_all(from), .range_end = SPAN("\0"), .limit = ATTACH_PAGE };
    struct kv_range_result found;
    enum err err = kv_range(m->kv, &range, arena, &found);
    CHECK(err == ERR_OK);
    struct span last = SPAN_NONE;
    for (size_t i = 0; i < found.n; i++) {
        const struct kv_version *v = found.items[i];
        last = kv_key(v);
        if (v->lease && !lease_known(m->lease, v->lease)) {
            if (!granted || lease_grant(m->lease, v->lease, LEASE_TTL_MAX_S, 1, 0) != ERR_OK)
                return ERR_CORRUPT;
            ++*granted;
        }
        if (v->lease)
            lease_attach(m->lease, v->lease, last);
        limit_change(m->limit, last, 1, (int64_t)(last.len + v->value_size));
    }
    buf_reset(from);
    buf_span(from, last);
    buf_u8(from, 0); /* the smallest key after the last one */
    *more = found.more;
    return ERR_OK;
}

static enum err attach(struct machine *m, uint64_t *granted)
{
    struct arena arena;
    struct buf from;
    bool more = true;
    enum err err = ERR_OK;
    arena_open(&arena, m->alloc);
    buf_open(&from, m->alloc);
    buf_u8(&from, 0);
    while (more && !err) {
        err = attach_page(m, &from, &arena, &more, granted);
        arena_reset(&arena);
    }
    buf_close(&from);
    arena_close(&arena);
    return err;
}

enum err machine_load_end(struct machine *m)
{
    if (m->loading.kind != PIECE_END)
        return ERR_CORRUPT;
    enum err err = kv_load_end(m->kv);
    if (err)
        return err;
    if (kv_revision(m->kv) != m->loading.revision)
        return ERR_CORRUPT;
    return attach(m, NULL);
}

enum err machine_import_end(struct machine *m, uint64_t *granted)
{
    m->applied_index = m->applied_term = 1;
    *granted = 0;
    enum err err = kv_hash(m->kv, 0, &m->digest);
    return err ? err : attach(m, granted);
}
