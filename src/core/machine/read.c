#include "base/check.h"
#include "core/machine/machine.h"

static enum err read_hash(const struct machine *m, const struct request *r, struct reply *reply)
{
    reply->hash.compact_revision = kv_compact_revision(m->kv);
    reply->hash.hash_revision = r->hash_revision > 0 ? r->hash_revision : kv_revision(m->kv);
    return kv_hash(m->kv, r->hash_revision, &reply->hash.hash);
}

/* It writes nothing, so it asks for no lease, and leaves no author. */
static enum err read_txn(const struct machine *m, const struct request *r, struct arena *arena,
                         struct reply *reply)
{
    const struct kv_change *none;
    size_t n;
    kv_begin(m->kv, 0, SPAN_NONE);
    enum err err = kv_txn(m->kv, &r->txn, NULL, NULL, arena, &reply->txn);
    kv_end(m->kv, &none, &n);
    CHECK(n == 0);
    return err;
}

static enum err answer(const struct machine *m, const struct request *r, int64_t now_ms,
                       struct arena *arena, struct reply *reply)
{
    if (r->type == REQUEST_RANGE)
        return kv_range(m->kv, &r->range, arena, &reply->range);
    if (r->type == REQUEST_TXN)
        return read_txn(m, r, arena, reply);
    if (r->type == REQUEST_HASH)
        return read_hash(m, r, reply);
    if (r->type == REQUEST_LEASE_LOOK) {
        reply->look.found = lease_look(m->lease, r->lease.id, now_ms, r->lease.keys, arena,
                                       &reply->look.info) == ERR_OK;
        return ERR_OK;
    }
    CHECK(r->type == REQUEST_LEASE_LIST);
    reply->list.n = lease_list(m->lease, arena, &reply->list.ids);
    return ERR_OK;
}

void machine_read(const struct machine *m, const struct request *r, int64_t now_ms,
                  struct arena *arena, struct reply *reply)
{
    CHECK(!request_writes(r));
    *reply = (struct reply){ .type = r->type, .revision = kv_revision(m->kv) };
    reply->err = answer(m, r, now_ms, arena, reply);
    CHECK(kv_revision(m->kv) == reply->revision);
}
