/* Rights as people say them, roles x environments x prefixes x verbs, as ranges of keys. What a
 * verb stands for is a table; a permission that came by another way is shown as it is. */
#include "api/rest/rest_int.h"
#include "base/check.h"

enum verb_bit {
    VERB_READ = 1,
    VERB_WRITE = 2,
    VERB_APPROVE = 4,
    VERB_REVEAL = 8,
    VERB_ADMIN = 16,
    VERB_PUT = 32, /* write is these three, and propose */
    VERB_DELETE = 64,
    VERB_PUBLISH = 128,
    VERB_PROPOSE = 256,
};
#define VERBS_ALONE (VERB_PUT | VERB_DELETE | VERB_PUBLISH) /* core/machine/permit.c knows them */
#define VERBS_DRAFT (VERB_APPROVE | VERB_PUBLISH | VERB_PROPOSE)

static const struct {
    const char *name;
    unsigned bit;
    bool of_configs, of_secrets;
} words[] = {
    { "read", VERB_READ, true, false },      { "write", VERB_WRITE, true, true },
    { "approve", VERB_APPROVE, true, false }, { "reveal", VERB_REVEAL, false, true },
    { "admin", VERB_ADMIN, true, true },     { "put", VERB_PUT, true, false },
    { "delete", VERB_DELETE, true, false },  { "publish", VERB_PUBLISH, true, false },
    { "propose", VERB_PROPOSE, true, false },
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

/* Where the keys are that a verb speaks of: root, then place and a slash, then the prefix. Who may
 * write may read too: a write answers with what it wrote. */
static const struct place {
    const char *root;
    bool of_secrets;
    bool by_place, by_prefix; /* what of the grant stands behind the root */
    bool shared;              /* other grants want it too: it is not taken with one of them */
    unsigned read, write;     /* verbs that give it */
} places[] = {
    { "confman/config/", false, true, true, false, VERB_READ | VERBS_ALONE | VERBS_DRAFT,
      VERB_WRITE },
    { "confman/flag/", false, true, true, false, VERB_READ | VERBS_ALONE | VERBS_DRAFT,
      VERB_WRITE },
    { "confman/log/", false, true, true, false, VERB_READ | VERBS_ALONE | VERBS_DRAFT, VERB_WRITE },
    { "confman/put/", false, true, true, false, 0, VERB_PUT },
    { "confman/delete/", false, true, true, false, 0, VERB_DELETE },
    { "confman/publish/", false, true, true, false, 0, VERB_PUBLISH },
    { "confman/propose/", false, true, true, false, 0, VERB_PROPOSE },
    { "confman/approve/", false, true, true, false, 0, VERB_APPROVE },
    { "confman/schema/", false, false, true, false, 0, VERB_ADMIN },
    { "confman/flagset/", false, true, false, false,
      VERB_READ | VERB_WRITE | VERBS_ALONE | VERBS_DRAFT, VERB_ADMIN },
    { "confman/env/", false, true, false, false, 0, VERB_ADMIN },
    { "confman/secret/", true, true, true, false, VERB_REVEAL, VERB_WRITE },
    { "confman/seal/", true, true, false, false, 0, VERB_ADMIN },
    { "confman/env/", false, false, false, true, ~0U, 0 },
    { "confman/schema/", false, false, false, true, ~0U, 0 },
    { "confman/draft/", false, false, false, true, 0, VERB_WRITE | VERBS_DRAFT },
    { "confman/draft-due/", false, false, false, true, 0, VERB_WRITE | VERBS_DRAFT },
};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

const char *grant_verb(struct grant *g, const char *word)
{
    for (size_t i = 0; i < WORDS && word; i++) {
        if (strcmp(word, words[i].name) != 0)
            continue;
        g->verbs |= words[i].bit;
        if (g->of_secrets ? words[i].of_secrets : words[i].of_configs)
            return NULL;
        return g->of_secrets ? "of a namespace the verbs are reveal, write, admin"
                             : "of an environment the verbs are read, propose, approve, put, "
                               "delete, publish, write, admin";
    }
    return "a verb is one of read, propose, approve, put, delete, publish, write, admin; of "
           "secrets reveal, write, admin";
}

bool grants_add(struct grants *list, struct auth_permission p)
{
    for (size_t i = 0; i < list->n; i++) {
        struct auth_permission *has = &list->items[i];
        if (!span_equal(has->key, p.key) || !span_equal(has->range_end, p.range_end))
            continue;
        if (has->right != p.right)
            has->right = AUTH_READ_WRITE;
        return true;
    }
    if (list->n == REST_GRANTS_MAX)
        return false;
    list->items[list->n++] = p;
    return true;
}

/* Of secrets, a place is a namespace; one that is not by its prefix is a single key. */
static bool expand(const struct grant *g, const struct place *at, struct arena *arena,
                   struct grants *out)
{
    struct auth_permission p = { .right = AUTH_READ };
    struct buf b;
    unsigned given = at->of_secrets == g->of_secrets ? g->verbs : 0;
    if (!(given & (at->read | at->write)))
        return true;
    if (given & at->write)
        p.right = AUTH_READ_WRITE;
    buf_open(&b, arena->alloc);
    buf_text(&b, at->root);
    if (at->by_place)
        buf_span(&b, g->place);
    if (at->by_place && at->by_prefix)
        buf_u8(&b, '/');
    if (at->by_prefix)
        buf_span(&b, g->prefix);
    p.key = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    if (!at->by_place || at->by_prefix)
        p.range_end = kv_prefix_end(p.key, arena);
    return grants_add(out, p);
}

bool grant_expand(const struct grant *g, struct arena *arena, struct grants *out)
{
    bool ok = true;
    for (size_t i = 0; i < PLACES && ok; i++)
        if (!places[i].shared)
            ok = expand(g, &places[i], arena, out);
    out->own = out->n;
    for (size_t i = 0; i < PLACES && ok; i++)
        if (places[i].shared)
            ok = expand(g, &places[i], arena, out);
    return ok;
}

/* ---- and back, for people ---- */

static const struct {
    const char *root;
    bool of_secrets;
    const char *read, *write;
} shown[] = {
    { "confman/config/", false, "[\"read\"]", "[\"read\",\"write\"]" },
    { "confman/approve/", false, NULL, "[\"approve\"]" },
    { "confman/put/", false, NULL, "[\"put\"]" },
    { "confman/delete/", false, NULL, "[\"delete\"]" },
    { "confman/publish/", false, NULL, "[\"publish\"]" },
    { "confman/propose/", false, NULL, "[\"propose\"]" },
    { "confman/secret/", true, "[\"reveal\"]", "[\"reveal\",\"write\"]" },
};

void grant_write(struct jsonw *w, const struct auth_permission *p, struct arena *arena)
{
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        struct span root = span_text(shown[i].root);
        const char *verbs = p->right == AUTH_READ_WRITE ? shown[i].write
                            : p->right == AUTH_READ     ? shown[i].read
                                                        : NULL;
        if (!verbs || !span_starts(p->key, root) || !p->range_end.len ||
            !span_equal(p->range_end, kv_prefix_end(p->key, arena)))
            continue;
        struct span rest = span_from(p->key, root.len);
        const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
        if (!slash)
            continue;
        size_t len = (size_t)(slash - rest.data);
        jsonw_object(w);
        jsonw_name(w, shown[i].of_secrets ? "namespace" : "environment");
        jsonw_text(w, span_of(rest.data, len));
        jsonw_name(w, "prefix");
        jsonw_text(w, span_from(rest, len + 1));
        jsonw_name(w, "verbs");
        jsonw_raw(w, span_text(verbs));
        jsonw_object_end(w);
    }
}
