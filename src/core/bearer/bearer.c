#include "core/bearer/bearer.h"
#include "base/check.h"

enum { TOKEN_FORMAT = 1, ROLE_FORMAT = 1, RENEWABLE = 1 };

/* ---- numbers and texts ---- */

static void put_number(struct buf *out, int64_t v)
{
    CHECK(v >= 0);
    buf_varint(out, (uint64_t)v);
}

static bool take_number(struct span *in, int64_t *out)
{
    uint64_t v;
    if (!span_varint(in, &v) || v > INT64_MAX)
        return false;
    *out = (int64_t)v;
    return true;
}

static void put_text(struct buf *out, struct span s)
{
    buf_varint(out, s.len);
    buf_span(out, s);
}

static bool take_text(struct span *in, size_t max, struct span *out)
{
    uint64_t len;
    return span_varint(in, &len) && len <= max && span_take(in, (size_t)len, out);
}

static enum err take_format(struct span *in, uint8_t known)
{
    uint8_t format;
    if (!span_u8(in, &format) || !format)
        return ERR_CORRUPT;
    return format > known ? ERR_FORMAT : ERR_OK;
}

/* ---- tokens ---- */

void bearer_token_write(const struct bearer_token *t, struct buf *out)
{
    buf_u8(out, TOKEN_FORMAT);
    buf_u8(out, t->renewable ? RENEWABLE : 0);
    put_text(out, t->user);
    put_text(out, t->accessor);
    put_text(out, t->display);
    put_text(out, t->path);
    put_number(out, t->created_ms);
    put_number(out, t->expires_ms);
    put_number(out, t->ttl_ms);
    put_number(out, t->max_ms);
}

enum err bearer_token_read(struct span in, struct bearer_token *out)
{
    uint8_t flags;
    *out = (struct bearer_token){ 0 };
    enum err e = take_format(&in, TOKEN_FORMAT);
    if (e != ERR_OK)
        return e;
    bool good = span_u8(&in, &flags) && flags <= RENEWABLE && take_text(&in, 1024, &out->user) &&
                take_text(&in, BEARER_ID_MAX, &out->accessor) &&
                take_text(&in, 2048, &out->display) && take_text(&in, 2048, &out->path) &&
                take_number(&in, &out->created_ms) && take_number(&in, &out->expires_ms) &&
                take_number(&in, &out->ttl_ms) && take_number(&in, &out->max_ms) && !in.len;
    out->renewable = good && flags & RENEWABLE;
    return good ? ERR_OK : ERR_CORRUPT;
}

int64_t bearer_renewed(const struct bearer_token *t, int64_t ttl_ms, int64_t now_ms)
{
    int64_t until = now_ms + (ttl_ms > 0 && ttl_ms < t->ttl_ms ? ttl_ms : t->ttl_ms);
    return t->max_ms && until > t->max_ms ? t->max_ms : until;
}

bool bearer_text(struct span text, struct span *hashed, uint64_t *index)
{
    size_t dot = text.len;
    if (!span_starts(text, SPAN(BEARER_PREFIX)) || text.len > BEARER_TEXT_MAX)
        return false;
    while (dot > sizeof(BEARER_PREFIX) && text.data[dot - 1] != '.')
        dot--;
    *index = 0;
    if (dot <= sizeof(BEARER_PREFIX) || text.len - dot < 1 || text.len - dot > 18)
        return false;
    for (size_t i = dot; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *index = *index * 10 + (uint64_t)(text.data[i] - '0');
    }
    *hashed = span_of(text.data, dot - 1);
    return true;
}

/* ---- AppRoles ---- */

void bearer_role_write(const struct bearer_role *r, struct buf *out)
{
    CHECK(r->n <= BEARER_SECRET_IDS_MAX && r->role_id.len <= BEARER_ROLE_ID_MAX);
    buf_u8(out, ROLE_FORMAT);
    put_text(out, r->role_id);
    put_number(out, r->created_ms);
    put_number(out, r->token_ttl_ms);
    put_number(out, r->token_max_ttl_ms);
    put_number(out, r->secret_id_ttl_ms);
    put_number(out, r->secret_id_uses);
    put_number(out, (int64_t)r->n);
    for (size_t i = 0; i < r->n; i++) {
        buf_put(out, r->ids[i].hash, BEARER_HASH);
        put_text(out, r->ids[i].accessor);
        put_number(out, r->ids[i].created_ms);
        put_number(out, r->ids[i].expires_ms);
        put_number(out, r->ids[i].uses);
    }
}

static bool read_id(struct span *in, struct bearer_secret_id *out)
{
    struct span hash;
    if (!span_take(in, BEARER_HASH, &hash) || !take_text(in, BEARER_ID_MAX, &out->accessor) ||
        !take_number(in, &out->created_ms) || !take_number(in, &out->expires_ms) ||
        !take_number(in, &out->uses))
        return false;
    memcpy(out->hash, hash.data, BEARER_HASH);
    return true;
}

enum err bearer_role_read(struct span in, struct bearer_role *out)
{
    int64_t n;
    *out = (struct bearer_role){ 0 };
    enum err e = take_format(&in, ROLE_FORMAT);
    if (e != ERR_OK)
        return e;
    if (!take_text(&in, BEARER_ROLE_ID_MAX, &out->role_id) || !take_number(&in, &out->created_ms) ||
        !take_number(&in, &out->token_ttl_ms) || !take_number(&in, &out->token_max_ttl_ms) ||
        !take_number(&in, &out->secret_id_ttl_ms) || !take_number(&in, &out->secret_id_uses) ||
        !take_number(&in, &n) || n > BEARER_SECRET_IDS_MAX)
        return ERR_CORRUPT;
    for (; out->n < (size_t)n; out->n++)
        if (!read_id(&in, &out->ids[out->n]))
            return ERR_CORRUPT;
    return in.len ? ERR_CORRUPT : ERR_OK;
}

bool bearer_role_prune(struct bearer_role *r, int64_t now_ms)
{
    size_t kept = 0, before = r->n;
    for (size_t i = 0; i < r->n; i++)
        if (!r->ids[i].expires_ms || r->ids[i].expires_ms > now_ms)
            r->ids[kept++] = r->ids[i];
    r->n = kept;
    return kept != before;
}

struct bearer_secret_id *bearer_find(struct bearer_role *r, const uint8_t hash[BEARER_HASH])
{
    for (size_t i = 0; i < r->n; i++)
        if (memcmp(r->ids[i].hash, hash, BEARER_HASH) == 0)
            return &r->ids[i];
    return NULL;
}

/* ---- keys ---- */

static const char digits[] = "0123456789abcdef";

static struct span hash_key(struct span root, const uint8_t hash[BEARER_HASH],
                            struct arena *arena)
{
    const size_t head = root.len;
    uint8_t *p = arena_alloc(arena, head + 2 * BEARER_HASH);
    memcpy(p, root.data, head);
    for (size_t i = 0; i < BEARER_HASH; i++) {
        p[head + 2 * i] = (uint8_t)digits[hash[i] >> 4];
        p[head + 2 * i + 1] = (uint8_t)digits[hash[i] & 15];
    }
    return span_of(p, head + 2 * BEARER_HASH);
}

struct span bearer_token_key(const uint8_t hash[BEARER_HASH], struct arena *arena)
{
    return hash_key(SPAN(BEARER_TOKENS), hash, arena);
}

struct span bearer_revoked_key(const uint8_t hash[BEARER_HASH], struct arena *arena)
{
    return hash_key(SPAN(BEARER_REVOKED), hash, arena);
}

bool bearer_revoked_hash(struct span key, uint8_t hash[BEARER_HASH])
{
    struct span hex = span_from(key, sizeof(BEARER_REVOKED) - 1);
    if (!span_starts(key, SPAN(BEARER_REVOKED)) || hex.len != 2 * BEARER_HASH)
        return false;
    memset(hash, 0, BEARER_HASH);
    for (size_t i = 0; i < hex.len; i++) {
        const char *at = hex.data[i] ? strchr(digits, hex.data[i]) : NULL;
        if (!at)
            return false;
        hash[i / 2] = (uint8_t)(hash[i / 2] << 4 | (at - digits));
    }
    return true;
}

struct span bearer_role_key(struct span name, struct arena *arena)
{
    const size_t head = sizeof(BEARER_ROLES) - 1;
    uint8_t *p = arena_alloc(arena, head + name.len);
    memcpy(p, BEARER_ROLES, head);
    if (name.len)
        memcpy(p + head, name.data, name.len);
    return span_of(p, head + name.len);
}

bool bearer_name_good(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '.' && c != '-' && c != '_')
            return false;
    }
    return name.len && name.len <= BEARER_NAME_MAX;
}
