/* What a write takes away while others refer to it: then they are told, and it is refused unless
 * it is meant (?force=true). Nothing is missed that a parent still has. */
#include "api/rest/rest_int.h"
#include "base/check.h"
#include "core/flag/flag.h"

enum { LOOKED_MAX = 10000 /* referring keys looked at for one request */ };

struct level {
    struct span environment;
    bool before, after; /* it has what is taken */
    struct level *next;
};

struct taken {
    struct missed *m;
    enum link_kind kind;
    struct level *levels;
    const struct span *chain; /* of the environment that loses it, and where in it we are */
    size_t at;
};

static struct span key_of(enum link_kind kind, struct span environment, struct span name,
                          struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_text(&b, kind == LINK_CONFIG ? REST_CONFIGS : kind == LINK_FLAG ? REST_FLAGS
                                                                        : REST_FLAGSETS);
    buf_span(&b, environment);
    if (kind != LINK_RULE) {
        buf_u8(&b, '/');
        buf_span(&b, name);
    }
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

static bool rule_in(struct span flagset, struct span name, struct arena *arena)
{
    struct fval all;
    char why[FLAG_WHY_MAX];
    if (fval_read(flagset, arena, &all, why) != ERR_OK || all.type != FVAL_OBJECT)
        return false;
    const struct fval *rules = fval_find(&all, SPAN("$evaluators"));
    return rules && rules->type == FVAL_OBJECT && fval_find(rules, name);
}

/* Whether an environment has it of its own, with the transaction or without. */
static bool has(const struct taken *t, struct span environment, const struct kv_txn *txn)
{
    struct missed *m = t->m;
    struct span key = key_of(t->kind, environment, m->name, m->scratch);
    struct found found;
    bool fresh, there = config_found(m->kv, txn, NULL, key, 0, &fresh, &found);
    return there && (t->kind != LINK_RULE || rule_in(found.value, m->name, m->scratch));
}

static const struct level *level_of(struct taken *t, struct span environment)
{
    struct level *v = t->levels;
    while (v && !span_equal(v->environment, environment))
        v = v->next;
    if (v)
        return v;
    v = ARENA_NEW(t->m->scratch, struct level);
    *v = (struct level){ environment, has(t, environment, NULL), has(t, environment, t->m->txn),
                         t->levels };
    return t->levels = v;
}

static bool written_too(const struct missed *m, struct span key)
{
    struct found any;
    bool fresh;
    (void)config_found(m->kv, m->txn, NULL, key, 0, &fresh, &any);
    return fresh;
}

/* One that stands in a parent is what the environment gets, unless a nearer one has its own. */
static bool stands_behind(const struct taken *t, enum link_kind kind, struct span name)
{
    for (size_t i = 0; i < t->at; i++) {
        struct found any;
        bool fresh;
        struct span key = key_of(kind, t->chain[i], name, t->m->scratch);
        if (kind != LINK_RULE && config_found(t->m->kv, t->m->txn, NULL, key, 0, &fresh, &any))
            return true;
    }
    return false;
}

static bool tell(void *context, struct span key)
{
    const struct taken *t = context;
    struct missed *m = t->m;
    enum link_kind kind;
    struct span environment, name;
    if (++m->looked > LOOKED_MAX || m->n_told == REST_FAULTS_MAX)
        return false;
    for (size_t i = 0; i < m->n_told; i++)
        if (span_equal(m->told[i], key))
            return true;
    CHECK(link_of_key(key, &kind, &environment, &name));
    if (written_too(m, key) || (t->chain && stands_behind(t, kind, name)))
        return true;
    m->told[m->n_told++] = key;
    m->tell(m->context, kind, key, environment, name);
    return true;
}

static void look_from(struct taken *t, struct span environment)
{
    struct missed *m = t->m;
    struct span chain[REST_DEPTH_MAX];
    size_t n = environment_chain(m->kv, environment, 0, m->scratch, chain);
    bool concerned = false, before = false, after = false;
    for (size_t i = 0; i < n; i++) {
        concerned = concerned || span_equal(chain[i], m->environment);
        before = before || level_of(t, chain[i])->before;
        after = after || level_of(t, chain[i])->after;
    }
    if (!concerned || !before || after)
        return;
    t->chain = chain;
    for (t->at = 0; t->at < n; t->at++)
        links_each(m->world->links, t->kind, false, chain[t->at], m->name, m->scratch, tell, t);
    t->chain = NULL;
    if (t->kind == LINK_CONFIG)
        links_each(m->world->links, t->kind, true, environment, m->name, m->scratch, tell, t);
}

void missed_look(struct missed *m, enum link_kind kind, struct span environment, struct span name)
{
    struct taken t = { .m = m, .kind = kind };
    struct kv_range all = { .key = SPAN(REST_ENVIRONMENTS), .limit = REST_ENVIRONMENT_COUNT_MAX };
    struct kv_range_result r;
    if (!m->world->links || !rest_links_count(m->world->links))
        return;
    m->environment = environment;
    m->name = name;
    m->n_told = 0;
    all.range_end = kv_prefix_end(all.key, m->scratch);
    enum err e = kv_range(m->kv, &all, m->scratch, &r);
    CHECK(e == ERR_OK);
    look_from(&t, environment);
    for (size_t i = 0; i < r.n && m->looked <= LOOKED_MAX; i++) {
        struct span heir = span_from(kv_key(r.items[i]), all.key.len);
        if (!span_equal(heir, environment))
            look_from(&t, heir);
    }
}

void missed_rules(struct missed *m, struct span environment, struct span before, struct span after)
{
    struct fval all;
    char why[FLAG_WHY_MAX];
    if (!m->world->links || fval_read(before, m->scratch, &all, why) != ERR_OK ||
        all.type != FVAL_OBJECT)
        return;
    const struct fval *rules = fval_find(&all, SPAN("$evaluators"));
    for (uint32_t i = 0; rules && rules->type == FVAL_OBJECT && i < rules->n; i++)
        if (!rule_in(after, rules->members[i].name, m->scratch))
            missed_look(m, LINK_RULE, environment, rules->members[i].name);
}

/* ---- secrets, which the node takes away ---- */

struct leaving {
    const struct rest_call *call;
    struct arena *arena;
    struct rest_faults faults;
};

static const char *link_word(enum link_kind kind)
{
    static const char *const words[] = { [LINK_CONFIG] = "config", [LINK_FLAG] = "flag",
                                         [LINK_RULE] = "flagset", [LINK_SECRET] = "secret" };
    return words[kind];
}

void missed_fault(const struct rest_world *world, enum link_kind kind, struct span key,
                  struct span environment, struct span name, struct arena *arena,
                  struct rest_fault *out)
{
    struct request r = { .type = REQUEST_RANGE, .range = { .key = key } };
    bool may = !world->permits || world->permits(world->context, &r) == ERR_OK;
    struct buf b;
    buf_open(&b, arena->alloc);
    if (may) {
        buf_format(&b, "%s ", link_word(kind));
        buf_span(&b, environment);
        buf_text(&b, name.len ? ":" : "");
        buf_span(&b, name);
    } else {
        buf_text(&b, "one that you may not read");
    }
    out->by = "referred_by";
    out->name = arena_copy(arena, buf_all(&b));
    buf_text(&b, " refers to it");
    out->message = arena_copy(arena, buf_all(&b));
    buf_close(&b);
}

static bool tell_of_secret(void *context, struct span key)
{
    struct leaving *l = context;
    struct rest_fault f = { 0 };
    enum link_kind kind;
    struct span environment, name;
    CHECK(link_of_key(key, &kind, &environment, &name));
    missed_fault(l->call->world, kind, key, environment, name, l->arena, &f);
    faults_add(&l->faults, &f, l->arena);
    return !l->faults.more;
}

bool rest_secret_free(const struct rest_call *call, struct arena *arena, struct rest_answer *out)
{
    struct leaving l = { .call = call, .arena = arena };
    const struct secret_ask *a = call->secret;
    if (call->leave.forced || call->door != REST_NATIVE || !call->world->links)
        return true;
    links_each(call->world->links, LINK_SECRET, false, a->name_space, a->path, arena,
               tell_of_secret, &l);
    if (!l.faults.n)
        return true;
    faults_answer(ERR_REFERRED, NULL, &l.faults, arena, out);
    return false;
}
