/* Disks in memory behind io/file/file.h, one a host, sparse.
 *
 * What was written and not synced is in the cache only, by sectors. The end of a process leaves the
 * cache as it is; a power failure loses, keeps or tears what was not synced, and loses or keeps
 * every name that was made, moved or removed since the directory's last sync, each for itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "io/file/file.h"
#include "world.h"

enum {
    PAGE = 4096,
    SECTOR = 512,
    NAME_BYTES = 48,
    ALL = 0xff, /* sectors of a page */
};
#define PLENTY (UINT64_C(4) << 30)

struct page {
    uint8_t *disk, *now; /* disk: NULL is zeros; now: only when some sector is dirty */
    unsigned dirty;      /* one bit a sector */
};

struct inode {
    VEC(struct page) pages;
    uint64_t now_len, disk_len;
    uint64_t newest; /* where the newest write began */
};

struct name {
    char text[NAME_BYTES];
    struct inode *inode;
};

struct names {
    VEC(struct name) list;
};

/* What the directory has not synced: made (to only), removed (from only), moved (both). */
struct change {
    char from[NAME_BYTES], to[NAME_BYTES];
    struct inode *inode;
};

struct file {
    struct disk *disk;
    struct inode *inode;
    bool dsync, lock;
    struct file *next, *prev;
};

struct disk {
    VEC(struct inode *) inodes;
    struct names now, synced;
    VEC(struct change) changes;
    struct file files; /* head of those that are open */
    uint64_t bound;    /* bytes of all files */
    uint64_t calls, fail_at, die_at;
    bool dead, locked, failed;
    bool hit; /* failed, or was full, in the process before */
    uint8_t *rotten; /* the byte that was changed, what it was and is */
    uint8_t rotten_was, rotten_is;
};

static char why[256];
static const uint8_t zeros[PAGE];

/* ---- names ---- */

static struct name *find(struct names *names, const char *text)
{
    for (size_t i = 0; i < names->list.n; i++)
        if (strcmp(names->list.items[i].text, text) == 0)
            return &names->list.items[i];
    return NULL;
}

static void forget(struct names *names, const char *text)
{
    struct name *x = find(names, text);
    if (x)
        *x = names->list.items[--names->list.n];
}

static void apply(struct names *names, const struct change *c)
{
    struct name *from = c->from[0] ? find(names, c->from) : NULL;
    if (from && from->inode == c->inode)
        forget(names, c->from);
    if (!c->to[0])
        return;
    struct name to = { .inode = c->inode };
    snprintf(to.text, sizeof(to.text), "%s", c->to);
    forget(names, c->to);
    VEC_PUSH(&names->list, &world_heap, to);
}

static void change(struct disk *d, const char *from, const char *to, struct inode *inode)
{
    struct change c = { .inode = inode };
    CHECK(strlen(from) < NAME_BYTES && strlen(to) < NAME_BYTES);
    snprintf(c.from, sizeof(c.from), "%s", from);
    snprintf(c.to, sizeof(c.to), "%s", to);
    VEC_PUSH(&d->changes, &world_heap, c);
    apply(&d->now, &c);
}

static void names_copy(struct names *to, const struct names *from)
{
    to->list.n = 0;
    for (size_t i = 0; i < from->list.n; i++)
        VEC_PUSH(&to->list, &world_heap, from->list.items[i]);
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- bytes ---- */

static void page_settle(struct page *p, unsigned sectors)
{
    sectors &= p->dirty;
    if (!sectors)
        return;
    if (!p->disk)
        p->disk = mem_zero(&world_heap, PAGE);
    for (unsigned i = 0; i < PAGE / SECTOR; i++)
        if (sectors >> i & 1)
            memcpy(p->disk + i * SECTOR, p->now + i * SECTOR, SECTOR);
    p->dirty &= ~sectors;
    if (!p->dirty) {
        mem_free(&world_heap, p->now, PAGE);
        p->now = NULL;
    }
}

static void page_forget(struct page *p)
{
    if (p->now)
        mem_free(&world_heap, p->now, PAGE);
    p->now = NULL;
    p->dirty = 0;
}

/* A sync failed: the cache has forgotten that these were to be written (Linux). */
static void forget_pages(struct inode *x)
{
    for (size_t i = 0; i < x->pages.n; i++)
        page_forget(&x->pages.items[i]);
}

static const uint8_t *page_bytes(const struct page *p)
{
    return p->now ? p->now : p->disk ? p->disk : zeros;
}

static void page_write(struct page *p, size_t at, const uint8_t *data, size_t len)
{
    if (!p->now) {
        if (memcmp(page_bytes(p) + at, data, len) == 0)
            return; /* it cannot be told from what is there */
        p->now = mem_alloc(&world_heap, PAGE);
        memcpy(p->now, p->disk ? p->disk : zeros, PAGE);
    }
    memcpy(p->now + at, data, len);
    for (size_t i = at / SECTOR; i * SECTOR < at + len; i++)
        p->dirty |= 1u << i;
}

static void set_length(struct inode *x, uint64_t len)
{
    while (x->pages.n * PAGE < len) {
        struct page none = { NULL, NULL, 0 };
        VEC_PUSH(&x->pages, &world_heap, none);
    }
    if (len > x->now_len)
        x->now_len = len;
}

static void put(struct inode *x, uint64_t offset, struct span data)
{
    if (!data.len)
        return;
    set_length(x, offset + data.len);
    x->newest = offset;
    while (data.len) {
        size_t at = offset % PAGE, n = PAGE - at < data.len ? PAGE - at : data.len;
        page_write(&x->pages.items[offset / PAGE], at, data.data, n);
        data = span_from(data, n);
        offset += n;
    }
}

static void sync_pages(struct inode *x, uint64_t from, uint64_t to)
{
    for (uint64_t i = from / PAGE; i < x->pages.n && i * PAGE < to; i++)
        page_settle(&x->pages.items[i], ALL);
    x->disk_len = x->now_len;
}

static void inode_free(struct inode *x)
{
    for (size_t i = 0; i < x->pages.n; i++) {
        page_forget(&x->pages.items[i]);
        if (x->pages.items[i].disk)
            mem_free(&world_heap, x->pages.items[i].disk, PAGE);
    }
    VEC_CLOSE(&x->pages, &world_heap);
    mem_free(&world_heap, x, sizeof(*x));
}

/* Power is gone: style 0 loses, 1 keeps, 2 tears what was not synced. */
static void lose_bytes(struct inode *x, uint64_t style)
{
    for (size_t i = 0; i < x->pages.n; i++) {
        struct page *p = &x->pages.items[i];
        if (!p->dirty)
            continue;
        unsigned kept = style == 0 ? 0 : style == 1 ? ALL : (unsigned)world_below(ALL + 1);
        unsigned dirty = p->dirty;
        page_settle(p, kept);
        counts[COUNT_LOST] += (uint64_t)__builtin_popcount(dirty & ~kept);
        page_forget(p);
    }
    if (style == 1 || (style == 2 && world_chance(50)))
        x->disk_len = x->now_len;
    /* What is behind the end reads as zeros when the file grows again. */
    for (uint64_t at = x->disk_len; at < x->now_len;) {
        struct page *p = &x->pages.items[at / PAGE];
        size_t in = at % PAGE;
        if (p->disk)
            memset(p->disk + in, 0, PAGE - in);
        at += PAGE - in;
    }
    x->now_len = x->disk_len;
}

static void lose(struct disk *d)
{
    uint64_t style = world_below(3);
    for (size_t i = 0; i < d->inodes.n; i++)
        lose_bytes(d->inodes.items[i], style);
    style = world_below(3);
    for (size_t i = 0; i < d->changes.n; i++)
        if (style == 1 || (style == 2 && world_chance(50)))
            apply(&d->synced, &d->changes.items[i]);
    d->changes.n = 0;
    names_copy(&d->now, &d->synced);
}

/* ---- life ---- */

struct disk *disk_open(void)
{
    struct disk *d = mem_zero(&world_heap, sizeof(*d));
    d->bound = PLENTY;
    d->files.next = d->files.prev = &d->files;
    return d;
}

void disk_wipe(struct disk *d)
{
    CHECK(d->files.next == &d->files);
    for (size_t i = 0; i < d->inodes.n; i++)
        inode_free(d->inodes.items[i]);
    d->inodes.n = d->now.list.n = d->synced.list.n = d->changes.n = 0;
    d->rotten = NULL;
}

void disk_close(struct disk *d)
{
    disk_ended(d, false);
    disk_wipe(d);
    VEC_CLOSE(&d->inodes, &world_heap);
    VEC_CLOSE(&d->now.list, &world_heap);
    VEC_CLOSE(&d->synced.list, &world_heap);
    VEC_CLOSE(&d->changes, &world_heap);
    mem_free(&world_heap, d, sizeof(*d));
}

void disk_ended(struct disk *d, bool power)
{
    while (d->files.next != &d->files)
        file_close(d->files.next);
    if (power)
        lose(d);
    d->fail_at = d->die_at = 0;
    d->hit = d->failed;
    d->dead = d->locked = d->failed = false;
}

void disk_die_soon(struct disk *d, uint64_t more)
{
    d->die_at = d->calls + more + 1;
}

void disk_fail_soon(struct disk *d, uint64_t more)
{
    d->fail_at = d->calls + more + 1;
}

bool disk_failed(const struct disk *d)
{
    return d->failed;
}

void disk_calm(struct disk *d)
{
    d->fail_at = 0;
}

bool disk_was_hit(const struct disk *d)
{
    return d->hit || d->bound < PLENTY;
}

static uint64_t used(const struct disk *d)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < d->now.list.n; i++)
        sum += d->now.list.items[i].inode->now_len;
    return sum;
}

void disk_bound(struct disk *d, uint64_t more_bytes)
{
    d->bound = more_bytes == UINT64_MAX ? PLENTY : used(d) + more_bytes;
}

/* ---- bit rot ---- */

bool disk_rot(struct disk *d, char what[WHY_MAX])
{
    size_t n = d->now.list.n;
    disk_heal(d);
    for (size_t tries = 0; n && tries < 8; tries++) {
        struct name *x = &d->now.list.items[world_below(n)];
        struct inode *inode = x->inode;
        /* The log's newest write cannot be told from a torn one. */
        uint64_t end = strncmp(x->text, "log-", 4) == 0 ? inode->newest : inode->disk_len;
        if (strcmp(x->text, "LOCK") == 0 || strncmp(x->text, "spare-", 6) == 0 || !end)
            continue;
        uint64_t at = world_below(end);
        struct page *p = &inode->pages.items[at / PAGE];
        if (p->now || !p->disk)
            continue;
        d->rotten = &p->disk[at % PAGE];
        d->rotten_was = *d->rotten;
        d->rotten_is = *d->rotten ^= (uint8_t)(1u << world_below(8));
        snprintf(what, WHY_MAX, "%s at %llu", x->text, (unsigned long long)at);
        return true;
    }
    return false;
}

void disk_heal(struct disk *d)
{
    if (d->rotten && *d->rotten == d->rotten_is)
        *d->rotten = d->rotten_was;
    d->rotten = NULL;
}

/* ---- faults ---- */

static enum err fail(enum err e, const char *what, const char *path)
{
    snprintf(why, sizeof(why), "%s %.100s: %s", what, path, err_text(e));
    return e;
}

static enum err step(struct disk *d, const char *what, const char *path)
{
    d->calls++;
    if (d->die_at && d->calls >= d->die_at)
        d->dead = true;
    if (d->dead)
        return fail(ERR_IO, what, path);
    if (d->fail_at && d->calls == d->fail_at) {
        d->failed = true;
        return fail(ERR_IO, what, path);
    }
    return ERR_OK;
}

/* A call in whose middle the process ends, or that fails, may have had its effect. */
static bool done_all_the_same(const struct disk *d, bool was_dead)
{
    return !was_dead && (d->dead || d->failed) && world_chance(50);
}

static struct disk *here(void)
{
    CHECK(host_here && host_here->disk);
    return host_here->disk;
}

/* ---- file.h ---- */

const char *file_why(void)
{
    return why;
}

static enum err open_inode(struct disk *d, const char *path, enum file_mode mode,
                           struct inode **out)
{
    struct name *x = find(&d->now, base(path));
    if (!x && (mode == FILE_READ || mode == FILE_DSYNC))
        return fail(ERR_NOT_FOUND, "open", path);
    if (mode == FILE_LOCK && d->locked)
        return fail(ERR_LOCKED, "lock", path);
    if (x && mode != FILE_CREATE) {
        *out = x->inode;
        return ERR_OK;
    }
    if (used(d) >= d->bound)
        return fail(ERR_DISK_FULL, "open", path);
    *out = mem_zero(&world_heap, sizeof(**out)); /* truncated is as good as new */
    VEC_PUSH(&d->inodes, &world_heap, *out);
    change(d, "", base(path), *out);
    return ERR_OK;
}

enum err file_open(const char *path, enum file_mode mode, struct file **out)
{
    struct disk *d = here();
    bool was_dead = d->dead;
    struct inode *inode = NULL;
    enum err e = step(d, "open", path);
    if (e == ERR_OK || (mode == FILE_CREATE && done_all_the_same(d, was_dead))) {
        enum err opened = open_inode(d, path, mode, &inode);
        e = e == ERR_OK ? opened : e;
    }
    if (e != ERR_OK)
        return e;
    if (mode == FILE_READ) /* the disk's own bytes, not the cache's */
        sync_pages(inode, 0, inode->now_len);
    struct file *f = mem_zero(&world_heap, sizeof(*f));
    *f = (struct file){ .disk = d,
                        .inode = inode,
                        .dsync = mode == FILE_DSYNC,
                        .lock = mode == FILE_LOCK,
                        .next = &d->files,
                        .prev = d->files.prev };
    f->prev->next = f->next->prev = f;
    d->locked = d->locked || f->lock;
    *out = f;
    return ERR_OK;
}

void file_close(struct file *f)
{
    f->disk->locked = f->disk->locked && !f->lock;
    f->prev->next = f->next;
    f->next->prev = f->prev;
    mem_free(&world_heap, f, sizeof(*f));
}

enum err file_size(struct file *f, uint64_t *out)
{
    *out = f->inode->now_len;
    return step(f->disk, "size", "");
}

enum err file_read(struct file *f, uint64_t offset, void *data, size_t len)
{
    struct inode *x = f->inode;
    uint8_t *out = data;
    enum err e = step(f->disk, "read", "");
    if (e == ERR_OK && offset + len > x->now_len)
        return fail(ERR_IO, "read behind the end", "");
    while (e == ERR_OK && len) {
        size_t at = offset % PAGE, n = PAGE - at < len ? PAGE - at : len;
        memcpy(out, page_bytes(&x->pages.items[offset / PAGE]) + at, n);
        out += n;
        offset += n;
        len -= n;
    }
    return e;
}

enum err file_write(struct file *f, uint64_t offset, struct span data)
{
    struct disk *d = f->disk;
    struct inode *x = f->inode;
    bool was_dead = d->dead;
    uint64_t end = offset + data.len;
    enum err e = step(d, "write", "");
    if (was_dead)
        return e;
    if (e == ERR_OK && end > x->now_len && used(d) + (end - x->now_len) > d->bound)
        e = fail(ERR_DISK_FULL, "write", "");
    if (e != ERR_OK) { /* so far it came */
        data.len = (size_t)world_below(data.len + 1);
        counts[COUNT_TORN]++;
    }
    put(x, offset, data);
    if (e == ERR_OK && f->dsync)
        sync_pages(x, offset, end);
    else if (f->dsync && !d->dead)
        forget_pages(x);
    return e;
}

enum err file_sync(struct file *f)
{
    bool was_dead = f->disk->dead;
    enum err e = step(f->disk, "sync", "");
    if (e == ERR_OK || done_all_the_same(f->disk, was_dead))
        sync_pages(f->inode, 0, f->inode->now_len);
    else if (!f->disk->dead)
        forget_pages(f->inode);
    return e;
}

enum err file_make_dir(const char *path)
{
    return step(here(), "make directory", path);
}

enum err file_sync_dir(const char *path)
{
    struct disk *d = here();
    bool was_dead = d->dead;
    enum err e = step(d, "sync", path);
    if (e == ERR_OK || done_all_the_same(d, was_dead)) {
        names_copy(&d->synced, &d->now);
        d->changes.n = 0;
    }
    return e;
}

enum err file_rename(const char *from, const char *to)
{
    struct disk *d = here();
    bool was_dead = d->dead;
    enum err e = step(d, "rename", from);
    struct name *x = find(&d->now, base(from));
    if (e == ERR_OK && !x)
        return fail(ERR_NOT_FOUND, "rename", from);
    if (x && (e == ERR_OK || done_all_the_same(d, was_dead)))
        change(d, base(from), base(to), x->inode);
    return e;
}

enum err file_remove(const char *path)
{
    struct disk *d = here();
    bool was_dead = d->dead;
    enum err e = step(d, "remove", path);
    struct name *x = find(&d->now, base(path));
    if (e == ERR_OK && !x)
        return fail(ERR_NOT_FOUND, "remove", path);
    if (x && (e == ERR_OK || done_all_the_same(d, was_dead)))
        change(d, base(path), "", x->inode);
    return e;
}

enum err file_list(const char *path, void (*each)(void *, const char *), void *context)
{
    struct disk *d = here();
    enum err e = step(d, "list", path);
    for (size_t i = 0; i < d->now.list.n && e == ERR_OK; i++)
        each(context, d->now.list.items[i].text);
    return e;
}

uint64_t file_free_bytes(const char *path)
{
    struct disk *d = here();
    uint64_t sum = used(d);
    CHECK(path != NULL);
    return sum < d->bound ? d->bound - sum : 0;
}
