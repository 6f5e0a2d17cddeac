/* drive: feeds a connection's bytes in pieces and writes down what came of them; for the unit
 * test and the fuzz target, which both ask that it does not depend on the pieces. */
#pragma once
#include "base/check.h"
#include "base/prng.h"
#include "wire/http1/http1.h"

static inline void drive_note(const struct http1 *h, const struct http_request *r, struct buf *out)
{
    buf_span(out, r->method);
    buf_u8(out, ' ');
    buf_span(out, r->path);
    buf_u8(out, '?');
    buf_span(out, r->query);
    buf_u8(out, ' ');
    buf_span(out, r->authority);
    for (size_t i = 0; i < r->header_count; i++) {
        buf_u8(out, '|');
        buf_span(out, r->headers[i].name);
        buf_u8(out, '=');
        buf_span(out, r->headers[i].value);
    }
    buf_u8(out, '|');
    buf_span(out, r->body);
    buf_text(out, http1_keep_alive(h) ? " keep\n" : " close\n");
}

/* A line a request, and at the end "!status" (refused), "..." (more must come) or nothing. Pieces
 * of piece bytes, or, when that is 0, of 1 to 8 at random. Stops behind a request that closes. */
static inline void drive(struct alloc *alloc, const struct http1_limits *limits, struct span in,
                         size_t piece, uint64_t seed, struct buf *out)
{
    struct http1 *h = http1_open(alloc, limits);
    struct http_request r;
    struct prng prng = { seed };
    enum err e = ERR_OK;
    bool open = true;
    while (e == ERR_OK && open && in.len) {
        size_t n = piece ? piece : 1 + (size_t)prng_below(&prng, 8), used;
        n = n < in.len ? n : in.len;
        e = http1_feed(h, span_of(in.data, n), &used);
        CHECK(used <= n && (used == n || e != ERR_OK || http1_request(h, &r)));
        in = span_from(in, used);
        if (e != ERR_OK) {
            CHECK(err_http(e) >= 400 && !http1_request(h, &r) && !http1_keep_alive(h));
            buf_format(out, "!%d", err_http(e));
        } else if (http1_request(h, &r)) {
            drive_note(h, &r, out);
            open = http1_keep_alive(h);
            http1_next(h);
        }
    }
    if (e == ERR_OK && open && !http1_idle(h))
        buf_text(out, "...");
    http1_close(h);
}
