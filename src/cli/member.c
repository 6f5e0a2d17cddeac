#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli_int.h"

struct member_call {
    const struct options *o;
    struct arena *arena;
    struct buf request;
    struct span answer;
};

static int call(struct member_call *c, const char *path)
{
    int status = call_once(c->o, path, &c->request, c->arena, &c->answer);
    buf_close(&c->request);
    return status;
}

static int senseless(void)
{
    return cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
}

static struct span first(const struct span *urls, size_t n)
{
    return n ? urls[0] : SPAN_NONE;
}

static void print_member(const struct pb_member *m)
{
    struct span peer = first(m->peer_urls, m->n_peer_urls);
    struct span client = first(m->client_urls, m->n_client_urls);
    printf("%-16llx %-12.*s %-8s %-24.*s %.*s\n", (unsigned long long)m->id,
           m->name.len ? (int)m->name.len : 1, m->name.len ? (const char *)m->name.data : "-",
           m->is_learner ? "learner" : "voter", (int)peer.len, (const char *)peer.data,
           (int)client.len, (const char *)client.data);
}

static void write_member(struct jsonw *w, const struct pb_member *m)
{
    char id[20];
    snprintf(id, sizeof(id), "%llx", (unsigned long long)m->id);
    jsonw_object(w);
    jsonw_name(w, "id");
    jsonw_text(w, span_text(id));
    jsonw_name(w, "name");
    jsonw_text(w, m->name);
    jsonw_name(w, "learner");
    jsonw_bool(w, m->is_learner);
    jsonw_name(w, "peer");
    jsonw_text(w, first(m->peer_urls, m->n_peer_urls));
    jsonw_name(w, "client");
    jsonw_text(w, first(m->client_urls, m->n_client_urls));
    jsonw_object_end(w);
}

static int print_members(const struct member_call *c, const struct pb_member *members, size_t n)
{
    struct buf b;
    struct jsonw w;
    for (size_t i = 0; i < n && !c->o->json; i++)
        print_member(&members[i]);
    if (!c->o->json)
        return EXIT_DONE;
    buf_open(&b, &cli_heap);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "members");
    jsonw_array(&w);
    for (size_t i = 0; i < n; i++)
        write_member(&w, &members[i]);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    print_json(&b);
    return EXIT_DONE;
}

/* remove, update and promote answer alike. */
static int finish(struct member_call *c, const char *path)
{
    struct pb_member_list_response r;
    int status = call(c, path);
    if (status != EXIT_DONE)
        return status;
    if (pb_member_list_response_decode(c->answer, c->arena, &r) != ERR_OK)
        return senseless();
    return print_members(c, r.members, r.n_members);
}

static int list(struct member_call *c)
{
    struct pb_member_list_request m = { .linearizable = false };
    pb_member_list_request_encode(&m, &c->request);
    return finish(c, "/etcdserverpb.Cluster/MemberList");
}

static int add(struct member_call *c, const char *name)
{
    struct span peer = span_text(c->o->peer ? c->o->peer : "");
    struct pb_member_add_request m = { .peer_urls = &peer,
                                       .n_peer_urls = 1,
                                       .is_learner = c->o->learner };
    struct pb_member_add_response r;
    const char *comma = "";
    if (!peer.len) {
        buf_close(&c->request);
        return cli_complain(EXIT_USAGE, "member add: wants --peer HOST:PORT");
    }
    pb_member_add_request_encode(&m, &c->request);
    int status = call(c, "/etcdserverpb.Cluster/MemberAdd");
    if (status != EXIT_DONE)
        return status;
    if (pb_member_add_response_decode(c->answer, c->arena, &r) != ERR_OK || !r.member)
        return senseless();
    if (c->o->json)
        return print_members(c, r.member, 1);
    printf("member %llx is added; start it with an empty data directory:\n"
           "  confman server --name %s --listen-peers %s --data-dir DIR --listen HOST:PORT --join ",
           (unsigned long long)r.member->id, name, c->o->peer);
    for (size_t i = 0; i < r.n_members; i++) {
        struct span url = first(r.members[i].peer_urls, r.members[i].n_peer_urls);
        if (r.members[i].id == r.member->id)
            continue;
        printf("%s%.*s", comma, (int)url.len, (const char *)url.data);
        comma = ",";
    }
    puts("");
    return EXIT_DONE;
}

static int remove_member(struct member_call *c, uint64_t id)
{
    struct pb_member_remove_request m = { .id = id };
    pb_member_remove_request_encode(&m, &c->request);
    return finish(c, "/etcdserverpb.Cluster/MemberRemove");
}

static int promote(struct member_call *c, uint64_t id)
{
    struct pb_member_promote_request m = { .id = id };
    pb_member_promote_request_encode(&m, &c->request);
    return finish(c, "/etcdserverpb.Cluster/MemberPromote");
}

static int update(struct member_call *c, uint64_t id)
{
    struct span peer = span_text(c->o->peer ? c->o->peer : "");
    struct pb_member_update_request m = { .id = id, .peer_urls = &peer, .n_peer_urls = 1 };
    pb_member_update_request_encode(&m, &c->request);
    return finish(c, "/etcdserverpb.Cluster/MemberUpdate");
}

/* Where clients call the leader; NULL: nobody tells. */
static char *leader_address(struct member_call *c)
{
    struct pb_member_list_response r;
    struct pb_status_response s;
    struct buf nothing;
    struct span answer;
    buf_open(&nothing, &cli_heap);
    if (call_once(c->o, "/etcdserverpb.Maintenance/Status", &nothing, c->arena, &answer) !=
            EXIT_DONE ||
        pb_status_response_decode(answer, c->arena, &s) != ERR_OK ||
        call_once(c->o, "/etcdserverpb.Cluster/MemberList", &nothing, c->arena, &answer) !=
            EXIT_DONE ||
        pb_member_list_response_decode(answer, c->arena, &r) != ERR_OK)
        return NULL;
    for (size_t i = 0; i < r.n_members; i++)
        if (r.members[i].id == s.leader && r.members[i].n_client_urls)
            return arena_text(c->arena, r.members[i].client_urls[0]);
    return NULL;
}

/* The leader alone hands its office over (etcd's MoveLeader): it is asked, whoever tells of it. */
static int lead(struct member_call *c, uint64_t id)
{
    struct pb_move_leader_request m = { .target_id = id };
    struct options *there = ARENA_NEW(c->arena, struct options);
    char *address = leader_address(c);
    struct buf kept; /* a session that was begun here */
    buf_open(&kept, &cli_heap);
    *there = *c->o;
    if (address)
        there->endpoint = address;
    if (!there->user && !there->token && session_token(c->o, &kept))
        there->token = arena_text(c->arena, buf_all(&kept));
    buf_close(&kept);
    c->o = there;
    pb_move_leader_request_encode(&m, &c->request);
    return call(c, "/etcdserverpb.Maintenance/MoveLeader");
}

static bool read_id(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 16);
    return !errno && *text && !*end && *out;
}

int run_member(const struct options *o, struct arena *arena)
{
    static const struct {
        const char *name;
        int (*run)(struct member_call *c, uint64_t id);
    } verbs[] = {
        { "remove", remove_member }, { "promote", promote }, { "update", update }, { "lead", lead }
    };
    struct member_call c = { .o = o, .arena = arena };
    uint64_t id;
    buf_open(&c.request, &cli_heap);
    if (strcmp(o->args[0], "list") == 0)
        return list(&c);
    if (strcmp(o->args[0], "add") == 0)
        return o->n_args == 2 ? add(&c, o->args[1])
                              : cli_complain(EXIT_USAGE, "member add: wants a NAME");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(o->args[0], verbs[i].name) == 0)
            return o->n_args == 2 && read_id(o->args[1], &id)
                       ? verbs[i].run(&c, id)
                       : cli_complain(EXIT_USAGE, "member %s: wants an ID in hexadecimal",
                                      verbs[i].name);
    return cli_complain(EXIT_USAGE,
                        "member: \"%s\" is not list, add, remove, promote, update or lead",
                        o->args[0]);
}
