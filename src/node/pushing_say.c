/* What the client of server-sent events says: each message comes as a request of its own, which
 * names the stream. */
#include <stdio.h>
#include "base/check.h"
#include "node/pushing_int.h"

/* The member that has the stream, and which one it is there. */
void say_begin(struct push_stream *s, char *name, size_t size)
{
    struct node *n = s->call->node;
    do
        s->number = loop_random();
    while (!s->number || map_get(&n->pushing->by_number, s->number));
    map_set(&n->pushing->by_number, s->number, s);
    snprintf(name, size, "%016llx%016llx", (unsigned long long)n->header.member_id,
             (unsigned long long)s->number);
}

void say_end(struct push_stream *s)
{
    if (s->number)
        map_remove(&s->call->node->pushing->by_number, s->number);
}

static bool read_number(struct span digits, uint64_t *out)
{
    static const char all[] = "0123456789abcdef";
    *out = 0;
    for (size_t i = 0; i < digits.len; i++) {
        const char *at = digits.data[i] ? strchr(all, digits.data[i]) : NULL;
        if (!at)
            return false;
        *out = *out << 4 | (uint64_t)(at - all);
    }
    return digits.len == 16;
}

/* Where to say it: a stream lives with one member. */
static enum err elsewhere(struct node *n, uint64_t member, struct arena *arena, const char **detail)
{
    for (size_t i = 0; i < n->cluster.n; i++) {
        const struct member *m = &n->cluster.members[i];
        struct buf b;
        if (m->id != member)
            continue;
        buf_open(&b, arena->alloc);
        buf_text(&b, "say it to member ");
        buf_span(&b, m->info.name);
        buf_text(&b, m->info.client_url.len ? ": " : "");
        buf_span(&b, m->info.client_url);
        *detail = arena_text(arena, buf_all(&b));
        buf_close(&b);
        return ERR_STREAM_ELSEWHERE;
    }
    return ERR_STREAM_NOT_FOUND;
}

/* Nobody but whoever has the stream. */
static enum err find_stream(struct call *call, struct push_stream **out, const char **detail)
{
    struct node *n = call->node;
    struct span name = call->rest->key;
    uint64_t member, number;
    struct request owner;
    bool named = name.len == 2 * 16 && read_number(span_of(name.data, 16), &member) &&
                 read_number(span_from(name, 16), &number);
    if (!named)
        return ERR_STREAM_NOT_FOUND;
    if (member != n->header.member_id)
        return elsewhere(n, member, &call->arena, detail);
    *out = map_get(&n->pushing->by_number, number);
    if (!*out)
        return ERR_STREAM_NOT_FOUND;
    watching_asker((*out)->call, &(*out)->user, &owner);
    return span_equal(owner.author, call->rest->request.author) ? ERR_OK : ERR_PERMISSION_DENIED;
}

void pushing_say(struct call *call)
{
    struct node *n = call->node;
    struct push_stream *s = NULL;
    struct rest_answer done = { .status = 204 };
    struct said said = { .err = ERR_OK };
    said.err = find_stream(call, &s, &said.detail);
    if (said.err == ERR_OK) {
        said.stream = s;
        n->pushing->said = &said;
        push_take(s, call->rest->push);
        n->pushing->said = NULL;
    }
    if (said.err == ERR_OK)
        call_answer_http(call, &done);
    else
        call_refuse_http(call, said.err, said.detail);
}
