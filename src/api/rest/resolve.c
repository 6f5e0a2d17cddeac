/* References: "${key}", "${environment:key}" and "${secret:namespace/path#member}" in the texts of
 * configs stand for what is found there; "$${" for "${" itself.
 *
 * A key is looked for as a config is: in the environment that is asked for, then in its parents;
 * so a config that is inherited sees what its heirs have of their own. In JSON a text that is one
 * reference and nothing else becomes the value, of whatever type; else everything becomes text. */
#include "api/rest/rest_int.h"
#include "api/rest/change.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

/* Where we are: a config, looked at from an environment. */
struct place {
    struct span key, environment;
    const struct place *outer;
    unsigned depth;
};

static bool expand_value(struct resolving *r, const struct place *at, struct found in,
                         struct found *out);

bool resolve_wanted(struct span value)
{
    return value.len > 2 && memmem(value.data, value.len, "${", 2) != NULL;
}

/* ---- what is wrong ---- */

static void name_place(struct buf *b, struct span key)
{
    struct span environment, own;
    config_split(key, &environment, &own);
    buf_span(b, environment);
    buf_u8(b, ':');
    buf_span(b, own);
}

static bool refuse(struct resolving *r, enum err e, const char *why, struct span reference)
{
    struct buf b;
    buf_open(&b, r->arena->alloc);
    buf_text(&b, "${");
    buf_span(&b, reference);
    buf_format(&b, "} %s", why);
    r->err = e;
    r->detail = arena_text(r->arena, buf_all(&b));
    buf_close(&b);
    return false;
}

static void name_places(struct buf *b, const struct place *at, const struct place *from)
{
    if (at != from)
        name_places(b, at->outer, from);
    name_place(b, at->key);
    buf_text(b, " -> ");
}

/* Whether we are there already; then the way round is told. */
static bool goes_round(struct resolving *r, const struct place *at, struct span key,
                       struct span environment)
{
    const struct place *p = at;
    while (p && !(span_equal(p->key, key) && span_equal(p->environment, environment)))
        p = p->outer;
    if (!p)
        return false;
    struct buf b;
    buf_open(&b, r->arena->alloc);
    buf_text(&b, "it would lead back to itself: ");
    name_places(&b, at, p);
    name_place(&b, key);
    r->err = ERR_CYCLE;
    r->detail = arena_text(r->arena, buf_all(&b));
    buf_close(&b);
    return true;
}

/* ---- configs ---- */

/* What the transaction that is judged would make of a key; false: it does not touch it. */
static bool in_txn(const struct kv_txn *txn, struct span key, bool *there, struct found *out)
{
    for (size_t i = 0; txn && i < txn->n_success; i++) {
        const struct kv_op *op = &txn->success[i];
        if (op->type == KV_OP_DELETE && span_equal(op->del.key, key)) {
            *there = false;
            return true;
        }
        if (op->type == KV_OP_PUT && span_equal(op->put.key, key)) {
            *there = true;
            *out = (struct found){ op->put.value, op->put.type };
            return true;
        }
    }
    return false;
}

bool config_found(const struct kv *kv, const struct kv_txn *txn, struct seen *seen,
                  struct span key, int64_t revision, bool *fresh, struct found *out)
{
    bool there;
    *fresh = in_txn(txn, key, &there, out);
    if (*fresh)
        return there;
    const struct kv_version *v = kv_get(kv, key, revision);
    if (v)
        *out = (struct found){ kv_value(v), v->type };
    if (seen)
        seen_add(seen, key, v ? v->mod_revision : 0);
    return v != NULL;
}

static bool may_read(struct resolving *r, struct span key)
{
    struct request q = { .type = REQUEST_RANGE, .range = { .key = key } };
    return !r->world->permits || r->world->permits(r->world->context, &q) == ERR_OK;
}

static bool take_config(struct resolving *r, const struct place *at, struct span environment,
                        struct span key, struct span reference, struct found *out)
{
    struct span chain[REST_DEPTH_MAX], full = SPAN_NONE;
    struct found found;
    bool there = false, fresh = false;
    size_t n = environment_chain(r->kv, environment, r->revision, r->arena, chain);
    for (size_t i = 0; i < n && !there; i++) {
        full = config_key(r->arena, chain[i], key);
        there = config_found(r->kv, r->txn, r->seen, full, r->revision, &fresh, &found);
    }
    if (!there) { /* who may not read it is not told that */
        full = config_key(r->arena, environment, key);
        fresh = false;
    }
    if (!fresh && !may_read(r, full))
        return refuse(r, ERR_PERMISSION_DENIED, "may not be read by who asks", reference);
    if (!there)
        return refuse(r, ERR_REFERENCE_UNKNOWN, "is no config here; $${ stands for ${ itself",
                      reference);
    if (goes_round(r, at, full, environment))
        return false;
    struct place place = { full, environment, at, at->depth + 1 };
    if (place.depth > RESOLVE_DEPTH_MAX)
        return refuse(r, ERR_REFERENCE_LIMIT, "leads too deep", reference);
    return expand_value(r, &place, found, out);
}

/* ---- secrets ---- */

static bool take_member(struct resolving *r, struct span data, struct span member,
                        struct span reference, struct found *out)
{
    struct jdoc *doc;
    struct jdoc_fault fault;
    struct buf b;
    struct jsonw w;
    if (jdoc_read(data, r->arena, &doc, &fault) != ERR_OK)
        return refuse(r, ERR_REFERENCE_UNKNOWN, "is not JSON", reference);
    const struct jdoc *v = member.len ? jdoc_member(doc, member) : doc;
    if (!v)
        return refuse(r, ERR_REFERENCE_UNKNOWN, "has no such member", reference);
    buf_open(&b, r->arena->alloc);
    if (v->type == JDOC_STRING) {
        buf_span(&b, v->text);
    } else {
        jsonw_open(&w, &b);
        change_json(&w, v);
    }
    *out = (struct found){ arena_copy(r->arena, buf_all(&b)),
                           v->type == JDOC_STRING ? KV_STRING : KV_JSON };
    memset(b.data, 0, b.len);
    buf_close(&b);
    return true;
}

/* Without a member all of it. */
static bool take_secret(struct resolving *r, const struct reference *ref, struct found *out)
{
    struct span data, reference = ref->text;
    if (!r->secrets) { /* as it stands */
        struct buf b;
        buf_open(&b, r->arena->alloc);
        buf_text(&b, "${");
        buf_span(&b, reference);
        buf_u8(&b, '}');
        *out = (struct found){ arena_copy(r->arena, buf_all(&b)), KV_STRING };
        buf_close(&b);
        return true;
    }
    enum err e = r->world->secret ? r->world->secret(r->world->context, ref->name_space,
                                                     ref->key, &data)
                                  : ERR_SEALED;
    if (e != ERR_OK)
        return refuse(r, e, err_text(e), reference);
    r->revealed = true;
    bool good = take_member(r, data, ref->member, reference, out);
    memset((void *)(uintptr_t)data.data, 0, data.len);
    return good;
}

/* ---- texts ---- */

static bool take(struct resolving *r, const struct place *at, struct span text, struct found *out)
{
    struct reference ref;
    bool good = reference_read(text, &ref);
    if (++r->n > RESOLVE_REFERENCES_MAX)
        return refuse(r, ERR_REFERENCE_LIMIT, "is one too many for one answer", text);
    if (!good && ref.secret)
        return refuse(r, ERR_REFERENCE_INVALID, "is not ${secret:namespace/path#member}", text);
    if (!good)
        return refuse(r, ERR_REFERENCE_INVALID,
                      "is none of ${key}, ${environment:key}, ${secret:namespace/path#member}; "
                      "$${ stands for ${ itself",
                      text);
    if (ref.secret)
        return take_secret(r, &ref, out);
    return take_config(r, at, ref.environment.len ? ref.environment : at->environment, ref.key,
                       text, out);
}

/* The reference that text begins with, without its braces. */
static bool reference_at(struct resolving *r, struct span text, struct span *out)
{
    const uint8_t *end = memchr(text.data, '}', text.len);
    if (!end)
        return refuse(r, ERR_REFERENCE_INVALID, "has no end; $${ stands for ${ itself",
                      span_of(text.data + 2, text.len - 2 > 40 ? 40 : text.len - 2));
    *out = span_of(text.data + 2, (size_t)(end - text.data) - 2);
    return true;
}

static bool count(struct resolving *r, size_t n, struct span reference)
{
    r->bytes += n;
    return r->bytes <= RESOLVE_BYTES_MAX ||
           refuse(r, ERR_REFERENCE_LIMIT, "makes it too large", reference);
}

static bool put(struct resolving *r, struct buf *out, const void *data, size_t n,
                struct span reference)
{
    if (!count(r, n, reference))
        return false;
    buf_put(out, data, n);
    return true;
}

static bool expand_text(struct resolving *r, const struct place *at, struct span text,
                        struct buf *out)
{
    while (text.len) {
        const uint8_t *dollar = memmem(text.data, text.len, "${", 2);
        size_t n = dollar ? (size_t)(dollar - text.data) : text.len;
        bool escaped = dollar && n && dollar[-1] == '$';
        struct span reference = SPAN_NONE;
        struct found found;
        if (!put(r, out, text.data, n - escaped, SPAN_NONE))
            return false;
        text = span_from(text, n);
        if (escaped && !put(r, out, "${", 2, SPAN_NONE))
            return false;
        if (escaped)
            text = span_from(text, 2);
        if (!dollar || escaped)
            continue;
        if (!reference_at(r, text, &reference) || !take(r, at, reference, &found))
            return false;
        if (found.type == KV_BYTES && !pb_utf8(found.value))
            return refuse(r, ERR_REFERENCE_INVALID, "is not text", reference);
        if (!put(r, out, found.value.data, found.value.len, reference))
            return false;
        text = span_from(text, reference.len + 3);
    }
    return true;
}

/* ---- JSON ---- */

static bool expand_json(struct resolving *r, const struct place *at, const struct jdoc *v,
                        struct jsonw *w);

static bool is_one(struct span text)
{
    const uint8_t *end = span_starts(text, SPAN("${")) ? memchr(text.data, '}', text.len) : NULL;
    return end == text.data + text.len - 1 && end;
}

static bool expand_string(struct resolving *r, const struct place *at, struct span text,
                          struct jsonw *w)
{
    struct buf b;
    struct found found;
    if (is_one(text)) {
        struct span reference = span_of(text.data + 2, text.len - 3);
        if (!take(r, at, reference, &found) || !count(r, found.value.len, reference))
            return false;
        change_plain_write(w, found.value, found.type);
        return true;
    }
    buf_open(&b, r->arena->alloc);
    bool good = expand_text(r, at, text, &b);
    if (good)
        jsonw_text(w, buf_all(&b));
    buf_close(&b);
    return good;
}

static bool expand_children(struct resolving *r, const struct place *at, const struct jdoc *v,
                            struct jsonw *w)
{
    bool good = true;
    for (uint32_t i = 0; i < v->n && good; i++) {
        if (v->type == JDOC_OBJECT)
            jsonw_key(w, v->items[i].name);
        good = expand_json(r, at, &v->items[i], w);
    }
    return good;
}

static bool expand_json(struct resolving *r, const struct place *at, const struct jdoc *v,
                        struct jsonw *w)
{
    bool good = true;
    if (v->type == JDOC_STRING && resolve_wanted(v->text)) {
        good = expand_string(r, at, v->text, w);
        if (!good && at->depth == 0 && !r->pointer.data) {
            struct buf b;
            buf_open(&b, r->arena->alloc);
            jdoc_pointer(v, &b);
            r->pointer = arena_copy(r->arena, buf_all(&b));
            buf_close(&b);
        }
    } else if (v->type == JDOC_ARRAY) {
        jsonw_array(w);
        good = expand_children(r, at, v, w);
        jsonw_array_end(w);
    } else if (v->type == JDOC_OBJECT) {
        jsonw_object(w);
        good = expand_children(r, at, v, w);
        jsonw_object_end(w);
    } else {
        change_json(w, v);
    }
    return good;
}

static bool expand_value(struct resolving *r, const struct place *at, struct found in,
                         struct found *out)
{
    struct buf b;
    struct jsonw w;
    struct jdoc *doc;
    struct jdoc_fault fault;
    bool text = in.type == KV_STRING || (in.type == KV_BYTES && pb_utf8(in.value)), good = false;
    *out = in;
    if (!resolve_wanted(in.value) || (!text && in.type != KV_JSON))
        return true;
    if (!text && jdoc_read(in.value, r->arena, &doc, &fault) != ERR_OK)
        return refuse(r, ERR_REFERENCE_LIMIT, "stands in what is too large or too deep",
                      SPAN("..."));
    buf_open(&b, r->arena->alloc);
    jsonw_open(&w, &b);
    good = text ? expand_text(r, at, in.value, &b) : expand_json(r, at, doc, &w);
    out->value = good ? arena_copy(r->arena, buf_all(&b)) : SPAN_NONE;
    if (r->revealed)
        memset(b.data, 0, b.len);
    buf_close(&b);
    return good;
}

enum err resolve(struct resolving *r, struct span key, struct span environment, struct span value,
                 uint8_t type, struct span *out)
{
    struct place at = { .key = key, .environment = environment };
    struct found found = { value, type };
    r->err = ERR_OK;
    bool good = expand_value(r, &at, found, &found);
    CHECK(good == (r->err == ERR_OK));
    *out = found.value;
    return r->err;
}
