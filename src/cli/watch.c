#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"
#include "cli/cli_int.h"

/* Every event was flushed when it came, so nothing is lost here. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_DONE);
}

static void print_event(const struct pb_event *e, bool json)
{
    bool deleted = e->type == PB_EVENT_DELETE;
    if (!json) {
        if (e->prev_kv)
            print_pair(e->prev_kv, false, false);
        puts(deleted ? "DELETE" : "PUT");
        print_pair(e->kv, false, deleted);
        fflush(stdout);
        return;
    }
    struct buf b;
    struct jsonw w;
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "type");
    jsonw_text(&w, deleted ? SPAN("delete") : SPAN("put"));
    jsonw_name(&w, "revision");
    jsonw_number(&w, e->kv->mod_revision);
    jsonw_name(&w, "kv");
    write_pair_json(&w, e->kv, !deleted);
    if (e->prev_kv) {
        jsonw_name(&w, "prev_kv");
        write_pair_json(&w, e->prev_kv, true);
    }
    jsonw_object_end(&w);
    print_json(&b);
}

static void print_progress(int64_t revision, bool json)
{
    printf(json ? "{\"type\":\"progress\",\"revision\":%lld}\n" : "PROGRESS %lld\n",
           (long long)revision);
    fflush(stdout);
}

/* Prints what one connection brings; *next is the revision to go on from. */
static int follow(const struct options *o, struct client *c, int64_t *next)
{
    struct arena arena;
    struct span message;
    int status;
    arena_open(&arena, &cli_heap);
    while ((status = client_next(c, true, &message)) == EXIT_DONE) {
        struct pb_watch_response r;
        arena_reset(&arena);
        if (!message.data || pb_watch_response_decode(message, &arena, &r) != ERR_OK) {
            status = EXIT_UNREACHABLE;
            break;
        }
        if (r.canceled) {
            status = r.compact_revision
                         ? cli_complain(EXIT_REFUSED,
                                        "revision %lld is compacted; the oldest that "
                                        "can be watched is %lld",
                                        (long long)*next, (long long)r.compact_revision)
                         : cli_complain(EXIT_REFUSED, "%.*s", (int)r.cancel_reason.len,
                                        (const char *)r.cancel_reason.data);
            break;
        }
        for (size_t i = 0; i < r.n_events; i++)
            if (r.events[i].kv) {
                print_event(&r.events[i], o->json);
                *next = r.events[i].kv->mod_revision + 1;
            }
        if (o->progress && !r.created && !r.n_events && r.header)
            print_progress(r.header->revision, o->json);
        if (r.created && *next == 0 && r.header)
            *next = r.header->revision + 1;
    }
    arena_close(&arena);
    return status;
}

int run_watch(const struct options *o, struct arena *arena)
{
    struct span key = span_text(o->args[0]), end = range_end_of(o, &key, arena);
    int64_t next = o->revision;
    int status = EXIT_UNREACHABLE;
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    for (bool first = true; first || status == EXIT_UNREACHABLE; first = false) {
        struct client *c = client_open(o);
        if (!c && first)
            return EXIT_UNREACHABLE;
        if (!c) { /* it was there before: wait for it to come back */
            nanosleep(&(struct timespec){ 1, 0 }, NULL);
            continue;
        }
        struct pb_watch_create_request create = { .key = key,
                                                  .range_end = end,
                                                  .start_revision = next,
                                                  .prev_kv = o->prev_kv,
                                                  .progress_notify = o->progress };
        struct pb_watch_request m = { .which_request_union = 1, .create_request = &create };
        struct buf request;
        buf_open(&request, &cli_heap);
        pb_watch_request_encode(&m, &request);
        status = client_begin(c, "/etcdserverpb.Watch/Watch");
        if (status == EXIT_DONE)
            status = client_send(c, &request);
        if (status == EXIT_DONE)
            status = follow(o, c, &next);
        buf_close(&request);
        client_close(c);
    }
    return status;
}
