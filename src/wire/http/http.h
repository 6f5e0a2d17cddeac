/* http: what HTTP/1.1 and HTTP/2 share: a request as the doors see it, targets, queries, statuses.
 * Pure; spans point into the connection's or the request's memory. */
#pragma once
#include <stdbool.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

struct http_header {
    struct span name; /* lower case */
    struct span value;
};

struct http_request {
    struct span method; /* "GET" */
    struct span path;   /* as sent, up to '?': still percent-encoded */
    struct span query;  /* after '?', or empty */
    struct span authority;
    const struct http_header *headers;
    size_t header_count;
    struct span body; /* whole; empty while it is still coming */
};

/* The first header of that (lower case) name; false when there is none. */
bool http_header_find(const struct http_request *r, const char *name, struct span *out);

/* Whether a header of that (lower case) name lists the (lower case) word, in any case: such as
 * "close" in "Connection: keep-alive, Close". Repeated headers count as one list (RFC 9110 5.3). */
bool http_header_lists(const struct http_request *r, const char *name, const char *word);
bool http_lists(struct span value, const char *word); /* the same for one value */
bool http_is_word(struct span s, const char *word);   /* equal but for the case of letters */
struct span http_trim(struct span s);                 /* without blanks and tabs around it */

static inline uint8_t http_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Splits a request target "path?query". */
void http_target(struct span target, struct span *path, struct span *query);

/* Percent-decodes into the arena; plus_is_space as in queries. Any byte may come out, NUL too.
 * ERR_BAD_REQUEST for a bad escape. */
enum err http_decode(struct span s, bool plus_is_space, struct arena *arena,
                     struct span *out) MUST_CHECK;

/* One query parameter by name, decoded, the first if it comes twice. *found tells whether it was
 * there at all (it may be empty). ERR_BAD_REQUEST for a bad escape anywhere in the query. */
enum err http_query(struct span query, const char *name, struct arena *arena, struct span *out,
                    bool *found) MUST_CHECK;

/* Calls back for every name=value of a query, decoded; stops at the first error, its own
 * (ERR_BAD_REQUEST, a bad escape) or each's. A name without "=" has an empty value. */
enum err http_query_each(struct span query, struct arena *arena,
                         enum err (*each)(void *context, struct span name, struct span value),
                         void *context) MUST_CHECK;

const char *http_status_text(int status); /* "Not Found"; "Status" when unknown */
