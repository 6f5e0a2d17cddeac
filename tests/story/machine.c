/* The commands of a story that work on the machine and its watchers. Beside the requests:
 *
 *   watch ID KEY [END] | prefix=P | from=K [start=REV] [no_put] [no_delete]     unwatch ID
 *   full ID REV     the watcher's owner has no room from this revision on
 *   catch           the next one that is behind reads on
 *   sweep           compaction frees what it may
 *   time MS   restart   renew ID   expire      leases and their deadlines
 *   notes   clear ID     what the leader keeps of them in the log: those that are due; taken back
 *   save   load     a checkpoint: taken now; written and loaded, in place of the machine
 *   digest */
#include "story.h"

static void put_version(struct buf *out, const struct kv_version *v)
{
    story_put_bytes(out, kv_key(v));
    if (!v->tombstone) {
        buf_u8(out, '=');
        story_put_bytes(out, kv_value(v));
    }
    buf_format(out, " mod=%d.%u", (int)v->mod_revision, v->sub);
    if (!v->tombstone)
        buf_format(out, " create=%d version=%d", (int)v->create_revision, (int)v->version);
    if (v->lease)
        buf_format(out, " lease=%d", (int)v->lease);
}

static void put_prev(struct buf *out, const struct kv_version *v)
{
    if (v) {
        buf_text(out, " prev ");
        put_version(out, v);
    }
}

static void put_change(struct buf *out, const struct kv_change *c)
{
    buf_text(out, c->now->tombstone ? "+ delete " : "+ put ");
    put_version(out, c->now);
    put_prev(out, c->prev);
    buf_u8(out, '\n');
}

/* ---- replies ---- */

static void put_range(struct buf *out, const struct kv_range_result *r, int indent)
{
    buf_format(out, " count=%d%s\n", (int)r->count, r->more ? " more" : "");
    for (size_t i = 0; i < r->n; i++) {
        buf_format(out, "%*s", indent, "");
        if (r->keys_only)
            story_put_bytes(out, kv_key(r->items[i]));
        else
            put_version(out, r->items[i]);
        buf_u8(out, '\n');
    }
}

static void put_deleted(struct buf *out, const struct kv_delete_result *r, int indent)
{
    buf_format(out, " deleted=%d\n", (int)r->deleted);
    for (size_t i = 0; i < r->n_prev; i++) {
        buf_format(out, "%*sprev ", indent, "");
        put_version(out, r->prev[i]);
        buf_u8(out, '\n');
    }
}

static void put_txn(struct buf *out, const struct kv_txn_result *t, int indent)
{
    buf_text(out, t->succeeded ? " then\n" : " else\n");
    for (size_t i = 0; i < t->n_ops; i++) {
        const struct kv_op_result *r = &t->ops[i];
        buf_format(out, "%*srev=%d", indent, "", (int)r->revision);
        if (r->type == KV_OP_RANGE)
            put_range(out, &r->range, indent + 2);
        if (r->type == KV_OP_DELETE)
            put_deleted(out, &r->del, indent + 2);
        if (r->type == KV_OP_TXN)
            put_txn(out, r->txn, indent + 2);
        if (r->type == KV_OP_PUT) {
            put_prev(out, r->put.prev);
            buf_u8(out, '\n');
        }
    }
}

static void put_look(struct buf *out, const struct reply *r)
{
    const struct lease_info *l = &r->look.info;
    if (!r->look.found) {
        buf_text(out, " no such lease\n");
        return;
    }
    buf_format(out, " id=%d ttl_s=%d remaining_ms=%d", (int)l->id, (int)l->ttl_s,
               (int)l->remaining_ms);
    for (size_t i = 0; i < l->n_keys; i++) {
        buf_u8(out, ' ');
        story_put_bytes(out, l->keys[i]);
    }
    buf_u8(out, '\n');
}

static void put_reply(struct buf *out, const struct reply *r)
{
    if (r->err) {
        buf_format(out, "error %s rev=%d\n", err_code(r->err), (int)r->revision);
        return;
    }
    buf_format(out, "ok rev=%d", (int)r->revision);
    if (r->type == REQUEST_RANGE) {
        put_range(out, &r->range, 2);
    } else if (r->type == REQUEST_DELETE) {
        put_deleted(out, &r->del, 2);
    } else if (r->type == REQUEST_TXN) {
        put_txn(out, &r->txn, 2);
    } else if (r->type == REQUEST_LEASE_LOOK) {
        put_look(out, r);
    } else {
        if (r->type == REQUEST_PUT)
            put_prev(out, r->put.prev);
        if (r->type == REQUEST_LEASE_GRANT)
            buf_format(out, " id=%d ttl_s=%d", (int)r->lease.id, (int)r->lease.ttl_s);
        if (r->type == REQUEST_HASH)
            buf_format(out, " hash=%08x at=%d compacted=%d", r->hash.hash,
                       (int)r->hash.hash_revision, (int)r->hash.compact_revision);
        for (size_t i = 0; r->type == REQUEST_LEASE_LIST && i < r->list.n; i++)
            buf_format(out, " %d", (int)r->list.ids[i]);
        buf_u8(out, '\n');
    }
}

/* ---- requests ---- */

static void put_batch(struct buf *out, const struct watch_batch *b)
{
    buf_format(out, "watch %d hears\n", (int)b->watcher->id);
    for (size_t i = 0; i < b->n; i++)
        put_change(out, b->changes[i]);
}

static void apply(struct story *s, const struct request *r)
{
    struct buf command;
    struct reply reply;
    const struct kv_change *changes = NULL;
    struct watch_batch *batches;
    size_t n = 0, n_batches;
    buf_open(&command, &s->heap);
    machine_command(r, 1000, 77, &command);
    enum err err = machine_apply(&s->machine, s->machine.applied_index + 1, 1, buf_all(&command),
                                 s->now_ms, &s->arena, &reply, &changes, &n);
    if (err) {
        buf_format(s->out, "not applied: %s\n", err_code(err));
    } else {
        put_reply(s->out, &reply);
    }
    for (size_t i = 0; i < n; i++)
        put_change(s->out, &changes[i]);
    watch_match(s->hub, changes, n, &s->arena, &batches, &n_batches);
    for (size_t i = 0; i < n_batches; i++)
        put_batch(s->out, &batches[i]);
    buf_close(&command);
}

static void request(struct story *s, struct words *w)
{
    struct request r;
    struct reply reply;
    bool known = story_request(s, w, &r);
    enum err err = known ? request_check(&r, &s->arena) : ERR_BAD_REQUEST;
    if (err) {
        buf_format(s->out, "refused %s\n", err_code(err));
    } else if (request_writes(&r)) {
        apply(s, &r);
    } else {
        machine_read(&s->machine, &r, s->now_ms, &s->arena, &reply);
        put_reply(s->out, &reply);
    }
}

/* ---- watchers ---- */

static struct watcher *find(struct story *s, int64_t id)
{
    return id > 0 ? map_get(&s->watchers, (uint64_t)id) : NULL;
}

static void put_watcher(struct buf *out, const struct watcher *w)
{
    buf_format(out, "watch %d %s next=%d\n", (int)w->id, w->synced ? "synced" : "behind",
               (int)w->next_revision);
}

static void watch(struct story *s, struct words *w)
{
    words_next(w);
    struct watch_spec spec = { .start_revision = words_number(w, "start", 0),
                               .no_put = words_flag(w, "no_put"),
                               .no_delete = words_flag(w, "no_delete") };
    spec.id = number_of(words_next(w));
    story_keys(s, w, &spec.key, &spec.range_end);
    if (spec.id <= 0 || find(s, spec.id))
        return;
    struct watcher *x = watch_add(s->hub, &spec, kv_revision(s->machine.kv));
    map_set(&s->watchers, (uint64_t)spec.id, x);
    put_watcher(s->out, x);
}

static void unwatch(struct story *s, struct words *w)
{
    words_next(w);
    int64_t id = number_of(words_next(w));
    if (find(s, id)) {
        watch_remove(s->hub, find(s, id));
        map_remove(&s->watchers, (uint64_t)id);
    }
}

static void full(struct story *s, struct words *w)
{
    words_next(w);
    struct watcher *x = find(s, number_of(words_next(w)));
    int64_t revision = number_of(words_next(w));
    if (x && revision > 0) {
        watch_fall_behind(s->hub, x, revision);
        put_watcher(s->out, x);
    }
}

static void catch(struct story *s, struct words *w)
{
    words_next(w);
    struct watcher *x = watch_next_behind(s->hub);
    struct watch_batch batch;
    bool compacted;
    if (!x) {
        buf_text(s->out, "none is behind\n");
        return;
    }
    watch_catch_up(s->hub, s->machine.kv, x, &s->arena, &batch, &compacted);
    if (compacted)
        buf_format(s->out, "watch %d was overtaken: compacted=%d\n", (int)x->id,
                   (int)kv_compact_revision(s->machine.kv));
    else if (batch.n)
        put_batch(s->out, &batch);
    put_watcher(s->out, x);
}

/* ---- the rest ---- */

static void sweep(struct story *s, struct words *w)
{
    struct kv_stats before, after;
    words_next(w);
    kv_stats(s->machine.kv, &before);
    while (kv_compact_step(s->machine.kv, 2))
        ;
    kv_stats(s->machine.kv, &after);
    buf_format(s->out, "%d versions freed, %d left\n", (int)(before.versions - after.versions),
               (int)after.versions);
}

static void time(struct story *s, struct words *w)
{
    words_next(w);
    s->now_ms = number_of(words_next(w));
}

static void restart(struct story *s, struct words *w)
{
    words_next(w);
    lease_restart(s->machine.lease, s->now_ms);
}

static void renew(struct story *s, struct words *w)
{
    static const char *const text[] = { "renewed", "gone", "expiring", "noted", "clearing" };
    int64_t ttl_s = 0;
    words_next(w);
    int64_t id = number_of(words_next(w));
    enum lease_renewal r = lease_renew(s->machine.lease, id, s->now_ms, &ttl_s);
    buf_format(s->out, "%s ttl_s=%d\n", text[r], (int)ttl_s);
}

static void expire(struct story *s, struct words *w)
{
    words_next(w);
    for (int64_t id; (id = lease_expire(s->machine.lease, s->now_ms)) != 0;) {
        struct request r = { .type = REQUEST_LEASE_EXPIRE,
                             .expire = { id, s->machine.applied_index } };
        buf_format(s->out, "lease %d: ", (int)id);
        apply(s, &r);
    }
    int64_t next = lease_deadline_ms(s->machine.lease);
    if (next == INT64_MAX)
        buf_text(s->out, "no deadline\n");
    else
        buf_format(s->out, "next deadline %d\n", (int)next);
}

static void apply_notes(struct story *s, const struct lease_note *notes, size_t n)
{
    struct request r = { .type = REQUEST_LEASE_NOTE,
                         .notes = { notes, n, s->machine.applied_index } };
    for (size_t i = 0; i < n; i++)
        buf_format(s->out, "lease %d: %d ms\n", (int)notes[i].id, (int)notes[i].remaining_ms);
    apply(s, &r);
}

static void notes(struct story *s, struct words *w)
{
    struct lease_note *due;
    words_next(w);
    size_t n = lease_notes_due(s->machine.lease, s->now_ms, &s->arena, &due);
    if (n)
        apply_notes(s, due, n);
    else
        buf_text(s->out, "none is due\n");
}

static void clear(struct story *s, struct words *w)
{
    words_next(w);
    apply_notes(s, &(struct lease_note){ .id = number_of(words_next(w)) }, 1);
}

static void save(struct story *s, struct words *w)
{
    words_next(w);
    if (!s->save)
        s->save = machine_save_open(&s->machine, &s->heap);
}

static void load(struct story *s, struct words *w)
{
    enum { BUDGET = 64 };
    struct machine fresh;
    struct buf piece;
    enum err err = ERR_OK;
    words_next(w);
    save(s, &(struct words){ NULL, 0 });
    machine_open(&fresh, &s->heap);
    buf_open(&piece, &s->heap);
    for (bool more = true; more && !err;) {
        buf_reset(&piece);
        more = machine_save_step(s->save, BUDGET, &piece);
        err = machine_load(&fresh, buf_all(&piece));
    }
    if (!err)
        err = machine_load_end(&fresh);
    buf_format(s->out, "%s rev=%d compacted=%d index=%d digest=%08x\n", err ? err_code(err) : "ok",
               (int)kv_revision(fresh.kv), (int)kv_compact_revision(fresh.kv),
               (int)fresh.applied_index, fresh.digest);
    buf_close(&piece);
    machine_save_close(s->save);
    s->save = NULL;
    machine_close(&s->machine);
    s->machine = fresh;
    lease_restart(s->machine.lease, s->now_ms);
}

static void digest(struct story *s, struct words *w)
{
    words_next(w);
    buf_format(s->out, "index=%d digest=%08x\n", (int)s->machine.applied_index,
               s->machine.digest);
}

const struct story_command machine_commands[] = {
    { "put", request },      { "del", request },    { "range", request },  { "txn", request },
    { "compact", request },  { "grant", request },  { "revoke", request }, { "lease", request },
    { "leases", request },   { "hash", request },   { "watch", watch },    { "unwatch", unwatch },
    { "full", full },        { "catch", catch },    { "sweep", sweep },    { "time", time },
    { "restart", restart },  { "renew", renew },    { "expire", expire },  { "save", save },
    { "load", load },        { "digest", digest },  { "notes", notes },    { "clear", clear },
    { NULL, NULL },
};
