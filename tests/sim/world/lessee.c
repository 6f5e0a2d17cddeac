/* Lessees: each is granted a lease, hangs a key on it, renews it for a while, and then revokes
 * it or lets it go. Nobody may take a lease away before the time that was promised. */
#include <stdio.h>
#include "base/check.h"
#include "wire/protobuf/etcd_pb.h"
#include "client.h"

enum { LESSEES_MAX = 4, TEXT_MAX = 32, TTL_MAX_S = 8, TIMEOUT_US = 3000000 };

enum step { GRANT, ATTACH, RENEW, REVOKE };

struct lessee {
    int number;
    struct door door;
    enum step step;
    bool answered;
    int renewals; /* to come */
    int64_t id, ttl_s, asked_us;
    uint64_t attempt;
    char key[TEXT_MAX];
};

static struct lessee lessees[LESSEES_MAX];
static bool stopping;

static void begin(void *context, uint64_t attempt);

static void later(struct lessee *l, int64_t in_us)
{
    world_call(world_us + in_us, begin, l, ++l->attempt);
}

static void start_over(struct lessee *l)
{
    l->step = GRANT;
    l->id = 0;
    l->renewals = (int)world_below(8);
    later(l, world_between(0, 2 * SECOND));
}

static void go_on(struct lessee *l)
{
    switch (l->step) {
    case GRANT:
        l->step = ATTACH;
        later(l, 0);
        return;
    case ATTACH:
    case RENEW:
        l->step = l->renewals-- > 0 ? RENEW : REVOKE;
        if (l->step == REVOKE && world_chance(60))
            start_over(l); /* time takes it */
        else
            later(l, world_between(0, l->ttl_s * SECOND * 2 / 3));
        return;
    case REVOKE:
        start_over(l);
        return;
    }
}

static const char *encode(struct lessee *l, struct buf *out)
{
    struct pb_lease_grant_request grant = { .ttl = world_between(1, TTL_MAX_S) };
    struct pb_put_request put = { .key = span_text(l->key), .value = SPAN("x"), .lease = l->id };
    struct pb_lease_keep_alive_request renew = { .id = l->id };
    struct pb_lease_revoke_request revoke = { .id = l->id };
    switch (l->step) {
    case GRANT:
        pb_lease_grant_request_encode(&grant, out);
        return "/etcdserverpb.Lease/LeaseGrant";
    case ATTACH:
        pb_put_request_encode(&put, out);
        return "/etcdserverpb.KV/Put";
    case RENEW:
        pb_lease_keep_alive_request_encode(&renew, out);
        return "/etcdserverpb.Lease/LeaseKeepAlive";
    case REVOKE:
        check_lease_free(l->id);
        pb_lease_revoke_request_encode(&revoke, out);
        return "/etcdserverpb.Lease/LeaseRevoke";
    }
    UNREACHABLE("a step");
}

static void timed_out(void *context, uint64_t attempt)
{
    struct lessee *l = context;
    if (l->attempt != attempt)
        return;
    door_close(&l->door);
    start_over(l);
}

static void begin(void *context, uint64_t attempt)
{
    struct lessee *l = context;
    struct buf message;
    if (l->attempt != attempt)
        return;
    if (stopping) {
        door_close(&l->door);
        return;
    }
    if (!door_is_open(&l->door))
        door_open(&l->door, &hosts[world_below((uint64_t)n_nodes)]);
    if (l->step == GRANT)
        snprintf(l->key, TEXT_MAX, "lease%d.%llu", l->number, (unsigned long long)attempt);
    l->asked_us = world_us;
    l->answered = false;
    trace("lessee %d step %d lease %llx by %s", l->number, l->step, (unsigned long long)l->id,
          l->door.to->name);
    buf_open(&message, &world_heap);
    const char *path = encode(l, &message);
    door_call(&l->door, path, buf_all(&message), true);
    buf_close(&message);
    world_call(world_us + TIMEOUT_US, timed_out, l, l->attempt);
}

static void take_grant(struct lessee *l, struct span message)
{
    struct pb_lease_grant_response r;
    if (pb_lease_grant_response_decode(message, &client_arena, &r) != ERR_OK || r.id <= 0 ||
        r.ttl < 1)
        violated("a grant that makes no sense");
    l->id = r.id;
    l->ttl_s = r.ttl;
    counts[COUNT_LEASES]++;
    check_lease(l->id, l->ttl_s, l->asked_us);
}

static void take_put(struct lessee *l, struct span message)
{
    struct pb_put_response r;
    if (pb_put_response_decode(message, &client_arena, &r) != ERR_OK || !r.header)
        violated("a put response that makes no sense");
    check_written(r.header->revision, span_text(l->key), SPAN("x"), false);
}

static void take_renewal(struct lessee *l, struct span message)
{
    struct pb_lease_keep_alive_response r;
    if (pb_lease_keep_alive_response_decode(message, &client_arena, &r) != ERR_OK || r.id != l->id)
        violated("a renewal that makes no sense");
    if (r.ttl <= 0) { /* gone: then nothing more was promised */
        l->renewals = 0;
        return;
    }
    counts[COUNT_RENEWALS]++;
    check_lease(l->id, r.ttl, l->asked_us);
}

static void on_message(void *context, struct span message)
{
    struct lessee *l = context;
    l->answered = true;
    if (l->step == GRANT)
        take_grant(l, message);
    else if (l->step == ATTACH)
        take_put(l, message);
    else if (l->step == RENEW)
        take_renewal(l, message);
}

static void on_over(void *context, int code, struct span text)
{
    struct lessee *l = context;
    trace("lessee %d: %d %.*s", l->number, code, (int)text.len, (const char *)text.data);
    if (code == 0 && l->answered) {
        go_on(l);
        return;
    }
    if (code == -1 || world_chance(30))
        door_close(&l->door);
    start_over(l);
}

void lessees_open(void)
{
    CHECK(plan.lessees <= LESSEES_MAX);
    stopping = false;
    for (int i = 0; i < plan.lessees; i++) {
        struct lessee *l = &lessees[i];
        char name[TEXT_MAX];
        *l = (struct lessee){ .number = i };
        snprintf(name, sizeof(name), "l%d", i);
        door_init(&l->door, host_add(false, name), l, on_message, on_over);
        start_over(l);
    }
}

void lessees_close(void)
{
    for (int i = 0; i < plan.lessees; i++)
        door_close(&lessees[i].door);
}

void lessees_stop(void)
{
    stopping = true;
}
