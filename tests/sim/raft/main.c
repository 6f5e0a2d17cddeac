/* sim_raft: runs seeds. --seed N: one; --seeds N: so many; --first N: from here on; --seconds N:
 * for so long; --failures N: ends after so many; --lease: leaders
 * have a lease in every run; --trace: every event. */
#include "sim.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"

static struct world world;
static struct counters count;

static void say_seed(void)
{
    fprintf(stderr, "seed %llu: at %.3f s a check failed; again: sim_raft --seed %llu%s --trace\n",
            (unsigned long long)world.seed, (double)world.now / SECOND,
            (unsigned long long)world.seed, world.lease ? " --lease" : "");
}

/* Of the sanitizers, where they are linked. */
void __sanitizer_set_death_callback(void (*call)(void)) __attribute__((weak));

static bool run(uint64_t seed, bool trace, bool lease)
{
    char problem[sizeof(world.problem)];
    world_open(&world, seed, &count, trace, lease);
    world_run(&world);
    world_close(&world);
    count.seeds++;
    memcpy(problem, world.problem, sizeof(problem));
    if (!problem[0])
        return true;
    printf("seed %llu: %s\nagain: sim_raft --seed %llu%s --trace\n", (unsigned long long)seed,
           problem, (unsigned long long)seed, lease ? " --lease" : "");
    return false;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 20, failed = 0, enough = 5;
    long seconds = 0;
    bool trace = false, one = false, lease = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[i], "--lease") == 0)
            lease = true;
        else if (strcmp(argv[i], "--seed") == 0)
            one = true;
        if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--first") == 0)
            first = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--failures") == 0)
            enough = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtol(value, NULL, 10);
    }
    time_t end = time(NULL) + seconds;
    check_hook = say_seed;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_seed);
    if (one)
        seeds = 1;
    for (uint64_t i = 0; failed < enough && (seconds && !one ? time(NULL) < end : i < seeds); i++)
        failed += !run(first + i, trace, lease);
#define X(name) printf("%s %llu\n", #name, (unsigned long long)count.name);
    COUNTERS(X)
#undef X
    printf("%llu passed, %llu failed\n", (unsigned long long)(count.seeds - failed),
           (unsigned long long)failed);
    return failed ? 1 : 0;
}
