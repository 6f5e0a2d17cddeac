/* Publishing: drafts whose time has come, by the leader, each as one transaction that the one who
 * scheduled it asks for, with the rights that he has then.
 *
 * Nothing is remembered between leaders: what is due is a key, taken away by the very transaction
 * that publishes. So whoever leads next finds what is left, and two of them cannot publish one
 * draft twice. */
#include "base/check.h"
#include "node/node_int.h"

enum {
    DUE_MAX = 16,        /* drafts put on their way at once */
    DUE_AGAIN_MS = 2000, /* until then those on their way have come, or are lost */
    OLD_MAX = 64,           /* old drafts put away at once */
    OLD_AGAIN_MS = 2000,    /* nor is more often looked for them, */
    OLD_QUIET_MS = 60000,   /* or, when nothing was written, than that */
};

struct asker {
    struct node *node;
    struct span author;
};

static enum err permits_user(void *context, struct span user, struct request *r)
{
    const struct asker *a = context;
    r->author = user;
    r->auth_revision = auth_revision(a->node->machine.auth);
    return machine_permits(&a->node->machine, r);
}

static enum err permits(void *context, struct request *r)
{
    const struct asker *a = context;
    return permits_user(context, a->author, r);
}

/* NULL: the request is made, and he may ask for it. */
static const char *judge(struct node *n, struct rest_call *rest, const struct kv_version *due,
                         struct asker *asker)
{
    struct rest_answer refusal;
    const struct kv *kv = n->machine.kv;
    const char *why = rest_due(rest, kv, due, &n->turn, &asker->author);
    if (why)
        return why;
    enum err e = request_check(&rest->request, &n->turn);
    if (e == ERR_OK)
        e = permits(asker, &rest->request);
    if (e != ERR_OK)
        return err_text(e);
    if (!rest_check(rest, kv, &n->turn, &refusal))
        return "what it would write is refused by a schema or a guard";
    e = permits(asker, &rest->request);
    return e == ERR_OK ? NULL : err_text(e);
}

static bool put_on_its_way(struct node *n, const struct kv_version *due)
{
    struct asker asker = { .node = n };
    struct rest_world world = {
        .schemas = n->schemas, .links = n->links,
        .permits = permits,
        .permits_user = permits_user,
        .context = &asker,
    };
    struct rest_call rest = { .world = &world, .now_ms = loop_wall_ms(n->loop) };
    const char *why = judge(n, &rest, due, &asker);
    if (why) {
        rest = (struct rest_call){ .world = &world, .now_ms = rest.now_ms };
        rest_due_failed(&rest, n->machine.kv, due, why, &n->turn);
        rest.request.author = SPAN("schedule");
        rest.request.auth_revision = REQUEST_BY_NODE;
    }
    if (pump_propose(n, &rest.request, NULL, 0) != ERR_OK)
        return false;
    audit_own(n, &rest.request, "schedule");
    n->metrics.drafts_due += !why;
    n->metrics.drafts_failed += why != NULL;
    if (why)
        slog(SLOG_WARN, "a draft that was scheduled is not published", "due=%.*s why=%s",
             (int)kv_key(due).len, (const char *)kv_key(due).data, slog_quote(why));
    return true;
}

void publishing_sweep(struct node *n)
{
    struct kv_range all = { .key = SPAN(REST_DRAFTS_DUE), .limit = DUE_MAX };
    struct kv_range_result found;
    int64_t now = loop_now_ms(n->loop);
    if (n->update.role != RAFT_LEADER || transfer_loading(n) || now < n->publishing_ms ||
        !call_has_state(n))
        return;
    all.range_end = kv_prefix_end(all.key, &n->turn);
    enum err e = kv_range(n->machine.kv, &all, &n->turn, &found);
    CHECK(e == ERR_OK);
    for (size_t i = 0; i < found.n; i++) {
        if (rest_due_at(found.items[i]) > loop_wall_ms(n->loop))
            return;
        if (!put_on_its_way(n, found.items[i]))
            return;
        n->publishing_ms = now + DUE_AGAIN_MS;
    }
}

/* Those that are done and kept long enough, on the leader alone. */
void publishing_tidy(struct node *n)
{
    int64_t now = loop_now_ms(n->loop), revision = kv_revision(n->machine.kv);
    int64_t days = n->params.drafts_keep_days;
    if (n->update.role != RAFT_LEADER || transfer_loading(n) || !call_has_state(n) ||
        now < n->tidied_ms + (revision == n->tidied ? OLD_QUIET_MS : OLD_AGAIN_MS))
        return;
    n->tidied_ms = now;
    n->tidied = revision;
    struct request *old = ARENA_ARRAY(&n->turn, struct request, OLD_MAX);
    int64_t before_ms = days ? loop_wall_ms(n->loop) - days * 86400000 : INT64_MIN;
    size_t count = rest_drafts_old(n->machine.kv, before_ms, (size_t)n->params.drafts_keep,
                                   &n->turn, old, OLD_MAX);
    for (size_t i = 0; i < count; i++) {
        old[i].author = SPAN("retention");
        old[i].auth_revision = REQUEST_BY_NODE;
        if (pump_propose(n, &old[i], NULL, 0) != ERR_OK)
            return;
        audit_own(n, &old[i], "retention");
        n->metrics.drafts_put_away++;
    }
}
