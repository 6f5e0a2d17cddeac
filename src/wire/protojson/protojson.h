/* protojson: protobuf messages as JSON and back, by their shapes
 * (protobuf.dev/programming-guides/json).
 *
 * Names go out as the .proto text has them and come in so or in lowerCamelCase; bytes are base64;
 * 64-bit numbers go out as strings, all numbers come in as either; enums go out by name and come
 * in by name or number. Zeros are left out, null stands for what is left out, unknown names are
 * passed over. Pure; reading needs jsonr_use. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/json/json.h"
#include "wire/protobuf/protobuf.h"

enum { PROTOJSON_DEPTH_MAX = PB_DEPTH_MAX }; /* of messages in messages */

/* Appends to out the message that the text (one JSON object) says; pb_x_decode of the shape takes
 * it. ERR_BODY_NOT_JSON: it does not say one, why (JSONR_WHY_MAX bytes) tells the reason.
 * ERR_BODY_TOO_LARGE as jsonr_read. After an error out may have got some bytes. */
enum err protojson_read(const struct pb_shape *shape, struct span text, struct buf *out,
                        char *why) MUST_CHECK;

/* A message as pb_x_encode makes it (anything else is a bug), as one JSON object. */
void protojson_write(const struct pb_shape *shape, struct span message, struct jsonw *w);
