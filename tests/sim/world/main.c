/* `sim_world`: runs whole nodes in a false world, one seed after the other, until seeds or seconds
 * are used up.
 *
 *     sim_world [--seed N [--trace] [--history FILE]]
 *     sim_world [--first N] [--seeds COUNT | --seconds S] [--nodes N]
 *
 * Without --nodes the seed chooses 1, 3 or 5.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "node/node_int.h"
#include "client.h"
#include "fault.h"
#include "operator.h"

enum { STEPS_MAX = 5000000, STEP_US = 200000, WAIT_MAX_US = 120000000, LEASES_GONE_S = 40 };

struct options {
    uint64_t seed, seeds;
    int64_t seconds;
    int nodes;
    bool trace;
    const char *history;
};

struct world_setup setup;
static uint64_t totals[COUNTS];

/* ---- one run ---- */

static void make_plan(void)
{
    plan = (struct plan){ .clients = (int)world_between(1, 8),
                          .watchers = (int)world_between(1, 5),
                          .lessees = (int)world_between(0, 3),
                          .keys = (int)world_between(2, 8),
                          .think_us = world_chance(30) ? 2 * MS : world_between(5 * MS, 300 * MS),
                          .timeout_us = world_between(SECOND, 8 * SECOND),
                          .read_percent = (int)world_between(10, 70),
                          .serializable_percent = (int)world_below(40),
                          .delete_percent = (int)world_below(10),
                          .cas_percent = (int)world_below(15),
                          .move_percent = (int)world_below(10),
                          .compact = world_chance(50) };
    plan.replace = world_chance(40);
    plan.fill_percent = world_chance(50) ? (int)world_between(5, 40) : 0;
    setup = (struct world_setup){
        .checkpoint_bytes = world_between(4 << 10, world_chance(50) ? 64 << 10 : 2 << 20),
        .keep_bytes = world_chance(50) ? world_between(0, 64 << 10) : 64 << 20,
        .watch_queue_bytes = world_chance(50) ? world_between(4 << 10, 64 << 10) : 1 << 20,
        /* The largest batch has to fit. */
        .segment_bytes = plan.fill_percent ? 16 << 20 : 1 << 20,
        .leader_lease_ms = world_chance(40) ? world_between(50, 800) : 0,
    };
    setup.checkpoint_percent = setup.checkpoint_bytes % 4 == 0 ? 50 : 0;
}

static void wait_for(bool (*done)(void), const char *what)
{
    int64_t until_us = world_us + WAIT_MAX_US;
    while (!done()) {
        if (world_us > until_us)
            violated("all is well, but in %d s %s", (int)(WAIT_MAX_US / SECOND), what);
        world_run(world_us + STEP_US);
    }
}

static bool all_up(void)
{
    for (int i = 0; i < n_nodes; i++)
        if (!hosts[i].up)
            return false;
    return true;
}

static bool all_equal(void)
{
    for (int i = 0; i < n_nodes; i++)
        if (!hosts[i].up ||
            hosts[i].node->machine.applied_index != hosts[0].node->machine.applied_index)
            return false;
    return true;
}

static bool watched_all(void)
{
    return watchers_seen() >= kv_revision(hosts[0].node->machine.kv);
}

static bool leases_gone(void)
{
    for (int i = 0; i < n_nodes; i++)
        if (!hosts[i].up || lease_count(hosts[i].node->machine.lease) > 0)
            return false;
    return true;
}

static void save_history(const char *path)
{
    struct buf out;
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    buf_open(&out, &world_heap);
    for (size_t i = 0; i < history.ops.n; i++)
        linear_write(&history.ops.items[i], &out);
    fwrite(out.data, 1, out.len, f);
    fclose(f);
    buf_close(&out);
}

static void check_history(const struct options *o)
{
    struct buf why;
    buf_open(&why, &world_heap);
    if (o->history)
        save_history(o->history);
    enum linear_verdict v = linear_check(&history, STEPS_MAX, &why);
    if (v != LINEAR_YES)
        violated("%.*s", (int)why.len, (const char *)why.data);
    buf_close(&why);
}

static void finish(const struct options *o)
{
    trace("everything is healed");
    faults_stop();
    lessees_stop();
    operator_stop();
    wait_for(operator_idle, "the operator is not done");
    wait_for(all_up, "not all nodes are up");
    clients_stop();
    wait_for(clients_idle, "a client still waits for an answer");
    clients_final();
    wait_for(clients_final_done, "not every node has answered");
    wait_for(leases_gone, "a lease that nobody renews is still there");
    wait_for(all_equal, "not all nodes have applied the same");
    wait_for(watched_all, "a watcher has not come to the end");
    check_end(kv_revision(hosts[0].node->machine.kv));
    check_history(o);
}

static void stop_all(void)
{
    clients_close();
    watchers_close();
    lessees_close();
    operator_close();
    faults_end();
    for (int i = 0; i < n_nodes; i++)
        if (hosts[i].up)
            host_stop(&hosts[i]);
    world_run(world_us + 30 * SECOND);
    for (int i = 0; i < n_nodes; i++)
        if (hosts[i].up)
            violated("%s does not stop", hosts[i].name);
}

static void run(const struct options *o, uint64_t seed)
{
    memset(counts, 0, sizeof(counts));
    world_open(seed, o->trace);
    check_open();
    make_plan();
    static const int sizes[] = { 1, 3, 3, 3, 5 };
    int n = sizes[world_below(sizeof(sizes) / sizeof(*sizes))];
    n = o->nodes ? o->nodes : n;
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i + 1);
        host_add(true, name);
    }
    clients_open();
    watchers_open();
    lessees_open();
    plan.replace = plan.replace && n_nodes > 1;
    operator_open();
    faults_open();
    world_run(world_between(5 * SECOND, 40 * SECOND));
    finish(o);
    stop_all();
    check_close();
    world_close();
    for (int i = 0; i < COUNTS; i++)
        totals[i] += counts[i];
}

/* ---- many ---- */

static bool read_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            o->trace = true;
            continue;
        }
        if (!value)
            return false;
        if (strcmp(argv[i], "--seed") == 0) {
            o->seed = strtoull(value, NULL, 10);
            o->seeds = 1;
        } else if (strcmp(argv[i], "--first") == 0)
            o->seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            o->seeds = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = strtoll(value, NULL, 10);
        else if (strcmp(argv[i], "--nodes") == 0)
            o->nodes = atoi(value);
        else if (strcmp(argv[i], "--history") == 0)
            o->history = value;
        else
            return false;
        i++;
    }
    return o->nodes >= 0 && o->nodes <= NODES_MAX;
}

int main(int argc, char **argv)
{
    static const char *const texts[] = {
#define COUNT(NAME, text) text,
#include "count.def"
#undef COUNT
    };
    struct options o = { .seed = 1, .seeds = 10 };
    time_t begun = time(NULL);
    uint64_t done = 0;
    if (!read_options(argc, argv, &o)) {
        fprintf(stderr, "usage: sim_world [--seed N | --first N] [--seeds COUNT] [--seconds S] "
                        "[--nodes N] [--trace] [--history FILE]\n");
        return 2;
    }
    for (; o.seconds ? time(NULL) - begun < o.seconds : done < o.seeds; done++)
        run(&o, o.seed + done);
    for (int i = 0; i < COUNTS; i++)
        if (totals[i])
            printf("%12llu %s\n", (unsigned long long)totals[i], texts[i]);
    printf("%llu passed, 0 failed\n", (unsigned long long)done);
    return 0;
}
