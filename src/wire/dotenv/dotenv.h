/* dotenv: files of NAME=value lines, as shells and many programs read them.
 *
 * A line is empty, a comment (#), or [export ]NAME=VALUE: NAME of letters, digits, "_", "." and
 * "-". A value is bare (up to the end of the line or " #", without blanks around it), 'as it is',
 * or "with \n \r \t \" \\ \$ escapes"; quoted ones may go over lines. Nothing is expanded. */
#pragma once
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* Calls each for every line; value holds until it returns. ERR_BODY_NOT_JSON: *line says where it
 * is not as above (from 1). */
enum err dotenv_read(struct span text, struct buf *scratch,
                     void (*each)(void *context, struct span name, struct span value),
                     void *context, size_t *line) MUST_CHECK;

/* Appends name="value" and a newline; name is taken as it is. */
void dotenv_write(struct buf *out, struct span name, struct span value);
