#include "io/file/file.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/test.h"

static char dir[] = "/tmp/confman-file-XXXXXX";
static char path[128], other[128];

static bool begin(void)
{
    strcpy(dir, "/tmp/confman-file-XXXXXX");
    if (!mkdtemp(dir))
        return false;
    snprintf(path, sizeof(path), "%s/a", dir);
    snprintf(other, sizeof(other), "%s/b", dir);
    return true;
}

static void end(void)
{
    unlink(path);
    unlink(other);
    rmdir(dir);
}

TEST(file_writes_come_back)
{
    struct file *f;
    uint64_t size = 0;
    char text[16] = "";
    EXPECT(begin());
    EXPECT(file_open(path, FILE_CREATE, &f) == ERR_OK);
    EXPECT(file_write(f, 4, SPAN("hello")) == ERR_OK && file_sync(f) == ERR_OK);
    EXPECT(file_size(f, &size) == ERR_OK && size == 9);
    file_close(f);
    EXPECT(file_open(path, FILE_DSYNC, &f) == ERR_OK);
    EXPECT(file_write(f, 0, SPAN("oh: ")) == ERR_OK);
    file_close(f);
    EXPECT(file_open(path, FILE_READ, &f) == ERR_OK);
    EXPECT(file_read(f, 0, text, 9) == ERR_OK && strcmp(text, "oh: hello") == 0);
    EXPECT(file_read(f, 5, text, 5) == ERR_IO); /* one more than there is */
    EXPECT(strstr(file_why(), path) != NULL);
    file_close(f);
    EXPECT(file_open(path, FILE_CREATE, &f) == ERR_OK);
    EXPECT(file_size(f, &size) == ERR_OK && size == 0);
    file_close(f);
    end();
}

TEST(file_names_that_are_not_there)
{
    struct file *f;
    EXPECT(begin());
    EXPECT(file_open(path, FILE_READ, &f) == ERR_NOT_FOUND && strstr(file_why(), path));
    EXPECT(file_open(path, FILE_DSYNC, &f) == ERR_NOT_FOUND);
    EXPECT(file_rename(path, other) == ERR_NOT_FOUND && file_remove(path) == ERR_NOT_FOUND);
    EXPECT(file_sync_dir(path) == ERR_NOT_FOUND);
    EXPECT(file_open("/tmp", FILE_DSYNC, &f) == ERR_IO);
    end();
}

TEST(file_full_disk)
{
    struct file *f;
    EXPECT(file_open("/dev/full", FILE_DSYNC, &f) == ERR_OK);
    EXPECT(file_write(f, 0, SPAN("x")) == ERR_DISK_FULL);
    EXPECT(strcmp(file_why(), "write /dev/full: No space left on device") == 0);
    file_close(f);
}

TEST(file_lock_is_for_one)
{
    struct file *a, *b;
    EXPECT(begin());
    EXPECT(file_open(path, FILE_LOCK, &a) == ERR_OK);
    EXPECT(file_open(path, FILE_LOCK, &b) == ERR_LOCKED);
    file_close(a);
    EXPECT(file_open(path, FILE_LOCK, &b) == ERR_OK);
    file_close(b);
    end();
}

static void add_name(void *context, const char *name)
{
    strcat(context, name);
}

TEST(file_directories)
{
    char names[64] = "";
    struct file *f;
    EXPECT(begin());
    EXPECT(file_make_dir(path) == ERR_OK && file_make_dir(path) == ERR_OK);
    EXPECT(rmdir(path) == 0);
    EXPECT(file_open(path, FILE_CREATE, &f) == ERR_OK);
    file_close(f);
    EXPECT(file_rename(path, other) == ERR_OK && file_sync_dir(dir) == ERR_OK);
    EXPECT(file_list(dir, add_name, names) == ERR_OK && strcmp(names, "b") == 0);
    EXPECT(file_remove(other) == ERR_OK && file_list(dir, add_name, names) == ERR_OK);
    EXPECT(strcmp(names, "b") == 0);
    EXPECT(file_free_bytes(dir) > 0 && file_free_bytes("/nowhere") == 0);
    end();
}
