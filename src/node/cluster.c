/* The membership, as the node sees it. */
#include "node/cluster.h"
#include <stdio.h>
#include "base/check.h"
#include "base/crc.h"
#include "node/node_int.h"
#include "node/peers.h"
#include "node/transfer.h"

/* ---- a new cluster ---- */

/* The same on every member, since it is made of what every member is told. Not a secret. */
static uint64_t id_of(struct span token, struct span text)
{
    uint64_t high = crc32c(crc32c(0, token.data, token.len), text.data, text.len);
    uint64_t low = crc32c(crc32c(0x5bd1e995, text.data, text.len), token.data, token.len);
    uint64_t id = high << 32 | low;
    return id ? id : 1;
}

uint64_t cluster_alone(uint64_t member)
{
    return id_of(span_of(&member, sizeof(member)), SPAN("alone"));
}

static enum err take_member(const struct params *p, char *text, struct raft_member *out,
                            struct buf *infos, uint64_t *self, char *why)
{
    struct tcp_address a;
    char *url = strchr(text, '=');
    if (!url || url == text || tcp_parse(url + 1, &a, NULL) != ERR_OK) {
        snprintf(why, PARAM_WHY_MAX, "initial-cluster: \"%.200s\" is not name=host:port", text);
        return ERR_BAD_REQUEST;
    }
    *url++ = 0;
    struct peer_info info = { .name = span_text(text), .peer_url = span_text(url) };
    out->id = id_of(span_text(p->initial_cluster_token), info.peer_url);
    out->votes = RAFT_VOTER;
    size_t start = infos->len;
    peer_info_encode(&info, infos);
    out->info = span_of(NULL, infos->len - start); /* its place follows when all stand */
    if (span_is(info.name, p->name))
        *self = out->id;
    return ERR_OK;
}

static enum err take_members(const struct params *p, struct raft_member *out, size_t *count,
                             struct buf *infos, uint64_t *self, char *why)
{
    char list[PARAM_TEXT_MAX], *rest = list;
    snprintf(list, sizeof(list), "%s", p->initial_cluster);
    *count = 0;
    for (char *one; (one = strsep(&rest, ",")) != NULL;) {
        if (*count == RAFT_MEMBERS_MAX) {
            snprintf(why, PARAM_WHY_MAX, "initial-cluster: more than %d members", RAFT_MEMBERS_MAX);
            return ERR_BAD_REQUEST;
        }
        enum err e = take_member(p, one, &out[*count], infos, self, why);
        if (e != ERR_OK)
            return e;
        for (size_t i = 0; i < *count; i++)
            if (out[i].id == out[*count].id) {
                snprintf(why, PARAM_WHY_MAX, "initial-cluster: %.200s is there twice", one);
                return ERR_BAD_REQUEST;
            }
        ++*count;
    }
    return ERR_OK;
}

enum err cluster_begin(const struct params *p, struct raft_member *out, size_t *count,
                       uint64_t *cluster, uint64_t *self, struct buf *infos, char *why)
{
    if (!p->initial_cluster[0]) { /* alone, for now */
        struct peer_info info = { .name = span_text(p->name),
                                  .peer_url = span_text(p->listen_peers) };
        peer_info_encode(&info, infos);
        *self = loop_random() >> 1 | 1;
        *cluster = cluster_alone(*self);
        out[0] = (struct raft_member){ *self, RAFT_VOTER, buf_all(infos) };
        *count = 1;
        return ERR_OK;
    }
    *self = 0;
    enum err e = take_members(p, out, count, infos, self, why);
    if (e != ERR_OK)
        return e;
    if (!*self) {
        snprintf(why, PARAM_WHY_MAX, "initial-cluster has no member with our name, %.200s",
                 p->name);
        return ERR_BAD_REQUEST;
    }
    const uint8_t *at = infos->data;
    uint64_t all = id_of(span_text(p->initial_cluster_token), SPAN("cluster"));
    for (size_t i = 0; i < *count; i++) {
        out[i].info.data = at;
        at += out[i].info.len;
        all ^= out[i].id * 0x9e3779b97f4a7c15u;
    }
    *cluster = all ? all : 1;
    return ERR_OK;
}

/* ---- the membership in force ---- */

const struct member *cluster_member(const struct node *n, uint64_t id)
{
    for (size_t i = 0; i < n->cluster.n; i++)
        if (n->cluster.members[i].id == id)
            return &n->cluster.members[i];
    return NULL;
}

bool cluster_is_learner(const struct node *n)
{
    const struct member *self = cluster_member(n, n->header.member_id);
    return self && self->votes == 0;
}

uint64_t cluster_lag_max(const struct node *n)
{
    uint64_t last = raft_last_index(n->raft), most = 0;
    struct raft_progress p;
    for (size_t i = 0; i < n->cluster.n; i++)
        if (raft_progress(n->raft, n->cluster.members[i].id, &p) && last - p.match > most)
            most = last - p.match;
    return most;
}

/* Called are those that the newest membership has. Who is not in it any more is only told so, and
 * ends, when that is applied: until then it may be taken back. */
static void tell_peers(struct node *n, const struct raft_member *m, size_t count)
{
    struct raft_member applied[RAFT_MEMBERS_MAX], all[2 * RAFT_MEMBERS_MAX];
    struct span bytes = machine_members_now(&n->machine);
    size_t n_applied = 0, n_all = count;
    if (bytes.len && raft_members_decode(bytes, applied, &n_applied) != ERR_OK)
        n_applied = 0;
    if (count)
        memcpy(all, m, count * sizeof(*m));
    for (size_t i = 0; i < n_applied; i++)
        if (!cluster_member(n, applied[i].id))
            all[n_all++] = applied[i];
    peers_members(n, all, n_all);
}

static void members_follow(struct node *n)
{
    size_t count;
    struct cluster *c = &n->cluster;
    const struct raft_member *m = raft_members(n->raft, &count);
    c->n = count;
    c->foreign = false;
    c->alone = count == 1 && m[0].id == n->header.member_id && (m[0].votes & RAFT_VOTER);
    for (size_t i = 0; i < count; i++) {
        struct member *x = &c->members[i];
        *x = (struct member){ .id = m[i].id, .votes = m[i].votes };
        if (!m[i].info.len || peer_info_decode(m[i].info, &x->info) == ERR_OK)
            continue;
        x->info = (struct peer_info){ .incarnation = 0 };
        c->foreign = true;
        slog(SLOG_WARN, "a member's description cannot be read; a newer build wrote it",
             "member=%llx", (unsigned long long)m[i].id);
    }
    tell_peers(n, m, count);
}

void cluster_applied(struct node *n)
{
    members_follow(n);
}

static void send_messages(struct node *n, const struct raft_update *u)
{
    for (size_t i = 0; i < u->n_messages; i++) {
        struct peer_frame f = { .type = PEER_RAFT };
        f.raft.message = u->messages[i];
        bool sent = peers_send(n, u->messages[i].to, &f);
        n->metrics.heartbeats_dropped += !sent && u->role == RAFT_LEADER;
    }
}

void cluster_update(struct node *n, const struct raft_update *u)
{
    struct cluster *c = &n->cluster;
    if (u->members_changed)
        members_follow(n);
    send_messages(n, u);
    for (size_t i = 0; i < u->n_snapshots; i++)
        transfer_begin(n, u->snapshots[i]);
    if (u->leader != c->leader) {
        c->leader = u->leader;
        c->news = c->tell = true;
    }
    if (u->leader)
        c->leaderless_ms = 0;
    else if (!c->leaderless_ms)
        c->leaderless_ms = loop_now_ms(n->loop);
}

/* ---- changes ---- */

enum err pump_change(struct node *n, uint64_t base, const struct raft_member *members, size_t count,
                     struct proposal p)
{
    if (n->update.role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (raft_members_digest(n->raft) != base)
        return ERR_CHANGE_PENDING;
    struct raft_update u;
    struct raft_event event = { .type = RAFT_CHANGE,
                                .now_ms = loop_now_ms(n->loop),
                                .change = { members, count } };
    enum err e = raft_step(n->raft, &event, &u);
    if (e == ERR_OK && p.peer)
        forward_reply(n, &p, ERR_OK, u.entries[0].index, u.term);
    else if (e == ERR_OK)
        awaited_add(&n->awaited, &n->alloc, (struct awaited){ u.entries[0].index, u.term, p });
    pump_took(n, &u);
    return e;
}

struct wanted {
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t n;
    struct buf infos;
    size_t ends[RAFT_MEMBERS_MAX];
};

static void wanted_add(struct wanted *w, uint64_t id, unsigned votes, const struct peer_info *info)
{
    w->members[w->n] = (struct raft_member){ .id = id, .votes = votes & RAFT_VOTER };
    peer_info_encode(info, &w->infos);
    w->ends[w->n++] = w->infos.len;
}

static void wanted_settle(struct wanted *w)
{
    for (size_t i = 0, start = 0; i < w->n; start = w->ends[i++])
        w->members[i].info = span_of(w->infos.data + start, w->ends[i] - start);
}

static bool url_taken(const struct node *n, struct span url, uint64_t but)
{
    for (size_t i = 0; i < n->cluster.n; i++)
        if (n->cluster.members[i].id != but && span_equal(n->cluster.members[i].info.peer_url, url))
            return true;
    return false;
}

static bool url_is_good(struct span url)
{
    char text[PEER_URL_MAX + 1];
    struct tcp_address a;
    if (url.len == 0 || url.len > PEER_URL_MAX || memchr(url.data, 0, url.len))
        return false;
    memcpy(text, url.data, url.len);
    text[url.len] = 0;
    return tcp_parse(text, &a, NULL) == ERR_OK;
}

static enum err want_added(struct node *n, struct call *call, const struct request *r,
                           struct wanted *w)
{
    size_t learners = 0;
    for (size_t i = 0; i < n->cluster.n; i++)
        learners += !(n->cluster.members[i].votes & RAFT_VOTER);
    if (!url_is_good(r->member.peer_url))
        return ERR_MEMBER_BAD_URLS;
    if (url_taken(n, r->member.peer_url, 0))
        return ERR_PEER_URL_EXISTS;
    if (r->member.learner && learners >= LEARNERS_MAX)
        return ERR_LEARNERS_TOO_MANY;
    if (w->n == RAFT_MEMBERS_MAX)
        return ERR_MEMBER_NOT_ENOUGH;
    struct peer_info info = { .peer_url = r->member.peer_url, .name = r->member.name };
    call->member = prng_next(&n->prng) >> 1 | 1;
    wanted_add(w, call->member, r->member.learner ? 0 : RAFT_VOTER, &info);
    return ERR_OK;
}

/* etcd's strict check: whoever is added or removed, a quorum of what then is must be up now. */
static bool quorum_would_live(const struct node *n, const struct wanted *w)
{
    size_t voters = 0, up = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (!(w->members[i].votes & RAFT_VOTER))
            continue;
        voters++;
        up += w->members[i].id == n->header.member_id || peers_connected(n, w->members[i].id);
    }
    return voters > 0 && up >= voters / 2 + 1;
}

static enum err want_changed(struct node *n, struct call *call, const struct request *r,
                             struct wanted *w)
{
    const struct member *old = cluster_member(n, r->member.id);
    if (!old)
        return ERR_MEMBER_NOT_FOUND;
    if (r->type == REQUEST_MEMBER_PROMOTE && (old->votes & RAFT_VOTER))
        return ERR_MEMBER_NOT_LEARNER;
    if (r->type == REQUEST_MEMBER_UPDATE && !url_is_good(r->member.peer_url))
        return ERR_MEMBER_BAD_URLS;
    if (r->type == REQUEST_MEMBER_UPDATE && url_taken(n, r->member.peer_url, r->member.id))
        return ERR_PEER_URL_EXISTS;
    call->member = r->member.id;
    w->n = 0;
    buf_reset(&w->infos);
    for (size_t i = 0; i < n->cluster.n; i++) {
        struct member m = n->cluster.members[i];
        if (m.id == r->member.id && r->type == REQUEST_MEMBER_REMOVE)
            continue;
        if (m.id == r->member.id && r->type == REQUEST_MEMBER_PROMOTE)
            m.votes = RAFT_VOTER;
        if (m.id == r->member.id && r->type == REQUEST_MEMBER_UPDATE)
            m.info.peer_url = r->member.peer_url;
        wanted_add(w, m.id, m.votes, &m.info);
    }
    return ERR_OK;
}

static enum err move_leader(struct node *n, uint64_t to)
{
    const struct member *m = cluster_member(n, to);
    if (n->update.role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (!m || !(m->votes & RAFT_VOTER))
        return ERR_BAD_TRANSFEREE;
    struct raft_event event = { .type = RAFT_TRANSFER, .transfer_to = to };
    return pump_raft(n, &event);
}

static enum err send_change(struct node *n, struct call *call, struct wanted *w)
{
    struct proposal p = { .call = call, .since_ms = loop_now_ms(n->loop) };
    uint64_t base = raft_members_digest(n->raft);
    enum err e = ERR_OK;
    wanted_settle(w);
    if (n->update.role == RAFT_LEADER) {
        e = pump_change(n, base, w->members, w->n, p);
    } else if (forward_possible(n)) {
        struct buf b;
        buf_open(&b, &n->alloc);
        raft_members_encode(w->members, w->n, &b);
        forward_change(n, base, buf_all(&b), p);
        buf_close(&b);
    } else {
        e = ERR_NO_LEADER;
    }
    if (e == ERR_OK)
        call->waiting++;
    return e;
}

enum err cluster_change(struct node *n, struct call *call, const struct request *r)
{
    if (r->type == REQUEST_MOVE_LEADER)
        return move_leader(n, r->member.id);
    if (n->cluster.foreign)
        return ERR_FORMAT;
    struct wanted w = { .n = 0 };
    buf_open(&w.infos, &n->alloc);
    enum err e = ERR_OK;
    for (size_t i = 0; i < n->cluster.n; i++)
        wanted_add(&w, n->cluster.members[i].id, n->cluster.members[i].votes,
                   &n->cluster.members[i].info);
    e = r->type == REQUEST_MEMBER_ADD ? want_added(n, call, r, &w) : want_changed(n, call, r, &w);
    if (e == ERR_OK && r->type == REQUEST_MEMBER_REMOVE && !quorum_would_live(n, &w))
        e = ERR_UNHEALTHY;
    if (e == ERR_OK)
        e = send_change(n, call, &w);
    buf_close(&w.infos);
    return e;
}

/* ---- what members tell of themselves ---- */

static struct told *told_of(struct node *n, uint64_t id)
{
    struct cluster *c = &n->cluster;
    struct told *free = NULL;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (c->told[i].id == id)
            return &c->told[i];
        if (!c->told[i].id || !cluster_member(n, c->told[i].id))
            free = &c->told[i];
    }
    CHECK(free); /* there are no more members than places */
    *free = (struct told){ .id = id };
    return free;
}

/* What the membership should say of a member; whether that is news. */
static bool amended(struct node *n, struct member *m)
{
    const struct told *t = told_of(n, m->id);
    bool news = false;
    if (!m->info.incarnation && t->incarnation) {
        m->info.incarnation = t->incarnation;
        news = true;
    }
    /* A data directory is written down once; another one is refused when it calls. */
    if (!t->about || t->incarnation != m->info.incarnation)
        return news;
    news = news || !span_is(m->info.name, t->name) || !span_is(m->info.client_url, t->client_url);
    m->info.name = span_text(t->name);
    m->info.client_url = span_text(t->client_url);
    return news;
}

static void take_about(struct node *n, uint64_t id, const struct peer_about *a)
{
    if (!cluster_member(n, id))
        return;
    struct told *t = told_of(n, id);
    if (!t->incarnation)
        t->incarnation = a->incarnation;
    if (t->incarnation != a->incarnation)
        return;
    t->about = true;
    snprintf(t->name, sizeof(t->name), "%.*s", (int)a->name.len, (const char *)a->name.data);
    snprintf(t->client_url, sizeof(t->client_url), "%.*s", (int)a->client_url.len,
             (const char *)a->client_url.data);
    n->cluster.news = true;
}

static void tell_of_us(struct node *n)
{
    const struct member *m = cluster_member(n, n->header.member_id);
    struct peer_frame f = { .type = PEER_ABOUT };
    f.about.incarnation = n->incarnation;
    f.about.name = span_text(n->params.name);
    f.about.client_url = span_text(n->client_url);
    if (!m || (m->info.incarnation == n->incarnation && span_equal(m->info.name, f.about.name) &&
               span_equal(m->info.client_url, f.about.client_url)))
        return;
    if (n->update.role == RAFT_LEADER)
        take_about(n, n->header.member_id, &f.about);
    else if (n->update.leader)
        peers_send(n, n->update.leader, &f);
}

/* Everything that is news, in one change. A disk that is lost before its incarnation is written
 * down could be mistaken for the one that promised: so it is done at first contact. */
void cluster_turn(struct node *n)
{
    struct cluster *c = &n->cluster;
    struct wanted w = { .n = 0 };
    bool news = false;
    if (c->tell && n->update.leader)
        tell_of_us(n);
    c->tell = c->tell && !n->update.leader;
    if (!c->news || c->foreign || n->update.role != RAFT_LEADER ||
        raft_members_index(n->raft) > n->update.commit_index)
        return;
    buf_open(&w.infos, &n->alloc);
    for (size_t i = 0; i < c->n; i++) {
        struct member m = c->members[i];
        news = amended(n, &m) || news;
        wanted_add(&w, m.id, m.votes, &m.info);
    }
    wanted_settle(&w);
    enum err e = ERR_OK;
    if (news)
        e = pump_change(n, raft_members_digest(n->raft), w.members, w.n,
                        (struct proposal){ .call = NULL });
    c->news = e != ERR_OK; /* the term has not begun: again in a later turn */
    buf_close(&w.infos);
}

/* ---- peers ---- */

void peers_on_frame(struct node *n, uint64_t from, const struct peer_frame *f)
{
    if (f->type == PEER_RAFT) {
        struct raft_event event = { .type = RAFT_RECEIVE, .message = &f->raft.message };
        if (f->raft.message.from != from || transfer_installing(n))
            return;
        enum err e = pump_raft(n, &event);
        CHECK(e == ERR_OK);
    } else if (f->type == PEER_DIGEST) {
        digest_told(n, from, &f->digest);
    } else if (f->type == PEER_DELIVERIES || f->type == PEER_DELIVERED) {
        deliveries_frame(n, from, f);
    } else if (f->type == PEER_ABOUT) {
        take_about(n, from, &f->about);
    } else if (f->type == PEER_OFFER || f->type == PEER_WANT || f->type == PEER_CHUNK ||
               f->type == PEER_INSTALLED) {
        transfer_frame(n, from, f);
    } else {
        forward_frame(n, from, f);
    }
}

void peers_on_hello(struct node *n, uint64_t id, uint64_t incarnation)
{
    n->level_news = true;
    if (!cluster_member(n, id))
        return;
    struct told *t = told_of(n, id);
    if (!t->incarnation)
        t->incarnation = incarnation;
    n->cluster.news = true;
    tell_of_us(n);
}

void peers_on_lost(struct node *n, uint64_t id, bool refused)
{
    struct raft_event event = { .type = RAFT_UNREACHABLE, .peer = { id, refused } };
    enum err e = pump_raft(n, &event);
    CHECK(e == ERR_OK);
    forward_lost(n, id);
    transfer_lost(n, id);
}

/* The voter that has most; 0: none can be reached. */
static uint64_t successor(const struct node *n)
{
    struct raft_progress p, best = { .match = 0 };
    uint64_t to = 0;
    for (size_t i = 0; i < n->cluster.n; i++) {
        uint64_t id = n->cluster.members[i].id;
        if (id == n->header.member_id || !(n->cluster.members[i].votes & RAFT_VOTER) ||
            !peers_connected(n, id) || !raft_progress(n->raft, id, &p) || p.match < best.match)
            continue;
        best = p;
        to = id;
    }
    return to;
}

static bool transfer_to(struct node *n, uint64_t to)
{
    struct raft_event event = { .type = RAFT_TRANSFER, .transfer_to = to };
    return to && pump_raft(n, &event) == ERR_OK;
}

bool cluster_hand_over(struct node *n)
{
    struct cluster *c = &n->cluster;
    if (n->update.role != RAFT_LEADER || c->alone)
        return false;
    if (!c->handing_over)
        c->handing_over = transfer_to(n, successor(n));
    return c->handing_over;
}

/* ---- every second ---- */

/* A leader whose disk is full can write nothing down: another may lead until there is room. */
static void step_aside(struct node *n)
{
    if (n->update.role == RAFT_LEADER && !n->cluster.alone && n->disk_job.waiting &&
        transfer_to(n, successor(n)))
        slog(SLOG_WARN, "the disk is full: another member is to lead", "member=%llx",
             (unsigned long long)n->header.member_id);
}

void cluster_sweep(struct node *n)
{
    int64_t since = n->cluster.leaderless_ms;
    tell_of_us(n);
    step_aside(n);
    if (since && loop_now_ms(n->loop) - since >= LEADERLESS_MS)
        call_no_leader(n);
}
