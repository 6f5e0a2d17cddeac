#include "core/machine/command.h"
#include "base/check.h"

enum put_flag { PUT_PREV_KV = 1, PUT_IGNORE_VALUE = 2, PUT_IGNORE_LEASE = 4, PUT_FLAGS = 7 };
enum delete_flag { DELETE_PREV_KV = 1, DELETE_FLAGS = 1 };
enum range_flag { RANGE_KEYS_ONLY = 1, RANGE_COUNT_ONLY = 2, RANGE_FILTERS = 4, RANGE_FLAGS = 7 };

/* ---- writing ---- */

static void encode_number(struct buf *out, int64_t v)
{
    buf_varint(out, (uint64_t)v);
}

/* A wire enum, as the client sent it: it need not be one that we know. */
static void encode_choice(struct buf *out, int32_t v)
{
    buf_varint(out, (uint32_t)v);
}

static void encode_bytes(struct buf *out, struct span s)
{
    buf_varint(out, s.len);
    buf_span(out, s);
}

static void encode_put_body(struct buf *out, const struct kv_put *p)
{
    buf_u8(out, (uint8_t)(p->prev_kv * PUT_PREV_KV | p->ignore_value * PUT_IGNORE_VALUE |
                          p->ignore_lease * PUT_IGNORE_LEASE));
    buf_u8(out, p->type);
    encode_number(out, p->lease);
    encode_bytes(out, p->key);
    encode_bytes(out, p->value);
}

static void encode_delete_body(struct buf *out, const struct kv_delete *d)
{
    buf_u8(out, d->prev_kv ? DELETE_PREV_KV : 0);
    encode_bytes(out, d->key);
    encode_bytes(out, d->range_end);
}

static void encode_range_body(struct buf *out, const struct kv_range *r)
{
    bool filters = r->min_mod || r->max_mod || r->min_create || r->max_create;
    buf_u8(out, (uint8_t)(r->keys_only * RANGE_KEYS_ONLY | r->count_only * RANGE_COUNT_ONLY |
                          filters * RANGE_FILTERS));
    encode_bytes(out, r->key);
    encode_bytes(out, r->range_end);
    encode_number(out, r->limit);
    encode_number(out, r->revision);
    encode_choice(out, r->order);
    encode_choice(out, r->target);
    if (!filters)
        return;
    encode_number(out, r->min_mod);
    encode_number(out, r->max_mod);
    encode_number(out, r->min_create);
    encode_number(out, r->max_create);
}

static void encode_compare(struct buf *out, const struct kv_compare *c)
{
    encode_choice(out, c->target);
    encode_choice(out, c->result);
    encode_bytes(out, c->key);
    encode_bytes(out, c->range_end);
    if (c->target == KV_IF_VALUE)
        encode_bytes(out, c->value);
    else
        encode_number(out, c->number);
}

static void encode_txn_body(struct buf *out, const struct kv_txn *t);

static void encode_ops(struct buf *out, const struct kv_op *ops, size_t n)
{
    buf_varint(out, n);
    for (size_t i = 0; i < n; i++) {
        buf_u8(out, (uint8_t)ops[i].type);
        switch (ops[i].type) {
        case KV_OP_RANGE:
            encode_range_body(out, &ops[i].range);
            break;
        case KV_OP_PUT:
            encode_put_body(out, &ops[i].put);
            break;
        case KV_OP_DELETE:
            encode_delete_body(out, &ops[i].del);
            break;
        case KV_OP_TXN:
            encode_txn_body(out, ops[i].txn);
            break;
        case KV_OP_NONE:
        default:
            UNREACHABLE("request_check refuses it");
        }
    }
}

static void encode_txn_body(struct buf *out, const struct kv_txn *t)
{
    buf_varint(out, t->n_compares);
    for (size_t i = 0; i < t->n_compares; i++)
        encode_compare(out, &t->compares[i]);
    encode_ops(out, t->success, t->n_success);
    encode_ops(out, t->failure, t->n_failure);
}

static void encode_put(struct buf *out, const struct request *r)
{
    encode_put_body(out, &r->put);
}

static void encode_delete(struct buf *out, const struct request *r)
{
    encode_delete_body(out, &r->del);
}

static void encode_txn(struct buf *out, const struct request *r)
{
    encode_txn_body(out, &r->txn);
}

static void encode_compact(struct buf *out, const struct request *r)
{
    encode_number(out, r->compact.revision);
}

static void encode_lease_grant(struct buf *out, const struct request *r)
{
    CHECK(r->lease.id != 0);
    encode_number(out, r->lease.id);
    encode_number(out, r->lease.ttl_s < LEASE_TTL_MIN_S ? LEASE_TTL_MIN_S : r->lease.ttl_s);
}

static void encode_lease_revoke(struct buf *out, const struct request *r)
{
    encode_number(out, r->lease.id);
}

static void encode_lease_note(struct buf *out, const struct request *r)
{
    CHECK(r->notes.n > 0 && r->notes.n <= LEASE_NOTES_MAX);
    buf_varint(out, r->notes.as_of);
    buf_varint(out, r->notes.n);
    for (size_t i = 0; i < r->notes.n; i++) {
        encode_number(out, r->notes.items[i].id);
        encode_number(out, r->notes.items[i].remaining_ms);
    }
}

static void encode_lease_expire(struct buf *out, const struct request *r)
{
    buf_varint(out, r->expire.as_of);
    encode_number(out, r->expire.id);
}

static void encode_level(struct buf *out, const struct request *r)
{
    buf_u8(out, r->level);
}

static void encode_nothing(struct buf *out, const struct request *r)
{
    (void)out, (void)r;
}
#define encode_auth_enable encode_nothing
#define encode_auth_disable encode_nothing

static void encode_user_password(struct buf *out, const struct request *r)
{
    encode_bytes(out, r->auth.user);
    encode_bytes(out, r->auth.hash);
}

static void encode_user_add(struct buf *out, const struct request *r)
{
    encode_user_password(out, r);
    buf_u8(out, r->auth.no_password);
}

static void encode_user_delete(struct buf *out, const struct request *r)
{
    encode_bytes(out, r->auth.user);
}

static void encode_user_grant(struct buf *out, const struct request *r)
{
    encode_bytes(out, r->auth.user);
    encode_bytes(out, r->auth.role);
}
#define encode_user_revoke encode_user_grant

static void encode_role_add(struct buf *out, const struct request *r)
{
    encode_bytes(out, r->auth.role);
}
#define encode_role_delete encode_role_add

static void encode_role_revoke(struct buf *out, const struct request *r)
{
    encode_bytes(out, r->auth.role);
    encode_bytes(out, r->auth.permission.key);
    encode_bytes(out, r->auth.permission.range_end);
}

static void encode_role_grant(struct buf *out, const struct request *r)
{
    encode_role_revoke(out, r);
    buf_u8(out, r->auth.has_permission);
    encode_choice(out, r->auth.permission.right);
}

static void encode_authenticate(struct buf *out, const struct request *r)
{
    CHECK(r->auth.token_hash.len == AUTH_TOKEN_HASH_BYTES);
    encode_bytes(out, r->auth.user);
    buf_span(out, r->auth.token_hash);
    buf_varint(out, r->auth.checked_revision);
}

static void encode_alarm(struct buf *out, const struct request *r)
{
    buf_u8(out, r->alarm.drop);
    buf_u8(out, (uint8_t)r->alarm.which.type);
    buf_varint(out, r->alarm.which.member);
}

static void encode_limit_delete(struct buf *out, const struct request *r)
{
    buf_u8(out, r->limit.kind);
    encode_bytes(out, r->limit.name);
}

static void encode_limit_set(struct buf *out, const struct request *r)
{
    encode_limit_delete(out, r);
    encode_number(out, r->limit.keys_max);
    encode_number(out, r->limit.bytes_max);
    encode_number(out, r->limit.rate);
    encode_number(out, r->limit.burst);
}

/* ---- reading ---- */

/* Once something is missing or wrong, bad is set and everything reads as zero. */
struct reader {
    struct span rest;
    struct arena *arena;
    bool bad;
};

static uint8_t take_byte(struct reader *r, uint8_t max)
{
    uint8_t v = 0;
    r->bad = r->bad || !span_u8(&r->rest, &v) || v > max;
    return r->bad ? 0 : v;
}

static uint64_t take_varint(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    r->bad = r->bad || !span_varint(&r->rest, &v) || v > max;
    return r->bad ? 0 : v;
}

static int64_t take_number(struct reader *r)
{
    return (int64_t)take_varint(r, UINT64_MAX);
}

static int32_t take_choice(struct reader *r)
{
    return (int32_t)take_varint(r, UINT32_MAX);
}

static struct span take_bytes(struct reader *r)
{
    struct span out = SPAN_NONE;
    uint64_t len = take_varint(r, r->rest.len);
    r->bad = r->bad || !span_take(&r->rest, (size_t)len, &out);
    return out;
}

/* How many things follow: each takes a byte at least. */
static size_t take_count(struct reader *r)
{
    size_t n = (size_t)take_varint(r, KV_OPS_MAX);
    r->bad = r->bad || n > r->rest.len;
    return r->bad ? 0 : n;
}

static void decode_put_body(struct reader *r, struct kv_put *out)
{
    uint8_t flags = take_byte(r, PUT_FLAGS);
    *out = (struct kv_put){ .prev_kv = flags & PUT_PREV_KV,
                            .ignore_value = flags & PUT_IGNORE_VALUE,
                            .ignore_lease = flags & PUT_IGNORE_LEASE };
    out->type = take_byte(r, KV_TYPE_COUNT - 1);
    out->lease = take_number(r);
    out->key = take_bytes(r);
    out->value = take_bytes(r);
}

static void decode_delete_body(struct reader *r, struct kv_delete *out)
{
    *out = (struct kv_delete){ .prev_kv = take_byte(r, DELETE_FLAGS) & DELETE_PREV_KV };
    out->key = take_bytes(r);
    out->range_end = take_bytes(r);
}

static void decode_range_body(struct reader *r, struct kv_range *out)
{
    uint8_t flags = take_byte(r, RANGE_FLAGS);
    *out = (struct kv_range){ .keys_only = flags & RANGE_KEYS_ONLY,
                              .count_only = flags & RANGE_COUNT_ONLY };
    out->key = take_bytes(r);
    out->range_end = take_bytes(r);
    out->limit = take_number(r);
    out->revision = take_number(r);
    out->order = take_choice(r);
    out->target = take_choice(r);
    if (!(flags & RANGE_FILTERS))
        return;
    out->min_mod = take_number(r);
    out->max_mod = take_number(r);
    out->min_create = take_number(r);
    out->max_create = take_number(r);
}

static void decode_compare(struct reader *r, struct kv_compare *out)
{
    *out = (struct kv_compare){ .target = take_choice(r) };
    out->result = take_choice(r);
    out->key = take_bytes(r);
    out->range_end = take_bytes(r);
    if (out->target == KV_IF_VALUE)
        out->value = take_bytes(r);
    else
        out->number = take_number(r);
}

static void decode_txn_body(struct reader *r, int depth, struct kv_txn *out);

static void decode_op(struct reader *r, int depth, struct kv_op *out)
{
    struct kv_txn *txn;
    out->type = (enum kv_op_type)take_byte(r, KV_OP_TXN);
    switch (out->type) {
    case KV_OP_RANGE:
        decode_range_body(r, &out->range);
        break;
    case KV_OP_PUT:
        decode_put_body(r, &out->put);
        break;
    case KV_OP_DELETE:
        decode_delete_body(r, &out->del);
        break;
    case KV_OP_TXN:
        txn = ARENA_NEW(r->arena, struct kv_txn);
        out->txn = txn;
        decode_txn_body(r, depth + 1, txn);
        break;
    case KV_OP_NONE:
    default:
        r->bad = true;
    }
}

static const struct kv_op *decode_ops(struct reader *r, int depth, size_t *n)
{
    *n = take_count(r);
    struct kv_op *ops = ARENA_ARRAY(r->arena, struct kv_op, *n);
    for (size_t i = 0; i < *n && !r->bad; i++)
        decode_op(r, depth, &ops[i]);
    return ops;
}

static void decode_txn_body(struct reader *r, int depth, struct kv_txn *out)
{
    *out = (struct kv_txn){ 0 };
    r->bad = r->bad || depth > COMMAND_DEPTH_MAX;
    out->n_compares = take_count(r);
    struct kv_compare *compares = ARENA_ARRAY(r->arena, struct kv_compare, out->n_compares);
    for (size_t i = 0; i < out->n_compares && !r->bad; i++)
        decode_compare(r, &compares[i]);
    out->compares = compares;
    out->success = decode_ops(r, depth, &out->n_success);
    out->failure = decode_ops(r, depth, &out->n_failure);
}

static void decode_put(struct reader *r, struct request *out)
{
    decode_put_body(r, &out->put);
}

static void decode_delete(struct reader *r, struct request *out)
{
    decode_delete_body(r, &out->del);
}

static void decode_txn(struct reader *r, struct request *out)
{
    decode_txn_body(r, 1, &out->txn);
}

static void decode_compact(struct reader *r, struct request *out)
{
    out->compact.revision = take_number(r);
}

static void decode_lease_grant(struct reader *r, struct request *out)
{
    out->lease.id = take_number(r);
    out->lease.ttl_s = (int64_t)take_varint(r, INT64_MAX);
    r->bad = r->bad || out->lease.id == 0 || out->lease.ttl_s < LEASE_TTL_MIN_S;
}

static void decode_lease_revoke(struct reader *r, struct request *out)
{
    out->lease.id = take_number(r);
}

static void decode_lease_note(struct reader *r, struct request *out)
{
    out->notes.as_of = take_varint(r, UINT64_MAX);
    size_t n = (size_t)take_varint(r, LEASE_NOTES_MAX);
    r->bad = r->bad || n == 0 || n > r->rest.len / 2; /* each takes two bytes at least */
    n = r->bad ? 0 : n;
    struct lease_note *items = ARENA_ARRAY(r->arena, struct lease_note, n);
    for (size_t i = 0; i < n; i++) {
        items[i].id = take_number(r);
        items[i].remaining_ms = (int64_t)take_varint(r, LEASE_TTL_MAX_S * 1000);
    }
    out->notes.items = items;
    out->notes.n = n;
}

static void decode_lease_expire(struct reader *r, struct request *out)
{
    out->expire.as_of = take_varint(r, UINT64_MAX);
    out->expire.id = take_number(r);
}

static void decode_level(struct reader *r, struct request *out)
{
    out->level = take_byte(r, UINT8_MAX);
    r->bad = r->bad || out->level <= MACHINE_LEVEL_FIRST;
}

static void decode_nothing(struct reader *r, struct request *out)
{
    (void)r, (void)out;
}
#define decode_auth_enable decode_nothing
#define decode_auth_disable decode_nothing

static void decode_user_password(struct reader *r, struct request *out)
{
    out->auth.user = take_bytes(r);
    out->auth.hash = take_bytes(r);
}

static void decode_user_add(struct reader *r, struct request *out)
{
    decode_user_password(r, out);
    out->auth.no_password = take_byte(r, 1);
}

static void decode_user_delete(struct reader *r, struct request *out)
{
    out->auth.user = take_bytes(r);
}

static void decode_user_grant(struct reader *r, struct request *out)
{
    out->auth.user = take_bytes(r);
    out->auth.role = take_bytes(r);
}
#define decode_user_revoke decode_user_grant

static void decode_role_add(struct reader *r, struct request *out)
{
    out->auth.role = take_bytes(r);
}
#define decode_role_delete decode_role_add

static void decode_role_revoke(struct reader *r, struct request *out)
{
    out->auth.role = take_bytes(r);
    out->auth.permission.key = take_bytes(r);
    out->auth.permission.range_end = take_bytes(r);
}

static void decode_role_grant(struct reader *r, struct request *out)
{
    decode_role_revoke(r, out);
    out->auth.has_permission = take_byte(r, 1);
    out->auth.permission.right = take_choice(r);
}

static void decode_authenticate(struct reader *r, struct request *out)
{
    out->auth.user = take_bytes(r);
    r->bad = r->bad || !span_take(&r->rest, AUTH_TOKEN_HASH_BYTES, &out->auth.token_hash);
    out->auth.checked_revision = take_varint(r, UINT64_MAX);
}

static void decode_alarm(struct reader *r, struct request *out)
{
    out->alarm.drop = take_byte(r, 1);
    out->alarm.which.type = take_byte(r, ALARM_TYPES - 1);
    out->alarm.which.member = take_varint(r, UINT64_MAX);
}

static void decode_limit_delete(struct reader *r, struct request *out)
{
    out->limit = (struct limit_rule){ .kind = take_byte(r, LIMIT_USER) };
    out->limit.name = take_bytes(r);
    r->bad = r->bad || out->limit.kind < LIMIT_PREFIX || out->limit.name.len > LIMIT_NAME_MAX;
}

static void decode_limit_set(struct reader *r, struct request *out)
{
    decode_limit_delete(r, out);
    out->limit.keys_max = take_number(r);
    out->limit.bytes_max = take_number(r);
    out->limit.rate = take_number(r);
    out->limit.burst = take_number(r);
    r->bad = r->bad || limit_check(&out->limit) != ERR_OK;
}

/* ---- both ---- */

static const struct codec {
    enum request_type type;
    uint8_t since;
    void (*encode)(struct buf *out, const struct request *r);
    void (*decode)(struct reader *r, struct request *out);
} codecs[] = {
#define COMMAND(number, NAME, name, since, text)                                                   \
    [number] = { REQUEST_##NAME, since, encode_##name, decode_##name },
#include "core/machine/command.def"
#undef COMMAND
};

enum { CODECS = sizeof(codecs) / sizeof(codecs[0]) };

void machine_command(const struct request *r, int64_t now_ms, int64_t lease_id, struct buf *out)
{
    CHECK(request_writes(r) && now_ms >= 0);
    size_t number = 1;
    while (number < CODECS && codecs[number].type != r->type)
        number++;
    CHECK(number < CODECS);
    if (r->auth_revision) {
        buf_u8(out, COMMAND_PROVEN);
        buf_varint(out, r->auth_revision);
    }
    buf_u8(out, (uint8_t)number);
    encode_number(out, now_ms);
    encode_bytes(out, r->author);
    struct request whole = *r;
    if (r->type == REQUEST_LEASE_GRANT && r->lease.id == 0)
        whole.lease.id = lease_id;
    codecs[number].encode(out, &whole);
}

/* The number, and behind it what it is a number of; PROVEN is looked through. */
static enum err read_number(struct reader *r, uint8_t *number, uint64_t *proven)
{
    *proven = 0;
    *number = take_byte(r, UINT8_MAX);
    if (*number == COMMAND_PROVEN) {
        *proven = take_varint(r, UINT64_MAX);
        *number = take_byte(r, UINT8_MAX);
        r->bad = r->bad || *proven == 0;
    }
    if (r->bad || *number == 0 || *number == COMMAND_PROVEN)
        return ERR_CORRUPT;
    bool known = *number < CODECS && codecs[*number].decode;
    return known && codecs[*number].since <= MACHINE_LEVEL ? ERR_OK : ERR_FORMAT;
}

bool machine_command_of_auth(struct span command)
{
    struct reader r = { command, NULL, false };
    uint8_t number;
    uint64_t proven;
    return read_number(&r, &number, &proven) == ERR_OK && request_of_auth(codecs[number].type);
}

enum err machine_command_read(struct span command, struct arena *arena, struct request *out)
{
    struct command c;
    enum err e = command_decode(command, arena, &c);
    *out = c.request;
    return e;
}

enum err command_decode(struct span bytes, struct arena *arena, struct command *out)
{
    *out = (struct command){ 0 };
    struct reader r = { bytes, arena, false };
    uint8_t number;
    uint64_t proven;
    enum err e = read_number(&r, &number, &proven);
    if (e != ERR_OK)
        return e;
    out->number = (enum command_number)number;
    out->now_ms = (int64_t)take_varint(&r, INT64_MAX);
    out->request.type = codecs[number].type;
    out->request.author = take_bytes(&r);
    out->request.auth_revision = proven;
    codecs[number].decode(&r, &out->request);
    if (r.bad || r.rest.len)
        return ERR_CORRUPT;
    /* What comes after it may be anything. */
    return out->number == COMMAND_LEVEL && out->request.level > MACHINE_LEVEL ? ERR_FORMAT : ERR_OK;
}
