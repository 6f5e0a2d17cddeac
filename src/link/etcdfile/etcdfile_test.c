#include "base/check.h"
#include "base/test.h"
#include "link/etcdfile/etcdfile.h"

/* A database of three keys, a deletion, two leases; compacted at 3. */
static void write_all(struct bbolt_writer *w, const struct machine *m, int64_t compact,
                      const struct kv_record *versions, const char *const *keys, size_t n,
                      struct alloc *heap)
{
    struct buf value;
    uint8_t revision[ETCDFILE_REVISION_MAX];
    buf_open(&value, heap);
    etcdfile_write_front(w, m, heap);
    for (size_t i = 0; i < n; i++) {
        buf_reset(&value);
        etcdfile_value(span_text(keys[i]), &versions[i], &value);
        CHECK(value.len == etcdfile_value_size(span_text(keys[i]), &versions[i]));
        bbolt_write(w, etcdfile_revision(&versions[i], revision), buf_all(&value));
    }
    bbolt_write_bucket(w, "key");
    etcdfile_write_back(w, m, compact, heap);
    buf_close(&value);
}

static const struct kv_record versions[] = {
    { .letter = 'V', .mod_revision = 2, .create_revision = 2, .version = 1, .lease = 7 },
    { .letter = 'V', .mod_revision = 3, .create_revision = 3, .version = 1, .lease = -5 },
    { .letter = 'V', .mod_revision = 4, .create_revision = 2, .version = 2, .lease = 9 },
    { .letter = 'T', .mod_revision = 4, .sub = 1 },
};
static const char *const keys[] = { "a", "b", "a", "b" };

static void make(struct alloc *heap, int64_t compact, struct buf *out)
{
    struct machine m;
    struct bbolt_writer w;
    struct bbolt_size counted;
    machine_open(&m, heap);
    CHECK(lease_grant(m.lease, 7, 60, 1, 0) == ERR_OK);
    CHECK(lease_grant(m.lease, -5, 3600, 1, 0) == ERR_OK);
    lease_note(m.lease, &(struct lease_note){ 7, 30000 }, 1);
    m.applied_index = 12;
    bbolt_write_begin(&w, heap, NULL, NULL);
    write_all(&w, &m, compact, versions, keys, 4, heap);
    counted = bbolt_write_end(&w);
    bbolt_write_begin(&w, heap, out, &counted);
    write_all(&w, &m, compact, versions, keys, 4, heap);
    bbolt_write_end(&w);
    machine_close(&m);
}

static void look_lease(void *context, int64_t id, int64_t ttl_s, int64_t noted_ms)
{
    int *right = context;
    *right += (id == 7 && ttl_s == 60 && noted_ms == 30000) ||
              (id == -5 && ttl_s == 3600 && noted_ms == 0) || (id == 9 && ttl_s == LEASE_TTL_MAX_S);
}

TEST(etcdfile_reads_what_it_wrote)
{
    struct alloc heap;
    struct buf file;
    bool ok = true;
    alloc_heap(&heap);
    for (int64_t compact = -1; compact <= 4; compact++) {
        struct machine m;
        struct etcdfile f;
        int leases = 0;
        buf_open(&file, &heap);
        make(&heap, compact, &file);
        machine_open(&m, &heap);
        ok = ok && etcdfile_open(&f, buf_all(&file), &m, &heap) == ERR_OK;
        while (ok && etcdfile_load(&f, 1) == ERR_OK)
            ;
        const struct kv_version *a = kv_get(m.kv, SPAN("a"), 0);
        lease_walk(m.lease, look_lease, &leases);
        ok = ok && kv_revision(m.kv) == 4 && f.info.index == 12 && !f.info.auth &&
             kv_compact_revision(m.kv) == (compact > 0 ? compact : -1) && a && a->version == 2 &&
             a->lease == 9 && !kv_get(m.kv, SPAN("b"), 0) && leases == 3 &&
             f.info.leases_missing == 1 && m.applied_index == 1;
        etcdfile_close(&f);
        machine_close(&m);
        buf_close(&file);
    }
    EXPECT(ok && heap.used == 0);
}

static enum err add_users(struct auth *a)
{
    struct auth_permission p = { AUTH_READ_WRITE, SPAN("a"), SPAN("b") };
    enum err e = auth_user_add(a, SPAN("root"), SPAN("hash of root"), false);
    e = e ? e : auth_user_add(a, SPAN("anna"), SPAN_NONE, true);
    e = e ? e : auth_role_add(a, AUTH_ROOT);
    e = e ? e : auth_role_add(a, SPAN("writer"));
    e = e ? e : auth_role_grant(a, SPAN("writer"), &p);
    e = e ? e : auth_user_grant(a, SPAN("root"), AUTH_ROOT);
    e = e ? e : auth_user_grant(a, SPAN("anna"), SPAN("writer"));
    return e ? e : auth_enable(a);
}

/* Users and roles come back as they were, to the byte. */
TEST(etcdfile_has_the_users)
{
    struct alloc heap;
    struct machine from, to;
    struct etcdfile f;
    struct bbolt_writer w;
    struct buf file, before, after;
    alloc_heap(&heap);
    machine_open(&from, &heap);
    machine_open(&to, &heap);
    buf_open(&file, &heap);
    buf_open(&before, &heap);
    buf_open(&after, &heap);
    CHECK(add_users(from.auth) == ERR_OK);
    bbolt_write_begin(&w, &heap, NULL, NULL);
    write_all(&w, &from, -1, versions, keys, 0, &heap);
    struct bbolt_size counted = bbolt_write_end(&w);
    bbolt_write_begin(&w, &heap, &file, &counted);
    write_all(&w, &from, -1, versions, keys, 0, &heap);
    bbolt_write_end(&w);
    bool ok = etcdfile_open(&f, buf_all(&file), &to, &heap) == ERR_OK;
    ok = ok && etcdfile_load(&f, 1) == ERR_END && f.info.auth;
    if (ok)
        etcdfile_close(&f);
    auth_save(from.auth, &before);
    auth_save(to.auth, &after);
    ok = ok && span_equal(buf_all(&before), buf_all(&after)) && kv_revision(to.kv) == 1;
    buf_close(&file);
    buf_close(&before);
    buf_close(&after);
    machine_close(&from);
    machine_close(&to);
    EXPECT(ok && heap.used == 0);
}

/* ---- the log ---- */

static void frame(struct buf *log, const char *record, size_t n)
{
    size_t padding = (8 - n % 8) % 8;
    buf_u64(log, n | (padding ? (uint64_t)(0x80 | padding) << 56 : 0));
    buf_put(log, record, n);
    buf_put(log, "\0\0\0\0\0\0\0", padding);
}
#define FRAME(log, record) frame(log, record, sizeof(record) - 1)

/* type 2, data: { type normal, term 1, index, data: { field put or field v2 } } */
#define CRC "\x08\x04\x10\x00"
#define PUT(index) "\x08\x02\x10\x00\x1a\x0b\x08\x00\x10\x01\x18" index "\x22\x03\x22\x01\x00"
#define OTHER(index) "\x08\x02\x10\x00\x1a\x0b\x08\x00\x10\x01\x18" index "\x22\x03\x12\x01\x00"
#define CONFIG(index) "\x08\x02\x10\x00\x1a\x0b\x08\x01\x10\x01\x18" index "\x22\x03\x22\x01\x00"

TEST(etcdfile_log_finds_what_the_database_lacks)
{
    struct alloc heap;
    struct arena arena;
    struct buf log;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    buf_open(&log, &heap);
    struct etcdfile_log l = { .after = 3 };
    FRAME(&log, CRC);
    FRAME(&log, PUT("\x03"));
    FRAME(&log, OTHER("\x04"));
    FRAME(&log, CONFIG("\x05"));
    bool ok = etcdfile_log(&l, buf_all(&log), &arena) == ERR_OK && l.beyond == 0 && l.last == 5;
    FRAME(&log, PUT("\x06"));
    FRAME(&log, PUT("\x07"));
    size_t whole = log.len;
    buf_u64(&log, 0);
    buf_text(&log, "zeros, and whatever stood there before");
    ok = ok && etcdfile_log(&l, buf_all(&log), &arena) == ERR_OK && l.beyond == 6 && l.last == 7;
    log.len = whole;
    FRAME(&log, OTHER("\x06")); /* what stood there from 6 on is void */
    ok = ok && etcdfile_log(&l, buf_all(&log), &arena) == ERR_OK && l.beyond == 0;
    ok = ok && etcdfile_log(&l, span_of(log.data, whole - 3), &arena) == ERR_OK; /* torn */
    ok = ok && etcdfile_log(&l, SPAN("no log at all"), &arena) == ERR_CORRUPT;
    buf_close(&log);
    arena_close(&arena);
    EXPECT(ok && heap.used == 0);
}
