/* Taking turns: a lock while a command runs, and elections. The server does the waiting; the lease
 * that all hangs on is kept alive by a process of its own, so that nothing here has to wait for two
 * things at once. */
#include <time.h>
#include "base/check.h"
#include "cli/cli_int.h"
#include "io/process/process.h"

enum { TTL_S = 60 };

struct turn {
    const struct options *o;
    struct arena *arena;
    int64_t lease, ttl_s;
    int keeper;
};

static int bad_answer(void)
{
    return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense: is this an etcd v3 server?");
}

static int grant(struct client *c, struct turn *t)
{
    struct pb_lease_grant_request m = { .ttl = t->o->ttl ? t->o->ttl : TTL_S };
    struct pb_lease_grant_response r;
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_lease_grant_request_encode(&m, &request);
    int status = client_call(c, "/etcdserverpb.Lease/LeaseGrant", &request, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    if (pb_lease_grant_response_decode(answer, t->arena, &r) != ERR_OK)
        return bad_answer();
    t->lease = r.id;
    t->ttl_s = r.ttl;
    return EXIT_DONE;
}

/* What hangs on the lease goes with it. */
static int revoke_lease(const struct turn *t)
{
    struct pb_lease_revoke_request m = { .id = t->lease };
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_lease_revoke_request_encode(&m, &request);
    int status = call_once(t->o, "/etcdserverpb.Lease/LeaseRevoke", &request, t->arena, &answer);
    buf_close(&request);
    return status;
}

/* ---- the keeper ---- */

/* Renews until the connection breaks or the lease is gone. EXIT_REFUSED: it is gone. */
static int renew(const struct turn *t, time_t *renewed)
{
    struct pb_lease_keep_alive_request m = { .id = t->lease };
    struct client *c = client_open(t->o);
    struct arena arena;
    struct buf request;
    if (!c)
        return EXIT_UNREACHABLE;
    arena_open(&arena, &cli_heap);
    buf_open(&request, &cli_heap);
    pb_lease_keep_alive_request_encode(&m, &request);
    int status = client_begin(c, "/etcdserverpb.Lease/LeaseKeepAlive");
    while (status == EXIT_DONE) {
        struct pb_lease_keep_alive_response r = { 0 };
        struct span message = SPAN_NONE;
        status = client_send(c, &request);
        if (status == EXIT_DONE)
            status = client_next(c, false, &message);
        if (status == EXIT_DONE &&
            (!message.data || pb_lease_keep_alive_response_decode(message, &arena, &r) != ERR_OK))
            status = EXIT_UNREACHABLE;
        else if (status == EXIT_DONE && r.ttl <= 0)
            status = EXIT_REFUSED;
        if (status != EXIT_DONE)
            break;
        *renewed = time(NULL);
        arena_reset(&arena);
        nanosleep(&(struct timespec){ r.ttl / 3 > 0 ? r.ttl / 3 : 1, 0 }, NULL);
    }
    buf_close(&request);
    arena_close(&arena);
    client_close(c);
    return status;
}

static int keep(void *context)
{
    const struct turn *t = context;
    time_t renewed = time(NULL);
    while (renew(t, &renewed) == EXIT_UNREACHABLE && time(NULL) - renewed < t->ttl_s)
        nanosleep(&(struct timespec){ 1, 0 }, NULL);
    return EXIT_REFUSED;
}

/* ---- one's turn ---- */

/* A lease, its keeper, and the call that waits, as long as it takes; the answer is in the arena. */
static int take_turn(struct turn *t, const char *path, struct buf *request, struct span *answer,
                     void (*fill)(const struct turn *t, struct buf *request))
{
    struct client *c = client_open(t->o);
    if (!c)
        return EXIT_UNREACHABLE;
    int status = grant(c, t);
    if (status == EXIT_DONE && process_fork(keep, t, &t->keeper) != ERR_OK)
        status = cli_complain(EXIT_REFUSED, "no process can be started");
    if (status == EXIT_DONE) {
        fill(t, request);
        status = client_ask(c, path, request);
    }
    if (status == EXIT_DONE)
        status = client_next(c, true, answer);
    if (status == EXIT_DONE && !answer->data)
        status = bad_answer();
    if (status == EXIT_DONE)
        *answer = arena_copy(t->arena, *answer);
    client_close(c);
    return status;
}

/* Until the command has ended, we are interrupted, or the lease is lost. */
static int hold(struct turn *t)
{
    int command = 0, how = 0, id, status = EXIT_DONE;
    process_catch_stop();
    if (t->o->command && process_run(t->o->command, &command) != ERR_OK)
        return cli_complain(EXIT_REFUSED, "%s: no process can be started", t->o->command[0]);
    while ((id = process_wait(&how)) >= 0) {
        if (id == t->keeper) {
            t->keeper = 0;
            status = cli_complain(EXIT_REFUSED, "the lease %llx is lost, and what hung on it",
                                  (unsigned long long)t->lease);
            t->lease = 0;
        } else if (id == command && id) {
            return status == EXIT_DONE ? how : status;
        }
        if (!command)
            return status;
        process_end(command); /* and wait for it */
    }
    return status;
}

static int give_up(struct turn *t, int status)
{
    int revoked = EXIT_DONE;
    if (t->keeper > 0)
        process_end(t->keeper);
    if (t->lease)
        revoked = revoke_lease(t);
    return status == EXIT_DONE ? revoked : status;
}

/* value NULL: there is none. */
static void print_turn(const struct options *o, struct span key, const struct span *value)
{
    struct buf b;
    struct jsonw w;
    if (!o->json) {
        print_bytes(key);
        if (value)
            print_bytes(*value);
        fflush(stdout);
        return;
    }
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    write_bytes_json(&w, "key", key);
    if (value)
        write_bytes_json(&w, "value", *value);
    jsonw_object_end(&w);
    print_json(&b);
}

static void fill_lock(const struct turn *t, struct buf *request)
{
    struct pb_lock_request m = { .name = span_text(t->o->args[0]), .lease = t->lease };
    pb_lock_request_encode(&m, request);
}

int run_lock(const struct options *o, struct arena *arena)
{
    struct turn t = { .o = o, .arena = arena };
    struct pb_lock_response r;
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    int status = take_turn(&t, "/v3lockpb.Lock/Lock", &request, &answer, fill_lock);
    buf_close(&request);
    if (status == EXIT_DONE && pb_lock_response_decode(answer, arena, &r) != ERR_OK)
        status = bad_answer();
    if (status == EXIT_DONE) {
        if (!o->command)
            print_turn(o, r.key, NULL);
        status = hold(&t);
    }
    return give_up(&t, status);
}

/* ---- elections ---- */

static void fill_campaign(const struct turn *t, struct buf *request)
{
    struct pb_campaign_request m = { .name = span_text(t->o->args[0]),
                                     .lease = t->lease,
                                     .value = span_text(t->o->args[1]) };
    pb_campaign_request_encode(&m, request);
}

static int stand(const struct options *o, struct arena *arena)
{
    struct turn t = { .o = o, .arena = arena };
    struct pb_campaign_response r;
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    int status = take_turn(&t, "/v3electionpb.Election/Campaign", &request, &answer, fill_campaign);
    buf_close(&request);
    if (status == EXIT_DONE &&
        (pb_campaign_response_decode(answer, arena, &r) != ERR_OK || !r.leader))
        status = bad_answer();
    if (status == EXIT_DONE) {
        struct span value = span_text(o->args[1]);
        print_turn(o, r.leader->key, &value);
        status = hold(&t);
    }
    return give_up(&t, status);
}

static int observe(const struct options *o)
{
    struct pb_leader_request m = { .name = span_text(o->args[0]) };
    struct client *c = client_open(o);
    struct arena arena;
    struct buf request;
    if (!c)
        return EXIT_UNREACHABLE;
    arena_open(&arena, &cli_heap);
    buf_open(&request, &cli_heap);
    pb_leader_request_encode(&m, &request);
    int status = client_ask(c, "/v3electionpb.Election/Observe", &request);
    while (status == EXIT_DONE) {
        struct pb_leader_response r;
        struct span message;
        status = client_next(c, true, &message);
        if (status != EXIT_DONE || !message.data)
            break;
        if (pb_leader_response_decode(message, &arena, &r) != ERR_OK || !r.kv)
            status = bad_answer();
        else
            print_turn(o, r.kv->key, &r.kv->value);
        arena_reset(&arena);
    }
    buf_close(&request);
    arena_close(&arena);
    client_close(c);
    return status;
}

int run_elect(const struct options *o, struct arena *arena)
{
    return o->n_args == 2 ? stand(o, arena) : observe(o);
}
