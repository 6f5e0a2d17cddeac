/* fetch: one request to another server, by libcurl: HTTPS, or HTTP to this very machine. Waits: for
 * a worker's thread, or a program of its own. Redirections are not followed: who is asked is who
 * was named. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum { FETCH_WHY_MAX = 300, FETCH_HEADERS_MAX = 8 };

/* Texts are the caller's. */
struct fetch {
    const char *url;
    const char *form;    /* posted as application/x-www-form-urlencoded; NULL: a GET, unless ... */
    const char *json;    /* ... posted as application/json */
    const char *headers[FETCH_HEADERS_MAX]; /* "Name: value", more than the usual */
    size_t n_headers;
    const atomic_bool *stop; /* true: gives up within a second; NULL: never */
    const char *ca_file; /* whom to trust (PEM); "": the system's authorities */
    int64_t timeout_ms;  /* for all of it */
    size_t bytes_max;    /* of the answer */
    int status;          /* of the answer */
    struct buf *body;    /* open; gets the answer, of any status */
    char why[FETCH_WHY_MAX];
};

/* Before any other thread is there. What libcurl gives back of memory is wiped from then on. */
void fetch_prepare(void);
/* Whether fetch_do would ask there at all. */
bool fetch_allows(const char *url);
/* ERR_BAD_REQUEST: no such URL is asked; ERR_BODY_TOO_LARGE; ERR_STOPPED; ERR_IO: no answer, and
 * why; nothing of form, json or headers is in it. */
enum err fetch_do(struct fetch *f) MUST_CHECK;

/* Appends what may stand in a URL or a form as it is, the rest escaped (RFC 3986 2.1). */
void fetch_escape(struct span text, struct buf *out);
