#include "node/tries.h"
#include "base/test.h"

static struct tries counted;

TEST(tries_are_counted_for_a_while)
{
    counted = (struct tries){ .places = { { { 0 } } } };
    for (int i = 0; i < 3; i++) {
        EXPECT(tries_wait_ms(&counted, 7, 3, 1000 + i) == 0);
        tries_wrong(&counted, 7, 1000 + i);
    }
    EXPECT(tries_wait_ms(&counted, 7, 3, 2000) == TRIES_WINDOW_MS - 1000);
    EXPECT(tries_wait_ms(&counted, 7, 4, 2000) == 0 && tries_wait_ms(&counted, 8, 3, 2000) == 0);
    EXPECT(tries_wait_ms(&counted, 7, 3, 1000 + TRIES_WINDOW_MS) == 0);
    tries_wrong(&counted, 7, 1000 + TRIES_WINDOW_MS); /* counted from there on */
    EXPECT(tries_wait_ms(&counted, 7, 3, 1000 + TRIES_WINDOW_MS) == 0);
    EXPECT(tries_wait_ms(&counted, 7, 1, 1000 + TRIES_WINDOW_MS) == TRIES_WINDOW_MS);
    tries_right(&counted, 7);
    EXPECT(tries_wait_ms(&counted, 7, 1, 1000 + TRIES_WINDOW_MS) == 0);
}

TEST(tries_of_the_longest_ago_give_way)
{
    counted = (struct tries){ .places = { { { 0 } } } };
    for (uint64_t i = 0; i <= TRIES_WAYS; i++)
        tries_wrong(&counted, 5 + i * TRIES_SETS, 1000 + (int64_t)i);
    EXPECT(tries_wait_ms(&counted, 5, 1, 2000) == 0); /* the first of them */
    for (uint64_t i = 1; i <= TRIES_WAYS; i++)
        EXPECT(tries_wait_ms(&counted, 5 + i * TRIES_SETS, 1, 2000) > 0);
}
