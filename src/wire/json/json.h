/* json: reading by jansson (strict: no repeated names, bounded depth and size), writing straight
 * into a buffer, and base64.
 *
 * jansson has one allocator for the whole process, and an allocator belongs to one thread: only
 * the thread that called jsonr_use may read JSON or touch a json_t. Writing and base64 are
 * anybody's. */
#pragma once
#include <jansson.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    JSONR_BYTES_MAX = 8 << 20,
    JSONR_VALUES_MAX = 1 << 18, /* names too; each takes up to some 150 bytes of memory */
    JSONR_DEPTH_MAX = JSON_PARSER_MAX_DEPTH, /* of arrays and objects: 2048 */
    JSONR_WHY_MAX = 200
};

/* Before anything else: where jansson gets its memory, for the whole process. What was read before
 * must have been given back. */
void jsonr_use(struct alloc *alloc);

/* One JSON value of any type (RFC 8259), and nothing behind it. *out is the caller's, to be given
 * to json_decref. ERR_BODY_NOT_JSON: why (JSONR_WHY_MAX bytes) tells the place and the reason; also
 * for a repeated name, a name with NUL, too much depth, a whole number that 64 bits do not hold, or
 * another that a double does not. ERR_BODY_TOO_LARGE: too many bytes or values; why is left
 * alone. Whole numbers stay exact; strings may contain NUL and are valid UTF-8. */
enum err jsonr_read(struct span text, json_t **out, char *why) MUST_CHECK;

/* Appends what a merge patch (RFC 7396) makes of an object. ERR_BODY_NOT_JSON: one of them is no
 * JSON object; ERR_BODY_TOO_LARGE: as jsonr_read. */
enum err jsonr_merge(struct span object, struct span patch, struct buf *out) MUST_CHECK;
void jsonr_write(const json_t *value, struct buf *out); /* compact */

/* Cuts the first value off the front of a text that holds several: an object up to its closing
 * brace, or, when something else comes first, all there is. Only white space: empty. Whether it is
 * JSON, jsonr_read tells. */
struct span jsonr_first(struct span *text);

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
void jsonw_key(struct jsonw *w, struct span name); /* a name that is no constant; as jsonw_text */
void jsonw_text(struct jsonw *w, struct span s); /* what is not UTF-8 becomes U+FFFD */
void jsonw_number(struct jsonw *w, int64_t v);
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_raw(struct jsonw *w, struct span json); /* JSON text as it is */
void jsonw_time(struct jsonw *w, int64_t ms);      /* since 1970: RFC 3339, UTC, milliseconds */

/* ---- base64 (RFC 4648), strict; url: the alphabet of section 5, without padding ---- */

void jsonw_base64(struct span s, bool url, struct buf *out);
/* False: not base64, or not the one way to write those bytes; out may have got some of them. */
bool jsonr_base64(struct span s, bool url, struct buf *out);
/* As protobuf's JSON wants it read: either alphabet, with padding or without. */
bool jsonr_base64_any(struct span s, struct buf *out);
