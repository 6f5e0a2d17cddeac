/* Calling other members, again and again, and what they answer. */
#include <stdio.h>
#include "base/check.h"
#include "node/node_int.h"
#include "node/peers_int.h"

/* A name being looked up. It outlives an out that goes meanwhile. */
struct naming {
    struct job job;
    struct peers *p;
    struct peer_out *out; /* NULL: gone */
    struct tcp_address address, found[OUT_FOUND_MAX];
    size_t n_found;
    char why[TCP_WHY_MAX];
};

struct peer_out *out_of(const struct peers *p, uint64_t id)
{
    for (size_t i = 0; i < p->outs.n; i++)
        if (p->outs.items[i]->id == id && !p->outs.items[i]->gone)
            return p->outs.items[i];
    return NULL;
}

/* ---- life ---- */

static void hang_up(struct peer_out *o)
{
    if (o->state == OUT_CONNECTING) {
        loop_unwatch(o->p->n->loop, o->fd);
        tcp_close(o->fd);
    }
    if (o->naming)
        o->naming->out = NULL;
    o->naming = NULL;
    link_close(&o->link);
    o->state = OUT_WAITING;
}

static void call_at(struct peer_out *o, int64_t at_ms)
{
    o->state = OUT_WAITING;
    o->at_ms = at_ms;
    peers_wake(o->p, at_ms);
}

static bool set_address(struct peer_out *o, struct span url)
{
    if (url.len > PEER_URL_MAX || memchr(url.data, 0, url.len))
        return false;
    memcpy(o->url, url.data, url.len);
    o->url[url.len] = 0;
    return tcp_parse(o->url, &o->address, NULL) == ERR_OK && o->address.host[0] &&
           o->address.port[0];
}

struct peer_out *out_open(struct peers *p, uint64_t id, struct span url)
{
    struct peer_out *o = mem_zero(&p->n->alloc, sizeof(*o));
    o->p = p;
    o->id = id;
    o->again_ms = PEER_AGAIN_FIRST_MS;
    if (!set_address(o, url)) {
        mem_free(&p->n->alloc, o, sizeof(*o));
        return NULL;
    }
    VEC_PUSH(&p->outs, &p->n->alloc, o);
    call_at(o, loop_now_ms(p->n->loop));
    return o;
}

void out_free(struct peer_out *o)
{
    hang_up(o);
    mem_free(&o->p->n->alloc, o, sizeof(*o));
}

bool out_move(struct peer_out *o, struct span url)
{
    struct peer_out to = { .id = o->id };
    if (span_is(url, o->url))
        return true;
    if (!set_address(&to, url))
        return false;
    memcpy(o->url, to.url, sizeof(o->url));
    o->address = to.address;
    o->n_found = o->next_found = 0;
    o->again_ms = PEER_AGAIN_FIRST_MS;
    if (o->state == OUT_UP || o->state == OUT_GREETING) {
        link_break(&o->link, "its address has changed");
    } else {
        hang_up(o);
        call_at(o, loop_now_ms(o->p->n->loop));
    }
    return true;
}

/* ---- failing ---- */

/* Twice as long each time, less up to half of it, so that members do not call in step. */
static void call_later(struct peer_out *o)
{
    struct node *n = o->p->n;
    uint64_t less = prng_below(&n->prng, (uint64_t)o->again_ms / 2 + 1);
    call_at(o, loop_now_ms(n->loop) + o->again_ms - (int64_t)less);
    o->again_ms *= 2;
    if (o->again_ms > o->p->o.again_max_ms)
        o->again_ms = o->p->o.again_max_ms;
}

static void tell_lost(struct peer_out *o, bool refused)
{
    const struct peers_events *e = o->p->o.events;
    if (e->lost && o->id && !o->gone)
        e->lost(o->p->n, o->id, refused);
}

static void failed(struct peer_out *o, bool refused, const char *why)
{
    if (!o->logged && !o->refused)
        slog(SLOG_WARN, "a member cannot be reached", "member=%llx url=%s error=%s",
             (unsigned long long)o->id, slog_quote(o->url), slog_quote(why));
    o->logged = true;
    o->all_refused = o->all_refused && refused;
    if (o->next_found < o->n_found) { /* the name has other addresses */
        call_at(o, loop_now_ms(o->p->n->loop));
        return;
    }
    call_later(o);
    if (o->all_refused)
        tell_lost(o, true);
}

/* What was up is called again at once, if it was up for a while. */
static void lost(struct peer_out *o, const char *why)
{
    struct node *n = o->p->n;
    n->metrics.peer_lost++;
    slog(SLOG_INFO, "lost the connection to a member", "member=%llx error=%s",
         (unsigned long long)o->id, slog_quote(why));
    o->next_found = 0;
    if (loop_now_ms(n->loop) - o->up_ms >= o->p->o.again_max_ms && !o->refused) {
        o->again_ms = PEER_AGAIN_FIRST_MS;
        call_at(o, loop_now_ms(n->loop));
    } else {
        call_later(o);
    }
    tell_lost(o, false);
}

/* ---- the greeting ---- */

static void on_welcome(struct peer_out *o, const struct peer_welcome *w)
{
    struct node *n = o->p->n;
    const struct peers_events *e = o->p->o.events;
    if (w->version < o->p->o.version_min || w->version > o->p->o.version_max) {
        link_offend(&o->link, "it has chosen a version that we do not know");
        return;
    }
    if (o->incarnation && o->incarnation != w->incarnation) {
        link_offend(&o->link, "its data directory is not the one that it began with");
        return;
    }
    link_agree(&o->link, w->version);
    slog(SLOG_INFO, "connected to a member", "member=%llx url=%s version=%u",
         (unsigned long long)o->id, slog_quote(o->url), w->version);
    n->metrics.peer_connects++;
    if (!o->incarnation)
        o->incarnation = w->incarnation;
    o->state = OUT_UP;
    o->up_ms = loop_now_ms(n->loop);
    o->logged = false;
    o->refused = 0;
    if (e->hello)
        e->hello(n, o->id, w->incarnation);
}

static void on_refuse(struct peer_out *o, const struct peer_refuse *r)
{
    const struct peers_events *e = o->p->o.events;
    char text[PEER_TEXT_MAX + 1];
    memcpy(text, r->text.data, r->text.len);
    text[r->text.len] = 0;
    if (o->refused != r->reason)
        slog(SLOG_WARN, "a member has refused us", "member=%llx url=%s reason=%s text=%s",
             (unsigned long long)o->id, slog_quote(o->url), peer_refusal_name(r->reason),
             slog_quote(text));
    o->refused = r->reason;
    o->again_ms = o->p->o.again_max_ms;
    link_break(&o->link, "we were refused");
    if (e->refused)
        e->refused(o->p->n, o->id, r->reason, r->text);
}

static void on_joined(struct peer_out *o, const struct peer_joined *j)
{
    const struct peers_events *e = o->p->o.events;
    o->gone = true;
    link_break(&o->link, "it has told us");
    if (e->joined)
        e->joined(o->p->n, j->cluster, j->member);
}

static void on_frame(void *owner, const struct peer_frame *f)
{
    struct peer_out *o = owner;
    if (f->type == PEER_REFUSE)
        on_refuse(o, &f->refuse);
    else if (f->type == PEER_WELCOME && o->state == OUT_GREETING && o->id)
        on_welcome(o, &f->welcome);
    else if (f->type == PEER_JOINED && o->state == OUT_GREETING && !o->id)
        on_joined(o, &f->joined);
    else
        link_offend(&o->link, "it sent what only a caller may send");
}

static void greet(struct peer_out *o)
{
    struct peers *p = o->p;
    struct peer_frame f = { .type = o->id ? PEER_HELLO : PEER_JOIN };
    struct span url = span_text(p->peer_url);
    if (o->id)
        f.hello = (struct peer_hello){ p->o.version_min,
                                       p->o.version_max,
                                       p->o.cluster,
                                       p->o.member,
                                       o->id,
                                       p->o.incarnation,
                                       url };
    else
        f.join = (struct peer_join){ p->o.version_min, p->o.version_max, p->o.incarnation, url };
    bool secure = p->client_tls && listen_secure(o->url, true);
    struct tls *tls = secure ? tls_open(p->client_tls, o->address.host) : NULL;
    o->state = OUT_GREETING;
    o->at_ms = loop_now_ms(p->n->loop) + p->o.greeting_ms;
    peers_wake(p, o->at_ms);
    link_open(&o->link, p->n, o->fd, tls, o, on_frame);
    if (o->id)
        o->link.metrics = metric_peer_of(&p->n->metrics, o->id);
    link_send(&o->link, &f);
    link_write(&o->link);
}

/* ---- calling ---- */

static void on_decided(void *context, int fd, int events)
{
    struct peer_out *o = context;
    char why[TCP_WHY_MAX];
    bool refused;
    CHECK(events && o->state == OUT_CONNECTING && o->fd == fd);
    loop_unwatch(o->p->n->loop, fd);
    if (tcp_connect_done(fd, &refused, why) == ERR_OK) {
        greet(o);
        return;
    }
    tcp_close(fd);
    o->state = OUT_WAITING;
    failed(o, refused, why);
}

static void naming_run(struct job *job)
{
    struct naming *w = (struct naming *)job;
    w->n_found = tcp_resolve(&w->address, w->found, OUT_FOUND_MAX, w->why);
}

static void naming_done(struct job *job)
{
    struct naming *w = (struct naming *)job;
    struct peer_out *o = w->out;
    if (o) {
        o->naming = NULL;
        o->next_found = 0;
        o->n_found = w->n_found;
        memcpy(o->found, w->found, sizeof(o->found));
        if (w->n_found)
            call_at(o, loop_now_ms(w->p->n->loop));
        else
            failed(o, false, w->why);
    }
    mem_free(&w->p->n->alloc, w, sizeof(*w));
}

static void look_up(struct peer_out *o)
{
    struct peers *p = o->p;
    if (!p->names)
        p->names = thread_open(&p->n->alloc, p->n->loop, "confman-names", THREAD_NORMAL);
    struct naming *w = mem_zero(&p->n->alloc, sizeof(*w));
    w->job = (struct job){ .run = naming_run, .done = naming_done };
    w->p = p;
    w->out = o;
    w->address = o->address;
    o->naming = w;
    o->state = OUT_NAMING;
    thread_submit(p->names, &w->job);
}

/* A name is looked up anew when all that it stood for has been tried. */
static void call(struct peer_out *o)
{
    struct node *n = o->p->n;
    char why[TCP_WHY_MAX] = "it has no address";
    bool refused;
    if (o->next_found == 0)
        o->all_refused = true;
    else if (o->next_found == o->n_found)
        o->next_found = o->n_found = 0;
    const struct tcp_address *a = o->n_found ? &o->found[o->next_found++] : &o->address;
    enum err e = tcp_connect_start(a, &o->fd, &refused, why);
    if (e == ERR_NOT_FOUND && a == &o->address) {
        look_up(o);
        return;
    }
    n->metrics.peer_calls++;
    if (e != ERR_OK) {
        failed(o, refused, why);
        return;
    }
    o->state = OUT_CONNECTING;
    o->at_ms = loop_now_ms(n->loop) + o->p->o.greeting_ms;
    peers_wake(o->p, o->at_ms);
    loop_watch(n->loop, o->fd, LOOP_WRITE, on_decided, o);
}

void out_tick(struct peer_out *o, int64_t now_ms)
{
    if (o->gone)
        return;
    if (o->link.n && o->link.broken) {
        bool up = o->state == OUT_UP;
        char why[TLS_WHY_MAX]; /* may be the TLS session's, which ends here */
        snprintf(why, sizeof(why), "%s", o->link.why);
        hang_up(o);
        if (up)
            lost(o, why);
        else
            failed(o, false, why);
        return;
    }
    if (o->at_ms > now_ms)
        return;
    if (o->state == OUT_WAITING) {
        call(o);
    } else if (o->state == OUT_CONNECTING || o->state == OUT_GREETING) {
        hang_up(o);
        failed(o, false, "it did not answer in time");
    }
}
