#include "api/etcd/etcd_int.h"
#include "base/check.h"

/* ---- KV ---- */

static void range_of(const struct pb_range_request *m, struct kv_range *out)
{
    *out = (struct kv_range){ .key = m->key,
                              .range_end = m->range_end,
                              .limit = m->limit,
                              .revision = m->revision,
                              .order = m->sort_order,
                              .target = m->sort_target,
                              .keys_only = m->keys_only,
                              .count_only = m->count_only,
                              .min_mod = m->min_mod_revision,
                              .max_mod = m->max_mod_revision,
                              .min_create = m->min_create_revision,
                              .max_create = m->max_create_revision };
}

static void put_of(const struct pb_put_request *m, struct kv_put *out)
{
    *out = (struct kv_put){ .key = m->key,
                            .value = m->value,
                            .lease = m->lease,
                            .prev_kv = m->prev_kv,
                            .ignore_value = m->ignore_value,
                            .ignore_lease = m->ignore_lease,
                            .type = KV_BYTES };
}

static void delete_of(const struct pb_delete_range_request *m, struct kv_delete *out)
{
    *out = (struct kv_delete){ m->key, m->range_end, m->prev_kv };
}

/* The number or value counts only when it is of the target's own kind (etcd compareKV). */
static void compare_of(const struct pb_compare *m, struct kv_compare *out)
{
    static const uint32_t field[] = { [KV_IF_VERSION] = 4,
                                      [KV_IF_CREATE] = 5,
                                      [KV_IF_MOD] = 6,
                                      [KV_IF_VALUE] = 7,
                                      [KV_IF_LEASE] = 8 };
    *out = (struct kv_compare){
        .key = m->key, .range_end = m->range_end, .target = m->target, .result = m->result
    };
    if (m->target < KV_IF_VERSION || m->target > KV_IF_LEASE ||
        m->which_target_union != field[m->target])
        return;
    int64_t numbers[] = { m->version, m->create_revision, m->mod_revision, 0, m->lease };
    out->number = numbers[m->target];
    out->value = m->target == KV_IF_VALUE ? m->value : SPAN_NONE;
}

static enum err txn_of(const struct pb_txn_request *m, int depth, struct arena *arena,
                       struct kv_txn *out);

static enum err op_of(const struct pb_request_op *m, int depth, struct arena *arena,
                      struct kv_op *out)
{
    struct kv_txn *inner;
    switch (m->which_request) {
    case 1:
        out->type = KV_OP_RANGE;
        range_of(m->request_range, &out->range);
        return ERR_OK;
    case 2:
        out->type = KV_OP_PUT;
        put_of(m->request_put, &out->put);
        return ERR_OK;
    case 3:
        out->type = KV_OP_DELETE;
        delete_of(m->request_delete_range, &out->del);
        return ERR_OK;
    case 4:
        out->type = KV_OP_TXN;
        out->txn = inner = ARENA_NEW(arena, struct kv_txn);
        return txn_of(m->request_txn, depth + 1, arena, inner);
    default:
        out->type = KV_OP_NONE;
        return ERR_OK;
    }
}

static enum err ops_of(const struct pb_request_op *m, size_t n, int depth, struct arena *arena,
                       const struct kv_op **out)
{
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, n + 1);
    enum err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = op_of(&m[i], depth, arena, &ops[i]);
    *out = ops;
    return e;
}

static enum err txn_of(const struct pb_txn_request *m, int depth, struct arena *arena,
                       struct kv_txn *out)
{
    if (depth > ETCD_TXN_DEPTH_MAX)
        return ERR_TOO_MANY_OPS;
    struct kv_compare *compares = ARENA_ARRAY(arena, struct kv_compare, m->n_compare + 1);
    for (size_t i = 0; i < m->n_compare; i++)
        compare_of(&m->compare[i], &compares[i]);
    *out = (struct kv_txn){ .compares = compares,
                            .n_compares = m->n_compare,
                            .n_success = m->n_success,
                            .n_failure = m->n_failure };
    enum err e = ops_of(m->success, m->n_success, depth, arena, &out->success);
    return e == ERR_OK ? ops_of(m->failure, m->n_failure, depth, arena, &out->failure) : e;
}

/* etcd: read-only, and every range in it serializable (txn.IsTxnSerializable). */
static bool all_serializable(const struct pb_request_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].which_request != 1 || !ops[i].request_range->serializable)
            return false;
    return true;
}

static enum err decode_range(struct span in, struct arena *arena, struct request *out)
{
    struct pb_range_request m;
    enum err e = pb_range_request_decode(in, arena, &m);
    if (e == ERR_OK)
        range_of(&m, &out->range);
    out->serializable = m.serializable;
    return e;
}

static enum err decode_put(struct span in, struct arena *arena, struct request *out)
{
    struct pb_put_request m;
    enum err e = pb_put_request_decode(in, arena, &m);
    if (e == ERR_OK)
        put_of(&m, &out->put);
    return e;
}

static enum err decode_delete(struct span in, struct arena *arena, struct request *out)
{
    struct pb_delete_range_request m;
    enum err e = pb_delete_range_request_decode(in, arena, &m);
    if (e == ERR_OK)
        delete_of(&m, &out->del);
    return e;
}

static enum err decode_txn(struct span in, struct arena *arena, struct request *out)
{
    struct pb_txn_request m;
    enum err e = pb_txn_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    out->serializable =
        all_serializable(m.success, m.n_success) && all_serializable(m.failure, m.n_failure);
    return txn_of(&m, 1, arena, &out->txn);
}

static enum err decode_compact(struct span in, struct arena *arena, struct request *out)
{
    struct pb_compaction_request m;
    enum err e = pb_compaction_request_decode(in, arena, &m);
    out->compact.revision = m.revision;
    out->compact.physical = m.physical;
    return e;
}

/* ---- leases ---- */

static enum err decode_grant(struct span in, struct arena *arena, struct request *out)
{
    struct pb_lease_grant_request m;
    enum err e = pb_lease_grant_request_decode(in, arena, &m);
    out->lease.id = m.id;
    out->lease.ttl_s = m.ttl;
    return e;
}

static enum err decode_revoke(struct span in, struct arena *arena, struct request *out)
{
    struct pb_lease_revoke_request m;
    enum err e = pb_lease_revoke_request_decode(in, arena, &m);
    out->lease.id = m.id;
    return e;
}

static enum err decode_keep_alive(struct span in, struct arena *arena, struct request *out)
{
    struct pb_lease_keep_alive_request m;
    enum err e = pb_lease_keep_alive_request_decode(in, arena, &m);
    out->lease.id = m.id;
    return e;
}

static enum err decode_time_to_live(struct span in, struct arena *arena, struct request *out)
{
    struct pb_lease_time_to_live_request m;
    enum err e = pb_lease_time_to_live_request_decode(in, arena, &m);
    out->lease.id = m.id;
    out->lease.keys = m.keys;
    return e;
}

/* ---- watches ---- */

enum { FILTER_NO_PUT = 0, FILTER_NO_DELETE = 1 };

static void create_of(const struct pb_watch_create_request *m, struct watch_request *out)
{
    *out = (struct watch_request){ .key = m->key,
                                   .range_end = m->range_end,
                                   .start_revision = m->start_revision,
                                   .id = m->watch_id,
                                   .prev_kv = m->prev_kv,
                                   .progress = m->progress_notify,
                                   .fragment = m->fragment };
    for (size_t i = 0; i < m->n_filters; i++) {
        out->no_put = out->no_put || m->filters[i] == FILTER_NO_PUT;
        out->no_delete = out->no_delete || m->filters[i] == FILTER_NO_DELETE;
    }
}

static enum err decode_watch(struct span in, struct arena *arena, struct request *out)
{
    struct pb_watch_request m;
    enum err e = pb_watch_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    if (m.which_request_union == 1) {
        create_of(m.create_request, &out->watch);
    } else if (m.which_request_union == 2) {
        out->type = REQUEST_WATCH_REMOVE;
        out->watch_id = m.cancel_request->watch_id;
    } else if (m.which_request_union == 3) {
        out->type = REQUEST_WATCH_PROGRESS;
    } else {
        out->type = REQUEST_NONE; /* etcd passes over what it does not know */
    }
    return ERR_OK;
}

/* ---- the rest ---- */

static enum err decode_hash(struct span in, struct arena *arena, struct request *out)
{
    struct pb_hash_kv_request m;
    enum err e = pb_hash_kv_request_decode(in, arena, &m);
    out->hash_revision = m.revision;
    out->serializable = true; /* of this node's own state */
    return e;
}

static enum err decode_hash_all(struct span in, struct arena *arena, struct request *out)
{
    struct pb_hash_request m;
    out->serializable = true;
    return pb_hash_request_decode(in, arena, &m);
}

static enum err decode_alarm(struct span in, struct arena *arena, struct request *out)
{
    struct pb_alarm_request m;
    enum err e = pb_alarm_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    if ((uint32_t)m.action > PB_ALARM_REQUEST_DEACTIVATE || (uint32_t)m.alarm >= ALARM_TYPES)
        return ERR_BAD_REQUEST;
    out->alarm.which = (struct alarm){ m.member_id, (enum alarm_type)m.alarm };
    out->alarm.drop = m.action == PB_ALARM_REQUEST_DEACTIVATE;
    if (m.action == PB_ALARM_REQUEST_GET)
        out->type = REQUEST_ALARM_LIST;
    return ERR_OK;
}

static enum err decode_downgrade(struct span in, struct arena *arena, struct request *out)
{
    struct pb_downgrade_request m;
    enum err e = pb_downgrade_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    out->downgrade.version = m.version;
    out->downgrade.cancel = m.action == PB_DOWNGRADE_REQUEST_CANCEL;
    return (uint32_t)m.action > PB_DOWNGRADE_REQUEST_CANCEL ? ERR_BAD_REQUEST : ERR_OK;
}

/* A member has one address here; a list of several is refused, not cut. */
static struct span only(const struct span *urls, size_t n)
{
    return n == 1 ? urls[0] : SPAN_NONE;
}

static enum err decode_members(struct span in, struct arena *arena, struct request *out)
{
    struct pb_member_list_request m;
    enum err e = pb_member_list_request_decode(in, arena, &m);
    out->serializable = !m.linearizable;
    return e;
}

static enum err decode_member_add(struct span in, struct arena *arena, struct request *out)
{
    struct pb_member_add_request m;
    enum err e = pb_member_add_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    out->member.peer_url = only(m.peer_urls, m.n_peer_urls);
    out->member.learner = m.is_learner;
    return ERR_OK;
}

static enum err decode_member_update(struct span in, struct arena *arena, struct request *out)
{
    struct pb_member_update_request m;
    enum err e = pb_member_update_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    out->member.id = m.id;
    out->member.peer_url = only(m.peer_urls, m.n_peer_urls);
    return ERR_OK;
}

static enum err decode_member_id(struct span in, struct arena *arena, struct request *out)
{
    struct pb_member_remove_request m; /* promote's has the same field, move leader's too */
    enum err e = pb_member_remove_request_decode(in, arena, &m);
    out->member.id = m.id;
    return e;
}

static enum err decode_health(struct span in, struct arena *arena, struct request *out)
{
    struct pb_health_check_request m;
    enum err e = pb_health_check_request_decode(in, arena, &m);
    out->health_service = m.service;
    return e;
}

/* ---- users and roles ---- */

static enum err decode_authenticate(struct span in, struct arena *arena, struct request *out)
{
    struct pb_authenticate_request m;
    enum err e = pb_authenticate_request_decode(in, arena, &m);
    out->auth.user = m.name;
    out->auth.password = m.password;
    return e;
}

static enum err decode_user_add(struct span in, struct arena *arena, struct request *out)
{
    struct pb_auth_user_add_request m;
    enum err e = pb_auth_user_add_request_decode(in, arena, &m);
    out->auth.user = m.name;
    out->auth.password = m.password;
    out->auth.no_password = m.options && m.options->no_password;
    return e;
}

/* To look at or delete a user. */
static enum err decode_user_name(struct span in, struct arena *arena, struct request *out)
{
    struct pb_auth_user_get_request m;
    enum err e = pb_auth_user_get_request_decode(in, arena, &m);
    out->auth.user = m.name;
    return e;
}

/* To give or take a role: both have the same fields. */
static enum err decode_user_role(struct span in, struct arena *arena, struct request *out)
{
    struct pb_auth_user_grant_role_request m;
    enum err e = pb_auth_user_grant_role_request_decode(in, arena, &m);
    out->auth.user = m.user;
    out->auth.role = m.role;
    return e;
}

static enum err decode_role_name(struct span in, struct arena *arena, struct request *out)
{
    struct pb_auth_role_add_request m;
    enum err e = pb_auth_role_add_request_decode(in, arena, &m);
    out->auth.role = m.name;
    return e;
}

static enum err decode_role_grant(struct span in, struct arena *arena, struct request *out)
{
    struct pb_auth_role_grant_permission_request m;
    enum err e = pb_auth_role_grant_permission_request_decode(in, arena, &m);
    out->auth.role = m.name;
    if (e != ERR_OK || !m.perm)
        return e;
    out->auth.has_permission = true;
    out->auth.permission =
        (struct auth_permission){ m.perm->perm_type, m.perm->key, m.perm->range_end };
    return ERR_OK;
}

static enum err decode_role_revoke(struct span in, struct arena *arena, struct request *out)
{
    struct pb_auth_role_revoke_permission_request m;
    enum err e = pb_auth_role_revoke_permission_request_decode(in, arena, &m);
    out->auth.role = m.role;
    out->auth.permission.key = m.key;
    out->auth.permission.range_end = m.range_end;
    return e;
}

/* ---- locks and elections ---- */

static enum err decode_lock(struct span in, struct arena *arena, struct request *out)
{
    struct pb_lock_request m;
    enum err e = pb_lock_request_decode(in, arena, &m);
    out->election.name = m.name;
    out->election.lease = m.lease;
    return e;
}

static enum err decode_unlock(struct span in, struct arena *arena, struct request *out)
{
    struct pb_unlock_request m;
    enum err e = pb_unlock_request_decode(in, arena, &m);
    out->election.key = m.key;
    return e;
}

static enum err decode_campaign(struct span in, struct arena *arena, struct request *out)
{
    struct pb_campaign_request m;
    enum err e = pb_campaign_request_decode(in, arena, &m);
    out->election.name = m.name;
    out->election.lease = m.lease;
    out->election.value = m.value;
    return e;
}

static void leader_of(const struct pb_leader_key *m, struct request *out)
{
    if (!m)
        return;
    out->election.has_leader = true;
    out->election.name = m->name;
    out->election.key = m->key;
    out->election.revision = m->rev;
    out->election.lease = m->lease;
}

static enum err decode_proclaim(struct span in, struct arena *arena, struct request *out)
{
    struct pb_proclaim_request m;
    enum err e = pb_proclaim_request_decode(in, arena, &m);
    if (e != ERR_OK)
        return e;
    leader_of(m.leader, out);
    out->election.value = m.value;
    return ERR_OK;
}

static enum err decode_resign(struct span in, struct arena *arena, struct request *out)
{
    struct pb_resign_request m;
    enum err e = pb_resign_request_decode(in, arena, &m);
    if (e == ERR_OK)
        leader_of(m.leader, out);
    return e;
}

static enum err decode_leader(struct span in, struct arena *arena, struct request *out)
{
    struct pb_leader_request m;
    enum err e = pb_leader_request_decode(in, arena, &m);
    out->election.name = m.name;
    return e;
}

/* Refusals of a stream that a range does not have (etcd v3rpc/key.go); what is wrong with the range
 * itself comes before them, from request_check. */
static enum err check_stream(const struct kv_range *r)
{
    if (kv_check_range(r) != ERR_OK)
        return ERR_OK;
    /* In order of key, ascending: what a range without an order gives. */
    if (r->target != KV_BY_KEY || r->order == KV_ORDER_DESCEND)
        return ERR_STREAM_SORT;
    return r->min_mod || r->max_mod || r->min_create || r->max_create ? ERR_STREAM_FILTER : ERR_OK;
}

enum err etcd_decode(const struct etcd_method *method, struct span message, struct arena *arena,
                     struct request *out)
{
    static enum err (*const decoders[REQUEST_TYPE_COUNT])(struct span, struct arena *,
                                                          struct request *) = {
        [REQUEST_RANGE] = decode_range,
        [REQUEST_PUT] = decode_put,
        [REQUEST_DELETE] = decode_delete,
        [REQUEST_TXN] = decode_txn,
        [REQUEST_COMPACT] = decode_compact,
        [REQUEST_LEASE_GRANT] = decode_grant,
        [REQUEST_LEASE_REVOKE] = decode_revoke,
        [REQUEST_LEASE_RENEW] = decode_keep_alive,
        [REQUEST_LEASE_LOOK] = decode_time_to_live,
        [REQUEST_WATCH_ADD] = decode_watch,
        [REQUEST_HASH] = decode_hash,
        [REQUEST_HASH_ALL] = decode_hash_all,
        [REQUEST_ALARM] = decode_alarm,
        [REQUEST_DOWNGRADE] = decode_downgrade,
        [REQUEST_LOCK] = decode_lock,
        [REQUEST_UNLOCK] = decode_unlock,
        [REQUEST_CAMPAIGN] = decode_campaign,
        [REQUEST_PROCLAIM] = decode_proclaim,
        [REQUEST_RESIGN] = decode_resign,
        [REQUEST_LEADER] = decode_leader,
        [REQUEST_OBSERVE] = decode_leader,
        [REQUEST_HEALTH] = decode_health,
        [REQUEST_MEMBERS] = decode_members,
        [REQUEST_MEMBER_ADD] = decode_member_add,
        [REQUEST_MEMBER_REMOVE] = decode_member_id,
        [REQUEST_MEMBER_UPDATE] = decode_member_update,
        [REQUEST_MEMBER_PROMOTE] = decode_member_id,
        [REQUEST_MOVE_LEADER] = decode_member_id,
        [REQUEST_AUTHENTICATE] = decode_authenticate,
        [REQUEST_USER_ADD] = decode_user_add,
        [REQUEST_USER_PASSWORD] = decode_authenticate,
        [REQUEST_USER_GET] = decode_user_name,
        [REQUEST_USER_DELETE] = decode_user_name,
        [REQUEST_USER_GRANT] = decode_user_role,
        [REQUEST_USER_REVOKE] = decode_user_role,
        [REQUEST_ROLE_ADD] = decode_role_name,
        [REQUEST_ROLE_GET] = decode_role_name,
        [REQUEST_ROLE_DELETE] = decode_role_name,
        [REQUEST_ROLE_GRANT] = decode_role_grant,
        [REQUEST_ROLE_REVOKE] = decode_role_revoke,
    };
    enum request_type type = etcd_type(method);
    CHECK(type != REQUEST_NONE);
    *out = (struct request){ .type = type };
    enum err e = ERR_OK;
    struct pb_status_request nothing; /* as all messages without fields */
    if (decoders[type])
        e = decoders[type](message, arena, out);
    else
        e = pb_status_request_decode(message, arena, &nothing);
    return e == ERR_OK && method->kind == ETCD_RANGE_STREAM ? check_stream(&out->range) : e;
}
