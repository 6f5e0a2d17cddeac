/* `confman snapshot save`: the file comes from the server as it is. What reads or restores one has
 * to know the store: main.c gives it to node; and so what an import makes of an etcd. */
#include <string.h>
#include "cli/cli_int.h"
#include "io/file/file.h"

enum {
    PATH_BYTES = 512,
    QUIET_S = 60, /* a large store takes its time before the first byte */
    PROGRESS_BYTES = 64 << 20,
};

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

/* Maintenance.Snapshot: the database and its checksum, in messages. */
static int take_etcd(struct client *c, struct saving *s)
{
    struct buf request;
    struct arena arena;
    struct span message;
    uint64_t told = 0;
    buf_open(&request, &cli_heap);
    arena_open(&arena, &cli_heap);
    int status = client_ask(c, "/etcdserverpb.Maintenance/Snapshot", &request);
    while (status == EXIT_DONE && (status = client_next(c, false, &message)) == EXIT_DONE &&
           message.data) {
        struct pb_snapshot_response r;
        arena_reset(&arena);
        if (pb_snapshot_response_decode(message, &arena, &r) != ERR_OK)
            status = cli_complain(EXIT_UNREACHABLE, "a message that makes no sense");
        else
            status = take(s, r.blob);
        if (s->size_bytes - told >= PROGRESS_BYTES) {
            told = s->size_bytes;
            fprintf(stderr, "received %llu MiB, %llu MiB to come\n", (unsigned long long)told >> 20,
                    (unsigned long long)r.remaining_bytes >> 20);
        }
    }
    arena_close(&arena);
    buf_close(&request);
    return status;
}

static int save(const struct options *o, const char *path, const char *part)
{
    struct saving s = { .err = file_open(part, FILE_CREATE, &s.file) };
    if (s.err != ERR_OK)
        return cli_complain(EXIT_REFUSED, "%s", file_why());
    struct client *c = client_open(o);
    int status = !c        ? EXIT_UNREACHABLE
                 : o->etcd ? take_etcd(c, &s)
                           : client_download(c, "/v1/snapshot", take, &s);
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

static int save_as(const struct options *o, const char *path)
{
    char part[PATH_BYTES];
    struct options patient = *o;
    int n = snprintf(part, sizeof(part), "%s.part", path);
    if (n < 0 || n >= PATH_BYTES)
        return cli_complain(EXIT_USAGE, "the path is too long");
    if (o->etcd && patient.timeout < QUIET_S)
        patient.timeout = QUIET_S;
    return save(&patient, path, part);
}

/* ---- for an import ---- */

int cli_etcd_snapshot(int argc, char **argv, const char *path)
{
    struct options o;
    alloc_heap(&cli_heap);
    int status = cli_source_options(argc, argv, &o);
    o.etcd = true;
    return status == EXIT_DONE ? save_as(&o, path) : status;
}

int cli_etcd_hash(int argc, char **argv, int64_t revision, uint32_t *hash, int64_t *compacted)
{
    struct options o;
    struct arena arena;
    struct buf request;
    struct span message;
    struct pb_hash_kv_response r = { .hash = 0 };
    int status = cli_source_options(argc, argv, &o);
    if (status != EXIT_DONE)
        return status;
    o.timeout = o.timeout < QUIET_S ? QUIET_S : o.timeout;
    arena_open(&arena, &cli_heap);
    buf_open(&request, &cli_heap);
    pb_hash_kv_request_encode(&(struct pb_hash_kv_request){ .revision = revision }, &request);
    status = call_once(&o, "/etcdserverpb.Maintenance/HashKV", &request, &arena, &message);
    if (status == EXIT_DONE && pb_hash_kv_response_decode(message, &arena, &r) != ERR_OK)
        status = cli_complain(EXIT_UNREACHABLE, "an answer that makes no sense");
    *hash = r.hash;
    *compacted = r.compact_revision;
    buf_close(&request);
    arena_close(&arena);
    return status;
}

int run_snapshot(const struct options *o, struct arena *arena)
{
    (void)arena;
    const char *word = o->args[0];
    if (strcmp(word, "status") == 0 || strcmp(word, "restore") == 0)
        return cli_complain(EXIT_USAGE, "snapshot: %s comes before options", word);
    if (strcmp(word, "save") != 0)
        return cli_complain(EXIT_USAGE, "snapshot: save, status or restore, not \"%s\"", word);
    return save_as(o, o->args[1]);
}
