#include "base/check.h"
#include "core/machine/machine.h"

bool request_of_auth(enum request_type type)
{
    return type >= REQUEST_AUTH_ENABLE && type <= REQUEST_AUTHENTICATE;
}

bool request_writes(const struct request *r)
{
    static const bool writes[REQUEST_TYPE_COUNT] = {
#define COMMAND(number, NAME, name, since, text) [REQUEST_##NAME] = true,
#include "core/machine/command.def"
#undef COMMAND
    };
    CHECK(r->type > REQUEST_NONE && r->type < REQUEST_TYPE_COUNT);
    return r->type == REQUEST_TXN ? kv_txn_writes(&r->txn) : writes[r->type];
}

static bool take_digits(struct span *s)
{
    size_t n = 0;
    while (n < s->len && s->data[n] >= '0' && s->data[n] <= '9')
        n++;
    *s = span_from(*s, n);
    return n > 0;
}

static bool take_dot(struct span *s)
{
    bool is = s->len && s->data[0] == '.';
    *s = span_from(*s, is);
    return is;
}

/* "3.5" or "3.5.0-rc.1". etcd goes back by one minor version at most, when all that is stored can
 * be written as the older one had it. What is stored here is no release's of etcd: there is
 * nothing to go back to. */
static enum err check_downgrade(struct span version)
{
    struct span s = version;
    bool good = take_digits(&s) && take_dot(&s) && take_digits(&s);
    if (good && s.len)
        good = take_dot(&s) && take_digits(&s) && (!s.len || s.data[0] == '-' || s.data[0] == '+');
    return good ? ERR_DOWNGRADE_TARGET : ERR_DOWNGRADE_FORMAT;
}

unsigned request_since(const struct request *r)
{
    static const uint8_t levels[REQUEST_TYPE_COUNT] = {
#define COMMAND(number, NAME, name, since, text) [REQUEST_##NAME] = since,
#include "core/machine/command.def"
#undef COMMAND
    };
    CHECK(r->type > REQUEST_NONE && r->type < REQUEST_TYPE_COUNT);
    return levels[r->type];
}

const char *request_name(enum request_type type)
{
    static const char *const names[REQUEST_TYPE_COUNT] = {
#define COMMAND(number, NAME, name, since, text) [REQUEST_##NAME] = #name,
#include "core/machine/command.def"
#undef COMMAND
    };
    CHECK(type > REQUEST_NONE && type < REQUEST_TYPE_COUNT);
    return names[type];
}

enum err request_check(const struct request *r, struct arena *arena)
{
    CHECK(r->type > REQUEST_NONE && r->type < REQUEST_TYPE_COUNT);
    if (r->type == REQUEST_RANGE)
        return kv_check_range(&r->range);
    if (r->type == REQUEST_PUT)
        return kv_check_put(&r->put);
    if (r->type == REQUEST_DELETE)
        return kv_check_delete(&r->del);
    if (r->type == REQUEST_TXN)
        return kv_check_txn(&r->txn, arena);
    if (r->type == REQUEST_LIMIT_SET)
        return limit_check(&r->limit);
    if (r->type == REQUEST_LEASE_GRANT && r->lease.ttl_s > LEASE_TTL_MAX_S)
        return ERR_LEASE_TTL_TOO_LARGE;
    if ((r->type == REQUEST_PROCLAIM || r->type == REQUEST_RESIGN) && !r->election.has_leader)
        return ERR_LEADER_KEY_MISSING;
    if (r->type == REQUEST_DOWNGRADE && !r->downgrade.cancel)
        return check_downgrade(r->downgrade.version);
    return ERR_OK;
}

/* ---- what alarms and quotas make of it ---- */

enum { PUT_COST = 256, LEASE_COST = 64 }; /* etcd storage/quota.go */

static int64_t put_cost(const struct kv_put *p)
{
    return PUT_COST + (int64_t)p->key.len + (int64_t)p->value.len;
}

static int64_t txn_cost(const struct kv_txn *t);

static int64_t ops_cost(const struct kv_op *ops, size_t n)
{
    int64_t cost = 0;
    for (size_t i = 0; i < n; i++)
        cost += ops[i].type == KV_OP_PUT   ? put_cost(&ops[i].put)
                : ops[i].type == KV_OP_TXN ? txn_cost(ops[i].txn)
                                           : 0;
    return cost;
}

/* Of the branch that costs more. */
static int64_t txn_cost(const struct kv_txn *t)
{
    int64_t yes = ops_cost(t->success, t->n_success), no = ops_cost(t->failure, t->n_failure);
    return yes > no ? yes : no;
}

int64_t request_cost(const struct request *r)
{
    return r->type == REQUEST_PUT           ? put_cost(&r->put)
           : r->type == REQUEST_TXN         ? txn_cost(&r->txn)
           : r->type == REQUEST_LEASE_GRANT ? LEASE_COST
                                            : 0;
}

/* A lease that the leader has found expired goes all the same: nobody may count on its keys. */
enum err request_barred(const struct alarms *alarms, const struct request *r)
{
    static const bool trusts[REQUEST_TYPE_COUNT] = {
        [REQUEST_RANGE] = true,        [REQUEST_TXN] = true,     [REQUEST_PUT] = true,
        [REQUEST_DELETE] = true,       [REQUEST_COMPACT] = true, [REQUEST_LEASE_GRANT] = true,
        [REQUEST_LEASE_REVOKE] = true,
    };
    if (trusts[r->type] && alarm_any(alarms, ALARM_CORRUPT))
        return ERR_CORRUPT_CLUSTER;
    return alarm_any(alarms, ALARM_NOSPACE) && request_cost(r) > 0 ? ERR_NOSPACE : ERR_OK;
}
