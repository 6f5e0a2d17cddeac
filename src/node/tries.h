/* tries: how many wrong passwords came of late, by whom they were said to be of and from where.
 *
 * A table of this node's memory that does not grow: eight places for the hashes that fall
 * together; the one that was counted longest ago gives way. The hash is salted, so nobody can
 * choose with whom to fall together. Pure; times are loop_now_ms. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    TRIES_SETS = 1024,
    TRIES_WAYS = 8,
    TRIES_WINDOW_MS = 60000,  /* from the first wrong one on */
    TRIES_ADDRESS_TIMES = 10, /* one address may fail for all users together so much more often */
};

struct tries {
    struct tries_place {
        uint64_t who;
        int64_t since_ms; /* 0: free */
        uint32_t wrong;
    } places[TRIES_SETS][TRIES_WAYS];
};

/* How long it is until who may try again after max wrong ones; 0: now. */
int64_t tries_wait_ms(const struct tries *t, uint64_t who, uint32_t max, int64_t now_ms);
void tries_wrong(struct tries *t, uint64_t who, int64_t now_ms);
void tries_right(struct tries *t, uint64_t who); /* what was counted is forgotten */
