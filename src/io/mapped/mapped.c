#include "io/mapped/mapped.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/check.h"

static enum err failed(const char *what, const char *path, char *why)
{
    int error = errno;
    snprintf(why, MAPPED_WHY_MAX, "%s %.500s: %s", what, path, strerror(error));
    return error == ENOENT ? ERR_NOT_FOUND : error == EWOULDBLOCK ? ERR_LOCKED : ERR_IO;
}

enum err mapped_open(const char *path, struct span *out, char *why)
{
    struct stat st;
    *out = SPAN_NONE;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failed("open", path, why);
    enum err e = ERR_OK;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        e = failed("lock", path, why);
    } else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        errno = errno ? errno : EINVAL;
        e = failed("look at", path, why);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            e = failed("map", path, why);
        else
            *out = span_of(p, (size_t)st.st_size);
    }
    close(fd);
    return e;
}

void mapped_close(struct span bytes)
{
    union {
        const void *given;
        void *taken;
    } p = { bytes.data };
    CHECK(bytes.len == 0 || munmap(p.taken, bytes.len) == 0);
}
