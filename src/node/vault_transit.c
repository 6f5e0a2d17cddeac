/* Vault's transit: texts are sealed and opened with keys that never leave. */
#include <stdlib.h>
#include "node/vault_int.h"
#include "wire/json/json.h"

static struct ring ring_of_key(struct node *n, struct span name)
{
    struct span root = SPAN(SECRET_TRANSIT);
    uint8_t *p = arena_alloc(&n->turn, root.len + name.len);
    memcpy(p, root.data, root.len);
    memcpy(p + root.len, name.data, name.len);
    return (struct ring){ span_of(p, root.len + name.len), SECRET_OF_TRANSIT, name };
}

static struct span bound_to(struct node *n, const struct ring *r, int64_t number)
{
    return seal_bound(n, SECRET_OF_CIPHERTEXT, r->name, SPAN_NONE, number);
}

/* "vault:v3:base64" */
static enum err read_ciphertext(struct span text, int64_t *number, struct buf *box)
{
    size_t at = sizeof("vault:v") - 1, digits = 0;
    *number = 0;
    if (!span_starts(text, SPAN("vault:v")))
        return ERR_CIPHERTEXT;
    for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9' && digits < 9; digits++)
        *number = *number * 10 + (text.data[at++] - '0');
    if (!*number || at >= text.len || text.data[at] != ':' ||
        !jsonr_base64(span_from(text, at + 1), false, box))
        return ERR_CIPHERTEXT;
    return ERR_OK;
}

/* Appends the clear bytes. */
static enum err open_text(struct node *n, const struct ring *r, struct span text, struct buf *out)
{
    uint8_t key[CIPHER_KEY];
    struct buf box;
    int64_t number;
    buf_open(&box, &n->alloc);
    enum err e = read_ciphertext(text, &number, &box);
    if (e == ERR_OK) {
        e = ring_key(n, r, &number, key);
        if (e == ERR_NOT_FOUND ||
            (e == ERR_OK && !cipher_open(key, bound_to(n, r, number), buf_all(&box), out)))
            e = ERR_CIPHERTEXT;
        cipher_wipe(key, sizeof(key));
    }
    buf_close(&box);
    return e;
}

static enum err seal_text(struct node *n, const struct ring *r, struct span plain,
                          struct vault_result *out)
{
    uint8_t key[CIPHER_KEY];
    struct buf text;
    int64_t number = 0;
    enum err e = ring_key(n, r, &number, key);
    if (e != ERR_OK)
        return e;
    buf_open(&text, &n->alloc);
    buf_format(&text, "vault:v%lld:", (long long)number);
    jsonw_base64(seal_box(n, key, bound_to(n, r, number), plain), false, &text);
    cipher_wipe(key, sizeof(key));
    out->name = "ciphertext";
    out->text = arena_copy(&n->turn, buf_all(&text));
    out->key_version = number;
    buf_close(&text);
    return ERR_OK;
}

static enum err encrypt(struct node *n, const struct ring *r, struct span text,
                        struct vault_result *out)
{
    struct buf plain;
    buf_open(&plain, &n->alloc);
    enum err e =
        jsonr_base64(text, false, &plain) ? seal_text(n, r, buf_all(&plain), out) : ERR_PLAINTEXT;
    cipher_wipe(plain.data, plain.len);
    buf_close(&plain);
    return e;
}

static enum err decrypt(struct node *n, const struct ring *r, struct span text,
                        struct vault_result *out)
{
    struct buf plain, base64;
    buf_open(&plain, &n->alloc);
    buf_open(&base64, &n->alloc);
    enum err e = open_text(n, r, text, &plain);
    if (e == ERR_OK) {
        jsonw_base64(buf_all(&plain), false, &base64);
        out->name = "plaintext";
        out->text = arena_copy(&n->turn, buf_all(&base64));
    }
    cipher_wipe(plain.data, plain.len);
    cipher_wipe(base64.data, base64.len);
    buf_close(&plain);
    buf_close(&base64);
    return e;
}

static enum err rewrap(struct node *n, const struct ring *r, struct span text,
                       struct vault_result *out)
{
    struct buf plain;
    buf_open(&plain, &n->alloc);
    enum err e = open_text(n, r, text, &plain);
    if (e == ERR_OK)
        e = seal_text(n, r, buf_all(&plain), out);
    cipher_wipe(plain.data, plain.len);
    buf_close(&plain);
    return e;
}

static void wipe(struct span s)
{
    cipher_wipe((void *)(uintptr_t)s.data, s.len);
}

static void work(struct call *call, const struct ring *r)
{
    struct node *n = call->node;
    struct vault_call *v = &call->vault->call;
    bool opens = v->op != VAULT_TRANSIT_ENCRYPT;
    struct span one = opens ? v->body.ciphertext : v->body.plaintext;
    const struct span *texts = v->body.batched ? v->body.batch : &one;
    size_t count = v->body.batched ? v->body.n_batch : 1;
    struct vault_result *results = ARENA_ARRAY(&n->turn, struct vault_result, count);
    struct rest_answer a;
    for (size_t i = 0; i < count; i++) {
        struct vault_result *out = &results[i];
        out->err = v->op == VAULT_TRANSIT_ENCRYPT   ? encrypt(n, r, texts[i], out)
                   : v->op == VAULT_TRANSIT_DECRYPT ? decrypt(n, r, texts[i], out)
                                                    : rewrap(n, r, texts[i], out);
        if (!opens)
            wipe(texts[i]);
        n->metrics.vault_transit += out->err == ERR_OK;
    }
    if (!v->body.batched && results[0].err != ERR_OK) {
        vault_refuse(call, results[0].err, NULL);
    } else {
        vault_results(results, count, v->body.batched, &n->turn, &a);
        vault_answer(call, &a);
    }
    for (size_t i = 0; i < count; i++)
        wipe(results[i].text);
}

/* As Vault: to seal with a key that is not there makes it, for whoever may. */
static void make_key(struct call *call, const struct ring *r)
{
    enum err e;
    call->vault->wrote = call->vault->steps = true;
    if (seal_make_root(call, &e))
        return;
    if (e == ERR_OK)
        e = ring_add(call, r, false);
    if (e != ERR_OK)
        vault_refuse(call, e, NULL);
}

static void list(struct call *call)
{
    struct node *n = call->node;
    struct kv_range all = call->rest->request.range;
    struct kv_range_result found;
    struct rest_answer a;
    all.limit = SECRET_LIST_MAX;
    enum err e = kv_range(n->machine.kv, &all, &n->turn, &found);
    CHECK(e == ERR_OK);
    struct span *names = ARENA_ARRAY(&n->turn, struct span, found.n + 1);
    for (size_t i = 0; i < found.n; i++)
        names[i] = span_from(kv_key(found.items[i]), all.key.len);
    vault_keys(names, found.n, &n->turn, &a);
    vault_answer(call, &a);
}

static void tell(struct call *call, const struct ring *r, const struct secret_keys *keys)
{
    struct rest_answer a;
    vault_key(r->name, keys, &call->node->turn, &a);
    vault_answer(call, &a);
}

void vault_transit(struct call *call)
{
    struct node *n = call->node;
    struct vault_work *w = call->vault;
    struct secret_keys keys;
    struct change c = { 0 };
    if (w->call.op == VAULT_TRANSIT_KEYS) {
        list(call);
        return;
    }
    struct ring r = ring_of_key(n, w->call.name);
    enum err e = seal_keys_at(n, r.at, &keys);
    bool deletes = span_is(w->call.method, "DELETE"), gets = span_is(w->call.method, "GET");
    bool makes = w->call.op == VAULT_TRANSIT_ENCRYPT ||
                 (w->call.op == VAULT_TRANSIT_KEY && !deletes && !gets);
    if (e == ERR_OK && !keys.n && !makes)
        e = ERR_NOT_FOUND;
    if (e != ERR_OK) {
        vault_refuse(call, e, e == ERR_NOT_FOUND ? "encryption key not found" : NULL);
    } else if (!keys.n) {
        make_key(call, &r);
    } else if (w->call.op == VAULT_TRANSIT_ROTATE) {
        vault_nothing(&w->answer);
        w->wrote = true;
        e = ring_add(call, &r, false);
        if (e != ERR_OK)
            vault_refuse(call, e, NULL);
    } else if (deletes) {
        vault_nothing(&w->answer);
        change_if_same(n, &c, r.at);
        change_delete(&c, r.at, SPAN_NONE);
        vault_write(call, &c, false);
    } else if (w->call.op == VAULT_TRANSIT_KEY) {
        tell(call, &r, &keys);
    } else {
        work(call, &r);
    }
}
