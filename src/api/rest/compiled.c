/* Compiled schemas, kept by name and revision; the one that nobody has asked for longest makes
 * room. */
#include "api/rest/rest_int.h"
#include "base/check.h"

struct kept {
    struct span key; /* of the store */
    int64_t mod_revision;
    uint64_t asked; /* when it was last, as clock counts */
    struct schema *schema; /* NULL: what stands there cannot be used */
};

struct rest_schemas {
    struct alloc *alloc;
    struct kept items[REST_COMPILED_MAX];
    size_t n, bytes;
    uint64_t clock, compiled, evicted;
};

/* "format" asserts: who writes one into the schema of a config means it. */
static const struct schema_options options = { .draft = DRAFT_2020_12, .formats = true };

struct rest_schemas *rest_schemas_open(struct alloc *alloc)
{
    struct rest_schemas *s = mem_zero(alloc, sizeof(*s));
    s->alloc = alloc;
    return s;
}

static size_t size_of(const struct kept *k)
{
    return k->key.len + (k->schema ? schema_bytes(k->schema) : 0);
}

static void forget(struct rest_schemas *s, size_t i)
{
    struct kept *k = &s->items[i];
    CHECK(i < s->n && s->bytes >= size_of(k));
    s->bytes -= size_of(k);
    schema_free(k->schema);
    mem_free(s->alloc, (void *)(uintptr_t)k->key.data, k->key.len);
    *k = s->items[--s->n];
}

void rest_schemas_close(struct rest_schemas *s)
{
    if (!s)
        return;
    while (s->n)
        forget(s, s->n - 1);
    CHECK(s->bytes == 0);
    mem_free(s->alloc, s, sizeof(*s));
}

void rest_schemas_stats(const struct rest_schemas *s, struct rest_schemas_stats *out)
{
    *out = (struct rest_schemas_stats){ s->n, s->bytes, s->compiled, s->evicted };
}

static void make_room(struct rest_schemas *s)
{
    while (s->n == REST_COMPILED_MAX || (s->n && s->bytes > REST_COMPILED_BYTES_MAX)) {
        size_t oldest = 0;
        for (size_t i = 1; i < s->n; i++)
            if (s->items[i].asked < s->items[oldest].asked)
                oldest = i;
        forget(s, oldest);
        s->evicted++;
    }
}

enum err schema_text_check(struct rest_schemas *s, struct span text, struct schema_report *report)
{
    struct schema *schema;
    enum err e = schema_compile(text, &options, s->alloc, &schema, report);
    schema_free(schema);
    s->compiled++;
    return e;
}

struct schema *schema_make(struct rest_schemas *s, struct span text)
{
    struct arena arena;
    struct schema *schema;
    arena_open(&arena, s->alloc);
    struct schema_report *report = ARENA_NEW(&arena, struct schema_report);
    report->arena = &arena;
    enum err e = schema_compile(text, &options, s->alloc, &schema, report);
    CHECK((e == ERR_OK) == (schema != NULL));
    arena_close(&arena);
    s->compiled++;
    return schema;
}

const struct schema *compiled_get(struct rest_schemas *s, const struct kv_version *v)
{
    struct span key = kv_key(v);
    size_t i = 0;
    while (i < s->n && !span_equal(s->items[i].key, key))
        i++;
    if (i < s->n && s->items[i].mod_revision != v->mod_revision) {
        forget(s, i);
        i = s->n;
    }
    if (i == s->n) {
        make_room(s);
        struct schema *schema = schema_make(s, kv_value(v));
        uint8_t *copy = mem_alloc(s->alloc, key.len);
        memcpy(copy, key.data, key.len);
        i = s->n++;
        s->items[i] = (struct kept){ .key = span_of(copy, key.len),
                                     .mod_revision = v->mod_revision,
                                     .schema = schema };
        s->bytes += size_of(&s->items[i]);
    }
    s->items[i].asked = ++s->clock;
    return s->items[i].schema;
}
