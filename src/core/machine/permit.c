/* Who may ask for what, as etcd has it (server/etcdserver/apply/auth.go, v3_server.go). A type that
 * has no rule here is for root. */
#include "base/check.h"
#include "core/machine/machine.h"

#define OWN_ROOT "confman/"
#define LOG_ROOT OWN_ROOT "log/"
#define DRAFT_ROOT OWN_ROOT "draft/"
enum { OWN_KEY_MAX = 1024 };

/* What may be done to keys. etcd's WRITE is both to put and to delete; of configs and flags these
 * are verbs of their own, too. */
enum verb { VERB_READ, VERB_PUT, VERB_DELETE };

/* The same key below another root. False: it is not below that one, or too long to be a config. */
static bool moved(struct span key, const char *from, const char *to, uint8_t *out, struct span *at)
{
    struct span root = span_text(to), rest = span_from(key, strlen(from));
    if (!span_starts(key, span_text(from)) || root.len + rest.len > OWN_KEY_MAX || !rest.len)
        return false;
    memcpy(out, root.data, root.len);
    memcpy(out + root.len, rest.data, rest.len);
    *at = span_of(out, root.len + rest.len);
    return true;
}

/* A verb alone, of "confman/config/X" or "confman/flag/X", is to write "confman/<verb>/X": a key
 * that is never there. A member that does not know this rule would refuse what is permitted by it:
 * nobody has such a right before all know it. */
static bool lent(const struct machine *m, const struct request *r, const char *root,
                 struct span key, struct span range_end)
{
    static const char *const of[] = { OWN_ROOT "config/", OWN_ROOT "flag/" };
    if (m->level < MACHINE_LEVEL_VERBS)
        return false;
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        uint8_t k[OWN_KEY_MAX], e[OWN_KEY_MAX];
        struct span from, to = SPAN_NONE;
        if (moved(key, of[i], root, k, &from) &&
            (!range_end.len || moved(range_end, of[i], root, e, &to)))
            return auth_may(m->auth, r->author, r->auth_revision, AUTH_WRITE, from, to) == ERR_OK;
    }
    return false;
}

bool machine_publishes(const struct request *r)
{
    const struct kv_txn *t = &r->txn;
    if (r->type != REQUEST_TXN || t->n_failure) /* that would not be guarded */
        return false;
    for (size_t i = 0; i < t->n_compares; i++) {
        const struct kv_compare *c = &t->compares[i];
        if (c->target != KV_IF_MOD || c->result != KV_IF_EQUAL || c->number <= 0 ||
            c->range_end.len || !span_starts(c->key, SPAN(DRAFT_ROOT)))
            continue;
        for (size_t j = 0; j < t->n_success; j++)
            if (t->success[j].type == KV_OP_PUT && span_starts(t->success[j].put.key, c->key) &&
                span_is(span_from(t->success[j].put.key, c->key.len), "/state"))
                return true;
    }
    return false;
}

static enum err may_key(const struct machine *m, const struct request *r, enum verb verb,
                        struct span key, struct span range_end)
{
    enum auth_right right = verb == VERB_READ ? AUTH_READ : AUTH_WRITE;
    enum err e = auth_may(m->auth, r->author, r->auth_revision, right, key, range_end);
    if (e != ERR_PERMISSION_DENIED || verb == VERB_READ)
        return e;
    if (lent(m, r, verb == VERB_PUT ? OWN_ROOT "put/" : OWN_ROOT "delete/", key, range_end))
        return ERR_OK;
    return !r->plain && machine_publishes(r) && lent(m, r, OWN_ROOT "publish/", key, range_end)
               ? ERR_OK
               : e;
}

/* The reason of a change stands beside what was changed: "confman/log/X" belongs to "confman/X",
 * and so do the rights to it. A reason is written whatever is done. */
static enum err may(const struct machine *m, const struct request *r, enum verb verb,
                    struct span key, struct span range_end)
{
    uint8_t k[OWN_KEY_MAX];
    struct span of;
    enum err e = may_key(m, r, verb, key, range_end);
    if (e != ERR_PERMISSION_DENIED || range_end.len || !moved(key, LOG_ROOT, OWN_ROOT, k, &of))
        return e;
    e = may_key(m, r, verb, of, SPAN_NONE);
    if (e != ERR_PERMISSION_DENIED || verb == VERB_READ)
        return e;
    return may_key(m, r, verb == VERB_PUT ? VERB_DELETE : VERB_PUT, of, SPAN_NONE);
}

static enum err anybody(const struct machine *m, const struct request *r)
{
    (void)m, (void)r;
    return ERR_OK;
}

static enum err login(const struct machine *m, const struct request *r)
{
    return auth_login(m->auth, r->author, r->auth_revision);
}

static enum err admin(const struct machine *m, const struct request *r)
{
    return auth_admin(m->auth, r->author, r->auth_revision);
}

/* ---- leases: by the keys that hang on them, which end with them ---- */

struct key_check {
    const struct machine *machine;
    const struct request *request;
    enum verb verb;
};

static enum err check_key(void *context, struct span key)
{
    const struct key_check *c = context;
    return may(c->machine, c->request, c->verb, key, SPAN_NONE);
}

static enum err lease_keys(const struct machine *m, const struct request *r, int64_t id,
                           enum verb verb)
{
    struct key_check c = { m, r, verb };
    enum err e = login(m, r);
    if (e != ERR_OK || admin(m, r) == ERR_OK)
        return e;
    uint64_t now = auth_revision(m->auth);
    const void *who = auth_who(m->auth, r->author);
    bool may_last = verb == VERB_DELETE && r->auth_revision >= now;
    if (may_last && lease_cleared(m->lease, id, who, now))
        return ERR_OK;
    e = lease_keys_each(m->lease, id, check_key, &c);
    if (may_last && e == ERR_OK)
        lease_clear(m->lease, id, who, now);
    return e;
}

static enum err permit_lease_write(const struct machine *m, const struct request *r)
{
    return lease_keys(m, r, r->lease.id, VERB_DELETE);
}

static enum err permit_lease_look(const struct machine *m, const struct request *r)
{
    return r->lease.keys ? lease_keys(m, r, r->lease.id, VERB_READ) : login(m, r);
}

static enum err permit_lease_list(const struct machine *m, const struct request *r)
{
    struct key_check c = { m, r, VERB_READ };
    enum err e = login(m, r);
    if (e != ERR_OK || admin(m, r) == ERR_OK)
        return e;
    return lease_keys_all(m->lease, check_key, &c);
}

/* ---- keys ---- */

/* Keys that say who somebody is: whoever writes them can be anybody. Of a range it is asked only
 * whether there are such in it: who may write all keys may delete all, as in etcd. */
static bool is_reserved(const struct machine *m, struct span key, struct span range_end)
{
    static const struct {
        const char *from, *to;
        unsigned since; /* level */
    } roots[] = { { "confman/account/", "confman/account0", 0 },
                  { "confman/approle/", "confman/approle0", 0 },
                  { "confman/revoked/", "confman/revoked0", MACHINE_LEVEL_REVOKED },
                  { "confman/token/", "confman/token0", 0 } };
    bool on = range_end.len == 1 && !range_end.data[0]; /* from key on */
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        if (m->level < roots[i].since)
            continue;
        struct span from = span_text(roots[i].from), to = span_text(roots[i].to);
        if (!range_end.len) {
            if (span_starts(key, from))
                return true;
            continue;
        }
        if (span_compare(key, from) > 0)
            from = key;
        if (!on && span_compare(range_end, to) < 0)
            to = range_end;
        if (span_compare(from, to) < 0 && kv_count(m->kv, from, to) > 0)
            return true;
    }
    return false;
}

/* Whoever may not write all keys of a lease could not revoke it, and must not attach more to it. */
static enum err permit_put_op(const struct machine *m, const struct request *r,
                              const struct kv_put *p)
{
    enum err e = is_reserved(m, p->key, SPAN_NONE) ? admin(m, r)
                                                : may(m, r, VERB_PUT, p->key, SPAN_NONE);
    if (e == ERR_OK && p->lease) /* it will be deleted with the lease */
        e = may(m, r, VERB_DELETE, p->key, SPAN_NONE);
    if (e == ERR_OK && p->lease)
        e = lease_keys(m, r, p->lease, VERB_DELETE);
    if (e == ERR_OK && p->prev_kv)
        e = may(m, r, VERB_READ, p->key, SPAN_NONE);
    return e;
}

static enum err permit_delete_op(const struct machine *m, const struct request *r,
                                 const struct kv_delete *d)
{
    enum err e = is_reserved(m, d->key, d->range_end) ? admin(m, r)
                                                   : may(m, r, VERB_DELETE, d->key, d->range_end);
    return e == ERR_OK && d->prev_kv ? may(m, r, VERB_READ, d->key, d->range_end) : e;
}

static enum err permit_txn_body(const struct machine *m, const struct request *r,
                                const struct kv_txn *t);

static enum err permit_op(const struct machine *m, const struct request *r, const struct kv_op *op)
{
    switch (op->type) {
    case KV_OP_RANGE:
        return may(m, r, VERB_READ, op->range.key, op->range.range_end);
    case KV_OP_PUT:
        return permit_put_op(m, r, &op->put);
    case KV_OP_DELETE:
        return permit_delete_op(m, r, &op->del);
    case KV_OP_TXN:
        return permit_txn_body(m, r, op->txn);
    case KV_OP_NONE:
    default:
        return ERR_PERMISSION_DENIED;
    }
}

static enum err permit_ops(const struct machine *m, const struct request *r,
                           const struct kv_op *ops, size_t n)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = permit_op(m, r, &ops[i]);
    return e;
}

/* That none of the rules which configs must hold has changed may be asked by everybody: it guards
 * what was judged by them, and tells no more than that. */
static bool open_to_all(const struct kv_compare *c)
{
    static const char *const roots[] = { "confman/schema/", "confman/guard/" };
    if (c->target != KV_IF_MOD)
        return false;
    if (!c->range_end.len && span_starts(c->key, SPAN("confman/seal")))
        return true; /* keys of secrets: that they are those which a secret was sealed with */
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        size_t n = strlen(roots[i]);
        if (span_is(c->key, roots[i]) && c->range_end.len == n &&
            memcmp(c->range_end.data, roots[i], n - 1) == 0 && c->range_end.data[n - 1] == '0')
            return true;
    }
    return false;
}

/* Both branches: which one is taken would already tell of keys. The depth is bounded where the
 * request was decoded. */
static enum err permit_txn_body(const struct machine *m, const struct request *r,
                                const struct kv_txn *t)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < t->n_compares && e == ERR_OK; i++)
        if (!open_to_all(&t->compares[i]))
            e = may(m, r, VERB_READ, t->compares[i].key, t->compares[i].range_end);
    if (e == ERR_OK)
        e = permit_ops(m, r, t->success, t->n_success);
    return e == ERR_OK ? permit_ops(m, r, t->failure, t->n_failure) : e;
}

static enum err permit_range(const struct machine *m, const struct request *r)
{
    return may(m, r, VERB_READ, r->range.key, r->range.range_end);
}

static enum err permit_put(const struct machine *m, const struct request *r)
{
    return permit_put_op(m, r, &r->put);
}

static enum err permit_delete(const struct machine *m, const struct request *r)
{
    return permit_delete_op(m, r, &r->del);
}

/* One without any op asks for nothing, but not for nobody. */
static enum err permit_txn(const struct machine *m, const struct request *r)
{
    enum err e = login(m, r);
    return e == ERR_OK ? permit_txn_body(m, r, &r->txn) : e;
}

/* No key is the smallest one, as watch_add takes it. */
static enum err permit_watch(const struct machine *m, const struct request *r)
{
    const struct watch_request *w = &r->watch;
    return may(m, r, VERB_READ, w->key.len ? w->key : SPAN("\0"), w->range_end);
}

/* ---- users and roles: one's own may be looked at ---- */

static enum err permit_user_get(const struct machine *m, const struct request *r)
{
    enum err e = admin(m, r);
    return e != ERR_OK && login(m, r) == ERR_OK && span_equal(r->auth.user, r->author) ? ERR_OK : e;
}

static enum err permit_role_get(const struct machine *m, const struct request *r)
{
    enum err e = admin(m, r);
    return e != ERR_OK && login(m, r) == ERR_OK && auth_has_role(m->auth, r->author, r->auth.role)
               ? ERR_OK
               : e;
}

enum err machine_permits(const struct machine *m, const struct request *r)
{
    static enum err (*const rules[REQUEST_TYPE_COUNT])(const struct machine *,
                                                       const struct request *) = {
        [REQUEST_RANGE] = permit_range,
        [REQUEST_LEASE_LOOK] = permit_lease_look,
        [REQUEST_LEASE_LIST] = permit_lease_list,
        [REQUEST_AUTH_STATUS] = anybody, /* etcd 3.7 */
        [REQUEST_USER_GET] = permit_user_get,
        [REQUEST_ROLE_GET] = permit_role_get,
        [REQUEST_PUT] = permit_put,
        [REQUEST_DELETE] = permit_delete,
        [REQUEST_TXN] = permit_txn,
        [REQUEST_LEASE_GRANT] = login,
        [REQUEST_LEASE_REVOKE] = permit_lease_write,
        [REQUEST_LEASE_NOTE] = anybody, /* no door makes them, nor does a leader take them */
        [REQUEST_LEASE_EXPIRE] = anybody,
        [REQUEST_AUTHENTICATE] = anybody,
        [REQUEST_LEASE_RENEW] = permit_lease_write,
        [REQUEST_WATCH_ADD] = permit_watch,
        [REQUEST_WATCH_REMOVE] = anybody, /* of one's own stream */
        [REQUEST_WATCH_PROGRESS] = anybody,
        [REQUEST_ALARM_LIST] = login,
        [REQUEST_STATUS] = login,
        [REQUEST_MEMBERS] = login,
        [REQUEST_HEALTH] = anybody,
        [REQUEST_LOCK] = anybody, /* of these, what they do is asked for: see node/locking.h */
        [REQUEST_UNLOCK] = anybody,
        [REQUEST_CAMPAIGN] = anybody,
        [REQUEST_PROCLAIM] = anybody,
        [REQUEST_RESIGN] = anybody,
        [REQUEST_LEADER] = anybody,
        [REQUEST_OBSERVE] = anybody,
    };
    CHECK(r->type > REQUEST_NONE && r->type < REQUEST_TYPE_COUNT);
    if (!auth_enabled(m->auth) || r->auth_revision == REQUEST_BY_NODE)
        return ERR_OK;
    return rules[r->type] ? rules[r->type](m, r) : admin(m, r);
}
