#include "node/peers.h"
#include <stdio.h>
#include "base/check.h"
#include "node/node_int.h"
#include "node/peers_int.h"

/* ---- the tick: closes what broke, calls who is due, gives up what takes too long ---- */

void peers_wake(struct peers *p, int64_t at_ms)
{
    if (!p->timer.place || at_ms < p->timer.at_ms)
        loop_timer_set(p->n->loop, &p->timer, at_ms);
}

static void in_tick(struct peer_in *i, int64_t now_ms)
{
    if (!i->link.broken && i->at_ms <= now_ms)
        link_offend(&i->link, "it did not say who it is in time");
}

static bool has_called(const struct peers *p, uint64_t id)
{
    for (size_t i = 0; i < p->ins.n; i++)
        if (p->ins.items[i]->id == id)
            return true;
    return false;
}

/* Guests stay as long as they are connected to us. */
static void sweep(struct peers *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->ins.n; i++) {
        struct peer_in *in = p->ins.items[i];
        if (in->link.broken) {
            slog(SLOG_DEBUG, "closed a caller", "member=%llx error=%s", (unsigned long long)in->id,
                 slog_quote(in->link.why));
            in_free(in);
        } else {
            p->ins.items[kept++] = in;
        }
    }
    p->ins.n = kept;
    kept = 0;
    for (size_t i = 0; i < p->outs.n; i++) {
        struct peer_out *o = p->outs.items[i];
        if (o->gone || (o->id && !o->member && !has_called(p, o->id)))
            out_free(o);
        else
            p->outs.items[kept++] = o;
    }
    p->outs.n = kept;
}

static void wake_for_next(struct peers *p)
{
    int64_t now = loop_now_ms(p->n->loop);
    for (size_t i = 0; i < p->ins.n; i++)
        if (p->ins.items[i]->at_ms != INT64_MAX)
            peers_wake(p, p->ins.items[i]->at_ms);
    for (size_t i = 0; i < p->outs.n; i++) {
        const struct peer_out *o = p->outs.items[i];
        if (o->link.n && o->link.broken)
            peers_wake(p, now);
        else if (o->state != OUT_UP && o->state != OUT_NAMING)
            peers_wake(p, o->at_ms);
    }
}

/* Callbacks may open outs and break links meanwhile; only the sweep frees any. */
static void tick(void *context)
{
    struct peers *p = context;
    int64_t now = loop_now_ms(p->n->loop);
    for (size_t i = 0; i < p->ins.n; i++)
        in_tick(p->ins.items[i], now);
    for (size_t i = 0; i < p->outs.n; i++)
        out_tick(p->outs.items[i], now);
    sweep(p);
    wake_for_next(p);
}

/* ---- opening ---- */

static enum err refuse(char *why, const char *what, const char *which)
{
    snprintf(why, PEERS_WHY_MAX, "%s%s%.300s", what, which[0] ? ": " : "", which);
    return ERR_BAD_REQUEST;
}

/* Where somebody must be able to call us from elsewhere, we must know who it is. */
static enum err check_tls(const struct params *a, char *why)
{
    int given = !!a->peer_cert_file[0] + !!a->peer_key_file[0] + !!a->peer_trusted_ca_file[0];
    if (!a->peer_cert_file[0] != !a->peer_key_file[0] ||
        (given == 2 && !a->peer_auto_tls && !a->allow_insecure_listen && !a->peer_client_cert_auth))
        return refuse(why,
                      "peer-cert-file, peer-key-file and peer-trusted-ca-file go together: "
                      "give all or none",
                      "");
    if (!a->peer_cert_file[0] && (a->peer_trusted_ca_file[0] || a->peer_client_cert_auth))
        return refuse(why,
                      "peer-trusted-ca-file and peer-client-cert-auth need peer-cert-file and "
                      "peer-key-file",
                      "");
    if (!a->peer_client_cert_file[0] != !a->peer_client_key_file[0])
        return refuse(why, "peer-client-cert-file and peer-client-key-file go together", "");
    return ERR_OK;
}

static enum err open_tls(struct peers *p, char *why)
{
    struct params *a = &p->n->params;
    char tls_why[TLS_WHY_MAX];
    enum err e = check_tls(a, why);
    bool own = e == ERR_OK && a->peer_auto_tls && !a->peer_cert_file[0];
    if (own && !listen_self_signed(a, "peer", a->listen_peers, a->peer_cert_file, a->peer_key_file))
        return refuse(why, "TLS between members", "no certificate can be made");
    if (e != ERR_OK || !a->peer_cert_file[0])
        return e;
    struct tls_options o = { .cert_file = a->peer_cert_file,
                             .key_file = a->peer_key_file,
                             .ca_file = a->peer_trusted_ca_file,
                             .crl_file = a->peer_crl_file,
                             .allowed_cn = a->peer_cert_allowed_cn,
                             .allowed_hostname = a->peer_cert_allowed_hostname,
                             .ciphers = a->cipher_suites,
                             .version_min = a->tls_min_version,
                             .version_max = a->tls_max_version,
                             .ask = a->peer_client_cert_auth };
    e = tls_context_open(&o, &p->server_tls, tls_why);
    o.client = true;
    o.skip_verify = a->peer_auto_tls && !a->peer_trusted_ca_file[0];
    if (a->peer_client_cert_file[0]) {
        o.cert_file = a->peer_client_cert_file;
        o.key_file = a->peer_client_key_file;
    }
    if (e == ERR_OK)
        e = tls_context_open(&o, &p->client_tls, tls_why);
    return e == ERR_OK ? e : refuse(why, "TLS between members", tls_why);
}

void peers_sweep(struct node *n)
{
    if (!n->peers)
        return;
    listen_refresh(n, n->peers->server_tls, "members");
    listen_refresh(n, n->peers->client_tls, "members");
}

static enum err open_door(struct peers *p, const char *text, char *why)
{
    const struct params *a = &p->n->params;
    struct tcp_address at;
    char tcp_why[TCP_WHY_MAX];
    struct peer_door *d = &p->doors[p->n_doors];
    *d = (struct peer_door){ .p = p, .tls = listen_secure(text, p->server_tls != NULL) };
    bool asks = d->tls && (a->peer_trusted_ca_file[0] || a->peer_client_cert_auth);
    if (p->n_doors == PEER_DOORS_MAX - 1)
        return refuse(why, "listen-peers: too many addresses", text);
    if (tcp_parse(text, &at, NULL) != ERR_OK || !at.port[0])
        return refuse(why, "listen-peers: not host:port", text);
    if (d->tls && !p->server_tls)
        return refuse(why, "listen-peers: https needs peer-cert-file and peer-key-file", text);
    if (!asks && !a->allow_insecure_listen && !tcp_is_loopback(&at))
        return refuse(why,
                      "listen-peers: not a loopback address, and members are not asked for "
                      "certificates; give peer-cert-file, peer-key-file and peer-trusted-ca-file, "
                      "or allow-insecure-listen",
                      text);
    if (tcp_listen(&at, &d->fd, tcp_why) != ERR_OK)
        return refuse(why, "cannot listen for members", tcp_why);
    p->n_doors++;
    loop_watch(p->n->loop, d->fd, LOOP_READ, in_accept, d);
    slog(SLOG_INFO, "listening for members", "host=%s port=%u tls=%s", slog_quote(at.host),
         tcp_port(d->fd), d->tls ? "true" : "false");
    return ERR_OK;
}

static enum err open_doors(struct peers *p, char *why)
{
    char list[PARAM_TEXT_MAX], *rest = list;
    enum err e = ERR_OK;
    snprintf(list, sizeof(list), "%s", p->n->params.listen_peers);
    for (char *one; e == ERR_OK && (one = strsep(&rest, ",")) != NULL;)
        e = open_door(p, one, why);
    return e;
}

enum err peers_open(struct node *n, const struct peers_options *o, char *why)
{
    CHECK(!n->peers && o->events && o->peer_url);
    if (strlen(o->peer_url) > PEER_URL_MAX)
        return refuse(why, "the address that other members shall call is too long", "");
    struct peers *p = mem_zero(&n->alloc, sizeof(*p));
    p->n = n;
    p->o = *o;
    p->o.greeting_ms = o->greeting_ms ? o->greeting_ms : PEER_GREETING_MS;
    p->o.again_max_ms = o->again_max_ms ? o->again_max_ms : PEER_AGAIN_MAX_MS;
    p->o.version_min = o->version_max ? o->version_min : PEER_VERSION_MIN;
    p->o.version_max = o->version_max ? o->version_max : PEER_VERSION;
    snprintf(p->peer_url, sizeof(p->peer_url), "%s", o->peer_url);
    p->timer.callback = tick;
    p->timer.context = p;
    arena_open(&p->arena, &n->alloc);
    buf_open(&p->clear, &n->alloc);
    n->peers = p;
    enum err e = open_tls(p, why);
    if (e == ERR_OK && o->member)
        e = open_doors(p, why);
    if (e != ERR_OK)
        peers_close(n);
    return e;
}

void peers_close(struct node *n)
{
    struct peers *p = n->peers;
    if (!p)
        return;
    for (size_t i = 0; i < p->outs.n; i++)
        out_free(p->outs.items[i]);
    for (size_t i = 0; i < p->ins.n; i++)
        in_free(p->ins.items[i]);
    if (p->names) {
        thread_drain(p->names); /* gives back what it still has */
        thread_close(p->names);
    }
    for (size_t i = 0; i < p->n_doors; i++) {
        loop_unwatch(n->loop, p->doors[i].fd);
        tcp_unlisten(p->doors[i].fd);
    }
    loop_timer_clear(n->loop, &p->timer);
    if (p->server_tls)
        tls_context_close(p->server_tls);
    if (p->client_tls)
        tls_context_close(p->client_tls);
    VEC_CLOSE(&p->outs, &n->alloc);
    VEC_CLOSE(&p->ins, &n->alloc);
    arena_close(&p->arena);
    buf_close(&p->clear);
    mem_free(&n->alloc, p, sizeof(*p));
    n->peers = NULL;
}

/* ---- members ---- */

bool peers_was_removed(const struct peers *p, uint64_t id)
{
    for (size_t i = 0; i < REMOVED_MAX; i++)
        if (p->removed[i] == id)
            return true;
    return false;
}

static void forget_removal(struct peers *p, uint64_t id)
{
    for (size_t i = 0; i < REMOVED_MAX; i++)
        if (p->removed[i] == id)
            p->removed[i] = 0;
}

static void remove_member(struct peers *p, struct peer_out *o)
{
    slog(SLOG_INFO, "a member was removed", "member=%llx", (unsigned long long)o->id);
    p->removed[p->removed_n++ % REMOVED_MAX] = o->id;
    o->gone = true;
    for (size_t i = 0; i < p->ins.n; i++)
        if (p->ins.items[i]->id == o->id)
            link_break(&p->ins.items[i]->link, "it was removed");
    peers_wake(p, loop_now_ms(p->n->loop));
}

static void take_member(struct peers *p, const struct raft_member *m)
{
    struct peer_info info;
    struct peer_out *o = out_of(p, m->id);
    forget_removal(p, m->id);
    enum err e = peer_info_decode(m->info, &info);
    if (e == ERR_OK && o)
        e = out_move(o, info.peer_url) ? ERR_OK : ERR_BAD_REQUEST;
    else if (e == ERR_OK && (o = out_open(p, m->id, info.peer_url)) == NULL)
        e = ERR_BAD_REQUEST;
    if (o)
        o->member = true;
    if (e == ERR_OK)
        o->incarnation = info.incarnation ? info.incarnation : o->incarnation;
    else
        slog(SLOG_ERROR, "the address of a member cannot be used", "member=%llx error=%s",
             (unsigned long long)m->id, slog_quote(err_text(e)));
}

static bool is_among(const struct raft_member *members, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return true;
    return false;
}

void peers_members(struct node *n, const struct raft_member *members, size_t count)
{
    struct peers *p = n->peers;
    if (!p)
        return;
    p->members_known = count > 0;
    for (size_t i = 0; i < count; i++)
        if (members[i].id != p->o.member)
            take_member(p, &members[i]);
    for (size_t i = 0; i < p->outs.n; i++) {
        struct peer_out *o = p->outs.items[i];
        if (o->member && !o->gone && !is_among(members, count, o->id))
            remove_member(p, o);
    }
}

enum err peers_join(struct node *n, const char *url)
{
    CHECK(n->peers && !n->peers->o.member);
    return out_open(n->peers, 0, span_text(url)) ? ERR_OK : ERR_BAD_REQUEST;
}

/* ---- sending ---- */

static bool is_up(const struct peer_out *o)
{
    return o && o->state == OUT_UP && !o->link.broken;
}

bool peers_send(struct node *n, uint64_t to, const struct peer_frame *f)
{
    struct peer_out *o = n->peers ? out_of(n->peers, to) : NULL;
    bool up = is_up(o), full = up && link_queued(&o->link) > PEER_QUEUE_BYTES_MAX;
    if (full) {
        n->metrics.peer_queue_full++;
        link_break(&o->link, "too much waits for it");
    }
    if (!up || full) {
        n->metrics.peer_frames_dropped++;
        if (o)
            metric_peer_of(&n->metrics, to)->sent_failures++;
        return false;
    }
    link_send(&o->link, f);
    return true;
}

void peers_turn(struct node *n)
{
    struct peers *p = n->peers;
    if (!p)
        return;
    for (size_t i = 0; i < p->outs.n; i++)
        if (link_queued(&p->outs.items[i]->link))
            link_write(&p->outs.items[i]->link);
    for (size_t i = 0; i < p->ins.n; i++)
        if (link_queued(&p->ins.items[i]->link))
            link_write(&p->ins.items[i]->link);
}

void peers_measure(struct node *n)
{
    for (size_t i = 0; n->peers && i < n->peers->outs.n; i++) {
        const struct peer_out *o = n->peers->outs.items[i];
        int64_t us = is_up(o) && o->id ? tcp_round_trip_us(o->link.fd) : -1;
        if (us >= 0)
            histogram_add(&metric_peer_of(&n->metrics, o->id)->round_trip, us);
    }
}

/* ---- looking ---- */

bool peers_connected(const struct node *n, uint64_t id)
{
    return n->peers && is_up(out_of(n->peers, id));
}

unsigned peers_version(const struct node *n, uint64_t id)
{
    const struct peer_out *o = n->peers ? out_of(n->peers, id) : NULL;
    return is_up(o) ? o->link.reader.version : 0;
}

void peers_version_min(struct node *n, unsigned version)
{
    struct peers *p = n->peers;
    if (p && version > p->o.version_min && version <= p->o.version_max)
        p->o.version_min = (uint8_t)version;
}

size_t peers_queued(const struct node *n, uint64_t id)
{
    const struct peer_out *o = n->peers ? out_of(n->peers, id) : NULL;
    return o ? link_queued(&o->link) : 0;
}

size_t peers_connections(const struct node *n)
{
    size_t count = 0;
    for (size_t i = 0; n->peers && i < n->peers->outs.n; i++)
        count += is_up(n->peers->outs.items[i]);
    return count;
}

uint16_t peers_port(const struct node *n)
{
    return n->peers && n->peers->n_doors ? tcp_port(n->peers->doors[0].fd) : 0;
}
