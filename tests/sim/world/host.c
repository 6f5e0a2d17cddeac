/* Hosts: clocks, memory and the life of the process of each. */
#include "world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "node/node_int.h"
#include "wire/json/json.h"

#define WALL_START (INT64_C(1700000000) * SECOND)

enum { TURN_US_MAX = 120 };

struct host *host_here;
struct host hosts[HOSTS_MAX];
int n_hosts, n_nodes;

/* ---- memory: all that a process has can be given back at once ---- */

static void *process_resize(struct alloc *self, void *ptr, size_t size_old, size_t size_new)
{
    CHECK(self->used >= size_old && host_here);
    self->used += size_new - size_old;
    struct block *old = ptr ? (struct block *)ptr - 1 : NULL, *head = &host_here->blocks;
    if (old) {
        old->prev->next = old->next;
        old->next->prev = old->prev;
    }
    if (size_new == 0) {
        free(old);
        return NULL;
    }
    struct block *b = realloc(old, sizeof(*b) + size_new);
    CHECK(b != NULL);
    *b = (struct block){ .next = head->next, .prev = head };
    b->next->prev = head->next = b;
    return b + 1;
}

static void give_all_back(struct host *h)
{
    while (h->blocks.next != &h->blocks) {
        struct block *b = h->blocks.next;
        h->blocks.next = b->next;
        free(b);
    }
    h->blocks.prev = &h->blocks;
}

/* The linker puts this one in the place of base/alloc's. */
void __real_alloc_heap(struct alloc *out);
void __wrap_alloc_heap(struct alloc *out);
void __wrap_alloc_heap(struct alloc *out)
{
    if (host_here)
        *out = (struct alloc){ .resize = process_resize };
    else
        __real_alloc_heap(out);
}

/* ---- clocks ---- */

int64_t host_clock_us(const struct host *h)
{
    int64_t passed = world_us - h->then_us;
    return h->base_us + passed + passed * h->rate_ppm / 1000000;
}

void host_skew(struct host *h, int64_t rate_ppm)
{
    h->base_us = host_clock_us(h);
    h->then_us = world_us;
    h->rate_ppm = rate_ppm;
    if (h->up)
        host_kick(h, world_us);
}

/* ---- running ---- */

bool host_inside(struct host *h, void (*call)(struct host *, void *), void *context)
{
    bool died = false;
    CHECK(!host_here);
    host_here = h;
    if (h->node)
        jsonr_use(&h->node->json_alloc);
    if (setjmp(h->death) == 0)
        call(h, context);
    else
        died = true;
    host_here = NULL;
    if (!died)
        return true;
    if (!disk_failed(h->disk))
        violated("%s ended itself: %s", h->name, h->why);
    counts[COUNT_DEATHS]++;
    trace("%s died: %s", h->name, h->why);
    host_kill(h, false);
    return false;
}

static void serve(struct host *h, void *context)
{
    CHECK(!context);
    bool begun = node_serve(h->node);
    if (!loop_is_stopped(h))
        return;
    h->gave_up = !begun;
    if (h->gave_up)
        return;
    if (h->node->failed && h->wiped) {
        counts[COUNT_WIPED_REFUSED]++;
        h->retired = true;
    } else if (h->node->failed && h->leaves) {
        h->retired = true;
    } else if (h->node->failed) {
        violated("%s would not go on: %s", h->name, h->why);
    }
    node_close(h->node);
    h->node = NULL;
    h->up = false;
}

static void stopped(struct host *h)
{
    trace("%s has stopped", h->name);
    if (h->blocks.next != &h->blocks)
        violated("%s stopped and did not give all memory back", h->name);
    net_host_ended(h, false);
    disk_ended(h->disk, false);
    h->generation++;
}

static void turn(void *context, uint64_t generation)
{
    struct host *h = context;
    if (generation != h->generation || h->turn_us != world_us || !h->up)
        return;
    h->turn_us = INT64_MAX;
    if (world_us < h->frozen_us || world_us < h->busy_us) {
        host_kick(h, world_us);
        return;
    }
    if (!host_inside(h, serve, NULL))
        return;
    if (h->gave_up) {
        trace("%s did not join: %s", h->name, h->why);
        host_kill(h, false);
        return;
    }
    if (!h->up) {
        stopped(h);
        return;
    }
    h->busy_us = world_us + world_between(1, TURN_US_MAX);
    check_turn(h);
    host_kick(h, loop_next_us(h));
}

void host_kick(struct host *h, int64_t at_us)
{
    int64_t ready_us = h->busy_us > h->frozen_us ? h->busy_us : h->frozen_us;
    at_us = at_us < ready_us ? ready_us : at_us < world_us ? world_us : at_us;
    if (at_us == INT64_MAX || h->turn_us <= at_us)
        return;
    h->turn_us = at_us;
    world_call(at_us, turn, h, h->generation);
}

/* ---- life ---- */

struct host *host_add(bool is_node, const char *name)
{
    CHECK(n_hosts < HOSTS_MAX && (!is_node || n_nodes == n_hosts));
    struct host *h = &hosts[n_hosts];
    *h = (struct host){ .number = n_hosts, .is_node = is_node };
    n_hosts++;
    n_nodes += is_node;
    snprintf(h->name, sizeof(h->name), "%s", name);
    snprintf(h->address, sizeof(h->address), "10.0.0.%d", h->number + 1);
    h->blocks.next = h->blocks.prev = &h->blocks;
    h->wall_us = WALL_START;
    h->base_us = world_between(SECOND, 1000 * SECOND);
    h->turn_us = INT64_MAX;
    h->generation = 1;
    if (is_node)
        h->disk = disk_open();
    return h;
}

void host_close_all(void)
{
    for (int i = 0; i < n_hosts; i++) {
        if (hosts[i].up)
            host_kill(&hosts[i], false);
        if (hosts[i].disk)
            disk_close(hosts[i].disk);
    }
    n_hosts = n_nodes = 0;
}

struct starting {
    struct params params;
    bool ok;
};

static void start(struct host *h, void *context)
{
    struct starting *s = context;
    h->node = node_open(&s->params, setup.segment_bytes);
    s->ok = h->node != NULL;
}

bool host_start(struct host *h)
{
    static struct starting s;
    char why[PARAM_WHY_MAX];
    CHECK(!h->up && h->is_node);
    h->why[0] = 0;
    h->gave_up = false;
    h->busy_us = world_us;
    h->turn_us = INT64_MAX;
    h->generation++;
    world_params(h, &s.params, why);
    s.ok = false;
    h->up = true;
    h->dark = false;
    counts[COUNT_STARTS]++;
    if (!host_inside(h, start, &s))
        return false;
    if (!s.ok) {
        h->node = NULL;
        trace("%s does not start: %s", h->name, h->why);
        host_kill(h, false);
        return false;
    }
    check_started(h);
    host_kick(h, world_us);
    return true;
}

void host_kill(struct host *h, bool power)
{
    CHECK(h->up && !host_here);
    loop_ended(h);
    net_host_ended(h, power);
    disk_ended(h->disk, power);
    give_all_back(h);
    h->node = NULL;
    h->up = false;
    h->dark = power;
    h->turn_us = INT64_MAX;
    h->frozen_us = 0;
    h->generation++;
}

void host_stop(struct host *h)
{
    CHECK(h->up);
    loop_signal(h);
}

void host_freeze(struct host *h, int64_t for_us)
{
    h->frozen_us = world_us + for_us;
    h->turn_us = INT64_MAX;
    host_kick(h, h->frozen_us);
}
