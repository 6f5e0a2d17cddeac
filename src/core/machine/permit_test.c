/* Who may ask for what. The tests named hole_ are holes that etcd had once. */
#include "base/test.h"
#include "core/machine/machine.h"

struct bench {
    struct alloc heap;
    struct arena arena;
    struct buf bytes;
    struct machine m;
    struct reply reply;
};

static enum err apply_bytes(struct bench *b, struct span bytes)
{
    const struct kv_change *changes;
    size_t n;
    enum err e = machine_apply(&b->m, b->m.applied_index + 1, 1, bytes, 0, &b->arena, &b->reply,
                               &changes, &n);
    return e ? e : b->reply.err;
}

static enum err apply(struct bench *b, const struct request *r)
{
    buf_reset(&b->bytes);
    machine_command(r, 1, 99, &b->bytes);
    return apply_bytes(b, buf_all(&b->bytes));
}

/* As that user, proven now; NULL: nobody; "node": the node itself. */
static struct request *as(struct bench *b, struct request *r, const char *user)
{
    r->author = user ? span_text(user) : SPAN_NONE;
    r->auth_revision = user ? auth_revision(b->m.auth) : 0;
    if (user && strcmp(user, "node") == 0)
        r->auth_revision = REQUEST_BY_NODE;
    return r;
}

static enum err permits(struct bench *b, struct request *r, const char *user)
{
    return machine_permits(&b->m, as(b, r, user));
}

static enum err give(struct bench *b, enum auth_right right, struct span key, struct span end)
{
    struct request r = {
        .type = REQUEST_ROLE_GRANT,
        .auth = { .role = SPAN("r"), .has_permission = true, .permission = { right, key, end } }
    };
    return apply(b, as(b, &r, "root"));
}

static enum err put_as(struct bench *b, const char *user, const char *key, int64_t lease)
{
    struct request r = { .type = REQUEST_PUT, .put = { .key = span_text(key), .lease = lease } };
    return apply(b, as(b, &r, user));
}

/* alice has role r: may read [r, s) and write [w, x). Lease 5 hangs on "secret". */
static void bench_open(struct bench *b)
{
    *b = (struct bench){ 0 };
    alloc_heap(&b->heap);
    arena_open(&b->arena, &b->heap);
    buf_open(&b->bytes, &b->heap);
    machine_open(&b->m, &b->heap);
    struct request grant = { .type = REQUEST_LEASE_GRANT, .lease = { .id = 5, .ttl_s = 60 } };
    struct request start[] = {
        { .type = REQUEST_USER_ADD, .auth = { .user = SPAN("root"), .hash = SPAN("h") } },
        { .type = REQUEST_USER_ADD, .auth = { .user = SPAN("alice"), .hash = SPAN("h") } },
        { .type = REQUEST_USER_GRANT, .auth = { .user = SPAN("root"), .role = SPAN("root") } },
        { .type = REQUEST_ROLE_ADD, .auth = { .role = SPAN("r") } },
        { .type = REQUEST_USER_GRANT, .auth = { .user = SPAN("alice"), .role = SPAN("r") } },
        { .type = REQUEST_AUTH_ENABLE },
    };
    struct request level = { .type = REQUEST_LEVEL, .level = MACHINE_LEVEL };
    bool ok = apply(b, &grant) == ERR_OK && put_as(b, NULL, "secret", 5) == ERR_OK;
    ok = ok && apply(b, &level) == ERR_OK;
    for (size_t i = 0; i < sizeof(start) / sizeof(start[0]); i++)
        ok = ok && apply(b, &start[i]) == ERR_OK;
    ok = ok && give(b, AUTH_READ, SPAN("r"), SPAN("s")) == ERR_OK;
    ok = ok && give(b, AUTH_WRITE, SPAN("w"), SPAN("x")) == ERR_OK;
    if (!ok)
        test_failed = 1;
}

static bool bench_close(struct bench *b)
{
    machine_close(&b->m);
    buf_close(&b->bytes);
    arena_close(&b->arena);
    return b->heap.used == 0;
}

#define DENIED ERR_PERMISSION_DENIED

TEST(permit_keys)
{
    struct bench b;
    bench_open(&b);
    struct request range = { .type = REQUEST_RANGE, .range = { .key = SPAN("r1") } };
    EXPECT(permits(&b, &range, NULL) == ERR_USER_EMPTY);
    EXPECT(permits(&b, &range, "bob") == DENIED && permits(&b, &range, "alice") == ERR_OK);
    EXPECT(permits(&b, &range, "root") == ERR_OK && permits(&b, &range, "node") == ERR_OK);
    range.range.range_end = SPAN("s1");
    EXPECT(permits(&b, &range, "alice") == DENIED);
    range.range.range_end = SPAN("\0");
    EXPECT(permits(&b, &range, "alice") == DENIED);
    struct request put = { .type = REQUEST_PUT, .put = { .key = SPAN("w1") } };
    EXPECT(permits(&b, &put, "alice") == ERR_OK);
    put.put.prev_kv = true;
    EXPECT(permits(&b, &put, "alice") == DENIED);
    struct request del = { .type = REQUEST_DELETE,
                           .del = { .key = SPAN("w"), .range_end = SPAN("x") } };
    EXPECT(permits(&b, &del, "alice") == ERR_OK);
    del.del.prev_kv = true;
    EXPECT(permits(&b, &del, "alice") == DENIED && permits(&b, &del, "root") == ERR_OK);
    EXPECT(bench_close(&b));
}

/* A right to write all below confman/<verb>/a/. */
static enum err give_verb(struct bench *b, const char *from, const char *to)
{
    return give(b, AUTH_WRITE, span_text(from), span_text(to));
}

static enum err delete_as(struct bench *b, const char *key, const char *end)
{
    struct request r = { .type = REQUEST_DELETE,
                         .del = { .key = span_text(key), .range_end = span_text(end) } };
    return permits(b, &r, "alice");
}

TEST(permit_verbs)
{
    static const char at[] = "confman/config/a/k";
    struct bench b;
    bench_open(&b);
    EXPECT(give_verb(&b, "confman/put/a/", "confman/put/a0") == ERR_OK);
    b.m.level = MACHINE_LEVEL_VERBS - 1; /* one member would refuse what the others permit */
    EXPECT(put_as(&b, "alice", at, 0) == DENIED);
    b.m.level = MACHINE_LEVEL;
    EXPECT(put_as(&b, "alice", at, 0) == ERR_OK);
    EXPECT(put_as(&b, "alice", "confman/flag/a/k", 0) == ERR_OK);
    EXPECT(put_as(&b, "alice", "confman/config/b/k", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/config/", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/env/a", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/log/config/a/k", 0) == ERR_OK);
    EXPECT(delete_as(&b, at, "") == DENIED);
    EXPECT(delete_as(&b, "confman/log/config/a/k", "") == ERR_OK);
    EXPECT(put_as(&b, "root", at, 5) == ERR_OK && put_as(&b, "alice", at, 5) == DENIED);
    EXPECT(put_as(&b, "root", at, 0) == ERR_OK);
    EXPECT(give_verb(&b, "confman/delete/a/", "confman/delete/a0") == ERR_OK);
    EXPECT(delete_as(&b, at, "") == ERR_OK);
    EXPECT(delete_as(&b, "confman/config/a/", "confman/config/a0") == ERR_OK);
    EXPECT(delete_as(&b, "confman/config/a/", "confman/config/b") == DENIED);
    EXPECT(delete_as(&b, "confman/config/a/", "confman/flag/a/z") == DENIED);
    EXPECT(put_as(&b, "alice", at, 5) == DENIED); /* of the lease's other key */
    char long_key[2048] = "confman/config/a/";
    memset(long_key + 17, 'x', sizeof(long_key) - 18);
    EXPECT(put_as(&b, "alice", long_key, 0) == DENIED);
    EXPECT(bench_close(&b));
}

/* What publish lends: only a draft's publication, only where a door has made it, only its own. */
TEST(permit_publish)
{
    struct bench b;
    bench_open(&b);
    struct kv_compare seen = { .key = SPAN("confman/draft/7"), .target = KV_IF_MOD, .number = 3 };
    struct kv_op ops[] = {
        { .type = KV_OP_PUT, .put = { .key = SPAN("confman/config/a/k") } },
        { .type = KV_OP_DELETE, .del = { .key = SPAN("confman/flag/a/k") } },
        { .type = KV_OP_PUT, .put = { .key = SPAN("confman/draft/7/state") } },
    };
    struct request r = { .type = REQUEST_TXN,
                         .txn = { .compares = &seen, .n_compares = 1, .success = ops,
                                  .n_success = 3 } };
    EXPECT(give_verb(&b, "confman/publish/a/", "confman/publish/a0") == ERR_OK);
    EXPECT(give(&b, AUTH_READ_WRITE, SPAN("confman/draft/"), SPAN("confman/draft0")) == ERR_OK);
    EXPECT(machine_publishes(&r) && permits(&b, &r, "alice") == ERR_OK);
    r.plain = true;
    EXPECT(permits(&b, &r, "alice") == DENIED && permits(&b, &r, "root") == ERR_OK);
    r.plain = false;
    ops[0].put.key = SPAN("confman/config/b/k");
    EXPECT(permits(&b, &r, "alice") == DENIED);
    ops[0].put.key = SPAN("confman/config/a/k");
    seen.number = 0; /* a draft that is not there */
    EXPECT(!machine_publishes(&r) && permits(&b, &r, "alice") == DENIED);
    seen.number = 3;
    seen.result = KV_IF_NOT_EQUAL;
    EXPECT(!machine_publishes(&r));
    seen.result = KV_IF_EQUAL;
    ops[2].put.key = SPAN("confman/draft/8/state");
    EXPECT(!machine_publishes(&r) && permits(&b, &r, "alice") == DENIED);
    ops[2].put.key = SPAN("confman/draft/7/state");
    r.txn.failure = ops; /* what is not guarded by the draft */
    r.txn.n_failure = 1;
    EXPECT(!machine_publishes(&r));
    EXPECT(bench_close(&b));
}

/* The reason of a change goes with what was changed; a range of reasons is like any range. */
TEST(permit_reasons)
{
    struct bench b;
    bench_open(&b);
    struct request grant = { .type = REQUEST_ROLE_GRANT,
                             .auth = { .role = SPAN("r"),
                                       .has_permission = true,
                                       .permission = { AUTH_WRITE, SPAN("confman/config/a/"),
                                                       SPAN("confman/config/a0") } } };
    EXPECT(apply(&b, as(&b, &grant, "root")) == ERR_OK);
    EXPECT(put_as(&b, "alice", "confman/log/config/a/k", 0) == ERR_OK);
    EXPECT(put_as(&b, "alice", "confman/log/config/b/k", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/log/", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/logs/config/a/k", 0) == DENIED);
    struct request range = { .type = REQUEST_RANGE,
                             .range = { .key = SPAN("confman/log/config/a/"),
                                        .range_end = SPAN("confman/log/config/a0") } };
    EXPECT(permits(&b, &range, "alice") == DENIED);
    EXPECT(bench_close(&b));
}

/* A read is refused where it is answered, a write where it is applied. */
/* Whoever may write everything may still not make tokens, which would be anybody's. */
TEST(permit_tokens_and_approles)
{
    struct bench b;
    bench_open(&b);
    EXPECT(give(&b, AUTH_READ_WRITE, SPAN("\0"), SPAN("\0")) == ERR_OK);
    EXPECT(put_as(&b, "alice", "confman/token", 0) == ERR_OK);
    EXPECT(put_as(&b, "alice", "confman/token/a", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/approle/a", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/account/a", 0) == DENIED);
    EXPECT(put_as(&b, "alice", "confman/revoked/a", 0) == DENIED);
    struct request everything = { .type = REQUEST_DELETE,
                                  .del = { .key = SPAN("a"), .range_end = SPAN("\0") } };
    EXPECT(permits(&b, &everything, "alice") == ERR_OK); /* as in etcd: none of them is there */
    EXPECT(put_as(&b, "root", "confman/token/a", 0) == ERR_OK);
    EXPECT(put_as(&b, "root", "confman/approle/a", 0) == ERR_OK);
    static const struct {
        struct span key, end;
        enum err want;
    } deletes[] = {
        { { (const uint8_t *)"a", 1 }, { (const uint8_t *)"\0", 1 }, DENIED },
        { { (const uint8_t *)"confman/token/a", 15 }, { NULL, 0 }, DENIED },
        { { (const uint8_t *)"confman/approle", 15 }, { (const uint8_t *)"confman/b", 9 }, DENIED },
        { { (const uint8_t *)"confman/b", 9 }, { (const uint8_t *)"confman/token/", 14 }, ERR_OK },
        { { (const uint8_t *)"confman/token0", 14 }, { (const uint8_t *)"\0", 1 }, ERR_OK },
    };
    for (size_t i = 0; i < sizeof(deletes) / sizeof(deletes[0]); i++) {
        struct request del = { .type = REQUEST_DELETE,
                               .del = { .key = deletes[i].key, .range_end = deletes[i].end } };
        EXPECT(permits(&b, &del, "alice") == deletes[i].want);
    }
    EXPECT(bench_close(&b));
}

/* That the keys of a namespace are those which a secret was sealed with, and no more of them. */
TEST(permit_compares_of_the_seal)
{
    struct bench b;
    bench_open(&b);
    struct kv_compare same = { .key = SPAN("confman/seal/secret"), .target = KV_IF_MOD };
    struct kv_op put = { .type = KV_OP_PUT, .put = { .key = SPAN("w1") } };
    struct request txn = { .type = REQUEST_TXN, .txn = { &same, &put, NULL, 1, 1, 0 } };
    EXPECT(permits(&b, &txn, "alice") == ERR_OK);
    same.target = KV_IF_VALUE;
    EXPECT(permits(&b, &txn, "alice") == DENIED);
    same.target = KV_IF_MOD;
    same.range_end = SPAN("\0");
    EXPECT(permits(&b, &txn, "alice") == DENIED);
    EXPECT(bench_close(&b));
}

TEST(permit_where_it_happens)
{
    struct bench b;
    bench_open(&b);
    struct request range = { .type = REQUEST_RANGE, .range = { .key = SPAN("secret") } };
    machine_read(&b.m, as(&b, &range, "alice"), 0, &b.arena, &b.reply);
    EXPECT(b.reply.err == DENIED && b.reply.range.n == 0);
    machine_read(&b.m, as(&b, &range, "root"), 0, &b.arena, &b.reply);
    EXPECT(b.reply.err == ERR_OK && b.reply.range.n == 1);
    int64_t revision = kv_revision(b.m.kv);
    EXPECT(put_as(&b, NULL, "w1", 0) == ERR_USER_EMPTY);
    EXPECT(put_as(&b, "alice", "secret", 0) == DENIED && kv_revision(b.m.kv) == revision);
    EXPECT(put_as(&b, "alice", "w1", 0) == ERR_OK && kv_revision(b.m.kv) == revision + 1);
    EXPECT(bench_close(&b));
}

/* Proposed while it was allowed, applied when it is no longer. */
TEST(permit_taken_while_on_its_way)
{
    struct bench b;
    struct buf before;
    bench_open(&b);
    buf_open(&before, &b.heap);
    struct request put = { .type = REQUEST_PUT, .put = { .key = SPAN("w1") } };
    machine_command(as(&b, &put, "alice"), 1, 0, &before);
    struct request take = { .type = REQUEST_ROLE_REVOKE,
                            .auth = { .role = SPAN("r"),
                                      .permission = { 0, SPAN("w"), SPAN("x") } } };
    EXPECT(apply(&b, as(&b, &take, "root")) == ERR_OK);
    EXPECT(apply_bytes(&b, buf_all(&before)) == ERR_AUTH_OLD_REVISION);
    EXPECT(put_as(&b, "alice", "w1", 0) == DENIED);
    buf_reset(&before);
    machine_command(as(&b, &put, NULL), 1, 0, &before); /* nobody, as when auth was off */
    EXPECT(apply_bytes(&b, buf_all(&before)) == ERR_USER_EMPTY);
    struct request off = { .type = REQUEST_AUTH_DISABLE };
    EXPECT(apply(&b, as(&b, &off, "alice")) == DENIED);
    EXPECT(apply(&b, as(&b, &off, "root")) == ERR_OK);
    EXPECT(apply_bytes(&b, buf_all(&before)) == ERR_OK);
    buf_close(&before);
    EXPECT(bench_close(&b));
}

static enum err txn_as(struct bench *b, const char *user, struct kv_txn txn)
{
    struct request r = { .type = REQUEST_TXN, .txn = txn };
    return permits(b, &r, user);
}

TEST(permit_transactions)
{
    struct bench b;
    bench_open(&b);
    struct kv_op read = { .type = KV_OP_RANGE, .range = { .key = SPAN("r1") } };
    struct kv_op write = { .type = KV_OP_PUT, .put = { .key = SPAN("w1") } };
    struct kv_op secret = { .type = KV_OP_RANGE, .range = { .key = SPAN("secret") } };
    struct kv_compare mine = { .key = SPAN("r1") }, other = { .key = SPAN("secret") };
    struct kv_compare wide = { .key = SPAN("r1"), .range_end = SPAN("\0") };
    struct kv_op both[] = { read, write };
    struct kv_txn good = { .compares = &mine,
                           .n_compares = 1,
                           .success = both,
                           .n_success = 2,
                           .failure = both,
                           .n_failure = 2 };
    struct kv_txn t = good;
    EXPECT(txn_as(&b, "alice", t) == ERR_OK && txn_as(&b, NULL, t) == ERR_USER_EMPTY);
    EXPECT(txn_as(&b, NULL, (struct kv_txn){ 0 }) == ERR_USER_EMPTY);
    t.compares = &other;
    EXPECT(txn_as(&b, "alice", t) == DENIED);
    t.compares = &wide;
    EXPECT(txn_as(&b, "alice", t) == DENIED);
    t = good;
    t.success = &secret, t.n_success = 1;
    EXPECT(txn_as(&b, "alice", t) == DENIED);
    t = good;
    t.failure = &secret, t.n_failure = 1; /* also the branch that would not be taken */
    EXPECT(txn_as(&b, "alice", t) == DENIED && txn_as(&b, "root", t) == ERR_OK);
    EXPECT(bench_close(&b));
}

/* That no rule of configs has changed may guard anybody's write; nothing else of them is told. */
TEST(permit_guards_by_rules)
{
    static const struct {
        const char *key, *end;
        int32_t target;
        enum err err;
    } table[] = {
        { "confman/schema/", "confman/schema0", KV_IF_MOD, ERR_OK },
        { "confman/guard/", "confman/guard0", KV_IF_MOD, ERR_OK },
        { "confman/schema/", "confman/schema0", KV_IF_VALUE, DENIED },
        { "confman/schema/", "confman/schema0", KV_IF_VERSION, DENIED },
        { "confman/schema/", "", KV_IF_MOD, DENIED },
        { "confman/schema/", "confman/schema1", KV_IF_MOD, DENIED },
        { "confman/schema/a", "confman/schema0", KV_IF_MOD, DENIED },
        { "confman/config/", "confman/config0", KV_IF_MOD, DENIED },
    };
    struct bench b;
    bench_open(&b);
    struct kv_op put = { .type = KV_OP_PUT, .put = { .key = SPAN("w1") } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct kv_compare c = { .key = span_text(table[i].key),
                                .range_end = span_text(table[i].end),
                                .target = table[i].target,
                                .result = KV_IF_LESS,
                                .number = INT64_MAX };
        struct kv_txn txn = { .compares = &c, .n_compares = 1, .success = &put, .n_success = 1 };
        EXPECT((txn_as(&b, "alice", txn) == DENIED) == (table[i].err == DENIED));
        EXPECT(txn_as(&b, "bob", txn) == DENIED); /* who may write nothing */
    }
    EXPECT(bench_close(&b));
}

/* GHSA-rfx7-8w68-q57q: what a nested transaction asks was not looked at. */
TEST(hole_nested_transaction)
{
    struct bench b;
    bench_open(&b);
    struct kv_op secret = { .type = KV_OP_PUT, .put = { .key = SPAN("secret") } };
    struct kv_compare other = { .key = SPAN("secret") };
    struct kv_txn inner[] = { { .success = &secret, .n_success = 1 },
                              { .failure = &secret, .n_failure = 1 },
                              { .compares = &other, .n_compares = 1 } };
    for (size_t i = 0; i < 3; i++) {
        struct kv_op middle = { .type = KV_OP_TXN, .txn = &inner[i] };
        struct kv_txn nested = { .success = &middle, .n_success = 1 };
        struct kv_op outer = { .type = KV_OP_TXN, .txn = &nested };
        struct kv_txn t = { .failure = &outer, .n_failure = 1 };
        EXPECT(txn_as(&b, "alice", t) == DENIED && txn_as(&b, "root", t) == ERR_OK);
    }
    EXPECT(bench_close(&b));
}

/* CVE-2026-44283: prev_kv and leases of puts and deletes inside a transaction. */
TEST(hole_prev_kv_and_lease_in_transaction)
{
    struct bench b;
    bench_open(&b);
    struct kv_op prev = { .type = KV_OP_PUT, .put = { .key = SPAN("w1"), .prev_kv = true } };
    struct kv_op lease = { .type = KV_OP_PUT, .put = { .key = SPAN("w1"), .lease = 5 } };
    struct kv_op del = { .type = KV_OP_DELETE, .del = { .key = SPAN("w1"), .prev_kv = true } };
    struct kv_op ops[] = { prev, lease, del };
    for (size_t i = 0; i < 3; i++) {
        struct kv_txn t = { .success = &ops[i], .n_success = 1 };
        EXPECT(txn_as(&b, "alice", t) == DENIED && txn_as(&b, "root", t) == ERR_OK);
    }
    EXPECT(give(&b, AUTH_READ_WRITE, SPAN("w1"), SPAN_NONE) == ERR_OK);
    EXPECT(give(&b, AUTH_WRITE, SPAN("secret"), SPAN_NONE) == ERR_OK);
    for (size_t i = 0; i < 3; i++)
        EXPECT(txn_as(&b, "alice", (struct kv_txn){ .success = &ops[i], .n_success = 1 }) ==
               ERR_OK);
    EXPECT(bench_close(&b));
}

/* GHSA-q8m4-xhhv-38mg: members, alarms and leases for nobody; and all that is for root. */
TEST(hole_members_and_leases_for_nobody)
{
    static const enum request_type login[] = { REQUEST_MEMBERS, REQUEST_STATUS,
                                               REQUEST_LEASE_GRANT };
    static const enum request_type root[] = {
        REQUEST_COMPACT,       REQUEST_HASH,           REQUEST_MEMBER_ADD,  REQUEST_MEMBER_REMOVE,
        REQUEST_MEMBER_UPDATE, REQUEST_MEMBER_PROMOTE, REQUEST_MOVE_LEADER, REQUEST_SNAPSHOT,
        REQUEST_AUTH_ENABLE,   REQUEST_AUTH_DISABLE,   REQUEST_USER_ADD,    REQUEST_USER_DELETE,
        REQUEST_USER_PASSWORD, REQUEST_USER_GRANT,     REQUEST_USER_REVOKE, REQUEST_USER_LIST,
        REQUEST_ROLE_ADD,      REQUEST_ROLE_DELETE,    REQUEST_ROLE_GRANT,  REQUEST_ROLE_REVOKE,
        REQUEST_ROLE_LIST
    };
    struct bench b;
    bench_open(&b);
    for (size_t i = 0; i < sizeof(login) / sizeof(login[0]); i++) {
        struct request r = { .type = login[i] };
        EXPECT(permits(&b, &r, NULL) == ERR_USER_EMPTY && permits(&b, &r, "alice") == ERR_OK);
        EXPECT(permits(&b, &r, "bob") == DENIED); /* proven by a certificate, but no user */
    }
    for (size_t i = 0; i < sizeof(root) / sizeof(root[0]); i++) {
        struct request r = { .type = root[i] };
        EXPECT(permits(&b, &r, NULL) == ERR_USER_EMPTY && permits(&b, &r, "alice") == DENIED);
        EXPECT(permits(&b, &r, "bob") == ERR_USER_NOT_FOUND && permits(&b, &r, "root") == ERR_OK);
    }
    static const enum request_type all[] = { REQUEST_HEALTH, REQUEST_AUTH_STATUS,
                                             REQUEST_AUTHENTICATE };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        EXPECT(permits(&b, &(struct request){ .type = all[i] }, NULL) == ERR_OK);
    EXPECT(bench_close(&b));
}

/* GHSA-xg4h-6gfc-h4m8: a watch from a key on, by the right to that key alone. */
TEST(hole_watch_from_key)
{
    struct bench b;
    bench_open(&b);
    struct request w = { .type = REQUEST_WATCH_ADD, .watch = { .key = SPAN("k") } };
    EXPECT(give(&b, AUTH_READ, SPAN("k"), SPAN_NONE) == ERR_OK);
    EXPECT(permits(&b, &w, "alice") == ERR_OK && permits(&b, &w, NULL) == ERR_USER_EMPTY);
    w.watch.range_end = SPAN("\0");
    EXPECT(permits(&b, &w, "alice") == DENIED);
    w.watch.range_end = SPAN("l");
    EXPECT(permits(&b, &w, "alice") == DENIED);
    w.watch = (struct watch_request){ .range_end = SPAN("\0") }; /* everything */
    EXPECT(permits(&b, &w, "alice") == DENIED);
    EXPECT(give(&b, AUTH_READ, SPAN("k"), SPAN("\0")) == ERR_OK);
    EXPECT(permits(&b, &w, "alice") == DENIED);
    EXPECT(give(&b, AUTH_READ, SPAN("\0"), SPAN("\0")) == ERR_OK);
    EXPECT(permits(&b, &w, "alice") == ERR_OK);
    EXPECT(bench_close(&b));
}

/* CVE-2023-32082: the names of a lease's keys, for whoever asks how long it has. */
TEST(hole_names_of_a_leases_keys)
{
    struct bench b;
    bench_open(&b);
    struct request look = { .type = REQUEST_LEASE_LOOK, .lease = { .id = 5, .keys = true } };
    struct request list = { .type = REQUEST_LEASE_LIST };
    EXPECT(permits(&b, &look, "alice") == DENIED && permits(&b, &list, "alice") == DENIED);
    EXPECT(permits(&b, &look, NULL) == ERR_USER_EMPTY &&
           permits(&b, &list, NULL) == ERR_USER_EMPTY);
    EXPECT(permits(&b, &look, "root") == ERR_OK && permits(&b, &list, "root") == ERR_OK);
    look.lease.keys = false;
    EXPECT(permits(&b, &look, "alice") == ERR_OK && permits(&b, &look, NULL) == ERR_USER_EMPTY);
    look.lease.keys = true;
    EXPECT(give(&b, AUTH_READ, SPAN("secret"), SPAN_NONE) == ERR_OK);
    EXPECT(permits(&b, &look, "alice") == ERR_OK && permits(&b, &list, "alice") == ERR_OK);
    EXPECT(bench_close(&b));
}

/* A lease may be revoked, kept alive and used by who may write all keys that hang on it. */
TEST(permit_leases_by_their_keys)
{
    struct bench b;
    bench_open(&b);
    struct request revoke = { .type = REQUEST_LEASE_REVOKE, .lease = { .id = 5 } };
    struct request renew = { .type = REQUEST_LEASE_RENEW, .lease = { .id = 5 } };
    EXPECT(permits(&b, &revoke, "alice") == DENIED && permits(&b, &renew, "alice") == DENIED);
    EXPECT(permits(&b, &revoke, NULL) == ERR_USER_EMPTY &&
           permits(&b, &renew, NULL) == ERR_USER_EMPTY);
    EXPECT(put_as(&b, "alice", "w1", 5) == DENIED &&
           put_as(&b, "alice", "w1", 6) == ERR_LEASE_NOT_FOUND);
    EXPECT(give(&b, AUTH_WRITE, SPAN("secret"), SPAN_NONE) == ERR_OK);
    EXPECT(put_as(&b, "alice", "w1", 5) == ERR_OK);
    EXPECT(permits(&b, &renew, "alice") == ERR_OK);
    EXPECT(apply(&b, as(&b, &revoke, "alice")) == ERR_OK);
    struct request expire = { .type = REQUEST_LEASE_EXPIRE, .expire = { .id = 7, .as_of = 1 } };
    EXPECT(apply(&b, as(&b, &expire, NULL)) == ERR_LEASE_NOT_FOUND); /* the leader's: not denied */
    EXPECT(bench_close(&b));
}

/* That somebody was permitted all keys of a lease is remembered, until it may be no longer so. */
TEST(permit_leases_that_were_cleared)
{
    struct bench b;
    bench_open(&b);
    struct request grant = { .type = REQUEST_LEASE_GRANT, .lease = { .id = 6, .ttl_s = 60 } };
    struct request renew = { .type = REQUEST_LEASE_RENEW, .lease = { .id = 6 } };
    EXPECT(apply(&b, as(&b, &grant, "alice")) == ERR_OK);
    for (int i = 0; i < 3; i++) {
        EXPECT(put_as(&b, "alice", "w1", 6) == ERR_OK && put_as(&b, "alice", "w2", 6) == ERR_OK);
        EXPECT(permits(&b, &renew, "alice") == ERR_OK && permits(&b, &renew, "root") == ERR_OK);
    }
    EXPECT(permits(&b, &renew, "bob") == DENIED);
    as(&b, &renew, "alice")->auth_revision--;
    EXPECT(machine_permits(&b.m, &renew) == ERR_AUTH_OLD_REVISION);
    EXPECT(put_as(&b, "root", "secret", 6) == ERR_OK); /* one that alice may not */
    EXPECT(put_as(&b, "alice", "w1", 6) == DENIED && permits(&b, &renew, "alice") == DENIED);
    EXPECT(put_as(&b, "root", "secret", 0) == ERR_OK);
    EXPECT(put_as(&b, "alice", "w1", 6) == ERR_OK && permits(&b, &renew, "alice") == ERR_OK);
    struct request take = { .type = REQUEST_ROLE_REVOKE,
                            .auth = { .role = SPAN("r"),
                                      .permission = { 0, SPAN("w"), SPAN("x") } } };
    EXPECT(apply(&b, as(&b, &take, "root")) == ERR_OK);
    EXPECT(permits(&b, &renew, "alice") == DENIED);
    EXPECT(bench_close(&b));
}

TEST(permit_ones_own_user_and_roles)
{
    struct bench b;
    bench_open(&b);
    struct request user = { .type = REQUEST_USER_GET, .auth = { .user = SPAN("alice") } };
    struct request role = { .type = REQUEST_ROLE_GET, .auth = { .role = SPAN("r") } };
    EXPECT(permits(&b, &user, "alice") == ERR_OK && permits(&b, &role, "alice") == ERR_OK);
    EXPECT(permits(&b, &user, NULL) == ERR_USER_EMPTY &&
           permits(&b, &role, NULL) == ERR_USER_EMPTY);
    user.auth.user = SPAN("root"), role.auth.role = SPAN("root");
    EXPECT(permits(&b, &user, "alice") == DENIED && permits(&b, &role, "alice") == DENIED);
    EXPECT(permits(&b, &user, "root") == ERR_OK && permits(&b, &role, "root") == ERR_OK);
    user.auth.user = SPAN_NONE;
    EXPECT(permits(&b, &user, NULL) == ERR_USER_EMPTY);
    EXPECT(bench_close(&b));
}

TEST(permit_logins)
{
    static const uint8_t hash[AUTH_TOKEN_HASH_BYTES] = { 1 };
    struct bench b;
    bench_open(&b);
    struct request r = { .type = REQUEST_AUTHENTICATE,
                         .auth = { .user = SPAN("alice"),
                                   .token_hash = span_of(hash, sizeof(hash)),
                                   .checked_revision = auth_revision(b.m.auth) } };
    EXPECT(apply(&b, &r) == ERR_OK && span_is(b.reply.login.user, "alice"));
    EXPECT(span_equal(b.reply.login.token_hash, r.auth.token_hash));
    r.auth.checked_revision--;
    EXPECT(apply(&b, &r) == ERR_AUTH_OLD_REVISION);
    r.auth.user = SPAN("bob");
    EXPECT(apply(&b, &r) == ERR_AUTH_FAILED);
    struct request off = { .type = REQUEST_AUTH_DISABLE };
    EXPECT(apply(&b, as(&b, &off, "root")) == ERR_OK && apply(&b, &r) == ERR_AUTH_NOT_ENABLED);
    EXPECT(bench_close(&b));
}

/* A password never gets into a command. */
TEST(permit_commands_have_no_password)
{
    struct bench b;
    bench_open(&b);
    struct request r = { .type = REQUEST_USER_ADD,
                         .auth = {
                             .user = SPAN("u"), .password = SPAN("pass"), .hash = SPAN("hash") } };
    for (int i = 0; i < 2; i++, r.type = REQUEST_USER_PASSWORD) {
        EXPECT(apply(&b, as(&b, &r, "root")) == ERR_OK);
        EXPECT(!memmem(b.bytes.data, b.bytes.len, "pass", 4));
        EXPECT(memmem(b.bytes.data, b.bytes.len, "hash", 4));
    }
    EXPECT(bench_close(&b));
}
