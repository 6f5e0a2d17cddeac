/* A live copy's file: the last known good. */
#include <stdio.h>
#include <stdlib.h>
#include "confman/confman_int.h"
#include "io/file/file.h"

enum { PATH_BYTES = 4096 };

static enum err write_file(const char *path, struct span bytes)
{
    char new[PATH_BYTES], folder[PATH_BYTES];
    struct file *f;
    snprintf(new, sizeof(new), "%s.new", path);
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0; /* "/file": the root */
    enum err e = file_remove(new); /* so that it gets our rights, not those of what was there */
    e = file_open(new, FILE_CREATE, &f);
    if (e != ERR_OK)
        return e;
    e = file_write(f, 0, bytes);
    if (e == ERR_OK)
        e = file_sync(f);
    file_close(f);
    if (e == ERR_OK)
        e = file_rename(new, path);
    return e == ERR_OK ? file_sync_dir(slash ? folder : ".") : e;
}

void copy_save(struct confman_copy *copy)
{
    struct cached c = { .environment = span_text(copy->environment),
                        .prefix = span_text(copy->prefix),
                        .shared = copy->shared };
    struct buf b;
    copy->save_ms = 0;
    if (copy->configs) {
        c.items = copy->configs->items;
        c.n_items = copy->configs->n;
    }
    c.flags = copy->known.items;
    c.n_flags = copy->known.n;
    c.revision = copy->revision;
    buf_open(&b, &copy->alloc);
    cache_write(&c, &b);
    if (b.len > JDOC_BYTES_MAX || write_file(copy->cache_file, buf_all(&b)) != ERR_OK) {
        monitor_enter(copy->client->monitor);
        error_set(&copy->error, CONFMAN_FILE, "the copy's file: %.200s",
             b.len > JDOC_BYTES_MAX ? "it would have more than 8 MiB" : file_why());
        monitor_leave(copy->client->monitor);
    }
    buf_close(&b);
}

static bool take_cached(struct confman_copy *copy, const struct cached *c,
                        struct confman_error *error)
{
    if (!span_is(c->environment, copy->environment) || !span_is(c->prefix, copy->prefix)) {
        error_set(error, CONFMAN_FILE, "%.150s: it is of another environment or prefix",
             copy->cache_file);
        return false;
    }
    if (copy->wants[OF_CONFIGS])
        copy->configs = part_configs(c->items, c->n_items, c->revision);
    if (copy->wants[OF_FLAGS])
        copy->flags = part_flags(c->flags, c->n_flags, c->shared, c->revision);
    copy->revision = c->revision;
    copy->state = CONFMAN_STALE;
    return true;
}

bool copy_restore(struct confman_copy *copy, struct confman_error *error)
{
    struct file *f;
    uint64_t size = 0;
    struct arena arena;
    struct cached cached;
    char why[CONFMAN_TEXT_MAX];
    enum err e = file_open(copy->cache_file, FILE_READ, &f);
    if (e == ERR_NOT_FOUND)
        return true; /* the first start */
    if (e != ERR_OK) {
        error_set(error, CONFMAN_FILE, "%.250s", file_why());
        return false;
    }
    arena_open(&arena, &copy->alloc);
    e = file_size(f, &size);
    uint8_t *bytes = size <= 2 * (uint64_t)JDOC_BYTES_MAX ? arena_alloc(&arena, size + 1) : NULL;
    if (e == ERR_OK && bytes)
        e = file_read(f, 0, bytes, size);
    file_close(f);
    bool ok = e == ERR_OK && bytes && cache_read(span_of(bytes, size), &arena, &cached, why);
    if (ok)
        ok = take_cached(copy, &cached, error);
    else
        error_set(error, CONFMAN_FILE, "%.120s: %.120s", copy->cache_file,
             e != ERR_OK ? file_why() : bytes ? why : "it is too large");
    arena_close(&arena);
    return ok;
}
