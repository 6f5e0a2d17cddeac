/* History: the versions of one config that the store still has, newest first. */
#include "api/rest/change.h"
#include "base/check.h"

enum { PAGE_BYTES = 4 << 20 }; /* of values: a page ends behind the one that reaches it */

/* Why, if it was said, into an object that is written already. */
static void reason_write(struct jsonw *w, const struct kv *kv, const struct kv_version *v,
                         struct arena *arena)
{
    struct span why = change_log_of(kv, v, arena);
    if (!why.len)
        return;
    w->out->len--; /* its brace */
    jsonw_name(w, "change_log");
    jsonw_text(w, why);
    jsonw_object_end(w);
}

static void deletion_write(struct jsonw *w, const struct kv *kv, const struct kv_version *v)
{
    struct span by = kv_author(kv, v), environment, key;
    config_split(kv_key(v), &environment, &key);
    jsonw_object(w);
    jsonw_name(w, "key");
    jsonw_text(w, key);
    jsonw_name(w, "environment");
    jsonw_text(w, environment);
    jsonw_name(w, "deleted");
    jsonw_bool(w, true);
    jsonw_name(w, "revision");
    jsonw_number(w, v->mod_revision);
    jsonw_name(w, "updated_at");
    time_write(w, v->updated_at_ms);
    jsonw_name(w, "updated_by");
    jsonw_text(w, by.len ? by : SPAN("anonymous"));
    jsonw_object_end(w);
}

/* The store was just read at its newest revision; what may be read of the key, its past is too. */
void history_write(const struct rest_call *c, const struct kv *kv, struct arena *arena,
                   struct jsonw *w)
{
    struct span key = config_key(arena, c->environment, c->key);
    size_t limit = (size_t)c->limit;
    const struct kv_version **items = ARENA_ARRAY(arena, const struct kv_version *, limit + 1);
    size_t n = kv_versions(kv, key, c->revision, items, limit + 1);
    size_t end = 0, bytes = 0;
    while (end < n && end < limit && bytes < PAGE_BYTES)
        bytes += items[end++]->value_size;
    jsonw_object(w);
    jsonw_name(w, "items");
    jsonw_array(w);
    for (size_t i = 0; i < end; i++) {
        if (items[i]->tombstone)
            deletion_write(w, kv, items[i]);
        else
            item_write(w, kv, items[i], SPAN_NONE);
        reason_write(w, kv, items[i], arena);
    }
    jsonw_array_end(w);
    jsonw_name(w, "compact_revision");
    jsonw_number(w, kv_compact_revision(kv) < 0 ? 0 : kv_compact_revision(kv));
    if (end < n) {
        jsonw_name(w, "next_revision");
        jsonw_number(w, items[end]->mod_revision);
    }
    jsonw_object_end(w);
}
