/* Live copies: their beginning, their turns, what callers read of them, and their end. */
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"
#include "wire/protobuf/protobuf.h"

enum { SAVE_MS = 1000 };

/* ---- the client's thread ---- */

/* Inside the lock. */
static struct part *put_part(struct part **place, struct part *part)
{
    struct part *old = *place;
    *place = part;
    return old && --old->refs == 0 ? old : NULL;
}

static void set_state(struct confman_copy *copy, enum confman_state state)
{
    struct confman *c = copy->client;
    if (copy->state == state)
        return;
    monitor_enter(c->monitor);
    copy->state = state;
    monitor_signal(copy->event);
    monitor_wake(c->monitor);
    monitor_leave(c->monitor);
}

void copy_failed(struct confman_copy *copy, const struct confman_error *error)
{
    struct confman *c = copy->client;
    int64_t ms = BACKOFF_MS;
    copy_ask_end(copy);
    follow_cancel(copy);
    copy->phase = COPY_LOAD;
    for (int i = 0; i < copy->failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    copy->failures++;
    copy->not_before_ms = client_now(c) + ms;
    set_state(copy, copy->configs || copy->flags ? CONFMAN_STALE : CONFMAN_EMPTY);
    monitor_enter(c->monitor);
    copy->error = *error;
    monitor_wake(c->monitor);
    monitor_leave(c->monitor);
}

static bool same_configs(const struct part *a, const struct part *b)
{
    bool same = a && b && a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = a->items[i].version == b->items[i].version &&
               a->items[i].revision == b->items[i].revision &&
               span_equal(a->items[i].key, b->items[i].key) &&
               span_equal(a->items[i].environment, b->items[i].environment) &&
               span_equal(a->items[i].value, b->items[i].value);
    return same;
}

static bool same_flags(const struct part *a, const struct part *b)
{
    bool same = a && b && a->n_flags == b->n_flags && span_equal(a->shared, b->shared);
    for (size_t i = 0; same && i < a->n_flags; i++) {
        long at = part_flag(b, a->known[i].name);
        same = at >= 0 && span_equal(b->known[at].json, a->known[i].json);
    }
    return same;
}

/* Inside the lock. problem: NULL or text. */
static void report(struct confman_copy *copy, int64_t revision, const char *problem)
{
    if (problem) {
        size_t n = strnlen(problem, PROBLEM_MAX);
        while (problem[n] && (problem[n] & 0xc0) == 0x80)
            n--; /* not in the middle of a character */
        snprintf(copy->problem, sizeof(copy->problem), "%.*s", (int)n, problem);
    } else {
        copy->runs = revision;
    }
    copy->failed = problem ? revision : 0;
    copy->report_due = true;
}

/* The program has it now, and has said what it makes of it, or says nothing. */
static void ran(struct confman_copy *copy, int64_t revision, bool news)
{
    struct confman *c = copy->client;
    monitor_enter(c->monitor);
    if (!copy->reports && !copy->reported && (news || (!copy->runs && !copy->failed)))
        report(copy, revision, NULL);
    copy->reported = false;
    monitor_leave(c->monitor);
}

/* configs: made anew, or NULL when only flags may have changed. */
static void publish(struct confman_copy *copy, struct part *configs)
{
    struct confman *c = copy->client;
    struct part *flags = NULL, *old[2] = { NULL, NULL };
    int64_t revision = 0;
    for (int i = 0; i < OF_KINDS; i++) {
        copy->shown[i] = copy->seen[i];
        revision = copy->seen[i] > revision ? copy->seen[i] : revision;
    }
    if (copy->flags_changed)
        flags = part_flags(copy->known.items, copy->known.n, copy->shared, revision);
    copy->flags_changed = false;
    if (configs && same_configs(copy->configs, configs)) {
        part_close(configs);
        configs = NULL;
    }
    if (flags && same_flags(copy->flags, flags)) {
        part_close(flags);
        flags = NULL;
    }
    monitor_enter(c->monitor);
    copy->revision = revision;
    copy->error = (struct confman_error){ .code = CONFMAN_OK };
    if (configs)
        old[0] = put_part(&copy->configs, configs);
    if (flags)
        old[1] = put_part(&copy->flags, flags);
    if (configs || flags) {
        copy->changes++;
        monitor_signal(copy->event);
        monitor_wake(c->monitor);
    }
    monitor_leave(c->monitor);
    part_close(old[0]);
    part_close(old[1]);
    bool news = configs || flags;
    if (news && copy->cache_file && !copy->save_ms && !copy->no_store)
        copy->save_ms = client_now(c) + SAVE_MS;
    if (news && copy->on_change)
        copy->on_change(copy->context, copy);
    ran(copy, revision, news);
}

void copy_loaded(struct confman_copy *copy, struct part *configs)
{
    copy->failures = 0;
    copy->phase = COPY_FOLLOW;
    publish(copy, configs);
}

/* All that the client's thread has of it; what callers read stays. */
static void end(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    follow_cancel(copy);
    copy_ask_end(copy);
    if (copy->save_ms)
        copy_save(copy);
    copy_clear_known(copy);
    VEC_CLOSE(&copy->known, &copy->alloc);
    VEC_CLOSE(&copy->gathered, &copy->alloc);
    VEC_CLOSE(&copy->asking, &copy->alloc);
    monitor_enter(c->monitor);
    copy->closed = true;
    if (copy->state == CONFMAN_LIVE)
        copy->state = CONFMAN_STALE;
    monitor_wake(c->monitor);
    monitor_leave(c->monitor);
}

void copy_all_end(struct confman *c)
{
    while (c->copies) {
        struct confman_copy *copy = c->copies;
        c->copies = copy->next;
        end(copy);
    }
    VEC_CLOSE(&c->leaving, &c->alloc);
    if (c->watch) {
        rpc_drop(c->watch);
        rpc_free(c->watch);
        c->watch = NULL;
    }
}

bool copy_all_calm(const struct confman *c)
{
    for (const struct confman_copy *copy = c->copies; copy; copy = copy->next)
        if (copy->state != CONFMAN_LIVE || copy->save_ms)
            return false;
    return true;
}

void copy_all_broken(struct confman *c)
{
    for (struct confman_copy *copy = c->copies; copy; copy = copy->next) {
        if (copy->state == CONFMAN_LIVE)
            copy->state = CONFMAN_STALE;
        error_set(&copy->error, CONFMAN_BUG, "a bug of libconfman: %.200s", c->bug);
        monitor_signal(copy->event);
    }
}

/* What went on meanwhile was none of its configs or flags. */
static void note_level(struct confman_copy *copy)
{
    int64_t revision = 0;
    for (int i = 0; i < OF_KINDS; i++)
        revision = copy->seen[i] > revision ? copy->seen[i] : revision;
    if (revision == copy->level)
        return;
    copy->level = revision;
    monitor_enter(copy->client->monitor);
    if (revision > copy->revision)
        copy->revision = revision;
    monitor_leave(copy->client->monitor);
    for (int i = 0; i < OF_KINDS; i++)
        copy->shown[i] = copy->seen[i];
}

static void step(struct confman_copy *copy)
{
    struct confman *c = copy->client;
    if (copy->phase == COPY_LOAD && copy->not_before_ms <= client_now(c))
        copy_load(copy);
    if (copy->phase == COPY_FOLLOW && (copy->gathered.n || copy->flags_changed))
        copy_change(copy);
    if (copy->phase == COPY_FOLLOW && !copy->watching && c->stream.len)
        follow_create(copy);
    if (copy->phase == COPY_FOLLOW && follow_level(copy)) {
        note_level(copy);
        set_state(copy, CONFMAN_LIVE);
    }
    follow_report(copy);
    if (copy->save_ms && copy->save_ms <= client_now(c))
        copy_save(copy);
}

void copy_turn(struct confman *c)
{
    struct confman_copy **at = &c->copies;
    while (*at) {
        struct confman_copy *copy = *at;
        monitor_enter(c->monitor);
        bool closing = copy->closing;
        monitor_leave(c->monitor);
        if (closing) {
            *at = copy->next;
            end(copy);
        } else {
            at = &copy->next;
        }
    }
    struct channel *home = c->copies ? client_home(c) : NULL;
    if (home && !c->watch && c->watch_not_before_ms <= client_now(c))
        follow_begin(c);
    follow_leave(c);
    for (struct confman_copy *copy = c->copies; copy; copy = copy->next) {
        if (!c->watch && copy->state == CONFMAN_LIVE)
            set_state(copy, CONFMAN_STALE);
        step(copy);
    }
}

/* ---- callers ---- */

#define HAS(o, member)                                                                             \
    ((o)->size >= offsetof(struct confman_copy_options, member) + sizeof((o)->member))

struct copying {
    struct work work;
    const struct confman_copy_options *o;
    struct confman_copy *copy;
};

/* Into paths and keys, so as servers have it. */
static bool is_environment(const char *text)
{
    static const char good[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return text[0] && strlen(text) <= 50 && strspn(text, good) == strlen(text);
}

static void do_open(void *context)
{
    struct copying *p = context;
    struct confman_copy *copy = p->copy;
    struct confman *c = p->work.c;
    const struct confman_copy_options *o = p->o;
    copy->client = c;
    copy->wants[OF_CONFIGS] = o->configs != 0;
    copy->wants[OF_FLAGS] = o->flags != 0;
    copy->reports = HAS(o, reports) && o->reports;
    copy->resolves = o->resolve != 0;
    copy->on_change = o->on_change;
    copy->context = o->context;
    copy->environment = strdup(o->environment ? o->environment : "default");
    copy->prefix = strdup(o->prefix ? o->prefix : "");
    copy->cache_file = o->cache_file ? strdup(o->cache_file) : NULL;
    copy->event = monitor_event();
    if (!copy->environment || !copy->prefix || (o->cache_file && !copy->cache_file) ||
        copy->event < 0) {
        error_set(p->work.error, CONFMAN_NO_MEMORY, "no memory, or no descriptor");
        return;
    }
    if (!is_environment(copy->environment) || strlen(copy->prefix) > 256 ||
        (copy->cache_file && strlen(copy->cache_file) > 4000)) {
        error_set(p->work.error, CONFMAN_INVALID, "no name of an environment, or a path or prefix "
                                             "that is too long");
        return;
    }
    alloc_heap(&copy->alloc);
    if (copy->cache_file)
        (void)copy_restore(copy, p->work.error); /* what is wrong with it is told, no more */
    monitor_enter(c->monitor);
    copy->next = c->opening;
    c->opening = copy;
    if (!c->broken)
        loop_wake(c->loop);
    monitor_leave(c->monitor);
}

static void free_copy(struct confman_copy *copy)
{
    for (size_t i = 0; i < copy->n_scratch; i++)
        free(copy->scratch[i]);
    part_close(copy->configs);
    part_close(copy->flags);
    monitor_event_close(copy->event);
    free(copy->environment);
    free(copy->prefix);
    free(copy->cache_file);
    free(copy);
}

enum confman_code confman_copy_open(struct confman *c, const struct confman_copy_options *options,
                                    struct confman_copy **out, struct confman_error *error)
{
    static const struct confman_copy_options all = CONFMAN_COPY_OPTIONS;
    struct copying p = { .o = options ? options : &all };
    if (!out || !HAS(p.o, resolve) || (!p.o->configs && !p.o->flags))
        return error_set(error, CONFMAN_MISUSE, "out is NULL, or options asks for nothing");
    *out = NULL;
    p.copy = calloc(1, sizeof(*p.copy));
    if (!p.copy)
        return error_set(error, CONFMAN_NO_MEMORY, "no memory");
    p.copy->event = -1;
    enum confman_code code = work_run(&p.work, c, error, do_open);
    if (code == CONFMAN_OK || code == CONFMAN_FILE) {
        *out = p.copy;
        return CONFMAN_OK;
    }
    free_copy(p.copy);
    return code;
}

static void do_close(void *context)
{
    struct confman_copy *copy = context;
    struct confman *c = copy->client;
    monitor_enter(c->monitor);
    copy->closing = true;
    if (!c->broken)
        loop_wake(c->loop);
    while (!copy->closed && !c->broken)
        (void)client_wait(c, loop_clock_us() + 1000000);
    bool closed = copy->closed;
    monitor_leave(c->monitor);
    if (closed) /* else the thread has stopped in the middle of it */
        free_copy(copy);
}

void confman_copy_close(struct confman_copy *copy)
{
    struct check_catch bug;
    if (copy && copy->client->process == monitor_process() && !client_inside(copy->client))
        (void)check_caught(do_close, copy, &bug);
}

enum confman_code confman_copy_wait(struct confman_copy *copy, enum confman_state state,
                                    int64_t timeout_ms, struct confman_error *error)
{
    struct confman_error own;
    struct confman_error *e = error ? error : &own;
    if (!copy)
        return error_set(e, CONFMAN_MISUSE, "there is no copy");
    struct confman *c = copy->client;
    int64_t until_us = loop_clock_us() + (timeout_ms > 0 ? timeout_ms : 0) * 1000;
    if (!client_enter(c, e))
        return e->code;
    bool in_time = true, hopeless = false;
    monitor_enter(c->monitor);
    while (copy->state < state && in_time && !hopeless) {
        enum confman_code code = copy->error.code;
        hopeless = code == CONFMAN_LOGIN || code == CONFMAN_DENIED || code == CONFMAN_INVALID ||
                   code == CONFMAN_BUG;
        if (!hopeless)
            in_time = client_wait(c, until_us);
    }
    if (copy->state < state) {
        *e = copy->error;
        if (e->code == CONFMAN_OK || e->code == CONFMAN_FILE)
            error_set(e, CONFMAN_UNAVAILABLE, "no server has answered in time");
    }
    monitor_leave(c->monitor);
    return e->code;
}

enum confman_state confman_copy_state(struct confman_copy *copy)
{
    monitor_enter(copy->client->monitor);
    enum confman_state out = copy->state;
    monitor_leave(copy->client->monitor);
    return out;
}

int64_t confman_copy_changes(struct confman_copy *copy)
{
    monitor_enter(copy->client->monitor);
    int64_t out = copy->changes;
    monitor_leave(copy->client->monitor);
    return out;
}

int64_t confman_copy_revision(struct confman_copy *copy)
{
    monitor_enter(copy->client->monitor);
    int64_t out = copy->revision;
    monitor_leave(copy->client->monitor);
    return out;
}

enum confman_code confman_report(struct confman_copy *copy, int64_t revision, const char *problem)
{
    if (!copy || revision <= 0)
        return CONFMAN_MISUSE;
    if (problem && (!problem[0] || !pb_utf8(span_text(problem))))
        return CONFMAN_INVALID;
    struct confman *c = copy->client;
    monitor_enter(c->monitor);
    report(copy, revision, problem);
    copy->reported = client_inside(c); /* else it is about what was before */
    if (!c->broken)
        loop_wake(c->loop);
    monitor_leave(c->monitor);
    return CONFMAN_OK;
}

int confman_copy_fd(struct confman_copy *copy)
{
    return copy->event;
}

/* ---- reading ---- */

static struct part *hold(struct confman_copy *copy)
{
    monitor_enter(copy->client->monitor);
    struct part *p = copy->configs;
    if (p)
        p->refs++;
    monitor_leave(copy->client->monitor);
    return p;
}

static void let_go(struct confman_copy *copy, struct part *p)
{
    monitor_enter(copy->client->monitor);
    bool last = --p->refs == 0;
    monitor_leave(copy->client->monitor);
    if (last)
        part_close(p);
}

/* The first place whose key is not below. */
static size_t place_of(const struct part *p, struct span key)
{
    size_t low = 0, high = p->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (span_compare(p->items[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

enum confman_code confman_copy_get(struct confman_copy *copy, const char *key,
                                   struct confman_config **out)
{
    if (!copy || !key || !out)
        return CONFMAN_MISUSE;
    *out = NULL;
    struct part *p = hold(copy);
    if (!p)
        return CONFMAN_UNAVAILABLE;
    size_t at = place_of(p, span_text(key));
    bool there = at < p->n && span_is(p->items[at].key, key);
    if (there)
        *out = config_make(&p->items[at]);
    let_go(copy, p);
    return !there ? CONFMAN_NOT_FOUND : *out ? CONFMAN_OK : CONFMAN_NO_MEMORY;
}

enum confman_code confman_copy_list(struct confman_copy *copy, const char *prefix,
                                    struct confman_list **out)
{
    if (!copy || !out)
        return CONFMAN_MISUSE;
    *out = NULL;
    struct part *p = hold(copy);
    if (!p)
        return CONFMAN_UNAVAILABLE;
    struct span start = prefix ? span_text(prefix) : SPAN_NONE;
    size_t from = place_of(p, start), to = from;
    while (to < p->n && span_starts(p->items[to].key, start))
        to++;
    bool ok = config_list(&p->items[from], to - from, p->revision, out);
    let_go(copy, p);
    return ok ? CONFMAN_OK : CONFMAN_NO_MEMORY;
}
