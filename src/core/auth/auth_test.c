#include "core/auth/auth.h"
#include "base/prng.h"
#include "base/test.h"

struct bench {
    struct alloc heap;
    struct arena arena;
    struct auth *a;
};

static void bench_open(struct bench *b)
{
    *b = (struct bench){ 0 };
    alloc_heap(&b->heap);
    arena_open(&b->arena, &b->heap);
    b->a = auth_open(&b->heap);
}

static bool bench_close(struct bench *b)
{
    auth_close(b->a);
    arena_close(&b->arena);
    return b->heap.used == 0;
}

#define S(text) span_text(text)
/* Keys with zero bytes in them. */
#define FROM SPAN("\0")

static enum err user(struct bench *b, const char *name)
{
    return auth_user_add(b->a, S(name), S("hash"), false);
}

static enum err grant(struct bench *b, const char *role, int32_t right, struct span key,
                      struct span end)
{
    struct auth_permission p = { right, key, end };
    return auth_role_grant(b->a, S(role), &p);
}

/* User u with role r, and root; enabled. */
static bool ready(struct bench *b)
{
    bool ok = user(b, "root") == ERR_OK && user(b, "u") == ERR_OK;
    ok = ok && auth_user_grant(b->a, S("root"), S("root")) == ERR_OK;
    ok = ok && auth_role_add(b->a, S("r")) == ERR_OK;
    ok = ok && auth_user_grant(b->a, S("u"), S("r")) == ERR_OK;
    return ok && auth_enable(b->a) == ERR_OK;
}

static enum err may(struct bench *b, const char *name, enum auth_right right, struct span key,
                    struct span end)
{
    return auth_may(b->a, S(name), auth_revision(b->a), right, key, end);
}

/* ---- changes: etcd's errors in etcd's order (server/auth/store.go) ---- */

TEST(auth_enabling)
{
    struct bench b;
    bench_open(&b);
    EXPECT(auth_revision(b.a) == 1 && !auth_enabled(b.a));
    EXPECT(auth_enable(b.a) == ERR_AUTH_ROOT_USER);
    EXPECT(user(&b, "root") == ERR_OK && auth_enable(b.a) == ERR_AUTH_ROOT_ROLE);
    EXPECT(auth_user_grant(b.a, S("root"), S("root")) == ERR_OK && auth_revision(b.a) == 3);
    EXPECT(auth_enable(b.a) == ERR_OK && auth_enabled(b.a) && auth_enable(b.a) == ERR_OK);
    EXPECT(auth_revision(b.a) == 3);
    auth_disable(b.a);
    EXPECT(!auth_enabled(b.a) && auth_revision(b.a) == 4);
    auth_disable(b.a);
    EXPECT(auth_revision(b.a) == 4);
    EXPECT(bench_close(&b));
}

TEST(auth_root_stays_root)
{
    struct bench b;
    bench_open(&b);
    EXPECT(ready(&b) && auth_role_add(b.a, S("root")) == ERR_OK);
    EXPECT(auth_user_delete(b.a, S("root")) == ERR_AUTH_MGMT);
    EXPECT(auth_user_revoke(b.a, S("root"), S("root")) == ERR_AUTH_MGMT);
    EXPECT(auth_role_delete(b.a, S("root")) == ERR_AUTH_MGMT);
    auth_disable(b.a);
    EXPECT(auth_role_delete(b.a, S("root")) == ERR_OK);
    EXPECT(auth_enable(b.a) == ERR_AUTH_ROOT_ROLE); /* it went with the role */
    EXPECT(auth_user_delete(b.a, S("root")) == ERR_OK);
    EXPECT(bench_close(&b));
}

TEST(auth_users_and_roles)
{
    struct bench b;
    struct auth_names names;
    struct span hash;
    bool no_password;
    bench_open(&b);
    EXPECT(user(&b, "") == ERR_USER_EMPTY && user(&b, "u") == ERR_OK);
    EXPECT(user(&b, "u") == ERR_USER_EXISTS);
    EXPECT(auth_user_add(b.a, S("cert"), S("hash"), true) == ERR_OK);
    EXPECT(auth_user_secret(b.a, S("cert"), &hash, &no_password) && no_password && !hash.len);
    EXPECT(auth_user_password(b.a, S("cert"), S("other")) == ERR_OK);
    EXPECT(auth_user_secret(b.a, S("cert"), &hash, &no_password) && no_password && !hash.len);
    EXPECT(auth_user_password(b.a, S("u"), S("other")) == ERR_OK);
    EXPECT(auth_user_secret(b.a, S("u"), &hash, &no_password) && span_is(hash, "other"));
    EXPECT(!auth_user_secret(b.a, S("x"), &hash, &no_password));
    EXPECT(auth_user_password(b.a, S("x"), S("h")) == ERR_USER_NOT_FOUND);
    EXPECT(auth_user_delete(b.a, S("x")) == ERR_USER_NOT_FOUND);
    EXPECT(auth_user_grant(b.a, S("x"), S("r")) == ERR_USER_NOT_FOUND);
    EXPECT(auth_user_grant(b.a, S("u"), S("r")) == ERR_ROLE_NOT_FOUND);
    EXPECT(auth_user_revoke(b.a, S("x"), S("r")) == ERR_USER_NOT_FOUND);
    EXPECT(auth_role_add(b.a, S("")) == ERR_ROLE_EMPTY && auth_role_add(b.a, S("r")) == ERR_OK);
    EXPECT(auth_role_add(b.a, S("r")) == ERR_ROLE_EXISTS && auth_role_add(b.a, S("q")) == ERR_OK);
    EXPECT(auth_user_revoke(b.a, S("u"), S("r")) == ERR_ROLE_NOT_GRANTED);
    uint64_t revision = auth_revision(b.a);
    EXPECT(auth_user_grant(b.a, S("u"), S("r")) == ERR_OK && auth_revision(b.a) == revision + 1);
    EXPECT(auth_user_grant(b.a, S("u"), S("r")) == ERR_OK && auth_revision(b.a) == revision + 1);
    EXPECT(auth_user_grant(b.a, S("u"), S("q")) == ERR_OK);
    EXPECT(auth_user_roles(b.a, S("u"), &b.arena, &names) == ERR_OK && names.n == 2);
    EXPECT(span_is(names.items[0], "q") && span_is(names.items[1], "r"));
    EXPECT(auth_role_delete(b.a, S("q")) == ERR_OK && !auth_has_role(b.a, S("u"), S("q")));
    EXPECT(auth_role_delete(b.a, S("q")) == ERR_ROLE_NOT_FOUND);
    auth_users(b.a, &b.arena, &names);
    EXPECT(names.n == 2 && span_is(names.items[0], "cert") && span_is(names.items[1], "u"));
    auth_roles(b.a, &b.arena, &names);
    EXPECT(names.n == 1 && span_is(names.items[0], "r"));
    EXPECT(auth_user_roles(b.a, S("x"), &b.arena, &names) == ERR_USER_NOT_FOUND);
    EXPECT(auth_user_delete(b.a, S("u")) == ERR_OK && auth_user_delete(b.a, S("cert")) == ERR_OK);
    EXPECT(auth_role_delete(b.a, S("r")) == ERR_OK && auth_size_bytes(b.a) == 0);
    EXPECT(bench_close(&b));
}

TEST(auth_permissions)
{
    struct bench b;
    struct auth_permissions p;
    bench_open(&b);
    EXPECT(ready(&b));
    EXPECT(auth_role_grant(b.a, S("r"), NULL) == ERR_PERMISSION_NOT_GIVEN);
    EXPECT(grant(&b, "x", AUTH_READ, S("a"), S("b")) == ERR_ROLE_NOT_FOUND);
    EXPECT(grant(&b, "r", AUTH_READ, S(""), S("b")) == ERR_AUTH_MGMT);
    EXPECT(grant(&b, "r", AUTH_READ, S("b"), S("b")) == ERR_AUTH_MGMT);
    EXPECT(grant(&b, "r", AUTH_READ, S("b"), S("a")) == ERR_AUTH_MGMT);
    EXPECT(grant(&b, "r", 3, S("a"), S("b")) == ERR_AUTH_MGMT);
    EXPECT(grant(&b, "r", AUTH_READ, S("a"), S("c")) == ERR_OK);
    EXPECT(grant(&b, "r", AUTH_READ, S("a"), S("b")) == ERR_OK);
    EXPECT(grant(&b, "r", AUTH_WRITE, S("a"), S("c")) == ERR_OK); /* takes its place */
    EXPECT(auth_role_permissions(b.a, S("r"), &b.arena, &p) == ERR_OK && p.n == 2);
    EXPECT(span_is(p.items[0].range_end, "b") && p.items[0].right == AUTH_READ);
    EXPECT(span_is(p.items[1].range_end, "c") && p.items[1].right == AUTH_WRITE);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), SPAN_NONE) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("b"), SPAN_NONE) == ERR_PERMISSION_DENIED);
    EXPECT(may(&b, "u", AUTH_WRITE, S("b"), SPAN_NONE) == ERR_OK);
    EXPECT(auth_role_revoke(b.a, S("r"), S("a"), SPAN_NONE) == ERR_PERMISSION_NOT_GRANTED);
    EXPECT(auth_role_revoke(b.a, S("x"), S("a"), S("c")) == ERR_ROLE_NOT_FOUND);
    EXPECT(auth_role_revoke(b.a, S("r"), S("a"), S("c")) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_WRITE, S("b"), SPAN_NONE) == ERR_PERMISSION_DENIED);
    EXPECT(auth_role_permissions(b.a, S("x"), &b.arena, &p) == ERR_ROLE_NOT_FOUND);
    EXPECT(auth_role_add(b.a, S("root")) == ERR_OK);
    EXPECT(auth_role_permissions(b.a, S("root"), &b.arena, &p) == ERR_OK && p.n == 1);
    EXPECT(p.items[0].right == AUTH_READ_WRITE && !p.items[0].key.len &&
           span_equal(p.items[0].range_end, FROM));
    EXPECT(bench_close(&b));
}

TEST(auth_bounds)
{
    static uint8_t many[AUTH_KEY_MAX + 1];
    struct bench b;
    bench_open(&b);
    EXPECT(ready(&b));
    memset(many, 'x', sizeof(many));
    struct span name = span_of(many, AUTH_NAME_MAX), longer = span_of(many, AUTH_NAME_MAX + 1);
    EXPECT(auth_user_add(b.a, longer, S("h"), false) == ERR_AUTH_LIMIT);
    EXPECT(auth_user_add(b.a, name, span_of(many, AUTH_HASH_MAX + 1), false) == ERR_AUTH_LIMIT);
    EXPECT(auth_user_add(b.a, name, span_of(many, AUTH_HASH_MAX), false) == ERR_OK);
    EXPECT(auth_user_password(b.a, name, span_of(many, AUTH_HASH_MAX + 1)) == ERR_AUTH_LIMIT);
    EXPECT(auth_role_add(b.a, longer) == ERR_AUTH_LIMIT && auth_role_add(b.a, name) == ERR_OK);
    EXPECT(grant(&b, "r", AUTH_READ, span_of(many, sizeof(many)), FROM) == ERR_AUTH_LIMIT);
    enum err e = ERR_OK;
    uint64_t revision = 0;
    for (size_t i = 0; i < AUTH_BYTES_MAX / AUTH_KEY_MAX && e == ERR_OK; i++) {
        revision = auth_revision(b.a);
        many[0] = (uint8_t)i;
        many[1] = (uint8_t)(i >> 8);
        e = grant(&b, "r", AUTH_READ, span_of(many, AUTH_KEY_MAX), FROM);
    }
    EXPECT(e == ERR_AUTH_LIMIT && auth_revision(b.a) == revision);
    EXPECT(auth_size_bytes(b.a) <= AUTH_BYTES_MAX);
    EXPECT(auth_size_bytes(b.a) > AUTH_BYTES_MAX - AUTH_KEY_MAX - AUTH_COST_BYTES - 1);
    EXPECT(auth_role_delete(b.a, S("r")) == ERR_OK && auth_size_bytes(b.a) < 4096);
    EXPECT(bench_close(&b));
}

/* ---- asking ---- */

TEST(auth_who_asks)
{
    struct bench b;
    bench_open(&b);
    EXPECT(ready(&b) && grant(&b, "r", AUTH_READ_WRITE, S("a"), SPAN_NONE) == ERR_OK);
    uint64_t now = auth_revision(b.a);
    EXPECT(auth_may(b.a, S("u"), 0, AUTH_READ, S("a"), SPAN_NONE) == ERR_USER_EMPTY);
    EXPECT(auth_may(b.a, S(""), now, AUTH_READ, S("a"), SPAN_NONE) == ERR_USER_EMPTY);
    EXPECT(auth_may(b.a, S("u"), now - 1, AUTH_READ, S("a"), SPAN_NONE) == ERR_AUTH_OLD_REVISION);
    EXPECT(auth_may(b.a, S("root"), now - 1, AUTH_READ, S("a"), SPAN_NONE) ==
           ERR_AUTH_OLD_REVISION);
    EXPECT(auth_may(b.a, S("x"), now, AUTH_READ, S("a"), SPAN_NONE) == ERR_PERMISSION_DENIED);
    EXPECT(auth_may(b.a, S("u"), now, AUTH_READ, S("a"), SPAN_NONE) == ERR_OK);
    EXPECT(auth_may(b.a, S("root"), now, AUTH_WRITE, FROM, FROM) == ERR_OK);
    EXPECT(auth_admin(b.a, S("root"), 0) == ERR_USER_EMPTY);
    EXPECT(auth_admin(b.a, S("root"), 1) == ERR_OK); /* etcd: whatever the revision */
    EXPECT(auth_admin(b.a, S("x"), now) == ERR_USER_NOT_FOUND);
    EXPECT(auth_admin(b.a, S("u"), now) == ERR_PERMISSION_DENIED);
    EXPECT(auth_login(b.a, S("u"), 0) == ERR_USER_EMPTY && auth_login(b.a, S("u"), 1) == ERR_OK);
    EXPECT(auth_login(b.a, S("x"), now) == ERR_PERMISSION_DENIED);
    EXPECT(bench_close(&b));
}

/* The union of what several roles give, also where ranges only touch. */
TEST(auth_union_of_ranges)
{
    struct bench b;
    bench_open(&b);
    EXPECT(ready(&b) && auth_role_add(b.a, S("s")) == ERR_OK);
    EXPECT(auth_user_grant(b.a, S("u"), S("s")) == ERR_OK);
    EXPECT(grant(&b, "r", AUTH_READ, S("a"), S("c")) == ERR_OK);
    EXPECT(grant(&b, "s", AUTH_READ, S("c"), S("e")) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), S("e")) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), S("e\1")) == ERR_PERMISSION_DENIED);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), FROM) == ERR_PERMISSION_DENIED);
    EXPECT(may(&b, "u", AUTH_READ, S("e"), SPAN_NONE) == ERR_PERMISSION_DENIED);
    /* One key, and what begins right behind it. */
    EXPECT(grant(&b, "s", AUTH_READ, S("e"), SPAN_NONE) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), SPAN("e\0")) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), S("f")) == ERR_PERMISSION_DENIED);
    EXPECT(grant(&b, "r", AUTH_READ, SPAN("e\0"), FROM) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("a"), FROM) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, FROM, FROM) == ERR_PERMISSION_DENIED);
    EXPECT(may(&b, "u", AUTH_WRITE, S("a"), SPAN_NONE) == ERR_PERMISSION_DENIED);
    EXPECT(auth_role_delete(b.a, S("s")) == ERR_OK);
    EXPECT(may(&b, "u", AUTH_READ, S("b"), S("d")) == ERR_PERMISSION_DENIED);
    EXPECT(bench_close(&b));
}

/* ---- a model: every key of up to three bytes of three values, one by one ---- */

enum { USERS = 3, ROLES = 3, BYTES = 3, KEYS = 3 + 9 + 27, SHORT_KEYS = 3 + 9, PERMISSIONS = 6 };

struct model {
    struct bench b;
    struct prng prng;
    bool users[USERS], roles[ROLES], has[USERS][ROLES];
    struct {
        bool there;
        int32_t right;
        size_t key, end; /* end: KEYS + 1 none, KEYS from key on */
    } permissions[ROLES][PERMISSIONS];
};

static struct span universe[KEYS];

static void universe_make(void)
{
    static uint8_t bytes[KEYS][3];
    static const uint8_t letters[BYTES] = { 0, 'a', 0xff };
    size_t n = 0;
    for (size_t len = 1; len <= 3; len++)
        for (size_t i = 0; i < (len == 1 ? 3u : len == 2 ? 9u : 27u); i++, n++) {
            for (size_t k = 0, rest = i; k < len; k++, rest /= BYTES)
                bytes[n][k] = letters[rest % BYTES];
            universe[n] = span_of(bytes[n], len);
        }
}

static size_t draw(struct model *m, size_t n)
{
    return (size_t)prng_below(&m->prng, n);
}

static struct span end_of(size_t end)
{
    return end == KEYS + 1 ? SPAN_NONE : end == KEYS ? FROM : universe[end];
}

/* As the protocol says it; a range end of one zero byte is FROM, so universe[0] is none. */
static bool inside(struct span key, struct span begin, struct span end)
{
    if (!end.len)
        return span_equal(key, begin);
    return span_compare(key, begin) >= 0 && (span_equal(end, FROM) || span_compare(key, end) < 0);
}

static bool model_may(const struct model *m, size_t u, enum auth_right right, struct span begin,
                      struct span end)
{
    for (size_t k = 0; k < KEYS; k++) {
        bool allowed = !inside(universe[k], begin, end);
        for (size_t r = 0; r < ROLES; r++)
            for (size_t i = 0; m->has[u][r] && i < PERMISSIONS; i++)
                allowed = allowed || (m->permissions[r][i].there &&
                                      (m->permissions[r][i].right == AUTH_READ_WRITE ||
                                       m->permissions[r][i].right == (int32_t)right) &&
                                      inside(universe[k], universe[m->permissions[r][i].key],
                                             end_of(m->permissions[r][i].end)));
        if (!allowed)
            return false;
    }
    return true;
}

static const char *const user_names[USERS] = { "u0", "u1", "u2" };
static const char *const role_names[ROLES] = { "r0", "r1", "r2" };

static bool change_user(struct model *m)
{
    size_t u = draw(m, USERS);
    if (draw(m, 3) || !m->users[u]) {
        enum err e = user(&m->b, user_names[u]);
        bool ok = e == (m->users[u] ? ERR_USER_EXISTS : ERR_OK);
        m->users[u] = true;
        return ok;
    }
    m->users[u] = false;
    memset(m->has[u], 0, sizeof(m->has[u]));
    return auth_user_delete(m->b.a, S(user_names[u])) == ERR_OK;
}

static bool change_role(struct model *m)
{
    size_t r = draw(m, ROLES);
    if (draw(m, 3) || !m->roles[r]) {
        enum err e = auth_role_add(m->b.a, S(role_names[r]));
        bool ok = e == (m->roles[r] ? ERR_ROLE_EXISTS : ERR_OK);
        m->roles[r] = true;
        return ok;
    }
    m->roles[r] = false;
    memset(m->permissions[r], 0, sizeof(m->permissions[r]));
    for (size_t u = 0; u < USERS; u++)
        m->has[u][r] = false;
    return auth_role_delete(m->b.a, S(role_names[r])) == ERR_OK;
}

static bool change_grant(struct model *m)
{
    size_t u = draw(m, USERS), r = draw(m, ROLES);
    if (draw(m, 2)) {
        enum err e = auth_user_grant(m->b.a, S(user_names[u]), S(role_names[r]));
        bool both = m->users[u] && m->roles[r];
        m->has[u][r] = m->has[u][r] || both;
        return e == (!m->users[u]   ? ERR_USER_NOT_FOUND
                     : !m->roles[r] ? ERR_ROLE_NOT_FOUND
                                    : ERR_OK);
    }
    enum err e = auth_user_revoke(m->b.a, S(user_names[u]), S(role_names[r]));
    bool had = m->has[u][r];
    m->has[u][r] = false;
    return e == (!m->users[u] ? ERR_USER_NOT_FOUND : had ? ERR_OK : ERR_ROLE_NOT_GRANTED);
}

static bool change_permission(struct model *m)
{
    size_t r = draw(m, ROLES), i = draw(m, PERMISSIONS);
    if (!m->roles[r])
        return true;
    if (m->permissions[r][i].there) {
        m->permissions[r][i].there = false;
        return auth_role_revoke(m->b.a, S(role_names[r]), universe[m->permissions[r][i].key],
                                end_of(m->permissions[r][i].end)) == ERR_OK;
    }
    size_t key = draw(m, SHORT_KEYS), end = draw(m, 2) ? KEYS + draw(m, 2) : draw(m, SHORT_KEYS);
    for (size_t k = 0; k < PERMISSIONS; k++)
        if (m->permissions[r][k].there && m->permissions[r][k].key == key &&
            span_equal(end_of(m->permissions[r][k].end), end_of(end)))
            return true;
    bool valid = end >= KEYS || span_equal(universe[end], FROM) ||
                 span_compare(universe[key], universe[end]) < 0;
    int32_t right = (int32_t)draw(m, AUTH_RIGHTS);
    m->permissions[r][i].there = valid;
    m->permissions[r][i].right = right;
    m->permissions[r][i].key = key;
    m->permissions[r][i].end = end;
    return grant(&m->b, role_names[r], right, universe[key], end_of(end)) ==
           (valid ? ERR_OK : ERR_AUTH_MGMT);
}

static bool asks_agree(struct model *m)
{
    for (int i = 0; i < 20; i++) {
        size_t u = draw(m, USERS);
        enum auth_right right = draw(m, 2) ? AUTH_READ : AUTH_WRITE;
        struct span key = universe[draw(m, KEYS)], end = end_of(draw(m, KEYS + 2));
        if (end.len && !span_equal(end, FROM) && span_compare(key, end) >= 0)
            continue; /* nothing is in it; etcd's answer has no rule */
        bool want = m->users[u] && model_may(m, u, right, key, end);
        if ((may(&m->b, user_names[u], right, key, end) == ERR_OK) != want)
            return false;
    }
    return true;
}

/* What is saved comes back, and is all there is. */
static bool reload(struct model *m)
{
    struct buf once, twice;
    buf_open(&once, &m->b.heap);
    buf_open(&twice, &m->b.heap);
    auth_save(m->b.a, &once);
    size_t size = auth_size_bytes(m->b.a);
    auth_close(m->b.a);
    m->b.a = auth_open(&m->b.heap);
    struct span rest = buf_all(&once);
    bool ok = auth_load(m->b.a, &rest) == ERR_OK && !rest.len && auth_size_bytes(m->b.a) == size;
    auth_save(m->b.a, &twice);
    ok = ok && span_equal(buf_all(&once), buf_all(&twice));
    buf_close(&once);
    buf_close(&twice);
    return ok;
}

TEST(auth_model)
{
    static bool (*const changes[])(
        struct model *) = { change_user,       change_role,       change_grant,     change_grant,
                            change_permission, change_permission, change_permission };
    struct model m;
    universe_make();
    for (uint64_t seed = 1; seed <= 20; seed++) {
        m = (struct model){ 0 };
        bench_open(&m.b);
        m.prng.state = seed;
        EXPECT(user(&m.b, "root") == ERR_OK);
        EXPECT(auth_user_grant(m.b.a, S("root"), S("root")) == ERR_OK);
        EXPECT(auth_enable(m.b.a) == ERR_OK);
        for (int i = 0; i < 150; i++) {
            EXPECT(changes[draw(&m, sizeof(changes) / sizeof(changes[0]))](&m));
            EXPECT(asks_agree(&m));
            EXPECT(i % 25 || reload(&m));
        }
        EXPECT(bench_close(&m.b));
    }
}

/* ---- checkpoint ---- */

/* Every cut is found; every changed byte is found, or loads as something else that holds. */
TEST(auth_load_of_damaged_bytes)
{
    struct bench b;
    struct buf saved, again;
    bench_open(&b);
    buf_open(&saved, &b.heap);
    buf_open(&again, &b.heap);
    EXPECT(ready(&b) && auth_user_add(b.a, S("cert"), SPAN_NONE, true) == ERR_OK);
    EXPECT(grant(&b, "r", AUTH_READ, S("a"), S("c")) == ERR_OK);
    EXPECT(grant(&b, "r", AUTH_WRITE, S("a"), SPAN_NONE) == ERR_OK);
    auth_save(b.a, &saved);
    for (size_t i = 0; i <= saved.len; i++)
        for (int change = 0; change < (i == saved.len ? 1 : 257); change++) {
            uint8_t was = i < saved.len ? saved.data[i] : 0;
            struct auth *a = auth_open(&b.heap);
            struct span rest = change == 256 ? span_of(saved.data, i) : buf_all(&saved);
            if (change < 256 && i < saved.len)
                saved.data[i] = (uint8_t)change;
            enum err e = auth_load(a, &rest);
            EXPECT(change < 256 || e == ERR_CORRUPT);
            if (e == ERR_OK && !rest.len) {
                buf_reset(&again);
                auth_save(a, &again);
                EXPECT(again.len <= saved.len); /* it may say a number in more bytes */
            }
            if (i < saved.len)
                saved.data[i] = was;
            auth_close(a);
        }
    buf_close(&saved);
    buf_close(&again);
    EXPECT(bench_close(&b));
}
