/* Nodes of which only the connections between members live, on one loop and on loopback. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/check.h"
#include "base/test.h"
#include "node/node_int.h"
#include "node/peers.h"

enum { NODES = 3, CLUSTER = 77, LONGEST_MS = 5000, BIG = 3 << 20 };

struct seen {
    uint64_t frames, bytes, next_id, hellos, losts, refusals, closed_doors;
    unsigned reason;
    char text[PEER_TEXT_MAX + 1]; /* of the newest refusal */
    bool in_order;
    uint64_t cluster, member; /* joined */
};

struct bench {
    struct alloc alloc;
    struct loop *loop;
    struct loop_timer timer;
    struct node *nodes[NODES];
    struct seen seen[NODES];
    bool (*until)(struct bench *b);
    bool late;
};

static struct bench bench;
static uint8_t noise[BIG];

static struct seen *seen_of(struct node *n)
{
    for (int i = 0; i < NODES; i++)
        if (bench.nodes[i] == n)
            return &bench.seen[i];
    UNREACHABLE("a node of the bench");
}

/* ---- events ---- */

static void on_frame(struct node *n, uint64_t from, const struct peer_frame *f)
{
    struct seen *s = seen_of(n);
    CHECK(from != 0);
    s->frames++;
    if (f->type == PEER_FORWARD) {
        s->in_order = s->in_order && f->forward.id == s->next_id++;
        s->in_order =
            s->in_order && memcmp(f->forward.command.data, noise, f->forward.command.len) == 0;
        s->bytes += f->forward.command.len;
    }
}

static void on_lost(struct node *n, uint64_t id, bool refused)
{
    CHECK(id != 0);
    seen_of(n)->losts += !refused;
    seen_of(n)->closed_doors += refused;
}

static void on_refused(struct node *n, uint64_t id, unsigned reason, struct span text)
{
    CHECK(text.len && id != 99);
    seen_of(n)->refusals++;
    seen_of(n)->reason = reason;
    snprintf(seen_of(n)->text, PEER_TEXT_MAX + 1, "%.*s", (int)text.len, (const char *)text.data);
}

static void on_hello(struct node *n, uint64_t id, uint64_t incarnation)
{
    CHECK(id * 10 == incarnation || incarnation == 666);
    seen_of(n)->hellos++;
}

static void on_joined(struct node *n, uint64_t cluster, uint64_t member)
{
    seen_of(n)->cluster = cluster;
    seen_of(n)->member = member;
}

static const struct peers_events all_events = { on_frame, on_lost, on_refused, on_hello,
                                                on_joined };
static const struct peers_events no_events;

/* ---- nodes ---- */

static struct node *node_make(void)
{
    struct node *n = calloc(1, sizeof(*n));
    CHECK(n != NULL);
    alloc_heap(&n->alloc);
    n->loop = bench.loop;
    n->prng.state = 5;
    n->read_buffer = mem_alloc(&n->alloc, READ_BYTES);
    snprintf(n->params.listen_peers, sizeof(n->params.listen_peers), "127.0.0.1:0");
    return n;
}

/* False: it has leaked. */
static bool node_free(struct node *n)
{
    peers_close(n);
    mem_free(&n->alloc, n->read_buffer, READ_BYTES);
    bool clean = n->alloc.used == 0;
    free(n);
    return clean;
}

static struct peers_options options_of(int i)
{
    uint64_t id = (uint64_t)i + 1;
    return (struct peers_options){ .cluster = CLUSTER,
                                   .member = id,
                                   .incarnation = id * 10,
                                   .peer_url = "127.0.0.1:1",
                                   .events = &all_events,
                                   .again_max_ms = 60 };
}

static char urls[NODES][64];

/* It opens on any port the first time, and then on the same again. */
static bool start(int i, const struct peers_options *o)
{
    struct node *n = bench.nodes[i];
    struct peers_options mine = *o;
    char why[PEERS_WHY_MAX];
    if (urls[i][0]) {
        snprintf(n->params.listen_peers, sizeof(n->params.listen_peers), "%s", urls[i]);
        mine.peer_url = urls[i];
    }
    if (peers_open(n, &mine, why) != ERR_OK) {
        printf("%s\n", why);
        return false;
    }
    snprintf(urls[i], sizeof(urls[i]), "127.0.0.1:%u", peers_port(n));
    return true;
}

/* Restarts it, so that it knows its own address. */
static bool start_plain(int i)
{
    struct peers_options o = options_of(i);
    if (!start(i, &o))
        return false;
    peers_close(bench.nodes[i]);
    return start(i, &o);
}

/* Tells node i of the members whose bits are in who (of 1, 2, 4 for the nodes 0, 1, 2). */
static void tell(int i, unsigned who)
{
    struct raft_member m[NODES];
    struct buf infos[NODES];
    size_t n = 0;
    for (int k = 0; k < NODES; k++) {
        if (!(who >> k & 1))
            continue;
        struct peer_info info = { SPAN("x"), span_text(urls[k]), SPAN_NONE,
                                  ((uint64_t)k + 1) * 10 };
        buf_open(&infos[n], &bench.alloc);
        peer_info_encode(&info, &infos[n]);
        m[n] = (struct raft_member){ (uint64_t)k + 1, RAFT_VOTER, buf_all(&infos[n]) };
        n++;
    }
    peers_members(bench.nodes[i], m, n);
    for (size_t k = 0; k < n; k++)
        buf_close(&infos[k]);
}

static void bench_open(void)
{
    bench = (struct bench){ 0 };
    memset(urls, 0, sizeof(urls));
    alloc_heap(&bench.alloc);
    slog_level_set((enum slog_level)(SLOG_ERROR + 1)); /* nothing */
    bench.loop = loop_open(&bench.alloc);
    for (int i = 0; i < NODES; i++) {
        bench.nodes[i] = node_make();
        bench.seen[i].in_order = true;
    }
    if (noise[1])
        return;
    for (size_t i = 0; i < BIG; i++)
        noise[i] = (uint8_t)(i * 2654435761u >> 24);
}

static bool bench_close(void)
{
    bool clean = true;
    for (int i = 0; i < NODES; i++)
        clean = node_free(bench.nodes[i]) && clean;
    loop_close(bench.loop);
    slog_level_set(SLOG_INFO);
    return clean && bench.alloc.used == 0;
}

static bool on_turn(void *context)
{
    struct bench *b = context;
    for (int i = 0; i < NODES; i++)
        peers_turn(b->nodes[i]);
    if (b->late || b->until(b))
        loop_stop(b->loop);
    return false;
}

static void on_late(void *context)
{
    ((struct bench *)context)->late = true;
}

static bool run_for(int64_t ms, bool (*until)(struct bench *b))
{
    bench.until = until;
    bench.late = false;
    bench.timer = (struct loop_timer){ .callback = on_late, .context = &bench };
    loop_timer_set(bench.loop, &bench.timer, loop_clock_us() / 1000 + ms);
    loop_run(bench.loop, on_turn, &bench, 0);
    loop_timer_clear(bench.loop, &bench.timer);
    return !bench.late;
}

static bool run(bool (*until)(struct bench *b))
{
    return run_for(LONGEST_MS, until);
}

static bool never(struct bench *b)
{
    return b->late;
}

static void pass(int64_t ms)
{
    CHECK(!run_for(ms, never));
}

static bool connected(int i, int k)
{
    return peers_connected(bench.nodes[i], (uint64_t)k + 1);
}

static bool all_connected(struct bench *b)
{
    size_t count = 0;
    for (int i = 0; i < NODES; i++)
        count += peers_connections(b->nodes[i]);
    return count == NODES * (NODES - 1);
}

static bool open_all(void)
{
    bool good = true;
    bench_open();
    for (int i = 0; i < NODES; i++)
        good = good && start_plain(i);
    for (int i = 0; i < NODES; i++)
        tell(i, 7);
    return good && run(all_connected);
}

static bool forward(int from, int to, uint64_t id, size_t len)
{
    struct peer_frame f = { .type = PEER_FORWARD };
    f.forward.id = id;
    f.forward.command = span_of(noise, len);
    return peers_send(bench.nodes[from], (uint64_t)to + 1, &f);
}

/* ---- tests ---- */

static bool all_came(struct bench *b)
{
    return b->seen[1].next_id == 1000 && b->seen[0].frames == 1;
}

TEST(peers_speak_in_order)
{
    struct peer_frame f = { .type = PEER_RAFT };
    EXPECT(open_all());
    EXPECT(bench.seen[0].hellos == 4); /* two called, two welcomed */
    for (uint64_t i = 0; i < 1000; i++)
        EXPECT(forward(0, 1, i, i % 300 == 7 ? BIG : i));
    f.raft.message = (struct raft_message){ .type = RAFT_VOTE, .from = 2, .to = 1, .term = 1 };
    EXPECT(peers_send(bench.nodes[1], 1, &f));
    EXPECT(peers_queued(bench.nodes[0], 2) > 3 * BIG);
    EXPECT(run(all_came) && bench.seen[1].in_order);
    EXPECT(bench.seen[1].bytes == 999 * 1000 / 2 - (7 + 307 + 607 + 907) + 4 * (size_t)BIG);
    EXPECT(peers_queued(bench.nodes[0], 2) == 0 &&
           bench.nodes[0]->metrics.peer_frames_dropped == 0);
    EXPECT(!forward(0, 5, 0, 1) && bench.nodes[0]->metrics.peer_frames_dropped == 1);
    EXPECT(bench_close());
}

static bool door_is_closed(struct bench *b)
{
    return b->seen[0].losts == 1 && b->seen[0].closed_doors >= 2;
}

TEST(peers_call_again)
{
    struct peers_options o = options_of(1);
    EXPECT(open_all());
    peers_close(bench.nodes[1]);
    EXPECT(run(door_is_closed) && !connected(0, 1) && connected(0, 2));
    EXPECT(!forward(0, 1, 0, 1));
    EXPECT(start(1, &o));
    tell(1, 7);
    EXPECT(run(all_connected));
    EXPECT(bench_close());
}

static bool two_is_alone(struct bench *b)
{
    (void)b;
    return peers_connections(bench.nodes[2]) == 0 && bench.seen[2].refusals >= 2 &&
           peers_connections(bench.nodes[0]) == 1;
}

TEST(peers_remove_members)
{
    EXPECT(open_all());
    tell(0, 3);
    tell(1, 3);
    EXPECT(run(two_is_alone) && bench.seen[2].reason == PEER_REFUSED_REMOVED);
    EXPECT(!forward(0, 2, 0, 1) && connected(0, 1) && connected(1, 0));
    EXPECT(bench.nodes[0]->metrics.peer_refused[PEER_REFUSED_REMOVED] >= 1);
    tell(0, 7);
    tell(1, 7);
    EXPECT(run(all_connected));
    EXPECT(bench_close());
}

static bool zero_is_refused(struct bench *b)
{
    return b->seen[0].refusals > 0;
}

static bool two_is_refused(struct bench *b)
{
    return b->seen[2].refusals > 0;
}

/* Node 1 answers a HELLO of node 0 that says this of itself. */
static unsigned reason_for(const struct peers_options *o)
{
    bench_open();
    if (!start_plain(1) || !start(0, o))
        return 99;
    tell(1, 3);
    tell(0, 3);
    unsigned reason = run(zero_is_refused) ? bench.seen[0].reason : 98;
    bool once = bench.nodes[1]->metrics.peer_refused[reason] > 0 && !connected(0, 1);
    return bench_close() && once ? reason : 97;
}

TEST(peers_refuse_strangers)
{
    struct peers_options o = options_of(0);
    o.cluster++;
    EXPECT(reason_for(&o) == PEER_REFUSED_CLUSTER);
    o = options_of(0);
    o.incarnation = 666;
    EXPECT(reason_for(&o) == PEER_REFUSED_WIPED);
    o = options_of(0);
    o.member = 2; /* the one that it calls */
    bench_open();
    EXPECT(start_plain(1) && start(0, &o));
    o = options_of(2);
    EXPECT(start(2, &o));
    urls[0][0] = 0;
    snprintf(urls[0], sizeof(urls[0]), "%s", urls[1]); /* it calls node 1 as member 1 */
    tell(2, 5);
    EXPECT(run(two_is_refused));
    EXPECT(bench.seen[2].reason == PEER_REFUSED_MEMBER);
    EXPECT(bench_close());
}

static bool both_speak(struct bench *b)
{
    (void)b;
    return connected(0, 1) && connected(1, 0);
}

static bool guest_is_gone(struct bench *b)
{
    return !b->nodes[0]->peers || (!connected(1, 0) && bench.seen[1].frames);
}

/* Node 1 knows no members yet: it lets in who calls, and can answer. */
TEST(peers_take_guests)
{
    bench_open();
    EXPECT(start_plain(0) && start_plain(1));
    tell(0, 3);
    EXPECT(run(both_speak) && forward(1, 0, 0, 10) && forward(0, 1, 0, 10));
    pass(20);
    EXPECT(bench.seen[0].frames && bench.seen[1].frames);
    tell(1, 3); /* it stays the same connection */
    EXPECT(both_speak(&bench) && bench.seen[1].losts == 0);
    EXPECT(bench.nodes[1]->metrics.peer_calls == 1);
    EXPECT(bench_close());
    bench_open();
    EXPECT(start_plain(0) && start_plain(1));
    tell(0, 3);
    EXPECT(run(both_speak) && forward(0, 1, 0, 10));
    peers_close(bench.nodes[0]);
    EXPECT(run(guest_is_gone));
    pass(20);
    EXPECT(peers_connections(bench.nodes[1]) == 0);
    EXPECT(bench_close());
}

static bool two_has_joined(struct bench *b)
{
    return b->seen[2].member != 0;
}

TEST(peers_tell_who_joins)
{
    struct peers_options o = options_of(2);
    bench_open();
    EXPECT(start_plain(0) && start_plain(1));
    snprintf(urls[2], sizeof(urls[2]), "localhost:39"); /* the address that it will have */
    o.member = o.cluster = 0;
    EXPECT(start(2, &o) && peers_port(bench.nodes[2]) == 0);
    EXPECT(peers_join(bench.nodes[2], "nonsense") == ERR_BAD_REQUEST);
    snprintf(urls[2], sizeof(urls[2]), "http://localhost:39");
    EXPECT(peers_join(bench.nodes[2], urls[0]) == ERR_OK);
    EXPECT(run(two_is_refused) && bench.seen[2].reason == PEER_REFUSED_NOT_READY);
    tell(0, 3);
    bench.seen[2].refusals = 0;
    EXPECT(run(two_is_refused) && bench.seen[2].reason == PEER_REFUSED_UNKNOWN);
    peers_close(bench.nodes[2]);
    EXPECT(start(2, &o));
    snprintf(urls[2], sizeof(urls[2]), "http://localhost:39");
    tell(0, 7);
    EXPECT(peers_join(bench.nodes[2], urls[0]) == ERR_OK);
    EXPECT(run(two_has_joined));
    EXPECT(bench.seen[2].cluster == CLUSTER && bench.seen[2].member == 3);
    EXPECT(bench_close());
}

static bool one_found_zero(struct bench *b)
{
    (void)b;
    return connected(1, 0);
}

/* "localhost" is a name, and may stand for ::1 first, where nobody listens. */
TEST(peers_look_names_up)
{
    bench_open();
    EXPECT(start_plain(0) && start_plain(1));
    snprintf(urls[0], sizeof(urls[0]), "http://localhost:%u", peers_port(bench.nodes[0]));
    tell(1, 3);
    EXPECT(run(one_found_zero) && bench.seen[1].closed_doors == 0);
    EXPECT(bench_close());
    bench_open(); /* a node that ends while it looks one up */
    EXPECT(start_plain(1));
    snprintf(urls[0], sizeof(urls[0]), "localhost:1");
    tell(1, 3);
    pass(0);
    EXPECT(bench_close());
}

static bool zero_moved(struct bench *b)
{
    (void)b;
    return connected(1, 0) && bench.seen[1].losts == 1;
}

TEST(peers_follow_addresses)
{
    struct peers_options o = options_of(0);
    EXPECT(open_all());
    peers_close(bench.nodes[0]);
    urls[0][0] = 0;
    snprintf(bench.nodes[0]->params.listen_peers, 64, "127.0.0.1:0");
    EXPECT(start(0, &o));
    tell(1, 7);
    EXPECT(run(zero_moved) && !connected(2, 0));
    EXPECT(bench_close());
}

/* ---- raw callers and raw members ---- */

static int raw_call(int i)
{
    struct tcp_address a;
    char why[TCP_WHY_MAX];
    int fd = -1;
    bool refused;
    CHECK(tcp_parse(urls[i], &a, NULL) == ERR_OK);
    CHECK(tcp_connect_start(&a, &fd, &refused, why) == ERR_OK);
    struct pollfd p = { fd, POLLOUT, 0 };
    CHECK(poll(&p, 1, 1000) == 1 && tcp_connect_done(fd, &refused, why) == ERR_OK);
    return fd;
}

static void raw_say(int fd, const struct peer_frame *f)
{
    struct buf b;
    buf_open(&b, &bench.alloc);
    peer_encode(f, PEER_VERSION, &b);
    for (struct span rest = buf_all(&b); rest.len;) {
        long n = tcp_write(fd, rest);
        struct pollfd p = { fd, POLLOUT, 0 };
        CHECK(n > 0 || (n == TCP_AGAIN && poll(&p, 1, 1000) == 1));
        rest = span_from(rest, n > 0 ? (size_t)n : 0);
    }
    buf_close(&b);
}

static bool raw_closed(int fd)
{
    uint8_t bytes[4096];
    long n;
    while ((n = tcp_read(fd, bytes, sizeof(bytes))) > 0)
        ;
    tcp_close(fd);
    return n != TCP_AGAIN;
}

static struct peer_frame hello_of(uint64_t from, uint64_t to)
{
    struct peer_frame f = { .type = PEER_HELLO };
    f.hello = (struct peer_hello){ PEER_VERSION_MIN, PEER_VERSION,       CLUSTER, from, to,
                                   from * 10,        SPAN("127.0.0.1:1") };
    return f;
}

static bool one_saw_an_offence(struct bench *b)
{
    return b->nodes[0]->metrics.peer_errors > 0;
}

static bool is_closed_for(int fd, bool (*seen)(struct bench *b))
{
    bool good = run(seen);
    pass(2);
    bench.nodes[0]->metrics.peer_errors = 0;
    return raw_closed(fd) && good;
}

static bool one_refused_a_version(struct bench *b)
{
    return b->nodes[0]->metrics.peer_refused[PEER_REFUSED_VERSION] == 1;
}

TEST(peers_close_offenders)
{
    struct peer_frame f;
    EXPECT(open_all());
    int fd = raw_call(0);
    EXPECT(tcp_write(fd, SPAN("GET / HTTP/1.1\r\n\r\n")) > 0);
    EXPECT(is_closed_for(fd, one_saw_an_offence));
    fd = raw_call(0); /* a frame before HELLO */
    f = (struct peer_frame){ .type = PEER_READ };
    raw_say(fd, &f);
    EXPECT(is_closed_for(fd, one_saw_an_offence));
    fd = raw_call(0); /* as member 2, then in the name of member 3 */
    f = hello_of(2, 1);
    raw_say(fd, &f);
    f = (struct peer_frame){ .type = PEER_RAFT };
    f.raft.message = (struct raft_message){ .type = RAFT_VOTE, .from = 3, .to = 1, .term = 9 };
    raw_say(fd, &f);
    EXPECT(is_closed_for(fd, one_saw_an_offence) && bench.seen[0].frames == 0);
    fd = raw_call(0);
    f = hello_of(2, 1);
    f.hello.version_min = f.hello.version_max = PEER_VERSION + 1;
    raw_say(fd, &f);
    EXPECT(is_closed_for(fd, one_refused_a_version));
    EXPECT(bench_close());
}

/* ---- versions: 1 to 2, 1, and 2 ---- */

static bool older_and_newer_refused(struct bench *b)
{
    return connected(0, 1) && connected(1, 0) && connected(0, 2) && connected(2, 0) &&
           b->seen[1].refusals && b->seen[2].refusals;
}

static bool frames_came(struct bench *b)
{
    return b->seen[1].next_id == 2 && b->seen[2].next_id == 2;
}

TEST(peers_choose_the_newest_version_that_both_speak)
{
    static const uint8_t low[NODES] = { 1, 1, 2 }, high[NODES] = { 2, 1, 2 };
    bench_open();
    for (int i = 0; i < NODES; i++) {
        struct peers_options o = options_of(i);
        o.version_min = low[i];
        o.version_max = high[i];
        EXPECT(start(i, &o));
    }
    for (int i = 0; i < NODES; i++)
        tell(i, 7);
    EXPECT(run(older_and_newer_refused));
    EXPECT(peers_version(bench.nodes[0], 2) == 1 && peers_version(bench.nodes[1], 1) == 1);
    EXPECT(peers_version(bench.nodes[0], 3) == 2 && peers_version(bench.nodes[2], 1) == 2);
    EXPECT(!connected(1, 2) && !connected(2, 1) && peers_version(bench.nodes[1], 3) == 0);
    EXPECT(bench.seen[1].reason == PEER_REFUSED_VERSION && bench.seen[0].refusals == 0);
    EXPECT(strstr(bench.seen[1].text, "the caller speaks 1 to 1, the called one 2 to 2"));
    EXPECT(strstr(bench.seen[2].text, "the caller speaks 2 to 2, the called one 1 to 1"));
    for (int i = 1; i < NODES; i++)
        EXPECT(strstr(bench.seen[i].text, "speaks 1 as well as 2 on every member"));
    for (uint64_t i = 0; i < 2; i++)
        EXPECT(forward(0, 1, i, 100) && forward(0, 2, i, 100));
    EXPECT(run(frames_came) && bench.seen[1].in_order && bench.seen[2].in_order);
    EXPECT(bench.nodes[0]->metrics.peer_errors == 0);
    EXPECT(bench_close());
}

TEST(peers_keep_to_the_version_that_was_chosen)
{
    struct peers_options o = options_of(0);
    struct peer_frame f = hello_of(2, 1), read = { .type = PEER_READ };
    o.version_min = 1;
    o.version_max = PEER_VERSION + 1;
    bench_open();
    EXPECT(start(0, &o));
    int fd = raw_call(0);
    f.hello.version_max = PEER_VERSION + 1; /* which is chosen, and then PEER_VERSION is spoken */
    raw_say(fd, &f);
    raw_say(fd, &read);
    EXPECT(is_closed_for(fd, one_saw_an_offence));
    EXPECT(bench.seen[0].hellos == 1 && bench.seen[0].frames == 0);
    EXPECT(bench_close());
}

TEST(peers_wait_for_a_greeting_not_for_ever)
{
    struct peers_options o = options_of(0);
    o.greeting_ms = 30;
    bench_open();
    EXPECT(start(0, &o));
    int silent = raw_call(0);
    EXPECT(is_closed_for(silent, one_saw_an_offence));
    EXPECT(bench_close());
}

static bool three_frames_came(struct bench *b)
{
    return b->seen[0].next_id == 3;
}

/* Megabytes from one caller do not keep another's few bytes waiting: it is read in turns. */
TEST(peers_a_flood_leaves_room_for_others)
{
    struct peer_frame f = hello_of(9, 1);
    EXPECT(open_all());
    int fd = raw_call(0);
    pass(5);
    raw_say(fd, &f);
    f = (struct peer_frame){ .type = PEER_CHUNK };
    f.chunk.bytes = span_of(noise, PEER_CHUNK_MAX);
    struct buf flood;
    buf_open(&flood, &bench.alloc);
    for (int i = 0; i < 8; i++)
        peer_encode(&f, PEER_VERSION, &flood);
    long sent = tcp_write(fd, buf_all(&flood));
    EXPECT(sent > 4 * PEER_READ_BYTES);
    buf_close(&flood);
    for (uint64_t i = 0; i < 3; i++)
        EXPECT(forward(1, 0, i, 10));
    EXPECT(run(three_frames_came));
    uint64_t taken = bench.nodes[0]->metrics.peer_received_bytes;
    EXPECT(taken < (uint64_t)sent); /* it was not read to its end before */
    tcp_close(fd);
    EXPECT(bench_close());
}

static int raw_listener = -1, raw_fd = -1;

/* Stands for node 1: welcomes who calls, and reads no more. */
static void raw_accept(void *context, int listener, int events)
{
    struct peer_frame f = { .type = PEER_WELCOME };
    CHECK(context == &bench && events);
    raw_fd = tcp_accept(listener);
    f.welcome.version = PEER_VERSION;
    f.welcome.incarnation = 20;
    raw_say(raw_fd, &f);
    loop_unwatch(bench.loop, listener);
}

static bool zero_is_connected(struct bench *b)
{
    (void)b;
    return connected(0, 1);
}

static bool zero_gave_up(struct bench *b)
{
    return b->seen[0].losts == 1;
}

TEST(peers_queues_are_bounded)
{
    struct tcp_address a;
    char why[TCP_WHY_MAX];
    size_t most = 0;
    uint64_t id = 0;
    bench_open();
    EXPECT(start_plain(0) && tcp_parse("127.0.0.1:0", &a, NULL) == ERR_OK);
    EXPECT(tcp_listen(&a, &raw_listener, why) == ERR_OK);
    snprintf(urls[1], sizeof(urls[1]), "127.0.0.1:%u", tcp_port(raw_listener));
    loop_watch(bench.loop, raw_listener, LOOP_READ, raw_accept, &bench);
    tell(0, 3);
    EXPECT(run(zero_is_connected));
    while (forward(0, 1, id++, BIG)) {
        peers_turn(bench.nodes[0]);
        most = peers_queued(bench.nodes[0], 2);
        EXPECT(most <= PEER_QUEUE_BYTES_MAX + BIG + 100 && id < 100);
    }
    EXPECT(most > PEER_QUEUE_BYTES_MAX && !connected(0, 1));
    EXPECT(!forward(0, 1, 0, 1));
    EXPECT(run(zero_gave_up) && peers_queued(bench.nodes[0], 2) == 0);
    EXPECT(bench.nodes[0]->alloc.used < 1 << 20); /* the memory is given back */
    EXPECT(bench.nodes[0]->metrics.peer_queue_full == 1);
    tcp_close(raw_fd);
    tcp_close(raw_listener);
    EXPECT(bench_close());
}

/* ---- bounds ---- */

static bool one_guest_was_refused(struct bench *b)
{
    return b->nodes[0]->metrics.peer_refused[PEER_REFUSED_NOT_READY] > 0;
}

TEST(peers_guests_are_bounded)
{
    int fds[PEER_GUESTS_MAX + 1];
    bench_open();
    EXPECT(start_plain(0));
    for (int i = 0; i <= PEER_GUESTS_MAX; i++) {
        struct peer_frame f = hello_of(100 + (uint64_t)i, 1);
        fds[i] = raw_call(0);
        raw_say(fds[i], &f);
    }
    EXPECT(run(one_guest_was_refused));
    EXPECT(bench.seen[0].hellos == PEER_GUESTS_MAX);
    struct peer_frame again = hello_of(100, 1); /* one that is known already may call anew */
    int fd = raw_call(0);
    raw_say(fd, &again);
    pass(5);
    EXPECT(bench.seen[0].hellos == PEER_GUESTS_MAX + 1 && raw_closed(fds[0]));
    for (int i = 1; i <= PEER_GUESTS_MAX; i++)
        tcp_close(fds[i]);
    tcp_close(fd);
    EXPECT(bench_close());
}

TEST(peers_callers_are_bounded)
{
    int fds[PEER_CALLERS_MAX + 1];
    bench_open();
    EXPECT(start_plain(0));
    for (int i = 0; i <= PEER_CALLERS_MAX; i++)
        fds[i] = raw_call(0);
    EXPECT(is_closed_for(fds[PEER_CALLERS_MAX], one_saw_an_offence));
    uint8_t byte;
    for (int i = 0; i < PEER_CALLERS_MAX; i++) {
        EXPECT(tcp_read(fds[i], &byte, 1) == TCP_AGAIN);
        tcp_close(fds[i]);
    }
    EXPECT(bench_close());
}

static bool zero_called_twice(struct bench *b)
{
    return b->nodes[0]->metrics.peer_calls == 2;
}

/* Somebody listens there, and never says a word. */
TEST(peers_do_not_wait_for_a_mute_member)
{
    struct peers_options o = options_of(0);
    struct tcp_address a;
    char why[PEERS_WHY_MAX];
    o.greeting_ms = 20;
    bench_open();
    EXPECT(tcp_parse("127.0.0.1:0", &a, NULL) == ERR_OK);
    EXPECT(tcp_listen(&a, &raw_listener, why) == ERR_OK && start(0, &o));
    snprintf(urls[1], sizeof(urls[1]), "127.0.0.1:%u", tcp_port(raw_listener));
    tell(0, 3);
    EXPECT(run(zero_called_twice) && bench.seen[0].closed_doors == 0 && bench.seen[0].losts == 0);
    tcp_close(raw_listener);
    EXPECT(bench_close());
}

TEST(peers_addresses_that_are_none)
{
    struct peers_options o = options_of(2);
    char why[PEERS_WHY_MAX];
    EXPECT(open_all());
    snprintf(urls[1], sizeof(urls[1]), "nonsense");
    tell(0, 7); /* the one that it had stays */
    pass(5);
    EXPECT(connected(0, 1));
    tell(0, 5);
    tell(0, 7);
    pass(5);
    EXPECT(!connected(0, 1) && connected(0, 2) && peers_queued(bench.nodes[0], 2) == 0);
    peers_close(bench.nodes[2]);
    snprintf(bench.nodes[2]->params.listen_peers, 64, "%s", urls[0]);
    EXPECT(peers_open(bench.nodes[2], &o, why) == ERR_BAD_REQUEST && strstr(why, "in use"));
    snprintf(bench.nodes[2]->params.listen_peers, 64, "nonsense");
    EXPECT(peers_open(bench.nodes[2], &o, why) == ERR_BAD_REQUEST && strstr(why, "nonsense"));
    EXPECT(bench_close());
}

/* ---- TLS ---- */

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool good = e && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return good;
}

/* One that has signed itself, for 127.0.0.1. */
static bool make_certificate(const char *file)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    FILE *f = fopen(file, "w");
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    bool good = f &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                           (const unsigned char *)"member", -1, -1, 0) == 1 &&
                X509_set_issuer_name(cert, name) == 1 &&
                add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
                add_extension(cert, NID_subject_alt_name, "IP:127.0.0.1") &&
                X509_sign(cert, key, EVP_sha256()) > 0 &&
                PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                PEM_write_X509(f, cert) == 1;
    if (f)
        fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
    return good;
}

static void use_certificate(int i, const char *own, const char *trusted)
{
    struct params *p = &bench.nodes[i]->params;
    snprintf(p->peer_cert_file, sizeof(p->peer_cert_file), "%s", own);
    snprintf(p->peer_key_file, sizeof(p->peer_key_file), "%s", own);
    snprintf(p->peer_trusted_ca_file, sizeof(p->peer_trusted_ca_file), "%s", trusted);
}

static bool big_came(struct bench *b)
{
    return b->seen[1].bytes == 2 * BIG;
}

static bool some_offended(struct bench *b)
{
    return b->nodes[1]->metrics.peer_errors >= 2;
}

TEST(peers_speak_tls)
{
    char ours[] = "/tmp/confman-peers-XXXXXX", theirs[] = "/tmp/confman-peers-XXXXXX";
    char why[PEERS_WHY_MAX];
    struct peers_options o = options_of(0);
    close(mkstemp(ours));
    close(mkstemp(theirs));
    EXPECT(make_certificate(ours) && make_certificate(theirs));
    bench_open();
    use_certificate(0, ours, ours);
    use_certificate(1, ours, ours);
    use_certificate(2, theirs, theirs);
    EXPECT(start_plain(0) && start_plain(1) && start_plain(2));
    for (int i = 0; i < NODES; i++)
        tell(i, 7);
    EXPECT(run(both_speak) && forward(0, 1, 0, BIG) && forward(0, 1, 1, BIG));
    EXPECT(run(big_came) && bench.seen[1].in_order);
    EXPECT(run(some_offended)); /* node 2 is not one of us, nor does it take us for one */
    EXPECT(!connected(1, 2) && !connected(2, 1) && bench.seen[2].hellos == 0);
    EXPECT(bench_close());
    bench_open();
    use_certificate(0, ours, ""); /* half of it is not enough */
    EXPECT(peers_open(bench.nodes[0], &o, why) == ERR_BAD_REQUEST && !bench.nodes[0]->peers);
    use_certificate(0, "", "");
    snprintf(bench.nodes[0]->params.listen_peers, 64, "0.0.0.0:0");
    EXPECT(peers_open(bench.nodes[0], &o, why) == ERR_BAD_REQUEST && strstr(why, "loopback"));
    use_certificate(0, ours, ours);
    EXPECT(peers_open(bench.nodes[0], &o, why) == ERR_OK);
    EXPECT(bench_close());
    unlink(ours);
    unlink(theirs);
}

TEST(peers_of_a_cluster_of_one)
{
    struct peers_options o = options_of(0);
    bench_open();
    EXPECT(!forward(0, 1, 0, 1) && !connected(0, 1) && peers_connections(bench.nodes[0]) == 0);
    peers_turn(bench.nodes[0]);
    peers_members(bench.nodes[0], NULL, 0);
    EXPECT(peers_queued(bench.nodes[0], 2) == 0 && peers_port(bench.nodes[0]) == 0);
    o.events = &no_events; /* nobody listens to what happens */
    EXPECT(start(0, &o) && start_plain(1));
    tell(0, 3);
    tell(1, 3);
    EXPECT(run(both_speak) && forward(1, 0, 0, 1));
    peers_close(bench.nodes[1]);
    pass(5);
    EXPECT(!connected(0, 1));
    EXPECT(bench_close());
}
