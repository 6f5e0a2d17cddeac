/* References in configs, without what they lead to: where they stand in a value, and whether those
 * of a write lead round in a circle.
 *
 * A write is judged by what it looked at, so it is guarded by that (seen_guards): of two writes
 * that make a circle only together, the later one finds what it saw changed, and is judged anew. */
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "base/hash.h"
#include "wire/protobuf/protobuf.h"

enum {
    WALK_REFERENCES_MAX = 5000,   /* looked at for one request, and the bytes they stand in */
    WALK_BYTES_MAX = 16 << 20,
    SEEN_MAX = 1024,              /* keys that a write is guarded by, before they are too many */
    SEEN_BETWEEN_MAX = 10000,     /* keys in one compare for all of them */
};

/* ---- one reference ---- */

bool reference_read(struct span text, struct reference *out)
{
    const uint8_t *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
    size_t n = colon ? (size_t)(colon - text.data) : 0;
    struct span rest = colon ? span_from(text, n + 1) : text;
    *out = (struct reference){ .text = text };
    if (!colon || !span_is(span_of(text.data, n), "secret")) {
        out->environment = n ? span_of(text.data, n) : SPAN_NONE; /* "${:a:b}": a colon in it */
        out->key = rest;
        return rest.len && rest.len <= REST_KEY_MAX && (!n || environment_name(out->environment));
    }
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    size_t at = slash ? (size_t)(slash - rest.data) : 0;
    out->secret = true;
    out->name_space = span_of(rest.data, at);
    out->key = slash ? span_from(rest, at + 1) : SPAN_NONE;
    const uint8_t *hash = out->key.len ? memrchr(out->key.data, '#', out->key.len) : NULL;
    if (hash) {
        size_t len = (size_t)(hash - out->key.data);
        out->member = span_from(out->key, len + 1);
        out->key.len = len;
    }
    return secret_namespace_good(out->name_space) && secret_path_good(out->key);
}

struct each {
    void (*tell)(void *context, const struct reference *r);
    void *context;
};

/* As expand_text (resolve.c) goes through one. */
static void each_in_text(const struct each *e, struct span text)
{
    const uint8_t *dollar, *end;
    while (text.len && (dollar = memmem(text.data, text.len, "${", 2)) != NULL) {
        bool escaped = dollar > text.data && dollar[-1] == '$';
        struct reference r;
        text = span_from(text, (size_t)(dollar - text.data) + 2);
        if (escaped)
            continue;
        end = text.len ? memchr(text.data, '}', text.len) : NULL;
        if (!end)
            return;
        if (reference_read(span_of(text.data, (size_t)(end - text.data)), &r))
            e->tell(e->context, &r);
        text = span_from(text, (size_t)(end - text.data) + 1);
    }
}

static void each_in_tree(const struct each *e, const struct jdoc *v)
{
    if (v->type == JDOC_STRING)
        each_in_text(e, v->text);
    for (uint32_t i = 0; (v->type == JDOC_ARRAY || v->type == JDOC_OBJECT) && i < v->n; i++)
        each_in_tree(e, &v->items[i]);
}

void references_each(struct span value, uint8_t type, struct arena *arena,
                     void (*tell)(void *context, const struct reference *r), void *context)
{
    struct each e = { tell, context };
    struct jdoc *doc;
    struct jdoc_fault fault;
    if (!resolve_wanted(value))
        return;
    if (type == KV_STRING || (type == KV_BYTES && pb_utf8(value)))
        each_in_text(&e, value);
    else if (type == KV_JSON && jdoc_read(value, arena, &doc, &fault) == ERR_OK)
        each_in_tree(&e, doc);
}

/* ---- what was seen ---- */

void seen_add(struct seen *s, struct span key, int64_t mod_revision)
{
    uint64_t hash = hash_bytes(key, 0);
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].hash == hash && span_equal(s->items[i].key, key))
            return;
    if (!s->items)
        s->items = ARENA_ARRAY(s->arena, struct seen_key, SEEN_MAX);
    s->over = s->over || s->n == SEEN_MAX;
    if (s->n < SEEN_MAX)
        s->items[s->n++] =
            (struct seen_key){ arena_copy(s->arena, key), mod_revision, hash };
}

/* One for all, when there are too many: nothing between the first and the last was put. */
static bool guard_all(const struct seen *s, const struct kv *kv, struct kv_compare *out)
{
    struct span first = s->items[0].key, last = first;
    for (size_t i = 1; i < s->n; i++) {
        first = span_compare(s->items[i].key, first) < 0 ? s->items[i].key : first;
        last = span_compare(s->items[i].key, last) > 0 ? s->items[i].key : last;
    }
    uint8_t *end = arena_zero(s->arena, last.len + 1); /* the first key behind it */
    memcpy(end, last.data, last.len);
    *out = (struct kv_compare){ .key = first,
                                .range_end = span_of(end, last.len + 1),
                                .target = KV_IF_MOD,
                                .result = KV_IF_LESS,
                                .number = kv_revision(kv) + 1 };
    return !s->over && kv_count(kv, first, out->range_end) <= SEEN_BETWEEN_MAX;
}

/* Who asks is not told of what he may not read, nor may he compare with it. */
static bool may_compare(const struct rest_world *world, const struct kv_compare *c)
{
    struct request r = { .type = REQUEST_RANGE,
                         .range = { .key = c->key, .range_end = c->range_end } };
    return !world->permits || world->permits(world->context, &r) == ERR_OK;
}

bool seen_guards(const struct seen *s, const struct rest_world *world, const struct kv *kv,
                 struct kv_compare *out, size_t room, size_t *n)
{
    *n = 0;
    if (s->n > room || s->over) {
        *n = 1;
        return room > 0 && guard_all(s, kv, out) && may_compare(world, out);
    }
    for (size_t i = 0; i < s->n; i++) {
        out[*n] = (struct kv_compare){ .key = s->items[i].key,
                                       .target = KV_IF_MOD,
                                       .result = KV_IF_EQUAL,
                                       .number = s->items[i].mod_revision };
        *n += may_compare(world, &out[*n]);
    }
    return true;
}

/* ---- circles ----
 *
 * What is put has been resolved from its own environment. But those that inherit it, or what
 * stands above when it is deleted, look at it with what they have of their own. Only names are
 * followed here, and nothing is told of what was found on the way. */

struct place {
    struct span environment, full;
    struct found found;
    uint64_t hash;
};

struct chain {
    struct span environment;
    struct span levels[REST_DEPTH_MAX];
    size_t n;
    struct chain *next;
};

struct rounds {
    const struct kv *kv;
    const struct kv_txn *txn;
    struct arena *arena;
    struct seen *seen;
    struct chain *chains;
    struct place *places; /* room for WALK_REFERENCES_MAX; the first is where it began */
    size_t n;
    const struct place *at;
    size_t references, bytes; /* so far, of all that one request asked */
    bool back;
};

struct rounds *rounds_open(const struct kv *kv, const struct kv_txn *txn, struct arena *arena,
                           struct seen *seen)
{
    struct rounds *r = ARENA_NEW(arena, struct rounds);
    *r = (struct rounds){ .kv = kv, .txn = txn, .arena = arena, .seen = seen };
    return r;
}

static const struct chain *chain_of(struct rounds *r, struct span environment)
{
    struct chain *c = r->chains;
    while (c && !span_equal(c->environment, environment))
        c = c->next;
    if (c)
        return c;
    c = ARENA_NEW(r->arena, struct chain);
    c->environment = arena_copy(r->arena, environment);
    c->n = environment_chain(r->kv, c->environment, 0, r->arena, c->levels);
    c->next = r->chains;
    return r->chains = c;
}

/* The config that the key is, seen from there; false: none. */
static bool find(struct rounds *r, struct span environment, struct span key, struct place *out)
{
    const struct chain *c = chain_of(r, environment);
    bool fresh, there = false;
    for (size_t i = 0; i < c->n && !there; i++) {
        out->full = config_key(r->arena, c->levels[i], key);
        there = config_found(r->kv, r->txn, r->seen, out->full, 0, &fresh, &out->found);
    }
    out->environment = c->environment;
    out->hash = hash_bytes(out->full, hash_bytes(c->environment, 0));
    return there;
}

static void follow(void *context, const struct reference *ref)
{
    struct rounds *r = context;
    struct span environment = ref->environment.len ? ref->environment : r->at->environment;
    struct place next;
    if (r->back || ++r->references > WALK_REFERENCES_MAX || ref->secret ||
        !find(r, environment, ref->key, &next))
        return;
    for (size_t i = 0; i < r->n; i++) {
        const struct place *p = &r->places[i];
        if (p->hash != next.hash || !span_equal(p->full, next.full) ||
            !span_equal(p->environment, next.environment))
            continue;
        r->back = i == 0;
        return;
    }
    r->places[r->n++] = next;
}

/* Whether one comes back to the config, as that environment sees it. */
static bool leads_back(struct rounds *r, const struct place *start)
{
    if (!resolve_wanted(start->found.value))
        return false;
    if (!r->places)
        r->places = ARENA_ARRAY(r->arena, struct place, WALK_REFERENCES_MAX + 1);
    r->back = false;
    r->places[0] = *start;
    r->n = 1;
    for (size_t i = 0; i < r->n && !r->back; i++) {
        r->at = &r->places[i];
        r->bytes += resolve_wanted(r->at->found.value) ? r->at->found.value.len : 0;
        if (r->bytes > WALK_BYTES_MAX || r->references > WALK_REFERENCES_MAX)
            return false;
        references_each(r->at->found.value, r->at->found.type, r->arena, follow, r);
    }
    return r->back;
}

enum err rounds_look(struct rounds *r, struct span environment, struct span key,
                     struct span *seen_by)
{
    struct kv_range all = { .key = SPAN(REST_ENVIRONMENTS), .limit = REST_ENVIRONMENT_COUNT_MAX };
    struct kv_range_result found;
    all.range_end = kv_prefix_end(all.key, r->arena);
    enum err e = kv_range(r->kv, &all, r->arena, &found);
    CHECK(e == ERR_OK);
    for (size_t i = 0; i <= found.n; i++) { /* itself, which may have no record, and its heirs */
        struct span name = i ? span_from(kv_key(found.items[i - 1]), all.key.len) : environment;
        const struct chain *c = chain_of(r, name);
        struct place start;
        bool heir = false;
        for (size_t k = 0; k < c->n; k++)
            heir = heir || span_equal(c->levels[k], environment);
        if (!heir || (i && span_equal(name, environment)) || !find(r, name, key, &start))
            continue;
        *seen_by = name;
        if (leads_back(r, &start))
            return ERR_CYCLE;
        if (r->bytes > WALK_BYTES_MAX || r->references > WALK_REFERENCES_MAX)
            return ERR_REFERENCE_LIMIT;
    }
    return ERR_OK;
}
