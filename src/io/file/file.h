/* file: everything of disk. Whole reads and writes, syncs, names; errors as the node wants them.
 *
 * Kept small so that tests can put another world behind it (tests/crash/file_fault.c): a disk that
 * loses what was not synced, tears writes and fails at the N-th call. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/span.h"

struct file;

enum file_mode {
    FILE_READ,   /* what stands on disk: what is only cached is synced, or forgotten, first */
    FILE_CREATE, /* new and empty, also when there was one */
    FILE_DSYNC,  /* an existing one, for writing; a write returns when it is on disk (O_DSYNC) */
    FILE_LOCK,   /* made when missing, and locked for as long as it is open: ERR_LOCKED */
};

/* All of them: ERR_IO; those that need room also ERR_DISK_FULL; those that name a file that is
 * not there ERR_NOT_FOUND. file_why then has the system's words. */
enum err file_open(const char *path, enum file_mode mode, struct file **out) MUST_CHECK;
void file_close(struct file *f);
enum err file_size(struct file *f, uint64_t *out) MUST_CHECK;
enum err file_read(struct file *f, uint64_t offset, void *data,
                   size_t len) MUST_CHECK; /* all of it */
enum err file_write(struct file *f, uint64_t offset, struct span data) MUST_CHECK;
enum err file_sync(struct file *f) MUST_CHECK; /* the data; never try again after it failed */

enum err file_make_dir(const char *path) MUST_CHECK; /* its name synced; fine when it is there */
enum err file_sync_dir(const char *path) MUST_CHECK; /* names made, moved and removed in it */
enum err file_rename(const char *from, const char *to) MUST_CHECK;
enum err file_remove(const char *path) MUST_CHECK;
enum err file_list(const char *path, void (*each)(void *context, const char *name),
                   void *context) MUST_CHECK;
uint64_t file_free_bytes(const char *path);

const char *
file_why(void); /* of this thread's last failure: "write data/log/1.seg: No space left" */
