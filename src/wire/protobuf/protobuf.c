#include "wire/protobuf/protobuf.h"

static bool take_fixed(struct span *in, size_t size, uint64_t *out)
{
    struct span bytes;
    if (!span_take(in, size, &bytes))
        return false;
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out |= (uint64_t)bytes.data[i] << (8 * i);
    return true;
}

bool pb_next(struct span *in, struct pb_field *out)
{
    uint64_t tag, len;
    if (!span_varint(in, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
        return false;
    out->tag = (uint32_t)tag;
    out->number = 0;
    out->bytes = SPAN_NONE;
    switch (tag & 7) {
    case PB_VARINT:
        return span_varint(in, &out->number);
    case PB_FIXED64:
        return take_fixed(in, 8, &out->number);
    case PB_FIXED32:
        return take_fixed(in, 4, &out->number);
    case PB_BYTES:
        return span_varint(in, &len) && len <= in->len && span_take(in, (size_t)len, &out->bytes);
    default:
        return false; /* groups have been gone from the format since 2008 */
    }
}

size_t pb_count(struct span in, uint32_t tag)
{
    size_t n = 0;
    struct pb_field f;
    while (in.len && pb_next(&in, &f))
        n += f.tag == tag;
    return n;
}

/* Well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, up to U+10FFFF. */
bool pb_utf8(struct span s)
{
    size_t i = 0;
    while (i < s.len) {
        uint8_t c = s.data[i++];
        size_t more = c < 0x80 ? 0 : c < 0xc2 ? 4 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 4;
        if (more == 4 || s.len - i < more)
            return false;
        if (more >= 2) {
            uint8_t d = s.data[i];
            if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) || (c == 0xf0 && d < 0x90) ||
                (c == 0xf4 && d > 0x8f))
                return false;
        }
        for (; more; more--, i++)
            if ((s.data[i] & 0xc0) != 0x80)
                return false;
    }
    return true;
}
