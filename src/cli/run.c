/* `confman run`: a program with its configs, looked after. */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "base/check.h"
#include "cli/cli_int.h"
#include "confman/confman.h"
#include "io/loop/loop.h"
#include "io/process/process.h"

enum {
    QUIET_MS = 500,  /* without a further change, before one is acted on */
    STOP_MS = 10000, /* that a program has to end when asked to */
    GAP_MS = 1000, GAP_MAX_MS = 60000, CALM_MS = 30000, /* between restarts: doubles, until calm */
};

enum action { ACTION_RESTART, ACTION_SIGNAL, ACTION_EXEC, ACTION_NONE };

struct running {
    const struct options *o;
    struct confman *client;
    struct confman_copy *copy;
    struct loop *loop;
    struct loop_timer due, stop;
    enum action action;
    int signal; /* to tell of changes by */
    const char *command;
    int signals, child, status;
    int64_t changes, revision, started_ms, gap_ms; /* revision: of what was read last */
    bool stopping; /* asked to end so that it can be started again */
    bool ending;   /* asked to end for good */
    struct rendered now;
};

/* ---- what it gets ---- */

static int render(struct running *r, struct rendered *out)
{
    struct confman_list *list = NULL;
    rendered_open(out);
    r->changes = confman_copy_changes(r->copy);
    r->revision = confman_copy_revision(r->copy);
    enum confman_code code = confman_copy_list(r->copy, NULL, &list);
    int status = code == CONFMAN_OK
                     ? render_configs(r->o, list, out)
                     : cli_complain(EXIT_UNREACHABLE, "run: %s", confman_code_name(code));
    confman_list_free(list);
    if (status == EXIT_DONE)
        status = render_secrets(r->o, r->client, out);
    return status;
}

/* Who asks who runs what hears of it. */
static void tell(struct running *r, const char *problem)
{
    enum confman_code code = confman_report(r->copy, r->revision, problem);
    CHECK(code == CONFMAN_OK || r->revision == 0);
}

static int start(struct running *r)
{
    struct arena arena;
    int status = rendered_write(&r->now);
    if (status != EXIT_DONE)
        return status;
    arena_open(&arena, &cli_heap);
    enum err e = process_spawn(r->o->command, rendered_environment(&r->now, &arena), &r->child);
    arena_close(&arena);
    r->started_ms = loop_clock_us() / 1000;
    tell(r, e == ERR_OK ? NULL : "no process can be started");
    return e == ERR_OK ? EXIT_DONE : cli_complain(EXIT_REFUSED, "run: no process can be started");
}

/* ---- changes ---- */

static void on_stop_late(void *context)
{
    struct running *r = context;
    cli_complain(EXIT_DONE, "run: the program does not end: it is killed");
    process_kill(r->child);
}

static void restart(struct running *r)
{
    int64_t now_ms = loop_clock_us() / 1000, calm = now_ms - r->started_ms;
    r->gap_ms = calm > CALM_MS || !r->gap_ms ? GAP_MS : r->gap_ms * 2;
    r->gap_ms = r->gap_ms > GAP_MAX_MS ? GAP_MAX_MS : r->gap_ms;
    r->stopping = true;
    process_send(r->child, SIGTERM);
    loop_timer_set(r->loop, &r->stop, now_ms + STOP_MS);
}

/* Its files, before it is told of them. */
static bool written(struct running *r)
{
    bool done = rendered_write(&r->now) == EXIT_DONE;
    tell(r, done ? NULL : "its files cannot be written: see standard error");
    return done;
}

static void act(struct running *r)
{
    char *words[] = { (char[]){ "sh" }, (char[]){ "-c" }, NULL, NULL };
    struct arena arena;
    int helper;
    switch (r->action) {
    case ACTION_RESTART:
        restart(r);
        return;
    case ACTION_SIGNAL:
        if (written(r))
            process_send(r->child, r->signal);
        return;
    case ACTION_EXEC:
        arena_open(&arena, &cli_heap);
        words[2] = arena_text(&arena, span_text(r->command));
        if (written(r) &&
            process_spawn(words, rendered_environment(&r->now, &arena), &helper) != ERR_OK)
            cli_complain(EXIT_REFUSED, "run: no process can be started");
        arena_close(&arena);
        return;
    case ACTION_NONE:
        return;
    }
}

/* What cannot be used is told, and the program goes on with what it has. */
static void on_due(void *context)
{
    struct running *r = context;
    struct rendered next;
    int64_t early = r->started_ms + r->gap_ms - loop_clock_us() / 1000;
    if (r->stopping || r->ending)
        return;
    if (r->action == ACTION_RESTART && early > 0) {
        loop_timer_set(r->loop, &r->due, loop_clock_us() / 1000 + early);
        return;
    }
    bool good = render(r, &next) == EXIT_DONE;
    if (good && !rendered_same(&next, &r->now)) {
        rendered_close(&r->now);
        r->now = next;
        act(r);
    } else {
        tell(r, good ? NULL : "what the program would get cannot be made: see standard error");
        rendered_close(&next);
    }
}

static void on_copy(void *context, int fd, int events)
{
    struct running *r = context;
    uint64_t times;
    ssize_t n = events ? read(fd, &times, sizeof(times)) : 0;
    (void)n; /* it only ends the readiness */
    if (confman_copy_changes(r->copy) != r->changes && r->action != ACTION_NONE)
        loop_timer_set(r->loop, &r->due, loop_clock_us() / 1000 + QUIET_MS);
}

/* ---- the program's end, and what it is told ---- */

static void ended(struct running *r, int status)
{
    loop_timer_clear(r->loop, &r->stop);
    if (r->stopping && !r->ending) {
        r->stopping = false;
        r->status = start(r);
        if (r->status == EXIT_DONE)
            return;
    } else {
        r->status = status;
    }
    r->child = 0;
    loop_stop(r->loop);
}

static void on_signal(void *context, int fd, int events)
{
    struct running *r = context;
    int number, id, status;
    bool typed, child;
    (void)events;
    while (process_signal_next(fd, &number, &typed, &child)) {
        if (child)
            continue;
        r->ending = r->ending || number == SIGTERM || number == SIGINT || number == SIGQUIT;
        if (!typed)
            process_send(r->child, number);
    }
    while (process_reap(&id, &status))
        if (id == r->child)
            ended(r, status);
}

/* ---- from beginning to end ---- */

static int take_action(struct running *r)
{
    const char *what = r->o->on_change ? r->o->on_change : "restart";
    if (strcmp(what, "restart") == 0) {
        r->action = ACTION_RESTART;
    } else if (strcmp(what, "none") == 0) {
        r->action = ACTION_NONE;
    } else if (strncmp(what, "exec:", 5) == 0 && what[5]) {
        r->action = ACTION_EXEC;
        r->command = what + 5;
    } else if (strncmp(what, "signal:", 7) == 0 && (r->signal = process_signal_of(what + 7)) != 0) {
        r->action = ACTION_SIGNAL;
    } else {
        return cli_complain(EXIT_USAGE, "run: --on-change wants restart, signal:NAME (HUP, INT, "
                                        "QUIT, TERM, USR1, USR2, or a number), exec:COMMAND or "
                                        "none, not \"%s\"", what);
    }
    for (int i = 0; i < r->o->map.n + r->o->file.n; i++) {
        const struct option_list *list = i < r->o->map.n ? &r->o->map : &r->o->file;
        const char *one = list->items[i < r->o->map.n ? i : i - r->o->map.n];
        const char *equals = strchr(one, '=');
        if (!equals || equals == one || (list == &r->o->file && !equals[1]))
            return cli_complain(EXIT_USAGE, "run: --%s wants %s, not \"%s\"",
                                list == &r->o->map ? "map" : "file",
                                list == &r->o->map ? "KEY=VARIABLE" : "KEY=PATH", one);
    }
    return r->o->command ? EXIT_DONE
                         : cli_complain(EXIT_USAGE, "run: wants a program behind --; see confman "
                                                    "run --help");
}

static int follow(struct running *r)
{
    struct confman_copy_options what = CONFMAN_COPY_OPTIONS;
    struct confman_error e;
    what.environment = r->o->environment;
    what.prefix = r->o->below;
    what.cache_file = r->o->cache_file;
    what.resolve = 1;
    what.reports = 1;
    if (confman_copy_open(r->client, &what, &r->copy, &e) != CONFMAN_OK)
        return cli_complain(EXIT_USAGE, "run: %s", e.text);
    if (e.code == CONFMAN_FILE)
        cli_complain(EXIT_DONE, "run: the last known good is not used: %s", e.text);
    if (confman_copy_wait(r->copy, CONFMAN_LIVE, r->o->timeout * 1000, &e) == CONFMAN_OK)
        return EXIT_DONE;
    if (confman_copy_state(r->copy) == CONFMAN_EMPTY)
        return cli_complain(e.code == CONFMAN_UNAVAILABLE ? EXIT_UNREACHABLE : EXIT_REFUSED,
                            "run: %s", e.text);
    cli_complain(EXIT_DONE, "run: with the last known good, of revision %lld: %s",
                 (long long)confman_copy_revision(r->copy), e.text);
    return EXIT_DONE;
}

static bool no_more(void *context)
{
    (void)context;
    return false;
}

static int supervise(struct running *r)
{
    int status = render(r, &r->now);
    if (status == EXIT_DONE)
        status = start(r);
    if (status != EXIT_DONE)
        return status;
    r->loop = loop_open(&cli_heap);
    r->due = (struct loop_timer){ .callback = on_due, .context = r };
    r->stop = (struct loop_timer){ .callback = on_stop_late, .context = r };
    loop_watch(r->loop, r->signals, LOOP_READ, on_signal, r);
    loop_watch(r->loop, confman_copy_fd(r->copy), LOOP_READ, on_copy, r);
    on_copy(r, 0, 0); /* what has changed since it was read */
    loop_run(r->loop, no_more, NULL, 0);
    loop_unwatch(r->loop, r->signals);
    loop_unwatch(r->loop, confman_copy_fd(r->copy));
    loop_timer_clear(r->loop, &r->due);
    loop_timer_clear(r->loop, &r->stop);
    loop_close(r->loop);
    return r->status;
}

static const char *name_of(char *const *command)
{
    const char *slash = command ? strrchr(command[0], '/') : NULL;
    return slash ? slash + 1 : command ? command[0] : NULL;
}

int run_run(const struct options *o, struct arena *arena)
{
    struct running r = { .o = o };
    struct confman_options options = CONFMAN_OPTIONS;
    struct confman_error e;
    struct span user, password;
    struct buf kept;
    int status = take_action(&r);
    if (status == EXIT_DONE && !o->token)
        status = credentials_read(o, &user, &password);
    if (status != EXIT_DONE)
        return status;
    options.endpoints = o->endpoint;
    options.ca_file = o->cacert;
    options.cert_file = o->cert;
    options.key_file = o->key;
    options.insecure_skip_verify = o->insecure_skip_verify;
    options.client = o->run_client ? o->run_client : name_of(o->command);
    options.token = o->token;
    if (!o->token && user.len) {
        options.user = arena_text(arena, user);
        options.password = arena_text(arena, password);
    }
    buf_open(&kept, &cli_heap);
    if (!o->token && !user.len && session_token(o, &kept))
        options.token = arena_text(arena, buf_all(&kept));
    buf_close(&kept);
    options.timeout_ms = o->timeout * 1000;
    r.signals = process_signals(); /* before there are threads */
    if (r.signals < 0 || confman_open(&options, &r.client, &e) != CONFMAN_OK)
        return cli_complain(EXIT_USAGE, "run: %s", r.signals < 0 ? "no descriptor" : e.text);
    rendered_open(&r.now);
    status = follow(&r);
    if (status == EXIT_DONE)
        status = supervise(&r);
    rendered_close(&r.now);
    confman_copy_close(r.copy);
    confman_close(r.client);
    return status;
}
