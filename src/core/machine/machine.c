#include "core/machine/machine.h"

void machine_open(struct machine *m, struct alloc *alloc)
{
    *m = (struct machine){ .kv = kv_open(alloc), .lease = lease_open(alloc), .alloc = alloc };
}

void machine_close(struct machine *m)
{
    kv_close(m->kv);
    lease_close(m->lease);
    *m = (struct machine){ 0 };
}
