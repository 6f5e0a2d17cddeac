/* bbolt_int: the shapes on disk, shared by writing and reading. */
#pragma once
#include "wire/bbolt/bbolt.h"

enum {
    PAGE_HEAD = 16,   /* number u64, flags u16, items u16, further pages u32 */
    LEAF_ITEM = 16,   /* flags u32, place u32 (from this item), key size u32, value size u32 */
    BRANCH_ITEM = 16, /* place u32, key size u32, page u64 */
    BUCKET_HEAD = 16, /* root page u64 (0: the page follows), sequence u64 */
    META_BYTES = 64,  /* magic, version, page size, flags u32; root bucket; freelist page, pages,
                        * transaction u64; checksum u64 over what is before */
    META_PAGES = 2,
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_META = 0x04,
    PAGE_FREELIST = 0x10,
    ITEM_BUCKET = 0x01,
    META_VERSION = 2,
};
#define META_MAGIC UINT32_C(0xED0CDAED)

/* FNV-1a, 64 bits. */
static inline uint64_t meta_checksum(const uint8_t *p)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < META_BYTES - 8; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}
