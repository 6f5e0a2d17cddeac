/* `confman snapshot save`: the file comes from the server as it is. What reads or restores one has
 * to know the store: main.c gives it to node. */
#include <string.h>
#include "cli/cli_int.h"
#include "io/file/file.h"

enum { PATH_BYTES = 512 };

struct saving {
    struct file *file;
    uint64_t size_bytes;
    enum err err;
};

static int take(void *context, struct span bytes)
{
    struct saving *s = context;
    s->err = file_write(s->file, s->size_bytes, bytes);
    s->size_bytes += bytes.len;
    return s->err == ERR_OK ? EXIT_DONE : EXIT_REFUSED;
}

static enum err keep(struct saving *s, const char *part, const char *path)
{
    char dir[PATH_BYTES];
    enum err e = file_sync(s->file);
    if (e == ERR_OK)
        e = file_rename(part, path);
    if (e != ERR_OK)
        return e;
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return file_sync_dir(dir);
}

static int save(const struct options *o, const char *path, const char *part)
{
    struct saving s = { .err = file_open(part, FILE_CREATE, &s.file) };
    if (s.err != ERR_OK)
        return cli_complain(EXIT_REFUSED, "%s", file_why());
    struct client *c = client_open(o);
    int status = c ? client_download(c, "/v1/snapshot", take, &s) : EXIT_UNREACHABLE;
    if (status == EXIT_DONE)
        s.err = keep(&s, part, path);
    if (s.err != ERR_OK)
        status = cli_complain(EXIT_REFUSED, "%s", file_why());
    if (status != EXIT_DONE && file_remove(part) != ERR_OK)
        cli_complain(status, "%s", file_why());
    file_close(s.file);
    if (c)
        client_close(c);
    if (status == EXIT_DONE && o->json)
        printf("{\"size_bytes\":%llu}\n", (unsigned long long)s.size_bytes);
    else if (status == EXIT_DONE)
        printf("%s: %llu bytes\n", path, (unsigned long long)s.size_bytes);
    return status;
}

int run_snapshot(const struct options *o, struct arena *arena)
{
    char part[PATH_BYTES];
    (void)arena;
    const char *word = o->args[0];
    if (strcmp(word, "status") == 0 || strcmp(word, "restore") == 0)
        return cli_complain(EXIT_USAGE, "snapshot: %s comes before options", word);
    if (strcmp(word, "save") != 0)
        return cli_complain(EXIT_USAGE, "snapshot: save, status or restore, not \"%s\"", word);
    int n = snprintf(part, sizeof(part), "%s.part", o->args[1]);
    if (n < 0 || n >= PATH_BYTES)
        return cli_complain(EXIT_USAGE, "the path is too long");
    return save(o, o->args[1], part);
}
