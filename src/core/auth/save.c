/* enabled (1 byte), revision varint, how many roles, each: name, how many permissions, each: right
 * (1 byte), key, range_end; how many users, each: name, hash, no_password (1 byte), how many roles,
 * their names. Counts are varints, bytes have their length before them. */
#include "base/check.h"
#include "core/auth/auth_int.h"

static void save_bytes(struct buf *out, struct span s)
{
    buf_varint(out, s.len);
    buf_span(out, s);
}

static void save_role(struct tree_node *n, void *context)
{
    const struct role *r = (const struct role *)(void *)n;
    struct buf *out = context;
    save_bytes(out, r->name);
    buf_varint(out, r->permissions.n);
    for (size_t i = 0; i < r->permissions.n; i++) {
        const struct auth_permission *p = &r->permissions.items[i];
        buf_u8(out, (uint8_t)p->right);
        save_bytes(out, p->key);
        save_bytes(out, p->range_end);
    }
}

static void save_user(struct tree_node *n, void *context)
{
    const struct user *u = (const struct user *)(void *)n;
    struct buf *out = context;
    save_bytes(out, u->name);
    save_bytes(out, u->hash);
    buf_u8(out, u->no_password);
    buf_varint(out, u->roles.n);
    for (size_t i = 0; i < u->roles.n; i++)
        save_bytes(out, u->roles.items[i]);
}

void auth_save(const struct auth *a, struct buf *out)
{
    buf_u8(out, a->enabled);
    buf_varint(out, a->revision);
    buf_varint(out, a->n_roles);
    tree_walk(&a->roles, save_role, out);
    buf_varint(out, a->n_users);
    tree_walk(&a->users, save_user, out);
}

/* ---- loading: by the same changes, so that all they check holds ---- */

static bool take_bytes(struct span *s, struct span *out)
{
    uint64_t len;
    return span_varint(s, &len) && len <= s->len && span_take(s, (size_t)len, out);
}

static bool take_flag(struct span *s, bool *out)
{
    uint8_t v;
    if (!span_u8(s, &v) || v > 1)
        return false;
    *out = v == 1;
    return true;
}

static bool load_role(struct auth *a, struct span *s)
{
    struct span name;
    uint64_t n;
    if (!take_bytes(s, &name) || auth_role_add(a, name) != ERR_OK || !span_varint(s, &n))
        return false;
    for (uint64_t i = 0; i < n; i++) {
        struct auth_permission p = { 0 };
        uint8_t right;
        size_t size = a->size_bytes;
        if (!span_u8(s, &right) || !take_bytes(s, &p.key) || !take_bytes(s, &p.range_end))
            return false;
        p.right = right;
        if (auth_role_grant(a, name, &p) != ERR_OK || a->size_bytes == size)
            return false; /* the same range twice adds nothing */
    }
    return true;
}

static bool load_user(struct auth *a, struct span *s)
{
    struct span name, hash, role;
    bool no_password;
    uint64_t n;
    if (!take_bytes(s, &name) || !take_bytes(s, &hash) || !take_flag(s, &no_password) ||
        (no_password && hash.len) || auth_user_add(a, name, hash, no_password) != ERR_OK ||
        !span_varint(s, &n))
        return false;
    for (uint64_t i = 0; i < n; i++) {
        size_t size = a->size_bytes;
        if (!take_bytes(s, &role) || auth_user_grant(a, name, role) != ERR_OK ||
            a->size_bytes == size)
            return false;
    }
    return true;
}

enum err auth_load(struct auth *a, struct span *records)
{
    bool enabled;
    uint64_t revision, n;
    CHECK(!a->n_users && !a->n_roles && !a->enabled);
    if (!take_flag(records, &enabled) || !span_varint(records, &revision) || revision == 0 ||
        !span_varint(records, &n))
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < n; i++)
        if (!load_role(a, records))
            return ERR_CORRUPT;
    if (!span_varint(records, &n))
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < n; i++)
        if (!load_user(a, records))
            return ERR_CORRUPT;
    a->revision = revision;
    return enabled && auth_enable(a) != ERR_OK ? ERR_CORRUPT : ERR_OK;
}
