#include <string.h>
#include "link/etcdfile/etcdfile_int.h"
#include "wire/protobuf/etcd_pb.h"
#include "wire/protobuf/etcdfile_pb.h"

struct span etcdfile_revision(const struct kv_record *v, uint8_t out[ETCDFILE_REVISION_MAX])
{
    etcdfile_put_number(out, (uint64_t)v->mod_revision);
    out[8] = '_';
    etcdfile_put_number(out + 9, v->sub);
    out[17] = 't';
    return span_of(out, v->letter == 'T' ? 18 : 17);
}

static struct pb_key_value message(struct span key, const struct kv_record *v)
{
    struct pb_key_value m = { .key = key };
    if (v->letter == 'V') {
        m.create_revision = v->create_revision;
        m.mod_revision = v->mod_revision;
        m.version = v->version;
        m.value = v->bytes;
        m.lease = v->lease;
    }
    return m;
}

size_t etcdfile_value_size(struct span key, const struct kv_record *v)
{
    struct pb_key_value m = message(key, v);
    return pb_key_value_size(&m);
}

void etcdfile_value(struct span key, const struct kv_record *v, struct buf *out)
{
    struct pb_key_value m = message(key, v);
    pb_key_value_encode(&m, out);
}

/* ---- the other buckets ---- */

void etcdfile_write_front(struct bbolt_writer *w, const struct machine *m, struct alloc *alloc)
{
    bbolt_write_bucket(w, "alarm");
    etcdfile_write_auth(w, m->auth, alloc);
    bbolt_write_bucket(w, "cluster");
}

struct leases {
    struct bbolt_writer *w;
    struct buf value;
    bool negative; /* these stand behind the others: ids are ordered as they are written */
};

static void write_lease(void *context, int64_t id, int64_t ttl_s, int64_t noted_ms)
{
    struct leases *s = context;
    struct pb_stored_lease l = { id, ttl_s, (noted_ms + 999) / 1000 };
    uint8_t key[8];
    if (s->negative != (id < 0))
        return;
    etcdfile_put_number(key, (uint64_t)id);
    buf_reset(&s->value);
    pb_stored_lease_encode(&l, &s->value);
    bbolt_write(s->w, span_of(key, 8), buf_all(&s->value));
}

static void write_leases(struct bbolt_writer *w, const struct machine *m, struct alloc *alloc)
{
    struct leases s = { .w = w };
    buf_open(&s.value, alloc);
    lease_walk(m->lease, write_lease, &s);
    s.negative = true;
    lease_walk(m->lease, write_lease, &s);
    bbolt_write_bucket(w, "lease");
    buf_close(&s.value);
}

void etcdfile_write_back(struct bbolt_writer *w, const struct machine *m, int64_t compact_revision,
                         struct alloc *alloc)
{
    struct kv_record compact = { .letter = 'V', .mod_revision = compact_revision };
    uint8_t index[8], term[8], revision[ETCDFILE_REVISION_MAX];
    write_leases(w, m, alloc);
    bbolt_write_bucket(w, "members"); /* a restore writes those of its own cluster */
    bbolt_write_bucket(w, "members_removed");
    etcdfile_put_number(index, m->applied_index);
    etcdfile_put_number(term, m->applied_term);
    bbolt_write(w, SPAN("consistent_index"), span_of(index, 8));
    if (compact_revision > 0) {
        struct span told = etcdfile_revision(&compact, revision);
        bbolt_write(w, SPAN("finishedCompactRev"), told);
        bbolt_write(w, SPAN("scheduledCompactRev"), told);
    }
    bbolt_write(w, SPAN("term"), span_of(term, 8));
    bbolt_write_bucket(w, "meta");
}
