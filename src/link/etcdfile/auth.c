/* Users and roles: buckets "auth" (enabled, revision), "authRoles" and "authUsers" with messages of
 * authpb by name. They come in as the records that auth_load takes, so that it checks them. */
#include "link/etcdfile/etcdfile_int.h"
#include "wire/protobuf/etcdfile_pb.h"

static void put_bytes(struct buf *out, struct span s)
{
    buf_varint(out, s.len);
    buf_span(out, s);
}

/* Permissions that hold nothing are left out: etcd keeps what ends before it begins. */
static bool holds(const struct pb_stored_permission *p)
{
    return p->range_end.len == 0 || span_equal(p->range_end, SPAN("\0")) ||
           span_compare(p->key, p->range_end) < 0;
}

static enum err take_role(struct span value, struct arena *arena, struct buf *out)
{
    struct pb_stored_role r;
    uint64_t n = 0;
    if (pb_stored_role_decode(value, arena, &r) != ERR_OK)
        return ERR_CORRUPT;
    for (size_t i = 0; i < r.n_key_permission; i++)
        n += holds(&r.key_permission[i]);
    put_bytes(out, r.name);
    buf_varint(out, n);
    for (size_t i = 0; i < r.n_key_permission; i++) {
        const struct pb_stored_permission *p = &r.key_permission[i];
        if (!holds(p))
            continue;
        if (p->perm_type < 0 || p->perm_type >= AUTH_RIGHTS)
            return ERR_CORRUPT;
        buf_u8(out, (uint8_t)p->perm_type);
        put_bytes(out, p->key);
        put_bytes(out, p->range_end);
    }
    return ERR_OK;
}

static enum err take_user(struct span value, struct arena *arena, struct buf *out)
{
    struct pb_stored_user u;
    if (pb_stored_user_decode(value, arena, &u) != ERR_OK)
        return ERR_CORRUPT;
    bool no_password = u.options && u.options->no_password;
    put_bytes(out, u.name);
    put_bytes(out, no_password ? SPAN_NONE : u.password);
    buf_u8(out, no_password);
    buf_varint(out, u.n_roles);
    for (size_t i = 0; i < u.n_roles; i++)
        put_bytes(out, u.roles[i]);
    return ERR_OK;
}

/* How many there are, then each. */
static enum err take_all(const struct bbolt *db, const char *bucket,
                         enum err (*take)(struct span, struct arena *, struct buf *),
                         struct alloc *alloc, struct buf *out)
{
    struct bbolt_cursor c;
    struct span key, value;
    struct arena arena;
    struct buf all;
    uint64_t n = 0;
    enum err e = bbolt_bucket(db, span_text(bucket), &c);
    arena_open(&arena, alloc);
    buf_open(&all, alloc);
    while (e == ERR_OK && (e = bbolt_next(&c, &key, &value)) == ERR_OK) {
        arena_reset(&arena);
        e = take(value, &arena, &all);
        n++;
    }
    buf_varint(out, n);
    buf_span(out, buf_all(&all));
    buf_close(&all);
    arena_close(&arena);
    return e == ERR_END || e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err etcdfile_load_auth(const struct bbolt *db, bool enabled, uint64_t revision,
                            struct auth *auth, struct alloc *alloc)
{
    struct buf records;
    buf_open(&records, alloc);
    buf_u8(&records, enabled);
    buf_varint(&records, revision ? revision : 1);
    enum err e = take_all(db, "authRoles", take_role, alloc, &records);
    if (e == ERR_OK)
        e = take_all(db, "authUsers", take_user, alloc, &records);
    struct span all = buf_all(&records);
    if (e == ERR_OK)
        e = auth_load(auth, &all);
    buf_close(&records);
    return e == ERR_OK && all.len ? ERR_CORRUPT : e;
}

/* ---- writing ---- */

static void write_roles(struct bbolt_writer *w, const struct auth *a, struct arena *arena,
                        struct buf *value)
{
    struct auth_names names;
    auth_roles(a, arena, &names);
    for (size_t i = 0; i < names.n; i++) {
        struct auth_permissions held = { 0 };
        struct pb_stored_role r = { .name = names.items[i] };
        enum err e = auth_role_permissions(a, r.name, arena, &held);
        CHECK(e == ERR_OK);
        if (span_equal(r.name, AUTH_ROOT))
            held.n = 0; /* everything, without being told so */
        r.key_permission = ARENA_ARRAY(arena, struct pb_stored_permission, held.n + 1);
        r.n_key_permission = held.n;
        for (size_t k = 0; k < held.n; k++)
            r.key_permission[k] =
                (struct pb_stored_permission){ held.items[k].right, held.items[k].key,
                                               held.items[k].range_end };
        buf_reset(value);
        pb_stored_role_encode(&r, value);
        bbolt_write(w, r.name, buf_all(value));
    }
    bbolt_write_bucket(w, "authRoles");
}

static void write_users(struct bbolt_writer *w, const struct auth *a, struct arena *arena,
                        struct buf *value)
{
    struct auth_names names, roles;
    auth_users(a, arena, &names);
    for (size_t i = 0; i < names.n; i++) {
        struct pb_stored_user u = { .name = names.items[i] };
        struct pb_stored_user_options options = { .no_password = false };
        enum err e = auth_user_roles(a, u.name, arena, &roles);
        CHECK(e == ERR_OK && auth_user_secret(a, u.name, &u.password, &options.no_password));
        u.roles = roles.items;
        u.n_roles = roles.n;
        u.options = &options;
        buf_reset(value);
        pb_stored_user_encode(&u, value);
        bbolt_write(w, u.name, buf_all(value));
    }
    bbolt_write_bucket(w, "authUsers");
}

void etcdfile_write_auth(struct bbolt_writer *w, const struct auth *a, struct alloc *alloc)
{
    struct arena arena;
    struct buf value;
    uint8_t revision[8], enabled[1] = { auth_enabled(a) };
    arena_open(&arena, alloc);
    buf_open(&value, alloc);
    etcdfile_put_number(revision, auth_revision(a));
    bbolt_write(w, SPAN("authEnabled"), span_of(enabled, 1));
    bbolt_write(w, SPAN("authRevision"), span_of(revision, 8));
    bbolt_write_bucket(w, "auth");
    write_roles(w, a, &arena, &value);
    write_users(w, a, &arena, &value);
    buf_close(&value);
    arena_close(&arena);
}
