/* `confman mirror`: keys of one etcd v3 server kept the same in another, until cut-over.
 *
 * First both sides are walked side by side and what differs is made equal; then the source is
 * watched from the revision of that walk on, and each of its revisions becomes one transaction
 * there, with a mark: a key that says whose, and how far. So it can be ended at any moment, and
 * goes on from its mark. A revision of more changes than a transaction takes (OPS_MAX) becomes
 * several. Values come along; revisions are the target's own, and leases stay behind: what expires
 * at the source is a deletion like another one. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli_int.h"

enum {
    PAGE_KEYS = 200,
    OPS_MAX = 120,       /* etcd takes 128 in a transaction by default; the mark is one more */
    TXN_BYTES = 1 << 20, /* and 1.5 MiB in a request */
    PROGRESS_S = 5,      /* between lines */
    RETRY_S = 1,
    TRIES = 10, /* to find all the same at the end */
    TRY_AGAIN_MS = 200,
    NOT_THERE = 1000, /* a status of our own: the source has compacted what we were to hear */
    MARK_TEXT = 64,
};

struct mirror {
    const struct options *o;
    struct options source_options;
    struct client *source, *target, *watch; /* NULL: not connected */
    struct span prefix, end;                /* at the source; end as etcd's range_end */
    struct span target_prefix, target_end, mark;
    struct arena names; /* those */
    uint64_t cluster;   /* the source's */
    int64_t done;       /* all of this revision is there; 0: nothing yet */
    int64_t goal;       /* of the source, when it was last asked */
    time_t told;
    struct arena arena, page; /* of the source's page or message; of the target's page */
    struct pb_request_op ops[OPS_MAX + 1];
    struct pb_put_request puts[OPS_MAX + 1];
    struct pb_delete_range_request dels[OPS_MAX];
    size_t n, bytes;
    bool compare; /* count what differs, change nothing */
    bool heard;   /* an answer to the question how far the watch is */
    uint64_t differs;
};

/* Every transaction there is whole, with its mark. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_DONE);
}

static int senseless(void)
{
    return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
}

/* ---- names ---- */

static struct span joined(struct arena *arena, struct span a, struct span b)
{
    uint8_t *p = arena_alloc(arena, a.len + b.len + 1);
    if (a.len)
        memcpy(p, a.data, a.len);
    if (b.len)
        memcpy(p + a.len, b.data, b.len);
    return span_of(p, a.len + b.len);
}

static struct span there(struct mirror *m, struct arena *arena, struct span key)
{
    return joined(arena, m->target_prefix, span_from(key, m->prefix.len));
}

static struct span after(struct arena *arena, struct span key)
{
    return joined(arena, key, SPAN("\0"));
}

/* ---- calls ---- */

static int range(struct client *c, const struct pb_range_request *q, struct arena *arena,
                 struct pb_range_response *out)
{
    struct buf request;
    struct span answer;
    buf_open(&request, &cli_heap);
    pb_range_request_encode(q, &request);
    int status = client_call(c, "/etcdserverpb.KV/Range", &request, &answer);
    buf_close(&request);
    if (status != EXIT_DONE)
        return status;
    answer = arena_copy(arena, answer);
    return pb_range_response_decode(answer, arena, out) == ERR_OK && out->header ? EXIT_DONE
                                                                                 : senseless();
}

/* ---- what is to be changed there ---- */

static void mark_text(const struct mirror *m, int64_t revision, char text[MARK_TEXT])
{
    snprintf(text, MARK_TEXT, "%016" PRIx64 " %" PRId64, m->cluster, revision);
}

/* The transaction at hand; with a mark when it brings the target to a revision. */
static int flush(struct mirror *m, int64_t mark)
{
    char text[MARK_TEXT];
    struct buf request;
    struct span answer;
    size_t n = m->n;
    if (mark >= 0) {
        mark_text(m, mark, text);
        m->puts[n] = (struct pb_put_request){ .key = m->mark, .value = span_text(text) };
        m->ops[n] = (struct pb_request_op){ .which_request = 2, .request_put = &m->puts[n] };
        n++;
    }
    struct pb_txn_request q = { .success = m->ops, .n_success = n };
    m->n = m->bytes = 0;
    if (!n)
        return EXIT_DONE;
    buf_open(&request, &cli_heap);
    pb_txn_request_encode(&q, &request);
    int status = client_call(m->target, "/etcdserverpb.KV/Txn", &request, &answer);
    buf_close(&request);
    return status;
}

/* A place for a change of that key: of one transaction only the last one of a key counts. */
static int place(struct mirror *m, struct span key, size_t bytes, size_t *at)
{
    int status = EXIT_DONE;
    for (*at = 0; *at < m->n; ++*at) {
        const struct pb_request_op *op = &m->ops[*at];
        if (span_equal(op->request_put ? op->request_put->key : op->request_delete_range->key, key))
            return EXIT_DONE;
    }
    if (m->n == OPS_MAX || (m->n && m->bytes + bytes > TXN_BYTES)) {
        status = flush(m, -1);
        *at = 0;
    }
    m->n++;
    m->bytes += bytes;
    return status;
}

static int put(struct mirror *m, struct span key, struct span value)
{
    size_t i;
    int status = place(m, key, key.len + value.len, &i);
    m->puts[i] = (struct pb_put_request){ .key = key, .value = value };
    m->ops[i] = (struct pb_request_op){ .which_request = 2, .request_put = &m->puts[i] };
    return status;
}

static int del(struct mirror *m, struct span key)
{
    size_t i;
    int status = place(m, key, key.len, &i);
    m->dels[i] = (struct pb_delete_range_request){ .key = key };
    m->ops[i] = (struct pb_request_op){ .which_request = 3, .request_delete_range = &m->dels[i] };
    return status;
}

/* ---- side by side ---- */

static int differ(struct mirror *m, struct span key, const struct pb_key_value *kv)
{
    if (span_equal(key, m->mark))
        return EXIT_DONE;
    m->differs++;
    if (m->compare)
        return EXIT_DONE;
    return kv ? put(m, key, kv->value) : del(m, key);
}

/* One page of the source, from *at of its keys on, against one of the target; *at moves behind the
 * last key that the target's page tells of. */
static int merge(struct mirror *m, const struct pb_range_response *from, size_t *at,
                 const struct pb_range_response *to)
{
    int status = EXIT_DONE;
    for (size_t i = 0; i < to->n_kvs && status == EXIT_DONE; i++) {
        const struct pb_key_value *kv = &to->kvs[i];
        int order = 1;
        while (status == EXIT_DONE && *at < from->n_kvs) {
            struct span key = there(m, &m->arena, from->kvs[*at].key);
            order = span_compare(key, kv->key);
            if (order > 0)
                break;
            if (order < 0 || !span_equal(from->kvs[*at].value, kv->value))
                status = differ(m, key, &from->kvs[*at]);
            ++*at;
            if (order == 0)
                break;
        }
        if (order != 0 && status == EXIT_DONE)
            status = differ(m, kv->key, NULL);
    }
    return status;
}

/* What stands between begin and end there becomes what the source's page has. */
static int walk_page(struct mirror *m, const struct pb_range_response *from, struct span begin,
                     struct span end)
{
    struct pb_range_response to = { .more = true };
    size_t at = 0;
    int status = EXIT_DONE;
    while (status == EXIT_DONE && to.more) {
        struct pb_range_request q = { .key = begin, .range_end = end, .limit = PAGE_KEYS };
        arena_reset(&m->page);
        status = range(m->target, &q, &m->page, &to);
        if (status == EXIT_DONE)
            status = merge(m, from, &at, &to);
        if (status == EXIT_DONE && to.n_kvs)
            begin = after(&m->arena, to.kvs[to.n_kvs - 1].key);
        if (status == EXIT_DONE)
            status = flush(m, -1); /* the changes point into the pages */
    }
    for (; status == EXIT_DONE && at < from->n_kvs; at++)
        status = differ(m, there(m, &m->arena, from->kvs[at].key), &from->kvs[at]);
    return status == EXIT_DONE ? flush(m, -1) : status;
}

static void tell(struct mirror *m, const char *what, uint64_t n)
{
    if (time(NULL) - m->told < PROGRESS_S)
        return;
    m->told = time(NULL);
    printf("%s %" PRIu64 "\n", what, n);
    fflush(stdout);
}

/* All of it, at one revision of the source; *revision 0: the newest, and which that was. */
static int walk(struct mirror *m, int64_t *revision)
{
    struct pb_range_response from = { .more = true };
    struct buf next;
    uint64_t keys = 0;
    int status = EXIT_DONE;
    m->differs = 0;
    buf_open(&next, &cli_heap);
    buf_span(&next, m->prefix.len ? m->prefix : SPAN("\0"));
    while (status == EXIT_DONE && from.more) {
        arena_reset(&m->arena);
        struct span key = arena_copy(&m->arena, buf_all(&next));
        struct pb_range_request q = {
            .key = key, .range_end = m->end, .limit = PAGE_KEYS, .revision = *revision
        };
        status = range(m->source, &q, &m->arena, &from);
        if (status != EXIT_DONE)
            break;
        *revision = *revision ? *revision : from.header->revision;
        buf_reset(&next);
        if (from.more && from.n_kvs)
            buf_span(&next, after(&m->arena, from.kvs[from.n_kvs - 1].key));
        struct span begin = keys                   ? there(m, &m->arena, key)
                            : m->target_prefix.len ? m->target_prefix
                                                   : SPAN("\0");
        struct span end = from.more ? there(m, &m->arena, buf_all(&next)) : m->target_end;
        status = walk_page(m, &from, begin, end);
        keys += from.n_kvs;
        tell(m, m->compare ? "keys compared" : "keys copied", keys);
    }
    buf_close(&next);
    return status;
}

/* ---- following ---- */

static int take_event(struct mirror *m, const struct pb_event *e, int64_t *open)
{
    int status = EXIT_DONE;
    if (!e->kv)
        return senseless();
    if (*open && e->kv->mod_revision != *open)
        status = flush(m, *open);
    if (status != EXIT_DONE)
        return status;
    m->done = *open ? *open : m->done;
    *open = e->kv->mod_revision;
    struct span key = there(m, &m->arena, e->kv->key);
    if (span_equal(key, m->mark))
        return EXIT_DONE;
    return e->type == PB_EVENT_DELETE ? del(m, key) : put(m, key, e->kv->value);
}

static int take_message(struct mirror *m, struct span message, int64_t *open)
{
    struct pb_watch_response r;
    int status = EXIT_DONE;
    arena_reset(&m->arena);
    if (!message.data || pb_watch_response_decode(message, &m->arena, &r) != ERR_OK || !r.header)
        return senseless();
    if (r.canceled && r.compact_revision)
        return NOT_THERE;
    if (r.canceled)
        return cli_complain(EXIT_REFUSED, "%.*s", (int)r.cancel_reason.len,
                            (const char *)r.cancel_reason.data);
    for (size_t i = 0; i < r.n_events && status == EXIT_DONE; i++)
        status = take_event(m, &r.events[i], open);
    if (status != EXIT_DONE)
        return status;
    if (r.fragment)
        return flush(m, -1); /* the rest of this revision comes in the next message */
    if (*open) {
        status = flush(m, *open);
        m->done = *open;
        *open = 0;
    } else if (!r.created && r.header->revision > m->done) {
        m->done = r.header->revision; /* and nothing for us up to there */
    }
    m->heard = !r.created && !r.n_events;
    tell(m, "at the source's revision", (uint64_t)m->done);
    return status;
}

static int send_watch(struct mirror *m, const struct pb_watch_request *w)
{
    struct buf request;
    buf_open(&request, &cli_heap);
    pb_watch_request_encode(w, &request);
    int status = client_send(m->watch, &request);
    buf_close(&request);
    return status;
}

/* Not from the compact revision itself on, either: etcd before 3.5.16 has no deletions there and
 * does not say so. A read just before it does. */
static int begin_watch(struct mirror *m)
{
    struct pb_range_request before = { .key = SPAN("\0"), .revision = m->done };
    struct pb_range_response r;
    struct pb_watch_create_request create = { .key = m->prefix.len ? m->prefix : SPAN("\0"),
                                              .range_end = m->end,
                                              .start_revision = m->done + 1,
                                              .fragment = true };
    struct pb_watch_request begin = { .which_request_union = 1, .create_request = &create };
    arena_reset(&m->arena);
    int status = range(m->source, &before, &m->arena, &r);
    if (status == EXIT_REFUSED)
        return NOT_THERE;
    if (status == EXIT_DONE)
        status = client_begin(m->watch, "/etcdserverpb.Watch/Watch");
    return status == EXIT_DONE ? send_watch(m, &begin) : status;
}

/* For ever; with --until-caught-up until the source says that it has told all. */
static int follow(struct mirror *m)
{
    struct pb_watch_progress_request none = { 0 };
    struct pb_watch_request ask = { .which_request_union = 3, .progress_request = &none };
    struct span message;
    int64_t open = 0;
    int status = m->o->until_caught_up ? send_watch(m, &ask) : EXIT_DONE;
    m->heard = false;
    while (status == EXIT_DONE && !(m->o->until_caught_up && m->heard && m->done >= m->goal)) {
        status = client_next(m->watch, true, &message);
        if (status == EXIT_DONE)
            status = take_message(m, message, &open);
    }
    return status;
}

/* ---- beginning ---- */

static void disconnect(struct mirror *m)
{
    struct client **all[] = { &m->source, &m->target, &m->watch };
    for (size_t i = 0; i < 3; i++) {
        if (*all[i])
            client_close(*all[i]);
        *all[i] = NULL;
    }
}

/* From where on: what the mark there says, if it is of this source. */
static int read_mark(struct mirror *m, const struct pb_range_response *r, uint64_t others)
{
    char text[MARK_TEXT], expected[17];
    snprintf(expected, sizeof(expected), "%016" PRIx64, m->cluster);
    m->done = 0;
    if (!r->n_kvs && others && !m->o->overwrite)
        return cli_complain(EXIT_REFUSED,
                            "the target has %" PRIu64 " keys there that are not of a mirror; "
                            "--overwrite makes them what the source has",
                            others);
    if (!r->n_kvs)
        return flush(m, 0);
    struct span value = r->kvs[0].value;
    snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
    if (strncmp(text, expected, 16) != 0 || text[16] != ' ' || !options_number(text + 17, &m->done))
        return cli_complain(EXIT_REFUSED,
                            "the mark %.*s is of another source; delete it to begin anew",
                            (int)m->mark.len, (const char *)m->mark.data);
    return EXIT_DONE;
}

static bool overlap(struct span a, struct span b)
{
    return span_starts(a, b) || span_starts(b, a);
}

static int connect_all(struct mirror *m)
{
    struct pb_range_response r, mark;
    struct pb_range_request at_source = { .key = SPAN("\0"), .count_only = true };
    struct pb_range_request of_mark = { .key = m->mark };
    struct pb_range_request at_target = { .key =
                                              m->target_prefix.len ? m->target_prefix : SPAN("\0"),
                                          .range_end = m->target_end,
                                          .count_only = true };
    arena_reset(&m->arena);
    m->source = client_open(&m->source_options);
    m->target = m->source ? client_open(m->o) : NULL;
    m->watch = m->target ? client_open(&m->source_options) : NULL;
    int status = m->watch ? range(m->source, &at_source, &m->arena, &r) : EXIT_UNREACHABLE;
    if (status != EXIT_DONE)
        return status;
    m->cluster = r.header->cluster_id;
    m->goal = r.header->revision;
    status = range(m->target, &of_mark, &m->arena, &mark);
    if (status == EXIT_DONE)
        status = range(m->target, &at_target, &m->arena, &r);
    if (status != EXIT_DONE)
        return status;
    if (r.header->cluster_id == m->cluster && overlap(m->prefix, m->target_prefix))
        return cli_complain(EXIT_REFUSED, "source and target are the same keys");
    return read_mark(m, &mark, (uint64_t)r.count);
}

/* ---- the command ---- */

/* Nobody writes to the source any more, or should not: what differs now would stay so. But etcd 3.4
 * says that it has told all before it has, so it is given time. */
static int end_well(struct mirror *m)
{
    int status = EXIT_DONE;
    for (int tries = 0; status == EXIT_DONE && tries < TRIES; tries++) {
        int64_t revision = 0;
        m->compare = true;
        status = walk(m, &revision);
        m->compare = false;
        if (status == EXIT_DONE && !m->differs) {
            printf("caught up at the source's revision %" PRId64 ": every key is the same\n",
                   revision);
            return EXIT_DONE;
        }
        nanosleep(&(struct timespec){ .tv_nsec = TRY_AGAIN_MS * 1000000L }, NULL);
        if (status == EXIT_DONE)
            status = follow(m);
    }
    return status != EXIT_DONE
               ? status
               : cli_complain(EXIT_REFUSED,
                              "%" PRIu64 " keys differ; somebody still writes to the source, or "
                              "wrote to the target",
                              m->differs);
}

static int go_on(struct mirror *m)
{
    int status = connect_all(m);
    if (status == EXIT_DONE && m->done == 0) {
        int64_t revision = 0;
        status = walk(m, &revision);
        if (status == EXIT_DONE)
            status = flush(m, revision);
        if (status == EXIT_DONE)
            m->done = revision;
    }
    if (status == EXIT_DONE) {
        printf("following from the source's revision %" PRId64 " on\n", m->done + 1);
        fflush(stdout);
        status = begin_watch(m);
    }
    if (status == EXIT_DONE)
        status = follow(m);
    if (status == EXIT_DONE)
        status = end_well(m);
    if (status == NOT_THERE) {
        printf("the source has compacted revision %" PRId64 "; all is compared anew\n",
               m->done + 1);
        m->n = m->bytes = 0;
        status = flush(m, 0);
        status = status == EXIT_DONE ? NOT_THERE : status;
    }
    disconnect(m);
    m->n = m->bytes = 0;
    return status;
}

static void name_all(struct mirror *m)
{
    const struct options *o = m->o;
    struct options any = { .prefix = true };
    struct span key = m->prefix = span_text(o->source_prefix ? o->source_prefix : "");
    m->end = range_end_of(&any, &key, &m->names);
    key = m->target_prefix = o->target_prefix ? span_text(o->target_prefix) : m->prefix;
    m->target_end = range_end_of(&any, &key, &m->names);
    m->mark = span_text(o->mark ? o->mark : "confman/mirror");
    m->source_options = *o;
    m->source_options.endpoint = o->args[0];
    m->source_options.cacert = o->source_cacert;
    m->source_options.cert = o->source_cert;
    m->source_options.key = o->source_key;
    m->source_options.insecure_skip_verify = o->source_insecure_skip_verify;
    m->source_options.user = o->source_user; /* nothing of the target's is told there */
    m->source_options.password_file = o->source_password_file;
    m->source_options.token = o->source_token;
}

int run_mirror(const struct options *o, struct arena *arena)
{
    struct mirror *m = ARENA_NEW(arena, struct mirror);
    m->o = o;
    m->told = time(NULL);
    arena_open(&m->names, &cli_heap);
    arena_open(&m->arena, &cli_heap);
    arena_open(&m->page, &cli_heap);
    name_all(m);
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    int status = go_on(m);
    while (status == NOT_THERE || (status == EXIT_UNREACHABLE && m->cluster)) {
        if (status == EXIT_UNREACHABLE) /* it was there before: wait for it to come back */
            nanosleep(&(struct timespec){ RETRY_S, 0 }, NULL);
        status = go_on(m);
    }
    arena_close(&m->names);
    arena_close(&m->arena);
    arena_close(&m->page);
    return status;
}
