#include "api/gateway/gateway.h"
#include "base/check.h"
#include "wire/protobuf/etcd_pb.h"
#include "wire/protojson/protojson.h"

static const struct {
    const char *path, *method;
} paths[] = {
#define PATH(path, method) { path, method },
#include "api/gateway/path.def"
#undef PATH
};

/* By the number of the method. */
static const struct {
    const struct pb_shape *request, *response;
    bool listens, streams;
} shapes[] = {
#define PB_METHOD(path, service, name, request, response, ins, outs)                               \
    { &pb_##request##_shape, &pb_##response##_shape, ins, outs },
#include "wire/protobuf/etcd_methods.def"
#undef PB_METHOD
};

/* What stands behind the version; NULL bytes: it is not ours. */
static struct span below(struct span path)
{
    static const char *const versions[] = { "/v3/", "/v3beta/", "/v3alpha/" };
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        if (span_starts(path, span_text(versions[i])))
            return span_from(path, strlen(versions[i]) - 1);
    return SPAN_NONE;
}

bool gateway_takes(struct span path)
{
    return below(path).len > 0;
}

const struct etcd_method *gateway_method(struct span path)
{
    struct span rest = below(path);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (span_is(rest, paths[i].path))
            return etcd_method_find(span_text(paths[i].method));
    return NULL;
}

bool gateway_streams(const struct etcd_method *method)
{
    return shapes[method->number].streams;
}

bool gateway_listens(const struct etcd_method *method)
{
    return shapes[method->number].listens;
}

/* The name that a header has as metadata; empty: it does not go through. */
static struct span metadata_name(struct span name)
{
    static const struct span prefix = { (const uint8_t *)"grpc-metadata-", 14 };
    if (span_is(name, "authorization") || span_is(name, "grpc-timeout"))
        return name;
    return span_starts(name, prefix) ? span_from(name, prefix.len) : SPAN_NONE;
}

/* Pages cannot set headers of a WebSocket: its protocols "Bearer, TOKEN" say it (wsproxy). */
static bool token_of(const struct http_header *h, struct arena *arena, struct http_header *out)
{
    static const struct span word = { (const uint8_t *)"Bearer", 6 };
    const uint8_t *comma = h->value.len ? memchr(h->value.data, ',', h->value.len) : NULL;
    if (!comma || !span_is(h->name, "sec-websocket-protocol"))
        return false;
    size_t before = (size_t)(comma - h->value.data);
    struct span token = http_trim(span_from(h->value, before + 1));
    if (!span_equal(http_trim(span_of(h->value.data, before)), word))
        return false;
    uint8_t *p = arena_alloc(arena, word.len + 1 + token.len);
    memcpy(p, "Bearer ", word.len + 1);
    if (token.len)
        memcpy(p + word.len + 1, token.data, token.len);
    *out = (struct http_header){ SPAN("authorization"), span_of(p, word.len + 1 + token.len) };
    return true;
}

void gateway_head(const struct http_request *http, const struct etcd_method *method,
                  struct arena *arena, struct http_request *out)
{
    struct http_header *headers = ARENA_ARRAY(arena, struct http_header, http->header_count + 1);
    *out = (struct http_request){ .method = SPAN("POST"),
                                  .path = span_text(method->path),
                                  .authority = arena_copy(arena, http->authority),
                                  .headers = headers };
    for (size_t i = 0; i < http->header_count; i++) {
        struct span name = metadata_name(http->headers[i].name);
        if (token_of(&http->headers[i], arena, &headers[out->header_count]))
            out->header_count++;
        else if (name.len)
            headers[out->header_count++] = (struct http_header){
                arena_copy(arena, name), arena_copy(arena, http->headers[i].value)
            };
    }
}

enum err gateway_read(const struct etcd_method *method, struct span json, struct buf *out,
                      char *why)
{
    if (!json.len)
        return ERR_OK;
    return protojson_read(shapes[method->number].request, json, out, why);
}

void gateway_write(const struct etcd_method *method, struct span message, struct buf *out)
{
    struct jsonw w;
    bool stream = gateway_streams(method);
    jsonw_open(&w, out);
    if (stream) {
        jsonw_object(&w);
        jsonw_name(&w, "result");
    }
    protojson_write(shapes[method->number].response, message, &w);
    if (stream)
        jsonw_object_end(&w);
}

/* google.rpc.Code, as grpc-gateway 2 has it. */
int gateway_http(int code)
{
    static const int statuses[] = { 200, 499, 500, 400, 504, 404, 409, 403, 429,
                                    400, 409, 400, 501, 500, 503, 500, 401 };
    CHECK(code >= 0 && (size_t)code < sizeof(statuses) / sizeof(statuses[0]));
    return statuses[code];
}

void gateway_error(int code, const char *text, bool stream, struct buf *out)
{
    struct jsonw w;
    jsonw_open(&w, out);
    jsonw_object(&w);
    if (stream) {
        jsonw_name(&w, "error");
        jsonw_object(&w);
        jsonw_name(&w, "grpc_code"); /* as grpc-gateway 1 named them */
        jsonw_number(&w, code);
        jsonw_name(&w, "http_code");
        jsonw_number(&w, gateway_http(code));
        jsonw_name(&w, "http_status");
        jsonw_text(&w, span_text(http_status_text(gateway_http(code))));
    } else {
        jsonw_name(&w, "error");
        jsonw_text(&w, span_text(text));
    }
    jsonw_name(&w, "message");
    jsonw_text(&w, span_text(text));
    jsonw_name(&w, "code");
    jsonw_number(&w, code);
    jsonw_name(&w, "details");
    jsonw_array(&w);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    if (stream)
        jsonw_object_end(&w);
}
