/* prng: repeatable numbers from a seed (splitmix64). Not for secrets. */
#pragma once
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *p)
{
    uint64_t z = (p->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number from 0 to below limit; limit > 0. */
static inline uint64_t prng_below(struct prng *p, uint64_t limit)
{
    return (uint64_t)(((unsigned __int128)prng_next(p) * limit) >> 64);
}
