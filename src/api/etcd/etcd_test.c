#include "api/etcd/drive.h"
#include "base/prng.h"
#include "base/test.h"

#define PATH_KV "/etcdserverpb.KV/"
#define PATH_LEASE "/etcdserverpb.Lease/"
#define PATH_WATCH "/etcdserverpb.Watch/Watch"
#define PATH_HEALTH "/grpc.health.v1.Health/"

/* Asks with the bytes of one message. */
static enum err ask_bytes(struct drive *d, const char *path, struct span message)
{
    return drive_call(d, drive_method(path), message);
}

/* The message of a request, in d->again until the next call. */
#define ASK(d, path, type, ...)                                                                    \
    (buf_reset(&(d)->again), pb_##type##_encode(&(struct pb_##type){ __VA_ARGS__ }, &(d)->again),  \
     ask_bytes(d, path, arena_copy(&(d)->arena, buf_all(&(d)->again))))

#define DECODE(d, path, r, type, ...)                                                              \
    (buf_reset(&(d)->again), pb_##type##_encode(&(struct pb_##type){ __VA_ARGS__ }, &(d)->again),  \
     etcd_decode(drive_method(path), arena_copy(&(d)->arena, buf_all(&(d)->again)), &(d)->arena,   \
                 r))

#define ANSWER(d, type, m) (pb_##type##_decode(buf_all(&(d)->out), &(d)->arena, m) == ERR_OK)

static enum err put(struct drive *d, const char *key, const char *value)
{
    return ASK(d, PATH_KV "Put", put_request, .key = span_text(key), .value = span_text(value));
}

/* ---- methods ---- */

TEST(etcd_methods)
{
    for (int i = 0; i < etcd_method_count(); i++) {
        const struct etcd_method *m = etcd_method_at(i);
        EXPECT(m->number == i && etcd_method_find(span_text(m->path)) == m);
        EXPECT(span_starts(span_from(span_text(m->path), 1), span_text(m->service)));
        EXPECT((etcd_type(m) == REQUEST_NONE) ==
               (m->kind == ETCD_REFLECTION || etcd_method_of_flagd(m)));
    }
    EXPECT(drive_method(PATH_WATCH)->kind == ETCD_WATCH);
    EXPECT(drive_method(PATH_LEASE "LeaseKeepAlive")->kind == ETCD_KEEP_ALIVE);
    EXPECT(drive_method(PATH_HEALTH "Watch")->kind == ETCD_HEALTH_WATCH);
    EXPECT(drive_method(PATH_HEALTH "Check")->kind == ETCD_UNARY);
    static const char *const unknown[] = { "", "/", "/etcdserverpb.KV", "/etcdserverpb.KV/",
                                           "/etcdserverpb.KV/range", "/etcdserverpb.KV/Range2",
                                           "etcdserverpb.KV/Range" };
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        EXPECT(!etcd_method_find(span_text(unknown[i])));
}

TEST(etcd_statuses)
{
    static const struct {
        enum err e;
        int code;
        const char *text;
    } table[] = {
        { ERR_COMPACTED, 11, "etcdserver: mvcc: required revision has been compacted" },
        { ERR_KEY_EMPTY, 3, "etcdserver: key is not provided" },
        { ERR_LEASE_NOT_FOUND, 5, "etcdserver: requested lease not found" },
        { ERR_NOSPACE, 8, "etcdserver: mvcc: database space exceeded" },
        { ERR_NO_LEADER, 14, "etcdserver: no leader" },
        { ERR_DEADLINE, 4, "context deadline exceeded" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *text;
        EXPECT(etcd_status(table[i].e, &text) == table[i].code && !strcmp(text, table[i].text));
    }
}

/* ---- decoding ---- */

TEST(etcd_decode_what_is_no_message)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    for (int i = 0; i < etcd_method_count(); i++) {
        const struct etcd_method *m = etcd_method_at(i);
        if (etcd_type(m) == REQUEST_NONE)
            continue;
        EXPECT(etcd_decode(m, SPAN("\x0a\x05"), &d.arena, &r) == ERR_MESSAGE_MALFORMED);
        EXPECT(etcd_decode(m, SPAN("\x80"), &d.arena, &r) == ERR_MESSAGE_MALFORMED);
        EXPECT(etcd_decode(m, SPAN_NONE, &d.arena, &r) == ERR_OK);
        /* A field that nobody knows is passed over (proto3). */
        EXPECT(etcd_decode(m, SPAN("\xfa\x7f\x01x"), &d.arena, &r) == ERR_OK);
    }
    EXPECT(drive_close(&d));
}

TEST(etcd_decode_range)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    EXPECT(DECODE(&d, PATH_KV "Range", &r, range_request, .key = SPAN("k"), .range_end = SPAN("l"),
                  .limit = 2, .revision = 3, .sort_order = 1, .sort_target = 4,
                  .serializable = true, .keys_only = true, .count_only = true,
                  .min_mod_revision = 5, .max_mod_revision = 6, .min_create_revision = 7,
                  .max_create_revision = 8) == ERR_OK);
    const struct kv_range *g = &r.range;
    EXPECT(r.type == REQUEST_RANGE && r.serializable && g->keys_only && g->count_only);
    EXPECT(span_is(g->key, "k") && span_is(g->range_end, "l") && g->limit == 2);
    EXPECT(g->revision == 3 && g->order == KV_ORDER_ASCEND && g->target == KV_BY_VALUE);
    EXPECT(g->min_mod == 5 && g->max_mod == 6 && g->min_create == 7 && g->max_create == 8);
    EXPECT(DECODE(&d, PATH_KV "Range", &r, range_request, .key = SPAN("k")) == ERR_OK);
    EXPECT(!r.serializable && !r.range.keys_only && !r.range.count_only);
    EXPECT(drive_close(&d));
}

TEST(etcd_decode_put_and_delete)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    EXPECT(DECODE(&d, PATH_KV "Put", &r, put_request, .key = SPAN("k"), .value = SPAN("\0v"),
                  .lease = -4, .prev_kv = true, .ignore_value = true) == ERR_OK);
    EXPECT(r.type == REQUEST_PUT && span_is(r.put.key, "k") && r.put.lease == -4);
    EXPECT(span_equal(r.put.value, SPAN("\0v")) && r.put.type == KV_BYTES);
    EXPECT(r.put.prev_kv && r.put.ignore_value && !r.put.ignore_lease);
    EXPECT(DECODE(&d, PATH_KV "Put", &r, put_request, .ignore_lease = true) == ERR_OK);
    EXPECT(!r.put.prev_kv && !r.put.ignore_value && r.put.ignore_lease);
    EXPECT(DECODE(&d, PATH_KV "DeleteRange", &r, delete_range_request, .key = SPAN("k"),
                  .range_end = SPAN("\0"), .prev_kv = true) == ERR_OK);
    EXPECT(r.type == REQUEST_DELETE && span_is(r.del.key, "k") && r.del.prev_kv);
    EXPECT(span_equal(r.del.range_end, SPAN("\0")));
    EXPECT(DECODE(&d, PATH_KV "Compact", &r, compaction_request, .revision = 9,
                  .physical = true) == ERR_OK);
    EXPECT(r.type == REQUEST_COMPACT && r.compact.revision == 9 && r.compact.physical);
    EXPECT(drive_close(&d));
}

/* The number or value of a compare counts only when it is of the target's own kind (etcd). */
TEST(etcd_decode_compares)
{
    static const struct {
        int32_t target;
        uint32_t which;
        int64_t number;
        bool value;
    } table[] = {
        { KV_IF_VERSION, 4, 14, false }, { KV_IF_CREATE, 5, 15, false },
        { KV_IF_MOD, 6, 16, false },     { KV_IF_VALUE, 7, 0, true },
        { KV_IF_LEASE, 8, 18, false },   { KV_IF_VERSION, 5, 0, false },
        { KV_IF_VALUE, 4, 0, false },    { KV_IF_LEASE, 0, 0, false },
        { 5, 8, 0, false },              { -1, 4, 0, false },
    };
    struct drive d;
    struct request r;
    drive_open(&d);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct pb_compare c = { .key = SPAN("k"),
                                .range_end = SPAN("l"),
                                .result = 2,
                                .target = table[i].target,
                                .which_target_union = table[i].which,
                                .version = 14,
                                .create_revision = 15,
                                .mod_revision = 16,
                                .value = SPAN("17"),
                                .lease = 18 };
        EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .compare = &c, .n_compare = 1) ==
               ERR_OK);
        const struct kv_compare *got = &r.txn.compares[0];
        EXPECT(r.txn.n_compares == 1 && got->target == table[i].target && got->result == 2);
        EXPECT(span_is(got->key, "k") && span_is(got->range_end, "l"));
        EXPECT(got->number == table[i].number);
        EXPECT(span_is(got->value, table[i].value ? "17" : ""));
    }
    EXPECT(drive_close(&d));
}

TEST(etcd_decode_ops)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    struct pb_range_request range = { .key = SPAN("r") };
    struct pb_put_request put_op = { .key = SPAN("p") };
    struct pb_delete_range_request del = { .key = SPAN("d") };
    struct pb_request_op inner_ops[1] = { { .which_request = 2, .request_put = &put_op } };
    struct pb_txn_request inner = { .failure = inner_ops, .n_failure = 1 };
    struct pb_request_op ops[5] = { { .which_request = 1, .request_range = &range },
                                    { .which_request = 2, .request_put = &put_op },
                                    { .which_request = 3, .request_delete_range = &del },
                                    { .which_request = 4, .request_txn = &inner },
                                    { .which_request = 0 } };
    EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .success = ops, .n_success = 5,
                  .failure = ops, .n_failure = 2) == ERR_OK);
    const struct kv_op *got = r.txn.success;
    EXPECT(r.type == REQUEST_TXN && r.txn.n_success == 5 && r.txn.n_failure == 2);
    EXPECT(got[0].type == KV_OP_RANGE && span_is(got[0].range.key, "r"));
    EXPECT(got[1].type == KV_OP_PUT && span_is(got[1].put.key, "p"));
    EXPECT(got[2].type == KV_OP_DELETE && span_is(got[2].del.key, "d"));
    EXPECT(got[3].type == KV_OP_TXN && got[3].txn->n_success == 0 && got[3].txn->n_failure == 1);
    EXPECT(got[3].txn->failure[0].type == KV_OP_PUT && got[4].type == KV_OP_NONE);
    EXPECT(r.txn.failure[1].type == KV_OP_PUT);
    EXPECT(drive_close(&d));
}

TEST(etcd_decode_nested_transactions_are_bounded)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    struct pb_txn_request txns[ETCD_TXN_DEPTH_MAX + 1] = { 0 };
    struct pb_request_op ops[ETCD_TXN_DEPTH_MAX + 1];
    for (int depth = 1; depth <= ETCD_TXN_DEPTH_MAX; depth++) {
        EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .success = txns[depth - 1].success,
                      .n_success = txns[depth - 1].n_success) == ERR_OK);
        ops[depth] = (struct pb_request_op){ .which_request = 4, .request_txn = &txns[depth - 1] };
        txns[depth].success = &ops[depth];
        txns[depth].n_success = 1;
    }
    EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .failure = &ops[ETCD_TXN_DEPTH_MAX],
                  .n_failure = 1) == ERR_TOO_MANY_OPS);
    EXPECT(drive_close(&d));
}

/* A transaction is serializable when all it does are serializable ranges (etcd). */
TEST(etcd_decode_serializable_transactions)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    struct pb_range_request strict = { .key = SPAN("k") }, loose = strict;
    loose.serializable = true;
    struct pb_put_request write = { .key = SPAN("k") };
    struct pb_request_op ops[] = { { .which_request = 1, .request_range = &loose },
                                   { .which_request = 1, .request_range = &strict },
                                   { .which_request = 2, .request_put = &write } };
    EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .n_success = 0) == ERR_OK);
    EXPECT(r.serializable);
    for (size_t i = 0; i < 3; i++) {
        EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .success = &ops[i], .n_success = 1) ==
               ERR_OK);
        EXPECT(r.serializable == (i == 0));
        EXPECT(DECODE(&d, PATH_KV "Txn", &r, txn_request, .success = ops, .n_success = 1,
                      .failure = &ops[i], .n_failure = 1) == ERR_OK);
        EXPECT(r.serializable == (i == 0));
    }
    EXPECT(drive_close(&d));
}

TEST(etcd_decode_watches)
{
    struct drive d;
    struct request r;
    drive_open(&d);
    int32_t filters[] = { 1, 7 };
    struct pb_watch_create_request create = { .key = SPAN("k"),
                                              .range_end = SPAN("l"),
                                              .start_revision = 3,
                                              .progress_notify = true,
                                              .filters = filters,
                                              .n_filters = 2,
                                              .prev_kv = true,
                                              .watch_id = 6 };
    EXPECT(DECODE(&d, PATH_WATCH, &r, watch_request, .which_request_union = 1,
                  .create_request = &create) == ERR_OK);
    const struct watch_request *w = &r.watch;
    EXPECT(r.type == REQUEST_WATCH_ADD && span_is(w->key, "k") && span_is(w->range_end, "l"));
    EXPECT(w->start_revision == 3 && w->id == 6 && w->progress && w->prev_kv && !w->fragment);
    EXPECT(w->no_delete && !w->no_put);
    filters[1] = 0;
    create.fragment = true;
    EXPECT(DECODE(&d, PATH_WATCH, &r, watch_request, .which_request_union = 1,
                  .create_request = &create) == ERR_OK);
    EXPECT(r.watch.no_delete && r.watch.no_put && r.watch.fragment);
    struct pb_watch_cancel_request cancel = { .watch_id = 12 };
    EXPECT(DECODE(&d, PATH_WATCH, &r, watch_request, .which_request_union = 2,
                  .cancel_request = &cancel) == ERR_OK);
    EXPECT(r.type == REQUEST_WATCH_REMOVE && r.watch_id == 12);
    struct pb_watch_progress_request progress = { 0 };
    EXPECT(DECODE(&d, PATH_WATCH, &r, watch_request, .which_request_union = 3,
                  .progress_request = &progress) == ERR_OK);
    EXPECT(r.type == REQUEST_WATCH_PROGRESS);
    EXPECT(etcd_decode(drive_method(PATH_WATCH), SPAN("\x22\x00"), &d.arena, &r) == ERR_OK);
    EXPECT(r.type == REQUEST_NONE); /* a kind of request that came after us */
    EXPECT(drive_close(&d));
}

/* ---- answers ---- */

TEST(etcd_answers_of_writes_and_ranges)
{
    struct drive d;
    struct pb_put_response p;
    struct pb_range_response g;
    struct pb_delete_range_response x;
    drive_open(&d);
    EXPECT(put(&d, "a", "1") == ERR_OK && ANSWER(&d, put_response, &p) && !p.prev_kv);
    EXPECT(p.header->cluster_id == 7 && p.header->member_id == 8 && p.header->raft_term == 9);
    EXPECT(p.header->revision == 2);
    EXPECT(ASK(&d, PATH_KV "Put", put_request, .key = SPAN("a"), .value = SPAN("2"),
               .prev_kv = true) == ERR_OK);
    EXPECT(ANSWER(&d, put_response, &p) && span_is(p.prev_kv->value, "1"));
    EXPECT(p.header->revision == 3 && p.prev_kv->mod_revision == 2 && p.prev_kv->version == 1);
    EXPECT(put(&d, "b", "3") == ERR_OK);
    EXPECT(ASK(&d, PATH_KV "Range", range_request, .key = SPAN("a"), .range_end = SPAN("\0"),
               .limit = 1) == ERR_OK);
    EXPECT(ANSWER(&d, range_response, &g) && g.n_kvs == 1 && g.more && g.count == 2);
    EXPECT(span_is(g.kvs[0].key, "a") && span_is(g.kvs[0].value, "2"));
    EXPECT(g.kvs[0].create_revision == 2 && g.kvs[0].version == 2 && g.header->revision == 4);
    EXPECT(ASK(&d, PATH_KV "Range", range_request, .key = SPAN("a"), .keys_only = true) == ERR_OK);
    EXPECT(ANSWER(&d, range_response, &g) && span_is(g.kvs[0].key, "a") && !g.kvs[0].value.len);
    EXPECT(ASK(&d, PATH_KV "Range", range_request, .key = SPAN("a"), .revision = 2) == ERR_OK);
    EXPECT(ANSWER(&d, range_response, &g) && span_is(g.kvs[0].value, "1"));
    EXPECT(g.header->revision == 4); /* the store's, not the one that was asked for */
    EXPECT(ASK(&d, PATH_KV "DeleteRange", delete_range_request, .key = SPAN("a"),
               .range_end = SPAN("z"), .prev_kv = true) == ERR_OK);
    EXPECT(ANSWER(&d, delete_range_response, &x) && x.deleted == 2 && x.n_prev_kvs == 2);
    EXPECT(span_is(x.prev_kvs[1].value, "3"));
    EXPECT(ASK(&d, PATH_KV "Range", range_request, .revision = 2) == ERR_KEY_EMPTY);
    EXPECT(ASK(&d, PATH_KV "Range", range_request, .key = SPAN("a"), .revision = 99) ==
           ERR_REVISION_FUTURE);
    EXPECT(drive_close(&d));
}

TEST(etcd_answers_of_transactions)
{
    struct drive d;
    struct pb_txn_response t;
    drive_open(&d);
    struct pb_put_request write = { .key = SPAN("k"), .value = SPAN("v") };
    struct pb_range_request read = { .key = SPAN("k") };
    struct pb_delete_range_request del = { .key = SPAN("gone"), .prev_kv = true };
    struct pb_request_op deep[1] = { { .which_request = 3, .request_delete_range = &del } };
    struct pb_txn_request inner = { .success = deep, .n_success = 1 };
    struct pb_request_op ops[3] = { { .which_request = 2, .request_put = &write },
                                    { .which_request = 1, .request_range = &read },
                                    { .which_request = 4, .request_txn = &inner } };
    EXPECT(put(&d, "gone", "1") == ERR_OK);
    EXPECT(ASK(&d, PATH_KV "Txn", txn_request, .success = ops, .n_success = 3) == ERR_OK);
    EXPECT(ANSWER(&d, txn_response, &t) && t.succeeded && t.n_responses == 3);
    EXPECT(t.header->revision == 3 && t.header->cluster_id == 7);
    const struct pb_put_response *p = t.responses[0].response_put;
    EXPECT(t.responses[0].which_response == 2 && p->header->revision == 3 && !p->prev_kv);
    EXPECT(p->header->cluster_id == 0); /* inner headers have the revision alone (etcd) */
    const struct pb_range_response *g = t.responses[1].response_range;
    EXPECT(g->n_kvs == 1 && span_is(g->kvs[0].value, "v") && g->header->revision == 3);
    const struct pb_txn_response *i = t.responses[2].response_txn;
    EXPECT(i->succeeded && i->n_responses == 1 && i->header->revision == 0);
    EXPECT(i->responses[0].response_delete_range->deleted == 1);
    struct pb_compare never = { .key = SPAN("k"), .result = KV_IF_LESS, .target = KV_IF_VERSION };
    EXPECT(ASK(&d, PATH_KV "Txn", txn_request, .compare = &never, .n_compare = 1, .success = ops,
               .n_success = 3) == ERR_OK);
    EXPECT(ANSWER(&d, txn_response, &t) && !t.succeeded && t.n_responses == 0);
    EXPECT(drive_close(&d));
}

TEST(etcd_answers_of_leases)
{
    struct drive d;
    struct pb_lease_grant_response g;
    struct pb_lease_time_to_live_response look;
    struct pb_lease_leases_response list;
    struct pb_lease_keep_alive_response alive;
    drive_open(&d);
    EXPECT(ASK(&d, PATH_LEASE "LeaseGrant", lease_grant_request, .id = 5, .ttl = 60) == ERR_OK);
    EXPECT(ANSWER(&d, lease_grant_response, &g) && g.id == 5 && g.ttl == 60 && !g.error.len);
    EXPECT(ASK(&d, PATH_LEASE "LeaseGrant", lease_grant_request, .ttl = 60) == ERR_OK);
    EXPECT(ANSWER(&d, lease_grant_response, &g) && g.id == 77); /* drawn by the node */
    EXPECT(ASK(&d, PATH_LEASE "LeaseGrant", lease_grant_request, .id = 5, .ttl = 60) ==
           ERR_LEASE_EXISTS);
    EXPECT(ASK(&d, PATH_LEASE "LeaseGrant", lease_grant_request, .ttl = LEASE_TTL_MAX_S + 1) ==
           ERR_LEASE_TTL_TOO_LARGE);
    EXPECT(ASK(&d, PATH_KV "Put", put_request, .key = SPAN("k"), .lease = 5) == ERR_OK);
    EXPECT(ASK(&d, PATH_LEASE "LeaseTimeToLive", lease_time_to_live_request, .id = 5,
               .keys = true) == ERR_OK);
    EXPECT(ANSWER(&d, lease_time_to_live_response, &look) && look.id == 5);
    EXPECT(look.granted_ttl == 60 && look.n_keys == 1 && span_is(look.keys[0], "k"));
    EXPECT(ASK(&d, PATH_LEASE "LeaseTimeToLive", lease_time_to_live_request, .id = 6) == ERR_OK);
    EXPECT(ANSWER(&d, lease_time_to_live_response, &look) && look.ttl == -1);
    EXPECT(look.id == 6 && look.granted_ttl == 0 && look.n_keys == 0);
    EXPECT(ASK(&d, PATH_LEASE "LeaseLeases", lease_leases_request, 0) == ERR_OK);
    EXPECT(ANSWER(&d, lease_leases_response, &list) && list.n_leases == 2);
    EXPECT(list.leases[0].id == 5 || list.leases[1].id == 5);
    EXPECT(ASK(&d, PATH_LEASE "LeaseKeepAlive", lease_keep_alive_request, .id = 9) == ERR_OK);
    EXPECT(ANSWER(&d, lease_keep_alive_response, &alive) && alive.id == 9 && alive.ttl == 0);
    EXPECT(ASK(&d, PATH_LEASE "LeaseRevoke", lease_revoke_request, .id = 5) == ERR_OK);
    EXPECT(ASK(&d, PATH_LEASE "LeaseRevoke", lease_revoke_request, .id = 5) ==
           ERR_LEASE_NOT_FOUND);
    EXPECT(drive_close(&d));
}

TEST(etcd_answers_of_the_node)
{
    struct drive d;
    struct pb_member_list_response members;
    struct pb_status_response status;
    struct pb_hash_kv_response hash;
    struct pb_health_check_response health;
    drive_open(&d);
    EXPECT(put(&d, "a", "1") == ERR_OK);
    EXPECT(ask_bytes(&d, "/etcdserverpb.Cluster/MemberList", SPAN_NONE) == ERR_OK);
    EXPECT(ANSWER(&d, member_list_response, &members) && members.n_members == 2);
    EXPECT(members.header->revision == 0 && members.header->member_id == 8); /* as etcd does */
    EXPECT(members.members[0].n_client_urls == 1 && members.members[0].n_peer_urls == 0);
    EXPECT(members.members[1].is_learner && members.members[1].n_client_urls == 0);
    EXPECT(ask_bytes(&d, "/etcdserverpb.Maintenance/Status", SPAN_NONE) == ERR_OK);
    EXPECT(ANSWER(&d, status_response, &status) && span_is(status.version, "3"));
    EXPECT(status.n_errors == 1 && span_is(status.errors[0], "NOSPACE"));
    EXPECT(ASK(&d, "/etcdserverpb.Maintenance/HashKV", hash_kv_request, .revision = 2) == ERR_OK);
    EXPECT(ANSWER(&d, hash_kv_response, &hash) && hash.hash != 0 && hash.hash_revision == 2);
    EXPECT(hash.compact_revision == -1);
    EXPECT(ASK(&d, "/etcdserverpb.Maintenance/HashKV", hash_kv_request, .revision = 3) ==
           ERR_REVISION_FUTURE);
    EXPECT(ask_bytes(&d, PATH_HEALTH "Check", SPAN_NONE) == ERR_OK);
    EXPECT(ANSWER(&d, health_check_response, &health) && health.status == HEALTH_NOT_SERVING);
    struct request r;
    EXPECT(DECODE(&d, PATH_HEALTH "Watch", &r, health_check_request, .service = SPAN("x")) ==
           ERR_OK);
    EXPECT(r.type == REQUEST_HEALTH && span_is(r.health_service, "x"));
    EXPECT(drive_close(&d));
}

/* ---- watches ---- */

/* In etcd's order: the revision, then the range, then the id. */
TEST(etcd_watch_refusals)
{
    static const struct {
        int64_t start;
        const char *key, *end;
        bool taken;
        const char *why; /* how it begins */
    } table[] = {
        { 0, "a", "", false, NULL },
        { 5, "a", "b", false, NULL },
        { 0, "", "", false, NULL },
        { -1, "b", "a", true, "etcdserver: mvcc: required revision has been compacted" },
        { 0, "b", "a", true, "mvcc: watcher range is empty" },
        { 0, "b", "b", false, "mvcc: watcher range is empty" },
        { 0, "a", "b", true, "mvcc: duplicate watch ID" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct watch_request w = { .key = span_text(table[i].key),
                                   .range_end = span_text(table[i].end),
                                   .start_revision = table[i].start };
        const char *why = etcd_watch_refusal(&w, table[i].taken);
        EXPECT(!why == !table[i].why);
        EXPECT(!why || span_starts(span_text(why), span_text(table[i].why)));
    }
    struct watch_request all = { .key = SPAN_NONE, .range_end = SPAN("\0") };
    EXPECT(!etcd_watch_refusal(&all, false)); /* everything from the first key on */
}

TEST(etcd_watch_answers)
{
    struct drive d;
    struct pb_watch_response m;
    drive_open(&d);
    etcd_watch_created(&drive_header, 4, 2, &d.out);
    EXPECT(ANSWER(&d, watch_response, &m) && m.created && !m.canceled && m.watch_id == 2);
    EXPECT(m.header->revision == 4 && m.header->cluster_id == 7 && m.n_events == 0);
    buf_reset(&d.out);
    etcd_watch_canceled(&drive_header, 4, -1, 3, true, "why", &d.out);
    EXPECT(ANSWER(&d, watch_response, &m) && m.created && m.canceled && m.watch_id == -1);
    EXPECT(m.compact_revision == 3 && span_is(m.cancel_reason, "why"));
    buf_reset(&d.out);
    etcd_watch_progress(&drive_header, 4, -1, &d.out);
    EXPECT(ANSWER(&d, watch_response, &m) && !m.created && !m.canceled && m.watch_id == -1);
    EXPECT(m.header->revision == 4 && m.n_events == 0);
    EXPECT(drive_close(&d));
}

TEST(etcd_watch_events_have_what_was_before)
{
    struct drive d;
    struct pb_watch_response m;
    drive_open(&d);
    struct watch_request all = { .range_end = SPAN("\0"), .id = 3, .prev_kv = true };
    EXPECT(!drive_watch(&d, &all) && d.newest->synced);
    struct kv_put_result result;
    const struct kv_change *changes;
    size_t n;
    for (int i = 0; i < 2; i++) {
        struct kv_put p = { .key = SPAN("k"), .value = i ? SPAN("2") : SPAN("1"), .lease = 9 };
        kv_begin(d.m.kv, 1, SPAN_NONE);
        EXPECT(kv_put(d.m.kv, &p, &result) == ERR_OK);
        kv_end(d.m.kv, &changes, &n);
        drive_tell(&d, changes, n);
        EXPECT(ANSWER(&d, watch_response, &m) && m.n_events == 1 && m.watch_id == 3);
        EXPECT(m.events[0].type == PB_EVENT_PUT && m.events[0].kv->lease == 9);
        EXPECT(m.events[0].kv->version == i + 1 && m.events[0].kv->create_revision == 2);
        EXPECT(i ? span_is(m.events[0].prev_kv->value, "1") : !m.events[0].prev_kv);
    }
    struct kv_delete del = { .key = SPAN("k") };
    struct kv_delete_result deleted;
    kv_begin(d.m.kv, 1, SPAN_NONE);
    EXPECT(kv_delete(d.m.kv, &del, &d.arena, &deleted) == ERR_OK);
    kv_end(d.m.kv, &changes, &n);
    drive_tell(&d, changes, n);
    EXPECT(ANSWER(&d, watch_response, &m) && m.events[0].type == PB_EVENT_DELETE);
    EXPECT(m.events[0].kv->mod_revision == 4 && m.events[0].kv->version == 0);
    EXPECT(span_is(m.events[0].prev_kv->value, "2") && m.events[0].prev_kv->mod_revision == 3);
    EXPECT(d.events == 3);
    EXPECT(drive_close(&d));
}

/* Those who hear the same are told from what was encoded once: drive_batch reads every answer, and
 * the last of each kind has to be as one that was made for it alone. */
TEST(etcd_watch_events_for_many_alike)
{
    struct drive d;
    struct pb_watch_response m;
    drive_open(&d);
    for (int64_t id = 0; id < 12; id++) {
        struct watch_request one = { .key = SPAN("k"),
                                     .id = id == 5 ? -5 : id,
                                     .prev_kv = id >= 4 && id < 8,
                                     .fragment = id == 9 };
        EXPECT(!drive_watch(&d, &one));
    }
    EXPECT(put(&d, "k", "1") == ERR_OK && d.events == 12);
    EXPECT(put(&d, "k", "2") == ERR_OK && d.events == 24);
    EXPECT(ASK(&d, PATH_KV "DeleteRange", delete_range_request, .key = SPAN("k")) == ERR_OK);
    EXPECT(d.events == 36);
    EXPECT(put(&d, "elsewhere", "1") == ERR_OK && d.events == 36);
    struct watch_batch batch = { .watcher = d.newest };
    const struct kv_change *changes, *one[1];
    size_t n, next;
    struct kv_put p = { .key = SPAN("k"), .value = SPAN("3") };
    struct kv_put_result result;
    kv_begin(d.m.kv, 1, SPAN_NONE);
    EXPECT(kv_put(d.m.kv, &p, &result) == ERR_OK);
    kv_end(d.m.kv, &changes, &n);
    one[0] = &changes[0];
    batch.changes = one;
    batch.n = 1;
    struct etcd_events alike = { .arena = &d.arena };
    for (int i = 0; i < 4; i++) {
        struct buf *out = i ? &d.again : &d.out;
        buf_reset(out);
        next = 0;
        etcd_watch_events(&drive_header, 9, &batch, &next, 1000, &alike, out);
        EXPECT(next == 1 && span_equal(buf_all(out), buf_all(&d.out)));
    }
    EXPECT(alike.events.len > 0 && ANSWER(&d, watch_response, &m) && m.watch_id == 11);
    EXPECT(drive_close(&d));
}

/* Without fragments one revision is one response, however large; with them each but a single event
 * keeps the bound; drive_batch checks that each event comes once and in order. */
TEST(etcd_watch_fragments)
{
    for (int fragment = 0; fragment < 2; fragment++) {
        struct drive d;
        struct pb_watch_response m;
        drive_open(&d);
        struct watch_request all = { .range_end = SPAN("\0"), .fragment = fragment };
        EXPECT(!drive_watch(&d, &all));
        struct pb_put_request puts[40];
        struct pb_request_op ops[40];
        static const uint8_t bytes[200];
        for (uint8_t i = 0; i < 40; i++) {
            uint8_t *key = arena_alloc(&d.arena, 1);
            *key = i;
            puts[i] = (struct pb_put_request){ .key = span_of(key, 1),
                                               .value = span_of(bytes, i == 7 ? 200 : i) };
            ops[i] = (struct pb_request_op){ .which_request = 2, .request_put = &puts[i] };
        }
        EXPECT(ASK(&d, PATH_KV "Txn", txn_request, .success = ops, .n_success = 40) == ERR_OK);
        EXPECT(d.events == 40);
        struct pb_watch_create_request create = { .range_end = SPAN("\0"),
                                                  .start_revision = 1,
                                                  .fragment = fragment };
        EXPECT(ASK(&d, PATH_WATCH, watch_request, .which_request_union = 1,
                   .create_request = &create) == ERR_OK);
        EXPECT(d.events == 80 && ANSWER(&d, watch_response, &m) && !m.fragment);
        EXPECT(fragment ? m.n_events < 5 : m.n_events == 40);
        EXPECT(drive_close(&d));
    }
}

/* ---- everything at once ---- */

static struct span random_bytes(struct prng *p, struct arena *arena, size_t max, uint8_t kinds)
{
    size_t n = (size_t)prng_below(p, max + 1);
    uint8_t *out = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)('a' + prng_below(p, kinds));
    return span_of(out, n);
}

static struct pb_request_op random_op(struct prng *p, struct arena *arena, int depth)
{
    struct pb_request_op op = { .which_request = 1 + (uint32_t)prng_below(p, depth < 2 ? 4 : 3) };
    op.request_range = ARENA_NEW(arena, struct pb_range_request);
    *op.request_range = (struct pb_range_request){ .key = random_bytes(p, arena, 2, 3),
                                                   .range_end = random_bytes(p, arena, 2, 3),
                                                   .limit = (int64_t)prng_below(p, 3) };
    op.request_put = ARENA_NEW(arena, struct pb_put_request);
    *op.request_put = (struct pb_put_request){ .key = random_bytes(p, arena, 2, 3),
                                               .value = random_bytes(p, arena, 60, 26),
                                               .prev_kv = prng_below(p, 2) };
    op.request_delete_range = ARENA_NEW(arena, struct pb_delete_range_request);
    *op.request_delete_range =
        (struct pb_delete_range_request){ .key = random_bytes(p, arena, 2, 3),
                                          .range_end = random_bytes(p, arena, 2, 3),
                                          .prev_kv = prng_below(p, 2) };
    op.request_txn = ARENA_NEW(arena, struct pb_txn_request);
    if (op.which_request == 4) {
        op.request_txn->n_success = (size_t)prng_below(p, 4);
        op.request_txn->success =
            ARENA_ARRAY(arena, struct pb_request_op, op.request_txn->n_success + 1);
        for (size_t i = 0; i < op.request_txn->n_success; i++)
            op.request_txn->success[i] = random_op(p, arena, depth + 1);
    }
    return op;
}

TEST(etcd_random_calls)
{
    struct drive d;
    struct prng p = { 11 };
    size_t done = 0;
    drive_open(&d);
    for (int i = 0; i < 8; i++) {
        struct watch_request w = { .key = random_bytes(&p, &d.arena, 1, 3),
                                   .range_end = SPAN("\0"),
                                   .prev_kv = i & 1,
                                   .fragment = i & 2,
                                   .no_delete = i & 4 };
        EXPECT(!drive_watch(&d, &w));
    }
    for (int i = 0; i < 3000; i++) {
        struct pb_request_op op = random_op(&p, &d.arena, 0);
        enum err e = op.which_request == 1   ? ASK(&d, PATH_KV "Range", range_request,
                                                   .key = op.request_range->key,
                                                   .range_end = op.request_range->range_end,
                                                   .limit = op.request_range->limit)
                     : op.which_request == 2 ? ASK(&d, PATH_KV "Put", put_request,
                                                   .key = op.request_put->key,
                                                   .value = op.request_put->value,
                                                   .prev_kv = op.request_put->prev_kv)
                                             : ASK(&d, PATH_KV "Txn", txn_request, .success = &op,
                                                   .n_success = 1);
        done += e == ERR_OK;
        EXPECT(e == ERR_OK || e == ERR_KEY_EMPTY || e == ERR_KEY_DUPLICATE);
        arena_reset(&d.arena);
    }
    EXPECT(done > 1000 && d.events > 2000);
    EXPECT(drive_close(&d));
}

/* ---- reflection ---- */

#define PATH_REFLECTION "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

TEST(etcd_reflection)
{
    struct drive d;
    struct pb_server_reflection_response m;
    drive_open(&d);
    EXPECT(ASK(&d, PATH_REFLECTION, server_reflection_request, .which_message_request = 7) ==
           ERR_OK);
    EXPECT(ANSWER(&d, server_reflection_response, &m) && m.which_message_response == 6);
    EXPECT(m.list_services_response->n_service == 14);
    EXPECT(ASK(&d, PATH_REFLECTION, server_reflection_request, .host = SPAN("h"),
               .which_message_request = 4,
               .file_containing_symbol = SPAN("etcdserverpb.KV.Range")) == ERR_OK);
    EXPECT(ANSWER(&d, server_reflection_response, &m) && m.which_message_response == 4);
    EXPECT(span_is(m.valid_host, "h") && m.original_request->which_message_request == 4);
    EXPECT(m.file_descriptor_response->n_file_descriptor_proto == 3); /* mvccpb, authpb too */
    EXPECT(ASK(&d, PATH_REFLECTION, server_reflection_request, .which_message_request = 3,
               .file_by_filename = SPAN("mvccpb.proto")) == ERR_OK);
    EXPECT(ANSWER(&d, server_reflection_response, &m) && m.which_message_response == 4);
    EXPECT(m.file_descriptor_response->n_file_descriptor_proto == 1);
    EXPECT(ASK(&d, PATH_REFLECTION, server_reflection_request, .which_message_request = 6,
               .all_extension_numbers_of_type = SPAN("mvccpb.KeyValue")) == ERR_OK);
    EXPECT(ANSWER(&d, server_reflection_response, &m) && m.which_message_response == 5);
    EXPECT(ASK(&d, PATH_REFLECTION, server_reflection_request, .which_message_request = 4,
               .file_containing_symbol = SPAN("mvccpb")) == ERR_OK);
    EXPECT(ANSWER(&d, server_reflection_response, &m) && m.error_response->error_code == 5);
    EXPECT(ASK(&d, PATH_REFLECTION, server_reflection_request, .host = SPAN("h")) == ERR_OK);
    EXPECT(ANSWER(&d, server_reflection_response, &m) && m.error_response->error_code == 3);
    EXPECT(ask_bytes(&d, PATH_REFLECTION, SPAN("\x80")) == ERR_MESSAGE_MALFORMED);
    EXPECT(drive_close(&d));
}
