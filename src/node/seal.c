/* The seal, and the keys below it. The root keys are sealed by the seal's key ("confman/seal"),
 * those of namespaces by a root key. None is kept open but the seal's. */
#include "node/secret_int.h"

/* ---- boxes ---- */

const struct kv_version *seal_stored(struct node *n, struct span key)
{
    return kv_get(n->machine.kv, key, 0);
}

int64_t seal_revision_of(const struct kv_version *v)
{
    return v ? v->mod_revision : 0;
}

struct span seal_bound(struct node *n, enum secret_purpose purpose, struct span name_space,
                       struct span path, int64_t number)
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    secret_bind(purpose, name_space, path, number, &b);
    struct span out = arena_copy(&n->turn, buf_all(&b));
    buf_close(&b);
    return out;
}

struct span seal_box(struct node *n, const uint8_t *key, struct span binding, struct span plain)
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    cipher_seal(key, binding, plain, &b);
    struct span out = arena_copy(&n->turn, buf_all(&b));
    buf_close(&b);
    return out;
}

enum err seal_unbox_key(struct node *n, const uint8_t *by, struct span binding, struct span box,
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

/* ---- keys ---- */

enum err seal_keys_at(struct node *n, struct span at, struct secret_keys *out)
{
    const struct kv_version *v = seal_stored(n, at);
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
    return seal_bound(n, SECRET_OF_ROOT, SPAN_NONE, SPAN_NONE, number);
}

static enum err open_root(struct node *n, const struct secret_key *k, uint8_t root[CIPHER_KEY])
{
    const struct secrets *s = n->secrets;
    for (size_t i = 0; i < s->n_keys; i++)
        if (memcmp(k->by, s->ids[i], CIPHER_ID) == 0)
            return seal_unbox_key(n, s->keys[i], root_binding(n, k->number), k->box, root);
    return ERR_SEALED;
}

bool seal_is_open(struct node *n)
{
    const struct secrets *s = n->secrets;
    struct secret_keys keys;
    if (!s->n_keys || seal_keys_at(n, SPAN(SECRET_SEAL), &keys) != ERR_OK)
        return false;
    for (size_t i = 0; keys.n && i < s->n_keys; i++)
        if (memcmp(keys.items[keys.n - 1].by, s->ids[i], CIPHER_ID) == 0)
            return true;
    return !keys.n;
}

static bool is_key(const uint8_t key[CIPHER_KEY], const uint8_t *by)
{
    uint8_t id[CIPHER_ID];
    cipher_id(key, id);
    return memcmp(id, by, CIPHER_ID) == 0;
}

enum err seal_root(struct node *n, const uint8_t *by, uint8_t root[CIPHER_KEY])
{
    struct secret_keys keys;
    enum err e = n->secrets->n_keys ? seal_keys_at(n, SPAN(SECRET_SEAL), &keys) : ERR_SEALED;
    if (e != ERR_OK || !keys.n)
        return e != ERR_OK ? e : ERR_NOT_FOUND;
    for (size_t i = keys.n; i-- > 0;) {
        e = open_root(n, &keys.items[i], root);
        if (e != ERR_OK || !by || is_key(root, by))
            return e;
    }
    cipher_wipe(root, CIPHER_KEY);
    return ERR_CORRUPT;
}

struct ring ring_of_namespace(struct node *n, struct span name)
{
    return (struct ring){ secret_seal_key(name, &n->turn), SECRET_OF_NAMESPACE, name };
}

static struct span ring_bound(struct node *n, const struct ring *r, int64_t number)
{
    return seal_bound(n, r->purpose, r->name, SPAN_NONE, number);
}

enum err ring_key(struct node *n, const struct ring *r, int64_t *number, uint8_t key[CIPHER_KEY])
{
    uint8_t root[CIPHER_KEY];
    struct secret_keys keys;
    enum err e = seal_keys_at(n, r->at, &keys);
    if (e != ERR_OK)
        return e;
    const struct secret_key *k = *number  ? key_number(&keys, *number)
                                 : keys.n ? &keys.items[keys.n - 1]
                                          : NULL;
    e = seal_root(n, k ? k->by : NULL, root); /* that it is sealed counts more than what is not */
    if (e == ERR_OK && !k)
        e = ERR_NOT_FOUND;
    if (e == ERR_OK) {
        *number = k->number;
        e = seal_unbox_key(n, root, ring_bound(n, r, k->number), k->box, key);
    }
    cipher_wipe(root, sizeof(root));
    return e;
}

/* ---- transactions ---- */

void change_if(struct change *c, struct span key, int64_t mod_revision)
{
    CHECK(c->n_compares < CHANGE_MAX);
    c->compares[c->n_compares++] = (struct kv_compare){
        .key = key, .target = KV_IF_MOD, .result = KV_IF_EQUAL, .number = mod_revision
    };
}

void change_if_same(struct node *n, struct change *c, struct span key)
{
    change_if(c, key, seal_revision_of(seal_stored(n, key)));
}

void change_put(struct node *n, struct change *c, struct span key, struct buf *value)
{
    CHECK(c->n_ops < CHANGE_MAX);
    struct span copy = arena_copy(&n->turn, buf_all(value));
    c->ops[c->n_ops++] = (struct kv_op){ .type = KV_OP_PUT, .put = { .key = key, .value = copy } };
    buf_close(value);
}

void change_delete(struct change *c, struct span key, struct span range_end)
{
    CHECK(c->n_ops < CHANGE_MAX);
    c->ops[c->n_ops++] =
        (struct kv_op){ .type = KV_OP_DELETE, .del = { .key = key, .range_end = range_end } };
}

static struct request change_request(const struct change *c, bool by_node)
{
    struct request r = { .type = REQUEST_TXN,
                         .txn = { c->compares, c->ops, NULL, c->n_compares, c->n_ops, 0 } };
    if (by_node)
        r.author = SPAN("seal"), r.auth_revision = REQUEST_BY_NODE;
    return r;
}

void change_propose(struct call *call, const struct change *c, bool by_node)
{
    struct request r = change_request(c, by_node);
    enum err e = by_node ? ERR_OK : login_of(call, &r);
    if (e == ERR_OK)
        e = request_check(&r, &call->node->turn);
    if (e == ERR_OK)
        call_propose(call, &r);
    else
        call_end(call, e);
}

enum err change_try(struct node *n, const struct change *c)
{
    struct request r = change_request(c, true);
    enum err e = request_check(&r, &n->turn);
    return e == ERR_OK ? pump_propose(n, &r, NULL, 0) : e;
}

/* ---- making keys ---- */

static void keys_put(struct node *n, struct change *c, struct span at,
                     const struct secret_keys *keys)
{
    struct buf b;
    buf_open(&b, n->turn.alloc);
    secret_keys_write(keys, &b);
    change_put(n, c, at, &b);
}

/* The keys of before, and room for more at their end. */
static struct secret_keys keys_copy(struct node *n, const struct secret_keys *before, size_t more)
{
    struct secret_keys out = { ARENA_ARRAY(&n->turn, struct secret_key, before->n + more),
                               before->n };
    if (before->n)
        memcpy(out.items, before->items, before->n * sizeof(*out.items));
    return out;
}

static void keys_add(struct node *n, struct secret_keys *keys, const struct ring *r,
                     const uint8_t *key, const uint8_t *by)
{
    struct secret_key *k = &keys->items[keys->n++];
    k->number = keys->n > 1 ? k[-1].number + 1 : 1;
    k->created_ms = loop_wall_ms(n->loop);
    cipher_id(by, k->by);
    k->box = seal_box(n, by, ring_bound(n, r, k->number), span_of(key, CIPHER_KEY));
}

static const struct ring roots = { { (const uint8_t *)SECRET_SEAL, sizeof(SECRET_SEAL) - 1 },
                                   SECRET_OF_ROOT,
                                   { NULL, 0 } };

/* All root keys, sealed by another key of a seal. */
static enum err seal_again(struct node *n, struct secret_keys *keys, const uint8_t by[CIPHER_KEY])
{
    uint8_t root[CIPHER_KEY];
    enum err e = ERR_OK;
    for (size_t i = 0; i < keys->n && e == ERR_OK; i++) {
        struct secret_key *k = &keys->items[i];
        e = open_root(n, k, root);
        if (e != ERR_OK)
            break;
        cipher_id(by, k->by);
        k->box = seal_box(n, by, root_binding(n, k->number), span_of(root, CIPHER_KEY));
    }
    cipher_wipe(root, sizeof(root));
    return e;
}

enum err seal_put_roots(struct node *n, struct change *c, const uint8_t by[CIPHER_KEY])
{
    struct secret_keys before, keys;
    uint8_t root[CIPHER_KEY];
    enum err e = seal_keys_at(n, roots.at, &before);
    if (e != ERR_OK)
        return e;
    keys = keys_copy(n, &before, 1);
    if (keys.n) {
        e = n->secrets->n_keys ? seal_again(n, &keys, by) : ERR_SEALED;
    } else {
        cipher_random(root, sizeof(root));
        keys_add(n, &keys, &roots, root, by);
        cipher_wipe(root, sizeof(root));
    }
    if (e != ERR_OK)
        return e;
    change_if_same(n, c, roots.at);
    keys_put(n, c, roots.at, &keys);
    return ERR_OK;
}

/* A seal that stands in the store is changed only by whoever asks for it (seal_init); that of a
 * file is the file's. */
bool seal_make_root(struct call *call, enum err *e)
{
    struct node *n = call->node;
    const struct secrets *s = n->secrets;
    struct secret_keys keys;
    struct change c = { 0 };
    uint8_t root[CIPHER_KEY];
    *e = seal_root(n, NULL, root);
    cipher_wipe(root, sizeof(root));
    bool missing = *e == ERR_NOT_FOUND;
    if (missing || *e == ERR_OK)
        *e = seal_keys_at(n, roots.at, &keys);
    if (*e != ERR_OK || (!missing && seal_stored(n, SPAN(SECRET_SEAL_CONFIG))) ||
        (!missing && memcmp(keys.items[keys.n - 1].by, s->ids[0], CIPHER_ID) == 0))
        return false;
    *e = seal_put_roots(n, &c, s->keys[0]);
    if (*e != ERR_OK)
        return false;
    change_propose(call, &c, true);
    return true;
}

enum err seal_rotate_root(struct call *call)
{
    struct node *n = call->node;
    const struct secrets *s = n->secrets;
    struct secret_keys before, keys;
    struct change c = { 0 };
    uint8_t root[CIPHER_KEY];
    enum err e = seal_root(n, NULL, root);
    if (e == ERR_OK)
        e = seal_keys_at(n, roots.at, &before);
    if (e == ERR_OK && before.n >= SECRET_KEYS_MAX)
        e = ERR_SECRET_FULL;
    if (e == ERR_OK) {
        size_t by = 0;
        while (memcmp(s->ids[by], before.items[before.n - 1].by, CIPHER_ID) != 0)
            by++; /* it is there: seal_root has used it */
        keys = keys_copy(n, &before, 1);
        cipher_random(root, sizeof(root));
        keys_add(n, &keys, &roots, root, s->keys[by]);
        change_if_same(n, &c, roots.at);
        keys_put(n, &c, roots.at, &keys);
        change_propose(call, &c, false);
    }
    cipher_wipe(root, sizeof(root));
    return e;
}

enum err ring_sealed_again(struct node *n, const struct ring *r, const struct secret_keys *before,
                           struct buf *out)
{
    uint8_t newest[CIPHER_KEY], root[CIPHER_KEY], key[CIPHER_KEY];
    struct secret_keys keys = keys_copy(n, before, 0);
    enum err e = seal_root(n, NULL, newest);
    for (size_t i = 0; i < keys.n && e == ERR_OK; i++) {
        struct secret_key *k = &keys.items[i];
        struct span bound = ring_bound(n, r, k->number);
        e = seal_root(n, k->by, root);
        if (e == ERR_OK)
            e = seal_unbox_key(n, root, bound, k->box, key);
        if (e != ERR_OK)
            break;
        cipher_id(newest, k->by);
        k->box = seal_box(n, newest, bound, span_of(key, CIPHER_KEY));
    }
    cipher_wipe(newest, sizeof(newest));
    cipher_wipe(root, sizeof(root));
    cipher_wipe(key, sizeof(key));
    if (e == ERR_OK)
        secret_keys_write(&keys, out);
    return e;
}

enum err ring_add(struct call *call, const struct ring *r, bool by_node)
{
    struct node *n = call->node;
    struct secret_keys keys, out;
    struct change c = { 0 };
    uint8_t root[CIPHER_KEY], key[CIPHER_KEY];
    enum err e = seal_keys_at(n, r->at, &keys);
    if (e == ERR_OK && keys.n == SECRET_KEYS_MAX)
        e = ERR_SECRET_FULL;
    if (e == ERR_OK)
        e = seal_root(n, NULL, root);
    if (e == ERR_OK) {
        out = keys_copy(n, &keys, 1);
        cipher_random(key, sizeof(key));
        keys_add(n, &out, r, key, root);
        cipher_wipe(key, sizeof(key));
        change_if_same(n, &c, SPAN(SECRET_SEAL)); /* that root keeps its key */
        change_if_same(n, &c, r->at);
        keys_put(n, &c, r->at, &out);
        change_propose(call, &c, by_node);
    }
    cipher_wipe(root, sizeof(root));
    return e;
}
