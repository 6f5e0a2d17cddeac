/* gateway: etcd's JSON door, as pure translation: a POST to a path is a call of a gRPC method, its
 * body the request message as JSON, and so is the answer (grpc-gateway's mapping, as etcd sets it
 * up). Several messages of a stream stand one after the other; each answer of a stream is a line
 * {"result":{...}}. Over WebSocket each text message is one of them.
 *
 * What a message means is api/etcd's business, JSON is wire/protojson's, streams and flow are the
 * node's. Errors have one body for every generation of clients: "error" as grpc-gateway 1 named
 * the text, "message" as 2 does, the gRPC code and "details". */
#pragma once
#include <stdbool.h>
#include "api/etcd/etcd.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http/http.h"

/* Whether the path belongs to this door: /v3/..., or what it was called before, /v3beta/... and
 * /v3alpha/... */
bool gateway_takes(struct span path);

/* NULL: nothing answers on this path. */
const struct etcd_method *gateway_method(struct span path);
bool gateway_streams(const struct etcd_method *method); /* many answers */
bool gateway_listens(const struct etcd_method *method); /* to many requests */

/* The request's head as gRPC would have had it, in the arena: a POST to the method with the
 * metadata that goes through: Authorization (or the WebSocket protocols "Bearer, TOKEN"),
 * Grpc-Timeout, and Grpc-Metadata-X as X. */
void gateway_head(const struct http_request *http, const struct etcd_method *method,
                  struct arena *arena, struct http_request *out);

/* Appends to out the request message that one JSON text says; no text says an empty one. Errors
 * and why as protojson_read. */
enum err gateway_read(const struct etcd_method *method, struct span json, struct buf *out,
                      char *why) MUST_CHECK;

/* A response message as JSON; in a stream it is the "result". No newline. */
void gateway_write(const struct etcd_method *method, struct span message, struct buf *out);

/* A gRPC status as JSON; in a stream it is the "error". No newline. */
void gateway_error(int code, const char *text, bool stream, struct buf *out);
int gateway_http(int code); /* the HTTP status for it (google.rpc.Code), 200 for 0 */

/* ---- who may call at all: web pages, and names that lead here ---- */

/* Lists, separated by commas; "*" is any. */
struct gateway_access {
    const char *cors;  /* origins that a page may be of: "https://a.example:8080" */
    const char *hosts; /* names by which this server may be called without TLS */
};

/* What etcd adds to every answer, for the page's browser to read. */
enum { GATEWAY_CORS_HEADERS = 3 };

/* ERR_ORIGIN: a page of another place asks, and it is not in cors; ERR_HOST: the request has a name
 * of ours with a dot that is not in hosts: perhaps another's, made to lead here (DNS rebinding).
 * headers gets those for the answer, *n of them. */
enum err gateway_access(const struct gateway_access *a, const struct http_request *http,
                        bool secure, struct http_header headers[GATEWAY_CORS_HEADERS],
                        size_t *n) MUST_CHECK;

/* Whether it comes from no page, or from one of this very place: only then what the browser adds by
 * itself (a cookie) tells who asks. */
bool gateway_same_place(const struct http_request *http, bool secure);
