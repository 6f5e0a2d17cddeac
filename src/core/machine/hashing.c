/* HASH and HASH_ALL: both walk every key, which takes a second for some millions of them. */
#include "base/check.h"
#include "base/crc.h"
#include "core/machine/machine.h"

struct machine_hashing {
    struct alloc *alloc;
    struct kv_hashing *kv;
    struct reply reply;
    struct buf rest; /* HASH_ALL: what is not in the store, as it was at the beginning */
};

/* The leases, users, alarms, limits and the membership as a checkpoint has them: equal on members
 * that have applied the same. */
static void save_rest(const struct machine *m, struct buf *out)
{
    lease_save(m->lease, out);
    auth_save(m->auth, out);
    alarm_save(&m->alarms, out);
    limit_save(m->limit, out);
    buf_span(out, machine_members_now(m));
}

struct machine_hashing *machine_hashing_open(const struct machine *m, const struct request *r,
                                             struct reply *reply)
{
    struct kv_hashing *kv;
    bool all = r->type == REQUEST_HASH_ALL;
    CHECK(all || r->type == REQUEST_HASH);
    *reply = (struct reply){ .type = r->type, .revision = kv_revision(m->kv) };
    reply->err = machine_permits(m, r);
    if (reply->err == ERR_OK)
        reply->err = request_barred(&m->alarms, r);
    if (reply->err == ERR_OK)
        reply->err = kv_hashing_open(m->kv, all ? 0 : r->hash_revision, &kv);
    if (reply->err != ERR_OK)
        return NULL;
    reply->hash.compact_revision = kv_compact_revision(m->kv);
    reply->hash.hash_revision = !all && r->hash_revision > 0 ? r->hash_revision : reply->revision;
    struct machine_hashing *h = mem_zero(m->alloc, sizeof(*h));
    h->alloc = m->alloc;
    h->kv = kv;
    h->reply = *reply;
    buf_open(&h->rest, m->alloc);
    if (all)
        save_rest(m, &h->rest);
    return h;
}

bool machine_hashing_step(struct machine_hashing *h, size_t budget)
{
    return kv_hashing_step(h->kv, budget);
}

void machine_hashing_close(struct machine_hashing *h, struct reply *reply)
{
    *reply = h->reply;
    uint32_t crc = kv_hashing_close(h->kv);
    reply->hash.hash = crc32c(crc, h->rest.data, h->rest.len);
    buf_close(&h->rest);
    mem_free(h->alloc, h, sizeof(*h));
}
