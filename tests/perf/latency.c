#include <time.h>
#include "load.h"

static int bucket_of(int64_t us)
{
    if (us < HISTOGRAM_STEPS)
        return us < 0 ? 0 : (int)us;
    int octave = 63 - __builtin_clzll((uint64_t)us) - 4; /* 32..63 is octave 1 */
    int i = octave * HISTOGRAM_STEPS + (int)(us >> (octave - 1)) - HISTOGRAM_STEPS;
    int last = HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1;
    return i < last ? i : last;
}

static int64_t value_of(int i)
{
    int octave = i / HISTOGRAM_STEPS;
    return octave == 0 ? i : (int64_t)(i % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << (octave - 1);
}

void latency_add(struct latency *l, int64_t us)
{
    l->buckets[bucket_of(us)]++;
    l->count++;
    if (us > l->max_us)
        l->max_us = us;
}

int64_t latency_at(const struct latency *l, double share)
{
    uint64_t want = (uint64_t)(share * (double)l->count), seen = 0;
    for (int i = 0; i < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS; i++) {
        seen += l->buckets[i];
        if (seen > want)
            return value_of(i);
    }
    return l->max_us;
}

int64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
