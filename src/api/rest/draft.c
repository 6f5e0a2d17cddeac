/* Drafts: changes that are proposed, talked about, approved, and published as one transaction, now
 * or at a time.
 *
 * A draft is the key "confman/draft/<id>": what is to be changed, and the revisions that the keys
 * had when it was proposed. Its author is who wrote that key last, its edit that key's version.
 * Below it stand "/state" (published, rejected, scheduled, failed; none: open) and a key for each
 * comment and review, whose author is who wrote it: so nobody can speak for another, by whatever
 * door. An approval counts for the edit that it was given to. What is scheduled has a key below
 * "confman/draft-due/", in order of time, which the leader looks at (node/publishing.c). */
#include "api/rest/draft.h"
#include "base/check.h"

/* ---- keys ---- */

struct span draft_key(struct arena *arena, int64_t id, const char *below)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%s%016lld%s", DRAFTS, (long long)id, below);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static struct span event_key(struct arena *arena, int64_t id, int64_t revision)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%s%016lld/%016lld", DRAFTS, (long long)id, (long long)revision);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static struct span due_key(struct arena *arena, int64_t at_ms, int64_t id)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%s%016lld/%016lld", DRAFTS_DUE, (long long)at_ms, (long long)id);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

/* ---- what stands there ---- */

static const char *const state_names[] = { [DRAFT_OPEN] = "open",
                                           [DRAFT_SCHEDULED] = "scheduled",
                                           [DRAFT_PUBLISHED] = "published",
                                           [DRAFT_REJECTED] = "rejected",
                                           [DRAFT_FAILED] = "failed" };

struct span draft_state_name(enum draft_state s)
{
    return span_text(state_names[s]);
}

static struct jdoc *tree(const struct kv_version *v, struct arena *arena)
{
    struct jdoc *out;
    struct jdoc_fault fault;
    bool good = v && jdoc_read(kv_value(v), arena, &out, &fault) == ERR_OK;
    return good && out->type == JDOC_OBJECT ? out : NULL;
}

static struct span text_in(const struct jdoc *o, const char *name)
{
    const struct jdoc *v = jdoc_member(o, span_text(name));
    return jdoc_is(v, JDOC_STRING) ? v->text : SPAN_NONE;
}

static int64_t number_in(const struct jdoc *o, const char *name)
{
    const struct jdoc *v = jdoc_member(o, span_text(name));
    int64_t out = 0;
    return jdoc_is(v, JDOC_NUMBER) && jdoc_decimal_count(jdoc_decimal(v->text), &out) ? out : 0;
}

/* Another door may have written anything there: what makes no sense is no draft. */
bool draft_find(const struct kv *kv, int64_t id, struct arena *arena, struct draft *out)
{
    const struct jdoc *state;
    *out = (struct draft){ .id = id, .record = kv_get(kv, draft_key(arena, id, ""), 0) };
    const struct jdoc *record = tree(out->record, arena);
    if (!record)
        return false;
    out->title = text_in(record, "title");
    out->log = text_in(record, "change_log");
    out->environment = text_in(record, "environment");
    out->changes = jdoc_member(record, SPAN("changes"));
    out->base = jdoc_member(record, SPAN("base"));
    out->state_key = kv_get(kv, draft_key(arena, id, "/state"), 0);
    state = tree(out->state_key, arena);
    for (enum draft_state s = DRAFT_OPEN; state && s <= DRAFT_FAILED; s++)
        if (span_is(text_in(state, "state"), state_names[s]))
            out->state = s;
    if (state) {
        out->at_ms = number_in(state, "at_ms");
        out->why = text_in(state, "why");
    }
    return jdoc_is(out->changes, JDOC_ARRAY) && jdoc_is(out->base, JDOC_ARRAY) &&
           out->base->n == out->changes->n && environment_name(out->environment);
}

struct span draft_author(const struct kv *kv, const struct kv_version *v)
{
    struct span by = kv_author(kv, v);
    return by.len ? by : SPAN("anonymous");
}

/* Comments and reviews, oldest first. */
void draft_events(const struct kv *kv, struct draft *d, struct arena *arena)
{
    struct kv_range r = { .key = draft_key(arena, d->id, "/0"),
                          .range_end = draft_key(arena, d->id, "/:"),
                          .limit = DRAFT_EVENTS_MAX };
    struct kv_range_result found;
    enum err e = kv_range(kv, &r, arena, &found);
    CHECK(e == ERR_OK);
    d->events = ARENA_ARRAY(arena, struct draft_event, found.n);
    for (size_t i = 0; i < found.n; i++) {
        const struct jdoc *o = tree(found.items[i], arena);
        if (!o)
            continue;
        d->events[d->n_events++] =
            (struct draft_event){ .type = text_in(o, "type"),
                                  .text = text_in(o, "text"),
                                  .by = draft_author(kv, found.items[i]),
                                  .edit = number_in(o, "edit"),
                                  .at_ms = found.items[i]->updated_at_ms };
    }
}

/* What all its configs need. */
struct guard draft_guard(const struct change_call *c, const struct kv *kv, struct arena *arena)
{
    struct guard all = guard_none;
    for (size_t i = 0; i < c->n; i++) {
        struct span environment, key;
        struct guard g;
        if (!span_starts(c->items[i].key, SPAN(REST_CONFIGS)))
            continue;
        config_split(c->items[i].key, &environment, &key);
        guard_find(kv, environment, key, arena, &g);
        if (!g.approvals)
            continue;
        all.author_may_approve = all.approvals ? all.author_may_approve && g.author_may_approve
                                               : g.author_may_approve;
        all.approvals = g.approvals > all.approvals ? g.approvals : all.approvals;
    }
    return all;
}

/* The draft's changes as items, in the order they were asked for. */
void draft_items(struct change_call *c, const struct draft *d, struct arena *arena)
{
    c->list = d->changes;
    c->list_at = "/changes";
    c->environment = d->environment;
    c->log = d->log;
    change_items_read(c, arena);
}

/* What was changed since it was proposed. */
bool draft_moved(const struct draft *d, size_t i, const struct kv *kv, const struct change *x)
{
    const struct kv_version *now = kv_get(kv, x->key, 0);
    const struct jdoc *base = &d->base->items[i];
    int64_t then = -1;
    bool known = base->type == JDOC_NUMBER && jdoc_decimal_count(jdoc_decimal(base->text), &then);
    return !known || then != (now ? now->mod_revision : 0);
}

/* ---- writing ---- */

static void add_op(struct change_call *c, struct kv_op op)
{
    CHECK(c->n_ops < CHANGE_EXTRA_MAX);
    c->ops[c->n_ops++] = op;
}

static void add_put(struct change_call *c, struct span key, struct buf *json, struct arena *arena)
{
    struct kv_put put = { .key = key, .value = arena_copy(arena, buf_all(json)), .type = KV_JSON };
    add_op(c, (struct kv_op){ .type = KV_OP_PUT, .put = put });
    buf_close(json);
}

static void add_delete(struct change_call *c, struct span key)
{
    add_op(c, (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = key } });
}

static void add_guard(struct change_call *c, struct span key, const struct kv_version *seen)
{
    CHECK(c->n_guards < CHANGE_EXTRA_MAX);
    c->guards[c->n_guards++] = (struct kv_compare){ .key = key,
                                                    .target = KV_IF_MOD,
                                                    .result = KV_IF_EQUAL,
                                                    .number = seen ? seen->mod_revision : 0 };
}

/* It must still be what was looked at, in the state that was seen. */
static void guard_draft(struct change_call *c, const struct draft *d, struct arena *arena)
{
    add_guard(c, draft_key(arena, d->id, ""), d->record);
    add_guard(c, draft_key(arena, d->id, "/state"), d->state_key);
}

static void put_state(struct change_call *c, const struct draft *d, enum draft_state state,
                      int64_t at_ms, struct span why, struct arena *arena)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "state");
    jsonw_text(&w, draft_state_name(state));
    if (at_ms) {
        jsonw_name(&w, "at_ms");
        jsonw_number(&w, at_ms);
    }
    if (why.len) {
        jsonw_name(&w, "why");
        jsonw_text(&w, why);
    }
    jsonw_object_end(&w);
    if (d->state == DRAFT_SCHEDULED)
        add_delete(c, due_key(arena, d->at_ms, d->id));
    add_put(c, draft_key(arena, d->id, "/state"), &b, arena);
}

static void put_event(struct change_call *c, const struct draft *d, const struct kv *kv,
                      const char *type, struct span text, struct arena *arena)
{
    struct span key = event_key(arena, d->id, kv_revision(kv) + 1);
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "type");
    jsonw_text(&w, span_text(type));
    jsonw_name(&w, "edit");
    jsonw_number(&w, d->record->version);
    jsonw_name(&w, "text");
    jsonw_text(&w, text);
    jsonw_object_end(&w);
    add_guard(c, key, NULL);
    add_put(c, key, &b, arena);
}

/* The record: what is to be changed, and what the keys are now. */
static void put_record(struct change_call *c, int64_t id, const struct kv *kv,
                       struct arena *arena)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "title");
    jsonw_text(&w, c->draft->title);
    jsonw_name(&w, "change_log");
    jsonw_text(&w, c->log);
    jsonw_name(&w, "environment");
    jsonw_text(&w, c->environment);
    jsonw_name(&w, "changes");
    change_json(&w, c->list);
    jsonw_name(&w, "base");
    jsonw_array(&w);
    for (size_t i = 0; i < c->n; i++) {
        const struct kv_version *v = kv_get(kv, c->items[i].key, 0);
        jsonw_number(&w, v ? v->mod_revision : 0);
    }
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    add_put(c, draft_key(arena, id, ""), &b, arena);
}

/* ---- what is asked ---- */

static void fault(struct change_call *c, enum err e, const char *why)
{
    change_fault(c, e, SPAN_NONE, why);
}

static void must(struct change_call *c, enum err e)
{
    if (e != ERR_OK)
        fault(c, e, err_text(e));
}

/* A draft that could never be published is not taken. */
static bool would_pass(struct rest_call *call, const struct kv *kv, struct arena *arena,
                       struct rest_answer *out)
{
    struct change_call *c = call->change;
    struct change_call tried = *c;
    struct rest_leave leave = call->leave;
    bool writes;
    call->change = &tried;
    call->leave.approvals = INT64_MAX;
    tried.items = ARENA_ARRAY(arena, struct change, c->n + 1);
    memcpy(tried.items, c->items, c->n * sizeof(*c->items));
    change_settle(&tried, kv, arena);
    change_decide(call, kv, arena, out, &writes);
    if (!writes && !tried.n_faults && !tried.n)
        rest_problem(ERR_BAD_REQUEST, "it would change nothing", arena, out);
    writes = writes && rest_check(call, kv, arena, out);
    call->change = c;
    call->leave = leave;
    return writes;
}

static void propose(struct rest_call *call, const struct draft *old, const struct kv *kv,
                    struct arena *arena, struct rest_answer *out, bool *writes)
{
    struct change_call *c = call->change;
    struct kv_range all = { .key = SPAN(DRAFTS), .count_only = true };
    struct kv_range_result r;
    int64_t id = old ? old->id : kv_revision(kv) + 1;
    all.range_end = kv_prefix_end(all.key, arena);
    change_items_read(c, arena);
    must(c, draft_may_propose(call, c, arena));
    if (!c->n && !c->n_faults)
        fault(c, ERR_BAD_REQUEST, "a draft wants something to change");
    enum err e = kv_range(kv, &all, arena, &r);
    CHECK(e == ERR_OK);
    if (!old && r.count >= DRAFT_KEYS_MAX)
        fault(c, ERR_DRAFTS, err_text(ERR_DRAFTS));
    if (old)
        must(c, draft_may_alter(call, kv, old, arena));
    if (old && old->state == DRAFT_PUBLISHED)
        fault(c, ERR_DRAFT_STATE, "it is published: propose a new one");
    if (!c->n_faults && !would_pass(call, kv, arena, out))
        return;
    if (!c->n_faults) {
        put_record(c, id, kv, arena);
        if (old)
            guard_draft(c, old, arena);
        else
            add_guard(c, draft_key(arena, id, ""), NULL);
        if (old && old->state == DRAFT_SCHEDULED)
            add_delete(c, due_key(arena, old->at_ms, id));
        if (old && old->state_key)
            add_delete(c, draft_key(arena, id, "/state"));
        c->draft->id = id;
        c->n = 0;
    }
    change_decide(call, kv, arena, out, writes);
}

static void approvals_fault(struct change_call *c, size_t given, const struct guard *g,
                            struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "it has %zu of %lld approvals%s", given, (long long)g->approvals,
               g->author_may_approve ? "" : "; its author's own does not count");
    fault(c, ERR_DRAFT_STATE, arena_text(arena, buf_all(&b)));
    buf_close(&b);
}

/* Items, and all that keeps it from being published, as faults. */
static void look_at(struct rest_call *call, struct draft *d, const struct kv *kv,
                    struct arena *arena)
{
    struct change_call *c = call->change;
    struct span approvers[DRAFT_EVENTS_MAX];
    draft_items(c, d, arena);
    draft_events(kv, d, arena);
    must(c, draft_may_publish(call, c, arena));
    if (d->state == DRAFT_PUBLISHED || d->state == DRAFT_REJECTED)
        fault(c, ERR_DRAFT_STATE, "it is published, or rejected: it can be proposed anew");
    for (size_t i = 0; i < c->n && i < d->base->n; i++)
        if (draft_moved(d, i, kv, &c->items[i]))
            change_fault(c, ERR_CONFLICT, c->items[i].pointer,
                         "it was changed since this was proposed");
    struct guard g = draft_guard(c, kv, arena);
    size_t given = draft_approvers(call, c, kv, d, g.author_may_approve, arena, approvers);
    call->leave.approvals = (int64_t)given;
    if ((int64_t)given < g.approvals)
        approvals_fault(c, given, &g, arena);
}

static void publish(struct rest_call *call, struct draft *d, const struct kv *kv,
                    struct arena *arena)
{
    struct change_call *c = call->change;
    look_at(call, d, kv, arena);
    change_settle(c, kv, arena);
    guard_draft(c, d, arena);
    put_state(c, d, DRAFT_PUBLISHED, 0, SPAN_NONE, arena);
}

static void schedule(struct rest_call *call, struct draft *d, const struct kv *kv,
                     struct arena *arena)
{
    struct change_call *c = call->change;
    struct buf b;
    look_at(call, d, kv, arena);
    c->n = 0;
    if (c->draft->at_ms <= call->now_ms)
        change_fault(c, ERR_BAD_REQUEST, SPAN("/at"), "must be later than now");
    guard_draft(c, d, arena);
    put_state(c, d, DRAFT_SCHEDULED, c->draft->at_ms, SPAN_NONE, arena);
    buf_open(&b, arena->alloc);
    buf_text(&b, "{}");
    if (d->state == DRAFT_SCHEDULED && d->at_ms == c->draft->at_ms) {
        c->n_ops = 0; /* so it is already */
        buf_close(&b);
        return;
    }
    add_put(c, due_key(arena, c->draft->at_ms, d->id), &b, arena);
}

static void review(struct rest_call *call, struct draft *d, const struct kv *kv, bool good,
                   struct arena *arena)
{
    struct change_call *c = call->change;
    draft_items(c, d, arena);
    if (d->state != DRAFT_OPEN && d->state != DRAFT_FAILED && d->state != DRAFT_SCHEDULED)
        fault(c, ERR_DRAFT_STATE, "it is published or rejected already");
    must(c, draft_may_review(call, SPAN_NONE, c, arena));
    c->n = 0;
    guard_draft(c, d, arena);
    put_event(c, d, kv, good ? "approve" : "reject", c->draft->text, arena);
    if (!good)
        put_state(c, d, DRAFT_REJECTED, 0, SPAN_NONE, arena);
}

static void comment(struct rest_call *call, struct draft *d, struct arena *arena)
{
    struct change_call *c = call->change;
    draft_items(c, d, arena);
    must(c, draft_may_read(call, c, arena));
    c->n = 0;
}

static void cancel(struct change_call *c, const struct draft *d, struct arena *arena)
{
    if (d->state != DRAFT_SCHEDULED) {
        fault(c, ERR_DRAFT_STATE, "it is not scheduled");
        return;
    }
    guard_draft(c, d, arena);
    add_delete(c, due_key(arena, d->at_ms, d->id));
    add_delete(c, draft_key(arena, d->id, "/state"));
}

static void remove_draft(struct change_call *c, const struct draft *d, struct arena *arena)
{
    struct kv_op all = { .type = KV_OP_DELETE };
    all.del.key = draft_key(arena, d->id, "");
    all.del.range_end = draft_key(arena, d->id, "0"); /* behind all with a slash */
    guard_draft(c, d, arena);
    add_op(c, all);
    if (d->state == DRAFT_SCHEDULED)
        add_delete(c, due_key(arena, d->at_ms, d->id));
}

static void change_draft(struct rest_call *call, struct draft *d, const struct kv *kv,
                         struct arena *arena, struct rest_answer *out, bool *writes)
{
    struct change_call *c = call->change;
    size_t events = 0;
    switch (c->draft->verb) {
    case DRAFT_COMMENT:
        comment(call, d, arena);
        draft_events(kv, d, arena);
        events = d->n_events;
        guard_draft(c, d, arena);
        put_event(c, d, kv, "comment", c->draft->text, arena);
        break;
    case DRAFT_APPROVE:
    case DRAFT_REJECT:
        draft_events(kv, d, arena);
        events = d->n_events;
        review(call, d, kv, c->draft->verb == DRAFT_APPROVE, arena);
        break;
    case DRAFT_PUBLISH:
        publish(call, d, kv, arena);
        break;
    case DRAFT_SCHEDULE:
        schedule(call, d, kv, arena);
        break;
    case DRAFT_CANCEL:
        must(c, draft_may_alter(call, kv, d, arena));
        cancel(c, d, arena);
        break;
    case DRAFT_DELETE:
        must(c, draft_may_alter(call, kv, d, arena));
        remove_draft(c, d, arena);
        break;
    case DRAFT_LIST:
    case DRAFT_GET:
    case DRAFT_PROPOSE:
    case DRAFT_EDIT:
        UNREACHABLE("not a change of one that is there");
    }
    if (events >= DRAFT_EVENTS_MAX)
        fault(c, ERR_DRAFT_STATE, "it has 200 comments and reviews, which is all it can have");
    change_decide(call, kv, arena, out, writes);
}

void draft_step(struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *out, bool *writes)
{
    struct change_call *c = call->change;
    enum draft_verb verb = c->draft->verb;
    struct draft d;
    c->n = c->n_ops = c->n_guards = c->n_faults = 0;
    *writes = false;
    if (verb == DRAFT_LIST) {
        draft_list(call, kv, arena, out);
    } else if (verb == DRAFT_PROPOSE) {
        propose(call, NULL, kv, arena, out, writes);
    } else if (!draft_find(kv, c->draft->id, arena, &d)) {
        rest_problem(ERR_DRAFT_NOT_FOUND, NULL, arena, out);
    } else if (verb == DRAFT_GET) {
        draft_answer(call, kv, arena, out);
    } else if (verb == DRAFT_EDIT) {
        propose(call, &d, kv, arena, out, writes);
    } else {
        change_draft(call, &d, kv, arena, out, writes);
    }
}

/* ---- at its time ---- */

static bool due_read(struct span key, int64_t *at_ms, int64_t *id)
{
    struct span s = span_from(key, sizeof(DRAFTS_DUE) - 1);
    return s.len == 33 && s.data[16] == '/' && number_read(span_of(s.data, 16), at_ms) &&
           number_read(span_from(s, 17), id);
}

int64_t rest_due_at(const struct kv_version *due)
{
    int64_t at_ms, id;
    return due_read(kv_key(due), &at_ms, &id) ? at_ms : 0;
}

const char *rest_due(struct rest_call *call, const struct kv *kv, const struct kv_version *due,
                     struct arena *arena, struct span *author)
{
    struct rest_answer unused;
    struct draft d;
    int64_t at_ms, id;
    bool writes;
    struct change_call *c = change_begin(call, arena);
    *author = SPAN_NONE;
    if (!due_read(kv_key(due), &at_ms, &id) || !draft_find(kv, id, arena, &d) ||
        d.state != DRAFT_SCHEDULED || d.at_ms != at_ms)
        return "there is no draft that is scheduled for this time";
    /* He asks for what he has seen: all edits but by this API leave the state as it was. */
    if (d.record->mod_revision > d.state_key->mod_revision)
        return "it was edited after it was scheduled";
    *author = kv_author(kv, d.state_key);
    publish(call, &d, kv, arena);
    if (c->n_faults)
        return c->faults[0].detail;
    change_decide(call, kv, arena, &unused, &writes);
    return writes ? NULL : "it cannot be written as one transaction";
}

void rest_due_failed(struct rest_call *call, const struct kv *kv, const struct kv_version *due,
                     const char *why, struct arena *arena)
{
    struct rest_answer unused;
    struct draft d;
    int64_t at_ms, id;
    bool writes;
    struct change_call *c = change_begin(call, arena);
    if (due_read(kv_key(due), &at_ms, &id) && draft_find(kv, id, arena, &d) &&
        d.state == DRAFT_SCHEDULED && d.at_ms == at_ms) {
        guard_draft(c, &d, arena);
        put_state(c, &d, DRAFT_FAILED, 0, span_text(why), arena);
    } else {
        add_delete(c, kv_key(due));
    }
    change_decide(call, kv, arena, &unused, &writes);
    CHECK(writes);
}
