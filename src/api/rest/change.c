#include "api/rest/change.h"
#include "base/check.h"

#define LOG_ROOT "confman/log/"
#define OWN_ROOT "confman/"

struct change_call *change_begin(struct rest_call *call, struct arena *arena)
{
    call->change = ARENA_NEW(arena, struct change_call);
    call->change->ops = ARENA_ARRAY(arena, struct kv_op, CHANGE_EXTRA_MAX);
    call->change->guards = ARENA_ARRAY(arena, struct kv_compare, CHANGE_EXTRA_MAX);
    return call->change;
}

struct change *change_add(struct change_call *c, struct arena *arena)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 16;
        struct change *items = ARENA_ARRAY(arena, struct change, cap);
        if (c->n)
            memcpy(items, c->items, c->n * sizeof(*items));
        c->items = items;
        c->cap = cap;
    }
    return &c->items[c->n++];
}

static struct change_fault *fault_add(struct change_call *c, enum err e, struct span pointer,
                                      const char *detail)
{
    struct change_fault *f =
        c->n_faults < CHANGE_FAULTS_MAX ? &c->faults[c->n_faults++] : NULL;
    if (!f)
        return NULL;
    *f = (struct change_fault){ e, pointer, detail, -1 };
    return f;
}

void change_fault(struct change_call *c, enum err e, struct span pointer, const char *detail)
{
    (void)fault_add(c, e, pointer, detail);
}

struct span change_pointer(const struct change_call *c, size_t at, const char *member,
                           struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "%s/%zu%s%s", c->list_at, at, member ? "/" : "", member ? member : "");
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

/* ---- reasons ---- */

struct span change_log_key(struct span key, struct arena *arena)
{
    struct span own = SPAN(OWN_ROOT), root = SPAN(LOG_ROOT);
    if (!span_starts(key, own))
        return SPAN_NONE;
    size_t len = root.len + key.len - own.len;
    uint8_t *p = arena_alloc(arena, len);
    memcpy(p, root.data, root.len);
    memcpy(p + root.len, key.data + own.len, key.len - own.len);
    return span_of(p, len);
}

struct span change_log_of(const struct kv *kv, const struct kv_version *v, struct arena *arena)
{
    struct span key = change_log_key(kv_key(v), arena);
    const struct kv_version *log = key.len ? kv_get(kv, key, v->mod_revision) : NULL;
    return log && log->mod_revision == v->mod_revision ? kv_value(log) : SPAN_NONE;
}

/* ---- against the state ---- */

static void merge(const struct change *from, size_t low, size_t mid, size_t high,
                  struct change *to)
{
    for (size_t i = low, k = mid, at = low; at < high; at++) {
        bool first = k == high || (i < mid && span_compare(from[i].key, from[k].key) <= 0);
        to[at] = first ? from[i++] : from[k++];
    }
}

/* What is in order already costs one look. */
void change_sort(struct change_call *c, struct arena *arena)
{
    bool sorted = true;
    for (size_t i = 1; i < c->n && sorted; i++)
        sorted = span_compare(c->items[i - 1].key, c->items[i].key) <= 0;
    if (sorted)
        return;
    struct change *from = c->items, *to = ARENA_ARRAY(arena, struct change, c->n);
    c->cap = c->n;
    for (size_t step = 1; step < c->n; step *= 2) {
        for (size_t low = 0; low < c->n; low += 2 * step) {
            size_t mid = low + step < c->n ? low + step : c->n;
            size_t high = mid + step < c->n ? mid + step : c->n;
            merge(from, low, mid, high, to);
        }
        struct change *other = from;
        from = to;
        to = other;
    }
    c->items = from;
}

static bool same(const struct change *x)
{
    const struct kv_version *v = x->before;
    if (x->deletes || !v)
        return x->deletes && !v;
    return v->type == x->type && span_equal(kv_value(v), x->value);
}

static void check_version(struct change_call *c, const struct change *x)
{
    int64_t version = x->before ? x->before->version : 0;
    if (!x->has_version && !(x->must_exist && !version))
        return;
    if (x->has_version && x->version == version)
        return;
    struct change_fault *f = fault_add(c, ERR_PRECONDITION, x->pointer,
                                       x->has_version ? "it has another version than if_version"
                                                      : "it is not there to be deleted");
    if (f)
        f->version = version;
}

void change_settle(struct change_call *c, const struct kv *kv, struct arena *arena)
{
    size_t kept = 0;
    c->unchanged = 0;
    if (c->n_faults)
        return;
    change_sort(c, arena);
    for (size_t i = 0; i < c->n; i++) {
        struct change *x = &c->items[i];
        x->before = kv_get(kv, x->key, 0);
        x->there = x->before != NULL;
        if (i && span_equal(c->items[i - 1].key, x->key))
            change_fault(c, ERR_KEY_DUPLICATE, x->pointer, "this key is changed twice");
        check_version(c, x);
    }
    for (size_t i = 0; i < c->n && !c->n_faults; i++)
        if (same(&c->items[i]))
            c->unchanged++;
        else
            c->items[kept++] = c->items[i];
    c->n = c->n_faults ? c->n : kept;
}

/* ---- answers ---- */

static void number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

static const char *word_of(const struct change *x)
{
    return x->deletes ? "removed" : x->there ? "changed" : "added";
}

static void begin_item(struct jsonw *w, const struct change *x)
{
    jsonw_object(w);
    change_name_write(w, x->key);
    jsonw_name(w, "change");
    jsonw_text(w, span_text(word_of(x)));
}

static void sides_write(struct jsonw *w, const struct change *x, size_t *ops_left,
                        struct arena *arena)
{
    struct change_side from = { .there = x->there }, to = { x->value, x->type, !x->deletes };
    if (x->before) {
        from.value = kv_value(x->before);
        from.type = x->before->type;
        jsonw_name(w, "from");
        jsonw_object(w);
        change_value_write(w, from.value, from.type);
        number(w, "version", x->before->version);
        number(w, "revision", x->before->mod_revision);
        jsonw_object_end(w);
    }
    if (!x->deletes) {
        jsonw_name(w, "to");
        jsonw_object(w);
        change_value_write(w, to.value, to.type);
        jsonw_object_end(w);
    }
    change_diff(w, &from, &to, ops_left, arena);
}

static void counts_write(struct jsonw *w, const struct change_call *c, int64_t revision)
{
    number(w, "revision", revision);
    jsonw_name(w, "dry_run");
    jsonw_bool(w, c->dry_run);
    number(w, "changed", (int64_t)c->n);
    number(w, "unchanged", (int64_t)c->unchanged);
    if (c->partial)
        number(w, "left", (int64_t)c->left);
    if (c->log.len) {
        jsonw_name(w, "change_log");
        jsonw_text(w, c->log);
    }
}

void change_write(struct jsonw *w, const struct change_call *c, struct arena *arena)
{
    size_t ops_left = CHANGE_OPS_TOLD_MAX, start = w->out->len;
    bool whole = true;
    jsonw_name(w, "items");
    jsonw_array(w);
    for (size_t i = 0; i < c->n; i++) {
        begin_item(w, &c->items[i]);
        whole = whole && w->out->len - start < CHANGE_ANSWER_BYTES_MAX;
        if (whole)
            sides_write(w, &c->items[i], &ops_left, arena);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    if (!whole) {
        jsonw_name(w, "truncated");
        jsonw_bool(w, true);
    }
}

void change_plan_answer(const struct change_call *c, const struct kv *kv, struct arena *arena,
                        struct rest_answer *out)
{
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    counts_write(&w, c, kv_revision(kv));
    change_write(&w, c, arena);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}

void change_answer(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                   struct arena *arena, struct rest_answer *out)
{
    const struct change_call *c = call->change;
    struct buf b;
    struct jsonw w;
    buf_open(&b, arena->alloc);
    jsonw_open(&w, &b);
    jsonw_object(&w);
    counts_write(&w, c, reply->revision);
    jsonw_name(&w, "items");
    jsonw_array(&w);
    for (size_t i = 0; i < c->n; i++) {
        const struct kv_version *v = kv_get(kv, c->items[i].key, reply->revision);
        begin_item(&w, &c->items[i]);
        if (v)
            number(&w, "version", v->version);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    body_of(out, 200, "application/json", &b, arena);
}

void change_problem(const struct change_call *c, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    CHECK(c->n_faults > 0);
    const struct change_fault *first = &c->faults[0];
    struct jsonw w;
    buf_open(&b, arena->alloc);
    buf_span(&b, first->pointer);
    buf_format(&b, "%s%s", first->pointer.len ? ": " : "", first->detail);
    const char *detail = arena_text(arena, buf_all(&b));
    buf_close(&b);
    problem_begin(&w, &b, first->err, detail, arena);
    jsonw_name(&w, "errors");
    jsonw_array(&w);
    for (size_t i = 0; i < c->n_faults; i++) {
        jsonw_object(&w);
        jsonw_name(&w, "pointer");
        jsonw_text(&w, c->faults[i].pointer);
        jsonw_name(&w, "detail");
        jsonw_text(&w, span_text(c->faults[i].detail));
        if (c->faults[i].version >= 0)
            number(&w, "version", c->faults[i].version);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    problem_end(&w, &b, first->err, detail, arena, out);
}

/* ---- the transaction ---- */

static size_t changes_max(const struct change_call *c)
{
    return c->log.len ? CHANGES_MAX / 2 : CHANGES_MAX;
}

static void refuse_many(const struct change_call *c, struct arena *arena, struct rest_answer *out)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_format(&b, "these are %zu changes; one transaction takes %d, or %d with a change_log", c->n,
               CHANGES_MAX, CHANGES_MAX / 2);
    rest_problem(ERR_CHANGES, arena_text(arena, buf_all(&b)), arena, out);
    buf_close(&b);
}

static size_t add_change(const struct change_call *c, const struct change *x, struct arena *arena,
                         struct kv_op *ops)
{
    size_t n = 0;
    ops[n++] = x->deletes
                   ? (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = x->key } }
                   : (struct kv_op){ .type = KV_OP_PUT,
                                     .put = { .key = x->key, .value = x->value, .type = x->type } };
    if (!c->log.len)
        return n;
    struct kv_put log = { .key = change_log_key(x->key, arena), .value = c->log,
                          .type = KV_STRING };
    CHECK(log.key.len > 0);
    ops[n++] = (struct kv_op){ .type = KV_OP_PUT, .put = log };
    return n;
}

/* If all is as it was seen Then write the first n changes. */
static void make_txn(struct rest_call *call, size_t n, struct arena *arena)
{
    const struct change_call *c = call->change;
    struct kv_compare *compares = ARENA_ARRAY(arena, struct kv_compare, n + c->n_guards + 1);
    struct kv_op *ops = ARENA_ARRAY(arena, struct kv_op, 2 * n + c->n_ops + 1);
    size_t n_ops = 0;
    CHECK(c->n_ops <= CHANGE_EXTRA_MAX && c->n_guards <= CHANGE_EXTRA_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct change *x = &c->items[i];
        compares[i] = (struct kv_compare){ .key = x->key,
                                           .target = KV_IF_MOD,
                                           .result = KV_IF_EQUAL,
                                           .number = x->before ? x->before->mod_revision : 0 };
        n_ops += add_change(c, x, arena, ops + n_ops);
    }
    memcpy(compares + n, c->guards, c->n_guards * sizeof(*compares));
    memcpy(ops + n_ops, c->ops, c->n_ops * sizeof(*ops));
    call->request.type = REQUEST_TXN;
    call->request.txn = (struct kv_txn){ .compares = compares,
                                         .success = ops,
                                         .n_compares = n + c->n_guards,
                                         .n_success = n_ops + c->n_ops };
}

/* A dry run goes the same way as what is meant, up to where it would be written (rest_check); but
 * all that would be changed is told, in however many transactions. */
void change_decide(struct rest_call *call, const struct kv *kv, struct arena *arena,
                   struct rest_answer *out, bool *writes)
{
    struct change_call *c = call->change;
    size_t max = changes_max(c), n = c->n < max ? c->n : max;
    *writes = false;
    c->left = 0;
    if (c->n_faults) {
        change_problem(c, arena, out);
    } else if (!c->n && !c->n_ops) {
        change_plan_answer(c, kv, arena, out);
    } else if (c->n > max && !c->partial) {
        refuse_many(c, arena, out);
    } else {
        make_txn(call, n, arena);
        c->left = c->dry_run ? 0 : c->n - n;
        c->n -= c->left;
        *writes = true;
    }
}

/* ---- for the node ---- */

static enum err plan(struct rest_call *call, const struct kv *kv, struct arena *arena)
{
    struct change_call *c = call->change;
    if (call->route == ROUTE_ROLLBACK)
        return rollback_plan(call, kv, arena);
    if (call->route == ROUTE_IMPORT)
        return import_plan(call, kv, arena);
    change_items_read(c, arena);
    return ERR_OK;
}

void rest_change(struct rest_call *call, const struct kv *kv, struct arena *arena,
                 struct rest_answer *out, bool *writes)
{
    *writes = false;
    if (call->change->draft) {
        draft_step(call, kv, arena, out, writes);
        return;
    }
    enum err e = plan(call, kv, arena);
    if (e != ERR_OK) {
        rest_problem(e, NULL, arena, out);
        return;
    }
    change_settle(call->change, kv, arena);
    change_decide(call, kv, arena, out, writes);
}

void rest_changed(const struct rest_call *call, const struct kv *kv, const struct reply *reply,
                  struct arena *arena, struct rest_answer *out)
{
    if (call->change->draft)
        draft_changed(call, kv, arena, out);
    else
        change_answer(call, kv, reply, arena, out);
}
