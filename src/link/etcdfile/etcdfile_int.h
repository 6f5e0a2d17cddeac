/* etcdfile_int: what the files of this folder share. */
#pragma once
#include "base/check.h"
#include "core/auth/auth.h"
#include "link/etcdfile/etcdfile.h"

/* Big-endian, as etcd's keys are. */
static inline void etcdfile_put_number(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

enum err etcdfile_load_auth(const struct bbolt *db, bool enabled, uint64_t revision,
                            struct auth *auth, struct alloc *alloc) MUST_CHECK;
void etcdfile_write_auth(struct bbolt_writer *w, const struct auth *a, struct alloc *alloc);
