#include "base/check.h"
#include "base/test.h"
#include "core/flag/flag.h"
#include <dirent.h>
#include <stdlib.h>

struct bench {
    struct alloc heap;
    struct arena arena;
    uint8_t *scratch;
    char why[FLAG_WHY_MAX];
};

static void open_all(struct bench *t)
{
    alloc_heap(&t->heap);
    arena_open(&t->arena, &t->heap);
    t->scratch = mem_alloc(&t->heap, FLAG_SCRATCH_BYTES);
}

static bool close_all(struct bench *t)
{
    arena_close(&t->arena);
    mem_free(&t->heap, t->scratch, FLAG_SCRATCH_BYTES);
    return t->heap.used == 0;
}

static struct fval read_json(struct bench *t, struct span text)
{
    struct fval v;
    CHECK(fval_read(text, &t->arena, &v, t->why) == ERR_OK);
    return v;
}

/* ---- rules ---- */

static bool rule_gives(struct bench *t, const struct fval *test)
{
    static const struct fval nothing = { .type = FVAL_NULL };
    const struct fval *rule = fval_find(test, SPAN("rule")), *data = fval_find(test, SPAN("data"));
    const struct fval *result = fval_find(test, SPAN("result"));
    const struct fval *error = fval_find(test, SPAN("error"));
    const struct rule *compiled;
    struct fval got;
    if (!rule || (!result && !error) ||
        rule_compile(rule, NULL, &t->arena, &compiled, t->why) != ERR_OK)
        return false;
    bool ok = rule_run(compiled, data ? data : &nothing, t->scratch, &got);
    return ok == (result != NULL) && fval_same(result ? result : error, &got);
}

static void show(struct bench *t, const struct fval *test)
{
    struct buf b;
    buf_open(&b, &t->heap);
    fval_write(test, &b);
    printf("  fails: %.*s\n", (int)b.len, (const char *)b.data);
    buf_close(&b);
}

static struct span read_file(struct bench *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f);
    char *text = arena_alloc(&t->arena, FLAG_BYTES_MAX);
    size_t n = fread(text, 1, FLAG_BYTES_MAX, f);
    (void)fclose(f);
    return span_of(text, n);
}

/* The cases of one folder of json-logic/compat-tables that hold, and how many there are. */
static void run_folder(struct bench *t, const char *folder, int *held, int *all)
{
    DIR *d = opendir(folder);
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[1024];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            run_folder(t, path, held, all);
        if (!strstr(e->d_name, ".json"))
            continue;
        struct fval cases = read_json(t, read_file(t, path));
        for (uint32_t i = 0; i < cases.n; i++) {
            if (cases.items[i].type != FVAL_OBJECT && cases.items[i].type != FVAL_LIST)
                continue;
            bool ok = cases.items[i].type == FVAL_OBJECT && rule_gives(t, &cases.items[i]);
            *held += ok;
            (*all)++;
            if (!ok && getenv("FLAG_SHOW"))
                printf("%s", e->d_name), show(t, &cases.items[i]);
        }
    }
    (void)closedir(d);
}

/* FLAG_SUITE: the folder suites of json-logic/compat-tables. */
TEST(flag_rules_of_the_public_suite)
{
    struct bench t;
    int held = 0, all = 0;
    const char *suite = getenv("FLAG_SUITE");
    if (!suite)
        return;
    open_all(&t);
    run_folder(&t, suite, &held, &all);
    printf("json-logic: %d of %d\n", held, all);
    EXPECT(all > 1000 && held >= all - 5);
    EXPECT(close_all(&t));
}
