/* The web page. */
#include "node/page.h"
#include "node/node_int.h"
#include "base/check.h"

struct page_file {
    const char *name, *type, *tag;
    const uint8_t *plain, *gzip;
    size_t plain_len, gzip_len;
};
#include "node/page_files.h"

#define ROOT "/ui/"
/* Scripts, styles and requests of this server alone, nothing inline, in no frame of others; and no
 * text becomes markup by accident (Trusted Types). */
#define POLICY                                                                       \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "      \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; "                      \
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

static void add(struct rest_answer *out, const char *name, const char *value)
{
    CHECK(out->header_count < sizeof(out->headers) / sizeof(out->headers[0]));
    out->headers[out->header_count++] =
        (struct http_header){ span_text(name), span_text(value) };
}

static const struct page_file *find(struct span name)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (span_is(name, files[i].name))
            return &files[i];
    return NULL;
}

/* Names are the same in every version, so the browser asks each time whether its copy is still
 * right: a page of one version never runs with a script of another. */
static void give(const struct page_file *f, const struct http_request *r,
                 struct rest_answer *out)
{
    struct span have;
    bool same = http_header_find(r, "if-none-match", &have) && span_is(have, f->tag);
    bool gzip = http_header_lists(r, "accept-encoding", "gzip");
    *out = (struct rest_answer){ .status = same ? 304 : 200 };
    if (!same)
        out->body = gzip ? span_of(f->gzip, f->gzip_len) : span_of(f->plain, f->plain_len);
    add(out, "etag", f->tag);
    add(out, "cache-control", "no-cache");
    add(out, "vary", "accept-encoding");
    add(out, "content-security-policy", POLICY);
    if (same)
        return;
    add(out, "content-type", f->type);
    add(out, "x-content-type-options", "nosniff");
    add(out, "referrer-policy", "no-referrer");
    add(out, "cross-origin-opener-policy", "same-origin");
    if (gzip)
        add(out, "content-encoding", "gzip");
}

bool page_answer(struct node *n, const struct http_request *r, struct arena *arena,
                 struct rest_answer *out)
{
    struct span root = SPAN(ROOT);
    bool bare = span_is(r->path, "/ui");
    if (!bare && !span_starts(r->path, root))
        return false;
    if (!span_is(r->method, "GET") && !span_is(r->method, "HEAD")) {
        rest_problem(ERR_METHOD_NOT_ALLOWED, "GET, HEAD", arena, out);
        return true;
    }
    struct span name = bare ? SPAN_NONE : span_from(r->path, root.len);
    const struct page_file *f = find(name.len ? name : SPAN("index.html"));
    if (bare) {
        *out = (struct rest_answer){ .status = 308 };
        add(out, "location", ROOT);
    } else if (!f) {
        rest_problem(ERR_NOT_FOUND, "the page has no such file", arena, out);
    } else {
        n->metrics.page_files++;
        give(f, r, out);
    }
    return true;
}
