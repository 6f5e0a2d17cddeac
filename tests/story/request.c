/* Requests in words:
 *
 *   put KEY VALUE [lease=N] [prev] [ignore_value] [ignore_lease]
 *   range KEY [END] | prefix=P | from=K   [rev= limit= sort=[-]key|version|create|mod|value
 *         order= target= min_mod= max_mod= min_create= max_create=] [keys_only] [count_only]
 *   del KEY [END] | prefix=P | from=K [prev]
 *   txn [if TARGET(KEY[,END])OP VALUE...] [then OP ; OP...] [else OP ; OP...]  OP may be [ txn ]
 *   compact N   grant ID TTL   revoke ID   lease ID [keys]   leases   hash [rev=N] */
#include "story.h"

void story_keys(struct story *s, struct words *w, struct span *key, struct span *end)
{
    struct span word;
    if (words_option(w, "from", &word)) {
        *key = story_bytes(s, word);
        *end = SPAN("\0");
    } else if (words_option(w, "prefix", &word)) {
        *key = story_bytes(s, word);
        uint8_t *next = arena_alloc(&s->arena, key->len);
        memcpy(next, key->data, key->len);
        next[key->len - 1]++;
        *end = span_of(next, key->len);
    } else {
        *key = story_bytes(s, words_next(w));
        *end = story_bytes(s, words_next(w));
    }
}

/* The place of a name in a list that ends with NULL; the list's length when it is not there. */
static int32_t place_of(const char *const *names, struct span name)
{
    int32_t i = 0;
    while (names[i] && !span_is(name, names[i]))
        i++;
    return i;
}

static const char *const sort_names[] = { "key", "version", "create", "mod", "value", NULL };

static void take_range(struct story *s, struct words *w, struct kv_range *r)
{
    struct span sort;
    *r = (struct kv_range){ .keys_only = words_flag(w, "keys_only"),
                            .count_only = words_flag(w, "count_only") };
    r->limit = words_number(w, "limit", 0);
    r->revision = words_number(w, "rev", 0);
    r->min_mod = words_number(w, "min_mod", 0);
    r->max_mod = words_number(w, "max_mod", 0);
    r->min_create = words_number(w, "min_create", 0);
    r->max_create = words_number(w, "max_create", 0);
    if (words_option(w, "sort", &sort)) {
        bool descend = span_starts(sort, SPAN("-"));
        r->order = descend ? KV_ORDER_DESCEND : KV_ORDER_ASCEND;
        r->target = place_of(sort_names, descend ? span_from(sort, 1) : sort);
    }
    r->order = (int32_t)words_number(w, "order", r->order);
    r->target = (int32_t)words_number(w, "target", r->target);
    story_keys(s, w, &r->key, &r->range_end);
}

static void take_put(struct story *s, struct words *w, struct kv_put *p)
{
    *p = (struct kv_put){ .prev_kv = words_flag(w, "prev"),
                          .ignore_value = words_flag(w, "ignore_value"),
                          .ignore_lease = words_flag(w, "ignore_lease"),
                          .lease = words_number(w, "lease", 0) };
    p->key = story_bytes(s, words_next(w));
    p->value = story_bytes(s, words_next(w));
}

static void take_delete(struct story *s, struct words *w, struct kv_delete *d)
{
    *d = (struct kv_delete){ .prev_kv = words_flag(w, "prev") };
    story_keys(s, w, &d->key, &d->range_end);
}

/* ---- transactions ---- */

static void take_compare(struct story *s, struct span word, struct kv_compare *c)
{
    static const char *const targets[] = { "version", "create", "mod", "value", "lease", NULL };
    static const char *const results[] = { "=", ">", "<", "!=", NULL };
    *c = (struct kv_compare){ 0 };
    size_t open = 0, close = 0, comma = 0;
    for (size_t i = 0; i < word.len && !close; i++) {
        if (word.data[i] == '(')
            open = i;
        if (word.data[i] == ',')
            comma = i;
        if (word.data[i] == ')')
            close = i;
    }
    if (!close || close + 2 > word.len)
        return;
    size_t result_len = word.data[close + 1] == '!' ? 2 : 1;
    size_t key_end = comma ? comma : close;
    c->target = place_of(targets, span_of(word.data, open));
    c->result = place_of(results, span_of(word.data + close + 1, result_len));
    c->key = story_bytes(s, span_of(word.data + open + 1, key_end - open - 1));
    if (comma)
        c->range_end = story_bytes(s, span_of(word.data + comma + 1, close - comma - 1));
    struct span value = span_from(word, close + 1 + result_len);
    if (c->target == KV_IF_VALUE)
        c->value = story_bytes(s, value);
    else
        c->number = number_of(value);
}

static bool at(const struct words *w, const char *word)
{
    return w->n && span_is(w->items[0], word);
}

static void take_txn(struct story *s, struct words *w, struct kv_txn *t);

static void take_op(struct story *s, struct words *w, struct kv_op *op)
{
    *op = (struct kv_op){ .type = KV_OP_NONE };
    if (at(w, "[")) {
        struct kv_txn *inner = ARENA_NEW(&s->arena, struct kv_txn);
        words_next(w);
        take_txn(s, w, inner);
        if (at(w, "]"))
            words_next(w);
        op->type = KV_OP_TXN;
        op->txn = inner;
        return;
    }
    size_t n = 0;
    while (n < w->n && !span_is(w->items[n], ";") && !span_is(w->items[n], "else") &&
           !span_is(w->items[n], "]"))
        n++;
    struct words own = { w->items, n };
    struct span name = words_next(&own);
    w->items += n;
    w->n -= n;
    op->type = span_is(name, "put") ? KV_OP_PUT
               : span_is(name, "del") ? KV_OP_DELETE
               : span_is(name, "range") ? KV_OP_RANGE
                                        : KV_OP_NONE;
    if (op->type == KV_OP_PUT)
        take_put(s, &own, &op->put);
    if (op->type == KV_OP_DELETE)
        take_delete(s, &own, &op->del);
    if (op->type == KV_OP_RANGE)
        take_range(s, &own, &op->range);
}

static struct kv_op *take_ops(struct story *s, struct words *w, size_t *n)
{
    struct kv_op *ops = ARENA_ARRAY(&s->arena, struct kv_op, STORY_WORDS_MAX);
    *n = 0;
    do {
        words_next(w); /* then, else or ; */
        take_op(s, w, &ops[(*n)++]);
    } while (at(w, ";"));
    return ops;
}

static void take_txn(struct story *s, struct words *w, struct kv_txn *t)
{
    *t = (struct kv_txn){ 0 };
    if (at(w, "if")) {
        struct kv_compare *compares = ARENA_ARRAY(&s->arena, struct kv_compare, w->n);
        words_next(w);
        while (w->n && !at(w, "then") && !at(w, "else") && !at(w, "]"))
            take_compare(s, words_next(w), &compares[t->n_compares++]);
        t->compares = compares;
    }
    if (at(w, "then"))
        t->success = take_ops(s, w, &t->n_success);
    if (at(w, "else"))
        t->failure = take_ops(s, w, &t->n_failure);
}

/* ---- all ---- */

static const struct {
    const char *name;
    enum request_type type;
} names[] = {
    { "put", REQUEST_PUT },           { "del", REQUEST_DELETE },
    { "range", REQUEST_RANGE },       { "txn", REQUEST_TXN },
    { "compact", REQUEST_COMPACT },   { "grant", REQUEST_LEASE_GRANT },
    { "revoke", REQUEST_LEASE_REVOKE }, { "lease", REQUEST_LEASE_LOOK },
    { "leases", REQUEST_LEASE_LIST }, { "hash", REQUEST_HASH },
};

bool story_request(struct story *s, struct words *w, struct request *out)
{
    struct span name = words_next(w);
    *out = (struct request){ .type = REQUEST_NONE, .author = SPAN("teller") };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (span_is(name, names[i].name))
            out->type = names[i].type;
    if (out->type == REQUEST_PUT)
        take_put(s, w, &out->put);
    if (out->type == REQUEST_DELETE)
        take_delete(s, w, &out->del);
    if (out->type == REQUEST_RANGE)
        take_range(s, w, &out->range);
    if (out->type == REQUEST_TXN)
        take_txn(s, w, &out->txn);
    if (out->type == REQUEST_COMPACT)
        out->compact.revision = number_of(words_next(w));
    if (out->type == REQUEST_HASH)
        out->hash_revision = words_number(w, "rev", 0);
    if (out->type == REQUEST_LEASE_LOOK)
        out->lease.keys = words_flag(w, "keys");
    if (out->type == REQUEST_LEASE_GRANT || out->type == REQUEST_LEASE_REVOKE ||
        out->type == REQUEST_LEASE_LOOK)
        out->lease.id = number_of(words_next(w));
    if (out->type == REQUEST_LEASE_GRANT)
        out->lease.ttl_s = number_of(words_next(w));
    return out->type != REQUEST_NONE;
}
