#include "base/check.h"
#include "core/auth/auth_int.h"

static struct user *user_of(const struct tree_node *n)
{
    return (struct user *)(uintptr_t)n;
}

static struct role *role_of(const struct tree_node *n)
{
    return (struct role *)(uintptr_t)n;
}

static int compare_user(const void *name, const struct tree_node *n)
{
    return span_compare(*(const struct span *)name, user_of(n)->name);
}

static int compare_role(const void *name, const struct tree_node *n)
{
    return span_compare(*(const struct span *)name, role_of(n)->name);
}

static const struct tree_type type_users = { compare_user, NULL };
static const struct tree_type type_roles = { compare_role, NULL };

/* ---- memory ---- */

static struct span keep(const struct auth *a, struct span s)
{
    if (!s.len)
        return SPAN_NONE;
    void *p = mem_alloc(a->alloc, s.len);
    memcpy(p, s.data, s.len);
    return span_of(p, s.len);
}

static void drop(const struct auth *a, struct span s)
{
    mem_free(a->alloc, (void *)(uintptr_t)s.data, s.len);
}

static void free_user(struct tree_node *n, void *context)
{
    struct auth *a = context;
    struct user *u = user_of(n);
    for (size_t i = 0; i < u->roles.n; i++)
        drop(a, u->roles.items[i]);
    VEC_CLOSE(&u->roles, a->alloc);
    auth_ranges_close(a, u);
    drop(a, u->name);
    drop(a, u->hash);
    mem_free(a->alloc, u, sizeof(*u));
}

static void free_role(struct tree_node *n, void *context)
{
    struct auth *a = context;
    struct role *r = role_of(n);
    for (size_t i = 0; i < r->permissions.n; i++) {
        drop(a, r->permissions.items[i].key);
        drop(a, r->permissions.items[i].range_end);
    }
    VEC_CLOSE(&r->permissions, a->alloc);
    drop(a, r->name);
    mem_free(a->alloc, r, sizeof(*r));
}

struct auth *auth_open(struct alloc *alloc)
{
    struct auth *a = mem_zero(alloc, sizeof(*a));
    a->alloc = alloc;
    a->revision = 1;
    a->users.type = &type_users;
    a->roles.type = &type_roles;
    return a;
}

void auth_close(struct auth *a)
{
    if (!a)
        return;
    tree_walk(&a->users, free_user, a);
    tree_walk(&a->roles, free_role, a);
    mem_free(a->alloc, a, sizeof(*a));
}

struct user *auth_find_user(const struct auth *a, struct span name)
{
    const struct tree_node *n = tree_find(&a->users, &name);
    return n ? user_of(n) : NULL;
}

struct role *auth_find_role(const struct auth *a, struct span name)
{
    const struct tree_node *n = tree_find(&a->roles, &name);
    return n ? role_of(n) : NULL;
}

bool auth_enabled(const struct auth *a)
{
    return a->enabled;
}

uint64_t auth_revision(const struct auth *a)
{
    return a->revision;
}

size_t auth_size_bytes(const struct auth *a)
{
    return a->size_bytes;
}

/* Whether so much more may be kept. */
static bool room(const struct auth *a, size_t size)
{
    return size <= AUTH_BYTES_MAX - a->size_bytes;
}

static size_t user_size(const struct user *u)
{
    size_t size = AUTH_COST_BYTES + u->name.len + u->hash.len;
    for (size_t i = 0; i < u->roles.n; i++)
        size += AUTH_COST_BYTES + u->roles.items[i].len;
    return size;
}

static size_t permission_size(const struct auth_permission *p)
{
    return AUTH_COST_BYTES + p->key.len + p->range_end.len;
}

static size_t role_size(const struct role *r)
{
    size_t size = AUTH_COST_BYTES + r->name.len;
    for (size_t i = 0; i < r->permissions.n; i++)
        size += permission_size(&r->permissions.items[i]);
    return size;
}

/* Where role stands among the user's, or would. */
static bool user_role_at(const struct user *u, struct span role, size_t *at)
{
    size_t low = 0, high = u->roles.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_compare(u->roles.items[middle], role) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    return low < u->roles.n && span_equal(u->roles.items[low], role);
}

static bool is_root(const struct user *u)
{
    size_t at;
    return user_role_at(u, AUTH_ROOT, &at);
}

/* ---- changes ---- */

enum err auth_enable(struct auth *a)
{
    const struct user *root = auth_find_user(a, AUTH_ROOT);
    if (a->enabled)
        return ERR_OK;
    if (!root)
        return ERR_AUTH_ROOT_USER;
    if (!is_root(root))
        return ERR_AUTH_ROOT_ROLE;
    a->enabled = true;
    return ERR_OK;
}

void auth_disable(struct auth *a)
{
    a->revision += a->enabled;
    a->enabled = false;
}

enum err auth_user_add(struct auth *a, struct span user, struct span hash, bool no_password)
{
    if (!user.len)
        return ERR_USER_EMPTY;
    if (auth_find_user(a, user))
        return ERR_USER_EXISTS;
    if (no_password)
        hash = SPAN_NONE;
    size_t size = AUTH_COST_BYTES + user.len + hash.len;
    if (user.len > AUTH_NAME_MAX || hash.len > AUTH_HASH_MAX || !room(a, size))
        return ERR_AUTH_LIMIT;
    struct user *u = mem_zero(a->alloc, sizeof(*u));
    u->name = keep(a, user);
    u->hash = keep(a, hash);
    u->no_password = no_password;
    tree_insert(&a->users, &u->name, &u->node);
    a->n_users++;
    a->size_bytes += size;
    a->revision++;
    return ERR_OK;
}

enum err auth_user_delete(struct auth *a, struct span user)
{
    if (a->enabled && span_equal(user, AUTH_ROOT))
        return ERR_AUTH_MGMT;
    struct user *u = auth_find_user(a, user);
    if (!u)
        return ERR_USER_NOT_FOUND;
    struct tree_node *was = tree_remove(&a->users, &user);
    CHECK(was == &u->node);
    a->n_users--;
    a->size_bytes -= user_size(u);
    free_user(&u->node, a);
    a->revision++;
    return ERR_OK;
}

enum err auth_user_password(struct auth *a, struct span user, struct span hash)
{
    struct user *u = auth_find_user(a, user);
    if (!u)
        return ERR_USER_NOT_FOUND;
    if (u->no_password)
        hash = SPAN_NONE; /* etcd: it stays without */
    if (hash.len > AUTH_HASH_MAX || !room(a, hash.len))
        return ERR_AUTH_LIMIT;
    a->size_bytes += hash.len;
    a->size_bytes -= u->hash.len;
    drop(a, u->hash);
    u->hash = keep(a, hash);
    a->revision++;
    return ERR_OK;
}

enum err auth_user_grant(struct auth *a, struct span user, struct span role)
{
    struct user *u = auth_find_user(a, user);
    size_t at;
    if (!u)
        return ERR_USER_NOT_FOUND;
    if (!span_equal(role, AUTH_ROOT) && !auth_find_role(a, role))
        return ERR_ROLE_NOT_FOUND;
    if (user_role_at(u, role, &at))
        return ERR_OK;
    if (!room(a, AUTH_COST_BYTES + role.len))
        return ERR_AUTH_LIMIT;
    VEC_PUSH(&u->roles, a->alloc, SPAN_NONE);
    memmove(u->roles.items + at + 1, u->roles.items + at, (u->roles.n - 1 - at) * sizeof(role));
    u->roles.items[at] = keep(a, role);
    a->size_bytes += AUTH_COST_BYTES + role.len;
    a->revision++;
    return ERR_OK;
}

/* False: the user does not have it. */
static bool take_role(struct auth *a, struct user *u, struct span role)
{
    size_t at;
    if (!user_role_at(u, role, &at))
        return false;
    a->size_bytes -= AUTH_COST_BYTES + role.len;
    drop(a, u->roles.items[at]);
    u->roles.n--;
    memmove(u->roles.items + at, u->roles.items + at + 1, (u->roles.n - at) * sizeof(role));
    return true;
}

enum err auth_user_revoke(struct auth *a, struct span user, struct span role)
{
    if (a->enabled && span_equal(user, AUTH_ROOT) && span_equal(role, AUTH_ROOT))
        return ERR_AUTH_MGMT;
    struct user *u = auth_find_user(a, user);
    if (!u)
        return ERR_USER_NOT_FOUND;
    if (!take_role(a, u, role))
        return ERR_ROLE_NOT_GRANTED;
    a->revision++;
    return ERR_OK;
}

enum err auth_role_add(struct auth *a, struct span role)
{
    if (!role.len)
        return ERR_ROLE_EMPTY;
    if (auth_find_role(a, role))
        return ERR_ROLE_EXISTS;
    if (role.len > AUTH_NAME_MAX || !room(a, AUTH_COST_BYTES + role.len))
        return ERR_AUTH_LIMIT;
    struct role *r = mem_zero(a->alloc, sizeof(*r));
    r->name = keep(a, role);
    tree_insert(&a->roles, &r->name, &r->node);
    a->n_roles++;
    a->size_bytes += AUTH_COST_BYTES + role.len;
    a->revision++;
    return ERR_OK;
}

struct taking {
    struct auth *auth;
    struct span role;
};

static void take_from(struct tree_node *n, void *context)
{
    struct taking *t = context;
    take_role(t->auth, user_of(n), t->role);
}

enum err auth_role_delete(struct auth *a, struct span role)
{
    struct taking t = { a, role };
    if (a->enabled && span_equal(role, AUTH_ROOT))
        return ERR_AUTH_MGMT;
    struct role *r = auth_find_role(a, role);
    if (!r)
        return ERR_ROLE_NOT_FOUND;
    tree_walk(&a->users, take_from, &t);
    struct tree_node *was = tree_remove(&a->roles, &role);
    CHECK(was == &r->node);
    a->n_roles--;
    a->size_bytes -= role_size(r);
    free_role(&r->node, a);
    a->revision++;
    return ERR_OK;
}

bool auth_range_valid(struct span key, struct span range_end)
{
    bool open = range_end.len == 1 && range_end.data[0] == 0;
    return key.len && (!range_end.len || open || span_compare(key, range_end) < 0);
}

static int compare_permissions(const struct auth_permission *a, const struct auth_permission *b)
{
    int c = span_compare(a->key, b->key);
    return c ? c : span_compare(a->range_end, b->range_end);
}

/* Where this range stands among the role's, or would. */
static bool permission_at(const struct role *r, const struct auth_permission *p, size_t *at)
{
    size_t low = 0, high = r->permissions.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_permissions(&r->permissions.items[middle], p) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    return low < r->permissions.n && compare_permissions(&r->permissions.items[low], p) == 0;
}

enum err auth_role_grant(struct auth *a, struct span role, const struct auth_permission *p)
{
    size_t at;
    if (!p)
        return ERR_PERMISSION_NOT_GIVEN;
    if (p->right < AUTH_READ || p->right > AUTH_READ_WRITE ||
        !auth_range_valid(p->key, p->range_end))
        return ERR_AUTH_MGMT;
    struct role *r = auth_find_role(a, role);
    if (!r)
        return ERR_ROLE_NOT_FOUND;
    if (permission_at(r, p, &at)) {
        r->permissions.items[at].right = p->right;
        a->revision++;
        return ERR_OK;
    }
    if (p->key.len > AUTH_KEY_MAX || p->range_end.len > AUTH_KEY_MAX ||
        !room(a, permission_size(p)))
        return ERR_AUTH_LIMIT;
    VEC_PUSH(&r->permissions, a->alloc, *p);
    struct auth_permission *place = &r->permissions.items[at];
    memmove(place + 1, place, (r->permissions.n - 1 - at) * sizeof(*p));
    *place = (struct auth_permission){ p->right, keep(a, p->key), keep(a, p->range_end) };
    a->size_bytes += permission_size(p);
    a->revision++;
    return ERR_OK;
}

enum err auth_role_revoke(struct auth *a, struct span role, struct span key, struct span range_end)
{
    struct auth_permission p = { .key = key, .range_end = range_end };
    struct role *r = auth_find_role(a, role);
    size_t at;
    if (!r)
        return ERR_ROLE_NOT_FOUND;
    if (!permission_at(r, &p, &at))
        return ERR_PERMISSION_NOT_GRANTED;
    struct auth_permission *place = &r->permissions.items[at];
    a->size_bytes -= permission_size(place);
    drop(a, place->key);
    drop(a, place->range_end);
    r->permissions.n--;
    memmove(place, place + 1, (r->permissions.n - at) * sizeof(p));
    a->revision++;
    return ERR_OK;
}

/* ---- looking ---- */

static void list_user(struct tree_node *n, void *context)
{
    struct auth_names *names = context;
    names->items[names->n++] = user_of(n)->name;
}

static void list_role(struct tree_node *n, void *context)
{
    struct auth_names *names = context;
    names->items[names->n++] = role_of(n)->name;
}

void auth_users(const struct auth *a, struct arena *arena, struct auth_names *out)
{
    *out = (struct auth_names){ ARENA_ARRAY(arena, struct span, a->n_users + 1), 0 };
    tree_walk(&a->users, list_user, out);
}

void auth_roles(const struct auth *a, struct arena *arena, struct auth_names *out)
{
    *out = (struct auth_names){ ARENA_ARRAY(arena, struct span, a->n_roles + 1), 0 };
    tree_walk(&a->roles, list_role, out);
}

enum err auth_user_roles(const struct auth *a, struct span user, struct arena *arena,
                         struct auth_names *out)
{
    const struct user *u = auth_find_user(a, user);
    if (!u)
        return ERR_USER_NOT_FOUND;
    *out = (struct auth_names){ ARENA_ARRAY(arena, struct span, u->roles.n + 1), u->roles.n };
    for (size_t i = 0; i < u->roles.n; i++)
        out->items[i] = u->roles.items[i];
    return ERR_OK;
}

enum err auth_role_permissions(const struct auth *a, struct span role, struct arena *arena,
                               struct auth_permissions *out)
{
    static const uint8_t zero[1];
    const struct role *r = auth_find_role(a, role);
    if (!r)
        return ERR_ROLE_NOT_FOUND;
    *out = (struct auth_permissions){ r->permissions.items, r->permissions.n };
    if (!span_equal(role, AUTH_ROOT))
        return ERR_OK;
    struct auth_permission *all = ARENA_NEW(arena, struct auth_permission);
    *all = (struct auth_permission){ AUTH_READ_WRITE, SPAN_NONE, span_of(zero, 1) };
    *out = (struct auth_permissions){ all, 1 };
    return ERR_OK;
}

bool auth_has_role(const struct auth *a, struct span user, struct span role)
{
    const struct user *u = auth_find_user(a, user);
    size_t at;
    return u && user_role_at(u, role, &at);
}

const void *auth_who(const struct auth *a, struct span user)
{
    return auth_find_user(a, user);
}

bool auth_user_secret(const struct auth *a, struct span user, struct span *hash, bool *no_password)
{
    const struct user *u = auth_find_user(a, user);
    if (!u)
        return false;
    *hash = u->hash;
    *no_password = u->no_password;
    return true;
}

/* ---- asking ---- */

enum err auth_may(const struct auth *a, struct span user, uint64_t revision, enum auth_right right,
                  struct span key, struct span range_end)
{
    CHECK(a->enabled);
    if (revision == 0 || user.len == 0)
        return ERR_USER_EMPTY;
    if (revision < a->revision)
        return ERR_AUTH_OLD_REVISION;
    struct user *u = auth_find_user(a, user);
    if (!u)
        return ERR_PERMISSION_DENIED;
    return is_root(u) || auth_ranges_allow(a, u, right, key, range_end) ? ERR_OK
                                                                        : ERR_PERMISSION_DENIED;
}

enum err auth_admin(const struct auth *a, struct span user, uint64_t revision)
{
    CHECK(a->enabled);
    if (revision == 0 || user.len == 0)
        return ERR_USER_EMPTY;
    const struct user *u = auth_find_user(a, user);
    if (!u)
        return ERR_USER_NOT_FOUND;
    return is_root(u) ? ERR_OK : ERR_PERMISSION_DENIED;
}

enum err auth_login(const struct auth *a, struct span user, uint64_t revision)
{
    CHECK(a->enabled);
    if (revision == 0 || user.len == 0)
        return ERR_USER_EMPTY;
    return auth_find_user(a, user) ? ERR_OK : ERR_PERMISSION_DENIED;
}
