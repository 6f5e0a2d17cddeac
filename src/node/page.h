/* page: the files of the web page at /ui/, which stand in the binary (web/, tools/embed.py).
 *
 * Anybody who reaches the port may read them: there is nothing in them that is not in the source.
 * What the page shows it asks for over the doors that everybody else uses, as whoever has logged
 * in. It is told to run no script and ask no server but this one (Content-Security-Policy). */
#pragma once
#include <stdbool.h>
#include "api/rest/rest.h"

struct node;

/* False: the path is none of the page's. Else out is the answer: a file, 304 when the browser has
 * it, 308 to /ui/, or a problem. Spans into the arena or constants. */
bool page_answer(struct node *n, const struct http_request *r, struct arena *arena,
                 struct rest_answer *out);
