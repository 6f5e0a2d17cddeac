#include "wire/jwt/jwt.h"
#include "base/check.h"
#include "wire/json/json.h"

/* Cuts at the next '.'; false: there is none. */
static bool cut(struct span *rest, struct span *part)
{
    const uint8_t *dot = rest->len ? memchr(rest->data, '.', rest->len) : NULL;
    if (!dot)
        return false;
    *part = span_of(rest->data, (size_t)(dot - rest->data));
    *rest = span_from(*rest, part->len + 1);
    return true;
}

static bool decode(struct span text, struct arena *arena, struct span *out)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    bool ok = jsonr_base64(text, true, &b);
    if (ok)
        *out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return ok;
}

static json_t *read_object(struct span text)
{
    char why[JSONR_WHY_MAX];
    json_t *v = NULL;
    if (jsonr_read(text, &v, why) != ERR_OK)
        return NULL;
    if (json_is_object(v))
        return v;
    json_decref(v);
    return NULL;
}

static bool copy_text(const json_t *object, const char *name, struct arena *arena, struct span *out)
{
    const json_t *v = json_object_get(object, name);
    if (!json_is_string(v))
        return false;
    *out = arena_copy(arena, span_of(json_string_value(v), json_string_length(v)));
    return true;
}

enum err jwt_split(struct span text, struct arena *arena, struct jwt_parts *out)
{
    struct span rest = text, head, claims, json;
    *out = (struct jwt_parts){ .alg = SPAN_NONE };
    if (text.len > JWT_BYTES_MAX || !cut(&rest, &head) || !cut(&rest, &claims))
        return ERR_BAD_REQUEST;
    out->content = span_of(text.data, head.len + 1 + claims.len);
    if (!decode(head, arena, &json) || !decode(claims, arena, &out->claims) ||
        !decode(rest, arena, &out->signature))
        return ERR_BAD_REQUEST;
    json_t *header = read_object(json);
    if (!header)
        return ERR_BAD_REQUEST;
    bool ok = copy_text(header, "alg", arena, &out->alg) && !json_object_get(header, "crit");
    if (json_object_get(header, "kid"))
        ok = copy_text(header, "kid", arena, &out->kid) && out->kid.len && ok;
    json_decref(header);
    return ok ? ERR_OK : ERR_BAD_REQUEST;
}

/* A number, whole or not (etcd reads it as a double); false: it is there and none that fits. */
static bool take_number(const json_t *object, const char *name, int64_t *out)
{
    static const double most = 9007199254740992; /* 2^53: up to here a double is exact */
    const json_t *v = json_object_get(object, name);
    *out = 0;
    if (!v)
        return true;
    if (json_is_real(v) && json_real_value(v) >= 0 && json_real_value(v) < most)
        *out = (int64_t)json_real_value(v);
    else if (json_is_integer(v) && json_integer_value(v) >= 0)
        *out = json_integer_value(v);
    else
        return false;
    return true;
}

enum err jwt_claims_read(struct span text, struct arena *arena, struct jwt_claims *out)
{
    int64_t revision;
    *out = (struct jwt_claims){ .user = SPAN_NONE };
    json_t *claims = read_object(text);
    if (!claims)
        return ERR_BAD_REQUEST;
    bool ok = copy_text(claims, "username", arena, &out->user) &&
              json_object_get(claims, "revision") && take_number(claims, "revision", &revision) &&
              take_number(claims, "exp", &out->expires_s) &&
              take_number(claims, "nbf", &out->not_before_s);
    out->revision = ok ? (uint64_t)revision : 0;
    /* A token that ended in 1970 has ended: 0 would say that it never does. */
    if (ok && json_object_get(claims, "exp") && out->expires_s == 0)
        out->expires_s = 1;
    json_decref(claims);
    return ok ? ERR_OK : ERR_BAD_REQUEST;
}

int64_t jwt_expires_s(struct span text)
{
    int64_t out = 0;
    json_t *claims = read_object(text);
    bool ok = claims && take_number(claims, "exp", &out);
    json_decref(claims);
    return ok ? out : 0;
}

static void write_object(struct buf *json, struct buf *out)
{
    jsonw_base64(buf_all(json), true, out);
    buf_reset(json);
}

void jwt_write(const char *alg, const struct jwt_claims *c, struct buf *out)
{
    struct buf json;
    struct jsonw w;
    CHECK(c->user.len > 0 && c->expires_s > 0);
    buf_open(&json, out->alloc);
    jsonw_open(&w, &json);
    jsonw_object(&w);
    jsonw_name(&w, "alg");
    jsonw_text(&w, span_text(alg));
    jsonw_name(&w, "typ");
    jsonw_text(&w, SPAN("JWT"));
    jsonw_object_end(&w);
    write_object(&json, out);
    buf_u8(out, '.');
    jsonw_open(&w, &json);
    jsonw_object(&w);
    jsonw_name(&w, "exp");
    jsonw_number(&w, c->expires_s);
    jsonw_name(&w, "revision");
    jsonw_number(&w, (int64_t)c->revision);
    jsonw_name(&w, "username");
    jsonw_text(&w, c->user);
    jsonw_object_end(&w);
    write_object(&json, out);
    buf_close(&json);
}

void jwt_write_signature(struct span signature, struct buf *out)
{
    buf_u8(out, '.');
    jsonw_base64(signature, true, out);
}
