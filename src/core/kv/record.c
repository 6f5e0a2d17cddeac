/* One record of a checkpoint, as save.c describes them. */
#include "core/kv/kv_int.h"

static bool take_number(struct span *in, int64_t *out)
{
    uint64_t v;
    bool ok = span_varint(in, &v);
    *out = ok ? (int64_t)v : 0;
    return ok && v <= INT64_MAX;
}

static bool take_u32(struct span *in, uint32_t *out)
{
    uint64_t v;
    bool ok = span_varint(in, &v);
    *out = ok ? (uint32_t)v : 0;
    return ok && v <= UINT32_MAX;
}

static bool take_signed(struct span *in, int64_t *out)
{
    uint64_t v;
    if (!span_varint(in, &v))
        return false;
    *out = (int64_t)v;
    return true;
}

static bool take_bytes(struct span *in, struct span *out)
{
    uint64_t n;
    return span_varint(in, &n) && n <= in->len && span_take(in, (size_t)n, out);
}

static enum err read_begin(struct span *in, struct kv_record *out)
{
    uint64_t format;
    int64_t compact;
    if (!span_varint(in, &format))
        return ERR_CORRUPT;
    if (format != 1)
        return ERR_FORMAT;
    bool ok = take_number(in, &out->revision) && take_number(in, &compact) &&
              span_varint(in, &out->n_authors) && out->revision >= 1 &&
              out->revision <= KV_COUNT_MAX && compact - 1 <= out->revision &&
              out->n_authors <= AUTHORS_MAX;
    out->compact = ok ? compact - 1 : 0;
    return ok ? ERR_OK : ERR_CORRUPT;
}

static bool read_put(struct span *in, struct kv_record *out)
{
    int64_t age;
    bool ok = take_number(in, &out->mod_revision) && take_u32(in, &out->sub) &&
              take_number(in, &age) && take_number(in, &out->version) &&
              take_signed(in, &out->lease) && take_signed(in, &out->updated_at_ms) &&
              take_u32(in, &out->author) && span_u8(in, &out->type) && take_bytes(in, &out->bytes);
    out->create_revision = ok ? out->mod_revision - age : 0;
    return ok && out->type < KV_TYPE_COUNT && out->bytes.len <= UINT32_MAX;
}

enum err kv_record_read(struct span *in, struct kv_record *out)
{
    bool ok = false;
    *out = (struct kv_record){ .type = KV_BYTES };
    if (!span_u8(in, &out->letter))
        return ERR_CORRUPT;
    switch (out->letter) {
    case 'B':
        return read_begin(in, out);
    case 'A':
        ok = take_bytes(in, &out->bytes);
        break;
    case 'K':
        ok = take_bytes(in, &out->bytes) && out->bytes.len > 0 && out->bytes.len <= UINT32_MAX;
        break;
    case 'V':
        ok = read_put(in, out);
        break;
    case 'T':
        ok = take_number(in, &out->mod_revision) && take_u32(in, &out->sub) &&
             take_signed(in, &out->updated_at_ms) && take_u32(in, &out->author);
        break;
    case 'E':
        ok = span_varint(in, &out->n_keys) && span_varint(in, &out->n_versions);
        break;
    default:
        break;
    }
    return ok ? ERR_OK : ERR_CORRUPT;
}
