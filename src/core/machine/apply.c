#include "base/check.h"
#include "base/crc.h"
#include "core/machine/command.h"

/* One command at work. */
struct apply {
    struct machine *machine;
    const struct command *command;
    const struct request *request; /* the command's */
    int64_t now_ms;                /* local, monotonic: for lease deadlines only */
    struct arena *arena;
    struct reply *reply;
    const struct kv_change *changes;
    size_t n_changes;
};

static bool known(void *context, int64_t lease)
{
    return lease_known(context, lease);
}

static void begin(struct apply *a)
{
    kv_begin(a->machine->kv, a->command->now_ms, a->request->author);
}

static int64_t size_of(const struct kv_version *v)
{
    return v ? (int64_t)(kv_key(v).len + v->value_size) : 0;
}

/* Closes the transaction; keys that left a lease or came to one change there too. */
static void end(struct apply *a)
{
    kv_end(a->machine->kv, &a->changes, &a->n_changes);
    struct lease_table *leases = a->machine->lease;
    bool counted = limit_prefixes(a->machine->limit) > 0;
    for (size_t i = 0; i < a->n_changes; i++) {
        const struct kv_version *now = a->changes[i].now, *was = a->changes[i].replaced;
        if (counted)
            limit_change(a->machine->limit, kv_key(now), !now->tombstone - (was != NULL),
                         size_of(now->tombstone ? NULL : now) - size_of(was));
        int64_t lease_was = was ? was->lease : 0, lease_is = now->tombstone ? 0 : now->lease;
        if (lease_was == lease_is)
            continue;
        if (lease_was)
            lease_detach(leases, lease_was, kv_key(now));
        if (!lease_is)
            continue;
        lease_attach(leases, lease_is, kv_key(now));
        if (a->request->auth_revision) /* it was permitted this key and all the others */
            lease_clear(leases, lease_is, auth_who(a->machine->auth, a->request->author),
                        auth_revision(a->machine->auth));
    }
}

static void plan(void *context, struct span key, int64_t keys, int64_t bytes)
{
    limit_plan(context, key, keys, bytes);
}

/* Whether the quotas of prefixes leave room for what it writes. */
static enum err within_limits(const struct machine *m, const struct kv_txn *txn,
                              struct arena *arena)
{
    struct limit_table *limits = m->limit;
    if (limit_prefixes(limits) == 0)
        return ERR_OK;
    kv_txn_plan(m->kv, txn, arena, plan, limits);
    return limit_admit(limits);
}

enum err machine_would(const struct machine *m, const struct request *r, struct arena *arena)
{
    return r->type == REQUEST_TXN ? within_limits(m, &r->txn, arena) : ERR_OK;
}

static enum err admit(struct apply *a, const struct kv_txn *txn)
{
    return within_limits(a->machine, txn, a->arena);
}

static enum err apply_put(struct apply *a)
{
    const struct kv_put *p = &a->request->put;
    /* etcd looks at the lease before anything else of a put (txn/txn.go). */
    if (p->lease && !lease_known(a->machine->lease, p->lease))
        return ERR_LEASE_NOT_FOUND;
    const struct kv_op op = { .type = KV_OP_PUT, .put = *p };
    enum err err = admit(a, &(struct kv_txn){ .success = &op, .n_success = 1 });
    if (err)
        return err;
    begin(a);
    err = kv_put(a->machine->kv, p, &a->reply->put);
    end(a);
    return err;
}

static enum err apply_delete(struct apply *a)
{
    begin(a);
    enum err err = kv_delete(a->machine->kv, &a->request->del, a->arena, &a->reply->del);
    end(a);
    return err;
}

static enum err apply_txn(struct apply *a)
{
    enum err err = admit(a, &a->request->txn);
    if (err)
        return err;
    begin(a);
    err = kv_txn(a->machine->kv, &a->request->txn, known, a->machine->lease, a->arena,
                          &a->reply->txn);
    end(a);
    return err;
}

static enum err apply_compact(struct apply *a)
{
    return kv_compact(a->machine->kv, a->request->compact.revision);
}

static enum err apply_lease_grant(struct apply *a)
{
    a->reply->lease.id = a->request->lease.id;
    a->reply->lease.ttl_s = a->request->lease.ttl_s;
    return lease_grant(a->machine->lease, a->request->lease.id, a->request->lease.ttl_s,
                       a->machine->applied_index + 1, a->now_ms);
}

/* All keys go at one revision; a lease without keys takes none (etcd lease/lessor.go Revoke). */
static enum err revoke(struct apply *a, int64_t id)
{
    struct span *keys;
    size_t n;
    enum err err = lease_revoke(a->machine->lease, id, a->arena, &keys, &n);
    if (err)
        return err;
    begin(a);
    for (size_t i = 0; i < n; i++) {
        struct kv_delete_result gone;
        err = kv_delete(a->machine->kv, &(struct kv_delete){ .key = keys[i] }, a->arena, &gone);
        CHECK(err == ERR_OK && gone.deleted == 1); /* a key of a lease lives */
    }
    end(a);
    return ERR_OK;
}

static enum err apply_lease_revoke(struct apply *a)
{
    return revoke(a, a->request->lease.id);
}

static enum err apply_lease_expire(struct apply *a)
{
    if (!lease_known_as_of(a->machine->lease, a->request->expire.id, a->request->expire.as_of))
        return ERR_LEASE_NOT_FOUND;
    return revoke(a, a->request->expire.id);
}

static enum err apply_lease_note(struct apply *a)
{
    for (size_t i = 0; i < a->request->notes.n; i++)
        lease_note(a->machine->lease, &a->request->notes.items[i], a->request->notes.as_of);
    return ERR_OK;
}

/* Of type NONE it does nothing (etcd). */
static enum err apply_alarm(struct apply *a)
{
    struct alarms *alarms = &a->machine->alarms;
    struct alarm *which = ARENA_NEW(a->arena, struct alarm);
    enum err err = ERR_OK;
    *which = a->request->alarm.which;
    a->reply->alarms.items = which;
    if (which->type == ALARM_NONE)
        return ERR_OK;
    if (a->request->alarm.drop)
        a->reply->alarms.n = alarm_drop(alarms, *which);
    else if ((err = alarm_raise(alarms, *which)) == ERR_OK)
        a->reply->alarms.n = 1;
    return err;
}

/* ---- users and roles ---- */

static enum err apply_auth_enable(struct apply *a)
{
    return auth_enable(a->machine->auth);
}

static enum err apply_auth_disable(struct apply *a)
{
    auth_disable(a->machine->auth);
    return ERR_OK;
}

static enum err apply_user_add(struct apply *a)
{
    const struct auth_request *q = &a->request->auth;
    return auth_user_add(a->machine->auth, q->user, q->hash, q->no_password);
}

static enum err apply_user_delete(struct apply *a)
{
    a->reply->login.user = a->request->auth.user;
    return auth_user_delete(a->machine->auth, a->request->auth.user);
}

static enum err apply_user_password(struct apply *a)
{
    a->reply->login.user = a->request->auth.user;
    return auth_user_password(a->machine->auth, a->request->auth.user, a->request->auth.hash);
}

static enum err apply_user_grant(struct apply *a)
{
    return auth_user_grant(a->machine->auth, a->request->auth.user, a->request->auth.role);
}

static enum err apply_user_revoke(struct apply *a)
{
    return auth_user_revoke(a->machine->auth, a->request->auth.user, a->request->auth.role);
}

static enum err apply_role_add(struct apply *a)
{
    return auth_role_add(a->machine->auth, a->request->auth.role);
}

static enum err apply_role_delete(struct apply *a)
{
    return auth_role_delete(a->machine->auth, a->request->auth.role);
}

static enum err apply_role_grant(struct apply *a)
{
    const struct auth_request *q = &a->request->auth;
    return auth_role_grant(a->machine->auth, q->role, q->has_permission ? &q->permission : NULL);
}

static enum err apply_role_revoke(struct apply *a)
{
    const struct auth_request *q = &a->request->auth;
    return auth_role_revoke(a->machine->auth, q->role, q->permission.key, q->permission.range_end);
}

/* The password was compared outside; if anything of auth has changed since, it may be another one
 * now, and is to be compared again (etcd v3_server.go Authenticate). */
static enum err apply_authenticate(struct apply *a)
{
    const struct auth *auth = a->machine->auth;
    const struct auth_request *q = &a->request->auth;
    struct span hash;
    bool no_password;
    if (!auth_enabled(auth))
        return ERR_AUTH_NOT_ENABLED;
    if (!auth_user_secret(auth, q->user, &hash, &no_password) || no_password)
        return ERR_AUTH_FAILED;
    if (q->checked_revision != auth_revision(auth))
        return ERR_AUTH_OLD_REVISION;
    a->reply->login.user = q->user;
    a->reply->login.token_hash = q->token_hash;
    a->reply->login.made_ms = a->command->now_ms;
    return ERR_OK;
}

/* A new limit of a prefix counts what is there: one walk over it. */
static void count_prefix(struct apply *a, struct span prefix)
{
    enum { PAGE = 1000 };
    struct machine *m = a->machine;
    struct kv_range range = { .key = prefix.len ? prefix : SPAN("\0"),
                              .range_end = kv_prefix_end(prefix, a->arena),
                              .limit = PAGE,
                              .keys_only = true };
    struct kv_range_result found = { .more = true };
    while (found.more) {
        int64_t bytes = 0;
        enum err err = kv_range(m->kv, &range, a->arena, &found);
        CHECK(err == ERR_OK);
        for (size_t i = 0; i < found.n; i++)
            bytes += size_of(found.items[i]);
        limit_counted(m->limit, prefix, (int64_t)found.n, bytes);
        if (!found.n)
            return;
        struct span last = kv_key(found.items[found.n - 1]);
        uint8_t *next = arena_alloc(a->arena, last.len + 1);
        memcpy(next, last.data, last.len);
        next[last.len] = 0; /* the smallest key after it */
        range.key = span_of(next, last.len + 1);
    }
}

static enum err apply_limit_set(struct apply *a)
{
    const struct limit_rule *r = &a->request->limit;
    bool fresh;
    enum err err = limit_set(a->machine->limit, r, &fresh);
    if (err == ERR_OK && fresh && r->kind == LIMIT_PREFIX)
        count_prefix(a, r->name);
    return err;
}

static enum err apply_limit_delete(struct apply *a)
{
    return limit_delete(a->machine->limit, a->request->limit.kind, a->request->limit.name);
}

/* Of two that leaders have proposed, one after the other, the higher counts. */
static enum err apply_level(struct apply *a)
{
    struct machine *m = a->machine;
    if (m->level < a->request->level)
        m->level = a->request->level;
    return ERR_OK;
}

static enum err (*const handlers[])(struct apply *a) = {
#define COMMAND(number, NAME, name, since, text) [number] = apply_##name,
#include "core/machine/command.def"
#undef COMMAND
};

/* An error goes in by its name: its number may be another one in another build. */
static uint32_t roll(uint32_t digest, uint64_t index, struct span bytes, const char *code,
                     int64_t revision)
{
    uint8_t numbers[16];
    uint64_t values[2] = { index, (uint64_t)revision };
    for (size_t i = 0; i < sizeof(numbers); i++)
        numbers[i] = (uint8_t)(values[i / 8] >> (i % 8 * 8));
    digest = crc32c(digest, bytes.data, bytes.len);
    digest = crc32c(digest, code, strlen(code));
    return crc32c(digest, numbers, sizeof(numbers));
}

enum err machine_apply(struct machine *m, uint64_t index, uint64_t term, struct span command,
                       int64_t now_ms, struct arena *arena, struct reply *reply,
                       const struct kv_change **changes, size_t *n_changes)
{
    CHECK(index == m->applied_index + 1 && term >= m->applied_term);
    struct command c;
    enum err err = command_decode(command, arena, &c);
    if (err)
        return err;
    *reply = (struct reply){ .type = c.request.type };
    struct apply a = { m, &c, &c.request, now_ms, arena, reply, NULL, 0 };
    int64_t revision = kv_revision(m->kv);
    reply->err = machine_permits(m, &c.request);
    if (reply->err == ERR_OK)
        reply->err = request_barred(&m->alarms, &c.request);
    if (reply->err == ERR_OK)
        reply->err = handlers[c.number](&a);
    reply->revision = kv_revision(m->kv);
    CHECK(reply->revision == revision + (a.n_changes > 0) && (!reply->err || !a.n_changes));
    m->digest = roll(m->digest, index, command, err_code(reply->err), reply->revision);
    machine_skip(m, index, term);
    *changes = a.changes;
    *n_changes = a.n_changes;
    return ERR_OK;
}

void machine_members(struct machine *m, uint64_t index, uint64_t term, struct span data)
{
    CHECK(data.len > 0);
    m->digest = roll(m->digest, index, data, "members", kv_revision(m->kv));
    buf_reset(&m->members);
    buf_span(&m->members, data);
    machine_skip(m, index, term);
}

struct span machine_members_now(const struct machine *m)
{
    return buf_all(&m->members);
}

void machine_skip(struct machine *m, uint64_t index, uint64_t term)
{
    CHECK(index == m->applied_index + 1 && term >= m->applied_term);
    m->applied_index = index;
    m->applied_term = term;
}
