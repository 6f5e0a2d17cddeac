#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "cli/cli_int.h"

struct lease_call {
    const struct options *o;
    struct arena *arena;
    struct buf request;
    struct span answer;
};

static int call(struct lease_call *c, const char *path)
{
    int status = call_once(c->o, path, &c->request, c->arena, &c->answer);
    buf_close(&c->request);
    return status;
}

/* {"id": "...", "name": number} or a line for people: "lease ID said number unit". */
static void tell(const struct options *o, int64_t id, const char *name, int64_t number,
                 const char *said)
{
    unsigned long long hex = (unsigned long long)id;
    if (o->json)
        printf("{\"id\":\"%llx\",\"%s\":%lld}\n", hex, name, (long long)number);
    else if (number >= 0)
        printf("lease %llx %s %lld s\n", hex, said, (long long)number);
    else
        printf("lease %llx %s\n", hex, said);
    fflush(stdout);
}

static int grant(struct lease_call *c, int64_t ttl)
{
    struct pb_lease_grant_request m = { .ttl = ttl };
    struct pb_lease_grant_response r;
    pb_lease_grant_request_encode(&m, &c->request);
    int status = call(c, "/etcdserverpb.Lease/LeaseGrant");
    if (status == EXIT_DONE && pb_lease_grant_response_decode(c->answer, c->arena, &r) == ERR_OK)
        tell(c->o, r.id, "ttl", r.ttl, "granted with TTL");
    return status;
}

static int revoke(struct lease_call *c, int64_t id)
{
    struct pb_lease_revoke_request m = { .id = id };
    pb_lease_revoke_request_encode(&m, &c->request);
    int status = call(c, "/etcdserverpb.Lease/LeaseRevoke");
    if (status == EXIT_DONE)
        tell(c->o, id, "ttl", -1, "revoked");
    return status;
}

static int time_to_live(struct lease_call *c, int64_t id)
{
    struct pb_lease_time_to_live_request m = { .id = id, .keys = c->o->keys };
    struct pb_lease_time_to_live_response r;
    pb_lease_time_to_live_request_encode(&m, &c->request);
    int status = call(c, "/etcdserverpb.Lease/LeaseTimeToLive");
    if (status != EXIT_DONE)
        return status;
    if (pb_lease_time_to_live_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    if (r.ttl < 0)
        return cli_complain(EXIT_REFUSED, "lease %llx does not live", (unsigned long long)id);
    tell(c->o, r.id, "ttl", r.ttl, "still lives for");
    for (size_t i = 0; i < r.n_keys && !c->o->json; i++)
        print_bytes(r.keys[i]);
    return EXIT_DONE;
}

static int list(struct lease_call *c)
{
    struct pb_lease_leases_response r;
    int status = call(c, "/etcdserverpb.Lease/LeaseLeases");
    if (status != EXIT_DONE)
        return status;
    if (pb_lease_leases_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    if (c->o->json)
        fputs("{\"leases\":[", stdout);
    for (size_t i = 0; i < r.n_leases; i++)
        printf(c->o->json ? "%s\"%llx\"" : "%s%llx\n", c->o->json && i ? "," : "",
               (unsigned long long)r.leases[i].id);
    if (c->o->json)
        puts("]}");
    return EXIT_DONE;
}

/* Renews every third of the TTL until the lease is gone or somebody interrupts. */
static int keep_alive(struct lease_call *c, int64_t id)
{
    struct pb_lease_keep_alive_request m = { .id = id };
    struct client *client = client_open(c->o);
    if (!client)
        return EXIT_UNREACHABLE;
    pb_lease_keep_alive_request_encode(&m, &c->request);
    int status = client_begin(client, "/etcdserverpb.Lease/LeaseKeepAlive");
    while (status == EXIT_DONE) {
        struct pb_lease_keep_alive_response r = { 0 };
        struct span message = SPAN_NONE;
        status = client_send(client, &c->request);
        if (status == EXIT_DONE)
            status = client_next(client, false, &message);
        if (status != EXIT_DONE || !message.data)
            break;
        if (pb_lease_keep_alive_response_decode(message, c->arena, &r) != ERR_OK)
            status = cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
        else if (r.ttl <= 0)
            status = cli_complain(EXIT_REFUSED, "lease %llx does not live", (unsigned long long)id);
        else
            tell(c->o, r.id, "ttl", r.ttl, "renewed for");
        if (status != EXIT_DONE || c->o->once)
            break;
        nanosleep(&(struct timespec){ r.ttl / 3 > 0 ? r.ttl / 3 : 1, 0 }, NULL);
    }
    buf_close(&c->request);
    client_close(client);
    return status;
}

static bool read_id(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = (int64_t)strtoull(text, &end, 16);
    return !errno && *text && !*end;
}

int run_lease(const struct options *o, struct arena *arena)
{
    static const struct {
        const char *name, *wants;
        int (*run)(struct lease_call *c, int64_t id);
    } verbs[] = { { "revoke", "an ID", revoke },
                  { "keep-alive", "an ID", keep_alive },
                  { "timetolive", "an ID", time_to_live } };
    struct lease_call c = { .o = o, .arena = arena };
    int64_t number = 0;
    buf_open(&c.request, &cli_heap);
    if (strcmp(o->args[0], "list") == 0)
        return list(&c);
    if (strcmp(o->args[0], "grant") == 0)
        return o->n_args == 2 && options_number(o->args[1], &number) && number > 0
                   ? grant(&c, number)
                   : cli_complain(EXIT_USAGE, "lease grant: wants a TTL in seconds");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(o->args[0], verbs[i].name) == 0)
            return o->n_args == 2 && read_id(o->args[1], &number)
                       ? verbs[i].run(&c, number)
                       : cli_complain(EXIT_USAGE, "lease %s: wants %s in hexadecimal",
                                      verbs[i].name, verbs[i].wants);
    return cli_complain(EXIT_USAGE,
                        "lease: \"%s\" is not grant, revoke, keep-alive, timetolive or "
                        "list",
                        o->args[0]);
}
