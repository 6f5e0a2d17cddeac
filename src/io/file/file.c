#include "io/file/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/check.h"

enum { NAME_MAX_BYTES = 512 };

struct file {
    int fd;
    char path[NAME_MAX_BYTES];
};

static _Thread_local char why[NAME_MAX_BYTES + 128];

const char *file_why(void)
{
    return why;
}

static enum err failed(const char *what, const char *path)
{
    int error = errno;
    snprintf(why, sizeof(why), "%s %s: %s", what, path, strerror(error));
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? ERR_DISK_FULL
           : error == ENOENT                                    ? ERR_NOT_FOUND
           : error == EWOULDBLOCK                               ? ERR_LOCKED
                                                                : ERR_IO;
}

/* A process that was killed, or whose sync failed, may have left bytes in the kernel's cache that
 * are not on disk, and the kernel would never write those of a failed sync. Nothing may be built on
 * them: sync what can be, and let the cache forget the rest. */
static enum err settle(int fd, const char *path)
{
    if (fdatasync(fd) != 0)
        return failed("sync", path);
    int error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    errno = error;
    return error ? failed("forget the cache of", path) : ERR_OK;
}

enum err file_open(const char *path, enum file_mode mode, struct file **out)
{
    static const int flags[] = { [FILE_READ] = O_RDONLY,
                                 [FILE_CREATE] = O_RDWR | O_CREAT | O_TRUNC,
                                 [FILE_DSYNC] = O_RDWR | O_DSYNC,
                                 [FILE_LOCK] = O_RDWR | O_CREAT };
    int fd = open(path, flags[mode] | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed("open", path);
    enum err e = ERR_OK;
    if (mode == FILE_LOCK && flock(fd, LOCK_EX | LOCK_NB) != 0)
        e = failed("lock", path);
    if (mode == FILE_READ)
        e = settle(fd, path);
    if (e != ERR_OK) {
        close(fd);
        return e;
    }
    struct file *f = malloc(sizeof(*f));
    CHECK(f != NULL);
    f->fd = fd;
    snprintf(f->path, sizeof(f->path), "%s", path);
    *out = f;
    return ERR_OK;
}

void file_close(struct file *f)
{
    close(f->fd);
    free(f);
}

enum err file_size(struct file *f, uint64_t *out)
{
    struct stat s;
    if (fstat(f->fd, &s) != 0)
        return failed("stat", f->path);
    *out = (uint64_t)s.st_size;
    return ERR_OK;
}

enum err file_read(struct file *f, uint64_t offset, void *data, size_t len)
{
    uint8_t *p = data;
    while (len) {
        ssize_t n = pread(f->fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* shorter than it was said to be */
        if (n <= 0)
            return failed("read", f->path);
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return ERR_OK;
}

enum err file_write(struct file *f, uint64_t offset, struct span data)
{
    while (data.len) {
        ssize_t n = pwrite(f->fd, data.data, data.len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed("write", f->path);
        data = span_from(data, (size_t)n);
        offset += (uint64_t)n;
    }
    return ERR_OK;
}

enum err file_sync(struct file *f)
{
    return fdatasync(f->fd) == 0 ? ERR_OK : failed("sync", f->path);
}

enum err file_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed("open", path);
    enum err e = fsync(fd) == 0 ? ERR_OK : failed("sync", path);
    close(fd);
    return e;
}

enum err file_make_dir(const char *path)
{
    char parent[NAME_MAX_BYTES];
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? ERR_OK : failed("make directory", path);
    int n = snprintf(parent, sizeof(parent), "%s/..", path);
    CHECK(n > 0 && n < NAME_MAX_BYTES);
    return file_sync_dir(parent);
}

enum err file_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 ? ERR_OK : failed("rename", from);
}

enum err file_remove(const char *path)
{
    return unlink(path) == 0 ? ERR_OK : failed("remove", path);
}

enum err file_list(const char *path, void (*each)(void *, const char *), void *context)
{
    DIR *dir = opendir(path);
    if (!dir)
        return failed("open", path);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            each(context, entry->d_name);
    enum err e = errno ? failed("list", path) : ERR_OK;
    closedir(dir);
    return e;
}

uint64_t file_free_bytes(const char *path)
{
    struct statvfs s;
    if (statvfs(path, &s) != 0)
        return 0;
    return (uint64_t)s.f_bavail * s.f_frsize;
}
