/* json: reading by jansson (strict: no repeated names, bounded depth and size), writing straight
 * into a buffer, and base64. One thread; jansson's memory comes from json_use's allocator. */
#pragma once
#include <jansson.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum { JSONR_BYTES_MAX = 8 << 20, JSONR_WHY_MAX = 200 };

/* Before anything else: where jansson gets its memory, for the whole process. */
void jsonr_use(struct alloc *alloc);

/* Any JSON value. *out is the caller's, to be given to json_decref. why (JSONR_WHY_MAX bytes)
 * tells the place. ERR_BODY_NOT_JSON, ERR_BODY_TOO_LARGE. Whole numbers stay exact in 64 bits;
 * larger ones are refused. */
enum err jsonr_read(struct span text, json_t **out, char *why) MUST_CHECK;

/* ---- writing: commas and quotes are seen to; what opens must be closed ---- */

struct jsonw {
    struct buf *out;
    bool comma; /* something stands before in this array or object */
};
void jsonw_open(struct jsonw *w, struct buf *out);
void jsonw_object(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
void jsonw_name(struct jsonw *w, const char *name);
void jsonw_text(struct jsonw *w, struct span s); /* what is not UTF-8 becomes U+FFFD */
void jsonw_number(struct jsonw *w, int64_t v);
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_raw(struct jsonw *w, struct span json); /* JSON text as it is */

/* ---- base64 (RFC 4648), strict; url: the alphabet of section 5, without padding ---- */

void jsonw_base64(struct span s, bool url, struct buf *out);
bool jsonr_base64(struct span s, bool url, struct buf *out); /* false: not base64 */
