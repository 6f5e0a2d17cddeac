/* What goes wrong, and when. Each seed takes a part of the kinds of faults, so that each of them is
 * met alone and with any other. */
#include "fault.h"
#include "base/check.h"
#include "node/node_int.h"
#include "operator.h"

enum { GAP_MIN_US = 50000 };

enum fault {
    KILL,
    POWER,
    STOP,
    FREEZE,
    PARTITION,
    ONE_WAY,
    SLOW_LINK,
    BREAK,
    SLOW_DISK,
    FULL_DISK,
    DISK_ERROR,
    ROT,
    SKEW,
    JUMP,
    WIPE,
    FAULTS
};

static unsigned chosen; /* one bit a kind */
static bool stopping, over;
static int64_t gap_us;
static struct net_link normal;

static struct host *any_node(void)
{
    return &hosts[world_below((uint64_t)n_nodes)];
}

static void links_normal(void)
{
    for (int i = 0; i < n_hosts; i++)
        for (int k = 0; k < n_hosts; k++)
            net_links[i][k] = normal;
}

/* ---- coming back ---- */

static void come_back(void *context, uint64_t generation)
{
    struct host *h = context;
    char what[WHY_MAX] = "";
    if (h->up || h->generation != generation || over)
        return;
    if (h->retired) { /* until it is added */
        h->noticed = 0;
        return;
    }
    bool rotten = (chosen >> ROT & 1) && !stopping && world_chance(40) && disk_rot(h->disk, what);
    if (rotten) {
        counts[COUNT_ROTS]++;
        trace("%s: a bit of %s is flipped", h->name, what);
    }
    trace("%s starts", h->name);
    bool up = host_start(h);
    if (rotten)
        disk_heal(h->disk);
    if (up)
        return;
    if (rotten)
        counts[COUNT_REFUSED]++;
    else if (!disk_was_hit(h->disk))
        violated("%s does not start: %s", h->name, h->why);
    world_call(world_us + 100 * MS, come_back, h, h->generation);
}

/* A process that ended itself, for its disk failed; or that was told to stop. */
static void watch_over(void *context, uint64_t what)
{
    CHECK(context == NULL && what == 0);
    for (int i = 0; i < n_nodes && !over; i++) {
        struct host *h = &hosts[i];
        if (h->up || h->retired || h->noticed == h->generation)
            continue;
        h->noticed = h->generation;
        world_call(world_us + world_between(0, 2 * SECOND), come_back, h, h->generation);
    }
    if (!over)
        world_call(world_us + 100 * MS, watch_over, NULL, 0);
}

static void kill_node(struct host *h, bool power)
{
    if (!h->up)
        return;
    counts[power ? COUNT_POWER : COUNT_KILLS]++;
    trace("%s %s", h->name, power ? "loses power" : "is killed");
    host_kill(h, power);
}

/* ---- the network ---- */

static void heal_links(void *context, uint64_t what)
{
    CHECK(context == NULL && what == 0);
    trace("links are well again");
    links_normal();
}

/* Nodes fall into two sides; clients go with one of them or see both. */
static void partition(bool one_way)
{
    bool side[HOSTS_MAX];
    for (int i = 0; i < n_hosts; i++)
        side[i] = world_chance(50);
    if (n_nodes > 1 && world_chance(50)) { /* one alone: often the leader */
        for (int i = 0; i < n_nodes; i++)
            side[i] = false;
        side[world_below((uint64_t)n_nodes)] = true;
    }
    bool clients_too = world_chance(50) || n_nodes == 1;
    counts[one_way ? COUNT_ONE_WAY : COUNT_PARTITIONS]++;
    for (int i = 0; i < n_hosts; i++)
        for (int k = 0; k < n_hosts; k++)
            if (side[i] && !side[k] && (clients_too || (i < n_nodes && k < n_nodes))) {
                net_block(&hosts[i], &hosts[k], true);
                if (!one_way)
                    net_block(&hosts[k], &hosts[i], true);
                if (i < n_nodes && k < n_nodes)
                    trace("%s no longer reaches %s%s", hosts[i].name, hosts[k].name,
                          one_way ? "" : ", nor back");
            }
    world_call(world_us + world_between(100 * MS, 6 * SECOND), heal_links, NULL, 0);
}

static void slow_link(void)
{
    struct host *h = any_node();
    counts[COUNT_SLOW_LINKS]++;
    trace("links of %s are slow", h->name);
    for (int i = 0; i < n_hosts; i++) {
        struct net_link slow = { .delay_us = world_between(0, 300 * MS),
                                 .jitter_us = world_between(0, 300 * MS),
                                 .bytes_per_second = world_between(5000, 1000000) };
        net_links[h->number][i] = slow;
        if (world_chance(50))
            net_links[i][h->number] = slow;
    }
    world_call(world_us + world_between(SECOND, 6 * SECOND), heal_links, NULL, 0);
}

/* ---- disks ---- */

static void disk_normal(void *context, uint64_t what)
{
    struct host *h = context;
    CHECK(what == 0);
    h->disk_slow_us = 0;
    disk_bound(h->disk, UINT64_MAX);
}

static void slow_disk(struct host *h)
{
    counts[COUNT_SLOW_DISKS]++;
    h->disk_slow_us = world_between(5 * MS, 2 * SECOND);
    trace("%s has a slow disk: %lld us", h->name, (long long)h->disk_slow_us);
    world_call(world_us + world_between(SECOND, 8 * SECOND), disk_normal, h, 0);
}

static void full_disk(struct host *h)
{
    counts[COUNT_FULL_DISKS]++;
    disk_bound(h->disk, world_below(40 << 20));
    trace("%s has a full disk", h->name);
    world_call(world_us + world_between(SECOND, 8 * SECOND), disk_normal, h, 0);
}

/* ---- all of them ---- */

static void skew(struct host *h)
{
    counts[COUNT_SKEWS]++;
    host_skew(h, world_chance(50) ? world_between(-300, 300) : world_between(-90000, 90000));
    trace("%s's clock runs %lld ppm fast", h->name, (long long)h->rate_ppm);
}

static void jump(struct host *h)
{
    counts[COUNT_JUMPS]++;
    h->wall_us += world_between(-100 * SECOND, 100 * SECOND) * (world_chance(10) ? 100000 : 1);
    trace("%s's wall clock jumps", h->name);
}

static void wipe(struct host *h)
{
    if (!h->up || !operator_may_wipe(h))
        return;
    counts[COUNT_WIPED]++;
    trace("%s loses its disk", h->name);
    h->wiped = true;
    h->wiped_id = h->node->header.member_id;
    host_kill(h, true);
    disk_wipe(h->disk);
}

static void meet(enum fault fault, struct host *h)
{
    switch (fault) {
    case KILL:
    case POWER:
        kill_node(h, fault == POWER);
        return;
    case STOP:
        if (!h->up)
            return;
        counts[COUNT_STOPS]++;
        trace("%s is told to stop", h->name);
        host_stop(h);
        return;
    case FREEZE:
        counts[COUNT_FREEZES]++;
        trace("%s freezes", h->name);
        if (h->up)
            host_freeze(h, world_between(10 * MS, 6 * SECOND));
        return;
    case PARTITION:
    case ONE_WAY:
        partition(fault == ONE_WAY);
        return;
    case SLOW_LINK:
        slow_link();
        return;
    case BREAK:
        counts[COUNT_BREAKS]++;
        net_break_some((int)world_between(10, 100));
        return;
    case SLOW_DISK:
        slow_disk(h);
        return;
    case FULL_DISK:
        full_disk(h);
        return;
    case DISK_ERROR:
        counts[COUNT_DISK_ERRORS]++;
        disk_fail_soon(h->disk, world_below(60));
        return;
    case ROT: /* when it starts again */
        kill_node(h, false);
        return;
    case SKEW:
        skew(h);
        return;
    case JUMP:
        jump(h);
        return;
    case WIPE:
        wipe(h);
        return;
    case FAULTS:
        break;
    }
    UNREACHABLE("a fault");
}

static void strike(void *context, uint64_t what)
{
    CHECK(context == NULL && what == 0);
    if (stopping)
        return;
    enum fault fault = (enum fault)world_below(FAULTS);
    while (chosen && !(chosen >> fault & 1))
        fault = (fault + 1) % FAULTS;
    if (chosen)
        meet(fault, any_node());
    world_call(world_us + world_between(GAP_MIN_US, gap_us), strike, NULL, 0);
}

void faults_open(void)
{
    bool far = world_chance(15); /* between sites */
    stopping = over = false;
    normal = (struct net_link){ .delay_us = far ? world_between(5 * MS, 60 * MS)
                                                : world_between(50, 600),
                                .jitter_us = far ? 5 * MS : world_between(0, 2 * MS),
                                .bytes_per_second = 100 << 20 };
    links_normal();
    chosen = (unsigned)world_below(1u << FAULTS);
    if (world_chance(40))
        chosen &= (unsigned)world_below(1u << FAULTS);
    if (world_chance(5))
        chosen = 0;
    gap_us = world_between(200 * MS, 5 * SECOND);
    world_call(world_us + world_between(0, 3 * SECOND), strike, NULL, 0);
    world_call(world_us, watch_over, NULL, 0);
}

void faults_stop(void)
{
    stopping = true;
    links_normal();
    for (int i = 0; i < n_nodes; i++) {
        struct host *h = &hosts[i];
        disk_normal(h, 0);
        disk_heal(h->disk);
        disk_calm(h->disk);
        host_skew(h, world_between(-200, 200));
    }
}

void faults_end(void)
{
    over = true;
}
