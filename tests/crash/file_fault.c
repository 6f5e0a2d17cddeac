#include "file_fault.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/prng.h"
#include "io/file/file.h"

enum { SECTOR = 512, INODES_MAX = 512, PENDING_MAX = 64, NAME_MAX_BYTES = 40 };

/* The bytes of one file: cached, and on disk. */
struct inode {
    uint8_t *now, *disk;
    bool *dirty; /* by sector: cached only */
    size_t now_len, disk_len, cap;
};

struct name {
    char text[NAME_MAX_BYTES];
    size_t inode;
};

struct names {
    struct name items[DISK_FILES_MAX];
    size_t n;
};

/* What a directory has not synced: made (to only), removed (from only), moved (both). */
struct change {
    char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
    size_t inode;
};

struct disk {
    struct inode inodes[INODES_MAX];
    size_t n_inodes;
    struct names now, synced;
    struct change pending[PENDING_MAX];
    size_t n_pending;
};

struct file {
    size_t inode;
    bool dsync, lock;
};

static struct disk disk, kept;
static struct prng prng;
static enum fault armed;
static uint64_t calls, fault_at;
static bool hit, dead, locked;
static char why[128];

/* ---- names ---- */

static struct name *find(struct names *names, const char *text)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i].text, text) == 0)
            return &names->items[i];
    return NULL;
}

static void forget(struct names *names, const char *text)
{
    struct name *x = find(names, text);
    if (x)
        *x = names->items[--names->n];
}

static void apply(struct names *names, const struct change *c)
{
    struct name *from = c->from[0] ? find(names, c->from) : NULL;
    if (from && from->inode == c->inode)
        forget(names, c->from);
    if (!c->to[0])
        return;
    forget(names, c->to);
    CHECK(names->n < DISK_FILES_MAX);
    struct name *x = &names->items[names->n++];
    snprintf(x->text, sizeof(x->text), "%s", c->to);
    x->inode = c->inode;
}

static void change(const char *from, const char *to, size_t inode)
{
    CHECK(disk.n_pending < PENDING_MAX);
    struct change *c = &disk.pending[disk.n_pending++];
    snprintf(c->from, sizeof(c->from), "%s", from);
    snprintf(c->to, sizeof(c->to), "%s", to);
    c->inode = inode;
    apply(&disk.now, c);
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- bytes ---- */

static void make_longer(struct inode *x, size_t len)
{
    if (len > x->cap) {
        size_t cap = (len + (64 << 10) - 1) / (64 << 10) * (64 << 10);
        x->now = realloc(x->now, cap);
        x->disk = realloc(x->disk, cap);
        x->dirty = realloc(x->dirty, cap / SECTOR);
        CHECK(x->now && x->disk && x->dirty);
        memset(x->now + x->cap, 0, cap - x->cap);
        memset(x->disk + x->cap, 0, cap - x->cap);
        memset(x->dirty + x->cap / SECTOR, 0, (cap - x->cap) / SECTOR);
        x->cap = cap;
    }
    if (len > x->now_len)
        x->now_len = len;
}

static void put(struct inode *x, uint64_t offset, struct span data)
{
    if (!data.len)
        return;
    make_longer(x, offset + data.len);
    memcpy(x->now + offset, data.data, data.len);
    memset(x->dirty + offset / SECTOR, true,
           (offset + data.len + SECTOR - 1) / SECTOR - offset / SECTOR);
}

static void sync_sectors(struct inode *x, size_t from, size_t to)
{
    for (size_t i = from / SECTOR; i * SECTOR < to; i++) {
        if (x->dirty[i])
            memcpy(x->disk + i * SECTOR, x->now + i * SECTOR, SECTOR);
        x->dirty[i] = false;
    }
    x->disk_len = x->now_len;
}

/* Power is gone: style 0 loses, 1 keeps, 2 tears what was not synced. */
static void lose_bytes(struct inode *x, uint64_t style)
{
    for (size_t i = 0; i < x->cap / SECTOR; i++)
        if (x->dirty[i] && (style == 1 || (style == 2 && prng_next(&prng) % 2)))
            memcpy(x->disk + i * SECTOR, x->now + i * SECTOR, SECTOR);
    if (style == 1 || (style == 2 && prng_next(&prng) % 2))
        x->disk_len = x->now_len;
    if (x->cap) {
        memset(x->disk + x->disk_len, 0, x->cap - x->disk_len);
        memcpy(x->now, x->disk, x->cap);
        memset(x->dirty, 0, x->cap / SECTOR);
    }
    x->now_len = x->disk_len;
}

static void lose(void)
{
    uint64_t style = prng_below(&prng, 3);
    for (size_t i = 0; i < disk.n_inodes; i++)
        lose_bytes(&disk.inodes[i], style);
    for (size_t i = 0; i < disk.n_pending; i++)
        if (prng_next(&prng) % 2)
            apply(&disk.synced, &disk.pending[i]);
    disk.n_pending = 0;
    disk.now = disk.synced;
}

/* ---- faults ---- */

static enum err fail(enum err e, const char *what, const char *path)
{
    snprintf(why, sizeof(why), "%s %s: as told, call %d", what, path, (int)calls);
    return e;
}

static enum err step(const char *what, const char *path, bool wants_room)
{
    if (dead)
        return fail(ERR_IO, what, path);
    calls++;
    bool on = armed == FAULT_ERRORS || armed == FAULT_FULLS;
    bool full = armed == FAULT_FULL || armed == FAULT_FULLS;
    if (armed == FAULT_NONE || calls < fault_at || (calls > fault_at && !on) ||
        (full && !wants_room))
        return ERR_OK;
    hit = true;
    dead = armed == FAULT_KILL || armed == FAULT_POWER;
    return fail(full ? ERR_DISK_FULL : ERR_IO, what, path);
}

/* Whether a call in whose middle the process ended has had its effect. */
static bool done_all_the_same(bool was_dead)
{
    return dead && !was_dead && prng_next(&prng) % 2;
}

void disk_wipe(uint64_t seed)
{
    for (size_t i = 0; i < disk.n_inodes; i++) {
        free(disk.inodes[i].now);
        free(disk.inodes[i].disk);
        free(disk.inodes[i].dirty);
    }
    disk = (struct disk){ .n_inodes = 0 };
    prng.state = seed;
    dead = locked = false;
    disk_arm(FAULT_NONE, 0);
}

void disk_arm(enum fault fault, uint64_t at)
{
    armed = fault;
    fault_at = at;
    calls = 0;
    hit = false;
}

bool disk_hit(void)
{
    return hit;
}

bool disk_dead(void)
{
    return dead;
}

void disk_restart(bool power)
{
    if (power || (dead && armed == FAULT_POWER))
        lose();
    dead = locked = false;
    disk_arm(FAULT_NONE, 0);
}

/* ---- bit rot ---- */

const char *disk_name(size_t i)
{
    return i < disk.now.n ? disk.now.items[i].text : NULL;
}

uint8_t *disk_bytes(const char *name, size_t *len)
{
    struct name *x = find(&disk.now, name);
    CHECK(x != NULL);
    struct inode *inode = &disk.inodes[x->inode];
    *len = inode->disk_len;
    return inode->disk;
}

void disk_cut(const char *name, size_t len)
{
    struct inode *x = &disk.inodes[find(&disk.now, name)->inode];
    CHECK(len <= x->disk_len);
    x->disk_len = x->now_len = len;
}

void disk_remove(const char *name)
{
    forget(&disk.now, name);
    forget(&disk.synced, name);
}

static void copy_disk(struct disk *to, const struct disk *from)
{
    for (size_t i = 0; i < to->n_inodes; i++) {
        free(to->inodes[i].now);
        free(to->inodes[i].disk);
        free(to->inodes[i].dirty);
    }
    *to = *from;
    for (size_t i = 0; i < to->n_inodes; i++) {
        struct inode *x = &to->inodes[i];
        const struct inode *y = &from->inodes[i];
        *x = (struct inode){ NULL };
        bool named = false;
        for (size_t k = 0; k < from->now.n; k++)
            named = named || from->now.items[k].inode == i;
        if (!named || !y->now_len)
            continue;
        make_longer(x, y->now_len);
        memcpy(x->now, y->disk, y->now_len);
        memcpy(x->disk, y->disk, y->now_len);
        x->disk_len = y->disk_len;
    }
}

void disk_keep(void)
{
    disk.synced = disk.now;
    disk.n_pending = 0;
    copy_disk(&kept, &disk);
}

void disk_bring_back(void)
{
    copy_disk(&disk, &kept);
    dead = locked = false;
}

/* ---- file.h ---- */

const char *file_why(void)
{
    return why;
}

static enum err open_inode(const char *path, enum file_mode mode, size_t *inode)
{
    struct name *x = find(&disk.now, base(path));
    if (!x && (mode == FILE_READ || mode == FILE_DSYNC))
        return fail(ERR_NOT_FOUND, "open", path);
    if (mode == FILE_LOCK && locked)
        return fail(ERR_LOCKED, "lock", path);
    if (x && mode != FILE_CREATE) {
        *inode = x->inode;
        return ERR_OK;
    }
    CHECK(disk.n_inodes < INODES_MAX); /* one that is truncated is as good as a new one */
    disk.inodes[*inode = disk.n_inodes++] = (struct inode){ NULL };
    change("", base(path), *inode);
    return ERR_OK;
}

enum err file_open(const char *path, enum file_mode mode, struct file **out)
{
    bool was_dead = dead;
    size_t inode = 0;
    enum err e = step("open", path, mode == FILE_CREATE || mode == FILE_LOCK);
    if (e == ERR_OK || (mode == FILE_CREATE && done_all_the_same(was_dead))) {
        enum err opened = open_inode(path, mode, &inode);
        e = e == ERR_OK ? opened : e;
    }
    if (e != ERR_OK)
        return e;
    struct inode *x = &disk.inodes[inode];
    if (mode == FILE_READ && x->cap) { /* the disk's own bytes, not the cache's */
        sync_sectors(x, 0, x->cap);
        memcpy(x->now, x->disk, x->cap);
    }
    struct file *f = malloc(sizeof(*f));
    CHECK(f != NULL);
    *f = (struct file){ inode, mode == FILE_DSYNC, mode == FILE_LOCK };
    locked = locked || f->lock;
    *out = f;
    return ERR_OK;
}

void file_close(struct file *f)
{
    locked = locked && !f->lock;
    free(f);
}

enum err file_size(struct file *f, uint64_t *out)
{
    *out = disk.inodes[f->inode].now_len;
    return step("size", "", false);
}

enum err file_read(struct file *f, uint64_t offset, void *data, size_t len)
{
    struct inode *x = &disk.inodes[f->inode];
    enum err e = step("read", "", false);
    if (e == ERR_OK && offset + len > x->now_len)
        return fail(ERR_IO, "read behind the end", "");
    if (e == ERR_OK && len)
        memcpy(data, x->now + offset, len);
    return e;
}

enum err file_write(struct file *f, uint64_t offset, struct span data)
{
    struct inode *x = &disk.inodes[f->inode];
    bool was_dead = dead;
    enum err e = step("write", "", offset + data.len > x->now_len);
    if (was_dead)
        return e;
    if (e != ERR_OK)
        data.len = (size_t)prng_below(&prng, data.len + 1); /* so far it came */
    put(x, offset, data);
    if (e == ERR_OK && f->dsync)
        sync_sectors(x, offset, offset + data.len);
    else if (f->dsync && !dead) /* the sync that was part of it failed */
        memset(x->dirty, 0, x->cap / SECTOR);
    return e;
}

enum err file_sync(struct file *f)
{
    struct inode *x = &disk.inodes[f->inode];
    bool was_dead = dead;
    enum err e = step("sync", "", false);
    if (x->cap && (e == ERR_OK || done_all_the_same(was_dead)))
        sync_sectors(x, 0, x->cap);
    else if (x->cap && !dead)
        memset(x->dirty, 0, x->cap / SECTOR);
    return e;
}

enum err file_make_dir(const char *path)
{
    return step("make directory", path, true);
}

enum err file_sync_dir(const char *path)
{
    bool was_dead = dead;
    enum err e = step("sync", path, false);
    if (e == ERR_OK || done_all_the_same(was_dead)) {
        disk.synced = disk.now;
        disk.n_pending = 0;
    }
    return e;
}

enum err file_rename(const char *from, const char *to)
{
    bool was_dead = dead;
    enum err e = step("rename", from, false);
    struct name *x = find(&disk.now, base(from));
    if (e == ERR_OK && !x)
        return fail(ERR_NOT_FOUND, "rename", from);
    if (x && (e == ERR_OK || done_all_the_same(was_dead)))
        change(base(from), base(to), x->inode);
    return e;
}

enum err file_remove(const char *path)
{
    bool was_dead = dead;
    enum err e = step("remove", path, false);
    struct name *x = find(&disk.now, base(path));
    if (e == ERR_OK && !x)
        return fail(ERR_NOT_FOUND, "remove", path);
    if (x && (e == ERR_OK || done_all_the_same(was_dead)))
        change(base(path), "", x->inode);
    return e;
}

enum err file_list(const char *path, void (*each)(void *, const char *), void *context)
{
    enum err e = step("list", path, false);
    for (size_t i = 0; i < disk.now.n && e == ERR_OK; i++)
        each(context, disk.now.items[i].text);
    return e;
}

uint64_t file_free_bytes(const char *path)
{
    CHECK(path != NULL);
    return UINT64_MAX;
}
