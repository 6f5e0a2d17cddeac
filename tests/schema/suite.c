/* Runs the JSON Schema Test Suite, in the layout of its repository: suite DIR [DRAFT...].
 *
 * DIR/tests/DRAFT has files of groups of cases, DIR/remotes what schemas refer to by
 * http://localhost:1234/. Prints for each draft how many of the required and of the optional cases
 * passed, with VERBOSE in the environment also which did not; ends with 1 unless all required ones
 * did. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/check.h"
#include "core/schema/schema.h"

enum { FILE_BYTES_MAX = 4 << 20, PATH_BYTES_MAX = 1024 };

static const struct {
    const char *folder;
    enum schema_draft draft;
} drafts[] = { { "draft2020-12", DRAFT_2020_12 },
               { "draft7", DRAFT_07 },
               { "draft2019-09", DRAFT_2019_09 },
               { "draft6", DRAFT_06 },
               { "draft4", DRAFT_04 } };

struct run {
    const char *suite;
    struct alloc alloc;
    struct arena files; /* for the whole run */
    struct schema_options options;
    bool verbose;
    unsigned passed, failed;
};

static bool read_file(struct run *r, const char *path, struct span *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    uint8_t *data = arena_alloc(&r->files, FILE_BYTES_MAX / 8);
    size_t n = fread(data, 1, FILE_BYTES_MAX / 8, f);
    CHECK(n < FILE_BYTES_MAX / 8);
    fclose(f);
    *out = span_of(data, n);
    return true;
}

static bool remote(void *context, struct span uri, struct span *text)
{
    struct run *r = context;
    struct span base = SPAN("http://localhost:1234/");
    char path[PATH_BYTES_MAX];
    if (!span_starts(uri, base))
        return false;
    uri = span_from(uri, base.len);
    snprintf(path, sizeof(path), "%s/remotes/%.*s", r->suite, (int)uri.len, (const char *)uri.data);
    return read_file(r, path, text);
}

/* The text that a value was read from: the suite's files are read as one document each. */
static void write_json(const struct jdoc *v, struct buf *out);

static void write_text(struct span s, struct buf *out)
{
    buf_u8(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] == '"' || s.data[i] == '\\')
            buf_format(out, "\\u%04x", s.data[i]);
        else
            buf_u8(out, s.data[i]);
    }
    buf_u8(out, '"');
}

static void write_children(const struct jdoc *v, struct buf *out)
{
    for (uint32_t i = 0; i < v->n; i++) {
        if (i)
            buf_u8(out, ',');
        if (v->type == JDOC_OBJECT) {
            write_text(v->items[i].name, out);
            buf_u8(out, ':');
        }
        write_json(&v->items[i], out);
    }
}

static void write_json(const struct jdoc *v, struct buf *out)
{
    static const char *const words[] = { "null", "true", "false" };
    switch ((enum jdoc_type)v->type) {
    case JDOC_NULL:
    case JDOC_BOOL:
        buf_text(out, words[v->type == JDOC_NULL ? 0 : v->truth ? 1 : 2]);
        break;
    case JDOC_NUMBER:
        buf_span(out, v->text);
        break;
    case JDOC_STRING:
        write_text(v->text, out);
        break;
    case JDOC_ARRAY:
    case JDOC_OBJECT:
        buf_u8(out, v->type == JDOC_ARRAY ? '[' : '{');
        write_children(v, out);
        buf_u8(out, v->type == JDOC_ARRAY ? ']' : '}');
        break;
    }
}

static const struct jdoc *member(const struct jdoc *v, const char *name)
{
    const struct jdoc *m = jdoc_member(v, span_text(name));
    CHECK(m);
    return m;
}

static void run_case(struct run *r, const char *file, const struct jdoc *group,
                     const struct schema *s, const struct jdoc *test, struct arena *arena)
{
    struct schema_report report = { .arena = arena };
    enum err e = ERR_SCHEMA_INVALID;
    struct buf b;
    struct jdoc *value;
    struct jdoc_fault fault;
    buf_open(&b, &r->alloc);
    write_json(member(test, "data"), &b);
    CHECK(jdoc_read(buf_all(&b), arena, &value, &fault) == ERR_OK);
    if (s)
        e = schema_validate(s, value, &report);
    bool good = e == (member(test, "valid")->truth ? ERR_OK : ERR_SCHEMA_VIOLATED);
    r->passed += good;
    r->failed += !good;
    if (!good && r->verbose) {
        struct span about = member(group, "description")->text;
        struct span what = member(test, "description")->text;
        printf("%s: %.*s: %.*s: %s\n", file, (int)about.len, (const char *)about.data,
               (int)what.len, (const char *)what.data, err_code(e));
    }
    buf_close(&b);
}

static void run_group(struct run *r, const char *file, const struct jdoc *group)
{
    struct arena arena;
    struct buf text;
    struct schema *s;
    arena_open(&arena, &r->alloc);
    buf_open(&text, &r->alloc);
    struct schema_report report = { .arena = &arena };
    write_json(member(group, "schema"), &text);
    enum err e = schema_compile(buf_all(&text), &r->options, &r->alloc, &s, &report);
    for (size_t i = 0; e != ERR_OK && r->verbose && i < report.n; i++)
        printf("%s: %.*s: %.*s\n", file, (int)report.items[i].pointer.len,
               (const char *)report.items[i].pointer.data, (int)report.items[i].message.len,
               (const char *)report.items[i].message.data);
    const struct jdoc *tests = member(group, "tests");
    for (uint32_t i = 0; i < tests->n; i++)
        run_case(r, file, group, s, &tests->items[i], &arena);
    schema_free(s);
    buf_close(&text);
    arena_close(&arena);
}

static void run_file(struct run *r, const char *path)
{
    struct span text;
    struct arena arena;
    struct jdoc *root;
    struct jdoc_fault fault;
    arena_open(&arena, &r->alloc);
    CHECK(read_file(r, path, &text));
    CHECK(jdoc_read(text, &arena, &root, &fault) == ERR_OK && root->type == JDOC_ARRAY);
    for (uint32_t i = 0; i < root->n; i++)
        run_group(r, path + strlen(r->suite) + 1, &root->items[i]);
    arena_close(&arena);
}

/* False: there is no such folder. */
static bool run_folder(struct run *r, const char *folder)
{
    struct dirent **names;
    char path[2 * PATH_BYTES_MAX];
    int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(names[i]->d_name);
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (len > 5 && strcmp(names[i]->d_name + len - 5, ".json") == 0)
            run_file(r, path);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return n >= 0;
}

static bool wanted(const char *folder, int n, char **names)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], folder) == 0)
            return true;
    return n == 0;
}

int main(int argc, char **argv)
{
    struct run r = { .verbose = getenv("VERBOSE") != NULL };
    unsigned required_failed = 0, required = 0;
    char path[PATH_BYTES_MAX];
    if (argc < 2) {
        fprintf(stderr, "usage: schema_suite DIR [DRAFT...]\n");
        return 2;
    }
    r.suite = argv[1];
    alloc_heap(&r.alloc);
    arena_open(&r.files, &r.alloc);
    for (size_t i = 0; i < sizeof(drafts) / sizeof(drafts[0]); i++) {
        unsigned counts[3][2];
        bool there = false;
        for (int kind = 0; kind < 3 && wanted(drafts[i].folder, argc - 2, argv + 2); kind++) {
            static const char *const below[] = { "", "/optional", "/optional/format" };
            r.options = (struct schema_options){
                .draft = drafts[i].draft, .formats = kind == 2, .remote = remote, .context = &r
            };
            r.passed = r.failed = 0;
            snprintf(path, sizeof(path), "%s/tests/%s%s", r.suite, drafts[i].folder, below[kind]);
            there = run_folder(&r, path) || there;
            counts[kind][0] = r.passed;
            counts[kind][1] = r.passed + r.failed;
        }
        if (!there)
            continue;
        required += counts[0][0];
        required_failed += counts[0][1] - counts[0][0];
        printf("%-13s required %u of %u, optional %u of %u, formats %u of %u\n", drafts[i].folder,
               counts[0][0], counts[0][1], counts[1][0], counts[1][1], counts[2][0], counts[2][1]);
    }
    arena_close(&r.files);
    CHECK(r.alloc.used == 0);
    printf("%u passed, %u failed\n", required, required_failed);
    return required == 0 || required_failed != 0;
}
