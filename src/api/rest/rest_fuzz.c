/* Any requests, one after the other against one store: refused or done, and answered in what is
 * well formed. They are cut at byte 30 (record separator). Each is "METHOD target" on a line, then
 * headers, an empty line, and the body; the method RAW puts the body through another door. */
#include <stdlib.h>
#include "api/rest/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS_MAX = 8, SEPARATOR = 30 };

/* Up to the byte, which goes too; all when there is none. */
static struct span cut(struct span *s, int byte)
{
    const uint8_t *at = s->len ? memchr(s->data, byte, s->len) : NULL;
    struct span out = at ? span_of(s->data, (size_t)(at - s->data)) : *s;
    *s = span_from(*s, out.len + (at != NULL));
    return out;
}

/* As the wire gives it: names in lower case, values without blanks around. */
static void take_headers(struct span *s, struct arena *arena, struct http_request *r)
{
    struct http_header *headers = ARENA_ARRAY(arena, struct http_header, HEADERS_MAX);
    struct span line;
    while ((line = cut(s, '\n')).len) {
        if (r->header_count == HEADERS_MAX)
            continue;
        struct span name = cut(&line, ':');
        uint8_t *lower = arena_alloc(arena, name.len + 1);
        for (size_t i = 0; i < name.len; i++)
            lower[i] = http_lower(name.data[i]);
        headers[r->header_count++] =
            (struct http_header){ span_of(lower, name.len), http_trim(line) };
    }
    r->headers = headers;
}

static void ask(struct drive *d, struct span s)
{
    struct span line = cut(&s, '\n');
    struct http_request r = { .method = cut(&line, ' ') };
    http_target(line, &r.path, &r.query);
    take_headers(&s, &d->arena, &r);
    r.body = s;
    if (span_is(r.method, "RAW"))
        drive_put_bytes(d, r.path, r.body);
    else if (rest_takes(r.path))
        drive_request(d, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span s = span_of(data, size);
    struct drive d;
    drive_open(&d);
    while (s.len) {
        ask(&d, cut(&s, SEPARATOR));
        d.now_ms = d.now_ms / 3 * 2 + (int64_t)s.len * 1234567890;
        arena_reset(&d.arena);
    }
    if (!drive_close(&d))
        abort();
    return 0;
}
