#include "wire/dotenv/dotenv.h"
#include <stdbool.h>

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip(struct span *s)
{
    while (s->len && blank(s->data[0]))
        *s = span_from(*s, 1);
}

static struct span trimmed(struct span s)
{
    skip(&s);
    while (s.len && blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static struct span take_name(struct span *s)
{
    size_t n = 0;
    for (; n < s->len; n++) {
        uint8_t c = s->data[n], low = c | 0x20;
        if ((low < 'a' || low > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-')
            break;
    }
    struct span out = span_of(s->data, n);
    *s = span_from(*s, n);
    return out;
}

/* Behind the opening quote; false: it is not closed, or an escape is not known. */
static bool take_quoted(struct span *s, uint8_t quote, struct buf *out, size_t *lines)
{
    static const char names[] = "nrt\"\\$", means[] = "\n\r\t\"\\$";
    while (s->len && s->data[0] != quote) {
        uint8_t c = s->data[0];
        *s = span_from(*s, 1);
        *lines += c == '\n';
        if (quote == '"' && c == '\\') {
            const char *at = s->len && s->data[0] ? strchr(names, s->data[0]) : NULL;
            if (!at)
                return false;
            c = (uint8_t)means[at - names];
            *s = span_from(*s, 1);
        }
        buf_u8(out, c);
    }
    if (!s->len)
        return false;
    *s = span_from(*s, 1);
    return true;
}

static void take_bare(struct span *s, struct buf *out)
{
    const uint8_t *end = s->len ? memchr(s->data, '\n', s->len) : NULL;
    struct span line = span_of(s->data, end ? (size_t)(end - s->data) : s->len);
    *s = span_from(*s, line.len);
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] == '#' && (i == 0 || blank(line.data[i - 1])))
            line.len = i;
    buf_span(out, trimmed(line));
}

/* The rest of a line may hold a comment. */
static bool line_ends(struct span *s)
{
    skip(s);
    if (s->len && s->data[0] == '#') {
        const uint8_t *end = memchr(s->data, '\n', s->len);
        *s = span_from(*s, end ? (size_t)(end - s->data) : s->len);
    }
    if (s->len && s->data[0] != '\n')
        return false;
    *s = span_from(*s, s->len > 0);
    return true;
}

/* What begins at s and is neither empty nor a comment. */
static bool take_line(struct span *s, struct span *name, struct buf *value, size_t *lines)
{
    struct span exported = SPAN("export ");
    if (span_starts(*s, exported)) {
        *s = span_from(*s, exported.len);
        skip(s);
    }
    *name = take_name(s);
    skip(s);
    if (!name->len || !s->len || s->data[0] != '=')
        return false;
    *s = span_from(*s, 1);
    skip(s);
    buf_reset(value);
    if (s->len && (s->data[0] == '"' || s->data[0] == '\'')) {
        uint8_t quote = s->data[0];
        *s = span_from(*s, 1);
        if (!take_quoted(s, quote, value, lines))
            return false;
    } else {
        take_bare(s, value);
    }
    return line_ends(s);
}

enum err dotenv_read(struct span text, struct buf *scratch,
                     void (*each)(void *context, struct span name, struct span value),
                     void *context, size_t *line)
{
    struct span s = text;
    for (*line = 1; s.len; (*line)++) {
        struct span name;
        size_t lines = 0;
        skip(&s);
        if (!s.len || s.data[0] == '\n' || s.data[0] == '#') {
            (void)line_ends(&s);
            continue;
        }
        if (!take_line(&s, &name, scratch, &lines))
            return ERR_BODY_NOT_JSON;
        each(context, name, buf_all(scratch));
        *line += lines;
    }
    return ERR_OK;
}

void dotenv_write(struct buf *out, struct span name, struct span value)
{
    buf_span(out, name);
    buf_text(out, "=\"");
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c == '\n' || c == '\r' || c == '\t')
            buf_text(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c == '"' || c == '\\' || c == '$')
            buf_format(out, "\\%c", c);
        else
            buf_u8(out, c);
    }
    buf_text(out, "\"\n");
}
