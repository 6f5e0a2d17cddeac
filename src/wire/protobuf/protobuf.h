/* protobuf: the wire format's primitives; the messages themselves are made by tools/protogen.py
 * from proto/X.proto as wire/protobuf/X_pb.h. (protobuf.dev/programming-guides/encoding)
 *
 * Decoding: spans of the result point into the input, arrays live in the arena. Unknown fields
 * are skipped; the last value of a scalar counts, sub-messages that come twice are merged.
 * Refused with ERR_MESSAGE_MALFORMED: truncation, overlong varints, groups, field number 0, a
 * known field with another wire type, strings that are not UTF-8, nesting deeper than
 * PB_DEPTH_MAX. Memory is bounded by the size of the input. Encoding gives the bytes that Go and
 * protoc give: fields in order of number, zeros left out. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum { PB_DEPTH_MAX = 64 };
enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

/* One field off the front: its tag (number << 3 | wire type) and its value: number for the fixed
 * and varint types, bytes for PB_BYTES. */
struct pb_field {
    uint32_t tag;
    uint64_t number;
    struct span bytes;
};
bool pb_next(struct span *in, struct pb_field *out); /* false: malformed (in is not empty) */

/* How many fields with this tag the rest holds, up to the first malformed one. */
size_t pb_count(struct span in, uint32_t tag);
bool pb_utf8(struct span text);

static inline size_t pb_varint_size(uint64_t v)
{
    return (size_t)(9 * (64 - __builtin_clzll(v | 1)) + 64) / 64;
}

static inline uint8_t *pb_put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* A field of bytes; tag_size and tag as the generator knows them. */
static inline uint8_t *pb_put_bytes(uint8_t *p, uint32_t tag, struct span s)
{
    p = pb_put_varint(p, tag);
    p = pb_put_varint(p, s.len);
    if (s.len)
        memcpy(p, s.data, s.len);
    return p + s.len;
}

static inline uint64_t pb_double_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static inline double pb_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static inline uint8_t *pb_put_double(uint8_t *p, uint32_t tag, double v)
{
    uint64_t bits = pb_double_bits(v);
    p = pb_put_varint(p, tag);
    for (int i = 0; i < 8; i++)
        *p++ = (uint8_t)(bits >> (8 * i));
    return p;
}

static inline size_t pb_bytes_size(uint32_t tag, size_t len)
{
    return pb_varint_size(tag) + pb_varint_size(len) + len;
}

/* ---- the shape of a message, for whoever speaks of its fields by name ---- */

enum pb_type {
    PB_IS_INT32,
    PB_IS_INT64,
    PB_IS_UINT32,
    PB_IS_UINT64,
    PB_IS_BOOL,
    PB_IS_ENUM,
    PB_IS_BYTES,
    PB_IS_STRING,
    PB_IS_MESSAGE
};

struct pb_enum {
    const struct pb_enum_name {
        const char *name; /* "ASCEND" */
        int32_t number;
    } * names;
    size_t n;
};

/* Made of every message as pb_x_shape; fields in order of number. */
struct pb_shape {
    const char *name; /* "RangeRequest" */
    const struct pb_shape_field {
        const char *name; /* as in the .proto text: "prev_kv", "peerURLs" */
        uint32_t number;
        enum pb_type type;
        bool repeated;
        uint8_t oneof; /* not 0: at most one of those with the same one is set */
        const struct pb_shape *message;
        const struct pb_enum *names;
    } * fields;
    size_t n;
};

/* ---- what reflection tells: one file for each package that stands on the wire ---- */

/* X_pb_files: a row of them, the last one with name NULL. */
struct pb_file {
    const char *name;         /* "etcdserverpb.proto" */
    const char *const *names; /* "etcdserverpb.KV", "etcdserverpb.KV.Range"...; ends with NULL */
    const char *const *uses;  /* other files; ends with NULL */
    const uint8_t *bytes;     /* a google.protobuf.FileDescriptorProto */
    size_t len;
};
