/* node_int: what the files of node/ share: the node, its connections, calls and watch streams. */
#pragma once
#include "api/etcd/etcd.h"
#include "api/flagd/flagd.h"
#include "api/gateway/gateway.h"
#include "api/rest/rest.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/prng.h"
#include "base/vec.h"
#include "core/log/log.h"
#include "core/machine/machine.h"
#include "core/raft/raft.h"
#include "core/watch/watch.h"
#include "io/loop/loop.h"
#include "io/tcp/tcp.h"
#include "io/thread/thread.h"
#include "io/tls/tls.h"
#include "node/access.h"
#include "node/account.h"
#include "node/admit.h"
#include "node/audit.h"
#include "node/cluster.h"
#include "node/deliveries.h"
#include "node/digest.h"
#include "node/download.h"
#include "node/forward.h"
#include "node/hashing.h"
#include "node/locking.h"
#include "node/login.h"
#include "node/metric.h"
#include "node/oidc.h"
#include "node/param.h"
#include "node/pushing.h"
#include "node/range_stream.h"
#include "node/revoke.h"
#include "node/secret.h"
#include "node/slog.h"
#include "node/storage.h"
#include "node/transfer.h"
#include "node/vault.h"
#include "wire/grpc/grpc.h"
#include "wire/http1/http1.h"
#include "wire/http2/http2.h"
#include "wire/websocket/websocket.h"

#include "base/version.h"
#define ETCD_CLUSTER_VERSION "3.6"
#define ETCD_VERSION "3.6.14" /* whose API we speak; clients decide by it what they may use */

enum {
    READ_BYTES = 256 << 10,  /* shared buffer of one read */
    OUTPUT_BYTES = 1 << 20,  /* of one connection, waiting for its socket; no more is made */
    KEEP_BYTES = 1 << 20,    /* memory that an emptied shared buffer keeps */
    SLACK_BYTES = 512 << 10, /* etcd: a gRPC message may be this much over the request limit */
    INPUT_BYTES = 1 << 20,   /* of one connection, come but not yet eaten; no more is read */
    WS_MESSAGE_BYTES = 4096, /* that a REST WebSocket's peer may send; nothing is asked of it */
    GATE_MESSAGES_MAX = 1000, /* JSON messages in one body */
    GATE_EXTRA_BYTES = 64 << 10, /* of JSON around the largest message's bytes */
    ACCEPT_PER_TURN = 64,
    DESCRIPTORS_KEPT = 128, /* for files, members and what else is not a client */
    EXPIRE_PER_TURN = 1000, /* leases revoked in one turn (etcd lease/lessor.go) */
    COMPACT_STEP = 512,     /* history entries looked at in one turn */
    CATCH_UP_PER_TURN = 16, /* watchers that are behind served in one turn */
    SLOW_APPLY_US = 100000, /* etcd: counted when applying takes longer */
    APPLY_PER_TURN = 20000, /* entries; the rest in the next turn */
    LEARNERS_MAX = 8,
    CHECKPOINT_STEP_BYTES = 256 << 10,
    SWEEP_MS = 1000,      /* how often connections are looked at for time-outs */
    SPACE_CHECK_MS = 500, /* how often disk and memory are looked at */
};

struct node;
struct conn;
struct call;
struct watch_stream;

/* ---- the node ---- */

/* A keep-alive whose lease is being revoked, or whose note is being cleared: of a call, or of
 * another member's question. */
struct renewal {
    struct call *call;
    uint64_t peer, id;
    int64_t lease;
};

struct disk_job {
    struct job job;
    struct node *node;
    struct buf records;
    uint64_t last, spare;
    uint64_t number; /* of the newest update in it */
    bool spare_used, waiting; /* waiting: for room; to be tried again */
    int64_t took_us;
    enum err err;
};

/* What was the newest revision at some time. */
struct past {
    int64_t at_ms, revision;
};

struct compactor {
    int64_t keep_ms, keep_revisions; /* one of them, or none: 0 */
    int64_t next_ms;                 /* when to look again */
    int64_t asked;                   /* the newest revision that we have asked to compact */
    struct past *past;               /* a ring */
    size_t first, n;
};

struct node {
    struct alloc own_alloc;     /* of this struct */
    struct alloc alloc;         /* connections, queues */
    struct pool pool;           /* calls and HTTP/2: what lives for one request */
    struct alloc store_alloc;   /* the machine and the log's tail */
    struct alloc storage_alloc; /* storage: used on its threads */
    struct alloc json_alloc;
    struct alloc flag_alloc; /* compiled flags */
    struct params params;
    uint32_t segment_bytes; /* of the log: LOG_SEGMENT_BYTES but in tests */
    struct metrics metrics;
    struct loop *loop;
    struct arena turn;  /* scratch of one turn */
    struct arena apply; /* scratch of one applied command */
    struct prng prng;   /* lease ids, election times: before the log, so not replicated */

    struct machine machine;
    struct watch_hub *watch;
    struct flagsets *flagsets;
    struct storage *storage;
    struct peers *peers; /* NULL: a cluster of one */
    struct etcd_header header;
    char client_url[PEER_URL_MAX + 1]; /* or several, with commas */
    int64_t started_wall_ms;

    /* pump.c */
    struct raft *raft;
    bool counting; /* the deadlines of leases: leads, and all of former terms is applied */
    struct raft_update update; /* the newest: role, term, leader, commit index */
    struct buf commands;       /* of this turn, end to end */
    VEC(size_t) command_ends;
    VEC(struct proposal) submitted; /* beside command_ends */
    struct audit *audit;          /* NULL: none is asked for */
    struct awaited_queue awaited; /* places in the log that somebody waits for */
    struct forward forward;
    struct cluster cluster;
    struct digests digests;
    struct transfer *transfer; /* snapshots, sent and received */
    VEC(struct download *) downloads;
    struct buf records; /* log records waiting for the disk */
    uint64_t records_last, records_number;
    struct worker *disk, *writer; /* log; checkpoints */
    struct disk_job disk_job;
    bool disk_busy;
    bool taking; /* in pump_took */
    bool level_news; /* a member has come, or changed: all may know more now */

    /* upkeep.c: space, compaction, checkpoints, time-outs */
    bool nospace;
    size_t answer_bytes, answer_bytes_max; /* large answers on their way */
    size_t queue_bytes_max;                /* of alloc */
    int64_t store_bytes_max;
    struct upkeep *upkeep;
    uint64_t spare;       /* number of a segment that is ready; 0: none */
    uint64_t auth_index; /* of the newest change of auth that was on disk at the start: before it is
                          * applied, rights that were taken would hold again */
    bool auth_asked; /* at the start: auth is enabled, as far as the disk tells */
    uint64_t ready_index; /* applied up to here, all that was on disk at the start is seen */
    uint64_t log_bytes_read; /* of entries after the checkpoint, at the start */
    bool again;           /* there is more to do at once */
    struct loop_timer lease_timer, sweep_timer, space_timer, progress_timer, raft_timer, stop_timer;

    struct compactor compactor;
    int64_t tidied_ms, tidied; /* when, and at which revision, old drafts were looked for */
    int64_t publishing_ms; /* drafts that are due are not looked for before this */

    /* doors */
    struct tls_context *tls;
    VEC(struct listener *) listeners;
    bool accept_paused;      /* no descriptor is left: until the next sweep */
    int64_t connections_max; /* the parameter, or less when the system allows less */
    struct conn *conns; /* all, newest first */
    struct conn *dirty; /* with something to do at the turn's end */
    int64_t conn_count, call_count, watch_stream_count;
    VEC(struct renewal) renewals; /* waiting for a revoke, or for a note to be cleared */
    bool renewals_due;            /* what some of them wait for has come */
    struct lockings lockings;
    VEC(struct hashing *) hashings;
    struct pushing *pushing;
    VEC(struct gathering *) gatherings; /* deliveries.c */
    uint64_t gathering_id;
    VEC(struct range_stream *) range_streams;
    size_t range_stream_at;      /* whose turn it is */
    VEC(struct call *) physical; /* compactions waiting for memory to be freed */
    VEC(struct call *) standing; /* keep-alives and watches of health: they end when we stop */
    bool health_told;            /* to the latter: ready or not */
    struct watch_stream *streams;
    struct h2_limits h2_limits;
    struct http1_limits http1_limits;
    struct ws_limits ws_limits, gate_ws_limits;
    struct gateway_access access;
    uint8_t *read_buffer;
    struct buf output_spare; /* lent to the connection that is being written to */
    bool told_ready;
    bool stopping;
    bool joining; /* not yet one of a cluster: nothing is open but what asks for that */
    bool failed; /* stops because it must not go on */
    char peer_url[PEER_URL_MAX + 1]; /* where other members call us */
    uint64_t incarnation;            /* of our data directory */
    struct logins logins;
    struct oidc *oidc; /* NULL: no issuer is named */
    struct secrets *secrets;
    bool secrets_came; /* in this turn */
    struct rewrap rewrap;
    struct buf vault_swept; /* the token to go on with */
    struct buf revoke_swept; /* the same */
    struct rest_schemas *schemas;
    struct rest_links *links;
};

/* ---- pump.c ---- */

/* Puts a write on its way, here or at the leader; call, if there is one, hears of it by
 * call_replied or call_failed, later. Expiry and notes are the leader's own; lease: see struct
 * proposal. ERR_STOPPED, ERR_NOSPACE, ERR_TOO_MANY_REQUESTS: nothing was taken. */
enum err pump_propose(struct node *n, const struct request *r, struct call *call,
                      int64_t lease) MUST_CHECK;
/* What of all that would be answered, if it came now; nothing is taken. Also ERR_QUOTA_EXCEEDED,
 * ERR_CORRUPT_CLUSTER. */
enum err pump_would(struct node *n, const struct request *r, const struct call *call) MUST_CHECK;
/* The same for a command that another member has made; also ERR_NO_LEADER, and what is wrong with
 * the command. */
enum err pump_propose_bytes(struct node *n, struct span command, struct proposal p) MUST_CHECK;
void proposal_failed(struct node *n, const struct proposal *p, enum err e);
/* Whether a linearizable read may be served at once: nobody else could lead. */
bool pump_may_read(struct node *n);
/* Answers a read from the state as it is. */
void pump_read(struct node *n, const struct request *r, struct arena *arena, struct reply *reply);
enum err pump_raft(struct node *n, struct raft_event *event) MUST_CHECK;
void pump_took(struct node *n, const struct raft_update *u); /* does what an update says */
void pump_turn(struct node *n);
void pump_give_up(struct node *n); /* at the end: what is under way has no outcome any more */
void pump_installed(struct node *n); /* a snapshot has taken the place of the state */
void pump_sweep(struct node *n);
void pump_timeout(void *context);

/* ---- leasing.c ---- */

void leasing_took(struct node *n, const struct raft_update *u); /* before it becomes n->update */
void leasing_applies(struct node *n, uint64_t term);            /* an entry of that term is next */
void leasing_timer(struct node *n);                             /* deadlines have changed */
void leasing_on_timer(void *context);
void leasing_sweep(struct node *n); /* proposes the notes that are due */
void leasing_turn(struct node *n);  /* answers the renewals that wait */
/* Proposes that the note no longer holds. ERR_STOPPED, ERR_TOO_MANY_REQUESTS: it may be tried
 * again. */
enum err leasing_clear(struct node *n, int64_t lease) MUST_CHECK;

/* ---- level.c ---- */

bool level_allows(const struct node *n, const struct request *r);
void level_open(struct node *n); /* the state is another one: who may call us */
void level_applied(struct node *n);
void level_turn(struct node *n); /* the leader raises it, when all can follow */

/* ---- upkeep.c ---- */

void upkeep_again(struct node *n);       /* there is work: let the next turn not wait */
void upkeep_open(struct node *n);
void upkeep_close(struct node *n);
/* Bounded work at a turn's end; true when there is more to do at once. */
bool upkeep_turn(struct node *n);
bool upkeep_writes(const struct node *n); /* a checkpoint, a segment, or a trim is on its way */
void upkeep_checkpoint_last(struct node *n); /* at a clean stop; waits for it */

/* ---- listen.c: where clients come in ---- */

/* What an address answers. */
enum { SERVES_GRPC = 1, SERVES_HTTP = 2, SERVES_SMALL = 4, SERVES_VAULT = 8 }; /* small: small.c */

struct listener {
    struct node *node;
    int fd;
    bool tls, local; /* local: a unix socket */
    unsigned serves;
};

/* Whether an address speaks TLS: as its scheme says; without one: otherwise. */
bool listen_secure(const char *url, bool otherwise);
/* Makes data_dir/fixtures/kind/{cert,key}.pem for the hosts of these addresses, when it is not
 * there or ends, and says where: PARAM_TEXT_MAX bytes each. False: it is logged why not. */
bool listen_self_signed(const struct params *p, const char *kind, const char *addresses,
                        char *cert_file, char *key_file);
bool listen_open_tls(struct node *n); /* false: it is logged why not; so below */
bool listen_open(struct node *n);
void listen_close(struct node *n); /* no more come in */
void listen_sweep(struct node *n); /* reads certificates that have changed */
/* Reads the files of a context again if they have changed; which: for the log. */
void listen_refresh(struct node *n, struct tls_context *c, const char *which);

/* ---- conn.c ---- */

enum conn_protocol { CONN_NEW, CONN_HTTP1, CONN_HTTP2, CONN_WEBSOCKET };

struct conn {
    struct node *node;
    struct conn *next, *prev, *dirty_next;
    int fd;
    enum conn_protocol protocol;
    bool dirty, closing, gone; /* closing: when all is sent; gone: at the turn's end */
    bool tls_seen, said_goodbye;
    unsigned serves; /* SERVES_ bits of where it came in */
    bool local;      /* by a unix socket */
    bool secret;     /* a secret came or went through it: what it sends from is wiped */
    bool pinged;      /* WebSocket: since it was last heard */
    int events;       /* that the loop watches for */
    int64_t since_ms; /* accepted, last request ended; WebSocket: last heard, pinged, told to end */
    struct tls *tls;  /* NULL: plain */
    struct h2 *h2;
    struct http1 *http1;
    struct ws *ws;
    struct call *call; /* HTTP/1.1 and WebSocket: the one that is open */
    struct buf in;     /* came in but not yet eaten */
    struct buf out;    /* made but not yet taken by the socket */
    struct buf plain;  /* TLS: made but not yet encrypted */
    uint8_t client_version; /* a place in metrics.clients, from 1; 0: it has not said */
    size_t answer_bytes; /* HTTP/1.1: of large answers, until all is sent */
    struct buf author; /* common name of the client certificate */
    struct proven proven;
};

void conn_accept(void *context, int listener, int events);
void conn_limit(struct node *n); /* how many there may be */
void conn_touch(struct conn *c);         /* has something to send */
struct buf *conn_output(struct conn *c); /* where to write to it */
void conn_feed_rest(struct conn *c);     /* an answer is complete: go on with what waits */
size_t conn_queued(const struct conn *c);
void conn_turn(struct node *n); /* sends what is made, closes what is done */
void conn_sweep(struct node *n);
void conn_stop_all(struct node *n);  /* no new requests */
void conn_close_all(struct node *n); /* at once */

/* ---- call.c: one request and its answer, or one stream of both ---- */

struct call {
    struct node *node;
    struct conn *conn;                /* NULL: gone; waits only for its proposal */
    struct h2_stream *stream;         /* NULL over HTTP/1.1 */
    const struct etcd_method *method; /* NULL: REST and the small HTTP answers */
    struct probe *probe; /* a page about health that waits for a read; else NULL */
    struct flagd_call *flagd; /* of a method of flagd's; else NULL */
    struct gate *gate; /* its messages come and go as JSON; NULL: they do not */
    struct grpc_reader reader;
    struct arena arena; /* REST: request and answer */
    struct rest_call *rest;
    unsigned changing; /* transactions that it has made: see changing.h */
    struct vault_work *vault;   /* in the arena; NULL: it came by another door */
    struct secret_work *secret; /* in the arena; NULL: not of secrets, or not begun */
    struct seal_job *sealing;   /* what it waits for of another server; NULL: nothing */
    struct reach *reach;        /* in the arena; NULL: it waits for no user or role */
    struct http_request http; /* REST over HTTP/2: in the arena, body while it comes */
    struct buf body; /* REST: of the request; gRPC: a message that waits for its turn */
    struct watch_stream *watch;
    struct push_stream *push;
    struct gathering *gathering;
    struct range_stream *range_stream;
    struct hashing *hashing;
    struct locking *locking;
    unsigned waiting;  /* proposals that will come back here */
    unsigned renewing; /* renewals of it in node.renewals */
    size_t message_start;
    bool begun; /* response head is sent */
    bool ended; /* the answer is complete */
    bool input_over;
    bool watches_health;
    bool asked;     /* a unary call has had its message */
    bool head_only; /* HEAD */
    bool wants_physical, physical;
    bool needs_leader;          /* ends when there is none ("hasleader") */
    size_t standing_place;      /* in the node's list of them, from 1; 0: not there */
    size_t answer_bytes;        /* of a large answer, until it is gone */
    int64_t retry_ms;           /* it may be asked again after this; 0: nothing is said */
    int64_t began_ms;           /* gRPC: for metrics */
    struct loop_timer deadline; /* gRPC: of the caller's time-out */
    struct http_header *cors;   /* for every answer over HTTP: in the arena */
    size_t n_cors;
    enum err verdict;         /* not OK: what to say when the alarm that it raised is applied */
    int64_t compact_revision; /* what to say when the memory is freed */
    uint64_t member;          /* of a change of the membership: whom it is about */
    int64_t looked_ms;        /* the leader's answer about a lease; -1: it is not there */
    struct caller caller;
};

extern const struct h2_events call_h2_events;
/* One whole request of HTTP/1.1. */
void call_http1(struct conn *c, const struct http_request *r);
/* A write goes on its way; the call is answered when it is applied. */
void call_propose(struct call *call, const struct request *r);
/* Whether there is state to answer from, with all that is known of auth. */
bool call_has_state(const struct node *n);
void call_replied(struct call *call, const struct reply *reply);
void call_failed(struct call *call, enum err e);
void call_known(struct call *call); /* who asks is: what came meanwhile goes on */
/* The read index has come (or the leader's word on a lease, if there is one). */
void call_read_now(struct call *call, int64_t lease);
void call_read_failed(struct call *call, enum err e);
void call_renewed(struct call *call, int64_t lease, enum err e, int64_t ttl_s); /* by the leader */
void call_looked(struct call *call, enum err e, int64_t ttl_ms);
void call_members_changed(struct call *call);
void call_download_end(struct call *call, enum err e);
/* A renewal that another member asked for: one that waits is answered later. */
void call_renew_for_peer(struct node *n, int64_t lease, uint64_t peer, uint64_t id);
void call_no_leader(struct node *n);
void call_renewals_settle(struct node *n); /* leases were revoked, notes cleared */
void call_physical_settle(struct node *n); /* memory is freed */
void call_gone(struct call *call);         /* its connection or stream is no more */
size_t call_queued(const struct call *call);
void call_health_settle(struct node *n); /* tells a change to those who watch it */
void call_stop_all(struct node *n);      /* ends those that would stand for ever */
/* gRPC: one message, written where begin says, then sent by end. */
struct buf *call_message_begin(struct call *call);
void call_message_end(struct call *call);
void call_text(struct call *call, struct span text); /* SSE block or WebSocket message */
void call_end(struct call *call, enum err e);        /* status and end */

/* ---- call_flagd.c: streams of flagd's doors ---- */

void call_flagd_ready(struct call *call); /* the first message, once */
/* When there is too much to tell, call->flagd->over is set, and the call has to be ended. */
void call_flagd_events(struct call *call, const struct watch_batch *batch);

/* ---- watching.c: the watchers of one stream, of either door ---- */

struct watch_stream *watching_open(struct call *call);
void watching_close(struct watch_stream *s);
/* e: what proving who asks has come to; a watch that is refused is told so, the others go on. */
void watching_request(struct watch_stream *s, const struct request *r, enum err e);
/* Fills in r for a watch by whoever stands behind a stream. What proved it once is not asked again:
 * a token may end before the watch does (etcd). user: kept in the call's arena; "": not proven. */
void watching_asker(struct call *call, struct span *user, struct request *r);
void watching_judge(struct node *n); /* auth has changed: ends what is not permitted any more */
void watching_deliver(struct node *n, const struct kv_change *changes, size_t count);
/* Ends streams of flags that looked through an environment whose parent has changed. */
void watching_environments(struct node *n, const struct kv_change *changes, size_t count);
bool watching_catch_up(struct node *n); /* true: more to do at once */
void watching_progress(struct node *n); /* the interval has passed */
void watching_no_leader(struct node *n); /* ends those that need one */
void watching_stop_all(struct node *n); /* ends every stream: the server stops */

/* ---- server.c: one node of a process; in tests there are several ---- */

/* Reads the data directory and listens; a node that joins a cluster does so when a member has told
 * it who it is, while it is served. NULL: it cannot; why is in the log, and the process should end,
 * for nothing is given back. */
struct node *node_open(const struct params *p, uint32_t segment_bytes);
bool node_serve(struct node *n); /* until it has stopped; false: it never began, as with NULL */
void node_close(struct node *n);
void server_stop(struct node *n); /* as SIGTERM does */

/* ---- publishing.c ---- */

void publishing_sweep(struct node *n); /* drafts that are due, when this node leads */
void publishing_tidy(struct node *n);  /* those that are done, likewise */

/* ---- compactor.c ---- */

bool compactor_open(struct node *n); /* false: it is logged why not */
void compactor_close(struct node *n);
void compactor_sweep(struct node *n);

/* ---- ready.c ---- */

void ready_turn(struct node *n); /* tells, once, that we serve */

/* ---- small.c: /metrics, /health/..., /version ---- */

/* False: not one of its paths. */
bool small_answer(struct node *n, const struct http_request *r, struct arena *arena,
                  struct rest_answer *out);
bool small_ready(const struct node *n, const char **why);

/* ---- health.c: /health, /livez, /readyz ---- */

/* False: not one of its paths. */
bool health_page(struct call *call, const struct http_request *r);
void health_read(struct call *call, enum err e); /* the linearizable read that it waited for */
