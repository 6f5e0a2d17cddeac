/* Looking into the audit log, on the thread that writes it: newest lines first, so many bytes at
 * most. What was told before the question is on disk by then. */
#include <stdio.h>
#include "base/check.h"
#include "io/file/file.h"
#include "node/audit_int.h"
#include "node/call_int.h"
#include "wire/jdoc/jdoc.h"

enum { BLOCK_BYTES = 256 << 10 };

/* All of it the worker's, from audit_find on until it is done; the call's arena holds ask. */
struct audit_search {
    struct job job;
    struct audit_search *next;
    struct call *call;
    struct node *node;
    const struct audit_ask *ask;
    const char *path;
    int files;
    struct alloc heap;
    struct arena arena;
    struct buf lines, block, tail;
    uint64_t looked;
    int64_t found;
    bool over, more;
    char seen[32], told[32]; /* times of the last line that was looked at, and that matched */
    const char *last;        /* all lines from this time on have been looked at */
};

/* ---- one line ---- */

static struct span text_in(const struct jdoc *o, const char *name)
{
    const struct jdoc *v = jdoc_member(o, span_text(name));
    return jdoc_is(v, JDOC_STRING) ? v->text : SPAN_NONE;
}

static bool any_starts(const struct jdoc *list, struct span prefix)
{
    bool any = false;
    for (uint32_t i = 0; jdoc_is(list, JDOC_ARRAY) && i < list->n && !any; i++)
        any = list->items[i].type == JDOC_STRING && span_starts(list->items[i].text, prefix);
    return any;
}

static bool matches(const struct audit_ask *q, const struct jdoc *line)
{
    if (q->has_user && !span_equal(text_in(line, "user"), q->user))
        return false;
    return !q->prefix.len || span_starts(text_in(line, "key"), q->prefix) ||
           any_starts(jdoc_member(line, SPAN("put")), q->prefix) ||
           any_starts(jdoc_member(line, SPAN("deleted")), q->prefix);
}

/* NULL: it was cut by a crash. */
static const struct jdoc *read_line(struct audit_search *s, struct span line)
{
    struct jdoc *v;
    struct jdoc_fault fault;
    arena_reset(&s->arena);
    return jdoc_read(line, &s->arena, &v, &fault) == ERR_OK && v->type == JDOC_OBJECT ? v : NULL;
}

static void keep_time(char out[32], struct span time)
{
    snprintf(out, 32, "%.*s", (int)time.len, (const char *)time.data);
}

/* There is more behind this time: what has the same one has been looked at. */
static void stop_at(struct audit_search *s, const char *time)
{
    s->over = s->more = true;
    s->last = time;
}

/* It ends between two times, so that whoever goes on from there misses nothing. */
static void look_at(struct audit_search *s, struct span line)
{
    const struct audit_ask *q = s->ask;
    const struct jdoc *v = read_line(s, line);
    struct span time = v ? text_in(v, "time") : SPAN_NONE;
    if (!time.len || (q->until.len && span_compare(time, q->until) >= 0))
        return;
    if (q->since.len && span_compare(time, q->since) < 0) {
        s->over = true;
        return;
    }
    if (s->looked > AUDIT_LOOK_BYTES_MAX && !span_is(time, s->seen)) {
        stop_at(s, s->seen);
        return;
    }
    keep_time(s->seen, time);
    if (!matches(q, v))
        return;
    if (s->found >= q->limit && !span_is(time, s->told)) {
        stop_at(s, s->told);
        return;
    }
    keep_time(s->told, time);
    buf_span(&s->lines, line);
    buf_u8(&s->lines, '\n');
    s->found++;
}

/* ---- files, from their ends ---- */

/* The lines of a block and what was cut off behind it, last first; what begins before it is kept
 * for the block before. */
static void look_through(struct audit_search *s, bool first)
{
    struct span all = buf_all(&s->block);
    while (all.len && !s->over) {
        if (all.data[all.len - 1] == '\n')
            all.len--;
        const uint8_t *before = all.len ? memrchr(all.data, '\n', all.len) : NULL;
        size_t start = before ? (size_t)(before - all.data) + 1 : 0;
        if (!before && !first)
            break;
        if (all.len > start)
            look_at(s, span_from(all, start));
        all.len = start;
    }
    buf_reset(&s->tail);
    buf_span(&s->tail, all);
}

/* Lines are in order of time: where those begin that are not asked for, or not far before. */
static enum err skip_newer(struct audit_search *s, struct file *f, uint64_t *end)
{
    uint64_t low = 0;
    while (s->ask->until.len && *end - low > 2 * BLOCK_BYTES) {
        uint64_t middle = low + (*end - low) / 2;
        buf_reset(&s->block);
        enum err e = file_read(f, middle, buf_room(&s->block, BLOCK_BYTES), BLOCK_BYTES);
        if (e != ERR_OK)
            return e;
        struct span all = span_of(s->block.data, BLOCK_BYTES);
        const uint8_t *start = memchr(all.data, '\n', all.len);
        struct span rest = start ? span_from(all, (size_t)(start - all.data) + 1) : SPAN_NONE;
        const uint8_t *behind = rest.len ? memchr(rest.data, '\n', rest.len) : NULL;
        const struct jdoc *v =
            behind ? read_line(s, span_of(rest.data, (size_t)(behind - rest.data))) : NULL;
        struct span time = v ? text_in(v, "time") : SPAN_NONE;
        if (!time.len)
            return ERR_OK; /* then the slow way */
        if (span_compare(time, s->ask->until) >= 0)
            *end = middle + (uint64_t)(rest.data - all.data);
        else
            low = middle;
    }
    return ERR_OK;
}

static enum err look_into(struct audit_search *s, const char *path)
{
    struct file *f;
    uint64_t end = 0;
    enum err e = file_open(path, FILE_READ, &f);
    if (e != ERR_OK)
        return e;
    e = file_size(f, &end);
    if (e == ERR_OK)
        e = skip_newer(s, f, &end);
    buf_reset(&s->tail);
    while (e == ERR_OK && end && !s->over) {
        size_t n = end > BLOCK_BYTES ? BLOCK_BYTES : (size_t)end;
        buf_reset(&s->block);
        e = file_read(f, end - n, buf_room(&s->block, n + s->tail.len), n);
        if (e != ERR_OK)
            break;
        s->block.len = n;
        buf_span(&s->block, buf_all(&s->tail));
        end -= n;
        s->looked += n;
        look_through(s, end == 0);
        if (s->looked > 2 * (uint64_t)AUDIT_LOOK_BYTES_MAX && !s->over)
            stop_at(s, s->seen); /* all of one time? */
        if (s->tail.len > BLOCK_BYTES)
            e = ERR_CORRUPT; /* no line is so long */
    }
    file_close(f);
    return e;
}

static void run(struct job *job)
{
    struct audit_search *s = (struct audit_search *)job;
    for (int i = 0; i <= s->files && !s->over; i++) {
        char path[PARAM_TEXT_MAX + 16];
        snprintf(path, sizeof(path), i ? "%s.%d" : "%s", s->path, i);
        if (look_into(s, path) != ERR_OK)
            return; /* there are no older ones */
    }
}

/* ---- asking, and the answer ---- */

static void search_free(struct audit_search *s)
{
    struct node *n = s->node;
    n->audit->searches--;
    buf_close(&s->lines);
    buf_close(&s->block);
    buf_close(&s->tail);
    arena_close(&s->arena);
    mem_free(&n->alloc, s, sizeof(*s));
}

static void done(struct job *job)
{
    struct audit_search *s = (struct audit_search *)job;
    struct node *n = s->node;
    struct call *call = s->call;
    struct rest_answer a;
    char member[20];
    if (call_back(call)) {
        struct conn *c = call->conn;
        bool http1 = !call->stream;
        snprintf(member, sizeof(member), "%016llx", (unsigned long long)n->header.member_id);
        rest_audit(s->ask, buf_all(&s->lines), s->more, span_text(s->last ? s->last : ""),
                   span_text(member), &n->turn, &a);
        call_answer_http(call, &a);
        if (http1)
            conn_feed_rest(c);
    }
    search_free(s);
}

void audit_find(struct call *call)
{
    struct node *n = call->node;
    struct audit *a = n->audit;
    enum err e = !a ? ERR_AUDIT_OFF : a->searches >= AUDIT_SEARCHES_MAX ? ERR_OVERLOADED : ERR_OK;
    if (e != ERR_OK) {
        call_end(call, e);
        return;
    }
    struct audit_search *s = mem_zero(&n->alloc, sizeof(*s));
    s->job = (struct job){ .run = run, .done = done };
    s->call = call;
    s->node = n;
    s->ask = call->rest->audit;
    s->path = a->path;
    s->files = a->files;
    alloc_heap(&s->heap);
    arena_open(&s->arena, &s->heap);
    buf_open(&s->lines, &s->heap);
    buf_open(&s->block, &s->heap);
    buf_open(&s->tail, &s->heap);
    s->next = a->asked;
    a->asked = s;
    a->searches++;
    call->waiting++;
    n->metrics.audit_searches++;
    upkeep_again(n);
}

void audit_find_turn(struct audit *a)
{
    while (a->asked) {
        struct audit_search *s = a->asked;
        a->asked = s->next;
        thread_submit(a->worker, &s->job);
    }
}
