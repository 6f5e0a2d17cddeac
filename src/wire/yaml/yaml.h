/* yaml: a YAML text as the JSON text that says the same, for configs that people keep in files.
 *
 * YAML 1.2's core schema: plain words are null, booleans and numbers where they look so, all else
 * is a string; what is quoted is a string. Names in mappings are strings, whatever they look
 * like. Bytes (!!binary) become {"$bytes": "base64"}. One document; no other tags, no aliases (they
 * make a small text large), no directives, no infinity. Repeated names are not noticed here:
 * whoever reads the JSON does. libyaml reads; its memory comes from the heap and is gone when this
 * returns. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    YAML_BYTES_MAX = 2 << 20,
    YAML_EVENTS_MAX = 1 << 18,
    YAML_DEPTH_MAX = 64, /* of mappings and sequences in one another */
    YAML_WHY_MAX = 200,
};

/* Appends to json. ERR_BODY_NOT_JSON: why (YAML_WHY_MAX bytes) tells the line and the reason; json
 * may have got some of it. ERR_BODY_TOO_LARGE; why is left alone. An empty text is null. */
enum err yaml_json(struct span text, struct buf *json, char *why) MUST_CHECK;
