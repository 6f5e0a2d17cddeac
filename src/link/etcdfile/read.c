#include <string.h>
#include "link/etcdfile/etcdfile_int.h"
#include "wire/protobuf/etcd_pb.h"
#include "wire/protobuf/etcdfile_pb.h"

static bool take_number(struct span *s, int64_t *out)
{
    uint64_t v = 0;
    if (s->len < 8)
        return false;
    for (int i = 0; i < 8; i++)
        v = v << 8 | s->data[i];
    *s = span_from(*s, 8);
    *out = (int64_t)v;
    return v <= INT64_MAX;
}

/* main, '_', sub, and 't' for a deletion. */
static bool take_revision(struct span s, int64_t *revision, int64_t *sub, bool *tombstone)
{
    if (!take_number(&s, revision) || s.len == 0 || s.data[0] != '_')
        return false;
    s = span_from(s, 1);
    if (!take_number(&s, sub))
        return false;
    *tombstone = span_is(s, "t");
    return s.len == 0 || *tombstone;
}

/* ---- what is told about the whole ---- */

static void take_meta(struct etcdfile_info *i, struct span key, struct span value)
{
    int64_t number, sub;
    bool tombstone;
    bool compact = span_is(key, "scheduledCompactRev") || span_is(key, "finishedCompactRev");
    if (compact && take_revision(value, &number, &sub, &tombstone) && number > i->compact_revision)
        i->compact_revision = number; /* what is scheduled, a start of etcd carries out */
    else if (span_is(key, "consistent_index") && take_number(&value, &number))
        i->index = (uint64_t)number;
}

static void take_auth(struct etcdfile_info *i, struct span key, struct span value)
{
    int64_t number;
    if (span_is(key, "authEnabled"))
        i->auth = value.len > 0 && value.data[0] != 0;
    else if (span_is(key, "authRevision") && take_number(&value, &number))
        i->auth_revision = (uint64_t)number;
}

/* Every item of a bucket; one that is not there is empty. */
static enum err each(struct etcdfile *f, const char *name,
                     void (*take)(struct etcdfile_info *, struct span, struct span))
{
    struct bbolt_cursor c;
    struct span key, value;
    enum err e = bbolt_bucket(&f->db, span_text(name), &c);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    while (e == ERR_OK) {
        e = bbolt_next(&c, &key, &value);
        if (e == ERR_OK)
            take(&f->info, key, value);
    }
    return e == ERR_END ? ERR_OK : e;
}

static enum err load_leases(struct etcdfile *f)
{
    struct bbolt_cursor c;
    struct span key, value;
    enum err e = bbolt_bucket(&f->db, SPAN("lease"), &c);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    while (e == ERR_OK && (e = bbolt_next(&c, &key, &value)) == ERR_OK) {
        struct pb_stored_lease l;
        arena_reset(&f->arena);
        if (pb_stored_lease_decode(value, &f->arena, &l) != ERR_OK || l.id == 0 || l.ttl <= 0)
            return ERR_CORRUPT;
        if (lease_grant(f->m->lease, l.id, l.ttl, 1, 0) != ERR_OK)
            return ERR_CORRUPT; /* twice, or longer than etcd grants one */
        if (l.remaining_ttl > 0 && l.remaining_ttl < l.ttl)
            lease_note(f->m->lease, &(struct lease_note){ l.id, l.remaining_ttl * 1000 }, 1);
        f->info.leases++;
    }
    return e == ERR_END ? ERR_OK : e;
}

enum err etcdfile_open(struct etcdfile *f, struct span file, struct machine *m, struct alloc *alloc)
{
    *f = (struct etcdfile){ .m = m, .info = { .compact_revision = -1 } };
    enum err e = bbolt_open(&f->db, file);
    if (e == ERR_OK)
        e = bbolt_bucket(&f->db, SPAN("key"), &f->cursor);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    arena_open(&f->arena, alloc);
    e = each(f, "meta", take_meta);
    if (e == ERR_OK)
        e = each(f, "auth", take_auth);
    if (e == ERR_OK)
        e = etcdfile_load_auth(&f->db, f->info.auth, f->info.auth_revision, m->auth, alloc);
    if (e == ERR_OK)
        e = load_leases(f);
    kv_import_begin(m->kv, f->info.compact_revision);
    if (e != ERR_OK)
        etcdfile_close(f);
    return e;
}

void etcdfile_close(struct etcdfile *f)
{
    arena_close(&f->arena);
}

/* ---- versions ---- */

static enum err load_version(struct etcdfile *f, struct span key, struct span value)
{
    struct kv_record v = { .letter = 'V', .type = KV_BYTES };
    struct pb_key_value pair;
    int64_t sub;
    bool tombstone;
    arena_reset(&f->arena);
    if (!take_revision(key, &v.mod_revision, &sub, &tombstone) || sub > UINT32_MAX ||
        pb_key_value_decode(value, &f->arena, &pair) != ERR_OK)
        return ERR_CORRUPT;
    f->revision = v.mod_revision;
    /* Without a key: a mark of etcdutl's restore --bump-revision, which it compacts away. */
    if (pair.key.len == 0 && v.mod_revision <= f->info.compact_revision)
        return ERR_OK;
    v.sub = (uint32_t)sub;
    if (tombstone) {
        v.letter = 'T';
    } else {
        if (pair.mod_revision != v.mod_revision)
            return ERR_CORRUPT;
        v.bytes = pair.value;
        v.create_revision = pair.create_revision;
        v.version = pair.version;
        v.lease = pair.lease;
    }
    f->info.versions++;
    return kv_import(f->m->kv, pair.key, &v);
}

static enum err load_end(struct etcdfile *f)
{
    int64_t revision = f->revision > 1 ? f->revision : 1;
    if (revision < f->info.compact_revision)
        revision = f->info.compact_revision; /* of the newest, nothing was kept */
    enum err e = kv_import_end(f->m->kv, revision);
    if (e == ERR_OK)
        e = machine_import_end(f->m, &f->info.leases_missing);
    return e == ERR_OK ? ERR_END : e;
}

enum err etcdfile_load(struct etcdfile *f, size_t n)
{
    struct span key, value;
    enum err e = ERR_OK;
    for (; n > 0 && e == ERR_OK; n--) {
        e = bbolt_next(&f->cursor, &key, &value);
        if (e == ERR_OK)
            e = load_version(f, key, value);
    }
    return e == ERR_END ? load_end(f) : e;
}
