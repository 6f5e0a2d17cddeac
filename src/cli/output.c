#include "base/check.h"
#include "cli/cli_int.h"

void write_bytes_json(struct jsonw *w, const char *name, struct span bytes)
{
    jsonw_name(w, name);
    if (pb_utf8(bytes)) {
        jsonw_text(w, bytes);
        return;
    }
    struct buf b;
    buf_open(&b, &cli_heap);
    jsonw_base64(bytes, false, &b);
    jsonw_object(w);
    jsonw_name(w, "base64");
    jsonw_text(w, buf_all(&b));
    jsonw_object_end(w);
    buf_close(&b);
}

static void write_number(struct jsonw *w, const char *name, int64_t v)
{
    jsonw_name(w, name);
    jsonw_number(w, v);
}

void write_pair_json(struct jsonw *w, const struct pb_key_value *kv, bool value)
{
    jsonw_object(w);
    write_bytes_json(w, "key", kv->key);
    if (value)
        write_bytes_json(w, "value", kv->value);
    write_number(w, "create_revision", kv->create_revision);
    write_number(w, "mod_revision", kv->mod_revision);
    write_number(w, "version", kv->version);
    write_number(w, "lease", kv->lease);
    jsonw_object_end(w);
}

/* Ids are 64 bits without sign, and JSON readers often are not that exact: in hexadecimal. */
static void write_id(struct jsonw *w, const char *name, uint64_t id)
{
    struct buf b;
    buf_open(&b, &cli_heap);
    buf_format(&b, "%llx", (unsigned long long)id);
    jsonw_name(w, name);
    jsonw_text(w, buf_all(&b));
    buf_close(&b);
}

void write_header_json(struct jsonw *w, const struct pb_response_header *h)
{
    if (!h)
        return;
    jsonw_name(w, "header");
    jsonw_object(w);
    write_id(w, "cluster_id", h->cluster_id);
    write_id(w, "member_id", h->member_id);
    write_number(w, "revision", h->revision);
    write_number(w, "raft_term", (int64_t)h->raft_term);
    jsonw_object_end(w);
}

bool write_bytes(struct span s)
{
    return !s.len || fwrite(s.data, 1, s.len, stdout) == s.len;
}

void print_bytes(struct span s)
{
    write_bytes(s);
    putchar('\n');
}

void print_json(struct buf *b)
{
    print_bytes(buf_all(b));
    fflush(stdout);
    buf_close(b);
}

void print_pair(const struct pb_key_value *kv, bool value_only, bool keys_only)
{
    if (!value_only)
        print_bytes(kv->key);
    if (!keys_only)
        print_bytes(kv->value);
}

struct span range_end_of(const struct options *o, struct span *key, struct arena *arena)
{
    if (o->from_key || (o->prefix && !key->len)) {
        *key = key->len ? *key : SPAN("\0");
        return SPAN("\0");
    }
    if (!o->prefix)
        return o->range_end ? span_text(o->range_end) : SPAN_NONE;
    struct span end = arena_copy(arena, *key);
    while (end.len && end.data[end.len - 1] == 0xff)
        end.len--;
    if (!end.len)
        return SPAN("\0");
    uint8_t *bytes = arena_alloc(arena, end.len);
    memcpy(bytes, end.data, end.len);
    bytes[end.len - 1]++;
    return span_of(bytes, end.len);
}
