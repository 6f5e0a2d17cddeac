/* load: WORKLOAD --port P [-c connections] [-s streams] [-d seconds] [--keys N] ...: see usage. */
#include "load.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

enum { CONNECTIONS_MAX = 1024, SERVERS_MAX = 8 };
enum { PAGE = 1000, GRANT_TTL_S = 60, LEASES_FROM = 1000 };

struct load {
    const char *workload, *host, *path, *method, *body;
    int ports[SERVERS_MAX], server_pids[SERVERS_MAX]; /* connections go round the ports */
    uint32_t n_ports, n_server_pids;
    uint32_t connections, streams;
    double seconds, warm_seconds;
    int64_t keys, key_bytes, value_bytes, fill, watchers;
    bool linearizable;

    struct alloc heap;
    struct prng prng;
    struct wire wires[CONNECTIONS_MAX];
    struct latency latency;
    int64_t counting_from_us, end_us, errors, done, filled;
    struct buf message, key, value;
    int epoll;
    /* fan-out */
    int64_t events, puts, put_us, waiting;
};

static struct load l;

static int usage(void)
{
    fprintf(stderr,
            "load put|range|page|txn|grant|renew|fill|fanout|idle|http --port P[,P...]\n"
            "load evaluate\n"
            "     [--host H] [-c N] [-s N] [-d S] [--keys N] [--key-bytes N] [--value-bytes N]\n"
            "     [--linearizable] [--watchers N] [--server-pid PID[,PID...]]\n"
            "     http: --path P (# in it: one of --keys numbers) [--method M] [--body JSON]\n");
    return 2;
}

/* ---- messages ---- */

static struct span make_key(int64_t number)
{
    buf_reset(&l.key);
    buf_format(&l.key, "k%0*lld", (int)l.key_bytes - 1, (long long)number);
    return buf_all(&l.key);
}

static void put_fields(struct buf *b, int64_t key)
{
    field_bytes(b, 1, make_key(key));
    field_bytes(b, 2, buf_all(&l.value));
}

static void begin_put(struct wire_stream *s)
{
    buf_reset(&l.message);
    put_fields(&l.message, s->key);
    wire_call(s, "/etcdserverpb.KV/Put", buf_all(&l.message), true);
}

static void begin_range(struct wire_stream *s)
{
    buf_reset(&l.message);
    field_bytes(&l.message, 1, make_key(s->key));
    field_number(&l.message, 7, !l.linearizable);
    wire_call(s, "/etcdserverpb.KV/Range", buf_all(&l.message), true);
}

/* As Kubernetes lists: keys in order, PAGE of them. */
static void begin_page(struct wire_stream *s)
{
    buf_reset(&l.message);
    field_bytes(&l.message, 1, make_key(s->key));
    field_bytes(&l.message, 2, SPAN("\0"));
    field_number(&l.message, 3, PAGE);
    field_number(&l.message, 7, !l.linearizable);
    wire_call(s, "/etcdserverpb.KV/Range", buf_all(&l.message), true);
}

static void begin_grant(struct wire_stream *s, int64_t id)
{
    buf_reset(&l.message);
    field_number(&l.message, 1, GRANT_TTL_S);
    field_number(&l.message, 2, id);
    wire_call(s, "/etcdserverpb.Lease/LeaseGrant", buf_all(&l.message), true);
}

static void begin_http(struct wire_stream *s)
{
    const char *mark = strchr(l.path, '#');
    buf_reset(&l.message);
    if (mark)
        buf_format(&l.message, "%.*s%lld%s", (int)(mark - l.path), l.path, (long long)s->key,
                   mark + 1);
    else
        buf_text(&l.message, l.path);
    buf_u8(&l.message, 0);
    wire_http(s, l.method, (const char *)l.message.data, span_text(l.body));
}

/* Each stream keeps a lease of its own alive, on one call that stays. */
static void renew(struct wire_stream *s)
{
    buf_reset(&l.message);
    field_number(&l.message, 1, LEASES_FROM + s->key);
    if (s->id) {
        s->began_us = clock_us();
        wire_more(s, buf_all(&l.message));
        return;
    }
    s->keep = true;
    wire_call(s, "/etcdserverpb.Lease/LeaseKeepAlive", buf_all(&l.message), false);
}

static void nest(struct buf *out, uint32_t field, struct buf *inner)
{
    field_bytes(out, field, buf_all(inner));
    buf_close(inner);
}

/* As Kubernetes updates: If mod_revision == what was last seen Then put Else get. */
static void begin_txn(struct wire_stream *s)
{
    struct buf compare, put, op, get, other;
    buf_open(&compare, &l.heap);
    buf_open(&put, &l.heap);
    buf_open(&op, &l.heap);
    buf_open(&get, &l.heap);
    buf_open(&other, &l.heap);
    field_number(&compare, 2, 2); /* target: mod */
    field_bytes(&compare, 3, make_key(s->key));
    buf_varint(&compare, 6 << 3);
    buf_varint(&compare, (uint64_t)s->revision);
    put_fields(&put, s->key);
    nest(&op, 2, &put);
    field_bytes(&get, 1, make_key(s->key));
    nest(&other, 1, &get);
    buf_reset(&l.message);
    nest(&l.message, 1, &compare);
    nest(&l.message, 2, &op);
    nest(&l.message, 3, &other);
    s->keep = true;
    wire_call(s, "/etcdserverpb.KV/Txn", buf_all(&l.message), true);
}

/* The revision in the header of a unary answer: what a put made the key's mod_revision. */
static int64_t header_revision(const struct buf *answer)
{
    struct pb_field f, h;
    struct span in = answer->len > 5 ? span_from(buf_all(answer), 5) : SPAN_NONE;
    if (!in.len || !pb_next(&in, &f) || f.tag != (1 << 3 | 2))
        return 0;
    while (f.bytes.len && pb_next(&f.bytes, &h))
        if (h.tag == 3 << 3)
            return (int64_t)h.number;
    return 0;
}

static bool is(const char *workload)
{
    return strcmp(l.workload, workload) == 0;
}

static void next_call(struct wire_stream *s)
{
    bool any_key = is("put") || is("range") || is("http");
    if (is("fill") && l.filled == l.fill)
        return;
    if (is("fill"))
        s->key = l.filled++;
    else if (any_key || is("page"))
        s->key = (int64_t)prng_below(&l.prng, (uint64_t)(any_key ? l.keys : l.keys - PAGE));
    if (is("fill") || is("put"))
        begin_put(s);
    else if (is("range"))
        begin_range(s);
    else if (is("page"))
        begin_page(s);
    else if (is("http"))
        begin_http(s);
    else if (is("grant"))
        begin_grant(s, 0);
    else if (is("renew") && !s->keep) /* there may be one from the run before */
        begin_grant(s, LEASES_FROM + s->key);
    else if (is("renew"))
        renew(s);
    else
        begin_txn(s); /* each stream has its own key */
}

static void count(const struct wire_stream *s, bool ok)
{
    int64_t now = clock_us();
    l.done++;
    l.errors += !ok;
    if (now >= l.counting_from_us && s->began_us >= l.counting_from_us)
        latency_add(&l.latency, now - s->began_us);
}

static void on_end(void *context, struct wire_stream *s, bool ok)
{
    (void)context;
    if (is("renew") && !s->keep) {
        renew(s);
        return;
    }
    count(s, ok);
    if (is("txn"))
        s->revision = header_revision(&s->message);
    if (clock_us() < l.end_us)
        next_call(s);
}

/* The answers of calls that stay. */
static void on_data(void *context, struct wire_stream *s)
{
    const uint8_t *p = s->message.data;
    (void)context;
    if (!is("renew") || s->message.len < 5 ||
        s->message.len - 5 < ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]))
        return;
    buf_reset(&s->message);
    count(s, true);
    if (clock_us() < l.end_us)
        next_call(s);
}

/* ---- the server's own figures ---- */

static double cpu_s(int pid)
{
    char path[64];
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &kernel) != 2)
        user = kernel = 0;
    fclose(f);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static long rss_kib(int pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/* Of all servers together. */
static double server_cpu_s(void)
{
    double sum = 0;
    for (uint32_t i = 0; i < l.n_server_pids; i++)
        sum += cpu_s(l.server_pids[i]);
    return sum;
}

static long server_rss_kib(void)
{
    long sum = 0;
    for (uint32_t i = 0; i < l.n_server_pids; i++)
        sum += rss_kib(l.server_pids[i]);
    return sum;
}

/* ---- running ---- */

static void broken(void)
{
    fprintf(stderr, "load: a connection broke\n");
    exit(1);
}

static void open_all(const struct wire_events *events)
{
    l.epoll = epoll_create1(0);
    for (uint32_t i = 0; i < l.connections; i++) {
        if (!wire_open(&l.wires[i], &l.heap, l.host, l.ports[i % l.n_ports], l.streams, events,
                       &l))
            broken();
        struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };
        CHECK(epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.wires[i].fd, &e) == 0);
    }
}

static void turn(int timeout_ms)
{
    struct epoll_event ready[64];
    int n = epoll_wait(l.epoll, ready, 64, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct wire *w = &l.wires[ready[i].data.u32];
        if (!wire_receive(w) || !wire_flush(w))
            broken();
    }
    for (uint32_t i = 0; n == 0 && i < l.connections; i++)
        if (!wire_flush(&l.wires[i]))
            broken();
}

static void report(double took_s, double cpu_s, uint64_t count)
{
    const struct latency *a = &l.latency;
    printf("workload=%s connections=%u streams=%u requests=%llu errors=%lld seconds=%.2f "
           "per_s=%.0f p50_us=%lld p90_us=%lld p99_us=%lld p999_us=%lld max_us=%lld "
           "server_cpu_us=%.2f rss_kib=%ld\n",
           l.workload, l.connections, l.streams, (unsigned long long)count, (long long)l.errors,
           took_s, (double)count / took_s, (long long)latency_at(a, 0.5),
           (long long)latency_at(a, 0.9), (long long)latency_at(a, 0.99),
           (long long)latency_at(a, 0.999), (long long)a->max_us,
           count ? cpu_s * 1e6 / (double)count : 0, server_rss_kib());
}

static int run_calls(void)
{
    static const struct wire_events events = { .on_end = on_end, .on_data = on_data };
    bool filling = is("fill");
    open_all(&events);
    int64_t begin = clock_us();
    l.counting_from_us = filling ? begin : begin + (int64_t)(l.warm_seconds * 1e6);
    l.end_us = filling ? INT64_MAX : l.counting_from_us + (int64_t)(l.seconds * 1e6);
    for (uint32_t i = 0; i < l.connections; i++) {
        for (uint32_t k = 0; k < l.streams; k++) {
            l.wires[i].streams[k].key = i * l.streams + k;
            next_call(&l.wires[i].streams[k]);
        }
        if (!wire_flush(&l.wires[i]))
            broken();
    }
    while (!filling && clock_us() < l.counting_from_us)
        turn(1);
    double cpu = server_cpu_s();
    int64_t from = clock_us(), before = l.done;
    while (filling ? l.done < l.fill : clock_us() < l.end_us)
        turn(10);
    int64_t to = clock_us();
    report((double)(to - from) / 1e6, server_cpu_s() - cpu, (uint64_t)(l.done - before));
    return l.errors ? 1 : 0;
}

/* ---- watches ---- */

/* Whole messages off the front of what came on a watch stream; those with events are counted. */
static void on_watch_data(void *context, struct wire_stream *s)
{
    struct span in = buf_all(&s->message);
    (void)context;
    while (in.len >= 5) {
        size_t size = (size_t)in.data[1] << 24 | (size_t)in.data[2] << 16 |
                      (size_t)in.data[3] << 8 | in.data[4];
        if (in.len - 5 < size)
            break;
        struct span m = span_of(in.data + 5, size);
        struct pb_field f;
        while (m.len && pb_next(&m, &f)) {
            if (f.tag == (11 << 3 | 2)) {
                l.events++;
                latency_add(&l.latency, clock_us() - l.put_us);
            } else if (f.tag == 3 << 3) {
                l.waiting--; /* created */
            }
        }
        in = span_from(in, 5 + size);
    }
    buf_consume(&s->message, s->message.len - in.len);
}

static void on_watch_end(void *context, struct wire_stream *s, bool ok)
{
    (void)context, (void)s;
    l.done++;
    l.errors += !ok;
}

static void create_watchers(bool one_key)
{
    uint32_t lanes = l.connections * (l.streams - 1); /* the last stream of each puts */
    l.waiting = l.watchers;
    for (int64_t i = 0; i < l.watchers; i++) {
        uint32_t lane = (uint32_t)(i % lanes);
        struct wire *w = &l.wires[lane % l.connections];
        struct wire_stream *s = &w->streams[lane / l.connections];
        struct buf create, message;
        buf_open(&create, &l.heap);
        buf_open(&message, &l.heap);
        field_bytes(&create, 1, make_key(one_key ? 0 : i + 1));
        field_bytes(&message, 1, buf_all(&create));
        s->keep = true;
        if (!s->id)
            wire_call(s, "/etcdserverpb.Watch/Watch", buf_all(&message), false);
        else
            wire_more(s, buf_all(&message));
        buf_close(&create);
        buf_close(&message);
        if (i % 500 == 499 || i + 1 == l.watchers)
            while (l.waiting > l.watchers - i - 1)
                turn(1), turn(0);
    }
}

static int run_watches(void)
{
    static const struct wire_events events = { .on_end = on_watch_end, .on_data = on_watch_data };
    bool fanout = is("fanout");
    l.streams++;
    open_all(&events);
    for (uint32_t i = 0; i < l.connections; i++)
        if (!wire_flush(&l.wires[i]))
            broken();
    long before = server_rss_kib();
    create_watchers(fanout);
    if (!fanout) {
        usleep(500000);
        printf("workload=idle watchers=%lld connections=%u streams=%u rss_before_kib=%ld "
               "rss_kib=%ld bytes_each=%.0f\n",
               (long long)l.watchers, l.connections, l.streams - 1, before, server_rss_kib(),
               (double)(server_rss_kib() - before) * 1024 / (double)l.watchers);
        return 0;
    }
    struct wire_stream *putter = &l.wires[0].streams[l.streams - 1];
    double cpu = server_cpu_s();
    int64_t begin = clock_us(), rounds = 0;
    while (clock_us() - begin < (int64_t)(l.seconds * 1e6)) {
        int64_t want = l.events + l.watchers, put_done = l.done + 1;
        putter->key = 0;
        l.put_us = clock_us();
        begin_put(putter);
        if (!wire_flush(putter->wire))
            broken();
        while (l.events < want || l.done < put_done)
            turn(100);
        rounds++;
    }
    double took = (double)(clock_us() - begin) / 1e6;
    report(took, server_cpu_s() - cpu, (uint64_t)(rounds * l.watchers));
    return l.errors ? 1 : 0;
}

/* ---- options ---- */

/* "a,b,c"; how many. */
static uint32_t take_numbers(const char *text, int numbers[SERVERS_MAX])
{
    uint32_t n = 0;
    while (*text && n < SERVERS_MAX) {
        char *end;
        numbers[n++] = (int)strtol(text, &end, 10);
        text = *end == ',' ? end + 1 : "";
    }
    return n;
}

static bool take_option(const char *name, const char *value)
{
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = { { "--keys", &l.keys },
                    { "--key-bytes", &l.key_bytes },
                    { "--value-bytes", &l.value_bytes },
                    { "--watchers", &l.watchers },
                    { "--fill", &l.fill } };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].number = atoll(value);
            return true;
        }
    if (strcmp(name, "--port") == 0)
        l.n_ports = take_numbers(value, l.ports);
    else if (strcmp(name, "--host") == 0)
        l.host = value;
    else if (strcmp(name, "--path") == 0)
        l.path = value;
    else if (strcmp(name, "--method") == 0)
        l.method = value;
    else if (strcmp(name, "--body") == 0)
        l.body = value;
    else if (strcmp(name, "--server-pid") == 0)
        l.n_server_pids = take_numbers(value, l.server_pids);
    else if (strcmp(name, "-c") == 0)
        l.connections = (uint32_t)atoi(value);
    else if (strcmp(name, "-s") == 0)
        l.streams = (uint32_t)atoi(value);
    else if (strcmp(name, "-d") == 0)
        l.seconds = atof(value);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    static const char *const workloads[] = { "put",   "range", "page",   "txn",  "grant",
                                             "renew", "fill",  "fanout", "idle", "http" };
    bool known = false;
    l = (struct load){ .host = "127.0.0.1",
                       .method = "GET",
                       .body = "",
                       .connections = 8,
                       .streams = 32,
                       .seconds = 3,
                       .warm_seconds = 0.5,
                       .keys = 10000,
                       .key_bytes = 32,
                       .value_bytes = 256,
                       .fill = 10000,
                       .watchers = 1000,
                       .prng = { 1 } };
    l.workload = argc > 1 ? argv[1] : "";
    if (is("evaluate"))
        return run_evaluate();
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        known = known || strcmp(l.workload, workloads[i]) == 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--linearizable") == 0)
            l.linearizable = true;
        else if (i + 1 >= argc || !take_option(argv[i], argv[i + 1]))
            return usage();
        else
            i++;
    }
    known = known && (!is("page") || l.keys > PAGE) && (!is("http") || l.path);
    if (!known || !l.n_ports || l.connections > CONNECTIONS_MAX || !l.connections || !l.streams)
        return usage();
    alloc_heap(&l.heap);
    buf_open(&l.message, &l.heap);
    buf_open(&l.key, &l.heap);
    buf_open(&l.value, &l.heap);
    for (int64_t i = 0; i < l.value_bytes; i++)
        buf_u8(&l.value, (uint8_t)('a' + prng_below(&l.prng, 26)));
    bool watches = is("fanout") || is("idle");
    return watches ? run_watches() : run_calls();
}
