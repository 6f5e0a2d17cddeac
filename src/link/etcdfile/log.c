/* etcd's log (server/storage/wal): frames, each a length of 8 bytes and a record. The length's top
 * byte tells, with its highest bit set, how many bytes of padding follow, to a multiple of 8. Files
 * are made ahead of zeros: a length of 0 is the end. */
#include "link/etcdfile/etcdfile.h"
#include "wire/protobuf/etcdfile_pb.h"
#include "wire/protobuf/protobuf.h"

enum { RECORD_METADATA = 1, RECORD_ENTRY, RECORD_STATE, RECORD_CRC, RECORD_SNAPSHOT };
enum { ENTRY_NORMAL = 0 };

/* Fields of etcdserverpb.InternalRaftRequest that change what stands in a database and is taken
 * over: put, delete, transaction, compaction, leases; users and roles. The rest is about members,
 * alarms and versions. */
static bool changes(uint32_t field)
{
    return (field >= 4 && field <= 9) || field == 11 || (field >= 1000 && field < 1300);
}

static bool matters(const struct pb_wal_entry *e)
{
    struct span rest = e->data;
    struct pb_field field;
    if (e->type != ENTRY_NORMAL)
        return false;
    while (rest.len) {
        if (!pb_next(&rest, &field))
            return true; /* not what we know: rather once too often */
        if (changes(field.tag >> 3))
            return true;
    }
    return false;
}

static enum err take_entry(struct etcdfile_log *l, struct span data, struct arena *arena)
{
    struct pb_wal_entry e;
    if (pb_wal_entry_decode(data, arena, &e) != ERR_OK)
        return ERR_CORRUPT;
    if (l->beyond >= e.index)
        l->beyond = 0; /* what stood there before is void */
    if (e.index > l->after && !l->beyond && matters(&e))
        l->beyond = e.index;
    l->last = e.index;
    return ERR_OK;
}

enum err etcdfile_log(struct etcdfile_log *l, struct span file, struct arena *arena)
{
    bool any = false;
    uint64_t length;
    while (span_u64(&file, &length) && length != 0) {
        uint64_t padding = length >> 63 ? length >> 56 & 7 : 0;
        uint64_t size = length & UINT64_C(0xffffffffffffff);
        struct span record;
        struct pb_wal_record r;
        if (size > file.len || padding > file.len - size ||
            !span_take(&file, (size_t)size, &record))
            return any ? ERR_OK : ERR_CORRUPT;
        file = span_from(file, (size_t)padding);
        arena_reset(arena);
        if (pb_wal_record_decode(record, arena, &r) != ERR_OK || r.type < RECORD_METADATA ||
            r.type > RECORD_SNAPSHOT)
            return any ? ERR_OK : ERR_CORRUPT;
        if (!any && r.type != RECORD_CRC)
            return ERR_CORRUPT;
        any = true;
        if (r.type == RECORD_ENTRY && take_entry(l, r.data, arena) != ERR_OK)
            return ERR_CORRUPT;
    }
    return ERR_OK;
}
