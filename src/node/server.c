/* The server's life: parameters, storage, recovery, listening, the loop, a clean stop. */
#include "node/node.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/check.h"
#include "io/file/file.h"
#include "io/process/process.h"
#include "node/etcdstart.h"
#include "node/node_int.h"
#include "node/peers.h"
#include "wire/json/json.h"

/* ---- recovery: what storage reads goes into the machine, then into raft ---- */

struct recovered {
    struct node *node;
    struct raft_start start;
    VEC(struct raft_entry) entries;
    struct arena arena;
};

static enum err take_piece(void *context, struct span piece)
{
    struct recovered *r = context;
    return machine_load(&r->node->machine, piece);
}

static enum err take_checkpoint(void *context, uint64_t index, uint64_t term)
{
    struct recovered *r = context;
    struct machine *m = &r->node->machine;
    enum err e = machine_load_end(m);
    if (e == ERR_OK && (m->applied_index != index || m->applied_term != term))
        e = ERR_CORRUPT;
    r->start.snapshot_index = index;
    r->start.snapshot_term = term;
    return e;
}

static enum err take_entry(struct recovered *r, const struct log_record *record)
{
    uint64_t next = r->start.snapshot_index + r->entries.n + 1;
    if (record->index != next)
        return ERR_CORRUPT;
    struct raft_entry e = { record->index, record->term, (enum raft_entry_type)record->entry_type,
                            arena_copy(&r->arena, record->data) };
    VEC_PUSH(&r->entries, &r->node->alloc, e);
    r->node->log_bytes_read += e.data.len;
    return ERR_OK;
}

static enum err take_record(void *context, const struct log_record *record)
{
    struct recovered *r = context;
    switch (record->type) {
    case LOG_ENTRY:
        return take_entry(r, record);
    case LOG_HARD_STATE:
        r->start.term = record->term;
        r->start.vote = record->vote;
        return ERR_OK;
    case LOG_TRUNCATE:
        while (r->entries.n && r->entries.items[r->entries.n - 1].index >= record->index)
            r->entries.n--;
        return ERR_OK;
    }
    return ERR_CORRUPT;
}

static int refuse(const char *message, const char *why)
{
    slog(SLOG_ERROR, message, "error=%s", slog_quote(why));
    return 1;
}

/* ---- who we are ---- */

static void on_joined(struct node *n, uint64_t cluster, uint64_t member)
{
    n->header.cluster_id = cluster;
    n->header.member_id = member;
}

static void on_refused(struct node *n, uint64_t id, unsigned reason, struct span text)
{
    (void)text; /* it is logged there */
    if (!id || (reason != PEER_REFUSED_REMOVED && reason != PEER_REFUSED_WIPED) || n->stopping)
        return;
    slog(SLOG_ERROR,
         reason == PEER_REFUSED_REMOVED
             ? "this member was removed from the cluster: it stops"
             : "this data directory is not the one that the member began with: remove the member "
               "and add it again (confman member remove, confman member add)",
         "member=%llx", (unsigned long long)n->header.member_id);
    n->failed = true;
    server_stop(n);
}

static const struct peers_events peers_events = { .frame = peers_on_frame,
                                                  .lost = peers_on_lost,
                                                  .refused = on_refused,
                                                  .hello = peers_on_hello,
                                                  .joined = on_joined };

static void on_signal(void *context, int number)
{
    struct node *n = context;
    slog(SLOG_INFO, "stopping", "signal=%d", number);
    if (n->joining)
        loop_stop(n->loop);
    else
        server_stop(n);
}

/* Begins to ask members of the cluster which of them we are. */
static int join_begin(struct node *n)
{
    char why[PEERS_WHY_MAX], list[PARAM_TEXT_MAX], *rest = list;
    struct peers_options o = { .incarnation = n->incarnation,
                               .peer_url = n->peer_url,
                               .events = &peers_events };
    if (peers_open(n, &o, why) != ERR_OK)
        return refuse("cannot listen for other members", why);
    snprintf(list, sizeof(list), "%s", n->params.join);
    for (char *one; (one = strsep(&rest, ",")) != NULL;)
        if (peers_join(n, one) != ERR_OK)
            return refuse("join: not host:port", one);
    slog(SLOG_INFO, "asking to join", "join=%s as=%s", slog_quote(n->params.join), n->peer_url);
    loop_on_signal(n->loop, on_signal, n);
    n->joining = true;
    return 0;
}

static void find_peer_url(struct node *n, const struct raft_member *members, size_t count,
                          uint64_t self)
{
    struct peer_info info = { .name = SPAN_NONE };
    struct params *p = &n->params;
    for (size_t i = 0; i < count; i++)
        if (members[i].id == self && peer_info_decode(members[i].info, &info) != ERR_OK)
            info.peer_url = SPAN_NONE;
    if (p->advertise_peer[0])
        snprintf(n->peer_url, sizeof(n->peer_url), "%.*s", PEER_URL_MAX, p->advertise_peer);
    else if (info.peer_url.len)
        snprintf(n->peer_url, sizeof(n->peer_url), "%.*s", (int)info.peer_url.len,
                 (const char *)info.peer_url.data);
    else
        snprintf(n->peer_url, sizeof(n->peer_url), "%.*s", PEER_URL_MAX, p->listen_peers);
    if (!p->listen_peers[0])
        snprintf(p->listen_peers, sizeof(p->listen_peers), "%s", n->peer_url);
}

static int open_storage(struct node *n, uint64_t cluster, uint64_t member)
{
    char why[STORAGE_WHY_MAX];
    struct storage_options o = { .dir = n->params.data_dir,
                                 .cluster = cluster,
                                 .member = member,
                                 .salt = loop_random(),
                                 .incarnation = n->incarnation,
                                 .segment_bytes = n->segment_bytes };
    if (storage_open(&n->storage_alloc, &o, &n->storage, why) != ERR_OK)
        return refuse("the data directory cannot be opened", why);
    n->header.cluster_id = storage_cluster(n->storage);
    n->header.member_id = storage_member(n->storage);
    n->incarnation = storage_incarnation(n->storage);
    return 0;
}

/* The members that a new cluster begins with; none for a node that joins one. */
static int identify(struct node *n, struct raft_member *members, size_t *count, struct buf *infos)
{
    char why[PARAM_WHY_MAX];
    uint64_t cluster = 0, self = 0;
    bool exists;
    *count = 0;
    if (!n->joining)
        n->incarnation = loop_random() | 1;
    if (n->params.join[0] && n->params.initial_cluster[0])
        return refuse("join and initial-cluster", "a node begins a cluster or joins one: give one");
    if (storage_exists(n->params.data_dir, &exists) != ERR_OK)
        return refuse("the data directory cannot be opened", file_why());
    if (n->params.join[0]) {
        find_peer_url(n, NULL, 0, 0);
        if (!n->peer_url[0])
            return refuse("join", "listen-peers, or advertise-peer, must say where we are called");
        if (!exists && !n->joining)
            return join_begin(n);
        return open_storage(n, n->header.cluster_id, n->header.member_id);
    }
    if (cluster_begin(&n->params, members, count, &cluster, &self, infos, why) != ERR_OK)
        return refuse("a new cluster", why);
    if (open_storage(n, cluster, self) != 0)
        return 1;
    if (!n->params.initial_cluster[0])
        members[0].id = n->header.member_id;
    /* It was to join a cluster, and has not heard from it yet: it does not begin one. */
    if (!n->params.initial_cluster[0] && n->header.cluster_id != cluster_alone(n->header.member_id))
        *count = 0;
    return 0;
}

/* ---- recovery ---- */

static enum err take_members(struct recovered *r, struct raft_member *members, size_t count)
{
    struct span saved = machine_members_now(&r->node->machine);
    r->start.members = members;
    if (saved.len)
        return raft_members_decode(saved, members, &r->start.n_members);
    /* The log begins with the membership, or will: what stands in it counts. */
    r->start.n_members = storage_is_new(r->node->storage) ? count : 0;
    return ERR_OK;
}

static void look_for_auth(struct recovered *r)
{
    struct node *n = r->node;
    n->auth_asked = auth_enabled(n->machine.auth);
    for (size_t i = 0; i < r->entries.n; i++) {
        const struct raft_entry *e = &r->entries.items[i];
        struct request q;
        if (e->type != RAFT_COMMAND || !machine_command_of_auth(e->data))
            continue;
        n->auth_index = e->index;
        if (machine_command_read(e->data, &r->arena, &q) == ERR_OK)
            n->auth_asked = q.type == REQUEST_AUTH_ENABLE ||
                            (n->auth_asked && q.type != REQUEST_AUTH_DISABLE);
    }
}

static int recover(struct node *n, struct raft_member *members, size_t count)
{
    char why[STORAGE_WHY_MAX];
    struct recovered r = { .node = n };
    arena_open(&r.arena, &n->alloc);
    struct storage_reader reader = { &r, take_piece, take_checkpoint, take_record };
    int64_t start_us = loop_clock_us();
    enum err e = storage_recover(n->storage, &reader, why);
    if (e == ERR_OK) {
        e = take_members(&r, members, count);
        snprintf(why, sizeof(why), "the checkpoint's membership: %s", err_text(e));
    }
    if (e == ERR_OK) {
        r.start.self = n->header.member_id;
        r.start.entries = r.entries.items;
        r.start.n_entries = r.entries.n;
        r.start.random = loop_random();
        r.start.keep_bytes = (uint64_t)n->params.raft_keep_bytes;
        r.start.lease_ms = n->params.leader_lease_ms;
        slog(SLOG_INFO, "read what was on disk",
             "checkpoint_index=%llu log_entries=%zu revision=%lld took_ms=%lld",
             (unsigned long long)r.start.snapshot_index, r.entries.n,
             (long long)kv_revision(n->machine.kv),
             (long long)((loop_clock_us() - start_us) / 1000));
        look_for_auth(&r);
        n->records_last = r.start.snapshot_index + r.entries.n;
        struct raft_event event = { .type = RAFT_START, .start = &r.start };
        e = pump_raft(n, &event);
        n->ready_index = raft_last_index(n->raft);
        digest_applied(n);
        snprintf(why, sizeof(why), "the log does not fit the checkpoint: %s", err_text(e));
    }
    VEC_CLOSE(&r.entries, &n->alloc);
    arena_close(&r.arena);
    return e == ERR_OK ? 0 : refuse("the data directory cannot be used", why);
}

static int open_peers(struct node *n)
{
    char why[PEERS_WHY_MAX];
    size_t count;
    const struct raft_member *members = raft_members(n->raft, &count);
    find_peer_url(n, members, count, n->header.member_id);
    if (n->cluster.alone && !n->params.listen_peers[0])
        return 0;
    struct peers_options o = { .cluster = n->header.cluster_id,
                               .member = n->header.member_id,
                               .incarnation = n->incarnation,
                               .peer_url = n->peer_url,
                               .events = &peers_events };
    if (peers_open(n, &o, why) != ERR_OK)
        return refuse("cannot listen for other members", why);
    peers_members(n, members, count);
    level_open(n);
    return 0;
}

/* ---- start ---- */

static int open_logins(struct node *n)
{
    char why[KEY_WHY_MAX];
    return login_open(n, why) && oidc_open(n, why) ? 0 : refuse("who asks could not be told", why);
}

static int64_t memory_bound(const struct params *p)
{
    if (p->store_bytes_max)
        return p->store_bytes_max;
    return sysconf(_SC_PHYS_PAGES) / 4 * 3 * sysconf(_SC_PAGESIZE);
}

static int64_t answer_bound(const struct params *p)
{
    return p->answer_bytes_max ? p->answer_bytes_max
                               : sysconf(_SC_PHYS_PAGES) / 4 * sysconf(_SC_PAGESIZE);
}

static int64_t queue_bound(const struct params *p)
{
    return p->queue_bytes_max ? p->queue_bytes_max
                              : sysconf(_SC_PHYS_PAGES) / 8 * sysconf(_SC_PAGESIZE);
}

static void open_limits(struct node *n)
{
    const struct params *p = &n->params;
    /* As large as a gRPC message may be, in base64, and what stands around it. */
    size_t gate = ((size_t)p->request_bytes_max + SLACK_BYTES) / 3 * 4 + GATE_EXTRA_BYTES;
    h2_limits_default(&n->h2_limits);
    n->h2_limits.streams_max = (uint32_t)p->streams_max;
    n->http1_limits = (struct http1_limits){ .head_bytes_max = 64 << 10,
                                             .headers_max = 100,
                                             .body_bytes_max = gate };
    n->ws_limits.message_bytes_max = WS_MESSAGE_BYTES;
    n->gate_ws_limits.message_bytes_max = gate;
    n->store_bytes_max = memory_bound(p);
    n->answer_bytes_max = (size_t)answer_bound(p);
    n->queue_bytes_max = (size_t)queue_bound(p);
    conn_limit(n);
}

static void open_parts(struct node *n)
{
    metric_open(&n->metrics);
    n->loop = loop_open(&n->alloc);
    n->prng.state = loop_random();
    arena_open(&n->turn, &n->alloc);
    arena_open(&n->apply, &n->alloc);
    buf_open(&n->commands, &n->alloc);
    buf_open(&n->records, &n->alloc);
    n->disk_job.node = n;
    buf_open(&n->disk_job.records, &n->alloc);
    n->read_buffer = mem_alloc(&n->alloc, READ_BYTES);
    buf_open(&n->output_spare, &n->alloc);
    forward_open(n);
    transfer_open(n);
    machine_open(&n->machine, &n->store_alloc);
    n->watch = watch_open(&n->alloc);
    struct flagset_counts flags = { &n->metrics.flags_compiled, &n->metrics.flags_evaluated,
                                    &n->metrics.flag_sets_evicted };
    n->flagsets = flagsets_open(&n->flag_alloc, (size_t)n->params.flag_cache_bytes, flags,
                                rest_environments);
    n->schemas = rest_schemas_open(&n->alloc);
    n->links = rest_links_open(&n->alloc);
    pushing_open(n);
    locking_open(n);
    n->raft = raft_open(&n->store_alloc);
    jsonr_use(&n->json_alloc);
    open_limits(n);
    n->access = (struct gateway_access){ n->params.cors, n->params.host_whitelist };
}

/* ---- the loop ---- */

static void on_stop_timeout(void *context)
{
    struct node *n = context;
    slog(SLOG_INFO, "closing what is still open", "connections=%lld", (long long)n->conn_count);
    conn_close_all(n);
    loop_stop(n->loop);
}

static void begin_stop(struct node *n)
{
    n->stopping = true;
    process_notify("STOPPING=1");
    listen_close(n);
    watching_stop_all(n);
    pushing_stop_all(n);
    call_stop_all(n);
    conn_stop_all(n);
    n->stop_timer.callback = on_stop_timeout;
    n->stop_timer.context = n;
    loop_timer_set(n->loop, &n->stop_timer, loop_now_ms(n->loop) + n->params.stop_timeout_ms);
}

static void on_hand_over_timeout(void *context)
{
    struct node *n = context;
    if (!n->stopping)
        begin_stop(n);
}

/* A leader first lets another take over; asked again, it stops at once. */
void server_stop(struct node *n)
{
    if (n->stopping) {
        loop_timer_set(n->loop, &n->stop_timer, loop_now_ms(n->loop));
        return;
    }
    if (!n->cluster.handing_over && cluster_hand_over(n)) {
        n->stop_timer.callback = on_hand_over_timeout;
        n->stop_timer.context = n;
        loop_timer_set(n->loop, &n->stop_timer, loop_now_ms(n->loop) + RAFT_ELECTION_MS);
        return;
    }
    begin_stop(n);
}

static int begin(struct node *n);

/* A member has told who we are: now we begin as such. */
static void joined(struct node *n)
{
    peers_close(n);
    if (begin(n) == 0) {
        n->joining = false;
    } else {
        n->failed = true;
        loop_stop(n->loop);
    }
}

static bool on_turn(void *context)
{
    struct node *n = context;
    if (n->joining) {
        peers_turn(n);
        if (n->header.member_id)
            joined(n);
        return !n->joining;
    }
    n->metrics.turns++;
    bool more = upkeep_turn(n);
    pump_turn(n);
    audit_turn(n);
    level_turn(n);
    cluster_turn(n);
    peers_turn(n);
    conn_turn(n);
    seal_turn(n);
    secrets_turn(n);
    ready_turn(n);
    arena_reset(&n->turn);
    if (n->cluster.handing_over && !n->stopping && n->update.role != RAFT_LEADER)
        begin_stop(n);
    if (n->stopping && awaited_count(&n->awaited) == 0 && n->conn_count == 0)
        loop_stop(n->loop);
    return more || n->again;
}

static void close_parts(struct node *n)
{
    listen_close(n);
    conn_close_all(n);
    login_close(n);
    oidc_close(n);
    secrets_close(n);
    rewrap_close(n);
    buf_close(&n->vault_swept);
    buf_close(&n->revoke_swept);
    rest_schemas_close(n->schemas);
    rest_links_close(n->links);
    peers_close(n);
    thread_drain(n->disk);
    while (transfer_busy(n) || download_busy(n)) {
        thread_drain(n->writer);
        thread_drain(n->disk);
    }
    upkeep_checkpoint_last(n);
    thread_close(n->disk);
    thread_close(n->writer);
    pump_give_up(n);
    audit_close(n);
    upkeep_close(n);
    compactor_close(n);
    transfer_close(n);
    download_close(n);
    storage_close(n->storage);
    machine_close(&n->machine);
    watch_close(n->watch);
    flagsets_close(n->flagsets);
    CHECK(n->flag_alloc.used == 0);
    pushing_close(n);
    locking_close(n);
    raft_close(n->raft);
    if (n->tls)
        tls_context_close(n->tls);
    arena_close(&n->turn);
    arena_close(&n->apply);
    buf_close(&n->commands);
    buf_close(&n->records);
    buf_close(&n->disk_job.records);
    mem_free(&n->alloc, n->read_buffer, READ_BYTES);
    buf_close(&n->output_spare);
    awaited_close(&n->awaited, &n->alloc);
    forward_close(n);
    VEC_CLOSE(&n->command_ends, &n->alloc);
    VEC_CLOSE(&n->submitted, &n->alloc);
    VEC_CLOSE(&n->range_streams, &n->alloc);
    VEC_CLOSE(&n->hashings, &n->alloc);
    VEC_CLOSE(&n->renewals, &n->alloc);
    VEC_CLOSE(&n->physical, &n->alloc);
    VEC_CLOSE(&n->gatherings, &n->alloc);
    VEC_CLOSE(&n->standing, &n->alloc);
    VEC_CLOSE(&n->listeners, &n->alloc);
    loop_close(n->loop);
    pool_close(&n->pool);
    CHECK(n->alloc.used == 0); /* nothing is leaked */
}

static void open_allocators(struct node *n)
{
    alloc_heap(&n->alloc);
    pool_open(&n->pool, &n->alloc);
    alloc_heap(&n->store_alloc);
    alloc_heap(&n->storage_alloc);
    alloc_heap(&n->json_alloc);
    buf_open(&n->rewrap.name, &n->alloc);
    buf_open(&n->rewrap.next, &n->alloc);
    buf_open(&n->vault_swept, &n->alloc);
    buf_open(&n->revoke_swept, &n->alloc);
    alloc_heap(&n->flag_alloc);
}

static int begin(struct node *n)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct buf infos;
    size_t count;
    bool asked = n->joining;
    buf_open(&infos, &n->alloc);
    int failed = identify(n, members, &count, &infos);
    bool wait = !failed && n->joining && !asked;
    failed = failed || (!wait && recover(n, members, count) != 0);
    buf_close(&infos);
    if (failed || wait)
        return failed;
    rest_links_begin(n->links, n->machine.kv);
    n->disk = thread_open(&n->alloc, n->loop, "confman-disk", THREAD_NORMAL);
    n->writer = thread_open(&n->alloc, n->loop, "confman-writer", THREAD_BACKGROUND);
    upkeep_open(n);
    if (!audit_open(n))
        return 1;
    if (!asked)
        loop_on_signal(n->loop, on_signal, n);
    if (n->update.timeout_ms != INT64_MAX)
        loop_timer_set(n->loop, &n->raft_timer, n->update.timeout_ms);
    if (!listen_open(n) || open_peers(n) != 0)
        return 1;
    n->started_wall_ms = loop_wall_ms(n->loop);
    slog(SLOG_INFO, "confman " CONFMAN_VERSION, "member=%llx cluster=%llx data_dir=%s url=%s",
         (unsigned long long)n->header.member_id, (unsigned long long)n->header.cluster_id,
         slog_quote(n->params.data_dir), n->client_url);
    return 0;
}

struct node *node_open(const struct params *p, uint32_t segment_bytes)
{
    struct alloc heap;
    alloc_heap(&heap);
    struct node *n = mem_zero(&heap, sizeof(*n));
    n->own_alloc = heap;
    n->params = *p;
    n->segment_bytes = segment_bytes;
    open_allocators(n);
    open_parts(n);
    return listen_open_tls(n) && open_logins(n) == 0 && compactor_open(n) && secrets_open(n) &&
                   begin(n) == 0
               ? n
               : NULL;
}

bool node_serve(struct node *n)
{
    loop_run(n->loop, on_turn, n, n->params.spin_us);
    return !n->joining;
}

void node_close(struct node *n)
{
    struct alloc heap = n->own_alloc;
    close_parts(n);
    mem_free(&heap, n, sizeof(*n));
    slog(SLOG_INFO, "stopped", "revision_kept=true");
}

static bool open_log(const struct params *p, char *why)
{
    int level = slog_level_of(p->log_level);
    if (level < 0)
        snprintf(why, PARAM_WHY_MAX, "log-level must be debug, info, warn or error");
    else
        slog_level_set((enum slog_level)level);
    return level >= 0 && slog_open(p->log_format, p->log_outputs, why);
}

static int run(const struct params *p)
{
    process_keep_memory();
    struct node *n = node_open(p, LOG_SEGMENT_BYTES);
    if (!n || !node_serve(n))
        return 1;
    int status = n->failed;
    node_close(n);
    return status;
}

int node_run(int argc, char **argv)
{
    static struct params params;
    char why[PARAM_WHY_MAX];
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        param_help();
        return 0;
    }
    bool good = param_read(&params, argc, argv, why) == ERR_OK && open_log(&params, why);
    if (good && metric_kind_known(params.metrics))
        return run(&params);
    if (good)
        snprintf(why, sizeof(why), "metrics must be basic or extensive");
    fprintf(stderr, "confman server: %s\n", why);
    return 2;
}

static enum err read_etcd(struct etcd_given *g, int argc, char **argv, struct params *p,
                          int *status)
{
    char why[PARAM_WHY_MAX];
    enum err e = etcdflag_read(g, argc, argv, why);
    *status = 2;
    if (e != ERR_OK || g->help || g->version) {
        if (e != ERR_OK)
            fprintf(stderr, "etcd: %s\n", why);
        return e;
    }
    e = etcdstart_params(g, p, why);
    *status = 1;
    if (e != ERR_OK || !open_log(p, why)) {
        slog(SLOG_ERROR, "failed to verify flags", "error=%s", slog_quote(why));
        return ERR_BAD_REQUEST;
    }
    etcdstart_tell(g);
    return ERR_OK;
}

int node_run_etcd(int argc, char **argv)
{
    static struct params params;
    struct etcd_given given;
    char why[SLOG_WHY_MAX];
    int status;
    CHECK(slog_open("json", "stderr", why));
    if (argc > 0 && (strcmp(argv[0], "gateway") == 0 || strcmp(argv[0], "grpc-proxy") == 0)) {
        fprintf(stderr, "etcd %s: there is no proxy here; clients take several endpoints\n",
                argv[0]);
        return 2;
    }
    enum err e = read_etcd(&given, argc, argv, &params, &status);
    bool help = given.help, version = given.version;
    etcdflag_close(&given);
    if (e != ERR_OK)
        return status;
    if (help)
        etcdflag_help();
    if (version)
        printf("etcd Version: " ETCD_VERSION "\nconfman Version: " CONFMAN_VERSION "\n");
    return help || version ? 0 : run(&params);
}
