/* After a rotation: what is sealed by keys of before is sealed by the newest, and then those go.
 *
 * The leader does it, some records a second, and asks the store alone what is left: whoever leads
 * next goes on, or begins a namespace anew and passes over what is done. Only boxes of keys are
 * made anew; data stays as it was sealed. Each record is put behind a compare of itself and of the
 * keys that it now needs, so that a write in between is never lost.
 *
 * Keys of before are taken away after a whole pass that found nothing sealed by them. Nothing can
 * be behind it: what writes a new version compares the namespace's keys (write_record), what writes
 * others has them from the record as it was. */
#include "node/secret_int.h"

enum {
    REWRAP_RINGS = 1000,    /* looked at in one sweep */
    REWRAP_LOOKS = 10000,   /* records looked at in one sweep */
    REWRAP_BYTES = 4 << 20, /* written in one sweep */
};

struct pass {
    struct node *n;
    uint8_t root_id[CIPHER_ID]; /* of the newest root key */
    bool open;                  /* it is known */
    int64_t left;               /* records that may be written yet */
    size_t bytes;
    size_t stale, waiting; /* rings under another root key; these and those with keys of before */
    struct span first;     /* one of the latter */
};

static bool is_stale(const struct pass *p, const struct secret_keys *keys)
{
    for (size_t i = 0; p->open && i < keys->n; i++)
        if (memcmp(keys->items[i].by, p->root_id, CIPHER_ID) != 0)
            return true;
    return false;
}

/* Calls back for every ring of the store, REWRAP_RINGS of each kind at most. */
static void each_ring(struct pass *p, void (*each)(struct pass *p, const struct ring *r,
                                                   const struct secret_keys *keys))
{
    static const struct {
        const char *root;
        enum secret_purpose purpose;
    } kinds[] = { { SECRET_SEAL "/", SECRET_OF_NAMESPACE }, { SECRET_TRANSIT, SECRET_OF_TRANSIT } };
    struct node *n = p->n;
    for (size_t k = 0; k < 2; k++) {
        struct span root = span_text(kinds[k].root);
        struct kv_range range = { .key = root,
                                  .range_end = kv_prefix_end(root, &n->turn),
                                  .limit = REWRAP_RINGS };
        struct kv_range_result found;
        enum err e = kv_range(n->machine.kv, &range, &n->turn, &found);
        CHECK(e == ERR_OK);
        for (size_t i = 0; i < found.n; i++) {
            struct secret_keys keys;
            struct span at = kv_key(found.items[i]);
            struct ring r = { at, kinds[k].purpose, span_from(at, root.len) };
            if (secret_keys_read(kv_value(found.items[i]), &n->turn, &keys) == ERR_OK)
                each(p, &r, &keys);
        }
    }
}

static void count_ring(struct pass *p, const struct ring *r, const struct secret_keys *keys)
{
    bool stale = is_stale(p, keys), older = r->purpose == SECRET_OF_NAMESPACE && keys->n > 1;
    p->stale += stale;
    p->waiting += stale || older;
    if (older && !p->first.len)
        p->first = r->name;
}

static void begin(struct pass *p, struct node *n)
{
    uint8_t root[CIPHER_KEY];
    *p = (struct pass){ .n = n, .left = n->params.rewrap_rate };
    p->open = seal_root(n, NULL, root) == ERR_OK;
    if (p->open)
        cipher_id(root, p->root_id);
    cipher_wipe(root, sizeof(root));
}

void rewrap_state(struct node *n, struct secret_answer *out)
{
    struct pass p;
    begin(&p, n);
    each_ring(&p, count_ring);
    out->n_waiting = p.waiting;
    out->working_on = n->update.role == RAFT_LEADER ? p.first : SPAN_NONE;
    out->rewrapped = n->metrics.secrets_rewrapped;
}

/* ---- rings, under the newest root key ---- */

static void renew_ring(struct pass *p, const struct ring *r, const struct secret_keys *keys)
{
    struct node *n = p->n;
    struct change c = { 0 };
    struct buf b;
    if (!is_stale(p, keys) || p->left <= 0)
        return;
    p->left--;
    buf_open(&b, n->turn.alloc);
    enum err e = ring_sealed_again(n, r, keys, &b);
    if (e != ERR_OK) {
        slog(SLOG_ERROR, "keys cannot be sealed anew", "at=%s error=%s",
             slog_quote(arena_text(&n->turn, r->at)), slog_quote(err_text(e)));
        buf_close(&b);
        return;
    }
    change_if_same(n, &c, SPAN(SECRET_SEAL));
    change_if_same(n, &c, r->at);
    change_put(n, &c, r->at, &b);
    if (change_try(n, &c) == ERR_OK)
        n->metrics.secrets_rewrapped++;
}

/* ---- secrets, under the newest key of their namespace ---- */

/* ERR_NOT_FOUND: nothing is to be done. */
static enum err renew_versions(struct node *n, const struct ring *ring, struct span path,
                               struct secret *s)
{
    uint8_t newest[CIPHER_KEY], older[CIPHER_KEY], inner[CIPHER_KEY];
    int64_t number = 0;
    bool changed = false;
    enum err e = ring_key(n, ring, &number, newest);
    for (size_t i = 0; i < s->n && e == ERR_OK; i++) {
        struct secret_version *v = &s->versions[i];
        if (v->destroyed || v->key == number)
            continue;
        struct span bound = seal_bound(n, SECRET_OF_DATA_KEY, ring->name, path, v->number);
        e = ring_key(n, ring, &v->key, older);
        if (e == ERR_OK)
            e = seal_unbox_key(n, older, bound, v->wrapped, inner);
        if (e == ERR_OK)
            v->wrapped = seal_box(n, newest, bound, span_of(inner, sizeof(inner)));
        v->key = number;
        changed = true;
    }
    cipher_wipe(newest, sizeof(newest));
    cipher_wipe(older, sizeof(older));
    cipher_wipe(inner, sizeof(inner));
    return e == ERR_OK && !changed ? ERR_NOT_FOUND : e;
}

/* True: it was sealed by a key of before. */
static bool renew_secret(struct pass *p, const struct ring *ring, const struct kv_version *v)
{
    static const size_t root = sizeof(SECRET_ROOT) - 1;
    struct node *n = p->n;
    struct secret s;
    struct change c = { 0 };
    struct buf b;
    struct span key = kv_key(v), path = span_from(key, root + ring->name.len + 1);
    enum err e = secret_read(kv_value(v), &s);
    if (e == ERR_OK)
        e = renew_versions(n, ring, path, &s);
    if (e == ERR_NOT_FOUND)
        return false;
    if (e != ERR_OK) { /* it cannot be read either; its key stays with it */
        n->metrics.secrets_rewrap_failed++;
        return true;
    }
    p->left--;
    p->bytes += v->value_size;
    buf_open(&b, n->turn.alloc);
    secret_write(&s, &b);
    change_if(&c, key, v->mod_revision);
    change_if_same(n, &c, ring->at);
    change_put(n, &c, key, &b);
    if (change_try(n, &c) == ERR_OK)
        n->metrics.secrets_rewrapped++;
    return true;
}

static void drop_keys(struct node *n, struct span at, const struct secret_keys *keys)
{
    struct secret_keys last = { &keys->items[keys->n - 1], 1 };
    struct change c = { 0 };
    struct buf b;
    buf_open(&b, n->turn.alloc);
    secret_keys_write(&last, &b);
    change_if_same(n, &c, at);
    change_put(n, &c, at, &b);
    if (change_try(n, &c) == ERR_OK)
        slog(SLOG_INFO, "keys of before are taken away: nothing is sealed by them any more",
             "at=%s keys=%zu", slog_quote(arena_text(&n->turn, at)), keys->n - 1);
}

/* One namespace after the other; the place in it is kept from sweep to sweep. */
static void renew_namespace(struct pass *p, const struct ring *r, const struct secret_keys *keys)
{
    struct node *n = p->n;
    struct rewrap *w = &n->rewrap;
    struct kv_page page = { 0 };
    if (r->purpose != SECRET_OF_NAMESPACE || !span_equal(r->name, p->first) || p->left <= 0 ||
        is_stale(p, keys))
        return;
    struct span root = secret_store_key(r->name, SPAN_NONE, &n->turn);
    if (!span_equal(buf_all(&w->name), r->name)) {
        buf_reset(&w->name);
        buf_span(&w->name, r->name);
        buf_reset(&w->next);
        w->found = 0;
    }
    struct span from = w->next.len ? buf_all(&w->next) : root;
    while (p->left > 0 && p->bytes < REWRAP_BYTES && !page.over) {
        if (kv_page(n->machine.kv, from, kv_prefix_end(root, &n->turn), kv_revision(n->machine.kv),
                    100, &n->turn, &page) != ERR_OK)
            return;
        for (size_t i = 0; i < page.n; i++)
            w->found += renew_secret(p, r, page.items[i]);
        p->left -= (int64_t)page.n / 100; /* to look costs, too */
        from = page.next;
    }
    buf_reset(&w->next);
    if (!page.over) {
        buf_span(&w->next, from);
        return;
    }
    if (!w->found)
        drop_keys(n, r->at, keys);
    w->found = 0; /* once more, until nothing is found */
}

void rewrap_sweep(struct node *n)
{
    struct pass p;
    struct secret_keys roots;
    if (n->update.role != RAFT_LEADER || !call_has_state(n)) {
        n->rewrap.waiting = 0;
        buf_reset(&n->rewrap.name);
        return;
    }
    if (!n->secrets->n_keys)
        return;
    begin(&p, n);
    each_ring(&p, count_ring);
    n->rewrap.waiting = p.waiting;
    if (!p.open)
        return;
    if (p.stale)
        each_ring(&p, renew_ring);
    else if (seal_keys_at(n, SPAN(SECRET_SEAL), &roots) == ERR_OK && roots.n > 1)
        drop_keys(n, SPAN(SECRET_SEAL), &roots);
    if (p.waiting)
        each_ring(&p, renew_namespace);
}

void rewrap_close(struct node *n)
{
    buf_close(&n->rewrap.name);
    buf_close(&n->rewrap.next);
}
