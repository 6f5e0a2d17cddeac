#include "node/secret.h"
#include "node/secret_int.h"
#include "wire/json/json.h"

enum step { STEP_READ, STEP_KEYS, STEP_WRITE };

/* A call's. */
struct secret_work {
    enum step step;
    unsigned tries;
    struct secret secret; /* spans point into the store: valid for a turn */
    struct secret_settings settings;
    int64_t mod_revision; /* of what was read; 0: nothing was there */
    struct secret_version added;
    uint8_t made[CIPHER_KEY]; /* INIT, MIGRATE: the new seal's key */
};

/* ---- answers ---- */

void secrets_refuse(struct call *call, enum err e, const char *detail)
{
    struct node *n = call->node;
    struct secret_ask *a = call->rest->secret;
    n->metrics.secrets_refused++;
    cipher_wipe((void *)(uintptr_t)a->data.data, a->data.len);
    if (e == ERR_CORRUPT || e == ERR_FORMAT)
        slog(SLOG_ERROR, "a secret cannot be opened", "error=%s", slog_quote(err_text(e)));
    if (detail)
        call_refuse_http(call, e, detail);
    else
        call_end(call, e);
}

static void refuse(struct call *call, enum err e)
{
    secrets_refuse(call, e, NULL);
}

static void answer(struct call *call, struct secret_answer *a)
{
    struct rest_answer out;
    a->ask = call->rest->secret;
    a->now_ms = loop_wall_ms(call->node->loop);
    if (call->rest->door == REST_VAULT)
        vault_secret(a, call->vault->call.op, &call->node->turn, &out);
    else
        rest_secret(a, &call->node->turn, &out);
    cipher_wipe((void *)(uintptr_t)a->data.data, a->data.len);
    call_answer_http(call, &out);
    cipher_wipe((void *)(uintptr_t)out.body.data, out.body.len); /* of the turn, not the call */
}

static void answer_status(struct call *call)
{
    struct secret_answer a;
    seal_state(call->node, &a);
    answer(call, &a);
}

/* What stands directly below the path; keys come in order, so one that has more below it comes once
 * and again at once. */
static void answer_list(struct call *call, const struct kv_range_result *range)
{
    struct node *n = call->node;
    struct secret_answer a = { .more = range->more };
    struct span *names = ARENA_ARRAY(&n->turn, struct span, range->n + 1);
    size_t skip = call->rest->request.range.key.len;
    for (size_t i = 0; i < range->n; i++) {
        struct span rest = span_from(kv_key(range->items[i]), skip);
        const uint8_t *slash = memchr(rest.data, '/', rest.len);
        if (slash)
            rest.len = (size_t)(slash - rest.data) + 1;
        if (rest.len && (!a.n_names || !span_equal(names[a.n_names - 1], rest)))
            names[a.n_names++] = rest;
    }
    a.names = names;
    answer(call, &a);
}

/* What stands below a root, in order. */
static size_t names_below(struct node *n, const char *root, struct span **out, bool *more)
{
    struct span all = span_text(root);
    struct kv_range range = { .key = all,
                              .range_end = kv_prefix_end(all, &n->turn),
                              .limit = SECRET_NAMESPACES_MAX,
                              .keys_only = true };
    struct kv_range_result r;
    enum err e = kv_range(n->machine.kv, &range, &n->turn, &r);
    CHECK(e == ERR_OK);
    *out = ARENA_ARRAY(&n->turn, struct span, r.n + 1);
    for (size_t i = 0; i < r.n; i++)
        (*out)[i] = span_from(kv_key(r.items[i]), all.len);
    *more = *more || r.more;
    return r.n;
}

/* Every namespace that has a key or settings, and the one of requests which name none. */
static void answer_namespaces(struct call *call)
{
    struct node *n = call->node;
    struct secret_answer a = { 0 };
    struct span *keys, *settings, name;
    size_t n_keys = names_below(n, SECRET_SEAL "/", &keys, &a.more), k = 0;
    size_t n_settings = names_below(n, SECRET_SETTINGS, &settings, &a.more), s = 0;
    struct span *names = ARENA_ARRAY(&n->turn, struct span, n_keys + n_settings + 1);
    names[a.n_names++] = SPAN(SECRET_NAMESPACE);
    while (k < n_keys || s < n_settings) {
        int order = k == n_keys       ? 1
                    : s == n_settings ? -1
                                      : span_compare(keys[k], settings[s]);
        name = order <= 0 ? keys[k] : settings[s];
        k += order <= 0;
        s += order >= 0;
        if (!span_is(name, SECRET_NAMESPACE))
            names[a.n_names++] = name;
    }
    a.names = names;
    answer(call, &a);
}

/* ---- reading ---- */

static enum err settings_of(struct node *n, struct span name_space, struct secret_settings *out)
{
    const struct kv_version *v = seal_stored(n, secret_settings_key(name_space, &n->turn));
    *out = (struct secret_settings){ 0 };
    return v ? secret_settings_read(kv_value(v), out) : ERR_OK;
}

static enum err open_data(struct node *n, const struct secret_ask *a,
                          const struct secret_version *v, struct span *data)
{
    uint8_t outer[CIPHER_KEY], inner[CIPHER_KEY];
    struct ring ring = ring_of_namespace(n, a->name_space);
    int64_t number = v->key;
    struct buf b;
    enum err e = ring_key(n, &ring, &number, outer);
    if (e == ERR_NOT_FOUND)
        e = ERR_CORRUPT; /* the version names a key that is not there */
    if (e == ERR_OK)
        e = seal_unbox_key(n, outer,
                           seal_bound(n, SECRET_OF_DATA_KEY, a->name_space, a->path, v->number),
                           v->wrapped, inner);
    buf_open(&b, n->turn.alloc);
    if (e == ERR_OK &&
        !cipher_open(inner, seal_bound(n, SECRET_OF_DATA, a->name_space, a->path, v->number),
                     v->sealed, &b))
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        *data = arena_copy(&n->turn, buf_all(&b));
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    cipher_wipe(outer, sizeof(outer));
    cipher_wipe(inner, sizeof(inner));
    return e;
}

static bool is_readable(struct node *n, const struct secret_version *v)
{
    return v && !v->destroyed && !secret_deleted(v, loop_wall_ms(n->loop));
}

static void get(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    const struct secret_ask *ask = call->rest->secret;
    struct secret_version *v = secret_find(&w->secret, ask->version);
    struct secret_answer a = { .secret = &w->secret, .version = v };
    enum err e = w->settings.reason_required && !ask->reason.len ? ERR_REASON_REQUIRED
                 : !is_readable(n, v)                            ? ERR_SECRET_NOT_FOUND
                                                                 : open_data(n, ask, v, &a.data);
    audit_secret(call, ask, v ? v->number : ask->version, e);
    if (e == ERR_SECRET_NOT_FOUND && v && call->rest->door == REST_VAULT) {
        answer(call, &a); /* what is known of it, without data */
        return;
    }
    if (e != ERR_OK) {
        refuse(call, e);
        return;
    }
    n->metrics.secrets_read++;
    answer(call, &a);
}

enum err secrets_lend(struct call *call, const struct secret_ask *ask, struct span *data)
{
    struct node *n = call->node;
    struct secret *s = ARENA_NEW(&n->turn, struct secret);
    struct request r = { .type = REQUEST_RANGE };
    r.range.key = secret_store_key(ask->name_space, ask->path, &n->turn);
    enum err e = login_of(call, &r);
    if (e == ERR_OK)
        e = machine_permits(&n->machine, &r);
    const struct kv_version *v = seal_stored(n, r.range.key);
    struct secret_settings settings;
    if (e == ERR_OK)
        e = settings_of(n, ask->name_space, &settings);
    if (e == ERR_OK && settings.reason_required && !ask->reason.len)
        e = ERR_REASON_REQUIRED;
    if (e == ERR_OK)
        e = v ? secret_read(kv_value(v), s) : ERR_SECRET_NOT_FOUND;
    struct secret_version *newest = e == ERR_OK ? secret_find(s, 0) : NULL;
    if (e == ERR_OK)
        e = is_readable(n, newest) ? open_data(n, ask, newest, data) : ERR_SECRET_NOT_FOUND;
    audit_secret(call, ask, newest ? newest->number : 0, e);
    n->metrics.secrets_read += e == ERR_OK;
    n->metrics.secrets_refused += e != ERR_OK;
    return e;
}

/* ---- writing ---- */

/* A data key of its own, sealed by the namespace's newest. */
static enum err add_version(struct node *n, const struct secret_ask *a, struct span data,
                            struct secret_work *w)
{
    uint8_t outer[CIPHER_KEY], inner[CIPHER_KEY];
    int64_t now_ms = loop_wall_ms(n->loop);
    struct ring ring = ring_of_namespace(n, a->name_space);
    struct secret_version v = { .number = w->secret.current + 1,
                                .created_ms = now_ms,
                                .deleted_ms =
                                    secret_deleted_then(&w->secret, &w->settings, now_ms) };
    enum err e = ring_key(n, &ring, &v.key, outer);
    if (e != ERR_OK)
        return e;
    cipher_random(inner, sizeof(inner));
    v.wrapped =
        seal_box(n, outer, seal_bound(n, SECRET_OF_DATA_KEY, a->name_space, a->path, v.number),
                 span_of(inner, sizeof(inner)));
    v.sealed =
        seal_box(n, inner, seal_bound(n, SECRET_OF_DATA, a->name_space, a->path, v.number), data);
    cipher_wipe(outer, sizeof(outer));
    cipher_wipe(inner, sizeof(inner));
    w->added = v;
    return secret_add(&w->secret, &w->settings, &v);
}

/* A new version rests on the namespace's keys as they are: those of before may be taken away once
 * no secret needs them (node/rewrap.c). */
static void write_record(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    struct change c = { 0 };
    struct buf b;
    w->step = STEP_WRITE;
    buf_open(&b, n->turn.alloc);
    secret_write(&w->secret, &b);
    change_if(&c, call->rest->request.range.key, w->mod_revision);
    if (w->added.number)
        change_if_same(n, &c, secret_seal_key(call->rest->secret->name_space, &n->turn));
    change_put(n, &c, call->rest->request.range.key, &b);
    change_propose(call, &c, false);
}

/* What the patch makes of the newest version. */
static enum err patched(struct node *n, const struct secret_ask *a, struct secret_work *w,
                        struct span *data)
{
    struct secret_version *v = secret_find(&w->secret, 0);
    struct span before;
    struct buf b;
    enum err e = is_readable(n, v) ? open_data(n, a, v, &before) : ERR_SECRET_NOT_FOUND;
    if (e != ERR_OK)
        return e;
    buf_open(&b, n->turn.alloc);
    e = jsonr_merge(before, a->data, &b);
    cipher_wipe((void *)(uintptr_t)before.data, before.len);
    if (e == ERR_OK && b.len > SECRET_DATA_MAX)
        e = ERR_BODY_TOO_LARGE;
    if (e == ERR_OK)
        *data = arena_copy(&n->turn, buf_all(&b));
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    return e;
}

/* Keys that are not there yet are made first, by the node; then it begins anew. */
static void put(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    const struct secret_ask *a = call->rest->secret;
    struct ring ring = ring_of_namespace(n, a->name_space);
    struct span data = a->data;
    enum err e = secret_check(&w->secret, &w->settings, a);
    w->added = (struct secret_version){ 0 };
    if (e == ERR_OK) {
        w->step = STEP_KEYS;
        if (seal_make_root(call, &e))
            return;
    }
    if (e == ERR_OK && a->verb == SECRET_PATCH)
        e = patched(n, a, w, &data);
    if (e == ERR_OK)
        e = add_version(n, a, data, w);
    if (data.data != a->data.data)
        cipher_wipe((void *)(uintptr_t)data.data, data.len);
    if (e == ERR_NOT_FOUND && w->tries < SECRET_TRIES_MAX) {
        e = ring_add(call, &ring, true);
        if (e == ERR_OK)
            return;
    }
    if (e == ERR_OK)
        write_record(call, w);
    else
        refuse(call, e);
}

/* What the patch makes of the secret's own metadata. */
static enum err patch_custom(struct call *call, const struct secret *s, struct secret_ask *a)
{
    struct buf b;
    buf_open(&b, &call->node->alloc);
    enum err e = jsonr_merge(s->custom.len ? s->custom : SPAN("{}"), a->custom, &b);
    if (e == ERR_OK && b.len > SECRET_CUSTOM_MAX)
        e = ERR_BODY_TOO_LARGE;
    if (e == ERR_OK)
        a->custom = arena_copy(&call->arena, buf_all(&b));
    buf_close(&b);
    return e;
}

/* Whether what is asked leaves no newest version to those who refer to it. */
static bool takes_newest(const struct secret *s, const struct secret_ask *a)
{
    bool some = a->verb == SECRET_DELETE || a->verb == SECRET_DESTROY;
    bool newest = a->verb == SECRET_REMOVE || (some && !a->n_numbers);
    for (size_t i = 0; i < a->n_numbers; i++)
        newest = newest || (some && a->numbers[i] == s->current);
    return newest;
}

static bool may_go(struct call *call, const struct secret *s, const struct secret_ask *a)
{
    struct rest_answer out;
    if (!takes_newest(s, a) || rest_secret_free(call->rest, &call->arena, &out))
        return true;
    call->node->metrics.secrets_refused++;
    call_answer_http(call, &out);
    return false;
}

static void change(struct call *call, struct secret_work *w)
{
    struct secret_ask now = *call->rest->secret, *a = &now;
    struct change c = { 0 };
    enum err e = a->custom_merges && a->custom.data ? patch_custom(call, &w->secret, a) : ERR_OK;
    if (e != ERR_OK) {
        refuse(call, e);
        return;
    }
    if (!w->mod_revision && (a->verb != SECRET_CONFIGURE || a->must_exist)) {
        refuse(call, ERR_SECRET_NOT_FOUND);
    } else if (!may_go(call, &w->secret, a)) {
        return;
    } else if (a->verb == SECRET_REMOVE) {
        w->step = STEP_WRITE;
        change_if(&c, call->rest->request.range.key, w->mod_revision);
        change_delete(&c, call->rest->request.range.key, SPAN_NONE);
        change_propose(call, &c, false);
    } else {
        secret_change(&w->secret, a, loop_wall_ms(call->node->loop));
        write_record(call, w);
    }
}

/* ---- namespaces ---- */

static void answer_settings(struct call *call, const struct secret_work *w)
{
    struct secret_answer a = { .settings = &w->settings };
    answer(call, &a);
}

static void put_settings(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    const struct secret_ask *a = call->rest->secret;
    struct span at = call->rest->request.range.key;
    struct secret_settings *s = &w->settings;
    struct change c = { 0 };
    struct buf b;
    if (a->versions_max >= 0)
        s->versions_max = a->versions_max;
    if (a->delete_after_ms >= 0)
        s->delete_after_ms = a->delete_after_ms;
    if (a->check_required >= 0)
        s->check_required = a->check_required > 0;
    if (a->reason_required >= 0)
        s->reason_required = a->reason_required > 0;
    w->step = STEP_WRITE;
    buf_open(&b, n->turn.alloc);
    secret_settings_write(s, &b);
    change_if_same(n, &c, at);
    change_put(n, &c, at, &b);
    change_propose(call, &c, false);
}

static void remove_namespace(struct call *call, struct secret_work *w)
{
    struct arena *arena = &call->node->turn;
    struct span name = call->rest->secret->name_space;
    struct span secrets = secret_store_key(name, SPAN_NONE, arena);
    struct change c = { 0 };
    w->step = STEP_WRITE;
    change_delete(&c, secrets, kv_prefix_end(secrets, arena));
    change_delete(&c, secret_seal_key(name, arena), SPAN_NONE);
    change_delete(&c, secret_settings_key(name, arena), SPAN_NONE);
    change_propose(call, &c, false);
}

/* ---- steps ---- */

/* ---- the seal ---- */

static void unseal(struct call *call)
{
    struct secret_ask *a = call->rest->secret;
    enum err e = seal_unseal(call->node, a);
    cipher_wipe((void *)(uintptr_t)a->data.data, a->data.len);
    call->node->metrics.unseal_refused += e == ERR_SHARE;
    if (e == ERR_OK)
        answer_status(call);
    else
        refuse(call, e);
}

static void seal_up(struct call *call)
{
    struct node *n = call->node;
    struct request r = { .type = REQUEST_PUT, .put = { .key = SPAN(SECRET_SEAL) } };
    enum err e = login_of(call, &r);
    if (e == ERR_OK)
        e = machine_permits(&n->machine, &r);
    if (e != ERR_OK) {
        refuse(call, e);
        return;
    }
    seal_forget(n);
    n->secrets->by_hand = true;
    slog(SLOG_WARN, "this node was told to seal its secrets", "user=%s",
         slog_quote(arena_text(&n->turn, r.author)));
    answer_status(call);
}

static void change_seal(struct call *call, struct secret_work *w)
{
    const struct secret_ask *a = call->rest->secret;
    const char *detail = NULL;
    w->step = STEP_WRITE;
    enum err e = a->verb == SECRET_INIT      ? seal_init(call, a, w->made)
                 : a->verb == SECRET_MIGRATE ? seal_migrate(call, a, w->made, &detail)
                 : a->verb == SECRET_REWRAP  ? seal_rewrap(call, &detail)
                                             : seal_rotate_root(call);
    if (e != ERR_OK)
        secrets_refuse(call, e, detail);
}

static void rotate(struct call *call, struct secret_work *w)
{
    struct ring ring = ring_of_namespace(call->node, call->rest->secret->name_space);
    enum err e;
    w->step = STEP_KEYS;
    if (seal_make_root(call, &e))
        return;
    w->step = STEP_WRITE;
    if (e == ERR_OK)
        e = ring_add(call, &ring, false);
    if (e != ERR_OK)
        refuse(call, e);
}

/* Of one secret, as it was read. */
static void begin_one(struct call *call, struct secret_work *w)
{
    const struct secret_ask *a = call->rest->secret;
    bool gets = a->verb == SECRET_GET || a->verb == SECRET_SUBKEYS;
    struct secret_answer known = { .secret = &w->secret };
    if (!w->mod_revision && (gets || a->verb == SECRET_VERSIONS || a->verb == SECRET_PATCH))
        refuse(call, ERR_SECRET_NOT_FOUND);
    else if (gets)
        get(call, w);
    else if (a->verb == SECRET_VERSIONS)
        answer(call, &known);
    else if (a->verb == SECRET_PUT || a->verb == SECRET_PATCH)
        put(call, w);
    else
        change(call, w);
}

/* From the state as it is now: at first after the read index, then after what we wrote is
 * applied. */
static void begin(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    const struct secret_ask *a = call->rest->secret;
    enum err e = settings_of(n, a->name_space, &w->settings);
    if (e != ERR_OK) {
        refuse(call, e);
        return;
    }
    if (a->verb == SECRET_ROTATE) {
        rotate(call, w);
    } else if (a->verb == SECRET_INIT || a->verb == SECRET_ROTATE_ROOT ||
               a->verb == SECRET_MIGRATE || a->verb == SECRET_REWRAP) {
        change_seal(call, w);
    } else if (a->verb == SECRET_SEAL_UP) {
        seal_up(call);
    } else if (a->verb == SECRET_SETTINGS_GET) {
        answer_settings(call, w);
    } else if (a->verb == SECRET_SETTINGS_PUT) {
        put_settings(call, w);
    } else if (a->verb == SECRET_NAMESPACE_REMOVE) {
        remove_namespace(call, w);
    } else {
        const struct kv_version *v = seal_stored(n, call->rest->request.range.key);
        w->mod_revision = seal_revision_of(v);
        w->secret = (struct secret){ 0 };
        e = v ? secret_read(kv_value(v), &w->secret) : ERR_OK;
        if (e == ERR_OK)
            begin_one(call, w);
        else
            refuse(call, e);
    }
}

static void written(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    struct secret_ask *ask = call->rest->secret;
    struct secret_keys keys;
    struct secret_answer a = { .secret = &w->secret,
                               .version = &w->added,
                               .settings = &w->settings };
    n->metrics.secrets_written++;
    cipher_wipe((void *)(uintptr_t)ask->data.data, ask->data.len);
    w->secret.custom = SPAN_NONE; /* the store's, of before */
    if (ask->verb == SECRET_ROTATE &&
        seal_keys_at(n, call->rest->request.range.key, &keys) == ERR_OK && keys.n)
        a.key = keys.items[keys.n - 1].number;
    if (ask->verb == SECRET_INIT)
        seal_made(n, ask, w->made, &a);
    if (ask->verb == SECRET_MIGRATE)
        seal_migrated(n, ask, w->made);
    if (ask->verb == SECRET_ROTATE_ROOT || ask->verb == SECRET_MIGRATE ||
        ask->verb == SECRET_REWRAP)
        seal_state(n, &a);
    bool init = ask->verb == SECRET_INIT;
    answer(call, &a);
    for (size_t i = 0; init && i < a.n_names; i++)
        cipher_wipe((void *)(uintptr_t)a.names[i].data, a.names[i].len);
}

void secrets_replied(struct call *call, const struct reply *reply)
{
    const struct secret_ask *a = call->rest->secret;
    struct secret_work *w = call->secret;
    bool vault = call->rest->door == REST_VAULT;
    call->node->secrets_came = true; /* it goes in another turn than it came */
    if (!w)
        w = call->secret = ARENA_NEW(&call->arena, struct secret_work);
    if (a->verb == SECRET_STATUS)
        answer_status(call);
    else if (a->verb == SECRET_UNSEAL)
        unseal(call);
    else if (a->verb != SECRET_INIT && (a->verb != SECRET_LIST || vault) && w->step == STEP_READ &&
             !seal_is_open(call->node))
        refuse(call, ERR_SEALED); /* whatever is asked of secrets, but REST's names */
    else if (a->verb == SECRET_LIST)
        answer_list(call, &reply->range);
    else if (a->verb == SECRET_NAMESPACES)
        answer_namespaces(call);
    else if (w->step == STEP_WRITE && reply->txn.succeeded)
        written(call, w);
    else if (w->step != STEP_READ && ++w->tries > SECRET_TRIES_MAX)
        refuse(call, ERR_TOO_MANY_REQUESTS);
    else
        begin(call, w);
}
