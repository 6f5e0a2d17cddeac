#include "core/account/account.h"
#include "base/check.h"
#include "wire/json/json.h"

bool account_name_good(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-'))
            return false;
    }
    return name.len > 0 && name.len <= ACCOUNT_NAME_MAX;
}

static struct span joined(const char *front, struct span name, struct arena *arena)
{
    struct buf b;
    buf_open(&b, arena->alloc);
    buf_text(&b, front);
    buf_span(&b, name);
    struct span out = arena_copy(arena, buf_all(&b));
    buf_close(&b);
    return out;
}

struct span account_place(struct span name, struct arena *arena)
{
    return joined(ACCOUNT_ROOT, name, arena);
}

struct span account_user(struct span name, struct arena *arena)
{
    return joined(ACCOUNT_USER_PREFIX, name, arena);
}

/* ---- the record ---- */

static struct span text_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return json_is_string(v) ? span_of(json_string_value(v), json_string_length(v)) : SPAN_NONE;
}

static bool read_key(const json_t *v, struct arena *arena, struct account_key *out)
{
    struct span id = text_of(v, "id");
    struct buf hash;
    buf_open(&hash, arena->alloc);
    bool ok = id.len == ACCOUNT_ID && jsonr_base64(text_of(v, "sha256"), true, &hash) &&
              hash.len == ACCOUNT_HASH;
    if (ok) {
        memcpy(out->id, id.data, ACCOUNT_ID);
        memcpy(out->hash, hash.data, ACCOUNT_HASH);
    }
    buf_close(&hash);
    out->created_ms = json_integer_value(json_object_get(v, "created_ms"));
    out->expires_ms = json_integer_value(json_object_get(v, "expires_ms"));
    return ok && out->created_ms >= 0 && out->expires_ms >= 0;
}

enum err account_read(struct span value, struct arena *arena, struct account *out)
{
    char why[JSONR_WHY_MAX];
    json_t *json;
    *out = (struct account){ .n = 0 };
    if (jsonr_read(value, &json, why) != ERR_OK)
        return ERR_CORRUPT;
    const json_t *keys = json_object_get(json, "keys");
    bool ok = json_is_array(keys) && json_array_size(keys) <= ACCOUNT_KEYS_MAX;
    out->disabled = !json_is_false(json_object_get(json, "disabled"));
    for (size_t i = 0; ok && i < json_array_size(keys); i++)
        ok = read_key(json_array_get(keys, i), arena, &out->keys[out->n++]);
    json_decref(json);
    return ok ? ERR_OK : ERR_CORRUPT;
}

void account_write(const struct account *a, struct buf *out)
{
    struct jsonw w;
    struct buf hash;
    buf_open(&hash, out->alloc);
    jsonw_open(&w, out);
    jsonw_object(&w);
    jsonw_name(&w, "disabled");
    jsonw_bool(&w, a->disabled);
    jsonw_name(&w, "keys");
    jsonw_array(&w);
    for (size_t i = 0; i < a->n; i++) {
        const struct account_key *k = &a->keys[i];
        buf_reset(&hash);
        jsonw_base64(span_of(k->hash, ACCOUNT_HASH), true, &hash);
        jsonw_object(&w);
        jsonw_name(&w, "id");
        jsonw_text(&w, span_of(k->id, ACCOUNT_ID));
        jsonw_name(&w, "sha256");
        jsonw_text(&w, buf_all(&hash));
        jsonw_name(&w, "created_ms");
        jsonw_number(&w, k->created_ms);
        jsonw_name(&w, "expires_ms");
        jsonw_number(&w, k->expires_ms);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    buf_close(&hash);
}

/* ---- tokens ---- */

bool account_token_split(struct span token, struct span *name, struct span *id, struct span *secret)
{
    struct span front = SPAN(ACCOUNT_TOKEN_PREFIX);
    size_t tail = 1 + ACCOUNT_ID + 1 + ACCOUNT_SECRET;
    if (!span_starts(token, front) || token.len <= front.len + tail ||
        token.len > ACCOUNT_TOKEN_MAX)
        return false;
    size_t at = token.len - tail;
    *name = span_of(token.data + front.len, at - front.len);
    *id = span_of(token.data + at + 1, ACCOUNT_ID);
    *secret = span_from(token, token.len - ACCOUNT_SECRET);
    return account_name_good(*name) && token.data[at] == '_' &&
           token.data[at + 1 + ACCOUNT_ID] == '_';
}

/* Every byte is looked at, whatever the first ones are. */
static bool same_hash(const uint8_t *a, const uint8_t *b)
{
    unsigned differ = 0;
    for (size_t i = 0; i < ACCOUNT_HASH; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}

const struct account_key *account_find(const struct account *a, struct span id,
                                       const uint8_t hash[ACCOUNT_HASH], int64_t now_ms)
{
    for (size_t i = 0; i < a->n && !a->disabled; i++) {
        const struct account_key *k = &a->keys[i];
        if (span_equal(span_of(k->id, ACCOUNT_ID), id) && same_hash(k->hash, hash) &&
            (!k->expires_ms || k->expires_ms > now_ms))
            return k;
    }
    return NULL;
}
