#include "api/etcd/etcd_int.h"
#include "base/check.h"

static struct pb_response_header header_of(const struct etcd_header *h, int64_t revision)
{
    return (struct pb_response_header){ h->cluster_id, h->member_id, revision, h->term };
}

static void pair_of(const struct kv_version *v, bool keys_only, struct pb_key_value *out)
{
    *out = (struct pb_key_value){ .key = kv_key(v),
                                  .create_revision = v->create_revision,
                                  .mod_revision = v->mod_revision,
                                  .version = v->version,
                                  .value = keys_only ? SPAN_NONE : kv_value(v),
                                  .lease = v->lease };
}

static struct pb_key_value *pairs_of(const struct kv_version *const *items, size_t n,
                                     bool keys_only, struct arena *arena)
{
    struct pb_key_value *out = ARENA_ARRAY(arena, struct pb_key_value, n + 1);
    for (size_t i = 0; i < n; i++)
        pair_of(items[i], keys_only, &out[i]);
    return out;
}

/* ---- KV ---- */

static void range_message(const struct kv_range_result *r, struct arena *arena,
                          struct pb_range_response *out)
{
    out->kvs = pairs_of(r->items, r->n, r->keys_only, arena);
    out->n_kvs = r->n;
    out->more = r->more;
    out->count = r->count;
}

static void put_message(const struct kv_put_result *r, struct arena *arena,
                        struct pb_put_response *out)
{
    if (r->prev)
        out->prev_kv = pairs_of(&r->prev, 1, false, arena);
}

static void delete_message(const struct kv_delete_result *r, struct arena *arena,
                           struct pb_delete_range_response *out)
{
    out->deleted = r->deleted;
    out->prev_kvs = pairs_of(r->prev, r->n_prev, false, arena);
    out->n_prev_kvs = r->n_prev;
}

static void txn_message(const struct kv_txn_result *r, struct arena *arena,
                        struct pb_txn_response *out);

static void op_message(const struct kv_op_result *r, struct arena *arena,
                       struct pb_response_op *out)
{
    struct pb_response_header *header = ARENA_NEW(arena, struct pb_response_header);
    header->revision = r->revision;
    out->which_response = (uint32_t)r->type;
    switch (r->type) {
    case KV_OP_NONE:
        return;
    case KV_OP_RANGE:
        out->response_range = ARENA_NEW(arena, struct pb_range_response);
        out->response_range->header = header;
        range_message(&r->range, arena, out->response_range);
        return;
    case KV_OP_PUT:
        out->response_put = ARENA_NEW(arena, struct pb_put_response);
        out->response_put->header = header;
        put_message(&r->put, arena, out->response_put);
        return;
    case KV_OP_DELETE:
        out->response_delete_range = ARENA_NEW(arena, struct pb_delete_range_response);
        out->response_delete_range->header = header;
        delete_message(&r->del, arena, out->response_delete_range);
        return;
    case KV_OP_TXN:
        out->response_txn = ARENA_NEW(arena, struct pb_txn_response);
        out->response_txn->header = header;
        txn_message(r->txn, arena, out->response_txn);
        return;
    }
}

static void txn_message(const struct kv_txn_result *r, struct arena *arena,
                        struct pb_txn_response *out)
{
    out->succeeded = r->succeeded;
    out->n_responses = r->n_ops;
    out->responses = ARENA_ARRAY(arena, struct pb_response_op, r->n_ops + 1);
    for (size_t i = 0; i < r->n_ops; i++)
        op_message(&r->ops[i], arena, &out->responses[i]);
}

static void encode_range(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                         struct buf *out)
{
    struct pb_range_response m = { .header = h };
    range_message(&r->range, arena, &m);
    pb_range_response_encode(&m, out);
}

void etcd_range_piece(const struct etcd_header *header, const struct etcd_range_piece *piece,
                      struct arena *arena, struct buf *out)
{
    struct pb_response_header h = header_of(header, piece->revision);
    struct pb_range_response range = { .n_kvs = piece->n };
    struct pb_range_stream_response m = { .range_response = &range };
    range.kvs = pairs_of(piece->items, piece->n, piece->keys_only, arena);
    if (piece->last) {
        range.header = &h;
        range.more = piece->more;
        range.count = piece->count;
    }
    pb_range_stream_response_encode(&m, out);
}

static void encode_put(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                       struct buf *out)
{
    struct pb_put_response m = { .header = h };
    put_message(&r->put, arena, &m);
    pb_put_response_encode(&m, out);
}

static void encode_delete(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                          struct buf *out)
{
    struct pb_delete_range_response m = { .header = h };
    delete_message(&r->del, arena, &m);
    pb_delete_range_response_encode(&m, out);
}

static void encode_txn(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                       struct buf *out)
{
    struct pb_txn_response m = { .header = h };
    txn_message(&r->txn, arena, &m);
    pb_txn_response_encode(&m, out);
}

static void encode_header(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                          struct buf *out)
{
    struct pb_compaction_response m = { .header = h };
    (void)r, (void)arena;
    pb_compaction_response_encode(&m, out);
}

/* ---- leases ---- */

static void encode_grant(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                         struct buf *out)
{
    struct pb_lease_grant_response m = { .header = h, .id = r->lease.id, .ttl = r->lease.ttl_s };
    (void)arena;
    pb_lease_grant_response_encode(&m, out);
}

static void encode_keep_alive(struct pb_response_header *h, const struct reply *r,
                              struct arena *arena, struct buf *out)
{
    struct pb_lease_keep_alive_response m = { .header = h,
                                              .id = r->lease.id,
                                              .ttl = r->lease.ttl_s };
    (void)arena;
    pb_lease_keep_alive_response_encode(&m, out);
}

static void encode_look(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                        struct buf *out)
{
    const struct lease_info *l = &r->look.info;
    struct pb_lease_time_to_live_response m = { .header = h, .id = l->id, .ttl = -1 };
    (void)arena;
    if (r->look.found) {
        m.ttl = l->remaining_ms / 1000;
        m.granted_ttl = l->ttl_s;
        m.keys = l->keys;
        m.n_keys = l->n_keys;
    }
    pb_lease_time_to_live_response_encode(&m, out);
}

static void encode_list(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                        struct buf *out)
{
    struct pb_lease_leases_response m = { .header = h };
    m.leases = ARENA_ARRAY(arena, struct pb_lease_status, r->list.n + 1);
    m.n_leases = r->list.n;
    for (size_t i = 0; i < r->list.n; i++)
        m.leases[i].id = r->list.ids[i];
    pb_lease_leases_response_encode(&m, out);
}

/* ---- cluster and maintenance ---- */

/* A member may tell several addresses, with commas. */
static void split_urls(struct span text, struct arena *arena, struct span **out, size_t *n)
{
    size_t most = 1;
    for (size_t i = 0; i < text.len; i++)
        most += text.data[i] == ',';
    *out = ARENA_ARRAY(arena, struct span, most);
    *n = 0;
    while (text.len) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        if (len)
            (*out)[(*n)++] = span_of(text.data, len);
        text = span_from(text, comma ? len + 1 : len);
    }
}

static void member_message(const struct member_info *from, struct arena *arena,
                           struct pb_member *to)
{
    *to = (struct pb_member){ .id = from->id, .name = from->name, .is_learner = from->learner };
    split_urls(from->peer_url, arena, &to->peer_urls, &to->n_peer_urls);
    split_urls(from->client_url, arena, &to->client_urls, &to->n_client_urls);
}

static struct pb_member *member_messages(const struct reply *r, struct arena *arena)
{
    struct pb_member *out = ARENA_ARRAY(arena, struct pb_member, r->members.n + 1);
    for (size_t i = 0; i < r->members.n; i++)
        member_message(&r->members.items[i], arena, &out[i]);
    return out;
}

/* The answers to list, remove, update and promote have the same fields. etcd leaves the revision
 * out of their header. */
static void encode_members(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                           struct buf *out)
{
    struct pb_member_list_response m = { .header = h };
    m.members = member_messages(r, arena);
    m.n_members = r->members.n;
    h->revision = 0;
    pb_member_list_response_encode(&m, out);
}

static void encode_member_add(struct pb_response_header *h, const struct reply *r,
                              struct arena *arena, struct buf *out)
{
    struct pb_member_add_response m = { .header = h };
    m.members = member_messages(r, arena);
    m.n_members = r->members.n;
    h->revision = 0;
    for (size_t i = 0; i < r->members.n; i++)
        if (m.members[i].id == r->members.id)
            m.member = &m.members[i];
    pb_member_add_response_encode(&m, out);
}

static struct span error_of_alarm(struct alarm a, struct arena *arena)
{
    char digits[20];
    size_t n = sizeof(digits);
    for (uint64_t v = a.member; v || n == sizeof(digits); v /= 10)
        digits[--n] = (char)('0' + v % 10);
    struct span parts[] = { SPAN("memberID:"), span_of(digits + n, sizeof(digits) - n),
                            SPAN(" alarm:"), span_text(alarm_name(a.type)), SPAN(" ") };
    uint8_t *text = arena_alloc(arena, 64);
    size_t len = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memcpy(text + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    return span_of(text, len);
}

/* etcd's own, and "NOSPACE" for what it does not know: this member's disk or memory is full, which
 * ends by itself. */
static void errors_of_status(const struct reply *r, struct arena *arena,
                             struct pb_status_response *m)
{
    size_t alarms = r->status.alarms ? r->status.alarms->n : 0;
    m->errors = ARENA_ARRAY(arena, struct span, alarms + 2);
    if (r->status.leader == 0)
        m->errors[m->n_errors++] = span_text(err_text(ERR_NO_LEADER));
    if (r->status.nospace)
        m->errors[m->n_errors++] = SPAN("NOSPACE");
    for (size_t i = 0; i < alarms; i++)
        m->errors[m->n_errors++] = error_of_alarm(r->status.alarms->items[i], arena);
}

static void encode_status(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                          struct buf *out)
{
    struct pb_downgrade_info none = { .enabled = false };
    struct pb_status_response m = { .header = h,
                                    .version = span_text(r->status.version),
                                    .db_size = r->status.size_bytes,
                                    .db_size_in_use = r->status.size_in_use_bytes,
                                    .db_size_quota = r->status.quota_bytes,
                                    .leader = r->status.leader,
                                    .raft_index = r->status.index,
                                    .raft_term = r->status.term,
                                    .raft_applied_index = r->status.applied_index,
                                    .is_learner = r->status.learner,
                                    .storage_version = SPAN("3.6.0"),
                                    .downgrade_info = &none };
    errors_of_status(r, arena, &m);
    pb_status_response_encode(&m, out);
}

static void encode_alarms(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                          struct buf *out)
{
    struct pb_alarm_response m = { .header = h, .n_alarms = r->alarms.n };
    m.alarms = ARENA_ARRAY(arena, struct pb_alarm_member, r->alarms.n + 1);
    for (size_t i = 0; i < r->alarms.n; i++)
        m.alarms[i] =
            (struct pb_alarm_member){ r->alarms.items[i].member, (int32_t)r->alarms.items[i].type };
    pb_alarm_response_encode(&m, out);
}

static void encode_hash_all(struct pb_response_header *h, const struct reply *r,
                            struct arena *arena, struct buf *out)
{
    struct pb_hash_response m = { .header = h, .hash = r->hash.hash };
    (void)arena;
    pb_hash_response_encode(&m, out);
}

/* A cancel: that there was nothing to cancel is no error (etcd), and the version stays. */
static void encode_downgrade(struct pb_response_header *h, const struct reply *r,
                             struct arena *arena, struct buf *out)
{
    struct pb_downgrade_response m = { .header = h, .version = SPAN("3.6") };
    (void)r, (void)arena;
    pb_downgrade_response_encode(&m, out);
}

static void encode_hash(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                        struct buf *out)
{
    struct pb_hash_kv_response m = { .header = h,
                                     .hash = r->hash.hash,
                                     .compact_revision = r->hash.compact_revision,
                                     .hash_revision = r->hash.hash_revision };
    (void)arena;
    pb_hash_kv_response_encode(&m, out);
}

static void encode_health(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                          struct buf *out)
{
    struct pb_health_check_response m = { .status = (int32_t)r->health };
    (void)h, (void)arena;
    pb_health_check_response_encode(&m, out);
}

/* ---- users and roles ---- */

static void encode_auth_status(struct pb_response_header *h, const struct reply *r,
                               struct arena *arena, struct buf *out)
{
    struct pb_auth_status_response m = { .header = h,
                                         .enabled = r->auth.enabled,
                                         .auth_revision = r->auth.revision };
    (void)arena;
    pb_auth_status_response_encode(&m, out);
}

static void encode_authenticate(struct pb_response_header *h, const struct reply *r,
                                struct arena *arena, struct buf *out)
{
    struct pb_authenticate_response m = { .header = h, .token = r->login.token };
    (void)arena;
    pb_authenticate_response_encode(&m, out);
}

/* The roles of a user, and the lists of all users and of all roles, have the same fields. */
static void encode_names(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                         struct buf *out)
{
    struct pb_auth_user_get_response m = { .header = h };
    (void)arena;
    m.roles = r->names.items;
    m.n_roles = r->names.n;
    pb_auth_user_get_response_encode(&m, out);
}

static void encode_permissions(struct pb_response_header *h, const struct reply *r,
                               struct arena *arena, struct buf *out)
{
    struct pb_auth_role_get_response m = { .header = h };
    m.perm = ARENA_ARRAY(arena, struct pb_permission, r->permissions.n + 1);
    m.n_perm = r->permissions.n;
    for (size_t i = 0; i < m.n_perm; i++) {
        const struct auth_permission *p = &r->permissions.items[i];
        m.perm[i] = (struct pb_permission){ p->right, p->key, p->range_end };
    }
    pb_auth_role_get_response_encode(&m, out);
}

/* ---- locks and elections ---- */

static void encode_lock(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                        struct buf *out)
{
    struct pb_lock_response m = { .header = h, .key = r->leader.key };
    (void)arena;
    pb_lock_response_encode(&m, out);
}

static void encode_campaign(struct pb_response_header *h, const struct reply *r,
                            struct arena *arena, struct buf *out)
{
    struct pb_leader_key leader = { .name = r->leader.name,
                                    .key = r->leader.key,
                                    .rev = r->leader.revision,
                                    .lease = r->leader.lease };
    struct pb_campaign_response m = { .header = h, .leader = &leader };
    (void)arena;
    pb_campaign_response_encode(&m, out);
}

static void encode_leader(struct pb_response_header *h, const struct reply *r, struct arena *arena,
                          struct buf *out)
{
    struct pb_leader_response m = { .header = h };
    if (r->leading)
        m.kv = pairs_of(&r->leading, 1, false, arena);
    pb_leader_response_encode(&m, out);
}

void etcd_encode(const struct etcd_method *method, const struct etcd_header *header,
                 const struct reply *reply, struct arena *arena, struct buf *out)
{
    static void (*const encoders[REQUEST_TYPE_COUNT])(
        struct pb_response_header *, const struct reply *, struct arena *, struct buf *) = {
        [REQUEST_RANGE] = encode_range,         [REQUEST_PUT] = encode_put,
        [REQUEST_DELETE] = encode_delete,       [REQUEST_TXN] = encode_txn,
        [REQUEST_COMPACT] = encode_header,      [REQUEST_LEASE_GRANT] = encode_grant,
        [REQUEST_LEASE_REVOKE] = encode_header, [REQUEST_LEASE_RENEW] = encode_keep_alive,
        [REQUEST_LEASE_LOOK] = encode_look,     [REQUEST_LEASE_LIST] = encode_list,
        [REQUEST_MEMBERS] = encode_members,     [REQUEST_STATUS] = encode_status,
        [REQUEST_HASH] = encode_hash,           [REQUEST_HEALTH] = encode_health,
        [REQUEST_MEMBER_ADD] = encode_member_add,
        [REQUEST_MEMBER_REMOVE] = encode_members,
        [REQUEST_MEMBER_UPDATE] = encode_members,
        [REQUEST_MEMBER_PROMOTE] = encode_members,
        [REQUEST_MOVE_LEADER] = encode_header,
        [REQUEST_AUTH_ENABLE] = encode_header,
        [REQUEST_AUTH_DISABLE] = encode_header,
        [REQUEST_AUTH_STATUS] = encode_auth_status,
        [REQUEST_AUTHENTICATE] = encode_authenticate,
        [REQUEST_USER_ADD] = encode_header,
        [REQUEST_USER_GET] = encode_names,
        [REQUEST_USER_LIST] = encode_names,
        [REQUEST_USER_DELETE] = encode_header,
        [REQUEST_USER_PASSWORD] = encode_header,
        [REQUEST_USER_GRANT] = encode_header,
        [REQUEST_USER_REVOKE] = encode_header,
        [REQUEST_ROLE_ADD] = encode_header,
        [REQUEST_ROLE_GET] = encode_permissions,
        [REQUEST_ROLE_LIST] = encode_names,
        [REQUEST_ROLE_DELETE] = encode_header,
        [REQUEST_ROLE_GRANT] = encode_header,
        [REQUEST_ROLE_REVOKE] = encode_header,
        [REQUEST_DEFRAGMENT] = encode_header,
        [REQUEST_DOWNGRADE] = encode_downgrade,
        [REQUEST_HASH_ALL] = encode_hash_all,
        [REQUEST_ALARM] = encode_alarms,
        [REQUEST_LOCK] = encode_lock,
        [REQUEST_UNLOCK] = encode_header,
        [REQUEST_CAMPAIGN] = encode_campaign,
        [REQUEST_PROCLAIM] = encode_header,
        [REQUEST_RESIGN] = encode_header,
        [REQUEST_LEADER] = encode_leader,
        [REQUEST_OBSERVE] = encode_leader,
    };
    enum request_type type = etcd_type(method);
    CHECK(encoders[type] && reply->err == ERR_OK);
    struct pb_response_header h = header_of(header, reply->revision);
    encoders[type](&h, reply, arena, out);
}

void etcd_snapshot(uint64_t left, struct span blob, struct buf *out)
{
    struct pb_snapshot_response m = { .remaining_bytes = left, .blob = blob };
    pb_snapshot_response_encode(&m, out);
}
