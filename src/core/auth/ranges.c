/* What a user may do: the permissions of all its roles as disjoint ranges. */
#include "base/check.h"
#include "core/auth/auth_int.h"

static struct range range_of(struct span key, struct span range_end)
{
    if (range_end.len == 0)
        return (struct range){ key, key, END_BEHIND };
    if (range_end.len == 1 && range_end.data[0] == 0)
        return (struct range){ key, SPAN_NONE, END_NEVER };
    return (struct range){ key, range_end, END_BEFORE };
}

/* Behind a key is before the smallest key after it, which has one more byte, a zero. */
static int compare_ends(const struct range *a, const struct range *b)
{
    if (a->kind == END_NEVER || b->kind == END_NEVER)
        return (a->kind == END_NEVER) - (b->kind == END_NEVER);
    int c = span_compare(a->end, b->end);
    if (a->kind == b->kind)
        return c;
    if (a->kind == END_BEFORE)
        return -compare_ends(b, a);
    if (c >= 0)
        return 1;
    bool next =
        b->end.len == a->end.len + 1 && span_starts(b->end, a->end) && b->end.data[a->end.len] == 0;
    return next ? 0 : -1;
}

/* Whether key lies beyond the range's end; its end itself does. */
static bool beyond(struct span key, const struct range *r)
{
    struct range at = { key, key, END_BEFORE };
    return compare_ends(&at, r) >= 0;
}

/* ---- making them ---- */

static void sift(struct range *list, size_t at, size_t n)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && span_compare(list[child].begin, list[child + 1].begin) < 0)
            child++;
        if (span_compare(list[at].begin, list[child].begin) >= 0)
            return;
        struct range swap = list[at];
        list[at] = list[child];
        list[child] = swap;
    }
}

/* By begin; a heap sort needs no memory. */
static void sort(struct range *list, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(list, i, n);
    while (n > 1) {
        struct range last = list[--n];
        list[n] = list[0];
        list[0] = last;
        sift(list, 0, n);
    }
}

/* Ranges that overlap or touch become one. */
static size_t join(struct range *list, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct range *last = kept ? &list[kept - 1] : NULL;
        struct range begin = { list[i].begin, list[i].begin, END_BEFORE };
        if (!last || compare_ends(&begin, last) > 0)
            list[kept++] = list[i];
        else if (compare_ends(&list[i], last) > 0) {
            last->end = list[i].end;
            last->kind = list[i].kind;
        }
    }
    return kept;
}

static void add_role(const struct auth *a, struct user *u, const struct role *role)
{
    for (size_t i = 0; i < role->permissions.n; i++) {
        const struct auth_permission *p = &role->permissions.items[i];
        struct range r = range_of(p->key, p->range_end);
        for (enum auth_right right = AUTH_READ; right <= AUTH_WRITE; right++)
            if (p->right == (int32_t)right || p->right == AUTH_READ_WRITE)
                VEC_PUSH(&u->may[right].list, a->alloc, r);
    }
}

static void make(const struct auth *a, struct user *u)
{
    for (enum auth_right right = AUTH_READ; right <= AUTH_WRITE; right++)
        u->may[right].list.n = 0;
    for (size_t i = 0; i < u->roles.n; i++) {
        const struct role *role = auth_find_role(a, u->roles.items[i]);
        if (role) /* root need not be there */
            add_role(a, u, role);
    }
    for (enum auth_right right = AUTH_READ; right <= AUTH_WRITE; right++) {
        struct ranges *r = &u->may[right];
        sort(r->list.items, r->list.n);
        r->list.n = join(r->list.items, r->list.n);
    }
    u->ranges_revision = a->revision;
}

void auth_ranges_close(const struct auth *a, struct user *u)
{
    for (enum auth_right right = AUTH_READ; right <= AUTH_WRITE; right++)
        VEC_CLOSE(&u->may[right].list, a->alloc);
}

/* ---- asking ---- */

bool auth_ranges_allow(const struct auth *a, struct user *u, enum auth_right right, struct span key,
                       struct span range_end)
{
    CHECK(right == AUTH_READ || right == AUTH_WRITE);
    if (u->ranges_revision != a->revision)
        make(a, u);
    const struct range *list = u->may[right].list.items;
    size_t low = 0, high = u->may[right].list.n;
    while (low < high) { /* behind the last one that begins at or before key */
        size_t middle = low + (high - low) / 2;
        if (span_compare(list[middle].begin, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    struct range asked = range_of(key, range_end);
    const struct range *found = &list[low - 1];
    return !beyond(key, found) && compare_ends(&asked, found) <= 0;
}
