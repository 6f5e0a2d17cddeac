#include "core/machine/machine.h"
#include "base/crc.h"
#include "base/prng.h"
#include "base/test.h"
#include "core/machine/command.h"

struct bench {
    struct alloc heap;
    struct arena arena;
    struct buf bytes;
    struct machine m;
    struct reply reply;
    const struct kv_change *changes;
    size_t n;
};

static void bench_open(struct bench *b)
{
    *b = (struct bench){ 0 };
    alloc_heap(&b->heap);
    arena_open(&b->arena, &b->heap);
    buf_open(&b->bytes, &b->heap);
    machine_open(&b->m, &b->heap);
}

static bool bench_close(struct bench *b)
{
    machine_close(&b->m);
    buf_close(&b->bytes);
    arena_close(&b->arena);
    return b->heap.used == 0;
}

static enum err apply_bytes(struct bench *b, struct span bytes)
{
    return machine_apply(&b->m, b->m.applied_index + 1, 1, bytes, 0, &b->arena, &b->reply,
                         &b->changes, &b->n);
}

/* What the command itself earned. */
static enum err apply(struct bench *b, const struct request *r)
{
    buf_reset(&b->bytes);
    machine_command(r, 1700000000000, 99, &b->bytes);
    enum err err = apply_bytes(b, buf_all(&b->bytes));
    return err ? err : b->reply.err;
}

static enum err put(struct bench *b, const char *key, const char *value, int64_t lease)
{
    struct request r = { .type = REQUEST_PUT,
                         .put = { .key = span_text(key), .value = span_text(value),
                                  .lease = lease } };
    return apply(b, &r);
}

static enum err grant(struct bench *b, int64_t id, int64_t ttl_s)
{
    struct request r = { .type = REQUEST_LEASE_GRANT, .lease = { .id = id, .ttl_s = ttl_s } };
    return apply(b, &r);
}

static enum err quota(struct bench *b, const char *prefix, int64_t keys)
{
    struct request r = { .type = REQUEST_LIMIT_SET,
                         .limit = { .kind = LIMIT_PREFIX,
                                    .name = span_text(prefix),
                                    .keys_max = keys } };
    return apply(b, &r);
}

static enum err raise_level(struct bench *b, uint8_t level)
{
    struct request r = { .type = REQUEST_LEVEL, .level = level };
    return apply(b, &r);
}

static enum err revoke(struct bench *b, int64_t id)
{
    struct request r = { .type = REQUEST_LEASE_REVOKE, .lease = { .id = id } };
    return apply(b, &r);
}

static size_t lease_keys(struct bench *b, int64_t id)
{
    struct lease_info info;
    return lease_look(b->m.lease, id, 0, true, &b->arena, &info) ? SIZE_MAX : info.n_keys;
}

/* What another member has sent comes into the log only whole. */
TEST(machine_reads_foreign_commands)
{
    struct bench b;
    bench_open(&b);
    struct request r, put = { .type = REQUEST_PUT, .author = SPAN("me"),
                              .put = { .key = SPAN("k"), .value = SPAN("v") } };
    machine_command(&put, 1, 0, &b.bytes);
    EXPECT(machine_command_read(buf_all(&b.bytes), &b.arena, &r) == ERR_OK);
    EXPECT(r.type == REQUEST_PUT && span_is(r.put.key, "k") && span_is(r.author, "me"));
    for (size_t len = 0; len < b.bytes.len; len++)
        EXPECT(machine_command_read(span_of(b.bytes.data, len), &b.arena, &r) == ERR_CORRUPT);
    buf_u8(&b.bytes, 0);
    EXPECT(machine_command_read(buf_all(&b.bytes), &b.arena, &r) == ERR_CORRUPT);
    EXPECT(machine_command_read(SPAN("\377\1"), &b.arena, &r) == ERR_FORMAT);
    EXPECT(bench_close(&b));
}

TEST(machine_puts_and_leases)
{
    struct bench b;
    bench_open(&b);
    EXPECT(put(&b, "a", "1", 5) == ERR_LEASE_NOT_FOUND && b.reply.revision == 1 && b.n == 0);
    EXPECT(grant(&b, 5, 1) == ERR_OK && b.reply.lease.id == 5 && b.reply.lease.ttl_s == 2);
    EXPECT(grant(&b, 5, 9) == ERR_LEASE_EXISTS);
    EXPECT(grant(&b, 0, 60) == ERR_OK && b.reply.lease.id == 99 && b.reply.revision == 1);
    EXPECT(put(&b, "a", "1", 5) == ERR_OK && b.reply.revision == 2 && b.n == 1);
    EXPECT(put(&b, "b", "1", 5) == ERR_OK && lease_keys(&b, 5) == 2);
    EXPECT(put(&b, "a", "2", 99) == ERR_OK && lease_keys(&b, 5) == 1 && lease_keys(&b, 99) == 1);
    EXPECT(put(&b, "a", "3", 0) == ERR_OK && lease_keys(&b, 99) == 0);
    EXPECT(put(&b, "a", "4", 5) == ERR_OK && b.reply.revision == 6);
    EXPECT(revoke(&b, 5) == ERR_OK && b.reply.revision == 7 && b.n == 2);
    EXPECT(span_is(kv_key(b.changes[0].now), "a") && b.changes[1].now->sub == 1);
    EXPECT(revoke(&b, 5) == ERR_LEASE_NOT_FOUND && revoke(&b, 99) == ERR_OK);
    EXPECT(b.reply.revision == 7 && lease_count(b.m.lease) == 0 && b.m.applied_index == 12);
    EXPECT(bench_close(&b));
}

TEST(machine_delete_takes_keys_off_their_lease)
{
    struct bench b;
    bench_open(&b);
    EXPECT(grant(&b, 7, 60) == ERR_OK && put(&b, "k", "v", 7) == ERR_OK);
    struct request del = { .type = REQUEST_DELETE, .author = SPAN("alice"),
                           .del = { .key = SPAN("k"), .prev_kv = true } };
    EXPECT(apply(&b, &del) == ERR_OK && b.reply.del.deleted == 1 && b.reply.del.n_prev == 1);
    EXPECT(lease_keys(&b, 7) == 0 && b.changes[0].now->updated_at_ms == 1700000000000);
    EXPECT(span_is(kv_author(b.m.kv, b.changes[0].now), "alice"));
    EXPECT(apply(&b, &del) == ERR_OK && b.reply.del.deleted == 0 && b.reply.revision == 3);
    EXPECT(bench_close(&b));
}

TEST(machine_transactions)
{
    struct bench b;
    bench_open(&b);
    struct kv_op put_x = { .type = KV_OP_PUT, .put = { .key = SPAN("x"), .value = SPAN("1") } };
    struct kv_op bad = { .type = KV_OP_PUT, .put = { .key = SPAN("y"), .lease = 3 } };
    struct kv_compare absent = { .key = SPAN("x"), .target = KV_IF_CREATE };
    struct kv_txn inner = { .compares = &absent, .n_compares = 1, .success = &put_x,
                            .n_success = 1 };
    struct kv_op ops[] = { { .type = KV_OP_TXN, .txn = &inner },
                           { .type = KV_OP_RANGE, .range = { .key = SPAN("x") } } };
    struct request r = { .type = REQUEST_TXN, .txn = { .success = ops, .n_success = 2 } };
    EXPECT(request_check(&r, &b.arena) == ERR_OK && request_writes(&r));
    EXPECT(apply(&b, &r) == ERR_OK && b.reply.txn.succeeded && b.reply.revision == 2);
    EXPECT(b.reply.txn.ops[0].txn->succeeded && b.reply.txn.ops[1].range.n == 1);
    EXPECT(apply(&b, &r) == ERR_OK && b.reply.revision == 2 && b.n == 0);
    EXPECT(!b.reply.txn.ops[0].txn->succeeded);
    struct kv_op both[] = { put_x, bad };
    r.txn = (struct kv_txn){ .success = both, .n_success = 2 };
    EXPECT(apply(&b, &r) == ERR_LEASE_NOT_FOUND && b.reply.revision == 2 && b.n == 0);
    r.txn = (struct kv_txn){ .compares = &absent, .n_compares = 1, .success = &ops[1],
                             .n_success = 1, .failure = &ops[1], .n_failure = 1 };
    EXPECT(!request_writes(&r));
    machine_read(&b.m, &r, 0, &b.arena, &b.reply);
    EXPECT(b.reply.err == ERR_OK && !b.reply.txn.succeeded && b.reply.txn.ops[0].range.n == 1);
    EXPECT(bench_close(&b));
}

TEST(machine_reads)
{
    struct bench b;
    bench_open(&b);
    EXPECT(grant(&b, 4, 30) == ERR_OK && grant(&b, 3, 20) == ERR_OK && put(&b, "k", "v", 3) == 0);
    struct request r = { .type = REQUEST_RANGE, .range = { .key = SPAN("k"), .revision = 9 } };
    machine_read(&b.m, &r, 0, &b.arena, &b.reply);
    EXPECT(b.reply.err == ERR_REVISION_FUTURE && b.reply.revision == 2);
    r = (struct request){ .type = REQUEST_LEASE_LOOK, .lease = { .id = 3, .keys = true } };
    machine_read(&b.m, &r, 5500, &b.arena, &b.reply);
    EXPECT(b.reply.look.found && b.reply.look.info.remaining_ms == 14500);
    EXPECT(b.reply.look.info.n_keys == 1 && span_is(b.reply.look.info.keys[0], "k"));
    r.lease.id = 8;
    machine_read(&b.m, &r, 0, &b.arena, &b.reply);
    EXPECT(b.reply.err == ERR_OK && !b.reply.look.found);
    r = (struct request){ .type = REQUEST_LEASE_LIST };
    machine_read(&b.m, &r, 0, &b.arena, &b.reply);
    EXPECT(b.reply.list.n == 2 && b.reply.list.ids[0] == 3 && b.reply.list.ids[1] == 4);
    r = (struct request){ .type = REQUEST_HASH };
    machine_read(&b.m, &r, 0, &b.arena, &b.reply);
    EXPECT(b.reply.err == ERR_OK && b.reply.hash.hash_revision == 2 && b.reply.hash.hash != 0);
    EXPECT(bench_close(&b));
}

TEST(machine_requests_are_checked)
{
    struct bench b;
    bench_open(&b);
    struct request r = { .type = REQUEST_LEASE_GRANT, .lease = { .ttl_s = LEASE_TTL_MAX_S } };
    EXPECT(request_check(&r, &b.arena) == ERR_OK && request_writes(&r));
    r.lease.ttl_s++;
    EXPECT(request_check(&r, &b.arena) == ERR_LEASE_TTL_TOO_LARGE);
    r = (struct request){ .type = REQUEST_PUT };
    EXPECT(request_check(&r, &b.arena) == ERR_KEY_EMPTY);
    r = (struct request){ .type = REQUEST_DELETE };
    EXPECT(request_check(&r, &b.arena) == ERR_KEY_EMPTY);
    r = (struct request){ .type = REQUEST_RANGE, .range = { .key = SPAN("k"), .order = 7 } };
    EXPECT(request_check(&r, &b.arena) == ERR_SORT_OPTION && !request_writes(&r));
    struct kv_op none = { .type = KV_OP_NONE };
    r = (struct request){ .type = REQUEST_TXN, .txn = { .success = &none, .n_success = 1 } };
    EXPECT(request_check(&r, &b.arena) == ERR_KEY_NOT_FOUND);
    EXPECT(bench_close(&b));
}

TEST(machine_refuses_bytes_that_nobody_wrote)
{
    struct bench b;
    bench_open(&b);
    struct kv_op ops[] = { { .type = KV_OP_PUT, .put = { .key = SPAN("k"), .type = KV_JSON } },
                           { .type = KV_OP_DELETE, .del = { .key = SPAN("d") } },
                           { .type = KV_OP_RANGE, .range = { .key = SPAN("r"), .min_mod = 4 } } };
    struct kv_compare ifs[] = { { .key = SPAN("k"), .target = KV_IF_VALUE, .value = SPAN("v") },
                                { .key = SPAN("k"), .target = -1, .result = INT32_MIN } };
    struct request r = { .type = REQUEST_TXN, .author = SPAN("me"),
                         .txn = { .compares = ifs, .n_compares = 2, .success = ops,
                                  .n_success = 3 } };
    machine_command(&r, 1700000000000, 0, &b.bytes);
    uint32_t digest = b.m.digest;
    struct command c;
    EXPECT(command_decode(buf_all(&b.bytes), &b.arena, &c) == ERR_OK);
    EXPECT(c.request.txn.compares[1].target == -1 && c.request.txn.success[2].range.min_mod == 4);
    for (size_t cut = 0; cut < b.bytes.len; cut++)
        EXPECT(apply_bytes(&b, span_of(b.bytes.data, cut)) == ERR_CORRUPT);
    buf_u8(&b.bytes, 0);
    EXPECT(apply_bytes(&b, buf_all(&b.bytes)) == ERR_CORRUPT);
    EXPECT(apply_bytes(&b, SPAN("\x00")) == ERR_CORRUPT);
    EXPECT(apply_bytes(&b, SPAN("\x0f")) == ERR_FORMAT);
    EXPECT(apply_bytes(&b, SPAN("\xff")) == ERR_FORMAT);
    EXPECT(b.m.applied_index == 0 && b.m.digest == digest);
    EXPECT(bench_close(&b));
}

TEST(machine_command_depth_has_a_bound)
{
    struct bench b;
    bench_open(&b);
    for (size_t depth = COMMAND_DEPTH_MAX; depth <= COMMAND_DEPTH_MAX + 1; depth++) {
        buf_reset(&b.bytes);
        buf_put(&b.bytes, "\x03\x00\x00", 3); /* a transaction, no time, nobody */
        for (size_t i = 1; i < depth; i++)
            buf_put(&b.bytes, "\x00\x01\x04", 3); /* no compares, one op: a transaction */
        for (size_t i = 1; i < depth; i++)
            buf_put(&b.bytes, "\x00", 1); /* nothing to do otherwise */
        buf_put(&b.bytes, "\x00\x00\x00", 3);
        struct command c;
        EXPECT(command_decode(buf_all(&b.bytes), &b.arena, &c) ==
               (depth <= COMMAND_DEPTH_MAX ? ERR_OK : ERR_CORRUPT));
    }
    EXPECT(bench_close(&b));
}

/* ---- checkpoints ---- */

static enum err load_pieces(struct machine *m, const struct buf *all, const size_t *ends, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t start = i ? ends[i - 1] : 0;
        enum err err = machine_load(m, span_of(all->data + start, ends[i] - start));
        if (err)
            return err;
    }
    return machine_load_end(m);
}

static enum err try_load(const struct buf *all, const size_t *ends, size_t n)
{
    struct alloc heap;
    struct machine m;
    alloc_heap(&heap);
    machine_open(&m, &heap);
    enum err err = load_pieces(&m, all, ends, n);
    machine_close(&m);
    return heap.used ? ERR_INTERNAL : err;
}

static bool random_command(struct bench *b, struct prng *p)
{
    static const char *const keys[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    const char *key = keys[prng_below(p, 8)];
    int64_t lease = (int64_t)prng_below(p, 6);
    struct request del = { .type = REQUEST_DELETE,
                           .del = { .key = span_text(key), .range_end = SPAN("e") } };
    struct request compact = { .type = REQUEST_COMPACT,
                               .compact = { .revision = kv_revision(b->m.kv) - 10 } };
    struct lease_note notes[] = { { 1 + lease, (int64_t)prng_below(p, 11000) }, { 3, 0 } };
    struct request note = { .type = REQUEST_LEASE_NOTE,
                            .notes = { notes, 1 + prng_below(p, 2), b->m.applied_index } };
    switch (prng_below(p, 13)) {
    case 12:
        return apply(b, &note) == ERR_OK;
    case 0:
    case 1:
        return grant(b, 1 + lease, 10) < ERR_COUNT;
    case 2:
        return revoke(b, 1 + lease) < ERR_COUNT;
    case 3:
        return apply(b, &del) == ERR_OK;
    case 4:
        return apply(b, &compact) < ERR_COUNT;
    default:
        return put(b, key, "value", lease) < ERR_COUNT;
    }
}

/* The keys that hang on leases are the keys that name them. */
static bool leases_agree(struct bench *b)
{
    struct kv_range all = { .key = SPAN("\0"), .range_end = SPAN("\0") };
    struct kv_range_result r;
    if (kv_range(b->m.kv, &all, &b->arena, &r) != ERR_OK)
        return false;
    size_t named[8] = { 0 };
    for (size_t i = 0; i < r.n; i++)
        named[r.items[i]->lease]++;
    for (int64_t id = 1; id < 8; id++)
        if (lease_keys(b, id) != named[id] && (lease_known(b->m.lease, id) || named[id]))
            return false;
    return true;
}

TEST(machine_checkpoint_while_writes_go_on)
{
    enum { STEPS = 200 };
    struct bench b, c;
    bench_open(&b);
    bench_open(&c);
    struct prng p = { 12 };
    struct buf all, log;
    size_t ends[STEPS], n = 0;
    buf_open(&all, &b.heap);
    buf_open(&log, &b.heap);
    for (int i = 0; i < 500; i++)
        EXPECT(random_command(&b, &p));
    uint64_t index = b.m.applied_index;
    struct machine_save *save = machine_save_open(&b.m, &b.heap);
    size_t log_ends[STEPS];
    for (bool more = true; more; n++) {
        EXPECT(n < STEPS);
        more = machine_save_step(save, 64, &all);
        ends[n] = all.len;
        EXPECT(random_command(&b, &p));
        buf_span(&log, buf_all(&b.bytes));
        log_ends[n] = log.len;
        kv_compact_step(b.m.kv, 1000);
    }
    machine_save_close(save);
    EXPECT(load_pieces(&c.m, &all, ends, n) == ERR_OK && c.m.applied_index == index);
    EXPECT(leases_agree(&b) && leases_agree(&c));
    for (size_t i = 0; i < n; i++) {
        size_t start = i ? log_ends[i - 1] : 0;
        EXPECT(c.m.digest != b.m.digest);
        EXPECT(apply_bytes(&c, span_of(log.data + start, log_ends[i] - start)) == ERR_OK);
    }
    EXPECT(c.m.digest == b.m.digest && c.m.applied_index == b.m.applied_index);
    EXPECT(leases_agree(&c));
    buf_close(&all);
    buf_close(&log);
    EXPECT(bench_close(&b) && bench_close(&c));
}

TEST(machine_checkpoint_must_be_whole)
{
    enum { STEPS = 100 };
    struct bench b;
    bench_open(&b);
    struct prng p = { 5 };
    struct buf all;
    size_t ends[STEPS], n = 0;
    buf_open(&all, &b.heap);
    for (int i = 0; i < 60; i++)
        EXPECT(random_command(&b, &p));
    struct machine_save *save = machine_save_open(&b.m, &b.heap);
    for (bool more = true; more; n++) {
        more = machine_save_step(save, 64, &all);
        ends[n] = all.len;
    }
    machine_save_close(save);
    EXPECT(try_load(&all, ends, n) == ERR_OK && n > 5);
    for (size_t i = 0; i < n; i++)
        EXPECT(try_load(&all, ends, i) == ERR_CORRUPT);
    for (size_t i = 0; i < all.len; i++) {
        all.data[i] ^= 0x10;
        enum err err = try_load(&all, ends, n);
        EXPECT(err == ERR_CORRUPT || err == ERR_FORMAT);
        all.data[i] ^= 0x10;
    }
    struct span head = span_of(all.data, ends[0]);
    EXPECT(machine_load_check(head) == ERR_OK);
    EXPECT(machine_load_check(span_of(all.data, ends[0] - 1)) == ERR_CORRUPT);
    EXPECT(machine_load_check(span_of(all.data, ends[0] + 1)) == ERR_CORRUPT);
    EXPECT(machine_load_check(SPAN_NONE) == ERR_CORRUPT);
    EXPECT(machine_load_check(span_of(all.data + ends[0], ends[1] - ends[0])) == ERR_CORRUPT);
    all.data[1] += 2; /* the format's number: none has it yet */
    EXPECT(machine_load_check(head) == ERR_FORMAT);
    EXPECT(try_load(&all, ends, n) == ERR_FORMAT);
    buf_close(&all);
    EXPECT(bench_close(&b));
}

/* All of the state in pieces; how many. */
static size_t save_all(struct bench *b, struct buf *all, size_t *ends, size_t max)
{
    struct machine_save *save = machine_save_open(&b->m, &b->heap);
    size_t n = 0;
    for (bool more = true; more && n < max; n++) {
        more = machine_save_step(save, 1 << 20, all);
        ends[n] = all->len;
    }
    machine_save_close(save);
    return n;
}

TEST(machine_membership_is_state)
{
    struct bench b, c;
    struct buf all;
    size_t ends[8];
    bench_open(&b);
    bench_open(&c);
    buf_open(&all, &b.heap);
    EXPECT(machine_members_now(&b.m).len == 0 && put(&b, "k", "v", 0) == ERR_OK);
    machine_members(&b.m, 2, 1, SPAN("one and two"));
    machine_members(&b.m, 3, 4, SPAN("one"));
    EXPECT(b.m.applied_index == 3 && b.m.applied_term == 4 && b.reply.revision == 2);
    EXPECT(span_is(machine_members_now(&b.m), "one"));
    EXPECT(put(&c, "k", "v", 0) == ERR_OK);
    machine_members(&c.m, 2, 1, SPAN("one and two"));
    machine_members(&c.m, 3, 4, SPAN("two"));
    EXPECT(b.m.digest != c.m.digest);
    size_t n = save_all(&b, &all, ends, 8);
    machine_members(&b.m, 4, 4, SPAN("none of the checkpoint's business"));
    machine_reset(&c.m);
    EXPECT(c.m.applied_index == 0 && c.m.digest == 0 && kv_revision(c.m.kv) == 1);
    EXPECT(machine_members_now(&c.m).len == 0);
    EXPECT(load_pieces(&c.m, &all, ends, n) == ERR_OK && c.m.applied_index == 3);
    EXPECT(span_is(machine_members_now(&c.m), "one"));
    machine_members(&c.m, 4, 4, SPAN("none of the checkpoint's business"));
    EXPECT(b.m.digest == c.m.digest);
    buf_close(&all);
    EXPECT(bench_close(&b) && bench_close(&c));
}

/* Format 1 has no piece of members, up to 3 none of users, 4 alarms, 5 limits; up to format 2 a
 * lease had no note and no index of its grant; up to format 6 the head told no level. */
static enum err load_as_before(struct bench *b, const struct buf *all, const size_t *ends,
                               size_t pieces, uint32_t format)
{
    struct buf old;
    size_t n = 0, old_ends[8];
    buf_open(&old, &b->heap);
    for (size_t i = 0; i + 1 < pieces; i++) {
        size_t start = i ? ends[i - 1] : 0, size = ends[i] - start;
        uint8_t kind = all->data[start];
        if ((kind == 5 && format == 1) || (kind == 6 && format < 4) || (kind == 7 && format < 5) ||
            (kind == 8 && format < 6))
            continue;
        size -= kind == 2 && format < 3 ? 2 : kind == 1 && format < 7 ? 1 : 0;
        buf_put(&old, all->data + start, size);
        old.data[1] = (uint8_t)format;
        old_ends[n++] = old.len;
    }
    uint32_t crc = crc32c(0, old.data, old.len);
    uint64_t size = old.len;
    buf_u8(&old, 4);
    buf_u64(&old, n);
    buf_u64(&old, size);
    buf_u32(&old, crc);
    old_ends[n++] = old.len;
    enum err err = load_pieces(&b->m, &old, old_ends, n);
    buf_close(&old);
    return err;
}

/* Nothing that an older member could not read is written before all know it. */
TEST(machine_level_only_rises)
{
    struct bench b;
    struct buf all;
    size_t ends[8];
    bench_open(&b);
    buf_open(&all, &b.heap);
    EXPECT(put(&b, "k", "v", 0) == ERR_OK && b.m.level == MACHINE_LEVEL_FIRST);
    save_all(&b, &all, ends, 8);
    EXPECT(all.data[1] == 6); /* as those before there were levels read it */
    uint32_t digest = b.m.digest;
    EXPECT(raise_level(&b, 0) == ERR_CORRUPT);
    EXPECT(raise_level(&b, MACHINE_LEVEL_FIRST) == ERR_CORRUPT);
    EXPECT(raise_level(&b, MACHINE_LEVEL + 1) == ERR_FORMAT);
    EXPECT(b.m.applied_index == 1 && b.m.level == MACHINE_LEVEL_FIRST && b.m.digest == digest);
    EXPECT(raise_level(&b, MACHINE_LEVEL) == ERR_OK && b.m.level == MACHINE_LEVEL);
    EXPECT(b.m.digest != digest && b.n == 0 && b.reply.revision == 2);
    EXPECT(raise_level(&b, MACHINE_LEVEL_TOLD) == ERR_OK && b.m.level == MACHINE_LEVEL);
    buf_reset(&all);
    save_all(&b, &all, ends, 8);
    uint8_t *level = &all.data[ends[0] - 1];
    struct span head = span_of(all.data, ends[0]);
    EXPECT(all.data[1] == 7 && *level == MACHINE_LEVEL && machine_load_check(head) == ERR_OK);
    *level = MACHINE_LEVEL + 1;
    EXPECT(machine_load_check(head) == ERR_FORMAT);
    *level = MACHINE_LEVEL_FIRST;
    EXPECT(machine_load_check(head) == ERR_CORRUPT);
    buf_close(&all);
    EXPECT(bench_close(&b));
}

TEST(machine_checkpoints_of_older_formats)
{
    struct bench b;
    struct buf all;
    size_t ends[8];
    bench_open(&b);
    buf_open(&all, &b.heap);
    EXPECT(grant(&b, 5, 60) == ERR_OK && put(&b, "k", "v", 5) == ERR_OK);
    EXPECT(quota(&b, "k", 7) == ERR_OK);
    machine_members(&b.m, 4, 1, SPAN("one"));
    EXPECT(raise_level(&b, 4) == ERR_OK);
    size_t n = save_all(&b, &all, ends, 8);
    uint8_t newest = all.data[1];
    EXPECT(newest == 7);
    for (uint8_t format = 0; format <= newest + 1; format++) {
        machine_reset(&b.m);
        enum err err = load_as_before(&b, &all, ends, n, format);
        if (format == 0 || format > newest) {
            EXPECT(err == (format == 0 ? ERR_CORRUPT : ERR_FORMAT));
            continue;
        }
        EXPECT(err == ERR_OK && b.m.applied_index == 5 && lease_keys(&b, 5) == 1);
        EXPECT(b.m.level == (format < 7 ? 3 : 4));
        EXPECT(span_is(machine_members_now(&b.m), format == 1 ? "" : "one"));
        EXPECT(limit_count(b.m.limit) == (format >= 6));
    }
    buf_close(&all);
    EXPECT(bench_close(&b));
}

static enum err del(struct bench *b, const char *key, const char *end)
{
    struct request r = { .type = REQUEST_DELETE,
                         .del = { .key = span_text(key), .range_end = span_text(end) } };
    return apply(b, &r);
}

static bool used(const struct bench *b, size_t i, int64_t keys, int64_t bytes)
{
    const struct limit *l = limit_at(b->m.limit, i);
    return l->keys == keys && l->bytes == bytes;
}

/* Counted at the start, at each change of any sort, and anew from a checkpoint. */
TEST(machine_quotas_count_what_lives)
{
    struct bench b;
    struct buf all;
    size_t ends[8];
    bench_open(&b);
    buf_open(&all, &b.heap);
    EXPECT(put(&b, "a1", "12", 0) == ERR_OK && put(&b, "a2", "1234", 0) == ERR_OK);
    EXPECT(put(&b, "b", "1", 0) == ERR_OK && quota(&b, "a", 3) == ERR_OK);
    EXPECT(used(&b, 0, 2, 10) && put(&b, "a1", "", 0) == ERR_OK && used(&b, 0, 2, 8));
    EXPECT(grant(&b, 5, 60) == ERR_OK && put(&b, "a3", "1", 5) == ERR_OK && used(&b, 0, 3, 11));
    int64_t revision = b.reply.revision;
    EXPECT(put(&b, "a4", "1", 0) == ERR_QUOTA_EXCEEDED && b.reply.revision == revision);
    EXPECT(put(&b, "a3", "123", 5) == ERR_OK && used(&b, 0, 3, 13)); /* no new key */
    EXPECT(put(&b, "c", "1", 0) == ERR_OK && revoke(&b, 5) == ERR_OK && used(&b, 0, 2, 8));
    EXPECT(quota(&b, "", 4) == ERR_OK && used(&b, 0, 4, 12) && used(&b, 1, 2, 8));
    size_t n = save_all(&b, &all, ends, 8);
    machine_reset(&b.m);
    EXPECT(load_pieces(&b.m, &all, ends, n) == ERR_OK);
    EXPECT(used(&b, 0, 4, 12) && used(&b, 1, 2, 8));
    EXPECT(put(&b, "d", "", 0) == ERR_QUOTA_EXCEEDED); /* the one of all keys */
    EXPECT(del(&b, "a", "b") == ERR_OK && used(&b, 0, 2, 4) && used(&b, 1, 0, 0));
    struct request r = { .type = REQUEST_LIMIT_DELETE, .limit = { .kind = LIMIT_PREFIX } };
    EXPECT(apply(&b, &r) == ERR_OK && apply(&b, &r) == ERR_LIMIT_NOT_FOUND);
    EXPECT(put(&b, "d", "", 0) == ERR_OK && put(&b, "e", "", 0) == ERR_OK);
    buf_close(&all);
    EXPECT(bench_close(&b));
}

/* A transaction counts as a whole: what it deletes makes room for what it puts, once. */
TEST(machine_quotas_of_transactions)
{
    struct bench b;
    bench_open(&b);
    EXPECT(quota(&b, "a", 2) == ERR_OK);
    EXPECT(put(&b, "a1", "", 0) == ERR_OK && put(&b, "a2", "", 0) == ERR_OK);
    struct kv_op ops[] = {
        { .type = KV_OP_PUT, .put = { .key = SPAN("a3") } },
        { .type = KV_OP_DELETE, .del = { .key = SPAN("a1") } },
        { .type = KV_OP_DELETE, .del = { .key = SPAN("a1"), .range_end = SPAN("a2") } },
        { .type = KV_OP_PUT, .put = { .key = SPAN("a4") } },
    };
    struct kv_txn inner = { .success = ops + 3, .n_success = 1 };
    struct kv_op nested[] = { ops[0], ops[1], ops[2], { .type = KV_OP_TXN, .txn = &inner } };
    struct kv_compare never = { .key = SPAN("a2"), .target = KV_IF_VERSION, .result = KV_IF_EQUAL };
    struct request r = { .type = REQUEST_TXN, .txn = { .success = ops, .n_success = 4 } };
    EXPECT(apply(&b, &r) == ERR_QUOTA_EXCEEDED && used(&b, 0, 2, 4)); /* a1 goes once */
    r.txn.success = nested;
    EXPECT(apply(&b, &r) == ERR_QUOTA_EXCEEDED);
    r.txn.n_success = 3;
    EXPECT(apply(&b, &r) == ERR_OK && used(&b, 0, 2, 4));
    r.txn = (struct kv_txn){ &never, ops + 3, ops + 1, 1, 1, 1 };
    EXPECT(apply(&b, &r) == ERR_OK && used(&b, 0, 2, 4)); /* the branch taken puts nothing */
    EXPECT(bench_close(&b));
}

static int64_t remaining(struct bench *b, int64_t id)
{
    struct lease_info info;
    lease_restart(b->m.lease, 0);
    return lease_look(b->m.lease, id, 0, false, &b->arena, &info) ? -1 : info.remaining_ms;
}

/* Notes are state: they come back from a checkpoint, and say nothing of a lease granted since. */
TEST(machine_lease_notes)
{
    struct bench b, c;
    struct buf all;
    size_t ends[8];
    bench_open(&b);
    bench_open(&c);
    buf_open(&all, &b.heap);
    EXPECT(grant(&b, 5, 60) == ERR_OK && grant(&b, -6, 60) == ERR_OK && revoke(&b, -6) == ERR_OK);
    EXPECT(grant(&b, -6, 60) == ERR_OK);
    struct lease_note notes[] = { { 5, 20000 }, { -6, 1 }, { 7, 20000 } };
    struct request r = { .type = REQUEST_LEASE_NOTE,
                         .notes = { .items = notes, .n = 3, .as_of = 3 } };
    EXPECT(request_writes(&r) && request_check(&r, &b.arena) == ERR_OK);
    EXPECT(apply(&b, &r) == ERR_OK && b.n == 0 && b.reply.revision == 1);
    EXPECT(remaining(&b, 5) == 20000 && remaining(&b, -6) == 60000 && remaining(&b, 7) == -1);
    size_t n = save_all(&b, &all, ends, 8);
    EXPECT(load_pieces(&c.m, &all, ends, n) == ERR_OK && remaining(&c, 5) == 20000);
    notes[0].remaining_ms = 0;
    EXPECT(apply(&c, &r) == ERR_OK && remaining(&c, 5) == 60000 && remaining(&c, -6) == 60000);
    r.notes.as_of = 4;
    EXPECT(apply(&c, &r) == ERR_OK && remaining(&c, -6) == 1);
    for (size_t cut = 0; cut < c.bytes.len; cut++)
        EXPECT(apply_bytes(&c, span_of(c.bytes.data, cut)) == ERR_CORRUPT);
    static const char more_than_bytes[] = "\x07\x00\x00\x00\x03\x01\x00\x02\x00";
    EXPECT(apply_bytes(&c, span_of(more_than_bytes, 9)) == ERR_CORRUPT);
    static const char none[] = "\x07\x00\x00\x00\x00", zero_id[] = "\x07\x00\x00\x00\x01\x00\x01";
    EXPECT(apply_bytes(&c, span_of(none, 5)) == ERR_CORRUPT);
    EXPECT(apply_bytes(&c, span_of(zero_id, 7)) == ERR_OK); /* a lease that is not there */
    buf_close(&all);
    EXPECT(bench_close(&b) && bench_close(&c));
}

/* Revoked and granted again meanwhile: the time of another one has passed. */
TEST(machine_lease_expires_as_of)
{
    struct bench b;
    bench_open(&b);
    EXPECT(grant(&b, 5, 60) == ERR_OK && put(&b, "k", "v", 5) == ERR_OK);
    struct request r = { .type = REQUEST_LEASE_EXPIRE, .expire = { .id = 5, .as_of = 2 } };
    EXPECT(revoke(&b, 5) == ERR_OK && grant(&b, 5, 60) == ERR_OK && put(&b, "k", "v", 5) == ERR_OK);
    EXPECT(apply(&b, &r) == ERR_LEASE_NOT_FOUND && b.n == 0 && lease_keys(&b, 5) == 1);
    r.expire.as_of = 4;
    EXPECT(apply(&b, &r) == ERR_OK && b.n == 1 && lease_keys(&b, 5) == SIZE_MAX);
    EXPECT(apply(&b, &r) == ERR_LEASE_NOT_FOUND);
    EXPECT(bench_close(&b));
}

TEST(machine_same_commands_same_digest)
{
    struct bench b, c;
    bench_open(&b);
    bench_open(&c);
    struct prng p = { 77 };
    for (int i = 0; i < 2000; i++) {
        EXPECT(random_command(&b, &p) && apply_bytes(&c, buf_all(&b.bytes)) == ERR_OK);
        EXPECT(b.m.digest == c.m.digest && b.reply.revision == c.reply.revision);
        if (i % 50 == 0) {
            EXPECT(leases_agree(&b));
            arena_reset(&b.arena);
            arena_reset(&c.arena);
        }
        kv_compact_step(i % 2 ? b.m.kv : c.m.kv, prng_below(&p, 30)); /* at each node's own pace */
    }
    machine_skip(&b.m, b.m.applied_index + 1, 2);
    EXPECT(b.m.applied_index == 2001 && b.m.applied_term == 2 && b.m.digest == c.m.digest);
    EXPECT(bench_close(&b) && bench_close(&c));
}

static enum err set_alarm(struct bench *b, uint64_t member, enum alarm_type type, bool drop)
{
    return apply(b, &(struct request){ .type = REQUEST_ALARM,
                                       .alarm = { .which = { member, type }, .drop = drop } });
}

static enum err look(struct bench *b, struct request r)
{
    machine_read(&b->m, &r, 0, &b->arena, &b->reply);
    return b->reply.err;
}

/* etcd apply/capped.go: what costs is refused; what frees, reads and disarms goes on. */
TEST(machine_alarm_nospace)
{
    struct bench b;
    bench_open(&b);
    struct kv_op put_op = { .type = KV_OP_PUT, .put = { .key = SPAN("k"), .value = SPAN("v") } };
    struct kv_op del_op = { .type = KV_OP_DELETE, .del = { .key = SPAN("k") } };
    struct kv_txn inner = { .failure = &put_op, .n_failure = 1 };
    struct kv_op txn_op = { .type = KV_OP_TXN, .txn = &inner };
    EXPECT(put(&b, "k", "v", 0) == ERR_OK && set_alarm(&b, 7, ALARM_NOSPACE, false) == ERR_OK);
    EXPECT(b.reply.alarms.n == 1 && b.reply.alarms.items[0].member == 7);
    EXPECT(put(&b, "k", "v", 0) == ERR_NOSPACE && grant(&b, 5, 60) == ERR_NOSPACE);
    struct request txn = { .type = REQUEST_TXN, .txn = { .success = &txn_op, .n_success = 1 } };
    EXPECT(apply(&b, &txn) == ERR_NOSPACE && request_cost(&txn) == 256 + 2);
    txn.txn.success = &del_op;
    EXPECT(request_cost(&txn) == 0 && apply(&b, &txn) == ERR_OK);
    EXPECT(look(&b, (struct request){ .type = REQUEST_RANGE, .range = { .key = SPAN("k") } }) ==
           ERR_OK);
    EXPECT(set_alarm(&b, 8, ALARM_NOSPACE, true) == ERR_OK && b.reply.alarms.n == 0);
    EXPECT(put(&b, "k", "v", 0) == ERR_NOSPACE);
    EXPECT(set_alarm(&b, 7, ALARM_NOSPACE, true) == ERR_OK && b.reply.alarms.n == 1);
    EXPECT(put(&b, "k", "v", 0) == ERR_OK && set_alarm(&b, 7, ALARM_NONE, false) == ERR_OK);
    EXPECT(b.reply.alarms.n == 0 && bench_close(&b));
}

/* etcd apply/corrupt.go; alarms come back from a checkpoint. */
TEST(machine_alarm_corrupt)
{
    struct bench b, c;
    struct buf all;
    size_t ends[8];
    bench_open(&b);
    bench_open(&c);
    buf_open(&all, &b.heap);
    struct request range = { .type = REQUEST_RANGE, .range = { .key = SPAN("k") } };
    struct request hash = { .type = REQUEST_HASH_ALL }, list = { .type = REQUEST_ALARM_LIST };
    EXPECT(grant(&b, 5, 60) == ERR_OK && put(&b, "k", "v", 5) == ERR_OK);
    EXPECT(look(&b, hash) == ERR_OK);
    uint32_t before = b.reply.hash.hash;
    EXPECT(set_alarm(&b, 7, ALARM_CORRUPT, false) == ERR_OK);
    EXPECT(look(&b, hash) == ERR_OK && b.reply.hash.hash != before);
    before = b.reply.hash.hash;
    EXPECT(put(&b, "k", "v", 0) == ERR_CORRUPT_CLUSTER && grant(&b, 6, 60) == ERR_CORRUPT_CLUSTER);
    EXPECT(look(&b, range) == ERR_CORRUPT_CLUSTER && b.reply.revision == 2);
    struct request compact = { .type = REQUEST_COMPACT, .compact = { .revision = 2 } };
    EXPECT(apply(&b, &compact) == ERR_CORRUPT_CLUSTER);
    size_t n = save_all(&b, &all, ends, 8);
    EXPECT(load_pieces(&c.m, &all, ends, n) == ERR_OK && c.m.alarms.n == 1);
    EXPECT(look(&c, hash) == ERR_OK && c.reply.hash.hash == before);
    EXPECT(look(&c, list) == ERR_OK && c.reply.alarms.n == 1);
    list.alarm.which.type = ALARM_NOSPACE;
    EXPECT(look(&c, list) == ERR_OK && c.reply.alarms.n == 0);
    EXPECT(set_alarm(&c, 7, ALARM_CORRUPT, true) == ERR_OK && look(&c, range) == ERR_OK);
    buf_close(&all);
    EXPECT(bench_close(&b) && bench_close(&c));
}

TEST(machine_downgrade_is_refused)
{
    struct arena arena;
    struct alloc heap;
    const struct {
        const char *version;
        enum err err;
    } cases[] = { { "3.5", ERR_DOWNGRADE_TARGET },        { "3.5.0", ERR_DOWNGRADE_TARGET },
                  { "3.5.0-rc.1", ERR_DOWNGRADE_TARGET }, { "", ERR_DOWNGRADE_FORMAT },
                  { "3", ERR_DOWNGRADE_FORMAT },          { "3.x", ERR_DOWNGRADE_FORMAT },
                  { "3.5.", ERR_DOWNGRADE_FORMAT },       { "3.5.0.1", ERR_DOWNGRADE_FORMAT } };
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request r = { .type = REQUEST_DOWNGRADE,
                             .downgrade = { .version = span_text(cases[i].version) } };
        EXPECT(request_check(&r, &arena) == cases[i].err);
        r.downgrade.cancel = true;
        EXPECT(request_check(&r, &arena) == ERR_OK);
    }
    arena_close(&arena);
}
