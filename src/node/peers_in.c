/* Who has called us: whether they are let in, and what they send. */
#include <stdio.h>
#include "base/check.h"
#include "node/node_int.h"
#include "node/peers_int.h"

enum { ACCEPT_MAX = 16 }; /* in one turn */

void in_free(struct peer_in *i)
{
    link_close(&i->link);
    mem_free(&i->p->n->alloc, i, sizeof(*i));
}

/* Both sides log the text, so it says what to do. */
static void refuse(struct peer_in *i, enum peer_refusal reason, const struct peer_hello *h)
{
    struct node *n = i->p->n;
    const struct peers_options *o = &i->p->o;
    bool older = h->version_max < o->version_min;
    struct peer_frame f = { .type = PEER_REFUSE };
    char text[PEER_TEXT_MAX];
    snprintf(text, sizeof(text), "%s", peer_refusal_text(reason));
    if (reason == PEER_REFUSED_VERSION)
        snprintf(
            text, sizeof(text),
            "%s: the caller speaks %u to %u, the called one %u to %u; first run a release that "
            "speaks %u as well as %u on every member",
            peer_refusal_text(reason), h->version_min, h->version_max, o->version_min,
            o->version_max, older ? h->version_max : o->version_max,
            older ? o->version_min : h->version_min);
    slog(SLOG_WARN, "refused a caller", "member=%llx incarnation=%llx reason=%s text=%s",
         (unsigned long long)h->from, (unsigned long long)h->incarnation, peer_refusal_name(reason),
         slog_quote(text));
    f.refuse.reason = (uint8_t)reason;
    f.refuse.text = span_text(text);
    n->metrics.peer_refused[reason]++;
    link_send(&i->link, &f);
    link_write(&i->link); /* what is so short the socket takes */
    link_break(&i->link, "it was refused");
}

/* The newest version that both speak; 0: none. */
static uint8_t choose(const struct peers *p, uint8_t low, uint8_t high)
{
    uint8_t most = high < p->o.version_max ? high : p->o.version_max;
    return most >= low && most >= p->o.version_min ? most : 0;
}

/* ---- HELLO ---- */

static size_t guests(const struct peers *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->outs.n; i++)
        count += !p->outs.items[i]->member;
    return count;
}

/* Who is not in our membership may be newer than what we know of it (Raft 4.1), and we may be who
 * has yet to be told anything: it is called back where it says that it can be. */
static enum peer_refusal take_guest(struct peers *p, const struct peer_hello *h)
{
    struct peer_out *o = out_of(p, h->from);
    if (o)
        return out_move(o, h->peer_url) ? 0 : PEER_REFUSED_UNKNOWN;
    if (guests(p) >= PEER_GUESTS_MAX)
        return PEER_REFUSED_NOT_READY;
    return out_open(p, h->from, h->peer_url) ? 0 : PEER_REFUSED_UNKNOWN;
}

static enum peer_refusal judge(struct peers *p, const struct peer_hello *h)
{
    struct peer_out *o = out_of(p, h->from);
    if (!choose(p, h->version_min, h->version_max))
        return PEER_REFUSED_VERSION;
    if (h->cluster != p->o.cluster)
        return PEER_REFUSED_CLUSTER;
    if (h->to != p->o.member || h->from == p->o.member || h->from == 0)
        return PEER_REFUSED_MEMBER;
    if (peers_was_removed(p, h->from))
        return PEER_REFUSED_REMOVED;
    if (o && o->member)
        return o->incarnation && o->incarnation != h->incarnation ? PEER_REFUSED_WIPED : 0;
    return take_guest(p, h);
}

static void on_hello(struct peer_in *i, const struct peer_hello *h)
{
    struct peers *p = i->p;
    const struct peers_events *e = p->o.events;
    struct peer_frame f = { .type = PEER_WELCOME };
    enum peer_refusal reason = judge(p, h);
    if (reason) {
        refuse(i, reason, h);
        return;
    }
    for (size_t k = 0; k < p->ins.n; k++) /* it has called anew: the older connection is dead */
        if (p->ins.items[k]->id == h->from)
            link_break(&p->ins.items[k]->link, "it has called again");
    i->id = h->from;
    i->at_ms = INT64_MAX;
    i->link.metrics = metric_peer_of(&p->n->metrics, h->from);
    f.welcome.version = choose(p, h->version_min, h->version_max);
    link_agree(&i->link, f.welcome.version);
    i->link.frame_max = PEER_FRAME_MAX;
    f.welcome.incarnation = p->o.incarnation;
    link_send(&i->link, &f);
    link_write(&i->link);
    /* It lives: if we have failed to reach it, now is a better time. */
    struct peer_out *o = out_of(p, h->from);
    CHECK(o != NULL);
    if (!o->incarnation) /* held to it from now on, until the membership says it */
        o->incarnation = h->incarnation;
    if (o->state == OUT_WAITING && !o->refused) {
        o->at_ms = loop_now_ms(p->n->loop);
        peers_wake(p, o->at_ms);
    }
    if (e->hello)
        e->hello(p->n, h->from, h->incarnation);
}

/* ---- JOIN ---- */

static bool same_place(const struct tcp_address *a, struct span url)
{
    char text[PEER_URL_MAX + 1];
    struct tcp_address b;
    snprintf(text, sizeof(text), "%.*s", (int)url.len, (const char *)url.data);
    return tcp_parse(text, &b, NULL) == ERR_OK && strcmp(a->host, b.host) == 0 &&
           strcmp(a->port, b.port) == 0;
}

static void on_join(struct peer_in *i, const struct peer_join *j)
{
    struct peers *p = i->p;
    struct peer_hello as = { .version_min = j->version_min,
                             .version_max = j->version_max,
                             .incarnation = j->incarnation };
    struct peer_frame f = { .type = PEER_JOINED };
    struct peer_out *found = NULL;
    for (size_t k = 0; k < p->outs.n; k++) {
        struct peer_out *o = p->outs.items[k];
        if (o->member && !o->gone && same_place(&o->address, j->peer_url))
            found = o;
    }
    if (!choose(p, j->version_min, j->version_max)) {
        refuse(i, PEER_REFUSED_VERSION, &as);
    } else if (!found) {
        refuse(i, p->members_known ? PEER_REFUSED_UNKNOWN : PEER_REFUSED_NOT_READY, &as);
    } else if (found->incarnation && found->incarnation != j->incarnation) {
        refuse(i, PEER_REFUSED_WIPED, &as);
    } else {
        f.joined = (struct peer_joined){ p->o.cluster, found->id };
        link_send(&i->link, &f);
        link_write(&i->link);
        link_break(&i->link, "it was told who it is");
    }
}

/* ---- frames ---- */

static void on_frame(void *owner, const struct peer_frame *f)
{
    struct peer_in *i = owner;
    struct peers *p = i->p;
    const struct raft_message *m = &f->raft.message;
    if (!i->id && f->type == PEER_HELLO)
        on_hello(i, &f->hello);
    else if (!i->id && f->type == PEER_JOIN)
        on_join(i, &f->join);
    else if (!i->id || f->type < PEER_RAFT)
        link_offend(&i->link, "it sent what does not belong here");
    else if (f->type == PEER_RAFT && (m->from != i->id || m->to != p->o.member))
        link_offend(&i->link, "it speaks for another member, or to another");
    else if (p->o.events->frame)
        p->o.events->frame(p->n, i->id, f);
}

void in_accept(void *context, int listener, int events)
{
    const struct peer_door *d = context;
    struct peers *p = d->p;
    CHECK(events != 0 && listener == d->fd);
    for (int k = 0; k < ACCEPT_MAX; k++) {
        int fd = tcp_accept(listener);
        if (fd < 0)
            return;
        if (p->ins.n >= PEER_CALLERS_MAX) {
            p->n->metrics.peer_errors++;
            tcp_close(fd);
            continue;
        }
        struct peer_in *i = mem_zero(&p->n->alloc, sizeof(*i));
        i->p = p;
        i->at_ms = loop_now_ms(p->n->loop) + p->o.greeting_ms;
        VEC_PUSH(&p->ins, &p->n->alloc, i);
        peers_wake(p, i->at_ms);
        link_open(&i->link, p->n, fd, d->tls ? tls_open(p->server_tls, NULL) : NULL, i, on_frame);
    }
}
