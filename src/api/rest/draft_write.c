/* Drafts as JSON. */
#include "api/rest/draft.h"
#include "base/check.h"

static void number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

static void text(struct jsonw *w, const char *name, struct span s)
{
    jsonw_name(w, name);
    jsonw_text(w, s);
}

static void time_of(struct jsonw *w, const char *name, int64_t ms)
{
    jsonw_name(w, name);
    time_write(w, ms);
}

/* What a list has of it too. */
static void head_write(struct jsonw *w, const struct kv *kv, const struct draft *d)
{
    number(w, "id", d->id);
    text(w, "title", d->title);
    text(w, "change_log", d->log);
    text(w, "author", draft_author(kv, d->record));
    number(w, "edit", d->record->version);
    time_of(w, "updated_at", d->record->updated_at_ms);
    text(w, "environment", d->environment);
    number(w, "change_count", d->changes->n);
    text(w, "state", draft_state_name(d->state));
    if (d->state_key) {
        text(w, "state_by", draft_author(kv, d->state_key));
        time_of(w, "state_at", d->state_key->updated_at_ms);
    }
    if (d->state == DRAFT_PUBLISHED)
        number(w, "published_revision", d->state_key->mod_revision);
    if (d->state == DRAFT_SCHEDULED)
        time_of(w, "publish_at", d->at_ms);
    if (d->why.len)
        text(w, "why", d->why);
}

static void events_write(struct jsonw *w, const struct draft *d)
{
    jsonw_name(w, "reviews");
    jsonw_array(w);
    for (size_t i = 0; i < d->n_events; i++) {
        const struct draft_event *v = &d->events[i];
        jsonw_object(w);
        text(w, "type", v->type);
        text(w, "by", v->by);
        time_of(w, "at", v->at_ms);
        number(w, "edit", v->edit);
        text(w, "text", v->text);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

static void approvals_write(struct jsonw *w, const struct rest_call *call,
                            const struct change_call *c, const struct kv *kv,
                            const struct draft *d, struct arena *arena)
{
    struct span approvers[DRAFT_EVENTS_MAX];
    struct guard g = draft_guard(c, kv, arena);
    bool author_too = g.author_may_approve || !g.approvals;
    size_t n = draft_approvers(call, c, kv, d, author_too, arena, approvers);
    jsonw_name(w, "approvals");
    jsonw_object(w);
    number(w, "needed", g.approvals);
    jsonw_name(w, "author_may_approve");
    jsonw_bool(w, author_too);
    jsonw_name(w, "given");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        jsonw_text(w, approvers[i]);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

static void conflicts_write(struct jsonw *w, const struct change_call *c, const struct kv *kv,
                            const struct draft *d)
{
    jsonw_name(w, "conflicts");
    jsonw_array(w);
    for (size_t i = 0; i < c->n && i < d->base->n && d->state != DRAFT_PUBLISHED; i++) {
        if (!draft_moved(d, i, kv, &c->items[i]))
            continue;
        jsonw_object(w);
        change_name_write(w, c->items[i].key);
        text(w, "pointer", c->items[i].pointer);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

static void whole_write(struct jsonw *w, const struct rest_call *call, const struct kv *kv,
                        struct draft *d, struct arena *arena)
{
    struct change_call c = *call->change;
    c.items = NULL;
    c.n = c.cap = 0;
    draft_items(&c, d, arena);
    draft_events(kv, d, arena);
    head_write(w, kv, d);
    approvals_write(w, call, &c, kv, d, arena);
    events_write(w, d);
    jsonw_name(w, "changes");
    change_json(w, d->changes);
    conflicts_write(w, &c, kv, d);
    for (size_t i = 0; i < c.n; i++) /* if_version was asked for then, not now */
        c.items[i].has_version = c.items[i].must_exist = false;
    change_settle(&c, kv, arena);
    if (!c.n_faults && d->state != DRAFT_PUBLISHED)
        change_write(w, &c, arena);
}

static void answer(const struct rest_call *call, const struct kv *kv, int status,
                   struct arena *arena, struct rest_answer *out)
{
    struct draft d;
    struct buf b;
    struct jsonw w;
    if (!draft_find(kv, call->change->draft->id, arena, &d)) {
        rest_problem(ERR_DRAFT_NOT_FOUND, NULL, arena, out);
        return;
    }
    enum err e = draft_may_see(call, &d, arena);
    if (e != ERR_OK) { /* what it would write is no more to be seen than what is there */
        rest_problem(e, NULL, arena, out);
        return;
    }
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    whole_write(&w, call, kv, &d, arena);
    jsonw_object_end(&w);
    body_of(out, status, "application/json", &b, arena);
}

void draft_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                  struct rest_answer *out)
{
    answer(call, kv, 200, arena, out);
}

void draft_changed(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                   struct rest_answer *out)
{
    enum draft_verb verb = call->change->draft->verb;
    struct buf b;
    if (verb != DRAFT_DELETE) {
        answer(call, kv, verb == DRAFT_PROPOSE ? 201 : 200, arena, out);
        return;
    }
    buf_open(&b, arena->alloc);
    buf_text(&b, "{\"deleted\":true}");
    body_of(out, 200, "application/json", &b, arena);
}

/* ---- lists: newest first ---- */

/* The number of a record; 0: the key is something below one. */
static int64_t id_of(struct span key)
{
    struct span s = span_from(key, sizeof(DRAFTS) - 1);
    int64_t id = 0;
    return s.len == 16 && number_read(s, &id) ? id : 0;
}

void draft_list(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *out)
{
    const struct draft_call *ask = call->change->draft;
    struct kv_range r = { .key = SPAN(DRAFTS), .keys_only = true, .limit = DRAFT_KEYS_MAX };
    struct kv_range_result found;
    struct buf b;
    struct jsonw w;
    size_t bytes = 0;
    int64_t told = 0, last = 0;
    r.range_end = ask->before ? draft_key(arena, ask->before, "") : kv_prefix_end(r.key, arena);
    enum err e = kv_range(kv, &r, arena, &found);
    CHECK(e == ERR_OK);
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    jsonw_name(&w, "items");
    jsonw_array(&w);
    size_t i = found.n;
    for (; i > 0 && told < ask->limit && bytes < DRAFT_PAGE_BYTES; i--) {
        struct draft d;
        int64_t id = id_of(kv_key(found.items[i - 1]));
        if (!id || !draft_find(kv, id, arena, &d) || draft_may_see(call, &d, arena) != ERR_OK)
            continue;
        bytes += d.record->value_size;
        last = id;
        if (ask->state.len && !span_equal(ask->state, draft_state_name(d.state)))
            continue;
        jsonw_object(&w);
        head_write(&w, kv, &d);
        jsonw_object_end(&w);
        told++;
    }
    jsonw_array_end(&w);
    if (i > 0 && last)
        number(&w, "next_before", last);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}
