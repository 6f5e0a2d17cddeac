/* The methods of the contract, from the services in proto/, with what this build has. */
#include "api/etcd/etcd_int.h"

struct built {
    const char *path;
    enum etcd_kind kind;
    enum request_type type;
};

/* Every method of etcd has a line. */
static const struct built built[] = {
    { "/etcdserverpb.KV/Range", ETCD_UNARY, REQUEST_RANGE },
    { "/etcdserverpb.KV/RangeStream", ETCD_RANGE_STREAM, REQUEST_RANGE },
    { "/etcdserverpb.KV/Put", ETCD_UNARY, REQUEST_PUT },
    { "/etcdserverpb.KV/DeleteRange", ETCD_UNARY, REQUEST_DELETE },
    { "/etcdserverpb.KV/Txn", ETCD_UNARY, REQUEST_TXN },
    { "/etcdserverpb.KV/Compact", ETCD_UNARY, REQUEST_COMPACT },
    { "/etcdserverpb.Watch/Watch", ETCD_WATCH, REQUEST_WATCH_ADD },
    { "/etcdserverpb.Lease/LeaseGrant", ETCD_UNARY, REQUEST_LEASE_GRANT },
    { "/etcdserverpb.Lease/LeaseRevoke", ETCD_UNARY, REQUEST_LEASE_REVOKE },
    { "/etcdserverpb.Lease/LeaseKeepAlive", ETCD_KEEP_ALIVE, REQUEST_LEASE_RENEW },
    { "/etcdserverpb.Lease/LeaseTimeToLive", ETCD_UNARY, REQUEST_LEASE_LOOK },
    { "/etcdserverpb.Lease/LeaseLeases", ETCD_UNARY, REQUEST_LEASE_LIST },
    { "/etcdserverpb.Cluster/MemberList", ETCD_UNARY, REQUEST_MEMBERS },
    { "/etcdserverpb.Cluster/MemberAdd", ETCD_UNARY, REQUEST_MEMBER_ADD },
    { "/etcdserverpb.Cluster/MemberRemove", ETCD_UNARY, REQUEST_MEMBER_REMOVE },
    { "/etcdserverpb.Cluster/MemberUpdate", ETCD_UNARY, REQUEST_MEMBER_UPDATE },
    { "/etcdserverpb.Cluster/MemberPromote", ETCD_UNARY, REQUEST_MEMBER_PROMOTE },
    { "/etcdserverpb.Maintenance/MoveLeader", ETCD_UNARY, REQUEST_MOVE_LEADER },
    { "/etcdserverpb.Maintenance/Status", ETCD_UNARY, REQUEST_STATUS },
    { "/etcdserverpb.Maintenance/HashKV", ETCD_UNARY, REQUEST_HASH },
    { "/etcdserverpb.Auth/AuthEnable", ETCD_UNARY, REQUEST_AUTH_ENABLE },
    { "/etcdserverpb.Auth/AuthDisable", ETCD_UNARY, REQUEST_AUTH_DISABLE },
    { "/etcdserverpb.Auth/AuthStatus", ETCD_UNARY, REQUEST_AUTH_STATUS },
    { "/etcdserverpb.Auth/Authenticate", ETCD_UNARY, REQUEST_AUTHENTICATE },
    { "/etcdserverpb.Auth/UserAdd", ETCD_UNARY, REQUEST_USER_ADD },
    { "/etcdserverpb.Auth/UserGet", ETCD_UNARY, REQUEST_USER_GET },
    { "/etcdserverpb.Auth/UserList", ETCD_UNARY, REQUEST_USER_LIST },
    { "/etcdserverpb.Auth/UserDelete", ETCD_UNARY, REQUEST_USER_DELETE },
    { "/etcdserverpb.Auth/UserChangePassword", ETCD_UNARY, REQUEST_USER_PASSWORD },
    { "/etcdserverpb.Auth/UserGrantRole", ETCD_UNARY, REQUEST_USER_GRANT },
    { "/etcdserverpb.Auth/UserRevokeRole", ETCD_UNARY, REQUEST_USER_REVOKE },
    { "/etcdserverpb.Auth/RoleAdd", ETCD_UNARY, REQUEST_ROLE_ADD },
    { "/etcdserverpb.Auth/RoleGet", ETCD_UNARY, REQUEST_ROLE_GET },
    { "/etcdserverpb.Auth/RoleList", ETCD_UNARY, REQUEST_ROLE_LIST },
    { "/etcdserverpb.Auth/RoleDelete", ETCD_UNARY, REQUEST_ROLE_DELETE },
    { "/etcdserverpb.Auth/RoleGrantPermission", ETCD_UNARY, REQUEST_ROLE_GRANT },
    { "/etcdserverpb.Auth/RoleRevokePermission", ETCD_UNARY, REQUEST_ROLE_REVOKE },
    { "/etcdserverpb.Maintenance/Snapshot", ETCD_SNAPSHOT, REQUEST_SNAPSHOT },
    { "/etcdserverpb.Maintenance/Hash", ETCD_UNARY, REQUEST_HASH_ALL },
    { "/etcdserverpb.Maintenance/Alarm", ETCD_UNARY, REQUEST_ALARM },
    { "/etcdserverpb.Maintenance/Defragment", ETCD_UNARY, REQUEST_DEFRAGMENT },
    { "/etcdserverpb.Maintenance/Downgrade", ETCD_UNARY, REQUEST_DOWNGRADE },
    { "/v3lockpb.Lock/Lock", ETCD_UNARY, REQUEST_LOCK },
    { "/v3lockpb.Lock/Unlock", ETCD_UNARY, REQUEST_UNLOCK },
    { "/v3electionpb.Election/Campaign", ETCD_UNARY, REQUEST_CAMPAIGN },
    { "/v3electionpb.Election/Proclaim", ETCD_UNARY, REQUEST_PROCLAIM },
    { "/v3electionpb.Election/Leader", ETCD_UNARY, REQUEST_LEADER },
    { "/v3electionpb.Election/Observe", ETCD_OBSERVE, REQUEST_OBSERVE },
    { "/v3electionpb.Election/Resign", ETCD_UNARY, REQUEST_RESIGN },
    { "/grpc.health.v1.Health/Check", ETCD_UNARY, REQUEST_HEALTH },
    { "/grpc.health.v1.Health/Watch", ETCD_HEALTH_WATCH, REQUEST_HEALTH },
    { "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ETCD_REFLECTION, REQUEST_NONE },
    { "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ETCD_REFLECTION,
      REQUEST_NONE },
};

static struct etcd_method table[] = {
#define PB_METHOD(path, service, name, request, response, ins, outs)                               \
    { path, service, name, ETCD_UNARY, 0 },
#include "wire/protobuf/etcd_methods.def"
#undef PB_METHOD
#define PB_METHOD(path, service, name, request, response, ins, outs)                               \
    { path, service, name, outs ? ETCD_FLAGD_STREAM : ETCD_FLAGD, 0 },
#include "wire/protobuf/flagd_methods.def"
#undef PB_METHOD
};
enum { COUNT = sizeof(table) / sizeof(table[0]) };

static enum request_type types[COUNT];

/* Filled in once, before main: afterwards it is only read. */
__attribute__((constructor)) static void fill(void)
{
    for (int i = 0; i < COUNT; i++) {
        table[i].number = i;
        for (size_t k = 0; k < sizeof(built) / sizeof(built[0]); k++)
            if (strcmp(table[i].path, built[k].path) == 0) {
                table[i].kind = built[k].kind;
                types[i] = built[k].type;
            }
    }
}

enum request_type etcd_type(const struct etcd_method *m)
{
    return types[m->number];
}

const struct etcd_method *etcd_method_find(struct span path)
{
    for (int i = 0; i < COUNT; i++)
        if (span_is(path, table[i].path))
            return &table[i];
    return NULL;
}

const struct etcd_method *etcd_method_at(int number)
{
    return &table[number];
}

int etcd_method_count(void)
{
    return COUNT;
}

int etcd_status(enum err e, const char **text)
{
    *text = err_text(e);
    return err_grpc(e);
}
