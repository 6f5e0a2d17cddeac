#include "core/secret/secret.h"
#include "base/check.h"

/* Format 1 had neither delete_after_ms nor custom. */
enum { FORMAT = 2, KEYS_FORMAT = 1, SETTINGS_FORMAT = 1, DESTROYED = 1, CHECK_REQUIRED = 1 };
enum { SETTINGS_CHECK = 1, SETTINGS_REASON = 2, SETTINGS_ALL = 3 };

/* ---- numbers ---- */

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

static void put_bytes(struct buf *out, struct span s)
{
    buf_varint(out, s.len);
    buf_span(out, s);
}

static bool take_bytes(struct span *in, struct span *out)
{
    uint64_t len;
    return span_varint(in, &len) && len <= in->len && span_take(in, (size_t)len, out);
}

/* ---- the record ---- */

void secret_write(const struct secret *s, struct buf *out)
{
    CHECK(s->n <= SECRET_VERSIONS_MAX);
    buf_u8(out, FORMAT);
    buf_u8(out, s->check_required ? CHECK_REQUIRED : 0);
    put_number(out, s->current);
    put_number(out, s->created_ms);
    put_number(out, s->updated_ms);
    put_number(out, s->versions_max);
    put_number(out, s->delete_after_ms);
    put_bytes(out, s->custom);
    put_number(out, (int64_t)s->n);
    for (size_t i = 0; i < s->n; i++) {
        const struct secret_version *v = &s->versions[i];
        buf_u8(out, v->destroyed ? DESTROYED : 0);
        put_number(out, v->number);
        put_number(out, v->created_ms);
        put_number(out, v->deleted_ms);
        put_number(out, v->key);
        put_bytes(out, v->wrapped);
        put_bytes(out, v->sealed);
    }
}

static bool read_version(struct span *in, int64_t before, struct secret_version *v)
{
    uint8_t flags;
    if (!span_u8(in, &flags) || flags > DESTROYED || !take_number(in, &v->number) ||
        !take_number(in, &v->created_ms) || !take_number(in, &v->deleted_ms) ||
        !take_number(in, &v->key) || !take_bytes(in, &v->wrapped) || !take_bytes(in, &v->sealed))
        return false;
    v->destroyed = flags & DESTROYED;
    if (v->destroyed ? v->wrapped.len || v->sealed.len
                     : v->wrapped.len != SECRET_WRAPPED_BYTES || v->sealed.len < SECRET_BOX_MORE)
        return false;
    return v->number > before;
}

static bool read_more(struct span *in, struct secret *out)
{
    return take_number(in, &out->delete_after_ms) && take_bytes(in, &out->custom) &&
           out->custom.len <= SECRET_CUSTOM_MAX;
}

static bool read_head(struct span *in, uint8_t format, struct secret *out, int64_t *n)
{
    uint8_t flags;
    if (!span_u8(in, &flags) || flags > CHECK_REQUIRED)
        return false;
    out->check_required = flags & CHECK_REQUIRED;
    return take_number(in, &out->current) && take_number(in, &out->created_ms) &&
           take_number(in, &out->updated_ms) && take_number(in, &out->versions_max) &&
           out->versions_max <= SECRET_VERSIONS_MAX && (format == 1 || read_more(in, out)) &&
           take_number(in, n) && *n <= SECRET_VERSIONS_MAX;
}

enum err secret_read(struct span bytes, struct secret *out)
{
    uint8_t format;
    int64_t n, before = 0;
    *out = (struct secret){ 0 };
    if (!span_u8(&bytes, &format))
        return ERR_CORRUPT;
    if (!format || format > FORMAT)
        return format ? ERR_FORMAT : ERR_CORRUPT;
    if (!read_head(&bytes, format, out, &n))
        return ERR_CORRUPT;
    for (; out->n < (size_t)n; out->n++) {
        if (!read_version(&bytes, before, &out->versions[out->n]))
            return ERR_CORRUPT;
        before = out->versions[out->n].number;
    }
    return bytes.len || before > out->current ? ERR_CORRUPT : ERR_OK;
}

struct secret_version *secret_find(struct secret *s, int64_t number)
{
    if (!number)
        number = s->current;
    for (size_t i = s->n; i-- > 0;)
        if (s->versions[i].number == number)
            return &s->versions[i];
    return NULL;
}

bool secret_deleted(const struct secret_version *v, int64_t now_ms)
{
    return v->deleted_ms && v->deleted_ms <= now_ms;
}

/* ---- settings ---- */

void secret_settings_write(const struct secret_settings *s, struct buf *out)
{
    buf_u8(out, SETTINGS_FORMAT);
    buf_u8(out, (uint8_t)((s->check_required ? SETTINGS_CHECK : 0) |
                          (s->reason_required ? SETTINGS_REASON : 0)));
    put_number(out, s->versions_max);
    put_number(out, s->delete_after_ms);
}

enum err secret_settings_read(struct span bytes, struct secret_settings *out)
{
    uint8_t format, flags;
    *out = (struct secret_settings){ 0 };
    if (!span_u8(&bytes, &format))
        return ERR_CORRUPT;
    if (format != SETTINGS_FORMAT)
        return format > SETTINGS_FORMAT ? ERR_FORMAT : ERR_CORRUPT;
    if (!span_u8(&bytes, &flags) || flags > SETTINGS_ALL ||
        !take_number(&bytes, &out->versions_max) || out->versions_max > SECRET_VERSIONS_MAX ||
        !take_number(&bytes, &out->delete_after_ms) || bytes.len)
        return ERR_CORRUPT;
    out->check_required = flags & SETTINGS_CHECK;
    out->reason_required = flags & SETTINGS_REASON;
    return ERR_OK;
}

/* ---- keys ---- */

void secret_keys_write(const struct secret_keys *k, struct buf *out)
{
    CHECK(k->n <= SECRET_KEYS_MAX);
    buf_u8(out, KEYS_FORMAT);
    put_number(out, (int64_t)k->n);
    for (size_t i = 0; i < k->n; i++) {
        put_number(out, k->items[i].number);
        put_number(out, k->items[i].created_ms);
        buf_put(out, k->items[i].by, SECRET_ID_BYTES);
        put_bytes(out, k->items[i].box);
    }
}

static bool read_key(struct span *in, int64_t before, struct secret_key *k)
{
    struct span by;
    if (!take_number(in, &k->number) || k->number <= before || !take_number(in, &k->created_ms) ||
        !span_take(in, SECRET_ID_BYTES, &by) || !take_bytes(in, &k->box))
        return false;
    memcpy(k->by, by.data, SECRET_ID_BYTES);
    return k->box.len == SECRET_WRAPPED_BYTES;
}

enum err secret_keys_read(struct span bytes, struct arena *arena, struct secret_keys *out)
{
    uint8_t format;
    int64_t n, before = 0;
    *out = (struct secret_keys){ 0 };
    if (!span_u8(&bytes, &format))
        return ERR_CORRUPT;
    if (format != KEYS_FORMAT)
        return format > KEYS_FORMAT ? ERR_FORMAT : ERR_CORRUPT;
    if (!take_number(&bytes, &n) || n < 1 || n > SECRET_KEYS_MAX)
        return ERR_CORRUPT;
    out->items = ARENA_ARRAY(arena, struct secret_key, (size_t)n);
    for (; out->n < (size_t)n; out->n++) {
        if (!read_key(&bytes, before, &out->items[out->n]))
            return ERR_CORRUPT;
        before = out->items[out->n].number;
    }
    return bytes.len ? ERR_CORRUPT : ERR_OK;
}

/* Lengths stand before what they measure: no two places give the same bytes. */
void secret_bind(enum secret_purpose purpose, struct span name_space, struct span path,
                 int64_t number, struct buf *out)
{
    buf_u8(out, (uint8_t)purpose);
    put_bytes(out, name_space);
    put_bytes(out, path);
    put_number(out, number);
}

/* ---- names ---- */

static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x20 || s.data[i] == 0x7f)
            return false;
    return true;
}

bool secret_path_good(struct span path)
{
    if (!path.len || path.len > SECRET_PATH_MAX || !is_plain(path) || path.data[0] == '/' ||
        path.data[path.len - 1] == '/')
        return false;
    for (size_t i = 1; i < path.len; i++)
        if (path.data[i] == '/' && path.data[i - 1] == '/')
            return false;
    return true;
}

bool secret_namespace_good(struct span name)
{
    return name.len && name.len <= SECRET_NAMESPACE_MAX && is_plain(name) &&
           !memchr(name.data, '/', name.len);
}

static struct span join(struct arena *arena, struct span root, struct span name, struct span path)
{
    uint8_t *p = arena_alloc(arena, root.len + name.len + 1 + path.len);
    memcpy(p, root.data, root.len);
    if (name.len)
        memcpy(p + root.len, name.data, name.len);
    p[root.len + name.len] = '/';
    if (path.len)
        memcpy(p + root.len + name.len + 1, path.data, path.len);
    return span_of(p, root.len + name.len + 1 + path.len);
}

struct span secret_store_key(struct span name_space, struct span path, struct arena *arena)
{
    return join(arena, SPAN(SECRET_ROOT), name_space, path);
}

struct span secret_seal_key(struct span name_space, struct arena *arena)
{
    return join(arena, SPAN(SECRET_SEAL), SPAN_NONE, name_space);
}

struct span secret_settings_key(struct span name_space, struct arena *arena)
{
    uint8_t *p = arena_alloc(arena, sizeof(SECRET_SETTINGS) - 1 + name_space.len);
    memcpy(p, SECRET_SETTINGS, sizeof(SECRET_SETTINGS) - 1);
    if (name_space.len)
        memcpy(p + sizeof(SECRET_SETTINGS) - 1, name_space.data, name_space.len);
    return span_of(p, sizeof(SECRET_SETTINGS) - 1 + name_space.len);
}

/* ---- changes ---- */

enum err secret_check(const struct secret *s, const struct secret_settings *all,
                      const struct secret_ask *a)
{
    if (a->has_check)
        return a->check == s->current ? ERR_OK : ERR_SECRET_VERSION;
    return s->check_required || all->check_required ? ERR_SECRET_VERSION : ERR_OK;
}

int64_t secret_deleted_then(const struct secret *s, const struct secret_settings *all,
                            int64_t now_ms)
{
    int64_t after = s->delete_after_ms ? s->delete_after_ms : all->delete_after_ms;
    return after ? now_ms + after : 0;
}

static void drop_oldest(struct secret *s, size_t keep)
{
    size_t gone = s->n > keep ? s->n - keep : 0;
    memmove(s->versions, s->versions + gone, (s->n - gone) * sizeof(s->versions[0]));
    s->n -= gone;
}

enum err secret_add(struct secret *s, const struct secret_settings *all,
                    const struct secret_version *v)
{
    int64_t keep = s->versions_max ? s->versions_max : all->versions_max;
    size_t bytes = v->sealed.len;
    CHECK(v->number == s->current + 1);
    drop_oldest(s, (size_t)(keep ? keep : SECRET_VERSIONS_DEFAULT) - 1);
    for (size_t i = 0; i < s->n; i++)
        bytes += s->versions[i].sealed.len;
    if (bytes > SECRET_RECORD_MAX)
        return ERR_SECRET_FULL;
    s->versions[s->n++] = *v;
    s->current = v->number;
    s->updated_ms = v->created_ms;
    if (!s->created_ms)
        s->created_ms = v->created_ms;
    return ERR_OK;
}

static void change_one(struct secret_version *v, enum secret_verb verb, int64_t now_ms)
{
    if (verb == SECRET_DELETE && !v->destroyed && !secret_deleted(v, now_ms))
        v->deleted_ms = now_ms;
    if (verb == SECRET_UNDELETE && !v->destroyed)
        v->deleted_ms = 0;
    if (verb == SECRET_DESTROY) {
        v->destroyed = true;
        v->wrapped = v->sealed = SPAN_NONE;
    }
}

static void configure(struct secret *s, const struct secret_ask *a)
{
    if (a->versions_max >= 0)
        s->versions_max = a->versions_max;
    if (a->check_required >= 0)
        s->check_required = a->check_required > 0;
    if (a->delete_after_ms >= 0)
        s->delete_after_ms = a->delete_after_ms;
    if (a->custom.data)
        s->custom = a->custom;
    if (s->versions_max)
        drop_oldest(s, (size_t)s->versions_max);
}

void secret_change(struct secret *s, const struct secret_ask *a, int64_t now_ms)
{
    static const int64_t newest[1] = { 0 };
    bool alone = a->verb == SECRET_DELETE && !a->n_numbers;
    const int64_t *numbers = alone ? newest : a->numbers;
    size_t n = alone ? 1 : a->n_numbers;
    s->updated_ms = now_ms;
    if (!s->created_ms)
        s->created_ms = now_ms;
    if (a->verb == SECRET_CONFIGURE) {
        configure(s, a);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct secret_version *v = secret_find(s, numbers[i]);
        if (v)
            change_one(v, a->verb, now_ms);
    }
}
