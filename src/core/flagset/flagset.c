#include "core/flagset/flagset_int.h"
#include "base/check.h"
#include "wire/protobuf/protobuf.h"

/* ---- keys ---- */

bool flagset_key_split(struct span key, struct span *environment, struct span *name)
{
    static const struct span root = { (const uint8_t *)FLAGSET_FLAGS, sizeof(FLAGSET_FLAGS) - 1 };
    if (!span_starts(key, root))
        return false;
    struct span rest = span_from(key, root.len);
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    if (!slash)
        return false;
    *environment = span_of(rest.data, (size_t)(slash - rest.data));
    *name = span_from(rest, environment->len + 1);
    return pb_utf8(*name);
}

static struct span joined(struct arena *arena, struct span root, struct span environment,
                          const char *between, struct span name)
{
    size_t gap = strlen(between), len = root.len + environment.len + gap + name.len;
    uint8_t *p = arena_alloc(arena, len + 1), *at = p;
    struct span parts[4] = { root, environment, span_of(between, gap), name };
    for (int i = 0; i < 4; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    return span_of(p, len);
}

struct span flagset_key(struct arena *arena, struct span environment, struct span name)
{
    return joined(arena, SPAN(FLAGSET_FLAGS), environment, "/", name);
}

struct span flagset_shared_key(struct arena *arena, struct span environment)
{
    return joined(arena, SPAN(FLAGSET_SHARED), environment, "", SPAN_NONE);
}

/* ---- one flag ---- */

static struct entry *entry_new(struct flagsets *f, struct span name, int64_t revision)
{
    struct entry *e = mem_zero(f->alloc, sizeof(*e) + name.len);
    memcpy(e + 1, name.len ? name.data : (const uint8_t *)"", name.len);
    e->name = span_of(e + 1, name.len);
    e->revision = revision;
    arena_open(&e->arena, f->alloc);
    return e;
}

static void entry_clear(struct entry *e)
{
    arena_close(&e->arena);
    e->compiled = false;
    e->flag = NULL;
}

static void entry_free(struct flagsets *f, struct entry *e)
{
    arena_close(&e->arena);
    mem_free(f->alloc, e, sizeof(*e) + e->name.len);
}

/* The first place whose name is not below; whether it is that name. */
static bool place_of(const struct flagset *s, struct span name, size_t *out)
{
    size_t low = 0, high = s->entries.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (span_compare(s->entries.items[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return low < s->entries.n && span_equal(s->entries.items[low]->name, name);
}

static const struct kv_version *find_version(const struct flagset *s, struct span name,
                                             size_t *level)
{
    for (size_t i = 0; i < s->n_levels; i++) {
        struct span key = flagset_key(&s->all->spare, s->levels[i], name);
        const struct kv_version *v = kv_get(s->kv, key, 0);
        *level = i;
        if (v)
            return v;
    }
    return NULL;
}

const struct kv_version *flagset_find(struct flagset *s, struct span name, size_t *level)
{
    size_t unused;
    return find_version(s, name, level ? level : &unused);
}

struct span flagset_definition(const struct flagset *s, struct span name)
{
    size_t level;
    const struct kv_version *v = find_version(s, name, &level);
    return v ? kv_value(v) : SPAN_NONE;
}

static const struct flag *compile(struct flagset *s, struct span name, struct span definition,
                                  struct arena *arena, char **why)
{
    const struct flag *flag;
    *why = arena_alloc(arena, FLAG_WHY_MAX);
    **why = 0;
    ++*s->all->counts.compiled;
    enum err e = flag_compile(name, arena_copy(arena, definition), &s->shared, arena, &flag, *why);
    if (e == ERR_OK)
        return flag;
    if (!**why)
        memcpy(*why, "the definition is too large", sizeof("the definition is too large"));
    return NULL;
}

static const struct flag *flag_of(struct flagset *s, struct entry *e)
{
    if (!e->compiled) {
        struct span definition = flagset_definition(s, e->name);
        CHECK(definition.data); /* what is deleted is told */
        e->flag = compile(s, e->name, definition, &e->arena, &e->why);
        e->compiled = true;
    }
    return e->flag;
}

bool flagset_sound(struct flagset *s, size_t i)
{
    return flag_of(s, s->entries.items[i]) != NULL;
}

/* Of one that is not kept, for this question alone. */
static const struct flag *flag_behind(struct flagset *s, struct span name, char **why)
{
    struct arena *spare = &s->all->spare;
    struct span definition = s->over ? flagset_definition(s, name) : SPAN_NONE;
    *why = NULL;
    if (!definition.data)
        return NULL;
    return compile(s, arena_copy(spare, name), definition, spare, why);
}

const struct fval *flagset_shared(const struct flagset *s)
{
    return &s->shared;
}

/* ---- sets ---- */

static void set_free(struct flagset *s)
{
    struct flagsets *f = s->all;
    for (size_t i = 0; i < s->entries.n; i++)
        entry_free(f, s->entries.items[i]);
    VEC_CLOSE(&s->entries, f->alloc);
    buf_close(&s->document);
    arena_close(&s->arena);
    mem_free(f->alloc, s, sizeof(*s));
    f->n--;
}

/* The rules that one environment shares; NULL: none. */
static const struct fval *shared_by(struct flagset *s, struct span environment)
{
    struct fval *all = ARENA_NEW(&s->arena, struct fval);
    char why[FLAG_WHY_MAX];
    const struct kv_version *v = kv_get(s->kv, flagset_shared_key(&s->all->spare, environment), 0);
    const struct fval *rules = NULL;
    if (v && fval_read(arena_copy(&s->arena, kv_value(v)), &s->arena, all, why) == ERR_OK &&
        all->type == FVAL_OBJECT)
        rules = fval_find(all, SPAN("$evaluators"));
    return rules && rules->type == FVAL_OBJECT ? rules : NULL;
}

/* Of all levels, each name from the nearest that has it. */
static void take_shared(struct flagset *s)
{
    s->shared = (struct fval){ .type = FVAL_OBJECT };
    for (size_t i = 0; i < s->n_levels; i++) {
        const struct fval *rules = shared_by(s, s->levels[i]);
        uint32_t n = s->shared.n;
        if (!rules || !n) {
            s->shared = rules ? *rules : s->shared;
            continue;
        }
        struct fval_member *both = ARENA_ARRAY(&s->arena, struct fval_member, n + rules->n);
        struct fval merged = { .type = FVAL_OBJECT, .n = n, .members = both };
        memcpy(both, s->shared.members, n * sizeof(*both));
        for (uint32_t k = 0; k < rules->n; k++)
            if (!fval_find(&s->shared, rules->members[k].name))
                both[merged.n++] = rules->members[k];
        s->shared = merged;
    }
}

/* What a level has that no nearer one does. */
static void take_flags(struct flagset *s, struct span environment)
{
    struct flagsets *f = s->all;
    struct span root = flagset_key(&f->spare, environment, SPAN_NONE);
    struct kv_range all = { .key = root,
                            .range_end = kv_prefix_end(root, &f->spare),
                            .limit = FLAGSET_FLAGS_MAX,
                            .keys_only = true };
    struct kv_range_result r;
    enum err e = kv_range(s->kv, &all, &f->spare, &r);
    CHECK(e == ERR_OK); /* the newest revision is never compacted */
    struct entry **nearer = ARENA_ARRAY(&f->spare, struct entry *, s->entries.n + 1);
    size_t n = s->entries.n, at = 0;
    if (n)
        memcpy(nearer, s->entries.items, n * sizeof(struct entry *));
    s->entries.n = 0;
    VEC_RESERVE(&s->entries, f->alloc, n + r.n);
    for (size_t i = 0; i < r.n; i++) {
        struct span name = span_from(kv_key(r.items[i]), root.len);
        if (!pb_utf8(name))
            continue; /* by another door; JSON cannot say it */
        while (at < n && span_compare(nearer[at]->name, name) < 0)
            s->entries.items[s->entries.n++] = nearer[at++];
        if (at == n || !span_equal(nearer[at]->name, name))
            s->entries.items[s->entries.n++] = entry_new(f, name, r.items[i]->mod_revision);
    }
    while (at < n)
        s->entries.items[s->entries.n++] = nearer[at++];
    s->over = s->over || r.more || s->entries.n > FLAGSET_FLAGS_MAX;
    while (s->entries.n > FLAGSET_FLAGS_MAX)
        entry_free(f, s->entries.items[--s->entries.n]);
}

static struct flagset *set_new(struct flagsets *f, const struct kv *kv, struct span environment)
{
    struct flagset *s = mem_zero(f->alloc, sizeof(*s));
    s->all = f;
    s->kv = kv;
    arena_open(&s->arena, f->alloc);
    buf_open(&s->document, f->alloc);
    s->environment = s->levels[0] = arena_copy(&s->arena, environment);
    s->n_levels = f->chain ? f->chain(kv, s->environment, &s->arena, s->levels) : 1;
    CHECK(s->n_levels > 0 && s->n_levels <= FLAGSET_LEVELS_MAX);
    take_shared(s);
    for (size_t i = 0; i < s->n_levels; i++)
        take_flags(s, s->levels[i]);
    f->n++;
    return s;
}

static struct flagset **find_set(struct flagsets *f, struct span environment)
{
    struct flagset **at = &f->first;
    while (*at && !span_equal((*at)->environment, environment))
        at = &(*at)->next;
    return at;
}

static void drop(struct flagset **at)
{
    struct flagset *s = *at;
    *at = s->next;
    set_free(s);
}

/* The last in the list goes until there is room; the first may be too large alone. */
static void make_room(struct flagsets *f)
{
    while (f->first && (f->n >= FLAGSETS_MAX || f->alloc->used > f->bytes_max)) {
        struct flagset **last = &f->first;
        while ((*last)->next)
            last = &(*last)->next;
        drop(last);
        ++*f->counts.evicted;
    }
}

struct flagset *flagsets_get(struct flagsets *f, const struct kv *kv, struct span environment)
{
    arena_reset(&f->spare);
    if (f->alloc->used > f->bytes_max || (f->n == FLAGSETS_MAX && !*find_set(f, environment)))
        make_room(f);
    struct flagset **at = find_set(f, environment), *s = *at;
    if (s)
        *at = s->next;
    else
        s = set_new(f, kv, environment);
    s->kv = kv;
    s->next = f->first;
    f->first = s;
    return s;
}

struct flagsets *flagsets_open(struct alloc *alloc, size_t bytes_max, struct flagset_counts counts,
                               flagset_chain *chain)
{
    struct flagsets *f = mem_zero(alloc, sizeof(*f));
    f->alloc = alloc;
    f->bytes_max = bytes_max;
    f->counts = counts;
    f->chain = chain;
    arena_open(&f->spare, alloc);
    f->scratch = mem_alloc(alloc, FLAG_SCRATCH_BYTES);
    return f;
}

void flagsets_forget(struct flagsets *f)
{
    while (f->first)
        drop(&f->first);
}

void flagsets_close(struct flagsets *f)
{
    flagsets_forget(f);
    CHECK(f->n == 0);
    arena_close(&f->spare);
    mem_free(f->alloc, f->scratch, FLAG_SCRATCH_BYTES);
    mem_free(f->alloc, f, sizeof(*f));
}

size_t flagsets_count(const struct flagsets *f)
{
    return f->n;
}

/* ---- changes ---- */

static void remove_at(struct flagset *s, size_t i)
{
    entry_free(s->all, s->entries.items[i]);
    s->entries.n--;
    memmove(s->entries.items + i, s->entries.items + i + 1,
            (s->entries.n - i) * sizeof(s->entries.items[0]));
}

static void insert_at(struct flagset *s, size_t i, struct entry *e)
{
    VEC_PUSH(&s->entries, s->all->alloc, e);
    memmove(s->entries.items + i + 1, s->entries.items + i,
            (s->entries.n - 1 - i) * sizeof(s->entries.items[0]));
    s->entries.items[i] = e;
}

static bool looks_through(const struct flagset *s, struct span environment)
{
    bool does = false;
    for (size_t i = 0; i < s->n_levels; i++)
        does = does || span_equal(s->levels[i], environment);
    return does;
}

/* As it is now, wherever it stands. False: the set has not all of its flags, so it is to be made
 * anew when one goes: another takes its place. */
static bool flag_changed(struct flagset *s, struct span name)
{
    size_t i, level;
    bool here = place_of(s, name, &i);
    const struct kv_version *now = find_version(s, name, &level);
    s->documented = false;
    if (!now && s->over)
        return false;
    if (!now && here) {
        remove_at(s, i);
    } else if (here) {
        entry_clear(s->entries.items[i]);
        s->entries.items[i]->revision = now->mod_revision;
    } else if (now && (s->over || s->entries.n == FLAGSET_FLAGS_MAX)) {
        s->over = true;
    } else if (now) {
        insert_at(s, i, entry_new(s->all, name, now->mod_revision));
    }
    return true;
}

/* Of an environment: one flag, or, without a name, all that its sets were made of. */
static void environment_changed(struct flagsets *f, struct span environment,
                                const struct span *name)
{
    for (struct flagset **at = &f->first; *at;) {
        if (looks_through(*at, environment) && !(name && flag_changed(*at, *name)))
            drop(at);
        else
            at = &(*at)->next;
    }
}

void flagsets_changed(struct flagsets *f, const struct kv_change *changes, size_t n)
{
    struct span shared = SPAN(FLAGSET_SHARED), records = SPAN(FLAGSET_ENVIRONMENTS);
    if (!f->first)
        return;
    for (size_t i = 0; i < n; i++) {
        struct span key = kv_key(changes[i].now), environment, name;
        if (flagset_key_split(key, &environment, &name))
            environment_changed(f, environment, &name);
        else if (span_starts(key, shared))
            environment_changed(f, span_from(key, shared.len), NULL);
        else if (span_starts(key, records))
            environment_changed(f, span_from(key, records.len), NULL);
    }
    arena_reset(&f->spare);
}

/* ---- questions ---- */

size_t flagset_levels(const struct flagset *s)
{
    return s->n_levels;
}

struct span flagset_level(const struct flagset *s, size_t i)
{
    CHECK(i < s->n_levels);
    return s->levels[i];
}

size_t flagset_count(const struct flagset *s)
{
    return s->entries.n;
}

bool flagset_over(const struct flagset *s)
{
    return s->over;
}

struct span flagset_name(const struct flagset *s, size_t i)
{
    return s->entries.items[i]->name;
}

int64_t flagset_revision(const struct flagset *s, size_t i)
{
    return s->entries.items[i]->revision;
}

static const struct flag *find(void *user, struct span name)
{
    struct flagset *s = user;
    char *why;
    size_t i;
    return place_of(s, name, &i) ? flag_of(s, s->entries.items[i]) : flag_behind(s, name, &why);
}

static void answer(struct flagset *s, const struct flag *flag, const char *why,
                   struct flag_context *c, struct flag_result *out)
{
    ++*s->all->counts.evaluated;
    c->environment = s->environment;
    c->find = find;
    c->user = s;
    c->scratch = s->all->scratch;
    if (flag)
        flag_evaluate(flag, c, out);
    else
        *out = (struct flag_result){ .reason = FLAG_FAILED, .error = FLAG_PARSE, .detail = why };
}

void flagset_evaluate(struct flagset *s, size_t i, struct flag_context *c, struct flag_result *out)
{
    struct entry *e = s->entries.items[i];
    CHECK(i < s->entries.n);
    const struct flag *flag = flag_of(s, e);
    answer(s, flag, e->why, c, out);
}

bool flagset_evaluate_named(struct flagset *s, struct span name, struct flag_context *c,
                            struct flag_result *out)
{
    size_t i;
    char *why;
    if (place_of(s, name, &i)) {
        flagset_evaluate(s, i, c, out);
        return true;
    }
    const struct flag *flag = flag_behind(s, name, &why);
    if (flag || why)
        answer(s, flag, why, c, out);
    return flag || why;
}
