/* From one kind of seal to another, and its key sealed anew: each is one transaction that changes
 * what seals and all that it seals, behind compares of both; so before and after a crash in the
 * midst of it there is one seal, and it fits. */
#include "node/secret_int.h"

/* Asked before another server is: the transaction is judged again where it is applied. */
static enum err may_change(struct call *call)
{
    struct request r = { .type = REQUEST_PUT, .put = { .key = SPAN(SECRET_SEAL_CONFIG) } };
    enum err e = login_of(call, &r);
    return e == ERR_OK ? machine_permits(&call->node->machine, &r) : e;
}

static enum err to_file(struct call *call, const char **detail)
{
    struct node *n = call->node;
    uint8_t key[CIPHER_KEY];
    char why[CIPHER_WHY_MAX];
    struct change c = { 0 };
    *detail = "start the members with seal-key-file first, all with the same";
    if (!n->params.seal_key_file[0])
        return ERR_SEAL_KIND;
    enum err e = cipher_key_file(n->params.seal_key_file, key, why);
    if (e != ERR_OK) {
        *detail = arena_text(&call->arena, span_text(why));
        return ERR_SEAL_KIND;
    }
    *detail = NULL;
    e = seal_put_roots(n, &c, key);
    cipher_wipe(key, sizeof(key));
    if (e != ERR_OK)
        return e;
    change_if_same(n, &c, SPAN(SECRET_SEAL_CONFIG));
    change_delete(&c, SPAN(SECRET_SEAL_CONFIG), SPAN_NONE);
    change_propose(call, &c, false);
    return ERR_OK;
}

enum err seal_migrate(struct call *call, const struct secret_ask *a, uint8_t made[CIPHER_KEY],
                      const char **detail)
{
    if (a->to_file)
        return to_file(call, detail);
    if (!call->node->secrets->transit) {
        *detail = "start the members with seal-transit-address, seal-transit-key and "
                  "seal-transit-token-file first";
        return ERR_SEAL_KIND;
    }
    enum err e = may_change(call);
    if (e == ERR_OK && call->node->machine.level < MACHINE_LEVEL_TRANSIT)
        e = ERR_LEVEL;
    if (e != ERR_OK)
        return e;
    cipher_random(made, CIPHER_KEY);
    return transit_ask(call, made);
}

enum err seal_rewrap(struct call *call, const char **detail)
{
    struct node *n = call->node;
    const struct secrets *s = n->secrets;
    struct secret_seal config;
    enum err e = seal_config(n, &config);
    if (e == ERR_NOT_FOUND || (e == ERR_OK && config.type != SECRET_SEAL_TRANSIT)) {
        *detail = "the seal is not a transit's: confman seal migrate transit makes it one";
        return ERR_SEAL_KIND;
    }
    if (e == ERR_OK && !s->transit) {
        *detail = "start this member with seal-transit-address";
        return ERR_SEAL_KIND;
    }
    if (e == ERR_OK)
        e = may_change(call);
    for (size_t i = 0; e == ERR_OK && i < s->n_keys; i++)
        if (memcmp(s->ids[i], config.id, CIPHER_ID) == 0)
            return transit_ask(call, s->keys[i]);
    return e != ERR_OK ? e : ERR_SEALED;
}

static void put_config(struct node *n, struct change *c, const struct seal_job *j)
{
    struct secret_seal config = { .type = SECRET_SEAL_TRANSIT, .sealed = span_text(j->sealed) };
    struct buf b;
    cipher_id(j->key, config.id);
    buf_open(&b, &n->alloc);
    secret_seal_write(&config, &b);
    change_if_same(n, c, SPAN(SECRET_SEAL_CONFIG));
    change_put(n, c, SPAN(SECRET_SEAL_CONFIG), &b);
}

/* The same key, or a new one with the root keys sealed by it. */
static enum err put_seal(struct call *call, const struct seal_job *j)
{
    struct node *n = call->node;
    struct change c = { 0 };
    struct secret_seal config;
    uint8_t id[CIPHER_ID];
    if (call->rest->secret->verb == SECRET_MIGRATE) {
        enum err e = seal_put_roots(n, &c, j->key);
        if (e != ERR_OK)
            return e;
    } else {
        cipher_id(j->key, id);
        if (seal_config(n, &config) != ERR_OK || config.type != SECRET_SEAL_TRANSIT ||
            memcmp(config.id, id, CIPHER_ID) != 0)
            return ERR_SEAL_MOVED;
    }
    put_config(n, &c, j);
    change_propose(call, &c, false);
    return ERR_OK;
}

void seal_asked(struct call *call, struct seal_job *j)
{
    if (!call)
        return;
    struct conn *conn = call->conn;
    bool http1 = !call->stream;
    j->call = NULL;
    call->sealing = NULL;
    enum err e = j->err == ERR_OK ? put_seal(call, j) : ERR_TRANSIT;
    if (e != ERR_OK)
        secrets_refuse(call, e, e == ERR_TRANSIT ? j->why : NULL);
    if (http1)
        conn_feed_rest(conn);
}

/* This node goes on with the new key; the others come to it by themselves. */
void seal_migrated(struct node *n, const struct secret_ask *a, uint8_t made[CIPHER_KEY])
{
    seal_forget(n);
    if (a->to_file ? !seal_take_file(n) : seal_take_key(n, made) != ERR_OK)
        slog(SLOG_WARN, "another seal was made at once", "to=%s", a->to_file ? "file" : "transit");
    cipher_wipe(made, CIPHER_KEY);
}

void seal_begin(struct node *n, const struct seal_job *j)
{
    struct change c = { 0 };
    if (seal_stored(n, SPAN(SECRET_SEAL_CONFIG)) || seal_stored(n, SPAN(SECRET_SEAL)))
        return;
    enum err e = seal_put_roots(n, &c, j->key);
    if (e == ERR_OK) {
        put_config(n, &c, j);
        e = change_try(n, &c);
    }
    slog(e == ERR_OK ? SLOG_INFO : SLOG_WARN, "a seal is made, by the transit", "error=%s",
         slog_quote(err_text(e)));
}
