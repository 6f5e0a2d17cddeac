#include "core/machine/machine.h"

void machine_open(struct machine *m, struct alloc *alloc)
{
    *m = (struct machine){ .kv = kv_open(alloc),
                           .lease = lease_open(alloc),
                           .auth = auth_open(alloc),
                           .limit = limit_open(alloc),
                           .level = MACHINE_LEVEL_FIRST,
                           .alloc = alloc };
    buf_open(&m->members, alloc);
}

void machine_close(struct machine *m)
{
    kv_close(m->kv);
    lease_close(m->lease);
    auth_close(m->auth);
    limit_close(m->limit);
    buf_close(&m->members);
    *m = (struct machine){ 0 };
}

void machine_reset(struct machine *m)
{
    struct alloc *alloc = m->alloc;
    machine_close(m);
    machine_open(m, alloc);
}
