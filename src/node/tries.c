#include "node/tries.h"
#include <stddef.h>
#include "base/check.h"

static struct tries_place *find(const struct tries *t, uint64_t who)
{
    const struct tries_place *set = t->places[who % TRIES_SETS];
    for (int i = 0; i < TRIES_WAYS; i++)
        if (set[i].since_ms && set[i].who == who)
            return (struct tries_place *)(uintptr_t)&set[i];
    return NULL;
}

int64_t tries_wait_ms(const struct tries *t, uint64_t who, uint32_t max, int64_t now_ms)
{
    const struct tries_place *p = find(t, who);
    int64_t left = p ? p->since_ms + TRIES_WINDOW_MS - now_ms : 0;
    return p && p->wrong >= max && left > 0 ? left : 0;
}

void tries_wrong(struct tries *t, uint64_t who, int64_t now_ms)
{
    struct tries_place *p = find(t, who), *set = t->places[who % TRIES_SETS];
    CHECK(now_ms > 0);
    if (!p) {
        p = &set[0];
        for (int i = 1; i < TRIES_WAYS; i++)
            if (set[i].since_ms < p->since_ms)
                p = &set[i];
        *p = (struct tries_place){ .who = who };
    }
    if (!p->since_ms || now_ms - p->since_ms >= TRIES_WINDOW_MS)
        *p = (struct tries_place){ .who = who, .since_ms = now_ms };
    p->wrong += p->wrong < UINT32_MAX;
}

void tries_right(struct tries *t, uint64_t who)
{
    struct tries_place *p = find(t, who);
    if (p)
        *p = (struct tries_place){ .who = 0 };
}
