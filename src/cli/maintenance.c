/* What an operator asks of a server: its alarms, its hashes, to be defragmented. */
#include <string.h>
#include "base/check.h"
#include "cli/cli_int.h"

static int bad_answer(void)
{
    return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense: is this an etcd v3 server?");
}

/* ---- alarms ---- */

static const char *name_of(int32_t type)
{
    return type == PB_NOSPACE ? "NOSPACE" : type == PB_CORRUPT ? "CORRUPT" : "unknown";
}

static int ask_alarm(const struct options *o, struct arena *arena, const struct pb_alarm_request *m,
                     struct pb_alarm_response *out)
{
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_alarm_request_encode(m, &request);
    int status = call_once(o, "/etcdserverpb.Maintenance/Alarm", &request, arena, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    return pb_alarm_response_decode(answer, arena, out) == ERR_OK ? EXIT_DONE : bad_answer();
}

static void print_alarms(const struct options *o, const struct pb_alarm_response *r)
{
    if (o->json)
        fputs("{\"alarms\":[", stdout);
    for (size_t i = 0; i < r->n_alarms; i++)
        printf(o->json ? "%s{\"member\":\"%llx\",\"alarm\":\"%s\"}" : "%s%-16llx %s\n",
               o->json && i ? "," : "", (unsigned long long)r->alarms[i].member_id,
               name_of(r->alarms[i].alarm));
    if (o->json)
        puts("]}");
}

int run_alarm(const struct options *o, struct arena *arena)
{
    struct pb_alarm_response r, gone;
    bool disarm = strcmp(o->args[0], "disarm") == 0;
    if (!disarm && strcmp(o->args[0], "list") != 0)
        return cli_usage(o);
    int status = ask_alarm(o, arena, &(struct pb_alarm_request){ .action = 0 }, &r);
    for (size_t i = 0; status == EXIT_DONE && disarm && i < r.n_alarms; i++) {
        struct pb_alarm_request m = { .action = PB_ALARM_REQUEST_DEACTIVATE,
                                      .member_id = r.alarms[i].member_id,
                                      .alarm = r.alarms[i].alarm };
        status = ask_alarm(o, arena, &m, &gone);
    }
    if (status == EXIT_DONE)
        print_alarms(o, &r);
    return status;
}

/* ---- defragmentation ---- */

int run_defrag(const struct options *o, struct arena *arena)
{
    struct buf nothing;
    struct span answer;
    buf_open(&nothing, &cli_heap);
    int status = call_once(o, "/etcdserverpb.Maintenance/Defragment", &nothing, arena, &answer);
    if (status == EXIT_DONE)
        puts(o->json ? "{\"done\":true}"
                     : "done; a confman server has nothing to do for it: what compaction frees "
                       "goes back by itself");
    return status;
}

/* ---- hashes ---- */

int run_hash(const struct options *o, struct arena *arena)
{
    struct pb_hash_kv_request m = { .revision = o->revision };
    struct pb_hash_kv_response kv;
    struct pb_hash_response all;
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_hash_kv_request_encode(&m, &request);
    int status = call_once(o, "/etcdserverpb.Maintenance/HashKV", &request, arena, &answer);
    if (status == EXIT_DONE && pb_hash_kv_response_decode(answer, arena, &kv) != ERR_OK)
        status = bad_answer();
    buf_reset(&request);
    if (status == EXIT_DONE)
        status = call_once(o, "/etcdserverpb.Maintenance/Hash", &request, arena, &answer);
    buf_close(&request);
    if (status == EXIT_DONE && pb_hash_response_decode(answer, arena, &all) != ERR_OK)
        status = bad_answer();
    if (status != EXIT_DONE)
        return status;
    int64_t at = kv.hash_revision ? kv.hash_revision : o->revision; /* before etcd 3.6: not told */
    printf(o->json ? "{\"hash_kv\":%u,\"revision\":%lld,\"compact_revision\":%lld,\"hash\":%u}\n"
                   : "hash_kv %u  revision %lld  compacted %lld\nhash    %u\n",
           kv.hash, (long long)at, (long long)kv.compact_revision, all.hash);
    return EXIT_DONE;
}
