#include "base/hash.h"
#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wconversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t hash_bytes(struct span s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.data, s.len, seed);
}
