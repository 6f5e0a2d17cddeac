/* A tree as compact text: members as they stood, numbers as they were written. */
#include "wire/jdoc/jdoc.h"

void jdoc_write_text(struct span s, struct buf *out)
{
    static const char hex[] = "0123456789abcdef";
    buf_u8(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '"' || c == '\\') {
            buf_u8(out, '\\');
            buf_u8(out, c);
        } else if (c < 0x20) {
            const uint8_t escape[] = { '\\', 'u', '0', '0', (uint8_t)hex[c >> 4],
                                       (uint8_t)hex[c & 15] };
            buf_put(out, escape, sizeof(escape));
        } else {
            buf_u8(out, c);
        }
    }
    buf_u8(out, '"');
}

static void write_children(const struct jdoc *v, struct buf *out)
{
    for (uint32_t i = 0; i < v->n; i++) {
        if (i)
            buf_u8(out, ',');
        if (v->type == JDOC_OBJECT) {
            jdoc_write_text(v->items[i].name, out);
            buf_u8(out, ':');
        }
        jdoc_write(&v->items[i], out);
    }
}

void jdoc_write(const struct jdoc *v, struct buf *out)
{
    switch ((enum jdoc_type)v->type) {
    case JDOC_NULL:
        buf_text(out, "null");
        return;
    case JDOC_BOOL:
        buf_text(out, v->truth ? "true" : "false");
        return;
    case JDOC_NUMBER:
        buf_span(out, v->text);
        return;
    case JDOC_STRING:
        jdoc_write_text(v->text, out);
        return;
    case JDOC_ARRAY:
    case JDOC_OBJECT:
        buf_u8(out, v->type == JDOC_ARRAY ? '[' : '{');
        write_children(v, out);
        buf_u8(out, v->type == JDOC_ARRAY ? ']' : '}');
        return;
    }
}
