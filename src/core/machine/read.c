#include "base/check.h"
#include "core/machine/machine.h"

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

static enum err read_auth(const struct machine *m, const struct request *r, struct arena *arena,
                          struct reply *reply)
{
    if (r->type == REQUEST_USER_GET)
        return auth_user_roles(m->auth, r->auth.user, arena, &reply->names);
    if (r->type == REQUEST_ROLE_GET)
        return auth_role_permissions(m->auth, r->auth.role, arena, &reply->permissions);
    if (r->type == REQUEST_USER_LIST) {
        auth_users(m->auth, arena, &reply->names);
    } else if (r->type == REQUEST_ROLE_LIST) {
        auth_roles(m->auth, arena, &reply->names);
    } else {
        CHECK(r->type == REQUEST_AUTH_STATUS);
        reply->auth.enabled = auth_enabled(m->auth);
        reply->auth.revision = auth_revision(m->auth);
    }
    return ERR_OK;
}

static void read_alarms(const struct machine *m, enum alarm_type type, struct arena *arena,
                        struct reply *reply)
{
    struct alarm *items = ARENA_ARRAY(arena, struct alarm, m->alarms.n + 1);
    reply->alarms.items = items;
    for (size_t i = 0; i < m->alarms.n; i++)
        if (type == ALARM_NONE || m->alarms.items[i].type == type)
            items[reply->alarms.n++] = m->alarms.items[i];
}

static enum err answer(const struct machine *m, const struct request *r, int64_t now_ms,
                       struct arena *arena, struct reply *reply)
{
    if (r->type == REQUEST_RANGE)
        return kv_range(m->kv, &r->range, arena, &reply->range);
    if (r->type == REQUEST_TXN)
        return read_txn(m, r, arena, reply);
    if (r->type == REQUEST_ALARM_LIST) {
        read_alarms(m, r->alarm.which.type, arena, reply);
        return ERR_OK;
    }
    if (r->type == REQUEST_LEASE_LOOK) {
        reply->look.found = lease_look(m->lease, r->lease.id, now_ms, r->lease.keys, arena,
                                       &reply->look.info) == ERR_OK;
        return ERR_OK;
    }
    if (r->type == REQUEST_LEASE_LIST) {
        reply->list.n = lease_list(m->lease, arena, &reply->list.ids);
        return ERR_OK;
    }
    if (r->type == REQUEST_LIMIT_LIST) {
        reply->limits = m->limit;
        return ERR_OK;
    }
    return read_auth(m, r, arena, reply);
}

void machine_read(const struct machine *m, const struct request *r, int64_t now_ms,
                  struct arena *arena, struct reply *reply)
{
    CHECK(!request_writes(r));
    if (r->type == REQUEST_HASH || r->type == REQUEST_HASH_ALL) {
        struct machine_hashing *h = machine_hashing_open(m, r, reply);
        while (h && machine_hashing_step(h, SIZE_MAX))
            ;
        if (h)
            machine_hashing_close(h, reply);
        return;
    }
    *reply = (struct reply){ .type = r->type, .revision = kv_revision(m->kv) };
    reply->err = machine_permits(m, r);
    if (reply->err == ERR_OK)
        reply->err = request_barred(&m->alarms, r);
    if (reply->err == ERR_OK)
        reply->err = answer(m, r, now_ms, arena, reply);
    CHECK(kv_revision(m->kv) == reply->revision);
}
