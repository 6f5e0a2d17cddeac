/* `confman import etcd`: a new data directory of all that an etcd has. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/check.h"
#include "base/vec.h"
#include "io/file/file.h"
#include "io/mapped/mapped.h"
#include "link/etcdfile/etcdfile.h"
#include "node/node.h"
#include "node/param.h"
#include "node/snapshot.h"

enum {
    STEP_VERSIONS = 10000,
    PROGRESS_VERSIONS = 1000000,
    WORDS_MAX = 64,
    SECTOR = 512, /* a database is a multiple of it; with a checksum behind it, it is not */
    HASH_BYTES = 32,
};

static const char usage[] = "usage: confman import etcd (--from-endpoint HOST:PORT | "
                            "--from-snapshot FILE | --from-data-dir "
                            "DIR) --data-dir DIR [--name NAME --initial-cluster NAME=HOST:PORT,... "
                            "--initial-cluster-token TEXT]; see confman import --help";

struct import {
    struct alloc heap;
    struct machine m;
    struct params params;
    const struct import_source *source;
    const char *endpoint, *snapshot, *data_dir; /* where from: one of them */
    char *source_words[WORDS_MAX];              /* options for the client */
    int n_source;
    char endpoint_word[1024];    /* --endpoint=... */
    char file[STORAGE_PATH_MAX]; /* the database */
    char why[STORAGE_WHY_MAX];
};

static int complain(int status, const char *why)
{
    fprintf(stderr, "confman import: %s\n", why);
    return status;
}

static enum err refuse(struct import *i, enum err e, const char *path, const char *what)
{
    snprintf(i->why, sizeof(i->why), "%.400s: %.500s", path, what);
    return e;
}

/* ---- words ---- */

static bool is_option(const char *word, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncmp(word, name, n) != 0 || (word[n] != 0 && word[n] != '='))
        return false;
    *value = word[n] ? word + n + 1 : NULL;
    return true;
}

/* --source-x becomes the client's --x; the rest are parameters of the server. */
static bool read_words(struct import *i, int argc, char **argv)
{
    const struct {
        const char *name, **value;
    } own[] = { { "--from-endpoint", &i->endpoint },
                { "--from-snapshot", &i->snapshot },
                { "--from-data-dir", &i->data_dir } };
    char *rest[WORDS_MAX];
    int n = 0;
    if (argc > WORDS_MAX)
        return false;
    for (int at = 0; at < argc; at++) {
        const char *value = NULL;
        size_t k = 0;
        while (k < 3 && !is_option(argv[at], own[k].name, &value))
            k++;
        if (k < 3 && !value && at + 1 == argc)
            return false;
        if (k < 3) {
            *own[k].value = value ? value : argv[++at];
        } else if (strncmp(argv[at], "--source-", 9) == 0) {
            argv[at] += 7;
            memcpy(argv[at], "--", 2);
            i->source_words[i->n_source++] = argv[at];
            if (!strchr(argv[at], '=') && at + 1 < argc && argv[at + 1][0] != '-')
                i->source_words[i->n_source++] = argv[++at];
        } else {
            rest[n++] = argv[at];
        }
    }
    if (param_read(&i->params, n, rest, i->why) != ERR_OK)
        return false;
    if (i->endpoint)
        snprintf(i->endpoint_word, sizeof(i->endpoint_word), "--endpoint=%s", i->endpoint);
    return (i->endpoint != NULL) + (i->snapshot != NULL) + (i->data_dir != NULL) == 1;
}

/* ---- where the database is ---- */

static bool path_fits(struct import *i, const char *path, const char *end)
{
    int n = snprintf(i->file, sizeof(i->file), "%s%s", path, end);
    return n > 0 && (size_t)n < sizeof(i->file);
}

/* What the client is told: how to reach the source. */
static int client_words(struct import *i, char *words[WORDS_MAX + 1])
{
    memcpy(words, i->source_words, sizeof(i->source_words));
    words[i->n_source] = i->endpoint_word;
    return i->n_source + 1;
}

static int from_endpoint(struct import *i)
{
    char *words[WORDS_MAX + 1];
    if (!path_fits(i, i->params.data_dir, ".etcd"))
        return complain(2, "the path is too long");
    int n = client_words(i, words);
    return i->source->snapshot(n, words, i->file);
}

struct names {
    struct alloc *heap;
    VEC(char *) list;
};

static void add_name(void *context, const char *name)
{
    struct names *n = context;
    size_t len = strlen(name);
    if (len < 4 || strcmp(name + len - 4, ".wal") != 0)
        return;
    char *copy = strdup(name);
    CHECK(copy);
    VEC_PUSH(&n->list, n->heap, copy);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err read_log(struct import *i, const char *dir, const struct names *names,
                         struct etcdfile_log *log)
{
    struct arena arena;
    enum err e = ERR_OK;
    arena_open(&arena, &i->heap);
    for (size_t k = 0; e == ERR_OK && k < names->list.n; k++) {
        char path[STORAGE_PATH_MAX];
        struct span bytes;
        snprintf(path, sizeof(path), "%.400s/%.80s", dir, names->list.items[k]);
        e = mapped_open(path, &bytes, i->why);
        if (e != ERR_OK)
            break;
        e = etcdfile_log(log, bytes, &arena);
        mapped_close(bytes);
        if (e != ERR_OK)
            refuse(i, e, path, "is no log of etcd's, or damaged");
    }
    arena_close(&arena);
    return e;
}

/* The log may have what the database has not: etcd writes that out only now and then. */
static enum err check_log(struct import *i, uint64_t index)
{
    char dir[STORAGE_PATH_MAX];
    struct etcdfile_log log = { .after = index };
    struct names names = { .heap = &i->heap };
    snprintf(dir, sizeof(dir), "%.480s/member/wal", i->data_dir);
    enum err e = file_list(dir, add_name, &names);
    if (e != ERR_OK)
        refuse(i, e, dir,
               "is not there or cannot be read; of a database alone, "
               "--from-snapshot takes the file");
    if (e == ERR_OK && names.list.n) {
        qsort(names.list.items, names.list.n, sizeof(char *), by_name);
        e = read_log(i, dir, &names, &log);
    }
    if (e == ERR_OK && log.beyond) {
        snprintf(
            i->why, sizeof(i->why),
            "%.400s: its log has changes from entry %llu on that are not in its database, which "
            "ends at %llu; start that etcd and take `etcdctl snapshot save`, or import with "
            "--from-endpoint",
            i->data_dir, (unsigned long long)log.beyond, (unsigned long long)index);
        e = ERR_BAD_REQUEST;
    }
    for (size_t k = 0; k < names.list.n; k++)
        free(names.list.items[k]);
    VEC_CLOSE(&names.list, &i->heap);
    return e;
}

/* ---- loading ---- */

static enum err check_hash(struct import *i, struct span *file)
{
    uint8_t hash[HASH_BYTES];
    if (file->len % SECTOR != HASH_BYTES) {
        if (!i->data_dir)
            fprintf(stderr, "%s: has no checksum behind it; what it has is taken as it is\n",
                    i->file);
        return ERR_OK;
    }
    file->len -= HASH_BYTES;
    CHECK(EVP_Digest(file->data, file->len, hash, NULL, EVP_sha256(), NULL) == 1);
    return memcmp(hash, file->data + file->len, HASH_BYTES) == 0
               ? ERR_OK
               : refuse(i, ERR_CORRUPT, i->file, "its checksum is wrong; take another snapshot");
}

static enum err load_all(struct etcdfile *f)
{
    int64_t told = 0;
    enum err e;
    while ((e = etcdfile_load(f, STEP_VERSIONS)) == ERR_OK) {
        if (f->info.versions - told < PROGRESS_VERSIONS)
            continue;
        told = f->info.versions;
        fprintf(stderr, "loaded %lld versions, up to revision %lld\n", (long long)told,
                (long long)f->revision);
    }
    if (e == ERR_END && f->info.leases_missing)
        fprintf(stderr,
                "keys hang on %llu leases that this etcd does not have any more; they get leases "
                "that do not expire\n",
                (unsigned long long)f->info.leases_missing);
    return e == ERR_END ? ERR_OK : e;
}

static enum err load(struct import *i)
{
    struct span file, whole;
    struct etcdfile f;
    enum err e = mapped_open(i->file, &whole, i->why);
    if (e == ERR_LOCKED)
        return refuse(i, e, i->file,
                      "is in use: stop that etcd first, or import with --from-endpoint");
    if (e != ERR_OK)
        return e;
    file = whole;
    e = check_hash(i, &file);
    if (e == ERR_OK) {
        e = etcdfile_open(&f, file, &i->m, &i->heap);
        if (e == ERR_OK) {
            e = i->data_dir ? check_log(i, f.info.index) : ERR_OK;
            if (e == ERR_OK && (e = load_all(&f)) == ERR_CORRUPT)
                refuse(i, e, i->file, "is damaged: no etcd can have written all of that");
            etcdfile_close(&f);
        } else {
            refuse(i, e, i->file,
                   e == ERR_FORMAT ? "is a database of a newer kind than this version knows"
                                   : "is no database of etcd's, or damaged");
        }
    }
    mapped_close(whole);
    return e;
}

/* ---- what came of it ---- */

/* 0, or why not. Another etcd's compaction meanwhile changes the hash: then nothing can be said. */
static int compare(struct import *i, uint32_t hash)
{
    char *words[WORDS_MAX + 1];
    uint32_t theirs;
    int64_t compacted;
    int n = client_words(i, words);
    int status = i->source->hash(n, words, kv_revision(i->m.kv), &theirs, &compacted);
    int64_t ours = kv_compact_revision(i->m.kv);
    if (status != 0 || compacted != ours) {
        printf("HashKV     %u; not compared: the source %s\n", hash,
               status ? "did not answer" : "has been compacted since");
        return 0;
    }
    if (theirs != hash) {
        snprintf(i->why, sizeof(i->why), "HashKV is %u here and %u there: not all is the same",
                 hash, theirs);
        return complain(1, i->why);
    }
    printf("HashKV     %u, the same as the source's\n", hash);
    return 0;
}

static int tell(struct import *i)
{
    struct kv_stats stats;
    uint32_t hash = 0;
    kv_stats(i->m.kv, &stats);
    enum err e = kv_hash(i->m.kv, 0, &hash);
    CHECK(e == ERR_OK);
    printf("revision   %lld, compacted at %lld\nkeys       %lld, %lld versions\nleases     %lld\n"
           "auth       %s\n",
           (long long)kv_revision(i->m.kv), (long long)kv_compact_revision(i->m.kv),
           (long long)stats.keys, (long long)stats.versions, (long long)lease_count(i->m.lease),
           auth_enabled(i->m.auth) ? "enabled" : "disabled");
    if (i->endpoint)
        return compare(i, hash);
    printf("HashKV     %u\n", hash);
    return 0;
}

static int import(struct import *i)
{
    int status = 0;
    if (snapshot_must_be_free(i->params.data_dir, i->why) != ERR_OK)
        return complain(1, i->why);
    bool fits = i->endpoint   ? true
                : i->snapshot ? path_fits(i, i->snapshot, "")
                              : path_fits(i, i->data_dir, "/member/snap/db");
    if (!fits)
        return complain(2, "the path is too long");
    if (i->endpoint)
        status = from_endpoint(i);
    if (status == 0 && load(i) != ERR_OK)
        status = complain(1, i->why);
    if (i->endpoint && i->file[0])
        unlink(i->file); /* ours, and read */
    if (status == 0)
        status = tell(i);
    if (status == 0 && snapshot_restore_as(&i->m, &i->params, 0, i->why) != ERR_OK)
        status = complain(1, i->why);
    return status;
}

int node_import(int argc, char **argv, const struct import_source *source)
{
    static struct import i;
    i.source = source;
    alloc_heap(&i.heap);
    if (!read_words(&i, argc, argv))
        return complain(2, i.why[0] ? i.why : usage);
    machine_open(&i.m, &i.heap);
    int status = import(&i);
    machine_close(&i.m);
    CHECK(i.heap.used == 0);
    if (fflush(stdout) != 0)
        return complain(1, "standard output cannot be written");
    return status;
}
