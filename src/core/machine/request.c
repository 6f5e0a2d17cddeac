#include "base/check.h"
#include "core/machine/machine.h"

bool request_of_auth(enum request_type type)
{
    return type >= REQUEST_AUTH_ENABLE && type <= REQUEST_AUTHENTICATE;
}

bool request_writes(const struct request *r)
{
    static const bool writes[REQUEST_TYPE_COUNT] = {
#define COMMAND(number, NAME, name, text) [REQUEST_##NAME] = true,
#include "core/machine/command.def"
#undef COMMAND
    };
    CHECK(r->type > REQUEST_NONE && r->type < REQUEST_TYPE_COUNT);
    return r->type == REQUEST_TXN ? kv_txn_writes(&r->txn) : writes[r->type];
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
    if (r->type == REQUEST_LEASE_GRANT && r->lease.ttl_s > LEASE_TTL_MAX_S)
        return ERR_LEASE_TTL_TOO_LARGE;
    return ERR_OK;
}
