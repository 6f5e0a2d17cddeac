#include "node/secret.h"
#include "base/check.h"
#include "io/cipher/cipher.h"
#include "node/call_int.h"

enum step { STEP_READ, STEP_KEYS, STEP_WRITE };
enum { SEAL_KEYS = 2 }; /* the current one, and the one before */

struct secrets {
    size_t n_keys; /* 0: sealed */
    uint8_t keys[SEAL_KEYS][CIPHER_KEY], ids[SEAL_KEYS][CIPHER_ID];
};

/* A call's. */
struct secret_work {
    enum step step;
    unsigned tries;
    struct secret secret; /* spans point into the store: valid for a turn */
    int64_t mod_revision; /* of what was read; 0: nothing was there */
    struct secret_version added;
};

bool secrets_open(struct node *n)
{
    const char *files[SEAL_KEYS] = { n->params.seal_key_file, n->params.seal_key_file_previous };
    char why[CIPHER_WHY_MAX];
    struct secrets *s = cipher_pages(sizeof(*s));
    n->secrets = s;
    for (int i = 0; i < SEAL_KEYS && files[i][0]; i++) {
        if (cipher_key_file(files[i], s->keys[i], why) != ERR_OK) {
            slog(SLOG_ERROR, "the key of the seal cannot be read", "error=%s", slog_quote(why));
            return false;
        }
        cipher_id(s->keys[i], s->ids[i]);
        s->n_keys++;
    }
    if (s->n_keys)
        cipher_no_dump();
    return true;
}

void secrets_close(struct node *n)
{
    if (n->secrets)
        cipher_pages_close(n->secrets, sizeof(*n->secrets));
    n->secrets = NULL;
}

/* ---- keys ---- */

static const struct kv_version *stored(struct node *n, struct span key)
{
    return kv_get(n->machine.kv, key, 0);
}

static struct span bound(struct node *n, enum secret_purpose purpose, struct span name_space,
                         struct span path, int64_t number)
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    secret_bind(purpose, name_space, path, number, &b);
    struct span out = arena_copy(&n->turn, buf_all(&b));
    buf_close(&b);
    return out;
}

static struct span seal(struct node *n, const uint8_t *key, struct span binding, struct span plain)
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    cipher_seal(key, binding, plain, &b);
    struct span out = arena_copy(&n->turn, buf_all(&b));
    buf_close(&b);
    return out;
}

static enum err unseal_key(struct node *n, const uint8_t *by, struct span binding, struct span box,
                           uint8_t key[CIPHER_KEY])
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    bool good = cipher_open(by, binding, box, &b) && b.len == CIPHER_KEY;
    if (good)
        memcpy(key, b.data, CIPHER_KEY);
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    return good ? ERR_OK : ERR_CORRUPT;
}

/* The keys that stand at a place of the store; n 0: none yet. */
static enum err keys_at(struct node *n, struct span at, struct secret_keys *out)
{
    const struct kv_version *v = stored(n, at);
    *out = (struct secret_keys){ 0 };
    return v ? secret_keys_read(kv_value(v), &n->turn, out) : ERR_OK;
}

static const struct secret_key *key_number(const struct secret_keys *k, int64_t number)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->items[i].number == number)
            return &k->items[i];
    return NULL;
}

static struct span root_binding(struct node *n, int64_t number)
{
    return bound(n, SECRET_OF_ROOT, SPAN_NONE, SPAN_NONE, number);
}

/* The newest root key. ERR_SEALED; ERR_NOT_FOUND: there is none yet; ERR_CORRUPT. */
static enum err root_key(struct node *n, uint8_t root[CIPHER_KEY])
{
    struct secrets *s = n->secrets;
    struct secret_keys keys;
    enum err e = s->n_keys ? keys_at(n, SPAN(SECRET_SEAL), &keys) : ERR_SEALED;
    if (e != ERR_OK || !keys.n)
        return e != ERR_OK ? e : ERR_NOT_FOUND;
    const struct secret_key *k = &keys.items[keys.n - 1];
    for (size_t i = 0; i < s->n_keys; i++)
        if (memcmp(k->by, s->ids[i], CIPHER_ID) == 0)
            return unseal_key(n, s->keys[i], root_binding(n, k->number), k->box, root);
    return ERR_SEALED;
}

/* A namespace's key; *number 0: the newest, and it is told. */
static enum err namespace_key(struct node *n, struct span name, int64_t *number,
                              uint8_t key[CIPHER_KEY])
{
    uint8_t root[CIPHER_KEY];
    struct secret_keys keys;
    enum err e = keys_at(n, secret_seal_key(name, &n->turn), &keys);
    if (e == ERR_OK)
        e = root_key(n, root);
    if (e == ERR_OK) {
        const struct secret_key *k = *number  ? key_number(&keys, *number)
                                     : keys.n ? &keys.items[keys.n - 1]
                                              : NULL;
        e = ERR_NOT_FOUND;
        if (k) {
            *number = k->number;
            e = unseal_key(n, root, bound(n, SECRET_OF_NAMESPACE, name, SPAN_NONE, k->number),
                           k->box, key);
        }
    }
    cipher_wipe(root, sizeof(root));
    return e;
}

/* ---- transactions: one put, or delete, behind one compare ---- */

static void propose(struct call *call, struct kv_op op, struct span key, int64_t mod_revision,
                    bool by_node)
{
    struct arena *arena = &call->node->turn;
    struct kv_compare *compare = ARENA_NEW(arena, struct kv_compare);
    struct kv_op *write = ARENA_NEW(arena, struct kv_op);
    *compare = (struct kv_compare){ .key = key,
                                    .target = KV_IF_MOD,
                                    .result = KV_IF_EQUAL,
                                    .number = mod_revision };
    *write = op;
    struct request r = { .type = REQUEST_TXN, .txn = { compare, write, NULL, 1, 1, 0 } };
    enum err e = by_node ? ERR_OK : login_of(call, &r);
    if (by_node)
        r.author = SPAN("seal"), r.auth_revision = REQUEST_BY_NODE;
    if (e == ERR_OK)
        e = request_check(&r, arena);
    if (e == ERR_OK)
        call_propose(call, &r);
    else
        call_end(call, e);
}

static void propose_put(struct call *call, struct span key, int64_t mod_revision, struct buf *value,
                        bool by_node)
{
    struct span copy = arena_copy(&call->node->turn, buf_all(value));
    struct kv_op put = { .type = KV_OP_PUT, .put = { .key = key, .value = copy } };
    buf_close(value);
    propose(call, put, key, mod_revision, by_node);
}

static int64_t revision_of(const struct kv_version *v)
{
    return v ? v->mod_revision : 0;
}

/* One more key at a place, sealed by another; the last takes the place of all before it if they
 * are only copies of the same under another seal. */
static void add_key(struct call *call, struct span at, const struct secret_keys *before,
                    const uint8_t *key, const uint8_t *by, struct span name, bool by_node)
{
    struct node *n = call->node;
    bool root = span_is(at, SECRET_SEAL);
    struct secret_keys keys = { .n = before->n + 1 };
    struct buf b;
    keys.items = ARENA_ARRAY(&n->turn, struct secret_key, keys.n);
    if (before->n)
        memcpy(keys.items, before->items, before->n * sizeof(*keys.items));
    struct secret_key *k = &keys.items[before->n];
    k->number = before->n ? k[-1].number + 1 : 1;
    k->created_ms = loop_wall_ms(n->loop);
    cipher_id(by, k->by);
    k->box = seal(n, by,
                  root ? root_binding(n, k->number)
                       : bound(n, SECRET_OF_NAMESPACE, name, SPAN_NONE, k->number),
                  span_of(key, CIPHER_KEY));
    if (root) { /* those before are the same key under a seal of before */
        keys.items = k;
        keys.n = 1;
    }
    buf_open(&b, n->turn.alloc);
    secret_keys_write(&keys, &b);
    propose_put(call, at, revision_of(stored(n, at)), &b, by_node);
}

/* The root key under the current seal, made if there is none. True: it is on its way. */
static bool make_root(struct call *call, enum err *e)
{
    struct node *n = call->node;
    struct secrets *s = n->secrets;
    struct secret_keys keys;
    uint8_t root[CIPHER_KEY];
    *e = root_key(n, root);
    bool missing = *e == ERR_NOT_FOUND;
    bool made = missing;
    if (missing) {
        cipher_random(root, sizeof(root));
        *e = ERR_OK;
    }
    if (*e == ERR_OK)
        *e = keys_at(n, SPAN(SECRET_SEAL), &keys);
    if (*e == ERR_OK && !missing)
        made = memcmp(keys.items[keys.n - 1].by, s->ids[0], CIPHER_ID) != 0;
    made = made && *e == ERR_OK;
    if (made)
        add_key(call, SPAN(SECRET_SEAL), &keys, root, s->keys[0], SPAN_NONE, true);
    cipher_wipe(root, sizeof(root));
    return made;
}

/* One more key for the namespace. */
static enum err make_namespace_key(struct call *call, struct span name, bool by_node)
{
    struct node *n = call->node;
    struct span at = secret_seal_key(name, &n->turn);
    struct secret_keys keys;
    uint8_t root[CIPHER_KEY], key[CIPHER_KEY];
    enum err e = keys_at(n, at, &keys);
    if (e == ERR_OK && keys.n == SECRET_KEYS_MAX)
        e = ERR_SECRET_FULL;
    if (e == ERR_OK)
        e = root_key(n, root);
    if (e == ERR_OK) {
        cipher_random(key, sizeof(key));
        add_key(call, at, &keys, key, root, name, by_node);
        cipher_wipe(key, sizeof(key));
    }
    cipher_wipe(root, sizeof(root));
    return e;
}

/* ---- answers ---- */

static void refuse(struct call *call, enum err e)
{
    struct node *n = call->node;
    struct secret_ask *a = call->rest->secret;
    n->metrics.secrets_refused++;
    cipher_wipe((void *)(uintptr_t)a->data.data, a->data.len);
    if (e == ERR_CORRUPT || e == ERR_FORMAT)
        slog(SLOG_ERROR, "a secret cannot be opened", "error=%s", slog_quote(err_text(e)));
    call_end(call, e);
}

static void answer(struct call *call, struct secret_answer *a)
{
    struct rest_answer out;
    a->ask = call->rest->secret;
    rest_secret(a, &call->node->turn, &out);
    cipher_wipe((void *)(uintptr_t)a->data.data, a->data.len);
    call_answer_http(call, &out);
    cipher_wipe((void *)(uintptr_t)out.body.data, out.body.len); /* of the turn, not the call */
}

static void answer_status(struct call *call)
{
    struct node *n = call->node;
    uint8_t root[CIPHER_KEY];
    bool there = stored(n, SPAN(SECRET_SEAL)) != NULL;
    enum err e = root_key(n, root);
    cipher_wipe(root, sizeof(root));
    struct secret_answer a = { .sealed = e != ERR_OK && e != ERR_NOT_FOUND,
                               .initialized = there,
                               .seal_type = n->secrets->n_keys ? "static" : "none" };
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

/* ---- reading ---- */

static enum err open_data(struct node *n, const struct secret_ask *a,
                          const struct secret_version *v, struct span *data)
{
    uint8_t outer[CIPHER_KEY], inner[CIPHER_KEY];
    int64_t number = v->key;
    struct buf b;
    enum err e = namespace_key(n, a->name_space, &number, outer);
    if (e == ERR_NOT_FOUND)
        e = ERR_CORRUPT; /* the version names a key that is not there */
    if (e == ERR_OK)
        e = unseal_key(n, outer,
                       bound(n, SECRET_OF_DATA_KEY, a->name_space, a->path, v->number), v->wrapped,
                       inner);
    buf_open(&b, n->turn.alloc);
    if (e == ERR_OK &&
        !cipher_open(inner, bound(n, SECRET_OF_DATA, a->name_space, a->path, v->number), v->sealed,
                     &b))
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        *data = arena_copy(&n->turn, buf_all(&b));
    cipher_wipe(b.data, b.len);
    buf_close(&b);
    cipher_wipe(outer, sizeof(outer));
    cipher_wipe(inner, sizeof(inner));
    return e;
}

static void get(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    const struct secret_ask *ask = call->rest->secret;
    struct secret_version *v = secret_find(&w->secret, ask->version);
    struct secret_answer a = { .secret = &w->secret, .version = v };
    enum err e =
        !v || v->destroyed || v->deleted_ms ? ERR_SECRET_NOT_FOUND : open_data(n, ask, v, &a.data);
    audit_secret(call, ask, v ? v->number : ask->version, e);
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
    const struct kv_version *v = stored(n, r.range.key);
    if (e == ERR_OK)
        e = v ? secret_read(kv_value(v), s) : ERR_SECRET_NOT_FOUND;
    struct secret_version *newest = e == ERR_OK ? secret_find(s, 0) : NULL;
    if (e == ERR_OK)
        e = !newest || newest->destroyed || newest->deleted_ms ? ERR_SECRET_NOT_FOUND
                                                               : open_data(n, ask, newest, data);
    audit_secret(call, ask, newest ? newest->number : 0, e);
    n->metrics.secrets_read += e == ERR_OK;
    n->metrics.secrets_refused += e != ERR_OK;
    return e;
}

/* ---- writing ---- */

/* A data key of its own, sealed by the namespace's newest. */
static enum err add_version(struct node *n, const struct secret_ask *a, struct secret_work *w)
{
    uint8_t outer[CIPHER_KEY], inner[CIPHER_KEY];
    struct secret_version v = { .number = w->secret.current + 1,
                                .created_ms = loop_wall_ms(n->loop) };
    enum err e = namespace_key(n, a->name_space, &v.key, outer);
    if (e != ERR_OK)
        return e;
    cipher_random(inner, sizeof(inner));
    v.wrapped = seal(n, outer, bound(n, SECRET_OF_DATA_KEY, a->name_space, a->path, v.number),
                     span_of(inner, sizeof(inner)));
    v.sealed = seal(n, inner, bound(n, SECRET_OF_DATA, a->name_space, a->path, v.number), a->data);
    cipher_wipe(outer, sizeof(outer));
    cipher_wipe(inner, sizeof(inner));
    w->added = v;
    return secret_add(&w->secret, &v);
}

static void write_record(struct call *call, struct secret_work *w)
{
    struct buf b;
    w->step = STEP_WRITE;
    buf_open(&b, call->node->turn.alloc);
    secret_write(&w->secret, &b);
    propose_put(call, call->rest->request.range.key, w->mod_revision, &b, false);
}

/* Keys that are not there yet are made first, by the node; then it begins anew. */
static void put(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    const struct secret_ask *a = call->rest->secret;
    enum err e = secret_check(&w->secret, a);
    if (e == ERR_OK) {
        w->step = STEP_KEYS;
        if (make_root(call, &e))
            return;
    }
    if (e == ERR_OK)
        e = add_version(n, a, w);
    if (e == ERR_NOT_FOUND && w->tries < SECRET_TRIES_MAX) {
        e = make_namespace_key(call, a->name_space, true);
        if (e == ERR_OK)
            return;
    }
    if (e == ERR_OK)
        write_record(call, w);
    else
        refuse(call, e);
}

static void change(struct call *call, struct secret_work *w)
{
    const struct secret_ask *a = call->rest->secret;
    struct kv_op del = { .type = KV_OP_DELETE, .del = { .key = call->rest->request.range.key } };
    if (!w->mod_revision && a->verb != SECRET_CONFIGURE) {
        refuse(call, ERR_SECRET_NOT_FOUND);
    } else if (a->verb == SECRET_REMOVE) {
        w->step = STEP_WRITE;
        propose(call, del, del.del.key, w->mod_revision, false);
    } else {
        secret_change(&w->secret, a, loop_wall_ms(call->node->loop));
        write_record(call, w);
    }
}

/* ---- steps ---- */

static void rotate(struct call *call, struct secret_work *w)
{
    enum err e;
    w->step = STEP_KEYS;
    if (make_root(call, &e))
        return;
    w->step = STEP_WRITE;
    if (e == ERR_OK)
        e = make_namespace_key(call, call->rest->secret->name_space, false);
    if (e != ERR_OK)
        refuse(call, e);
}

/* From the state as it is now: at first after the read index, then after what we wrote is
 * applied. */
static void begin(struct call *call, struct secret_work *w)
{
    const struct secret_ask *a = call->rest->secret;
    const struct kv_version *v = stored(call->node, call->rest->request.range.key);
    w->mod_revision = revision_of(v);
    w->secret = (struct secret){ 0 };
    if (a->verb == SECRET_ROTATE) {
        rotate(call, w);
        return;
    }
    enum err e = v ? secret_read(kv_value(v), &w->secret) : ERR_OK;
    if (e == ERR_OK && !v && (a->verb == SECRET_GET || a->verb == SECRET_VERSIONS))
        e = ERR_SECRET_NOT_FOUND;
    struct secret_answer known = { .secret = &w->secret };
    if (e != ERR_OK)
        refuse(call, e);
    else if (a->verb == SECRET_GET)
        get(call, w);
    else if (a->verb == SECRET_VERSIONS)
        answer(call, &known);
    else if (a->verb == SECRET_PUT)
        put(call, w);
    else
        change(call, w);
}

static void written(struct call *call, struct secret_work *w)
{
    struct node *n = call->node;
    struct secret_ask *ask = call->rest->secret;
    struct secret_keys keys;
    struct secret_answer a = { .secret = &w->secret, .version = &w->added };
    n->metrics.secrets_written++;
    cipher_wipe((void *)(uintptr_t)ask->data.data, ask->data.len);
    if (ask->verb == SECRET_ROTATE &&
        keys_at(n, call->rest->request.range.key, &keys) == ERR_OK && keys.n)
        a.key = keys.items[keys.n - 1].number;
    answer(call, &a);
}

void secrets_replied(struct call *call, const struct reply *reply)
{
    const struct secret_ask *a = call->rest->secret;
    struct secret_work *w = call->secret;
    if (!w)
        w = call->secret = ARENA_NEW(&call->arena, struct secret_work);
    if (a->verb == SECRET_STATUS)
        answer_status(call);
    else if (a->verb == SECRET_LIST)
        answer_list(call, &reply->range);
    else if (w->step == STEP_WRITE && reply->txn.succeeded)
        written(call, w);
    else if (w->step != STEP_READ && ++w->tries > SECRET_TRIES_MAX)
        refuse(call, ERR_TOO_MANY_REQUESTS);
    else
        begin(call, w);
}
