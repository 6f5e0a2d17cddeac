/* Runs the stories: text files of commands and of the trace that each must give.
 *
 *   story [--rewrite] [file...]       every .txt in tests/story when none is named
 *
 * A line that begins with "> " is a command; the lines under it, up to the next command, comment
 * (#) or empty line, are its trace. --rewrite writes the traces anew; the diff is then reviewed. */
#include "story.h"
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- words ---- */

struct span words_next(struct words *w)
{
    if (w->n == 0)
        return SPAN_NONE;
    w->n--;
    return *w->items++;
}

static void remove_word(struct words *w, size_t i)
{
    memmove(w->items + i, w->items + i + 1, (w->n - i - 1) * sizeof(*w->items));
    w->n--;
}

bool words_flag(struct words *w, const char *name)
{
    for (size_t i = 0; i < w->n; i++) {
        if (span_is(w->items[i], name)) {
            remove_word(w, i);
            return true;
        }
    }
    return false;
}

bool words_option(struct words *w, const char *name, struct span *out)
{
    struct span prefix = span_text(name);
    for (size_t i = 0; i < w->n; i++) {
        struct span x = w->items[i];
        if (x.len > prefix.len && span_starts(x, prefix) && x.data[prefix.len] == '=') {
            *out = span_from(x, prefix.len + 1);
            remove_word(w, i);
            return true;
        }
    }
    return false;
}

int64_t number_of(struct span s)
{
    char text[32] = { 0 };
    memcpy(text, s.data, s.len < 31 ? s.len : 31);
    return strtoll(text, NULL, 10);
}

int64_t words_number(struct words *w, const char *name, int64_t otherwise)
{
    struct span value;
    return words_option(w, name, &value) ? number_of(value) : otherwise;
}

void story_put_bytes(struct buf *out, struct span s)
{
    if (s.len == 0)
        buf_text(out, "\"\"");
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] > ' ' && s.data[i] < 0x7f && s.data[i] != '\\')
            buf_u8(out, s.data[i]);
        else
            buf_format(out, "\\x%02x", (unsigned)s.data[i]);
    }
}

struct span story_bytes(struct story *s, struct span word)
{
    if (span_is(word, "\"\""))
        return SPAN_NONE;
    uint8_t *to = arena_alloc(&s->arena, word.len);
    size_t n = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] == '\\' && i + 3 < word.len) {
            char digits[3] = { (char)word.data[i + 2], (char)word.data[i + 3], 0 };
            to[n++] = (uint8_t)strtoul(digits, NULL, 16);
            i += 3;
        } else {
            to[n++] = word.data[i];
        }
    }
    return span_of(to, n);
}

/* ---- one command ---- */

static const struct story_command *find(const struct story_command *c, struct span name)
{
    while (c->name && !span_is(name, c->name))
        c++;
    return c->name ? c : NULL;
}

static void run_command(struct story *s, struct span line)
{
    struct span items[STORY_WORDS_MAX];
    struct words w = { items, 0 };
    for (size_t i = 0, start = 0; i <= line.len; i++) {
        if (i < line.len && line.data[i] != ' ')
            continue;
        if (i > start && w.n < STORY_WORDS_MAX)
            items[w.n++] = span_of(line.data + start, i - start);
        start = i + 1;
    }
    struct span name = w.n ? w.items[0] : SPAN("nothing");
    const struct story_command *c = find(raft_commands, name);
    c = c ? c : find(machine_commands, name);
    if (!c) {
        buf_text(s->out, "this command is not known\n");
        return;
    }
    c->run(s, &w);
    if (w.n)
        buf_format(s->out, "not understood: %.*s\n", (int)w.items[0].len,
                   (const char *)w.items[0].data);
    arena_reset(&s->arena);
}

static void story_open(struct story *s, struct buf *out)
{
    *s = (struct story){ .out = out };
    alloc_heap(&s->heap);
    arena_open(&s->arena, &s->heap);
    machine_open(&s->machine, &s->heap);
    s->hub = watch_open(&s->heap);
    map_open(&s->watchers, &s->heap);
}

static void story_close(struct story *s)
{
    if (s->save)
        machine_save_close(s->save);
    machine_close(&s->machine);
    watch_close(s->hub);
    map_close(&s->watchers);
    raft_close(s->raft);
    arena_close(&s->arena);
    if (s->heap.used)
        buf_format(s->out, "%zu bytes were not given back\n", s->heap.used);
}

/* ---- one file ---- */

static bool next_line(struct span *text, struct span *line)
{
    if (text->len == 0)
        return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t n = end ? (size_t)(end - text->data) : text->len;
    *line = span_of(text->data, n);
    *text = span_from(*text, end ? n + 1 : n);
    return true;
}

static void tell(struct span text, struct buf *out)
{
    struct story s;
    struct span line;
    bool trace = false; /* the old trace of a command: left out */
    story_open(&s, out);
    while (next_line(&text, &line)) {
        bool command = span_starts(line, SPAN("> "));
        trace = trace && !command && line.len && line.data[0] != '#';
        if (!trace) {
            buf_span(out, line);
            buf_u8(out, '\n');
        }
        if (command)
            run_command(&s, span_from(line, 2));
        trace = trace || command;
    }
    story_close(&s);
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    uint8_t block[4096];
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        buf_put(out, block, n);
    return fclose(f) == 0;
}

static bool write_file(const char *path, struct span s)
{
    FILE *f = fopen(path, "wb");
    return f && fwrite(s.data, 1, s.len, f) == s.len && fclose(f) == 0;
}

/* The first place where they part, with the command that stands above it. */
static void print_difference(const char *path, struct span want, struct span got)
{
    enum { LINES = 6 };
    struct span a = SPAN_NONE, b = SPAN_NONE, command = SPAN_NONE;
    bool more_a = true, more_b = true;
    int number = 0;
    while (more_a && more_b && span_equal(a, b)) {
        if (span_starts(a, SPAN("> ")))
            command = a;
        more_a = next_line(&want, &a);
        more_b = next_line(&got, &b);
        number++;
    }
    printf("%s:%d: another trace under\n  %.*s\n", path, number, (int)command.len,
           (const char *)command.data);
    for (int i = 0; i < LINES && more_a; i++, more_a = next_line(&want, &a))
        printf("  - %.*s\n", (int)a.len, (const char *)a.data);
    for (int i = 0; i < LINES && more_b; i++, more_b = next_line(&got, &b))
        printf("  + %.*s\n", (int)b.len, (const char *)b.data);
}

static bool run_file(const char *path, bool rewrite)
{
    struct alloc heap;
    struct buf text, out;
    alloc_heap(&heap);
    buf_open(&text, &heap);
    buf_open(&out, &heap);
    bool good = read_file(path, &text);
    if (!good) {
        printf("%s: %s\n", path, strerror(errno));
    } else {
        tell(buf_all(&text), &out);
        bool same = span_equal(buf_all(&text), buf_all(&out));
        if (!same && rewrite)
            good = write_file(path, buf_all(&out)) && printf("%s: rewritten\n", path) > 0;
        else if (!same)
            print_difference(path, buf_all(&text), buf_all(&out));
        good = good && (same || rewrite);
    }
    buf_close(&text);
    buf_close(&out);
    return good;
}

int main(int argc, char **argv)
{
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    int first = 1 + rewrite, passed = 0, failed = 0;
    glob_t all = { 0 };
    if (first == argc)
        glob("tests/story/*.txt", 0, NULL, &all);
    size_t n = first == argc ? all.gl_pathc : (size_t)(argc - first);
    char **paths = first == argc ? all.gl_pathv : argv + first;
    for (size_t i = 0; i < n; i++) {
        bool good = run_file(paths[i], rewrite);
        passed += good;
        failed += !good;
    }
    if (first == argc)
        globfree(&all);
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
