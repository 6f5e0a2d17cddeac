/* Text against text, line by line: Myers, An O(ND) Difference Algorithm, 1986. */
#include "base/check.h"
#include "base/hash.h"
#include "core/diff/diff.h"

struct line {
    struct span text; /* with its newline */
    uint64_t hash;
};

struct lines {
    struct line *items;
    size_t n;
};

enum mark { KEPT, REMOVED, ADDED };

/* What a line of the answer is; in order. */
struct step {
    uint8_t mark;
    size_t from, to; /* places of lines: of what is KEPT both count */
};

struct script {
    struct step *items;
    size_t n;
};

static struct lines cut(struct span text, struct arena *arena)
{
    struct lines out = { .n = 0 };
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    out.items = ARENA_ARRAY(arena, struct line, count);
    while (text.len) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) + 1 : text.len;
        struct span s = span_of(text.data, len);
        out.items[out.n++] = (struct line){ s, hash_bytes(s, 0) };
        text = span_from(text, len);
    }
    CHECK(out.n <= count);
    return out;
}

static bool equal(const struct line *a, const struct line *b)
{
    return a->hash == b->hash && span_equal(a->text, b->text);
}

static void add(struct script *s, enum mark mark, size_t from, size_t to)
{
    s->items[s->n++] = (struct step){ (uint8_t)mark, from, to };
}

static void replace_all(struct script *s, struct lines a, struct lines b, size_t skip)
{
    for (size_t i = 0; i < a.n; i++)
        add(s, REMOVED, skip + i, skip);
    for (size_t i = 0; i < b.n; i++)
        add(s, ADDED, skip + a.n, skip + i);
}

/* The farthest place on diagonal k that an edit leads to from what d - 1 edits reached (of diagonal
 * j at last[j]); down: by a line added. False: none does. */
static bool reach(const int32_t *last, int d, int k, int n, int m, int *x, bool *down)
{
    int right = k > -d && last[k - 1] >= 0 && last[k - 1] < n ? last[k - 1] + 1 : -1;
    int below = k < d && last[k + 1] >= 0 && last[k + 1] - k <= m ? last[k + 1] : -1;
    *down = below >= right;
    *x = *down ? below : right;
    return *x >= 0;
}

/* The edits from the end back to the start, written from behind. */
static void walk_back(struct script *s, const int32_t *const *reached, int edits, size_t n_a,
                      size_t n_b, size_t skip)
{
    struct step *end = s->items + s->n + n_a + n_b, *at = end;
    int x = (int)n_a, y = (int)n_b, before = 0;
    for (int d = edits; d >= 0; d--) {
        bool down = false;
        before = 0;
        if (d)
            CHECK(reach(reached[d - 1] + d, d, x - y, (int)n_a, (int)n_b, &before, &down));
        for (; x > before; x--, y--)
            *--at = (struct step){ KEPT, skip + (size_t)x - 1, skip + (size_t)y - 1 };
        if (!d)
            break;
        x -= !down;
        y -= down;
        *--at = (struct step){ down ? ADDED : REMOVED, skip + (size_t)x, skip + (size_t)y };
    }
    CHECK(x == 0 && y == 0);
    size_t count = (size_t)(end - at);
    memmove(s->items + s->n, at, count * sizeof(*at));
    s->n += count;
}

/* Rounds of one more edit each: how far along every diagonal that gets. Both texts stand behind
 * skip lines that are equal. False: more than DIFF_EDITS_MAX edits. */
static bool shortest(struct script *s, struct lines a, struct lines b, size_t skip,
                     struct arena *arena)
{
    const int32_t *reached[DIFF_EDITS_MAX + 1];
    int n = (int)a.n, m = (int)b.n;
    for (int d = 0; d <= DIFF_EDITS_MAX; d++) {
        /* a place more at both ends: what is beside the last diagonals is never reached */
        int32_t *now = ARENA_ARRAY(arena, int32_t, 2 * (size_t)d + 3);
        reached[d] = now;
        for (int k = -d - 1; k <= d + 1; k++)
            now[k + d + 1] = -1;
        for (int k = -d; k <= d; k += 2) {
            bool down;
            int x = 0;
            if (d && !reach(reached[d - 1] + d, d, k, n, m, &x, &down))
                continue;
            while (x < n && x - k < m && equal(&a.items[x], &b.items[x - k]))
                x++;
            now[k + d + 1] = x;
            if (x == n && x - k == m) {
                walk_back(s, reached, d, a.n, b.n, skip);
                return true;
            }
        }
    }
    return false;
}

static struct script compare(struct lines a, struct lines b, struct arena *arena)
{
    struct script s = { .items = ARENA_ARRAY(arena, struct step, 2 * (a.n + b.n) + 2) };
    size_t head = 0, tail = 0, least = a.n < b.n ? a.n : b.n;
    while (head < least && equal(&a.items[head], &b.items[head]))
        head++;
    while (tail < least - head && equal(&a.items[a.n - 1 - tail], &b.items[b.n - 1 - tail]))
        tail++;
    struct lines x = { a.items + head, a.n - head - tail };
    struct lines y = { b.items + head, b.n - head - tail };
    for (size_t i = 0; i < head; i++)
        add(&s, KEPT, i, i);
    if (x.n + y.n > DIFF_LINES_MAX || !shortest(&s, x, y, head, arena))
        replace_all(&s, x, y, head);
    for (size_t i = 0; i < tail; i++)
        add(&s, KEPT, head + x.n + i, head + y.n + i);
    return s;
}

static void write_line(const struct line *l, char sign, struct buf *out)
{
    buf_u8(out, (uint8_t)sign);
    buf_span(out, l->text);
    if (l->text.data[l->text.len - 1] != '\n')
        buf_text(out, "\n\\ No newline at end of file\n");
}

static void write_group(const struct step *steps, size_t n, struct lines a, struct lines b,
                        struct buf *out)
{
    size_t from = 0, to = 0;
    for (size_t i = 0; i < n; i++) {
        from += steps[i].mark != ADDED;
        to += steps[i].mark != REMOVED;
    }
    /* An empty side is told by the line before it, as POSIX has it. */
    buf_format(out, "@@ -%zu,%zu +%zu,%zu @@\n", steps[0].from + (from > 0), from,
               steps[0].to + (to > 0), to);
    for (size_t i = 0; i < n; i++) {
        if (steps[i].mark == ADDED)
            write_line(&b.items[steps[i].to], '+', out);
        else
            write_line(&a.items[steps[i].from], steps[i].mark == KEPT ? ' ' : '-', out);
    }
}

void diff_text(struct span from, struct span to, struct arena *arena, struct buf *out)
{
    struct lines a = cut(from, arena), b = cut(to, arena);
    struct script s = compare(a, b, arena);
    for (size_t i = 0; i < s.n;) {
        if (s.items[i].mark == KEPT) {
            i++;
            continue;
        }
        size_t start = i > DIFF_CONTEXT ? i - DIFF_CONTEXT : 0, end = i, quiet = 0;
        while (end < s.n && quiet <= 2 * DIFF_CONTEXT) {
            quiet = s.items[end].mark == KEPT ? quiet + 1 : 0;
            end++;
        }
        if (quiet > DIFF_CONTEXT)
            end -= quiet - DIFF_CONTEXT;
        write_group(s.items + start, end - start, a, b, out);
        i = end;
    }
}
