/* Values as text again, and merge patches. */
#include "base/check.h"
#include "wire/json/json.h"

static int put_text(const char *text, size_t len, void *out)
{
    buf_put(out, text, len);
    return 0;
}

void jsonr_write(const json_t *value, struct buf *out)
{
    CHECK(json_dump_callback(value, put_text, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0);
}

/* RFC 7396 2, on objects; as deep as jsonr_read lets a patch be. */
static void merge(json_t *object, json_t *patch)
{
    const char *name;
    size_t len;
    json_t *value;
    json_object_keylen_foreach(patch, name, len, value)
    {
        if (json_is_null(value)) {
            json_object_deln(object, name, len);
        } else if (!json_is_object(value)) {
            json_object_setn(object, name, len, value);
        } else {
            json_t *inner = json_object_getn(object, name, len);
            if (!json_is_object(inner)) { /* what is no object counts as an empty one */
                inner = json_object();
                json_object_setn_new(object, name, len, inner);
            }
            merge(inner, value);
        }
    }
}

enum err jsonr_merge(struct span object, struct span patch, struct buf *out)
{
    char why[JSONR_WHY_MAX];
    json_t *to = NULL, *with = NULL;
    enum err e = jsonr_read(object, &to, why);
    if (e == ERR_OK)
        e = jsonr_read(patch, &with, why);
    if (e == ERR_OK && (!json_is_object(to) || !json_is_object(with)))
        e = ERR_BODY_NOT_JSON;
    if (e == ERR_OK) {
        merge(to, with);
        jsonr_write(to, out);
    }
    json_decref(to);
    json_decref(with);
    return e;
}
