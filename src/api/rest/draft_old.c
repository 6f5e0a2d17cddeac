/* Drafts that are done, published or rejected, and kept long enough. */
#include "api/rest/draft.h"
#include "base/check.h"

/* "<id>/state" behind the root; 0: it is none. */
static int64_t id_of_state(struct span key)
{
    struct span rest = span_from(key, sizeof(DRAFTS) - 1), state = SPAN("/state");
    int64_t id;
    bool is = rest.len == 16 + state.len && span_equal(span_from(rest, 16), state) &&
              number_read(span_of(rest.data, 16), &id);
    return is ? id : 0;
}

static bool is_done(const struct kv_version *v, struct arena *arena)
{
    struct jdoc *doc;
    struct jdoc_fault fault;
    if (jdoc_read(kv_value(v), arena, &doc, &fault) != ERR_OK || doc->type != JDOC_OBJECT)
        return false;
    const struct jdoc *state = jdoc_member(doc, SPAN("state"));
    return jdoc_is(state, JDOC_STRING) &&
           (span_equal(state->text, draft_state_name(DRAFT_PUBLISHED)) ||
            span_equal(state->text, draft_state_name(DRAFT_REJECTED)));
}

/* If its state is as it was seen Then the draft and all that stands below it go. */
static void remove_txn(const struct kv_version *state, struct arena *arena, struct request *out)
{
    int64_t id = id_of_state(kv_key(state));
    struct kv_compare *same = ARENA_NEW(arena, struct kv_compare);
    struct kv_op *all = ARENA_NEW(arena, struct kv_op);
    *same = (struct kv_compare){ .key = arena_copy(arena, kv_key(state)),
                                 .target = KV_IF_MOD,
                                 .result = KV_IF_EQUAL,
                                 .number = state->mod_revision };
    all->type = KV_OP_DELETE;
    all->del.key = draft_key(arena, id, "");
    all->del.range_end = draft_key(arena, id, "0"); /* behind all with a slash */
    *out = (struct request){ .type = REQUEST_TXN };
    out->txn = (struct kv_txn){ .compares = same, .success = all, .n_compares = 1, .n_success = 1 };
}

size_t rest_drafts_old(const struct kv *kv, int64_t before_ms, size_t keep, struct arena *arena,
                       struct request *out, size_t max)
{
    struct kv_range range = { .key = SPAN(DRAFTS), .limit = 2 * DRAFT_KEYS_MAX };
    struct kv_range_result found;
    size_t n_done = 0, n = 0;
    range.range_end = kv_prefix_end(range.key, arena);
    enum err e = kv_range(kv, &range, arena, &found);
    CHECK(e == ERR_OK);
    const struct kv_version **done = ARENA_ARRAY(arena, const struct kv_version *, found.n);
    for (size_t i = 0; i < found.n; i++)
        if (id_of_state(kv_key(found.items[i])) && is_done(found.items[i], arena))
            done[n_done++] = found.items[i];
    for (size_t i = 0; i < n_done && n < max; i++) /* those proposed first come first */
        if (n_done - i > keep || done[i]->updated_at_ms < before_ms)
            remove_txn(done[i], arena, &out[n++]);
    return n;
}
